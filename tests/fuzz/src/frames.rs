//! Every API's two messages by key: the one place that names their types.

use bytes::Bytes;
use kafka_protocol::messages as kafka;
use ottla::wire::api::ApiKey;
use ottla::wire::message::{self, DecodeError};
use ottla::wire::offsets;

macro_rules! by_key {
    ($($key:ident: $request:ident, $response:ident;)*) => {
        fn decode_by_crate(api: ApiKey, version: i16, body: Bytes) -> Result<(), DecodeError> {
            match api {
                $(ApiKey::$key => message::decode_request::<kafka::$request>(api.code(), version, body).map(drop),)*
            }
        }

        /// Decodes a response's frame as our client does, and drops it.
        pub fn decode_response(api: ApiKey, version: i16, frame: Bytes) -> Result<(), DecodeError> {
            match api {
                $(ApiKey::$key => message::decode_response::<kafka::$response>(api.code(), version, frame).map(drop),)*
            }
        }

        /// The request that says nothing, where this version can be written.
        pub fn empty_request(api: ApiKey, version: i16) -> Option<Bytes> {
            match api {
                $(ApiKey::$key => message::encode_request(api.code(), version, 7, Some("fuzz"), &kafka::$request::default()).ok(),)*
            }
        }

        /// The response that says nothing, where this version can be written.
        pub fn empty_response(api: ApiKey, version: i16) -> Option<Bytes> {
            match api {
                $(ApiKey::$key => message::encode_response(api.code(), version, 7, &kafka::$response::default()).ok(),)*
            }
        }
    };
}

/// Decodes a request's body as the server does, and drops it.
pub fn decode_request(api: ApiKey, version: i16, body: Bytes) -> Result<(), DecodeError> {
    match api {
        ApiKey::OffsetCommit => offsets::decode_commit(version, body).map(drop),
        ApiKey::OffsetFetch => offsets::decode_fetch(version, body).map(drop),
        _ => decode_by_crate(api, version, body),
    }
}

by_key! {
    Produce: ProduceRequest, ProduceResponse;
    Fetch: FetchRequest, FetchResponse;
    ListOffsets: ListOffsetsRequest, ListOffsetsResponse;
    Metadata: MetadataRequest, MetadataResponse;
    OffsetCommit: OffsetCommitRequest, OffsetCommitResponse;
    OffsetFetch: OffsetFetchRequest, OffsetFetchResponse;
    FindCoordinator: FindCoordinatorRequest, FindCoordinatorResponse;
    JoinGroup: JoinGroupRequest, JoinGroupResponse;
    Heartbeat: HeartbeatRequest, HeartbeatResponse;
    LeaveGroup: LeaveGroupRequest, LeaveGroupResponse;
    SyncGroup: SyncGroupRequest, SyncGroupResponse;
    DescribeGroups: DescribeGroupsRequest, DescribeGroupsResponse;
    ListGroups: ListGroupsRequest, ListGroupsResponse;
    SaslHandshake: SaslHandshakeRequest, SaslHandshakeResponse;
    ApiVersions: ApiVersionsRequest, ApiVersionsResponse;
    CreateTopics: CreateTopicsRequest, CreateTopicsResponse;
    DeleteTopics: DeleteTopicsRequest, DeleteTopicsResponse;
    DeleteRecords: DeleteRecordsRequest, DeleteRecordsResponse;
    InitProducerId: InitProducerIdRequest, InitProducerIdResponse;
    OffsetForLeaderEpoch: OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse;
    AddPartitionsToTxn: AddPartitionsToTxnRequest, AddPartitionsToTxnResponse;
    AddOffsetsToTxn: AddOffsetsToTxnRequest, AddOffsetsToTxnResponse;
    EndTxn: EndTxnRequest, EndTxnResponse;
    WriteTxnMarkers: WriteTxnMarkersRequest, WriteTxnMarkersResponse;
    TxnOffsetCommit: TxnOffsetCommitRequest, TxnOffsetCommitResponse;
    DescribeConfigs: DescribeConfigsRequest, DescribeConfigsResponse;
    AlterConfigs: AlterConfigsRequest, AlterConfigsResponse;
    DescribeLogDirs: DescribeLogDirsRequest, DescribeLogDirsResponse;
    SaslAuthenticate: SaslAuthenticateRequest, SaslAuthenticateResponse;
    CreatePartitions: CreatePartitionsRequest, CreatePartitionsResponse;
    DeleteGroups: DeleteGroupsRequest, DeleteGroupsResponse;
    ElectLeaders: ElectLeadersRequest, ElectLeadersResponse;
    IncrementalAlterConfigs: IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse;
    AlterPartitionReassignments: AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse;
    ListPartitionReassignments: ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse;
    OffsetDelete: OffsetDeleteRequest, OffsetDeleteResponse;
    DescribeCluster: DescribeClusterRequest, DescribeClusterResponse;
    DescribeProducers: DescribeProducersRequest, DescribeProducersResponse;
    AlterReplicaLogDirs: AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse;
    UnregisterBroker: UnregisterBrokerRequest, UnregisterBrokerResponse;
    DescribeTransactions: DescribeTransactionsRequest, DescribeTransactionsResponse;
    ListTransactions: ListTransactionsRequest, ListTransactionsResponse;
    ConsumerGroupHeartbeat: ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse;
    ConsumerGroupDescribe: ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse;
    ListConfigResources: ListConfigResourcesRequest, ListConfigResourcesResponse;
    DescribeTopicPartitions: DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse;
}
