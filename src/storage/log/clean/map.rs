//! The latest offset of each key in the part of a log that is being compacted, in a fixed amount of memory.
//!
//! Called by `filter`; calls nothing. Pure: the seed of the hash is an argument.
//!
//! A key is known by 128 bits of hash, so that an entry takes 24 bytes however long its key is. The seed differs from pass to pass: who
//! chooses keys cannot choose two that are taken for one.
//!
//! Invariants:
//! 1. Memory is what was asked for at the start; a key that finds no entry free is refused, never forgotten.

use std::hash::{DefaultHasher, Hasher};

use crate::types::Offset;

/// Bytes of one entry: two words of hash, and the offset.
pub const ENTRY_BYTES: u64 = 24;
/// Places that the hash picks for a key before its neighbours are looked at.
const PLACES: u64 = 16;

/// `0` in the last word says that the slot is free; an offset is stored one higher.
type Slot = [u64; 3];

pub struct OffsetMap {
    slots: Vec<Slot>,
    entries: usize,
    entries_max: usize,
    seed: [u64; 2],
}

impl OffsetMap {
    /// A map of at most `bytes`, of which `load_factor` is used: a fuller one takes longer to search.
    pub fn new(bytes: u64, load_factor: f64, seed: [u64; 2]) -> Self {
        let slots = usize::try_from(bytes / ENTRY_BYTES).unwrap_or(usize::MAX / size_of::<Slot>()).max(2);
        let entries_max = ((slots as f64 * load_factor) as usize).clamp(1, slots - 1);
        Self { slots: vec![[0; 3]; slots], entries: 0, entries_max, seed }
    }

    /// Notes that the key was last seen at `offset`. `false`: there is no room for another key.
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let at = self.find(hash);
        let slot = &mut self.slots[at];
        if slot[2] == 0 {
            if self.entries == self.entries_max {
                return false;
            }
            self.entries += 1;
            [slot[0], slot[1]] = hash;
        }
        slot[2] = offset.get() as u64 + 1;
        true
    }

    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let slot = self.slots[self.find(self.hash(key))];
        slot[2].checked_sub(1).map(|offset| Offset(offset as i64))
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        self.seed.map(|seed| {
            let mut hasher = DefaultHasher::new();
            hasher.write_u64(seed);
            hasher.write(key);
            hasher.finish()
        })
    }

    /// The slot that has the hash, or the free one where it belongs. One is always free.
    fn find(&self, hash: [u64; 2]) -> usize {
        let slots = self.slots.len() as u64;
        let mut attempt = 0;
        loop {
            let place = hash[0].wrapping_add(hash[1].wrapping_mul(attempt.min(PLACES))) % slots;
            let at = ((place + attempt.saturating_sub(PLACES)) % slots) as usize;
            let slot = &self.slots[at];
            if slot[2] == 0 || (slot[0] == hash[0] && slot[1] == hash[1]) {
                return at;
            }
            attempt += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn it_answers_like_a_map_until_it_is_full_and_then_refuses_new_keys_only() {
        let mut map = OffsetMap::new(1000 * ENTRY_BYTES, 0.9, [1, 2]);
        let mut model = BTreeMap::new();
        for n in 0..5000u64 {
            let key = (n * 7919 % 1200).to_be_bytes();
            let known = model.contains_key(&key);
            let put = map.put(&key, Offset(n as i64));
            assert_eq!(put, known || model.len() < 900, "key {n}");
            if put {
                model.insert(key, Offset(n as i64));
            }
        }
        assert_eq!(model.len(), 900);
        for n in 0..1200u64 {
            let key = n.to_be_bytes();
            assert_eq!(map.get(&key), model.get(&key).copied());
        }
    }

    #[test]
    fn the_smallest_and_the_fullest_find_their_keys() {
        for (bytes, load_factor) in [(0, 0.9), (48, 1.0), (240, 5.0), (2400, f64::MIN_POSITIVE)] {
            let mut map = OffsetMap::new(bytes, load_factor, [3, 4]);
            let put: Vec<u32> = (0..200u32).filter(|key| map.put(&key.to_be_bytes(), Offset(i64::from(*key)))).collect();
            assert!(!put.is_empty());
            for key in 0..200u32 {
                let found = map.get(&key.to_be_bytes());
                assert_eq!(found, put.contains(&key).then_some(Offset(i64::from(key))));
            }
        }
    }
}
