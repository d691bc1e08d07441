//! Records deleted from the front of a log: what is left is served, what is gone is out of range.

use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};

use super::{THEN, TIMEOUT_MS, batch, text};
use crate::support::topics::name;
use crate::wire::golden::capture::Recorder;

pub fn run(recorder: &mut Recorder) {
    for version in 0..=2 {
        let topic = format!("golden-delete-v{version}");
        create(recorder, &topic, "delete");
        fill(recorder, &topic);
        good(recorder, version, &topic);
        faulty(recorder, version, &topic);
        for (policy, kept) in [("compact", "compacted"), ("compact,delete", "both"), ("", "neither")] {
            let topic = format!("golden-{kept}-v{version}");
            create(recorder, &topic, policy);
            fill(recorder, &topic);
            recorder.record(version, kept, &request(&topic, &[(0, 3)]));
        }
    }
}

fn create(recorder: &mut Recorder, topic: &str, policy: &'static str) {
    let config = |key, value| CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)));
    // Stored records carry old timestamps on purpose: without a limit they would be deleted by age.
    let configs = vec![config("cleanup.policy", policy), config("retention.ms", "-1")];
    let wanted = CreatableTopic::default().with_name(name(topic)).with_num_partitions(2).with_replication_factor(1).with_configs(configs);
    recorder.create(7, "new", &CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(TIMEOUT_MS), &[(topic, 2)]);
}

/// Five batches of two keyed records each, in partition 0.
fn fill(recorder: &mut Recorder, topic: &str) {
    for index in 0..5 {
        let records = crate::support::records::Batch::at(THEN + 1000 * index).keyed("a", Some(b"1")).keyed("b", Some(b"2")).encode();
        let parts = vec![PartitionProduceData::default().with_index(0).with_records(Some(records))];
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(TIMEOUT_MS)
            .with_topic_data(vec![TopicProduceData::default().with_name(name(topic)).with_partition_data(parts)]);
        recorder.record(9, "filled", &request);
    }
}

fn request(topic: &str, partitions: &[(i32, i64)]) -> DeleteRecordsRequest {
    let partition = |(index, offset): &(i32, i64)| DeleteRecordsPartition::default().with_partition_index(*index).with_offset(*offset);
    let topic = DeleteRecordsTopic::default().with_name(name(topic)).with_partitions(partitions.iter().map(partition).collect());
    DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(TIMEOUT_MS)
}

fn look(recorder: &mut Recorder, topic: &str) {
    for (case, timestamp) in [("earliest", -2), ("latest", -1), ("max-timestamp", -3), ("of-what-is-gone", THEN)] {
        let part = ListOffsetsPartition::default().with_partition_index(0).with_timestamp(timestamp).with_current_leader_epoch(-1);
        let topics = vec![ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![part])];
        recorder.record(9, case, &ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics));
    }
    for (case, offset) in [("from-zero", 0), ("from-three", 3), ("from-four", 4), ("from-end", 10)] {
        let part = FetchPartition::default()
            .with_partition(0)
            .with_current_leader_epoch(-1)
            .with_fetch_offset(offset)
            .with_partition_max_bytes(1 << 20);
        let fetch = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_min_bytes(0)
            .with_max_bytes(1 << 20)
            .with_session_epoch(-1)
            .with_topics(vec![FetchTopic::default().with_topic(name(topic)).with_partitions(vec![part])]);
        recorder.record(12, case, &fetch);
    }
}

fn good(recorder: &mut Recorder, version: i16, topic: &str) {
    recorder.record(version, "to-zero", &request(topic, &[(0, 0)]));
    recorder.record(version, "inside-a-batch", &request(topic, &[(0, 3)]));
    look(recorder, topic);
    recorder.record(version, "again-lower", &request(topic, &[(0, 2)]));
    recorder.record(version, "batch-border", &request(topic, &[(0, 4)]));
    look(recorder, topic);
    recorder.record(version, "of-nothing", &request(topic, &[(1, 0)]));
    recorder.record(version, "of-nothing-to-the-end", &request(topic, &[(1, -1)]));
}

fn faulty(recorder: &mut Recorder, version: i16, topic: &str) {
    recorder.record(version, "nothing", &DeleteRecordsRequest::default().with_timeout_ms(TIMEOUT_MS));
    recorder.record(version, "no-partitions", &request(topic, &[]));
    recorder.record(version, "beyond-the-end", &request(topic, &[(0, 11)]));
    recorder.record(version, "negative", &request(topic, &[(0, -2)]));
    recorder.record(version, "unknown-partition", &request(topic, &[(0, 5), (7, 1), (-1, 1)]));
    recorder.record(version, "unknown-topic", &request("golden-missing", &[(0, 1)]));
    recorder.record(version, "bad-name", &request("golden wrong name", &[(0, 1)]));
    recorder.record(version, "same-partition-twice", &request(topic, &[(0, 6), (0, 7)]));
    let mut twice = request(topic, &[(0, 8)]);
    twice.topics.extend(request(topic, &[(1, 0)]).topics);
    recorder.record(version, "same-topic-twice", &twice);
    recorder.record(version, "all", &request(topic, &[(0, -1)]));
    look(recorder, topic);
    let parts = vec![PartitionProduceData::default().with_index(0).with_records(Some(batch(9)))];
    let produce = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(TIMEOUT_MS)
        .with_topic_data(vec![TopicProduceData::default().with_name(name(topic)).with_partition_data(parts)]);
    recorder.record(9, "after-all", &produce);
    look(recorder, topic);
}
