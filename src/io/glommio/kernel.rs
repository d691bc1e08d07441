//! System calls that no safe crate offers whole, each behind a safe function. The only file of the crate with `unsafe` in it.
//!
//! Called by the other files of `io::glommio`; calls the kernel. Nothing here waits, except where the name says so.
//!
//! Invariants:
//! 1. Every pointer handed to the kernel outlives its call: nothing here is asynchronous.
//! 2. A descriptor is borrowed for the length of the call; only [`adopt_listener`] hands one over.

use std::io::{self, IoSlice};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd};
use std::task::Poll;

use ::glommio::io::BufferedFile;
use ::glommio::net::TcpListener;
use bytes::BytesMut;
use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal};

/// `cachestat(2)`, Linux 6.5: the same number on every architecture.
const SYS_CACHESTAT: libc::c_long = 451;

/// More slices than this in one call are refused by the kernel (`IOV_MAX`).
pub(super) const SLICES_MAX: usize = 1024;

fn checked(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// Nanoseconds on `CLOCK_MONOTONIC`: one clock for all shards, read without entering the kernel.
pub(super) fn monotonic_nanos() -> u64 {
    clock_nanos(libc::CLOCK_MONOTONIC)
}

/// Nanoseconds of processor time this thread has had. Asks the kernel.
pub(super) fn thread_cpu_nanos() -> u64 {
    clock_nanos(libc::CLOCK_THREAD_CPUTIME_ID)
}

#[inline]
fn clock_nanos(clock: libc::clockid_t) -> u64 {
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: the kernel fills `now`; the two clocks above exist on every Linux, so the call cannot fail.
    let now = unsafe {
        let result = libc::clock_gettime(clock, now.as_mut_ptr());
        assert_eq!(result, 0, "clock {clock} is missing");
        now.assume_init()
    };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Fills the words with random bits from the kernel. Blocks only before the kernel's pool is first seeded, early in boot.
pub(super) fn fill_random(words: &mut [u64]) -> io::Result<()> {
    let bytes = std::mem::size_of_val(words);
    let mut filled = 0;
    while filled < bytes {
        // SAFETY: the range from `filled` to `bytes` lies in `words`, and any bits are a valid u64.
        let result = unsafe { libc::getrandom(words.as_mut_ptr().cast::<u8>().add(filled).cast(), bytes - filled, 0) };
        match checked(result) {
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// `pwritev2` that answers `WouldBlock` instead of waiting for memory, a lock or the disk. `Unsupported` where the filesystem cannot.
pub(super) fn write_nowait(file: BorrowedFd<'_>, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
    let count = slices.len().min(SLICES_MAX) as libc::c_int;
    // SAFETY: IoSlice has the layout of iovec, and the slices outlive the call.
    checked(unsafe { libc::pwritev2(file.as_raw_fd(), slices.as_ptr().cast(), count, position as libc::off_t, libc::RWF_NOWAIT) })
}

/// Appends up to `len` bytes of the file to `buffer`, only as far as they are in the page cache: `WouldBlock` if the first is not.
pub(super) fn read_nowait(file: BorrowedFd<'_>, buffer: &mut Vec<u8>, len: usize, position: u64) -> io::Result<usize> {
    read_flagged(file, buffer, len, position, libc::RWF_NOWAIT)
}

/// Appends up to `len` bytes of the file to `buffer`, waiting for the disk.
pub(super) fn read_waiting(file: BorrowedFd<'_>, buffer: &mut Vec<u8>, len: usize, position: u64) -> io::Result<usize> {
    read_flagged(file, buffer, len, position, 0)
}

fn read_flagged(file: BorrowedFd<'_>, buffer: &mut Vec<u8>, len: usize, position: u64, flags: libc::c_int) -> io::Result<usize> {
    buffer.reserve(len);
    let spare = buffer.spare_capacity_mut();
    let part = libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: len.min(spare.len()) };
    // SAFETY: the kernel writes at most `iov_len` bytes into the spare capacity.
    let count = checked(unsafe { libc::preadv2(file.as_raw_fd(), &part, 1, position as libc::off_t, flags) })?;
    // SAFETY: the first `count` bytes of the spare capacity have just been written.
    unsafe { buffer.set_len(buffer.len() + count) };
    Ok(count)
}

/// Whether the byte can be read without waiting for the disk. True beyond the end of the file too, where nothing has to be read; None
/// if the filesystem cannot tell.
pub(super) fn is_readable(file: BorrowedFd<'_>, position: u64) -> Option<bool> {
    let mut byte = 0u8;
    let part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // SAFETY: the kernel writes at most one byte, into `byte`.
    match checked(unsafe { libc::preadv2(file.as_raw_fd(), &part, 1, position as libc::off_t, libc::RWF_NOWAIT) }) {
        Ok(_) => Some(true),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => None,
        Err(_) => Some(false),
    }
}

/// Has the disk begin to write what is dirty of the range (`sync_file_range(2)`). Waits only for a full queue of the disk, and may leave out what is
/// being written already.
pub(super) fn begin_writing(file: BorrowedFd<'_>, range: &Range<u64>) -> nix::Result<()> {
    sync_file_range(file, range, libc::SYNC_FILE_RANGE_WRITE)
}

/// Waits until the disk has taken all that was written to the range: its cache may have it, and what tells where it lies may be missing.
pub(super) fn write_out(file: BorrowedFd<'_>, range: &Range<u64>) -> nix::Result<()> {
    // Without the first wait, what has changed since it was begun to be written would be left out.
    let all = libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    sync_file_range(file, range, all)
}

fn sync_file_range(file: BorrowedFd<'_>, range: &Range<u64>, flags: libc::c_uint) -> nix::Result<()> {
    let (from, len) = (range.start as libc::off64_t, (range.end - range.start) as libc::off64_t);
    // SAFETY: the call takes no pointers.
    Errno::result(unsafe { libc::sync_file_range(file.as_raw_fd(), from, len, flags) }).map(drop)
}

const FS_JOURNAL_DATA_FL: libc::c_int = 0x4000;

nix::ioctl_read!(
    /// `FS_IOC_GETFLAGS`: what a file was told by `chattr`, or has inherited.
    get_flags,
    b'f',
    1,
    libc::c_long
);

/// Whether what is written to the file goes to the journal first (`chattr +j`).
pub(super) fn journals_data(file: BorrowedFd<'_>) -> io::Result<bool> {
    let mut flags: [libc::c_int; 2] = [0; 2];
    // SAFETY: the call is named after a long, but the kernel writes an int, to the first of `flags`; either has room there.
    unsafe { get_flags(file.as_raw_fd(), flags.as_mut_ptr().cast()) }?;
    Ok(flags[0] & FS_JOURNAL_DATA_FL != 0)
}

/// Lets all other threads come before this one, by so much. A system that refuses leaves it as it is.
pub(super) fn give_precedence(nice: i32) {
    // SAFETY: the call takes no pointers; zero is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
}

/// `sendfile(2)`: 0 at the end of the file, `WouldBlock` when a non-blocking socket is full. Sleeps on pages that are not cached.
pub(super) fn send_file(socket: BorrowedFd<'_>, file: BorrowedFd<'_>, position: u64, len: usize) -> io::Result<usize> {
    let mut offset = position as libc::off_t;
    // SAFETY: both descriptors are open for the length of the call, and `offset` outlives it.
    checked(unsafe { libc::sendfile(socket.as_raw_fd(), file.as_raw_fd(), &mut offset, len) })
}

/// `send(2)` without waiting, telling the kernel that more of the same message follows.
pub(super) fn send_with_more(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_MORE | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the kernel reads `bytes` during the call only.
    checked(unsafe { libc::send(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags) })
}

/// Lets `receive` write to the spare capacity of `buffer`, and makes the bytes it reports part of it.
pub(super) fn fill_spare(buffer: &mut BytesMut, receive: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
    let spare = buffer.spare_capacity_mut();
    let room = spare.len();
    // SAFETY: the one caller hands the slice to the runtime's `poll_read`, which passes it to recv(2): written to, never read.
    let spare = unsafe { std::slice::from_raw_parts_mut(spare.as_mut_ptr().cast::<u8>(), room) };
    let received = receive(spare);
    if let Poll::Ready(Ok(count)) = received {
        assert!(count <= room, "more was received than there was room for");
        // SAFETY: `count` bytes behind the length have just been written, within the capacity.
        unsafe { buffer.set_len(buffer.len() + count) };
    }
    received
}

#[repr(C)]
struct CachestatRange {
    offset: u64,
    len: u64,
}

#[repr(C)]
#[derive(Default)]
struct Cachestat {
    cached: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// How many pages of the range are in the page cache. A page whose read is still under way counts.
pub(super) fn cached_pages(file: BorrowedFd<'_>, position: u64, len: u64) -> io::Result<u64> {
    cachestat(file, position, len).map(|answer| answer.cached)
}

/// How many pages of the range the disk has not taken yet.
#[cfg(test)]
pub(super) fn dirty_pages(file: BorrowedFd<'_>, position: u64, len: u64) -> io::Result<u64> {
    cachestat(file, position, len).map(|answer| answer.dirty + answer.writeback)
}

fn cachestat(file: BorrowedFd<'_>, position: u64, len: u64) -> io::Result<Cachestat> {
    let range = CachestatRange { offset: position, len };
    let mut answer = Cachestat::default();
    // SAFETY: both structures have the kernel's layout and outlive the call.
    let result = unsafe { libc::syscall(SYS_CACHESTAT, file.as_raw_fd(), &raw const range, &raw mut answer, 0) };
    checked(result as libc::ssize_t).map(|_| answer)
}

pub(super) fn page_bytes() -> u64 {
    // SAFETY: sysconf only looks up a number.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Makes the smallest ring and gives it back: tells whether this process may use io_uring at all.
pub(super) fn try_io_uring() -> io::Result<()> {
    // `struct io_uring_params` is 120 bytes; all zero asks for a plain ring.
    let mut parameters = [0u64; 15];
    // SAFETY: the kernel reads and writes 120 bytes at `parameters`.
    let result = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()) };
    let ring = checked(result as libc::ssize_t)?;
    // SAFETY: the call just returned this descriptor, and nobody else knows it.
    drop(unsafe { OwnedFd::from_raw_fd(ring as libc::c_int) });
    Ok(())
}

/// The runtime's view of a file that somebody else owns, for operations in the shard's ring. Never dropped, because its drop would
/// close the descriptor; all that stays behind is one weak count on the shard's reactor.
pub(super) fn ring_view(file: BorrowedFd<'_>) -> ManuallyDrop<BufferedFile> {
    // SAFETY: the descriptor is open; `ManuallyDrop` keeps the view from closing it. Whoever holds the view holds the file too.
    ManuallyDrop::new(unsafe { BufferedFile::from_raw_fd(file.as_raw_fd()) })
}

/// Hands a bound, listening socket to the shard's runtime.
pub(super) fn adopt_listener(socket: OwnedFd) -> TcpListener {
    // SAFETY: the listener becomes the descriptor's only owner.
    unsafe { TcpListener::from_raw_fd(socket.into_raw_fd()) }
}

/// The descriptor of something that only tells its number. Borrowed from `owner`, which keeps it open.
pub(super) fn descriptor_of(owner: &impl AsRawFd) -> BorrowedFd<'_> {
    // SAFETY: `owner` is borrowed for as long as the descriptor is, and every caller's type owns the number it tells.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}

/// Sets the process's reaction to a signal. `handler` may only do what is safe inside a signal handler.
pub(super) fn on_signal(signal: Signal, handler: SigHandler) -> io::Result<()> {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the only handlers handed in are `SigIgn` and one that stores an atomic and writes to a pipe.
    unsafe { nix::sys::signal::sigaction(signal, &action) }?;
    Ok(())
}

/// A counter that becomes readable when it is raised. Reads of an empty one wait.
pub(super) fn event() -> io::Result<OwnedFd> {
    // SAFETY: the call takes no pointers.
    let descriptor = checked(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) } as libc::ssize_t)?;
    // SAFETY: the call just returned this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor as libc::c_int) })
}

/// Raises the counter by one. It cannot fill up: whoever rings does so once per wait of the reader.
pub(super) fn ring_event(event: BorrowedFd<'_>) {
    let one = 1u64;
    // SAFETY: the kernel reads eight bytes at `one`.
    unsafe { libc::write(event.as_raw_fd(), (&raw const one).cast(), 8) };
}

/// Writes one byte without waiting: what a signal handler may do. A full pipe is as good as a written one.
pub(super) fn ring_bell(descriptor: libc::c_int) {
    // SAFETY: write(2) is safe in a signal handler; the byte is static.
    unsafe { libc::write(descriptor, b"!".as_ptr().cast(), 1) };
}
