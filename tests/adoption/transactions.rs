//! A log that Apache Kafka wrote with transactions in it: committed, aborted, interleaved, one left open. Taken over, it must be read by
//! every client in both isolation levels exactly as from Kafka itself.

use std::path::Path;
use std::time::{Duration, Instant};

use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::describe_producers_request::{DescribeProducersRequest, TopicRequest};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::support::broker::{Broker, Kind, Settings, only_ottla};
use crate::support::noisy;
use crate::support::peers::{kafka_tool, python};
use crate::support::raw::Connection;
use crate::support::records::walk;
use crate::support::topics::{self, Ask, FETCH, fetch_request, name};

const TOPIC: &str = "with-transactions";
const PARTITIONS: i32 = 2;
const CONFIGS: [(&str, &str); 2] = [("segment.bytes", "1048576"), ("retention.ms", "-1")];
const THEN: i64 = 1_700_000_000_000;
const DEADLINE: Duration = Duration::from_secs(60);
const LEVELS: [&str; 2] = ["read_uncommitted", "read_committed"];
const ROUNDS: i64 = 30;

/// Writes records with times a millisecond apart.
struct Writer<'a> {
    bootstrap: &'a str,
    next: i64,
}

impl Writer<'_> {
    fn producer(&self, codec: &str, transactional_id: Option<&str>) -> BaseProducer {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.bootstrap).set("compression.type", codec).set("linger.ms", "5");
        if let Some(id) = transactional_id {
            config.set("transactional.id", id).set("transaction.timeout.ms", "900000");
        }
        let producer: BaseProducer = config.create().expect("a producer");
        if transactional_id.is_some() {
            producer.init_transactions(DEADLINE).expect("transactions");
        }
        producer
    }

    /// Sends records and waits until they are stored.
    fn send(&mut self, producer: &BaseProducer, partition: i32, count: usize, len: usize) {
        for _ in 0..count {
            let number = self.next;
            self.next += 1;
            let value = format!("{number:06} {}", "v".repeat(len));
            let key = number.to_string();
            let record = BaseRecord::to(TOPIC).partition(partition).key(&key).payload(&value).timestamp(THEN + number);
            producer.send(record).unwrap_or_else(|(error, _)| panic!("send: {error}"));
        }
        producer.flush(DEADLINE).expect("flush");
    }
}

/// Several segments of transactions, short and long, beside records outside any. The first partition ends with one that is left open.
fn write(bootstrap: &str) {
    let mut writer = Writer { bootstrap, next: 0 };
    let short = writer.producer("none", Some("short"));
    let long = writer.producer("gzip", Some("long"));
    let plain = writer.producer("none", None);
    for round in 0..ROUNDS {
        if round % 5 == 0 {
            long.begin_transaction().unwrap();
        }
        writer.send(&long, 0, 3, 200);
        short.begin_transaction().unwrap();
        writer.send(&short, 0, 20, 4000);
        if round % 2 == 0 {
            writer.send(&short, 1, 2, 100);
        }
        match round % 3 {
            1 => short.abort_transaction(DEADLINE).unwrap(),
            _ => short.commit_transaction(DEADLINE).unwrap(),
        }
        writer.send(&plain, (round % 2) as i32, 2, 50);
        match round % 10 {
            4 => long.abort_transaction(DEADLINE).unwrap(),
            9 => long.commit_transaction(DEADLINE).unwrap(),
            _ => {}
        }
    }
    let open = writer.producer("none", Some("open"));
    open.begin_transaction().unwrap();
    writer.send(&open, 0, 5, 100);
    short.begin_transaction().unwrap();
    writer.send(&short, 0, 3, 100);
    writer.send(&short, 1, 3, 100);
    short.commit_transaction(DEADLINE).unwrap();
    writer.send(&plain, 0, 2, 50);
}

/// Partition, offset and value of every record, as librdkafka gives them.
fn by_librdkafka(bootstrap: &str, level: &str) -> Vec<(i32, i64, Vec<u8>)> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", bootstrap)
        .set("group.id", "never-joined")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", level)
        .create()
        .expect("a consumer");
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let (start, mut ended, mut records) = (Instant::now(), 0, Vec::new());
    while ended < PARTITIONS {
        assert!(start.elapsed() < DEADLINE, "{} records after {DEADLINE:?}", records.len());
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => records.push((message.partition(), message.offset(), message.payload().unwrap_or_default().to_vec())),
            Some(Err(KafkaError::PartitionEOF(_))) => ended += 1,
            Some(Err(error)) => panic!("{level}: {error}"),
            None => {}
        }
    }
    records.sort();
    records
}

const READ: &str = r#"
import hashlib, sys, time
from kafka import KafkaConsumer, TopicPartition

bootstrap, topic, level, counts = sys.argv[1:]
for partition, count in enumerate(map(int, counts.split(","))):
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, auto_offset_reset="earliest", enable_auto_commit=False, group_id=None,
                             isolation_level=level)
    one = TopicPartition(topic, partition)
    consumer.assign([one])
    print("ends", partition, consumer.beginning_offsets([one])[one], consumer.end_offsets([one])[one])
    consumer.seek_to_beginning()
    seen = hashlib.sha256()
    number = 0
    deadline = time.monotonic() + 60
    last = False
    while not last and time.monotonic() < deadline:
        # Once all is read, one more look: nothing may follow.
        last = number >= count
        for records in consumer.poll(timeout_ms=500).values():
            for record in records:
                seen.update(b"%d %s" % (record.offset, record.value))
                number += 1
    print("read", partition, number, seen.hexdigest())
    consumer.close()
"#;

fn by_java(bootstrap: &str, level: &str, partition: i32, count: usize) -> String {
    let (partition, count) = (partition.to_string(), count.to_string());
    let mut args = vec!["--bootstrap-server", bootstrap, "--topic", TOPIC, "--partition", &partition, "--offset", "earliest"];
    args.extend(["--isolation-level", level, "--max-messages", &count, "--timeout-ms", "60000"]);
    args.extend(["--formatter-property", "print.offset=true", "--formatter-property", "print.timestamp=true"]);
    kafka_tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &args).expect_success()
}

/// What Kafka's own tool for transactions says of a partition's producers, in no order.
fn by_tool(bootstrap: &str, partition: i32) -> Vec<String> {
    let partition = partition.to_string();
    let args = ["--bootstrap-server", bootstrap, "describe-producers", "--topic", TOPIC, "--partition", &partition];
    let said = kafka_tool("org.apache.kafka.tools.TransactionsCommand", &args).expect_success();
    let mut lines: Vec<String> = said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    lines.sort();
    lines
}

/// What the protocol says: offsets by time and sentinel, producers, and each segment's records with the aborted transactions among them.
fn by_hand(connection: &mut Connection, bases: &[Vec<i64>]) -> Vec<String> {
    let mut said = Vec::new();
    for partition in 0..PARTITIONS {
        for level in 0..2i8 {
            for timestamp in [-1, -2, -3].into_iter().chain((0..60).map(|step| THEN + step * 17)) {
                let part = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(timestamp);
                let topics = vec![ListOffsetsTopic::default().with_name(name(TOPIC)).with_partitions(vec![part])];
                let ask = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_isolation_level(level).with_topics(topics);
                let part = &connection.call(7, &ask).topics[0].partitions[0];
                said.push(format!("{partition} {level} {timestamp}: {} {} {}", part.error_code, part.timestamp, part.offset));
            }
            let bases = &bases[partition as usize];
            for (at, base) in bases.iter().enumerate() {
                said.push(segment(connection, partition, level, *base, bases.get(at + 1).copied().unwrap_or(i64::MAX)));
            }
        }
        let ask = TopicRequest::default().with_name(name(TOPIC)).with_partition_indexes(vec![partition]);
        let mut answer = connection.call(0, &DescribeProducersRequest::default().with_topics(vec![ask]));
        let producers = &mut answer.topics[0].partitions[0].active_producers;
        producers.sort_by_key(|producer| producer.producer_id);
        said.extend(producers.iter().map(|producer| format!("{partition} {producer:?}")));
    }
    said
}

/// What is served of one segment, however many answers it takes, and which transactions are said to be aborted in the first of them.
fn segment(connection: &mut Connection, partition: i32, level: i8, base: i64, next_base: i64) -> String {
    let (mut served, mut next, mut first) = (0, base, None);
    loop {
        let ask = Ask { partition, offset: next, bytes_max: 8 << 20 };
        let answer = connection.call(FETCH, &fetch_request(TOPIC, &[ask], 0, 0).with_isolation_level(level));
        let part = &answer.responses[0].partitions[0];
        let batches = walk(&part.records.clone().unwrap_or_default()).batches;
        let said = first.get_or_insert_with(|| {
            let aborted = part.aborted_transactions.as_ref().map(|all| all.iter().map(|one| (one.producer_id.0, one.first_offset)));
            let aborted = aborted.map(Iterator::collect::<Vec<_>>);
            format!("{} {} {} {aborted:?}", part.high_watermark, part.last_stable_offset, part.log_start_offset)
        });
        served += batches.iter().map(|batch| batch.bytes.len()).sum::<usize>();
        match batches.last() {
            Some(last) if last.last_offset() + 1 < next_base => next = last.last_offset() + 1,
            _ => return format!("{partition} {level} from {base}: {served} bytes, {said}"),
        }
    }
}

/// Everything every client says of the topic.
struct Seen {
    librdkafka: [Vec<(i32, i64, Vec<u8>)>; 2],
    python: [String; 2],
    java: [String; 2],
    tool: Vec<String>,
    hand: Vec<String>,
}

impl Seen {
    fn of(broker: &Broker, bases: &[Vec<i64>]) -> Seen {
        let bootstrap = &broker.bootstrap();
        let librdkafka = LEVELS.map(|level| by_librdkafka(bootstrap, level));
        let count = |records: &[(i32, i64, Vec<u8>)], partition| records.iter().filter(|record| record.0 == partition).count();
        let python = [0, 1].map(|at| {
            let counts = [0, 1].map(|partition| count(&librdkafka[at], partition).to_string()).join(",");
            python(READ, &[bootstrap, TOPIC, LEVELS[at], &counts]).expect_success()
        });
        let java = [0, 1].map(|at| by_java(bootstrap, LEVELS[at], 0, count(&librdkafka[at], 0)));
        Seen { librdkafka, python, java, tool: by_tool(bootstrap, 0), hand: by_hand(&mut broker.connect(), bases) }
    }
}

/// Puts Kafka's files in the place of those of a topic made here; the topic's identity stays the one it has here.
fn take_over(from: &Path, to: &Path) {
    let identity = |path: &Path| path.file_name().is_some_and(|name| name == "partition.metadata");
    for entry in std::fs::read_dir(to).unwrap() {
        let path = entry.unwrap().path();
        if !identity(&path) {
            std::fs::remove_file(path).unwrap();
        }
    }
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if !identity(&path) {
            std::fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
    }
}

fn same(what: &str, kafka: &Seen, here: &Seen) {
    for (at, level) in LEVELS.iter().enumerate() {
        assert_eq!(kafka.librdkafka[at].len(), here.librdkafka[at].len(), "{what}: librdkafka, {level}");
        assert!(kafka.librdkafka[at] == here.librdkafka[at], "{what}: librdkafka, {level}");
        assert_eq!(kafka.python[at], here.python[at], "{what}: kafka-python, {level}");
        assert!(kafka.java[at] == here.java[at], "{what}: Java, {level}");
    }
    assert_eq!(kafka.tool, here.tool, "{what}: Kafka's tool for transactions");
    assert_eq!(kafka.hand.len(), here.hand.len(), "{what}: by hand\nkafka {:#?}\nhere {:#?}", kafka.hand, here.hand);
    for (kafka, here) in kafka.hand.iter().zip(&here.hand) {
        assert_eq!(kafka, here, "{what}: by hand");
    }
}

#[test]
fn logs_with_transactions_are_read_as_from_kafka() {
    if only_ottla("Kafka wrote them") {
        return;
    }
    let _noisy = noisy();
    let mut kafka = Broker::start_kind(Kind::Kafka, Settings::new().with("transaction.state.log.num.partitions", 1));
    topics::create(&mut kafka.connect(), TOPIC, PARTITIONS, &CONFIGS);
    write(&kafka.bootstrap());
    let bases: Vec<Vec<i64>> = (0..PARTITIONS)
        .map(|partition| topics::segments(&kafka.partition_dir(TOPIC, partition)).into_iter().map(|(base, _)| base).collect())
        .collect();
    assert!(bases[0].len() >= 3, "{bases:?}");
    let there = Seen::of(&kafka, &bases);
    let [all, committed] = &there.librdkafka;
    assert!(committed.len() > 100 && all.len() > committed.len() + 100, "{} of {} committed", committed.len(), all.len());
    assert!(there.java[1].lines().count() > 100 && there.python[1].contains("read 1 "), "{}", there.python[1]);
    assert!(there.tool.len() >= 4, "{:?}", there.tool);
    kafka.stop();
    for shards in [1, 2] {
        let mut here = Broker::start(Settings::new().shards(shards));
        topics::create(&mut here.connect(), TOPIC, PARTITIONS, &CONFIGS);
        here.stop();
        for partition in 0..PARTITIONS {
            take_over(&kafka.partition_dir(TOPIC, partition), &here.partition_dir(TOPIC, partition));
        }
        here.launch();
        same(&format!("{shards} shards"), &there, &Seen::of(&here, &bases));
        // After a crash all is read anew from the newest snapshot that is believed.
        here.kill();
        here.launch();
        let again = by_hand(&mut here.connect(), &bases);
        assert_eq!(again, there.hand, "after a crash");
        assert!(by_librdkafka(&here.bootstrap(), LEVELS[1]) == *committed, "after a crash");
    }
}
