//! What goes wrong on the network: connections cut, links down or slow, nodes crashed.

use std::time::Duration;

use super::{CLIENT, Connection, ConnectionId, Due, Network, Parcel, SERVER};

impl Network {
    /// Ends a connection at one side without order: some of what travels is lost, then the peer learns of it.
    pub(super) fn reset_by(&mut self, id: ConnectionId, side: usize) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.sides[side].gone = true;
        if connection.sides[1 - side].gone {
            self.connections.remove(&id);
        } else {
            self.lose_tail(id, 1 - side);
            self.post(id, 1 - side, Parcel::Reset);
        }
    }

    /// Loses what travels to `side` from some parcel on. The rest has left the machine: it arrives as it is now, whatever becomes of the
    /// files it came from.
    fn lose_tail(&mut self, id: ConnectionId, side: usize) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let target = &mut connection.sides[side];
        let kept = self.random.below(target.travelling.len() as u64 + 1) as usize;
        target.held -= target.travelling.drain(kept..).map(|(_, parcel)| parcel.len()).sum::<usize>();
        for (_, parcel) in &mut target.travelling {
            if matches!(parcel, Parcel::Pages { .. }) {
                *parcel = Parcel::Bytes(std::mem::replace(parcel, Parcel::End).into_bytes());
            }
        }
    }

    pub(super) fn cut_connection(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get(&id) else { return };
        let node = connection.sides[CLIENT].node;
        self.record("fault.connection_cut", node, id, 0);
        for side in [CLIENT, SERVER] {
            self.lose_tail(id, side);
            self.post(id, side, Parcel::Reset);
        }
    }

    pub(in crate::io::memory) fn cut_between(&mut self, a: u32, b: u32) {
        let is_between = |c: &Connection| {
            let nodes = (c.sides[CLIENT].node, c.sides[SERVER].node);
            nodes == (a, b) || nodes == (b, a)
        };
        let cut: Vec<ConnectionId> = self.connections.iter().filter(|(_, c)| is_between(c)).map(|(&id, _)| id).collect();
        for id in cut {
            self.cut_connection(id);
        }
    }

    pub fn spare(&mut self, node: u32) {
        self.spared.insert(node);
    }

    pub(super) fn is_spared(&self, id: ConnectionId) -> bool {
        self.connections.get(&id).is_some_and(|connection| connection.sides.iter().any(|side| self.spared.contains(&side.node)))
    }

    pub(super) fn is_blocked(&self, from: u32, to: u32) -> bool {
        self.blocked.contains(&(from, to))
    }

    /// Stops what goes from one node to another, or lets it go on: what was held up arrives then.
    pub(in crate::io::memory) fn block(&mut self, from: u32, to: u32, on: bool) {
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

    pub(in crate::io::memory) fn slow_down(&mut self, from: u32, to: u32, extra: Duration) {
        self.slow.insert((from, to), extra);
    }

    pub(in crate::io::memory) fn crash(&mut self, node: u32) {
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
}
