//! The world in memory: a seeded scheduler, a virtual clock, a disk and a network that fail. For unit tests and the simulator.
//!
//! Implements `io::World` in one thread, deterministic from one seed. Called by tests ([`run`], [`Simulation::block_on`]) and by the
//! whole-cluster simulator; nothing of a production broker calls it.
//!
//! # Time and tasks
//!
//! Each step polls one ready task chosen by the seed; shards run at different speeds, which change along the run. Virtual time moves only
//! when no task is ready, to the next event. `yield_now` now and then lets a microsecond pass, so that a loop of yields that waits for a
//! moment ends. `offload` runs its closure on the same thread after a delay, or never if the node crashes first. A node can be paused
//! ([`Control::pause`]): its tasks stand still, and the world goes on without them.
//!
//! # Disk: the fault model
//!
//! What holds without a crash:
//! 1. A call takes effect at one moment between its begin and its completion; calls complete out of order. One write in four takes effect
//!    in two parts, the front first, so that readers see it half done.
//! 2. A `sync` covers the writes and truncations that completed before it was called, with the length they gave the file. `sync_dir`
//!    covers creations, renames and removals in that directory, likewise; a rename belongs to the directory it moved to. A `sync_range` covers the
//!    bytes of its range in pages, and up to the length, that a `sync` has covered: of others it promises nothing, and of none where the file was cut
//!    to less and not synced.
//! 3. A failed write has written any prefix of itself. A failed sync has made any part of what it covered durable, and the kernel takes the
//!    rest for written: no later sync repairs that.
//! 4. A write that finds no space writes what fits, in whole pages, and fails with ENOSPC. `allocate` reserves space without changing
//!    the length; `truncate` gives back what was reserved beyond. A removed file's space is free when its last handle closes.
//!
//! After the process is killed (`crash`): completed calls have their effect. Of the calls in flight, each is done, not done, or, for a
//! write, a creation of several directories or the removal of a tree, done up to any point. A write is torn at any byte.
//!
//! After a loss of power (`power_loss`), first as above, then:
//! 5. What was synced survives, byte for byte.
//! 6. Of a file's unsynced changes, the length is the one after any first few of them. Each page of 4 KiB holds the first few of its
//!    own writes, whatever became of other pages: writes are lost and reordered freely. One page in four is torn: its sectors of 512
//!    bytes, which a disk writes whole, decide each for themselves.
//! 7. So a length may survive without its bytes: they then read as zeros, or as what was there before. The reverse cannot be seen.
//! 8. A truncation that survived cannot be undone: what it cut off reads as zeros if the file is longer again. Of one that did not survive,
//!    the writes after it into the part cut off are lost as well.
//! 9. Unsynced changes to directories survive as a prefix of the order they were made in, or as any subset in which no change
//!    lacks an earlier one to the same name or file ([`EntryLoss`]). A rename is one change. A file whose entry is lost is gone, synced or
//!    not, and so is all below a directory whose entry is lost.
//! 10. How much survives is drawn once per loss: all and nothing are as common as mixtures.
//! 11. Space reserved beyond the length is kept or lost.
//!
//! Not modelled: bit rot, misdirected or forgotten writes after an acknowledged sync, corruption of the filesystem itself.
//!
//! Like the kernel, the disk writes back the oldest changes by itself beyond `dirty_bytes_max` per file and `dirty_entries_max`.
//!
//! # Network: the fault model
//!
//! A direction of a connection is a FIFO of chunks of random size with random delays, and a window beyond which its writer waits. Closing
//! sends what is under way, then the end (a reset, if bytes were left unread, as TCP does). A crash or a cut loses a random tail of what is
//! under way, then the peer reads what had arrived and gets `ConnectionReset`. Writing to a peer that has closed draws a reset. A link that
//! is down delivers nothing, ends and resets included, until it is up again; `connect` over it waits, and gives up at its timeout.
//! `send_file` sends references to pages: what arrives is what the file holds at arrival, so that bytes overwritten in place are seen.
//!
//! # Invariants
//!
//! 1. Two runs of one seed, settings and code have the same trace ([`Control::trace_hash`]).
//! 2. Scheduler, each disk, network, and each node's application draw from streams of their own.
//! 3. What a node held before a crash (worlds, files, streams) is refused or inert afterwards; it gets a new world.

mod control;
mod disk;
mod executor;
mod network;
mod random;
mod settings;
mod simulation;
#[cfg(test)]
mod tests;
mod timers;
mod trace;
pub mod tree;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

pub use control::Control;
pub use disk::{Crash, DiskCall, DiskFault};
pub use network::{MemoryListener, MemoryReader, MemoryWriter};
pub use settings::{DiskSettings, EntryLoss, NetworkSettings, SimulationSettings};
pub use simulation::{RunError, Simulation, run};

use super::{Behind, DirEntry, File, OpenMode, Space, Urgency, World, Written, ZEROS_ALIGN};
use crate::metrics::WorldSnapshot;
use crate::types::{Monotonic, TimestampMs};
use disk::{Done, Effect, Handle};
use simulation::{Core, schedule_crash, schedule_disk_call};
use timers::{Sleep, completion};

/// The world as one shard of one node sees it, from the node's start to its crash.
#[derive(Clone)]
pub struct MemoryWorld {
    core: Rc<Core>,
    node: u32,
    shard: u16,
    life: u64,
}

impl MemoryWorld {
    pub fn node(&self) -> u32 {
        self.node
    }

    pub fn shard(&self) -> u16 {
        self.shard
    }

    fn check_alive(&self) -> io::Result<()> {
        if self.core.life(self.node) == self.life { Ok(()) } else { Err(io::Error::other("the node has crashed since")) }
    }

    /// A disk call with an effect, which happens even if nobody waits for it.
    async fn disk_call(&self, call: DiskCall, path: &str, effect: Effect) -> io::Result<Done> {
        self.check_alive()?;
        let begun = self.core.with_disk(self.node, |disk| disk.begin(call, path, effect));
        schedule_disk_call(&self.core, self.node, &begun);
        begun.done.await
    }

    /// A disk call that changes nothing: the time it takes, or its failure.
    async fn disk_look(&self, call: DiskCall, path: &str) -> io::Result<()> {
        self.check_alive()?;
        let admitted = self.core.with_disk(self.node, |disk| disk.admit(call, path));
        if let Some(crash) = admitted.crash {
            schedule_crash(&self.core, self.node, crash);
        }
        self.sleep(admitted.delay).await;
        self.check_alive()?;
        match admitted.errno {
            None => Ok(()),
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
        }
    }

    /// Bringing a range that may be cold into memory.
    async fn disk_pause(&self, path: &str) -> io::Result<()> {
        if self.core.jitter(|random| random.one_in(4)) { self.disk_look(DiskCall::Read, path).await } else { self.check_alive() }
    }

    /// The time between two chunks of one stream.
    async fn network_pause(&self) {
        let nanos = self.core.jitter(|random| if random.one_in(3) { random.below(200_000) } else { 0 });
        if nanos > 0 {
            self.sleep(Duration::from_nanos(nanos)).await;
        }
    }
}

impl World for MemoryWorld {
    type File = MemoryFile;
    type Listener = MemoryListener;
    type Reader = MemoryReader;
    type Writer = MemoryWriter;

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_nanos(self.core.now())
    }

    fn wall(&self) -> TimestampMs {
        let elapsed_ms = (self.core.now() / 1_000_000) as i64;
        TimestampMs(self.core.settings.wall_start.get() + elapsed_ms + self.core.wall_skew_ms(self.node))
    }

    fn random(&self) -> u64 {
        self.core.random(self.node)
    }

    fn spawn(&self, urgency: Urgency, task: impl Future<Output = ()> + 'static) {
        // What is dropped by a crash may still try to hand work over: nobody is left to do it.
        if self.check_alive().is_ok() {
            self.core.spawn(self.node, self.shard, urgency, Box::pin(task));
        }
    }

    async fn sleep(&self, span: Duration) {
        let at = self.core.now().saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX));
        Sleep::until(&self.core, at).await;
    }

    async fn yield_now(&self) {
        if self.core.jitter(|random| random.one_in(8)) {
            self.sleep(Duration::from_micros(1)).await;
        } else {
            futures_lite::future::yield_now().await;
        }
    }

    fn free(&self, large: Bytes) {
        drop(large);
    }

    async fn offload<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let most = self.core.settings.offload_delay_max.as_nanos() as u64;
        let delay = self.core.jitter(|random| random.skewed(1_000, most));
        let (completer, completed) = completion();
        let world = self.clone();
        let at = self.core.now() + delay;
        let run = move |_: &Rc<Core>| {
            if world.check_alive().is_ok() {
                completer.complete(work());
            }
        };
        self.core.record("offload", self.node, delay, 0);
        self.core.timers.borrow_mut().schedule(at, Box::new(run));
        completed.await
    }

    async fn offload_at_length<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        self.offload(work).await
    }

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<MemoryFile> {
        match self.disk_call(DiskCall::Open, &path.to_string_lossy(), Effect::Open { path: path.into(), mode }).await? {
            Done::Opened(handle) => Ok(MemoryFile { world: self.clone(), handle: Arc::new(handle) }),
            Done::Nothing => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    async fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.disk_look(DiskCall::Read, &path.to_string_lossy()).await?;
        self.core.with_disk(self.node, |disk| disk.read_file(path))
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let effect = Effect::CreateDirectories { path: path.into() };
        self.disk_call(DiskCall::CreateDirectory, &path.to_string_lossy(), effect).await.map(drop)
    }

    async fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.disk_call(DiskCall::Remove, &path.to_string_lossy(), Effect::RemoveTree { path: path.into() }).await.map(drop)
    }

    async fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.disk_look(DiskCall::ListDirectory, &path.to_string_lossy()).await?;
        let mut entries = self.core.with_disk(self.node, |disk| disk.list(path))?;
        self.core.jitter(|random| {
            for last in (1..entries.len()).rev() {
                entries.swap(last, random.below(last as u64 + 1) as usize);
            }
        });
        Ok(entries)
    }

    async fn modified(&self, path: &Path) -> io::Result<TimestampMs> {
        self.disk_look(DiskCall::ListDirectory, &path.to_string_lossy()).await?;
        let at = self.core.with_disk(self.node, |disk| disk.modified(path))?;
        let ago_ms = (self.core.now().saturating_sub(at) / 1_000_000) as i64;
        Ok(TimestampMs(self.wall().get() - ago_ms))
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let effect = Effect::Rename { from: from.into(), to: to.into() };
        self.disk_call(DiskCall::Rename, &to.to_string_lossy(), effect).await.map(drop)
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk_call(DiskCall::Remove, &path.to_string_lossy(), Effect::RemoveFile { path: path.into() }).await.map(drop)
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let effect = Effect::SyncDirectory { path: path.into() };
        self.disk_call(DiskCall::SyncDirectory, &path.to_string_lossy(), effect).await.map(drop)
    }

    async fn space(&self, _path: &Path) -> io::Result<Space> {
        self.check_alive()?;
        Ok(self.core.with_disk(self.node, |disk| disk.space()))
    }

    async fn cache_identity(&self, _path: &Path) -> io::Result<Option<String>> {
        self.check_alive()?;
        Ok(Some(self.core.with_disk(self.node, |disk| format!("{} losses of power", disk.power_losses()))))
    }

    async fn listen(&self, address: SocketAddr) -> io::Result<MemoryListener> {
        MemoryListener::new(self.clone(), address)
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<(MemoryReader, MemoryWriter)> {
        network::connect(self, address).await
    }

    fn measured(&self) -> WorldSnapshot {
        WorldSnapshot::default()
    }
}

/// A file opened by one shard.
#[derive(Clone)]
pub struct MemoryFile {
    world: MemoryWorld,
    handle: Arc<Handle>,
}

/// Keeps a file open, and may cross shards.
#[derive(Clone)]
pub struct SharedFile {
    handle: Arc<Handle>,
}

impl MemoryFile {
    async fn call(&self, call: DiskCall, effect: Effect) -> io::Result<()> {
        self.world.disk_call(call, &self.handle.path, effect).await.map(drop)
    }

    /// Zeros follow up to a multiple of `fill`.
    async fn write(&self, position: u64, slices: Vec<Bytes>, fill: u64) -> Written {
        // A copy: the caller may reuse what it gets back, and an unsynced write must stay as it was.
        let bytes = slices.concat();
        let reached = (position + bytes.len() as u64).next_multiple_of(fill);
        let effect = Effect::Write { file: self.handle.clone(), position, bytes, fill_to: reached };
        let result = self.call(DiskCall::Write, effect).await;
        Written { result, slices, reached }
    }
}

impl File for MemoryFile {
    type Shared = SharedFile;

    fn share(&self) -> SharedFile {
        SharedFile { handle: self.handle.clone() }
    }

    async fn len(&self) -> io::Result<u64> {
        self.world.check_alive()?;
        Ok(self.handle.len())
    }

    async fn write_at(&self, position: u64, slices: Vec<Bytes>) -> Written {
        self.write(position, slices, 1).await
    }

    async fn append_at(&self, position: u64, slices: Vec<Bytes>, _behind: Behind) -> Written {
        let fill = self.world.core.with_disk(self.world.node, |disk| disk.settings_mut().fill_bytes);
        self.write(position, slices, fill).await
    }

    async fn read_at(&self, position: u64, len: usize) -> io::Result<Vec<u8>> {
        self.world.disk_look(DiskCall::Read, &self.handle.path).await?;
        Ok(self.handle.read(position, len))
    }

    fn expect_read(&self, _position: u64, _len: u64) {}

    async fn sync(&self) -> io::Result<()> {
        self.call(DiskCall::Sync, Effect::Sync { file: self.handle.clone() }).await
    }

    async fn sync_range(&self, range: Range<u64>) -> io::Result<()> {
        self.call(DiskCall::Sync, Effect::SyncRange { file: self.handle.clone(), range }).await
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        self.call(DiskCall::Truncate, Effect::Truncate { file: self.handle.clone(), len }).await
    }

    async fn allocate(&self, end: u64) -> io::Result<()> {
        self.call(DiskCall::Allocate, Effect::Allocate { file: self.handle.clone(), end }).await
    }

    async fn write_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        assert!(from.is_multiple_of(ZEROS_ALIGN) && to.is_multiple_of(ZEROS_ALIGN), "zeros from {from} to {to}");
        let effect = Effect::Write { file: self.handle.clone(), position: from, bytes: vec![0; (to - from) as usize], fill_to: to };
        self.call(DiskCall::Write, effect).await
    }
}
