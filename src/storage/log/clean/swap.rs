//! A copy takes the place of the segments it was made from.
//!
//! Called by the pass; calls `io::World`. Runs with the log's turn, so that no flush, retention, truncation or close comes between.
//!
//! ```text
//!   1  index files .cleaned -> .swap          directory synced
//!   2  log         .cleaned -> .swap          directory synced      from here on the copy counts
//!   3  memory: readers that plan from now on get the copy; those that have planned hold the old files
//!   4  old files            -> .deleted       directory synced      unlinked after file.delete.delay.ms
//!   5  log         .swap    -> its name       directory synced
//!   6  index files .swap    -> their names    directory synced
//! ```
//!
//! Invariants:
//! 1. All of the copy is durable before its name is `.swap`; all that is said of it in memory is in its index files.
//! 2. A reader finds one or the other, never a mixture: what it has learned of a segment counts for that edition of it.
//!
//! What a crash leaves, and the next start (`leftovers`) does: before 2 there is a `.log.cleaned`, and all of the copy is dropped; then
//! there is a `.log.swap`, which takes its name; from 5 on index files named `.swap` without one, which take theirs. Old segments that were
//! not set aside yet stay if they lie behind the copy's last batch: what the copy was made without was replaced by what lies behind them.

use super::CleanError;
use super::copy::copy_path;
use super::plan::{Edition, Source};
use crate::io::World;
use crate::storage::layout::{SegmentFile, SegmentPart, SegmentPhase};
use crate::storage::log::{EndMark, Log, LogError};
use crate::storage::segment::{Seal, Segment, Stored};
use crate::types::Offset;

/// What a copy has a file of, at most; the log last.
const COPIED: [SegmentPart; 4] = [SegmentPart::Index, SegmentPart::TimeIndex, SegmentPart::TransactionIndex, SegmentPart::Log];

impl<W: World> Log<W> {
    pub(super) async fn swap_in(&self, group: &[Source], copy: Segment<W::File>) -> Result<Edition, CleanError> {
        let _turn = self.shared.turn.take().await;
        let _notes = self.shared.notes.take().await;
        self.check_cleanable()?;
        self.state().check_sources(group)?;
        let base = copy.base;
        self.state_mut().directory = Stored::No;
        self.sync_directory().await?;
        for part in COPIED.iter().filter(|part| **part != SegmentPart::Log) {
            self.rename_copy(base, *part, SegmentPhase::Cleaned, SegmentPhase::Swap).await?;
        }
        self.sync_directory().await?;
        self.rename_copy(base, SegmentPart::Log, SegmentPhase::Cleaned, SegmentPhase::Swap).await?;
        self.sync_directory().await?;
        let edition = self.replace_in_memory(group, copy)?;
        for source in group.iter().skip(1).rev() {
            self.set_aside_parts(source.base, &SegmentPart::ALL).await?;
        }
        // Its producer snapshot is the copy's as well.
        self.set_aside_parts(base, &COPIED).await?;
        self.rename_copy(base, SegmentPart::Log, SegmentPhase::Swap, SegmentPhase::Live).await?;
        self.sync_directory().await?;
        for part in COPIED.iter().filter(|part| **part != SegmentPart::Log) {
            self.rename_copy(base, *part, SegmentPhase::Swap, SegmentPhase::Live).await?;
        }
        self.sync_directory().await?;
        if let Some(segment) = self.state_mut().segment_mut(base) {
            segment.seal = Seal::Sealed;
        }
        Ok(edition)
    }

    fn replace_in_memory(&self, group: &[Source], copy: Segment<W::File>) -> Result<Edition, CleanError> {
        let mut state = self.state_mut();
        let state = &mut *state;
        let first = state.check_sources(group)?;
        let removed: u64 = state.segments.drain(first..first + group.len()).map(|segment| segment.len).sum();
        state.size = state.size - removed + copy.len;
        let edition = state.next_edition();
        let base = copy.base;
        if group.iter().any(|source| source.base == state.end.segment) {
            // Nothing was written to the active segment yet: the log ends with the copy.
            state.end = EndMark { segment: base, position: copy.len, ..state.end };
        }
        // Rolled until its index files have their names: until then they are in memory only.
        state.segments.insert(first, Segment { edition, seal: Seal::Rolled, index_files: Stored::Yes, touched: true, ..copy });
        state.boundaries.clear();
        Ok(Edition { base, edition })
    }

    async fn rename_copy(&self, base: Offset, part: SegmentPart, from: SegmentPhase, to: SegmentPhase) -> Result<(), LogError> {
        let dir = self.dir();
        let path = |phase| SegmentFile { base, part, phase }.path(&dir);
        match self.shared.world.rename(&path(from), &path(to)).await {
            // Only a copy with aborted transactions has an index of them.
            Err(source) if source.kind() == std::io::ErrorKind::NotFound && part == SegmentPart::TransactionIndex => Ok(()),
            Err(source) => Err(self.fail(LogError::Io { during: "rename", path: path(from), source })),
            Ok(()) => {
                self.state_mut().directory = Stored::No;
                Ok(())
            }
        }
    }

    /// Removes the files of a copy that came to nothing. What cannot be removed, the next start removes.
    pub(super) async fn drop_copies(&self, base: Offset) {
        let dir = self.dir();
        for part in COPIED {
            let _removed = self.shared.world.remove_file(&copy_path(&dir, base, part)).await;
        }
    }
}
