//! A disk that fills: with the reserve nothing fails and producers wait; without it the log directory goes offline, and nothing that was
//! acknowledged is lost.

use std::time::{Duration, Instant};

use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::medium::Medium;
use crate::support::broker::{Broker, Settings, only_ottla, temp_dir};
use crate::support::peers::kafka_tool;
use crate::support::raw::Connection;
use crate::support::records::Batch;
use crate::support::{eventually, noisy, topics};

const THEN: i64 = 1_700_000_000_000;
const MIB: u64 = 1 << 20;
const KAFKA_STORAGE_ERROR: i16 = 56;
const SOON: Duration = Duration::from_secs(60);
/// Until then a Java producer that was started has been refused.
const JAVA_SENDS_WITHIN: Duration = Duration::from_secs(8);

fn batch(bytes: usize) -> bytes::Bytes {
    Batch::at(THEN).value(vec![b'v'; bytes]).encode()
}

/// Produces until the partition refuses; answers with what was acknowledged.
fn fill(connection: &mut Connection, topic: &str, partition: i32, pause: Duration) -> usize {
    let (batch, mut acknowledged) = (batch(512 << 10), 0);
    loop {
        let answer = topics::try_produce(connection, topic, partition, batch.clone());
        match answer.error_code {
            0 => acknowledged += 1,
            KAFKA_STORAGE_ERROR => return acknowledged,
            other => panic!("error {other} of a disk that fills"),
        }
        assert!(acknowledged < 2000, "the disk does not fill");
        std::thread::sleep(pause);
    }
}

#[test]
fn below_the_reserve_producers_wait_and_nothing_fails() {
    if only_ottla("a reserve of space") {
        return;
    }
    let _noisy = noisy();
    let Some(medium) = Medium::memory(160) else { return };
    let reserve = 64 * MIB;
    let settings = Settings::new()
        .shards(2)
        .with("log.dirs", medium.log_dir().display())
        .with("ottla.disk.reserve.bytes", reserve)
        .with("log.segment.delete.delay.ms", 0);
    let mut broker = Broker::start(settings);
    let mut connection = broker.connect();
    topics::create(&mut connection, "filling", 1, &[("retention.ms", "-1")]);
    topics::create(&mut connection, "waiting", 1, &[("retention.ms", "-1")]);
    // Not faster than the space is looked at, on a machine that is busy as well.
    let acknowledged = fill(&mut connection, "filling", 0, Duration::from_millis(15));
    let free = medium.free();
    assert!(free < reserve && free > reserve / 4, "{free} bytes left of a reserve of {reserve}");

    // Everything but appending goes on.
    assert_eq!(topics::read_from(&mut connection, "filling", 0, 0).len(), acknowledged);
    topics::create(&mut connection, "new", 1, &[]);
    assert_eq!(topics::try_produce(&mut connection, "new", 0, batch(10)).error_code, KAFKA_STORAGE_ERROR);

    // A producer that waits is served once there is space again.
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", broker.bootstrap())
        .set("enable.idempotence", "true")
        .set("message.timeout.ms", "60000")
        .create()
        .expect("a producer");
    producer.send(BaseRecord::<(), str>::to("waiting").partition(0).payload("patient")).unwrap_or_else(|(error, _)| panic!("{error}"));
    // So is Kafka's own.
    let bootstrap = broker.bootstrap();
    let java = std::thread::spawn(move || {
        // The verifiable producer would give up: it is the one that does not try again.
        let servers = format!("bootstrap.servers={bootstrap}");
        let asked =
            ["--topic", "waiting", "--num-records", "3", "--record-size", "10", "--throughput", "-1", "--command-property", &servers];
        kafka_tool("org.apache.kafka.tools.ProducerPerformance", &asked).expect_success()
    });
    let began = Instant::now();
    while began.elapsed() < JAVA_SENDS_WITHIN {
        producer.poll(Duration::from_millis(100));
    }
    assert_eq!(producer.in_flight_count(), 1, "the record neither failed nor went through");
    assert!(!java.is_finished(), "{:?}", java.join());
    topics::delete(&mut connection, "filling");
    producer.flush(SOON).expect("delivered once there is room");
    let said = java.join().expect("the tool goes on once there is room");
    assert!(said.contains("3 records sent") && !said.contains("Exception"), "{said}");
    assert_eq!(topics::read_from(&mut connection, "waiting", 0, 0).len(), 4);
    let said = broker.output();
    assert!(said.contains("ottla.disk.reserve.bytes=67108864") && !said.contains("is offline"), "{said}");
    drop(connection);
    broker.stop();
}

/// A start on a disk that is below the reserve serves, and refuses records from the first on.
#[test]
fn a_start_below_the_reserve_serves() {
    if only_ottla("a reserve of space") {
        return;
    }
    let _noisy = noisy();
    let Some(medium) = Medium::memory(96) else { return };
    medium.fill("ballast", 64 * MIB);
    let settings = Settings::new().with("log.dirs", medium.log_dir().display()).with("ottla.disk.reserve.bytes", 48 * MIB);
    let broker = Broker::start(settings);
    let mut connection = broker.connect();
    topics::create(&mut connection, "kept", 1, &[]);
    assert_eq!(topics::try_produce(&mut connection, "kept", 0, batch(10)).error_code, KAFKA_STORAGE_ERROR);
    std::fs::remove_file(medium.path().join("ballast")).unwrap();
    eventually("records are taken", SOON, || (topics::try_produce(&mut connection, "kept", 0, batch(10)).error_code == 0).then_some(()));
}

#[test]
fn a_full_disk_takes_its_directory_offline_and_loses_nothing() {
    if only_ottla("how many log directories go on") {
        return;
    }
    let _noisy = noisy();
    let Some(medium) = Medium::memory(48) else { return };
    let healthy = temp_dir();
    let settings = Settings::new()
        .shards(2)
        .with("log.dirs", format!("{},{}", healthy.path().display(), medium.log_dir().display()))
        .with("ottla.disk.reserve.bytes", 0);
    let mut broker = Broker::start(settings);
    let mut connection = broker.connect();
    topics::create(&mut connection, "spread", 8, &[("retention.ms", "-1")]);
    let on_medium = |partition: i32| medium.log_dir().join(format!("spread-{partition}")).exists();
    let (small, large): (Vec<i32>, Vec<i32>) = (0..8).partition(|partition| on_medium(*partition));
    assert!(small.len() > 1 && !large.is_empty(), "{small:?} and {large:?}: both directories are used");
    for partition in 0..8 {
        topics::produce(&mut connection, "spread", partition, batch(100));
    }
    let acknowledged = fill(&mut connection, "spread", small[0], Duration::ZERO);
    // All of the directory, not the one partition that met the error.
    eventually("the whole directory is offline", SOON, || {
        let refused =
            |partition: &i32| topics::try_produce(&mut connection, "spread", *partition, batch(100)).error_code == KAFKA_STORAGE_ERROR;
        small.iter().all(refused).then_some(())
    });
    for partition in &large {
        topics::produce(&mut connection, "spread", *partition, batch(100));
    }
    let said = broker.output();
    assert_eq!(said.matches("is offline").count(), 1, "{said}");
    broker.kill();
    medium.resize_memory(96);
    broker.launch();
    let mut connection = broker.connect();
    let kept = topics::read_from(&mut connection, "spread", small[0], 0).len();
    assert!(kept > acknowledged, "{kept} records of {} acknowledged", acknowledged + 1);
    for partition in &small {
        topics::produce(&mut connection, "spread", *partition, batch(100));
    }
    for partition in &large {
        assert_eq!(topics::read_from(&mut connection, "spread", *partition, 0).len(), 2);
    }
    drop(connection);
    broker.stop();
}
