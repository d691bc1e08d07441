//! Metadata: brokers, topics, leaders; creates topics that are asked for, where that is configured.
//!
//! KIPs: 4 (auto-creation), 430 (authorized operations), 516 (topic ids), 700.

use std::rc::Rc;
use std::sync::Arc;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse};

use crate::io::World;
use crate::metadata::decision::{CONSUMER_OFFSETS, Refused};
use crate::metadata::image::PartitionImage;
use crate::metadata::image::{MetadataImage, TopicImage};
use crate::metadata::record::{BrokerState, Internal};
use crate::server::dispatch::Call;
use crate::server::shard_ports::Shown;
use crate::shard::controller::CreateTopics;
use crate::types::{NodeId, PartitionIndex, TopicId, TopicName, TopicPartition};
use crate::wire::error::ErrorCode;
use crate::wire::message::{topic_id_of, uuid_of};

/// From here on an empty list of topics is none, and "all" is null.
const NULL_IS_ALL_FROM: i16 = 1;
/// From here on the client says whether topics may be created.
const MAY_CREATE_FROM: i16 = 4;
/// From here on a topic may be asked for by its id.
const TOPIC_ID_FROM: i16 = 12;

pub async fn answer<W: World>(call: Call<W>, request: MetadataRequest) -> Option<MetadataResponse> {
    let version = call.header.version;
    let all = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && version < NULL_IS_ALL_FROM,
    };
    let unnamed = |topic: &MetadataRequestTopic| topic.name.is_none();
    if version < TOPIC_ID_FROM && request.topics.as_ref().is_some_and(|topics| topics.iter().any(unnamed)) {
        return Some(refused(&request));
    }
    let mut image = call.server.shard.image();
    let operations = if request.include_topic_authorized_operations { super::topic_operations() } else { super::OPERATIONS_NOT_ASKED };
    let mut topics = Vec::new();
    if all {
        topics.extend(image.topics().map(|topic| described(&call, &image, topic, operations)));
    } else {
        let wanted = request.topics.unwrap_or_default();
        let may_create = version < MAY_CREATE_FROM || request.allow_auto_topic_creation;
        let refusals = if may_create { create_missing(&call, &mut image, &wanted).await? } else { Vec::new() };
        for topic in &wanted {
            let id = topic_id_of(topic.topic_id);
            topics.push(match (&topic.name, id.is_zero()) {
                (Some(name), _) => match image.topic_by_name(name) {
                    Some(found) => described(&call, &image, found, operations),
                    None => {
                        let created = refusals.iter().find(|(refused, _)| *refused == name.to_string()).map(|(_, code)| *code);
                        let code = created.unwrap_or_else(|| unknown_name(name));
                        unknown(Some(name.clone()), TopicId::ZERO, code)
                    }
                },
                (None, false) => match image.topic_by_id(id) {
                    Some(found) => described(&call, &image, found, operations),
                    None => unknown(None, id, ErrorCode::UnknownTopicId),
                },
                (None, true) => unknown(None, id, ErrorCode::InvalidTopicException),
            });
        }
    }
    let cluster_operations =
        if request.include_cluster_authorized_operations { super::cluster_operations() } else { super::OPERATIONS_NOT_ASKED };
    let brokers = brokers(&call, &image);
    let controller = image.controller().map_or(-1, |controller| controller.node.get());
    Some(
        MetadataResponse::default()
            .with_brokers(brokers)
            .with_cluster_id(image.cluster_id().map(|id| super::text(id.to_string())))
            .with_controller_id(BrokerId(controller))
            .with_topics(topics)
            .with_cluster_authorized_operations(cluster_operations),
    )
}

/// Topics by id from a client of a version that cannot ask so: the whole request is refused.
fn refused(request: &MetadataRequest) -> MetadataResponse {
    let line = |topic: &MetadataRequestTopic| {
        MetadataResponseTopic::default()
            .with_error_code(ErrorCode::InvalidRequest.code())
            .with_name(topic.name.clone().or_else(|| Some(super::wire_name(&TopicName::new("")))))
            .with_topic_id(topic.topic_id)
    };
    MetadataResponse::default().with_topics(request.topics.iter().flatten().map(line).collect())
}

fn unknown_name(name: &str) -> ErrorCode {
    if crate::metadata::decision::validate_topic_name(name).is_ok() {
        ErrorCode::UnknownTopicOrPartition
    } else {
        ErrorCode::InvalidTopicException
    }
}

/// Creates the topics of the list that are not there, if the broker is so configured. Answers with why some could not be.
async fn create_missing<W: World>(
    call: &Call<W>,
    image: &mut Rc<MetadataImage>,
    wanted: &[MetadataRequestTopic],
) -> Option<Vec<(String, ErrorCode)>> {
    let settings = call.server.shard.settings();
    if !settings.topics.auto_create {
        return Some(Vec::new());
    }
    let mut missing: Vec<String> = Vec::new();
    for name in wanted.iter().filter_map(|topic| topic.name.as_ref()) {
        if image.topic_by_name(name).is_none() && !missing.iter().any(|known| known.as_str() == &***name) {
            missing.push(name.to_string());
        }
    }
    if missing.is_empty() {
        return Some(Vec::new());
    }
    let mut change = CreateTopics::with_defaults(&missing);
    for topic in change.topics.iter_mut().filter(|topic| topic.name == CONSUMER_OFFSETS) {
        *topic = call.server.shard.consumer_offsets(image);
    }
    let answer = call.server.shard.create_topics(change).await?;
    *image = call.server.shard.image();
    let refused = answer.unwrap_or_else(|refused| missing.into_iter().map(|name| (name, Err(refused.clone()))).collect());
    let code = |refused: &Refused| match refused.code {
        code @ (ErrorCode::InvalidTopicException | ErrorCode::InvalidReplicationFactor | ErrorCode::InvalidPartitions) => code,
        // Another client may have been first; the client asks again.
        _ => ErrorCode::UnknownTopicOrPartition,
    };
    Some(refused.into_iter().filter_map(|(name, answer)| answer.err().map(|refused| (name, code(&refused)))).collect())
}

fn described<W: World>(call: &Call<W>, image: &MetadataImage, topic: &Arc<TopicImage>, operations: i32) -> MetadataResponseTopic {
    let partitions = topic.partitions.iter().enumerate().map(|(index, partition)| {
        let id = TopicPartition { topic: topic.id, partition: PartitionIndex(index as i32) };
        partition_of(call, image, id, partition)
    });
    MetadataResponseTopic::default()
        .with_name(Some(super::wire_name(&topic.name)))
        .with_topic_id(uuid_of(topic.id))
        .with_is_internal(topic.internal == Internal::Yes)
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(operations)
}

fn partition_of<W: World>(
    call: &Call<W>,
    image: &MetadataImage,
    id: TopicPartition,
    partition: &PartitionImage,
) -> MetadataResponsePartition {
    let code = if partition.leader.is_some() { ErrorCode::None } else { ErrorCode::LeaderNotAvailable };
    let shown = |node: NodeId| BrokerId(call.server.shown_id(&call.peer, id, node).get());
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| shown(*node)).collect::<Vec<_>>();
    let offline = image.offline_replicas(partition);
    MetadataResponsePartition::default()
        .with_error_code(code.code())
        .with_partition_index(id.partition.get())
        .with_leader_id(partition.leader.map_or(BrokerId(-1), shown))
        .with_leader_epoch(partition.leader_epoch.get())
        .with_replica_nodes(ids(&partition.replicas))
        .with_isr_nodes(ids(&partition.isr))
        .with_offline_replicas(ids(&offline))
}

fn unknown(name: Option<kafka_protocol::messages::TopicName>, id: TopicId, code: ErrorCode) -> MetadataResponseTopic {
    let name = name.or_else(|| (code != ErrorCode::UnknownTopicId).then(|| super::wire_name(&TopicName::new(""))));
    MetadataResponseTopic::default()
        .with_error_code(code.code())
        .with_name(name)
        .with_topic_id(uuid_of(id))
        .with_topic_authorized_operations(super::OPERATIONS_NOT_ASKED)
}

/// The endpoint of every broker that has a session, for the listener the request came in on.
fn brokers<W: World>(call: &Call<W>, image: &MetadataImage) -> Vec<MetadataResponseBroker> {
    let line = |shown: Shown<'_>| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(shown.id.get()))
            .with_host(super::text(shown.host))
            .with_port(i32::from(shown.port))
            .with_rack(shown.broker.rack.clone().map(super::text))
    };
    let shown = call.server.shown_brokers(image, &call.peer).into_iter();
    shown.filter(|shown| shown.broker.state != BrokerState::Fenced).map(line).collect()
}
