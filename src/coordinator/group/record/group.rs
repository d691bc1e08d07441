//! Keys and values of groups.
//!
//! ```text
//!   0   protocol type | generation i32 | protocol? | leader? | members
//!   2   a timestamp i64 before the members
//!   4   flexible
//!   member   id | instance id? (3) | client id | client host | rebalance timeout i32 (1) | session timeout i32 | subscription | assignment
//! ```

use bytes::Bytes;

use super::reader::{Malformed, Reader};
use super::writer::Writer;
use super::{GROUP_KEY, GroupValue, MemberValue};
use crate::types::TimestampMs;

const WRITTEN: i16 = 3;
const NEWEST: i16 = 4;
const REBALANCE_TIMEOUT_FROM: i16 = 1;
const TIMESTAMP_FROM: i16 = 2;
const INSTANCE_ID_FROM: i16 = 3;
const FLEXIBLE_FROM: i16 = 4;

/// What the smallest member takes, which is one of a flexible version without any text or bytes.
const MEMBER_BYTES_MIN: usize = 15;

pub(super) fn key(group: &str) -> Bytes {
    let mut out = Writer::new(GROUP_KEY);
    out.string(group);
    out.finish()
}

pub(super) fn decode(value: &[u8]) -> Result<GroupValue, Malformed> {
    let mut value = Reader::new(value);
    let version = value.i16()?;
    if !(0..=NEWEST).contains(&version) {
        return Err(Malformed::Version(version));
    }
    let flexible = version >= FLEXIBLE_FROM;
    let protocol_type = value.string(flexible)?;
    let generation = value.i32()?;
    let protocol = value.nullable_string(flexible)?;
    let leader = value.nullable_string(flexible)?;
    let since = if version >= TIMESTAMP_FROM { Some(TimestampMs(value.i64()?)) } else { None };
    let members = (0..value.count(flexible, MEMBER_BYTES_MIN)?).map(|_| member(&mut value, version)).collect::<Result<_, _>>()?;
    value.tags(flexible, |_, _| Ok(()))?;
    let since = since.filter(|at| *at != TimestampMs::NONE);
    Ok(GroupValue { protocol_type, generation, protocol, leader, since, members })
}

fn member(value: &mut Reader<'_>, version: i16) -> Result<MemberValue, Malformed> {
    let flexible = version >= FLEXIBLE_FROM;
    let member = MemberValue {
        member_id: value.string(flexible)?,
        instance_id: if version >= INSTANCE_ID_FROM { value.nullable_string(flexible)? } else { None },
        client_id: value.string(flexible)?,
        client_host: value.string(flexible)?,
        rebalance_timeout_ms: if version >= REBALANCE_TIMEOUT_FROM { value.i32()? } else { -1 },
        session_timeout_ms: value.i32()?,
        subscription: value.bytes(flexible)?,
        assignment: value.bytes(flexible)?,
    };
    value.tags(flexible, |_, _| Ok(()))?;
    Ok(member)
}

pub(super) fn encode(value: &GroupValue) -> Bytes {
    let mut out = Writer::new(WRITTEN);
    out.string(&value.protocol_type);
    out.i32(value.generation);
    out.nullable_string(value.protocol.as_deref());
    out.nullable_string(value.leader.as_deref());
    out.i64(value.since.unwrap_or(TimestampMs::NONE).get());
    out.i32(value.members.len() as i32);
    for member in &value.members {
        out.string(&member.member_id);
        out.nullable_string(member.instance_id.as_deref());
        out.string(&member.client_id);
        out.string(&member.client_host);
        out.i32(member.rebalance_timeout_ms);
        out.i32(member.session_timeout_ms);
        out.bytes(&member.subscription);
        out.bytes(&member.assignment);
    }
    out.finish()
}
