//! A ZooKeeper ensemble of one server or of three.
//!
//! Servers listen on 127.0.0.1 alone, on ports that no client's own end takes, and keep their ports over a restart.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::broker::{lasting_ports, temp_dir};
use super::eventually;
use super::peers::{self, Jars};
use super::process::Process;

const START: Duration = Duration::from_secs(120);
const ANSWER: Duration = Duration::from_secs(2);
const HEAP_MIB: u32 = 96;
/// Of client, quorum and election.
const PORTS_PER_SERVER: u16 = 3;

/// Servers that stop with the test.
pub struct Ensemble {
    jars: Jars,
    dir: TempDir,
    servers: Vec<Server>,
}

struct Server {
    port: u16,
    process: Option<Process>,
}

/// What a server says it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    Standalone,
    Leader,
    Follower,
}

impl Ensemble {
    /// Starts so many servers on empty directories and waits until all of them serve.
    pub fn start(count: usize) -> Ensemble {
        Self::start_of(Jars::ZooKeeper, count)
    }

    /// As [`Ensemble::start`], of another release.
    pub fn start_of(jars: Jars, count: usize) -> Ensemble {
        let first = lasting_ports(PORTS_PER_SERVER * count as u16);
        let servers = (0..count).map(|index| Server { port: first + PORTS_PER_SERVER * index as u16, process: None }).collect();
        let mut ensemble = Ensemble { jars, dir: temp_dir(), servers };
        for index in 0..count {
            ensemble.configure(index);
            ensemble.launch(index);
        }
        for index in 0..count {
            ensemble.wait_until_serving(index);
        }
        ensemble
    }

    fn configure(&self, index: usize) {
        let dir = self.server_dir(index);
        std::fs::create_dir_all(&dir).unwrap();
        let mut lines = vec![
            "tickTime=500".to_owned(),
            "initLimit=60".to_owned(),
            "syncLimit=40".to_owned(),
            "minSessionTimeout=500".to_owned(),
            "maxSessionTimeout=60000".to_owned(),
            "maxClientCnxns=0".to_owned(),
            "admin.enableServer=false".to_owned(),
            "4lw.commands.whitelist=srvr".to_owned(),
            "clientPortAddress=127.0.0.1".to_owned(),
            format!("clientPort={}", self.servers[index].port),
            format!("dataDir={}", dir.display()),
        ];
        if self.servers.len() > 1 {
            std::fs::write(dir.join("myid"), format!("{}\n", index + 1)).unwrap();
            let place =
                |(index, server): (usize, &Server)| format!("server.{}=127.0.0.1:{}:{}", index + 1, server.port + 1, server.port + 2);
            lines.extend(self.servers.iter().enumerate().map(place));
        }
        std::fs::write(dir.join("zoo.cfg"), lines.join("\n") + "\n").unwrap();
    }

    fn server_dir(&self, index: usize) -> std::path::PathBuf {
        self.dir.path().join(format!("server-{}", index + 1))
    }

    fn launch(&mut self, index: usize) {
        let mut java = peers::java_of(self.jars, HEAP_MIB);
        // What is in the page cache survives a kill of the process, which is all that these servers meet.
        java.args(["-Dzookeeper.forceSync=no", "-Dzookeeper.preAllocSize=256"]);
        java.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain").arg(self.server_dir(index).join("zoo.cfg"));
        let server = &mut self.servers[index];
        assert!(server.process.is_none(), "launched twice");
        server.process = Some(Process::spawn(&format!("zookeeper-{}", index + 1), java));
    }

    /// Waits until this server answers, as a member of a working ensemble.
    pub fn wait_until_serving(&mut self, index: usize) {
        eventually("ZooKeeper serves", START, || {
            let process = self.servers[index].process.as_mut().expect("running");
            assert!(process.is_running(), "ZooKeeper ended\n{}", process.output());
            self.mode(index)
        });
    }

    pub fn size(&self) -> usize {
        self.servers.len()
    }

    /// All servers, as `zookeeper.connect` takes them, with this behind: `/kafka`, or nothing.
    pub fn connect(&self, chroot: &str) -> String {
        let all: Vec<String> = (0..self.servers.len()).map(|index| self.address(index).to_string()).collect();
        all.join(",") + chroot
    }

    /// Where clients reach this server.
    pub fn address(&self, index: usize) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.servers[index].port))
    }

    /// `None` while it does not serve.
    pub fn mode(&self, index: usize) -> Option<Mode> {
        let mut stream = TcpStream::connect_timeout(&self.address(index), ANSWER).ok()?;
        stream.set_read_timeout(Some(ANSWER)).ok()?;
        stream.write_all(b"srvr").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        match answer.lines().find_map(|line| line.strip_prefix("Mode: "))? {
            "standalone" => Some(Mode::Standalone),
            "leader" => Some(Mode::Leader),
            "follower" => Some(Mode::Follower),
            other => panic!("a server of ZooKeeper is {other}"),
        }
    }

    /// The server that leads the ensemble now.
    pub fn leader(&self) -> usize {
        eventually("ZooKeeper has a leader", START, || {
            (0..self.servers.len()).find(|&index| matches!(self.mode(index), Some(Mode::Leader | Mode::Standalone)))
        })
    }

    /// SIGKILL.
    pub fn kill(&mut self, index: usize) {
        drop(self.servers[index].process.take().expect("running"));
    }

    /// Starts a killed server again on its directory and port; it may take a moment until it serves.
    pub fn restart(&mut self, index: usize) {
        self.launch(index);
    }

    /// SIGSTOP: its connections stay, and nothing comes from it.
    pub fn pause(&self, index: usize) {
        self.signal(index, Signal::SIGSTOP);
    }

    pub fn resume(&self, index: usize) {
        self.signal(index, Signal::SIGCONT);
    }

    fn signal(&self, index: usize, signal: Signal) {
        self.servers[index].process.as_ref().expect("running").signal(signal);
    }
}
