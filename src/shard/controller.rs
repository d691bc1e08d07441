//! The controller's host: the one task of the broker that changes the metadata log.
//!
//! Called through [`Shard::change`] from any shard; lives on shard 0. Decisions are `metadata`'s, and pure; here they are appended to the
//! log's home, applied, and made known to every shard before the client is answered.
//!
//! Invariants:
//! 1. Changes are made one at a time, each on the image that the one before left.
//! 2. A change is answered after every shard of this broker has applied it.
//! 3. After a failure that leaves the log in doubt nothing more is changed until the broker is restarted.

use std::rc::Rc;
use std::sync::Arc;

use crate::io::{Urgency, World};
use crate::metadata::controller::{CommitError, Controller};
use crate::metadata::decision::{
    self, Alteration, ConfigEdit, CreatePartitions, CreateTopic, CreatedTopic, Decision, Defaults, DeleteAnswer, DeleteTopic, Deletion,
    Named, ProducerIdBlock, Refused,
};
use crate::metadata::home::Home;
use crate::metadata::image::{Delta, MetadataImage};
use crate::metadata::record::Resource;
use crate::storage::planted::{self, Bug};
use crate::types::{BrokerEpoch, NodeId, ShardId, TopicPartition};
use crate::wire::error::ErrorCode;

use super::message::{Control, Message, Reply, Request};
use super::settings::Rules;
use super::{Responder, Shard};

/// The shard that hosts the controller.
pub const HOME_SHARD: ShardId = ShardId(0);

/// Partitions one request may create, as in Kafka.
const REQUEST_PARTITIONS_MAX: usize = 10_000;
/// Partitions of the whole cluster: beyond, creation is refused.
const CLUSTER_PARTITIONS_MAX: usize = 1_000_000;

/// A change to the cluster that a client asks for.
pub enum Change {
    CreateTopics(CreateTopics),
    CreatePartitions(Asked<CreatePartitions>),
    DeleteTopics(Vec<DeleteTopic>),
    /// Key by key.
    AlterConfigs(Asked<Alteration<ConfigEdit>>),
    /// All overrides of each resource at once.
    ReplaceConfigs(Asked<Alteration<(String, String)>>),
    /// A broker is gone for good.
    UnregisterBroker(NodeId),
    /// A block of producer ids for this broker.
    AllocateProducerIds,
    /// The log directory of these partitions of this broker has failed.
    LoseReplicas(Vec<TopicPartition>),
}

/// Changes of one kind.
pub struct Asked<T> {
    pub changes: Vec<T>,
    /// Answer as if, change nothing.
    pub validate_only: bool,
}

/// What became of each resource's configs.
pub type Altered = Vec<(Resource, Result<(), Refused>)>;

pub struct CreateTopics {
    pub topics: Vec<CreateTopic>,
    /// Answer as if, change nothing.
    pub validate_only: bool,
}

impl CreateTopics {
    /// Topics with the broker's default counts and configs.
    pub fn with_defaults(names: &[String]) -> Self {
        let topic = |name: &String| CreateTopic {
            name: name.clone(),
            partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
        };
        Self { topics: names.iter().map(topic).collect(), validate_only: false }
    }
}

/// What a change came to; [`Shard::create_topics`] and its like give each caller its own kind.
pub enum ChangeAnswer {
    Created(Vec<Named<CreatedTopic>>),
    /// How many partitions each topic has.
    Extended(Vec<Named<i32>>),
    Altered(Altered),
    Deleted(Vec<DeleteAnswer>),
    ProducerIds(ProducerIdBlock),
    Lost,
    Unregistered,
    /// Answers every part of the request alike.
    Refused(Refused),
}

impl ChangeAnswer {
    /// What is left once the answer that was asked for is not there.
    fn refusal(self) -> Refused {
        match self {
            Self::Refused(refused) => refused,
            Self::Created(_)
            | Self::Extended(_)
            | Self::Altered(_)
            | Self::Deleted(_)
            | Self::ProducerIds(_)
            | Self::Lost
            | Self::Unregistered => {
                unreachable!("a change is answered in kind")
            }
        }
    }
}

/// A change and where its answer goes.
pub struct QueuedChange<W: World> {
    pub change: Change,
    pub responder: Responder<W>,
}

impl<W: World> Shard<W> {
    /// An answer for each topic, or one for all of them. `None` when the broker closes meanwhile.
    pub async fn create_topics(self: &Rc<Self>, request: CreateTopics) -> Option<Result<Vec<Named<CreatedTopic>>, Refused>> {
        match self.change(Change::CreateTopics(request)).await? {
            ChangeAnswer::Created(created) => Some(Ok(created)),
            other => Some(Err(other.refusal())),
        }
    }

    /// As [`Shard::create_topics`].
    pub async fn delete_topics(self: &Rc<Self>, topics: Vec<DeleteTopic>) -> Option<Result<Vec<DeleteAnswer>, Refused>> {
        match self.change(Change::DeleteTopics(topics)).await? {
            ChangeAnswer::Deleted(deleted) => Some(Ok(deleted)),
            other => Some(Err(other.refusal())),
        }
    }

    /// As [`Shard::create_topics`].
    pub async fn create_partitions(self: &Rc<Self>, asked: Asked<CreatePartitions>) -> Option<Result<Vec<Named<i32>>, Refused>> {
        match self.change(Change::CreatePartitions(asked)).await? {
            ChangeAnswer::Extended(extended) => Some(Ok(extended)),
            other => Some(Err(other.refusal())),
        }
    }

    /// As [`Shard::create_topics`].
    pub async fn alter_configs(self: &Rc<Self>, asked: Asked<Alteration<ConfigEdit>>) -> Option<Result<Altered, Refused>> {
        self.altered(Change::AlterConfigs(asked)).await
    }

    /// As [`Shard::create_topics`].
    pub async fn replace_configs(self: &Rc<Self>, asked: Asked<Alteration<(String, String)>>) -> Option<Result<Altered, Refused>> {
        self.altered(Change::ReplaceConfigs(asked)).await
    }

    async fn altered(self: &Rc<Self>, change: Change) -> Option<Result<Altered, Refused>> {
        match self.change(change).await? {
            ChangeAnswer::Altered(altered) => Some(Ok(altered)),
            other => Some(Err(other.refusal())),
        }
    }

    pub(super) async fn allocate_producer_ids(self: &Rc<Self>) -> Option<Result<ProducerIdBlock, Refused>> {
        match self.change(Change::AllocateProducerIds).await? {
            ChangeAnswer::ProducerIds(block) => Some(Ok(block)),
            other => Some(Err(other.refusal())),
        }
    }

    /// Has the controller take the lead from this broker's replicas in a log directory that has failed.
    pub(super) fn report_lost(self: &Rc<Self>, lost: Vec<TopicPartition>) {
        if lost.is_empty() {
            return;
        }
        let shard = self.clone();
        self.world.spawn(Urgency::Foreground, async move {
            if let Some(ChangeAnswer::Refused(refused)) = shard.change(Change::LoseReplicas(lost)).await {
                tracing::error!("clients are not told that partitions are offline: {refused}");
            }
        });
    }

    /// Forgets a broker; `None` as with [`Shard::create_topics`].
    pub async fn unregister_broker(self: &Rc<Self>, node: NodeId) -> Option<Result<(), Refused>> {
        match self.change(Change::UnregisterBroker(node)).await? {
            ChangeAnswer::Unregistered => Some(Ok(())),
            other => Some(Err(other.refusal())),
        }
    }

    /// Has the controller make a change. `None` when the broker closes meanwhile.
    async fn change(self: &Rc<Self>, change: Change) -> Option<ChangeAnswer> {
        match self.call(HOME_SHARD, Request::Change(change)).await.receive().await? {
            Reply::Change(answer) => Some(answer),
            _ => unreachable!("a change is answered with a change's reply"),
        }
    }

    /// Makes an image known to every shard and waits until all have applied it.
    async fn publish(self: &Rc<Self>, image: &MetadataImage, delta: &Arc<Delta>) {
        for shard in 0..self.shard_count {
            let control = Control::Apply { image: image.clone(), delta: delta.clone() };
            self.mailbox.send_internal(ShardId(shard), Message::Control(Box::new(control)));
        }
        let waited_for = if planted::is(Bug::AnsweredBeforeApplied) { 0 } else { self.shard_count };
        for _ in 0..waited_for {
            self.applied.pop().await;
        }
    }
}

/// The task that makes changes, one after another.
pub struct ControllerHost<W: World, H> {
    shard: Rc<Shard<W>>,
    controller: Controller<H>,
    /// Why nothing more can be changed.
    broken: Option<String>,
}

impl<W: World, H: Home> ControllerHost<W, H> {
    pub fn new(shard: Rc<Shard<W>>, controller: Controller<H>) -> Self {
        Self { shard, controller, broken: None }
    }

    /// Makes changes until the broker closes.
    pub async fn run(mut self) {
        loop {
            let QueuedChange { change, responder } = self.shard.changes.pop().await;
            let answer = match &self.broken {
                Some(why) => unavailable(why.clone()),
                None => self.change(change).await,
            };
            responder.respond(Reply::<W>::Change(answer));
        }
    }

    async fn change(&mut self, change: Change) -> ChangeAnswer {
        match change {
            Change::CreateTopics(request) => self.create_topics(request).await,
            Change::CreatePartitions(asked) => {
                let (defaults, world) = (self.defaults(), self.shard.world());
                let decision = decision::create_partitions(self.controller.image(), &asked.changes, &defaults, &mut || world.random());
                self.carry_out_unless(asked.validate_only, decision).await.map_or_else(unavailable, ChangeAnswer::Extended)
            }
            Change::AlterConfigs(asked) => {
                let decision = self.ruled(|image, rules| decision::alter_configs(image, &asked.changes, rules));
                self.carry_out_unless(asked.validate_only, decision).await.map_or_else(unavailable, ChangeAnswer::Altered)
            }
            Change::ReplaceConfigs(asked) => {
                let decision = self.ruled(|image, rules| decision::replace_configs(image, &asked.changes, rules));
                self.carry_out_unless(asked.validate_only, decision).await.map_or_else(unavailable, ChangeAnswer::Altered)
            }
            Change::DeleteTopics(topics) => {
                let deletion = if self.shard.settings().topics.delete_enabled { Deletion::Enabled } else { Deletion::Disabled };
                match decision::delete_topics(self.controller.image(), &topics, deletion) {
                    Ok(decision) => self.carry_out(decision).await.map_or_else(unavailable, ChangeAnswer::Deleted),
                    Err(refused) => ChangeAnswer::Refused(refused),
                }
            }
            Change::UnregisterBroker(node) => match decision::unregister_broker(self.controller.image(), node) {
                Ok(decision) => self.carry_out(decision).await.map_or_else(unavailable, |()| ChangeAnswer::Unregistered),
                Err(refused) => ChangeAnswer::Refused(refused),
            },
            Change::AllocateProducerIds => {
                let (image, node) = (self.controller.image(), self.shard.node());
                let broker_epoch = image.broker(node).map_or(BrokerEpoch(-1), |broker| broker.broker_epoch);
                match decision::allocate_producer_ids(image, node, broker_epoch) {
                    Ok(decision) => self.carry_out(decision).await.map_or_else(unavailable, ChangeAnswer::ProducerIds),
                    Err(refused) => ChangeAnswer::Refused(refused),
                }
            }
            Change::LoseReplicas(lost) => {
                let decision = decision::lose_replicas(self.controller.image(), self.shard.node(), &lost);
                self.carry_out(decision).await.map_or_else(unavailable, |()| ChangeAnswer::Lost)
            }
        }
    }

    async fn create_topics(&mut self, request: CreateTopics) -> ChangeAnswer {
        let (defaults, world) = (self.defaults(), self.shard.world());
        let decision = self.ruled(|image, rules| decision::create_topics(image, &request.topics, &defaults, rules, &mut || world.random()));
        match decision {
            Ok(decision) => self.carry_out_unless(request.validate_only, decision).await.map_or_else(unavailable, ChangeAnswer::Created),
            Err(refused) => ChangeAnswer::Refused(refused),
        }
    }

    fn defaults(&self) -> Defaults {
        let topics = &self.shard.settings().topics;
        Defaults {
            num_partitions: topics.partitions as i32,
            default_replication_factor: topics.replication_factor as i16,
            request_partitions_max: REQUEST_PARTITIONS_MAX,
            cluster_partitions_max: CLUSTER_PARTITIONS_MAX,
            cordoned: (0..self.shard.directories.len()).all(|index| self.shard.is_cordoned(index)).then_some(self.shard.node()),
        }
    }

    /// A decision by the rules of the configuration table.
    fn ruled<T>(&self, decide: impl FnOnce(&MetadataImage, &Rules<'_>) -> T) -> T {
        let (image, running) = (self.controller.image(), self.shard.running());
        decide(image, &Rules { started: self.shard.settings(), running: &running, image })
    }

    async fn carry_out_unless<T>(&mut self, validate_only: bool, decision: Decision<T>) -> Result<T, String> {
        if validate_only { Ok(decision.answer) } else { self.carry_out(decision).await }
    }

    /// Appends a decision's records and makes them known; the answer may then be given.
    async fn carry_out<T>(&mut self, decision: Decision<T>) -> Result<T, String> {
        let Decision { records, answer } = decision;
        if records.is_empty() {
            return Ok(answer);
        }
        match self.controller.commit(records).await {
            Ok(delta) => {
                let image = self.controller.image();
                let deletes = !delta.deleted.is_empty();
                self.shard.publish(image, &Arc::new(delta)).await;
                while deletes && let Err((directory, error)) = self.shard.forget_unknown(image).await {
                    // Nothing may use the name again over what is left there: a start clears it.
                    self.shard.on_directory_failed(directory, &format!("checkpoints of a deleted topic are left: {error}"));
                }
                Ok(answer)
            }
            Err(error @ CommitError::NotCommitted) => Err(error.to_string()),
            Err(error) => {
                let why = error.to_string();
                self.shard.on_metadata_failed(&why);
                self.broken = Some(why.clone());
                Err(why)
            }
        }
    }
}

fn unavailable(why: String) -> ChangeAnswer {
    ChangeAnswer::Refused(Refused { code: ErrorCode::UnknownServerError, message: Some(why) })
}
