//! Deliberate defects, planted one at a time: the simulation must find each, or its checks do not see what they claim to see.
//!
//! `OTTLA_SIM_BUG=WaiterLost` looks for one only, and `OTTLA_SIM_SEED=5` in one seed only.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ottla::types::planted::{self, Bug};

use crate::{compacted, run_in, say_what_the_broker_says, scenario, setting, zookeeper};

/// Seeds within which a planted defect must be found.
const SEEDS_MAX: u64 = 2000;

/// Nothing of a broker that stands alone truncates a log: that comes with followers.
const OUT_OF_REACH: [Bug; 1] = [Bug::TruncatePastHighWatermark];

/// Defects of compaction: its own scenario finds them.
const OF_COMPACTION: [Bug; 4] = [Bug::TombstoneEarly, Bug::LastOffsetLost, Bug::CleanedPastDirty, Bug::SwapUnsynced];

/// A defect, and the first seed that showed it and how.
type Finding = (Bug, Option<(u64, String)>);

#[test]
fn every_planted_bug_is_found() {
    let wanted = std::env::var("OTTLA_SIM_BUG").ok();
    let is_wanted = |bug: &Bug| wanted.as_ref().is_none_or(|name| *name == format!("{bug:?}"));
    let bugs = Bug::ALL.into_iter().chain(Bug::SHARED_HOME).filter(|bug| !OUT_OF_REACH.contains(bug));
    let bugs: Vec<Bug> = bugs.filter(is_wanted).collect();
    let seeds = setting("OTTLA_SIM_SEED").map_or(0..SEEDS_MAX, |seed| seed..seed + 1);
    if seeds.end == seeds.start + 1 {
        say_what_the_broker_says();
    }
    std::panic::set_hook(Box::new(|_| {}));
    let next = AtomicUsize::new(0);
    let found: Mutex<Vec<Finding>> = Mutex::default();
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    planted::plant(Some(*bug));
                    let scenario = match bug {
                        bug if OF_COMPACTION.contains(bug) => compacted::run,
                        bug if Bug::SHARED_HOME.contains(bug) => zookeeper::run,
                        _ => scenario::run,
                    };
                    let failure = seeds.clone().find_map(|seed| Some((seed, run_in(scenario, seed).failure?)));
                    planted::plant(None);
                    found.lock().expect("no thread panics while it holds the lock").push((*bug, failure));
                }
            });
        }
    });
    let _ours = std::panic::take_hook();
    let found = found.into_inner().expect("no thread panicked");
    for (bug, failure) in &found {
        match failure {
            Some((seed, why)) => println!(
                "{bug:?}: found after {} seeds: {}",
                seed + 1,
                if wanted.is_some() { why } else { why.lines().next().unwrap_or_default() }
            ),
            None => println!("{bug:?}: NOT FOUND in {SEEDS_MAX} seeds"),
        }
    }
    let missed: Vec<Bug> = found.iter().filter(|(_, failure)| failure.is_none()).map(|(bug, _)| *bug).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
