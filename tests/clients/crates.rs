//! The tests that Kafka clients of the Rust world bring along, each against a broker of its own in a network namespace: see
//! `tests/peers/crate-tests`. Behind `OTTLA_HEAVY`: the crates are built first.

use std::path::Path;
use std::time::Duration;

use crate::support::broker::{only_ottla, temp_dir};
use crate::support::process::{command, run};
use crate::support::{heavy, noisy, peers};

const DEADLINE: Duration = Duration::from_secs(1800);

fn tests_of(name: &str, least: usize) {
    if !heavy() || only_ottla("the broker is started by a script") {
        return;
    }
    let _noisy = noisy();
    peers::dir();
    let dir = temp_dir();
    let mut script = command(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/crate-tests"));
    script.args([name, env!("CARGO_BIN_EXE_ottla")]).arg(dir.path().join("log"));
    let said = run(name, script, b"", DEADLINE).expect_success();
    let passed = said.lines().filter(|line| line.starts_with("test ") && line.ends_with("... ok")).count();
    println!("{name}: {passed} tests");
    assert!(passed >= least, "{said}");
}

#[test]
fn rdkafkas_own() {
    tests_of("rdkafka", 40);
}

#[test]
fn rskafkas_own() {
    tests_of("rskafka", 20);
}
