//! Requests of the kinds that clients send, and batches sound and unsound.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic, ReplicaState};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{BrokerId, CreateTopicsRequest, DeleteRecordsRequest, FetchRequest, ListOffsetsRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use ottla::types::TimestampMs;
use ottla::wire::batch::{ATTRIBUTES_AT, BatchBuilder, Codec};
use ottla::wire::compression::Level;
use ottla::wire::message;

use crate::model::Target;
use crate::random::Random;
use crate::shape::TopicShape;

pub const NONE: i16 = 0;
pub const OFFSET_OUT_OF_RANGE: i16 = 1;
pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
pub const REQUEST_TIMED_OUT: i16 = 7;
pub const RECORD_LIST_TOO_LARGE: i16 = 18;
pub const NOT_LEADER_OR_FOLLOWER: i16 = 6;
pub const KAFKA_STORAGE_ERROR: i16 = 56;
pub const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
pub const UNKNOWN_TOPIC_ID: i16 = 100;

/// First versions that name topics by id.
pub const PRODUCE_BY_ID: i16 = 13;
pub const FETCH_BY_ID: i16 = 13;

pub fn name(text: &str) -> TopicName {
    TopicName(StrBytes::from_string(text.to_owned()))
}

/// A batch that a broker must take if it fits into a segment, with how many records, and the first and last timestamp.
pub fn batch(random: &mut Random, number: usize, now_ms: i64, value_bytes_max: u64, zstd: bool) -> (Bytes, i64, (i64, i64)) {
    let records = random.skewed(1, 6) as i64;
    let mut builder = BatchBuilder::new();
    let (mut first, mut last) = (i64::MAX, i64::MIN);
    for index in 0..records {
        let timestamp = now_ms - random.below(20) as i64;
        (first, last) = (first.min(timestamp), last.max(timestamp));
        let mut value = vec![0u8; random.skewed(0, value_bytes_max) as usize];
        for chunk in value.chunks_mut(8) {
            chunk.copy_from_slice(&random.next().to_be_bytes()[..chunk.len()]);
        }
        let key = format!("{number}/{index}");
        builder.push(TimestampMs(timestamp), Some(key.as_bytes()), Some(&value), &[]);
    }
    let codecs = if zstd { &Codec::ALL[..] } else { &Codec::ALL[..4] };
    let codec = if random.one_in(4) { *random.choose(codecs) } else { Codec::None };
    let bytes = builder.build_with(codec, Level::default()).expect("a batch can be built");
    (bytes, records, (first, last))
}

/// Damages a batch so that no broker may take it.
pub fn unsound(random: &mut Random, batch: &Bytes) -> Bytes {
    let mut bytes = BytesMut::from(&batch[..]);
    match random.below(4) {
        0 => {
            let at = ATTRIBUTES_AT + random.below((bytes.len() - ATTRIBUTES_AT) as u64) as usize;
            bytes[at] ^= 1 << random.below(8);
        }
        1 => bytes.truncate(1 + random.below(bytes.len() as u64 - 1) as usize),
        2 => bytes.extend_from_slice(batch),
        _ => {
            // More records than there are, under a CRC that fits.
            bytes[60] = bytes[60].wrapping_add(1);
            let crc = crc32c::crc32c(&bytes[ATTRIBUTES_AT..]);
            bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        }
    }
    bytes.freeze()
}

/// One partition of a fetch.
#[derive(Clone)]
pub struct Wanted {
    pub topic: Target,
    pub partition: i32,
    pub offset: i64,
    pub max_bytes: i32,
}

pub fn fetch(version: i16, wanted: &[Wanted], max_wait_ms: i32, min_bytes: i32, max_bytes: i32) -> FetchRequest {
    let topic = |wanted: &Wanted| {
        let partition = FetchPartition::default()
            .with_partition(wanted.partition)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(wanted.offset)
            .with_partition_max_bytes(wanted.max_bytes);
        let topic = FetchTopic::default().with_partitions(vec![partition]);
        if version >= FETCH_BY_ID {
            topic.with_topic_id(message::uuid_of(wanted.topic.id))
        } else {
            topic.with_topic(name(&wanted.topic.name))
        }
    };
    FetchRequest::default()
        .with_max_wait_ms(max_wait_ms)
        .with_min_bytes(min_bytes)
        .with_max_bytes(max_bytes)
        .with_session_epoch(-1)
        .with_topics(wanted.iter().map(topic).collect())
}

/// Some other broker, of no other use than to have its sessions.
const FOLLOWER: BrokerId = BrokerId(7);
/// The first version that says in a field of its own who reads.
const REPLICA_STATE_FROM: i16 = 15;

pub fn read_as_follower(request: &mut FetchRequest, version: i16) {
    if version < REPLICA_STATE_FROM {
        request.replica_id = FOLLOWER;
    } else {
        request.replica_state = ReplicaState::default().with_replica_id(FOLLOWER);
    }
}

pub const LATEST: i64 = -1;
pub const EARLIEST: i64 = -2;

pub fn list_offsets(topic: &str, partition: i32, timestamp: i64) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition::default().with_partition_index(partition).with_current_leader_epoch(-1).with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic])
}

pub fn delete_records(topic: &str, partition: i32, offset: i64) -> DeleteRecordsRequest {
    let partition = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(vec![partition]);
    DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(60_000)
}

pub fn create_topic(shape: &TopicShape) -> CreateTopicsRequest {
    let config = |(key, value): &(String, String)| {
        CreatableTopicConfig::default().with_name(StrBytes::from_string(key.clone())).with_value(Some(StrBytes::from_string(value.clone())))
    };
    let topic = CreatableTopic::default()
        .with_name(name(&shape.name))
        .with_num_partitions(shape.partitions)
        .with_replication_factor(1)
        .with_configs(shape.configs.iter().map(config).collect());
    CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(60_000)
}
