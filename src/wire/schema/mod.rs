//! The shape of every message we meet, as compact tables: which fields in which versions, and how long each is on the wire.
//!
//! Read by the guard, which walks a body by them before the `kafka-protocol` crate's decoders may allocate; calls nothing.
//! A field reads `name: [tag N] versions kind`, where versions are `3+` or `3-7`, and a kind is a primitive, `[..]` for an array,
//! `{..}` for a struct, `maybe {..}` for a struct behind a presence byte.
//!
//! Invariants:
//! 1. In every version, the fields stand in the order of the wire.
//! 2. The walk agrees with the crate's decoder byte for byte (tested for every message and version the crate has).

use super::api::ApiKey;

/// One field of a struct on the wire.
#[derive(Debug)]
pub(super) struct Field {
    pub name: &'static str,
    pub from: i16,
    pub to: i16,
    /// The field's tag, if it travels among the tagged fields.
    pub tag: Option<u32>,
    pub kind: Kind,
}

/// How a field is laid out. Nullable kinds are those that are not: null is a length of its own.
#[derive(Debug)]
#[allow(non_camel_case_types)] // the tables below name kinds as Kafka's schemas do
pub(super) enum Kind {
    bool,
    int8,
    int16,
    int32,
    int64,
    uuid,
    string,
    bytes,
    Array(&'static Kind),
    Struct(&'static [Field]),
    Maybe(&'static [Field]),
}

impl Field {
    pub fn in_version(&self, version: i16) -> bool {
        (self.from..=self.to).contains(&version)
    }
}

macro_rules! fields {
    (@ [$($done:expr,)*]) => { &[$($done,)*] };
    (@ $done:tt $name:ident : tag $tag:literal $from:literal + $($rest:tt)*) => {
        fields!(@kind $done ($name, Some($tag), $from, i16::MAX) $($rest)*)
    };
    (@ $done:tt $name:ident : tag $tag:literal $from:literal - $to:literal $($rest:tt)*) => {
        fields!(@kind $done ($name, Some($tag), $from, $to) $($rest)*)
    };
    (@ $done:tt $name:ident : $from:literal + $($rest:tt)*) => {
        fields!(@kind $done ($name, None, $from, i16::MAX) $($rest)*)
    };
    (@ $done:tt $name:ident : $from:literal - $to:literal $($rest:tt)*) => {
        fields!(@kind $done ($name, None, $from, $to) $($rest)*)
    };
    (@kind $done:tt $head:tt [ $element:ident ], $($rest:tt)*) => {
        fields!(@push $done $head (Kind::Array(&Kind::$element)) $($rest)*)
    };
    (@kind $done:tt $head:tt [ $($inner:tt)* ], $($rest:tt)*) => {
        fields!(@push $done $head (Kind::Array(&Kind::Struct(fields!(@ [] $($inner)*)))) $($rest)*)
    };
    (@kind $done:tt $head:tt { $($inner:tt)* }, $($rest:tt)*) => {
        fields!(@push $done $head (Kind::Struct(fields!(@ [] $($inner)*))) $($rest)*)
    };
    (@kind $done:tt $head:tt maybe { $($inner:tt)* }, $($rest:tt)*) => {
        fields!(@push $done $head (Kind::Maybe(fields!(@ [] $($inner)*))) $($rest)*)
    };
    (@kind $done:tt $head:tt $kind:ident, $($rest:tt)*) => {
        fields!(@push $done $head (Kind::$kind) $($rest)*)
    };
    (@push [$($done:expr,)*] ($name:ident, $tag:expr, $from:expr, $to:expr) ($kind:expr) $($rest:tt)*) => {
        fields!(@ [$($done,)* Field { name: stringify!($name), from: $from, to: $to, tag: $tag, kind: $kind },] $($rest)*)
    };
}

macro_rules! schema {
    (pub $name:ident { $($fields:tt)* }) => {
        pub(in crate::wire) const $name: &[Field] = fields!(@ [] $($fields)*);
    };
}

mod admin;
mod cluster;
mod group;
mod records;
mod transaction;

/// Which of an API's two messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Direction {
    Request,
    Response,
}

/// The fields of a message.
pub(super) fn of(api: ApiKey, direction: Direction) -> &'static [Field] {
    let (request, response) = match api {
        ApiKey::Produce => (records::PRODUCE_REQUEST, records::PRODUCE_RESPONSE),
        ApiKey::Fetch => (records::FETCH_REQUEST, records::FETCH_RESPONSE),
        ApiKey::ListOffsets => (records::LIST_OFFSETS_REQUEST, records::LIST_OFFSETS_RESPONSE),
        ApiKey::OffsetForLeaderEpoch => (records::OFFSET_FOR_LEADER_EPOCH_REQUEST, records::OFFSET_FOR_LEADER_EPOCH_RESPONSE),
        ApiKey::InitProducerId => (records::INIT_PRODUCER_ID_REQUEST, records::INIT_PRODUCER_ID_RESPONSE),
        ApiKey::DeleteRecords => (records::DELETE_RECORDS_REQUEST, records::DELETE_RECORDS_RESPONSE),
        ApiKey::DescribeProducers => (records::DESCRIBE_PRODUCERS_REQUEST, records::DESCRIBE_PRODUCERS_RESPONSE),
        ApiKey::Metadata => (cluster::METADATA_REQUEST, cluster::METADATA_RESPONSE),
        ApiKey::FindCoordinator => (cluster::FIND_COORDINATOR_REQUEST, cluster::FIND_COORDINATOR_RESPONSE),
        ApiKey::ApiVersions => (cluster::API_VERSIONS_REQUEST, cluster::API_VERSIONS_RESPONSE),
        ApiKey::DescribeCluster => (cluster::DESCRIBE_CLUSTER_REQUEST, cluster::DESCRIBE_CLUSTER_RESPONSE),
        ApiKey::DescribeTopicPartitions => (cluster::DESCRIBE_TOPIC_PARTITIONS_REQUEST, cluster::DESCRIBE_TOPIC_PARTITIONS_RESPONSE),
        ApiKey::SaslHandshake => (cluster::SASL_HANDSHAKE_REQUEST, cluster::SASL_HANDSHAKE_RESPONSE),
        ApiKey::SaslAuthenticate => (cluster::SASL_AUTHENTICATE_REQUEST, cluster::SASL_AUTHENTICATE_RESPONSE),
        ApiKey::CreateTopics => (admin::CREATE_TOPICS_REQUEST, admin::CREATE_TOPICS_RESPONSE),
        ApiKey::DeleteTopics => (admin::DELETE_TOPICS_REQUEST, admin::DELETE_TOPICS_RESPONSE),
        ApiKey::CreatePartitions => (admin::CREATE_PARTITIONS_REQUEST, admin::CREATE_PARTITIONS_RESPONSE),
        ApiKey::DescribeConfigs => (admin::DESCRIBE_CONFIGS_REQUEST, admin::DESCRIBE_CONFIGS_RESPONSE),
        ApiKey::AlterConfigs => (admin::ALTER_CONFIGS_REQUEST, admin::ALTER_CONFIGS_RESPONSE),
        ApiKey::IncrementalAlterConfigs => (admin::INCREMENTAL_ALTER_CONFIGS_REQUEST, admin::INCREMENTAL_ALTER_CONFIGS_RESPONSE),
        ApiKey::DescribeLogDirs => (admin::DESCRIBE_LOG_DIRS_REQUEST, admin::DESCRIBE_LOG_DIRS_RESPONSE),
        ApiKey::ListConfigResources => (admin::LIST_CONFIG_RESOURCES_REQUEST, admin::LIST_CONFIG_RESOURCES_RESPONSE),
        ApiKey::ElectLeaders => (admin::ELECT_LEADERS_REQUEST, admin::ELECT_LEADERS_RESPONSE),
        ApiKey::AlterPartitionReassignments => {
            (admin::ALTER_PARTITION_REASSIGNMENTS_REQUEST, admin::ALTER_PARTITION_REASSIGNMENTS_RESPONSE)
        }
        ApiKey::ListPartitionReassignments => (admin::LIST_PARTITION_REASSIGNMENTS_REQUEST, admin::LIST_PARTITION_REASSIGNMENTS_RESPONSE),
        ApiKey::AlterReplicaLogDirs => (admin::ALTER_REPLICA_LOG_DIRS_REQUEST, admin::ALTER_REPLICA_LOG_DIRS_RESPONSE),
        ApiKey::UnregisterBroker => (admin::UNREGISTER_BROKER_REQUEST, admin::UNREGISTER_BROKER_RESPONSE),
        ApiKey::JoinGroup => (group::JOIN_GROUP_REQUEST, group::JOIN_GROUP_RESPONSE),
        ApiKey::SyncGroup => (group::SYNC_GROUP_REQUEST, group::SYNC_GROUP_RESPONSE),
        ApiKey::Heartbeat => (group::HEARTBEAT_REQUEST, group::HEARTBEAT_RESPONSE),
        ApiKey::LeaveGroup => (group::LEAVE_GROUP_REQUEST, group::LEAVE_GROUP_RESPONSE),
        ApiKey::OffsetCommit => (group::OFFSET_COMMIT_REQUEST, group::OFFSET_COMMIT_RESPONSE),
        ApiKey::OffsetFetch => (group::OFFSET_FETCH_REQUEST, group::OFFSET_FETCH_RESPONSE),
        ApiKey::DescribeGroups => (group::DESCRIBE_GROUPS_REQUEST, group::DESCRIBE_GROUPS_RESPONSE),
        ApiKey::ListGroups => (group::LIST_GROUPS_REQUEST, group::LIST_GROUPS_RESPONSE),
        ApiKey::DeleteGroups => (group::DELETE_GROUPS_REQUEST, group::DELETE_GROUPS_RESPONSE),
        ApiKey::OffsetDelete => (group::OFFSET_DELETE_REQUEST, group::OFFSET_DELETE_RESPONSE),
        ApiKey::ConsumerGroupHeartbeat => (group::CONSUMER_GROUP_HEARTBEAT_REQUEST, group::CONSUMER_GROUP_HEARTBEAT_RESPONSE),
        ApiKey::ConsumerGroupDescribe => (group::CONSUMER_GROUP_DESCRIBE_REQUEST, group::CONSUMER_GROUP_DESCRIBE_RESPONSE),
        ApiKey::AddPartitionsToTxn => (transaction::ADD_PARTITIONS_TO_TXN_REQUEST, transaction::ADD_PARTITIONS_TO_TXN_RESPONSE),
        ApiKey::AddOffsetsToTxn => (transaction::ADD_OFFSETS_TO_TXN_REQUEST, transaction::ADD_OFFSETS_TO_TXN_RESPONSE),
        ApiKey::EndTxn => (transaction::END_TXN_REQUEST, transaction::END_TXN_RESPONSE),
        ApiKey::WriteTxnMarkers => (transaction::WRITE_TXN_MARKERS_REQUEST, transaction::WRITE_TXN_MARKERS_RESPONSE),
        ApiKey::TxnOffsetCommit => (transaction::TXN_OFFSET_COMMIT_REQUEST, transaction::TXN_OFFSET_COMMIT_RESPONSE),
        ApiKey::DescribeTransactions => (transaction::DESCRIBE_TRANSACTIONS_REQUEST, transaction::DESCRIBE_TRANSACTIONS_RESPONSE),
        ApiKey::ListTransactions => (transaction::LIST_TRANSACTIONS_REQUEST, transaction::LIST_TRANSACTIONS_RESPONSE),
    };
    match direction {
        Direction::Request => request,
        Direction::Response => response,
    }
}
