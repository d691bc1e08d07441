//! DeleteRecords: logs start later. Answered when the new starts are on disk, so that not even a crash brings the records back.
//!
//! KIPs: 107.

use std::collections::BTreeMap;

use kafka_protocol::messages::delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse, TopicName};

use crate::io::World;
use crate::metadata::decision;
use crate::metadata::image::MetadataImage;
use crate::partition::DeleteUpTo;
use crate::server::dispatch::Call;
use crate::server::errors;
use crate::shard::message::{DeleteRecordsRequest as OwnerRequest, Shortened};
use crate::types::{NodeId, Offset, PartitionIndex, ShardId, TopicPartition};
use crate::wire::error::ErrorCode;

/// "All there is."
const HIGH_WATERMARK: i64 = -1;
/// Where a log starts of which nothing is known.
const NO_LOW_WATERMARK: i64 = -1;

/// A topic, by its place among the names, and a partition's index.
type Place = (usize, i32);

pub async fn answer<W: World>(call: Call<W>, request: DeleteRecordsRequest) -> Option<DeleteRecordsResponse> {
    let shard = &call.server.shard;
    let image = shard.image();
    let (names, wanted) = unite(&request);
    let mut outcomes: BTreeMap<Place, Result<Shortened, ErrorCode>> = BTreeMap::new();
    let mut by_owner: BTreeMap<ShardId, (Vec<Place>, OwnerRequest)> = BTreeMap::new();
    for (place, offset) in wanted {
        let id = match locate(&image, shard.node(), names[place.0], place.1) {
            Ok(id) => id,
            Err(code) => {
                outcomes.insert(place, Err(code));
                continue;
            }
        };
        let upto = if offset == HIGH_WATERMARK { DeleteUpTo::HighWatermark } else { DeleteUpTo::Offset(Offset(offset)) };
        let (places, asked) = by_owner
            .entry(shard.owner(id))
            .or_insert_with(|| (Vec::new(), OwnerRequest { image_version: image.version(), partitions: Vec::new() }));
        places.push(place);
        asked.partitions.push((id, upto));
    }
    for (owner, (places, asked)) in by_owner {
        let starts = shard.delete_records(owner, asked).await?;
        let starts = starts.into_iter().map(|start| start.map_err(|refusal| errors::code_of(&refusal, false)));
        outcomes.extend(places.into_iter().zip(starts));
    }
    if outcomes.values().any(Result::is_ok)
        && let Err(why) = shard.write_checkpoints_now().await?
    {
        // They are gone for readers, and would come back with a crash: the client is to ask again.
        for outcome in outcomes.values_mut().filter(|outcome| outcome.is_ok_and(|shortened| why.is_about(shortened.directory))) {
            *outcome = Err(ErrorCode::KafkaStorageError);
        }
    }
    Some(DeleteRecordsResponse::default().with_topics(lines(&names, &outcomes)))
}

/// The names of the topics, and the offsets by topic and partition. Of what is named twice the last word counts, as in Kafka.
fn unite(request: &DeleteRecordsRequest) -> (Vec<&str>, BTreeMap<Place, i64>) {
    let mut names = Vec::new();
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    let mut wanted = BTreeMap::new();
    for topic in &request.topics {
        let name: &str = &topic.name;
        let place = *known.entry(name).or_insert(names.len());
        if place == names.len() {
            names.push(name);
        }
        wanted.extend(topic.partitions.iter().map(|partition| ((place, partition.partition_index), partition.offset)));
    }
    (names, wanted)
}

fn locate(image: &MetadataImage, node: NodeId, name: &str, index: i32) -> Result<TopicPartition, ErrorCode> {
    let topic = image.topic_by_name(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let id = TopicPartition { topic: topic.id, partition: PartitionIndex(index) };
    let partition = topic.partition(id.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    if decision::is_internal(name) {
        return Err(ErrorCode::InvalidTopicException);
    }
    if partition.is_answered_by(node) { Ok(id) } else { Err(ErrorCode::NotLeaderOrFollower) }
}

/// Topics without partitions are left out.
fn lines(names: &[&str], outcomes: &BTreeMap<Place, Result<Shortened, ErrorCode>>) -> Vec<DeleteRecordsTopicResult> {
    let topics = names.iter().enumerate().map(|(topic, name)| {
        let partitions = outcomes.range((topic, i32::MIN)..=(topic, i32::MAX)).map(|((_, index), outcome)| {
            let (code, start) = match outcome {
                Ok(shortened) => (ErrorCode::None, shortened.start.get()),
                Err(code) => (*code, NO_LOW_WATERMARK),
            };
            DeleteRecordsPartitionResult::default().with_partition_index(*index).with_low_watermark(start).with_error_code(code.code())
        });
        DeleteRecordsTopicResult::default().with_name(TopicName(super::text(*name))).with_partitions(partitions.collect())
    });
    topics.filter(|topic| !topic.partitions.is_empty()).collect()
}
