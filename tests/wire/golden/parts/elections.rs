//! What a cluster of one node says to who would move leaders and replicas about.

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_protocol::messages::elect_leaders_request::{ElectLeadersRequest, TopicPartitions};
use kafka_protocol::messages::list_partition_reassignments_request::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics};

use super::TIMEOUT_MS;
use crate::support::topics::name;
use crate::wire::golden::capture::Recorder;

pub fn run(recorder: &mut Recorder) {
    for topic in ["golden-led", "golden-other"] {
        let wanted = CreatableTopic::default().with_name(name(topic)).with_num_partitions(2).with_replication_factor(1);
        recorder.create(7, "new", &CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(TIMEOUT_MS), &[(topic, 2)]);
    }
    elect(recorder);
    list(recorder);
}

fn elect(recorder: &mut Recorder) {
    let asked = |topic: &str, partitions: &[i32]| TopicPartitions::default().with_topic(name(topic)).with_partitions(partitions.to_vec());
    for version in 0..=2 {
        let request = |topics| ElectLeadersRequest::default().with_topic_partitions(topics).with_timeout_ms(TIMEOUT_MS);
        recorder.record(version, "some", &request(Some(vec![asked("golden-led", &[0, 1]), asked("golden-other", &[1])])));
        recorder.record(version, "unknown", &request(Some(vec![asked("golden-missing", &[0]), asked("golden-led", &[7, -1])])));
        recorder.record(version, "none", &request(Some(Vec::new())));
        recorder.record(version, "all", &request(None));
        if version >= 1 {
            let some = || request(Some(vec![asked("golden-led", &[0, 1]), asked("golden-missing", &[0])]));
            recorder.record(version, "unclean", &some().with_election_type(1));
            recorder.record(version, "unclean-all", &request(None).with_election_type(1));
            recorder.record(version, "kind-unknown", &some().with_election_type(9));
        }
    }
}

fn list(recorder: &mut Recorder) {
    let asked = |topic: &str| ListPartitionReassignmentsTopics::default().with_name(name(topic)).with_partition_indexes(vec![0, 7]);
    let request = |topics| ListPartitionReassignmentsRequest::default().with_topics(topics).with_timeout_ms(TIMEOUT_MS);
    recorder.record(0, "all", &request(None));
    recorder.record(0, "none", &request(Some(Vec::new())));
    recorder.record(0, "some", &request(Some(vec![asked("golden-led"), asked("golden-missing")])));
}
