//! Accepts connections on one shard, within the limits on their number.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;

use crate::io::{Listener, Urgency, World};
use crate::metrics::Rejection;
use crate::shard::census::{Full, Pace, Seat};
use crate::shard::steward::Listen;

use super::Server;
use super::connection::{self, Door};

/// Pause after a failed accept: when descriptors have run out, trying again at once would only burn the core.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Between two looks for a free place, while the broker has as many connections as it may.
const PAUSE_WHEN_FULL: Duration = Duration::from_millis(20);

/// One shard's listeners.
pub struct Listeners<W: World> {
    server: Rc<Server<W>>,
    /// Bound before the others by shard 0, to learn the ports.
    bound: RefCell<Vec<W::Listener>>,
    stopped: Rc<Stop>,
}

#[derive(Default)]
struct Stop {
    stopped: Cell<bool>,
    wakers: RefCell<Vec<std::task::Waker>>,
}

impl Stop {
    fn set(&self) {
        self.stopped.set(true);
        let wakers = self.wakers.take();
        for waker in wakers {
            waker.wake();
        }
    }

    async fn wait(&self) {
        std::future::poll_fn(|cx| {
            if self.stopped.get() {
                return std::task::Poll::Ready(());
            }
            let mut wakers = self.wakers.borrow_mut();
            // A task that accepts waits here once for each connection.
            if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            std::task::Poll::Pending
        })
        .await;
    }
}

impl<W: World> Listeners<W> {
    /// `bound`: listeners that this shard has already, in the order of the settings.
    pub fn new(server: Rc<Server<W>>, bound: Vec<W::Listener>) -> Self {
        Self { server, bound: RefCell::new(bound), stopped: Rc::default() }
    }
}

impl<W: World> Listen for Listeners<W> {
    fn listen(&self, addresses: &[SocketAddr]) {
        let mut bound = self.bound.take().into_iter();
        for (index, address) in addresses.iter().enumerate() {
            let (server, stop, bound, address) = (self.server.clone(), self.stopped.clone(), bound.next(), *address);
            self.server.shard.world().spawn(Urgency::Foreground, async move {
                let listener = match bound {
                    Some(listener) => listener,
                    None => match open(&server, address, "its connections go to other shards").await {
                        Some(listener) => listener,
                        None => return,
                    },
                };
                accept(server, listener, (index, Door::Node)).or(stop.wait()).await;
            });
        }
        for (index, port) in self.server.own_ports() {
            let (server, stop) = (self.server.clone(), self.stopped.clone());
            let address = SocketAddr::new(addresses[index].ip(), port);
            self.server.shard.world().spawn(Urgency::Foreground, async move {
                let Some(listener) = open(&server, address, "clients find its partitions through the node's port only").await else {
                    return;
                };
                accept(server, listener, (index, Door::Shard)).or(stop.wait()).await;
            });
        }
    }

    fn stop(&self) {
        self.stopped.set();
        self.server.close_connections();
    }
}

async fn open<W: World>(server: &Server<W>, address: SocketAddr, otherwise: &str) -> Option<W::Listener> {
    match server.shard.world().listen(address).await {
        Ok(listener) => Some(listener),
        Err(error) => {
            tracing::error!("shard {} cannot listen on {address}: {error}; {otherwise}", server.shard.id());
            None
        }
    }
}

async fn accept<W: World>(server: Rc<Server<W>>, listener: W::Listener, door: (usize, Door)) {
    loop {
        let accepted = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("{}: accept: {error}", listener.local_addr());
                server.shard.world().sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
        };
        match seat(&server, accepted.peer).await {
            Some(seat) => {
                server.metrics().connections.on_accepted();
                server.shard.world().spawn(Urgency::Foreground, connection::serve(server.clone(), accepted, door, seat));
            }
            None => {
                tracing::debug!("{}: connection closed: its address has as many as max.connections.per.ip allows", accepted.peer);
                server.metrics().connections.on_rejected(Rejection::ConnectionsOfAddress);
            }
        }
    }
}

/// A place for one more connection. As in Kafka, one that comes too soon after those before waits, one too many for the broker waits until
/// another ends, and so do those behind it; one too many for its address has none.
async fn seat<W: World>(server: &Server<W>, peer: SocketAddr) -> Option<Seat> {
    wait_for_turn(server, peer).await;
    // An IPv4 client of a listener on IPv6 goes by its IPv4 address.
    let address = peer.ip().to_canonical();
    let mut told = false;
    loop {
        // Read anew each time: the limits may be changed while a connection waits.
        let running = server.shard.running();
        let network = &running.network;
        let overrides = &network.connections_per_ip_overrides;
        let of_address = if overrides.is_empty() { None } else { overrides.get(&address.to_string()).copied() };
        let of_address_max = of_address.unwrap_or(network.connections_per_ip_max) as usize;
        match server.shard.census().enter(address, network.connections_max as usize, of_address_max) {
            Ok(seat) => return Some(seat),
            Err(Full::Address) => return None,
            Err(Full::Broker) if !std::mem::replace(&mut told, true) => {
                tracing::debug!("{peer}: connection waits: the broker has as many as max.connections allows");
                server.metrics().connections.on_rejected(Rejection::Connections);
            }
            Err(Full::Broker) => {}
        }
        server.shard.world().sleep(PAUSE_WHEN_FULL).await;
    }
}

/// Keeps to `max.connection.creation.rate`.
async fn wait_for_turn<W: World>(server: &Server<W>, peer: SocketAddr) {
    let running = server.shard.running();
    let network = &running.network;
    let pace = Pace {
        connections_max: network.connection_creation_rate_max,
        windows: network.quota_windows,
        window: Duration::from_secs(network.quota_window_seconds.into()),
    };
    let wait = server.shard.census().hold_back(server.shard.timers().now(), pace);
    if !wait.is_zero() {
        tracing::debug!("{peer}: connection waits {wait:?}: they come faster than max.connection.creation.rate allows");
        server.shard.world().sleep(wait).await;
    }
}
