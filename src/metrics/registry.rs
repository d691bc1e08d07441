//! Everything one shard counts above its world, and what it hands out of it.

use std::rc::Rc;

use super::groups::CoordinationSnapshot;
use super::requests::ApiSnapshot;
use super::topics::TopicsSnapshot;
use super::{Committed, Coordination, Counter, GroupGauges, Requests, Timing, Topics, WorldSnapshot};
use crate::types::ShardId;

/// Why a connection was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rejection {
    /// `max.connections`
    Connections,
    /// `max.connections.per.ip` and its overrides
    ConnectionsOfAddress,
}

impl Rejection {
    pub(super) const ALL: [Rejection; 2] = [Rejection::Connections, Rejection::ConnectionsOfAddress];

    pub(super) fn label(self) -> &'static str {
        match self {
            Rejection::Connections => "connections",
            Rejection::ConnectionsOfAddress => "connections_of_address",
        }
    }
}

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closure {
    /// The peer closed it, or is gone.
    Peer,
    /// No request for too long.
    Idle,
    /// A request stopped arriving.
    Stuck,
    /// The broker stops.
    Stopping,
    /// Not a frame: a size out of range, or an end in the middle.
    BadFrame,
    /// A request this broker does not serve or cannot read.
    BadRequest,
    /// A request that could only be answered by closing: an error of acks=0, an answer that cannot be written.
    Unanswerable,
    /// The socket failed.
    Failed,
}

impl Closure {
    pub(super) const ALL: [Closure; 8] = [
        Closure::Peer,
        Closure::Idle,
        Closure::Stuck,
        Closure::Stopping,
        Closure::BadFrame,
        Closure::BadRequest,
        Closure::Unanswerable,
        Closure::Failed,
    ];

    pub(super) fn label(self) -> &'static str {
        match self {
            Closure::Peer => "peer",
            Closure::Idle => "idle",
            Closure::Stuck => "stuck",
            Closure::Stopping => "stopping",
            Closure::BadFrame => "bad_frame",
            Closure::BadRequest => "bad_request",
            Closure::Unanswerable => "unanswerable",
            Closure::Failed => "failed",
        }
    }
}

/// Connections of one shard.
#[derive(Default)]
pub struct Connections {
    accepted: Counter,
    rejected: [Counter; Rejection::ALL.len()],
    closed: [Counter; Closure::ALL.len()],
    received_bytes: Counter,
    sent_bytes: Counter,
}

impl Connections {
    pub fn on_accepted(&self) {
        self.accepted.increment();
    }

    pub fn on_rejected(&self, why: Rejection) {
        self.rejected[why as usize].increment();
    }

    pub fn on_closed(&self, why: Closure) {
        self.closed[why as usize].increment();
    }

    /// A request's frame, its size field included.
    pub fn on_received(&self, bytes: usize) {
        self.received_bytes.add(bytes as u64);
    }

    /// A response's frame, its size field included.
    pub fn on_sent(&self, bytes: u64) {
        self.sent_bytes.add(bytes);
    }
}

/// What a shard hears from the others, and how it fares with telling them.
#[derive(Default)]
pub struct Mail {
    /// Messages handled.
    pub received: Counter,
    /// Requests that had to wait because another shard has its fill of this one's.
    pub held_back: Counter,
}

/// One shard's.
pub struct Registry {
    timing: Timing,
    pub requests: Requests,
    pub topics: Topics,
    pub connections: Connections,
    pub mail: Mail,
    pub groups: Rc<Coordination>,
}

impl Registry {
    pub fn new(timing: Timing, topics_named_max: usize) -> Self {
        Self {
            timing,
            requests: Requests::default(),
            topics: Topics::new(topics_named_max),
            connections: Connections::default(),
            mail: Mail::default(),
            groups: Rc::default(),
        }
    }

    pub fn timing(&self) -> Timing {
        self.timing
    }

    pub fn snapshot(&self, shard: ShardId, gauges: Gauges, world: WorldSnapshot) -> ShardSnapshot {
        let connections = &self.connections;
        ShardSnapshot {
            shard,
            gauges,
            world,
            requests: self.requests.snapshot(),
            topics: self.topics.snapshot(),
            accepted: connections.accepted.get(),
            rejected: connections.rejected.each_ref().map(Counter::get),
            closed: connections.closed.each_ref().map(Counter::get),
            received_bytes: connections.received_bytes.get(),
            sent_bytes: connections.sent_bytes.get(),
            mail_received: self.mail.received.get(),
            mail_held_back: self.mail.held_back.get(),
            coordination: self.groups.snapshot(),
            committed: Vec::new(),
            committed_unnamed: 0,
        }
    }
}

/// What there is of a shard's things at the moment of a snapshot.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gauges {
    pub connections: u64,
    pub receive_bytes: u64,
    pub receive_bytes_max: u64,
    pub fetches_parked: u64,
    pub fetch_sessions: u64,
    pub fetch_session_partitions: u64,
    /// Since the start.
    pub fetch_sessions_evicted: u64,
    pub partitions: u64,
    pub image_version: i64,
    pub groups: GroupGauges,
}

/// One shard's numbers at one moment. Owned: it crosses shards.
#[derive(Clone, Debug)]
pub struct ShardSnapshot {
    pub(super) shard: ShardId,
    pub(super) gauges: Gauges,
    pub(super) world: WorldSnapshot,
    pub(super) requests: Vec<ApiSnapshot>,
    pub(super) topics: TopicsSnapshot,
    pub(super) accepted: u64,
    pub(super) rejected: [u64; Rejection::ALL.len()],
    pub(super) closed: [u64; Closure::ALL.len()],
    pub(super) received_bytes: u64,
    pub(super) sent_bytes: u64,
    pub(super) mail_received: u64,
    pub(super) mail_held_back: u64,
    pub(super) coordination: CoordinationSnapshot,
    committed: Vec<Committed>,
    committed_unnamed: u64,
}

impl ShardSnapshot {
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// Adds the committed offsets of the shard's groups, and how many more there are.
    pub fn with_committed(mut self, committed: Vec<Committed>, unnamed: u64) -> Self {
        (self.committed, self.committed_unnamed) = (committed, unnamed);
        self
    }

    /// As [`ShardSnapshot::with_committed`] was told.
    pub fn committed(&self) -> (&[Committed], u64) {
        (&self.committed, self.committed_unnamed)
    }
}
