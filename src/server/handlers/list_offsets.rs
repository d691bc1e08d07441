//! ListOffsets: the offset at a timestamp, or at a sentinel.
//!
//! Without tiered storage -4 answers as -2, and -5 and -6 answer "none", as Kafka does. Version 11 has the layout of version 10.
//!
//! KIPs: 79 (by timestamp), 98 (isolation), 207, 320 (epochs), 405, 734 (largest timestamp), 1005, 1023 (tiered).

use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse, TopicName};

use crate::io::World;
use crate::partition::{Isolation, OffsetQuery, OffsetsAnswer};
use crate::server::dispatch::Call;
use crate::server::errors;
use crate::server::pace::give_way;
use crate::shard::FixedMap;
use crate::shard::message::OffsetsRequest;
use crate::types::{LeaderEpoch, TimestampMs};
use crate::wire::error::ErrorCode;

use super::questions::{Message, Questions};

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

/// A topic with each of its partitions once, in the order in which they are first named.
struct Named<'a> {
    name: &'a TopicName,
    partitions: Vec<(&'a ListOffsetsPartition, Times)>,
}

/// How often a request names a partition.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Times {
    Once,
    Again,
}

pub async fn answer<W: World>(call: Call<W>, request: ListOffsetsRequest) -> Option<ListOffsetsResponse> {
    let (shard, version) = (call.server.shard.clone(), call.header.version);
    let image = shard.image();
    let isolation = match (request.replica_id.0, request.isolation_level) {
        (_, 2.. | ..=-1) => return Some(refused(&request, ErrorCode::UnknownServerError)),
        (0.., _) => None,
        (_, 1) => Some(Isolation::ReadCommitted),
        _ => Some(Isolation::ReadUncommitted),
    };
    let named = unite(shard.world(), &request.topics).await;
    let mut asked = Questions::new();
    let mut topics = Vec::with_capacity(named.len());
    let mut step = 0;
    for topic in &named {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (wanted, times) in &topic.partitions {
            give_way(shard.world(), step).await;
            step += 1;
            // As in Kafka, what is wrong with the question goes before what is wrong with the partition.
            let query = match (times, query_of(wanted.timestamp, version)) {
                (Times::Again, _) => Err(ErrorCode::InvalidRequest),
                (Times::Once, None) => Err(ErrorCode::UnsupportedVersion),
                (Times::Once, Some(query)) => Ok(query),
            };
            let located = query.and_then(|query| {
                let id = super::answered_here(&image, shard.node(), topic.name, wanted.partition_index)?;
                let epoch = (wanted.current_leader_epoch >= 0).then_some(LeaderEpoch(wanted.current_leader_epoch));
                Ok((id, epoch, query))
            });
            let code = match located {
                Ok(question) => {
                    asked.push(shard.owner(question.0), (topics.len(), partitions.len()), question);
                    ErrorCode::None
                }
                Err(code) => code,
            };
            partitions.push(response_of(wanted.partition_index, Err(code), version));
        }
        topics.push(ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions));
    }
    for (step, (owner, Message { places, questions })) in asked.messages().into_iter().enumerate() {
        if step > 0 {
            shard.world().yield_now().await;
        }
        let answers = shard.offsets(owner, OffsetsRequest { image_version: image.version(), isolation, queries: questions }).await?;
        for ((topic, partition), answer) in places.into_iter().zip(answers) {
            let place = &mut topics[topic].partitions[partition];
            *place = response_of(place.partition_index, answer.map_err(|refusal| errors::code_of(&refusal, false)), version);
        }
    }
    Some(ListOffsetsResponse::default().with_topics(topics))
}

/// Each topic and partition once; Kafka refuses a partition that is named again, whatever is asked about it.
async fn unite<'a, W: World>(world: &W, topics: &'a [ListOffsetsTopic]) -> Vec<Named<'a>> {
    let mut named: Vec<Named<'a>> = Vec::new();
    let mut topic_of: FixedMap<&str, usize> = FixedMap::default();
    let mut place_of: FixedMap<(usize, i32), usize> = FixedMap::default();
    let mut step = 0;
    for topic in topics {
        let at = *topic_of.entry(&topic.name).or_insert_with(|| {
            named.push(Named { name: &topic.name, partitions: Vec::new() });
            named.len() - 1
        });
        let partitions = &mut named[at].partitions;
        for wanted in &topic.partitions {
            give_way(world, step).await;
            step += 1;
            let place = *place_of.entry((at, wanted.partition_index)).or_insert(partitions.len());
            match partitions.get_mut(place) {
                Some((_, times)) => *times = Times::Again,
                None => partitions.push((wanted, Times::Once)),
            }
        }
    }
    named
}

/// The same error for all that is asked, as it is asked.
fn refused(request: &ListOffsetsRequest, code: ErrorCode) -> ListOffsetsResponse {
    let topic = |topic: &ListOffsetsTopic| {
        let lines = topic.partitions.iter().map(|wanted| response_of(wanted.partition_index, Err(code), 0));
        ListOffsetsTopicResponse::default().with_name(topic.name.clone()).with_partitions(lines.collect())
    };
    ListOffsetsResponse::default().with_topics(request.topics.iter().map(topic).collect())
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
