//! The home of a cluster whose metadata log a ZooKeeper ensemble keeps: several brokers see one log, one of them appends.
//!
//! Called by whoever opens the broker's metadata; calls `io::tree` for the ensemble and `batch` to split. Lives on one shard; clones are the
//! same home. The nodes are drawn in `node`; `log` appends and reads, `snapshot` keeps and trims, `session` elects and registers,
//! `layout` shows the cluster as Kafka 2.8 kept it.
//!
//! Invariants:
//! 1. Every append checks the version of the epoch's node, moves the end's node from the version it was read at, and makes the page, in one
//!    group: a controller that was deposed, or that believes in another end, changes nothing.
//! 2. An append whose outcome is unknown is settled before the log is read or written again: found by its own mark in the end's node, or
//!    made impossible by moving that node's version on.
//! 3. No node grows beyond `NODE_BYTES_MAX`; a larger batch stands between marks, a snapshot in chunks.
//! 4. A page is deleted only below the snapshot's offset, and a snapshot's chunks only once the pointer shows another one.
//! 5. What ends with a session (registration, controller) is made again in the next one, as long as nobody else has taken its place.
//!
//! A crash leaves: pages below the snapshot, chunks that no pointer shows (both deleted by the next snapshot), a batch begun and not ended
//! (aborted by the next controller), nodes that end with the session (gone when it expires; taken over by the same incarnation).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use super::decision::Registration;
use super::home::{Appended, Home, HomeError, Member, Proposal, Snapshot};
use super::image::MetadataImage;
use super::record::Record;
use crate::io::World;
use crate::io::tree::{Change, NODE_BYTES_MAX, Refusal, Tree, TreeError, make_path};
use crate::types::{NodeId, TimestampMs, TopicId};

pub mod layout;
mod log;
mod moving;
mod node;
mod session;
mod snapshot;
#[cfg(test)]
mod tests;

pub use moving::{is_home, live_brokers, refusal, retire, take_up};

use layout::Mirror;
use log::{Attempt, Known};

/// Before something that failed is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// Named limits of the home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one node's records: a larger batch is split, a larger record refused.
    pub node_bytes_max: usize,
    /// Bytes of records that one `read_from` reads before it answers.
    pub page_bytes: usize,
    /// Appends since the last snapshot from which on another is due.
    pub appends_before_snapshot: u64,
    /// The same in bytes.
    pub bytes_before_snapshot: u64,
    /// How often an append is tried whose answers are lost.
    pub attempts_max: u32,
    /// How long a registration waits for an earlier session of the same node id to expire.
    pub registration_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Room for what a page says beside its records.
            node_bytes_max: NODE_BYTES_MAX - 1024,
            page_bytes: 256 << 10,
            appends_before_snapshot: 500,
            bytes_before_snapshot: 4 << 20,
            attempts_max: 5,
            registration_wait: Duration::from_secs(20),
        }
    }
}

/// A log, its snapshots and its brokers below a chroot.
pub struct ZooKeeperHome<W, T> {
    shared: Rc<Shared<W, T>>,
}

impl<W, T> Clone for ZooKeeperHome<W, T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

struct Shared<W, T> {
    world: W,
    tree: T,
    limits: Limits,
    /// Tells this home's nodes from those of another with the same node id.
    incarnation: String,
    /// What has been read or written of the end's and the epoch's nodes.
    known: RefCell<Known>,
    /// Kafka's own nodes beside the log.
    mirror: Mirror<T>,
    /// An append whose outcome is unknown.
    unsettled: RefCell<Option<Attempt>>,
    /// What is kept registered.
    registration: RefCell<Option<Registration>>,
    /// Nodes among the brokers' that are none, and that have been told of.
    strangers: RefCell<BTreeSet<String>>,
}

impl<W: World, T: Tree> ZooKeeperHome<W, T> {
    /// Opens the home below the tree's root, or founds it.
    pub async fn open(world: W, tree: T, limits: Limits) -> Result<Self, HomeError> {
        let home = Self::new(world, tree, limits);
        let empty = node::End { end: 0, epoch: 0, attempt: 0 };
        home.found(node::Epoch { epoch: 0, node: -1 }, empty).await?;
        if let Some(why) = refusal(&home.shared.tree).await? {
            return Err(HomeError::Moved { place: "ZooKeeper".to_owned(), why });
        }
        Ok(home)
    }

    fn new(world: W, tree: T, limits: Limits) -> Self {
        let incarnation = TopicId::from_random(|| world.random()).to_string();
        let shared = Shared {
            world,
            mirror: Mirror::new(tree.clone()),
            tree,
            limits,
            incarnation,
            known: RefCell::default(),
            unsettled: RefCell::default(),
            registration: RefCell::default(),
            strangers: RefCell::default(),
        };
        Self { shared: Rc::new(shared) }
    }

    /// Makes the nodes that are missing.
    async fn found(&self, epoch: node::Epoch, end: node::End) -> Result<(), HomeError> {
        let tree = &self.shared.tree;
        let mut tries = 0;
        loop {
            match self.try_found(epoch, end).await {
                Err(TreeError::Unknown | TreeError::Unreachable) if tries < self.shared.limits.attempts_max => {
                    tries += 1;
                    self.pause().await;
                }
                other => {
                    other.map_err(tree_error)?;
                    return tree.sync().await.map_err(tree_error);
                }
            }
        }
    }

    async fn try_found(&self, epoch: node::Epoch, end: node::End) -> Result<(), TreeError> {
        let tree = &self.shared.tree;
        tree.sync().await?;
        // Its topics would be taken for requests, and be refused.
        if tree.get(node::ROOT).await?.is_none() && tree.get(layout::CLUSTER_ID).await?.is_some() {
            let why = "the nodes there are those of a Kafka cluster: give this one a chroot of its own in zookeeper.connect";
            return Err(TreeError::Denied(why.to_owned()));
        }
        make_path(tree, node::BROKERS).await?;
        if tree.get(node::METADATA).await?.is_some() {
            return Ok(());
        }
        let empty = [
            Change::create(node::METADATA, []),
            Change::create(node::EPOCH, node::text(&epoch)),
            Change::create(node::END, node::text(&end)),
            Change::create(node::LOG, []),
            Change::create(node::SNAPSHOT, node::text(&node::Pointer::default())),
            Change::create(node::SNAPSHOTS, []),
        ];
        match tree.write(empty.to_vec()).await {
            Err(error) if error.refusal() == Some(Refusal::NodeExists) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn pause(&self) {
        self.shared.world.sleep(RETRY_PAUSE).await;
    }

    /// Reads a node that the home always has.
    async fn read<C: serde::de::DeserializeOwned>(&self, path: &str) -> Result<(C, i32), HomeError> {
        let found = self.shared.tree.get(path).await.map_err(tree_error)?;
        let found = found.ok_or_else(|| node::damaged(path, "it is missing"))?;
        Ok((node::parse(path, &found.content)?, found.stat.version))
    }
}

impl<W: World, T: Tree> Home for ZooKeeperHome<W, T> {
    async fn append(&self, controller_epoch: i32, expected_end: i64, batch: Vec<Record>) -> Result<Appended, HomeError> {
        log::append(self, controller_epoch, expected_end, batch).await
    }

    async fn read_from(&self, offset: i64) -> Result<Vec<(i64, Record)>, HomeError> {
        log::read_from(self, offset).await
    }

    async fn grown_past(&self, end: i64) -> Result<(), HomeError> {
        log::grown_past(self, end).await
    }

    async fn load(&self) -> Result<Snapshot, HomeError> {
        snapshot::load(self).await
    }

    async fn snapshot(&self, snapshot: Snapshot) -> Result<(), HomeError> {
        snapshot::keep(self, snapshot).await
    }

    fn snapshot_is_due(&self) -> bool {
        let known = self.shared.known.borrow();
        let limits = &self.shared.limits;
        known.appends >= limits.appends_before_snapshot || known.appended_bytes >= limits.bytes_before_snapshot
    }

    async fn election(&self, node: NodeId) -> Result<i32, HomeError> {
        let epoch = session::election(self, node).await?;
        self.shared.mirror.forget();
        Ok(epoch)
    }

    async fn deposed(&self, controller_epoch: i32) -> Result<(), HomeError> {
        session::deposed(self, controller_epoch).await
    }

    fn is_shared(&self) -> bool {
        true
    }

    async fn register(&self, registration: Registration) -> Result<(), HomeError> {
        session::register(self, registration).await
    }

    async fn members_other_than(&self, known: &[Member]) -> Result<Vec<Registration>, HomeError> {
        session::members_other_than(self, known).await
    }

    async fn show(&self, image: &MetadataImage, now: TimestampMs) -> Result<(), HomeError> {
        let fence = self.shared.known.borrow().fence();
        self.shared.mirror.show(image, now, fence).await.map_err(tree_error)
    }

    async fn touched(&self) {
        self.shared.mirror.touched().await
    }

    async fn proposals(&self) -> Result<Vec<Proposal>, HomeError> {
        self.shared.mirror.asked().await.map_err(tree_error)
    }

    async fn settle(&self, proposal: Proposal) -> Result<(), HomeError> {
        self.shared.mirror.settle(&proposal).await.map_err(tree_error)
    }
}

fn tree_error(error: TreeError) -> HomeError {
    match error {
        TreeError::Unreachable | TreeError::Unknown => HomeError::Unreachable(error.to_string()),
        TreeError::Refused { .. } | TreeError::Denied(_) => HomeError::Offline(error.to_string()),
    }
}
