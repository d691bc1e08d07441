//! Seeds, and simple damage to them, through every target: what a build without the engine can say.

use crate::{TARGETS, Target};

/// Damaged copies of each seed. Targets that start a whole simulation are slower and get fewer.
fn copies(target: &Target) -> usize {
    match target.name {
        "broker" => 1,
        "partition_log" | "metadata_log" => 4,
        _ => 20,
    }
}

/// A number that looks drawn at random, from the number before it.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 33) as usize
}

fn damage(input: &mut Vec<u8>, state: &mut u64) {
    for _ in 0..=next(state) % 3 {
        if input.is_empty() {
            return;
        }
        let at = next(state) % input.len();
        match next(state) % 6 {
            0 => input[at] = next(state) as u8,
            1 => input[at] ^= 1 << (next(state) % 8),
            2 => input[at] = 0xff,
            3 => input.truncate(at),
            4 => drop(input.drain(at..(at + 1 + next(state) % 8).min(input.len()))),
            _ => {
                let piece = input[at..(at + 1 + next(state) % 16).min(input.len())].to_vec();
                input.splice(at..at, piece);
            }
        }
    }
}

fn smoke(target: Target) {
    let mut state = 1;
    let seeds = (target.seeds)();
    assert!(!seeds.is_empty(), "{} has no seeds", target.name);
    target.check(&[]);
    for seed in seeds {
        target.check(&seed);
        for _ in 0..copies(&target) {
            let mut damaged = seed.clone();
            damage(&mut damaged, &mut state);
            target.check(&damaged);
        }
    }
}

macro_rules! smoke_tests {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            smoke(crate::$name::TARGET);
        })*
    };
}

smoke_tests! { requests responses batches compression files settings metadata_log partition_log broker }

#[test]
fn every_target_has_a_program_of_its_name() {
    for target in TARGETS {
        let program = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin").join(target.name).with_extension("rs");
        assert!(program.exists(), "{}", program.display());
    }
}

#[test]
fn the_gauge_sees_what_is_held() {
    let peak = crate::gauge::peak_of(|| {
        drop(Vec::<u8>::with_capacity(1 << 20));
        drop(Vec::<u8>::with_capacity(3 << 20));
    });
    assert!((3 << 20..4 << 20).contains(&peak), "{peak}");
}
