//! CreatePartitions: topics get more partitions, which serve when the answer comes.
//!
//! KIPs: 195, 599 (how much one request may ask for).

use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{BrokerId, CreatePartitionsRequest, CreatePartitionsResponse, TopicName};

use crate::io::World;
use crate::metadata::decision::{CreatePartitions, Refused};
use crate::server::dispatch::Call;
use crate::shard::controller::Asked;
use crate::types::NodeId;

pub async fn answer<W: World>(call: Call<W>, request: CreatePartitionsRequest) -> Option<CreatePartitionsResponse> {
    let changes = request.topics.iter().map(|topic| asked(&call, topic)).collect();
    let results = match call.server.shard.create_partitions(Asked { changes, validate_only: request.validate_only }).await? {
        Ok(extended) => extended.into_iter().map(|(name, result)| line(&name, result.map(drop))).collect(),
        Err(refused) => request.topics.iter().map(|topic| line(&topic.name, Err(refused.clone()))).collect(),
    };
    Some(CreatePartitionsResponse::default().with_results(results))
}

fn asked<W: World>(call: &Call<W>, topic: &CreatePartitionsTopic) -> CreatePartitions {
    CreatePartitions {
        name: topic.name.to_string(),
        count: topic.count,
        assignments: topic.assignments.as_ref().map(|assignments| {
            let nodes = |ids: &[BrokerId]| ids.iter().map(|id| call.server.node_of(NodeId(id.0))).collect();
            assignments.iter().map(|assignment| nodes(&assignment.broker_ids)).collect()
        }),
    }
}

fn line(name: &str, result: Result<(), Refused>) -> CreatePartitionsTopicResult {
    let line = CreatePartitionsTopicResult::default().with_name(TopicName(super::text(name)));
    match result {
        Ok(()) => line.with_error_message(None),
        Err(refused) => line.with_error_code(refused.code.code()).with_error_message(refused.message.map(super::text)),
    }
}
