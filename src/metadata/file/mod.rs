//! The home of a cluster of one node: a log file and a snapshot beside the partitions' directories. Nothing to install.
//!
//! Called by whoever opens the broker's metadata; calls `io` for its files and `batch` to split. Lives on one shard; clones are the same
//! home. `ottla-metadata.journal` and `ottla-metadata.image` are plain files because Kafka, should it be pointed at the same data
//! directory, takes every *directory* there for a partition and refuses names it cannot read, and ignores files. The bytes are drawn in
//! `frame`.
//!
//! Invariants:
//! 1. At most one frame of the log is not known to be durable: each is synced before the next is written. So a frame that does not check
//!    out is a write cut short if nothing stands after it (cut off at the next open), and damage otherwise (the open is refused).
//! 2. The log's base is at most the snapshot's offset, which is at most the log's end.
//! 3. Readers see durable frames only.
//! 4. A failed write or sync is final: the home takes no more appends until it is opened anew.
//!
//! A crash leaves: part of the last frame; part of a split batch (cut off as well, since it was never answered); a snapshot whose records
//! are still in the log (the log is then longer than needed); a `.tmp` file that the next snapshot overwrites.

use std::cell::RefCell;
use std::future::{pending, poll_fn};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Poll, Waker};

use bytes::Bytes;

use super::batch;
use super::decision::Registration;
use super::home::{Appended, Home, HomeError, Member, Proposal, Snapshot};
use super::record::Record;
use crate::io::{File, OpenMode, World, replace_file};
use crate::types::NodeId;

mod frame;
mod load;
mod moving;
#[cfg(test)]
mod tests;

pub use moving::{is_home, refusal, retire, take_up};

/// Named limits of the file home.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Bytes of one frame: a larger batch is split, a larger record refused.
    pub frame_bytes_max: usize,
    /// Bytes that one `read_from` parses before it answers.
    pub page_bytes: usize,
    /// Bytes of log, on top of the snapshot's size, from which on a snapshot is due.
    pub log_bytes_before_snapshot: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { frame_bytes_max: 1 << 20, page_bytes: 1 << 20, log_bytes_before_snapshot: 4 << 20 }
    }
}

/// Log bytes between two entries of the in-memory index.
const INDEX_INTERVAL_BYTES: u64 = 64 << 10;

/// A log and a snapshot in a directory.
pub struct FileHome<W: World> {
    shared: Rc<Shared<W>>,
}

impl<W: World> Clone for FileHome<W> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

struct Shared<W: World> {
    world: W,
    log_path: PathBuf,
    snapshot_path: PathBuf,
    limits: Limits,
    log: RefCell<Log<W::File>>,
    registration: RefCell<Option<Registration>>,
    access: RefCell<Access>,
    /// Wait for the log to grow, a new epoch or a registration.
    watchers: RefCell<Vec<Waker>>,
}

/// The durable log.
struct Log<F> {
    file: F,
    /// Bytes of the file.
    len: u64,
    /// Offset of the file's first record.
    base: i64,
    end: i64,
    epoch: i32,
    /// Offsets and positions of some frames, ascending; the first is the file's first.
    index: Vec<(i64, u64)>,
    snapshot_offset: i64,
    snapshot_bytes: u64,
}

/// Writes go one after another.
struct Access {
    state: AccessState,
    waiting: Vec<Waker>,
}

enum AccessState {
    Free,
    Taken,
    /// For good, and why.
    Offline(String),
}

impl<W: World> FileHome<W> {
    /// Opens the home in this directory (which exists, durably), or founds it. Cuts off what a crash left unfinished; refuses damage.
    pub async fn open(world: W, directory: &Path, limits: Limits) -> Result<Self, HomeError> {
        moving::check(&world, directory).await?;
        Self::open_unmarked(world, directory, limits).await
    }

    async fn open_unmarked(world: W, directory: &Path, limits: Limits) -> Result<Self, HomeError> {
        let (log_path, snapshot_path) = paths(directory);
        let log = load::open(&world, &log_path, &snapshot_path).await?;
        let shared = Shared {
            world,
            log_path,
            snapshot_path,
            limits,
            log: RefCell::new(log),
            registration: RefCell::new(None),
            access: RefCell::new(Access { state: AccessState::Free, waiting: vec![] }),
            watchers: RefCell::new(vec![]),
        };
        Ok(Self { shared: Rc::new(shared) })
    }

    /// One past the last durable record.
    pub fn end(&self) -> i64 {
        self.shared.log.borrow().end
    }

    /// Waits for the turn to write.
    async fn turn(&self) -> Result<Turn<'_, W>, HomeError> {
        poll_fn(|cx| {
            let mut access = self.shared.access.borrow_mut();
            match &access.state {
                AccessState::Offline(why) => Poll::Ready(Err(HomeError::Offline(why.clone()))),
                AccessState::Taken => {
                    access.waiting.push(cx.waker().clone());
                    Poll::Pending
                }
                AccessState::Free => {
                    access.state = AccessState::Taken;
                    Poll::Ready(Ok(Turn { shared: &self.shared, after: AccessState::Offline("a write of it was abandoned".to_owned()) }))
                }
            }
        })
        .await
    }

    /// Waits until `ready` gives something, looking again at each change.
    async fn watch<T>(&self, mut ready: impl FnMut(&Shared<W>) -> Option<T>) -> T {
        poll_fn(|cx| match ready(&self.shared) {
            Some(value) => Poll::Ready(value),
            None => {
                let mut watchers = self.shared.watchers.borrow_mut();
                // A task that waits for several things looks here at each of them.
                if !watchers.iter().any(|watcher| watcher.will_wake(cx.waker())) {
                    watchers.push(cx.waker().clone());
                }
                Poll::Pending
            }
        })
        .await
    }
}

/// The right to write. Dropped without [`Turn::done`], it takes the home offline: nobody knows then what the file holds.
struct Turn<'a, W: World> {
    shared: &'a Shared<W>,
    after: AccessState,
}

impl<W: World> Turn<'_, W> {
    /// The file holds what the log says.
    fn done(mut self) {
        self.after = AccessState::Free;
    }

    fn failed(mut self, error: HomeError) -> HomeError {
        self.after = AccessState::Offline(error.to_string());
        error
    }

    /// Appends frames, each durable before the next is written. `Err` has taken the home offline.
    async fn write(self, frames: Vec<(Bytes, i64)>, epoch: i32) -> Result<i64, HomeError> {
        for (frame, end) in frames {
            let (file, position) = {
                let log = self.shared.log.borrow();
                (log.file.clone(), log.len)
            };
            let frame_len = frame.len() as u64;
            let result = match file.write_at(position, vec![frame]).await.result {
                Ok(()) => file.sync().await,
                Err(error) => Err(error),
            };
            if let Err(source) = result {
                let error = io_error(&self.shared.log_path, position, source);
                return Err(self.failed(error));
            }
            let mut log = self.shared.log.borrow_mut();
            let base = log.end;
            log.index_frame(base, position);
            log.len = position + frame_len;
            log.end = end;
            log.epoch = epoch;
        }
        let end = self.shared.log.borrow().end;
        self.done();
        Ok(end)
    }
}

impl<W: World> Drop for Turn<'_, W> {
    fn drop(&mut self) {
        let after = std::mem::replace(&mut self.after, AccessState::Taken);
        let waiting = {
            let mut access = self.shared.access.borrow_mut();
            access.state = after;
            std::mem::take(&mut access.waiting)
        };
        let watching = self.shared.watchers.take();
        waiting.into_iter().chain(watching).for_each(Waker::wake);
    }
}

impl<F> Log<F> {
    /// Notes a frame's place if the last note is far enough back.
    fn index_frame(&mut self, base: i64, position: u64) {
        let far = |&(_, last): &(i64, u64)| position >= last + INDEX_INTERVAL_BYTES;
        if self.index.last().is_none_or(far) {
            self.index.push((base, position));
        }
    }

    /// A frame boundary at or before the frame that holds `offset`.
    fn position_before(&self, offset: i64) -> u64 {
        let after = self.index.partition_point(|&(base, _)| base <= offset);
        self.index[after.saturating_sub(1)].1
    }
}

impl<W: World> Home for FileHome<W> {
    async fn append(&self, controller_epoch: i32, expected_end: i64, records: Vec<Record>) -> Result<Appended, HomeError> {
        let turn = self.turn().await?;
        let (epoch, end) = {
            let log = self.shared.log.borrow();
            (log.epoch, log.end)
        };
        if controller_epoch != epoch {
            turn.done();
            return Ok(Appended::Fenced);
        }
        if expected_end != end || records.is_empty() {
            turn.done();
            return Ok(if expected_end == end { Appended::Committed(end) } else { Appended::Moved(end) });
        }
        match encode(records, end, epoch, self.shared.limits.frame_bytes_max) {
            Ok(frames) => turn.write(frames, epoch).await.map(Appended::Committed),
            Err(error) => {
                turn.done();
                Err(error)
            }
        }
    }

    async fn read_from(&self, offset: i64) -> Result<Vec<(i64, Record)>, HomeError> {
        load::page(&self.shared, offset).await
    }

    async fn grown_past(&self, end: i64) -> Result<(), HomeError> {
        self.watch(|shared| (shared.log.borrow().end > end).then_some(())).await;
        Ok(())
    }

    async fn load(&self) -> Result<Snapshot, HomeError> {
        load::snapshot(&self.shared.world, &self.shared.snapshot_path).await.map(|(snapshot, _)| snapshot)
    }

    async fn snapshot(&self, snapshot: Snapshot) -> Result<(), HomeError> {
        let turn = self.turn().await?;
        let shared = turn.shared;
        let (oldest, end, epoch) = {
            let log = shared.log.borrow();
            (log.snapshot_offset, log.end, log.epoch)
        };
        let offset = snapshot.offset;
        if offset <= oldest || offset > end {
            turn.done();
            return if offset > end { Err(HomeError::BeyondEnd { offset, end }) } else { Ok(()) };
        }
        let limit = shared.limits.frame_bytes_max;
        let content = shared.world.offload(move || encode_snapshot(&snapshot, epoch, limit)).await;
        let bytes = content.len() as u64;
        if let Err(source) = replace_file(&shared.world, &shared.snapshot_path, content).await {
            // The old snapshot stands, or the new one does; the log still has what either lacks.
            turn.done();
            return Err(io_error(&shared.snapshot_path, 0, source));
        }
        {
            let mut log = shared.log.borrow_mut();
            log.snapshot_offset = offset;
            log.snapshot_bytes = bytes;
        }
        if offset == end {
            match load::found(&shared.world, &shared.log_path, end, epoch).await {
                Ok((file, len)) => {
                    let mut log = shared.log.borrow_mut();
                    (log.file, log.len, log.base) = (file, len, end);
                    log.index.clear();
                    log.index.push((end, frame::LOG_MAGIC.len() as u64));
                }
                Err(error) => return Err(turn.failed(error)),
            }
        }
        turn.done();
        Ok(())
    }

    fn snapshot_is_due(&self) -> bool {
        let log = self.shared.log.borrow();
        log.end > log.snapshot_offset && log.len > log.snapshot_bytes.saturating_add(self.shared.limits.log_bytes_before_snapshot)
    }

    /// Always won: there is nobody else. The epoch is durable before it is given.
    async fn election(&self, _node: NodeId) -> Result<i32, HomeError> {
        let turn = self.turn().await?;
        let (end, epoch) = {
            let log = self.shared.log.borrow();
            (log.end, log.epoch.saturating_add(1))
        };
        turn.write(vec![(frame::encode(end, epoch, &[]), end)], epoch).await?;
        Ok(epoch)
    }

    async fn deposed(&self, controller_epoch: i32) -> Result<(), HomeError> {
        self.watch(|shared| (shared.log.borrow().epoch > controller_epoch).then_some(())).await;
        Ok(())
    }

    fn is_shared(&self) -> bool {
        false
    }

    async fn register(&self, registration: Registration) -> Result<(), HomeError> {
        *self.shared.registration.borrow_mut() = Some(registration);
        self.shared.watchers.take().into_iter().for_each(Waker::wake);
        Ok(())
    }

    async fn members_other_than(&self, known: &[Member]) -> Result<Vec<Registration>, HomeError> {
        let current = |shared: &Shared<W>| shared.registration.borrow().iter().cloned().collect::<Vec<_>>();
        let differs = |current: &Vec<Registration>| !current.iter().map(Registration::member).eq(known.iter().copied());
        Ok(self.watch(|shared| Some(current(shared)).filter(differs)).await)
    }

    async fn proposals(&self) -> Result<Vec<Proposal>, HomeError> {
        Ok(vec![])
    }

    /// Nothing is ever proposed here, so nothing is ever settled.
    async fn settle(&self, _proposal: Proposal) -> Result<(), HomeError> {
        pending().await
    }
}

/// The log's file and the snapshot's.
fn paths(directory: &Path) -> (PathBuf, PathBuf) {
    (directory.join("ottla-metadata.journal"), directory.join("ottla-metadata.image"))
}

/// A batch as frames, each with the offset after it.
fn encode(records: Vec<Record>, base: i64, epoch: i32, limit: usize) -> Result<Vec<(Bytes, i64)>, HomeError> {
    let room = limit.saturating_sub(frame::OVERHEAD);
    let weight = |record: &Record| frame::text(record).len() + 1;
    if let Some(bytes) = records.iter().map(weight).find(|&bytes| bytes > room) {
        return Err(HomeError::RecordTooLarge { bytes, limit: room });
    }
    let mut end = base;
    let parts = batch::split(records, room, weight);
    let frames = parts.into_iter().map(|part| {
        let texts: Vec<Vec<u8>> = part.iter().map(frame::text).collect();
        let encoded = frame::encode(end, epoch, &texts);
        end += texts.len() as i64;
        (encoded, end)
    });
    Ok(frames.collect())
}

fn encode_snapshot(snapshot: &Snapshot, epoch: i32, limit: usize) -> Vec<u8> {
    let mut content = frame::SNAPSHOT_MAGIC.to_vec();
    let mut texts = vec![];
    let mut weight = 0;
    for record in &snapshot.records {
        let text = frame::text(record);
        if weight + text.len() > limit && !texts.is_empty() {
            content.extend_from_slice(&frame::encode(snapshot.offset, epoch, &texts));
            texts.clear();
            weight = 0;
        }
        weight += text.len() + 1;
        texts.push(text);
    }
    if !texts.is_empty() {
        content.extend_from_slice(&frame::encode(snapshot.offset, epoch, &texts));
    }
    content.extend_from_slice(&frame::encode(snapshot.offset, epoch, &[]));
    content
}

fn io_error(path: &Path, position: u64, source: io::Error) -> HomeError {
    HomeError::Io { place: path.display().to_string(), position, source }
}

/// Opens the log for appending.
async fn open_log<W: World>(world: &W, path: &Path) -> Result<W::File, HomeError> {
    world.open(path, OpenMode::Existing).await.map_err(|source| io_error(path, 0, source))
}
