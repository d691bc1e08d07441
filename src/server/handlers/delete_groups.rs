//! DeleteGroups: empty groups go with their committed offsets.
//!
//! KIPs: 229.

use std::collections::BTreeSet;

use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse, GroupId};

use crate::coordinator::group::{Answer, Request};
use crate::io::World;
use crate::server::dispatch::Call;

use super::groups::{self, Split};

pub async fn answer<W: World>(call: Call<W>, request: DeleteGroupsRequest) -> Option<DeleteGroupsResponse> {
    let image = call.server.shard.image();
    let mut seen = BTreeSet::new();
    let named = request.groups_names.into_iter().map(|group| group.0).filter(|group| seen.insert(group.clone()));
    let split = Split::new(&image, call.server.shard.node(), named);
    let part = |groups: &[_]| {
        let groups = groups.iter().cloned().map(GroupId).collect();
        Request::Delete(DeleteGroupsRequest::default().with_groups_names(groups))
    };
    let asked = split.parts.iter().map(|(home, groups)| (*home, part(groups))).collect();
    let answers = groups::ask_all(&call, &image, asked).await?.into_iter().map(|answer| match answer {
        Answer::Delete(response) => response.results,
        _ => unreachable!("a group is answered in kind"),
    });
    Some(DeleteGroupsResponse::default().with_results(split.join(answers.collect())))
}
