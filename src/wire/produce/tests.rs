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

fn topic(name: &'static str, partitions: &[(i32, u8)]) -> ProduceTopic {
    let partition = |(index, fill): &(i32, u8)| ProducePartition { index: *index, records: Some(Bytes::from(vec![*fill])) };
    ProduceTopic { topic: TopicRef::Name(StrBytes::from_static_str(name)), partitions: partitions.iter().map(partition).collect() }
}

#[test]
fn a_partition_that_is_named_again_is_the_last_one() {
    let of = |topics: Vec<ProduceTopic>| ProduceRequest { transactional_id: None, acks: 1, timeout_ms: 1, topics };
    let same = |topics: Vec<ProduceTopic>| assert_eq!(of(topics.clone()).without_repeats(), of(topics));
    same(vec![]);
    same(vec![topic("a", &[(0, 1), (1, 2)]), topic("b", &[(0, 3)])]);
    same(vec![topic("b", &[(2, 1), (1, 2), (-1, 3)]), topic("a", &[])]);
    let repeated = of(vec![topic("a", &[(0, 1), (1, 2), (0, 3)]), topic("b", &[(1, 4)]), topic("a", &[(2, 5), (1, 6)])]);
    let expected = of(vec![topic("a", &[(0, 3), (1, 6), (2, 5)]), topic("b", &[(1, 4)])]);
    assert_eq!(repeated.without_repeats(), expected);
    let names: Vec<String> = (0..40).map(|number| format!("topic-{number}")).collect();
    let of_names = |times: usize| {
        let topic = |name: &String| ProduceTopic { topic: TopicRef::Name(StrBytes::from_string(name.clone())), ..topic("", &[(0, 1)]) };
        of((0..times).flat_map(|_| names.iter().map(topic)).collect())
    };
    assert_eq!(of_names(3).without_repeats(), of_names(1));
}

#[test]
fn no_request_names_more_partitions_than_are_gone_through_at_once() {
    let body = |topics: usize, partitions: usize| {
        let mut body = BytesMut::new();
        body.put_i16(-1);
        body.put_i16(1);
        body.put_i32(1000);
        body.put_i32(topics as i32);
        for _ in 0..topics {
            body.put_i16(1);
            body.put_u8(b't');
            body.put_i32(partitions as i32);
            (0..partitions).for_each(|index| {
                body.put_i32(index as i32);
                body.put_i32(-1);
            });
        }
        body.freeze()
    };
    for (topics, partitions, taken) in
        [(1, PARTITIONS_MAX, true), (2, PARTITIONS_MAX / 2, true), (1, PARTITIONS_MAX + 1, false), (2, PARTITIONS_MAX / 2 + 1, false)]
    {
        assert_eq!(ProduceRequest::decode(7, body(topics, partitions)).is_ok(), taken, "{topics} of {partitions}");
    }
    assert!(ProduceRequest::decode(7, body(PARTITIONS_MAX + 1, 0)).is_err());
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..200), version in 3i16..=13) {
        let _ = ProduceRequest::decode(version, Bytes::from(bytes));
    }
}
