//! Messages of the formats before record batches (magic 0 and 1), which brokers before Kafka 0.11 wrote, and later ones for a topic's
//! `message.format.version`. They are not read here; what has them must be told from a torn tail, which is cut.
//!
//! Called by `recover`, and by `shard` before it adopts a log; calls `io::World`.
//!
//! ```text
//!    0  int64  offset         12  uint32 crc (CRC-32 of 16..end)     17  attributes, a timestamp with magic 1, key, value
//!    8  int32  length after   16  int8   magic
//! ```
//!
//! Invariants:
//! 1. Bytes are such a message only if their CRC says so: a tail of zeros has magic 0 as well.

use std::path::Path;

use super::LogError;
use crate::io::{EntryKind, File, OpenMode, World};
use crate::storage::layout::{SegmentFile, SegmentPart, SegmentPhase};
use crate::wire::batch::{LENGTH_AT, MAGIC_AT, PREFIX_LEN};

const LENGTH_EXCLUDES: u64 = 12;
const CRC_AT: usize = 12;
/// The least that the length counts: CRC, magic, attributes, and lengths of a key and a value; with magic 1 a timestamp too.
const LENGTH_MIN: [i32; 2] = [14, 22];
/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// The magic of the old message that begins at `position` and ends before `end`, if one does.
pub(super) async fn magic_at<F: File>(file: &F, position: u64, end: u64) -> std::io::Result<Option<i8>> {
    let head = file.read_at(position, MAGIC_AT + 1).await?;
    let Some((prefix, [magic])) = head.split_first_chunk::<PREFIX_LEN>() else { return Ok(None) };
    let Some(length_min) = LENGTH_MIN.get(usize::from(*magic)) else { return Ok(None) };
    let number = |at: usize| i32::from_be_bytes([prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]]);
    let (length, crc) = (number(LENGTH_AT), number(CRC_AT) as u32);
    let message_end = position + LENGTH_EXCLUDES + u64::from(length.max(0).unsigned_abs());
    if length < *length_min || message_end > end {
        return Ok(None);
    }
    let mut computed = flate2::Crc::new();
    let mut at = position + MAGIC_AT as u64;
    while at < message_end {
        let part = file.read_at(at, CHUNK.min((message_end - at) as usize)).await?;
        if part.is_empty() {
            return Ok(None);
        }
        computed.update(&part);
        at += part.len() as u64;
    }
    Ok((computed.sum() == crc).then_some(*magic as i8))
}

/// The magic of the oldest message in a log's directory, if it is of an old format.
pub async fn oldest_magic<W: World>(world: &W, dir: &Path) -> Result<Option<i8>, LogError> {
    let entries = world.list_dir(dir).await.map_err(LogError::io("list", dir))?;
    let filled = entries.iter().filter(|entry| entry.kind == EntryKind::File && entry.len > 0);
    let logs = filled.filter_map(|entry| Some((SegmentFile::parse(&entry.name)?, entry.len)));
    let Some((oldest, len)) = logs.filter(|(file, _)| file.part == SegmentPart::Log && file.phase == SegmentPhase::Live).min() else {
        return Ok(None);
    };
    let path = oldest.path(dir);
    let file = world.open(&path, OpenMode::Existing).await.map_err(LogError::io("open", &path))?;
    magic_at(&file, 0, len).await.map_err(LogError::io("read", &path))
}
