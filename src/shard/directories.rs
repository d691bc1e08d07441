//! The log directories of a broker (`log.dirs`): which are in use, and which have room for more.
//!
//! Every shard keeps what it knows of each; shard 0 looks at them, hears of failures, and tells the others. Called by `apply`,
//! `housekeeping` and the steward; a replica asks through [`Directory`].
//!
//! Invariants:
//! 1. A directory in which a write, a sync, a read or a look has failed is taken out of use on every shard, once and until the broker is
//!    restarted: what is on it is refused with KAFKA_STORAGE_ERROR and shown without a leader, the other directories go on.
//! 2. When none is left, or the one that holds the metadata has failed, the broker ends at once, as Kafka's does: it can serve nothing,
//!    or nothing new. What was acknowledged is found by the next start, as after a crash.
//! 3. Below `ottla.disk.reserve.bytes` of free space nothing of a client is appended, and everything else goes on: deletion, retention,
//!    checkpoints and the metadata log need that space to end the shortage. A full disk is thereby a matter of waiting, not of a failed
//!    write; a producer is told KAFKA_STORAGE_ERROR, which the Java client and librdkafka try again until their own time-out.
//! 4. Near that no log takes space before it has a use for it: together they would take what is left.
//!
//! A crash leaves nothing: the next start looks anew.

use std::cell::{Cell, RefCell};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::io::{Urgency, World};
use crate::partition::Directory;
use crate::storage::{OwnedTurn, Turn, layout};
use crate::types::TopicPartition;

use super::Shard;
use super::controller::HOME_SHARD;
use super::flushing::Backlog;
use super::mailbox::Mailbox;
use super::message::{Control, Message};

/// The first of `log.dirs` holds the metadata beside its partitions.
pub const METADATA_DIRECTORY: usize = 0;

/// Between two looks at the space.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The same, while less than [`NEAR_BYTES`] are left above the reserve.
const LOOK_EVERY_NEAR: Duration = Duration::from_millis(100);
/// More than the fastest disk takes in until the next look but one.
const NEAR_BYTES: u64 = 8 << 30;

/// How much of a log directory's filesystem is free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Room {
    /// Less than the reserve: nothing of a client is appended.
    None,
    /// Not much more than that.
    Little,
    Plenty,
}

impl Room {
    fn of(free: u64, reserve: u64) -> Self {
        match free {
            _ if free < reserve => Self::None,
            _ if free < reserve.saturating_add(NEAR_BYTES) => Self::Little,
            _ => Self::Plenty,
        }
    }
}

/// One log directory, as one shard knows it.
pub(super) struct LogDirectory<W: World> {
    pub path: PathBuf,
    index: usize,
    /// Partitions of this shard in it.
    pub partitions: Cell<usize>,
    in_use: Cell<bool>,
    room: Cell<Room>,
    zeros_turn: Rc<Turn>,
    /// What this shard appended to it and did not flush.
    pub backlog: Backlog,
    /// Identity of the page cache that it is written to, as the start found it.
    pub cache: RefCell<Option<Rc<str>>>,
    /// What its checkpoint files hold, where this shard is the one that writes them: what has not moved is not written again.
    pub checkpointed: RefCell<[Vec<u8>; 4]>,
    mailbox: Rc<Mailbox<Message<W>>>,
}

impl<W: World> LogDirectory<W> {
    pub fn new(index: usize, path: PathBuf, backlog: Backlog, mailbox: Rc<Mailbox<Message<W>>>) -> Rc<Self> {
        Rc::new(Self {
            path,
            index,
            partitions: Cell::new(0),
            in_use: Cell::new(true),
            room: Cell::new(Room::Plenty),
            zeros_turn: Rc::default(),
            backlog,
            cache: RefCell::default(),
            checkpointed: RefCell::default(),
            mailbox,
        })
    }

    /// False once it has failed.
    pub fn is_in_use(&self) -> bool {
        self.in_use.get()
    }

    /// Orders directories by how well a new partition is put there; `None` for one that takes none.
    pub fn rank(&self) -> Option<(bool, usize)> {
        self.in_use.get().then(|| (self.room.get() == Room::None, self.partitions.get()))
    }
}

impl<W: World> Directory for LogDirectory<W> {
    fn has_room(&self) -> bool {
        self.room.get() != Room::None
    }

    fn has_space_ahead(&self) -> bool {
        self.room.get() == Room::Plenty
    }

    fn zeros_turn(&self) -> Option<OwnedTurn> {
        self.zeros_turn.try_take()
    }

    fn on_appended(&self, bytes: u64) {
        let due = self.backlog.on_appended(bytes);
        let tell = |control| self.mailbox.send_internal(self.mailbox.id(), Message::Control(Box::new(control)));
        if due.flush {
            tell(Control::FlushDue { directory: self.index });
        }
        if due.note && self.cache.borrow().is_some() {
            tell(Control::NoteDue { directory: self.index });
        }
    }

    fn on_unflushed(&self, partition: TopicPartition) {
        self.backlog.on_unflushed(partition);
    }

    fn on_failed(&self, why: &str) {
        let failed = Control::DirectoryFailed { directory: self.index, why: why.to_owned() };
        self.mailbox.send_internal(HOME_SHARD, Message::Control(Box::new(failed)));
    }

    fn on_log_failed(&self, partition: TopicPartition, why: &str) {
        let failed = Control::LogFailed { partition, why: why.to_owned() };
        self.mailbox.send_internal(self.mailbox.id(), Message::Control(Box::new(failed)));
    }
}

impl<W: World> Shard<W> {
    /// One log takes nothing more, because this process lacked something for it; the others of its directory go on.
    pub(super) fn on_log_failed(self: &Rc<Self>, partition: TopicPartition, why: &str) {
        let Some(replica) = self.replica(partition) else { return };
        let name = format!("{}-{}", replica.topic(), partition.partition);
        tracing::error!("{name} is offline: {why}; it answers KAFKA_STORAGE_ERROR until the broker is restarted");
        self.alarm_coordinators();
        self.report_lost(vec![partition]);
    }

    /// Looks at the space of each log directory, now and then from here on. Home shard.
    pub async fn watch_directories(self: &Rc<Self>) {
        let mut pause = self.look_at_directories().await;
        let shard = self.clone();
        self.world.spawn(Urgency::Background, async move {
            loop {
                shard.world.sleep(pause).await;
                if shard.closing.get() {
                    return;
                }
                pause = shard.look_at_directories().await;
            }
        });
    }

    /// Answers how long the next look may wait.
    async fn look_at_directories(self: &Rc<Self>) -> Duration {
        let reserve = self.settings.storage.disk_reserve_bytes;
        let mut pause = LOOK_EVERY;
        for directory in self.directories.iter().filter(|directory| directory.is_in_use()) {
            let free = match self.world.space(&directory.path).await {
                Ok(space) => space.free,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    self.on_directory_failed(directory.index, &error.to_string());
                    continue;
                }
            };
            let room = Room::of(free, reserve);
            if reserve > 0 && room != Room::Plenty {
                pause = LOOK_EVERY_NEAR;
            }
            let before = directory.room.get();
            if room != before {
                if (room == Room::None) != (before == Room::None) {
                    self.say_room(directory, free, room != Room::None);
                }
                self.tell_all(|| Control::DirectoryRoom { directory: directory.index, room });
                // At once, so that the next look does not find the same change.
                directory.room.set(room);
            }
        }
        pause
    }

    fn say_room(&self, directory: &LogDirectory<W>, free: u64, room: bool) {
        let path = directory.path.display();
        let reserve = self.settings.storage.disk_reserve_bytes;
        if room {
            tracing::info!("{path}: {free} bytes are free again; its partitions take records");
        } else {
            tracing::warn!(
                "{path}: {free} bytes are free, fewer than ottla.disk.reserve.bytes={reserve}; its partitions refuse records until there \
                 are more"
            );
        }
    }

    /// As [`Shard::on_directory_failed`], from any shard; nothing more is put there by this one from here on.
    pub(super) fn fail_directory(&self, index: usize, why: &str) {
        if self.id == HOME_SHARD {
            self.on_directory_failed(index, why);
        } else {
            self.directories[index].in_use.set(false);
            let failed = Control::DirectoryFailed { directory: index, why: why.to_owned() };
            self.mailbox.send_internal(HOME_SHARD, Message::Control(Box::new(failed)));
        }
    }

    /// Takes a directory out of use on every shard; says so the first time. Home shard.
    pub(super) fn on_directory_failed(&self, index: usize, why: &str) {
        let directory = &self.directories[index];
        if !directory.in_use.replace(false) {
            return;
        }
        let path = directory.path.display();
        let left = self.directories.iter().filter(|directory| directory.is_in_use()).count();
        if !self.closing.get() && (left == 0 || index == METADATA_DIRECTORY) {
            let last = if left == 0 { "no log directory is left" } else { "it holds the metadata" };
            self.lost.push(format!("log directory {path} has failed: {why}; {last}, so the broker stops"));
            return;
        }
        tracing::error!(
            "log directory {path} is offline: {why}; its partitions answer KAFKA_STORAGE_ERROR until the broker is restarted; log \
             directories left: {left}"
        );
        let (world, token) = (self.world.clone(), directory.path.join(layout::WRITTEN_TOKEN));
        self.world.spawn(Urgency::Foreground, async move {
            let _removed = world.remove_file(&token).await;
        });
        if !self.closing.get() {
            self.tell_all(|| Control::DirectoryOffline { directory: index });
        }
    }

    /// Resolves, with one sentence, when a log directory has failed without which the broker cannot go on. Home shard.
    pub async fn lost(&self) -> String {
        let why = self.lost.pop().await;
        for directory in self.directories.iter().filter(|directory| !directory.is_in_use()) {
            // Before the process ends: the kernel may drop pages that it could not write.
            let _removed = self.world.remove_file(&directory.path.join(layout::WRITTEN_TOKEN)).await;
        }
        why
    }

    /// The metadata can be written no more: what holds it is a log directory like the others. Home shard.
    pub(super) fn on_metadata_failed(&self, why: &str) {
        self.on_directory_failed(METADATA_DIRECTORY, why);
    }

    /// The log directory of a log that this shard has.
    pub(super) fn directory_of(&self, partition: TopicPartition) -> Option<usize> {
        self.placed.borrow().get(&partition).copied()
    }

    /// Refuses from here on what lies in the directory, stops writing there, and has clients told that nobody leads it.
    pub(super) fn leave_directory(self: &Rc<Self>, index: usize) {
        self.directories[index].in_use.set(false);
        let placed = self.placed.borrow();
        let lost: Vec<_> =
            self.replicas.borrow().iter().filter(|(id, _)| placed.get(*id) == Some(&index)).map(|(_, replica)| replica.clone()).collect();
        drop(placed);
        for replica in &lost {
            replica.lose_directory();
        }
        self.alarm_coordinators();
        self.report_lost(lost.iter().map(|replica| replica.id()).collect());
    }

    pub(super) fn on_directory_room(&self, index: usize, room: Room) {
        self.directories[index].room.set(room);
    }
}
