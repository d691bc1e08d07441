use proptest::prelude::*;

use super::*;

fn json(key: &[u8], value: &[u8], embedded: bool) -> String {
    decode(key, Some(value), embedded).unwrap().value.unwrap().json
}

#[test]
fn fields_are_those_of_the_version() {
    let key = b"\x00\x01\x00\x01g\x00\x03top\x00\x00\x00\x03";
    let newest = b"\x00\x04\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x05\x02m\x00\x00\x00\x00\x00\x00\x00\x07";
    let record = decode(key, Some(&[&newest[..], b"\x00"].concat()), false).unwrap();
    assert_eq!(record.key, r#"{"group":"g","topic":"top","partition":3}"#);
    let value = GroupValue { version: 4, json: r#"{"offset":9,"leaderEpoch":5,"metadata":"m","commitTimestamp":7}"#.to_owned() };
    assert_eq!(record.value, Some(value));
    // A tag that is not known, one that is, and one that says what holds without it.
    let known = json(key, &[&newest[..], b"\x02\x05\x01x\x00\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"].concat(), false);
    assert!(known.ends_with(r#","topicId":"AAAAAAAAAAAAAAAAAAAAAQ"}"#), "{known}");
    assert!(!json(key, &[&newest[..], b"\x01\x00\x10", &[0; 16]].concat(), false).contains("topicId"));
    let expiring = b"\x00\x01\x00\x00\x00\x00\x00\x00\x00\x09\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\xff\xff\xff\xff\xff\xff\xff\xff";
    assert_eq!(json(key, expiring, false), r#"{"offset":9,"metadata":"","commitTimestamp":7,"expireTimestamp":-1}"#);
    assert_eq!(decode(key, None, false).unwrap().value, None);
}

#[test]
fn what_consumers_put_into_a_group_is_decoded_on_request() {
    let value = |protocol: &str, subscription: &[u8]| {
        let head =
            [&b"\x00\x00\x00"[..], &[protocol.len() as u8], protocol.as_bytes(), b"\x00\x00\x00\x02\xff\xff\xff\xff\x00\x00\x00\x01"];
        let length = (subscription.len() as u32).to_be_bytes();
        [&head.concat(), &b"\x00\x01m\x00\x01c\x00\x02/h\x00\x00\x00\x05"[..], &length, subscription, b"\x00\x00\x00\x01z"].concat()
    };
    let subscription = b"\x00\x01\x00\x00\x00\x01\x00\x01t\xff\xff\xff\xff\x00\x00\x00\x01\x00\x01t\x00\x00\x00\x01\x00\x00\x00\x07";
    let shown = |value: &[u8], embedded: bool| {
        let json = json(b"\x00\x02\x00\x01g", value, embedded);
        let (_, rest) = json.split_once(r#""subscription":"#).unwrap();
        rest.to_owned()
    };
    assert_eq!(
        shown(&value("consumer", subscription), true),
        r#"{"topics":["t"],"userData":null,"ownedPartitions":[{"topic":"t","partitions":[7]}]},"assignment":"eg=="}]}"#
    );
    let raw = format!(r#""{}","assignment":"eg=="}}]}}"#, crate::wire::json::base64(subscription));
    assert_eq!(shown(&value("consumer", subscription), false), raw);
    assert_eq!(shown(&value("connect", subscription), true), raw);
    assert!(shown(&value("consumer", &subscription[..9]), true).starts_with("\"AAE"));
}

#[test]
fn what_cannot_be_read_is_told_as_kafka_tells_it() {
    let told = |key: &[u8], value: Option<&[u8]>| decode(key, value, true).unwrap_err().to_string();
    let unreadable = |part: &str, version: i16, fault: &str| {
        format!("Could not read record with version {version} from {part}'s buffer due to: {fault}.")
    };
    assert_eq!(told(b"\x00\x18", None), "Unknown record type 24");
    assert_eq!(told(b"\x00", None), "Could not read version from key's buffer.");
    assert_eq!(told(b"\x00\x02\x00", None), unreadable("key", 2, "null"));
    assert_eq!(told(b"\x00\x02\xff\xff", None), unreadable("key", 2, "non-nullable field group was serialized as null"));
    assert_eq!(told(b"\x00\x02\x00\x05gg", None), unreadable("key", 2, "Error reading byte array of 5 byte(s): only 2 byte(s) available"));
    let group = b"\x00\x02\x00\x01g";
    assert_eq!(told(group, Some(b"\x00")), "Could not read version from value's buffer.");
    assert_eq!(told(group, Some(b"\x00\x05")), "Found an unknown record version 5 for 2 type");
    // The oldest key has values of one version alone.
    assert_eq!(told(b"\x00\x00\x00\x01g\x00\x01t\x00\x00\x00\x01", Some(b"\x00\x01")), "Found an unknown record version 1 for 0 type");
    let many = b"\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x7f\xff\xff\xff";
    let fault = "Tried to allocate a collection of size 2147483647, but there are only 0 bytes remaining.";
    assert_eq!(told(group, Some(many)), unreadable("value", 0, fault));
    let fault = "Varint is too long, the most significant bit in the 5th byte is set, converted value: ffffffff";
    assert_eq!(told(group, Some(b"\x00\x04\xff\xff\xff\xff\xff")), unreadable("value", 4, fault));
    assert_eq!(told(group, Some(b"\x00\x04\x81\x80\x02")), unreadable("value", 4, "string field protocolType had invalid length 32768"));
}

proptest! {
    #[test]
    fn no_bytes_panic(kind in -1i16..25, key in prop::collection::vec(0u8..3, 0..12), version in 0u8..5, value in prop::collection::vec(any::<u8>(), 0..80)) {
        let key = [&kind.to_be_bytes()[..], &key].concat();
        let value = [&[0, version][..], &value].concat();
        drop(decode(&key, Some(&value), true));
    }
}
