//! Values handed from one task of a shard to another: once ([`oneshot`]), or many in order ([`Queue`]).
//!
//! Invariants:
//! 1. The receiver resolves with the value, or with `None` when the sender was dropped without sending.
//! 2. A queue has one receiving task. It has no limit of its own: what is pushed is bounded by what pushes it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

struct Slot<T> {
    state: RefCell<State<T>>,
}

enum State<T> {
    Empty(Option<Waker>),
    Full(T),
    Closed,
}

pub struct Sender<T> {
    slot: Rc<Slot<T>>,
}

pub struct Receiver<T> {
    slot: Rc<Slot<T>>,
}

pub fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Rc::new(Slot { state: RefCell::new(State::Empty(None)) });
    (Sender { slot: slot.clone() }, Receiver { slot })
}

impl<T> Sender<T> {
    pub fn send(self, value: T) {
        self.slot.settle(State::Full(value));
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if matches!(*self.slot.state.borrow(), State::Empty(_)) {
            self.slot.settle(State::Closed);
        }
    }
}

impl<T> Slot<T> {
    fn settle(&self, state: State<T>) {
        let before = self.state.replace(state);
        if let State::Empty(Some(waker)) = before {
            waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    pub async fn receive(&self) -> Option<T> {
        poll_fn(|cx| {
            let mut state = self.slot.state.borrow_mut();
            match std::mem::replace(&mut *state, State::Closed) {
                State::Full(value) => Poll::Ready(Some(value)),
                State::Closed => Poll::Ready(None),
                State::Empty(_) => {
                    *state = State::Empty(Some(cx.waker().clone()));
                    Poll::Pending
                }
            }
        })
        .await
    }
}

/// Values from any task of the shard for one receiving task.
pub struct Queue<T> {
    values: RefCell<VecDeque<T>>,
    waker: RefCell<Option<Waker>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { values: RefCell::default(), waker: RefCell::default() }
    }
}

impl<T> Queue<T> {
    pub fn push(&self, value: T) {
        self.values.borrow_mut().push_back(value);
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub async fn pop(&self) -> T {
        poll_fn(|cx| match self.values.borrow_mut().pop_front() {
            Some(value) => Poll::Ready(value),
            None => {
                *self.waker.borrow_mut() = Some(cx.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::block_on;

    use super::*;

    #[test]
    fn a_sent_value_arrives_and_a_dropped_sender_is_seen() {
        let (sender, receiver) = oneshot();
        sender.send(7);
        assert_eq!(block_on(receiver.receive()), Some(7));
        let (sender, receiver) = oneshot::<i32>();
        drop(sender);
        assert_eq!(block_on(receiver.receive()), None);
    }
}
