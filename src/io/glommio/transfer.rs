//! Sends a range of a file to a socket without copying it through user space, and without ever making the shard wait for the disk or
//! for a slow reader.
//!
//! Called by `socket`; calls `residency`, the kernel, the shard's blocking threads and the socket's own write.
//!
//! Invariants:
//! 1. Only a range just found resident, or just brought in off the shard, goes to `sendfile`.
//! 2. A full socket parks the task: the next few KiB go through an ordinary write, which waits for room. The runtime has no other
//!    wait for room.
//! 3. A fast reader does not hold the shard either: other tasks run after each turn the scheduler allows.

use std::io;
use std::os::fd::AsFd;

use super::blocking::off_shard;
use super::descriptor::SharedFile;
use super::residency::Reads;
use super::socket::Connection;
use super::{kernel, residency, scheduler};
use crate::metrics::Source;

/// Most bytes one `sendfile` call takes, and one residency check covers.
const WINDOW_BYTES: u64 = 1 << 20;

/// Bytes a cold window asks the disk for beyond itself: the next window is then often there in time.
const AHEAD_BYTES: u64 = 1 << 20;

/// Bytes sent by an ordinary write to wait for room in the socket.
const PARKING_BYTES: usize = 8 * 1024;

pub(super) async fn send_file(connection: &Connection, file: &SharedFile, position: u64, len: u64) -> io::Result<()> {
    let end = position.checked_add(len).ok_or(io::ErrorKind::InvalidInput)?;
    let mut position = position;
    // Up to where the range had to be brought in.
    let mut cold_until = position;
    while position < end {
        let window = WINDOW_BYTES.min(end - position);
        if make_resident(file, position, window, end).await? == Source::Disk {
            cold_until = position + window;
        }
        let sent = match kernel::send_file(connection.as_fd(), file.as_fd(), position, window as usize) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                connection.on_taken(count);
                count as u64
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => send_parked(connection, file, position, end).await? as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        let cold = cold_until.saturating_sub(position).min(sent);
        let instruments = &scheduler::current().instruments;
        instruments.on_file_sent(Source::Disk, cold);
        instruments.on_file_sent(Source::PageCache, sent - cold);
        position += sent;
        scheduler::give_way().await;
    }
    Ok(())
}

/// Waits for room in the socket by writing a little; answers with the bytes written.
async fn send_parked(connection: &Connection, file: &SharedFile, position: u64, end: u64) -> io::Result<usize> {
    let wanted = PARKING_BYTES.min((end - position) as usize);
    let mut bytes = Vec::new();
    loop {
        match kernel::read_nowait(file.as_fd(), &mut bytes, wanted, position) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Evicted since it was checked, or a filesystem that cannot read without waiting.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock || error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                let file = file.clone();
                bytes = off_shard(move || {
                    let mut bytes = Vec::new();
                    kernel::read_waiting(file.as_fd(), &mut bytes, wanted, position).map(|_| bytes)
                })
                .await?;
                if bytes.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                break;
            }
            Err(error) => return Err(error),
        }
    }
    connection.write(&bytes).await
}

/// Answers with where the range was found.
async fn make_resident(file: &SharedFile, position: u64, len: u64, end: u64) -> io::Result<Source> {
    let reads = if file.was_cold() { Reads::Possible } else { Reads::None };
    if residency::is_resident(file.residency(), file.as_fd(), position, len, reads) {
        return Ok(Source::PageCache);
    }
    file.note_cold();
    let ahead = AHEAD_BYTES.min(end - position - len);
    let file = file.clone();
    let present = off_shard(move || residency::bring_in(file.as_fd(), position, len, ahead)).await?;
    if present == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Source::Disk) }
}
