//! A broker from start to stop, on one shard's executor: what `cli` and the simulator run, once per shard.
//!
//! Invariants:
//! 1. The listeners are bound before the broker registers, since the registration names their ports; nothing is accepted before every
//!    log is open.
//! 2. A broker that is told to stop before it has found its place ends at once, having opened nothing.
//! 3. The broker registers anew at each start, which raises the leader epoch of every partition it leads, before it serves.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::FutureExt;

use crate::config::BrokerSettings;
use crate::io::tree::Tree;
use crate::io::{Listener, Urgency, World};
use crate::metadata::controller::{CommitError, Controller, Follower, ReplayError};
use crate::metadata::decision::{self, Decision, Registration};
use crate::metadata::file::{FileHome, Limits};
use crate::metadata::home::{Home, HomeError};
use crate::metadata::image::MetadataImage;
use crate::metadata::record::{BrokerState, Endpoint, Record, Resource};
use crate::metadata::zookeeper::{self, ZooKeeperHome};
use crate::shard::controller::ControllerHost;
use crate::shard::directories::METADATA_DIRECTORY;
use crate::shard::mailbox::Mesh;
use crate::shard::message::{Message, OpenedSummary, StartState};
use crate::shard::{Shard, adoption, consumer_offsets_configs, steward};
use crate::types::{ShardId, TopicId, TopicName};

use super::Server;
use super::listener::Listeners;
use super::scrape::Scrapes;

/// The features a new cluster has: none, until those that clients act on are served.
const FEATURES: &[(&str, i16)] = &[];

/// What a started broker tells.
#[derive(Debug, Clone)]
pub struct Ready {
    pub cluster_id: String,
    /// By listener: its name and the address it is bound to.
    pub listeners: Vec<(String, SocketAddr)>,
    /// Where the metrics are shown.
    pub metrics: Option<SocketAddr>,
    pub opened: OpenedSummary,
}

/// Runs a shard that is not shard 0, until the broker is closed.
pub async fn run_shard<W: World>(world: W, mesh: Mesh<Message<W>>, id: ShardId, settings: Arc<BrokerSettings>) {
    let shard = Shard::new(world.clone(), &mesh, id, settings);
    let server = Server::new(shard.clone());
    world.spawn(Urgency::Foreground, shard.clone().run());
    steward::obey(shard, Listeners::new(server, Vec::new())).await;
}

/// Runs shard 0 and, through it, the broker: starts, calls `ready`, waits for `stop`, closes. One sentence says why it cannot start, why it
/// cannot go on (then nothing is closed: the caller ends the process, the other shards with it), or that it did not close cleanly.
/// `addresses` are those of the settings' listeners, names resolved. The metadata's home is the first log directory.
pub async fn run_home_shard<W: World>(
    world: W,
    mesh: Mesh<Message<W>>,
    settings: Arc<BrokerSettings>,
    addresses: Vec<SocketAddr>,
    ready: impl FnOnce(Ready),
    stop: impl Future<Output = ()>,
) -> Result<(), String> {
    // Beside the partitions: Kafka's own broker ignores files there that it does not know.
    let directory = settings.storage.directories[METADATA_DIRECTORY].clone();
    let opened_in = world.clone();
    let open = async move || FileHome::open(opened_in, &directory, Limits::default()).await;
    run_on_home(world, mesh, settings, addresses, open, ready, stop).await
}

/// As [`run_home_shard`], with a tree that other brokers share as the metadata's home. How long a registration waits is the settings' to say.
pub async fn run_on_tree<W: World, T: Tree>(
    world: W,
    mesh: Mesh<Message<W>>,
    settings: Arc<BrokerSettings>,
    addresses: Vec<SocketAddr>,
    (tree, limits): (T, zookeeper::Limits),
    ready: impl FnOnce(Ready),
    stop: impl Future<Output = ()>,
) -> Result<(), String> {
    let opened_in = world.clone();
    let limits = zookeeper::Limits { registration_wait: registration_wait(&settings), ..limits };
    let open = async move || ZooKeeperHome::open(opened_in, tree, limits).await;
    run_on_home(world, mesh, settings, addresses, open, ready, stop).await
}

/// A predecessor that was killed is registered until the servers give its session up, which they look for now and then.
fn registration_wait(settings: &BrokerSettings) -> Duration {
    settings.node.zookeeper.as_ref().map_or(Duration::ZERO, |zookeeper| zookeeper.session_timeout * 3 / 2)
}

async fn run_on_home<W: World, H: Home + Clone + 'static>(
    world: W,
    mesh: Mesh<Message<W>>,
    settings: Arc<BrokerSettings>,
    addresses: Vec<SocketAddr>,
    open: impl AsyncFnOnce() -> Result<H, HomeError>,
    ready: impl FnOnce(Ready),
    stop: impl Future<Output = ()>,
) -> Result<(), String> {
    let node = settings.node.id;
    let directories = settings.storage.directories.clone();
    let shard = Shard::new(world.clone(), &mesh, ShardId(0), settings.clone());
    let server = Server::new(shard.clone());
    world.spawn(Urgency::Foreground, shard.clone().run());

    let (mut start, known_cluster) = steward::read_directories(&world, &directories, node).await?;
    let (listeners, bound, metrics) = bind(&world, &settings, addresses).await?;
    let metrics_address = metrics.as_ref().map(Listener::local_addr);
    let bound_addresses = listeners.iter().map(|(_, address)| *address).collect();

    let registration = registration(&world, &settings, &listeners, mesh.shard_count());
    let joined = async {
        let home = open().await.map_err(|error| error.to_string())?;
        home.register(registration.clone()).await.map_err(|error| error.to_string())?;
        let (place, cluster_id) = join(&world, &home, &settings, &mut start, known_cluster, &registration).await?;
        Ok::<_, String>(Some((home, place, cluster_id)))
    };
    let mut stop = pin!(stop);
    let stopped = async {
        (&mut stop).await;
        Ok(None)
    };
    // It may wait for others: for a home that does not answer, for a predecessor's session to end.
    let Some((home, place, cluster_id)) = joined.or(stopped).await? else {
        shard.dismiss_others().await;
        return Ok(());
    };
    let image = place.image().clone();
    steward::write_identity(&world, &directories, &start, node, &cluster_id).await?;

    let obeying = Listeners::new(server.clone(), bound);
    let (closed, obeyed) = crate::shard::oneshot::oneshot();
    let obedient = shard.clone();
    world.spawn(Urgency::Foreground, async move {
        steward::obey(obedient, obeying).await;
        closed.send(());
    });
    let opened = shard.open_everywhere(&image, start).await?;
    let host = ControllerHost::new(shard.clone(), home, image);
    let (retire, retired) = crate::shard::oneshot::oneshot();
    world.spawn(Urgency::Foreground, async move {
        let retired = async {
            retired.receive().await;
        };
        host.run(place.into_controller()).or(retired).await;
    });
    shard.watch_directories().await;
    shard.serve_everywhere(bound_addresses);
    shard.start_checkpoints();
    if let Some(listener) = metrics {
        world.spawn(Urgency::Background, Scrapes::new(server.clone(), cluster_id.clone()).serve(listener));
    }
    ready(Ready { cluster_id, listeners, metrics: metrics_address, opened });

    let stopped = async {
        stop.await;
        None
    };
    if let Some(why) = stopped.or(async { Some(shard.lost().await) }).await {
        return Err(why);
    }
    let outcome = shard.close_everywhere().await;
    obeyed.receive().await;
    // It would miss the home's session, which the caller ends.
    retire.send(());
    outcome
}

/// The listeners by name, with the addresses they are bound to; what is bound; where the metrics are to be shown.
type Bound<L> = (Vec<(String, SocketAddr)>, Vec<L>, Option<L>);

async fn bind<W: World>(world: &W, settings: &BrokerSettings, addresses: Vec<SocketAddr>) -> Result<Bound<W::Listener>, String> {
    let (mut listeners, mut bound) = (Vec::new(), Vec::new());
    for (listener, address) in settings.network.listeners.open.iter().zip(addresses) {
        let opened = world.listen(address).await.map_err(|error| format!("listeners: cannot listen on {address}: {error}"))?;
        listeners.push((listener.name.clone(), opened.local_addr()));
        bound.push(opened);
    }
    let metrics = match settings.metrics.listener {
        Some(address) => {
            let failed = |error| format!("ottla.metrics.listener: cannot listen on {address}: {error}");
            Some(world.listen(address).await.map_err(failed)?)
        }
        None => None,
    };
    Ok((listeners, bound, metrics))
}

/// What a broker is at its start.
enum Place<H> {
    Controller(Controller<H>),
    /// Another broker is the controller, and has registered this one.
    StandBy(MetadataImage),
}

impl<H: Home> Place<H> {
    fn image(&self) -> &MetadataImage {
        match self {
            Self::Controller(controller) => controller.image(),
            Self::StandBy(image) => image,
        }
    }

    fn into_controller(self) -> Option<Controller<H>> {
        match self {
            Self::Controller(controller) => Some(controller),
            Self::StandBy(_) => None,
        }
    }
}

/// Before a place is sought again, after a failure that passes.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// Finds the broker's place in the cluster, and the cluster's id. A controller that is deposed while it founds, or whose home is out of reach
/// meanwhile, stands for election again, or stands by.
async fn join<W: World, H: Home + Clone>(
    world: &W,
    home: &H,
    settings: &BrokerSettings,
    start: &mut StartState,
    known_cluster: Option<String>,
    registration: &Registration,
) -> Result<(Place<H>, String), String> {
    loop {
        let mut controller = match take_place(world, home, registration).await? {
            Place::Controller(controller) => controller,
            Place::StandBy(image) => {
                let cluster_id = joined(&image, known_cluster)?;
                return Ok((Place::StandBy(image), cluster_id));
            }
        };
        match found(world, &mut controller, settings, known_cluster.clone(), registration, start).await {
            Ok(cluster_id) => return Ok((Place::Controller(controller), cluster_id)),
            Err(FoundError::Commit(error)) if home.is_shared() && error.passes() => {
                tracing::warn!("this broker was elected, and could not begin: {error}; it stands for election again");
                world.sleep(RETRY_PAUSE).await;
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Why a new controller cannot begin.
#[derive(Debug, thiserror::Error)]
enum FoundError {
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("{0}")]
    Sentence(String),
}

/// Becomes the controller, or learns that another broker is and has registered this one.
async fn take_place<W: World, H: Home + Clone>(world: &W, home: &H, registration: &Registration) -> Result<Place<H>, String> {
    if !home.is_shared() {
        let elected = Controller::elect(home.clone(), registration.node).await;
        return elected.map(Place::Controller).map_err(|error| error.to_string());
    }
    let elected = async {
        loop {
            match Controller::elect(home.clone(), registration.node).await {
                Ok(controller) => return Ok(Place::Controller(controller)),
                Err(error) if error.passes() => world.sleep(RETRY_PAUSE).await,
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    let registered = async {
        loop {
            match registered(home, registration).await {
                Ok(image) => return Ok(Place::StandBy(image)),
                Err(error) if error.passes() => world.sleep(RETRY_PAUSE).await,
                Err(error) => return Err(error.to_string()),
            }
        }
    };
    elected.or(registered).await
}

/// Follows the log until it shows this start of the broker.
async fn registered<H: Home>(home: &H, registration: &Registration) -> Result<MetadataImage, ReplayError> {
    let mut follower = Follower::load(home).await?;
    loop {
        follower.catch_up(home).await?;
        let shown = follower.image().broker(registration.node);
        if shown.is_some_and(|broker| broker.incarnation == registration.incarnation) {
            return Ok(follower.image().clone());
        }
        home.grown_past(follower.next()).await?;
    }
}

/// The id of the cluster that a broker joins to stand by in it.
fn joined(image: &MetadataImage, known_cluster: Option<String>) -> Result<String, String> {
    let cluster_id = image.cluster_id().map(ToString::to_string).unwrap_or_default();
    match known_cluster {
        Some(known) if known != cluster_id => Err(format!(
            "the log directories belong to cluster {known}, and ZooKeeper holds cluster {cluster_id}: set log.dirs or zookeeper.connect to \
             another"
        )),
        _ => Ok(cluster_id),
    }
}

/// A new cluster keeps `min.insync.replicas` for all its brokers, as Kafka's does since 4.1: leaders must not differ in it (KIP-966).
async fn keep_min_isr<H: Home>(controller: &mut Controller<H>, settings: &BrokerSettings) -> Result<(), CommitError> {
    const KEY: &str = "min.insync.replicas";
    let all_brokers = Resource::Broker(None);
    if controller.image().config(&all_brokers).contains_key(KEY) {
        return Ok(());
    }
    let value = settings.topics.defaults.insync_replicas_min.to_string();
    controller.commit(vec![Record::Config { resource: all_brokers, key: KEY.to_owned(), value: Some(value) }]).await?;
    Ok(())
}

/// Takes in topics that another broker left in the log directories.
async fn adopt<W: World, H: Home>(
    world: &W,
    controller: &mut Controller<H>,
    settings: &BrokerSettings,
    start: &mut StartState,
) -> Result<(), FoundError> {
    let dirs = &settings.storage.directories;
    let found = match adoption::find(world, dirs, start, controller.image()).await {
        Ok(found) => found,
        Err((directory, error)) => return start.on_failed(directory, error.to_string()).map_err(FoundError::Sentence),
    };
    let Decision { records, answer } =
        decision::adopt_topics(controller.image(), settings.node.id, &found, &consumer_offsets_configs(&settings.offsets));
    for (name, why) in &answer {
        tracing::warn!("topic {name} is not adopted: {why}; its directories are left alone");
    }
    let is_adopted = |name: &TopicName| found.iter().any(|topic| topic.name == *name) && answer.iter().all(|(refused, _)| refused != name);
    if let Err((directory, error)) = adoption::mark(world, dirs, start, is_adopted).await {
        // Nothing is: the next start finds them again.
        return start.on_failed(directory, error.to_string()).map_err(FoundError::Sentence);
    }
    controller.commit(records).await?;
    for topic in found.iter().filter(|topic| controller.image().topic_by_id(topic.id).is_some()) {
        let kept = if decision::is_internal(topic.name.as_str()) { "" } else { ", and kept until its retention.ms is set" };
        tracing::info!("topic {} is adopted with the id {}{kept}", topic.name, topic.id);
    }
    Ok(())
}

fn registration<W: World>(world: &W, settings: &BrokerSettings, listeners: &[(String, SocketAddr)], shard_count: u16) -> Registration {
    let endpoints = settings.network.listeners.advertised.iter().map(|advertised| {
        let bound = listeners.iter().find(|(name, _)| *name == advertised.name).map_or(0, |(_, address)| address.port());
        Endpoint {
            listener: advertised.name.clone(),
            host: advertised.host.clone(),
            port: if advertised.port == 0 { bound } else { advertised.port },
            security_protocol: "PLAINTEXT".to_owned(),
        }
    });
    Registration {
        node: settings.node.id,
        incarnation: TopicId::from_random(|| world.random()),
        shard_count,
        endpoints: endpoints.collect(),
        rack: settings.node.rack.clone(),
    }
}

/// Founds the cluster if it is new, registers this broker, and adopts what is in its log directories. Whatever an earlier attempt has got to
/// stands.
async fn found<W: World, H: Home>(
    world: &W,
    controller: &mut Controller<H>,
    settings: &BrokerSettings,
    known_cluster: Option<String>,
    registration: &Registration,
    start: &mut StartState,
) -> Result<String, FoundError> {
    let cluster_id = known_cluster
        .or_else(|| controller.image().cluster_id().map(ToString::to_string))
        .unwrap_or_else(|| TopicId::from_random(|| world.random()).to_string());
    let founding =
        decision::found_cluster(controller.image(), &cluster_id, FEATURES).map_err(|refused| FoundError::Sentence(refused.to_string()))?;
    controller.commit(founding).await?;
    keep_min_isr(controller, settings).await?;
    let registered = decision::register_broker(controller.image(), registration, BrokerState::Active).records;
    controller.commit(registered).await?;
    adopt(world, controller, settings, start).await?;
    Ok(cluster_id)
}
