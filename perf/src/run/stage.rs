//! One run of one workload against one broker: everything from a new topic to the deletion of its last file.
//!
//! Called by `session`, once for each half of a pair; calls the load generator as a process.
//!
//! 1. What is measured lies between two looks at the counters, with nothing else of the session at work.
//! 2. Before the first look: the same load for a moment, everything written back, a pause, and a sentinel.
//! 3. After the second look the run's files are deleted, and the next run begins only when they are gone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::outcome::Outcome;

use super::amounts::Amounts;
use super::arm::{Broker, Home, Kind, Place, Session};
use super::cgroup::Group;
use super::counters::{Look, Usage, resident_kib};
use super::failure::Failure;
use super::gate::{self, Gate, History, Sentinel};
use super::kafka;
use super::machine;
use super::process::{Interrupt, Running, Seat, run};
use super::workloads::{Cache, Life, Load, Metric};

pub struct Stage {
    pub place: Place,
    pub amounts: Amounts,
    pub loader: PathBuf,
    pub interrupt: Interrupt,
    pub pause: Duration,
    pub history: History,
    topics_made: u64,
}

/// A broker to be loaded: one of ours, or one that was only pointed at.
pub struct Arm {
    pub name: String,
    pub broker: Option<Broker>,
    pub kind: Option<Kind>,
    pub address: String,
    /// The topic of a workload whose topic outlives a run.
    kept: Option<String>,
}

impl Arm {
    pub fn own(kind: Kind, broker: Broker) -> Self {
        Self { name: kind.name().into(), address: broker.address().to_string(), broker: Some(broker), kind: Some(kind), kept: None }
    }

    pub fn foreign(address: &str) -> Self {
        Self { name: "broker".into(), broker: None, kind: None, address: address.into(), kept: None }
    }

    pub fn hold(&self) {
        if let Some(broker) = &self.broker {
            broker.hold();
        }
    }

    pub fn go_on(&mut self, interrupt: &Interrupt) -> Result<(), Failure> {
        self.broker.as_mut().map_or(Ok(()), |broker| broker.go_on(interrupt))
    }

    fn look(&self) -> Look {
        Look::take(self.broker.as_ref().map(Broker::watched))
    }

    fn messages(&self) -> Option<f64> {
        self.broker.as_ref().and_then(Broker::messages)
    }

    fn pid(&self) -> Option<u32> {
        self.broker.as_ref().map(|broker| broker.watched().0)
    }

    fn log_dir(&self) -> Option<PathBuf> {
        self.broker.as_ref().map(Broker::log_dir)
    }
}

/// What a run gave.
#[derive(Default)]
pub struct Measured {
    pub topic: String,
    pub command: String,
    pub cache: String,
    pub sentinel: Sentinel,
    pub usage: Usage,
    pub outcome: Outcome,
    /// Figures that follow from more than the outcome and the counters.
    pub beyond: BTreeMap<Metric, f64>,
}

/// How long a broker is left alone before its memory is looked at.
const SETTLED: Duration = Duration::from_secs(2);
/// Beyond the time a load names itself.
const GRACE: Duration = Duration::from_secs(240);
const DELETED_WITHIN: Duration = Duration::from_secs(180);

impl Stage {
    pub fn new(place: Place, amounts: Amounts, loader: PathBuf, interrupt: Interrupt, pause: Duration, gate: Gate) -> Self {
        Self { place, amounts, loader, interrupt, pause, history: History::new(gate), topics_made: 0 }
    }

    fn topic_name(&mut self, workload: &str) -> String {
        self.topics_made += 1;
        format!("{workload}.{}.{}", std::process::id(), self.topics_made)
    }

    /// Where the generator sits.
    fn seat(&self) -> Seat {
        Seat { gives_way: self.place.is_shared(), ..Seat::on(&[self.place.generator_cpu]) }
    }

    /// Calls the load generator. Its time is bounded by what its own flags say, and then some.
    fn generate(&self, words: &[String], address: &str, topic: &str) -> Result<Outcome, Failure> {
        let mut arguments = vec!["load".to_owned()];
        arguments.extend_from_slice(words);
        arguments.extend(["--bootstrap", address, "--topic", topic].map(String::from));
        let name = format!("load {}", words.first().map_or("", String::as_str));
        let own = words.iter().position(|word| word == "--seconds").and_then(|at| words.get(at + 1)?.parse().ok()).unwrap_or(0);
        let command = self.seat().command(&self.loader, &arguments);
        let said = run(&name, command, Duration::from_secs(own) + GRACE, &self.interrupt)?;
        let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("");
        serde_json::from_str(last).map_err(|_| Failure::NoOutcome { name, said: last.chars().take(200).collect() })
    }

    pub fn create_topic(&self, address: &str, topic: &str, partitions: u32, configs: &[&str]) -> Result<(), Failure> {
        let mut words = ["topic", "create", "--partitions", &partitions.to_string()].map(String::from).to_vec();
        for config in configs {
            words.extend(["--config".to_owned(), (*config).to_owned()]);
        }
        self.generate(&words, address, topic).map(drop)
    }

    /// Deletes a topic, and waits until the broker has deleted its files.
    pub fn delete_topic(&self, arm: &Arm, topic: &str) -> Result<(), Failure> {
        self.generate(&["topic", "delete"].map(String::from), &arm.address, topic)?;
        let Some(dir) = arm.log_dir() else { return Ok(()) };
        let begun = Instant::now();
        while begun.elapsed() < DELETED_WITHIN && !directories_of(&dir, topic).is_empty() {
            self.interrupt.sleep(Duration::from_millis(20))?;
        }
        Ok(())
    }

    /// The end of a workload: its topic goes where it outlived the runs.
    pub fn end_workload(&self, arm: &mut Arm) -> Result<(), Failure> {
        match arm.kept.take() {
            Some(topic) => {
                arm.go_on(&self.interrupt)?;
                self.delete_topic(arm, &topic)?;
                arm.hold();
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A load on a broker that goes on, and stops again afterwards.
    pub fn load(&mut self, arm: &mut Arm, workload: &str, load: &Load) -> Result<Measured, Failure> {
        arm.go_on(&self.interrupt)?;
        let topic = match arm.kept.take() {
            Some(topic) => topic,
            None => {
                let topic = self.topic_name(workload);
                self.create_topic(&arm.address, &topic, load.partitions, load.configs)?;
                if !load.fill.is_empty() {
                    self.generate(&self.amounts.fill_in(load.fill), &arm.address, &topic)?;
                }
                topic
            }
        };
        let measured = self.load_topic(arm, &topic, load);
        if load.life == Life::Workload && measured.is_ok() {
            arm.kept = Some(topic);
        } else {
            let deleted = self.delete_topic(arm, &topic);
            // What went wrong first is what is told.
            if measured.is_ok() {
                deleted?;
            }
        }
        arm.hold();
        measured
    }

    /// A load on a few partitions, and again when the broker has very many more that nobody writes.
    pub fn crowd(&mut self, arm: &mut Arm, workload: &str, few: u32, load: &Load) -> Result<Measured, Failure> {
        let alone = self.load(arm, workload, &Load { partitions: few, configs: &[], ..*load })?;
        arm.go_on(&self.interrupt)?;
        let resident = |arm: &Arm| arm.pid().and_then(resident_kib);
        self.interrupt.sleep(SETTLED)?;
        let before = resident(arm);
        let topic = self.topic_name(workload);
        let mut idle = None;
        let measured = self.create_topic(&arm.address, &topic, load.partitions, load.configs).and_then(|()| {
            self.interrupt.sleep(SETTLED)?;
            idle = before.zip(resident(arm)).map(|(before, after)| (after - before) / f64::from(load.partitions));
            self.load_topic(arm, &topic, load)
        });
        // Also where its creation came to no end: what is left of it would lie below everything that is measured later.
        let deleted = self.delete_topic(arm, &topic);
        arm.hold();
        let mut measured = measured?;
        deleted?;
        let rate = |outcome: &Outcome| outcome.bytes as f64 / outcome.seconds;
        measured.beyond.insert(Metric::ShareOfFew, rate(&measured.outcome) / rate(&alone.outcome));
        measured.beyond.extend(idle.map(|kib| (Metric::PerIdlePartition, kib)));
        Ok(measured)
    }

    fn load_topic(&mut self, arm: &Arm, topic: &str, load: &Load) -> Result<Measured, Failure> {
        self.generate(&self.amounts.settling().fill_in(load.command), &arm.address, topic)?;
        let mut beyond = BTreeMap::new();
        let alone_p99 = match load.alone {
            "" => None,
            alone => {
                nix::unistd::sync();
                self.interrupt.sleep(self.pause)?;
                self.generate(&self.amounts.fill_in(alone), &arm.address, topic)?.latency.map(|latency| latency.p99)
            }
        };
        let cache = self.prepare_cache(arm, topic, load.cache)?;
        let words = self.amounts.fill_in(load.command);
        let sentinel = self.sentinel()?;
        let messages = arm.messages();
        let before = arm.look();
        let outcome = self.generate(&words, &arm.address, topic)?;
        let usage = before.until(&arm.look(), arm.pid());
        let crossed = messages.zip(arm.messages()).map(|(before, after)| (after - before) / outcome.requests as f64);
        beyond.extend(crossed.map(|each| (Metric::Messages, each)));
        let times = outcome.latency.as_ref().zip(alone_p99).map(|(latency, alone)| latency.p99 as f64 / alone as f64);
        beyond.extend(times.map(|times| (Metric::P99TimesAlone, times)));
        let configs = if load.configs.is_empty() { String::new() } else { format!(", {}", load.configs.join(", ")) };
        Ok(Measured {
            topic: format!("{} partitions{configs}", load.partitions),
            command: words.join(" "),
            cache,
            sentinel,
            usage,
            outcome,
            beyond,
        })
    }

    /// Waits a little for a machine that is not quiet; the last look is the one that counts.
    fn sentinel(&mut self) -> Result<Sentinel, Failure> {
        const TRIES: usize = 5;
        let mut tried = 0;
        loop {
            let sentinel = gate::sentinel(self.first_broker_cpu(), self.place.generator_cpu);
            self.history.add(sentinel);
            tried += 1;
            if tried == TRIES || self.history.is_quiet(sentinel) {
                return Ok(sentinel);
            }
            self.interrupt.sleep(self.pause)?;
        }
    }

    /// Sentinels of a session that has not begun: what later ones are held against.
    pub fn first_sentinels(&mut self) {
        const FIRST: usize = 9;
        for _ in 0..FIRST {
            self.history.add(gate::sentinel(self.first_broker_cpu(), self.place.generator_cpu));
        }
    }

    fn first_broker_cpu(&self) -> usize {
        self.place.broker_cpus.first().copied().unwrap_or(0)
    }

    /// Everything written back, then a pause: a run does not pay for the one before it.
    fn prepare_cache(&self, arm: &Arm, topic: &str, cache: Cache) -> Result<String, Failure> {
        nix::unistd::sync();
        let said = match (cache, arm.log_dir()) {
            (Cache::Resident, _) => "page cache as the load left it, written back".to_owned(),
            (Cache::Evicted, None) => "not evicted: the broker's files are out of reach".into(),
            (Cache::Evicted, Some(dir)) => evict(&dir, topic)?,
        };
        self.interrupt.sleep(self.pause)?;
        Ok(said)
    }

    /// The generator against a sink on the broker's core.
    pub fn against_the_sink(&self, seconds: u64) -> Result<Outcome, Failure> {
        const UP: Duration = Duration::from_secs(10);
        let log = self.place.out.join("sink.log");
        let arguments = ["load", "sink"].map(String::from);
        let mut sink = Running::start("sink", Seat::on(&self.place.broker_cpus).command(&self.loader, &arguments), &log)?;
        let begun = Instant::now();
        let address = loop {
            let said = fs::read_to_string(&log).map_err(Failure::file(&log))?;
            if let Some(address) = said.split_whitespace().find(|word| word.parse::<SocketAddr>().is_ok()) {
                break address.to_owned();
            }
            if begun.elapsed() > UP || !sink.is_running() {
                return Err(Failure::Silent { name: "sink".into(), seconds: begun.elapsed().as_secs(), log });
            }
            self.interrupt.sleep(Duration::from_millis(20))?;
        };
        let words = ["produce", "--record-bytes", "1024", "--batch-bytes", "65536", "--seconds", &seconds.to_string()].map(String::from);
        self.generate(&words, &address, "sink")
    }

    /// Kafka's own producer tool as the load.
    pub fn perf_test(&mut self, arm: &mut Arm, partitions: u32) -> Result<Measured, Failure> {
        arm.go_on(&self.interrupt)?;
        let topic = self.topic_name("perf-test");
        self.create_topic(&arm.address, &topic, partitions, &[])?;
        let cache = self.prepare_cache(arm, &topic, Cache::Resident)?;
        let arguments = kafka::perf_test(&self.place, &arm.address, &topic, self.amounts.records);
        let sentinel = self.sentinel()?;
        let before = arm.look();
        let command = self.seat().command(Path::new("java"), &arguments);
        let said = run("kafka-producer-perf-test", command, GRACE * 2, &self.interrupt)?;
        let usage = before.until(&arm.look(), arm.pid());
        let (records, seconds) = kafka::perf_test_outcome(&said).ok_or_else(|| Failure::NoOutcome {
            name: "kafka-producer-perf-test".into(),
            said: said.lines().last().unwrap_or("").into(),
        })?;
        self.delete_topic(arm, &topic)?;
        arm.hold();
        let outcome = Outcome { load: "kafka-producer-perf-test".into(), bytes: records * 1024, records, seconds, ..Outcome::default() };
        let (topic, command) = (format!("{partitions} partitions"), arguments.join(" "));
        Ok(Measured { topic, command, cache, sentinel, usage, outcome, ..Measured::default() })
    }

    /// A second broker of the same kind on an empty directory; the first is held still.
    pub fn start_up(&mut self, kind: Kind) -> Result<Measured, Failure> {
        const IDLE: Duration = Duration::from_secs(5);
        let home = Home::prepare(kind, &format!("start-up-{}", kind.name()), Session::Default, &self.place, &self.interrupt)?;
        let group = self.group(&format!("start-up-{}", kind.name()));
        nix::unistd::sync();
        self.interrupt.sleep(self.pause)?;
        let sentinel = self.sentinel()?;
        let begun = Instant::now();
        let broker = Broker::start(home, group, &self.place.broker_cpus, &self.interrupt)?;
        let seconds = begun.elapsed().as_secs_f64();
        self.interrupt.sleep(SETTLED)?;
        let before = Look::take(Some(broker.watched()));
        self.interrupt.sleep(IDLE)?;
        let usage = before.until(&Look::take(Some(broker.watched())), Some(broker.watched().0));
        let outcome = Outcome { load: "start-up".into(), seconds, ..Outcome::default() };
        let cache = "programs in the page cache, data directory empty".into();
        let (topic, command) = ("none".into(), "start, then five seconds of nothing".into());
        Ok(Measured { topic, command, cache, sentinel, usage, outcome, ..Measured::default() })
    }

    /// Fill, SIGKILL, drop the log from the page cache, start again, until every partition has answered.
    pub fn restart(&mut self, kind: Kind, partitions: u32) -> Result<Measured, Failure> {
        let name = format!("restart-{}", kind.name());
        let home = Home::prepare(kind, &name, Session::Default, &self.place, &self.interrupt)?;
        let mut broker = Broker::start(home, self.group(&name), &self.place.broker_cpus, &self.interrupt)?;
        let (address, topic) = (broker.address().to_string(), self.topic_name("restart"));
        self.create_topic(&address, &topic, partitions, &[])?;
        let bytes = self.amounts.restart.to_string();
        self.generate(
            &["produce", "--record-bytes", "1024", "--batch-bytes", "65536", "--bytes", &bytes].map(String::from),
            &address,
            &topic,
        )?;
        broker.kill();
        nix::unistd::sync();
        let cache = evict(&broker.log_dir(), &topic)?;
        self.interrupt.sleep(self.pause)?;
        let sentinel = self.sentinel()?;
        let before = Look::take(Some(broker.watched()));
        let since = machine::unix_ms().to_string();
        broker.launch_again(&self.place.broker_cpus)?;
        let words = ["ready", "--partitions", &partitions.to_string(), "--since-ms", &since].map(String::from);
        let outcome = self.generate(&words, &address, &topic)?;
        let usage = before.until(&Look::take(Some(broker.watched())), Some(broker.watched().0));
        let (topic, command) = (format!("{partitions} partitions"), format!("{bytes} bytes, kill -9, start, {}", words.join(" ")));
        Ok(Measured { topic, command, cache, sentinel, usage, outcome, ..Measured::default() })
    }

    fn group(&self, name: &str) -> Group {
        Group::make(name, self.place.group_bytes, &self.place.broker_cpus)
    }

    /// Brings a JVM's compiler to rest and any broker's allocator to size, with each kind of work: at least three windows of produce, until
    /// three of them differ by less than 3 %, then a window of each other kind.
    pub fn warm(&mut self, arm: &Arm, window: Duration, windows_max: usize) -> Result<String, Failure> {
        const KINDS: [&[&str]; 5] = [
            &["produce", "--record-bytes", "100", "--batch-bytes", "1", "--connections", "16", "--in-flight", "64"],
            &["produce", "--record-bytes", "1024", "--batch-bytes", "16384", "--keyed", "--connections", "8"],
            &["produce", "--record-bytes", "1024", "--batch-bytes", "65536", "--codec", "lz4"],
            &["fetch", "--readers", "1"],
            &["end-to-end", "--rate", "2000", "--batch-bytes", "1"],
        ];
        const PRODUCE: [&str; 5] = ["produce", "--record-bytes", "1024", "--batch-bytes", "65536"];
        let topic = self.topic_name("warm");
        let configs = ["retention.bytes=268435456", "segment.bytes=67108864"];
        self.create_topic(&arm.address, &topic, 4, &configs)?;
        let seconds = window.as_secs_f64().to_string();
        let of = |words: &[&str]| words.iter().copied().chain(["--seconds", &seconds]).map(String::from).collect::<Vec<_>>();
        let mut rates: Vec<f64> = Vec::new();
        while rates.len() < 3 || (rates.len() < windows_max && !is_steady(&rates)) {
            let outcome = self.generate(&of(&PRODUCE), &arm.address, &topic)?;
            rates.push(outcome.bytes as f64 / outcome.seconds.max(1e-9));
        }
        for words in KINDS {
            self.generate(&of(words), &arm.address, &topic)?;
        }
        self.delete_topic(arm, &topic)?;
        let steady = if is_steady(&rates) { "steady within 3 %" } else { "not steady within 3 %" };
        Ok(format!("warmed: {} windows of {seconds} s produce ({steady}), one of each other kind", rates.len()))
    }
}

/// The last three lie within 3 % of each other.
fn is_steady(rates: &[f64]) -> bool {
    let Some(last) = rates.len().checked_sub(3).map(|from| &rates[from..]) else { return false };
    let (low, high) = last.iter().fold((f64::MAX, 0.0_f64), |(low, high), rate| (low.min(*rate), high.max(*rate)));
    high <= low * 1.03
}

/// Directories of a topic's partitions, also those a broker has renamed before it deletes them.
fn directories_of(log_dir: &Path, topic: &str) -> Vec<PathBuf> {
    let prefix = format!("{topic}-");
    let entries = fs::read_dir(log_dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.starts_with(&prefix))).map(|entry| entry.path()).collect()
}

/// Drops a topic's written-back files from the page cache.
fn evict(log_dir: &Path, topic: &str) -> Result<String, Failure> {
    let mut bytes = 0;
    for dir in directories_of(log_dir, topic) {
        for entry in fs::read_dir(&dir).map_err(Failure::file(&dir))?.flatten() {
            let path = entry.path();
            let file = File::open(&path).map_err(Failure::file(&path))?;
            bytes += file.metadata().map_err(Failure::file(&path))?.len();
            posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).map_err(|why| Failure::file(&path)(why.into()))?;
        }
    }
    Ok(format!("{} MiB of log written back and dropped from the page cache (fadvise DONTNEED)", bytes >> 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_windows_that_agree_are_steady() {
        assert!(!is_steady(&[1.0, 1.0]));
        assert!(is_steady(&[0.5, 1.0, 1.02, 1.01]));
        assert!(!is_steady(&[1.0, 1.0, 1.1]));
    }

    #[test]
    fn a_topics_directories_are_not_its_neighbours() {
        let dir = std::env::temp_dir().join(format!("ottla-perf-dirs-{}", std::process::id()));
        for name in ["a.1-0", "a.1-12.0f-delete", "a.10-0", "b"] {
            fs::create_dir_all(dir.join(name)).unwrap();
        }
        let mut found: Vec<_> = directories_of(&dir, "a.1").iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        found.sort();
        assert_eq!(found, ["a.1-0", "a.1-12.0f-delete"]);
        fs::write(dir.join("a.1-0/log"), vec![1; 2 << 20]).unwrap();
        assert!(evict(&dir, "a.1").unwrap().starts_with("2 MiB"));
        fs::remove_dir_all(&dir).unwrap();
    }
}
