//! DescribeGroups: state, protocol and members of groups.
//!
//! KIPs: 345 (instance ids), 430 (authorized operations), 1043 (error messages).

use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};

use crate::coordinator::group::{Answer, Request};
use crate::io::World;
use crate::server::dispatch::Call;
use crate::wire::error::ErrorCode;

use super::groups::{self, Split};

/// From here on the operations that the client may do are told.
const OPERATIONS_FROM: i16 = 3;

pub async fn answer<W: World>(call: Call<W>, request: DescribeGroupsRequest) -> Option<DescribeGroupsResponse> {
    let image = call.server.shard.image();
    let split = Split::new(&image, call.server.shard.node(), request.groups.into_iter().map(|group| group.0));
    let part = |groups: &[_]| {
        let groups = groups.iter().cloned().map(GroupId).collect();
        Request::Describe(DescribeGroupsRequest::default().with_groups(groups))
    };
    let asked = split.parts.iter().map(|(home, groups)| (*home, part(groups))).collect();
    let answers = groups::ask_all(&call, &image, asked).await?.into_iter().map(|answer| match answer {
        Answer::Describe(response) => response.groups,
        _ => unreachable!("a group is answered in kind"),
    });
    let mut described = split.join(answers.collect());
    let told = request.include_authorized_operations && call.header.version >= OPERATIONS_FROM;
    for group in &mut described {
        let known = group.error_code == ErrorCode::None.code();
        group.authorized_operations = if told && known { super::group_operations() } else { super::OPERATIONS_NOT_ASKED };
    }
    Some(DescribeGroupsResponse::default().with_groups(described))
}
