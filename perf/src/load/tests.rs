//! Every kind of load against the sink, given the command lines that the report gives.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use clap::Parser;

use super::{Command, run, sink};
use crate::outcome::Outcome;

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

fn command(line: &str) -> Command {
    Line::try_parse_from(["load"].into_iter().chain(line.split_whitespace())).unwrap_or_else(|error| panic!("{line}: {error}")).command
}

/// A sink on a thread of its own.
struct Sink {
    address: String,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), String>>>,
}

impl Sink {
    fn start(flags: &str) -> Self {
        let Command::Sink(options) = command(&format!("sink {flags}")) else { unreachable!() };
        let mut sink = sink::Sink::bind(&options).unwrap();
        let address = sink.address().to_string();
        let is_over = Arc::new(AtomicBool::new(false));
        let told = is_over.clone();
        let thread = std::thread::spawn(move || sink.serve(|| told.load(Ordering::Relaxed)));
        Self { address, is_over, thread: Some(thread) }
    }

    fn load(&self, line: &str) -> Result<Outcome, String> {
        run(&command(&format!("{line} --bootstrap {}", self.address)))
    }

    fn stop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap().unwrap();
        }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
        }
    }
}

#[test]
fn a_closed_loop_produces_the_volume_and_measures_every_request() {
    let sink = Sink::start("--partitions 3");
    for flags in
        ["", "--acks all --partitions-per-request 2", "--codec lz4 --connections 7 --in-flight 1", "--batch-bytes 1m --partitions 2"]
    {
        let outcome = sink.load(&format!("produce --bytes 8m {flags}")).unwrap();
        assert!(outcome.bytes >= 8 << 20, "{flags}: {outcome:?}");
        assert!(outcome.errors.is_empty() && outcome.records > outcome.requests && outcome.seconds > 0.0, "{flags}: {outcome:?}");
        assert_eq!(outcome.latency.unwrap().count, outcome.requests, "{flags}");
    }
}

#[test]
fn keyed_producers_spread_each_batch_over_all_partitions() {
    let sink = Sink::start("--partitions 8");
    let outcome = sink.load("produce --bytes 4m --keyed --connections 50 --record-bytes 100").unwrap();
    let per_request = outcome.bytes / outcome.requests;
    assert!((14_000..=16_384).contains(&per_request), "{outcome:?}");
}

#[test]
fn without_acknowledgements_the_last_request_is_waited_for() {
    let sink = Sink::start("--partitions 2");
    let outcome = sink.load("produce --bytes 16m --acks 0").unwrap();
    assert!(outcome.bytes >= 16 << 20 && outcome.latency.is_none());
    // What was produced is there for readers.
    let read = sink.load("fetch --bytes 1m").unwrap();
    assert!(read.errors.is_empty());
}

#[test]
fn an_open_loop_sends_what_its_rate_says() {
    let sink = Sink::start("--partitions 3");
    let outcome = sink.load("produce-at --rate 2000 --seconds 0.5 --connections 2").unwrap();
    assert_eq!((outcome.requests, outcome.latency.unwrap().count), (1000, 1000));
    let outcome = sink.load("produce-at --rate 15000 --unit records --seconds 0.5 --batch-bytes 16384 --record-bytes 1024").unwrap();
    assert_eq!((outcome.requests, outcome.records), (500, 7500));
    let pace = outcome.pace.unwrap();
    assert_eq!(pace.requests_per_second, 1000.0);
    // The schedule ends with its last request.
    assert!((0.49..=0.5).contains(&pace.seconds) && pace.is_kept(), "{pace:?}");
}

#[test]
fn a_rate_that_no_broker_keeps_is_told_and_every_request_is_still_answered() {
    let sink = Sink::start("--partitions 2");
    let outcome = sink.load("produce-at --rate 1000000 --seconds 0.12 --record-bytes 5000 --batch-bytes 1").unwrap();
    assert_eq!((outcome.requests, outcome.latency.unwrap().count), (120_000, 120_000));
    assert!(!outcome.pace.unwrap().is_kept(), "{:?}", outcome.pace);
}

#[test]
fn what_a_consumer_waits_for_is_matched_record_by_record() {
    let sink = Sink::start("--partitions 3");
    for flags in ["--batch-bytes 1 --record-bytes 100", "--partitions-per-request 3"] {
        let outcome = sink.load(&format!("end-to-end --rate 1000 --seconds 0.3 {flags}")).unwrap();
        let batches = if flags.contains("per-request") { 900 } else { 300 };
        let records = outcome.records;
        // The sink gives batches of one record for whatever it took.
        assert!(records >= batches && outcome.errors.is_empty(), "{outcome:?}");
        assert_eq!(outcome.latency.unwrap().count, batches);
    }
}

#[test]
fn readers_start_over_until_they_have_the_volume() {
    let sink = Sink::start("--partitions 3 --held-bytes 1m --record-bytes 1000");
    for flags in ["", "--readers 6", "--readers 2 --each share", "--max-bytes 50000 --response-max-bytes 70000", "--partitions 1"] {
        let outcome = sink.load(&format!("fetch --bytes 20m {flags}")).unwrap();
        assert!(outcome.bytes >= 20 << 20 && outcome.errors.is_empty(), "{flags}: {outcome:?}");
        let batches = outcome.records / 16;
        assert_eq!((outcome.records % 16, outcome.bytes % batches), (0, 0), "{flags}: whole batches");
    }
}

#[test]
fn catching_up_ends_where_the_log_ended_when_it_began() {
    let sink = Sink::start("--partitions 2 --held-bytes 8m");
    let outcome = sink.load("catch-up --rate 500").unwrap();
    assert!(outcome.bytes > 15 << 20, "{outcome:?}");
    assert!(outcome.errors.is_empty());
    let outcome = sink.load("catch-up --rate 500 --seconds 0.3").unwrap();
    assert!(outcome.latency.unwrap().count >= 100);
}

#[test]
fn readiness_counts_every_partition_empty_or_not() {
    let full = Sink::start("--partitions 9 --batch-bytes 100000");
    assert_eq!(full.load("ready").unwrap().requests, 9);
    let empty = Sink::start("--partitions 4 --held-bytes 0");
    let outcome = empty.load("ready --since-ms 1000").unwrap();
    assert_eq!(outcome.requests, 4);
    assert!(outcome.seconds > 1e9);
    assert_eq!(empty.load("fetch").unwrap_err(), "topic 'perf' holds nothing to read");
}

#[test]
fn refused_batches_are_counted_by_name_and_sent_anew() {
    let sink = Sink::start("--partitions 1 --refuse 3");
    let outcome = sink.load("produce --bytes 1m").unwrap();
    assert!(outcome.bytes >= 1 << 20);
    assert_eq!(outcome.errors.into_iter().collect::<Vec<_>>(), [("NOT_LEADER_OR_FOLLOWER".to_owned(), 3)]);
}

#[test]
fn what_stands_in_the_way_is_said_in_a_sentence() {
    let mut sink = Sink::start("--partitions 2");
    let why = sink.load("produce --partitions 3").unwrap_err();
    assert_eq!(why, "topic 'perf' has 2 partitions, not 3");
    assert!(sink.load("end-to-end --acks 0").unwrap_err().contains("--acks"));
    assert!(sink.load("produce --congestion nonsense").unwrap_err().contains("'nonsense'"));
    let address = sink.address.clone();
    let running = std::thread::spawn(move || run(&command(&format!("produce --seconds 20 --bootstrap {address}"))));
    std::thread::sleep(std::time::Duration::from_millis(300));
    sink.stop();
    // The thread is joined: its sockets are closed.
    let why = running.join().unwrap().unwrap_err();
    assert!(why.ends_with("closed the connection"), "{why}");
    assert!(sink.load("fetch").unwrap_err().contains("no broker answers"));
}
