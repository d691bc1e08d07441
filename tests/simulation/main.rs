//! A whole broker in a simulated world, under faults: one seed decides everything, a failure prints the seed that repeats it.
//!
//! ```text
//!   cargo test --test simulation                              the seeds of every build
//!   OTTLA_SIM_SEED=17 cargo test --test simulation            one seed, with its last events
//!   OTTLA_SIM_SEEDS=5000 cargo test --test simulation         more seeds, from OTTLA_SIM_FROM (0) on
//!   cargo test --features planted-bugs --test simulation planted      deliberate defects must be found
//! ```
//!
//! What goes wrong (the header of `ottla::io::memory` says how each looks from inside):
//! - the broker: killed, without power, both also in the middle of a chosen call of the disk and during a start; stopped in good order,
//!   with and without a loss of power right after;
//! - the disk: slow, out of order, hanging for seconds; on some seeds failing writes, syncs and opens, and no space;
//! - the network: slow links, tiny windows, chunks of a few bytes; on some seeds cut connections and links that go down;
//! - clients: batches sent again, unsound batches, requests pipelined and partitions mixed, offsets out of range, limits of a byte, readers that do not read,
//!   topics deleted and created again under use.
//!
//! Compacted topics have a scenario of their own, `compacted`, and so have brokers whose metadata an ensemble of ZooKeeper servers keeps,
//! `zookeeper`.
//!
//! What must hold is in the header of `model`; `checks` looks at whole logs after each start and at files after each end.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

mod administering;
mod broker;
mod checks;
mod client;
mod compacted;
mod faults;
mod idempotent;
mod leftovers;
mod life;
mod model;
#[cfg(feature = "planted-bugs")]
mod planted;
mod producing;
mod random;
mod reading;
mod requests;
mod scenario;
mod shape;
mod workload;
mod zookeeper;

use life::Outcome;

/// Seeds of every build: about a minute on two cores.
const SEEDS: u64 = 300;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

/// One seed is looked at closely: RUST_LOG=ottla=debug chooses what the broker says of itself.
fn say_what_the_broker_says() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    // Another test of this process may have done so.
    let _already = tracing_subscriber::fmt().with_env_filter(filter).without_time().try_init();
}

/// Seeds of every build with compacted topics.
const COMPACTED_SEEDS: u64 = 150;

/// Seeds of every build with brokers on a home that they share.
const ZOOKEEPER_SEEDS: u64 = 400;

/// Runs a seed; an assertion of the broker is a failure like any other.
fn run_in(scenario: fn(u64) -> Outcome, seed: u64) -> Outcome {
    let outcome = catch_unwind(AssertUnwindSafe(|| scenario(seed)));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Outcome {
            trace_hash: 0,
            failure: Some(format!("panic: {}", text.unwrap_or_default())),
            counts: BTreeMap::new(),
            recent: Vec::new(),
            steps: 0,
            virtual_time: Duration::ZERO,
        }
    })
}

#[derive(Default)]
struct Total {
    counts: BTreeMap<String, u64>,
    steps: u64,
    virtual_time: Duration,
    failures: BTreeMap<u64, String>,
}

#[test]
fn seeds_hold() {
    hold(scenario::run, "seeds_hold", SEEDS);
}

#[test]
fn compacted_topics_hold() {
    let counts = hold(compacted::run, "compacted_topics_hold", COMPACTED_SEEDS);
    let read = counts.get("compacted batch read").copied().unwrap_or_default();
    assert!(read > 0 || setting("OTTLA_SIM_SEED").is_some(), "nothing was compacted");
}

#[test]
fn brokers_on_zookeeper_hold() {
    let counts = hold(zookeeper::run, "brokers_on_zookeeper_hold", ZOOKEEPER_SEEDS);
    let succeeded = counts.get("frozen past its session").copied().unwrap_or_default();
    assert!(succeeded > 0 || setting("OTTLA_SIM_SEED").is_some() || setting("OTTLA_SIM_SEEDS").is_some(), "no controller was frozen");
}

/// Runs seeds and answers with what was counted in all of them.
fn hold(scenario: fn(u64) -> Outcome, test: &str, seeds: u64) -> BTreeMap<String, u64> {
    let (from, count) = match setting("OTTLA_SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (setting("OTTLA_SIM_FROM").unwrap_or(0), setting("OTTLA_SIM_SEEDS").unwrap_or(seeds)),
    };
    if count == 1 {
        say_what_the_broker_says();
    }
    let next = AtomicU64::new(from);
    let total = Mutex::new(Total::default());
    let began = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count {
                        break;
                    }
                    let outcome = run_in(scenario, seed);
                    if count == 1 {
                        outcome.recent.iter().for_each(|event| println!("  {event}"));
                    }
                    let mut total = total.lock().expect("no test thread panics while it holds the lock");
                    for (what, times) in outcome.counts {
                        *total.counts.entry(what).or_default() += times;
                    }
                    total.steps += outcome.steps;
                    total.virtual_time += outcome.virtual_time;
                    total.failures.extend(outcome.failure.map(|why| (seed, why)));
                }
            });
        }
    });
    let total = total.into_inner().expect("no test thread panicked");
    let spent = began.elapsed();
    println!(
        "{count} seeds in {spent:.1?}, {:.1} a second; {} steps, {:.0?} of virtual time",
        count as f64 / spent.as_secs_f64(),
        total.steps,
        total.virtual_time
    );
    for (what, times) in &total.counts {
        println!("{times:>12}  {what}");
    }
    for (seed, why) in &total.failures {
        println!("FAILED: {why}\n    OTTLA_SIM_SEED={seed} cargo test --test simulation {test}");
    }
    assert!(total.failures.is_empty(), "{} of {count} seeds failed", total.failures.len());
    total.counts
}

#[test]
fn a_seed_runs_the_same_twice() {
    for seed in [3, 11, 42] {
        for scenario in [scenario::run, compacted::run, zookeeper::run] {
            let (first, second) = (run_in(scenario, seed), run_in(scenario, seed));
            assert_eq!(first.trace_hash, second.trace_hash, "seed {seed} runs differently");
            assert_eq!(first.counts, second.counts);
        }
    }
}
