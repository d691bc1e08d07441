//! What does not fit into a batch costs the group that asks for it, and no other.

use super::offsets::commit_request;
use super::*;

const MAX: usize = 2_000;

fn stage() -> Stage {
    let mut stage = Stage::new();
    stage.record_bytes_max = MAX;
    stage
}

/// A member that says this much of itself.
fn large(member: &str) -> Join {
    Join::new(member).knows(&[("range", &[7; MAX / 2])])
}

#[test]
fn members_that_say_too_much_together_are_told_so_and_may_join_with_less() {
    let mut stage = stage();
    let ids = [stage.member_id(), stage.member_id()];
    let joins = [stage.join(&large(&ids[0])), stage.join(&large(&ids[1]))];
    stage.pass(2 * DELAY_MS);
    let generation = joins.map(|token| stage.joined(token).generation_id)[0];
    let written = stage.log.len();
    let follower = stage.sync(&ids[1], generation, &[]);
    let leader = stage.sync(&ids[0], generation, &[(&ids[0], b"a"), (&ids[1], b"b")]);
    for token in [leader, follower] {
        let answer = stage.synced(token);
        assert_eq!((answer.error_code, answer.assignment.len()), (ErrorCode::UnknownServerError.code(), 0));
    }
    assert_eq!((stage.state("g"), stage.log.len()), ("PreparingRebalance".to_owned(), written));
    let joins = [stage.join(&Join::new(&ids[0])), stage.join(&Join::new(&ids[1]))];
    let generation = joins.map(|token| stage.joined(token).generation_id)[0];
    let sync = stage.sync(&ids[0], generation, &[(&ids[0], b"a")]);
    assert_eq!(*stage.synced(sync).assignment, *b"a");
    assert_eq!(stage.state("g"), "Stable");
}

#[test]
fn a_static_member_that_comes_back_with_too_much_leaves_its_former_self_in_place() {
    let mut stage = stage();
    let join = stage.join(&Join::new("").instance("i0"));
    stage.pass(DELAY_MS);
    let before = stage.joined(join);
    let sync = stage.sync(&before.member_id, 1, &[(&before.member_id, b"a")]);
    assert_eq!(stage.synced(sync).error_code, 0);
    let back = stage.join(&Join::new("").instance("i0").knows(&[("range", &[7; MAX])]));
    let answer = stage.joined(back);
    assert_eq!((answer.error_code, &*answer.member_id), (ErrorCode::UnknownServerError.code(), ""));
    assert_eq!((&*answer.leader, answer.generation_id), (&*before.member_id, 1));
    assert_eq!(stage.state("g"), "Stable");
    assert_eq!(stage.heartbeat(&before.member_id, 1), 0);
    stage.pass(SESSION_MS as u64);
    assert_eq!(stage.heartbeat(&before.member_id, 1), ErrorCode::UnknownMemberId.code(), "its session is its own");
}

fn commit_many(stage: &mut Stage, group: &str, partitions: i32) {
    for partition in 0..partitions {
        let request = commit_request("", -1, "t", partition, 5).with_group_id(group_id(group));
        assert_eq!(stage.commit_as(8, request), 0);
    }
}

#[test]
fn more_offsets_than_one_batch_can_delete_are_kept() {
    let mut stage = stage();
    commit_many(&mut stage, "g", 100);
    commit_many(&mut stage, "small", 2);
    let written = stage.log.len();
    let mut delete = |groups: &[&str]| {
        let request = DeleteGroupsRequest::default().with_groups_names(groups.iter().map(|id| group_id(id)).collect());
        let Answer::Delete(response) = stage.ask(2, Request::Delete(request)) else { panic!("not in kind") };
        (response.results.iter().map(|result| result.error_code).collect::<Vec<_>>(), stage.log.len())
    };
    let refused = ErrorCode::UnknownServerError.code();
    assert_eq!(delete(&["small", "g"]), (vec![refused, refused], written));
    assert_eq!(delete(&["small"]), (vec![0], written + 3));
    let topic = kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic::default()
        .with_name(kafka_protocol::messages::TopicName(text("t")));
    let partition = kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestPartition::default;
    let mut delete = |count: i32| {
        let partitions = (0..count).map(|index| partition().with_partition_index(index)).collect();
        let request =
            OffsetDeleteRequest::default().with_group_id(group_id("g")).with_topics(vec![topic.clone().with_partitions(partitions)]);
        let Answer::DeleteOffsets(response) = stage.ask(0, Request::DeleteOffsets(request)) else { panic!("not in kind") };
        response.error_code
    };
    assert_eq!((delete(100), delete(20)), (refused, 0));
    assert_eq!(stage.fetched_all().len(), 80);
}

#[test]
fn more_offsets_than_one_batch_can_delete_expire_part_by_part() {
    let mut stage = stage();
    commit_many(&mut stage, "a", 60);
    commit_many(&mut stage, "g", 100);
    commit_many(&mut stage, "z", 1);
    stage.pass(RETENTION_MS + 2 * CHECK_MS);
    assert_eq!(["a", "g", "z"].map(|group| stage.state(group)), ["Dead"; 3]);
    stage.reload();
    assert_eq!(stage.groups.committed_offsets().count(), 0);
}
