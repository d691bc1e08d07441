//! Writes to the tree: fenced, in groups, and with the same outcome whatever is there.

use super::super::publication::Write;
use super::super::{CONFIG, CONFIG_CHANGES, TOPICS};
use super::Mirror;
use crate::io::tree::{Change, Changed, NODE_BYTES_MAX, Refusal, Tree, TreeError, make_path};

/// Changes that are made at once.
const GROUP_CHANGES_MAX: usize = 100;
/// And bytes of them.
const GROUP_BYTES_MAX: usize = 256 << 10;

/// What a change costs beside its content: its path and its frame, with room to spare.
const GROUP_BYTES_EACH: usize = 512;

impl<T: Tree> Mirror<T> {
    /// A group of writes, if this is still the controller.
    pub(super) async fn write(&self, mut changes: Vec<Change>) -> Result<Vec<Changed>, TreeError> {
        let Some(fence) = self.state.borrow().fence.clone() else { return self.tree.write(changes).await };
        changes.insert(0, fence);
        match self.tree.write(changes).await {
            Ok(changed) => Ok(changed.into_iter().skip(1).collect()),
            Err(TreeError::Refused { index: 0, .. }) => Err(TreeError::Denied("another controller has been elected".to_owned())),
            Err(TreeError::Refused { index, refusal }) => Err(TreeError::Refused { index: index - 1, refusal }),
            Err(error) => Err(error),
        }
    }

    /// Makes the writes, in groups where they can be.
    pub(super) async fn carry_out(&self, writes: Vec<Write>) -> Result<(), TreeError> {
        let mut group = vec![];
        let mut bytes = 0;
        for write in writes {
            match write {
                Write::Share { path, content } => {
                    self.flush(&mut group).await?;
                    bytes = 0;
                    self.share(path, content).await?;
                }
                Write::Remove { path } => {
                    self.flush(&mut group).await?;
                    bytes = 0;
                    self.remove(&path).await?;
                }
                Write::Create { .. } | Write::Set { .. } | Write::Make { .. } => {
                    bytes += GROUP_BYTES_EACH + write.content_len();
                    group.push(write);
                    if group.len() >= GROUP_CHANGES_MAX || bytes >= GROUP_BYTES_MAX {
                        self.flush(&mut group).await?;
                        bytes = 0;
                    }
                }
            }
        }
        self.flush(&mut group).await
    }

    /// Makes a group of writes at once, or, where the tree is not as was thought, one by one.
    async fn flush(&self, group: &mut Vec<Write>) -> Result<(), TreeError> {
        let group = std::mem::take(group);
        if group.is_empty() {
            return Ok(());
        }
        let changes = group.iter().map(|write| match write.clone() {
            Write::Create { path, content } => Change::create(path, content),
            Write::Make { path } => Change::create(path, []),
            Write::Set { path, content } | Write::Share { path, content } => Change::set(path, content, None),
            Write::Remove { path } => Change::delete(path, None),
        });
        match self.write(changes.collect()).await {
            Err(TreeError::Refused { .. }) => {}
            other => return other.map(drop),
        }
        for write in group {
            match write {
                Write::Make { path } => self.make(&path).await?,
                Write::Create { path, content } | Write::Set { path, content } | Write::Share { path, content } => {
                    self.put(&path, content).await?
                }
                Write::Remove { path } => self.remove(&path).await?,
            }
        }
        Ok(())
    }

    /// The node is there.
    pub(super) async fn make(&self, path: &str) -> Result<(), TreeError> {
        match self.write(vec![Change::create(path, [])]).await {
            Err(error) if error.refusal() == Some(Refusal::NodeExists) => Ok(()),
            Err(error) if error.refusal() == Some(Refusal::NoNode) => make_path(&self.tree, path).await,
            other => other.map(drop),
        }
    }

    /// The node holds this.
    async fn put(&self, path: &str, content: Vec<u8>) -> Result<(), TreeError> {
        match self.write(vec![Change::set(path, content.clone(), None)]).await {
            Err(error) if error.refusal() == Some(Refusal::NoNode) => {}
            other => return other.map(drop),
        }
        self.make(path).await?;
        self.write(vec![Change::set(path, content, None)]).await.map(drop)
    }

    /// Writes a node that others write too. What one of them has written since it was last read stays: it is a request, and it is found by
    /// its watch (a topic's own node) or by its notification (configs).
    pub(super) async fn share(&self, path: String, content: Vec<u8>) -> Result<(), TreeError> {
        if content.len() > NODE_BYTES_MAX {
            tracing::warn!("{path} is not shown in ZooKeeper: it would have {} bytes", content.len());
            return Ok(());
        }
        let known = self.state.borrow().versions.get(&path).copied();
        let written = match known {
            Some(version) => self.write(vec![Change::set(path.clone(), content.clone(), Some(version))]).await,
            None => self.write(vec![Change::create(path.clone(), content.clone())]).await,
        };
        let version = match written {
            Ok(changed) => version_of(&changed),
            Err(error) => match error.refusal() {
                Some(Refusal::NoNode) => {
                    self.make(&path).await?;
                    version_of(&self.write(vec![Change::set(path.clone(), content, None)]).await?)
                }
                // Configs that belong to nothing yet: a topic's own node would be a request for one.
                Some(Refusal::NodeExists) if path.starts_with(CONFIG) => {
                    version_of(&self.write(vec![Change::set(path.clone(), content, None)]).await?)
                }
                Some(Refusal::BadVersion) if path.starts_with(CONFIG) => return self.share_again(path, content).await,
                Some(Refusal::NodeExists | Refusal::BadVersion) => {
                    self.on_written_by_others(&path);
                    return Ok(());
                }
                Some(Refusal::NotEmpty | Refusal::NoChildrenForEphemerals) | None => return Err(error),
            },
        };
        self.state.borrow_mut().versions.insert(path, version);
        Ok(())
    }

    /// Configs have another version than was known: somebody has written them and says so by a notification, or it was a write from here
    /// whose answer was lost.
    async fn share_again(&self, path: String, content: Vec<u8>) -> Result<(), TreeError> {
        let Some(node) = self.tree.get(&path).await? else { return Ok(()) };
        self.state.borrow_mut().versions.insert(path.clone(), node.stat.version);
        if node.content == content {
            return Ok(());
        }
        if self.tree.children(CONFIG_CHANGES).await?.is_some_and(|notifications| !notifications.is_empty()) {
            self.state.borrow_mut().are_configs_checked = false;
            return Ok(());
        }
        let set = Change::set(path.clone(), content, Some(node.stat.version));
        let version = version_of(&self.write(vec![set]).await?);
        self.state.borrow_mut().versions.insert(path, version);
        Ok(())
    }

    fn on_written_by_others(&self, path: &str) {
        if let Some(topic) = path.strip_prefix(TOPICS) {
            self.state.borrow_mut().unread.insert(topic.trim_start_matches('/').to_owned());
        }
    }

    /// Takes away a node and all that is below it, from below.
    pub(super) async fn remove(&self, path: &str) -> Result<(), TreeError> {
        let mut found = vec![path.to_owned()];
        let mut next = 0;
        while next < found.len() {
            let parent = found[next].clone();
            let children = self.tree.children(&parent).await?.unwrap_or_default();
            found.extend(children.into_iter().map(|child| format!("{parent}/{child}")));
            next += 1;
        }
        for group in found.rchunks(GROUP_CHANGES_MAX) {
            let deletes = group.iter().rev().map(|path| Change::delete(path, None)).collect();
            match self.write(deletes).await {
                // Some of it has gone by itself.
                Err(error) if error.refusal() == Some(Refusal::NoNode) => {
                    for path in group.iter().rev() {
                        self.delete(path).await?;
                    }
                }
                other => drop(other?),
            }
        }
        let mut state = self.state.borrow_mut();
        for path in &found {
            state.versions.remove(path);
        }
        Ok(())
    }

    async fn delete(&self, path: &str) -> Result<(), TreeError> {
        match self.write(vec![Change::delete(path, None)]).await {
            Err(error) if error.refusal() == Some(Refusal::NoNode) => Ok(()),
            other => other.map(drop),
        }
    }
}

/// The version that a node has after one change of its content, or its making.
fn version_of(changed: &[Changed]) -> i32 {
    match changed.first() {
        Some(Changed::Set(version)) => *version,
        Some(Changed::Created(_) | Changed::Checked | Changed::Deleted) | None => 0,
    }
}
