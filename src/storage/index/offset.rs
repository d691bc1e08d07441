//! The offset index: where batches begin in a segment's file.
//!
//! ```text
//!   .index, 8 bytes an entry, big endian
//!   0  4  last offset of the batch that begins at the position, relative to the segment's base offset
//!   4  4  position
//! ```
//!
//! In memory an entry has the batch's base offset besides, which the file form does not: with it, a read that begins at an indexed batch
//! needs no look at the log file. Entries that were read from a file learn it when someone looks.

use super::{Entries, Entry, IndexError};

/// Stands for a base offset that the file did not tell.
const UNKNOWN: u32 = u32::MAX;

/// A batch that begins at `position`; offsets are relative to the segment's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffsetEntry {
    pub last: u32,
    pub position: u32,
    base: u32,
}

impl OffsetEntry {
    pub fn new(base: u32, last: u32, position: u32) -> Self {
        Self { last, position, base }
    }

    pub fn base(&self) -> Option<u32> {
        (self.base != UNKNOWN).then_some(self.base)
    }
}

impl Entry for OffsetEntry {
    const SIZE: usize = 8;

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.last.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (last, position) = bytes.split_at_checked(4)?;
        let last = u32::from_be_bytes(last.try_into().ok()?);
        let position = u32::from_be_bytes(position.try_into().ok()?);
        // Kafka's numbers are signed.
        (last <= i32::MAX as u32 && position <= i32::MAX as u32).then_some(Self { last, position, base: UNKNOWN })
    }
}

/// Where to look for the batch that holds an offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Located {
    /// It begins here.
    At(u32),
    /// It may begin at `guess`; if that batch begins beyond the offset, it is found by walking from `from`.
    Probe { guess: u32, from: u32 },
    /// It is found by walking batches from here.
    Walk(u32),
    /// The file's entries are needed to say.
    NotLoaded,
}

#[derive(Clone, Default, Debug)]
pub struct OffsetIndex {
    pub entries: Entries<OffsetEntry>,
    /// The segment's first batch, which no file has an entry for.
    first: Option<(u32, u32)>,
    /// Bytes appended since the last entry.
    bytes_since_entry: u64,
}

impl OffsetIndex {
    /// Of the entries of a file; the log is known up to where the last entry's batch begins.
    pub fn of(entries: Entries<OffsetEntry>) -> Self {
        Self { entries, first: None, bytes_since_entry: 0 }
    }

    /// Notes an appended batch; answers whether it got an entry. Kafka's rule: a batch gets one when more than `interval` bytes came
    /// since the last, so that the first batch of a segment never does.
    pub fn on_batch(&mut self, base: u32, last: u32, position: u32, len: u32, interval: u32) -> bool {
        let indexed = self.bytes_since_entry > u64::from(interval);
        if indexed {
            self.entries.push(OffsetEntry { last, position, base });
            self.bytes_since_entry = 0;
        }
        if position == 0 {
            self.first = Some((base, last));
        }
        self.bytes_since_entry += u64::from(len);
        indexed
    }

    /// Where the batch begins that holds `offset`, or the first one after it if there is a gap.
    pub fn locate(&self, offset: u32) -> Located {
        if self.first.is_some_and(|(_, last)| offset <= last) {
            return Located::At(0);
        }
        let held = self.entries.held();
        let at = held.partition_point(|entry| entry.last < offset);
        let floor = match at.checked_sub(1) {
            Some(before) => held[before].position,
            None if self.entries.is_whole() => 0,
            // The batch may still begin at the first entry in memory, if that is known to hold the offset.
            None => {
                return match held.first() {
                    Some(entry) if entry.base().is_some_and(|base| base <= offset) => Located::At(entry.position),
                    _ => Located::NotLoaded,
                };
            }
        };
        match held.get(at) {
            Some(entry) => match entry.base() {
                Some(base) if base <= offset => Located::At(entry.position),
                Some(_) => Located::Walk(floor),
                None => Located::Probe { guess: entry.position, from: floor },
            },
            None => Located::Walk(floor),
        }
    }

    /// The batch at `position` begins with `base`: remembered if the batch has an entry, or is the first.
    pub fn learn(&mut self, position: u32, base: u32, last: u32) {
        if position == 0 {
            self.first = Some((base, last));
            return;
        }
        let held = self.entries.held_mut();
        if let Ok(at) = held.binary_search_by_key(&position, |entry| entry.position)
            && held[at].last == last
        {
            held[at].base = base;
        }
    }

    /// A known start of a batch that holds no offset below `offset`, as far back in the file as is known; and whether it is the very
    /// batch that begins with `offset`. Every batch before the position is wholly below `offset`.
    pub fn end_below(&self, offset: u32) -> Option<(u32, bool)> {
        let held = self.entries.held();
        let after = held.partition_point(|entry| match entry.base() {
            Some(base) => base <= offset,
            // The batch itself may reach beyond the offset; what lies before it does not.
            None => entry.last <= offset,
        });
        let entry = held[..after].last()?;
        Some((entry.position, entry.base() == Some(offset)))
    }

    /// The largest known start of a batch that is at most `position`.
    pub fn boundary_at_most(&self, position: u64) -> Option<u32> {
        let held = self.entries.held();
        let after = held.partition_point(|entry| u64::from(entry.position) <= position);
        held[..after].last().map(|entry| entry.position)
    }

    /// The smallest known start of a batch beyond `position`.
    pub fn boundary_after(&self, position: u32) -> Option<u32> {
        let held = self.entries.held();
        let at = held.partition_point(|entry| entry.position <= position);
        held.get(at).map(|entry| entry.position)
    }

    /// An offset that no batch before `position` reaches, from the first entry at or behind it.
    pub fn offset_beyond(&self, position: u64) -> Option<u32> {
        let held = self.entries.held();
        let at = held.partition_point(|entry| u64::from(entry.position) < position);
        held.get(at).map(|entry| entry.base().unwrap_or(entry.last))
    }

    /// The length of the batch that begins at `position`, if it and the next batch both have entries with nothing between.
    pub fn batch_len(&self, position: u32) -> Option<u32> {
        let held = self.entries.held();
        let at = held.partition_point(|entry| entry.position <= position);
        let next = held.get(at)?;
        let last = match at.checked_sub(1).map(|before| &held[before]) {
            Some(entry) if entry.position == position => entry.last,
            None if position == 0 && self.entries.is_whole() => self.first?.1,
            _ => return None,
        };
        // Offsets may have gaps, so that only the very next offset proves neighbours.
        (next.base()? == last + 1).then(|| next.position - position)
    }

    /// Forgets batches from `position` on. The file must be in memory.
    pub fn cut(&mut self, position: u32) {
        self.entries.cut(|entry| entry.position < position);
        if position == 0 {
            self.first = None;
        }
        let from = self.entries.held().last().map_or(0, |entry| entry.position);
        self.bytes_since_entry = u64::from(position - from);
    }

    /// Checks a file's entries against the log they index: they rise, and lie within it.
    pub fn check(entries: &[OffsetEntry], log_len: u64) -> Result<(), IndexError> {
        super::all_ordered(entries, Self::ordered(entries, log_len))
    }

    /// How many entries in front pass [`OffsetIndex::check`].
    pub fn ordered(entries: &[OffsetEntry], log_len: u64) -> usize {
        super::ordered(entries, |before, entry| {
            let follows = before.is_none_or(|b| b.last < entry.last && b.position < entry.position);
            follows && entry.position > 0 && u64::from(entry.position) < log_len
        })
    }
}
