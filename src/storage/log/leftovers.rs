//! What a crash has left of segments that were being deleted, or replaced by compacted copies.
//!
//! Called by `open`, before anything is believed; calls `scan`, `io::World`. The names are Kafka's, and mean what they mean there:
//!
//! ```text
//!   .deleted    out of the log                                                         removed
//!   .cleaned    a copy that was not whole; nor was a `.swap` at its offset or beyond   both removed
//!   .log.swap   a whole copy: what lies within its offsets goes, then it takes its name
//!   .swap       an index file whose log has taken its name before                      takes its name
//! ```
//!
//! Invariants:
//! 1. What is left at any moment is settled the same way by the next start: copies go index first, as a log tells of its index files;
//!    they come log first, as until then live index files are those of the log that is replaced.

use std::ops::ControlFlow;
use std::path::Path;

use super::open::remove;
use super::recover::remove_segment;
use super::scan::{self, Verify};
use super::{LogError, sync_dir};
use crate::io::{OpenMode, World};
use crate::storage::layout::{SegmentFile, SegmentPart, SegmentPhase};
use crate::storage::segment::RELATIVE_MAX;
use crate::types::Offset;

/// A file of a segment, and its length.
type File = (SegmentFile, u64);

/// Leaves only live files.
pub(super) async fn settle<W: World>(world: &W, dir: &Path, files: &mut Vec<File>) -> Result<(), LogError> {
    drop_unfinished(world, dir, files).await?;
    let is_whole_copy = |file: &SegmentFile| file.phase == SegmentPhase::Swap && file.part == SegmentPart::Log;
    let mut copies: Vec<Offset> = files.iter().filter(|(file, _)| is_whole_copy(file)).map(|(file, _)| file.base).collect();
    copies.sort();
    for base in copies {
        tracing::info!(dir = %dir.display(), %base, "a compacted segment takes its place");
        clear_place(world, dir, files, base).await?;
        take_names(world, dir, files, |file| file.base == base && is_whole_copy(file)).await?;
    }
    take_names(world, dir, files, |file| file.phase == SegmentPhase::Swap).await
}

async fn drop_unfinished<W: World>(world: &W, dir: &Path, files: &mut Vec<File>) -> Result<(), LogError> {
    let unfinished = files.iter().filter(|(file, _)| file.phase == SegmentPhase::Cleaned).map(|(file, _)| file.base).min();
    let is_dropped = |file: &SegmentFile| match file.phase {
        SegmentPhase::Live => false,
        SegmentPhase::Deleted | SegmentPhase::Cleaned => true,
        SegmentPhase::Swap => file.part == SegmentPart::ProducerSnapshot || unfinished.is_some_and(|base| file.base >= base),
    };
    for logs in [false, true] {
        let dropped: Vec<File> = files.extract_if(.., |(file, _)| is_dropped(file) && (file.part == SegmentPart::Log) == logs).collect();
        for (file, _) in &dropped {
            remove(world, &file.path(dir)).await?;
        }
        if !dropped.is_empty() && unfinished.is_some() {
            sync_dir(world, dir).await?;
        }
    }
    Ok(())
}

/// Removes what the copy was made from, as far as it reaches, and the index files of what it replaces.
async fn clear_place<W: World>(world: &W, dir: &Path, files: &mut Vec<File>, base: Offset) -> Result<(), LogError> {
    let path = SegmentFile { base, part: SegmentPart::Log, phase: SegmentPhase::Swap }.path(dir);
    let file = world.open(&path, OpenMode::Existing).await.map_err(LogError::io("open", &path))?;
    let len = files.iter().find(|(file, _)| file.path(dir) == path).map_or(0, |(_, len)| *len);
    let mut end = base;
    let walked = scan::walk(world, &file, 0..len, Verify::Headers, |met| {
        // What is no batch of this segment is for the recovery to find.
        if met.header.base_offset < end || met.header.last_offset().since(base) > RELATIVE_MAX {
            return ControlFlow::Break(());
        }
        end = met.header.next_offset();
        ControlFlow::Continue(())
    });
    walked.await.map_err(LogError::io("read", &path))?;
    let is_covered = |file: &SegmentFile| file.phase == SegmentPhase::Live && base < file.base && file.base < end;
    let mut covered: Vec<Offset> = files.extract_if(.., |(file, _)| is_covered(file)).map(|(file, _)| file.base).collect();
    covered.sort();
    covered.dedup();
    for base in covered.into_iter().rev() {
        remove_segment(world, dir, base).await?;
    }
    let is_index = |part| matches!(part, SegmentPart::Index | SegmentPart::TimeIndex | SegmentPart::TransactionIndex);
    let is_stale = |file: &SegmentFile| file.phase == SegmentPhase::Live && file.base == base && is_index(file.part);
    for (file, _) in files.extract_if(.., |(file, _)| is_stale(file)) {
        remove(world, &file.path(dir)).await?;
    }
    sync_dir(world, dir).await
}

async fn take_names<W: World>(world: &W, dir: &Path, files: &mut Vec<File>, which: impl Fn(&SegmentFile) -> bool) -> Result<(), LogError> {
    let taking: Vec<File> = files.extract_if(.., |(file, _)| which(file)).collect();
    if taking.is_empty() {
        return Ok(());
    }
    for (file, len) in taking {
        let live = SegmentFile::live(file.base, file.part);
        let path = file.path(dir);
        world.rename(&path, &live.path(dir)).await.map_err(LogError::io("rename", &path))?;
        files.retain(|(other, _)| *other != live);
        files.push((live, len));
    }
    sync_dir(world, dir).await
}
