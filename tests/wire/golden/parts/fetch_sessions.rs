//! Fetch sessions (KIP-227) from version 7 on: beginning, going on, changing and ending one; what is told and what is left out; topics that
//! go away under it.

use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use kafka_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};
use uuid::Uuid;

use super::{STRANGER, TIMEOUT_MS, batch, text};
use crate::support::topics::{PRODUCE, name, produce_request};
use crate::wire::golden::capture::Recorder;

const TOPIC: &str = "golden-sessions";

pub fn run(recorder: &mut Recorder) {
    create(recorder, "sessions", TOPIC, 3);
    for index in 0..3 {
        recorder.record(PRODUCE, "for-sessions", &produce_request(TOPIC, -1, &[(0, batch(index))]));
    }
    for version in 7..=18 {
        let asking = Asking { version, topic: TOPIC, id: recorder.topic_id(TOPIC) };
        told_once(recorder, &asking);
        ends(recorder, &asking);
        turns(recorder, &asking);
        if version >= 12 {
            histories(recorder, &asking);
        }
    }
    for version in [7, 12, 13, 18] {
        topic_gone(recorder, version);
    }
}

fn create(recorder: &mut Recorder, case: &str, topic: &str, partitions: i32) {
    let forever = CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("-1")));
    let wanted = CreatableTopic::default().with_name(name(topic)).with_num_partitions(partitions).with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![wanted.with_configs(vec![forever])]).with_timeout_ms(TIMEOUT_MS);
    recorder.create(7, case, &request, &[(topic, partitions)]);
}

/// Makes the requests of one version for one topic.
struct Asking {
    version: i16,
    topic: &'static str,
    id: Uuid,
}

impl Asking {
    fn request(&self, session: i32, epoch: i32, parts: &[(i32, i64)]) -> FetchRequest {
        let parts: Vec<FetchPartition> = parts.iter().map(|(partition, offset)| self.part(*partition, *offset)).collect();
        let mut request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_wait_ms(0)
            .with_min_bytes(0)
            .with_max_bytes(1 << 20)
            .with_session_id(session)
            .with_session_epoch(epoch);
        if !parts.is_empty() {
            request.topics = vec![self.named(parts)];
        }
        request
    }

    fn part(&self, partition: i32, offset: i64) -> FetchPartition {
        let part = FetchPartition::default().with_partition(partition).with_fetch_offset(offset).with_partition_max_bytes(1 << 20);
        if self.version >= 9 { part.with_current_leader_epoch(-1) } else { part }
    }

    fn named(&self, parts: Vec<FetchPartition>) -> FetchTopic {
        let topic = FetchTopic::default().with_partitions(parts);
        if self.version >= 13 { topic.with_topic_id(self.id) } else { topic.with_topic(name(self.topic)) }
    }

    fn forgotten(&self, partitions: &[i32]) -> Vec<ForgottenTopic> {
        let topic = ForgottenTopic::default().with_partitions(partitions.to_vec());
        vec![if self.version >= 13 { topic.with_topic_id(self.id) } else { topic.with_topic(name(self.topic)) }]
    }
}

fn told_once(recorder: &mut Recorder, asking: &Asking) {
    let version = asking.version;
    recorder.record(version, "begin", &asking.request(0, 0, &[(0, 0), (1, 0), (2, 0)]));
    let id = recorder.session();
    let end = i64::from(version - 7) * 2;
    recorder.record(version, "records-again", &asking.request(id, 1, &[(1, end)]));
    recorder.record(version, "at-end", &asking.request(id, 2, &[(0, 6)]));
    recorder.record(version, "idle", &asking.request(id, 3, &[]));
    recorder.record(version, "wrong-epoch", &asking.request(id, 9, &[]));
    recorder.record(version, "negative-epoch", &asking.request(id, -2, &[]));
    recorder.record(version, "other-session", &asking.request(77, 4, &[]));
    recorder.record(version, "no-session", &asking.request(0, 4, &[(0, 6)]));
    recorder.record(version, "errors", &asking.request(id, 4, &[(7, 0), (2, 5)]));
    recorder.record(version, "errors-again", &asking.request(id, 5, &[]));
    recorder.record(version, "error-over", &asking.request(id, 6, &[(2, 0)]).with_forgotten_topics_data(asking.forgotten(&[7])));
    recorder.record(version, "idle-after-errors", &asking.request(id, 7, &[]));
    recorder.record(PRODUCE, "for-news", &produce_request(asking.topic, -1, &[(1, batch(i64::from(version)))]));
    recorder.record(version, "news", &asking.request(id, 8, &[]));
    recorder.record(version, "news-read", &asking.request(id, 9, &[(1, end + 2)]));
    let other = Asking { version: if version >= 13 { 12 } else { 13 }, ..*asking };
    recorder.record(other.version, "named-otherwise", &other.request(id, 10, &[(0, 0)]));
    recorder.record(version, "forgets-what-is-not-there", &{
        asking.request(id, 10, &[(0, 0)]).with_forgotten_topics_data(asking.forgotten(&[0, 9]))
    });
    recorder.record(version, "forgets-all", &asking.request(id, 11, &[]).with_forgotten_topics_data(asking.forgotten(&[1, 2])));
    recorder.record(version, "gone", &asking.request(id, 12, &[]));
}

fn ends(recorder: &mut Recorder, asking: &Asking) {
    let version = asking.version;
    recorder.record(version, "begin-to-end", &asking.request(0, 0, &[(0, 4)]));
    let id = recorder.session();
    recorder.record(version, "ends", &asking.request(id, -1, &[(0, 6), (2, 0)]));
    recorder.record(version, "after-end", &asking.request(id, 1, &[]));
    recorder.record(version, "ends-again", &asking.request(id, -1, &[(0, 6)]));
    recorder.record(version, "begin-to-replace", &asking.request(0, 0, &[(0, 6)]));
    let id = recorder.session();
    recorder.record(version, "replaces", &asking.request(id, 0, &[(0, 6), (2, 0)]));
    let next = recorder.session();
    recorder.record(version, "replaced", &asking.request(id, 1, &[]));
    recorder.record(version, "replacement", &asking.request(next, 1, &[(2, 0)]));
    recorder.record(version, "begin-with-nothing", &asking.request(0, 0, &[]));
    let id = recorder.session();
    recorder.record(version, "still-nothing", &asking.request(id, 1, &[]));
    recorder.record(version, "nothing-is-over", &asking.request(id, 2, &[]));
    recorder.record(version, "begin-with-nothing", &asking.request(0, 0, &[]));
    let id = recorder.session();
    recorder.record(version, "from-nothing", &asking.request(id, 1, &[(2, 0)]));
    let unknown = Asking { topic: "golden-missing", id: STRANGER, version };
    recorder.record(version, "begin-unknown", &unknown.request(0, 0, &[(0, 0)]));
    let id = recorder.session();
    recorder.record(version, "unknown-again", &unknown.request(id, 1, &[]));
    recorder.record(version, "known-and-unknown", &asking.request(id, 2, &[(0, 6)]));
}

/// With room for one batch in an answer, each partition has its turn.
fn turns(recorder: &mut Recorder, asking: &Asking) {
    recorder.record(asking.version, "begin-turns", &asking.request(0, 0, &[(0, 6), (1, 0)]));
    let id = recorder.session();
    recorder.record(asking.version, "turn", &asking.request(id, 1, &[(0, 0)]).with_max_bytes(1));
    for epoch in 2..=4 {
        recorder.record(asking.version, "turn", &asking.request(id, epoch, &[]).with_max_bytes(1));
    }
}

/// Readers that say which epoch their last record had.
fn histories(recorder: &mut Recorder, asking: &Asking) {
    let request = |session: i32, epoch: i32, parts: &[(i32, i64, i32)]| {
        let parts = parts.iter().map(|(partition, offset, last)| asking.part(*partition, *offset).with_last_fetched_epoch(*last)).collect();
        let mut request = asking.request(session, epoch, &[]);
        request.topics = vec![asking.named(parts)];
        request
    };
    let version = asking.version;
    recorder.record(version, "begin-histories", &request(0, 0, &[(0, 6, 0), (2, 0, 0)]));
    let id = recorder.session();
    recorder.record(version, "same-history", &request(id, 1, &[(0, 6, 0)]));
    recorder.record(version, "parted", &request(id, 2, &[(0, 9, 0)]));
    recorder.record(version, "parted-again", &asking.request(id, 3, &[]));
    recorder.record(version, "unknown-history", &request(id, 4, &[(0, 6, 5)]));
    recorder.record(version, "parted-before-start", &request(id, 5, &[(0, -3, 0)]));
    recorder.record(version, "joined", &request(id, 6, &[(0, 6, 0)]));
    recorder.record(version, "joined-already", &asking.request(id, 7, &[]));
}

fn topic_gone(recorder: &mut Recorder, version: i16) {
    let topic: &'static str = match version {
        7 => "golden-gone-v7",
        12 => "golden-gone-v12",
        13 => "golden-gone-v13",
        _ => "golden-gone-v18",
    };
    create(recorder, "to-go", topic, 1);
    let asking = Asking { version, topic, id: recorder.topic_id(topic) };
    recorder.record(PRODUCE, "to-go", &produce_request(topic, -1, &[(0, batch(0))]));
    recorder.record(version, "begin-to-go", &asking.request(0, 0, &[(0, 2)]));
    let id = recorder.session();
    recorder.record(version, "before-it-goes", &asking.request(id, 1, &[]));
    let deletion = DeleteTopicsRequest::default().with_topic_names(vec![name(topic)]).with_timeout_ms(TIMEOUT_MS);
    recorder.record(5, "goes", &deletion);
    recorder.wait_until_gone(topic);
    recorder.record(version, "gone-topic", &asking.request(id, 2, &[]));
    recorder.record(version, "gone-topic-anew", &asking.request(0, 0, &[(0, 2)]));
    let late = recorder.session();
    recorder.record(version, "gone-topic-again", &asking.request(late, 1, &[]));
    create(recorder, "comes-back", topic, 1);
    recorder.record(version, "other-topic-of-that-name", &asking.request(id, 3, &[]));
    recorder.record(version, "other-topic-again", &asking.request(id, 4, &[(0, 0)]));
    recorder.record(version, "late-session", &asking.request(late, 2, &[]));
}
