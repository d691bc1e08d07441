//! The lines of old courses as they are printed there, through links by Kafka's names.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{start_broker, start_kafka_2_8};
use crate::support::broker::{Broker, Settings, only_ottla, temp_dir};
use crate::support::process::{Output, command, run};
use crate::support::zookeeper::Ensemble;
use crate::support::{eventually, heavy, noisy};

const TOOL: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(30);
/// From a line about a ZooKeeper that is not there to the sentence that says so.
const AT_ONCE: Duration = Duration::from_secs(20);

/// Runs a line of a course in the directory of the links.
fn line(dir: &Path, line: &str, input: &[u8]) -> Output {
    let mut words = line.split_whitespace();
    let mut tool = command(dir.join(words.next().unwrap()));
    tool.args(words).current_dir(dir);
    run(line, tool, input, TOOL)
}

fn links(dir: &Path) {
    let mut links = command(env!("CARGO_BIN_EXE_ottla"));
    links.arg("links").arg(dir);
    run("ottla links", links, b"", TOOL).expect_success();
}

#[test]
fn the_lines_of_a_course_work_as_printed() {
    if only_ottla("Kafka 4 knows no ZooKeeper") {
        return;
    }
    let _noisy = noisy();
    let ensemble = Ensemble::start(1);
    let mut broker = start_broker(&ensemble, Settings::new());
    let dir = temp_dir();
    links(dir.path());
    let (zookeeper, server) = (ensemble.connect("/kafka"), broker.bootstrap());
    // The broker's own node may come a moment after it has begun to serve.
    let create = format!("./kafka-topics.sh --create --zookeeper {zookeeper} --partitions 1 --replication-factor 1 --topic haha");
    let said = eventually("the broker is found", SOON, || {
        let output = line(dir.path(), &create, b"");
        output.status.success().then_some(output.stdout)
    });
    assert_eq!(said, "Created topic haha.");
    let said = line(dir.path(), &format!("./kafka-topics.sh --list --zookeeper {zookeeper}"), b"").expect_success();
    assert_eq!(said, "haha");
    line(dir.path(), &format!("./kafka-console-producer.sh --broker-list {server} --topic haha"), b"Hello\n").expect_success();
    let read = format!("./kafka-console-consumer.sh --zookeeper {zookeeper} --topic haha --from-beginning --max-messages 1");
    assert_eq!(line(dir.path(), &read, b"").expect_success(), "Hello");
    let describe = format!("./kafka-configs.sh --zookeeper {zookeeper} --describe --entity-type topics --entity-name haha");
    line(dir.path(), &describe, b"").expect_success();

    let elsewhere = line(dir.path(), &format!("./kafka-topics.sh --list --zookeeper {}", ensemble.connect("/kafak")), b"");
    assert_eq!(elsewhere.status.code(), Some(1));
    assert!(elsewhere.stderr.contains("no broker is registered in ZooKeeper at"), "{}", elsewhere.stderr);
    let both = line(dir.path(), &format!("./kafka-topics.sh --list --zookeeper {zookeeper} --bootstrap-server {server}"), b"");
    assert_eq!(both.status.code(), Some(1));
    assert!(both.stderr.contains("Only one of --bootstrap-server or --zookeeper must be specified"), "{}", both.stderr);
    let said = broker.stop();
    assert!(!said.contains("does not show the cluster"), "a session that is over is missed: {said}");
}

#[test]
fn a_real_kafka_2_8_is_found_in_its_zookeeper() {
    if !heavy() {
        return;
    }
    let _noisy = noisy();
    let ensemble = Ensemble::start(1);
    let dir = temp_dir();
    links(dir.path());
    let _kafka = start_kafka_2_8(&ensemble, dir.path());
    let zookeeper = ensemble.connect("/kafka");
    let create = format!("./kafka-topics.sh --create --zookeeper {zookeeper} --partitions 1 --replication-factor 1 --topic haha");
    eventually("Kafka serves", TOOL, || line(dir.path(), &create, b"").status.success().then_some(()));
    assert_eq!(line(dir.path(), &format!("./kafka-topics.sh --list --zookeeper {zookeeper}"), b"").expect_success(), "haha");
    let write = format!("./kafka-console-producer.sh --zookeeper {zookeeper} --topic haha");
    line(dir.path(), &write, b"Hello\n").expect_success();
    let read = format!("./kafka-console-consumer.sh --zookeeper {zookeeper} --topic haha --from-beginning --max-messages 1");
    assert_eq!(line(dir.path(), &read, b"").expect_success(), "Hello");
}

#[test]
fn where_there_is_no_zookeeper_a_sentence_says_what_to_use() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let dir = temp_dir();
    links(dir.path());
    // Nobody listens there; and a broker does, which is no ZooKeeper.
    for place in ["127.0.0.1:1", &broker.bootstrap()] {
        for tool in ["kafka-topics.sh --list", "kafka-console-consumer.sh --topic t", "kafka-console-producer.sh --topic t"] {
            let began = Instant::now();
            let output = line(dir.path(), &format!("{tool} --zookeeper {place}/kafka"), b"");
            assert_eq!(output.status.code(), Some(1), "{tool}: {}", output.stdout);
            assert!(began.elapsed() < AT_ONCE, "{tool} took {:?}", began.elapsed());
            assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
            assert!(output.stderr.contains(&format!("no ZooKeeper answers at {place}/kafka")), "{}", output.stderr);
            assert!(output.stderr.contains("--bootstrap-server HOST:PORT"), "{}", output.stderr);
        }
    }
}
