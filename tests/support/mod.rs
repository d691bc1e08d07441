//! What every black-box test stands on: processes that cannot outlive the test, a broker (Ottla, or Apache Kafka for comparison), real
//! peers, a raw-socket client, and record batches as bytes.

pub mod broker;
pub mod dump;
pub mod forge;
pub mod groups;
pub mod peers;
pub mod process;
pub mod raw;
pub mod records;
pub mod topics;
pub mod zookeeper;

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

static QUIET: RwLock<()> = RwLock::new(());

/// Held by an ordinary test while it runs: keeps the measuring tests out.
pub fn noisy() -> RwLockReadGuard<'static, ()> {
    QUIET.read().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Held by a test that measures time or work: no other test of this binary runs meanwhile.
pub fn quiet() -> RwLockWriteGuard<'static, ()> {
    QUIET.write().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Whether tests may take many minutes and gigabytes: `OTTLA_HEAVY` is set.
pub fn heavy() -> bool {
    std::env::var_os("OTTLA_HEAVY").is_some_and(|value| !value.is_empty())
}

/// Asks again every few milliseconds until there is an answer; panics with `what` past the deadline.
pub fn eventually<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < within, "not within {within:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
