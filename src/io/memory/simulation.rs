//! The run of a simulation: who is polled, when time passes, which node dies.
//!
//! Called by tests and by the whole-cluster simulator; calls every other part of `memory`. [`Simulation`] owns the tasks and ends them
//! when it is dropped; a [`Control`](super::Control) is a handle on its faults and observations that a task may hold too.
//!
//! Invariants:
//! 1. Everything is decided by the seed: a run is a function of seed, settings and the code under test.
//! 2. Virtual time moves only when no task is ready.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::ops::Deref;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::MemoryWorld;
use super::control::Control;
use super::disk::{Begun, Crash, Disk};
use super::executor::{Executor, Picked, Task, TaskId};
use super::network::{Due, Network, Outbox};
use super::random::Random;
use super::settings::SimulationSettings;
use super::timers::{Action, Timers};
use super::trace::Trace;
use crate::io::Urgency;

/// Why a run ended before what it waited for. Each names the seed that repeats it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RunError {
    #[error("seed {seed}: nothing is ready and no timer is set at {now:?}, with {tasks} tasks waiting")]
    Stalled { seed: u64, now: Duration, tasks: usize },
    #[error("seed {seed}: gave up after {steps} steps at {now:?}")]
    StepLimit { seed: u64, steps: u64, now: Duration },
    #[error("seed {seed}: what was waited for had not happened at {now:?}")]
    TimeLimit { seed: u64, now: Duration },
    #[error("seed {seed}: node {node} crashed at {now:?} while its future ran")]
    Crashed { seed: u64, node: u32, now: Duration },
}

pub(super) struct Node {
    /// Counts the node's crashes: what an earlier life holds is refused.
    life: u64,
    application: Random,
    pub(super) wall_skew_ms: i64,
}

pub(super) struct Core {
    pub(super) seed: u64,
    pub(super) settings: SimulationSettings,
    executor: RefCell<Executor>,
    pub(super) timers: RefCell<Timers>,
    nodes: RefCell<BTreeMap<u32, Node>>,
    disks: RefCell<BTreeMap<u32, Disk>>,
    network: RefCell<Network>,
    /// Delays of offloaded work and pauses of streams.
    jitter: RefCell<Random>,
    pub(super) trace: Rc<RefCell<Trace>>,
    pub(super) steps: Cell<u64>,
    /// A run is under way: a task must not start another.
    is_running: Cell<bool>,
}

impl Core {
    pub(super) fn with_node<R>(&self, node: u32, act: impl FnOnce(&mut Node) -> R) -> R {
        let fresh = || Node { life: 0, application: Random::new(self.seed, "application", u64::from(node)), wall_skew_ms: 0 };
        act(self.nodes.borrow_mut().entry(node).or_insert_with(fresh))
    }

    pub(super) fn life(&self, node: u32) -> u64 {
        self.with_node(node, |node| node.life)
    }

    pub(super) fn random(&self, node: u32) -> u64 {
        self.with_node(node, |node| node.application.next())
    }

    pub(super) fn wall_skew_ms(&self, node: u32) -> i64 {
        self.with_node(node, |node| node.wall_skew_ms)
    }

    pub(super) fn with_disk<R>(&self, node: u32, act: impl FnOnce(&mut Disk) -> R) -> R {
        let fresh = || Disk::new(node, self.seed, self.settings.disk.clone(), self.trace.clone());
        act(self.disks.borrow_mut().entry(node).or_insert_with(fresh))
    }

    /// Acts on the network, then does what it asks for with nothing borrowed.
    pub(super) fn with_network<R>(&self, act: impl FnOnce(&mut Network) -> R) -> R {
        let (result, outbox) = {
            let mut network = self.network.borrow_mut();
            let result = act(&mut network);
            (result, std::mem::take(&mut network.outbox))
        };
        self.empty(outbox);
        result
    }

    fn empty(&self, outbox: Outbox) {
        for (at, due) in outbox.due {
            let action: Action = Box::new(move |core| core.network_due(due));
            self.timers.borrow_mut().schedule(at, action);
        }
        for waker in outbox.wakers {
            waker.wake();
        }
        for (completer, result) in outbox.answers {
            completer.complete(result);
        }
    }

    fn network_due(&self, due: Due) {
        self.with_network(|network| network.handle(due));
    }

    pub(super) fn jitter<R>(&self, draw: impl FnOnce(&mut Random) -> R) -> R {
        draw(&mut self.jitter.borrow_mut())
    }

    pub(super) fn now(&self) -> u64 {
        self.timers.borrow().now()
    }

    pub(super) fn record(&self, what: &'static str, node: u32, first: u64, second: u64) {
        self.trace.borrow_mut().record(what, node, first, second);
    }

    pub(super) fn spawn(&self, node: u32, shard: u16, urgency: Urgency, task: Task) -> TaskId {
        let id = self.executor.borrow_mut().add(node, shard, urgency, Some(task));
        self.record("task.spawn", node, id, u64::from(shard));
        id
    }

    pub(super) fn pause(&self, node: u32, on: bool) {
        self.record(if on { "pause" } else { "resume" }, node, 0, 0);
        self.executor.borrow_mut().pause(node, on);
    }

    pub(super) fn crash(&self, node: u32, crash: Crash) {
        let what = match crash {
            Crash::Kill => "crash.kill",
            Crash::PowerLoss => "crash.power_loss",
        };
        self.record(what, node, 0, 0);
        self.with_node(node, |node| node.life += 1);
        self.with_network(|network| network.crash(node));
        // Each future drops with nothing borrowed: its files and streams close as it goes.
        let tasks = self.executor.borrow_mut().take_all(Some(node));
        drop(tasks);
        self.with_disk(node, |disk| disk.crash(crash));
    }

    fn count_step(&self) -> Result<(), RunError> {
        let steps = self.steps.get() + 1;
        self.steps.set(steps);
        if steps > self.settings.steps_max {
            return Err(RunError::StepLimit { seed: self.seed, steps, now: Duration::from_nanos(self.now()) });
        }
        Ok(())
    }

    fn stalled(&self) -> RunError {
        let tasks = self.executor.borrow().len();
        RunError::Stalled { seed: self.seed, now: Duration::from_nanos(self.now()), tasks }
    }

    fn advance_to(&self, at: u64) {
        self.timers.borrow_mut().advance_to(at);
        self.trace.borrow_mut().now = at;
    }
}

/// Marks a run under way.
struct Running<'a>(&'a Core);

impl<'a> Running<'a> {
    fn begin(core: &'a Core) -> Self {
        assert!(!core.is_running.replace(true), "a task of a simulation must not run it");
        Self(core)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.is_running.set(false);
    }
}

/// What one step of a run did.
enum Step {
    /// Ran an event or polled a task.
    Done,
    /// It is the turn of a future that its caller polls.
    Turn(Picked),
    /// Nothing is ready: the next event is due then, if there is one.
    Idle(Option<u64>),
}

fn step(core: &Rc<Core>) -> Step {
    let due = core.timers.borrow_mut().take_due();
    if let Some(action) = due {
        action(core);
        return Step::Done;
    }
    let Some(mut picked) = core.executor.borrow_mut().pick() else {
        return Step::Idle(core.timers.borrow().next_at());
    };
    core.record("task.poll", picked.node, picked.id, 0);
    let Some(mut task) = picked.task.take() else { return Step::Turn(picked) };
    match task.as_mut().poll(&mut Context::from_waker(&picked.waker)) {
        Poll::Ready(()) => core.executor.borrow_mut().remove(picked.id),
        Poll::Pending => {
            let orphaned = core.executor.borrow_mut().put_back(picked.id, task);
            drop(orphaned);
        }
    }
    Step::Done
}

/// Runs everything of one seed. Dropping it drops all tasks.
pub struct Simulation {
    control: Control,
}

impl Deref for Simulation {
    type Target = Control;

    fn deref(&self) -> &Control {
        &self.control
    }
}

impl Simulation {
    pub fn new(seed: u64, settings: SimulationSettings) -> Self {
        let trace = Rc::new(RefCell::new(Trace::new(seed)));
        let core = Core {
            seed,
            executor: RefCell::new(Executor::new(seed)),
            timers: RefCell::new(Timers::new()),
            nodes: RefCell::default(),
            disks: RefCell::default(),
            network: RefCell::new(Network::new(seed, settings.network.clone(), trace.clone())),
            jitter: RefCell::new(Random::new(seed, "jitter", 0)),
            trace,
            steps: Cell::new(0),
            is_running: Cell::new(false),
            settings,
        };
        Self { control: Control { core: Rc::new(core) } }
    }

    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Runs the future as a task of shard 0 of `node`, and everything else meanwhile, until it ends.
    pub fn try_block_on<T>(&self, node: u32, future: impl Future<Output = T>) -> Result<T, RunError> {
        let core = &self.control.core;
        let _running = Running::begin(core);
        let mut future = pin!(future);
        let id = core.executor.borrow_mut().add(node, 0, Urgency::Foreground, None);
        let result = loop {
            if let Err(error) = core.count_step() {
                break Err(error);
            }
            if !core.executor.borrow().contains(id) {
                break Err(RunError::Crashed { seed: core.seed, node, now: self.now() });
            }
            match step(core) {
                Step::Done => {}
                Step::Turn(picked) => {
                    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&picked.waker)) {
                        break Ok(output);
                    }
                }
                Step::Idle(Some(at)) => core.advance_to(at),
                Step::Idle(None) => break Err(core.stalled()),
            }
        };
        core.executor.borrow_mut().remove(id);
        result
    }

    /// As [`Simulation::try_block_on`], for unit tests: panics when the run gives up.
    pub fn block_on<T>(&self, node: u32, future: impl Future<Output = T>) -> T {
        match self.try_block_on(node, future) {
            Ok(output) => output,
            Err(error) => panic!("{error}"),
        }
    }

    /// Runs until the condition holds; it is asked after each step.
    pub fn run_until(&self, mut condition: impl FnMut(&Control) -> bool, virtual_max: Duration) -> Result<(), RunError> {
        let core = &self.control.core;
        let _running = Running::begin(core);
        let end = core.now().saturating_add(u64::try_from(virtual_max.as_nanos()).unwrap_or(u64::MAX));
        while !condition(&self.control) {
            core.count_step()?;
            match step(core) {
                Step::Done | Step::Turn(_) => {}
                Step::Idle(Some(at)) if at <= end => core.advance_to(at),
                Step::Idle(Some(_)) => {
                    core.advance_to(end);
                    return Err(RunError::TimeLimit { seed: core.seed, now: self.now() });
                }
                Step::Idle(None) => return Err(core.stalled()),
            }
        }
        Ok(())
    }

    /// Runs for a span of virtual time; there need not be anything to do.
    pub fn run_for(&self, span: Duration) -> Result<(), RunError> {
        let core = &self.control.core;
        let end = core.now().saturating_add(span.as_nanos() as u64);
        match self.run_until(|_| false, span) {
            Err(RunError::TimeLimit { .. } | RunError::Stalled { .. }) => {
                core.advance_to(end);
                Ok(())
            }
            other => other,
        }
    }

    /// Runs until no task is ready and no timer is set.
    pub fn run_to_rest(&self) -> Result<(), RunError> {
        match self.run_until(|_| false, Duration::MAX) {
            Err(RunError::Stalled { .. }) => Ok(()),
            other => other,
        }
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        let core = &self.control.core;
        if std::thread::panicking() {
            // The tasks are leaked: they may hold what the panic left half done.
            eprintln!("seed {} failed at {:?} after {} steps; its last events:", core.seed, self.now(), core.steps.get());
            for line in self.recent_events() {
                eprintln!("  {line}");
            }
            return;
        }
        // What the tasks hold must find its node ended, or it would hand work over that keeps the simulation alive.
        for node in core.nodes.borrow_mut().values_mut() {
            node.life += 1;
        }
        let tasks = core.executor.borrow_mut().take_all(None);
        drop(tasks);
        let actions = core.timers.borrow_mut().clear();
        drop(actions);
    }
}

/// Runs a closure's future on shard 0 of node 0, in a simulation with default settings: what most unit tests need.
pub fn run<T, F: Future<Output = T>>(seed: u64, test: impl FnOnce(MemoryWorld) -> F) -> T {
    let simulation = Simulation::new(seed, SimulationSettings::default());
    let world = simulation.world(0, 0);
    simulation.block_on(0, test(world))
}

/// Schedules what becomes of a disk call, and the crash aimed at it.
pub(super) fn schedule_disk_call(core: &Rc<Core>, node: u32, begun: &Begun) {
    let call_number = begun.call_number;
    let complete: Action = Box::new(move |core| {
        let completed = core.with_disk(node, |disk| disk.complete(call_number));
        if let Some((reply, result)) = completed {
            reply.complete(result);
        }
    });
    let mut timers = core.timers.borrow_mut();
    let now = timers.now();
    if let Some(part_after) = begun.part_after {
        let part: Action = Box::new(move |core| core.with_disk(node, |disk| disk.complete_part(call_number)));
        timers.schedule(now + part_after.as_nanos() as u64, part);
    }
    timers.schedule(now + begun.delay.as_nanos() as u64, complete);
    drop(timers);
    if let Some(crash) = begun.crash {
        schedule_crash(core, node, crash);
    }
}

/// A crash in the middle of a call: after the poll that began it.
pub(super) fn schedule_crash(core: &Rc<Core>, node: u32, crash: Crash) {
    let now = core.now();
    core.timers.borrow_mut().schedule(now, Box::new(move |core| core.crash(node, crash)));
}
