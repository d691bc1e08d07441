//! ListPartitionReassignments: replicas of one node have nowhere to move, so none are under way.
//!
//! KIPs: 455.

use kafka_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use crate::io::World;
use crate::server::dispatch::Call;

pub async fn answer<W: World>(_call: Call<W>, _request: ListPartitionReassignmentsRequest) -> Option<ListPartitionReassignmentsResponse> {
    Some(ListPartitionReassignmentsResponse::default().with_error_message(None))
}
