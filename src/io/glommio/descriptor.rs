//! A file handle that may cross shards: what a read plan holds, and what keeps a deleted segment readable.
//!
//! Called by `file`, `transfer` and, as [`super::SharedFile`], by whoever plans reads; calls the kernel. Clones live on any thread.
//!
//! Invariants:
//! 1. The file stays open until the last clone is gone.
//! 2. The last close of an unlinked file frees its blocks, which takes milliseconds for a segment: it happens on a thread of its own,
//!    never on a shard.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread;

use super::residency::Residency;

/// Blocks freed by an inline close at most: 1 MiB, in the kernel's units of 512 bytes.
const INLINE_CLOSE_BLOCKS_MAX: i64 = 2048;

/// An open file, counted. Cheap to clone, may be sent to any thread.
#[derive(Clone, Debug)]
pub struct SharedFile(Arc<Descriptor>);

#[derive(Debug)]
struct Descriptor {
    /// Some until dropped.
    file: Option<OwnedFd>,
    residency: Residency,
    /// Up to where it was brought in last, for whoever reads on from there; 0 if no range was found cold since it was opened.
    read_until: AtomicU64,
}

impl SharedFile {
    pub(super) fn new(file: File, residency: Residency) -> Self {
        Self(Arc::new(Descriptor { file: Some(file.into()), residency, read_until: AtomicU64::new(0) }))
    }

    /// How to ask whether a range of this file is in the page cache.
    pub(super) fn residency(&self) -> Residency {
        self.0.residency
    }

    /// Up to where it was brought in last. None if no range was found cold since it was opened: no reads are under way in it.
    pub(super) fn read_until(&self) -> Option<u64> {
        Some(self.0.read_until.load(Ordering::Relaxed)).filter(|until| *until > 0)
    }

    pub(super) fn note_read_until(&self, position: u64) {
        self.0.read_until.store(position, Ordering::Relaxed);
    }
}

impl AsFd for SharedFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.0.file {
            Some(file) => file.as_fd(),
            None => unreachable!("the descriptor is taken only by its drop"),
        }
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        let Some(file) = self.file.take() else { return };
        let slow = nix::sys::stat::fstat(&file).is_ok_and(|status| status.st_nlink == 0 && status.st_blocks > INLINE_CLOSE_BLOCKS_MAX);
        if slow && let Some(closer) = closer() {
            // A closer that is gone hands the file back in the error, which drops it here: slow, but closed.
            drop(closer.send(file));
        }
    }
}

/// The thread that closes what takes long. None if it cannot be started: then the shard closes.
fn closer() -> Option<&'static mpsc::Sender<OwnedFd>> {
    static CLOSER: OnceLock<Option<mpsc::Sender<OwnedFd>>> = OnceLock::new();
    CLOSER
        .get_or_init(|| {
            let (sender, receiver) = mpsc::channel::<OwnedFd>();
            let thread = thread::Builder::new().name("ottla-closer".into()).spawn(move || receiver.into_iter().for_each(drop));
            thread.is_ok().then_some(sender)
        })
        .as_ref()
}
