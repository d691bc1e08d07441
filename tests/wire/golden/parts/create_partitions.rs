//! Topics get more partitions, and these serve.

use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_protocol::messages::describe_topic_partitions_request::{DescribeTopicPartitionsRequest, TopicRequest};
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};

use super::{TIMEOUT_MS, batch};
use crate::support::topics::name;
use crate::wire::golden::capture::Recorder;

pub fn run(recorder: &mut Recorder) {
    for version in 0..=3 {
        let topic = format!("golden-grows-v{version}");
        let wanted = CreatableTopic::default().with_name(name(&topic)).with_num_partitions(2).with_replication_factor(1);
        recorder.create(7, "new", &CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(TIMEOUT_MS), &[(&topic, 2)]);
        good(recorder, version, &topic);
        faulty(recorder, version, &topic);
    }
}

fn grown(topic: &str, count: i32) -> CreatePartitionsTopic {
    CreatePartitionsTopic::default().with_name(name(topic)).with_count(count).with_assignments(None)
}

fn by_hand(topic: &str, count: i32, replicas: &[&[i32]]) -> CreatePartitionsTopic {
    let assignment =
        |nodes: &&[i32]| CreatePartitionsAssignment::default().with_broker_ids(nodes.iter().map(|node| BrokerId(*node)).collect());
    grown(topic, count).with_assignments(Some(replicas.iter().map(assignment).collect()))
}

fn request(topics: Vec<CreatePartitionsTopic>) -> CreatePartitionsRequest {
    CreatePartitionsRequest::default().with_topics(topics).with_timeout_ms(TIMEOUT_MS)
}

fn good(recorder: &mut Recorder, version: i16, topic: &str) {
    recorder.record(version, "validate-only", &request(vec![grown(topic, 9)]).with_validate_only(true));
    recorder.record(version, "one-more", &request(vec![grown(topic, 3)]));
    recorder.wait_for_leaders(topic, 3);
    recorder.record(version, "by-hand", &request(vec![by_hand(topic, 5, &[&[1], &[1]])]));
    recorder.wait_for_leaders(topic, 5);
    let parts = (0..6).map(|index| PartitionProduceData::default().with_index(index).with_records(Some(batch(0)))).collect();
    let produce = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(TIMEOUT_MS)
        .with_topic_data(vec![TopicProduceData::default().with_name(name(topic)).with_partition_data(parts)]);
    recorder.record(9, "to-new-partitions", &produce);
    let wanted = MetadataRequestTopic::default().with_name(Some(name(topic)));
    recorder.record(12, "grown", &MetadataRequest::default().with_topics(Some(vec![wanted])));
    let wanted = TopicRequest::default().with_name(name(topic));
    let describe = DescribeTopicPartitionsRequest::default().with_topics(vec![wanted]).with_response_partition_limit(2000);
    recorder.record(0, "grown", &describe);
}

fn faulty(recorder: &mut Recorder, version: i16, topic: &str) {
    // More partitions than one request may ask for are left out: Kafka answers with an error, and makes ten thousand of them.
    let cases: [(&str, Vec<CreatePartitionsTopic>); 14] = [
        ("nothing", vec![]),
        ("the-same", vec![grown(topic, 5)]),
        ("fewer", vec![grown(topic, 4)]),
        ("zero", vec![grown(topic, 0)]),
        ("negative", vec![grown(topic, -3)]),
        ("missing", vec![grown("golden-missing", 3), grown("golden wrong name", 3), grown("", 3)]),
        ("same-topic-twice", vec![grown(topic, 6), grown(topic, 7)]),
        ("too-few-by-hand", vec![by_hand(topic, 7, &[&[1]])]),
        ("too-many-by-hand", vec![by_hand(topic, 6, &[&[1], &[1]])]),
        ("none-by-hand", vec![by_hand(topic, 6, &[])]),
        ("unknown-node", vec![by_hand(topic, 6, &[&[9]])]),
        ("node-twice", vec![by_hand(topic, 6, &[&[1, 1]])]),
        ("another-factor", vec![by_hand(topic, 6, &[&[]])]),
        ("good-and-missing", vec![grown("golden-missing", 3), grown(topic, 6)]),
    ];
    for (case, topics) in cases {
        recorder.record(version, case, &request(topics));
    }
    recorder.wait_for_leaders(topic, 6);
    recorder.record(version, "validate-only-wrong", &request(vec![grown(topic, 2)]).with_validate_only(true));
}
