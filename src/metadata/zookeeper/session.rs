//! What lasts as long as a session: who is the controller, and which brokers there are.
//!
//! A session that expired takes these nodes along. The same process makes them again in its next session; another process that finds them
//! waits, or is told that they are taken. A process knows its own nodes of an earlier session by its incarnation.

use super::node::{self, Elected, Epoch};
use super::{ZooKeeperHome, tree_error};
use crate::io::tree::{Change, Refusal, Tree, TreeError, Watch};
use crate::io::{Urgency, World};
use crate::metadata::decision::Registration;
use crate::metadata::home::{HomeError, Member};
use crate::types::planted::{self, Bug};
use crate::types::{Monotonic, NodeId};

/// Bytes of a registration: it becomes a record, which has to fit a node with room to spare.
const REGISTRATION_BYTES_MAX: usize = 64 << 10;

/// Waits for the controller's place, takes it, and raises the epoch in the same group of changes.
pub(super) async fn election<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, node: NodeId) -> Result<i32, HomeError> {
    loop {
        match try_election(home, node).await {
            Ok(Some(epoch)) => return Ok(epoch),
            Ok(None) => {}
            Err(HomeError::Unreachable(_)) => home.pause().await,
            Err(error) => return Err(error),
        }
    }
}

async fn try_election<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, node: NodeId) -> Result<Option<i32>, HomeError> {
    let tree = &home.shared.tree;
    tree.sync().await.map_err(tree_error)?;
    let (epoch, epoch_version) = home.read::<Epoch>(node::EPOCH).await?;
    let (found, watch) = tree.get_watched(node::CONTROLLER).await.map_err(tree_error)?;
    let session = tree.session().id;
    let ours = Elected { node: node.get(), incarnation: home.shared.incarnation.clone() };
    let mut group = vec![];
    match found {
        None => group.push(Change::create_ephemeral(node::CONTROLLER, node::text(&ours))),
        Some(found) if found.stat.ephemeral_owner == session => group.push(Change::check(node::CONTROLLER, found.stat.version)),
        Some(found) if node::parse::<Elected>(node::CONTROLLER, &found.content).is_ok_and(|elected| elected == ours) => {
            group.push(Change::delete(node::CONTROLLER, Some(found.stat.version)));
            group.push(Change::create_ephemeral(node::CONTROLLER, node::text(&ours)));
        }
        Some(_) => {
            watch.fired().await;
            return Ok(None);
        }
    }
    let next = Epoch { epoch: epoch.epoch.saturating_add(1), node: node.get() };
    group.push(Change::set(node::EPOCH, node::text(&next), Some(epoch_version)));
    match tree.write(group).await {
        Ok(_) => {
            home.shared.known.borrow_mut().elected(next, epoch_version.wrapping_add(1));
            Ok(Some(next.epoch))
        }
        // Somebody was faster, or this is what became of an answer that was lost: the next look tells.
        Err(TreeError::Refused { .. } | TreeError::Unknown | TreeError::Unreachable) => {
            home.pause().await;
            Ok(None)
        }
        Err(error @ TreeError::Denied(_)) => Err(tree_error(error)),
    }
}

/// Waits until the epoch is a later one, or the controller's node is not this session's any more.
pub(super) async fn deposed<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, controller_epoch: i32) -> Result<(), HomeError> {
    loop {
        match try_deposed(home, controller_epoch).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(HomeError::Unreachable(_)) => home.pause().await,
            Err(error) => return Err(error),
        }
    }
}

async fn try_deposed<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, controller_epoch: i32) -> Result<bool, HomeError> {
    let tree = &home.shared.tree;
    let (controller, watch) = tree.get_watched(node::CONTROLLER).await.map_err(tree_error)?;
    let (epoch, _) = home.read::<Epoch>(node::EPOCH).await?;
    let session = tree.session();
    let holds = controller.is_some_and(|node| node.stat.ephemeral_owner == session.id);
    if epoch.epoch > controller_epoch || (!holds && session.is_connected()) {
        return Ok(true);
    }
    let epochs = tree.get_watched(node::EPOCH).await.map_err(tree_error)?;
    if epochs.0.is_some_and(|node| node::parse::<Epoch>(node::EPOCH, &node.content).is_ok_and(|epoch| epoch.epoch > controller_epoch)) {
        return Ok(true);
    }
    futures_lite::future::or(watch.fired(), epochs.1.fired()).await;
    Ok(false)
}

/// Announces the broker, and sees to it that it stays announced.
pub(super) async fn register<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, registration: Registration) -> Result<(), HomeError> {
    let bytes = node::text(&registration).len();
    if bytes > REGISTRATION_BYTES_MAX {
        return Err(HomeError::RecordTooLarge { bytes, limit: REGISTRATION_BYTES_MAX });
    }
    let since = home.shared.world.monotonic();
    loop {
        match try_register(home, &registration).await {
            Ok(()) => break,
            Err(HomeError::Unreachable(_)) => {}
            // A process that was killed is registered until its session expires.
            Err(HomeError::Taken { .. }) if !is_over(home, since) => {}
            Err(error) => return Err(error),
        }
        home.pause().await;
    }
    let before = home.shared.registration.borrow_mut().replace(registration);
    if before.is_none() {
        let keeper = home.clone();
        home.shared.world.spawn(Urgency::Background, async move { keep_registered(&keeper).await });
    }
    Ok(())
}

fn is_over<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, since: Monotonic) -> bool {
    home.shared.world.monotonic().since(since) >= home.shared.limits.registration_wait
}

async fn keep_registered<W: World, T: Tree>(home: &ZooKeeperHome<W, T>) {
    let mut warned = false;
    loop {
        let session = home.shared.tree.session();
        let wanted = home.shared.registration.borrow().clone().filter(|_| !planted::is(Bug::RegistrationLost));
        if let Some(wanted) = wanted
            && session.is_connected()
        {
            match try_register(home, &wanted).await {
                Ok(()) => warned = false,
                Err(HomeError::Unreachable(_)) => {
                    home.pause().await;
                    continue;
                }
                Err(error) => {
                    if !warned {
                        tracing::error!("this broker is no longer registered: {error}");
                    }
                    warned = true;
                    home.pause().await;
                    continue;
                }
            }
        }
        let own = registration_watch(home).await;
        match own {
            Some(watch) => {
                let changed = async {
                    home.shared.tree.session_other_than(session).await;
                };
                futures_lite::future::or(watch.fired(), changed).await;
            }
            None => home.pause().await,
        }
    }
}

/// Fires when the broker's own node goes; `None` if that cannot be told now.
async fn registration_watch<W: World, T: Tree>(home: &ZooKeeperHome<W, T>) -> Option<Watch> {
    let node = home.shared.registration.borrow().as_ref().map(|registration| registration.node)?;
    home.shared.tree.get_watched(&node::broker_path(node)).await.ok().map(|(_, watch)| watch)
}

async fn try_register<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, registration: &Registration) -> Result<(), HomeError> {
    let tree = &home.shared.tree;
    let path = node::broker_path(registration.node);
    tree.sync().await.map_err(tree_error)?;
    let create = Change::create_ephemeral(&path, node::text(registration));
    let group = match tree.get(&path).await.map_err(tree_error)? {
        None => vec![create],
        Some(found) => {
            let theirs: Registration = node::parse(&path, &found.content)?;
            if theirs.incarnation != registration.incarnation {
                return Err(taken(&theirs, found.stat.ephemeral_owner));
            }
            if found.stat.ephemeral_owner == tree.session().id && theirs == *registration {
                return Ok(());
            }
            vec![Change::delete(&path, Some(found.stat.version)), create]
        }
    };
    match tree.write(group).await {
        Ok(_) => Ok(()),
        // The next look tells who was faster, or that it was this very call.
        Err(error @ TreeError::Refused { refusal: Refusal::NodeExists | Refusal::NoNode | Refusal::BadVersion, .. }) => {
            Err(HomeError::Unreachable(error.to_string()))
        }
        Err(error) => Err(tree_error(error)),
    }
}

fn taken(theirs: &Registration, session: i64) -> HomeError {
    let place = theirs.endpoints.first().map_or_else(|| "an unknown address".to_owned(), |end| format!("{}:{}", end.host, end.port));
    HomeError::Taken { node: theirs.node, place, session: format!("0x{session:x}") }
}

pub(super) async fn members_other_than<W: World, T: Tree>(
    home: &ZooKeeperHome<W, T>,
    known: &[Member],
) -> Result<Vec<Registration>, HomeError> {
    loop {
        let (names, watch) = match home.shared.tree.children_watched(node::BROKERS).await {
            Ok((names, watch)) => (names.unwrap_or_default(), watch),
            Err(error @ TreeError::Denied(_)) => return Err(tree_error(error)),
            Err(_) => {
                home.pause().await;
                continue;
            }
        };
        match registrations(home, &names).await {
            Ok(found) => {
                let differs = found.len() != known.len() || found.iter().zip(known).any(|(found, known)| found.member() != *known);
                if differs {
                    return Ok(found);
                }
                watch.fired().await;
            }
            Err(HomeError::Unreachable(_)) => home.pause().await,
            Err(error) => return Err(error),
        }
    }
}

/// By node id. A node that is no broker's is passed over: who wrote it may neither end the controller nor hide the brokers.
async fn registrations<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, names: &[String]) -> Result<Vec<Registration>, HomeError> {
    let mut found = vec![];
    for name in names {
        let path = format!("{}/{name}", node::BROKERS);
        // One that is gone since the children were read changes them again.
        let Some(broker) = home.shared.tree.get(&path).await.map_err(tree_error)? else { continue };
        let read = match broker.content.len() {
            0..=REGISTRATION_BYTES_MAX => node::parse::<Registration>(&path, &broker.content),
            bytes => Err(HomeError::RecordTooLarge { bytes, limit: REGISTRATION_BYTES_MAX }),
        };
        match read {
            Ok(registration) if node::broker_path(registration.node) == path => found.push(registration),
            other => {
                let why = other.map_or_else(|error| error.to_string(), |other| format!("it names node {}", other.node));
                if home.shared.strangers.borrow_mut().insert(path.clone()) {
                    tracing::warn!("ZooKeeper's node {path} is no broker's registration, and is passed over: {why}");
                }
            }
        }
    }
    found.sort_by_key(|registration| registration.node);
    Ok(found)
}
