//! Mailboxes: how shards exchange owned messages.
//!
//! Called by the shard; calls nothing but two lock-free queues. A [`Mesh`] is made once for all shards and is, with the count of their
//! connections that it carries, the only thing they share; each shard holds one [`Mailbox`] on it and never gives it away.
//!
//! Invariants:
//! 1. Messages from one shard to another arrive in the order sent, within a lane. The request lane of a pair holds at most
//!    `request_slots` messages of each [`Kind`]; the internal lane (replies, wakes, images) is never refused.
//! 2. A request takes a credit of its pair and kind before it is sent and gives it back when its reply arrives. So the request lane
//!    cannot overflow, replies in flight are bounded by credits, and two full shards cannot wait for each other: replies need no credit.
//!    What is answered only after a look into files, however many ask for it, holds no credit that an append waits for.
//! 3. A receiver with anything in its inbox has been woken since it last parked.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use atomic_waker::AtomicWaker;
use crossbeam_queue::{ArrayQueue, SegQueue};

use super::census::Census;
use crate::storage::planted::{self, Bug};
use crate::types::ShardId;

/// Every inbox of a broker: made once, then one clone per shard.
pub struct Mesh<M> {
    inboxes: Arc<[Inbox<M>]>,
    request_slots: usize,
    census: Arc<Census>,
}

impl<M> Clone for Mesh<M> {
    fn clone(&self) -> Self {
        Self { inboxes: self.inboxes.clone(), request_slots: self.request_slots, census: self.census.clone() }
    }
}

/// Requests that have credits of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Append,
    Other,
}

const KINDS: usize = 2;

struct Inbox<M> {
    waker: AtomicWaker,
    /// By sender.
    lanes: Box<[Lanes<M>]>,
}

struct Lanes<M> {
    requests: ArrayQueue<M>,
    internal: SegQueue<M>,
}

impl<M: Send> Mesh<M> {
    /// `request_slots` is the number of unanswered requests of each kind that one shard may have at another (`ottla.mailbox.slots`).
    pub fn new(shard_count: u16, request_slots: usize) -> Self {
        let request_slots = request_slots.max(1);
        let lanes = || Lanes { requests: ArrayQueue::new(request_slots * KINDS), internal: SegQueue::new() };
        let inbox = || Inbox { waker: AtomicWaker::new(), lanes: (0..shard_count).map(|_| lanes()).collect() };
        Self { inboxes: (0..shard_count).map(|_| inbox()).collect(), request_slots, census: Arc::default() }
    }

    pub fn shard_count(&self) -> u16 {
        self.inboxes.len() as u16
    }

    /// The broker's connections.
    pub fn census(&self) -> Arc<Census> {
        self.census.clone()
    }

    /// The mailbox of one shard. To be taken once, on that shard.
    pub fn mailbox(&self, id: ShardId) -> Mailbox<M> {
        let of_kind = || Rc::new(Credits::new(self.request_slots));
        let credits = (0..self.inboxes.len()).map(|_| std::array::from_fn(|_| of_kind())).collect();
        Mailbox { id, inboxes: self.inboxes.clone(), credits, next_lane: Cell::new(0) }
    }
}

/// One shard's end of the mesh.
pub struct Mailbox<M> {
    id: ShardId,
    inboxes: Arc<[Inbox<M>]>,
    /// By receiver and kind.
    credits: Box<[[Rc<Credits>; KINDS]]>,
    next_lane: Cell<usize>,
}

impl<M: Send> Mailbox<M> {
    pub fn id(&self) -> ShardId {
        self.id
    }

    /// Waits for a credit towards `to`: this is where a busy owner pushes back on a connection.
    pub async fn credit(&self, to: ShardId, kind: Kind) -> Credit {
        let credits = self.credits_of(to, kind).clone();
        credits.take().await;
        Credit { credits }
    }

    /// Whether a credit towards `to` has to be waited for.
    pub fn is_full(&self, to: ShardId, kind: Kind) -> bool {
        self.credits_of(to, kind).free.get() == 0
    }

    fn credits_of(&self, to: ShardId, kind: Kind) -> &Rc<Credits> {
        &self.credits[usize::from(to.get())][kind as usize]
    }

    /// Puts a request in the lane its credit reserved.
    pub fn send_request(&self, to: ShardId, message: M) {
        let inbox = &self.inboxes[usize::from(to.get())];
        let refused = inbox.lanes[usize::from(self.id.get())].requests.push(message);
        assert!(refused.is_ok(), "a credit stands for a free place in the lane (invariant 2)");
        inbox.waker.wake();
    }

    /// Puts a reply, a wake or an image in the lane that is never refused.
    pub fn send_internal(&self, to: ShardId, message: M) {
        let inbox = &self.inboxes[usize::from(to.get())];
        inbox.lanes[usize::from(self.id.get())].internal.push(message);
        inbox.waker.wake();
    }

    /// The next message: internal ones first, then requests, the senders in turn.
    pub fn try_receive(&self) -> Option<M> {
        let inbox = &self.inboxes[usize::from(self.id.get())];
        for lanes in &inbox.lanes {
            if let Some(message) = lanes.internal.pop() {
                return Some(message);
            }
        }
        let count = inbox.lanes.len();
        let first = self.next_lane.get();
        for step in 0..count {
            let lane = (first + step) % count;
            let requests = &inbox.lanes[lane].requests;
            if planted::is(Bug::MailboxReorder) && requests.len() > 1 {
                let first = requests.pop();
                first.map(|first| requests.force_push(first));
            }
            if let Some(message) = requests.pop() {
                self.next_lane.set((lane + 1) % count);
                return Some(message);
            }
        }
        None
    }

    /// Waits for the next message.
    pub async fn receive(&self) -> M {
        poll_fn(|cx| {
            if let Some(message) = self.try_receive() {
                return Poll::Ready(message);
            }
            // Register, then look again: a message pushed between the look and the registration must not be slept through.
            self.inboxes[usize::from(self.id.get())].waker.register(cx.waker());
            match self.try_receive() {
                Some(message) => Poll::Ready(message),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// Messages waiting in each shard's inbox.
    pub fn depths(&self) -> Vec<usize> {
        let depth = |inbox: &Inbox<M>| inbox.lanes.iter().map(|lanes| lanes.requests.len() + lanes.internal.len()).sum();
        self.inboxes.iter().map(depth).collect()
    }
}

/// The right to have one unanswered request at another shard; given back when dropped.
pub struct Credit {
    credits: Rc<Credits>,
}

impl Drop for Credit {
    fn drop(&mut self) {
        self.credits.give_back();
    }
}

struct Credits {
    free: Cell<usize>,
    /// Tasks waiting, first come first served.
    queue: RefCell<VecDeque<Rc<Place>>>,
}

/// A task's place in the queue for a credit.
struct Place {
    granted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Credits {
    fn new(free: usize) -> Self {
        Self { free: Cell::new(free), queue: RefCell::default() }
    }

    async fn take(&self) {
        if self.free.get() > 0 && self.queue.borrow().is_empty() {
            self.free.set(self.free.get() - 1);
            return;
        }
        let place = Rc::new(Place { granted: Cell::new(false), waker: RefCell::default() });
        self.queue.borrow_mut().push_back(place.clone());
        let mut leave = Leave { credits: self, place: &place, taken: false };
        poll_fn(|cx| {
            if place.granted.get() {
                return Poll::Ready(());
            }
            *place.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        leave.taken = true;
    }

    fn give_back(&self) {
        let next = self.queue.borrow_mut().pop_front();
        match next {
            Some(place) => {
                place.granted.set(true);
                if let Some(waker) = place.waker.borrow_mut().take() {
                    waker.wake();
                }
            }
            None => self.free.set(self.free.get() + 1),
        }
    }
}

/// Leaves the queue when the waiting task is dropped, passing on a credit it was granted and never used.
struct Leave<'a> {
    credits: &'a Credits,
    place: &'a Rc<Place>,
    taken: bool,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        if self.place.granted.get() {
            self.credits.give_back();
        } else {
            self.credits.queue.borrow_mut().retain(|place| !Rc::ptr_eq(place, self.place));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::Context;

    use super::*;

    fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn messages_of_a_lane_arrive_in_order_and_internal_ones_first() {
        let mesh = Mesh::new(2, 8);
        let (a, b) = (mesh.mailbox(ShardId(0)), mesh.mailbox(ShardId(1)));
        let mut credits = Vec::new();
        for number in 0..3 {
            let Poll::Ready(credit) = poll_once(pin!(a.credit(ShardId(1), Kind::Append))) else { panic!("a free credit") };
            credits.push(credit);
            a.send_request(ShardId(1), number);
        }
        a.send_internal(ShardId(1), 100);
        let received: Vec<i32> = std::iter::from_fn(|| b.try_receive()).collect();
        assert_eq!(received, [100, 0, 1, 2]);
    }

    #[test]
    fn a_request_without_a_credit_waits_and_is_served_in_turn() {
        let mesh: Mesh<i32> = Mesh::new(2, 1);
        let a = mesh.mailbox(ShardId(0));
        let Poll::Ready(first) = poll_once(pin!(a.credit(ShardId(1), Kind::Append))) else { panic!("a free credit") };
        let mut second = pin!(a.credit(ShardId(1), Kind::Append));
        assert!(poll_once(second.as_mut()).is_pending());
        {
            let mut given_up = pin!(a.credit(ShardId(1), Kind::Append));
            assert!(poll_once(given_up.as_mut()).is_pending());
        }
        drop(first);
        assert!(poll_once(second.as_mut()).is_ready());
        assert!(poll_once(pin!(a.credit(ShardId(1), Kind::Append))).is_ready(), "the second credit was dropped with its future's output");
    }

    #[test]
    fn look_ups_hold_no_credit_that_an_append_waits_for() {
        let mesh: Mesh<i32> = Mesh::new(2, 1);
        let (a, b) = (mesh.mailbox(ShardId(0)), mesh.mailbox(ShardId(1)));
        let Poll::Ready(_held) = poll_once(pin!(a.credit(ShardId(1), Kind::Other))) else { panic!("a free credit") };
        a.send_request(ShardId(1), 1);
        assert!(a.is_full(ShardId(1), Kind::Other) && !a.is_full(ShardId(1), Kind::Append));
        assert!(poll_once(pin!(a.credit(ShardId(1), Kind::Other))).is_pending());
        let Poll::Ready(_append) = poll_once(pin!(a.credit(ShardId(1), Kind::Append))) else { panic!("appends have their own") };
        a.send_request(ShardId(1), 2);
        assert_eq!((b.try_receive(), b.try_receive()), (Some(1), Some(2)), "in the order sent");
    }

    #[test]
    fn a_dropped_waiter_passes_its_credit_on() {
        let mesh: Mesh<i32> = Mesh::new(2, 1);
        let a = mesh.mailbox(ShardId(0));
        let Poll::Ready(first) = poll_once(pin!(a.credit(ShardId(1), Kind::Append))) else { panic!("a free credit") };
        let mut waiting = Box::pin(a.credit(ShardId(1), Kind::Append));
        assert!(poll_once(waiting.as_mut()).is_pending());
        drop(first);
        drop(waiting);
        assert!(poll_once(pin!(a.credit(ShardId(1), Kind::Append))).is_ready());
    }

    #[test]
    fn threads_exchange_without_loss() {
        let mesh: Mesh<u64> = Mesh::new(2, 16);
        let receiver = mesh.clone();
        const COUNT: u64 = 100_000;
        let thread = std::thread::spawn(move || {
            let mailbox = receiver.mailbox(ShardId(1));
            (0..COUNT).map(|_| futures_lite::future::block_on(mailbox.receive())).sum::<u64>()
        });
        let mailbox = mesh.mailbox(ShardId(0));
        for number in 0..COUNT {
            mailbox.send_internal(ShardId(1), number);
        }
        assert_eq!(thread.join().unwrap(), COUNT * (COUNT - 1) / 2);
    }
}
