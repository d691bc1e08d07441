//! Members of groups: one alone, two, static ones. They join, are told what is theirs, say that they live, leave, and say what is wrong.

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use kafka_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use kafka_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use kafka_protocol::messages::{DescribeGroupsRequest, HeartbeatRequest};
use kafka_protocol::protocol::StrBytes;

use super::text;
use crate::support::groups::id;
use crate::wire::golden::capture::Recorder;

pub const CONSUMER: &str = "consumer";
/// Within what the broker allows, and longer than the recording of a part.
pub const SESSION_MS: i32 = 600_000;
/// Of DescribeGroups, to see what became of a group.
const DESCRIBE: i16 = 5;

pub fn run(recorder: &mut Recorder) {
    recorder.wait_for_coordinator();
    for version in 0..=9 {
        let told = &mut Told { recorder: &mut *recorder, version, group: format!("alone-v{version}") };
        refused(told);
        alone(told);
        told.group = format!("pair-v{version}");
        pair(told);
        told.group = format!("left-v{version}");
        left_while_joining(told);
    }
    for version in 5..=9 {
        let told = &mut Told { recorder: &mut *recorder, version, group: format!("static-v{version}") };
        statics(told);
    }
}

/// A group, and the version of JoinGroup in which its story is told; the other requests come in the version of the same age.
pub struct Told<'a, 'b> {
    pub recorder: &'a mut Recorder<'b>,
    pub version: i16,
    pub group: String,
}

pub type Protocols<'a> = &'a [(&'static str, &'static [u8])];

/// Subscriptions to no topic, with a byte of the user's to tell them apart. Kafka reads what those of type `consumer` subscribe to, and fails
/// inside itself, never answering, where it finds something else.
pub const PLAIN: &[u8] = b"\0\0\0\0\0\0\0\0\0\x01a";
pub const CHANGED: &[u8] = b"\0\0\0\0\0\0\0\0\0\x01b";

const ONE: Protocols = &[("range", PLAIN)];
const TWO: Protocols = &[("range", PLAIN), ("roundrobin", PLAIN)];
const OTHER: Protocols = &[("sticky", PLAIN), ("roundrobin", PLAIN)];
const NEITHER: Protocols = &[("sticky", PLAIN)];

impl Told<'_, '_> {
    pub fn join_request(&self, member: &StrBytes, protocols: Protocols) -> JoinGroupRequest {
        let protocols = protocols
            .iter()
            .map(|(name, metadata)| JoinGroupRequestProtocol::default().with_name(text(name)).with_metadata(Bytes::from_static(metadata)))
            .collect();
        let request = JoinGroupRequest::default()
            .with_group_id(id(&self.group))
            .with_session_timeout_ms(SESSION_MS)
            .with_member_id(member.clone())
            .with_protocol_type(text(CONSUMER))
            .with_protocols(protocols);
        if self.version >= 1 { request.with_rebalance_timeout_ms(SESSION_MS) } else { request }
    }

    fn join(&mut self, case: &str, request: &JoinGroupRequest) -> StrBytes {
        self.recorder.record(self.version, case, request);
        self.recorder.member()
    }

    /// From nothing to a member that joins: from version 4 on it is given its id first.
    pub fn new_member(&mut self, lane: usize, protocols: Protocols) -> (usize, StrBytes) {
        let mut request = self.join_request(&text(""), protocols);
        if self.version >= 4 {
            let asked = self.recorder.ask(lane, self.version, "asks-for-an-id", &request);
            self.recorder.take_answer(asked);
            request.member_id = self.recorder.member_of(asked);
        }
        let id = request.member_id.clone();
        (self.recorder.ask(lane, self.version, "new-member", &request), id)
    }

    /// The first member of a group is not made to wait.
    pub fn first_member(&mut self, protocols: Protocols) -> StrBytes {
        let (asked, _) = self.new_member(0, protocols);
        self.recorder.take_answer(asked);
        self.recorder.member()
    }

    fn sync_version(&self) -> i16 {
        self.version.min(5)
    }

    pub fn sync_request(&self, member: &StrBytes, generation: i32, shares: &[(&StrBytes, &'static [u8])]) -> SyncGroupRequest {
        let assignments = shares
            .iter()
            .map(|(member, share)| {
                SyncGroupRequestAssignment::default().with_member_id((*member).clone()).with_assignment(Bytes::from_static(share))
            })
            .collect();
        let request = SyncGroupRequest::default()
            .with_group_id(id(&self.group))
            .with_generation_id(generation)
            .with_member_id(member.clone())
            .with_assignments(assignments);
        if self.sync_version() >= 5 {
            return request.with_protocol_type(Some(text(CONSUMER))).with_protocol_name(Some(text("range")));
        }
        request
    }

    pub fn sync(&mut self, case: &str, request: &SyncGroupRequest) {
        self.recorder.record(self.sync_version(), case, request);
    }

    fn beat_request(&self, member: &StrBytes, generation: i32) -> HeartbeatRequest {
        HeartbeatRequest::default().with_group_id(id(&self.group)).with_generation_id(generation).with_member_id(member.clone())
    }

    fn beat(&mut self, case: &str, request: &HeartbeatRequest) {
        self.recorder.record(self.version.min(4), case, request);
    }

    /// A member leaves: several at once from version 3 on.
    pub fn leave(&mut self, case: &str, group: &str, member: &StrBytes) {
        let version = self.version.min(5);
        let request = LeaveGroupRequest::default().with_group_id(id(group));
        let request = match version {
            3.. => request.with_members(vec![leaver(version, member, None)]),
            _ => request.with_member_id(member.clone()),
        };
        self.recorder.record(version, case, &request);
    }

    fn describe(&mut self, case: &str) {
        let request = DescribeGroupsRequest::default().with_groups(vec![id(&self.group)]);
        self.recorder.record(DESCRIBE, case, &request);
    }
}

fn leaver(version: i16, member: &StrBytes, instance: Option<&'static str>) -> MemberIdentity {
    let leaver = MemberIdentity::default().with_member_id(member.clone()).with_group_instance_id(instance.map(text));
    if version >= 5 { leaver.with_reason(Some(text("closing"))) } else { leaver }
}

/// Before there is a group.
fn refused(told: &mut Told) {
    let (nobody, stranger) = (text(""), text("stranger"));
    let good = told.join_request(&nobody, ONE);
    told.join("no-group-id", &good.clone().with_group_id(id("")));
    told.join("session-too-short", &good.clone().with_session_timeout_ms(5_999));
    told.join("session-too-long", &good.clone().with_session_timeout_ms(1_800_001));
    told.join("session-negative", &good.clone().with_session_timeout_ms(-1));
    told.join("stranger-to-no-group", &told.join_request(&stranger, ONE));
    told.join("no-protocols", &good.clone().with_protocols(Vec::new()));
    told.join("no-protocol-type", &good.clone().with_protocol_type(text("")));
    told.sync("sync-of-no-group", &told.sync_request(&stranger, 1, &[]));
    told.sync("sync-without-group-id", &told.sync_request(&stranger, 1, &[]).with_group_id(id("")));
    told.beat("beat-of-no-group", &told.beat_request(&stranger, 1));
    told.beat("beat-without-group-id", &told.beat_request(&stranger, 1).with_group_id(id("")));
    told.leave("leaves-no-group", "missing", &stranger);
    told.leave("leaves-without-group-id", "", &stranger);
    told.describe("not-there-yet");
}

fn alone(told: &mut Told) {
    let (nobody, stranger) = (text(""), text("stranger"));
    let member = told.first_member(TWO);
    if told.version >= 4 {
        told.join("stranger-beside-one", &told.join_request(&stranger, TWO));
    }
    told.beat("beat-before-sync", &told.beat_request(&member, 1));
    told.describe("before-sync");
    told.sync("sync-of-older", &told.sync_request(&member, 0, &[]));
    told.sync("sync-of-later", &told.sync_request(&member, 2, &[]));
    told.sync("sync-of-stranger", &told.sync_request(&stranger, 1, &[]));
    if told.version >= 5 {
        let good = || told.sync_request(&member, 1, &[]);
        let cases = [
            ("sync-other-type", good().with_protocol_type(Some(text("connect")))),
            ("sync-other-protocol", good().with_protocol_name(Some(text("roundrobin")))),
            ("sync-without-type", good().with_protocol_type(None)),
            ("sync-without-protocol", good().with_protocol_name(None)),
            ("sync-of-unknown-instance", good().with_group_instance_id(Some(text("instance")))),
        ];
        for (case, request) in cases {
            told.sync(case, &request);
        }
    }
    told.sync("sync", &told.sync_request(&member, 1, &[(&member, b"all of it"), (&stranger, b"nothing")]));
    told.sync("sync-again", &told.sync_request(&member, 1, &[(&member, b"something else")]));
    told.describe("stable");
    told.beat("beat", &told.beat_request(&member, 1));
    told.beat("beat-of-older", &told.beat_request(&member, 0));
    told.beat("beat-of-later", &told.beat_request(&member, 2));
    told.beat("beat-of-stranger", &told.beat_request(&stranger, 1));
    told.beat("beat-of-nobody", &told.beat_request(&nobody, -1));
    told.join("stranger", &told.join_request(&stranger, TWO));
    told.join("other-type", &told.join_request(&nobody, TWO).with_protocol_type(text("connect")));
    told.join("no-protocol-in-common", &told.join_request(&nobody, NEITHER));
    told.join("joins-with-none", &told.join_request(&member, &[]));
    told.join("joins-with-another", &told.join_request(&member, NEITHER));
    told.join("joins-again", &told.join_request(&member, TWO));
    told.sync("sync-of-generation-before", &told.sync_request(&member, 1, &[]));
    told.sync("sync-of-new-generation", &told.sync_request(&member, 2, &[]));
    told.leave("stranger-leaves", &told.group.clone(), &stranger);
    if told.version >= 3 {
        let version = told.version.min(5);
        let group = id(&told.group);
        let none = LeaveGroupRequest::default().with_group_id(group.clone());
        told.recorder.record(version, "nobody-leaves", &none);
        let unknown =
            [leaver(version, &stranger, None), leaver(version, &nobody, Some("instance")), leaver(version, &member, Some("instance"))];
        told.recorder.record(version, "unknown-ones-leave", &none.clone().with_members(unknown.to_vec()));
        let twice = [leaver(version, &member, None), leaver(version, &nobody, None), leaver(version, &member, None)];
        told.recorder.record(version, "leaves-twice", &none.with_members(twice.to_vec()));
    }
    told.leave("leaves", &told.group.clone(), &member);
    told.describe("empty");
    told.beat("beat-after-it-left", &told.beat_request(&member, 2));
    told.sync("sync-after-it-left", &told.sync_request(&member, 2, &[]));
    told.join("joins-after-it-left", &told.join_request(&member, TWO));
    told.join("empty-other-type", &told.join_request(&stranger, TWO).with_protocol_type(text("connect")));
}

fn pair(told: &mut Told) {
    let first = told.first_member(TWO);
    told.sync("sync", &told.sync_request(&first, 1, &[(&first, b"all of it")]));
    let (joining, _) = told.new_member(1, OTHER);
    told.beat("beat-in-rebalance", &told.beat_request(&first, 1));
    told.beat("beat-of-older-in-rebalance", &told.beat_request(&first, 0));
    told.sync("sync-in-rebalance", &told.sync_request(&first, 1, &[]));
    told.join("stranger-in-rebalance", &told.join_request(&text("stranger"), TWO));
    told.join("no-protocol-in-common-in-rebalance", &told.join_request(&text(""), NEITHER));
    let leader = told.join_request(&first, TWO);
    let leading = told.recorder.ask(0, told.version, "leader-joins-again", &leader);
    told.recorder.take_answer(joining);
    told.recorder.take_answer(leading);
    let second = told.recorder.member_of(joining);
    let in_turns = |request: SyncGroupRequest| match request.protocol_name {
        Some(_) => request.with_protocol_name(Some(text("roundrobin"))),
        None => request,
    };
    // A follower waits for what its leader says.
    let waits = in_turns(told.sync_request(&second, 2, &[]));
    let following = told.recorder.ask(1, told.sync_version(), "follower-waits", &waits);
    told.beat("beat-before-the-leader-syncs", &told.beat_request(&first, 2));
    told.join("follower-joins-before-the-leader-syncs", &told.join_request(&first, TWO));
    let shares = in_turns(told.sync_request(&first, 2, &[(&first, b"one half"), (&second, b"other half")]));
    told.sync("leader-syncs", &shares);
    told.recorder.take_answer(following);
    told.describe("stable-pair");
    let again = in_turns(told.sync_request(&second, 2, &[]));
    told.sync("follower-syncs-again", &again);
    told.join("follower-joins-again", &told.join_request(&second, OTHER));
    told.beat("follower-lives", &told.beat_request(&second, 2));
    // What it subscribes to has changed: all are asked again, and the leader leaves.
    let changed = told.join_request(&second, &[("sticky", PLAIN), ("roundrobin", CHANGED)]);
    let changing = told.recorder.ask(1, told.version, "follower-changes", &changed);
    told.leave("leader-leaves", &told.group.clone(), &first);
    told.recorder.take_answer(changing);
    told.describe("led-by-the-other");
}

/// Those that wait are answered by who comes and who goes.
fn left_while_joining(told: &mut Told) {
    let first = told.first_member(ONE);
    told.sync("sync", &told.sync_request(&first, 1, &[(&first, b"all of it")]));
    let (joining, pending) = told.new_member(1, ONE);
    if told.version >= 4 {
        // Its join is answered when it leaves, and the group goes on without it.
        told.leave("waiting-one-leaves", &told.group.clone(), &pending);
        told.recorder.take_answer(joining);
        told.join("first-joins-again", &told.join_request(&first, ONE));
    } else {
        told.leave("first-one-leaves", &told.group.clone(), &first);
        told.recorder.take_answer(joining);
    }
    told.describe("one-is-left");
}

fn statics(told: &mut Told) {
    let nobody = text("");
    let instance = |request: JoinGroupRequest, name: &'static str| request.with_group_instance_id(Some(text(name)));
    let unnamed = instance(told.join_request(&nobody, ONE), "").with_group_id(id(&format!("unnamed-v{}", told.version)));
    told.join("empty-instance", &unnamed);
    told.join("unknown-instance-and-member", &instance(told.join_request(&text("stranger"), ONE), "one"));
    let first = told.join("static", &instance(told.join_request(&nobody, ONE), "one"));
    let as_one = |request: SyncGroupRequest| request.with_group_instance_id(Some(text("one")));
    told.sync("static-sync", &as_one(told.sync_request(&first, 1, &[(&first, b"all of it")])));
    told.describe("static-stable");
    let beats = |told: &mut Told, member: &StrBytes, generation: i32, when: &str| {
        let beat = told.beat_request(member, generation);
        told.beat(&format!("beat-{when}"), &beat);
        told.beat(&format!("beat-as-one-{when}"), &beat.clone().with_group_instance_id(Some(text("one"))));
        told.beat(&format!("beat-as-two-{when}"), &beat.with_group_instance_id(Some(text("two"))));
    };
    beats(told, &first, 1, "of-the-first");
    // It comes back under another id: nobody else is disturbed.
    let second = told.join("comes-back", &instance(told.join_request(&nobody, ONE), "one"));
    beats(told, &first, 1, "of-the-replaced");
    beats(told, &second, 1, "of-the-replacing");
    told.join("replaced-joins", &instance(told.join_request(&first, ONE), "one"));
    told.sync("replaced-syncs", &as_one(told.sync_request(&first, 1, &[])));
    told.sync("replacing-syncs", &as_one(told.sync_request(&second, 1, &[])));
    told.join("replaced-joins-unnamed", &told.join_request(&first, ONE));
    told.join("replacing-joins-unnamed", &told.join_request(&second, ONE));
    told.describe("after-the-replacement");
    // What it can do has changed: the group is asked anew.
    let third = told.join("comes-back-changed", &instance(told.join_request(&nobody, TWO), "one"));
    told.beat("beat-after-change", &told.beat_request(&third, 2));
    told.describe("after-the-change");
    told.join("comes-back-incompatible", &instance(told.join_request(&nobody, NEITHER), "one"));
    let version = told.version.min(5);
    let leaves = |told: &mut Told, case: &str, member: &StrBytes, name: &'static str| {
        let request = LeaveGroupRequest::default().with_group_id(id(&told.group)).with_members(vec![leaver(version, member, Some(name))]);
        told.recorder.record(version, case, &request);
    };
    leaves(told, "replaced-leaves", &first, "one");
    leaves(told, "unknown-instance-leaves", &nobody, "two");
    leaves(told, "instance-is-removed", &nobody, "one");
    leaves(told, "instance-is-removed-again", &nobody, "one");
    told.describe("static-empty");
}
