//! FindCoordinator: which broker keeps a group; the topic that groups are kept in is created when the first is asked for.
//!
//! Transactions are not served, and their coordinator is refused with an error that every client takes as final. The state of share groups is
//! not kept either, and no API for it is advertised; who asks where it would be is told, as Kafka tells it where share groups are off.
//!
//! KIPs: 699 (batches, version 4), 932 (share groups).

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};

use crate::coordinator::group::partition_of;
use crate::io::World;
use crate::metadata::decision::CONSUMER_OFFSETS;
use crate::metadata::image::MetadataImage;
use crate::metadata::record::Endpoint;
use crate::server::dispatch::Call;
use crate::types::{NodeId, TopicId};
use crate::wire::error::ErrorCode;

/// From here on a request names several keys.
const BATCHED_FROM: i16 = 4;
/// From here on share groups may be asked for.
const SHARE_FROM: i16 = 6;
const NO_NODE: BrokerId = BrokerId(-1);
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

/// Where a key's coordinator is, or why it has none.
type Found = Result<(NodeId, Endpoint), ErrorCode>;

pub async fn answer<W: World>(call: Call<W>, request: FindCoordinatorRequest) -> Option<FindCoordinatorResponse> {
    let version = call.header.version;
    if request.key_type == GROUP && call.server.shard.image().topic_by_name(CONSUMER_OFFSETS).is_none() {
        call.server.shard.create_consumer_offsets().await?;
    }
    let image = call.server.shard.image();
    let find = |key: &str| match request.key_type {
        GROUP => coordinator_of(&call, &image, key),
        // Final for every client: one that waited for a coordinator would wait for ever.
        TRANSACTION => Err(ErrorCode::TransactionalIdAuthorizationFailed),
        SHARE if version >= SHARE_FROM && is_share_partition(key) => endpoint(&call, &image, call.server.shard.node()),
        _ => Err(ErrorCode::InvalidRequest),
    };
    if version < BATCHED_FROM {
        return Some(single(find(&request.key)));
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        let line = Coordinator::default().with_key(key.clone());
        match find(&key) {
            Ok((node, endpoint)) => {
                line.with_node_id(BrokerId(node.get())).with_host(super::text(endpoint.host)).with_port(endpoint.port.into())
            }
            Err(code) => {
                // What is wrong with the whole request is said in words, what is wrong with a key is not.
                let said = if (GROUP..=SHARE).contains(&request.key_type) { "" } else { reason(code) };
                line.with_error_code(code.code()).with_error_message(Some(super::text(said))).with_node_id(NO_NODE).with_port(-1)
            }
        }
    });
    Some(FindCoordinatorResponse::default().with_coordinators(coordinators.collect()))
}

fn single(found: Found) -> FindCoordinatorResponse {
    let response = FindCoordinatorResponse::default();
    match found {
        // Kafka has a text for success too.
        Ok((node, endpoint)) => response
            .with_error_message(Some(super::text(ErrorCode::None.name())))
            .with_node_id(BrokerId(node.get()))
            .with_host(super::text(endpoint.host))
            .with_port(endpoint.port.into()),
        Err(code) => {
            response.with_error_code(code.code()).with_error_message(Some(super::text(reason(code)))).with_node_id(NO_NODE).with_port(-1)
        }
    }
}

fn reason(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::TransactionalIdAuthorizationFailed => "This broker serves no transactions.",
        ErrorCode::InvalidRequest => "The coordinator's key type is not known.",
        _ => "The coordinator is not available.",
    }
}

fn coordinator_of<W: World>(call: &Call<W>, image: &MetadataImage, group: &str) -> Found {
    let topic = image.topic_by_name(CONSUMER_OFFSETS).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let index = partition_of(group, topic.partitions.len() as u32);
    let leader = topic.partition(index).and_then(|partition| partition.leader).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    endpoint(call, image, leader)
}

/// Where a node listens for the clients of this connection's listener.
fn endpoint<W: World>(call: &Call<W>, image: &MetadataImage, node: NodeId) -> Found {
    let listener = &call.server.shard.settings().network.listeners.open[call.peer.listener].name;
    let broker = image.broker(node).ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let endpoint = broker.endpoints.iter().find(|endpoint| endpoint.listener == *listener);
    endpoint.map(|endpoint| (node, endpoint.clone())).ok_or(ErrorCode::CoordinatorNotAvailable)
}

/// `group:topic id:partition`, where only the group may hold a colon.
fn is_share_partition(key: &str) -> bool {
    let mut parts = key.rsplitn(3, ':');
    let (partition, topic, group) = (parts.next(), parts.next(), parts.next());
    partition.is_some_and(|partition| partition.parse::<i32>().is_ok())
        && topic.is_some_and(|topic| topic.parse::<TopicId>().is_ok())
        && group.is_some_and(|group| !group.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_share_groups_are_told_from_others() {
        assert!(is_share_partition("group:AAAAAAAAAAAAAAAAAAAAAQ:3"));
        for key in ["group", "group:AAAAAAAAAAAAAAAAAAAAAQ", "group:AAAAAAAAAAAAAAAAAAAAAQ:x", ":AAAAAAAAAAAAAAAAAAAAAQ:3", "group:short:3"]
        {
            assert!(!is_share_partition(key), "{key}");
        }
    }
}
