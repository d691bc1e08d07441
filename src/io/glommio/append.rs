//! How the bytes of a write reach the page cache: the ways there are, and the walk over a write's slices.
//!
//! Called by `file` and `probe`; calls the kernel. Lives on the shard of the file.
//!
//! Invariants:
//! 1. Slices are written one after another without a gap; a short write is continued where it ended.
//! 2. Zeros are written behind the slices by the first attempt only, whole or not: whoever writes in the order of positions has begun
//!    nothing behind then.
//! 3. At most [`INLINE_BYTES_MAX`] and the zeros are copied per system call on the shard's thread, so that one large write does not hold the shard.

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;

use bytes::Bytes;

use super::kernel;
use crate::io::{Behind, Written, ZEROS_ALIGN};

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

/// How the page cache of a filesystem is made up.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Folios {
    /// Of single pages, whatever is written.
    #[default]
    Small,
    /// Of folios as large as what is written.
    Large,
}

/// Most bytes one system call copies on the shard's thread: about 0.1 ms.
pub(super) const INLINE_BYTES_MAX: usize = 1 << 20;

/// What an append begins of the file's page cache it fills with zeros, up to a multiple of this. The kernel makes folios as large as a write is
/// long and its place allows; without the zeros 64 KiB anywhere make ten of them, of 4 KiB and more, and the next write goes on in the smallest.
///
/// Measured on ext4, in cpu-s/GB of writes alone, without and with: 64 KiB 0.36 and 0.25, 16 KiB 0.58 and 0.32, 5 KB 0.84 and 0.45, 1 KB 1.4 and
/// 1.1. Up to 256 KiB it is no less, and in a memory group that is full a broker's whole produce path took a fifth more.
pub(super) const FILL_BYTES: u64 = 64 * 1024;

/// Shorter appends are not filled up. In a memory group that is full, the folio that one in sixty of 1 KiB begins is waited for: two of a
/// thousand took milliseconds more beside a reader that fills the group.
const FILL_FROM: usize = 4 * 1024;

static ZEROS: [u8; FILL_BYTES as usize] = [0; FILL_BYTES as usize];

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
    /// Zeros to be written behind the slices, with the first attempt or not at all: later there may be other bytes.
    fill: usize,
    /// The last page is on the disk, and the kernel would read what is not written of it.
    would_read: bool,
    /// The end of what was written, zeros included.
    reached: u64,
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
        Self { slices, next: 0, within: 0, position, left, fill: 0, would_read: false, reached: 0 }
    }

    /// Has zeros follow where that makes the pages of what comes next with those of this, and the file has space for them: a log has none ahead
    /// that is written too slowly for this to matter, and whose pages would be written back with little in them. And where there are zeros on
    /// the disk already: the kernel would read the rest of the last page.
    pub(super) fn fill_up(&mut self, behind: Behind, folios: Folios) {
        let end = self.position + self.left as u64;
        if self.slices.len() >= kernel::SLICES_MAX || self.left > INLINE_BYTES_MAX {
            self.would_read = matches!(behind, Behind::Zeros(_));
            return;
        }
        let filled_to = match (behind, folios) {
            (Behind::Zeros(to), _) => end.next_multiple_of(ZEROS_ALIGN).min(to),
            (Behind::Space(to), Folios::Large) => {
                let begins_one = self.position.next_multiple_of(FILL_BYTES) < end;
                if begins_one && self.left >= FILL_FROM { end.next_multiple_of(FILL_BYTES).min(to) } else { end }
            }
            (Behind::Space(_), Folios::Small) | (Behind::Nothing, _) => end,
        };
        self.fill = filled_to.saturating_sub(end) as usize;
    }

    /// Whether a write on the shard's thread would wait for the disk to read.
    pub(super) fn would_read(&self) -> bool {
        self.would_read
    }

    pub(super) fn fill_no_more(&mut self) {
        self.fill = 0;
    }

    pub(super) fn written(self, result: io::Result<()>) -> Written {
        Written { result, slices: self.slices, reached: self.reached }
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
        self.reached = self.reached.max(self.position);
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
        let fill = std::mem::take(&mut self.fill);
        let written = nix::sys::uio::pwritev(file, &self.io_slices(fill), self.position as i64);
        self.book(written.map_err(io::Error::from), fill)
    }

    /// One `pwritev2(RWF_NOWAIT)`.
    pub(super) fn write_nowait(&mut self, file: BorrowedFd<'_>) -> io::Result<Attempt> {
        let fill = std::mem::take(&mut self.fill);
        let written = kernel::write_nowait(file, &self.io_slices(fill), self.position);
        self.book(written, fill)
    }

    fn book(&mut self, written: io::Result<usize>, fill: usize) -> io::Result<Attempt> {
        match written {
            Ok(count) => {
                let zeros = count.saturating_sub(self.left);
                self.advance(count - zeros)?;
                self.reached += zeros as u64;
                Ok(if self.is_done() { Attempt::Done } else { Attempt::More })
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Attempt::More),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Attempt::WouldWait),
            // It may be the zeros that there is no space for.
            Err(_) if fill > 0 => Ok(Attempt::More),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(Attempt::Unsupported),
            Err(error) => Err(error),
        }
    }

    fn parts(&self) -> impl Iterator<Item = &[u8]> {
        let mut within = self.within;
        self.slices[self.next..].iter().map(move |slice| &slice[std::mem::take(&mut within)..]).filter(|part| !part.is_empty())
    }

    fn io_slices(&self, fill: usize) -> Vec<IoSlice<'_>> {
        let mut room = INLINE_BYTES_MAX;
        let mut slices = Vec::with_capacity((self.slices.len() - self.next + 1).min(kernel::SLICES_MAX));
        for part in self.parts().take(kernel::SLICES_MAX) {
            if room == 0 {
                break;
            }
            let part = &part[..part.len().min(room)];
            room -= part.len();
            slices.push(IoSlice::new(part));
        }
        if fill > 0 {
            slices.push(IoSlice::new(&ZEROS[..fill]));
        }
        slices
    }
}
