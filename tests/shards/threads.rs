//! What the kernel knows about the threads of a process.

use std::collections::BTreeMap;
use std::fs;

/// Nanoseconds on a CPU so far, by thread name. Threads of the same name are added up.
pub fn cpu_ns(pid: u32) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let thread = thread.unwrap().path();
        // A thread may end between the listing and the reading.
        let (Ok(name), Ok(schedule)) = (fs::read_to_string(thread.join("comm")), fs::read_to_string(thread.join("schedstat"))) else {
            continue;
        };
        let ns: u64 = schedule.split_whitespace().next().unwrap().parse().unwrap();
        *found.entry(name.trim().to_string()).or_default() += ns;
    }
    found
}

/// Times any thread of the process was put on or taken off a CPU so far, both of its own will and not.
pub fn context_switches(pid: u32) -> BTreeMap<String, u64> {
    let of_thread = |thread: fs::DirEntry| {
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        Some((thread.file_name().into_string().ok()?, status.lines().filter_map(switches).sum()))
    };
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().filter_map(|thread| of_thread(thread.unwrap())).collect()
}

/// Context switches between two looks. A thread that ended meanwhile took its count along; a new one counts from its start.
pub fn switches_between(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> u64 {
    after.iter().map(|(thread, count)| count - before.get(thread).copied().unwrap_or(0)).sum()
}

fn switches(line: &str) -> Option<u64> {
    let (name, count) = line.split_once(':')?;
    name.ends_with("voluntary_ctxt_switches").then(|| count.trim().parse().unwrap())
}
