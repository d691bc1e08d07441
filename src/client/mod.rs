//! What our own tools use to talk to any Kafka-compatible cluster: ask, wait, answer.
//!
//! Called by the tools in `cli`; calls `wire`, `config` for the syntax of properties
//! files, and the blocking sockets of the standard library. Tools are plain programs of one thread,
//! so nothing here is asynchronous, and nothing here runs inside a broker.
//!
//! Invariants:
//! 1. One request is in flight per connection; a response whose correlation id is another's ends the connection.
//! 2. Every request goes out at the highest version that both sides speak, as the broker listed them when the connection opened.
//! 3. Every wait has an end: connecting, one request, and one call with its retries each have a named time-out.
//! 4. After a transport error the connection is dropped, never reused.
//!
//! KIPs: 35 and 511 (version negotiation), 482 (flexible versions), 966 (DescribeTopicPartitions).

mod admin;
mod admin_cluster;
mod admin_configs;
mod admin_groups;
mod admin_log_dirs;
mod admin_partitions;
mod admin_reassignments;
mod connection;
mod error;
mod exception;
#[cfg(feature = "librdkafka")]
pub mod java_keys;
mod routing;
mod settings;
pub mod topic_filter;

#[cfg(test)]
mod tests;

pub use admin::{Growth, NamedPartition, NewTopic, Partition, Placement, TopicDescription, TopicListing};
pub use admin_cluster::{Election, Endpoint};
pub use admin_configs::{ConfigEntry, ConfigResource, ConfigSource, ConfigSynonym};
pub use admin_groups::{Committed, Group, GroupListing, GroupState, GroupType, Member};
pub use admin_log_dirs::{LogDir, LogDirReplica};
pub use admin_partitions::{OffsetSpec, PerPartition};
pub use admin_reassignments::Reassignment;
pub use error::{ClientError, Refusal};
pub use exception::name as exception_name;
pub use routing::{Broker, Client, ClusterMetadata, ServedApi, Target};
pub use settings::{Address, Settings, SettingsError, parse_bootstrap};
