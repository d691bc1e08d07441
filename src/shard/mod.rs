//! One core of the broker: the partitions it owns, its mailbox, timers and parked fetches, and its copy of the metadata image.
//!
//! Called by `server`; calls `coordinator`, `partition`, `storage`, `metadata`. One [`Shard`] value per executor, shared by the tasks of that executor
//! through `Rc`; shards know each other only through the [`mailbox`].
//!
//! Invariants:
//! 1. A partition's replica exists on its owner shard only (`types::owner_shard`); no lock guards it.
//! 2. Requests from one shard to another are handled in the order sent, and offsets are reserved in that handling: the order of a
//!    connection's produce requests is the order of their offsets.
//! 3. A message handler never awaits: what must wait is spawned or parked, and answers later through its responder.
//! 4. A request that carries a newer image version than this shard has waits until the shard has applied it.
//! 5. Each request is answered exactly once, even when its partition goes away.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::rc::Rc;
use std::sync::Arc;

use slab::Slab;

use crate::config::BrokerSettings;
use crate::config::topic::TopicSettings;
use crate::io::World;
use crate::metadata::image::MetadataImage;
use crate::metrics::Registry;
use crate::partition::{ReaderId, Replica, WakeReaders};
use crate::storage::Turn;
use crate::storage::planted::{self, Bug};
use crate::types::{NodeId, ShardId, TopicId, TopicPartition, owner_shard};

pub mod adoption;
mod append;
mod apply;
pub mod census;
mod checkpoints;
mod compaction;
pub mod controller;
mod coordinators;
mod delete_records;
pub mod directories;
mod flushing;
mod housekeeping;
mod internal_topics;
mod lag;
mod log_sizes;
pub mod mailbox;
mod measure;
pub mod message;
pub mod oneshot;
mod parking;
mod plan;
mod producer_ids;
mod rate;
mod settings;
pub mod steward;
mod timers;

pub use append::AppendPending;
pub use checkpoints::CheckpointsNotWritten;
pub use coordinators::GroupPending;
pub use internal_topics::consumer_offsets_configs;
pub use measure::Measure;
pub use parking::Parked;
pub use plan::PlanPending;
pub use timers::Timers;

use mailbox::{Credit, Mailbox, Mesh};
use message::{Message, Reply, Request};

/// Maps iterate in the same order in every run: the simulator replays by seed.
pub type FixedMap<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// Messages handled before other tasks of the shard get their turn.
const MESSAGES_PER_TURN: usize = 64;

pub struct Shard<W: World> {
    id: ShardId,
    shard_count: u16,
    world: W,
    settings: Arc<BrokerSettings>,
    /// The settings with what is set on the running cluster.
    running: RefCell<Arc<BrokerSettings>>,
    timers: Timers<W>,
    mailbox: Rc<Mailbox<Message<W>>>,
    census: Arc<census::Census>,
    image: RefCell<Rc<MetadataImage>>,
    replicas: RefCell<FixedMap<TopicPartition, Rc<Replica<W>>>>,
    directories: Vec<Rc<directories::LogDirectory<W>>>,
    calls: RefCell<Slab<Call<W>>>,
    /// Requests that came with a newer image than this shard has.
    early: RefCell<Vec<(ShardId, u32, Request)>>,
    parked: Rc<parking::ParkedReaders>,
    wake: Rc<dyn WakeReaders>,
    /// Words for this shard, for its controller, and for its steward.
    control: oneshot::Queue<message::Control>,
    applied: oneshot::Queue<i64>,
    steward: oneshot::Queue<message::Control>,
    /// Why the broker cannot go on.
    lost: oneshot::Queue<String>,
    /// Answers to the task that writes the checkpoint files.
    checkpointed: oneshot::Queue<Vec<message::PartitionCheckpoint>>,
    /// Topic settings in force, resolved once per change.
    topic_settings: RefCell<FixedMap<TopicId, Rc<TopicSettings>>>,
    /// What the checkpoint files say of partitions whose logs could not be opened.
    unopened: RefCell<BTreeMap<TopicPartition, message::PartitionCheckpoint>>,
    /// In which log directory each partition is.
    placed: RefCell<FixedMap<TopicPartition, usize>>,
    changes: oneshot::Queue<controller::QueuedChange<W>>,
    /// Topics whose replicas are being removed, while the image still has them.
    leaving: RefCell<BTreeSet<TopicId>>,
    producer_ids: producer_ids::ProducerIds,
    coordinators: coordinators::Coordinators<W>,
    /// One writer of the checkpoint files at a time.
    checkpoint_turn: Turn,
    checkpoint_rounds: checkpoints::Rounds,
    closing: Cell<bool>,
    compacting: compaction::Compacting,
    metrics: Registry,
    measuring: measure::Measuring,
}

/// A request of this shard that another has not answered yet.
struct Call<W: World> {
    reply: oneshot::Sender<Reply<W>>,
    _credit: Credit,
}

impl<W: World> Shard<W> {
    pub fn new(world: W, mesh: &Mesh<Message<W>>, id: ShardId, settings: Arc<BrokerSettings>) -> Rc<Self> {
        let mailbox = Rc::new(mesh.mailbox(id));
        let parked = Rc::new(parking::ParkedReaders::default());
        let wake = Rc::new(parking::Waker { here: mailbox.id(), parked: parked.clone(), mailbox: mailbox.clone() });
        let paths = settings.storage.directories.iter().enumerate();
        let (unflushed_max, shards) = (settings.storage.recovery_bytes_max, u64::from(mesh.shard_count()));
        let directories = paths.map(|(index, path)| {
            directories::LogDirectory::new(index, path.clone(), flushing::Backlog::new(unflushed_max, shards), mailbox.clone())
        });
        let directories = directories.collect();
        let metrics = Registry::new(settings.metrics.timing(), settings.metrics.topics_max as usize);
        Rc::new(Self {
            id: mailbox.id(),
            shard_count: mesh.shard_count(),
            timers: Timers::new(world.clone()),
            world,
            running: RefCell::new(settings.clone()),
            settings,
            mailbox,
            census: mesh.census(),
            image: RefCell::default(),
            replicas: RefCell::default(),
            directories,
            calls: RefCell::default(),
            early: RefCell::default(),
            parked,
            wake,
            control: oneshot::Queue::default(),
            applied: oneshot::Queue::default(),
            steward: oneshot::Queue::default(),
            lost: oneshot::Queue::default(),
            checkpointed: oneshot::Queue::default(),
            topic_settings: RefCell::default(),
            unopened: RefCell::default(),
            placed: RefCell::default(),
            changes: oneshot::Queue::default(),
            leaving: RefCell::default(),
            producer_ids: producer_ids::ProducerIds::default(),
            coordinators: coordinators::Coordinators::default(),
            checkpoint_turn: Turn::default(),
            checkpoint_rounds: checkpoints::Rounds::default(),
            closing: Cell::new(false),
            compacting: compaction::Compacting::default(),
            metrics,
            measuring: measure::Measuring::default(),
        })
    }

    pub fn id(&self) -> ShardId {
        self.id
    }

    pub fn world(&self) -> &W {
        &self.world
    }

    /// As they were at the start; see [`Shard::running`].
    pub fn settings(&self) -> &BrokerSettings {
        &self.settings
    }

    pub fn timers(&self) -> &Timers<W> {
        &self.timers
    }

    pub fn shard_count(&self) -> u16 {
        self.shard_count
    }

    /// What this shard counts.
    pub fn metrics(&self) -> &Registry {
        &self.metrics
    }

    /// The connections of the whole broker.
    pub fn census(&self) -> &Arc<census::Census> {
        &self.census
    }

    pub fn node(&self) -> NodeId {
        self.settings.node.id
    }

    /// The image this shard has applied; cheap to clone, and a request works on one clone from start to end.
    pub fn image(&self) -> Rc<MetadataImage> {
        self.image.borrow().clone()
    }

    pub fn owner(&self, partition: TopicPartition) -> ShardId {
        owner_shard(partition, self.shard_count)
    }

    fn replica(&self, partition: TopicPartition) -> Option<Rc<Replica<W>>> {
        self.replicas.borrow().get(&partition).cloned()
    }

    /// Handles messages until the broker closes.
    pub async fn run(self: Rc<Self>) {
        loop {
            let message = self.mailbox.receive().await;
            self.on_message(message);
            for _ in 0..MESSAGES_PER_TURN {
                match self.mailbox.try_receive() {
                    Some(message) => self.on_message(message),
                    None => break,
                }
            }
            self.world.yield_now().await;
        }
    }

    fn on_message(self: &Rc<Self>, message: Message<W>) {
        self.metrics.mail.received.increment();
        match message {
            Message::Request { from, slot, request } => self.on_request(from, slot, request),
            Message::Reply { slot, reply } => {
                let call = self.calls.borrow_mut().remove(slot as usize);
                call.reply.send(reply);
            }
            Message::Wake { reader } => self.parked.wake(reader),
            Message::GroupAnswer { place, answer } => self.on_group_answer(place, *answer),
            Message::Leave { reader, partitions } => self.leave(reader, &partitions),
            Message::Control(control) => self.on_control(*control),
        }
    }

    fn on_request(self: &Rc<Self>, from: ShardId, slot: u32, request: Request) {
        if request.image_version() > self.image.borrow().version() && !planted::is(Bug::StaleImageServed) {
            self.early.borrow_mut().push((from, slot, request));
            return;
        }
        let responder = Responder::Remote { mailbox: self.mailbox.clone(), to: from, slot };
        self.handle(request, responder);
    }

    /// Serves a request; the responder answers now or later.
    fn handle(self: &Rc<Self>, request: Request, responder: Responder<W>) {
        match request {
            Request::Append(request) if planted::is(Bug::OffsetReservedLate) => {
                let shard = self.clone();
                self.world.spawn(crate::io::Urgency::Foreground, async move { shard.handle_append(request, responder) });
            }
            Request::Append(request) => self.handle_append(request, responder),
            Request::Plan(request) => self.handle_plan(request, responder),
            Request::Offsets(request) => self.handle_offsets(request, responder),
            Request::EpochEnds(request) => self.handle_epoch_ends(request, responder),
            Request::Producers(request) => self.handle_producers(request, responder),
            Request::Group(request) => self.handle_group_call(request, responder),
            Request::Change(change) => self.changes.push(controller::QueuedChange { change, responder }),
            Request::DeleteRecords(request) => self.handle_delete_records(request, responder),
            Request::LogSizes(request) => self.handle_log_sizes(&request, responder),
            Request::Checkpoint => self.handle_checkpoint(responder),
        }
    }

    /// Sends a request to the shard that serves it. Resolves once it is in order behind every earlier request to that shard: only then
    /// may the caller go on to its next request. The receiver resolves with the reply.
    pub async fn call(self: &Rc<Self>, to: ShardId, request: Request) -> oneshot::Receiver<Reply<W>> {
        let (reply, receiver) = oneshot::oneshot();
        if to == self.id {
            self.handle(request, Responder::Local(reply));
            return receiver;
        }
        let kind = request.kind();
        if self.mailbox.is_full(to, kind) {
            self.metrics.mail.held_back.increment();
        }
        let credit = self.mailbox.credit(to, kind).await;
        let slot = self.calls.borrow_mut().insert(Call { reply, _credit: credit }) as u32;
        self.mailbox.send_request(to, Message::Request { from: self.id, slot, request });
        receiver
    }

    fn leave(&self, reader: ReaderId, partitions: &[TopicPartition]) {
        for partition in partitions {
            if let Some(replica) = self.replica(*partition) {
                replica.leave(reader);
            }
        }
    }
}

/// Where the answer to a request goes.
pub enum Responder<W: World> {
    Local(oneshot::Sender<Reply<W>>),
    Remote { mailbox: Rc<Mailbox<Message<W>>>, to: ShardId, slot: u32 },
}

impl<W: World> Responder<W> {
    fn respond(self, reply: Reply<W>) {
        match self {
            Responder::Local(sender) => sender.send(reply),
            Responder::Remote { mailbox, to, slot } => mailbox.send_internal(to, Message::Reply { slot, reply }),
        }
    }
}
