//! Measures brokers in turn and writes a report.
//!
//! Started by `perf/run`; calls the load generator (`ottla-perf load`) and the floors (`ottla-perf floors`) as processes.
//!
//! ```text
//!   session    floors -> brokers up, warm, held still -> pairs of runs, ABBA
//!      |          stage    one run: topic, settle, sync, sentinel | counters | load | counters | delete
//!      |            |        arm, kafka, cgroup, process    a broker in its control group, on its core
//!      |            |        workloads, amounts             what is asked
//!      |          gate     does the pair count?
//!   journal    runs.jsonl, a row as each run ends
//!   report     report.html, report.md, from the rows alone
//! ```
//!
//! 1. Both brokers get the same cores, disk, kernel settings, payloads and pauses; one runs while the other is stopped.
//! 2. Rules that discard a pair stand before anything is measured; discarded runs are in the rows and counted in the report.
//! 3. However a session ends, no process, control group, changed setting or data directory is left behind.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use clap::Args;

use amounts::Amounts;
use arm::{Kind, Place};
use failure::Failure;
use gate::Gate;
use machine::Congestion;
use process::Interrupt;
use record::{Collected, Journal, Row};
use session::{Scratch, Session};
use stage::Stage;
use workloads::{Choice, Contest, TABLE, Workload};

mod amounts;
mod arm;
mod cgroup;
mod counters;
mod failure;
pub mod floors;
mod gate;
mod kafka;
mod machine;
mod needs;
mod process;
mod record;
mod report;
mod session;
mod stage;
mod statistics;
mod workloads;

#[derive(Args)]
pub struct Options {
    /// A few workloads, few and short runs: under five minutes once everything is built.
    #[arg(long)]
    quick: bool,
    /// Every workload but the soak, with --quick also the long ones.
    #[arg(long)]
    all: bool,
    /// Only this workload; may be given several times.
    #[arg(long = "workload", value_name = "NAME")]
    workloads: Vec<String>,
    /// Print the workloads and end.
    #[arg(long)]
    list: bool,
    /// Measure a broker that runs already, instead of our own two: no figures of its processor time or memory.
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "arms")]
    bootstrap: Option<String>,
    /// The brokers to bring.
    #[arg(long, value_delimiter = ',', default_value = "ottla,kafka")]
    arms: Vec<Kind>,
    /// Pairs of runs of each workload: 10, with --quick 2.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pairs: Option<u16>,
    /// Where the report goes: target/perf/TIMESTAMP.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where the brokers keep their data while they are measured: below the report's directory.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Cores of the broker.
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "0")]
    broker_cpus: Vec<usize>,
    /// Core of the load generator.
    #[arg(long, value_name = "N", default_value_t = 1)]
    generator_cpu: usize,
    /// Memory of each broker's control group, page cache included; with --quick half of it.
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    group_mib: u64,
    /// Log that a broker holds when it is killed and started again.
    #[arg(long, value_name = "MIB", default_value_t = 10_240)]
    restart_mib: u64,
    /// Length of the soak.
    #[arg(long, value_name = "SECONDS", default_value_t = 1800)]
    soak_seconds: u64,
    /// Congestion control of the session's sockets, put back at the end.
    #[arg(long, value_name = "NAME", default_value = "cubic")]
    congestion: String,
    /// Let every pair count, however busy the machine was; the report says so.
    #[arg(long)]
    ungated: bool,
    /// Write the report of a directory's runs.jsonl again, and measure nothing.
    #[arg(long, value_name = "DIR")]
    render: Option<PathBuf>,
    /// The broker's program.
    #[arg(long, value_name = "FILE", default_value = "target/release/ottla")]
    ottla: PathBuf,
    /// A setting of Ottla's brokers, other than its default; may be given several times, and is in the report.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = setting)]
    settings: Vec<(String, String)>,
    /// Directory of Apache Kafka's jars.
    #[arg(long, value_name = "DIR", default_value = "target/peers/kafka")]
    jars: PathBuf,
    /// Logging of Apache Kafka.
    #[arg(long, value_name = "FILE", default_value = "tests/peers/log4j2.yaml")]
    log_settings: PathBuf,
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("a setting is KEY=VALUE, as ottla.spin.us=2000")?;
    Ok((key.to_owned(), value.to_owned()))
}

const QUICK_PAIRS: usize = 2;
const PAIRS: usize = 10;
/// With `--quick`, discarded pairs are tried again only so long after the start: the whole stays under five minutes.
const QUICK_SPARE: Duration = Duration::from_secs(200);

pub fn main(options: Options) -> Result<(), String> {
    if options.list {
        list();
        return Ok(());
    }
    let done = match &options.render {
        Some(dir) => render(dir),
        None => measure(&options),
    };
    done.map_err(|why| why.to_string())
}

fn list() {
    for workload in TABLE {
        let when = match workload.choice {
            Choice::Quick => "quick",
            Choice::Full => "full",
            Choice::OnlyByName => "by name only",
        };
        println!("{:18} {when:13} {}", workload.name, workload.sentence);
    }
}

fn render(dir: &Path) -> Result<(), Failure> {
    report::write(dir, &Collected::read(&dir.join("runs.jsonl"))?)
}

fn chosen(options: &Options) -> Result<Vec<&'static Workload>, Failure> {
    // What compares Ottla with itself needs no other broker, but an Ottla to be started.
    let suits = |workload: &&Workload| match options.bootstrap {
        Some(_) => workload.suits_a_foreign_broker(),
        None => workload.contest == Contest::Brokers || options.arms.contains(&Kind::Ottla),
    };
    if options.workloads.is_empty() {
        let choices: &[Choice] = if options.quick && !options.all { &[Choice::Quick] } else { &[Choice::Quick, Choice::Full] };
        // Kafka's own tool needs its jars: only where they are there anyway, unless it is asked for by name.
        let is_at_hand =
            |workload: &&Workload| options.arms.contains(&Kind::Kafka) || !matches!(workload.kind, workloads::Kind::PerfTest { .. });
        let chosen = TABLE.iter().filter(|workload| choices.contains(&workload.choice));
        return Ok(chosen.filter(suits).filter(is_at_hand).collect());
    }
    let named = |name: &String| {
        let found = workloads::find(name).ok_or_else(|| Failure::Asked(format!("no workload {name}; --list prints them")))?;
        if suits(&found) {
            Ok(found)
        } else {
            Err(Failure::Asked(format!("{name} needs an Ottla of our own: no --bootstrap, and --arms with ottla")))
        }
    };
    options.workloads.iter().map(named).collect()
}

fn measure(options: &Options) -> Result<(), Failure> {
    let chosen = chosen(options)?;
    let out = options.out.clone().unwrap_or_else(|| Path::new("target/perf").join(machine::utc(SystemTime::now()).file_name()));
    std::fs::create_dir_all(&out).map_err(Failure::file(&out))?;
    let out = out.canonicalize().map_err(Failure::file(&out))?;
    let mut journal = Journal::create(out.join("runs.jsonl"))?;
    let outcome = measure_into(options, &chosen, &out, &mut journal);
    if outcome.is_err() && journal.collected.arms.is_empty() {
        // Nothing was measured: there is the sentence that says why, and no report. A directory of somebody else's files stays.
        let _kept = std::fs::remove_file(out.join("runs.jsonl")).and_then(|()| std::fs::remove_dir(&out));
        return outcome;
    }
    // Also of a session that broke off: what was measured is worth reading.
    let reported = report::write(&out, &journal.collected);
    if reported.is_ok() {
        let table = out.join("table.md");
        println!("{}", std::fs::read_to_string(&table).map_err(Failure::file(&table))?);
        println!("{}", out.join("report.html").display());
    }
    outcome.and(reported)
}

fn measure_into(options: &Options, chosen: &[&'static Workload], out: &Path, journal: &mut Journal) -> Result<(), Failure> {
    let interrupt = Interrupt::watch()?;
    cgroup::sweep();
    let place = place(options, chosen, out)?;
    let data = place.data.clone();
    // Dropped last: brokers end and groups go before their files do.
    let _scratch = Scratch(&data);
    std::fs::create_dir_all(&data).map_err(Failure::file(&data))?;
    needs::room(&data, room(options, chosen, &place))?;
    let mut notes = Vec::new();
    if !machine::bind_thread(&[place.generator_cpu]) {
        notes.push("threads cannot be bound to cores here: broker and generator run where the kernel puts them".into());
    }
    let _congestion = Congestion::set(&options.congestion, &mut notes);
    let mut description = machine::describe(&data);
    notes.push(arm::seating(&place));
    let amounts = Amounts::of(options.quick, place.group_bytes, options.restart_mib << 20, options.soak_seconds);
    notes.push(format!("a produce run writes {} MiB, below the background dirty limit", amounts.volume >> 20));
    description.notes = notes;
    journal.write(Row::Machine(description))?;
    let gate = if options.ungated { Gate::Open } else { Gate::Closed };
    let pairs = options.pairs.map_or(if options.quick { QUICK_PAIRS } else { PAIRS }, usize::from);
    journal.write(Row::Session(record::Session {
        command: std::env::args().collect::<Vec<_>>().join(" "),
        workloads: chosen.iter().map(|workload| workload.name.to_owned()).collect(),
        pairs,
        quick: options.quick,
        rules: gate::rules(gate),
    }))?;
    let loader = std::env::current_exe().map_err(|source| Failure::Start { name: "the load generator".into(), source })?;
    let pause = Duration::from_millis(if options.quick { 500 } else { 2000 });
    let spare_until = options.quick.then(|| Instant::now() + QUICK_SPARE);
    let stage = Stage::new(place, amounts, loader, interrupt, pause, gate);
    let mut session = Session::new(stage, journal, pairs, spare_until);
    match &options.bootstrap {
        Some(bootstrap) => session.point_at(bootstrap, options)?,
        None => session.bring(&options.arms, options)?,
    }
    session.measure(chosen, options)
}

/// Bytes of files that may be there at one time: what fills the groups, and the largest log.
fn room(options: &Options, chosen: &[&'static Workload], place: &Place) -> u64 {
    let brokers = if options.bootstrap.is_some() { 0 } else { options.arms.len() as u64 };
    let of_shards = if chosen.iter().any(|workload| workload.contest == Contest::Listeners) { 2 } else { 0 };
    let restarts = chosen.iter().any(|workload| matches!(workload.kind, workloads::Kind::Restart { .. }));
    let restart = if restarts { Amounts::of(options.quick, place.group_bytes, options.restart_mib << 20, 0).restart } else { 0 };
    // A backlog of each broker, and what a run writes, are no more than a group holds.
    brokers * place.group_bytes + of_shards * place.of_two_shards().group_bytes + restart.max(brokers * place.group_bytes)
}

fn place(options: &Options, chosen: &[&'static Workload], out: &Path) -> Result<Place, Failure> {
    let full = |path: &Path| path.canonicalize().map_err(Failure::file(path));
    let wants_ottla = options.bootstrap.is_none() && options.arms.iter().any(|kind| *kind != Kind::Kafka);
    let wants_kafka = options.bootstrap.is_none() && options.arms.contains(&Kind::Kafka);
    let all_cpus = machine::usable_cpus();
    let (broker_cpus, generator_cpu) = seats(&options.broker_cpus, options.generator_cpu, &all_cpus);
    let group_bytes = (options.group_mib << 20).min(machine::memory_bytes() / 4) / if options.quick { 2 } else { 1 };
    let needs_jars = wants_kafka || chosen.iter().any(|workload| matches!(workload.kind, workloads::Kind::PerfTest { .. }));
    needs::tools(needs_jars)?;
    needs::programs(wants_ottla.then_some(options.ottla.as_path()), needs_jars.then_some(options.jars.as_path()))?;
    Ok(Place {
        ottla: if wants_ottla { full(&options.ottla)? } else { options.ottla.clone() },
        jars: if needs_jars { full(&options.jars)? } else { options.jars.clone() },
        log_settings: if needs_jars { full(&options.log_settings)? } else { options.log_settings.clone() },
        data: options.data.as_ref().map_or_else(|| out.join("data"), |data| data.join(format!("ottla-perf-{}", std::process::id()))),
        out: out.to_owned(),
        broker_cpus,
        generator_cpu,
        all_cpus,
        group_bytes,
        settings: options.settings.clone(),
    })
}

/// Those asked for, as far as they may be used; else the first for the broker and another for the generator. With one core for both the
/// generator gives way, and the report says so.
fn seats(broker: &[usize], generator: usize, usable: &[usize]) -> (Vec<usize>, usize) {
    let first = usable.first().copied().unwrap_or(0);
    let mut of_broker: Vec<usize> = broker.iter().copied().filter(|cpu| usable.contains(cpu)).collect();
    if of_broker.is_empty() {
        of_broker.push(first);
    }
    let another = || usable.iter().copied().find(|cpu| !of_broker.contains(cpu)).unwrap_or(first);
    let of_generator = if usable.contains(&generator) { generator } else { another() };
    (of_broker, of_generator)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_cores_that_may_be_used() {
        assert_eq!(seats(&[0], 1, &[0, 1]), (vec![0], 1));
        assert_eq!(seats(&[0, 3], 1, &[0, 1]), (vec![0], 1));
        assert_eq!(seats(&[0], 1, &[4, 5]), (vec![4], 5), "a container's cores have other numbers");
        assert_eq!(seats(&[0], 1, &[0]), (vec![0], 0));
    }
}
