use kafka_protocol::messages::*;
use kafka_protocol::protocol::{HeaderVersion, Message, Request};

use super::*;
use crate::wire::api::ApiKey;

/// A small generator: the tests draw every message from its schema.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn below(&mut self, bound: u64) -> usize {
        (self.next() % bound) as usize
    }
}

use crate::wire::put::{put_len, put_string, put_uvarint};
use crate::wire::schema::{Field, Kind};

fn put_fields(to: &mut BytesMut, fields: &[Field], version: i16, lengths: Lengths, draw: &mut Draw) {
    for field in fields.iter().filter(|field| field.tag.is_none() && field.in_version(version)) {
        put_value(to, &field.kind, version, lengths, draw);
    }
    if lengths == Lengths::Compact {
        let mut tagged: Vec<(u32, BytesMut)> = Vec::new();
        for field in fields.iter().filter(|field| field.in_version(version)) {
            if let Some(tag) = field.tag
                && draw.below(2) == 0
            {
                let mut value = BytesMut::new();
                put_value(&mut value, &field.kind, version, lengths, draw);
                tagged.push((tag, value));
            }
        }
        if draw.below(8) == 0 {
            tagged.push((77, BytesMut::from(&b"later"[..])));
        }
        put_uvarint(to, tagged.len() as u32);
        for (tag, value) in tagged {
            put_uvarint(to, tag);
            put_uvarint(to, value.len() as u32);
            to.put_slice(&value);
        }
    }
}

fn put_value(to: &mut BytesMut, kind: &Kind, version: i16, lengths: Lengths, draw: &mut Draw) {
    match kind {
        Kind::bool => to.put_u8(draw.below(2) as u8),
        Kind::int8 => to.put_u8(draw.below(3) as u8),
        Kind::int16 => to.put_i16(draw.below(100) as i16),
        Kind::int32 => to.put_i32(draw.next() as i32),
        Kind::int64 => to.put_i64(draw.next() as i64),
        Kind::uuid => to.put_u128(u128::from(draw.next())),
        Kind::string => put_string(to, lengths, &"text"[..draw.below(5)]),
        Kind::bytes => {
            let len = draw.below(200);
            put_len(to, lengths, Some(len));
            to.put_bytes(7, len);
        }
        Kind::Array(element) => {
            let count = draw.below(4);
            put_len(to, lengths, Some(count));
            for _ in 0..count {
                put_value(to, element, version, lengths, draw);
            }
        }
        Kind::Struct(fields) => put_fields(to, fields, version, lengths, draw),
        Kind::Maybe(fields) => {
            if draw.below(2) == 0 {
                to.put_i8(-1);
            } else {
                to.put_i8(1);
                put_fields(to, fields, version, lengths, draw);
            }
        }
    }
}

fn drawn(api: ApiKey, direction: Direction, version: i16, draw: &mut Draw) -> Bytes {
    let mut body = BytesMut::new();
    put_fields(&mut body, schema::of(api, direction), version, Lengths::of(version, api.flexible_from()), draw);
    body.freeze()
}

/// Bodies drawn from our schema: the guard must walk them whole, the crate must read every byte, and what the crate writes of them
/// must pass the guard and read back equal.
fn schema_agrees<M>(key: i16, direction: Direction)
where
    M: Message + Encodable + Decodable + PartialEq + std::fmt::Debug,
{
    let api = ApiKey::from_code(key).unwrap();
    for version in M::VERSIONS.min..=M::VERSIONS.max {
        for seed in 0..40 {
            let mut draw = Draw(seed * 7919 + version as u64);
            let body = drawn(api, direction, version, &mut draw);
            let place = format!("{} {direction:?} v{version} seed {seed}", api.name());
            let walked = guard::check(schema::of(api, direction), version, api.flexible_from(), &body);
            assert_eq!(walked, Ok(body.len()), "{place}");
            let mut left = body.clone();
            let message = M::decode(&mut left, version).unwrap_or_else(|error| panic!("{place}: {error}"));
            assert!(left.is_empty(), "{place}: the crate leaves {} bytes", left.len());
            let mut again = BytesMut::new();
            message.encode(&mut again, version).unwrap_or_else(|error| panic!("{place}: {error}"));
            let again = again.freeze();
            assert_eq!(guard::check(schema::of(api, direction), version, api.flexible_from(), &again), Ok(again.len()), "{place}");
            assert_eq!(M::decode(&mut again.clone(), version).unwrap(), message, "{place}");
        }
    }
}

fn api_agrees<R>()
where
    R: Request + PartialEq + std::fmt::Debug,
    R::Response: PartialEq + std::fmt::Debug,
{
    schema_agrees::<R>(R::KEY, Direction::Request);
    schema_agrees::<R::Response>(R::KEY, Direction::Response);
    let api = ApiKey::from_code(R::KEY).unwrap();
    assert_eq!(R::VERSIONS.max, api.crate_max(), "{}", api.name());
    for version in R::VERSIONS.min..=R::VERSIONS.max {
        assert_eq!(R::header_version(version) >= 2, api::request_header_flexible(R::KEY, version), "{} v{version}", api.name());
        assert_eq!(R::Response::header_version(version) >= 1, api::response_header_flexible(R::KEY, version), "{} v{version}", api.name());
    }
}

macro_rules! agree {
    ($($test:ident: $($request:ident)*;)*) => {
        $(#[test]
        fn $test() {
            $(api_agrees::<$request>();)*
        })*
    };
}

agree! {
    schemas_of_records_agree_with_the_crate:
        ProduceRequest FetchRequest ListOffsetsRequest OffsetForLeaderEpochRequest InitProducerIdRequest DeleteRecordsRequest
        DescribeProducersRequest;
    schemas_of_the_cluster_agree_with_the_crate:
        MetadataRequest FindCoordinatorRequest ApiVersionsRequest DescribeClusterRequest DescribeTopicPartitionsRequest
        SaslHandshakeRequest SaslAuthenticateRequest;
    schemas_of_administration_agree_with_the_crate:
        CreateTopicsRequest DeleteTopicsRequest CreatePartitionsRequest DescribeConfigsRequest AlterConfigsRequest
        IncrementalAlterConfigsRequest DescribeLogDirsRequest ListConfigResourcesRequest ElectLeadersRequest
        AlterPartitionReassignmentsRequest ListPartitionReassignmentsRequest;
    schemas_of_groups_agree_with_the_crate:
        JoinGroupRequest SyncGroupRequest HeartbeatRequest LeaveGroupRequest OffsetCommitRequest OffsetFetchRequest
        DescribeGroupsRequest ListGroupsRequest DeleteGroupsRequest OffsetDeleteRequest ConsumerGroupHeartbeatRequest
        ConsumerGroupDescribeRequest;
    schemas_of_transactions_agree_with_the_crate:
        AddPartitionsToTxnRequest AddOffsetsToTxnRequest EndTxnRequest WriteTxnMarkersRequest TxnOffsetCommitRequest
        DescribeTransactionsRequest ListTransactionsRequest;
}
