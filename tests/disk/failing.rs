//! A disk whose calls fail, and one that is not there any more.

use std::time::Duration;

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};

use super::medium::Medium;
use crate::support::broker::{Broker, Settings, only_ottla, temp_dir};
use crate::support::raw::Connection;
use crate::support::records::Batch;
use crate::support::{eventually, noisy, topics};

const THEN: i64 = 1_700_000_000_000;
const KAFKA_STORAGE_ERROR: i16 = 56;
const SOON: Duration = Duration::from_secs(60);
const TOPIC: &str = "spread";
const PARTITIONS: i32 = 8;

fn batch() -> bytes::Bytes {
    Batch::at(THEN).value("v").encode()
}

/// A broker on a healthy directory and another, with a topic on both and a record in each partition; and the partitions of the other.
fn start(healthy: &std::path::Path, other: &std::path::Path, configs: &[(&str, &str)]) -> (Broker, Connection, Vec<i32>) {
    let dirs = format!("{},{}", healthy.display(), other.display());
    let settings = Settings::new().with("log.dirs", dirs).with("ottla.disk.reserve.bytes", 0).with("log.cleaner.backoff.ms", 50);
    let broker = Broker::start(settings.shards(2));
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
    // Topics come and go as before.
    topics::delete(connection, "later");
    topics::create(connection, "later", 1, &[]);
    topics::produce(connection, "later", 0, batch());
    let said = broker.output();
    assert_eq!(said.matches("is offline").count(), 1, "{said}");
}

/// Logs in the other directory are compacted as before.
fn expect_compaction(healthy: &std::path::Path, connection: &mut Connection) {
    let configs = [("cleanup.policy", "compact"), ("segment.ms", "1000000"), ("min.cleanable.dirty.ratio", "0.001")];
    topics::create(connection, "compacted", 1, &configs);
    for segment in 0..3 {
        topics::produce(connection, "compacted", 0, Batch::at(THEN + segment * 2_000_000).keyed("key", Some(b"value")).encode());
    }
    eventually("a pass of compaction", SOON, || {
        let checkpoint = std::fs::read_to_string(healthy.join("cleaner-offset-checkpoint")).ok()?;
        checkpoint.lines().any(|line| line.starts_with("compacted 0 ")).then_some(())
    });
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
    expect_compaction(healthy.path(), &mut connection);
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

/// As Kafka: without the directory that holds the metadata, or without any, the broker ends with a sentence and a status that is not zero.
/// What was acknowledged is there when the disk is.
#[test]
fn without_its_last_directory_the_broker_ends() {
    if only_ottla("where the metadata is") {
        return;
    }
    let _noisy = noisy();
    for (what, others) in [("no log directory is left", 0), ("it holds the metadata", 1)] {
        let first = temp_dir();
        let (there, away) = (first.path().join("log"), first.path().join("away"));
        let other = temp_dir();
        let dirs: Vec<String> =
            [there.clone(), other.path().join("log")].iter().take(1 + others).map(|dir| dir.display().to_string()).collect();
        let settings = Settings::new().shards(2).with("log.dirs", dirs.join(",")).with("ottla.disk.reserve.bytes", 0);
        let mut broker = Broker::start(settings);
        let mut connection = broker.connect();
        topics::create(&mut connection, TOPIC, PARTITIONS, &[]);
        for partition in 0..PARTITIONS {
            topics::produce(&mut connection, TOPIC, partition, batch());
        }
        std::fs::rename(&there, &away).unwrap();
        let (status, said) = broker.ended(SOON);
        assert!(status.code().is_some_and(|code| code != 0), "{status}");
        let last = said.lines().last().unwrap_or_default();
        assert!(last.starts_with("log directory ") && last.contains(what) && last.ends_with("so the broker stops"), "{said}");
        std::fs::rename(&away, &there).unwrap();
        broker.launch();
        expect_all(&broker);
    }
}

/// The same for writes that fail.
#[test]
fn a_failed_write_in_its_only_directory_ends_the_broker() {
    if only_ottla("what a failed write is answered with") {
        return;
    }
    let _noisy = noisy();
    let Some(mut medium) = Medium::ext4(64) else { return };
    let mut broker = Broker::start(Settings::new().with("log.dirs", medium.log_dir().display()).with("ottla.disk.reserve.bytes", 0));
    let mut connection = broker.connect();
    topics::create(&mut connection, TOPIC, PARTITIONS, &[]);
    for partition in 0..PARTITIONS {
        topics::produce(&mut connection, TOPIC, partition, batch());
    }
    if let Err(why) = medium.break_down() {
        println!("not run, as this filesystem cannot be broken: {why}");
        return;
    }
    // Answered with the error, or not at all.
    let _sent = connection.send_frame(&crate::support::raw::request_frame(
        topics::PRODUCE,
        &topics::produce_request(TOPIC, -1, &[(0, batch())]),
        7,
        "raw",
    ));
    let (status, said) = broker.ended(SOON);
    assert!(status.code().is_some_and(|code| code != 0), "{status}");
    assert!(said.contains("no log directory is left, so the broker stops"), "{said}");
    medium.repair();
    broker.launch();
    expect_all(&broker);
}

#[test]
fn a_checkpoint_that_fails_is_that_of_its_directory() {
    if only_ottla("when checkpoints are written") {
        return;
    }
    let _noisy = noisy();
    let (healthy, other) = (temp_dir(), temp_dir());
    let (there, away) = (other.path().join("log"), other.path().join("away"));
    let (_broker, mut connection, lost) = start(healthy.path(), &there, &[]);
    std::fs::write(&away, "no directory").unwrap();
    exchange(&there, &away);
    let parts = (0..PARTITIONS).map(|partition| DeleteRecordsPartition::default().with_partition_index(partition).with_offset(1));
    let topic = DeleteRecordsTopic::default().with_name(topics::name(TOPIC)).with_partitions(parts.collect());
    let answer = connection.call(2, &DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000));
    for line in &answer.topics[0].partitions {
        let code = if lost.contains(&line.partition_index) { KAFKA_STORAGE_ERROR } else { 0 };
        assert_eq!(line.error_code, code, "partition {}", line.partition_index);
    }
}

/// Puts one in the place of the other at once, so that nobody finds neither.
fn exchange(one: &std::path::Path, other: &std::path::Path) {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).unwrap();
}

#[test]
fn a_creation_that_fails_goes_on_in_another_directory() {
    if only_ottla("where new partitions are put") {
        return;
    }
    let _noisy = noisy();
    let (healthy, other) = (temp_dir(), temp_dir());
    let (there, away) = (other.path().join("log"), other.path().join("away"));
    let (mut broker, mut connection, lost) = start(healthy.path(), &there, &[]);
    // Whoever asks how much is free is told; nothing can be created.
    std::fs::write(&away, "no directory").unwrap();
    exchange(&there, &away);
    topics::create(&mut connection, "moved", 4, &[]);
    for partition in 0..4 {
        topics::produce(&mut connection, "moved", partition, batch());
    }
    expect_half(&broker, &mut connection, &lost);
    broker.kill();
    exchange(&there, &away);
    broker.launch();
    expect_all(&broker);
    let mut connection = broker.connect();
    for partition in 0..4 {
        assert_eq!(topics::produce(&mut connection, "moved", partition, batch()), 1);
    }
}

#[test]
fn a_damaged_log_is_offline_and_the_others_are_served() {
    if only_ottla("Kafka gives up the directory, and with the only one the start") {
        return;
    }
    let _noisy = noisy();
    let mut broker = Broker::start(Settings::new().shards(2));
    let mut connection = broker.connect();
    topics::create(&mut connection, TOPIC, PARTITIONS, &[]);
    for partition in 0..PARTITIONS {
        topics::produce(&mut connection, TOPIC, partition, batch());
    }
    drop(connection);
    broker.kill();
    let damaged = [(0, "partition.metadata"), (1, "leader-epoch-checkpoint")];
    let path = |(partition, name): (i32, &str)| broker.partition_dir(TOPIC, partition).join(name);
    let paths = damaged.map(path);
    let before = paths.clone().map(|path| std::fs::read(path).ok());
    paths.iter().for_each(|path| std::fs::write(path, "0\nnonsense\n").unwrap());
    for _ in 0..2 {
        broker.launch();
        let mut connection = broker.connect();
        for partition in 2..PARTITIONS {
            eventually("the others are served", SOON, || {
                (topics::try_produce(&mut connection, TOPIC, partition, batch()).error_code == 0).then_some(())
            });
        }
        for (partition, _) in damaged {
            assert_eq!(topics::try_produce(&mut connection, TOPIC, partition, batch()).error_code, KAFKA_STORAGE_ERROR);
            assert_eq!(topics::fetch(&mut connection, TOPIC, partition, 0).error_code, KAFKA_STORAGE_ERROR);
        }
        drop(connection);
        broker.kill();
    }
    for (path, before) in paths.iter().zip(before) {
        match before {
            Some(before) => std::fs::write(path, before).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
    }
    broker.launch();
    expect_all(&broker);
}
