//! Reading segments for a pass, and writing the copies.
//!
//! Called by the pass; calls `filter`, which works on chunks on a thread that is not a shard, `io::World`. Segments are read through
//! handles of the pass's own, so that it keeps nothing from being given back.
//!
//! A copy is flushed bit by bit as it grows: one flush at the end would hold up those that clients wait for.
//!
//! What a crash leaves: files named `.cleaned`, which the next start removes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::filter::{Consumed, Filling, Filter, FilterRules, Filtered, Found, LastOfProducer, Within};
use super::map::{ENTRY_BYTES, OffsetMap};
use super::pace::Pace;
use super::plan::{Cleanable, Edition, Source};
use super::{CleanError, CleanRules};
use crate::io::{File, OpenMode, World};
use crate::metrics::Compaction;
use crate::storage::index::{AbortedTransaction, Entries, Entry};
use crate::storage::layout::{SegmentFile, SegmentPart, SegmentPhase};
use crate::storage::log::{Log, LogError};
use crate::storage::planted::{self, Bug};
use crate::storage::segment::{RELATIVE_MAX, Segment};
use crate::types::{Offset, ProducerId};
use crate::wire::batch::{BatchHeader, LENGTH_EXCLUDES, RECORDS_AT};

/// Bytes read at once, and given to a thread at once.
const CHUNK: usize = 1 << 20;
/// Bytes of a copy between two flushes.
const SYNC_EVERY: u64 = 8 << 20;

/// One pass over one log.
pub(super) struct Pass<'a, W: World> {
    log: &'a Log<W>,
    counts: &'a Compaction,
    rules: &'a CleanRules,
    pace: Pace,
    map: Option<OffsetMap>,
    filter_rules: FilterRules,
}

impl<'a, W: World> Pass<'a, W> {
    pub fn new(log: &'a Log<W>, found: &Cleanable, rules: &'a CleanRules, counts: &'a Compaction) -> Self {
        let world = &log.shared.world;
        // No more keys than offsets: a small log needs a small map.
        let offsets = u64::try_from(found.upper.since(found.dirty_from)).unwrap_or(0);
        let wanted = (offsets as f64 / rules.key_load_factor.clamp(0.1, 1.0)) as u64 + 2;
        let bytes = rules.key_bytes_max.min(wanted.saturating_mul(ENTRY_BYTES));
        let map = OffsetMap::new(bytes, rules.key_load_factor, [world.random(), world.random()]);
        let filter_rules = FilterRules {
            upper: found.upper,
            now: world.wall(),
            delete_retention_ms: log.state().settings.delete_retention_ms,
            producers: Arc::default(),
            decompressed_bytes_max: rules.decompressed_bytes_max,
        };
        Self { log, counts, rules, pace: Pace::new(world.monotonic(), rules.io_bytes_per_second_max), map: Some(map), filter_rules }
    }

    /// Tells the keys of the dirty part to the map. Answers with the segments that were told.
    pub async fn fill_map(&mut self, found: &Cleanable) -> Result<(Filling, Vec<Source>), CleanError> {
        let aborted = self.aborted_between(found.dirty_from, found.upper).await?;
        let map = self.map.take().expect("a map is filled once");
        let mut filling = Filling::new(map, found.dirty_from, aborted, self.rules.decompressed_bytes_max);
        let sources = self.log.state().sources(found.dirty_from, found.upper);
        let mut told = Vec::new();
        for source in sources {
            told.push(source);
            let mut from = Reading::open(self, &source).await?;
            while let Some(chunk) = from.next(self).await? {
                let within = from.within();
                let (used, consumed) = self.off_shard(filling, &chunk, move |filling, chunk| filling.tell(chunk, within)).await?;
                filling = used;
                let consumed = consumed.map_err(|found| from.unsound(found))?;
                if filling.is_full() {
                    return Ok((filling, told));
                }
                from.advance(consumed)?;
            }
            filling.on_segment_end(source.next.min(found.upper));
        }
        Ok((filling, told))
    }

    pub fn filter_of(&self, filling: Filling, found: &Cleanable) -> Filter {
        filling.into_filter(FilterRules { upper: found.upper, ..self.filter_rules.clone() })
    }

    /// Copies the segments of a group into one, which takes their place.
    pub async fn clean_group(&mut self, group: &[Source], mut filter: Filter) -> Result<(Filter, Edition), CleanError> {
        self.check_room(group).await?;
        filter.know(Arc::new(self.log.state().last_of_producers()));
        let copied = self.copy_group(group, filter).await;
        let outcome = match copied {
            Ok((filter, copy)) => self.log.swap_in(group, copy).await.map(|edition| (filter, edition)),
            Err(why) => Err(why),
        };
        // After a failure nothing is written any more: the next start finds what there is.
        if outcome.as_ref().is_err_and(|why| !matches!(why, CleanError::Log(_))) {
            self.log.drop_copies(group[0].base).await;
        }
        outcome
    }

    async fn check_room(&self, group: &[Source]) -> Result<(), CleanError> {
        let dir = self.log.dir();
        let space = self.log.shared.world.space(&dir).await.map_err(CleanError::io("look at the space of", &dir))?;
        let wanted: u64 = group.iter().map(|source| source.len).sum();
        let (free, reserve) = (space.free, self.rules.free_bytes_min);
        if free < wanted.saturating_add(reserve) { Err(CleanError::NoRoom { free, wanted, reserve }) } else { Ok(()) }
    }

    async fn copy_group(&mut self, group: &[Source], mut filter: Filter) -> Result<(Filter, Segment<W::File>), CleanError> {
        let mut copy = Writing::create(self, group).await?;
        for source in group {
            let aborted = self.aborted_between(source.base, source.next).await?;
            filter.expect(aborted);
            let mut from = Reading::open(self, source).await?;
            while let Some(chunk) = from.next(self).await? {
                let within = from.within();
                let (used, filtered) = self.off_shard(filter, &chunk, move |filter, chunk| filter.filter(chunk, within)).await?;
                filter = used;
                let (consumed, filtered) = filtered.map_err(|found| from.unsound(found))?;
                from.advance(consumed)?;
                copy.add(self, filtered).await?;
            }
        }
        Ok((filter, copy.finish(self).await?))
    }

    /// Has a chunk worked on by a thread that is not a shard, then lets others have the core for a while.
    async fn off_shard<S: Send + 'static, T: Send + 'static>(
        &mut self,
        mut with: S,
        chunk: &Bytes,
        work: impl FnOnce(&mut S, &Bytes) -> T + Send + 'static,
    ) -> Result<(S, T), CleanError> {
        let world = &self.log.shared.world;
        let (began, chunk_of_work) = (world.monotonic(), chunk.clone());
        let worked = world
            .offload(move || {
                let outcome = work(&mut with, &chunk_of_work);
                (with, outcome)
            })
            .await;
        self.rest(chunk.len() as u64, world.monotonic().since(began)).await?;
        Ok(worked)
    }

    async fn rest(&mut self, bytes: u64, work: Duration) -> Result<(), CleanError> {
        let world = &self.log.shared.world;
        let rest = self.pace.rest(world.monotonic(), bytes, work);
        if rest.is_zero() {
            world.yield_now().await;
        } else {
            world.sleep(rest).await;
        }
        self.log.check_cleanable()
    }

    async fn aborted_between(&self, from: Offset, to: Offset) -> Result<Vec<AbortedTransaction>, CleanError> {
        let path = self.log.dir();
        let unread = |why: crate::storage::ReadError| CleanError::Unsound { path, position: 0, why: why.to_string() };
        self.log.collect_aborted(from, to).await.map_err(unread)
    }
}

/// A segment that is read from its front, in chunks of whole batches.
struct Reading<F> {
    file: F,
    path: PathBuf,
    position: u64,
    len: u64,
    /// Where the batch before ended, and where the segment does.
    next: Offset,
    below: Offset,
}

impl<F: File> Reading<F> {
    async fn open<W: World<File = F>>(pass: &Pass<'_, W>, source: &Source) -> Result<Self, CleanError> {
        let path = pass.log.state().path(source.base, SegmentPart::Log);
        let opened = pass.log.shared.world.open(&path, OpenMode::Existing).await;
        // Only if the segment is still the one that was planned on, the file is.
        pass.log.state().check_sources(std::slice::from_ref(source))?;
        pass.log.check_cleanable()?;
        let file = opened.map_err(CleanError::io("open", &path))?;
        Ok(Self { file, path, position: 0, len: source.len, next: source.base, below: source.next })
    }

    async fn next<W: World<File = F>>(&self, pass: &Pass<'_, W>) -> Result<Option<Bytes>, CleanError> {
        let left = self.len - self.position;
        if left == 0 {
            return Ok(None);
        }
        let mut chunk = self.read(CHUNK.min(left as usize)).await?;
        // A batch that is larger is read whole; it lies within the segment, as its length was checked when it was written.
        if let Some(len) = batch_len(&chunk).filter(|len| *len > chunk.len() && *len as u64 <= left) {
            chunk = self.read(len).await?;
        }
        pass.counts.read_bytes.add(chunk.len() as u64);
        Ok(Some(chunk))
    }

    async fn read(&self, len: usize) -> Result<Bytes, CleanError> {
        self.file.read_at(self.position, len).await.map(Bytes::from).map_err(CleanError::io("read", &self.path))
    }

    /// Where the offsets of the next chunk lie.
    fn within(&self) -> Within {
        Within { from: self.next, below: self.below }
    }

    /// The next chunk begins behind what was consumed of this one.
    fn advance(&mut self, consumed: Consumed) -> Result<(), CleanError> {
        if consumed.bytes == 0 {
            let why = "no whole batch begins here".to_owned();
            return Err(CleanError::Unsound { path: self.path.clone(), position: self.position, why });
        }
        self.position += consumed.bytes as u64;
        self.next = consumed.next;
        Ok(())
    }

    fn unsound(&self, found: Found) -> CleanError {
        let position = self.position + found.at as u64;
        CleanError::Unsound { path: self.path.clone(), position, why: found.why.to_string() }
    }
}

/// Bytes of the batch at the front, if its header is there.
fn batch_len(chunk: &[u8]) -> Option<usize> {
    (chunk.len() >= RECORDS_AT).then(|| BatchHeader::parse(chunk).ok().map(|header| header.total_len())).flatten()
}

const _: () = assert!(LENGTH_EXCLUDES < RECORDS_AT && RECORDS_AT < CHUNK, "a chunk tells how long its first batch is");

/// A copy that grows.
struct Writing<F> {
    segment: Segment<F>,
    file: F,
    path: PathBuf,
    unsynced: u64,
    index_interval: u32,
}

impl<F: File> Writing<F> {
    async fn create<W: World<File = F>>(pass: &Pass<'_, W>, group: &[Source]) -> Result<Self, CleanError> {
        let (dir, index_interval) = {
            let state = pass.log.state();
            (state.dir.clone(), state.settings.index_interval_bytes)
        };
        let path = copy_path(&dir, group[0].base, SegmentPart::Log);
        let opened = pass.log.shared.world.open(&path, OpenMode::CreateOrEmpty).await;
        // The directory of a deleted log has another name.
        pass.log.check_cleanable()?;
        let file = opened.map_err(|source| pass.log.copy_failed("create", &path, source))?;
        // Its age, where records have none, is that of the newest it is made of.
        let segment = Segment::empty(group[0].base, group[group.len() - 1].created);
        Ok(Self { segment, file, path, unsynced: 0, index_interval })
    }

    async fn add<W: World<File = F>>(&mut self, pass: &mut Pass<'_, W>, filtered: Filtered) -> Result<(), CleanError> {
        let bytes = filtered.bytes.freeze();
        let (position, len) = (self.segment.len, bytes.len() as u64);
        if position + len > RELATIVE_MAX as u64 {
            let why = "its copy is larger than a segment can be".to_owned();
            return Err(CleanError::Unsound { path: self.path.clone(), position, why });
        }
        for kept in &filtered.batches {
            self.segment.on_batch(kept.base, kept.last, kept.max_timestamp, kept.len, self.index_interval);
        }
        for aborted in filtered.aborted {
            self.segment.aborted.push(aborted);
        }
        pass.counts.dropped_records.add(filtered.records_read - filtered.records_kept);
        if len == 0 {
            return Ok(());
        }
        let written = self.file.write_at(position, vec![bytes]).await;
        written.result.map_err(|source| pass.log.copy_failed("write", &self.path, source))?;
        pass.counts.written_bytes.add(len);
        self.unsynced += len;
        if self.unsynced >= SYNC_EVERY {
            self.sync(pass.log).await?;
        }
        pass.rest(len, Duration::ZERO).await
    }

    async fn sync<W: World<File = F>>(&mut self, log: &Log<W>) -> Result<(), CleanError> {
        self.unsynced = 0;
        if planted::is(Bug::SwapUnsynced) {
            return Ok(());
        }
        self.file.sync().await.map_err(|source| log.copy_failed("sync", &self.path, source))
    }

    /// Writes the index files; all of the copy is durable then, save its names.
    async fn finish<W: World<File = F>>(mut self, pass: &mut Pass<'_, W>) -> Result<Segment<F>, CleanError> {
        self.sync(pass.log).await?;
        let Self { mut segment, file, .. } = self;
        segment.times.add_largest();
        let (dir, base) = (pass.log.dir(), segment.base);
        write_index(pass, &copy_path(&dir, base, SegmentPart::Index), &mut segment.index.entries).await?;
        write_index(pass, &copy_path(&dir, base, SegmentPart::TimeIndex), &mut segment.times.entries).await?;
        let aborted_path = copy_path(&dir, base, SegmentPart::TransactionIndex);
        if segment.aborted.is_empty() {
            // One that an earlier pass left is not of this copy.
            let removed = pass.log.shared.world.remove_file(&aborted_path).await;
            removed
                .or_else(|why| if why.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(why) })
                .map_err(CleanError::io("remove", &aborted_path))?;
        } else {
            write_index(pass, &aborted_path, &mut segment.aborted).await?;
        }
        segment.synced = segment.len;
        segment.on_cut(segment.len);
        segment.file = Some(file);
        Ok(segment)
    }
}

async fn write_index<W: World, E: Entry>(pass: &mut Pass<'_, W>, path: &Path, entries: &mut Entries<E>) -> Result<(), CleanError> {
    let log = pass.log;
    let unwritten = entries.unwritten(|_| true);
    let (count, bytes) = (unwritten.count, Bytes::from(unwritten.bytes));
    let written = async {
        let file = log.shared.world.open(path, OpenMode::CreateOrEmpty).await?;
        if !bytes.is_empty() {
            file.write_at(0, vec![bytes.clone()]).await.result?;
        }
        if planted::is(Bug::SwapUnsynced) { Ok(()) } else { file.sync().await }
    };
    let outcome = written.await;
    log.check_cleanable()?;
    outcome.map_err(|source| log.copy_failed("write", path, source))?;
    entries.note_written(count);
    pass.rest(bytes.len() as u64, Duration::ZERO).await
}

pub(super) fn copy_path(dir: &Path, base: Offset, part: SegmentPart) -> PathBuf {
    SegmentFile { base, part, phase: SegmentPhase::Cleaned }.path(dir)
}

impl<W: World> Log<W> {
    /// What a copy could not be written for. A full disk ends the pass; any other failure is final, like that of an append.
    fn copy_failed(&self, during: &'static str, path: &Path, source: std::io::Error) -> CleanError {
        if source.kind() == std::io::ErrorKind::StorageFull {
            return CleanError::NoRoom { free: 0, wanted: 0, reserve: 0 };
        }
        self.fail(LogError::Io { during, path: path.to_owned(), source }).into()
    }
}

impl<W: World> crate::storage::log::State<W> {
    /// The last batch of each producer, so that it is kept.
    fn last_of_producers(&self) -> BTreeMap<ProducerId, LastOfProducer> {
        let last = |producer: &crate::storage::producer::Producer| LastOfProducer {
            offset: producer.last_record_offset(Offset(i64::MAX)),
            durable: producer.last_record_offset(self.durable_end),
            epoch: producer.epoch(),
        };
        self.producers.iter().map(|(id, producer)| (id, last(producer))).collect()
    }
}
