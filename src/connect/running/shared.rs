//! What a task's thread and the worker tell each other.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wanted {
    Run,
    Pause,
    Stop,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Running,
    Paused,
    Failed,
    Unassigned,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            State::Running => "RUNNING",
            State::Paused => "PAUSED",
            State::Failed => "FAILED",
            State::Unassigned => "UNASSIGNED",
        }
    }
}

/// Counted by the task's thread, read by anybody.
#[derive(Debug, Default)]
pub struct Counts {
    /// Sent and acknowledged, or put.
    pub records: AtomicU64,
    pub bytes: AtomicU64,
    /// Left out: dropped by a transform.
    pub filtered: AtomicU64,
    /// Left out as `errors.tolerance` allows.
    pub skipped: AtomicU64,
    pub dead_letters: AtomicU64,
    /// Records or calls that failed, whatever came of it.
    pub errors: AtomicU64,
    pub retries: AtomicU64,
    pub commits: AtomicU64,
    pub commit_failures: AtomicU64,
    /// What waits: records for a sink, units of its own for a source; -1 where nobody knows.
    lag: AtomicI64,
}

impl Counts {
    pub fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    pub fn set_lag(&self, lag: Option<u64>) {
        self.lag.store(lag.and_then(|lag| i64::try_from(lag).ok()).unwrap_or(-1), Ordering::Relaxed);
    }

    pub fn lag(&self) -> Option<u64> {
        u64::try_from(self.lag.load(Ordering::Relaxed)).ok()
    }
}

#[derive(Debug)]
pub struct Shared {
    pub connector: String,
    pub number: usize,
    pub counts: Counts,
    wanted: Mutex<Wanted>,
    bell: Condvar,
    state: Mutex<(State, Option<String>)>,
}

impl Shared {
    pub fn new(connector: &str, number: usize, wanted: Wanted) -> Shared {
        let counts = Counts::default();
        counts.set_lag(None);
        Shared {
            connector: connector.to_owned(),
            number,
            counts,
            wanted: Mutex::new(wanted),
            bell: Condvar::new(),
            state: Mutex::new((State::Unassigned, None)),
        }
    }

    /// `connector-0`
    pub fn id(&self) -> String {
        format!("{}-{}", self.connector, self.number)
    }

    pub fn wanted(&self) -> Wanted {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn want(&self, wanted: Wanted) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = wanted;
        self.bell.notify_all();
    }

    /// Waits until something is wanted other than `but`, for so long at most.
    pub fn wait(&self, but: Wanted, within: Duration) {
        let wanted = self.wanted.lock().unwrap_or_else(PoisonError::into_inner);
        let _waited = self.bell.wait_timeout_while(wanted, within, |wanted| *wanted == but);
    }

    fn state_now(&self) -> MutexGuard<'_, (State, Option<String>)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// And why, of one that failed.
    pub fn state(&self) -> (State, Option<String>) {
        self.state_now().clone()
    }

    pub fn set_state(&self, state: State) {
        *self.state_now() = (state, None);
    }

    pub fn fail(&self, why: &str) {
        tracing::error!("task {} has FAILED: {why}", self.id());
        *self.state_now() = (State::Failed, Some(why.to_owned()));
    }
}
