//! The tasks of a simulation and the choice, by seed, of the one to poll next.
//!
//! Called by `simulation`. Tasks stand in groups, one per shard of a node. Every few hundred polls each group draws a weight (a fast
//! core, a slow one) and an order (any, oldest first, newest first), so that one run visits schedules of very different shapes.
//!
//! Invariants:
//! 1. A waker only notes the task's number behind a mutex: it may be called, cloned and dropped at any time, also while parts of the
//!    simulation are borrowed.
//! 2. Futures are polled and dropped with nothing of the simulation borrowed.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use super::random::Random;
use crate::io::Urgency;

pub(super) type TaskId = u64;
pub(super) type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Polls between two draws of weights and orders.
const MOOD_POLLS: u64 = 300;

struct Wakeup {
    task: TaskId,
    queued: AtomicBool,
    woken: Arc<Mutex<Vec<TaskId>>>,
}

impl Wake for Wakeup {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::SeqCst) {
            self.woken.lock().unwrap_or_else(PoisonError::into_inner).push(self.task);
        }
    }
}

struct Entry {
    place: (u32, u16),
    urgency: Urgency,
    /// Absent while it is being polled, and for the future of `block_on`, which its caller polls.
    task: Option<Task>,
    wakeup: Arc<Wakeup>,
}

#[derive(Clone, Copy)]
enum Order {
    Any,
    OldestFirst,
    NewestFirst,
}

struct Group {
    ready: Vec<TaskId>,
    weight: u64,
    order: Order,
}

pub(super) struct Executor {
    random: Random,
    tasks: BTreeMap<TaskId, Entry>,
    groups: BTreeMap<(u32, u16), Group>,
    /// Nodes none of whose tasks is polled.
    paused: BTreeSet<u32>,
    woken: Arc<Mutex<Vec<TaskId>>>,
    spawned: u64,
    polls: u64,
}

/// The task to poll next.
pub(super) struct Picked {
    pub(super) id: TaskId,
    pub(super) node: u32,
    /// `None` for the future of `block_on`.
    pub(super) task: Option<Task>,
    pub(super) waker: Waker,
}

impl Executor {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed, "scheduler", 0),
            tasks: BTreeMap::new(),
            groups: BTreeMap::new(),
            paused: BTreeSet::new(),
            woken: Arc::default(),
            spawned: 0,
            polls: 0,
        }
    }

    /// Adds a task, ready to be polled. `None` stands for a future its caller polls.
    pub(super) fn add(&mut self, node: u32, shard: u16, urgency: Urgency, task: Option<Task>) -> TaskId {
        let id = self.spawned;
        self.spawned += 1;
        let wakeup = Arc::new(Wakeup { task: id, queued: AtomicBool::new(false), woken: self.woken.clone() });
        wakeup.wake_by_ref();
        self.tasks.insert(id, Entry { place: (node, shard), urgency, task, wakeup });
        id
    }

    /// The next task to poll, taken out: [`Executor::put_back`] returns it.
    pub(super) fn pick(&mut self) -> Option<Picked> {
        self.admit_woken();
        if self.polls.is_multiple_of(MOOD_POLLS) {
            self.draw_moods();
        }
        let paused = &self.paused;
        let may_run = |(place, group): &(&(u32, u16), &Group)| !group.ready.is_empty() && !paused.contains(&place.0);
        let total: u64 = self.groups.iter().filter(may_run).map(|(_, group)| group.weight).sum();
        if total == 0 {
            return None;
        }
        self.polls += 1;
        let mut lot = self.random.below(total);
        let ready = self.groups.iter_mut().filter(|(place, group)| !group.ready.is_empty() && !paused.contains(&place.0));
        let group = ready.map(|(_, group)| group).find(|group| {
            let chosen = lot < group.weight;
            lot = lot.saturating_sub(group.weight);
            chosen
        })?;
        let place = match group.order {
            Order::Any => self.random.below(group.ready.len() as u64) as usize,
            Order::OldestFirst => 0,
            Order::NewestFirst => group.ready.len() - 1,
        };
        // Background work is polled too, but a group with both kinds passes it over most of the time.
        let tasks = &self.tasks;
        let is_foreground = |id: &TaskId| tasks.get(id).is_some_and(|t| t.urgency == Urgency::Foreground);
        let place = if is_foreground(&group.ready[place]) || self.random.one_in(4) {
            place
        } else {
            group.ready.iter().position(is_foreground).unwrap_or(place)
        };
        let id = group.ready.remove(place);
        let entry = self.tasks.get_mut(&id).expect("ready tasks exist: a removed task leaves its group");
        entry.wakeup.queued.store(false, Ordering::SeqCst);
        Some(Picked { id, node: entry.place.0, task: entry.task.take(), waker: Waker::from(entry.wakeup.clone()) })
    }

    fn admit_woken(&mut self) {
        let woken = std::mem::take(&mut *self.woken.lock().unwrap_or_else(PoisonError::into_inner));
        for id in woken {
            if let Some(entry) = self.tasks.get(&id) {
                let group = self.groups.entry(entry.place).or_insert(Group { ready: Vec::new(), weight: 4, order: Order::Any });
                group.ready.push(id);
            }
        }
    }

    fn draw_moods(&mut self) {
        for group in self.groups.values_mut() {
            group.weight = 1 << self.random.below(6);
            group.order = match self.random.below(4) {
                0 => Order::OldestFirst,
                1 => Order::NewestFirst,
                _ => Order::Any,
            };
        }
    }

    /// Returns a task that is not finished. Hands it back to be dropped if its node crashed while it ran.
    pub(super) fn put_back(&mut self, id: TaskId, task: Task) -> Option<Task> {
        match self.tasks.get_mut(&id) {
            Some(entry) => {
                entry.task = Some(task);
                None
            }
            None => Some(task),
        }
    }

    pub(super) fn contains(&self, id: TaskId) -> bool {
        self.tasks.contains_key(&id)
    }

    /// Forgets a finished task.
    pub(super) fn remove(&mut self, id: TaskId) {
        if let Some(entry) = self.tasks.remove(&id)
            && let Some(group) = self.groups.get_mut(&entry.place)
        {
            group.ready.retain(|&other| other != id);
        }
    }

    /// Polls no task of a node, or does again.
    pub(super) fn pause(&mut self, node: u32, on: bool) {
        if on {
            self.paused.insert(node);
        } else {
            self.paused.remove(&node);
        }
    }

    /// Takes all tasks of a node, or of all nodes, for the caller to drop.
    pub(super) fn take_all(&mut self, node: Option<u32>) -> Vec<Task> {
        self.paused.retain(|paused| node.is_some_and(|node| node != *paused));
        let leaves = |place: (u32, u16)| node.is_none_or(|node| node == place.0);
        self.groups.retain(|&place, _| !leaves(place));
        let ids: Vec<TaskId> = self.tasks.iter().filter(|(_, e)| leaves(e.place)).map(|(&id, _)| id).collect();
        ids.iter().filter_map(|id| self.tasks.remove(id)?.task).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.tasks.len()
    }
}
