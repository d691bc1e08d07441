//! What administrators ask.

use super::offsets::commit_request;
use super::*;

fn described(stage: &mut Stage, version: i16, group: &str) -> kafka_protocol::messages::describe_groups_response::DescribedGroup {
    let request = DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
    let Answer::Describe(response) = stage.ask(version, Request::Describe(request)) else { panic!("not in kind") };
    response.groups.into_iter().next().unwrap()
}

fn listed(stage: &mut Stage, states: &[&str], types: &[&str]) -> Vec<(String, String, String, String)> {
    let request = ListGroupsRequest::default()
        .with_states_filter(states.iter().map(|state| text(state)).collect())
        .with_types_filter(types.iter().map(|name| text(name)).collect());
    let Answer::List(response) = stage.ask(5, Request::List(request)) else { panic!("not in kind") };
    let one = |group: &kafka_protocol::messages::list_groups_response::ListedGroup| {
        (group.group_id.to_string(), group.protocol_type.to_string(), group.group_state.to_string(), group.group_type.to_string())
    };
    response.groups.iter().map(one).collect()
}

fn deleted(stage: &mut Stage, groups: &[&str]) -> Vec<i16> {
    let request = DeleteGroupsRequest::default().with_groups_names(groups.iter().map(|id| group_id(id)).collect());
    let Answer::Delete(response) = stage.ask(2, Request::Delete(request)) else { panic!("not in kind") };
    response.results.iter().map(|result| result.error_code).collect()
}

#[test]
fn a_stable_group_is_described_with_what_its_members_said_and_got() {
    let mut stage = Stage::new();
    let (ids, _) = stage.stable(2);
    let group = described(&mut stage, 5, "g");
    assert_eq!((group.error_code, &*group.group_state, &*group.protocol_type, &*group.protocol_data), (0, "Stable", "consumer", "range"));
    let member = group.members.iter().find(|member| *member.member_id == ids[1]).unwrap();
    assert_eq!((&*member.client_id, &*member.client_host), ("client", "/127.0.0.1"));
    assert_eq!((&*member.member_metadata, &*member.member_assignment), (&*subscription_to(&["t"]), &[1][..]));

    stage.join(&Join::new(&ids[0]));
    let group = described(&mut stage, 5, "g");
    assert_eq!((&*group.group_state, &*group.protocol_data), ("PreparingRebalance", ""));
    assert!(group.members.iter().all(|member| member.member_metadata.is_empty()));
}

#[test]
fn a_group_that_is_not_there_is_dead_and_from_version_6_on_an_error() {
    let mut stage = Stage::new();
    let group = described(&mut stage, 5, "x");
    assert_eq!((group.error_code, &*group.group_state, group.error_message), (0, "Dead", None));
    let group = described(&mut stage, 6, "x");
    assert_eq!((group.error_code, &*group.group_state), (ErrorCode::GroupIdNotFound.code(), "Dead"));
    assert_eq!(group.error_message.as_deref(), Some("Group x not found."));
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut stage = Stage::new();
    stage.stable(1);
    let request = commit_request("", -1, "t", 0, 5).with_group_id(group_id("alone"));
    assert_eq!(stage.commit_as(8, request), 0);
    let alone = ("alone", "", "Empty", "classic");
    let g = ("g", "consumer", "Stable", "classic");
    let mut check = |states: &[&str], types: &[&str], expected: &[(&str, &str, &str, &str)]| {
        let got = listed(&mut stage, states, types);
        let got: Vec<_> = got.iter().map(|(id, protocol, state, kind)| (&**id, &**protocol, &**state, &**kind)).collect();
        assert_eq!(got, expected, "{states:?} {types:?}");
    };
    check(&[], &[], &[alone, g]);
    check(&["stable"], &[], &[g]);
    check(&[" EMPTY ", "Dead"], &[], &[alone]);
    check(&["nonsense"], &[], &[]);
    check(&[], &["Classic", "consumer"], &[alone, g]);
    check(&[], &["consumer"], &[]);
    check(&["Empty"], &["nonsense"], &[]);
}

#[test]
fn an_empty_group_is_deleted_with_all_it_committed() {
    let mut stage = Stage::new();
    let (ids, generation) = stage.stable(1);
    assert_eq!(stage.commit_as(8, commit_request(&ids[0], generation, "t", 0, 5)), 0);
    assert_eq!(deleted(&mut stage, &["g", "x"]), [ErrorCode::NonEmptyGroup.code(), ErrorCode::GroupIdNotFound.code()]);
    stage.leave(&[(&ids[0], "")]);
    let given = stage.member_id();
    assert_eq!(deleted(&mut stage, &["g", "g"]), [0], "named twice, told once");
    let tail: Vec<_> = stage.log.iter().rev().take(2).cloned().collect();
    assert_eq!(tail, [record::group_tombstone("g"), record::offset_tombstone("g", "t", 0)]);
    assert_eq!(stage.fetched_all(), []);
    let token = stage.join(&Join::new(&given));
    assert_eq!(stage.joined(token).error_code, ErrorCode::UnknownMemberId.code());
    stage.reload();
    assert_eq!(stage.state("g"), "Dead");
    // One of the same name begins anew.
    assert_eq!(stage.stable(1).1, 1);
}

#[test]
fn a_refusal_answers_in_kind() {
    let call = |version: i16, request: Request| Call { version, client_id: String::new(), client_host: String::new(), request };
    let join = Request::Join(Join::new("m").request);
    let Answer::Join(answer) = refusal(&call(6, join), ErrorCode::NotLeaderOrFollower) else { panic!("not in kind") };
    assert_eq!((answer.error_code, &*answer.member_id, answer.generation_id), (ErrorCode::NotCoordinator.code(), "", -1));
    let beat = call(4, Request::Heartbeat(HeartbeatRequest::default()));
    let told = |error: ErrorCode| match refusal(&beat, error) {
        Answer::Heartbeat(answer) => answer.error_code,
        other => panic!("not in kind: {other:?}"),
    };
    assert_eq!(told(ErrorCode::CoordinatorLoadInProgress), 0, "the member is not to think itself out");
    assert_eq!(told(ErrorCode::NotEnoughReplicas), ErrorCode::CoordinatorNotAvailable.code());
    assert_eq!(told(ErrorCode::RequestTimedOut), ErrorCode::CoordinatorNotAvailable.code());
    assert_eq!(told(ErrorCode::KafkaStorageError), ErrorCode::NotCoordinator.code());
    assert_eq!(told(ErrorCode::RecordListTooLarge), ErrorCode::UnknownServerError.code());

    let commit = call(8, Request::Commit(commit_request("", -1, "t", 3, 1)));
    let Answer::Commit(answer) = refusal(&commit, ErrorCode::CoordinatorLoadInProgress) else { panic!("not in kind") };
    let partition = &answer.topics[0].partitions[0];
    assert_eq!((partition.partition_index, partition.error_code), (3, ErrorCode::CoordinatorLoadInProgress.code()));

    let leave = LeaveGroupRequest::default().with_members(vec![MemberIdentity::default()]);
    for (version, error) in [(5, ErrorCode::NotCoordinator), (2, ErrorCode::NotCoordinator)] {
        let Answer::Leave(answer) = refusal(&call(version, Request::Leave(leave.clone())), error) else { panic!("not in kind") };
        assert_eq!((answer.error_code, answer.members.len()), (error.code(), 0));
    }
}

#[test]
fn a_refused_fetch_has_its_error_where_the_version_has_room_for_it() {
    use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics};
    let topic = OffsetFetchRequestTopics::default().with_partition_indexes(vec![4]);
    let group = OffsetFetchRequestGroup::default().with_group_id(group_id("g")).with_topics(Some(vec![topic]));
    let request = Request::FetchOffsets(OffsetFetchRequest::default().with_groups(vec![group]));
    let refused = |version: i16| {
        let call = Call { version, client_id: String::new(), client_host: String::new(), request: request.clone() };
        let Answer::FetchOffsets(answer) = refusal(&call, ErrorCode::NotEnoughReplicas) else { panic!("not in kind") };
        answer.groups.into_iter().next().unwrap()
    };
    let code = ErrorCode::NotCoordinator.code();
    assert_eq!((refused(8).error_code, refused(8).topics.len()), (code, 0));
    let old = refused(1);
    let partition = &old.topics[0].partitions[0];
    assert_eq!((old.error_code, partition.partition_index, partition.error_code, partition.committed_offset), (0, 4, code, -1));
}

#[test]
fn groups_are_spread_as_kafka_spreads_them() {
    // Hashes as Java computes them.
    for (id, hash) in [("g", 103), ("my-group", -1_906_497_762), ("Ünïcödé-группа", 1_144_444_690), ("😀 group", -1_570_619_006)]
    {
        assert_eq!(hash::java_hash(id), hash, "{id}");
        assert_eq!(partition_of(id, 50).get(), hash.abs() % 50);
    }
    assert_eq!(hash::java_hash("polygenelubricants"), i32::MIN);
    assert_eq!(partition_of("polygenelubricants", 50).get(), 0);
    assert_eq!(partition_of("", 50).get(), 0);
}
