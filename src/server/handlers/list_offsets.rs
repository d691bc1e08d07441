//! ListOffsets: the offset at a timestamp, or at a sentinel.
//!
//! Without tiered storage -4 answers as -2, and -5 and -6 answer "none", as Kafka does. Version 11 has the layout of version 10.
//!
//! KIPs: 79 (by timestamp), 98 (isolation), 207, 320 (epochs), 405, 734 (largest timestamp), 1005, 1023 (tiered).

use std::collections::BTreeMap;

use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use crate::io::World;
use crate::partition::{Isolation, OffsetQuery, OffsetsAnswer};
use crate::server::dispatch::Call;
use crate::server::errors;
use crate::shard::message::OffsetsRequest;
use crate::types::{LeaderEpoch, ShardId, TimestampMs};
use crate::wire::error::ErrorCode;

/// The first version that tells leader epochs.
const EPOCHS_FROM: i16 = 4;

/// What each sentinel asks for, and the version it came with.
fn query_of(timestamp: i64, version: i16) -> Option<OffsetQuery> {
    let (query, since) = match timestamp {
        -1 => (OffsetQuery::Latest, 0),
        -2 => (OffsetQuery::Earliest, 0),
        -3 => (OffsetQuery::MaxTimestamp, 7),
        -4 => (OffsetQuery::Earliest, 8),
        -5 => (OffsetQuery::Tiered, 9),
        -6 => (OffsetQuery::Tiered, 11),
        at if at >= 0 => (OffsetQuery::At(TimestampMs(at)), 0),
        _ => return None,
    };
    (version >= since).then_some(query)
}

/// A topic and a partition of the response, by index.
type Place = (usize, usize);

pub async fn answer<W: World>(call: Call<W>, request: ListOffsetsRequest) -> Option<ListOffsetsResponse> {
    let shard = call.server.shard.clone();
    let image = shard.image();
    let isolation = match (request.replica_id.0, request.isolation_level) {
        (0.., _) => None,
        (_, 1) => Some(Isolation::ReadCommitted),
        _ => Some(Isolation::ReadUncommitted),
    };
    let mut by_owner: BTreeMap<ShardId, (Vec<Place>, OffsetsRequest)> = BTreeMap::new();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for wanted in &topic.partitions {
            let located = super::answered_here(&image, shard.node(), &topic.name, wanted.partition_index);
            let query = query_of(wanted.timestamp, call.header.version).ok_or(ErrorCode::UnsupportedVersion);
            let refused = match (located, query) {
                (Ok(id), Ok(query)) => {
                    let epoch = (wanted.current_leader_epoch >= 0).then_some(LeaderEpoch(wanted.current_leader_epoch));
                    let (places, queries) = by_owner
                        .entry(shard.owner(id))
                        .or_insert_with(|| (Vec::new(), OffsetsRequest { image_version: image.version(), isolation, queries: Vec::new() }));
                    places.push((topics.len(), partitions.len()));
                    queries.queries.push((id, epoch, query));
                    ErrorCode::None
                }
                (Err(code), _) | (_, Err(code)) => code,
            };
            partitions.push(response_of(wanted.partition_index, Err(refused), call.header.version));
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions));
    }
    for (owner, (places, queries)) in by_owner {
        let answers = shard.offsets(owner, queries).await?;
        for ((topic, partition), answer) in places.into_iter().zip(answers) {
            let place = &mut topics[topic].partitions[partition];
            *place = response_of(place.partition_index, answer.map_err(|refusal| errors::code_of(&refusal, false)), call.header.version);
        }
    }
    Some(ListOffsetsResponse::default().with_topics(topics))
}

fn response_of(index: i32, answer: Result<OffsetsAnswer, ErrorCode>, version: i16) -> ListOffsetsPartitionResponse {
    let (answer, code) = match answer {
        Ok(answer) => (answer, ErrorCode::None),
        Err(code) => (OffsetsAnswer::NONE, code),
    };
    ListOffsetsPartitionResponse::default()
        .with_partition_index(index)
        .with_error_code(code.code())
        .with_timestamp(answer.timestamp.get())
        .with_offset(answer.offset.get())
        .with_leader_epoch(if version >= EPOCHS_FROM { answer.leader_epoch.get() } else { LeaderEpoch::UNKNOWN.get() })
}
