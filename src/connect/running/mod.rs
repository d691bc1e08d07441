//! Tasks at work: each on a thread of its own, with a client of its own.
//!
//! Called by `worker`; calls the tasks, converters and transforms, and librdkafka.
//!
//! ```text
//!   source task -> transforms -> converters -> producer       offsets stored when acknowledged
//!   consumer -> converters -> transforms -> sink task         offsets committed when flushed
//! ```
//!
//! Invariants:
//! 1. A thread looks at what is wanted of it at least every [`TICK`].
//! 2. Whatever ends a task, a panic of a plugin too, shows as FAILED with a sentence; nothing else of the worker ends with it.

mod clients;
mod dead_letters;
mod in_flight;
mod shared;
mod sink;
mod source;
mod tolerance;
mod topics;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::contract::{Config, SinkTask, SourceOffsets, SourceTask};
use super::convert::Converter;
use super::definition::Checked;
use super::offsets::OffsetStore;
use super::registry;
use super::settings::{Converters, WorkerSettings};
use super::transform::{Chain, below};
pub use clients::GroupOffsets;
pub use shared::{Counts, Shared, State, Wanted};
use tolerance::Tolerance;

/// How long a thread waits for anything before it looks up.
const TICK: Duration = Duration::from_millis(100);

/// Topics that a connector has touched.
pub type Topics = Arc<Mutex<BTreeSet<String>>>;

pub enum Work {
    Source(Box<dyn SourceTask>),
    Sink(Box<dyn SinkTask>),
}

/// What a task is made of, besides its own work.
pub struct Parts {
    pub worker: Arc<WorkerSettings>,
    pub store: Arc<OffsetStore>,
    pub topics: Topics,
    /// Of the connector; the task's own is in `task_config`.
    pub config: Config,
    pub task_config: Config,
}

/// Read from the connector's configuration when a task begins.
struct Pipeline {
    converters: Converters,
    chain: Chain,
    tolerance: Tolerance,
}

impl Pipeline {
    fn new(parts: &Parts) -> Result<Pipeline, String> {
        let own = |key: &str, of_worker: Converter| match parts.config.get(key) {
            Some(class) => Converter::new(class, &below(&parts.config, &format!("{key}."))),
            None => Ok(of_worker),
        };
        let of_worker = &parts.worker.converters;
        let converters = Converters {
            key: own("key.converter", of_worker.key)?,
            value: own("value.converter", of_worker.value)?,
            header: own("header.converter", of_worker.header)?,
        };
        let chain =
            Chain::new(&parts.config).map_err(|errors| errors.into_iter().map(|(_, error)| error).collect::<Vec<_>>().join("; "))?;
        let tolerance = Tolerance::new(Checked::new(registry::COMMON, &parts.config)?);
        Ok(Pipeline { converters, chain, tolerance })
    }
}

/// A task, running or ended.
pub struct Task {
    pub shared: Arc<Shared>,
    pub config: Config,
    thread: Option<JoinHandle<()>>,
}

impl Task {
    pub fn start(shared: Arc<Shared>, parts: Parts, work: Work) -> Task {
        let config = parts.task_config.clone();
        let own = shared.clone();
        let begun = std::thread::Builder::new().name(shared.id()).spawn(move || {
            let worked = catch_unwind(AssertUnwindSafe(|| match work {
                Work::Source(task) => source::run(task, &parts, &own),
                Work::Sink(task) => sink::run(task, &parts, &own),
            }));
            match worked {
                Ok(Ok(())) => {}
                Ok(Err(why)) => own.fail(&why),
                Err(panic) => own.fail(&format!("the connector's code panicked: {}", panic_text(&*panic))),
            }
        });
        let thread = match begun {
            Ok(thread) => Some(thread),
            Err(error) => {
                shared.fail(&format!("no thread can be started: {error}"));
                None
            }
        };
        Task { shared, config, thread }
    }

    /// Waits for the end that was asked for. A task that does not end is left behind; it commits nothing more.
    pub fn join(&mut self, until: Instant) {
        let Some(thread) = self.thread.take() else { return };
        while !thread.is_finished() {
            if Instant::now() >= until {
                tracing::warn!("task {} does not end; it is left behind", self.shared.id());
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        // A panic was caught and told by the thread itself.
        let _ended = thread.join();
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a word")
}

/// What a source task may ask of the store.
fn offsets(parts: &Parts, shared: &Shared) -> SourceOffsets {
    SourceOffsets::new(&shared.connector, parts.store.clone())
}
