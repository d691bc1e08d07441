//! The second experiment of the courses: a file that follows a file, through a topic.

use std::time::Duration;

use super::{Bench, WITHIN, broker};
use crate::support::process::{command, run};
use crate::support::{eventually, noisy};

#[test]
fn a_file_follows_a_file() {
    let _noisy = noisy();
    let broker = broker();
    let bench = Bench::new(&broker, "");
    let (from, to) = (bench.path("test.txt"), bench.path("test.sink.txt"));
    bench.append("test.txt", "foo\nbar\n");
    let connectors = [bench.source("local-file-source", &from, "connect-test", ""), bench.sink("local-file-sink", &to, "connect-test", "")];
    let worker = bench.start(&connectors);
    bench.expect_lines("test.sink.txt", &["foo", "bar"]);
    // echo Another line >> test.txt
    bench.append("test.txt", "Another line\n");
    bench.expect_lines("test.sink.txt", &["foo", "bar", "Another line"]);
    // An editor writes a file of its own, and gives it the name.
    let saved = bench.write(".test.txt.swp", "foo\nbar\nAnother line\nsaved\n");
    std::fs::rename(saved, &from).unwrap();
    bench.expect_lines("test.sink.txt", &["foo", "bar", "Another line", "saved"]);

    let mut consumer = command(env!("CARGO_BIN_EXE_ottla"));
    consumer.args(["console-consumer", "--bootstrap-server", &broker.bootstrap(), "--topic", "connect-test"]);
    consumer.args(["--max-messages", "2", "--partition", "0", "--offset", "earliest"]);
    let seen = run("console-consumer", consumer, b"", WITHIN).expect_success();
    let line = |text: &str| format!("{{\"schema\":{{\"type\":\"string\",\"optional\":false}},\"payload\":\"{text}\"}}");
    assert_eq!(seen.lines().collect::<Vec<_>>(), [line("foo"), line("bar")]);

    eventually("the source's lag is gone", WITHIN, || (worker.metric("ottla_connect_task_lag", "local-file-source") == 0.0).then_some(()));
    assert_eq!(worker.metric("ottla_connect_task_records_total", "local-file-sink"), 4.0);
    worker.stop();

    // A worker that was stopped cleanly repeats nothing.
    bench.append("test.txt", "after the stop\n");
    let worker = bench.start(&connectors);
    bench.expect_lines("test.sink.txt", &["foo", "bar", "Another line", "saved", "after the stop"]);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(bench.lines("test.sink.txt").len(), 5);
    worker.stop();
}

#[test]
fn what_cannot_start_says_so_in_a_sentence() {
    let _noisy = noisy();
    let broker = broker();
    let bench = Bench::new(&broker, "");
    let start = |worker: &str, connector: Option<&str>| {
        let mut ottla = command(env!("CARGO_BIN_EXE_ottla"));
        ottla.arg("connect-standalone").arg(bench.write("other.properties", worker));
        ottla.args(connector.map(|text| bench.write("connector.properties", text)));
        let output = run("connect-standalone", ottla, b"", WITHIN);
        assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
        output.stderr
    };
    let good = std::fs::read_to_string(bench.path("worker.properties")).unwrap();
    let said = start(&good.replace(&broker.bootstrap(), "127.0.0.1:1"), None);
    assert!(said.contains("no broker answers at 127.0.0.1:1"), "{said}");
    let said = start(&good, Some("name=s\nconnector.class=FileStreamSource\n"));
    assert!(said.contains("Missing required configuration \"topic\""), "{said}");
    let said = start(&good, Some("name=s\nconnector.class=org.example.Own\n"));
    assert!(said.contains("org.example.Own"), "{said}");
    bench.write("offsets", "\u{ac}");
    let said = start(&good, None);
    assert!(said.contains("is no file of offsets that this worker wrote"), "{said}");
}
