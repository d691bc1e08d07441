//! The network of a simulation: listeners, connections, and the links between nodes with their faults.
//!
//! Called by `simulation` and by the stream halves in `stream`; the fault model is in the header of `memory`. The model is passive: what
//! it wants done later, whom to wake and whom to answer it leaves in an [`Outbox`], which its holder empties when nothing is borrowed.
//!
//! Invariants:
//! 1. One direction of a connection is first in, first out: bytes, then its end or its reset.
//! 2. A direction holds at most `window_bytes` that travel or wait to be read.

mod connecting;
mod faults;
mod stream;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::disk::Handle;
use super::random::Random;
use super::settings::NetworkSettings;
use super::timers::Completer;
use super::trace::Trace;
pub(super) use stream::connect;
pub use stream::{MemoryListener, MemoryReader, MemoryWriter};

pub(super) type ConnectionId = u64;

/// The side of the one who connected, and the side of the one who accepted.
const CLIENT: usize = 0;
const SERVER: usize = 1;

/// First port handed out for port 0 and to those who connect.
const EPHEMERAL_PORT: u16 = 32_768;

/// A node's address: 10.0.0.1 is node 0.
pub(super) fn node_ip(node: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits((10 << 24) + 1 + node))
}

/// What travels in one direction of a connection.
pub(super) enum Parcel {
    Bytes(Bytes),
    /// A range of a file, which the kernel sends as references to pages: what arrives is what the file holds at arrival. The copy
    /// stands for what was truncated away meanwhile.
    Pages {
        file: Arc<Handle>,
        position: u64,
        copy: Vec<u8>,
    },
    End,
    Reset,
}

impl Parcel {
    fn len(&self) -> usize {
        match self {
            Parcel::Bytes(bytes) => bytes.len(),
            Parcel::Pages { copy, .. } => copy.len(),
            Parcel::End | Parcel::Reset => 0,
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Parcel::Bytes(bytes) => bytes,
            Parcel::Pages { file, position, mut copy } => {
                let now = file.read(position, copy.len());
                copy[..now.len()].copy_from_slice(&now);
                Bytes::from(copy)
            }
            Parcel::End | Parcel::Reset => Bytes::new(),
        }
    }
}

/// One end of a connection, with what travels towards it.
struct Side {
    node: u32,
    address: SocketAddr,
    travelling: VecDeque<(u64, Parcel)>,
    arrived: VecDeque<Bytes>,
    /// Bytes in `travelling` and `arrived`.
    held: usize,
    /// When the latest parcel arrives: none overtakes it.
    latest: u64,
    ended: bool,
    reset: bool,
    /// Closed here, or its node crashed.
    gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Side {
    fn new(node: u32, address: SocketAddr) -> Self {
        Self {
            node,
            address,
            travelling: VecDeque::new(),
            arrived: VecDeque::new(),
            held: 0,
            latest: 0,
            ended: false,
            reset: false,
            gone: false,
            reader: None,
            writer: None,
        }
    }
}

struct Connection {
    sides: [Side; 2],
}

struct Listening {
    id: u64,
    node: u32,
    waiting: VecDeque<ConnectionId>,
    waker: Option<Waker>,
}

struct Attempt {
    node: u32,
    from: SocketAddr,
    to: SocketAddr,
    answer: Option<Completer<io::Result<ConnectionId>>>,
    connection: Option<ConnectionId>,
    /// Its packet waits for a link that is down.
    held_up: bool,
}

/// What the network wants to happen at a time.
#[derive(Clone, Copy)]
pub(super) enum Due {
    Parcel { connection: ConnectionId, side: usize },
    AttemptArrives(u64),
    AttemptAnswered(u64),
    AttemptTimesOut(u64),
}

/// What the network leaves to its holder.
#[derive(Default)]
pub(super) struct Outbox {
    pub(super) due: Vec<(u64, Due)>,
    pub(super) wakers: Vec<Waker>,
    pub(super) answers: Vec<(Completer<io::Result<ConnectionId>>, io::Result<ConnectionId>)>,
}

pub(super) struct Network {
    settings: NetworkSettings,
    random: Random,
    trace: Rc<RefCell<Trace>>,
    pub(super) outbox: Outbox,
    listeners: BTreeMap<SocketAddr, Vec<Listening>>,
    connections: BTreeMap<ConnectionId, Connection>,
    attempts: BTreeMap<u64, Attempt>,
    /// Directions in which nothing arrives.
    blocked: BTreeSet<(u32, u32)>,
    /// Nodes whose connections are not cut by chance.
    spared: BTreeSet<u32>,
    /// Additional delay of a direction.
    slow: BTreeMap<(u32, u32), Duration>,
    /// Ports handed out so far, per node.
    ports: BTreeMap<u32, u16>,
    made: u64,
}

impl Network {
    pub(super) fn new(seed: u64, settings: NetworkSettings, trace: Rc<RefCell<Trace>>) -> Self {
        Self {
            settings,
            random: Random::new(seed, "network", 0),
            trace,
            outbox: Outbox::default(),
            listeners: BTreeMap::new(),
            connections: BTreeMap::new(),
            attempts: BTreeMap::new(),
            blocked: BTreeSet::new(),
            spared: BTreeSet::new(),
            slow: BTreeMap::new(),
            ports: BTreeMap::new(),
            made: 0,
        }
    }

    pub(super) fn settings_mut(&mut self) -> &mut NetworkSettings {
        &mut self.settings
    }

    fn record(&self, what: &'static str, node: u32, first: u64, second: u64) {
        self.trace.borrow_mut().record(what, node, first, second);
    }

    fn now(&self) -> u64 {
        self.trace.borrow().now
    }

    fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    fn delay(&mut self, from: u32, to: u32) -> u64 {
        let (low, high) = self.settings.delay;
        let extra = self.slow.get(&(from, to)).map_or(0, |slow| slow.as_nanos() as u64);
        self.random.skewed(low.as_nanos() as u64, high.as_nanos() as u64) + extra
    }

    fn ephemeral_port(&mut self, node: u32) -> u16 {
        let port = self.ports.entry(node).or_insert(EPHEMERAL_PORT);
        *port = port.checked_add(1).unwrap_or(EPHEMERAL_PORT);
        *port
    }

    /// How many bytes may be sent now; waits while the window is full.
    pub(super) fn poll_room(&mut self, cx: &Context<'_>, id: ConnectionId, side: usize) -> Poll<io::Result<usize>> {
        let window = self.settings.window_bytes;
        let chunk_max = self.settings.chunk_bytes_max;
        let Some(connection) = self.connections.get_mut(&id) else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        if connection.sides[side].gone {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if connection.sides[side].reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let room = window.saturating_sub(connection.sides[1 - side].held);
        if room == 0 {
            connection.sides[side].writer = Some(cx.waker().clone());
            let node = connection.sides[side].node;
            self.record("network.writer_waits", node, id, side as u64);
            return Poll::Pending;
        }
        let most = room.min(chunk_max);
        Poll::Ready(Ok(self.random.between(1, most as u64) as usize))
    }

    pub(super) fn send(&mut self, id: ConnectionId, side: usize, parcel: Parcel) {
        if self.random.one_in(self.settings.cut_one_in) && !self.is_spared(id) {
            self.cut_connection(id);
            return;
        }
        self.post(id, 1 - side, parcel);
    }

    /// Puts a parcel on its way to `side`.
    fn post(&mut self, id: ConnectionId, side: usize, parcel: Parcel) {
        let Some(connection) = self.connections.get(&id) else { return };
        let (from, to) = (connection.sides[1 - side].node, connection.sides[side].node);
        let at = self.now() + self.delay(from, to);
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let target = &mut connection.sides[side];
        target.latest = target.latest.max(at);
        target.held += parcel.len();
        let content = match &parcel {
            Parcel::Bytes(bytes) => u64::from(crc32c::crc32c(bytes)),
            Parcel::Pages { copy, .. } => u64::from(crc32c::crc32c(copy)),
            Parcel::End | Parcel::Reset => 0,
        };
        let what = match &parcel {
            Parcel::Bytes(_) => "network.send",
            Parcel::Pages { .. } => "network.send_pages",
            Parcel::End => "network.send_end",
            Parcel::Reset => "network.send_reset",
        };
        target.travelling.push_back((target.latest, parcel));
        self.outbox.due.push((target.latest, Due::Parcel { connection: id, side }));
        self.record(what, from, id, content);
    }

    fn arrive(&mut self, id: ConnectionId, side: usize) {
        let now = self.now();
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (from, to) = (connection.sides[1 - side].node, connection.sides[side].node);
        if self.blocked.contains(&(from, to)) {
            self.record("fault.parcel_held_up", to, id, side as u64);
            return;
        }
        let target = &mut connection.sides[side];
        let mut unwanted = false;
        while target.travelling.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, parcel)) = target.travelling.pop_front() else { break };
            let len = parcel.len();
            match parcel {
                Parcel::End => target.ended = true,
                Parcel::Reset => target.reset = true,
                // What was sent before it is lost in part: what was sent after it must not be taken for its continuation.
                _ if target.reset => target.held -= len,
                _ if target.gone => {
                    target.held -= len;
                    unwanted = true;
                }
                parcel => target.arrived.push_back(parcel.into_bytes()),
            }
        }
        self.outbox.wakers.extend(target.reader.take());
        if target.reset {
            self.outbox.wakers.extend(target.writer.take());
        }
        self.record("network.arrive", to, id, side as u64);
        if unwanted {
            self.reset_by(id, side);
        }
    }

    pub(super) fn poll_read(&mut self, cx: &Context<'_>, id: ConnectionId, side: usize, buffer: &mut BytesMut) -> Poll<io::Result<usize>> {
        let Some(connection) = self.connections.get_mut(&id) else { return Poll::Ready(Ok(0)) };
        let [client, server] = &mut connection.sides;
        let (this, peer) = if side == CLIENT { (client, server) } else { (server, client) };
        if this.gone {
            return Poll::Ready(Ok(0));
        }
        if let Some(front) = this.arrived.front_mut() {
            let taken = front.split_to(front.len().min(buffer.capacity() - buffer.len()));
            buffer.extend_from_slice(&taken);
            if front.is_empty() {
                this.arrived.pop_front();
            }
            this.held -= taken.len();
            self.outbox.wakers.extend(peer.writer.take());
            return Poll::Ready(Ok(taken.len()));
        }
        if this.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if this.ended {
            return Poll::Ready(Ok(0));
        }
        this.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ends a connection in order: the peer reads what was sent, and then the end.
    pub(super) fn close(&mut self, id: ConnectionId, side: usize) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let this = &mut connection.sides[side];
        if this.gone {
            return;
        }
        this.gone = true;
        let (node, had_unread) = (this.node, !this.arrived.is_empty());
        self.outbox.wakers.extend(this.reader.take());
        self.outbox.wakers.extend(this.writer.take());
        let peer_gone = connection.sides[1 - side].gone;
        self.record("network.close", node, id, side as u64);
        if peer_gone {
            self.connections.remove(&id);
        } else if had_unread {
            // As TCP does it: closing with bytes unread tells the peer that they were not.
            self.post(id, 1 - side, Parcel::Reset);
        } else {
            self.post(id, 1 - side, Parcel::End);
        }
    }

    pub(super) fn handle(&mut self, due: Due) {
        match due {
            Due::Parcel { connection, side } => self.arrive(connection, side),
            Due::AttemptArrives(id) => self.attempt_arrives(id),
            Due::AttemptAnswered(id) => self.attempt_answered(id),
            Due::AttemptTimesOut(id) => self.attempt_times_out(id),
        }
    }
}
