//! JoinGroup: a member asks into its group, and waits until the group has agreed on who is in it.
//!
//! KIPs: 62, 345 (static members), 394 (member ids), 559 (protocol type and name), 800 (reason), 814 (assignment left out).

use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use crate::coordinator::group::{Answer, Request};
use crate::io::World;
use crate::server::dispatch::Call;
use crate::wire::error::ErrorCode;

/// From here on a protocol's name may be null.
const NULL_NAME_FROM: i16 = 7;

pub async fn answer<W: World>(call: Call<W>, request: JoinGroupRequest) -> Option<JoinGroupResponse> {
    if request.group_id.is_empty() {
        let no_name = (call.header.version < NULL_NAME_FROM).then(|| super::text(""));
        let refused = JoinGroupResponse::default().with_member_id(request.member_id).with_protocol_name(no_name);
        return Some(refused.with_error_code(ErrorCode::InvalidGroupId.code()));
    }
    let group = request.group_id.to_string();
    match super::groups::ask(&call, &group, Request::Join(request)).await? {
        Answer::Join(response) => Some(response),
        _ => unreachable!("a group is answered in kind"),
    }
}
