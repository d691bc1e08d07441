//! Idempotent producers of librdkafka through kill -9 after kill -9: what they send again after a crash must not be stored twice, nor
//! left out, nor put out of order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{Offset, TopicPartitionList};

use super::kill::Dice;
use crate::support::broker::{Broker, Settings, lasting_port, only_ottla};
use crate::support::{dump, heavy, noisy, topics};

const TOPIC: &str = "idempotent";
const PARTITIONS: i32 = 4;
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
const DEADLINE: Duration = Duration::from_secs(120);

/// Where each record was acknowledged: number, partition, offset.
#[derive(Default)]
struct Reports(Mutex<Vec<(usize, i32, i64)>>);

impl ClientContext for Reports {
    /// Lost connections are what this is about.
    fn error(&self, _error: KafkaError, _reason: &str) {}
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        match result {
            Ok(message) => self.0.lock().unwrap().push((number, message.partition(), message.offset())),
            Err((error, _)) => panic!("record {number} was given up: {error}"),
        }
    }
}

fn value(producer: usize, number: usize) -> String {
    format!("producer {producer} number {number} {}", "filler ".repeat(number % 13))
}

fn parse(value: &[u8]) -> (usize, usize) {
    let text = std::str::from_utf8(value).expect("text");
    let words: Vec<&str> = text.split(' ').collect();
    let found = (words[1].parse().expect("a producer"), words[3].parse().expect("a number"));
    assert_eq!(text, self::value(found.0, found.1));
    found
}

type Acknowledged = Vec<(usize, i32, i64)>;

/// Sends until it is told to stop, then waits for all; answers with where everything went.
fn start(broker: &Broker, producer: usize, stop: &Arc<AtomicBool>) -> JoinHandle<Acknowledged> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", broker.bootstrap())
        .set("enable.idempotence", "true")
        .set("compression.type", CODECS[producer])
        .set("linger.ms", "2")
        .set("batch.num.messages", "50")
        .set("queue.buffering.max.messages", "2000")
        .set("message.timeout.ms", "110000")
        .set("retry.backoff.ms", "20")
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "100");
    let stop = stop.clone();
    std::thread::spawn(move || {
        let client: BaseProducer<Reports> = config.create_with_context(Reports::default()).expect("a producer");
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            let payload = value(producer, number);
            let record =
                BaseRecord::<(), str, usize>::with_opaque_to(TOPIC, number).partition(number as i32 % PARTITIONS).payload(&payload);
            match client.send(record) {
                Ok(()) => number += 1,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    client.poll(Duration::from_millis(5));
                }
                Err((error, _)) => panic!("send: {error}"),
            }
            client.poll(Duration::ZERO);
            if number % 20 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        client.flush(DEADLINE).expect("everything is acknowledged in the end");
        let reports = std::mem::take(&mut *client.context().0.lock().unwrap());
        assert_eq!(reports.len(), number, "a report for each record");
        reports
    })
}

/// Everything in the topic: producer and number by partition, in the order of offsets, which are dense.
fn read_all(broker: &Broker) -> Vec<Vec<(usize, usize)>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("group.id", "never-joined")
        .set("enable.auto.commit", "false")
        .set("check.crcs", "true")
        .create()
        .expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    let mut left = 0;
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
        left += consumer.fetch_watermarks(TOPIC, partition, DEADLINE).expect("watermarks").1;
    }
    consumer.assign(&assignment).unwrap();
    let mut found = vec![Vec::new(); PARTITIONS as usize];
    let began = Instant::now();
    while left > 0 {
        assert!(began.elapsed() < DEADLINE, "{left} records are not served");
        if let Some(message) = consumer.poll(Duration::from_millis(200)) {
            let message = message.expect("a record");
            let records = &mut found[message.partition() as usize];
            assert_eq!(message.offset(), records.len() as i64, "partition {}: offsets are dense", message.partition());
            records.push(parse(message.payload().expect("a value")));
            left -= 1;
        }
    }
    found
}

#[test]
fn idempotent_producers_survive_kill_nine_without_loss_or_repetition() {
    if only_ottla("each start of it takes seconds, and another port") {
        return;
    }
    let _noisy = noisy();
    let rounds = if heavy() { 200 } else { 12 };
    let mut dice = Dice::new();
    // The same port again after each crash: that is where the producers look for their broker.
    let settings = Settings::new().shards(2).with("listeners", format!("PLAINTEXT://127.0.0.1:{}", lasting_port()));
    // So that logs are noted as written every few batches.
    let settings = settings.with("ottla.recovery.bytes.max", 4 << 20);
    let mut broker = Broker::start(settings);
    topics::create(&mut broker.connect(), TOPIC, PARTITIONS, &[("segment.bytes", "1048576"), ("retention.ms", "-1")]);
    let stop = Arc::new(AtomicBool::new(false));
    let producers: Vec<_> = (0..CODECS.len()).map(|producer| start(&broker, producer, &stop)).collect();
    for _ in 0..rounds {
        std::thread::sleep(Duration::from_millis(150 + dice.below(400)));
        broker.kill();
        if dice.below(4) == 0 {
            broker.launch_and_kill(Duration::from_millis(dice.below(40)));
        }
        broker.launch();
    }
    std::thread::sleep(Duration::from_millis(300));
    stop.store(true, Ordering::Relaxed);
    let acknowledged: Vec<Acknowledged> = producers.into_iter().map(|producer| producer.join().expect("a producer")).collect();
    let stored = read_all(&broker);
    check(&acknowledged, &stored);
    let total: usize = acknowledged.iter().map(Vec::len).sum();
    println!("{total} records of {} producers through {rounds} kills, each stored once and in order", CODECS.len());
    broker.stop();
    dump::check(&broker.log_dir());
}

fn check(acknowledged: &[Acknowledged], stored: &[Vec<(usize, usize)>]) {
    for (partition, records) in stored.iter().enumerate() {
        // Every producer went round the partitions: here it has every fourth number, each once and in order.
        let mut next: BTreeMap<usize, usize> = (0..CODECS.len()).map(|producer| (producer, partition)).collect();
        for (offset, (producer, number)) in records.iter().enumerate() {
            let due = next.get_mut(producer).expect("one of the producers");
            assert_eq!(number, due, "partition {partition} offset {offset} of the producer with {}", CODECS[*producer]);
            *due += PARTITIONS as usize;
        }
    }
    for (producer, reports) in acknowledged.iter().enumerate() {
        assert!(!reports.is_empty(), "the producer with {} sent nothing", CODECS[producer]);
        for (number, partition, offset) in reports {
            let found = stored[*partition as usize].get(usize::try_from(*offset).expect("an offset"));
            assert_eq!(found, Some(&(producer, *number)), "acknowledged at offset {offset} of partition {partition}");
        }
    }
    let count: usize = stored.iter().map(Vec::len).sum();
    assert_eq!(count, acknowledged.iter().map(Vec::len).sum::<usize>(), "nothing is stored that was not sent");
}
