//! Listener and stream halves: what a node holds of the network.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::{CLIENT, ConnectionId, Parcel, SERVER};
use crate::io::memory::simulation::Core;
use crate::io::memory::timers::completion;
use crate::io::memory::{MemoryWorld, SharedFile};
use crate::io::{Accepted, Follows, Listener, Reader, Writer};

pub struct MemoryListener {
    core: Rc<Core>,
    id: u64,
    found_under: SocketAddr,
    address: SocketAddr,
    world: MemoryWorld,
}

impl MemoryListener {
    pub(in crate::io::memory) fn new(world: MemoryWorld, address: SocketAddr) -> io::Result<Self> {
        world.check_alive()?;
        let core = world.core.clone();
        let (id, found_under, address) = core.with_network(|network| network.listen(world.node, address))?;
        Ok(Self { core, id, found_under, address, world })
    }
}

impl Listener for MemoryListener {
    type Reader = MemoryReader;
    type Writer = MemoryWriter;

    fn local_addr(&self) -> SocketAddr {
        self.address
    }

    async fn accept(&self) -> io::Result<Accepted<MemoryReader, MemoryWriter>> {
        let poll = poll_fn(|cx| self.core.with_network(|network| network.poll_accept(cx, self.found_under, self.id)));
        let (connection, peer) = poll.await?;
        let (reader, writer) = halves(&self.world, connection, SERVER);
        Ok(Accepted { reader, writer, peer })
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        if self.world.check_alive().is_ok() {
            self.core.with_network(|network| network.stop_listening(self.found_under, self.id));
        }
    }
}

/// An attempt to connect: given up when dropped.
struct Connecting<'a> {
    core: &'a Rc<Core>,
    id: u64,
    taken: bool,
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.core.with_network(|network| network.end_attempt(self.id, self.taken));
    }
}

pub(in crate::io::memory) async fn connect(world: &MemoryWorld, to: SocketAddr) -> io::Result<(MemoryReader, MemoryWriter)> {
    world.check_alive()?;
    let (answer, answered) = completion();
    let id = world.core.with_network(|network| network.attempt(world.node, to, answer));
    let mut connecting = Connecting { core: &world.core, id, taken: false };
    let connection = answered.await?;
    connecting.taken = true;
    Ok(halves(world, connection, CLIENT))
}

/// Closes the connection when the last half drops.
struct End {
    core: Rc<Core>,
    connection: ConnectionId,
    side: usize,
}

impl Drop for End {
    fn drop(&mut self) {
        self.core.with_network(|network| network.close(self.connection, self.side));
    }
}

fn halves(world: &MemoryWorld, connection: ConnectionId, side: usize) -> (MemoryReader, MemoryWriter) {
    let end = Rc::new(End { core: world.core.clone(), connection, side });
    (MemoryReader { end: end.clone() }, MemoryWriter { end, world: world.clone(), taken: Rc::default() })
}

pub struct MemoryReader {
    end: Rc<End>,
}

impl Reader for MemoryReader {
    async fn read(&mut self, buffer: &mut BytesMut) -> io::Result<usize> {
        assert!(buffer.capacity() > buffer.len(), "a read needs spare capacity");
        let End { core, connection, side } = &*self.end;
        poll_fn(|cx| core.with_network(|network| network.poll_read(cx, *connection, *side, buffer))).await
    }
}

pub struct MemoryWriter {
    end: Rc<End>,
    world: MemoryWorld,
    taken: Rc<Cell<u64>>,
}

impl MemoryWriter {
    async fn room(&self) -> io::Result<usize> {
        let End { core, connection, side } = &*self.end;
        poll_fn(|cx| core.with_network(|network| network.poll_room(cx, *connection, *side))).await
    }

    fn send(&self, parcel: Parcel) {
        let len = match &parcel {
            Parcel::Bytes(bytes) => bytes.len(),
            Parcel::Pages { copy, .. } => copy.len(),
            Parcel::End | Parcel::Reset => 0,
        };
        self.taken.set(self.taken.get() + len as u64);
        self.end.core.with_network(|network| network.send(self.end.connection, self.end.side, parcel));
    }
}

impl Writer for MemoryWriter {
    type Shared = SharedFile;

    async fn write_all(&mut self, mut bytes: Bytes, _follows: Follows) -> io::Result<()> {
        while !bytes.is_empty() {
            let room = self.room().await?;
            self.send(Parcel::Bytes(bytes.split_to(room.min(bytes.len()))));
        }
        Ok(())
    }

    async fn send_file(&mut self, file: &SharedFile, mut position: u64, mut len: u64, _follows: Follows) -> io::Result<()> {
        self.world.disk_pause(&file.handle.path).await?;
        while len > 0 {
            let room = self.room().await?;
            let copy = file.handle.read(position, room.min(usize::try_from(len).unwrap_or(usize::MAX)));
            if copy.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            position += copy.len() as u64;
            len -= copy.len() as u64;
            let start = position - copy.len() as u64;
            self.send(Parcel::Pages { file: file.handle.clone(), position: start, copy });
            self.world.network_pause().await;
        }
        Ok(())
    }

    fn taken(&self) -> Rc<Cell<u64>> {
        self.taken.clone()
    }

    fn close(&mut self) {
        self.end.core.with_network(|network| network.close(self.end.connection, self.end.side));
    }
}
