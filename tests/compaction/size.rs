//! A topic overwritten for ever over a fixed set of keys stays within a constant size.

use std::path::Path;

use super::{SOON, THEN, settings};
use crate::support::broker::{Broker, only_ottla};
use crate::support::records::Batch;
use crate::support::{dump, eventually, noisy, topics};

const TOPIC: &str = "overwritten";
const KEYS: u64 = 40;
const VALUE: usize = 10 << 10;
const SEGMENT: u64 = 1 << 20;
/// Many times the size that it may take.
const TOTAL: u64 = 120 << 20;
/// Between two looks at the size: a slow machine's cleaner is waited for, so that its rules are tested and not its speed.
const LOOK_EVERY: u64 = 1 << 20;

/// Bytes of the log, and of the files that wait to be unlinked.
fn sizes(dir: &Path) -> (u64, u64) {
    let (mut live, mut deleted) = (0, 0);
    for entry in std::fs::read_dir(dir).unwrap().filter_map(Result::ok) {
        let name = entry.file_name().into_string().unwrap();
        // It may be gone by now.
        let len = entry.metadata().map_or(0, |metadata| metadata.len());
        if name.ends_with(".log") {
            live += len;
        } else if name.ends_with(".deleted") {
            deleted += len;
        }
    }
    (live, deleted)
}

#[test]
fn a_topic_overwritten_for_ever_stays_within_a_constant_size() {
    if only_ottla("how fast the cleaner is") {
        return;
    }
    let _noisy = noisy();
    let mut broker = Broker::start(settings().with("ottla.metrics.listener", "127.0.0.1:0").shards(1));
    let mut connection = broker.connect();
    let configs =
        [("cleanup.policy", "compact"), ("segment.bytes", "1048576"), ("min.cleanable.dirty.ratio", "0.5"), ("file.delete.delay.ms", "50")];
    topics::create(&mut connection, TOPIC, 1, &configs);
    let dir = broker.partition_dir(TOPIC, 0);
    let (mut written, mut looked, mut number, mut largest) = (0, 0, 0u64, 0);
    let mut latest = vec![Vec::new(); KEYS as usize];
    while written < TOTAL {
        let mut batch = Batch::at(THEN);
        for _ in 0..8 {
            let key = number * 31 % KEYS;
            let mut value = format!("{number} ").into_bytes();
            value.resize(VALUE, b'v');
            batch = batch.keyed(format!("key {key}"), Some(&value));
            latest[key as usize] = value;
            number += 1;
        }
        let bytes = batch.encode();
        written += bytes.len() as u64;
        topics::produce(&mut connection, TOPIC, 0, bytes);
        if written - looked >= LOOK_EVERY {
            // Half of it may be dirty, and more comes while a pass runs.
            looked = written;
            let (live, _) = sizes(&dir);
            largest = largest.max(live);
            if live > 12 * SEGMENT {
                eventually("the cleaner keeps up", SOON, || (sizes(&dir).0 <= 6 * SEGMENT).then_some(()));
            }
        }
    }
    eventually("all that can be is compacted", SOON, || (sizes(&dir).0 <= 3 * SEGMENT).then_some(()));
    eventually("old files go", SOON, || (sizes(&dir).1 == 0).then_some(()));
    assert!(largest <= 16 * SEGMENT, "{largest} bytes of a log of {KEYS} keys");
    let records = topics::read_from(&mut connection, TOPIC, 0, 0);
    let read: std::collections::BTreeMap<_, _> = records.into_iter().map(|record| (record.key.unwrap(), record.value.unwrap())).collect();
    assert_eq!(read.len() as u64, KEYS);
    for (key, value) in latest.iter().enumerate() {
        assert_eq!(read.get(format!("key {key}").as_bytes()), Some(value), "key {key}");
    }
    let metrics = crate::metrics::scrape(broker.metrics());
    assert!(metrics.sum("ottla_compaction_passes_total") > 3.0);
    assert!(metrics.sum("ottla_compaction_dropped_records_total") > (number - 4 * KEYS) as f64 * 0.8);
    assert!(metrics.sum("ottla_compaction_read_bytes_total") > TOTAL as f64);
    assert_eq!(metrics.sum("ottla_compaction_uncleanable_partitions"), 0.0);
    drop(connection);
    broker.stop();
    dump::check_compacted(&broker.log_dir());
}
