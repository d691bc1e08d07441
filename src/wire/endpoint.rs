//! What Produce and Fetch responses tell of leaders, so that a client finds a new one without asking for metadata (KIP-951).
//!
//! Called by `produce` and `fetch`; calls the writing of the protocol's variable parts.

use bytes::{BufMut, BytesMut};
use kafka_protocol::protocol::StrBytes;

use super::cursor::Lengths;
use super::put::{put_nullable_string, put_small_tag, put_string, put_uvarint};
use crate::types::{LeaderEpoch, NodeId};

/// Who leads a partition now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CurrentLeader {
    pub leader: NodeId,
    pub epoch: LeaderEpoch,
}

/// Where a leader named in the response listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NodeEndpoint {
    pub node: NodeId,
    pub host: StrBytes,
    pub port: i32,
    pub rack: Option<StrBytes>,
}

impl CurrentLeader {
    pub(super) fn put_tag(self, to: &mut BytesMut, tag: u8) {
        put_small_tag(to, tag, 9, |to| {
            to.put_i32(self.leader.get());
            to.put_i32(self.epoch.get());
            to.put_u8(0);
        });
    }
}

/// The tagged fields that end a Produce or Fetch response: the endpoints, if any, under tag 0.
pub(super) fn put_endpoints(to: &mut BytesMut, endpoints: &[NodeEndpoint]) {
    if endpoints.is_empty() {
        to.put_u8(0);
        return;
    }
    let mut value = BytesMut::with_capacity(endpoints.len() * 64);
    put_uvarint(&mut value, endpoints.len() as u32 + 1);
    for endpoint in endpoints {
        value.put_i32(endpoint.node.get());
        put_string(&mut value, Lengths::Compact, &endpoint.host);
        value.put_i32(endpoint.port);
        put_nullable_string(&mut value, Lengths::Compact, endpoint.rack.as_deref());
        value.put_u8(0);
    }
    to.put_u8(1);
    to.put_u8(0);
    put_uvarint(to, value.len() as u32);
    to.put_slice(&value);
}
