//! One request of a ZooKeeper session, from the call of the client library to the answer.
//!
//! Called by `worker`, on its thread. A call hands its bytes to the library before [`begin`] returns, so that requests leave in the order
//! in which they were asked.

use std::future::Future;

use futures_lite::future::{or, poll_once};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout_at};
use zookeeper_client as client;
use zookeeper_client::{Client, Error};

use super::worker::RETRY_PAUSE;
use super::{Operation, Reply};
use crate::io::tree::{Change, Changed, Kind, Node, Refusal, Stat, TreeError, Watch, too_large};

/// Answers what was not sent.
pub(super) fn refuse(operation: Operation) {
    fn unreachable<T>(reply: Reply<T>) {
        let _nobody_waits = reply.send(Err(TreeError::Unreachable));
    }
    match operation {
        Operation::Get { reply, .. } => unreachable(reply),
        Operation::GetWatched { reply, .. } => unreachable(reply),
        Operation::Children { reply, .. } => unreachable(reply),
        Operation::ChildrenWatched { reply, .. } => unreachable(reply),
        Operation::Write { reply, .. } => unreachable(reply),
        Operation::Sync { reply } => unreachable(reply),
    }
}

/// Sends it; a task of the thread's runtime answers it.
pub(super) async fn begin(client: Client, operation: Operation, deadline: Instant, permit: OwnedSemaphorePermit) {
    match operation {
        Operation::Get { path, reply } => {
            send(async move { get(&client, &path).await }, reply, deadline, TreeError::Unreachable, permit).await;
        }
        Operation::GetWatched { path, reply } => {
            send(async move { get_watched(&client, &path).await }, reply, deadline, TreeError::Unreachable, permit).await;
        }
        Operation::Children { path, reply } => {
            send(async move { children(&client, &path).await }, reply, deadline, TreeError::Unreachable, permit).await;
        }
        Operation::ChildrenWatched { path, reply } => {
            send(async move { children_watched(&client, &path).await }, reply, deadline, TreeError::Unreachable, permit).await;
        }
        Operation::Write { changes, reply } => {
            send(async move { write(&client, changes).await }, reply, deadline, TreeError::Unknown, permit).await;
        }
        Operation::Sync { reply } => {
            let work = async move { sync(&client).await };
            send(work, reply, deadline, TreeError::Unreachable, permit).await;
        }
    }
}

async fn send<T: Send + 'static>(
    work: impl Future<Output = Result<T, TreeError>> + Send + 'static,
    reply: Reply<T>,
    deadline: Instant,
    late: TreeError,
    permit: OwnedSemaphorePermit,
) {
    let mut answered = Box::pin(async move {
        let answer = timeout_at(deadline, work).await.unwrap_or(Err(late));
        drop(permit);
        let _nobody_waits = reply.send(answer);
    });
    if poll_once(&mut answered).await.is_none() {
        tokio::spawn(answered);
    }
}

/// Reads may be asked again: of the next server, when the connection to the one before breaks. The caller's deadline ends them.
async fn again(client: &Client, error: Error) -> Result<(), TreeError> {
    match failed(&error, TreeError::Unreachable) {
        TreeError::Unreachable if !client.state().is_terminated() => {
            sleep(RETRY_PAUSE).await;
            Ok(())
        }
        other => Err(other),
    }
}

async fn sync(client: &Client) -> Result<(), TreeError> {
    loop {
        match client.sync("/").await {
            Ok(()) => return Ok(()),
            Err(error) => again(client, error).await?,
        }
    }
}

async fn get(client: &Client, path: &str) -> Result<Option<Node>, TreeError> {
    loop {
        match client.get_data(path).await {
            Ok((content, stat)) => return Ok(Some(Node { content, stat: stat_of(&stat) })),
            Err(Error::NoNode) => return Ok(None),
            Err(error) => again(client, error).await?,
        }
    }
}

async fn get_watched(client: &Client, path: &str) -> Result<(Option<Node>, Watch), TreeError> {
    loop {
        match client.get_and_watch_data(path).await {
            Ok((content, stat, watcher)) => return Ok((Some(Node { content, stat: stat_of(&stat) }), watch(watcher))),
            Err(Error::NoNode) => {
                if let Some(absent) = watch_absence(client, path).await? {
                    return Ok((None, absent));
                }
            }
            Err(error) => again(client, error).await?,
        }
    }
}

/// `None` if the node has been made meanwhile, or is to be looked for again.
async fn watch_absence(client: &Client, path: &str) -> Result<Option<Watch>, TreeError> {
    match client.check_and_watch_stat(path).await {
        Ok((None, watcher)) => Ok(Some(watch(watcher))),
        Ok((Some(_), _)) => Ok(None),
        Err(error) => again(client, error).await.map(|()| None),
    }
}

async fn children(client: &Client, path: &str) -> Result<Option<Vec<String>>, TreeError> {
    loop {
        match client.list_children(path).await {
            Ok(names) => return Ok(Some(sorted(names))),
            Err(Error::NoNode) => return Ok(None),
            Err(error) => again(client, error).await?,
        }
    }
}

async fn children_watched(client: &Client, path: &str) -> Result<(Option<Vec<String>>, Watch), TreeError> {
    loop {
        match client.list_and_watch_children(path).await {
            Ok((names, watcher)) => return Ok((Some(sorted(names)), watch(watcher))),
            Err(Error::NoNode) => {
                if let Some(absent) = watch_absence(client, path).await? {
                    return Ok((None, absent));
                }
            }
            Err(error) => again(client, error).await?,
        }
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

async fn write(client: &Client, changes: Vec<Change>) -> Result<Vec<Changed>, TreeError> {
    // Sent again and again it would close one connection after another.
    if let Some(denied) = too_large(&changes) {
        return Err(denied);
    }
    let mut writer = client.new_multi_writer();
    for change in &changes {
        let added = match change {
            Change::Check { path, version } => writer.add_check_version(path, *version),
            Change::Create { path, content, kind } => writer.add_create(path, content, &options(*kind)),
            Change::Set { path, content, version } => writer.add_set_data(path, content, *version),
            Change::Delete { path, version } => writer.add_delete(path, *version),
        };
        added.map_err(|error| TreeError::Denied(error.to_string()))?;
    }
    match writer.commit().await {
        Ok(results) => Ok(results.into_iter().map(changed).collect()),
        Err(client::MultiWriteError::OperationFailed { index, source }) => Err(match refusal(&source) {
            Some(refusal) => TreeError::Refused { index, refusal },
            None => failed(&source, TreeError::Unknown),
        }),
        Err(client::MultiWriteError::RequestFailed { source }) => Err(failed(&source, TreeError::Unknown)),
    }
}

fn options(kind: Kind) -> client::CreateOptions<'static> {
    let mode = match kind {
        Kind::Persistent => client::CreateMode::Persistent,
        Kind::Ephemeral => client::CreateMode::Ephemeral,
        Kind::PersistentSequential => client::CreateMode::PersistentSequential,
        Kind::EphemeralSequential => client::CreateMode::EphemeralSequential,
    };
    mode.with_acls(client::Acls::anyone_all())
}

fn changed(result: client::MultiWriteResult) -> Changed {
    match result {
        client::MultiWriteResult::Create { path, .. } => Changed::Created(path),
        client::MultiWriteResult::SetData { stat } => Changed::Set(stat.version),
        client::MultiWriteResult::Delete => Changed::Deleted,
        _ => Changed::Checked,
    }
}

fn refusal(error: &Error) -> Option<Refusal> {
    match error {
        Error::NoNode => Some(Refusal::NoNode),
        Error::NodeExists => Some(Refusal::NodeExists),
        Error::BadVersion => Some(Refusal::BadVersion),
        Error::NotEmpty => Some(Refusal::NotEmpty),
        Error::NoChildrenForEphemerals => Some(Refusal::NoChildrenForEphemerals),
        _ => None,
    }
}

/// What a call that the tree did not answer came to; `broken` where the connection is to blame.
fn failed(error: &Error, broken: TreeError) -> TreeError {
    match error {
        Error::NoAuth
        | Error::InvalidAcl
        | Error::AuthFailed
        | Error::QuotaExceeded
        | Error::MarshallingError
        | Error::Unimplemented
        | Error::BadArguments(_) => TreeError::Denied(error.to_string()),
        _ => broken,
    }
}

fn stat_of(stat: &client::Stat) -> Stat {
    Stat {
        created_zxid: stat.czxid,
        modified_zxid: stat.mzxid,
        created_ms: stat.ctime,
        modified_ms: stat.mtime,
        version: stat.version,
        children_version: stat.cversion,
        ephemeral_owner: stat.ephemeral_owner,
        children: stat.num_children,
    }
}

/// A task that fires the watch, and is gone once nobody waits for it.
fn watch(watcher: client::OneshotWatcher) -> Watch {
    let (mut trigger, watch) = Watch::new();
    tokio::spawn(async move {
        let changed = async {
            watcher.changed().await;
            true
        };
        let unwanted = async {
            trigger.closed().await;
            false
        };
        if or(changed, unwanted).await {
            let _nobody_waits = trigger.send(());
        }
    });
    watch
}
