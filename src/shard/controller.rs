//! The controller's host: the one task of the broker that changes the metadata log, or follows what another broker's changes.
//!
//! Called through [`Shard::change`] from any shard; lives on shard 0. Decisions are `metadata`'s, and pure; here they are appended to the
//! log's home, applied, and made known to every shard before the client is answered.
//!
//! Invariants:
//! 1. Changes are made one at a time, each on the image that the one before left.
//! 2. A change is answered after every shard of this broker has applied it.
//! 3. After a failure that leaves the log in doubt a home of its own is given up until the broker is restarted; where the home is shared the
//!    controller stands down, and whoever is elected next reads what became of it. So it does after a failure of its own making, with a pause.
//! 4. A change that the home cannot hold, or that is larger than Kafka makes any, is refused to whoever asked for it, and no other is.
//! 5. What a home that is out of reach keeps from being made is refused with REQUEST_TIMED_OUT, what another controller is to make with
//!    NOT_CONTROLLER: clients try both again.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::FutureExt;

use crate::io::{Urgency, World, is_of_process};
use crate::metadata::controller::{CommitError, Controller, Follower, ReplayError};
use crate::metadata::decision::{
    self, Alteration, ConfigEdit, CreatePartitions, CreateTopic, CreatedTopic, Decision, Defaults, DeleteAnswer, DeleteTopic, Deletion,
    Named, ProducerIdBlock, Refused, Registration,
};
use crate::metadata::home::{Home, HomeError, Member};
use crate::metadata::image::{Delta, MetadataImage};
use crate::metadata::record::{Record, Resource};
use crate::storage::planted::{self, Bug};
use crate::types::{BrokerEpoch, NodeId, ShardId, TopicName, TopicPartition};
use crate::wire::error::ErrorCode;

use super::message::{Control, Message, Reply, Request};
use super::settings::Rules;
use super::{Responder, Shard};

mod proposals;

use proposals::Shown;

/// The shard that hosts the controller.
pub const HOME_SHARD: ShardId = ShardId(0);

/// Partitions one request may create, as in Kafka.
const REQUEST_PARTITIONS_MAX: usize = 10_000;
/// Records one request may come to, as in Kafka.
const REQUEST_RECORDS_MAX: usize = 10_000;
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

    /// Has the controller take the lead from this broker's replicas in a log directory that has failed: as soon as this broker has it.
    pub(super) fn report_lost(self: &Rc<Self>, lost: Vec<TopicPartition>) {
        if lost.is_empty() {
            return;
        }
        let shard = self.clone();
        self.world.spawn(Urgency::Foreground, async move {
            let mut is_late = false;
            while let Some(ChangeAnswer::Refused(refused)) = shard.change(Change::LoseReplicas(lost.clone())).await {
                if !matches!(refused.code, ErrorCode::NotController | ErrorCode::RequestTimedOut) {
                    tracing::error!("clients are not told that partitions are offline: {refused}");
                    return;
                }
                if !std::mem::replace(&mut is_late, true) {
                    tracing::warn!("clients are not told yet that partitions are offline: {refused}; it is tried again");
                }
                shard.world.sleep(RETRY_PAUSE).await;
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

/// How long after a failure of the home it is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// The task that makes changes, one after another, where this broker is the controller; where another is, it follows that one's.
pub struct ControllerHost<W: World, H> {
    shard: Rc<Shard<W>>,
    home: H,
    /// What every shard of this broker has applied, or is about to.
    follower: Follower,
    /// What every shard has applied.
    shown: MetadataImage,
    /// Why nothing more can be changed.
    broken: Option<String>,
}

/// What a controller waits for.
enum Event<W: World> {
    Asked(QueuedChange<W>),
    Deposed,
    Members(Vec<Registration>),
    /// The home is to be looked at: see `proposals`.
    Touched,
    /// Of the home, by either wait.
    Failed(HomeError),
}

/// What a broker that stands by waits for.
enum StandingBy<W: World, H> {
    Asked(QueuedChange<W>),
    Elected(Box<Result<Controller<H>, CommitError>>),
    Grown(Result<(), HomeError>),
}

impl<W: World, H: Home + Clone> ControllerHost<W, H> {
    /// `image` is what every shard has applied.
    pub fn new(shard: Rc<Shard<W>>, home: H, image: MetadataImage) -> Self {
        Self { shard, home, follower: Follower::from_image(image.clone()), shown: image, broken: None }
    }

    /// Makes changes, or follows them, until the broker closes. `controller` is there if this broker has been elected.
    pub async fn run(mut self, controller: Option<Controller<H>>) {
        let mut elected = controller;
        loop {
            let controller = match elected.take() {
                Some(controller) => controller,
                None => self.stand_by().await,
            };
            self.lead(controller).await;
        }
    }

    /// Makes changes until another controller is elected.
    async fn lead(&mut self, controller: Controller<H>) {
        let (home, epoch) = (self.home.clone(), controller.epoch());
        let mut leading = Leading { host: self, controller, shown: Shown::No, is_behind: false };
        leading.host.follow_to(leading.controller.image()).await;
        if leading.take_over().await == Outcome::StandDown {
            return;
        }
        let mut deposed = pin!(home.deposed(epoch));
        // Goes on over the turns: whoever asks often does not keep it from its end.
        let mut others = pin!(members_other_than(home.clone(), vec![]));
        loop {
            if leading.keep_shown().await == Outcome::StandDown {
                return;
            }
            let asked = async { Event::Asked(leading.host.shard.changes.pop().await) };
            let ousted = async { (&mut deposed).await.map_or_else(Event::Failed, |()| Event::Deposed) };
            let members = async { (&mut others).await.map_or_else(Event::Failed, Event::Members) };
            let touched = async {
                leading.touched().await;
                Event::Touched
            };
            match ousted.or(members).or(asked).or(touched).await {
                Event::Touched => leading.on_touched(),
                Event::Asked(QueuedChange { change, responder }) => {
                    let (answer, outcome) = leading.answer(change).await;
                    responder.respond(Reply::<W>::Change(answer));
                    if outcome == Outcome::StandDown {
                        return;
                    }
                }
                Event::Deposed => {
                    tracing::info!("this broker is no longer the controller: epoch {epoch} has ended");
                    return;
                }
                Event::Members(members) => {
                    if leading.follow_members(&members).await == Outcome::StandDown {
                        return;
                    }
                    others.set(members_other_than(home.clone(), members.iter().map(Registration::member).collect()));
                }
                Event::Failed(error) => {
                    tracing::error!("the home of the metadata fails: {error}");
                    leading.host.shard.world().sleep(RETRY_PAUSE).await;
                    return;
                }
            }
        }
    }

    /// Follows the log until this broker is elected.
    async fn stand_by(&mut self) -> Controller<H> {
        let node = self.shard.node();
        loop {
            let home = self.home.clone();
            let mut election = pin!(Controller::elect(home.clone(), node));
            let failed = loop {
                let asked = async { StandingBy::Asked(self.shard.changes.pop().await) };
                let elected = async { StandingBy::Elected(Box::new((&mut election).await)) };
                let grown = async { StandingBy::Grown(home.grown_past(self.follower.next()).await) };
                match asked.or(elected).or(grown).await {
                    StandingBy::Asked(QueuedChange { change: _, responder }) => {
                        responder.respond(Reply::<W>::Change(self.not_controller()));
                    }
                    StandingBy::Elected(elected) => match *elected {
                        // What the shards have applied is of a successor.
                        Ok(controller) if controller.image().version() < self.follower.image().version() => {
                            break format!("another controller has been elected since epoch {}", controller.epoch());
                        }
                        Ok(controller) => {
                            tracing::info!("this broker is the controller, epoch {}", controller.epoch());
                            return controller;
                        }
                        Err(error) => break error.to_string(),
                    },
                    StandingBy::Grown(grown) => {
                        let followed = match grown {
                            Ok(()) => self.follow().await,
                            Err(error) => Err(error.into()),
                        };
                        if let Err(error) = followed {
                            break error.to_string();
                        }
                    }
                }
            };
            tracing::warn!("standing by: {failed}");
            self.shard.world().sleep(RETRY_PAUSE).await;
        }
    }

    fn not_controller(&self) -> ChangeAnswer {
        let why = match self.follower.image().controller() {
            Some(controller) if controller.node != self.shard.node() => format!("node {} is the controller", controller.node),
            _ => "a controller is being elected".to_owned(),
        };
        refused(ErrorCode::NotController, why)
    }

    /// Applies what the log has gained.
    async fn follow(&mut self) -> Result<(), ReplayError> {
        loop {
            match self.follower.advance(&self.home).await {
                Ok(None) => return Ok(()),
                Ok(Some(delta)) => self.show(delta).await,
                Err(ReplayError::Home(HomeError::Compacted { .. })) => {
                    let mut newer = Follower::load(&self.home).await?;
                    newer.catch_up(&self.home).await?;
                    let delta = newer.image().since(self.follower.image());
                    self.follower = newer;
                    if !planted::is(Bug::StandByBehind) {
                        self.show(delta).await;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Applies what lies between the shards' image and a controller's.
    async fn follow_to(&mut self, image: &MetadataImage) {
        let delta = image.since(self.follower.image());
        self.follower = Follower::from_image(image.clone());
        if delta != Delta::default() {
            self.show(delta).await;
        }
    }

    /// Makes the follower's image known to every shard.
    async fn show(&mut self, mut delta: Delta) {
        let before = std::mem::replace(&mut self.shown, self.follower.image().clone());
        if !delta.deleted.is_empty() && !delta.created.is_empty() {
            // A name may have been given to another topic, whose partitions are other shards': they find the place empty.
            let removals: Vec<Record> = delta.deleted.iter().map(|(id, _, _)| Record::TopicRemoved { id: *id }).collect();
            match before.apply(&removals, before.version()) {
                Ok((without, removal)) => {
                    self.publish(&without, removal).await;
                    delta.deleted.clear();
                }
                Err(why) => tracing::error!("topics that are gone cannot be taken away by themselves: {why}"),
            }
        }
        self.publish(&self.shown, delta).await;
    }

    /// Lines of deleted topics leave the checkpoint files before their names are anybody's again.
    async fn publish(&self, image: &MetadataImage, delta: Delta) {
        let names: Vec<TopicName> = delta.deleted.iter().map(|(_, name, _)| name.clone()).collect();
        self.shard.publish(image, &Arc::new(delta)).await;
        while !names.is_empty()
            && let Err((directory, error)) = self.shard.forget_unknown(image, &names).await
        {
            if is_of_process(&error) {
                tracing::warn!("checkpoints of a deleted topic are left for now: {error}");
                self.shard.world.sleep(RETRY_PAUSE).await;
            } else {
                // Nothing may use the name again over what is left there: a start clears it.
                self.shard.on_directory_failed(directory, &format!("checkpoints of a deleted topic are left: {error}"));
            }
        }
    }
}

/// Whether the controller goes on after a change.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Outcome {
    Lead,
    StandDown,
}

/// The host as long as it is the controller.
struct Leading<'a, W: World, H> {
    host: &'a mut ControllerHost<W, H>,
    controller: Controller<H>,
    shown: Shown,
    /// The home does not show the cluster as it is, and that has been said.
    is_behind: bool,
}

/// Why a decision was not carried out, and what becomes of the controller.
struct NotDone {
    code: ErrorCode,
    why: String,
    outcome: Outcome,
}

impl NotDone {
    fn answer(self) -> (ChangeAnswer, Outcome) {
        (refused(self.code, self.why), self.outcome)
    }

    /// The refusal, where trying again would not help.
    fn refusal(self) -> Result<Refused, Self> {
        match self.code {
            ErrorCode::RecordListTooLarge | ErrorCode::PolicyViolation => Ok(Refused { code: self.code, message: Some(self.why) }),
            _ => Err(self),
        }
    }
}

impl<W: World, H: Home + Clone> Leading<'_, W, H> {
    async fn answer(&mut self, change: Change) -> (ChangeAnswer, Outcome) {
        if let Some(why) = &self.host.broken {
            return (refused(ErrorCode::UnknownServerError, why.clone()), Outcome::Lead);
        }
        match self.change(change).await {
            Ok(answer) => (answer, Outcome::Lead),
            Err(not_done) => not_done.answer(),
        }
    }

    /// Registers brokers that have a session, fences those that have none.
    async fn follow_members(&mut self, members: &[Registration]) -> Outcome {
        let records = decision::follow_members(self.controller.image(), self.host.shard.node(), members);
        self.note_brokers(records).await
    }

    /// Before anything is placed: on this broker, not on the one whose place it has taken.
    async fn take_over(&mut self) -> Outcome {
        let records = decision::take_over(self.controller.image(), self.host.shard.node());
        self.note_brokers(records).await
    }

    async fn note_brokers(&mut self, records: Vec<Record>) -> Outcome {
        match self.carry_out(Decision { records, answer: () }).await {
            Ok(()) => Outcome::Lead,
            Err(not_done) => {
                tracing::warn!("brokers that came or went are not registered yet: {}", not_done.why);
                // They are looked at anew by whoever is elected next; nobody is, where the home is given up.
                if self.host.broken.is_some() { Outcome::Lead } else { Outcome::StandDown }
            }
        }
    }

    async fn change(&mut self, change: Change) -> Result<ChangeAnswer, NotDone> {
        Ok(match change {
            Change::CreateTopics(request) => self.create_topics(request).await?,
            Change::CreatePartitions(asked) => {
                let (defaults, world) = (self.defaults(), self.host.shard.world());
                let decision = decision::create_partitions(self.controller.image(), &asked.changes, &defaults, &mut || world.random());
                ChangeAnswer::Extended(self.carry_out_unless(asked.validate_only, decision).await?)
            }
            Change::AlterConfigs(asked) => {
                let decision = self.ruled(|image, rules| decision::alter_configs(image, &asked.changes, rules));
                ChangeAnswer::Altered(self.carry_out_unless(asked.validate_only, decision).await?)
            }
            Change::ReplaceConfigs(asked) => {
                let decision = self.ruled(|image, rules| decision::replace_configs(image, &asked.changes, rules));
                ChangeAnswer::Altered(self.carry_out_unless(asked.validate_only, decision).await?)
            }
            Change::DeleteTopics(topics) => {
                let deletion = if self.host.shard.settings().topics.delete_enabled { Deletion::Enabled } else { Deletion::Disabled };
                match decision::delete_topics(self.controller.image(), &topics, deletion) {
                    Ok(decision) => ChangeAnswer::Deleted(self.carry_out_unless(false, decision).await?),
                    Err(refused) => ChangeAnswer::Refused(refused),
                }
            }
            Change::UnregisterBroker(node) => match decision::unregister_broker(self.controller.image(), node) {
                Ok(decision) => {
                    self.carry_out(decision).await?;
                    ChangeAnswer::Unregistered
                }
                Err(refused) => ChangeAnswer::Refused(refused),
            },
            Change::AllocateProducerIds => {
                let (image, node) = (self.controller.image(), self.host.shard.node());
                let broker_epoch = image.broker(node).map_or(BrokerEpoch(-1), |broker| broker.broker_epoch);
                match decision::allocate_producer_ids(image, node, broker_epoch) {
                    Ok(decision) => ChangeAnswer::ProducerIds(self.carry_out(decision).await?),
                    Err(refused) => ChangeAnswer::Refused(refused),
                }
            }
            Change::LoseReplicas(lost) => {
                let decision = decision::lose_replicas(self.controller.image(), self.host.shard.node(), &lost);
                self.carry_out(decision).await?;
                ChangeAnswer::Lost
            }
        })
    }

    async fn create_topics(&mut self, request: CreateTopics) -> Result<ChangeAnswer, NotDone> {
        let (defaults, world) = (self.defaults(), self.host.shard.world());
        let decision = self.ruled(|image, rules| decision::create_topics(image, &request.topics, &defaults, rules, &mut || world.random()));
        Ok(match decision {
            Ok(decision) => ChangeAnswer::Created(self.carry_out_unless(request.validate_only, decision).await?),
            Err(refused) => ChangeAnswer::Refused(refused),
        })
    }

    fn defaults(&self) -> Defaults {
        let shard = &self.host.shard;
        let topics = &shard.settings().topics;
        Defaults {
            num_partitions: topics.partitions as i32,
            default_replication_factor: topics.replication_factor as i16,
            request_partitions_max: REQUEST_PARTITIONS_MAX,
            cluster_partitions_max: CLUSTER_PARTITIONS_MAX,
            cordoned: (0..shard.directories.len()).all(|index| shard.is_cordoned(index)).then_some(shard.node()),
        }
    }

    /// A decision by the rules of the configuration table.
    fn ruled<T>(&self, decide: impl FnOnce(&MetadataImage, &Rules<'_>) -> T) -> T {
        let (image, running) = (self.controller.image(), self.host.shard.running());
        decide(image, &Rules { started: self.host.shard.settings(), running: &running, image })
    }

    /// What a client asks for; with `validate_only` it is no more than answered.
    async fn carry_out_unless<T>(&mut self, validate_only: bool, decision: Decision<T>) -> Result<T, NotDone> {
        if decision.records.len() > REQUEST_RECORDS_MAX {
            let why = "Unable to perform excessively large batch operation.".to_owned();
            return Err(NotDone { code: ErrorCode::PolicyViolation, why, outcome: Outcome::Lead });
        }
        if validate_only { Ok(decision.answer) } else { self.carry_out(decision).await }
    }

    /// Appends a decision's records and makes them known; the answer may then be given.
    async fn carry_out<T>(&mut self, decision: Decision<T>) -> Result<T, NotDone> {
        let Decision { records, answer } = decision;
        if records.is_empty() {
            return Ok(answer);
        }
        match self.controller.commit(records).await {
            Ok(delta) => {
                self.host.follower = Follower::from_image(self.controller.image().clone());
                self.host.show(delta).await;
                Ok(answer)
            }
            Err(error) => Err(self.not_done(error).await),
        }
    }

    async fn not_done(&mut self, error: CommitError) -> NotDone {
        let why = error.to_string();
        let is_shared = self.host.home.is_shared();
        match error {
            CommitError::NotCommitted | CommitError::Unreachable(_) => {
                NotDone { code: ErrorCode::RequestTimedOut, why, outcome: Outcome::Lead }
            }
            CommitError::TooLarge(_) => NotDone { code: ErrorCode::RecordListTooLarge, why, outcome: Outcome::Lead },
            // The log tells the next controller, which may be this broker's, whether the change was made.
            CommitError::InDoubt(_) => NotDone { code: ErrorCode::RequestTimedOut, why, outcome: Outcome::StandDown },
            CommitError::Deposed(_) if is_shared => NotDone { code: ErrorCode::NotController, why, outcome: Outcome::StandDown },
            CommitError::Misfit(_) | CommitError::Replay(_) if is_shared => {
                tracing::error!("metadata cannot be changed: {why}; this broker gives the lead up");
                self.host.shard.world().sleep(RETRY_PAUSE).await;
                NotDone { code: ErrorCode::UnknownServerError, why, outcome: Outcome::StandDown }
            }
            CommitError::Deposed(_) | CommitError::Misfit(_) | CommitError::Replay(_) => {
                self.host.shard.on_metadata_failed(&why);
                self.host.broken = Some(why.clone());
                NotDone { code: ErrorCode::UnknownServerError, why, outcome: Outcome::Lead }
            }
        }
    }
}

async fn members_other_than<H: Home>(home: H, known: Vec<Member>) -> Result<Vec<Registration>, HomeError> {
    home.members_other_than(&known).await
}

fn refused(code: ErrorCode, why: String) -> ChangeAnswer {
    ChangeAnswer::Refused(Refused { code, message: Some(why) })
}
