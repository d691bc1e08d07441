//! One file per API.

pub mod alter_configs;
pub mod alter_partition_reassignments;
pub mod api_versions;
pub mod create_partitions;
pub mod create_topics;
pub mod delete_groups;
pub mod delete_records;
pub mod delete_topics;
pub mod describe_cluster;
pub mod describe_configs;
pub mod describe_groups;
pub mod describe_log_dirs;
pub mod describe_producers;
pub mod describe_topic_partitions;
pub mod elect_leaders;
pub mod fetch;
pub mod find_coordinator;
mod groups;
pub mod heartbeat;
pub mod init_producer_id;
pub mod join_group;
pub mod leave_group;
pub mod list_config_resources;
pub mod list_groups;
pub mod list_offsets;
pub mod list_partition_reassignments;
pub mod metadata;
pub mod offset_commit;
pub mod offset_delete;
pub mod offset_fetch;
pub mod offset_for_leader_epoch;
pub mod produce;
mod questions;
pub mod sync_group;
pub mod unregister_broker;

use std::sync::Arc;

use kafka_protocol::messages::TopicName as WireTopicName;
use kafka_protocol::protocol::StrBytes;

use crate::metadata::image::Overrides;
use crate::metadata::image::{MetadataImage, TopicImage};
use crate::metadata::record::Resource;
use crate::types::{NodeId, PartitionIndex, TopicName, TopicPartition};
use crate::wire::TopicRef;
use crate::wire::error::ErrorCode;

/// What has configs, by Kafka's number.
mod resource_kind {
    pub const TOPIC: i8 = 2;
    pub const BROKER: i8 = 4;
    pub const BROKER_LOGGER: i8 = 8;
    pub const CLIENT_METRICS: i8 = 16;
    pub const GROUP: i8 = 32;

    pub const ALL: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];
}

/// "Authorized operations were not asked for."
const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

fn wire_name(name: &TopicName) -> WireTopicName {
    WireTopicName(StrBytes::from_string(name.as_str().to_owned()))
}

fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// The operations a client may do, as bits, on a broker without an authorizer: everything the resource knows (KIP-430).
fn all_operations(operations: &[u8]) -> i32 {
    operations.iter().fold(0, |bits, operation| bits | 1 << operation)
}

/// Operations on a topic: read, write, create, delete, alter, describe, describe configs, alter configs.
fn topic_operations() -> i32 {
    all_operations(&[3, 4, 5, 6, 7, 8, 10, 11])
}

/// Operations on the cluster: create, alter, describe, cluster action, describe configs, alter configs, idempotent write.
fn cluster_operations() -> i32 {
    all_operations(&[5, 7, 8, 9, 10, 11, 12])
}

/// Operations on a group: read, delete, describe, describe configs, alter configs.
fn group_operations() -> i32 {
    all_operations(&[3, 6, 8, 10, 11])
}

/// The overrides that apply to one broker, and to all.
fn dynamic_configs(image: &MetadataImage, node: NodeId) -> (&Overrides, &Overrides) {
    (image.config(&Resource::Broker(Some(node))), image.config(&Resource::Broker(None)))
}

/// The topic that a Produce or Fetch request names.
fn topic_of<'a>(image: &'a MetadataImage, topic: &TopicRef) -> Result<&'a Arc<TopicImage>, ErrorCode> {
    match topic {
        TopicRef::Name(name) => image.topic_by_name(name).ok_or(ErrorCode::UnknownTopicOrPartition),
        TopicRef::Id(id) => image.topic_by_id(*id).ok_or(ErrorCode::UnknownTopicId),
    }
}

/// The partition of that name and number, if this broker is the one to answer for it.
fn answered_here(image: &MetadataImage, node: NodeId, topic: &str, index: i32) -> Result<TopicPartition, ErrorCode> {
    let topic = image.topic_by_name(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let id = TopicPartition { topic: topic.id, partition: PartitionIndex(index) };
    match topic.partition(id.partition) {
        Some(partition) if partition.is_answered_by(node) => Ok(id),
        Some(_) => Err(ErrorCode::NotLeaderOrFollower),
        None => Err(ErrorCode::UnknownTopicOrPartition),
    }
}
