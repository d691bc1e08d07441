//! Waiting, within one shard, for the log's state to change, and taking turns at procedures that must not overlap.
//!
//! Called by the procedures of `log`. Lives on one shard: no locks, no atomics.
//!
//! Invariants:
//! 1. A waiter looks at the state again after every ring, so that no change is missed between looking and waiting.
//! 2. A turn ends when its guard is dropped, also when the procedure is.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Poll, Waker};

use futures_lite::future::poll_fn;

/// Wakes everyone who waits for something about a log.
#[derive(Default)]
pub struct Bell {
    waiting: RefCell<Vec<Waker>>,
}

impl Bell {
    pub fn ring(&self) {
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    /// Waits until `look` finds what it looks for.
    pub async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> T {
        poll_fn(|context| match look() {
            Some(found) => Poll::Ready(found),
            None => {
                self.waiting.borrow_mut().push(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }
}

/// One procedure at a time.
#[derive(Default)]
pub struct Turn {
    taken: Cell<bool>,
    bell: Bell,
}

pub struct TurnGuard<'a>(&'a Turn);

/// A [`TurnGuard`] that keeps what it guards.
pub struct OwnedTurn(Rc<Turn>);

impl Turn {
    pub async fn take(&self) -> TurnGuard<'_> {
        self.bell.until(|| (!self.taken.replace(true)).then(|| TurnGuard(self))).await
    }

    /// The turn, if nobody has it.
    pub fn try_take(self: &Rc<Self>) -> Option<OwnedTurn> {
        (!self.taken.replace(true)).then(|| OwnedTurn(self.clone()))
    }

    fn end(&self) {
        self.taken.set(false);
        self.bell.ring();
    }
}

impl Drop for TurnGuard<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Drop for OwnedTurn {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn a_turn_is_one_procedures_until_its_guard_goes() {
        block_on(async {
            let turn = Turn::default();
            let first = turn.take().await;
            assert!(poll_once(turn.take()).await.is_none());
            assert!(poll_once(turn.take()).await.is_none(), "asking for a turn that is taken does not end it");
            drop(first);
            assert!(poll_once(turn.take()).await.is_some());
        });
    }

    #[test]
    fn an_owned_turn_is_there_or_not() {
        block_on(async {
            let turn = Rc::new(Turn::default());
            let first = turn.try_take();
            assert!(first.is_some() && turn.try_take().is_none());
            assert!(poll_once(turn.take()).await.is_none());
            drop(first);
            let again = turn.try_take();
            assert!(again.is_some(), "asking for a turn that is taken does not end it");
        });
    }
}
