//! One partition's log: an ordered run of segments of which the last is appended to.
//!
//! Called by `partition` (appends, reads, truncation) and `shard` (flushing, retention, deletion); calls `io::World`, `wire::batch` and
//! the bookkeeping beside it. A log lives on the shard that owns its partition; clones are the same log.
//!
//! Every procedure follows one pattern: borrow the state and plan owned values, release it, do the I/O, borrow again and complete. No
//! borrow crosses an await, and observers are called outside any.
//!
//! ```text
//!   append_*   reserve offsets and positions, update epochs, producers and indexes, queue  (append.rs, never awaits)
//!   lanes      write what is queued, several writes under way; the end passes the contiguous completed prefix  (writer.rs)
//!   flush      sync segments -> write index entries of what is durable -> move the recovery point  (flush.rs)
//!   roll       the old segment is sealed in the background: trimmed, synced, its index files completed  (flush.rs)
//!   read       position from memory where possible, from batch headers where not  (read.rs, search.rs)
//!   clean      of each key the last record stays: segments are copied, and the copies take their place  (clean/)
//!   open       clean: look at the tail; unclean: read again what may be torn, cut it  (open.rs, recover.rs)
//! ```
//!
//! Invariants:
//! 1. `log start <= end <= reserved end`; `recovery point <= durable end <= end`.
//! 2. Everything below `end` was written by completed writes; below `durable end` it is synced, with the names of its files.
//! 3. An index file has no entry for an offset at or above the durable end it was written with.
//! 4. Bytes that a reader was promised are not changed in place: see `truncate.rs`.
//! 5. After a failed write or sync nothing is written or promised any more.
//!
//! What a crash leaves: whole batches up to some point, and behind it anything. `recover.rs` says how much is read again.
//!
//! KIP-98 (producers), KIP-101, KIP-279 (epochs), KIP-534 (compaction), KIP-966 (clean shutdown).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::epochs::Epochs;
use super::layout::{SegmentFile, SegmentPart};
use super::producer::{Marker, ProducerCheck, ProducerRefusal, Producers, UnknownProducer};
use super::segment::{Segment, Stored};
use super::settings::LogSettings;
use crate::io::World;
use crate::types::{LeaderEpoch, Monotonic, Offset, PartitionIndex, ProducerId, TimestampMs, TopicId, TopicName};
use crate::wire::batch::BatchHeader;

mod append;
mod believe;
mod bell;
pub mod clean;
mod close;
mod error;
mod flush;
mod leftovers;
mod maintain;
mod old_format;
mod open;
mod read;
mod recover;
mod replay;
mod scan;
mod search;
#[cfg(test)]
mod tests;
mod truncate;
mod writer;
mod written;

pub use append::{Appended, LeaderBatch};

pub use bell::{Bell, OwnedTurn, Turn};
pub use close::remove_directory;
pub use error::{AppendError, LogError, ReadError};
pub use maintain::Retained;
pub use old_format::oldest_magic;
pub use open::{OpenLog, Recovered, Shutdown, mark_adopted};
pub use read::{Planned, ReadRange, Rest};
use writer::Writer;

/// Who wants to know of a log's progress. Called outside any borrow of the log.
pub trait LogObserver {
    /// Everything below `end` is written.
    fn on_end_moved(&self, end: Offset);
    /// Everything below `durable_end` survives a loss of power.
    fn on_flushed(&self, durable_end: Offset);
    /// Whether the disk has space that nothing is in yet to give to a log.
    fn has_space_ahead(&self) -> bool {
        true
    }
    /// The turn at writing zeros ahead of a log, for one log of a directory and shard at a time: what waits for the disk would wait for all of them.
    /// `None` while another has it.
    fn zeros_turn(&self) -> Option<OwnedTurn>;
    /// The log takes nothing more; what was not below the end may be lost.
    fn on_failed(&self, why: &str, blame: Blame);
}

/// What a failure takes out of service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blame {
    /// Every log of the directory.
    Directory,
    /// This log: the process lacked something for it, and the disk has done nothing wrong.
    Log,
}

/// One partition's log. Clones are the same log.
pub struct Log<W: World> {
    shared: Rc<Shared<W>>,
}

impl<W: World> Clone for Log<W> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

struct Shared<W: World> {
    world: W,
    topic: TopicName,
    partition: PartitionIndex,
    topic_id: TopicId,
    state: RefCell<State<W>>,
    observer: RefCell<Option<Rc<dyn LogObserver>>>,
    /// Rung whenever the state moved in a way that someone may wait for.
    bell: Bell,
    /// Flush, retention, truncation and close, one at a time.
    turn: Turn,
    /// Index files and the note of what is written (see `written`) are changed by one at a time. Taken after the turn; a note has only this,
    /// as it must not wait for a flush.
    notes: Turn,
    /// Identity of the page cache that the log is written to.
    cache: Option<Rc<str>>,
    /// Whether the task that seals rolled segments, the one that flushes appends, or the one that unlinks what was set aside, runs.
    sealing: Cell<bool>,
    flushing: Cell<bool>,
    unlinking: Cell<bool>,
    /// Whether another broker wrote the log, and no checkpoint tells of it yet.
    adopted: Cell<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Life {
    Open,
    /// A truncation runs: appends are refused until it ends.
    Truncating,
    Closed,
    Failed,
}

/// How far completed writes reach: the offset, and the position in the segment that it falls into.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct EndMark {
    offset: Offset,
    /// Base offset of the segment.
    segment: Offset,
    position: u64,
}

struct State<W: World> {
    dir: PathBuf,
    settings: LogSettings,
    life: Life,
    log_start: Offset,
    end: EndMark,
    reserved_end: Offset,
    durable_end: Offset,
    recovery_point: Offset,
    /// Up to where the last flush reached that moved the recovery point.
    flushed: EndMark,
    /// Up to where a start in the same page cache need not read again.
    noted: EndMark,
    /// Up to where the log is compacted; see `clean`.
    cleaned: Option<Offset>,
    /// Editions of segments that were given out.
    editions: u64,
    /// Never empty; the last is the active one.
    segments: VecDeque<Segment<W::File>>,
    /// Bytes of all segments, with those that wait to be written.
    size: u64,
    epochs: Epochs,
    /// Whether the epochs have moved since they were last stored.
    epochs_stored: Stored,
    producers: Producers,
    snapshots: Snapshots,
    writer: Writer<W::File>,
    boundaries: read::Boundaries,
    /// Whether names in the directory have changed since it was last synced.
    directory: Stored,
    /// Renamed files waiting to be unlinked, the one that is due first in front.
    deleted: VecDeque<(Monotonic, PathBuf)>,
    /// The roll that comes next is due this much before `segment.ms`.
    jitter_ms: u64,
    /// What `maintain` saw last, to tell an idle log, and one that is written slowly.
    seen_end: Offset,
    seen_queued: u64,
    /// What recovery must not believe, written down by a truncation.
    floor: Option<truncate::Floor>,
}

/// Producer snapshots: those on disk, and those taken at rolls that wait for their segment to be durable.
#[derive(Default)]
struct Snapshots {
    /// Ascending.
    on_disk: Vec<Offset>,
    waiting: Vec<(Offset, Vec<u8>)>,
}

impl<W: World> State<W> {
    fn active(&self) -> &Segment<W::File> {
        self.segments.back().expect("a log has a segment")
    }

    fn active_mut(&mut self) -> &mut Segment<W::File> {
        self.segments.back_mut().expect("a log has a segment")
    }

    /// Index of the segment with this base offset. Looks from the newest: nearly every question is about that one.
    fn position_of(&self, base: Offset) -> Option<usize> {
        let at = self.segment_for(base)?;
        (self.segments[at].base == base).then_some(at)
    }

    fn segment_mut(&mut self, base: Offset) -> Option<&mut Segment<W::File>> {
        let at = self.position_of(base)?;
        self.segments.get_mut(at)
    }

    /// Index of the last segment that begins at or before `offset`.
    fn segment_for(&self, offset: Offset) -> Option<usize> {
        if self.active().base <= offset {
            return Some(self.segments.len() - 1);
        }
        self.segments.partition_point(|segment| segment.base <= offset).checked_sub(1)
    }

    /// Bytes of the segment at `at` that completed writes reach.
    fn completed_len(&self, at: usize) -> u64 {
        let segment = &self.segments[at];
        match segment.base.cmp(&self.end.segment) {
            std::cmp::Ordering::Less => segment.len,
            std::cmp::Ordering::Equal => self.end.position,
            std::cmp::Ordering::Greater => 0,
        }
    }

    fn next_edition(&mut self) -> u64 {
        self.editions += 1;
        self.editions
    }

    fn check_order(&self) {
        assert!(self.log_start <= self.end.offset && self.end.offset <= self.reserved_end, "log start, end, reserved end out of order");
        assert!(self.recovery_point <= self.durable_end && self.durable_end <= self.end.offset, "recovery point ahead of the log");
    }

    fn path(&self, base: Offset, part: SegmentPart) -> PathBuf {
        SegmentFile::live(base, part).path(&self.dir)
    }
}

impl<W: World> Log<W> {
    fn state(&self) -> std::cell::Ref<'_, State<W>> {
        self.shared.state.borrow()
    }

    fn state_mut(&self) -> std::cell::RefMut<'_, State<W>> {
        self.shared.state.borrow_mut()
    }

    pub fn topic(&self) -> &TopicName {
        &self.shared.topic
    }

    pub fn partition(&self) -> PartitionIndex {
        self.shared.partition
    }

    pub fn topic_id(&self) -> TopicId {
        self.shared.topic_id
    }

    pub fn dir(&self) -> PathBuf {
        self.state().dir.clone()
    }

    /// First offset a reader may ask for.
    pub fn start(&self) -> Offset {
        self.state().log_start
    }

    /// Log end offset: everything below is written.
    pub fn end(&self) -> Offset {
        self.state().end.offset
    }

    /// The offset the next append gets.
    pub fn reserved_end(&self) -> Offset {
        self.state().reserved_end
    }

    /// Everything below is on disk, with its index entries: where recovery begins after a crash.
    pub fn recovery_point(&self) -> Offset {
        self.state().recovery_point
    }

    /// Everything below survives a loss of power. Runs ahead of the recovery point where appends are flushed one by one.
    pub fn durable_end(&self) -> Offset {
        self.state().durable_end
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.state().size
    }

    pub fn segment_count(&self) -> usize {
        self.state().segments.len()
    }

    /// Bytes that a restart after a crash would read again, those that wait to be written included.
    pub fn unflushed_bytes(&self) -> u64 {
        self.state().unflushed_bytes()
    }

    /// Bytes that wait to be written, or are being written.
    pub fn unwritten_bytes(&self) -> u64 {
        self.state().writer.unwritten_bytes()
    }

    /// The last stable offset under this high watermark. What was deleted of an open transaction holds nothing back.
    pub fn last_stable(&self, high_watermark: Offset) -> Offset {
        let mut state = self.state_mut();
        let log_start = state.log_start;
        state.producers.last_stable(high_watermark).max(log_start)
    }

    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.state().epochs.latest()
    }

    /// Where the epoch ends here; see [`Epochs::end_offset_for`].
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> (LeaderEpoch, Offset) {
        let state = self.state();
        state.epochs.end_offset_for(epoch, state.end.offset)
    }

    /// Where the epoch ends, as the leader in epoch `current` says it; see [`Epochs::end_offset_under`].
    pub fn end_offset_under(&self, epoch: LeaderEpoch, current: LeaderEpoch) -> (LeaderEpoch, Offset) {
        let state = self.state();
        state.epochs.end_offset_under(epoch, current, state.end.offset)
    }

    /// The epoch of the leader that wrote `offset`.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.state().epochs.at(offset)
    }

    /// Notes that a leader of this epoch begins at the log's end, before its first batch (KIP-101).
    pub fn begin_epoch(&self, epoch: LeaderEpoch) {
        let mut state = self.state_mut();
        let start = state.reserved_end;
        if state.epochs.latest().is_none_or(|latest| latest < epoch) && state.epochs.assign(epoch, start) {
            state.epochs_stored = Stored::No;
        }
    }

    /// Forgets that newer leaders than `epoch` wrote here: their cluster was another, and its metadata is not what decides here. Answers
    /// whether there were any.
    pub fn forget_epochs_above(&self, epoch: LeaderEpoch) -> bool {
        let mut state = self.state_mut();
        let forgotten = state.epochs.forget_above(epoch);
        if forgotten {
            state.epochs_stored = Stored::No;
        }
        forgotten
    }

    pub fn is_failed(&self) -> bool {
        self.state().life == Life::Failed
    }

    /// Whether a transaction was, or may have been, aborted at or after `from`: if not, a reader of committed records need not look for
    /// any.
    pub fn has_aborted(&self, from: Offset) -> bool {
        let state = self.state();
        let first = state.segment_for(from).unwrap_or(0);
        state.segments.iter().skip(first).any(|segment| !segment.aborted.is_empty())
    }

    /// `flush.messages`: unflushed records at which an append waits to be flushed.
    pub fn flush_messages(&self) -> u64 {
        self.state().settings.flush_messages
    }

    pub fn settings(&self) -> LogSettings {
        self.state().settings.clone()
    }

    /// Replaces the settings; those about segments count from the next append on.
    pub fn configure(&self, settings: LogSettings) {
        self.state_mut().settings = settings;
    }

    /// Tells `observer` of progress from now on, in place of an earlier one.
    pub fn observe(&self, observer: Rc<dyn LogObserver>) {
        *self.shared.observer.borrow_mut() = Some(observer);
    }

    /// Tells nobody any more. An observer that holds its log must do so, or neither is ever freed.
    pub fn stop_observing(&self) {
        *self.shared.observer.borrow_mut() = None;
    }

    /// Whether a producer's data batch may be appended; asked before a leader append. A batch without a producer always may.
    pub fn check_producer(&self, header: &BatchHeader) -> Result<ProducerCheck, ProducerRefusal> {
        self.check_producer_strictly(header, UnknownProducer::Accept)
    }

    /// Like [`Log::check_producer`], saying what is asked of a producer that the log does not know.
    pub fn check_producer_strictly(&self, header: &BatchHeader, unknown: UnknownProducer) -> Result<ProducerCheck, ProducerRefusal> {
        match append::sequenced(header) {
            Some(batch) => self.state().producers.check(&batch, unknown),
            None => Ok(ProducerCheck::New),
        }
    }

    /// Whether a transaction marker may be appended.
    pub fn check_marker(&self, marker: &Marker) -> Result<(), ProducerRefusal> {
        self.state().producers.check_marker(marker)
    }

    /// What is known of each producer, for `DescribeProducers`.
    pub fn active_producers(&self) -> Vec<ActiveProducer> {
        let state = self.state();
        let facts = state.producers.iter().map(|(id, producer)| ActiveProducer {
            id,
            epoch: producer.epoch(),
            last_sequence: producer.last_sequence(),
            last_timestamp: producer.last_timestamp(),
            coordinator_epoch: producer.coordinator_epoch(),
            open_transaction: producer.open_transaction(),
        });
        facts.collect()
    }

    fn observer(&self) -> Option<Rc<dyn LogObserver>> {
        self.shared.observer.borrow().clone()
    }

    /// Takes the log out of service after a failed write or sync.
    fn fail(&self, why: LogError) -> LogError {
        let first = {
            let mut state = self.state_mut();
            let first = state.life != Life::Failed;
            state.life = Life::Failed;
            state.writer.drop_pending();
            first
        };
        self.shared.bell.ring();
        if first {
            tracing::debug!(topic = %self.shared.topic, partition = %self.shared.partition, "log failed: {why}");
            self.tell_failed(why.to_string(), if why.is_of_disk() { Blame::Directory } else { Blame::Log });
        }
        why
    }

    /// Takes the log out of service because its directory is; tells nobody.
    pub fn abandon(&self) {
        {
            let mut state = self.state_mut();
            if !matches!(state.life, Life::Open | Life::Truncating) {
                return;
            }
            state.life = Life::Failed;
            state.writer.drop_pending();
        }
        self.disown_note();
        self.shared.bell.ring();
    }

    /// Refuses work on a log that is out of service.
    fn check_alive(&self) -> Result<(), LogError> {
        match self.state().life {
            Life::Open | Life::Truncating => Ok(()),
            Life::Closed => Err(LogError::Closed),
            Life::Failed => Err(LogError::Offline),
        }
    }

    async fn sync_directory(&self) -> Result<(), LogError> {
        let dir = {
            let mut state = self.state_mut();
            if state.directory == Stored::Yes {
                return Ok(());
            }
            state.directory = Stored::Yes;
            state.dir.clone()
        };
        sync_dir(&self.shared.world, &dir).await.map_err(|why| self.fail(why))
    }
}

/// Makes creations, renames and removals in `dir` durable.
async fn sync_dir<W: World>(world: &W, dir: &Path) -> Result<(), LogError> {
    if super::planted::is(super::planted::Bug::NoDirectorySync) {
        return Ok(());
    }
    world.sync_dir(dir).await.map_err(LogError::io("sync directory", dir))
}

/// One producer as the log knows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ActiveProducer {
    pub id: ProducerId,
    pub epoch: crate::types::ProducerEpoch,
    pub last_sequence: i32,
    pub last_timestamp: TimestampMs,
    pub coordinator_epoch: i32,
    pub open_transaction: Option<Offset>,
}
