//! How fast a pass goes: what it reads and writes within `log.cleaner.io.max.bytes.per.second`, its work within a share of a core.
//!
//! Called by `copy`; calls `types`. Pure: moments are arguments, and the answer is how long to rest.

use std::time::Duration;

use crate::types::Monotonic;

/// Rests as long as it worked: half a core at most, beside which a shard that has something to do finds its own time.
const REST_FOR_WORK: u32 = 1;

pub struct Pace {
    began: Monotonic,
    bytes: u64,
    bytes_per_second_max: Option<f64>,
}

impl Pace {
    pub fn new(now: Monotonic, bytes_per_second_max: Option<f64>) -> Self {
        Self { began: now, bytes: 0, bytes_per_second_max: bytes_per_second_max.filter(|rate| *rate > 0.0) }
    }

    /// How long to rest after `bytes` more were read or written, which took `work`.
    pub fn rest(&mut self, now: Monotonic, bytes: u64, work: Duration) -> Duration {
        self.bytes += bytes;
        let due = self.bytes_per_second_max.map_or(Duration::ZERO, |rate| {
            let seconds = (self.bytes as f64 / rate).min(f64::from(u32::MAX));
            Duration::from_secs_f64(seconds)
        });
        due.saturating_sub(now.since(self.began)).max(work * REST_FOR_WORK)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_on_bytes_is_kept_over_the_pass_and_work_is_rested_from() {
        let at = |ms: u64| Monotonic::from_nanos(ms * 1_000_000);
        let mut pace = Pace::new(at(0), Some(1000.0));
        assert_eq!(pace.rest(at(0), 500, Duration::ZERO), Duration::from_millis(500));
        assert_eq!(pace.rest(at(600), 500, Duration::ZERO), Duration::from_millis(400));
        assert_eq!(pace.rest(at(2000), 500, Duration::from_millis(3)), Duration::from_millis(3), "not behind: only the work counts");
        let mut free = Pace::new(at(0), None);
        assert_eq!(free.rest(at(1), 1 << 40, Duration::from_millis(7)), Duration::from_millis(7));
    }
}
