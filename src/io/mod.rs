//! The outside world as one bundle of traits: clock, randomness, tasks, files, sockets. Everything above reaches the kernel only through
//! a [`World`].
//!
//! Called by `storage`, `partition`, `shard`, `server`; calls `types` and counts in `metrics`. One `World` value belongs to one shard and never leaves its
//! thread; a [`File::Shared`] handle and whatever is marked `Send` may. Implementations: `glommio` (io_uring, the real one) and `memory`
//! (seeded scheduler, virtual clock, faulty disk and network: unit tests and the simulator). Beside it stands [`tree::Tree`], an ensemble of
//! ZooKeeper servers: `zookeeper` is the real one, `memory::tree` stands in for it.
//!
//! Invariants:
//! 1. Completions of one file's operations may arrive in any order; a sync covers only writes that completed before it was called.
//! 2. A failed write or sync is final for that file: callers take the log directory offline and never retry.
//! 3. A buffer handed to an operation belongs to it until its future resolves. Dropping such a future leaves the operation running.
//! 4. Bytes once readable below a high watermark are never overwritten in place: `send_file` references live pages.
//! 5. All `unsafe` of the crate lives below this module.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::metrics::WorldSnapshot;
use crate::types::{Monotonic, TimestampMs};

pub mod glommio;
pub mod memory;
pub mod tree;
pub mod zookeeper;

/// How soon a task's work is wanted by a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Urgency {
    /// A request is waiting for it.
    Foreground,
    /// Flushing, retention, recovery: gets a bounded share of the shard.
    Background,
}

/// One shard's handle on the outside world; cheap to clone.
#[allow(async_fn_in_trait)] // futures stay on the shard's thread
pub trait World: Clone + 'static {
    type File: File;
    type Listener: Listener<Reader = Self::Reader, Writer = Self::Writer>;
    type Reader: Reader;
    type Writer: Writer<Shared = <Self::File as File>::Shared>;

    /// Now, on a clock that never goes back. Cheap enough for every request.
    fn monotonic(&self) -> Monotonic;
    /// Now, as the operator's clock says.
    fn wall(&self) -> TimestampMs;
    /// 64 random bits: from the kernel, or from the simulator's seed.
    fn random(&self) -> u64;

    /// Runs `task` on this shard until it ends; nobody waits for it.
    fn spawn(&self, urgency: Urgency, task: impl Future<Output = ()> + 'static);
    async fn sleep(&self, span: Duration);
    /// Lets other tasks of this shard run.
    async fn yield_now(&self);
    /// Runs what keeps a cpu busy (a scan, compression of a batch) on a thread that is not a shard. Where the future is dropped before its work
    /// has begun, the work is dropped with it.
    async fn offload<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T;
    /// As [`World::offload`], for what may take seconds: that of [`World::offload`] does not wait behind it.
    async fn offload_at_length<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T;

    /// Lets go of a large piece of memory where it keeps nobody waiting.
    fn free(&self, large: Bytes);

    /// Opens a file for reading and writing.
    async fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Self::File>;
    /// The whole file; `NotFound` if there is none.
    async fn read_file(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Creates the directory and its missing parents. Their entries are durable only after `sync_dir` of each parent.
    async fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Removes the directory and all it holds, off the shard.
    async fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Names in the directory, in no particular order. `NotFound` if there is none.
    async fn list_dir(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// When the file was last written to, by the wall clock.
    async fn modified(&self, path: &Path) -> io::Result<TimestampMs>;
    async fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Unlinks the file, off the shard: its blocks are freed when its last handle closes.
    async fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in the directory durable.
    async fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Free and total bytes of the filesystem that holds `path`.
    async fn space(&self, path: &Path) -> io::Result<Space>;
    /// Names the memory that holds what is written to the filesystem of `path` and not synced: as long as the name is the same, all of that
    /// is read back, whoever wrote it and however it ended. `None` where it cannot be told.
    async fn cache_identity(&self, path: &Path) -> io::Result<Option<String>>;

    /// Listens on the address; port 0 picks one (see [`Listener::local_addr`]). Every shard may listen on the same address: the
    /// kernel (or the simulator) spreads connections over them.
    async fn listen(&self, address: SocketAddr) -> io::Result<Self::Listener>;
    async fn connect(&self, address: SocketAddr) -> io::Result<(Self::Reader, Self::Writer)>;

    /// What this shard's world has counted of its own work; zeros from a world that counts nothing.
    fn measured(&self) -> WorldSnapshot;
}

/// What `open` does about existing content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// `NotFound` if there is none.
    Existing,
    /// Creates an empty file where there is none, keeps content where there is.
    CreateOrKeep,
    /// Creates an empty file, emptying what is there.
    CreateOrEmpty,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DirEntry {
    pub name: String,
    pub kind: EntryKind,
    /// Bytes, for files; zero for directories.
    pub len: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum EntryKind {
    File,
    Directory,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    pub free: u64,
    pub total: u64,
}

/// An open file, held by one shard. Clones are the same file; the last handle closes it.
#[allow(async_fn_in_trait, clippy::len_without_is_empty)] // asking for the length is I/O, and nobody asks for emptiness
pub trait File: Clone + 'static {
    /// A handle that may cross shards and keeps the file open: what a read plan holds.
    type Shared: Clone + Send + 'static;

    fn share(&self) -> Self::Shared;

    /// Bytes in the file.
    async fn len(&self) -> io::Result<u64>;

    /// Writes the slices one after another from `position`. Several may be in flight on one file, for ranges that do not overlap.
    /// Answers with the bytes written from the front (all of them, unless there is an error) and the slices back.
    async fn write_at(&self, position: u64, slices: Vec<Bytes>) -> Written;

    /// As [`File::write_at`], behind everything but zeros that was ever written to the file, by whoever begins such writes in the order of their
    /// positions. Zeros may follow in the file, up to where `Written::reached` says, until the next such write or [`File::truncate`], as
    /// far as `behind` advises.
    async fn append_at(&self, position: u64, slices: Vec<Bytes>, behind: Behind) -> Written;

    /// Up to `len` bytes from `position`; fewer only at the end of the file.
    async fn read_at(&self, position: u64, len: usize) -> io::Result<Vec<u8>>;

    /// Says that the range is about to be read, one piece after another: the disk may begin at once. Advice only.
    fn expect_read(&self, position: u64, len: u64);

    /// Makes completed writes, and the length they gave the file, durable (fdatasync).
    async fn sync(&self) -> io::Result<()>;

    /// Makes the bytes of a range durable that completed writes have put over bytes, or zeros of [`File::write_zeros`], which a [`File::sync`] has
    /// covered: where they lie is on the disk already, and the file's length. Where that can be trusted, the disk is flushed once for all files that ask at a
    /// time.
    async fn sync_range(&self, range: Range<u64>) -> io::Result<()>;

    /// Cuts or extends (with zeros) the file; also frees space allocated beyond `len`.
    async fn truncate(&self, len: u64) -> io::Result<()>;

    /// Reserves space up to `end` bytes without changing the file's length. An error is advice only: the space is then taken as written.
    async fn allocate(&self, end: u64) -> io::Result<()>;

    /// Has the disk write zeros to a range that nothing else is written to meanwhile: once they are synced, a later write there, and its sync,
    /// change nothing but its bytes. Both ends are multiples of [`ZEROS_ALIGN`]. An error is advice only; the file may be longer all the same.
    async fn write_zeros(&self, from: u64, to: u64) -> io::Result<()>;
}

/// What there is in a file behind an append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Behind {
    /// Nothing, or nothing that zeros should be in.
    Nothing,
    /// Space up to here, for zeros that make what follows cheaper to write.
    Space(u64),
    /// Zeros on the disk up to here: none need be read if the append ends with a page.
    Zeros(u64),
}

/// Ranges that [`File::write_zeros`] writes begin and end with whole blocks, and with pages where these are no larger.
pub const ZEROS_ALIGN: u64 = 4096;

/// What became of a write.
#[derive(Debug)]
pub struct Written {
    /// `Err` is final for the file (invariant 2).
    pub result: io::Result<()>,
    /// The slices that were handed in, for reuse.
    pub slices: Vec<Bytes>,
    /// Where the last byte of the file may be that this has written.
    pub reached: u64,
}

/// Accepts connections for one shard.
#[allow(async_fn_in_trait)]
pub trait Listener: 'static {
    type Reader: Reader;
    type Writer: Writer;

    fn local_addr(&self) -> SocketAddr;
    async fn accept(&self) -> io::Result<Accepted<Self::Reader, Self::Writer>>;
}

pub struct Accepted<R, W> {
    pub reader: R,
    pub writer: W,
    pub peer: SocketAddr,
}

/// Most bytes that one read of a real connection takes: a peer that sends as fast as it can has its turn, and others theirs.
pub const READ_BYTES_MAX: usize = 256 * 1024;

/// The receiving half of a connection.
#[allow(async_fn_in_trait)]
pub trait Reader: 'static {
    /// Appends what has arrived to `buffer`, within its capacity: at least one byte, or 0 at the end of the stream. The buffer must have
    /// spare capacity.
    async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize>;

    /// Whether what is read now is long, so that nobody waits for it as they do for what is short: until told otherwise, the task that
    /// calls this runs behind all that is ready, and takes little at a time.
    fn read_in_background(&mut self, _is_long: bool) {}
}

/// Whether more of the same response follows at once, so that a header and its data share a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Follows {
    More,
    Nothing,
}

/// The sending half of a connection. Dropping both halves closes it.
#[allow(async_fn_in_trait)]
pub trait Writer: 'static {
    type Shared: Clone + Send + 'static;

    /// Sends all the bytes, waiting while the peer does not read.
    async fn write_all(&mut self, bytes: Bytes, follows: Follows) -> io::Result<()>;

    /// Sends `len` bytes of a file from `position` without copying them through user space where the transport allows. A cold range is
    /// brought in first, off the shard. `UnexpectedEof` if the file ends before.
    async fn send_file(&mut self, file: &Self::Shared, position: u64, len: u64, follows: Follows) -> io::Result<()>;

    /// Counts the bytes that the transport has taken, as it takes them: whether a peer reads at all.
    fn taken(&self) -> Rc<Cell<u64>>;

    /// Ends the connection in both directions; the peer and our own reader see it.
    fn close(&mut self);
}

/// Whether an error says what this process lacks, and nothing of the disk.
pub fn is_of_process(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Interrupted || matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
}

/// Writes a small file so that a crash leaves the old content or the new, never a mixture: temporary sibling, sync, rename, directory
/// sync. Kafka's checkpoints are written the same way.
pub async fn replace_file<W: World>(world: &W, path: &Path, content: Vec<u8>) -> io::Result<()> {
    let temporary = temporary_sibling(path);
    let file = world.open(&temporary, OpenMode::CreateOrEmpty).await?;
    file.write_at(0, vec![Bytes::from(content)]).await.result?;
    file.sync().await?;
    drop(file);
    world.rename(&temporary, path).await?;
    match path.parent() {
        Some(parent) => world.sync_dir(parent).await,
        None => Ok(()),
    }
}

/// `NAME.tmp` beside `path`: what [`replace_file`] leaves behind when it is interrupted.
pub fn temporary_sibling(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".tmp");
    PathBuf::from(name)
}
