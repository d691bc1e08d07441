//! `report.md`.

use super::figures::{Figures, beside, cell, ratio};
use crate::run::record::Collected;

pub fn page(collected: &Collected, figures: &Figures, listeners: &Figures) -> String {
    let mut text = String::new();
    let arms: Vec<String> = collected.arms.iter().map(|arm| format!("{} ({})", arm.arm, arm.version)).collect();
    let mut line = |row: String| {
        text.push_str(&row);
        text.push('\n');
    };
    line(format!("# {}\n", super::html::title(collected)));
    line(format!("{}, {}.\n", arms.join(" and "), collected.machine.rows.get("date").map_or("", String::as_str)));
    line(format!("{}\n", figures.sentence()));
    line("Above 1 x, the first broker is better, whichever way the metric points; in brackets the 95 % interval of a bootstrap over pairs; in parentheses, of two or three pairs, the least and the most.\n".into());
    table(figures, &mut line);
    if !listeners.lines.is_empty() {
        line("\n## A port for each shard\n\nOttla beside itself: with `ottla.shard.listeners`, and without.\n".into());
        table(listeners, &mut line);
    }
    floors(collected, &mut line);
    beside_rows(collected, &mut line);
    discarded(collected, &mut line);
    settings(collected, &mut line);
    text
}

fn table(figures: &Figures, line: &mut impl FnMut(String)) {
    let names = figures.arms.join(" | ");
    let bars = "---:|".repeat(figures.arms.len());
    line(format!("| workload | metric | floor | {names} | better by | pairs | runs discarded |"));
    line(format!("|---|---|---:|{bars}---:|---:|---:|"));
    for figure in &figures.lines {
        let medians: Vec<String> = figure.cells().collect();
        line(format!(
            "| {} | {} | {} | {} | {} | {} | {} |",
            figure.workload.name,
            figure.metric.label(),
            cell(figure.floor),
            medians.join(" | "),
            ratio(figure.better_by),
            figure.pairs,
            figure.discarded
        ));
    }
}

fn floors(collected: &Collected, line: &mut impl FnMut(String)) {
    line("\n## Floors\n\n| floor | what | figures |\n|---|---|---|".into());
    for floor in &collected.floors {
        let figures: Vec<String> =
            floor.metrics.iter().map(|(metric, value)| format!("{} {}", cell(Some(*value)), metric.label())).collect();
        line(format!("| {} | {} | {} |", floor.name, floor.sentence, figures.join(", ").replace("broker cpu", "cpu")));
    }
}

fn beside_rows(collected: &Collected, line: &mut impl FnMut(String)) {
    line("\n## Beside the metrics\n\nMedians; cores are processor seconds a second.\n".into());
    line(
        "| workload | broker | broker cores | machine cores | generator cores | context switches/s | resident MiB | late sends | errors |"
            .into(),
    );
    line("|---|---|---:|---:|---:|---:|---:|---:|---:|".into());
    for row in beside(collected) {
        line(format!(
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} |",
            row.workload,
            row.arm,
            cell(row.broker_cores),
            cell(row.machine_cores),
            cell(row.generator_cores),
            cell(row.switches_per_second),
            cell(row.resident_mib),
            row.late,
            row.errors
        ));
    }
}

fn discarded(collected: &Collected, line: &mut impl FnMut(String)) {
    line(format!("\n## Discarded runs\n\nRules, fixed beforehand: {}.\n", collected.session.rules.join("; ")));
    let mut any = false;
    for run in &collected.runs {
        if let Some(why) = &run.discarded {
            any = true;
            line(format!("- {} pair {}, {}: {why}", run.workload, run.pair + 1, run.arm));
        }
    }
    if !any {
        line("None.".into());
    }
}

fn settings(collected: &Collected, line: &mut impl FnMut(String)) {
    line("\n## Settings\n".into());
    line(format!("`{}`\n", collected.session.command));
    for note in &collected.machine.notes {
        line(format!("- {note}"));
    }
    for (name, value) in &collected.machine.rows {
        line(format!("- {name}: {value}"));
    }
    for arm in &collected.arms {
        line(format!("\n### {}: {}\n\n`{}`\n", arm.arm, arm.version, arm.command));
        for note in &arm.notes {
            line(format!("- {note}"));
        }
        for (name, value) in &arm.settings {
            line(format!("- `{name}={value}`"));
        }
        line("- everything else: its defaults".into());
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::collected;
    use super::*;
    use crate::run::workloads::Contest;

    #[test]
    fn every_line_of_the_table_has_as_many_cells_as_its_head() {
        let collected = collected();
        let text = page(&collected, &Figures::of(&collected, Contest::Brokers), &Figures::of(&collected, Contest::Listeners));
        let table: Vec<usize> = text
            .lines()
            .skip_while(|line| !line.starts_with("| workload"))
            .take_while(|line| line.starts_with('|'))
            .map(|line| line.matches('|').count())
            .collect();
        assert!(table.len() > 4 && table.iter().all(|count| *count == table[0]), "{table:?}");
        assert!(text.contains("| produce-1k-1p | broker cpu-s/GB | 0.250 | 0.510 | 2.04 | 4.00 x ["), "{text}");
        assert!(text.contains("- produce-1k-1p pair 6, kafka: stolen"));
    }
}
