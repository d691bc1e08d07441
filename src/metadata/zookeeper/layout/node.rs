//! The contents of Kafka's nodes: JSON, as Kafka 2.8 writes and reads it.
//!
//! ```text
//!   /brokers/ids/1                     {"features":{},"listener_security_protocol_map":{"PLAINTEXT":"PLAINTEXT"},
//!                                       "endpoints":["PLAINTEXT://host:9092"],"jmx_port":-1,"host":"host","port":9092,
//!                                       "timestamp":"1620000000000","version":5}
//!   /brokers/topics/T                  {"partitions":{"0":[1]},"adding_replicas":{},"removing_replicas":{},"topic_id":"…","version":3}
//!   …/partitions/0/state               {"leader":1,"isr":[1],"leader_epoch":0,"controller_epoch":1,"version":1}
//!   /config/topics/T                   {"version":1,"config":{"retention.ms":"1000"}}
//!   /config/changes/config_change_N    {"version":2,"entity_path":"topics/T"}
//!   /admin/reassign_partitions         {"version":1,"partitions":[{"topic":"T","partition":0,"replicas":[1]}]}
//!   /admin/preferred_replica_election  {"version":1,"partitions":[{"topic":"T","partition":0}]}
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use super::BROKER_IDS;
use crate::metadata::home::PartitionWish;
use crate::metadata::image::{ControllerImage, Overrides, PartitionImage, TopicImage};
use crate::metadata::record::Broker;
use crate::types::{NodeId, PartitionIndex, TopicId};

const PLAINTEXT: &str = "PLAINTEXT";

/// Why a node cannot be understood.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    #[error("it is not the JSON that Kafka writes there: {0}")]
    Json(#[from] serde_json::Error),
    #[error("'{0}' is not the number of a partition")]
    PartitionNumber(String),
    #[error("it names no partitions")]
    NoPartitions,
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

pub fn broker_path(node: NodeId) -> String {
    format!("{BROKER_IDS}/{node}")
}

/// `host:port`, with brackets around an IPv6 address.
fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

pub(super) fn broker_bytes(broker: &Broker, now_ms: i64) -> Vec<u8> {
    let protocols: BTreeMap<&str, &str> = broker.endpoints.iter().map(|end| (&*end.listener, &*end.security_protocol)).collect();
    let places = broker.endpoints.iter().map(|end| format!("{}://{}", end.listener, host_and_port(&end.host, end.port)));
    // Readers older than the list of endpoints look for one plain place.
    let plain = broker.endpoints.iter().find(|end| end.security_protocol == PLAINTEXT);
    let mut node = json!({
        "version": 5,
        "features": {},
        "listener_security_protocol_map": protocols,
        "endpoints": places.collect::<Vec<_>>(),
        "host": plain.map(|end| &end.host),
        "port": plain.map_or(-1, |end| i32::from(end.port)),
        "jmx_port": -1,
        "timestamp": now_ms.to_string(),
    });
    if let Some(rack) = &broker.rack {
        node["rack"] = json!(rack);
    }
    bytes(&node)
}

/// A broker as its node shows it, whatever release wrote it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
pub struct BrokerNode {
    #[serde(default)]
    host: Option<String>,
    #[serde(default)]
    port: i32,
    #[serde(default)]
    endpoints: Vec<String>,
    #[serde(default)]
    listener_security_protocol_map: BTreeMap<String, String>,
}

impl BrokerNode {
    pub fn parse(content: &[u8]) -> Result<Self, NodeError> {
        Ok(serde_json::from_slice(content)?)
    }

    /// Where a client without encryption reaches the broker, as `host:port`; `None` if nowhere.
    pub fn plain_address(&self) -> Option<String> {
        let plain = self.endpoints.iter().find_map(|endpoint| {
            let (listener, place) = endpoint.split_once("://")?;
            // Listeners had no names of their own before there was a map: they were called by their protocol.
            let protocol = self.listener_security_protocol_map.get(listener).map_or(listener, String::as_str);
            (protocol == PLAINTEXT).then(|| place.to_owned())
        });
        plain.or_else(|| {
            let port = u16::try_from(self.port).ok().filter(|port| *port > 0)?;
            Some(host_and_port(self.host.as_ref()?, port))
        })
    }
}

pub fn controller_bytes(node: NodeId, now_ms: i64) -> Vec<u8> {
    bytes(&json!({ "version": 1, "brokerid": node.get(), "timestamp": now_ms.to_string() }))
}

/// Who is the controller, as its node says.
pub(super) fn controller_id(content: &[u8]) -> Option<NodeId> {
    #[derive(Deserialize)]
    struct Form {
        brokerid: i32,
    }
    serde_json::from_slice::<Form>(content).ok().map(|form| NodeId(form.brokerid))
}

pub(super) fn cluster_id_bytes(id: &str) -> Vec<u8> {
    bytes(&json!({ "version": "1", "id": id }))
}

pub(super) fn controller_epoch_bytes(controller: ControllerImage) -> Vec<u8> {
    controller.epoch.to_string().into_bytes()
}

/// Features are finalized, and there are none that Kafka 2.8 would know.
pub(super) fn feature_bytes() -> Vec<u8> {
    bytes(&json!({ "version": 1, "status": 1, "features": {} }))
}

/// The last block of producer ids that was handed out, of this length.
pub(super) fn producer_ids_bytes(broker: NodeId, next: i64, block_len: i64) -> Vec<u8> {
    let start = next.saturating_sub(block_len);
    bytes(&json!({ "version": 1, "broker": broker.get(), "block_start": start.to_string(), "block_end": (next - 1).to_string() }))
}

fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.get()).collect()
}

pub(super) fn topic_bytes(topic: &TopicImage) -> Vec<u8> {
    let partitions: BTreeMap<String, Vec<i32>> =
        topic.partitions.iter().enumerate().map(|(index, partition)| (index.to_string(), ids(&partition.replicas))).collect();
    bytes(&json!({
        "version": 3,
        "topic_id": topic.id.to_string(),
        "partitions": partitions,
        "adding_replicas": {},
        "removing_replicas": {},
    }))
}

pub(super) fn state_bytes(partition: &PartitionImage, controller_epoch: i32) -> Vec<u8> {
    bytes(&json!({
        "version": 1,
        "leader": partition.leader.map_or(-1, NodeId::get),
        "isr": ids(&partition.isr),
        "leader_epoch": partition.leader_epoch.get(),
        "controller_epoch": controller_epoch,
    }))
}

/// What a topic's node says, whoever wrote it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct TopicNode {
    pub id: Option<TopicId>,
    /// By partition.
    pub replicas: BTreeMap<i32, Vec<NodeId>>,
}

impl TopicNode {
    pub fn of(topic: &TopicImage) -> Self {
        // A topic has fewer partitions than `i32` counts.
        let replicas = topic.partitions.iter().enumerate().map(|(index, partition)| (index as i32, partition.replicas.clone()));
        Self { id: Some(topic.id), replicas: replicas.collect() }
    }

    pub fn parse(content: &[u8]) -> Result<Self, NodeError> {
        #[derive(Deserialize)]
        struct Form {
            #[serde(default)]
            topic_id: Option<String>,
            partitions: BTreeMap<String, Vec<i32>>,
        }
        let form: Form = serde_json::from_slice(content)?;
        if form.partitions.is_empty() {
            return Err(NodeError::NoPartitions);
        }
        let number = |text: String| text.parse::<i32>().ok().filter(|index| *index >= 0).ok_or(NodeError::PartitionNumber(text));
        let replicas = form.partitions.into_iter().map(|(index, nodes)| Ok((number(index)?, nodes.into_iter().map(NodeId).collect())));
        Ok(Self { id: form.topic_id.and_then(|text| text.parse().ok()), replicas: replicas.collect::<Result<_, NodeError>>()? })
    }
}

pub(super) fn config_bytes(overrides: &Overrides) -> Vec<u8> {
    bytes(&json!({ "version": 1, "config": overrides }))
}

pub(super) fn parse_config(content: &[u8]) -> Result<Overrides, NodeError> {
    #[derive(Deserialize)]
    struct Form {
        #[serde(default)]
        config: Overrides,
    }
    Ok(serde_json::from_slice::<Form>(content)?.config)
}

/// Partitions that a tool asks something for, with replicas where it names any.
pub(super) fn parse_wishes(content: &[u8]) -> Result<Vec<PartitionWish>, NodeError> {
    #[derive(Deserialize)]
    struct Form {
        partitions: Vec<Wish>,
    }
    #[derive(Deserialize)]
    struct Wish {
        topic: String,
        partition: i32,
        #[serde(default)]
        replicas: Vec<i32>,
    }
    let wish = |Wish { topic, partition, replicas }: Wish| PartitionWish {
        topic,
        partition: PartitionIndex(partition),
        replicas: replicas.into_iter().map(NodeId).collect(),
    };
    Ok(serde_json::from_slice::<Form>(content)?.partitions.into_iter().map(wish).collect())
}

/// A notification that somebody has changed the configs of this: `topics/T`, `brokers/1`, `brokers/<default>`, `users/…`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NotificationNode {
    pub entity_path: String,
}

impl NotificationNode {
    pub fn parse(content: &[u8]) -> Result<Self, NodeError> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Path {
                entity_path: String,
            },
            /// Before Kafka 0.10.1.
            Named {
                entity_type: String,
                entity_name: String,
            },
        }
        Ok(match serde_json::from_slice(content)? {
            Form::Path { entity_path } => Self { entity_path },
            Form::Named { entity_type, entity_name } => Self { entity_path: format!("{entity_type}/{entity_name}") },
        })
    }
}
