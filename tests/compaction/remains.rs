//! What remains of a topic in which a few keys are overwritten and deleted, in every codec and by a producer that numbers its batches: the
//! same for librdkafka, kafka-python and the Java consumer, and whole by Kafka's own reader of files.

use super::{CONFIGS, Seen, THEN, by_librdkafka, compacted, keyed, settings, wait_cleaned};
use crate::support::broker::{Broker, Kind, kind};
use crate::support::forge::{Forged, Record, body};
use crate::support::peers::{kafka_tool, python};
use crate::support::raw::Connection;
use crate::support::records::Codec;
use crate::support::{dump, noisy, topics};

const TOPIC: &str = "remains";
/// With the codecs that kafka-python has without further packages.
const FOR_PYTHON: &str = "remains-for-python";
const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
const BATCHES: i64 = 900;
const PRODUCER: i64 = 4711;
const ROLL_MS: i64 = 2_000_000;

const READ: &str = r#"
import sys
from kafka import KafkaConsumer, TopicPartition

bootstrap, topic, count = sys.argv[1:]
consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False, consumer_timeout_ms=60000,
                         group_id=None)
one = TopicPartition(topic, 0)
consumer.assign([one])
consumer.seek_to_beginning()
number = 0
for record in consumer:
    print(record.offset, record.key.decode(), "null" if record.value is None else record.value.decode())
    number += 1
    if number == int(count):
        break
"#;

/// Sends batches and notes every record; the last two begin segments of their own.
fn write(connection: &mut Connection, topic: &str, codecs: &[Codec]) -> (Vec<Seen>, i64) {
    let mut sent: Vec<Seen> = Vec::new();
    let mut sequence = 0;
    let mut batch = |connection: &mut Connection, index: i64, records: Vec<(String, Option<String>)>, timestamp: i64| {
        let forged: Vec<Record> = records.iter().zip(0..).map(|((key, value), delta)| keyed(delta, key, value.as_deref())).collect();
        let count = forged.len() as i32;
        let forged = Forged::around(body(&forged), count, timestamp).numbered(PRODUCER, 0, sequence);
        sequence += count;
        let base = topics::produce(connection, topic, 0, forged.compressed(codecs[index as usize % codecs.len()]).encode());
        sent.extend(records.into_iter().zip(base..).map(|((key, value), at)| (at, key, value)));
        base
    };
    for index in 0..BATCHES {
        let record = |step: i64| {
            let number = index * 5 + step;
            let key = format!("key-{}", number * 7919 % 41);
            let value = (number % 11 != 3).then(|| format!("{number}-{}", "v".repeat((number * 37 % 300) as usize)));
            (key, value)
        };
        let timestamp = THEN + index + if index == 500 { ROLL_MS } else { 0 };
        batch(connection, index, (0..1 + index % 4).map(record).collect(), timestamp);
    }
    let active = batch(connection, 0, vec![("key-0".to_owned(), Some("last".to_owned()))], THEN + 2 * ROLL_MS + 1000);
    (sent, active)
}

fn by_java(bootstrap: &str, count: usize) -> Vec<String> {
    let count = count.to_string();
    let mut args = vec!["--bootstrap-server", bootstrap, "--topic", TOPIC, "--partition", "0", "--offset", "earliest"];
    args.extend(["--max-messages", &count, "--timeout-ms", "60000"]);
    for property in ["print.offset=true", "print.key=true", "key.separator= "] {
        args.extend(["--formatter-property", property]);
    }
    let said = kafka_tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &args).expect_success();
    said.lines().filter_map(|line| line.strip_prefix("Offset:")).map(str::to_owned).collect()
}

#[test]
fn every_client_sees_the_latest_of_each_key() {
    let _noisy = noisy();
    let mut broker = Broker::start(settings());
    let mut connection = broker.connect();
    let mut configs = CONFIGS.to_vec();
    configs.push(("delete.retention.ms", "3600000"));
    topics::create(&mut connection, TOPIC, 1, &configs);
    topics::create(&mut connection, FOR_PYTHON, 1, &configs);
    let (sent, active) = write(&mut connection, TOPIC, &CODECS);
    let for_python = write(&mut connection, FOR_PYTHON, &CODECS[..2]);
    assert_eq!(for_python, (sent.clone(), active));
    wait_cleaned(&broker, TOPIC, 0, active);
    wait_cleaned(&broker, FOR_PYTHON, 0, active);
    let expected = compacted(&sent, active);
    assert!(expected.len() < 60 && expected.len() < sent.len() / 10, "{} of {}", expected.len(), sent.len());
    assert!(expected.iter().any(|(.., value)| value.is_none()), "tombstones are there until their time");
    let bootstrap = broker.bootstrap();
    assert_eq!(by_librdkafka(&bootstrap, TOPIC, 0, "read_committed"), expected);
    let lines: Vec<String> = expected.iter().map(|(at, key, value)| format!("{at} {key} {}", value.as_deref().unwrap_or("null"))).collect();
    assert_eq!(by_java(&bootstrap, expected.len()), lines);
    let read = python(READ, &[&bootstrap, FOR_PYTHON, &expected.len().to_string()]).expect_success();
    assert_eq!(read.lines().collect::<Vec<_>>(), lines);
    // The producer goes on where it was, after a restart from what is left as well.
    for number in 0..3 {
        let sequence = sent.len() as i32 + number;
        let next = Forged::around(body(&[keyed(0, "next", Some("x"))]), 1, THEN + 2 * ROLL_MS + 1000).numbered(PRODUCER, 0, sequence);
        assert_eq!(topics::produce(&mut connection, TOPIC, 0, next.encode()), sent.len() as i64 + i64::from(number));
        if kind() == Kind::Ottla {
            broker.kill();
        } else {
            broker.stop();
        }
        broker.launch();
        connection = broker.connect();
        topics::wait_for_leaders(&mut connection, TOPIC, 1);
    }
    let again = by_librdkafka(&broker.bootstrap(), TOPIC, 0, "read_uncommitted");
    assert_eq!(again[..expected.len()], expected);
    drop(connection);
    broker.stop();
    dump::check_compacted(&broker.log_dir());
}
