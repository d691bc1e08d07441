//! Is a range of a file in the page cache, and how it gets there.
//!
//! Called by `transfer` before each `sendfile`, and by `probe`, which finds out what the filesystem can tell; calls the kernel.
//!
//! Invariants:
//! 1. `is_resident` never waits for the disk. `bring_in` does, and is called off the shard only.
//! 2. The answer is a moment's: a page may be evicted right after. A wrong "yes" costs one wait for the disk, never wrong bytes.

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
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

/// Bytes per call while a cold range is brought in: a shard that shares the cpu need not wait longer for it.
const STEP_BYTES: usize = 256 * 1024;

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
        // A page whose read is under way is counted as cached. Readahead mostly finishes in order, so the last byte answers for those. More are
        // not asked: a question that meets the mark of the kernel's readahead has this thread begin the next, of up to 8 MiB.
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

/// Reads the range into the page cache and waits for it. Answers with the bytes there are before the end of the file. Not for a shard's
/// thread.
///
/// The range is sent to `/dev/null`, which takes pages without looking at them: the kernel's own readahead then runs as for any reader in
/// order, in large folios. Measured on ext4, a cold GB brought in costs 0.03-0.17 cpu-s so (by `read_ahead_kb`), 0.13-0.3 with `read`, and
/// 0.3-0.7 by `POSIX_FADV_WILLNEED`, which makes a folio of each page.
pub(super) fn bring_in(file: BorrowedFd<'_>, position: u64, len: u64) -> io::Result<u64> {
    static NOWHERE: OnceLock<Option<fs::File>> = OnceLock::new();
    let nowhere = NOWHERE.get_or_init(|| fs::OpenOptions::new().write(true).open("/dev/null").ok());
    let Some(nowhere) = nowhere else { return read_through(file, position, len) };
    match in_steps(position, len, |at, wanted| kernel::send_file(nowhere.as_fd(), file, at, wanted)) {
        // Not every filesystem can.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => read_through(file, position, len),
        there => there,
    }
}

fn read_through(file: BorrowedFd<'_>, position: u64, len: u64) -> io::Result<u64> {
    let mut scratch = Vec::new();
    in_steps(position, len, |at, wanted| {
        scratch.clear();
        kernel::read_waiting(file, &mut scratch, wanted, at)
    })
}

/// Takes one step after another up to the end of the range or of the file; answers with the bytes there were.
fn in_steps(position: u64, len: u64, mut step: impl FnMut(u64, usize) -> io::Result<usize>) -> io::Result<u64> {
    let mut there = 0;
    while there < len {
        match step(position + there, (len - there).min(STEP_BYTES as u64) as usize) {
            Ok(0) => break,
            Ok(count) => there += count as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(there)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn both_ways_bring_in_what_there_is() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; 3 * STEP_BYTES + 5]).unwrap();
        for way in [bring_in, read_through] {
            let there = |position, len| way(file.as_fd(), position, len).unwrap();
            assert_eq!(there(0, 10), 10);
            assert_eq!(there(3, 2 * STEP_BYTES as u64), 2 * STEP_BYTES as u64);
            assert_eq!(there(STEP_BYTES as u64, 1 << 30), 2 * STEP_BYTES as u64 + 5);
            assert_eq!(there(1 << 30, 10), 0);
        }
    }
}
