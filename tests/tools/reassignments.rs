//! `ottla reassign-partitions` where there is somewhere to go: between two log directories of Apache Kafka. A JVM, so only with
//! `OTTLA_HEAVY=1`.

use std::path::Path;
use std::time::Duration;

use super::runner::run_ottla;
use super::table::Tool;
use crate::support::broker::{Broker, Kind, Settings, temp_dir};
use crate::support::records::Batch;
use crate::support::{eventually, heavy, noisy, topics};

const WITHIN: Duration = Duration::from_secs(60);

#[test]
fn a_replica_moves_to_another_directory_of_kafka() {
    if !heavy() {
        return println!("not run without OTTLA_HEAVY=1: it takes a JVM");
    }
    let _noisy = noisy();
    let dirs = [temp_dir(), temp_dir()];
    let paths = dirs.each_ref().map(|dir| dir.path().display().to_string());
    let broker = Broker::start_kind(Kind::Kafka, Settings::new().with("log.dirs", paths.join(",")));
    topics::create(&mut broker.connect(), "moved", 1, &[]);
    topics::produce(&mut broker.connect(), "moved", 0, Batch::at(1_700_000_000_000).value("x").encode());
    let is_in = |dir: &str| Path::new(dir).join("moved-0").is_dir();
    let [from, to] = match is_in(&paths[0]) {
        true => [&paths[0], &paths[1]],
        false => [&paths[1], &paths[0]],
    };
    let plan = dirs[0].path().join("plan.json");
    let entry = format!("{{\"topic\": \"moved\", \"partition\": 0, \"replicas\": [1], \"log_dirs\": [\"{to}\"]}}");
    std::fs::write(&plan, format!("{{\"version\": 1, \"partitions\": [{entry}]}}")).unwrap();
    let run = |action: &str, more: &[&str]| {
        let mut words: Vec<String> = ["--bootstrap-server", &broker.bootstrap(), action].map(str::to_owned).into();
        words.extend(["--reassignment-json-file".to_owned(), plan.display().to_string()]);
        words.extend(more.iter().map(|word| (*word).to_owned()));
        let said = run_ottla(Tool::ReassignPartitions, &words);
        assert_eq!((said.status, said.stderr.as_str()), (0, ""), "{said:?}");
        said.stdout
    };
    let said = run("--verify", &["--preserve-throttles"]);
    assert!(said.contains(&format!("Partition moved-0 on broker 1 is not being moved from log dir {from} to {to}.")), "{said}");
    let said = run("--execute", &["--replica-alter-log-dirs-throttle", "100000"]);
    assert!(said.contains("The replica-alter-dir throttle limit was set to 100000 B/s"), "{said}");
    assert!(said.contains(&format!("Successfully started moving log directory to {to} for replica moved-0 with broker 1 ")), "{said}");
    let said = eventually("the replica has moved", WITHIN, || {
        Some(run("--verify", &[])).filter(|said| said.contains("Reassignment of replica moved-0-1 completed successfully."))
    });
    assert!(said.contains("Clearing broker-level throttles on broker 1\nClearing topic-level throttles on topic moved"), "{said}");
    assert!(is_in(to) && !is_in(from));
    let said = run("--cancel", &["--preserve-throttles"]);
    assert!(said.contains("None of the specified partition moves are active."), "{said}");
}
