//! What compaction keeps of a batch: for each key the last record, tombstones and markers until their time, nothing of what was aborted.
//!
//! Called by `copy`, off the shard, chunk by chunk; calls `map`, `transactions`, `wire`. Pure.
//!
//! First the dirty part is told to a map of keys ([`Filling`]), until its end or until the map is full; then everything up to the end of
//! what was told is filtered by it ([`Filter`]).
//!
//! Invariants:
//! 1. A batch that is kept keeps its base and last offset, its producer's id, epoch and sequence, its leader epoch, its codec and the kind
//!    of its timestamps. One of which all is kept keeps its bytes.
//! 2. A record behind the end of what was told is kept.
//! 3. The last batch of each producer that is known is kept, if need be without records; so is the last batch before the end.
//! 4. What fails its check is never written again under a sound one.
//!
//! KIP-534: a batch with tombstones, or the marker of nothing, is given the moment from which they may go when a pass first meets them as
//! such, in place of its base timestamp.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::map::OffsetMap;
use super::transactions::{MarkerFate, Transactions};
use crate::storage::index::AbortedTransaction;
use crate::storage::planted::{self, Bug};
use crate::storage::producer::TransactionEnd;
use crate::types::{Offset, ProducerEpoch, ProducerId, TimestampMs};
use crate::wire::batch::{Batch, BatchBuilder, BatchError, BatchHeader, TimestampType, batches};
use crate::wire::compression::{self, CompressionError};
use crate::wire::record::{self, Record, RecordError, RecordHeader};

/// Why a batch cannot be compacted.
#[derive(Debug, thiserror::Error)]
pub enum Unsound {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error(transparent)]
    Compression(#[from] CompressionError),
    #[error(transparent)]
    Record(#[from] RecordError),
    #[error("a batch from {base} to {last} does not belong here")]
    Misplaced { base: Offset, last: Offset },
    #[error("a record has offset delta {found} behind {before}, in a batch up to {last}")]
    OffsetDelta { before: i32, found: i32, last: i32 },
}

/// An unsound batch, and where it lies in the chunk.
#[derive(Debug)]
pub struct Found {
    pub at: usize,
    pub why: Unsound,
}

/// Offsets that the batches of a chunk lie within: behind those before, and before the next segment.
#[derive(Clone, Copy, Debug)]
pub struct Within {
    pub from: Offset,
    pub below: Offset,
}

/// How much of a chunk was looked at.
#[derive(Clone, Copy, Debug)]
pub struct Consumed {
    pub bytes: usize,
    /// Where its last batch ends.
    pub next: Offset,
}

/// Whole batches at the front of a chunk, each with its place and its CRC checked.
fn sound_batches(chunk: &Bytes, within: Within, mut visit: impl FnMut(&Batch) -> Result<Go, Unsound>) -> Result<Consumed, Found> {
    let mut walk = batches(chunk);
    let (mut at, mut next) = (0, within.from);
    while let Some(batch) = walk.next() {
        let batch = match batch {
            Ok(batch) => batch,
            // The next chunk begins with it.
            Err(BatchError::Truncated { .. }) => break,
            Err(why) => return Err(Found { at, why: why.into() }),
        };
        let header = &batch.header;
        if header.base_offset < next || header.last_offset() >= within.below {
            return Err(Found { at, why: Unsound::Misplaced { base: header.base_offset, last: header.last_offset() } });
        }
        let visited = batch.verify_crc().map_err(Unsound::from).and_then(|()| visit(&batch));
        match visited.map_err(|why| Found { at, why })? {
            Go::On => (at, next) = (walk.walked(), header.next_offset()),
            Go::NoFurther => break,
        }
    }
    Ok(Consumed { bytes: at, next })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Go {
    On,
    NoFurther,
}

/// Shows every record of a batch with its offset and its bytes, none of which may lie outside the batch.
fn each_record(header: &BatchHeader, body: &[u8], mut see: impl FnMut(Offset, &Record<'_>)) -> Result<(), Unsound> {
    let mut before = -1;
    for record in record::records(body, header.count) {
        let record = record?;
        let (found, last) = (record.offset_delta, header.last_offset_delta);
        if found <= before || found > last {
            return Err(Unsound::OffsetDelta { before, found, last });
        }
        before = found;
        see(header.base_offset.plus(i64::from(found)), &record);
    }
    Ok(())
}

/// How a control batch ends a transaction. `None`: not at all, as it is of another kind, or has been emptied.
fn transaction_end(batch: &Batch) -> Option<TransactionEnd> {
    let body = batch.records();
    let marker = record::records(&body, batch.header.count).next()?.ok()?;
    match marker.key? {
        [_, _, 0, 0] => Some(TransactionEnd::Abort),
        [_, _, 0, 1] => Some(TransactionEnd::Commit),
        _ => None,
    }
}

/// The dirty part on its way into the map.
pub struct Filling {
    map: OffsetMap,
    transactions: Transactions,
    /// Records before it were told on an earlier pass.
    from: Offset,
    /// Up to where all was told.
    end: Offset,
    is_full: bool,
    decompressed_bytes_max: usize,
}

impl Filling {
    pub fn new(map: OffsetMap, from: Offset, aborted: Vec<AbortedTransaction>, decompressed_bytes_max: usize) -> Self {
        let mut transactions = Transactions::default();
        transactions.expect(aborted);
        Self { map, transactions, from, end: from, is_full: false, decompressed_bytes_max }
    }

    pub fn end(&self) -> Offset {
        self.end
    }

    pub fn is_full(&self) -> bool {
        self.is_full
    }

    /// A segment is through: offsets that are missing at its end are told too.
    pub fn on_segment_end(&mut self, next: Offset) {
        self.end = self.end.max(next);
    }

    /// Tells the whole batches at the front of the chunk.
    pub fn tell(&mut self, chunk: &Bytes, within: Within) -> Result<Consumed, Found> {
        sound_batches(chunk, within, |batch| {
            self.tell_batch(batch)?;
            Ok(if self.is_full { Go::NoFurther } else { Go::On })
        })
    }

    fn tell_batch(&mut self, batch: &Batch) -> Result<(), Unsound> {
        let header = &batch.header;
        if header.is_control() {
            if let Some(end) = transaction_end(batch) {
                self.transactions.on_marker(header, end);
            }
        } else if !self.transactions.on_records(header) && header.last_offset() >= self.from {
            let body = compression::decompress(header.codec, &batch.records(), self.decompressed_bytes_max)?;
            let Self { map, from, end, is_full, .. } = self;
            each_record(header, &body, |offset, record| {
                let Some(key) = record.key.filter(|_| offset >= *from && !*is_full) else { return };
                match map.put(key, offset) {
                    true => *end = offset.plus(1),
                    false => *is_full = true,
                }
            })?;
        }
        if !self.is_full {
            self.end = self.end.max(header.next_offset());
        }
        Ok(())
    }

    pub fn into_filter(self, rules: FilterRules) -> Filter {
        Filter { map: self.map, mapped_end: self.end, transactions: Transactions::default(), rules }
    }
}

/// What the log knows of a producer's last batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LastOfProducer {
    /// Of its last batch of records; `None` if only a marker is known.
    pub offset: Option<Offset>,
    /// The same of those that are on disk: a loss of power may take the others.
    pub durable: Option<Offset>,
    pub epoch: ProducerEpoch,
}

#[derive(Clone, Debug)]
pub struct FilterRules {
    /// Where the part of the log ends that may be compacted.
    pub upper: Offset,
    pub now: TimestampMs,
    pub delete_retention_ms: u64,
    pub producers: Arc<BTreeMap<ProducerId, LastOfProducer>>,
    pub decompressed_bytes_max: usize,
}

pub struct Filter {
    map: OffsetMap,
    mapped_end: Offset,
    transactions: Transactions,
    rules: FilterRules,
}

/// A batch that was kept, as it lies in [`Filtered::bytes`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kept {
    pub base: Offset,
    pub last: Offset,
    pub max_timestamp: TimestampMs,
    pub len: u32,
}

/// What became of a chunk.
#[derive(Default)]
pub struct Filtered {
    pub bytes: BytesMut,
    pub batches: Vec<Kept>,
    /// Aborted transactions whose markers were kept.
    pub aborted: Vec<AbortedTransaction>,
    pub records_read: u64,
    pub records_kept: u64,
}

/// What is kept of one batch.
enum Part {
    Nothing,
    /// The batch without records: what it says of offsets and of its producer.
    Shell,
    Whole,
    /// It was written anew, with so many records.
    Some(Bytes, i32),
}

impl Filter {
    pub fn expect(&mut self, aborted: Vec<AbortedTransaction>) {
        self.transactions.expect(aborted);
    }

    /// The producers may have come further since the segments before.
    pub fn know(&mut self, producers: Arc<BTreeMap<ProducerId, LastOfProducer>>) {
        self.rules.producers = producers;
    }

    /// Filters the whole batches at the front of the chunk.
    pub fn filter(&mut self, chunk: &Bytes, within: Within) -> Result<(Consumed, Filtered), Found> {
        let mut filtered = Filtered { bytes: BytesMut::with_capacity(chunk.len()), ..Filtered::default() };
        let consumed = sound_batches(chunk, within, |batch| {
            let header = &batch.header;
            let part = self.filter_batch(batch, &mut filtered.aborted)?;
            filtered.records_read += header.count as u64;
            let (bytes, records) = match part {
                Part::Nothing => return Ok(Go::On),
                Part::Whole => (batch.bytes.clone(), header.count),
                Part::Shell => (shell(header), 0),
                Part::Some(bytes, records) => (bytes, records),
            };
            filtered.records_kept += records as u64;
            let now = BatchHeader::parse(&bytes)?;
            let len = now.total_len() as u32;
            filtered.batches.push(Kept { base: now.base_offset, last: now.last_offset(), max_timestamp: now.max_timestamp, len });
            filtered.bytes.extend_from_slice(&bytes);
            Ok(Go::On)
        })?;
        Ok((consumed, filtered))
    }

    fn filter_batch(&mut self, batch: &Batch, aborted: &mut Vec<AbortedTransaction>) -> Result<Part, Unsound> {
        let header = &batch.header;
        let emptied = if self.is_last(header) { Part::Shell } else { Part::Nothing };
        if header.count == 0 {
            // One that was kept for its offsets and its producer: a transaction's is a batch of it like others.
            if !header.is_control() {
                self.transactions.on_records(header);
            }
            return Ok(if matches!(emptied, Part::Shell) { Part::Whole } else { Part::Nothing });
        }
        if header.is_control() {
            return self.filter_marker(batch, emptied, aborted);
        }
        if self.transactions.on_records(header) {
            return Ok(emptied);
        }
        if header.base_offset >= self.mapped_end {
            return Ok(Part::Whole);
        }
        self.filter_records(batch, emptied)
    }

    fn filter_marker(&mut self, batch: &Batch, emptied: Part, aborted: &mut Vec<AbortedTransaction>) -> Result<Part, Unsound> {
        let header = &batch.header;
        let fate = match transaction_end(batch) {
            Some(end) => self.transactions.on_marker(header, end),
            None => MarkerFate::Needed(None),
        };
        match fate {
            MarkerFate::Needed(entry) => {
                aborted.extend(entry);
                Ok(Part::Whole)
            }
            MarkerFate::Unneeded if !header.has_delete_horizon() => rewrite(header, &batch.records(), Some(self.horizon()), |_, _| true),
            // What else tells of the producer's epoch goes with the record.
            MarkerFate::Unneeded if self.is_last_of_producer(header) => Ok(Part::Whole),
            MarkerFate::Unneeded if self.is_past(header.base_timestamp) => Ok(emptied),
            MarkerFate::Unneeded => Ok(Part::Whole),
        }
    }

    fn filter_records(&self, batch: &Batch, emptied: Part) -> Result<Part, Unsound> {
        let header = &batch.header;
        let body = compression::decompress(header.codec, &batch.records(), self.rules.decompressed_bytes_max)?;
        let keeps_tombstones = !header.has_delete_horizon() || !self.is_past(header.base_timestamp);
        let keeps = |offset: Offset, record: &Record<'_>| {
            if offset >= self.mapped_end {
                return !planted::is(Bug::CleanedPastDirty);
            }
            // Without a key a record replaces nothing and is never replaced; a compacted topic has no place for it.
            let Some(key) = record.key else { return false };
            let is_latest = self.map.get(key).is_none_or(|latest| offset >= latest);
            is_latest && (record.value.is_some() || keeps_tombstones)
        };
        let (mut kept, mut has_tombstone) = (0, false);
        each_record(header, &body, |offset, record| {
            if keeps(offset, record) {
                kept += 1;
                has_tombstone |= record.value.is_none();
            }
        })?;
        // The time of a batch's tombstones begins when all of it was told: what they delete may be there until then.
        let begins_horizon = has_tombstone && !header.has_delete_horizon() && header.last_offset() < self.mapped_end;
        if kept == 0 {
            Ok(emptied)
        } else if kept == header.count && !begins_horizon {
            Ok(Part::Whole)
        } else {
            let horizon = match (begins_horizon, header.has_delete_horizon()) {
                (true, _) => Some(self.horizon()),
                (false, true) => Some(header.base_timestamp),
                (false, false) => None,
            };
            rewrite(header, &body, horizon, keeps)
        }
    }

    /// Whether the batch is the last of its producer, or the last of the part that may be compacted.
    fn is_last(&self, header: &BatchHeader) -> bool {
        self.is_last_of_producer(header) || header.next_offset() == self.rules.upper
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        let of_producer = self.rules.producers.get(&header.producer_id).filter(|_| header.has_producer());
        let is_last = |last: &LastOfProducer, of: Option<Offset>| match of {
            Some(offset) => header.last_offset() == offset,
            // Its marker has the epoch by which older instances are fenced.
            None => header.is_control() && header.producer_epoch == last.epoch,
        };
        of_producer.is_some_and(|last| is_last(last, last.offset) || is_last(last, last.durable))
    }

    fn horizon(&self) -> TimestampMs {
        let retention = i64::try_from(self.rules.delete_retention_ms).unwrap_or(i64::MAX);
        TimestampMs(self.rules.now.get().saturating_add(retention))
    }

    fn is_past(&self, horizon: TimestampMs) -> bool {
        self.rules.now >= horizon || planted::is(Bug::TombstoneEarly)
    }
}

/// The batch without its records.
fn shell(header: &BatchHeader) -> Bytes {
    BatchBuilder::like(header).max_timestamp(header.max_timestamp).last_offset_delta(header.last_offset_delta).build()
}

/// The batch with those records that `keeps` accepts, of which there is one at least.
fn rewrite(
    header: &BatchHeader,
    body: &[u8],
    horizon: Option<TimestampMs>,
    keeps: impl Fn(Offset, &Record<'_>) -> bool,
) -> Result<Part, Unsound> {
    let mut builder = BatchBuilder::like(header);
    if let Some(horizon) = horizon {
        builder = builder.delete_horizon(horizon);
    }
    each_record(header, body, |offset, record| {
        if keeps(offset, record) {
            let timestamp = match header.timestamp_type() {
                TimestampType::CreateTime => TimestampMs(header.base_timestamp.get().wrapping_add(record.timestamp_delta)),
                TimestampType::LogAppendTime => header.max_timestamp,
            };
            let headers: Vec<RecordHeader<'_>> = record.headers().collect();
            builder.push_at(record.offset_delta, timestamp, record.key, record.value, &headers);
        }
    })?;
    let records = builder.count();
    if !planted::is(Bug::LastOffsetLost) {
        builder = builder.last_offset_delta(header.last_offset_delta);
    }
    Ok(Part::Some(builder.build_with(header.codec, None)?, records))
}
