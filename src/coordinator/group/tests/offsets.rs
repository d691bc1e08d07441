//! Offsets: committed, fetched, deleted.

use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
use kafka_protocol::messages::{OffsetDeleteRequest, TopicName as WireTopicName};

use super::*;

pub(super) fn commit_request(member: &str, generation: i32, topic: &str, partition: i32, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(partition)
        .with_committed_offset(offset)
        .with_committed_leader_epoch(3)
        .with_committed_metadata(Some(text("here")));
    let topic = OffsetCommitRequestTopic::default().with_name(WireTopicName(text(topic))).with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group_id("g"))
        .with_member_id(text(member))
        .with_generation_id_or_member_epoch(generation)
        .with_retention_time_ms(-1)
        .with_topics(vec![topic])
}

impl Stage {
    pub fn commit_as(&mut self, version: i16, request: OffsetCommitRequest) -> i16 {
        let Answer::Commit(answer) = self.ask(version, Request::Commit(request)) else { panic!("not in kind") };
        answer.topics[0].partitions[0].error_code
    }

    /// By a consumer without a group.
    pub fn commit(&mut self, topic: &str, partition: i32, offset: i64) {
        assert_eq!(self.commit_as(8, commit_request("", -1, topic, partition, offset)), 0);
    }

    /// Error, offset, leader epoch and metadata.
    pub fn fetched(&mut self, topic: &str, partition: i32, stable: bool) -> (i16, i64, i32, String) {
        let topic = OffsetFetchRequestTopics::default().with_name(WireTopicName(text(topic))).with_partition_indexes(vec![partition]);
        let group = OffsetFetchRequestGroup::default().with_group_id(group_id("g")).with_topics(Some(vec![topic]));
        let request = OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(stable);
        let Answer::FetchOffsets(answer) = self.ask(8, Request::FetchOffsets(request)) else { panic!("not in kind") };
        assert_eq!(answer.groups[0].error_code, 0);
        let answer = &answer.groups[0].topics[0].partitions[0];
        let metadata = answer.metadata.as_ref().unwrap().to_string();
        (answer.error_code, answer.committed_offset, answer.committed_leader_epoch, metadata)
    }

    pub fn offset(&mut self, topic: &str, partition: i32) -> i64 {
        self.fetched(topic, partition, false).1
    }

    pub fn fetched_all(&mut self) -> Vec<(String, i32, i64)> {
        let group = OffsetFetchRequestGroup::default().with_group_id(group_id("g")).with_topics(None);
        let request = OffsetFetchRequest::default().with_groups(vec![group]);
        let Answer::FetchOffsets(answer) = self.ask(8, Request::FetchOffsets(request)) else { panic!("not in kind") };
        let topics = answer.groups[0].topics.iter();
        topics
            .flat_map(|topic| topic.partitions.iter().map(|at| (topic.name.to_string(), at.partition_index, at.committed_offset)))
            .collect()
    }

    fn deleted(&mut self, group: &str, topic: &str, partition: i32) -> (i16, Vec<i16>) {
        let partition = OffsetDeleteRequestPartition::default().with_partition_index(partition);
        let topic = OffsetDeleteRequestTopic::default().with_name(WireTopicName(text(topic))).with_partitions(vec![partition]);
        let request = OffsetDeleteRequest::default().with_group_id(group_id(group)).with_topics(vec![topic]);
        let Answer::DeleteOffsets(answer) = self.ask(0, Request::DeleteOffsets(request)) else { panic!("not in kind") };
        let errors = answer.topics.iter().flat_map(|topic| topic.partitions.iter().map(|partition| partition.error_code));
        (answer.error_code, errors.collect())
    }
}

const NOTHING: (i16, i64, i32, &str) = (0, -1, -1, "");

fn nothing() -> (i16, i64, i32, String) {
    let (error, offset, epoch, metadata) = NOTHING;
    (error, offset, epoch, metadata.to_owned())
}

#[test]
fn a_consumer_without_a_group_commits_and_makes_one() {
    let mut stage = Stage::new();
    assert_eq!(stage.fetched("t", 0, false), nothing());
    stage.commit("t", 0, 42);
    assert_eq!(stage.fetched("t", 0, false), (0, 42, 3, "here".to_owned()));
    assert_eq!(stage.fetched("t", 1, false), nothing());
    assert_eq!(stage.state("g"), "Empty");
    // In Kafka's newest form, with the id that the topic has.
    assert_eq!((first_word(&stage.log[0].key), stage.log[0].value.as_deref().map(first_word)), (1, Some(4)));
    let Ok(Decoded::Offset { key, value: Some(decoded) }) = record::decode(&stage.log[0].key, stage.log[0].value.as_deref()) else {
        panic!("not an offset")
    };
    assert_eq!(decoded.topic_id, topic_id(1));
    assert_eq!((&*key.group, &*key.topic, key.partition), ("g", "t", 0));
    assert_eq!(decoded.committed_at, stage.wall);
    stage.reload();
    assert_eq!(stage.fetched("t", 0, false), (0, 42, 3, "here".to_owned()));
}

#[test]
fn an_empty_group_id_is_good_enough_for_commits() {
    let mut stage = Stage::new();
    let request = commit_request("", -1, "t", 0, 5).with_group_id(group_id(""));
    assert_eq!(stage.commit_as(8, request), 0);
    let group = OffsetFetchRequestGroup::default().with_group_id(group_id("")).with_topics(None);
    let Answer::FetchOffsets(answer) = stage.ask(8, Request::FetchOffsets(OffsetFetchRequest::default().with_groups(vec![group]))) else {
        panic!("not in kind")
    };
    assert_eq!(answer.groups[0].topics[0].partitions[0].committed_offset, 5);
}

#[test]
fn a_commit_to_a_group_that_is_not_there_is_refused_by_version() {
    let mut stage = Stage::new();
    assert_eq!(stage.commit_as(8, commit_request("m", 1, "t", 0, 5)), ErrorCode::IllegalGeneration.code());
    assert_eq!(stage.commit_as(9, commit_request("m", 1, "t", 0, 5)), ErrorCode::GroupIdNotFound.code());
    let endless = commit_request("", -1, "t", 0, 5).with_group_id(group_id(&"x".repeat(40_000)));
    assert_eq!(stage.commit_as(9, endless), ErrorCode::InvalidRequest.code());
    assert_eq!(stage.log, []);
    assert_eq!(stage.state("g"), "Dead");
}

#[test]
fn members_commit_in_their_generation_and_nobody_else_does() {
    let mut stage = Stage::new();
    let (ids, generation) = stage.stable(2);
    let unknown = ErrorCode::UnknownMemberId.code();
    let illegal = ErrorCode::IllegalGeneration.code();
    assert_eq!(stage.commit_as(8, commit_request(&ids[0], generation, "t", 0, 1)), 0);
    assert_eq!(stage.commit_as(8, commit_request(&ids[0], generation - 1, "t", 0, 2)), illegal);
    assert_eq!(stage.commit_as(8, commit_request(&ids[0], -1, "t", 0, 2)), illegal);
    assert_eq!(stage.commit_as(8, commit_request("stranger", generation, "t", 0, 2)), unknown);
    assert_eq!(stage.commit_as(8, commit_request("", -1, "t", 0, 2)), unknown, "a group with members has no other committers");
    let named = commit_request(&ids[0], generation, "t", 0, 2).with_group_instance_id(Some(text("i")));
    assert_eq!(stage.commit_as(8, named), unknown);
    assert_eq!(stage.offset("t", 0), 1);

    // While others join, the former generation may still say how far it got.
    let leader = stage.join(&Join::new(&ids[0]));
    assert_eq!(stage.commit_as(8, commit_request(&ids[1], generation, "t", 0, 3)), 0);
    let other = stage.join(&Join::new(&ids[1]));
    assert_eq!(stage.joined(leader).error_code + stage.joined(other).error_code, 0);
    let rebalancing = ErrorCode::RebalanceInProgress.code();
    assert_eq!(stage.commit_as(8, commit_request(&ids[1], generation + 1, "t", 0, 4)), rebalancing);
    assert_eq!(stage.commit_as(8, commit_request(&ids[1], generation, "t", 0, 4)), illegal);
    assert_eq!(stage.offset("t", 0), 3);

    // With all gone, an administrator may; a former member may not.
    stage.leave(&[(&ids[0], ""), (&ids[1], "")]);
    assert_eq!(stage.commit_as(8, commit_request(&ids[1], generation + 1, "t", 0, 4)), unknown);
    stage.commit("t", 0, 0);
    assert_eq!(stage.offset("t", 0), 0);
}

#[test]
fn a_commit_is_a_sign_of_life() {
    let mut stage = Stage::new();
    let (ids, generation) = stage.stable(1);
    for offset in 0..4 {
        stage.pass(SESSION_MS as u64 * 3 / 4);
        assert_eq!(stage.commit_as(8, commit_request(&ids[0], generation, "t", 0, offset)), 0);
    }
    stage.pass(SESSION_MS as u64);
    assert_eq!(stage.state("g"), "Empty");
}

#[test]
fn metadata_is_bounded_as_java_counts_it() {
    let mut stage = Stage::new();
    let mut commit = |metadata: Option<&str>| {
        let mut request = commit_request("", -1, "t", 0, 5);
        request.topics[0].partitions[0].committed_metadata = metadata.map(text);
        stage.commit_as(8, request)
    };
    assert_eq!(commit(None), 0);
    assert_eq!(commit(Some(&"x".repeat(16))), 0);
    assert_eq!(commit(Some(&"ж".repeat(16))), 0);
    assert_eq!(commit(Some(&"😀".repeat(8))), 0);
    assert_eq!(commit(Some(&"😀".repeat(9))), ErrorCode::OffsetMetadataTooLarge.code());
    assert_eq!(commit(Some(&"x".repeat(17))), ErrorCode::OffsetMetadataTooLarge.code());
    assert_eq!(stage.fetched("t", 0, false).3, "😀".repeat(8));
}

#[test]
fn an_offset_of_a_topic_with_another_id_is_not_told() {
    let mut stage = Stage::new();
    stage.commit("t", 0, 42);
    let mut asked = |id: u128| {
        let topic = OffsetFetchRequestTopics::default()
            .with_name(WireTopicName(text("t")))
            .with_topic_id(uuid::Uuid::from_u128(id))
            .with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default().with_group_id(group_id("g")).with_topics(Some(vec![topic]));
        let request = OffsetFetchRequest::default().with_groups(vec![group]);
        let Answer::FetchOffsets(answer) = stage.ask(10, Request::FetchOffsets(request)) else { panic!("not in kind") };
        let topic = &answer.groups[0].topics[0];
        assert_eq!(topic.topic_id.as_u128(), id);
        topic.partitions[0].committed_offset
    };
    assert_eq!([asked(0), asked(topic_id(1).bits()), asked(topic_id(2).bits())], [42, 42, -1]);
}

#[test]
fn all_offsets_of_a_group_are_fetched_without_naming_them() {
    let mut stage = Stage::new();
    assert_eq!(stage.fetched_all(), []);
    stage.commit("u", 1, 7);
    stage.commit("t", 3, 5);
    stage.commit("t", 0, 6);
    let all = [("t", 0, 6), ("t", 3, 5), ("u", 1, 7)].map(|(topic, partition, offset)| (topic.to_owned(), partition, offset));
    assert_eq!(stage.fetched_all(), all);
    let counted: Vec<_> = stage.groups.committed_offsets().map(|at| (at.topic.to_owned(), at.partition, at.offset.get())).collect();
    assert_eq!(counted, all);
}

#[test]
fn offsets_are_deleted_where_nobody_consumes() {
    let mut stage = Stage::new();
    assert_eq!(stage.deleted("g", "t", 0), (ErrorCode::GroupIdNotFound.code(), vec![]));
    assert_eq!(stage.deleted("", "t", 0), (ErrorCode::InvalidGroupId.code(), vec![]));
    stage.commit("t", 0, 5);
    stage.commit("u", 0, 6);
    let (ids, _) = stage.stable(1);
    assert_eq!(stage.deleted("g", "t", 0), (0, vec![ErrorCode::GroupSubscribedToTopic.code()]));
    assert_eq!(stage.deleted("g", "u", 0), (0, vec![0]));
    let written = stage.log.len();
    assert_eq!(stage.deleted("g", "u", 0), (0, vec![0]), "what is not there is deleted without a record");
    assert_eq!(stage.log.len(), written);
    assert_eq!(stage.log.last(), Some(&record::offset_tombstone("g", "u", 0)));
    stage.reload();
    assert_eq!((stage.offset("t", 0), stage.offset("u", 0)), (5, -1));
    stage.leave(&[(&ids[0], "")]);
    assert_eq!(stage.deleted("g", "t", 0), (0, vec![0]));
    assert_eq!(stage.fetched_all(), []);
}

#[test]
fn of_other_protocols_nobody_knows_what_they_consume() {
    let mut stage = Stage::new();
    let mut join = Join::new("").version(3);
    join.request.protocol_type = text("connect");
    stage.join(&join);
    assert_eq!(stage.deleted("g", "t", 0), (ErrorCode::NonEmptyGroup.code(), vec![]));
}

#[test]
fn metadata_that_is_no_subscription_makes_every_topic_consumed() {
    let mut stage = Stage::new();
    stage.commit("u", 0, 5);
    stage.join(&Join::new("").version(3).knows(&[("range", b"\x00\x00\x7f\xff\xff\xff")]));
    stage.pass(DELAY_MS);
    assert_eq!(stage.deleted("g", "u", 0), (0, vec![ErrorCode::GroupSubscribedToTopic.code()]));
}
