//! Directories that a log was moved to or from, while no broker uses them. `ottla-metadata.moved` in one refuses every start on it.

use std::io;
use std::path::{Path, PathBuf};

use super::{FileHome, Limits, encode_snapshot, io_error, load};
use crate::io::{World, replace_file};
use crate::metadata::home::{HomeError, Snapshot, being_moved, moved_to};

fn mark_path(directory: &Path) -> PathBuf {
    directory.join("ottla-metadata.moved")
}

/// Refuses a directory that is marked.
pub(super) async fn check<W: World>(world: &W, directory: &Path) -> Result<(), HomeError> {
    match refusal(world, directory).await? {
        None => Ok(()),
        Some(why) => Err(HomeError::Moved { place: directory.display().to_string(), why }),
    }
}

async fn content<W: World>(world: &W, path: &Path) -> Result<Option<Vec<u8>>, HomeError> {
    match world.read_file(path).await {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io_error(path, 0, source)),
    }
}

/// Why no broker may start there, where that is so.
pub async fn refusal<W: World>(world: &W, directory: &Path) -> Result<Option<String>, HomeError> {
    Ok(content(world, &mark_path(directory)).await?.map(|why| String::from_utf8_lossy(&why).into_owned()))
}

/// Whether a log is kept there.
pub async fn is_home<W: World>(world: &W, directory: &Path) -> Result<bool, HomeError> {
    let (log_path, _) = super::paths(directory);
    Ok(content(world, &log_path).await?.is_some() && refusal(world, directory).await?.is_none())
}

/// No broker starts there from here on; it says why.
pub async fn retire<W: World>(world: &W, directory: &Path, to: &str) -> Result<(), HomeError> {
    mark(world, directory, &moved_to(to)).await
}

async fn mark<W: World>(world: &W, directory: &Path, why: &str) -> Result<(), HomeError> {
    let path = mark_path(directory);
    replace_file(world, &path, why.as_bytes().to_vec()).await.map_err(|source| io_error(&path, 0, source))
}

/// Brokers may start there.
pub async fn take_up<W: World>(world: &W, directory: &Path) -> Result<(), HomeError> {
    remove(world, &mark_path(directory)).await?;
    world.sync_dir(directory).await.map_err(|source| io_error(directory, 0, source))
}

async fn remove<W: World>(world: &W, path: &Path) -> Result<(), HomeError> {
    match world.remove_file(path).await {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path, 0, error)),
        _ => Ok(()),
    }
}

impl<W: World> FileHome<W> {
    /// A home whose log begins with a snapshot, under the epoch of the controller that wrote it elsewhere. It stays refused to brokers until
    /// [`take_up`].
    pub async fn found_from(
        world: W,
        directory: &Path,
        limits: Limits,
        from: &str,
        snapshot: &Snapshot,
        epoch: i32,
    ) -> Result<Self, HomeError> {
        mark(&world, directory, &being_moved(from)).await?;
        let (log_path, snapshot_path) = super::paths(directory);
        // What an earlier move has left.
        remove(&world, &log_path).await?;
        remove(&world, &snapshot_path).await?;
        if snapshot.offset > 0 {
            let content = encode_snapshot(snapshot, epoch, limits.frame_bytes_max);
            replace_file(&world, &snapshot_path, content).await.map_err(|source| io_error(&snapshot_path, 0, source))?;
        }
        load::found(&world, &log_path, snapshot.offset, epoch).await?;
        Self::open_unmarked(world, directory, limits).await
    }

    /// The epoch of the last controller.
    pub fn epoch(&self) -> i32 {
        self.shared.log.borrow().epoch
    }
}
