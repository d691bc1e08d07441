//! `ottla connect-standalone` as users run it: with properties files, against a broker, operated over REST. With `OTTLA_TEST_BROKER=kafka` the
//! broker is Apache Kafka.
//!
//! `OTTLA_HEAVY=1` also runs Kafka's own Connect, beside ours and against Ottla, and kills a worker a hundred times instead of five.

mod errors;
mod experiment;
mod kill;
mod real;
mod rest;
mod space;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::support::broker::{Broker, Settings, temp_dir};
use crate::support::process::{Process, command};
use crate::support::{eventually, peers};

const WITHIN: Duration = Duration::from_secs(60);

/// A broker whose groups notice quickly that a member was killed.
fn broker() -> Broker {
    Broker::start(
        Settings::new()
            .with("group.min.session.timeout.ms", 1000)
            .with("group.initial.rebalance.delay.ms", 0)
            .with("offsets.topic.num.partitions", 1)
            .with("offsets.topic.replication.factor", 1),
    )
}

/// A directory with the files of a worker and its connectors.
struct Bench {
    dir: TempDir,
}

impl Bench {
    /// With the worker's file as the courses have it; `lines` are added.
    fn new(broker: &Broker, lines: &str) -> Bench {
        let bench = Bench { dir: temp_dir() };
        bench.write(
            "worker.properties",
            &format!(
                "bootstrap.servers={}\n\
                 key.converter=org.apache.kafka.connect.json.JsonConverter\n\
                 value.converter=org.apache.kafka.connect.json.JsonConverter\n\
                 key.converter.schemas.enable=true\n\
                 value.converter.schemas.enable=true\n\
                 offset.storage.file.filename={}\n\
                 offset.flush.interval.ms=300\n\
                 listeners=HTTP://127.0.0.1:0\n\
                 plugin.path=/usr/share/java\n\
                 consumer.session.timeout.ms=1000\n\
                 consumer.heartbeat.interval.ms=300\n\
                 {lines}\n",
                broker.bootstrap(),
                bench.path("offsets").display()
            ),
        );
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn append(&self, name: &str, text: &str) {
        append(&self.path(name), text);
    }

    fn source(&self, name: &str, file: &Path, topic: &str, lines: &str) -> PathBuf {
        let text = format!("name={name}\nconnector.class=FileStreamSource\ntasks.max=1\nfile={}\ntopic={topic}\n{lines}\n", file.display());
        self.write(&format!("{name}.properties"), &text)
    }

    fn sink(&self, name: &str, file: &Path, topic: &str, lines: &str) -> PathBuf {
        let text = format!("name={name}\nconnector.class=FileStreamSink\ntasks.max=1\nfile={}\ntopics={topic}\n{lines}\n", file.display());
        self.write(&format!("{name}.properties"), &text)
    }

    fn start(&self, connectors: &[PathBuf]) -> Worker {
        let mut ottla = command(env!("CARGO_BIN_EXE_ottla"));
        ottla.arg("connect-standalone").arg(self.path("worker.properties")).args(connectors);
        let mut process = Process::spawn("connect-standalone", ottla);
        let address = process.wait_for_line(WITHIN, |line| line.strip_prefix("REST on http://")?.parse().ok());
        Worker { process, address }
    }

    /// Kafka's own worker on the same files; it wants a port to listen on.
    fn start_kafkas(&self, port: u16, connectors: &[PathBuf]) -> Worker {
        let file = self.path("worker.properties");
        let text = std::fs::read_to_string(&file).unwrap().replace("127.0.0.1:0", &format!("127.0.0.1:{port}"));
        let kafkas = self
            .write("kafkas-worker.properties", &text.replace("plugin.path=/usr/share/java\n", "").replace("/offsets", "/kafkas-offsets"));
        let mut java: Command = peers::java(256);
        java.arg("org.apache.kafka.connect.cli.ConnectStandalone").arg(kafkas).args(connectors);
        let mut worker =
            Worker { process: Process::spawn("Kafka's connect-standalone", java), address: SocketAddr::from(([127, 0, 0, 1], port)) };
        worker.wait_for_rest();
        worker
    }

    fn lines(&self, name: &str) -> Vec<String> {
        lines(&self.path(name))
    }

    #[track_caller]
    fn expect_lines(&self, name: &str, expected: &[&str]) {
        eventually(&format!("{name} has {expected:?}"), WITHIN, || (self.lines(name).len() >= expected.len()).then_some(()));
        assert_eq!(self.lines(name), expected);
    }
}

fn append(path: &Path, text: &str) {
    std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

fn lines(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

struct Worker {
    process: Process,
    address: SocketAddr,
}

impl Worker {
    /// One request; the status, and the body as JSON (null where there is none).
    fn call(&self, method: &str, path: &str, body: &str) -> (u16, Json) {
        let (status, text) = self.try_call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        (status, serde_json::from_str(&text).unwrap_or(Json::Null))
    }

    fn try_call(&self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(WITHIN))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}",
            self.address
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or(std::io::ErrorKind::InvalidData)?;
        Ok((status, body.to_owned()))
    }

    #[track_caller]
    fn get(&self, path: &str) -> Json {
        let (status, body) = self.call("GET", path, "");
        assert_eq!(status, 200, "GET {path}: {body}");
        body
    }

    fn wait_for_rest(&mut self) {
        eventually("the worker answers", Duration::from_secs(180), || {
            assert!(self.process.is_running(), "{}", self.process.output());
            matches!(self.try_call("GET", "/connectors", ""), Ok((200, _))).then_some(())
        });
    }

    /// The state of a connector's first task, and why it failed.
    fn task_state(&self, connector: &str) -> (String, String) {
        let status = self.get(&format!("/connectors/{connector}/status"));
        let said = |key: &str| status["tasks"][0][key].as_str().unwrap_or_default().to_owned();
        (said("state"), said("trace"))
    }

    #[track_caller]
    fn wait_for_state(&self, connector: &str, state: &str) -> String {
        eventually(&format!("{connector} is {state}"), WITHIN, || {
            let (found, trace) = self.task_state(connector);
            (found == state).then_some(trace)
        })
    }

    fn metric(&self, family: &str, connector: &str) -> f64 {
        let (_, page) = self.try_call("GET", "/metrics", "").unwrap();
        let start = format!("{family}{{connector=\"{connector}\"");
        let line = page.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no {family} of {connector} in\n{page}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// SIGTERM: it flushes and ends as a JVM does.
    fn stop(mut self) {
        self.process.signal(Signal::SIGTERM);
        let status = self.process.wait(WITHIN);
        assert_eq!(status.code(), Some(143), "{}", self.process.output());
    }

    /// SIGKILL.
    fn kill(self) {
        drop(self.process);
    }
}
