//! Records that do not fit: `errors.tolerance`, the dead letter queue, transforms; and a source that is no file.

use std::net::UdpSocket;

use super::{Bench, WITHIN, broker};
use crate::support::broker::lasting_port;
use crate::support::process::{command, run};
use crate::support::records::Batch;
use crate::support::{eventually, noisy, topics};

#[test]
fn what_does_not_fit_ends_the_task_or_goes_to_the_dead_letters() {
    let _noisy = noisy();
    let broker = broker();
    let mut connection = broker.connect();
    topics::create(&mut connection, "mixed", 1, &[]);
    for value in [r#"{"n":1,"s":"a"}"#, "not json", r#"{"n":2}"#] {
        topics::produce(&mut connection, "mixed", 0, Batch::at(1_700_000_000_000).value(value).encode());
    }
    let bench = Bench::new(&broker, "");
    let plain = "value.converter=org.apache.kafka.connect.json.JsonConverter\nvalue.converter.schemas.enable=false\n\
                 key.converter=org.apache.kafka.connect.storage.StringConverter";
    let strict = bench.sink("strict", &bench.path("strict.txt"), "mixed", plain);
    let tolerant = format!(
        "{plain}\nerrors.tolerance=all\nerrors.log.enable=true\nerrors.deadletterqueue.topic.name=dead\n\
         errors.deadletterqueue.topic.replication.factor=1\nerrors.deadletterqueue.context.headers.enable=true\n\
         transforms=where\ntransforms.where.type=org.apache.kafka.connect.transforms.InsertField$Value\ntransforms.where.offset.field=offset"
    );
    let tolerant = bench.sink("tolerant", &bench.path("tolerant.txt"), "mixed", &tolerant);
    let worker = bench.start(&[strict, tolerant]);
    let why = worker.wait_for_state("strict", "FAILED");
    assert!(why.starts_with("Tolerance exceeded in error handler: VALUE_CONVERTER") && why.contains("mixed-0 offset 1"), "{why}");
    bench.expect_lines("tolerant.txt", &["{s=a, offset=0, n=1}", "{offset=2, n=2}"]);
    assert_eq!(worker.metric("ottla_connect_task_dead_letters_total", "tolerant"), 1.0);
    assert_eq!(worker.metric("ottla_connect_task_skipped_total", "tolerant"), 1.0);
    let mut consumer = command(env!("CARGO_BIN_EXE_ottla"));
    consumer.args([
        "console-consumer",
        "--bootstrap-server",
        &broker.bootstrap(),
        "--topic",
        "dead",
        "--partition",
        "0",
        "--offset",
        "earliest",
    ]);
    consumer.args(["--max-messages", "1", "--formatter-property", "print.headers=true"]);
    let dead = run("console-consumer", consumer, b"", WITHIN).expect_success();
    for said in [
        "__connect.errors.topic:mixed",
        "__connect.errors.partition:0",
        "__connect.errors.offset:1",
        "__connect.errors.connector.name:tolerant",
        "__connect.errors.task.id:0",
        "__connect.errors.stage:VALUE_CONVERTER",
        "__connect.errors.class.name:org.apache.kafka.connect.json.JsonConverter",
        "__connect.errors.exception.class.name:org.apache.kafka.connect.errors.DataException",
    ] {
        assert!(dead.contains(said), "{said} in {dead}");
    }
    assert!(dead.trim_end().ends_with("not json"), "{dead}");
    worker.stop();
}

#[test]
fn syslog_is_routed_and_filtered_into_a_file() {
    let _noisy = noisy();
    let broker = broker();
    let text = "org.apache.kafka.connect.storage.StringConverter";
    let bench = Bench::new(&broker, &format!("key.converter={text}\nvalue.converter={text}"));
    let address = format!("127.0.0.1:{}", lasting_port());
    let source = bench.write(
        "syslog.json",
        &format!(
            r#"{{"name": "syslog", "config": {{"connector.class": "SyslogSource", "listen": "{address}", "topic": "raw",
                "transforms": "route", "transforms.route.type": "org.apache.kafka.connect.transforms.RegexRouter",
                "transforms.route.regex": "(.*)", "transforms.route.replacement": "syslog-$1",
                "topic.creation.default.partitions": 2, "topic.creation.default.replication.factor": 1}}}}"#
        ),
    );
    let sink = bench.sink(
        "sink",
        &bench.path("out.txt"),
        "syslog-raw",
        "transforms=only\ntransforms.only.type=org.apache.kafka.connect.transforms.Filter\ntransforms.only.predicate=judged\n\
         transforms.only.negate=true\npredicates=judged\npredicates.judged.name=severity\n\
         predicates.judged.type=org.apache.kafka.connect.transforms.predicates.HasHeaderKey",
    );
    let worker = bench.start(&[source, sink]);
    worker.wait_for_state("syslog", "RUNNING");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    // A connector is running before its task listens, maybe; a datagram to nobody is lost.
    eventually("a message arrives", WITHIN, || {
        let _lost = socket.send_to(b"<34>1 2026-11-28T09:50:18Z mill su - - - hello", &address);
        std::thread::sleep(std::time::Duration::from_millis(50));
        (!bench.lines("out.txt").is_empty()).then_some(())
    });
    socket.send_to(b"without a priority", &address).unwrap();
    eventually("the other is dropped", WITHIN, || (worker.metric("ottla_connect_task_filtered_total", "sink") >= 1.0).then_some(()));
    assert!(bench.lines("out.txt").iter().all(|line| line.ends_with("su - - - hello")));
    let topics = worker.get("/connectors/syslog/topics");
    assert_eq!(topics, serde_json::json!({"syslog": {"topics": ["syslog-raw"]}}));
    worker.stop();
}

/// Expressions are Java's, and a producer that is told to wait for its leader only works as in Kafka's worker.
#[test]
fn topics_are_chosen_as_java_chooses_them() {
    let _noisy = noisy();
    let broker = broker();
    let mut connection = broker.connect();
    for topic in ["sensor-1", "sensor-x"] {
        topics::create(&mut connection, topic, 1, &[]);
        topics::produce(&mut connection, topic, 0, Batch::at(1_700_000_000_000).value(topic).encode());
    }
    let text = "org.apache.kafka.connect.storage.StringConverter";
    let bench = Bench::new(&broker, &format!("key.converter={text}\nvalue.converter={text}\nproducer.acks=1"));
    let sink = bench.write(
        "sink.properties",
        &format!("name=sink\nconnector.class=FileStreamSink\nfile={}\ntopics.regex=(?!__)sensor-\\\\d+\n", bench.path("out.txt").display()),
    );
    bench.append("in.txt", "from a file\n");
    let source = bench.source("source", &bench.path("in.txt"), "sensor-2", "");
    let worker = bench.start(&[sink, source]);
    eventually("both are there", WITHIN, || (bench.lines("out.txt").len() >= 2).then_some(()));
    let mut found = bench.lines("out.txt");
    found.sort_unstable();
    assert_eq!(found, ["from a file", "sensor-1"], "what is made later is found, too");
    let offsets = eventually("both are committed", WITHIN, || {
        let offsets = worker.get("/connectors/sink/offsets")["offsets"].as_array().cloned().unwrap_or_default();
        (offsets.len() == 2).then_some(offsets)
    });
    assert!(offsets.iter().all(|offset| offset["offset"]["kafka_offset"] == 1), "{offsets:?}");
    worker.stop();
}
