//! The log against a list of batches: random work, faults of the disk, kills and losses of power, and after each a look at everything
//! that can be asked.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::io::memory::{Simulation, SimulationSettings};
use crate::storage::epochs::Epochs;
use crate::storage::producer::{ProducerAction, Producers};

const PRODUCERS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    Append {
        sizes: Vec<(i32, usize)>,
        producer: Option<usize>,
        transactional: bool,
    },
    /// `gap` offsets are missing before the first batch, as after compaction.
    AppendAsFollower {
        sizes: Vec<(i32, usize)>,
        gap: i64,
    },
    EndTransaction {
        producer: usize,
        commit: bool,
    },
    NewEpoch,
    Settle,
    Pause {
        micros: u64,
    },
    Flush,
    /// How far the log is written.
    NoteWritten,
    Maintain,
    Retain {
        share: u8,
    },
    AdvanceStart {
        share: u8,
    },
    Truncate {
        share: u8,
    },
    RestartAt {
        beyond: i64,
    },
    /// What the log directory's checkpoints would say from now on.
    Checkpoint,
    Read {
        from: u8,
        below: u8,
        max_bytes: u64,
    },
    Reopen,
    Crash {
        kind: CrashKind,
        during: During,
        micros: u64,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum CrashKind {
    Kill,
    Power,
}

/// What is under way when the node crashes.
#[derive(Clone, Copy, Debug)]
enum During {
    Nothing,
    Flush,
    NoteWritten,
    /// Both at once, as it happens behind writers.
    FlushAndNote,
    Maintain,
    Retain,
    Truncate(u8),
    Close,
}

fn sizes() -> impl Strategy<Value = Vec<(i32, usize)>> {
    prop::collection::vec((1..4i32, prop_oneof![4 => 1..120usize, 1 => 300..700usize]), 1..8)
}

fn op() -> impl Strategy<Value = Op> {
    let during = prop_oneof![
        2 => Just(During::Nothing),
        2 => Just(During::Flush),
        2 => Just(During::NoteWritten),
        1 => Just(During::FlushAndNote),
        1 => Just(During::Maintain),
        1 => Just(During::Retain),
        2 => any::<u8>().prop_map(During::Truncate),
        2 => Just(During::Close),
    ];
    prop_oneof![
        10 => (sizes(), prop::option::of(0..PRODUCERS), any::<bool>())
            .prop_map(|(sizes, producer, transactional)| Op::Append { sizes, producer, transactional }),
        3 => (sizes(), prop_oneof![2 => Just(0), 1 => 1..30i64]).prop_map(|(sizes, gap)| Op::AppendAsFollower { sizes, gap }),
        3 => (0..PRODUCERS, any::<bool>()).prop_map(|(producer, commit)| Op::EndTransaction { producer, commit }),
        1 => Just(Op::NewEpoch),
        4 => Just(Op::Settle),
        2 => (1..20_000u64).prop_map(|micros| Op::Pause { micros }),
        2 => Just(Op::Flush),
        3 => Just(Op::NoteWritten),
        2 => Just(Op::Maintain),
        1 => any::<u8>().prop_map(|share| Op::Retain { share }),
        1 => any::<u8>().prop_map(|share| Op::AdvanceStart { share }),
        1 => any::<u8>().prop_map(|share| Op::Truncate { share }),
        1 => (0..50i64).prop_map(|beyond| Op::RestartAt { beyond }),
        3 => Just(Op::Checkpoint),
        4 => (any::<u8>(), any::<u8>(), 1..3000u64).prop_map(|(from, below, max_bytes)| Op::Read { from, below, max_bytes }),
        2 => Just(Op::Reopen),
        3 => (prop_oneof![Just(CrashKind::Kill), Just(CrashKind::Power)], during, 0..60_000u64)
            .prop_map(|(kind, during, micros)| Op::Crash { kind, during, micros }),
    ]
}

fn settings() -> impl Strategy<Value = LogSettings> {
    (2400..8000u32, 50..400u32, 100..2000usize, prop_oneof![3 => Just(u64::MAX), 1 => 1..20u64], 1..5usize).prop_map(
        |(segment_bytes, index_interval_bytes, append_window_bytes, flush_messages, appends_in_flight_max)| LogSettings {
            segment_bytes,
            index_interval_bytes,
            append_window_bytes,
            flush_messages,
            appends_in_flight_max,
            retention_bytes: Some(15_000),
            retention_ms: None,
            recovery_bytes_max: 3000,
            file_delete_delay_ms: 5,
            ..LogSettings::default()
        },
    )
}

/// A batch that was appended.
#[derive(Clone)]
struct Known {
    header: BatchHeader,
    bytes: Vec<u8>,
}

async fn cache_of(world: &MemoryWorld) -> Option<Rc<str>> {
    world.cache_identity(Path::new(DIR)).await.unwrap().map(Rc::from)
}

struct Model {
    simulation: Simulation,
    settings: LogSettings,
    world: MemoryWorld,
    log: Log<MemoryWorld>,
    /// Everything appended since the log began, in order; what retention deleted stays.
    history: Vec<Known>,
    begin: Offset,
    end: Offset,
    epoch: i32,
    clock: i64,
    sequences: [i32; PRODUCERS],
    checkpoint: (Offset, Offset),
    start_max: Offset,
    /// Where the log was cut at or below its start, if it was: epochs that began before may be forgotten, as no record of them is left.
    emptied_at: Offset,
}

impl Model {
    fn new(seed: u64, settings: LogSettings) -> Self {
        let mut machine = SimulationSettings { steps_max: 100_000, ..SimulationSettings::default() };
        machine.disk.fill_bytes = FILLS[seed as usize % FILLS.len()];
        let simulation = Simulation::new(seed, machine);
        let world = simulation.world(0, 0);
        let log = simulation.block_on(0, async {
            world.create_dir_all(Path::new("/logs")).await.unwrap();
            world.sync_dir(Path::new("/")).await.unwrap();
            let open = OpenLog { cache: cache_of(&world).await, ..open_log(settings.clone(), Shutdown::Clean) };
            Log::open(&world, open).await.unwrap().0
        });
        Self {
            simulation,
            settings,
            world,
            log,
            history: Vec::new(),
            begin: Offset(0),
            end: Offset(0),
            epoch: 0,
            clock: NOW.get(),
            sequences: [0; PRODUCERS],
            checkpoint: (Offset(0), Offset(0)),
            start_max: Offset(0),
            emptied_at: Offset(0),
        }
    }

    fn cache(&self) -> Option<Rc<str>> {
        self.simulation.block_on(0, cache_of(&self.world))
    }

    /// Where the last batch ends.
    fn last_end(&self) -> Offset {
        self.history.last().map_or(self.begin, |known| known.header.next_offset())
    }

    fn at_share(&self, share: u8) -> Offset {
        let (start, end) = (self.log.start(), self.log.end());
        start.plus(end.since(start) * i64::from(share) / 255)
    }

    /// Like [`Model::at_share`], but such that something stays that could be read.
    fn truncation_at(&self, share: u8) -> Offset {
        let target = self.at_share(share);
        if self.batches_below(target) >= self.log.start() { target } else { self.log.end() }
    }

    /// The end of the last batch that is wholly below `target`.
    fn batches_below(&self, target: Offset) -> Offset {
        let ends = self.history.iter().map(|known| known.header.next_offset());
        ends.filter(|next| *next <= target).max().unwrap_or(self.begin)
    }

    fn build(&mut self, (records, len): (i32, usize), builder: BatchBuilder) -> LeaderBatch {
        let mut builder = builder;
        for _ in 0..records {
            // Now and then time stands still or goes back.
            self.clock += (self.clock * 7 + len as i64) % 5 - 1;
            builder.push(TimestampMs(self.clock), None, Some(&vec![len as u8; len]), &[]);
        }
        whole(builder.build())
    }

    fn note(&mut self, bytes: Vec<u8>) {
        let header = BatchHeader::parse(&bytes).unwrap();
        assert!(header.base_offset >= self.end);
        self.end = header.next_offset();
        self.history.push(Known { header, bytes });
    }

    fn append(&mut self, batch: LeaderBatch) {
        let appended = self.log.append_as_leader(std::slice::from_ref(&batch), LeaderEpoch(self.epoch), TimestampMs(self.clock)).unwrap();
        assert_eq!(appended.base_offset, self.end);
        let mut bytes = batch.bytes.to_vec();
        bytes[..16].copy_from_slice(&batch::patch_prefix(appended.base_offset, batch.header.batch_length, LeaderEpoch(self.epoch)));
        self.note(bytes);
    }

    fn apply(&mut self, op: &Op) {
        self.start_max = self.start_max.max(self.log.start());
        match op.clone() {
            Op::Append { sizes, producer, transactional } => {
                for (records, len) in sizes {
                    let mut builder = BatchBuilder::new();
                    if let Some(at) = producer {
                        builder = builder.producer(ProducerId(at as i64), ProducerEpoch(0), self.sequences[at]);
                        // A producer that has a transaction open stays in it.
                        if transactional || self.replayed().iter().any(|(id, p)| id.get() == at as i64 && p.open_transaction().is_some()) {
                            builder = builder.transactional();
                        }
                        self.sequences[at] += records;
                    }
                    let batch = self.build((records, len), builder);
                    assert_eq!(self.log.check_producer(&batch.header), Ok(ProducerCheck::New));
                    self.append(batch);
                }
            }
            Op::AppendAsFollower { sizes, gap } => {
                let mut run = Vec::new();
                let mut base = self.end.plus(gap);
                for size in sizes {
                    let builder = BatchBuilder::new().base_offset(base).leader_epoch(LeaderEpoch(self.epoch));
                    let batch = self.build(size, builder);
                    base = batch.header.next_offset();
                    run.extend_from_slice(&batch.bytes);
                    self.note(batch.bytes.to_vec());
                }
                let appended = self.log.append_as_follower(Bytes::from(run), TimestampMs(self.clock)).unwrap();
                assert_eq!(appended.last_offset.plus(1), self.end);
            }
            Op::EndTransaction { producer, commit } => {
                let control = if commit { ControlType::Commit } else { ControlType::Abort };
                let (id, at) = (ProducerId(producer as i64), TimestampMs(self.clock));
                self.append(whole(BatchBuilder::transaction_marker(control, id, ProducerEpoch(0), 1, at).build()));
            }
            Op::NewEpoch => self.epoch += 1,
            Op::Settle => self.run(async |log, _| written(log).await),
            Op::Pause { micros } => self.run(async |_, world| world.sleep(Duration::from_micros(micros)).await),
            Op::Flush => self.run(async |log, _| {
                let flushed = log.flush().await.unwrap();
                assert!(log.recovery_point() >= flushed && log.durable_end() >= flushed);
            }),
            Op::NoteWritten => self.run(async |log, _| log.note_written().await.unwrap()),
            Op::Maintain => self.run(async |log, world| log.maintain(world.wall()).await.unwrap()),
            Op::Retain { share } => {
                let high_watermark = self.at_share(share);
                self.run(async |log, world| _ = log.retain(world.wall(), high_watermark).await.unwrap());
                assert!(self.log.start() <= high_watermark.max(self.log.start()));
            }
            Op::AdvanceStart { share } => drop(self.log.advance_start(self.at_share(share))),
            Op::Truncate { share } => {
                let target = self.truncation_at(share);
                let end = self.simulation.block_on(0, async { self.log.truncate_to(target).await.unwrap() });
                let expected = if target < self.end { self.batches_below(target) } else { self.end };
                assert_eq!(end, expected, "where the last batch that stays ends");
                self.cut_to(end);
            }
            Op::RestartAt { beyond } => {
                let offset = self.end.plus(beyond);
                self.run(async |log, _| log.restart_at(offset).await.unwrap());
                self.history.clear();
                self.begin = offset;
                self.end = offset;
                self.sequences = [0; PRODUCERS];
            }
            Op::Checkpoint => self.checkpoint = (self.log.recovery_point(), self.log.start()),
            Op::Read { from, below, max_bytes } => self.check_read(from, below, max_bytes),
            Op::Reopen => self.reopen(),
            Op::Crash { kind, during, micros } => self.crash(kind, during, micros),
        }
    }

    fn run(&self, work: impl AsyncFnOnce(&Log<MemoryWorld>, &MemoryWorld)) {
        self.simulation.block_on(0, work(&self.log, &self.world));
    }

    fn cut_to(&mut self, end: Offset) {
        self.history.retain(|known| known.header.base_offset < end);
        self.end = end;
        if end <= self.start_max {
            self.emptied_at = end;
        }
        let producers = self.replayed();
        self.sequences = [0; PRODUCERS];
        for (id, producer) in producers.iter() {
            self.sequences[id.get() as usize] = producer.last_sequence() + 1;
        }
    }

    fn reopen(&mut self) {
        self.run(async |log, world| {
            log.close().await.unwrap();
            check_files(world, Path::new(DIR)).await;
        });
        assert_eq!(self.log.recovery_point(), self.end, "all of it is flushed");
        let open = OpenLog {
            recovery_point: Some(self.checkpoint.0),
            log_start: Some(self.log.start()),
            cache: self.cache(),
            ..open_log(self.settings.clone(), Shutdown::Clean)
        };
        let (log, recovered) = self.simulation.block_on(0, async { Log::open(&self.world, open).await.unwrap() });
        assert_eq!((recovered.bytes_cut, recovered.segments_removed, recovered.indexes_rebuilt), (0, 0, 0));
        assert_eq!((log.start(), log.end()), (self.log.start(), self.end));
        self.log = log;
        self.check_all();
    }

    fn crash(&mut self, kind: CrashKind, during: During, micros: u64) {
        let (log, world) = (self.log.clone(), self.world.clone());
        let truncated = match during {
            During::Truncate(share) => Some(self.truncation_at(share)),
            _ => None,
        };
        self.simulation.spawn(0, 0, async move {
            // Whatever it answers, the crash comes.
            match during {
                During::Nothing => {}
                During::Flush => drop(log.flush().await),
                During::NoteWritten => drop(log.note_written().await),
                During::FlushAndNote => drop(futures_lite::future::zip(log.flush(), log.note_written()).await),
                During::Maintain => drop(log.maintain(world.wall()).await),
                During::Retain => drop(log.retain(world.wall(), log.end()).await),
                During::Truncate(_) => drop(log.truncate_to(truncated.unwrap()).await),
                During::Close => drop(log.close().await),
            }
        });
        self.simulation.run_for(Duration::from_micros(micros)).unwrap();
        let (end, durable, start) = (self.log.end(), self.log.durable_end(), self.log.start());
        match kind {
            CrashKind::Kill => self.simulation.crash(0),
            CrashKind::Power => self.simulation.power_loss(0),
        }
        self.world = self.simulation.world(0, 0);
        let open = OpenLog {
            recovery_point: Some(self.checkpoint.0),
            log_start: Some(self.checkpoint.1),
            cache: self.cache(),
            ..open_log(self.settings.clone(), Shutdown::Unclean)
        };
        let (log, recovered) = self.simulation.block_on(0, async { Log::open(&self.world, open).await.unwrap() });
        self.log = log;
        let promised = match (kind, truncated) {
            (_, Some(target)) => {
                let boundary = self.batches_below(target);
                if kind == CrashKind::Kill { boundary.min(end) } else { boundary.min(durable) }
            }
            (CrashKind::Kill, None) => end,
            (CrashKind::Power, None) => durable,
        };
        let promised = self.batches_below(promised);
        assert!(recovered.end >= promised, "promised {promised}, recovered {recovered:?}");
        assert!(recovered.end <= self.end);
        assert!(recovered.log_start <= start && recovered.log_start >= self.checkpoint.1.min(start), "{recovered:?}, start {start}");
        if kind == CrashKind::Power || self.settings.flushes_appends() {
            assert_eq!(self.log.recovery_point(), self.log.end());
        }
        if recovered.begun_anew {
            assert_eq!(recovered.end, self.checkpoint.1);
            self.history.clear();
            self.begin = recovered.end;
        }
        self.cut_to(recovered.end);
        assert_eq!(self.last_end(), recovered.end, "a recovery ends between batches");
        self.check_all();
    }

    /// The epochs of the batches at or above `from`, as a log that ends at `end` has them.
    fn epochs_from(&self, from: Offset, end: Offset) -> Epochs {
        let mut epochs = Epochs::default();
        for known in self.history.iter().filter(|known| known.header.base_offset >= from) {
            epochs.assign(known.header.leader_epoch, known.header.base_offset);
        }
        epochs.truncate_start(self.start_max);
        // An epoch without a batch is not remembered over a restart.
        epochs.truncate_end(end);
        epochs
    }

    /// Each epoch with the first offset of a batch that it reaches: in a gap there is nothing to tell where one began.
    fn reigns(&self, epochs: &Epochs) -> Vec<(LeaderEpoch, Offset)> {
        let first_from = |start: Offset| {
            let holder = self.history.iter().find(|known| known.header.next_offset() > start);
            holder.map_or(start, |known| known.header.base_offset.max(start))
        };
        let mut reigns: Vec<_> = epochs.entries().iter().map(|entry| (entry.epoch, first_from(entry.start))).collect();
        // Of two that reach the same batch, the first has none.
        reigns.reverse();
        reigns.dedup_by_key(|(_, first)| *first);
        reigns
    }

    /// The producers' state as all batches ever make it.
    fn replayed(&self) -> Producers {
        let mut producers = Producers::default();
        for (action, known) in self.actions() {
            producers.on_batch(&action, known.header.base_offset, known.header.max_timestamp);
        }
        producers
    }

    fn actions(&self) -> impl Iterator<Item = (ProducerAction, &Known)> {
        self.history.iter().filter_map(|known| Some((append::producer_action(&known.header, &known.bytes)?, known)))
    }

    fn check_read(&mut self, from: u8, below: u8, max_bytes: u64) {
        let (from, below) = (self.at_share(from), self.at_share(below));
        let planned = matches!(self.log.try_plan_read(from, below, max_bytes), Planned::Ready(_));
        let read = self.simulation.block_on(0, async { read_all(&self.log, from, below, max_bytes).await });
        assert_eq!(read, self.expected(from, below));
        assert!(!planned || !read.is_empty());
    }

    fn expected(&self, from: Offset, below: Offset) -> Vec<u8> {
        let within = |known: &&Known| known.header.last_offset() >= from && known.header.last_offset() < below;
        let batches = self.history.iter().filter(within).map(|known| &known.bytes[..]).collect::<Vec<_>>();
        batches.concat()
    }

    /// Asks everything, when all that is in the model is written.
    fn check_all(&mut self) {
        let (start, end) = (self.log.start(), self.log.end());
        assert_eq!(end, self.end);
        // A crash may bring the log's start back to where a checkpoint has it, but not the epochs below.
        self.start_max = self.start_max.max(start);
        let mut known = self.log.state().epochs.clone();
        known.truncate_start(self.start_max);
        known.truncate_end(end);
        let expected = [Offset(0), self.emptied_at].map(|from| self.epochs_from(from, end));
        let told = self.reigns(&known);
        let is_told = expected.iter().any(|expected| self.reigns(expected) == told);
        assert!(is_told, "start {start}, start_max {}, {known:?}, expected {expected:?}", self.start_max);
        let mut producers = self.replayed();
        assert_eq!(self.log.last_stable(end), producers.last_stable(end).max(start));
        let mut replayed: Vec<_> = producers.iter().map(|(id, p)| (id, p.last_sequence(), p.open_transaction())).collect();
        replayed.sort();
        let mut known: Vec<_> = self.log.active_producers().iter().map(|p| (p.id, p.last_sequence, p.open_transaction)).collect();
        known.sort();
        assert_eq!(known, replayed);
        self.check_aborted(start, end);
        self.check_times(start, end);
        assert_eq!(self.simulation.block_on(0, async { read_all(&self.log, start, end, 900).await }), self.expected(start, end));
    }

    fn check_aborted(&self, start: Offset, end: Offset) {
        let mut producers = Producers::default();
        let mut expected = BTreeSet::new();
        for (action, known) in self.actions() {
            if let Some(aborted) = producers.on_batch(&action, known.header.base_offset, known.header.max_timestamp)
                && aborted.last >= start
            {
                expected.insert((aborted.producer_id, aborted.first));
            }
        }
        let told = self.simulation.block_on(0, async { self.log.aborted_between(start, end).await.unwrap() });
        assert_eq!(told.iter().copied().collect::<BTreeSet<_>>(), expected);
        assert_eq!(told.len(), expected.len(), "each once");
    }

    fn check_times(&self, start: Offset, end: Offset) {
        let mut records = Vec::new();
        for known in self.history.iter().filter(|known| known.header.last_offset() >= start) {
            for record in crate::wire::record::records(&known.bytes[batch::RECORDS_AT..], known.header.count) {
                let record = record.unwrap();
                let offset = known.header.base_offset.plus(record.offset_delta.into());
                records.push((known.header.base_timestamp.get() + record.timestamp_delta, offset));
            }
        }
        for target in [NOW.get(), self.clock - 20, self.clock - 3, self.clock] {
            let expected = records.iter().find(|(at, offset)| *at >= target && *offset >= start);
            let found = self.simulation.block_on(0, async { self.log.offset_for_timestamp(TimestampMs(target), end).await.unwrap() });
            assert_eq!(found.map(|(at, offset, _)| (at.get(), offset)), expected.copied(), "target {target}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_a_list_of_batches(seed in any::<u64>(), settings in settings(), ops in prop::collection::vec(op(), 1..60)) {
        let mut model = Model::new(seed, settings);
        for op in &ops {
            model.apply(op);
        }
        model.run(async |log, _| written(log).await);
        model.check_all();
        model.reopen();
    }
}

/// Breaking any rule of the log is noticed here.
#[cfg(feature = "planted-bugs")]
#[test]
fn every_planted_bug_is_found() {
    use crate::storage::planted::{self, Bug};
    use proptest::test_runner::TestRunner;

    for bug in [
        Bug::AckBeforeCompletion,
        Bug::EndOverHole,
        Bug::TornTailServed,
        Bug::NoDirectorySync,
        Bug::IndexAheadOfLog,
        Bug::TruncatePastHighWatermark,
        Bug::RecoveryPointAheadOfFlush,
    ] {
        let config = ProptestConfig { cases: 5000, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() };
        let outcome =
            TestRunner::new(config).run(&(any::<u64>(), settings(), prop::collection::vec(op(), 1..60)), |(seed, settings, ops)| {
                planted::plant(Some(bug));
                let mut model = Model::new(seed, settings);
                ops.iter().for_each(|op| model.apply(op));
                model.run(async |log, _| written(log).await);
                model.check_all();
                model.reopen();
                Ok(())
            });
        planted::plant(None);
        assert!(outcome.is_err(), "{bug:?} went unnoticed");
    }
}
