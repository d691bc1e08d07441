//! Replicas that move: between brokers, which the controller arranges, and between the log directories of one.
//!
//! Called by the tools; calls `routing`.

use std::collections::BTreeMap;

use kafka_protocol::messages::alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
use kafka_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
use kafka_protocol::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use kafka_protocol::messages::{AlterPartitionReassignmentsRequest, AlterReplicaLogDirsRequest, ListPartitionReassignmentsRequest};
use kafka_protocol::protocol::StrBytes;

use super::admin::{NamedPartition, broker_ids, nodes, topic_name};
use super::admin_partitions::{PerPartition, by_topic};
use super::error::{ClientError, Refusal};
use super::routing::{Client, Target};
use crate::metadata::decision::FactorChange;
use crate::types::NodeId;
use crate::wire::error::ErrorCode;

/// The first version of AlterPartitionReassignments that can be told to keep the number of replicas.
const KEEPS_FACTOR_FROM: i16 = 1;

/// Where the replicas of a partition are on their way to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    pub replicas: Vec<NodeId>,
    pub adding: Vec<NodeId>,
    pub removing: Vec<NodeId>,
}

impl Client {
    /// Replica moves under way, as far as can be told: a broker that does not serve the question, or does not let us ask, has none.
    pub fn reassignments(&mut self, partitions: &[NamedPartition]) -> Result<BTreeMap<NamedPartition, Reassignment>, ClientError> {
        match self.list_reassignments(Some(partitions)) {
            Err(ClientError::Unsupported { .. }) => Ok(BTreeMap::new()),
            Err(error) if error.refusal() == Some(ErrorCode::ClusterAuthorizationFailed) => Ok(BTreeMap::new()),
            listed => listed,
        }
    }

    /// Replica moves under way, of these partitions or of all.
    pub fn list_reassignments(
        &mut self,
        partitions: Option<&[NamedPartition]>,
    ) -> Result<BTreeMap<NamedPartition, Reassignment>, ClientError> {
        let topics = partitions.map(|partitions| {
            let topics = by_topic(partitions).into_iter();
            topics
                .map(|(name, indexes)| {
                    ListPartitionReassignmentsTopics::default().with_name(topic_name(name)).with_partition_indexes(indexes)
                })
                .collect()
        });
        let request = ListPartitionReassignmentsRequest::default().with_timeout_ms(self.request_timeout_ms()).with_topics(topics);
        let response =
            self.call(&Target::Controller, &request, |response| Refusal::check(response.error_code, response.error_message.as_ref()))?;
        let moves = response.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| {
                let reassignment = Reassignment {
                    replicas: nodes(&partition.replicas),
                    adding: nodes(&partition.adding_replicas),
                    removing: nodes(&partition.removing_replicas),
                };
                ((topic.name.to_string(), partition.partition_index), reassignment)
            })
        });
        Ok(moves.collect())
    }

    /// Gives partitions other replicas, or, with None, calls off the move they are in: how each fared.
    pub fn alter_reassignments(
        &mut self,
        targets: &BTreeMap<NamedPartition, Option<Vec<NodeId>>>,
        factor: FactorChange,
    ) -> Result<PerPartition<()>, ClientError> {
        let version = self.agreed_version::<AlterPartitionReassignmentsRequest>(&Target::Controller)?;
        if factor == FactorChange::Refused && version < KEEPS_FACTOR_FROM {
            let message = "The broker cannot be told to keep the number of replicas".to_owned();
            return Err(ClientError::Refused(Refusal { code: ErrorCode::UnsupportedVersion.code(), message }));
        }
        let partitions: Vec<NamedPartition> = targets.keys().cloned().collect();
        let topics = by_topic(&partitions).into_iter().map(|(topic, indexes)| {
            let wanted = indexes.into_iter().map(|index| {
                let replicas = targets[&(topic.to_owned(), index)].as_deref().map(broker_ids);
                ReassignablePartition::default().with_partition_index(index).with_replicas(replicas)
            });
            ReassignableTopic::default().with_name(topic_name(topic)).with_partitions(wanted.collect())
        });
        let request = AlterPartitionReassignmentsRequest::default()
            .with_timeout_ms(self.request_timeout_ms())
            .with_allow_replication_factor_change(factor == FactorChange::Allowed)
            .with_topics(topics.collect());
        let response =
            self.call(&Target::Controller, &request, |response| Refusal::check(response.error_code, response.error_message.as_ref()))?;
        let outcomes = response.responses.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| {
                let outcome = Refusal::check(partition.error_code, partition.error_message.as_ref()).map_err(ClientError::Refused);
                ((topic.name.to_string(), partition.partition_index), outcome)
            })
        });
        Ok(outcomes.collect())
    }

    /// Has a broker move its replicas of these partitions to other log directories: whether each has begun, or why not.
    pub fn move_replicas(&mut self, node: NodeId, to: &BTreeMap<NamedPartition, String>) -> Result<PerPartition<()>, ClientError> {
        let mut by_dir: BTreeMap<&str, Vec<NamedPartition>> = BTreeMap::new();
        for (partition, dir) in to {
            by_dir.entry(dir).or_default().push(partition.clone());
        }
        let dirs = by_dir.into_iter().map(|(dir, partitions)| {
            let topics = by_topic(&partitions).into_iter();
            let topics =
                topics.map(|(topic, indexes)| AlterReplicaLogDirTopic::default().with_name(topic_name(topic)).with_partitions(indexes));
            AlterReplicaLogDir::default().with_path(StrBytes::from_string(dir.to_owned())).with_topics(topics.collect())
        });
        let request = AlterReplicaLogDirsRequest::default().with_dirs(dirs.collect());
        let response = self.call(&Target::Node(node), &request, |_| Ok(()))?;
        let outcomes = response.results.iter().flat_map(|topic| {
            topic.partitions.iter().map(|partition| {
                let outcome = Refusal::check(partition.error_code, None).map_err(ClientError::Refused);
                ((topic.topic_name.to_string(), partition.partition_index), outcome)
            })
        });
        Ok(outcomes.collect())
    }
}
