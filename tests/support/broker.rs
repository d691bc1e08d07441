//! A broker under test: the `ottla` binary, or Apache Kafka 4.3.1 when `OTTLA_TEST_BROKER=kafka`.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::process::{Process, command, run};
use super::raw::Connection;
use super::{eventually, peers};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Ottla,
    Kafka,
}

/// The broker this run of the tests is about.
pub fn kind() -> Kind {
    match std::env::var("OTTLA_TEST_BROKER").as_deref() {
        Ok("kafka") => Kind::Kafka,
        Ok("ottla") | Err(_) => Kind::Ottla,
        Ok(other) => panic!("OTTLA_TEST_BROKER={other}: expected ottla or kafka"),
    }
}

/// True (and says so) when the run is about Kafka: the calling test is about something only Ottla has.
pub fn only_ottla(what: &str) -> bool {
    if kind() == Kind::Kafka {
        println!("not run against Kafka: {what}");
    }
    kind() == Kind::Kafka
}

const OTTLA_START: Duration = Duration::from_secs(60);
const KAFKA_START: Duration = Duration::from_secs(180);
const STOP: Duration = Duration::from_secs(120);

/// One JVM broker at a time: the machine may have two cores and little memory.
static ONE_KAFKA: Mutex<()> = Mutex::new(());

/// Properties on top of the harness's own.
#[derive(Clone, Default)]
pub struct Settings {
    properties: BTreeMap<String, String>,
}

impl Settings {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with(mut self, key: &str, value: impl ToString) -> Self {
        self.properties.insert(key.to_string(), value.to_string());
        self
    }

    pub fn shards(self, count: usize) -> Self {
        self.with("ottla.shards", count)
    }
}

pub struct Broker {
    kind: Kind,
    settings: Settings,
    dir: TempDir,
    process: Option<Process>,
    host: Ipv4Addr,
    address: SocketAddr,
    metrics: Option<SocketAddr>,
    _one_kafka: Option<MutexGuard<'static, ()>>,
}

/// A temporary directory on the filesystem of the build, not on a `/tmp` that may be memory.
pub fn temp_dir() -> TempDir {
    tempfile::Builder::new().prefix("ottla-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary directory")
}

impl Broker {
    /// Starts a broker on an empty directory and waits until it answers.
    pub fn start(settings: Settings) -> Broker {
        Self::start_kind(kind(), settings)
    }

    pub fn start_kind(kind: Kind, settings: Settings) -> Broker {
        let one_kafka = (kind == Kind::Kafka).then(|| ONE_KAFKA.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
        let dir = temp_dir();
        std::fs::create_dir(dir.path().join("log")).unwrap();
        let host = own_host();
        let mut broker =
            Broker { kind, settings, dir, process: None, host, address: SocketAddr::from((host, 0)), metrics: None, _one_kafka: one_kafka };
        broker.launch();
        broker
    }

    /// Starts the stopped or killed broker again on the same directory; its port may be another.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "launched twice");
        match self.kind {
            Kind::Ottla => self.launch_ottla(),
            Kind::Kafka => self.launch_kafka(),
        }
    }

    /// Starts Ottla and kills it after a moment, listening or not.
    pub fn launch_and_kill(&mut self, after: Duration) {
        let process = Process::spawn("ottla", self.serve_command());
        std::thread::sleep(after);
        drop(process);
    }

    fn serve_command(&self) -> Command {
        let mut serve = command(env!("CARGO_BIN_EXE_ottla"));
        serve.arg("serve");
        for (key, value) in self.properties(format!("PLAINTEXT://{}:0", self.host)) {
            serve.arg("--override").arg(format!("{key}={value}"));
        }
        serve
    }

    fn launch_ottla(&mut self) {
        let mut process = Process::spawn("ottla", self.serve_command());
        self.address = process.wait_for_line(OTTLA_START, listening_address);
        if self.settings.properties.contains_key("ottla.metrics.listener") {
            self.metrics = Some(process.wait_for_line(OTTLA_START, |line| line.strip_prefix("metrics on ")?.parse().ok()));
        }
        self.process = Some(process);
    }

    fn properties(&self, listeners: String) -> BTreeMap<String, String> {
        let mut all = BTreeMap::from([
            ("node.id".to_string(), "1".to_string()),
            ("listeners".to_string(), listeners),
            ("log.dirs".to_string(), self.log_dir().display().to_string()),
        ]);
        all.extend(self.settings.properties.clone());
        all
    }

    fn launch_kafka(&mut self) {
        let host = self.host;
        let port = free_port(host);
        let controller = free_port(host);
        let mut properties = self.properties(format!("PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}"));
        properties.retain(|key, _| !key.starts_with("ottla."));
        let metadata = self.dir.path().join("metadata");
        let rows = [
            ("process.roles", "broker,controller".to_string()),
            ("advertised.listeners", format!("PLAINTEXT://{host}:{port}")),
            ("controller.listener.names", "CONTROLLER".to_string()),
            ("controller.quorum.bootstrap.servers", format!("{host}:{controller}")),
            ("metadata.log.dir", metadata.display().to_string()),
            ("offsets.topic.replication.factor", "1".to_string()),
            ("offsets.topic.num.partitions", "1".to_string()),
            ("transaction.state.log.replication.factor", "1".to_string()),
            ("transaction.state.log.min.isr", "1".to_string()),
            ("group.initial.rebalance.delay.ms", "0".to_string()),
        ];
        for (key, value) in rows {
            properties.entry(key.to_string()).or_insert(value);
        }
        let file = self.dir.path().join("server.properties");
        let mut text = std::fs::File::create(&file).unwrap();
        for (key, value) in &properties {
            writeln!(text, "{key}={value}").unwrap();
        }
        let file = file.to_str().unwrap();
        if !metadata.exists() {
            std::fs::create_dir(&metadata).unwrap();
            let mut format = peers::java(256);
            format.args(["kafka.tools.StorageTool", "format", "--standalone", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c", file]);
            run("StorageTool", format, b"", KAFKA_START).expect_success();
        }
        let mut java = peers::java(512);
        java.args(["kafka.Kafka", file]);
        let mut process = Process::spawn("kafka", java);
        self.address = SocketAddr::from((host, port));
        let address = self.address;
        eventually("Kafka answers", KAFKA_START, || {
            assert!(process.is_running(), "Kafka ended\n{}", process.output());
            let mut connection = Connection::try_connect(address).ok()?;
            connection.try_metadata().ok().filter(|answer| !answer.brokers.is_empty()).map(|_| ())
        });
        self.process = Some(process);
    }

    /// What a client takes as its bootstrap server.
    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    /// The address that it listens on; its ports are what its settings say.
    pub fn host(&self) -> Ipv4Addr {
        self.host
    }

    pub fn connect(&self) -> Connection {
        Connection::try_connect(self.address).expect("connect to the broker")
    }

    /// Where the metrics are, if a setting asks for them.
    pub fn metrics(&self) -> SocketAddr {
        self.metrics.expect("ottla.metrics.listener is set")
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("running").pid()
    }

    /// What it has written so far, both streams.
    pub fn output(&self) -> String {
        self.process.as_ref().expect("running").output()
    }

    pub fn log_dir(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    pub fn partition_dir(&self, topic: &str, partition: i32) -> PathBuf {
        self.log_dir().join(format!("{topic}-{partition}"))
    }

    /// SIGTERM; the broker must leave with status zero (143 is how a JVM says the same). Answers with what it has said.
    pub fn stop(&mut self) -> String {
        let mut process = self.process.take().expect("running");
        process.signal(Signal::SIGTERM);
        let status = process.wait(STOP);
        let clean = match self.kind {
            Kind::Ottla => status.success(),
            Kind::Kafka => status.success() || status.code() == Some(143),
        };
        assert!(clean, "{:?} ended with {status} after SIGTERM\n{}", self.kind, process.output());
        process.output()
    }

    /// Waits for it to end by itself; answers with its status and what it has said.
    pub fn ended(&mut self, within: Duration) -> (ExitStatus, String) {
        let mut process = self.process.take().expect("running");
        let status = process.wait(within);
        (status, process.output())
    }

    /// Sets a property for the next start.
    pub fn set(&mut self, key: &str, value: &str) {
        self.settings.properties.insert(key.to_string(), value.to_string());
    }

    /// What it says when it is started and refuses to.
    pub fn refused(&self, within: Duration) -> String {
        let mut process = Process::spawn("ottla", self.serve_command());
        let status = process.wait(within);
        assert_eq!(status.code(), Some(1), "{}", process.output());
        process.output()
    }

    /// SIGKILL: nothing it has in its own memory survives.
    pub fn kill(&mut self) {
        drop(self.process.take().expect("running"));
    }
}

/// A loopback address of its own for each broker of this process and, as good as always, of others: a client of a broker that is gone, which
/// goes on asking at its address, must not be answered by the next that is given its port.
fn own_host() -> Ipv4Addr {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let call = CALLS.fetch_add(1, Ordering::Relaxed) % 250;
    Ipv4Addr::new(127, 1 + call as u8, high, low)
}

/// `listening on ADDRESS:PORT (PLAINTEXT)`
fn listening_address(line: &str) -> Option<SocketAddr> {
    let rest = line.strip_prefix("listening on ")?;
    rest.split_whitespace().next()?.parse().ok()
}

/// A port nobody listens on now. Another process may take it before the broker does; the start then fails loudly.
fn free_port(host: Ipv4Addr) -> u16 {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port()
}

/// A port nobody listens on now, below those that clients connect from: while its broker is away, no client's own end takes it.
pub fn lasting_port() -> u16 {
    lasting_ports(1)
}

/// The first of so many ports in a row; as [`lasting_port`]. Each call of a process begins elsewhere.
pub fn lasting_ports(count: u16) -> u16 {
    static CALLS: AtomicU16 = AtomicU16::new(0);
    let first = 11_000 + (std::process::id() % 10_000) as u16 + 100 * CALLS.fetch_add(1, Ordering::Relaxed);
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    (first..first + 1000).find(|from| (*from..from + count).all(free)).expect("some ports of a thousand")
}

/// All regular files below a directory.
pub fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}
