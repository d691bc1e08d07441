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
