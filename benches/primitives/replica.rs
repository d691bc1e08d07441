//! One replica and its log, on the world in memory: what an append and a planned read cost beside the disk, and who waits for them.
//!
//! The simulator's own work stays outside of what is measured, but for the task in which a queued write begins.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use ottla::io::World;
use ottla::io::memory::{MemoryWorld, Simulation, SimulationSettings};
use ottla::partition::{AckListener, Acked, Acks, Directory, Isolation, Planned, ReadRequest, ReaderId, Refusal, Replica, WakeReaders};
use ottla::storage::{LeaderBatch, Log, LogSettings, OpenLog, OwnedTurn, Shutdown};
use ottla::types::{
    LeaderEpoch, Offset, PartitionIndex, ProducerEpoch, ProducerId, ShardId, TimestampMs, TopicId, TopicName, TopicPartition,
};
use ottla::wire::batch::{BatchHeader, Codec};

use super::batches::{NOW, batch_of};
use super::primitive::{Primitive, Work, repeatable};

const TOPIC: TopicId = TopicId::from_bits(7 << 70);
const EPOCH: LeaderEpoch = LeaderEpoch(3);

/// Appends, readers or wakes of one run: enough to make the clock's own cost small.
const EACH: usize = 64;

/// A log is begun anew when it has grown to this: the simulated disk keeps everything.
const LOG_BYTES_MAX: u64 = 16 << 20;

/// Counts those it is to wake.
#[derive(Default)]
struct Woken(Cell<u64>);

impl WakeReaders for Woken {
    fn wake(&self, reader: ReaderId) {
        self.0.set(self.0.get() + reader.number);
    }
}

/// A directory that never fills.
struct Roomy;

impl Directory for Roomy {
    fn zeros_turn(&self) -> Option<OwnedTurn> {
        None
    }

    fn has_space_ahead(&self) -> bool {
        true
    }

    fn has_room(&self) -> bool {
        true
    }

    fn on_appended(&self, _bytes: u64) {}

    fn on_unflushed(&self, _partition: TopicPartition) {}

    fn on_failed(&self, why: &str) {
        panic!("{why}");
    }

    fn on_log_failed(&self, partition: TopicPartition, why: &str) {
        panic!("{partition:?}: {why}");
    }
}

/// Counts what is acknowledged.
#[derive(Default)]
struct Settled(Cell<usize>);

impl AckListener for Settled {
    fn on_settled(&self, _index: usize, result: Result<Acked, Refusal>) {
        result.expect("nothing refuses these batches");
        self.0.set(self.0.get() + 1);
    }
}

/// A replica that leads, in a simulation of its own.
struct Leading {
    replica: Rc<Replica<MemoryWorld>>,
    simulation: Simulation,
}

impl Leading {
    fn begin(settings: LogSettings) -> Self {
        let simulation = Simulation::new(1, SimulationSettings { steps_max: u64::MAX, ..SimulationSettings::default() });
        let world = simulation.world(0, 0);
        let open = OpenLog {
            dir: PathBuf::from("/data/orders-0"),
            topic: "orders".into(),
            partition: PartitionIndex(0),
            topic_id: TOPIC,
            settings,
            shutdown: Shutdown::Unclean,
            recovery_point: None,
            log_start: None,
            cleaned: None,
            cache: None,
        };
        let log = simulation.block_on(0, async {
            world.create_dir_all(&open.dir).await.expect("an empty disk");
            let (log, _) = Log::open(&world, open).await.expect("an empty directory");
            log
        });
        let id = TopicPartition { topic: TOPIC, partition: PartitionIndex(0) };
        let replica = Replica::lead(id, TopicName::new("orders"), log, EPOCH, Rc::new(Woken::default()), Rc::new(Roomy), Rc::default());
        Self { replica, simulation }
    }

    fn log(&self) -> &Log<MemoryWorld> {
        self.replica.log()
    }

    /// Lets everything queued reach the disk.
    fn settle(&self) {
        let log = self.log();
        self.simulation.block_on(0, async { log.flush().await.expect("a healthy disk") });
    }

    /// As [`Leading::settle`], and begins anew when the log has become large.
    fn renew(&mut self) {
        self.settle();
        if self.log().size_bytes() > LOG_BYTES_MAX {
            *self = Self::begin(LogSettings::default());
        }
    }
}

fn leader_batch(bytes: &Bytes) -> LeaderBatch {
    LeaderBatch { header: BatchHeader::parse(bytes).expect("our own batch"), bytes: bytes.clone() }
}

/// Measures `run` on a replica that has nothing queued.
fn on_settled(run: impl Fn(&Leading) + 'static) -> Work {
    let leading = Rc::new(RefCell::new(Leading::begin(LogSettings::default())));
    let renewed = leading.clone();
    Work { restore: Some(Box::new(move || renewed.borrow_mut().renew())), run: Box::new(move || run(&leading.borrow())) }
}

fn append_as_leader() -> Work {
    let batch = leader_batch(&batch_of(1 << 10, 1000, Codec::None));
    on_settled(move |leading| {
        for _ in 0..EACH {
            leading.log().append_as_leader(std::slice::from_ref(&batch), EPOCH, NOW).expect("an open log");
        }
    })
}

/// Batches of eight idempotent producers, each acknowledged once the high watermark has passed.
fn append_and_park() -> Work {
    const PRODUCERS: i64 = 8;
    let batch = leader_batch(&batch_of(1 << 10, 1000, Codec::None));
    let listener: Rc<dyn AckListener> = Rc::new(Settled::default());
    on_settled(move |leading| {
        for index in 0..EACH {
            let offset = leading.log().reserved_end().get();
            let header = BatchHeader {
                producer_id: ProducerId(offset % PRODUCERS),
                producer_epoch: ProducerEpoch(0),
                base_sequence: (offset / PRODUCERS) as i32,
                ..batch.header
            };
            let batch = LeaderBatch { header, bytes: batch.bytes.clone() };
            leading.replica.append(batch, Acks::All, TimestampMs::NONE, NOW, &listener, index);
        }
    })
}

/// One fetched run of batches, as its offsets stand in the leader's log.
fn append_as_follower() -> Work {
    let batch = batch_of(1 << 10, 1000, Codec::None);
    let leading = Rc::new(RefCell::new(Leading::begin(LogSettings::default())));
    let fetched = Rc::new(RefCell::new(Bytes::new()));
    let (renewed, next) = (leading.clone(), fetched.clone());
    let restore = move || {
        renewed.borrow_mut().renew();
        let end = renewed.borrow().log().reserved_end();
        let mut run = BytesMut::with_capacity(batch.len() * EACH);
        for index in 0..EACH {
            let at = run.len();
            run.extend_from_slice(&batch);
            run[at..at + 8].copy_from_slice(&end.plus(index as i64).get().to_be_bytes());
        }
        *next.borrow_mut() = run.freeze();
    };
    let run = move || {
        let records = std::mem::take(&mut *fetched.borrow_mut());
        leading.borrow().log().append_as_follower(records, NOW).expect("sound batches in order");
    };
    Work { restore: Some(Box::new(restore)), run: Box::new(run) }
}

/// Bookkeeping of appends: offsets, positions, indexes, producers, the queue of the writer; nothing is written meanwhile.
pub fn appends() -> Vec<Primitive> {
    let bytes = batch_of(1 << 10, 1000, Codec::None).len() * EACH;
    vec![
        Primitive::new("64 batches of 1 KiB as leader", append_as_leader).over(bytes),
        Primitive::new("64 batches of 1 KiB of 8 producers, acks parked", append_and_park).over(bytes),
        Primitive::new("64 batches of 1 KiB as follower, crc included", append_as_follower).over(bytes),
    ]
}

/// A replica whose log holds 2001 batches of 2 KiB in segments of 1 MiB, the last written by itself.
fn filled() -> Leading {
    let leading = Leading::begin(LogSettings { segment_bytes: 1 << 20, ..LogSettings::default() });
    let batch = leader_batch(&batch_of(2 << 10, 1000, Codec::None));
    for count in [2000, 1] {
        for _ in 0..count {
            leading.log().append_as_leader(std::slice::from_ref(&batch), EPOCH, NOW).expect("an open log");
        }
        leading.settle();
    }
    leading
}

/// Plans from the first offset, at or after the one asked for, that memory is enough for: of a batch in the middle of a log only an
/// indexed one is known.
fn plan(from: fn(Offset) -> Offset) -> Work {
    let leading = filled();
    let end = leading.log().end();
    let request = |offset| ReadRequest {
        offset,
        max_bytes: 64 << 10,
        isolation: Isolation::ReadUncommitted,
        current_leader_epoch: Some(EPOCH),
        last_fetched_epoch: None,
    };
    let is_enough = |request: &ReadRequest| matches!(leading.replica.try_plan_read(request), Ok(Planned::Ready(_)));
    let offsets = (from(end).get()..=end.get()).map(Offset);
    let request = offsets.map(request).find(|request| {
        // What the first look has to fetch from the files, later ones find in memory.
        leading.simulation.block_on(0, async { drop(leading.replica.plan_read(request).await.expect("a sound log")) });
        is_enough(request)
    });
    let request = request.expect("the end is always known");
    repeatable(move || leading.replica.try_plan_read(&request).is_ok())
}

/// Fetches planned from memory.
pub fn read_plans() -> Vec<Primitive> {
    vec![
        Primitive::new("the end, nothing to read", || plan(|end| end)),
        Primitive::new("the last batch", || plan(|end| end.plus(-1))),
        Primitive::new("64 KiB from an indexed batch in the middle", || plan(|end| Offset(end.get() / 2))),
        Primitive::new("64 KiB from the start", || plan(|_| Offset::ZERO)),
    ]
}

fn readers() -> impl Iterator<Item = ReaderId> {
    (0..EACH as u64).map(|number| ReaderId { shard: ShardId(number as u16 % 4), number })
}

fn park_and_leave() -> Work {
    let leading = Leading::begin(LogSettings::default());
    repeatable(move || {
        readers().for_each(|reader| leading.replica.park(reader));
        readers().for_each(|reader| leading.replica.leave(reader));
    })
}

/// A replica wakes whoever is parked when it stops serving, as it does when its high watermark moves.
fn park_and_wake() -> Work {
    let leading = Leading::begin(LogSettings::default());
    repeatable(move || {
        readers().for_each(|reader| leading.replica.park(reader));
        leading.replica.go_offline();
    })
}

/// Fetches parked on a replica.
pub fn readers_parked() -> Vec<Primitive> {
    vec![Primitive::new("64 readers park and leave", park_and_leave), Primitive::new("64 readers park and are woken", park_and_wake)]
}
