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
use crate::metadata::record::{Broker, Internal};
use crate::server::dispatch::Call;
use crate::shard::controller::CreateTopics;
use crate::types::{PartitionIndex, TopicId, TopicName};
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
        topics.extend(image.topics().map(|topic| described(&image, topic, operations)));
    } else {
        let wanted = request.topics.unwrap_or_default();
        let may_create = version < MAY_CREATE_FROM || request.allow_auto_topic_creation;
        let refusals = if may_create { create_missing(&call, &mut image, &wanted).await? } else { Vec::new() };
        for topic in &wanted {
            let id = topic_id_of(topic.topic_id);
            topics.push(match (&topic.name, id.is_zero()) {
                (Some(name), _) => match image.topic_by_name(name) {
                    Some(found) => described(&image, found, operations),
                    None => {
                        let created = refusals.iter().find(|(refused, _)| *refused == name.to_string()).map(|(_, code)| *code);
                        let code = created.unwrap_or_else(|| unknown_name(name));
                        unknown(Some(name.clone()), TopicId::ZERO, code)
                    }
                },
                (None, false) => match image.topic_by_id(id) {
                    Some(found) => described(&image, found, operations),
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

fn described(image: &MetadataImage, topic: &Arc<TopicImage>, operations: i32) -> MetadataResponseTopic {
    let partitions =
        topic.partitions.iter().enumerate().map(|(index, partition)| partition_of(image, PartitionIndex(index as i32), partition));
    MetadataResponseTopic::default()
        .with_name(Some(super::wire_name(&topic.name)))
        .with_topic_id(uuid_of(topic.id))
        .with_is_internal(topic.internal == Internal::Yes)
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(operations)
}

fn partition_of(image: &MetadataImage, index: PartitionIndex, partition: &PartitionImage) -> MetadataResponsePartition {
    let code = if partition.leader.is_some() { ErrorCode::None } else { ErrorCode::LeaderNotAvailable };
    let ids = |nodes: &[crate::types::NodeId]| nodes.iter().map(|node| BrokerId(node.get())).collect::<Vec<_>>();
    let offline: Vec<_> = partition.replicas.iter().filter(|node| image.broker(**node).is_none()).copied().collect();
    MetadataResponsePartition::default()
        .with_error_code(code.code())
        .with_partition_index(index.get())
        .with_leader_id(BrokerId(partition.leader.map_or(-1, |leader| leader.get())))
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

/// Every broker's endpoint for the listener the request came in on.
fn brokers<W: World>(call: &Call<W>, image: &MetadataImage) -> Vec<MetadataResponseBroker> {
    let listener = &call.server.shard.settings().network.listeners.open[call.peer.listener].name;
    let endpoint = |broker: &Arc<Broker>| {
        let endpoint = broker.endpoints.iter().find(|endpoint| endpoint.listener == *listener)?;
        Some(
            MetadataResponseBroker::default()
                .with_node_id(BrokerId(broker.node.get()))
                .with_host(super::text(endpoint.host.clone()))
                .with_port(i32::from(endpoint.port))
                .with_rack(broker.rack.clone().map(super::text)),
        )
    };
    image.brokers().filter_map(endpoint).collect()
}
