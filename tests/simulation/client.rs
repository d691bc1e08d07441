//! A client's connection: requests go out pipelined, answers are matched to them in order.
//!
//! What it checks by itself: answers come in the order of the requests, each once, within [`ANSWER_WITHIN`], and a connection is not
//! closed without a reason.

use std::collections::{BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_lite::FutureExt;
use kafka_protocol::protocol::{Decodable, Encodable};
use ottla::io::memory::MemoryWorld;
use ottla::io::{Follows, Reader, World, Writer};
use ottla::types::TopicId;
use ottla::wire::api::ApiKey;
use ottla::wire::message;

use crate::scenario::Shared;

/// Longest silence of the broker while a request waits, beyond what the request itself allows: hanging disks and links included.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(120);

/// The connection is of no more use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Broken;

pub struct Connection {
    shared: Rc<Shared>,
    world: MemoryWorld,
    reader: <MemoryWorld as World>::Reader,
    writer: <MemoryWorld as World>::Writer,
    received: BytesMut,
    correlation_id: i32,
    unanswered: VecDeque<(ApiKey, i16, i32)>,
    /// Distinguishes connections of a run.
    pub number: u64,
    /// Something was sent after which the broker may close: a refused produce request with acks=0.
    pub may_close: bool,
    /// Topics that Metadata has shown on this connection: requests that follow find them.
    pub shown: BTreeSet<TopicId>,
    cuts_before: u64,
}

impl Connection {
    /// Tries until a broker answers; `Broken` when the life of the broker ends first.
    pub async fn open(shared: &Rc<Shared>, world: &MemoryWorld) -> Result<Self, Broken> {
        loop {
            if !shared.is_serving() {
                return Err(Broken);
            }
            let cuts_before = shared.cuts();
            if let Ok((reader, writer)) = world.connect(shared.address).await {
                let number = shared.model.borrow_mut().new_connection();
                return Ok(Self {
                    shared: shared.clone(),
                    world: world.clone(),
                    reader,
                    writer,
                    received: BytesMut::new(),
                    correlation_id: (number as i32) << 12,
                    unanswered: VecDeque::new(),
                    number,
                    may_close: false,
                    shown: BTreeSet::new(),
                    cuts_before,
                });
            }
            world.sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends a request that wants an answer.
    pub async fn send(&mut self, key: ApiKey, version: i16, request: &impl Encodable) -> Result<(), Broken> {
        self.send_silent(key, version, request).await?;
        self.unanswered.push_back((key, version, self.correlation_id));
        Ok(())
    }

    /// Sends a request that gets no answer.
    pub async fn send_silent(&mut self, key: ApiKey, version: i16, request: &impl Encodable) -> Result<(), Broken> {
        self.correlation_id += 1;
        let frame = message::encode_request(key.code(), version, self.correlation_id, Some("simulation"), request)
            .unwrap_or_else(|error| panic!("{key:?} version {version}: {error}"));
        let sent = self.writer.write_all(frame, Follows::Nothing);
        let late = async {
            self.world.sleep(ANSWER_WITHIN).await;
            Err(std::io::ErrorKind::TimedOut.into())
        };
        match sent.or(late).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.broken(&format!("sending failed: {error}"), error.kind())),
        }
    }

    /// The answer to the oldest unanswered request, which was sent with this version.
    pub async fn receive<Response: Decodable>(&mut self, within: Duration) -> Result<Response, Broken> {
        let (key, version, wanted) = self.unanswered.pop_front().expect("a request waits for its answer");
        let frame = self.frame(within + ANSWER_WITHIN).await?;
        match message::decode_response(key.code(), version, frame) {
            Ok((correlation_id, response)) if correlation_id == wanted => Ok(response),
            Ok((found, _)) => Err(self.violated(format!("{key:?}: answer {found} came where {wanted} was next"))),
            Err(error) => Err(self.violated(format!("{key:?} version {version}: answer cannot be read: {error}"))),
        }
    }

    pub async fn call<Response: Decodable>(&mut self, key: ApiKey, version: i16, request: &impl Encodable) -> Result<Response, Broken> {
        self.send(key, version, request).await?;
        self.receive(Duration::ZERO).await
    }

    async fn frame(&mut self, within: Duration) -> Result<Bytes, Broken> {
        loop {
            if let Some(size) = self.received.first_chunk::<4>().map(|size| i32::from_be_bytes(*size)) {
                if !(4..=64 << 20).contains(&size) {
                    return Err(self.violated(format!("an answer of {size} bytes was announced")));
                }
                if self.received.len() >= 4 + size as usize {
                    self.received.advance(4);
                    return Ok(self.received.split_to(size as usize).freeze());
                }
            }
            self.received.reserve(4096);
            let late = async {
                self.world.sleep(within).await;
                Err(std::io::ErrorKind::TimedOut.into())
            };
            match self.reader.read(&mut self.received).or(late).await {
                Ok(0) => return Err(self.broken("the broker closed the connection", std::io::ErrorKind::UnexpectedEof)),
                Ok(_) => {}
                Err(error) => return Err(self.broken(&error.to_string(), error.kind())),
            }
        }
    }

    /// The connection ended: is there a reason for that?
    fn broken(&self, how: &str, kind: std::io::ErrorKind) -> Broken {
        if kind == std::io::ErrorKind::TimedOut {
            return self.violated(format!("no byte for {within:?} and more: {how}", within = ANSWER_WITHIN));
        }
        let excused =
            self.may_close || !self.shared.is_up() || self.shared.cuts() != self.cuts_before || self.shared.model.borrow().faulted;
        if !excused {
            return self.violated(format!("broken for no reason with {} requests unanswered: {how}", self.unanswered.len()));
        }
        Broken
    }

    fn violated(&self, what: String) -> Broken {
        self.shared.model.borrow_mut().violate(format!("connection {}: {what}", self.number));
        Broken
    }
}
