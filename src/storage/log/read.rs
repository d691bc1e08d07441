//! Where the bytes of a read lie: from memory where the indexes know, from batch headers in the file where they do not.
//!
//! Called by `partition`'s fetch path; calls `index`, `scan`. Plans own what they need: the range holds its file open, so that it can be
//! sent after the segment is gone.
//!
//! Invariants:
//! 1. A range lies in one segment, begins with the batch that holds the offset asked for, and ends where a batch ends, at or before the
//!    position of `below`.
//! 2. A range is longer than asked for only if its first batch alone is.

use std::path::PathBuf;

use super::{Log, ReadError, State};
use crate::io::{File, OpenMode, World};
use crate::storage::index::{Located, OffsetIndex, TimeIndex, decode_all};
use crate::storage::layout::SegmentPart;
use crate::storage::segment::Seal;
use crate::types::Offset;

use super::scan;

/// Places where batches begin that reads asked for of late.
const BOUNDARIES_KEPT: usize = 8;
/// Index entries farther apart than this tell too little of where a read may end: batch headers are looked at.
const ENTRIES_APART_MAX: u32 = 64 << 10;
/// Looks at a log that changes meanwhile before a read gives up.
pub(super) const LOOKS_MAX: usize = 32;

/// Bytes of one segment, from the batch that holds the offset asked for.
pub struct ReadRange<W: World> {
    pub file: <W::File as File>::Shared,
    /// Base offset of the segment.
    pub segment: Offset,
    /// Of the segment: one that is cut or compacted is another.
    pub(super) edition: u64,
    pub position: u64,
    pub len: u64,
    /// At least the first batch, and no more than `len`. Exact when `len` is longer than was asked for.
    pub first_batch_len: u64,
    /// Bytes there are, up to how many were asked for: `len` and, of a batch that did not fit whole, its part. What `fetch.min.bytes` counts.
    pub available: u64,
    pub rest: Rest,
}

/// What lies beyond a range, and before the end of the read, however little the range was allowed to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    /// Nothing, or no more than the range's own segment has.
    InThisSegment,
    /// Records of a later segment: the reader is behind.
    InLaterSegment,
}

impl<W: World> ReadRange<W> {
    /// The same up to a batch's end farther on.
    fn longer(mut self, end: u64) -> Self {
        self.len = self.len.max(end.saturating_sub(self.position));
        self.available = self.available.max(self.len);
        self
    }
}

/// What memory alone can say about a read.
pub enum Planned<W: World> {
    Ready(ReadRange<W>),
    /// Ask [`Log::plan_read`], which may look into files.
    NeedsLookup,
    OutOfRange {
        start: Offset,
        end: Offset,
    },
    /// Nothing lies between `from` and `below`.
    Empty,
}

#[derive(Clone, Copy, Default)]
struct Boundary {
    offset: Offset,
    segment: Offset,
    position: u64,
}

/// The last few places where the end was, or where a reader was told to stop: the high watermark, and the next read's start.
#[derive(Default)]
pub struct Boundaries {
    /// Only of logs that are used.
    kept: Option<Box<[Boundary; BOUNDARIES_KEPT]>>,
    next: usize,
}

impl Boundaries {
    pub fn note(&mut self, offset: Offset, segment: Offset, position: u64) {
        let kept = self.kept.get_or_insert_default();
        kept[self.next] = Boundary { offset, segment, position };
        self.next = (self.next + 1) % BOUNDARIES_KEPT;
    }

    pub fn clear(&mut self) {
        self.kept = None;
        self.next = 0;
    }

    fn find(&self, offset: Offset, segment: Offset) -> Option<u64> {
        let kept = self.kept.as_ref()?;
        // A fresh slot says offset zero, position zero, which is true of any log's first segment.
        kept.iter().find(|b| b.offset == offset && b.segment == segment).map(|b| b.position)
    }
}

/// What a look into a file has told, for the next attempt to plan.
#[derive(Clone, Copy, Default)]
struct Facts {
    start: Option<Start>,
    /// Where `below` lies in that segment, by its edition.
    limit: Option<(u64, u64)>,
    /// Where the last batch ends that the read may take whole, by its edition.
    end: Option<(u64, u64)>,
}

/// The batch that holds `from`.
#[derive(Clone, Copy)]
struct Start {
    segment: Offset,
    edition: u64,
    position: u64,
    len: Option<u64>,
}

/// One attempt to plan.
enum Step<W: World> {
    Ready(ReadRange<W>),
    Empty,
    OutOfRange {
        start: Offset,
        end: Offset,
    },
    Open {
        segment: Offset,
    },
    Load {
        segment: Offset,
    },
    /// Look for the batch that holds `from`, between two positions, first at the guess.
    FindStart {
        look: Look<W>,
        guess: Option<u64>,
    },
    /// Look for the first batch that reaches `below`.
    FindLimit {
        look: Look<W>,
    },
    /// Look for the last batch that ends at `most` at the latest.
    FindEnd {
        look: Look<W>,
        most: u64,
    },
}

struct Look<W: World> {
    segment: Offset,
    edition: u64,
    file: W::File,
    path: PathBuf,
    from: u64,
    upto: u64,
    offset: Offset,
}

/// What a look for the batch that holds `from` has told.
enum Found {
    Start(Start),
    /// The log has no batch there.
    Nothing,
    /// The segment was cut or replaced meanwhile.
    Outdated,
}

impl<W: World> Log<W> {
    /// Plans a read of what lies from `from` up to `below`, of about `max_bytes`, from memory alone.
    pub fn try_plan_read(&self, from: Offset, below: Offset, max_bytes: u64) -> Planned<W> {
        match self.state_mut().plan(from, below, max_bytes, Facts::default()) {
            Step::Ready(range) => Planned::Ready(range),
            Step::Empty => Planned::Empty,
            Step::OutOfRange { start, end } => Planned::OutOfRange { start, end },
            _ => Planned::NeedsLookup,
        }
    }

    /// Plans a read, looking into index files and at batch headers where needed. `None`: nothing lies between `from` and `below`.
    pub async fn plan_read(&self, from: Offset, below: Offset, max_bytes: u64) -> Result<Option<ReadRange<W>>, ReadError> {
        let mut facts = Facts::default();
        for _ in 0..LOOKS_MAX {
            let step = self.state_mut().plan(from, below, max_bytes, facts);
            match step {
                Step::Ready(range) => return Ok(Some(range)),
                Step::Empty => return Ok(None),
                Step::OutOfRange { start, end } => return Err(ReadError::OutOfRange { from, start, end }),
                Step::Open { segment } => self.open_for_reading(segment).await?,
                Step::Load { segment } => self.load_indexes(segment).await?,
                Step::FindStart { look, guess } => match self.find_start(look, guess).await? {
                    Found::Start(start) => facts.start = Some(start),
                    Found::Nothing => return Ok(None),
                    Found::Outdated => facts = Facts::default(),
                },
                Step::FindLimit { look } => {
                    let found = scan::find(&look.file, &look.path, look.from, look.upto, look.offset).await?;
                    let mut state = self.state_mut();
                    if state.has(look.segment, look.edition) {
                        facts.limit = Some((look.edition, found.map_or(look.upto, |batch| batch.position)));
                        if let Some(batch) = found {
                            state.boundaries.note(look.offset, look.segment, batch.position);
                        }
                    }
                }
                Step::FindEnd { look, most } => {
                    let (end, next) = scan::last_end(&look.file, &look.path, look.from, look.upto, most).await?;
                    let mut state = self.state_mut();
                    if state.has(look.segment, look.edition) {
                        facts.end = Some((look.edition, end));
                        // There the next read begins.
                        next.into_iter().for_each(|next| state.boundaries.note(next, look.segment, end));
                    }
                }
            }
        }
        Err(ReadError::Restless)
    }

    /// The batch that holds the offset looked for, or the first after it.
    async fn find_start(&self, look: Look<W>, guess: Option<u64>) -> Result<Found, ReadError> {
        let Look { segment, edition, file, path, from, upto, offset } = look;
        let (mut found, mut from) = (None, from);
        if let Some(guess) = guess
            && let Some(batch) = scan::header_at(&file, &path, guess, upto).await?
            && batch.header.base_offset <= offset
        {
            if batch.header.last_offset() >= offset {
                found = Some(batch);
            } else {
                // An entry for several batches, as Kafka wrote them until 4.0: it lies behind.
                from = guess;
            }
        }
        if found.is_none() {
            found = scan::find(&file, &path, from, upto, offset).await?;
        }
        let mut state = self.state_mut();
        let Some(at) = state.position_of(segment).filter(|at| state.segments[*at].edition == edition) else { return Ok(Found::Outdated) };
        Ok(match found {
            Some(batch) => {
                let segment = &mut state.segments[at];
                let base = segment.relative_or_max(batch.header.base_offset);
                let last = segment.relative_or_max(batch.header.last_offset());
                segment.index.learn(batch.position as u32, base, last);
                let len = Some(batch.header.total_len() as u64);
                Found::Start(Start { segment: segment.base, edition, position: batch.position, len })
            }
            // Offsets may have a gap between segments.
            None => match state.segments.get(at + 1) {
                Some(next) => Found::Start(Start { segment: next.base, edition: next.edition, position: 0, len: None }),
                None => Found::Nothing,
            },
        })
    }

    pub(super) async fn open_for_reading(&self, base: Offset) -> Result<(), ReadError> {
        let path = self.state().path(base, SegmentPart::Log);
        let opened = self.shared.world.open(&path, OpenMode::Existing).await;
        let mut state = self.state_mut();
        match (opened, state.segment_mut(base)) {
            (Ok(file), Some(segment)) => {
                segment.file.get_or_insert(file);
                Ok(())
            }
            // Deleted meanwhile: the next plan says so.
            (_, None) => Ok(()),
            // A compacted copy has taken its place, and not yet its name.
            (Err(_), Some(segment)) if segment.file.is_some() => Ok(()),
            (Err(source), Some(_)) => Err(ReadError::Io { during: "open", path, source }),
        }
    }

    /// Reads a segment's index files into memory. Files that do not fit the log are made anew from it.
    pub(super) async fn load_indexes(&self, base: Offset) -> Result<(), ReadError> {
        let (index_path, time_path, edition) = {
            let state = self.state();
            let Some(at) = state.position_of(base) else { return Ok(()) };
            (state.path(base, SegmentPart::Index), state.path(base, SegmentPart::TimeIndex), state.segments[at].edition)
        };
        let world = &self.shared.world;
        let index_file = world.read_file(&index_path).await;
        let time_file = world.read_file(&time_path).await;
        let rebuild = {
            let mut state = self.state_mut();
            state.shed_other_indexes(base);
            // Those of another edition say nothing of this one.
            let Some(segment) = state.segment_mut(base).filter(|segment| segment.edition == edition) else { return Ok(()) };
            segment.touched = true;
            let len = segment.len;
            let filled = index_file.ok().zip(time_file.ok()).and_then(|(index, times)| {
                let index = index.get(..segment.index.entries.skipped_bytes())?;
                let times = times.get(..segment.times.entries.skipped_bytes())?;
                OffsetIndex::check(&decode_all(index).ok()?, len).ok()?;
                TimeIndex::check(&decode_all(times).ok()?).ok()?;
                segment.index.entries.fill(index).ok()?;
                segment.times.entries.fill(times).ok()
            });
            filled.is_none()
        };
        if rebuild { self.rebuild_indexes(base).await } else { Ok(()) }
    }

    /// Makes the indexes of a segment anew from its batches; its files are written again when it is next sealed.
    async fn rebuild_indexes(&self, base: Offset) -> Result<(), ReadError> {
        self.open_for_reading(base).await?;
        let (file, path, len, interval, edition) = {
            let state = self.state();
            let Some(at) = state.position_of(base) else { return Ok(()) };
            let Some(file) = state.segments[at].file.clone() else { return Ok(()) };
            let (path, interval) = (state.path(base, SegmentPart::Log), state.settings.index_interval_bytes);
            (file, path, state.completed_len(at), interval, state.segments[at].edition)
        };
        tracing::warn!(path = %path.display(), "index files do not fit the segment: made anew");
        let mut index = OffsetIndex::default();
        let mut times = TimeIndex::default();
        let world = &self.shared.world;
        let scanned = scan::walk(world, &file, 0..len, scan::Verify::Headers, |batch| {
            let (first, last) = (batch.header.base_offset.since(base) as u32, batch.header.last_offset().since(base) as u32);
            let indexed = index.on_batch(first, last, batch.position as u32, batch.header.total_len() as u32, interval);
            times.on_batch(batch.header.max_timestamp, last, indexed);
            std::ops::ControlFlow::Continue(())
        });
        let scanned = scanned.await.map_err(ReadError::io("read", &path))?;
        if let Some(source) = scanned.bad {
            return Err(ReadError::Corrupt { path, position: scanned.end, source });
        }
        let mut state = self.state_mut();
        if let Some(segment) = state.segment_mut(base)
            && segment.len == len
            && segment.edition == edition
        {
            if segment.seal != Seal::Active {
                times.add_largest();
                segment.seal = Seal::Rolled;
            }
            segment.index = index;
            segment.times = times;
        }
        Ok(())
    }
}

impl<W: World> State<W> {
    pub(super) fn has(&self, base: Offset, edition: u64) -> bool {
        self.position_of(base).is_some_and(|at| self.segments[at].edition == edition)
    }

    /// Keeps indexes that came from files in memory for one segment beside the active one.
    fn shed_other_indexes(&mut self, base: Offset) {
        for segment in self.segments.iter_mut().filter(|s| s.base != base && s.seal == Seal::Sealed && !s.touched) {
            segment.index.entries.shed();
            segment.times.entries.shed();
        }
        for segment in self.segments.iter_mut().filter(|s| s.seal == Seal::Sealed) {
            segment.touched = false;
        }
    }

    fn plan(&mut self, from: Offset, below: Offset, max_bytes: u64, facts: Facts) -> Step<W> {
        let end = self.end.offset;
        if from < self.log_start || from > end {
            return Step::OutOfRange { start: self.log_start, end };
        }
        let below = below.min(end);
        if from >= below {
            return Step::Empty;
        }
        let asked = facts.start.map_or(from, |start| start.segment.max(from));
        if asked >= below {
            return Step::Empty;
        }
        let Some(mut at) = self.segment_for(asked) else { return Step::OutOfRange { start: self.log_start, end } };
        // Compaction may have left nothing of a segment.
        while self.completed_len(at) == 0 && self.segments.get(at + 1).is_some_and(|next| next.base < below) {
            at += 1;
        }
        let base = self.segments[at].base;
        let upto = self.completed_len(at);
        if self.segments[at].file.is_none() {
            return Step::Open { segment: base };
        }
        self.segments[at].touched = true;
        let (start, first_len) = match self.start_in(at, from, upto, facts) {
            Ok(found) => found,
            Err(step) => return step,
        };
        let limit = match self.limit_in(at, below, start, upto, facts) {
            Ok(limit) => limit,
            Err(step) => return step,
        };
        if limit <= start {
            return Step::Empty;
        }
        let most = start.saturating_add(max_bytes).min(limit);
        let is_sparse = self.settings.index_interval_bytes > ENTRIES_APART_MAX;
        let is_behind = self.segments.get(at + 1).is_some_and(|next| next.base < below);
        let rest = if is_behind { Rest::InLaterSegment } else { Rest::InThisSegment };
        match self.range_in(at, start, first_len, (limit, most), rest) {
            Some(range) if is_sparse && range.position + range.len < most => match facts.end {
                Some((edition, end)) if edition == self.segments[at].edition => {
                    self.segments[at].served_to = self.segments[at].served_to.max(end);
                    Step::Ready(range.longer(end))
                }
                _ => Step::FindEnd { look: self.look(at, range.position + range.len, limit, from), most },
            },
            Some(range) => Step::Ready(range),
            None => Step::FindStart { look: self.look(at, start, limit, from), guess: None },
        }
    }

    fn look(&self, at: usize, from: u64, upto: u64, offset: Offset) -> Look<W> {
        let segment = &self.segments[at];
        let file = segment.file.clone().expect("plan opens the file first");
        Look { segment: segment.base, edition: segment.edition, file, path: self.path(segment.base, SegmentPart::Log), from, upto, offset }
    }

    /// The position of the batch that holds `from`, and its length if known.
    fn start_in(&self, at: usize, from: Offset, upto: u64, facts: Facts) -> Result<(u64, Option<u64>), Step<W>> {
        let segment = &self.segments[at];
        let batch_len = |position: u64| segment.index.batch_len(position as u32).map(u64::from);
        if let Some(start) = facts.start.filter(|start| (start.segment, start.edition) == (segment.base, segment.edition)) {
            return Ok((start.position, start.len.or_else(|| batch_len(start.position))));
        }
        let position = match self.boundaries.find(from, segment.base).filter(|position| *position < upto) {
            Some(position) => position,
            None => match segment.index.locate(segment.relative_or_max(from)) {
                Located::At(position) => u64::from(position),
                Located::NotLoaded => return Err(Step::Load { segment: segment.base }),
                Located::Probe { guess, from: floor } => {
                    return Err(Step::FindStart { look: self.look(at, floor.into(), upto, from), guess: Some(guess.into()) });
                }
                Located::Walk(floor) => {
                    return Err(Step::FindStart { look: self.look(at, floor.into(), upto, from), guess: None });
                }
            },
        };
        Ok((position, batch_len(position)))
    }

    /// Where a read from `start` must end: a position no later than that of `below`, and beyond `start` if there is one.
    fn limit_in(&mut self, at: usize, below: Offset, start: u64, upto: u64, facts: Facts) -> Result<u64, Step<W>> {
        let segment = &self.segments[at];
        if let Some((_, limit)) = facts.limit.filter(|(edition, _)| *edition == segment.edition) {
            return Ok(limit);
        }
        let beyond = self.segments.get(at + 1).is_some_and(|next| next.base <= below);
        if beyond || below == self.end.offset {
            // Where this read ends, the next one begins, or the high watermark comes to lie.
            if !beyond {
                self.boundaries.note(below, self.end.segment, self.end.position);
            }
            return Ok(upto);
        }
        if let Some(position) = self.boundaries.find(below, segment.base) {
            return Ok(position);
        }
        match segment.index.end_below(segment.relative_or_max(below)) {
            Some((position, exact)) if exact || u64::from(position) > start => Ok(position.into()),
            _ => Err(Step::FindLimit { look: self.look(at, start, upto, below) }),
        }
    }

    /// The range from `start` up to `most`, as long as batch boundaries that the index knows allow. `None` if the first batch's length must be
    /// known first.
    fn range_in(&mut self, at: usize, start: u64, first_len: Option<u64>, (limit, most): (u64, u64), rest: Rest) -> Option<ReadRange<W>> {
        let segment = &mut self.segments[at];
        let first_end = first_len.map(|len| (start + len).min(limit));
        let next = segment.index.boundary_after(start as u32).map(u64::from).filter(|next| *next < limit);
        let whole = if most == limit {
            Some(limit)
        } else {
            let indexed = segment.index.boundary_at_most(most).map(u64::from);
            indexed.max(first_end.filter(|end| *end <= most)).filter(|end| *end > start)
        };
        let (end, first_end) = match (whole, first_end) {
            (Some(end), Some(first_end)) => (end, first_end.min(end)),
            (Some(end), None) => (end, next.unwrap_or(end).min(end)),
            (None, Some(first_end)) => (first_end, first_end),
            (None, None) => return None,
        };
        segment.served_to = segment.served_to.max(end);
        let file = segment.file.as_ref()?.share();
        let (base, edition) = (segment.base, segment.edition);
        let (len, first_batch_len) = (end - start, first_end - start);
        Some(ReadRange {
            file,
            segment: base,
            edition,
            position: start,
            len,
            first_batch_len,
            available: len.max(most.saturating_sub(start)),
            rest,
        })
    }
}
