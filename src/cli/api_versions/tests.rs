use super::*;
use crate::client::Address;
use crate::types::NodeId;
use crate::wire::api::ApiKey;

fn api(key: i16, min: i16, max: i16) -> ServedApi {
    ServedApi { key, min, max }
}

#[test]
fn the_table_is_in_order_and_holds_every_api_we_have_schemas_for() {
    assert!(KNOWN.windows(2).all(|pair| pair[0].key < pair[1].key));
    assert!(KNOWN.iter().all(|known| known.oldest <= known.latest));
    for api in ApiKey::ALL {
        assert!(KNOWN.iter().any(|known| known.key == api.code() && known.name == api.name()), "{}", api.name());
    }
}

#[test]
fn versions_print_as_kafka_prints_them() {
    assert_eq!(line(&api(0, 0, 13)), "Produce(0): 0 to 13 [usable: 13]");
    assert_eq!(line(&api(3, 0, 99)), "Metadata(3): 0 to 99 [usable: 13]");
    assert_eq!(line(&api(75, 0, 0)), "DescribeTopicPartitions(75): 0 [usable: 0]");
    assert_eq!(line(&api(1, 0, 3)), "Fetch(1): 0 to 3 [unusable: node too old]");
    assert_eq!(line(&api(2, 90, 99)), "ListOffsets(2): 90 to 99 [unusable: node too new]");
    assert_eq!(line(&api(1000, 1, 2)), "UNKNOWN(1000): 1 to 2");
}

#[test]
fn what_a_client_may_ask_and_the_broker_does_not_serve_is_unsupported() {
    let lines = lines(&[api(1000, 0, 0), api(3, 0, 13)]);
    assert_eq!(lines.first().map(String::as_str), Some("Produce(0): UNSUPPORTED"));
    assert_eq!(lines.last().map(String::as_str), Some("UNKNOWN(1000): 0"));
    assert!(lines.contains(&"Metadata(3): 0 to 13 [usable: 13]".to_owned()));
    // Between controllers only: nobody misses it.
    assert!(lines.iter().all(|line| !line.starts_with("Vote(")), "{lines:?}");
    assert_eq!(lines.len(), KNOWN.iter().filter(|known| known.is_for_clients).count() + 1);
}

#[test]
fn a_broker_is_written_as_kafkas_clients_write_it() {
    let address = Address { host: "localhost".to_owned(), port: 9092 };
    let mut broker = Broker { node: NodeId(1), address, rack: None };
    assert_eq!(heading(&broker), "localhost:9092 (id: 1 rack: null isFenced: false)");
    broker.rack = Some("a".to_owned());
    assert_eq!(heading(&broker), "localhost:9092 (id: 1 rack: a isFenced: false)");
}
