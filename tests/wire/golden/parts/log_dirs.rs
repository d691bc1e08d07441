//! The log directory, the logs in it and their sizes; and a directory that is cordoned, which takes no new partitions.

use kafka_protocol::messages::TopicName;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use kafka_protocol::messages::describe_log_dirs_request::{DescribableLogDirTopic, DescribeLogDirsRequest};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest};
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};

use super::{TIMEOUT_MS, batch, text};
use crate::support::topics::name;
use crate::wire::golden::capture::Recorder;

const BROKER: i8 = 4;

pub fn run(recorder: &mut Recorder) {
    recorder.record(4, "no-logs", &DescribeLogDirsRequest::default().with_topics(None));
    for topic in ["golden-sizes", "golden-empty"] {
        let forever = CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("-1")));
        let wanted =
            CreatableTopic::default().with_name(name(topic)).with_num_partitions(3).with_replication_factor(1).with_configs(vec![forever]);
        recorder.create(7, "new", &CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(TIMEOUT_MS), &[(topic, 3)]);
    }
    for index in 0..3 {
        let parts = vec![PartitionProduceData::default().with_index(index).with_records(Some(batch(index.into())))];
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(TIMEOUT_MS)
            .with_topic_data(vec![TopicProduceData::default().with_name(name("golden-sizes")).with_partition_data(parts)]);
        recorder.record(9, "filled", &request);
    }
    let asked = |topic: &str, partitions: &[i32]| {
        let topic: TopicName = name(topic);
        DescribableLogDirTopic::default().with_topic(topic).with_partitions(partitions.to_vec())
    };
    for version in 1..=5 {
        let request = |topics| DescribeLogDirsRequest::default().with_topics(topics);
        recorder.record(version, "all", &request(None));
        recorder.record(version, "none", &request(Some(Vec::new())));
        recorder.record(version, "some", &request(Some(vec![asked("golden-sizes", &[0, 2]), asked("golden-empty", &[1])])));
        recorder.record(version, "one-topic", &request(Some(vec![asked("golden-sizes", &[1])])));
        recorder.record(version, "unknown", &request(Some(vec![asked("golden-missing", &[0]), asked("golden-sizes", &[7, 1])])));
        recorder.record(version, "no-partitions", &request(Some(vec![asked("golden-sizes", &[])])));
    }
    cordon(recorder, "cordoned", "*");
    recorder.record(5, "cordoned", &DescribeLogDirsRequest::default().with_topics(None));
    let one_more = CreatableTopic::default().with_name(name("golden-cordoned")).with_num_partitions(1).with_replication_factor(1);
    recorder.record(7, "cordoned", &CreateTopicsRequest::default().with_topics(vec![one_more]).with_timeout_ms(TIMEOUT_MS));
    cordon(recorder, "not-one-of-ours", "/no/such/directory");
    cordon(recorder, "all-and-one", "*,/no/such/directory");
    cordon(recorder, "no-more", "");
    recorder.record(5, "no-more", &DescribeLogDirsRequest::default().with_topics(None));
}

fn cordon(recorder: &mut Recorder, case: &str, directories: &'static str) {
    let edit = AlterableConfig::default().with_name(text("cordoned.log.dirs")).with_value(Some(text(directories)));
    let broker = AlterConfigsResource::default().with_resource_type(BROKER).with_resource_name(text("1")).with_configs(vec![edit]);
    recorder.record(1, case, &IncrementalAlterConfigsRequest::default().with_resources(vec![broker]));
    recorder.wait_for_changes();
}
