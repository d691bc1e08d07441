//! Accepts connections on one shard, within the limits on their number.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;

use crate::io::{Listener, Urgency, World};
use crate::metrics::Rejection;
use crate::shard::steward::Listen;

use super::Server;
use super::connection;

/// Pause after a failed accept: when descriptors have run out, trying again at once would only burn the core.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

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
            self.wakers.borrow_mut().push(cx.waker().clone());
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
                    None => match server.shard.world().listen(address).await {
                        Ok(listener) => listener,
                        Err(error) => {
                            tracing::error!(
                                "shard {} cannot listen on {address}: {error}; its connections go to other shards",
                                server.shard.id()
                            );
                            return;
                        }
                    },
                };
                accept(server, listener, index).or(stop.wait()).await;
            });
        }
    }

    fn stop(&self) {
        self.stopped.set();
        self.server.close_connections();
    }
}

async fn accept<W: World>(server: Rc<Server<W>>, listener: W::Listener, index: usize) {
    loop {
        let accepted = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("{}: accept: {error}", listener.local_addr());
                server.shard.world().sleep(PAUSE_AFTER_ERROR).await;
                continue;
            }
        };
        // Each shard has its share of the broker's limits: the kernel spreads connections evenly over them.
        let share = |limit: u32| (limit as usize).div_ceil(usize::from(server.shard.shard_count()));
        let address = accepted.peer.ip();
        let running = server.shard.running();
        let network = &running.network;
        let of_address = network.connections_per_ip_overrides.get(&address.to_string()).copied().unwrap_or(network.connections_per_ip_max);
        let rejection = if server.connections.borrow().len() >= share(network.connections_max) {
            Some(Rejection::Connections)
        } else if server.connections_of(address) >= share(of_address) {
            Some(Rejection::ConnectionsOfAddress)
        } else {
            None
        };
        if let Some(rejection) = rejection {
            tracing::debug!("{}: connection refused: the limit on connections is reached", accepted.peer);
            server.metrics().connections.on_rejected(rejection);
            continue;
        }
        server.metrics().connections.on_accepted();
        server.shard.world().spawn(Urgency::Foreground, connection::serve(server.clone(), accepted, index));
    }
}
