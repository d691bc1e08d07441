//! Static members (KIP-345): known by a name that outlives their ids.

use super::*;

/// A stable group of static members `i0`, `i1`…, leader first.
fn stable(stage: &mut Stage, count: usize, version: i16) -> (Vec<String>, i32) {
    let tokens: Vec<Token> = (0..count).map(|number| stage.join(&Join::new("").instance(&format!("i{number}")).version(version))).collect();
    stage.pass(2 * DELAY_MS);
    let answers: Vec<_> = tokens.into_iter().map(|token| stage.joined(token)).collect();
    let generation = answers[0].generation_id;
    let ids: Vec<String> = answers.iter().map(|answer| answer.member_id.to_string()).collect();
    let parts: Vec<(&str, &[u8])> = ids.iter().map(|id| (id.as_str(), &b"part"[..])).collect();
    for id in &ids {
        let token = stage.sync(id, generation, &parts);
        assert_eq!(*stage.synced(token).assignment, *b"part");
    }
    (ids, generation)
}

#[test]
fn a_static_member_joins_at_once_and_is_named_for_its_instance() {
    let mut stage = Stage::new();
    let (ids, _) = stable(&mut stage, 1, 9);
    assert!(ids[0].starts_with("i0-") && ids[0].len() == "i0-".len() + 36, "{}", ids[0]);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_fences_its_former_self() {
    let mut stage = Stage::new();
    let (ids, generation) = stable(&mut stage, 2, 9);
    let token = stage.join(&Join::new("").instance("i1"));
    let answer = stage.joined(token);
    assert_eq!((answer.error_code, answer.generation_id, answer.skip_assignment), (0, generation, false));
    assert_eq!(*answer.leader, ids[0]);
    assert!(answer.member_id.starts_with("i1-") && *answer.member_id != ids[1]);
    assert_eq!(stage.state("g"), "Stable");
    let fenced = ErrorCode::FencedInstanceId.code();
    let beat = |stage: &mut Stage, id: &str| {
        let request = HeartbeatRequest::default()
            .with_group_id(group_id("g"))
            .with_member_id(text(id))
            .with_group_instance_id(Some(text("i1")))
            .with_generation_id(generation);
        let Answer::Heartbeat(answer) = stage.ask(4, Request::Heartbeat(request)) else { panic!("not in kind") };
        answer.error_code
    };
    assert_eq!(beat(&mut stage, &ids[1]), fenced);
    assert_eq!(beat(&mut stage, &answer.member_id), 0);
    let again = stage.join(&Join::new(&ids[1]).instance("i1"));
    assert_eq!(stage.joined(again).error_code, fenced);
    let stale = stage.send(5, Request::Sync(sync_request(&ids[1], generation, &[]).with_group_instance_id(Some(text("i1")))));
    assert_eq!(stage.synced(stale).error_code, fenced);
    // The new id has the old one's part, also after a load.
    for _ in 0..2 {
        let sync = stage.sync(&answer.member_id, generation, &[]);
        assert_eq!(*stage.synced(sync).assignment, *b"part");
        stage.reload();
    }
}

#[test]
fn a_static_leader_that_comes_back_is_told_not_to_assign_or_that_another_leads() {
    let mut stage = Stage::new();
    let (ids, generation) = stable(&mut stage, 2, 9);
    let token = stage.join(&Join::new("").instance("i0"));
    let answer = stage.joined(token);
    assert_eq!((answer.generation_id, answer.skip_assignment, answer.members.len()), (generation, true, 2));
    assert_eq!(answer.leader, answer.member_id);

    let token = stage.join(&Join::new("").instance("i0").version(8));
    let older = stage.joined(token);
    assert_eq!((older.generation_id, older.skip_assignment, older.members.len()), (generation, false, 0));
    assert_eq!(older.leader, answer.member_id, "its former self");
    assert_ne!(*older.member_id, ids[0]);
}

#[test]
fn a_static_member_that_would_change_the_protocol_makes_all_join() {
    let mut stage = Stage::new();
    let join = |instance: &str, protocols: &[(&str, &[u8])]| Join::new("").instance(instance).knows(protocols);
    let first = stage.join(&join("i0", &[("range", b""), ("sticky", b"")]));
    stage.pass(DELAY_MS);
    let first = stage.joined(first);
    let sync = stage.sync(&first.member_id, 1, &[(&first.member_id, b"part")]);
    assert_eq!(stage.synced(sync).error_code, 0);
    let again = stage.join(&join("i0", &[("sticky", b""), ("range", b"")]));
    let answer = stage.joined(again);
    assert_eq!((answer.generation_id, answer.protocol_name.as_deref()), (2, Some("sticky")));
}

#[test]
fn who_waits_under_the_former_id_is_fenced() {
    let mut stage = Stage::new();
    let first = stage.join(&Join::new("").instance("i0"));
    let second = stage.join(&Join::new("").instance("i0"));
    let answer = stage.joined(first);
    assert_eq!(answer.error_code, ErrorCode::FencedInstanceId.code());
    assert_eq!(answer.protocol_name, None);
    stage.pass(2 * DELAY_MS);
    let now = stage.joined(second);
    assert_eq!((now.generation_id, now.members.len()), (1, 1));

    // A SyncGroup that waits, too; and as it was under way, all join again.
    let other = stage.join(&Join::new("").instance("i1"));
    let leader = stage.join(&Join::new(&now.member_id).instance("i0"));
    let (other, leader) = (stage.joined(other), stage.joined(leader));
    let waits = stage.sync(&other.member_id, other.generation_id, &[]);
    let back = stage.join(&Join::new("").instance("i1"));
    assert_eq!(stage.synced(waits).error_code, ErrorCode::FencedInstanceId.code());
    let leader = stage.join(&Join::new(&leader.member_id).instance("i0"));
    assert_eq!(stage.joined(leader).generation_id, other.generation_id + 1);
    assert_eq!(stage.joined(back).generation_id, other.generation_id + 1);
}

#[test]
fn a_static_member_is_kept_through_a_rebalance_it_misses_until_its_session_ends() {
    let mut stage = Stage::new();
    let mut join = Join::new("").instance("i0");
    join.request.session_timeout_ms = 300_000;
    let absent = stage.join(&join);
    let leader = stage.join(&Join::new("").instance("i1"));
    stage.pass(2 * DELAY_MS);
    let (absent, other) = (stage.joined(absent), stage.joined(leader));
    assert_eq!(absent.leader, absent.member_id);
    let tokens = [&absent, &other].map(|member| stage.sync(&member.member_id, 1, &[]));
    tokens.into_iter().for_each(|token| assert_eq!(stage.synced(token).error_code, 0));
    let other = stage.join(&Join::new(&other.member_id).instance("i1").knows(&[("range", b"changed")]));
    stage.pass(REBALANCE_MS as u64);
    let answer = stage.joined(other);
    // It joined, so it leads; the absent one is still there to be assigned to.
    assert_eq!((answer.generation_id, answer.members.len()), (2, 2));
    assert_eq!(answer.leader, answer.member_id);
}

#[test]
fn a_static_member_leaves_by_its_name() {
    let mut stage = Stage::new();
    let (ids, _) = stable(&mut stage, 2, 9);
    let answer = stage.leave(&[(&ids[0], "i1"), ("", "i1"), ("x", "i0")]);
    let errors: Vec<i16> = answer.members.iter().map(|member| member.error_code).collect();
    assert_eq!(errors, [ErrorCode::FencedInstanceId.code(), 0, ErrorCode::FencedInstanceId.code()]);
    assert_eq!(answer.members[1].group_instance_id.as_deref(), Some("i1"));
    assert_eq!(stage.state("g"), "PreparingRebalance");
}

#[test]
fn an_id_that_was_given_to_a_dynamic_member_is_not_for_a_static_one() {
    let mut stage = Stage::new();
    let id = stage.member_id();
    let token = stage.join(&Join::new(&id).instance("i0"));
    assert_eq!(stage.joined(token).error_code, ErrorCode::UnknownServerError.code());
}
