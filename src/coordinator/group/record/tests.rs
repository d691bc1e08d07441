use proptest::prelude::*;

use super::*;

fn text(text: &str) -> StrBytes {
    StrBytes::from(text.to_owned())
}

fn value() -> OffsetValue {
    OffsetValue {
        offset: Offset(0x0102_0304),
        leader_epoch: LeaderEpoch(5),
        metadata: text("m"),
        committed_at: TimestampMs(7),
        expires_at: None,
        topic_id: TopicId::ZERO,
    }
}

fn decoded_offset(record: &StateRecord) -> OffsetValue {
    match decode(&record.key, record.value.as_deref()) {
        Ok(Decoded::Offset { value: Some(value), .. }) => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_offset_is_written_as_kafka_writes_it() {
    let record = offset("g", "top", 3, &value());
    assert_eq!(*record.key, *b"\x00\x01\x00\x01g\x00\x03top\x00\x00\x00\x03");
    assert_eq!(
        record.value.as_deref(),
        Some(&b"\x00\x04\x00\x00\x00\x00\x01\x02\x03\x04\x00\x00\x00\x05\x02m\x00\x00\x00\x00\x00\x00\x00\x07\x00"[..])
    );
    let with_id = OffsetValue { topic_id: TopicId::from_bits(1), ..value() };
    let record = offset("g", "top", 3, &with_id);
    assert!(record.value.as_deref().unwrap().ends_with(b"\x07\x01\x00\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"));
    assert_eq!(decoded_offset(&record), with_id);
    // A time of expiry has room in version 1 alone, which has none for a leader epoch.
    let expiring = OffsetValue { expires_at: Some(TimestampMs(9)), ..value() };
    let record = offset("g", "top", 3, &expiring);
    assert_eq!(
        record.value.as_deref(),
        Some(&b"\x00\x01\x00\x00\x00\x00\x01\x02\x03\x04\x00\x01m\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x09"[..])
    );
    let read = OffsetValue { leader_epoch: LeaderEpoch::UNKNOWN, ..expiring };
    assert_eq!(decoded_offset(&record), read);
    assert_eq!(offset_tombstone("g", "top", 3), StateRecord { key: record.key, value: None });
}

#[test]
fn offsets_of_all_older_brokers_are_read() {
    let older = |bytes: &[u8]| match decode(b"\x00\x00\x00\x01g\x00\x01t\x00\x00\x00\x02", Some(bytes)) {
        Ok(Decoded::Offset { key, value: Some(value) }) => {
            assert_eq!((&*key.group, &*key.topic, key.partition), ("g", "t", 2));
            (value.offset.get(), value.leader_epoch.get(), value.expires_at)
        }
        other => panic!("{other:?}"),
    };
    let eight = |number: u8| [0, 0, 0, 0, 0, 0, 0, number];
    let body = |version: u8, epoch: &[u8], expiry: &[u8]| [&[0, version][..], &eight(4), epoch, b"\x00\x00", &eight(7), expiry].concat();
    assert_eq!(older(&body(0, b"", b"")), (4, -1, None));
    assert_eq!(older(&body(1, b"", &eight(9))), (4, -1, Some(TimestampMs(9))));
    assert_eq!(older(&body(1, b"", &[0xff; 8])), (4, -1, None));
    assert_eq!(older(&body(2, b"", b"")), (4, -1, None));
    assert_eq!(older(&body(3, b"\x00\x00\x00\x06", b"")), (4, 6, None));
}

fn group_value() -> GroupValue {
    GroupValue {
        protocol_type: text("consumer"),
        generation: 2,
        protocol: Some(text("range")),
        leader: Some(text("m")),
        since: Some(TimestampMs(3)),
        members: vec![MemberValue {
            member_id: text("m"),
            instance_id: Some(text("i")),
            client_id: text("c"),
            client_host: text("/h"),
            rebalance_timeout_ms: 4,
            session_timeout_ms: 5,
            subscription: Bytes::from_static(b"s"),
            assignment: Bytes::from_static(b"a"),
        }],
    }
}

#[test]
fn a_group_is_written_as_kafka_writes_it() {
    let record = group("g", &group_value());
    assert_eq!(*record.key, *b"\x00\x02\x00\x01g");
    let bytes: &[u8] = b"\x00\x03\x00\x08consumer\x00\x00\x00\x02\x00\x05range\x00\x01m\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x01\
        \x00\x01m\x00\x01i\x00\x01c\x00\x02/h\x00\x00\x00\x04\x00\x00\x00\x05\x00\x00\x00\x01s\x00\x00\x00\x01a";
    assert_eq!(record.value.as_deref(), Some(bytes));
    let empty = GroupValue { protocol: None, leader: None, since: None, members: vec![], ..group_value() };
    let record = group("g", &empty);
    assert!(record.value.as_deref().unwrap().ends_with(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00"));
}

fn decoded_group(bytes: &[u8]) -> GroupValue {
    match decode(b"\x00\x02\x00\x01g", Some(bytes)) {
        Ok(Decoded::Group { value: Some(value), .. }) => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn groups_of_all_brokers_are_read() {
    let head = b"\x00\x08consumer\x00\x00\x00\x02\x00\x05range\x00\x01m";
    let since = b"\x00\x00\x00\x00\x00\x00\x00\x03";
    let old = |version: u8, since: &[u8], instance: &[u8], timeout: &[u8]| {
        let member =
            [b"\x00\x01m", instance, b"\x00\x01c\x00\x02/h", timeout, b"\x00\x00\x00\x05\x00\x00\x00\x01s\x00\x00\x00\x01a"].concat();
        decoded_group(&[&[0, version][..], head, since, b"\x00\x00\x00\x01", &member].concat())
    };
    let mut expected = group_value();
    expected.since = None;
    expected.members[0].instance_id = None;
    expected.members[0].rebalance_timeout_ms = -1;
    assert_eq!(old(0, b"", b"", b""), expected);
    expected.members[0].rebalance_timeout_ms = 4;
    assert_eq!(old(1, b"", b"", b"\x00\x00\x00\x04"), expected);
    expected.since = Some(TimestampMs(3));
    assert_eq!(old(2, since, b"", b"\x00\x00\x00\x04"), expected);
    assert_eq!(old(3, since, b"\x00\x01i", b"\x00\x00\x00\x04"), group_value());
    let flexible: &[u8] = b"\x00\x04\x09consumer\x00\x00\x00\x02\x06range\x02m\x00\x00\x00\x00\x00\x00\x00\x03\x02\
        \x02m\x02i\x02c\x03/h\x00\x00\x00\x04\x00\x00\x00\x05\x02s\x02a\x01\x09\x01x\x01\x05\x02yz";
    assert_eq!(decoded_group(flexible), group_value());
}

#[test]
fn what_is_cut_off_or_unknown_is_an_error() {
    let records = [offset("g", "t", 1, &value()), group("g", &group_value())];
    for StateRecord { key, value } in &records {
        let value = value.as_deref().unwrap();
        for end in 0..key.len() {
            assert!(decode(&key[..end], Some(value)).is_err());
        }
        for end in 0..value.len() {
            assert!(decode(key, Some(&value[..end])).is_err(), "{end} of {value:?}");
        }
        assert_eq!(decode(key, Some(b"\x00\x05")), Err(Malformed::Version(5)));
        assert_eq!(decode(key, Some(b"\xff\xff")), Err(Malformed::Version(-1)));
    }
    assert_eq!(decode(b"\x00\x02\xff\xff", None), Err(Malformed::UnexpectedNull));
    assert_eq!(decode(b"\x00\x02\x00\x01\xff", None), Err(Malformed::NotUtf8));
    // A count that the bytes cannot hold reserves nothing.
    let many = b"\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x7f\xff\xff\xff";
    assert_eq!(decode(b"\x00\x02\x00\x01g", Some(many)), Err(Malformed::Truncated));
}

#[test]
fn text_that_is_too_long_for_its_length_is_cut_at_a_character() {
    let long = "ж".repeat(20_000);
    let record = offset_tombstone(&long, "t", 1);
    let Ok(Decoded::Offset { key, .. }) = decode(&record.key, None) else { panic!("not an offset") };
    assert_eq!(key.group.len(), 32_766);
}

proptest! {
    #[test]
    fn no_bytes_panic(key in prop::collection::vec(any::<u8>(), 0..40), value in prop::collection::vec(any::<u8>(), 0..80), kind in 0u8..3, version in 0u8..6) {
        let key = [&[0, kind][..], &key].concat();
        let value = [&[0, version][..], &value].concat();
        drop(decode(&key, Some(&value)));
        drop(decode(&value, Some(&key)));
    }
}
