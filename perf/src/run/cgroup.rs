//! A control group of its own for each broker: its page cache recycles pages inside the group, its processor time is counted whole
//! (kernel workers of io_uring included), and its cores are set for every thread at once.
//!
//! Called by `arm`. Version 1 (a directory per controller) and version 2 (one directory) are both spoken; what the machine does not give
//! is said in `notes` and done without.
//!
//! 1. A group that was made is removed when its handle drops, after its processes.
//! 2. Nothing outside directories this process made is written, but for the list of controllers at a version 2 root.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::process::cpu_list;

const ROOT: &str = "/sys/fs/cgroup";

#[derive(Default)]
pub struct Group {
    made: Vec<PathBuf>,
    memory: Option<PathBuf>,
    processor: Option<Processor>,
    cpuset: Option<PathBuf>,
    /// What this group gives and what it does not, in words of the report.
    pub notes: Vec<String>,
}

enum Processor {
    /// `cpuacct.usage`, nanoseconds.
    Nanoseconds(PathBuf),
    /// `usage_usec` in `cpu.stat`.
    Statistics(PathBuf),
}

/// Begins the name of every group; the process id of the session follows.
const PREFIX: &str = "ottla-perf-";

/// Removes what a session left that was itself killed.
pub fn sweep() {
    let root = Path::new(ROOT);
    for parent in [root.to_owned(), root.join("memory"), root.join("cpuacct"), root.join("cpuset")] {
        let Ok(entries) = fs::read_dir(&parent) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let owner = name.to_str().and_then(|name| name.strip_prefix(PREFIX)).and_then(|rest| rest.split('-').next());
            if owner.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
                // A group with processes refuses.
                let _busy = fs::remove_dir(entry.path());
            }
        }
    }
}

impl Group {
    /// `memory_bytes` bounds pages of processes and files together.
    pub fn make(name: &str, memory_bytes: u64, cpus: &[usize]) -> Group {
        let mut group = Group::default();
        let root = Path::new(ROOT);
        let name = &format!("{PREFIX}{}-{name}", std::process::id());
        if root.join("cgroup.controllers").exists() {
            group.make_version_2(root, name);
        } else {
            group.make_version_1(root, name);
        }
        group.limit_memory(memory_bytes);
        if !group.set_cpus(cpus) {
            group.notes.push("no cpuset: threads are bound one by one".into());
        }
        if group.processor.is_none() {
            group.notes.push("processor time is taken from /proc/PID/stat: kernel workers are not in it".into());
        }
        group
    }

    fn make_version_2(&mut self, root: &Path, name: &str) {
        // Already there on most systems; refused without root, and then the files below are missing. One by one: a kernel without one of
        // them would refuse all.
        for controller in ["+memory", "+cpu", "+cpuset"] {
            let _refused = fs::write(root.join("cgroup.subtree_control"), controller);
        }
        let Some(dir) = self.make_dir(root.join(name)) else { return };
        let present = |file: &str| dir.join(file).exists();
        self.memory = present("memory.max").then(|| dir.join("memory.max"));
        self.cpuset = present("cpuset.cpus").then(|| dir.clone());
        self.processor = present("cpu.stat").then(|| Processor::Statistics(dir.join("cpu.stat")));
        self.notes.push(format!("control groups: version 2, {}", dir.display()));
    }

    fn make_version_1(&mut self, root: &Path, name: &str) {
        let mut controllers = Vec::new();
        if let Some(dir) = self.make_controller(root, "memory", name) {
            self.memory = Some(dir.join("memory.limit_in_bytes"));
            controllers.push("memory");
        }
        if let Some(dir) = self.make_controller(root, "cpuacct", name) {
            self.processor = Some(Processor::Nanoseconds(dir.join("cpuacct.usage")));
            controllers.push("cpuacct");
        }
        // A version 1 cpuset takes no process before it knows its memory nodes.
        if let Ok(nodes) = fs::read_to_string(root.join("cpuset/cpuset.mems"))
            && let Some(dir) = self.make_controller(root, "cpuset", name)
            && fs::write(dir.join("cpuset.mems"), nodes.trim()).is_ok()
        {
            self.cpuset = Some(dir);
            controllers.push("cpuset");
        }
        if !controllers.is_empty() {
            self.notes.push(format!("control groups: version 1, {name} of {}", controllers.join(", ")));
        }
    }

    fn make_controller(&mut self, root: &Path, controller: &str, name: &str) -> Option<PathBuf> {
        let parent = root.join(controller);
        parent.join("cgroup.procs").exists().then(|| self.make_dir(parent.join(name))).flatten()
    }

    fn make_dir(&mut self, dir: PathBuf) -> Option<PathBuf> {
        match fs::create_dir(&dir) {
            Ok(()) => {
                self.made.push(dir.clone());
                Some(dir)
            }
            Err(why) => {
                self.notes.push(format!("no control group {}: {why}", dir.display()));
                None
            }
        }
    }

    fn limit_memory(&mut self, bytes: u64) {
        let limited = self.memory.take().filter(|file| fs::write(file, bytes.to_string()).is_ok());
        match &limited {
            Some(_) => self.notes.push(format!("memory of the group: {} MiB", bytes >> 20)),
            None => self.notes.push("no memory group: page cache is the whole machine's, cold pages make figures jump".into()),
        }
        self.memory = limited;
    }

    pub fn has_memory_limit(&self) -> bool {
        self.memory.is_some()
    }

    /// False where there is no cpuset or it refuses.
    pub fn set_cpus(&self, cpus: &[usize]) -> bool {
        self.cpuset.as_ref().is_some_and(|dir| fs::write(dir.join("cpuset.cpus"), cpu_list(cpus)).is_ok())
    }

    /// What a process writes its id into to join.
    pub fn process_lists(&self) -> Vec<PathBuf> {
        self.made.iter().map(|dir| dir.join("cgroup.procs")).collect()
    }

    /// Processor seconds of everything that ever ran in the group.
    pub fn cpu_seconds(&self) -> Option<f64> {
        match self.processor.as_ref()? {
            Processor::Nanoseconds(file) => Some(fs::read_to_string(file).ok()?.trim().parse::<u64>().ok()? as f64 / 1e9),
            Processor::Statistics(file) => usage_microseconds(&fs::read_to_string(file).ok()?).map(|us| us as f64 / 1e6),
        }
    }
}

fn usage_microseconds(statistics: &str) -> Option<u64> {
    statistics.lines().find_map(|line| line.strip_prefix("usage_usec ")).and_then(|value| value.trim().parse().ok())
}

impl Drop for Group {
    fn drop(&mut self) {
        for dir in &self.made {
            // Killed processes leave a group a moment after they were reaped.
            for _ in 0..100 {
                if fs::remove_dir(dir).is_ok() || !dir.exists() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_found_among_the_other_rows() {
        assert_eq!(usage_microseconds("usage_usec 1234\nuser_usec 1000\nsystem_usec 234\n"), Some(1234));
        assert_eq!(usage_microseconds("user_usec 1000\n"), None);
    }
}
