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

use super::blocking::{begin_ahead, off_shard};
use super::descriptor::SharedFile;
use super::residency::Reads;
use super::socket::Connection;
use super::{kernel, residency, scheduler};
use crate::metrics::Source;

/// Most bytes one `sendfile` call takes, and one residency check covers.
const WINDOW_BYTES: u64 = 1 << 20;

/// Bytes brought in beyond what a reader of cold data has been sent, so that they are there when it comes. Beyond the end of its answer too:
/// it will ask for what follows.
const AHEAD_BYTES: u64 = 4 << 20;

/// Bytes sent by an ordinary write to wait for room in the socket.
const PARKING_BYTES: usize = 8 * 1024;

pub(super) async fn send_file(connection: &Connection, file: &SharedFile, position: u64, len: u64) -> io::Result<()> {
    let end = position.checked_add(len).ok_or(io::ErrorKind::InvalidInput)?;
    let mut position = position;
    // Up to where the range had to be brought in.
    let mut cold_until = position;
    while position < end {
        let window = WINDOW_BYTES.min(end - position);
        if make_resident(file, position, window).await? == Source::Disk {
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
async fn make_resident(file: &SharedFile, position: u64, len: u64) -> io::Result<Source> {
    let residency = file.residency();
    let reads = if file.read_until().is_some() { Reads::Possible } else { Reads::None };
    if residency::is_resident(residency, file.as_fd(), position, len, reads) {
        read_ahead(file, position + len);
        return Ok(Source::PageCache);
    }
    file.note_read_until(position + len);
    let file = file.clone();
    let present = off_shard(move || residency::bring_in(file.as_fd(), position, len)).await?;
    if present == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(Source::Disk) }
}

/// Brings in more of a file if what was brought in is nearly sent. Of several readers of one file, the one that was last without what it
/// wanted is followed.
fn read_ahead(file: &SharedFile, sent: u64) {
    let Some(until) = file.read_until() else { return };
    if !(sent..sent + AHEAD_BYTES / 2).contains(&until) {
        return;
    }
    let read = file.clone();
    // What fails there fails again for whoever sends it.
    if begin_ahead(move || drop(residency::bring_in(read.as_fd(), until, sent + AHEAD_BYTES - until))) {
        file.note_read_until(sent + AHEAD_BYTES);
    }
}
