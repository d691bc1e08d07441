use bytes::{BufMut, Bytes, BytesMut};

use super::{
    ATTRIBUTES_AT, BatchHeader, CODEC_BITS, CONTROL_BIT, CRC_AT, Codec, DELETE_HORIZON_BIT, LENGTH_EXCLUDES, LOG_APPEND_TIME_BIT, MAGIC,
    RECORDS_AT, TRANSACTIONAL_BIT, TimestampType,
};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};
use crate::wire::compression::{self, CompressionError, Level};
use crate::wire::record::{self, RecordHeader};

/// What a control batch says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ControlType {
    Abort,
    Commit,
}

impl ControlType {
    /// The key of the marker's record: version 0 and the type.
    pub const fn key(self) -> [u8; 4] {
        [0, 0, 0, self as u8]
    }
}

/// Builds one batch: for internal topics, compaction, tools and tests. What clients send is stored as it comes.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    attributes: i16,
    base_timestamp: Option<TimestampMs>,
    max_timestamp: TimestampMs,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
    last_offset_delta: i32,
    count: i32,
    records: BytesMut,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    pub fn new() -> Self {
        Self {
            base_offset: Offset::ZERO,
            leader_epoch: LeaderEpoch::UNKNOWN,
            attributes: 0,
            base_timestamp: None,
            max_timestamp: TimestampMs::NONE,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: -1,
            last_offset_delta: -1,
            count: 0,
            records: BytesMut::new(),
        }
    }

    /// The one record of a transaction marker, written for the given producer by the coordinator of that epoch.
    pub fn transaction_marker(
        control: ControlType,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
        coordinator_epoch: i32,
        timestamp: TimestampMs,
    ) -> Self {
        let mut builder = Self::new().producer(producer_id, producer_epoch, -1).transactional();
        builder.attributes |= CONTROL_BIT;
        let mut value = [0; 6];
        value[2..].copy_from_slice(&coordinator_epoch.to_be_bytes());
        builder.push(timestamp, Some(&control.key()), Some(&value), &[]);
        builder
    }

    /// A batch of the same place, kind and producer, without records as yet.
    pub fn like(header: &BatchHeader) -> Self {
        Self {
            base_offset: header.base_offset,
            leader_epoch: header.leader_epoch,
            attributes: header.attributes & !(CODEC_BITS | DELETE_HORIZON_BIT),
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            ..Self::new()
        }
    }

    pub fn base_offset(mut self, offset: Offset) -> Self {
        self.base_offset = offset;
        self
    }

    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.leader_epoch = epoch;
        self
    }

    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> Self {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
        self
    }

    pub fn transactional(mut self) -> Self {
        self.attributes |= TRANSACTIONAL_BIT;
        self
    }

    pub fn timestamp_type(mut self, kind: TimestampType) -> Self {
        match kind {
            TimestampType::CreateTime => self.attributes &= !LOG_APPEND_TIME_BIT,
            TimestampType::LogAppendTime => self.attributes |= LOG_APPEND_TIME_BIT,
        }
        self
    }

    /// The largest timestamp, where there is no record to have it.
    pub fn max_timestamp(mut self, timestamp: TimestampMs) -> Self {
        self.max_timestamp = timestamp;
        self
    }

    /// Marks the base timestamp as the time after which the cleaner may drop the batch's tombstones (KIP-534).
    pub fn delete_horizon(mut self, horizon: TimestampMs) -> Self {
        self.attributes |= DELETE_HORIZON_BIT;
        self.base_timestamp = Some(horizon);
        self
    }

    /// Adds a record at the next offset.
    pub fn push(&mut self, timestamp: TimestampMs, key: Option<&[u8]>, value: Option<&[u8]>, headers: &[RecordHeader<'_>]) {
        self.push_at(self.last_offset_delta + 1, timestamp, key, value, headers);
    }

    /// Adds a record at a later offset, leaving a gap, as the cleaner does. Deltas must rise.
    pub fn push_at(
        &mut self,
        offset_delta: i32,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader<'_>],
    ) {
        assert!(offset_delta > self.last_offset_delta, "offsets rise within a batch");
        let base = *self.base_timestamp.get_or_insert(timestamp);
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.last_offset_delta = offset_delta;
        self.count += 1;
        record::put(&mut self.records, timestamp.get().wrapping_sub(base.get()), offset_delta, key, value, headers);
    }

    /// Lets the batch span up to this delta although its last record lies before, as after compaction.
    pub fn last_offset_delta(mut self, delta: i32) -> Self {
        assert!(delta >= self.last_offset_delta, "a batch spans its records");
        self.last_offset_delta = delta;
        self
    }

    pub fn count(&self) -> i32 {
        self.count
    }

    /// Bytes of the records so far, uncompressed.
    pub fn records_len(&self) -> usize {
        self.records.len()
    }

    /// The whole batch, its records compressed.
    pub fn build_with(self, codec: Codec, level: Level) -> Result<Bytes, CompressionError> {
        let records = compression::compress(codec, level, &self.records)?;
        Ok(self.assemble(codec, &records))
    }

    /// The whole batch without compression.
    pub fn build(self) -> Bytes {
        self.assemble(Codec::None, &self.records)
    }

    fn assemble(&self, codec: Codec, records: &[u8]) -> Bytes {
        let mut batch = BytesMut::with_capacity(RECORDS_AT + records.len());
        batch.put_i64(self.base_offset.get());
        batch.put_i32((RECORDS_AT - LENGTH_EXCLUDES + records.len()) as i32);
        batch.put_i32(self.leader_epoch.get());
        batch.put_i8(MAGIC);
        batch.put_u32(0);
        batch.put_i16(self.attributes | codec.bits());
        batch.put_i32(self.last_offset_delta);
        batch.put_i64(self.base_timestamp.unwrap_or(TimestampMs::NONE).get());
        batch.put_i64(self.max_timestamp.get());
        batch.put_i64(self.producer_id.get());
        batch.put_i16(self.producer_epoch.get());
        batch.put_i32(self.base_sequence);
        batch.put_i32(self.count);
        batch.put_slice(records);
        let crc = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
        batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
        batch.freeze()
    }
}
