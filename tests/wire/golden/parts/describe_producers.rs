//! DescribeProducers: idempotent producers as a partition knows them, and partitions that are not there.

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use kafka_protocol::messages::describe_producers_request::{DescribeProducersRequest, TopicRequest};

use super::{THEN, TIMEOUT_MS, batch, text};
use crate::support::records::Batch;
use crate::support::topics::{PRODUCE, name, produce_request};
use crate::wire::golden::capture::Recorder;

const TOPIC: &str = "golden-producers";

pub fn run(recorder: &mut Recorder) {
    let forever = CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("-1")));
    let topic = CreatableTopic::default().with_name(name(TOPIC)).with_num_partitions(3).with_replication_factor(1);
    let topics = vec![topic.with_configs(vec![forever])];
    recorder.create(7, "producers", &CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(TIMEOUT_MS), &[(TOPIC, 3)]);
    let by = |producer: i64, epoch: i16, sequence: i32, second: i64| {
        Batch::at(THEN + 1000 * second).value("one").value("two").by(producer, epoch, sequence).encode()
    };
    let ask = |topic: &str, partitions: &[i32]| {
        let topics = vec![TopicRequest::default().with_name(name(topic)).with_partition_indexes(partitions.to_vec())];
        DescribeProducersRequest::default().with_topics(topics)
    };
    recorder.record(0, "nobody-yet", &ask(TOPIC, &[0, 1]));
    recorder.record(PRODUCE, "without-producer", &produce_request(TOPIC, -1, &[(2, batch(0))]));
    recorder.record(0, "without-producer", &ask(TOPIC, &[2]));
    for (case, producer, epoch, sequence, second) in [
        ("first", 4000, 0, 0, 1),
        ("second", 4000, 0, 2, 2),
        ("other", 4001, 3, 0, 3),
        ("new-epoch", 4000, 1, 0, 4),
        ("new-epoch-goes-on", 4000, 1, 2, 5),
    ] {
        recorder.record(PRODUCE, case, &produce_request(TOPIC, -1, &[(0, by(producer, epoch, sequence, second))]));
        recorder.record(0, case, &ask(TOPIC, &[0]));
    }
    recorder.record(PRODUCE, "unknown-in-the-middle", &produce_request(TOPIC, -1, &[(1, by(4002, 0, 7, 6))]));
    recorder.record(0, "all", &ask(TOPIC, &[0, 1, 2]));
    recorder.record(0, "unknown-partition", &ask(TOPIC, &[0, 7]));
    recorder.record(0, "negative-partition", &ask(TOPIC, &[-1]));
    recorder.record(0, "unknown-topic", &ask("golden-missing", &[0]));
    recorder.record(0, "bad-name", &ask("golden wrong name", &[0, 1]));
    recorder.record(0, "no-partitions", &ask(TOPIC, &[]));
    recorder.record(0, "none", &DescribeProducersRequest::default());
}
