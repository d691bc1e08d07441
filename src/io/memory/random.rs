//! Streams of pseudo-random numbers, all drawn from the one seed of a simulation.
//!
//! Each subsystem (scheduler, each node's disk, network, each node's application) owns a stream with a salt of its own, so that one more
//! draw in one of them does not shift the others. SplitMix64: small, fast, and the same on every machine and in every release.

pub(super) struct Random {
    state: u64,
}

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

impl Random {
    /// The stream named `salt`, number `index`, of `seed`.
    pub(super) fn new(seed: u64, salt: &str, index: u64) -> Self {
        let mut state = mix(seed.wrapping_add(GOLDEN));
        for byte in salt.bytes() {
            state = mix(state ^ u64::from(byte)).wrapping_add(GOLDEN);
        }
        Self { state: mix(state ^ index) }
    }

    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(GOLDEN);
        mix(self.state)
    }

    /// A number under `bound`; zero for a bound of zero.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64 }
    }

    /// A number from `low` to `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True once in `count` draws; never for zero.
    pub(super) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0 && count > 0
    }

    /// A span that is mostly near `low`, rarely near `high`: delays have long tails.
    pub(super) fn skewed(&mut self, low: u64, high: u64) -> u64 {
        let width = high.saturating_sub(low);
        let shift = self.below(8);
        low + self.below((width >> shift).saturating_add(1))
    }
}
