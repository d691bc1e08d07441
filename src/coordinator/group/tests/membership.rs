//! How members come, stay and go.

use super::*;

#[test]
fn a_new_member_is_given_an_id_that_lapses_unless_it_joins() {
    let mut stage = Stage::new();
    let token = stage.join(&Join::new(""));
    let answer = stage.joined(token);
    assert_eq!(answer.error_code, ErrorCode::MemberIdRequired.code());
    assert!(answer.member_id.starts_with("client-") && answer.member_id.len() == "client-".len() + 36, "{}", answer.member_id);
    // The group is known from now on, as one that never had a member.
    assert_eq!(stage.log, [record::group("g", &Group::new(text("g"), Some(stage.wall)).value())]);
    assert_eq!(stage.state("g"), "Empty");

    stage.pass(SESSION_MS as u64 + 1);
    let token = stage.join(&Join::new(&answer.member_id));
    assert_eq!(stage.joined(token).error_code, ErrorCode::UnknownMemberId.code());
}

#[test]
fn before_version_4_a_new_member_joins_at_once() {
    let mut stage = Stage::new();
    let token = stage.join(&Join::new("").version(3));
    stage.pass(DELAY_MS);
    let answer = stage.joined(token);
    assert_eq!((answer.error_code, answer.generation_id, answer.members.len()), (0, 1, 1));
    assert_eq!(answer.leader, answer.member_id);
}

#[test]
fn before_version_1_the_session_timeout_is_the_rebalance_timeout() {
    let mut stage = Stage::new();
    let token = stage.join(&Join::new("").version(0));
    stage.pass(DELAY_MS);
    let member = stage.joined(token).member_id.to_string();
    // Somebody new comes; the first is given its session timeout to join again, and is heard of meanwhile.
    let second = stage.join(&Join::new("").version(0));
    for _ in 0..3 {
        stage.pass(SESSION_MS as u64 / 4);
        stage.heartbeat(&member, 1);
        assert_eq!(stage.answer(second).map(joined), None);
    }
    stage.pass(SESSION_MS as u64 / 4 + 1);
    assert_eq!(stage.joined(second).generation_id, 2);
    assert_eq!(stage.heartbeat(&member, 1), ErrorCode::UnknownMemberId.code());
}

#[test]
fn the_error_of_a_join_has_the_form_of_its_version() {
    let mut stage = Stage::new();
    for (version, name) in [(6, Some("")), (7, None)] {
        let token = stage.join(&Join::new("nobody").version(version));
        let answer = stage.joined(token);
        assert_eq!(answer.error_code, ErrorCode::UnknownMemberId.code());
        assert_eq!(answer.protocol_name.as_deref(), name);
        assert_eq!(answer.generation_id, -1);
    }
    assert_eq!(stage.log, [], "only a client without an id makes a group");
}

#[test]
fn a_join_that_makes_no_sense_is_refused() {
    let mut stage = Stage::new();
    let mut refused = |join: Join| {
        let token = stage.join(&join);
        stage.joined(token).error_code
    };
    let mut nowhere = Join::new("");
    nowhere.request.group_id = group_id("");
    assert_eq!(refused(nowhere), ErrorCode::InvalidGroupId.code());
    for timeout in [5_999, 1_800_001, -1] {
        let mut join = Join::new("");
        join.request.session_timeout_ms = timeout;
        assert_eq!(refused(join), ErrorCode::InvalidSessionTimeout.code());
    }
    assert_eq!(refused(Join::new("").knows(&[])), ErrorCode::InconsistentGroupProtocol.code());
    let mut typeless = Join::new("");
    typeless.request.protocol_type = text("");
    assert_eq!(refused(typeless), ErrorCode::InconsistentGroupProtocol.code());
    assert_eq!(refused(Join::new("").instance(&"x".repeat(40_000))), ErrorCode::InvalidRequest.code());
}

#[test]
fn a_member_must_share_a_protocol_and_the_protocol_type_with_the_others() {
    let mut stage = Stage::new();
    stage.stable(1);
    let token = stage.join(&Join::new("").knows(&[("sticky", b"")]));
    assert_eq!(stage.joined(token).error_code, ErrorCode::InconsistentGroupProtocol.code());
    let mut connect = Join::new("");
    connect.request.protocol_type = text("connect");
    let token = stage.join(&connect);
    assert_eq!(stage.joined(token).error_code, ErrorCode::InconsistentGroupProtocol.code());
}

#[test]
fn any_protocol_type_is_served_with_its_bytes_untouched() {
    let mut stage = Stage::new();
    let mut join = Join::new("").knows(&[("sessioned", b"\xff\x00worker"), ("compatible", b"")]).version(3);
    join.request.protocol_type = text("connect");
    let token = stage.join(&join);
    stage.pass(DELAY_MS);
    let answer = stage.joined(token);
    assert_eq!((answer.protocol_name.as_deref(), &*answer.members[0].metadata), (Some("sessioned"), &b"\xff\x00worker"[..]));
    let mut request = sync_request(&answer.member_id, 1, &[(&answer.member_id, b"\x01\xfe")]);
    request.protocol_type = None;
    request.protocol_name = None;
    let token = stage.send(4, Request::Sync(request));
    assert_eq!(*stage.synced(token).assignment, *b"\x01\xfe");
    stage.reload();
    assert_eq!(stage.heartbeat(&answer.member_id, 1), 0);
}

#[test]
fn a_member_that_is_not_heard_of_is_out_after_its_session() {
    let mut stage = Stage::new();
    let (ids, generation) = stage.stable(2);
    stage.pass(SESSION_MS as u64 / 2);
    assert_eq!(stage.heartbeat(&ids[0], generation), 0);
    stage.pass(SESSION_MS as u64 / 2 - 1);
    assert_eq!(stage.state("g"), "Stable");
    stage.pass(1);
    // The silent one went after one session, and the other is to join again.
    assert_eq!(stage.state("g"), "PreparingRebalance");
    assert_eq!(stage.heartbeat(&ids[1], generation), ErrorCode::UnknownMemberId.code());
}

#[test]
fn heartbeats_are_answered_by_state() {
    let mut stage = Stage::new();
    assert_eq!(stage.heartbeat("m", 1), ErrorCode::UnknownMemberId.code());
    let (ids, generation) = stage.stable(2);
    assert_eq!(stage.heartbeat(&ids[0], generation), 0);
    assert_eq!(stage.heartbeat(&ids[0], generation - 1), ErrorCode::IllegalGeneration.code());
    assert_eq!(stage.heartbeat("stranger", generation), ErrorCode::UnknownMemberId.code());
    // The leader joins again: the others are told to.
    let leader = stage.join(&Join::new(&ids[0]));
    assert_eq!(stage.heartbeat(&ids[1], generation), ErrorCode::RebalanceInProgress.code());
    let other = stage.join(&Join::new(&ids[1]));
    assert_eq!(stage.joined(leader).generation_id, generation + 1);
    assert_eq!(stage.joined(other).generation_id, generation + 1);
    // All have joined; who has not synced may beat meanwhile.
    assert_eq!(stage.state("g"), "CompletingRebalance");
    assert_eq!(stage.heartbeat(&ids[1], generation + 1), 0);
    let request = HeartbeatRequest::default();
    let Answer::Heartbeat(answer) = stage.ask(4, Request::Heartbeat(request)) else { panic!("not in kind") };
    assert_eq!(answer.error_code, ErrorCode::InvalidGroupId.code());
}

#[test]
fn a_group_has_no_more_members_than_it_may() {
    let mut stage = Stage::with(Settings { members_max: 2, ..settings() });
    let (ids, generation) = stage.stable(2);
    let token = stage.join(&Join::new(""));
    let answer = stage.joined(token);
    assert_eq!((answer.error_code, &*answer.member_id), (ErrorCode::GroupMaxSizeReached.code(), ""));
    assert_eq!(stage.heartbeat(&ids[1], generation), 0);

    // While members join, it counts who has joined.
    let first = stage.join(&Join::new(&ids[0]));
    let third = stage.member_id();
    let third = stage.join(&Join::new(&third));
    let late = stage.join(&Join::new(&ids[1]));
    assert_eq!(stage.joined(late).error_code, ErrorCode::GroupMaxSizeReached.code());
    stage.pass(REBALANCE_MS as u64);
    assert_eq!(stage.joined(first).members.len(), 2);
    assert_eq!(stage.joined(third).generation_id, generation + 1);
}

#[test]
fn a_group_that_is_loaded_with_too_many_members_rebalances() {
    let mut stage = Stage::new();
    let (ids, _) = stage.stable(3);
    stage.settings.members_max = 2;
    stage.reload();
    assert_eq!(stage.state("g"), "PreparingRebalance");
    let answers: Vec<Token> = ids.iter().map(|id| stage.join(&Join::new(id))).collect();
    stage.pass(REBALANCE_MS as u64);
    let errors: Vec<i16> = answers.into_iter().map(|token| stage.joined(token).error_code).collect();
    assert_eq!(errors, [0, 0, ErrorCode::GroupMaxSizeReached.code()]);
}

#[test]
fn leaving_is_answered_member_by_member() {
    let mut stage = Stage::new();
    assert_eq!(stage.leave(&[("m", "")]).members[0].error_code, ErrorCode::UnknownMemberId.code());
    let (ids, generation) = stage.stable(3);
    let waiting = stage.member_id();
    let answer = stage.leave(&[(&ids[1], ""), ("stranger", ""), (&waiting, ""), ("", "nobody")]);
    let errors: Vec<i16> = answer.members.iter().map(|member| member.error_code).collect();
    let unknown = ErrorCode::UnknownMemberId.code();
    assert_eq!((answer.error_code, errors), (0, vec![0, unknown, 0, unknown]));
    assert_eq!(stage.heartbeat(&ids[1], generation), unknown);
    assert_eq!(stage.heartbeat(&ids[0], generation), ErrorCode::RebalanceInProgress.code());
    let late = stage.join(&Join::new(&waiting));
    assert_eq!(stage.joined(late).error_code, unknown, "the id was given back");
}

#[test]
fn before_version_3_one_member_leaves_and_the_error_is_the_answers_own() {
    let mut stage = Stage::new();
    let (ids, _) = stage.stable(1);
    let mut left = |id: &str| {
        let request = LeaveGroupRequest::default().with_group_id(group_id("g")).with_member_id(text(id));
        let Answer::Leave(answer) = stage.ask(2, Request::Leave(request)) else { panic!("not in kind") };
        assert!(answer.members.is_empty());
        answer.error_code
    };
    assert_eq!(left("stranger"), ErrorCode::UnknownMemberId.code());
    assert_eq!(left(&ids[0]), 0);
    assert_eq!(stage.state("g"), "Empty");
}

#[test]
fn the_last_member_leaves_an_empty_group_of_the_next_generation_behind() {
    let mut stage = Stage::new();
    let (ids, generation) = stage.stable(1);
    stage.leave(&[(&ids[0], "")]);
    assert_eq!(stage.state("g"), "Empty");
    let expected = GroupValueOf { generation: generation + 1, since: stage.wall }.record();
    assert_eq!(stage.log.last(), Some(&expected));
    stage.reload();
    let (_, next) = stage.stable(1);
    assert_eq!(next, generation + 2);
}

/// The record of an empty group of consumers.
struct GroupValueOf {
    generation: i32,
    since: TimestampMs,
}

impl GroupValueOf {
    fn record(self) -> StateRecord {
        let value = record::GroupValue {
            protocol_type: text("consumer"),
            generation: self.generation,
            protocol: None,
            leader: None,
            since: Some(self.since),
            members: Vec::new(),
        };
        record::group("g", &value)
    }
}

#[test]
fn a_member_that_asks_again_takes_its_earlier_requests_place() {
    let mut stage = Stage::new();
    let id = stage.member_id();
    let lost = stage.join(&Join::new(&id));
    let asked = stage.join(&Join::new(&id));
    assert_eq!(stage.joined(lost).error_code, ErrorCode::RebalanceInProgress.code());
    let other = stage.member_id();
    let other = stage.join(&Join::new(&other));
    stage.pass(2 * DELAY_MS);
    let generation = stage.joined(asked).generation_id;
    let other = stage.joined(other).member_id.to_string();
    let lost = stage.sync(&other, generation, &[]);
    let asked = stage.sync(&other, generation, &[]);
    assert_eq!(stage.synced(lost).error_code, ErrorCode::RebalanceInProgress.code());
    let leader = stage.sync(&id, generation, &[(&other, b"x")]);
    assert_eq!(*stage.synced(asked).assignment, *b"x");
    assert_eq!(*stage.synced(leader).assignment, *b"");
}

#[test]
fn a_member_that_leaves_while_it_waits_is_told() {
    let mut stage = Stage::new();
    let (ids, generation) = stage.stable(2);
    let waits = stage.join(&Join::new(&ids[0]));
    stage.leave(&[(&ids[0], "")]);
    let answer = stage.joined(waits);
    assert_eq!((answer.error_code, &*answer.member_id), (ErrorCode::UnknownMemberId.code(), ""));
    let other = stage.join(&Join::new(&ids[1]));
    assert_eq!(stage.joined(other).generation_id, generation + 1);

    let third = stage.member_id();
    let third_join = stage.join(&Join::new(&third));
    let other = stage.join(&Join::new(&ids[1]));
    let generation = stage.joined(other).generation_id;
    stage.joined(third_join);
    let waits = stage.sync(&third, generation, &[]);
    stage.leave(&[(&third, "")]);
    assert_eq!(stage.synced(waits).error_code, ErrorCode::UnknownMemberId.code());
}
