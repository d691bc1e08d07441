//! Requests that name a thing twice, or say what no client of today says: what is answered once, what is refused, and which refusal goes
//! before which.

use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use kafka_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use kafka_protocol::messages::describe_producers_request::{DescribeProducersRequest, TopicRequest as ProducersTopic};
use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, DescribeTopicPartitionsRequest, TopicRequest};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{BrokerId, TopicName};
use uuid::Uuid;

use super::{STRANGER, TIMEOUT_MS, batch, text};
use crate::support::topics::{PRODUCE, name, produce_request};
use crate::wire::golden::capture::Recorder;

const FIRST: &str = "golden-first";
const SECOND: &str = "golden-second";
const ZSTD: &str = "golden-zstd";
const MISSING: &str = "golden-missing";

pub fn run(recorder: &mut Recorder) {
    create(recorder, FIRST, 2, &[]);
    create(recorder, SECOND, 1, &[]);
    create(recorder, ZSTD, 1, &[("compression.type", "zstd")]);
    for (topic, partition) in [(FIRST, 0), (FIRST, 0), (FIRST, 1), (SECOND, 0), (ZSTD, 0)] {
        recorder.record(PRODUCE, "for-repeats", &produce_request(topic, -1, &[(partition, batch(0))]));
    }
    metadata(recorder);
    fetch(recorder);
    old_fetches(recorder);
    list_offsets(recorder);
    epochs(recorder);
    producers(recorder);
    configs(recorder);
    topic_partitions(recorder);
}

fn create(recorder: &mut Recorder, topic: &str, partitions: i32, configs: &[(&'static str, &'static str)]) {
    let config = |key, value| CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)));
    let mut wanted = CreatableTopic::default().with_name(name(topic)).with_num_partitions(partitions).with_replication_factor(1);
    wanted.configs.push(config("retention.ms", "-1"));
    wanted.configs.extend(configs.iter().map(|(key, value)| config(key, value)));
    let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(TIMEOUT_MS);
    recorder.create(7, "repeats", &request, &[(topic, partitions)]);
}

fn metadata(recorder: &mut Recorder) {
    let (first, second) = (recorder.topic_id(FIRST), recorder.topic_id(SECOND));
    for version in [0, 4, 9, 10, 12, 13] {
        let request = |topics: Vec<MetadataRequestTopic>| {
            let request = MetadataRequest::default().with_topics(Some(topics));
            if version >= 4 { request.with_allow_auto_topic_creation(false) } else { request }
        };
        let by_name = |topic: &str| MetadataRequestTopic::default().with_name(Some(name(topic)));
        let by_id = |id: Uuid| MetadataRequestTopic::default().with_topic_id(id).with_name(None::<TopicName>);
        recorder.record(version, "name-twice", &request(vec![by_name(FIRST), by_name(SECOND), by_name(FIRST)]));
        if version >= 4 {
            let names = vec![by_name(MISSING), by_name("golden wrong name"), by_name(MISSING), by_name("golden wrong name")];
            recorder.record(version, "no-such-name-twice", &request(names));
        }
        if version >= 10 {
            recorder.record(version, "id-twice", &request(vec![by_id(first), by_id(first)]));
            recorder.record(version, "unknown-id-twice", &request(vec![by_id(STRANGER), by_id(STRANGER)]));
            recorder.record(version, "name-and-its-id", &request(vec![by_name(FIRST), by_id(first)]));
            recorder.record(version, "name-and-other-id", &request(vec![by_name(FIRST), by_id(second)]));
            recorder.record(version, "name-and-unknown-id", &request(vec![by_name(FIRST), by_id(STRANGER)]));
            recorder.record(version, "unknown-name-and-id", &request(vec![by_name(MISSING), by_id(first)]));
            recorder.record(version, "both-in-one", &request(vec![by_name(FIRST).with_topic_id(second)]));
            recorder.record(version, "neither-beside-name", &request(vec![by_id(Uuid::nil()), by_name(FIRST)]));
            recorder.record(version, "neither-beside-id", &request(vec![by_id(Uuid::nil()), by_id(first)]));
        }
    }
}

/// Makes the fetches of one version; topics are named as it names them.
struct Fetching {
    version: i16,
    ids: [(&'static str, Uuid); 4],
}

type Asks<'a> = &'a [(&'static str, &'a [(i32, i64)])];

impl Fetching {
    fn new(recorder: &Recorder, version: i16) -> Self {
        let ids = [FIRST, SECOND, ZSTD].map(|topic| (topic, recorder.topic_id(topic)));
        Self { version, ids: [ids[0], ids[1], ids[2], (MISSING, STRANGER)] }
    }

    fn request(&self, topics: Asks<'_>) -> FetchRequest {
        let part = |partition: i32, offset: i64| {
            let part = FetchPartition::default().with_partition(partition).with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
            if self.version >= 9 { part.with_current_leader_epoch(-1) } else { part }
        };
        let topic = |of: &'static str, parts: &[(i32, i64)]| {
            let topic = FetchTopic::default().with_partitions(parts.iter().map(|(partition, offset)| part(*partition, *offset)).collect());
            let id = self.ids.iter().find(|(known, _)| *known == of).expect("a topic of this part").1;
            if self.version >= 13 { topic.with_topic_id(id) } else { topic.with_topic(name(of)) }
        };
        let mut request = FetchRequest::default().with_replica_id(BrokerId(-1)).with_max_wait_ms(0).with_min_bytes(0);
        request.max_bytes = 1 << 20;
        request.topics = topics.iter().map(|(of, parts)| topic(of, parts)).collect();
        if self.version >= 7 { request.with_session_id(0).with_session_epoch(-1) } else { request }
    }
}

fn fetch(recorder: &mut Recorder) {
    for version in [4, 7, 12, 13, 18] {
        let fetching = Fetching::new(recorder, version);
        recorder.record(version, "partition-twice", &fetching.request(&[(FIRST, &[(0, 2), (1, 0), (0, 0)])]));
        recorder.record(version, "partition-twice-unlike", &fetching.request(&[(FIRST, &[(0, 9), (1, 2), (0, 4)])]));
        let apart = fetching.request(&[(FIRST, &[(0, 2)]), (SECOND, &[(0, 0)]), (FIRST, &[(1, 0), (0, 4)])]);
        recorder.record(version, "topic-twice", &apart);
        recorder.record(version, "unknown-twice", &fetching.request(&[(FIRST, &[(7, 0), (0, 2), (7, 1)]), (MISSING, &[(0, 0), (0, 0)])]));
        for (case, level) in [("isolation-unknown", 2), ("isolation-negative", -1)] {
            recorder.record(version, case, &fetching.request(&[(FIRST, &[(0, 0), (7, 0)])]).with_isolation_level(level));
        }
        let unknown = fetching.request(&[(MISSING, &[(0, 0)])]).with_isolation_level(2);
        recorder.record(version, "isolation-unknown-of-nothing", &unknown);
        if version >= 7 {
            let begin = fetching.request(&[(FIRST, &[(0, 0), (1, 0), (0, 4)])]).with_session_epoch(0);
            recorder.record(version, "begin-with-partition-twice", &begin);
            let id = recorder.session();
            let next = |epoch: i32, topics: Asks<'_>| fetching.request(topics).with_session_id(id).with_session_epoch(epoch);
            recorder.record(version, "goes-on", &next(1, &[]));
            recorder.record(version, "changes-partition-twice", &next(2, &[(FIRST, &[(0, 0), (0, 2)])]));
            recorder.record(version, "goes-on-with-isolation-unknown", &next(3, &[]).with_isolation_level(2));
            recorder.record(version, "goes-on-after-isolation-unknown", &next(4, &[]));
        }
    }
}

/// Clients that may not know a codec are not protected from it any more. What it makes of the records is up to its release.
fn old_fetches(recorder: &mut Recorder) {
    for version in [4, 9, 10] {
        let fetching = Fetching::new(recorder, version);
        recorder.record(version, "zstd-at-end", &fetching.request(&[(ZSTD, &[(0, 2)])]));
        recorder.record(version, "zstd-past-end", &fetching.request(&[(ZSTD, &[(0, 9)])]));
    }
}

fn list_offsets(recorder: &mut Recorder) {
    for version in [1, 4, 8, 11] {
        let part = |partition: i32, timestamp: i64| {
            let part = ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(timestamp);
            if version >= 4 { part.with_current_leader_epoch(-1) } else { part }
        };
        let request = |topics: &[(&str, &[(i32, i64)])]| {
            let topics = topics.iter().map(|(topic, parts)| {
                let parts = parts.iter().map(|(partition, timestamp)| part(*partition, *timestamp)).collect();
                ListOffsetsTopic::default().with_name(name(topic)).with_partitions(parts)
            });
            let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics.collect());
            if version >= 10 { request.with_timeout_ms(TIMEOUT_MS) } else { request }
        };
        recorder.record(version, "partition-twice", &request(&[(FIRST, &[(0, -1), (1, -1), (0, -2)])]));
        recorder.record(version, "topic-twice", &request(&[(FIRST, &[(0, -1)]), (SECOND, &[(0, -1)]), (FIRST, &[(1, -1)])]));
        recorder.record(version, "partition-of-topic-twice", &request(&[(FIRST, &[(0, -1)]), (SECOND, &[(0, -1)]), (FIRST, &[(0, -1)])]));
        recorder.record(version, "unknown-twice", &request(&[(FIRST, &[(7, -1), (7, -1)]), (MISSING, &[(0, -1), (0, -1)])]));
        recorder.record(version, "nonsense-twice", &request(&[(FIRST, &[(0, -9), (0, -9)])]));
        recorder.record(version, "nonsense-of-unknown-partition", &request(&[(FIRST, &[(7, -9)])]));
        recorder.record(version, "nonsense-of-unknown-topic", &request(&[(MISSING, &[(0, -9)])]));
        recorder.record(version, "earliest-local-of-unknown-partition", &request(&[(FIRST, &[(7, -4)])]));
        if version >= 2 {
            recorder.record(version, "isolation-unknown", &request(&[(FIRST, &[(0, -1)])]).with_isolation_level(2));
        }
    }
}

fn epochs(recorder: &mut Recorder) {
    for version in [2, 4] {
        let request = |topics: &[(&str, &[i32])]| {
            let part = |partition: &i32| {
                OffsetForLeaderPartition::default().with_partition(*partition).with_current_leader_epoch(-1).with_leader_epoch(0)
            };
            let topics = topics.iter().map(|(topic, parts)| {
                OffsetForLeaderTopic::default().with_topic(name(topic)).with_partitions(parts.iter().map(part).collect())
            });
            let request = OffsetForLeaderEpochRequest::default().with_topics(topics.collect());
            if version >= 3 { request.with_replica_id(BrokerId(-1)) } else { request }
        };
        recorder.record(version, "partition-twice", &request(&[(FIRST, &[0, 1, 0])]));
        recorder.record(version, "topic-twice", &request(&[(FIRST, &[0]), (SECOND, &[0]), (FIRST, &[0, 1])]));
    }
}

fn producers(recorder: &mut Recorder) {
    let request = |topics: &[(&str, &[i32])]| {
        let topic =
            |(topic, parts): &(&str, &[i32])| ProducersTopic::default().with_name(name(topic)).with_partition_indexes(parts.to_vec());
        DescribeProducersRequest::default().with_topics(topics.iter().map(topic).collect())
    };
    recorder.record(0, "partition-twice", &request(&[(FIRST, &[0, 1, 0])]));
    recorder.record(0, "topic-twice", &request(&[(FIRST, &[0]), (SECOND, &[0]), (FIRST, &[0, 1])]));
}

fn configs(recorder: &mut Recorder) {
    const TOPIC: i8 = 2;
    const BROKER: i8 = 4;
    const CLIENT_METRICS: i8 = 16;
    let of = |kind: i8, name: &'static str, key: &'static str| {
        let resource = DescribeConfigsResource::default().with_resource_type(kind).with_resource_name(text(name));
        resource.with_configuration_keys((!key.is_empty()).then(|| vec![text(key)]))
    };
    for version in [1, 4] {
        let request = |resources| DescribeConfigsRequest::default().with_resources(resources);
        let (topic, broker) = (of(TOPIC, FIRST, "retention.ms"), of(BROKER, "1", "num.partitions"));
        recorder.record(version, "resource-twice", &request(vec![topic.clone(), broker.clone(), topic.clone()]));
        let unlike = vec![topic.clone(), of(TOPIC, FIRST, "cleanup.policy")];
        recorder.record(version, "resource-twice-unlike", &request(unlike));
        recorder.record(version, "kind-unknown-beside-known", &request(vec![topic.clone(), of(99, "x", ""), broker.clone()]));
        let no_keys = topic.clone().with_configuration_keys(Some(Vec::new()));
        recorder.record(version, "no-keys", &request(vec![no_keys]));
        recorder.record(version, "client-metrics", &request(vec![of(CLIENT_METRICS, "nobody", ""), topic.clone()]));
        recorder.record(version, "client-metrics-of-nobody", &request(vec![of(CLIENT_METRICS, "", ""), topic]));
        recorder.record(version, "none", &request(Vec::new()));
    }
}

fn topic_partitions(recorder: &mut Recorder) {
    let request = |topics: &[&str]| {
        let topics = topics.iter().map(|topic| TopicRequest::default().with_name(name(topic))).collect();
        DescribeTopicPartitionsRequest::default().with_topics(topics).with_response_partition_limit(2000)
    };
    let cursor = |topic: &str| Some(Cursor::default().with_topic_name(name(topic)).with_partition_index(0));
    recorder.record(0, "topic-twice", &request(&[FIRST, SECOND, FIRST]));
    recorder.record(0, "cursor-before-topics", &request(&[FIRST, SECOND]).with_cursor(cursor("golden-a")));
    recorder.record(0, "cursor-between-topics", &request(&[FIRST, ZSTD]).with_cursor(cursor(SECOND)));
    recorder.record(0, "cursor-behind-topics", &request(&[FIRST, SECOND]).with_cursor(cursor(ZSTD)));
    recorder.record(0, "cursor-at-unknown-topic", &request(&[FIRST, MISSING]).with_cursor(cursor(MISSING)));
    recorder.record(0, "cursor-at-topic", &request(&[FIRST, SECOND]).with_cursor(cursor(SECOND)));
    recorder.record(0, "cursor-among-all", &request(&[]).with_cursor(cursor("golden-g")));
}
