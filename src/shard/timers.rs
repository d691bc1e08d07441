//! Deadlines of one shard: parked fetches, acks that may time out. One sleeping task for all of them.
//!
//! Called by the shard and the handlers above it; calls `io` for the clock and one sleep. Lives on one shard.
//!
//! Invariants:
//! 1. An entry leaves when its future resolves or is dropped: the table holds live deadlines only.
//! 2. The driver sleeps to the earliest deadline, and to nothing when there is none: an idle shard is not woken.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use futures_lite::FutureExt;

use crate::io::{Urgency, World};
use crate::types::Monotonic;

pub struct Timers<W> {
    world: W,
    table: Rc<Table>,
}

impl<W: Clone> Clone for Timers<W> {
    fn clone(&self) -> Self {
        Self { world: self.world.clone(), table: self.table.clone() }
    }
}

#[derive(Default)]
struct Table {
    entries: RefCell<BTreeMap<(Monotonic, u64), Waker>>,
    next_id: Cell<u64>,
    /// Set while the driver runs; woken when an earlier deadline arrives.
    driver: RefCell<Option<Waker>>,
    driver_runs: Cell<bool>,
    sleeping_until: Cell<Option<Monotonic>>,
}

impl<W: World> Timers<W> {
    pub fn new(world: W) -> Self {
        Self { world, table: Rc::default() }
    }

    pub fn now(&self) -> Monotonic {
        self.world.monotonic()
    }

    pub async fn sleep(&self, span: Duration) {
        self.sleep_until(self.now().plus(span)).await;
    }

    pub async fn sleep_until(&self, deadline: Monotonic) {
        let id = self.table.next_id.get();
        self.table.next_id.set(id + 1);
        let entry = Entry { table: &self.table, key: (deadline, id) };
        poll_fn(|cx| {
            if self.world.monotonic() >= deadline {
                return Poll::Ready(());
            }
            self.table.entries.borrow_mut().insert(entry.key, cx.waker().clone());
            self.ensure_driver(deadline);
            Poll::Pending
        })
        .await;
    }

    /// The future's output, or `None` once the deadline has passed.
    pub async fn before<T>(&self, deadline: Monotonic, future: impl Future<Output = T>) -> Option<T> {
        async { Some(future.await) }
            .or(async {
                self.sleep_until(deadline).await;
                None
            })
            .await
    }

    fn ensure_driver(&self, deadline: Monotonic) {
        let table = &self.table;
        if !table.driver_runs.replace(true) {
            let (world, table) = (self.world.clone(), table.clone());
            self.world.spawn(Urgency::Foreground, drive(world, table));
        } else if table.sleeping_until.get().is_some_and(|until| deadline < until) {
            // Taken before it is woken: waking may run other code of this shard.
            let driver = table.driver.borrow_mut().take();
            if let Some(driver) = driver {
                driver.wake();
            }
        }
    }
}

/// Wakes entries as they fall due; ends when there are none.
async fn drive<W: World>(world: W, table: Rc<Table>) {
    loop {
        let now = world.monotonic();
        let due = {
            let mut entries = table.entries.borrow_mut();
            let later = entries.split_off(&(now.plus(Duration::from_nanos(1)), 0));
            std::mem::replace(&mut *entries, later)
        };
        for waker in due.into_values() {
            waker.wake();
        }
        let Some(next) = table.entries.borrow().first_key_value().map(|(key, _)| key.0) else { break };
        table.sleeping_until.set(Some(next));
        let earlier = poll_fn(|cx| {
            if table.sleeping_until.get() != Some(next) || table.first_deadline().is_none_or(|first| first < next) {
                return Poll::Ready(());
            }
            *table.driver.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        });
        world.sleep(next.since(now)).or(earlier).await;
        table.sleeping_until.set(None);
        table.driver.borrow_mut().take();
    }
    table.driver_runs.set(false);
}

impl Table {
    fn first_deadline(&self) -> Option<Monotonic> {
        self.entries.borrow().first_key_value().map(|(key, _)| key.0)
    }
}

struct Entry<'a> {
    table: &'a Table,
    key: (Monotonic, u64),
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.table.entries.borrow_mut().remove(&self.key);
    }
}
