//! A response on its way out: chunks of bytes and file ranges, sent in order.

use bytes::Bytes;

use crate::io::World;
use crate::shard::message::SharedFile;

pub enum Chunk<W: World> {
    Bytes(Bytes),
    /// Record bytes that never enter user space where the transport allows.
    File {
        file: SharedFile<W>,
        position: u64,
        len: u64,
    },
}

/// What a request comes to.
pub enum Response<W: World> {
    /// A whole frame in one piece: every API but Fetch.
    Frame(Bytes),
    Chunks(Vec<Chunk<W>>),
    /// acks=0.
    Nothing,
    /// The connection is to be closed without an answer, as Kafka does.
    Close,
}

impl<W: World> Response<W> {
    /// Bytes that leave.
    pub fn size(&self) -> u64 {
        match self {
            Response::Frame(bytes) => bytes.len() as u64,
            Response::Chunks(chunks) => chunks.iter().map(Chunk::size).sum(),
            Response::Nothing | Response::Close => 0,
        }
    }
}

impl<W: World> Chunk<W> {
    fn size(&self) -> u64 {
        match self {
            Chunk::Bytes(bytes) => bytes.len() as u64,
            Chunk::File { len, .. } => *len,
        }
    }
}
