use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{self, BrokerId};
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::*;
use crate::types::{BrokerEpoch, LeaderEpoch, NodeId, Offset, ProducerId, TopicId};
use crate::wire::TopicRef;
use crate::wire::error::ErrorCode;
use crate::wire::message::{DecodeError, decode_response, uuid_of};

const TOPIC_ID: TopicId = TopicId::from_bits(0xaaaa_bbbb_cccc_dddd_eeee_ffff_0000_1111);

fn topic_ref(version: i16) -> TopicRef {
    if version >= 13 { TopicRef::Id(TOPIC_ID) } else { TopicRef::Name(StrBytes::from_static_str("orders")) }
}

fn crate_request(version: i16) -> messages::FetchRequest {
    use messages::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic, ReplicaState};
    let mut partition = FetchPartition::default().with_partition(3).with_fetch_offset(500).with_partition_max_bytes(1 << 20);
    if version >= 5 {
        partition.log_start_offset = 11;
    }
    if version >= 9 {
        partition.current_leader_epoch = 6;
    }
    if version >= 12 {
        partition.last_fetched_epoch = 5;
    }
    if version >= 17 {
        partition.replica_directory_id = uuid_of(TOPIC_ID);
    }
    if version >= 18 {
        partition.high_watermark = 490;
    }
    let mut topic = FetchTopic::default().with_partitions(vec![partition]);
    let mut forgotten = ForgottenTopic::default().with_partitions(vec![8, 9]);
    if version >= 13 {
        topic.topic_id = uuid_of(TOPIC_ID);
        forgotten.topic_id = uuid_of(TOPIC_ID);
    } else {
        topic.topic = StrBytes::from_static_str("orders").into();
        forgotten.topic = StrBytes::from_static_str("orders").into();
    }
    let mut request =
        messages::FetchRequest::default().with_max_wait_ms(500).with_min_bytes(1).with_max_bytes(50 << 20).with_isolation_level(1);
    request.topics = vec![topic];
    if version >= 15 {
        request.replica_state = ReplicaState::default().with_replica_id(BrokerId(7)).with_replica_epoch(70);
    } else {
        request.replica_id = BrokerId(7);
    }
    if version >= 7 {
        request.session_id = 12;
        request.session_epoch = 13;
        request.forgotten_topics_data = vec![forgotten];
    }
    if version >= 11 {
        request.rack_id = StrBytes::from_static_str("rack");
    }
    if version >= 12 {
        request.cluster_id = Some(StrBytes::from_static_str("cluster"));
    }
    request
}

#[test]
fn request_reads_what_the_crate_writes_in_every_version() {
    for version in 4..=18 {
        let mut body = BytesMut::new();
        crate_request(version).encode(&mut body, version).unwrap();
        let body = body.freeze();
        let request = FetchRequest::decode(version, body.clone()).unwrap();
        let since = |from: i16, value: i64, absent: i64| if version >= from { value } else { absent };
        assert_eq!(request.replica_id, NodeId(7));
        assert_eq!(request.replica_epoch, BrokerEpoch(since(15, 70, -1)));
        assert_eq!((request.max_wait_ms, request.min_bytes, request.max_bytes), (500, 1, 50 << 20));
        assert_eq!(request.isolation_level, Some(IsolationLevel::ReadCommitted));
        assert_eq!((i64::from(request.session_id), i64::from(request.session_epoch)), (since(7, 12, 0), since(7, 13, -1)));
        assert_eq!(request.rack_id.as_str(), if version >= 11 { "rack" } else { "" });
        assert_eq!(request.cluster_id.is_some(), version >= 12);
        assert_eq!(request.topics[0].topic, topic_ref(version));
        let partition = request.topics[0].partitions[0];
        assert_eq!((partition.index, partition.fetch_offset, partition.max_bytes), (3, Offset(500), 1 << 20));
        assert_eq!(partition.log_start_offset, Offset(since(5, 11, -1)));
        assert_eq!(partition.current_leader_epoch, LeaderEpoch(since(9, 6, -1) as i32));
        assert_eq!(partition.last_fetched_epoch, LeaderEpoch(since(12, 5, -1) as i32));
        assert_eq!(partition.replica_directory_id, (version >= 17).then_some(TOPIC_ID.bits()));
        assert_eq!(partition.high_watermark, (version >= 18).then_some(Offset(490)));
        if version >= 7 {
            assert_eq!(request.forgotten, [ForgottenTopic { topic: topic_ref(version), partitions: vec![8, 9] }]);
        }
        for cut in 0..body.len() {
            assert!(FetchRequest::decode(version, body.slice(..cut)).is_err(), "v{version} cut at {cut}");
        }
    }
}

#[test]
fn hostile_counts_are_refused_before_anything_is_reserved() {
    let mut body = vec![0xff; 4];
    body.extend([0; 13]);
    body.extend([0x7f, 0xff, 0xff, 0xff]);
    assert!(matches!(FetchRequest::decode(4, Bytes::from(body)), Err(DecodeError::TooManyElements { .. })));
}

fn response(version: i16) -> FetchResponse {
    let with_records = |index: i32, records_len: u32| FetchPartitionResponse {
        high_watermark: Offset(900),
        last_stable_offset: Offset(800),
        log_start_offset: Offset(1),
        aborted: Some(vec![AbortedTransaction { producer_id: ProducerId(4), first_offset: Offset(750) }]),
        records_len,
        ..FetchPartitionResponse::refused(index, ErrorCode::None)
    };
    FetchResponse {
        throttle_ms: 3,
        error: ErrorCode::None,
        session_id: 12,
        topics: vec![
            FetchTopicResponse {
                topic: topic_ref(version),
                partitions: vec![with_records(0, 5), with_records(1, 0), with_records(2, 300)],
            },
            FetchTopicResponse {
                topic: topic_ref(version),
                partitions: vec![FetchPartitionResponse {
                    diverging_epoch: (version >= 12).then_some(DivergingEpoch { epoch: LeaderEpoch(2), end_offset: Offset(44) }),
                    current_leader: Some(CurrentLeader { leader: NodeId(5), epoch: LeaderEpoch(6) }),
                    ..FetchPartitionResponse::refused(9, ErrorCode::NotLeaderOrFollower)
                }],
            },
        ],
        node_endpoints: vec![NodeEndpoint {
            node: NodeId(5),
            host: StrBytes::from_static_str("five"),
            port: 9092,
            rack: Some(StrBytes::from_static_str("r")),
        }],
    }
}

/// What the client receives: pieces with the records in their places.
fn assembled(response: &FetchResponse, version: i16) -> Bytes {
    let mut frame = BytesMut::new();
    for piece in response.encode(version, 42) {
        match piece {
            FetchPiece::Bytes(bytes) => frame.extend_from_slice(&bytes),
            FetchPiece::Records { topic, partition } => {
                let partition = &response.topics[topic].partitions[partition];
                frame.resize(frame.len() + partition.records_len as usize, partition.index as u8);
            }
        }
    }
    frame.freeze()
}

#[test]
fn response_with_its_records_reads_back_by_the_crate_in_every_version() {
    for version in 4..=18 {
        let response = response(version);
        let mut frame = assembled(&response, version);
        assert_eq!(frame.get_i32() as usize, frame.len(), "v{version}");
        let (correlation_id, read) = decode_response::<messages::FetchResponse>(1, version, frame).unwrap();
        assert_eq!((correlation_id, read.throttle_time_ms), (42, 3));
        let partitions = &read.responses[0].partitions;
        let records = |index: usize| partitions[index].records.clone().unwrap_or_default();
        assert_eq!((records(0).len(), records(1).len(), records(2).len()), (5, 0, 300), "v{version}");
        assert_eq!(records(2)[..], [2; 300]);
        assert_eq!(partitions[0].aborted_transactions.as_ref().unwrap()[0].first_offset, 750);
        assert_eq!((partitions[0].high_watermark, partitions[0].last_stable_offset), (900, 800));
        let refused = &read.responses[1].partitions[0];
        assert_eq!((refused.partition_index, refused.error_code), (9, 6));
        if version >= 12 {
            assert_eq!((refused.diverging_epoch.epoch, refused.diverging_epoch.end_offset), (2, 44));
            assert_eq!(refused.current_leader.leader_id, BrokerId(5));
        }
        if version >= 16 {
            assert_eq!(read.node_endpoints[0].host.as_str(), "five");
        }
    }
}

#[test]
fn response_without_records_is_one_piece() {
    let response = FetchResponse {
        throttle_ms: 0,
        error: ErrorCode::FetchSessionIdNotFound,
        session_id: 0,
        topics: Vec::new(),
        node_endpoints: Vec::new(),
    };
    assert!(matches!(&response.encode(18, 1)[..], [FetchPiece::Bytes(_)]));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..200), version in 4i16..=18) {
        let _ = FetchRequest::decode(version, Bytes::from(bytes));
    }
}
