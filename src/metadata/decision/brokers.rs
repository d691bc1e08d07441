//! The cluster's first records, and brokers that register and leave for good.

use super::{Decision, Refused, directories};
use crate::metadata::image::MetadataImage;
use crate::metadata::record::{Broker, BrokerState, Endpoint, Record};
use crate::types::{BrokerEpoch, NodeId, TopicId};
use crate::wire::error::ErrorCode;

/// A broker as it announces itself at its start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registration {
    pub node: NodeId,
    /// Drawn at each start of the process.
    pub incarnation: TopicId,
    pub shard_count: u16,
    pub endpoints: Vec<Endpoint>,
    pub rack: Option<String>,
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
pub fn register_broker(image: &MetadataImage, registration: &Registration) -> Decision<BrokerEpoch> {
    let Registration { node, incarnation, shard_count, endpoints, rack } = registration.clone();
    if let Some(current) = image.broker(node)
        && current.incarnation == incarnation
    {
        return Decision { records: vec![], answer: current.broker_epoch };
    }
    let broker_epoch = BrokerEpoch(image.version());
    let broker = Broker { node, incarnation, broker_epoch, shard_count, endpoints, rack, state: BrokerState::Active };
    let mut records = vec![Record::Broker(broker)];
    records.extend(directories::regain_replicas(image, node));
    Decision { records, answer: broker_epoch }
}

/// Forgets a broker that is gone for good. One that is alive would go on serving what nobody may ask it for any more.
pub fn unregister_broker(image: &MetadataImage, node: NodeId) -> Result<Decision<()>, Refused> {
    let Some(broker) = image.broker(node) else {
        return Err(Refused::new(ErrorCode::BrokerIdNotRegistered, format!("Broker ID {node} is not currently registered")));
    };
    if broker.state == BrokerState::Active {
        let text = format!("Broker {node} is alive; stop it before it is unregistered.");
        return Err(Refused::new(ErrorCode::InvalidRequest, text));
    }
    Ok(Decision { records: vec![Record::BrokerRemoved { node }], answer: () })
}
