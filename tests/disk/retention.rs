//! Segments that retention deletes while they are read: of a response made of them that is on its way, what was planned is what arrives; a
//! consumer that is too slow goes on where the log begins now.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::FetchRequest;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::support::broker::{Broker, Settings};
use crate::support::raw::Connection;
use crate::support::records::{Batch, walk};
use crate::support::topics::{self, Ask, FETCH, PRODUCE};
use crate::support::{eventually, noisy};

const THEN: i64 = 1_700_000_000_000;
const TOPIC: &str = "deleted-while-read";
/// So many that a response with a segment of each does not fit into the sockets between.
const PARTITIONS: i32 = 16;
const SEGMENT: i32 = 1 << 20;
const BATCH: usize = 200 << 10;
const EARLIEST: i64 = -2;
const SOON: Duration = Duration::from_secs(60);
/// Responses whose segments were still there when they were planned, and how often that is tried.
const READ_WHILE_DELETED: usize = 4;
const ROUNDS_MAX: usize = 40;

/// Appends to every partition until told to stop.
fn keep_writing(mut connection: Connection, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let batch = Batch::at(THEN).value(vec![b'v'; BATCH]).encode();
        let batches: Vec<(i32, Bytes)> = (0..PARTITIONS).map(|partition| (partition, batch.clone())).collect();
        while !stop.load(Ordering::Relaxed) {
            let answer = connection.call(PRODUCE, &topics::produce_request(TOPIC, -1, &batches));
            assert!(answer.responses[0].partition_responses.iter().all(|partition| partition.error_code == 0));
            std::thread::sleep(Duration::from_millis(20));
        }
    })
}

#[test]
fn segments_are_deleted_while_they_are_read() {
    let _noisy = noisy();
    let settings = Settings::new()
        .with("log.retention.check.interval.ms", 50)
        .with("log.initial.task.delay.ms", 0)
        .with("log.segment.delete.delay.ms", 0);
    let mut broker = Broker::start(settings);
    let mut connection = broker.connect();
    let (segment, retention) = (SEGMENT.to_string(), (2 * SEGMENT).to_string());
    topics::create(
        &mut connection,
        TOPIC,
        PARTITIONS,
        &[("segment.bytes", &segment), ("retention.bytes", &retention), ("retention.ms", "-1")],
    );
    let stop = Arc::new(AtomicBool::new(false));
    let writer = keep_writing(broker.connect(), stop.clone());
    let mut read = 0;
    for _ in 0..ROUNDS_MAX {
        let starts: Vec<i64> = (0..PARTITIONS).map(|partition| topics::offset_at(&mut connection, TOPIC, partition, EARLIEST)).collect();
        let asks: Vec<Ask> = starts.iter().zip(0..).map(|(&offset, partition)| Ask { partition, offset, bytes_max: SEGMENT }).collect();
        let mut reader = broker.connect();
        reader.send(FETCH, &topics::fetch_request(TOPIC, &asks, 500, 1));
        for (&start, partition) in starts.iter().zip(0..) {
            eventually("retention goes on", SOON, || {
                (topics::offset_at(&mut connection, TOPIC, partition, EARLIEST) > start).then_some(())
            });
            let first = broker.partition_dir(TOPIC, partition).join(format!("{start:020}.log"));
            let renamed = first.with_extension("log.deleted");
            eventually("its file is gone", SOON, || (!first.exists() && !renamed.exists()).then_some(()));
        }
        let (_, answer) = reader.receive::<FetchRequest>(FETCH);
        let mut bytes = 0;
        for partition in &answer.responses[0].partitions {
            let start = starts[partition.partition_index as usize];
            // A segment may have gone between the question for its start and the fetch.
            assert!([0, 1].contains(&partition.error_code), "error {}", partition.error_code);
            let records = partition.records.clone().unwrap_or_default();
            let walked = walk(&records);
            assert_eq!(walked.leftover, 0, "whole batches with their checksums");
            let offsets: Vec<i64> = walked.batches.iter().map(|batch| batch.base_offset).collect();
            assert!(offsets.iter().copied().eq(start..start + offsets.len() as i64), "from {start}: {offsets:?}");
            bytes += records.len();
        }
        // A busy machine may have come to all of them too late.
        read += usize::from(bytes > PARTITIONS as usize * BATCH);
        if read == READ_WHILE_DELETED {
            break;
        }
    }
    assert_eq!(read, READ_WHILE_DELETED, "responses with segments that are no more, in {ROUNDS_MAX} rounds");
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("every batch is acknowledged");
    broker.stop();
}

const SLOW: &str = "too-fast-for-its-reader";
const VALUE: usize = 50 << 10;
/// Records read at a stretch, and how often what comes next is gone by then.
const RUN: usize = 30;
const SKIPS: usize = 3;

/// What stands at an offset; another offset's value does not start like it, nor go on like it.
fn value(offset: i64) -> Vec<u8> {
    let mut value = format!("record {offset} ").into_bytes();
    value.resize(VALUE, offset as u8);
    value
}

#[test]
fn a_consumer_slower_than_retention_skips_what_is_gone_and_reads_the_rest_whole() {
    let _noisy = noisy();
    let settings = Settings::new()
        .with("log.retention.check.interval.ms", 50)
        .with("log.initial.task.delay.ms", 0)
        .with("log.segment.delete.delay.ms", 0);
    let mut broker = Broker::start(settings);
    let (mut connection, mut watch) = (broker.connect(), broker.connect());
    let (segment, retention) = (SEGMENT.to_string(), (3 * SEGMENT).to_string());
    topics::create(&mut connection, SLOW, 1, &[("segment.bytes", &segment), ("retention.bytes", &retention), ("retention.ms", "-1")]);
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    let writer = std::thread::spawn(move || {
        let mut next = 0;
        while !told.load(Ordering::Relaxed) {
            assert_eq!(topics::produce(&mut connection, SLOW, 0, Batch::at(THEN).value(value(next)).encode()), next);
            next += 1;
            std::thread::sleep(Duration::from_millis(4));
        }
    });
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("group.id", "never-joined")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest")
        .set("check.crcs", "true")
        .set("fetch.message.max.bytes", (VALUE * 4).to_string())
        .set("queued.max.messages.kbytes", "400")
        .create()
        .expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(SLOW, 0, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    let (began, mut next, mut skips, mut read) = (Instant::now(), 0, 0, 0);
    while skips < SKIPS {
        assert!(began.elapsed() < SOON, "{read} records read, {skips} times something skipped");
        let Some(record) = consumer.poll(Duration::from_millis(200)) else { continue };
        let record = record.expect("a record");
        assert!(record.offset() >= next, "{} after {next}", record.offset());
        assert!(record.payload() == Some(&value(record.offset())[..]), "another value at offset {}", record.offset());
        skips += usize::from(record.offset() > next && read > 0);
        next = record.offset() + 1;
        read += 1;
        if read % RUN == 0 {
            eventually("the log goes on without its reader", SOON, || {
                (topics::offset_at(&mut watch, SLOW, 0, EARLIEST) > next).then_some(())
            });
        }
    }
    println!("{read} records read, {skips} times something skipped");
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("every record is acknowledged");
    drop(consumer);
    broker.stop();
}
