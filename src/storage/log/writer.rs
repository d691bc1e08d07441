//! The writer: gathers queued batches into writes, keeps several under way, and moves the end over the contiguous completed prefix.
//!
//! Called by `append`; calls `io::World`. A *lane* is a task that takes one write after another from the queue and ends when there is
//! none; another lane begins when more than a window of bytes waits. One idle append costs one task and one write.
//!
//! Invariants:
//! 1. One write is one run of bytes in one segment.
//! 2. Writes complete in any order; the end moves over completed ones only as far as none before is missing.
//! 3. A failed write is the last thing that happens to a log.
//! 4. Zeros may stand behind the last write of the active segment, and of no other: a rolled one is cut to its length before the next has a
//!    file.
//!
//! What a crash leaves: any part of the writes that were under way, in any order, and zeros behind.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::{EndMark, Life, Log, LogError, State, Turn};
use crate::io::{Behind, File, OpenMode, Urgency, World, ZEROS_ALIGN};
use crate::storage::layout::{NEXT_SEGMENT, SegmentPart};
use crate::storage::planted::{self, Bug};
use crate::storage::segment::Stored;
use crate::types::{Monotonic, Offset};
use crate::wire::batch::PREFIX_LEN;

/// Least and first step in which space is allocated; each next one is twice as large at most.
const ALLOCATE_STEP_FIRST: u64 = 1 << 20;
/// A step is what is written in this time, as fast as it was since the step before. Who writes less than the least step in it gets none.
const ALLOCATE_FOR: Duration = Duration::from_secs(2);
/// Below this a segment gets no space ahead: most partitions are small and quiet.
const ALLOCATE_FROM: u64 = 256 << 10;
/// What a segment has for space whose filesystem gave none: it is not asked again.
const NO_SPACE_AHEAD: u64 = u64::MAX;
/// Who is nearer to a segment's end than a part of it leaves no more zeros: those before are written over, and nothing is to be cut when it is
/// rolled.
const NEAR_END_PART: u64 = 64;
/// A log whose appends are synced one by one has zeros on the disk ahead of it, in steps of at most so many bytes: longer ones hold up what waits for
/// the disk, shorter ones cost more. As many as are written twice.
const ZEROS_STEP_MAX: u64 = 4 << 20;
/// If a sync covers more than this on average, what it writes beside the records does not count, and the zeros would.
const ZEROS_SYNC_BYTES_MAX: u64 = 256 << 10;
/// Zeros begin so much of a step behind what is queued, where there are none yet: what comes while they are written is to have room before
/// them.
const ZEROS_LEAD_PART: u64 = 4;
/// Longest gather of slices, twice over: a batch is a prefix and its bytes.
const SLICES_MAX: usize = 1024;

/// Bytes that wait for a write, of one batch or several.
pub struct Pending {
    /// Base offset of the segment they go to.
    pub segment: Offset,
    pub position: u64,
    /// Where the log ends with them.
    pub end: Offset,
    /// What a leader assigns to a batch, in front of `bytes`.
    pub prefix: Option<[u8; PREFIX_LEN]>,
    pub bytes: Bytes,
}

impl Pending {
    fn len(&self) -> usize {
        self.bytes.len() + self.prefix.map_or(0, |prefix| prefix.len())
    }
}

struct Write {
    mark: EndMark,
    bytes: u64,
    completed: bool,
}

/// The file of the segment that comes next, made ahead. There is one name for it, so that one thing at a time happens to it.
enum Next<F> {
    None,
    /// It is being made, renamed or removed.
    Busy,
    Ready {
        file: F,
        allocated: u64,
    },
}

/// How fast a log is written, for the space that it gets ahead.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Pace {
    /// When the last step was taken, or the pace was too slow for one.
    since: Option<Monotonic>,
    /// What was queued, and how often it was synced, until then.
    queued: u64,
    syncs: u64,
    /// The last step; zero where there is none.
    step: u64,
}

impl Pace {
    /// The next step, of at most `most` bytes.
    fn next(&mut self, queued: u64, syncs: u64, now: Monotonic, most: u64) -> Option<u64> {
        let since = *self.since.get_or_insert(now);
        let elapsed_ms = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX).max(1);
        let bytes = queued.saturating_sub(self.queued);
        let for_ms = ALLOCATE_FOR.as_millis() as u64;
        let written_in_time = bytes.saturating_mul(for_ms) / elapsed_ms;
        let least = ALLOCATE_STEP_FIRST.min(most);
        let step = written_in_time.min((self.step * 2).max(least)).min(most);
        if step >= least {
            *self = Self { since: Some(now), queued, syncs, step };
            return Some(step);
        }
        if elapsed_ms >= for_ms {
            *self = Self { since: Some(now), queued, syncs, step: 0 };
        }
        None
    }
}

pub struct Writer<F> {
    pending: VecDeque<Pending>,
    pending_bytes: usize,
    /// Writes under way in the order of their positions, and completed ones behind one that is not.
    under_way: VecDeque<Write>,
    under_way_bytes: u64,
    /// Number of the first of them.
    first_number: u64,
    /// Tasks that write, and how many of those have not begun.
    lanes: usize,
    starting: usize,
    /// No write may begin: the file is being trimmed or cut.
    held: bool,
    prefixes: BytesMut,
    next: Next<F>,
    allocating: bool,
    /// Zeros are written to the segment from there on: nothing else may be.
    zeroing: Option<(Offset, u64)>,
    /// The filesystem has refused them.
    has_no_zeros: bool,
    pace: Pace,
    /// Bytes queued since the log was opened.
    queued_bytes: u64,
    /// Syncs of what was appended since then.
    syncs: u64,
    /// Whether a timer for `flush.ms` runs.
    pub flush_timer: bool,
}

impl<F> Default for Writer<F> {
    fn default() -> Self {
        Self {
            pending: VecDeque::new(),
            pending_bytes: 0,
            under_way: VecDeque::new(),
            under_way_bytes: 0,
            first_number: 0,
            lanes: 0,
            starting: 0,
            held: false,
            prefixes: BytesMut::new(),
            next: Next::None,
            allocating: false,
            zeroing: None,
            has_no_zeros: false,
            pace: Pace::default(),
            queued_bytes: 0,
            syncs: 0,
            flush_timer: false,
        }
    }
}

impl<F> Writer<F> {
    pub fn push(&mut self, pending: Pending) {
        self.pending_bytes += pending.len();
        self.queued_bytes += pending.len() as u64;
        self.pending.push_back(pending);
    }

    pub fn unwritten_bytes(&self) -> u64 {
        self.pending_bytes as u64 + self.under_way_bytes
    }

    pub fn queued_bytes(&self) -> u64 {
        self.queued_bytes
    }

    /// Nothing waits, and nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.pending.is_empty() && self.under_way.is_empty()
    }

    /// From where on zeros are on their way to the segment, if they are.
    fn zeros_from(&self, segment: Offset) -> Option<u64> {
        self.zeroing.filter(|(zeroed, _)| *zeroed == segment).map(|(_, from)| from)
    }

    /// Zeros are on their way to the segment: it may be longer than it is known to be.
    pub fn is_zeroing(&self, segment: Offset) -> bool {
        self.zeros_from(segment).is_some()
    }

    /// What is to be written next lies where zeros are being written.
    pub fn waits_for_zeros(&self) -> bool {
        let Some((zeroed, from)) = self.zeroing else { return false };
        self.pending.front().is_some_and(|next| next.segment == zeroed && next.position + next.len() as u64 > from)
    }

    pub fn is_allocating(&self) -> bool {
        self.allocating
    }

    pub fn drop_pending(&mut self) {
        self.pending.clear();
        self.pending_bytes = 0;
    }

    /// Keeps writes from beginning, or lets them.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// An idle log begins small again.
    pub fn rest(&mut self) {
        self.pace = Pace { since: None, queued: self.queued_bytes, syncs: self.syncs, step: 0 };
        self.pending.shrink_to(0);
        self.under_way.shrink_to(0);
        self.prefixes = BytesMut::new();
    }

    /// Gives up the file made ahead. Answers whether there is one to remove; [`Writer::on_next_gone`] follows.
    pub fn drop_next(&mut self) -> bool {
        let ready = matches!(self.next, Next::Ready { .. });
        if ready {
            self.next = Next::Busy;
        }
        ready
    }

    pub fn on_next_gone(&mut self) {
        self.next = Next::None;
    }

    fn complete(&mut self, number: u64) -> Option<EndMark> {
        let at = usize::try_from(number.checked_sub(self.first_number)?).ok()?;
        let write = self.under_way.get_mut(at)?;
        write.completed = true;
        if planted::is(Bug::EndOverHole) {
            return Some(write.mark);
        }
        let mut reached = None;
        while let Some(front) = self.under_way.pop_front_if(|front| front.completed) {
            self.first_number += 1;
            self.under_way_bytes -= front.bytes;
            reached = Some(front.mark);
        }
        reached
    }
}

/// Space that a segment is about to get.
struct Allocation<F> {
    segment: Offset,
    file: F,
    to: u64,
    /// What of it is to have zeros in it.
    zeros: Option<Range<u64>>,
}

/// A write that is about to begin.
struct Planned<F> {
    number: u64,
    file: F,
    segment: Offset,
    position: u64,
    slices: Vec<Bytes>,
    behind: Behind,
}

impl<W: World> State<W> {
    /// Takes the next write from the queue. `None` if there is none, or its segment has no file yet.
    fn plan_write(&mut self, mut slices: Vec<Bytes>) -> Option<Planned<W::File>> {
        if self.writer.held || self.writer.waits_for_zeros() || self.life == Life::Failed {
            return None;
        }
        let segment = self.writer.pending.front()?.segment;
        let written_to = self.segment_mut(segment)?;
        let file = written_to.file.clone()?;
        let (allocated, zeros_to) = (written_to.allocated, written_to.zeros.end());
        let limit = self.writer.zeros_from(segment).unwrap_or(u64::MAX);
        let window = self.settings.append_window_bytes;
        let writer = &mut self.writer;
        let first = writer.pending.front()?;
        let position = first.position;
        // The first of them lies before zeros that are on their way, or it would wait.
        let most = window.min(usize::try_from(limit.saturating_sub(position)).unwrap_or(usize::MAX));
        let mut mark = EndMark { offset: first.end, segment, position };
        let mut bytes = 0;
        let count = writer.pending.iter().take(SLICES_MAX).take_while(|next| {
            let fits = next.segment == segment && (bytes == 0 || bytes + next.len() <= most);
            if fits {
                bytes += next.len();
            }
            fits
        });
        let count = count.count();
        writer.prefixes.reserve(count * PREFIX_LEN);
        for taken in writer.pending.drain(..count) {
            if let Some(prefix) = taken.prefix {
                writer.prefixes.extend_from_slice(&prefix);
                slices.push(writer.prefixes.split().freeze());
            }
            slices.push(taken.bytes);
            mark.offset = taken.end;
        }
        mark.position = position + bytes as u64;
        writer.pending_bytes -= bytes;
        writer.under_way_bytes += bytes as u64;
        let number = writer.first_number + writer.under_way.len() as u64;
        writer.under_way.push_back(Write { mark, bytes: bytes as u64, completed: false });
        let full = u64::from(self.settings.segment_bytes);
        let is_near_end = mark.position > full - full / NEAR_END_PART;
        // What is flushed after each write is as short as it can be, or ends with a page.
        let leaves_none = self.settings.flushes_appends() || is_near_end || allocated == NO_SPACE_AHEAD;
        let behind = match leaves_none {
            _ if mark.position <= zeros_to => Behind::Zeros(zeros_to),
            true => Behind::Nothing,
            false => Behind::Space(allocated),
        };
        Some(Planned { number, file, segment, position, slices, behind })
    }

    /// How many more lanes the queue asks for.
    fn lanes_wanted(&self) -> usize {
        let writer = &self.writer;
        let Some(front) = writer.pending.front() else { return 0 };
        let ready = self.position_of(front.segment).is_some_and(|at| self.segments[at].file.is_some());
        if writer.held || !ready || writer.waits_for_zeros() {
            return 0;
        }
        let windows = writer.pending_bytes / self.settings.append_window_bytes.max(1);
        let wanted = windows.max(usize::from(writer.lanes == 0));
        wanted.saturating_sub(writer.starting).min(self.settings.appends_in_flight_max.max(1).saturating_sub(writer.lanes))
    }

    pub(super) fn move_end(&mut self, mark: EndMark) {
        self.end = mark;
        self.boundaries.note(mark.offset, mark.segment, mark.position);
        self.check_order();
    }
}

impl<W: World> Log<W> {
    /// Begins as many lanes as the queue asks for.
    pub(super) fn start_lanes(&self) {
        let wanted = {
            let mut state = self.state_mut();
            let wanted = state.lanes_wanted();
            state.writer.lanes += wanted;
            state.writer.starting += wanted;
            wanted
        };
        for _ in 0..wanted {
            self.shared.world.spawn(Urgency::Foreground, self.clone().lane());
        }
    }

    async fn lane(self) {
        let mut slices = Vec::new();
        let mut started = false;
        loop {
            let planned = {
                let mut state = self.state_mut();
                if !std::mem::replace(&mut started, true) {
                    state.writer.starting -= 1;
                }
                let planned = state.plan_write(slices);
                if planned.is_none() {
                    state.writer.lanes -= 1;
                }
                planned
            };
            let Some(Planned { number, file, segment, position, slices: gathered, behind }) = planned else { break };
            let written = file.append_at(position, gathered, behind).await;
            self.on_write_done(number, segment, written.reached, written.result);
            slices = written.slices;
            slices.clear();
        }
        // Another lane may have left because this one was busy, or a segment's file came in between.
        self.start_lanes();
    }

    fn on_write_done(&self, number: u64, segment: Offset, file_reached: u64, result: io::Result<()>) {
        if let Err(source) = result {
            let path = self.state().path(segment, SegmentPart::Log);
            self.fail(LogError::Io { during: "write", path, source });
            return;
        }
        let reached = {
            let mut state = self.state_mut();
            if let Some(segment) = state.segment_mut(segment) {
                segment.reached = segment.reached.max(file_reached);
            }
            if state.life == Life::Failed { None } else { state.writer.complete(number) }
        };
        if let Some(mark) = reached {
            self.on_written_up_to(mark);
        }
    }

    /// Moves the end, and does what follows from that.
    pub(super) fn on_written_up_to(&self, mark: EndMark) {
        {
            let mut state = self.state_mut();
            if mark.offset <= state.end.offset {
                return;
            }
            state.move_end(mark);
        }
        self.shared.bell.ring();
        self.prepare_ahead();
        self.flush_if_due();
        if let Some(observer) = self.observer() {
            observer.on_end_moved(mark.offset);
        }
    }

    /// Opens the file of a segment that was rolled to.
    pub(super) fn begin_opening(&self, base: Offset) {
        let log = self.clone();
        self.shared.world.spawn(Urgency::Foreground, async move {
            // A failure was told to the observer.
            if log.open_segment(base).await.is_ok() {
                log.shared.bell.ring();
                log.start_lanes();
            }
        });
    }

    async fn open_segment(&self, base: Offset) -> Result<(), LogError> {
        self.cut_before(base).await?;
        let (next, path, next_path) = {
            let mut state = self.state_mut();
            let next = match std::mem::replace(&mut state.writer.next, Next::Busy) {
                Next::Ready { file, allocated } => Some((file, allocated)),
                other => {
                    state.writer.next = other;
                    None
                }
            };
            (next, state.path(base, SegmentPart::Log), state.dir.join(NEXT_SEGMENT))
        };
        let world = &self.shared.world;
        let prepared = next.is_some();
        let opened = match next {
            // Under its own name before anything in it counts: the log's end moves over data in it only after that.
            Some((file, allocated)) => world.rename(&next_path, &path).await.map(|()| (file, allocated)),
            None => world.open(&path, OpenMode::CreateOrEmpty).await.map(|file| (file, 0)),
        };
        let (file, allocated) = opened.map_err(LogError::io("create", &path)).map_err(|why| self.fail(why))?;
        let mut state = self.state_mut();
        if prepared {
            state.writer.on_next_gone();
        }
        state.directory = Stored::No;
        if let Some(segment) = state.segment_mut(base) {
            segment.file = Some(file);
            segment.allocated = allocated;
        }
        Ok(())
    }

    /// Waits for the writes to the segments before the one at `base`, and takes off the zeros behind them. A recovery takes zeros for the end of a
    /// log, Kafka's too, and removes the segments that follow: there must be none.
    async fn cut_before(&self, base: Offset) -> Result<(), LogError> {
        let written = self.shared.bell.until(|| {
            let state = self.state();
            let has_failed = state.life == Life::Failed;
            let is_written = state.writer.under_way.is_empty() && state.writer.pending.front().is_none_or(|next| next.segment >= base);
            (has_failed || (is_written && !state.writer.allocating)).then_some(!has_failed)
        });
        if !written.await {
            return Err(LogError::Offline);
        }
        if planted::is(Bug::RolledWithZeros) {
            return Ok(());
        }
        loop {
            let filled = {
                let state = self.state();
                let mut before = state.segments.iter().take_while(|segment| segment.base < base);
                before.find(|segment| segment.reached > segment.len).and_then(|it| Some((it.base, it.file.clone()?, it.len)))
            };
            let Some((segment, file, len)) = filled else { return Ok(()) };
            self.trim(segment, &file, len).await?;
        }
    }

    /// Allocates space for the writer, and makes the next segment's file, before they are needed.
    fn prepare_ahead(&self) {
        if !self.state().is_preparation_due() {
            return;
        }
        let (now, observer) = (self.shared.world.monotonic(), self.observer());
        let roomy = observer.as_ref().is_none_or(|observer| observer.has_space_ahead());
        let wants_zeros = roomy && self.state().wants_zeros();
        let take_turn = || observer.map_or_else(|| Rc::new(Turn::default()).try_take(), |observer| observer.zeros_turn());
        let zeros_turn = if wants_zeros { take_turn() } else { None };
        let (allocate, next) = {
            let mut state = self.state_mut();
            // While it is another's turn this is asked again after the next write, as long as there is space.
            let may_allocate = roomy && (wants_zeros == zeros_turn.is_some() || state.has_little_space());
            let allocate = if may_allocate { state.plan_allocation(now, wants_zeros, zeros_turn.is_some()) } else { None };
            (allocate, state.plan_next(roomy))
        };
        if let Some(allocation) = allocate {
            let log = self.clone();
            self.shared.world.spawn(Urgency::Background, async move {
                log.allocate(allocation).await;
                drop(zeros_turn);
            });
        }
        if let Some((path, to)) = next {
            let log = self.clone();
            self.shared.world.spawn(Urgency::Background, async move {
                let opened = log.shared.world.open(&path, OpenMode::CreateOrEmpty).await;
                let next = match opened {
                    Ok(file) => {
                        let allocated = if to > 0 && file.allocate(to).await.is_ok() { to } else { 0 };
                        Next::Ready { file, allocated }
                    }
                    // Nothing was promised; the roll will try again, and say so if it fails.
                    Err(_) => Next::None,
                };
                log.state_mut().writer.next = next;
                log.shared.bell.ring();
            });
        }
    }

    /// Advice only, all of it: without it, space is taken as it is written, and a sync writes down where.
    async fn allocate(&self, Allocation { segment, file, to, zeros }: Allocation<W::File>) {
        let allocated = file.allocate(to).await.is_ok();
        let zeroed = match zeros.filter(|_| allocated) {
            Some(range) => {
                let result = file.write_zeros(range.start, range.end).await;
                Some((range, result))
            }
            None => None,
        };
        let mut state = self.state_mut();
        state.writer.allocating = false;
        state.writer.zeroing = None;
        let refused = [io::ErrorKind::Unsupported, io::ErrorKind::InvalidInput];
        state.writer.has_no_zeros |= matches!(&zeroed, Some((_, Err(error))) if refused.contains(&error.kind()));
        if let Some(segment) = state.segment_mut(segment) {
            segment.allocated = if allocated { to } else { NO_SPACE_AHEAD };
            if let Some((range, result)) = zeroed {
                segment.reached = segment.reached.max(range.end);
                if result.is_ok() {
                    segment.zeros.add(range);
                }
            }
        }
        drop(state);
        self.shared.bell.ring();
        self.start_lanes();
    }

    /// Waits until every queued batch is written, and nothing else is being done to the active file.
    pub(super) async fn drain(&self) -> Result<(), LogError> {
        let failed = self
            .shared
            .bell
            .until(|| {
                let state = self.state();
                if state.life == Life::Failed {
                    return Some(true);
                }
                let opening = state.active().file.is_none();
                let preparing = matches!(state.writer.next, Next::Busy);
                let busy = !state.writer.is_idle() || state.writer.allocating || opening || preparing;
                (!busy).then_some(false)
            })
            .await;
        if failed { Err(LogError::Offline) } else { Ok(()) }
    }

    /// Flushes soon if `flush.messages` or `flush.ms` says so.
    fn flush_if_due(&self) {
        let (now_due, after) = {
            let mut state = self.state_mut();
            let waiting = state.end.offset.since(state.durable_end);
            // A log that is closed flushes as it closes, or never: one that is deleted would be asked for ever.
            let ended = matches!(state.life, Life::Closed | Life::Failed);
            if waiting <= 0 || !state.settings.flushes_appends() || ended {
                return;
            }
            let now_due = waiting as u64 >= state.settings.flush_messages;
            let timer_due = !now_due && !state.writer.flush_timer;
            let after = if timer_due { state.settings.flush_ms } else { None };
            state.writer.flush_timer |= after.is_some();
            (now_due, after)
        };
        if now_due {
            self.begin_flushing();
        }
        if let Some(ms) = after {
            let log = self.clone();
            self.shared.world.spawn(Urgency::Background, async move {
                log.shared.world.sleep(Duration::from_millis(ms)).await;
                log.state_mut().writer.flush_timer = false;
                log.begin_flushing();
            });
        }
    }

    /// Group commit: one flush at a time, the next for all that was written meanwhile.
    fn begin_flushing(&self) {
        if self.shared.flushing.replace(true) {
            return;
        }
        let log = self.clone();
        self.shared.world.spawn(Urgency::Foreground, async move {
            loop {
                // A failure was told to the observer.
                let flushed = log.sync_written().await.is_ok();
                let mut state = log.state_mut();
                state.writer.syncs += 1;
                let more = state.end.offset.since(state.durable_end) as u64 >= state.settings.flush_messages;
                if !flushed || !more {
                    break;
                }
            }
            log.shared.flushing.set(false);
            log.flush_if_due();
        });
    }
}

impl<W: World> State<W> {
    /// Whether space or a next file may be missing; asked after every write.
    fn is_preparation_due(&self) -> bool {
        self.life == Life::Open && (self.wants_space() || self.wants_next())
    }

    fn wants_space(&self) -> bool {
        let active = self.active();
        let ahead = active.allocated.saturating_sub(active.len);
        let has_enough =
            ahead > self.writer.pace.step - self.writer.pace.step / 4 || active.allocated >= u64::from(self.settings.segment_bytes);
        let may = !self.writer.allocating && !self.writer.held && self.settings.allocate_step_bytes > 0;
        if self.settings.preallocate {
            return may && active.allocated < u64::from(self.settings.segment_bytes);
        }
        may && active.len >= ALLOCATE_FROM && !has_enough
    }

    fn wants_next(&self) -> bool {
        let full = u64::from(self.settings.segment_bytes);
        self.active().len >= full - full / 4 && matches!(self.writer.next, Next::None)
    }

    /// What is allocated is nearly used up.
    fn has_little_space(&self) -> bool {
        let active = self.active();
        active.allocated.saturating_sub(active.len) <= self.writer.pace.step / 8
    }

    /// Whether the space that is allocated next is to have zeros in it: not the first, before there is a pace.
    fn wants_zeros(&self) -> bool {
        let writer = &self.writer;
        if writer.pace.step == 0 {
            return false;
        }
        let syncs = writer.syncs - writer.pace.syncs;
        let bytes = writer.queued_bytes - writer.pace.queued;
        let is_synced_often = syncs > 0 && bytes / syncs <= ZEROS_SYNC_BYTES_MAX;
        is_synced_often && !writer.has_no_zeros && !self.settings.preallocate && self.wants_space()
    }

    fn plan_allocation(&mut self, now: Monotonic, wants_zeros: bool, with_zeros: bool) -> Option<Allocation<W::File>> {
        if self.life != Life::Open || !self.wants_space() {
            return None;
        }
        let segment_bytes = u64::from(self.settings.segment_bytes);
        let most = match (wants_zeros, with_zeros) {
            (false, _) => self.settings.allocate_step_bytes,
            (true, true) => self.settings.allocate_step_bytes.min(ZEROS_STEP_MAX),
            // As little as there must be until it is this log's turn.
            (true, false) => self.settings.allocate_step_bytes.min(ALLOCATE_STEP_FIRST),
        };
        let active = self.segments.back()?;
        let file = active.file.clone()?;
        let (queued, syncs) = (self.writer.queued_bytes, self.writer.syncs);
        let step = if self.settings.preallocate { segment_bytes } else { self.writer.pace.next(queued, syncs, now, most)? };
        let to = (active.len.max(active.allocated) + step).min(segment_bytes);
        let zeros = if with_zeros {
            let behind_queued = (active.len + step / ZEROS_LEAD_PART).next_multiple_of(ZEROS_ALIGN);
            let from = if active.zeros.end() >= active.len { active.zeros.end() } else { behind_queued };
            let end = to.min(from + ZEROS_STEP_MAX).min(segment_bytes - segment_bytes / NEAR_END_PART);
            let end = end - end % ZEROS_ALIGN;
            (from < end).then_some(from..end)
        } else {
            None
        };
        let segment = active.base;
        self.writer.allocating = true;
        self.writer.zeroing = zeros.as_ref().map(|zeros| (segment, zeros.start));
        Some(Allocation { segment, file, to, zeros })
    }

    /// The file for the next segment, once the active one is three quarters full.
    fn plan_next(&mut self, roomy: bool) -> Option<(PathBuf, u64)> {
        if self.life != Life::Open || !self.wants_next() {
            return None;
        }
        self.writer.next = Next::Busy;
        let full = u64::from(self.settings.segment_bytes);
        let to = match (roomy, self.settings.preallocate) {
            (false, _) => 0,
            (true, true) => full,
            (true, false) => self.writer.pace.step.min(self.settings.allocate_step_bytes).min(full),
        };
        Some((self.dir.join(NEXT_SEGMENT), to))
    }
}
