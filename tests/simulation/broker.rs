//! Starting and stopping a broker on the simulated node.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use ottla::config::{BrokerSettings, Environment};
use ottla::io::memory::Control;
use ottla::server::node;
use ottla::shard::mailbox::Mesh;
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

impl Broker {
    /// Starts every shard.
    pub fn start(control: &Control, shape: &Shape) -> Self {
        let shards = shape.shards;
        let environment = Environment { cores: shards, host_names: Vec::new() };
        let resolved = BrokerSettings::resolve(None, &shape.overrides, &environment);
        let settings = Arc::new(resolved.unwrap_or_else(|error| panic!("settings of the simulated broker: {error}")).settings);
        let mesh = Mesh::new(shards, shape.mailbox_slots);
        let address: SocketAddr = SocketAddr::from(([0, 0, 0, 0], PORT));
        let (stop, stopped) = oneshot::oneshot();
        let progress: Rc<RefCell<Progress>> = Rc::default();
        for shard in 1..shards {
            let world = control.world(BROKER, shard);
            control.spawn(BROKER, shard, node::run_shard(world, mesh.clone(), ShardId(shard), settings.clone()));
        }
        let world = control.world(BROKER, 0);
        let (ready, ended) = (progress.clone(), progress.clone());
        let is_asked = Rc::new(Cell::new(false));
        let (asked, ending) = (is_asked.clone(), control.clone());
        control.spawn(BROKER, 0, async move {
            let stop = async {
                stopped.receive().await;
            };
            let on_ready = |_| *ready.borrow_mut() = Progress::Ready;
            let outcome = node::run_home_shard(world, mesh, settings, vec![address], on_ready, stop).await;
            let served = matches!(*ended.borrow(), Progress::Ready) && !asked.get();
            match outcome {
                Err(why) if served => {
                    *ended.borrow_mut() = Progress::GaveUp(why);
                    // As `ottla serve`: the process ends, and every shard with it.
                    let control = ending.clone();
                    ending.spawn(DIRECTOR, 0, async move { control.crash(BROKER) });
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
