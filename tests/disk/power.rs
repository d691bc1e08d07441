//! A filesystem that stops at once, as at a loss of power: what it was given and had not been told to keep is gone, lengths and places of blocks too.
//!
//! The disk below it goes on and keeps what was written to it, flushed or not: what a disk without power loses is not tested here.

use std::thread::JoinHandle;
use std::time::Duration;

use kafka_protocol::messages::ProduceRequest;

use super::medium::Medium;
use crate::support::broker::{Broker, Settings, only_ottla};
use crate::support::records::Batch;
use crate::support::{eventually, noisy, topics};

const TOPIC: &str = "synced";
const WRITERS: i32 = 4;
const SOON: Duration = Duration::from_secs(60);
/// Space enough for zeros ahead of each log; the image takes what is written.
const MEDIUM_MIB: u64 = 16 << 10;
/// Syncs of bytes alone before the stop: some hundred for each zero that is written ahead.
const RANGES_MIN: f64 = 500.0;

fn value(partition: i32, sequence: usize) -> Vec<u8> {
    format!("partition {partition} sequence {sequence} ").into_bytes().repeat(1 + (sequence * 37) % 700)
}

/// Writes to a partition, one record after another, until the broker does not take any more; answers with how many were acknowledged.
fn write(broker: &Broker, partition: i32) -> JoinHandle<usize> {
    let mut connection = broker.connect();
    std::thread::spawn(move || {
        for sequence in 0.. {
            let batch = Batch::at(1_700_000_000_000).value(value(partition, sequence)).encode();
            let request = topics::produce_request(TOPIC, 1, &[(partition, batch)]);
            let Ok(answer) = connection.try_call::<ProduceRequest>(topics::PRODUCE, &request) else { return sequence };
            let answer = &answer.responses[0].partition_responses[0];
            if answer.error_code != 0 {
                return sequence;
            }
            assert_eq!(answer.base_offset, sequence as i64);
        }
        unreachable!("records without end")
    })
}

/// Answers with whether anything is lost; `None` where this machine has no filesystem to stop.
fn loses(configs: &[(&str, &str)], ready: impl Fn(&Broker) -> bool) -> Option<bool> {
    let mut medium = Medium::ext4(MEDIUM_MIB)?;
    let settings = Settings::new().with("log.dirs", medium.log_dir().display()).with("ottla.disk.reserve.bytes", 0);
    let mut broker = Broker::start(settings.with("ottla.metrics.listener", "127.0.0.1:0").shards(1));
    topics::create(&mut broker.connect(), TOPIC, WRITERS, configs);
    // What the topic is made of, metadata and all, is not in question.
    nix::unistd::sync();
    let writers: Vec<_> = (0..WRITERS).map(|partition| write(&broker, partition)).collect();
    eventually("the logs are under way", SOON, || ready(&broker).then_some(()));
    let stopped = medium.stop();
    let acknowledged: Vec<usize> = match &stopped {
        Ok(()) => writers.into_iter().map(|writer| writer.join().expect("a writer")).collect(),
        Err(_) => Vec::new(),
    };
    broker.kill();
    if let Err(why) = stopped {
        println!("not run, as this filesystem cannot be stopped: {why}");
        return None;
    }
    medium.repair();
    broker.launch();
    let mut connection = broker.connect();
    topics::wait_for_leaders(&mut connection, TOPIC, WRITERS);
    let mut is_lost = false;
    for (partition, acknowledged) in (0..).zip(acknowledged) {
        let records = topics::read_from(&mut connection, TOPIC, partition, 0);
        println!("partition {partition}: {acknowledged} acknowledged, {} found", records.len());
        is_lost |= records.len() < acknowledged;
        for (sequence, record) in records.iter().enumerate() {
            assert!(record.value.as_deref() == Some(&value(partition, sequence)[..]), "partition {partition} offset {sequence}");
        }
    }
    Some(is_lost)
}

/// Logs that share a flush, of which nothing but bytes was synced since zeros were written ahead of them.
#[test]
fn what_was_acknowledged_after_a_sync_outlives_the_filesystem() {
    if only_ottla("how logs are synced together") {
        return;
    }
    let _noisy = noisy();
    let ranges_synced = |broker: &Broker| {
        let series = r#"ottla_file_operation_duration_seconds_count{operation="sync",path="thread"}"#;
        crate::metrics::scrape(broker.metrics()).get(series) >= RANGES_MIN
    };
    let Some(is_lost) = loses(&[("flush.messages", "1")], ranges_synced) else { return };
    assert!(!is_lost, "acknowledged and lost");
    // What the kernel writes back in its own time is lost, or such a stop shows nothing.
    let appended =
        |broker: &Broker| crate::metrics::scrape(broker.metrics()).sum("ottla_file_operation_duration_seconds_count") >= 2.0 * RANGES_MIN;
    assert_eq!(loses(&[], appended), Some(true), "without a sync");
}
