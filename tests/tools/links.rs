//! The program by the names of Kafka's scripts, and brokers that are not there.

use std::time::{Duration, Instant};

use crate::support::broker::{Broker, Settings, temp_dir};
use crate::support::process::{command, run};
use crate::support::{noisy, topics};

const DEADLINE: Duration = Duration::from_secs(60);

/// Seconds, not minutes.
const SOON: Duration = Duration::from_secs(15);

#[test]
fn a_link_behaves_as_the_script_of_its_name() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    topics::create(&mut broker.connect(), "linked", 1, &[]);
    let dir = temp_dir();
    let mut links = command(env!("CARGO_BIN_EXE_ottla"));
    links.arg("links").arg(dir.path());
    let said = run("ottla links", links, b"", DEADLINE).expect_success();
    let of = |name: &str, words: &[&str], input: &[u8]| {
        let mut tool = command(dir.path().join(name));
        tool.args(words);
        run(name, tool, input, DEADLINE)
    };
    let server = broker.bootstrap();
    for name in ["kafka-topics", "kafka-topics.sh"] {
        assert!(said.contains(name), "{said}");
        assert_eq!(of(name, &["--bootstrap-server", &server, "--list"], b"").expect_success(), "linked");
    }
    // As old courses spell it.
    of("kafka-console-producer.sh", &["--broker-list", &server, "--topic", "linked"], b"Hello\n").expect_success();
    let read = ["--bootstrap-server", &server, "--topic", "linked", "--partition", "0", "--from-beginning", "--max-messages", "1"];
    assert_eq!(of("kafka-console-consumer.sh", &read, b"").expect_success(), "Hello");
    let refused = of("kafka-topics.sh", &["--bootstrap-server", &server, "--no-such-option"], b"");
    assert_eq!(refused.status.code(), Some(1));
    assert!(refused.stderr.contains("no-such-option is not a recognized option"), "{}", refused.stderr);
}

#[test]
fn a_broker_that_is_not_there_is_one_sentence_soon() {
    let _noisy = noisy();
    let nowhere = ["--bootstrap-server", "127.0.0.1:1"];
    let lines: [(&str, &[&str]); 15] = [
        ("topics", &["--list"]),
        ("configs", &["--describe", "--topic", "t"]),
        ("get-offsets", &[]),
        ("log-dirs", &["--describe"]),
        ("api-versions", &[]),
        ("console-producer", &["--topic", "t"]),
        ("console-consumer", &["--topic", "t"]),
        ("consumer-groups", &["--list"]),
        ("groups", &["--list"]),
        ("leader-election", &["--election-type", "preferred", "--all-topic-partitions"]),
        ("reassign-partitions", &["--list"]),
        ("delete-records", &["--offset-json-file", "/dev/stdin"]),
        ("producer-perf-test", &["--topic", "t", "--num-records", "1", "--throughput", "-1", "--record-size", "1"]),
        ("consumer-perf-test", &["--topic", "t", "--num-records", "1"]),
        ("e2e-latency", &["--topic", "t", "--num-records", "1", "--producer-acks", "1", "--record-size", "1"]),
    ];
    for (tool, words) in lines {
        let began = Instant::now();
        let mut ottla = command(env!("CARGO_BIN_EXE_ottla"));
        ottla.arg(tool).args(nowhere).args(words);
        let output = run(tool, ottla, br#"{"partitions": []}"#, DEADLINE);
        assert_eq!(output.status.code(), Some(1), "{tool}");
        assert!(began.elapsed() < SOON, "{tool} took {:?}", began.elapsed());
        let said = format!("{}{}", output.stdout, output.stderr);
        assert!(said.contains("no broker answers at 127.0.0.1:1 (connection refused)"), "{tool}: {said}");
    }
}

#[test]
fn shells_are_told_how_to_complete() {
    let _noisy = noisy();
    for shell in ["bash", "zsh", "fish"] {
        let mut ottla = command(env!("CARGO_BIN_EXE_ottla"));
        ottla.args(["completions", shell]);
        let script = run("ottla completions", ottla, b"", DEADLINE).expect_success();
        assert!(script.contains("console-consumer") && script.contains("reset-offsets"), "{shell}");
    }
    let mut ottla = command(env!("CARGO_BIN_EXE_ottla"));
    ottla.args(["completions", "bash"]);
    let script = run("ottla completions", ottla, b"", DEADLINE).expect_success();
    let mut bash = command("bash");
    bash.arg("-n");
    run("bash", bash, script.as_bytes(), DEADLINE).expect_success();
}
