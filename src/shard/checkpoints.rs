//! The checkpoint files of the log directories: recovery points, log starts, high watermarks and what is compacted, by partition,
//! in Kafka's text form.
//!
//! Called by `steward`, by the controller's host, and by DeleteRecords, which is answered when the new log starts are on disk. Lives on
//! shard 0.
//!
//! Invariants:
//! 1. A checkpoint never says more than is on disk: recovery points are taken after the flush they tell of.
//! 2. No line outlives its topic: lines name topics, not ids, and a topic created under an old name must not be taken at the word of the
//!    one before. They go before the deletion is answered, and after a crash before anything is served.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use crate::io::{Urgency, World, is_of_process, replace_file};
use crate::metadata::image::MetadataImage;
use crate::storage::Turn;
use crate::storage::checkpoint::{self, PartitionOffset};
use crate::storage::layout;
use crate::types::{Offset, PartitionIndex, TopicName};

use super::controller::HOME_SHARD;
use super::message::{Control, PartitionCheckpoint, Reply, Request};
use super::{Responder, Shard};

/// Rounds in which every shard is asked for its checkpoints, and the files are written, one at a time.
#[derive(Default)]
pub(super) struct Rounds {
    turn: Turn,
    begun: Cell<u64>,
    /// The last round that wrote what can be written, and which directories' files it could not.
    written: Cell<u64>,
    not_written: RefCell<BTreeSet<usize>>,
}

/// Why a round has not written every file; the log says more.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CheckpointsNotWritten {
    #[error("the broker closes")]
    Closing,
    /// Those of the others are written.
    #[error("the checkpoint files of log directories {0:?} could not be written")]
    In(BTreeSet<usize>),
}

const FILES: [&str; 4] =
    [layout::RECOVERY_POINT_CHECKPOINT, layout::LOG_START_CHECKPOINT, layout::HIGH_WATERMARK_CHECKPOINT, layout::CLEANER_CHECKPOINT];

/// What a checkpoint file says; nothing if it is missing or damaged.
pub(super) async fn read<W: World>(world: &W, path: &Path) -> Result<BTreeMap<(TopicName, PartitionIndex), Offset>, String> {
    let text = match world.read_file(path).await {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    match checkpoint::decode_offsets(&text) {
        Ok(entries) => Ok(entries.into_iter().map(|entry| ((entry.topic, entry.partition), entry.offset)).collect()),
        Err(error) => {
            // Worth a longer recovery, not a refusal: every log can be re-read from its first segment.
            tracing::warn!("{}: {error}; its logs are taken as if they had no line in it", path.display());
            Ok(BTreeMap::new())
        }
    }
}

impl CheckpointsNotWritten {
    /// Whether the files of the log directory may say what they said before.
    pub fn is_about(&self, directory: usize) -> bool {
        match self {
            Self::Closing => true,
            Self::In(directories) => directories.contains(&directory),
        }
    }
}

fn outcome_of(failed: &BTreeSet<usize>) -> Result<(), CheckpointsNotWritten> {
    if failed.is_empty() { Ok(()) } else { Err(CheckpointsNotWritten::In(failed.clone())) }
}

impl<W: World> Shard<W> {
    /// Begins to write the checkpoint files now and then.
    pub fn start_checkpoints(self: &Rc<Self>) {
        let shard = self.clone();
        self.world.spawn(Urgency::Background, shard.keep_checkpoints());
    }

    /// Writes the checkpoint files now and then, until the broker closes. They are written together, at the shorter of their intervals.
    async fn keep_checkpoints(self: Rc<Self>) {
        let storage = &self.settings.storage;
        let every_ms = storage.recovery_point_checkpoint_interval_ms.min(storage.log_start_checkpoint_interval_ms).max(1);
        loop {
            self.world.sleep(Duration::from_millis(every_ms)).await;
            if self.closing.get() {
                return;
            }
            // A failure is in the log; the next round tries again.
            let _written = self.checkpoint().await;
        }
    }

    /// Has the checkpoint files hold what every shard says now, or later. Callers that come while a round is under way share the next one.
    pub(super) async fn checkpoint(&self) -> Result<(), CheckpointsNotWritten> {
        let rounds = &self.checkpoint_rounds;
        let wanted = rounds.begun.get() + 1;
        let _turn = rounds.turn.take().await;
        if rounds.written.get() >= wanted {
            return outcome_of(&rounds.not_written.borrow());
        }
        rounds.begun.set(rounds.begun.get() + 1);
        self.tell_all(|| Control::Checkpoint);
        let mut lines = Vec::new();
        for _ in 0..self.shard_count {
            lines.extend(self.checkpointed.pop().await);
        }
        if self.closing.get() {
            // What the close writes is newer.
            return Err(CheckpointsNotWritten::Closing);
        }
        let failed = self.write_checkpoints(&lines).await;
        rounds.written.set(rounds.begun.get());
        let outcome = outcome_of(&failed);
        *rounds.not_written.borrow_mut() = failed;
        outcome
    }

    /// Has the checkpoint files written now. `None` when the broker closes meanwhile.
    pub async fn write_checkpoints_now(self: &Rc<Self>) -> Option<Result<(), CheckpointsNotWritten>> {
        match self.call(HOME_SHARD, Request::Checkpoint).await.receive().await? {
            Reply::Checkpointed(outcome) => Some(outcome),
            _ => unreachable!("a checkpoint is answered with its reply"),
        }
    }

    pub(super) fn handle_checkpoint(self: &Rc<Self>, responder: Responder<W>) {
        let shard = self.clone();
        self.world.spawn(Urgency::Foreground, async move {
            responder.respond(Reply::<W>::Checkpointed(shard.checkpoint().await));
        });
    }

    /// A directory whose checkpoints cannot be written is taken out of use, unless it is the process that lacks something; the others get theirs.
    /// Answers with those where the files may say what they said before.
    pub(super) async fn write_checkpoints(&self, lines: &[PartitionCheckpoint]) -> BTreeSet<usize> {
        let _turn = self.checkpoint_turn.take().await;
        let mut passed_over = BTreeSet::new();
        for (index, directory) in self.directories.iter().enumerate().filter(|(_, directory)| directory.is_in_use()) {
            let of = |offset: fn(&PartitionCheckpoint) -> Option<Offset>| -> Vec<u8> {
                // A topic may have been deleted since its shard said this.
                let here = lines.iter().filter(|line| line.directory == index && !self.image.borrow().is_deleted(line.id.topic));
                let mut entries: Vec<PartitionOffset> = here
                    .filter_map(|line| {
                        let offset = offset(line)?;
                        Some(PartitionOffset { topic: line.topic.clone(), partition: line.id.partition, offset })
                    })
                    .collect();
                // In one order, whichever shard was the first to answer: what is there already is not written again.
                entries.sort_unstable_by(|one, other| (&one.topic, one.partition).cmp(&(&other.topic, other.partition)));
                checkpoint::encode_offsets(&entries)
            };
            let contents = [
                of(|line| Some(line.recovery_point)),
                of(|line| Some(line.log_start)),
                of(|line| Some(line.high_watermark)),
                of(|line| line.cleaned),
            ];
            for (file, content) in contents.into_iter().enumerate() {
                if directory.checkpointed.borrow()[file] == content {
                    continue;
                }
                let path = directory.path.join(FILES[file]);
                if let Err(error) = replace_file(&self.world, &path, content.clone()).await {
                    let why = format!("{}: {error}", path.display());
                    if is_of_process(&error) {
                        tracing::warn!("{why}; the next round tries again");
                        passed_over.insert(index);
                    } else {
                        self.on_directory_failed(index, &why);
                    }
                    break;
                }
                directory.checkpointed.borrow_mut()[file] = content;
            }
        }
        // Any of them may have failed meanwhile, and was left out.
        passed_over.extend((0..self.directories.len()).filter(|index| !self.directories[*index].is_in_use()));
        passed_over
    }

    /// Drops the lines of partitions that the image does not have, and of topics of these names: who has the name now is another. Of a directory
    /// that is out of use the next start does so; an error comes with the directory that it is about.
    pub(super) async fn forget_unknown(&self, image: &MetadataImage, deleted: &[TopicName]) -> Result<(), (usize, io::Error)> {
        let _turn = self.checkpoint_turn.take().await;
        for (index, directory) in self.directories.iter().enumerate().filter(|(_, directory)| directory.is_in_use()) {
            for (file, name) in FILES.into_iter().enumerate() {
                let forgotten = self.forget_unknown_in(&directory.path.join(name), image, deleted).await;
                directory.checkpointed.borrow_mut()[file] = forgotten.map_err(|error| (index, error))?;
            }
        }
        Ok(())
    }

    /// Answers with what the file says then.
    async fn forget_unknown_in(&self, file: &Path, image: &MetadataImage, deleted: &[TopicName]) -> io::Result<Vec<u8>> {
        let text = match self.world.read_file(file).await {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(checkpoint::encode_offsets(&[])),
            Err(error) => return Err(error),
        };
        // What is damaged says nothing to a start either.
        let Ok(mut entries) = checkpoint::decode_offsets(&text) else { return Ok(text) };
        let before = entries.len();
        let is_known = |entry: &PartitionOffset| {
            image.topic_by_name(entry.topic.as_str()).is_some_and(|topic| topic.partition(entry.partition).is_some())
        };
        entries.retain(|entry| !deleted.contains(&entry.topic) && is_known(entry));
        if entries.len() == before {
            return Ok(text);
        }
        let text = checkpoint::encode_offsets(&entries);
        replace_file(&self.world, file, text.clone()).await?;
        Ok(text)
    }
}
