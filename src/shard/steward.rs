//! How a broker starts and stops: shard 0 reads what the data directories say, has every shard open its partitions, and at the end has
//! them closed and writes down that all went well. Every shard answers it through [`obey`].
//!
//! Lives on shard 0, save `obey`.
//!
//! Invariants:
//! 1. The clean-shutdown markers are gone, durably, before any log is opened; they come back only after every log is closed.
//! 2. Nothing is served before every shard has opened its partitions.
//! 3. A partition is opened in the directory that holds its topic's id, whatever other log directories have under its name.
//!
//! A crash leaves behind data directories without a marker: the next start re-reads each log from its recovery point.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::io::{DirEntry, EntryKind, World, replace_file};
use crate::metadata::image::MetadataImage;
use crate::storage::LogError;
use crate::storage::identity::{self, LogDirectory};
use crate::storage::layout::{self, DirectoryPhase, PartitionDirectory, SegmentFile};
use crate::storage::planted::{self, Bug};
use crate::types::{BrokerEpoch, NodeId, ShardId, TopicId};

use super::Shard;
use super::checkpoints;
use super::directories::METADATA_DIRECTORY;
use super::message::{Control, DirectoryState, Message, OpenedSummary, StartState};

/// Reads the data directories, creating what is missing. One sentence says why a broker cannot start on them; as in Kafka, a disk that fails
/// is no reason, unless it holds the metadata.
pub async fn read_directories<W: World>(world: &W, dirs: &[PathBuf], node: NodeId) -> Result<(StartState, Option<String>), String> {
    let mut state = StartState::default();
    let mut cluster_id: Option<String> = None;
    for (index, dir) in dirs.iter().enumerate() {
        let (directory, found) = match prepare_directory(world, dir).await {
            Ok(read) => read,
            Err(why) if index == METADATA_DIRECTORY => return Err(why),
            Err(why) => (DirectoryState { failed: Some(why), ..DirectoryState::default() }, None),
        };
        if let Some(found) = found {
            let id = cluster_of(dir, node, &found)?;
            if cluster_id.as_ref().is_some_and(|known| *known != id) {
                return Err(format!("{}: its cluster.id {id} is not that of the other log directories", dir.display()));
            }
            cluster_id = Some(id);
        }
        state.directories.push(directory);
    }
    Ok((state, cluster_id))
}

/// What a directory holds, and its `meta.properties` if it has one. An error is its disk's.
async fn prepare_directory<W: World>(world: &W, dir: &Path) -> Result<(DirectoryState, Option<Vec<u8>>), String> {
    let at = |error: io::Error| format!("{}: {error}", dir.display());
    world.create_dir_all(dir).await.map_err(at)?;
    make_name_durable(world, dir).await.map_err(at)?;
    let properties = match world.read_file(&dir.join(layout::META_PROPERTIES)).await {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(at(error)),
    };
    Ok((read_directory(world, dir).await?, properties))
}

/// A new directory is lost with all it holds, synced or not, as long as an entry on the way to it is not on disk.
async fn make_name_durable<W: World>(world: &W, dir: &Path) -> io::Result<()> {
    for above in dir.ancestors().skip(1) {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        match world.sync_dir(above).await {
            // What may not be read was there before us, and so was the way to it.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            other => other?,
        }
    }
    Ok(())
}

/// The cluster that a directory belongs to, by its `meta.properties`.
fn cluster_of(dir: &Path, node: NodeId, text: &[u8]) -> Result<String, String> {
    let path = dir.join(layout::META_PROPERTIES);
    let properties = LogDirectory::decode(text).map_err(|error| format!("{}: {error}", path.display()))?;
    if properties.node_id != node {
        return Err(format!(
            "{} belongs to node.id {}, this broker is configured as node.id {node}: set node.id or another log.dirs",
            dir.display(),
            properties.node_id
        ));
    }
    Ok(properties.cluster_id)
}

/// Names the page cache that the directory is written to, and the token that is taken away when the directory fails: what was noted under
/// another name is not believed.
async fn cache_of<W: World>(world: &W, dir: &Path) -> io::Result<Option<String>> {
    let Some(cache) = world.cache_identity(dir).await? else { return Ok(None) };
    let path = dir.join(layout::WRITTEN_TOKEN);
    let token = match world.read_file(&path).await {
        Ok(token) if !token.is_empty() => String::from_utf8_lossy(&token).into_owned(),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {
            let token = TopicId::from_random(|| world.random()).to_string();
            replace_file(world, &path, token.clone().into_bytes()).await?;
            token
        }
    };
    Ok(Some(format!("{cache} {token}")))
}

async fn read_directory<W: World>(world: &W, dir: &Path) -> Result<DirectoryState, String> {
    let entries = world.list_dir(dir).await.map_err(|error| format!("{}: {error}", dir.display()))?;
    let files: BTreeSet<&str> = entries.iter().filter(|entry| entry.kind == EntryKind::File).map(|entry| entry.name.as_str()).collect();
    let clean = files.contains(layout::CLEAN_SHUTDOWN);
    if clean {
        let marker = dir.join(layout::CLEAN_SHUTDOWN);
        let at = |error: io::Error| format!("{}: {error}", marker.display());
        world.remove_file(&marker).await.map_err(at)?;
        world.sync_dir(dir).await.map_err(at)?;
    }
    if !clean {
        // Once for all partitions: the last run may have ended before it made their names durable.
        world.sync_dir(dir).await.map_err(|error| format!("{}: {error}", dir.display()))?;
    }
    let partitions = entries.iter().filter(|entry| entry.kind == EntryKind::Directory).map(|entry| entry.name.clone()).collect();
    Ok(DirectoryState {
        failed: None,
        clean,
        cache: cache_of(world, dir).await.map_err(|error| format!("{}: {error}", dir.display()))?,
        recovery_points: checkpoints::read(world, &dir.join(layout::RECOVERY_POINT_CHECKPOINT)).await?,
        log_starts: checkpoints::read(world, &dir.join(layout::LOG_START_CHECKPOINT)).await?,
        cleaned: checkpoints::read(world, &dir.join(layout::CLEANER_CHECKPOINT)).await?,
        partitions,
    })
}

/// Writes `meta.properties` where it is missing.
pub async fn write_identity<W: World>(
    world: &W,
    dirs: &[PathBuf],
    start: &StartState,
    node: NodeId,
    cluster_id: &str,
) -> Result<(), String> {
    let usable = dirs.iter().zip(&start.directories).filter(|(_, state)| state.failed.is_none());
    for (dir, _) in usable {
        let path = dir.join(layout::META_PROPERTIES);
        match world.read_file(&path).await {
            Ok(_) => continue,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
        let directory_id = TopicId::from_random(|| world.random());
        let properties = LogDirectory { cluster_id: cluster_id.to_owned(), node_id: node, directory_id: Some(directory_id) };
        replace_file(world, &path, properties.encode()).await.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

impl<W: World> Shard<W> {
    /// Has every shard open its partitions.
    pub async fn open_everywhere(self: &Rc<Self>, image: &MetadataImage, mut start: StartState) -> Result<OpenedSummary, String> {
        for (index, state) in start.directories.iter().enumerate() {
            if let Some(why) = &state.failed {
                // Every shard hears this before it is told to open anything.
                self.on_directory_failed(index, why);
            }
        }
        self.finish_deletions(image, &mut start).await?;
        let start = Arc::new(start);
        self.tell_all(|| Control::Open { image: image.clone(), start: start.clone() });
        let mut total = OpenedSummary::default();
        let mut failure = None;
        for _ in 0..self.shard_count {
            match self.steward.pop().await {
                Control::Opened { outcome: Ok(summary), .. } => {
                    total.partitions += summary.partitions;
                    total.recovered_bytes += summary.recovered_bytes;
                    total.truncated_bytes += summary.truncated_bytes;
                }
                Control::Opened { outcome: Err(why), .. } => failure = Some(why),
                _ => unreachable!("nothing else is asked while the logs are opened"),
            }
        }
        if let Some(why) = failure {
            return Err(why);
        }
        while let Err((directory, error)) = self.forget_unknown(image, &[]).await {
            self.fail_at_start(directory, error.to_string())?;
        }
        // What was read again, or adopted, is not to be judged anew by what the files said before. A failure takes its directory out of use.
        let _written = self.checkpoint().await;
        Ok(total)
    }

    /// Takes a log directory out of use while the broker starts; without the one that holds the metadata it does not start.
    pub(super) fn fail_at_start(&self, directory: usize, why: String) -> Result<(), String> {
        if directory == METADATA_DIRECTORY {
            return Err(why);
        }
        self.fail_directory(directory, &why);
        Ok(())
    }

    /// Lets every shard accept connections.
    pub fn serve_everywhere(&self, listeners: Vec<SocketAddr>) {
        let listeners: Arc<[SocketAddr]> = listeners.into();
        self.tell_all(|| Control::Serve { listeners: listeners.clone() });
    }

    /// Has every shard flush and close its logs; writes the checkpoints and, if all went well, the clean-shutdown markers.
    pub async fn close_everywhere(self: &Rc<Self>) -> Result<(), String> {
        self.closing.set(true);
        self.tell_all(|| Control::Close);
        let (mut lines, mut unclean, mut answers) = (Vec::new(), BTreeSet::new(), 0);
        while answers < self.shard_count {
            match self.steward.pop().await {
                Control::Closed { offsets, unclean: failed, .. } => {
                    lines.extend(offsets);
                    unclean.extend(failed);
                    answers += 1;
                }
                _ => unreachable!("nothing else is asked while the logs are closed"),
            }
        }
        // What could not be written has taken its directory out of use, and that is said below.
        self.write_checkpoints(&lines).await;
        let broker_epoch = self.image.borrow().broker(self.node()).map_or(BrokerEpoch(-1), |broker| broker.broker_epoch);
        unclean.extend((0..self.directories.len()).filter(|index| !self.directories[*index].is_in_use()));
        for (index, directory) in self.directories.iter().enumerate() {
            if unclean.contains(&index) {
                continue;
            }
            let marker = directory.path.join(layout::CLEAN_SHUTDOWN);
            let content = identity::encode_clean_shutdown(broker_epoch);
            replace_file(&self.world, &marker, content).await.map_err(|error| format!("{}: {error}", marker.display()))?;
        }
        if unclean.is_empty() { Ok(()) } else { Err("some logs could not be opened or closed: the next start recovers them".into()) }
    }

    /// Has the other shards end that have not opened anything yet: nothing is written.
    pub async fn dismiss_others(self: &Rc<Self>) {
        self.closing.set(true);
        for shard in 1..self.shard_count {
            self.mailbox.send_internal(ShardId(shard), Message::Control(Box::new(Control::Close)));
        }
        for _ in 1..self.shard_count {
            self.steward.pop().await;
        }
    }

    /// Finishes deletions that a crash cut short, sets aside directories of topics that are gone, and leaves in `start` one directory at
    /// most for each partition: the one that has its topic's id. A directory that cannot be looked at is taken out of use.
    async fn finish_deletions(self: &Rc<Self>, image: &MetadataImage, start: &mut StartState) -> Result<(), String> {
        let mut homes: BTreeMap<String, Home> = BTreeMap::new();
        for (index, directory) in self.directories.iter().enumerate() {
            let names = std::mem::take(&mut start.directories[index].partitions);
            for name in names {
                let path = directory.path.join(&name);
                let Some(found) = PartitionDirectory::parse(&name) else { continue };
                match found.phase {
                    DirectoryPhase::Live => match self.take_or_set_aside(image, &path, &found).await {
                        Ok(None) => {}
                        Ok(Some(identity)) => {
                            let is_empty = self.holds_nothing(&path).await;
                            let home = Home { directory: index, identity, is_empty };
                            choose_home(&mut homes, name, home, &path)?;
                        }
                        Err(Unfit::Misplaced(why)) => return Err(why),
                        Err(Unfit::Unreadable(error)) => {
                            self.fail_at_start(index, error.to_string())?;
                            start.on_failed(index, error.to_string())?;
                            break;
                        }
                    },
                    DirectoryPhase::Deleted if planted::is(Bug::DeletionHalfDone) => {}
                    DirectoryPhase::Deleted => self.remove_later(path),
                    DirectoryPhase::Stray | DirectoryPhase::Future => {}
                }
            }
        }
        let partial = start.is_partial();
        for (name, home) in homes {
            // The one that has the id may be where nobody can look.
            let is_certain = home.identity == Identity::Matches || !partial;
            let state = &mut start.directories[home.directory];
            if is_certain && state.failed.is_none() {
                state.partitions.insert(name);
            }
        }
        Ok(())
    }

    /// Whether a partition's directory has no record: what a creation leaves that failed on its way.
    async fn holds_nothing(&self, path: &Path) -> bool {
        let is_filled = |entry: &DirEntry| entry.len > 0 && SegmentFile::parse(&entry.name).is_some();
        self.world.list_dir(path).await.is_ok_and(|entries| !entries.iter().any(is_filled))
    }

    /// Whether a directory is a partition's that the metadata knows. One that it does not know: a deleted topic's is renamed `-stray`, any
    /// other left where it is.
    async fn take_or_set_aside(&self, image: &MetadataImage, path: &Path, found: &PartitionDirectory) -> Result<Option<Identity>, Unfit> {
        let known = image.topic_by_name(found.topic.as_str()).filter(|topic| topic.partition(found.partition).is_some());
        let id = match read_identity(&self.world, path).await {
            Ok(id) => id,
            Err(error) if error.is_of_disk() => return Err(Unfit::Unreadable(error)),
            // Its log will not open, and that is what becomes of this partition.
            Err(_) if known.is_some() => return Ok(Some(Identity::Unknown)),
            Err(error) => {
                tracing::warn!("{error}; the directory is left alone");
                return Ok(None);
            }
        };
        match id {
            None if known.is_some() => return Ok(Some(Identity::Missing)),
            Some(id) if known.is_some_and(|topic| topic.id == id) => return Ok(Some(Identity::Matches)),
            _ => {}
        }
        let id = id.unwrap_or(TopicId::ZERO);
        if !image.is_deleted(id) {
            if known.is_some() {
                return Err(Unfit::Misplaced(format!(
                    "{}: it holds the topic id {id}, which is not the id of the topic of that name: move the directory away",
                    path.display()
                )));
            }
            tracing::warn!("{}: no topic of this cluster has the id {id}; the directory is left alone", path.display());
            return Ok(None);
        }
        let renamed = self.rename_partition(path, found, DirectoryPhase::Stray).await;
        let stray = renamed.map_err(LogError::io("rename", path)).map_err(Unfit::Unreadable)?;
        tracing::warn!("{}: its topic was deleted; the directory is set aside as {}", path.display(), stray.display());
        Ok(None)
    }

    /// Gives a partition's directory that no log uses a name under which none will look for it.
    async fn rename_partition(&self, path: &Path, found: &PartitionDirectory, phase: DirectoryPhase) -> io::Result<PathBuf> {
        let unique = (u128::from(self.world.random()) << 64) | u128::from(self.world.random());
        let renamed = path.with_file_name(layout::renamed_directory(&found.topic, found.partition, unique, phase));
        self.world.rename(path, &renamed).await?;
        Ok(renamed)
    }

    /// Removes what a creation that failed, or a deletion that did, has left of a partition under its own name: the directories of deleted
    /// topics, and those that have neither an id nor a segment. Whatever else lies there stays, and keeps the name from being used.
    pub(super) async fn clear_leftovers(self: &Rc<Self>, image: &MetadataImage, partition: &PartitionDirectory) -> Result<(), String> {
        for (index, directory) in self.directories.iter().enumerate().filter(|(_, directory)| directory.is_in_use()) {
            match self.clear_leftover(&directory.path, image, partition).await {
                Ok(()) => {}
                Err(Unfit::Misplaced(why)) => return Err(why),
                Err(Unfit::Unreadable(error)) if error.is_of_disk() => self.fail_directory(index, &error.to_string()),
                Err(Unfit::Unreadable(error)) => return Err(error.to_string()),
            }
        }
        Ok(())
    }

    async fn clear_leftover(self: &Rc<Self>, parent: &Path, image: &MetadataImage, partition: &PartitionDirectory) -> Result<(), Unfit> {
        let path = parent.join(layout::partition_directory(&partition.topic, partition.partition));
        let failed = |during| {
            let path = &path;
            move |source| Unfit::Unreadable(LogError::Io { during, path: path.clone(), source })
        };
        let entries = match self.world.list_dir(&path).await {
            Ok(entries) => entries,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(()),
            Err(error) => return Err(failed("list")(error)),
        };
        let is_empty = !entries.iter().any(|entry| SegmentFile::parse(&entry.name).is_some());
        let id = match read_identity(&self.world, &path).await {
            Ok(id) => id,
            Err(error) if error.is_of_disk() => return Err(Unfit::Unreadable(error)),
            Err(error) => return Err(Unfit::Misplaced(error.to_string())),
        };
        if !id.map_or(is_empty, |id| image.is_deleted(id)) {
            return Err(Unfit::Misplaced(format!("{}: the directory was there before the partition; move it away", path.display())));
        }
        let renamed = self.rename_partition(&path, partition, DirectoryPhase::Deleted).await.map_err(failed("rename"))?;
        self.world.sync_dir(parent).await.map_err(failed("sync"))?;
        self.remove_later(renamed);
        Ok(())
    }

    pub(super) fn tell_all(&self, mut control: impl FnMut() -> Control) {
        for shard in 0..self.shard_count {
            self.mailbox.send_internal(ShardId(shard), Message::Control(Box::new(control())));
        }
    }
}

/// Whose a partition's directory says it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Identity {
    /// It has the topic's id.
    Matches,
    /// It has none: of a release before KIP-516, or of a creation that was cut short.
    Missing,
    /// What it says cannot be read.
    Unknown,
}

/// Why a directory is not what it is taken for.
enum Unfit {
    /// Another's data lies there.
    Misplaced(String),
    /// The disk does not let it be looked at, or renamed.
    Unreadable(LogError),
}

/// Where a partition is.
struct Home {
    directory: usize,
    identity: Identity,
    is_empty: bool,
}

/// Takes `home` for the partition `name` unless another directory has more right to it.
fn choose_home(homes: &mut BTreeMap<String, Home>, name: String, home: Home, path: &Path) -> Result<(), String> {
    match homes.get(&name) {
        // What was written after the id was is in the one that has it.
        Some(other) if other.identity == Identity::Matches && home.identity != Identity::Matches => {}
        // A creation that failed here has gone on in another directory.
        Some(other) if other.identity == Identity::Matches && home.is_empty => {}
        Some(other) if other.identity == Identity::Matches && !other.is_empty => {
            return Err(format!("{}: another log directory has this partition too: move one of them away", path.display()));
        }
        _ => drop(homes.insert(name, home)),
    }
    Ok(())
}

/// The topic id that a partition's directory holds, if it has one.
pub(super) async fn read_identity<W: World>(world: &W, dir: &Path) -> Result<Option<TopicId>, LogError> {
    let path = dir.join(layout::PARTITION_METADATA);
    match world.read_file(&path).await {
        Ok(text) => identity::decode_partition(&text).map(Some).map_err(|source| LogError::BadIdentity { path, source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(LogError::Io { during: "read", path, source }),
    }
}

/// What a shard does when told to listen.
pub trait Listen {
    fn listen(&self, listeners: &[SocketAddr]);
    fn stop(&self);
}

/// Follows the steward's and the controller's words until the broker is closed.
pub async fn obey<W: World>(shard: Rc<Shard<W>>, listen: impl Listen) {
    loop {
        match shard.control.pop().await {
            Control::Open { image, start } => {
                let outcome = shard.open_all(image, &start).await;
                shard.answer(Control::Opened { shard: shard.id, outcome });
            }
            Control::Serve { listeners } => {
                shard.settle_adoptions().await;
                listen.listen(&listeners);
                shard.start_housekeeping();
            }
            Control::Apply { image, delta } => {
                let version = image.version();
                shard.apply(image, &delta).await;
                shard.answer(Control::Applied { version });
            }
            Control::Checkpoint => shard.answer(Control::Checkpoints { shard: shard.id, offsets: shard.checkpoints() }),
            Control::Close => {
                listen.stop();
                let unclean = shard.close_all().await;
                shard.answer(Control::Closed { shard: shard.id, offsets: shard.checkpoints(), unclean });
                return;
            }
            Control::Opened { .. }
            | Control::Applied { .. }
            | Control::Checkpoints { .. }
            | Control::Measure { .. }
            | Control::Measured { .. }
            | Control::DirectoryFailed { .. }
            | Control::DirectoryOffline { .. }
            | Control::DirectoryRoom { .. }
            | Control::FlushDue { .. }
            | Control::LogFailed { .. }
            | Control::NoteDue { .. }
            | Control::Closed { .. } => {
                unreachable!("answers, measures and what is said of directories have ways of their own")
            }
        }
    }
}

impl<W: World> Shard<W> {
    fn answer(&self, control: Control) {
        self.mailbox.send_internal(super::controller::HOME_SHARD, Message::Control(Box::new(control)));
    }

    /// Sorts words by whom they are for.
    pub(super) fn on_control(self: &Rc<Self>, control: Control) {
        match control {
            Control::Open { .. } | Control::Serve { .. } | Control::Apply { .. } | Control::Checkpoint | Control::Close => {
                self.control.push(control);
            }
            Control::Applied { version } => self.applied.push(version),
            Control::Checkpoints { offsets, .. } => self.checkpointed.push(offsets),
            // Neither waits for a word that is still being obeyed.
            Control::Measure { round } => self.answer(Control::Measured { round, snapshot: Box::new(self.measure()) }),
            Control::Measured { round, snapshot } => self.on_measured(round, snapshot),
            Control::DirectoryFailed { directory, why } => self.on_directory_failed(directory, &why),
            Control::LogFailed { partition, why } => self.on_log_failed(partition, &why),
            Control::DirectoryOffline { directory } => self.leave_directory(directory),
            Control::DirectoryRoom { directory, room } => self.on_directory_room(directory, room),
            Control::FlushDue { directory } => self.begin_flushing(directory),
            Control::NoteDue { directory } => self.begin_noting(directory),
            Control::Opened { .. } | Control::Closed { .. } => self.steward.push(control),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_where_its_id_is() {
        let chosen = |found: &[(Identity, bool)]| {
            let mut homes = BTreeMap::new();
            for (directory, &(identity, is_empty)) in found.iter().enumerate() {
                let path = PathBuf::from(format!("/data-{directory}/t-0"));
                choose_home(&mut homes, "t-0".to_owned(), Home { directory, identity, is_empty }, &path)?;
            }
            Ok::<_, String>(homes["t-0"].directory)
        };
        const HERE: (Identity, bool) = (Identity::Matches, false);
        const EMPTY: (Identity, bool) = (Identity::Matches, true);
        const MISSING: (Identity, bool) = (Identity::Missing, false);
        const UNKNOWN: (Identity, bool) = (Identity::Unknown, false);
        assert_eq!(chosen(&[HERE]), Ok(0));
        assert_eq!(chosen(&[MISSING]), Ok(0));
        assert_eq!(chosen(&[MISSING, HERE]), Ok(1));
        assert_eq!(chosen(&[HERE, MISSING]), Ok(0));
        assert_eq!(chosen(&[UNKNOWN]), Ok(0), "it is not made anew elsewhere");
        assert_eq!(chosen(&[UNKNOWN, HERE]), Ok(1));
        assert!(chosen(&[HERE, MISSING, HERE]).unwrap_err().starts_with("/data-2/t-0: "));
        assert_eq!(chosen(&[EMPTY, HERE]), Ok(1), "a creation that failed there, and went on here");
        assert_eq!(chosen(&[HERE, EMPTY]), Ok(0));
        assert_eq!(chosen(&[EMPTY, EMPTY]), Ok(0));
    }
}
