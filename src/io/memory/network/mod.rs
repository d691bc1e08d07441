//! The network of a simulation: listeners, connections, and the links between nodes with their faults.
//!
//! Called by `simulation` and by the stream halves in `stream`; the fault model is in the header of `memory`. The model is passive: what
//! it wants done later, whom to wake and whom to answer it leaves in an [`Outbox`], which its holder empties when nothing is borrowed.
//!
//! Invariants:
//! 1. One direction of a connection is first in, first out: bytes, then its end or its reset.
//! 2. A direction holds at most `window_bytes` that travel or wait to be read.

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

    // Listeners

    /// Registers a listener; answers its number, the address it is found under, and the address it tells.
    pub(super) fn listen(&mut self, node: u32, mut address: SocketAddr) -> io::Result<(u64, SocketAddr, SocketAddr)> {
        if address.port() == 0 {
            address.set_port(self.ephemeral_port(node));
        }
        let found_under = if address.ip().is_unspecified() { SocketAddr::new(node_ip(node), address.port()) } else { address };
        let id = self.number();
        let there = self.listeners.entry(found_under).or_default();
        if there.iter().any(|listening| listening.node != node) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        there.push(Listening { id, node, waiting: VecDeque::new(), waker: None });
        self.record("network.listen", node, u64::from(address.port()), id);
        Ok((id, found_under, address))
    }

    fn listening(&mut self, found_under: SocketAddr, id: u64) -> Option<&mut Listening> {
        self.listeners.get_mut(&found_under)?.iter_mut().find(|listening| listening.id == id)
    }

    pub(super) fn poll_accept(
        &mut self,
        cx: &Context<'_>,
        found_under: SocketAddr,
        id: u64,
    ) -> Poll<io::Result<(ConnectionId, SocketAddr)>> {
        let Some(listening) = self.listening(found_under, id) else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        match listening.waiting.pop_front() {
            Some(connection) => {
                let peer = self.connections.get(&connection).map_or(found_under, |c| c.sides[CLIENT].address);
                Poll::Ready(Ok((connection, peer)))
            }
            None => {
                listening.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(super) fn stop_listening(&mut self, found_under: SocketAddr, id: u64) {
        let Some(there) = self.listeners.get_mut(&found_under) else { return };
        let waiting: Vec<ConnectionId> = there.iter().filter(|l| l.id == id).flat_map(|l| l.waiting.iter().copied()).collect();
        there.retain(|listening| listening.id != id);
        if there.is_empty() {
            self.listeners.remove(&found_under);
        }
        for connection in waiting {
            self.reset_by(connection, SERVER);
        }
    }

    // Connecting

    pub(super) fn attempt(&mut self, node: u32, to: SocketAddr, answer: Completer<io::Result<ConnectionId>>) -> u64 {
        let id = self.number();
        let from = SocketAddr::new(node_ip(node), self.ephemeral_port(node));
        let to = if to.ip().is_unspecified() { SocketAddr::new(node_ip(node), to.port()) } else { to };
        self.attempts.insert(id, Attempt { node, from, to, answer: Some(answer), connection: None, held_up: false });
        let now = self.now();
        let delay = self.delay(node, self.node_at(to).unwrap_or(node));
        self.outbox.due.push((now + delay, Due::AttemptArrives(id)));
        self.outbox.due.push((now + self.settings.connect_timeout.as_nanos() as u64, Due::AttemptTimesOut(id)));
        self.record("network.connect", node, id, u64::from(to.port()));
        id
    }

    /// The node that is reached by an address, if any could be.
    fn node_at(&self, address: SocketAddr) -> Option<u32> {
        let listening = self.listeners.get(&address).and_then(|there| there.first()).map(|listening| listening.node);
        listening.or_else(|| match address.ip() {
            IpAddr::V4(ip) => ip.to_bits().checked_sub((10 << 24) + 1).filter(|&node| node < 1 << 24),
            IpAddr::V6(_) => None,
        })
    }

    fn attempt_arrives(&mut self, id: u64) {
        let Some(attempt) = self.attempts.get(&id) else { return };
        let (node, from, to) = (attempt.node, attempt.from, attempt.to);
        let target = self.node_at(to).unwrap_or(node);
        if self.is_blocked(node, target) || self.is_blocked(target, node) {
            self.record("fault.connect_held_up", node, id, 0);
            if let Some(attempt) = self.attempts.get_mut(&id) {
                attempt.held_up = true;
            }
            return;
        }
        let now = self.now();
        let back = now + self.delay(target, node);
        let backlog_max = self.settings.backlog_max;
        let choice = self.random.next();
        let Some(there) = self.listeners.get_mut(&to) else {
            self.outbox.due.push((back, Due::AttemptAnswered(id)));
            return;
        };
        let chosen = (choice % there.len() as u64) as usize;
        let listening = &mut there[chosen];
        if listening.waiting.len() >= backlog_max {
            // The packet is dropped, and sent again after a second.
            self.outbox.due.push((now + 1_000_000_000, Due::AttemptArrives(id)));
            return;
        }
        self.made += 1;
        let connection = self.made;
        listening.waiting.push_back(connection);
        self.outbox.wakers.extend(listening.waker.take());
        self.connections.insert(connection, Connection { sides: [Side::new(node, from), Side::new(target, to)] });
        if let Some(attempt) = self.attempts.get_mut(&id) {
            attempt.connection = Some(connection);
        }
        self.outbox.due.push((back, Due::AttemptAnswered(id)));
        self.record("network.connected", node, connection, id);
    }

    fn attempt_answered(&mut self, id: u64) {
        if let Some(attempt) = self.attempts.get_mut(&id)
            && let Some(answer) = attempt.answer.take()
        {
            let result = attempt.connection.ok_or_else(|| io::ErrorKind::ConnectionRefused.into());
            self.outbox.answers.push((answer, result));
        }
    }

    fn attempt_times_out(&mut self, id: u64) {
        if let Some(attempt) = self.attempts.get_mut(&id)
            && attempt.connection.is_none()
            && let Some(answer) = attempt.answer.take()
        {
            self.outbox.answers.push((answer, Err(io::ErrorKind::TimedOut.into())));
        }
    }

    /// The one who connects has its answer, or waits no more: a connection nobody took is closed.
    pub(super) fn end_attempt(&mut self, id: u64, taken: bool) {
        if let Some(Attempt { connection: Some(connection), .. }) = self.attempts.remove(&id)
            && !taken
        {
            self.close(connection, CLIENT);
        }
    }

    // Streams

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
        if self.random.one_in(self.settings.cut_one_in) {
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
        let len = parcel.len() as u64;
        target.travelling.push_back((target.latest, parcel));
        self.outbox.due.push((target.latest, Due::Parcel { connection: id, side }));
        self.record("network.send", from, id, len);
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

    // Faults

    /// Ends a connection at one side without order: some of what travels is lost, then the peer learns of it.
    fn reset_by(&mut self, id: ConnectionId, side: usize) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.sides[side].gone = true;
        if connection.sides[1 - side].gone {
            self.connections.remove(&id);
        } else {
            self.lose_tail(id, 1 - side);
            self.post(id, 1 - side, Parcel::Reset);
        }
    }

    /// Loses what travels to `side` from some parcel on.
    fn lose_tail(&mut self, id: ConnectionId, side: usize) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let target = &mut connection.sides[side];
        let kept = self.random.below(target.travelling.len() as u64 + 1) as usize;
        target.held -= target.travelling.drain(kept..).map(|(_, parcel)| parcel.len()).sum::<usize>();
    }

    fn cut_connection(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let node = connection.sides[CLIENT].node;
        self.record("fault.connection_cut", node, id, 0);
        for side in [CLIENT, SERVER] {
            self.lose_tail(id, side);
            self.post(id, side, Parcel::Reset);
        }
    }

    pub(super) fn cut_between(&mut self, a: u32, b: u32) {
        let is_between = |c: &Connection| {
            let nodes = (c.sides[CLIENT].node, c.sides[SERVER].node);
            nodes == (a, b) || nodes == (b, a)
        };
        let cut: Vec<ConnectionId> = self.connections.iter().filter(|(_, c)| is_between(c)).map(|(&id, _)| id).collect();
        for id in cut {
            self.cut_connection(id);
        }
    }

    fn is_blocked(&self, from: u32, to: u32) -> bool {
        self.blocked.contains(&(from, to))
    }

    /// Stops what goes from one node to another, or lets it go on: what was held up arrives then.
    pub(super) fn block(&mut self, from: u32, to: u32, on: bool) {
        if on {
            self.blocked.insert((from, to));
            self.record("fault.link_down", from, u64::from(to), 0);
            return;
        }
        self.blocked.remove(&(from, to));
        self.record("network.link_up", from, u64::from(to), 0);
        let now = self.now();
        let mut due = Vec::new();
        for (&id, connection) in &self.connections {
            for side in [CLIENT, SERVER] {
                let target = &connection.sides[side];
                if !target.travelling.is_empty() && target.node == to && connection.sides[1 - side].node == from {
                    due.push(Due::Parcel { connection: id, side });
                }
            }
        }
        for (&id, attempt) in &mut self.attempts {
            if std::mem::take(&mut attempt.held_up) {
                due.push(Due::AttemptArrives(id));
            }
        }
        for due in due {
            let at = now + self.delay(from, to);
            self.outbox.due.push((at, due));
        }
    }

    pub(super) fn slow_down(&mut self, from: u32, to: u32, extra: Duration) {
        self.slow.insert((from, to), extra);
    }

    pub(super) fn crash(&mut self, node: u32) {
        self.listeners.retain(|_, there| {
            there.retain(|listening| listening.node != node);
            !there.is_empty()
        });
        self.attempts.retain(|_, attempt| attempt.node != node);
        let ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in ids {
            for side in [CLIENT, SERVER] {
                let is_hit = self.connections.get(&id).is_some_and(|c| c.sides[side].node == node && !c.sides[side].gone);
                if is_hit {
                    self.record("crash.connection_reset", node, id, side as u64);
                    self.reset_by(id, side);
                }
            }
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
