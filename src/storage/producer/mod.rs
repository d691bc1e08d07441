//! What a log knows of its producers: the last batches of each, so that a repeated one is not stored twice, and open transactions, so
//! that readers of committed records stop before them (KIP-98, KIP-360).
//!
//! Called by `log` at every append, recovery and truncation, and by `partition` (through `Log::check_producer`) before a leader append;
//! calls `index` for the form of an aborted transaction, `types`. Pure.
//!
//! Invariants:
//! 1. The state is a function of the batches in the log up to an offset: a follower, a recovery and the leader reach the same.
//! 2. `ongoing` has exactly the open transactions of `producers`, by their first offset.
//!
//! What a crash leaves: nothing of this; it is rebuilt from the newest snapshot at or below the replayed part (`snapshot`).

use std::collections::BTreeMap;

use super::index::AbortedTransaction;
use super::planted::{self, Bug};
use crate::types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

pub mod snapshot;
#[cfg(test)]
mod tests;

/// Batches remembered of each producer: as many as Kafka's clients keep in flight.
pub const BATCHES_KEPT: usize = 5;

/// Producers remembered of one log. Kafka remembers any number for a day, and writes them all down at every roll; here those silent for longest
/// are forgotten when there are more. One of them that speaks again is taken at its word, as after its day; only what it sent just before it fell
/// silent would be stored twice if it came again.
pub const PRODUCERS_MAX: usize = 32 << 10;

/// Says "no sequence": control batches, and a producer without data batches.
pub const NO_SEQUENCE: i32 = -1;

/// A data batch of an idempotent or transactional producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SequencedBatch {
    pub producer_id: ProducerId,
    pub epoch: ProducerEpoch,
    pub base_sequence: i32,
    pub last_offset_delta: i32,
    pub transactional: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TransactionEnd {
    Commit,
    Abort,
}

/// A control batch that ends a transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marker {
    pub producer_id: ProducerId,
    pub epoch: ProducerEpoch,
    pub coordinator_epoch: i32,
    pub end: TransactionEnd,
}

/// What a batch means to its producer's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProducerAction {
    Data(SequencedBatch),
    Marker(Marker),
}

/// A data batch that may be appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ProducerCheck {
    New,
    /// Stored already: to be acknowledged again with the same offset.
    Duplicate {
        base_offset: Offset,
        timestamp: TimestampMs,
    },
}

/// Why a producer's batch must not be appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProducerRefusal {
    #[error("producer {producer_id} at epoch {epoch} sent sequence {found} where {expected} follows")]
    OutOfOrderSequence { producer_id: ProducerId, epoch: ProducerEpoch, expected: i32, found: i32 },
    #[error("producer {producer_id} sent epoch {found}, fenced by {current}")]
    InvalidProducerEpoch { producer_id: ProducerId, current: ProducerEpoch, found: ProducerEpoch },
    #[error("producer {producer_id} has no state here and did not begin with sequence 0")]
    UnknownProducerId { producer_id: ProducerId },
    #[error("producer {producer_id} sent a batch outside its open transaction")]
    NotInTransaction { producer_id: ProducerId },
    #[error("the coordinator's epoch {found} for producer {producer_id} is fenced by {current}")]
    CoordinatorFenced { producer_id: ProducerId, current: i32, found: i32 },
}

/// What to do with a producer that is not known and begins in the middle: its state may have been deleted with old segments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UnknownProducer {
    Accept,
    /// Under the newer transaction protocol (KIP-890) a producer begins anew, at sequence 0, after every transaction.
    RequireZero,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct StoredBatch {
    last_sequence: i32,
    last_offset: Offset,
    offset_delta: i32,
    timestamp: TimestampMs,
}

impl StoredBatch {
    fn base_sequence(&self) -> i32 {
        sequence_minus(self.last_sequence, self.offset_delta)
    }

    fn base_offset(&self) -> Offset {
        self.last_offset.plus(-i64::from(self.offset_delta))
    }
}

/// One producer's state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Producer {
    epoch: ProducerEpoch,
    coordinator_epoch: i32,
    last_timestamp: TimestampMs,
    open_transaction: Option<Offset>,
    /// The last batches of this epoch, oldest first.
    batches: [StoredBatch; BATCHES_KEPT],
    batch_count: u8,
}

impl Producer {
    fn new(epoch: ProducerEpoch) -> Self {
        Self {
            epoch,
            coordinator_epoch: -1,
            last_timestamp: TimestampMs::NONE,
            open_transaction: None,
            batches: Default::default(),
            batch_count: 0,
        }
    }

    pub fn epoch(&self) -> ProducerEpoch {
        self.epoch
    }

    pub fn coordinator_epoch(&self) -> i32 {
        self.coordinator_epoch
    }

    pub fn last_timestamp(&self) -> TimestampMs {
        self.last_timestamp
    }

    /// First offset of the transaction under way.
    pub fn open_transaction(&self) -> Option<Offset> {
        self.open_transaction
    }

    pub fn last_sequence(&self) -> i32 {
        self.stored().last().map_or(NO_SEQUENCE, |batch| batch.last_sequence)
    }

    /// Offset of the last record of its last batch below `end`, of the batches that are known.
    pub fn last_record_offset(&self, end: Offset) -> Option<Offset> {
        self.stored().iter().rev().map(|batch| batch.last_offset).find(|last| *last < end)
    }

    /// -1 without a batch.
    fn last_offset(&self) -> Offset {
        self.stored().last().map_or(Offset(-1), |batch| batch.last_offset)
    }

    fn stored(&self) -> &[StoredBatch] {
        &self.batches[..usize::from(self.batch_count)]
    }

    fn enter_epoch(&mut self, epoch: ProducerEpoch) {
        if epoch != self.epoch {
            self.epoch = epoch;
            self.batch_count = 0;
        }
    }

    fn remember(&mut self, batch: StoredBatch) {
        if usize::from(self.batch_count) == BATCHES_KEPT {
            self.batches.rotate_left(1);
            self.batches[BATCHES_KEPT - 1] = batch;
        } else {
            self.batches[usize::from(self.batch_count)] = batch;
            self.batch_count += 1;
        }
    }
}

/// All producers of one log.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Producers {
    producers: BTreeMap<ProducerId, Producer>,
    /// Open transactions by first offset.
    ongoing: BTreeMap<Offset, ProducerId>,
    /// Transactions whose marker is in the log but was not yet seen below the high watermark: first offset to marker offset.
    unreplicated: BTreeMap<Offset, Offset>,
}

impl Producers {
    /// Whether a leader may append the batch, by Kafka's rule.
    pub fn check(&self, batch: &SequencedBatch, unknown: UnknownProducer) -> Result<ProducerCheck, ProducerRefusal> {
        let producer_id = batch.producer_id;
        let Some(producer) = self.producers.get(&producer_id) else {
            return match unknown {
                UnknownProducer::RequireZero if batch.base_sequence != 0 => Err(ProducerRefusal::UnknownProducerId { producer_id }),
                _ => Ok(ProducerCheck::New),
            };
        };
        if batch.epoch < producer.epoch {
            return Err(ProducerRefusal::InvalidProducerEpoch { producer_id, current: producer.epoch, found: batch.epoch });
        }
        let last_sequence = sequence_plus(batch.base_sequence, batch.last_offset_delta);
        if batch.epoch == producer.epoch
            && let Some(stored) =
                producer.stored().iter().find(|s| s.last_sequence == last_sequence && s.base_sequence() == batch.base_sequence)
        {
            return Ok(ProducerCheck::Duplicate { base_offset: stored.base_offset(), timestamp: stored.timestamp });
        }
        let expected = match producer.last_sequence() {
            _ if batch.epoch != producer.epoch => 0,
            NO_SEQUENCE => 0,
            last => sequence_plus(last, 1),
        };
        if batch.base_sequence != expected {
            return Err(ProducerRefusal::OutOfOrderSequence { producer_id, epoch: batch.epoch, expected, found: batch.base_sequence });
        }
        if producer.open_transaction.is_some() && !batch.transactional {
            return Err(ProducerRefusal::NotInTransaction { producer_id });
        }
        Ok(ProducerCheck::New)
    }

    /// Whether a leader may append the marker.
    pub fn check_marker(&self, marker: &Marker) -> Result<(), ProducerRefusal> {
        let producer_id = marker.producer_id;
        let Some(producer) = self.producers.get(&producer_id) else { return Ok(()) };
        if marker.epoch < producer.epoch {
            return Err(ProducerRefusal::InvalidProducerEpoch { producer_id, current: producer.epoch, found: marker.epoch });
        }
        if marker.coordinator_epoch < producer.coordinator_epoch {
            let current = producer.coordinator_epoch;
            return Err(ProducerRefusal::CoordinatorFenced { producer_id, current, found: marker.coordinator_epoch });
        }
        Ok(())
    }

    /// Notes a batch that is in the log at `base_offset`; asks nothing. Answers with the transaction it aborted.
    pub fn on_batch(&mut self, action: &ProducerAction, base_offset: Offset, timestamp: TimestampMs) -> Option<AbortedTransaction> {
        match action {
            ProducerAction::Data(batch) => {
                self.on_data(batch, base_offset, timestamp);
                None
            }
            ProducerAction::Marker(marker) => self.on_marker(marker, base_offset, timestamp),
        }
    }

    fn on_data(&mut self, batch: &SequencedBatch, base_offset: Offset, timestamp: TimestampMs) {
        self.make_room_for(batch.producer_id);
        let producer = self.producers.entry(batch.producer_id).or_insert_with(|| Producer::new(batch.epoch));
        producer.enter_epoch(batch.epoch);
        producer.last_timestamp = timestamp;
        producer.remember(StoredBatch {
            last_sequence: sequence_plus(batch.base_sequence, batch.last_offset_delta),
            last_offset: base_offset.plus(i64::from(batch.last_offset_delta)),
            offset_delta: batch.last_offset_delta,
            timestamp,
        });
        if batch.transactional && producer.open_transaction.is_none() {
            producer.open_transaction = Some(base_offset);
            self.ongoing.insert(base_offset, batch.producer_id);
        }
    }

    fn on_marker(&mut self, marker: &Marker, offset: Offset, timestamp: TimestampMs) -> Option<AbortedTransaction> {
        self.make_room_for(marker.producer_id);
        let producer = self.producers.entry(marker.producer_id).or_insert_with(|| Producer::new(marker.epoch));
        producer.enter_epoch(marker.epoch);
        producer.last_timestamp = timestamp;
        producer.coordinator_epoch = marker.coordinator_epoch;
        // A marker for a transaction that wrote nothing here ends nothing.
        let first = producer.open_transaction.take()?;
        self.ongoing.remove(&first);
        self.unreplicated.insert(first, offset);
        if marker.end == TransactionEnd::Commit {
            return None;
        }
        let last_stable = self.ongoing.keys().next().copied().unwrap_or(offset.plus(1));
        Some(AbortedTransaction { producer_id: marker.producer_id, first, last: offset, last_stable })
    }

    /// One more than are remembered: half of them are forgotten, so that this is seldom done. By offset, which no client can forge.
    fn make_room_for(&mut self, producer_id: ProducerId) {
        if self.producers.len() < PRODUCERS_MAX || self.producers.contains_key(&producer_id) {
            return;
        }
        let mut last: Vec<Offset> = self.producers.values().map(Producer::last_offset).collect();
        let (_, median, _) = last.select_nth_unstable(PRODUCERS_MAX / 2);
        let oldest_kept = *median;
        self.producers.retain(|_, producer| producer.open_transaction.is_some() || producer.last_offset() > oldest_kept);
    }

    /// The last stable offset: up to it every transaction is decided, and its marker replicated.
    pub fn last_stable(&mut self, high_watermark: Offset) -> Offset {
        if !self.unreplicated.is_empty() {
            self.unreplicated.retain(|_, marker| *marker >= high_watermark);
        }
        let open = self.ongoing.keys().next();
        let undecided = [open, self.unreplicated.keys().next()].into_iter().flatten().min();
        undecided.map_or(high_watermark, |first| high_watermark.min(*first))
    }

    /// Forgets producers that have been silent for `expiration_ms`; one with an open transaction stays.
    pub fn expire(&mut self, now: TimestampMs, expiration_ms: u64) {
        let oldest = now.get().saturating_sub(i64::try_from(expiration_ms).unwrap_or(i64::MAX));
        self.producers.retain(|_, producer| producer.open_transaction.is_some() || producer.last_timestamp.get() > oldest);
    }

    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, &Producer)> {
        self.producers.iter().map(|(id, producer)| (*id, producer))
    }

    pub fn len(&self) -> usize {
        self.producers.len()
    }

    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }
}

/// Sequences run from 0 to `i32::MAX` and begin again.
fn sequence_plus(sequence: i32, increment: i32) -> i32 {
    if planted::is(Bug::SequenceWrap) {
        return sequence.wrapping_add(increment);
    }
    ((i64::from(sequence) + i64::from(increment)) & i64::from(i32::MAX)) as i32
}

fn sequence_minus(sequence: i32, decrement: i32) -> i32 {
    ((i64::from(sequence) - i64::from(decrement)) & i64::from(i32::MAX)) as i32
}
