//! The requests nearly every test makes: create a topic, produce to it, read it back.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use kafka_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use kafka_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{BrokerId, TopicName};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::eventually;
use super::raw::Connection;
use super::records::{Record, walk};

/// Topics by name up to Produce v12 and Fetch v12: these are the highest that need no topic id.
pub const PRODUCE: i16 = 9;
pub const FETCH: i16 = 12;

const TIMEOUT_MS: i32 = 30_000;
const LEADERS: Duration = Duration::from_secs(60);

pub fn name(topic: &str) -> TopicName {
    TopicName(StrBytes::from_string(topic.to_string()))
}

/// Creates the topic and waits until every partition has a leader; gives its id.
pub fn create(connection: &mut Connection, topic: &str, partitions: i32, configs: &[(&str, &str)]) -> Uuid {
    let configs = configs
        .iter()
        .map(|(key, value)| {
            CreatableTopicConfig::default()
                .with_name(StrBytes::from_string(key.to_string()))
                .with_value(Some(StrBytes::from_string(value.to_string())))
        })
        .collect();
    let wanted =
        CreatableTopic::default().with_name(name(topic)).with_num_partitions(partitions).with_replication_factor(1).with_configs(configs);
    let answer = connection.call(7, &CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(TIMEOUT_MS));
    let result = &answer.topics[0];
    assert_eq!(result.error_code, 0, "create {topic}: {:?}", result.error_message);
    wait_for_leaders(connection, topic, partitions);
    result.topic_id
}

/// Sets one setting of the topic.
pub fn alter_config(connection: &mut Connection, topic: &str, key: &str, value: &str) {
    const TOPIC: i8 = 2;
    let config = AlterableConfig::default()
        .with_name(StrBytes::from_string(key.to_string()))
        .with_config_operation(0)
        .with_value(Some(StrBytes::from_string(value.to_string())));
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(StrBytes::from_string(topic.to_string()))
        .with_configs(vec![config]);
    let answer = connection.call(1, &IncrementalAlterConfigsRequest::default().with_resources(vec![resource]));
    assert_eq!(answer.responses[0].error_code, 0, "{key}={value} of {topic}: {:?}", answer.responses[0].error_message);
}

/// What a setting of the topic is.
pub fn config(connection: &mut Connection, topic: &str, key: &str) -> Option<String> {
    const TOPIC: i8 = 2;
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(StrBytes::from_string(topic.to_string()))
        .with_configuration_keys(Some(vec![StrBytes::from_string(key.to_string())]));
    let answer = connection.call(4, &DescribeConfigsRequest::default().with_resources(vec![resource]));
    let found = answer.results.first()?.configs.first()?;
    found.value.as_ref().map(ToString::to_string)
}

/// Deletes the topic.
pub fn delete(connection: &mut Connection, topic: &str) {
    let state = DeleteTopicState::default().with_name(Some(name(topic)));
    let answer = connection.call(6, &DeleteTopicsRequest::default().with_topics(vec![state]).with_timeout_ms(TIMEOUT_MS));
    assert_eq!(answer.responses[0].error_code, 0, "delete {topic}");
}

pub fn wait_for_leaders(connection: &mut Connection, topic: &str, partitions: i32) {
    let ask = MetadataRequest::default()
        .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name(topic)))]))
        .with_allow_auto_topic_creation(false);
    eventually("every partition has a leader", LEADERS, || {
        let answer = connection.call(9, &ask);
        let topic = &answer.topics[0];
        let led = topic.partitions.iter().filter(|partition| partition.error_code == 0 && partition.leader_id.0 >= 0).count();
        (topic.error_code == 0 && led == partitions as usize).then_some(())
    });
    // Kafka names a leader a moment before that leader has opened the log; what arrives in between is refused, or lost with acks=0.
    let parts =
        (0..partitions).map(|partition| ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(-1)).collect();
    let ask = ListOffsetsRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_topics(vec![ListOffsetsTopic::default().with_name(name(topic)).with_partitions(parts)]);
    eventually("every leader serves its partition", LEADERS, || {
        let answer = connection.call(1, &ask);
        answer.topics[0].partitions.iter().all(|partition| partition.error_code == 0).then_some(())
    })
}

/// Waits until a deleted topic is no longer shown.
pub fn wait_until_gone(connection: &mut Connection, topic: &str) {
    const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    let ask = MetadataRequest::default()
        .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name(topic)))]))
        .with_allow_auto_topic_creation(false);
    eventually("a deleted topic is gone", LEADERS, || {
        (connection.call(9, &ask).topics[0].error_code == UNKNOWN_TOPIC_OR_PARTITION).then_some(())
    });
}

pub fn produce_request(topic: &str, acks: i16, batches: &[(i32, Bytes)]) -> ProduceRequest {
    let partitions = batches
        .iter()
        .map(|(partition, batch)| PartitionProduceData::default().with_index(*partition).with_records(Some(batch.clone())))
        .collect();
    ProduceRequest::default()
        .with_acks(acks)
        .with_timeout_ms(TIMEOUT_MS)
        .with_topic_data(vec![TopicProduceData::default().with_name(name(topic)).with_partition_data(partitions)])
}

/// Produces one batch with acks=all and gives the answer for it.
pub fn try_produce(connection: &mut Connection, topic: &str, partition: i32, batch: Bytes) -> PartitionProduceResponse {
    let answer = connection.call(PRODUCE, &produce_request(topic, -1, &[(partition, batch)]));
    answer.responses[0].partition_responses[0].clone()
}

/// Produces one batch with acks=all; gives its base offset.
#[track_caller]
pub fn produce(connection: &mut Connection, topic: &str, partition: i32, batch: Bytes) -> i64 {
    let answer = try_produce(connection, topic, partition, batch);
    assert_eq!(answer.error_code, 0, "produce to {topic}-{partition}: {:?}", answer.error_message);
    answer.base_offset
}

/// What to ask of one partition.
#[derive(Clone, Copy)]
pub struct Ask {
    pub partition: i32,
    pub offset: i64,
    pub bytes_max: i32,
}

pub fn fetch_request(topic: &str, asks: &[Ask], wait_ms_max: i32, bytes_min: i32) -> FetchRequest {
    let partitions = asks
        .iter()
        .map(|ask| {
            FetchPartition::default()
                .with_partition(ask.partition)
                .with_current_leader_epoch(-1)
                .with_fetch_offset(ask.offset)
                .with_last_fetched_epoch(-1)
                .with_log_start_offset(-1)
                .with_partition_max_bytes(ask.bytes_max)
        })
        .collect();
    FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(wait_ms_max)
        .with_min_bytes(bytes_min)
        .with_max_bytes(50 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![FetchTopic::default().with_topic(name(topic)).with_partitions(partitions)])
}

/// One fetch of one partition from an offset on.
pub fn fetch(connection: &mut Connection, topic: &str, partition: i32, offset: i64) -> PartitionData {
    let ask = Ask { partition, offset, bytes_max: 8 << 20 };
    let answer = connection.call(FETCH, &fetch_request(topic, &[ask], 500, 1));
    assert_eq!(answer.error_code, 0, "fetch of {topic}-{partition} from {offset}");
    answer.responses[0].partitions[0].clone()
}

/// The first offset whose record is not older than the time.
pub fn offset_at(connection: &mut Connection, topic: &str, partition: i32, timestamp: i64) -> i64 {
    let part = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(timestamp);
    let topics = vec![ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![part])];
    let answer = connection.call(1, &ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics));
    let part = &answer.topics[0].partitions[0];
    assert_eq!(part.error_code, 0, "ListOffsets of {partition}");
    part.offset
}

/// Every uncompressed record from offset `from` up to the high watermark, in the order served.
#[track_caller]
pub fn read_from(connection: &mut Connection, topic: &str, partition: i32, from: i64) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut next = from;
    loop {
        let answer = fetch(connection, topic, partition, next);
        assert_eq!(answer.error_code, 0, "fetch of {topic}-{partition} from {next}");
        let bytes = answer.records.unwrap_or_default();
        // The response may end inside a batch; a client drops that part and asks again.
        let walked = walk(&bytes);
        if walked.batches.is_empty() {
            assert!(next >= answer.high_watermark, "nothing whole served at {next} below the high watermark {}", answer.high_watermark);
            return records;
        }
        for batch in &walked.batches {
            records.extend(batch.records().into_iter().filter(|record| record.offset >= next));
        }
        next = walked.batches.last().unwrap().last_offset() + 1;
        // One more fetch would be a long poll for what does not come.
        if next >= answer.high_watermark {
            return records;
        }
    }
}

/// The records of a partition in its segment files, read from disk; names of the files must be those of Kafka.
pub fn segments(dir: &std::path::Path) -> Vec<(i64, Bytes)> {
    let mut found = Vec::new();
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display())) {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            names.insert(path);
        }
    }
    for path in names {
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert_eq!(stem.len(), 20, "{}", path.display());
        let mut bytes = BytesMut::new();
        bytes.extend_from_slice(&std::fs::read(&path).unwrap());
        found.push((stem.parse().unwrap(), bytes.freeze()));
    }
    found
}
