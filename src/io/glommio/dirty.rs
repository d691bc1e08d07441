//! Watches how much written data waits for the disk, so that inline appends stop before the kernel makes their shard wait.
//!
//! Called by `shards`, which starts it, and `file`, which asks before each inline write; calls `/proc` and the cgroup's files, on a
//! thread named `ottla-dirty`.
//!
//! The kernel lets writers run free up to the middle between its background and its hard limit of dirty pages, and then stops each
//! for up to 200 ms. Halfway between the background limit and that point, appends go to the ring: its worker threads may wait.
//!
//! Invariants:
//! 1. What cannot be read counts as no pressure: the operator chose inline appends.
//! 2. The thread ends with the last shard that asks, and sleeps while none does: an idle broker costs nothing.

use std::fs;
use std::io::{Read, Seek};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, Thread};
use std::time::Duration;

use super::kernel;

/// Between two looks while there is much to write. A shard dirties at most a few hundred MB meanwhile.
const BUSY_INTERVAL: Duration = Duration::from_millis(50);
const CALM_INTERVAL: Duration = Duration::from_millis(200);
/// Looks without a question between them, after which the thread sleeps until the next question.
const LOOKS_UNASKED_MAX: u32 = 5;

/// Whether the disk is behind.
#[derive(Debug, Default)]
pub(super) struct DirtyWatch {
    is_behind: AtomicBool,
    /// Set by a question, cleared by a look.
    was_asked: AtomicBool,
    thread: OnceLock<Thread>,
}

impl DirtyWatch {
    pub(super) fn start() -> Arc<Self> {
        let watch = Arc::new(Self::default());
        let watched = Arc::downgrade(&watch);
        // Without the thread there is no pressure to see: invariant 1.
        if let Ok(started) = thread::Builder::new().name("ottla-dirty".into()).spawn(move || look_on(&watched)) {
            // The only call that sets it.
            let _first = watch.thread.set(started.thread().clone());
        }
        watch
    }

    /// True if an inline write might be made to wait.
    pub(super) fn is_behind(&self) -> bool {
        if !self.was_asked.load(Ordering::Relaxed) && !self.was_asked.swap(true, Ordering::Relaxed) {
            self.wake();
        }
        self.is_behind.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

impl Drop for DirtyWatch {
    fn drop(&mut self) {
        self.wake();
    }
}

fn look_on(watched: &Weak<DirtyWatch>) {
    let page = kernel::page_bytes();
    let group = own_group();
    let mut machine_file = fs::File::open("/proc/vmstat").ok();
    let mut text = String::with_capacity(16 << 10);
    let mut unasked = 0;
    while let Some(watch) = watched.upgrade() {
        unasked = if watch.was_asked.swap(false, Ordering::Relaxed) { 0 } else { unasked + 1 };
        if unasked > LOOKS_UNASKED_MAX {
            // What was seen is old by the time of the next question, and no pressure is the safe guess.
            watch.is_behind.store(false, Ordering::Relaxed);
            drop(watch);
            thread::park();
            continue;
        }
        let machine = machine_file.as_mut().and_then(|file| {
            text.clear();
            file.rewind().ok()?;
            file.read_to_string(&mut text).ok()?;
            machine_load(&text, page)
        });
        let own = machine.as_ref().zip(group.as_ref()).and_then(|(machine, group)| group_load(group, machine));
        let fullness = machine.iter().chain(own.iter()).map(Load::fullness).fold(0.0, f64::max);
        watch.is_behind.store(fullness >= 1.0, Ordering::Relaxed);
        drop(watch);
        let interval = if fullness > 0.25 { BUSY_INTERVAL } else { CALM_INTERVAL };
        // A question unparks: the look it asks for can wait its turn.
        thread::sleep(interval);
    }
}

/// Bytes that wait for the disk, and the kernel's two limits for them.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Load {
    waiting: u64,
    background_limit: u64,
    hard_limit: u64,
}

impl Load {
    /// 1 where appends should leave the shard.
    fn fullness(&self) -> f64 {
        let free_until = (self.background_limit + self.hard_limit) / 2;
        let leave_at = (self.background_limit + free_until) / 2;
        if leave_at == 0 { 0.0 } else { self.waiting as f64 / leave_at as f64 }
    }
}

/// The value of `NAME VALUE` in a file of such lines.
fn value(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

fn machine_load(vmstat: &str, page: u64) -> Option<Load> {
    let bytes = |name| value(vmstat, name).map(|pages| pages * page);
    Some(Load {
        waiting: bytes("nr_dirty")? + bytes("nr_writeback")?,
        background_limit: bytes("nr_dirty_background_threshold")?,
        hard_limit: bytes("nr_dirty_threshold")?,
    })
}

/// The memory group (cgroup v2) of this process: its directory, and its part of the machine's memory. None without a limit.
struct Group {
    directory: String,
    part: f64,
}

fn own_group() -> Option<Group> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let directory = format!("/sys/fs/cgroup{}", groups.lines().find_map(|line| line.strip_prefix("0::"))?);
    let limit: u64 = fs::read_to_string(format!("{directory}/memory.max")).ok()?.trim().parse().ok()?;
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok())? * 1024;
    Some(Group { directory, part: (limit as f64 / total as f64).min(1.0) })
}

/// The kernel gives a group its part of the limits.
fn group_load(group: &Group, machine: &Load) -> Option<Load> {
    let stat = fs::read_to_string(format!("{}/memory.stat", group.directory)).ok()?;
    let part = |limit: u64| (limit as f64 * group.part) as u64;
    Some(Load {
        waiting: value(&stat, "file_dirty")? + value(&stat, "file_writeback")?,
        background_limit: part(machine.background_limit),
        hard_limit: part(machine.hard_limit),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VMSTAT: &str =
        "nr_free_pages 9\nnr_dirty 100\nnr_writeback 20\nnr_writeback_temp 7\nnr_dirty_threshold 800\nnr_dirty_background_threshold 400\n";

    #[test]
    fn appends_leave_the_shard_between_the_limits() {
        let load = machine_load(VMSTAT, 1).unwrap();
        assert_eq!(load, Load { waiting: 120, background_limit: 400, hard_limit: 800 });
        assert!(load.fullness() < 1.0);
        assert!(Load { waiting: 499, ..load }.fullness() < 1.0);
        assert!(Load { waiting: 500, ..load }.fullness() >= 1.0);
        assert!(Load { waiting: 5, background_limit: 0, hard_limit: 0 }.fullness() < 1.0);
    }

    #[test]
    fn unreadable_is_no_pressure() {
        assert_eq!(machine_load("nr_dirty 1\n", 4096), None);
        assert_eq!(machine_load("", 4096), None);
        assert_eq!(value("nr_dirty x\n", "nr_dirty"), None);
    }

    #[test]
    fn this_machine_can_be_read() {
        let text = fs::read_to_string("/proc/vmstat").unwrap();
        let load = machine_load(&text, kernel::page_bytes()).unwrap();
        assert!(load.hard_limit >= load.background_limit && load.hard_limit > 0);
    }
}
