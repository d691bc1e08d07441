//! Cutting a log back to an earlier end, or beginning it anew, when a follower finds that its history is not its leader's.
//!
//! Called by `partition`; calls `scan`, `io::World`. Appends are refused while it runs.
//!
//! Bytes that a reader was promised may be on their way to a socket by reference to the file's pages. So a file is cut in place only if
//! no reader was promised anything behind the cut; else what is kept is copied to a new file that takes its name, and the old one lives
//! on for those who hold it. The first case is the rule: what is cut lay above the high watermark, which consumers are not served.
//!
//! A checkpoint in the log directory may still hold the recovery point from before. Trusting it after a crash would take what is appended
//! from here on for flushed. So the lowered point is written down first, beside the log, and holds until the log is flushed beyond
//! the old one.
//!
//! ```text
//!   recovery-floor-checkpoint      a text checkpoint like Kafka's, which Kafka ignores
//!     0
//!     1
//!     300 500                      believe nothing at or above 300, whatever the recovery point, until 500 is flushed
//! ```
//!
//! Invariants:
//! 1. Order: floor, later segments newest first, index files, log file, producer snapshots and leader epochs. Each is durable before the
//!    next, so that a crash leaves a log that ends somewhere between the new end and the old one.
//! 2. No index entry, snapshot or epoch survives that speaks of what was cut.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::append::producer_action;
use super::open::{create_segment, read_newest_snapshot};
use super::scan::{self, Verify};
use super::{EndMark, Life, Log, LogError, State};
use crate::io::{File, OpenMode, World, replace_file, temporary_sibling};
use crate::storage::index::{AbortedTransaction, Entry, Located, OffsetEntry, TimeEntry};
use crate::storage::layout::{SegmentFile, SegmentPart};
use crate::storage::planted::{self, Bug};
use crate::storage::producer::Producers;
use crate::storage::segment::{Seal, Segment, Stored};
use crate::types::{Offset, TimestampMs};

const FLOOR_CHECKPOINT: &str = "recovery-floor-checkpoint";
/// Bytes copied at once.
const COPY_CHUNK: usize = 1 << 20;

/// Nothing at or above `low` is believed until the log has been flushed up to `high`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Floor {
    pub low: Offset,
    high: Offset,
}

impl Floor {
    fn encode(self) -> Vec<u8> {
        format!("0\n1\n{} {}\n", self.low, self.high).into_bytes()
    }

    /// What cannot be read forbids all belief: it was written whole, or not at all.
    fn decode(file: &[u8]) -> Self {
        let text = std::str::from_utf8(file).unwrap_or_default();
        let mut fields = text.strip_prefix("0\n1\n").unwrap_or_default().split_whitespace().map(|field| field.parse().ok());
        match (fields.next().flatten(), fields.next().flatten()) {
            (Some(low), Some(high)) => Self { low: Offset(low), high: Offset(high) },
            _ => Self { low: Offset::ZERO, high: Offset(i64::MAX) },
        }
    }
}

/// The floor under recovery, if a truncation left one.
pub(super) async fn read_floor<W: World>(world: &W, dir: &Path) -> Option<Floor> {
    match world.read_file(&dir.join(FLOOR_CHECKPOINT)).await {
        Ok(file) => Some(Floor::decode(&file)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(_) => Some(Floor { low: Offset::ZERO, high: Offset(i64::MAX) }),
    }
}

impl<W: World> Log<W> {
    /// Drops what lies at or above `offset`, and the batch that holds it. Answers with the new end: that of the last batch that stays. If
    /// nothing stays that could be read, the log begins anew, empty, with `offset` or the first offset of that batch.
    pub async fn truncate_to(&self, offset: Offset) -> Result<Offset, LogError> {
        let _turn = self.shared.turn.take().await;
        let _notes = self.shared.notes.take().await;
        let offset = if planted::is(Bug::TruncatePastHighWatermark) { offset.plus(-1) } else { offset };
        let _barrier = self.bar_appends().await?;
        if offset >= self.end() {
            return Ok(self.end());
        }
        let first = self.state().segments[0].base;
        if offset < first || offset < self.start() {
            self.restart_in_turn(offset).await?;
            return Ok(offset);
        }
        let cut = self.find_cut(offset).await?;
        if cut.end < self.start() {
            // All that could be read goes, if only the batch that holds the log's start.
            self.restart_in_turn(cut.cleared).await?;
            return Ok(cut.cleared);
        }
        self.lower_recovery_point(cut.end).await?;
        self.remove_segments_after(cut.segment).await?;
        self.cut_active(cut).await?;
        self.forget_producers_above().await?;
        let end = self.end();
        {
            let mut state = self.state_mut();
            if state.epochs.truncate_end(end) {
                state.epochs_stored = Stored::No;
            }
        }
        self.store_epochs().await?;
        Ok(end)
    }

    /// Drops everything and begins with `offset`: the leader has nothing older any more.
    pub async fn restart_at(&self, offset: Offset) -> Result<(), LogError> {
        let _turn = self.shared.turn.take().await;
        let _notes = self.shared.notes.take().await;
        let _barrier = self.bar_appends().await?;
        self.restart_in_turn(offset).await
    }

    async fn restart_in_turn(&self, offset: Offset) -> Result<(), LogError> {
        let lowest = self.start().min(offset);
        self.lower_recovery_point(lowest).await?;
        let bases: Vec<Offset> = self.state().segments.iter().map(|segment| segment.base).collect();
        for base in bases.into_iter().rev() {
            self.set_aside(base).await?;
        }
        let snapshots = std::mem::take(&mut self.state_mut().snapshots.on_disk);
        let dir = self.dir();
        for snapshot in snapshots {
            self.remove_file(&SegmentFile::live(snapshot, SegmentPart::ProducerSnapshot).path(&dir)).await?;
        }
        // None comes back beside the new segment.
        self.sync_directory().await?;
        let segment = create_segment(&self.shared.world, &dir, offset).await.map_err(|why| self.fail(why))?;
        {
            let mut state = self.state_mut();
            let edition = state.next_edition();
            state.segments.clear();
            state.segments.push_back(Segment { edition, ..segment });
            state.size = 0;
            state.log_start = offset;
            state.reserved_end = offset;
            state.end = EndMark { offset, segment: offset, position: 0 };
            state.durable_end = offset;
            state.recovery_point = offset;
            state.flushed = state.end;
            state.noted = state.end;
            state.cleaned = None;
            state.boundaries.clear();
            state.epochs.clear();
            state.epochs_stored = Stored::No;
            state.producers = Producers::default();
            state.snapshots.waiting.clear();
            state.directory = Stored::No;
            state.check_order();
        }
        self.sync_directory().await?;
        self.store_epochs().await
    }

    /// Refuses appends until the guard is dropped, and waits until none is under way.
    async fn bar_appends(&self) -> Result<Barrier<'_, W>, LogError> {
        self.check_alive()?;
        self.state_mut().life = Life::Truncating;
        let barrier = Barrier(self);
        self.drain().await?;
        Ok(barrier)
    }

    /// Writes down that the recovery point is no higher than `offset`, if it was.
    async fn lower_recovery_point(&self, offset: Offset) -> Result<(), LogError> {
        self.forget_written().await?;
        let (path, floor) = {
            let mut state = self.state_mut();
            let before = state.recovery_point;
            state.recovery_point = before.min(offset);
            state.durable_end = state.durable_end.min(offset);
            state.boundaries.clear();
            if before <= offset {
                return Ok(());
            }
            let standing = state.floor.unwrap_or(Floor { low: offset, high: before });
            let floor = Floor { low: standing.low.min(offset), high: standing.high.max(before) };
            state.floor = Some(floor);
            (state.dir.join(FLOOR_CHECKPOINT), floor)
        };
        let replaced = replace_file(&self.shared.world, &path, floor.encode()).await;
        replaced.map_err(LogError::io("replace", &path)).map_err(|why| self.fail(why))
    }

    /// Removes the floor once everything that it distrusts is flushed.
    pub(super) async fn release_floor(&self, durable: Offset) -> Result<(), LogError> {
        let path = {
            let mut state = self.state_mut();
            if state.floor.is_none_or(|floor| durable < floor.high) {
                return Ok(());
            }
            state.floor = None;
            state.dir.join(FLOOR_CHECKPOINT)
        };
        self.remove_file(&path).await
    }

    /// Where the log must be cut so that nothing at or above `offset` remains.
    async fn find_cut(&self, offset: Offset) -> Result<Cut, LogError> {
        let (segment, at) = {
            let state = self.state();
            let at = state.segment_for(offset).expect("not below the first segment");
            (state.segments[at].base, at)
        };
        self.open_and_load(segment).await?;
        let (file, path, from, len) = {
            let state = self.state();
            let segment = &state.segments[at];
            let from = match segment.index.locate(segment.relative_or_max(offset)) {
                Located::At(position) | Located::Walk(position) | Located::Probe { from: position, .. } => position,
                Located::NotLoaded => 0,
            };
            let file = segment.file.clone().expect("opened above");
            (file, state.path(segment.base, SegmentPart::Log), u64::from(from), segment.len)
        };
        let found = scan::find(&file, &path, from, len, offset).await.map_err(|why| self.read_failed(why))?;
        let position = found.map_or(len, |batch| batch.position);
        let cleared = found.map_or(offset, |batch| batch.header.base_offset.min(offset));
        // Where the last batch that stays ends, as a recovery would find it: offsets may be missing up to the one asked for.
        let mut end = segment;
        let before = self.state().segments[at].index.boundary_at_most(position.saturating_sub(1)).map_or(0, u64::from);
        let walked = scan::walk(&self.shared.world, &file, before..position, Verify::Headers, |met| {
            end = met.header.next_offset();
            ControlFlow::Continue(())
        });
        walked.await.map_err(LogError::io("read", &path)).map_err(|why| self.fail(why))?;
        Ok(Cut { segment, position, end, cleared })
    }

    /// Removes the segments after the one that begins with `base`, newest first.
    async fn remove_segments_after(&self, base: Offset) -> Result<(), LogError> {
        loop {
            let base = {
                let mut state = self.state_mut();
                let state = &mut *state;
                if state.active().base <= base {
                    return Ok(());
                }
                let removed = state.segments.pop_back().expect("a log has a segment");
                state.size -= removed.len;
                // The end is where the cut will be, and for now where this segment began.
                let len = state.active().len;
                state.end = EndMark { offset: removed.base, segment: state.active().base, position: len };
                state.reserved_end = removed.base;
                state.snapshots.waiting.retain(|(at, _)| *at < removed.base);
                removed.base
            };
            self.set_aside(base).await?;
        }
    }

    /// Cuts the last segment.
    async fn cut_active(&self, Cut { segment: base, position, end, .. }: Cut) -> Result<(), LogError> {
        let (file, path, len, file_len) = {
            let state = self.state();
            let active = state.active();
            let file = active.file.clone().expect("opened to find the cut");
            (file, state.path(base, SegmentPart::Log), active.len, active.len.max(active.reached))
        };
        loop {
            // Readers of other segments may have had them given up since.
            self.open_and_load(base).await?;
            let mut state = self.state_mut();
            if !state.active().has_whole_indexes() {
                continue;
            }
            let relative = state.active().relative_or_max(end);
            state.cleaned = state.cleaned.map(|cleaned| cleaned.min(end));
            let edition = state.next_edition();
            let active = state.active_mut();
            active.edition = edition;
            active.index.cut(position as u32);
            active.times.cut(relative);
            active.aborted.cut(|entry| entry.last < end);
            active.seal = Seal::Active;
            break;
        }
        self.cut_index_files(base).await?;
        self.retell_times(&file, &path, position).await?;
        let served_beyond = self.state().active().served_to > position;
        if position < file_len {
            let file = if served_beyond { self.copy_front(&file, &path, position).await? } else { file };
            file.truncate(position).await.map_err(|source| self.io_failed("truncate", base, source))?;
            file.sync().await.map_err(|source| self.io_failed("sync", base, source))?;
            self.state_mut().active_mut().file = Some(file);
        }
        let mut state = self.state_mut();
        let state = &mut *state;
        state.size -= len - position;
        state.reserved_end = end;
        state.end = EndMark { offset: end, segment: base, position };
        let active = state.segments.back_mut().expect("a log has a segment");
        active.len = position;
        active.synced = active.synced.min(position);
        active.served_to = active.served_to.min(position);
        active.on_cut(position);
        state.durable_end = state.durable_end.min(end);
        state.recovery_point = state.recovery_point.min(end);
        if state.flushed.segment > base || (state.flushed.segment == base && state.flushed.position > position) {
            state.flushed = state.end;
        }
        state.noted = state.flushed;
        state.check_order();
        Ok(())
    }

    async fn open_and_load(&self, base: Offset) -> Result<(), LogError> {
        self.open_for_reading(base).await.map_err(|why| self.read_failed(why))?;
        let whole = self.state_mut().segment_mut(base).is_some_and(|s| s.index.entries.is_whole() && s.times.entries.is_whole());
        if !whole {
            self.load_indexes(base).await.map_err(|why| self.read_failed(why))?;
        }
        self.load_aborted(base).await.map_err(|why| self.read_failed(why))
    }

    /// A log that cannot be read where it is to be cut is as good as one that cannot be written.
    fn read_failed(&self, why: super::ReadError) -> LogError {
        let path = self.dir();
        self.fail(LogError::Io { during: "read for truncation", path, source: std::io::Error::other(why.to_string()) })
    }

    /// Makes the active segment's index files as short as its indexes.
    async fn cut_index_files(&self, base: Offset) -> Result<(), LogError> {
        let files = {
            let state = self.state();
            let active = state.active();
            let kept = |written: u32, size: usize| u64::from(written) * size as u64;
            [
                (SegmentPart::Index, kept(active.index.entries.written(), OffsetEntry::SIZE)),
                (SegmentPart::TimeIndex, kept(active.times.entries.written(), TimeEntry::SIZE)),
                (SegmentPart::TransactionIndex, kept(active.aborted.written(), AbortedTransaction::SIZE)),
            ]
            .map(|(part, kept)| (state.path(base, part), kept))
        };
        for (path, kept) in files {
            let file = match self.shared.world.open(&path, OpenMode::Existing).await {
                Ok(file) => file,
                Err(source) if source.kind() == std::io::ErrorKind::NotFound => continue,
                Err(source) => return Err(self.fail(LogError::Io { during: "open", path, source })),
            };
            let cut = async {
                file.truncate(kept).await?;
                file.sync().await
            };
            cut.await.map_err(LogError::io("truncate", &path)).map_err(|why| self.fail(why))?;
        }
        Ok(())
    }

    /// Tells the time index of the batches between its last entry and the cut.
    async fn retell_times(&self, file: &W::File, path: &Path, position: u64) -> Result<(), LogError> {
        let (from, base) = {
            let state = self.state();
            let active = state.active();
            (active.index.entries.held().last().map_or(0, |entry| u64::from(entry.position)), active.base)
        };
        let mut told: Vec<(TimestampMs, u32)> = Vec::new();
        let walked = scan::walk(&self.shared.world, file, from..position, Verify::Headers, |met| {
            told.push((met.header.max_timestamp, met.header.last_offset().since(base) as u32));
            ControlFlow::Continue(())
        });
        walked.await.map_err(LogError::io("read", path)).map_err(|why| self.fail(why))?;
        let mut state = self.state_mut();
        for (timestamp, last) in told {
            state.active_mut().times.on_batch(timestamp, last, false);
        }
        Ok(())
    }

    /// A new file with the first `len` bytes of the active one, in its place. Readers keep the old one.
    async fn copy_front(&self, file: &W::File, path: &Path, len: u64) -> Result<W::File, LogError> {
        // Not `.cleaned`: compaction may be about to write one, until it sees that the log was cut.
        let copy_path: PathBuf = temporary_sibling(path);
        let world = &self.shared.world;
        let copied = async {
            let copy = world.open(&copy_path, OpenMode::CreateOrEmpty).await?;
            let mut position = 0;
            while position < len {
                let bytes = file.read_at(position, COPY_CHUNK.min((len - position) as usize)).await?;
                if bytes.is_empty() {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
                let read = bytes.len() as u64;
                copy.write_at(position, vec![Bytes::from(bytes)]).await.result?;
                position += read;
                world.yield_now().await;
            }
            copy.sync().await?;
            world.rename(&copy_path, path).await?;
            Ok(copy)
        };
        let copy = copied.await.map_err(LogError::io("copy", path)).map_err(|why| self.fail(why))?;
        self.state_mut().directory = Stored::No;
        self.sync_directory().await?;
        self.state_mut().active_mut().served_to = 0;
        Ok(copy)
    }

    /// Removes producer snapshots above the end and makes the producers' state anew from the rest.
    async fn forget_producers_above(&self) -> Result<(), LogError> {
        let (end, dir) = (self.end(), self.dir());
        let above: Vec<Offset> = {
            let mut state = self.state_mut();
            state.snapshots.waiting.retain(|(offset, _)| *offset <= end);
            state.snapshots.on_disk.extract_if(.., |offset| *offset > end).collect()
        };
        for offset in above {
            self.remove_file(&SegmentFile::live(offset, SegmentPart::ProducerSnapshot).path(&dir)).await?;
        }
        self.sync_directory().await?;
        let mut on_disk = self.state().snapshots.on_disk.clone();
        let newest = read_newest_snapshot(&self.shared.world, &dir, &mut on_disk, end).await.map_err(|why| self.fail(why))?;
        self.state_mut().snapshots.on_disk = on_disk;
        // One that waits for its flush is as good, and newer.
        let waiting = self.state().snapshots.waiting.last().cloned();
        let waiting = waiting.and_then(|(offset, bytes)| Some((offset, Producers::decode(&bytes).ok()?)));
        let (from, mut producers) = newest.into_iter().chain(waiting).max_by_key(|(offset, _)| *offset).unwrap_or_default();
        self.replay(from, &mut producers).await?;
        self.state_mut().producers = producers;
        Ok(())
    }

    /// Tells `producers` of the batches from `from` to the end.
    async fn replay(&self, from: Offset, producers: &mut Producers) -> Result<(), LogError> {
        let bases: Vec<Offset> = {
            let state = self.state();
            let first = state.segment_for(from).unwrap_or(0);
            state.segments.iter().skip(first).map(|segment| segment.base).collect()
        };
        for base in bases {
            self.open_for_reading(base).await.map_err(|why| self.read_failed(why))?;
            let (file, path, len) = {
                let state = self.state();
                let Some(at) = state.position_of(base) else { continue };
                let Some(file) = state.segments[at].file.clone() else { continue };
                (file, state.path(base, SegmentPart::Log), state.segments[at].len)
            };
            let walked = scan::walk(&self.shared.world, &file, 0..len, Verify::Headers, |met| {
                if met.header.last_offset() >= from
                    && let Some(action) = producer_action(&met.header, met.bytes)
                {
                    producers.on_batch(&action, met.header.base_offset, met.header.max_timestamp);
                }
                ControlFlow::Continue(())
            });
            walked.await.map_err(LogError::io("read", &path)).map_err(|why| self.fail(why))?;
        }
        Ok(())
    }
}

/// Where a log is cut.
#[derive(Clone, Copy)]
struct Cut {
    segment: Offset,
    position: u64,
    /// Of the last batch that stays.
    end: Offset,
    /// From here on nothing stays.
    cleared: Offset,
}

/// Lets appends in again when it goes, unless the log was taken out of service.
struct Barrier<'a, W: World>(&'a Log<W>);

impl<W: World> Drop for Barrier<'_, W> {
    fn drop(&mut self) {
        let mut state: std::cell::RefMut<'_, State<W>> = self.0.state_mut();
        if state.life == Life::Truncating {
            state.life = Life::Open;
        }
    }
}
