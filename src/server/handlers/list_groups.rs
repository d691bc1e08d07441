//! ListGroups: every group this broker coordinates, by state and type. Where each shard is shown as a broker, it lists its own, as with log
//! directories: clients ask every broker they are shown.
//!
//! KIPs: 518 (states), 848 (types).

use kafka_protocol::messages::{ListGroupsRequest, ListGroupsResponse};

use crate::coordinator::group::{Answer, Request};
use crate::io::World;
use crate::metadata::decision::CONSUMER_OFFSETS;
use crate::server::dispatch::Call;
use crate::types::{PartitionIndex, TopicPartition};
use crate::wire::error::ErrorCode;

pub async fn answer<W: World>(call: Call<W>, request: ListGroupsRequest) -> Option<ListGroupsResponse> {
    let image = call.server.shard.image();
    let node = call.server.shard.node();
    let counted = call.server.counted(&call.peer);
    let is_counted = |partition: &TopicPartition| counted.has(call.server.shard.owner(*partition));
    let partitions = image.topic_by_name(CONSUMER_OFFSETS).into_iter().flat_map(|topic| {
        let led = topic.partitions.iter().enumerate().filter(|(_, partition)| partition.leader == Some(node));
        led.map(|(index, _)| TopicPartition { topic: topic.id, partition: PartitionIndex(index as i32) })
    });
    let asked = partitions.filter(is_counted).map(|partition| (Some(partition), Request::List(request.clone()))).collect();
    let mut response = ListGroupsResponse::default();
    for answer in super::groups::ask_all(&call, &image, asked).await? {
        let Answer::List(part) = answer else { unreachable!("a group is answered in kind") };
        match ErrorCode::from_code(part.error_code) {
            // What went elsewhere meanwhile is listed there.
            Some(ErrorCode::NotCoordinator) => {}
            Some(ErrorCode::None) => response.groups.extend(part.groups),
            _ => return Some(ListGroupsResponse::default().with_error_code(part.error_code)),
        }
    }
    Some(response)
}
