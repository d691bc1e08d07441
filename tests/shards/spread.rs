//! Sixteen partitions under load: each of two shards does its part.

use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::threads::cpu_ns;
use crate::support::broker::{Broker, Settings, only_ottla};
use crate::support::quiet;
use crate::support::records::Batch;
use crate::support::topics::{self, Ask, FETCH, PRODUCE, fetch_request, produce_request};

const PARTITIONS: i32 = 16;
/// The kernel spreads connections by a hash of their ports; with this many the odds of a lopsided draw are small.
const CONNECTIONS: i32 = 128;
/// Clients that leave the cores half idle: where they do not, a shard's time is what they leave it, and that of the other the rest.
const PAUSE: Duration = Duration::from_millis(20);

/// One client of one partition: produces and reads back until the time is up; gives how often.
fn client(broker: &Broker, partition: i32, until: Instant) -> JoinHandle<u64> {
    let mut connection = broker.connect();
    std::thread::spawn(move || {
        let batch: Bytes = Batch::at(1_700_000_000_000).value(vec![b'v'; 4000]).encode();
        let produce = produce_request("spread", -1, &[(partition, batch)]);
        let mut rounds = 0;
        while Instant::now() < until {
            let answer = connection.call(PRODUCE, &produce);
            let part = &answer.responses[0].partition_responses[0];
            assert_eq!(part.error_code, 0, "{:?}", part.error_message);
            let ask = Ask { partition, offset: part.base_offset, bytes_max: 64 << 10 };
            connection.call(FETCH, &fetch_request("spread", &[ask], 0, 1));
            rounds += 1;
            std::thread::sleep(PAUSE);
        }
        rounds
    })
}

#[test]
fn both_shards_do_at_least_35_percent_of_the_work() {
    if only_ottla("shards") {
        return;
    }
    let _quiet = quiet();
    let broker = Broker::start(Settings::new().shards(2));
    topics::create(&mut broker.connect(), "spread", PARTITIONS, &[]);
    let before = cpu_ns(broker.pid());
    let until = Instant::now() + Duration::from_secs(5);
    let clients: Vec<_> = (0..CONNECTIONS).map(|index| client(&broker, index % PARTITIONS, until)).collect();
    let rounds: u64 = clients.into_iter().map(|client| client.join().expect("a client")).sum();
    let after = cpu_ns(broker.pid());
    let work: Vec<f64> = (0..2)
        .map(|shard| {
            let name = format!("ottla-shard-{shard}");
            let ns = after.get(&name).unwrap_or_else(|| panic!("no thread {name}: {:?}", after.keys()));
            (ns - before.get(&name).copied().unwrap_or(0)) as f64
        })
        .collect();
    let total: f64 = work.iter().sum();
    println!("{rounds} rounds; shares {:.0} % and {:.0} %", 100.0 * work[0] / total, 100.0 * work[1] / total);
    assert!(rounds > 100, "{rounds} rounds");
    assert!(work.iter().all(|part| *part >= 0.35 * total), "nanoseconds on a CPU per shard: {work:?}");
}
