//! Random members against one machine: they join, sync, beat, commit, pause, crash, come back, and send a request twice; appends are
//! kept late or fail, which loses the machine; timers come late; topics and groups are deleted. At each step:
//!
//! 1. In a stable group every partition has exactly one owner, and no member is there that was not heard of for a session.
//! 2. Nobody is told of a partition that another was told of in the same generation.
//! 3. An offset that was answered is there, also when the machine is loaded anew; one that was deleted is not.
//! 4. Every request is answered once; none for ever waits.
//! 5. No generation comes back, and none that a member was given an assignment of is lost.
//!
//! A seed is a run. `OTTLA_GROUPS_SEED=7` runs one seed only.

mod client;
mod world;

use world::World;

/// Seeds of one test run.
const SEEDS: u64 = 300;

const STEPS: u32 = 1_500;

/// How many generations became stable.
fn run(seed: u64) -> Result<usize, String> {
    let mut world = World::new(seed);
    for step in 0..STEPS {
        world.step().and_then(|()| world.check()).map_err(|why| format!("step {step}: {why}"))?;
    }
    let stable = world.stable_generations();
    world.finish().map_err(|why| format!("at the end: {why}"))?;
    Ok(stable)
}

fn seeds() -> std::ops::Range<u64> {
    let one = std::env::var("OTTLA_GROUPS_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    one.map_or(0..SEEDS, |seed| seed..seed + 1)
}

#[test]
fn random_members_find_every_rule_kept() {
    let mut stable = 0;
    for seed in seeds() {
        match run(seed) {
            Ok(generations) => stable += generations,
            Err(why) => panic!("seed {seed}, {why}"),
        }
    }
    println!("{stable} stable generations");
    assert!(stable > seeds().count(), "the members hardly ever agreed: {stable} stable generations");
}

#[test]
fn a_seed_is_a_run() {
    let history = |seed| {
        let mut world = World::new(seed);
        for _ in 0..STEPS {
            world.step().unwrap();
        }
        world.log().to_vec()
    };
    assert!(history(3) == history(3));
}

#[cfg(feature = "planted-bugs")]
#[test]
fn every_planted_bug_is_found() {
    use crate::storage::planted::{self, Bug};
    for bug in Bug::GROUPS {
        planted::plant(Some(bug));
        let found = seeds().find_map(|seed| run(seed).err().map(|why| (seed, why)));
        planted::plant(None);
        match found {
            Some((seed, why)) => println!("{bug:?}: found after {} seeds: {why}", seed + 1),
            None => panic!("{bug:?}: not found in {} seeds", seeds().count()),
        }
    }
}
