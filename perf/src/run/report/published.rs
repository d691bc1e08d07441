//! `table.md`: the figures and all that a reader needs to judge them, to be pasted into a page.

use super::figures::{Figures, cell, ratio};
use crate::run::record::{ArmRow, Collected};
use crate::run::workloads::Metric;

/// Settings that differ from one session to the next and bear on nothing.
const PASSING: [&str; 6] =
    ["listeners", "advertised.listeners", "log.dirs", "metadata.log.dir", "controller.quorum.bootstrap.servers", "ottla.metrics.listener"];

pub fn table(collected: &Collected, figures: &Figures, listeners: &Figures) -> String {
    let mut text = String::new();
    rows(&mut text, collected, figures);
    if !listeners.lines.is_empty() {
        text.push_str("\nOttla beside itself, with a port for each shard and without:\n\n");
        rows(&mut text, collected, listeners);
    }
    text.push('\n');
    text.push_str(&conditions(collected));
    for arm in &collected.arms {
        text.push_str(&settings(arm));
    }
    text
}

fn rows(text: &mut String, collected: &Collected, figures: &Figures) {
    let names: Vec<&str> = figures.arms.iter().map(|name| shown(collected, name)).collect();
    text.push_str(&format!("| workload | | floor | {} | better by |\n", names.join(" | ")));
    text.push_str(&format!("|---|---|---:|{}---:|\n", "---:|".repeat(names.len())));
    let mut last = "";
    for figure in &figures.lines {
        let sentence = if figure.workload.name == last { "" } else { figure.workload.sentence };
        last = figure.workload.name;
        let cells: Vec<String> = figure.cells().collect();
        let (floor, better) = (cell(figure.floor), ratio(figure.better_by));
        text.push_str(&format!("| {sentence} | {} | {floor} | {} | {better} |\n", figure.metric.label(), cells.join(" | ")));
    }
}

/// The version of a broker that stands for itself, the name of one that is held against its own kind.
fn shown<'a>(collected: &'a Collected, name: &'a str) -> &'a str {
    let arm = collected.arms.iter().find(|arm| arm.arm == name).filter(|_| ["ottla", "kafka", "broker"].contains(&name));
    arm.map_or(name, |arm| &arm.version)
}

fn conditions(collected: &Collected) -> String {
    let fact = |name: &str| collected.machine.rows.get(name).map_or("unknown", String::as_str);
    let kernel = fact("kernel").split_whitespace().nth(2).unwrap_or("unknown");
    let facts = [
        fact("date").to_owned(),
        format!("Linux {kernel}"),
        fact("filesystem of the data").to_owned(),
        fact("processor").to_owned(),
        format!("{} of memory", fact("memory")),
        format!("dirty limit {}", fact("dirty limit")),
        format!("congestion control {}", fact("/proc/sys/net/ipv4/tcp_congestion_control")),
        format!("load generator against a broker that stores nothing {} GB/s", cell(collected.floor("generator", Metric::Throughput))),
        format!("huge pages {}", fact("/sys/kernel/mm/transparent_hugepage/enabled")),
        format!(
            "medians of {} pairs or fewer{}",
            collected.session.pairs,
            if collected.session.quick { ", short runs (--quick)" } else { "" }
        ),
        format!("discarded were runs by: {}", collected.session.rules.join("; ")),
    ];
    format!("{}.\n{}\n", facts.join(", "), collected.machine.notes.iter().map(|note| format!("- {note}\n")).collect::<String>())
}

fn settings(arm: &ArmRow) -> String {
    let set = arm.settings.iter().filter(|(key, _)| !PASSING.contains(&key.as_str()));
    let set: Vec<String> = set.map(|(key, value)| format!("`{key}={value}`")).collect();
    let notes: String = arm.notes.iter().map(|note| format!("{note}; ")).collect();
    format!("- {} ({}): {notes}{}; everything else its defaults\n", arm.arm, arm.version, set.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::collected;
    use super::*;
    use crate::run::workloads::Contest;

    #[test]
    fn a_pasted_table_says_where_and_with_what_it_was_measured() {
        let mut collected = collected();
        collected.machine.rows.insert("kernel".into(), "Linux version 6.18.44 (builder)".into());
        collected.machine.rows.insert("date".into(), "2026-11-28".into());
        collected.arms[1].settings.insert("log.dirs".into(), "/d".into());
        collected.arms[1].settings.insert("node.id".into(), "1".into());
        let table = table(&collected, &Figures::of(&collected, Contest::Brokers), &Figures::of(&collected, Contest::Listeners));
        assert!(
            table.starts_with("| workload | | floor | ottla 1 <&> | kafka 1 <&> | better by |\n|---|---|---:|---:|---:|---:|\n"),
            "{table}"
        );
        assert!(
            table.contains("| 1 KiB records in 64 KiB batches to one partition | broker cpu-s/GB | 0.250 | 0.510 | 2.04 | 4.00 x ["),
            "{table}"
        );
        assert!(table.contains("\n2026-11-28, Linux 6.18.44, "), "{table}");
        assert!(table.contains("- kafka (kafka 1 <&>): `node.id=1`; everything else its defaults\n") && !table.contains("/d"), "{table}");
    }
}
