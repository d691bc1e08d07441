//! Answers in the form that their version asks for, and refusals in kind.
//!
//! Called by the steps of the protocol, and by the host for what never reaches a machine; calls nothing.

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::DescribedGroup;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_request::OffsetFetchRequestGroup;
use kafka_protocol::messages::offset_fetch_response::{OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics};
use kafka_protocol::messages::{
    DeleteGroupsResponse, DescribeGroupsResponse, HeartbeatResponse, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    ListGroupsResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteResponse, OffsetFetchResponse, SyncGroupResponse,
};

use super::{Answer, Call, Request, StrBytes};
use crate::wire::error::ErrorCode;

/// From here on JoinGroup answers with no protocol rather than with an empty name.
const JOIN_NULL_PROTOCOL_FROM: i16 = 7;

/// From here on LeaveGroup is of several members.
pub(super) const LEAVE_MEMBERS_FROM: i16 = 3;

/// From here on OffsetFetch has an error for the group.
const FETCH_GROUP_ERROR_FROM: i16 = 2;

/// Brings an answer into the form of a version.
pub(super) trait Answered {
    fn answered(self, version: i16) -> Answer;
}

impl Answered for JoinGroupResponse {
    fn answered(mut self, version: i16) -> Answer {
        self.protocol_name = if version < JOIN_NULL_PROTOCOL_FROM {
            Some(self.protocol_name.unwrap_or_default())
        } else {
            self.protocol_name.filter(|name| !name.is_empty())
        };
        Answer::Join(self)
    }
}

impl Answered for LeaveGroupResponse {
    fn answered(mut self, version: i16) -> Answer {
        if version < LEAVE_MEMBERS_FROM {
            let of_member = self.members.first().map_or(0, |member| member.error_code);
            if self.error_code == ErrorCode::None.code() {
                self.error_code = of_member;
            }
            self.members.clear();
        }
        Answer::Leave(self)
    }
}

macro_rules! as_they_are {
    ($($response:ident => $kind:ident,)*) => {
        $(impl Answered for $response {
            fn answered(self, _version: i16) -> Answer {
                Answer::$kind(self)
            }
        })*
    };
}

as_they_are! {
    SyncGroupResponse => Sync,
    HeartbeatResponse => Heartbeat,
    OffsetCommitResponse => Commit,
    OffsetFetchResponse => FetchOffsets,
    OffsetDeleteResponse => DeleteOffsets,
    DescribeGroupsResponse => Describe,
    ListGroupsResponse => List,
    DeleteGroupsResponse => Delete,
}

pub(super) fn join_error(member_id: &StrBytes, error: ErrorCode) -> JoinGroupResponse {
    JoinGroupResponse::default().with_member_id(member_id.clone()).with_error_code(error.code())
}

pub(super) fn sync_error(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse::default().with_error_code(error.code())
}

pub(super) fn heartbeat(error: ErrorCode) -> HeartbeatResponse {
    HeartbeatResponse::default().with_error_code(error.code())
}

pub(super) fn leave_error(request: &LeaveGroupRequest, error: ErrorCode) -> LeaveGroupResponse {
    // Kafka says this one of each member, and all others of the group.
    if error != ErrorCode::UnknownMemberId {
        return LeaveGroupResponse::default().with_error_code(error.code());
    }
    let refused = request.members.iter().map(|member| {
        MemberResponse::default()
            .with_member_id(member.member_id.clone())
            .with_group_instance_id(member.group_instance_id.clone())
            .with_error_code(error.code())
    });
    LeaveGroupResponse::default().with_members(refused.collect())
}

pub(super) fn commit_error(request: &OffsetCommitRequest, error: ErrorCode) -> OffsetCommitResponse {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetCommitResponsePartition::default().with_partition_index(partition.partition_index).with_error_code(error.code())
        });
        OffsetCommitResponseTopic::default()
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
            .with_partitions(partitions.collect())
    });
    OffsetCommitResponse::default().with_topics(topics.collect())
}

/// An offset that is not there, or not to be told.
pub(super) fn no_offset(partition: i32, error: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions::default()
        .with_partition_index(partition)
        .with_committed_offset(-1)
        .with_committed_leader_epoch(-1)
        .with_metadata(Some(StrBytes::default()))
        .with_error_code(error.code())
}

fn fetch_error(group: &OffsetFetchRequestGroup, version: i16, error: ErrorCode) -> OffsetFetchResponseGroup {
    let answer = OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
    if version >= FETCH_GROUP_ERROR_FROM {
        return answer.with_error_code(error.code());
    }
    let topics = group.topics.iter().flatten().map(|topic| {
        let partitions = topic.partition_indexes.iter().map(|partition| no_offset(*partition, error));
        OffsetFetchResponseTopics::default()
            .with_name(topic.name.clone())
            .with_topic_id(topic.topic_id)
            .with_partitions(partitions.collect())
    });
    answer.with_topics(topics.collect())
}

/// What a client is told of an error met while its records were appended or its coordinator was looked for.
fn told(request: &Request, error: ErrorCode) -> ErrorCode {
    match (error, request) {
        (ErrorCode::NetworkException, _) => ErrorCode::CoordinatorLoadInProgress,
        // A client does not look for its coordinator anew upon the other error when it fetches.
        (ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut, Request::FetchOffsets(_)) => {
            ErrorCode::NotCoordinator
        }
        (ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut, _) => {
            ErrorCode::CoordinatorNotAvailable
        }
        (ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError, _) => ErrorCode::NotCoordinator,
        (ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize, _) => ErrorCode::UnknownServerError,
        // The member lives as long as it is not known otherwise.
        (ErrorCode::CoordinatorLoadInProgress, Request::Heartbeat(_)) => ErrorCode::None,
        (error, _) => error,
    }
}

/// Answers a call that no machine can answer: with the error of an append that failed, or of a coordinator that is not here.
pub fn refusal(call: &Call, error: ErrorCode) -> Answer {
    let error = told(&call.request, error);
    let nobody = StrBytes::default();
    match &call.request {
        Request::Join(_) => join_error(&nobody, error).answered(call.version),
        Request::Sync(_) => sync_error(error).answered(call.version),
        Request::Heartbeat(_) => heartbeat(error).answered(call.version),
        Request::Leave(request) => leave_error(request, error).answered(call.version),
        Request::Commit(request) => commit_error(request, error).answered(call.version),
        Request::FetchOffsets(request) => {
            let groups = request.groups.iter().map(|group| fetch_error(group, call.version, error));
            OffsetFetchResponse::default().with_groups(groups.collect()).answered(call.version)
        }
        Request::DeleteOffsets(_) => OffsetDeleteResponse::default().with_error_code(error.code()).answered(call.version),
        Request::Describe(request) => {
            let groups = request.groups.iter().map(|id| DescribedGroup::default().with_group_id(id.clone()).with_error_code(error.code()));
            DescribeGroupsResponse::default().with_groups(groups.collect()).answered(call.version)
        }
        Request::List(_) => ListGroupsResponse::default().with_error_code(error.code()).answered(call.version),
        Request::Delete(request) => {
            let results = request
                .groups_names
                .iter()
                .map(|id| DeletableGroupResult::default().with_group_id(id.clone()).with_error_code(error.code()));
            DeleteGroupsResponse::default().with_results(results.collect()).answered(call.version)
        }
    }
}
