//! Metadata: brokers, topics, leaders; creates topics that are asked for, where that is configured.
//!
//! KIPs: 4 (auto-creation), 430 (authorized operations), 516 (topic ids), 700.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::{BrokerId, MetadataRequest, MetadataResponse, TopicName as WireTopicName};

use crate::io::World;
use crate::metadata::decision::{CONSUMER_OFFSETS, Refused};
use crate::metadata::image::PartitionImage;
use crate::metadata::image::{MetadataImage, TopicImage};
use crate::metadata::record::{BrokerState, Internal};
use crate::server::dispatch::Call;
use crate::server::pace::give_way;
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

/// From here on an answer has an error of its own.
const ERROR_FROM: i16 = 13;

/// What the lists of a partition's replicas take beside the partition itself.
const REPLICAS_BYTES: usize = 64;

/// What a request is about; each topic once, in the order in which they are first named.
enum Asked<'a> {
    All,
    Names(Vec<&'a WireTopicName>),
    Ids(Vec<TopicId>),
}

impl<'a> Asked<'a> {
    /// As Kafka reads it: by id where any id is said, whatever names stand beside them.
    fn of(request: &'a MetadataRequest, version: i16) -> Result<Self, ErrorCode> {
        let topics = match &request.topics {
            None => return Ok(Asked::All),
            Some(topics) if topics.is_empty() && version < NULL_IS_ALL_FROM => return Ok(Asked::All),
            Some(topics) => topics,
        };
        let ids = || topics.iter().map(|topic| topic_id_of(topic.topic_id)).filter(|id| !id.is_zero());
        if version < TOPIC_ID_FROM && (ids().next().is_some() || topics.iter().any(|topic| topic.name.is_none())) {
            return Err(ErrorCode::InvalidRequest);
        }
        let mut seen = BTreeSet::new();
        let distinct: Vec<TopicId> = ids().filter(|id| seen.insert(*id)).collect();
        if !distinct.is_empty() {
            return Ok(Asked::Ids(distinct));
        }
        // Neither name nor id: Kafka fails over it.
        let (mut names, mut seen) = (Vec::new(), BTreeSet::new());
        for topic in topics {
            let name = topic.name.as_ref().ok_or(ErrorCode::UnknownServerError)?;
            if seen.insert(name.as_str()) {
                names.push(name);
            }
        }
        Ok(Asked::Names(names))
    }
}

pub async fn answer<W: World>(call: Call<W>, request: MetadataRequest) -> Option<MetadataResponse> {
    let version = call.header.version;
    let asked = match Asked::of(&request, version) {
        Ok(asked) => asked,
        Err(code) => return Some(refused(&request, code, version)),
    };
    let mut image = call.server.shard.image();
    let operations = if request.include_topic_authorized_operations { super::topic_operations() } else { super::OPERATIONS_NOT_ASKED };
    let mut refusals = BTreeMap::new();
    if let Asked::Names(names) = &asked
        && (version < MAY_CREATE_FROM || request.allow_auto_topic_creation)
    {
        refusals = create_missing(&call, &mut image, names).await?;
    }
    let found = |id: TopicId| (image.topic_by_id(id).cloned(), (None, id, ErrorCode::UnknownTopicId));
    let named = |name: &WireTopicName| {
        let code = refusals.get(&***name).copied().unwrap_or_else(|| unknown_name(name));
        (image.topic_by_name(name).cloned(), (Some(name.clone()), TopicId::ZERO, code))
    };
    let lines: Box<dyn Iterator<Item = Line>> = match &asked {
        Asked::All => Box::new(image.topics().map(|topic| (Some(topic.clone()), (None, topic.id, ErrorCode::UnknownTopicId)))),
        Asked::Ids(ids) => Box::new(ids.iter().copied().map(found)),
        Asked::Names(names) => Box::new(names.iter().copied().map(named)),
    };
    let mut share = call.server.answers.share();
    let mut topics = Vec::new();
    let mut step = 0;
    for (topic, (name, id, code)) in lines {
        let partitions = topic.as_ref().map_or(0, |topic| topic.partitions.len());
        share.grow(size_of::<MetadataResponseTopic>() + partitions * (size_of::<MetadataResponsePartition>() + REPLICAS_BYTES))?;
        topics.push(match topic {
            Some(topic) => described(&call, &image, &topic, operations),
            None => unknown(name, id, code),
        });
        for _ in 0..=partitions {
            give_way(call.server.shard.world(), step).await;
            step += 1;
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

/// A topic to describe, if it is there, and what to say if it is not.
type Line = (Option<Arc<TopicImage>>, (Option<WireTopicName>, TopicId, ErrorCode));

/// The whole request is refused.
fn refused(request: &MetadataRequest, code: ErrorCode, version: i16) -> MetadataResponse {
    let line = |topic: &MetadataRequestTopic| {
        MetadataResponseTopic::default()
            .with_error_code(code.code())
            .with_name(topic.name.clone().or_else(|| Some(super::wire_name(&TopicName::new("")))))
            .with_topic_id(topic.topic_id)
    };
    let response = MetadataResponse::default().with_topics(request.topics.iter().flatten().map(line).collect());
    if version >= ERROR_FROM { response.with_error_code(code.code()) } else { response }
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
    names: &[&WireTopicName],
) -> Option<BTreeMap<String, ErrorCode>> {
    let settings = call.server.shard.settings();
    if !settings.topics.auto_create {
        return Some(BTreeMap::new());
    }
    let missing: Vec<String> = names.iter().filter(|name| image.topic_by_name(name).is_none()).map(|name| name.to_string()).collect();
    if missing.is_empty() {
        return Some(BTreeMap::new());
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

fn unknown(name: Option<WireTopicName>, id: TopicId, code: ErrorCode) -> MetadataResponseTopic {
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
