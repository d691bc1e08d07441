//! How connections come about: listeners, and attempts to reach them.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::{Context, Poll};

use super::{Attempt, CLIENT, Connection, ConnectionId, Due, Listening, Network, SERVER, Side, node_ip};
use crate::io::memory::timers::Completer;

impl Network {
    /// Registers a listener; answers its number, the address it is found under, and the address it tells.
    pub(super) fn listen(&mut self, node: u32, mut address: SocketAddr) -> io::Result<(u64, SocketAddr, SocketAddr)> {
        let is_any_port = address.port() == 0;
        let found = |address: SocketAddr| {
            let reached = if address.ip().is_unspecified() { node_ip(node) } else { address.ip() };
            SocketAddr::new(reached, address.port())
        };
        while address.port() == 0 || (is_any_port && self.listeners.contains_key(&found(address))) {
            address.set_port(self.ephemeral_port(node));
        }
        let found_under = found(address);
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

    pub(super) fn attempt_arrives(&mut self, id: u64) {
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

    pub(super) fn attempt_answered(&mut self, id: u64) {
        if let Some(attempt) = self.attempts.get_mut(&id)
            && let Some(answer) = attempt.answer.take()
        {
            let result = attempt.connection.ok_or_else(|| io::ErrorKind::ConnectionRefused.into());
            self.outbox.answers.push((answer, result));
        }
    }

    pub(super) fn attempt_times_out(&mut self, id: u64) {
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
}
