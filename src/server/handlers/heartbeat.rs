//! Heartbeat: a member is alive, and hears whether its group is being put together anew.
//!
//! KIPs: 345 (static members).

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use crate::coordinator::group::{Answer, Request};
use crate::io::World;
use crate::server::dispatch::Call;
use crate::wire::error::ErrorCode;

pub async fn answer<W: World>(call: Call<W>, request: HeartbeatRequest) -> Option<HeartbeatResponse> {
    if request.group_id.is_empty() {
        return Some(HeartbeatResponse::default().with_error_code(ErrorCode::InvalidGroupId.code()));
    }
    let group = request.group_id.0.clone();
    match super::groups::ask(&call, &group, Request::Heartbeat(request)).await? {
        Answer::Heartbeat(response) => Some(response),
        _ => unreachable!("a group is answered in kind"),
    }
}
