//! Groups over a raw connection: the coordinator, members that join and are told what is theirs, commits. And the bodies of the versions
//! that the protocol crate does not know.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use kafka_protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopic};
use kafka_protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use kafka_protocol::messages::{FindCoordinatorRequest, GroupId, HeartbeatRequest};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::eventually;
use super::raw::{Connection, NoAnswer};
use super::topics::name;

const UNKNOWN_MEMBER_ID: i16 = 25;
const COORDINATOR: Duration = Duration::from_secs(60);

pub fn id(group: &str) -> GroupId {
    GroupId(text(group))
}

pub fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

/// Until the broker has a coordinator for the group and that one has read what it keeps.
pub fn wait_for_coordinator(connection: &mut Connection, group: &str) {
    let ask = FindCoordinatorRequest::default().with_key(text(group));
    eventually("a group coordinator", COORDINATOR, || (connection.call(0, &ask).error_code == 0).then_some(()));
    let beat = HeartbeatRequest::default().with_group_id(id(group)).with_member_id(text("nobody"));
    eventually("the coordinator serves", COORDINATOR, || (connection.call(0, &beat).error_code == UNKNOWN_MEMBER_ID).then_some(()));
}

/// A partition's offset, the epoch of its leader and what the client keeps beside it.
pub type Commit<'a> = (i32, i64, i32, Option<&'a str>);

/// The body of OffsetCommit v10, where topics are known by their ids.
pub fn commit_by_id(group: &str, generation: i32, member: &str, instance: Option<&str>, topics: &[(Uuid, &[Commit])]) -> BytesMut {
    let mut body = BytesMut::new();
    put_text(&mut body, Some(group));
    body.put_i32(generation);
    put_text(&mut body, Some(member));
    put_text(&mut body, instance);
    put_length(&mut body, topics.len());
    for (topic, partitions) in topics {
        body.put_slice(topic.as_bytes());
        put_length(&mut body, partitions.len());
        for (partition, offset, epoch, metadata) in *partitions {
            body.put_i32(*partition);
            body.put_i64(*offset);
            body.put_i32(*epoch);
            put_text(&mut body, *metadata);
            no_tags(&mut body);
        }
        no_tags(&mut body);
    }
    no_tags(&mut body);
    body
}

/// One group of an OffsetFetch v10: its id, a member with its epoch, and partitions of topics by their ids, or all.
pub struct FetchById<'a> {
    pub group: &'a str,
    pub member: Option<&'a str>,
    pub epoch: i32,
    pub topics: Option<&'a [(Uuid, &'a [i32])]>,
}

/// The body of OffsetFetch v10.
pub fn fetch_by_id(groups: &[FetchById], require_stable: bool) -> BytesMut {
    let mut body = BytesMut::new();
    put_length(&mut body, groups.len());
    for group in groups {
        put_text(&mut body, Some(group.group));
        put_text(&mut body, group.member);
        body.put_i32(group.epoch);
        match group.topics {
            None => body.put_u8(0),
            Some(topics) => {
                put_length(&mut body, topics.len());
                for (topic, partitions) in topics {
                    body.put_slice(topic.as_bytes());
                    put_length(&mut body, partitions.len());
                    partitions.iter().for_each(|partition| body.put_i32(*partition));
                    no_tags(&mut body);
                }
            }
        }
        no_tags(&mut body);
    }
    body.put_u8(u8::from(require_stable));
    no_tags(&mut body);
    body
}

/// Compact lengths count one more, so that 0 is nothing at all; a test's are small enough for two bytes.
fn put_length(body: &mut BytesMut, length: usize) {
    let more = length + 1;
    assert!(more < 1 << 14, "{length}");
    if more >= 1 << 7 {
        body.put_u8((more & 0x7f) as u8 | 0x80);
    }
    body.put_u8(if more >= 1 << 7 { (more >> 7) as u8 } else { more as u8 });
}

fn put_text(body: &mut BytesMut, text: Option<&str>) {
    match text {
        None => body.put_u8(0),
        Some(text) => {
            put_length(body, text.len());
            body.put_slice(text.as_bytes());
        }
    }
}

fn no_tags(body: &mut BytesMut) {
    body.put_u8(0);
}

/// Of JoinGroup, SyncGroup, Heartbeat and OffsetCommit: the version of a client that knows of static members, but for the first.
const JOIN: i16 = 5;
const SYNC: i16 = 3;
const BEAT: i16 = 3;
const COMMIT: i16 = 7;
const LEAVE: i16 = 3;
const MEMBER_ID_REQUIRED: i16 = 79;

/// Why a member gets no further.
#[derive(Debug)]
pub enum Stopped {
    /// The broker is gone.
    Broker,
    /// It was told why.
    Told(i16),
}

impl From<NoAnswer> for Stopped {
    fn from(why: NoAnswer) -> Stopped {
        match why {
            NoAnswer::Closed | NoAnswer::Io(_) => Stopped::Broker,
            NoAnswer::Silent => panic!("a member was left without an answer"),
        }
    }
}

fn told(code: i16) -> Result<(), Stopped> {
    if code == 0 { Ok(()) } else { Err(Stopped::Told(code)) }
}

/// A member of a generation of its group.
#[derive(Clone, Debug)]
pub struct Joined {
    pub group: String,
    pub member: StrBytes,
    pub generation: i32,
    /// All members, if this one leads them.
    pub led: Vec<StrBytes>,
}

/// How long a member may be silent, and how long the others wait for it to join again.
#[derive(Clone, Copy)]
pub struct Patience {
    pub session_ms: i32,
    pub rebalance_ms: i32,
}

/// What a consumer says of itself that subscribes to nothing in particular.
const SUBSCRIPTION: &[u8] = &[0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];

fn join_request(group: &str, member: &StrBytes, patience: Patience, said: Bytes) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(said);
    JoinGroupRequest::default()
        .with_group_id(id(group))
        .with_session_timeout_ms(patience.session_ms)
        .with_rebalance_timeout_ms(patience.rebalance_ms)
        .with_member_id(member.clone())
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
}

/// Asks to join, and for an id first if it has none; gives the id. The answer is taken by [`joined`]: it comes when all have joined.
pub fn ask_to_join(connection: &mut Connection, group: &str, member: &StrBytes, patience: Patience) -> Result<StrBytes, Stopped> {
    ask_to_join_saying(connection, group, member, patience, Bytes::from_static(SUBSCRIPTION))
}

/// The same, of a member that says this of itself.
pub fn ask_to_join_saying(
    connection: &mut Connection,
    group: &str,
    member: &StrBytes,
    patience: Patience,
    said: Bytes,
) -> Result<StrBytes, Stopped> {
    let mut member = member.clone();
    if member.is_empty() {
        let answer = connection.try_call(JOIN, &join_request(group, &member, patience, said.clone()))?;
        if answer.error_code != MEMBER_ID_REQUIRED {
            return Err(Stopped::Told(answer.error_code));
        }
        member = answer.member_id;
    }
    let (_, frame) = connection.frame(JOIN, &join_request(group, &member, patience, said));
    connection.send_frame(&frame).map_err(|_| Stopped::Broker)?;
    Ok(member)
}

pub fn joined(connection: &mut Connection, group: &str) -> Result<Joined, Stopped> {
    let (_, answer) = connection.try_receive::<JoinGroupRequest>(JOIN)?;
    told(answer.error_code)?;
    let led = answer.members.into_iter().map(|member| member.member_id).collect();
    Ok(Joined { group: group.to_owned(), member: answer.member_id, generation: answer.generation_id, led })
}

/// The partitions that the leader gave this member: its own share first, of `partitions` to be shared. The answer is taken by [`share`].
pub fn ask_for_share(connection: &mut Connection, joined: &Joined, partitions: i32) -> Result<(), Stopped> {
    let all = joined.led.len();
    let shares = joined.led.iter().enumerate().map(|(place, member)| {
        let share: Vec<u8> = (0..partitions).skip(place).step_by(all).flat_map(i32::to_be_bytes).collect();
        SyncGroupRequestAssignment::default().with_member_id(member.clone()).with_assignment(share.into())
    });
    let request = SyncGroupRequest::default()
        .with_group_id(id(&joined.group))
        .with_generation_id(joined.generation)
        .with_member_id(joined.member.clone())
        .with_assignments(shares.collect());
    let (_, frame) = connection.frame(SYNC, &request);
    connection.send_frame(&frame).map_err(|_| Stopped::Broker)
}

pub fn share(connection: &mut Connection) -> Result<Vec<i32>, Stopped> {
    let (_, answer) = connection.try_receive::<SyncGroupRequest>(SYNC)?;
    told(answer.error_code)?;
    Ok(answer.assignment.chunks_exact(4).map(|bytes| i32::from_be_bytes(bytes.try_into().expect("four"))).collect())
}

pub fn beat(connection: &mut Connection, joined: &Joined) -> Result<(), Stopped> {
    let request = HeartbeatRequest::default()
        .with_group_id(id(&joined.group))
        .with_generation_id(joined.generation)
        .with_member_id(joined.member.clone());
    told(connection.try_call(BEAT, &request)?.error_code)
}

pub fn leave(connection: &mut Connection, joined: &Joined) -> Result<(), Stopped> {
    let members = vec![MemberIdentity::default().with_member_id(joined.member.clone())];
    told(connection.try_call(LEAVE, &LeaveGroupRequest::default().with_group_id(id(&joined.group)).with_members(members))?.error_code)
}

/// Commits one offset: as a member, or as nobody to a group that has none.
pub fn commit(
    connection: &mut Connection,
    group: &str,
    by: Option<&Joined>,
    topic: &str,
    partition: i32,
    offset: i64,
) -> Result<(), Stopped> {
    let line = OffsetCommitRequestPartition::default().with_partition_index(partition).with_committed_offset(offset);
    let request = OffsetCommitRequest::default()
        .with_group_id(id(group))
        .with_generation_id_or_member_epoch(by.map_or(-1, |joined| joined.generation))
        .with_member_id(by.map(|joined| joined.member.clone()).unwrap_or_default())
        .with_topics(vec![OffsetCommitRequestTopic::default().with_name(name(topic)).with_partitions(vec![line])]);
    told(connection.try_call(COMMIT, &request)?.topics[0].partitions[0].error_code)
}

/// What a group committed for a topic, by partition; -1 where it did not.
pub fn committed(connection: &mut Connection, group: &str, topic: &str, partitions: i32) -> Vec<i64> {
    let asked = OffsetFetchRequestTopic::default().with_name(name(topic)).with_partition_indexes((0..partitions).collect());
    let answer = connection.call(5, &OffsetFetchRequest::default().with_group_id(id(group)).with_topics(Some(vec![asked])));
    assert_eq!(answer.error_code, 0, "OffsetFetch of {group}");
    let mut lines = answer.topics[0].partitions.clone();
    lines.sort_by_key(|line| line.partition_index);
    lines.iter().map(|line| line.committed_offset).collect()
}
