//! How the bytes of a write reach the page cache: the ways there are, and the walk over a write's slices.
//!
//! Called by `file` and `probe`; calls the kernel. Lives on the shard of the file.
//!
//! Invariants:
//! 1. Slices are written one after another without a gap; a short write is continued where it ended.
//! 2. At most [`INLINE_BYTES_MAX`] are copied per system call on the shard's thread, so that one large write does not hold the shard.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use bytes::Bytes;

use super::kernel;

/// How appends reach the page cache.
///
/// Measured on ext4, which hands every buffered write of the ring to a worker thread: 16 KiB cost 0.38 cpu-s/GB inline and 2.3-3.0
/// through the ring one at a time (0.75 eight at a time), 64 KiB 0.19 and 0.7-0.9. With eight fsyncs under way the ring's writes wait
/// for a worker, 1.5-2.0 ms in the median, and inline ones take 10 us, 0.1-1.4 ms in the worst thousandth.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum AppendPath {
    /// `pwritev` on the shard's thread; through the ring while so much waits for the disk that the kernel might stop the writer.
    Inline,
    /// `pwritev2(RWF_NOWAIT)` on the shard's thread; what would wait goes to the ring. XFS and btrfs can, ext4 cannot.
    NowaitThenRing,
    /// Gathered into one buffer and written by the shard's ring.
    #[default]
    Ring,
}

/// Most bytes one system call copies on the shard's thread: about 0.1 ms.
pub(super) const INLINE_BYTES_MAX: usize = 1 << 20;

/// Most bytes gathered into one write of the ring.
const RING_BYTES_MAX: usize = 1 << 20;

/// A write on its way: its slices, and how far it has come.
pub(super) struct Gather {
    pub(super) slices: Vec<Bytes>,
    /// The first slice not wholly written, and how much of it is.
    next: usize,
    within: usize,
    position: u64,
    left: usize,
}

/// What came of an attempt that does not wait.
pub(super) enum Attempt {
    Done,
    /// Go on later, on this thread.
    More,
    /// The rest would wait.
    WouldWait,
    /// This filesystem cannot say whether it would.
    Unsupported,
}

impl Gather {
    pub(super) fn new(position: u64, slices: Vec<Bytes>) -> Self {
        let left = slices.iter().map(Bytes::len).sum();
        Self { slices, next: 0, within: 0, position, left }
    }

    pub(super) fn is_done(&self) -> bool {
        self.left == 0
    }

    /// Bytes not yet written.
    pub(super) fn left(&self) -> u64 {
        self.left as u64
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// The next bytes, as one buffer for the ring.
    pub(super) fn gathered(&self) -> Vec<u8> {
        let len = self.left.min(RING_BYTES_MAX);
        let mut buffer = Vec::with_capacity(len);
        for part in self.parts() {
            let room = len - buffer.len();
            if room == 0 {
                break;
            }
            buffer.extend_from_slice(&part[..part.len().min(room)]);
        }
        buffer
    }

    /// Books `count` bytes as written.
    pub(super) fn advance(&mut self, count: usize) -> io::Result<()> {
        if count == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero));
        }
        assert!(count <= self.left, "{count} bytes written of {} left", self.left);
        self.left -= count;
        self.position += count as u64;
        let mut count = count;
        while count > 0 {
            let rest = self.slices[self.next].len() - self.within;
            if count < rest {
                self.within += count;
                break;
            }
            count -= rest;
            self.next += 1;
            self.within = 0;
        }
        Ok(())
    }

    /// One `pwritev`.
    pub(super) fn write_inline(&mut self, file: BorrowedFd<'_>) -> io::Result<Attempt> {
        let written = nix::sys::uio::pwritev(file, &self.io_slices(), self.position as i64);
        self.book(written.map_err(io::Error::from))
    }

    /// One `pwritev2(RWF_NOWAIT)`.
    pub(super) fn write_nowait(&mut self, file: BorrowedFd<'_>) -> io::Result<Attempt> {
        let written = kernel::write_nowait(file, &self.io_slices(), self.position);
        self.book(written)
    }

    fn book(&mut self, written: io::Result<usize>) -> io::Result<Attempt> {
        match written {
            Ok(count) => {
                self.advance(count)?;
                Ok(if self.is_done() { Attempt::Done } else { Attempt::More })
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Attempt::More),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Attempt::WouldWait),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Attempt::Unsupported),
            Err(error) => Err(error),
        }
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut within = self.within;
        self.slices[self.next..].iter().map(move |slice| &slice[std::mem::take(&mut within)..]).filter(|part| !part.is_empty())
    }

    fn io_slices(&self) -> Vec<IoSlice<'_>> {
        let mut room = INLINE_BYTES_MAX;
        let mut slices = Vec::with_capacity((self.slices.len() - self.next).min(kernel::SLICES_MAX));
        for part in self.parts().take(kernel::SLICES_MAX) {
            if room == 0 {
                break;
            }
            let part = &part[..part.len().min(room)];
            room -= part.len();
            slices.push(IoSlice::new(part));
        }
        slices
    }
}
