//! The host of one machine: it loads the machine from its partition's log, tells it what happens, appends its records and lets its replies
//! leave.
//!
//! Called by the registry beside it; calls `partition`. One task per hosted partition, on the shard that owns it; a [`Host`] is shared with
//! that task through `Rc`.
//!
//! ```text
//!   calls -> queue -> machine -> records: gathered -> one append at a time -> high watermark passes
//!                            \-> replies: held behind what was gathered before them ------------------> delivered
//! ```
//!
//! Invariants:
//! 1. One append is under way at a time; what the machine returns meanwhile is gathered into the next. Replies leave in the order the
//!    machine gave them, each after all that it returned before and with them is below the high watermark.
//! 2. At most [`CALLS_QUEUED_MAX`] calls count as taken and are not heard; a further one waits with its sender's credit. A machine whose
//!    next batch is full hears nothing until the append under way has settled.
//! 3. After a failed append the machine is dropped, every unanswered call refused, and a new machine loaded.
//! 4. Each call is answered exactly once, also when the host is stopped.
//!
//! A crash leaves behind the log, up to the last completed append.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use crate::coordinator::Machine;
use crate::io::{Urgency, World};
use crate::metadata::image::MetadataImage;
use crate::metrics::Coordination;
use crate::partition::{Refusal, Replica};
use crate::shard::Timers;
use crate::storage::Bell;
use crate::wire::batch::Codec;
use crate::wire::error::ErrorCode;

use super::gate::Gate;
use super::load::{self, LoadError};
use super::serve::{End, Serving};

/// Calls taken and not heard, for one machine.
pub const CALLS_QUEUED_MAX: usize = 1024;

/// Between a failed append and the load that follows it.
const RELOAD_PAUSE: Duration = Duration::from_millis(100);

/// What the host must know of a machine beyond the contract.
pub trait Hosted: Machine<Request: Clone, Answer: 'static> + 'static {
    /// The answer to a request that no machine hears, or whose machine was dropped.
    fn refusal(request: &Self::Request, code: ErrorCode) -> Self::Answer;
    /// About the most bytes of records that the request alone can lead to.
    fn record_bytes(request: &Self::Request) -> usize;
    /// Whether the request is likely to lead to records, now or when its group moves on.
    fn writes(request: &Self::Request) -> bool;
}

/// Takes the answer to one call.
pub type Deliver<A> = Box<dyn FnOnce(A)>;

/// One call on its way to the machine.
pub struct Entry<M: Hosted> {
    pub request: M::Request,
    pub deliver: Deliver<M::Answer>,
    /// Tells the sender that the call has a place in the queue.
    pub taken: Box<dyn FnOnce()>,
}

impl<M: Hosted> Entry<M> {
    fn refuse(self, code: ErrorCode) {
        (self.taken)();
        (self.deliver)(M::refusal(&self.request, code));
    }
}

/// How the host writes, as the topic's settings and the broker's are now.
#[derive(Clone, Copy, Debug)]
pub struct Writing {
    /// Records of several events share a batch up to this size.
    pub batch_bytes_max: usize,
    pub codec: Codec,
    /// For an append to pass the high watermark.
    pub append_timeout: Duration,
    /// What one batch may decompress to.
    pub decompressed_bytes_max: usize,
}

/// What surrounds a host.
pub struct Surroundings<W: World> {
    pub world: W,
    pub timers: Timers<W>,
    pub image: Box<dyn Fn() -> Rc<MetadataImage>>,
    pub writing: Box<dyn Fn() -> Writing>,
    /// Loads under way at one time on this shard.
    pub loads: Rc<Gate>,
    pub counts: Rc<Coordination>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    Loading,
    Serving,
    /// The log cannot be read or written, or the host was told to stop: every call is refused so.
    Refusing(ErrorCode),
}

pub struct Host<W: World, M: Hosted> {
    pub(super) around: Surroundings<W>,
    pub(super) replica: Rc<Replica<W>>,
    new_machine: Box<dyn Fn() -> M>,
    phase: Cell<Phase>,
    stop: Cell<Option<ErrorCode>>,
    ended: Cell<bool>,
    pub(super) machine: RefCell<Option<M>>,
    rebalances_told: Cell<u64>,
    pub(super) queue: RefCell<VecDeque<Queued<M>>>,
    pub(super) image_changed: Cell<bool>,
    /// Rung when the task has something to look at, or has ended.
    pub(super) bell: Bell,
}

/// An entry of the queue: its sender is told at once, or when there is room.
pub struct Queued<M: Hosted> {
    pub request: M::Request,
    pub deliver: Deliver<M::Answer>,
    pub taken: Option<Box<dyn FnOnce()>>,
}

impl<W: World, M: Hosted> Host<W, M> {
    /// Begins to host the partition's machine.
    pub fn start(around: Surroundings<W>, replica: Rc<Replica<W>>, new_machine: Box<dyn Fn() -> M>) -> Rc<Self> {
        let host = Rc::new(Self {
            around,
            replica,
            new_machine,
            phase: Cell::new(Phase::Loading),
            stop: Cell::new(None),
            ended: Cell::new(false),
            machine: RefCell::new(None),
            rebalances_told: Cell::new(0),
            queue: RefCell::default(),
            image_changed: Cell::new(false),
            bell: Bell::default(),
        });
        // A log without a record needs no loading: the first call of a new topic is served at once.
        let log = host.replica.log();
        if log.start() == log.reserved_end() && !log.is_failed() {
            host.phase.set(Phase::Serving);
        }
        let task = host.clone();
        host.around.world.spawn(Urgency::Foreground, async move {
            task.run().await;
            task.ended.set(true);
            task.bell.ring();
        });
        host
    }

    pub fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// Looks at the machine, if one is loaded.
    pub fn with_machine<T>(&self, look: impl FnOnce(&M) -> T) -> Option<T> {
        self.machine.borrow().as_ref().map(look)
    }

    /// As [`Host::with_machine`], for a look that takes something along.
    pub fn with_machine_mut<T>(&self, look: impl FnOnce(&mut M) -> T) -> Option<T> {
        self.machine.borrow_mut().as_mut().map(look)
    }

    /// How many of the machine's rebalances were not told of before.
    pub fn rebalances_since(&self, now: u64) -> u64 {
        now.saturating_sub(self.rebalances_told.replace(now))
    }

    /// Takes a call; it is answered later, or refused now.
    pub fn push(&self, entry: Entry<M>) {
        match self.phase.get() {
            Phase::Loading => entry.refuse(ErrorCode::CoordinatorLoadInProgress),
            Phase::Refusing(code) => entry.refuse(code),
            Phase::Serving if M::record_bytes(&entry.request) > (self.around.writing)().batch_bytes_max => {
                // As Kafka, whose batch would be too large: the machine must not change what cannot be written.
                entry.refuse(ErrorCode::UnknownServerError);
            }
            Phase::Serving => {
                let Entry { request, deliver, taken } = entry;
                let room = self.queue.borrow().len() < CALLS_QUEUED_MAX;
                let taken = if room {
                    taken();
                    None
                } else {
                    Some(taken)
                };
                self.queue.borrow_mut().push_back(Queued { request, deliver, taken });
                self.bell.ring();
            }
        }
    }

    /// Has the machine told of the new image.
    pub fn on_image_changed(&self) {
        self.image_changed.set(true);
        self.bell.ring();
    }

    /// Has the task look whether its log is still in service.
    pub fn look(&self) {
        self.bell.ring();
    }

    /// Ends the host; what is unanswered, and what still comes, is refused with `code`.
    pub fn stop(&self, code: ErrorCode) {
        self.stop.set(Some(code));
        self.phase.set(Phase::Refusing(code));
        self.bell.ring();
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.get().is_some()
    }

    /// Resolves when a stopped host has refused everything.
    pub async fn ended(&self) {
        self.bell.until(|| self.ended.get().then_some(())).await;
    }

    async fn run(self: &Rc<Self>) {
        let mut fresh = self.phase.get() == Phase::Serving;
        while !self.is_stopping() {
            let loaded = if fresh { Ok((self.new_machine)()) } else { self.load().await };
            fresh = false;
            let end = match loaded {
                Ok(machine) => self.serve(machine).await,
                Err(LoadError::Stopped) => break,
                Err(error) => {
                    self.give_up(&error.to_string()).await;
                    break;
                }
            };
            match end {
                End::Stopped => break,
                End::Failed(refusal) => self.on_append_failed(&refusal).await,
            }
        }
        let code = self.stop.get().unwrap_or(ErrorCode::NotCoordinator);
        self.refuse_queued(code);
    }

    async fn load(self: &Rc<Self>) -> Result<M, LoadError> {
        let (done, loaded) = crate::shard::oneshot::oneshot();
        let host = self.clone();
        // In the background share: a long log must not slow down the shard's clients.
        self.around.world.spawn(Urgency::Background, async move {
            let _place = host.around.loads.enter().await;
            let began = host.around.timers.now();
            let loaded = load::load(&host, (host.new_machine)()).await;
            if loaded.is_ok() {
                host.around.counts.loads.record(host.around.timers.now().since(began));
            }
            done.send(loaded);
        });
        loaded.receive().await.unwrap_or(Err(LoadError::Stopped))
    }

    async fn serve(self: &Rc<Self>, machine: M) -> End {
        *self.machine.borrow_mut() = Some(machine);
        if !self.is_stopping() {
            self.phase.set(Phase::Serving);
        }
        let mut serving = Serving::new(self.clone());
        let end = serving.run().await;
        let code = match &end {
            End::Stopped => self.stop.get().unwrap_or(ErrorCode::NotCoordinator),
            End::Failed(refusal) => code_of(refusal),
        };
        if !self.is_stopping() {
            self.phase.set(Phase::Loading);
        }
        *self.machine.borrow_mut() = None;
        self.rebalances_told.set(0);
        serving.refuse_all(code);
        self.refuse_queued(code);
        end
    }

    async fn on_append_failed(&self, refusal: &Refusal) {
        let (topic, partition) = (self.replica.topic(), self.replica.id().partition);
        if self.is_stopping() {
            return;
        }
        match refusal {
            Refusal::Offline | Refusal::Unknown => self.give_up(&refusal.to_string()).await,
            _ => {
                tracing::warn!("{topic}-{partition}: an append of its coordinator failed: {refusal}; its state is loaded anew");
                self.around.timers.sleep(RELOAD_PAUSE).await;
            }
        }
    }

    /// Refuses everything until the host is stopped.
    async fn give_up(&self, why: &str) {
        if !self.is_stopping() {
            tracing::error!("{}-{}: its coordinator is out of service: {why}", self.replica.topic(), self.replica.id().partition);
            self.phase.set(Phase::Refusing(ErrorCode::NotCoordinator));
        }
        self.bell.until(|| self.is_stopping().then_some(())).await;
    }

    fn refuse_queued(&self, code: ErrorCode) {
        let queued: Vec<Queued<M>> = self.queue.borrow_mut().drain(..).collect();
        for Queued { request, deliver, taken } in queued {
            if let Some(taken) = taken {
                taken();
            }
            deliver(M::refusal(&request, code));
        }
    }
}

/// The error of an append that failed, from which the answer to each call is made.
fn code_of(refusal: &Refusal) -> ErrorCode {
    match refusal {
        Refusal::NoRoom => ErrorCode::CoordinatorNotAvailable,
        Refusal::TimedOut => ErrorCode::RequestTimedOut,
        Refusal::NotEnoughReplicas => ErrorCode::NotEnoughReplicas,
        Refusal::NotLeader => ErrorCode::NotLeaderOrFollower,
        Refusal::Unknown => ErrorCode::NotCoordinator,
        Refusal::Offline => ErrorCode::KafkaStorageError,
        Refusal::TooLarge => ErrorCode::RecordListTooLarge,
        Refusal::FencedLeaderEpoch { .. }
        | Refusal::UnknownLeaderEpoch { .. }
        | Refusal::OffsetOutOfRange { .. }
        | Refusal::Corrupt
        | Refusal::OutOfOrderSequence
        | Refusal::InvalidProducerEpoch
        | Refusal::UnknownProducerId
        | Refusal::InvalidTransactionState
        | Refusal::CoordinatorFenced
        | Refusal::CompactedOnly => ErrorCode::UnknownServerError,
    }
}
