//! Kafka's own administration tools, and topics that are changed while clients work with them. What a tool prints about this broker it
//! prints about Kafka.

use std::time::Duration;

use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic};
use kafka_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use uuid::Uuid;

use super::at_every_shard_count;
use crate::support::broker::{Broker, Settings};
use crate::support::peers::{TOOL_DEADLINE, java, kafka_tool};
use crate::support::process::Process;
use crate::support::raw::Connection;
use crate::support::records::Batch;
use crate::support::topics::{self, name};
use crate::support::{eventually, noisy};

const UNKNOWN_TOPIC_ID: i16 = 100;
const OFFSET_OUT_OF_RANGE: i16 = 1;
const RECORD_TOO_LARGE: i16 = 10;

fn tool(class: &str, broker: &Broker, args: &[&str]) -> String {
    let bootstrap = broker.bootstrap();
    let mut all = vec!["--bootstrap-server", &bootstrap];
    all.extend(args);
    kafka_tool(class, &all).expect_success()
}

fn configs(broker: &Broker, args: &[&str]) -> String {
    tool("kafka.admin.ConfigCommand", broker, args)
}

fn offsets(broker: &Broker, topic: &str, time: &str) -> Vec<String> {
    let said = tool("org.apache.kafka.tools.GetOffsetShell", broker, &["--topic", topic, "--time", time]);
    said.lines().map(str::to_owned).collect()
}

/// One record of a few bytes, stored apart from its neighbours.
fn fill(connection: &mut Connection, topic: &str, partition: i32, records: usize) {
    for index in 0..records {
        let at = 1_700_000_000_000 + index as i64;
        topics::produce(connection, topic, partition, Batch::at(at).value(format!("record {index}")).encode());
    }
}

/// kafka-configs, on topics: altered live, described with their sources.
#[test]
fn configs_of_a_topic_are_altered_on_the_running_broker() {
    at_every_shard_count(Settings::new(), |broker| {
        let mut connection = broker.connect();
        topics::create(&mut connection, "altered", 2, &[]);
        let of_topic = ["--entity-type", "topics", "--entity-name", "altered"];
        let alter = |args: &[&str]| configs(broker, &[&["--alter"], &of_topic[..], args].concat());
        let said = alter(&["--add-config", "max.message.bytes=200,cleanup.policy=[compact,delete]"]);
        assert!(said.contains("Completed updating config for topic altered."), "{said}");
        let described = configs(broker, &[&["--describe"], &of_topic[..]].concat());
        assert!(described.contains("max.message.bytes=200 sensitive=false"), "{described}");
        assert!(described.contains("DYNAMIC_TOPIC_CONFIG:max.message.bytes=200"), "{described}");
        assert!(described.contains("DEFAULT_CONFIG:message.max.bytes=1048588"), "{described}");
        let large = || Batch::at(1_700_000_000_000).keyed("k", Some(&[b'x'; 300])).encode();
        for partition in 0..2 {
            // Kafka's broker hears of the change a moment after its controller has answered.
            eventually("the limit is in force", Duration::from_secs(30), || {
                let answer = topics::try_produce(&mut connection, "altered", partition, large());
                (answer.error_code == RECORD_TOO_LARGE).then_some(())
            });
        }
        alter(&["--delete-config", "max.message.bytes"]);
        eventually("the limit is gone", Duration::from_secs(30), || {
            (topics::try_produce(&mut connection, "altered", 0, large()).error_code == 0).then_some(())
        });
        let described = configs(broker, &[&["--describe"], &of_topic[..]].concat());
        assert!(described.contains("cleanup.policy=compact,delete") && !described.contains("max.message.bytes"), "{described}");
        let refused = kafka_tool(
            "kafka.admin.ConfigCommand",
            &[&["--bootstrap-server", &broker.bootstrap(), "--alter"], &of_topic[..], &["--add-config", "retention.ms=soon"]].concat(),
        );
        assert!(!refused.status.success() || refused.stderr.contains("InvalidConfigurationException"), "{}", refused.stderr);
    });
}

/// kafka-configs, on brokers and their loggers: what all inherit changes at once, outlives a restart, and a logger's level does not.
#[test]
fn configs_of_brokers_are_altered_on_the_running_broker() {
    at_every_shard_count(Settings::new(), |broker| {
        topics::create(&mut broker.connect(), "inherits", 1, &[]);
        let large = || Batch::at(1_700_000_000_000).value([b'x'; 300]).encode();
        let refused = |broker: &Broker| topics::try_produce(&mut broker.connect(), "inherits", 0, large()).error_code == RECORD_TOO_LARGE;
        configs(broker, &["--alter", "--entity-type", "brokers", "--entity-default", "--add-config", "message.max.bytes=200"]);
        eventually("all brokers' limit is in force", Duration::from_secs(30), || refused(broker).then_some(()));
        configs(broker, &["--alter", "--entity-type", "brokers", "--entity-name", "1", "--add-config", "message.max.bytes=5000"]);
        eventually("the broker's own limit is in force", Duration::from_secs(30), || (!refused(broker)).then_some(()));
        let described = configs(broker, &["--describe", "--entity-type", "brokers", "--entity-name", "1"]);
        assert!(described.contains("message.max.bytes=5000 sensitive=false"), "{described}");
        assert!(described.contains("DYNAMIC_BROKER_CONFIG:message.max.bytes=5000"), "{described}");
        assert!(described.contains("DYNAMIC_DEFAULT_BROKER_CONFIG:message.max.bytes=200"), "{described}");
        let loggers = ["--entity-type", "broker-loggers", "--entity-name", "1"];
        configs(broker, &[&["--alter"], &loggers[..], &["--add-config", "root=ERROR"]].concat());
        let described = configs(broker, &[&["--describe"], &loggers[..]].concat());
        assert!(described.contains("root=ERROR"), "{described}");
        configs(broker, &["--alter", "--entity-type", "brokers", "--entity-name", "1", "--delete-config", "message.max.bytes"]);
        broker.stop();
        broker.launch();
        eventually("what all brokers were set to outlives them", Duration::from_secs(30), || refused(broker).then_some(()));
    });
}

/// kafka-topics --alter: the new partitions serve, before and after a restart.
#[test]
fn a_topic_gets_more_partitions() {
    at_every_shard_count(Settings::new(), |broker| {
        let mut connection = broker.connect();
        topics::create(&mut connection, "grows", 2, &[]);
        fill(&mut connection, "grows", 1, 3);
        tool("org.apache.kafka.tools.TopicCommand", broker, &["--alter", "--topic", "grows", "--partitions", "7"]);
        topics::wait_for_leaders(&mut connection, "grows", 7);
        for partition in 0..7 {
            fill(&mut connection, "grows", partition, 2);
        }
        let ends = ["grows:0:2", "grows:1:5", "grows:2:2", "grows:3:2", "grows:4:2", "grows:5:2", "grows:6:2"];
        assert_eq!(offsets(broker, "grows", "-1"), ends);
        broker.kill();
        broker.launch();
        topics::wait_for_leaders(&mut broker.connect(), "grows", 7);
        assert_eq!(offsets(broker, "grows", "-1"), ends);
        let described = tool("org.apache.kafka.tools.TopicCommand", broker, &["--describe", "--topic", "grows"]);
        assert!(described.contains("PartitionCount: 7"), "{described}");
    });
}

/// kafka-delete-records and kafka-get-offsets: what is deleted stays deleted, whatever becomes of the process.
#[test]
fn deleted_records_do_not_come_back() {
    at_every_shard_count(Settings::new(), |broker| {
        let mut connection = broker.connect();
        let small = [("segment.bytes", "1048576"), ("file.delete.delay.ms", "0"), ("retention.ms", "-1")];
        topics::create(&mut connection, "shortened", 3, &small);
        for partition in 0..3 {
            for index in 0..30 {
                let batch = Batch::at(1_700_000_000_000 + index).value([b'v'; 100_000]).encode();
                topics::produce(&mut connection, "shortened", partition, batch);
            }
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        let wanted = r#"{"version":1,"partitions":[{"topic":"shortened","partition":0,"offset":25},
            {"topic":"shortened","partition":1,"offset":-1},{"topic":"shortened","partition":2,"offset":5}]}"#;
        std::fs::write(file.path(), wanted).unwrap();
        let said = tool("org.apache.kafka.tools.DeleteRecordsCommand", broker, &["--offset-json-file", file.path().to_str().unwrap()]);
        for line in ["partition: shortened-0\tlow_watermark: 25", "partition: shortened-1\tlow_watermark: 30"] {
            assert!(said.contains(line), "{said}");
        }
        let starts = ["shortened:0:25", "shortened:1:30", "shortened:2:5"];
        assert_eq!(offsets(broker, "shortened", "-2"), starts);
        assert_eq!(topics::fetch(&mut connection, "shortened", 0, 24).error_code, OFFSET_OUT_OF_RANGE);
        assert_eq!(topics::read_from(&mut connection, "shortened", 0, 25).len(), 5);
        if crate::support::broker::kind() == crate::support::broker::Kind::Ottla {
            // Kafka checks every five minutes, and writes its checkpoint every minute.
            eventually("whole segments below the start are gone", Duration::from_secs(30), || {
                let bases: Vec<i64> = topics::segments(&broker.partition_dir("shortened", 0)).into_iter().map(|(base, _)| base).collect();
                (bases.len() == 1 && bases[0] > 0).then_some(())
            });
            broker.kill();
            broker.launch();
            topics::wait_for_leaders(&mut broker.connect(), "shortened", 3);
        }
        assert_eq!(offsets(broker, "shortened", "-2"), starts);
        assert_eq!(offsets(broker, "shortened", "-1"), ["shortened:0:30", "shortened:1:30", "shortened:2:30"]);
    });
}

/// kafka-log-dirs: every log with its size.
#[test]
fn log_directories_are_described() {
    at_every_shard_count(Settings::new(), |broker| {
        let mut connection = broker.connect();
        topics::create(&mut connection, "sized", 3, &[("retention.ms", "-1")]);
        fill(&mut connection, "sized", 1, 4);
        let said = tool("org.apache.kafka.tools.LogDirsCommand", broker, &["--describe", "--topic-list", "sized"]);
        let line = said.lines().find(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{said}"));
        let stored: usize = topics::segments(&broker.partition_dir("sized", 1)).iter().map(|(_, bytes)| bytes.len()).sum();
        for wanted in [
            format!(r#""partition":"sized-1","size":{stored},"offsetLag":0,"isFuture":false"#),
            r#""partition":"sized-0","size":0"#.to_owned(),
            r#""partition":"sized-2","size":0"#.to_owned(),
            format!(r#""logDir":"{}""#, broker.log_dir().display()),
        ] {
            assert!(line.contains(&wanted), "{wanted} is not in {line}");
        }
    });
}

fn delete_topic(connection: &mut Connection, topic: &str) {
    let request = DeleteTopicsRequest::default().with_topic_names(vec![name(topic)]).with_timeout_ms(30_000);
    assert_eq!(connection.call(5, &request).responses[0].error_code, 0);
}

/// What Produce and Fetch by topic id answer.
fn by_id(connection: &mut Connection, id: Uuid) -> (i16, i16) {
    let parts = vec![PartitionProduceData::default().with_index(0).with_records(Some(Batch::at(1_700_000_000_000).value("x").encode()))];
    let produce = ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(30_000)
        .with_topic_data(vec![TopicProduceData::default().with_topic_id(id).with_partition_data(parts)]);
    let produced = connection.call(13, &produce).responses[0].partition_responses[0].error_code;
    let part = FetchPartition::default().with_current_leader_epoch(-1).with_partition_max_bytes(1 << 20);
    let fetch = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![FetchTopic::default().with_topic_id(id).with_partitions(vec![part])]);
    (produced, connection.call(13, &fetch).responses[0].partitions[0].error_code)
}

/// A topic goes and comes again, under another id, while Kafka's own producer writes to it and Kafka's own consumer reads: both go on by
/// themselves.
#[test]
fn clients_outlive_a_topic_that_is_made_anew() {
    at_every_shard_count(Settings::new().with("auto.create.topics.enable", false), |broker| {
        let mut connection = broker.connect();
        let first = topics::create(&mut connection, "again", 1, &[]);
        let bootstrap = broker.bootstrap();
        let mut consumer = java(256);
        consumer.args(["org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", &bootstrap]);
        consumer.args(["--topic", "again", "--partition", "0", "--offset", "earliest"]);
        consumer.args(["--command-property", "auto.offset.reset=earliest", "--command-property", "metadata.max.age.ms=1000"]);
        consumer.args(["--formatter-property", "print.offset=true", "--formatter-property", "print.value=false"]);
        let mut consumer = Process::spawn("consumer", consumer);
        let mut producer = java(256);
        producer.args(["org.apache.kafka.tools.ProducerPerformance", "--topic", "again", "--num-records", "3000", "--record-size", "100"]);
        producer.args(["--throughput", "300", "--command-property", &format!("bootstrap.servers={bootstrap}"), "acks=all"]);
        let mut producer = Process::spawn("producer", producer);
        let reads = |consumer: &mut Process, offset: i64| {
            consumer.wait_for_line(TOOL_DEADLINE, |line| (line.trim() == format!("Offset:{offset}")).then_some(()));
        };
        reads(&mut consumer, 500);
        delete_topic(&mut connection, "again");
        let second = topics::create(&mut connection, "again", 1, &[]);
        assert_ne!(first, second);
        assert_eq!(by_id(&mut connection, first), (UNKNOWN_TOPIC_ID, UNKNOWN_TOPIC_ID));
        let status = producer.wait(TOOL_DEADLINE);
        assert!(status.success(), "{}", producer.output());
        assert!(producer.output().contains("3000 records sent"), "{}", producer.output());
        let end = topics::offset_at(&mut connection, "again", 0, -1);
        assert!(end > 500, "the producer went on with the new topic: {end} records");
        let last = format!("Offset:{}", end - 1);
        eventually("the consumer has read the new topic to its end", TOOL_DEADLINE, || {
            let output = consumer.output();
            let again = output.lines().filter(|line| line.trim() == "Offset:0").count() == 2;
            let read = output.lines().rev().find(|line| line.starts_with("Offset:")).is_some_and(|line| line.trim() == last);
            (again && read).then_some(())
        });
    });
}

/// DeleteRecords of many connections at once: each is answered, and each answer holds.
#[test]
fn deletions_of_many_connections_are_kept() {
    let _noisy = noisy();
    let mut broker = Broker::start(Settings::new());
    topics::create(&mut broker.connect(), "crowded", 8, &[("retention.ms", "-1")]);
    for partition in 0..8 {
        fill(&mut broker.connect(), "crowded", partition, 20);
    }
    let delete = |connection: &mut Connection, partition: i32, offset: i64| {
        let part = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
        let topic = DeleteRecordsTopic::default().with_name(name("crowded")).with_partitions(vec![part]);
        let answer = connection.call(2, &DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000));
        let part = &answer.topics[0].partitions[0];
        assert_eq!((part.error_code, part.low_watermark), (0, offset));
    };
    std::thread::scope(|scope| {
        for partition in 0..8 {
            let mut connection = broker.connect();
            scope.spawn(move || (1..=20).for_each(|offset| delete(&mut connection, partition, offset)));
        }
    });
    if crate::support::broker::kind() == crate::support::broker::Kind::Ottla {
        broker.kill();
        broker.launch();
        topics::wait_for_leaders(&mut broker.connect(), "crowded", 8);
    }
    for partition in 0..8 {
        assert_eq!(topics::offset_at(&mut broker.connect(), "crowded", partition, -2), 20);
    }
    broker.stop();
}

/// One entry that is malformed is answered as such, and the others are deleted.
#[test]
fn a_deletion_answers_each_of_its_entries() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let mut connection = broker.connect();
    topics::create(&mut connection, "kept", 1, &[]);
    let id = topics::create(&mut connection, "gone", 1, &[]);
    let named = |topic: &str| DeleteTopicState::default().with_name(Some(name(topic)));
    let entries = vec![DeleteTopicState::default().with_name(None), named("gone"), named("kept").with_topic_id(id)];
    let answer = connection.call(6, &DeleteTopicsRequest::default().with_topics(entries).with_timeout_ms(30_000));
    let mut codes: Vec<(String, i16)> = answer
        .responses
        .iter()
        .map(|line| (line.name.as_ref().map(|name| name.to_string()).unwrap_or_default(), line.error_code))
        .collect();
    // Kafka shuffles them.
    codes.sort();
    const INVALID_REQUEST: i16 = 42;
    assert_eq!(codes, [(String::new(), INVALID_REQUEST), ("gone".to_owned(), 0), ("kept".to_owned(), INVALID_REQUEST)]);
    topics::wait_until_gone(&mut connection, "gone");
    topics::produce(&mut connection, "kept", 0, Batch::at(1_700_000_000_000).value("v").encode());
}

/// Where no topic may be deleted, clients that are too old to know of that are told another code.
#[test]
fn a_deletion_that_is_switched_off_is_answered_by_version() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new().with("delete.topic.enable", false));
    let mut connection = broker.connect();
    topics::create(&mut connection, "stays", 1, &[]);
    for (version, code) in [(1, 42), (2, 42), (3, 73), (5, 73)] {
        let request = DeleteTopicsRequest::default().with_topic_names(vec![name("stays")]).with_timeout_ms(30_000);
        let answer = connection.call(version, &request);
        let line = &answer.responses[0];
        assert_eq!((line.error_code, line.error_message.as_deref()), (code, None), "version {version}");
    }
}
