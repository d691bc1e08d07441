//! Fetches of this shard's connections that wait for data, and how a wake finds them.
//!
//! Invariants:
//! 1. A reader's number is never reused: a late wake for an earlier wait finds nobody.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker as TaskWaker};

use crate::io::World;
use crate::partition::{ReaderId, WakeReaders};
use crate::types::ShardId;

use super::mailbox::Mailbox;
use super::message::Message;
use super::{FixedMap, Shard};

#[derive(Default)]
pub(super) struct ParkedReaders {
    next: Cell<u64>,
    waiting: RefCell<FixedMap<u64, Rc<Place>>>,
}

#[derive(Default)]
struct Place {
    woken: Cell<bool>,
    waker: RefCell<Option<TaskWaker>>,
}

impl ParkedReaders {
    pub fn wake(&self, number: u64) {
        let place = self.waiting.borrow().get(&number).cloned();
        if let Some(place) = place {
            place.woken.set(true);
            if let Some(waker) = place.waker.borrow_mut().take() {
                waker.wake();
            }
        }
    }
}

/// A fetch's place among the parked; leaves it when dropped.
pub struct Parked {
    pub id: ReaderId,
    place: Rc<Place>,
    readers: Rc<ParkedReaders>,
}

impl Parked {
    /// Waits for a wake that came since the last [`Parked::rearm`].
    pub async fn woken(&self) {
        poll_fn(|cx| {
            if self.place.woken.get() {
                return Poll::Ready(());
            }
            *self.place.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// To be called before each plan: wakes that come from then on count.
    pub fn rearm(&self) {
        self.place.woken.set(false);
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.readers.waiting.borrow_mut().remove(&self.id.number);
    }
}

impl<W: World> Shard<W> {
    /// A place for one fetch to wait at.
    pub fn park(&self) -> Parked {
        let number = self.parked.next.get();
        self.parked.next.set(number + 1);
        let place = Rc::new(Place::default());
        self.parked.waiting.borrow_mut().insert(number, place.clone());
        Parked { id: ReaderId { shard: self.id, number }, place, readers: self.parked.clone() }
    }

    /// Fetches parked on this shard's connections.
    pub fn parked_count(&self) -> usize {
        self.parked.waiting.borrow().len()
    }
}

/// Delivers wakes: on this shard by a call, elsewhere by the lane that is never refused.
pub(super) struct Waker<W: World> {
    pub here: ShardId,
    pub parked: Rc<ParkedReaders>,
    pub mailbox: Rc<Mailbox<Message<W>>>,
}

impl<W: World> WakeReaders for Waker<W> {
    fn wake(&self, reader: ReaderId) {
        if reader.shard == self.here {
            self.parked.wake(reader.number);
        } else {
            self.mailbox.send_internal(reader.shard, Message::Wake { reader: reader.number });
        }
    }
}
