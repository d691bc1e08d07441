//! Data that changes hands: topic directories that Apache Kafka wrote, served here with their offsets, and the way back.

mod groups;
mod transactions;

use std::path::Path;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};

use crate::support::broker::{Broker, Kind, Settings, only_ottla, temp_dir};
use crate::support::forge::{Forged, Part, Record, body};
use crate::support::raw::Connection;
use crate::support::records::{Codec, walk};
use crate::support::{dump, noisy, topics};

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];
const PARTITIONS: i32 = 2;
const PRODUCER: i64 = 4711;
/// Segments of a mebibyte, so that there are several.
const CONFIGS: &[(&str, &str)] = &[("segment.bytes", "1048576"), ("retention.ms", "-1"), ("index.interval.bytes", "4096")];
const BATCHES: i32 = 150;

/// A minute ago: producers that have been silent for a day are forgotten, by Kafka too.
fn then() -> i64 {
    static THEN: OnceLock<i64> = OnceLock::new();
    *THEN.get_or_init(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64 - 60_000)
}

/// Batch `index` of a partition, numbered, in one codec after the other; of some size that does not compress away.
fn batch(index: i32) -> Bytes {
    let noise = |salt: u64| {
        let mut state = salt.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut step = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as u8
        };
        (0..5000).map(|_| step()).collect::<Vec<u8>>()
    };
    let records = [
        Record::new(0, Part::of(format!("key {index}")), Part::of(noise(index as u64 * 3))),
        Record::new(1, Part::null(), Part::of(noise(index as u64 * 3 + 1))),
        Record::new(2, Part::of("key"), Part::null()),
    ];
    Forged::around(body(&records), 3, then() + i64::from(index))
        .numbered(PRODUCER, 0, index * 3)
        .compressed(CODECS[index as usize % CODECS.len()])
        .encode()
}

fn write(broker: &Broker, topic: &str) {
    let mut connection = broker.connect();
    topics::create(&mut connection, topic, PARTITIONS, CONFIGS);
    for partition in 0..PARTITIONS {
        for index in 0..BATCHES {
            assert_eq!(topics::produce(&mut connection, topic, partition, batch(index)), i64::from(index) * 3);
        }
    }
}

/// All bytes of a partition as they are served.
fn served(connection: &mut Connection, topic: &str, partition: i32) -> Bytes {
    let (mut all, mut next) = (BytesMut::new(), 0);
    loop {
        let answer = topics::fetch(connection, topic, partition, next);
        assert_eq!(answer.error_code, 0, "fetch of {topic}-{partition} from {next}");
        let bytes = answer.records.unwrap_or_default();
        let walked = walk(&bytes);
        let Some(last) = walked.batches.last() else {
            assert_eq!(next, answer.high_watermark, "{topic}-{partition}: nothing is served below the high watermark");
            return all.freeze();
        };
        all.extend_from_slice(&bytes[..bytes.len() - walked.leftover]);
        next = last.last_offset() + 1;
        if next == answer.high_watermark {
            return all.freeze();
        }
    }
}

/// What was there is served byte for byte, a repeated batch is known, and the next goes behind.
fn expect(broker: &Broker, topic: &str, before: &[Bytes], written_since: i64) {
    let mut connection = broker.connect();
    topics::wait_for_leaders(&mut connection, topic, PARTITIONS);
    for (partition, before) in before.iter().enumerate() {
        let partition = partition as i32;
        let end = i64::from(BATCHES) * 3 + written_since;
        let now = served(&mut connection, topic, partition);
        assert!(now.starts_with(before), "{topic}-{partition}: {} bytes before, {} now", before.len(), now.len());
        assert_eq!(topics::offset_at(&mut connection, topic, partition, -1), end, "{topic}-{partition}: end");
        assert_eq!(topics::offset_at(&mut connection, topic, partition, then() + 70), 210, "{topic}-{partition}: by time");
        // The last five of a producer are known, the one before by its sequence alone.
        let again = topics::produce(&mut connection, topic, partition, batch(BATCHES - 1));
        assert_eq!(again, i64::from(BATCHES - 1) * 3, "{topic}-{partition}: stored twice");
        let next = Forged::sound(then()).encode();
        assert_eq!(topics::produce(&mut connection, topic, partition, next), end, "{topic}-{partition}: the next offset");
    }
}

fn all_served(broker: &Broker, topic: &str) -> Vec<Bytes> {
    let mut connection = broker.connect();
    (0..PARTITIONS).map(|partition| served(&mut connection, topic, partition)).collect()
}

fn copy(from: &Path, to: &Path, wanted: impl Fn(&str) -> bool) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if wanted(&name) {
            std::fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

/// Leaves a partition's directory with its identity alone.
fn empty(dir: &Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "partition.metadata" {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
}

/// What may be missing from a directory that is put in: topic, and the files that are left out.
const LEFT_OUT: [(&str, &[&str]); 5] = [
    ("whole", &[]),
    ("without-indexes", &[".index", ".timeindex"]),
    ("without-snapshots", &[".snapshot"]),
    ("without-epochs", &["leader-epoch-checkpoint"]),
    ("bare", &[".index", ".timeindex", ".snapshot", "leader-epoch-checkpoint"]),
];

fn is_left_out(name: &str, endings: &[&str]) -> bool {
    endings.iter().any(|ending| name.ends_with(ending))
}

#[test]
fn topic_directories_of_kafka_are_served_where_they_are_put() {
    if only_ottla("Kafka takes directories only of topics it made itself") {
        return;
    }
    let _noisy = noisy();
    let mut kafka = Broker::start_kind(Kind::Kafka, Settings::new());
    let mut before = Vec::new();
    for (topic, _) in LEFT_OUT {
        write(&kafka, topic);
        before.push(all_served(&kafka, topic));
    }
    kafka.stop();
    let mut broker = Broker::start(Settings::new().shards(2));
    // A topic of its own, whose segments are replaced: the same way as into Kafka.
    topics::create(&mut broker.connect(), "bare", PARTITIONS, CONFIGS);
    broker.stop();
    for (topic, left_out) in LEFT_OUT {
        for partition in 0..PARTITIONS {
            let (from, to) = (kafka.partition_dir(topic, partition), broker.partition_dir(topic, partition));
            let made_here = to.exists();
            if made_here {
                empty(&to);
            }
            copy(&from, &to, |name| !(is_left_out(name, left_out) || made_here && name == "partition.metadata"));
        }
    }
    broker.launch();
    for ((topic, _), before) in LEFT_OUT.iter().zip(&before) {
        expect(&broker, topic, before, 0);
    }
    // Once taken in, they are topics like any other: killed, started, stopped, read by Kafka's own reader.
    broker.kill();
    broker.launch();
    for ((topic, _), before) in LEFT_OUT.iter().zip(&before) {
        expect(&broker, topic, before, 2);
    }
    broker.stop();
    dump::check(&broker.log_dir());
}

#[test]
fn a_whole_log_directory_goes_to_ottla_and_back_to_kafka() {
    if only_ottla("two brokers on one directory, in turn") {
        return;
    }
    let _noisy = noisy();
    let mut kafka = Broker::start_kind(Kind::Kafka, Settings::new());
    write(&kafka, "shared");
    let before = all_served(&kafka, "shared");
    kafka.stop();
    let mut ottla = Broker::start(Settings::new().shards(2).with("log.dirs", kafka.log_dir().display()));
    expect(&ottla, "shared", &before, 0);
    let before = all_served(&ottla, "shared");
    ottla.stop();
    kafka.launch();
    expect(&kafka, "shared", &before, 2);
    kafka.stop();
    dump::check(&kafka.log_dir());
}

#[test]
fn segments_written_here_are_served_by_kafka() {
    if only_ottla("the way from Ottla to Kafka") {
        return;
    }
    let _noisy = noisy();
    let mut ottla = Broker::start(Settings::new().shards(2));
    write(&ottla, "moved");
    let before = all_served(&ottla, "moved");
    ottla.stop();
    let mut kafka = Broker::start_kind(Kind::Kafka, Settings::new());
    topics::create(&mut kafka.connect(), "moved", PARTITIONS, CONFIGS);
    kafka.stop();
    for partition in 0..PARTITIONS {
        let (from, to) = (ottla.partition_dir("moved", partition), kafka.partition_dir("moved", partition));
        // By its topic id Kafka knows a directory as its own; with another it sets it aside as -stray.
        empty(&to);
        copy(&from, &to, |name| name != "partition.metadata");
    }
    kafka.launch();
    expect(&kafka, "moved", &before, 0);
    kafka.stop();
    dump::check(&kafka.log_dir());
}

/// What is not adopted stays as it was, and the broker serves.
#[test]
fn directories_in_doubt_are_left_alone() {
    if only_ottla("what becomes of directories nobody knows") {
        return;
    }
    let _noisy = noisy();
    let mut giver = Broker::start(Settings::new());
    let mut connection = giver.connect();
    for topic in ["mixed", "other", "deleted"] {
        topics::create(&mut connection, topic, 2, &[]);
        topics::produce(&mut connection, topic, 0, Forged::sound(then()).encode());
    }
    topics::create(&mut connection, "__transaction_state", 2, &[]);
    giver.stop();
    let dir = temp_dir();
    let mut broker = Broker::start(Settings::new().with("log.dirs", dir.path().display()));
    broker.stop();
    let put = |name: &str, from: &str| copy(&giver.log_dir().join(from), &dir.path().join(name), |_| true);
    put("mixed-0", "mixed-0");
    put("mixed-1", "other-1");
    put("__transaction_state-0", "__transaction_state-0");
    put("anonymous-0", "other-0");
    std::fs::remove_file(dir.path().join("anonymous-0/partition.metadata")).unwrap();
    put("deleted-0", "deleted-0");
    put("deleted-1", "deleted-1");
    broker.launch();
    let mut connection = broker.connect();
    let names: Vec<String> = listed(&mut connection);
    assert_eq!(names, ["deleted"], "adopted");
    topics::delete(&mut connection, "deleted");
    broker.stop();
    // Put back after its deletion, it is not revived.
    put("deleted-0", "deleted-0");
    broker.launch();
    assert!(listed(&mut broker.connect()).is_empty());
    for name in ["mixed-0", "mixed-1", "__transaction_state-0", "anonymous-0"] {
        assert!(dir.path().join(name).join("00000000000000000000.log").exists(), "{name}");
    }
    let strays = std::fs::read_dir(dir.path()).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name().into_string().unwrap();
        name.starts_with("deleted-0.") && name.ends_with("-stray")
    });
    assert_eq!(strays.count(), 1);
}

fn listed(connection: &mut Connection) -> Vec<String> {
    let answer =
        connection.call(9, &kafka_protocol::messages::MetadataRequest::default().with_topics(None).with_allow_auto_topic_creation(false));
    answer.topics.iter().filter_map(|topic| topic.name.as_ref().map(|name| name.to_string())).collect()
}

/// A batch with one record, at an offset of its own.
fn stored(offset: i64) -> Bytes {
    let mut bytes = BytesMut::from(&Forged::around(body(&[Record::new(0, Part::of("key"), Part::of("value"))]), 1, then()).encode()[..]);
    bytes[..8].copy_from_slice(&offset.to_be_bytes());
    bytes[12..16].copy_from_slice(&0i32.to_be_bytes());
    bytes.freeze()
}

/// A message as brokers before Kafka 0.11 wrote it.
fn old_message() -> Vec<u8> {
    let mut message = vec![1, 0];
    message.extend(then().to_be_bytes());
    message.extend((-1i32).to_be_bytes());
    message.extend(5i32.to_be_bytes());
    message.extend(b"value");
    let mut crc = flate2::Crc::new();
    crc.update(&message);
    let head = [&0i64.to_be_bytes()[..], &(message.len() as i32 + 4).to_be_bytes(), &crc.sum().to_be_bytes()].concat();
    [head, message].concat()
}

/// What Kafka's compaction leaves has holes between its segments, and what Kafka 2 left has no producer snapshots at their ends; a broker
/// that is killed in its first minute knows no more of such a log than what it has written down before it served.
#[test]
fn logs_of_other_brokers_outlive_a_kill_in_the_first_minute() {
    if only_ottla("what becomes of directories that are put in") {
        return;
    }
    let _noisy = noisy();
    let mut giver = Broker::start(Settings::new());
    for topic in ["compacted", "ancient"] {
        topics::create(&mut giver.connect(), topic, 1, &[]);
    }
    giver.stop();
    let dir = temp_dir();
    let mut broker = Broker::start(Settings::new().with("log.dirs", dir.path().display()));
    broker.stop();
    for topic in ["compacted-0", "ancient-0"] {
        copy(&giver.log_dir().join(topic), &dir.path().join(topic), |name| name == "partition.metadata");
    }
    for (base, offsets) in [(0, &[0, 3][..]), (10, &[12]), (20, &[20])] {
        let bytes: Vec<u8> = offsets.iter().flat_map(|offset| stored(*offset)).collect();
        std::fs::write(dir.path().join(format!("compacted-0/{base:020}.log")), bytes).unwrap();
    }
    let ancient = dir.path().join("ancient-0/00000000000000000000.log");
    std::fs::write(&ancient, old_message()).unwrap();
    for run in 0..3 {
        broker.launch();
        let mut connection = broker.connect();
        topics::wait_for_leaders(&mut connection, "compacted", 1);
        assert_eq!(topics::read_from(&mut connection, "compacted", 0, 0).len(), 4 + 2 * run, "run {run}");
        assert_eq!(topics::produce(&mut connection, "compacted", 0, Forged::sound(then()).encode()), 21 + 2 * run as i64);
        assert_eq!(listed(&mut connection), ["compacted"]);
        assert_eq!(broker.output().matches("is not adopted").count(), 1);
        broker.kill();
    }
    assert_eq!(std::fs::read(ancient).unwrap(), old_message());
}
