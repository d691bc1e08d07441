//! Files of one shard: writes by the append path of their filesystem, reads that take what is cached at once and the rest through the
//! ring, and the slow metadata operations off the shard.
//!
//! Called by `storage` through [`io::File`](crate::io::File); calls `append`, the kernel and the shard's ring.
//!
//! Invariants:
//! 1. A write or sync that has begun runs to its end even if its future is dropped: it lives in a task of its own.
//! 2. Truncation, allocation, opening and everything by path run on the shard's blocking threads: on a busy journal each can take
//!    milliseconds.
//!
//! A crash leaves what the page cache had not written out undone; `sync` is the only promise.

use std::cell::{Cell, OnceCell};
use std::fs;
use std::io;
use std::mem::ManuallyDrop;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;

use ::glommio::io::BufferedFile;
use bytes::Bytes;
use nix::fcntl::FallocateFlags;

use super::append::{AppendPath, Attempt, Folios, Gather, INLINE_BYTES_MAX};
use super::blocking::{begin_off_shard, off_shard};
use super::descriptor::SharedFile;
use super::dirty::DirtyWatch;
use super::group_commit::GroupCommit;
use super::probe::DeviceTraits;
use super::zeros::{self, Overwrites};
use super::{kernel, residency, scheduler};
use crate::io::{Behind, Written};
use crate::metrics::{Operation, Submission, Timing, WorldInstruments};
use crate::types::Monotonic;

/// Most bytes one ring read fetches.
const RING_READ_BYTES_MAX: usize = 1 << 20;

/// A file open on one shard.
#[derive(Clone)]
pub struct GlommioFile(Rc<Opened>);

struct Opened {
    shared: SharedFile,
    append: Cell<AppendPath>,
    folios: Folios,
    overwrites: Overwrites,
    /// Zeros are being written: a write on the shard's thread would wait for the inode.
    zeroing: Cell<bool>,
    dirty: Arc<DirtyWatch>,
    group_commit: Rc<GroupCommit>,
    instruments: Rc<WorldInstruments>,
    /// Made at the first operation of the ring.
    ring: OnceCell<ManuallyDrop<BufferedFile>>,
}

impl Opened {
    fn ring(&self) -> &BufferedFile {
        self.ring.get_or_init(|| kernel::ring_view(self.shared.as_fd()))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.shared.as_fd()
    }

    /// The clock, if operations are measured.
    fn reading(&self) -> Monotonic {
        match self.instruments.timing() {
            Timing::On => Monotonic::from_nanos(kernel::monotonic_nanos()),
            Timing::Off => Monotonic::default(),
        }
    }

    fn on_done(&self, operation: Operation, bytes: u64, begun: Monotonic) {
        if self.instruments.timing() == Timing::On {
            self.instruments.on_operation(operation, bytes, self.reading().since(begun));
        }
    }

    /// What a write is that needed no waiting.
    fn at_once(&self) -> Operation {
        match self.append.get() {
            AppendPath::Inline => Operation::AppendInline,
            AppendPath::NowaitThenRing => Operation::AppendNowait,
            AppendPath::Ring => Operation::AppendRing,
        }
    }
}

impl GlommioFile {
    pub(super) fn new(
        file: fs::File,
        traits: DeviceTraits,
        dirty: Arc<DirtyWatch>,
        group_commit: Rc<GroupCommit>,
        instruments: Rc<WorldInstruments>,
    ) -> Self {
        let DeviceTraits { append, residency, folios, overwrites, .. } = traits;
        let shared = SharedFile::new(file, residency);
        Self(Rc::new(Opened {
            shared,
            append: Cell::new(append),
            folios,
            overwrites,
            zeroing: Cell::new(false),
            dirty,
            group_commit,
            instruments,
            ring: OnceCell::new(),
        }))
    }

    async fn write(&self, mut gather: Gather) -> Written {
        if gather.is_done() {
            return gather.written(Ok(()));
        }
        let (begun, bytes) = (self.0.reading(), gather.left());
        match write_at_once(&self.0, &mut gather) {
            Ok(Attempt::Done) => {
                self.0.on_done(self.0.at_once(), bytes, begun);
                gather.written(Ok(()))
            }
            Err(error) => gather.written(Err(error)),
            Ok(Attempt::More | Attempt::WouldWait | Attempt::Unsupported) => {
                gather.fill_no_more();
                self.run_to_end(async move |opened| {
                    let result = write_rest(&opened, &mut gather).await.map(|way| opened.on_done(way, bytes, begun));
                    gather.written(result)
                })
                .await
            }
        }
    }

    /// Runs `operation` to its end even if this future is dropped.
    async fn run_to_end<T: 'static>(&self, operation: impl AsyncFnOnce(Rc<Opened>) -> T + 'static) -> T {
        let opened = self.0.clone();
        scheduler::current().run_to_end(async move { operation(opened).await }).await
    }
}

/// Writes as much as needs no waiting, on this thread.
fn write_at_once(opened: &Opened, gather: &mut Gather) -> io::Result<Attempt> {
    match opened.append.get() {
        AppendPath::Ring => Ok(Attempt::WouldWait),
        AppendPath::Inline if opened.dirty.is_behind() || opened.zeroing.get() || gather.would_read() => Ok(Attempt::WouldWait),
        AppendPath::Inline => gather.write_inline(opened.fd()),
        AppendPath::NowaitThenRing => {
            let attempt = gather.write_nowait(opened.fd())?;
            if matches!(attempt, Attempt::Unsupported) {
                opened.append.set(AppendPath::Ring);
                return Ok(Attempt::WouldWait);
            }
            Ok(attempt)
        }
    }
}

/// Answers with the way the write took.
async fn write_rest(opened: &Opened, gather: &mut Gather) -> io::Result<Operation> {
    let mut way = opened.at_once();
    while !gather.is_done() {
        match write_at_once(opened, gather)? {
            Attempt::Done => break,
            Attempt::More => scheduler::give_way().await,
            Attempt::WouldWait | Attempt::Unsupported => {
                way = Operation::AppendRing;
                opened.instruments.on_submitted(Submission::Write);
                let written = opened.ring().write_at(gather.gathered(), gather.position()).await;
                match written.map_err(io::Error::from) {
                    Ok(count) => gather.advance(count)?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(way)
}

impl crate::io::File for GlommioFile {
    type Shared = SharedFile;

    fn share(&self) -> SharedFile {
        self.0.shared.clone()
    }

    async fn len(&self) -> io::Result<u64> {
        Ok(nix::sys::stat::fstat(self.0.fd())?.st_size as u64)
    }

    async fn write_at(&self, position: u64, slices: Vec<Bytes>) -> Written {
        self.write(Gather::new(position, slices)).await
    }

    async fn append_at(&self, position: u64, slices: Vec<Bytes>, behind: Behind) -> Written {
        let mut gather = Gather::new(position, slices);
        gather.fill_up(behind, self.0.folios);
        self.write(gather).await
    }

    async fn read_at(&self, position: u64, len: usize) -> io::Result<Vec<u8>> {
        let (begun, mut way) = (self.0.reading(), Operation::ReadCached);
        let mut buffer = Vec::with_capacity(len);
        while buffer.len() < len {
            let (from, left) = (position + buffer.len() as u64, len - buffer.len());
            match kernel::read_nowait(self.0.fd(), &mut buffer, left.min(INLINE_BYTES_MAX), from) {
                Ok(0) => break,
                Ok(_) => {
                    if buffer.len() < len {
                        scheduler::give_way().await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    way = Operation::ReadRing;
                    self.0.instruments.on_submitted(Submission::Read);
                    let part = self.0.ring().read_at(from, left.min(RING_READ_BYTES_MAX)).await?;
                    if part.is_empty() {
                        break;
                    }
                    buffer.extend_from_slice(&part);
                }
                Err(error) => return Err(error),
            }
        }
        self.0.on_done(way, buffer.len() as u64, begun);
        Ok(buffer)
    }

    fn expect_read(&self, position: u64, len: u64) {
        let file = self.share();
        // On a full queue of the device the kernel makes even this wait.
        begin_off_shard(move || residency::begin_reading(file.as_fd(), position, len));
    }

    async fn sync(&self) -> io::Result<()> {
        self.run_to_end(async move |opened| {
            let begun = opened.reading();
            opened.instruments.on_submitted(Submission::Sync);
            opened.ring().fdatasync().await?;
            opened.on_done(Operation::SyncRing, 0, begun);
            Ok(())
        })
        .await
    }

    async fn sync_range(&self, range: Range<u64>) -> io::Result<()> {
        if self.0.overwrites != Overwrites::InPlace || !self.0.group_commit.is_possible() {
            return self.sync().await;
        }
        let (begun, bytes) = (self.0.reading(), range.end - range.start);
        self.0.group_commit.sync(self.share(), range).await?;
        self.0.on_done(Operation::SyncThread, bytes, begun);
        Ok(())
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        let file = self.share();
        let begun = self.0.reading();
        off_shard(move || nix::unistd::ftruncate(&file, len as i64)).await?;
        self.0.on_done(Operation::TruncateThread, 0, begun);
        Ok(())
    }

    async fn allocate(&self, end: u64) -> io::Result<()> {
        let file = self.share();
        let begun = self.0.reading();
        let allocated = off_shard(move || {
            let len = nix::sys::stat::fstat(&file)?.st_size as u64;
            if end > len {
                nix::fcntl::fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, len as i64, (end - len) as i64)?;
            }
            io::Result::Ok(end.saturating_sub(len))
        })
        .await?;
        self.0.on_done(Operation::AllocateThread, allocated, begun);
        Ok(())
    }

    async fn write_zeros(&self, from: u64, to: u64) -> io::Result<()> {
        if self.0.overwrites == Overwrites::Elsewhere {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let file = self.share();
        let begun = self.0.reading();
        self.0.zeroing.set(true);
        let written = off_shard(move || zeros::write(file.as_fd(), from, to)).await;
        self.0.zeroing.set(false);
        written?;
        self.0.on_done(Operation::ZeroThread, to - from, begun);
        Ok(())
    }
}
