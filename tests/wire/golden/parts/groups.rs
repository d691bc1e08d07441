//! Groups seen from outside: described, listed, deleted, in each of their states.

use kafka_protocol::messages::delete_groups_request::DeleteGroupsRequest;
use kafka_protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use kafka_protocol::messages::list_groups_request::ListGroupsRequest;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::{DescribeGroupsRequest, HeartbeatRequest};

use super::group_members::{PLAIN, Told};
use super::text;
use crate::support::groups::id;
use crate::support::topics::name;
use crate::wire::golden::capture::Recorder;

/// Of JoinGroup and SyncGroup: joined at once, and instances are known.
const JOIN: i16 = 3;
const STATES: [&str; 8] = ["empty", "stable", "completing", "preparing", "simple", "workers", "pending", "golden-no-group"];

pub fn run(recorder: &mut Recorder) {
    recorder.wait_for_coordinator();
    coordinators(recorder);
    super::group_configs::create(recorder, "golden-seen", 1);
    let waiting = in_every_state(recorder);
    for version in 0..=6 {
        describe(recorder, version);
    }
    for version in 0..=5 {
        list(recorder, version);
    }
    for version in 0..=2 {
        delete(recorder, version);
    }
    recorder.record(5, "after-deletions", &ListGroupsRequest::default());
    let beat = HeartbeatRequest::default().with_group_id(id("empty")).with_member_id(text("stranger")).with_generation_id(1);
    recorder.record(4, "deleted", &beat);
    // Whoever waited in there is let go on.
    let mut told = Told { recorder: &mut *recorder, version: JOIN, group: "preparing".to_owned() };
    told.leave("first-leaves", "preparing", &waiting.first);
    told.recorder.take_answer(waiting.asked);
}

/// Keys and kinds that are not a group's usual ones.
fn coordinators(recorder: &mut Recorder) {
    for version in 0..=6 {
        let of = |key: &'static str, kind: i8| {
            let request = match version {
                4.. => FindCoordinatorRequest::default().with_coordinator_keys(vec![text(key)]),
                _ => FindCoordinatorRequest::default().with_key(text(key)),
            };
            if version >= 1 { request.with_key_type(kind) } else { request }
        };
        recorder.record(version, "no-id", &of("", 0));
        if version >= 1 {
            recorder.record(version, "kind-negative", &of("golden-group", -1));
        }
        if (1..6).contains(&version) {
            recorder.record(version, "kind-of-later-versions", &of("golden-group", 2));
        }
        if version >= 4 {
            recorder.record(version, "of-nothing", &FindCoordinatorRequest::default());
            let twice = vec![text("golden-group"), text("golden-group")];
            recorder.record(version, "twice", &FindCoordinatorRequest::default().with_coordinator_keys(twice));
        }
    }
}

struct Waiting {
    first: kafka_protocol::protocol::StrBytes,
    asked: usize,
}

fn commit(recorder: &mut Recorder, group: &str) {
    let partition = OffsetCommitRequestPartition::default().with_committed_offset(1);
    let topic = OffsetCommitRequestTopic::default().with_name(name("golden-seen")).with_partitions(vec![partition]);
    let request = OffsetCommitRequest::default().with_group_id(id(group)).with_generation_id_or_member_epoch(-1).with_topics(vec![topic]);
    recorder.record(5, "commits", &request);
}

fn in_every_state(recorder: &mut Recorder) -> Waiting {
    let told = &mut Told { recorder: &mut *recorder, version: JOIN, group: "empty".to_owned() };
    let range: &[(&'static str, &'static [u8])] = &[("range", PLAIN)];
    let member = told.first_member(range);
    told.sync("sync", &told.sync_request(&member, 1, &[(&member, b"all of it")]));
    told.leave("leaves", "empty", &member);
    told.group = "stable".to_owned();
    let member = told.first_member(range);
    told.sync("sync", &told.sync_request(&member, 1, &[(&member, b"all of it")]));
    told.group = "completing".to_owned();
    told.first_member(range);
    told.group = "workers".to_owned();
    let worker = told.join_request(&text(""), &[("default", b"opaque")]).with_protocol_type(text("connect"));
    told.recorder.record(JOIN, "works", &worker);
    let member = told.recorder.member();
    told.sync("worker-sync", &told.sync_request(&member, 1, &[(&member, b"tasks")]));
    // One that was given an id and has not come back with it.
    told.group = "pending".to_owned();
    told.recorder.record(4, "asks-for-an-id", &told.join_request(&text(""), range).with_rebalance_timeout_ms(60_000));
    told.group = "preparing".to_owned();
    let first = told.first_member(range);
    told.sync("sync", &told.sync_request(&first, 1, &[(&first, b"all of it")]));
    // From version 4 on its id is known to the story before its join is answered.
    told.version = 5;
    let (asked, _) = told.new_member(1, range);
    commit(recorder, "simple");
    Waiting { first, asked }
}

fn describe(recorder: &mut Recorder, version: i16) {
    let of = |groups: &[&str]| DescribeGroupsRequest::default().with_groups(groups.iter().map(|group| id(group)).collect());
    recorder.record(version, "every-state", &of(&STATES));
    recorder.record(version, "nothing", &of(&[]));
    recorder.record(version, "no-id", &of(&["", "stable"]));
    recorder.record(version, "twice", &of(&["simple", "simple"]));
    if version >= 3 {
        let all = of(&["stable", "golden-no-group", ""]).with_include_authorized_operations(true);
        recorder.record(version, "with-operations", &all);
    }
}

fn list(recorder: &mut Recorder, version: i16) {
    recorder.record(version, "all", &ListGroupsRequest::default());
    if version < 4 {
        return;
    }
    let filters: [(&str, &[&'static str]); 8] = [
        ("stable", &["Stable"]),
        ("lower-case", &["stable"]),
        ("two-states", &["Empty", "PreparingRebalance"]),
        ("completing", &["CompletingRebalance"]),
        ("dead", &["Dead"]),
        ("of-other-kinds", &["Assigning", "Reconciling"]),
        ("no-such-state", &["Nonsense"]),
        ("one-such-state", &["Nonsense", "Stable", "Stable"]),
    ];
    for (case, states) in filters {
        recorder.record(version, case, &ListGroupsRequest::default().with_states_filter(states.iter().copied().map(text).collect()));
    }
    if version < 5 {
        return;
    }
    let filters: [(&str, &[&'static str], &[&'static str]); 7] = [
        ("classic", &["classic"], &[]),
        ("upper-case", &["CLASSIC"], &[]),
        ("consumer", &["consumer"], &[]),
        ("share-and-streams", &["share", "streams"], &[]),
        ("no-such-type", &["nonsense"], &[]),
        ("one-such-type", &["nonsense", "classic"], &[]),
        ("classic-and-stable", &["Classic"], &["Stable"]),
    ];
    for (case, types, states) in filters {
        let request = ListGroupsRequest::default()
            .with_types_filter(types.iter().copied().map(text).collect())
            .with_states_filter(states.iter().copied().map(text).collect());
        recorder.record(version, case, &request);
    }
}

fn delete(recorder: &mut Recorder, version: i16) {
    let of = |groups: &[&str]| DeleteGroupsRequest::default().with_groups_names(groups.iter().map(|group| id(group)).collect());
    recorder.record(version, "nothing", &of(&[]));
    recorder.record(version, "not-empty", &of(&["stable", "completing", "preparing", "workers", "pending"]));
    recorder.record(version, "unknown", &of(&["golden-no-group", ""]));
    let simple = format!("deleted-v{version}");
    commit(recorder, &simple);
    recorder.record(version, "some", &of(&[&simple, "stable", "golden-no-group"]));
    recorder.record(version, "already", &of(&[&simple]));
    commit(recorder, &simple);
    recorder.record(version, "twice", &of(&[&simple, &simple]));
    if version == 2 {
        recorder.record(version, "empty", &of(&["empty", "simple"]));
    }
    recorder.record(0, "after-deletion", &DescribeGroupsRequest::default().with_groups(vec![id(&simple), id("empty")]));
}
