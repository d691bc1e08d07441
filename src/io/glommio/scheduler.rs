//! The tasks of one shard: who is ready, in what order they run, and how anybody wakes them.
//!
//! Called by `shards`, which drives it, and by the other files of `io::glommio`; calls `blocking` and the runtime's executor, which sees
//! the whole shard as one task and only waits for the kernel. Lives on its shard; [`TaskWaker`]s go anywhere.
//!
//! Why not the runtime's own tasks: glommio 0.9 parks for good with runnable tasks when something lands in its latency ring between
//! polling and running (a preempt timer, a wake-up from another thread whose task it has seen already). An echo over loopback stops
//! within seconds. So nothing here uses what fills that ring: no preempt timer, no wake-up across threads through the runtime, no
//! blocking thread of the runtime. It also spares a process-wide lock per spawned task, a count of wakers that overflows at 32,767,
//! and an eventfd write for each wake-up from another shard.
//!
//! Invariants:
//! 1. A task that was woken is in exactly one ready queue until it is polled; waking it again changes nothing.
//! 2. A shard that goes idle says so before it looks at the wake-ups from other threads for the last time; they push before they ask
//!    whether it is idle. So none is missed, and only an idle shard costs a system call to wake.
//! 3. While foreground tasks are ready, background tasks, and those that stand aside, get a [`BACKGROUND_SHARE`]th of the time.
//! 4. The kernel is asked for completions at least every [`TURN`], however much is ready.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use crossbeam_queue::SegQueue;
use slab::Slab;

use super::blocking::{Pool, Pools};
use super::kernel;
use crate::io::Urgency;
use crate::metrics::{Timing, WorldInstruments};
use crate::types::Monotonic;

/// Tasks run this long before the kernel is asked for completions again.
const TURN: Duration = Duration::from_micros(250);

/// A task that loops over much work gives way after this long.
const TASK_TURN: Duration = Duration::from_micros(200);

/// Background tasks get one part in this many while there is foreground work.
const BACKGROUND_SHARE: u64 = 20;

/// The runtime's last way to park with a runnable task is a burst of completions at a bad moment. A timer ends that nap.
const NAP_MAX: Duration = Duration::from_millis(100);

thread_local! {
    static CURRENT: RefCell<Option<Rc<Scheduler>>> = const { RefCell::new(None) };
}

/// What other threads see of a shard.
pub(super) struct Home {
    /// Tasks woken by other threads.
    woken: SegQueue<Arc<TaskWaker>>,
    is_idle: AtomicBool,
    has_ended: AtomicBool,
    /// Readable when an idle shard was woken by another thread.
    bell: OwnedFd,
}

impl Home {
    fn wake_from_elsewhere(&self, task: Arc<TaskWaker>) {
        if self.has_ended.load(Ordering::Acquire) {
            return;
        }
        self.woken.push(task);
        if self.is_idle.swap(false, Ordering::SeqCst) {
            kernel::ring_event(self.bell.as_fd());
        }
    }
}

/// Wakes one task, from any thread.
pub(super) struct TaskWaker {
    home: Arc<Home>,
    key: usize,
    urgency: Urgency,
    /// In a ready queue, or on the way to one.
    is_queued: AtomicBool,
    /// Its turns are a background task's for now.
    stands_aside: AtomicBool,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if self.is_queued.swap(true, Ordering::AcqRel) {
            return;
        }
        let mut task = Some(self);
        // A thread that is being torn down has no shard either.
        let _elsewhere = CURRENT.try_with(|current| {
            if let Some(scheduler) = &*current.borrow()
                && let Some(own) = task.take_if(|task| Arc::ptr_eq(&task.home, &scheduler.home))
            {
                scheduler.push(own);
            }
        });
        if let Some(task) = task {
            task.home.clone().wake_from_elsewhere(task);
        }
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.load(Ordering::Acquire) {
            self.clone().wake();
        }
    }
}

struct Task {
    /// None while it is being polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    waker: Arc<TaskWaker>,
}

pub(super) struct Scheduler {
    home: Arc<Home>,
    tasks: RefCell<Slab<Task>>,
    foreground: RefCell<VecDeque<Arc<TaskWaker>>>,
    background: RefCell<VecDeque<Arc<TaskWaker>>>,
    /// When background work may next run although there is foreground work.
    background_due: Cell<u64>,
    /// When the task being polled was given the shard.
    task_began: Cell<u64>,
    /// The task being polled.
    polled: RefCell<Option<Arc<TaskWaker>>>,
    /// What wakes the runtime's one task.
    step: RefCell<Waker>,
    /// That task runs, or was woken.
    is_awake: Cell<bool>,
    pub(super) blocking: Arc<Pool>,
    pub(super) computing: Arc<Pool>,
    pub(super) lengthy: Arc<Pool>,
    pub(super) freeing: Arc<Pool>,
    pub(super) syncing: Arc<Pool>,
    pub(super) instruments: Rc<WorldInstruments>,
}

/// How a step of the shard ended.
pub(super) enum Step {
    /// Tasks are ready, but the kernel has to be asked first.
    AskKernel,
    /// The shard's main task is over.
    Over,
}

/// The scheduler of this thread's shard. A bug if there is none.
pub(super) fn current() -> Rc<Scheduler> {
    match CURRENT.with_borrow(Clone::clone) {
        Some(scheduler) => scheduler,
        None => unreachable!("a world is used on its shard only"),
    }
}

impl Scheduler {
    /// Makes this thread a shard.
    pub(super) fn begin(pools: Pools, timing: Timing) -> std::io::Result<Rc<Self>> {
        let home =
            Home { woken: SegQueue::new(), is_idle: AtomicBool::new(false), has_ended: AtomicBool::new(false), bell: kernel::event()? };
        let scheduler = Rc::new(Self {
            home: Arc::new(home),
            tasks: RefCell::default(),
            foreground: RefCell::default(),
            background: RefCell::default(),
            background_due: Cell::new(0),
            task_began: Cell::new(0),
            polled: RefCell::default(),
            step: RefCell::new(Waker::noop().clone()),
            is_awake: Cell::new(true),
            blocking: pools.blocking,
            computing: pools.computing,
            lengthy: pools.lengthy,
            freeing: pools.freeing,
            syncing: pools.syncing,
            instruments: Rc::new(WorldInstruments::new(timing)),
        });
        CURRENT.set(Some(scheduler.clone()));
        scheduler.spawn(Urgency::Foreground, listen_for_other_threads(scheduler.home.clone()));
        scheduler.spawn(Urgency::Background, end_naps());
        Ok(scheduler)
    }

    /// Drops every task. Inside the runtime's executor, because tasks hold its streams and files.
    pub(super) fn end(&self) {
        self.home.has_ended.store(true, Ordering::Release);
        while let Some(tasks) = Some(self.tasks.take()).filter(|tasks| !tasks.is_empty()) {
            drop(tasks); // May spawn more while it drops.
        }
        self.foreground.take();
        self.background.take();
        while self.home.woken.pop().is_some() {}
        CURRENT.set(None);
    }

    pub(super) fn spawn(&self, urgency: Urgency, future: impl Future<Output = ()> + 'static) {
        let waker = {
            let mut tasks = self.tasks.borrow_mut();
            let entry = tasks.vacant_entry();
            let waker = Arc::new(TaskWaker {
                home: self.home.clone(),
                key: entry.key(),
                urgency,
                is_queued: AtomicBool::new(true),
                stands_aside: AtomicBool::new(false),
            });
            entry.insert(Task { future: Some(Box::pin(future)), waker: waker.clone() });
            waker
        };
        self.push(waker);
    }

    /// Runs `operation` to its end, even if the future this answers with is dropped. Its first step is taken at once.
    pub(super) fn run_to_end<T: 'static>(&self, operation: impl Future<Output = T> + 'static) -> impl Future<Output = T> {
        let ended = Rc::new(Ended::default());
        let mut operation = Box::pin(operation);
        match operation.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => ended.value.set(Some(value)),
            Poll::Pending => {
                let ended = ended.clone();
                self.spawn(Urgency::Foreground, async move { ended.settle(operation.await) });
            }
        }
        poll_fn(move |context| ended.poll(context))
    }

    fn push(&self, task: Arc<TaskWaker>) {
        let urgency = if task.stands_aside.load(Ordering::Relaxed) { Urgency::Background } else { task.urgency };
        match urgency {
            Urgency::Foreground => self.foreground.borrow_mut().push_back(task),
            Urgency::Background => self.background.borrow_mut().push_back(task),
        }
        if !self.is_awake.replace(true) {
            self.step.borrow().wake_by_ref();
        }
    }

    /// Runs what is ready. Pending when nothing is.
    pub(super) fn run_ready(&self, context: &mut Context<'_>, is_over: &Cell<bool>) -> Poll<Step> {
        self.home.is_idle.store(false, Ordering::SeqCst);
        self.is_awake.set(true);
        self.step.borrow_mut().clone_from(context.waker());
        let began = kernel::monotonic_nanos();
        let mut now = began;
        let turn_ends = now + TURN.as_nanos() as u64;
        loop {
            while let Some(task) = self.home.woken.pop() {
                self.push(task);
            }
            let Some((task, urgency)) = self.next(now) else {
                self.home.is_idle.store(true, Ordering::SeqCst);
                if self.home.woken.is_empty() {
                    self.is_awake.set(false);
                    self.instruments.on_busy(Duration::from_nanos(now - began));
                    return Poll::Pending;
                }
                self.home.is_idle.store(false, Ordering::SeqCst);
                continue;
            };
            self.task_began.set(now);
            self.run(task);
            if is_over.get() {
                return Poll::Ready(Step::Over);
            }
            let ended = kernel::monotonic_nanos();
            if urgency == Urgency::Background {
                self.background_due.set(ended + (ended - now) * BACKGROUND_SHARE);
            }
            self.instruments.on_poll(Monotonic::from_nanos(now), Monotonic::from_nanos(ended));
            now = ended;
            if now >= turn_ends {
                self.instruments.on_busy(Duration::from_nanos(now - began));
                return Poll::Ready(Step::AskKernel);
            }
        }
    }

    /// The next task, and as what it gets its turn.
    fn next(&self, now: u64) -> Option<(Arc<TaskWaker>, Urgency)> {
        let background = || self.background.borrow_mut().pop_front().map(|task| (task, Urgency::Background));
        if now >= self.background_due.get()
            && let Some(next) = background()
        {
            return Some(next);
        }
        let foreground = self.foreground.borrow_mut().pop_front();
        foreground.map(|task| (task, Urgency::Foreground)).or_else(background)
    }

    fn run(&self, task: Arc<TaskWaker>) {
        // From here on a wake-up counts again.
        task.is_queued.store(false, Ordering::Release);
        let future = match self.tasks.borrow_mut().get_mut(task.key) {
            // A late wake-up of a task that is over finds nothing, or another task in its place.
            Some(found) if Arc::ptr_eq(&found.waker, &task) => found.future.take(),
            _ => None,
        };
        let Some(mut future) = future else { return };
        let waker = Waker::from(task.clone());
        self.polled.replace(Some(task.clone()));
        let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
        self.polled.take();
        let mut tasks = self.tasks.borrow_mut();
        if polled.is_pending() {
            if let Some(found) = tasks.get_mut(task.key) {
                found.future = Some(future);
            }
        } else {
            let over = tasks.try_remove(task.key);
            drop(tasks);
            drop((over, future));
        }
    }

    /// True if the task being polled has had its turn.
    fn task_turn_is_over(&self) -> bool {
        kernel::monotonic_nanos().saturating_sub(self.task_began.get()) >= TASK_TURN.as_nanos() as u64
    }
}

/// Where the result of what runs to its end waits for the one that asked for it, who may be gone.
pub(super) struct Ended<T> {
    value: Cell<Option<T>>,
    waiter: Cell<Option<Waker>>,
}

impl<T> Default for Ended<T> {
    fn default() -> Self {
        Self { value: Cell::new(None), waiter: Cell::new(None) }
    }
}

impl<T> Ended<T> {
    pub(super) fn settle(&self, value: T) {
        self.value.set(Some(value));
        if let Some(waiter) = self.waiter.take() {
            waiter.wake();
        }
    }

    pub(super) fn poll(&self, context: &mut Context<'_>) -> Poll<T> {
        match self.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                self.waiter.set(Some(context.waker().clone()));
                Poll::Pending
            }
        }
    }
}

/// Lets other tasks run if this one has had its turn.
pub(super) async fn give_way() {
    if current().task_turn_is_over() {
        futures_lite::future::yield_now().await;
    }
}

/// Whether every foreground task runs before the one being polled, from its next turn on: for work that is long, and that nobody waits
/// for as they do for what is short.
pub(super) fn run_in_background(stands_aside: bool) {
    if let Some(task) = &*current().polled.borrow() {
        task.stands_aside.store(stands_aside, Ordering::Relaxed);
    }
}

/// Its wait is what the kernel ends when another thread wakes the idle shard. The scheduler itself looks at who was woken.
async fn listen_for_other_threads(home: Arc<Home>) {
    let bell = kernel::ring_view(home.bell.as_fd());
    loop {
        // Nothing can fail in reading eight bytes of an eventfd but the ring itself, and then the timer below still wakes the shard.
        if bell.read_at(0, 8).await.is_err() {
            ::glommio::timer::sleep(NAP_MAX).await;
        }
    }
}

async fn end_naps() {
    loop {
        ::glommio::timer::sleep(NAP_MAX).await;
    }
}
