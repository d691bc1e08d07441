//! Fuzz targets for everything Ottla reads from a socket or a disk: any bytes may come, and none may panic, hang, take more memory than
//! a named limit, or be believed where a checksum says otherwise.
//!
//! A target is a function over bytes, a list of seeds made by our own encoders (and from the golden frames), and two limits. With the
//! feature `engine` each is a libFuzzer program, which `run` beside this crate builds and runs. Without it, `replay` runs the files it is
//! given through a target, and the tests below run every seed, and simple damage to every seed, through every target.
//!
//! Invariants:
//! 1. A target is a function of its input: what it finds, the file that found it finds again.
//! 2. Where a checksum would stop every mutation at the door, the target mends it first if the input's first byte asks for that.

pub mod batches;
pub mod broker;
pub mod compression;
pub mod files;
mod frames;
mod gauge;
mod golden;
pub mod metadata_log;
pub mod partition_log;
pub mod requests;
pub mod responses;
mod seeds;
pub mod settings;

/// One thing that reads bytes it cannot trust.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Bytes an input may make us hold, apart from `held_per_byte` for each of its own.
    pub held_max: usize,
    pub held_per_byte: usize,
}

pub const TARGETS: [Target; 9] = [
    requests::TARGET,
    responses::TARGET,
    batches::TARGET,
    compression::TARGET,
    files::TARGET,
    settings::TARGET,
    metadata_log::TARGET,
    partition_log::TARGET,
    broker::TARGET,
];

impl Target {
    /// Runs one input; panics at any finding.
    pub fn check(&self, input: &[u8]) {
        let peak = gauge::peak_of(|| (self.run)(input));
        let limit = self.held_max + self.held_per_byte * input.len();
        assert!(peak <= limit, "an input of {} bytes made us hold {peak} bytes, {limit} allowed", input.len());
    }

    /// Writes the seeds into the directory that `OTTLA_FUZZ_SEEDS` names, if it is set: the engine reads its corpus after this.
    pub fn write_seeds(&self) {
        let Some(directory) = std::env::var_os("OTTLA_FUZZ_SEEDS") else { return };
        let directory = std::path::PathBuf::from(directory);
        std::fs::create_dir_all(&directory).expect("the directory for seeds");
        for (index, seed) in (self.seeds)().iter().enumerate() {
            std::fs::write(directory.join(format!("seed-{index:04}")), seed).expect("a seed's file");
        }
    }
}

/// The program of a target.
#[cfg(feature = "engine")]
#[macro_export]
macro_rules! program {
    ($target:expr) => {
        libfuzzer_sys::fuzz_target!(init: $target.write_seeds(), |input: &[u8]| $target.check(input));
    };
}

#[cfg(test)]
mod tests;
