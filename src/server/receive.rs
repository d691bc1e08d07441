//! Frames from a socket: an int32 size, then that many bytes, cut out of the receive buffer without a copy.
//!
//! Called by `connection`; calls `io`. One [`FrameReader`] per connection, one [`ReceiveBudget`] per shard.
//!
//! Invariants:
//! 1. Memory is taken as bytes arrive, never as announced: a buffer is filled to at most twice what has arrived of its frame, or what an
//!    earlier frame of the same connection has needed. Addresses are another matter: once [`WHOLE_FROM`] bytes have arrived, a buffer has
//!    them for the whole frame, so that nothing is copied as it grows; the kernel gives it memory where it is filled.
//! 2. A shard's unfinished frames and the requests made from finished ones hold at most `ottla.memory.receive.bytes`, save that the
//!    oldest unfinished frame is read on when no request is left to wait for: a full budget slows connections down and never deadlocks.
//! 3. A frame keeps its reservation until its request is answered, or until the request waits for something else than the broker's work
//!    ([`Reservation::on_parked`]): what may wait for hours holds nobody up.
//! 4. A connection may hold [`OWN_MAX`] whatever others hold: those who fill the budget cannot stop the small requests of the rest.
//! 5. Giving back the memory of a large frame takes milliseconds: that is done off the shard.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use bytes::{Buf, Bytes, BytesMut};

use crate::io::{READ_BYTES_MAX, Reader};

/// Bytes of the size that begins a frame.
pub const SIZE_LEN: usize = 4;
/// Room for the first read of a connection, and for many small frames in one read.
const SMALL_READ: usize = 16 * 1024;
/// What a frame of unknown worth may have at first.
const FIRST_RESERVE: usize = 64 * 1024;
/// What an earlier frame may vouch for.
const TRUSTED_MAX: usize = 2 * 1024 * 1024;

/// Bytes of a frame that have to have arrived before its buffer is made as large as it announces to be. So many frames at most are that
/// far as fit into the budget, and one more.
const WHOLE_FROM: usize = 256 * 1024;
/// A frame that announces more is read in the background.
const LONG_FROM: usize = 2 * 1024 * 1024;
/// Buffers of this size and more are freed off the shard, and as soon as nobody needs them.
pub const LARGE_FROM: usize = 1024 * 1024;

/// What a connection may hold beside a budget that is used up: a small request at work, and room to read the next.
const OWN_MAX: usize = 2 * SMALL_READ;

/// A request's bytes, and its hold on the shard's receive memory.
pub struct Frame {
    pub bytes: Bytes,
    pub reservation: Reservation,
}

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a frame announces {size} bytes; socket.request.max.bytes allows {max}")]
    Size { size: i32, max: usize },
    #[error("the connection ended inside a frame")]
    CutShort,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What becomes of a frame under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Course {
    /// Bytes have arrived.
    Arriving,
    /// Nothing is read until there is memory; the peer cannot help it.
    Held,
    /// There is memory, and the peer is expected to go on.
    Resumed,
}

pub struct FrameReader<R> {
    reader: R,
    buffer: BytesMut,
    frame_max: usize,
    /// What the unfinished frame holds of the budget.
    reservation: Reservation,
    /// The largest recent frame: the next may be given as much at once.
    trusted: usize,
    /// Up to where the buffer may be filled, if it has room for a whole large frame.
    granted: Option<usize>,
    /// The frame under way is read in the background.
    is_long: bool,
}

impl<R: Reader> FrameReader<R> {
    pub fn new(reader: R, frame_max: usize, budget: Rc<ReceiveBudget>) -> Self {
        let reservation = Reservation { budget, own: Rc::default(), held: 0, age: None, is_finished: false, large: None };
        Self {
            reader,
            buffer: BytesMut::with_capacity(SMALL_READ),
            frame_max,
            reservation,
            trusted: FIRST_RESERVE,
            granted: None,
            is_long: false,
        }
    }

    /// Whether part of a frame has arrived.
    pub fn mid_frame(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// A frame that has already arrived whole.
    pub fn try_next(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(size) = self.announced()? else { return Ok(None) };
        if self.buffer.len() < SIZE_LEN + size {
            return Ok(None);
        }
        self.buffer.advance(SIZE_LEN);
        let bytes = self.buffer.split_to(size).freeze();
        self.trusted = self.trusted.max(size).min(TRUSTED_MAX);
        let next = self.reservation.beside();
        let mut reservation = std::mem::replace(&mut self.reservation, next);
        reservation.finish(size);
        if size >= LARGE_FROM {
            reservation.large = Some(bytes.clone());
            self.leave_behind();
        }
        self.granted = None;
        Ok(Some(Frame { bytes, reservation }))
    }

    /// Moves what has arrived behind a large frame, so that the buffer does not keep that frame's memory until the next is read.
    fn leave_behind(&mut self) {
        if self.buffer.len() <= SMALL_READ {
            let mut small = BytesMut::with_capacity(SMALL_READ);
            small.extend_from_slice(&self.buffer);
            self.buffer = small;
        }
    }

    /// The next frame; `None` when the peer ended the connection between frames. Tells `on` what becomes of it.
    pub async fn next(&mut self, on: impl Fn(Course)) -> Result<Option<Frame>, FrameError> {
        loop {
            let whole = self.try_next()?;
            self.choose_pace(whole.is_none())?;
            if whole.is_some() {
                return Ok(whole);
            }
            self.make_room(&on).await?;
            let read = self.reader.read(&mut self.buffer).await?;
            if read == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(FrameError::CutShort) };
            }
            on(Course::Arriving);
        }
    }

    /// A long frame is read in the background until it is whole.
    fn choose_pace(&mut self, is_unfinished: bool) -> Result<(), FrameError> {
        let is_long = is_unfinished && self.announced()?.is_some_and(|size| size > LONG_FROM);
        if is_long != self.is_long {
            self.is_long = is_long;
            self.reader.read_in_background(is_long);
        }
        Ok(())
    }

    /// The size that the buffer's first bytes announce.
    fn announced(&self) -> Result<Option<usize>, FrameError> {
        let Some(prefix) = self.buffer.first_chunk::<SIZE_LEN>() else { return Ok(None) };
        let size = i32::from_be_bytes(*prefix);
        if size < 0 || size as usize > self.frame_max {
            return Err(FrameError::Size { size, max: self.frame_max });
        }
        Ok(Some(size as usize))
    }

    /// Makes sure that a read has room, and not much more than the frame under way still needs.
    async fn make_room(&mut self, on: &impl Fn(Course)) -> Result<(), FrameError> {
        let arrived = self.buffer.len();
        let missing = match self.announced()? {
            Some(size) => SIZE_LEN + size - arrived,
            None => SIZE_LEN - arrived,
        };
        let enough = match self.granted {
            Some(granted) => granted >= arrived + missing.min(READ_BYTES_MAX),
            None => self.buffer.capacity() - arrived >= missing.min(SMALL_READ),
        };
        if enough {
            return Ok(());
        }
        let room = if missing <= SMALL_READ {
            SMALL_READ
        } else {
            // The next frame's size is read along, so that its buffer begins with it and nothing has to be moved.
            let ahead = self.granted.map_or(0, |granted| granted.saturating_sub(arrived));
            (missing + SIZE_LEN - ahead.min(missing)).min(self.trusted.max(arrived))
        };
        if self.reservation.must_wait_for(room) {
            on(Course::Held);
            self.reservation.grow(room).await;
            on(Course::Resumed);
        } else {
            self.reservation.grow(room).await;
        }
        if self.granted.is_none() {
            let whole = missing + SIZE_LEN;
            if arrived >= WHOLE_FROM && room < whole && has_addresses(whole) {
                self.buffer.reserve(whole);
            } else {
                self.buffer.reserve(room);
                return Ok(());
            }
        }
        self.granted = Some(self.granted.unwrap_or(arrived) + room);
        Ok(())
    }
}

/// Whether the system has so many addresses to give: where it promises no more memory than it has, it may not, and a buffer that is not
/// granted ends the process.
fn has_addresses(len: usize) -> bool {
    Vec::<u8>::new().try_reserve_exact(len).is_ok()
}

impl<R> Drop for FrameReader<R> {
    fn drop(&mut self) {
        if self.buffer.capacity() >= LARGE_FROM {
            self.reservation.budget.free(std::mem::take(&mut self.buffer).freeze());
        }
    }
}

/// One shard's receive memory.
pub struct ReceiveBudget {
    limit: usize,
    used: Cell<usize>,
    /// The part of it that requests hold.
    finished: Cell<usize>,
    next_age: Cell<u64>,
    /// Unfinished frames by age, with those that wait for memory.
    unfinished: RefCell<BTreeMap<u64, Option<Waiting>>>,
    /// Drops what it is given, somewhere else.
    elsewhere: Box<dyn Fn(Bytes)>,
}

impl ReceiveBudget {
    /// `limit` in bytes: `ottla.memory.receive.bytes`. `elsewhere` drops large buffers where it keeps nobody waiting.
    pub fn new(limit: usize, elsewhere: impl Fn(Bytes) + 'static) -> Rc<Self> {
        let elsewhere = Box::new(elsewhere);
        let (used, finished, next_age) = (Cell::new(0), Cell::new(0), Cell::new(0));
        Rc::new(Self { limit, used, finished, next_age, unfinished: RefCell::default(), elsewhere })
    }

    fn free(&self, large: Bytes) {
        (self.elsewhere)(large);
    }

    /// In bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Bytes held.
    pub fn used(&self) -> usize {
        self.used.get()
    }

    /// Counts bytes that are there already and outlive their connection, until what is returned is dropped.
    pub fn hold(self: &Rc<Self>, bytes: usize) -> Reservation {
        self.used.set(self.used.get() + bytes);
        self.finished.set(self.finished.get() + bytes);
        let own = Rc::new(Own { held: Cell::new(bytes), waiting: Cell::new(None) });
        Reservation { budget: self.clone(), own, held: bytes, age: None, is_finished: true, large: None }
    }

    /// Wakes the oldest, and of the others as many as there is memory for.
    fn wake_waiting(&self) {
        let mut room = self.limit.saturating_sub(self.used.get());
        let mut is_oldest = true;
        let mut woken = Vec::new();
        for waiting in self.unfinished.borrow_mut().values_mut() {
            if room == 0 && !is_oldest {
                break;
            }
            let fits = waiting.as_ref().is_some_and(|waiting| waiting.bytes <= room);
            if is_oldest || fits {
                room -= if fits { waiting.as_ref().map_or(0, |waiting| waiting.bytes) } else { 0 };
                woken.extend(waiting.take());
            }
            is_oldest = false;
        }
        for waiting in woken {
            waiting.waker.wake();
        }
    }
}

/// An unfinished frame that there is no memory for.
struct Waiting {
    bytes: usize,
    waker: Waker,
}

/// What the frames of one connection share.
#[derive(Default)]
struct Own {
    /// Bytes held by all of them.
    held: Cell<usize>,
    /// Age of the one that waits for memory, if one does.
    waiting: Cell<Option<u64>>,
}

/// A hold on receive memory; given back when dropped.
pub struct Reservation {
    budget: Rc<ReceiveBudget>,
    own: Rc<Own>,
    held: usize,
    /// Set while the frame is unfinished.
    age: Option<u64>,
    /// The frame is whole: what is held counts as its request's.
    is_finished: bool,
    /// The whole frame, if it is large: the last to let go of it, so that it is freed elsewhere.
    large: Option<Bytes>,
}

impl Reservation {
    /// An empty one, of the same connection.
    fn beside(&self) -> Self {
        Self { budget: self.budget.clone(), own: self.own.clone(), held: 0, age: None, is_finished: false, large: None }
    }

    /// The frame's place among the unfinished ones.
    fn age(&mut self) -> u64 {
        *self.age.get_or_insert_with(|| {
            let age = self.budget.next_age.get();
            self.budget.next_age.set(age + 1);
            self.budget.unfinished.borrow_mut().insert(age, None);
            age
        })
    }

    fn must_wait_for(&mut self, bytes: usize) -> bool {
        let age = self.age();
        let budget = &self.budget;
        if budget.used.get() + bytes <= budget.limit || self.own.held.get() + bytes <= OWN_MAX {
            return false;
        }
        let is_oldest = budget.unfinished.borrow().first_key_value().is_none_or(|(first, _)| *first == age);
        // Requests end by themselves and give their memory back.
        !(is_oldest && budget.finished.get() == 0)
    }

    async fn grow(&mut self, bytes: usize) {
        poll_fn(|cx| {
            if !self.must_wait_for(bytes) {
                self.own.waiting.set(None);
                return Poll::Ready(());
            }
            let age = self.age();
            self.own.waiting.set(Some(age));
            self.budget.unfinished.borrow_mut().insert(age, Some(Waiting { bytes, waker: cx.waker().clone() }));
            Poll::Pending
        })
        .await;
        let budget = &self.budget;
        budget.used.set(budget.used.get() + bytes);
        self.own.held.set(self.own.held.get() + bytes);
        self.held += bytes;
    }

    fn give_back(&mut self, bytes: usize) {
        self.budget.used.set(self.budget.used.get() - bytes);
        self.own.held.set(self.own.held.get() - bytes);
        self.held -= bytes;
        if self.is_finished {
            self.budget.finished.set(self.budget.finished.get() - bytes);
        }
    }

    /// The frame is whole: it holds what it is, and the next oldest is read on.
    fn finish(&mut self, size: usize) {
        self.give_back(self.held.saturating_sub(size));
        self.is_finished = true;
        self.budget.finished.set(self.budget.finished.get() + self.held);
        self.leave();
    }

    /// The request waits for others than the broker: for records, for the members of a group. Its memory is given back to the system if it
    /// is large and nothing of it is needed any more, and what little it keeps holds nobody up.
    pub fn on_parked(&mut self) {
        if self.large.as_ref().is_some_and(|large| !large.is_unique()) {
            return;
        }
        if let Some(large) = self.large.take() {
            self.budget.free(large);
        }
        if self.held > 0 {
            self.give_back(self.held);
            self.wake_waiting();
        }
    }

    fn leave(&mut self) {
        if let Some(age) = self.age.take() {
            self.budget.unfinished.borrow_mut().remove(&age);
            self.budget.wake_waiting();
        }
    }

    /// Wakes who may go on now: also the connection's own next frame, which little is always allowed.
    fn wake_waiting(&self) {
        self.budget.wake_waiting();
        let mut woken = None;
        if let Some(age) = self.own.waiting.get()
            && let Some(waiting) = self.budget.unfinished.borrow_mut().get_mut(&age)
            && waiting.as_ref().is_some_and(|waiting| self.own.held.get() + waiting.bytes <= OWN_MAX)
        {
            woken = waiting.take();
        }
        if let Some(waiting) = woken {
            waiting.waker.wake();
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.leave();
        if let Some(large) = self.large.take() {
            self.budget.free(large);
        }
        if self.held > 0 {
            self.give_back(self.held);
            self.wake_waiting();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::Future;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    type Arriving = Rc<RefCell<VecDeque<Vec<u8>>>>;

    /// Hands out one prepared piece per read; pends when there is none. Knows whether it was told to read in the background.
    struct Pieces(Arriving, Rc<Cell<bool>>);

    impl Reader for Pieces {
        async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
            let pieces = self.0.clone();
            let mut piece = poll_fn(|_| match pieces.borrow_mut().pop_front() {
                Some(piece) => Poll::Ready(piece),
                None => Poll::Pending,
            })
            .await;
            let room = buffer.capacity() - buffer.len();
            assert!(room > 0, "a read has room");
            if piece.len() > room {
                let rest = piece.split_off(room);
                self.0.borrow_mut().push_front(rest);
            }
            buffer.extend_from_slice(&piece);
            Ok(piece.len())
        }

        fn read_in_background(&mut self, is_long: bool) {
            self.1.set(is_long);
        }
    }

    fn frame(size: usize) -> Vec<u8> {
        let mut bytes = (size as i32).to_be_bytes().to_vec();
        bytes.extend((0..size).map(|index| index as u8));
        bytes
    }

    fn reader(budget: &Rc<ReceiveBudget>) -> (FrameReader<Pieces>, Arriving) {
        let pieces = Rc::new(RefCell::new(VecDeque::new()));
        (FrameReader::new(Pieces(pieces.clone(), Rc::default()), 100 << 20, budget.clone()), pieces)
    }

    #[test]
    fn frames_cut_anywhere_come_out_whole() {
        let sizes = [0, 1, 5, 70_000, 3, 200_000, 1_000_000, 12, 64 * 1024];
        let stream: Vec<u8> = sizes.iter().flat_map(|&size| frame(size)).collect();
        for step in [1 << 20, 4096, 4097, 77_777] {
            let budget = ReceiveBudget::new(64 << 20, drop);
            let (mut frames, pieces) = reader(&budget);
            pieces.borrow_mut().extend(stream.chunks(step).map(<[u8]>::to_vec));
            pieces.borrow_mut().push_back(Vec::new());
            for &size in &sizes {
                let got = block_on(frames.next(|_| ())).unwrap().expect("a frame");
                assert_eq!(got.bytes, frame(size)[SIZE_LEN..], "step {step}");
            }
            assert!(block_on(frames.next(|_| ())).unwrap().is_none());
            drop(frames);
            assert_eq!(budget.used(), 0);
        }
    }

    #[test]
    fn an_announced_size_takes_no_memory() {
        let budget = ReceiveBudget::new(1 << 30, drop);
        let (mut frames, pieces) = reader(&budget);
        pieces.borrow_mut().push_back((100_i32 << 20).to_be_bytes().to_vec());
        assert!(block_on(poll_once(frames.next(|_| ()))).is_none());
        assert!(budget.used() <= FIRST_RESERVE, "{}", budget.used());
    }

    /// Nothing of a large frame is copied as it grows, its memory is accounted for as it is filled, and it is freed elsewhere.
    #[test]
    fn a_large_frame_is_filled_where_it_lies() {
        let freed: Rc<RefCell<Vec<usize>>> = Rc::default();
        let told = freed.clone();
        let budget = ReceiveBudget::new(1 << 30, move |bytes: Bytes| told.borrow_mut().push(bytes.len()));
        let (mut frames, pieces) = reader(&budget);
        let whole = frame(40 << 20);
        let (mut sent, mut at) = (0, Vec::new());
        while sent < whole.len() - 1 {
            let next = (sent + 100_000).min(whole.len() - 1);
            pieces.borrow_mut().push_back(whole[sent..next].to_vec());
            sent = next;
            assert!(block_on(poll_once(frames.next(|_| ()))).is_none());
            assert!(budget.used() <= 2 * (sent + READ_BYTES_MAX), "{} bytes held of {sent}", budget.used());
            if sent > 2 * WHOLE_FROM {
                at.push(frames.buffer.as_ptr());
            }
        }
        assert!(at.windows(2).all(|pair| pair[0] == pair[1]), "moved while it grew");
        pieces.borrow_mut().push_back(whole[sent..].to_vec());
        let got = block_on(frames.next(|_| ())).unwrap().expect("a frame");
        assert_eq!(got.bytes, whole[SIZE_LEN..]);
        drop(got);
        assert_eq!((freed.take(), budget.used()), (vec![40 << 20], 0));
        // One that never ends is given back as well.
        pieces.borrow_mut().push_back(whole[..10 << 20].to_vec());
        assert!(block_on(poll_once(frames.next(|_| ()))).is_none());
        drop(frames);
        assert_eq!((freed.take().len(), budget.used()), (1, 0));
    }

    /// From the first bytes that announce it to its last, and no longer.
    #[test]
    fn a_long_frame_is_read_in_the_background() {
        let budget = ReceiveBudget::new(1 << 30, drop);
        let (mut frames, pieces) = reader(&budget);
        let in_background = frames.reader.1.clone();
        let mut next = |bytes: &[u8]| {
            pieces.borrow_mut().push_back(bytes.to_vec());
            let got = block_on(poll_once(frames.next(|_| ()))).map(|got| got.unwrap().expect("a frame"));
            (got.map(|got| got.bytes.len()), in_background.get())
        };
        assert_eq!(next(&frame(LONG_FROM)[..10]), (None, false));
        assert_eq!(next(&frame(LONG_FROM)[10..]), (Some(LONG_FROM), false));
        let long = frame(LONG_FROM + 1);
        assert_eq!(next(&long[..SIZE_LEN]), (None, true));
        assert_eq!(next(&long[SIZE_LEN..long.len() - 1]), (None, true));
        assert_eq!(next(&long[long.len() - 1..]), (Some(LONG_FROM + 1), false));
        assert_eq!(next(&frame(1)), (Some(1), false));
    }

    #[test]
    fn sizes_out_of_range_are_refused() {
        for size in [-1, i32::MIN, i32::MAX, (100 << 20) + 1] {
            let budget = ReceiveBudget::new(1 << 30, drop);
            let (mut frames, pieces) = reader(&budget);
            pieces.borrow_mut().push_back(size.to_be_bytes().to_vec());
            assert!(matches!(block_on(frames.next(|_| ())), Err(FrameError::Size { .. })));
        }
    }

    #[test]
    fn at_the_limit_only_the_oldest_frame_is_read_on() {
        let budget = ReceiveBudget::new(100_000, drop);
        let (mut first, first_pieces) = reader(&budget);
        let (mut second, second_pieces) = reader(&budget);
        let whole = frame(90_000);
        first_pieces.borrow_mut().push_back(whole[..10].to_vec());
        assert!(block_on(poll_once(first.next(|_| ()))).is_none());
        second_pieces.borrow_mut().push_back(whole.clone());
        assert!(block_on(poll_once(second.next(|_| ()))).is_none(), "no memory for a second frame of this size");
        first_pieces.borrow_mut().push_back(whole[10..].to_vec());
        let done = block_on(first.next(|_| ())).unwrap().expect("the oldest is read on");
        drop(done);
        assert!(block_on(second.next(|_| ())).unwrap().is_some());
    }

    /// Frame after frame, each of them the oldest in its turn, must not add up while their requests are at work.
    #[test]
    fn requests_at_work_hold_up_the_oldest_frame_too() {
        let budget = ReceiveBudget::new(100_000, drop);
        let (mut first, first_pieces) = reader(&budget);
        let (mut second, second_pieces) = reader(&budget);
        first_pieces.borrow_mut().push_back(frame(90_000));
        let mut at_work = block_on(first.next(|_| ())).unwrap().expect("a frame");
        second_pieces.borrow_mut().push_back(frame(90_000));
        let courses = RefCell::new(Vec::new());
        let mut reading = Box::pin(second.next(|course| courses.borrow_mut().push(course)));
        assert!(block_on(poll_once(&mut reading)).is_none(), "the only unfinished frame, and no memory");
        assert_eq!(courses.borrow().last(), Some(&Course::Held));
        // A request that waits for others gives way.
        at_work.reservation.on_parked();
        assert!(block_on(poll_once(&mut reading)).expect("woken").unwrap().is_some());
        assert!(courses.borrow().contains(&Course::Resumed));
        drop(reading);
        drop((at_work, first, second));
        assert_eq!((budget.used(), budget.finished.get()), (0, 0));
    }

    /// And is given back at once, unless the request needs some of it.
    #[test]
    fn a_large_frame_of_a_request_that_waits_is_freed() {
        let freed: Rc<Cell<usize>> = Rc::default();
        let told = freed.clone();
        let budget = ReceiveBudget::new(1 << 30, move |bytes: Bytes| told.set(told.get() + bytes.len()));
        let (mut frames, pieces) = reader(&budget);
        let size = LARGE_FROM + 5;
        pieces.borrow_mut().push_back([frame(size), frame(3)].concat());
        let Frame { bytes, mut reservation } = block_on(frames.next(|_| ())).unwrap().expect("a frame");
        let name = bytes.slice(10..20);
        drop(bytes);
        reservation.on_parked();
        assert_eq!(freed.get(), 0);
        assert!(budget.finished.get() > 0);
        drop(name);
        reservation.on_parked();
        assert_eq!((freed.get(), budget.finished.get()), (size, 0));
        let next = block_on(frames.next(|_| ())).unwrap().expect("what had arrived behind it");
        assert_eq!(next.bytes, frame(3)[SIZE_LEN..]);
    }

    #[test]
    fn memory_given_back_wakes_no_more_than_it_suffices_for() {
        let budget = ReceiveBudget::new(100_000, drop);
        let (mut holder, pieces) = reader(&budget);
        pieces.borrow_mut().push_back(frame(90_000));
        let at_work = block_on(holder.next(|_| ())).unwrap().expect("a frame");
        let mut waiting: Vec<_> = (0..5).map(|_| reader(&budget)).collect();
        let mut woken = Vec::new();
        let mut readings: Vec<_> = waiting
            .iter_mut()
            .map(|(frames, pieces)| {
                pieces.borrow_mut().push_back(frame(60_000));
                Box::pin(frames.next(|_| ()))
            })
            .collect();
        for reading in &mut readings {
            let counter = Arc::new(Count(AtomicUsize::new(0)));
            let waker = Waker::from(counter.clone());
            assert!(reading.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
            woken.push(counter);
        }
        drop(at_work);
        let counts: Vec<usize> = woken.iter().map(|count| count.0.load(Ordering::Relaxed)).collect();
        // Each has its first 16 KiB and asks for the other 44,000.
        assert_eq!(counts, [1, 1, 0, 0, 0]);
    }

    struct Count(AtomicUsize);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn what_outlives_its_connection_counts_until_it_is_let_go() {
        let budget = ReceiveBudget::new(100_000, drop);
        let held = budget.hold(90_000);
        let (mut first, first_pieces) = reader(&budget);
        let (mut second, second_pieces) = reader(&budget);
        first_pieces.borrow_mut().push_back(frame(90_000)[..10].to_vec());
        assert!(block_on(poll_once(first.next(|_| ()))).is_none());
        second_pieces.borrow_mut().push_back(frame(60_000));
        assert!(block_on(poll_once(second.next(|_| ()))).is_none(), "no memory");
        drop((held, first));
        assert!(block_on(second.next(|_| ())).unwrap().is_some());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn small_requests_pass_those_who_fill_the_budget() {
        let budget = ReceiveBudget::new(95_000, drop);
        let (mut large, large_pieces) = reader(&budget);
        large_pieces.borrow_mut().push_back(frame(95_000)[..80_000].to_vec());
        assert!(block_on(poll_once(large.next(|_| ()))).is_none());
        assert!(budget.used() + SMALL_READ > budget.limit(), "{} bytes held", budget.used());
        let (mut small, small_pieces) = reader(&budget);
        for _ in 0..200 {
            small_pieces.borrow_mut().push_back(frame(1000));
            let got = block_on(poll_once(small.next(|_| ()))).expect("it need not wait").unwrap();
            assert_eq!(got.expect("a frame").bytes.len(), 1000);
        }
    }

    /// Nobody else gives back what it waits for.
    #[test]
    fn what_a_connection_gives_back_lets_its_own_next_frame_go_on() {
        let budget = ReceiveBudget::new(95_000, drop);
        let (mut large, large_pieces) = reader(&budget);
        large_pieces.borrow_mut().push_back(frame(95_000)[..80_000].to_vec());
        assert!(block_on(poll_once(large.next(|_| ()))).is_none());
        let (mut frames, pieces) = reader(&budget);
        pieces.borrow_mut().push_back(frame(20_000));
        let first = block_on(poll_once(frames.next(|_| ()))).expect("it need not wait").unwrap().expect("a frame");
        pieces.borrow_mut().extend([frame(20_000)[..1000].to_vec(), frame(20_000)[1000..].to_vec()]);
        let mut next = Box::pin(frames.next(|_| ()));
        let woken = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(woken.clone());
        assert!(next.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending(), "two are more than what is always allowed");
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        drop(first);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert!(next.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_ready());
    }
}
