//! Decides whether a pair of runs may count. The rules are fixed here, before anything is measured; what they discard stays in the raw rows.
//!
//! | looked at | discards the pair when |
//! |---|---|
//! | a fixed loop of copies and system calls, before each run | it stays more than 30 % off the session's median for five tries |
//! | time stolen by the hypervisor during a run | above 1 % of all cores' time |
//! | processes outside the session during a run | above 3 % of all cores' time |
//! | requests of a schedule that the generator itself came to late | above 1 % |
//! | answers with an error | any |
//!
//! A ping-pong between two threads on two cores is written down beside the loop; it scatters too much by itself to discard anything.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

use super::counters::Usage;
use super::machine;
use super::statistics::median;

/// On a virtual machine beside others the loop takes a tenth to a third longer or shorter from one second to the next, and pairs still
/// agree; on hardware of one's own it moves by a few per cent.
pub const SENTINEL_SHARE_MAX: f64 = 0.30;
pub const STOLEN_SHARE_MAX: f64 = 0.01;
pub const OTHERS_SHARE_MAX: f64 = 0.03;

/// Whether the rules are applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gate {
    Closed,
    /// For trying the whole thing out on a machine that is busy; the report says so.
    Open,
}

/// The rules in words, for the report.
pub fn rules(gate: Gate) -> Vec<String> {
    if gate == Gate::Open {
        return vec!["none but answers with an error (--ungated): the figures hold only as far as the machine was quiet".into()];
    }
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    vec![
        format!("sentinel more than {} off the session's median in five tries", percent(SENTINEL_SHARE_MAX)),
        format!("stolen time above {}", percent(STOLEN_SHARE_MAX)),
        format!("processes outside the session above {} of all cores", percent(OTHERS_SHARE_MAX)),
        "the generator itself late with more than 1 % of a schedule".into(),
        "an answer with an error".into(),
    ]
}

/// Bytes of a round: fits a second-level cache, so that the loop tells of the core and not of the memory.
const ROUND: usize = 1 << 18;
const LOOP_TIME: Duration = Duration::from_millis(100);
const PING_PONGS: u32 = 500;

#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Sentinel {
    /// Mean time of a round of the fixed loop, the worse of both cores.
    pub loop_us: f64,
    /// A byte to a thread on the other core and back.
    pub ping_pong_us: f64,
}

/// Asks the broker's core and the generator's core, about 200 ms together.
pub fn sentinel(broker_cpu: usize, generator_cpu: usize) -> Sentinel {
    let on = |cpu: usize| {
        std::thread::spawn(move || {
            machine::bind_thread(&[cpu]);
            fixed_loop()
        })
        .join()
        .unwrap_or(f64::NAN)
    };
    Sentinel { loop_us: on(broker_cpu).max(on(generator_cpu)), ping_pong_us: ping_pong(broker_cpu, generator_cpu) }
}

fn fixed_loop() -> f64 {
    let source = vec![1_u8; ROUND];
    let mut target = vec![0_u8; ROUND];
    let begun = Instant::now();
    let mut rounds = 0_u32;
    while begun.elapsed() < LOOP_TIME {
        target.copy_from_slice(std::hint::black_box(&source));
        std::hint::black_box(&mut target);
        for _ in 0..16 {
            std::hint::black_box(nix::unistd::getppid());
        }
        rounds += 1;
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(rounds)
}

fn ping_pong(here: usize, there: usize) -> f64 {
    let Ok((mut near, mut far)) = UnixStream::pair() else { return f64::NAN };
    let echo = std::thread::spawn(move || {
        machine::bind_thread(&[there]);
        let mut byte = [0];
        while far.read_exact(&mut byte).is_ok() && far.write_all(&byte).is_ok() {}
    });
    let asking = std::thread::spawn(move || {
        machine::bind_thread(&[here]);
        let begun = Instant::now();
        let mut byte = [0];
        for _ in 0..PING_PONGS {
            if near.write_all(&byte).and_then(|()| near.read_exact(&mut byte)).is_err() {
                return f64::NAN;
            }
        }
        begun.elapsed().as_secs_f64() * 1e6 / f64::from(PING_PONGS)
    });
    let mean = asking.join().unwrap_or(f64::NAN);
    // The asking side is gone, so the echo has read its end.
    let _ended = echo.join();
    mean
}

/// The session's sentinels so far; the median they are held against.
pub struct History {
    gate: Gate,
    loops: Vec<f64>,
}

impl History {
    pub fn new(gate: Gate) -> Self {
        Self { gate, loops: Vec::new() }
    }

    pub fn add(&mut self, sentinel: Sentinel) {
        self.loops.push(sentinel.loop_us);
    }

    /// How far off the median, as a share of it.
    fn off(&self, sentinel: Sentinel) -> f64 {
        (sentinel.loop_us / median(&self.loops).unwrap_or(sentinel.loop_us) - 1.0).abs()
    }

    pub fn is_quiet(&self, sentinel: Sentinel) -> bool {
        self.gate == Gate::Open || self.off(sentinel) <= SENTINEL_SHARE_MAX
    }

    /// Why a run may not count, by what was seen before it and during it.
    pub fn objection(&self, sentinel: Sentinel, usage: &Usage, outcome: &Outcome) -> Option<String> {
        let errors: u64 = outcome.errors.values().sum();
        if errors > 0 {
            return Some(format!("{errors} answers with an error"));
        }
        if self.gate == Gate::Open {
            return None;
        }
        if !self.is_quiet(sentinel) {
            return Some(format!("sentinel {:.1} us, {:.0} % off its median", sentinel.loop_us, self.off(sentinel) * 100.0));
        }
        if usage.stolen_share > STOLEN_SHARE_MAX {
            return Some(format!("{:.1} % of the time stolen by the hypervisor", usage.stolen_share * 100.0));
        }
        if let Some(pace) = outcome.pace.filter(|pace| !pace.was_asked()) {
            return Some(format!("the generator came late to {:.1} % of its schedule", pace.overdue_share() * 100.0));
        }
        (usage.others_share > OTHERS_SHARE_MAX).then(|| format!("other processes used {:.1} % of the cores", usage.others_share * 100.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Pace;

    fn errors(count: u64) -> Outcome {
        Outcome { errors: [("E".to_owned(), count)].into(), ..Outcome::default() }
    }

    fn history() -> History {
        let mut history = History::new(Gate::Closed);
        for loop_us in [10.0, 10.1, 9.9, 10.0] {
            history.add(Sentinel { loop_us, ping_pong_us: 5.0 });
        }
        history
    }

    #[test]
    fn each_rule_has_its_own_words() {
        let history = history();
        let quiet = Sentinel { loop_us: 10.2, ping_pong_us: 50.0 };
        let usage = Usage::default();
        assert_eq!(history.objection(quiet, &usage, &errors(0)), None);
        let slow = Sentinel { loop_us: 14.0, ..quiet };
        assert!(history.objection(slow, &usage, &errors(0)).unwrap().contains("sentinel"));
        let stolen = Usage { stolen_share: 0.02, ..Usage::default() };
        assert!(history.objection(quiet, &stolen, &errors(0)).unwrap().contains("hypervisor"));
        let busy = Usage { others_share: 0.04, ..Usage::default() };
        assert!(history.objection(quiet, &busy, &errors(0)).unwrap().contains("other processes"));
        assert!(history.objection(quiet, &usage, &errors(3)).unwrap().contains("error"));
        let late = Pace { requests_per_second: 1000.0, seconds: 1.0, overdue: 20, ..Pace::default() };
        let late = Outcome { pace: Some(late), ..Outcome::default() };
        assert!(history.objection(quiet, &usage, &late).unwrap().contains("2.0 %"));
    }

    #[test]
    fn an_open_gate_stops_nothing_but_errors() {
        let mut history = History::new(Gate::Open);
        history.add(Sentinel { loop_us: 10.0, ping_pong_us: 5.0 });
        let slow = Sentinel { loop_us: 90.0, ping_pong_us: 5.0 };
        let busy = Usage { others_share: 0.9, stolen_share: 0.5, ..Usage::default() };
        assert!(history.is_quiet(slow) && history.objection(slow, &busy, &errors(0)).is_none());
        assert!(history.objection(slow, &busy, &errors(1)).is_some());
        assert!(rules(Gate::Open)[0].contains("--ungated") && rules(Gate::Closed).len() == 5);
    }

    #[test]
    fn a_sentinel_comes_back_with_times() {
        let Sentinel { loop_us, ping_pong_us } = sentinel(0, 0);
        assert!(loop_us > 0.0 && ping_pong_us > 0.0);
    }
}
