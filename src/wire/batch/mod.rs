//! Record batches of version 2: a view of the 61-byte header, a walk over a run of batches, the prefix a broker assigns, a builder.
//!
//! Called by validation, the log (append, recovery, reading), replication and the tools; calls `types` and CRC-32C.
//!
//! Invariants:
//! 1. What the broker assigns (base offset, leader epoch) lies before the CRC's range: [`patch_prefix`] gives those 16 bytes anew, the
//!    rest of a batch is written as it came.
//! 2. A parsed header's length covers at least the header, and its record count is not negative.
//!
//! ```text
//!    0  int64  base offset          17  uint32 crc (CRC-32C of 21..end)   43  int64 producer id
//!    8  int32  length after here    21  int16  attributes                 51  int16 producer epoch
//!   12  int32  leader epoch         23  int32  last offset delta          53  int32 base sequence
//!   16  int8   magic = 2            27  int64  base timestamp             57  int32 record count
//!                                   35  int64  max timestamp              61  records, as one block when compressed
//! ```
//!
//! KIP-98 (the format), KIP-534 (delete horizon).

use bytes::{Bytes, BytesMut};

use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

mod builder;
mod recompress;

pub use builder::{BatchBuilder, ControlType};
pub use recompress::{RecompressError, Recompression, recompress};

pub const BASE_OFFSET_AT: usize = 0;
pub const LENGTH_AT: usize = 8;
pub const LEADER_EPOCH_AT: usize = 12;
pub const MAGIC_AT: usize = 16;
pub const CRC_AT: usize = 17;
pub const ATTRIBUTES_AT: usize = 21;
pub const LAST_OFFSET_DELTA_AT: usize = 23;
pub const BASE_TIMESTAMP_AT: usize = 27;
pub const MAX_TIMESTAMP_AT: usize = 35;
pub const PRODUCER_ID_AT: usize = 43;
pub const PRODUCER_EPOCH_AT: usize = 51;
pub const BASE_SEQUENCE_AT: usize = 53;
pub const COUNT_AT: usize = 57;
pub const RECORDS_AT: usize = 61;

/// Bytes before the magic: what a broker assigns.
pub const PREFIX_LEN: usize = MAGIC_AT;

/// Bytes that the batch's length does not count: base offset and the length itself.
pub const LENGTH_EXCLUDES: usize = LEADER_EPOCH_AT;

pub const MAGIC: i8 = 2;

pub const CODEC_BITS: i16 = 0b111;
const LOG_APPEND_TIME_BIT: i16 = 1 << 3;
pub const TRANSACTIONAL_BIT: i16 = 1 << 4;
const CONTROL_BIT: i16 = 1 << 5;
const DELETE_HORIZON_BIT: i16 = 1 << 6;

/// How a batch's records are compressed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Codec {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// Bits 0-2 of the attributes.
    pub const fn bits(self) -> i16 {
        self as i16
    }

    pub const fn from_bits(bits: i16) -> Option<Codec> {
        match bits {
            0 => Some(Codec::None),
            1 => Some(Codec::Gzip),
            2 => Some(Codec::Snappy),
            3 => Some(Codec::Lz4),
            4 => Some(Codec::Zstd),
            _ => None,
        }
    }

    /// As `compression.type` spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

/// Whose clock stamped the records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TimestampType {
    #[default]
    CreateTime,
    /// The maximum timestamp counts for every record.
    LogAppendTime,
}

/// Why bytes are no sound batch. `at` counts bytes from the start of what was looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BatchError {
    #[error("batch at {at} ends early: {wanted} bytes wanted, {left} left")]
    Truncated { at: usize, wanted: usize, left: usize },
    #[error("batch at {at} has length {length}")]
    BadLength { at: usize, length: i32 },
    #[error("batch at {at} has magic {magic}")]
    BadMagic { at: usize, magic: i8 },
    #[error("batch at {at} has unknown codec {bits}")]
    UnknownCodec { at: usize, bits: i16 },
    #[error("batch at {at} counts {count} records up to offset delta {last_offset_delta}")]
    BadCount { at: usize, count: i32, last_offset_delta: i32 },
    #[error("batch at {at} has CRC {stored:#010x}, its bytes {computed:#010x}")]
    BadCrc { at: usize, stored: u32, computed: u32 },
}

impl BatchError {
    fn shifted(self, by: usize) -> Self {
        let mut error = self;
        match &mut error {
            BatchError::Truncated { at, .. }
            | BatchError::BadLength { at, .. }
            | BatchError::BadMagic { at, .. }
            | BatchError::UnknownCodec { at, .. }
            | BatchError::BadCount { at, .. }
            | BatchError::BadCrc { at, .. } => *at += by,
        }
        error
    }
}

/// A batch's header, decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    pub base_offset: Offset,
    /// Bytes after the length field; see [`BatchHeader::total_len`].
    pub batch_length: i32,
    pub leader_epoch: LeaderEpoch,
    pub magic: i8,
    pub crc: u32,
    pub attributes: i16,
    pub codec: Codec,
    pub last_offset_delta: i32,
    /// The delete horizon instead, where [`BatchHeader::has_delete_horizon`].
    pub base_timestamp: TimestampMs,
    pub max_timestamp: TimestampMs,
    pub producer_id: ProducerId,
    pub producer_epoch: ProducerEpoch,
    pub base_sequence: i32,
    pub count: i32,
}

fn field<const N: usize>(bytes: &[u8; RECORDS_AT], at: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[at..at + N]);
    value
}

impl BatchHeader {
    /// Reads the header at the front of `bytes`; the records need not be there.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        // An older message is told from a torn batch by its magic, which every format has in the same place.
        if let Some(&magic) = bytes.get(MAGIC_AT)
            && magic as i8 != MAGIC
        {
            return Err(BatchError::BadMagic { at: 0, magic: magic as i8 });
        }
        let head = bytes.first_chunk::<RECORDS_AT>().ok_or(BatchError::Truncated { at: 0, wanted: RECORDS_AT, left: bytes.len() })?;
        let attributes = i16::from_be_bytes(field(head, ATTRIBUTES_AT));
        let bits = attributes & CODEC_BITS;
        let header = BatchHeader {
            base_offset: Offset(i64::from_be_bytes(field(head, BASE_OFFSET_AT))),
            batch_length: i32::from_be_bytes(field(head, LENGTH_AT)),
            leader_epoch: LeaderEpoch(i32::from_be_bytes(field(head, LEADER_EPOCH_AT))),
            magic: MAGIC,
            crc: u32::from_be_bytes(field(head, CRC_AT)),
            attributes,
            codec: Codec::from_bits(bits).ok_or(BatchError::UnknownCodec { at: 0, bits })?,
            last_offset_delta: i32::from_be_bytes(field(head, LAST_OFFSET_DELTA_AT)),
            base_timestamp: TimestampMs(i64::from_be_bytes(field(head, BASE_TIMESTAMP_AT))),
            max_timestamp: TimestampMs(i64::from_be_bytes(field(head, MAX_TIMESTAMP_AT))),
            producer_id: ProducerId(i64::from_be_bytes(field(head, PRODUCER_ID_AT))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(head, PRODUCER_EPOCH_AT))),
            base_sequence: i32::from_be_bytes(field(head, BASE_SEQUENCE_AT)),
            count: i32::from_be_bytes(field(head, COUNT_AT)),
        };
        if header.batch_length < (RECORDS_AT - LENGTH_EXCLUDES) as i32 {
            return Err(BatchError::BadLength { at: 0, length: header.batch_length });
        }
        // After compaction a batch may hold fewer records than its offsets span, but never more, and its span is never negative.
        if header.count < 0 || header.last_offset_delta < 0 || i64::from(header.count) > i64::from(header.last_offset_delta) + 1 {
            return Err(BatchError::BadCount { at: 0, count: header.count, last_offset_delta: header.last_offset_delta });
        }
        Ok(header)
    }

    /// Bytes of the whole batch.
    pub const fn total_len(&self) -> usize {
        LENGTH_EXCLUDES + self.batch_length as usize
    }

    pub const fn last_offset(&self) -> Offset {
        self.base_offset.plus(self.last_offset_delta as i64)
    }

    /// The offset after the batch.
    pub const fn next_offset(&self) -> Offset {
        self.base_offset.plus(self.last_offset_delta as i64 + 1)
    }

    /// Sequence of the last record; wraps from `i32::MAX` to zero. -1 if the batch has none.
    pub const fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 { -1 } else { sequence_plus(self.base_sequence, self.last_offset_delta) }
    }

    pub const fn timestamp_type(&self) -> TimestampType {
        if self.attributes & LOG_APPEND_TIME_BIT == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    pub const fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    pub const fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    pub const fn has_delete_horizon(&self) -> bool {
        self.attributes & DELETE_HORIZON_BIT != 0
    }

    pub const fn has_producer(&self) -> bool {
        self.producer_id.is_some()
    }
}

/// The sequence `delta` records later; a producer's sequences wrap from `i32::MAX` to zero.
pub const fn sequence_plus(sequence: i32, delta: i32) -> i32 {
    ((sequence as i64 + delta as i64) & i32::MAX as i64) as i32
}

/// Compares the stored CRC with the bytes. `batch` is one whole batch.
pub fn verify_crc(batch: &[u8]) -> Result<(), BatchError> {
    let Some(head) = batch.first_chunk::<RECORDS_AT>() else {
        return Err(BatchError::Truncated { at: 0, wanted: RECORDS_AT, left: batch.len() });
    };
    let stored = u32::from_be_bytes(field(head, CRC_AT));
    let computed = crc32c::crc32c(&batch[ATTRIBUTES_AT..]);
    if stored == computed { Ok(()) } else { Err(BatchError::BadCrc { at: 0, stored, computed }) }
}

/// The 16 bytes before the magic, as the append writes them in front of the batch's bytes from 16 on.
pub fn patch_prefix(base_offset: Offset, batch_length: i32, leader_epoch: LeaderEpoch) -> [u8; PREFIX_LEN] {
    let mut prefix = [0; PREFIX_LEN];
    prefix[BASE_OFFSET_AT..LENGTH_AT].copy_from_slice(&base_offset.get().to_be_bytes());
    prefix[LENGTH_AT..LEADER_EPOCH_AT].copy_from_slice(&batch_length.to_be_bytes());
    prefix[LEADER_EPOCH_AT..].copy_from_slice(&leader_epoch.get().to_be_bytes());
    prefix
}

/// Records of so many bytes or more are not read again for a new header's CRC: what they add to it is known from the old one.
const CRC_MOVED_FROM: usize = 128 << 10;

/// The bytes from the magic to the records, with another timestamp type and maximum, and the CRC they ask for. The CRC that is there must
/// be sound.
pub fn restamp(batch: &[u8], kind: TimestampType, max_timestamp: TimestampMs) -> Result<[u8; RECORDS_AT - PREFIX_LEN], BatchError> {
    let Some((old, records)) = batch.split_first_chunk::<RECORDS_AT>() else {
        return Err(BatchError::Truncated { at: 0, wanted: RECORDS_AT, left: batch.len() });
    };
    let mut head = *old;
    let attributes = i16::from_be_bytes(field(&head, ATTRIBUTES_AT)) & !LOG_APPEND_TIME_BIT;
    let attributes = match kind {
        TimestampType::CreateTime => attributes,
        TimestampType::LogAppendTime => attributes | LOG_APPEND_TIME_BIT,
    };
    head[ATTRIBUTES_AT..LAST_OFFSET_DELTA_AT].copy_from_slice(&attributes.to_be_bytes());
    head[MAX_TIMESTAMP_AT..PRODUCER_ID_AT].copy_from_slice(&max_timestamp.get().to_be_bytes());
    let front = crc32c::crc32c(&head[ATTRIBUTES_AT..]);
    let crc = if records.len() < CRC_MOVED_FROM {
        crc32c::crc32c_append(front, records)
    } else {
        // A CRC is linear: the difference of the fronts, moved past the records, is the difference of the wholes.
        let difference = front ^ crc32c::crc32c(&old[ATTRIBUTES_AT..]);
        u32::from_be_bytes(field(old, CRC_AT)) ^ crc32c::crc32c_combine(difference, 0, records.len())
    };
    head[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    Ok(field(&head, PREFIX_LEN))
}

/// One whole batch: its header and all its bytes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Batch {
    pub header: BatchHeader,
    pub bytes: Bytes,
}

impl Batch {
    pub fn verify_crc(&self) -> Result<(), BatchError> {
        verify_crc(&self.bytes)
    }

    /// The batch under the time of its append. In place, if nobody else holds its bytes.
    pub fn appended_at(self, now: TimestampMs) -> Result<Batch, BatchError> {
        let mut bytes = self.bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        let head = restamp(&bytes, TimestampType::LogAppendTime, now)?;
        bytes[PREFIX_LEN..RECORDS_AT].copy_from_slice(&head);
        let bytes = bytes.freeze();
        Ok(Batch { header: BatchHeader::parse(&bytes)?, bytes })
    }

    /// The records, compressed as the header says; see [`decompress`](super::compression::decompress).
    pub fn records(&self) -> Bytes {
        self.bytes.slice(RECORDS_AT..)
    }
}

/// Walks a run of whole batches. Ends after the first error; a batch that is cut short is [`BatchError::Truncated`], which ends a
/// fetched run or a torn log in good order.
pub fn batches(run: &Bytes) -> Batches {
    Batches { run: run.clone(), at: 0 }
}

#[derive(Clone, Debug)]
pub struct Batches {
    run: Bytes,
    at: usize,
}

impl Batches {
    /// Bytes of the whole batches walked so far.
    pub fn walked(&self) -> usize {
        self.at
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.run.is_empty() {
            return None;
        }
        let at = self.at;
        let left = self.run.len();
        let header = match BatchHeader::parse(&self.run) {
            Ok(header) if header.total_len() > left => Err(BatchError::Truncated { at: 0, wanted: header.total_len(), left }),
            other => other,
        };
        Some(match header {
            Ok(header) => {
                self.at += header.total_len();
                Ok(Batch { header, bytes: self.run.split_to(header.total_len()) })
            }
            Err(error) => {
                self.run = Bytes::new();
                Err(error.shifted(at))
            }
        })
    }
}

#[cfg(test)]
mod tests;
