//! OffsetCommit: a group notes how far it has read. What names no partition of this cluster is refused here, the rest is the group's.
//!
//! KIPs: 98 (leader epochs), 345 (static members), 848 (member epochs, topic ids).

use std::collections::BTreeMap;

use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestTopic;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse, TopicName};
use uuid::Uuid;

use crate::coordinator::group::{Answer, Request};
use crate::io::World;
use crate::metadata::image::MetadataImage;
use crate::server::dispatch::Call;
use crate::types::PartitionIndex;
use crate::wire::error::ErrorCode;
use crate::wire::message::topic_id_of;
use crate::wire::offsets::BY_ID;

pub async fn answer<W: World>(call: Call<W>, mut request: OffsetCommitRequest) -> Option<OffsetCommitResponse> {
    let image = call.server.shard.image();
    let by_id = call.header.version >= BY_ID;
    let mut lines = Lines { by_id, ..Lines::default() };
    request.topics = sort_out(&image, request.topics, &mut lines);
    if request.topics.is_empty() {
        return Some(lines.response());
    }
    let ids: BTreeMap<TopicName, Uuid> = request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id)).collect();
    let group = request.group_id.0.clone();
    let Answer::Commit(answer) = super::groups::ask(&call, &group, Request::Commit(request)).await? else {
        unreachable!("a group is answered in kind")
    };
    let taken = answer.topics.iter().flat_map(|topic| &topic.partitions).filter(|line| line.error_code == ErrorCode::None.code());
    call.server.metrics().groups.commits.add(taken.count() as u64);
    let nothing_refused = lines.topics.is_empty();
    for mut topic in answer.topics {
        topic.topic_id = ids.get(&topic.name).copied().unwrap_or_default();
        // A topic named twice is answered twice, unless part of the answer is there already, as in Kafka.
        if nothing_refused {
            lines.topics.push(topic);
        } else {
            lines.of(&topic.name, topic.topic_id).extend(topic.partitions);
        }
    }
    Some(lines.response())
}

/// Leaves the partitions that are there, their topics by name; refuses the others.
fn sort_out(image: &MetadataImage, topics: Vec<OffsetCommitRequestTopic>, lines: &mut Lines) -> Vec<OffsetCommitRequestTopic> {
    let mut known = Vec::with_capacity(topics.len());
    for mut topic in topics {
        let found = if lines.by_id { image.topic_by_id(topic_id_of(topic.topic_id)) } else { image.topic_by_name(&topic.name) };
        let code = if lines.by_id && found.is_none() { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
        if let (true, Some(found)) = (lines.by_id, found) {
            topic.name = super::wire_name(&found.name);
        }
        let exists = |index: i32| found.is_some_and(|found| found.partition(PartitionIndex(index)).is_some());
        let (present, missing): (Vec<_>, Vec<_>) = topic.partitions.drain(..).partition(|partition| exists(partition.partition_index));
        let refused = missing.iter().map(|partition| {
            OffsetCommitResponsePartition::default().with_partition_index(partition.partition_index).with_error_code(code.code())
        });
        if !missing.is_empty() || found.is_none() {
            lines.of(&topic.name, topic.topic_id).extend(refused);
        }
        if !present.is_empty() {
            known.push(topic.with_partitions(present));
        }
    }
    known
}

/// The topics of a response.
#[derive(Default)]
struct Lines {
    by_id: bool,
    topics: Vec<OffsetCommitResponseTopic>,
    places: BTreeMap<(TopicName, Uuid), usize>,
}

impl Lines {
    fn of(&mut self, name: &TopicName, id: Uuid) -> &mut Vec<OffsetCommitResponsePartition> {
        let place = *self.places.entry((name.clone(), id)).or_insert(self.topics.len());
        if place == self.topics.len() {
            self.topics.push(OffsetCommitResponseTopic::default().with_name(name.clone()).with_topic_id(id));
        }
        &mut self.topics[place].partitions
    }

    fn response(self) -> OffsetCommitResponse {
        OffsetCommitResponse::default().with_topics(self.topics)
    }
}
