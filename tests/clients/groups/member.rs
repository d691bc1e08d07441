//! A client in a group, as a process of its own: what it says it was given, what was taken from it, and every record it reads.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;

use crate::support::broker::Broker;
use crate::support::peers::{self, TOOL_DEADLINE, java};
use crate::support::process::{Process, command};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Client {
    /// librdkafka 2.0.
    Kcat,
    /// librdkafka 2.16.
    Confluent,
    KafkaPython,
    FranzGo,
    Kafkajs,
    /// Kafka's own consumer, by its VerifiableConsumer.
    Java,
}

/// How members share: by the name that all clients but Java's know it by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Assignor {
    Range,
    CooperativeSticky,
}

impl Assignor {
    fn name(self) -> &'static str {
        match self {
            Assignor::Range => "range",
            Assignor::CooperativeSticky => "cooperative-sticky",
        }
    }

    fn class(self) -> &'static str {
        match self {
            Assignor::Range => "org.apache.kafka.clients.consumer.RangeAssignor",
            Assignor::CooperativeSticky => "org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
        }
    }
}

/// What a member is asked to do.
#[derive(Clone)]
pub struct Wanted<'a> {
    pub client: Client,
    pub assignor: Assignor,
    pub topic: &'a str,
    pub group: &'a str,
    pub instance: Option<&'a str>,
    pub session_ms: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    Running,
    Paused,
    /// Killed, or has left.
    Gone,
}

/// What a member says in one line.
enum Said {
    Given(Vec<i32>),
    Taken(Vec<i32>),
    Owns(Vec<i32>),
    Read(i32, i64),
}

pub struct Member {
    pub client: Client,
    pub state: State,
    process: Process,
    topic: String,
    heard: (usize, usize),
    /// Ends of partitions up to which others have read while it was paused. What it reads of that, before it hears that its group went on
    /// without it, counts for nothing, for it cannot commit it; what it has read and what it has heard may come in any order.
    read_by_others: Vec<i64>,
    pub owned: BTreeSet<i32>,
    /// Partitions and offsets, in the order read.
    pub read: Vec<(i32, i64)>,
    /// Times that partitions were given or taken.
    pub changes: usize,
}

impl Member {
    pub fn start(broker: &Broker, wanted: &Wanted) -> Member {
        let command = match wanted.client {
            Client::Kcat => kcat(broker, wanted),
            Client::Confluent => python(broker, wanted, "confluent-kafka"),
            Client::KafkaPython => python(broker, wanted, "kafka-python"),
            Client::FranzGo => {
                let mut program = peers::franz_go_program();
                program.args(["member", &broker.bootstrap(), wanted.topic, wanted.group, wanted.assignor.name()]);
                program.arg(wanted.session_ms.to_string()).args(wanted.instance);
                program
            }
            Client::Kafkajs => {
                let mut program = peers::kafkajs_program("member.js");
                program.args([&broker.bootstrap(), wanted.topic, wanted.group, &wanted.session_ms.to_string()]);
                program
            }
            Client::Java => verifiable(broker, wanted),
        };
        Member {
            client: wanted.client,
            state: State::Running,
            process: Process::spawn(&format!("{:?} in {}", wanted.client, wanted.group), command),
            topic: wanted.topic.to_owned(),
            heard: (0, 0),
            read_by_others: Vec::new(),
            owned: BTreeSet::new(),
            read: Vec::new(),
            changes: 0,
        }
    }

    /// Takes in what it has said since the last time.
    pub fn hear(&mut self) {
        if self.state == State::Running {
            assert!(self.process.is_running(), "a member ended\n{}", self.process.output());
        }
        let (out, err) = self.process.lines_from(self.heard.0, self.heard.1);
        self.heard = (self.heard.0 + out.len(), self.heard.1 + err.len());
        for line in err.iter().chain(&out) {
            let said = match self.client {
                Client::Kcat => hear_kcat(line),
                Client::Java => hear_java(line, &self.topic),
                _ => hear_program(line),
            };
            match said {
                Some(Said::Given(partitions)) => self.owned.extend(partitions),
                Some(Said::Taken(partitions)) => self.owned.retain(|owned| !partitions.contains(owned)),
                Some(Said::Owns(partitions)) => self.owned = partitions.into_iter().collect(),
                Some(Said::Read(partition, offset)) => {
                    if self.read_by_others.get(partition as usize).is_none_or(|end| offset >= *end) {
                        self.read.push((partition, offset));
                    }
                    continue;
                }
                None => continue,
            }
            self.changes += 1;
        }
    }

    /// SIGTERM: it leaves its group, unless it is a static member.
    pub fn leave(&mut self) {
        self.process.signal(Signal::SIGTERM);
        self.process.wait(TOOL_DEADLINE);
        self.state = State::Gone;
        self.hear();
        self.owned.clear();
    }

    /// SIGKILL: the group hears nothing of it.
    pub fn kill(&mut self) {
        self.process.signal(Signal::SIGKILL);
        self.process.wait(TOOL_DEADLINE);
        self.state = State::Gone;
        self.hear();
        self.owned.clear();
    }

    /// SIGSTOP: it is there, and says nothing.
    pub fn pause(&mut self) {
        self.process.signal(Signal::SIGSTOP);
        self.state = State::Paused;
    }

    /// It goes on as if nothing had been, until it is told otherwise. Up to `ends` others have read.
    pub fn resume(&mut self, ends: &[i64]) {
        self.read_by_others = ends.to_vec();
        self.process.signal(Signal::SIGCONT);
        self.state = State::Running;
    }

    pub fn output(&self) -> String {
        self.process.output()
    }
}

fn kcat(broker: &Broker, wanted: &Wanted) -> std::process::Command {
    peers::dir();
    let mut kcat = command("kcat");
    kcat.args(["-b", &broker.bootstrap(), "-u", "-f", "r %p %o\\n"]);
    let settings = [
        format!("session.timeout.ms={}", wanted.session_ms),
        "heartbeat.interval.ms=300".to_owned(),
        "auto.commit.interval.ms=100".to_owned(),
        "auto.offset.reset=earliest".to_owned(),
        "topic.metadata.refresh.interval.ms=2000".to_owned(),
        "fetch.wait.max.ms=100".to_owned(),
        format!("partition.assignment.strategy={}", wanted.assignor.name()),
    ];
    for setting in settings.iter().cloned().chain(wanted.instance.map(|instance| format!("group.instance.id={instance}"))) {
        kcat.args(["-X", &setting]);
    }
    kcat.args(["-G", wanted.group, wanted.topic]);
    kcat
}

fn python(broker: &Broker, wanted: &Wanted, library: &str) -> std::process::Command {
    let mut program = peers::python_program("member.py");
    program.args([library, &broker.bootstrap(), wanted.topic, wanted.group, wanted.assignor.name()]);
    program.arg(wanted.session_ms.to_string()).args(wanted.instance);
    program
}

fn verifiable(broker: &Broker, wanted: &Wanted) -> std::process::Command {
    let mut java = java(128);
    java.arg("org.apache.kafka.tools.VerifiableConsumer");
    java.args(["--bootstrap-server", &broker.bootstrap(), "--topic", wanted.topic, "--group-id", wanted.group]);
    java.args(["--reset-policy", "earliest", "--verbose", "--assignment-strategy", wanted.assignor.class()]);
    java.args(["--session-timeout", &wanted.session_ms.to_string()]);
    // Three seconds between two beats are its default, and it takes no setting for it but from a file.
    java.args(["--command-config", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/member.properties")]);
    if let Some(instance) = wanted.instance {
        java.args(["--group-instance-id", instance]);
    }
    java
}

fn numbers(text: &str) -> Vec<i32> {
    text.split(',').filter_map(|number| number.trim().parse().ok()).collect()
}

/// What the programs of `tests/peers` print.
fn hear_program(line: &str) -> Option<Said> {
    let (what, rest) = line.split_once(' ')?;
    match what {
        "+" => Some(Said::Given(numbers(rest))),
        "-" => Some(Said::Taken(numbers(rest))),
        "=" => Some(Said::Owns(numbers(rest))),
        "r" => {
            let (partition, offset) = rest.split_once(' ')?;
            Some(Said::Read(partition.parse().ok()?, offset.parse().ok()?))
        }
        _ => None,
    }
}

/// `% Group g rebalanced (memberid rdkafka-...): assigned: topic [0], topic [1]`
fn hear_kcat(line: &str) -> Option<Said> {
    if line.starts_with("r ") {
        return hear_program(line);
    }
    if !line.starts_with("% Group ") {
        return None;
    }
    let partitions = |list: &str| list.split('[').skip(1).filter_map(|part| part.split(']').next()?.parse().ok()).collect();
    if let Some((_, list)) = line.split_once(": assigned: ") {
        return Some(Said::Given(partitions(list)));
    }
    line.split_once(": revoked: ").map(|(_, list)| Said::Taken(partitions(list)))
}

/// A field of a line of JSON, where it is a number.
fn number(line: &str, field: &str) -> Option<i64> {
    let text = line.split(&format!("\"{field}\":")).nth(1)?;
    text.chars().take_while(|letter| letter.is_ascii_digit() || *letter == '-').collect::<String>().parse().ok()
}

fn hear_java(line: &str, topic: &str) -> Option<Said> {
    let named = format!("\"topic\":\"{topic}\"");
    let partitions = || {
        let each = line.split(&named).skip(1);
        each.filter_map(|part| number(part, "partition")).map(|partition| partition as i32).collect()
    };
    let is = |name: &str| line.contains(&format!("\"name\":\"{name}\""));
    if is("partitions_assigned") {
        return Some(Said::Given(partitions()));
    }
    if is("partitions_revoked") {
        return Some(Said::Taken(partitions()));
    }
    is("record_data").then(|| Some(Said::Read(number(line, "partition")? as i32, number(line, "offset")?)))?
}
