//! A segment's three indexes: offsets to positions, timestamps to offsets, aborted transactions. In memory they may hold all of their
//! entries, or only those that their file does not have.
//!
//! Called by `segment` and `log`; calls `types`. Pure: bytes and entries, no files.
//!
//! Invariants:
//! 1. A file has exactly its entries: nothing is allocated ahead and no zero tail is left (Kafka's own files are zero filled while in
//!    use; its readers take exact ones).
//! 2. `written <= len`, and the file holds the first `written` entries.
//! 3. Entries that are dropped from memory are in the file.
//!
//! What a crash leaves: files may be shorter than the log, never ahead of what was flushed of it; `log::recovery` adds what is missing.

mod offset;
mod time;
mod transaction;

pub use offset::{Located, OffsetEntry, OffsetIndex};
pub use time::{LargestTimestamp, TimeEntry, TimeIndex};
pub use transaction::AbortedTransaction;

/// One entry of an index file.
pub trait Entry: Copy {
    const SIZE: usize;
    fn encode(self, out: &mut Vec<u8>);
    /// `None` when the bytes (exactly `SIZE`) cannot be an entry.
    fn decode(bytes: &[u8]) -> Option<Self>;
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IndexError {
    #[error("{len} bytes are not a whole number of entries of {size}")]
    OddSize { len: u64, size: usize },
    #[error("entry {at} cannot be one")]
    BadEntry { at: usize },
    #[error("entry {at} does not follow its predecessor")]
    OutOfOrder { at: usize },
}

/// The entries of one index: those in memory, and how many before them are in the file only.
#[derive(Clone, Debug)]
pub struct Entries<E> {
    /// Entries that only the file has; those in memory follow them.
    skipped: u32,
    held: Vec<E>,
    /// Entries the file has.
    written: u32,
}

/// Entries to add at the end of a file.
pub struct Unwritten {
    pub position: u64,
    pub bytes: Vec<u8>,
    pub count: u32,
}

impl<E> Default for Entries<E> {
    fn default() -> Self {
        Self { skipped: 0, held: Vec::new(), written: 0 }
    }
}

impl<E: Entry> Entries<E> {
    /// Of a file with `count` entries, none read yet.
    pub fn in_file(count: u32) -> Self {
        Self { skipped: count, held: Vec::new(), written: count }
    }

    /// Of a file from which the entries were read.
    pub fn read(entries: Vec<E>) -> Self {
        Self { skipped: 0, written: entries.len() as u32, held: entries }
    }

    pub fn len(&self) -> usize {
        self.skipped as usize + self.held.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether every entry is in memory.
    pub fn is_whole(&self) -> bool {
        self.skipped == 0
    }

    /// The entries in memory: the last ones of the index.
    pub fn held(&self) -> &[E] {
        &self.held
    }

    pub fn held_mut(&mut self) -> &mut [E] {
        &mut self.held
    }

    pub fn push(&mut self, entry: E) {
        self.held.push(entry);
    }

    /// Bytes of the part of the file that is not in memory.
    pub fn skipped_bytes(&self) -> usize {
        self.skipped as usize * E::SIZE
    }

    /// Takes the entries that were in the file only; `file` holds at least those.
    pub fn fill(&mut self, file: &[u8]) -> Result<(), IndexError> {
        if file.len() < self.skipped_bytes() {
            return Err(IndexError::OddSize { len: file.len() as u64, size: E::SIZE });
        }
        let mut all = decode_all(&file[..self.skipped_bytes()])?;
        all.append(&mut self.held);
        self.held = all;
        self.skipped = 0;
        Ok(())
    }

    /// What to add to the file so that it has all entries in memory that `ready` accepts; entries are ready in order.
    pub fn unwritten(&self, ready: impl Fn(&E) -> bool) -> Unwritten {
        let from = (self.written - self.skipped) as usize;
        let mut bytes = Vec::new();
        let mut count = 0;
        for entry in self.held[from..].iter().take_while(|entry| ready(entry)) {
            entry.encode(&mut bytes);
            count += 1;
        }
        Unwritten { position: u64::from(self.written) * E::SIZE as u64, bytes, count }
    }

    /// The file has `count` entries more.
    pub fn note_written(&mut self, count: u32) {
        self.written += count;
        assert!(self.written as usize <= self.len(), "index file ahead of its index");
    }

    /// Whether the file has every entry.
    pub fn is_written(&self) -> bool {
        self.written as usize == self.len()
    }

    pub fn written(&self) -> u32 {
        self.written
    }

    /// Gives the memory of the entries back, if the file has them all. Answers whether it does.
    pub fn shed(&mut self) -> bool {
        if !self.is_written() {
            return false;
        }
        self.skipped = self.written;
        self.held = Vec::new();
        true
    }

    /// Keeps the entries in front that `keep` accepts. Only for a whole index.
    pub fn cut(&mut self, keep: impl Fn(&E) -> bool) {
        assert!(self.is_whole(), "an index is cut only when it is in memory");
        let kept = self.held.partition_point(keep);
        self.held.truncate(kept);
        self.written = self.written.min(kept as u32);
    }
}

/// All entries of a file.
pub fn decode_all<E: Entry>(file: &[u8]) -> Result<Vec<E>, IndexError> {
    if !file.len().is_multiple_of(E::SIZE) {
        return Err(IndexError::OddSize { len: file.len() as u64, size: E::SIZE });
    }
    file.chunks_exact(E::SIZE).enumerate().map(|(at, bytes)| E::decode(bytes).ok_or(IndexError::BadEntry { at })).collect()
}

/// How many entries in front follow each on the one before, as `follows` says.
fn ordered<E>(entries: &[E], follows: impl Fn(Option<&E>, &E) -> bool) -> usize {
    (0..entries.len()).find(|&at| !follows(at.checked_sub(1).map(|before| &entries[before]), &entries[at])).unwrap_or(entries.len())
}

fn all_ordered<E>(entries: &[E], ordered: usize) -> Result<(), IndexError> {
    if ordered == entries.len() { Ok(()) } else { Err(IndexError::OutOfOrder { at: ordered }) }
}

#[cfg(test)]
mod tests;
