//! A port per shard: stock clients find each partition's core by themselves, and no tool counts anything twice.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{DescribeClusterRequest, MetadataRequest, MetadataResponse};

use crate::metrics::scrape;
use crate::support::broker::{Broker, Settings, lasting_ports, only_ottla};
use crate::support::peers::{kafka_tool, kcat, python};
use crate::support::quiet;
use crate::support::raw::Connection;
use crate::support::records::Batch;
use crate::support::topics;

const SHARDS: [i32; 2] = [1_000_001_000, 1_000_001_001];
const PARTITIONS: i32 = 8;

fn start() -> (Broker, u16) {
    let first = lasting_ports(2);
    let settings = Settings::new().shards(2).with("ottla.metrics.listener", "127.0.0.1:0");
    (Broker::start(settings.with("ottla.shard.listeners", format!("PLAINTEXT:{first}"))), first)
}

fn metadata(connection: &mut Connection, topic: &str) -> MetadataResponse {
    let asked = MetadataRequestTopic::default().with_name(Some(topics::name(topic)));
    connection.call(9, &MetadataRequest::default().with_topics(Some(vec![asked])))
}

fn leaders(answer: &MetadataResponse) -> BTreeMap<i32, i32> {
    answer.topics[0].partitions.iter().map(|partition| (partition.partition_index, partition.leader_id.0)).collect()
}

/// Messages that shards had from one another, those of the housekeeping and of the scrape itself included.
fn messages(broker: &Broker) -> f64 {
    scrape(broker.metrics()).sum("ottla_mailbox_messages_total")
}

#[test]
fn each_shard_is_shown_as_a_broker_and_answers_for_its_own() {
    if only_ottla("a port per shard") {
        return;
    }
    let (broker, first) = start();
    let mut connection = broker.connect();
    topics::create(&mut connection, "shown", PARTITIONS, &[]);
    let answer = metadata(&mut connection, "shown");
    let port = |id: i32| answer.brokers.iter().find(|broker| broker.node_id.0 == id).map(|broker| broker.port);
    assert_eq!(answer.brokers.len(), 3, "the node and its shards");
    assert_eq!((port(SHARDS[0]), port(SHARDS[1])), (Some(i32::from(first)), Some(i32::from(first) + 1)));
    assert!(port(1).is_some() && answer.controller_id.0 == 1, "the controller is the node, which is shown");
    let led = leaders(&answer);
    assert_eq!(led.values().copied().collect::<BTreeSet<_>>(), BTreeSet::from(SHARDS));
    for partition in &answer.topics[0].partitions {
        let leader = partition.leader_id;
        assert_eq!((&partition.replica_nodes[..], &partition.isr_nodes[..]), (&[leader][..], &[leader][..]));
    }
    let cluster = connection.call(1, &DescribeClusterRequest::default().with_endpoint_type(1));
    let ids = |brokers: &mut dyn Iterator<Item = i32>| brokers.collect::<BTreeSet<_>>();
    assert_eq!(
        ids(&mut cluster.brokers.iter().map(|broker| broker.broker_id.0)),
        ids(&mut answer.brokers.iter().map(|broker| broker.node_id.0))
    );
    // By a shard's own port all is the same, and so is what lies on the other shard: a wrong shard forwards.
    let mut own = Connection::try_connect((broker.host(), first).into()).expect("the shard listens");
    assert_eq!(leaders(&metadata(&mut own, "shown")), led);
    for partition in 0..PARTITIONS {
        topics::produce(&mut own, "shown", partition, Batch::at(1_700_000_000_000).value("x").encode());
    }
}

#[test]
fn stock_clients_send_every_partition_to_its_core() {
    if only_ottla("a port per shard") {
        return;
    }
    let _quiet = quiet();
    let (broker, _) = start();
    let bootstrap = broker.bootstrap();
    topics::create(&mut broker.connect(), "direct", PARTITIONS, &[]);
    let perf = |topic: &str, broker: &Broker| {
        let bootstrap = format!("bootstrap.servers={}", broker.bootstrap());
        let args = ["--topic", topic, "--num-records", "40000", "--record-size", "1000", "--throughput", "-1"];
        let rest = ["--command-property", &bootstrap, "acks=all", "batch.size=4096"];
        let said = kafka_tool("org.apache.kafka.tools.ProducerPerformance", &[&args[..], &rest[..]].concat()).expect_success();
        assert!(said.contains("40000 records sent"), "{said}");
    };
    let before = messages(&broker);
    perf("direct", &broker);
    let requests = scrape(broker.metrics()).get("ottla_requests_total{api=\"Produce\"}");
    let crossed = messages(&broker) - before;
    println!("{requests} produce requests, {crossed} messages between shards");
    assert!(requests > 200.0 && crossed < requests / 10.0, "{requests} produce requests, {crossed} messages between shards");

    // The same without: half of the work is on the other shard.
    let plain = Broker::start(Settings::new().shards(2).with("ottla.metrics.listener", "127.0.0.1:0"));
    topics::create(&mut plain.connect(), "direct", PARTITIONS, &[]);
    let before = messages(&plain);
    perf("direct", &plain);
    let requests = scrape(plain.metrics()).get("ottla_requests_total{api=\"Produce\"}");
    let crossed = messages(&plain) - before;
    println!("without: {requests} produce requests, {crossed} messages between shards");
    assert!(crossed > requests / 2.0, "{requests} produce requests, {crossed} messages between shards");

    // librdkafka writes by key, kafka-python reads it all back by assignment.
    topics::create(&mut broker.connect(), "round", PARTITIONS, &[]);
    let input: String = (0..300).map(|n| format!("key-{n}:value {n}\n")).collect();
    kcat(&["-P", "-b", &bootstrap, "-t", "round", "-K:", "-X", "acks=all"], input.as_bytes()).expect_success();
    let listed = kcat(&["-L", "-b", &bootstrap], b"").expect_success();
    assert!(SHARDS.iter().all(|shard| listed.contains(&format!("broker {shard} at "))), "{listed}");
    let before = messages(&broker);
    let read = python(READ_ALL, &[&bootstrap, "round"]).expect_success();
    assert_eq!(read.trim(), "read 300");
    assert!(messages(&broker) - before < 100.0, "{} messages while it was read", messages(&broker) - before);
}

const READ_ALL: &str = r#"
import sys
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

bootstrap, topic = sys.argv[1:]
producer = KafkaProducer(bootstrap_servers=bootstrap, acks="all")
consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False, consumer_timeout_ms=60000,
                         group_id=None)
assigned = [TopicPartition(topic, n) for n in producer.partitions_for(topic)]
consumer.assign(assigned)
consumer.seek_to_beginning()
wanted = sum(consumer.end_offsets(assigned).values())
read = 0
for record in consumer:
    read += 1
    if read == wanted:
        break
print("read", read)
"#;

#[test]
fn kafkas_tools_count_nothing_twice_and_take_the_ids_back() {
    if only_ottla("a port per shard") {
        return;
    }
    let (broker, _) = start();
    let bootstrap = broker.bootstrap();
    let tool = |class: &str, args: &[&str]| kafka_tool(class, &[&["--bootstrap-server", &bootstrap], args].concat()).expect_success();
    let assignment = format!("{},{}", SHARDS[0], SHARDS[1]);
    tool("org.apache.kafka.tools.TopicCommand", &["--create", "--topic", "asked", "--replica-assignment", &assignment]);
    topics::create(&mut broker.connect(), "sized", PARTITIONS, &[]);
    for partition in 0..PARTITIONS {
        topics::produce(&mut broker.connect(), "sized", partition, Batch::at(1_700_000_000_000).value("x").encode());
    }
    let described = tool("org.apache.kafka.tools.TopicCommand", &["--describe", "--topic", "sized"]);
    for line in described.lines().filter(|line| line.contains("Leader: ")) {
        let shard = SHARDS.iter().find(|shard| line.contains(&format!("Leader: {shard}"))).unwrap_or_else(|| panic!("{line}"));
        assert!(line.contains(&format!("Replicas: {shard}")) && line.contains(&format!("Isr: {shard}")), "{line}");
    }
    let dirs = tool("org.apache.kafka.tools.LogDirsCommand", &["--describe"]);
    for partition in 0..PARTITIONS {
        let name = format!("\"partition\":\"sized-{partition}\"");
        assert_eq!(dirs.matches(&name).count(), 1, "{name} in {dirs}");
    }
    assert_eq!(dirs.matches("\"broker\":").count(), 3, "{dirs}");
    let shard = SHARDS[1].to_string();
    let broker_config = ["--entity-type", "brokers", "--entity-name", &shard];
    let altered =
        tool("kafka.admin.ConfigCommand", &[&["--alter", "--add-config", "log.retention.ms=7200000"], &broker_config[..]].concat());
    assert!(altered.contains("Completed updating config for broker"), "{altered}");
    let of_node = tool("kafka.admin.ConfigCommand", &["--describe", "--entity-type", "brokers", "--entity-name", "1"]);
    assert!(of_node.contains("log.retention.ms=7200000"), "what is set by a shard's id is the node's: {of_node}");
    let of_shard = tool("kafka.admin.ConfigCommand", &[&["--describe"], &broker_config[..]].concat());
    assert!(of_shard.contains("log.retention.ms=7200000"), "{of_shard}");
}
