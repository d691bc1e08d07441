//! One client's connection: frames in, responses out in request order, requests pipelined between.
//!
//! Called by `listener`; calls `receive`, `dispatch`, `io`. Lives on the shard that accepted it.
//!
//! Invariants:
//! 1. Responses leave in request order.
//! 2. A produce request may start while earlier produce requests are unanswered, their batches already in order at their owners. Any
//!    other request starts once all earlier ones are answered, as in Kafka, where a connection has one request at work.
//! 3. At most `ottla.connection.in.flight.max` requests are unanswered; then nothing more is read, and the peer's window closes.
//! 4. A connection without a byte in either direction for `connections.max.idle.ms`, or inside a frame for `ottla.frame.progress.timeout.ms`, is closed.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Poll, Waker};

use bytes::{Bytes, BytesMut};
use futures_lite::FutureExt;
use futures_lite::future::poll_once;

use crate::io::{Accepted, Follows, World, Writer};
use crate::metrics::{Closure, Course, Registry, Timing};
use crate::shard::census::Seat;
use crate::storage::planted::{self, Bug};
use crate::types::Monotonic;
use crate::wire::api::ApiKey;
use crate::wire::error::ErrorCode;
use crate::wire::header::RequestHeader;

use super::Server;
use super::dispatch::{self, Started};
use super::receive::{Course as FrameCourse, Frame, FrameError, FrameReader, LARGE_FROM, Reservation, SIZE_LEN};
use super::response::{Chunk, Response};

/// Responses up to this size are gathered into one send.
const GATHER_MAX: usize = 64 * 1024;

/// Which of a listener's ports a connection came in by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Door {
    /// The node's: every shard accepts there.
    Node,
    /// The shard's own (`ottla.shard.listeners`).
    Shard,
}

/// What the handlers know of the connection a request came on.
pub struct Peer {
    pub address: std::net::SocketAddr,
    /// Index into the settings' listeners: answers name this listener's endpoints.
    pub listener: usize,
    pub door: Door,
    turn: Cell<usize>,
    parked: Cell<Option<Monotonic>>,
}

impl Peer {
    /// Counts the connection's fetches, so that each begins its division of `max.bytes` one partition further.
    pub fn rotate(&self) -> usize {
        self.turn.replace(self.turn.get().wrapping_add(1))
    }

    /// The fetch under way found too little and waits from now on. A connection has one fetch under way.
    pub fn on_parked(&self, now: Monotonic) {
        if self.parked.get().is_none() {
            self.parked.set(Some(now));
        }
    }
}

/// A connection as its shard's sweeper sees it.
pub struct Vitals {
    last_byte: Cell<Monotonic>,
    in_frame: Cell<bool>,
    /// Bytes that the socket has taken, and how many it had, and since when, as far as the sweeper has seen.
    taken: Rc<Cell<u64>>,
    taken_seen: Cell<(u64, Monotonic)>,
    closing: Cell<Option<Closure>>,
    waker: RefCell<Option<Waker>>,
}

impl Vitals {
    fn new(now: Monotonic, taken: Rc<Cell<u64>>) -> Self {
        Self {
            last_byte: Cell::new(now),
            in_frame: Cell::new(false),
            taken,
            taken_seen: Cell::new((0, now)),
            closing: Cell::new(None),
            waker: RefCell::default(),
        }
    }

    pub fn last_byte(&self) -> Monotonic {
        self.last_byte.get()
    }

    /// Inside a frame that has not wholly arrived.
    pub fn in_frame(&self) -> bool {
        self.in_frame.get()
    }

    /// When a byte last went either way, to the sweeper's accuracy. As in Kafka, a request under way is no excuse.
    pub fn last_progress(&self, now: Monotonic) -> Monotonic {
        if self.taken.get() != self.taken_seen.get().0 {
            self.taken_seen.set((self.taken.get(), now));
        }
        self.last_byte.get().max(self.taken_seen.get().1)
    }

    pub fn close(&self, why: Closure) {
        self.closing.set(Some(why));
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn closed(&self) -> Closure {
        poll_fn(|cx| {
            if let Some(why) = self.closing.get() {
                return Poll::Ready(why);
            }
            *self.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

type Answer<W> = Pin<Box<dyn Future<Output = Response<W>>>>;

/// A request whose response has not left.
struct Unanswered<W: World> {
    answer: Answer<W>,
    measured: Measured,
    memory: Reservation,
}

/// A request as the metrics follow it.
#[derive(Clone, Copy)]
struct Measured {
    key: i16,
    course: Course,
    /// Whether it was handed on as soon as it was started; else when it parks, or not before its answer is ready.
    handed_on: bool,
}

impl Measured {
    fn on_ready(&mut self, peer: &Peer, now: Monotonic) {
        if !self.handed_on {
            self.course.handed_on = peer.parked.take().unwrap_or(now);
        }
        self.course.ready = now;
    }
}

/// Answers on their way to the socket, until it has taken them.
struct Leaving<'a> {
    metrics: &'a Registry,
    measured: Vec<Measured>,
}

impl Leaving<'_> {
    fn push(&mut self, measured: Measured) {
        if self.metrics.timing() == Timing::On {
            self.measured.push(measured);
        }
    }

    fn on_flushed(&mut self, reading: impl FnOnce() -> Monotonic) {
        if self.measured.is_empty() {
            return;
        }
        let sent = reading();
        for Measured { key, mut course, .. } in self.measured.drain(..) {
            course.sent = sent;
            self.metrics.requests.on_sent(key, &course);
        }
    }
}

/// The requests of one connection between its reading and its writing half.
struct Pipeline<W: World> {
    queue: RefCell<VecDeque<Unanswered<W>>>,
    /// Requests taken from the queue whose response is not yet handed to the socket.
    leaving: Cell<usize>,
    in_flight_max: usize,
    reading: RefCell<Option<Waker>>,
    writing: RefCell<Option<Waker>>,
}

impl<W: World> Pipeline<W> {
    fn push(&self, unanswered: Unanswered<W>) {
        self.queue.borrow_mut().push_back(unanswered);
        wake(&self.writing);
    }

    async fn pop(&self) -> Unanswered<W> {
        poll_fn(|cx| match self.try_pop() {
            Some(unanswered) => Poll::Ready(unanswered),
            None => {
                *self.writing.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    fn try_pop(&self) -> Option<Unanswered<W>> {
        let mut queue = self.queue.borrow_mut();
        let unanswered = if planted::is(Bug::ReplyOrderSwapped) { queue.pop_back() } else { queue.pop_front() }?;
        self.leaving.set(self.leaving.get() + 1);
        Some(unanswered)
    }

    /// Has every request begin that was read and not looked at yet: a client that says goodbye and closes does not wait for answers.
    async fn begin_all(&self) {
        let queue = self.queue.take();
        for mut unanswered in queue {
            let _nobody_reads_it = poll_once(&mut unanswered.answer).await;
        }
    }

    /// The responses popped so far are with the socket.
    fn left(&self) {
        self.leaving.set(0);
        wake(&self.reading);
    }

    fn unanswered(&self) -> usize {
        self.queue.borrow().len() + self.leaving.get()
    }

    async fn below(&self, count: usize) {
        poll_fn(|cx| {
            if self.unanswered() < count {
                return Poll::Ready(());
            }
            *self.reading.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

fn wake(slot: &RefCell<Option<Waker>>) {
    let waker = slot.borrow_mut().take();
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Serves a connection until either side ends it.
pub async fn serve<W: World>(server: Rc<Server<W>>, accepted: Accepted<W::Reader, W::Writer>, (listener, door): (usize, Door), seat: Seat) {
    let vitals = Rc::new(Vitals::new(server.shard.timers().now(), accepted.writer.taken()));
    let _registered = server.register(seat, vitals.clone());
    let peer = Rc::new(Peer { address: accepted.peer, listener, door, turn: Cell::new(0), parked: Cell::new(None) });
    let settings = server.shard.settings();
    let pipeline = Pipeline {
        queue: RefCell::default(),
        leaving: Cell::new(0),
        in_flight_max: settings.network.connection_in_flight_max as usize,
        reading: RefCell::default(),
        writing: RefCell::default(),
    };
    let frames = FrameReader::new(accepted.reader, settings.network.request_bytes_max as usize, server.receive_budget.clone());
    let mut writer = accepted.writer;
    let ended = read_requests(&server, &peer, frames, &pipeline, &vitals)
        .or(write_responses(&server, &peer, &mut writer, &pipeline))
        .or(async { Ended::Told(vitals.closed().await) })
        .await;
    let closure = match ended {
        Ended::ByPeer => Closure::Peer,
        Ended::Told(closure) => closure,
        Ended::Broken(closure, why) => {
            tracing::debug!("{}: connection closed: {why}", peer.address);
            closure
        }
    };
    server.metrics().connections.on_closed(closure);
    writer.close();
}

/// Why a connection ended.
enum Ended {
    ByPeer,
    /// By the sweeper, or as the broker closes.
    Told(Closure),
    Broken(Closure, String),
}

async fn read_requests<W: World>(
    server: &Rc<Server<W>>,
    peer: &Rc<Peer>,
    mut frames: FrameReader<W::Reader>,
    pipeline: &Pipeline<W>,
    vitals: &Vitals,
) -> Ended {
    let (timers, metrics) = (server.shard.timers(), server.metrics());
    // When the request before was out of the way.
    let mut free_since = Monotonic::default();
    // Whether everything unanswered is produce requests.
    let mut only_produce = true;
    loop {
        vitals.in_frame.set(frames.mid_frame());
        let next = frames
            .next(|course| {
                // While there is no memory, the peer is not expected to send anything.
                vitals.in_frame.set(course != FrameCourse::Held);
                vitals.last_byte.set(timers.now());
            })
            .await;
        vitals.in_frame.set(false);
        let frame = match next {
            Ok(Some(frame)) => frame,
            Err(error) if !matches!(&error, FrameError::Io(error) if is_ordinary_end(error)) => {
                // What came before it is answered first.
                pipeline.below(1).await;
                return Ended::Broken(closure_of(&error), error.to_string());
            }
            Ok(None) | Err(_) => {
                pipeline.begin_all().await;
                return Ended::ByPeer;
            }
        };
        let Frame { bytes, reservation } = frame;
        metrics.connections.on_received(SIZE_LEN + bytes.len());
        let arrived = vitals.last_byte();
        let (header, body) = match RequestHeader::decode(&bytes) {
            // The request may wait for hours, and shall not keep so much for a name.
            Ok((header, body)) if bytes.len() >= LARGE_FROM => (header.detached(), body),
            Ok(decoded) => decoded,
            Err(error) => {
                pipeline.below(1).await;
                let Some(response) = dispatch::answer_bad_header(&error) else {
                    return Ended::Broken(Closure::BadRequest, error.to_string());
                };
                metrics.requests.on_begun(ApiKey::ApiVersions.code());
                metrics.requests.on_error(ApiKey::ApiVersions.code(), ErrorCode::UnsupportedVersion.code());
                let measured = Measured { key: ApiKey::ApiVersions.code(), course: Course::begun_at(arrived), handed_on: false };
                pipeline.push(Unanswered { answer: Box::pin(std::future::ready(response)), measured, memory: reservation });
                continue;
            }
        };
        let produce = dispatch::is_produce(&header);
        let room = if produce && only_produce { pipeline.in_flight_max } else { 1 };
        let mut begun = arrived.max(free_since);
        if pipeline.unanswered() >= room {
            pipeline.below(room).await;
            begun = server.reading();
        }
        only_produce = produce;
        let mut course = Course { begun, ..Course::begun_at(arrived) };
        let key = header.key;
        drop(bytes);
        let answer: Answer<W> = match dispatch::start(server, peer, header, body).await {
            Started::Answering(answer) => answer,
            Started::Refused(why) => {
                pipeline.below(1).await;
                return Ended::Broken(Closure::BadRequest, why);
            }
        };
        if produce {
            free_since = server.reading();
            course.handed_on = free_since;
        }
        pipeline.push(Unanswered { answer, measured: Measured { key, course, handed_on: produce }, memory: reservation });
    }
}

async fn write_responses<W: World>(server: &Rc<Server<W>>, peer: &Peer, writer: &mut W::Writer, pipeline: &Pipeline<W>) -> Ended {
    let metrics = server.metrics();
    let mut leaving = Leaving { metrics, measured: Vec::new() };
    let mut gathered = BytesMut::new();
    loop {
        let mut head = pipeline.pop().await;
        loop {
            // What is ready goes out in one send; when the next has to wait, what is gathered goes first.
            let response = match poll_once(&mut head.answer).await {
                Some(response) => response,
                None => {
                    if let Err(error) = flush(writer, &mut gathered).await {
                        return broken(&error);
                    }
                    leaving.on_flushed(|| server.reading());
                    if head.measured.key != ApiKey::Produce.code() {
                        head.memory.on_parked();
                    }
                    (&mut head.answer).await
                }
            };
            head.measured.on_ready(peer, server.reading());
            leaving.push(head.measured);
            metrics.connections.on_sent(response.size());
            let sent = match response {
                Response::Frame(bytes) => gather(writer, &mut gathered, bytes).await,
                Response::Chunks(chunks) => send_chunks::<W>(writer, &mut gathered, chunks).await,
                Response::Nothing => Ok(()),
                Response::Close => {
                    return match flush(writer, &mut gathered).await {
                        Ok(()) => Ended::Broken(Closure::Unanswerable, "a request could not be answered".into()),
                        Err(error) => broken(&error),
                    };
                }
            };
            if let Err(error) = sent {
                return broken(&error);
            }
            match pipeline.try_pop() {
                Some(next) => head = next,
                None => break,
            }
        }
        if let Err(error) = flush(writer, &mut gathered).await {
            return broken(&error);
        }
        leaving.on_flushed(|| server.reading());
        pipeline.left();
    }
}

async fn gather<Wr: Writer>(writer: &mut Wr, gathered: &mut BytesMut, bytes: Bytes) -> io::Result<()> {
    if gathered.len() + bytes.len() > GATHER_MAX {
        flush(writer, gathered).await?;
    }
    if bytes.len() > GATHER_MAX {
        return writer.write_all(bytes, Follows::Nothing).await;
    }
    gathered.extend_from_slice(&bytes);
    Ok(())
}

async fn flush<Wr: Writer>(writer: &mut Wr, gathered: &mut BytesMut) -> io::Result<()> {
    if gathered.is_empty() {
        return Ok(());
    }
    writer.write_all(gathered.split().freeze(), Follows::Nothing).await
}

async fn send_chunks<W: World>(writer: &mut W::Writer, gathered: &mut BytesMut, chunks: Vec<Chunk<W>>) -> io::Result<()> {
    let last = chunks.len().saturating_sub(1);
    for (index, chunk) in chunks.into_iter().enumerate() {
        let follows = if index == last { Follows::Nothing } else { Follows::More };
        match chunk {
            Chunk::Bytes(bytes) => gathered.extend_from_slice(&bytes),
            Chunk::File { file, position, len } => {
                if !gathered.is_empty() {
                    writer.write_all(gathered.split().freeze(), Follows::More).await?;
                }
                writer.send_file(&file, position, len, follows).await?;
            }
        }
    }
    flush(writer, gathered).await
}

fn broken(error: &io::Error) -> Ended {
    if is_ordinary_end(error) { Ended::ByPeer } else { Ended::Broken(Closure::Failed, error.to_string()) }
}

fn closure_of(error: &FrameError) -> Closure {
    match error {
        FrameError::Size { .. } | FrameError::CutShort => Closure::BadFrame,
        FrameError::Io(_) => Closure::Failed,
    }
}

fn is_ordinary_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}
