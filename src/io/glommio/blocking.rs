//! Threads for what may block, and for what takes long: opening and renaming files, cold reads; compression of a large batch. Shared by
//! all shards, started as they are needed, gone when they are not.
//!
//! Called by `scheduler` users through [`off_shard`] and [`at_leisure`]; calls nothing but the work it is given.
//!
//! Invariants:
//! 1. At most the named number of threads exist; work beyond them waits in order.
//! 2. A panic in the work ends the process: its shard would wait for ever.
//! 3. What computes has threads of its own, no more than cpus, which give way to the shards: whoever sends batches that decompress to
//!    hundreds of mebibytes waits for them by himself. Nothing that waits for the disk waits behind it.
//! 4. What gives memory back to the system gives way too, and waits for neither.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::num::NonZeroUsize;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use super::{kernel, scheduler, shards};

/// A thread without work this long ends.
const IDLE_MAX: Duration = Duration::from_secs(10);

type Job = Box<dyn FnOnce() + Send>;

pub(super) struct Pool {
    state: Mutex<State>,
    has_job: Condvar,
    threads_max: usize,
    precedence: Precedence,
}

/// Whom the threads of a pool share a cpu with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Precedence {
    /// They mostly wait.
    LikeShards,
    /// Where there is not enough for all, shards come first.
    BehindShards,
}

/// How far threads are behind, in the system's measure: a tenth of a cpu is left to them beside a shard that wants all of it.
const BEHIND_SHARDS_NICE: i32 = 10;

/// The threads that all shards share.
#[derive(Clone)]
pub(super) struct Pools {
    pub blocking: Arc<Pool>,
    pub computing: Arc<Pool>,
    pub freeing: Arc<Pool>,
}

impl Pools {
    pub(super) fn new(blocking_max: NonZeroUsize, computing_max: NonZeroUsize) -> Self {
        Self {
            blocking: Pool::new(blocking_max, Precedence::LikeShards),
            computing: Pool::new(computing_max, Precedence::BehindShards),
            freeing: Pool::new(NonZeroUsize::MIN, Precedence::BehindShards),
        }
    }
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

impl Pool {
    fn new(threads_max: NonZeroUsize, precedence: Precedence) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), has_job: Condvar::new(), threads_max: threads_max.get(), precedence })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn run(self: &Arc<Self>, job: Job) {
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
        if self.precedence == Precedence::BehindShards {
            kernel::give_precedence(BEHIND_SHARDS_NICE);
        }
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
    scheduler::current().blocking.run(Box::new(work));
}

/// Runs `work` on one of the blocking threads. Work that has begun runs to its end even if the future is dropped.
pub(super) async fn off_shard<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let pool = scheduler::current().blocking.clone();
    on(&pool, work).await
}

/// As [`off_shard`], for work that keeps a cpu busy.
pub(super) async fn at_leisure<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let pool = scheduler::current().computing.clone();
    on(&pool, work).await
}

async fn on<T: Send + 'static>(pool: &Arc<Pool>, work: impl FnOnce() -> T + Send + 'static) -> T {
    let outcome = Arc::new(Mutex::new(Outcome { value: None, waiter: None }));
    let reported = outcome.clone();
    pool.run(Box::new(move || {
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
