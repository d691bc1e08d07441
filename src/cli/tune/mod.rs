//! `ottla tune`: looks at what a machine is set to, by the table in `tuning/knobs.ini`, and sets what it may.
//!
//! Called by `cli`; reads and writes files under `/proc` and `/sys`. Nothing else on the machine is changed: what needs a mount, a unit or
//! a boot is told, and left to a person.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Subcommand;

use super::console::Console;
use super::failure::Failure;

mod machine;
mod table;
#[cfg(test)]
mod tests;

use machine::{Found, Machine};
use table::Knob;

const EXAMPLES: &str = "\
Examples:
  What is not as it should be, for a broker whose logs are in /var/lib/ottla:
    ottla tune check --log-dir /var/lib/ottla
  What would be set, and how it is undone:
    ottla tune apply --log-dir /var/lib/ottla --dry-run
  Whether a unit has what the broker needs:
    ottla tune check --unit /etc/systemd/system/ottla.service";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Report each row as ok, off, or n/a where it does not apply; ends with 1 if one is off.
    Check(Place),
    /// Set what is off and can be set, and print how to undo it. What lasts beyond a boot is printed too.
    Apply {
        #[command(flatten)]
        place: Place,
        /// Only print what would be done.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(clap::Args, Debug)]
struct Place {
    /// The log directory: its filesystem and its disk are looked at.
    #[arg(long, value_name = "DIR", default_value = "ottla-data")]
    log_dir: PathBuf,
    /// The process whose limits are looked at. Default: this one.
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// The systemd unit that is looked at. Default: /etc/systemd/system/ottla.service, if it is there.
    #[arg(long, value_name = "FILE")]
    unit: Option<PathBuf>,
    /// Another table.
    #[arg(long, value_name = "FILE")]
    knobs: Option<PathBuf>,
    /// The directory that has proc and sys in it, of a machine that is looked at from outside.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// How a row stands.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// There is nothing here that it is about.
    NotApplicable,
    Ok(Vec<Found>),
    /// With those values that are not as wanted.
    Off(Vec<Found>),
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let (place, dry_run) = match &args.action {
        Action::Check(place) => (place, None),
        Action::Apply { place, dry_run } => (place, Some(*dry_run)),
    };
    let knobs = read_table(place)?;
    let log_dir = fs::canonicalize(&place.log_dir).or_else(|_| std::path::absolute(&place.log_dir))?;
    let machine = Machine { root: place.root.clone(), log_dir, pid: place.pid, unit: place.unit.clone() };
    if let Some(unit) = &machine.unit {
        fs::metadata(unit).map_err(|error| Failure::Sentence(format!("--unit: {}: {error}", unit.display())))?;
    }
    match dry_run {
        None => check(&knobs, &machine, console),
        Some(dry_run) => apply(&knobs, &machine, dry_run, console),
    }
}

fn read_table(place: &Place) -> Result<Vec<Knob>, Failure> {
    let (name, text) = match &place.knobs {
        None => ("the table".to_owned(), table::SHIPPED.to_owned()),
        Some(path) => {
            let name = path.display().to_string();
            let text = fs::read_to_string(path).map_err(|error| Failure::Sentence(format!("--knobs: {name}: {error}")))?;
            (name, text)
        }
    };
    table::parse(&text).map_err(|error| Failure::Sentence(format!("{name}: {error}")))
}

fn standing(knob: &Knob, machine: &Machine) -> Standing {
    let found = machine.look(knob);
    if found.is_empty() {
        return Standing::NotApplicable;
    }
    let cores = machine.cores();
    let (met, off): (Vec<Found>, Vec<Found>) = found.into_iter().partition(|found| knob.wanted.is_met_by(&found.value, cores));
    if off.is_empty() { Standing::Ok(met) } else { Standing::Off(off) }
}

/// The values of a row in few words: once where all are the same.
fn values(found: &[Found]) -> String {
    let mut shown: Vec<&str> = found.iter().map(|found| found.value.as_str()).collect();
    shown.dedup();
    match shown[..] {
        [one] if found.len() > 1 => format!("{one} ({} places)", found.len()),
        _ => shown.join(", "),
    }
}

fn check(knobs: &[Knob], machine: &Machine, console: &mut Console) -> Result<(), Failure> {
    let (mut ok, mut off, mut absent) = (0, 0, 0);
    for knob in knobs {
        let Knob { name, area, wanted, .. } = knob;
        match standing(knob, machine) {
            Standing::NotApplicable => {
                absent += 1;
                writeln!(console.out(), "n/a  {area}: {name}")?;
            }
            Standing::Ok(found) => {
                ok += 1;
                writeln!(console.out(), "ok   {area}: {name}: {}", values(&found))?;
            }
            Standing::Off(found) => {
                off += 1;
                writeln!(console.out(), "off  {area}: {name}: {}; wanted: {wanted}", values(&found))?;
                writeln!(console.out(), "       at: {}", found[0].place)?;
                writeln!(console.out(), "       why: {}", knob.why)?;
                writeln!(console.out(), "       effect: {}", knob.effect)?;
            }
        }
    }
    writeln!(console.out(), "{ok} ok, {off} off, {absent} not applicable")?;
    if off > 0 { Err(Failure::Said) } else { Ok(()) }
}

fn apply(knobs: &[Knob], machine: &Machine, dry_run: bool, console: &mut Console) -> Result<(), Failure> {
    if !dry_run && machine.root == Path::new("/") && !nix::unistd::geteuid().is_root() {
        return Err(Failure::Sentence("settings of the machine are root's to change; --dry-run shows what would be done".into()));
    }
    let (mut failed, mut lasting, mut at_boot, mut undone) = (false, Vec::new(), Vec::new(), Vec::new());
    for knob in knobs {
        let Standing::Off(found) = standing(knob, machine) else { continue };
        let Knob { name, area, wanted, why, .. } = knob;
        let Some(value) = &knob.set else {
            writeln!(console.out(), "by hand  {area}: {name}: {}; wanted: {wanted}", values(&found))?;
            writeln!(console.out(), "           {why}")?;
            continue;
        };
        for found in &found {
            let Some(path) = &found.file else { continue };
            let undo = undo(knob, machine, found);
            let done = if dry_run { Ok(()) } else { set(path, value, knob, machine) };
            match done {
                Ok(()) => {
                    let word = if dry_run { "would set" } else { "set" };
                    writeln!(console.out(), "{word}  {}: {} -> {value}", found.place, found.value)?;
                    writeln!(console.out(), "           undo: {undo}")?;
                    lasting.extend(sysctl_line(&found.place, value));
                    at_boot.extend(found.place.starts_with("/sys/").then(|| format!("w {} - - - - {value}", found.place)));
                    undone.push(undo);
                }
                Err(why) => {
                    failed = true;
                    writeln!(console.out(), "failed  {}: {why}", found.place)?;
                }
            }
        }
    }
    tell("until the next boot; in a file of /etc/sysctl.d these lines make it last:", &lasting, console)?;
    tell("and in a file of /etc/tmpfiles.d, where the disk keeps its number:", &at_boot, console)?;
    // The last first: what was set on top of another comes off before it.
    undone.reverse();
    tell("these lines, given to a root shell, undo all of it:", &undone, console)?;
    if failed { Err(Failure::Said) } else { Ok(()) }
}

fn tell(what: &str, lines: &[String], console: &mut Console) -> Result<(), Failure> {
    if !lines.is_empty() {
        writeln!(console.out(), "{what}")?;
    }
    for line in lines {
        writeln!(console.out(), "  {line}")?;
    }
    Ok(())
}

/// Writes, and looks whether it took: some files take a value that the machine does not have, and keep theirs.
fn set(path: &Path, value: &str, knob: &Knob, machine: &Machine) -> Result<(), String> {
    fs::write(path, value).map_err(|error| error.to_string())?;
    let now = machine::read(path).unwrap_or_default();
    if knob.wanted.is_met_by(&now, machine.cores()) { Ok(()) } else { Err(format!("{value} was taken, and it still says {now}")) }
}

/// The command that brings back what was there.
fn undo(knob: &Knob, machine: &Machine, found: &Found) -> String {
    let cleared = knob.undo.as_ref().filter(|_| found.value == "0");
    let before = cleared.and_then(|path| Some((fs::read_to_string(machine.under_root(path)).ok()?, path)));
    match before {
        Some((value, path)) => format!("echo {} > {path}", value.trim()),
        None => format!("echo {} > {}", found.value, found.place),
    }
}

fn sysctl_line(place: &str, value: &str) -> Option<String> {
    Some(format!("{} = {value}", place.strip_prefix("/proc/sys/")?.replace('/', ".")))
}
