//! The APIs of Kafka's protocol we have schemas for, and the table of those this broker serves.
//!
//! Asked by the frame header's decoder, by the ApiVersions handler and by our own client; calls nothing.
//!
//! Invariants:
//! 1. To serve one more API or version is one line in [`SERVED`].
//! 2. What is served lies within what is advertised. They differ for Produce alone: librdkafka compresses only where Produce is
//!    advertised from version 0, although versions 0-2 are refused.
//!
//! KIP-35 (version negotiation), KIP-482 (flexible versions), KIP-896 (oldest versions).

/// No version of the API is flexible.
const NEVER: i16 = i16::MAX;

macro_rules! api_keys {
    ($($variant:ident = $code:literal, flexible from $flexible:expr, crate to $crate_max:literal;)*) => {
        /// Every API a schema is known for.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(i16)]
        pub enum ApiKey {
            $($variant = $code,)*
        }

        impl ApiKey {
            pub const ALL: &[ApiKey] = &[$(ApiKey::$variant,)*];

            pub const fn code(self) -> i16 {
                self as i16
            }

            pub const fn from_code(code: i16) -> Option<ApiKey> {
                match code {
                    $($code => Some(ApiKey::$variant),)*
                    _ => None,
                }
            }

            /// Kafka's own name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(ApiKey::$variant => stringify!($variant),)*
                }
            }

            /// First version with compact lengths and tagged fields; `i16::MAX` if there is none.
            pub const fn flexible_from(self) -> i16 {
                match self {
                    $(ApiKey::$variant => $flexible,)*
                }
            }

            /// Newest version the `kafka-protocol` crate has a codec for.
            pub const fn crate_max(self) -> i16 {
                match self {
                    $(ApiKey::$variant => $crate_max,)*
                }
            }
        }
    };
}

api_keys! {
    Produce = 0, flexible from 9, crate to 13;
    Fetch = 1, flexible from 12, crate to 18;
    ListOffsets = 2, flexible from 6, crate to 10;
    Metadata = 3, flexible from 9, crate to 13;
    OffsetCommit = 8, flexible from 8, crate to 9;
    OffsetFetch = 9, flexible from 6, crate to 9;
    FindCoordinator = 10, flexible from 3, crate to 6;
    JoinGroup = 11, flexible from 6, crate to 9;
    Heartbeat = 12, flexible from 4, crate to 4;
    LeaveGroup = 13, flexible from 4, crate to 5;
    SyncGroup = 14, flexible from 4, crate to 5;
    DescribeGroups = 15, flexible from 5, crate to 6;
    ListGroups = 16, flexible from 3, crate to 5;
    SaslHandshake = 17, flexible from NEVER, crate to 1;
    ApiVersions = 18, flexible from 3, crate to 4;
    CreateTopics = 19, flexible from 5, crate to 7;
    DeleteTopics = 20, flexible from 4, crate to 6;
    DeleteRecords = 21, flexible from 2, crate to 2;
    InitProducerId = 22, flexible from 2, crate to 5;
    OffsetForLeaderEpoch = 23, flexible from 4, crate to 4;
    AddPartitionsToTxn = 24, flexible from 3, crate to 5;
    AddOffsetsToTxn = 25, flexible from 3, crate to 4;
    EndTxn = 26, flexible from 3, crate to 5;
    WriteTxnMarkers = 27, flexible from 1, crate to 1;
    TxnOffsetCommit = 28, flexible from 3, crate to 5;
    DescribeConfigs = 32, flexible from 4, crate to 4;
    AlterConfigs = 33, flexible from 2, crate to 2;
    AlterReplicaLogDirs = 34, flexible from 2, crate to 2;
    DescribeLogDirs = 35, flexible from 2, crate to 4;
    SaslAuthenticate = 36, flexible from 2, crate to 2;
    CreatePartitions = 37, flexible from 2, crate to 3;
    DeleteGroups = 42, flexible from 2, crate to 2;
    ElectLeaders = 43, flexible from 2, crate to 2;
    IncrementalAlterConfigs = 44, flexible from 1, crate to 1;
    AlterPartitionReassignments = 45, flexible from 0, crate to 1;
    ListPartitionReassignments = 46, flexible from 0, crate to 0;
    OffsetDelete = 47, flexible from NEVER, crate to 0;
    DescribeCluster = 60, flexible from 0, crate to 2;
    DescribeProducers = 61, flexible from 0, crate to 0;
    UnregisterBroker = 64, flexible from 0, crate to 0;
    DescribeTransactions = 65, flexible from 0, crate to 0;
    ListTransactions = 66, flexible from 0, crate to 2;
    ConsumerGroupHeartbeat = 68, flexible from 0, crate to 1;
    ConsumerGroupDescribe = 69, flexible from 0, crate to 1;
    ListConfigResources = 74, flexible from 0, crate to 1;
    DescribeTopicPartitions = 75, flexible from 0, crate to 0;
}

/// One API this broker serves, and in which versions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServedApi {
    pub key: i16,
    pub name: &'static str,
    pub min: i16,
    pub max: i16,
    pub flexible_from: i16,
    /// What ApiVersions says instead of `min`.
    pub advertised_min: i16,
}

const fn serve(api: ApiKey, min: i16, max: i16) -> ServedApi {
    ServedApi { key: api.code(), name: api.name(), min, max, flexible_from: api.flexible_from(), advertised_min: min }
}

impl ServedApi {
    const fn advertised_from(mut self, min: i16) -> Self {
        self.advertised_min = min;
        self
    }
}

/// What this broker serves, in order of key.
pub const SERVED: &[ServedApi] = &[
    serve(ApiKey::Produce, 3, 13).advertised_from(0),
    serve(ApiKey::Fetch, 4, 18),
    serve(ApiKey::ListOffsets, 1, 11),
    serve(ApiKey::Metadata, 0, 13),
    serve(ApiKey::OffsetCommit, 2, 10),
    serve(ApiKey::OffsetFetch, 1, 10),
    serve(ApiKey::FindCoordinator, 0, 6),
    serve(ApiKey::JoinGroup, 0, 9),
    serve(ApiKey::Heartbeat, 0, 4),
    serve(ApiKey::LeaveGroup, 0, 5),
    serve(ApiKey::SyncGroup, 0, 5),
    serve(ApiKey::DescribeGroups, 0, 6),
    serve(ApiKey::ListGroups, 0, 5),
    serve(ApiKey::ApiVersions, 0, 4),
    serve(ApiKey::CreateTopics, 2, 7),
    serve(ApiKey::DeleteTopics, 1, 6),
    serve(ApiKey::DeleteRecords, 0, 2),
    serve(ApiKey::InitProducerId, 0, 5),
    serve(ApiKey::OffsetForLeaderEpoch, 2, 4),
    serve(ApiKey::DescribeConfigs, 1, 4),
    serve(ApiKey::AlterConfigs, 0, 2),
    serve(ApiKey::DescribeLogDirs, 1, 5),
    serve(ApiKey::CreatePartitions, 0, 3),
    serve(ApiKey::DeleteGroups, 0, 2),
    serve(ApiKey::ElectLeaders, 0, 2),
    serve(ApiKey::IncrementalAlterConfigs, 0, 1),
    serve(ApiKey::AlterPartitionReassignments, 0, 1),
    serve(ApiKey::ListPartitionReassignments, 0, 0),
    serve(ApiKey::OffsetDelete, 0, 0),
    serve(ApiKey::DescribeCluster, 0, 2),
    serve(ApiKey::DescribeProducers, 0, 0),
    serve(ApiKey::UnregisterBroker, 0, 0),
    serve(ApiKey::ListConfigResources, 0, 1),
    serve(ApiKey::DescribeTopicPartitions, 0, 0),
];

/// The line of the table for this key, if it is served in this version.
pub fn served(key: i16, version: i16) -> Option<&'static ServedApi> {
    served_in_any_version(key).filter(|api| (api.min..=api.max).contains(&version))
}

/// The line of the table for this key.
pub fn served_in_any_version(key: i16) -> Option<&'static ServedApi> {
    SERVED.binary_search_by_key(&key, |api| api.key).ok().map(|index| &SERVED[index])
}

/// Whether the request's header ends in tagged fields.
pub fn request_header_flexible(key: i16, version: i16) -> bool {
    ApiKey::from_code(key).is_some_and(|api| version >= api.flexible_from())
}

/// Whether the response's header ends in tagged fields. Never for ApiVersions: its answer must be readable by a client that does not
/// know yet which versions the broker has.
pub fn response_header_flexible(key: i16, version: i16) -> bool {
    key != ApiKey::ApiVersions.code() && request_header_flexible(key, version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_order_of_key_and_ranges_are_sound() {
        assert!(SERVED.windows(2).all(|pair| pair[0].key < pair[1].key));
        for api in SERVED {
            assert!(api.advertised_min <= api.min && api.min <= api.max, "{}", api.name);
            assert_eq!(ApiKey::from_code(api.key).map(ApiKey::name), Some(api.name));
        }
        assert!(ApiKey::ALL.windows(2).all(|pair| pair[0].code() < pair[1].code()));
    }

    #[test]
    fn versions_outside_the_range_are_not_served() {
        assert!(served(0, 2).is_none());
        assert!(served(0, 3).is_some());
        assert!(served(0, 13).is_some());
        assert!(served(0, 14).is_none());
        assert!(served(1, -1).is_none());
        assert!(served(4, 0).is_none());
        assert_eq!(served(0, 9).map(|api| api.advertised_min), Some(0));
    }

    #[test]
    fn headers_turn_flexible_where_kafka_says() {
        assert!(!request_header_flexible(18, 2));
        assert!(request_header_flexible(18, 3));
        assert!(!response_header_flexible(18, 4));
        assert!(!response_header_flexible(1, 11));
        assert!(response_header_flexible(1, 12));
        assert!(!request_header_flexible(47, 0));
        assert!(response_header_flexible(75, 0));
    }
}
