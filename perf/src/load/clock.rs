//! Nanoseconds since the run began, on a clock that never goes back.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub fn nanos(&self) -> u64 {
        self.origin.elapsed().as_nanos() as u64
    }
}

/// Wall-clock milliseconds since 1970; a clock set before then reads as 1970.
pub fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
