//! Group commit: files that are synced because somebody waits for it are synced in rounds, each for all that asked while the one before ran.
//!
//! Called by `file`; calls the kernel on threads of its own. Lives on its shard, one for each disk: groups know nothing of each other.
//!
//! A round has the disk begin with all its files before it waits for the first, and is the work of one thread, which tells of each file as it
//! is done. Where that takes long, as on disks that write their cache out for each sync, more threads share the round: the kernel flushes
//! the disk once for all that wait for it. Measured on ext4, 64 KiB to each of 16 logs, broker and threads on one core, beside a
//! submission to the ring for each sync: a fifth less processor time a request on a slow hour of the machine and as much on a fast one,
//! throughput from a tenth more to a tenth less, the worst hundredth a fifth sooner.
//!
//! `syncfs` would flush the disk once for a round, but waits for whatever else the filesystem has to write, and on ext4 without a journal
//! writes the last of the metadata behind its flush.
//!
//! Invariants:
//! 1. A file is in a round that began after it was asked for: what was written by then is covered.
//! 2. A round that has begun runs to its end, whoever still waits.
//! 3. Nobody waits for a round that he is not in, unless [`ROUNDS_MAX`] rounds, nor for another file of his own, unless [`THREADS_MAX`] files of
//!    it take longer than [`LONG`] or twice that.
//! 4. What the kernel says when it is asked to begin is kept: it may be the only one to hear of data that it could not write.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use atomic_waker::AtomicWaker;

use super::blocking::Pool;
use super::descriptor::SharedFile;
use super::kernel;
use super::scheduler::{self, Ended};
use crate::io::Urgency;

/// A round that has run for longer is not waited for: the next one begins beside it, up to [`ROUNDS_MAX`].
const LONG: Duration = Duration::from_millis(4);
const ROUNDS_MAX: usize = 4;
/// More threads help where what is left of a round would take one of them longer. From 4 ms on they cost 16 logs of 64 KiB all that a round
/// spares.
const HELP_FROM: Duration = Duration::from_millis(16);
const THREADS_MAX: usize = 4;

/// What is asked of the kernel, on a thread that may wait.
#[derive(Clone, Copy)]
pub(super) struct Calls {
    pub begin_writing_out: fn(&SharedFile) -> io::Result<()>,
    pub sync: fn(&SharedFile) -> io::Result<()>,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            begin_writing_out: |file| kernel::begin_writing_out(file.as_fd()),
            sync: |file| nix::unistd::fdatasync(file).map_err(io::Error::from),
        }
    }
}

/// Who asked for a file, and is told what came of it.
type Asked = Rc<Ended<io::Result<()>>>;

/// What waits for a round of one disk, and the rounds there are.
pub(super) struct GroupCommit {
    waiting: RefCell<Vec<(SharedFile, Asked)>>,
    rounds: RefCell<Vec<Arc<Round>>>,
    /// A round is about to take what waits.
    is_beginning: Cell<bool>,
    is_watched: Cell<bool>,
    calls: Calls,
    pool: Arc<Pool>,
}

impl GroupCommit {
    pub(super) fn new(calls: Calls) -> Rc<Self> {
        Rc::new(Self {
            waiting: RefCell::default(),
            rounds: RefCell::default(),
            is_beginning: Cell::new(false),
            is_watched: Cell::new(false),
            calls,
            pool: Pool::of_waiting_threads(NonZeroUsize::new(ROUNDS_MAX * THREADS_MAX).unwrap_or(NonZeroUsize::MIN)),
        })
    }

    /// Makes what is written of the file durable (fdatasync), in the next round.
    pub(super) async fn sync(self: Rc<Self>, file: SharedFile) -> io::Result<()> {
        let ended = Rc::new(Ended::default());
        self.waiting.borrow_mut().push((file, ended.clone()));
        self.begin_if_due();
        if !self.is_watched.replace(true) {
            scheduler::current().spawn(Urgency::Foreground, self.watch());
        }
        ended.value().await
    }

    fn begin_if_due(self: &Rc<Self>) {
        let are_long = {
            let rounds = self.rounds.borrow();
            rounds.len() < ROUNDS_MAX && rounds.iter().all(|round| round.is_long())
        };
        if are_long && !self.is_beginning.replace(true) {
            scheduler::current().spawn(Urgency::Foreground, self.clone().run_rounds());
        }
    }

    /// Rounds, until nobody waits for one.
    async fn run_rounds(self: Rc<Self>) {
        loop {
            self.is_beginning.set(false);
            let (files, asked): (Vec<_>, Vec<_>) = self.waiting.take().into_iter().unzip();
            if files.is_empty() {
                return;
            }
            let round = Round::begin(files, self.calls, self.pool.clone());
            self.rounds.borrow_mut().push(round.clone());
            while let Some(synced) = round.next_synced().await {
                for (at, result) in synced {
                    asked[at].end(result);
                }
            }
            self.rounds.borrow_mut().retain(|running| !Arc::ptr_eq(running, &round));
        }
    }

    /// Looks after rounds that take long, and who waits meanwhile, as long as there are any.
    async fn watch(self: Rc<Self>) {
        loop {
            ::glommio::timer::sleep(LONG).await;
            let mut is_over = true;
            for round in self.rounds.borrow().iter().filter(|round| round.has_untaken()) {
                is_over = false;
                if round.is_long() {
                    round.get_help();
                }
            }
            if !self.waiting.borrow().is_empty() {
                is_over = false;
                self.begin_if_due();
            }
            if is_over {
                self.is_watched.set(false);
                return;
            }
        }
    }
}

struct Round {
    files: Vec<SharedFile>,
    /// Held for a file while the kernel is asked to begin with it: what comes of that is known before what comes of its sync is told.
    beginning: Vec<Mutex<()>>,
    began: Instant,
    calls: Calls,
    pool: Arc<Pool>,
    /// The first file that no thread has taken.
    next: AtomicUsize,
    threads: AtomicUsize,
    progress: Mutex<Progress>,
    waiter: AtomicWaker,
}

struct Progress {
    /// Files, by their places in the round, whose results the shard has yet to take.
    synced: Vec<(usize, io::Result<()>)>,
    /// How many there are yet to come.
    left: usize,
}

impl Round {
    fn begin(files: Vec<SharedFile>, calls: Calls, pool: Arc<Pool>) -> Arc<Self> {
        let round = Arc::new(Self {
            began: Instant::now(),
            calls,
            pool,
            next: AtomicUsize::new(0),
            threads: AtomicUsize::new(1),
            progress: Mutex::new(Progress { synced: Vec::with_capacity(files.len()), left: files.len() }),
            waiter: AtomicWaker::new(),
            beginning: files.iter().map(|_| Mutex::default()).collect(),
            files,
        });
        let begun = round.clone();
        round.pool.run(Box::new(move || {
            if begun.files.len() > 1 {
                for (at, file) in begun.files.iter().enumerate() {
                    let _held = begun.beginning(at);
                    // What another thread has taken needs no beginning any more, and may be in a later round already.
                    if begun.next.load(Ordering::Relaxed) <= at {
                        file.note_written_out((begun.calls.begin_writing_out)(file));
                    }
                }
            }
            begun.work();
        }));
        round
    }

    fn is_long(&self) -> bool {
        self.began.elapsed() > LONG
    }

    fn has_untaken(&self) -> bool {
        self.next.load(Ordering::Relaxed) < self.files.len()
    }

    fn beginning(&self, at: usize) -> MutexGuard<'_, ()> {
        self.beginning[at].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was synced since the last time; waits for the next. None at the end.
    async fn next_synced(&self) -> Option<Vec<(usize, io::Result<()>)>> {
        poll_fn(|context| {
            self.waiter.register(context.waker());
            let mut progress = self.progress();
            match (progress.synced.is_empty(), progress.left) {
                (true, 0) => Poll::Ready(None),
                (true, _) => Poll::Pending,
                (false, _) => Poll::Ready(Some(std::mem::take(&mut progress.synced))),
            }
        })
        .await
    }

    /// Another thread, if there are files for it and the round has not had all.
    fn get_help(self: &Arc<Self>) {
        let one_more = |threads| (threads < THREADS_MAX).then_some(threads + 1);
        if self.has_untaken() && self.threads.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok() {
            let helped = self.clone();
            self.pool.run(Box::new(move || helped.work()));
        }
    }

    /// Syncs one file after another until all have been taken.
    fn work(self: Arc<Self>) {
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = self.files.get(at) else { return };
            let begun = Instant::now();
            let synced = (self.calls.sync)(file);
            drop(self.beginning(at));
            let result = file.on_synced(synced);
            let untaken = self.files.len().saturating_sub(self.next.load(Ordering::Relaxed));
            if begun.elapsed() * untaken as u32 > HELP_FROM {
                self.get_help();
            }
            let mut progress = self.progress();
            progress.synced.push((at, result));
            progress.left -= 1;
            drop(progress);
            self.waiter.wake();
        }
    }
}
