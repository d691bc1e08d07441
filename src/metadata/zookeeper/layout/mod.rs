//! Kafka's own layout of nodes beside the log: what a Kafka 2.8 cluster keeps in ZooKeeper, shown for those who read it there, and obeyed
//! where old tools write it.
//!
//! ```text
//!   image ──► publication: the nodes that differ ──► written       /brokers/topics/T, …/partitions/P/state, /config/…, /controller, …
//!   nodes written by others ──► request: what they ask for ──► proposals ──► controller ──► records ──► image
//! ```
//!
//! `/brokers/ids` lists the controller's own broker alone. Tools take whom they find there for a place of new replicas, and count them before
//! they ask for so many: a broker that stands by can take none, so that every other of their topics would be refused where nobody waits for
//! an answer. All brokers that have a session are below `/ottla/brokers`, and clients learn of them by Metadata.
//!
//! Called by the home, which holds a [`Mirror`]: that one reads and writes. What it decides on lives in `publication` and `request`, which do
//! neither. Calls `image`, `record` and `decision` for the nouns, and `io::tree`.
//!
//! Invariants:
//! 1. What is written here by others is a request and never a fact: the image alone says what is. A request that was carried out and one
//!    that was refused leave the same trace, the nodes of the image.
//! 2. A request is recognised by comparing nodes with the image, so that one carried out just before a crash is not made again.
//! 3. A node that keeps a tool from asking again is taken away when it is answered, whatever the answer.
//! 4. A topic's node that is older than the image is overwritten; one of a topic that is not known and was never deleted asks for it; none
//!    that is missing takes a topic away.
//!
//! KIPs: 516 (topic ids in the nodes), 584 (features in a broker's node).

mod mirror;
mod node;
mod publication;
mod request;

#[cfg(test)]
pub(super) mod tests;

pub use mirror::Mirror;
pub use node::{BrokerNode, NodeError};

pub const BROKER_IDS: &str = "/brokers/ids";
const TOPICS: &str = "/brokers/topics";
const CONTROLLER: &str = "/controller";
const CONTROLLER_EPOCH: &str = "/controller_epoch";
/// What a cluster of Kafka has from its first start on.
pub const CLUSTER_ID: &str = "/cluster/id";
const CONFIG: &str = "/config";
const CONFIG_CHANGES: &str = "/config/changes";
const DELETE_TOPICS: &str = "/admin/delete_topics";
/// A tool makes these two, and makes no other before the controller has taken it away.
const REASSIGNMENT: &str = "/admin/reassign_partitions";
const PREFERRED_ELECTION: &str = "/admin/preferred_replica_election";
const FEATURE: &str = "/feature";
const PRODUCER_IDS: &str = "/latest_producer_id_block";

/// Nodes without content that a 2.8 broker makes at its start, parents before children. Tools take them for granted.
const PARENTS: [&str; 18] = [
    "/consumers",
    "/brokers",
    BROKER_IDS,
    TOPICS,
    CONFIG,
    CONFIG_CHANGES,
    "/admin",
    DELETE_TOPICS,
    "/brokers/seqid",
    "/isr_change_notification",
    PRODUCER_IDS,
    "/log_dir_event_notification",
    "/config/topics",
    "/config/clients",
    "/config/users",
    "/config/brokers",
    "/config/ips",
    "/cluster",
];

fn topic_path(topic: &str) -> String {
    format!("{TOPICS}/{topic}")
}

fn topic_config_path(topic: &str) -> String {
    format!("{CONFIG}/topics/{topic}")
}

fn delete_path(topic: &str) -> String {
    format!("{DELETE_TOPICS}/{topic}")
}
