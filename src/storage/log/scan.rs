//! Walking the batches of a segment's file.
//!
//! Called by `recover`, `open`, `truncate`, `read` and `search`; calls `io::File`, `wire::batch`.
//!
//! Invariants:
//! 1. A length read from a file is never believed beyond the range walked; memory is bounded by a chunk and one control batch.

use std::cell::Cell;
use std::io;
use std::ops::{ControlFlow, Range};
use std::path::Path;

use super::ReadError;
use crate::io::{File, World};
use crate::types::Offset;
use crate::wire::batch::{ATTRIBUTES_AT, BatchError, BatchHeader, RECORDS_AT};

/// Bytes read at once by a walk over a segment.
const CHUNK: usize = 1 << 20;
/// Bytes the disk is asked for ahead of a walk, and in how large pieces.
const AHEAD: u64 = 16 << 20;
const AHEAD_STEP: u64 = 4 << 20;
/// Bytes read at once by a look for one batch: what usually lies between two index entries.
const LOOK: usize = 8 << 10;

/// A batch met on a walk.
pub struct Met<'a> {
    pub header: BatchHeader,
    pub position: u64,
    /// Its bytes from the front; all of them unless the batch is larger than a chunk.
    pub bytes: &'a [u8],
}

/// What a walk asks of each batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verify {
    Headers,
    /// The CRC too, of batches at or beyond the position.
    CrcFrom(u64),
}

/// How a walk ended.
pub struct Walked {
    /// The position after the last batch that was accepted.
    pub end: u64,
    /// Why the walk ended early; `None` at the end of the range, or when the visitor ended it.
    pub bad: Option<BatchError>,
    /// The visitor refused the batch at `end`.
    pub refused: bool,
}

/// Walks the batches in `range`, letting other tasks run between chunks. The visitor's `Break` leaves the batch out.
pub async fn walk<W: World>(
    world: &W,
    file: &W::File,
    range: Range<u64>,
    verify: Verify,
    mut visit: impl FnMut(&Met<'_>) -> ControlFlow<()>,
) -> io::Result<Walked> {
    let mut position = range.start;
    // A short walk is one read.
    let mut expected = if range.end - range.start.min(range.end) > CHUNK as u64 { range.start } else { range.end };
    while position < range.end {
        while expected < range.end.min(position + AHEAD) {
            let step = AHEAD_STEP.min(range.end - expected);
            file.expect_read(expected, step);
            expected += step;
        }
        let chunk = file.read_at(position, CHUNK.min((range.end - position) as usize)).await?;
        let chunk_position = position;
        let mut rest = &chunk[..];
        loop {
            let at = (position - chunk_position) as usize;
            let header = match whole_header(rest, range.end - position) {
                Ok(Some(header)) => header,
                // The header lies across the chunk's end, unless the chunk begins with it: then the file is shorter than it was.
                Ok(None) if at > 0 => break,
                Ok(None) => return Ok(Walked { end: position, bad: Some(short(at, rest.len())), refused: false }),
                Err(error) => return Ok(Walked { end: position, bad: Some(error), refused: false }),
            };
            let len = header.total_len();
            if len > rest.len() && at > 0 {
                break;
            }
            let (bytes, beyond) = rest.split_at(len.min(rest.len()));
            if matches!(verify, Verify::CrcFrom(from) if position >= from) {
                let computed = if len == bytes.len() {
                    crc32c::crc32c(&bytes[ATTRIBUTES_AT..])
                } else {
                    crc_of_large(world, file, position, len).await?
                };
                if computed != header.crc {
                    let bad = Some(BatchError::BadCrc { at: 0, stored: header.crc, computed });
                    return Ok(Walked { end: position, bad, refused: false });
                }
            }
            if visit(&Met { header, position, bytes }).is_break() {
                return Ok(Walked { end: position, bad: None, refused: true });
            }
            position += len as u64;
            rest = beyond;
            if len > bytes.len() || rest.is_empty() {
                break;
            }
        }
        world.yield_now().await;
    }
    Ok(Walked { end: position, bad: None, refused: false })
}

/// The header at the front of `bytes`, if all of it is there; its batch must fit in `left`.
fn whole_header(bytes: &[u8], left: u64) -> Result<Option<BatchHeader>, BatchError> {
    if left < RECORDS_AT as u64 {
        return Err(short(0, left as usize));
    }
    if bytes.len() < RECORDS_AT {
        return Ok(None);
    }
    let header = BatchHeader::parse(bytes)?;
    if header.total_len() as u64 > left {
        return Err(BatchError::Truncated { at: 0, wanted: header.total_len(), left: left as usize });
    }
    Ok(Some(header))
}

fn short(at: usize, left: usize) -> BatchError {
    BatchError::Truncated { at, wanted: RECORDS_AT, left }
}

/// The CRC of a batch that no chunk holds.
async fn crc_of_large<W: World>(world: &W, file: &W::File, position: u64, len: usize) -> io::Result<u32> {
    let mut crc = 0;
    let mut at = ATTRIBUTES_AT;
    while at < len {
        let part = file.read_at(position + at as u64, CHUNK.min(len - at)).await?;
        if part.is_empty() {
            break;
        }
        crc = crc32c::crc32c_append(crc, &part);
        at += part.len();
        world.yield_now().await;
    }
    Ok(crc)
}

/// A batch that was looked for.
#[derive(Clone, Copy)]
pub struct FoundBatch {
    pub header: BatchHeader,
    pub position: u64,
}

/// The batch that begins at `position`, if one does before `upto`.
pub async fn header_at<F: File>(file: &F, path: &Path, position: u64, upto: u64) -> Result<Option<FoundBatch>, ReadError> {
    if position >= upto {
        return Ok(None);
    }
    let bytes = file.read_at(position, RECORDS_AT).await.map_err(ReadError::io("read", path))?;
    let header = BatchHeader::parse(&bytes).map_err(|source| ReadError::Corrupt { path: path.to_owned(), position, source })?;
    Ok(Some(FoundBatch { header, position }))
}

/// The first batch from the one at `from` on that reaches `offset`, looking no further than `upto`.
pub async fn find<F: File>(file: &F, path: &Path, from: u64, upto: u64, offset: Offset) -> Result<Option<FoundBatch>, ReadError> {
    find_where(file, path, from, upto, |header| header.last_offset() >= offset).await
}

/// Where the last batch ends, of those from the one at `from` on, that ends at `most` at the latest, and the offset behind it. Looks no
/// further than `upto`, where a batch ends.
pub async fn last_end<F: File>(file: &F, path: &Path, from: u64, upto: u64, most: u64) -> Result<(u64, Option<Offset>), ReadError> {
    let last = Cell::new((from, None));
    find_where(file, path, from, upto, |header| {
        let end = last.get().0 + header.total_len() as u64;
        let is_beyond = end > most;
        if !is_beyond {
            last.set((end, Some(header.next_offset())));
        }
        is_beyond
    })
    .await?;
    Ok(last.get())
}

/// The first batch from the one at `from` on that is `wanted`.
pub async fn find_where<F: File>(
    file: &F,
    path: &Path,
    from: u64,
    upto: u64,
    wanted: impl Fn(&BatchHeader) -> bool,
) -> Result<Option<FoundBatch>, ReadError> {
    let mut position = from;
    while position < upto {
        let chunk = file.read_at(position, LOOK.min((upto - position) as usize)).await.map_err(ReadError::io("read", path))?;
        let mut at = 0;
        loop {
            let rest = chunk.get(at..).unwrap_or_default();
            if at > 0 && rest.len() < RECORDS_AT {
                break;
            }
            let here = position + at as u64;
            let header = BatchHeader::parse(rest).map_err(|source| ReadError::Corrupt { path: path.to_owned(), position: here, source })?;
            if wanted(&header) {
                return Ok(Some(FoundBatch { header, position: here }));
            }
            at += header.total_len();
        }
        position += at as u64;
    }
    Ok(None)
}
