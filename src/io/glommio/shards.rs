//! Starts one executor per shard on a cpu of its own, and waits for all of them.
//!
//! Called by `cli::serve` and tests; calls the runtime. Owns the shard threads, named `ottla-shard-N`.
//!
//! Invariants:
//! 1. Either every shard's executor could be made, or no shard runs anything.
//! 2. A panic on a shard, or in work it handed to another thread, ends the process with its message: no broker goes on with a shard
//!    missing.
//! 3. Blocking threads are not bound to the cpu of their shard.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use ::glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::signal::{SigHandler, SigSet, Signal};
use nix::unistd::Pid;

use super::append::AppendPath;
use super::blocking::Pools;
use super::dirty::DirtyWatch;
use super::group_commit::ROUNDS_AT_ONCE;
use super::probe::DeviceTraits;
use super::scheduler::{Scheduler, Step};
use super::{GlommioWorld, kernel};
use crate::io::Urgency;
use crate::metrics::Timing;
use crate::types::ShardId;

/// How shards run; the defaults suit a broker that has its cpus to itself.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How long an idle shard polls before it sleeps. None: 20 us, or nothing when shards share cpus.
    pub spin_before_park: Option<Duration>,
    /// Most threads for what may block, shared by all shards.
    pub blocking_threads: NonZeroUsize,
    /// Entries of each of a shard's three rings.
    pub ring_depth: NonZeroUsize,
    /// TCP congestion control of listeners and outbound connections, where the kernel has it. None: the system's.
    pub congestion_control: Option<String>,
    /// What was found out about the filesystems of the log directories. Files elsewhere get the safe choices.
    pub devices: Vec<DeviceTraits>,
    /// Whether file operations are measured.
    pub timing: Timing,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            spin_before_park: None,
            blocking_threads: NonZeroUsize::new(16).unwrap_or(NonZeroUsize::MIN),
            ring_depth: NonZeroUsize::new(512).unwrap_or(NonZeroUsize::MIN),
            congestion_control: Some("cubic".to_owned()),
            devices: Vec::new(),
            timing: Timing::Off,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the cpus this process may use cannot be read: {0}")]
    Affinity(#[source] io::Error),
    #[error("no cpu is left for shard {0}")]
    NoCpu(ShardId),
    #[error("the thread of shard {shard} does not start: {source}")]
    Thread { shard: ShardId, source: io::Error },
    #[error("the executor of shard {shard} on cpu {cpu} does not start: {source}")]
    Executor { shard: ShardId, cpu: usize, source: io::Error },
    #[error("shard {0} ended without a result")]
    Lost(ShardId),
}

/// The cpus this process may run on (its affinity, which the kernel keeps inside its cgroup's cpuset), one per physical core first.
pub fn usable_cpus() -> Result<Vec<usize>, StartError> {
    let set = sched_getaffinity(Pid::from_raw(0)).map_err(|error| StartError::Affinity(error.into()))?;
    let mut cpus: Vec<usize> = (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap_or(false)).collect();
    cpus.sort_by_key(|cpu| (rank_within_core(*cpu), *cpu));
    Ok(cpus)
}

/// 0 for the first hardware thread of its core, 1 for the second.
fn rank_within_core(cpu: usize) -> usize {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    let siblings = std::fs::read_to_string(path).unwrap_or_default();
    // "0,4" or "0-1": every number before this cpu's own is a sibling that comes first.
    siblings.trim().split(['-', ',']).filter_map(|number| number.parse::<usize>().ok()).filter(|number| *number < cpu).count()
}

/// A cpu for each of `shards`; more shards than cpus take turns on them.
pub fn placements(shards: u16) -> Result<Vec<usize>, StartError> {
    let usable = usable_cpus()?;
    Ok(usable.iter().copied().cycle().take(shards.into()).collect())
}

/// What the process may run on, before any of its threads is bound.
static PROCESS_CPUS: OnceLock<Option<CpuSet>> = OnceLock::new();

fn remember_cpus() {
    PROCESS_CPUS.get_or_init(|| sched_getaffinity(Pid::from_raw(0)).ok());
}

/// A thread that a shard starts begins bound to the shard's cpu: this lets it run wherever the process may.
pub(super) fn leave_own_cpu() {
    if let Some(Some(cpus)) = PROCESS_CPUS.get() {
        // Refused, it stays where it is, and does its work there.
        let _free = sched_setaffinity(Pid::from_raw(0), cpus);
    }
}

/// Runs `make` on every shard, shard N on `cpus[N]`, and waits until all have ended. Answers with what each returned.
pub fn start_shards<T, F, Made>(cpus: &[usize], settings: &Settings, make: F) -> Result<Vec<T>, StartError>
where
    T: Send + 'static,
    F: Fn(ShardId, GlommioWorld) -> Made + Clone + Send + 'static,
    Made: Future<Output = T> + 'static,
{
    end_process_on_shard_panics();
    remember_cpus();
    // A peer that goes away shall be an error of the write, not a signal.
    let _ignored = kernel::on_signal(Signal::SIGPIPE, SigHandler::SigIgn);
    let gate = Arc::new(Gate::new(cpus.len()));
    let appends_inline = settings.devices.iter().any(|traits| traits.append == AppendPath::Inline);
    let dirty = if appends_inline { DirtyWatch::start() } else { Arc::default() };
    let computing_max = thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    // A disk that hangs leaves the rounds of others their threads.
    let rounds_max = NonZeroUsize::new(cpus.len() * settings.devices.len() * ROUNDS_AT_ONCE).unwrap_or(NonZeroUsize::MIN);
    let shared = Shared { pools: Pools::new(settings.blocking_threads, computing_max, rounds_max), dirty };
    let mut threads = Vec::with_capacity(cpus.len());
    for (index, &cpu) in cpus.iter().enumerate() {
        let shard = ShardId(index as u16);
        let (shard_gate, settings, make, shared) = (gate.clone(), settings.clone(), make.clone(), shared.clone());
        let spin = settings.spin_before_park.unwrap_or_else(|| spin_when_alone(cpu, cpus));
        let started = thread::Builder::new()
            .name(format!("ottla-shard-{shard}"))
            .spawn(move || run_shard(Seat { shard, cpu, spin }, settings, &shard_gate, shared, make));
        match started {
            Ok(thread) => threads.push(thread),
            Err(source) => {
                gate.refuse(StartError::Thread { shard, source });
                break;
            }
        }
    }
    let results: Vec<_> = threads.into_iter().map(|thread| thread.join().ok().flatten()).collect();
    if let Some(error) = gate.state().refused.take() {
        return Err(error);
    }
    results.into_iter().enumerate().map(|(index, result)| result.ok_or(StartError::Lost(ShardId(index as u16)))).collect()
}

/// Where the shards wait until each has its executor, or one cannot have it.
struct Gate {
    state: Mutex<GateState>,
    moved: Condvar,
}

struct GateState {
    missing: usize,
    /// The first refusal.
    refused: Option<StartError>,
}

impl Gate {
    fn new(shards: usize) -> Self {
        Self { state: Mutex::new(GateState { missing: shards, refused: None }), moved: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self, error: StartError) {
        self.state().refused.get_or_insert(error);
        self.moved.notify_all();
    }

    /// True once every shard has arrived, false as soon as one was refused.
    fn pass(&self) -> bool {
        let mut state = self.state();
        state.missing -= 1;
        self.moved.notify_all();
        let waiting = |state: &mut GateState| state.missing > 0 && state.refused.is_none();
        let state = self.moved.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner);
        state.refused.is_none()
    }
}

/// What all shards have in common.
#[derive(Clone)]
struct Shared {
    pools: Pools,
    dirty: Arc<DirtyWatch>,
}

#[derive(Clone, Copy)]
struct Seat {
    shard: ShardId,
    cpu: usize,
    spin: Duration,
}

fn spin_when_alone(cpu: usize, cpus: &[usize]) -> Duration {
    let alone = cpus.iter().filter(|other| **other == cpu).count() == 1;
    if alone { Duration::from_micros(20) } else { Duration::ZERO }
}

fn run_shard<T, F, Made>(seat: Seat, settings: Settings, gate: &Gate, shared: Shared, make: F) -> Option<T>
where
    T: 'static,
    F: Fn(ShardId, GlommioWorld) -> Made + 'static,
    Made: Future<Output = T> + 'static,
{
    end_process_on_panic_here();
    block_termination_signals();
    let executor = match make_executor(seat, &settings) {
        Ok(executor) => executor,
        Err(source) => {
            gate.refuse(StartError::Executor { shard: seat.shard, cpu: seat.cpu, source });
            return None;
        }
    };
    if !gate.pass() {
        return None;
    }
    let timing = settings.timing;
    drive(&executor, shared.pools, timing, async move |scheduler| {
        make(seat.shard, GlommioWorld::new(scheduler, settings, shared.dirty)).await
    })
}

/// Runs the shard's main task, and all the others, until the main one is over.
fn drive<T: 'static>(
    executor: &LocalExecutor,
    pools: Pools,
    timing: Timing,
    main: impl AsyncFnOnce(Rc<Scheduler>) -> T + 'static,
) -> Option<T> {
    let (is_over, result) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(None)));
    // An eventfd is all that can be refused here, and with it goes the shard: the caller reports it lost.
    let scheduler = executor.run(async { Scheduler::begin(pools, timing) }).ok()?;
    let (over, returned, own) = (is_over.clone(), result.clone(), scheduler.clone());
    scheduler.spawn(Urgency::Foreground, async move {
        returned.set(Some(main(own).await));
        over.set(true);
    });
    // Each run asks the kernel once before it polls its step, so a step that ends early is how tasks let completions in.
    while let Step::AskKernel = executor.run(poll_fn(|context| scheduler.run_ready(context, &is_over))) {}
    executor.run(async { scheduler.end() });
    result.take()
}

fn make_executor(seat: Seat, settings: &Settings) -> io::Result<LocalExecutor> {
    // Only direct I/O uses the registered memory, and there is none: the least there can be.
    const IO_MEMORY_BYTES: usize = 64 * 1024;
    let mut builder = LocalExecutorBuilder::new(Placement::Fixed(seat.cpu))
        .io_memory(IO_MEMORY_BYTES)
        .ring_depth(settings.ring_depth.get())
        // The scheduler asks the kernel on its own terms, and has threads of its own.
        .preempt_timer(Duration::from_secs(3600))
        .blocking_thread_pool_placement(PoolPlacement::Unbound(1));
    if !seat.spin.is_zero() {
        builder = builder.spin_before_park(seat.spin);
    }
    builder.make().map_err(io::Error::from)
}

/// Signals that end the broker are for the main thread: a shard interrupted in the kernel would gain nothing.
fn block_termination_signals() {
    let mut signals = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        signals.add(signal);
    }
    // Cannot fail for these signals; unblocked ones would only cost an interrupted call.
    let _blocked = signals.thread_block();
}

thread_local! {
    static ENDS_PROCESS: Cell<bool> = const { Cell::new(false) };
}

/// From here on a panic on this thread ends the process.
pub(super) fn end_process_on_panic_here() {
    ENDS_PROCESS.set(true);
}

fn end_process_on_shard_panics() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            previous(panic);
            if ENDS_PROCESS.get() {
                let thread = thread::current();
                let name = thread.name().unwrap_or("a blocking thread");
                // Past any capture of the output: this is the last that is heard of the process.
                let _written = writeln!(io::stderr(), "{name}: {panic}\nThe process ends: it would go on without this shard.");
                std::process::abort();
            }
        }));
    });
}
