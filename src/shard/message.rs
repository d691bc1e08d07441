//! What shards say to each other. Everything is owned and may cross threads.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::coordinator::group::{Answer, Call};
use crate::io::{File, World};
use crate::metadata::image::{Delta, MetadataImage};
use crate::metrics::ShardSnapshot;
use crate::partition::{Acked, Acks, DeleteUpTo, Isolation, OffsetQuery, OffsetsAnswer, PlannedRead, ReadRequest, ReaderId, Refusal};
use crate::storage::ActiveProducer;
use crate::types::{LeaderEpoch, Offset, PartitionIndex, ShardId, TimestampMs, TopicName, TopicPartition};
use crate::wire::batch::Batch;

use super::checkpoints::CheckpointsNotWritten;
use super::controller::{Change, ChangeAnswer};
use super::directories::{METADATA_DIRECTORY, Room};
use super::mailbox::Kind;

pub enum Message<W: World> {
    /// Wants exactly one `Reply` with the same slot.
    Request {
        from: ShardId,
        slot: u32,
        request: Request,
    },
    Reply {
        slot: u32,
        reply: Reply<W>,
    },
    /// A parked fetch of the receiver may find something now.
    Wake {
        reader: u64,
    },
    /// A fetch of the sender no longer waits on these partitions.
    Leave {
        reader: ReaderId,
        partitions: Vec<TopicPartition>,
    },
    /// What a group call of the receiver came to, at the place that it reserved.
    GroupAnswer {
        place: u32,
        answer: Box<Answer>,
    },
    Control(Box<Control>),
}

/// How a broker starts, changes its image, and stops: between shard 0, the steward, and the others.
pub enum Control {
    /// Open the partitions of this image and answer `Opened`.
    Open {
        image: MetadataImage,
        start: Arc<StartState>,
    },
    Opened {
        shard: ShardId,
        outcome: Result<OpenedSummary, String>,
    },
    /// Everything is open: listen on these addresses.
    Serve {
        listeners: Arc<[SocketAddr]>,
    },
    /// The metadata log moved; answer `Applied`.
    Apply {
        image: MetadataImage,
        delta: Arc<Delta>,
    },
    Applied {
        version: i64,
    },
    /// Tell your checkpoints.
    Checkpoint,
    Checkpoints {
        shard: ShardId,
        offsets: Vec<PartitionCheckpoint>,
    },
    /// Tell what you have counted; answer `Measured` with the same number.
    Measure {
        round: u32,
    },
    Measured {
        round: u32,
        snapshot: Box<ShardSnapshot>,
    },
    /// A write, a sync, a read or a look has failed in a log directory.
    DirectoryFailed {
        directory: usize,
        why: String,
    },
    /// A log of this shard has failed, and its directory has not.
    LogFailed {
        partition: TopicPartition,
        why: String,
    },
    /// Nothing is written to this log directory any more.
    DirectoryOffline {
        directory: usize,
    },
    /// This shard has appended enough to the log directory to flush some of it.
    FlushDue {
        directory: usize,
    },
    /// This shard has appended enough to the log directory to note how far its logs are written.
    NoteDue {
        directory: usize,
    },
    /// How much room this log directory has for what clients send.
    DirectoryRoom {
        directory: usize,
        room: Room,
    },
    /// Stop serving, flush and close everything, and answer `Closed`.
    Close,
    Closed {
        shard: ShardId,
        offsets: Vec<PartitionCheckpoint>,
        /// Log directories in which some log could not be closed.
        unclean: BTreeSet<usize>,
    },
}

/// What the data directories said before anything was opened.
#[derive(Debug, Default)]
pub struct StartState {
    /// By log directory.
    pub directories: Vec<DirectoryState>,
}

impl StartState {
    /// Whether a directory is out of use: what is not found in the others may lie there.
    pub fn is_partial(&self) -> bool {
        self.directories.iter().any(|directory| directory.failed.is_some())
    }

    /// Takes a log directory out of the start; the one that holds the metadata ends it.
    pub fn on_failed(&mut self, directory: usize, why: String) -> Result<(), String> {
        if directory == METADATA_DIRECTORY {
            return Err(why);
        }
        self.directories[directory].failed = Some(why);
        Ok(())
    }
}

#[derive(Debug, Default, Clone)]
pub struct DirectoryState {
    /// Why it cannot be used; the rest says nothing then.
    pub failed: Option<String>,
    /// Whether the broker was stopped cleanly.
    pub clean: bool,
    /// Identity of the page cache that it is written to.
    pub cache: Option<String>,
    pub recovery_points: BTreeMap<(TopicName, PartitionIndex), Offset>,
    pub log_starts: BTreeMap<(TopicName, PartitionIndex), Offset>,
    pub cleaned: BTreeMap<(TopicName, PartitionIndex), Offset>,
    /// Partition directories found, by name.
    pub partitions: BTreeSet<String>,
}

#[derive(Debug, Default, Clone, Copy)]
pub struct OpenedSummary {
    pub partitions: usize,
    /// Bytes read again of logs that were not closed.
    pub recovered_bytes: u64,
    pub truncated_bytes: u64,
}

/// The offsets of one partition that the checkpoint files of its directory keep.
#[derive(Debug, Clone)]
pub struct PartitionCheckpoint {
    pub directory: usize,
    pub id: TopicPartition,
    pub topic: TopicName,
    pub recovery_point: Offset,
    pub log_start: Offset,
    pub high_watermark: Offset,
    /// Up to where it is compacted, if it ever was.
    pub cleaned: Option<Offset>,
}

pub enum Request {
    Append(AppendRequest),
    Plan(PlanRequest),
    Offsets(OffsetsRequest),
    DeleteRecords(DeleteRecordsRequest),
    LogSizes(LogSizesRequest),
    EpochEnds(EpochEndsRequest),
    Producers(ProducersRequest),
    Group(GroupCall),
    Change(Change),
    /// Write the checkpoint files; for shard 0.
    Checkpoint,
}

pub enum Reply<W: World> {
    Append(Vec<Result<Acked, Refusal>>),
    Plan(Vec<Result<PlannedRead<W>, Refusal>>),
    Offsets(Vec<Result<OffsetsAnswer, Refusal>>),
    DeleteRecords(Vec<Result<Shortened, Refusal>>),
    LogSizes(Vec<LogSize>),
    EpochEnds(Vec<Result<(LeaderEpoch, Offset), Refusal>>),
    Producers(Vec<Result<Vec<ActiveProducer>, Refusal>>),
    /// The call has a place in the machine's queue; its answer comes as [`Message::GroupAnswer`].
    GroupCallTaken,
    Change(ChangeAnswer),
    Checkpointed(Result<(), CheckpointsNotWritten>),
}

/// The batches of one produce request for the partitions of one shard.
pub struct AppendRequest {
    pub image_version: i64,
    pub acks: Acks,
    pub batches: Vec<PartitionBatch>,
}

pub struct PartitionBatch {
    pub partition: TopicPartition,
    pub batch: Batch,
    /// For topics that stamp at append: the time written into the batch by whoever checked it.
    pub log_append_time: TimestampMs,
}

/// The partitions of one fetch that one shard owns.
pub struct PlanRequest {
    pub image_version: i64,
    /// Park this reader on every partition unless they have `min_bytes` to read between them.
    pub park: Option<ReaderId>,
    pub min_bytes: u64,
    pub reads: Vec<(TopicPartition, ReadRequest)>,
}

pub struct OffsetsRequest {
    pub image_version: i64,
    pub isolation: Option<Isolation>,
    pub queries: Vec<(TopicPartition, Option<LeaderEpoch>, OffsetQuery)>,
}

/// Up to where records of the partitions of one shard shall go.
pub struct DeleteRecordsRequest {
    pub image_version: i64,
    pub partitions: Vec<(TopicPartition, DeleteUpTo)>,
}

/// Where a log starts now, and in which log directory the checkpoint is that will say so.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shortened {
    pub start: Offset,
    pub directory: usize,
}

pub struct LogSizesRequest {
    pub image_version: i64,
    /// None: all that the shard has.
    pub partitions: Option<Vec<TopicPartition>>,
}

/// One partition's log on disk.
#[derive(Debug, Clone)]
pub struct LogSize {
    /// Which of `log.dirs`.
    pub directory: usize,
    pub topic: TopicName,
    pub partition: PartitionIndex,
    pub bytes: u64,
}

/// Where leader epochs ended.
pub struct EpochEndsRequest {
    pub image_version: i64,
    /// The epoch the asker takes for the leader's, and the one it asks about.
    pub queries: Vec<(TopicPartition, Option<LeaderEpoch>, LeaderEpoch)>,
}

/// Which producers are known.
pub struct ProducersRequest {
    pub image_version: i64,
    pub partitions: Vec<TopicPartition>,
}

/// A call for the machine of one partition of `__consumer_offsets`.
pub struct GroupCall {
    pub image_version: i64,
    pub partition: TopicPartition,
    /// Where the answer goes.
    pub from: ShardId,
    pub place: u32,
    pub call: Box<Call>,
}

impl Request {
    /// The image the sender resolved names with: an owner with an older one waits for it.
    pub fn image_version(&self) -> i64 {
        match self {
            Request::Append(request) => request.image_version,
            Request::Plan(request) => request.image_version,
            Request::Offsets(request) => request.image_version,
            Request::DeleteRecords(request) => request.image_version,
            Request::LogSizes(request) => request.image_version,
            Request::EpochEnds(request) => request.image_version,
            Request::Producers(request) => request.image_version,
            Request::Group(request) => request.image_version,
            Request::Change(_) | Request::Checkpoint => 0,
        }
    }

    /// Whose credits it takes.
    pub fn kind(&self) -> Kind {
        match self {
            Request::Append(_) => Kind::Append,
            Request::Plan(_)
            | Request::Offsets(_)
            | Request::DeleteRecords(_)
            | Request::LogSizes(_)
            | Request::EpochEnds(_)
            | Request::Producers(_)
            | Request::Group(_)
            | Request::Change(_)
            | Request::Checkpoint => Kind::Other,
        }
    }
}

/// A planned read's file handle, as it crosses shards.
pub type SharedFile<W> = <<W as World>::File as File>::Shared;
