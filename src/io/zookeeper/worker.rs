//! The thread of a ZooKeeper session: connects and connects again, takes up a session as long as the servers keep it, sends what is asked.
//!
//! Called by [`super::ZooKeeper`]; calls the client library, whose tasks run on this thread's runtime. `keep` looks after the connection,
//! `serve` takes requests in the order in which they were asked, and each answer is a task of its own (`operation`).

use std::sync::Arc;
use std::time::Duration;

use futures_lite::FutureExt;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;
use zookeeper_client as client;
use zookeeper_client::{Client, SessionState};

use super::{Queued, Settings, operation};
use crate::io::tree::{Link, Session};

/// Between two rounds of attempts, each of which tries every server.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// For the servers' word that the session has been closed.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(2);

/// The connection as one moment shows it.
#[derive(Clone)]
struct Line {
    /// Rooted at the chroot; `None` before the first connection and between two clients.
    client: Option<Client>,
    link: Link,
    /// When the link became so.
    since: Instant,
    /// Why the last attempt failed.
    last_error: String,
}

pub(super) fn run(
    runtime: Runtime,
    settings: Settings,
    queue: mpsc::Receiver<Queued>,
    session: watch::Sender<Session>,
    connected: oneshot::Sender<Result<(), String>>,
) {
    // The library repeats itself at each attempt: what is worth a line is said by `keep`.
    let log = tracing::dispatcher::get_default(Dispatch::clone);
    let _quiet = tracing::subscriber::set_default(NoSubscriber::default());
    runtime.block_on(async {
        let (line, _) = watch::channel(Line { client: None, link: Link::Disconnected, since: Instant::now(), last_error: String::new() });
        let lookout = line.subscribe();
        let keeper = Keeper { settings: &settings, line: &line, session: &session, log };
        let keep = async {
            keeper.keep().await;
            None
        };
        let serve = async {
            if let Err(why) = first_connection(lookout.clone(), &settings).await {
                let _nobody_waits = connected.send(Err(why));
                return None;
            }
            let _nobody_waits = connected.send(Ok(()));
            serve(queue, lookout, &settings).await
        };
        let done = serve.or(keep).await;
        let last = line.send_replace(Line { client: None, link: Link::Disconnected, since: Instant::now(), last_error: String::new() });
        session.send_replace(Session::NONE);
        close(last.client).await;
        if let Some(done) = done {
            let _nobody_waits = done.send(());
        }
    });
}

async fn first_connection(mut lookout: watch::Receiver<Line>, settings: &Settings) -> Result<(), String> {
    if timeout(settings.connection_timeout, lookout.wait_for(|line| line.client.is_some())).await.is_ok() {
        return Ok(());
    }
    let why = lookout.borrow().last_error.clone();
    let why = if why.is_empty() { "no server answers".to_owned() } else { why };
    Err(format!("{why} (waited for {} ms, zookeeper.connection.timeout.ms)", settings.connection_timeout.as_millis()))
}

/// Lets the session go and waits for the servers' word: nodes that live as long as it does are gone then.
async fn close(last: Option<Client>) {
    let Some(last) = last else { return };
    let mut states = last.state_watcher();
    drop(last);
    let closed = async { while !states.changed().await.is_terminated() {} };
    let _closed_or_late = timeout(CLOSE_WAIT_MAX, closed).await;
}

struct Keeper<'a> {
    settings: &'a Settings,
    line: &'a watch::Sender<Line>,
    session: &'a watch::Sender<Session>,
    log: Dispatch,
}

impl Keeper<'_> {
    /// Keeps a session, for ever.
    async fn keep(&self) {
        let mut known: Option<client::SessionInfo> = None;
        loop {
            let connector = Client::connector().with_session_timeout(self.settings.session_timeout);
            let connector = match &known {
                Some(session) => connector.with_session(session.clone()),
                None => connector,
            };
            match connector.connect(&self.settings.address.servers()).await {
                Ok(client) => {
                    known = Some(client.session().clone());
                    self.follow(client).await;
                }
                Err(client::Error::SessionExpired) if known.is_some() => {
                    known = None;
                    self.say("the session with ZooKeeper has expired; another one is begun");
                    self.session.send_replace(Session::NONE);
                    continue;
                }
                Err(error) => self.line.send_modify(|line| line.last_error = error.to_string()),
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    /// Shows what becomes of a client, until it has given up.
    async fn follow(&self, root: Client) {
        let mut states = root.state_watcher();
        let id = root.session_id().0;
        let Some(client) = self.enter_chroot(root).await else { return };
        let mut state = client.state();
        while !state.is_terminated() {
            match state {
                SessionState::Disconnected => self.show(None, Session { id, link: Link::Disconnected }),
                _ => self.show(Some(&client), Session { id, link: Link::Connected }),
            }
            state = states.changed().await;
        }
        self.show(None, Session { id, link: Link::Disconnected });
        self.line.send_modify(|line| line.client = None);
    }

    /// The client below the chroot, which is made where it is missing. `None` once the client has given up.
    async fn enter_chroot(&self, root: Client) -> Option<Client> {
        let chroot = self.settings.address.chroot.as_str();
        if chroot.is_empty() {
            return Some(root);
        }
        let kept = client::CreateMode::Persistent.with_acls(client::Acls::anyone_all());
        while !root.state().is_terminated() {
            match timeout(self.settings.operation_timeout, root.mkdir(chroot, &kept)).await {
                Ok(Ok(())) => return root.chroot(chroot).ok(),
                Ok(Err(error)) => self.line.send_modify(|line| line.last_error = format!("{chroot}: {error}")),
                Err(_elapsed) => {}
            }
            sleep(RETRY_PAUSE).await;
        }
        None
    }

    fn show(&self, connected: Option<&Client>, session: Session) {
        let before = *self.session.borrow();
        if before == session {
            return;
        }
        self.line.send_modify(|line| {
            if let Some(client) = connected {
                line.client = Some(client.clone());
            }
            line.link = session.link;
            line.since = Instant::now();
        });
        self.session.send_replace(session);
        match session.link {
            Link::Connected => self.say("connected to ZooKeeper"),
            Link::Disconnected => self.say("the connection to ZooKeeper is lost"),
        }
    }

    fn say(&self, what: &str) {
        let (address, session) = (&self.settings.address, self.session.borrow().id);
        tracing::dispatcher::with_default(&self.log, || tracing::info!("{what} ({address}, session 0x{session:x})"));
    }
}

/// Sends what is asked until the session is to be closed, and gives whom to tell of its end.
async fn serve(mut queue: mpsc::Receiver<Queued>, mut lookout: watch::Receiver<Line>, settings: &Settings) -> Option<oneshot::Sender<()>> {
    let free = Arc::new(Semaphore::new(settings.in_flight_max));
    while let Some(queued) = queue.recv().await {
        let (asked, wanted) = match queued {
            Queued::Operation { asked, operation } => (Instant::from_std(asked), operation),
            Queued::Close { done } => return Some(done),
        };
        let deadline = asked + settings.operation_timeout;
        let Some(client) = connected(&mut lookout, deadline, settings.patience).await else {
            operation::refuse(wanted);
            continue;
        };
        match timeout_at(deadline, free.clone().acquire_owned()).await {
            Ok(Ok(permit)) => operation::begin(client, wanted, deadline, permit).await,
            _ => operation::refuse(wanted),
        }
    }
    None
}

/// The client, once it is connected; `None` if it is not in time.
async fn connected(lookout: &mut watch::Receiver<Line>, deadline: Instant, patience: Duration) -> Option<Client> {
    loop {
        let (client, limit) = {
            let line = lookout.borrow_and_update();
            let client = line.client.clone().filter(|_| line.link == Link::Connected);
            (client, deadline.min(line.since + patience))
        };
        if client.is_some() {
            return client;
        }
        timeout_at(limit, lookout.changed()).await.ok()?.ok()?;
    }
}
