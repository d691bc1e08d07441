//! The two kinds of homes as a command line names them: opened, checked for a broker that lives, founded, retired.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use crate::io::glommio::GlommioWorld;
use crate::io::zookeeper::{Address, Settings, ZooKeeper};
use crate::metadata::file::{self, FileHome};
use crate::metadata::home::{self, HomeError, Snapshot};
use crate::metadata::zookeeper::{self, ZooKeeperHome};

/// How long ZooKeeper may take to answer at all.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const SCHEME: &str = "zookeeper://";

/// A home, by its name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    Directory(PathBuf),
    Ensemble(Address),
}

impl Place {
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix(SCHEME) {
            Some(address) => Address::parse(address).map(Self::Ensemble),
            None => Ok(Self::Directory(PathBuf::from(text))),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(path) => write!(formatter, "{}", path.display()),
            Self::Ensemble(address) => write!(formatter, "{SCHEME}{address}"),
        }
    }
}

/// A home that is there.
pub enum Opened {
    File(FileHome<GlommioWorld>),
    ZooKeeper(ZooKeeper, ZooKeeperHome<GlommioWorld, ZooKeeper>),
}

/// Where a log is to be moved: nothing is there, and nobody uses it.
pub enum Target {
    Directory(Flock<File>, PathBuf),
    Ensemble(ZooKeeper),
}

fn nothing_in(place: &Place) -> String {
    format!("{place} holds no metadata of a cluster")
}

pub async fn open(world: &GlommioWorld, place: &Place) -> Result<Opened, String> {
    match place {
        Place::Directory(directory) => {
            if !file::is_home(world, directory).await.map_err(sentence)? {
                return Err(nothing_in(place));
            }
            let opened = FileHome::open(world.clone(), directory, file::Limits::default()).await;
            Ok(Opened::File(opened.map_err(sentence)?))
        }
        Place::Ensemble(address) => {
            let session = connect(address).await?;
            if !zookeeper::is_home(&session).await.map_err(sentence)? {
                session.close().await;
                return Err(nothing_in(place));
            }
            let opened = ZooKeeperHome::open(world.clone(), session.clone(), zookeeper::Limits::default()).await;
            Ok(Opened::ZooKeeper(session, opened.map_err(sentence)?))
        }
    }
}

async fn connect(address: &Address) -> Result<ZooKeeper, String> {
    ZooKeeper::open(Settings { connection_timeout: CONNECT_WITHIN, ..Settings::new(address.clone()) }).await
}

/// Makes sure that no broker uses the home; keeps it so, where that can be done.
pub async fn stopped(place: &Place) -> Result<Option<Flock<File>>, String> {
    match place {
        Place::Directory(directory) => lock(directory).map(Some),
        Place::Ensemble(address) => {
            let session = connect(address).await?;
            let live = zookeeper::live_brokers(&session).await.map_err(sentence);
            session.close().await;
            let live = live?;
            if live.is_empty() { Ok(None) } else { Err(lives(place, &live)) }
        }
    }
}

fn lives(place: &Place, live: &[String]) -> String {
    format!("the metadata in {place} is in use by node {}: stop it first, and let its session end", live.join(", "))
}

fn lock(directory: &Path) -> Result<Flock<File>, String> {
    let failed = |error: &dyn fmt::Display| format!("{}: {error}", directory.display());
    fs::create_dir_all(directory).map_err(|error| failed(&error))?;
    let file = File::create(super::lock_of(directory)).map_err(|error| failed(&error))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        nix::errno::Errno::EWOULDBLOCK => failed(&"a broker uses this directory; stop it first"),
        other => failed(&other),
    })
}

/// Makes sure that a log can be moved there.
pub async fn target(world: &GlommioWorld, place: &Place) -> Result<Target, String> {
    let taken = || format!("{place} holds metadata already: a log is moved to where there is none");
    match place {
        Place::Directory(directory) => {
            let lock = lock(directory)?;
            let there = file::is_home(world, directory).await.map_err(sentence)?;
            if there { Err(taken()) } else { Ok(Target::Directory(lock, directory.clone())) }
        }
        Place::Ensemble(address) => {
            let session = connect(address).await?;
            let live = zookeeper::live_brokers(&session).await.map_err(sentence)?;
            if !live.is_empty() {
                return Err(lives(place, &live));
            }
            if zookeeper::is_home(&session).await.map_err(sentence)? { Err(taken()) } else { Ok(Target::Ensemble(session)) }
        }
    }
}

/// Whether a move between the two was cut short when all had been copied and the old home had been retired.
pub async fn only_release_is_left(world: &GlommioWorld, from: &Place, to: &Place, target: &Target) -> Result<bool, String> {
    if refusal(world, from).await? != Some(home::moved_to(&to.to_string())) {
        return Ok(false);
    }
    let of_target = match target {
        Target::Directory(_still, directory) => file::refusal(world, directory).await,
        Target::Ensemble(session) => zookeeper::refusal(session).await,
    };
    Ok(of_target.map_err(sentence)? == Some(home::being_moved(&from.to_string())))
}

async fn refusal(world: &GlommioWorld, place: &Place) -> Result<Option<String>, String> {
    match place {
        Place::Directory(directory) => file::refusal(world, directory).await.map_err(sentence),
        Place::Ensemble(address) => {
            let session = connect(address).await?;
            let refusal = zookeeper::refusal(&session).await.map_err(sentence);
            session.close().await;
            refusal
        }
    }
}

fn sentence(error: HomeError) -> String {
    error.to_string()
}

pub async fn found_in(
    world: &GlommioWorld,
    directory: &Path,
    from: &Place,
    snapshot: &Snapshot,
    epoch: i32,
) -> Result<FileHome<GlommioWorld>, String> {
    let limits = file::Limits::default();
    FileHome::found_from(world.clone(), directory, limits, &from.to_string(), snapshot, epoch).await.map_err(sentence)
}

pub async fn found_on(
    world: &GlommioWorld,
    session: &ZooKeeper,
    from: &Place,
    snapshot: &Snapshot,
    epoch: i32,
) -> Result<ZooKeeperHome<GlommioWorld, ZooKeeper>, String> {
    let limits = zookeeper::Limits::default();
    ZooKeeperHome::found_from(world.clone(), session.clone(), limits, &from.to_string(), snapshot, epoch).await.map_err(sentence)
}

/// The home refuses every start from here on, and says where its log is.
pub async fn retire(world: &GlommioWorld, place: &Place, to: &Place) -> Result<(), String> {
    match place {
        Place::Directory(directory) => file::retire(world, directory, &to.to_string()).await.map_err(sentence),
        Place::Ensemble(address) => {
            let session = connect(address).await?;
            let retired = zookeeper::retire(&session, &to.to_string()).await.map_err(sentence);
            session.close().await;
            retired
        }
    }
}

/// The new home may be used.
pub async fn release(world: &GlommioWorld, target: Target) -> Result<(), String> {
    match target {
        Target::Directory(_lock, directory) => file::take_up(world, &directory).await.map_err(sentence),
        Target::Ensemble(session) => {
            let released = zookeeper::take_up(&session).await.map_err(sentence);
            session.close().await;
            released
        }
    }
}
