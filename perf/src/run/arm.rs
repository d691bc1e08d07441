//! A broker under test: made ready on a directory of its own, launched into its control group, held still while the other is measured.
//!
//! Called by `session`; calls `process`, `cgroup` and `kafka`.
//!
//! 1. A broker that is not measured is stopped (SIGSTOP): it takes no processor time and keeps its memory.
//! 2. Dropping a broker kills it before its group is removed; its directory goes with its [`Home`].

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::cgroup::Group;
use super::failure::Failure;
use super::kafka;
use super::machine;
use super::process::{Interrupt, Running, Seat, cpu_list, run};
use super::record::ArmRow;

#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Kind {
    Ottla,
    Kafka,
    /// Ottla with two shards.
    TwoShards,
    /// Ottla with two shards and a port for each.
    ShardListeners,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Ottla => "ottla",
            Kind::Kafka => "kafka",
            Kind::TwoShards => "two-shards",
            Kind::ShardListeners => "shard-listeners",
        }
    }

    /// Shards of an Ottla on so many cores.
    const fn shards(self, cores: usize) -> usize {
        match self {
            Kind::TwoShards | Kind::ShardListeners => 2,
            Kind::Ottla | Kind::Kafka => cores,
        }
    }
}

/// How long a controller waits for a broker that says nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Session {
    /// As by default: a killed broker that starts again waits for its old session to end.
    Default,
    /// For a broker that is held still for minutes, not to be taken for dead by its own controller.
    Long,
}

/// What both brokers are told alike, so that both delete files and old segments at the same pace.
pub const SHARED: [(&str, &str); 3] =
    [("node.id", "1"), ("log.segment.delete.delay.ms", "100"), ("log.retention.check.interval.ms", "5000")];

/// Where things are and who sits where.
#[derive(Clone, Debug)]
pub struct Place {
    pub ottla: PathBuf,
    pub jars: PathBuf,
    pub log_settings: PathBuf,
    /// Directories of the brokers' data; removed at the end.
    pub data: PathBuf,
    /// The brokers' own output.
    pub out: PathBuf,
    pub broker_cpus: Vec<usize>,
    pub generator_cpu: usize,
    pub all_cpus: Vec<usize>,
    pub group_bytes: u64,
    /// Of Ottla's brokers, beyond what every session sets.
    pub settings: Vec<(String, String)>,
}

impl Place {
    /// The generator shares a core with the broker: it then gives way, or the two would take turns of milliseconds.
    pub fn is_shared(&self) -> bool {
        self.broker_cpus.contains(&self.generator_cpu)
    }

    /// Two cores for two shards: others than the generator's where there are so many. What is written there needs no large group.
    pub fn of_two_shards(&self) -> Self {
        const GROUP_MAX: u64 = 1 << 30;
        let (own, shared): (Vec<usize>, Vec<usize>) = self.all_cpus.iter().partition(|cpu| **cpu != self.generator_cpu);
        let mut broker_cpus: Vec<usize> = own.into_iter().chain(shared).take(2).collect();
        broker_cpus.sort_unstable();
        Self { broker_cpus, group_bytes: self.group_bytes.min(GROUP_MAX), ..self.clone() }
    }
}

const START: Duration = Duration::from_secs(120);
const TOOL: Duration = Duration::from_secs(120);

/// A broker's directory and command line, ready to be launched as often as wanted.
pub struct Home {
    kind: Kind,
    dir: PathBuf,
    log: PathBuf,
    address: SocketAddr,
    /// Where the broker shows its own counters.
    metrics: Option<SocketAddr>,
    program: PathBuf,
    arguments: Vec<String>,
    pub row: ArmRow,
}

impl Home {
    pub fn prepare(kind: Kind, name: &str, session: Session, place: &Place, interrupt: &Interrupt) -> Result<Self, Failure> {
        let dir = place.data.join(name);
        fs::create_dir_all(dir.join("log")).map_err(Failure::file(&dir))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_ports(1)?));
        let counts = matches!(kind, Kind::TwoShards | Kind::ShardListeners);
        let metrics = if counts { Some(SocketAddr::from((Ipv4Addr::LOCALHOST, free_ports(1)?))) } else { None };
        let (program, arguments, version, settings) = match kind {
            Kind::Kafka => kafka::prepare(&dir, address, free_ports(1)?, session, place, interrupt)?,
            Kind::Ottla | Kind::TwoShards | Kind::ShardListeners => ottla(kind, &dir, address, metrics, place, interrupt)?,
        };
        let command = format!("{} {}", program.display(), arguments.join(" "));
        let row = ArmRow { arm: kind.name().into(), version, settings, command, notes: Vec::new() };
        let log = place.out.join(format!("{name}.log"));
        Ok(Self { kind, dir, log, address, metrics, program, arguments, row })
    }

    pub fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Starts the process; it may not answer yet.
    pub fn launch(&self, seat: &Seat) -> Result<Running, Failure> {
        Running::start(self.kind.name(), seat.command(&self.program, &self.arguments), &self.log)
    }

    /// Until the broker answers its first question; an error where it ends instead.
    pub fn await_answer(&self, running: &mut Running, interrupt: &Interrupt) -> Result<Duration, Failure> {
        let begun = Instant::now();
        loop {
            if answers(self.address) {
                return Ok(begun.elapsed());
            }
            interrupt.check()?;
            if !running.is_running() || begun.elapsed() > START {
                let seconds = begun.elapsed().as_secs();
                return Err(Failure::Silent { name: running.name.clone(), seconds, log: self.log.clone() });
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(why) = fs::remove_dir_all(&self.dir) {
            eprintln!("{} is left behind: {why}", self.dir.display());
        }
    }
}

type Prepared = (PathBuf, Vec<String>, String, BTreeMap<String, String>);

fn ottla(
    kind: Kind,
    dir: &Path,
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    place: &Place,
    interrupt: &Interrupt,
) -> Result<Prepared, Failure> {
    let mut settings: BTreeMap<String, String> = SHARED.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    settings.insert("listeners".into(), format!("PLAINTEXT://{address}"));
    settings.insert("log.dirs".into(), dir.join("log").display().to_string());
    let shards = kind.shards(place.broker_cpus.len());
    settings.insert("ottla.shards".into(), shards.to_string());
    if let Some(address) = metrics {
        settings.insert("ottla.metrics.listener".into(), address.to_string());
    }
    if kind == Kind::ShardListeners {
        settings.insert("ottla.shard.listeners".into(), format!("PLAINTEXT:{}", free_ports(shards as u16)?));
    }
    settings.extend(place.settings.iter().cloned());
    let mut arguments = vec!["serve".to_owned()];
    for (key, value) in &settings {
        arguments.extend(["--override".to_owned(), format!("{key}={value}")]);
    }
    let ask = Seat::default().command(&place.ottla, &["--version".into()]);
    let version = run("ottla --version", ask, TOOL, interrupt)?.trim().to_owned();
    Ok((place.ottla.clone(), arguments, version, settings))
}

/// A running broker in its group.
pub struct Broker {
    // Dropped in this order: a group can go only after its processes, a directory only after who writes it.
    running: Running,
    group: Group,
    home: Home,
}

impl Broker {
    /// Launches on `cpus`; with them the broker decides how many threads it has.
    pub fn start(home: Home, group: Group, cpus: &[usize], interrupt: &Interrupt) -> Result<Self, Failure> {
        group.set_cpus(cpus);
        let seat = Seat { process_lists: group.process_lists(), ..Seat::on(cpus) };
        let mut running = home.launch(&seat)?;
        home.await_answer(&mut running, interrupt)?;
        Ok(Self { running, group, home })
    }

    /// Moves every thread to these cores.
    pub fn pin(&self, cpus: &[usize]) {
        self.group.set_cpus(cpus);
        machine::bind_process(self.running.pid(), cpus);
    }

    pub fn hold(&self) {
        self.running.signal(Signal::SIGSTOP);
    }

    pub fn go_on(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        self.running.signal(Signal::SIGCONT);
        self.home.await_answer(&mut self.running, interrupt).map(drop)
    }

    pub fn kill(&mut self) {
        self.running.kill();
    }

    /// Launches the killed broker again on its directory, without waiting for an answer.
    pub fn launch_again(&mut self, cpus: &[usize]) -> Result<(), Failure> {
        let seat = Seat { process_lists: self.group.process_lists(), ..Seat::on(cpus) };
        self.running = self.home.launch(&seat)?;
        Ok(())
    }

    pub fn is_running(&mut self) -> bool {
        self.running.is_running()
    }

    pub fn address(&self) -> SocketAddr {
        self.home.address
    }

    pub fn log_dir(&self) -> PathBuf {
        self.home.log_dir()
    }

    /// Messages that its shards had from one another so far, those of this question included; none where nobody counts them.
    pub fn messages(&self) -> Option<f64> {
        let page = scrape(self.home.metrics?)?;
        let rows = page.lines().filter(|line| line.starts_with("ottla_mailbox_messages_total"));
        Some(rows.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum())
    }

    pub fn watched(&self) -> (u32, &Group) {
        (self.running.pid(), &self.group)
    }

    pub fn row(&self) -> ArmRow {
        let mut row = self.home.row.clone();
        row.notes.clone_from(&self.group.notes);
        row
    }
}

/// Fills a group with the page cache of a file that stays: from then on pages are recycled inside the group, and none has to be fetched
/// from a host that took it back.
pub fn fill(group: &Group, bytes: u64, dir: &Path, interrupt: &Interrupt) -> Result<(), Failure> {
    if !group.has_memory_limit() {
        return Ok(());
    }
    fs::create_dir_all(dir).map_err(Failure::file(dir))?;
    let seat = Seat { process_lists: group.process_lists(), ..Seat::default() };
    let arguments = ["if=/dev/zero".into(), format!("of={}", dir.join("fill").display()), "bs=1M".into(), format!("count={}", bytes >> 20)];
    run("dd", seat.command(Path::new("dd"), &arguments), Duration::from_secs(600), interrupt).map(drop)
}

/// The first of so many ports in a row nobody listens on now. Another process may take one before the broker does; its start then fails
/// with a sentence.
fn free_ports(count: u16) -> Result<u16, Failure> {
    const TRIES: usize = 100;
    let failed = |source| Failure::Start { name: "a listener on 127.0.0.1".into(), source };
    for _ in 0..TRIES {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let first = listener.local_addr().map_err(failed)?.port();
        let is_free = |port: Option<u16>| port.is_some_and(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok());
        if (1..count).all(|next| is_free(first.checked_add(next))) {
            return Ok(first);
        }
    }
    Err(Failure::Asked(format!("there are no {count} free ports in a row on 127.0.0.1")))
}

/// The page of a broker's counters.
fn scrape(address: SocketAddr) -> Option<String> {
    const WAIT: Duration = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&address, WAIT).ok()?;
    stream.set_read_timeout(Some(WAIT)).ok()?;
    stream.write_all(format!("GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes()).ok()?;
    let mut page = String::new();
    stream.read_to_string(&mut page).ok()?;
    page.starts_with("HTTP/1.1 200").then_some(page)
}

/// Whether ApiVersions is answered without an error.
pub fn answers(address: SocketAddr) -> bool {
    const WAIT: Duration = Duration::from_millis(500);
    // length 10 | api key 18 | version 0 | correlation id 1 | no client id
    const QUESTION: [u8; 14] = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
    let Ok(mut stream) = TcpStream::connect_timeout(&address, WAIT) else { return false };
    let mut answer = [0; 10];
    let asked =
        stream.set_read_timeout(Some(WAIT)).and_then(|()| stream.write_all(&QUESTION)).and_then(|()| stream.read_exact(&mut answer));
    // length | correlation id | error code
    asked.is_ok() && answer[8..10] == [0, 0]
}

/// In words of the report: who sits on which cores.
pub fn seating(place: &Place) -> String {
    format!(
        "broker on core {}, generator on core {}{}",
        cpu_list(&place.broker_cpus),
        place.generator_cpu,
        if place.is_shared() { ": a core of both, on which the generator gives way (SCHED_IDLE)" } else { "" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_shards_get_cores_of_their_own_where_there_are_enough() {
        let place = |cores: usize, generator_cpu| Place {
            ottla: PathBuf::new(),
            jars: PathBuf::new(),
            log_settings: PathBuf::new(),
            data: PathBuf::new(),
            out: PathBuf::new(),
            broker_cpus: vec![0],
            generator_cpu,
            all_cpus: (0..cores).collect(),
            group_bytes: 0,
            settings: Vec::new(),
        };
        for (cores, generator, expected, shared) in [(1, 0, vec![0], true), (2, 1, vec![0, 1], true), (4, 1, vec![0, 2], false)] {
            let two = place(cores, generator).of_two_shards();
            assert_eq!((two.broker_cpus.clone(), two.is_shared()), (expected, shared), "{cores}");
        }
        assert_eq!((Kind::ShardListeners.shards(1), Kind::Ottla.shards(4)), (2, 4));
    }

    #[test]
    fn ports_in_a_row_are_free() {
        let first = free_ports(3).unwrap();
        let held: Vec<_> = (0..3).map(|next| TcpListener::bind((Ipv4Addr::LOCALHOST, first + next))).collect();
        assert!(held.iter().filter(|listener| listener.is_ok()).count() >= 2, "{held:?}");
    }
}
