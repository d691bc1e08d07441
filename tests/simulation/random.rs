//! Numbers drawn from a seed: one stream per purpose, so that one more draw in one place does not shift the others.

pub struct Random {
    state: u64,
}

impl Random {
    /// The stream named `salt`, number `index`, of `seed`.
    pub fn new(seed: u64, salt: &str, index: u64) -> Self {
        let mut random = Self { state: seed ^ 0x6f74_746c_615f_7369 };
        for byte in salt.bytes().map(u64::from).chain([index]) {
            random.state = random.next() ^ byte;
        }
        random
    }

    pub fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.state;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// A number under `bound`; zero for a bound of zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    pub fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }

    /// Mostly near `low`, now and then up to `high`.
    pub fn skewed(&mut self, low: u64, high: u64) -> u64 {
        let shift = self.below(6);
        low + self.below((high.saturating_sub(low) >> shift) + 1)
    }
}
