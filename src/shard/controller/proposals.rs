//! What others than clients ask of the cluster, through the home of its metadata: old tools write it where Kafka kept it.
//!
//! Part of the controller's host: a proposal is a change like those of clients, made in the same turn; what is refused is one line of the
//! log, since nobody waits for an answer. The home is shown each image that comes of a change.
//!
//! Invariants:
//! 1. A proposal is settled once: carried out or refused. One that could not be decided, because the home did not answer, comes again.
//! 2. A home that cannot be shown anything stops no change: it is tried again, with a pause.

use super::{Asked, Change, ChangeAnswer, CreateTopics, Leading, NotDone, Outcome, RETRY_PAUSE};
use crate::io::World;
use crate::metadata::decision::{self, Election, FactorChange, Reassignment, Refused};
use crate::metadata::home::{Home, HomeError, PartitionWish, Proposal, Proposed};
use crate::metadata::image::MetadataImage;
use crate::types::Monotonic;
use crate::wire::error::ErrorCode;

/// How far the home shows the cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shown {
    /// It is to be looked at, for what others ask as well.
    No,
    /// Up to this version of the image.
    To(i64),
    /// The last attempt failed; the next is due then, however much is changed meanwhile.
    Failed { retry_at: Monotonic },
}

impl<W: World, H: Home + Clone> Leading<'_, W, H> {
    /// Waits until the home is to be looked at.
    pub(super) async fn touched(&self) {
        match self.shown {
            Shown::Failed { retry_at } => {
                let world = self.host.shard.world();
                let left = retry_at.since(world.monotonic());
                if !left.is_zero() {
                    world.sleep(left).await;
                }
            }
            Shown::No | Shown::To(_) => self.host.home.touched().await,
        }
    }

    /// The home is to be looked at.
    pub(super) fn on_touched(&mut self) {
        self.shown = Shown::No;
    }

    fn on_failed(&mut self) {
        self.shown = Shown::Failed { retry_at: self.host.shard.world().monotonic().plus(RETRY_PAUSE) };
    }

    /// Shows the home what has changed, and, where it is to be looked at, does what others ask for there.
    pub(super) async fn keep_shown(&mut self) -> Outcome {
        match self.shown {
            Shown::Failed { retry_at } if self.host.shard.world().monotonic() < retry_at => return Outcome::Lead,
            Shown::Failed { .. } => self.on_touched(),
            Shown::To(version) if version == self.controller.image().version() => return Outcome::Lead,
            Shown::No | Shown::To(_) => {}
        }
        match self.show_home().await {
            Ok(Outcome::StandDown) => Outcome::StandDown,
            Ok(Outcome::Lead) => {
                if !matches!(self.shown, Shown::Failed { .. }) {
                    self.shown = Shown::To(self.controller.image().version());
                    if std::mem::take(&mut self.is_behind) {
                        tracing::info!("the home of the metadata shows the cluster again");
                    }
                }
                Outcome::Lead
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_behind, true) {
                    tracing::warn!("the home of the metadata does not show the cluster as it is: {error}; it is tried again");
                }
                self.on_failed();
                Outcome::Lead
            }
        }
    }

    async fn show_home(&mut self) -> Result<Outcome, HomeError> {
        self.show_image().await?;
        if self.shown != Shown::No {
            return Ok(Outcome::Lead);
        }
        for proposal in self.host.home.proposals().await? {
            let token = &proposal.token;
            match self.propose(&proposal).await {
                Ok(None) => tracing::info!("done as {token} asks"),
                Ok(Some(why)) => tracing::warn!("what {token} asks for is refused: {why}"),
                Err(not_done) => {
                    if !std::mem::replace(&mut self.is_behind, true) {
                        tracing::warn!("what {token} asks for has to wait: {}", not_done.why);
                    }
                    self.on_failed();
                    return Ok(not_done.outcome);
                }
            }
            self.show_image().await?;
            self.host.home.settle(proposal).await?;
        }
        Ok(Outcome::Lead)
    }

    async fn show_image(&self) -> Result<(), HomeError> {
        self.host.home.show(self.controller.image(), self.host.shard.world().wall()).await
    }

    /// Makes the change; why it is refused, if it is.
    async fn propose(&mut self, proposal: &Proposal) -> Result<Option<Refused>, NotDone> {
        if let Some(why) = self.host.broken.clone() {
            return Err(NotDone { code: ErrorCode::UnknownServerError, why, outcome: Outcome::Lead });
        }
        let image = self.controller.image();
        let change = match proposal.change.clone() {
            Proposed::Reassign(wishes) => return Ok(reassign(image, &wishes)),
            Proposed::ElectPreferred(wishes) => return Ok(elect_preferred(image, &wishes)),
            Proposed::CreateTopic(topic) => Change::CreateTopics(CreateTopics { topics: vec![topic], validate_only: false }),
            Proposed::CreatePartitions(growth) => Change::CreatePartitions(Asked { changes: vec![growth], validate_only: false }),
            Proposed::DeleteTopic(topic) => Change::DeleteTopics(vec![topic]),
            Proposed::AlterConfigs(alteration) => Change::AlterConfigs(Asked { changes: vec![alteration], validate_only: false }),
        };
        let answer = match self.change(change).await {
            Ok(answer) => answer,
            Err(not_done) => return not_done.refusal().map(Some),
        };
        Ok(match answer {
            ChangeAnswer::Created(answers) => answers.into_iter().find_map(|(_, answer)| answer.err()),
            ChangeAnswer::Extended(answers) => answers.into_iter().find_map(|(_, answer)| answer.err()),
            ChangeAnswer::Altered(answers) => answers.into_iter().find_map(|(_, answer)| answer.err()),
            ChangeAnswer::Deleted(answers) => answers.into_iter().find_map(|answer| answer.result.err()),
            ChangeAnswer::ProducerIds(_) | ChangeAnswer::Lost | ChangeAnswer::Unregistered => None,
            ChangeAnswer::Refused(refused) => Some(refused),
        })
    }
}

/// What a partition is to have already it has; the rest is refused.
fn reassign(image: &MetadataImage, wishes: &[PartitionWish]) -> Option<Refused> {
    let refusal = |PartitionWish { topic, partition, replicas }: &PartitionWish| {
        decision::reassign(image, topic, *partition, Reassignment::To(replicas), FactorChange::Allowed).err()
    };
    first_of(wishes, refusal)
}

fn elect_preferred(image: &MetadataImage, wishes: &[PartitionWish]) -> Option<Refused> {
    let refusal = |PartitionWish { topic, partition, .. }: &PartitionWish| {
        let refused = decision::elect(image, topic, *partition, Election::Preferred);
        (refused.code != ErrorCode::ElectionNotNeeded).then_some(refused)
    };
    first_of(wishes, refusal)
}

/// One refusal for all of them, which may be as many as a node holds.
fn first_of(wishes: &[PartitionWish], refusal: impl Fn(&PartitionWish) -> Option<Refused>) -> Option<Refused> {
    let mut refused = wishes.iter().filter_map(|wish| refusal(wish).map(|refused| (wish, refused)));
    let (wish, Refused { code, message }) = refused.next()?;
    let others = match refused.count() {
        0 => String::new(),
        count => format!(", and {count} more partitions are refused"),
    };
    let why = message.unwrap_or_else(|| code.name().to_owned());
    Some(Refused { code, message: Some(format!("{}-{}: {why}{others}", wish.topic, wish.partition)) })
}
