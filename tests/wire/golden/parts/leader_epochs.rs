//! OffsetForLeaderEpoch in every version, with the epochs of a broker that has just begun: one reign, and what lies outside it.

use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};

use super::{TIMEOUT_MS, batch, text};
use crate::support::topics::{PRODUCE, name, produce_request};
use crate::wire::golden::capture::Recorder;

const TOPIC: &str = "golden-epochs";

pub fn run(recorder: &mut Recorder) {
    let forever = CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("-1")));
    let topic = CreatableTopic::default().with_name(name(TOPIC)).with_num_partitions(2).with_replication_factor(1);
    let topics = vec![topic.with_configs(vec![forever])];
    recorder.create(7, "epochs", &CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(TIMEOUT_MS), &[(TOPIC, 2)]);
    for index in 0..3 {
        recorder.record(PRODUCE, "for-epochs", &produce_request(TOPIC, -1, &[(0, batch(index))]));
    }
    for version in 2..=4 {
        let ask = |topic: &str, partition: i32, current: i32, epoch: i32| {
            let part =
                OffsetForLeaderPartition::default().with_partition(partition).with_current_leader_epoch(current).with_leader_epoch(epoch);
            let topics = vec![OffsetForLeaderTopic::default().with_topic(name(topic)).with_partitions(vec![part])];
            let request = OffsetForLeaderEpochRequest::default().with_topics(topics);
            if version >= 3 { request.with_replica_id(BrokerId(-1)) } else { request }
        };
        recorder.record(version, "this-epoch", &ask(TOPIC, 0, -1, 0));
        recorder.record(version, "this-epoch-fenced-by-it", &ask(TOPIC, 0, 0, 0));
        recorder.record(version, "empty-log", &ask(TOPIC, 1, -1, 0));
        recorder.record(version, "later-epoch", &ask(TOPIC, 0, -1, 4));
        recorder.record(version, "no-epoch", &ask(TOPIC, 0, -1, -1));
        recorder.record(version, "nonsense-epoch", &ask(TOPIC, 0, -1, -7));
        recorder.record(version, "leader-of-the-future", &ask(TOPIC, 0, 9, 0));
        recorder.record(version, "nonsense-leader", &ask(TOPIC, 0, -7, 0));
        recorder.record(version, "unknown-partition", &ask(TOPIC, 7, -1, 0));
        recorder.record(version, "negative-partition", &ask(TOPIC, -1, -1, 0));
        recorder.record(version, "unknown-topic", &ask("golden-missing", 0, -1, 0));
        let mut both = ask(TOPIC, 0, -1, 0);
        both.topics.extend(ask("golden-missing", 0, -1, 0).topics);
        both.topics[0].partitions.extend(ask(TOPIC, 1, 9, 0).topics[0].partitions.clone());
        recorder.record(version, "several", &both);
        recorder.record(version, "none", &OffsetForLeaderEpochRequest::default());
        if version >= 3 {
            recorder.record(version, "debugging-consumer", &ask(TOPIC, 0, -1, 0).with_replica_id(BrokerId(-2)));
        }
    }
}
