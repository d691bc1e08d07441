//! SIGTERM and SIGINT as something a shard can await.
//!
//! Called by `cli::serve`; calls the kernel. The signal handler counts and rings a pipe; a thread named `ottla-signals` reads the pipe
//! and wakes the waiting tasks, on whatever shard they live.
//!
//! Invariants:
//! 1. The first signal is a request, seen by every task that waits or asks. The second ends the process at once, as an operator who
//!    repeats it expects.
//! 2. The handler touches three atomics and a pipe, nothing else.

use std::future::poll_fn;
use std::io::{self, Read};
use std::os::fd::IntoRawFd;
use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

use nix::sys::signal::{SigHandler, Signal};

use super::kernel;

static SIGNALS: AtomicUsize = AtomicUsize::new(0);
/// The number of the last signal.
static LAST: AtomicI32 = AtomicI32::new(0);
/// The end of the pipe the handler writes to.
static BELL: AtomicI32 = AtomicI32::new(-1);

/// Whether the process was asked to end. Cheap to clone, for any thread.
#[derive(Clone, Debug, Default)]
pub struct Termination {
    waiting: Arc<Mutex<Vec<Waker>>>,
}

/// Starts listening for SIGTERM and SIGINT. Called once, by whoever owns the process.
pub fn termination() -> io::Result<Termination> {
    let termination = Termination::default();
    let (mut bell, ringer) = io::pipe()?;
    nix::fcntl::fcntl(&ringer, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK))?;
    let ringer = ringer.into_raw_fd();
    // An earlier listener's pipe stays open: its handler may be running.
    BELL.store(ringer, Ordering::Release);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        kernel::on_signal(signal, SigHandler::Handler(on_termination))?;
    }
    let woken = termination.clone();
    thread::Builder::new().name("ottla-signals".into()).spawn(move || {
        let mut byte = [0];
        while bell.read_exact(&mut byte).is_ok() {
            if SIGNALS.load(Ordering::Acquire) > 1 {
                std::process::exit(130);
            }
            let waiting = std::mem::take(&mut *woken.waiting.lock().unwrap_or_else(PoisonError::into_inner));
            waiting.into_iter().for_each(Waker::wake);
        }
    })?;
    Ok(termination)
}

extern "C" fn on_termination(signal: libc::c_int) {
    LAST.store(signal, Ordering::Release);
    SIGNALS.fetch_add(1, Ordering::AcqRel);
    kernel::ring_bell(BELL.load(Ordering::Acquire));
}

impl Termination {
    pub fn is_requested(&self) -> bool {
        SIGNALS.load(Ordering::Acquire) > 0
    }

    /// What a program that was asked to end ends with: 128 and the signal's number, as shells and JVMs have it.
    pub fn exit_code(&self) -> u8 {
        u8::try_from(128 + LAST.load(Ordering::Acquire)).unwrap_or(u8::MAX)
    }

    /// Waits for the request. Any number of tasks may.
    pub async fn requested(&self) {
        poll_fn(|context| {
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            // Asked under the lock: the thread that wakes takes the lock after the count has moved.
            if self.is_requested() {
                return Poll::Ready(());
            }
            if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }
}
