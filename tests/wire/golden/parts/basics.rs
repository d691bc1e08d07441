//! Topics made, described, written, read and deleted: every version Kafka serves, the good case and the errors a client meets.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_request::ApiVersionsRequest;
use kafka_protocol::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use kafka_protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use kafka_protocol::messages::describe_cluster_request::DescribeClusterRequest;
use kafka_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, DescribeTopicPartitionsRequest, TopicRequest};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_protocol::messages::{BrokerId, TopicName};
use uuid::Uuid;

use super::{STRANGER, THEN, TIMEOUT_MS, batch, text};
use crate::support::topics::name;
use crate::wire::golden::capture::Recorder;

pub fn run(recorder: &mut Recorder) {
    api_versions(recorder);
    create_topics(recorder);
    describe_configs(recorder);
    produce(recorder);
    fetch(recorder);
    list_offsets(recorder);
    metadata(recorder);
    describe_cluster(recorder);
    describe_topic_partitions(recorder);
    delete_topics(recorder);
    find_coordinator(recorder);
}

fn api_versions(recorder: &mut Recorder) {
    for version in 0..=4 {
        let mut request = ApiVersionsRequest::default();
        if version >= 3 {
            request = request.with_client_software_name(text("golden")).with_client_software_version(text("1.0"));
        }
        recorder.record(version, "all", &request);
        if version >= 3 {
            recorder.record(version, "bad-software-name", &request.with_client_software_name(text("no spaces please")));
        }
    }
}

fn creatable(topic: &str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic::default().with_name(name(topic)).with_num_partitions(partitions).with_replication_factor(replicas)
}

fn config(key: &'static str, value: Option<&'static str>) -> CreatableTopicConfig {
    CreatableTopicConfig::default().with_name(text(key)).with_value(value.map(text))
}

fn assigned(topic: &str, replicas: &[&[i32]]) -> CreatableTopic {
    let assignments = replicas
        .iter()
        .enumerate()
        .map(|(partition, nodes)| {
            CreatableReplicaAssignment::default()
                .with_partition_index(partition as i32)
                .with_broker_ids(nodes.iter().map(|node| BrokerId(*node)).collect())
        })
        .collect();
    creatable(topic, -1, -1).with_assignments(assignments)
}

fn create_topics(recorder: &mut Recorder) {
    let request = |topics: Vec<CreatableTopic>| CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(TIMEOUT_MS);
    for version in 2..=7 {
        let topic = format!("golden-create-v{version}");
        let wanted = creatable(&topic, 2, 1).with_configs(vec![config("retention.ms", Some("3600000"))]);
        recorder.create(version, "new", &request(vec![wanted.clone()]), &[(&topic, 2)]);
        recorder.record(version, "exists", &request(vec![wanted]));
        let trial = creatable("golden-trial", 3, 1).with_configs(vec![config("cleanup.policy", Some("compact"))]);
        recorder.record(version, "validate-only", &request(vec![trial]).with_validate_only(true));
        let wrong = vec![
            creatable("golden wrong name", 1, 1),
            creatable("..", 1, 1),
            creatable("", 1, 1),
            creatable("golden-no-partitions", 0, 1),
            creatable("golden-minus-partitions", -2, 1),
            creatable("golden-no-replicas", 1, 0),
            creatable("golden-many-replicas", 1, 3),
            creatable("golden-unknown-config", 1, 1).with_configs(vec![config("no.such.config", Some("1"))]),
            creatable("golden-wrong-config", 1, 1).with_configs(vec![config("retention.ms", Some("soon"))]),
            creatable("golden-range-config", 1, 1).with_configs(vec![config("segment.bytes", Some("1"))]),
            creatable("golden-null-config", 1, 1).with_configs(vec![config("retention.ms", None)]),
            assigned("golden-unknown-node", &[&[9]]),
            assigned("golden-node-twice", &[&[1, 1]]),
        ];
        recorder.record(version, "wrong", &request(wrong));
        recorder.record(version, "same-name-twice", &request(vec![creatable("golden-twice", 1, 1), creatable("golden-twice", 1, 1)]));
        let assigned_topic = format!("golden-assigned-v{version}");
        recorder.create(version, "assigned", &request(vec![assigned(&assigned_topic, &[&[1], &[1]])]), &[(&assigned_topic, 2)]);
        if version >= 4 {
            let default_topic = format!("golden-default-v{version}");
            recorder.create(version, "default-counts", &request(vec![creatable(&default_topic, -1, -1)]), &[(&default_topic, 1)]);
        }
    }
    // Stored records carry old timestamps on purpose: without a limit they would be deleted by age.
    for topic in ["golden-produce", "golden-fetch"] {
        let forever = vec![config("retention.ms", Some("-1"))];
        recorder.create(7, "keeps-forever", &request(vec![creatable(topic, 2, 1).with_configs(forever)]), &[(topic, 2)]);
    }
}

fn describe_configs(recorder: &mut Recorder) {
    let resource = |kind: i8, name: &'static str, keys: Option<Vec<&'static str>>| {
        DescribeConfigsResource::default()
            .with_resource_type(kind)
            .with_resource_name(text(name))
            .with_configuration_keys(keys.map(|keys| keys.into_iter().map(text).collect()))
    };
    const TOPIC: i8 = 2;
    const BROKER: i8 = 4;
    for version in 1..=4 {
        let request = |resource| DescribeConfigsRequest::default().with_resources(vec![resource]);
        recorder.record(version, "topic-all", &request(resource(TOPIC, "golden-produce", None)));
        let keys = Some(vec!["retention.ms", "cleanup.policy", "no.such.config"]);
        recorder.record(version, "topic-keys", &request(resource(TOPIC, "golden-produce", keys.clone())).with_include_synonyms(true));
        recorder.record(version, "topic-unknown", &request(resource(TOPIC, "golden-missing", None)));
        recorder.record(version, "topic-bad-name", &request(resource(TOPIC, "golden wrong name", None)));
        let keys = Some(vec![
            "message.max.bytes",
            "num.partitions",
            "log.segment.bytes",
            "log.retention.ms",
            "log.retention.hours",
            "auto.create.topics.enable",
            "compression.type",
            "min.insync.replicas",
            "node.id",
        ]);
        recorder.record(version, "broker-keys", &request(resource(BROKER, "1", keys.clone())));
        recorder.record(version, "broker-synonyms", &request(resource(BROKER, "1", keys)).with_include_synonyms(true));
        recorder.record(version, "broker-other", &request(resource(BROKER, "7", Some(vec!["num.partitions"]))));
        recorder.record(version, "broker-not-a-number", &request(resource(BROKER, "one", None)));
        recorder.record(version, "kind-unknown", &request(resource(99, "x", None)));
    }
}

/// Addresses a topic as the version does: by name, from 13 on by id.
fn produce_topic(version: i16, topic: &str, id: Uuid) -> TopicProduceData {
    match version {
        13.. => TopicProduceData::default().with_topic_id(id),
        _ => TopicProduceData::default().with_name(name(topic)),
    }
}

fn produce(recorder: &mut Recorder) {
    let id = recorder.topic_id("golden-produce");
    for version in 3..=13 {
        let to = |topic: &str, id: Uuid, parts: Vec<(i32, Option<Bytes>)>| {
            let parts = parts
                .into_iter()
                .map(|(partition, records)| PartitionProduceData::default().with_index(partition).with_records(records))
                .collect();
            ProduceRequest::default()
                .with_acks(-1)
                .with_timeout_ms(TIMEOUT_MS)
                .with_topic_data(vec![produce_topic(version, topic, id).with_partition_data(parts)])
        };
        let good = |partition: i32| (partition, Some(batch(i64::from(version))));
        let known = |parts| to("golden-produce", id, parts);
        recorder.record(version, "acks-all", &known(vec![good(0)]));
        recorder.record(version, "acks-one", &known(vec![good(0), good(1)]).with_acks(1));
        recorder.record(version, "unknown-partition", &known(vec![good(0), good(7)]));
        recorder.record(version, "unknown-topic", &to("golden-missing", STRANGER, vec![good(0)]));
        recorder.record(version, "bad-acks", &known(vec![good(0)]).with_acks(2));
        let mut corrupt = BytesMut::from(&batch(0)[..]);
        *corrupt.last_mut().unwrap() ^= 1;
        recorder.record(version, "bad-checksum", &known(vec![(0, Some(corrupt.freeze()))]));
        let two: Bytes = [batch(1), batch(2)].concat().into();
        recorder.record(version, "two-batches", &known(vec![(0, Some(two))]));
        // Null records are left out: Kafka fails inside its own error path and never answers.
        recorder.record(version, "empty-records", &known(vec![(0, Some(Bytes::new()))]));
        let mut old = BytesMut::from(&batch(0)[..]);
        old[16] = 1;
        recorder.record(version, "old-magic", &known(vec![(0, Some(old.freeze()))]));
        let cut = batch(0);
        recorder.record(version, "cut-batch", &known(vec![(0, Some(cut.slice(..cut.len() - 5)))]));
    }
}

fn fetch(recorder: &mut Recorder) {
    let id = recorder.topic_id("golden-fetch");
    for index in 0..3 {
        let parts = vec![PartitionProduceData::default().with_index(0).with_records(Some(batch(index)))];
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(TIMEOUT_MS)
            .with_topic_data(vec![produce_topic(9, "golden-fetch", id).with_partition_data(parts)]);
        recorder.record(9, "for-fetch", &request);
    }
    for version in 4..=18 {
        let topic = |topic: &str, id: Uuid, parts: Vec<FetchPartition>| {
            let fetch = if version >= 13 { FetchTopic::default().with_topic_id(id) } else { FetchTopic::default().with_topic(name(topic)) };
            fetch.with_partitions(parts)
        };
        let part = |partition: i32, offset: i64| {
            let mut part = FetchPartition::default().with_partition(partition).with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
            if version >= 9 {
                part = part.with_current_leader_epoch(-1);
            }
            part
        };
        let request = |topics: Vec<FetchTopic>| {
            let mut request =
                FetchRequest::default().with_replica_id(BrokerId(-1)).with_max_wait_ms(0).with_min_bytes(0).with_max_bytes(1 << 20);
            if version >= 7 {
                request = request.with_session_id(0).with_session_epoch(-1);
            }
            request.topics = topics;
            request
        };
        let known = |parts| request(vec![topic("golden-fetch", id, parts)]);
        recorder.record(version, "from-start", &known(vec![part(0, 0)]));
        recorder.record(version, "inside-batch", &known(vec![part(0, 3)]));
        recorder.record(version, "at-end", &known(vec![part(0, 6)]));
        recorder.record(version, "past-end", &known(vec![part(0, 7)]));
        recorder.record(version, "before-start", &known(vec![part(0, -2)]));
        recorder.record(version, "empty-and-unknown-partition", &known(vec![part(1, 0), part(7, 0)]));
        recorder.record(version, "unknown-topic", &request(vec![topic("golden-missing", STRANGER, vec![part(0, 0)])]));
        recorder.record(version, "one-byte", &known(vec![part(0, 2).with_partition_max_bytes(1)]).with_max_bytes(1));
        recorder.record(version, "read-committed", &known(vec![part(0, 4)]).with_isolation_level(1));
        if version >= 9 {
            recorder.record(version, "future-epoch", &known(vec![part(0, 0).with_current_leader_epoch(9)]));
            recorder.record(version, "this-epoch", &known(vec![part(0, 4).with_current_leader_epoch(0)]));
        }
        if version >= 7 {
            recorder.record(version, "unknown-session", &known(vec![part(0, 0)]).with_session_id(77).with_session_epoch(5));
        }
    }
}

fn list_offsets(recorder: &mut Recorder) {
    for version in 1..=11 {
        let ask = |topic: &str, partition: i32, timestamp: i64, epoch: i32| {
            let mut part = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(timestamp);
            if version >= 4 {
                part = part.with_current_leader_epoch(epoch);
            }
            let topics = vec![ListOffsetsTopic::default().with_name(name(topic)).with_partitions(vec![part])];
            let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics);
            if version >= 10 { request.with_timeout_ms(TIMEOUT_MS) } else { request }
        };
        let known = |timestamp| ask("golden-fetch", 0, timestamp, -1);
        recorder.record(version, "latest", &known(-1));
        recorder.record(version, "earliest", &known(-2));
        recorder.record(version, "max-timestamp", &known(-3));
        recorder.record(version, "earliest-local", &known(-4));
        recorder.record(version, "latest-tiered", &known(-5));
        recorder.record(version, "earliest-pending-upload", &known(-6));
        recorder.record(version, "nonsense", &known(-9));
        recorder.record(version, "first-second", &known(THEN));
        recorder.record(version, "between", &known(THEN + 1));
        recorder.record(version, "after-all", &known(THEN + 5000));
        recorder.record(version, "empty-latest", &ask("golden-fetch", 1, -1, -1));
        recorder.record(version, "empty-max-timestamp", &ask("golden-fetch", 1, -3, -1));
        recorder.record(version, "unknown-partition", &ask("golden-fetch", 7, -1, -1));
        recorder.record(version, "unknown-topic", &ask("golden-missing", 0, -1, -1));
        if version >= 2 {
            recorder.record(version, "latest-committed", &known(-1).with_isolation_level(1));
        }
        if version >= 4 {
            recorder.record(version, "future-epoch", &ask("golden-fetch", 0, -1, 9));
        }
    }
}

fn metadata(recorder: &mut Recorder) {
    let id = recorder.topic_id("golden-produce");
    for version in 0..=13 {
        let request = |topics: Option<Vec<MetadataRequestTopic>>| {
            let request = MetadataRequest::default().with_topics(topics);
            if version >= 4 { request.with_allow_auto_topic_creation(false) } else { request }
        };
        let by_name = |topic: &str| MetadataRequestTopic::default().with_name(Some(name(topic)));
        let by_id = |id: Uuid| MetadataRequestTopic::default().with_topic_id(id).with_name(None::<TopicName>);
        recorder.record(version, "one", &request(Some(vec![by_name("golden-produce")])));
        recorder.record(version, "empty", &request(Some(Vec::new())));
        if [1, 5, 9, 13].contains(&version) {
            recorder.record(version, "all", &request(None));
        }
        if version >= 4 {
            let names = vec![by_name("golden-missing"), by_name("golden wrong name"), by_name("golden-fetch")];
            recorder.record(version, "unknown-and-bad-names", &request(Some(names)));
        }
        if version >= 8 {
            let operations = request(Some(vec![by_name("golden-produce")])).with_include_topic_authorized_operations(true);
            let operations = if version <= 10 { operations.with_include_cluster_authorized_operations(true) } else { operations };
            recorder.record(version, "operations", &operations);
        }
        if version >= 10 {
            recorder.record(version, "by-id", &request(Some(vec![by_id(id)])));
            recorder.record(version, "by-unknown-id", &request(Some(vec![by_id(STRANGER)])));
        }
    }
}

fn describe_cluster(recorder: &mut Recorder) {
    for version in 0..=2 {
        recorder.record(version, "plain", &DescribeClusterRequest::default());
        recorder.record(version, "operations", &DescribeClusterRequest::default().with_include_cluster_authorized_operations(true));
        if version >= 1 {
            recorder.record(version, "controllers", &DescribeClusterRequest::default().with_endpoint_type(2));
            recorder.record(version, "endpoint-unknown", &DescribeClusterRequest::default().with_endpoint_type(9));
        }
        if version >= 2 {
            recorder.record(version, "fenced-too", &DescribeClusterRequest::default().with_include_fenced_brokers(true));
        }
    }
}

fn describe_topic_partitions(recorder: &mut Recorder) {
    let request = |topics: &[&str], limit: i32| {
        let topics = topics.iter().map(|topic| TopicRequest::default().with_name(name(topic))).collect();
        DescribeTopicPartitionsRequest::default().with_topics(topics).with_response_partition_limit(limit)
    };
    let cursor = |topic: &str, partition: i32| Some(Cursor::default().with_topic_name(name(topic)).with_partition_index(partition));
    recorder.record(0, "two", &request(&["golden-produce", "golden-fetch"], 2000));
    recorder.record(0, "all", &request(&[], 2000));
    recorder.record(0, "unknown", &request(&["golden-missing", "golden-fetch"], 2000));
    recorder.record(0, "page", &request(&["golden-produce", "golden-fetch"], 3));
    let rest = request(&["golden-produce", "golden-fetch"], 3).with_cursor(cursor("golden-produce", 1));
    recorder.record(0, "next-page", &rest);
    recorder.record(0, "cursor-at-partition", &request(&["golden-fetch"], 3).with_cursor(cursor("golden-fetch", 1)));
    recorder.record(0, "cursor-past-partitions", &request(&["golden-fetch"], 3).with_cursor(cursor("golden-fetch", 9)));
    recorder.record(0, "cursor-before-partitions", &request(&["golden-fetch"], 3).with_cursor(cursor("golden-fetch", -1)));
    recorder.record(0, "no-limit", &request(&["golden-fetch"], 0));
}

fn delete_topics(recorder: &mut Recorder) {
    for version in 1..=5 {
        let request = |topics: Vec<String>| {
            DeleteTopicsRequest::default().with_topic_names(topics.iter().map(|topic| name(topic)).collect()).with_timeout_ms(TIMEOUT_MS)
        };
        let first = format!("golden-create-v{}", version + 1);
        recorder.record(version, "known-and-unknown", &request(vec![first.clone(), "golden-missing".to_string()]));
        recorder.record(version, "again", &request(vec![first]));
        let twice = format!("golden-assigned-v{}", version + 1);
        recorder.record(version, "same-name-twice", &request(vec![twice.clone(), twice]));
    }
    let id = recorder.topic_id("golden-create-v7");
    let request = |topics: Vec<DeleteTopicState>| DeleteTopicsRequest::default().with_topics(topics).with_timeout_ms(TIMEOUT_MS);
    let by_name = |topic: &str| DeleteTopicState::default().with_name(Some(name(topic)));
    let by_id = |id: Uuid| DeleteTopicState::default().with_name(None::<TopicName>).with_topic_id(id);
    recorder.record(6, "by-name-and-unknown", &request(vec![by_name("golden-assigned-v7"), by_name("golden-missing")]));
    recorder.record(6, "by-id-and-unknown", &request(vec![by_id(id), by_id(STRANGER)]));
    recorder.record(6, "by-id-again", &request(vec![by_id(id)]));
    recorder.record(6, "by-both", &request(vec![by_name("golden-default-v7").with_topic_id(STRANGER)]));
    recorder.record(6, "by-neither", &request(vec![DeleteTopicState::default().with_name(None::<TopicName>)]));
}

fn find_coordinator(recorder: &mut Recorder) {
    recorder.wait_for_coordinator();
    for version in 0..=6 {
        let request = |kind: i8| {
            let request = match version {
                4.. => FindCoordinatorRequest::default().with_coordinator_keys(vec![text("golden-group"), text("another-group")]),
                _ => FindCoordinatorRequest::default().with_key(text("golden-group")),
            };
            if version >= 1 { request.with_key_type(kind) } else { request }
        };
        recorder.record(version, "group", &request(0));
        if version >= 1 {
            recorder.record(version, "kind-unknown", &request(9));
        }
    }
}
