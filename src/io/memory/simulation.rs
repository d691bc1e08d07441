//! The run of a simulation: who is polled, when time passes, which node dies.
//!
//! Called by tests and by the whole-cluster simulator; calls every other part of `memory`. [`Simulation`] owns the tasks and ends them
//! when it is dropped; a [`Control`] is a handle on its faults and observations that a task may hold too.
//!
//! Invariants:
//! 1. Everything is decided by the seed: a run is a function of seed, settings and the code under test.
//! 2. Virtual time moves only when no task is ready.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::ops::Deref;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::disk::{Crash, Disk, DiskCall, DiskFault};
use super::executor::{Executor, Picked, Task, TaskId};
use super::network::{Due, Network, Outbox, node_ip};
use super::random::Random;
use super::settings::{DiskSettings, NetworkSettings, SimulationSettings};
use super::timers::Timers;
use super::trace::Trace;
use super::{MemoryWorld, timers};
use crate::io::Urgency;
use crate::types::Monotonic;

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

struct Node {
    /// Counts the node's crashes: what an earlier life holds is refused.
    life: u64,
    application: Random,
    wall_skew_ms: i64,
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
    trace: Rc<RefCell<Trace>>,
    steps: Cell<u64>,
}

impl Core {
    fn with_node<R>(&self, node: u32, act: impl FnOnce(&mut Node) -> R) -> R {
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
            let action: timers::Action = Box::new(move |core| core.network_due(due));
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

    fn crash(&self, node: u32, crash: Crash) {
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

    fn is_over(&self) -> Result<(), RunError> {
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

/// Faults and observations of a running simulation; clones may be held by tasks.
#[derive(Clone)]
pub struct Control {
    core: Rc<Core>,
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
        let mut future = pin!(future);
        let id = core.executor.borrow_mut().add(node, 0, Urgency::Foreground, None);
        let result = loop {
            if let Err(error) = core.is_over() {
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
        let end = core.now().saturating_add(virtual_max.as_nanos() as u64);
        while !condition(&self.control) {
            core.is_over()?;
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
        let tasks = core.executor.borrow_mut().take_all(None);
        drop(tasks);
        let actions = core.timers.borrow_mut().clear();
        drop(actions);
    }
}

impl Control {
    /// The world as a shard of a node sees it, until the node's next crash.
    pub fn world(&self, node: u32, shard: u16) -> MemoryWorld {
        MemoryWorld { life: self.core.life(node), core: self.core.clone(), node, shard }
    }

    pub fn spawn(&self, node: u32, shard: u16, task: impl Future<Output = ()> + 'static) {
        self.core.spawn(node, shard, Urgency::Foreground, Box::pin(task));
    }

    pub fn seed(&self) -> u64 {
        self.core.seed
    }

    /// Virtual time since the start.
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.core.now())
    }

    pub fn monotonic(&self) -> Monotonic {
        Monotonic::from_nanos(self.core.now())
    }

    /// The address under which a node's listener on 0.0.0.0 is found.
    pub fn address(&self, node: u32, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip(node), port)
    }

    pub fn ip(&self, node: u32) -> IpAddr {
        node_ip(node)
    }

    /// Kills a node's process: its tasks end where they stand, its connections are reset, calls in flight are done, half done or not done.
    pub fn crash(&self, node: u32) {
        self.core.crash(node, Crash::Kill);
    }

    /// Cuts a node's power: as [`Control::crash`], and what was not synced is kept, lost or torn.
    pub fn power_loss(&self, node: u32) {
        self.core.crash(node, Crash::PowerLoss);
    }

    /// How often the node crashed: a test sees by it that an aimed crash has happened.
    pub fn crashes(&self, node: u32) -> u64 {
        self.core.life(node)
    }

    /// Aims a fault at the `nth` next call (1 is the next) of a kind on a path that contains the text.
    pub fn aim(&self, node: u32, call: DiskCall, path_contains: &str, nth: u64, fault: DiskFault) {
        self.core.with_disk(node, |disk| disk.aim(call, path_contains, nth, fault));
    }

    /// No call of the node's disk completes for a span.
    pub fn hang_disk(&self, node: u32, span: Duration) {
        let until = self.core.now().saturating_add(span.as_nanos() as u64);
        self.core.with_disk(node, |disk| disk.hang_until(until));
    }

    /// Changes a node's disk from here on: capacity, latencies, rates of failure.
    pub fn change_disk(&self, node: u32, change: impl FnOnce(&mut DiskSettings)) {
        self.core.with_disk(node, |disk| change(disk.settings_mut()));
    }

    pub fn change_network(&self, change: impl FnOnce(&mut NetworkSettings)) {
        self.core.with_network(|network| change(network.settings_mut()));
    }

    /// Nothing goes from one node to the other in either direction, or does again. What is sent meanwhile arrives afterwards.
    pub fn partition(&self, a: u32, b: u32, on: bool) {
        self.block(a, b, on);
        self.block(b, a, on);
    }

    /// As [`Control::partition`], in one direction.
    pub fn block(&self, from: u32, to: u32, on: bool) {
        self.core.with_network(|network| network.block(from, to, on));
    }

    /// Resets all connections between two nodes.
    pub fn cut(&self, a: u32, b: u32) {
        self.core.with_network(|network| network.cut_between(a, b));
    }

    /// Adds a delay to what goes from one node to another.
    pub fn slow_link(&self, from: u32, to: u32, extra: Duration) {
        self.core.with_network(|network| network.slow_down(from, to, extra));
    }

    /// Sets how far a node's wall clock is from the others'.
    pub fn set_wall_skew_ms(&self, node: u32, skew_ms: i64) {
        self.core.with_node(node, |node| node.wall_skew_ms = skew_ms);
    }

    /// A file's content as a program on the node would read it now, without taking time.
    pub fn peek(&self, node: u32, path: &Path) -> std::io::Result<Vec<u8>> {
        self.core.with_disk(node, |disk| disk.read_file(path))
    }

    /// How often each kind of event and fault happened.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.core.trace.borrow().counts()
    }

    pub fn count(&self, what: &str) -> u64 {
        self.counts().get(what).copied().unwrap_or(0)
    }

    /// A hash of all that happened, in order: equal for two runs of one seed.
    pub fn trace_hash(&self) -> u64 {
        self.core.trace.borrow().hash()
    }

    /// The last few events as text.
    pub fn recent_events(&self) -> Vec<String> {
        self.core.trace.borrow().recent()
    }

    pub fn steps(&self) -> u64 {
        self.core.steps.get()
    }
}

/// Runs a closure's future on shard 0 of node 0, in a simulation with default settings: what most unit tests need.
pub fn run<T, F: Future<Output = T>>(seed: u64, test: impl FnOnce(MemoryWorld) -> F) -> T {
    let simulation = Simulation::new(seed, SimulationSettings::default());
    let world = simulation.world(0, 0);
    simulation.block_on(0, test(world))
}

/// Schedules the completion of a disk call, and the crash aimed at it.
pub(super) fn schedule_disk_call(core: &Rc<Core>, node: u32, call_number: u64, delay: Duration, crash: Option<Crash>) {
    let now = core.now();
    let complete: timers::Action = Box::new(move |core| {
        let completed = core.with_disk(node, |disk| disk.complete(call_number));
        if let Some((reply, result)) = completed {
            reply.complete(result);
        }
    });
    core.timers.borrow_mut().schedule(now + delay.as_nanos() as u64, complete);
    if let Some(crash) = crash {
        schedule_crash(core, node, crash);
    }
}

/// A crash in the middle of a call: after the poll that began it.
pub(super) fn schedule_crash(core: &Rc<Core>, node: u32, crash: Crash) {
    let now = core.now();
    core.timers.borrow_mut().schedule(now, Box::new(move |core| core.crash(node, crash)));
}
