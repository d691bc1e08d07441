//! OffsetDelete: committed offsets of topics that the group no longer reads go.
//!
//! KIPs: 496.

use std::collections::BTreeMap;

use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_protocol::messages::offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse, TopicName};

use crate::coordinator::group::{Answer, Request};
use crate::io::World;
use crate::server::dispatch::Call;
use crate::types::PartitionIndex;
use crate::wire::error::ErrorCode;

pub async fn answer<W: World>(call: Call<W>, request: OffsetDeleteRequest) -> Option<OffsetDeleteResponse> {
    let image = call.server.shard.image();
    let mut lines = Lines::default();
    let mut known = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let found = image.topic_by_name(&topic.name);
        let exists = |index: i32| found.is_some_and(|found| found.partition(PartitionIndex(index)).is_some());
        let (present, missing): (Vec<_>, Vec<_>) = topic.partitions.into_iter().partition(|partition| exists(partition.partition_index));
        for partition in missing {
            let line = OffsetDeleteResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(ErrorCode::UnknownTopicOrPartition.code());
            lines.of(&topic.name).push(line);
        }
        if !present.is_empty() {
            known.push(OffsetDeleteRequestTopic::default().with_name(topic.name).with_partitions(present));
        }
    }
    if request.group_id.is_empty() {
        return Some(OffsetDeleteResponse::default().with_error_code(ErrorCode::InvalidGroupId.code()));
    }
    let group = request.group_id.0.clone();
    let asked = OffsetDeleteRequest::default().with_group_id(request.group_id).with_topics(known);
    match super::groups::ask(&call, &group, Request::DeleteOffsets(asked)).await? {
        Answer::DeleteOffsets(answer) if answer.error_code != ErrorCode::None.code() => Some(answer),
        Answer::DeleteOffsets(answer) => {
            for topic in answer.topics {
                lines.of(&topic.name).extend(topic.partitions);
            }
            Some(OffsetDeleteResponse::default().with_topics(lines.topics))
        }
        _ => unreachable!("a group is answered in kind"),
    }
}

/// The answer's lines, and where those of a topic are.
#[derive(Default)]
struct Lines {
    topics: Vec<OffsetDeleteResponseTopic>,
    places: BTreeMap<TopicName, usize>,
}

impl Lines {
    fn of(&mut self, topic: &TopicName) -> &mut Vec<OffsetDeleteResponsePartition> {
        let at = *self.places.entry(topic.clone()).or_insert_with(|| {
            self.topics.push(OffsetDeleteResponseTopic::default().with_name(topic.clone()));
            self.topics.len() - 1
        });
        &mut self.topics[at].partitions
    }
}
