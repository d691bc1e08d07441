//! Where the metadata log lives: the contract that every home keeps, whatever holds the bytes.
//!
//! Called by the controller (which alone appends) and by every broker (which reads); implemented by `file` and `zookeeper`, later
//! by a quorum of brokers. Futures stay on the shard that opened the home. `contract` holds the suite that every home must pass.
//!
//! Invariants, numbered for the suite:
//! 1. The log is a sequence of records at consecutive offsets from 0; what was committed never changes and never goes.
//! 2. `append` is atomic: its records are read back all, in order, or none. A batch too large for the home stands between marks (see
//!    `batch`), which take offsets of their own.
//! 3. `append` changes nothing if a later controller has been elected, or if the log does not end at `expected_end`.
//! 4. After `Committed`, no crash loses the records. After `Unknown`, the next `read_from` of the same home shows what became of it, and
//!    nothing that it does not show comes later.
//! 5. Controller epochs only grow, across crashes too.
//! 6. `load` gives the latest snapshot; every record from its offset on can be read.
//! 7. Damage is an error that says where. It is never an empty or a shorter log.

use std::io;

use super::decision::{Alteration, ConfigEdit, CreatePartitions, CreateTopic, DeleteTopic, Registration};
use super::image::MetadataImage;
use super::record::Record;
use crate::types::{NodeId, PartitionIndex, TimestampMs, TopicId};

#[cfg(test)]
pub mod contract;

#[allow(async_fn_in_trait)] // futures stay on the home's shard
pub trait Home {
    /// Adds a batch for the controller of this epoch, if the log ends at `expected_end`.
    async fn append(&self, controller_epoch: i32, expected_end: i64, batch: Vec<Record>) -> Result<Appended, HomeError>;

    /// The next records from `offset` on, marks included; empty at the end of the log.
    async fn read_from(&self, offset: i64) -> Result<Vec<(i64, Record)>, HomeError>;

    /// Waits until the log ends beyond `end`.
    async fn grown_past(&self, end: i64) -> Result<(), HomeError>;

    /// The latest snapshot; the empty one at offset 0 if there is none.
    async fn load(&self) -> Result<Snapshot, HomeError>;

    /// Keeps a snapshot, after which the home may forget records below its offset.
    async fn snapshot(&self, snapshot: Snapshot) -> Result<(), HomeError>;

    /// Whether so much has been appended that a snapshot would speed up the next start.
    fn snapshot_is_due(&self) -> bool;

    /// Waits until this node is the controller, and gives its epoch.
    async fn election(&self, node: NodeId) -> Result<i32, HomeError>;

    /// Waits until a controller of a later epoch than this has been elected.
    async fn deposed(&self, controller_epoch: i32) -> Result<(), HomeError>;

    /// Whether brokers of other processes may use the same home.
    fn is_shared(&self) -> bool;

    /// Announces a broker, for as long as its session lasts, and again in the next one.
    async fn register(&self, registration: Registration) -> Result<(), HomeError>;

    /// Waits until the brokers with a session are others than `known`, and gives them by node id. A controller then registers those that
    /// are new and fences those that are gone.
    async fn members_other_than(&self, known: &[Member]) -> Result<Vec<Registration>, HomeError>;

    /// Shows the cluster to those who read the home without following its log; nothing to do, where nobody does. `now` is the wall clock's.
    async fn show(&self, _image: &MetadataImage, _now: TimestampMs) -> Result<(), HomeError> {
        Ok(())
    }

    /// Waits until other writers may have asked for something since the last `proposals`, or what is shown has to be shown again.
    async fn touched(&self) {
        std::future::pending().await
    }

    /// What other writers ask for, oldest first; nothing, where nobody else can. One that is not settled comes again.
    async fn proposals(&self) -> Result<Vec<Proposal>, HomeError>;

    /// The controller has turned the proposal into records, and shown what came of them, or refused it.
    async fn settle(&self, proposal: Proposal) -> Result<(), HomeError>;
}

/// What became of an append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Appended {
    /// Durable; the log now ends here.
    Committed(i64),
    /// A later controller has been elected: nothing was added.
    Fenced,
    /// The log ends here, not where the caller thought: nothing was added.
    Moved(i64),
    /// The connection broke before the answer: read from the expected end.
    Unknown,
}

/// Records that rebuild an image, and the offset of the first record after it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    pub offset: i64,
    pub records: Vec<Record>,
}

/// A broker with a live session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    pub node: NodeId,
    pub incarnation: TopicId,
}

/// A change that somebody who may not append asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proposal {
    /// The home's own name for it.
    pub token: String,
    pub change: Proposed,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Proposed {
    CreateTopic(CreateTopic),
    CreatePartitions(CreatePartitions),
    DeleteTopic(DeleteTopic),
    AlterConfigs(Alteration<ConfigEdit>),
    /// Other replicas for these partitions.
    Reassign(Vec<PartitionWish>),
    /// The first replica of each of these partitions shall lead it.
    ElectPreferred(Vec<PartitionWish>),
}

/// A partition that something is asked for, by its topic's name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionWish {
    pub topic: String,
    pub partition: PartitionIndex,
    pub replicas: Vec<NodeId>,
}

/// What a home says of itself that is being filled.
pub fn being_moved(from: &str) -> String {
    format!("metadata was being moved here from {from}, and that was not finished; move it again")
}

/// What a home says of itself whose log is elsewhere.
pub fn moved_to(to: &str) -> String {
    format!("its metadata has been moved to {to}")
}

#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// The reader is to load the snapshot instead.
    #[error("records before offset {start} have been replaced by a snapshot")]
    Compacted { start: i64 },
    #[error("offset {offset} lies beyond the end of the metadata log, {end}")]
    BeyondEnd { offset: i64, end: i64 },
    /// Nothing was done. The text is Kafka's.
    #[error("The total record(s) size of {bytes} exceeds the maximum allowed batch size of {limit}")]
    RecordTooLarge { bytes: usize, limit: usize },
    /// Nothing was done, and the same may be asked again.
    #[error("the home of the metadata cannot be reached: {0}")]
    Unreachable(String),
    #[error("a broker with node.id {node} is registered at {place}, and its session {session} lives: stop it, or set another node.id here")]
    Taken { node: NodeId, place: String, session: String },
    /// Nothing was done.
    #[error("another controller has been elected meanwhile")]
    Deposed,
    #[error("{place} is no home of metadata any more: {why}")]
    Moved { place: String, why: String },
    #[error("metadata cannot be written since {0}; restart the broker once the cause is gone")]
    Offline(String),
    #[error("{place}, position {position}: {source}")]
    Io { place: String, position: u64, source: io::Error },
    /// A sentence for the operator: where, what and what to do.
    #[error("{place} is damaged at position {position}: {reason}. {remedy}")]
    Damaged { place: String, position: u64, reason: String, remedy: String },
}
