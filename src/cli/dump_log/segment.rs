use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use bytes::Bytes;

use crate::types::LeaderEpoch;
use crate::wire::batch::{
    ATTRIBUTES_AT, BASE_OFFSET_AT, BASE_SEQUENCE_AT, BASE_TIMESTAMP_AT, COUNT_AT, CRC_AT, Codec, LAST_OFFSET_DELTA_AT, LEADER_EPOCH_AT,
    LENGTH_AT, LENGTH_EXCLUDES, MAGIC, MAGIC_AT, MAX_TIMESTAMP_AT, PRODUCER_EPOCH_AT, PRODUCER_ID_AT, RECORDS_AT,
};
use crate::wire::compression::{CompressionError, Decompressor};
use crate::wire::record::{Record, RecordError, records};

/// Bytes up to and with the magic, which tell one message format from another: Kafka looks for a batch only where as many follow.
const UP_TO_MAGIC: u64 = MAGIC_AT as u64 + 1;

/// The smallest length that any message format has.
const LENGTH_MIN: i32 = 14;

/// The most bytes that one batch is unpacked to: far above any batch a broker accepts, far below what a crafted one may ask for.
const UNPACKED_BYTES_MAX: usize = 1 << 30;

/// Why a log cannot be read on, in Kafka's words where it has such.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    #[error("cannot read {file}: {source}")]
    Read { file: String, source: std::io::Error },
    #[error("Slice from position {position} exceeds end position of {file}, which has {len} bytes")]
    Beyond { file: String, position: i32, len: u64 },
    #[error("Found record size {length} smaller than minimum record overhead (14) in file {file}.")]
    TooSmall { file: String, length: i32 },
    #[error("{file}: the batch at position {position} has message format {magic}; this tool reads format 2")]
    Format { file: String, position: u64, magic: i8 },
    #[error("{file}: the header of the batch at position {position} is cut short by the end of the file")]
    Header { file: String, position: u64 },
    #[error("{file}: the batch at position {position} has a length of {length} bytes, less than its header")]
    NoRecords { file: String, position: u64, length: i32 },
    #[error("{file}: the batch at position {position}: Unknown compression type id: {id}")]
    Codec { file: String, position: u64, id: i16 },
    #[error("{file}: the batch at position {position}: Found invalid record count {count} in magic v2 batch")]
    Count { file: String, position: u64, count: i32 },
    #[error("{file}: the batch at position {position}: {source}")]
    Record { file: String, position: u64, source: RecordError },
    #[error("{file}: the batch at position {position}: Failed to decompress record stream ({source})")]
    Decompress { file: String, position: u64, source: CompressionError },
    #[error("{file}: the control record at offset {offset} has a key or value too short for its kind")]
    Control { file: String, offset: i64 },
}

/// A log file, open for reading at any place.
pub struct Segment {
    file: File,
    /// As error sentences name it.
    name: String,
    len: u64,
}

/// A part of a segment: batches are looked for from `at` and must end by `end`.
#[derive(Clone, Copy)]
pub struct Span {
    pub at: u64,
    pub end: u64,
}

/// A batch as its first bytes announce it; nothing is checked but what is needed to find its end.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    pub position: u64,
    pub base_offset: i64,
    length: i32,
    pub magic: i8,
}

impl Found {
    pub fn len(&self) -> u64 {
        LENGTH_EXCLUDES as u64 + self.length as u64
    }

    pub fn is_legacy(&self) -> bool {
        self.magic < MAGIC
    }
}

impl Segment {
    pub fn open(path: &Path, name: String) -> Result<Self, SegmentError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Ok((len, file)) => Ok(Segment { file, name, len }),
            Err(source) => Err(SegmentError::Read { file: name, source }),
        }
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    /// The part of at most `size` bytes from `position` on.
    pub fn span(&self, position: i32, size: i32) -> Result<Span, SegmentError> {
        let beyond = || SegmentError::Beyond { file: self.name.clone(), position, len: self.len };
        let at = u64::try_from(position).ok().filter(|at| *at <= self.len).ok_or_else(beyond)?;
        Ok(Span { at, end: self.len.min(at.saturating_add(size.max(0) as u64)) })
    }

    /// The batch at the front of `span`; None if no whole batch is there.
    pub fn find(&self, span: Span) -> Result<Option<Found>, SegmentError> {
        if span.at + UP_TO_MAGIC >= span.end {
            return Ok(None);
        }
        let mut head = [0; UP_TO_MAGIC as usize];
        self.read_at(&mut head, span.at)?;
        let found = Found {
            position: span.at,
            base_offset: i64::from_be_bytes(array(&head, BASE_OFFSET_AT)),
            length: i32::from_be_bytes(array(&head, LENGTH_AT)),
            magic: head[MAGIC_AT] as i8,
        };
        if found.length < LENGTH_MIN {
            return Err(SegmentError::TooSmall { file: self.name.clone(), length: found.length });
        }
        Ok((span.at + found.len() <= span.end).then_some(found))
    }

    /// The last offset of a batch: in formats before 2 it is the first field.
    pub fn last_offset(&self, found: &Found) -> Result<i64, SegmentError> {
        if found.is_legacy() {
            return Ok(found.base_offset);
        }
        let mut delta = [0; 4];
        self.read_header(&mut delta, found, LAST_OFFSET_DELTA_AT)?;
        Ok(found.base_offset.wrapping_add(i32::from_be_bytes(delta).into()))
    }

    pub fn load(&self, found: Found) -> Result<Batch<'_>, SegmentError> {
        if found.is_legacy() {
            return Err(SegmentError::Format { file: self.name.clone(), position: found.position, magic: found.magic });
        }
        let mut header = [0; RECORDS_AT];
        self.read_header(&mut header, &found, 0)?;
        let mut bytes = vec![0; found.len() as usize];
        self.read_at(&mut bytes, found.position)?;
        Ok(Batch { segment: self, found, header, bytes: Bytes::from(bytes) })
    }

    /// Header fields may lie beyond a batch whose length is wrong, but not beyond the file.
    fn read_header(&self, into: &mut [u8], found: &Found, at: usize) -> Result<(), SegmentError> {
        let at = found.position + at as u64;
        if at + into.len() as u64 > self.len {
            return Err(SegmentError::Header { file: self.name.clone(), position: found.position });
        }
        self.read_at(into, at)
    }

    fn read_at(&self, into: &mut [u8], at: u64) -> Result<(), SegmentError> {
        self.file.read_exact_at(into, at).map_err(|source| SegmentError::Read { file: self.name.clone(), source })
    }
}

/// One batch of format 2, its fields as they lie in the file.
pub struct Batch<'a> {
    segment: &'a Segment,
    found: Found,
    header: [u8; RECORDS_AT],
    bytes: Bytes,
}

const LOG_APPEND_TIME: i16 = 1 << 3;
const TRANSACTIONAL: i16 = 1 << 4;
const CONTROL: i16 = 1 << 5;
const DELETE_HORIZON: i16 = 1 << 6;

impl Batch<'_> {
    pub fn position(&self) -> u64 {
        self.found.position
    }

    pub fn len(&self) -> u64 {
        self.found.len()
    }

    pub fn base_offset(&self) -> i64 {
        self.found.base_offset
    }

    pub fn last_offset(&self) -> i64 {
        self.base_offset().wrapping_add(i32::from_be_bytes(array(&self.header, LAST_OFFSET_DELTA_AT)).into())
    }

    pub fn count(&self) -> i32 {
        i32::from_be_bytes(array(&self.header, COUNT_AT))
    }

    pub fn base_sequence(&self) -> i32 {
        i32::from_be_bytes(array(&self.header, BASE_SEQUENCE_AT))
    }

    /// The sequence of a record; -1 where the batch has none.
    pub fn sequence(&self, record: &Record<'_>) -> i32 {
        match self.base_sequence() {
            base @ 0.. => sequence_plus(base, record.offset_delta),
            _ => -1,
        }
    }

    pub fn last_sequence(&self) -> i32 {
        match self.base_sequence() {
            -1 => -1,
            base => sequence_plus(base, i32::from_be_bytes(array(&self.header, LAST_OFFSET_DELTA_AT))),
        }
    }

    pub fn producer_id(&self) -> i64 {
        i64::from_be_bytes(array(&self.header, PRODUCER_ID_AT))
    }

    pub fn producer_epoch(&self) -> i16 {
        i16::from_be_bytes(array(&self.header, PRODUCER_EPOCH_AT))
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        LeaderEpoch(i32::from_be_bytes(array(&self.header, LEADER_EPOCH_AT)))
    }

    fn attributes(&self) -> i16 {
        i16::from_be_bytes(array(&self.header, ATTRIBUTES_AT))
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes() & TRANSACTIONAL != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes() & CONTROL != 0
    }

    pub fn delete_horizon_ms(&self) -> Option<i64> {
        (self.attributes() & DELETE_HORIZON != 0).then(|| self.base_timestamp())
    }

    pub fn timestamp_type(&self) -> &'static str {
        if self.is_append_timed() { "LogAppendTime" } else { "CreateTime" }
    }

    fn is_append_timed(&self) -> bool {
        self.attributes() & LOG_APPEND_TIME != 0
    }

    fn base_timestamp(&self) -> i64 {
        i64::from_be_bytes(array(&self.header, BASE_TIMESTAMP_AT))
    }

    pub fn max_timestamp(&self) -> i64 {
        i64::from_be_bytes(array(&self.header, MAX_TIMESTAMP_AT))
    }

    pub fn timestamp(&self, record: &Record<'_>) -> i64 {
        if self.is_append_timed() { self.max_timestamp() } else { self.base_timestamp().wrapping_add(record.timestamp_delta) }
    }

    pub fn crc(&self) -> u32 {
        u32::from_be_bytes(array(&self.header, CRC_AT))
    }

    pub fn is_valid(&self) -> bool {
        self.bytes.len() >= RECORDS_AT && crc32c::crc32c(&self.bytes[ATTRIBUTES_AT..]) == self.crc()
    }

    pub fn codec(&self) -> Result<Codec, SegmentError> {
        let id = self.attributes() & 0b111;
        Codec::from_bits(id).ok_or_else(|| SegmentError::Codec { file: self.segment.name.clone(), position: self.position(), id })
    }

    pub fn control_error(&self, offset: i64) -> SegmentError {
        SegmentError::Control { file: self.segment.name.clone(), offset }
    }

    /// Walks the records. What precedes a fault is walked before the fault is told; where bytes follow the last record, that record is
    /// the one at fault.
    pub fn for_each_record<E: From<SegmentError>>(&self, mut visit: impl FnMut(&Record<'_>) -> Result<(), E>) -> Result<(), E> {
        let (file, position) = (|| self.segment.name.clone(), self.position());
        let Some(stored) = self.bytes.get(RECORDS_AT..) else {
            return Err(SegmentError::NoRecords { file: file(), position, length: self.found.length }.into());
        };
        if self.count() < 0 {
            return Err(SegmentError::Count { file: file(), position, count: self.count() }.into());
        }
        let (body, fault) = unpack(self.codec()?, stored);
        let mut previous: Option<Record<'_>> = None;
        for item in records(&body, self.count()) {
            match item {
                Ok(record) => {
                    if let Some(ready) = previous.replace(record) {
                        visit(&ready)?;
                    }
                }
                Err(source) => {
                    if !matches!(source, RecordError::TrailingBytes { .. })
                        && let Some(ready) = &previous
                    {
                        visit(ready)?;
                    }
                    let error = match fault {
                        Some(source) => SegmentError::Decompress { file: file(), position, source },
                        None => SegmentError::Record { file: file(), position, source },
                    };
                    return Err(error.into());
                }
            }
        }
        if let Some(ready) = &previous {
            visit(ready)?;
        }
        match fault {
            Some(source) => Err(SegmentError::Decompress { file: file(), position, source }.into()),
            None => Ok(()),
        }
    }
}

/// Unpacks a batch's records as far as that goes: what came out before a fault is of use to whoever looks at a damaged file.
fn unpack(codec: Codec, stored: &[u8]) -> (Cow<'_, [u8]>, Option<CompressionError>) {
    if codec == Codec::None {
        return (Cow::Borrowed(stored), None);
    }
    let mut unpacked = Vec::new();
    let mut from = match Decompressor::new(codec, stored, UNPACKED_BYTES_MAX) {
        Ok(from) => from,
        Err(fault) => return (Cow::Owned(unpacked), Some(fault)),
    };
    loop {
        let taken = match from.fill() {
            Ok([]) => return (Cow::Owned(unpacked), None),
            Ok(chunk) => {
                unpacked.extend_from_slice(chunk);
                chunk.len()
            }
            Err(fault) => return (Cow::Owned(unpacked), Some(fault)),
        };
        from.consume(taken);
    }
}

/// The sequence `delta` later; the largest is followed by zero. What Kafka prints of a damaged header is printed here too.
fn sequence_plus(sequence: i32, delta: i32) -> i32 {
    let left = i32::MAX.wrapping_sub(delta);
    if sequence > left { delta.wrapping_sub(i32::MAX.wrapping_sub(sequence)).wrapping_sub(1) } else { sequence.wrapping_add(delta) }
}

/// `N` bytes at a place that the caller knows to be inside.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut value = [0; N];
    value.copy_from_slice(&bytes[at..at + N]);
    value
}
