//! One connection: a socket that is never waited on, what is still to be written to it, and what has arrived.
//!
//! Called by producers, readers and the sink, whose loops spin over a few of these; calls the kernel.
//!
//! Invariants:
//! 1. No call here waits. A full socket keeps the rest of its outbox for the next [`Link::flush`].
//! 2. Bytes leave in the order in which they were queued.
//! 3. Bytes that the caller discards are dropped inside the kernel (`MSG_TRUNC`) as far as they have not been received yet.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::time::Duration;

use bytes::Bytes;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};

/// How long one attempt to connect may take.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Most pieces of one write.
const PIECES_MAX: usize = 128;
/// Shared pieces up to this long are copied behind what is before them: one longer piece is cheaper than two.
const COPIED_MAX: usize = 4096;
/// Most bytes that one call discards.
const DISCARD_MAX: usize = 1 << 20;
/// Most bytes of one receive; also what an inbox holds at first.
const RECEIVE_MAX: usize = 64 << 10;
/// Most bytes of one receive where large runs of bytes are discarded anyway: enough for the headers between them.
const RECEIVE_SHORT: usize = 256;
/// A run of discarded bytes this long is large.
const LARGE: u64 = 4096;
/// Most bytes an inbox grows to, for one answer that is looked at whole.
const INBOX_MAX: usize = 64 << 20;
/// From so many connections on, asking the kernel which have something is cheaper than trying them all.
const TRIED_MAX: usize = 4;

#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("cannot connect to {address}: {source}")]
    Connect { address: String, source: std::io::Error },
    #[error("congestion control '{name}' is not to be had: {errno}; name another with --congestion, or none")]
    Congestion { name: String, errno: Errno },
    #[error("{address} closed the connection")]
    Closed { address: String },
    #[error("the connection to {address} failed: {source}")]
    Io { address: String, source: std::io::Error },
    #[error("{address} sends an answer of {len} bytes; the most that is read is {INBOX_MAX}")]
    TooLarge { address: String, len: usize },
}

/// What a receive brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    Some,
    Nothing,
}

pub struct Link {
    stream: TcpStream,
    address: String,
    outbox: Outbox,
    pub inbox: Inbox,
}

impl Link {
    /// Connects; `congestion` is empty to leave congestion control to the system.
    pub fn connect(address: &str, congestion: &str) -> Result<Self, LinkError> {
        let refuse = |source| LinkError::Connect { address: address.to_owned(), source };
        let mut last = std::io::Error::new(ErrorKind::NotFound, "the name resolves to no address");
        for candidate in address.to_socket_addrs().map_err(refuse)? {
            match TcpStream::connect_timeout(&candidate, CONNECT_MAX) {
                Ok(stream) => return Self::adopt(stream, address, congestion),
                Err(error) => last = error,
            }
        }
        Err(refuse(last))
    }

    /// Makes a link of a connected stream.
    pub fn adopt(stream: TcpStream, address: &str, congestion: &str) -> Result<Self, LinkError> {
        let io = |source| LinkError::Io { address: address.to_owned(), source };
        if !congestion.is_empty() {
            let name = OsString::from(congestion);
            setsockopt(&stream, sockopt::TcpCongestion, &name)
                .map_err(|errno| LinkError::Congestion { name: congestion.to_owned(), errno })?;
        }
        stream.set_nodelay(true).map_err(io)?;
        stream.set_nonblocking(true).map_err(io)?;
        Ok(Self { stream, address: address.to_owned(), outbox: Outbox::default(), inbox: Inbox::new() })
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// Bytes queued and not written yet.
    pub fn unwritten(&self) -> usize {
        self.outbox.len
    }

    /// Bytes written since the connection opened.
    pub fn written(&self) -> u64 {
        self.outbox.written
    }

    /// Queues bytes by copying them.
    pub fn queue(&mut self, bytes: &[u8]) {
        self.outbox.copy(bytes);
    }

    /// Queues bytes that many requests share.
    pub fn queue_shared(&mut self, bytes: &Bytes) {
        match bytes.len() {
            0..=COPIED_MAX => self.outbox.copy(bytes),
            _ => self.outbox.share(bytes.clone()),
        }
    }

    /// Writes what the socket takes.
    pub fn flush(&mut self) -> Result<(), LinkError> {
        while self.outbox.len > 0 {
            match self.outbox.write(&mut self.stream) {
                Ok(0) => return Err(LinkError::Closed { address: self.address.clone() }),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error)),
            }
        }
        Ok(())
    }

    /// Receives once, or discards once where bytes are to be discarded.
    pub fn receive(&mut self) -> Result<Received, LinkError> {
        if self.inbox.discarding > 0 {
            let want = self.inbox.discarding.min(DISCARD_MAX as u64) as usize;
            return match recv(self.stream.as_raw_fd(), &mut self.inbox.abyss()[..want], MsgFlags::MSG_TRUNC | MsgFlags::MSG_DONTWAIT) {
                Ok(0) => Err(LinkError::Closed { address: self.address.clone() }),
                Ok(count) => {
                    self.inbox.discarding -= count as u64;
                    Ok(Received::Some)
                }
                Err(Errno::EAGAIN | Errno::EINTR) => Ok(Received::Nothing),
                Err(errno) => Err(self.failed(errno.into())),
            };
        }
        let room = self.inbox.room().map_err(|len| LinkError::TooLarge { address: self.address.clone(), len })?;
        match self.stream.read(room) {
            Ok(0) => Err(LinkError::Closed { address: self.address.clone() }),
            Ok(count) => {
                self.inbox.end += count;
                Ok(Received::Some)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(Received::Nothing),
            Err(error) => Err(self.failed(error)),
        }
    }

    fn failed(&self, source: std::io::Error) -> LinkError {
        match source.kind() {
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
                LinkError::Closed { address: self.address.clone() }
            }
            _ => LinkError::Io { address: self.address.clone(), source },
        }
    }
}

impl AsRawFd for Link {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.stream.as_raw_fd()
    }
}

impl std::os::fd::AsFd for Link {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[derive(Default)]
struct Outbox {
    pieces: VecDeque<Piece>,
    /// Bytes of the first piece that are written.
    gone: usize,
    len: usize,
    written: u64,
    /// A written piece, kept for its allocation.
    spare: Vec<u8>,
}

enum Piece {
    Copied(Vec<u8>),
    Shared(Bytes),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Piece::Copied(bytes) => bytes,
            Piece::Shared(bytes) => bytes,
        }
    }
}

impl Outbox {
    fn copy(&mut self, bytes: &[u8]) {
        self.len += bytes.len();
        if let Some(Piece::Copied(last)) = self.pieces.back_mut() {
            last.extend_from_slice(bytes);
            return;
        }
        let mut piece = std::mem::take(&mut self.spare);
        piece.clear();
        piece.extend_from_slice(bytes);
        self.pieces.push_back(Piece::Copied(piece));
    }

    fn share(&mut self, bytes: Bytes) {
        self.len += bytes.len();
        self.pieces.push_back(Piece::Shared(bytes));
    }

    /// One write of as many pieces as one call takes.
    fn write(&mut self, stream: &mut TcpStream) -> std::io::Result<usize> {
        let mut slices = [IoSlice::new(&[]); PIECES_MAX];
        let mut filled = 0;
        for (slot, piece) in slices.iter_mut().zip(&self.pieces) {
            let from = if filled == 0 { self.gone } else { 0 };
            *slot = IoSlice::new(&piece.bytes()[from..]);
            filled += 1;
        }
        let count = match filled {
            1 => stream.write(&slices[0])?,
            _ => stream.write_vectored(&slices[..filled])?,
        };
        self.advance(count);
        Ok(count)
    }

    fn advance(&mut self, count: usize) {
        self.len -= count;
        self.written += count as u64;
        self.gone += count;
        while let Some(first) = self.pieces.front()
            && self.gone >= first.bytes().len()
        {
            self.gone -= first.bytes().len();
            if let Some(Piece::Copied(bytes)) = self.pieces.pop_front() {
                self.spare = bytes;
            }
        }
    }
}

/// What has arrived and was not consumed, and how much of what is to come nobody wants to see.
pub struct Inbox {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes to come that are dropped.
    discarding: u64,
    /// Most bytes of the next receive.
    receive_max: usize,
    /// The caller waits for so many bytes.
    wanted: usize,
    /// Where the kernel is told to put what it drops: reserved, never touched.
    abyss: Vec<u8>,
}

impl Inbox {
    pub fn new() -> Self {
        Self { buffer: vec![0; RECEIVE_MAX], start: 0, end: 0, discarding: 0, receive_max: RECEIVE_MAX, wanted: 0, abyss: Vec::new() }
    }

    fn abyss(&mut self) -> &mut [u8] {
        if self.abyss.is_empty() {
            self.abyss = vec![0; DISCARD_MAX];
        }
        &mut self.abyss
    }

    /// What is here; nothing while bytes are still being discarded.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The next `len` bytes, if they are here; else remembers that they are waited for.
    pub fn whole(&mut self, len: usize) -> Option<&[u8]> {
        self.wanted = len;
        self.buffer[self.start..self.end].get(..len)
    }

    /// The next frame without its size, if it is here whole. A size that is no size comes as an empty frame.
    pub fn frame(&mut self) -> Option<&[u8]> {
        let size = self.whole(4)?;
        let len = usize::try_from(i32::from_be_bytes([size[0], size[1], size[2], size[3]])).unwrap_or(0);
        Some(&self.whole(4 + len)?[4..])
    }

    /// Moves past bytes that are here.
    pub fn consume(&mut self, len: usize) {
        assert!(len <= self.end - self.start, "only what is here is consumed");
        self.start += len;
        self.wanted = 0;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }

    /// Moves past bytes, here or still to come.
    pub fn discard(&mut self, len: u64) {
        self.receive_max = if len >= LARGE { RECEIVE_SHORT } else { RECEIVE_MAX };
        let here = len.min((self.end - self.start) as u64);
        self.consume(here as usize);
        self.discarding += len - here;
    }

    /// Bytes as if they had just been received.
    #[cfg(test)]
    pub fn give(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let dropped = self.discarding.min(bytes.len() as u64);
            self.discarding -= dropped;
            bytes = &bytes[dropped as usize..];
            let room = self.room().expect("less than an inbox holds");
            let count = room.len().min(bytes.len());
            room[..count].copy_from_slice(&bytes[..count]);
            self.end += count;
            bytes = &bytes[count..];
        }
    }

    /// Room for the next receive, or the length that was asked for and is too much.
    fn room(&mut self) -> Result<&mut [u8], usize> {
        let need = self.wanted.saturating_sub(self.end - self.start).max(1);
        if self.wanted > INBOX_MAX {
            return Err(self.wanted);
        }
        if self.buffer.len() - self.end < need {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.buffer.len() - self.end < need {
                self.buffer.resize((self.end + need).next_power_of_two(), 0);
            }
        }
        let until = self.buffer.len().min(self.end + need.max(self.receive_max));
        Ok(&mut self.buffer[self.end..until])
    }
}

/// Which connections may have something to receive: tries all where they are few, else asks the kernel, without waiting.
pub struct Watch {
    asked: Option<Epoll>,
    events: Vec<EpollEvent>,
    count: usize,
}

impl Watch {
    /// Watches links by their place in the slice.
    pub fn over(links: &[&Link]) -> Result<Self, std::io::Error> {
        let asked = match links.len() {
            0..=TRIED_MAX => None,
            _ => {
                let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
                for (index, link) in links.iter().enumerate() {
                    epoll.add(link, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP, index as u64))?;
                }
                Some(epoll)
            }
        };
        Ok(Self { asked, events: vec![EpollEvent::empty(); 64], count: links.len() })
    }

    /// Puts the places of those worth trying into `ready`.
    pub fn poll(&mut self, ready: &mut Vec<usize>) -> Result<(), std::io::Error> {
        ready.clear();
        match &self.asked {
            None => ready.extend(0..self.count),
            Some(epoll) => {
                let found = match epoll.wait(&mut self.events, EpollTimeout::ZERO) {
                    Ok(found) => found,
                    Err(Errno::EINTR) => 0,
                    Err(errno) => return Err(errno.into()),
                };
                ready.extend(self.events[..found].iter().map(|event| event.data() as usize));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn bytes_leave_in_order_whoever_shares_them_and_however_slowly_they_are_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut link = Link::connect(&listener.local_addr().unwrap().to_string(), "").unwrap();
        let (mut reader, _) = listener.accept().unwrap();
        let large: Bytes = (0..1_000_003u32).map(|index| (index % 251) as u8).collect();
        let mut expected = Vec::new();
        for round in 0..40u8 {
            link.queue(&[round; 77]);
            link.queue_shared(&large);
            link.queue_shared(&large.slice(..usize::from(round)));
            expected.extend_from_slice(&[round; 77]);
            expected.extend_from_slice(&large);
            expected.extend_from_slice(&large[..usize::from(round)]);
        }
        assert_eq!(link.unwritten(), expected.len());
        let mut arrived = Vec::new();
        let mut some = vec![0; 300_000];
        while link.unwritten() > 0 {
            link.flush().unwrap();
            let count = reader.read(&mut some).unwrap();
            arrived.extend_from_slice(&some[..count]);
        }
        assert_eq!(link.written(), expected.len() as u64);
        drop(link);
        reader.read_to_end(&mut arrived).unwrap();
        assert!(arrived == expected);
    }

    #[test]
    fn an_inbox_hands_out_what_is_asked_for_and_drops_what_is_discarded() {
        let mut inbox = Inbox::new();
        inbox.give(&[0, 0, 0, 3, 1, 2]);
        assert_eq!(inbox.frame(), None);
        inbox.give(&[3, 9]);
        assert_eq!(inbox.frame(), Some(&[1, 2, 3][..]));
        inbox.consume(7);
        inbox.discard(200_000);
        inbox.give(&vec![5; 199_999]);
        inbox.give(&[7, 8]);
        assert_eq!(inbox.bytes(), [7, 8]);
        // Longer than what it holds at first.
        inbox.consume(2);
        let frame = [&200_000i32.to_be_bytes()[..], &vec![6; 200_000]].concat();
        for piece in frame.chunks(9_999) {
            assert_eq!(inbox.frame(), None);
            inbox.give(piece);
        }
        assert_eq!(inbox.frame().map(<[u8]>::len), Some(200_000));
    }
}
