//! The host on the world in memory, with a machine that is simple enough to be judged.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::host::{Deliver, Entry, Hosted, Writing};
use super::*;
use crate::coordinator::{Effects, Event, Machine, Moment, ReplayError, Replayed, StateRecord, Token, TransactionOutcome};
use crate::io::memory::{Control, DiskCall, DiskFault, MemoryWorld, Simulation, SimulationSettings};
use crate::metrics::{Coordination, TopicTraffic};
use crate::partition::{AckListener, Acked, Acks, Directory, ReaderId, Refusal, Replica, WakeReaders};
use crate::shard::Timers;
use crate::storage::{Log, LogSettings, OpenLog, OwnedTurn, Shutdown};
use crate::types::{LeaderEpoch, Monotonic, Offset, ProducerEpoch, ProducerId, TimestampMs};
use crate::wire::batch::{Batch, BatchBuilder, BatchHeader, ControlType};

const NODE: u32 = 1;
const NOW: TimestampMs = TimestampMs(1_750_000_000_000);

/// What the machine is asked.
#[derive(Clone, Debug)]
enum Ask {
    /// Keep this line; answered with its number.
    Write(String),
    /// All lines, joined.
    Read,
    /// Answered by the next `Release`.
    Park,
    Release,
    /// Answered once so many milliseconds are over.
    After(u64),
    /// As `Write`, of so many bytes.
    Large(usize),
}

type Told = Result<String, ErrorCode>;

/// Lines in order, some kept in its log.
#[derive(Default)]
struct Journal {
    lines: Vec<String>,
    open: BTreeMap<ProducerId, Vec<String>>,
    parked: Vec<Token>,
    timers: BTreeMap<Monotonic, Vec<Token>>,
    image_changes: usize,
}

impl Machine for Journal {
    type Request = Ask;
    type Answer = Told;

    fn replay(&mut self, entry: Replayed<'_>) -> Result<(), ReplayError> {
        match entry {
            Replayed::Record { offset, value: None, .. } => return Err(ReplayError { offset, why: "no line".into() }),
            Replayed::Record { key, value: Some(value), transaction, .. } => {
                let line = format!("{}={}", String::from_utf8_lossy(key), String::from_utf8_lossy(value));
                match transaction {
                    Some((producer, _)) => self.open.entry(producer).or_default().push(line),
                    None => self.lines.push(line),
                }
            }
            Replayed::Marker { producer_id, outcome } => {
                let lines = self.open.remove(&producer_id).unwrap_or_default();
                if outcome == TransactionOutcome::Committed {
                    self.lines.extend(lines);
                }
            }
        }
        Ok(())
    }

    fn begin(&mut self, _moment: Moment<'_>) -> Effects<Told> {
        Effects::default()
    }

    fn handle(&mut self, event: Event<Ask>, moment: Moment<'_>) -> Effects<Told> {
        let mut effects = Effects::default();
        match event {
            Event::ImageChanged => self.image_changes += 1,
            Event::Timer => {
                let due: Vec<_> = self.timers.range(..=moment.now).map(|(at, _)| *at).collect();
                assert!(!due.is_empty(), "a timer came early");
                for tokens in due.into_iter().filter_map(|at| self.timers.remove(&at)) {
                    effects.replies.extend(tokens.into_iter().map(|token| (token, Ok("time".to_owned()))));
                }
            }
            Event::Request { token, request } => match request {
                Ask::Write(line) => {
                    effects.records.push(StateRecord { key: "k".into(), value: Some(Bytes::from(line.clone())) });
                    effects.replies.push((token, Ok(self.lines.len().to_string())));
                    self.lines.push(format!("k={line}"));
                }
                Ask::Large(len) => {
                    effects.records.push(StateRecord { key: "k".into(), value: Some(Bytes::from(vec![b'x'; len])) });
                    effects.replies.push((token, Ok(self.lines.len().to_string())));
                    self.lines.push(format!("large {len}"));
                }
                Ask::Read => effects.replies.push((token, Ok(self.lines.join(",")))),
                Ask::Park => self.parked.push(token),
                Ask::Release => {
                    effects.replies.extend(self.parked.drain(..).map(|token| (token, Ok("released".to_owned()))));
                    effects.replies.push((token, Ok(self.image_changes.to_string())));
                }
                Ask::After(ms) => {
                    let at = moment.now.plus(Duration::from_millis(ms));
                    self.timers.entry(at).or_default().push(token);
                }
            },
        }
        effects
    }

    fn deadline(&self) -> Option<Monotonic> {
        self.timers.keys().next().copied()
    }
}

impl Hosted for Journal {
    fn refusal(_request: &Ask, code: ErrorCode) -> Told {
        Err(code)
    }

    fn record_bytes(request: &Ask) -> usize {
        if let Ask::Large(len) = request { *len } else { 0 }
    }

    /// Large lines come as a surprise.
    fn writes(request: &Ask) -> bool {
        matches!(request, Ask::Write(_))
    }
}

struct Nobody;

impl WakeReaders for Nobody {
    fn wake(&self, _reader: ReaderId) {}
}

/// A log directory that can be filled.
struct Room(std::cell::Cell<bool>);

impl Directory for Room {
    fn zeros_turn(&self) -> Option<OwnedTurn> {
        None
    }

    fn has_space_ahead(&self) -> bool {
        true
    }

    fn has_room(&self) -> bool {
        self.0.get()
    }

    fn on_appended(&self, _bytes: u64) {}

    fn on_unflushed(&self, _partition: TopicPartition) {}

    fn on_failed(&self, _why: &str) {}

    fn on_log_failed(&self, _partition: TopicPartition, _why: &str) {}
}

/// A partition and what is around it.
struct Stage {
    world: MemoryWorld,
    replica: Rc<Replica<MemoryWorld>>,
    room: Rc<Room>,
}

type JournalHost = Rc<Host<MemoryWorld, Journal>>;

impl Stage {
    async fn new(world: &MemoryWorld) -> Self {
        world.create_dir_all(Path::new("/logs")).await.unwrap();
        world.sync_dir(Path::new("/")).await.unwrap();
        let open = OpenLog {
            dir: PathBuf::from("/logs/topic-0"),
            topic: TopicName::new("topic"),
            partition: PartitionIndex(0),
            topic_id: TopicId::from_bits(7),
            settings: LogSettings::default(),
            shutdown: Shutdown::Clean,
            recovery_point: None,
            log_start: None,
            cleaned: None,
            cache: None,
        };
        let log = Log::open(world, open).await.unwrap().0;
        let room = Rc::new(Room(std::cell::Cell::new(true)));
        let id = TopicPartition { topic: TopicId::from_bits(7), partition: PartitionIndex(0) };
        let traffic = Rc::new(TopicTraffic::default());
        let replica = Replica::lead(id, TopicName::new("topic"), log, LeaderEpoch(0), Rc::new(Nobody), room.clone(), traffic);
        Self { world: world.clone(), replica, room }
    }

    fn host(&self, batch_bytes_max: usize) -> JournalHost {
        let writing =
            Writing { batch_bytes_max, codec: Codec::Zstd, append_timeout: Duration::from_secs(5), decompressed_bytes_max: 1 << 20 };
        let around = Surroundings {
            world: self.world.clone(),
            timers: Timers::new(self.world.clone()),
            image: Box::new(Rc::default),
            writing: Box::new(move || writing),
            loads: Rc::new(Gate::new(1)),
            counts: Rc::new(Coordination::default()),
        };
        Host::start(around, self.replica.clone(), Box::new(Journal::default))
    }

    async fn append(&self, bytes: Bytes) {
        let (done, settled) = oneshot::oneshot();
        let listener: Rc<dyn AckListener> = Rc::new(Settled(RefCell::new(Some(done))));
        let header = BatchHeader::parse(&bytes).unwrap();
        self.replica.append(Batch { header, bytes }, Acks::All, TimestampMs::NONE, NOW, &listener, 0);
        settled.receive().await.unwrap().unwrap();
    }

    /// Batches in the log.
    async fn batches(&self) -> Vec<BatchHeader> {
        let log = self.replica.log();
        let (mut at, mut headers) = (log.start(), Vec::new());
        while let Some(run) = log.read_batches(at, log.end(), 1 << 20).await.unwrap() {
            headers.extend(crate::wire::batch::batches(&run).map(|batch| batch.unwrap().header));
            at = headers.last().unwrap().next_offset();
        }
        headers
    }
}

struct Settled(RefCell<Option<oneshot::Sender<Result<Acked, Refusal>>>>);

impl AckListener for Settled {
    fn on_settled(&self, _index: usize, result: Result<Acked, Refusal>) {
        self.0.take().unwrap().send(result);
    }
}

/// Asks; the answer comes by the receiver.
fn ask(host: &JournalHost, request: Ask) -> oneshot::Receiver<Told> {
    let (sender, receiver) = oneshot::oneshot();
    let deliver: Deliver<Told> = Box::new(|answer| sender.send(answer));
    host.push(Entry { request, deliver, taken: Box::new(|| ()) });
    receiver
}

async fn told(host: &JournalHost, request: Ask) -> Told {
    ask(host, request).receive().await.expect("every call is answered")
}

fn on_stage<F: Future<Output = ()>>(seed: u64, test: impl FnOnce(Control, MemoryWorld) -> F) {
    let simulation = Simulation::new(seed, SimulationSettings::default());
    let control = simulation.control();
    let world = control.world(NODE, 0);
    simulation.block_on(NODE, test(control, world));
}

fn lines(first: i32, count: i32) -> BatchBuilder {
    let mut batch = BatchBuilder::new();
    (first..first + count).for_each(|line| batch.push(NOW, Some(b"k"), Some(line.to_string().as_bytes()), &[]));
    batch
}

async fn loaded(host: &JournalHost) {
    while host.phase() == Phase::Loading {
        host.around.world.sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_machine_is_loaded_from_all_of_its_log() {
    for seed in 0..5 {
        on_stage(seed, |_, world| async move {
            let stage = Stage::new(&world).await;
            stage.append(lines(0, 2).build()).await;
            stage.append(lines(2, 3).build_with(Codec::Zstd, None).unwrap()).await;
            for (producer, control, first) in [(1, ControlType::Abort, 100), (2, ControlType::Commit, 5)] {
                let (id, epoch) = (ProducerId(producer), ProducerEpoch(0));
                stage.append(lines(first, 1).producer(id, epoch, 0).transactional().build()).await;
                stage.append(BatchBuilder::transaction_marker(control, id, epoch, 0, NOW).build()).await;
            }
            let host = stage.host(1 << 20);
            assert_eq!(host.phase(), Phase::Loading);
            assert_eq!(told(&host, Ask::Read).await, Err(ErrorCode::CoordinatorLoadInProgress));
            loaded(&host).await;
            assert_eq!(told(&host, Ask::Read).await.unwrap(), "k=0,k=1,k=2,k=3,k=4,k=5");
            assert_eq!(host.around.counts.loads.snapshot().count(), 1);
        });
    }
}

#[test]
fn a_record_that_is_not_understood_takes_the_machine_out_of_service() {
    on_stage(1, |_, world| async move {
        let stage = Stage::new(&world).await;
        let mut batch = lines(0, 1);
        batch.push(NOW, Some(b"k"), None, &[]);
        stage.append(batch.build()).await;
        let host = stage.host(1 << 20);
        loaded(&host).await;
        assert_eq!(told(&host, Ask::Read).await, Err(ErrorCode::NotCoordinator));
        host.stop(ErrorCode::CoordinatorNotAvailable);
        host.ended().await;
    });
}

#[test]
fn events_share_batches_and_no_reply_overtakes_its_record() {
    for seed in 0..10 {
        on_stage(seed, |_, world| async move {
            let stage = Stage::new(&world).await;
            let host = stage.host(400);
            let order = Rc::new(RefCell::new(Vec::new()));
            let mut calls = Vec::new();
            for number in 0..200 {
                let (sender, receiver) = oneshot::oneshot();
                let (replica, order) = (stage.replica.clone(), order.clone());
                let deliver: Deliver<Told> = Box::new(move |answer: Told| {
                    // Each call writes one line: its number is its record's offset.
                    let offset = Offset(answer.clone().unwrap().parse().unwrap());
                    assert!(replica.high_watermark() > offset, "the reply to {number} left before its record was below the high watermark");
                    order.borrow_mut().push(number);
                    sender.send(answer);
                });
                host.push(Entry { request: Ask::Write(format!("{number}")), deliver, taken: Box::new(|| ()) });
                calls.push(receiver);
                if number % 16 == 0 {
                    world.sleep(Duration::from_micros(50)).await;
                }
            }
            for (number, call) in calls.into_iter().enumerate() {
                assert_eq!(call.receive().await.unwrap(), Ok(number.to_string()));
            }
            assert_eq!(*order.borrow(), (0..200).collect::<Vec<_>>());
            let batches = stage.batches().await;
            assert!(batches.len() < 150, "{} batches for 200 events", batches.len());
            assert!(batches.iter().all(|batch| batch.codec == Codec::Zstd && batch.count < 50), "{batches:?}");
            assert_eq!(batches.iter().map(|batch| batch.count).sum::<i32>(), 200);
        });
    }
}

#[test]
fn what_could_not_be_written_in_one_batch_is_refused_before_the_machine_hears_of_it() {
    on_stage(1, |_, world| async move {
        let stage = Stage::new(&world).await;
        let host = stage.host(400);
        assert_eq!(told(&host, Ask::Large(1000)).await, Err(ErrorCode::UnknownServerError));
        assert_eq!(told(&host, Ask::Large(390)).await, Ok("0".to_owned()), "alone in its batch");
        assert_eq!(told(&host, Ask::Read).await, Ok("large 390".to_owned()));
    });
}

#[test]
fn timers_and_image_changes_reach_the_machine() {
    on_stage(1, |control, world| async move {
        let stage = Stage::new(&world).await;
        let host = stage.host(1 << 20);
        let before = control.now();
        let (later, sooner) = (ask(&host, Ask::After(500)), ask(&host, Ask::After(100)));
        assert_eq!(sooner.receive().await.unwrap(), Ok("time".to_owned()));
        assert!(control.now() - before >= Duration::from_millis(100));
        assert_eq!(later.receive().await.unwrap(), Ok("time".to_owned()));
        assert!(control.now() - before >= Duration::from_millis(500));
        host.on_image_changed();
        world.sleep(Duration::from_millis(1)).await;
        assert_eq!(told(&host, Ask::Release).await, Ok("1".to_owned()));
    });
}

#[test]
fn without_room_everything_unanswered_is_refused_and_the_state_loaded_anew() {
    on_stage(3, |_, world| async move {
        let stage = Stage::new(&world).await;
        let host = stage.host(1 << 20);
        assert_eq!(told(&host, Ask::Write("kept".into())).await, Ok("0".to_owned()));
        let parked = ask(&host, Ask::Park);
        stage.room.0.set(false);
        assert_eq!(told(&host, Ask::Write("refused".into())).await, Err(ErrorCode::CoordinatorNotAvailable));
        assert_eq!(told(&host, Ask::Read).await, Ok("k=kept".to_owned()), "what writes is refused, the rest goes on");
        assert_eq!(told(&host, Ask::Large(10)).await, Err(ErrorCode::CoordinatorNotAvailable));
        assert_eq!(parked.receive().await.unwrap(), Err(ErrorCode::CoordinatorNotAvailable));
        assert_eq!(told(&host, Ask::Read).await, Err(ErrorCode::CoordinatorLoadInProgress));
        stage.room.0.set(true);
        loaded(&host).await;
        assert_eq!(told(&host, Ask::Read).await, Ok("k=kept".to_owned()), "of what was not written nothing is remembered");
        assert_eq!(told(&host, Ask::Write("next".into())).await, Ok("1".to_owned()));
    });
}

#[test]
fn a_failed_write_ends_the_machine() {
    on_stage(4, |control, world| async move {
        let stage = Stage::new(&world).await;
        let host = stage.host(1 << 20);
        assert_eq!(told(&host, Ask::Write("kept".into())).await, Ok("0".to_owned()));
        control.aim(NODE, DiskCall::Write, ".log", 1, DiskFault::Fails(5));
        let calls: Vec<_> = (0..3).map(|_| ask(&host, Ask::Write("lost".into()))).collect();
        let parked = ask(&host, Ask::Park);
        for call in calls.into_iter().chain([parked]) {
            assert_eq!(call.receive().await.unwrap(), Err(ErrorCode::KafkaStorageError));
        }
        assert_eq!(told(&host, Ask::Read).await, Err(ErrorCode::NotCoordinator));
        host.stop(ErrorCode::CoordinatorNotAvailable);
        host.ended().await;
        assert_eq!(told(&host, Ask::Read).await, Err(ErrorCode::CoordinatorNotAvailable));
    });
}

#[test]
fn a_stopped_host_answers_all_it_was_asked() {
    for seed in 0..10 {
        on_stage(seed, |_, world| async move {
            let stage = Stage::new(&world).await;
            let host = stage.host(1 << 20);
            let parked = ask(&host, Ask::Park);
            let calls: Vec<_> = (0..200).map(|number| ask(&host, Ask::Write(number.to_string()))).collect();
            world.sleep(Duration::from_micros(seed * 20)).await;
            host.stop(ErrorCode::CoordinatorNotAvailable);
            host.ended().await;
            assert_eq!(parked.receive().await.unwrap(), Err(ErrorCode::CoordinatorNotAvailable));
            for call in calls {
                let answer = call.receive().await.expect("answered");
                assert!(answer.is_ok() || answer == Err(ErrorCode::CoordinatorNotAvailable), "{answer:?}");
            }
            assert_eq!(told(&host, Ask::Read).await, Err(ErrorCode::CoordinatorNotAvailable));
        });
    }
}

#[test]
fn a_full_queue_keeps_its_senders_waiting() {
    on_stage(1, |_, world| async move {
        let stage = Stage::new(&world).await;
        let host = stage.host(1 << 20);
        let taken = Rc::new(std::cell::Cell::new(0));
        let beyond = 100;
        let calls: Vec<_> = (0..host::CALLS_QUEUED_MAX + beyond)
            .map(|_| {
                let (sender, receiver) = oneshot::oneshot();
                let count = taken.clone();
                let taken = Box::new(move || count.set(count.get() + 1));
                host.push(Entry { request: Ask::Read, deliver: Box::new(|answer| sender.send(answer)), taken });
                receiver
            })
            .collect();
        assert_eq!(taken.get(), host::CALLS_QUEUED_MAX);
        for call in calls {
            assert_eq!(call.receive().await.unwrap(), Ok(String::new()));
        }
        assert_eq!(taken.get(), host::CALLS_QUEUED_MAX + beyond);
    });
}
