//! Starting and stopping a broker on a simulated node.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use ottla::config::{BrokerSettings, Environment};
use ottla::io::memory::tree::MemoryTree;
use ottla::io::memory::{Control, MemoryWorld};
use ottla::metadata::zookeeper::Limits;
use ottla::server::node::{self, Ready};
use ottla::shard::mailbox::Mesh;
use ottla::shard::message::Message;
use ottla::shard::oneshot;
use ottla::types::ShardId;

use crate::scenario::DIRECTOR;
use crate::shape::Shape;

pub const BROKER: u32 = 1;
pub const PORT: u16 = 9092;

/// How far a started broker has come.
#[derive(Clone, Default)]
pub enum Progress {
    #[default]
    Starting,
    Ready,
    /// It ended by itself while it served, as a log directory had failed.
    GaveUp(String),
    Ended(Result<(), String>),
}

/// A broker from its start to its end; dropping it asks it to stop.
pub struct Broker {
    stop: Option<oneshot::Sender<()>>,
    is_asked: Rc<Cell<bool>>,
    progress: Rc<RefCell<Progress>>,
}

/// What a broker's home shard runs with.
struct HomeShard {
    world: MemoryWorld,
    mesh: Mesh<Message<MemoryWorld>>,
    settings: Arc<BrokerSettings>,
    addresses: Vec<SocketAddr>,
    ready: Box<dyn FnOnce(Ready)>,
    stop: Pin<Box<dyn Future<Output = ()>>>,
}

/// The settings of a broker, and the nodes it runs on.
pub struct Place<'a> {
    pub node: u32,
    pub shards: u16,
    pub mailbox_slots: usize,
    pub overrides: &'a [(String, String)],
}

impl Broker {
    /// Starts every shard.
    pub fn start(control: &Control, shape: &Shape) -> Self {
        let place = Place { node: BROKER, shards: shape.shards, mailbox_slots: shape.mailbox_slots, overrides: &shape.overrides };
        Self::launch(control, place, |home| {
            node::run_home_shard(home.world, home.mesh, home.settings, home.addresses, home.ready, home.stop)
        })
    }

    /// As [`Broker::start`], with its metadata in a tree.
    pub fn start_on_tree(control: &Control, place: Place, tree: MemoryTree, limits: Limits) -> Self {
        Self::launch(control, place, move |home| {
            node::run_on_tree(home.world, home.mesh, home.settings, home.addresses, (tree, limits), home.ready, home.stop)
        })
    }

    fn launch<F>(control: &Control, place: Place, run: impl FnOnce(HomeShard) -> F) -> Self
    where
        F: Future<Output = Result<(), String>> + 'static,
    {
        let Place { node, shards, mailbox_slots, overrides } = place;
        let environment = Environment { cores: shards, host_names: Vec::new() };
        let resolved = BrokerSettings::resolve(None, overrides, &environment);
        let settings = Arc::new(resolved.unwrap_or_else(|error| panic!("settings of the simulated broker: {error}")).settings);
        let mesh = Mesh::new(shards, mailbox_slots);
        let address: SocketAddr = SocketAddr::from(([0, 0, 0, 0], PORT));
        let (stop, stopped) = oneshot::oneshot();
        let progress: Rc<RefCell<Progress>> = Rc::default();
        for shard in 1..shards {
            let world = control.world(node, shard);
            control.spawn(node, shard, node::run_shard(world, mesh.clone(), ShardId(shard), settings.clone()));
        }
        let (ready, ended) = (progress.clone(), progress.clone());
        let is_asked = Rc::new(Cell::new(false));
        let (asked, ending) = (is_asked.clone(), control.clone());
        let outcome = run(HomeShard {
            world: control.world(node, 0),
            mesh,
            settings,
            addresses: vec![address],
            ready: Box::new(move |_| *ready.borrow_mut() = Progress::Ready),
            stop: Box::pin(async move {
                stopped.receive().await;
            }),
        });
        control.spawn(node, 0, async move {
            let outcome = outcome.await;
            let served = matches!(*ended.borrow(), Progress::Ready) && !asked.get();
            match outcome {
                Err(why) if served => {
                    *ended.borrow_mut() = Progress::GaveUp(why);
                    // As `ottla serve`: the process ends, and every shard with it.
                    let control = ending.clone();
                    ending.spawn(DIRECTOR, 0, async move { control.crash(node) });
                }
                outcome => *ended.borrow_mut() = Progress::Ended(outcome),
            }
        });
        Self { stop: Some(stop), is_asked, progress }
    }

    pub fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Asks the broker to close its logs and end.
    pub fn stop(&mut self) {
        self.is_asked.set(true);
        if let Some(stop) = self.stop.take() {
            stop.send(());
        }
    }
}
