//! The broker's settings, typed and grouped by the layer that acts on them.
//!
//! Made by [`broker`](super::broker) from checked values; every layer above is handed its group and never sees a key.
//!
//! Invariants:
//! 1. Where Kafka writes "no limit", "never" or "the system's choice" as a number, it is none here.
//! 2. A number needs no further check: its row and the rules across keys have passed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;

use super::listeners::Listeners;
use super::topic::TopicSettings;
use super::value::Value;
use crate::io::zookeeper;
use crate::metrics::Timing;
use crate::types::NodeId;

/// Everything a broker is set to.
#[derive(Clone, Debug, PartialEq)]
pub struct BrokerSettings {
    pub node: Node,
    pub network: Network,
    pub shards: Shards,
    pub metrics: Metrics,
    pub storage: Storage,
    pub topics: Topics,
    pub replication: Replication,
    pub groups: Groups,
    pub offsets: Offsets,
    /// What file and command line say, as they say it: the static layer of DescribeConfigs.
    pub given: BTreeMap<String, String>,
    /// A value per topic key, for overrides to be laid over.
    pub(super) topic_values: BTreeMap<&'static str, Value>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub id: NodeId,
    pub rack: Option<String>,
    /// The home of the metadata; `None` keeps them in the first log directory.
    pub zookeeper: Option<zookeeper::Settings>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    pub listeners: Listeners,
    pub request_bytes_max: u32,
    pub idle_ms_max: Option<u64>,
    pub connections_max: u32,
    pub connections_per_ip_max: u32,
    /// By address or host name, in place of `connections_per_ip_max`.
    pub connections_per_ip_overrides: BTreeMap<String, u32>,
    /// Per second.
    pub connection_creation_rate_max: u32,
    /// Windows of time over which a rate is measured.
    pub quota_windows: u32,
    /// Length of one of them.
    pub quota_window_seconds: u32,
    /// Requests of one connection under way at one time.
    pub connection_in_flight_max: u32,
    /// None leaves it to the system.
    pub tcp_congestion_control: Option<String>,
    pub fetch_bytes_max: u32,
    pub fetch_sessions_max: u32,
    pub describe_partitions_max: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shards {
    pub count: u16,
    pub mailbox_slots: u32,
    /// Bytes of unfinished requests per shard.
    pub receive_bytes_max: u64,
    pub frame_progress_timeout_ms: u64,
    pub spin_us: u32,
    /// By listener that is open: the first shard's port of those that each shard has for itself; the others follow it.
    pub ports: Vec<Option<u16>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metrics {
    /// Where the metrics page is shown. None shows it nowhere.
    pub listener: Option<SocketAddr>,
    /// Topics with series of their own.
    pub topics_max: u32,
    /// Committed offsets with series of their own.
    pub lag_max: u32,
}

impl Metrics {
    /// Spans are measured only where somebody can ask for them.
    pub fn timing(&self) -> Timing {
        if self.listener.is_some() { Timing::On } else { Timing::Off }
    }
}

/// How appended bytes reach the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendPath {
    /// Whichever a probe of the filesystem finds best.
    Auto,
    Inline,
    /// `RWF_NOWAIT`, with the ring behind it.
    Nowait,
    Ring,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Storage {
    /// At least one; each path once.
    pub directories: Vec<PathBuf>,
    /// Those of them, by index, that take no new partitions.
    pub cordoned: BTreeSet<usize>,
    pub append_path: AppendPath,
    pub append_window_bytes: u32,
    pub appends_in_flight_max: u32,
    pub recovery_bytes_max: u64,
    pub validate_compressed: bool,
    /// Free bytes of a log directory below which nothing of a client is appended there.
    pub disk_reserve_bytes: u64,
    /// What one compressed batch may decompress to.
    pub decompressed_bytes_max: u64,
    /// From the start until the periodic work below begins.
    pub initial_task_delay_ms: u64,
    pub retention_check_interval_ms: u64,
    pub recovery_point_checkpoint_interval_ms: u64,
    pub log_start_checkpoint_interval_ms: u64,
    pub high_watermark_checkpoint_interval_ms: u64,
    pub producer_expiration_ms: u64,
    pub producer_expiration_check_interval_ms: u64,
    pub cleaner: Cleaner,
}

/// Compaction.
#[derive(Clone, Debug, PartialEq)]
pub struct Cleaner {
    pub enabled: bool,
    pub backoff_ms: u64,
    /// Memory for the keys of one pass.
    pub key_bytes_max: u64,
    /// How full that memory may get.
    pub key_load_factor: f64,
    /// Passes at once in all of Kafka's threads; here each shard makes one at a time, and none at all if this is 0.
    pub threads: u32,
    /// Read and written together; none is no limit.
    pub io_bytes_per_second_max: Option<f64>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Topics {
    /// For a topic created without a number of its own.
    pub partitions: u32,
    /// For a topic created without a number of its own.
    pub replication_factor: u16,
    pub auto_create: bool,
    pub delete_enabled: bool,
    pub defaults: TopicSettings,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replication {
    pub lag_ms_max: u64,
    pub fetch_bytes_max: u32,
    pub fetch_response_bytes_max: u32,
    pub fetch_bytes_min: u32,
    pub fetch_wait_ms_max: u32,
    pub fetch_backoff_ms: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Groups {
    pub protocols: GroupProtocols,
    pub initial_rebalance_delay_ms: u32,
    pub session_timeout_ms_min: u32,
    pub session_timeout_ms_max: u32,
    pub members_max: u32,
    pub consumer: ConsumerGroups,
}

/// Which group protocols clients are offered; the classic one always is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupProtocols {
    pub consumer: bool,
    pub share: bool,
    pub streams: bool,
}

/// Groups of the newer protocol (KIP-848).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerGroups {
    pub heartbeat_interval_ms: u32,
    pub heartbeat_interval_ms_min: u32,
    pub heartbeat_interval_ms_max: u32,
    pub session_timeout_ms: u32,
    pub session_timeout_ms_min: u32,
    pub session_timeout_ms_max: u32,
    pub members_max: u32,
}

/// Replicas of a topic the broker creates for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InternalReplication {
    /// Somebody asked for this number: fewer brokers are an error, as in Kafka.
    Exactly(u16),
    /// Nobody did: as many as there are brokers, and no more than this.
    UpTo(u16),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offsets {
    pub partitions: u32,
    pub replication: InternalReplication,
    pub segment_bytes: u32,
    /// The codec's number in a batch's attributes.
    pub compression_codec: u8,
    pub metadata_bytes_max: u32,
    pub commit_timeout_ms: u32,
    pub retention_ms: u64,
    pub retention_check_interval_ms: u64,
}
