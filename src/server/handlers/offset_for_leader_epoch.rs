//! OffsetForLeaderEpoch: where a leader's reign ended, so that a reader finds out whether the log was cut under it.
//!
//! KIPs: 101, 279 (followers), 320 (consumers, fencing).

use std::collections::BTreeMap;

use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::io::World;
use crate::server::dispatch::Call;
use crate::server::errors;
use crate::shard::message::EpochEndsRequest;
use crate::types::{LeaderEpoch, Offset, ShardId};
use crate::wire::error::ErrorCode;

/// A topic and a partition of the response, by index.
type Place = (usize, usize);

pub async fn answer<W: World>(call: Call<W>, request: OffsetForLeaderEpochRequest) -> Option<OffsetForLeaderEpochResponse> {
    let shard = call.server.shard.clone();
    let image = shard.image();
    let mut by_owner: BTreeMap<ShardId, (Vec<Place>, EpochEndsRequest)> = BTreeMap::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let code = match super::answered_here(&image, shard.node(), &topic.topic, wanted.partition) {
                Ok(id) => {
                    let current = Some(LeaderEpoch(wanted.current_leader_epoch)).filter(|epoch| *epoch != LeaderEpoch::UNKNOWN);
                    let (places, queries) = by_owner
                        .entry(shard.owner(id))
                        .or_insert_with(|| (Vec::new(), EpochEndsRequest { image_version: image.version(), queries: Vec::new() }));
                    places.push((topics.len(), partitions.len()));
                    queries.queries.push((id, current, LeaderEpoch(wanted.leader_epoch)));
                    ErrorCode::None
                }
                Err(code) => code,
            };
            partitions.push(line(wanted.partition, Err(code)));
        }
        topics.push(OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions));
    }
    for (owner, (places, queries)) in by_owner {
        let answers = shard.epoch_ends(owner, queries).await?;
        for ((topic, partition), answer) in places.into_iter().zip(answers) {
            let place = &mut topics[topic].partitions[partition];
            *place = line(place.partition, answer.map_err(|refusal| errors::code_of(&refusal, false)));
        }
    }
    Some(OffsetForLeaderEpochResponse::default().with_topics(topics))
}

fn line(partition: i32, answer: Result<(LeaderEpoch, Offset), ErrorCode>) -> EpochEndOffset {
    let ((epoch, end), code) = match answer {
        Ok(found) => (found, ErrorCode::None),
        Err(code) => ((LeaderEpoch::UNKNOWN, Offset(-1)), code),
    };
    EpochEndOffset::default()
        .with_partition(partition)
        .with_error_code(code.code())
        .with_leader_epoch(epoch.get())
        .with_end_offset(end.get())
}
