//! A partition's directory, opened as after a crash or after a clean stop, read from end to end, written on, and opened again.
//!
//! ```text
//!   0 flags | 1 recovery point | 2 log start | files: u8 which, u16 length, bytes
//!   flags: bit 0, mend the CRCs of batches; bit 1, a clean stop; bit 2, there is a recovery point; bit 3, there is a log start;
//!          bit 4, compacted; bit 5, small segments
//! ```
//!
//! After a crash without a recovery point nothing on disk is believed: then every batch that is served is whole and its CRC holds, and
//! what one opening shows, the next one shows too. Otherwise what lies below the recovery point may be wrong, and is an error or is
//! served as it is; it never panics.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ottla::io::memory::{MemoryReader, MemoryWorld, MemoryWriter, Simulation, SimulationSettings};
use ottla::io::{File, Follows, Listener, OpenMode, Reader, World, Writer};
use ottla::metrics::Compaction;
use ottla::storage::checkpoint;
use ottla::storage::identity;
use ottla::storage::index::{AbortedTransaction, Entry, OffsetEntry, TimeEntry};
use ottla::storage::layout::{LEADER_EPOCH_CHECKPOINT, NEXT_SEGMENT, PARTITION_METADATA, SegmentFile, SegmentPart, SegmentPhase};
use ottla::storage::{CleanRules, LeaderBatch, Log, LogSettings, OpenLog, ReadRange, Shutdown};
use ottla::types::{LeaderEpoch, Offset, PartitionIndex, ProducerId, TimestampMs, TopicId};
use ottla::wire::batch::{self, BatchBuilder, BatchHeader};

use crate::{Target, batches, files, seeds};

/// What a simulated machine holds, a walk's chunk twice over, and the files several times.
pub const TARGET: Target = Target { name: "partition_log", run, seeds: all_seeds, held_max: 16 << 20, held_per_byte: 256 };

const DIR: &str = "/data/orders-0";
const NODE: u32 = 0;
const TOPIC_ID: TopicId = TopicId::from_bits(7 << 70);
const NOW: TimestampMs = TimestampMs(1_700_000_001_000);

/// Base offset of the second segment, which is where the first one of the seeds ends.
const SECOND: i64 = 8;
const BASES: [i64; 4] = [0, SECOND, SECOND + 100, 1 << 40];

const PHASES: [SegmentPhase; 4] = [SegmentPhase::Live, SegmentPhase::Swap, SegmentPhase::Cleaned, SegmentPhase::Deleted];
const OTHERS: [&str; 4] = [PARTITION_METADATA, LEADER_EPOCH_CHECKPOINT, "recovery-floor-checkpoint", NEXT_SEGMENT];

/// Which file a byte names: the live files first.
fn name(which: u8) -> String {
    let which = usize::from(which);
    let of_segments = SegmentPart::ALL.len() * BASES.len() * PHASES.len();
    let Some(segment) = (which % (of_segments + OTHERS.len())).checked_sub(OTHERS.len()) else {
        return OTHERS[which % (of_segments + OTHERS.len())].to_owned();
    };
    let part = SegmentPart::ALL[segment % SegmentPart::ALL.len()];
    let base = BASES[segment / SegmentPart::ALL.len() % BASES.len()];
    SegmentFile { base: Offset(base), part, phase: PHASES[segment / SegmentPart::ALL.len() / BASES.len()] }.name()
}

fn which(wanted: &str) -> u8 {
    (0..=u8::MAX).find(|which| name(*which) == wanted).expect("a file that a byte names")
}

struct Case {
    flags: u8,
    recovery_point: u8,
    log_start: u8,
    files: Vec<(String, Vec<u8>)>,
}

fn parse(input: &[u8]) -> Option<Case> {
    let (&[flags, recovery_point, log_start], mut rest) = input.split_first_chunk::<3>()?;
    let mut files = Vec::new();
    while let Some((&[which, high, low], tail)) = rest.split_first_chunk::<3>() {
        let (file, tail) = tail.split_at(usize::from(u16::from_be_bytes([high, low])).min(tail.len()));
        let mut file = file.to_vec();
        let name = name(which);
        if flags & 1 != 0 && name.contains(SegmentPart::Log.suffix()) {
            batches::mend(&mut file);
        }
        files.push((name, file));
        rest = tail;
    }
    Some(Case { flags, recovery_point, log_start, files })
}

impl Case {
    fn has(&self, bit: u8) -> bool {
        self.flags & (1 << bit) != 0
    }

    /// Nothing on disk is to be believed.
    fn believes_nothing(&self) -> bool {
        !self.has(1) && !self.has(2)
    }

    fn settings(&self) -> LogSettings {
        let small = LogSettings { segment_bytes: 400, index_interval_bytes: 1, ..LogSettings::default() };
        LogSettings { compact: self.has(4), ..if self.has(5) { small } else { LogSettings::default() } }
    }

    fn open(&self, shutdown: Shutdown, recovery_point: Option<Offset>) -> OpenLog {
        OpenLog {
            dir: PathBuf::from(DIR),
            topic: "orders".into(),
            partition: PartitionIndex(0),
            topic_id: TOPIC_ID,
            settings: self.settings(),
            shutdown,
            recovery_point,
            log_start: self.has(3).then_some(Offset(self.log_start.into())),
            cleaned: None,
            cache: None,
        }
    }
}

fn run(input: &[u8]) {
    let Some(case) = parse(input) else { return };
    let simulation = Simulation::new(1, SimulationSettings::default());
    let world = simulation.world(NODE, 0);
    let address = simulation.address(NODE, 9092);
    simulation.block_on(NODE, async move {
        let pipe = Pipe::new(&world, address).await;
        open_and_use(&case, &world, pipe).await;
    });
}

async fn write(world: &MemoryWorld, name: &str, content: Vec<u8>) {
    let file = world.open(&Path::new(DIR).join(name), OpenMode::CreateOrEmpty).await.expect("a healthy disk");
    file.write_at(0, vec![content.into()]).await.result.expect("a healthy disk");
}

async fn open_and_use(case: &Case, world: &MemoryWorld, pipe: Pipe) {
    world.create_dir_all(Path::new(DIR)).await.expect("a healthy disk");
    for (name, content) in &case.files {
        write(world, name, content.clone()).await;
    }
    let shutdown = if case.has(1) { Shutdown::Clean } else { Shutdown::Unclean };
    let recovery_point = case.has(2).then_some(Offset(case.recovery_point.into()));
    let Ok((log, recovered)) = Log::open(world, case.open(shutdown, recovery_point)).await else { return };
    assert_eq!((recovered.log_start, recovered.end), (log.start(), log.end()));
    let (mut pipe, found) = read_all(pipe, &log, case).await;
    ask_everything(&log).await;
    let end = log.end();
    let added = append(world, &log).await;
    let Some(added) = added else { return };
    if case.believes_nothing() {
        assert_eq!(log.end(), end.plus(added));
        (pipe, _) = read_all(pipe, &log, case).await;
    }
    if log.close().await.is_err() {
        return;
    }
    let closed_at = log.end();
    drop(log);
    let again = Log::open(world, case.open(Shutdown::Clean, Some(closed_at))).await;
    if case.believes_nothing() {
        let (log, _) = again.unwrap_or_else(|error| panic!("a log that was closed cannot be opened: {error}"));
        assert_eq!(log.end(), closed_at);
        let found_again;
        (pipe, found_again) = read_all(pipe, &log, case).await;
        assert!(found_again.starts_with(&found), "what was served once is served again");
        if case.has(4) && compact(&log).await {
            read_all(pipe, &log, case).await;
            ask_everything(&log).await;
        }
    } else if let Ok((log, _)) = again
        && case.has(4)
    {
        compact(&log).await;
    }
}

/// One pass; answers whether it came to its end.
async fn compact(log: &Log<MemoryWorld>) -> bool {
    let Ok(found) = log.cleanable(log.last_stable(log.end()), NOW).await else { return false };
    let rules = CleanRules {
        key_bytes_max: 1 << 10,
        key_load_factor: 0.9,
        io_bytes_per_second_max: None,
        decompressed_bytes_max: 1 << 20,
        free_bytes_min: 0,
    };
    log.clean(&found, &rules, &Compaction::default()).await.is_ok()
}

/// One batch of two records, written; how many offsets that took, unless the log refuses.
async fn append(world: &MemoryWorld, log: &Log<MemoryWorld>) -> Option<i64> {
    let bytes = seeds::filled(BatchBuilder::new(), 2).build();
    let header = BatchHeader::parse(&bytes).expect("our own batch");
    let epoch = log.latest_epoch().unwrap_or(LeaderEpoch(0)).next();
    log.append_as_leader(&[LeaderBatch { header, bytes }], epoch, NOW).ok()?;
    while log.end() < log.reserved_end() {
        if log.is_failed() {
            return None;
        }
        world.sleep(Duration::from_millis(1)).await;
    }
    log.flush().await.ok()?;
    Some(2)
}

/// Looks that must not panic; what they find is not judged.
async fn ask_everything(log: &Log<MemoryWorld>) {
    let end = log.end();
    for timestamp in [i64::MIN, -1, 0, NOW.get(), i64::MAX] {
        let _ = log.offset_for_timestamp(TimestampMs(timestamp), end).await;
    }
    let _ = log.max_timestamp(end).await;
    let _ = log.aborted_between(log.start(), end).await;
    let _ = (log.last_stable(end), log.active_producers(), log.has_aborted(log.start()));
    for epoch in -1..4 {
        let _ = log.end_offset_for_epoch(LeaderEpoch(epoch));
    }
    for offset in [-1, 0, 1, SECOND, i64::MAX] {
        let _ = log.plan_read(Offset(offset), end, 1).await;
        let _ = log.plan_read(log.start(), Offset(offset), 100).await;
    }
}

/// Reads the log as consumers do, in pieces of every size; answers with its batches' bytes.
async fn read_all(mut pipe: Pipe, log: &Log<MemoryWorld>, case: &Case) -> (Pipe, Vec<Bytes>) {
    let mut found = Vec::new();
    let (mut from, end) = (log.start(), log.end());
    for bytes_max in [1, 100, 500].into_iter().cycle() {
        if from >= end {
            break;
        }
        let range = match log.plan_read(from, end, bytes_max).await {
            Ok(Some(range)) => range,
            Ok(None) => {
                assert!(!case.believes_nothing(), "nothing from {from} on, though the log ends at {end}");
                break;
            }
            Err(error) => {
                assert!(!case.believes_nothing(), "cannot be read from {from} on: {error}");
                break;
            }
        };
        let Some(bytes) = pipe.carry(&range).await else {
            assert!(!case.believes_nothing(), "a range reaches beyond its file");
            break;
        };
        let before = from;
        for batch in batch::batches(&bytes) {
            let Ok(batch) = batch else {
                assert!(!case.believes_nothing(), "a range ends within a batch: {batch:?}");
                break;
            };
            if case.believes_nothing() {
                batch.verify_crc().expect("what recovery left is whole");
                assert!(batch.header.last_offset() >= from, "{:?} at or after {from}", batch.header);
            }
            from = from.max(batch.header.next_offset());
            found.push(batch.bytes);
        }
        if from == before {
            assert!(!case.believes_nothing(), "a read from {from} finds nothing that reaches it");
            break;
        }
    }
    (pipe, found)
}

/// A connection of the simulated machine to itself: file ranges go through it as they go to consumers.
struct Pipe {
    writer: MemoryWriter,
    reader: MemoryReader,
}

impl Pipe {
    async fn new(world: &MemoryWorld, address: SocketAddr) -> Self {
        let listener = world.listen(address).await.expect("a free port");
        let (_, writer) = world.connect(address).await.expect("a listener");
        Self { writer, reader: listener.accept().await.expect("a connection").reader }
    }

    /// The range's bytes, or `None` if the file does not have them.
    async fn carry(&mut self, range: &ReadRange<MemoryWorld>) -> Option<Bytes> {
        self.writer.send_file(&range.file, range.position, range.len, Follows::Nothing).await.ok()?;
        let len = usize::try_from(range.len).ok()?;
        let mut bytes = BytesMut::with_capacity(len);
        while bytes.len() < len {
            assert!(self.reader.read(&mut bytes).await.expect("a healthy network") > 0);
        }
        Some(bytes.freeze())
    }
}

fn files_of_case(flags: u8, recovery_point: u8, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut input = vec![flags, recovery_point, 0];
    for (name, content) in files {
        input.push(which(name));
        input.extend_from_slice(&u16::try_from(content.len()).expect("a small file").to_be_bytes());
        input.extend_from_slice(content);
    }
    input
}

fn all_seeds() -> Vec<Vec<u8>> {
    let part = |base, part| SegmentFile::live(Offset(base), part).name();
    let (first, second) = (seeds::log(0), seeds::log(SECOND));
    let mut index = Vec::new();
    // The second and the fourth batch of the first segment.
    let lengths: Vec<u32> = batch::batches(&Bytes::from(first.clone())).map_while(|batch| Some(batch.ok()?.bytes.len() as u32)).collect();
    OffsetEntry::new(1, 2, lengths[0]).encode(&mut index);
    OffsetEntry::new(4, 6, lengths[..3].iter().sum()).encode(&mut index);
    let mut times = Vec::new();
    TimeEntry { timestamp: TimestampMs(1_700_000_000_002), last: 6 }.encode(&mut times);
    let mut aborted = Vec::new();
    AbortedTransaction { producer_id: ProducerId(9), first: Offset(1), last: Offset(3), last_stable: Offset(4) }.encode(&mut aborted);
    let epochs = checkpoint::encode_epochs(&checkpoint::decode_epochs(b"0\n2\n0 0\n2 4\n").expect("our own text"));
    let (log_name, index_name, times_name) = (part(0, SegmentPart::Log), part(0, SegmentPart::Index), part(0, SegmentPart::TimeIndex));
    let (aborted_name, snapshot_name) = (part(0, SegmentPart::TransactionIndex), part(SECOND, SegmentPart::ProducerSnapshot));
    let (second_name, snapshot) = (part(SECOND, SegmentPart::Log), files::snapshot());
    let identity = identity::encode_partition(TOPIC_ID);
    let whole: [(&str, &[u8]); 8] = [
        (&log_name, &first),
        (&second_name, &second),
        (&index_name, &index),
        (&times_name, &times),
        (&aborted_name, &aborted),
        (&snapshot_name, &snapshot),
        (LEADER_EPOCH_CHECKPOINT, &epochs),
        (PARTITION_METADATA, &identity),
    ];
    let mut seeds = Vec::new();
    // After a crash, after a clean stop, with a recovery point in the middle and at the end, compacted, with small segments.
    for (flags, recovery_point) in [(0, 0), (1, 0), (2, 0), (5, 4), (5, 8), (17, 0), (33, 0), (36, 12)] {
        seeds.push(files_of_case(flags, recovery_point, &whole));
        seeds.push(files_of_case(flags, recovery_point, &whole[..1]));
        seeds.push(files_of_case(flags, recovery_point, &[(&log_name, &first[..first.len() - 20]), (&second_name, &second)]));
        seeds.push(files_of_case(flags, recovery_point, &[(&log_name, &first), (&second_name, &[])]));
    }
    let swap = SegmentFile { base: Offset(0), part: SegmentPart::Log, phase: SegmentPhase::Swap }.name();
    let merged = [&first[..], &second].concat();
    seeds.push(files_of_case(1, 0, &[(&log_name, &first), (&second_name, &second), (&swap, &merged)]));
    seeds.push(files_of_case(5, 12, &[(&log_name, &first), (&second_name, &second), ("recovery-floor-checkpoint", b"0\n1\n3 500\n")]));
    seeds.push(files_of_case(1, 0, &[]));
    seeds
}
