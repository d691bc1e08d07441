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
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::Arc;

use ::glommio::io::BufferedFile;
use bytes::Bytes;
use nix::fcntl::FallocateFlags;

use super::append::{AppendPath, Attempt, Gather, INLINE_BYTES_MAX};
use super::blocking::off_shard;
use super::descriptor::SharedFile;
use super::dirty::DirtyWatch;
use super::residency::Residency;
use super::{kernel, scheduler};
use crate::io::Written;

/// Most bytes one ring read fetches.
const RING_READ_BYTES_MAX: usize = 1 << 20;

/// A file open on one shard.
#[derive(Clone)]
pub struct GlommioFile(Rc<Opened>);

struct Opened {
    shared: SharedFile,
    append: Cell<AppendPath>,
    dirty: Arc<DirtyWatch>,
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
}

impl GlommioFile {
    pub(super) fn new(file: fs::File, append: AppendPath, residency: Residency, dirty: Arc<DirtyWatch>) -> Self {
        let shared = SharedFile::new(file, residency);
        Self(Rc::new(Opened { shared, append: Cell::new(append), dirty, ring: OnceCell::new() }))
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
        AppendPath::Inline if opened.dirty.is_behind() => Ok(Attempt::WouldWait),
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

async fn write_rest(opened: &Opened, gather: &mut Gather) -> io::Result<()> {
    while !gather.is_done() {
        match write_at_once(opened, gather)? {
            Attempt::Done => break,
            Attempt::More => scheduler::give_way().await,
            Attempt::WouldWait | Attempt::Unsupported => {
                let written = opened.ring().write_at(gather.gathered(), gather.position()).await;
                match written.map_err(io::Error::from) {
                    Ok(count) => gather.advance(count)?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }
    Ok(())
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
        let mut gather = Gather::new(position, slices);
        if gather.is_done() {
            return Written { result: Ok(()), slices: gather.slices };
        }
        match write_at_once(&self.0, &mut gather) {
            Ok(Attempt::Done) => Written { result: Ok(()), slices: gather.slices },
            Err(error) => Written { result: Err(error), slices: gather.slices },
            Ok(Attempt::More | Attempt::WouldWait | Attempt::Unsupported) => {
                self.run_to_end(async move |opened| {
                    let result = write_rest(&opened, &mut gather).await;
                    Written { result, slices: gather.slices }
                })
                .await
            }
        }
    }

    async fn read_at(&self, position: u64, len: usize) -> io::Result<Vec<u8>> {
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
                    let part = self.0.ring().read_at(from, left.min(RING_READ_BYTES_MAX)).await?;
                    if part.is_empty() {
                        break;
                    }
                    buffer.extend_from_slice(&part);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(buffer)
    }

    async fn sync(&self) -> io::Result<()> {
        self.run_to_end(async move |opened| opened.ring().fdatasync().await.map_err(io::Error::from)).await
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        let file = self.share();
        off_shard(move || nix::unistd::ftruncate(&file, len as i64).map_err(io::Error::from)).await
    }

    async fn allocate(&self, end: u64) -> io::Result<()> {
        let file = self.share();
        off_shard(move || {
            let len = nix::sys::stat::fstat(&file)?.st_size as u64;
            if end > len {
                nix::fcntl::fallocate(&file, FallocateFlags::FALLOC_FL_KEEP_SIZE, len as i64, (end - len) as i64)?;
            }
            Ok(())
        })
        .await
    }
}
