//! A full disk under the file sink: the task stops, no line is lost or torn, and a restart goes on.

use super::{Bench, WITHIN, broker, lines};
use crate::disk::medium::Medium;
use crate::support::{eventually, noisy};

#[test]
fn a_full_disk_stops_the_sink_and_loses_nothing() {
    let _noisy = noisy();
    let Some(medium) = Medium::memory(1) else { return };
    let broker = broker();
    let bench = Bench::new(&broker, "");
    let expected: Vec<String> = (0..20_000).map(|index| format!("line {index:05} {}", "x".repeat(index % 90))).collect();
    bench.append("in.log", &(expected.join("\n") + "\n"));
    let to = medium.path().join("out.log");
    let connectors = [bench.source("in", &bench.path("in.log"), "full", ""), bench.sink("out", &to, "full", "")];
    let worker = bench.start(&connectors);
    let why = worker.wait_for_state("out", "FAILED");
    assert!(why.starts_with(&format!("cannot append to {}: No space left on device;", to.display())), "{why}");
    assert_eq!(worker.task_state("in").0, "RUNNING");
    let held = lines(&to);
    assert!(!held.is_empty() && expected.starts_with(&held), "{} lines", held.len());
    medium.resize_memory(64);
    assert_eq!(worker.call("POST", "/connectors/out/restart?includeTasks=true&onlyFailed=true", "").0, 202);
    let last = expected.last().unwrap();
    eventually("the rest arrives", WITHIN, || (lines(&to).last() == Some(last)).then_some(()));
    worker.stop();
    let mut found = lines(&to);
    found.sort();
    found.dedup();
    let mut sorted = expected.clone();
    sorted.sort();
    assert!(found == sorted, "{} lines of {}", found.len(), sorted.len());
}
