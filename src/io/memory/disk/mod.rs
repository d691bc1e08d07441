//! One node's filesystem: calls take time, complete out of order, fail when asked to, and are interrupted by crashes.
//!
//! Called by `memory` and `simulation`; the fault model is in the header of `memory`. The model itself is passive: `begin` answers how
//! long a call takes, and whoever holds the clock calls `complete` when that time has come.
//!
//! Invariants:
//! 1. A call takes effect at one moment between its begin and its completion, or at a crash in between, or partly at that crash.
//! 2. `used` is the sum of the footprints of all files that have a name or an open handle.

mod content;
mod crash;
mod directory;
mod survival;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

pub(super) use content::Handle;
use content::{Change, Inode};
use directory::{Entry, Name, Namespace};
use survival::{Survival, Toll, surviving};

use super::random::Random;
use super::settings::DiskSettings;
use super::timers::{Completer, Completion, completion};
use super::trace::Trace;
use crate::io::{DirEntry, OpenMode, Space};

/// A kind of call, to aim a fault at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum DiskCall {
    Open,
    Read,
    Write,
    Sync,
    Truncate,
    Allocate,
    CreateDirectory,
    ListDirectory,
    SyncDirectory,
    Rename,
    Remove,
}

/// How a node ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Crash {
    /// The process dies, the kernel lives on: completed calls keep their effect.
    Kill,
    /// The machine dies: what was not synced is lost, kept or torn.
    PowerLoss,
}

/// What happens to a call that was aimed at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DiskFault {
    /// It fails with this `errno`. A write may have written a part; a sync leaves what it covered to chance, for good.
    Fails(i32),
    /// Its node crashes while it is in flight.
    Crashes(Crash),
}

struct Aim {
    call: DiskCall,
    path_contains: String,
    left: u64,
    fault: DiskFault,
}

/// Behind the bytes of a write, zeros come up to `fill_to` where the file is shorter than that.
pub(super) enum Effect {
    Open { path: PathBuf, mode: OpenMode },
    Write { file: Arc<Handle>, position: u64, bytes: Vec<u8>, fill_to: u64 },
    Truncate { file: Arc<Handle>, len: u64 },
    Allocate { file: Arc<Handle>, end: u64 },
    Sync { file: Arc<Handle> },
    SyncRange { file: Arc<Handle>, range: Range<u64> },
    CreateDirectories { path: PathBuf },
    SyncDirectory { path: PathBuf },
    Rename { from: PathBuf, to: PathBuf },
    RemoveFile { path: PathBuf },
    RemoveTree { path: PathBuf },
}

pub(super) enum Done {
    Nothing,
    Opened(Handle),
}

struct InFlight {
    effect: Effect,
    /// Changes a sync covers: those made before it was called.
    covered: u64,
    errno: Option<i32>,
    reply: Completer<io::Result<Done>>,
}

/// A call under way.
pub(super) struct Begun {
    pub(super) call_number: u64,
    pub(super) delay: Duration,
    /// When the first part of a write becomes visible, if that is before the rest.
    pub(super) part_after: Option<Duration>,
    pub(super) crash: Option<Crash>,
    pub(super) done: Completion<io::Result<Done>>,
}

/// How long a call without an effect takes, and whether it fails.
pub(super) struct Admitted {
    pub(super) delay: Duration,
    pub(super) errno: Option<i32>,
    pub(super) crash: Option<Crash>,
}

pub(super) struct Disk {
    node: u32,
    settings: DiskSettings,
    random: Random,
    trace: Rc<RefCell<Trace>>,
    namespace: Namespace,
    in_flight: BTreeMap<u64, InFlight>,
    begun: u64,
    inodes_made: u64,
    used: u64,
    /// Files without a name that were open when they lost it.
    orphans: Vec<Arc<Inode>>,
    aims: Vec<Aim>,
    /// No call completes before: the device hangs.
    hangs_until: u64,
    power_losses: u64,
}

impl Disk {
    pub(super) fn new(node: u32, seed: u64, settings: DiskSettings, trace: Rc<RefCell<Trace>>) -> Self {
        Self {
            node,
            settings,
            random: Random::new(seed, "disk", u64::from(node)),
            trace,
            namespace: Namespace::new(),
            in_flight: BTreeMap::new(),
            begun: 0,
            inodes_made: 0,
            used: 0,
            orphans: Vec::new(),
            aims: Vec::new(),
            hangs_until: 0,
            power_losses: 0,
        }
    }

    pub(super) fn settings_mut(&mut self) -> &mut DiskSettings {
        &mut self.settings
    }

    pub(super) fn aim(&mut self, call: DiskCall, path_contains: &str, nth: u64, fault: DiskFault) {
        self.aims.push(Aim { call, path_contains: path_contains.to_owned(), left: nth.max(1), fault });
    }

    pub(super) fn hang_until(&mut self, at: u64) {
        self.hangs_until = self.hangs_until.max(at);
    }

    fn record(&self, what: &'static str, first: u64, second: u64) {
        self.trace.borrow_mut().record(what, self.node, first, second);
    }

    fn count(&self, what: &'static str, times: u64) {
        self.trace.borrow_mut().count(what, times);
    }

    /// Decides how long a call takes and what goes wrong with it.
    pub(super) fn admit(&mut self, call: DiskCall, path: &str) -> Admitted {
        let (name, is_sync) = match call {
            DiskCall::Open => ("disk.open", false),
            DiskCall::Read => ("disk.read", false),
            DiskCall::Write => ("disk.write", false),
            DiskCall::Sync => ("disk.sync", true),
            DiskCall::Truncate => ("disk.truncate", false),
            DiskCall::Allocate => ("disk.allocate", false),
            DiskCall::CreateDirectory => ("disk.create_directory", false),
            DiskCall::ListDirectory => ("disk.list_directory", false),
            DiskCall::SyncDirectory => ("disk.sync_directory", true),
            DiskCall::Rename => ("disk.rename", false),
            DiskCall::Remove => ("disk.remove", false),
        };
        let (low, high) = if is_sync { self.settings.sync_latency } else { self.settings.latency };
        let mut delay = self.random.skewed(low.as_nanos() as u64, high.as_nanos() as u64);
        if self.random.one_in(self.settings.stall_one_in) {
            delay += self.random.below(self.settings.stall_max.as_nanos() as u64);
            self.count("fault.disk_stall", 1);
        }
        let now = self.trace.borrow().now;
        if self.hangs_until > now + delay {
            delay = self.hangs_until - now;
            self.count("fault.disk_hang", 1);
        }
        let failure_one_in = match call {
            DiskCall::Write => self.settings.write_failure_one_in,
            DiskCall::Sync | DiskCall::SyncDirectory => self.settings.sync_failure_one_in,
            _ => 0,
        };
        let mut admitted = Admitted { delay: Duration::from_nanos(delay), errno: None, crash: None };
        if self.random.one_in(failure_one_in) {
            admitted.errno = Some(libc::EIO);
        }
        for aim in self.aims.iter_mut().filter(|aim| aim.call == call && path.contains(&aim.path_contains)) {
            aim.left -= 1;
            if aim.left == 0 {
                match aim.fault {
                    DiskFault::Fails(errno) => admitted.errno = Some(errno),
                    DiskFault::Crashes(crash) => admitted.crash = Some(crash),
                }
            }
        }
        self.aims.retain(|aim| aim.left > 0);
        self.record(name, delay, self.begun);
        if admitted.errno.is_some() {
            self.record("fault.disk_call_failed", 0, 0);
        }
        admitted
    }

    pub(super) fn begin(&mut self, call: DiskCall, path: &str, effect: Effect) -> Begun {
        let admitted = self.admit(call, path);
        let covered = match &effect {
            Effect::Sync { file } | Effect::SyncRange { file, .. } => file.inode.content().changes_end(),
            Effect::SyncDirectory { .. } => self.namespace.changes_end(),
            _ => 0,
        };
        let (reply, done) = completion();
        let call_number = self.begun;
        self.begun += 1;
        let mut part_after = None;
        if let Effect::Write { position, bytes, .. } = &effect {
            self.record("disk.write_content", *position, u64::from(crc32c::crc32c(bytes)));
            if self.random.one_in(4) {
                part_after = Some(Duration::from_nanos(self.random.below(admitted.delay.as_nanos() as u64 + 1)));
            }
        }
        self.in_flight.insert(call_number, InFlight { effect, covered, errno: admitted.errno, reply });
        Begun { call_number, delay: admitted.delay, part_after, crash: admitted.crash, done }
    }

    /// Some of a write in flight takes effect ahead of the rest.
    pub(super) fn complete_part(&mut self, call_number: u64) {
        let Some(InFlight { effect: Effect::Write { file, position, bytes, .. }, errno: None, .. }) = self.in_flight.get_mut(&call_number)
        else {
            return;
        };
        let rest = bytes.split_off(self.random.below(bytes.len() as u64 + 1) as usize);
        let (file, part_position, part) = (file.clone(), *position, std::mem::replace(bytes, rest));
        *position += part.len() as u64;
        self.record("disk.write_part", call_number, part.len() as u64);
        if self.write(&file.inode, part_position, part).is_err()
            && let Some(InFlight { effect: Effect::Write { bytes, .. }, errno, .. }) = self.in_flight.get_mut(&call_number)
        {
            // A write ends where there is no space: what is freed meanwhile does not let it go on behind a hole.
            bytes.clear();
            *errno = Some(libc::ENOSPC);
        }
    }

    /// The time of a call has come: answers whom to tell what. `None` if a crash was faster.
    pub(super) fn complete(&mut self, call_number: u64) -> Option<(Completer<io::Result<Done>>, io::Result<Done>)> {
        let InFlight { effect, covered, errno, reply } = self.in_flight.remove(&call_number)?;
        self.record("disk.complete", call_number, 0);
        let result = match errno {
            None => self.apply(effect, covered),
            Some(errno) => {
                self.fail(effect, covered);
                Err(io::Error::from_raw_os_error(errno))
            }
        };
        Some((reply, result))
    }

    fn apply(&mut self, effect: Effect, covered: u64) -> io::Result<Done> {
        match effect {
            Effect::Open { path, mode } => return self.open(&path, mode).map(Done::Opened),
            Effect::Write { file, position, bytes, fill_to } => {
                self.write(&file.inode, position, bytes)?;
                self.fill(&file, fill_to);
            }
            Effect::Truncate { file, len } => {
                file.inode.content().change(Change::Truncate { len }, self.settings.dirty_bytes_max);
                self.charge(&file.inode);
            }
            Effect::Allocate { file, end } => self.allocate(&file.inode, end)?,
            Effect::Sync { file } => file.inode.content().settle(covered),
            Effect::SyncRange { file, range } => {
                let pages = file.inode.content().settle_range(range, covered);
                self.count("disk.range_page_settled", pages);
            }
            Effect::CreateDirectories { path } => drop(self.namespace.create_directories(&path, u64::MAX)?),
            Effect::SyncDirectory { path } => {
                let directory = self.namespace.directory(&path)?;
                self.namespace.settle(directory, covered);
            }
            Effect::Rename { from, to } => {
                let (from, to) = (self.namespace.name(&from)?, self.namespace.name(&to)?);
                if let Some(replaced) = self.namespace.rename(from, to)? {
                    self.orphan(replaced);
                }
            }
            Effect::RemoveFile { path } => {
                let name = self.namespace.name(&path)?;
                match self.namespace.live.get(&name).cloned() {
                    Some(Entry::File(inode)) => self.unlink(name, Entry::File(inode)),
                    Some(Entry::Directory(_)) => return Err(io::ErrorKind::IsADirectory.into()),
                    None => return Err(io::ErrorKind::NotFound.into()),
                }
            }
            Effect::RemoveTree { path } => {
                self.namespace.directory(&path)?;
                let name = self.namespace.name(&path)?;
                for (name, entry) in self.namespace.removal_order(&name) {
                    self.unlink(name, entry);
                }
            }
        }
        if self.namespace.changes_len() > self.settings.dirty_entries_max {
            self.namespace.settle_oldest(self.settings.dirty_entries_max);
        }
        Ok(Done::Nothing)
    }

    /// A call that was made to fail: a write leaves any prefix of itself; a failed sync leaves the pages it covered clean in the
    /// kernel's eyes, so that no later sync writes those that did not reach the disk.
    fn fail(&mut self, effect: Effect, covered: u64) {
        match effect {
            Effect::Write { file, position, mut bytes, .. } => {
                bytes.truncate(self.random.below(bytes.len() as u64 + 1) as usize);
                let _full = self.write(&file.inode, position, bytes);
            }
            Effect::Sync { file } | Effect::SyncRange { file, .. } => {
                let survival = Survival::draw(&mut self.random);
                let mut content = file.inode.content();
                let changes = content.take_changes(covered);
                let mut toll = Toll::default();
                content.durable = surviving(&content.durable, &changes, survival, &mut self.random, &mut toll);
                drop(content);
                self.count("fault.page_never_written", toll.pages_lost);
            }
            _ => {}
        }
    }

    fn open(&mut self, path: &Path, mode: OpenMode) -> io::Result<Handle> {
        let name = self.namespace.name(path)?;
        let inode = match (self.namespace.live.get(&name), mode) {
            (Some(Entry::Directory(_)), _) => return Err(io::ErrorKind::IsADirectory.into()),
            (Some(Entry::File(inode)), OpenMode::CreateOrEmpty) => {
                let inode = inode.clone();
                inode.content().change(Change::Truncate { len: 0 }, self.settings.dirty_bytes_max);
                self.charge(&inode);
                inode
            }
            (Some(Entry::File(inode)), OpenMode::Existing | OpenMode::CreateOrKeep) => inode.clone(),
            (None, OpenMode::Existing) => return Err(io::ErrorKind::NotFound.into()),
            (None, OpenMode::CreateOrKeep | OpenMode::CreateOrEmpty) => {
                self.inodes_made += 1;
                let inode = Inode::new(self.inodes_made);
                self.namespace.link_file(name, inode.clone());
                inode
            }
        };
        Ok(Handle::new(inode, path.to_string_lossy().into_owned()))
    }

    fn write(&mut self, inode: &Arc<Inode>, position: u64, mut bytes: Vec<u8>) -> io::Result<()> {
        let room = self.space().free;
        let mut content = inode.content();
        let fitting = content.fitting(position, bytes.len() as u64, room);
        let is_whole = fitting == bytes.len() as u64;
        content.modified = self.trace.borrow().now;
        bytes.truncate(fitting as usize);
        content.change(Change::Write { position, bytes }, self.settings.dirty_bytes_max);
        drop(content);
        self.charge(inode);
        if is_whole {
            return Ok(());
        }
        self.record("fault.no_space", inode.id, fitting);
        Err(io::Error::from_raw_os_error(libc::ENOSPC))
    }

    /// Nothing was promised of the zeros behind an append: there may be no space for them.
    fn fill(&mut self, file: &Handle, to: u64) {
        let len = file.len();
        if len < to {
            let _full = self.write(&file.inode, len, vec![0; (to - len) as usize]);
        }
    }

    fn allocate(&mut self, inode: &Arc<Inode>, end: u64) -> io::Result<()> {
        let room = self.space().free;
        let mut content = inode.content();
        let before = content.allocated;
        content.allocated = before.max(end);
        if content.footprint().saturating_sub(content.charged) > room {
            content.allocated = before;
            drop(content);
            self.record("fault.no_space", inode.id, 0);
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        drop(content);
        self.charge(inode);
        Ok(())
    }

    fn charge(&mut self, inode: &Inode) {
        let mut content = inode.content();
        let footprint = content.footprint();
        self.used = self.used + footprint - content.charged;
        content.charged = footprint;
    }

    fn unlink(&mut self, name: Name, entry: Entry) {
        if let Entry::File(inode) = &entry {
            self.orphan(inode.clone());
        }
        self.namespace.unlink(name, entry);
    }

    fn orphan(&mut self, inode: Arc<Inode>) {
        self.orphans.push(inode);
        self.free_closed_orphans();
    }

    fn free_closed_orphans(&mut self) {
        let used = &mut self.used;
        self.orphans.retain(|inode| {
            if !inode.is_open() {
                let mut content = inode.content();
                *used -= content.charged;
                content.charged = 0;
            }
            inode.is_open()
        });
    }

    pub(super) fn power_losses(&self) -> u64 {
        self.power_losses
    }

    pub(super) fn space(&mut self) -> Space {
        self.free_closed_orphans();
        let total = self.settings.capacity;
        Space { free: total.saturating_sub(self.used), total }
    }

    /// When the file was written to.
    pub(super) fn modified(&self, path: &Path) -> io::Result<u64> {
        match self.namespace.live.get(&self.namespace.name(path)?) {
            Some(Entry::File(inode)) => Ok(inode.content().modified),
            Some(Entry::Directory(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let directory = self.namespace.directory(path)?;
        let entry = |(name, entry): (&String, &Entry)| {
            let len = match entry {
                Entry::File(inode) => inode.content().live.len,
                Entry::Directory(_) => 0,
            };
            DirEntry { name: name.clone(), kind: entry.kind(), len }
        };
        Ok(self.namespace.live.entries(directory).map(entry).collect())
    }

    pub(super) fn read_file(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.namespace.live.get(&self.namespace.name(path)?) {
            Some(Entry::File(inode)) => {
                let content = inode.content();
                Ok(content.live.read(0, content.live.len as usize))
            }
            Some(Entry::Directory(_)) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}
