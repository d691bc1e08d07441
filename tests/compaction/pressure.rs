//! What compaction costs those who produce meanwhile, on the same shard: the p99 of their requests is at most twice that without it.

use std::time::{Duration, Instant};

use super::{THEN, settings};
use crate::support::broker::{Broker, only_ottla};
use crate::support::raw::Connection;
use crate::support::records::Batch;
use crate::support::{quiet, topics};

/// Of one series, and the series tried: what else the machine does can only add time, so the best counts.
const REQUESTS: usize = 1500;
const SERIES: usize = 4;
const EVERY: Duration = Duration::from_millis(2);
/// Below this a p99 says more of the machine than of the broker.
const FLOOR: Duration = Duration::from_millis(2);
/// Batches of about a megabyte that a series has compacted meanwhile: more than is read while it lasts.
const BATCHES: u64 = 150;

/// The p99 of requests sent every so often, from their intended send on.
fn produce_p99(connection: &mut Connection) -> Duration {
    let batch = Batch::at(THEN).keyed("key", Some(&[b'v'; 200])).encode();
    let mut latencies = Vec::with_capacity(REQUESTS);
    let began = Instant::now();
    for number in 0..REQUESTS {
        let intended = began + EVERY * number as u32;
        std::thread::sleep(intended.saturating_duration_since(Instant::now()));
        topics::produce(connection, "measured", 0, batch.clone());
        latencies.push(intended.elapsed());
    }
    latencies.sort();
    latencies[REQUESTS * 99 / 100]
}

#[test]
fn producers_hardly_notice_compaction() {
    if only_ottla("what it costs beside Ottla's own work") {
        return;
    }
    let _quiet = quiet();
    let mut broker = Broker::start(settings().with("ottla.metrics.listener", "127.0.0.1:0").with("log.cleaner.backoff.ms", 1).shards(1));
    let mut connection = broker.connect();
    topics::create(&mut connection, "measured", 1, &[("retention.ms", "-1")]);
    produce_p99(&mut connection);
    let read = || crate::metrics::scrape(broker.metrics()).sum("ottla_compaction_read_bytes_total");
    let held = (0..SERIES).any(|series| {
        let dirty = format!("dirty-{series}");
        write_dirt(&mut connection, &dirty);
        let without = produce_p99(&mut connection);
        topics::alter_config(&mut connection, &dirty, "cleanup.policy", "compact");
        let before = read();
        let with = produce_p99(&mut connection);
        let bytes = read() - before;
        println!("series {series}: p99 {without:?} without compaction, {with:?} with it, which read {:.0} MB meanwhile", bytes / 1e6);
        assert!(bytes > 10e6, "compaction did next to nothing: {bytes} bytes");
        topics::delete(&mut connection, &dirty);
        with <= 2 * without.max(FLOOR)
    });
    assert!(held, "in each of {SERIES} series the p99 with compaction was more than twice that without");
    drop(connection);
    broker.stop();
}

/// A topic of ever new keys that is not compacted yet.
fn write_dirt(connection: &mut Connection, topic: &str) {
    let configs =
        [("cleanup.policy", "delete"), ("segment.bytes", "16777216"), ("min.cleanable.dirty.ratio", "0.0"), ("retention.ms", "-1")];
    topics::create(connection, topic, 1, &configs);
    for number in 0..BATCHES {
        let batch = (0..50).fold(Batch::at(THEN), |batch, step| batch.keyed(format!("{number}/{step}"), Some(&[b'v'; 20_000])));
        topics::produce(connection, topic, 0, batch.encode());
    }
}
