//! How often something has happened of late, measured as Kafka's quotas measure it: by counts in a few windows of time, the oldest of
//! which are forgotten.
//!
//! Called by `census`; calls nothing. Time and the size of the windows are arguments.
//!
//! Invariants:
//! 1. What happened less than all windows but one ago counts; what happened longer ago than all of them does not.
//! 2. A rate that has only begun to be measured is taken over all windows but one: the first events of a burst are no high rate.

use std::collections::VecDeque;
use std::time::Duration;

use crate::types::Monotonic;

#[derive(Default)]
pub struct Rate {
    /// When each window began, and what was counted in it.
    windows: VecDeque<(Monotonic, u64)>,
}

impl Rate {
    /// Counts one event.
    pub fn record(&mut self, now: Monotonic, windows: u32, window: Duration) {
        self.forget(now, windows, window);
        match self.windows.back_mut() {
            Some((began, count)) if now.since(*began) < window => *count += 1,
            _ => self.windows.push_back((now, 1)),
        }
    }

    /// How long nothing may happen for the rate to fall to `allowed` events a second.
    pub fn excess(&mut self, now: Monotonic, allowed: f64, windows: u32, window: Duration) -> Duration {
        self.forget(now, windows, window);
        let Some((oldest, _)) = self.windows.front() else { return Duration::ZERO };
        let span = Self::span(now.since(*oldest), windows, window);
        let count: u64 = self.windows.iter().map(|(_, count)| count).sum();
        let rate = count as f64 / span.as_secs_f64();
        if rate <= allowed {
            return Duration::ZERO;
        }
        // Nothing allowed is an endless wait; the caller has a limit.
        Duration::try_from_secs_f64((rate - allowed) / allowed * span.as_secs_f64()).unwrap_or(Duration::MAX)
    }

    /// What a count is divided by: the time since the oldest window began, with what all windows but one lack of having passed.
    fn span(elapsed: Duration, windows: u32, window: Duration) -> Duration {
        let full = (elapsed.as_nanos() / window.as_nanos().max(1)) as u32;
        let span = elapsed + window * windows.saturating_sub(1).saturating_sub(full);
        // A single window counts from its first event on.
        span.max(Duration::from_millis(1))
    }

    fn forget(&mut self, now: Monotonic, windows: u32, window: Duration) {
        while self.windows.front().is_some_and(|(began, _)| now.since(*began) >= window * windows) {
            self.windows.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOWS: u32 = 11;
    const WINDOW: Duration = Duration::from_secs(1);
    const ALLOWED: f64 = 10.0;

    fn at(ms: u64) -> Monotonic {
        Monotonic::from_nanos(ms * 1_000_000)
    }

    fn happens(rate: &mut Rate, ms: u64) -> Duration {
        rate.record(at(ms), WINDOWS, WINDOW);
        rate.excess(at(ms), ALLOWED, WINDOWS, WINDOW)
    }

    #[test]
    fn a_burst_passes_and_what_follows_waits_its_turn() {
        let mut rate = Rate::default();
        for _ in 0..100 {
            assert_eq!(happens(&mut rate, 5000), Duration::ZERO);
        }
        // 101 in ten seconds: a tenth of a second too early.
        let waits = happens(&mut rate, 5000);
        assert!(waits.abs_diff(Duration::from_millis(100)) < Duration::from_millis(1), "{waits:?}");
        let waits = happens(&mut rate, 5000);
        assert!(waits.abs_diff(Duration::from_millis(200)) < Duration::from_millis(1), "{waits:?}");
    }

    #[test]
    fn those_that_wait_come_as_fast_as_allowed() {
        let mut rate = Rate::default();
        let (mut now, mut count) = (0, 0);
        while now < 60_000 {
            now += 1 + happens(&mut rate, now).min(WINDOW).as_millis() as u64;
            count += 1;
        }
        // Ten a second for a minute, and the burst that comes first.
        assert!((600..=720).contains(&count), "{count}");
    }

    #[test]
    fn what_is_long_past_is_forgotten() {
        let mut rate = Rate::default();
        for _ in 0..500 {
            happens(&mut rate, 0);
        }
        assert!(!happens(&mut rate, 10_900).is_zero());
        assert_eq!(happens(&mut rate, 23_000), Duration::ZERO);
        assert_eq!(rate.windows.len(), 1);
    }

    #[test]
    fn nothing_allowed_waits_for_ever() {
        let mut rate = Rate::default();
        rate.record(at(0), 1, WINDOW);
        assert_eq!(rate.excess(at(0), 0.0, 1, WINDOW), Duration::MAX);
    }
}
