//! What a cluster of one node says to who would have its partitions elsewhere, and to who would strike a broker off its list.

use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsRequest;
use kafka_protocol::messages::{AlterPartitionReassignmentsRequest, BrokerId, UnregisterBrokerRequest};

use super::TIMEOUT_MS;
use crate::support::topics::name;
use crate::wire::golden::capture::Recorder;

/// Both brokers are this one.
const NODE: i32 = 1;

pub fn run(recorder: &mut Recorder) {
    for topic in ["golden-moved", "golden-stays"] {
        let wanted = CreatableTopic::default().with_name(name(topic)).with_num_partitions(3).with_replication_factor(1);
        recorder.create(7, "new", &CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(TIMEOUT_MS), &[(topic, 3)]);
    }
    for version in 0..=1 {
        let alter = |topics| AlterPartitionReassignmentsRequest::default().with_topics(topics).with_timeout_ms(TIMEOUT_MS);
        let moved = |partitions: Vec<ReassignablePartition>| alter(vec![topic("golden-moved", partitions)]);
        recorder.record(version, "same", &moved(vec![to(0, &[NODE]), to(2, &[NODE])]));
        recorder.record(version, "none", &alter(Vec::new()));
        recorder.record(version, "no-partitions", &moved(Vec::new()));
        recorder.record(version, "unknown-broker", &moved(vec![to(0, &[99])]));
        recorder.record(version, "negative-broker", &moved(vec![to(0, &[-1])]));
        recorder.record(version, "and-unknown-broker", &moved(vec![to(0, &[NODE, 99])]));
        recorder.record(version, "broker-twice", &moved(vec![to(0, &[NODE, NODE])]));
        recorder.record(version, "no-replicas", &moved(vec![to(0, &[])]));
        recorder.record(version, "cancel-nothing", &moved(vec![cancel(0)]));
        recorder.record(version, "unknown", &alter(vec![topic("golden-missing", vec![to(0, &[NODE]), cancel(1)])]));
        recorder.record(version, "unknown-partition", &moved(vec![to(7, &[NODE]), cancel(-1)]));
        recorder.record(version, "partition-twice", &moved(vec![to(0, &[NODE]), to(0, &[99])]));
        let mixed = vec![topic("golden-moved", vec![to(1, &[99]), to(0, &[NODE])]), topic("golden-stays", vec![cancel(2), to(1, &[NODE])])];
        recorder.record(version, "mixed", &alter(mixed));
        if version >= 1 {
            let held = |replicas: &[i32]| moved(vec![to(0, replicas)]).with_allow_replication_factor_change(false);
            recorder.record(version, "factor-held", &held(&[NODE]));
            recorder.record(version, "factor-held-unknown-broker", &held(&[NODE, 99]));
            recorder.record(version, "factor-held-no-replicas", &held(&[]));
        }
    }
    recorder.record(0, "all-afterwards", &ListPartitionReassignmentsRequest::default().with_topics(None).with_timeout_ms(TIMEOUT_MS));
    for (case, id) in [("unknown", 99), ("negative", -1)] {
        recorder.record(0, case, &UnregisterBrokerRequest::default().with_broker_id(BrokerId(id)));
    }
}

fn topic(topic: &str, partitions: Vec<ReassignablePartition>) -> ReassignableTopic {
    ReassignableTopic::default().with_name(name(topic)).with_partitions(partitions)
}

fn to(index: i32, replicas: &[i32]) -> ReassignablePartition {
    let replicas = replicas.iter().copied().map(BrokerId).collect();
    ReassignablePartition::default().with_partition_index(index).with_replicas(Some(replicas))
}

fn cancel(index: i32) -> ReassignablePartition {
    ReassignablePartition::default().with_partition_index(index).with_replicas(None)
}
