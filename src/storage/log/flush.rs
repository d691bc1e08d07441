//! Making a log durable, and the order in which that happens.
//!
//! Called by `partition` and `shard` (`flush`), by the writer (`flush.messages`, `flush.ms`) and by rolls; calls `io::World`.
//!
//! ```text
//!   sync segment files -> sync directory            -> durable end       (a promise to clients may stand on it)
//!   -> append to index files, sync them             (none is relied on, after a loss of power, for what is not durable)
//!   -> leader epochs, producer snapshots            -> recovery point    (recovery may begin here)
//! ```
//!
//! Invariants:
//! 1. A sync covers only writes that completed before it began: lengths are read before, and believed after.
//! 2. The recovery point moves only when everything recovery needs below it is durable.
//!
//! What a crash leaves: a recovery point that is older than it could be; index entries up to some durable end.

use std::ops::Range;
use std::path::PathBuf;

use bytes::Bytes;

use super::{EndMark, Log, LogError, Snapshots, State};
use crate::io::{File, OpenMode, World, replace_file};
use crate::storage::checkpoint;
use crate::storage::index::Unwritten;
use crate::storage::layout::{LEADER_EPOCH_CHECKPOINT, SegmentFile, SegmentPart};
use crate::storage::planted::{self, Bug};
use crate::storage::segment::{Seal, Stored, Zeros};
use crate::types::Offset;

/// Snapshots kept besides those at segments' base offsets, as Kafka does.
const SNAPSHOTS_KEPT: usize = 2;

/// What is asked of what is added to files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Durability {
    /// It survives a loss of power.
    Synced,
    /// It is read back by every process until then.
    Written,
}

/// How far a flush goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Upto {
    /// To the end of the segments that were rolled, waiting for their last writes.
    Rolled,
    /// To the end of what is written.
    End,
}

struct SyncPlan<F> {
    segment: Offset,
    file: F,
    /// Bytes that completed before the sync.
    len: u64,
    /// Space beyond is given back first.
    trim: bool,
    /// Those that the sync covers.
    zeros: Zeros,
    /// What alone is to be synced, if nothing else has changed.
    bytes: Option<Range<u64>>,
}

/// One index file to be added to.
struct IndexPlan {
    segment: Offset,
    part: SegmentPart,
    path: PathBuf,
    unwritten: Unwritten,
}

impl<W: World> Log<W> {
    /// Makes all that is written durable, with its index entries, and moves the recovery point there.
    pub async fn flush(&self) -> Result<Offset, LogError> {
        self.flush_upto(Upto::End).await
    }

    pub(super) async fn flush_upto(&self, upto: Upto) -> Result<Offset, LogError> {
        let _turn = self.shared.turn.take().await;
        self.check_alive()?;
        self.flush_in_turn(upto).await
    }

    /// Makes all that is written durable: one sync of a file, in most cases. Index files follow later.
    pub(super) async fn sync_written(&self) -> Result<Offset, LogError> {
        let _turn = self.shared.turn.take().await;
        self.check_alive()?;
        let mark = self.state().end;
        self.sync_upto(mark).await
    }

    /// [`Log::flush`] for a procedure that has the turn.
    pub(super) async fn flush_in_turn(&self, upto: Upto) -> Result<Offset, LogError> {
        let mark = match upto {
            Upto::End => self.state().end,
            Upto::Rolled => self.rolled_written().await?,
        };
        if planted::is(Bug::IndexAheadOfLog) {
            let _notes = self.shared.notes.take().await;
            self.write_indexes(Offset(i64::MAX), Durability::Synced).await?;
        }
        self.sync_upto(mark).await?;
        {
            let _notes = self.shared.notes.take().await;
            self.write_indexes(mark.offset, Durability::Synced).await?;
        }
        self.write_snapshots(mark.offset).await?;
        self.seal();
        self.sync_directory().await?;
        self.store_epochs().await?;
        self.release_floor(mark.offset).await?;
        {
            let mut state = self.state_mut();
            if state.recovery_point < mark.offset {
                state.recovery_point = mark.offset;
                state.flushed = mark;
                if state.noted.offset < mark.offset {
                    state.noted = mark;
                }
            }
            state.check_order();
        }
        self.shared.bell.ring();
        Ok(mark.offset)
    }

    /// Waits until all segments that were rolled are written; answers with their end.
    async fn rolled_written(&self) -> Result<EndMark, LogError> {
        let base = self.state().active().base;
        let reached = self.shared.bell.until(|| {
            let state = self.state();
            if state.life == super::Life::Failed {
                return Some(None);
            }
            // Segments that were deleted meanwhile need nothing.
            let Some(at) = state.position_of(base).and_then(|at| at.checked_sub(1)) else { return Some(Some(state.end)) };
            let rolled = &state.segments[at];
            let written = state.end.offset >= base || (state.end.segment == rolled.base && state.end.position == rolled.len);
            (written && !state.writer.is_allocating())
                .then(|| Some(EndMark { offset: base.min(state.end.offset), segment: rolled.base, position: rolled.len }))
        });
        reached.await.ok_or(LogError::Offline)
    }

    /// Syncs what lies below `mark` and moves the durable end there.
    async fn sync_upto(&self, mark: EndMark) -> Result<Offset, LogError> {
        let plans = self.state().plan_syncs(mark);
        for SyncPlan { segment, file, len, trim, zeros, bytes } in plans {
            if trim {
                // Nothing is written to a rolled segment any more: its length stays.
                self.trim(segment, &file, len).await?;
            }
            // A cut that is made while the sync is under way waits for the next.
            let cuts = self.state_mut().segment_mut(segment).map_or(0, |segment| segment.cuts);
            if !planted::is(Bug::RecoveryPointAheadOfFlush) {
                let synced = match bytes.clone() {
                    Some(range) => file.sync_range(range).await,
                    None => file.sync().await,
                };
                synced.map_err(|source| self.io_failed("sync", segment, source))?;
            }
            if let Some(segment) = self.state_mut().segment_mut(segment) {
                segment.synced = segment.synced.max(len);
                if bytes.is_none() {
                    segment.cuts_synced = cuts;
                    segment.zeros.on_synced(zeros);
                }
            }
        }
        self.sync_directory().await?;
        let moved = {
            let mut state = self.state_mut();
            let moved = state.durable_end < mark.offset;
            state.durable_end = state.durable_end.max(mark.offset);
            state.check_order();
            moved
        };
        self.shared.bell.ring();
        if moved && let Some(observer) = self.observer() {
            observer.on_flushed(mark.offset);
        }
        Ok(mark.offset)
    }

    pub(super) fn io_failed(&self, during: &'static str, segment: Offset, source: std::io::Error) -> LogError {
        let path = self.state().path(segment, SegmentPart::Log);
        self.fail(LogError::Io { during, path, source })
    }

    /// Adds to the index files what is there below `target`: durable for a flush, written for a note. For one that holds the notes.
    pub(super) async fn write_indexes(&self, target: Offset, durability: Durability) -> Result<(), LogError> {
        let plans = self.state().plan_indexes(target, durability);
        for IndexPlan { segment, part, path, unwritten } in plans {
            let mode = if unwritten.position == 0 { OpenMode::CreateOrEmpty } else { OpenMode::Existing };
            let count = unwritten.count;
            self.add_to_file(&path, mode, unwritten, durability).await.map_err(|why| self.fail(why))?;
            let mut state = self.state_mut();
            if mode == OpenMode::CreateOrEmpty {
                state.directory = Stored::No;
            }
            if let Some(segment) = state.segment_mut(segment) {
                match part {
                    SegmentPart::Index => segment.index.entries.note_written(count),
                    SegmentPart::TimeIndex => {
                        // Written after the other, so that both exist now.
                        segment.index_files = Stored::Yes;
                        segment.times.entries.note_written(count);
                    }
                    SegmentPart::TransactionIndex => segment.aborted.note_written(count),
                    SegmentPart::Log | SegmentPart::ProducerSnapshot => {}
                }
                segment.indexes_synced.on_written(part, durability == Durability::Synced);
            }
        }
        Ok(())
    }

    async fn add_to_file(
        &self,
        path: &std::path::Path,
        mode: OpenMode,
        unwritten: Unwritten,
        durability: Durability,
    ) -> Result<(), LogError> {
        let file = self.shared.world.open(path, mode).await.map_err(LogError::io("open", path))?;
        if !unwritten.bytes.is_empty() {
            let slices = vec![Bytes::from(unwritten.bytes)];
            file.write_at(unwritten.position, slices).await.result.map_err(LogError::io("write", path))?;
        }
        match durability {
            Durability::Synced => file.sync().await.map_err(LogError::io("sync", path)),
            Durability::Written => Ok(()),
        }
    }

    /// Writes the snapshots that were taken at offsets which are now durable, and removes those nobody needs.
    pub(super) async fn write_snapshots(&self, durable: Offset) -> Result<(), LogError> {
        let (ready, dir) = {
            let state = self.state();
            let split = state.snapshots.waiting.partition_point(|(offset, _)| *offset <= durable);
            // A note that is made meanwhile has those that are not on the disk yet.
            (state.snapshots.waiting[..split].to_vec(), state.dir.clone())
        };
        if ready.is_empty() {
            return Ok(());
        }
        for (offset, bytes) in ready {
            let bytes = if planted::is(Bug::SnapshotAheadOfLog) { self.state().producers.encode() } else { bytes };
            let path = SegmentFile::live(offset, SegmentPart::ProducerSnapshot).path(&dir);
            let unwritten = Unwritten { position: 0, bytes, count: 0 };
            let added = self.add_to_file(&path, OpenMode::CreateOrEmpty, unwritten, Durability::Synced).await;
            added.map_err(|why| self.fail(why))?;
            let mut state = self.state_mut();
            state.directory = Stored::No;
            state.snapshots.waiting.retain(|(waiting, _)| *waiting != offset);
            if let Err(at) = state.snapshots.on_disk.binary_search(&offset) {
                state.snapshots.on_disk.insert(at, offset);
            }
        }
        let unneeded = self.state_mut().forget_unneeded_snapshots();
        for offset in unneeded {
            let path = SegmentFile::live(offset, SegmentPart::ProducerSnapshot).path(&dir);
            match self.shared.world.remove_file(&path).await {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.fail(LogError::Io { during: "remove", path, source }));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Segments whose file, indexes and following snapshot are complete and durable are history. One that was rolled while this flush ran
    /// may not be there yet.
    fn seal(&self) {
        let mut state = self.state_mut();
        let state = &mut *state;
        for at in 0..state.segments.len() - 1 {
            let next = state.segments[at + 1].base;
            let snapshot_waits = state.snapshots.waiting.iter().any(|(offset, _)| *offset == next);
            let segment = &mut state.segments[at];
            let is_as_synced = segment.reached <= segment.len && !segment.is_cut_unsynced() && !state.writer.is_zeroing(segment.base);
            let is_synced = segment.synced == segment.len && is_as_synced;
            if segment.seal == Seal::Rolled && is_synced && segment.is_indexed() && !snapshot_waits {
                segment.seal = Seal::Sealed;
            }
        }
    }

    /// Stores the leader epochs if they moved.
    pub(super) async fn store_epochs(&self) -> Result<(), LogError> {
        let (path, content) = {
            let mut state = self.state_mut();
            if state.epochs_stored == Stored::Yes {
                return Ok(());
            }
            state.epochs_stored = Stored::Yes;
            (state.dir.join(LEADER_EPOCH_CHECKPOINT), checkpoint::encode_epochs(&state.epochs))
        };
        replace_file(&self.shared.world, &path, content).await.map_err(LogError::io("replace", &path)).map_err(|why| self.fail(why))
    }
}

impl Snapshots {
    pub(super) fn newest(&self) -> Option<Offset> {
        let waiting = self.waiting.last().map(|(offset, _)| *offset);
        waiting.max(self.on_disk.last().copied())
    }
}

impl<W: World> State<W> {
    fn plan_syncs(&self, mark: EndMark) -> Vec<SyncPlan<W::File>> {
        let mut plans = Vec::new();
        for (at, segment) in self.segments.iter().enumerate() {
            let len = if segment.base == mark.segment { mark.position } else { self.completed_len(at) };
            let is_at_rest = len == segment.len && !self.writer.is_zeroing(segment.base);
            let trim = segment.seal == Seal::Rolled && is_at_rest && segment.has_space_ahead();
            let cut = segment.is_cut_unsynced();
            let behind = segment.synced < len || trim || cut;
            if segment.seal == Seal::Sealed || segment.base > mark.segment || !behind {
                continue;
            }
            if let Some(file) = segment.file.clone() {
                let zeros = segment.zeros;
                let bytes =
                    (!trim && !cut).then_some(segment.synced..len).filter(|bytes| zeros.hold(bytes) || planted::is(Bug::ZerosNotPlaced));
                plans.push(SyncPlan { segment: segment.base, file, len, trim, zeros, bytes });
            }
        }
        plans
    }

    fn plan_indexes(&self, target: Offset, durability: Durability) -> Vec<IndexPlan> {
        let mut plans = Vec::new();
        for segment in self.segments.iter().filter(|s| s.seal != Seal::Sealed && s.base <= target) {
            let ready = |last: Offset| last < target;
            let mut plan = |part, unwritten: Unwritten, create: bool| {
                // What a note has written is yet to be synced.
                let behind = durability == Durability::Synced && !segment.indexes_synced.is_synced(part);
                if unwritten.count > 0 || create || behind {
                    plans.push(IndexPlan { segment: segment.base, part, path: self.path(segment.base, part), unwritten });
                }
            };
            let offsets = segment.index.entries.unwritten(|entry| ready(segment.offset_of(entry.last)));
            let times = segment.times.entries.unwritten(|entry| ready(segment.offset_of(entry.last)));
            // Both or none: Kafka has both files for every segment, if empty ones.
            let wanted = segment.seal == Seal::Rolled || offsets.count > 0 || times.count > 0;
            let create = segment.index_files == Stored::No && wanted;
            plan(SegmentPart::Index, offsets, create);
            plan(SegmentPart::TimeIndex, times, create);
            let aborted = segment.aborted.unwritten(|entry| ready(entry.last));
            plan(SegmentPart::TransactionIndex, aborted, false);
        }
        plans
    }

    /// Snapshots that are neither at a segment's base nor among the newest.
    fn forget_unneeded_snapshots(&mut self) -> Vec<Offset> {
        let newest = self.snapshots.on_disk.len().saturating_sub(SNAPSHOTS_KEPT);
        let segments = &self.segments;
        let needed = |offset: &Offset| segments.binary_search_by_key(offset, |segment| segment.base).is_ok();
        let unneeded: Vec<Offset> = self.snapshots.on_disk[..newest].iter().copied().filter(|offset| !needed(offset)).collect();
        self.snapshots.on_disk.retain(|offset| !unneeded.contains(offset));
        unneeded
    }
}
