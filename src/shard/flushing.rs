//! Flushing behind the writers, and noting how far they are: bounds what a restart after a crash reads again, by the bytes that were
//! appended and not by the clock.
//!
//! Called by the mailbox, which a log directory writes to when enough was appended to it ([`Backlog`]), and by `housekeeping`; calls the
//! logs and, through shard 0, the checkpoint files. Lives on every shard: each keeps its share of `ottla.recovery.bytes.max` for each log
//! directory.
//!
//! ```text
//!   appended ──► a quarter of the share lies behind the recovery points
//!                  └─► flush the logs with the most of it, a few at a time ──► write the checkpoint, once for all of them
//! ```
//!
//! After a killed process the page cache still has what was written, so a note of how far that is (`storage::log`'s `written`) saves the
//! reading. It costs no sync, so it is made many times for each flush; and only for logs that have gone far enough to be worth it.
//!
//! A flush costs several syncs whatever its size, so a log with little unflushed waits: with very many partitions written at once what a
//! restart reads is bounded by the least flush of each. Nothing is held back where the disk is slower than the producers.
//!
//! Invariants:
//! 1. One round at a time for each log directory of a shard; none while nothing is appended.
//! 2. Notes are made by one task for each log directory of a shard, beside the flushes.
//! 3. A checkpoint tells of flushes that have ended (see `checkpoints`).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::io::{Urgency, World};
use crate::partition::{Directory, Replica};
use crate::types::TopicPartition;

use super::{Shard, oneshot};

/// Logs that are flushed at a time: the filesystem's journal commits them together.
const FLUSHES_AT_ONCE: usize = 4;
/// What lies behind may grow to the share divided by this before the largest are flushed. The rest of the share is for what is appended
/// while they are, and until the checkpoint is written.
const BEHIND_PART: u64 = 4;
/// The least that one log is flushed for: the share divided by this.
const LEAST_PART: u64 = 64;
/// Notes are made of how far the logs are written for each so many bytes: the share divided by this.
const NOTE_PART: u64 = 64;
/// The least that a note is made for in one log: that divided by this.
const LEAST_NOTED_PART: u64 = 16;

/// What was appended to one log directory by one shard and is not known to be on disk.
pub(super) struct Backlog {
    /// Bytes that may lie behind.
    behind_max: u64,
    least: u64,
    /// Bytes to be appended until the next look.
    until_look: Cell<u64>,
    /// A round is under way, or was asked for.
    flushing: Cell<bool>,
    note_every: u64,
    until_note: Cell<u64>,
    noting: Cell<bool>,
    /// Logs that may have bytes behind.
    logs: RefCell<Vec<TopicPartition>>,
}

/// What is to begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Due {
    pub flush: bool,
    pub note: bool,
}

impl Backlog {
    /// `unflushed_max`: how many bytes a restart may have to read again there.
    pub fn new(unflushed_max: u64, shards: u64) -> Self {
        let share = unflushed_max / shards;
        let behind_max = (share / BEHIND_PART).max(1);
        let note_every = (share / NOTE_PART).max(1);
        Self {
            behind_max,
            least: (share / LEAST_PART).max(1),
            until_look: Cell::new(behind_max),
            flushing: Cell::new(false),
            note_every,
            until_note: Cell::new(note_every),
            noting: Cell::new(false),
            logs: RefCell::default(),
        }
    }

    pub fn on_unflushed(&self, log: TopicPartition) {
        self.logs.borrow_mut().push(log);
    }

    pub fn on_appended(&self, bytes: u64) -> Due {
        let pass = |until: &Cell<u64>, running: &Cell<bool>| {
            let left = until.get().saturating_sub(bytes);
            until.set(left);
            left == 0 && !running.replace(true)
        };
        Due { flush: pass(&self.until_look, &self.flushing), note: pass(&self.until_note, &self.noting) }
    }

    fn least_noted(&self) -> u64 {
        self.note_every / LEAST_NOTED_PART
    }

    /// Notes are made, of all logs that are worth it. What is appended meanwhile counts for the next time.
    fn on_noting(&self) {
        self.until_note.set(self.note_every);
    }

    fn on_noted(&self) {
        self.noting.set(false);
    }

    /// A round is over that left so much behind.
    fn on_round_over(&self, behind: u64) {
        self.until_look.set(self.behind_max.saturating_sub(behind).max(self.least));
        self.flushing.set(false);
    }
}

impl<W: World> Shard<W> {
    pub(super) fn begin_flushing(self: &Rc<Self>, directory: usize) {
        let shard = self.clone();
        self.world.spawn(Urgency::Background, async move { shard.flush_behind(directory).await });
    }

    /// Flushes until less than may lie behind does, or no log has enough to be worth it.
    async fn flush_behind(self: Rc<Self>, index: usize) {
        let directory = self.directories[index].clone();
        let backlog = &directory.backlog;
        let mut unsaid = 0;
        let behind = loop {
            let mut logs = self.unflushed_logs(index);
            let behind: u64 = logs.iter().map(|(bytes, _)| bytes).sum();
            if self.closing.get() || !directory.is_in_use() {
                return backlog.on_round_over(behind);
            }
            logs.sort_by_key(|(bytes, replica)| (std::cmp::Reverse(*bytes), replica.id()));
            let mut left = behind;
            let due = logs.into_iter().take(FLUSHES_AT_ONCE).take_while(|(bytes, _)| {
                let due = left > backlog.behind_max && *bytes >= backlog.least;
                left -= bytes;
                due
            });
            let due: Vec<_> = due.collect();
            if due.is_empty() {
                break behind;
            }
            unsaid += due.iter().map(|(bytes, _)| bytes).sum::<u64>();
            self.flush_together(due).await;
            if unsaid >= backlog.behind_max {
                // A failure has taken its directory out of use.
                let _written = self.write_checkpoints_now().await;
                unsaid = 0;
            }
        };
        if unsaid > 0 {
            let _written = self.write_checkpoints_now().await;
        }
        backlog.on_round_over(behind);
    }

    pub(super) fn begin_noting(self: &Rc<Self>, index: usize) {
        let shard = self.clone();
        self.world.spawn(Urgency::Background, async move {
            let directory = shard.directories[index].clone();
            let least = directory.backlog.least_noted();
            directory.backlog.on_noting();
            for (_, replica) in shard.unflushed_logs(index) {
                if shard.closing.get() || !directory.is_in_use() || !directory.has_room() {
                    break;
                }
                if replica.log().unnoted_bytes() >= least {
                    // A failure was told to the replica.
                    let _noted = replica.log().note_written().await;
                }
            }
            directory.backlog.on_noted();
        });
    }

    /// The logs of a directory that have something behind their recovery points, and how much; the others are forgotten.
    fn unflushed_logs(&self, index: usize) -> Vec<(u64, Rc<Replica<W>>)> {
        let mut found = Vec::new();
        self.directories[index].backlog.logs.borrow_mut().retain(|id| {
            let unflushed = self.replica(*id).map(|replica| (replica.unflushed_bytes(), replica));
            let keep = unflushed.as_ref().is_some_and(|(bytes, _)| *bytes > 0);
            found.extend(unflushed.filter(|_| keep));
            keep
        });
        found
    }

    async fn flush_together(&self, due: Vec<(u64, Rc<Replica<W>>)>) {
        let mut running = Vec::with_capacity(due.len());
        for (_, replica) in due {
            let (done, receiver) = oneshot::oneshot();
            self.world.spawn(Urgency::Background, async move {
                // A failure was told to the replica; a log that was closed meanwhile is flushed or deleted.
                let _flushed = replica.log().advance_recovery_point().await;
                done.send(());
            });
            running.push(receiver);
        }
        for receiver in running {
            receiver.receive().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_begins_by_bytes_and_once() {
        let backlog = Backlog::new(12_800, 2);
        let flush = |bytes| backlog.on_appended(bytes).flush;
        assert!(!flush(1599), "a quarter of the share may lie behind");
        assert!(flush(1));
        assert!(!flush(5000), "one is under way");
        backlog.on_round_over(1000);
        assert!(!flush(599));
        assert!(flush(1));
        backlog.on_round_over(1600);
        assert!(!flush(99), "what could not be flushed does not make it look at each append");
        assert!(flush(1));
    }

    #[test]
    fn notes_are_made_by_bytes_too() {
        let backlog = Backlog::new(4 << 30, 2);
        let note = |bytes| backlog.on_appended(bytes).note;
        assert!(!note((32 << 20) - 1));
        assert!(note(1));
        backlog.on_noting();
        assert!(!note(32 << 20), "they are being made");
        backlog.on_noted();
        assert!(note(1), "and the next are due at once");
    }
}
