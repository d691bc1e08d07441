//! AlterPartitionReassignments: other replicas for partitions. On one node each is where it is to be, or cannot go there.
//!
//! KIPs: 455, 860 (holding the number of replicas).

use kafka_protocol::messages::alter_partition_reassignments_request::ReassignablePartition;
use kafka_protocol::messages::alter_partition_reassignments_response::{ReassignablePartitionResponse, ReassignableTopicResponse};
use kafka_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use crate::io::World;
use crate::metadata::decision::{self, FactorChange, Reassignment};
use crate::server::dispatch::Call;
use crate::types::{NodeId, PartitionIndex};

/// The first version that can hold the number of replicas.
const HOLDS_FACTOR_FROM: i16 = 1;

pub async fn answer<W: World>(call: Call<W>, request: AlterPartitionReassignmentsRequest) -> Option<AlterPartitionReassignmentsResponse> {
    let may_change = call.header.version < HOLDS_FACTOR_FROM || request.allow_replication_factor_change;
    let factor = if may_change { FactorChange::Allowed } else { FactorChange::Refused };
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| line(&call, &topic.name, partition, factor));
        ReassignableTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions.collect())
    });
    // Who asks for nothing is told nothing, in an empty text.
    let text = request.topics.is_empty().then(|| super::text(""));
    let response = AlterPartitionReassignmentsResponse::default().with_error_message(text).with_responses(topics.collect());
    Some(response.with_allow_replication_factor_change(may_change))
}

fn line<W: World>(call: &Call<W>, topic: &str, asked: &ReassignablePartition, factor: FactorChange) -> ReassignablePartitionResponse {
    let index = asked.partition_index;
    let replicas: Option<Vec<NodeId>> =
        asked.replicas.as_ref().map(|replicas| replicas.iter().map(|id| call.server.node_of(NodeId(id.0))).collect());
    let wanted = replicas.as_deref().map_or(Reassignment::Cancelled, Reassignment::To);
    let line = ReassignablePartitionResponse::default().with_partition_index(index);
    match decision::reassign(&call.server.shard.image(), topic, PartitionIndex(index), wanted, factor) {
        Ok(()) => line.with_error_message(None),
        Err(refused) => line.with_error_code(refused.code.code()).with_error_message(refused.message.map(super::text)),
    }
}
