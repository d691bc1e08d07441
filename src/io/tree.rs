//! A tree of small versioned nodes that several machines share, as ZooKeeper keeps it: what is written is ordered and durable, a group of
//! changes is made whole or not at all, a node may live as long as the session that made it, and a change wakes those who watch.
//!
//! Called by `metadata` (a home of its log) and `cli`; implemented by `zookeeper` (real servers, through a thread of its own) and by
//! `memory::tree` (unit tests, the simulator). Paths are absolute, below the chroot that the tree was opened with. Futures may be awaited on
//! a shard or on an ordinary thread.
//!
//! Invariants:
//! 1. Writes take effect in the order in which they were asked for by one holder, and a read asked for after a write has been answered
//!    shows it.
//! 2. A read may show a past state of the tree: what others have written shows after a `sync`.
//! 3. A write that failed with [`TreeError::Unknown`] is done already, is never done, or is done yet: only a check of a version that it
//!    would change, made by a later write, settles which. Every other error means that nothing was done, and that nothing will be.
//! 4. A [`Watch`] fires at the first change after the read that came with it, and whenever a change may have been missed: a session that
//!    ended, a connection that was lost. Whoever watches reads again.
//! 5. No call waits longer than the operation timeout; nothing waits at all once the connection has been gone for the patience.

use tokio::sync::oneshot;

/// Bytes of one node from which on ZooKeeper's servers are no longer sure to take it (their frames end at 1 MiB); half of it leaves room
/// for the rest of a request.
pub const NODE_BYTES_MAX: usize = 512 * 1024;

/// Bytes of a group of changes that the servers take for sure: of a larger frame they read nothing, and close the connection.
pub const GROUP_BYTES_MAX: usize = 1000 * 1024;

/// What a change adds to its group's frame beside its path and its content, with room to spare.
const CHANGE_BYTES: usize = 128;

/// A session with the ensemble. Clones share it.
#[allow(async_fn_in_trait)] // futures stay on their caller's thread
pub trait Tree: Clone + 'static {
    /// The node; `None` if there is none.
    async fn get(&self, path: &str) -> Result<Option<Node>, TreeError>;

    /// As `get`, and a watch of the node's making, change and end.
    async fn get_watched(&self, path: &str) -> Result<(Option<Node>, Watch), TreeError>;

    /// Names of the node's children, sorted; `None` if there is no such node.
    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, TreeError>;

    /// As `children`, and a watch of children that come or go, and of the node's own making and end.
    async fn children_watched(&self, path: &str) -> Result<(Option<Vec<String>>, Watch), TreeError>;

    /// Makes all the changes or none of them: [`TreeError::Refused`] names the first that cannot be made. A group of more than
    /// [`GROUP_BYTES_MAX`] is denied.
    async fn write(&self, changes: Vec<Change>) -> Result<Vec<Changed>, TreeError>;

    /// Reads that are asked for later show at least what had been written anywhere before this call.
    async fn sync(&self) -> Result<(), TreeError>;

    /// The session now.
    fn session(&self) -> Session;

    /// Waits until the session is not as known: connected again, disconnected, or another one because the old has expired.
    async fn session_other_than(&self, known: Session) -> Session;
}

/// A node as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Node {
    pub content: Vec<u8>,
    pub stat: Stat,
}

/// What the servers note about a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stat {
    /// Transaction that made the node.
    pub created_zxid: i64,
    /// Transaction that changed its content last.
    pub modified_zxid: i64,
    pub created_ms: i64,
    pub modified_ms: i64,
    /// Changes of the content since the node was made.
    pub version: i32,
    /// Children that came or went.
    pub children_version: i32,
    /// The session that the node lives as long as; 0 for one that stays.
    pub ephemeral_owner: i64,
    pub children: i32,
}

/// One change of a group.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Changes nothing; the group is refused unless the node has this version.
    Check {
        path: String,
        version: i32,
    },
    Create {
        path: String,
        content: Vec<u8>,
        kind: Kind,
    },
    /// With a version, refused unless the node has it.
    Set {
        path: String,
        content: Vec<u8>,
        version: Option<i32>,
    },
    /// As `Set`.
    Delete {
        path: String,
        version: Option<i32>,
    },
}

impl Change {
    pub fn create(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self::Create { path: path.into(), content: content.into(), kind: Kind::Persistent }
    }

    pub fn create_ephemeral(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self::Create { path: path.into(), content: content.into(), kind: Kind::Ephemeral }
    }

    pub fn set(path: impl Into<String>, content: impl Into<Vec<u8>>, version: Option<i32>) -> Self {
        Self::Set { path: path.into(), content: content.into(), version }
    }

    pub fn delete(path: impl Into<String>, version: Option<i32>) -> Self {
        Self::Delete { path: path.into(), version }
    }

    pub fn check(path: impl Into<String>, version: i32) -> Self {
        Self::Check { path: path.into(), version }
    }

    /// Bytes of its path and its content.
    fn len(&self) -> usize {
        match self {
            Self::Create { path, content, .. } | Self::Set { path, content, .. } => path.len() + content.len(),
            Self::Check { path, .. } | Self::Delete { path, .. } => path.len(),
        }
    }
}

/// Why no server would take this group, if so.
pub fn too_large(changes: &[Change]) -> Option<TreeError> {
    let bytes: usize = changes.iter().map(|change| CHANGE_BYTES + change.len()).sum();
    let sentence = || TreeError::Denied(format!("a group of changes has {bytes} bytes, and ZooKeeper takes {GROUP_BYTES_MAX}"));
    (bytes > GROUP_BYTES_MAX).then(sentence)
}

/// How long a node lives, and whether the servers complete its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Persistent,
    /// As long as the session that makes it.
    Ephemeral,
    /// Ten digits are added to the path, each time higher ones.
    PersistentSequential,
    EphemeralSequential,
}

/// What a change came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Changed {
    Checked,
    /// The path, completed.
    Created(String),
    /// The node's new version.
    Set(i32),
    Deleted,
}

/// Why one change of a group could not be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refusal {
    #[error("there is no such node")]
    NoNode,
    #[error("the node exists")]
    NodeExists,
    #[error("the node has another version")]
    BadVersion,
    #[error("the node has children")]
    NotEmpty,
    #[error("a node that ends with its session cannot have children")]
    NoChildrenForEphemerals,
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TreeError {
    /// Nothing was done.
    #[error("ZooKeeper cannot be reached")]
    Unreachable,
    /// Of a write: it may have been done, or be done yet (invariant 3).
    #[error("the connection to ZooKeeper broke before it answered")]
    Unknown,
    /// Nothing was done: `changes[index]` does not fit the tree.
    #[error("change {index} was refused: {refusal}")]
    Refused { index: usize, refusal: Refusal },
    /// Nothing was done, and asking again will not help: access refused, a path that is none, a node too large.
    #[error("ZooKeeper refused: {0}")]
    Denied(String),
}

impl TreeError {
    /// The refusal, wherever in the group.
    pub fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Refused { refusal, .. } => Some(*refusal),
            Self::Unreachable | Self::Unknown | Self::Denied(_) => None,
        }
    }
}

/// The session as one moment shows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Session {
    /// 0 before the first, and after one has expired until the next.
    pub id: i64,
    pub link: Link,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Link {
    Connected,
    Disconnected,
}

impl Session {
    pub const NONE: Self = Self { id: 0, link: Link::Disconnected };

    pub fn is_connected(self) -> bool {
        self.link == Link::Connected
    }
}

/// Waits for one change. Dropped, it watches no longer.
#[derive(Debug)]
pub struct Watch(oneshot::Receiver<()>);

/// The other end of a watch: sending or dropping it fires.
pub type WatchTrigger = oneshot::Sender<()>;

impl Watch {
    pub fn new() -> (WatchTrigger, Self) {
        let (trigger, fired) = oneshot::channel();
        (trigger, Self(fired))
    }

    /// Resolves once something may have changed.
    pub async fn fired(self) {
        // A trigger that was dropped missed what came after: read again.
        let _sent_or_dropped = self.0.await;
    }
}

/// Makes the node, and its parents, where they are missing: empty ones that stay.
pub async fn make_path(tree: &impl Tree, path: &str) -> Result<(), TreeError> {
    if tree.get(path).await?.is_some() {
        return Ok(());
    }
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1).chain([path.len()]);
    for end in ends {
        match tree.write(vec![Change::create(&path[..end], [])]).await {
            Err(error) if error.refusal() != Some(Refusal::NodeExists) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Deletes the node and all below it, where there is one.
pub async fn remove_tree(tree: &impl Tree, path: &str) -> Result<(), TreeError> {
    // Children come after their parents here, and go before them.
    let mut found = vec![path.to_owned()];
    let mut looked_at = 0;
    while let Some(path) = found.get(looked_at).cloned() {
        let below = tree.children(&path).await?.unwrap_or_default();
        found.extend(below.into_iter().map(|name| format!("{path}/{name}")));
        looked_at += 1;
    }
    for path in found.into_iter().rev() {
        match tree.write(vec![Change::delete(path, None)]).await {
            Err(error) if error.refusal() != Some(Refusal::NoNode) => return Err(error),
            _ => {}
        }
    }
    Ok(())
}
