//! From one generation to the next.

use super::*;

#[test]
fn an_empty_group_waits_for_more_members_no_longer_than_the_first_would() {
    // Each delay with somebody new is followed by another, up to the rebalance timeout.
    let mut stage = Stage::new();
    let tokens: Vec<Token> = (0..100)
        .map_while(|_| {
            let id = stage.member_id();
            let mut join = Join::new(&id);
            join.request.rebalance_timeout_ms = 10_000;
            let token = stage.join(&join);
            stage.pass(1_000);
            (stage.state("g") == "PreparingRebalance").then_some(token)
        })
        .collect();
    assert_eq!(tokens.len(), 9, "one a second until the tenth second ends it");

    // Nobody new: one delay.
    let mut stage = Stage::new();
    let id = stage.member_id();
    let token = stage.join(&Join::new(&id));
    stage.pass(DELAY_MS - 1);
    assert!(stage.answer(token).is_none());
    stage.pass(1);
    assert_eq!(stage.joined(token).generation_id, 1);
}

#[test]
fn a_group_with_members_waits_for_them_and_not_for_the_delay() {
    let mut stage = Stage::new();
    let (ids, generation) = stage.stable(2);
    let id = stage.member_id();
    let new = stage.join(&Join::new(&id));
    let tokens: Vec<Token> = ids.iter().map(|id| stage.join(&Join::new(id))).collect();
    assert_eq!(stage.joined(new).generation_id, generation + 1);
    for token in tokens {
        let answer = stage.joined(token);
        assert_eq!(answer.members.len(), if answer.member_id == answer.leader { 3 } else { 0 });
    }
}

#[test]
fn members_that_do_not_join_in_time_are_out() {
    let mut stage = Stage::new();
    let (ids, generation) = stage.stable(3);
    let leader = stage.join(&Join::new(&ids[0]));
    let waiting_id = stage.member_id();
    let other = stage.join(&Join::new(&ids[1]));
    // Two joined, one beats its heart and does not, one was given an id.
    for _ in 0..REBALANCE_MS / 5_000 {
        assert!(stage.answer(leader).is_none());
        stage.pass(5_000);
        stage.heartbeat(&ids[2], generation);
    }
    let answer = stage.joined(leader);
    assert_eq!((answer.generation_id, answer.members.len()), (generation + 1, 2));
    assert_eq!(stage.joined(other).generation_id, generation + 1);
    assert_eq!(stage.heartbeat(&ids[2], generation + 1), ErrorCode::UnknownMemberId.code());
    let late = stage.join(&Join::new(&waiting_id));
    assert_eq!(stage.joined(late).error_code, ErrorCode::UnknownMemberId.code());
}

#[test]
fn a_member_whose_session_lapses_is_not_waited_for() {
    let mut stage = Stage::new();
    let (ids, generation) = stage.stable(2);
    let leader = stage.join(&Join::new(&ids[0]));
    stage.pass(SESSION_MS as u64);
    assert_eq!(stage.joined(leader).generation_id, generation + 1);
}

#[test]
fn an_id_that_was_given_is_waited_for_until_it_lapses() {
    let mut stage = Stage::new();
    let (ids, generation) = stage.stable(1);
    stage.member_id();
    let leader = stage.join(&Join::new(&ids[0]));
    assert!(stage.answer(leader).is_none());
    stage.pass(SESSION_MS as u64);
    assert_eq!(stage.joined(leader).generation_id, generation + 1);
}

#[test]
fn a_new_member_may_wait_in_its_first_join_for_five_minutes() {
    let mut stage = Stage::new();
    let id = stage.member_id();
    let mut join = Join::new(&id);
    join.request.rebalance_timeout_ms = 3_600_000;
    let first = stage.join(&join);
    stage.pass(DELAY_MS);
    let generation = stage.joined(first).generation_id;
    let new = stage.member_id();
    let mut join = Join::new(&new);
    join.request.rebalance_timeout_ms = 3_600_000;
    let new = stage.join(&join);
    let mut waited = 0;
    while stage.answer(new).is_none_or(|answer| {
        assert_eq!(joined(answer).error_code, ErrorCode::UnknownMemberId.code());
        false
    }) {
        stage.pass(5_000);
        stage.heartbeat(&id, generation);
        waited += 5_000;
    }
    assert_eq!(waited, settings::NEW_MEMBER_JOIN_MS);
}

#[test]
fn members_that_do_not_sync_in_time_are_out() {
    let mut stage = Stage::new();
    let (ids, generation) = stage.stable(2);
    let tokens: Vec<Token> = ids.iter().map(|id| stage.join(&Join::new(id))).collect();
    tokens.into_iter().for_each(|token| assert_eq!(stage.joined(token).generation_id, generation + 1));
    let leader = stage.sync(&ids[0], generation + 1, &[(&ids[0], b"all")]);
    assert_eq!(*stage.synced(leader).assignment, *b"all");
    assert_eq!(stage.state("g"), "Stable");
    for _ in 0..REBALANCE_MS / 5_000 {
        stage.pass(5_000);
        ids.iter().for_each(|id| assert!(stage.heartbeat(id, generation + 1) != ErrorCode::IllegalGeneration.code()));
    }
    assert_eq!(stage.state("g"), "PreparingRebalance");
    assert_eq!(stage.heartbeat(&ids[1], generation + 1), ErrorCode::UnknownMemberId.code());
}

#[test]
fn syncs_wait_for_the_leader_and_are_sent_back_when_the_group_changes() {
    let mut stage = Stage::new();
    let (ids, generation) = stage.stable(2);
    let tokens: Vec<Token> = ids.iter().map(|id| stage.join(&Join::new(id))).collect();
    tokens.into_iter().for_each(|token| assert_eq!(stage.joined(token).error_code, 0));
    let waits = stage.sync(&ids[1], generation + 1, &[]);
    assert!(stage.answer(waits).is_none());
    let id = stage.member_id();
    stage.join(&Join::new(&id));
    assert_eq!(stage.synced(waits).error_code, ErrorCode::RebalanceInProgress.code());
    let early = stage.sync(&ids[1], generation + 1, &[]);
    assert_eq!(stage.synced(early).error_code, ErrorCode::RebalanceInProgress.code());
}

#[test]
fn a_sync_that_fits_nothing_is_refused() {
    let mut stage = Stage::new();
    let refused =
        |stage: &mut Stage, version: i16, request: SyncGroupRequest| synced(stage.ask(version, Request::Sync(request))).error_code;
    let nobody = sync_request("m", 1, &[]);
    assert_eq!(refused(&mut stage, 5, nobody.clone()), ErrorCode::UnknownMemberId.code());
    assert_eq!(refused(&mut stage, 5, nobody.clone().with_group_id(group_id(""))), ErrorCode::InvalidGroupId.code());
    let (ids, generation) = stage.stable(1);
    assert_eq!(refused(&mut stage, 5, sync_request("m", generation, &[])), ErrorCode::UnknownMemberId.code());
    let ours = sync_request(&ids[0], generation, &[]);
    assert_eq!(refused(&mut stage, 5, ours.clone().with_generation_id(7)), ErrorCode::IllegalGeneration.code());
    let inconsistent = ErrorCode::InconsistentGroupProtocol.code();
    assert_eq!(refused(&mut stage, 5, ours.clone().with_protocol_name(Some(text("sticky")))), inconsistent);
    assert_eq!(refused(&mut stage, 5, ours.clone().with_protocol_type(Some(text("connect")))), inconsistent);
    assert_eq!(refused(&mut stage, 5, ours.clone().with_protocol_name(None)), inconsistent, "version 5 must say it");
    assert_eq!(refused(&mut stage, 4, ours.with_protocol_name(None)), 0);
    // A stable group gives a member its part as often as it asks.
    let again = stage.sync(&ids[0], generation, &[(&ids[0], b"other")]);
    assert_eq!(*stage.synced(again).assignment, [0]);
}

#[test]
fn a_member_that_joins_as_before_is_told_of_the_current_generation() {
    let mut stage = Stage::new();
    let (ids, generation) = stage.stable(2);
    let follower = stage.join(&Join::new(&ids[1]));
    let answer = stage.joined(follower);
    assert_eq!((answer.generation_id, answer.members.len(), &*answer.leader), (generation, 0, ids[0].as_str()));
    assert_eq!(stage.state("g"), "Stable");
    // With other metadata, all join.
    let changed = stage.join(&Join::new(&ids[1]).knows(&[("range", &subscription_to(&["u"]))]));
    assert!(stage.answer(changed).is_none());
    let leader = stage.join(&Join::new(&ids[0]));
    assert_eq!(stage.joined(leader).members.len(), 2);
    assert_eq!(stage.joined(changed).generation_id, generation + 1);
    // The leader's answer was lost: it is told once more of everybody.
    let leader = stage.join(&Join::new(&ids[0]));
    let answer = stage.joined(leader);
    assert_eq!((answer.generation_id, answer.members.len()), (generation + 1, 2));
    assert_eq!(stage.state("g"), "CompletingRebalance");
}

#[test]
fn a_leader_that_joins_again_makes_all_join() {
    let mut stage = Stage::new();
    let (ids, generation) = stage.stable(2);
    let leader = stage.join(&Join::new(&ids[0]));
    assert_eq!(stage.state("g"), "PreparingRebalance");
    let other = stage.join(&Join::new(&ids[1]));
    assert_eq!(stage.joined(leader).generation_id, generation + 1);
    stage.joined(other);
}

#[test]
fn another_leads_when_the_leader_is_gone() {
    let mut stage = Stage::new();
    let (ids, generation) = stage.stable(3);
    stage.leave(&[(&ids[0], "")]);
    let tokens: Vec<Token> = ids[1..].iter().map(|id| stage.join(&Join::new(id))).collect();
    let answers: Vec<_> = tokens.into_iter().map(|token| stage.joined(token)).collect();
    assert_eq!(answers[0].leader, answers[1].leader);
    assert!(ids[1..].contains(&answers[0].leader.to_string()));
    assert_eq!(answers.iter().map(|answer| answer.members.len()).sum::<usize>(), 2);
    assert_eq!(answers[0].generation_id, generation + 1);
}

#[test]
fn members_vote_for_the_protocol_they_like_best_of_those_all_know() {
    let chosen = |members: &[&[&str]]| {
        let mut stage = Stage::new();
        let joins: Vec<Token> = members
            .iter()
            .map(|names| {
                let protocols: Vec<(&str, &[u8])> = names.iter().map(|name| (*name, &b""[..])).collect();
                stage.join(&Join::new("").version(3).knows(&protocols))
            })
            .collect();
        stage.pass(3 * DELAY_MS);
        stage.joined(joins[0]).protocol_name.unwrap().to_string()
    };
    assert_eq!(chosen(&[&["range", "roundrobin"], &["roundrobin", "range"], &["roundrobin", "range"]]), "roundrobin");
    assert_eq!(chosen(&[&["range", "roundrobin", "sticky"], &["sticky", "roundrobin"]]), "sticky");
    assert_eq!(chosen(&[&["a", "b"], &["c", "b"]]), "b");
    // Ties fall as they do in Kafka: in the order of Java's hash map.
    for tied in [[["range", "roundrobin"], ["roundrobin", "range"]], [["roundrobin", "range"], ["range", "roundrobin"]]] {
        assert_eq!(chosen(&[&tied[0], &tied[1]]), "range");
    }
}

#[test]
fn an_assignment_is_recorded_before_it_is_told_and_survives() {
    let mut stage = Stage::new();
    let (ids, generation) = stage.stable(2);
    let Some(record) = stage.log.last().cloned() else { panic!("nothing was recorded") };
    let Ok(Decoded::Group { value: Some(decoded), .. }) = record::decode(&record.key, record.value.as_deref()) else {
        panic!("not a group: {record:?}")
    };
    assert_eq!(record.value.as_deref().map(first_word), Some(3));
    assert_eq!(decoded.members.len(), 2);
    assert_eq!(decoded.leader.as_deref(), Some(ids[0].as_str()));
    stage.reload();
    assert_eq!(stage.state("g"), "Stable");
    for (number, id) in ids.iter().enumerate() {
        assert_eq!(stage.heartbeat(id, generation), 0);
        let token = stage.sync(id, generation, &[]);
        assert_eq!(*stage.synced(token).assignment, [number as u8]);
    }
    // Sessions begin anew with the load.
    stage.pass(SESSION_MS as u64);
    assert_eq!(stage.state("g"), "Empty");
}

#[test]
fn a_rebalance_is_counted_and_timed() {
    let mut stage = Stage::new();
    stage.stable(2);
    let census = stage.groups.census();
    assert_eq!((census.stable, census.members, census.rebalances), (1, 2, 1));
    assert_eq!(census.rebalance_durations, [Duration::from_millis(2 * DELAY_MS)]);
    let census = stage.groups.census();
    assert_eq!((census.rebalances, census.rebalance_durations.len()), (1, 0));
}
