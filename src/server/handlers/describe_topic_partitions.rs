//! DescribeTopicPartitions: topics in name order, paged by partitions, with eligible leader replicas.
//!
//! KIPs: 966.

use std::collections::BTreeSet;
use std::sync::Arc;

use kafka_protocol::messages::describe_topic_partitions_request::{Cursor as RequestCursor, TopicRequest};
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{BrokerId, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse};

use crate::io::World;
use crate::metadata::image::PartitionImage;
use crate::metadata::image::{MetadataImage, TopicImage};
use crate::metadata::record::Internal;
use crate::server::dispatch::Call;
use crate::types::{NodeId, PartitionIndex, TopicName, TopicPartition};
use crate::wire::error::ErrorCode;
use crate::wire::message::uuid_of;

pub async fn answer<W: World>(call: Call<W>, request: DescribeTopicPartitionsRequest) -> Option<DescribeTopicPartitionsResponse> {
    let image = call.server.shard.image();
    let limit_max = call.server.shard.settings().network.describe_partitions_max as usize;
    let mut left = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, limit_max);
    let is_named = |cursor: &RequestCursor| request.topics.iter().any(|topic| topic.name == cursor.topic_name);
    if request.cursor.as_ref().is_some_and(|cursor| cursor.partition_index < 0 || !(request.topics.is_empty() || is_named(cursor))) {
        return Some(DescribeTopicPartitionsResponse::default().with_topics(request.topics.iter().map(refused).collect()));
    }
    let cursor = request.cursor.as_ref().map(|cursor| (TopicName::new(&cursor.topic_name), cursor.partition_index));
    let from = cursor.as_ref().map(|(name, _)| name.clone());
    let asked: BTreeSet<TopicName> = request.topics.iter().map(|topic| TopicName::new(&topic.name)).collect();
    let names: Vec<TopicName> = if asked.is_empty() {
        let first = from.clone().unwrap_or_else(|| TopicName::new(""));
        image.topics_from(&first).map(|topic| topic.name.clone()).collect()
    } else {
        asked.into_iter().filter(|name| from.as_ref().is_none_or(|from| name >= from)).collect()
    };
    let mut response = DescribeTopicPartitionsResponse::default();
    for name in names {
        if left == 0 {
            response.next_cursor = Some(Cursor::default().with_topic_name(super::wire_name(&name)).with_partition_index(0));
            break;
        }
        let Some(topic) = image.topic_by_name(name.as_str()) else {
            response.topics.push(unknown(&name));
            continue;
        };
        let skipped = match &cursor {
            Some((first, index)) if *first == name => *index as usize,
            _ => 0,
        };
        let described = described(&call, &image, topic, skipped, left);
        let shown = described.partitions.len();
        left -= shown;
        response.topics.push(described);
        if skipped + shown < topic.partitions.len() {
            let next = Cursor::default().with_topic_name(super::wire_name(&name)).with_partition_index((skipped + shown) as i32);
            response.next_cursor = Some(next);
            break;
        }
    }
    Some(response)
}

/// A cursor before a topic's first partition, or at a topic that is not among those asked for: the whole request is refused.
fn refused(topic: &TopicRequest) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic::default().with_error_code(ErrorCode::InvalidRequest.code()).with_name(Some(topic.name.clone()))
}

fn unknown(name: &TopicName) -> DescribeTopicPartitionsResponseTopic {
    let legal = crate::metadata::decision::validate_topic_name(name.as_str()).is_ok();
    let code = if legal { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::InvalidTopicException };
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(code.code())
        .with_name(Some(super::wire_name(name)))
        .with_topic_authorized_operations(super::topic_operations())
}

fn described<W: World>(
    call: &Call<W>,
    image: &MetadataImage,
    topic: &Arc<TopicImage>,
    skipped: usize,
    limit: usize,
) -> DescribeTopicPartitionsResponseTopic {
    let partitions = topic.partitions.iter().enumerate().skip(skipped).take(limit).map(|(index, partition)| {
        let id = TopicPartition { topic: topic.id, partition: PartitionIndex(index as i32) };
        partition_of(call, image, id, partition)
    });
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(super::wire_name(&topic.name)))
        .with_topic_id(uuid_of(topic.id))
        .with_is_internal(topic.internal == Internal::Yes)
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(super::topic_operations())
}

fn partition_of<W: World>(
    call: &Call<W>,
    image: &MetadataImage,
    id: TopicPartition,
    partition: &PartitionImage,
) -> DescribeTopicPartitionsResponsePartition {
    let shown = |node: NodeId| BrokerId(call.server.shown_id(&call.peer, id, node).get());
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| shown(*node)).collect::<Vec<_>>();
    let offline = image.offline_replicas(partition);
    DescribeTopicPartitionsResponsePartition::default()
        .with_partition_index(id.partition.get())
        .with_leader_id(partition.leader.map_or(BrokerId(-1), shown))
        .with_leader_epoch(partition.leader_epoch.get())
        .with_replica_nodes(ids(&partition.replicas))
        .with_isr_nodes(ids(&partition.isr))
        .with_eligible_leader_replicas(Some(ids(&partition.elr)))
        .with_last_known_elr(Some(ids(&partition.last_known_elr)))
        .with_offline_replicas(ids(&offline))
}
