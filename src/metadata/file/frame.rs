//! The bytes of the file home's two files.
//!
//! ```text
//!   file      magic (8)  frame  frame  ...
//!
//!   frame     0        4         8          16        20        24
//!             ├────────┼─────────┼──────────┼─────────┼─────────┼───────────────────────┤
//!             │ length │ CRC-32C │ base     │ epoch   │ count   │ JSON array of records │
//!             │ u32    │ u32     │ i64      │ i32     │ u32     │                       │
//!             └────────┴─────────┴──────────┴─────────┴─────────┴───────────────────────┘
//!             length counts what follows the CRC, and the CRC covers the same bytes; all big endian
//! ```
//!
//! `base` is the offset of the first record, `epoch` the controller's. In the log a frame of no records raises the epoch: it begins each
//! file and records each election. In the snapshot every frame has the snapshot's offset as base, and one of no records ends the file.

use bytes::{BufMut, Bytes, BytesMut};

use crate::metadata::record::Record;

pub const LOG_MAGIC: &[u8; 8] = b"ottlaml1";
pub const SNAPSHOT_MAGIC: &[u8; 8] = b"ottlams1";

/// Length and CRC.
const PREFIX_LEN: usize = 8;
/// Base, epoch and count.
const HEAD_LEN: usize = 16;
/// Bytes before a frame's records.
pub const OVERHEAD: usize = PREFIX_LEN + HEAD_LEN;

/// What a frame says of itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    pub base: i64,
    pub epoch: i32,
    pub count: u32,
}

/// A frame in a file, its CRC checked.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub head: Head,
    records: &'a [u8],
    /// Bytes of the whole frame.
    pub len: usize,
}

/// Why there is no frame here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    #[error("it ends within a frame")]
    Short,
    #[error("a frame's length of {0} is impossible")]
    Length(u32),
    #[error("a frame's checksum does not match")]
    Checksum,
}

impl Head {
    /// The head of the frame that `bytes` begin with, its CRC not checked: whoever goes by it checks the frame later.
    pub fn parse(bytes: &[u8]) -> Result<Self, FrameError> {
        let (_, rest) = take::<PREFIX_LEN>(bytes)?;
        Ok(Self::split(rest)?.0)
    }

    fn split(bytes: &[u8]) -> Result<(Self, &[u8]), FrameError> {
        let (base, rest) = take::<8>(bytes)?;
        let (epoch, rest) = take::<4>(rest)?;
        let (count, rest) = take::<4>(rest)?;
        let head = Self { base: i64::from_be_bytes(base), epoch: i32::from_be_bytes(epoch), count: u32::from_be_bytes(count) };
        Ok((head, rest))
    }
}

impl<'a> Frame<'a> {
    /// The frame that `bytes` begin with.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FrameError> {
        let (length, rest) = take::<4>(bytes)?;
        let length = u32::from_be_bytes(length);
        let (crc, rest) = take::<4>(rest)?;
        if (length as usize) < HEAD_LEN {
            return Err(FrameError::Length(length));
        }
        let covered = rest.get(..length as usize).ok_or(FrameError::Short)?;
        if crc32c::crc32c(covered) != u32::from_be_bytes(crc) {
            return Err(FrameError::Checksum);
        }
        let (head, records) = Head::split(covered)?;
        Ok(Self { head, records, len: PREFIX_LEN + length as usize })
    }

    /// Whether the first or the last record is a mark of a split batch.
    pub fn has_mark_at_edge(&self) -> bool {
        self.records.starts_with(b"[{\"Batch") || self.records.ends_with(b"{\"BatchEnd\":{}}]")
    }

    pub fn records(&self) -> Result<Vec<Record>, RecordsError> {
        if self.head.count == 0 {
            return if self.records.is_empty() { Ok(vec![]) } else { Err(RecordsError::Unannounced(self.records.len())) };
        }
        let records: Vec<Record> = serde_json::from_slice(self.records).map_err(|error| RecordsError::Json(error.to_string()))?;
        if u32::try_from(records.len()) != Ok(self.head.count) {
            return Err(RecordsError::Count { expected: self.head.count, found: records.len() });
        }
        Ok(records)
    }
}

/// The checksum holds, so the frame is as it was written: by another version, most likely.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordsError {
    #[error("records that this version cannot read, {0}")]
    Json(String),
    #[error("{found} records where {expected} are announced")]
    Count { expected: u32, found: usize },
    #[error("{0} bytes of records where none are announced")]
    Unannounced(usize),
}

fn take<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), FrameError> {
    bytes.split_first_chunk::<N>().map(|(head, rest)| (*head, rest)).ok_or(FrameError::Short)
}

/// A frame of these records' texts.
pub fn encode(base: i64, epoch: i32, texts: &[Vec<u8>]) -> Bytes {
    let records_len: usize = texts.iter().map(|text| text.len() + 1).sum::<usize>() + 1;
    let mut frame = BytesMut::with_capacity(OVERHEAD + records_len);
    frame.put_bytes(0, PREFIX_LEN);
    frame.put_i64(base);
    frame.put_i32(epoch);
    frame.put_u32(texts.len() as u32);
    for (index, text) in texts.iter().enumerate() {
        frame.put_u8(if index == 0 { b'[' } else { b',' });
        frame.put_slice(text);
    }
    if !texts.is_empty() {
        frame.put_u8(b']');
    }
    let length = (frame.len() - PREFIX_LEN) as u32;
    let crc = crc32c::crc32c(&frame[PREFIX_LEN..]);
    frame[..4].copy_from_slice(&length.to_be_bytes());
    frame[4..PREFIX_LEN].copy_from_slice(&crc.to_be_bytes());
    frame.freeze()
}

/// A record's JSON.
pub fn text(record: &Record) -> Vec<u8> {
    serde_json::to_vec(record).expect("a record has string keys only, which is all that can fail")
}

/// Where after `from` a whole frame of a later base lies. It tells damage, after which later writes stand, from a write cut short, after
/// which nothing does.
pub fn find_after(bytes: &[u8], from: usize, base: i64) -> Option<usize> {
    let last = bytes.len().checked_sub(OVERHEAD)?;
    // A record takes at least a byte, so no later base can lie further ahead than the file is long.
    let furthest = base.saturating_add(bytes.len() as i64);
    (from + 1..=last).find(|&position| {
        let claimed = bytes[position + PREFIX_LEN..].first_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes));
        claimed.is_some_and(|claimed| (base..=furthest).contains(&claimed)) && Frame::parse(&bytes[position..]).is_ok()
    })
}
