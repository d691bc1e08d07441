//! The rows of `runs.jsonl`: all a report is made from, so that a report can be made again from its rows.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

use super::counters::Usage;
use super::failure::Failure;
use super::gate::Sentinel;
use super::machine::Description;
use super::workloads::Metric;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "row", rename_all = "kebab-case")]
pub enum Row {
    Machine(Description),
    Session(Session),
    Arm(ArmRow),
    Floor(Floor),
    Run(Box<Run>),
}

/// What was asked for.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Session {
    pub command: String,
    pub workloads: Vec<String>,
    pub pairs: usize,
    pub quick: bool,
    pub rules: Vec<String>,
}

/// A broker under test and every setting it was started with.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ArmRow {
    pub arm: String,
    pub version: String,
    pub settings: BTreeMap<String, String>,
    pub command: String,
    pub notes: Vec<String>,
}

/// What the machine itself can do, measured in this session.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Floor {
    pub name: String,
    pub sentence: String,
    pub metrics: BTreeMap<Metric, f64>,
}

#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    pub workload: String,
    pub arm: String,
    pub pair: usize,
    /// First or second half of its pair.
    pub half: usize,
    pub began_unix_ms: u64,
    pub topic: String,
    pub command: String,
    pub cache: String,
    pub sentinel: Sentinel,
    pub usage: Usage,
    pub outcome: Outcome,
    pub metrics: BTreeMap<Metric, f64>,
    /// What the broker could not do, in two or three words: the run counts, and gives no figures.
    #[serde(default)]
    pub unable: Option<String>,
    /// Why it does not count.
    pub discarded: Option<String>,
}

/// Everything of one session.
#[derive(Clone, Default)]
pub struct Collected {
    pub machine: Description,
    pub session: Session,
    pub arms: Vec<ArmRow>,
    pub floors: Vec<Floor>,
    pub runs: Vec<Run>,
}

impl Collected {
    fn add(&mut self, row: Row) {
        match row {
            Row::Machine(machine) => self.machine = machine,
            Row::Session(session) => self.session = session,
            // A broker started anew for a workload of its own brings the same row again.
            Row::Arm(arm) => match self.arms.iter_mut().find(|known| known.arm == arm.arm) {
                Some(known) => *known = arm,
                None => self.arms.push(arm),
            },
            Row::Floor(floor) => self.floors.push(floor),
            Row::Run(run) => self.runs.push(*run),
        }
    }

    pub fn read(file: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(file).map_err(Failure::file(file))?;
        let mut collected = Self::default();
        for (number, line) in text.lines().enumerate() {
            let row =
                serde_json::from_str(line).map_err(|why| Failure::Asked(format!("{}, line {}: {why}", file.display(), number + 1)))?;
            collected.add(row);
        }
        Ok(collected)
    }

    pub fn floor(&self, name: &str, metric: Metric) -> Option<f64> {
        self.floors.iter().find(|floor| floor.name == name)?.metrics.get(&metric).copied()
    }
}

/// Writes each row as it comes, so that a session that breaks off leaves what it measured.
pub struct Journal {
    file: File,
    path: PathBuf,
    pub collected: Collected,
}

impl Journal {
    pub fn create(path: PathBuf) -> Result<Self, Failure> {
        let file = File::create(&path).map_err(Failure::file(&path))?;
        Ok(Self { file, path, collected: Collected::default() })
    }

    pub fn write(&mut self, row: Row) -> Result<(), Failure> {
        let line = serde_json::to_string(&row).map_err(|why| Failure::file(&self.path)(why.into()))?;
        writeln!(self.file, "{line}").map_err(Failure::file(&self.path))?;
        self.collected.add(row);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_from_their_file() {
        let path = std::env::temp_dir().join(format!("ottla-perf-rows-{}.jsonl", std::process::id()));
        let mut journal = Journal::create(path.clone()).unwrap();
        let metrics = BTreeMap::from([(Metric::P99, 250.0)]);
        journal.write(Row::Floor(Floor { name: "echo".into(), sentence: "s".into(), metrics: metrics.clone() })).unwrap();
        journal.write(Row::Arm(ArmRow { arm: "ottla".into(), ..ArmRow::default() })).unwrap();
        journal.write(Row::Arm(ArmRow { arm: "ottla".into(), version: "2".into(), ..ArmRow::default() })).unwrap();
        let run = Run { workload: "w".into(), arm: "ottla".into(), metrics, discarded: Some("why".into()), ..Run::default() };
        journal.write(Row::Run(Box::new(run.clone()))).unwrap();
        let read = Collected::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        assert_eq!(read.runs, [run]);
        assert_eq!(read.floor("echo", Metric::P99), Some(250.0));
        assert_eq!((read.arms.len(), read.arms[0].version.as_str()), (1, "2"));
    }
}
