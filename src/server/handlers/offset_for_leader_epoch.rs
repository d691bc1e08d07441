//! OffsetForLeaderEpoch: where a leader's reign ended, so that a reader finds out whether the log was cut under it.
//!
//! KIPs: 101, 279 (followers), 320 (consumers, fencing).

use kafka_protocol::messages::offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use crate::io::World;
use crate::server::dispatch::Call;
use crate::server::errors;
use crate::server::pace::give_way;
use crate::shard::message::EpochEndsRequest;
use crate::types::{LeaderEpoch, Offset};
use crate::wire::error::ErrorCode;

use super::questions::{Message, Questions};

pub async fn answer<W: World>(call: Call<W>, request: OffsetForLeaderEpochRequest) -> Option<OffsetForLeaderEpochResponse> {
    let shard = call.server.shard.clone();
    let image = shard.image();
    let mut asked = Questions::new();
    let mut step = 0;
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            give_way(shard.world(), step).await;
            step += 1;
            let code = match super::answered_here(&image, shard.node(), &topic.topic, wanted.partition) {
                Ok(id) => {
                    let current = Some(LeaderEpoch(wanted.current_leader_epoch)).filter(|epoch| *epoch != LeaderEpoch::UNKNOWN);
                    let place = (topics.len(), partitions.len());
                    asked.push(shard.owner(id), place, (id, current, LeaderEpoch(wanted.leader_epoch)));
                    ErrorCode::None
                }
                Err(code) => code,
            };
            partitions.push(line(wanted.partition, Err(code)));
        }
        topics.push(OffsetForLeaderTopicResult::default().with_topic(topic.topic.clone()).with_partitions(partitions));
    }
    for (step, (owner, Message { places, questions })) in asked.messages().into_iter().enumerate() {
        if step > 0 {
            shard.world().yield_now().await;
        }
        let answers = shard.epoch_ends(owner, EpochEndsRequest { image_version: image.version(), queries: questions }).await?;
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
