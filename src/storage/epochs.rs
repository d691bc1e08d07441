//! The leader epochs of one log and where each began: what replicas compare to find where their histories part (KIP-101, KIP-279).
//!
//! Called by `log` at each append, truncation and recovery; calls `types`. Pure bookkeeping; `checkpoint` has the file form.
//!
//! Invariants:
//! 1. Epochs and start offsets both increase strictly from entry to entry.

use crate::types::{LeaderEpoch, Offset};

/// One leader's reign: the epoch and the first offset it wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochStart {
    pub epoch: LeaderEpoch,
    pub start: Offset,
}

/// Offset that stands for "unknown" in an answer about epochs.
pub const UNKNOWN_END: Offset = Offset(-1);

#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Epochs {
    /// Oldest first.
    entries: Vec<EpochStart>,
}

impl Epochs {
    /// Takes entries as a file holds them; those that break the order are dropped in favour of later ones, as in [`Epochs::assign`].
    pub fn from_entries(entries: impl IntoIterator<Item = EpochStart>) -> Self {
        let mut epochs = Self::default();
        for entry in entries {
            epochs.assign(entry.epoch, entry.start);
        }
        epochs
    }

    pub fn entries(&self) -> &[EpochStart] {
        &self.entries
    }

    pub fn latest(&self) -> Option<LeaderEpoch> {
        self.entries.last().map(|entry| entry.epoch)
    }

    /// Notes that a batch of `epoch` was appended at `offset`. Answers whether that was news.
    ///
    /// An entry that would break the order makes the newer ones of the past void: they were written by leaders whose data is gone.
    pub fn assign(&mut self, epoch: LeaderEpoch, offset: Offset) -> bool {
        if self.latest() == Some(epoch) || epoch.get() < 0 {
            return false;
        }
        self.supersede(epoch, offset);
        true
    }

    fn supersede(&mut self, epoch: LeaderEpoch, offset: Offset) {
        self.entries.retain(|entry| entry.epoch < epoch && entry.start < offset);
        self.entries.push(EpochStart { epoch, start: offset });
    }

    /// Notes that a batch of `epoch` was found at `offset`, below entries that are known to be right: they began no later than they say, and the
    /// log's start may have come back to before the first. Answers whether that was news.
    pub fn recall(&mut self, epoch: LeaderEpoch, offset: Offset) -> bool {
        if self.at(offset) == Some(epoch) || epoch.get() < 0 {
            return false;
        }
        let after = self.entries.partition_point(|entry| entry.start <= offset);
        let follows = after.checked_sub(1).is_none_or(|before| self.entries[before].epoch < epoch && self.entries[before].start < offset);
        match self.entries.get_mut(after) {
            Some(next) if follows && next.epoch == epoch => next.start = offset,
            Some(next) if follows && next.epoch > epoch => self.entries.insert(after, EpochStart { epoch, start: offset }),
            _ => self.supersede(epoch, offset),
        }
        true
    }

    /// The end offset of `epoch`: the start of the next one, or the log's end for the latest. When the log never saw the epoch, the
    /// answer is for the largest one below it. `(-1, -1)` when the log knows nothing that new.
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end: Offset) -> (LeaderEpoch, Offset) {
        if epoch == LeaderEpoch::UNKNOWN {
            return (LeaderEpoch::UNKNOWN, UNKNOWN_END);
        }
        if self.latest() == Some(epoch) {
            return (epoch, log_end);
        }
        let higher = self.entries.partition_point(|entry| entry.epoch <= epoch);
        match (higher.checked_sub(1).map(|at| self.entries[at]), self.entries.get(higher)) {
            (_, None) => (LeaderEpoch::UNKNOWN, UNKNOWN_END),
            (Some(floor), Some(next)) => (floor.epoch, next.start),
            // Everything known is newer: the asker's history parts before it.
            (None, Some(next)) => (epoch, next.start),
        }
    }

    /// As [`Epochs::end_offset_for`], asked of the leader in epoch `current`: its reign begins at the log's end as long as it has
    /// appended nothing.
    pub fn end_offset_under(&self, epoch: LeaderEpoch, current: LeaderEpoch, log_end: Offset) -> (LeaderEpoch, Offset) {
        let latest = self.latest();
        if latest.is_some_and(|latest| latest >= current) || epoch > current || epoch == LeaderEpoch::UNKNOWN {
            return self.end_offset_for(epoch, log_end);
        }
        match latest {
            _ if epoch == current => (current, log_end),
            Some(latest) if epoch >= latest => (latest, log_end),
            Some(_) => self.end_offset_for(epoch, log_end),
            None => (epoch, log_end),
        }
    }

    /// The epoch of the leader that wrote `offset`.
    pub fn at(&self, offset: Offset) -> Option<LeaderEpoch> {
        let after = self.entries.partition_point(|entry| entry.start <= offset);
        after.checked_sub(1).map(|at| self.entries[at].epoch)
    }

    /// Forgets what begins at or after `end`. Answers whether anything did.
    pub fn truncate_end(&mut self, end: Offset) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.start < end);
        self.entries.len() != before
    }

    /// Forgets epochs that ended before `start`; the one that holds it now begins there. Answers whether anything changed.
    pub fn truncate_start(&mut self, start: Offset) -> bool {
        let after = self.entries.partition_point(|entry| entry.start <= start);
        let Some(holder) = after.checked_sub(1) else { return false };
        if self.entries[holder].start == start && holder == 0 {
            return false;
        }
        self.entries[holder].start = start;
        self.entries.drain(..holder);
        true
    }

    /// Forgets epochs newer than `epoch`. Answers whether there were any.
    pub fn forget_above(&mut self, epoch: LeaderEpoch) -> bool {
        let before = self.entries.len();
        self.entries.retain(|entry| entry.epoch <= epoch);
        self.entries.len() != before
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epochs(entries: &[(i32, i64)]) -> Epochs {
        Epochs::from_entries(entries.iter().map(|&(e, o)| EpochStart { epoch: LeaderEpoch(e), start: Offset(o) }))
    }

    fn pairs(epochs: &Epochs) -> Vec<(i32, i64)> {
        epochs.entries().iter().map(|e| (e.epoch.get(), e.start.get())).collect()
    }

    #[test]
    fn an_epoch_is_noted_once() {
        let mut e = Epochs::default();
        assert!(e.assign(LeaderEpoch(1), Offset(0)));
        assert!(!e.assign(LeaderEpoch(1), Offset(10)));
        assert!(e.assign(LeaderEpoch(4), Offset(20)));
        assert!(!e.assign(LeaderEpoch::UNKNOWN, Offset(30)));
        assert_eq!(pairs(&e), [(1, 0), (4, 20)]);
    }

    #[test]
    fn entries_out_of_order_give_way_to_the_later_one() {
        assert_eq!(pairs(&epochs(&[(1, 0), (3, 20), (2, 30)])), [(1, 0), (2, 30)]);
        assert_eq!(pairs(&epochs(&[(1, 0), (2, 20), (3, 10)])), [(1, 0), (3, 10)]);
        assert_eq!(pairs(&epochs(&[(1, 5), (2, 5)])), [(2, 5)], "an epoch without records leaves no trace");
    }

    #[test]
    fn what_is_found_below_the_first_entry_leaves_those_behind_it() {
        let mut e = epochs(&[(3, 20), (5, 40)]);
        assert!(e.recall(LeaderEpoch(2), Offset(10)));
        assert!(!e.recall(LeaderEpoch(2), Offset(12)));
        assert!(e.recall(LeaderEpoch(3), Offset(15)), "it had begun before the start that was forgotten");
        assert_eq!(pairs(&e), [(2, 10), (3, 15), (5, 40)]);
        assert!(e.recall(LeaderEpoch(4), Offset(30)));
        assert_eq!(pairs(&e), [(2, 10), (3, 15), (4, 30), (5, 40)]);
        assert!(!e.recall(LeaderEpoch(5), Offset(60)));
        assert!(e.recall(LeaderEpoch(6), Offset(70)));
        assert_eq!(pairs(&e), [(2, 10), (3, 15), (4, 30), (5, 40), (6, 70)]);
        assert!(e.recall(LeaderEpoch(5), Offset(20)), "what contradicts it is void");
        assert_eq!(pairs(&e), [(2, 10), (3, 15), (5, 20)]);
    }

    #[test]
    fn end_offsets_as_kafka_answers_them() {
        let e = epochs(&[(2, 10), (4, 20), (5, 30)]);
        let ask = |epoch| {
            let (found, end) = e.end_offset_for(LeaderEpoch(epoch), Offset(42));
            (found.get(), end.get())
        };
        assert_eq!(ask(5), (5, 42), "the latest ends at the log's end");
        assert_eq!(ask(4), (4, 30));
        assert_eq!(ask(3), (2, 20), "never seen: the largest below it");
        assert_eq!(ask(2), (2, 20));
        assert_eq!(ask(1), (1, 10), "older than all that is known");
        assert_eq!(ask(6), (-1, -1), "newer than all that is known");
        assert_eq!(ask(-1), (-1, -1));
        assert_eq!(Epochs::default().end_offset_for(LeaderEpoch(0), Offset(7)), (LeaderEpoch(-1), Offset(-1)));
    }

    #[test]
    fn a_leader_that_appended_nothing_yet_reigns_from_the_logs_end() {
        let e = epochs(&[(2, 10), (4, 20)]);
        let ask = |epoch: i32, current: i32| {
            let (found, end) = e.end_offset_under(LeaderEpoch(epoch), LeaderEpoch(current), Offset(42));
            (found.get(), end.get())
        };
        assert_eq!(ask(7, 7), (7, 42));
        assert_eq!(ask(5, 7), (4, 42), "never seen: the largest below it, which ended where the reign began");
        assert_eq!(ask(4, 7), (4, 42));
        assert_eq!(ask(3, 7), (2, 20));
        assert_eq!(ask(1, 7), (1, 10));
        assert_eq!(ask(8, 7), (-1, -1));
        assert_eq!(ask(-1, 7), (-1, -1));
        assert_eq!(ask(4, 4), (4, 42));
        assert_eq!(ask(3, 4), (2, 20));
        let none = Epochs::default();
        let ask = |epoch: i32| none.end_offset_under(LeaderEpoch(epoch), LeaderEpoch(3), Offset(7));
        assert_eq!(ask(3), (LeaderEpoch(3), Offset(7)));
        assert_eq!(ask(1), (LeaderEpoch(1), Offset(7)));
        assert_eq!(ask(4), (LeaderEpoch(-1), Offset(-1)));
    }

    #[test]
    fn newer_leaders_of_another_cluster_are_forgotten() {
        let mut e = epochs(&[(2, 10), (4, 20), (9, 30)]);
        assert!(!e.forget_above(LeaderEpoch(9)));
        assert!(e.forget_above(LeaderEpoch(4)));
        assert_eq!(pairs(&e), [(2, 10), (4, 20)]);
        assert!(e.assign(LeaderEpoch(5), Offset(40)));
        assert_eq!(pairs(&e), [(2, 10), (4, 20), (5, 40)]);
    }

    #[test]
    fn truncations_keep_the_reign_that_remains() {
        let mut e = epochs(&[(2, 10), (4, 20), (5, 30)]);
        assert!(!e.truncate_end(Offset(31)));
        assert!(e.truncate_end(Offset(30)));
        assert_eq!(pairs(&e), [(2, 10), (4, 20)]);
        assert!(!e.truncate_start(Offset(5)));
        assert!(!e.truncate_start(Offset(10)));
        assert!(e.truncate_start(Offset(15)));
        assert_eq!(pairs(&e), [(2, 15), (4, 20)]);
        assert!(e.truncate_start(Offset(25)));
        assert_eq!(pairs(&e), [(4, 25)]);
        assert_eq!(e.at(Offset(24)), None);
        assert_eq!(e.at(Offset(25)), Some(LeaderEpoch(4)));
    }
}
