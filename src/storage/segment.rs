//! One segment as the log knows it: its file, its indexes, and how far each has come.
//!
//! Called by the procedures of `log`; calls `index`, `layout`. Bookkeeping only; the file is a handle that procedures use.
//!
//! Invariants:
//! 1. `synced <= len`; `served_to <= len`.
//! 2. A sealed segment is not appended to, and its file and indexes are durable and exactly as long as what they hold.
//!
//! What a crash leaves: a file as long as the kernel cared to make it; `log::recover` finds what of it is whole.

use std::ops::Range;

use super::index::{AbortedTransaction, Entries, LargestTimestamp, OffsetIndex, TimeIndex};
use super::layout::SegmentPart;
use crate::types::{Offset, TimestampMs};

/// Largest offset relative to its segment that the indexes can hold.
pub const RELATIVE_MAX: i64 = i32::MAX as i64;

pub struct Segment<F> {
    pub base: Offset,
    /// Another one after compaction or a truncation: what was learned of the one before does not hold for it.
    pub edition: u64,
    /// `None` until someone needs it.
    pub file: Option<F>,
    /// Bytes, with those that wait to be written.
    pub len: u64,
    /// Largest timestamp of the first batch, from which the segment's age counts.
    pub first_timestamp: FirstTimestamp,
    /// When the segment was begun, for the age of one without timestamps.
    pub created: TimestampMs,
    pub index: OffsetIndex,
    pub times: TimeIndex,
    pub aborted: Entries<AbortedTransaction>,
    /// Bytes of the file known to be durable.
    pub synced: u64,
    /// Bytes the file has space for.
    pub allocated: u64,
    /// Bytes the file may have, zeros behind its batches included.
    pub reached: u64,
    pub zeros: Zeros,
    /// How often something was cut off the file, and how many of the cuts a sync has covered: a loss of power may bring back the rest.
    pub cuts: u64,
    pub cuts_synced: u64,
    /// End of the last range handed to a reader: bytes before it may still be on their way to a socket.
    pub served_to: u64,
    pub seal: Seal,
    /// Whether the offset and time index have files.
    pub index_files: Stored,
    pub indexes_synced: IndexesSynced,
    /// Read or written since `maintain` last looked.
    pub touched: bool,
}

/// Zeros that the disk was given ahead of a segment's bytes. None are left once the bytes reach their end.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Zeros {
    from: u64,
    /// 0 before the first.
    to: u64,
    /// Up to where a sync has told the disk of their place.
    placed_to: u64,
}

impl Zeros {
    pub fn end(&self) -> u64 {
        self.to
    }

    pub fn add(&mut self, range: Range<u64>) {
        if range.start != self.to {
            *self = Self { from: range.start, ..Self::default() };
        }
        self.to = range.end;
    }

    /// A sync of the file is over that began when they were `then`.
    pub fn on_synced(&mut self, then: Zeros) {
        if self.from == then.from {
            self.placed_to = then.to.min(self.to);
        }
    }

    /// Whether all of the range lies where they were, and a sync of it has nothing but bytes to tell of.
    pub fn hold(&self, range: &Range<u64>) -> bool {
        self.from <= range.start && range.end <= self.placed_to
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirstTimestamp {
    /// Nobody looked into the file yet.
    NotLoaded,
    /// The segment is empty.
    None,
    Of(TimestampMs),
}

/// Whether the disk has what memory has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stored {
    Yes,
    No,
}

/// Which index files have nothing that a loss of power could take.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct IndexesSynced {
    behind: [bool; 3],
}

impl IndexesSynced {
    /// Files that an earlier process may have written and not synced.
    pub fn unknown(has_aborted: bool) -> Self {
        Self { behind: [true, true, has_aborted] }
    }

    pub fn on_written(&mut self, part: SegmentPart, synced: bool) {
        if let Some(at) = Self::place(part) {
            self.behind[at] = !synced;
        }
    }

    pub fn is_synced(&self, part: SegmentPart) -> bool {
        Self::place(part).is_none_or(|at| !self.behind[at])
    }

    fn place(part: SegmentPart) -> Option<usize> {
        match part {
            SegmentPart::Index => Some(0),
            SegmentPart::TimeIndex => Some(1),
            SegmentPart::TransactionIndex => Some(2),
            SegmentPart::Log | SegmentPart::ProducerSnapshot => None,
        }
    }
}

/// How far a segment is on its way from active to history.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Seal {
    /// Appended to.
    Active,
    /// No longer appended to; its last writes, its flush and its index files may be outstanding.
    Rolled,
    Sealed,
}

impl<F> Segment<F> {
    /// A segment that begins now.
    pub fn empty(base: Offset, created: TimestampMs) -> Self {
        Self {
            base,
            edition: 0,
            file: None,
            len: 0,
            first_timestamp: FirstTimestamp::None,
            created,
            index: OffsetIndex::default(),
            times: TimeIndex::default(),
            aborted: Entries::default(),
            synced: 0,
            allocated: 0,
            reached: 0,
            zeros: Zeros::default(),
            cuts: 0,
            cuts_synced: 0,
            served_to: 0,
            seal: Seal::Active,
            index_files: Stored::No,
            indexes_synced: IndexesSynced::default(),
            touched: true,
        }
    }

    /// Whether the file has, or has space for, more than the segment's bytes.
    pub fn has_space_ahead(&self) -> bool {
        self.allocated.max(self.reached) > self.len
    }

    /// Whether a loss of power may bring back what was cut off.
    pub fn is_cut_unsynced(&self) -> bool {
        self.cuts_synced < self.cuts
    }

    /// The file was cut to its first `len` bytes.
    pub fn on_cut(&mut self, len: u64) {
        self.cuts += u64::from(self.reached > len);
        self.allocated = len;
        self.reached = len;
        self.zeros = Zeros::default();
    }

    /// `offset` relative to this segment's base, as the indexes hold it.
    pub fn relative(&self, offset: Offset) -> u32 {
        let relative = offset.since(self.base);
        assert!((0..=RELATIVE_MAX).contains(&relative), "offset {offset} outside the segment that begins with {}", self.base);
        relative as u32
    }

    /// Like [`Segment::relative`], for offsets a caller asks for: those beyond what a segment can hold become the largest.
    pub fn relative_or_max(&self, offset: Offset) -> u32 {
        offset.since(self.base).clamp(0, RELATIVE_MAX) as u32
    }

    pub fn offset_of(&self, relative: u32) -> Offset {
        self.base.plus(i64::from(relative))
    }

    /// The largest timestamp, if any batch has one and it is in memory.
    pub fn newest_timestamp(&self) -> Option<TimestampMs> {
        match self.times.largest() {
            LargestTimestamp::Of(entry) if entry.timestamp.get() >= 0 => Some(entry.timestamp),
            LargestTimestamp::Of(_) | LargestTimestamp::None | LargestTimestamp::NotLoaded => None,
        }
    }

    pub fn can_hold(&self, last: Offset) -> bool {
        last.since(self.base) <= RELATIVE_MAX
    }

    /// Whether memory has every entry of the indexes.
    pub fn has_whole_indexes(&self) -> bool {
        self.index.entries.is_whole() && self.times.entries.is_whole() && self.aborted.is_whole()
    }

    /// Whether the index files have all that is known.
    pub fn is_indexed(&self) -> bool {
        self.index_files == Stored::Yes
            && self.indexes_synced == IndexesSynced::default()
            && self.index.entries.is_written()
            && self.times.entries.is_written()
            && self.aborted.is_written()
    }

    /// Notes a batch that begins at `len`, and its place in the indexes.
    pub fn on_batch(&mut self, base: Offset, last: Offset, max_timestamp: TimestampMs, bytes: u32, index_interval: u32) {
        let (base, last) = (self.relative(base), self.relative(last));
        let indexed = self.index.on_batch(base, last, self.len as u32, bytes, index_interval);
        self.times.on_batch(max_timestamp, last, indexed);
        if self.len == 0 {
            self.first_timestamp = FirstTimestamp::Of(max_timestamp);
        }
        self.len += u64::from(bytes);
        self.touched = true;
    }
}
