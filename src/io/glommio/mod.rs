//! The real outside world: io_uring files and sockets of the glommio runtime, `sendfile`, one executor per shard.
//!
//! Called by `cli::serve`, which starts the shards, and through [`World`] by everything else; calls glommio and the kernel. A
//! [`GlommioWorld`] lives on its shard.
//!
//! ```text
//!   shards        one executor per cpu            scheduler     the tasks of one shard
//!   blocking      threads for what may block      termination   SIGTERM and SIGINT as a future
//!   file          reads, writes, sync             append        the ways a write reaches the page cache
//!   socket        listener, reader, writer        transfer      sendfile that waits for nobody
//!   descriptor    a file that crosses shards      residency     what is in the page cache
//!   dirty         is the disk behind              probe         what this machine allows
//!   zeros         zeros ahead of a log            group_commit  one flush for many files
//!   kernel        system calls: all `unsafe` of the crate
//! ```
//!
//! Invariants:
//! 1. A shard's thread waits only where it parks: no call made on it sleeps in the kernel, except for appends whose path is
//!    [`AppendPath::Inline`], by choice.
//! 2. The runtime stays behind this module: nothing above names it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use crate::io::{DirEntry, EntryKind, OpenMode, Space, Urgency, World};
use crate::metrics::WorldSnapshot;
use crate::types::{Monotonic, TimestampMs};
use blocking::{at_leisure, at_length, off_shard};
use dirty::DirtyWatch;
use group_commit::GroupCommit;
use scheduler::Scheduler;
use zeros::Overwrites;

mod append;
mod blocking;
mod cache_identity;
mod descriptor;
mod dirty;
mod file;
mod group_commit;
mod kernel;
pub mod probe;
mod residency;
mod scheduler;
mod shards;
mod socket;
mod termination;
mod transfer;
mod zeros;

pub use append::{AppendPath, Folios};
pub use descriptor::SharedFile;
pub use file::GlommioFile;
pub use probe::DeviceTraits;
pub use residency::Residency;
pub use shards::{Settings, StartError, placements, start_shards, usable_cpus};
pub use socket::{GlommioListener, GlommioReader, GlommioWriter};
pub use termination::{Termination, termination};

/// Random words fetched from the kernel at a time.
const RANDOM_WORDS: usize = 32;

/// One shard's handle on the machine.
#[derive(Clone)]
pub struct GlommioWorld(Rc<Shard>);

struct Shard {
    scheduler: Rc<Scheduler>,
    settings: Settings,
    dirty: Arc<DirtyWatch>,
    random: RefCell<Vec<u64>>,
    /// One for each filesystem.
    group_commits: RefCell<BTreeMap<u64, Rc<GroupCommit>>>,
}

impl GlommioWorld {
    fn new(scheduler: Rc<Scheduler>, settings: Settings, dirty: Arc<DirtyWatch>) -> Self {
        Self(Rc::new(Shard { scheduler, settings, dirty, random: RefCell::default(), group_commits: RefCell::default() }))
    }
}

impl World for GlommioWorld {
    type File = GlommioFile;
    type Listener = GlommioListener;
    type Reader = GlommioReader;
    type Writer = GlommioWriter;

    fn monotonic(&self) -> Monotonic {
        Monotonic::from_nanos(kernel::monotonic_nanos())
    }

    fn wall(&self) -> TimestampMs {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TimestampMs(since_epoch.as_millis() as i64)
    }

    fn random(&self) -> u64 {
        let mut words = self.0.random.borrow_mut();
        if words.is_empty() {
            words.resize(RANDOM_WORDS, 0);
            // The kernel refuses only what no Linux since 3.17 does; going on with zeros would break identities.
            assert!(kernel::fill_random(&mut words).is_ok(), "the kernel gives no random bits");
        }
        words.pop().unwrap_or_default()
    }

    fn spawn(&self, urgency: Urgency, task: impl Future<Output = ()> + 'static) {
        self.0.scheduler.spawn(urgency, task);
    }

    async fn sleep(&self, span: Duration) {
        ::glommio::timer::sleep(span).await;
    }

    async fn yield_now(&self) {
        futures_lite::future::yield_now().await;
    }

    async fn offload<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        at_leisure(work).await
    }

    async fn offload_at_length<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        at_length(work).await
    }

    fn free(&self, large: Bytes) {
        self.0.scheduler.freeing.run(Box::new(move || drop(large)));
    }

    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<GlommioFile> {
        let directory = path.parent().map(Path::to_owned);
        let path = path.to_owned();
        let (file, device, journals_data) = off_shard(move || {
            let mut options = fs::OpenOptions::new();
            options.read(true).write(true).mode(0o644);
            match mode {
                OpenMode::Existing => {}
                OpenMode::CreateOrKeep => _ = options.create(true),
                OpenMode::CreateOrEmpty => _ = options.create(true).truncate(true),
            }
            let file = options.open(path)?;
            let device = file.metadata()?.dev();
            // Not every filesystem has such flags; of those that do, none that writes in place is without.
            let journals_data = kernel::journals_data(file.as_fd()).unwrap_or(true);
            io::Result::Ok((file, device, journals_data))
        })
        .await?;
        let mut traits = self.0.settings.devices.iter().find(|traits| traits.device == device).copied().unwrap_or_default();
        if traits.overwrites == Overwrites::InPlace && journals_data {
            traits.overwrites = Overwrites::Elsewhere;
        }
        let group_commit = self.0.group_commits.borrow_mut().entry(device).or_default().clone();
        if let (Overwrites::InPlace, Some(directory)) = (traits.overwrites, directory) {
            group_commit.settle(&directory, device).await;
        }
        Ok(GlommioFile::new(file, traits, self.0.dirty.clone(), group_commit, self.0.scheduler.instruments.clone()))
    }

    async fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        let path = path.to_owned();
        off_shard(move || fs::read(path)).await
    }

    async fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        off_shard(move || fs::create_dir_all(path)).await
    }

    async fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        off_shard(move || fs::remove_dir_all(path)).await
    }

    async fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let path = path.to_owned();
        off_shard(move || list(&path)).await
    }

    async fn modified(&self, path: &Path) -> io::Result<TimestampMs> {
        let path = path.to_owned();
        off_shard(move || {
            let modified = fs::metadata(&path)?.modified()?;
            let since_epoch = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
            Ok(TimestampMs(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)))
        })
        .await
    }

    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (from.to_owned(), to.to_owned());
        off_shard(move || fs::rename(from, to)).await
    }

    async fn remove_file(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        off_shard(move || fs::remove_file(path)).await
    }

    async fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let path = path.to_owned();
        off_shard(move || fs::File::open(path)?.sync_all()).await
    }

    async fn space(&self, path: &Path) -> io::Result<Space> {
        let path = path.to_owned();
        off_shard(move || {
            let found = nix::sys::statvfs::statvfs(&path)?;
            let unit = found.fragment_size();
            // What is left to this process, not to root.
            Ok(Space { free: found.blocks_available() * unit, total: found.blocks() * unit })
        })
        .await
    }

    async fn cache_identity(&self, path: &Path) -> io::Result<Option<String>> {
        let path = path.to_owned();
        off_shard(move || cache_identity::of(&path)).await
    }

    async fn listen(&self, address: SocketAddr) -> io::Result<GlommioListener> {
        GlommioListener::bind(address, self.0.settings.congestion_control.as_deref())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<(GlommioReader, GlommioWriter)> {
        socket::connect(address, self.0.settings.congestion_control.as_deref()).await
    }

    fn measured(&self) -> WorldSnapshot {
        self.0.scheduler.instruments.snapshot(self.monotonic(), Duration::from_nanos(kernel::thread_cpu_nanos()))
    }
}

fn list(path: &Path) -> io::Result<Vec<DirEntry>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        // Kafka's names are ASCII; a name that is not text is nothing a broker could have written.
        let Ok(name) = entry.file_name().into_string() else { continue };
        let found = match fs::metadata(entry.path()) {
            Ok(found) => found,
            // Removed since, or a link to nowhere.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if found.is_dir() {
            entries.push(DirEntry { name, kind: EntryKind::Directory, len: 0 });
        } else if found.is_file() {
            entries.push(DirEntry { name, kind: EntryKind::File, len: found.len() });
        }
    }
    Ok(entries)
}

#[cfg(test)]
mod tests;
