//! kill -9 while compacted segments take their place, round after round on the same directory: of each key the last acknowledged value is
//! there, or a later one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kafka_protocol::messages::ProduceRequest;

use super::{THEN, settings};
use crate::crash::kill::Dice;
use crate::support::broker::{Broker, Kind, kind};
use crate::support::raw::Connection;
use crate::support::records::Batch;
use crate::support::topics::{self, PRODUCE};
use crate::support::{dump, noisy};

const TOPIC: &str = "killed";
const PARTITIONS: i32 = 3;
const KEYS: u64 = 25;

/// By partition and key, the number last acknowledged.
type Acknowledged = Arc<Mutex<BTreeMap<(i32, u64), u64>>>;

/// Overwrites keys until the broker is gone, or `stop`. Numbers rise, as the only writer of its partition.
fn overwrite(mut connection: Connection, partition: i32, first: u64, acknowledged: Acknowledged, stop: Arc<AtomicBool>) -> u64 {
    let mut number = first;
    while !stop.load(Ordering::Relaxed) {
        let mut batch = Batch::at(THEN);
        let mut keys = Vec::new();
        for _ in 0..6 {
            let key = number * 7 % KEYS;
            let mut value = format!("{number} ").into_bytes();
            value.resize(3000, b'v');
            batch = batch.keyed(key.to_string(), Some(&value));
            keys.push((key, number));
            number += 1;
        }
        let request = topics::produce_request(TOPIC, -1, &[(partition, batch.encode())]);
        let Ok(answer) = connection.try_call::<ProduceRequest>(PRODUCE, &request) else { break };
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        let mut acknowledged = acknowledged.lock().unwrap();
        acknowledged.extend(keys.into_iter().map(|(key, number)| ((partition, key), number)));
    }
    number
}

#[test]
fn nothing_that_counts_is_lost_by_kill_nine_during_compaction() {
    let _noisy = noisy();
    let rounds = if kind() == Kind::Ottla { 15 } else { 2 };
    let mut dice = Dice::new();
    let mut broker = Broker::start(settings().with("log.cleaner.backoff.ms", 1).shards(2));
    let configs = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("file.delete.delay.ms", "20"),
    ];
    topics::create(&mut broker.connect(), TOPIC, PARTITIONS, &configs);
    let acknowledged = Acknowledged::default();
    let mut next = vec![0; PARTITIONS as usize];
    let mut dropped = 0;
    for round in 0..rounds {
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..PARTITIONS)
            .map(|partition| {
                let (connection, first) = (broker.connect(), next[partition as usize]);
                let (acknowledged, stop) = (acknowledged.clone(), stop.clone());
                std::thread::spawn(move || overwrite(connection, partition, first, acknowledged, stop))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300 + dice.below(1200)));
        broker.kill();
        stop.store(true, Ordering::Relaxed);
        for (writer, next) in writers.into_iter().zip(&mut next) {
            *next = writer.join().expect("a writer");
        }
        if kind() == Kind::Ottla && dice.below(3) == 0 {
            broker.launch_and_kill(Duration::from_millis(dice.below(40)));
        }
        broker.launch();
        let mut connection = broker.connect();
        topics::wait_for_leaders(&mut connection, TOPIC, PARTITIONS);
        let acknowledged = acknowledged.lock().unwrap();
        for partition in 0..PARTITIONS {
            let records = topics::read_from(&mut connection, TOPIC, partition, 0);
            let end = topics::offset_at(&mut connection, TOPIC, partition, -1);
            dropped += end - records.len() as i64;
            let mut seen = BTreeMap::new();
            for record in records {
                let (key, value) = (record.key.expect("a key"), record.value.expect("a value"));
                let number: u64 = String::from_utf8_lossy(&value).split(' ').next().unwrap().parse().expect("a value that was sent");
                let key: u64 = String::from_utf8_lossy(&key).parse().expect("a key that was sent");
                assert_eq!(number * 7 % KEYS, key, "round {round}: offset {}", record.offset);
                assert!(seen.insert(key, number).is_none_or(|before| before < number), "round {round}: order of key {key}");
            }
            for ((_, key), number) in acknowledged.range((partition, 0)..(partition + 1, 0)) {
                assert!(
                    seen.get(key).is_some_and(|seen| seen >= number),
                    "round {round}: {number} of key {key} was acknowledged: {seen:?}"
                );
            }
        }
    }
    assert!(dropped > 0, "nothing was compacted, so nothing is tested");
    broker.stop();
    dump::check_compacted(&broker.log_dir());
}
