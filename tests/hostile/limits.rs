//! How many connections, from where, and for how long.

use std::time::{Duration, Instant};

use crate::support::broker::{Broker, Settings, only_ottla};
use crate::support::raw::{Connection, NoAnswer};
use crate::support::records::Batch;
use crate::support::topics::{self, Ask, FETCH, fetch_request};
use crate::support::{eventually, noisy};

const SOON: Duration = Duration::from_secs(30);

fn alive(broker: &Broker) -> Connection {
    let mut connection = broker.connect();
    connection.try_metadata().expect("served");
    connection
}

/// The limit is the broker's, however the kernel spreads connections over its shards.
#[test]
fn an_address_has_so_many_connections_and_no_more() {
    if only_ottla("Kafka's own connections to itself count there") {
        return;
    }
    let _noisy = noisy();
    for (key, value) in [("max.connections.per.ip", "6"), ("max.connections.per.ip.overrides", "10.0.0.1:1,localhost:6")] {
        let broker = Broker::start(Settings::new().shards(4).with(key, value));
        let mut open: Vec<Connection> = (0..6).map(|_| alive(&broker)).collect();
        for _ in 0..5 {
            let mut more = broker.connect();
            assert!(matches!(more.try_metadata(), Err(NoAnswer::Closed | NoAnswer::Io(_))), "{key}: a seventh connection");
        }
        drop(open.pop());
        open.push(eventually("a place is free again", SOON, || {
            let mut next = broker.connect();
            next.try_metadata().is_ok().then_some(next)
        }));
        for connection in &mut open {
            connection.try_metadata().expect("those that were there are served");
        }
    }
}

#[test]
fn one_connection_too_many_for_the_broker_waits_for_a_place() {
    if only_ottla("Kafka's own connections to itself count there") {
        return;
    }
    let _noisy = noisy();
    let broker = Broker::start(Settings::new().shards(4).with("max.connections", 6));
    let mut open: Vec<Connection> = (0..6).map(|_| alive(&broker)).collect();
    let mut waiting = broker.connect();
    waiting.set_answer_deadline(Duration::from_millis(400));
    assert!(matches!(waiting.try_metadata(), Err(NoAnswer::Silent)), "a seventh connection");
    for connection in &mut open {
        connection.try_metadata().expect("those that were there are served");
    }
    drop(open.pop());
    waiting.set_answer_deadline(SOON);
    assert!(waiting.receive_frame().is_ok(), "the request that waited is answered");
}

#[test]
fn silence_closes_a_connection_and_work_keeps_it() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new().shards(2).with("connections.max.idle.ms", 5000));
    let (mut silent, mut busy) = (alive(&broker), alive(&broker));
    silent.set_answer_deadline(Duration::from_millis(50));
    let began = Instant::now();
    let closed = loop {
        busy.try_metadata().expect("a busy connection stays");
        match silent.receive_frame() {
            Err(NoAnswer::Silent) => {}
            Err(NoAnswer::Closed) => break began.elapsed(),
            other => panic!("a silent connection hears {other:?}"),
        }
        assert!(began.elapsed() < Duration::from_secs(60), "still open");
    };
    assert!(closed >= Duration::from_millis(4500), "closed after {closed:?}");
    busy.try_metadata().expect("a busy connection stays");
}

/// A request under way is no excuse for silence: neither an answer that nobody reads, nor a fetch that has nothing to wait for so long.
#[test]
fn a_peer_that_takes_nothing_is_closed_whatever_it_waits_for() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new().shards(2).with("connections.max.idle.ms", 4000));
    let mut good = alive(&broker);
    topics::create(&mut good, "large", 1, &[]);
    for _ in 0..10 {
        topics::produce(&mut good, "large", 0, Batch::at(1_700_000_000_000).value(vec![b'v'; 900 << 10]).encode());
    }
    let (mut deaf, mut patient) = (alive(&broker), alive(&broker));
    const ANSWERS: usize = 30;
    for _ in 0..ANSWERS {
        deaf.send(FETCH, &fetch_request("large", &[Ask { partition: 0, offset: 0, bytes_max: 8 << 20 }], 0, 1));
    }
    patient.send(FETCH, &fetch_request("large", &[Ask { partition: 0, offset: 10, bytes_max: 8 << 20 }], 120_000, 1));
    patient.set_answer_deadline(Duration::from_secs(60));
    let began = Instant::now();
    assert!(matches!(patient.receive_frame(), Err(NoAnswer::Closed)), "a fetch that waits");
    assert!(began.elapsed() >= Duration::from_millis(3500), "closed after {:?}", began.elapsed());
    std::thread::sleep(Duration::from_secs(8).saturating_sub(began.elapsed()));
    deaf.set_answer_deadline(SOON);
    let whole = (0..ANSWERS).take_while(|_| deaf.receive_frame().is_ok()).count();
    assert!(whole < ANSWERS, "what was never read was kept for good");
}

/// As in Kafka, connections that come faster than allowed are not refused: each waits for its turn.
#[test]
fn connections_that_come_too_fast_wait_and_are_all_served() {
    if only_ottla("Kafka's own connections to itself count there") {
        return;
    }
    let _noisy = noisy();
    let settings = Settings::new().with("max.connection.creation.rate", 10).with("quota.window.num", 2);
    let broker = Broker::start(settings.shards(2));
    let began = Instant::now();
    let mut open: Vec<Connection> = (0..30).map(|_| broker.connect()).collect();
    let mut served = Vec::new();
    for connection in &mut open {
        connection.set_answer_deadline(SOON);
        connection.try_metadata().expect("served in its turn");
        served.push(began.elapsed());
    }
    // A window's worth passes at once; the rest comes at ten a second, and from each shard's listener on its own.
    assert!(served[29] >= Duration::from_secs(1), "{served:?}");
    // Nothing is held back for good: after a pause the next is served at once, on a machine that has time for it.
    std::thread::sleep(Duration::from_secs(3));
    eventually("a connection after a pause is served at once", SOON, || {
        let began = Instant::now();
        alive(&broker);
        let at_once = began.elapsed() < Duration::from_millis(500);
        std::thread::sleep(Duration::from_millis(200));
        at_once.then_some(())
    });
}
