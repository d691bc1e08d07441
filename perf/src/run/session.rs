//! The order of a session: floors, brokers brought up and warmed, then pair after pair of runs, each written down as it ends.
//!
//! Called by `run::main`; calls `stage` for each run and `gate` for its verdict.
//!
//! 1. Pairs alternate which broker goes first (ABBA), so that a drift of the machine falls on both alike.
//! 2. A pair counts whole or not at all; what does not count is written down with its reason, and another pair is tried, up to half as many
//!    again.
//! 3. A broker that stalls, or does not keep up with a schedule, has been measured: its run counts, and says so in place of figures.
//! 4. A workload that fails twice is left, and said so; a broker that ended ends the session.
//! 5. What compares Ottla with itself comes last, with brokers of its own; those of the session are held still meanwhile.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::Options;
use super::arm::{self, Broker, Home, Kind};
use super::cgroup::Group;
use super::failure::Failure;
use super::machine;
use super::process::{Seat, run};
use super::record::{ArmRow, Floor, Journal, Row, Run};
use super::stage::{Arm, Measured, Stage};
use super::workloads::{self, Contest, Metric, Workload};

pub struct Session<'a> {
    stage: Stage,
    arms: Vec<Arm>,
    journal: &'a mut Journal,
    pairs: usize,
    /// Discarded pairs are not tried again after this moment.
    spare_until: Option<Instant>,
    progress: Progress,
}

/// Attempts of one workload that may fail before it is left.
const FAILURES_MAX: usize = 2;

impl<'a> Session<'a> {
    pub fn new(stage: Stage, journal: &'a mut Journal, pairs: usize, spare_until: Option<Instant>) -> Self {
        Self { stage, arms: Vec::new(), journal, pairs, spare_until, progress: Progress::new() }
    }

    /// Brings up each broker in turn, warmed and then held still. The floors are measured in the first one's group, before it is launched.
    pub fn bring(&mut self, kinds: &[Kind], options: &Options) -> Result<(), Failure> {
        let (window, windows_max) = if options.quick { (Duration::from_secs(2), 6) } else { (Duration::from_secs(5), 12) };
        for kind in kinds {
            let place = self.stage.place.clone();
            self.progress.say(&format!("{}: fills its group", kind.name()));
            let group = Group::make(kind.name(), place.group_bytes, &place.all_cpus);
            arm::fill(&group, place.group_bytes, &place.data.join(format!("fill-{}", kind.name())), &self.stage.interrupt)?;
            nix::unistd::sync();
            if self.journal.collected.floors.is_empty() {
                self.floors(Seat { process_lists: group.process_lists(), ..Seat::on(&place.all_cpus) }, options.quick)?;
            }
            self.progress.say(&format!("{}: starts and warms", kind.name()));
            let home = Home::prepare(*kind, kind.name(), arm::Session::Long, &place, &self.stage.interrupt)?;
            // A JVM warms on all cores, its compiler has threads of its own; a broker of one thread per core must not see more than its cores.
            let warm_cpus = if *kind == Kind::Kafka { &place.all_cpus } else { &place.broker_cpus };
            let broker = Broker::start(home, group, warm_cpus, &self.stage.interrupt)?;
            let mut row = broker.row();
            let arm = Arm::own(*kind, broker);
            row.notes.push(self.stage.warm(&arm, window, windows_max)?);
            if let Some(broker) = &arm.broker {
                broker.pin(&place.broker_cpus);
            }
            row.notes.push(arm::seating(&place));
            if *kind != Kind::Kafka && !place.settings.iter().any(|(key, _)| key == "ottla.spin.us") {
                row.notes.push("ottla.spin.us: its default, 20 us of polling before a shard that has its core alone sleeps".into());
            }
            self.journal.write(Row::Arm(row))?;
            arm.hold();
            self.arms.push(arm);
        }
        Ok(())
    }

    /// A broker that somebody else runs.
    pub fn point_at(&mut self, bootstrap: &str, options: &Options) -> Result<(), Failure> {
        self.floors(Seat::default(), options.quick)?;
        let notes = vec!["not ours: no figures of its process, no control over its cores or its page cache".to_owned()];
        self.journal.write(Row::Arm(ArmRow { arm: "broker".into(), version: bootstrap.into(), notes, ..ArmRow::default() }))?;
        self.arms.push(Arm::foreign(bootstrap));
        Ok(())
    }

    fn floors(&mut self, seat: Seat, quick: bool) -> Result<(), Failure> {
        self.progress.say("floors: what the machine does without a broker");
        let place = &self.stage.place;
        let cpu = place.broker_cpus.first().copied().unwrap_or(0).to_string();
        let dir = place.data.join("floors").display().to_string();
        let mut arguments =
            ["floors", "--dir", &dir, "--broker-cpu", &cpu, "--generator-cpu", &place.generator_cpu.to_string()].map(String::from).to_vec();
        if quick {
            arguments.push("--quick".into());
        }
        let said = run("floors", seat.command(&self.stage.loader, &arguments), Duration::from_secs(300), &self.stage.interrupt)?;
        for line in said.lines() {
            let floor: Floor = serde_json::from_str(line).map_err(|_| Failure::NoOutcome { name: "floors".into(), said: line.into() })?;
            self.journal.write(Row::Floor(floor))?;
        }
        let generator = self.generator_floor(quick)?;
        self.journal.write(Row::Floor(generator))
    }

    /// The generator against a broker that stores nothing: it must be far faster than what it measures.
    fn generator_floor(&self, quick: bool) -> Result<Floor, Failure> {
        let outcome = self.stage.against_the_sink(if quick { 1 } else { 4 })?;
        let gigabytes = outcome.bytes as f64 / 1e9;
        let metrics = BTreeMap::from([(Metric::Throughput, gigabytes / outcome.seconds.max(1e-9))]);
        Ok(Floor {
            name: "generator".into(),
            sentence: "the load generator against a broker that stores nothing, 1 KiB records in 64 KiB batches".into(),
            metrics,
        })
    }

    pub fn measure(&mut self, chosen: &[&'static Workload], options: &Options) -> Result<(), Failure> {
        self.stage.first_sentinels();
        let (brokers, listeners): (Vec<_>, Vec<_>) =
            chosen.iter().enumerate().partition(|(_, workload)| workload.contest == Contest::Brokers);
        let count = chosen.len();
        for (index, workload) in brokers {
            self.measure_whole(workload, &format!("[{}/{count}]", index + 1))?;
        }
        if !listeners.is_empty() {
            let of_session = (std::mem::take(&mut self.arms), self.stage.place.clone());
            self.stage.place = of_session.1.of_two_shards();
            self.bring(&[Kind::ShardListeners, Kind::TwoShards], options)?;
            for (index, workload) in listeners {
                self.measure_whole(workload, &format!("[{}/{count}]", index + 1))?;
            }
            (self.arms, self.stage.place) = of_session;
        }
        Ok(())
    }

    fn measure_whole(&mut self, workload: &'static Workload, place: &str) -> Result<(), Failure> {
        let ended = self.measure_workload(workload, place);
        for arm in &mut self.arms {
            // A topic that stays behind costs disk, not truth.
            if let Err(why) = self.stage.end_workload(arm) {
                self.progress.line(&format!("{}: {why}", workload.name));
            }
        }
        ended
    }

    fn measure_workload(&mut self, workload: &'static Workload, place: &str) -> Result<(), Failure> {
        let wanted = self.pairs.min(workload.pairs_max);
        let (mut good, mut failures) = (0, 0);
        for attempt in 0..wanted + wanted.div_ceil(2) {
            let is_spare = attempt >= wanted;
            if good == wanted || (is_spare && self.spare_until.is_some_and(|until| Instant::now() > until)) {
                break;
            }
            let halves = self.pair(workload, attempt, &format!("{place} {} pair {}/{wanted}", workload.name, good + 1))?;
            let failed = halves.iter().any(|half| half.command.is_empty() && half.unable.is_none());
            good += usize::from(halves.iter().all(|half| half.discarded.is_none()));
            for half in halves {
                self.journal.write(Row::Run(Box::new(half)))?;
            }
            failures += usize::from(failed);
            if failures == FAILURES_MAX {
                self.progress.line(&format!("{}: failed twice, left", workload.name));
                break;
            }
        }
        self.progress.line(&format!("{place} {}: {good} of {wanted} pairs count", workload.name));
        Ok(())
    }

    fn pair(&mut self, workload: &'static Workload, attempt: usize, said: &str) -> Result<Vec<Run>, Failure> {
        let mut order: Vec<usize> = (0..self.arms.len()).collect();
        if attempt % 2 == 1 {
            order.reverse();
        }
        let mut halves = Vec::new();
        for (half, arm) in order.into_iter().enumerate() {
            self.progress.say(&format!("{said}, {}", self.arms[arm].name));
            halves.push(self.half(workload, arm, attempt, half)?);
        }
        if halves.iter().any(|half| half.discarded.is_some()) {
            for half in &mut halves {
                half.discarded.get_or_insert_with(|| "the other half of its pair does not count".into());
            }
        }
        Ok(halves)
    }

    fn half(&mut self, workload: &'static Workload, index: usize, attempt: usize, half: usize) -> Result<Run, Failure> {
        let arm = &mut self.arms[index];
        let began_unix_ms = machine::unix_ms();
        let measured = match &workload.kind {
            workloads::Kind::Load(load) => self.stage.load(arm, workload.name, load),
            workloads::Kind::Crowd { few, load } => self.stage.crowd(arm, workload.name, *few, load),
            workloads::Kind::PerfTest { partitions } => self.stage.perf_test(arm, *partitions),
            workloads::Kind::StartUp => own_kind(arm).and_then(|kind| self.stage.start_up(kind)),
            workloads::Kind::Restart { partitions } => own_kind(arm).and_then(|kind| self.stage.restart(kind, *partitions)),
        };
        arm.hold();
        if let Some(broker) = &mut arm.broker
            && !broker.is_running()
        {
            return Err(Failure::Asked(format!("{} ended during {}", arm.name, workload.name)));
        }
        let measured = match measured {
            Ok(measured) => measured,
            Err(why) if why.ends_session() => return Err(why),
            Err(why) => {
                self.progress.line(&format!("{}, {}: {why}", workload.name, arm.name));
                let run =
                    Run { workload: workload.name.into(), arm: arm.name.clone(), pair: attempt, half, began_unix_ms, ..Run::default() };
                return Ok(match why.is_stall() {
                    true => Run { unable: Some("stalled".into()), command: why.to_string(), ..run },
                    false => Run { discarded: Some(format!("failed: {why}")), ..run },
                });
            }
        };
        let metrics = metrics(workload.metrics, &measured);
        let unable = measured.outcome.pace.filter(|pace| !pace.is_kept()).map(|pace| {
            let kept = measured.outcome.requests as f64 / measured.outcome.seconds;
            match pace.was_asked() {
                true => format!("not sustained: {kept:.0} of {:.0}/s", pace.requests_per_second),
                false => "the generator was late".into(),
            }
        });
        let Measured { topic, command, cache, sentinel, usage, outcome, .. } = measured;
        let discarded = self.stage.history.objection(sentinel, &usage, &outcome);
        let (workload, arm) = (workload.name.into(), arm.name.clone());
        let run = Run { workload, arm, pair: attempt, half, began_unix_ms, ..Run::default() };
        Ok(Run { topic, command, cache, sentinel, usage, outcome, metrics, unable, discarded, ..run })
    }
}

fn own_kind(arm: &Arm) -> Result<Kind, Failure> {
    arm.kind.ok_or_else(|| Failure::Asked("a broker that somebody else runs is not started by us".into()))
}

/// Those that the run has the figures for.
fn metrics(wanted: &[Metric], measured: &Measured) -> BTreeMap<Metric, f64> {
    let Measured { usage, outcome, beyond, .. } = measured;
    let gigabytes = outcome.bytes as f64 / 1e9;
    let per_second = |count: u64| count as f64 / outcome.seconds;
    let latency = outcome.latency.as_ref();
    let value = |metric: &Metric| match metric {
        Metric::Throughput => Some(gigabytes / outcome.seconds),
        Metric::CpuPerGb => usage.broker_cpu_seconds.map(|cpu| cpu / gigabytes),
        Metric::RequestRate => Some(per_second(outcome.requests)),
        Metric::RecordRate => Some(per_second(outcome.records)),
        Metric::CpuPerRequest => usage.broker_cpu_seconds.map(|cpu| cpu * 1e6 / outcome.requests as f64),
        Metric::P50 => latency.map(|latency| latency.p50 as f64),
        Metric::P99 => latency.map(|latency| latency.p99 as f64),
        Metric::P999 => latency.map(|latency| latency.p999 as f64),
        Metric::Seconds => Some(outcome.seconds),
        Metric::Resident => usage.resident_kib.map(|kib| kib as f64 / 1024.0),
        Metric::IdleCpu => usage.broker_cpu_seconds.map(|cpu| cpu * 1e3 / usage.seconds),
        Metric::ShareOfFew | Metric::PerIdlePartition | Metric::P99TimesAlone | Metric::Messages => beyond.get(metric).copied(),
    };
    let given = wanted.iter().filter_map(|metric| value(metric).filter(|value| value.is_finite()).map(|value| (*metric, value)));
    given.collect()
}

/// One line on a terminal that is written over; elsewhere only what is worth a line of its own.
struct Progress {
    terminal: bool,
}

impl Progress {
    fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal() }
    }

    fn say(&self, what: &str) {
        if self.terminal {
            eprint!("\r\x1b[K{what}");
            // A terminal that is gone needs no progress.
            let _gone = std::io::stderr().flush();
        }
    }

    fn line(&self, what: &str) {
        eprintln!("{}{what}", if self.terminal { "\r\x1b[K" } else { "" });
    }
}

/// Removes a session's data when it ends, however it ends.
pub struct Scratch<'a>(pub &'a Path);

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if self.0.exists()
            && let Err(why) = std::fs::remove_dir_all(self.0)
        {
            eprintln!("{} is left behind: {why}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Latency, Outcome};
    use crate::run::counters::Usage;

    #[test]
    fn metrics_follow_from_the_outcome_and_the_counters() {
        let measured = Measured {
            usage: Usage { seconds: 4.0, broker_cpu_seconds: Some(3.0), resident_kib: Some(2048), ..Usage::default() },
            outcome: Outcome {
                bytes: 6_000_000_000,
                records: 600,
                requests: 300,
                seconds: 2.0,
                latency: Some(Latency { p50: 10, p99: 20, p999: 30, ..Latency::default() }),
                ..Outcome::default()
            },
            beyond: BTreeMap::from([(Metric::Messages, 0.25)]),
            ..Measured::default()
        };
        let all = [
            (Metric::Throughput, 3.0),
            (Metric::CpuPerGb, 0.5),
            (Metric::RequestRate, 150.0),
            (Metric::RecordRate, 300.0),
            (Metric::CpuPerRequest, 10_000.0),
            (Metric::P50, 10.0),
            (Metric::P99, 20.0),
            (Metric::P999, 30.0),
            (Metric::Seconds, 2.0),
            (Metric::Resident, 2.0),
            (Metric::IdleCpu, 750.0),
            (Metric::Messages, 0.25),
        ];
        let wanted: Vec<Metric> = all.iter().map(|(metric, _)| *metric).collect();
        assert_eq!(metrics(&wanted, &measured), BTreeMap::from(all));
    }

    #[test]
    fn what_was_not_measured_is_left_out() {
        let nothing = metrics(&[Metric::CpuPerGb, Metric::P99, Metric::Throughput, Metric::Resident], &Measured::default());
        assert!(nothing.is_empty(), "{nothing:?}");
    }
}
