//! Appends: offsets and positions are given out at once, everything that follows from them is noted, and the bytes are queued.
//!
//! Called by `partition`; queues for `writer`. Per-batch work only, and none per record.
//!
//! Invariants:
//! 1. An append that is refused has changed nothing.
//! 2. Positions are decided here, in the order of offsets, so that writes may complete in any order.
//! 3. A batch's bytes are never copied or changed: the 16 bytes that a leader assigns are written in front of the rest.

use bytes::Bytes;

use super::flush::Upto;
use super::{EndMark, Life, Log, State};
use crate::io::World;
use crate::storage::planted::{self, Bug};
use crate::storage::producer::{Marker, NO_SEQUENCE, ProducerAction, SequencedBatch, TransactionEnd};
use crate::storage::segment::{FirstTimestamp, RELATIVE_MAX, Seal, Segment, Stored};
use crate::types::{LeaderEpoch, Offset, TimestampMs};
use crate::wire::batch::{self, BatchError, BatchHeader, LEADER_EPOCH_AT, PREFIX_LEN, RECORDS_AT};
use crate::wire::record;

use super::error::AppendError;
use super::writer::Pending;

/// A batch as a producer sent it, whole.
pub use crate::wire::batch::Batch as LeaderBatch;

/// Where an append went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    pub base_offset: Offset,
    /// Of the last record; one before `base_offset` if nothing was appended.
    pub last_offset: Offset,
    pub log_start: Offset,
}

impl<W: World> Log<W> {
    /// Appends batches as the partition's leader of `epoch`: gives them offsets and queues them.
    pub fn append_as_leader(&self, batches: &[LeaderBatch], epoch: LeaderEpoch, now: TimestampMs) -> Result<Appended, AppendError> {
        let (appended, rolled) = {
            let mut state = self.state_mut();
            let state = &mut *state;
            state.check_appendable()?;
            state.check_batches(batches, epoch)?;
            let base_offset = state.reserved_end;
            if !batches.is_empty() && state.epochs.assign(epoch, base_offset) {
                state.epochs_stored = Stored::No;
            }
            let mut rolled = Vec::new();
            for batch in batches {
                let header = BatchHeader { base_offset: state.reserved_end, ..batch.header };
                rolled.extend(state.place(&header, &batch.bytes, now, || self.draw_jitter()));
                let prefix = batch::patch_prefix(header.base_offset, header.batch_length, epoch);
                state.queue(Some(prefix), batch.bytes.slice(PREFIX_LEN..));
            }
            (state.appended_from(base_offset), rolled)
        };
        self.on_queued(&rolled);
        Ok(appended)
    }

    /// Appends whole batches as they came from the leader, with the offsets and epochs they have. A batch cut short at the end is left out.
    pub fn append_as_follower(&self, records: Bytes, now: TimestampMs) -> Result<Appended, AppendError> {
        let (appended, rolled) = {
            let mut state = self.state_mut();
            let state = &mut *state;
            state.check_appendable()?;
            let headers = check_run(&records, state.reserved_end)?;
            let base_offset = headers.first().map_or(state.reserved_end, |header| header.base_offset);
            let mut rolled = Vec::new();
            let mut queued_to = 0;
            let mut at = 0;
            for header in &headers {
                let batch = records.slice(at..at + header.total_len());
                if state.must_roll(header, now) {
                    // What came before goes to the old segment, in one piece.
                    state.queue_run(records.slice(queued_to..at));
                    queued_to = at;
                }
                if state.epochs.assign(header.leader_epoch, header.base_offset) {
                    state.epochs_stored = Stored::No;
                }
                rolled.extend(state.place(header, &batch, now, || self.draw_jitter()));
                at += header.total_len();
            }
            state.queue_run(records.slice(queued_to..at));
            (state.appended_from(base_offset), rolled)
        };
        self.on_queued(&rolled);
        Ok(appended)
    }

    /// Up to `segment.jitter.ms`, for the segment that begins now.
    pub(super) fn draw_jitter(&self) -> u64 {
        self.shared.world.random()
    }

    /// Begins what a queued append needs: files of new segments, sealing of old ones, writes.
    pub(super) fn on_queued(&self, rolled: &[Offset]) {
        if planted::is(Bug::AckBeforeCompletion) {
            let mark = self.state().reserved_mark();
            self.on_written_up_to(mark);
        }
        for base in rolled {
            self.begin_opening(*base);
        }
        if !rolled.is_empty() {
            self.begin_sealing();
        }
        self.start_lanes();
    }

    fn begin_sealing(&self) {
        if self.shared.sealing.replace(true) {
            return;
        }
        let log = self.clone();
        self.shared.world.spawn(crate::io::Urgency::Background, async move {
            // A failure was told to the observer; there is nobody else to tell.
            while log.state().segments.iter().any(|segment| segment.seal == Seal::Rolled) {
                let done = log.flush_upto(Upto::Rolled).await;
                if done.is_err() {
                    break;
                }
            }
            log.shared.sealing.set(false);
        });
    }
}

impl<W: World> State<W> {
    fn check_appendable(&self) -> Result<(), AppendError> {
        match self.life {
            Life::Open => Ok(()),
            Life::Truncating => Err(AppendError::Truncating),
            Life::Closed => Err(AppendError::Closed),
            Life::Failed => Err(AppendError::Offline),
        }
    }

    fn check_batches(&self, batches: &[LeaderBatch], epoch: LeaderEpoch) -> Result<(), AppendError> {
        if let Some(latest) = self.epochs.latest()
            && epoch < latest
        {
            return Err(AppendError::StaleEpoch { latest, found: epoch });
        }
        let segment_bytes = self.settings.segment_bytes;
        for LeaderBatch { header, bytes } in batches {
            if bytes.len() != header.total_len() {
                return Err(BatchError::Truncated { at: 0, wanted: header.total_len(), left: bytes.len() }.into());
            }
            if bytes.len() > segment_bytes as usize {
                return Err(AppendError::TooLarge { len: bytes.len(), segment_bytes });
            }
        }
        Ok(())
    }

    fn appended_from(&self, base_offset: Offset) -> Appended {
        Appended { base_offset, last_offset: self.reserved_end.plus(-1), log_start: self.log_start }
    }

    /// Where the end will be when all that is queued is written.
    pub(super) fn reserved_mark(&self) -> EndMark {
        EndMark { offset: self.reserved_end, segment: self.active().base, position: self.active().len }
    }

    /// Gives a batch its place, rolling first if it must, and notes all that follows. Answers with the base offset of a new segment.
    fn place(&mut self, header: &BatchHeader, bytes: &[u8], now: TimestampMs, draw: impl FnOnce() -> u64) -> Option<Offset> {
        let last = header.last_offset();
        let rolled = self.must_roll(header, now).then(|| {
            // A follower may be given an offset too far from its end for the indexes; the segment then begins later.
            let base = self.reserved_end.max(last.plus(-RELATIVE_MAX));
            self.roll(base, now, draw());
            base
        });
        let interval = self.settings.index_interval_bytes;
        let active = self.segments.back_mut().expect("a log has a segment");
        active.on_batch(header.base_offset, last, header.max_timestamp, header.total_len() as u32, interval);
        if header.has_producer()
            && let Some(action) = producer_action(header, bytes)
            && let Some(aborted) = self.producers.on_batch(&action, header.base_offset, header.max_timestamp)
        {
            active.aborted.push(aborted);
        }
        self.size += header.total_len() as u64;
        self.reserved_end = last.plus(1);
        rolled
    }

    /// Kafka's rule: by size, by age, by a full index, or because the offset would not fit the index.
    fn must_roll(&self, header: &BatchHeader, now: TimestampMs) -> bool {
        let active = self.active();
        let settings = &self.settings;
        if !active.can_hold(header.last_offset()) {
            return true;
        }
        if active.len == 0 {
            return false;
        }
        let waited = match active.first_timestamp {
            FirstTimestamp::Of(first) if first.get() >= 0 => header.max_timestamp.get().saturating_sub(first.get()),
            _ => now.get().saturating_sub(active.created.get()),
        };
        let age_max = i64::try_from(settings.segment_age_max_ms().saturating_sub(self.jitter_ms)).unwrap_or(i64::MAX);
        active.len + header.total_len() as u64 > u64::from(settings.segment_bytes)
            || waited > age_max
            || active.index.entries.len() >= settings.segment_index_bytes as usize / 8
            || active.times.entries.len() + 1 >= settings.segment_index_bytes as usize / 12
    }

    /// Makes the active segment history and begins one at `base`. Its file is opened later.
    pub(super) fn roll(&mut self, base: Offset, now: TimestampMs, random: u64) {
        let active = self.active_mut();
        active.times.add_largest();
        active.seal = Seal::Rolled;
        // A flush may have left one here already, which is not to be written over.
        if self.snapshots.newest() != Some(base) {
            self.snapshots.waiting.push((base, self.producers.encode()));
        }
        let edition = self.next_edition();
        self.segments.push_back(Segment { edition, ..Segment::empty(base, now) });
        self.jitter_ms = self.settings.jitter_of(random);
    }

    /// Queues the batch that was placed last.
    fn queue(&mut self, prefix: Option<[u8; PREFIX_LEN]>, bytes: Bytes) {
        let len = bytes.len() as u64 + prefix.map_or(0, |prefix| prefix.len() as u64);
        let mark = self.reserved_mark();
        self.writer.push(Pending { segment: mark.segment, position: mark.position - len, end: mark.offset, prefix, bytes });
    }

    /// Queues whole batches that were placed last, all in the active segment.
    fn queue_run(&mut self, run: Bytes) {
        if !run.is_empty() {
            self.queue(None, run);
        }
    }
}

/// Checks a run of batches from the leader before any of it is taken: headers, CRCs, and offsets that rise from `expected`.
fn check_run(records: &Bytes, expected: Offset) -> Result<Vec<BatchHeader>, AppendError> {
    let mut headers = Vec::new();
    let mut expected = expected;
    for batch in batch::batches(records) {
        let batch = match batch {
            Ok(batch) => batch,
            Err(BatchError::Truncated { .. }) if !headers.is_empty() => break,
            Err(error) => return Err(error.into()),
        };
        batch.verify_crc()?;
        let header = batch.header;
        if header.base_offset < expected {
            return Err(AppendError::OutOfOrder { expected, found: header.base_offset });
        }
        if header.total_len() as u64 > i32::MAX as u64 {
            return Err(AppendError::TooLarge { len: header.total_len(), segment_bytes: i32::MAX as u32 });
        }
        expected = header.next_offset();
        headers.push(header);
    }
    Ok(headers)
}

/// A data batch that carries a producer's sequence.
pub(super) fn sequenced(header: &BatchHeader) -> Option<SequencedBatch> {
    (header.has_producer() && !header.is_control() && header.base_sequence != NO_SEQUENCE).then(|| SequencedBatch {
        producer_id: header.producer_id,
        epoch: header.producer_epoch,
        base_sequence: header.base_sequence,
        last_offset_delta: header.last_offset_delta,
        transactional: header.is_transactional(),
    })
}

/// What a batch means to its producer. `None` for batches of nobody, and for control batches that end no transaction (KRaft's, and those
/// that compaction emptied).
pub(super) fn producer_action(header: &BatchHeader, bytes: &[u8]) -> Option<ProducerAction> {
    if !header.has_producer() {
        return None;
    }
    if !header.is_control() {
        return sequenced(header).map(ProducerAction::Data);
    }
    let marker = record::records(bytes.get(RECORDS_AT..)?, header.count).next()?.ok()?;
    let end = match marker.key? {
        [_, _, 0, 0] => TransactionEnd::Abort,
        [_, _, 0, 1] => TransactionEnd::Commit,
        _ => return None,
    };
    // int16 version, int32 coordinator epoch.
    let coordinator_epoch = i32::from_be_bytes(marker.value?.get(2..6)?.try_into().ok()?);
    Some(ProducerAction::Marker(Marker { producer_id: header.producer_id, epoch: header.producer_epoch, coordinator_epoch, end }))
}

const _: () = assert!(LEADER_EPOCH_AT < PREFIX_LEN, "the leader epoch is part of what a leader assigns");
