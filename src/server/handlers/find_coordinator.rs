//! FindCoordinator: there are no groups and no transactions yet, and the answer says so. It is advertised all the same because librdkafka
//! compresses with lz4 only where it finds version 0.
//!
//! KIPs: 699 (batches, version 4).

use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::{BrokerId, FindCoordinatorRequest, FindCoordinatorResponse};

use crate::io::World;
use crate::server::dispatch::Call;
use crate::wire::error::ErrorCode;

const BATCHED_FROM: i16 = 4;
const NO_NODE: BrokerId = BrokerId(-1);
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

pub async fn answer<W: World>(call: Call<W>, request: FindCoordinatorRequest) -> Option<FindCoordinatorResponse> {
    let (code, reason) = match request.key_type {
        GROUP | SHARE => (ErrorCode::CoordinatorNotAvailable, "this broker coordinates no groups"),
        // Final for every client: one that waited for a coordinator would wait for ever.
        TRANSACTION => (ErrorCode::TransactionalIdAuthorizationFailed, "this broker serves no transactions"),
        _ => (ErrorCode::InvalidRequest, "the coordinator's key type is not known"),
    };
    if call.header.version < BATCHED_FROM {
        return Some(
            FindCoordinatorResponse::default()
                .with_error_code(code.code())
                .with_error_message(Some(super::text(reason)))
                .with_node_id(NO_NODE)
                .with_port(-1),
        );
    }
    let refused = |key| {
        Coordinator::default()
            .with_key(key)
            .with_error_code(code.code())
            .with_error_message(Some(super::text(reason)))
            .with_node_id(NO_NODE)
            .with_port(-1)
    };
    Some(FindCoordinatorResponse::default().with_coordinators(request.coordinator_keys.into_iter().map(refused).collect()))
}
