//! Which entries of a segment's index files are believed.
//!
//! Called by `recover`; calls `index`, `io::World`.
//!
//! After a clean shutdown a file of whole entries is, and only its last entry is looked at. After a crash only entries below the recovery
//! point are, as they were flushed before it moved, or below what is known to have been written, where that is read back; the rest of the
//! file is cut off.
//!
//! Behind the entries that were flushed, a loss of power may leave zeros, or the half of an entry, that read as an entry below the recovery
//! point. So a file is believed only up to where its order breaks; time entries no further than the last offset entry, and aborted
//! transactions no further than where the producers' replay begins, as what lies behind is read again anyhow. The last offset entry is
//! proven by the batch that is read there.

use std::path::Path;

use super::LogError;
use super::open::Listed;
use super::recover::Recovery;
use crate::io::{File, OpenMode, World};
use crate::storage::index::{AbortedTransaction, Entries, Entry, OffsetEntry, OffsetIndex, TimeEntry, TimeIndex};
use crate::storage::layout::{SegmentFile, SegmentPart};
use crate::storage::planted::{self, Bug};
use crate::storage::segment::{FirstTimestamp, Segment, Stored};
use crate::types::{Offset, TimestampMs};

/// What of the files is taken as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Believed {
    /// Everything: the log was closed.
    All,
    /// Only what lies below the recovery point.
    Below(Offset),
    /// What lies below is read back as it was written, but only what lies below `flushed` is durable (see `written`).
    Written { below: Offset, flushed: Offset },
}

impl Believed {
    pub fn limit(self) -> Offset {
        match self {
            Believed::All => Offset(i64::MAX),
            Believed::Below(offset) => offset,
            Believed::Written { below, .. } => below,
        }
    }

    /// What lies below is durable.
    pub fn flushed(self) -> Offset {
        match self {
            Believed::Written { flushed, .. } => flushed,
            Believed::All | Believed::Below(_) => self.limit(),
        }
    }

    pub fn is_written(self) -> bool {
        matches!(self, Believed::Written { .. })
    }
}

impl<W: World> Recovery<'_, W> {
    /// Believes the index entries below the limit; answers with the position from which batches must be looked at.
    pub(super) async fn believe_part(&mut self, listed: &Listed, segment: &mut Segment<W::File>) -> Result<Option<u64>, LogError> {
        let (Some(index_len), Some(times_len)) = (listed.index, listed.times) else { return Ok(None) };
        let path = |part| SegmentFile::live(listed.base, part).path(&self.dir);
        let (index_path, times_path) = (path(SegmentPart::Index), path(SegmentPart::TimeIndex));
        segment.index_files = Stored::Yes;
        if self.believed == Believed::All {
            let index = last_entry::<W, OffsetEntry>(self.world, &index_path, index_len).await?;
            let times = last_entry::<W, TimeEntry>(self.world, &times_path, times_len).await?;
            let (Some((count, last)), Some((time_count, last_time))) = (index, times) else { return Ok(None) };
            let from = last.map_or(0, |entry| u64::from(entry.position));
            if last.is_some_and(|entry| entry.position == 0) || from >= listed.len.max(1) {
                return Ok(None);
            }
            segment.index = OffsetIndex::of(Entries::in_file(count));
            segment.times = TimeIndex::of(Entries::in_file(time_count));
            if let Some(entry) = last_time {
                segment.times.on_last_entry(entry);
            }
            return Ok(Some(from));
        }
        let limit = self.believed.limit();
        let below = |last: u32| listed.base.plus(i64::from(last)) < limit || planted::is(Bug::IndexAheadOfLog);
        let mut index = read_entries::<W, OffsetEntry>(self.world, &index_path, |entry| below(entry.last)).await?;
        index.truncate(OffsetIndex::ordered(&index, listed.len));
        let last_indexed = index.last().map(|entry| entry.last);
        let known = |last: u32| last_indexed.is_some_and(|indexed| last <= indexed);
        let mut times = read_entries::<W, TimeEntry>(self.world, &times_path, |entry| known(entry.last)).await?;
        times.truncate(TimeIndex::ordered(&times));
        if times.first().is_some_and(|entry| entry.timestamp == TimestampMs(0) && entry.last == 0) {
            // Zeros, or a record of 1970: the batches tell.
            return Ok(None);
        }
        cut_file(self.world, &index_path, index_len, index.len() * OffsetEntry::SIZE).await?;
        cut_file(self.world, &times_path, times_len, times.len() * TimeEntry::SIZE).await?;
        let from = index.last().map_or(0, |entry| u64::from(entry.position));
        segment.index = OffsetIndex::of(Entries::read(index));
        segment.times = TimeIndex::of(Entries::read(times));
        Ok(Some(from))
    }

    /// Aborted transactions whose markers lie at or above this come out of the producers' replay.
    pub(super) fn aborted_limit(&self) -> Offset {
        match self.believed {
            // Its index is whole, wherever the replay begins.
            Believed::All => self.believed.limit(),
            Believed::Below(limit) | Believed::Written { below: limit, .. } => limit.min(self.replay_from),
        }
    }

    /// Takes the aborted transactions below the limit.
    pub(super) async fn believe_aborted(&mut self, listed: &Listed) -> Result<Entries<AbortedTransaction>, LogError> {
        let Some(len) = listed.aborted else { return Ok(Entries::default()) };
        let size = AbortedTransaction::SIZE as u64;
        if self.believed == Believed::All && len.is_multiple_of(size) {
            return Ok(Entries::in_file((len / size) as u32));
        }
        let path = SegmentFile::live(listed.base, SegmentPart::TransactionIndex).path(&self.dir);
        let limit = self.aborted_limit();
        let mut entries = read_entries::<W, AbortedTransaction>(self.world, &path, |entry| entry.last < limit).await?;
        entries.truncate(AbortedTransaction::ordered(&entries, listed.base));
        cut_file(self.world, &path, len, entries.len() * AbortedTransaction::SIZE).await?;
        Ok(Entries::read(entries))
    }
}

/// Takes a segment by the lengths of its files.
pub(super) fn believe_whole<F>(listed: &Listed, segment: &mut Segment<F>) -> Option<u64> {
    let count = |len: Option<u64>, size: usize| len.filter(|len| len.is_multiple_of(size as u64)).map(|len| (len / size as u64) as u32);
    let index = count(listed.index, OffsetEntry::SIZE)?;
    let times = count(listed.times, TimeEntry::SIZE)?;
    segment.index = OffsetIndex::of(Entries::in_file(index));
    segment.times = TimeIndex::of(Entries::in_file(times));
    segment.first_timestamp = FirstTimestamp::NotLoaded;
    segment.index_files = Stored::Yes;
    Some(listed.len)
}

/// The number of a file's entries, and the last. `None` if it is not a whole number of entries, or the last is not one.
async fn last_entry<W: World, E: Entry>(world: &W, path: &Path, len: u64) -> Result<Option<(u32, Option<E>)>, LogError> {
    let size = E::SIZE as u64;
    if !len.is_multiple_of(size) {
        return Ok(None);
    }
    if len == 0 {
        return Ok(Some((0, None)));
    }
    let file = world.open(path, OpenMode::Existing).await.map_err(LogError::io("open", path))?;
    let bytes = file.read_at(len - size, E::SIZE).await.map_err(LogError::io("read", path))?;
    let last = (bytes.len() == E::SIZE).then(|| E::decode(&bytes)).flatten();
    Ok(last.map(|last| ((len / size) as u32, Some(last))))
}

/// The entries at the front of a file that are `wanted`. What is no entry ends them.
async fn read_entries<W: World, E: Entry>(world: &W, path: &Path, wanted: impl Fn(&E) -> bool) -> Result<Vec<E>, LogError> {
    let file = world.read_file(path).await.map_err(LogError::io("read", path))?;
    Ok(file.chunks_exact(E::SIZE).map_while(E::decode).take_while(wanted).collect())
}

async fn cut_file<W: World>(world: &W, path: &Path, len: u64, kept: usize) -> Result<(), LogError> {
    if len == kept as u64 {
        return Ok(());
    }
    let file = world.open(path, OpenMode::Existing).await.map_err(LogError::io("open", path))?;
    file.truncate(kept as u64).await.map_err(LogError::io("truncate", path))?;
    file.sync().await.map_err(LogError::io("sync", path))
}
