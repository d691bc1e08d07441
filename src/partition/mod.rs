//! One replica of one partition on its owner shard: the log, its role, its high watermark, and those who wait for them.
//!
//! Called by `shard`; calls `storage`. Lives on the shard that owns the partition and never leaves it. `append` is the produce path,
//! `read` the fetch path, `waiters` who is parked on either.
//!
//! Invariants:
//! 1. `log start <= last stable <= high watermark <= log end`, checked at each change.
//! 2. An acknowledgement leaves only after the log's acknowledgeable end (acks=1) or the high watermark (acks=all) has passed the batch.
//! 3. Acknowledgements of one queue leave in offset order.
//! 4. A parked reader is woken at most once per registration, after the high watermark has moved, never before.
//! 5. A replica that is offline or removed refuses everything, those already parked included.
//!
//! A crash leaves behind what `storage` describes; nothing here is kept on disk but through it.
//!
//! KIPs: 101, 279, 320 (leader epochs and fencing), 207 (offsets in ListOffsets errors).

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use crate::io::World;
use crate::metrics::TopicTraffic;
use crate::storage::planted::{self, Bug};
use crate::storage::{Blame, Log, LogObserver, LogSettings, OwnedTurn};
use crate::types::{LeaderEpoch, Offset, TopicName, TopicPartition};

mod append;
mod delete;
mod read;
mod waiters;

pub use append::{AckListener, Acked, Acks};
pub use delete::DeleteUpTo;
pub use read::{Isolation, OffsetQuery, OffsetsAnswer, Planned, PlannedRead, ReadRequest};
pub use waiters::{ReaderId, WakeReaders};

use waiters::{AckQueue, ReadWaiters};

/// Why a replica refuses. Each has exactly one wire error; the mapping is in `server`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("this broker does not lead the partition")]
    NotLeader,
    #[error("the partition is not known here")]
    Unknown,
    #[error("the request's leader epoch is older than {current}")]
    FencedLeaderEpoch { current: LeaderEpoch },
    #[error("the request's leader epoch is newer than {current}")]
    UnknownLeaderEpoch { current: LeaderEpoch },
    #[error("the offset is not in [{start}, {end}]")]
    OffsetOutOfRange { start: Offset, end: Offset },
    #[error("the log directory is offline")]
    Offline,
    #[error("the log directory has no room for more")]
    NoRoom,
    #[error("a batch of the log fails its check")]
    Corrupt,
    #[error("the sequence number is out of order")]
    OutOfOrderSequence,
    #[error("the producer epoch is stale")]
    InvalidProducerEpoch,
    #[error("the producer id is not known")]
    UnknownProducerId,
    #[error("the producer is not in a transaction")]
    InvalidTransactionState,
    #[error("the transaction coordinator's epoch is stale")]
    CoordinatorFenced,
    #[error("the batch is larger than a segment")]
    TooLarge,
    #[error("fewer replicas in sync than min.insync.replicas")]
    NotEnoughReplicas,
    #[error("the topic is compacted only: its records are not deleted by offset")]
    CompactedOnly,
    #[error("the request's time-out passed before it was acknowledged")]
    TimedOut,
}

/// The log directory of a replica, as its shard knows it.
pub trait Directory {
    /// Whether it takes what clients send; without, all but their appends goes on.
    fn has_room(&self) -> bool;
    /// Whether it has so much room that logs may take space before they have a use for it.
    fn has_space_ahead(&self) -> bool;
    /// The turn at writing zeros ahead of a log in it, as [`LogObserver::zeros_turn`].
    fn zeros_turn(&self) -> Option<OwnedTurn>;
    /// So many bytes were appended to a log in it.
    fn on_appended(&self, bytes: u64);
    /// A log in it has something behind its recovery point. Said once, until its replica is found to have nothing.
    fn on_unflushed(&self, partition: TopicPartition);
    /// A call on a log in it has failed.
    fn on_failed(&self, why: &str);
    /// A log in it has failed, and nothing else with it.
    fn on_log_failed(&self, partition: TopicPartition, why: &str);
}

/// One replica; shared by the tasks of its shard.
pub struct Replica<W: World> {
    id: TopicPartition,
    topic: TopicName,
    log: Log<W>,
    leader_epoch: Cell<LeaderEpoch>,
    high_watermark: Cell<Offset>,
    standing: Cell<Standing>,
    acks: RefCell<AckQueue>,
    readers: RefCell<ReadWaiters>,
    wake: Rc<dyn WakeReaders>,
    directory: Rc<dyn Directory>,
    /// Whether the directory was told that something is behind the recovery point.
    unflushed_told: Cell<bool>,
    traffic: Rc<TopicTraffic>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    Leading,
    Offline,
    Removed,
}

impl<W: World> Replica<W> {
    /// A replica that leads its partition in `epoch`. Its own log is all of the in-sync set, so the high watermark follows the log.
    pub fn lead(
        id: TopicPartition,
        topic: TopicName,
        log: Log<W>,
        epoch: LeaderEpoch,
        wake: Rc<dyn WakeReaders>,
        directory: Rc<dyn Directory>,
        traffic: Rc<TopicTraffic>,
    ) -> Rc<Self> {
        if log.is_failed() {
            traffic.offline.raise();
        }
        let replica = Rc::new(Self {
            id,
            topic,
            leader_epoch: Cell::new(epoch),
            high_watermark: Cell::new(acknowledgeable_end(&log)),
            standing: Cell::new(if log.is_failed() { Standing::Offline } else { Standing::Leading }),
            acks: RefCell::default(),
            readers: RefCell::default(),
            wake,
            directory,
            unflushed_told: Cell::new(false),
            traffic,
            log,
        });
        if replica.unflushed_bytes() > 0 {
            replica.unflushed_told.set(true);
            replica.directory.on_unflushed(id);
        }
        replica.log.observe(Rc::new(Observer(Rc::downgrade(&replica))));
        replica
    }

    pub fn id(&self) -> TopicPartition {
        self.id
    }

    pub fn topic(&self) -> &TopicName {
        &self.topic
    }

    pub fn log(&self) -> &Log<W> {
        &self.log
    }

    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch.get()
    }

    pub fn high_watermark(&self) -> Offset {
        self.high_watermark.get()
    }

    /// Bytes behind the recovery point of the log.
    pub fn unflushed_bytes(&self) -> u64 {
        let bytes = if self.log.is_failed() { 0 } else { self.log.unflushed_bytes() };
        if bytes == 0 {
            self.unflushed_told.set(false);
        }
        bytes
    }

    /// Takes the topic's new settings. With another `flush.messages` more may be acknowledged than a moment ago.
    pub fn configure(&self, settings: LogSettings) {
        self.log.configure(settings);
        self.on_log_moved();
    }

    /// Takes a newer leader epoch from the metadata image.
    pub fn lead_in(&self, epoch: LeaderEpoch) {
        assert!(epoch >= self.leader_epoch.get(), "leader epochs never go back");
        self.leader_epoch.set(epoch);
    }

    /// The topic is gone: everyone parked is refused, and every later request.
    pub fn remove(&self) {
        self.stop_serving(Standing::Removed, Refusal::Unknown);
    }

    /// The log is out of service: as [`Replica::remove`], with its own error.
    pub fn go_offline(&self) {
        self.stop_serving(Standing::Offline, Refusal::Offline);
    }

    /// The log directory has failed: nothing more is written to it.
    pub fn lose_directory(&self) {
        self.log.abandon();
        self.go_offline();
    }

    fn stop_serving(&self, standing: Standing, refusal: Refusal) {
        if self.standing.get() == Standing::Removed {
            return;
        }
        match (self.standing.get(), standing) {
            (Standing::Leading, Standing::Offline) => self.traffic.offline.raise(),
            (Standing::Offline, Standing::Removed) => self.traffic.offline.lower(),
            _ => {}
        }
        self.standing.set(standing);
        // Moved out first: a listener may call back into this replica.
        let parked = self.acks.borrow_mut().take_all();
        for waiter in parked {
            waiter.refuse(&refusal);
        }
        self.wake_readers();
    }

    fn check_standing(&self) -> Result<(), Refusal> {
        match self.standing.get() {
            Standing::Leading => Ok(()),
            Standing::Offline => Err(Refusal::Offline),
            Standing::Removed => Err(Refusal::Unknown),
        }
    }

    /// `None` stands for a client that knows no epochs.
    fn check_epoch(&self, requested: Option<LeaderEpoch>) -> Result<(), Refusal> {
        let current = self.leader_epoch.get();
        match requested {
            Some(epoch) if epoch < current => Err(Refusal::FencedLeaderEpoch { current }),
            Some(epoch) if epoch > current => Err(Refusal::UnknownLeaderEpoch { current }),
            _ => Ok(()),
        }
    }

    /// The log moved: acknowledgements up to it leave, and readers parked on the high watermark are woken.
    fn on_log_moved(&self) {
        let end = acknowledgeable_end(&self.log);
        let before = self.high_watermark.get();
        assert!(end <= self.log.end(), "{}: acknowledgeable end {end} is above log end {}", self.id, self.log.end());
        if end > before {
            self.high_watermark.set(end);
        }
        loop {
            // One at a time, the borrow released: a listener may append again.
            let passed = self.acks.borrow_mut().pop_passed(end, self.high_watermark.get());
            match passed {
                Some(waiter) => waiter.acknowledge(),
                None => break,
            }
        }
        if end > before && !planted::is(Bug::WaiterLost) {
            self.wake_readers();
        }
    }

    fn wake_readers(&self) {
        let parked = self.readers.borrow_mut().take_all();
        for reader in parked {
            self.wake.wake(reader);
        }
    }
}

/// Up to where appends may be acknowledged: what is written, or with `flush.messages` what is flushed once so many wait.
fn acknowledgeable_end<W: World>(log: &Log<W>) -> Offset {
    let (end, durable) = (log.end(), log.durable_end());
    let unflushed = u64::try_from(end.since(durable)).unwrap_or(0);
    if unflushed >= log.flush_messages() && !planted::is(Bug::AckBeforeFlush) { durable } else { end }
}

/// What the log tells its replica. Weak: the log must not keep its replica alive.
struct Observer<W: World>(Weak<Replica<W>>);

impl<W: World> LogObserver for Observer<W> {
    fn on_end_moved(&self, _end: Offset) {
        if let Some(replica) = self.0.upgrade() {
            replica.on_log_moved();
        }
    }

    fn on_flushed(&self, _recovery_point: Offset) {
        if let Some(replica) = self.0.upgrade() {
            replica.on_log_moved();
        }
    }

    fn has_space_ahead(&self) -> bool {
        self.0.upgrade().is_some_and(|replica| replica.directory.has_space_ahead())
    }

    fn zeros_turn(&self) -> Option<OwnedTurn> {
        self.0.upgrade()?.directory.zeros_turn()
    }

    fn on_failed(&self, why: &str, blame: Blame) {
        if let Some(replica) = self.0.upgrade() {
            tracing::debug!("{}-{}: {why}; the partition goes offline", replica.topic, replica.id.partition);
            replica.go_offline();
            match blame {
                Blame::Directory => replica.directory.on_failed(why),
                Blame::Log => replica.directory.on_log_failed(replica.id, why),
            }
        }
    }
}
