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
mod tests;
