//! Housekeeping: retention, the log's start, and what an idle log gives back.
//!
//! Called by `shard`'s timers; calls `flush`, `io::World`.
//!
//! Invariants:
//! 1. Segments leave from the front, one at a time, each with a synced directory, so that no crash leaves a gap between two that stay,
//!    and none before the one that follows it is on disk.
//! 2. Nothing at or above the high watermark is deleted.

use std::path::PathBuf;
use std::time::Duration;

use futures_lite::FutureExt;

use super::flush::Upto;
use super::{EndMark, Life, Log, LogError, State};
use crate::io::{Urgency, World};
use crate::storage::layout::{SegmentFile, SegmentPart, SegmentPhase};
use crate::storage::segment::{Seal, Segment, Stored};
use crate::types::{Monotonic, Offset, TimestampMs};

/// What retention deleted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Retained {
    pub segments: usize,
    pub bytes: u64,
}

impl<W: World> Log<W> {
    /// Deletes segments that are too old, too many, or wholly below the log's start, and lie below the high watermark.
    pub async fn retain(&self, now: TimestampMs, high_watermark: Offset) -> Result<Retained, LogError> {
        let _turn = self.shared.turn.take().await;
        self.check_alive()?;
        let mut retained = Retained::default();
        loop {
            let modified = self.load_oldest_timestamp().await;
            let oldest = self.state().is_oldest_due(now, high_watermark, modified);
            match oldest {
                Due::No => return Ok(retained),
                Due::Yes => {}
                Due::AfterRoll => {
                    let base = {
                        let mut state = self.state_mut();
                        if state.life != Life::Open {
                            return Ok(retained);
                        }
                        let base = state.reserved_end;
                        state.roll(base, now, self.draw_jitter());
                        base
                    };
                    self.begin_opening(base);
                }
            }
            if self.state().segments[0].seal == Seal::Rolled {
                // The next segment's producer snapshot has to be there before what it was made from goes.
                self.flush_in_turn(Upto::Rolled).await?;
            }
            self.await_successor().await?;
            retained.bytes += self.delete_oldest(now).await?;
            retained.segments += 1;
        }
    }

    /// Has the oldest segment's largest timestamp in memory, which a clean start does not read. Of one without timestamps the answer is when
    /// its file was written to.
    async fn load_oldest_timestamp(&self) -> Option<TimestampMs> {
        let (base, path) = {
            let state = self.state();
            let due_by_time = state.settings.delete_enabled && state.settings.retention_ms.is_some();
            let front = &state.segments[0];
            if !due_by_time || front.newest_timestamp().is_some() {
                return None;
            }
            (front.base, state.path(front.base, SegmentPart::Log))
        };
        // Unreadable, it is taken for unknown; whoever reads the segment will say why.
        let largest = self.largest_timestamp(base).await.ok().flatten();
        if largest.is_some_and(|entry| entry.timestamp.get() >= 0) {
            return None;
        }
        self.shared.world.modified(&path).await.ok()
    }

    /// Waits until the segment after the oldest has its file, durably: a crash must not leave a log without any, whose end nobody knew.
    async fn await_successor(&self) -> Result<(), LogError> {
        let failed = self.shared.bell.until(|| {
            let state = self.state();
            let on_disk = state.segments.get(1).is_none_or(|next| next.file.is_some() || next.seal == Seal::Sealed);
            let failed = state.life == Life::Failed;
            (failed || on_disk).then_some(failed)
        });
        if failed.await { Err(LogError::Offline) } else { self.sync_directory().await }
    }

    async fn delete_oldest(&self, now: TimestampMs) -> Result<u64, LogError> {
        let _notes = self.shared.notes.take().await;
        let (base, bytes) = {
            let mut state = self.state_mut();
            let state = &mut *state;
            assert!(state.segments.len() > 1, "the last segment is never deleted");
            let oldest = state.segments.pop_front().expect("there are two");
            let next = state.segments[0].base;
            state.size -= oldest.len;
            state.log_start = state.log_start.max(next);
            // Below the log's start nothing needs to be recovered.
            state.durable_end = state.durable_end.max(next.min(state.end.offset));
            state.recovery_point = state.recovery_point.max(next.min(state.end.offset));
            if state.epochs.truncate_start(state.log_start) {
                state.epochs_stored = Stored::No;
            }
            state.check_order();
            (oldest.base, oldest.len)
        };
        tracing::debug!(topic = %self.topic(), partition = %self.partition(), %base, %now, "deleting segment");
        self.set_aside(base).await?;
        Ok(bytes)
    }

    /// Renames a segment's files, durably; they are unlinked after `file.delete.delay.ms`.
    pub(super) async fn set_aside(&self, base: Offset) -> Result<(), LogError> {
        // The log goes first: were it there again after a loss of power, and the producer snapshot at its base not, nobody knew the state that
        // its batches follow.
        let [log, rest @ ..] = &SegmentPart::ALL;
        self.set_aside_parts(base, &[*log]).await?;
        self.set_aside_parts(base, rest).await
    }

    pub(super) async fn set_aside_parts(&self, base: Offset, parts: &[SegmentPart]) -> Result<(), LogError> {
        let dir = self.dir();
        for part in parts.iter().copied() {
            let from = SegmentFile::live(base, part).path(&dir);
            let to = SegmentFile { base, part, phase: SegmentPhase::Deleted }.path(&dir);
            match self.shared.world.rename(&from, &to).await {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(self.fail(LogError::Io { during: "rename", path: from, source }));
                }
                Err(_) => {}
                Ok(()) => {
                    let mut state = self.state_mut();
                    let delay = Duration::from_millis(state.settings.file_delete_delay_ms);
                    let due = self.shared.world.monotonic().plus(delay);
                    // The delay may have been set to less since.
                    let place = state.deleted.partition_point(|(other, _)| *other <= due);
                    state.deleted.insert(place, (due, to));
                    state.directory = Stored::No;
                    if part == SegmentPart::ProducerSnapshot {
                        state.snapshots.on_disk.retain(|offset| *offset != base);
                    }
                }
            }
        }
        self.begin_unlinking();
        self.shared.bell.ring();
        self.sync_directory().await
    }

    /// Unlinks what was set aside, each file when its delay has passed. A log that is closed or deleted meanwhile leaves the rest to the
    /// next start, or to the removal of its directory.
    fn begin_unlinking(&self) {
        if self.shared.unlinking.replace(true) {
            return;
        }
        let log = self.clone();
        self.shared.world.spawn(Urgency::Background, async move {
            while let Some(due) = log.next_unlink() {
                let world = &log.shared.world;
                let sooner = log.shared.bell.until(|| (log.next_unlink() != Some(due)).then_some(()));
                world.sleep(due.since(world.monotonic())).or(sooner).await;
                // A failure was told to the observer.
                if log.unlink_due().await.is_err() {
                    break;
                }
            }
            log.shared.unlinking.set(false);
        });
    }

    fn next_unlink(&self) -> Option<Monotonic> {
        let state = self.state();
        let ended = matches!(state.life, Life::Closed | Life::Failed);
        state.deleted.front().filter(|_| !ended).map(|(due, _)| *due)
    }

    /// Moves the log's start up to `offset`, or to the end if that is less; answers with where it is now. Segments below go with the next
    /// retention.
    pub fn advance_start(&self, offset: Offset) -> Offset {
        let mut state = self.state_mut();
        let start = offset.min(state.end.offset);
        if start > state.log_start {
            state.log_start = start;
            if state.epochs.truncate_start(start) {
                state.epochs_stored = Stored::No;
            }
            state.check_order();
        }
        state.log_start
    }

    /// Regular upkeep: forgets silent producers, flushes where a restart would have too much to read, and lets an idle log give back memory,
    /// space and file handles.
    pub async fn maintain(&self, now: TimestampMs) -> Result<(), LogError> {
        let _turn = self.shared.turn.take().await;
        self.check_alive()?;
        let (idle, written, unflushed) = {
            let mut state = self.state_mut();
            let state = &mut *state;
            state.producers.expire(now, state.settings.producer_id_expiration_ms);
            let idle = state.is_idle();
            state.seen_end = state.reserved_end;
            let queued = state.writer.queued_bytes();
            let written = queued - std::mem::replace(&mut state.seen_queued, queued);
            (idle, written, state.unflushed_bytes())
        };
        let behind = self.state().recovery_point < self.end();
        if unflushed > self.state().settings.recovery_bytes_max || (idle && behind) {
            self.flush_with_snapshot().await?;
        }
        // The flush took its time: an append may have come.
        let (idle, held) = self.state_mut().hold_if_roomy(written);
        let given = if held { self.give_back_space().await } else { Ok(()) };
        if held {
            self.state_mut().writer.hold(false);
            self.start_lanes();
        }
        self.state_mut().shed(idle);
        given
    }

    /// Moves the recovery point to the end, so that a restart after a crash reads nothing older again.
    pub async fn advance_recovery_point(&self) -> Result<(), LogError> {
        let _turn = self.shared.turn.take().await;
        self.check_alive()?;
        self.flush_with_snapshot().await
    }

    /// A flush from which recovery needs nothing older.
    async fn flush_with_snapshot(&self) -> Result<(), LogError> {
        let upto = {
            let mut state = self.state_mut();
            let upto = state.reserved_end;
            if state.snapshots.newest().is_none_or(|newest| newest < upto) {
                let snapshot = state.producers.encode();
                state.snapshots.waiting.push((upto, snapshot));
            }
            upto
        };
        let written = self.shared.bell.until(|| {
            let state = self.state();
            (state.life == Life::Failed || state.end.offset >= upto).then_some(state.life != Life::Failed)
        });
        if !written.await {
            return Err(LogError::Offline);
        }
        self.flush_in_turn(Upto::End).await.map(drop)
    }

    async fn unlink_due(&self) -> Result<(), LogError> {
        let now = self.shared.world.monotonic();
        loop {
            let is_due = |(due, _): &mut (Monotonic, PathBuf)| *due <= now;
            let due = if self.next_unlink().is_some() { self.state_mut().deleted.pop_front_if(is_due) } else { None };
            match due {
                Some((_, path)) => self.remove_file(&path).await?,
                None => return Ok(()),
            }
        }
    }
}

/// Whether the oldest segment is to be deleted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Due {
    No,
    Yes,
    /// It is the active one: another takes its place first.
    AfterRoll,
}

impl<W: World> State<W> {
    fn is_oldest_due(&self, now: TimestampMs, high_watermark: Offset, modified: Option<TimestampMs>) -> Due {
        let oldest = &self.segments[0];
        let next = self.segments.get(1).map(|segment| segment.base);
        let end = next.unwrap_or(self.reserved_end);
        if end > high_watermark || end > self.end.offset || (next.is_none() && oldest.len == 0) {
            return Due::No;
        }
        let settings = &self.settings;
        let below_start = end <= self.log_start;
        let too_old = settings.delete_enabled
            && settings.retention_ms.is_some_and(|retention_ms| {
                // Without timestamps the file's own age counts; where that is not known, it is no older than this run.
                let newest_record = oldest.newest_timestamp().or(modified).unwrap_or(oldest.created);
                now.get().saturating_sub(newest_record.get()) > i64::try_from(retention_ms).unwrap_or(i64::MAX)
            });
        let too_many = settings.delete_enabled && settings.retention_bytes.is_some_and(|most| self.size.saturating_sub(oldest.len) >= most);
        match (below_start && next.is_some() || too_old || too_many, next) {
            (false, _) => Due::No,
            (true, Some(_)) => Due::Yes,
            (true, None) => Due::AfterRoll,
        }
    }

    /// Nothing was appended since `maintain` last looked, and nothing is under way.
    fn is_idle(&self) -> bool {
        self.seen_end == self.reserved_end && self.is_at_rest()
    }

    fn is_at_rest(&self) -> bool {
        self.life == Life::Open && self.writer.is_idle() && !self.writer.is_allocating()
    }

    /// Whether the log is idle, and whether it is held to give back space: an idle one, or one that has more ahead than was `written` since
    /// the last look, unless it is to have it.
    fn hold_if_roomy(&mut self, written: u64) -> (bool, bool) {
        let (idle, active) = (self.is_idle(), self.active());
        let has_more = active.allocated.saturating_sub(active.len) > written && active.file.is_some();
        let held = !self.settings.preallocate && (idle || (has_more && self.is_at_rest()));
        if held {
            self.writer.hold(true);
        }
        (idle, held)
    }

    /// Bytes behind the last flush that moved the recovery point.
    pub(super) fn unflushed_bytes(&self) -> u64 {
        self.bytes_behind(self.flushed)
    }

    pub(super) fn bytes_behind(&self, mark: EndMark) -> u64 {
        let behind = self.segments.iter().rev().take_while(|segment| segment.base >= mark.segment);
        let before_mark = |segment: &Segment<W::File>| if segment.base == mark.segment { mark.position } else { 0 };
        behind.map(|segment| segment.len.saturating_sub(before_mark(segment))).sum()
    }

    /// Gives back the memory and the handles of segments nobody asked for since the last time.
    fn shed(&mut self, idle: bool) {
        let last = self.segments.len() - 1;
        for (at, segment) in self.segments.iter_mut().enumerate() {
            let untouched = !std::mem::replace(&mut segment.touched, false);
            if !untouched || (at == last && !idle) || segment.seal == Seal::Rolled {
                continue;
            }
            segment.index.entries.shed();
            segment.times.entries.shed();
            segment.aborted.shed();
            if at < last {
                segment.file = None;
            }
        }
        if idle {
            // A reader at the end goes on from here without the index.
            let end = self.end;
            self.boundaries.clear();
            self.boundaries.note(end.offset, end.segment, end.position);
        }
    }
}
