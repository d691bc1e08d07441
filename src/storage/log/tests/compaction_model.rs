//! Compaction against a plain map: random puts, deletes, transactions, truncations, passes with much memory and with little, kills and
//! losses of power in the middle of them; and after each a look at what remains.
//!
//! What remains must be, for every key, the last record that was not aborted, or a tombstone or its absence if the time of that has come;
//! everything behind the point up to which was compacted; each record where it was, in the batch that it was in; and a reader of committed
//! records who goes from the log's start to its end must have, in the end, just what the map has.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use super::compaction::{RULES, Written, records_of, seal};
use super::*;
use crate::io::memory::{Simulation, SimulationSettings};
use crate::metrics::Compaction;
use crate::storage::log::clean::{CleanError, CleanRules};
use crate::storage::producer::{BATCHES_KEPT, ProducerAction, Producers};
use crate::wire::batch::Codec;

const PRODUCERS: usize = 3;
const RETENTION_MS: i64 = 60;

#[derive(Clone, Debug)]
enum Op {
    Put {
        /// Keys, and the length of their values; none is a tombstone.
        records: Vec<(u8, Option<usize>)>,
        producer: Option<usize>,
        transactional: bool,
        codec: u8,
    },
    End {
        producer: usize,
        commit: bool,
    },
    Seal,
    Pause {
        ms: u64,
    },
    Clean {
        keys: u64,
    },
    Truncate {
        share: u8,
    },
    /// What the log directory's checkpoints would say from now on.
    Checkpoint,
    Maintain,
    Reopen,
    Crash {
        power: bool,
        keys: u64,
        micros: u64,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let record = (0..7u8, prop_oneof![1 => Just(None), 4 => (0..90usize).prop_map(Some)]);
    let keys = prop_oneof![2 => Just(1000u64), 1 => 1..6u64];
    prop_oneof![
        10 => (prop::collection::vec(record, 1..6), prop::option::of(0..PRODUCERS), any::<bool>(), 0..5u8)
            .prop_map(|(records, producer, transactional, codec)| Op::Put { records, producer, transactional, codec }),
        3 => (0..PRODUCERS, any::<bool>()).prop_map(|(producer, commit)| Op::End { producer, commit }),
        4 => Just(Op::Seal),
        3 => (1..80u64).prop_map(|ms| Op::Pause { ms }),
        6 => keys.clone().prop_map(|keys| Op::Clean { keys }),
        1 => any::<u8>().prop_map(|share| Op::Truncate { share }),
        3 => Just(Op::Checkpoint),
        1 => Just(Op::Maintain),
        1 => Just(Op::Reopen),
        4 => (any::<bool>(), keys, 0..120_000u64).prop_map(|(power, keys, micros)| Op::Crash { power, keys, micros }),
    ]
}

fn settings() -> impl Strategy<Value = LogSettings> {
    (700..3000u32, 1..300u32, prop_oneof![Just(60_000u64), Just(3)]).prop_map(
        |(segment_bytes, index_interval_bytes, file_delete_delay_ms)| LogSettings {
            segment_bytes,
            index_interval_bytes,
            file_delete_delay_ms,
            compact: true,
            delete_enabled: false,
            delete_retention_ms: RETENTION_MS as u64,
            ..LogSettings::default()
        },
    )
}

/// A batch as it was appended.
#[derive(Clone)]
struct Known {
    batch: batch::Batch,
    records: Vec<Written>,
}

struct Model {
    simulation: Simulation,
    settings: LogSettings,
    world: MemoryWorld,
    log: Log<MemoryWorld>,
    history: Vec<Known>,
    end: Offset,
    clock: i64,
    sequences: [i32; PRODUCERS],
    checkpoint: (Offset, Option<Offset>),
    /// Below it a pass may have dropped something.
    touched: Offset,
    /// Where the log ended when the last pass began. What is dropped is dropped for the sake of what lies below, so that nothing there is
    /// cut off, as nothing is below a high watermark.
    relied_on: Offset,
    /// When a pass first came past the offset.
    passed: BTreeMap<Offset, TimestampMs>,
    /// Producers of whom a loss of power took so many batches that nothing durable was known of them: what they had before may have been
    /// compacted away, until they append again.
    forgotten: BTreeSet<ProducerId>,
}

impl Model {
    fn new(seed: u64, settings: LogSettings) -> Self {
        let mut machine = SimulationSettings { steps_max: 400_000, ..SimulationSettings::default() };
        machine.disk.fill_bytes = FILLS[seed as usize % FILLS.len()];
        let simulation = Simulation::new(seed, machine);
        let world = simulation.world(0, 0);
        let log = simulation.block_on(0, new_log(&world, settings.clone()));
        Self {
            simulation,
            settings,
            world,
            log,
            history: Vec::new(),
            end: Offset(0),
            clock: NOW.get(),
            sequences: [0; PRODUCERS],
            checkpoint: (Offset(0), None),
            touched: Offset(0),
            relied_on: Offset(0),
            passed: BTreeMap::new(),
            forgotten: BTreeSet::new(),
        }
    }

    fn run<T>(&self, work: impl AsyncFnOnce(&Log<MemoryWorld>, &MemoryWorld) -> T) -> T {
        self.simulation.block_on(0, work(&self.log, &self.world))
    }

    fn apply(&mut self, op: &Op) {
        match op.clone() {
            Op::Put { records, producer, transactional, codec } => self.put(&records, producer, transactional, Codec::ALL[codec as usize]),
            Op::End { producer, commit } => {
                let kind = if commit { ControlType::Commit } else { ControlType::Abort };
                let marker =
                    BatchBuilder::transaction_marker(kind, ProducerId(producer as i64), ProducerEpoch(0), 1, TimestampMs(self.clock));
                self.append(marker.build());
            }
            Op::Seal => self.run(async |log, _| seal(log).await),
            Op::Pause { ms } => self.run(async |_, world| world.sleep(Duration::from_millis(ms)).await),
            Op::Clean { keys } => self.clean(keys),
            Op::Truncate { share } => {
                let target = self.relied_on.plus(self.end.since(self.relied_on) * i64::from(share) / 255);
                let end = self.run(async |log, _| log.truncate_to(target).await.unwrap());
                self.cut_to(end);
            }
            Op::Checkpoint => self.write_checkpoint(),
            Op::Maintain => self.run(async |log, world| log.maintain(world.wall()).await.unwrap()),
            Op::Reopen => self.reopen(),
            Op::Crash { power, keys, micros } => self.crash(power, keys, micros),
        }
    }

    fn put(&mut self, records: &[(u8, Option<usize>)], producer: Option<usize>, transactional: bool, codec: Codec) {
        let mut builder = BatchBuilder::new();
        if let Some(at) = producer {
            builder = builder.producer(ProducerId(at as i64), ProducerEpoch(0), self.sequences[at]);
            let is_open = self.replayed().iter().any(|(id, p)| id.get() == at as i64 && p.open_transaction().is_some());
            if transactional || is_open {
                builder = builder.transactional();
            }
            self.sequences[at] += records.len() as i32;
        }
        for (n, (key, len)) in records.iter().enumerate() {
            self.clock += 1;
            let value = len.map(|len| format!("{}.{n} {}", self.end, "v".repeat(len)));
            builder.push(TimestampMs(self.clock), Some(&[b'a' + key]), value.as_deref().map(str::as_bytes), &[]);
        }
        self.append(builder.build_with(codec, None).unwrap());
    }

    fn append(&mut self, bytes: Bytes) {
        let batch = whole(bytes);
        let appended = append(&self.log, batch.clone());
        assert_eq!(appended.base_offset, self.end);
        let header = BatchHeader { base_offset: self.end, leader_epoch: EPOCH, ..batch.header };
        self.forgotten.remove(&header.producer_id);
        self.end = header.next_offset();
        let batch = batch::Batch { header, bytes: batch.bytes };
        self.history.push(Known { records: records_of(&batch), batch });
    }

    fn rules(keys: u64) -> CleanRules {
        // One slot of the map stays free.
        CleanRules { key_bytes_max: 24 * (keys + 1), key_load_factor: 1.0, ..RULES }
    }

    /// As whoever compacts does before each pass.
    fn write_checkpoint(&mut self) {
        self.checkpoint = (self.log.recovery_point(), self.log.cleaned());
    }

    fn clean(&mut self, keys: u64) {
        self.run(async |log, _| written(log).await);
        self.write_checkpoint();
        let point = self.checkpoint.0;
        let (end, upper, began, counts) = self.run(async |log, world| {
            let began = world.wall();
            let counts = Compaction::default();
            let found = log.cleanable(log.last_stable(log.end()), began).await.unwrap();
            let end = if found.dirty_bytes + found.clean_bytes == 0 || point < found.upper {
                found.dirty_from
            } else {
                log.clean(&found, &Self::rules(keys), &counts).await.unwrap()
            };
            (end, found.upper, began, counts)
        });
        assert!(counts.read_bytes.get() >= counts.written_bytes.get() / 2);
        self.on_pass(end, began);
        self.touched = self.touched.max(upper);
        self.relied_on = self.end;
        self.check(Some(end));
    }

    /// A pass that began then came up to `end`.
    fn on_pass(&mut self, end: Offset, began: TimestampMs) {
        let records = self.history.iter().flat_map(|known| &known.records).map(|(offset, ..)| *offset);
        let reached: Vec<Offset> = records.filter(|offset| *offset < end).collect();
        for offset in reached {
            self.passed.entry(offset).or_insert(began);
        }
    }

    fn cut_to(&mut self, end: Offset) {
        self.history.retain(|known| known.batch.header.base_offset < end);
        self.passed.retain(|offset, _| *offset < end);
        self.end = end;
        let producers = self.replayed();
        self.sequences = [0; PRODUCERS];
        for (id, producer) in producers.iter() {
            self.sequences[id.get() as usize] = producer.last_sequence() + 1;
        }
    }

    fn reopen(&mut self) {
        self.run(async |log, world| {
            written(log).await;
            log.close().await.unwrap();
            check_files(world, Path::new(DIR)).await;
        });
        let open = OpenLog { cleaned: self.log.cleaned(), ..open_log(self.settings.clone(), Shutdown::Clean) };
        let (log, recovered) = self.simulation.block_on(0, async { Log::open(&self.world, open).await.unwrap() });
        assert_eq!((recovered.bytes_cut, recovered.segments_removed, recovered.indexes_rebuilt), (0, 0, 0));
        assert_eq!((log.start(), log.end(), log.cleaned()), (Offset(0), self.end, self.log.cleaned()));
        self.log = log;
        self.check(None);
    }

    fn crash(&mut self, power: bool, keys: u64, micros: u64) {
        let (log, world) = (self.log.clone(), self.world.clone());
        let began = world.wall();
        self.write_checkpoint();
        let point = self.checkpoint.0;
        let upper = Rc::new(std::cell::Cell::new(Offset(0)));
        let seen = upper.clone();
        self.simulation.spawn(0, 0, async move {
            let Ok(found) = log.cleanable(log.last_stable(log.end()), world.wall()).await else { return };
            seen.set(found.upper);
            if point < found.upper {
                return;
            }
            // Whatever it answers, the crash comes.
            let _outcome: Result<Offset, CleanError> = log.clean(&found, &Self::rules(keys), &Compaction::default()).await;
        });
        self.simulation.run_for(Duration::from_micros(micros)).unwrap();
        let upper = upper.get();
        let (end, durable, reserved, cleaned) = (self.log.end(), self.log.durable_end(), self.log.reserved_end(), self.log.cleaned());
        assert!(!self.log.is_failed());
        if power {
            self.simulation.power_loss(0)
        } else {
            self.simulation.crash(0)
        }
        self.world = self.simulation.world(0, 0);
        let open = OpenLog {
            recovery_point: Some(self.checkpoint.0),
            cleaned: self.checkpoint.1,
            ..open_log(self.settings.clone(), Shutdown::Unclean)
        };
        let (log, recovered) = self.simulation.block_on(0, async { Log::open(&self.world, open).await.unwrap() });
        self.log = log;
        let promised = if power { durable } else { end };
        assert!(recovered.end >= promised, "promised {promised}, recovered {recovered:?}");
        assert_eq!(recovered.log_start, Offset(0));
        // What was not promised may be lost in the middle, and what comes behind it goes too.
        assert!(recovered.segments_removed == 0 || promised < reserved, "something is missing between two segments: {recovered:?}");
        self.touched = self.touched.max(upper).max(cleaned.unwrap_or_default()).min(recovered.end);
        for producer in (0..PRODUCERS).map(|producer| ProducerId(producer as i64)) {
            let lost = self.history.iter().map(|known| &known.batch.header).filter(|header| header.base_offset >= recovered.end);
            if lost.filter(|header| header.producer_id == producer).count() >= BATCHES_KEPT {
                self.forgotten.insert(producer);
            }
        }
        self.relied_on = recovered.end;
        // It may have come so far.
        self.on_pass(upper, began);
        self.cut_to(recovered.end);
        self.check(None);
        self.run(async |log, world| {
            let names = world.list_dir(Path::new(DIR)).await.unwrap();
            assert!(!names.iter().any(|entry| entry.name.ends_with(".cleaned") || entry.name.ends_with(".swap")), "{names:?}");
            assert_eq!(log.recovery_point(), log.end());
        });
    }

    fn replayed(&self) -> Producers {
        let mut producers = Producers::default();
        for known in &self.history {
            if let Some(action) = append::producer_action(&known.batch.header, &known.batch.bytes) {
                producers.on_batch(&action, known.batch.header.base_offset, known.batch.header.max_timestamp);
            }
        }
        producers
    }

    /// Offsets of records in transactions that were aborted, and of those in transactions that are not ended.
    fn fates(&self) -> (BTreeSet<Offset>, BTreeSet<Offset>) {
        let (mut aborted, mut open): (_, BTreeMap<ProducerId, Vec<Offset>>) = (BTreeSet::new(), BTreeMap::new());
        for known in &self.history {
            let header = &known.batch.header;
            match append::producer_action(header, &known.batch.bytes) {
                Some(ProducerAction::Data(data)) if data.transactional => {
                    open.entry(header.producer_id).or_default().extend(known.records.iter().map(|(offset, ..)| *offset));
                }
                Some(ProducerAction::Marker(marker)) => {
                    let ended = open.remove(&header.producer_id).unwrap_or_default();
                    if marker.end == crate::storage::producer::TransactionEnd::Abort {
                        aborted.extend(ended);
                    }
                }
                _ => {}
            }
        }
        (aborted, open.into_values().flatten().collect())
    }

    /// Looks at everything. `just_cleaned`: a pass has just come so far.
    fn check(&self, just_cleaned: Option<Offset>) {
        let (start, end) = (self.log.start(), self.log.end());
        assert_eq!((start, end), (Offset(0), self.end));
        let all = Bytes::from(self.run(async |log, _| read_all(log, start, end, 500).await));
        let remaining: Vec<batch::Batch> = batch::batches(&all).map(Result::unwrap).collect();
        let (aborted, open) = self.fates();
        let kept = self.check_batches(&remaining);
        let cleaned = self.log.cleaned().unwrap_or_default();
        let now = self.world.wall();
        for (offset, _, key, value) in self.history.iter().flat_map(|known| &known.records) {
            let Some(key) = key.as_ref().filter(|_| !kept.contains(offset)) else { continue };
            if self.is_control(*offset) || aborted.contains(offset) {
                continue;
            }
            let later = |from: Offset| self.committed_after(key, from, &aborted, &open);
            let expired = value.is_none() && self.passed.get(offset).is_some_and(|passed| passed.get() + RETENTION_MS <= now.get());
            assert!(later(*offset) || expired, "{offset}: nothing came after it, and it is gone");
            assert!(*offset < self.touched, "{offset}: gone, though it lies behind {}", self.touched);
        }
        if let Some(end) = just_cleaned {
            assert!(cleaned >= end || end == Offset(0) || remaining.is_empty(), "{cleaned} {end}");
            self.check_compact(&remaining, end, &aborted);
        }
        self.check_reader(&remaining, &aborted, &open);
        let replayed: BTreeMap<_, _> = self.replayed().iter().map(|(id, p)| (id, (p.last_sequence(), p.open_transaction()))).collect();
        let known: BTreeMap<_, _> = self.log.active_producers().iter().map(|p| (p.id, (p.last_sequence, p.open_transaction))).collect();
        let remembered = |states: BTreeMap<ProducerId, _>| -> BTreeMap<_, _> {
            states.into_iter().filter(|(id, _)| !self.forgotten.contains(id)).collect()
        };
        assert_eq!(remembered(known), remembered(replayed));
    }

    fn is_control(&self, offset: Offset) -> bool {
        let holds = |known: &&Known| known.batch.header.base_offset <= offset && offset <= known.batch.header.last_offset();
        self.history.iter().find(holds).is_some_and(|known| known.batch.header.is_control())
    }

    fn committed_after(&self, key: &[u8], offset: Offset, aborted: &BTreeSet<Offset>, open: &BTreeSet<Offset>) -> bool {
        let records = self.history.iter().filter(|known| !known.batch.header.is_control()).flat_map(|known| &known.records);
        let counts = |at: &Offset| *at > offset && !aborted.contains(at) && !open.contains(at);
        records.into_iter().any(|(at, _, other, _)| counts(at) && other.as_deref() == Some(key))
    }

    /// Every batch that remains is one that was appended, or what is left of it. Answers with the offsets of the records.
    fn check_batches(&self, remaining: &[batch::Batch]) -> BTreeSet<Offset> {
        let mut kept = BTreeSet::new();
        for batch in remaining {
            let header = &batch.header;
            let known = self.history.iter().find(|known| known.batch.header.base_offset == header.base_offset);
            let known = known.unwrap_or_else(|| panic!("no batch began at {}", header.base_offset));
            let was = &known.batch.header;
            batch.verify_crc().unwrap();
            assert_eq!(header.last_offset(), was.last_offset());
            assert_eq!(
                (header.producer_id, header.producer_epoch, header.base_sequence),
                (was.producer_id, was.producer_epoch, was.base_sequence)
            );
            assert_eq!((header.is_control(), header.is_transactional()), (was.is_control(), was.is_transactional()));
            assert_eq!(header.leader_epoch, EPOCH);
            assert!(header.count == 0 || header.codec == was.codec);
            for record in records_of(batch) {
                assert!(known.records.contains(&record), "{record:?} is not one of its batch");
                kept.insert(record.0);
            }
            if header.count == was.count && !header.has_delete_horizon() {
                assert_eq!(batch.bytes[batch::PREFIX_LEN..], known.batch.bytes[batch::PREFIX_LEN..], "all of it is kept as it was");
            }
        }
        kept
    }

    /// Below `end` each key is there once at most, and nothing of what was aborted.
    fn check_compact(&self, remaining: &[batch::Batch], end: Offset, aborted: &BTreeSet<Offset>) {
        let mut keys = BTreeSet::new();
        for batch in remaining.iter().filter(|batch| !batch.header.is_control()) {
            for (offset, _, key, _) in records_of(batch).into_iter().filter(|(offset, ..)| *offset < end) {
                assert!(!aborted.contains(&offset), "{offset} was aborted");
                assert!(keys.insert(key.clone()), "{offset}: {key:?} is there twice below {end}");
            }
        }
    }

    /// Reads as a client does that wants committed records only.
    fn check_reader(&self, remaining: &[batch::Batch], aborted: &BTreeSet<Offset>, open: &BTreeSet<Offset>) {
        let stable = self.log.last_stable(self.log.end());
        let expected_stable = self.replayed().last_stable(self.end);
        assert_eq!(stable, expected_stable);
        let mut told = self.run(async |log, _| log.aborted_between(Offset(0), stable).await.unwrap());
        told.sort_by_key(|(_, first)| std::cmp::Reverse(*first));
        let mut skipped = BTreeSet::new();
        let mut read = BTreeMap::new();
        for batch in remaining.iter().filter(|batch| batch.header.last_offset() < stable) {
            let header = &batch.header;
            while let Some((producer, _)) = told.pop_if(|(_, first)| *first <= header.last_offset()) {
                skipped.insert(producer);
            }
            if header.is_control() {
                skipped.remove(&header.producer_id);
            } else if !header.is_transactional() || !skipped.contains(&header.producer_id) {
                for (_, _, key, value) in records_of(batch) {
                    read.insert(key, value);
                }
            }
        }
        read.retain(|_, value| value.is_some());
        let mut expected = BTreeMap::new();
        let stable_batches =
            self.history.iter().filter(|known| known.batch.header.last_offset() < stable && !known.batch.header.is_control());
        for (offset, _, key, value) in stable_batches.flat_map(|known| &known.records) {
            if !aborted.contains(offset) && !open.contains(offset) {
                expected.insert(key.clone(), value.clone());
            }
        }
        expected.retain(|_, value| value.is_some());
        assert_eq!(read, expected);
    }
}

fn follow(seed: u64, settings: LogSettings, ops: &[Op]) {
    let mut model = Model::new(seed, settings);
    ops.iter().for_each(|op| model.apply(op));
    model.run(async |log, _| seal(log).await);
    model.check(None);
    model.clean(1000);
    model.reopen();
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_compacted_log_is_a_map(seed in any::<u64>(), settings in settings(), ops in prop::collection::vec(op(), 1..60)) {
        follow(seed, settings, &ops);
    }
}

/// Breaking any rule of compaction is noticed here.
#[cfg(feature = "planted-bugs")]
#[test]
fn every_planted_bug_of_compaction_is_found() {
    use crate::storage::planted::{self, Bug};
    use proptest::test_runner::TestRunner;

    for bug in [Bug::TombstoneEarly, Bug::LastOffsetLost, Bug::CleanedPastDirty, Bug::SwapUnsynced, Bug::NoDirectorySync] {
        let config = ProptestConfig { cases: 5000, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() };
        let outcome =
            TestRunner::new(config).run(&(any::<u64>(), settings(), prop::collection::vec(op(), 1..60)), |(seed, settings, ops)| {
                planted::plant(Some(bug));
                follow(seed, settings, &ops);
                Ok(())
            });
        planted::plant(None);
        assert!(outcome.is_err(), "{bug:?} went unnoticed");
    }
}
