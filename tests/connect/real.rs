//! Kafka's own Connect 4.3.1 against the broker, with the same files: standalone, and two distributed workers of which one is killed. Minutes of
//! JVMs, so only with `OTTLA_HEAVY=1`.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::{Bench, Worker, broker};
use crate::support::broker::lasting_port;
use crate::support::process::Process;
use crate::support::{eventually, heavy, noisy, peers};

const WITHIN: Duration = Duration::from_secs(180);

#[test]
fn kafkas_standalone_worker_runs_the_same_files() {
    if !heavy() {
        return println!("not run without OTTLA_HEAVY=1: it takes a JVM");
    }
    let _noisy = noisy();
    let broker = broker();
    let bench = Bench::new(&broker, "");
    bench.append("in.txt", "one\ntwo\n");
    let files = [bench.source("in", &bench.path("in.txt"), "real", ""), bench.sink("out", &bench.path("out.txt"), "real", "")];
    let worker = bench.start_kafkas(lasting_port(), &files);
    bench.append("in.txt", "three\n");
    bench.expect_lines("out.txt", &["one", "two", "three"]);
    worker.kill();
    bench.append("in.txt", "four\n");
    let _worker = bench.start_kafkas(lasting_port(), &files);
    eventually("the restarted worker goes on", WITHIN, || bench.lines("out.txt").contains(&"four".to_owned()).then_some(()));
}

/// One of several workers of a group.
fn distributed(bench: &Bench, bootstrap: &str, port: u16) -> Worker {
    let text = format!(
        "bootstrap.servers={bootstrap}\ngroup.id=workers\nkey.converter=org.apache.kafka.connect.json.JsonConverter\n\
         value.converter=org.apache.kafka.connect.json.JsonConverter\nlisteners=HTTP://127.0.0.1:{port}\n\
         offset.storage.topic=connect-offsets\noffset.storage.replication.factor=1\noffset.storage.partitions=1\n\
         config.storage.topic=connect-configs\nconfig.storage.replication.factor=1\n\
         status.storage.topic=connect-status\nstatus.storage.replication.factor=1\nstatus.storage.partitions=1\n\
         offset.flush.interval.ms=300\nsession.timeout.ms=6000\nheartbeat.interval.ms=1000\nscheduled.rebalance.max.delay.ms=0\n\
         consumer.session.timeout.ms=1000\nconsumer.heartbeat.interval.ms=300\n"
    );
    let file: PathBuf = bench.write(&format!("distributed-{port}.properties"), &text);
    let mut java = peers::java(256);
    java.arg("org.apache.kafka.connect.cli.ConnectDistributed").arg(file);
    let mut worker = Worker { process: Process::spawn("connect-distributed", java), address: ([127, 0, 0, 1], port).into() };
    worker.wait_for_rest();
    worker
}

#[test]
fn a_killed_distributed_workers_tasks_move_to_the_other() {
    if !heavy() {
        return println!("not run without OTTLA_HEAVY=1: it takes two JVMs");
    }
    let _noisy = noisy();
    let broker = broker();
    let bench = Bench::new(&broker, "");
    bench.append("in.txt", "one\n");
    let first = distributed(&bench, &broker.bootstrap(), lasting_port());
    let second = distributed(&bench, &broker.bootstrap(), lasting_port());
    let put = |name: &str, config: serde_json::Value| {
        eventually("the workers have formed their group", WITHIN, || {
            let (status, _) = first.call("PUT", &format!("/connectors/{name}/config"), &config.to_string());
            (status == 201 || status == 200).then_some(())
        });
    };
    put("in", json!({"connector.class": "FileStreamSource", "file": bench.path("in.txt"), "topic": "moved"}));
    put("out", json!({"connector.class": "FileStreamSink", "file": bench.path("out.txt"), "topics": "moved"}));
    eventually("the line arrives", WITHIN, || bench.lines("out.txt").contains(&"one".to_owned()).then_some(()));
    first.kill();
    bench.append("in.txt", "two\n");
    eventually("the other worker goes on", WITHIN, || bench.lines("out.txt").contains(&"two".to_owned()).then_some(()));
    for connector in ["in", "out"] {
        let status = second.get(&format!("/connectors/{connector}/status"));
        assert_eq!(status["tasks"][0]["worker_id"], second.address.to_string(), "{status}");
    }
}
