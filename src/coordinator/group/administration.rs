//! DescribeGroups, ListGroups and DeleteGroups.

use std::collections::BTreeSet;

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, GroupId, ListGroupsRequest,
    ListGroupsResponse,
};

use super::roster::{Group, State};
use super::turn::Turn;
use super::{Caller, Groups, StrBytes, record};
use crate::wire::error::ErrorCode;

/// The type of a group of this protocol, as ListGroups names it.
const CLASSIC: &str = "classic";

/// What a group that is not there is described as.
const DEAD: &str = "Dead";

/// From here on a group that is not there is an error as well.
const DESCRIBE_NOT_FOUND_FROM: i16 = 6;

impl Groups {
    pub(super) fn describe(&self, caller: &Caller, request: &DescribeGroupsRequest) -> DescribeGroupsResponse {
        let groups = request.groups.iter().map(|id| match self.groups.get(&id.0) {
            Some(group) => described(group),
            None => dead(id, caller.version),
        });
        DescribeGroupsResponse::default().with_groups(groups.collect())
    }

    pub(super) fn list(&self, request: &ListGroupsRequest) -> ListGroupsResponse {
        let states: BTreeSet<String> = request.states_filter.iter().map(|state| state.trim().to_lowercase()).collect();
        let types = &request.types_filter;
        let of_type = types.is_empty() || types.iter().any(|name| name.to_lowercase() == CLASSIC);
        let wanted = |group: &&Group| of_type && (states.is_empty() || states.contains(&group.state.name().to_lowercase()));
        let listed = |group: &Group| {
            ListedGroup::default()
                .with_group_id(GroupId(group.id.clone()))
                .with_protocol_type(group.protocol_type.clone().unwrap_or_default())
                .with_group_state(StrBytes::from_static_str(group.state.name()))
                .with_group_type(StrBytes::from_static_str(CLASSIC))
        };
        ListGroupsResponse::default().with_groups(self.groups.values().filter(wanted).map(listed).collect())
    }

    pub(super) fn delete(&mut self, request: &DeleteGroupsRequest, turn: &mut Turn<'_>) -> DeleteGroupsResponse {
        if !self.can_delete(request, turn) {
            // As Kafka, which writes one batch for all.
            let result = |id: &GroupId| DeletableGroupResult::default().with_group_id(id.clone());
            let refused = request.groups_names.iter().map(|id| result(id).with_error_code(ErrorCode::UnknownServerError.code()));
            return DeleteGroupsResponse::default().with_results(refused.collect());
        }
        let mut seen = BTreeSet::new();
        let mut results = Vec::with_capacity(request.groups_names.len());
        for id in request.groups_names.iter().filter(|id| seen.insert((*id).clone())) {
            let error = match self.groups.get(&id.0).map(|group| group.state) {
                None => ErrorCode::GroupIdNotFound,
                Some(State::Empty) => {
                    for (topic, partition) in self.ledger.places(&id.0) {
                        self.forget_offset(&id.0, &topic, partition, turn);
                    }
                    self.remove_group(&id.0, turn);
                    ErrorCode::None
                }
                Some(_) => ErrorCode::NonEmptyGroup,
            };
            results.push(DeletableGroupResult::default().with_group_id(id.clone()).with_error_code(error.code()));
        }
        DeleteGroupsResponse::default().with_results(results)
    }

    /// Whether all that goes with these groups can be kept as gone.
    fn can_delete(&self, request: &DeleteGroupsRequest, turn: &Turn<'_>) -> bool {
        let ids: BTreeSet<&GroupId> = request.groups_names.iter().collect();
        let empty = ids.into_iter().filter(|id| self.groups.get(&id.0).is_some_and(|group| group.state == State::Empty));
        let tombstones = empty.flat_map(|id| {
            let places = self.ledger.places(&id.0);
            let of_offsets: Vec<_> = places.iter().map(|(topic, partition)| record::offset_tombstone(&id.0, topic, *partition)).collect();
            of_offsets.into_iter().chain([record::group_tombstone(&id.0)])
        });
        turn.can_keep(&tombstones.collect::<Vec<_>>())
    }
}

fn described(group: &Group) -> DescribedGroup {
    let stable = group.state == State::Stable;
    let protocol = if stable { group.protocol.clone().unwrap_or_default() } else { StrBytes::default() };
    let members = group.members().map(|member| {
        DescribedGroupMember::default()
            .with_member_id(member.id.clone())
            .with_group_instance_id(member.instance_id.clone())
            .with_client_id(member.client_id.clone())
            .with_client_host(member.client_host.clone())
            .with_member_assignment(member.assignment.clone())
            // What members said while they join is nobody's agreement yet.
            .with_member_metadata(if stable { member.metadata(&protocol) } else { bytes::Bytes::new() })
    });
    DescribedGroup::default()
        .with_group_id(GroupId(group.id.clone()))
        .with_group_state(StrBytes::from_static_str(group.state.name()))
        .with_protocol_type(group.protocol_type.clone().unwrap_or_default())
        .with_protocol_data(protocol.clone())
        .with_members(members.collect())
}

fn dead(id: &GroupId, version: i16) -> DescribedGroup {
    let answer = DescribedGroup::default().with_group_id(id.clone()).with_group_state(StrBytes::from_static_str(DEAD));
    if version < DESCRIBE_NOT_FOUND_FROM {
        return answer;
    }
    let message = StrBytes::from(format!("Group {} not found.", id.0));
    answer.with_error_code(ErrorCode::GroupIdNotFound.code()).with_error_message(Some(message))
}
