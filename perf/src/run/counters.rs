//! What the kernel counts: processor time of a broker, of the whole machine and of everybody else, context switches, memory.
//!
//! Called by `session` around each measured load.

use std::fs;
use std::path::Path;
use std::time::Instant;

use nix::unistd::{SysconfVar, sysconf};
use serde::{Deserialize, Serialize};

use super::cgroup::Group;

/// One look; two make a [`Usage`].
pub struct Look {
    at: Instant,
    broker_cpu_seconds: Option<f64>,
    machine: Machine,
    others_ticks: u64,
    switches: Switches,
}

#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Machine {
    busy_ticks: u64,
    stolen_ticks: u64,
    all_ticks: u64,
}

#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Switches {
    voluntary: u64,
    involuntary: u64,
}

/// What was used between two looks.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    pub seconds: f64,
    pub broker_cpu_seconds: Option<f64>,
    /// User, system and interrupt time of all cores: also kernel threads that write back.
    pub machine_busy_seconds: f64,
    /// Of all cores' time.
    pub stolen_share: f64,
    /// Processor time of processes outside the session, of all cores' time.
    pub others_share: f64,
    pub switches_voluntary: u64,
    pub switches_involuntary: u64,
    pub resident_kib: Option<u64>,
    pub resident_peak_kib: Option<u64>,
}

impl Look {
    pub fn take(broker: Option<(u32, &Group)>) -> Self {
        let pid = broker.map(|(pid, _)| pid);
        let from_group = broker.and_then(|(_, group)| group.cpu_seconds());
        Self {
            at: Instant::now(),
            broker_cpu_seconds: from_group.or_else(|| pid.and_then(process_cpu_seconds)),
            machine: machine(&read("/proc/stat")),
            others_ticks: others_ticks(pid),
            switches: pid.map(switches).unwrap_or_default(),
        }
    }

    pub fn until(&self, later: &Look, broker: Option<u32>) -> Usage {
        let all = later.machine.all_ticks.saturating_sub(self.machine.all_ticks).max(1) as f64;
        let status = broker.map(|pid| read(format!("/proc/{pid}/status"))).unwrap_or_default();
        Usage {
            seconds: later.at.duration_since(self.at).as_secs_f64(),
            broker_cpu_seconds: later.broker_cpu_seconds.zip(self.broker_cpu_seconds).map(|(later, before)| later - before),
            machine_busy_seconds: seconds(later.machine.busy_ticks.saturating_sub(self.machine.busy_ticks)),
            stolen_share: later.machine.stolen_ticks.saturating_sub(self.machine.stolen_ticks) as f64 / all,
            others_share: later.others_ticks.saturating_sub(self.others_ticks) as f64 / all,
            switches_voluntary: later.switches.voluntary.saturating_sub(self.switches.voluntary),
            switches_involuntary: later.switches.involuntary.saturating_sub(self.switches.involuntary),
            resident_kib: row(&status, "VmRSS:"),
            resident_peak_kib: row(&status, "VmHWM:"),
        }
    }
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn seconds(ticks: u64) -> f64 {
    let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
    ticks as f64 / per_second as f64
}

/// Memory that a process has in use now, pages of mapped files included.
pub fn resident_kib(pid: u32) -> Option<f64> {
    row(&read(format!("/proc/{pid}/status")), "VmRSS:").map(|kib| kib as f64)
}

/// Of a process's threads, ended ones included.
pub fn process_cpu_seconds(pid: u32) -> Option<f64> {
    let times = Times::of(&read(format!("/proc/{pid}/stat")))?;
    Some(seconds(times.own))
}

fn machine(stat: &str) -> Machine {
    let Some(row) = stat.lines().find_map(|line| line.strip_prefix("cpu ")) else { return Machine::default() };
    let ticks: Vec<u64> = row.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let at = |index: usize| ticks.get(index).copied().unwrap_or(0);
    // user nice system idle iowait irq softirq steal; guest time is within user.
    let busy_ticks = at(0) + at(1) + at(2) + at(5) + at(6);
    Machine { busy_ticks, stolen_ticks: at(7), all_ticks: busy_ticks + at(3) + at(4) + at(7) }
}

struct Times {
    parent: u32,
    own: u64,
    /// Of children that ended and were waited for.
    children: u64,
}

impl Times {
    fn of(stat: &str) -> Option<Self> {
        // The name may hold spaces and parentheses: fields begin after its last parenthesis.
        let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self { parent: fields.get(1)?.parse().ok()?, own: ticks(11)? + ticks(12)?, children: ticks(13)? + ticks(14)? })
    }
}

/// Ticks of all processes but kernel threads, this session and the broker. Time of a child that ended moves to whoever waited for it, so
/// the sum loses no short-lived process.
fn others_ticks(broker: Option<u32>) -> u64 {
    const KTHREADD: u32 = 2;
    let own = std::process::id();
    let Ok(entries) = fs::read_dir("/proc") else { return 0 };
    let mut sum = 0;
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Some(times) = Times::of(&read(entry.path().join("stat"))) else { continue };
        let ours = pid == own || times.parent == own || Some(pid) == broker;
        if !ours && pid != KTHREADD && times.parent != KTHREADD {
            sum += times.own + times.children;
        }
    }
    sum
}

/// Of all threads that live.
fn switches(pid: u32) -> Switches {
    let mut sum = Switches::default();
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return sum };
    for thread in threads.flatten() {
        let status = read(thread.path().join("status"));
        sum.voluntary += row(&status, "voluntary_ctxt_switches:").unwrap_or(0);
        sum.involuntary += row(&status, "nonvoluntary_ctxt_switches:").unwrap_or(0);
    }
    sum
}

fn row(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name)).and_then(|rest| rest.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_time_counts_waiting_as_idle_and_guests_once() {
        let stat = "cpu  100 10 50 800 40 5 6 7 3 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(machine(stat), Machine { busy_ticks: 171, stolen_ticks: 7, all_ticks: 1018 });
        assert_eq!(machine(""), Machine::default());
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "42 (a ) (b) S 7 42 42 0 -1 4194560 1 2 3 4 11 22 33 44 20 0 1 0 5";
        let times = Times::of(stat).unwrap();
        assert_eq!((times.parent, times.own, times.children), (7, 33, 77));
        assert!(Times::of("").is_none() && Times::of("1 (x) S").is_none());
    }

    #[test]
    fn rows_of_a_status_are_told_apart() {
        let status = "VmRSS:\t  2048 kB\nvoluntary_ctxt_switches:\t5\nnonvoluntary_ctxt_switches:\t3\n";
        assert_eq!(row(status, "VmRSS:"), Some(2048));
        assert_eq!(row(status, "voluntary_ctxt_switches:"), Some(5));
        assert_eq!(row(status, "nonvoluntary_ctxt_switches:"), Some(3));
        assert_eq!(row(status, "VmHWM:"), None);
    }

    #[test]
    fn this_process_is_seen_working() {
        let own = std::process::id();
        let before = process_cpu_seconds(own).unwrap();
        let begun = Instant::now();
        let mut spun = 0_u64;
        while begun.elapsed().as_millis() < 80 {
            spun = std::hint::black_box(spun + 1);
        }
        assert!(process_cpu_seconds(own).unwrap() > before);
    }
}
