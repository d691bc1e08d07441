//! Groups over a raw connection: the coordinator, members that join and are told what is theirs, commits. And the bodies of the versions
//! that the protocol crate does not know.

use std::time::Duration;

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::{FindCoordinatorRequest, GroupId, HeartbeatRequest};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::eventually;
use super::raw::Connection;

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
