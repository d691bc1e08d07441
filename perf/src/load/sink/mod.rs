//! A broker that stores nothing: it shows what the generator itself can do.
//!
//! Started by hand or by tests; the generator's kinds run against it as against any broker.
//!
//! Every topic exists, with the same partitions, which this broker leads. A partition begins with a run of batches encoded beforehand;
//! what is produced moves its end, and is given to readers as batches of one record each. Records are dropped inside the kernel as soon
//! as the last offset of their batch has been seen.
//!
//! Invariants:
//! 1. Requests of one connection are answered in order; a Fetch that waits holds up those behind it.
//! 2. Loops without waiting as long as there is something to do, and for [`SPIN`] after it.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use clap::Args;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

use super::batch::{self, Shape};
use super::clock::{self, Clock};
use super::link::Link;
use super::options::{CodecName, SIZE_MAX, nanos, seconds, size, volume};
use crate::outcome::Outcome;

mod answer;
mod log;
mod peer;

use log::Log;
use peer::{Peer, Standing};

/// How long the sink goes on without sleeping after the last thing it did.
const SPIN: u64 = 1_000_000;
/// How long it sleeps at a time.
const NAP_MS: u8 = 1;
const LISTENER: u64 = u64::MAX;

#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Port 0 takes a free one; the first line on stdout is the address.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// Of every topic.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(i32).range(1..=100_000))]
    partitions: i32,
    /// What every partition holds from the start.
    #[arg(long, value_name = "BYTES", default_value = "1m", value_parser = held)]
    held_bytes: u64,
    /// Of a batch of what it holds.
    #[arg(long, value_name = "BYTES", default_value = "16384", value_parser = size)]
    batch_bytes: usize,
    /// Of a record of what it holds.
    #[arg(long, value_name = "BYTES", default_value = "1024", value_parser = size)]
    record_bytes: usize,
    /// Refuse so many batches with NOT_LEADER_OR_FOLLOWER before the first is taken.
    #[arg(long, value_name = "N", default_value_t = 0)]
    refuse: u32,
    /// TCP congestion control of its connections; empty leaves it to the system.
    #[arg(long, value_name = "NAME", default_value = "cubic")]
    congestion: String,
    /// End after so long; without it, only a signal ends it.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    seconds: Option<Duration>,
}

fn held(text: &str) -> Result<u64, String> {
    volume(text).and_then(|bytes| if bytes <= SIZE_MAX { Ok(bytes) } else { Err(format!("it is to be {SIZE_MAX} at most")) })
}

pub fn run(options: &Options) -> Result<Outcome, String> {
    let mut sink = Sink::bind(options)?;
    println!("{}", sink.address());
    let clock = sink.clock;
    let until = options.seconds.map_or(u64::MAX, nanos);
    sink.serve(|| clock.nanos() >= until)?;
    let seconds = clock.nanos() as f64 / 1e9;
    Ok(Outcome { load: "sink".to_owned(), requests: sink.log.requests, bytes: sink.log.bytes, seconds, ..Outcome::default() })
}

pub struct Sink {
    clock: Clock,
    listener: TcpListener,
    address: SocketAddr,
    congestion: String,
    epoll: Epoll,
    peers: BTreeMap<u64, Peer>,
    next_peer: u64,
    log: Log,
}

impl Sink {
    pub fn bind(options: &Options) -> Result<Self, String> {
        let refuse = |error: std::io::Error| format!("cannot listen on {}: {error}", options.listen);
        let listener = TcpListener::bind(&options.listen).map_err(refuse)?;
        listener.set_nonblocking(true).map_err(refuse)?;
        let address = listener.local_addr().map_err(refuse)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(|errno| refuse(errno.into()))?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER)).map_err(|errno| refuse(errno.into()))?;
        let shape = Shape {
            record_bytes: options.record_bytes,
            batch_bytes: options.batch_bytes,
            keyed: false,
            codec: CodecName::None.codec(),
            compressibility: 0.5,
        };
        let held = batch::encode(&shape, clock::unix_ms())?;
        let single = batch::encode(&Shape { batch_bytes: 1, ..shape }, clock::unix_ms())?;
        Ok(Self {
            clock: Clock::start(),
            listener,
            address,
            congestion: options.congestion.clone(),
            epoll,
            peers: BTreeMap::new(),
            next_peer: 0,
            log: Log::new(address, options.partitions, &held, options.held_bytes, &single, options.refuse),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers whoever connects, until told to stop.
    pub fn serve(&mut self, mut is_over: impl FnMut() -> bool) -> Result<(), String> {
        let mut events = vec![EpollEvent::empty(); 64];
        let mut busy_until = 0;
        while !is_over() {
            let now = self.clock.nanos();
            let timeout = if now < busy_until { EpollTimeout::ZERO } else { EpollTimeout::from(NAP_MS) };
            let found = match self.epoll.wait(&mut events, timeout) {
                Ok(found) => found,
                Err(Errno::EINTR) => 0,
                Err(errno) => return Err(format!("epoll: {errno}")),
            };
            let now = self.clock.nanos();
            if found > 0 {
                busy_until = now + SPIN;
            }
            for event in &events[..found] {
                match event.data() {
                    LISTENER => self.accept()?,
                    key => self.attend(key, now, true),
                }
            }
            self.attend_held_up(now);
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<(), String> {
        // One that is gone before it is accepted is missed by nobody.
        while let Ok((stream, peer)) = self.listener.accept() {
            let link = Link::adopt(stream, &peer.to_string(), &self.congestion).map_err(|error| error.to_string())?;
            let key = self.next_peer;
            self.next_peer += 1;
            let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP;
            self.epoll.add(&link, EpollEvent::new(interest, key)).map_err(|errno| format!("epoll: {errno}"))?;
            self.peers.insert(key, Peer::new(link));
        }
        Ok(())
    }

    /// Those whose answer waits for records, or for room in the socket.
    fn attend_held_up(&mut self, now: u64) {
        let held_up: Vec<u64> = self.peers.iter().filter(|(_, peer)| peer.is_held_up()).map(|(key, _)| *key).collect();
        for key in held_up {
            self.attend(key, now, false);
        }
    }

    fn attend(&mut self, key: u64, now: u64, may_receive: bool) {
        // A peer that went, or that says what no client says, is forgotten; dropping it closes its socket.
        if let Some(peer) = self.peers.get_mut(&key)
            && peer.attend(&mut self.log, now, may_receive) == Standing::Gone
        {
            self.peers.remove(&key);
        }
    }
}
