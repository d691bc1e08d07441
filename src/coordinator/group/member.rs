//! One member of a group.

use bytes::Bytes;

use super::StrBytes;
use crate::coordinator::Token;

/// A request that waits for its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Parked {
    pub token: Token,
    pub version: i16,
}

/// A way of assigning partitions that a member knows, and what it tells the leader for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Protocol {
    pub name: StrBytes,
    pub metadata: Bytes,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Member {
    pub id: StrBytes,
    /// A static member's name (KIP-345), which outlives its ids.
    pub instance_id: Option<StrBytes>,
    pub client_id: StrBytes,
    pub client_host: StrBytes,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
    /// Best first.
    pub protocols: Vec<Protocol>,
    pub assignment: Bytes,
    /// Changed through the group alone, which counts them.
    pub(super) join: Option<Parked>,
    pub sync: Option<Parked>,
    /// Joined, and not yet through a rebalance.
    pub is_new: bool,
}

impl Member {
    pub fn is_static(&self) -> bool {
        self.instance_id.is_some()
    }

    pub fn is_joining(&self) -> bool {
        self.join.is_some()
    }

    pub fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|known| &*known.name == protocol)
    }

    /// Empty for a protocol that the member does not know.
    pub fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols.iter().find(|known| &*known.name == protocol).map(|known| known.metadata.clone()).unwrap_or_default()
    }

    /// Whether silence is excused: it is the group that keeps the member waiting.
    pub fn waits_for_the_group(&self) -> bool {
        !self.is_new && (self.join.is_some() || self.sync.is_some())
    }
}
