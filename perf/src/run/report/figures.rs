//! Medians, ratios and counts, as both pages print them.

use std::collections::BTreeMap;

use crate::run::record::{ArmRow, Collected, Run};
use crate::run::statistics::{Ratio, median, ratio_of_medians};
use crate::run::workloads::{self, Better, Contest, Metric, Workload};

/// One line of the table: one metric of one workload.
pub struct Figure {
    pub workload: &'static Workload,
    pub metric: Metric,
    pub floor: Option<f64>,
    /// Medians over the runs that count, in the order of the arms.
    pub medians: Vec<Option<f64>>,
    /// In place of the medians: what an arm could not do in half of its runs or more.
    pub unable: Vec<Option<String>>,
    /// How many times better the first arm is than the second; above one is better, whatever the metric.
    pub better_by: Option<Ratio>,
    pub pairs: usize,
    pub discarded: usize,
}

/// How a figure came out, by its interval.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Better,
    Worse,
    /// The interval holds one.
    Undecided,
    /// Too few pairs for an interval, or one arm alone.
    None,
}

impl Figure {
    pub fn verdict(&self) -> Verdict {
        match self.better_by.and_then(|ratio| ratio.interval) {
            None => Verdict::None,
            Some((low, _)) if low > 1.0 => Verdict::Better,
            Some((_, high)) if high < 1.0 => Verdict::Worse,
            Some(_) => Verdict::Undecided,
        }
    }
}

pub struct Figures {
    pub arms: Vec<String>,
    pub lines: Vec<Figure>,
}

impl Figures {
    pub fn of(collected: &Collected, contest: Contest) -> Self {
        let is_in = |run: &Run| workloads::find(&run.workload).is_some_and(|workload| workload.contest == contest);
        let runs_there = |arm: &&ArmRow| collected.runs.iter().any(|run| run.arm == arm.arm && is_in(run));
        let arms: Vec<String> = collected.arms.iter().filter(runs_there).map(|arm| arm.arm.clone()).collect();
        let mut lines = Vec::new();
        for workload in asked(collected).filter(|workload| workload.contest == contest) {
            let runs: Vec<&Run> = collected.runs.iter().filter(|run| run.workload == workload.name).collect();
            if runs.is_empty() {
                continue;
            }
            for metric in workload.metrics {
                lines.push(figure(collected, &arms, workload, *metric, &runs));
            }
        }
        Self { arms, lines }
    }

    pub fn count(&self, verdict: Verdict) -> usize {
        self.lines.iter().filter(|line| line.verdict() == verdict).count()
    }

    /// What the table says, in one sentence.
    pub fn sentence(&self) -> String {
        let [first, second] = &self.arms[..] else { return "One broker: nothing to compare it with but the floors.".into() };
        let decided = format!(
            "Of {} figures, {first} is better in {} and worse in {} than {second}, by intervals that leave no doubt; {} are undecided",
            self.lines.len(),
            self.count(Verdict::Better),
            self.count(Verdict::Worse),
            self.count(Verdict::Undecided),
        );
        match self.count(Verdict::None) {
            0 => format!("{decided}."),
            few => format!("{decided}, {few} have too few pairs for an interval."),
        }
    }
}

/// The workloads of a session in the table's order, and those only its runs name.
fn asked(collected: &Collected) -> impl Iterator<Item = &'static Workload> {
    workloads::TABLE.iter().filter(|workload| collected.runs.iter().any(|run| run.workload == workload.name))
}

fn figure(collected: &Collected, arms: &[String], workload: &'static Workload, metric: Metric, runs: &[&Run]) -> Figure {
    let counted = || runs.iter().filter(|run| run.discarded.is_none());
    let of = |arm: &String| counted().filter(|run| run.arm == *arm).filter_map(|run| run.metrics.get(&metric).copied()).collect::<Vec<_>>();
    let unable: Vec<Option<String>> = arms.iter().map(|arm| unable(metric, counted().filter(|run| run.arm == *arm))).collect();
    let medians = arms.iter().zip(&unable).map(|(arm, unable)| unable.is_none().then(|| median(&of(arm)))?).collect();
    let mut pairs: BTreeMap<usize, [Option<f64>; 2]> = BTreeMap::new();
    for run in counted() {
        if let Some(at) = arms.iter().position(|arm| *arm == run.arm).filter(|at| *at < 2) {
            let is_able = !is_unable(metric, run) && unable[at].is_none();
            pairs.entry(run.pair).or_default()[at] = run.metrics.get(&metric).copied().filter(|_| is_able);
        }
    }
    let numbers = |[first, second]: [Option<f64>; 2]| match metric.better() {
        Better::Higher => first.zip(second),
        Better::Lower => second.zip(first),
    };
    let both: Vec<(f64, f64)> = pairs.values().filter_map(|pair| numbers(*pair)).collect();
    Figure {
        workload,
        metric,
        floor: workload.floor(metric).and_then(|floor| collected.floor(floor, metric)),
        medians,
        unable,
        better_by: ratio_of_medians(&both),
        pairs: pairs.len(),
        discarded: runs.iter().filter(|run| run.discarded.is_some()).count(),
    }
}

/// What an arm could not do, where that is so of half of its runs or more: the words of the last of them.
fn unable<'a>(metric: Metric, runs: impl Iterator<Item = &'a &'a Run>) -> Option<String> {
    let (unable, able): (Vec<&Run>, Vec<&Run>) = runs.copied().partition(|run| is_unable(metric, run));
    unable.last().filter(|_| unable.len() >= able.len())?.unable.clone()
}

/// A run that did not keep its schedule has no latency; one that stalled has nothing.
fn is_unable(metric: Metric, run: &Run) -> bool {
    run.unable.is_some() && (metric.is_latency() || run.metrics.is_empty())
}

/// Three significant digits.
pub fn digits(value: f64) -> String {
    let magnitude = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    match magnitude {
        3.. => grouped(value.round() as i64),
        _ => format!("{value:.*}", (2 - magnitude).clamp(0, 6) as usize),
    }
}

fn grouped(value: i64) -> String {
    let plain = value.abs().to_string();
    let mut text = String::new();
    for (index, digit) in plain.chars().enumerate() {
        if index > 0 && (plain.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

pub fn cell(value: Option<f64>) -> String {
    value.map_or_else(|| "–".into(), digits)
}

impl Figure {
    /// What stands in the table for each arm.
    pub fn cells(&self) -> impl Iterator<Item = String> + '_ {
        self.medians.iter().zip(&self.unable).map(|(median, unable)| unable.clone().unwrap_or_else(|| cell(*median)))
    }
}

pub fn ratio(ratio: Option<Ratio>) -> String {
    match ratio {
        None => "–".into(),
        Some(Ratio { value, interval: None, range: None }) => format!("{} x", digits(value)),
        Some(Ratio { value, interval: None, range: Some((low, high)) }) => {
            format!("{} x ({} to {})", digits(value), digits(low), digits(high))
        }
        Some(Ratio { value, interval: Some((low, high)), .. }) => format!("{} x [{}, {}]", digits(value), digits(low), digits(high)),
    }
}

/// What was seen beside the metrics: medians over the runs of an arm that count.
pub struct Beside {
    pub workload: &'static str,
    pub arm: String,
    /// Shares of one core's time, and counts a second.
    pub broker_cores: Option<f64>,
    pub machine_cores: Option<f64>,
    pub generator_cores: Option<f64>,
    pub switches_per_second: Option<f64>,
    pub resident_mib: Option<f64>,
    pub late: u64,
    pub errors: u64,
}

pub fn beside(collected: &Collected) -> Vec<Beside> {
    let mut rows = Vec::new();
    for workload in asked(collected) {
        for ArmRow { arm, .. } in &collected.arms {
            let runs: Vec<&Run> =
                collected.runs.iter().filter(|run| run.workload == workload.name && run.arm == *arm && !run.command.is_empty()).collect();
            if !runs.is_empty() {
                rows.push(beside_of(workload.name, arm, &runs));
            }
        }
    }
    rows
}

fn beside_of(workload: &'static str, arm: &str, runs: &[&Run]) -> Beside {
    let of = |value: &dyn Fn(&Run) -> Option<f64>| {
        let values: Vec<f64> = runs.iter().filter(|run| run.discarded.is_none()).filter_map(|run| value(run)).collect();
        median(&values)
    };
    Beside {
        workload,
        arm: arm.into(),
        broker_cores: of(&|run| run.usage.broker_cpu_seconds.map(|cpu| cpu / run.usage.seconds)),
        machine_cores: of(&|run| Some(run.usage.machine_busy_seconds / run.usage.seconds)),
        generator_cores: of(&|run| Some(run.outcome.cpu_seconds / run.outcome.seconds)),
        switches_per_second: of(&|run| {
            run.usage.resident_kib.map(|_| (run.usage.switches_voluntary + run.usage.switches_involuntary) as f64 / run.usage.seconds)
        }),
        resident_mib: of(&|run| run.usage.resident_kib.map(|kib| kib as f64 / 1024.0)),
        late: runs.iter().map(|run| run.outcome.late).sum(),
        errors: runs.iter().map(|run| run.outcome.errors.values().sum::<u64>()).sum(),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::outcome::{Latency, Outcome, Second};
    use crate::run::record::Floor;

    /// Two arms, five pairs of a produce and of a latency workload, one pair discarded.
    pub fn collected() -> Collected {
        let arm = |name: &str| ArmRow { arm: name.into(), version: format!("{name} 1 <&>"), ..ArmRow::default() };
        let metrics = BTreeMap::from([(Metric::CpuPerGb, 0.25), (Metric::Throughput, 4.0)]);
        let floor = Floor { name: "append-64k".into(), sentence: "floor".into(), metrics };
        let mut collected = Collected { arms: vec![arm("ottla"), arm("kafka")], floors: vec![floor], ..Collected::default() };
        for pair in 0..6 {
            for (arm, slow) in [("ottla", 1.0), ("kafka", 4.0)] {
                let discarded = (pair == 5).then(|| "stolen".to_owned());
                let drift = 1.0 + pair as f64 / 100.0;
                let run = Run { arm: arm.into(), pair, command: "c".into(), discarded, ..Run::default() };
                let second = Second { bytes: (1e9 / slow) as u64, p99_us: 100 };
                collected.runs.push(Run {
                    workload: "produce-1k-1p".into(),
                    metrics: BTreeMap::from([(Metric::CpuPerGb, 0.5 * slow * drift), (Metric::Throughput, 2.0 / slow / drift)]),
                    outcome: Outcome { seconds: 4.0, per_second: vec![second; 4], ..Outcome::default() },
                    ..run.clone()
                });
                let us = |factor: f64| (100.0 * slow * factor) as u64;
                let curve = vec![(0.0, us(0.5)), (50.0, us(1.0)), (99.0, us(3.0)), (99.9, us(9.0)), (100.0, us(10.0))];
                let latency = Latency { p50: us(1.0), p99: us(3.0), p999: us(9.0), curve, ..Latency::default() };
                collected.runs.push(Run {
                    workload: "open-loop-5000".into(),
                    metrics: BTreeMap::from([(Metric::P99, us(3.0) as f64)]),
                    outcome: Outcome { latency: Some(latency), ..Outcome::default() },
                    ..run
                });
            }
        }
        collected
    }

    #[test]
    fn better_by_is_above_one_for_the_better_whichever_way_the_metric_points() {
        let figures = Figures::of(&collected(), Contest::Brokers);
        let line = |metric| figures.lines.iter().find(|line| line.workload.name == "produce-1k-1p" && line.metric == metric).unwrap();
        for metric in [Metric::CpuPerGb, Metric::Throughput] {
            let Ratio { value, interval, .. } = line(metric).better_by.unwrap();
            let (low, high) = interval.unwrap();
            assert!((value - 4.0).abs() < 1e-9 && low > 3.5 && high < 4.5, "{metric:?} {value} {low} {high}");
            assert_eq!(line(metric).verdict(), Verdict::Better);
        }
        let cpu = line(Metric::CpuPerGb);
        assert_eq!((cpu.floor, cpu.pairs, cpu.discarded), (Some(0.25), 5, 2));
        assert!((cpu.medians[0].unwrap() - 0.51).abs() < 1e-9, "the discarded pair is not in it");
    }

    #[test]
    fn one_arm_alone_has_medians_and_no_ratio() {
        let mut collected = collected();
        collected.arms.pop();
        collected.runs.retain(|run| run.arm == "ottla");
        let figures = Figures::of(&collected, Contest::Brokers);
        assert!(figures.lines[0].better_by.is_none() && figures.lines[0].medians == [Some(0.51)]);
        assert!(figures.sentence().starts_with("One broker"));
    }

    #[test]
    fn what_a_broker_could_not_do_stands_in_place_of_its_figures() {
        let mut collected = collected();
        let unable = |run: &mut Run, last: usize| {
            if run.workload == "open-loop-5000" && run.arm == "kafka" && run.pair <= last {
                run.unable = Some("not sustained: 4000 of 5000/s".into());
            }
        };
        collected.runs.iter_mut().for_each(|run| unable(run, 0));
        let p99 = |collected: &Collected| {
            Figures::of(collected, Contest::Brokers)
                .lines
                .into_iter()
                .find(|line| line.metric == Metric::P99 && line.workload.name == "open-loop-5000")
                .unwrap()
        };
        let once = p99(&collected);
        assert!(once.unable[1].is_none() && once.better_by.is_some() && once.pairs == 5, "one bad run in five is a bad run");
        collected.runs.iter_mut().for_each(|run| unable(run, 4));
        let never = p99(&collected);
        assert_eq!(never.cells().collect::<Vec<_>>(), ["300", "not sustained: 4000 of 5000/s"]);
        assert!(never.better_by.is_none());
    }

    #[test]
    fn what_compares_ottla_with_itself_has_arms_of_its_own() {
        let mut collected = collected();
        for arm in ["shard-listeners", "two-shards"] {
            collected.arms.push(ArmRow { arm: arm.into(), ..ArmRow::default() });
            let metrics = BTreeMap::from([(Metric::Messages, 1.0)]);
            collected.runs.push(Run {
                workload: "shard-listeners".into(),
                arm: arm.into(),
                command: "c".into(),
                metrics,
                ..Run::default()
            });
        }
        assert_eq!(Figures::of(&collected, Contest::Brokers).arms, ["ottla", "kafka"]);
        let listeners = Figures::of(&collected, Contest::Listeners);
        assert_eq!(listeners.arms, ["shard-listeners", "two-shards"]);
        assert!(listeners.lines.iter().all(|line| line.workload.name == "shard-listeners"));
    }

    #[test]
    fn three_digits_are_kept() {
        for (value, text) in
            [(0.0, "0.00"), (0.00321, "0.00321"), (0.5, "0.500"), (3.456, "3.46"), (45.67, "45.7"), (456.7, "457"), (12345.6, "12,346")]
        {
            assert_eq!(digits(value), text);
        }
        assert_eq!(digits(-1234.0), "-1,234");
    }
}
