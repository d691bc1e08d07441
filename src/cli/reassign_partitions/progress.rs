use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use super::file::{Assignment, Replica, hyphened, joined};
use super::{ReassignError, clear_throttles, describe};
use crate::cli::console::Console;
use crate::client::{Client, LogDirReplica, NamedPartition};
use crate::types::NodeId;

/// How far a partition is on its way.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PartitionState {
    UnderWay,
    /// Nothing moves; these are its replicas.
    At(Vec<NodeId>),
}

/// How far a replica is on its way to a directory.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum DirState {
    /// No directory that can be read has it.
    Missing,
    Moving {
        from: String,
        to: String,
    },
    At(String),
}

pub(super) fn verify(client: &mut Client, wanted: &Assignment, keep_throttles: bool, console: &mut Console) -> Result<(), ReassignError> {
    let under_way = client.list_reassignments(None)?;
    let mut known: BTreeMap<&String, BTreeMap<i32, Vec<NodeId>>> = BTreeMap::new();
    let topics: BTreeSet<&String> =
        wanted.replicas.keys().filter(|partition| !under_way.contains_key(*partition)).map(|(topic, _)| topic).collect();
    for topic in topics {
        known.insert(topic, partitions_of(client, topic)?);
    }
    writeln!(console.out(), "Status of partition reassignment:")?;
    for (partition, target) in &wanted.replicas {
        let state = match under_way.contains_key(partition) {
            true => PartitionState::UnderWay,
            // One that is not there has no replicas.
            false => PartitionState::At(known.get(&partition.0).and_then(|topic| topic.get(&partition.1)).cloned().unwrap_or_default()),
        };
        writeln!(console.out(), "{}", partition_line(partition, target, &state))?;
    }
    let states = dir_states(client, &wanted.dirs)?;
    let lines: Vec<String> = states.iter().map(|(replica, state)| dir_line(replica, &wanted.dirs[replica], state)).collect();
    writeln!(console.out(), "{}", lines.join("\n"))?;
    let is_done = |state: &DirState| matches!(state, DirState::At(_));
    match under_way.is_empty() && states.values().all(is_done) && !keep_throttles {
        true => clear_throttles(client, wanted, console),
        false => Ok(()),
    }
}

/// The replicas of each partition; none of a topic that is not there.
fn partitions_of(client: &mut Client, topic: &str) -> Result<BTreeMap<i32, Vec<NodeId>>, ReassignError> {
    match describe(client, topic) {
        Ok(described) => Ok(described.partitions.into_iter().map(|partition| (partition.index, partition.replicas)).collect()),
        Err(ReassignError::NoTopic(_)) => Ok(BTreeMap::new()),
        Err(error) => Err(error),
    }
}

pub(super) fn partition_line(partition: &NamedPartition, target: &[NodeId], state: &PartitionState) -> String {
    let name = hyphened(partition);
    match state {
        PartitionState::UnderWay => format!("Reassignment of partition {name} is still in progress."),
        PartitionState::At(replicas) if replicas == target => format!("Reassignment of partition {name} is completed."),
        PartitionState::At(replicas) => format!(
            "There is no active reassignment of partition {name}, but replica set is {} rather than {}.",
            joined(replicas),
            joined(target)
        ),
    }
}

pub(super) fn dir_line(replica: &Replica, wanted: &str, state: &DirState) -> String {
    let (name, broker) = (hyphened(&replica.partition), replica.broker);
    match state {
        DirState::Missing => format!(
            "Partition {name} is not found in any live log dir on broker {broker}. There is likely an offline log directory on the broker."
        ),
        DirState::Moving { to, .. } if to == wanted => format!("Reassignment of replica {replica} is still in progress."),
        DirState::Moving { to, .. } => format!("Partition {name} on broker {broker} is being moved to log dir {to} instead of {wanted}."),
        DirState::At(dir) if dir == wanted => format!("Reassignment of replica {replica} completed successfully."),
        DirState::At(dir) => format!("Partition {name} on broker {broker} is not being moved from log dir {dir} to {wanted}."),
    }
}

/// The directories to send replicas back to that are on their way elsewhere.
pub(super) fn back(client: &mut Client, dirs: &BTreeMap<Replica, String>) -> Result<BTreeMap<Replica, String>, ReassignError> {
    let moving = dir_states(client, dirs)?.into_iter().filter_map(|(replica, state)| match state {
        DirState::Moving { from, .. } => Some((replica, from)),
        DirState::Missing | DirState::At(_) => None,
    });
    Ok(moving.collect())
}

/// The directories that replicas are in; none of a broker that does not tell.
pub(super) fn dirs_of(client: &mut Client, replicas: &BTreeMap<NamedPartition, Vec<NodeId>>) -> BTreeMap<Replica, String> {
    let all = replicas.iter().flat_map(|(partition, brokers)| brokers.iter().map(|broker| (*broker, partition.clone())));
    let mut by_broker: BTreeMap<NodeId, Vec<NamedPartition>> = BTreeMap::new();
    for (broker, partition) in all {
        by_broker.entry(broker).or_default().push(partition);
    }
    let mut dirs = BTreeMap::new();
    for (broker, partitions) in by_broker {
        for dir in client.log_dirs_of(broker, &partitions).unwrap_or_default() {
            let held = dir.replicas.iter().filter(|held| !held.is_future);
            dirs.extend(held.map(|held| (Replica { broker, partition: (held.topic.clone(), held.partition) }, dir.path.clone())));
        }
    }
    dirs
}

fn dir_states(client: &mut Client, dirs: &BTreeMap<Replica, String>) -> Result<BTreeMap<Replica, DirState>, ReassignError> {
    let mut states = BTreeMap::new();
    let brokers: BTreeSet<NodeId> = dirs.keys().map(|replica| replica.broker).collect();
    for broker in brokers {
        let replicas: Vec<&Replica> = dirs.keys().filter(|replica| replica.broker == broker).collect();
        let partitions: Vec<NamedPartition> = replicas.iter().map(|replica| replica.partition.clone()).collect();
        let dirs_of_broker = client.log_dirs_of(broker, &partitions)?;
        for replica in replicas {
            let found = |is_future| {
                let is_it = |held: &LogDirReplica| {
                    (&held.topic, held.partition) == (&replica.partition.0, replica.partition.1) && held.is_future == is_future
                };
                dirs_of_broker.iter().find(|dir| dir.replicas.iter().any(is_it)).map(|dir| dir.path.clone())
            };
            let state = match (found(false), found(true)) {
                (None, _) => DirState::Missing,
                (Some(from), Some(to)) => DirState::Moving { from, to },
                (Some(dir), None) => DirState::At(dir),
            };
            states.insert(replica.clone(), state);
        }
    }
    Ok(states)
}
