//! The end of a log's use: a clean close, or its deletion.
//!
//! Called by `shard` and `partition`; calls `flush`, `io::World`.
//!
//! What a crash leaves: a close cut short is a crash like any other; a deletion leaves the renamed directory, which the next start
//! removes by its name.

use std::path::{Path, PathBuf};

use super::flush::Upto;
use super::{Life, Log, LogError, sync_dir};
use crate::io::{File, World};
use crate::storage::layout::{self, DirectoryPhase, NEXT_SEGMENT};
use crate::storage::planted::{self, Bug};
use crate::storage::segment::{Seal, Stored};
use crate::types::Offset;

impl<W: World> Log<W> {
    /// Writes and flushes everything, completes the files a clean start relies on, and takes nothing more. A log that saw no change since
    /// it was opened costs nothing.
    pub async fn close(&self) -> Result<(), LogError> {
        let _turn = self.shared.turn.take().await;
        self.check_alive()?;
        self.state_mut().life = Life::Closed;
        self.drain().await?;
        self.give_back_space().await?;
        {
            let mut state = self.state_mut();
            let state = &mut *state;
            let end = state.end.offset;
            if end > Offset::ZERO && state.snapshots.newest().is_none_or(|newest| newest < end) {
                let snapshot = state.producers.encode();
                state.snapshots.waiting.push((end, snapshot));
            }
            // With this the active segment's index files are completed like a rolled one's.
            let active = state.active_mut();
            active.times.add_largest();
            active.seal = Seal::Rolled;
        }
        if !planted::is(Bug::CloseWithoutFlush) {
            self.flush_in_turn(Upto::End).await?;
            let _notes = self.shared.notes.take().await;
            self.forget_written().await?;
        }
        self.stop_observing();
        Ok(())
    }

    /// Trims the active file to its length and removes the next segment's. Only when no write is under way.
    pub(super) async fn give_back_space(&self) -> Result<(), LogError> {
        let (trim, next) = {
            let mut state = self.state_mut();
            let next = state.writer.drop_next().then(|| state.dir.join(NEXT_SEGMENT));
            let active = state.active_mut();
            let trim = if active.has_space_ahead() { active.file.clone().map(|file| (active.base, file, active.len)) } else { None };
            state.writer.rest();
            (trim, next)
        };
        if let Some((segment, file, len)) = trim {
            self.trim(segment, &file, len).await?;
        }
        if let Some(path) = next {
            self.remove_file(&path).await?;
            self.state_mut().writer.on_next_gone();
        }
        Ok(())
    }

    /// Cuts a segment's file to its length: nothing is written to it meanwhile.
    pub(super) async fn trim(&self, segment: Offset, file: &W::File, len: u64) -> Result<(), LogError> {
        file.truncate(len).await.map_err(|source| self.io_failed("trim", segment, source))?;
        if let Some(segment) = self.state_mut().segment_mut(segment) {
            segment.on_cut(len);
        }
        Ok(())
    }

    /// Unlinks a file that may be gone already.
    pub(super) async fn remove_file(&self, path: &Path) -> Result<(), LogError> {
        let removed = self.shared.world.remove_file(path).await;
        // After it: a sync of the directory that began before has not seen it.
        self.state_mut().directory = Stored::No;
        match removed {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(self.fail(LogError::Io { during: "remove", path: path.to_owned(), source }))
            }
            _ => Ok(()),
        }
    }

    /// Takes the log out of use and renames its directory, so that no start finds it again; answers with the new path, to be removed with
    /// [`remove_directory`] after `file.delete.delay.ms`. Readers that have planned finish.
    pub async fn rename_for(&self, phase: DirectoryPhase) -> Result<PathBuf, LogError> {
        let _turn = self.shared.turn.take().await;
        if self.state().life != Life::Failed {
            self.state_mut().life = Life::Closed;
            // What cannot be written any more need not be.
            let _drained = self.drain().await;
        }
        self.stop_observing();
        let _notes = self.shared.notes.take().await;
        let from = self.dir();
        let world = &self.shared.world;
        let unique = (u128::from(world.random()) << 64) | u128::from(world.random());
        let name = layout::renamed_directory(self.topic(), self.partition(), unique, phase);
        let to = from.with_file_name(name);
        world.rename(&from, &to).await.map_err(LogError::io("rename", &from))?;
        if let Some(parent) = to.parent() {
            sync_dir(world, parent).await?;
        }
        let mut state = self.state_mut();
        state.dir = to.clone();
        for segment in &mut state.segments {
            segment.file = None;
        }
        Ok(to)
    }

    /// [`Log::rename_for`] deletion.
    pub async fn delete(&self) -> Result<PathBuf, LogError> {
        self.rename_for(DirectoryPhase::Deleted).await
    }
}

/// Removes a directory that [`Log::delete`] renamed, or that a start found by its name.
pub async fn remove_directory<W: World>(world: &W, dir: &Path) -> Result<(), LogError> {
    match world.remove_dir_all(dir).await {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
            Err(LogError::Io { during: "remove", path: dir.to_owned(), source })
        }
        _ => match dir.parent() {
            Some(parent) => sync_dir(world, parent).await,
            None => Ok(()),
        },
    }
}
