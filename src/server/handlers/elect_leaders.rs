//! ElectLeaders: has preferred replicas lead. Every partition of one node has the leader it can have, which is what each answer says.
//!
//! KIPs: 460 (kinds of election).

use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, TopicName};

use crate::io::World;
use crate::metadata::decision::{self, Election, Refused};
use crate::metadata::image::MetadataImage;
use crate::server::dispatch::Call;
use crate::types::PartitionIndex;
use crate::wire::error::ErrorCode;

pub async fn answer<W: World>(call: Call<W>, request: ElectLeadersRequest) -> Option<ElectLeadersResponse> {
    let election = match request.election_type {
        0 => Election::Preferred,
        1 => Election::Unclean,
        _ => return Some(unknown_election(&request)),
    };
    let image = call.server.shard.image();
    let results: Vec<ReplicaElectionResult> = match &request.topic_partitions {
        // Of all partitions only those are named that were elected, or could not be: none.
        None => image.topics().map(|topic| result(topic.name.as_str(), Vec::new())).collect(),
        Some(topics) => topics
            .iter()
            .map(|topic| {
                let elected = topic.partitions.iter().map(|index| elect(&image, &topic.topic, *index, election));
                result(&topic.topic, elected.collect())
            })
            .collect(),
    };
    Some(ElectLeadersResponse::default().with_replica_election_results(results))
}

fn result(topic: &str, partitions: Vec<PartitionResult>) -> ReplicaElectionResult {
    ReplicaElectionResult::default().with_topic(TopicName(super::text(topic))).with_partition_result(partitions)
}

fn elect(image: &MetadataImage, name: &str, index: i32, election: Election) -> PartitionResult {
    let Refused { code, message } = decision::elect(image, name, PartitionIndex(index), election);
    PartitionResult::default()
        .with_partition_id(index)
        .with_error_code(code.code())
        .with_error_message(message.map(|text| super::text(&text)))
}

fn unknown_election(request: &ElectLeadersRequest) -> ElectLeadersResponse {
    let code = ErrorCode::InvalidRequest.code();
    let message = || Some(super::text("Unknown election type."));
    let refused = |index: &i32| PartitionResult::default().with_partition_id(*index).with_error_code(code).with_error_message(message());
    let topics = request.topic_partitions.iter().flatten();
    let results = topics.map(|topic| result(&topic.topic, topic.partitions.iter().map(refused).collect()));
    ElectLeadersResponse::default().with_error_code(code).with_replica_election_results(results.collect())
}
