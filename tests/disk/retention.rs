//! Segments that retention deletes while a response made of them is on its way: what was planned is what arrives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::FetchRequest;

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
const SOON: Duration = Duration::from_secs(30);

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
    for _ in 0..4 {
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
        assert!(bytes > PARTITIONS as usize * BATCH, "{bytes} bytes of segments that are no more");
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().expect("every batch is acknowledged");
    broker.stop();
}
