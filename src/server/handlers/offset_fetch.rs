//! OffsetFetch: how far groups have read.
//!
//! KIPs: 88 (all partitions), 447 (stable offsets), 709 (many groups), 848 (topic ids).

use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{OffsetFetchRequest, OffsetFetchResponse};
use kafka_protocol::protocol::StrBytes;

use crate::coordinator::group::{Answer, Request};
use crate::io::World;
use crate::metadata::image::MetadataImage;
use crate::server::dispatch::Call;
use crate::types::TopicName;
use crate::wire::error::ErrorCode;
use crate::wire::message::{topic_id_of, uuid_of};
use crate::wire::offsets::BY_ID;

use super::groups::{self, Split};

/// From here on a request names several groups.
const GROUPS_FROM: i16 = 8;
/// From here on what is wrong with the group is said once, below in every partition.
const GROUP_ERROR_FROM: i16 = 2;

const NO_OFFSET: i64 = -1;
const NO_EPOCH: i32 = -1;

pub async fn answer<W: World>(call: Call<W>, request: OffsetFetchRequest) -> Option<OffsetFetchResponse> {
    let image = call.server.shard.image();
    let version = call.header.version;
    let stable = request.require_stable;
    let single = version < GROUPS_FROM;
    let wanted = if single { vec![only_group(request)] } else { request.groups };
    let (asked, unknown): (Vec<_>, Vec<_>) = wanted.iter().map(|group| with_names(&image, group.clone(), version)).unzip();

    let split = Split::new(&image, call.server.shard.node(), asked.iter().map(|group| group.group_id.0.clone()));
    let mut parts: Vec<Vec<OffsetFetchRequestGroup>> = vec![Vec::new(); split.parts.len()];
    for (group, part) in asked.into_iter().zip(split.places()) {
        parts[part].push(group);
    }
    let request_of = |groups| Request::FetchOffsets(OffsetFetchRequest::default().with_groups(groups).with_require_stable(stable));
    let requests = split.parts.iter().zip(parts).map(|((home, _), groups)| (*home, request_of(groups))).collect();
    let answers = groups::ask_all(&call, &image, requests).await?.into_iter().map(|answer| match answer {
        Answer::FetchOffsets(response) => response.groups,
        _ => unreachable!("a group is answered in kind"),
    });
    let mut found = split.join(answers.collect());
    for (group, refused) in found.iter_mut().zip(unknown) {
        if group.error_code == ErrorCode::None.code() {
            if version >= BY_ID {
                with_ids(&image, group);
            }
            group.topics.extend(refused);
        }
    }
    if !single {
        return Some(OffsetFetchResponse::default().with_groups(found));
    }
    let group = found.pop().unwrap_or_default();
    Some(response_of_one(version, &wanted[0], group))
}

/// The one group of an earlier version.
fn only_group(request: OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topics = request.topics.map(|topics| {
        let topic = |topic: kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestTopic| {
            OffsetFetchRequestTopics::default().with_name(topic.name).with_partition_indexes(topic.partition_indexes)
        };
        topics.into_iter().map(topic).collect()
    });
    OffsetFetchRequestGroup::default().with_group_id(request.group_id).with_member_id(None).with_member_epoch(-1).with_topics(topics)
}

/// The group with its topics by name, and a refusal for each topic whose id is not known.
fn with_names(
    image: &MetadataImage,
    mut group: OffsetFetchRequestGroup,
    version: i16,
) -> (OffsetFetchRequestGroup, Vec<OffsetFetchResponseTopics>) {
    let mut refused = Vec::new();
    if version >= BY_ID
        && let Some(topics) = &mut group.topics
    {
        topics.retain_mut(|topic| match image.topic_by_id(topic_id_of(topic.topic_id)) {
            Some(known) => {
                topic.name = super::wire_name(&known.name);
                true
            }
            None => {
                refused.push(unknown_id(topic));
                false
            }
        });
    }
    (group, refused)
}

fn unknown_id(topic: &OffsetFetchRequestTopics) -> OffsetFetchResponseTopics {
    let line = |index: &i32| {
        OffsetFetchResponsePartitions::default()
            .with_partition_index(*index)
            .with_committed_offset(NO_OFFSET)
            .with_committed_leader_epoch(NO_EPOCH)
            .with_metadata(Some(StrBytes::default()))
            .with_error_code(ErrorCode::UnknownTopicId.code())
    };
    OffsetFetchResponseTopics::default().with_topic_id(topic.topic_id).with_partitions(topic.partition_indexes.iter().map(line).collect())
}

/// Topics that are gone have no id that could be told: they are left out, as in Kafka.
fn with_ids(image: &MetadataImage, group: &mut OffsetFetchResponseGroup) {
    group.topics.retain_mut(|topic| match image.topic_by_name(TopicName::new(&topic.name).as_str()) {
        Some(known) => {
            topic.topic_id = uuid_of(known.id);
            true
        }
        None => false,
    });
}

/// The answer of an earlier version.
fn response_of_one(version: i16, wanted: &OffsetFetchRequestGroup, group: OffsetFetchResponseGroup) -> OffsetFetchResponse {
    if version < GROUP_ERROR_FROM && group.error_code != ErrorCode::None.code() {
        let line = |index: &i32| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(*index)
                .with_committed_offset(NO_OFFSET)
                .with_committed_leader_epoch(NO_EPOCH)
                .with_metadata(Some(StrBytes::default()))
                .with_error_code(group.error_code)
        };
        let topic = |topic: &OffsetFetchRequestTopics| {
            let partitions = topic.partition_indexes.iter().map(line).collect();
            OffsetFetchResponseTopic::default().with_name(topic.name.clone()).with_partitions(partitions)
        };
        return OffsetFetchResponse::default().with_topics(wanted.topics.iter().flatten().map(topic).collect());
    }
    let line = |line: OffsetFetchResponsePartitions| {
        OffsetFetchResponsePartition::default()
            .with_partition_index(line.partition_index)
            .with_committed_offset(line.committed_offset)
            .with_committed_leader_epoch(line.committed_leader_epoch)
            .with_metadata(line.metadata)
            .with_error_code(line.error_code)
    };
    let topic = |topic: OffsetFetchResponseTopics| {
        OffsetFetchResponseTopic::default().with_name(topic.name).with_partitions(topic.partitions.into_iter().map(line).collect())
    };
    OffsetFetchResponse::default().with_error_code(group.error_code).with_topics(group.topics.into_iter().map(topic).collect())
}
