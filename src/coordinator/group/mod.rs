//! Consumer groups: who is a member, which protocol and assignment the members agreed on, and the offsets they committed.
//!
//! One [`Groups`] machine per partition of `__consumer_offsets` holds the groups whose ids hash to it ([`partition_of`]).

use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest,
    SyncGroupResponse,
};

/// One request for one partition of `__consumer_offsets`. A request that names several groups comes as one call for each partition
/// that has some of them; the parts are joined again by the connection's handler.
#[derive(Debug, Clone)]
pub struct Call {
    pub version: i16,
    /// Empty if the client gave none.
    pub client_id: String,
    /// As Kafka writes it: `/127.0.0.1`.
    pub client_host: String,
    pub request: Request,
}

/// Topics are by name throughout: where a version names them by id (OffsetCommit 10, OffsetFetch 10), the handler has looked them up
/// and answers for those it does not know.
#[derive(Debug, Clone)]
pub enum Request {
    Join(JoinGroupRequest),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveGroupRequest),
    Commit(OffsetCommitRequest),
    /// In the form of version 8 and later: `groups`.
    FetchOffsets(OffsetFetchRequest),
    DeleteOffsets(OffsetDeleteRequest),
    Describe(DescribeGroupsRequest),
    List(ListGroupsRequest),
    Delete(DeleteGroupsRequest),
}

/// In kind.
#[derive(Debug, Clone)]
pub enum Answer {
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    Leave(LeaveGroupResponse),
    Commit(OffsetCommitResponse),
    FetchOffsets(OffsetFetchResponse),
    DeleteOffsets(OffsetDeleteResponse),
    Describe(DescribeGroupsResponse),
    List(ListGroupsResponse),
    Delete(DeleteGroupsResponse),
}
