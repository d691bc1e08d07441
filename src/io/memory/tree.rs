//! An ensemble of ZooKeeper servers in memory: one tree of nodes that several sessions share, with faults.
//!
//! Called by unit tests and the simulator; implements [`Tree`]. Each session is that of one simulated node and sees the tree as one server
//! shows it: possibly an older state, which catches up at random, with its own writes, and at a `sync`.
//!
//! # The fault model
//!
//! 1. A write may lose its answer: it is then done, or not done, or done later ([`Faults`]), if need be after its node has crashed.
//! 2. A session may be cut off ([`Ensemble::cut`]): its calls are refused after the patience, and it does not learn that it has expired
//!    until it is joined again. Cutting off everybody is an ensemble that is gone.
//! 3. A session may expire ([`Ensemble::expire`]): the nodes that live as long as it does go, and its node begins another session as soon
//!    as it learns of it. It may take its time to ([`Ensemble::give_up`]).
//! 4. Requests and answers may be slow ([`Ensemble::slow_down`]).
//!
//! All that was ever written can be looked at afterwards ([`Ensemble::history`]): what the log held before a snapshot took its place.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use imbl::OrdMap;
use tokio::sync::watch;

use super::MemoryWorld;
use super::timers::Action;
use crate::io::tree::{Change, Changed, Kind, Link, Node, Refusal, Session, Stat, Tree, TreeError, Watch, WatchTrigger, too_large};
use crate::io::{Urgency, World};
use crate::types::Monotonic;

/// As `zookeeper::Settings::patience`.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest way of a call, and of a write whose answer was lost.
const CALL_MICROS_MAX: u64 = 3_000;
const LATE_MICROS_MAX: u64 = 40_000;
/// Longest that a slow request, or a slow answer, is on its way.
const SLOW_MICROS_MAX: u64 = 2_000_000;

type Nodes = OrdMap<String, Arc<Entry>>;

#[derive(Clone)]
struct Entry {
    content: Vec<u8>,
    stat: Stat,
}

/// How often the answer to a write is lost: one in so many, and never with zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Faults {
    pub lost_before_one_in: u64,
    pub lost_after_one_in: u64,
    pub late_one_in: u64,
}

/// A group of changes as it was made.
#[derive(Clone, Debug)]
pub struct Written {
    pub at: Monotonic,
    /// The simulated node that asked for it.
    pub node: u32,
    pub changes: Vec<Change>,
}

/// The servers. Clones are the same.
#[derive(Clone)]
pub struct Ensemble {
    state: Rc<RefCell<State>>,
}

struct State {
    nodes: Nodes,
    zxid: i64,
    last_session: i64,
    /// By id, those that have not expired.
    sessions: BTreeMap<i64, Server>,
    faults: Faults,
    slow_one_in: u64,
    history: Vec<Written>,
}

/// What a session's server shows, and whom it is to tell of changes.
struct Server {
    view: Nodes,
    watches: Vec<Watching>,
    /// A task catches up for the watches.
    is_catching_up: bool,
}

struct Watching {
    path: String,
    what: Watched,
    trigger: WatchTrigger,
}

enum Watched {
    /// The transactions that made and changed it.
    Node(Option<(i64, i64)>),
    /// The transaction that made it, and how many children have come or gone: one may have gone and come again.
    Children(Option<(i64, i32)>),
}

/// One node's session.
#[derive(Clone)]
pub struct MemoryTree {
    world: MemoryWorld,
    ensemble: Ensemble,
    session: Rc<watch::Sender<Session>>,
}

impl Default for Ensemble {
    fn default() -> Self {
        let root = Arc::new(Entry { content: vec![], stat: Stat::default() });
        let nodes = Nodes::unit("/".to_owned(), root);
        let state = State {
            nodes,
            zxid: 0,
            last_session: 0,
            sessions: BTreeMap::new(),
            faults: Faults::default(),
            slow_one_in: 0,
            history: vec![],
        };
        Self { state: Rc::new(RefCell::new(state)) }
    }
}

impl Ensemble {
    /// Begins a session for a node.
    pub fn connect(&self, world: MemoryWorld) -> MemoryTree {
        let id = self.state.borrow_mut().begin_session();
        let (session, _) = watch::channel(Session { id, link: Link::Connected });
        MemoryTree { world, ensemble: self.clone(), session: Rc::new(session) }
    }

    pub fn set_faults(&self, faults: Faults) {
        self.state.borrow_mut().faults = faults;
    }

    /// One request in so many is slow from now on, and one answer; none with zero.
    pub fn slow_down(&self, one_in: u64) {
        self.state.borrow_mut().slow_one_in = one_in;
    }

    /// The servers give a session up, and its node learns of it if it can.
    pub fn expire(&self, tree: &MemoryTree) {
        self.give_up(tree);
        if tree.session().is_connected() {
            self.join(tree);
        }
    }

    /// The servers give a session up. Its node learns of it when it is joined; until then its calls are refused.
    pub fn give_up(&self, tree: &MemoryTree) {
        self.state.borrow_mut().end_session(tree.session().id);
    }

    /// The node reaches no server any more.
    pub fn cut(&self, tree: &MemoryTree) {
        let id = tree.session().id;
        tree.session.send_replace(Session { id, link: Link::Disconnected });
    }

    /// The node reaches the servers, and learns whether its session is still there.
    pub fn join(&self, tree: &MemoryTree) {
        let id = tree.session().id;
        let is_live = self.state.borrow().sessions.contains_key(&id);
        let id = if is_live { id } else { self.state.borrow_mut().begin_session() };
        tree.session.send_replace(Session { id, link: Link::Connected });
    }

    /// Every node with its content, as the leader has it.
    pub fn dump(&self) -> Vec<(String, Vec<u8>)> {
        self.state.borrow().nodes.iter().map(|(path, entry)| (path.clone(), entry.content.clone())).collect()
    }

    /// A node as the leader has it.
    pub fn peek(&self, path: &str) -> Option<Node> {
        node(&self.state.borrow().nodes, path)
    }

    /// Groups of changes in the order in which they were made, from the so manieth on.
    pub fn history(&self, from: usize) -> Vec<Written> {
        self.state.borrow().history.get(from..).unwrap_or_default().to_vec()
    }
}

impl State {
    fn begin_session(&mut self) -> i64 {
        self.last_session += 1;
        let server = Server { view: self.nodes.clone(), watches: vec![], is_catching_up: false };
        self.sessions.insert(self.last_session, server);
        self.last_session
    }

    fn end_session(&mut self, id: i64) {
        // Its watches fire as they are dropped.
        self.sessions.remove(&id);
        let owned = |(path, entry): (&String, &Arc<Entry>)| (entry.stat.ephemeral_owner == id).then(|| path.clone());
        let owned: Vec<String> = self.nodes.iter().filter_map(owned).collect();
        for path in owned {
            self.zxid += 1;
            if let Err(error) = delete(&mut self.nodes, &path, None) {
                unreachable!("a node without children can be deleted: {error}");
            }
        }
    }

    /// All the changes or none.
    fn write(&mut self, session: i64, changes: &[Change], now_ms: i64) -> Result<Vec<Changed>, TreeError> {
        let mut nodes = self.nodes.clone();
        let zxid = self.zxid + 1;
        let mut changed = vec![];
        for (index, change) in changes.iter().enumerate() {
            match apply(&mut nodes, change, Maker { session, zxid, now_ms }) {
                Ok(done) => changed.push(done),
                Err(refusal) => return Err(TreeError::Refused { index, refusal }),
            }
        }
        (self.nodes, self.zxid) = (nodes, zxid);
        Ok(changed)
    }

    /// The session's server shows all that has been written.
    fn catch_up(&mut self, session: i64) {
        let Some(server) = self.sessions.get_mut(&session) else { return };
        server.view = self.nodes.clone();
        let (fired, kept) = std::mem::take(&mut server.watches).into_iter().partition(|watching| has_changed(&server.view, watching));
        server.watches = kept;
        let fired: Vec<Watching> = fired;
        for watching in fired {
            let _nobody_waits = watching.trigger.send(());
        }
        server.watches.retain(|watching| !watching.trigger.is_closed());
    }
}

/// Who makes a change, in which transaction and when.
#[derive(Clone, Copy)]
struct Maker {
    session: i64,
    zxid: i64,
    now_ms: i64,
}

fn apply(nodes: &mut Nodes, change: &Change, maker: Maker) -> Result<Changed, Refusal> {
    match change {
        Change::Check { path, version } => {
            find(nodes, path, Some(*version))?;
            Ok(Changed::Checked)
        }
        Change::Create { path, content, kind } => create(nodes, path, content, *kind, maker).map(Changed::Created),
        Change::Set { path, content, version } => {
            let mut entry = find(nodes, path, *version)?;
            entry.content.clone_from(content);
            (entry.stat.version, entry.stat.modified_zxid, entry.stat.modified_ms) = (entry.stat.version + 1, maker.zxid, maker.now_ms);
            let version = entry.stat.version;
            nodes.insert(path.clone(), Arc::new(entry));
            Ok(Changed::Set(version))
        }
        Change::Delete { path, version } => delete(nodes, path, *version).map(|()| Changed::Deleted),
    }
}

fn find(nodes: &Nodes, path: &str, version: Option<i32>) -> Result<Entry, Refusal> {
    let entry = nodes.get(path).ok_or(Refusal::NoNode)?;
    if version.is_some_and(|version| version != entry.stat.version) {
        return Err(Refusal::BadVersion);
    }
    Ok(Entry::clone(entry))
}

fn create(nodes: &mut Nodes, path: &str, content: &[u8], kind: Kind, maker: Maker) -> Result<String, Refusal> {
    let above = parent(path);
    let mut parent = find(nodes, above, None)?;
    if parent.stat.ephemeral_owner != 0 {
        return Err(Refusal::NoChildrenForEphemerals);
    }
    let path = match kind {
        Kind::PersistentSequential | Kind::EphemeralSequential => format!("{path}{:010}", parent.stat.children_version),
        Kind::Persistent | Kind::Ephemeral => path.to_owned(),
    };
    if nodes.contains_key(&path) {
        return Err(Refusal::NodeExists);
    }
    parent.stat.children += 1;
    parent.stat.children_version += 1;
    let owner = if matches!(kind, Kind::Ephemeral | Kind::EphemeralSequential) { maker.session } else { 0 };
    let stat = Stat {
        created_zxid: maker.zxid,
        modified_zxid: maker.zxid,
        created_ms: maker.now_ms,
        modified_ms: maker.now_ms,
        ephemeral_owner: owner,
        ..Stat::default()
    };
    nodes.insert(above.to_owned(), Arc::new(parent));
    nodes.insert(path.clone(), Arc::new(Entry { content: content.to_vec(), stat }));
    Ok(path)
}

fn delete(nodes: &mut Nodes, path: &str, version: Option<i32>) -> Result<(), Refusal> {
    if find(nodes, path, version)?.stat.children > 0 {
        return Err(Refusal::NotEmpty);
    }
    let above = parent(path);
    let mut parent = find(nodes, above, None)?;
    parent.stat.children -= 1;
    parent.stat.children_version += 1;
    nodes.insert(above.to_owned(), Arc::new(parent));
    nodes.remove(path);
    Ok(())
}

fn parent(path: &str) -> &str {
    match path.rfind('/') {
        Some(0) | None => "/",
        Some(at) => &path[..at],
    }
}

fn stamps(nodes: &Nodes, path: &str) -> Option<(i64, i64)> {
    nodes.get(path).map(|entry| (entry.stat.created_zxid, entry.stat.modified_zxid))
}

fn children(nodes: &Nodes, path: &str) -> Option<(i64, i32)> {
    nodes.get(path).map(|entry| (entry.stat.created_zxid, entry.stat.children_version))
}

fn names(nodes: &Nodes, path: &str) -> Option<Vec<String>> {
    nodes.get(path)?;
    let prefix = if path == "/" { path.to_owned() } else { format!("{path}/") };
    let below = nodes.range(prefix.clone()..).map(|(path, _)| path).take_while(|path| path.starts_with(&prefix));
    Some(below.map(|path| &path[prefix.len()..]).filter(|name| !name.is_empty() && !name.contains('/')).map(str::to_owned).collect())
}

fn has_changed(view: &Nodes, watching: &Watching) -> bool {
    match &watching.what {
        Watched::Node(seen) => stamps(view, &watching.path) != *seen,
        Watched::Children(seen) => children(view, &watching.path) != *seen,
    }
}

fn node(view: &Nodes, path: &str) -> Option<Node> {
    view.get(path).map(|entry| Node { content: entry.content.clone(), stat: entry.stat })
}

impl MemoryTree {
    /// The way to the server, which may take the patience and end nowhere.
    async fn arrive(&self) -> Result<i64, TreeError> {
        let step = Duration::from_micros(1 + self.world.random() % CALL_MICROS_MAX);
        self.world.sleep(step).await;
        self.linger().await;
        let mut waited = Duration::ZERO;
        while !self.session().is_connected() {
            if waited >= PATIENCE {
                return Err(TreeError::Unreachable);
            }
            self.world.sleep(PATIENCE / 10).await;
            waited += PATIENCE / 10;
        }
        let id = self.session().id;
        if self.is_one_in(3) {
            self.catch_up_soon(id);
        }
        Ok(id)
    }

    /// A request or an answer that is slow.
    async fn linger(&self) {
        let slow_one_in = self.ensemble.state.borrow().slow_one_in;
        if self.is_one_in(slow_one_in) {
            self.world.sleep(Duration::from_micros(self.world.random() % SLOW_MICROS_MAX)).await;
        }
    }

    fn is_one_in(&self, count: u64) -> bool {
        count > 0 && self.world.random().is_multiple_of(count)
    }

    fn catch_up_soon(&self, session: i64) {
        self.ensemble.state.borrow_mut().catch_up(session);
    }

    /// Looks at what the session's server shows; with a watch, notes what is to be told.
    fn look<T>(&self, session: i64, look: impl FnOnce(&Nodes) -> T) -> Result<T, TreeError> {
        let state = self.ensemble.state.borrow();
        state.sessions.get(&session).map(|server| look(&server.view)).ok_or(TreeError::Unreachable)
    }

    fn watch(&self, session: i64, path: &str, what: Watched) -> Watch {
        let (trigger, watch) = Watch::new();
        if let Some(server) = self.ensemble.state.borrow_mut().sessions.get_mut(&session) {
            server.watches.push(Watching { path: path.to_owned(), what, trigger });
            if !std::mem::replace(&mut server.is_catching_up, true) {
                self.tell_later(session);
            }
        }
        watch
    }

    /// A server learns of every change some time.
    fn tell_later(&self, session: i64) {
        let tree = self.clone();
        self.world.spawn(Urgency::Foreground, async move {
            loop {
                let pause = Duration::from_micros(100 + tree.world.random() % LATE_MICROS_MAX);
                tree.world.sleep(pause).await;
                tree.catch_up_soon(session);
                let mut state = tree.ensemble.state.borrow_mut();
                let Some(server) = state.sessions.get_mut(&session) else { return };
                if server.watches.is_empty() {
                    server.is_catching_up = false;
                    return;
                }
            }
        });
    }

    fn apply(&self, session: i64, changes: &[Change]) -> Result<Vec<Changed>, TreeError> {
        let mut state = self.ensemble.state.borrow_mut();
        if !state.sessions.contains_key(&session) {
            return Err(TreeError::Unreachable);
        }
        let done = state.write(session, changes, self.world.wall().get())?;
        state.history.push(Written { at: self.world.monotonic(), node: self.world.node(), changes: changes.to_vec() });
        state.catch_up(session);
        self.world.core.record("tree.write", self.world.node(), session as u64, state.zxid as u64);
        Ok(done)
    }
}

impl Tree for MemoryTree {
    async fn get(&self, path: &str) -> Result<Option<Node>, TreeError> {
        let session = self.arrive().await?;
        self.look(session, |view| node(view, path))
    }

    async fn get_watched(&self, path: &str) -> Result<(Option<Node>, Watch), TreeError> {
        let session = self.arrive().await?;
        let (node, seen) = self.look(session, |view| (node(view, path), stamps(view, path)))?;
        Ok((node, self.watch(session, path, Watched::Node(seen))))
    }

    async fn children(&self, path: &str) -> Result<Option<Vec<String>>, TreeError> {
        let session = self.arrive().await?;
        self.look(session, |view| names(view, path))
    }

    async fn children_watched(&self, path: &str) -> Result<(Option<Vec<String>>, Watch), TreeError> {
        let session = self.arrive().await?;
        let (names, seen) = self.look(session, |view| (names(view, path), children(view, path)))?;
        Ok((names, self.watch(session, path, Watched::Children(seen))))
    }

    async fn write(&self, changes: Vec<Change>) -> Result<Vec<Changed>, TreeError> {
        if let Some(denied) = too_large(&changes) {
            return Err(denied);
        }
        let session = self.arrive().await?;
        let faults = self.ensemble.state.borrow().faults;
        if self.is_one_in(faults.lost_before_one_in) {
            return Err(TreeError::Unknown);
        }
        if self.is_one_in(faults.late_one_in) {
            let tree = self.clone();
            let at = self.world.core.now() + 1_000 * (self.world.random() % LATE_MICROS_MAX);
            // Of no task: the request has left its node.
            let late: Action = Box::new(move |_| drop(tree.apply(session, &changes)));
            self.world.core.timers.borrow_mut().schedule(at, late);
            return Err(TreeError::Unknown);
        }
        let done = self.apply(session, &changes);
        if self.is_one_in(faults.lost_after_one_in) {
            return Err(TreeError::Unknown);
        }
        self.world.sleep(Duration::from_micros(1 + self.world.random() % CALL_MICROS_MAX)).await;
        self.linger().await;
        done
    }

    async fn sync(&self) -> Result<(), TreeError> {
        let session = self.arrive().await?;
        self.catch_up_soon(session);
        Ok(())
    }

    fn session(&self) -> Session {
        *self.session.borrow()
    }

    async fn session_other_than(&self, known: Session) -> Session {
        let mut session = self.session.subscribe();
        match session.wait_for(|session| *session != known).await {
            Ok(session) => *session,
            Err(_closed) => std::future::pending().await,
        }
    }
}
