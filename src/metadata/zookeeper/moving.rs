//! Homes that a log was moved to or from, while no broker uses them.

use super::node::{self, Elected, End, Epoch};
use super::{Limits, ZooKeeperHome, snapshot, tree_error};
use crate::io::World;
use crate::io::tree::{Change, Tree, make_path, remove_tree};
use crate::metadata::home::{HomeError, Snapshot, being_moved, moved_to};

/// Whether a log is kept there.
pub async fn is_home(tree: &impl Tree) -> Result<bool, HomeError> {
    tree.sync().await.map_err(tree_error)?;
    let there = tree.get(node::METADATA).await.map_err(tree_error)?.is_some();
    Ok(there && refusal(tree).await?.is_none())
}

/// Why no broker may use it, where that is so.
pub async fn refusal(tree: &impl Tree) -> Result<Option<String>, HomeError> {
    let mark = tree.get(node::MOVED).await.map_err(tree_error)?;
    Ok(mark.map(|mark| String::from_utf8_lossy(&mark.content).into_owned()))
}

/// Ids of the nodes that have a session there.
pub async fn live_brokers(tree: &impl Tree) -> Result<Vec<String>, HomeError> {
    tree.sync().await.map_err(tree_error)?;
    let mut live = tree.children(node::BROKERS).await.map_err(tree_error)?.unwrap_or_default();
    if let Some(found) = tree.get(node::CONTROLLER).await.map_err(tree_error)? {
        live.push(node::parse::<Elected>(node::CONTROLLER, &found.content)?.node.to_string());
    }
    live.sort();
    live.dedup();
    Ok(live)
}

/// No broker starts there from here on; it says why.
pub async fn retire(tree: &impl Tree, to: &str) -> Result<(), HomeError> {
    mark(tree, &moved_to(to)).await
}

async fn mark(tree: &impl Tree, why: &str) -> Result<(), HomeError> {
    make_path(tree, node::MOVED).await.map_err(tree_error)?;
    tree.write(vec![Change::set(node::MOVED, why, None)]).await.map(drop).map_err(tree_error)
}

/// Brokers may start there.
pub async fn take_up(tree: &impl Tree) -> Result<(), HomeError> {
    tree.write(vec![Change::delete(node::MOVED, None)]).await.map(drop).map_err(tree_error)
}

impl<W: World, T: Tree> ZooKeeperHome<W, T> {
    /// A home whose log begins with a snapshot, under the epoch of the controller that wrote it elsewhere. It stays refused to brokers until
    /// [`take_up`].
    pub async fn found_from(world: W, tree: T, limits: Limits, from: &str, snapshot: &Snapshot, epoch: i32) -> Result<Self, HomeError> {
        mark(&tree, &being_moved(from)).await?;
        remove_tree(&tree, node::METADATA).await.map_err(tree_error)?;
        let home = Self::new(world, tree, limits);
        let first = Epoch { epoch, node: -1 };
        home.found(first, End { end: snapshot.offset, epoch, attempt: 0 }).await?;
        if snapshot.offset > 0 {
            snapshot::keep(&home, snapshot.clone()).await?;
        }
        Ok(home)
    }

    /// The epoch of the last controller.
    pub async fn epoch(&self) -> Result<i32, HomeError> {
        Ok(self.read::<Epoch>(node::EPOCH).await?.0.epoch)
    }
}
