//! kill -9 of the worker, with rotation and truncation of the source's file between: every line arrives, and what comes twice is what came since
//! the last flush.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Bench, WITHIN, append, broker, lines};
use crate::crash::kill::Dice;
use crate::support::broker::{Kind, kind};
use crate::support::{eventually, heavy, noisy};

const FLUSH: Duration = Duration::from_millis(300);
/// A flush syncs files, which takes as long as it takes on a busy machine.
const SLACK: Duration = Duration::from_millis(700);

/// What the sink had at one moment.
struct Look {
    at: Instant,
    lines: usize,
    distinct: usize,
    written: usize,
}

/// Lines written, and what the sink had at which moment.
struct Watched<'a> {
    from: &'a Path,
    to: &'a Path,
    written: usize,
    bytes_seen: usize,
    lines_seen: usize,
    distinct: BTreeSet<String>,
    looks: Vec<Look>,
}

impl Watched<'_> {
    fn write(&mut self, count: u64) {
        let count = count as usize;
        let text: String = (0..count).map(|index| line(self.written + index)).map(|line| line + "\n").collect();
        append(self.from, &text);
        self.written += count;
    }

    fn look(&mut self) -> usize {
        let text = std::fs::read_to_string(self.to).unwrap_or_default();
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        for line in text[self.bytes_seen..whole].lines() {
            self.lines_seen += 1;
            self.distinct.insert(line.to_owned());
        }
        self.bytes_seen = whole;
        self.looks.push(Look { at: Instant::now(), lines: self.lines_seen, distinct: self.distinct.len(), written: self.written });
        self.lines_seen
    }

    /// How many lines may come twice after a kill now: those that the sink put, and those that the source sent, since the last flush that must have
    /// been.
    fn unflushed(&self) -> usize {
        let Some(now) = self.looks.last() else { return 0 };
        let (lines, distinct) =
            self.looks.iter().rev().find(|look| now.at - look.at >= FLUSH + SLACK).map_or((0, 0), |look| (look.lines, look.distinct));
        (now.lines - lines) + (now.written - distinct)
    }
}

fn line(number: usize) -> String {
    format!("line {number:06} of the file")
}

#[test]
fn a_killed_worker_loses_no_line() {
    let _noisy = noisy();
    let rounds = match (heavy(), kind()) {
        (true, Kind::Ottla) => 100,
        _ => 5,
    };
    let mut dice = Dice::new();
    let broker = broker();
    let bench = Bench::new(&broker, "");
    let (from, to) = (bench.path("in.log"), bench.path("out.log"));
    let connectors = [bench.source("in", &from, "killed", ""), bench.sink("out", &to, "killed", "")];
    let mut watched =
        Watched { from: &from, to: &to, written: 0, bytes_seen: 0, lines_seen: 0, distinct: BTreeSet::new(), looks: Vec::new() };
    let mut repeated_at_most = 0;
    for round in 0..rounds {
        let worker = bench.start(&connectors);
        let truncate = dice.below(3) == 0;
        let before = watched.look();
        let mut kill_at = None;
        // Once the worker has caught up to what it was given, it lives for a moment more.
        let deadline = Instant::now() + WITHIN;
        loop {
            watched.write(dice.below(20));
            std::thread::sleep(Duration::from_millis(10));
            let grown = watched.look() > before + 10;
            if grown && kill_at.is_none() {
                kill_at = Some(Instant::now() + Duration::from_millis(dice.below(900)));
            }
            if kill_at.is_some_and(|at| Instant::now() >= at) {
                break;
            }
            assert!(Instant::now() < deadline, "round {round}: nothing arrives");
        }
        if truncate {
            // What is cut off before anybody reads it is lost; so everything is read first.
            let last = line(watched.written - 1);
            eventually("the sink has caught up", WITHIN, || {
                watched.look();
                watched.distinct.contains(&last).then_some(())
            });
        }
        worker.kill();
        watched.look();
        repeated_at_most += watched.unflushed();
        match (truncate, dice.below(3)) {
            (true, _) => std::fs::write(&from, "").unwrap(),
            (false, 0) => watched.write(1 + dice.below(50)),
            (false, rotations) => {
                for turn in 0..rotations {
                    watched.write(1 + dice.below(50));
                    std::fs::rename(&from, bench.path(&format!("in.log.{round}-{turn}"))).unwrap();
                    // The clock of the filesystem moves in steps.
                    std::thread::sleep(Duration::from_millis(15));
                    watched.write(1 + dice.below(50));
                }
            }
        }
        watched.write(1 + dice.below(50));
    }
    let worker = bench.start(&connectors);
    let deadline = Instant::now() + WITHIN;
    let expected: BTreeSet<String> = (0..watched.written).map(line).collect();
    let found = loop {
        let found = lines(&to);
        let arrived: BTreeSet<&String> = found.iter().collect();
        let missing: Vec<&String> = expected.iter().filter(|line| !arrived.contains(line)).collect();
        if missing.is_empty() {
            break found;
        }
        assert!(Instant::now() < deadline, "{} lines are missing: {missing:?}\n{}", missing.len(), worker.process.output());
        std::thread::sleep(Duration::from_millis(100));
    };
    worker.stop();
    let mut times: BTreeMap<&String, usize> = BTreeMap::new();
    for line in &found {
        *times.entry(line).or_default() += 1;
    }
    assert!(
        times.keys().copied().eq(&expected),
        "lines that nobody wrote: {:?}",
        times.keys().filter(|line| !expected.contains(**line)).collect::<Vec<_>>()
    );
    let repeated: usize = times.values().map(|count| count - 1).sum();
    println!("{rounds} rounds, {} lines, {repeated} repeated, at most {repeated_at_most} allowed", expected.len());
    assert!(repeated <= repeated_at_most, "{repeated} lines came twice, {repeated_at_most} may");
}
