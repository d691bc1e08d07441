//! The `rdkafka` crate (librdkafka 2.12, a client of 2025): every codec and every acks, read back by assignment; the delivery reports must
//! name the offsets the records are found at.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

use super::{CODECS, at_every_shard_count, expect_codec, stored, values};
use crate::support::broker::{Broker, Settings};
use crate::support::topics;

const DEADLINE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 4;

/// Keeps what the delivery reports say: value number, partition, offset.
#[derive(Default)]
struct Reports(Mutex<Vec<(usize, i32, i64)>>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        match result {
            Ok(message) => self.0.lock().unwrap().push((number, message.partition(), message.offset())),
            Err((error, _)) => panic!("record {number} was not delivered: {error}"),
        }
    }
}

fn producer(broker: &Broker, codec: &str, acks: &str) -> BaseProducer<Reports> {
    ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("compression.type", codec)
        .set("acks", acks)
        // As the Java client does by itself.
        .set("enable.idempotence", if acks == "all" { "true" } else { "false" })
        .set("linger.ms", "5")
        .set("batch.num.messages", "100")
        .create_with_context(Reports::default())
        .expect("a producer")
}

/// Produces the values round robin over the partitions; gives the delivery reports in the order of the values.
fn produce(broker: &Broker, topic: &str, codec: &str, acks: &str, values: &[String]) -> Vec<(i32, i64)> {
    let producer = producer(broker, codec, acks);
    for (number, value) in values.iter().enumerate() {
        let key = format!("key {number}");
        let headers = OwnedHeaders::new().insert(Header { key: "number", value: Some(&number.to_string()) });
        let record =
            BaseRecord::with_opaque_to(topic, number).payload(value).key(&key).partition(number as i32 % PARTITIONS).headers(headers);
        producer.send(record).unwrap_or_else(|(error, _)| panic!("send: {error}"));
        producer.poll(Duration::ZERO);
    }
    producer.flush(DEADLINE).expect("flush");
    let mut reports = std::mem::take(&mut *producer.context().0.lock().unwrap());
    reports.sort_unstable();
    assert_eq!(reports.len(), values.len(), "delivery reports");
    reports.into_iter().map(|(_, partition, offset)| (partition, offset)).collect()
}

/// Reads `count` records of the topic from the start, by assignment.
fn consume(broker: &Broker, topic: &str, count: usize, mut each: impl FnMut(&BorrowedMessage<'_>)) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("group.id", "never-joined")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .create()
        .expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let start = Instant::now();
    let mut seen = 0;
    while seen < count {
        assert!(start.elapsed() < DEADLINE, "{seen} of {count} records of {topic} after {DEADLINE:?}");
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                each(&message);
                seen += 1;
            }
            Some(Err(error)) => panic!("{topic}: {error}"),
            None => {}
        }
    }
}

#[test]
fn every_codec_goes_in_and_comes_back() {
    at_every_shard_count(Settings::new(), |broker| {
        for (name, codec) in CODECS {
            let topic = format!("rdkafka-{name}");
            topics::create(&mut broker.connect(), &topic, PARTITIONS, &[]);
            let values = values(name, 1000);
            let reports = produce(broker, &topic, name, "all", &values);
            let mut next = vec![0; PARTITIONS as usize];
            consume(broker, &topic, values.len(), |message| {
                let partition = message.partition();
                // Round robin over the partitions: the record's number follows from where it lies.
                let number = (message.offset() * i64::from(PARTITIONS)) as usize + partition as usize;
                assert_eq!(message.offset(), next[partition as usize], "{topic}-{partition}: offsets are dense and in order");
                next[partition as usize] += 1;
                assert_eq!(reports[number], (partition, message.offset()), "where the delivery report put it");
                assert_eq!(message.payload(), Some(values[number].as_bytes()));
                assert_eq!(message.key(), Some(format!("key {number}").as_bytes()));
                let headers = message.headers().expect("headers");
                assert_eq!(headers.get(0).value, Some(number.to_string().as_bytes()));
            });
            expect_codec(broker, &topic, PARTITIONS, codec);
        }
    });
}

#[test]
fn every_acks_is_honoured() {
    at_every_shard_count(Settings::new(), |broker| {
        for acks in ["0", "1", "all"] {
            let topic = format!("rdkafka-acks-{acks}");
            topics::create(&mut broker.connect(), &topic, PARTITIONS, &[]);
            let values = values(acks, 1000);
            let reports = produce(broker, &topic, "none", acks, &values);
            let mut read = 0;
            consume(broker, &topic, values.len(), |message| {
                let number = (message.offset() * i64::from(PARTITIONS)) as usize + message.partition() as usize;
                assert_eq!(message.payload(), Some(values[number].as_bytes()));
                read += 1;
            });
            assert_eq!(read, values.len());
            // Without an answer the client does not know an offset.
            if acks != "0" {
                assert!(reports.iter().all(|(_, offset)| *offset >= 0));
            }
            let count: i32 = (0..PARTITIONS).flat_map(|partition| stored(broker, &topic, partition)).map(|batch| batch.count).sum();
            assert_eq!(count as usize, values.len());
        }
    });
}

/// Offsets by timestamp, watermarks and a read from the middle.
#[test]
fn finds_offsets_by_time() {
    at_every_shard_count(Settings::new(), |broker| {
        topics::create(&mut broker.connect(), "rdkafka-times", 1, &[("retention.ms", "-1")]);
        let producer = producer(broker, "none", "all");
        const THEN: i64 = 1_700_000_000_000;
        for second in 0..100 {
            let payload = second.to_string();
            let record = BaseRecord::with_opaque_to("rdkafka-times", second as usize)
                .payload(&payload)
                .key("")
                .partition(0)
                .timestamp(THEN + 1000 * second);
            producer.send(record).unwrap_or_else(|(error, _)| panic!("send: {error}"));
        }
        producer.flush(DEADLINE).unwrap();
        let client = producer.client();
        assert_eq!(client.fetch_watermarks("rdkafka-times", 0, DEADLINE).unwrap(), (0, 100));
        let consumer: BaseConsumer =
            ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).set("group.id", "x").create().unwrap();
        for (time, want) in [
            (THEN - 5, Offset::Offset(0)),
            (THEN + 1000, Offset::Offset(1)),
            (THEN + 41_500, Offset::Offset(42)),
            (THEN + 99_000, Offset::Offset(99)),
            (THEN + 99_001, Offset::End),
        ] {
            let mut ask = TopicPartitionList::new();
            ask.add_partition_offset("rdkafka-times", 0, Offset::Offset(time)).unwrap();
            let answer = consumer.offsets_for_times(ask, DEADLINE).unwrap();
            assert_eq!(answer.elements()[0].offset(), want, "at {time}");
        }
    });
}
