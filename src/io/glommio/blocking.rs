//! Threads for what may block: opening and renaming files, cold reads, compression of a large batch. Shared by all shards, started as
//! they are needed, gone when they are not.
//!
//! Called by `scheduler` users through [`off_shard`]; calls nothing but the work it is given.
//!
//! Invariants:
//! 1. At most the named number of threads exist; work beyond them waits in order.
//! 2. A panic in the work ends the process: its shard would wait for ever.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use super::{scheduler, shards};

/// A thread without work this long ends.
const IDLE_MAX: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

pub(super) struct Pool {
    state: Mutex<State>,
    has_job: Condvar,
    threads_max: usize,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Pool {
    pub(super) fn new(threads_max: NonZeroUsize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), has_job: Condvar::new(), threads_max: threads_max.get() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(self: &Arc<Self>, job: Job) {
        let mut state = self.state();
        state.jobs.push_back(job);
        if state.idle >= state.jobs.len() {
            self.has_job.notify_one();
        } else if state.threads < self.threads_max {
            let pool = self.clone();
            state.threads += 1;
            let started = thread::Builder::new().name("ottla-blocking".into()).spawn(move || pool.serve());
            if started.is_err() {
                state.threads -= 1;
                // The threads there are will get to it. Without any, this one has to.
                if state.threads == 0 {
                    let job = state.jobs.pop_back();
                    drop(state);
                    job.into_iter().for_each(|job| job());
                }
            }
        }
    }

    fn serve(&self) {
        shards::end_process_on_panic_here();
        let mut state = self.state();
        loop {
            if let Some(job) = state.jobs.pop_front() {
                drop(state);
                job();
                state = self.state();
                continue;
            }
            state.idle += 1;
            let (woken, waited) = self.has_job.wait_timeout(state, IDLE_MAX).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if waited.timed_out() && state.jobs.is_empty() {
                state.threads -= 1;
                return;
            }
        }
    }
}

struct Outcome<T> {
    value: Option<T>,
    waiter: Option<Waker>,
}

/// Runs `work` on one of the blocking threads; nobody waits for it.
pub(super) fn begin_off_shard(work: impl FnOnce() + Send + 'static) {
    scheduler::current().pool.run(Box::new(work));
}

/// Runs `work` on one of the blocking threads. Work that has begun runs to its end even if the future is dropped.
pub(super) async fn off_shard<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let outcome = Arc::new(Mutex::new(Outcome { value: None, waiter: None }));
    let reported = outcome.clone();
    scheduler::current().pool.run(Box::new(move || {
        let value = work();
        let waiter = {
            let mut outcome = reported.lock().unwrap_or_else(PoisonError::into_inner);
            outcome.value = Some(value);
            outcome.waiter.take()
        };
        waiter.into_iter().for_each(Waker::wake);
    }));
    poll_fn(|context| {
        let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                outcome.waiter = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}
