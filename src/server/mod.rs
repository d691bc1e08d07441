//! The broker towards its clients: listeners, connections, dispatch, one handler per API.
//!
//! Called by `cli`; calls `shard`. One [`Server`] per shard, living on it.
//!
//! Invariants:
//! 1. What is not served is not advertised: ApiVersions is answered from the same table that dispatch reads.
//! 2. Every wire error comes from `errors`, by exhaustive matches.
//! 3. A handler works on one clone of the metadata image from start to end.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::time::Duration;

use slab::Slab;

use crate::io::World;
use crate::metrics::{Closure, Gauges, Registry, Timing};
use crate::shard::census::Seat;
use crate::shard::{Measure, Shard};
use crate::types::Monotonic;

mod answers;
mod connection;
mod dispatch;
mod errors;
mod fetch_sessions;
mod handlers;
mod listener;
pub mod loggers;
pub mod node;
mod pace;
mod receive;
mod refusals;
mod response;
mod scrape;
mod shard_ports;
#[cfg(test)]
mod tests;

use answers::{ANSWER_BYTES_MAX, Answers};
use connection::Vitals;
use fetch_sessions::FetchSessions;
use receive::ReceiveBudget;

/// The shortest time between two looks for connections that are idle or stuck.
const SWEEP_EVERY_MIN: Duration = Duration::from_secs(1);

/// One shard's half of the broker that faces clients.
pub struct Server<W: World> {
    pub shard: Rc<Shard<W>>,
    receive_budget: Rc<ReceiveBudget>,
    fetch_sessions: FetchSessions,
    answers: Answers,
    connections: RefCell<Slab<Rc<Vitals>>>,
    sweeping: Cell<bool>,
}

impl<W: World> Server<W> {
    pub fn new(shard: Rc<Shard<W>>) -> Rc<Self> {
        let world = shard.world().clone();
        let receive_budget = ReceiveBudget::new(shard.settings().shards.receive_bytes_max as usize, move |large| world.free(large));
        let fetch_sessions = FetchSessions::new(shard.settings().network.fetch_sessions_max, shard.id(), shard.shard_count());
        let answers = Answers::new(ANSWER_BYTES_MAX);
        let (connections, sweeping) = (RefCell::default(), Cell::new(false));
        let server = Rc::new(Self { shard, receive_budget, fetch_sessions, answers, connections, sweeping });
        let above: Weak<Self> = Rc::downgrade(&server);
        server.shard.measure_with(above);
        server
    }

    pub fn metrics(&self) -> &Registry {
        self.shard.metrics()
    }

    /// The clock, if requests are measured; else a moment that means nothing.
    fn reading(&self) -> Monotonic {
        match self.metrics().timing() {
            Timing::On => self.shard.timers().now(),
            Timing::Off => Monotonic::default(),
        }
    }

    fn register(self: &Rc<Self>, seat: Seat, vitals: Rc<Vitals>) -> Registered<W> {
        let key = self.connections.borrow_mut().insert(vitals);
        if !self.sweeping.replace(true) {
            let server = self.clone();
            self.shard.world().spawn(crate::io::Urgency::Background, sweep(server));
        }
        Registered { server: self.clone(), key, _seat: seat }
    }

    /// Ends every connection.
    pub fn close_connections(&self) {
        let open: Vec<Rc<Vitals>> = self.connections.borrow().iter().map(|(_, vitals)| vitals.clone()).collect();
        for vitals in open {
            vitals.close(Closure::Stopping);
        }
    }
}

impl<W: World> Measure for Server<W> {
    fn measure(&self, gauges: &mut Gauges) {
        gauges.connections = self.connections.borrow().len() as u64;
        gauges.receive_bytes = self.receive_budget.used() as u64;
        gauges.receive_bytes_max = self.receive_budget.limit() as u64;
        gauges.fetch_sessions = self.fetch_sessions.len() as u64;
        gauges.fetch_session_partitions = self.fetch_sessions.partitions() as u64;
        gauges.fetch_sessions_evicted = self.fetch_sessions.evicted();
    }
}

/// A connection's entry; leaves when the connection ends.
struct Registered<W: World> {
    server: Rc<Server<W>>,
    key: usize,
    _seat: Seat,
}

impl<W: World> Drop for Registered<W> {
    fn drop(&mut self) {
        self.server.connections.borrow_mut().remove(self.key);
    }
}

/// Closes idle and stuck connections; ends when there are none left to watch.
async fn sweep<W: World>(server: Rc<Server<W>>) {
    let settings = server.shard.settings();
    let idle_max = settings.network.idle_ms_max.map_or(Duration::MAX, Duration::from_millis);
    let progress_max = Duration::from_millis(settings.shards.frame_progress_timeout_ms);
    // A fraction of the shortest limit, so that neither is overstepped by much and an idle broker is not woken each second.
    let pause = (idle_max.min(progress_max) / 4).max(SWEEP_EVERY_MIN);
    while !server.connections.borrow().is_empty() {
        server.shard.timers().sleep(pause).await;
        let now = server.shard.timers().now();
        let overdue: Vec<(Rc<Vitals>, Closure)> = server
            .connections
            .borrow()
            .iter()
            .filter_map(|(_, vitals)| {
                let silent = now.since(vitals.last_byte());
                let stuck = vitals.in_frame() && silent >= progress_max;
                let idle = now.since(vitals.last_progress(now)) >= idle_max;
                let why = if stuck { Closure::Stuck } else { Closure::Idle };
                (stuck || idle).then(|| (vitals.clone(), why))
            })
            .collect();
        for (vitals, why) in overdue {
            vitals.close(why);
        }
    }
    server.sweeping.set(false);
}
