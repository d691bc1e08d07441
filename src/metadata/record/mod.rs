//! What the metadata log is made of. One record is one line of JSON: readable with any tool, and a field that a later version adds does
//! not stop an earlier one. A *kind* of record that is not known does: skipping it would make two brokers see two clusters.
//!
//! Written by `decision`, applied by `image`, carried by the homes. No I/O here.
//!
//! ```text
//!   {"Topic":{"id":"Zt3…22 characters","name":"orders","internal":"No"}}
//!   {"Partition":{"topic":"Zt3…","index":0,"replicas":[1],"isr":[1],"leader":1,"leader_epoch":0,"partition_epoch":0}}
//!   {"Config":{"resource":{"Topic":"orders"},"key":"retention.ms","value":"1000"}}
//! ```

use serde::{Deserialize, Serialize};

use crate::types::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, PartitionIndex, TopicId, TopicName};

pub(super) mod form;

/// One change to the cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Record {
    /// The cluster's id; the first record of every log.
    Cluster {
        id: String,
    },
    /// A new controller's first record.
    Controller {
        #[serde(with = "form::node")]
        node: NodeId,
        epoch: i32,
    },
    /// A broker started. Every partition it leads gets the next leader epoch: clients then notice records that a crash lost.
    Broker(Broker),
    /// A registered broker became usable, or stopped being so.
    BrokerChange {
        #[serde(with = "form::node")]
        node: NodeId,
        #[serde(with = "form::broker_epoch")]
        broker_epoch: BrokerEpoch,
        state: BrokerState,
    },
    /// A broker left for good.
    BrokerRemoved {
        #[serde(with = "form::node")]
        node: NodeId,
    },
    /// A topic, before its partitions and configs.
    Topic {
        #[serde(with = "form::topic_id")]
        id: TopicId,
        #[serde(with = "form::topic_name")]
        name: TopicName,
        #[serde(default)]
        internal: Internal,
    },
    /// A partition in full; indexes come in order from 0.
    Partition(Partition),
    /// What changed of a partition's replica state.
    PartitionChange(PartitionChange),
    /// The topic, its partitions and configs are gone; its id never comes back.
    TopicRemoved {
        #[serde(with = "form::topic_id")]
        id: TopicId,
    },
    /// One override; `value: None` takes it away.
    Config {
        resource: Resource,
        key: String,
        value: Option<String>,
    },
    /// Producer ids below `next` have been handed out.
    ProducerIdBlock {
        #[serde(with = "form::node")]
        broker: NodeId,
        #[serde(with = "form::broker_epoch")]
        broker_epoch: BrokerEpoch,
        next: i64,
    },
    /// The level a feature is finalized at; 0 takes it away. `epoch` counts such changes.
    Feature {
        name: String,
        level: i16,
        epoch: i64,
    },
    /// What follows is applied only when its `BatchEnd` has come.
    BatchBegin {},
    BatchEnd {},
    /// What followed the last `BatchBegin` never happened.
    BatchAbort {},
}

/// Whether a topic is the broker's own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Internal {
    #[default]
    No,
    Yes,
}

/// Whether a broker leads, and is given replicas.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum BrokerState {
    #[default]
    Active,
    /// It has no session.
    Fenced,
    /// It leads what it has, and is given nothing more: it would take the controller's place.
    StandBy,
}

/// A broker as it registered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Broker {
    #[serde(with = "form::node")]
    pub node: NodeId,
    /// Drawn at each start of the process: tells a restarted broker from the one before.
    #[serde(with = "form::topic_id")]
    pub incarnation: TopicId,
    #[serde(with = "form::broker_epoch")]
    pub broker_epoch: BrokerEpoch,
    pub shard_count: u16,
    pub endpoints: Vec<Endpoint>,
    #[serde(default)]
    pub rack: Option<String>,
    #[serde(default)]
    pub state: BrokerState,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// The listener's name, as in `advertised.listeners`.
    pub listener: String,
    pub host: String,
    pub port: u16,
    /// `PLAINTEXT`, `SSL`, ...
    pub security_protocol: String,
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Partition {
    #[serde(with = "form::topic_id")]
    pub topic: TopicId,
    #[serde(with = "form::partition_index")]
    pub index: PartitionIndex,
    #[serde(with = "form::nodes")]
    pub replicas: Vec<NodeId>,
    #[serde(with = "form::nodes")]
    pub isr: Vec<NodeId>,
    /// Eligible leader replicas (KIP-966).
    #[serde(default, with = "form::nodes", skip_serializing_if = "Vec::is_empty")]
    pub elr: Vec<NodeId>,
    /// Who was in the eligible set and may have lost records since (KIP-966).
    #[serde(default, with = "form::nodes", skip_serializing_if = "Vec::is_empty")]
    pub last_known_elr: Vec<NodeId>,
    /// Replicas whose log directory has failed since their broker registered.
    #[serde(default, with = "form::nodes", skip_serializing_if = "Vec::is_empty")]
    pub offline: Vec<NodeId>,
    #[serde(with = "form::maybe_node")]
    pub leader: Option<NodeId>,
    #[serde(with = "form::leader_epoch")]
    pub leader_epoch: LeaderEpoch,
    #[serde(with = "form::partition_epoch")]
    pub partition_epoch: PartitionEpoch,
}

/// Absent fields stay as they are. Every change moves the partition epoch; one that names a leader moves the leader epoch too.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PartitionChange {
    #[serde(with = "form::topic_id")]
    pub topic: TopicId,
    #[serde(with = "form::partition_index")]
    pub index: PartitionIndex,
    #[serde(default, with = "form::maybe_nodes", skip_serializing_if = "Option::is_none")]
    pub replicas: Option<Vec<NodeId>>,
    #[serde(default, with = "form::maybe_nodes", skip_serializing_if = "Option::is_none")]
    pub isr: Option<Vec<NodeId>>,
    #[serde(default, with = "form::maybe_nodes", skip_serializing_if = "Option::is_none")]
    pub elr: Option<Vec<NodeId>>,
    #[serde(default, with = "form::maybe_nodes", skip_serializing_if = "Option::is_none")]
    pub last_known_elr: Option<Vec<NodeId>>,
    #[serde(default, with = "form::maybe_nodes", skip_serializing_if = "Option::is_none")]
    pub offline: Option<Vec<NodeId>>,
    #[serde(default, skip_serializing_if = "LeaderChange::is_same")]
    pub leader: LeaderChange,
}

impl PartitionChange {
    /// A change that names the partition and, so far, nothing else.
    pub fn of(topic: TopicId, index: PartitionIndex) -> Self {
        Self { topic, index, replicas: None, isr: None, elr: None, last_known_elr: None, offline: None, leader: LeaderChange::Same }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum LeaderChange {
    #[default]
    Same,
    None,
    To(#[serde(with = "form::node")] NodeId),
}

impl LeaderChange {
    fn is_same(&self) -> bool {
        *self == LeaderChange::Same
    }
}

/// What a config override belongs to. Ordered, so that snapshots come out the same on every broker.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Resource {
    Topic(#[serde(with = "form::topic_name")] TopicName),
    /// One broker, or the default of all of them.
    Broker(#[serde(with = "form::maybe_node")] Option<NodeId>),
    Group(String),
    ClientMetrics(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(record: &Record) -> Record {
        let text = serde_json::to_string(record).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn records_read_back_from_their_text() {
        let topic = TopicId::from_bits(0x1234_5678_9abc_def0_0fed_cba9_8765_4321);
        let change =
            PartitionChange { isr: Some(vec![]), leader: LeaderChange::To(NodeId(4)), ..PartitionChange::of(topic, PartitionIndex(7)) };
        let records = [
            Record::Cluster { id: "abc".into() },
            Record::Topic { id: topic, name: "a\"b\n".into(), internal: Internal::Yes },
            Record::PartitionChange(change),
            Record::Config { resource: Resource::Broker(None), key: "k".into(), value: None },
            Record::Config { resource: Resource::Topic("t".into()), key: "k".into(), value: Some(String::new()) },
            Record::BatchBegin {},
        ];
        for record in &records {
            assert_eq!(&round_trip(record), record);
        }
    }

    #[test]
    fn a_field_of_a_later_version_is_tolerated_and_an_absent_one_defaults() {
        let text = r#"{"Topic":{"id":"AAAAAAAAAAAAAAAAAAAAAQ","name":"x","colour":"blue"}}"#;
        let record: Record = serde_json::from_str(text).unwrap();
        assert_eq!(record, Record::Topic { id: TopicId::from_bits(1), name: "x".into(), internal: Internal::No });
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let refusal = serde_json::from_str::<Record>(r#"{"Colour":{}}"#).unwrap_err().to_string();
        assert!(refusal.contains("Colour"), "{refusal}");
    }
}
