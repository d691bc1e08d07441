//! TCP of one shard: a listener that shares its port with the other shards, and connections split into a reading and a writing half.
//!
//! Called by `server` and `shard` through the traits of [`crate::io`]; calls `transfer`, the shard's ring and the kernel.
//!
//! Invariants:
//! 1. Every connection's socket is non-blocking: `sendfile` honours nothing else, and one slow reader would stop the shard.
//! 2. Both halves wait independently on one stream: the runtime keeps one source per direction. No borrow of the stream outlives a poll.
//! 3. A peer that goes away is an `io::Error`, never a signal or a panic.
//! 4. A peer that sends or reads as fast as it can has its turn like the others: after each step the scheduler may go on with them.

use std::cell::{Cell, RefCell};
use std::ffi::OsString;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;

use ::glommio::net::{TcpListener, TcpStream};
use bytes::{Buf, Bytes, BytesMut};
use futures_lite::{AsyncRead, AsyncWrite};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrStorage, setsockopt, sockopt};

use super::descriptor::SharedFile;
use super::{kernel, scheduler, transfer};
use crate::io::{Accepted, Follows, READ_BYTES_MAX};

/// Most bytes of a read in the background. Memory that was never used comes to a fresh buffer page by page, each some microseconds:
/// this much is what a request of the foreground may have to wait for.
const BACKGROUND_READ_BYTES_MAX: usize = 64 * 1024;

/// Connections the kernel completes ahead of `accept`; it cuts this to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// One connection, shared by its two halves.
pub(super) struct Connection {
    stream: RefCell<TcpStream>,
    /// Bytes that the socket has taken.
    taken: Rc<Cell<u64>>,
}

impl Connection {
    /// Takes over a connected stream. Its descriptor is made non-blocking and closed on exec.
    fn adopt(stream: TcpStream) -> io::Result<Rc<Self>> {
        {
            let socket = kernel::descriptor_of(&stream);
            fcntl(socket, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))?;
            fcntl(socket, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
        }
        Ok(Rc::new(Self { stream: RefCell::new(stream), taken: Rc::default() }))
    }

    /// Appends what has arrived to the spare capacity of `buffer`, `most` bytes of it, waiting for the first byte.
    async fn read(&self, buffer: &mut BytesMut, most: usize) -> io::Result<usize> {
        poll_fn(|context| {
            let mut stream = self.stream.borrow_mut();
            kernel::fill_spare(buffer, |spare| {
                let room = spare.len().min(most);
                Pin::new(&mut *stream).poll_read(context, &mut spare[..room])
            })
        })
        .await
    }

    /// Sends some of the bytes, waiting for room.
    pub(super) async fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let sent = poll_fn(|context| Pin::new(&mut *self.stream.borrow_mut()).poll_write(context, bytes)).await;
            match sent {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => {
                    self.on_taken(*sent.as_ref().unwrap_or(&0));
                    return sent;
                }
            }
        }
    }

    /// Sends some of the bytes if there is room, telling the kernel that more follow.
    fn send_with_more(&self, bytes: &[u8]) -> io::Result<usize> {
        let sent = kernel::send_with_more(self.as_fd(), bytes);
        self.on_taken(*sent.as_ref().unwrap_or(&0));
        sent
    }

    pub(super) fn on_taken(&self, bytes: usize) {
        self.taken.set(self.taken.get() + bytes as u64);
    }

    pub(super) fn as_fd(&self) -> BorrowedFd<'_> {
        kernel::descriptor_of(self)
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.borrow().as_raw_fd()
    }
}

/// The receiving half.
pub struct GlommioReader {
    connection: Rc<Connection>,
    /// The last read took all it could: the next may find bytes at once too, and the one after.
    was_full: bool,
    in_background: bool,
}

/// The sending half.
pub struct GlommioWriter(Rc<Connection>);

fn halves(connection: Rc<Connection>) -> (GlommioReader, GlommioWriter) {
    (GlommioReader { connection: connection.clone(), was_full: false, in_background: false }, GlommioWriter(connection))
}

impl crate::io::Reader for GlommioReader {
    async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        let most = if self.in_background { BACKGROUND_READ_BYTES_MAX } else { READ_BYTES_MAX };
        let room = (buffer.capacity() - buffer.len()).min(most);
        assert!(room > 0, "a read into nothing looks like the end of the stream");
        let was_full = std::mem::take(&mut self.was_full);
        if self.in_background {
            futures_lite::future::yield_now().await;
        } else if was_full {
            scheduler::give_way().await;
        }
        loop {
            match self.connection.read(buffer, most).await {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => {
                    self.was_full = matches!(result, Ok(count) if count == room);
                    return result;
                }
            }
        }
    }

    fn read_in_background(&mut self, is_long: bool) {
        self.in_background = is_long;
        scheduler::run_in_background(is_long);
    }
}

impl crate::io::Writer for GlommioWriter {
    type Shared = SharedFile;

    async fn write_all(&mut self, mut bytes: Bytes, follows: Follows) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = match follows {
                Follows::Nothing => self.0.write(&bytes).await?,
                Follows::More => match self.0.send_with_more(&bytes) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.0.write(&bytes).await?,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                    sent => sent?,
                },
            };
            bytes.advance(sent);
            if !bytes.is_empty() {
                scheduler::give_way().await;
            }
        }
        Ok(())
    }

    async fn send_file(&mut self, file: &SharedFile, position: u64, len: u64, _follows: Follows) -> io::Result<()> {
        // sendfile marks all but the end of each call as "more follows" by itself.
        transfer::send_file(&self.0, file, position, len).await
    }

    fn taken(&self) -> Rc<Cell<u64>> {
        self.0.taken.clone()
    }

    fn close(&mut self) {
        // A peer that is gone already is what was wanted.
        let _gone = nix::sys::socket::shutdown(self.0.as_raw_fd(), Shutdown::Both);
    }
}

/// Accepts one shard's part of the connections to an address.
pub struct GlommioListener {
    listener: TcpListener,
    address: SocketAddr,
}

impl GlommioListener {
    /// Listens beside the other shards on the same address.
    pub(super) fn bind(address: SocketAddr, congestion_control: Option<&str>) -> io::Result<Self> {
        let socket = listening_socket(address, Sharing::WithOtherShards, congestion_control)?;
        let listener = kernel::adopt_listener(socket);
        let address = listener.local_addr().map_err(io::Error::from)?;
        Ok(Self { listener, address })
    }
}

/// Whether other sockets may listen on the same address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    WithOtherShards,
    Alone,
}

/// A bound, listening socket. What is set here is inherited by every connection it accepts.
pub(super) fn listening_socket(address: SocketAddr, sharing: Sharing, congestion_control: Option<&str>) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let socket = nix::sys::socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    if sharing == Sharing::WithOtherShards {
        setsockopt(&socket, sockopt::ReusePort, &true)?;
    }
    setsockopt(&socket, sockopt::TcpNoDelay, &true)?;
    setsockopt(&socket, sockopt::KeepAlive, &true)?;
    set_congestion_control(socket.as_fd(), congestion_control);
    nix::sys::socket::bind(socket.as_raw_fd(), &SockaddrStorage::from(address))?;
    nix::sys::socket::listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(socket)
}

/// A kernel without the algorithm, or one that does not allow it, keeps its own: slower perhaps, but correct.
fn set_congestion_control(socket: BorrowedFd<'_>, algorithm: Option<&str>) {
    if let Some(algorithm) = algorithm {
        let _kept = setsockopt(&socket, sockopt::TcpCongestion, &OsString::from(algorithm));
    }
}

impl crate::io::Listener for GlommioListener {
    type Reader = GlommioReader;
    type Writer = GlommioWriter;

    fn local_addr(&self) -> SocketAddr {
        self.address
    }

    async fn accept(&self) -> io::Result<Accepted<GlommioReader, GlommioWriter>> {
        loop {
            let stream = self.listener.accept().await.map_err(io::Error::from)?;
            // As many may be waiting as the backlog holds, and more come meanwhile: those who are served already have their turn.
            scheduler::give_way().await;
            // A peer may be gone before it is accepted; it then has no address, and nobody misses it.
            if let Ok(peer) = stream.peer_addr() {
                let (reader, writer) = halves(Connection::adopt(stream)?);
                return Ok(Accepted { reader, writer, peer });
            }
        }
    }
}

pub(super) async fn connect(address: SocketAddr, congestion_control: Option<&str>) -> io::Result<(GlommioReader, GlommioWriter)> {
    let stream = TcpStream::connect(address).await.map_err(io::Error::from)?;
    stream.set_nodelay(true).map_err(io::Error::from)?;
    let connection = Connection::adopt(stream)?;
    setsockopt(&connection.as_fd(), sockopt::KeepAlive, &true)?;
    set_congestion_control(connection.as_fd(), congestion_control);
    Ok(halves(connection))
}
