//! The topic that groups are kept in: shown as what it is, and closed to those who would write to it.

use kafka_protocol::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use kafka_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use kafka_protocol::messages::describe_topic_partitions_request::{DescribeTopicPartitionsRequest, TopicRequest};
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_protocol::messages::{HeartbeatRequest, ListGroupsRequest};

use super::{TIMEOUT_MS, batch, text};
use crate::support::groups::id;
use crate::support::topics::{PRODUCE, name, produce_request};
use crate::wire::golden::capture::{Recorder, SOON};

const OFFSETS: &str = "__consumer_offsets";
const TOPIC: i8 = 2;

pub fn run(recorder: &mut Recorder) {
    recorder.wait_for_coordinator();
    let beat = HeartbeatRequest::default().with_group_id(id("golden-group")).with_member_id(text("stranger"));
    recorder.record(4, "made-by-then", &beat);
    super::group_configs::create(recorder, "golden-ordinary", 1);
    shown(recorder);
    written(recorder);
    created(recorder);
    // Its offsets are kept like those of others.
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
    let topic = OffsetCommitRequestTopic::default().with_name(name(OFFSETS)).with_partitions(vec![partition]);
    let commit =
        OffsetCommitRequest::default().with_group_id(id("reads-groups")).with_generation_id_or_member_epoch(-1).with_topics(vec![topic]);
    recorder.record(8, "of-the-internal-topic", &commit);
    deleted(recorder);
}

fn shown(recorder: &mut Recorder) {
    for version in [0, 1, 4, 8, 9, 10, 12, 13] {
        let wanted = MetadataRequestTopic::default().with_name(Some(name(OFFSETS)));
        recorder.record(version, "internal", &MetadataRequest::default().with_topics(Some(vec![wanted])));
    }
    recorder.record(9, "all", &MetadataRequest::default().with_topics(None));
    let resource = DescribeConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text(OFFSETS)).with_configuration_keys(
        Some(["cleanup.policy", "compression.type", "segment.bytes", "retention.ms", "min.insync.replicas"].map(text).to_vec()),
    );
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    recorder.record(4, "internal", &request);
}

fn written(recorder: &mut Recorder) {
    for version in [3, 7, PRODUCE, 12] {
        for acks in [-1, 1] {
            recorder.record(version, "internal", &produce_request(OFFSETS, acks, &[(0, batch(0))]));
        }
        recorder.record(version, "unknown-partition", &produce_request(OFFSETS, -1, &[(99, batch(0))]));
        let part = || vec![PartitionProduceData::default().with_records(Some(batch(0)))];
        let topic = |topic: &str| TopicProduceData::default().with_name(name(topic)).with_partition_data(part());
        let both = ProduceRequest::default().with_acks(-1).with_timeout_ms(TIMEOUT_MS);
        recorder.record(version, "internal-and-ordinary", &both.with_topic_data(vec![topic(OFFSETS), topic("golden-ordinary")]));
    }
    for version in 0..=2 {
        for offset in [0, -1] {
            let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(offset);
            let topic = DeleteRecordsTopic::default().with_name(name(OFFSETS)).with_partitions(vec![partition]);
            recorder.record(version, "internal", &DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(TIMEOUT_MS));
        }
    }
}

fn created(recorder: &mut Recorder) {
    for version in 2..=7 {
        let wanted = CreatableTopic::default().with_name(name(OFFSETS)).with_num_partitions(3).with_replication_factor(1);
        recorder.record(version, "internal", &CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(TIMEOUT_MS));
    }
    for version in 0..=3 {
        let wanted = |count: i32| {
            let topic = CreatePartitionsTopic::default().with_name(name(OFFSETS)).with_count(count);
            CreatePartitionsRequest::default().with_topics(vec![topic]).with_timeout_ms(TIMEOUT_MS)
        };
        recorder.record(version, "as-many", &wanted(1));
        recorder.record(version, "more-tried", &wanted(3).with_validate_only(true));
    }
    let wanted = TopicRequest::default().with_name(name(OFFSETS));
    let request = DescribeTopicPartitionsRequest::default().with_topics(vec![wanted]).with_response_partition_limit(10);
    recorder.record(0, "internal", &request);
}

/// It may be deleted, and its groups go with it.
fn deleted(recorder: &mut Recorder) {
    recorder.record(5, "before", &ListGroupsRequest::default());
    let request = DeleteTopicsRequest::default().with_topic_names(vec![name(OFFSETS)]).with_timeout_ms(TIMEOUT_MS);
    recorder.record(5, "internal", &request);
    recorder.wait_until_gone(OFFSETS);
    recorder.wait_for_changes();
    recorder.record(5, &format!("{SOON}after"), &ListGroupsRequest::default());
}
