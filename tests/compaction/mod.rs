//! Compaction by the real broker: what remains, as every client and Kafka's own reader of files sees it; how much room it takes; kill -9
//! in the middle of it; logs that Kafka compacted, and the way back; what it costs those who produce meanwhile.

mod crash;
mod exchange;
mod pressure;
mod remains;
mod size;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::support::broker::{Broker, Settings};
use crate::support::eventually;
use crate::support::forge::{Part, Record};

const THEN: i64 = 1_700_000_000_000;
const SOON: Duration = Duration::from_secs(90);

/// Compaction looks for work all the time.
fn settings() -> Settings {
    Settings::new().with("log.cleaner.backoff.ms", 50).with("log.initial.task.delay.ms", 0)
}

/// Segments are begun by the time of their records, so that a test says when.
const CONFIGS: [(&str, &str); 5] = [
    ("cleanup.policy", "compact"),
    ("segment.ms", "1000000"),
    ("min.cleanable.dirty.ratio", "0.001"),
    ("file.delete.delay.ms", "100"),
    ("index.interval.bytes", "200"),
];

/// Offset, key and value.
type Seen = (i64, String, Option<String>);

/// A record with a key; no value deletes it.
fn keyed(delta: i64, key: &str, value: Option<&str>) -> Record {
    Record::new(delta, Part::of(key), value.map_or_else(Part::null, Part::of))
}

/// Waits until the checkpoint says that the partition is compacted up to there.
fn wait_cleaned(broker: &Broker, topic: &str, partition: i32, upto: i64) {
    let path = broker.log_dir().join("cleaner-offset-checkpoint");
    let line = format!("{topic} {partition} ");
    eventually(&format!("{topic}-{partition} is compacted up to {upto}"), SOON, || {
        let text = std::fs::read_to_string(&path).ok()?;
        let offset: i64 = text.lines().find_map(|found| found.strip_prefix(&line))?.parse().ok()?;
        (offset >= upto).then_some(())
    });
}

/// Every record of a partition as librdkafka gives it.
fn by_librdkafka(bootstrap: &str, topic: &str, partition: i32, level: &str) -> Vec<Seen> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "never-joined")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", level)
        .create()
        .expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let (start, mut records) = (Instant::now(), Vec::new());
    loop {
        assert!(start.elapsed() < SOON, "{} records after {SOON:?}", records.len());
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(record)) => records.push((record.offset(), text(record.key()).expect("a key"), text(record.payload()))),
            Some(Err(KafkaError::PartitionEOF(_))) => return records,
            Some(Err(error)) => panic!("{level}: {error}"),
            None => {}
        }
    }
}

/// What is left of records when all below an offset is compacted and no tombstone is due.
fn compacted(sent: &[Seen], below: i64) -> Vec<Seen> {
    let latest: BTreeMap<&str, i64> = sent.iter().filter(|(at, ..)| *at < below).map(|(at, key, _)| (key.as_str(), *at)).collect();
    sent.iter().filter(|(at, key, _)| *at >= below || latest[key.as_str()] == *at).cloned().collect()
}
