//! A thousand groups of three members: what they take of memory, and how long a restart takes. Behind `OTTLA_HEAVY`; prints its figures.

use std::time::{Duration, Instant};

use kafka_protocol::protocol::StrBytes;

use crate::support::broker::{Broker, Settings, only_ottla};
use crate::support::groups::{self, Joined, Patience};
use crate::support::process::resident_mib;
use crate::support::raw::Connection;
use crate::support::{heavy, quiet, topics};

const GROUPS: usize = 1000;
const MEMBERS: usize = 3;
const PARTITIONS: i32 = 12;
const TOPIC: &str = "shared";
/// Nobody is missed while this lasts.
const PATIENCE: Patience = Patience { session_ms: 1_800_000, rebalance_ms: 60_000 };

/// A group whose members have joined and committed all that is theirs.
struct Made {
    connections: Vec<Connection>,
    members: Vec<Joined>,
}

fn make(broker: &Broker, group: &str) -> Made {
    let mut connections: Vec<Connection> = (0..MEMBERS).map(|_| broker.connect()).collect();
    // The first is alone; when the others have come it joins again, and all are answered.
    let nobody = StrBytes::default();
    let first = groups::ask_to_join(&mut connections[0], group, &nobody, PATIENCE).expect("an id");
    groups::joined(&mut connections[0], group).expect("alone");
    for connection in &mut connections[1..] {
        groups::ask_to_join(connection, group, &nobody, PATIENCE).expect("an id");
    }
    // Both were given ids: the group waits for them, and for its first member.
    groups::ask_to_join(&mut connections[0], group, &first, PATIENCE).expect("asked");
    let members: Vec<Joined> = connections.iter_mut().map(|connection| groups::joined(connection, group).expect("joined")).collect();
    assert!(members.iter().all(|member| member.generation == 2), "{group}: {members:?}");
    for (connection, member) in connections.iter_mut().zip(&members) {
        groups::ask_for_share(connection, member, PARTITIONS).expect("asked");
    }
    for (connection, member) in connections.iter_mut().zip(&members) {
        let share = groups::share(connection).expect("a share");
        assert_eq!(share.len(), PARTITIONS as usize / MEMBERS, "{group}");
        for partition in share {
            groups::commit(connection, group, Some(member), TOPIC, partition, i64::from(partition) + 1).expect("committed");
        }
    }
    Made { connections, members }
}

fn name(number: usize) -> String {
    format!("group-{number}")
}

/// Every member lives on, and every commit is there.
fn check(broker: &Broker, all: &[Made]) {
    let mut connection = broker.connect();
    let want: Vec<i64> = (1..=i64::from(PARTITIONS)).collect();
    for (number, made) in all.iter().enumerate() {
        let group = name(number);
        groups::wait_for_coordinator(&mut connection, &group);
        assert_eq!(groups::committed(&mut connection, &group, TOPIC, PARTITIONS), want, "{group}");
        for member in &made.members {
            groups::beat(&mut connection, member).expect("it lives on");
        }
    }
}

#[test]
fn a_thousand_groups_of_three_members() {
    if !heavy() || only_ottla("memory and restarts are measured") {
        return;
    }
    let _quiet = quiet();
    let settings = Settings::new().with("group.initial.rebalance.delay.ms", 0).with("max.connections", 10_000);
    let mut broker = Broker::start(settings.shards(2));
    let mut connection = broker.connect();
    topics::create(&mut connection, TOPIC, PARTITIONS, &[]);
    groups::wait_for_coordinator(&mut connection, "group-0");
    std::thread::sleep(Duration::from_secs(1));
    let before = resident_mib(broker.pid());
    let began = Instant::now();
    let mut all: Vec<Made> = (0..GROUPS).map(|number| make(&broker, &name(number))).collect();
    let took = began.elapsed();
    let with_connections = resident_mib(broker.pid());
    all.iter_mut().for_each(|made| made.connections.clear());
    std::thread::sleep(Duration::from_secs(2));
    let without = resident_mib(broker.pid());
    println!("{GROUPS} groups of {MEMBERS} members with {PARTITIONS} offsets each, made in {took:?}");
    println!("resident: {before} MiB before, {with_connections} MiB with {} connections, {without} MiB without them", GROUPS * MEMBERS);
    check(&broker, &all);
    broker.stop();
    let began = Instant::now();
    broker.launch();
    let listening = began.elapsed();
    check(&broker, &all);
    println!("after a stop: listening after {listening:?}, all groups asked after {:?}", began.elapsed());
    println!("resident after the restart: {} MiB", resident_mib(broker.pid()));
    broker.kill();
    let began = Instant::now();
    broker.launch();
    let listening = began.elapsed();
    check(&broker, &all);
    println!("after a kill: listening after {listening:?}, all groups asked after {:?}", began.elapsed());
    println!("resident after the restart: {} MiB", resident_mib(broker.pid()));
}
