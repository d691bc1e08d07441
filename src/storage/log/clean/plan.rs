//! What of a log is dirty, and which segments become one.
//!
//! Called by the procedures beside it; calls the log's state. Bookkeeping only.

use super::CleanError;
use crate::io::World;
use crate::storage::index::{Entry, LargestTimestamp, OffsetEntry, TimeEntry};
use crate::storage::log::State;
use crate::storage::segment::{FirstTimestamp, RELATIVE_MAX, Seal, Segment};
use crate::types::{Offset, TimestampMs};

/// What a pass over a log would find. The pass may find less: the log goes on.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Cleanable {
    /// Everything below was compacted before.
    pub dirty_from: Offset,
    /// A segment's base: from here on nothing may be compacted yet.
    pub upper: Offset,
    pub clean_bytes: u64,
    pub dirty_bytes: u64,
    /// Something dirty is older than `max.compaction.lag.ms`.
    pub overdue: bool,
}

impl Cleanable {
    /// The dirty share of what may be compacted.
    pub fn dirty_ratio(&self) -> f64 {
        match self.clean_bytes + self.dirty_bytes {
            0 => 0.0,
            all => self.dirty_bytes as f64 / all as f64,
        }
    }
}

/// A segment as a pass found it: one that was cut or replaced since is another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Source {
    pub base: Offset,
    /// Where the next segment begins.
    pub next: Offset,
    pub edition: u64,
    pub len: u64,
    pub created: TimestampMs,
}

/// A segment that was not cut or replaced since.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Edition {
    pub base: Offset,
    pub edition: u64,
}

impl<W: World> State<W> {
    pub(super) fn has_edition(&self, of: Edition) -> bool {
        self.position_of(of.base).is_some_and(|at| self.segments[at].edition == of.edition)
    }

    /// The first segment that may not be compacted: one that is not history yet, holds what is not decided, or is read again by a recovery
    /// because of a truncation. That begins at a snapshot of the producers, and would miss the end of a transaction that a pass took away.
    fn uncleanable_from(&self, last_stable: Offset) -> usize {
        let unsealed = self.segments.iter().position(|segment| segment.seal != Seal::Sealed).unwrap_or(self.segments.len() - 1);
        let undecided = self.segment_for(last_stable).unwrap_or(0);
        let distrusted = self.floor.map_or(usize::MAX, |floor| self.segment_for(floor.low).unwrap_or(0));
        unsealed.min(undecided).min(distrusted)
    }

    fn dirty_from(&self) -> Offset {
        self.cleaned.unwrap_or(self.log_start).max(self.log_start)
    }

    /// Segments from the one that holds the first dirty record on, up to `at`.
    fn dirty_segments(&self, upto: usize) -> impl Iterator<Item = &Segment<W::File>> {
        let first = self.segment_for(self.dirty_from()).unwrap_or(0);
        self.segments.range(first.min(upto)..upto)
    }

    /// Dirty segments of which the timestamps are not known that the settings ask about.
    pub(super) fn unknown_ages(&self, last_stable: Offset) -> Vec<Offset> {
        let (by_first, by_largest) = (self.settings.compaction_lag_ms_max.is_some(), self.settings.compaction_lag_ms_min > 0);
        let unknown = self.dirty_segments(self.uncleanable_from(last_stable)).filter(|segment| {
            let first_unknown = by_first && segment.first_timestamp == FirstTimestamp::NotLoaded;
            let largest_unknown = by_largest && segment.times.largest() == LargestTimestamp::NotLoaded;
            segment.len > 0 && (first_unknown || largest_unknown)
        });
        unknown.map(|segment| segment.base).collect()
    }

    pub(super) fn cleanable(&self, last_stable: Offset, now: TimestampMs) -> Cleanable {
        let settings = &self.settings;
        let before = |span_ms: u64| now.get().saturating_sub(i64::try_from(span_ms).unwrap_or(i64::MAX));
        let mut upto = self.uncleanable_from(last_stable);
        if settings.compaction_lag_ms_min > 0 {
            let newest = before(settings.compaction_lag_ms_min);
            let is_young = |segment: &&Segment<W::File>| match segment.times.largest() {
                LargestTimestamp::Of(entry) => entry.timestamp.get() > newest,
                LargestTimestamp::None => false,
                LargestTimestamp::NotLoaded => segment.len > 0,
            };
            if let Some(young) = self.dirty_segments(upto).find(is_young).map(|segment| segment.base) {
                upto = self.position_of(young).unwrap_or(upto);
            }
        }
        let dirty_from = self.dirty_from();
        let upper = self.segments[upto].base.max(dirty_from);
        let overdue = settings.compaction_lag_ms_max.is_some_and(|most| {
            let oldest = before(most);
            // One without a timestamp has no age.
            self.dirty_segments(upto)
                .any(|s| matches!(s.first_timestamp, FirstTimestamp::Of(first) if first.get() > 0 && first.get() < oldest))
        });
        let clean_bytes = self.segments.iter().take_while(|segment| segment.base < dirty_from).map(|segment| segment.len).sum();
        let dirty_bytes = self.dirty_segments(upto).map(|segment| segment.len).sum();
        Cleanable { dirty_from, upper, clean_bytes, dirty_bytes, overdue }
    }

    /// The segments from the one that holds `from` on, up to the one that begins at or behind `upper`.
    pub(super) fn sources(&self, from: Offset, upper: Offset) -> Vec<Source> {
        let first = self.segment_for(from).unwrap_or(0);
        let ends = self.segments.iter().skip(first + 1).map(|next| next.base);
        let sealed =
            self.segments.iter().skip(first).zip(ends).take_while(|(segment, _)| segment.base < upper && segment.seal == Seal::Sealed);
        let source = |(segment, next): (&Segment<W::File>, Offset)| Source {
            base: segment.base,
            next,
            edition: segment.edition,
            len: segment.len,
            created: segment.created,
        };
        sealed.map(source).collect()
    }

    /// Segments that become one each: as many as one may hold by `segment.bytes`, `segment.index.bytes` and the range of its offsets.
    pub(super) fn groups(&self, end: Offset) -> Vec<Vec<Source>> {
        let settings = &self.settings;
        let index_bytes = |base: Offset| {
            let segment = &self.segments[self.position_of(base).expect("listed a moment ago")];
            (segment.index.entries.len() * OffsetEntry::SIZE, segment.times.entries.len() * TimeEntry::SIZE)
        };
        let mut groups: Vec<Vec<Source>> = Vec::new();
        let (mut bytes, mut index, mut times) = (0, 0, 0);
        for source in self.sources(Offset::ZERO, end) {
            let (own_index, own_times) = index_bytes(source.base);
            let most = settings.segment_index_bytes as usize;
            let joins = groups.last().is_some_and(|group| {
                bytes + source.len <= u64::from(settings.segment_bytes)
                    && index + own_index <= most
                    && times + own_times <= most
                    && (source.len == 0 || source.next.since(group[0].base) <= RELATIVE_MAX)
            });
            if joins {
                bytes += source.len;
                index += own_index;
                times += own_times;
                groups.last_mut().expect("there is one to join").push(source);
            } else {
                (bytes, index, times) = (source.len, own_index, own_times);
                groups.push(vec![source]);
            }
        }
        groups
    }

    /// Whether the segments of a group are those that were copied, one after another.
    pub(super) fn check_sources(&self, group: &[Source]) -> Result<usize, CleanError> {
        let first = self.position_of(group[0].base).ok_or(CleanError::Overtaken)?;
        let found = self.segments.iter().skip(first);
        let same = found.zip(group).filter(|(segment, source)| (segment.base, segment.edition) == (source.base, source.edition)).count();
        if same == group.len() { Ok(first) } else { Err(CleanError::Overtaken) }
    }
}
