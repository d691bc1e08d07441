//! The coordinators of this shard: one machine for each partition of `__consumer_offsets` that it owns.
//!
//! Called by the handlers of group requests, from any shard, and by what follows the image; calls the hosts. Lives on every shard.
//!
//! ```text
//!   host    one machine: its queue, its phases        load    its state from the log
//!   serve   events, appends, replies                  gate    how many load at one time
//! ```
//!
//! Invariants:
//! 1. A machine is hosted from the moment its partition's replica is open until the topic is gone or the broker closes.
//! 2. A call crosses shards as a request that is answered as soon as it has a place in the machine's queue: a JoinGroup that waits for
//!    minutes holds no credit of a mailbox. Its answer comes later, in the lane that is never refused, to a place reserved before.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use slab::Slab;

use crate::coordinator::group::{Answer, Call, Groups, refusal};
use crate::io::World;
use crate::metadata::decision::CONSUMER_OFFSETS;
use crate::metadata::image::MetadataImage;
use crate::metrics::{Committed, GroupGauges};
use crate::types::{PartitionIndex, ShardId, TopicId, TopicName, TopicPartition};
use crate::wire::batch::Codec;
use crate::wire::error::ErrorCode;

use super::message::{GroupCall, Message, Reply, Request};
use super::{Responder, Shard, oneshot};

mod gate;
mod groups;
mod host;
mod load;
mod serve;
#[cfg(test)]
mod tests;

use gate::Gate;
use host::{Deliver, Entry, Host, Phase, Surroundings, Writing};

/// Logs a shard reads into machines at one time.
const LOADS_MAX: usize = 4;

pub(super) struct Coordinators<W: World> {
    groups: RefCell<BTreeMap<TopicPartition, Rc<Host<W, Groups>>>>,
    loads: Rc<Gate>,
    /// Calls of this shard's connections, by the place their answers come to.
    asked: RefCell<Slab<oneshot::Sender<Answer>>>,
}

impl<W: World> Default for Coordinators<W> {
    fn default() -> Self {
        Self { groups: RefCell::default(), loads: Rc::new(Gate::new(LOADS_MAX)), asked: RefCell::default() }
    }
}

/// A call on its way.
pub struct GroupPending {
    answer: oneshot::Receiver<Answer>,
}

impl GroupPending {
    /// `None` when the broker closes meanwhile.
    pub async fn answered(self) -> Option<Answer> {
        self.answer.receive().await
    }
}

impl<W: World> Shard<W> {
    /// Sends a call to the machine of a partition of `__consumer_offsets`; resolves once the call is in order behind earlier ones.
    pub async fn begin_group_call(self: &Rc<Self>, partition: TopicPartition, image_version: i64, call: Call) -> GroupPending {
        let (sender, answer) = oneshot::oneshot();
        let place = self.coordinators.asked.borrow_mut().insert(sender) as u32;
        let request = GroupCall { image_version, partition, from: self.id, place, call: Box::new(call) };
        // Whether there was room is of no interest here: until there is, the credit is kept, and that holds back the next.
        drop(self.call(self.owner(partition), Request::Group(request)).await);
        GroupPending { answer }
    }

    pub(super) fn handle_group_call(self: &Rc<Self>, request: GroupCall, responder: Responder<W>) {
        let GroupCall { partition, from, place, call, .. } = request;
        let host = self.coordinators.groups.borrow().get(&partition).cloned();
        let deliver = self.delivery(from, place);
        let taken: Box<dyn FnOnce()> = Box::new(move || responder.respond(Reply::<W>::GroupCallTaken));
        match host {
            Some(host) => host.push(Entry { request: *call, deliver, taken }),
            None => {
                taken();
                deliver(refusal(&call, ErrorCode::NotCoordinator));
            }
        }
    }

    fn delivery(self: &Rc<Self>, to: ShardId, place: u32) -> Deliver<Answer> {
        if to == self.id {
            let shard = Rc::downgrade(self);
            return Box::new(move |answer| {
                if let Some(shard) = shard.upgrade() {
                    shard.on_group_answer(place, answer);
                }
            });
        }
        let mailbox = self.mailbox.clone();
        Box::new(move |answer| mailbox.send_internal(to, Message::GroupAnswer { place, answer: Box::new(answer) }))
    }

    pub(super) fn on_group_answer(&self, place: u32, answer: Answer) {
        let sender = self.coordinators.asked.borrow_mut().remove(place as usize);
        sender.send(answer);
    }

    /// Hosts the machines of partitions whose replicas are here and have none yet.
    pub(super) fn host_coordinators(self: &Rc<Self>) {
        let image = self.image();
        let Some(topic) = image.topic_by_name(CONSUMER_OFFSETS) else { return };
        let replicas = self.replicas.borrow();
        let here = replicas.values().filter(|replica| replica.id().topic == topic.id);
        for replica in here {
            let id = replica.id();
            let leads = image.partition(id).is_some_and(|partition| partition.leader == Some(self.node()));
            if leads && !self.coordinators.groups.borrow().contains_key(&id) {
                let settings = self.settings.clone();
                let new_machine = Box::new(move || groups::machine(&settings));
                let host = Host::start(self.surroundings(id.topic), replica.clone(), new_machine);
                self.coordinators.groups.borrow_mut().insert(id, host);
            }
        }
    }

    fn surroundings(self: &Rc<Self>, topic: TopicId) -> Surroundings<W> {
        let (of_image, of_writing) = (Rc::downgrade(self), Rc::downgrade(self));
        let settings = self.settings.clone();
        let codec = Codec::from_bits(settings.offsets.compression_codec.into()).unwrap_or_default();
        Surroundings {
            world: self.world.clone(),
            timers: self.timers.clone(),
            image: Box::new(move || of_image.upgrade().map(|shard| shard.image()).unwrap_or_default()),
            writing: Box::new(move || Writing {
                batch_bytes_max: batch_bytes_max(&of_writing, topic),
                codec,
                append_timeout: Duration::from_millis(settings.offsets.commit_timeout_ms.into()),
                decompressed_bytes_max: usize::try_from(settings.storage.decompressed_bytes_max).unwrap_or(usize::MAX),
            }),
            loads: self.coordinators.loads.clone(),
            counts: self.metrics.groups.clone(),
        }
    }

    /// Tells the machines of an image that they may have to act on.
    pub(super) fn tell_coordinators(&self) {
        self.hosts().iter().for_each(|host| host.on_image_changed());
    }

    /// Has the hosts look whether their logs are still in service.
    pub(super) fn alarm_coordinators(&self) {
        self.hosts().iter().for_each(|host| host.look());
    }

    /// Ends the machines of a topic that goes.
    pub(super) fn stop_coordinators_of(&self, topic: TopicId) {
        self.coordinators.groups.borrow_mut().retain(|id, host| {
            if id.topic == topic {
                host.stop(ErrorCode::NotCoordinator);
            }
            id.topic != topic
        });
    }

    /// Ends all machines; resolves when every call has been answered.
    pub(super) async fn stop_coordinators(&self) {
        let hosts = self.hosts();
        hosts.iter().for_each(|host| host.stop(ErrorCode::CoordinatorNotAvailable));
        for host in hosts {
            host.ended().await;
        }
    }

    /// The coordinators and groups here.
    pub(super) fn group_gauges(&self) -> GroupGauges {
        let mut gauges = GroupGauges::default();
        for host in self.hosts() {
            *match host.phase() {
                Phase::Loading => &mut gauges.coordinators_loading,
                Phase::Serving => &mut gauges.coordinators_serving,
                Phase::Refusing(_) => &mut gauges.coordinators_out_of_service,
            } += 1;
            let Some(census) = host.with_machine_mut(Groups::census) else { continue };
            gauges.empty += census.empty as u64;
            gauges.preparing_rebalance += census.preparing_rebalance as u64;
            gauges.completing_rebalance += census.completing_rebalance as u64;
            gauges.stable += census.stable as u64;
            gauges.members += census.members as u64;
            self.metrics.groups.on_rebalances(host.rebalances_since(census.rebalances), &census.rebalance_durations);
        }
        gauges
    }

    /// Up to `most` of the offsets committed here, and how many more there are.
    pub(super) fn committed(&self, most: usize) -> (Vec<Committed>, u64) {
        let mut committed = Vec::new();
        let mut unnamed = 0;
        for host in self.hosts() {
            let look = |groups: &Groups| {
                for one in groups.committed_offsets() {
                    if committed.len() == most {
                        unnamed += 1;
                        continue;
                    }
                    committed.push(Committed {
                        group: one.group.to_owned(),
                        topic: TopicName::new(one.topic),
                        partition: PartitionIndex(one.partition),
                        offset: one.offset,
                    });
                }
            };
            host.with_machine(look);
        }
        (committed, unnamed)
    }

    fn hosts(&self) -> Vec<Rc<Host<W, Groups>>> {
        self.coordinators.groups.borrow().values().cloned().collect()
    }
}

/// `max.message.bytes` of the topic, and no more than a segment takes.
fn batch_bytes_max<W: World>(shard: &Weak<Shard<W>>, topic: TopicId) -> usize {
    let Some(shard) = shard.upgrade() else { return 0 };
    let image: Rc<MetadataImage> = shard.image();
    image.topic_by_id(topic).map_or(0, |topic| {
        let settings = shard.topic_settings(topic);
        settings.message_bytes_max.min(settings.segment_bytes) as usize
    })
}
