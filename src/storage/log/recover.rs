//! What of a directory is believed, and the reading again of the rest.
//!
//! Called by `open`; calls `scan`, the bookkeeping, `io::World`.
//!
//! Below the recovery point everything was flushed with its index entries; so recovery begins at the last index entry below it, not at the
//! segment's start. Index entries at or above it are dropped: a crash may have kept them and lost their batches. From there on every
//! batch is read and its CRC checked; at the first that is not whole the file is cut, and the segments behind it are removed, as what they
//! hold does not follow. A hole between two segments is such an end too: a segment begins where the one before ended when it was
//! rolled. Compaction may have made that one end earlier since, but only after it was sealed; and a sealed segment is told by the
//! producer snapshot at its end, whose name is durable only after it. Other brokers compact too, and leave no such snapshots: in a log that
//! is marked as adopted a hole is no end.
//!
//! Where the page cache is the one that the last run has written to, what that run has noted as written (see `written`) is believed like what
//! was flushed, but for its durability: what lies above the recovery point is flushed later, and the point moves only then.
//!
//! Producer state begins with the newest snapshot at or below the recovery point; batches from there on are replayed, and snapshots at
//! segments' bases written again.
//!
//! Invariants:
//! 1. A file is only cut at or above the recovery point. Damage below it is an error: it is no torn tail, and cutting there would lose
//!    what was flushed.
//! 2. What is whole is not cut because it is not understood: messages of a format before record batches are an error.
//! 3. What recovery leaves is flushed before the log is used, so that the next crash finds no less; unless it is as it was written, as the
//!    page cache still has it then.
//!
//! What a crash leaves: later segments are removed newest first, each durably, then the file is cut: every state between can be recovered
//! again.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::append::producer_action;
use super::believe::{Believed, believe_whole};
use super::open::{Listed, OpenLog, Recovered, read_newest_snapshot, remove};
use super::scan::{self, Met, Verify, Walked};
use super::written::Written;
use super::{LogError, Snapshots, old_format, sync_dir};
use crate::io::{File, OpenMode, World};
use crate::storage::checkpoint;
use crate::storage::epochs::Epochs;
use crate::storage::index::{OffsetEntry, decode_all};
use crate::storage::layout::{LEADER_EPOCH_CHECKPOINT, SegmentFile, SegmentPart};
use crate::storage::planted::{self, Bug};
use crate::storage::producer::Producers;
use crate::storage::segment::{FirstTimestamp, IndexesSynced, Seal, Segment, Stored};
use crate::storage::settings::LogSettings;
use crate::types::Offset;
use crate::wire::batch::{BatchError, RECORDS_AT};

/// A recovery under way, and its outcome.
pub struct Recovery<'a, W: World> {
    pub(super) world: &'a W,
    pub(super) dir: PathBuf,
    settings: LogSettings,
    listed: Vec<Listed>,
    pub believed: Believed,
    pub segments: Vec<Segment<W::File>>,
    pub epochs: Epochs,
    pub epochs_stored: Stored,
    pub producers: Producers,
    pub snapshots: Snapshots,
    /// Those the directory had at first: each says that the segment before it was sealed.
    sealed_at: Vec<Offset>,
    origin: Origin,
    /// What the last run has noted, where that is believed.
    note: Option<Written>,
    /// Batches from here on are told to the producers.
    pub(super) replay_from: Offset,
    pub end: Offset,
    /// Below this everything was durable before.
    pub durable: Offset,
    pub recovered: Recovered,
}

impl<'a, W: World> Recovery<'a, W> {
    pub fn new(
        world: &'a W,
        open: &OpenLog,
        listed: Vec<Listed>,
        snapshots: Vec<Offset>,
        origin: Origin,
        believed: Believed,
        note: Option<Written>,
    ) -> Self {
        Self {
            world,
            dir: open.dir.clone(),
            settings: open.settings.clone(),
            end: listed.first().map_or(Offset::ZERO, |segment| segment.base),
            listed,
            believed,
            segments: Vec::new(),
            epochs: Epochs::default(),
            epochs_stored: Stored::Yes,
            producers: Producers::default(),
            sealed_at: snapshots.clone(),
            origin,
            note,
            snapshots: Snapshots { on_disk: snapshots, waiting: Vec::new() },
            replay_from: Offset::ZERO,
            durable: Offset::ZERO,
            recovered: Recovered::default(),
        }
    }

    /// Whether opening the log has changed what is to be stored.
    pub fn has_changes(&self) -> bool {
        self.recovered.indexes_rebuilt > 0 || self.epochs_stored == Stored::No || !self.snapshots.waiting.is_empty()
    }

    /// Reads what must be read. `false`: a log that was to be believed cannot be, and nothing but index files was changed.
    pub async fn run(&mut self) -> Result<bool, LogError> {
        // What lay below the first segment was deleted, after the snapshot at its base was flushed.
        let first = self.listed.first().map_or(Offset::ZERO, |first| first.base);
        match &mut self.believed {
            Believed::Below(limit) => *limit = first.max(*limit),
            Believed::Written { below, .. } if *below < first => return Ok(false),
            Believed::Written { flushed, .. } => *flushed = first.max(*flushed),
            Believed::All => {}
        }
        self.load_epochs().await?;
        self.load_producers().await?;
        let mut at = 0;
        while at < self.listed.len() {
            match self.take_segment(at).await? {
                Taken::Whole => at += 1,
                Taken::Disbelieved => return Ok(false),
                Taken::EndsHere { .. } if self.believed.is_written() && self.end < self.believed.limit() => return Ok(false),
                Taken::EndsHere { cut } => {
                    // What lies behind goes before the file is cut, or a crash in between would leave a hole.
                    self.remove_behind(at).await?;
                    if let Some(position) = cut {
                        self.cut_last(self.listed[at].len, position).await?;
                    }
                    break;
                }
            }
        }
        self.finish().await
    }

    async fn load_epochs(&mut self) -> Result<(), LogError> {
        if let Some(note) = &self.note {
            self.epochs = note.epochs.clone();
            self.epochs_stored = Stored::No;
            return Ok(());
        }
        let path = self.dir.join(LEADER_EPOCH_CHECKPOINT);
        match self.world.read_file(&path).await {
            Ok(file) => {
                self.epochs = checkpoint::decode_epochs(&file).map_err(|source| LogError::BadCheckpoint { path, source })?;
            }
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(LogError::Io { during: "read", path, source }),
        }
        if self.epochs.truncate_end(self.believed.limit()) {
            self.epochs_stored = Stored::No;
        }
        Ok(())
    }

    async fn load_producers(&mut self) -> Result<(), LogError> {
        let limit = self.believed.limit();
        // Those beyond are not believed, but their names are: they go when the rest is decided.
        self.snapshots.on_disk.retain(|offset| *offset <= limit);
        if let Some(note) = self.note.take()
            && let Some(producers) = note.producers()
        {
            self.producers = producers;
            self.replay_from = note.end;
            let unsynced = self.unsynced_snapshots().await?;
            let is_missing = |(offset, _): &(Offset, Vec<u8>)| {
                !self.snapshots.on_disk.contains(offset) && self.listed.iter().any(|listed| listed.base == *offset)
            };
            // At the end itself a segment may have begun since.
            let known = note.waiting.into_iter().chain([(note.end, note.snapshot)]);
            self.snapshots.waiting = known.filter(is_missing).chain(unsynced).collect();
            self.snapshots.waiting.sort_by_key(|(offset, _)| *offset);
            return Ok(());
        }
        let newest = read_newest_snapshot(self.world, &self.dir, &mut self.snapshots.on_disk, limit).await?;
        self.replay_from = match newest {
            Some((offset, producers)) => {
                self.producers = producers;
                offset
            }
            // Every log that was closed has one, unless it was put here without: then its batches tell.
            None => Offset::ZERO,
        };
        Ok(())
    }

    /// Snapshots of what is not known as durable, and the one where that begins: their files may not be either, and are written again before
    /// anything relies on them. One that the last run did not finish is none.
    async fn unsynced_snapshots(&mut self) -> Result<Vec<(Offset, Vec<u8>)>, LogError> {
        let flushed = self.believed.flushed();
        let mut unsynced = Vec::new();
        for offset in std::mem::take(&mut self.snapshots.on_disk) {
            if offset < flushed {
                self.snapshots.on_disk.push(offset);
                continue;
            }
            let path = SegmentFile::live(offset, SegmentPart::ProducerSnapshot).path(&self.dir);
            let file = self.world.read_file(&path).await.map_err(LogError::io("read", &path))?;
            if Producers::decode(&file).is_ok() {
                self.snapshots.on_disk.push(offset);
                unsynced.push((offset, file.to_vec()));
            }
        }
        Ok(unsynced)
    }

    /// Takes one segment: believes it, or reads it.
    async fn take_segment(&mut self, at: usize) -> Result<Taken, LogError> {
        let listed = self.listed[at].clone();
        let next = self.listed.get(at + 1).map(|next| next.base);
        self.end = self.end.max(listed.base);
        let replays = self.replay_from < Offset(i64::MAX) && next.is_none_or(|next| next > self.replay_from);
        if replays && listed.base > self.replay_from && self.believed != Believed::All {
            self.snapshots.waiting.push((listed.base, self.producers.encode()));
        }
        let mut segment = Segment::empty(listed.base, self.world.wall());
        let believed = self.believe_indexes(&listed, next, &mut segment).await?;
        if believed == Some(listed.len) && next.is_some() && !replays {
            segment.len = listed.len;
            // At the point itself the segment may have been the active one when that was flushed, with zeros that were cut off since.
            if next.is_some_and(|next| next < self.believed.flushed()) {
                segment.synced = listed.len;
                segment.seal = Seal::Sealed;
                segment.touched = false;
            } else {
                self.open_file(&mut segment).await?;
                segment.indexes_synced = IndexesSynced::unknown(listed.aborted.is_some());
                segment.seal = Seal::Rolled;
                self.suspect_space(&mut segment);
            }
            self.end = self.end.max(next.unwrap_or(listed.base));
            self.segments.push(segment);
            return Ok(Taken::Whole);
        }
        let before = (self.producers.clone(), self.epochs.clone(), self.end);
        let outcome = self.read_segment(&listed, next, segment, believed).await?;
        match outcome {
            Some(taken) => Ok(taken),
            None if !matches!(self.believed, Believed::Below(_)) => Ok(Taken::Disbelieved),
            // The index has misled: without it.
            None => {
                (self.producers, self.epochs, self.end) = before;
                let segment = self.without_indexes(&listed).await?;
                let outcome = self.read_segment(&listed, next, segment, None).await?;
                Ok(outcome.expect("no index, nothing to mislead"))
            }
        }
    }

    /// A segment of which no index is believed; files there may be are removed, so that none is believed later.
    async fn without_indexes(&mut self, listed: &Listed) -> Result<Segment<W::File>, LogError> {
        for part in [SegmentPart::Index, SegmentPart::TimeIndex] {
            remove(self.world, &SegmentFile::live(listed.base, part).path(&self.dir)).await?;
        }
        if listed.len > 0 {
            self.recovered.indexes_rebuilt += 1;
        }
        let mut segment = Segment::empty(listed.base, self.world.wall());
        segment.aborted = self.believe_aborted(listed).await?;
        Ok(segment)
    }

    /// Takes the index entries that can be believed; answers with the position from which batches must be looked at. `None`: there are no
    /// indexes to believe.
    async fn believe_indexes(
        &mut self,
        listed: &Listed,
        next: Option<Offset>,
        segment: &mut Segment<W::File>,
    ) -> Result<Option<u64>, LogError> {
        // At the limit itself the segment may have been the active one when that was flushed, and lack its last time entry.
        let whole_below = next.is_some_and(|next| next < self.believed.limit());
        let mut believed = if whole_below { believe_whole(listed, segment) } else { self.believe_part(listed, segment).await? };
        segment.aborted = self.believe_aborted(listed).await?;
        if believed.is_none() {
            *segment = self.without_indexes(listed).await?;
        } else if whole_below {
            believed = Some(listed.len);
        }
        Ok(believed)
    }

    /// Reads a segment of which the indexes are believed up to `believed`. `None`: they were wrong.
    async fn read_segment(
        &mut self,
        listed: &Listed,
        next: Option<Offset>,
        mut segment: Segment<W::File>,
        believed: Option<u64>,
    ) -> Result<Option<Taken>, LogError> {
        let from = believed.unwrap_or(0);
        let replays = self.replay_from < Offset(i64::MAX) && next.is_none_or(|next| next > self.replay_from);
        let start = if replays { self.replay_start(&segment, from).await? } else { from };
        segment.len = from;
        self.open_file(&mut segment).await?;
        let verify = match (self.believed, believed) {
            // The tail of a closed log is only measured; one whose indexes are gone is read like after a crash.
            (Believed::All, Some(_)) => Verify::Headers,
            _ => Verify::CrcFrom(from),
        };
        let walked = self.read_again(&mut segment, listed, start, from, verify).await?;
        self.check_format(&segment, listed, &walked).await?;
        let torn = walked.bad.is_some() || walked.refused;
        let limit = self.believed.limit();
        if torn && (self.end < limit || walked.end < from) {
            // Either the damage lies below what was flushed, or an index entry pointed to no batch.
            if believed.is_some() || !matches!(self.believed, Believed::Below(_)) {
                return Ok(None);
            }
            let path = SegmentFile::live(listed.base, SegmentPart::Log).path(&self.dir);
            let source = walked.bad.unwrap_or(BatchError::BadLength { at: 0, length: 0 });
            return Err(LogError::Corrupt { path, position: walked.end, source });
        }
        if matches!(self.believed, Believed::Below(_)) {
            // The kernel may have what was read only in memory, a shorter length included.
            let path = SegmentFile::live(listed.base, SegmentPart::Log).path(&self.dir);
            let file = segment.file.as_ref().expect("opened before it is read");
            file.sync().await.map_err(LogError::io("sync", &path))?;
        }
        Ok(Some(self.place_segment(segment, listed, next, walked.end, torn, believed)))
    }

    /// What ended the walk may be whole, in a format of before.
    async fn check_format(&self, segment: &Segment<W::File>, listed: &Listed, walked: &Walked) -> Result<(), LogError> {
        if walked.bad.is_none() {
            return Ok(());
        }
        let path = SegmentFile::live(listed.base, SegmentPart::Log).path(&self.dir);
        let file = segment.file.as_ref().expect("opened before it is read");
        match old_format::magic_at(file, walked.end, listed.len).await.map_err(LogError::io("read", &path))? {
            Some(magic) => Err(LogError::OldFormat { path, position: walked.end, magic }),
            None => Ok(()),
        }
    }

    /// Adds a segment that was read up to `end`.
    fn place_segment(
        &mut self,
        mut segment: Segment<W::File>,
        listed: &Listed,
        next: Option<Offset>,
        end: u64,
        torn: bool,
        believed: Option<u64>,
    ) -> Taken {
        let all_believed = believed == Some(listed.len) || self.believed == Believed::All && believed.is_some();
        if self.believed.is_written() {
            segment.indexes_synced = IndexesSynced::unknown(listed.aborted.is_some());
        } else {
            segment.synced = segment.len;
        }
        self.suspect_space(&mut segment);
        let reached = self.end;
        let is_end = |next: Offset| next > self.believed.limit() && !self.sealed_at.contains(&next) && self.origin == Origin::Here;
        let ends_at_hole = next.is_some_and(is_end);
        if next.is_some() && !torn {
            segment.times.add_largest();
            let is_history = all_believed && !self.believed.is_written() && segment.is_indexed();
            segment.seal = if is_history { Seal::Sealed } else { Seal::Rolled };
        }
        self.segments.push(segment);
        match next {
            _ if torn => Taken::EndsHere { cut: Some(end) },
            Some(next) if reached > next => Taken::EndsHere { cut: None },
            Some(next) if reached < next && ends_at_hole => Taken::EndsHere { cut: None },
            _ => Taken::Whole,
        }
    }

    /// A run that was cut short may have left space ahead in the file: it is given back like this run's own.
    fn suspect_space(&self, segment: &mut Segment<W::File>) {
        if self.believed != Believed::All {
            segment.allocated = segment.len + 1;
        }
    }

    /// Where producers' replay must begin in a segment that is believed up to `from`.
    async fn replay_start(&self, segment: &Segment<W::File>, from: u64) -> Result<u64, LogError> {
        if self.replay_from <= segment.base {
            return Ok(0);
        }
        let path = SegmentFile::live(segment.base, SegmentPart::Index).path(&self.dir);
        let entries: Vec<OffsetEntry> = match self.world.read_file(&path).await {
            Ok(file) => decode_all(&file).unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let target = segment.relative_or_max(self.replay_from);
        let floor = entries.iter().take_while(|entry| entry.last < target).last().map_or(0, |entry| u64::from(entry.position));
        Ok(floor.min(from))
    }

    async fn open_file(&self, segment: &mut Segment<W::File>) -> Result<(), LogError> {
        let path = SegmentFile::live(segment.base, SegmentPart::Log).path(&self.dir);
        segment.file = Some(self.world.open(&path, OpenMode::Existing).await.map_err(LogError::io("open", &path))?);
        Ok(())
    }

    /// Walks the segment's batches from `start`: those from `from` on are indexed, those from the snapshot on replayed.
    async fn read_again(
        &mut self,
        segment: &mut Segment<W::File>,
        listed: &Listed,
        start: u64,
        from: u64,
        verify: Verify,
    ) -> Result<Walked, LogError> {
        let file = segment.file.clone().expect("opened before it is read");
        let mut expected = listed.base;
        let path = SegmentFile::live(listed.base, SegmentPart::Log).path(&self.dir);
        let world = self.world;
        let walked = scan::walk(world, &file, start..listed.len, verify, |met| self.meet(segment, met, from, &mut expected));
        let walked = walked.await.map_err(LogError::io("read", &path))?;
        self.recovered.bytes_read += walked.end - start;
        self.end = self.end.max(expected);
        Ok(walked)
    }

    /// One batch of a walk.
    fn meet(&mut self, segment: &mut Segment<W::File>, met: &Met<'_>, from: u64, expected: &mut Offset) -> ControlFlow<()> {
        let header = &met.header;
        if header.base_offset < *expected || !segment.can_hold(header.last_offset()) {
            return ControlFlow::Break(());
        }
        *expected = header.next_offset();
        if met.position == 0 {
            segment.first_timestamp = FirstTimestamp::Of(header.max_timestamp);
        }
        if met.position >= from {
            segment.on_batch(
                header.base_offset,
                header.last_offset(),
                header.max_timestamp,
                header.total_len() as u32,
                self.settings.index_interval_bytes,
            );
            if self.epochs.recall(header.leader_epoch, header.base_offset) {
                self.epochs_stored = Stored::No;
            }
        }
        if header.last_offset() >= self.replay_from
            && let Some(action) = producer_action(header, met.bytes)
            && let Some(aborted) = self.producers.on_batch(&action, header.base_offset, header.max_timestamp)
            && aborted.last >= self.aborted_limit()
        {
            segment.aborted.push(aborted);
        }
        ControlFlow::Continue(())
    }

    /// Cuts the file of the segment taken last.
    async fn cut_last(&mut self, len: u64, position: u64) -> Result<(), LogError> {
        let segment = self.segments.last_mut().expect("the segment that is cut was taken");
        let path = SegmentFile::live(segment.base, SegmentPart::Log).path(&self.dir);
        let file = segment.file.as_ref().expect("opened before it is read");
        let behind = file.read_at(position, RECORDS_AT).await.map_err(LogError::io("read", &path))?;
        if behind.iter().any(|byte| *byte != 0) {
            tracing::info!(path = %path.display(), from = len, to = position, "cutting what follows the last whole batch");
            self.recovered.bytes_cut += len - position;
        }
        if planted::is(Bug::TornTailServed) {
            segment.len = len;
            return Ok(());
        }
        file.truncate(position).await.map_err(LogError::io("truncate", &path))?;
        if self.believed.is_written() {
            // What the file has is flushed later, all at once.
            return Ok(());
        }
        file.sync().await.map_err(LogError::io("sync", &path))
    }

    /// Removes the segments after the one at `at`, newest first.
    async fn remove_behind(&mut self, at: usize) -> Result<(), LogError> {
        while self.listed.len() > at + 1 {
            let listed = self.listed.pop().expect("there are more");
            tracing::warn!(dir = %self.dir.display(), base = %listed.base, "removing a segment that does not follow");
            remove_segment(self.world, &self.dir, listed.base).await?;
            self.recovered.segments_removed += 1;
            self.recovered.bytes_cut += listed.len;
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<bool, LogError> {
        let disbelieved = match self.believed {
            Believed::All => self.snapshots.newest().is_some_and(|newest| newest > self.end),
            Believed::Written { below, .. } => self.end < below,
            Believed::Below(_) => false,
        };
        if disbelieved {
            return Ok(false);
        }
        self.durable = self.believed.flushed().min(self.end);
        let end = self.end;
        self.snapshots.on_disk.retain(|offset| *offset <= end);
        for offset in std::mem::take(&mut self.sealed_at) {
            // One that is about to be written anew keeps its name meanwhile.
            let rewritten = self.snapshots.waiting.iter().any(|(waiting, _)| *waiting == offset);
            if !rewritten && !self.snapshots.on_disk.contains(&offset) {
                remove(self.world, &SegmentFile::live(offset, SegmentPart::ProducerSnapshot).path(&self.dir)).await?;
            }
        }
        if self.believed != Believed::All && self.snapshots.newest().is_none_or(|newest| newest < end) && end > Offset::ZERO {
            self.snapshots.waiting.push((end, self.producers.encode()));
        }
        if let Some(last) = self.segments.last_mut() {
            last.seal = Seal::Active;
            last.touched = true;
            if last.first_timestamp == FirstTimestamp::None && last.len > 0 {
                last.first_timestamp = first_timestamp(last, &self.dir).await?;
            }
        }
        self.producers.expire(self.world.wall(), self.settings.producer_id_expiration_ms);
        Ok(true)
    }
}

/// Who wrote a log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    Here,
    /// Another broker; and nothing that was written here is in no checkpoint yet.
    Elsewhere,
}

/// How a segment was taken.
enum Taken {
    Whole,
    /// Its last whole batch is the log's last; its file is cut there if more follows.
    EndsHere {
        cut: Option<u64>,
    },
    /// It was to be believed, but is not what a closed log leaves.
    Disbelieved,
}

/// Removes a segment's files, durably: the log goes first, as the rest means nothing without it.
pub(super) async fn remove_segment<W: World>(world: &W, dir: &Path, base: Offset) -> Result<(), LogError> {
    for part in SegmentPart::ALL {
        remove(world, &SegmentFile::live(base, part).path(dir)).await?;
    }
    sync_dir(world, dir).await
}

async fn first_timestamp<F: File>(segment: &Segment<F>, dir: &Path) -> Result<FirstTimestamp, LogError> {
    let path = SegmentFile::live(segment.base, SegmentPart::Log).path(dir);
    let Some(file) = &segment.file else { return Ok(FirstTimestamp::NotLoaded) };
    let bytes = file.read_at(0, crate::wire::batch::RECORDS_AT).await.map_err(LogError::io("read", &path))?;
    match crate::wire::batch::BatchHeader::parse(&bytes) {
        Ok(header) => Ok(FirstTimestamp::Of(header.max_timestamp)),
        Err(source) => Err(LogError::Corrupt { path, position: 0, source }),
    }
}
