//! A disk whose calls fail, and one that is not there any more.

use std::time::Duration;

use super::medium::Medium;
use crate::support::broker::{Broker, Settings, only_ottla, temp_dir};
use crate::support::raw::Connection;
use crate::support::records::Batch;
use crate::support::{eventually, noisy, topics};

const THEN: i64 = 1_700_000_000_000;
const KAFKA_STORAGE_ERROR: i16 = 56;
const SOON: Duration = Duration::from_secs(20);
const TOPIC: &str = "spread";
const PARTITIONS: i32 = 8;

fn batch() -> bytes::Bytes {
    Batch::at(THEN).value("v").encode()
}

/// A broker on a healthy directory and another, with a topic on both and a record in each partition; and the partitions of the other.
fn start(healthy: &std::path::Path, other: &std::path::Path, configs: &[(&str, &str)]) -> (Broker, Connection, Vec<i32>) {
    let dirs = format!("{},{}", healthy.display(), other.display());
    let broker = Broker::start(Settings::new().shards(2).with("log.dirs", dirs).with("ottla.disk.reserve.bytes", 0));
    let mut connection = broker.connect();
    topics::create(&mut connection, TOPIC, PARTITIONS, configs);
    let lost: Vec<i32> = (0..PARTITIONS).filter(|partition| other.join(format!("{TOPIC}-{partition}")).exists()).collect();
    assert!(!lost.is_empty() && lost.len() < PARTITIONS as usize, "both directories are used: {lost:?}");
    for partition in 0..PARTITIONS {
        topics::produce(&mut connection, TOPIC, partition, batch());
    }
    (broker, connection, lost)
}

/// The partitions of the lost directory are refused, those of the other served; the broker says so once.
fn expect_half(broker: &Broker, connection: &mut Connection, lost: &[i32]) {
    eventually("the whole directory is offline", SOON, || {
        let mut refused = lost.iter().map(|partition| topics::try_produce(connection, TOPIC, *partition, batch()).error_code);
        refused.all(|code| code == KAFKA_STORAGE_ERROR).then_some(())
    });
    for partition in (0..PARTITIONS).filter(|partition| !lost.contains(partition)) {
        topics::produce(connection, TOPIC, partition, batch());
    }
    for partition in lost {
        assert_eq!(topics::fetch(connection, TOPIC, *partition, 0).error_code, KAFKA_STORAGE_ERROR);
    }
    // New partitions go where there is a disk.
    topics::create(connection, "later", 4, &[]);
    for partition in 0..4 {
        topics::produce(connection, "later", partition, batch());
    }
    let said = broker.output();
    assert_eq!(said.matches("is offline").count(), 1, "{said}");
}

fn expect_all(broker: &Broker) {
    let mut connection = broker.connect();
    for partition in 0..PARTITIONS {
        let records = topics::read_from(&mut connection, TOPIC, partition, 0);
        assert!(!records.is_empty(), "partition {partition}: acknowledged and lost");
        topics::produce(&mut connection, TOPIC, partition, batch());
    }
}

#[test]
fn a_log_directory_that_vanishes_is_noticed_and_the_others_go_on() {
    if only_ottla("how soon a directory is missed") {
        return;
    }
    let _noisy = noisy();
    let (healthy, other) = (temp_dir(), temp_dir());
    let (there, away) = (other.path().join("log"), other.path().join("away"));
    let (mut broker, mut connection, lost) = start(healthy.path(), &there, &[]);
    std::fs::rename(&there, &away).unwrap();
    expect_half(&broker, &mut connection, &lost);
    broker.kill();
    std::fs::rename(&away, &there).unwrap();
    broker.launch();
    expect_all(&broker);
}

#[test]
fn failing_writes_take_their_directory_offline_and_the_others_go_on() {
    failing("failing writes", &[]);
}

#[test]
fn failing_flushes_take_their_directory_offline_and_the_others_go_on() {
    failing("failing flushes", &[("flush.messages", "1")]);
}

fn failing(what: &str, configs: &[(&str, &str)]) {
    if only_ottla(what) {
        return;
    }
    let _noisy = noisy();
    let Some(mut medium) = Medium::ext4(64) else { return };
    let healthy = temp_dir();
    let (mut broker, mut connection, lost) = start(healthy.path(), &medium.log_dir(), configs);
    if let Err(why) = medium.break_down() {
        println!("not run, as this filesystem cannot be broken: {why}");
        return;
    }
    expect_half(&broker, &mut connection, &lost);
    broker.kill();
    medium.repair();
    broker.launch();
    expect_all(&broker);
}
