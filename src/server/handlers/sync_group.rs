//! SyncGroup: the leader hands out the assignments, the others wait for theirs.
//!
//! KIPs: 345 (static members), 559 (protocol type and name).

use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use crate::coordinator::group::{Answer, Request};
use crate::io::World;
use crate::server::dispatch::Call;
use crate::wire::error::ErrorCode;

/// From here on the protocol's type and name are told, and must be.
const PROTOCOL_FROM: i16 = 5;

pub async fn answer<W: World>(call: Call<W>, request: SyncGroupRequest) -> Option<SyncGroupResponse> {
    let refused = |code: ErrorCode| Some(SyncGroupResponse::default().with_error_code(code.code()));
    if call.header.version >= PROTOCOL_FROM && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return refused(ErrorCode::InconsistentGroupProtocol);
    }
    if request.group_id.is_empty() {
        return refused(ErrorCode::InvalidGroupId);
    }
    let group = request.group_id.to_string();
    match super::groups::ask(&call, &group, Request::Sync(request)).await? {
        Answer::Sync(response) => Some(response),
        _ => unreachable!("a group is answered in kind"),
    }
}
