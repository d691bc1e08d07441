//! What a shard's world sees of its own work: file operations, submissions to the ring, and how the shard's time was spent.

use std::time::Duration;

use super::latency::{Latency, LatencySnapshot};
use super::{Counter, Peak, Timing};
use crate::types::Monotonic;

/// A file operation by the way it took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operation {
    /// Written by a system call on the shard's thread.
    AppendInline,
    /// Likewise, by a call that may not wait.
    AppendNowait,
    /// All or part of it written by the ring.
    AppendRing,
    /// Found in the page cache.
    ReadCached,
    /// All or part of it read by the ring.
    ReadRing,
    SyncRing,
    /// Of a range, together with those of other files.
    SyncThread,
    TruncateThread,
    AllocateThread,
    /// Written behind a log ahead of its records.
    ZeroThread,
}

impl Operation {
    pub(super) const ALL: [Operation; 10] = [
        Operation::AppendInline,
        Operation::AppendNowait,
        Operation::AppendRing,
        Operation::ReadCached,
        Operation::ReadRing,
        Operation::SyncRing,
        Operation::SyncThread,
        Operation::TruncateThread,
        Operation::AllocateThread,
        Operation::ZeroThread,
    ];

    /// Labels: what is done, and by what way.
    pub(super) fn labels(self) -> (&'static str, &'static str) {
        match self {
            Operation::AppendInline => ("append", "inline"),
            Operation::AppendNowait => ("append", "nowait"),
            Operation::AppendRing => ("append", "ring"),
            Operation::ReadCached => ("read", "cached"),
            Operation::ReadRing => ("read", "ring"),
            Operation::SyncRing => ("sync", "ring"),
            Operation::SyncThread => ("sync", "thread"),
            Operation::TruncateThread => ("truncate", "thread"),
            Operation::AllocateThread => ("allocate", "thread"),
            Operation::ZeroThread => ("zero", "thread"),
        }
    }
}

/// A file operation handed to io_uring.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Submission {
    Write,
    Read,
    Sync,
}

impl Submission {
    pub(super) const ALL: [Submission; 3] = [Submission::Write, Submission::Read, Submission::Sync];

    pub(super) fn label(self) -> &'static str {
        match self {
            Submission::Write => "write",
            Submission::Read => "read",
            Submission::Sync => "sync",
        }
    }
}

/// Where bytes sent from a file were when they were asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    PageCache,
    Disk,
}

impl Source {
    pub(super) const ALL: [Source; 2] = [Source::PageCache, Source::Disk];

    pub(super) fn label(self) -> &'static str {
        match self {
            Source::PageCache => "page_cache",
            Source::Disk => "disk",
        }
    }
}

/// A task that keeps its shard for longer is counted as a stall.
const STALL: Duration = Duration::from_millis(10);

#[derive(Default)]
pub struct WorldInstruments {
    timing: Timing,
    operations: [Latency; Operation::ALL.len()],
    operation_bytes: [Counter; Operation::ALL.len()],
    submissions: [Counter; Submission::ALL.len()],
    file_bytes_sent: [Counter; Source::ALL.len()],
    busy_ns: Counter,
    polls: Counter,
    longest_poll: Peak,
    stalls: Counter,
}

impl WorldInstruments {
    pub fn new(timing: Timing) -> Self {
        Self { timing, ..Self::default() }
    }

    pub fn timing(&self) -> Timing {
        self.timing
    }

    pub fn on_operation(&self, operation: Operation, bytes: u64, span: Duration) {
        self.operations[operation as usize].record(span);
        self.operation_bytes[operation as usize].add(bytes);
    }

    pub fn on_submitted(&self, submission: Submission) {
        self.submissions[submission as usize].increment();
    }

    pub fn on_file_sent(&self, source: Source, bytes: u64) {
        self.file_bytes_sent[source as usize].add(bytes);
    }

    /// A task had the shard from `began` to `ended`.
    pub fn on_poll(&self, began: Monotonic, ended: Monotonic) {
        let span = ended.since(began);
        self.polls.increment();
        self.longest_poll.observe(ended, span);
        if span >= STALL {
            self.stalls.increment();
        }
    }

    /// The shard ran tasks for so long without asking the kernel.
    pub fn on_busy(&self, span: Duration) {
        self.busy_ns.add(span.as_nanos() as u64);
    }

    /// `cpu` is what the kernel charged the shard's thread with.
    pub fn snapshot(&self, now: Monotonic, cpu: Duration) -> WorldSnapshot {
        WorldSnapshot {
            operations: self.operations.each_ref().map(Latency::snapshot),
            operation_bytes: self.operation_bytes.each_ref().map(Counter::get),
            submissions: self.submissions.each_ref().map(Counter::get),
            file_bytes_sent: self.file_bytes_sent.each_ref().map(Counter::get),
            busy_ns: self.busy_ns.get(),
            cpu_ns: cpu.as_nanos() as u64,
            polls: self.polls.get(),
            longest_poll_ns: self.longest_poll.get(now).as_nanos() as u64,
            stalls: self.stalls.get(),
        }
    }
}

/// What the instruments showed at one moment; all zeros from a world that has none.
#[derive(Clone, Debug, Default)]
pub struct WorldSnapshot {
    pub(super) operations: [LatencySnapshot; Operation::ALL.len()],
    pub(super) operation_bytes: [u64; Operation::ALL.len()],
    pub(super) submissions: [u64; Submission::ALL.len()],
    pub(super) file_bytes_sent: [u64; Source::ALL.len()],
    pub(super) busy_ns: u64,
    pub(super) cpu_ns: u64,
    pub(super) polls: u64,
    pub(super) longest_poll_ns: u64,
    pub(super) stalls: u64,
}
