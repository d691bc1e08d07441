//! Procedures of the log on the world in memory.

use std::cell::{Cell, RefCell};
use std::path::Path;

use bytes::Bytes;

use super::*;
use crate::io::File;
use crate::io::memory::{MemoryWorld, run};
use crate::storage::index::{AbortedTransaction, OffsetEntry, TimeEntry, TimeIndex, decode_all};
use crate::storage::layout::SegmentPhase;
use crate::types::{ProducerEpoch, ProducerId};
use crate::wire::batch::{self, BatchBuilder, BatchHeader, ControlType};

mod appending;
mod compaction;
mod compaction_model;
mod crash;
mod housekeeping;
mod model;
mod notes;
mod reading;
mod space;

const DIR: &str = "/logs/topic-0";
const EPOCH: LeaderEpoch = LeaderEpoch(3);
const NOW: TimestampMs = TimestampMs(1_750_000_000_000);

/// How far zeros may go behind an append, in multiples of bytes.
const FILLS: [u64; 4] = [1, 64, 1000, 1 << 14];

/// Small segments, so that a test sees many.
fn small() -> LogSettings {
    LogSettings { segment_bytes: 4096, index_interval_bytes: 256, ..LogSettings::default() }
}

fn open_log(settings: LogSettings, shutdown: Shutdown) -> OpenLog {
    OpenLog {
        dir: PathBuf::from(DIR),
        topic: TopicName::new("topic"),
        partition: PartitionIndex(0),
        topic_id: TopicId::from_bits(7),
        settings,
        shutdown,
        recovery_point: None,
        log_start: None,
        cleaned: None,
        cache: None,
    }
}

/// Opens the log of a node that crashed.
async fn recover(world: &MemoryWorld, settings: LogSettings, recovery_point: Option<Offset>) -> (Log<MemoryWorld>, Recovered) {
    let open = OpenLog { recovery_point, ..open_log(settings, Shutdown::Unclean) };
    Log::open(world, open).await.unwrap()
}

async fn new_log(world: &MemoryWorld, settings: LogSettings) -> Log<MemoryWorld> {
    world.create_dir_all(Path::new("/logs")).await.unwrap();
    world.sync_dir(Path::new("/")).await.unwrap();
    Log::open(world, open_log(settings, Shutdown::Clean)).await.unwrap().0
}

async fn reopen(world: &MemoryWorld, log: Log<MemoryWorld>) -> Log<MemoryWorld> {
    let settings = log.settings();
    log.close().await.unwrap();
    drop(log);
    let open = OpenLog { recovery_point: None, ..open_log(settings, Shutdown::Clean) };
    let (log, recovered) = Log::open(world, open).await.unwrap();
    assert_eq!(recovered.bytes_cut, 0);
    log
}

fn whole(bytes: Bytes) -> LeaderBatch {
    LeaderBatch { header: BatchHeader::parse(&bytes).unwrap(), bytes }
}

/// A batch of `records` records of about `value_len` bytes each, one millisecond apart.
fn batch_at(records: i32, value_len: usize, first: TimestampMs) -> LeaderBatch {
    let mut builder = BatchBuilder::new();
    for n in 0..records {
        builder.push(TimestampMs(first.get() + i64::from(n)), None, Some(&vec![b'v'; value_len]), &[]);
    }
    whole(builder.build())
}

fn batch(records: i32, value_len: usize) -> LeaderBatch {
    batch_at(records, value_len, NOW)
}

fn append(log: &Log<MemoryWorld>, batch: LeaderBatch) -> Appended {
    log.append_as_leader(&[batch], EPOCH, NOW).unwrap()
}

/// Waits until all that was appended is written.
async fn written(log: &Log<MemoryWorld>) {
    let target = log.reserved_end();
    log.shared.bell.until(|| (log.end() >= target || log.is_failed()).then_some(())).await;
}

async fn names(world: &MemoryWorld) -> Vec<String> {
    let mut names: Vec<_> = world.list_dir(Path::new(DIR)).await.unwrap().into_iter().map(|e| e.name).collect();
    names.sort();
    names
}

/// All bytes from `from` to `below`, read in ranges of `max_bytes`, with a check of each range.
async fn read_all(log: &Log<MemoryWorld>, from: Offset, below: Offset, max_bytes: u64) -> Vec<u8> {
    let mut all = Vec::new();
    let mut from = from;
    while let Some(range) = log.plan_read(from, below, max_bytes).await.unwrap() {
        let bytes = read_range(log, &range).await;
        let batches: Vec<_> = batch::batches(&Bytes::from(bytes.clone())).map(Result::unwrap).collect();
        assert!(batches[0].header.last_offset() >= from, "the first batch holds the offset, or is the first after it");
        let first_len = batches[0].bytes.len() as u64;
        assert!(range.first_batch_len >= first_len && range.first_batch_len <= range.len);
        assert!(range.len <= max_bytes || range.len == first_len, "more than asked for only for the first batch");
        from = batches.last().unwrap().header.next_offset();
        assert!(from <= below, "never beyond what may be read");
        all.extend_from_slice(&bytes);
    }
    all
}

/// The bytes of a range, through a handle of their own segment.
async fn read_range(log: &Log<MemoryWorld>, range: &ReadRange<MemoryWorld>) -> Vec<u8> {
    let file = {
        let state = log.state();
        let at = state.position_of(range.segment).expect("the segment of the range");
        state.segments[at].file.clone().expect("open, as it was planned on")
    };
    file.read_at(range.position, range.len as usize).await.unwrap()
}

fn offsets_in(bytes: &[u8]) -> Vec<(i64, i64)> {
    let run = Bytes::copy_from_slice(bytes);
    batch::batches(&run).map(|b| b.unwrap().header).map(|h| (h.base_offset.get(), h.last_offset().get())).collect()
}

/// What `kafka-dump-log` would check of every file in the directory of a log that was closed.
async fn check_files(world: &MemoryWorld, dir: &Path) {
    let entries = world.list_dir(dir).await.unwrap();
    let live: Vec<_> = entries.iter().filter_map(|e| SegmentFile::parse(&e.name)).filter(|f| f.phase == SegmentPhase::Live).collect();
    assert!(live.iter().any(|file| file.part == SegmentPart::Log));
    for file in live.iter().filter(|file| file.part == SegmentPart::Log) {
        let read = async |part| {
            let path = SegmentFile::live(file.base, part).path(dir);
            world.read_file(&path).await.unwrap_or_else(|error| panic!("{path:?}: {error}, among {entries:?}"))
        };
        let log = Bytes::from(read(SegmentPart::Log).await);
        let mut position = 0;
        let mut batches = Vec::new();
        let mut largest = TimestampMs::NONE;
        for batch in batch::batches(&log) {
            let batch = batch.expect("whole batches, and nothing after them");
            batch.verify_crc().unwrap();
            let header = batch.header;
            largest = largest.max(header.max_timestamp);
            batches.push((position, header));
            position += header.total_len() as u64;
        }
        let index: Vec<OffsetEntry> = decode_all(&read(SegmentPart::Index).await).unwrap();
        for entry in index {
            let found = batches.iter().find(|(at, _)| *at == u64::from(entry.position)).expect("an entry points to a batch");
            assert_eq!(found.1.last_offset(), file.base.plus(i64::from(entry.last)), "and has its last offset");
        }
        let times: Vec<TimeEntry> = decode_all(&read(SegmentPart::TimeIndex).await).unwrap();
        TimeIndex::check(&times).unwrap();
        for entry in &times {
            let found = batches.iter().find(|(_, h)| h.last_offset() == file.base.plus(i64::from(entry.last))).expect("a batch ends there");
            assert_eq!(found.1.max_timestamp, entry.timestamp);
        }
        assert_eq!(times.last().map_or(TimestampMs::NONE, |entry| entry.timestamp), largest, "the last entry has the largest timestamp");
        if let Ok(aborted) = world.read_file(&SegmentFile::live(file.base, SegmentPart::TransactionIndex).path(dir)).await {
            let entries: Vec<AbortedTransaction> = decode_all(&aborted).unwrap();
            AbortedTransaction::check(&entries, file.base).unwrap();
        }
    }
    // An older one may not have survived a crash during its writing; the newest counts.
    let newest = live.iter().filter(|file| file.part == SegmentPart::ProducerSnapshot).max();
    if let Some(newest) = newest {
        crate::storage::producer::Producers::decode(&world.read_file(&newest.path(dir)).await.unwrap()).unwrap();
    }
}

/// Remembers what it was told.
#[derive(Default)]
struct Witness {
    ends: RefCell<Vec<Offset>>,
    flushed: RefCell<Vec<Offset>>,
    failures: RefCell<Vec<String>>,
    blames: RefCell<Vec<Blame>>,
    is_crowded: Cell<bool>,
    zeros: Rc<Turn>,
}

impl LogObserver for Witness {
    fn on_end_moved(&self, end: Offset) {
        self.ends.borrow_mut().push(end);
    }

    fn on_flushed(&self, durable_end: Offset) {
        self.flushed.borrow_mut().push(durable_end);
    }

    fn has_space_ahead(&self) -> bool {
        !self.is_crowded.get()
    }

    fn zeros_turn(&self) -> Option<OwnedTurn> {
        self.zeros.try_take()
    }

    fn on_failed(&self, why: &str, blame: Blame) {
        self.blames.borrow_mut().push(blame);
        self.failures.borrow_mut().push(why.to_string());
    }
}
