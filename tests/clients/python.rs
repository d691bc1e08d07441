//! kafka-python, a client written from the protocol alone, without librdkafka or Java.

use super::{at_every_shard_count, expect_codec};
use crate::support::broker::Settings;
use crate::support::peers::python;
use crate::support::records::Codec;
use crate::support::topics;

const ROUND_TRIP: &str = r#"
import sys
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

bootstrap, topic, codec = sys.argv[1:]
producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all", compression_type=None if codec == "none" else codec,
                         enable_idempotence=True, linger_ms=20)
sent = [producer.send(topic, value=b"value %d " % n + b"x" * 100, key=b"key %d" % n, partition=n % 2) for n in range(400)]
producer.flush()
offsets = [future.get(timeout=60).offset for future in sent]
consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False, consumer_timeout_ms=60000,
                         group_id=None)
both = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
consumer.assign(both)
assert consumer.beginning_offsets(both) == {both[0]: 0, both[1]: 0}
assert consumer.end_offsets(both) == {both[0]: 200, both[1]: 200}
consumer.seek_to_beginning()
read = {}
for record in consumer:
    read[(record.partition, record.offset)] = (record.key, record.value)
    if len(read) == 400:
        break
for n in range(400):
    assert read[(n % 2, offsets[n])] == (b"key %d" % n, b"value %d " % n + b"x" * 100), n
    assert offsets[n] == n // 2, (n, offsets[n])
print("read", len(read))
"#;

#[test]
fn goes_in_and_comes_back() {
    at_every_shard_count(Settings::new(), |broker| {
        for (name, codec) in [("none", Codec::None), ("gzip", Codec::Gzip)] {
            let topic = format!("python-{name}");
            topics::create(&mut broker.connect(), &topic, 2, &[]);
            let said = python(ROUND_TRIP, &[&broker.bootstrap(), &topic, name]).expect_success();
            assert_eq!(said.trim(), "read 400");
            expect_codec(broker, &topic, 2, codec);
        }
    });
}
