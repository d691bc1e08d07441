//! What compaction costs those who produce meanwhile, on the same shard: the p99 of their requests is at most twice that without it.

use std::time::{Duration, Instant};

use super::{THEN, settings};
use crate::support::broker::{Broker, only_ottla};
use crate::support::raw::Connection;
use crate::support::records::Batch;
use crate::support::{quiet, topics};

const REQUESTS: usize = 4000;
const EVERY: Duration = Duration::from_millis(2);
/// Below this a p99 says more of the machine than of the broker.
const FLOOR: Duration = Duration::from_millis(2);
const DIRTY: &str = "dirty";

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
    let configs =
        [("cleanup.policy", "delete"), ("segment.bytes", "16777216"), ("min.cleanable.dirty.ratio", "0.0"), ("retention.ms", "-1")];
    topics::create(&mut connection, DIRTY, 1, &configs);
    // Hundreds of mebibytes of ever new keys: passes over them do not end while it is measured.
    for number in 0..300u64 {
        let batch = (0..50).fold(Batch::at(THEN), |batch, step| batch.keyed(format!("{number}/{step}"), Some(&[b'v'; 20_000])));
        topics::produce(&mut connection, DIRTY, 0, batch.encode());
    }
    produce_p99(&mut connection);
    let without = produce_p99(&mut connection);
    topics::alter_config(&mut connection, DIRTY, "cleanup.policy", "compact");
    let read = || crate::metrics::scrape(broker.metrics()).sum("ottla_compaction_read_bytes_total");
    let before = read();
    let with = produce_p99(&mut connection);
    let bytes = read() - before;
    println!("p99 {without:?} without compaction, {with:?} with it, which read {:.0} MB meanwhile", bytes / 1e6);
    assert!(bytes > 50e6, "compaction did next to nothing: {bytes} bytes");
    assert!(with <= 2 * without.max(FLOOR), "p99 {with:?} with compaction, {without:?} without");
    drop(connection);
    broker.stop();
}
