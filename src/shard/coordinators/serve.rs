//! A loaded machine at work: events in, records appended, replies out.
//!
//! Called by the host, whose invariants these are.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use bytes::Bytes;

use crate::coordinator::{Effects, Event, Machine, Moment, StateRecord, Token};
use crate::io::World;
use crate::partition::{AckListener, Acked, Acks, Refusal};
use crate::types::{Monotonic, TimestampMs};
use crate::wire::batch::{Batch, BatchBuilder, BatchHeader, Codec, RECORDS_AT};
use crate::wire::compression::CompressionError;
use crate::wire::error::ErrorCode;

use super::host::{Deliver, Host, Hosted, Queued};

/// Events heard before other tasks of the shard get their turn.
const EVENTS_PER_TURN: usize = 64;
/// Batches gathered while an append is under way: one that is full, and one that takes what did not fit.
const GATHERED_MAX: usize = 2;
/// Larger batches are compressed off the shard.
const COMPRESSED_HERE_MAX: usize = 16 << 10;

/// Why a machine is no longer served.
pub enum End {
    Stopped,
    Failed(Refusal),
}

pub struct Serving<W: World, M: Hosted> {
    host: Rc<Host<W, M>>,
    next_token: u64,
    /// Calls heard and not answered.
    waiting: BTreeMap<Token, (M::Request, Deliver<M::Answer>)>,
    gathered: VecDeque<Gathered<M::Answer>>,
    appending: Option<Appending<M::Answer>>,
}

/// The records of some events, and the replies that wait for them.
struct Gathered<A> {
    records: BatchBuilder,
    replies: Vec<(Token, A)>,
}

/// The append under way.
struct Appending<A> {
    replies: Vec<(Token, A)>,
    outcome: Rc<Outcome<dyn Fn()>>,
    deadline: Monotonic,
}

/// What became of an append.
struct Outcome<F: ?Sized> {
    result: RefCell<Option<Result<(), Refusal>>>,
    ring: F,
}

impl<F: Fn()> AckListener for Outcome<F> {
    fn on_settled(&self, _index: usize, result: Result<Acked, Refusal>) {
        *self.result.borrow_mut() = Some(result.map(|_| ()));
        (self.ring)();
    }
}

impl<W: World, M: Hosted> Serving<W, M> {
    pub fn new(host: Rc<Host<W, M>>) -> Self {
        Self { host, next_token: 0, waiting: BTreeMap::new(), gathered: VecDeque::new(), appending: None }
    }

    /// Serves until the host is stopped or an append fails.
    pub async fn run(&mut self) -> End {
        let begun = self.tell(|machine, moment| machine.begin(moment));
        self.gather(begun);
        loop {
            if self.host.is_stopping() {
                return End::Stopped;
            }
            if let Err(refusal) = self.settle() {
                return End::Failed(refusal);
            }
            let more = self.hear();
            if let Err(refusal) = self.append().await {
                return End::Failed(refusal);
            }
            if more {
                self.host.around.world.yield_now().await;
            } else {
                self.wait().await;
            }
        }
    }

    /// Answers every call that was heard and not answered.
    pub fn refuse_all(&mut self, code: ErrorCode) {
        for (_, (request, deliver)) in std::mem::take(&mut self.waiting) {
            deliver(M::refusal(&request, code));
        }
    }

    /// Lets the replies leave that waited for the append under way, if it has settled.
    fn settle(&mut self) -> Result<(), Refusal> {
        if self.host.replica.log().is_failed() {
            return Err(Refusal::Offline);
        }
        let Some(appending) = &self.appending else { return Ok(()) };
        let settled = appending.outcome.result.borrow_mut().take();
        match settled {
            Some(result) => {
                let replies = self.appending.take().map_or_else(Vec::new, |appending| appending.replies);
                result?;
                self.deliver(replies);
                Ok(())
            }
            None if self.host.around.timers.now() >= appending.deadline => Err(Refusal::TimedOut),
            None => Ok(()),
        }
    }

    /// Tells the machine what has happened; true if there is more.
    fn hear(&mut self) -> bool {
        for _ in 0..EVENTS_PER_TURN {
            if self.is_full() {
                return false;
            }
            let effects = if self.host.image_changed.take() {
                self.tell(|machine, moment| machine.handle(Event::ImageChanged, moment))
            } else if self.machine_deadline().is_some_and(|deadline| deadline <= self.host.around.timers.now()) {
                self.tell(|machine, moment| machine.handle(Event::Timer, moment))
            } else if let Some(call) = self.next_call() {
                if !self.host.replica.has_room() && M::writes(&call.request) {
                    // What could not be written would cost the machine its state.
                    (call.deliver)(M::refusal(&call.request, ErrorCode::CoordinatorNotAvailable));
                    continue;
                }
                let token = Token(self.next_token);
                self.next_token += 1;
                let Queued { request, deliver, .. } = call;
                self.waiting.insert(token, (request.clone(), deliver));
                self.tell(|machine, moment| machine.handle(Event::Request { token, request }, moment))
            } else {
                return false;
            };
            self.gather(effects);
        }
        true
    }

    fn next_call(&self) -> Option<Queued<M>> {
        let mut queue = self.host.queue.borrow_mut();
        let call = queue.pop_front()?;
        // Those taken stand in front: one place has come free for the first that was not.
        let waits = queue.iter_mut().nth(super::host::CALLS_QUEUED_MAX - 1);
        let taken = waits.and_then(|next| next.taken.take());
        drop(queue);
        if let Some(taken) = taken {
            taken();
        }
        Some(call)
    }

    fn tell(&self, event: impl FnOnce(&mut M, Moment<'_>) -> Effects<M::Answer>) -> Effects<M::Answer> {
        let around = &self.host.around;
        let image = (around.image)();
        let mut random = || around.world.random();
        let record_bytes_max = (around.writing)().batch_bytes_max.saturating_sub(RECORDS_AT);
        let moment = Moment {
            now: around.timers.now(),
            wall: around.world.wall(),
            image: &image,
            random: &mut random,
            record_bytes_max,
            has_room: self.host.replica.has_room(),
        };
        let mut machine = self.host.machine.borrow_mut();
        event(machine.as_mut().unwrap_or_else(|| unreachable!("a machine is served while it is there")), moment)
    }

    fn machine_deadline(&self) -> Option<Monotonic> {
        self.host.with_machine(Machine::deadline).flatten()
    }

    fn gather(&mut self, effects: Effects<M::Answer>) {
        let Effects { records, replies } = effects;
        if records.is_empty() && self.gathered.is_empty() && self.appending.is_none() {
            return self.deliver(replies);
        }
        let bytes: usize = records.iter().map(StateRecord::bytes).sum();
        let max = (self.host.around.writing)().batch_bytes_max.saturating_sub(RECORDS_AT);
        let fits = self.gathered.back().is_some_and(|batch| batch.records.count() == 0 || batch.records.records_len() + bytes <= max);
        if !fits {
            self.gathered.push_back(Gathered { records: BatchBuilder::new(), replies: Vec::new() });
        }
        let now = self.host.around.world.wall();
        let Some(batch) = self.gathered.back_mut() else { unreachable!("there is a batch that takes them") };
        for record in &records {
            batch.records.push(now, Some(&record.key), record.value.as_deref(), &[]);
        }
        batch.replies.extend(replies);
    }

    /// What is gathered waits for the append under way, and more would have to wait behind it.
    fn is_full(&self) -> bool {
        let max = (self.host.around.writing)().batch_bytes_max;
        self.gathered.len() >= GATHERED_MAX || self.gathered.back().is_some_and(|batch| batch.records.records_len() >= max)
    }

    /// Begins the next append, unless one is under way.
    async fn append(&mut self) -> Result<(), Refusal> {
        while self.appending.is_none() {
            let Some(Gathered { records, replies }) = self.gathered.pop_front() else { return Ok(()) };
            if records.count() == 0 {
                self.deliver(replies);
                continue;
            }
            let bytes = self.built(records).await.map_err(|error| {
                tracing::error!("a batch of a coordinator: {error}");
                Refusal::TooLarge
            })?;
            let header = BatchHeader::parse(&bytes).unwrap_or_else(|error| unreachable!("a batch built here is sound: {error}"));
            let around = &self.host.around;
            let host = self.host.clone();
            let outcome: Rc<Outcome<_>> = Rc::new(Outcome { result: RefCell::new(None), ring: move || host.bell.ring() });
            let listener: Rc<dyn AckListener> = outcome.clone();
            let deadline = around.timers.now().plus((around.writing)().append_timeout);
            self.host.replica.append(Batch { header, bytes }, Acks::All, TimestampMs::NONE, around.world.wall(), &listener, 0);
            self.appending = Some(Appending { replies, outcome, deadline });
            self.settle()?;
        }
        Ok(())
    }

    async fn built(&self, records: BatchBuilder) -> Result<Bytes, CompressionError> {
        let around = &self.host.around;
        match (around.writing)().codec {
            Codec::None => Ok(records.build()),
            codec if records.records_len() <= COMPRESSED_HERE_MAX => records.build_with(codec, None),
            codec => around.world.offload(move || records.build_with(codec, None)).await,
        }
    }

    fn deliver(&mut self, replies: Vec<(Token, M::Answer)>) {
        for (token, answer) in replies {
            let (_, deliver) = self.waiting.remove(&token).unwrap_or_else(|| panic!("{token:?} is answered once"));
            deliver(answer);
        }
    }

    /// Waits for anything that [`Serving::run`] would act on.
    async fn wait(&self) {
        let full = self.is_full();
        let settled = || self.appending.as_ref().is_some_and(|appending| appending.outcome.result.borrow().is_some());
        let heard = || !full && (self.host.image_changed.get() || !self.host.queue.borrow().is_empty());
        let ready =
            self.host.bell.until(|| (self.host.is_stopping() || self.host.replica.log().is_failed() || settled() || heard()).then_some(()));
        let timer = self.machine_deadline().filter(|_| !full);
        let given_up = self.appending.as_ref().map(|appending| appending.deadline);
        match timer.into_iter().chain(given_up).min() {
            Some(deadline) => drop(self.host.around.timers.before(deadline, ready).await),
            None => ready.await,
        }
    }
}
