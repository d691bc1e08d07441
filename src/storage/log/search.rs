//! Looking records up by time, and aborted transactions by offset.
//!
//! Called by `partition` (ListOffsets, fetches of committed records); calls `index`, `scan`, `wire::validation`.
//!
//! Semantics as Kafka's: the answer to a timestamp is the first record, in the order of offsets, that is not older.

use bytes::Bytes;

use super::read::LOOKS_MAX;
use super::scan;
use super::{Log, ReadError, ReadRange};
use crate::io::{File, World};
use crate::storage::index::{AbortedTransaction, Entry, LargestTimestamp, Located, TimeEntry, decode_all};
use crate::storage::layout::SegmentPart;
use crate::storage::segment::Segment;
use crate::types::{LeaderEpoch, Offset, ProducerId, TimestampMs};
use crate::wire::batch::{BatchHeader, RECORDS_AT};
use crate::wire::validation::{self, RecordPlace};

/// A record found by its time.
pub type FoundRecord = (TimestampMs, Offset, LeaderEpoch);

impl<W: World> Log<W> {
    /// The first record at or after `target`, unless it lies at or beyond `below`.
    pub async fn offset_for_timestamp(&self, target: TimestampMs, below: Offset) -> Result<Option<FoundRecord>, ReadError> {
        self.unchanged(async || self.look_for_timestamp(target, below).await).await
    }

    async fn look_for_timestamp(&self, target: TimestampMs, below: Offset) -> Result<Option<FoundRecord>, ReadError> {
        for base in self.segment_bases() {
            // A segment that was just rolled to may have no file yet, and nothing in it counts.
            if base >= below {
                break;
            }
            let old = match self.largest_timestamp(base).await? {
                Some(largest) => largest.timestamp < target,
                None => true,
            };
            if old {
                continue;
            }
            let start = self.start();
            let wanted = move |record: RecordPlace| record.timestamp >= target && record.offset >= start;
            if let Some(found) = self.search_segment(base, target, start, wanted).await? {
                return Ok(Some(found).filter(|(_, offset, _)| *offset < below));
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp of the log, the first if there are several, unless it lies at or beyond `below`. As in Kafka
    /// it may lie below the log's start, until its segment goes.
    pub async fn max_timestamp(&self, below: Offset) -> Result<Option<FoundRecord>, ReadError> {
        self.unchanged(async || self.look_for_max_timestamp(below).await).await
    }

    async fn look_for_max_timestamp(&self, below: Offset) -> Result<Option<FoundRecord>, ReadError> {
        let mut largest: Option<(Offset, TimeEntry)> = None;
        for base in self.segment_bases().into_iter().take_while(|base| *base < below) {
            if let Some(entry) = self.largest_timestamp(base).await?
                && largest.is_none_or(|(_, before)| before.timestamp < entry.timestamp)
            {
                largest = Some((base, entry));
            }
        }
        let Some((base, TimeEntry { timestamp, .. })) = largest else { return Ok(None) };
        let found = self.search_segment(base, timestamp, base, move |record| record.timestamp == timestamp).await?;
        Ok(found.filter(|(_, offset, _)| *offset < below))
    }

    /// A look at one segment after another, again if some of them were cut or compacted meanwhile: it may have missed what they became. Those
    /// that retention took are not missed.
    async fn unchanged<T>(&self, look: impl AsyncFn() -> Result<T, ReadError>) -> Result<T, ReadError> {
        for _ in 0..LOOKS_MAX {
            let before: Vec<(Offset, u64)> = self.state().segments.iter().map(|segment| (segment.base, segment.edition)).collect();
            let found = look().await?;
            let state = self.state();
            let first = state.segments[0].base;
            if before.into_iter().filter(|(base, _)| *base >= first).all(|(base, edition)| state.has(base, edition)) {
                return Ok(found);
            }
        }
        Err(ReadError::Restless)
    }

    /// Whether what was planned is still what the log has there.
    pub fn holds(&self, range: &ReadRange<W>) -> bool {
        self.state().has(range.segment, range.edition)
    }

    fn segment_bases(&self) -> Vec<Offset> {
        self.state().segments.iter().map(|segment| segment.base).collect()
    }

    /// The segment's largest timestamp, read from its time index's last entry if nobody has asked before.
    pub(super) async fn largest_timestamp(&self, base: Offset) -> Result<Option<TimeEntry>, ReadError> {
        let (path, position, edition) = {
            let mut state = self.state_mut();
            let path = state.path(base, SegmentPart::TimeIndex);
            let Some(segment) = state.segment_mut(base) else { return Ok(None) };
            let position = segment.times.entries.skipped_bytes().saturating_sub(TimeEntry::SIZE);
            match segment.times.largest() {
                LargestTimestamp::None => return Ok(None),
                LargestTimestamp::Of(entry) => return Ok(Some(entry)),
                LargestTimestamp::NotLoaded => (path, position, segment.edition),
            }
        };
        let entry = match self.shared.world.open(&path, crate::io::OpenMode::Existing).await {
            Ok(file) => {
                let bytes = file.read_at(position as u64, TimeEntry::SIZE).await.map_err(ReadError::io("read", &path))?;
                (bytes.len() == TimeEntry::SIZE).then(|| TimeEntry::decode(&bytes)).flatten()
            }
            Err(_) => None,
        };
        let is_other = self.state_mut().segment_mut(base).is_none_or(|segment| segment.edition != edition);
        if is_other {
            // Compacted meanwhile: the new one is in memory.
            return Ok(self.known_largest(base));
        }
        match entry {
            Some(entry) => {
                if let Some(segment) = self.state_mut().segment_mut(base) {
                    segment.times.on_last_entry(entry);
                }
                Ok(Some(entry))
            }
            // Not what it should be: loading makes it anew.
            None => {
                self.load_indexes(base).await?;
                Ok(self.known_largest(base))
            }
        }
    }

    fn known_largest(&self, base: Offset) -> Option<TimeEntry> {
        self.state_mut().segment_mut(base).and_then(|segment| match segment.times.largest() {
            LargestTimestamp::Of(entry) => Some(entry),
            LargestTimestamp::None | LargestTimestamp::NotLoaded => None,
        })
    }

    /// The first record of a segment that is `wanted`; only batches that reach `from`, and whose largest timestamp reaches `target`, are
    /// looked into.
    async fn search_segment(
        &self,
        base: Offset,
        target: TimestampMs,
        from: Offset,
        wanted: impl Fn(RecordPlace) -> bool + Copy + Send + 'static,
    ) -> Result<Option<FoundRecord>, ReadError> {
        if self.state_mut().segment_mut(base).is_some_and(|s| !s.times.entries.is_whole() || !s.index.entries.is_whole()) {
            self.load_indexes(base).await?;
        }
        if self.state_mut().segment_mut(base).is_some_and(|s| s.file.is_none()) {
            self.open_for_reading(base).await?;
        }
        let (file, path, mut position, upto) = {
            let state = self.state();
            let Some(at) = state.position_of(base) else { return Ok(None) };
            let segment = &state.segments[at];
            let Some(file) = segment.file.clone() else { return Ok(None) };
            let position = match segment.times.floor(target).map(|last| segment.index.locate(last)) {
                Some(Located::At(position) | Located::Walk(position) | Located::Probe { from: position, .. }) => u64::from(position),
                Some(Located::NotLoaded) | None => 0,
            };
            (file, state.path(base, SegmentPart::Log), position, state.completed_len(at))
        };
        let reaches = |header: &BatchHeader| header.max_timestamp >= target && header.last_offset() >= from;
        while let Some(batch) = scan::find_where(&file, &path, position, upto, reaches).await? {
            let bad = |why: String| ReadError::BadRecords { path: path.clone(), position: batch.position, why };
            let bytes = file.read_at(batch.position, batch.header.total_len()).await.map_err(ReadError::io("read", &path))?;
            if bytes.len() < batch.header.total_len() {
                return Err(bad("the file ends within the batch".to_owned()));
            }
            if let Some(found) = self.find_in(batch.header, Bytes::from(bytes), wanted).await.map_err(|why| bad(why.to_string()))? {
                return Ok(Some((found.timestamp, found.offset, batch.header.leader_epoch)));
            }
            position = batch.position + batch.header.total_len() as u64;
        }
        Ok(None)
    }

    /// The first record of a batch that is `wanted`. Only what is quickly looked through keeps the shard: a few kilobytes may decompress to
    /// hundreds of megabytes.
    async fn find_in(
        &self,
        header: BatchHeader,
        batch: Bytes,
        wanted: impl Fn(RecordPlace) -> bool + Copy + Send + 'static,
    ) -> Result<Option<RecordPlace>, validation::Refusal> {
        let body = batch.slice(RECORDS_AT..);
        let limit = self.state().settings.decompressed_bytes_max;
        match validation::find_record_briefly(&header, &body, limit, wanted) {
            Some(found) => found,
            None => self.shared.world.offload(move || validation::find_record(&header, &body, limit, wanted)).await,
        }
    }

    /// An offset that no batch of the range reaches, at most `below`; as near as the index in memory tells.
    pub fn offset_beyond(&self, range: &ReadRange<W>, below: Offset) -> Offset {
        let state = self.state();
        let Some(at) = state.position_of(range.segment) else { return below };
        let indexed = state.segments[at].index.offset_beyond(range.position + range.len);
        let bound = match indexed {
            Some(relative) => Some(range.segment.plus(i64::from(relative))),
            None => state.segments.get(at + 1).map(|next| next.base),
        };
        bound.map_or(below, |bound| bound.min(below))
    }

    /// Aborted transactions that a reader of committed records from `from` up to `to` must leave out: producer and first offset.
    pub async fn aborted_between(&self, from: Offset, to: Offset) -> Result<Vec<(ProducerId, Offset)>, ReadError> {
        Ok(self.collect_aborted(from, to).await?.iter().map(|entry| (entry.producer_id, entry.first)).collect())
    }

    /// The entries of aborted transactions that reach into what lies from `from` up to `to`.
    pub(super) async fn collect_aborted(&self, from: Offset, to: Offset) -> Result<Vec<AbortedTransaction>, ReadError> {
        self.unchanged(async || self.look_for_aborted(from, to).await).await
    }

    async fn look_for_aborted(&self, from: Offset, to: Offset) -> Result<Vec<AbortedTransaction>, ReadError> {
        let mut aborted = Vec::new();
        let bases = {
            let state = self.state();
            let first = state.segment_for(from).unwrap_or(0);
            state.segments.iter().skip(first).map(|segment| segment.base).collect::<Vec<_>>()
        };
        for base in bases {
            self.load_aborted(base).await?;
            let mut state = self.state_mut();
            let Some(segment) = state.segment_mut(base) else { continue };
            for entry in segment.aborted.held() {
                if entry.last >= from && entry.first < to {
                    aborted.push(*entry);
                }
                if entry.last_stable >= to {
                    return Ok(aborted);
                }
            }
        }
        Ok(aborted)
    }

    pub(super) async fn load_aborted(&self, base: Offset) -> Result<(), ReadError> {
        let (path, edition) = {
            let mut state = self.state_mut();
            let path = state.path(base, SegmentPart::TransactionIndex);
            match state.segment_mut(base) {
                Some(segment) if !segment.aborted.is_whole() => (path, segment.edition),
                _ => return Ok(()),
            }
        };
        let read = self.shared.world.read_file(&path).await;
        let mut state = self.state_mut();
        let wanted = |segment: &&mut Segment<W::File>| segment.edition == edition && !segment.aborted.is_whole();
        let Some(segment) = state.segment_mut(base).filter(wanted) else { return Ok(()) };
        let file = read.map_err(ReadError::io("read", &path))?;
        let bad = |why: String| ReadError::BadRecords { path: path.clone(), position: 0, why };
        let kept = file.get(..segment.aborted.skipped_bytes()).unwrap_or(&file);
        let entries = decode_all(kept).map_err(|why| bad(why.to_string()))?;
        AbortedTransaction::check(&entries, base).map_err(|why| bad(why.to_string()))?;
        segment.aborted.fill(kept).map_err(|why| bad(why.to_string()))
    }
}
