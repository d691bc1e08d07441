//! Connections that announce much and send little: memory follows what has arrived, and others are served.

use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};

use crate::support::broker::{Broker, Settings, only_ottla};
use crate::support::process::resident_mib;
use crate::support::raw::Connection;
use crate::support::records::Batch;
use crate::support::{noisy, topics};

const THEN: i64 = 1_700_000_000_000;
const ANNOUNCED: i32 = 99 << 20;

/// Two hundred clients announce 99 MiB each, and send a little: that is what the broker may hold of it.
#[test]
fn announced_sizes_take_no_memory() {
    if only_ottla("Kafka reserves what a frame announces") {
        return;
    }
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let mut good = broker.connect();
    topics::create(&mut good, "kept", 1, &[]);
    let before = resident_mib(broker.pid());
    let mut announcing: Vec<Connection> = Vec::new();
    for _ in 0..200 {
        let mut connection = broker.connect();
        let mut front = BytesMut::new();
        front.put_i32(ANNOUNCED);
        // A Produce header, and the front of its body.
        front.put_slice(&[0, 0, 0, 9, 0, 0, 0, 1, 0, 3, b'r', b'a', b'w', 0]);
        front.put_bytes(0, 10_000);
        connection.send_bytes(&front).expect("the broker reads");
        announcing.push(connection);
    }
    for _ in 0..20 {
        topics::produce(&mut good, "kept", 0, Batch::at(THEN).value("x").encode());
    }
    let grown = resident_mib(broker.pid()).saturating_sub(before);
    assert!(grown < 200, "{grown} MiB more for 2 MB that arrived");
    drop(announcing);
    assert_eq!(topics::read_from(&mut good, "kept", 0, 0).len(), 20);
}

/// Clients that send a byte now and then hold a connection each, and nothing else.
#[test]
fn slow_clients_do_not_slow_others() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let mut good = broker.connect();
    topics::create(&mut good, "kept", 1, &[]);
    let mut slow: Vec<Connection> = (0..300).map(|_| broker.connect()).collect();
    let began = Instant::now();
    for byte in [0, 0, 1, 0, 0, 3, 0, 4] {
        for connection in &mut slow {
            connection.send_bytes(&[byte]).expect("an open connection");
        }
        topics::produce(&mut good, "kept", 0, Batch::at(THEN).value("x").encode());
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?} for eight round trips", began.elapsed());
    // Half a frame each, and away.
    drop(slow);
    assert_eq!(topics::read_from(&mut good, "kept", 0, 0).len(), 8);
}
