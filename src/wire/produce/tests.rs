use bytes::Buf;
use kafka_protocol::messages::{self, BrokerId};
use kafka_protocol::protocol::Encodable;

use super::*;
use crate::types::{LeaderEpoch, NodeId};
use crate::wire::message::{decode_response, topic_id_of, uuid_of};

const TOPIC_ID: TopicId = TopicId::from_bits(0x1111_2222_3333_4444_5555_6666_7777_8888);

fn crate_request(version: i16) -> messages::ProduceRequest {
    let partition = |index: i32| {
        messages::produce_request::PartitionProduceData::default()
            .with_index(index)
            .with_records((index != 2).then(|| Bytes::from(vec![7; 100 + index as usize])))
    };
    let mut topic =
        messages::produce_request::TopicProduceData::default().with_partition_data(vec![partition(0), partition(1), partition(2)]);
    if version >= 13 {
        topic.topic_id = uuid_of(TOPIC_ID);
    } else {
        topic.name = StrBytes::from_static_str("orders").into();
    }
    messages::ProduceRequest::default()
        .with_transactional_id((version > 5).then(|| StrBytes::from_static_str("tx").into()))
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![topic])
}

#[test]
fn request_reads_what_the_crate_writes_in_every_version() {
    for version in 3..=13 {
        let mut body = BytesMut::new();
        crate_request(version).encode(&mut body, version).unwrap();
        let body = body.freeze();
        let request = ProduceRequest::decode(version, body.clone()).unwrap();
        assert_eq!(request.transactional_id.as_deref(), (version > 5).then_some("tx"));
        assert_eq!((request.acks, request.timeout_ms), (-1, 30_000));
        let expected = if version >= 13 { TopicRef::Id(TOPIC_ID) } else { TopicRef::Name(StrBytes::from_static_str("orders")) };
        assert_eq!(request.topics[0].topic, expected);
        let partitions = &request.topics[0].partitions;
        assert_eq!(partitions.iter().map(|partition| partition.index).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(partitions[1].records.as_ref().map(Bytes::len), Some(101));
        assert_eq!(partitions[2].records, None);
        let records = partitions[0].records.as_ref().unwrap();
        assert!(body.as_ptr_range().contains(&records.as_ptr()), "records are a slice of the frame");
        for cut in 0..body.len() {
            assert!(ProduceRequest::decode(version, body.slice(..cut)).is_err(), "v{version} cut at {cut}");
        }
    }
}

#[test]
fn hostile_counts_are_refused_before_anything_is_reserved() {
    // acks, timeout, then a count of topics far beyond the bytes.
    let hostile = [0xff, 0xff, 0, 1, 0, 0, 0, 1, 0x7f, 0xff, 0xff, 0xff];
    assert!(matches!(ProduceRequest::decode(3, Bytes::copy_from_slice(&hostile)), Err(DecodeError::TooManyElements { .. })));
    let compact = [0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f];
    assert!(matches!(ProduceRequest::decode(9, Bytes::copy_from_slice(&compact)), Err(DecodeError::TooManyElements { .. })));
}

fn response(version: i16) -> ProduceResponse {
    let topic = if version >= 13 { TopicRef::Id(TOPIC_ID) } else { TopicRef::Name(StrBytes::from_static_str("orders")) };
    ProduceResponse {
        throttle_ms: 5,
        topics: vec![ProduceTopicResponse {
            topic,
            partitions: vec![
                ProducePartitionResponse::appended(3, Offset(1000), TimestampMs(77), Offset(10)),
                ProducePartitionResponse {
                    record_errors: vec![(4, Some("no key".to_owned())), (5, None)],
                    error_message: Some("bad records".to_owned()),
                    ..ProducePartitionResponse::refused(4, ErrorCode::InvalidRecord)
                },
                ProducePartitionResponse {
                    current_leader: Some(CurrentLeader { leader: NodeId(2), epoch: LeaderEpoch(9) }),
                    ..ProducePartitionResponse::refused(5, ErrorCode::NotLeaderOrFollower)
                },
            ],
        }],
        node_endpoints: vec![NodeEndpoint { node: NodeId(2), host: StrBytes::from_static_str("two"), port: 9092, rack: None }],
    }
}

#[test]
fn response_reads_back_by_the_crate_in_every_version() {
    for version in 3..=13 {
        let mut frame = response(version).encode(version, 42);
        assert_eq!(frame.get_i32() as usize, frame.len());
        let (correlation_id, read) = decode_response::<messages::ProduceResponse>(0, version, frame).unwrap();
        assert_eq!((correlation_id, read.throttle_time_ms), (42, 5));
        let topic = &read.responses[0];
        if version >= 13 {
            assert_eq!(topic_id_of(topic.topic_id), TOPIC_ID);
        } else {
            assert_eq!(topic.name.as_str(), "orders");
        }
        let [appended, invalid, moved] = &topic.partition_responses[..] else { panic!("three partitions") };
        assert_eq!((appended.index, appended.error_code, appended.base_offset, appended.log_append_time_ms), (3, 0, 1000, 77));
        assert_eq!(appended.log_start_offset, if version >= 5 { 10 } else { -1 });
        assert_eq!(invalid.error_code, 87);
        if version >= 8 {
            assert_eq!(invalid.error_message.as_deref(), Some("bad records"));
            assert_eq!(invalid.record_errors.len(), 2);
            assert_eq!(invalid.record_errors[0].batch_index_error_message.as_deref(), Some("no key"));
        }
        assert_eq!(moved.error_code, 6);
        if version >= 10 {
            assert_eq!((moved.current_leader.leader_id, moved.current_leader.leader_epoch), (BrokerId(2), 9));
            assert_eq!(read.node_endpoints[0].host.as_str(), "two");
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..200), version in 3i16..=13) {
        let _ = ProduceRequest::decode(version, Bytes::from(bytes));
    }
}
