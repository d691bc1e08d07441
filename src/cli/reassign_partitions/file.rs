use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

use super::rules::duplicates;
use crate::cli::json_file::{self, JsonError, array, field, int, object, string};
use crate::client::NamedPartition;
use crate::types::NodeId;

/// "Whichever directory the broker likes."
const ANY_DIR: &str = "any";

/// One broker's copy of a partition, in the order in which they are told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Replica {
    pub broker: NodeId,
    pub partition: NamedPartition,
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", hyphened(&self.partition), self.broker)
    }
}

/// What a file asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Assignment {
    pub replicas: BTreeMap<NamedPartition, Vec<NodeId>>,
    /// The directories that replicas are to be in, where the file names one.
    pub dirs: BTreeMap<Replica, String>,
    /// Every entry of the file, in its order: one may come twice.
    entries: Vec<(NamedPartition, Vec<NodeId>)>,
}

/// Why a file cannot be meant, in the sentences of Kafka's tool.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AssignmentError {
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error("Size of replicas list [{replicas}] is different from size of log dirs list [{dirs}] for partition {partition}")]
    Sizes { replicas: String, dirs: String, partition: String },
    #[error("Partition reassignment list cannot be empty")]
    Empty,
    #[error("Partition replica list cannot be empty")]
    NoReplicas,
    #[error("Partition reassignment contains duplicate topic partitions: {0}")]
    PartitionsTwice(String),
    #[error("Partition replica lists may not contain duplicate entries: {0}")]
    ReplicasTwice(String),
}

pub(super) fn parse(text: &[u8]) -> Result<Assignment, AssignmentError> {
    let root = json_file::first_value(text)?;
    let root = object(&root)?;
    json_file::check_version(root)?;
    let mut assignment = Assignment { replicas: BTreeMap::new(), dirs: BTreeMap::new(), entries: Vec::new() };
    let partitions = root.get("partitions").map(array).transpose()?;
    for entry in partitions.unwrap_or_default() {
        let fields = object(entry)?;
        let partition = (string(field(fields, "topic")?)?, int(field(fields, "partition")?)?);
        let replicas = list(field(fields, "replicas")?, |id| int(id).map(NodeId))?;
        let dirs = match fields.get("log_dirs") {
            Some(dirs) => list(dirs, string)?,
            None => vec![ANY_DIR.to_owned(); replicas.len()],
        };
        if replicas.len() != dirs.len() {
            let replicas = replicas.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(AssignmentError::Sizes { replicas, dirs: dirs.join(", "), partition: hyphened(&partition) });
        }
        for (&broker, dir) in replicas.iter().zip(dirs).filter(|(_, dir)| dir != ANY_DIR) {
            assignment.dirs.insert(Replica { broker, partition: partition.clone() }, dir);
        }
        assignment.entries.push((partition.clone(), replicas.clone()));
        assignment.replicas.insert(partition, replicas);
    }
    Ok(assignment)
}

impl Assignment {
    /// It can be carried out: it says something, and nothing twice.
    pub(super) fn checked(self) -> Result<Self, AssignmentError> {
        if self.entries.is_empty() {
            return Err(AssignmentError::Empty);
        }
        if self.entries.iter().any(|(_, replicas)| replicas.is_empty()) {
            return Err(AssignmentError::NoReplicas);
        }
        let names: Vec<String> = self.entries.iter().map(|(partition, _)| hyphened(partition)).collect();
        let twice = duplicates(&names);
        if !twice.is_empty() {
            return Err(AssignmentError::PartitionsTwice(twice.join(",")));
        }
        let faults = self.entries.iter().filter_map(|(partition, replicas)| {
            let twice = duplicates(replicas);
            (!twice.is_empty()).then(|| format!("{} contains multiple entries for {}", hyphened(partition), twice.join(",")))
        });
        let faults: Vec<String> = faults.collect();
        match faults.is_empty() {
            true => Ok(self),
            false => Err(AssignmentError::ReplicasTwice(faults.join(". "))),
        }
    }
}

/// The topics of a file for --generate.
pub(super) fn topics(text: &[u8]) -> Result<Vec<String>, JsonError> {
    let root = json_file::first_value(text)?;
    let root = object(&root)?;
    json_file::check_version(root)?;
    let topics = root.get("topics").map(array).transpose()?;
    topics.unwrap_or_default().iter().map(|entry| string(field(object(entry)?, "topic")?)).collect()
}

fn list<T>(value: &Value, element: impl Fn(&Value) -> Result<T, JsonError>) -> Result<Vec<T>, JsonError> {
    array(value)?.iter().map(element).collect()
}

/// A file that says where partitions are, its fields in the order in which Kafka's tool writes them.
pub(super) fn json(replicas: &BTreeMap<NamedPartition, Vec<NodeId>>, dirs: &BTreeMap<Replica, String>) -> String {
    let partitions = replicas.iter().map(|(partition, replicas)| {
        let dir = |broker: &NodeId| {
            let known = dirs.get(&Replica { broker: *broker, partition: partition.clone() });
            Value::String(known.map_or(ANY_DIR, String::as_str).to_owned()).to_string()
        };
        let dirs = replicas.iter().map(dir).collect::<Vec<_>>().join(",");
        let (topic, index) = (Value::String(partition.0.clone()), partition.1);
        format!("{{\"topic\":{topic},\"partition\":{index},\"replicas\":[{}],\"log_dirs\":[{dirs}]}}", joined(replicas))
    });
    format!("{{\"version\":1,\"partitions\":[{}]}}", partitions.collect::<Vec<_>>().join(","))
}

pub(super) fn hyphened((topic, partition): &NamedPartition) -> String {
    format!("{topic}-{partition}")
}

pub(super) fn joined(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
