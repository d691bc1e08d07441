use std::path::Path;

use super::*;
use crate::cli::console::captured::capture;

/// A machine made of files.
struct Rig(tempfile::TempDir);

impl Rig {
    fn new() -> Self {
        let rig = Self(tempfile::tempdir().unwrap());
        rig.write("proc/self/mountinfo", MOUNTS);
        rig.write("sys/devices/system/cpu/online", "0-3\n");
        rig
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.0.path().join(path)).unwrap()
    }

    fn machine(&self) -> Machine {
        Machine { root: self.0.path().to_owned(), log_dir: "/var/lib/ottla/a b".into(), pid: None, unit: None }
    }
}

const MOUNTS: &str = "\
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
30 27 259:3 / /var/lib/ottla rw,noatime shared:1 - xfs /dev/nvme0n1p3 rw,inode64
31 27 8:1 / /var/lib/ottla/a\\040b rw,noatime - xfs /dev/sda1 rw
";

fn knob(fields: &str) -> Knob {
    let text = format!("[x]\narea = a\nwhy = w\neffect = e\n{fields}");
    table::parse(&text).unwrap().remove(0)
}

fn found(rig: &Rig, fields: &str) -> Vec<String> {
    rig.machine().look(&knob(fields)).into_iter().map(|found| found.value).collect()
}

#[test]
fn the_shipped_table_is_whole() {
    let knobs = table::parse(table::SHIPPED).unwrap();
    assert!(knobs.len() > 30);
    let areas: std::collections::BTreeSet<&str> = knobs.iter().map(|knob| knob.area.as_str()).collect();
    for area in ["network", "interrupts", "memory", "numa", "processor", "filesystem", "disk", "limits", "unit"] {
        assert!(areas.contains(area), "{area}");
    }
    let mut names: Vec<&str> = knobs.iter().map(|knob| knob.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), knobs.len(), "each name once");
}

#[test]
fn a_bad_table_is_told_by_line() {
    let bad = |text: &str| table::parse(text).unwrap_err().to_string();
    assert_eq!(bad("area = x"), "line 1: a field before the first [NAME]");
    assert_eq!(bad("[a]\nnonsense"), "line 2: neither [NAME] nor KEY = VALUE");
    assert!(bad("[a]\ncolour = red").starts_with("line 2: colour is no field of a row"));
    assert!(bad("\n[a]\narea = x\nwhy = y\neffect = z\nwanted = = 1").contains("line 2: [a] has to have one of file"));
    assert!(bad("[a]\nfile = /x\nlimit = y\nwanted = = 1").contains("one of file"));
    assert!(bad("[a]\nfile = /x\nwanted = about 1").contains("none of the forms"));
    assert!(bad("[a]\nfile = /x\nwanted = <= 1\nset = 2").contains("what it sets is not what it wants"));
    assert!(bad("[a]\nlimit = x\nwanted = = 1\nset = 1").contains("set is for files"));
    assert!(bad("[a]\nwhy = x\nwhy = y").contains("twice"));
}

#[test]
fn values_are_found_where_the_table_says() {
    let rig = Rig::new();
    rig.write("proc/sys/vm/swappiness", "60\n");
    assert_eq!(found(&rig, "file = /proc/sys/vm/swappiness\nwanted = <= 10"), ["60"]);
    assert!(found(&rig, "file = /proc/sys/vm/missing\nwanted = <= 10").is_empty());
    rig.write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
    assert_eq!(found(&rig, "file = /sys/kernel/mm/transparent_hugepage/enabled\nwanted = = madvise"), ["madvise"]);
    for (state, latency) in [(0, 2), (1, 10), (2, 150)] {
        rig.write(&format!("sys/devices/system/cpu/cpu1/cpuidle/state{state}/latency"), &latency.to_string());
        rig.write(&format!("sys/devices/system/cpu/cpu1/cpuidle/state{state}/disable"), &state.to_string());
    }
    let deep = "file = /sys/devices/system/cpu/cpu*/cpuidle/state*/disable\nwhen = latency > 10\nwanted = = 1";
    assert_eq!(found(&rig, deep), ["2"], "only states that are slow to leave");
    // A partition has no queue; its disk has.
    rig.write("sys/dev/block/queue/scheduler", "[none] mq-deadline\n");
    rig.write("sys/dev/block/8:1/partition", "1");
    assert_eq!(found(&rig, "file = /sys/dev/block/{device}/queue/scheduler\nwanted = = none"), ["none"]);
    rig.write("sys/dev/block/8:1/queue/scheduler", "none [mq-deadline]\n");
    assert_eq!(found(&rig, "file = /sys/dev/block/{device}/queue/scheduler\nwanted = = none"), ["mq-deadline"]);
    assert_eq!(found(&rig, "mount = type\nwanted = = xfs"), ["xfs"], "of the deepest mount, its name unescaped");
    assert_eq!(found(&rig, "mount = option\nwanted = lacks discard"), ["rw,noatime,rw"]);
    for queue in 0..3 {
        rig.write(&format!("sys/class/net/eth0/queues/rx-{queue}/rps_cpus"), "0");
        rig.write(&format!("sys/class/net/lo/queues/rx-{queue}/rps_cpus"), "0");
    }
    rig.write("sys/class/net/eth0/device/vendor", "x");
    assert_eq!(found(&rig, "count = /sys/class/net/*/queues/rx-*\nwhen = ../device exists\nwanted = >= cores"), ["3"]);
    rig.write("proc/17/comm", "irqbalance\n");
    assert_eq!(found(&rig, "process = irqbalance\nwanted = absent"), ["running"]);
    assert_eq!(found(&rig, "process = other\nwanted = absent"), ["absent"]);
    rig.write(
        "proc/self/limits",
        "Limit  Soft Limit  Hard Limit  Units\nMax open files            1024                 524288               files\n",
    );
    assert_eq!(found(&rig, "limit = Max open files\nwanted = >= 1048576"), ["1024"]);
    assert!(found(&rig, "cores = 16\nfile = /proc/sys/vm/swappiness\nwanted = = 0").is_empty(), "four cores are not sixteen");
}

#[test]
fn wanted_values_are_told_from_others() {
    let met = |wanted: &str, value: &str| knob(&format!("process = x\nwanted = {wanted}")).wanted.is_met_by(value, 4);
    assert!(met(">= 5", "5") && met(">= 5", "unlimited") && !met(">= 5", "4") && !met(">= 5", "many"));
    assert!(met("<= 5", "-900") && !met("<= 5", "6"));
    assert!(met(">= cores", "4") && !met(">= cores", "3"));
    assert!(met("between 2 4", "3") && !met("between 2 4", "0"));
    assert!(met("one of a b", "b") && !met("one of a b", "ab"));
    assert!(met("contains a b", "b,c a") && !met("contains a b", "a"));
    assert!(met("contains nohz_full=", "quiet nohz_full=2-7") && !met("contains nohz_full=", "quiet"));
    assert!(met("lacks discard", "rw,nodiscard") && !met("lacks discard", "rw,discard"));
}

const TABLE: &str = "\
[swappiness]
area = memory
why = it swaps
file = /proc/sys/vm/swappiness
wanted = <= 10
set = 1
effect = not measured

[dirty]
area = memory
why = it waits
file = /proc/sys/vm/dirty_bytes
wanted = >= 1000
set = 2000
undo = /proc/sys/vm/dirty_ratio
effect = not measured

[governor]
area = processor
why = it sleeps
file = /sys/devices/system/cpu/cpu*/cpufreq/scaling_governor
wanted = = performance
set = performance
effect = not measured

[files]
area = limits
why = the unit says it
limit = Max open files
wanted = >= 100
effect = not measured
";

#[test]
fn check_tells_each_row_and_apply_sets_what_is_off_and_how_to_undo_it() {
    let rig = Rig::new();
    rig.write("proc/sys/vm/swappiness", "60\n");
    rig.write("proc/sys/vm/dirty_bytes", "0\n");
    rig.write("proc/sys/vm/dirty_ratio", "20\n");
    rig.write("proc/self/limits", "Max open files            64     64     files\n");
    let knobs = table::parse(TABLE).unwrap();
    let (ended, out, _) = capture(|console| check(&knobs, &rig.machine(), console));
    assert!(matches!(ended, Err(Failure::Said)));
    assert!(
        out.contains("off  memory: swappiness: 60; wanted: 10 or less\n       at: /proc/sys/vm/swappiness\n       why: it swaps\n"),
        "{out}"
    );
    assert!(out.contains("n/a  processor: governor\n") && out.ends_with("0 ok, 3 off, 1 not applicable\n"), "{out}");

    let (ended, out, _) = capture(|console| apply(&knobs, &rig.machine(), true, console));
    assert!(ended.is_ok() && out.contains("would set  /proc/sys/vm/swappiness: 60 -> 1\n"), "{out}");
    assert_eq!(rig.read("proc/sys/vm/swappiness"), "60\n", "a dry run changes nothing");

    let (ended, out, _) = capture(|console| apply(&knobs, &rig.machine(), false, console));
    assert!(ended.is_ok());
    assert!(out.contains("set  /proc/sys/vm/swappiness: 60 -> 1\n           undo: echo 60 > /proc/sys/vm/swappiness\n"), "{out}");
    assert!(out.contains("undo: echo 20 > /proc/sys/vm/dirty_ratio\n"), "setting the bytes has cleared the ratio: {out}");
    assert!(out.contains("by hand  limits: files: 64; wanted: 100 or more\n           the unit says it\n"), "{out}");
    assert!(out.contains("/etc/sysctl.d") && out.contains("  vm.swappiness = 1\n  vm.dirty_bytes = 2000\n"), "{out}");
    assert_eq!((rig.read("proc/sys/vm/swappiness"), rig.read("proc/sys/vm/dirty_bytes")), ("1".to_owned(), "2000".to_owned()));

    assert!(out.ends_with("undo all of it:\n  echo 20 > /proc/sys/vm/dirty_ratio\n  echo 60 > /proc/sys/vm/swappiness\n"), "{out}");

    // Undone by the printed command, it is off again.
    rig.write("proc/sys/vm/swappiness", "60\n");
    assert_eq!(standing(&knobs[0], &rig.machine()), Standing::Off(rig.machine().look(&knobs[0])));
    assert!(matches!(standing(&knobs[1], &rig.machine()), Standing::Ok(_)));
}

#[test]
fn what_cannot_be_set_is_said_and_the_rest_is_set() {
    let rig = Rig::new();
    rig.write("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n");
    rig.write("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n");
    rig.write("proc/sys/vm/swappiness", "60\n");
    // The kernel takes nothing there, from root either.
    std::os::unix::fs::symlink("/proc/version", rig.0.path().join("proc/sys/vm/dirty_bytes")).unwrap();
    // What takes everything and keeps what it has.
    fs::create_dir_all(rig.0.path().join("sys/devices/system/cpu/cpu2/cpufreq")).unwrap();
    std::os::unix::fs::symlink("/dev/null", rig.0.path().join("sys/devices/system/cpu/cpu2/cpufreq/scaling_governor")).unwrap();
    let knobs = table::parse(TABLE).unwrap();
    let (ended, out, _) = capture(|console| apply(&knobs, &rig.machine(), false, console));
    assert!(matches!(ended, Err(Failure::Said)));
    assert!(out.contains("failed  /proc/sys/vm/dirty_bytes: ") && !out.contains("vm.dirty_bytes = "), "{out}");
    assert!(out.contains("cpu2/cpufreq/scaling_governor: performance was taken, and it still says \n"), "{out}");
    assert!(!out.contains("echo  >"), "what was not set is not undone: {out}");
    assert_eq!(rig.read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"), "performance");
    assert_eq!(rig.read("proc/sys/vm/swappiness"), "1");
}

/// Every file that the shipped table sets, on a machine that has them all and has none of them right.
const ALL_WRONG: [(&str, &str); 30] = [
    ("proc/sys/net/ipv4/tcp_congestion_control", "bbr"),
    ("proc/sys/net/core/rmem_max", "212992"),
    ("proc/sys/net/core/wmem_max", "212992"),
    ("proc/sys/net/core/somaxconn", "128"),
    ("proc/sys/net/ipv4/tcp_max_syn_backlog", "512"),
    ("proc/sys/net/core/netdev_max_backlog", "1000"),
    ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "1"),
    ("proc/sys/vm/dirty_bytes", "0"),
    ("proc/sys/vm/dirty_background_bytes", "0"),
    ("proc/sys/vm/swappiness", "60"),
    ("proc/sys/vm/zone_reclaim_mode", "1"),
    ("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]"),
    ("proc/sys/kernel/numa_balancing", "1"),
    ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave"),
    ("sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "schedutil"),
    ("sys/devices/system/cpu/cpu0/cpuidle/state2/disable", "0"),
    ("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet"),
    ("proc/sys/kernel/sched_autogroup_enabled", "1"),
    ("proc/sys/kernel/io_uring_disabled", "2"),
    ("sys/dev/block/8:1/queue/scheduler", "none [mq-deadline] bfq"),
    ("sys/dev/block/8:1/queue/read_ahead_kb", "8192"),
    ("sys/dev/block/8:1/queue/nomerges", "2"),
    ("sys/dev/block/8:1/queue/rq_affinity", "1"),
    ("sys/dev/block/8:1/queue/wbt_lat_usec", "2000"),
    ("proc/sys/vm/max_map_count", "65530"),
    ("proc/sys/fs/file-max", "100000"),
    // Not set, and no part of the table: what the rows above stand beside.
    ("proc/sys/vm/dirty_ratio", "20"),
    ("proc/sys/vm/dirty_background_ratio", "10"),
    ("sys/devices/system/cpu/cpu0/cpuidle/state2/latency", "120"),
    ("sys/devices/system/cpu/cpu0/cpuidle/state1/latency", "2"),
];

#[test]
fn the_shipped_table_is_applied_whole_and_undone_by_what_it_prints() {
    let rig = Rig::new();
    ALL_WRONG.iter().for_each(|(path, value)| rig.write(path, &format!("{value}\n")));
    let knobs = table::parse(table::SHIPPED).unwrap();
    let settable = |knob: &&Knob| knob.set.is_some();
    for knob in knobs.iter().filter(settable) {
        assert!(matches!(standing(knob, &rig.machine()), Standing::Off(_)), "{} is wrong and is to be seen", knob.name);
    }
    let (ended, out, _) = capture(|console| apply(&knobs, &rig.machine(), false, console));
    assert!(ended.is_ok(), "{out}");
    for knob in knobs.iter().filter(settable) {
        assert!(matches!(standing(knob, &rig.machine()), Standing::Ok(_)), "{} is set", knob.name);
    }
    assert!(out.contains("  w /sys/dev/block/8:1/queue/scheduler - - - - none\n"), "{out}");
    // The kernel clears a ratio whose bytes are set, and the other way round.
    rig.write("proc/sys/vm/dirty_ratio", "0\n");
    rig.write("proc/sys/vm/dirty_background_ratio", "0\n");
    let (_, undo) = out.split_once("undo all of it:\n").unwrap();
    assert_eq!(undo.lines().count(), 26, "{undo}");
    let script = undo.replace("> /", &format!("> {}/", rig.0.path().display()));
    let done = std::process::Command::new("sh").args(["-e", "-c", &script]).output().unwrap();
    assert!(done.status.success(), "{script}: {}", String::from_utf8_lossy(&done.stderr));
    for (path, before) in ALL_WRONG {
        let now = rig.read(path);
        let in_force = before.split_once('[').map_or(before, |(_, rest)| rest.trim_end_matches(|c| c != ']').trim_end_matches(']'));
        // The bytes themselves are cleared by the kernel when the ratio is written.
        let is_cleared = path.ends_with("_bytes");
        assert!(is_cleared || now.trim() == in_force, "{path}: {now}, was {before}");
    }
}

/// What the repository ships for systemd.
fn shipped_unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tuning/ottla.service")
}

#[test]
fn the_shipped_unit_is_what_the_table_wants() {
    let rig = Rig::new();
    let machine = Machine { unit: Some(shipped_unit()), ..rig.machine() };
    let knobs: Vec<Knob> = table::parse(table::SHIPPED).unwrap().into_iter().filter(|knob| knob.area == "unit").collect();
    assert!(knobs.len() >= 6);
    for knob in &knobs {
        assert!(matches!(standing(knob, &machine), Standing::Ok(_)), "{}: {:?}", knob.name, machine.look(knob));
    }
    rig.write(
        "etc/systemd/system/ottla.service",
        "[Service]\nLimitNOFILE=4096\nSystemCallFilter=a\nSystemCallFilter=\n[Install]\nRestart=always\n",
    );
    let values: Vec<String> = knobs.iter().flat_map(|knob| rig.machine().look(knob)).map(|found| found.value).collect();
    assert_eq!(values.iter().filter(|value| *value == "not set").count(), knobs.len() - 1);
    assert!(values.contains(&"4096".to_owned()));
}

#[test]
fn systemd_takes_the_shipped_unit() {
    let analyze = |args: &[&str], unit: &Path| std::process::Command::new("systemd-analyze").args(args).arg(unit).output();
    if analyze(&["--version"], Path::new("ottla.service")).is_err() {
        // Whoever works without systemd has nobody to ask; where all is checked, tests/peers/install has brought it.
        assert!(std::env::var_os("CI").is_none(), "systemd-analyze is not there: tests/peers/install brings it");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join("ottla.service");
    // The program need not be installed here.
    let program = std::env::current_exe().unwrap();
    let text = fs::read_to_string(shipped_unit()).unwrap().replace("/usr/local/bin/ottla", &program.display().to_string());
    fs::write(&unit, text).unwrap();
    let verified = analyze(&["verify", "--man=no"], &unit).unwrap();
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "{said}");
    // Tenths: what is left open is the network, the users of the machine and the process table's own files.
    let exposed = analyze(&["security", "--offline=true", "--no-pager", "--threshold=20"], &unit).unwrap();
    assert!(exposed.status.success(), "{}", String::from_utf8_lossy(&exposed.stdout));
}
