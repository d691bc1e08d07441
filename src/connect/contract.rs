//! What a connector is: the four traits that a source or a sink of one's own implements, in one file, and the [`Plugin`] that makes it known.
//!
//! ```text
//!   connector   reads its configuration and splits the work into task configurations, at most `tasks.max` of them
//!   task        does one share of the work, on a thread of its own: a source polls, a sink is put records
//!   worker      starts, pauses, stops and restarts them, converts and transforms records, keeps offsets, counts errors
//! ```
//!
//! Called by `worker` and `running`; implemented by `file`, `syslog`, `sqlite`.
//!
//! Invariants that a worker keeps, and an implementation may lean on:
//! 1. One task is called by one thread at a time: `start` first, `stop` last, nothing after an error but `stop`.
//! 2. A source's offset is stored only when its record, and every record that the task returned before it, is acknowledged by the brokers (or
//!    was dropped by a transform or by `errors.tolerance`). So delivery is at least once.
//! 3. A sink's offsets are committed only behind a `flush` that succeeded after the `put` of those records. So delivery is at least once.
//! 4. A call that fails with [`TaskError::Retriable`] is made again, with the same records; [`TaskError::Failed`] ends the task, which shows as
//!    FAILED with that sentence until somebody restarts it.
//!
//! Invariants that an implementation keeps:
//! 1. No call blocks for much longer than it is told to wait, else the task cannot be paused or stopped.
//! 2. Errors are sentences that the user can act on, with the name of the file, the address, the table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::definition::Key;
use super::offsets::OffsetStore;
use super::record::{JsonMap, SinkRecord, SourceRecord};

/// A configuration as the user wrote it.
pub type Config = BTreeMap<String, String>;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// Worth trying again: the worker calls once more after a pause.
    #[error("{0}")]
    Retriable(String),
    #[error("{0}")]
    Failed(String),
}

impl TaskError {
    pub fn failed(why: impl ToString) -> TaskError {
        TaskError::Failed(why.to_string())
    }
}

/// A kind of source: knows how to split the reading of it.
pub trait SourceConnector: Send {
    /// The configurations of its tasks, at most `tasks_max`. `config` has passed the check of the plugin's keys.
    fn task_configs(&mut self, config: &Config, tasks_max: usize) -> Result<Vec<Config>, TaskError>;

    /// A task that has not been started.
    fn task(&self) -> Box<dyn SourceTask>;

    /// Looks at offsets that an operator wants to set (`None`: forget) before they are stored.
    fn check_offsets(&self, _config: &Config, _offsets: &[(JsonMap, Option<JsonMap>)]) -> Result<(), String> {
        Ok(())
    }
}

pub trait SourceTask: Send {
    /// Begins; `offsets` tells where an earlier run of this connector stood.
    fn start(&mut self, config: &Config, offsets: &SourceOffsets) -> Result<(), TaskError>;

    /// The next records. Waits at most `within` for the first one, and returns none if there is none.
    fn poll(&mut self, within: Duration) -> Result<Vec<SourceRecord>, TaskError>;

    /// Offsets up to what is acknowledged have been stored: a source that acknowledges upstream may do so now.
    fn on_committed(&mut self) {}

    /// How much is known to wait at the source, in a unit of its own.
    fn lag(&mut self) -> Option<u64> {
        None
    }

    fn stop(&mut self) {}
}

/// Where a source's partitions stood when they were last stored.
#[derive(Clone)]
pub struct SourceOffsets {
    connector: String,
    store: Arc<OffsetStore>,
}

impl SourceOffsets {
    pub(super) fn new(connector: &str, store: Arc<OffsetStore>) -> Self {
        SourceOffsets { connector: connector.to_owned(), store }
    }

    pub fn of(&self, partition: &JsonMap) -> Option<JsonMap> {
        self.store.get(&self.connector, partition)
    }

    /// Stores at once where a partition begins of which nothing is known yet, so that whatever happens to it before its first record is
    /// acknowledged can be told.
    pub fn begin_at(&self, partition: &JsonMap, offset: JsonMap) -> Result<(), TaskError> {
        self.store.set(&self.connector, partition.clone(), Some(offset));
        self.store.persist().map_err(TaskError::failed)
    }
}

/// A kind of sink. Kafka splits the partitions of the topics among its tasks.
pub trait SinkConnector: Send {
    /// The configurations of its tasks, at most `tasks_max`.
    fn task_configs(&mut self, config: &Config, tasks_max: usize) -> Result<Vec<Config>, TaskError>;

    fn task(&self) -> Box<dyn SinkTask>;
}

pub trait SinkTask: Send {
    fn start(&mut self, config: &Config) -> Result<(), TaskError>;

    /// Takes records, in the order of each partition. They need not be durable yet.
    fn put(&mut self, records: &[SinkRecord]) -> Result<(), TaskError>;

    /// Makes everything put so far durable.
    fn flush(&mut self) -> Result<(), TaskError>;

    fn stop(&mut self) {}
}

/// What makes a plugin.
#[derive(Clone, Copy)]
pub enum Make {
    Source(fn() -> Box<dyn SourceConnector>),
    Sink(fn() -> Box<dyn SinkConnector>),
    Converter,
    HeaderConverter,
    Transform,
    Predicate,
}

/// A class that configurations name, and the keys it takes beside those that every connector has.
#[derive(Clone, Copy)]
pub struct Plugin {
    /// The full name: Kafka's own where the plugin stands in for one of Kafka's.
    pub class: &'static str,
    pub version: &'static str,
    pub keys: &'static [Key],
    pub make: Make,
}
