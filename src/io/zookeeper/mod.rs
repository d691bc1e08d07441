//! A session with real ZooKeeper servers.
//!
//! Called by `cli`, which opens it, and through [`Tree`] by whoever holds it. Its connection, timers and reconnections live on one thread
//! of their own (`ottla-zookeeper`, in `worker`), so that a shard never waits for them: what is asked travels there through a bounded
//! channel, and answers come back to whatever future or thread waits.
//!
//! Invariants:
//! 1. Every request is answered: at its operation timeout at the latest, and at once where the connection has been gone for `patience`.
//! 2. A session is kept as long as the servers keep it: after an outage it is taken up again, and another begins only where they say that
//!    it has expired.
//! 3. At most `in_flight_max` requests are unanswered by the servers; `QUEUE_SLOTS` more wait, and beyond them a request is answered as if
//!    the servers could not be reached.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::tree::{Change, Changed, Node, Session, Tree, TreeError, Watch};

mod address;
mod operation;
mod worker;

pub use address::Address;

/// Requests that wait for their turn.
const QUEUE_SLOTS: usize = 4096;

/// How to speak to an ensemble.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    pub address: Address,
    /// What the servers are asked to keep a silent session for; they have bounds of their own.
    pub session_timeout: Duration,
    /// How long [`ZooKeeper::open`] waits for the first connection.
    pub connection_timeout: Duration,
    /// Longest wait for an answer.
    pub operation_timeout: Duration,
    /// How long a connection may be gone before requests are refused at once.
    pub patience: Duration,
    pub in_flight_max: usize,
}

impl Settings {
    /// Kafka's defaults.
    pub fn new(address: Address) -> Self {
        Self {
            address,
            session_timeout: Duration::from_secs(18),
            connection_timeout: Duration::from_secs(18),
            operation_timeout: Duration::from_secs(10),
            patience: Duration::from_secs(3),
            in_flight_max: 10,
        }
    }
}

/// A session. Clones share it; it ends with [`ZooKeeper::close`], or with the last of them.
#[derive(Clone)]
pub struct ZooKeeper {
    requests: mpsc::Sender<Queued>,
    session: watch::Receiver<Session>,
}

enum Queued {
    Operation { asked: Instant, operation: Operation },
    Close { done: oneshot::Sender<()> },
}

enum Operation {
    Get { path: String, reply: Reply<Option<Node>> },
    GetWatched { path: String, reply: Reply<(Option<Node>, Watch)> },
    Children { path: String, reply: Reply<Option<Vec<String>>> },
    ChildrenWatched { path: String, reply: Reply<(Option<Vec<String>>, Watch)> },
    Write { changes: Vec<Change>, reply: Reply<Vec<Changed>> },
    Sync { reply: Reply<()> },
}

type Reply<T> = oneshot::Sender<Result<T, TreeError>>;

impl ZooKeeper {
    /// Connects, making the chroot where it is missing. One sentence says why it cannot.
    pub async fn open(settings: Settings) -> Result<Self, String> {
        let address = settings.address.to_string();
        let (connected, first) = oneshot::channel();
        let zookeeper = Self::start(settings, connected).map_err(|error| format!("no thread for ZooKeeper: {error}"))?;
        match first.await {
            Ok(Ok(())) => Ok(zookeeper),
            Ok(Err(why)) => Err(format!("zookeeper.connect: {address}: {why}")),
            Err(_ended) => Err(format!("zookeeper.connect: {address}: its thread has ended")),
        }
    }

    fn start(settings: Settings, connected: oneshot::Sender<Result<(), String>>) -> io::Result<Self> {
        let (requests, queue) = mpsc::channel(QUEUE_SLOTS);
        let (changed, session) = watch::channel(Session::NONE);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        thread::Builder::new().name("ottla-zookeeper".into()).spawn(move || worker::run(runtime, settings, queue, changed, connected))?;
        Ok(Self { requests, session })
    }

    /// Ends the session, and with it the nodes that live as long as it does.
    pub async fn close(&self) {
        let (done, ended) = oneshot::channel();
        if self.requests.send(Queued::Close { done }).await.is_ok() {
            let _ended_either_way = ended.await;
        }
    }

    /// Hands a request over; `Unreachable` where there is no room or no thread.
    async fn ask<T>(&self, operation: impl FnOnce(Reply<T>) -> Operation) -> Result<T, TreeError> {
        let (reply, answer) = oneshot::channel();
        let queued = Queued::Operation { asked: Instant::now(), operation: operation(reply) };
        self.requests.try_send(queued).map_err(|_full_or_closed| TreeError::Unreachable)?;
        // A thread that ended has answered nothing: what it had sent may have been done.
        answer.await.unwrap_or(Err(TreeError::Unknown))
    }
}

impl Tree for ZooKeeper {
    async fn get(&self, path: &str) -> Result<Option<Node>, TreeError> {
        self.ask(|reply| Operation::Get { path: path.to_owned(), reply }).await
    }

    async fn get_watched(&self, path: &str) -> Result<(Option<Node>, Watch), TreeError> {
        self.ask(|reply| Operation::GetWatched { path: path.to_owned(), reply }).await
    }

    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, TreeError> {
        self.ask(|reply| Operation::Children { path: path.to_owned(), reply }).await
    }

    async fn children_watched(&self, path: &str) -> Result<(Option<Vec<String>>, Watch), TreeError> {
        self.ask(|reply| Operation::ChildrenWatched { path: path.to_owned(), reply }).await
    }

    async fn write(&self, changes: Vec<Change>) -> Result<Vec<Changed>, TreeError> {
        self.ask(|reply| Operation::Write { changes, reply }).await
    }

    async fn sync(&self) -> Result<(), TreeError> {
        self.ask(|reply| Operation::Sync { reply }).await
    }

    fn session(&self) -> Session {
        *self.session.borrow()
    }

    async fn session_other_than(&self, known: Session) -> Session {
        let mut session = self.session.clone();
        match session.wait_for(|session| *session != known).await {
            Ok(session) => *session,
            // The thread has ended: nothing changes any more.
            Err(_ended) => std::future::pending().await,
        }
    }
}
