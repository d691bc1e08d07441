//! A thousand parked fetches cost nothing while nothing happens.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::threads::{context_switches, switches_between};
use crate::support::broker::{Broker, Settings, only_ottla};
use crate::support::quiet;
use crate::support::raw::Connection;
use crate::support::records::Batch;
use crate::support::topics::{self, Ask, FETCH, fetch_request};

const PARKED: i32 = 1000;
const WATCHED: Duration = Duration::from_secs(10);

/// Two thousand sockets and more between this process and the broker, which inherits the limit.
fn raise_descriptor_limit() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(8192)), hard).unwrap();
}

#[test]
fn a_thousand_parked_fetches_cost_fewer_than_fifty_switches_a_second() {
    if only_ottla("the cost of waiting") {
        return;
    }
    let _quiet = quiet();
    raise_descriptor_limit();
    let broker = Broker::start(Settings::new().shards(2));
    let mut connection = broker.connect();
    topics::create(&mut connection, "parked", 16, &[]);
    let mut parked: Vec<Connection> = (0..PARKED).map(|_| broker.connect()).collect();
    for (index, client) in parked.iter_mut().enumerate() {
        let ask = Ask { partition: index as i32 % 16, offset: 0, bytes_max: 1 << 20 };
        client.send(FETCH, &fetch_request("parked", &[ask], 30_000, 1));
    }
    // Let the accepting and parking settle.
    std::thread::sleep(Duration::from_secs(2));
    let before = context_switches(broker.pid());
    std::thread::sleep(WATCHED);
    let rate = switches_between(&before, &context_switches(broker.pid())) as f64 / WATCHED.as_secs_f64();
    println!("{rate:.1} context switches a second");
    assert!(rate < 50.0, "{rate:.1} context switches a second");
    // They were waiting indeed: one batch per partition wakes them all.
    for partition in 0..16 {
        topics::produce(&mut connection, "parked", partition, Batch::at(1_700_000_000_000).value("x").encode());
    }
    for client in &mut parked {
        client.set_answer_deadline(Duration::from_secs(10));
        assert!(client.receive_frame().expect("an answer").len() > 61);
    }
}
