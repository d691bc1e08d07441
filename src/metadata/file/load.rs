//! Opening and reading: the scan that tells a write cut short from damage, pages of records, and the snapshot.

use std::io;
use std::path::Path;

use super::frame::{self, Frame, FrameError, Head, LOG_MAGIC, SNAPSHOT_MAGIC};
use super::{Log, Shared, io_error, open_log};
use crate::io::{File, OpenMode, World, replace_file};
use crate::metadata::home::{HomeError, Snapshot};
use crate::metadata::record::Record;

/// What an operator can do about damage.
const REMEDY: &str = "Nothing has been changed. Restore ottla-metadata.journal and ottla-metadata.image from a copy of the same time; \
                      if there is none, move both away: the topics are then found again from their directories, with default configs";

/// What is wrong, and at which byte.
type Fault = (usize, String);

/// No log has so many records: an offset beyond was never given, and arithmetic stays far from its limits.
const OFFSET_MAX: i64 = i64::MAX / 2;

const NOT_OURS: &str = "it does not begin as such a file does";

fn damaged(path: &Path, position: usize, reason: impl ToString) -> HomeError {
    HomeError::Damaged {
        place: path.display().to_string(),
        position: position as u64,
        reason: reason.to_string(),
        remedy: REMEDY.to_owned(),
    }
}

/// Opens the log, founds it if this is a new home, and cuts off what was never finished.
pub(super) async fn open<W: World>(world: &W, log_path: &Path, snapshot_path: &Path) -> Result<Log<W::File>, HomeError> {
    let (snapshot_offset, snapshot_bytes) = match snapshot_head(world, snapshot_path).await? {
        Some((head, len)) => (Some(head.base), len),
        None => (None, 0),
    };
    let (bytes, fresh) = match read(world, log_path).await? {
        Some(bytes) => (bytes, None),
        None if snapshot_offset.is_some() => return Err(damaged(log_path, 0, "the file is missing, though there is a snapshot")),
        None => (vec![], Some(found(world, log_path, 0, 0).await?)),
    };
    let snapshot_offset = snapshot_offset.unwrap_or(0);
    if let Some((file, len)) = fresh {
        let index = vec![(0, LOG_MAGIC.len() as u64)];
        return Ok(Log { file, len, base: 0, end: 0, epoch: 0, index, snapshot_offset, snapshot_bytes });
    }
    let scan = scan(&bytes).map_err(|(position, reason)| damaged(log_path, position, reason))?;
    if scan.base > snapshot_offset {
        let reason = format!("it begins at offset {}, but the snapshot ends at {snapshot_offset}", scan.base);
        return Err(damaged(log_path, LOG_MAGIC.len(), reason));
    }
    if scan.end < snapshot_offset {
        let reason = format!("it ends at offset {}, before the snapshot's end at {snapshot_offset}", scan.end);
        return Err(damaged(log_path, scan.len, reason));
    }
    let file = open_log(world, log_path).await?;
    if scan.len < bytes.len() {
        let len = scan.len as u64;
        file.truncate(len).await.map_err(|source| io_error(log_path, len, source))?;
        file.sync().await.map_err(|source| io_error(log_path, len, source))?;
    }
    let mut log = Log { file, len: 0, base: scan.base, end: scan.base, epoch: scan.epoch, index: vec![], snapshot_offset, snapshot_bytes };
    for (base, position) in scan.frames {
        log.index_frame(base, position as u64);
    }
    (log.len, log.end) = (scan.len as u64, scan.end);
    Ok(log)
}

/// A log without records that begins at `base`.
pub(super) async fn found<W: World>(world: &W, path: &Path, base: i64, epoch: i32) -> Result<(W::File, u64), HomeError> {
    let mut content = LOG_MAGIC.to_vec();
    content.extend_from_slice(&frame::encode(base, epoch, &[]));
    let len = content.len() as u64;
    replace_file(world, path, content).await.map_err(|source| io_error(path, 0, source))?;
    Ok((open_log(world, path).await?, len))
}

/// What the snapshot says it is, without reading all of it.
async fn snapshot_head<W: World>(world: &W, path: &Path) -> Result<Option<(Head, u64)>, HomeError> {
    let file = match world.open(path, OpenMode::Existing).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(io_error(path, 0, source)),
    };
    let failed = |source| io_error(path, 0, source);
    let len = file.len().await.map_err(failed)?;
    let front = file.read_at(0, SNAPSHOT_MAGIC.len() + frame::OVERHEAD).await.map_err(failed)?;
    match front.strip_prefix(SNAPSHOT_MAGIC) {
        Some(frame) => {
            let head = Head::parse(frame).map_err(|error| damaged(path, SNAPSHOT_MAGIC.len(), error))?;
            Ok(Some((head, len)))
        }
        None => Err(damaged(path, 0, NOT_OURS)),
    }
}

async fn read<W: World>(world: &W, path: &Path) -> Result<Option<Vec<u8>>, HomeError> {
    match world.read_file(path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error(path, 0, source)),
    }
}

fn first_frame(bytes: &[u8], magic: &[u8]) -> Result<Head, Fault> {
    if !bytes.starts_with(magic) {
        return Err((0, NOT_OURS.to_owned()));
    }
    // Both files are put in place whole, so no crash cuts their first frame short.
    let frame = Frame::parse(&bytes[magic.len()..]).map_err(|error| (magic.len(), error.to_string()))?;
    Ok(frame.head)
}

/// What a log holds.
struct Scan {
    base: i64,
    end: i64,
    epoch: i32,
    /// Bytes up to the end of the last whole batch.
    len: usize,
    /// Base and position of each frame.
    frames: Vec<(i64, usize)>,
}

fn scan(bytes: &[u8]) -> Result<Scan, Fault> {
    let first = first_frame(bytes, LOG_MAGIC)?;
    let mut position = LOG_MAGIC.len();
    let mut scan = Scan { base: first.base, end: first.base, epoch: first.epoch, len: position, frames: vec![] };
    let mut end = first.base;
    let mut epoch = first.epoch;
    let mut open_batch = false;
    while position < bytes.len() {
        let frame = match Frame::parse(&bytes[position..]) {
            Ok(frame) => frame,
            Err(error) => {
                refuse_if_frames_follow(bytes, position, end, error)?;
                break;
            }
        };
        let Head { base, epoch: frame_epoch, count } = frame.head;
        if base != end || frame_epoch < epoch {
            let reason = format!("offset {base} of epoch {frame_epoch} follows offset {end} of epoch {epoch}");
            return Err((position, reason));
        }
        open_batch = leaves_batch_open(&frame, open_batch).map_err(|reason| (position, reason))?;
        scan.frames.push((base, position));
        if !(0..=OFFSET_MAX - i64::from(count)).contains(&base) {
            return Err((position, format!("offset {base}, which no log reaches")));
        }
        position += frame.len;
        end += i64::from(count);
        epoch = frame_epoch;
        if !open_batch {
            (scan.len, scan.end, scan.epoch) = (position, end, epoch);
        }
    }
    scan.frames.retain(|&(_, position)| position < scan.len);
    Ok(scan)
}

fn refuse_if_frames_follow(bytes: &[u8], position: usize, end: i64, error: FrameError) -> Result<(), Fault> {
    match frame::find_after(bytes, position, end) {
        Some(later) => Err((position, format!("{error}, though later records stand whole from position {later} on"))),
        None => Ok(()),
    }
}

/// Whether after this frame a batch has begun that has not ended. Marks stand at the edges of frames only, so that most frames are not
/// parsed here; one that announces no records is, which is to see that there are none.
fn leaves_batch_open(frame: &Frame<'_>, open: bool) -> Result<bool, String> {
    if !open && !frame.has_mark_at_edge() && frame.head.count > 0 {
        return Ok(false);
    }
    let records = frame.records().map_err(|error| error.to_string())?;
    Ok(records.iter().fold(open, |open, record| match record {
        Record::BatchBegin {} => true,
        Record::BatchEnd {} | Record::BatchAbort {} => false,
        _ => open,
    }))
}

/// Records from `offset` on, about a page of them.
pub(super) async fn page<W: World>(shared: &Shared<W>, offset: i64) -> Result<Vec<(i64, Record)>, HomeError> {
    let (file, mut position, len, end) = {
        let log = shared.log.borrow();
        if offset < log.base {
            return Err(HomeError::Compacted { start: log.snapshot_offset });
        }
        (log.file.clone(), log.position_before(offset), log.len, log.end)
    };
    if offset > end {
        return Err(HomeError::BeyondEnd { offset, end });
    }
    // A split batch grows the log frame by frame, so what is durable by now may not end the batch: the assembler waits for the rest.
    let mut wanted = shared.limits.page_bytes + shared.limits.frame_bytes_max;
    while offset < end && position < len {
        let left = usize::try_from(len - position).unwrap_or(usize::MAX);
        let bytes = file.read_at(position, wanted.min(left)).await.map_err(|source| io_error(&shared.log_path, position, source))?;
        let (records, used) = shared
            .world
            .offload(move || records_from(&bytes, offset))
            .await
            .map_err(|(at, reason)| damaged(&shared.log_path, position as usize + at, reason))?;
        if !records.is_empty() {
            return Ok(records);
        }
        if used == 0 {
            if wanted >= left {
                return Err(damaged(&shared.log_path, position as usize, FrameError::Short));
            }
            // A frame longer than a page, from when frames might be longer than they may be now.
            wanted = wanted.saturating_mul(2);
        }
        position += used as u64;
    }
    Ok(vec![])
}

/// The records of the whole frames in `bytes`, without those before `offset`, and the bytes of those frames.
fn records_from(bytes: &[u8], offset: i64) -> Result<(Vec<(i64, Record)>, usize), Fault> {
    let mut records = vec![];
    let mut used = 0;
    while used < bytes.len() {
        let frame = match Frame::parse(&bytes[used..]) {
            Ok(frame) => frame,
            Err(FrameError::Short) => break,
            Err(error) => return Err((used, error.to_string())),
        };
        let Head { base, count, .. } = frame.head;
        if base + i64::from(count) > offset {
            let parsed = frame.records().map_err(|error| (used, error.to_string()))?;
            records.extend((base..).zip(parsed).filter(|&(at, _)| at >= offset));
        }
        used += frame.len;
    }
    Ok((records, used))
}

/// The snapshot and the bytes of its file.
pub(super) async fn snapshot<W: World>(world: &W, path: &Path) -> Result<(Snapshot, u64), HomeError> {
    let Some(bytes) = read(world, path).await? else {
        return Ok((Snapshot::default(), 0));
    };
    let len = bytes.len() as u64;
    let snapshot = world.offload(move || parse_snapshot(&bytes)).await.map_err(|(position, reason)| damaged(path, position, reason))?;
    Ok((snapshot, len))
}

fn parse_snapshot(bytes: &[u8]) -> Result<Snapshot, Fault> {
    let offset = first_frame(bytes, SNAPSHOT_MAGIC)?.base;
    let mut records = vec![];
    let mut position = SNAPSHOT_MAGIC.len();
    loop {
        let frame = Frame::parse(&bytes[position..]).map_err(|error| (position, error.to_string()))?;
        records.append(&mut frame.records().map_err(|error| (position, error.to_string()))?);
        if frame.head.count == 0 {
            break;
        }
        position += frame.len;
    }
    Ok(Snapshot { offset, records })
}
