//! The cluster's first records, and brokers that register and leave for good.

use serde::{Deserialize, Serialize};

use super::{Decision, Refused, directories};
use crate::metadata::home::Member;
use crate::metadata::image::{MetadataImage, PartitionImage};
use crate::metadata::record::{Broker, BrokerState, Endpoint, LeaderChange, PartitionChange, Record, form};
use crate::types::{BrokerEpoch, NodeId, PartitionIndex, TopicId};
use crate::wire::error::ErrorCode;

/// A broker as it announces itself at its start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Registration {
    #[serde(with = "form::node")]
    pub node: NodeId,
    /// Drawn at each start of the process.
    #[serde(with = "form::topic_id")]
    pub incarnation: TopicId,
    pub shard_count: u16,
    pub endpoints: Vec<Endpoint>,
    #[serde(default)]
    pub rack: Option<String>,
}

impl Registration {
    pub fn member(&self) -> Member {
        Member { node: self.node, incarnation: self.incarnation }
    }
}

/// Records that make an empty log this cluster's and finalize these features. For a log that has them already there are none; one that
/// belongs to another cluster is refused.
pub fn found_cluster(image: &MetadataImage, id: &str, features: &[(&str, i16)]) -> Result<Vec<Record>, Refused> {
    let mut records = vec![];
    match image.cluster_id() {
        Some(current) if **current != *id => {
            return Err(Refused::new(ErrorCode::InconsistentClusterId, format!("Expected cluster ID {current}, but got cluster ID {id}")));
        }
        Some(_) => {}
        None => records.push(Record::Cluster { id: id.to_owned() }),
    }
    let current = image.features();
    let changed = features.iter().filter(|(name, level)| current.level(name) != *level);
    records.extend(changed.map(|&(name, level)| Record::Feature { name: name.to_owned(), level, epoch: current.epoch + 1 }));
    Ok(records)
}

/// Registers a broker under a new epoch: the log's end, so that epochs only grow. The same incarnation keeps the epoch it has. Another one
/// comes with log directories that can be written, and leads what had nobody else to lead it.
pub fn register_broker(image: &MetadataImage, registration: &Registration, state: BrokerState) -> Decision<BrokerEpoch> {
    let Registration { node, incarnation, shard_count, endpoints, rack } = registration.clone();
    if let Some(current) = image.broker(node)
        && current.incarnation == incarnation
    {
        return Decision { records: vec![], answer: current.broker_epoch };
    }
    let broker_epoch = BrokerEpoch(image.version());
    let broker = Broker { node, incarnation, broker_epoch, shard_count, endpoints, rack, state };
    let mut records = vec![Record::Broker(broker)];
    records.extend(directories::regain_replicas(image, node));
    Decision { records, answer: broker_epoch }
}

/// Forgets a broker that is gone for good. One that is alive would go on serving what nobody may ask it for any more.
pub fn unregister_broker(image: &MetadataImage, node: NodeId) -> Result<Decision<()>, Refused> {
    let Some(broker) = image.broker(node) else {
        return Err(Refused::new(ErrorCode::BrokerIdNotRegistered, format!("Broker ID {node} is not currently registered")));
    };
    if broker.state != BrokerState::Fenced {
        let text = format!("Broker {node} is alive; stop it before it is unregistered.");
        return Err(Refused::new(ErrorCode::InvalidRequest, text));
    }
    Ok(Decision { records: vec![Record::BrokerRemoved { node }], answer: () })
}

/// What the brokers that have a session, and those that have none, mean for the cluster: newcomers are registered, those that are gone
/// fenced, and what they led is led by nobody. The controller's own node takes new partitions; the others stand by. It is never fenced: it
/// decides this, and makes its own session again.
pub fn follow_members(image: &MetadataImage, controller: NodeId, members: &[Registration]) -> Vec<Record> {
    let mut records = vec![];
    for member in members {
        let state = if member.node == controller { BrokerState::Active } else { BrokerState::StandBy };
        match image.broker(member.node) {
            Some(known) if known.incarnation == member.incarnation => {
                records.extend(change_state(known, state));
                let back = |partition: &PartitionImage| partition.leader.is_none() && partition.isr.contains(&member.node);
                records.extend(leaders(image, back, LeaderChange::To(member.node)));
            }
            _ => {
                // Epochs are offsets: those of one batch differ as their places in it do.
                let Decision { records: mut registered, .. } = register_broker(image, member, state);
                let place = records.len() as i64;
                if let Some(Record::Broker(broker)) = registered.first_mut() {
                    broker.broker_epoch = BrokerEpoch(broker.broker_epoch.get().saturating_add(place));
                }
                records.extend(registered);
            }
        }
    }
    let others = image.brokers().filter(|broker| broker.node != controller);
    for broker in others.filter(|broker| members.iter().all(|member| member.node != broker.node)) {
        records.extend(change_state(broker, BrokerState::Fenced));
        records.extend(leaders(image, |partition| partition.leader == Some(broker.node), LeaderChange::None));
    }
    records
}

/// A new controller's first records: what is new goes to its own broker from here on.
pub fn take_over(image: &MetadataImage, controller: NodeId) -> Vec<Record> {
    let changed = image.brokers().filter_map(|broker| match (broker.node == controller, broker.state) {
        (true, _) => change_state(broker, BrokerState::Active),
        (false, BrokerState::Active) => change_state(broker, BrokerState::StandBy),
        _ => None,
    });
    changed.collect()
}

fn change_state(broker: &Broker, state: BrokerState) -> Option<Record> {
    let change = Record::BrokerChange { node: broker.node, broker_epoch: broker.broker_epoch, state };
    (broker.state != state).then_some(change)
}

/// Gives each of these partitions that leader.
fn leaders(image: &MetadataImage, which: impl Fn(&PartitionImage) -> bool, leader: LeaderChange) -> Vec<Record> {
    let mut records = vec![];
    for topic in image.topics() {
        for (index, _) in topic.partitions.iter().enumerate().filter(|(_, partition)| which(partition)) {
            let change = PartitionChange { leader, ..PartitionChange::of(topic.id, PartitionIndex(index as i32)) };
            records.push(Record::PartitionChange(change));
        }
    }
    records
}
