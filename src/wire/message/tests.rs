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

/// Damaged bodies: whatever the guard lets pass, the crate must decode without a panic, and to the same byte if at all.
fn damage_is_survived<M>(key: i16, direction: Direction)
where
    M: Message + Encodable + Decodable,
{
    let api = ApiKey::from_code(key).unwrap();
    for version in M::VERSIONS.min..=M::VERSIONS.max {
        for seed in 0..60 {
            let mut draw = Draw(seed * 104_729 + version as u64);
            let mut body = drawn(api, direction, version, &mut draw).to_vec();
            for _ in 0..=draw.below(3) {
                if body.is_empty() {
                    break;
                }
                let at = draw.below(body.len() as u64);
                match draw.below(4) {
                    0 => body[at] = draw.next() as u8,
                    1 => body[at] ^= 1 << draw.below(8),
                    2 => body[at] = 0xff,
                    _ => body.truncate(at),
                }
            }
            let body = Bytes::from(body);
            if let Ok(walked) = guard::check(schema::of(api, direction), version, api.flexible_from(), &body) {
                let mut left = body.clone();
                if M::decode(&mut left, version).is_ok() {
                    assert_eq!(walked, body.len() - left.len(), "{} {direction:?} v{version} seed {seed}", api.name());
                }
            }
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
    damage_is_survived::<R>(R::KEY, Direction::Request);
    damage_is_survived::<R::Response>(R::KEY, Direction::Response);
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
        AlterPartitionReassignmentsRequest ListPartitionReassignmentsRequest AlterReplicaLogDirsRequest
        UnregisterBrokerRequest;
    schemas_of_groups_agree_with_the_crate:
        JoinGroupRequest SyncGroupRequest HeartbeatRequest LeaveGroupRequest OffsetCommitRequest OffsetFetchRequest
        DescribeGroupsRequest ListGroupsRequest DeleteGroupsRequest OffsetDeleteRequest ConsumerGroupHeartbeatRequest
        ConsumerGroupDescribeRequest;
    schemas_of_transactions_agree_with_the_crate:
        AddPartitionsToTxnRequest AddOffsetsToTxnRequest EndTxnRequest WriteTxnMarkersRequest TxnOffsetCommitRequest
        DescribeTransactionsRequest ListTransactionsRequest;
}

fn hostile(key: i16, version: i16, body: &[u8]) -> DecodeError {
    let api = ApiKey::from_code(key).unwrap();
    guard::check(schema::of(api, Direction::Request), version, api.flexible_from(), body).unwrap_err()
}

fn innermost(error: DecodeError) -> DecodeError {
    match error {
        DecodeError::InField { fault, .. } => *fault,
        other => other,
    }
}

#[test]
fn lying_counts_are_refused_before_anything_is_reserved() {
    // Topics of Metadata 4: two thousand million of them, in four bytes.
    let error = decode_request::<MetadataRequest>(3, 4, Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff, 0])).unwrap_err();
    assert!(matches!(&error, DecodeError::InField { field: "topics", .. }), "{error}");
    assert!(matches!(innermost(error), DecodeError::TooManyElements { announced: 0x7fff_ffff, .. }));
    // One topic of CreateTopics 2 whose assignments lie.
    let mut nested = BytesMut::new();
    nested.put_i32(1);
    nested.put_slice(b"\0\x01t");
    nested.put_i32(1);
    nested.put_i16(1);
    nested.put_i32(1 << 30);
    nested.put_bytes(0, 8);
    assert!(matches!(innermost(hostile(19, 2, &nested)), DecodeError::TooManyElements { announced, .. } if announced == 1 << 30));
    assert!(matches!(hostile(3, 4, &[0xff, 0xff, 0xff, 0xfe]), DecodeError::InField { .. }));
}

#[test]
fn tagged_fields_are_bounded_and_known_ones_must_fit() {
    let mut many = vec![0, 0, 0];
    many.extend([0xff, 0xff, 0x03]);
    many.extend([0; 100]);
    assert!(matches!(hostile(60, 2, &many), DecodeError::TooManyTags { announced: 0xffff, .. }));
    let response = |body: &[u8]| guard::check(schema::of(ApiKey::ApiVersions, Direction::Response), 3, 3, body);
    // No error, no APIs, no throttling, one tagged field: the features' epoch in eight bytes, then in nine.
    assert_eq!(response(&[0, 0, 1, 0, 0, 0, 0, 1, 1, 8, 0, 0, 0, 0, 0, 0, 0, 5]), Ok(18));
    assert!(matches!(response(&[0, 0, 1, 0, 0, 0, 0, 1, 1, 9, 0, 0, 0, 0, 0, 0, 0, 5, 5]), Err(DecodeError::BadTag { tag: 1, .. })));
}

#[test]
fn a_presence_byte_is_present_or_absent() {
    let cursor = |presence: u8| [1, 0, 0, 0, 9, presence, 0, 0, 0, 0, 0, 0];
    assert!(matches!(innermost(hostile(75, 0, &cursor(0))), DecodeError::BadPresence { value: 0, .. }));
    assert!(decode_request::<DescribeTopicPartitionsRequest>(75, 0, Bytes::copy_from_slice(&cursor(0xff))).is_ok());
}

#[test]
fn many_small_elements_are_bounded_in_memory() {
    let topics = |count: usize| {
        let mut body = BytesMut::new();
        put_len(&mut body, Lengths::Compact, Some(count));
        body.put_bytes(1, 2 * count);
        body.put_bytes(0, 4);
        body.freeze()
    };
    assert!(matches!(innermost(hostile(3, 9, &topics(999_999))), DecodeError::TooLarge { .. }));
    assert!(matches!(innermost(hostile(3, 9, &topics(1_000_001))), DecodeError::TooManyElements { max: ARRAY_ELEMENTS_MAX, .. }));
}

#[test]
fn bytes_after_a_body_are_tolerated() {
    let body = Bytes::from_static(&[0, 1, b't', 9, 9, 9]);
    assert_eq!(decode_request::<SaslHandshakeRequest>(17, 1, body).unwrap().mechanism.as_str(), "t");
}

#[test]
fn a_request_goes_there_and_a_response_comes_back() {
    for version in 0..=13 {
        let request = MetadataRequest::default().with_topics(Some(Vec::new()));
        let frame = encode_request(3, version, 77, Some("tool"), &request).unwrap();
        let size = i32::from_be_bytes(frame[..4].try_into().unwrap());
        assert_eq!(size as usize, frame.len() - 4);
        let (header, body) = crate::wire::header::RequestHeader::decode(&frame.slice(4..)).unwrap();
        assert_eq!((header.key, header.version, header.correlation_id, header.client_id.as_deref()), (3, version, 77, Some("tool")));
        assert_eq!(decode_request::<MetadataRequest>(3, version, body).unwrap(), request);
        let response = MetadataResponse::default();
        let frame = encode_response(3, version, 77, &response).unwrap();
        assert_eq!(decode_response::<MetadataResponse>(3, version, frame.slice(4..)).unwrap(), (77, response));
    }
}

#[test]
fn list_offsets_11_is_read_as_10() {
    let request = ListOffsetsRequest::default().with_timeout_ms(5);
    let frame = encode_request(2, 11, 1, None, &request).unwrap();
    let (header, body) = crate::wire::header::RequestHeader::decode(&frame.slice(4..)).unwrap();
    assert_eq!((header.version, header.client_id), (11, None));
    assert_eq!(decode_request::<ListOffsetsRequest>(2, 11, body).unwrap(), request);
    assert!(encode_response(2, 11, 1, &ListOffsetsResponse::default()).is_ok());
    assert_eq!(encode_response(2, 12, 1, &ListOffsetsResponse::default()), Err(EncodeError::NoEncoder { key: 2, version: 12 }));
    assert_eq!(decode_request::<ListOffsetsRequest>(99, 1, Bytes::new()), Err(DecodeError::NoDecoder { key: 99, version: 1 }));
}

#[test]
fn api_versions_answers_without_tagged_fields_in_its_header() {
    let frame = encode_response(18, 3, 9, &ApiVersionsResponse::default()).unwrap();
    // Size, correlation id, error 0, no API, throttle 0, no tagged field.
    assert_eq!(&frame[..], [0, 0, 0, 12, 0, 0, 0, 9, 0, 0, 1, 0, 0, 0, 0, 0]);
}
