//! Keeps the nodes as the image is, and finds what others ask for in them.
//!
//! Lives on the controller's shard; its methods run one after another. Of the image it keeps the one that the nodes show: what an image
//! that follows makes different is written, and nothing else is read for it.
//!
//! A crash leaves nodes of an earlier image: the next controller reads every topic's node once, and writes every partition's state.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use futures_lite::FutureExt;
use futures_util::stream::{FuturesUnordered, Stream};

use super::node::{broker_bytes, broker_path, controller_bytes, controller_id};
use super::publication::{self, Write};
use super::{CONTROLLER, PARENTS, TOPICS};
use crate::io::tree::{Change, Refusal, Tree, TreeError};
use crate::metadata::image::MetadataImage;
use crate::types::TimestampMs;
use crate::types::planted::{self, Bug};

#[cfg(test)]
mod convergence;
mod requests;
#[cfg(test)]
mod tests;
mod writes;

/// Kafka's nodes of one cluster, as its controller keeps them.
pub struct Mirror<T> {
    tree: T,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// Goes with every write: refused once another controller has been elected.
    fence: Option<Change>,
    /// What the nodes show, but for what others wrote; `None` until all of it has been written once.
    shown: Option<MetadataImage>,
    /// The session that holds the nodes that end with it.
    session: Option<i64>,
    /// Configs that a crash may have left as they were have been looked at.
    are_configs_checked: bool,
    /// Versions of nodes that others write too, as they were last read or written here.
    versions: BTreeMap<String, i32>,
    /// Topics whose own node is to be read.
    unread: BTreeSet<String>,
    watches: FuturesUnordered<Pin<Box<dyn Future<Output = Watched>>>>,
    /// What the watches are for.
    watched: BTreeSet<Watched>,
}

/// What a watch is set on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Watched {
    Topics,
    Topic(String),
    ConfigChanges,
    Deletions,
    Reassignment,
    PreferredElection,
}

impl<T: Tree> Mirror<T> {
    pub fn new(tree: T) -> Self {
        Self { tree, state: RefCell::default() }
    }

    /// Knows of no node any more: another may have been the controller meanwhile.
    pub fn forget(&self) {
        self.state.replace(State::default());
    }

    /// Makes the nodes show this image, whose controller calls. Every write goes with `fence`. After an error some nodes may show the image
    /// before; calling again writes what is left.
    pub async fn show(&self, image: &MetadataImage, now: TimestampMs, fence: Option<Change>) -> Result<(), TreeError> {
        self.state.borrow_mut().fence = fence;
        let shown = self.state.borrow().shown.clone();
        if shown.is_none() {
            for path in PARENTS {
                self.make(path).await?;
            }
        }
        self.announce(image, now).await?;
        let writes = match &shown {
            Some(shown) => publication::differences(shown, image),
            None => self.everything(image).await?,
        };
        if planted::is(Bug::LayoutTakenForShown) {
            self.state.borrow_mut().shown = Some(image.clone());
        }
        self.carry_out(writes).await?;
        self.state.borrow_mut().shown = Some(image.clone());
        Ok(())
    }

    /// The writes after which the nodes show this image, whatever they show now. Topics' own nodes that are there are left to [`Self::asked`].
    async fn everything(&self, image: &MetadataImage) -> Result<Vec<Write>, TreeError> {
        let there: BTreeSet<String> = self.tree.children(TOPICS).await?.unwrap_or_default().into_iter().collect();
        let epoch = image.controller().map_or(0, |controller| controller.epoch);
        let mut writes = publication::cluster_writes(image);
        for topic in image.topics() {
            if there.contains(topic.name.as_str()) {
                writes.extend(publication::state_writes(topic, epoch));
            } else {
                writes.extend(publication::topic_writes(topic, epoch));
            }
        }
        Ok(writes)
    }

    /// The controller's node, and its own as a broker, which end with the session.
    async fn announce(&self, image: &MetadataImage, now: TimestampMs) -> Result<(), TreeError> {
        let Some(node) = image.controller().map(|controller| controller.node) else { return Ok(()) };
        let session = self.tree.session().id;
        let broker = image.broker(node);
        let as_shown = {
            let state = self.state.borrow();
            let shown = state.shown.as_ref().and_then(|shown| shown.broker(node));
            state.session == Some(session) && shown == broker
        };
        if as_shown {
            return Ok(());
        }
        self.refuse_stranger(image, session).await?;
        if let Some(broker) = broker {
            self.hold(&broker_path(node), broker_bytes(broker, now.get())).await?;
        }
        self.hold(CONTROLLER, controller_bytes(node, now.get())).await?;
        self.state.borrow_mut().session = Some(session);
        Ok(())
    }

    /// A controller that is none of this cluster's brokers is Kafka's: its topics would be taken for requests.
    async fn refuse_stranger(&self, image: &MetadataImage, session: i64) -> Result<(), TreeError> {
        let Some(found) = self.tree.get(CONTROLLER).await? else { return Ok(()) };
        if found.stat.ephemeral_owner == session || controller_id(&found.content).is_some_and(|node| image.broker(node).is_some()) {
            return Ok(());
        }
        Err(TreeError::Denied(format!("a broker of another cluster holds {CONTROLLER}: give this cluster a chroot of its own")))
    }

    /// Makes a node of this session. One that is there was left by another that is over, or about to be: the home has seen to that.
    async fn hold(&self, path: &str, content: Vec<u8>) -> Result<(), TreeError> {
        let create = Change::create_ephemeral(path, content);
        match self.write(vec![create.clone()]).await {
            Err(error) if error.refusal() == Some(Refusal::NodeExists) => {}
            other => return other.map(drop),
        }
        match self.write(vec![Change::delete(path, None), create.clone()]).await {
            // It ended by itself just now.
            Err(error) if error.refusal() == Some(Refusal::NoNode) => self.write(vec![create]).await.map(drop),
            other => other.map(drop),
        }
    }

    /// Waits until somebody may have asked for something since the last [`Self::asked`], or the session is another.
    pub async fn touched(&self) {
        let known = self.state.borrow().session;
        let watch = poll_fn(|context| {
            let mut state = self.state.borrow_mut();
            let mut any = false;
            while let Poll::Ready(Some(watched)) = Pin::new(&mut state.watches).poll_next(context) {
                state.watched.remove(&watched);
                if let Watched::Topic(topic) = watched {
                    state.unread.insert(topic);
                }
                any = true;
            }
            if any { Poll::Ready(()) } else { Poll::Pending }
        });
        let another = async {
            let mut session = self.tree.session();
            // While there is none, nothing can be written in it.
            while !session.is_connected() || known.is_none_or(|known| known == session.id) {
                session = self.tree.session_other_than(session).await;
            }
        };
        watch.or(another).await;
    }
}
