//! Offsets of groups: committed by members and by clients that only commit, read back, deleted.

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_protocol::messages::delete_topics_request::DeleteTopicsRequest;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::group_members::{CHANGED, PLAIN, Told};
use super::{STRANGER, TIMEOUT_MS, text};
use crate::support::groups::{Commit, FetchById, commit_by_id, fetch_by_id, id};
use crate::support::topics::name;
use crate::wire::golden::capture::{Recorder, SOON};

const TOPIC: &str = "golden-committed";
const OTHER: &str = "golden-committed-too";
const MISSING: &str = "golden-missing";
/// Of JoinGroup and SyncGroup, for members that commit: joined at once.
const JOIN: i16 = 3;

pub fn run(recorder: &mut Recorder) {
    recorder.wait_for_coordinator();
    create(recorder, TOPIC);
    create(recorder, OTHER);
    for version in 1..=10 {
        let mut offsets = Offsets { recorder: &mut *recorder, version, group: format!("simple-v{version}") };
        simple(&mut offsets);
        if version >= 2 {
            offsets.group = format!("members-v{version}");
            members(&mut offsets);
        }
        fetches(&mut offsets);
    }
    deletions(recorder);
    topic_gone(recorder);
}

fn create(recorder: &mut Recorder, topic: &str) {
    let wanted = CreatableTopic::default().with_name(name(topic)).with_num_partitions(3).with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(TIMEOUT_MS);
    recorder.create(7, "new", &request, &[(topic, 3)]);
}

/// Who commits: a member of a generation, or nobody.
#[derive(Clone, Copy)]
struct As<'a> {
    generation: i32,
    member: &'a str,
    instance: Option<&'static str>,
}

const NOBODY: As = As { generation: -1, member: "", instance: None };

/// Partitions of topics by name, or all of a group's.
type Asked<'a> = Option<&'a [(&'a str, &'a [i32])]>;
type ById<'a> = (Uuid, &'a [i32]);

/// The version of OffsetFetch, and of OffsetCommit where it has one, in which a group's offsets are told.
struct Offsets<'a, 'b> {
    recorder: &'a mut Recorder<'b>,
    version: i16,
    group: String,
}

impl Offsets<'_, '_> {
    fn topic_id(&self, topic: &str) -> Uuid {
        if topic == MISSING { STRANGER } else { self.recorder.topic_id(topic) }
    }

    fn commit(&mut self, case: &str, who: As, topics: &[(&str, &[Commit])]) {
        // The first version of OffsetCommit is OffsetFetch's second.
        let version = self.version.max(2);
        if version >= 10 {
            let topics: Vec<(Uuid, &[Commit])> = topics.iter().map(|(topic, partitions)| (self.topic_id(topic), *partitions)).collect();
            let body = commit_by_id(&self.group, who.generation, who.member, who.instance, &topics);
            return self.recorder.record_body::<OffsetCommitRequest>(version, case, &body);
        }
        self.recorder.record(version, case, &commit_request(version, &self.group, who, topics));
    }

    fn fetch(&mut self, case: &str, topics: Asked) {
        let group = self.group.clone();
        self.fetch_many(case, &[(&group, topics)]);
    }

    /// Up to version 7 one group after the other.
    fn fetch_many(&mut self, case: &str, groups: &[(&str, Asked)]) {
        if self.version < 8 {
            for (group, topics) in groups {
                let topics = topics.map(|topics| {
                    topics
                        .iter()
                        .map(|(topic, partitions)| {
                            OffsetFetchRequestTopic::default().with_name(name(topic)).with_partition_indexes(partitions.to_vec())
                        })
                        .collect()
                });
                let request = OffsetFetchRequest::default().with_group_id(id(group)).with_topics(topics);
                self.recorder.record(self.version, case, &request);
            }
            return;
        }
        if self.version < 10 {
            let groups = groups.iter().map(|(group, topics)| fetched(group, *topics)).collect();
            return self.recorder.record(self.version, case, &OffsetFetchRequest::default().with_groups(groups));
        }
        let by_id: Vec<Option<Vec<ById>>> = groups
            .iter()
            .map(|(_, topics)| topics.map(|topics| topics.iter().map(|(topic, partitions)| (self.topic_id(topic), *partitions)).collect()))
            .collect();
        let groups: Vec<FetchById> = groups
            .iter()
            .zip(&by_id)
            .map(|((group, _), topics)| FetchById { group, member: None, epoch: -1, topics: topics.as_deref() })
            .collect();
        self.recorder.record_body::<OffsetFetchRequest>(self.version, case, &fetch_by_id(&groups, false));
    }
}

fn fetched(group: &str, topics: Asked) -> OffsetFetchRequestGroup {
    let topics = topics.map(|topics| {
        let topic = |(topic, partitions): &(&str, &[i32])| {
            OffsetFetchRequestTopics::default().with_name(name(topic)).with_partition_indexes(partitions.to_vec())
        };
        topics.iter().map(topic).collect()
    });
    OffsetFetchRequestGroup::default().with_group_id(id(group)).with_topics(topics)
}

fn commit_request(version: i16, group: &str, who: As, topics: &[(&str, &[Commit])]) -> OffsetCommitRequest {
    let partition = |(index, offset, epoch, metadata): &Commit| {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(*index)
            .with_committed_offset(*offset)
            .with_committed_metadata(metadata.map(|metadata| StrBytes::from_string(metadata.to_owned())));
        if version >= 6 { partition.with_committed_leader_epoch(*epoch) } else { partition }
    };
    let topic = |(topic, partitions): &(&str, &[Commit])| {
        OffsetCommitRequestTopic::default().with_name(name(topic)).with_partitions(partitions.iter().map(partition).collect())
    };
    OffsetCommitRequest::default()
        .with_group_id(id(group))
        .with_generation_id_or_member_epoch(who.generation)
        .with_member_id(StrBytes::from_string(who.member.to_owned()))
        .with_group_instance_id(who.instance.map(text))
        .with_topics(topics.iter().map(topic).collect())
}

/// A client that only commits: its group has no members.
fn simple(offsets: &mut Offsets) {
    offsets.fetch("nothing-committed", Some(&[(TOPIC, &[0])]));
    offsets.commit("commits", NOBODY, &[(TOPIC, &[(0, 10, -1, Some("")), (1, 11, 3, Some("sixteen letters!"))])]);
    offsets.commit("two-topics", NOBODY, &[(TOPIC, &[(2, 5, 0, None)]), (OTHER, &[(0, 7, -1, Some("é"))])]);
    offsets.fetch("what-was-committed", Some(&[(TOPIC, &[0, 1, 2]), (OTHER, &[0, 1])]));
    offsets.commit("goes-back", NOBODY, &[(TOPIC, &[(0, 3, -1, None)])]);
    offsets.commit("below-zero", NOBODY, &[(TOPIC, &[(1, -1, -1, None)])]);
    offsets.commit("far-below-zero", NOBODY, &[(OTHER, &[(1, -5, -7, None)])]);
    offsets.commit("same-partition-twice", NOBODY, &[(TOPIC, &[(2, 21, -1, None), (2, 22, -1, None)])]);
    offsets.commit("same-topic-twice", NOBODY, &[(OTHER, &[(0, 31, -1, None)]), (OTHER, &[(0, 32, -1, None)])]);
    offsets.commit("text-too-long", NOBODY, &[(TOPIC, &[(0, 99, -1, Some("seventeen letters")), (1, 12, -1, Some("short"))])]);
    offsets.commit("unknown-partition", NOBODY, &[(TOPIC, &[(7, 1, -1, None), (-1, 1, -1, None), (1, 13, -1, None)])]);
    offsets.commit("unknown-topic", NOBODY, &[(MISSING, &[(0, 1, -1, None)]), (TOPIC, &[(1, 14, -1, None)])]);
    offsets.commit("only-unknown", NOBODY, &[(MISSING, &[(0, 1, -1, None)])]);
    offsets.commit("no-topics", NOBODY, &[]);
    offsets.commit("no-partitions", NOBODY, &[(TOPIC, &[])]);
    let good: &[(&str, &[Commit])] = &[(TOPIC, &[(0, 50, -1, None)])];
    let as_member = As { generation: 1, member: "stranger", instance: None };
    offsets.commit("as-a-member-of-none", as_member, good);
    offsets.commit("of-a-generation", As { generation: 0, ..NOBODY }, good);
    offsets.commit("as-a-member-without-generation", As { generation: -1, ..as_member }, good);
    if offsets.version >= 7 {
        offsets.commit("as-an-instance", As { instance: Some("instance"), ..NOBODY }, good);
    }
    let group = std::mem::replace(&mut offsets.group, "made-by-a-generation".to_owned());
    offsets.commit("no-group-of-a-generation", As { generation: 5, ..NOBODY }, good);
    offsets.commit("no-group-of-a-member", as_member, good);
    offsets.group = String::new();
    offsets.commit("no-group-id", NOBODY, good);
    offsets.fetch("no-group-id", Some(&[(TOPIC, &[0])]));
    offsets.group = group;
    if (2..=4).contains(&offsets.version) {
        let kept = commit_request(offsets.version, &offsets.group, NOBODY, good).with_retention_time_ms(3_600_000);
        offsets.recorder.record(offsets.version, "kept-for-an-hour", &kept);
    }
}

/// A member commits in each state of its group.
fn members(offsets: &mut Offsets) {
    let good: &[(&str, &[Commit])] = &[(TOPIC, &[(0, 60, -1, None)])];
    let mut told = Told { recorder: &mut *offsets.recorder, version: JOIN, group: offsets.group.clone() };
    let first = told.first_member(&[("range", PLAIN)]);
    let as_first = As { generation: 1, member: &first, instance: None };
    offsets.commit("before-sync", as_first, good);
    let mut told = Told { recorder: &mut *offsets.recorder, version: JOIN, group: offsets.group.clone() };
    told.sync("sync", &told.sync_request(&first, 1, &[(&first, b"all of it")]));
    offsets.commit("as-a-member", as_first, good);
    offsets.commit("older", As { generation: 0, ..as_first }, good);
    offsets.commit("later", As { generation: 2, ..as_first }, good);
    offsets.commit("without-generation", As { generation: -1, ..as_first }, good);
    offsets.commit("stranger", As { member: "stranger", ..as_first }, good);
    offsets.commit("nobody", NOBODY, good);
    offsets.commit("member-unknown-topic", as_first, &[(MISSING, &[(0, 1, -1, None)])]);
    offsets.commit("member-text-too-long", as_first, &[(TOPIC, &[(1, 1, -1, Some("seventeen letters"))])]);
    if offsets.version >= 7 {
        offsets.commit("unknown-instance", As { instance: Some("instance"), ..as_first }, good);
    }
    let mut told = Told { recorder: &mut *offsets.recorder, version: JOIN, group: offsets.group.clone() };
    let (joining, _) = told.new_member(1, &[("range", CHANGED)]);
    offsets.commit("in-rebalance", as_first, &[(TOPIC, &[(0, 61, -1, None)])]);
    offsets.commit("older-in-rebalance", As { generation: 0, ..as_first }, good);
    let mut told = Told { recorder: &mut *offsets.recorder, version: JOIN, group: offsets.group.clone() };
    told.leave("first-leaves", &told.group.clone(), &first);
    told.recorder.take_answer(joining);
    let second = told.recorder.member_of(joining);
    told.leave("second-leaves", &told.group.clone(), &second);
    offsets.commit("after-it-left", as_first, good);
    offsets.commit("nobody-when-empty", NOBODY, &[(TOPIC, &[(2, 62, -1, None)])]);
}

fn fetches(offsets: &mut Offsets) {
    let simple = format!("simple-v{}", offsets.version);
    offsets.group = simple.clone();
    offsets.fetch("some", Some(&[(TOPIC, &[1, 0]), (OTHER, &[0, 1, 2])]));
    offsets.fetch("unknown", Some(&[(TOPIC, &[0, 7, -1]), (MISSING, &[0])]));
    offsets.fetch("no-topics", Some(&[]));
    offsets.fetch("no-partitions", Some(&[(TOPIC, &[])]));
    offsets.fetch("same-partition-twice", Some(&[(TOPIC, &[0, 0]), (TOPIC, &[0])]));
    let members = format!("members-v{}", offsets.version);
    if offsets.version >= 2 {
        offsets.fetch_many("all", &[(&simple, None), (&members, None), ("golden-no-group", None), ("", None)]);
    }
    let one: Asked = Some(&[(TOPIC, &[0, 2])]);
    offsets.fetch_many("several", &[(&members, one), ("golden-no-group", one), (&simple, one), (&members, one)]);
    if offsets.version == 7 {
        let topic = OffsetFetchRequestTopic::default().with_name(name(TOPIC)).with_partition_indexes(vec![0, 1]);
        let request = OffsetFetchRequest::default().with_group_id(id(&simple)).with_topics(Some(vec![topic])).with_require_stable(true);
        offsets.recorder.record(7, "stable", &request);
    }
    if offsets.version == 8 || offsets.version == 9 {
        let request = OffsetFetchRequest::default().with_groups(vec![fetched(&simple, one)]).with_require_stable(true);
        offsets.recorder.record(offsets.version, "stable", &request);
        offsets.recorder.record(offsets.version, "no-groups", &OffsetFetchRequest::default());
    }
    if offsets.version == 9 {
        for (case, member, epoch) in [("member", Some("stranger"), -1), ("member-and-epoch", Some("stranger"), 3), ("epoch", None, 3)] {
            let group = fetched(&simple, one).with_member_id(member.map(text)).with_member_epoch(epoch);
            offsets.recorder.record(9, &format!("of-a-{case}"), &OffsetFetchRequest::default().with_groups(vec![group]));
        }
    }
    if offsets.version == 10 {
        let topics: &[(Uuid, &[i32])] = &[(offsets.topic_id(TOPIC), &[0, 2])];
        let of = |member, epoch| FetchById { group: &simple, member, epoch, topics: Some(topics) };
        offsets.recorder.record_body::<OffsetFetchRequest>(10, "stable", &fetch_by_id(&[of(None, -1)], true));
        offsets.recorder.record_body::<OffsetFetchRequest>(10, "no-groups", &fetch_by_id(&[], false));
        offsets.recorder.record_body::<OffsetFetchRequest>(10, "of-a-member-and-epoch", &fetch_by_id(&[of(Some("stranger"), 3)], false));
        let nil: &[(Uuid, &[i32])] = &[(Uuid::nil(), &[0])];
        let unnamed = FetchById { group: &simple, member: None, epoch: -1, topics: Some(nil) };
        offsets.recorder.record_body::<OffsetFetchRequest>(10, "nil-topic", &fetch_by_id(&[unnamed], false));
        let commit = commit_by_id(&simple, -1, "", None, &[(Uuid::nil(), &[(0, 1, -1, None)])]);
        offsets.recorder.record_body::<OffsetCommitRequest>(10, "nil-topic", &commit);
    }
}

/// What a consumer subscribes to, as its assignors write it: version 0, topics, no bytes of the user's.
pub fn subscription(topics: &[&str]) -> Bytes {
    let mut bytes = vec![0, 0];
    bytes.extend((topics.len() as i32).to_be_bytes());
    for topic in topics {
        bytes.extend((topic.len() as i16).to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend((-1i32).to_be_bytes());
    bytes.into()
}

fn deletion(group: &str, topics: &[(&str, &[i32])]) -> OffsetDeleteRequest {
    let partition = |index: &i32| OffsetDeleteRequestPartition::default().with_partition_index(*index);
    let topic = |(topic, partitions): &(&str, &[i32])| {
        OffsetDeleteRequestTopic::default().with_name(name(topic)).with_partitions(partitions.iter().map(partition).collect())
    };
    OffsetDeleteRequest::default().with_group_id(id(group)).with_topics(topics.iter().map(topic).collect())
}

fn deletions(recorder: &mut Recorder) {
    let one: &[(&str, &[i32])] = &[(TOPIC, &[0])];
    recorder.record(0, "no-group", &deletion("golden-no-group", one));
    recorder.record(0, "no-group-id", &deletion("", one));
    let simple = "simple-v6";
    recorder.record(0, "no-topics", &deletion(simple, &[]));
    recorder.record(0, "no-partitions", &deletion(simple, &[(TOPIC, &[])]));
    recorder.record(0, "unknown", &deletion(simple, &[(MISSING, &[0]), (TOPIC, &[7, -1])]));
    recorder.record(0, "not-committed", &deletion(simple, &[(OTHER, &[2])]));
    recorder.record(0, "committed", &deletion(simple, &[(TOPIC, &[0, 2]), (OTHER, &[0])]));
    recorder.record(0, "deleted-already", &deletion(simple, one));
    recorder.record(0, "same-partition-twice", &deletion(simple, &[(TOPIC, &[1, 1])]));
    let mut offsets = Offsets { recorder: &mut *recorder, version: 7, group: simple.to_owned() };
    offsets.fetch("after-deletion", None);
    deletions_beside_members(recorder);
}

/// A consumer's offsets of what it does not subscribe to may be deleted while it lives.
fn deletions_beside_members(recorder: &mut Recorder) {
    let mut told = Told { recorder: &mut *recorder, version: JOIN, group: "subscribed".to_owned() };
    let mut request = told.join_request(&text(""), &[("range", b"")]);
    request.protocols[0].metadata = subscription(&[TOPIC]);
    told.recorder.record(JOIN, "subscribes", &request);
    let member = told.recorder.member();
    told.sync("sync", &told.sync_request(&member, 1, &[(&member, b"all of it")]));
    let both: &[(&str, &[Commit])] = &[(TOPIC, &[(0, 1, -1, None)]), (OTHER, &[(0, 2, -1, None)])];
    let commit = commit_request(7, "subscribed", As { generation: 1, member: &member, instance: None }, both);
    recorder.record(7, "subscriber-commits", &commit);
    recorder.record(0, "subscribed", &deletion("subscribed", &[(TOPIC, &[0]), (OTHER, &[0])]));
    let mut offsets = Offsets { recorder: &mut *recorder, version: 7, group: "subscribed".to_owned() };
    offsets.fetch("after-deletion-beside-a-member", None);
    let mut told = Told { recorder: &mut *recorder, version: JOIN, group: "workers".to_owned() };
    let request = told.join_request(&text(""), &[("default", b"opaque")]).with_protocol_type(text("connect"));
    told.recorder.record(JOIN, "works", &request);
    let worker = told.recorder.member();
    told.sync("worker-sync", &told.sync_request(&worker, 1, &[]));
    recorder.record(0, "of-workers", &deletion("workers", &[(TOPIC, &[0])]));
    let mut told = Told { recorder: &mut *recorder, version: JOIN, group: "opaque".to_owned() };
    let member = told.first_member(&[("range", b"x")]);
    told.sync("opaque-sync", &told.sync_request(&member, 1, &[]));
    recorder.record(0, "of-a-subscription-that-is-none", &deletion("opaque", &[(TOPIC, &[0])]));
}

/// Offsets of a topic go with it.
fn topic_gone(recorder: &mut Recorder) {
    create(recorder, "golden-to-go");
    let mut offsets = Offsets { recorder: &mut *recorder, version: 7, group: "left-behind".to_owned() };
    offsets.commit("to-go", NOBODY, &[("golden-to-go", &[(0, 5, -1, None)]), (TOPIC, &[(0, 6, -1, None)])]);
    let deletion = DeleteTopicsRequest::default().with_topic_names(vec![name("golden-to-go")]).with_timeout_ms(TIMEOUT_MS);
    offsets.recorder.record(5, "goes", &deletion);
    offsets.recorder.wait_until_gone("golden-to-go");
    offsets.recorder.wait_for_changes();
    offsets.fetch(&format!("{SOON}gone"), None);
    offsets.fetch("gone-by-name", Some(&[("golden-to-go", &[0])]));
    create(offsets.recorder, "golden-to-go");
    offsets.fetch("come-back", Some(&[("golden-to-go", &[0])]));
}
