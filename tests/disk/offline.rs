//! What clients are shown of partitions whose log directory has failed, on Kafka and here alike: nobody leads them, the broker that had
//! them answers KAFKA_STORAGE_ERROR, the others go on; and a start with the directory back gives them their leader again.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::describe_topic_partitions_request::{DescribeTopicPartitionsRequest, TopicRequest};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};

use crate::support::broker::{Broker, Kind, Settings, kind, temp_dir};
use crate::support::peers::{kafka_tool, kcat};
use crate::support::process::{command, run};
use crate::support::raw::Connection;
use crate::support::records::Batch;
use crate::support::topics::{self, Ask, FETCH};
use crate::support::{eventually, noisy};

const THEN: i64 = 1_700_000_000_000;
const KAFKA_STORAGE_ERROR: i16 = 56;
const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const LEADER_NOT_AVAILABLE: i16 = 5;
const SOON: Duration = Duration::from_secs(90);
const TOPIC: &str = "half-lost";
const PARTITIONS: i32 = 8;
const NOBODY: BrokerId = BrokerId(-1);
const NODE: BrokerId = BrokerId(1);

fn batch() -> bytes::Bytes {
    Batch::at(THEN).value("v").encode()
}

/// What one answer shows of a partition.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Shown {
    error: i16,
    leader: BrokerId,
    epoch: i32,
    replicas: Vec<BrokerId>,
    isr: Vec<BrokerId>,
    offline: Vec<BrokerId>,
    /// Eligible to lead, where the answer tells.
    eligible: Option<Vec<BrokerId>>,
}

impl Shown {
    fn led(epoch: i32) -> Shown {
        Shown { error: 0, leader: NODE, epoch, replicas: vec![NODE], isr: vec![NODE], offline: vec![], eligible: None }
    }

    /// As it is once its directory has failed: the replica that was in sync to the end stays eligible.
    fn lost(epoch: i32) -> Shown {
        Shown { error: LEADER_NOT_AVAILABLE, leader: NOBODY, isr: vec![], offline: vec![NODE], ..Shown::led(epoch) }
    }
}

fn by_metadata(connection: &mut Connection) -> BTreeMap<i32, Shown> {
    let wanted = MetadataRequestTopic::default().with_name(Some(topics::name(TOPIC)));
    let answer = connection.call(12, &MetadataRequest::default().with_topics(Some(vec![wanted])).with_allow_auto_topic_creation(false));
    assert_eq!(answer.topics[0].error_code, 0);
    let shown = answer.topics[0].partitions.iter().map(|partition| {
        let shown = Shown {
            error: partition.error_code,
            leader: partition.leader_id,
            epoch: partition.leader_epoch,
            replicas: partition.replica_nodes.clone(),
            isr: partition.isr_nodes.clone(),
            offline: partition.offline_replicas.clone(),
            eligible: None,
        };
        (partition.partition_index, shown)
    });
    shown.collect()
}

fn by_description(connection: &mut Connection) -> BTreeMap<i32, Shown> {
    let wanted = TopicRequest::default().with_name(topics::name(TOPIC));
    let request = DescribeTopicPartitionsRequest::default().with_topics(vec![wanted]).with_response_partition_limit(100);
    let answer = connection.call(0, &request);
    let shown = answer.topics[0].partitions.iter().map(|partition| {
        let shown = Shown {
            error: partition.error_code,
            leader: partition.leader_id,
            epoch: partition.leader_epoch,
            replicas: partition.replica_nodes.clone(),
            isr: partition.isr_nodes.clone(),
            offline: partition.offline_replicas.clone(),
            eligible: partition.eligible_leader_replicas.clone(),
        };
        (partition.partition_index, shown)
    });
    shown.collect()
}

fn list_offsets_error(connection: &mut Connection, partition: i32) -> i16 {
    let part = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(-1);
    let topics = vec![ListOffsetsTopic::default().with_name(topics::name(TOPIC)).with_partitions(vec![part])];
    let answer = connection.call(1, &ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics));
    answer.topics[0].partitions[0].error_code
}

/// What a tool says of the partitions without a leader, line by line.
fn unavailable(said: &str) -> Vec<String> {
    said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).filter(|line| !line.is_empty()).collect()
}

#[test]
fn partitions_of_a_failed_directory_have_no_leader_until_it_is_back() {
    let _noisy = noisy();
    let (healthy, other) = (temp_dir(), temp_dir());
    let (there, away) = (other.path().join("log"), other.path().join("away"));
    // Kafka looks at a directory when it writes its checkpoints.
    let settings = Settings::new()
        .shards(2)
        .with("log.dirs", format!("{},{}", healthy.path().display(), there.display()))
        .with("log.flush.offset.checkpoint.interval.ms", 500)
        .with("ottla.disk.reserve.bytes", 0);
    let mut broker = Broker::start(settings);
    let mut connection = broker.connect();
    topics::create(&mut connection, TOPIC, PARTITIONS, &[]);
    let lost = on(&there);
    assert!(!lost.is_empty() && lost.len() < PARTITIONS as usize, "both directories are used: {lost:?}");
    for partition in 0..PARTITIONS {
        topics::produce(&mut connection, TOPIC, partition, batch());
    }
    let before = by_metadata(&mut connection);
    let first = before[&0].epoch;
    assert!(before.values().all(|shown| *shown == Shown::led(first)), "{before:?}");

    std::fs::rename(&there, &away).unwrap();
    eventually("nobody leads what is lost", SOON, || {
        by_metadata(&mut connection).values().filter(|shown| shown.leader == NOBODY).count().eq(&lost.len()).then_some(())
    });
    let expected = |partition: &i32| if lost.contains(partition) { Shown::lost(first + 1) } else { Shown::led(first) };
    let shown = by_metadata(&mut connection);
    assert!(shown.iter().all(|(partition, shown)| *shown == expected(partition)), "{shown:#?}");
    let described = by_description(&mut connection);
    for (partition, shown) in &described {
        // This answer has no error for a partition without a leader; it tells who may lead.
        let eligible = if lost.contains(partition) { vec![NODE] } else { vec![] };
        assert_eq!(*shown, Shown { error: 0, eligible: Some(eligible), ..expected(partition) }, "partition {partition}");
    }
    expect_refusals(&mut connection, &lost);
    expect_tools(&broker, &lost);
    drop(connection);
    broker.kill();

    // A start on what cannot be a log directory serves the others.
    std::fs::write(&there, "no directory").unwrap();
    broker.launch();
    let mut connection = broker.connect();
    eventually("what is there is led, and only that", SOON, || {
        let shown = by_metadata(&mut connection);
        let is_right = |(partition, shown): (&i32, &Shown)| match lost.contains(partition) {
            true => *shown == Shown::lost(shown.epoch),
            false => *shown == Shown::led(shown.epoch),
        };
        shown.iter().all(is_right).then_some(())
    });
    eventually("what is there is served", SOON, || {
        (0..PARTITIONS).filter(|partition| !lost.contains(partition)).all(|at| list_offsets_error(&mut connection, at) == 0).then_some(())
    });
    expect_refusals(&mut connection, &lost);
    topics::create(&mut connection, "beside", 4, &[]);
    for partition in 0..4 {
        topics::produce(&mut connection, "beside", partition, batch());
    }
    drop(connection);
    broker.kill();

    std::fs::remove_file(&there).unwrap();
    std::fs::rename(&away, &there).unwrap();
    broker.launch();
    let mut connection = broker.connect();
    topics::wait_for_leaders(&mut connection, TOPIC, PARTITIONS);
    let shown = by_metadata(&mut connection);
    for (partition, shown) in &shown {
        assert!(shown.epoch > first && *shown == Shown::led(shown.epoch), "partition {partition}: {shown:?}");
        assert_eq!(topics::read_from(&mut connection, TOPIC, *partition, 0)[0].offset, 0);
        topics::produce(&mut connection, TOPIC, *partition, batch());
    }
    assert_eq!(shown.len(), PARTITIONS as usize);
}

/// The partitions that lie in a log directory.
fn on(directory: &Path) -> Vec<i32> {
    (0..PARTITIONS).filter(|partition| directory.join(format!("{TOPIC}-{partition}")).exists()).collect()
}

/// Whoever asks for a lost partition all the same is told why; the others are served.
fn expect_refusals(connection: &mut Connection, lost: &[i32]) {
    for partition in 0..PARTITIONS {
        let code = if lost.contains(&partition) { KAFKA_STORAGE_ERROR } else { 0 };
        assert_eq!(topics::try_produce(connection, TOPIC, partition, batch()).error_code, code, "produce to {partition}");
        let ask = Ask { partition, offset: 0, bytes_max: 1 << 20 };
        // Old clients do not know that storage can fail: they look for the leader again.
        for (version, code) in [(5, if code == 0 { 0 } else { NOT_LEADER_OR_FOLLOWER }), (6, code), (FETCH, code)] {
            let answer = connection.call(version, &topics::fetch_request(TOPIC, &[ask], 0, 0));
            assert_eq!(answer.responses[0].partitions[0].error_code, code, "fetch from {partition} in version {version}");
        }
        assert_eq!(list_offsets_error(connection, partition), code, "offset of {partition}");
    }
}

/// What administrators see: Kafka's tool, ours, and kcat.
fn expect_tools(broker: &Broker, lost: &[i32]) {
    let bootstrap = broker.bootstrap();
    let words = ["--bootstrap-server", &bootstrap, "--describe", "--unavailable-partitions"];
    let by_kafkas = kafka_tool("org.apache.kafka.tools.TopicCommand", &words).expect_success();
    let mut ours = command(env!("CARGO_BIN_EXE_ottla"));
    ours.arg("topics").args(words);
    let by_ours = run("ottla topics", ours, b"", SOON).expect_success();
    let expected: Vec<String> = lost
        .iter()
        .map(|partition| format!("Topic: {TOPIC} Partition: {partition} Leader: none Replicas: 1 Isr: Elr: 1 LastKnownElr: 1"))
        .collect();
    assert_eq!(unavailable(&by_kafkas), expected);
    assert_eq!(unavailable(&by_ours), expected);
    let listed = kcat(&["-L", "-b", &bootstrap, "-t", TOPIC], b"").expect_success();
    for partition in lost {
        let line = format!("partition {partition}, leader -1, replicas: 1, isrs: , Broker: Leader not available");
        assert!(listed.contains(&line), "{line}\n{listed}");
    }
    if kind() == Kind::Ottla {
        let said = broker.output();
        assert_eq!(said.matches("is offline").count(), 1, "{said}");
    }
}
