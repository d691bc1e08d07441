//! The names of one node's files: the tree programs see, the tree a loss of power is certain to leave, and the changes between the two.
//!
//! Called by `disk`; `crash` decides which of the changes survive.
//!
//! Invariants:
//! 1. A rename is one change: no crash shows both names, or neither.
//! 2. A change survives only with every earlier change to one of its names or to the same file or directory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::{Component, Path};
use std::sync::Arc;

use super::content::Inode;
use crate::io::EntryKind;

pub(super) type DirectoryId = u64;

pub(super) const ROOT: DirectoryId = 0;

#[derive(Clone)]
pub(super) enum Entry {
    File(Arc<Inode>),
    Directory(DirectoryId),
}

impl Entry {
    pub(super) fn kind(&self) -> EntryKind {
        match self {
            Entry::File(_) => EntryKind::File,
            Entry::Directory(_) => EntryKind::Directory,
        }
    }

    fn identity(&self) -> (EntryKind, u64) {
        match self {
            Entry::File(inode) => (EntryKind::File, inode.id),
            Entry::Directory(id) => (EntryKind::Directory, *id),
        }
    }

    fn is(&self, other: &Entry) -> bool {
        self.identity() == other.identity()
    }
}

/// A name in a directory.
pub(super) type Name = (DirectoryId, String);

#[derive(Clone)]
pub(super) enum Change {
    Link { name: Name, entry: Entry },
    Unlink { name: Name, entry: Entry },
    Rename { from: Name, to: Name, entry: Entry },
}

impl Change {
    /// The directory whose sync makes this change durable.
    fn directory(&self) -> DirectoryId {
        match self {
            Change::Link { name, .. } | Change::Unlink { name, .. } => name.0,
            Change::Rename { to, .. } => to.0,
        }
    }

    fn entry(&self) -> &Entry {
        match self {
            Change::Link { entry, .. } | Change::Unlink { entry, .. } | Change::Rename { entry, .. } => entry,
        }
    }

    fn names(&self) -> [&Name; 2] {
        match self {
            Change::Link { name, .. } | Change::Unlink { name, .. } => [name, name],
            Change::Rename { from, to, .. } => [from, to],
        }
    }
}

#[derive(Clone, Default)]
pub(super) struct Tree {
    directories: BTreeMap<DirectoryId, BTreeMap<String, Entry>>,
}

impl Tree {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Link { name, entry } => self.insert(name, entry),
            Change::Unlink { name, entry } => self.remove(name, entry),
            Change::Rename { from, to, entry } => {
                self.remove(from, entry);
                self.insert(to, entry);
            }
        }
    }

    fn insert(&mut self, name: &Name, entry: &Entry) {
        if let Entry::Directory(id) = entry {
            self.directories.entry(*id).or_default();
        }
        self.directories.entry(name.0).or_default().insert(name.1.clone(), entry.clone());
    }

    fn remove(&mut self, name: &Name, entry: &Entry) {
        if let Some(directory) = self.directories.get_mut(&name.0)
            && directory.get(&name.1).is_some_and(|there| there.is(entry))
        {
            directory.remove(&name.1);
        }
    }

    pub(super) fn get(&self, name: &Name) -> Option<&Entry> {
        self.directories.get(&name.0)?.get(&name.1)
    }

    pub(super) fn entries(&self, directory: DirectoryId) -> impl Iterator<Item = (&String, &Entry)> {
        self.directories.get(&directory).into_iter().flatten()
    }

    /// Every file below the directory, each once.
    pub(super) fn files(&self, directory: DirectoryId) -> BTreeMap<u64, Arc<Inode>> {
        let mut found = BTreeMap::new();
        let mut open = vec![directory];
        while let Some(directory) = open.pop() {
            for (_, entry) in self.entries(directory) {
                match entry {
                    Entry::File(inode) => drop(found.insert(inode.id, inode.clone())),
                    Entry::Directory(id) => open.push(*id),
                }
            }
        }
        found
    }

    /// Forgets directories that no path leads to.
    fn prune(&mut self) {
        let mut reached = BTreeSet::from([ROOT]);
        let mut open = vec![ROOT];
        while let Some(directory) = open.pop() {
            for (_, entry) in self.entries(directory) {
                if let Entry::Directory(id) = entry
                    && reached.insert(*id)
                {
                    open.push(*id);
                }
            }
        }
        self.directories.retain(|id, _| reached.contains(id));
    }
}

pub(super) struct Namespace {
    pub(super) live: Tree,
    durable: Tree,
    /// With the number of each, ascending: some in between may have become durable.
    changes: VecDeque<(u64, Change)>,
    /// Changes ever made: a directory's sync covers those made before it was called.
    made: u64,
    directories_made: DirectoryId,
}

impl Namespace {
    pub(super) fn new() -> Self {
        Self { live: Tree::default(), durable: Tree::default(), changes: VecDeque::new(), made: 0, directories_made: ROOT }
    }

    /// The directory a path names.
    pub(super) fn directory(&self, path: &Path) -> io::Result<DirectoryId> {
        let mut directory = ROOT;
        for name in names(path)? {
            directory = match self.live.get(&(directory, name)) {
                Some(Entry::Directory(id)) => *id,
                Some(Entry::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => return Err(io::ErrorKind::NotFound.into()),
            };
        }
        Ok(directory)
    }

    /// The name a path ends in, in the directory that leads to it.
    pub(super) fn name(&self, path: &Path) -> io::Result<Name> {
        let mut names = names(path)?;
        let last = names.pop().ok_or(io::ErrorKind::InvalidInput)?;
        let parent: std::path::PathBuf = names.iter().collect();
        Ok((self.directory(&parent)?, last))
    }

    pub(super) fn link_file(&mut self, name: Name, inode: Arc<Inode>) {
        self.make(Change::Link { name, entry: Entry::File(inode) });
    }

    pub(super) fn unlink(&mut self, name: Name, entry: Entry) {
        self.make(Change::Unlink { name, entry });
    }

    /// Creates what is missing of the path; answers how many directories that were. At most `most` are created: a crash may come first.
    pub(super) fn create_directories(&mut self, path: &Path, most: u64) -> io::Result<u64> {
        let mut directory = ROOT;
        let mut created = 0;
        for part in names(path)? {
            let name = (directory, part);
            directory = match self.live.get(&name) {
                Some(Entry::Directory(id)) => *id,
                Some(Entry::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None if created == most => break,
                None => {
                    created += 1;
                    self.directories_made += 1;
                    let id = self.directories_made;
                    self.make(Change::Link { name, entry: Entry::Directory(id) });
                    id
                }
            };
        }
        Ok(created)
    }

    /// Moves a name; answers the file it replaced, if any.
    pub(super) fn rename(&mut self, from: Name, to: Name) -> io::Result<Option<Arc<Inode>>> {
        let entry = self.live.get(&from).cloned().ok_or(io::ErrorKind::NotFound)?;
        let mut replaced = None;
        match (&entry, self.live.get(&to)) {
            (_, Some(there)) if there.is(&entry) => return Ok(None),
            (Entry::File(_), Some(Entry::Directory(_))) => return Err(io::ErrorKind::IsADirectory.into()),
            (Entry::Directory(_), Some(Entry::File(_))) => return Err(io::ErrorKind::NotADirectory.into()),
            (Entry::Directory(_), Some(Entry::Directory(id))) if self.live.entries(*id).next().is_some() => {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            (Entry::Directory(id), _) if *id == to.0 || self.is_below(*id, to.0) => return Err(io::ErrorKind::InvalidInput.into()),
            (_, Some(Entry::File(inode))) => replaced = Some(inode.clone()),
            (_, Some(Entry::Directory(_)) | None) => {}
        }
        self.make(Change::Rename { from, to, entry });
        Ok(replaced)
    }

    fn is_below(&self, above: DirectoryId, below: DirectoryId) -> bool {
        self.live.entries(above).any(|(_, entry)| match entry {
            Entry::Directory(id) => *id == below || self.is_below(*id, below),
            Entry::File(_) => false,
        })
    }

    /// Everything in and under the directory, and itself, in an order in which it can be unlinked one by one.
    pub(super) fn removal_order(&self, name: &Name) -> Vec<(Name, Entry)> {
        let mut order = Vec::new();
        let mut open: Vec<(Name, Entry)> = self.live.get(name).map(|entry| (name.clone(), entry.clone())).into_iter().collect();
        while let Some((name, entry)) = open.pop() {
            if let Entry::Directory(id) = entry {
                open.extend(self.live.entries(id).map(|(part, entry)| ((id, part.clone()), entry.clone())));
            }
            order.push((name, entry));
        }
        order.reverse();
        order
    }

    fn make(&mut self, change: Change) {
        self.live.apply(&change);
        self.changes.push_back((self.made, change));
        self.made += 1;
    }

    pub(super) fn changes_end(&self) -> u64 {
        self.made
    }

    pub(super) fn changes_len(&self) -> usize {
        self.changes.len()
    }

    /// Makes durable what was changed in the directory before change number `covered`.
    pub(super) fn settle(&mut self, directory: DirectoryId, covered: u64) {
        let chosen = self.changes.iter().map(|(number, change)| *number < covered && change.directory() == directory).collect();
        self.commit(chosen);
    }

    /// Makes the oldest changes durable until at most `most` are left.
    pub(super) fn settle_oldest(&mut self, most: usize) {
        while self.changes.len() > most {
            if let Some((_, change)) = self.changes.pop_front() {
                self.durable.apply(&change);
            }
        }
    }

    /// Makes the chosen changes durable, with the earlier ones they stand on; answers how many.
    fn commit(&mut self, mut chosen: Vec<bool>) -> u64 {
        let mut needed_names = BTreeSet::new();
        let mut needed_entries = BTreeSet::new();
        for ((_, change), chosen) in self.changes.iter().zip(&mut chosen).rev() {
            let names = change.names();
            *chosen |= needed_entries.contains(&change.entry().identity()) || names.iter().any(|name| needed_names.contains(*name));
            if *chosen {
                needed_names.extend(names);
                needed_entries.insert(change.entry().identity());
            }
        }
        let mut left = VecDeque::new();
        let mut committed = 0;
        for ((number, change), chosen) in std::mem::take(&mut self.changes).into_iter().zip(chosen) {
            if chosen {
                self.durable.apply(&change);
                committed += 1;
            } else {
                left.push_back((number, change));
            }
        }
        self.changes = left;
        committed
    }

    /// Loss of power: the chosen changes survive with those they stand on, the others are gone. Answers how many survived.
    pub(super) fn lose(&mut self, chosen: Vec<bool>) -> u64 {
        let kept = self.commit(chosen);
        self.changes.clear();
        self.durable.prune();
        self.live = self.durable.clone();
        kept
    }
}

/// The names along a path from the root; a relative path starts there too.
fn names(path: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
            Component::ParentDir => {
                names.pop();
            }
            Component::Normal(name) => names.push(name.to_str().ok_or(io::ErrorKind::InvalidInput)?.to_owned()),
        }
    }
    Ok(names)
}
