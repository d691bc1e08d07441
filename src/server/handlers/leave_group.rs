//! LeaveGroup: members go, or are sent away.
//!
//! KIPs: 345 (many members, by instance id), 800 (reason).

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use crate::coordinator::group::{Answer, Request};
use crate::io::World;
use crate::server::dispatch::Call;
use crate::wire::error::ErrorCode;

/// From here on a request names several members, and each is answered for itself.
const MEMBERS_FROM: i16 = 3;

pub async fn answer<W: World>(call: Call<W>, mut request: LeaveGroupRequest) -> Option<LeaveGroupResponse> {
    if request.group_id.is_empty() {
        return Some(LeaveGroupResponse::default().with_error_code(ErrorCode::InvalidGroupId.code()));
    }
    if call.header.version < MEMBERS_FROM {
        request.members = vec![MemberIdentity::default().with_member_id(request.member_id.clone())];
    }
    let group = request.group_id.0.clone();
    match super::groups::ask(&call, &group, Request::Leave(request)).await? {
        Answer::Leave(response) => Some(response),
        _ => unreachable!("a group is answered in kind"),
    }
}
