//! Threads for what may block, and for what takes long: opening and renaming files, cold reads, rounds of syncs; compression of a large batch. Shared
//! by all shards, started as they are needed, gone when they are not.
//!
//! Called by `scheduler` users through [`off_shard`], [`in_sync_round`], [`at_leisure`] and [`at_length`]; calls nothing but the work it is given.
//!
//! Invariants:
//! 1. At most the named number of threads exist; work beyond them waits in order.
//! 2. A panic in the work ends the process: its shard would wait for ever.
//! 3. What computes has threads of its own, no more than cpus, which give way to the shards. Nothing that waits for the disk waits behind it.
//!    What computes for long has others, half as many: whoever sends batches that decompress to hundreds of mebibytes waits for them by himself.
//! 4. What is read ahead is left out where all threads are busy: nobody waits for it, or in the queue behind it.
//! 5. What gives memory back to the system gives way too, and waits for neither.
//! 6. There is a thread for each round of syncs that may be under way: none waits for that of another disk.

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
    pub lengthy: Arc<Pool>,
    pub freeing: Arc<Pool>,
    pub syncing: Arc<Pool>,
}

impl Pools {
    pub(super) fn new(blocking_max: NonZeroUsize, computing_max: NonZeroUsize, rounds_max: NonZeroUsize) -> Self {
        let lengthy_max = NonZeroUsize::new(computing_max.get() / 2).unwrap_or(NonZeroUsize::MIN);
        Self {
            blocking: Pool::new(blocking_max, Precedence::LikeShards),
            computing: Pool::new(computing_max, Precedence::BehindShards),
            lengthy: Pool::new(lengthy_max, Precedence::BehindShards),
            freeing: Pool::new(NonZeroUsize::MIN, Precedence::BehindShards),
            syncing: Pool::new(rounds_max, Precedence::LikeShards),
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

    /// Runs the job if a thread is free for it. Answers whether one is.
    fn run_if_free(self: &Arc<Self>, job: Job) -> bool {
        let is_free = {
            let state = self.state();
            state.threads < self.threads_max || state.idle > state.jobs.len()
        };
        if is_free {
            self.run(job);
        }
        is_free
    }

    fn serve(&self) {
        shards::end_process_on_panic_here();
        shards::leave_own_cpu();
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

/// Begins to read ahead, if one of the blocking threads is free for it. Answers whether one is.
pub(super) fn begin_ahead(work: impl FnOnce() + Send + 'static) -> bool {
    scheduler::current().blocking.run_if_free(Box::new(work))
}

/// Runs `work` on one of the blocking threads; nobody waits for it.
pub(super) fn begin_off_shard(work: impl FnOnce() + Send + 'static) {
    scheduler::current().blocking.run(Box::new(work));
}

/// Runs `work` on one of the blocking threads. It runs to its end even if the future is dropped.
pub(super) async fn off_shard<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let pool = scheduler::current().blocking.clone();
    on(&pool, IfDropped::Done, work).await
}

/// As [`off_shard`], for rounds of syncs: what else blocks does not wait behind them.
pub(super) async fn in_sync_round<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let pool = scheduler::current().syncing.clone();
    on(&pool, IfDropped::Done, work).await
}

/// For work that keeps a cpu busy, some ten milliseconds at most. If the future is dropped before it has begun, it never does.
pub(super) async fn at_leisure<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let pool = scheduler::current().computing.clone();
    on(&pool, IfDropped::Withdrawn, work).await
}

/// As [`at_leisure`], for work that may take seconds.
pub(super) async fn at_length<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let pool = scheduler::current().lengthy.clone();
    on(&pool, IfDropped::Withdrawn, work).await
}

/// What becomes of work that has not begun when nobody waits for it any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum IfDropped {
    Done,
    Withdrawn,
}

/// Work on its way to a thread, and what comes of it on the way back.
struct Errand<F, T> {
    stage: Stage<F, T>,
    waiter: Option<Waker>,
}

enum Stage<F, T> {
    Waiting(F),
    /// It is being done; or it is over, one way or the other.
    Away,
    Done(T),
}

impl<F, T> Errand<F, T> {
    fn lock(errand: &Mutex<Self>) -> MutexGuard<'_, Self> {
        errand.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(errand: &Mutex<Self>) -> Stage<F, T> {
        std::mem::replace(&mut Self::lock(errand).stage, Stage::Away)
    }
}

/// Takes work back that has not begun, and with it what it holds.
struct Withdraw<'a, F, T>(&'a Mutex<Errand<F, T>>);

impl<F, T> Drop for Withdraw<'_, F, T> {
    fn drop(&mut self) {
        drop(Errand::take(self.0));
    }
}

async fn on<T: Send + 'static>(pool: &Arc<Pool>, if_dropped: IfDropped, work: impl FnOnce() -> T + Send + 'static) -> T {
    let errand = Arc::new(Mutex::new(Errand { stage: Stage::Waiting(work), waiter: None }));
    let theirs = errand.clone();
    pool.run(Box::new(move || {
        let Stage::Waiting(work) = Errand::take(&theirs) else { return };
        let value = work();
        let waiter = {
            let mut errand = Errand::lock(&theirs);
            errand.stage = Stage::Done(value);
            errand.waiter.take()
        };
        waiter.into_iter().for_each(Waker::wake);
    }));
    let _withdraw = (if_dropped == IfDropped::Withdrawn).then(|| Withdraw(&errand));
    poll_fn(|context| {
        let mut errand = Errand::lock(&errand);
        match std::mem::replace(&mut errand.stage, Stage::Away) {
            Stage::Done(value) => Poll::Ready(value),
            unfinished => {
                errand.stage = unfinished;
                errand.waiter = Some(context.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    /// Clients that send what is costly and leave must not keep memory, nor stand before those who stay.
    #[test]
    fn work_that_nobody_waits_for_is_withdrawn_before_it_begins() {
        for if_dropped in [IfDropped::Withdrawn, IfDropped::Done] {
            let pool = Pool::new(NonZeroUsize::MIN, Precedence::LikeShards);
            let (release, held) = mpsc::channel::<()>();
            pool.run(Box::new(move || held.recv().unwrap()));
            let memory = Arc::new(());
            let pinned = memory.clone();
            let (tell, told) = mpsc::channel();
            let mut waiting = Box::pin(on(&pool, if_dropped, move || {
                drop(pinned);
                tell.send(()).unwrap();
            }));
            assert!(block_on(poll_once(&mut waiting)).is_none());
            drop(waiting);
            let withdrawn = if_dropped == IfDropped::Withdrawn;
            assert_eq!(Arc::strong_count(&memory), if withdrawn { 1 } else { 2 });
            release.send(()).unwrap();
            assert_eq!(block_on(on(&pool, if_dropped, || 7)), 7);
            assert_eq!(told.recv().is_err(), withdrawn);
        }
    }
}
