//! The machine a report speaks of: its settings, read once and printed, and the one setting that a session changes and puts back.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

const CONGESTION: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Everything a reader needs to judge the figures, name by name.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Description {
    pub rows: BTreeMap<String, String>,
    pub notes: Vec<String>,
}

/// Kernel settings that move these figures.
const SETTINGS: [&str; 10] = [
    CONGESTION,
    "/proc/sys/vm/dirty_bytes",
    "/proc/sys/vm/dirty_ratio",
    "/proc/sys/vm/dirty_background_bytes",
    "/proc/sys/vm/dirty_background_ratio",
    "/proc/sys/vm/swappiness",
    "/proc/sys/vm/max_map_count",
    "/sys/kernel/mm/transparent_hugepage/enabled",
    "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "/sys/devices/system/clocksource/clocksource0/current_clocksource",
];

pub fn describe(data: &Path) -> Description {
    let mut rows = BTreeMap::new();
    for file in SETTINGS {
        rows.insert(file.to_owned(), first_line(file).unwrap_or_else(|| "not there".into()));
    }
    rows.insert("date".into(), utc(SystemTime::now()).sentence());
    rows.insert("kernel".into(), first_line("/proc/version").unwrap_or_default());
    rows.insert("processor".into(), processor(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default()));
    rows.insert("memory".into(), format!("{} MiB", memory_kib("MemTotal:") >> 10));
    rows.insert("filesystem of the data".into(), filesystem(data, &fs::read_to_string("/proc/self/mountinfo").unwrap_or_default()));
    rows.insert(
        "open files".into(),
        nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE)
            .map_or_else(|why| why.to_string(), |(soft, hard)| format!("{soft} of {hard}")),
    );
    rows.insert("dirty limit".into(), format!("{} MiB (background {} MiB)", dirty_limit_bytes() >> 20, background_limit_bytes() >> 20));
    Description { rows, notes: Vec::new() }
}

fn first_line(file: &str) -> Option<String> {
    fs::read_to_string(file).ok()?.lines().next().map(|line| line.trim().to_owned())
}

fn processor(cpuinfo: &str) -> String {
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches([' ', '\t', ':']));
    format!("{} x {model}", cpuinfo.lines().filter(|line| line.starts_with("processor")).count())
}

fn memory_kib(row: &str) -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    meminfo.lines().find_map(|line| line.strip_prefix(row)).and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

pub fn memory_bytes() -> u64 {
    memory_kib("MemTotal:") << 10
}

/// Dirty bytes at which writers are held back, by the settings and what is available now.
pub fn dirty_limit_bytes() -> u64 {
    limit("/proc/sys/vm/dirty_bytes", "/proc/sys/vm/dirty_ratio")
}

/// Dirty bytes at which the kernel begins to write back.
pub fn background_limit_bytes() -> u64 {
    limit("/proc/sys/vm/dirty_background_bytes", "/proc/sys/vm/dirty_background_ratio")
}

fn limit(bytes: &str, ratio: &str) -> u64 {
    let number = |file: &str| first_line(file).and_then(|line| line.parse::<u64>().ok()).unwrap_or(0);
    match number(bytes) {
        0 => (memory_kib("MemAvailable:") << 10) / 100 * number(ratio),
        bytes => bytes,
    }
}

/// `ext4 on /dev/vda (rw,relatime)` for the mount that holds a path.
fn filesystem(data: &Path, mountinfo: &str) -> String {
    let data = data.canonicalize().unwrap_or_else(|_| data.to_owned());
    let mut best: Option<(usize, String)> = None;
    for line in mountinfo.lines() {
        let Some((mount, device)) = line.split_once(" - ") else { continue };
        let (mount, device): (Vec<&str>, Vec<&str>) = (mount.split(' ').collect(), device.split(' ').collect());
        let (Some(at), Some(options), Some(kind), Some(source)) = (mount.get(4), mount.get(5), device.first(), device.get(1)) else {
            continue;
        };
        let depth = PathBuf::from(at).components().count();
        if data.starts_with(at) && best.as_ref().is_none_or(|(deepest, _)| depth >= *deepest) {
            best = Some((depth, format!("{kind} on {source} ({options})")));
        }
    }
    best.map_or_else(|| "unknown".into(), |(_, text)| text)
}

/// Cores that this process may use: in a container, or below `taskset`, not all there are.
pub fn usable_cpus() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0));
    let cpus: Vec<usize> = (0..CpuSet::count()).filter(|cpu| allowed.as_ref().is_ok_and(|set| set.is_set(*cpu) == Ok(true))).collect();
    if cpus.is_empty() { vec![0] } else { cpus }
}

/// Binds the calling thread, and what it starts, to cores. A machine that refuses is measured unbound; the settings printed say so.
pub fn bind_thread(cpus: &[usize]) -> bool {
    bind(Pid::from_raw(0), cpus)
}

/// Binds every thread of a process.
pub fn bind_process(pid: u32, cpus: &[usize]) {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return };
    for thread in threads.flatten() {
        if let Some(id) = thread.file_name().to_str().and_then(|name| name.parse().ok()) {
            // A thread that ended needs no core.
            let _ended = bind(Pid::from_raw(id), cpus);
        }
    }
}

fn bind(thread: Pid, cpus: &[usize]) -> bool {
    let mut set = CpuSet::new();
    cpus.iter().all(|cpu| set.set(*cpu).is_ok()) && sched_setaffinity(thread, &set).is_ok()
}

/// Congestion control for all sockets of the session, put back on drop.
pub struct Congestion {
    before: Option<String>,
}

impl Congestion {
    pub fn set(wanted: &str, notes: &mut Vec<String>) -> Self {
        let before = first_line(CONGESTION);
        if before.as_deref() == Some(wanted) {
            return Self { before: None };
        }
        match fs::write(CONGESTION, wanted) {
            Ok(()) => {
                notes.push(format!("congestion control set to {wanted} for the session, was {}", before.as_deref().unwrap_or("unknown")));
                Self { before }
            }
            Err(why) => {
                notes.push(format!("congestion control stays {}: {why}", before.as_deref().unwrap_or("unknown")));
                Self { before: None }
            }
        }
    }
}

impl Drop for Congestion {
    fn drop(&mut self) {
        if let Some(before) = &self.before
            && let Err(why) = fs::write(CONGESTION, before)
        {
            eprintln!("congestion control could not be set back to {before}: {why}");
        }
    }
}

/// A moment in words.
pub struct Utc {
    year: i64,
    month: i64,
    day: i64,
    second_of_day: i64,
}

pub fn utc(time: SystemTime) -> Utc {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    // Days of the proleptic Gregorian calendar, counted from a first of March: leap days then stand at the end of a year.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    Utc {
        year: era * 400 + year_of_era + i64::from(month <= 2),
        month,
        day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
        second_of_day,
    }
}

impl Utc {
    fn clock(&self) -> (i64, i64, i64) {
        (self.second_of_day / 3600, self.second_of_day / 60 % 60, self.second_of_day % 60)
    }

    pub fn sentence(&self) -> String {
        let (hour, minute, second) = self.clock();
        format!("{:04}-{:02}-{:02} {hour:02}:{minute:02}:{second:02} UTC", self.year, self.month, self.day)
    }

    /// Sorts by time as a name of a file.
    pub fn file_name(&self) -> String {
        let (hour, minute, second) = self.clock();
        format!("{:04}{:02}{:02}-{hour:02}{minute:02}{second:02}", self.year, self.month, self.day)
    }
}

pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds| utc(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0).sentence(), "1970-01-01 00:00:00 UTC");
        assert_eq!(at(951_782_399).sentence(), "2000-02-28 23:59:59 UTC");
        assert_eq!(at(951_782_400).sentence(), "2000-02-29 00:00:00 UTC");
        assert_eq!(at(1_772_323_199).file_name(), "20260228-235959");
    }

    #[test]
    fn the_deepest_mount_holds_the_path() {
        let mounts = "1 0 8:1 / / rw,noatime shared:1 - ext4 /dev/a rw\n2 1 8:2 / /tmp rw - xfs /dev/b rw\nnonsense\n";
        assert_eq!(filesystem(Path::new("/tmp/nothing-there"), mounts), "xfs on /dev/b (rw)");
        assert_eq!(filesystem(Path::new("/"), mounts), "ext4 on /dev/a (rw,noatime)");
    }

    #[test]
    fn processors_are_counted_and_named() {
        assert_eq!(processor("processor\t: 0\nmodel name\t: Fast One\nprocessor\t: 1\nmodel name\t: Fast One\n"), "2 x Fast One");
    }
}
