//! What the produce path checks of a client's records before they reach a log: that they are one sound batch which the log may store
//! and serve as it came.
//!
//! Called on the shard of the connection, while the frame's bytes are warm; calls the batch view, the record walk and the codecs.
//!
//! Invariants:
//! 1. A batch that passes can be appended by writing a prefix before its bytes; only where the broker's clock or a false maximum
//!    timestamp demand it, a new header besides ([`ValidBatch::restamped`]).
//! 2. Memory is bounded whatever a compressed batch decompresses to: it is walked in a window of one decompressed chunk.
//! 3. Offset deltas of what passes are dense from zero, so that assigning the base offset assigns every record's.
//!
//! The answers are Kafka's: CORRUPT_MESSAGE for what arrived damaged (a client sends it again), INVALID_RECORD for what was built
//! wrong, MESSAGE_TOO_LARGE so that a producer splits the batch. Where Kafka rewrites a batch (deltas not dense inside a compressed
//! one), we refuse it.
//!
//! KIP-98 (one batch), KIP-110 (zstd), KIP-467 (errors per record), KIP-937 (timestamp bounds).

use bytes::Bytes;

use super::batch::{
    self, ATTRIBUTES_AT, BatchError, BatchHeader, Codec, LENGTH_AT, LENGTH_EXCLUDES, MAGIC, MAGIC_AT, PREFIX_LEN, RECORDS_AT,
    TRANSACTIONAL_BIT, TimestampType,
};
use super::compression::CompressionError;
use super::error::ErrorCode;
use super::record::{self, Outline, RecordError};
use crate::types::{Offset, TimestampMs};

/// First Produce version that may carry zstd.
const ZSTD_FROM: i16 = 7;

/// Bytes of the oldest format's header after the length: no batch of any format is shorter.
const OLDEST_HEADER_BYTES: i32 = 14;

mod effort;
mod stream;

pub use effort::{Effort, effort};

/// Decompressed bytes that are walked within a millisecond, whatever the codec.
pub const BRIEF_BYTES: usize = 256 << 10;

/// Records that one refusal names; the message tells how many there were.
pub const RECORD_ERRORS_MAX: usize = 100;

/// Whether the inside of a compressed batch is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum CompressedRecords {
    /// Decompressed and checked record by record, as Kafka does.
    #[default]
    Walked,
    /// Taken at its header's word.
    Trusted,
}

/// What a topic and a request allow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProduceRules {
    /// Of the Produce request.
    pub version: i16,
    pub now: TimestampMs,
    /// `max.message.bytes`.
    pub max_batch_bytes: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub after_max_ms: i64,
    /// Whether `cleanup.policy` compacts, so that every record needs a key.
    pub compacted: bool,
    pub compressed: CompressedRecords,
    /// What a compressed batch may decompress to.
    pub decompressed_bytes_max: usize,
}

/// A batch that may be appended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ValidBatch {
    /// As the client wrote it.
    pub header: BatchHeader,
    /// The one batch; a torn second one, which Kafka's producers never send, is cut off as Kafka does.
    pub bytes: Bytes,
    pub timestamp_type: TimestampType,
    /// The largest timestamp of its records; the time of the append where that is what the topic stamps.
    pub max_timestamp: TimestampMs,
    /// Bytes of its records, decompressed; what they may be at most, where that was not looked at.
    pub unpacked: usize,
    /// The bytes from the magic to the records, where they differ from the client's.
    pub restamped: Option<[u8; RECORDS_AT - PREFIX_LEN]>,
}

/// Why a client's records are not appended.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    pub code: ErrorCode,
    pub message: String,
    /// The records at fault, by index in the batch.
    pub record_errors: Vec<(i32, Option<String>)>,
    outgrown: Outgrown,
}

/// Whether a batch was given up because it decompresses to more than was allowed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outgrown {
    No,
    Yes,
}

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), record_errors: Vec::new(), outgrown: Outgrown::No }
    }

    fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRecord, message)
    }

    fn corrupt(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::CorruptMessage, message)
    }
}

impl From<RecordError> for Refusal {
    fn from(error: RecordError) -> Self {
        Refusal::invalid(error.to_string())
    }
}

impl From<CompressionError> for Refusal {
    fn from(error: CompressionError) -> Self {
        match &error {
            CompressionError::TooLarge { .. } => {
                Refusal { outgrown: Outgrown::Yes, ..Refusal::new(ErrorCode::MessageTooLarge, error.to_string()) }
            }
            // The CRC was sound: the client compressed it so.
            CompressionError::Corrupt { .. } | CompressionError::Failed { .. } => Refusal::invalid(error.to_string()),
        }
    }
}

impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        match &error {
            BatchError::Truncated { .. } | BatchError::BadLength { .. } | BatchError::BadCrc { .. } => Refusal::corrupt(error.to_string()),
            BatchError::BadMagic { .. } | BatchError::BadCount { .. } => Refusal::invalid(error.to_string()),
            BatchError::UnknownCodec { .. } => Refusal::new(ErrorCode::UnsupportedCompressionType, error.to_string()),
        }
    }
}

/// As [`validate_produce`], unless the batch decompresses to more than `bytes`, and may: then `None`. Asks now and then whether to give up.
pub fn validate_within(
    bytes: usize,
    records: &Bytes,
    rules: &ProduceRules,
    give_up: &dyn Fn() -> bool,
) -> Option<Result<ValidBatch, Refusal>> {
    let within = ProduceRules { decompressed_bytes_max: rules.decompressed_bytes_max.min(bytes), ..*rules };
    match validate_unless(records, &within, give_up) {
        Err(refusal) if refusal.outgrown == Outgrown::Yes && rules.decompressed_bytes_max > bytes => None,
        checked => Some(checked),
    }
}

/// Checks the records of one partition of a Produce request.
pub fn validate_produce(records: &Bytes, rules: &ProduceRules) -> Result<ValidBatch, Refusal> {
    validate_unless(records, rules, &|| false)
}

/// As [`validate_produce`]; asks now and then whether to give up.
pub fn validate_unless(records: &Bytes, rules: &ProduceRules, give_up: &dyn Fn() -> bool) -> Result<ValidBatch, Refusal> {
    let bytes = only_batch(records)?;
    if bytes.len() > rules.max_batch_bytes {
        let message = format!("a batch of {} bytes, {} allowed", bytes.len(), rules.max_batch_bytes);
        return Err(Refusal::new(ErrorCode::MessageTooLarge, message));
    }
    // Damage first: a client sends a damaged batch again, but gives up on one that is wrong.
    batch::verify_crc(&bytes)?;
    let header = BatchHeader::parse(&bytes)?;
    check_header(&header, rules)?;
    let (max_timestamp, unpacked) = check_records(&header, &bytes[RECORDS_AT..], rules, give_up)?;
    let (timestamp_type, max_timestamp) = match rules.timestamp_type {
        TimestampType::CreateTime => (TimestampType::CreateTime, max_timestamp),
        TimestampType::LogAppendTime => (TimestampType::LogAppendTime, rules.now),
    };
    let as_it_came = header.timestamp_type() == timestamp_type && header.max_timestamp == max_timestamp;
    let restamped = (!as_it_came).then(|| batch::restamp(&bytes, timestamp_type, max_timestamp)).transpose()?;
    Ok(ValidBatch { header, bytes, timestamp_type, max_timestamp, unpacked, restamped })
}

/// When and where in its batch a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordPlace {
    pub timestamp: TimestampMs,
    pub offset: Offset,
}

/// The first record of a stored batch that is `wanted`. Memory is bounded whatever the batch decompresses to, and time by `limit`.
pub fn find_record(
    header: &BatchHeader,
    body: &[u8],
    limit: usize,
    wanted: impl Fn(RecordPlace) -> bool,
) -> Result<Option<RecordPlace>, Refusal> {
    let place = |outline: &Outline| RecordPlace {
        timestamp: match header.timestamp_type() {
            TimestampType::CreateTime => TimestampMs(header.base_timestamp.get().wrapping_add(outline.timestamp_delta)),
            TimestampType::LogAppendTime => header.max_timestamp,
        },
        offset: header.base_offset.plus(i64::from(outline.offset_delta)),
    };
    let found = stream::find(header.codec, body, header.count, limit, |outline| wanted(place(outline)))?;
    Ok(found.as_ref().map(place))
}

/// As [`find_record`], if that is quickly done: `None` for a batch that decompresses to more than [`BRIEF_BYTES`] before the record is
/// found.
pub fn find_record_briefly(
    header: &BatchHeader,
    body: &[u8],
    limit: usize,
    wanted: impl Fn(RecordPlace) -> bool,
) -> Option<Result<Option<RecordPlace>, Refusal>> {
    if header.codec == Codec::None && body.len() > BRIEF_BYTES {
        return None;
    }
    match find_record(header, body, limit.min(BRIEF_BYTES), wanted) {
        Err(refusal) if refusal.outgrown == Outgrown::Yes && limit > BRIEF_BYTES => None,
        found => Some(found),
    }
}

/// Whether the first batch says it belongs to a transaction; looked at before anything else is, and believed by nobody.
pub fn says_transactional(records: &[u8]) -> bool {
    let attributes = records.get(ATTRIBUTES_AT..).and_then(|rest| rest.first_chunk());
    records.get(MAGIC_AT) == Some(&(MAGIC as u8)) && attributes.is_some_and(|bits| i16::from_be_bytes(*bits) & TRANSACTIONAL_BIT != 0)
}

/// Cuts out the first batch, and refuses a second.
fn only_batch(records: &Bytes) -> Result<Bytes, Refusal> {
    let Some(len) = whole_batch_len(records)? else {
        return Err(Refusal::invalid("no whole record batch"));
    };
    if records[MAGIC_AT] as i8 != MAGIC {
        return Err(Refusal::invalid(format!("record batch of magic {}, only {MAGIC} is taken", records[MAGIC_AT] as i8)));
    }
    if whole_batch_len(&records[len..])?.is_some() {
        return Err(Refusal::invalid("more than one record batch"));
    }
    Ok(records.slice(..len))
}

/// Length of the batch, of any format, at the front; `None` if it is not there whole.
fn whole_batch_len(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    let Some(length) = bytes.get(LENGTH_AT..).and_then(|rest| rest.first_chunk()) else { return Ok(None) };
    let length = i32::from_be_bytes(*length);
    if length < OLDEST_HEADER_BYTES {
        return Err(Refusal::corrupt(format!("record batch of length {length}")));
    }
    let Some(&magic) = bytes.get(MAGIC_AT) else { return Ok(None) };
    if !(0..=MAGIC).contains(&(magic as i8)) {
        return Err(Refusal::corrupt(format!("record batch of magic {}", magic as i8)));
    }
    let total = LENGTH_EXCLUDES + length as usize;
    Ok((total <= bytes.len()).then_some(total))
}

fn check_header(header: &BatchHeader, rules: &ProduceRules) -> Result<(), Refusal> {
    if header.codec == Codec::Zstd && rules.version < ZSTD_FROM {
        let message = format!("zstd needs Produce {ZSTD_FROM} or newer");
        return Err(Refusal::new(ErrorCode::UnsupportedCompressionType, message));
    }
    if header.base_offset != Offset::ZERO {
        return Err(Refusal::invalid(format!("base offset {} from a client, 0 wanted", header.base_offset)));
    }
    if header.count == 0 || header.count - 1 != header.last_offset_delta {
        let message = format!("{} records up to offset delta {}", header.count, header.last_offset_delta);
        return Err(Refusal::invalid(message));
    }
    if header.is_control() {
        return Err(Refusal::invalid("control batch from a client"));
    }
    if header.has_producer() && header.base_sequence < 0 {
        return Err(Refusal::invalid(format!("sequence {} of producer {}", header.base_sequence, header.producer_id)));
    }
    Ok(())
}

/// Walks the records; answers their largest timestamp, and how many bytes they are.
fn check_records(
    header: &BatchHeader,
    body: &[u8],
    rules: &ProduceRules,
    give_up: &dyn Fn() -> bool,
) -> Result<(TimestampMs, usize), Refusal> {
    let mut checks = Checks::new(header, rules);
    let unpacked = match (header.codec, rules.compressed) {
        (Codec::None, _) => {
            record::outlines(body, header.count, |outline| checks.record(outline))?;
            body.len()
        }
        (codec, CompressedRecords::Walked) => {
            let limits = stream::Limits { bytes: rules.decompressed_bytes_max, give_up };
            stream::walk(codec, body, header.count, limits, |outline| checks.record(outline))?
        }
        (_, CompressedRecords::Trusted) => return Ok((header.max_timestamp, rules.decompressed_bytes_max)),
    };
    Ok((checks.finish()?, unpacked))
}

/// What is checked of each record, and what was found.
struct Checks<'a> {
    rules: &'a ProduceRules,
    base_timestamp: i64,
    /// Stands for every record's timestamp in a batch that says it was stamped at an append.
    stamped: Option<i64>,
    earliest: i64,
    latest: i64,
    index: i32,
    max_timestamp: i64,
    faults: Vec<(i32, Option<String>)>,
    fault_count: usize,
    bad_timestamps: usize,
}

impl<'a> Checks<'a> {
    fn new(header: &BatchHeader, rules: &'a ProduceRules) -> Self {
        let (earliest, latest) = match rules.timestamp_type {
            TimestampType::CreateTime => {
                (rules.now.get().saturating_sub(rules.before_max_ms), rules.now.get().saturating_add(rules.after_max_ms))
            }
            TimestampType::LogAppendTime => (i64::MIN, i64::MAX),
        };
        Self {
            rules,
            base_timestamp: header.base_timestamp.get(),
            stamped: (header.timestamp_type() == TimestampType::LogAppendTime).then_some(header.max_timestamp.get()),
            earliest,
            latest,
            index: 0,
            max_timestamp: TimestampMs::NONE.get(),
            faults: Vec::new(),
            fault_count: 0,
            bad_timestamps: 0,
        }
    }

    #[inline]
    fn record(&mut self, Outline { timestamp_delta, offset_delta, has_key }: Outline) {
        let timestamp = self.stamped.unwrap_or_else(|| self.base_timestamp.wrapping_add(timestamp_delta));
        self.max_timestamp = self.max_timestamp.max(timestamp);
        let in_range = self.earliest <= timestamp && timestamp <= self.latest;
        let sound = offset_delta == self.index && (has_key || !self.rules.compacted) && in_range && self.stamped.is_none();
        if !sound {
            self.unusual(timestamp, offset_delta, has_key);
        }
        self.index += 1;
    }

    /// Tells what is wrong with a record, if anything is: one without a timestamp passes.
    #[cold]
    fn unusual(&mut self, timestamp: i64, offset_delta: i32, has_key: bool) {
        let create_time = self.rules.timestamp_type == TimestampType::CreateTime;
        if offset_delta != self.index {
            let due = self.index;
            self.fault(|| format!("offset delta {offset_delta} where {due} is due"));
        } else if self.rules.compacted && !has_key {
            self.fault(|| "no key, in a compacted topic".to_owned());
        } else if create_time && timestamp != TimestampMs::NONE.get() {
            if timestamp < self.earliest || timestamp > self.latest {
                let (earliest, latest) = (self.earliest, self.latest);
                self.bad_timestamps += 1;
                self.fault(|| format!("timestamp {timestamp}, allowed are {earliest} to {latest}"));
            }
        } else if self.stamped.is_some() {
            self.bad_timestamps += 1;
            self.fault(|| "stamped with the time of an append, which is the broker's to do".to_owned());
        }
    }

    fn fault(&mut self, what: impl FnOnce() -> String) {
        self.fault_count += 1;
        if self.faults.len() < RECORD_ERRORS_MAX {
            self.faults.push((self.index, Some(what())));
        }
    }

    fn finish(self) -> Result<TimestampMs, Refusal> {
        if self.fault_count == 0 {
            return Ok(TimestampMs(self.max_timestamp));
        }
        let code = if self.bad_timestamps > 0 { ErrorCode::InvalidTimestamp } else { ErrorCode::InvalidRecord };
        let message = format!("{} of {} records refused", self.fault_count, self.index);
        Err(Refusal { record_errors: self.faults, ..Refusal::new(code, message) })
    }
}

#[cfg(test)]
mod tests;
