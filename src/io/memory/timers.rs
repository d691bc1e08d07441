//! The virtual clock, what is due on it, and the one-shot slot through which an event answers a waiting future.
//!
//! Called by every part of the simulation. Events run with no part of the simulation borrowed, in order of time and, within one instant,
//! of scheduling.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::simulation::Core;

/// Names one scheduled event: when, and a number that orders events of one instant.
pub(super) type TimerId = (u64, u64);

pub(super) type Action = Box<dyn FnOnce(&Rc<Core>)>;

pub(super) struct Timers {
    now: u64,
    scheduled: u64,
    queue: BTreeMap<TimerId, Action>,
}

impl Timers {
    pub(super) fn new() -> Self {
        Self { now: 0, scheduled: 0, queue: BTreeMap::new() }
    }

    pub(super) fn now(&self) -> u64 {
        self.now
    }

    pub(super) fn schedule(&mut self, at: u64, action: Action) -> TimerId {
        let id = (at.max(self.now), self.scheduled);
        self.scheduled += 1;
        self.queue.insert(id, action);
        id
    }

    /// Hands the event back, to be dropped where nothing is borrowed.
    pub(super) fn cancel(&mut self, id: TimerId) -> Option<Action> {
        self.queue.remove(&id)
    }

    pub(super) fn take_due(&mut self) -> Option<Action> {
        let entry = self.queue.first_entry()?;
        if entry.key().0 > self.now { None } else { Some(entry.remove()) }
    }

    pub(super) fn next_at(&self) -> Option<u64> {
        self.queue.first_key_value().map(|(id, _)| id.0)
    }

    pub(super) fn advance_to(&mut self, at: u64) {
        assert!(at >= self.now, "the virtual clock never goes back");
        self.now = at;
    }

    pub(super) fn clear(&mut self) -> BTreeMap<TimerId, Action> {
        std::mem::take(&mut self.queue)
    }
}

struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
}

/// The answering end. Dropped without an answer, the other end waits for ever: its node has crashed, and its task goes with it.
pub(super) struct Completer<T>(Rc<RefCell<Slot<T>>>);

/// Resolves to what the [`Completer`] answers.
pub(super) struct Completion<T>(Rc<RefCell<Slot<T>>>);

pub(super) fn completion<T>() -> (Completer<T>, Completion<T>) {
    let slot = Rc::new(RefCell::new(Slot { value: None, waker: None }));
    (Completer(slot.clone()), Completion(slot))
}

impl<T> Completer<T> {
    pub(super) fn complete(self, value: T) {
        let waker = {
            let mut slot = self.0.borrow_mut();
            slot.value = Some(value);
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Completion<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut slot = self.0.borrow_mut();
        match slot.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                slot.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

/// Resolves at a moment of virtual time; dropped before, it leaves nothing behind.
pub(super) struct Sleep {
    core: Rc<Core>,
    /// `None` for the end of time: nobody waits for it, so that it does not hide a stall.
    timer: Option<TimerId>,
    fired: Completion<()>,
}

impl Sleep {
    pub(super) fn until(core: &Rc<Core>, at: u64) -> Self {
        let (completer, fired) = completion();
        let timer = (at < u64::MAX).then(|| core.timers.borrow_mut().schedule(at, Box::new(move |_| completer.complete(()))));
        Self { core: core.clone(), timer, fired }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.fired).poll(cx)
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let cancelled = self.timer.and_then(|timer| self.core.timers.borrow_mut().cancel(timer));
        drop(cancelled);
    }
}
