//! How a broker starts and stops: shard 0 reads what the data directories say, has every shard open its partitions, and at the end has
//! them closed and writes down that all went well. Every shard answers it through [`obey`].
//!
//! Lives on shard 0, save `obey`.
//!
//! Invariants:
//! 1. The clean-shutdown markers are gone, durably, before any log is opened; they come back only after every log is closed.
//! 2. Nothing is served before every shard has opened its partitions.
//!
//! A crash leaves behind data directories without a marker: the next start re-reads each log from its recovery point.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use crate::io::{EntryKind, World, replace_file};
use crate::metadata::image::MetadataImage;
use crate::storage::identity::{self, LogDirectory};
use crate::storage::layout::{self, DirectoryPhase, PartitionDirectory};
use crate::types::{BrokerEpoch, NodeId, ShardId, TopicId};

use super::Shard;
use super::checkpoints;
use super::message::{Control, DirectoryState, Message, OpenedSummary, StartState};

/// Reads the data directories, creating what is missing. One sentence says why a broker cannot start on them.
pub async fn read_directories<W: World>(world: &W, dirs: &[PathBuf], node: NodeId) -> Result<(StartState, Option<String>), String> {
    let mut state = StartState::default();
    let mut cluster_id: Option<String> = None;
    for dir in dirs {
        let at = |error: io::Error| format!("{}: {error}", dir.display());
        world.create_dir_all(dir).await.map_err(at)?;
        make_name_durable(world, dir).await.map_err(at)?;
        if let Some(found) = read_meta_properties(world, dir, node).await? {
            if cluster_id.as_ref().is_some_and(|known| *known != found) {
                return Err(format!("{}: its cluster.id {found} is not that of the other log directories", dir.display()));
            }
            cluster_id = Some(found);
        }
        state.directories.push(read_directory(world, dir).await?);
    }
    Ok((state, cluster_id))
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

async fn read_meta_properties<W: World>(world: &W, dir: &Path, node: NodeId) -> Result<Option<String>, String> {
    let path = dir.join(layout::META_PROPERTIES);
    let text = match world.read_file(&path).await {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let properties = LogDirectory::decode(&text).map_err(|error| format!("{}: {error}", path.display()))?;
    if properties.node_id != node {
        return Err(format!(
            "{} belongs to node.id {}, this broker is configured as node.id {node}: set node.id or another log.dirs",
            dir.display(),
            properties.node_id
        ));
    }
    Ok(Some(properties.cluster_id))
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
    let partitions = entries.iter().filter(|entry| entry.kind == EntryKind::Directory).map(|entry| entry.name.clone()).collect();
    Ok(DirectoryState {
        clean,
        recovery_points: checkpoints::read(world, &dir.join(layout::RECOVERY_POINT_CHECKPOINT)).await?,
        log_starts: checkpoints::read(world, &dir.join(layout::LOG_START_CHECKPOINT)).await?,
        partitions,
    })
}

/// Writes `meta.properties` where it is missing.
pub async fn write_identity<W: World>(world: &W, dirs: &[PathBuf], node: NodeId, cluster_id: &str) -> Result<(), String> {
    for dir in dirs {
        let path = dir.join(layout::META_PROPERTIES);
        if world.read_file(&path).await.is_ok() {
            continue;
        }
        let directory_id = TopicId::from_random(|| world.random());
        let properties = LogDirectory { cluster_id: cluster_id.to_owned(), node_id: node, directory_id: Some(directory_id) };
        replace_file(world, &path, properties.encode()).await.map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

impl<W: World> Shard<W> {
    /// Has every shard open its partitions.
    pub async fn open_everywhere(self: &Rc<Self>, image: &MetadataImage, start: StartState) -> Result<OpenedSummary, String> {
        self.finish_deletions(image, &start).await?;
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
        self.forget_unknown(image).await.map_err(|error| error.to_string())?;
        Ok(total)
    }

    /// Lets every shard accept connections.
    pub fn serve_everywhere(&self, listeners: Vec<SocketAddr>) {
        let listeners: Arc<[SocketAddr]> = listeners.into();
        self.tell_all(|| Control::Serve { listeners: listeners.clone() });
    }

    /// Has every shard flush and close its logs; writes the checkpoints and, if all went well, the clean-shutdown markers.
    pub async fn close_everywhere(self: &Rc<Self>) -> Result<(), String> {
        self.tell_all(|| Control::Close);
        let (mut lines, mut all_clean, mut answers) = (Vec::new(), true, 0);
        while answers < self.shard_count {
            match self.steward.pop().await {
                Control::Closed { offsets, clean, .. } => {
                    lines.extend(offsets);
                    all_clean &= clean;
                    answers += 1;
                }
                // Late answers to a checkpoint that was under way.
                _ => continue,
            }
        }
        self.write_checkpoints(&lines).await.map_err(|error| error.to_string())?;
        if !all_clean {
            return Err("some logs could not be closed: the next start recovers them".into());
        }
        let broker_epoch = self.image.borrow().broker(self.node()).map_or(BrokerEpoch(-1), |broker| broker.broker_epoch);
        for directory in &self.directories {
            let marker = directory.path.join(layout::CLEAN_SHUTDOWN);
            let content = identity::encode_clean_shutdown(broker_epoch);
            replace_file(&self.world, &marker, content).await.map_err(|error| format!("{}: {error}", marker.display()))?;
        }
        Ok(())
    }

    /// Finishes deletions that a crash cut short, and sets aside directories of topics that are gone.
    async fn finish_deletions(self: &Rc<Self>, image: &MetadataImage, start: &StartState) -> Result<(), String> {
        for (directory, state) in self.directories.iter().zip(&start.directories) {
            for name in &state.partitions {
                let path = directory.path.join(name);
                let Some(found) = PartitionDirectory::parse(name) else { continue };
                match found.phase {
                    DirectoryPhase::Live => self.set_aside_if_unknown(image, &path, &found).await?,
                    DirectoryPhase::Deleted => self.remove_later(path),
                    DirectoryPhase::Stray | DirectoryPhase::Future => {}
                }
            }
        }
        Ok(())
    }

    /// A partition directory that the metadata does not know: a deleted topic's is renamed `-stray`, any other left where it is.
    async fn set_aside_if_unknown(&self, image: &MetadataImage, path: &Path, found: &PartitionDirectory) -> Result<(), String> {
        let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let id = match self.world.read_file(&path.join(layout::PARTITION_METADATA)).await {
            Ok(text) => identity::decode_partition(&text).map_err(|error| at(&error))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => TopicId::ZERO,
            Err(error) => return Err(at(&error)),
        };
        let known = image.topic_by_name(found.topic.as_str()).filter(|topic| topic.partition(found.partition).is_some());
        if known.is_some_and(|topic| topic.id == id || id.is_zero()) {
            return Ok(());
        }
        if !image.is_deleted(id) {
            if known.is_some() {
                return Err(format!(
                    "{}: it holds the topic id {id}, which is not the id of the topic of that name: move the directory away",
                    path.display()
                ));
            }
            tracing::warn!("{}: no topic of this cluster has the id {id}; the directory is left alone", path.display());
            return Ok(());
        }
        let unique = (u128::from(self.world.random()) << 64) | u128::from(self.world.random());
        let stray = path.with_file_name(layout::renamed_directory(&found.topic, found.partition, unique, DirectoryPhase::Stray));
        self.world.rename(path, &stray).await.map_err(|error| at(&error))?;
        tracing::warn!("{}: its topic was deleted; the directory is set aside as {}", path.display(), stray.display());
        Ok(())
    }

    pub(super) fn tell_all(&self, mut control: impl FnMut() -> Control) {
        for shard in 0..self.shard_count {
            self.mailbox.send_internal(ShardId(shard), Message::Control(Box::new(control())));
        }
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
                let clean = shard.close_all().await;
                shard.answer(Control::Closed { shard: shard.id, offsets: shard.checkpoints(), clean });
                return;
            }
            Control::Opened { .. } | Control::Applied { .. } | Control::Checkpoints { .. } | Control::Closed { .. } => {
                unreachable!("answers go to the steward's own queue")
            }
        }
    }
}

impl<W: World> Shard<W> {
    fn answer(&self, control: Control) {
        self.mailbox.send_internal(super::controller::HOME_SHARD, Message::Control(Box::new(control)));
    }

    /// Sorts words by whom they are for.
    pub(super) fn on_control(&self, control: Control) {
        match control {
            Control::Open { .. } | Control::Serve { .. } | Control::Apply { .. } | Control::Checkpoint | Control::Close => {
                self.control.push(control);
            }
            Control::Applied { version } => self.applied.push(version),
            Control::Opened { .. } | Control::Checkpoints { .. } | Control::Closed { .. } => self.steward.push(control),
        }
    }
}
