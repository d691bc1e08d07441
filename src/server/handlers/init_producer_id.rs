//! InitProducerId for idempotent producers: an id of this shard's block, always with epoch 0. Kafka answers so whatever id and epoch a
//! producer without a transactional id brings along, as long as it brings both or neither.
//!
//! Transactions are not served: a transactional id gets one error that every client takes as final.
//!
//! KIPs: 98, 360.

use kafka_protocol::messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId as WireProducerId};

use crate::io::World;
use crate::server::dispatch::Call;
use crate::wire::error::ErrorCode;

/// Stands for no id, and for no epoch.
const NONE: i64 = -1;

/// What the controller would have a client of its own try again, as what every producer tries again.
fn for_producers(code: ErrorCode) -> ErrorCode {
    match code {
        ErrorCode::NotController | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorLoadInProgress,
        other => other,
    }
}

pub async fn answer<W: World>(call: Call<W>, request: InitProducerIdRequest) -> Option<InitProducerIdResponse> {
    let refused = |code: ErrorCode| {
        InitProducerIdResponse::default().with_error_code(code.code()).with_producer_id(WireProducerId(-1)).with_producer_epoch(-1)
    };
    match &request.transactional_id {
        Some(id) if id.is_empty() => return Some(refused(ErrorCode::InvalidRequest)),
        Some(_) => return Some(refused(ErrorCode::TransactionalIdAuthorizationFailed)),
        None => {}
    }
    if (request.producer_id.0 == NONE) != (i64::from(request.producer_epoch) == NONE) {
        return Some(refused(ErrorCode::InvalidRequest));
    }
    match call.server.shard.next_producer_id().await? {
        Ok(id) => Some(InitProducerIdResponse::default().with_producer_id(WireProducerId(id.get())).with_producer_epoch(0)),
        Err(failed) => {
            tracing::warn!("no producer id: {failed}");
            Some(refused(for_producers(failed.code)))
        }
    }
}
