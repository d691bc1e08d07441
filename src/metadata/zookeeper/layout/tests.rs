use serde_json::{Value, json};

use super::node::{NotificationNode, TopicNode, broker_bytes, parse_config, parse_wishes, state_bytes, topic_bytes};
use super::publication::{Write, differences, topic_removal, topic_writes};
use super::request::{ConfigRequest, TopicRequest, config_entity, config_request, judge_topic, refused_entity};
use super::*;
use crate::metadata::decision::{ConfigChange, ConfigEdit};
use crate::metadata::home::PartitionWish;
use crate::metadata::image::MetadataImage;
use crate::metadata::record::{Broker, BrokerState, Endpoint, Internal, LeaderChange, Partition, PartitionChange, Record, Resource};
use crate::types::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch, PartitionIndex, TopicId};

pub(super) const ONE: NodeId = NodeId(1);

fn id(bits: u128) -> TopicId {
    TopicId::from_bits(bits)
}

fn broker(host: &str) -> Broker {
    let endpoint = Endpoint { listener: "PLAINTEXT".into(), host: host.into(), port: 9092, security_protocol: "PLAINTEXT".into() };
    Broker {
        node: ONE,
        incarnation: id(9),
        broker_epoch: BrokerEpoch(1),
        shard_count: 1,
        endpoints: vec![endpoint],
        rack: None,
        state: BrokerState::Active,
    }
}

pub(in crate::metadata::zookeeper) fn partition(topic: TopicId, index: i32) -> Record {
    Record::Partition(Partition {
        topic,
        index: PartitionIndex(index),
        replicas: vec![ONE],
        isr: vec![ONE],
        elr: vec![],
        last_known_elr: vec![],
        offline: vec![],
        leader: Some(ONE),
        leader_epoch: LeaderEpoch(3),
        partition_epoch: PartitionEpoch(0),
    })
}

pub(super) fn topic(topic: TopicId, name: &str, partitions: i32) -> Vec<Record> {
    let mut records = vec![Record::Topic { id: topic, name: name.into(), internal: Internal::No }];
    records.extend((0..partitions).map(|index| partition(topic, index)));
    records
}

pub(super) fn config(resource: Resource, key: &str, value: Option<&str>) -> Record {
    Record::Config { resource, key: key.into(), value: value.map(str::to_owned) }
}

pub(super) fn of_topic(name: &str) -> Resource {
    Resource::Topic(name.into())
}

pub(super) fn image() -> MetadataImage {
    let mut records =
        vec![Record::Cluster { id: "c".into() }, Record::Controller { node: ONE, epoch: 5 }, Record::Broker(broker("localhost"))];
    records.extend(topic(id(1), "orders", 2));
    records.push(config(of_topic("orders"), "retention.ms", Some("1000")));
    MetadataImage::from_snapshot(&records, 10).unwrap()
}

pub(super) fn after(image: &MetadataImage, records: &[Record]) -> MetadataImage {
    image.apply(records, image.version() + records.len() as i64).unwrap().0
}

fn value(content: &[u8]) -> Value {
    serde_json::from_slice(content).unwrap()
}

/// As a tool of Kafka 2.8 writes it.
pub(super) fn of_tool(partitions: &[(i32, &[i32])]) -> Vec<u8> {
    let partitions: serde_json::Map<String, Value> =
        partitions.iter().map(|(index, replicas)| (index.to_string(), json!(replicas))).collect();
    json!({ "version": 2, "partitions": partitions, "adding_replicas": {}, "removing_replicas": {} }).to_string().into_bytes()
}

#[test]
fn nodes_are_as_kafka_writes_them() {
    let image = image();
    let orders = image.topic_by_name("orders").unwrap();
    let own = json!({
        "version": 3,
        "topic_id": "AAAAAAAAAAAAAAAAAAAAAQ",
        "partitions": { "0": [1], "1": [1] },
        "adding_replicas": {},
        "removing_replicas": {},
    });
    assert_eq!(value(&topic_bytes(orders)), own);
    let state = json!({ "version": 1, "leader": 1, "isr": [1], "leader_epoch": 3, "controller_epoch": 5 });
    assert_eq!(value(&state_bytes(&orders.partitions[0], 5)), state);
    let node = json!({
        "version": 5,
        "features": {},
        "listener_security_protocol_map": { "PLAINTEXT": "PLAINTEXT" },
        "endpoints": ["PLAINTEXT://[::1]:9092"],
        "host": "::1",
        "port": 9092,
        "jmx_port": -1,
        "timestamp": "7",
    });
    assert_eq!(value(&broker_bytes(&broker("::1"), 7)), node);
    assert_eq!(TopicNode::parse(&topic_bytes(orders)).unwrap(), TopicNode::of(orders));
}

#[test]
fn brokers_of_every_release_have_an_address() {
    let address = |text: &str| BrokerNode::parse(text.as_bytes()).unwrap().plain_address();
    assert_eq!(BrokerNode::parse(&broker_bytes(&broker("h"), 7)).unwrap().plain_address().as_deref(), Some("h:9092"));
    // 0.8; 0.9; 2.8 behind a listener of its own name; one that encrypts.
    assert_eq!(address(r#"{"jmx_port":-1,"timestamp":"1","host":"a","version":1,"port":9}"#).as_deref(), Some("a:9"));
    let listed = r#"{"endpoints":["SSL://b:2","PLAINTEXT://b:1"],"host":null,"port":-1,"version":3}"#;
    assert_eq!(address(listed).as_deref(), Some("b:1"));
    let named =
        r#"{"listener_security_protocol_map":{"IN":"PLAINTEXT","PLAINTEXT":"SSL"},"endpoints":["PLAINTEXT://c:1","IN://c:2"],"version":5}"#;
    assert_eq!(address(named).as_deref(), Some("c:2"));
    assert_eq!(address(r#"{"endpoints":["SSL://d:1"],"host":null,"port":-1,"version":5}"#), None);
    assert!(BrokerNode::parse(b"nonsense").is_err());
}

#[test]
fn notifications_of_both_forms_are_read() {
    let path = |text: &str| NotificationNode::parse(text.as_bytes()).map(|node| node.entity_path);
    assert_eq!(path(r#"{"version":2,"entity_path":"topics/t"}"#).unwrap(), "topics/t");
    assert_eq!(path(r#"{"version":1,"entity_type":"topics","entity_name":"t"}"#).unwrap(), "topics/t");
    assert!(path("{}").is_err());
}

#[test]
fn a_topic_is_shown_with_its_states_and_taken_away_whole() {
    let image = image();
    let created = after(&image, &topic(id(2), "new", 1));
    let writes = differences(&image, &created);
    let paths: Vec<&str> = writes.iter().map(path_of).collect();
    let expected = [
        "/config/topics/new",
        "/brokers/topics/new",
        "/brokers/topics/new/partitions",
        "/brokers/topics/new/partitions/0",
        "/brokers/topics/new/partitions/0/state",
    ];
    assert_eq!(paths, expected);
    assert_eq!(writes, topic_writes(created.topic_by_name("new").unwrap(), 5));
    let deleted = after(&created, &[Record::TopicRemoved { id: id(2) }]);
    assert_eq!(differences(&created, &deleted), topic_removal("new"));
    assert_eq!(differences(&image, &image), []);
}

fn path_of(write: &Write) -> &str {
    match write {
        Write::Create { path, .. } | Write::Set { path, .. } | Write::Share { path, .. } => path,
        Write::Make { path } | Write::Remove { path } => path,
    }
}

#[test]
fn only_what_changed_is_written() {
    let image = image();
    let change = PartitionChange { leader: LeaderChange::None, ..PartitionChange::of(id(1), PartitionIndex(1)) };
    let led = after(&image, &[Record::PartitionChange(change)]);
    let writes = differences(&image, &led);
    let [Write::Set { path, content }] = &writes[..] else { panic!("{writes:?}") };
    assert_eq!(path, "/brokers/topics/orders/partitions/1/state");
    assert_eq!(value(content), json!({ "version": 1, "leader": -1, "isr": [1], "leader_epoch": 4, "controller_epoch": 5 }));

    let configured = after(&image, &[config(of_topic("orders"), "retention.ms", None)]);
    let writes = differences(&image, &configured);
    let [Write::Share { path, content }] = &writes[..] else { panic!("{writes:?}") };
    assert_eq!((path.as_str(), value(content)), ("/config/topics/orders", json!({ "version": 1, "config": {} })));

    let of_brokers = after(&image, &[config(Resource::Broker(None), "log.retention.ms", Some("5"))]);
    let writes = differences(&image, &of_brokers);
    assert_eq!(writes.iter().map(path_of).collect::<Vec<_>>(), ["/config/brokers/<default>"]);
    let writes = differences(&of_brokers, &image);
    assert_eq!(writes.iter().map(path_of).collect::<Vec<_>>(), ["/config/brokers/<default>"], "what is no longer set is written too");

    let grown = after(&image, &[partition(id(1), 2)]);
    let paths: Vec<String> = differences(&image, &grown).iter().map(|write| path_of(write).to_owned()).collect();
    let of_partition = ["", "/partitions/2", "/partitions/2/state"].map(|rest| format!("/brokers/topics/orders{rest}"));
    assert_eq!(paths, of_partition);
}

#[test]
fn a_topic_made_anew_under_its_name_is_taken_away_first() {
    let image = image();
    let mut records = vec![Record::TopicRemoved { id: id(1) }];
    records.extend(topic(id(2), "orders", 1));
    let writes = differences(&image, &after(&image, &records));
    assert_eq!(writes[..3], topic_removal("orders"));
    assert_eq!(path_of(&writes[4]), "/brokers/topics/orders");
}

#[test]
fn a_topic_that_is_not_known_asks_for_itself() {
    let image = image();
    let config = br#"{"version":1,"config":{"retention.ms":"7"}}"#;
    let TopicRequest::Create(asked) = judge_topic(&image, "haha", &of_tool(&[(0, &[1]), (1, &[2, 1])]), Some(config)) else {
        panic!("not asked for")
    };
    assert_eq!((asked.name.as_str(), asked.partitions, asked.replication_factor), ("haha", -1, -1));
    assert_eq!(asked.assignments[1].replicas, [NodeId(2), ONE]);
    assert_eq!(asked.configs, [("retention.ms".to_owned(), Some("7".to_owned()))]);
    for nonsense in [&b"nonsense"[..], b"{}", br#"{"partitions":{}}"#, br#"{"partitions":{"x":[1]}}"#] {
        assert!(matches!(judge_topic(&image, "haha", nonsense, None), TopicRequest::Refuse(_)));
    }
    assert!(matches!(judge_topic(&image, "haha", &of_tool(&[(0, &[1])]), Some(b"nonsense")), TopicRequest::Refuse(_)));
}

#[test]
fn nodes_of_a_deleted_topic_are_no_request() {
    let image = image();
    let left = topic_bytes(image.topic_by_name("orders").unwrap());
    let deleted = after(&image, &[Record::TopicRemoved { id: id(1) }]);
    assert_eq!(judge_topic(&deleted, "orders", &left, None), TopicRequest::Remove);
}

#[test]
fn partitions_that_were_added_are_asked_for_and_nothing_else_is() {
    let image = image();
    let judged = |content: &[u8]| judge_topic(&image, "orders", content, None);
    let own = topic_bytes(image.topic_by_name("orders").unwrap());
    assert_eq!(judged(&own), TopicRequest::None);
    assert_eq!(judged(&of_tool(&[(0, &[1]), (1, &[1])])), TopicRequest::Restore(None), "the id is written back");
    assert_eq!(judged(&of_tool(&[(0, &[1])])), TopicRequest::Restore(None), "no partition is ever taken away");
    let another = after(&image, &topic(id(2), "another", 3));
    let of_another = topic_bytes(another.topic_by_name("another").unwrap());
    assert_eq!(judged(&of_another), TopicRequest::Restore(None), "what a topic of the same name has left makes this one no larger");
    assert!(matches!(judged(b"nonsense"), TopicRequest::Restore(Some(_))));
    assert!(matches!(judged(&of_tool(&[(0, &[1]), (1, &[1]), (3, &[1])])), TopicRequest::Restore(Some(_))));
    let TopicRequest::Grow(asked) = judged(&of_tool(&[(0, &[1]), (1, &[1]), (2, &[1]), (3, &[2])])) else { panic!("not asked for") };
    assert_eq!((asked.name.as_str(), asked.count), ("orders", 4));
    assert_eq!(asked.assignments, Some(vec![vec![ONE], vec![NodeId(2)]]));
}

#[test]
fn configs_ask_for_what_differs() {
    let image = image();
    let asked = |content: Option<&[u8]>| config_request(&image, of_topic("orders"), content);
    assert_eq!(asked(Some(br#"{"version":1,"config":{"retention.ms":"1000"}}"#)), ConfigRequest::None);
    let edit = |key: &str, change| ConfigEdit { key: key.into(), change };
    let ConfigRequest::Alter(alteration) = asked(Some(br#"{"version":1,"config":{"cleanup.policy":"compact"}}"#)) else { panic!() };
    assert_eq!(alteration.edits, [edit("cleanup.policy", ConfigChange::Set("compact".into())), edit("retention.ms", ConfigChange::Delete)]);
    let ConfigRequest::Alter(alteration) = asked(None) else { panic!() };
    assert_eq!(alteration.edits, [edit("retention.ms", ConfigChange::Delete)]);
    assert!(matches!(asked(Some(b"nonsense")), ConfigRequest::Refuse(_)));
    assert_eq!(parse_config(br#"{"version":1}"#).unwrap().len(), 0);
}

#[test]
fn entities_that_are_not_served_are_named() {
    let path = |entity: &str| config_entity(entity).map(|(_, path)| path);
    assert_eq!(path("topics/t").unwrap(), "/config/topics/t");
    assert_eq!(path("brokers/1").unwrap(), "/config/brokers/1");
    assert_eq!(path("brokers/<default>").unwrap(), "/config/brokers/<default>");
    for entity in ["users/alice", "clients/c", "ips/1.2.3.4", "users/a/clients/b", "brokers/x", "topics/a/../b", "topics/", "nonsense", ""]
    {
        assert!(path(entity).is_err(), "{entity}");
    }
}

#[test]
fn what_is_refused_is_named_by_its_entity() {
    let refused = |entity: &str| refused_entity(entity);
    assert_eq!(refused("users/alice").as_deref(), Some("/config/users/alice"));
    assert_eq!(refused("users/a/clients/b").as_deref(), Some("/config/users/a"));
    assert_eq!(refused("clients/<default>").as_deref(), Some("/config/clients/<default>"));
    for entity in ["topics/t", "brokers/1", "users", "users/", "clients/..", "changes/x", "nonsense", ""] {
        assert_eq!(refused(entity), None, "{entity}");
    }
}

#[test]
fn wishes_are_read_as_tools_write_them() {
    let read = |text: &str| parse_wishes(text.as_bytes());
    let wish = |replicas: &[i32]| PartitionWish {
        topic: "t".into(),
        partition: PartitionIndex(3),
        replicas: replicas.iter().copied().map(NodeId).collect(),
    };
    let moved = r#"{"version":1,"partitions":[{"topic":"t","partition":3,"replicas":[1,2],"log_dirs":["any","any"]}]}"#;
    assert_eq!(read(moved).unwrap(), [wish(&[1, 2])]);
    assert_eq!(read(r#"{"version":1,"partitions":[{"topic":"t","partition":3}]}"#).unwrap(), [wish(&[])]);
    assert_eq!(read(r#"{"partitions":[]}"#).unwrap(), []);
    for nonsense in ["", "nonsense", "{}", r#"{"partitions":[{"topic":"t"}]}"#] {
        assert!(read(nonsense).is_err(), "{nonsense}");
    }
}
