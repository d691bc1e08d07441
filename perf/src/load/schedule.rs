//! When each request of an open loop is to leave: the n-th at the start plus n intervals, whatever happened to those before.

use crate::outcome::Pace;

/// Invariants:
/// 1. The intended time of a send depends on its index alone. It is computed, never summed up, so that no rounding piles up.
/// 2. A send is taken once, in order; one that is overdue keeps its intended time.
#[derive(Clone, Debug)]
pub struct Schedule {
    start: u64,
    per_second: f64,
    nanos_max: u64,
    taken: u64,
    overdue: u64,
}

/// Taken this much after it was due, a send is overdue.
const OVERDUE: u64 = 1_000_000;

impl Schedule {
    /// Sends from `start` (nanoseconds) on, `per_second` of them, for `nanos_max`.
    pub fn new(start: u64, per_second: f64, nanos_max: u64) -> Self {
        Self { start, per_second, nanos_max, taken: 0, overdue: 0 }
    }

    pub fn intended(&self, index: u64) -> u64 {
        self.start + (index as f64 * 1e9 / self.per_second) as u64
    }

    /// The intended time of the next send, if that has come.
    pub fn take_due(&mut self, now: u64) -> Option<u64> {
        let intended = self.intended(self.taken);
        if intended > now || intended - self.start >= self.nanos_max {
            return None;
        }
        self.taken += 1;
        self.overdue += u64::from(now - intended > OVERDUE);
        Some(intended)
    }

    /// What became of it at `now`, with so many of its requests unanswered.
    pub fn pace(&self, now: u64, unanswered: usize) -> Pace {
        let seconds = now.saturating_sub(self.start).min(self.nanos_max) as f64 / 1e9;
        Pace { requests_per_second: self.per_second, seconds, unanswered: unanswered as u64, overdue: self.overdue }
    }

    /// Whether every send has been taken.
    pub fn is_over(&self) -> bool {
        self.intended(self.taken) - self.start >= self.nanos_max
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_are_due_one_interval_apart() {
        let mut schedule = Schedule::new(500, 1000.0, 3_000_000);
        assert_eq!(schedule.take_due(499), None);
        assert_eq!(schedule.take_due(500), Some(500));
        assert_eq!(schedule.take_due(1_000_499), None);
        assert_eq!(schedule.take_due(1_000_500), Some(1_000_500));
        assert!(!schedule.is_over());
        assert_eq!(schedule.take_due(u64::MAX), Some(2_000_500));
        assert!(schedule.is_over());
        assert_eq!(schedule.take_due(u64::MAX), None);
    }

    #[test]
    fn overdue_sends_keep_their_intended_times() {
        let mut schedule = Schedule::new(0, 100.0, 1_000_000_000);
        let taken: Vec<u64> = std::iter::from_fn(|| schedule.take_due(31_000_000)).collect();
        assert_eq!(taken, [0, 10_000_000, 20_000_000, 30_000_000]);
        assert_eq!(schedule.pace(31_000_000, 0).overdue, 3, "the last is a millisecond behind, and no more");
    }

    #[test]
    fn a_pace_lasts_no_longer_than_its_schedule() {
        let schedule = Schedule::new(500, 1000.0, 2_000_000_000);
        assert_eq!(schedule.pace(1_000_000_500, 7), Pace { requests_per_second: 1000.0, seconds: 1.0, unanswered: 7, overdue: 0 });
        assert_eq!(schedule.pace(9_000_000_500, 0).seconds, 2.0);
    }

    #[test]
    fn odd_rates_do_not_drift() {
        let schedule = Schedule::new(7, 30_000.0, u64::MAX);
        assert_eq!(schedule.intended(30_000 * 3600), 7 + 3_600_000_000_000);
        assert_eq!(schedule.intended(1), 7 + 33_333);
    }
}
