//! The fetch path across shards: read plans, and look-ups of offsets, epochs and producers, answered by the owner with owned values.

use std::any::Any;
use std::rc::Rc;

use crate::io::{Urgency, World};
use crate::partition::{OffsetsAnswer, Planned, PlannedRead, ReaderId, Refusal};
use crate::storage::ActiveProducer;
use crate::types::{LeaderEpoch, Offset, ShardId, TopicPartition};

use super::message::{EpochEndsRequest, Message, OffsetsRequest, PlanRequest, ProducersRequest, Reply, Request};
use super::{Responder, Shard, oneshot};

/// Reads being planned by their owner.
pub struct PlanPending<W: World> {
    world: W,
    /// There until it was answered.
    reply: Option<oneshot::Receiver<Reply<W>>>,
    until_answered: Option<Rc<dyn Any>>,
}

impl<W: World> PlanPending<W> {
    /// The plans, in the order of the request. `None` when the broker closes meanwhile.
    pub async fn planned(mut self) -> Option<Vec<Result<PlannedRead<W>, Refusal>>> {
        let reply = self.reply.as_ref()?.receive().await;
        self.reply = None;
        match reply? {
            Reply::Plan(plans) => Some(plans),
            _ => unreachable!("a plan is answered with a plan's reply"),
        }
    }
}

impl<W: World> Drop for PlanPending<W> {
    /// Whoever asked may be gone, and the owner park the reader only then.
    fn drop(&mut self) {
        if let (Some(reply), Some(kept)) = (self.reply.take(), self.until_answered.take()) {
            self.world.spawn(Urgency::Foreground, async move {
                let _answered = reply.receive().await;
                drop(kept);
            });
        }
    }
}

impl<W: World> Shard<W> {
    /// Asks for plans of partitions that `owner` owns; resolves once the request is on its way. What is given with it lives until the answer has
    /// come, also if nobody waits for that any more: a place to park is not given up before it may have been taken.
    pub async fn begin_plan(self: &Rc<Self>, owner: ShardId, request: PlanRequest, until_answered: Option<Rc<dyn Any>>) -> PlanPending<W> {
        PlanPending { world: self.world.clone(), reply: Some(self.call(owner, Request::Plan(request)).await), until_answered }
    }

    /// Looks up offsets in partitions that `owner` owns. `None` when the broker closes meanwhile.
    pub async fn offsets(self: &Rc<Self>, owner: ShardId, request: OffsetsRequest) -> Option<Vec<Result<OffsetsAnswer, Refusal>>> {
        match self.call(owner, Request::Offsets(request)).await.receive().await? {
            Reply::Offsets(answers) => Some(answers),
            _ => unreachable!("an offset look-up is answered with its reply"),
        }
    }

    /// Looks up where leader epochs ended in partitions that `owner` owns. `None` when the broker closes meanwhile.
    pub async fn epoch_ends(
        self: &Rc<Self>,
        owner: ShardId,
        request: EpochEndsRequest,
    ) -> Option<Vec<Result<(LeaderEpoch, Offset), Refusal>>> {
        match self.call(owner, Request::EpochEnds(request)).await.receive().await? {
            Reply::EpochEnds(answers) => Some(answers),
            _ => unreachable!("a look-up of epochs is answered with its reply"),
        }
    }

    /// Looks up the producers of partitions that `owner` owns. `None` when the broker closes meanwhile.
    pub async fn producers(
        self: &Rc<Self>,
        owner: ShardId,
        request: ProducersRequest,
    ) -> Option<Vec<Result<Vec<ActiveProducer>, Refusal>>> {
        match self.call(owner, Request::Producers(request)).await.receive().await? {
            Reply::Producers(answers) => Some(answers),
            _ => unreachable!("a look-up of producers is answered with its reply"),
        }
    }

    /// Tells an owner that a fetch no longer waits there.
    pub fn stop_waiting(self: &Rc<Self>, owner: ShardId, reader: ReaderId, partitions: Vec<TopicPartition>) {
        if owner == self.id {
            self.leave(reader, &partitions);
        } else {
            self.mailbox.send_internal(owner, Message::Leave { reader, partitions });
        }
    }

    pub(super) fn handle_plan(self: &Rc<Self>, request: PlanRequest, responder: Responder<W>) {
        let mut plans = Vec::with_capacity(request.reads.len());
        let mut unplanned = Vec::new();
        let mut found: u64 = 0;
        for (index, (partition, read)) in request.reads.iter().enumerate() {
            let planned = match self.replica(*partition) {
                Some(replica) => replica.try_plan_read(read).map(|planned| (planned, replica)),
                None => Err(self.refusal_without_replica(*partition)),
            };
            plans.push(match planned {
                Ok((Planned::Ready(read), _)) => {
                    found += read.range.as_ref().map_or(0, |range| range.available);
                    Some(Ok(read))
                }
                Ok((Planned::NeedsLookup, replica)) => {
                    unplanned.push((index, replica, *read));
                    None
                }
                Err(refusal) => Some(Err(refusal)),
            });
        }
        // Parked in the same step that found too little, so that no append is missed between the look and the wait.
        if let Some(reader) = request.park
            && found < request.min_bytes
        {
            for (partition, _) in &request.reads {
                if let Some(replica) = self.replica(*partition) {
                    replica.park(reader);
                }
            }
        }
        if unplanned.is_empty() {
            responder.respond(Reply::Plan(plans.into_iter().flatten().collect()));
            return;
        }
        let shard = self.clone();
        self.world.spawn(Urgency::Foreground, async move {
            for (index, replica, read) in unplanned {
                let planned = replica.plan_read(&read).await;
                found += planned.as_ref().ok().and_then(|read| read.range.as_ref()).map_or(0, |range| range.available);
                plans[index] = Some(planned);
            }
            if let Some(reader) = request.park
                && found >= request.min_bytes
            {
                // The look found enough, and whoever asked takes it that nothing is parked.
                let partitions: Vec<TopicPartition> = request.reads.iter().map(|(partition, _)| *partition).collect();
                shard.leave(reader, &partitions);
            }
            responder.respond(Reply::Plan(plans.into_iter().flatten().collect()));
        });
    }

    pub(super) fn handle_offsets(self: &Rc<Self>, request: OffsetsRequest, responder: Responder<W>) {
        let shard = self.clone();
        self.world.spawn(Urgency::Foreground, async move {
            let mut answers = Vec::with_capacity(request.queries.len());
            for (partition, epoch, query) in request.queries {
                answers.push(match shard.replica(partition) {
                    Some(replica) => replica.offsets(query, request.isolation, epoch).await,
                    None => Err(shard.refusal_without_replica(partition)),
                });
            }
            responder.respond(Reply::<W>::Offsets(answers));
        });
    }

    pub(super) fn handle_epoch_ends(&self, request: EpochEndsRequest, responder: Responder<W>) {
        let answer = |(partition, current, epoch)| match self.replica(partition) {
            Some(replica) => replica.end_of_epoch(epoch, current),
            None => Err(self.refusal_without_replica(partition)),
        };
        responder.respond(Reply::EpochEnds(request.queries.into_iter().map(answer).collect()));
    }

    pub(super) fn handle_producers(&self, request: ProducersRequest, responder: Responder<W>) {
        let answer = |partition| match self.replica(partition) {
            Some(replica) => replica.active_producers(),
            None => Err(self.refusal_without_replica(partition)),
        };
        responder.respond(Reply::Producers(request.partitions.into_iter().map(answer).collect()));
    }

    /// A partition without a replica here: known to the image, its directory failed; unknown or about to be, it was deleted.
    pub(super) fn refusal_without_replica(&self, partition: TopicPartition) -> Refusal {
        if self.leaving.borrow().contains(&partition.topic) {
            return Refusal::Unknown;
        }
        let image = self.image.borrow();
        let known = image.topic_by_id(partition.topic).is_some_and(|topic| (partition.partition.get() as usize) < topic.partitions.len());
        if known { Refusal::Offline } else { Refusal::Unknown }
    }
}
