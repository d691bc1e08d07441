//! Opening a log: what its directory holds, what of it is believed, and the log made from that.
//!
//! Called by `shard` at start and when a partition comes to this broker; calls `recover`, `layout`, `io::World`.
//!
//! After a clean shutdown the lengths of the files and the last entries of the active segment's indexes are believed; a few hundred bytes
//! are read. Whatever does not fit, and every log after an unclean one, goes through `recover`.
//!
//! What a crash leaves: opening only removes what no live log has, so that it can be cut short and begun again anywhere.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::believe::Believed;
use super::bell::{Bell, Turn};
use super::recover::{Origin, Recovery};
use super::{EndMark, Life, Log, LogError, Shared, State, leftovers, sync_dir, truncate, written};
use crate::io::{EntryKind, OpenMode, World, replace_file};
use crate::storage::identity;
use crate::storage::layout::{ADOPTED, NEXT_SEGMENT, PARTITION_METADATA, SegmentFile, SegmentPart, WRITTEN_CHECKPOINT};
use crate::storage::producer::Producers;
use crate::storage::segment::{Segment, Stored};
use crate::storage::settings::LogSettings;
use crate::types::{Offset, PartitionIndex, TopicId, TopicName};

/// What a log is opened with.
pub struct OpenLog {
    pub dir: PathBuf,
    pub topic: TopicName,
    pub partition: PartitionIndex,
    pub topic_id: TopicId,
    pub settings: LogSettings,
    pub shutdown: Shutdown,
    /// From the log directory's checkpoint; `None` if it has no line for the partition.
    pub recovery_point: Option<Offset>,
    pub log_start: Option<Offset>,
    pub cleaned: Option<Offset>,
    /// Identity of the page cache that the log's files are written to (see `World::cache_identity`).
    pub cache: Option<Rc<str>>,
}

/// How the last run ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shutdown {
    /// Its marker was there: every log was closed.
    Clean,
    Unclean,
}

/// What opening found and did.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Recovered {
    pub log_start: Offset,
    pub end: Offset,
    /// Bytes of batches that were read again.
    pub bytes_read: u64,
    /// Bytes cut off behind the last whole batch.
    pub bytes_cut: u64,
    /// Segments removed because something before them is missing.
    pub segments_removed: usize,
    /// Segments whose index files were made anew.
    pub indexes_rebuilt: usize,
    /// There was no directory.
    pub created: bool,
    /// All that was left lay below the log's start: the log begins there, empty.
    pub begun_anew: bool,
}

/// A segment as the directory lists it: lengths of its files.
#[derive(Clone, Debug)]
pub struct Listed {
    pub base: Offset,
    pub len: u64,
    pub index: Option<u64>,
    pub times: Option<u64>,
    pub aborted: Option<u64>,
}

/// A partition's directory, tidied.
struct Directory {
    segments: Vec<Listed>,
    /// Ascending.
    snapshots: Vec<Offset>,
    created: bool,
    /// Whether the last run has noted how far the log is written.
    has_note: bool,
    origin: Origin,
}

impl<W: World> Log<W> {
    /// Opens the log in `open.dir`, creating it if there is none.
    pub async fn open(world: &W, open: OpenLog) -> Result<(Self, Recovered), LogError> {
        let directory = Directory::open(world, &open).await?;
        let created = directory.created;
        let floor = truncate::read_floor(world, &open.dir).await;
        let flushed = open.recovery_point.unwrap_or_default();
        let flushed = floor.map_or(flushed, |floor| flushed.min(floor.low));
        let note = if directory.has_note { written::take(world, &open.dir, open.cache.as_deref()).await? } else { None };
        // A log that was closed tells more itself. A snapshot beyond the note is of a later flush, or of another program.
        let unclosed = open.shutdown == Shutdown::Unclean && floor.is_none();
        let note = note.filter(|note| unclosed && note.end > flushed && directory.snapshots.iter().all(|at| *at <= note.end));
        let believed = match (open.shutdown, &note) {
            (Shutdown::Clean, _) => Believed::All,
            (Shutdown::Unclean, Some(note)) => Believed::Written { below: note.end, flushed },
            (Shutdown::Unclean, None) => Believed::Below(flushed),
        };
        let origin = directory.origin;
        let mut recovery = Recovery::new(world, &open, directory.segments, directory.snapshots, origin, believed, note);
        if !recovery.run().await? {
            // The marker of a clean shutdown has lied, or the files are not what was noted.
            tracing::warn!(dir = %open.dir.display(), "log is not as it was left: recovering it from the last flush");
            let directory = Directory::open(world, &open).await?;
            let believed = Believed::Below(flushed);
            recovery = Recovery::new(world, &open, directory.segments, directory.snapshots, origin, believed, None);
            assert!(recovery.run().await?, "nothing is believed but what was flushed");
        }
        // What is read back as it was written is flushed behind the writers, like all that is written; but not where acks wait for it.
        let is_written = recovery.believed.is_written() && !open.settings.flushes_appends();
        let unclean = recovery.believed != Believed::All || recovery.has_changes();
        let (log, mut recovered) = Self::from_recovery(world, open, recovery, floor).await?;
        recovered.created = created;
        log.shared.adopted.set(origin == Origin::Elsewhere);
        if is_written {
            // The note is used up, and the next kill may come before there is another.
            log.note_written().await?;
        } else if unclean {
            log.flush().await?;
        }
        Ok((log, recovered))
    }

    async fn from_recovery(
        world: &W,
        open: OpenLog,
        recovery: Recovery<'_, W>,
        floor: Option<truncate::Floor>,
    ) -> Result<(Self, Recovered), LogError> {
        let OpenLog { dir, topic, partition, topic_id, settings, log_start, cleaned, cache, .. } = open;
        let Recovery { segments, mut epochs, epochs_stored, mut producers, mut snapshots, mut end, durable, recovered, believed, .. } =
            recovery;
        let mut segments: VecDeque<Segment<W::File>> = segments.into();
        let directory = if believed == Believed::All { Stored::Yes } else { Stored::No };
        if segments.is_empty() {
            let base = log_start.unwrap_or_default();
            end = base;
            // A snapshot without the batches that it tells of is what is left of a log that was to begin anew.
            producers = Producers::default();
            snapshots.waiting.clear();
            segments.push_back(create_segment(world, &dir, base).await?);
            // At once: were this name lost and a later segment's kept, the log would seem to begin there.
            sync_dir(world, &dir).await?;
        }
        let first = segments[0].base;
        let wanted_start = log_start.unwrap_or(first).max(first);
        let log_start = wanted_start.min(end);
        let trimmed = epochs.truncate_end(end) | epochs.truncate_start(log_start);
        let epochs_stored = if trimmed { Stored::No } else { epochs_stored };
        let last = segments.back().expect("a segment was created if there was none");
        let mark = EndMark { offset: end, segment: last.base, position: last.len };
        let durable = durable.min(end);
        // All else is flushed before the log is used; what is only written may lie on both sides of the log's start.
        let durable = if believed.is_written() { durable } else { durable.max(log_start.min(end)) };
        let flushed = match segments.iter().rfind(|segment| segment.base <= durable) {
            Some(segment) if believed.is_written() => {
                // Of what only the index file knows the front is taken for unflushed, too.
                let below = segment.index.entries.held().iter().take_while(|entry| segment.offset_of(entry.last) < durable);
                let position = below.last().map_or(0, |entry| u64::from(entry.position));
                EndMark { offset: durable, segment: segment.base, position }
            }
            _ => mark,
        };
        // Of what is not there any more nothing is known; and after a crash, of what may have been cut and written anew.
        let lowest = floor.filter(|_| believed != Believed::All).map_or(end, |floor| floor.low);
        let cleaned = cleaned.filter(|cleaned| *cleaned <= end).map(|cleaned| cleaned.min(lowest));
        let mut state = State {
            life: Life::Open,
            log_start,
            end: mark,
            reserved_end: end,
            durable_end: durable,
            recovery_point: durable,
            flushed,
            noted: flushed,
            cleaned,
            editions: 0,
            size: segments.iter().map(|segment| segment.len).sum(),
            segments,
            epochs,
            epochs_stored,
            producers,
            snapshots,
            writer: Default::default(),
            boundaries: Default::default(),
            directory,
            deleted: VecDeque::new(),
            jitter_ms: settings.jitter_of(world.random()),
            seen_end: end,
            seen_queued: 0,
            floor,
            dir,
            settings,
        };
        state.boundaries.note(mark.offset, mark.segment, mark.position);
        state.check_order();
        let recovered = Recovered { log_start, end, ..recovered };
        let shared = Shared {
            world: world.clone(),
            topic,
            partition,
            topic_id,
            state: RefCell::new(state),
            observer: RefCell::new(None),
            bell: Bell::default(),
            turn: Turn::default(),
            notes: Turn::default(),
            cache,
            sealing: Cell::new(false),
            unlinking: Cell::new(false),
            adopted: Cell::new(false),
            flushing: Cell::new(false),
        };
        let log = Self { shared: Rc::new(shared) };
        if wanted_start > end {
            // Everything that is left was deleted on request before the crash.
            log.restart_at(wanted_start).await?;
            return Ok((log, Recovered { log_start: wanted_start, end: wanted_start, begun_anew: true, ..recovered }));
        }
        Ok((log, recovered))
    }
}

impl<W: World> Log<W> {
    /// Notes that the checkpoint files tell of an adopted log: from here on it is one of this broker's.
    pub async fn settle_adoption(&self) -> Result<(), LogError> {
        if !self.shared.adopted.replace(false) {
            return Ok(());
        }
        let _turn = self.shared.turn.take().await;
        self.check_alive()?;
        self.remove_file(&self.dir().join(ADOPTED)).await?;
        self.sync_directory().await
    }
}

/// Marks a directory as one that another broker wrote, durably, before its topic is taken in.
pub async fn mark_adopted<W: World>(world: &W, dir: &Path) -> Result<(), LogError> {
    let path = dir.join(ADOPTED);
    world.open(&path, OpenMode::CreateOrEmpty).await.map_err(LogError::io("create", &path))?;
    sync_dir(world, dir).await
}

/// Creates an empty segment's file; its name is durable with the directory's next sync.
pub(super) async fn create_segment<W: World>(world: &W, dir: &Path, base: Offset) -> Result<Segment<W::File>, LogError> {
    let path = SegmentFile::live(base, SegmentPart::Log).path(dir);
    let file = world.open(&path, OpenMode::CreateOrEmpty).await.map_err(LogError::io("create", &path))?;
    let mut segment = Segment::empty(base, world.wall());
    segment.file = Some(file);
    Ok(segment)
}

impl Directory {
    async fn open<W: World>(world: &W, open: &OpenLog) -> Result<Self, LogError> {
        let dir = open.dir.as_path();
        let (entries, created) = match world.list_dir(dir).await {
            Ok(entries) => (entries, false),
            Err(source) if source.kind() == ErrorKind::NotFound => {
                world.create_dir_all(dir).await.map_err(LogError::io("create", dir))?;
                (Vec::new(), true)
            }
            Err(source) => return Err(LogError::Io { during: "list", path: dir.to_owned(), source }),
        };
        let identified = check_identity(world, dir, open.topic_id).await?;
        let has = |name| entries.iter().any(|entry| entry.name == name);
        let origin = if has(ADOPTED) { Origin::Elsewhere } else { Origin::Here };
        let mut directory = Self { segments: Vec::new(), snapshots: Vec::new(), created, has_note: has(WRITTEN_CHECKPOINT), origin };
        let mut files: Vec<(SegmentFile, u64)> = Vec::new();
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::File) {
            match SegmentFile::parse(&entry.name) {
                Some(file) => files.push((file, entry.len)),
                // Half-written replacements of checkpoints, and a segment that never came to be.
                None if entry.name == NEXT_SEGMENT || entry.name.ends_with(".tmp") => remove(world, &dir.join(&entry.name)).await?,
                None => {}
            }
        }
        leftovers::settle(world, dir, &mut files).await?;
        directory.sort(world, dir, &files).await?;
        if created || !identified || open.shutdown == Shutdown::Unclean {
            // The last run may have ended before it made the names durable.
            sync_dir(world, dir).await?;
        }
        if created || !identified {
            // The names of those that were there are durable since the start began.
            if let Some(parent) = dir.parent() {
                sync_dir(world, parent).await?;
            }
        }
        Ok(directory)
    }

    /// Groups live files by segment; index files without a log belong to nothing.
    async fn sort<W: World>(&mut self, world: &W, dir: &Path, files: &[(SegmentFile, u64)]) -> Result<(), LogError> {
        let part = |base: Offset, part: SegmentPart| files.iter().find(|(f, _)| f.base == base && f.part == part).map(|(_, len)| *len);
        for (file, len) in files {
            match file.part {
                SegmentPart::Log => self.segments.push(Listed {
                    base: file.base,
                    len: *len,
                    index: part(file.base, SegmentPart::Index),
                    times: part(file.base, SegmentPart::TimeIndex),
                    aborted: part(file.base, SegmentPart::TransactionIndex),
                }),
                SegmentPart::ProducerSnapshot => self.snapshots.push(file.base),
                SegmentPart::Index | SegmentPart::TimeIndex | SegmentPart::TransactionIndex => {
                    if part(file.base, SegmentPart::Log).is_none() {
                        remove(world, &file.path(dir)).await?;
                    }
                }
            }
        }
        self.segments.sort_by_key(|segment| segment.base);
        self.snapshots.sort();
        Ok(())
    }
}

/// Compares the directory's topic id with the one expected, or writes it where there is none. Answers whether there was one.
async fn check_identity<W: World>(world: &W, dir: &Path, expected: TopicId) -> Result<bool, LogError> {
    let path = dir.join(PARTITION_METADATA);
    match world.read_file(&path).await {
        Ok(file) => match identity::decode_partition(&file) {
            Ok(found) if found == expected || expected.is_zero() => Ok(true),
            Ok(found) => Err(LogError::WrongTopic { path, expected, found }),
            Err(source) => Err(LogError::BadIdentity { path, source }),
        },
        Err(source) if source.kind() == ErrorKind::NotFound => {
            if !expected.is_zero() {
                let content = identity::encode_partition(expected);
                replace_file(world, &path, content).await.map_err(LogError::io("replace", &path))?;
            }
            Ok(false)
        }
        Err(source) => Err(LogError::Io { during: "read", path, source }),
    }
}

pub(super) async fn remove<W: World>(world: &W, path: &Path) -> Result<(), LogError> {
    match world.remove_file(path).await {
        Err(source) if source.kind() != ErrorKind::NotFound => Err(LogError::Io { during: "remove", path: path.to_owned(), source }),
        _ => Ok(()),
    }
}

/// Reads the newest snapshot at or below `limit`; those that cannot be read are removed.
pub(super) async fn read_newest_snapshot<W: World>(
    world: &W,
    dir: &Path,
    offsets: &mut Vec<Offset>,
    limit: Offset,
) -> Result<Option<(Offset, Producers)>, LogError> {
    while let Some(newest) = offsets.iter().rev().find(|offset| **offset <= limit).copied() {
        let path = SegmentFile::live(newest, SegmentPart::ProducerSnapshot).path(dir);
        let file = world.read_file(&path).await.map_err(LogError::io("read", &path))?;
        match Producers::decode(&file) {
            Ok(producers) => return Ok(Some((newest, producers))),
            Err(error) => {
                tracing::warn!(path = %path.display(), "producer snapshot dropped: {error}");
                remove(world, &path).await?;
                offsets.retain(|offset| *offset != newest);
            }
        }
    }
    Ok(None)
}
