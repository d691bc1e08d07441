//! Compaction: of each key the last record stays. Closed segments are copied, without what is replaced, and the copies take their place.
//!
//! Called by `shard`, one pass over one log at a time; calls `wire::batch`, `io::World`, the bookkeeping beside it. Nothing is changed in
//! place, and appends, flushes and reads go on: only the moment in which copies take their place excludes other procedures.
//!
//! ```text
//!   plan           what is dirty; which segments become one            map            latest offset of each key, in fixed memory
//!   copy           reads, has a chunk filtered off the shard, writes   filter         what is kept of a batch
//!   swap           the copy takes the segments' place                  transactions   aborted records, and markers of nothing
//!   pace           bytes per second, and a share of a core
//! ```
//!
//! One pass: tell the keys of the dirty part to the map, until its end or until the map is full; then copy every segment from the log's
//! first up to that point. What lies behind it is dirty on the next pass.
//!
//! Invariants:
//! 1. Only sealed segments are compacted: never the active one, nothing at or above the last stable offset, nothing younger than
//!    `min.compaction.lag.ms`.
//! 2. Offsets stay. A batch that is kept is where it was, by its first and last offset (`filter`).
//! 3. Memory is the map's, a chunk or one batch if that is larger, and what that decompresses to.
//! 4. The log is compacted up to `cleaned` only after every copy below it has taken its place; a truncation below takes it back.
//!
//! What a crash leaves: copies that are dropped or completed at the next start (`swap`). A pass that was cut short is begun anew.
//!
//! KIP-58 (lag), KIP-354 (largest lag), KIP-534 (tombstones and markers), KIP-98 (transactions).

mod copy;
mod filter;
mod map;
mod pace;
mod plan;
mod swap;
mod transactions;

use std::io;
use std::path::{Path, PathBuf};

pub use plan::Cleanable;

use self::copy::Pass;
use super::{Life, Log, LogError, ReadError};
use crate::io::{World, is_of_process};
use crate::metrics::Compaction;
use crate::storage::segment::FirstTimestamp;
use crate::types::{Offset, TimestampMs};

/// What a pass may use.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct CleanRules {
    /// Memory for the keys.
    pub key_bytes_max: u64,
    /// How full that may get.
    pub key_load_factor: f64,
    pub io_bytes_per_second_max: Option<f64>,
    /// What one compressed batch may decompress to.
    pub decompressed_bytes_max: usize,
    /// Bytes of the filesystem that a copy must leave free.
    pub free_bytes_min: u64,
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum CleanError {
    /// The log was closed, or what was copied was deleted or cut: the next pass finds it as it is.
    #[error("the log has changed meanwhile")]
    Overtaken,
    #[error("{free} bytes are free, and a copy of {wanted} bytes would not leave {reserve}")]
    NoRoom { free: u64, wanted: u64, reserve: u64 },
    /// It would be so on every pass.
    #[error("{path} at {position}: {why}")]
    Unsound { path: PathBuf, position: u64, why: String },
    #[error("{during} {path}: {source}")]
    Io { during: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Log(#[from] LogError),
}

impl CleanError {
    fn io<'a>(during: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> CleanError + use<'a> {
        move |source| CleanError::Io { during, path: path.to_owned(), source }
    }

    /// What a look into `dir` came to.
    fn unread(error: ReadError, dir: PathBuf) -> Self {
        match error {
            ReadError::Io { during, path, source } => Self::Io { during, path, source },
            why => Self::Unsound { path: dir, position: 0, why: why.to_string() },
        }
    }

    /// As [`ReadError::is_of_disk`]; what a log failed of has been told.
    pub fn is_of_disk(&self) -> bool {
        matches!(self, CleanError::Io { source, .. } if !is_of_process(source) && source.kind() != io::ErrorKind::NotFound)
    }
}

impl<W: World> Log<W> {
    /// Up to where the log is compacted; `None` if it never was.
    pub fn cleaned(&self) -> Option<Offset> {
        self.state().cleaned
    }

    /// What a pass would find now.
    pub async fn cleanable(&self, last_stable: Offset, now: TimestampMs) -> Result<Cleanable, CleanError> {
        let unknown = self.state().unknown_ages(last_stable);
        for base in unknown {
            self.load_ages(base).await.map_err(|error| CleanError::unread(error, self.dir()))?;
        }
        Ok(self.state().cleanable(last_stable, now))
    }

    async fn load_ages(&self, base: Offset) -> Result<(), ReadError> {
        self.largest_timestamp(base).await?;
        let (path, len, edition) = {
            let state = self.state();
            let Some(at) = state.position_of(base) else { return Ok(()) };
            let segment = &state.segments[at];
            if segment.first_timestamp != FirstTimestamp::NotLoaded {
                return Ok(());
            }
            (state.path(base, crate::storage::layout::SegmentPart::Log), segment.len, segment.edition)
        };
        self.open_for_reading(base).await?;
        let file = {
            let mut state = self.state_mut();
            state.segment_mut(base).filter(|segment| segment.edition == edition).and_then(|segment| segment.file.clone())
        };
        let Some(file) = file else { return Ok(()) };
        let first = super::scan::header_at(&file, &path, 0, len).await?;
        if let Some(segment) = self.state_mut().segment_mut(base).filter(|segment| segment.edition == edition) {
            segment.first_timestamp = first.map_or(FirstTimestamp::None, |batch| FirstTimestamp::Of(batch.header.max_timestamp));
        }
        Ok(())
    }

    /// One pass over what was found. Answers with the end of what is compacted now.
    pub async fn clean(&self, found: &Cleanable, rules: &CleanRules, counts: &Compaction) -> Result<Offset, CleanError> {
        self.check_cleanable()?;
        if !self.state().producers.is_empty() {
            // What is dropped for the sake of a marker, or of a producer's later batch, may not outlive it.
            self.sync_written().await?;
        }
        let mut pass = Pass::new(self, found, rules, counts);
        let (filling, told) = pass.fill_map(found).await?;
        let end = filling.end();
        let mut filter = pass.filter_of(filling, found);
        let groups = {
            let state = self.state();
            if !told.is_empty() {
                // The keys of what was cut since say nothing of what came in its place.
                state.check_sources(&told)?;
            }
            let groups = state.groups(end);
            // One that is being made anew is left out of them, and what stands behind it.
            if groups.last().and_then(|group| group.last()).is_some_and(|last| last.next < end) {
                return Err(CleanError::Overtaken);
            }
            groups
        };
        let mut last = None;
        for group in groups {
            let copy;
            (filter, copy) = pass.clean_group(&group, filter).await?;
            last = Some(copy);
        }
        let mut state = self.state_mut();
        // Unless the last copy was cut since: what came in place of that was not compacted.
        if last.is_some_and(|copy| state.has_edition(copy)) {
            state.cleaned = Some(end);
        }
        Ok(end)
    }

    fn check_cleanable(&self) -> Result<(), CleanError> {
        match self.state().life {
            Life::Open | Life::Truncating => Ok(()),
            Life::Closed | Life::Failed => Err(CleanError::Overtaken),
        }
    }
}
