//! The time index: the largest timestamp up to a batch, so that a look-up by time skips what is older.
//!
//! ```text
//!   .timeindex, 12 bytes an entry, big endian
//!   0  8  largest timestamp in the segment so far
//!   8  4  last offset of the batch that has it, relative to the segment's base offset
//! ```

use super::{Entries, Entry, IndexError};
use crate::types::TimestampMs;

/// `timestamp` is the largest up to and including the batch that ends with `last`, relative to the segment's base offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeEntry {
    pub timestamp: TimestampMs,
    pub last: u32,
}

impl Entry for TimeEntry {
    const SIZE: usize = 12;

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.get().to_be_bytes());
        out.extend_from_slice(&self.last.to_be_bytes());
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (timestamp, last) = bytes.split_at_checked(8)?;
        let timestamp = TimestampMs(i64::from_be_bytes(timestamp.try_into().ok()?));
        let last = u32::from_be_bytes(last.try_into().ok()?);
        (last <= i32::MAX as u32).then_some(Self { timestamp, last })
    }
}

/// What is known of a segment's largest timestamp.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LargestTimestamp {
    /// The file's last entry has it; nobody looked yet.
    NotLoaded,
    /// No batch has a timestamp.
    None,
    Of(TimeEntry),
}

#[derive(Clone, Debug)]
pub struct TimeIndex {
    pub entries: Entries<TimeEntry>,
    largest: LargestTimestamp,
    /// The last entry's timestamp: the next must be larger.
    last_entry: Option<TimestampMs>,
}

impl Default for TimeIndex {
    fn default() -> Self {
        Self { entries: Entries::default(), largest: LargestTimestamp::None, last_entry: None }
    }
}

impl TimeIndex {
    /// Of the entries of a file; the last may be read later.
    pub fn of(entries: Entries<TimeEntry>) -> Self {
        let last = entries.held().last().copied();
        let largest = match last {
            Some(entry) => LargestTimestamp::Of(entry),
            None if entries.is_empty() => LargestTimestamp::None,
            None => LargestTimestamp::NotLoaded,
        };
        Self { entries, largest, last_entry: last.map(|entry| entry.timestamp) }
    }

    /// The file's last entry was read.
    pub fn on_last_entry(&mut self, entry: TimeEntry) {
        self.last_entry = Some(entry.timestamp);
        if self.largest == LargestTimestamp::NotLoaded {
            self.largest = LargestTimestamp::Of(entry);
        }
    }

    pub fn largest(&self) -> LargestTimestamp {
        match self.entries.held().last() {
            // The entries were read meanwhile: those in memory are the last ones.
            Some(entry) if self.largest == LargestTimestamp::NotLoaded => LargestTimestamp::Of(*entry),
            _ => self.largest,
        }
    }

    /// Notes an appended batch: its largest timestamp and last offset, and whether it got an offset index entry.
    pub fn on_batch(&mut self, timestamp: TimestampMs, last: u32, indexed: bool) {
        let news = match self.largest {
            LargestTimestamp::Of(entry) => timestamp > entry.timestamp,
            LargestTimestamp::None | LargestTimestamp::NotLoaded => timestamp > TimestampMs::NONE,
        };
        if news {
            self.largest = LargestTimestamp::Of(TimeEntry { timestamp, last });
        }
        if indexed {
            self.add_largest();
        }
    }

    /// Adds an entry for the largest timestamp unless there is one: done with each offset index entry, and when a segment is sealed.
    pub fn add_largest(&mut self) {
        if let LargestTimestamp::Of(entry) = self.largest
            && self.last_entry.is_none_or(|last| entry.timestamp > last)
        {
            self.entries.push(entry);
            self.last_entry = Some(entry.timestamp);
        }
    }

    /// The last offset, relative to the segment's, of a batch before which everything is older than `target`. `None`: look from the
    /// segment's start. Only for a whole index.
    pub fn floor(&self, target: TimestampMs) -> Option<u32> {
        let held = self.entries.held();
        let after = held.partition_point(|entry| entry.timestamp < target);
        held[..after].last().map(|entry| entry.last)
    }

    /// Forgets batches from `offset` on. The file must be in memory; what remains after the last entry kept is to be told again with
    /// [`TimeIndex::on_batch`].
    pub fn cut(&mut self, offset: u32) {
        self.entries.cut(|entry| entry.last < offset);
        let last = self.entries.held().last().copied();
        self.last_entry = last.map(|entry| entry.timestamp);
        self.largest = last.map_or(LargestTimestamp::None, LargestTimestamp::Of);
    }

    /// Checks a file's entries: timestamps rise, and offsets do not fall.
    pub fn check(entries: &[TimeEntry]) -> Result<(), IndexError> {
        let follows = |before: &TimeEntry, entry: &TimeEntry| before.timestamp < entry.timestamp && before.last <= entry.last;
        super::all_ordered(entries, super::ordered(entries, |before, entry| before.is_none_or(|before| follows(before, entry))))
    }

    /// How many entries in front pass [`TimeIndex::check`], and are of a batch each: the front of an entry may be on the disk without its offset.
    pub fn ordered(entries: &[TimeEntry]) -> usize {
        super::ordered(entries, |before, entry| before.is_none_or(|b| b.timestamp < entry.timestamp && b.last < entry.last))
    }
}
