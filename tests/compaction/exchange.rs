//! Logs that change hands: compacted by Kafka and read, then compacted on, by Ottla; with transactions in them; and back.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::{CONFIGS, SOON, Seen, by_librdkafka, keyed, settings, wait_cleaned};
use crate::support::broker::{Broker, Kind, Settings, only_ottla};
use crate::support::forge::{Forged, body};
use crate::support::raw::Connection;
use crate::support::{dump, noisy, topics};

const TOPIC: &str = "exchanged";
const ROLL_MS: i64 = 200_000;
const LEVELS: [&str; 2] = ["read_uncommitted", "read_committed"];

/// Topics' settings do not travel: what an adopted one gets is the broker's.
fn as_defaults(settings: Settings) -> Settings {
    settings
        .with("log.cleanup.policy", "compact")
        .with("log.roll.ms", "100000")
        .with("log.cleaner.min.cleanable.ratio", "0.001")
        .with("log.cleaner.delete.retention.ms", "1")
        .with("log.segment.delete.delay.ms", "100")
        .with("log.index.interval.bytes", "200")
}

/// One transaction after the other, every third aborted, over a few keys; and records outside any.
fn write_transactions(bootstrap: &str, from: i64, then: i64) -> i64 {
    let deadline = Duration::from_secs(60);
    let producer = |id: Option<&str>| -> BaseProducer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("linger.ms", "2").set("compression.type", "lz4");
        if let Some(id) = id {
            config.set("transactional.id", id);
        }
        let producer: BaseProducer = config.create().expect("a producer");
        if id.is_some() {
            producer.init_transactions(deadline).expect("transactions");
        }
        producer
    };
    let (transactional, plain) = (producer(Some("exchange")), producer(None));
    let mut number = from;
    for round in 0..40 {
        transactional.begin_transaction().unwrap();
        for (producer, count) in [(&transactional, 6), (&plain, 2)] {
            for _ in 0..count {
                let (key, value) = (format!("key {}", number * 7919 % 17), format!("{number} {}", "v".repeat(100)));
                let record = BaseRecord::to(TOPIC).partition(0).key(&key).payload(&value).timestamp(then + number);
                let record = if number % 13 == 5 { BaseRecord { payload: None, ..record } } else { record };
                producer.send(record).unwrap_or_else(|(error, _)| panic!("send: {error}"));
                number += 1;
            }
            producer.flush(deadline).expect("flush");
        }
        match round % 3 {
            1 => transactional.abort_transaction(deadline).unwrap(),
            _ => transactional.commit_transaction(deadline).unwrap(),
        }
    }
    number
}

/// Begins another segment; answers with its first offset.
fn roll(connection: &mut Connection, then: i64, times: i64) -> i64 {
    topics::produce(connection, TOPIC, 0, Forged::around(body(&[keyed(0, "roll", Some("x"))]), 1, then + times * ROLL_MS).encode())
}

/// The last value of each key that a reader has in the end.
fn map(seen: &[Seen]) -> std::collections::BTreeMap<String, String> {
    let mut map = std::collections::BTreeMap::new();
    for (_, key, value) in seen {
        match value {
            Some(value) => drop(map.insert(key.clone(), value.clone())),
            None => drop(map.remove(key)),
        }
    }
    map
}

#[test]
fn a_compacted_log_with_transactions_goes_from_kafka_to_ottla_and_back() {
    if only_ottla("two brokers on one directory, in turn") {
        return;
    }
    let _noisy = noisy();
    // Markers have the broker's time.
    let then = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    let mut kafka = Broker::start_kind(Kind::Kafka, settings());
    let mut connection = kafka.connect();
    let mut configs: Vec<_> = CONFIGS.into_iter().filter(|(key, _)| *key != "segment.ms").collect();
    configs.extend([("segment.ms", "100000"), ("delete.retention.ms", "86400000")]);
    topics::create(&mut connection, TOPIC, 1, &configs);
    let number = write_transactions(&kafka.bootstrap(), 0, then);
    let active = roll(&mut connection, then, 1);
    wait_cleaned(&kafka, TOPIC, 0, active);
    // This part Kafka has compacted, the next it has not.
    write_transactions(&kafka.bootstrap(), number, then);
    let active = roll(&mut connection, then, 2);
    let before = LEVELS.map(|level| by_librdkafka(&kafka.bootstrap(), TOPIC, 0, level));
    drop(connection);
    kafka.stop();

    let shared = |settings: Settings| settings.with("log.dirs", kafka.log_dir().display()).shards(2);
    let mut ottla = Broker::start(shared(settings().with("log.cleaner.enable", "false")));
    topics::wait_for_leaders(&mut ottla.connect(), TOPIC, 1);
    let read = LEVELS.map(|level| by_librdkafka(&ottla.bootstrap(), TOPIC, 0, level));
    assert_eq!(map(&read[1]), map(&before[1]), "what Kafka compacted is read here as there");
    ottla.stop();
    drop(ottla);

    let mut ottla = Broker::start(shared(as_defaults(settings())));
    let mut connection = ottla.connect();
    topics::wait_for_leaders(&mut connection, TOPIC, 1);
    let path = kafka.log_dir();
    crate::support::eventually("Ottla compacts on", SOON, || {
        let text = std::fs::read_to_string(path.join("cleaner-offset-checkpoint")).ok()?;
        let offset: i64 = text.lines().find_map(|line| line.strip_prefix(&format!("{TOPIC} 0 ")))?.parse().ok()?;
        (offset >= active).then_some(())
    });
    let committed = by_librdkafka(&ottla.bootstrap(), TOPIC, 0, "read_committed");
    assert_eq!(map(&committed), map(&before[1]));
    let uncommitted = by_librdkafka(&ottla.bootstrap(), TOPIC, 0, "read_uncommitted");
    assert_eq!(uncommitted, committed, "aborted records are gone at once");
    let below: Vec<&Seen> = committed.iter().filter(|(at, ..)| *at < active).collect();
    let keys: std::collections::BTreeSet<&String> = below.iter().map(|(_, key, _)| key).collect();
    assert_eq!(keys.len(), below.len(), "each key once");
    let last = roll(&mut connection, then, 3);
    drop(connection);
    ottla.stop();

    kafka.launch();
    let mut connection = kafka.connect();
    topics::wait_for_leaders(&mut connection, TOPIC, 1);
    let back = LEVELS.map(|level| by_librdkafka(&kafka.bootstrap(), TOPIC, 0, level));
    let mut expected = map(&before[1]);
    expected.insert("roll".to_owned(), "x".to_owned());
    assert_eq!(map(&back[1]), expected);
    assert_eq!(back[0], back[1]);
    assert_eq!(topics::offset_at(&mut connection, TOPIC, 0, -1), last + 1);
    drop(connection);
    kafka.stop();
    dump::check_compacted(&kafka.log_dir().join(format!("{TOPIC}-0")));
}
