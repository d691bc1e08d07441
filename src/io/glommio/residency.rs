//! Is a range of a file in the page cache, and how it gets there.
//!
//! Called by `transfer` before each `sendfile`, and by `probe`, which finds out what the filesystem can tell; calls the kernel.
//!
//! Invariants:
//! 1. `is_resident` never waits for the disk. `bring_in` does, and is called off the shard only.
//! 2. The answer is a moment's: a page may be evicted right after. A wrong "yes" costs one wait for the disk, never wrong bytes.

use std::cell::RefCell;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::OnceLock;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::kernel;

/// What a filesystem can tell about its cached pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Residency {
    /// `cachestat(2)` counts the cached pages of a range in half a microsecond.
    #[default]
    Counted,
    /// One byte in each stretch is asked for without waiting.
    Sampled,
    /// Nothing can be asked: every range is read off the shard first.
    Unknown,
    /// Nothing can be asked, and the operator says that memory holds the log.
    Assumed,
}

/// One sample per this many bytes: the kernel reads ahead at least as far.
const SAMPLE_STRIDE: u64 = 64 * 1024;

/// Bytes read per call while a cold range is brought in.
const SCRATCH_BYTES: usize = 256 * 1024;

/// Whether reads of a file may be under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reads {
    /// It was found cached ever since it was opened.
    None,
    /// A range of it was brought in, or is just being.
    Possible,
}

/// True if `sendfile` of the range will not wait for the disk.
pub(super) fn is_resident(residency: Residency, file: BorrowedFd<'_>, position: u64, len: u64, reads: Reads) -> bool {
    if len == 0 {
        return true;
    }
    match residency {
        Residency::Assumed => true,
        Residency::Unknown => false,
        // A page whose read is under way is counted as cached. Readahead finishes in order, so the last byte answers for those.
        Residency::Counted => {
            is_counted(file, position, len) && (reads == Reads::None || kernel::is_readable(file, position + len - 1) != Some(false))
        }
        Residency::Sampled => {
            let samples = (position..position + len).step_by(SAMPLE_STRIDE as usize).chain([position + len - 1]);
            samples.into_iter().all(|sample| kernel::is_readable(file, sample) == Some(true))
        }
    }
}

fn is_counted(file: BorrowedFd<'_>, position: u64, len: u64) -> bool {
    static PAGE_BYTES: OnceLock<u64> = OnceLock::new();
    let page = *PAGE_BYTES.get_or_init(kernel::page_bytes);
    let pages = (position + len - 1) / page - position / page + 1;
    kernel::cached_pages(file, position, len).is_ok_and(|cached| cached >= pages)
}

/// Has the kernel begin to read the range into the page cache. Not for a shard's thread.
pub(super) fn begin_reading(file: BorrowedFd<'_>, position: u64, len: u64) {
    // Advice only: whoever reads the range brings it in without it too.
    let _advised = posix_fadvise(file, position as i64, len as i64, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
}

/// Reads the range into the page cache and waits for it; `ahead` bytes beyond are asked for without waiting. Answers with the bytes
/// there are before the end of the file. Not for a shard's thread.
pub(super) fn bring_in(file: BorrowedFd<'_>, position: u64, len: u64, ahead: u64) -> io::Result<u64> {
    thread_local! {
        static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }
    begin_reading(file, position, len + ahead);
    SCRATCH.with_borrow_mut(|scratch| {
        let mut read = 0;
        while read < len {
            scratch.clear();
            let wanted = SCRATCH_BYTES.min((len - read) as usize);
            match kernel::read_waiting(file, scratch, wanted, position + read) {
                Ok(0) => break,
                Ok(count) => read += count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    })
}
