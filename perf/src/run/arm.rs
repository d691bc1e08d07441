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
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Ottla => "ottla",
            Kind::Kafka => "kafka",
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
}

const START: Duration = Duration::from_secs(120);
const TOOL: Duration = Duration::from_secs(120);

/// A broker's directory and command line, ready to be launched as often as wanted.
pub struct Home {
    kind: Kind,
    dir: PathBuf,
    log: PathBuf,
    address: SocketAddr,
    program: PathBuf,
    arguments: Vec<String>,
    pub row: ArmRow,
}

impl Home {
    pub fn prepare(kind: Kind, name: &str, session: Session, place: &Place, interrupt: &Interrupt) -> Result<Self, Failure> {
        let dir = place.data.join(name);
        fs::create_dir_all(dir.join("log")).map_err(Failure::file(&dir))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let (program, arguments, version, settings) = match kind {
            Kind::Ottla => ottla(&dir, address, place, interrupt)?,
            Kind::Kafka => kafka::prepare(&dir, address, free_port()?, session, place, interrupt)?,
        };
        let command = format!("{} {}", program.display(), arguments.join(" "));
        let row = ArmRow { arm: kind.name().into(), version, settings, command, notes: Vec::new() };
        let log = place.out.join(format!("{name}.log"));
        Ok(Self { kind, dir, log, address, program, arguments, row })
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

fn ottla(dir: &Path, address: SocketAddr, place: &Place, interrupt: &Interrupt) -> Result<Prepared, Failure> {
    let mut settings: BTreeMap<String, String> = SHARED.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    settings.insert("listeners".into(), format!("PLAINTEXT://{address}"));
    settings.insert("log.dirs".into(), dir.join("log").display().to_string());
    settings.insert("ottla.shards".into(), place.broker_cpus.len().to_string());
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
        let seat = Seat { process_lists: group.process_lists(), cpus: cpus.to_vec() };
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
        let seat = Seat { process_lists: self.group.process_lists(), cpus: cpus.to_vec() };
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
    let seat = Seat { process_lists: group.process_lists(), cpus: Vec::new() };
    let arguments = ["if=/dev/zero".into(), format!("of={}", dir.join("fill").display()), "bs=1M".into(), format!("count={}", bytes >> 20)];
    run("dd", seat.command(Path::new("dd"), &arguments), Duration::from_secs(600), interrupt).map(drop)
}

/// A port nobody listens on now. Another process may take it before the broker does; its start then fails with a sentence.
fn free_port() -> Result<u16, Failure> {
    let failed = |source| Failure::Start { name: "a listener on 127.0.0.1".into(), source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    listener.local_addr().map(|address| address.port()).map_err(failed)
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
        if place.broker_cpus.contains(&place.generator_cpu) { ": the same core, they take turns" } else { "" }
    )
}
