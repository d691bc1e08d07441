//! `report.html`: one page, nothing loaded from elsewhere.

use super::chart::{self, Axis, Bar, Series, escape};
use super::figures::{Figure, Figures, Verdict, beside, cell, digits, ratio};
use crate::run::record::{Collected, Run};
use crate::run::statistics::median;
use crate::run::workloads::{Metric, TABLE, Workload};

const STYLE: &str = include_str!("style.css");
/// Longer runs are drawn minute by minute.
const MINUTES_FROM: usize = 180;

pub fn title(collected: &Collected) -> String {
    let names: Vec<&str> = collected.arms.iter().map(|arm| arm.version.as_str()).collect();
    format!("Measured: {}", if names.is_empty() { "nothing".into() } else { names.join(" beside ") })
}

/// Text in pieces.
#[derive(Default)]
struct Page(String);

impl Page {
    fn add(&mut self, text: impl AsRef<str>) {
        self.0.push_str(text.as_ref());
        self.0.push('\n');
    }

    fn row(&mut self, tag: &str, first: &[&str], rest: &[String]) {
        self.0.push_str("<tr>");
        for text in first {
            self.0.push_str(&format!("<{tag} class=\"text\">{text}</{tag}>"));
        }
        for text in rest {
            self.0.push_str(&format!("<{tag}>{text}</{tag}>"));
        }
        self.add("</tr>");
    }
}

pub fn page(collected: &Collected, figures: &Figures, listeners: &Figures) -> String {
    let mut page = Page::default();
    let title = escape(&title(collected));
    page.add(format!("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>"));
    page.add(format!("<meta name=\"viewport\" content=\"width=device-width\"><style>{STYLE}</style></head><body><h1>{title}</h1>"));
    let fact = |name: &str| collected.machine.rows.get(name).map_or(String::new(), |value| escape(value));
    page.add(format!(
        "<p class=\"soft\">{} · {} · {} · {}</p>",
        fact("date"),
        fact("processor"),
        fact("memory"),
        fact("filesystem of the data")
    ));
    page.add(format!("<p>{}</p>", escape(&figures.sentence())));
    key(&mut page, figures);
    page.add("<h2>Figures</h2><p class=\"soft\">Medians. Above 1 x the first broker is better, whichever way the metric points; in brackets the 95 % interval of a bootstrap over pairs; in parentheses, of two or three pairs, the least and the most.</p>");
    table(&mut page, figures);
    if !listeners.lines.is_empty() {
        page.add("<h2>A port for each shard</h2><p class=\"soft\">Ottla beside itself: with <code>ottla.shard.listeners</code>, and without.</p>");
        table(&mut page, listeners);
    }
    cpu_chart(&mut page, figures);
    charts(&mut page, collected);
    floors(&mut page, collected);
    beside_table(&mut page, collected);
    discarded(&mut page, collected);
    settings(&mut page, collected);
    page.add("<p class=\"soft\">Every run, with its settings, is a line of <a href=\"runs.jsonl\">runs.jsonl</a>.</p></body></html>");
    page.0
}

fn key(page: &mut Page, figures: &Figures) {
    let names = figures.arms.iter().map(|arm| format!("<span><i class=\"{0}\"></i>{0}</span>", escape(arm))).collect::<String>();
    page.add(format!("<p class=\"key\">{names}<span><i class=\"floor\"></i>floor: the bare work without a broker</span></p>"));
}

fn table(page: &mut Page, figures: &Figures) {
    page.add("<div class=\"scroll\"><table>");
    let mut head = vec!["floor".to_owned()];
    head.extend(figures.arms.iter().map(|arm| escape(arm)));
    head.extend(["better by", "pairs", "runs discarded"].map(String::from));
    page.row("th", &["metric"], &head);
    let mut last = "";
    for figure in &figures.lines {
        if figure.workload.name != last {
            last = figure.workload.name;
            let columns = head.len() + 1;
            page.add(format!(
                "<tr><td class=\"sentence\" colspan=\"{columns}\"><b>{last}</b> {}</td></tr>",
                escape(figure.workload.sentence)
            ));
        }
        let mut cells = vec![cell(figure.floor)];
        cells.extend(figure.cells().map(|cell| escape(&cell)));
        let class = match figure.verdict() {
            Verdict::Better => "better",
            Verdict::Worse => "worse",
            Verdict::Undecided | Verdict::None => "undecided",
        };
        cells.push(format!("<span class=\"{class}\">{}</span>", ratio(figure.better_by)));
        cells.extend([figure.pairs.to_string(), figure.discarded.to_string()]);
        page.row("td", &[figure.metric.label()], &cells);
    }
    page.add("</table></div>");
}

/// Processor time of a gigabyte, of every workload that has it.
fn cpu_chart(page: &mut Page, figures: &Figures) {
    let group = |figure: &Figure| {
        let bar = |class: &str, value: Option<f64>| value.map(|value| Bar { class: class.into(), value });
        let arms = figures.arms.iter().zip(&figure.medians).filter_map(|(arm, value)| bar(arm, *value));
        (figure.workload.name.to_owned(), bar("floor", figure.floor).into_iter().chain(arms).collect::<Vec<_>>())
    };
    for (metric, caption) in [(Metric::CpuPerGb, "Processor time of a gigabyte"), (Metric::CpuPerRequest, "Processor time of a request")] {
        let groups: Vec<_> =
            figures.lines.iter().filter(|line| line.metric == metric).map(group).filter(|(_, bars)| !bars.is_empty()).collect();
        if !groups.is_empty() {
            page.add(format!("<h2>{caption}</h2><figure>{}</figure>", chart::bars(caption, metric.label(), &groups)));
        }
    }
}

fn charts(page: &mut Page, collected: &Collected) {
    let arms: Vec<String> = collected.arms.iter().map(|arm| arm.arm.clone()).collect();
    let drawn = |draw: &dyn Fn(&Workload, &[&Run]) -> Option<String>| {
        let each = TABLE.iter().filter_map(|workload| {
            let runs: Vec<&Run> = collected.runs.iter().filter(|run| run.workload == workload.name && run.discarded.is_none()).collect();
            draw(workload, &runs).map(|svg| format!("<figure><figcaption>{}</figcaption>{svg}</figure>", workload.name))
        });
        each.collect::<String>()
    };
    let sections = [
        ("Latency", drawn(&|workload, runs| latency_chart(workload, runs, &arms))),
        ("Throughput over time", drawn(&|workload, runs| time_chart(workload, runs, &arms))),
        ("p99 minute by minute", drawn(&|workload, runs| minutes_chart(workload, runs, &arms))),
    ];
    for (heading, figures) in sections.into_iter().filter(|(_, figures)| !figures.is_empty()) {
        page.add(format!("<h2>{heading}</h2><p class=\"soft\">Thick: the run in the middle. Thin: the others that count.</p><div class=\"charts\">{figures}</div>"));
    }
}

/// A line for each run, that of the middle run of each arm thick.
fn series(runs: &[&Run], arms: &[String], rank: impl Fn(&Run) -> f64, points: impl Fn(&Run) -> Vec<(f64, f64)>) -> Vec<Series> {
    let mut all = Vec::new();
    for arm in arms {
        let mut own: Vec<&&Run> = runs.iter().filter(|run| run.arm == *arm && !points(run).is_empty()).collect();
        own.sort_by(|a, b| rank(a).total_cmp(&rank(b)));
        let middle = own.len().saturating_sub(1) / 2;
        all.extend(own.iter().enumerate().map(|(at, run)| Series { class: arm.clone(), points: points(run), faint: at != middle }));
    }
    all
}

fn latency_chart(workload: &Workload, runs: &[&Run], arms: &[String]) -> Option<String> {
    if !workload.metrics.contains(&Metric::P99) {
        return None;
    }
    let points = |run: &Run| {
        let curve = run.outcome.latency.iter().flat_map(|latency| &latency.curve);
        curve.map(|(percentile, us)| (chart::nines(*percentile), (*us).max(1) as f64)).collect::<Vec<_>>()
    };
    let rank = |run: &Run| run.outcome.latency.as_ref().map_or(0.0, |latency| latency.p99 as f64);
    let series = series(runs, arms, rank, points);
    let (low, high) =
        series.iter().flat_map(|one| &one.points).fold((f64::MAX, 0.0_f64), |(low, high), (_, us)| (low.min(*us), high.max(*us)));
    let y = Axis::logarithmic("microseconds", low, high);
    (!series.is_empty()).then(|| chart::lines(workload.name, &Axis::nines(), &y, &series))
}

fn time_chart(workload: &Workload, runs: &[&Run], arms: &[String]) -> Option<String> {
    if !workload.metrics.contains(&Metric::Throughput) {
        return None;
    }
    let points = |run: &Run| {
        let seconds = run.outcome.per_second.iter().enumerate();
        seconds.map(|(second, slice)| (second as f64, slice.bytes as f64 / 1e9)).collect::<Vec<_>>()
    };
    let rank = |run: &Run| run.metrics.get(&Metric::Throughput).copied().unwrap_or(0.0);
    // A run that ended within two seconds has no course.
    let series: Vec<Series> = series(runs, arms, rank, points).into_iter().filter(|one| one.points.len() > 2).collect();
    drawn_over_time(workload, "GB/s", "second", &series)
}

fn minutes_chart(workload: &Workload, runs: &[&Run], arms: &[String]) -> Option<String> {
    let points = |run: &Run| {
        let seconds = &run.outcome.per_second;
        if seconds.len() < MINUTES_FROM {
            return Vec::new();
        }
        let worst = |minute: &[crate::outcome::Second]| {
            let each: Vec<f64> = minute.iter().map(|second| second.p99_us as f64).collect();
            median(&each).unwrap_or(0.0)
        };
        seconds.chunks(60).enumerate().map(|(minute, slice)| (minute as f64, worst(slice))).collect()
    };
    let series = series(runs, arms, |run| run.outcome.seconds, points);
    drawn_over_time(workload, "p99 us, median of a minute's seconds", "minute", &series)
}

fn drawn_over_time(workload: &Workload, what: &'static str, unit: &'static str, series: &[Series]) -> Option<String> {
    let (last, high) =
        series.iter().flat_map(|one| &one.points).fold((0.0_f64, 0.0_f64), |(last, high), (at, value)| (last.max(*at), high.max(*value)));
    (!series.is_empty()).then(|| chart::lines(workload.name, &Axis::linear(unit, last), &Axis::linear(what, high), series))
}

fn floors(page: &mut Page, collected: &Collected) {
    page.add("<h2>Floors of this machine, in this session</h2><div class=\"scroll\"><table>");
    for floor in &collected.floors {
        let figures: Vec<String> =
            floor.metrics.iter().map(|(metric, value)| format!("{} {}", digits(*value), metric.label().replace("broker ", ""))).collect();
        page.row("td", &[&floor.name, &escape(&floor.sentence), &figures.join(", ")], &[]);
    }
    page.add("</table></div>");
}

fn beside_table(page: &mut Page, collected: &Collected) {
    page.add(
        "<h2>Beside the metrics</h2><p class=\"soft\">Medians; cores are processor seconds a second.</p><div class=\"scroll\"><table>",
    );
    let head = ["broker cores", "machine cores", "generator cores", "context switches/s", "resident MiB", "late sends", "errors"]
        .map(String::from);
    page.row("th", &["workload", "broker"], &head);
    for row in beside(collected) {
        let cells = [row.broker_cores, row.machine_cores, row.generator_cores, row.switches_per_second, row.resident_mib].map(cell);
        let counts = [row.late.to_string(), row.errors.to_string()];
        page.row("td", &[row.workload, &escape(&row.arm)], &[cells.as_slice(), counts.as_slice()].concat());
    }
    page.add("</table></div>");
}

fn discarded(page: &mut Page, collected: &Collected) {
    page.add(format!(
        "<h2>Discarded runs</h2><p class=\"soft\">Rules, fixed beforehand: {}.</p><ul>",
        escape(&collected.session.rules.join("; "))
    ));
    for run in &collected.runs {
        if let Some(why) = &run.discarded {
            page.add(format!("<li>{} pair {}, {}: {}</li>", escape(&run.workload), run.pair + 1, escape(&run.arm), escape(why)));
        }
    }
    page.add("</ul>");
    if collected.runs.iter().all(|run| run.discarded.is_none()) {
        page.add("<p>None.</p>");
    }
}

fn settings(page: &mut Page, collected: &Collected) {
    page.add(format!(
        "<h2>Settings</h2><p><code>{}</code></p><details open><summary>Machine</summary><ul>",
        escape(&collected.session.command)
    ));
    for note in &collected.machine.notes {
        page.add(format!("<li>{}</li>", escape(note)));
    }
    for (name, value) in &collected.machine.rows {
        page.add(format!("<li>{}: {}</li>", escape(name), escape(value)));
    }
    page.add("</ul></details>");
    for arm in &collected.arms {
        page.add(format!(
            "<details><summary>{}: {}</summary><p><code>{}</code></p><ul>",
            escape(&arm.arm),
            escape(&arm.version),
            escape(&arm.command)
        ));
        for note in &arm.notes {
            page.add(format!("<li>{}</li>", escape(note)));
        }
        for (name, value) in &arm.settings {
            page.add(format!("<li><code>{}={}</code></li>", escape(name), escape(value)));
        }
        page.add("<li>everything else: its defaults</li></ul></details>");
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::collected;
    use super::*;
    use crate::run::workloads::Contest;

    #[test]
    fn the_page_is_whole_and_escapes_what_it_was_told() {
        let collected = collected();
        let page = page(&collected, &Figures::of(&collected, Contest::Brokers), &Figures::of(&collected, Contest::Listeners));
        for tag in ["table", "svg", "figure", "div", "ul", "details", "tr"] {
            let opened = page.matches(&format!("<{tag} ")).count() + page.matches(&format!("<{tag}>")).count();
            assert!(opened > 0 && opened == page.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        assert!(page.contains("ottla 1 &lt;&amp;&gt;") && !page.contains("<&"));
        assert!(!page.contains("NaN") && !page.contains("http"), "nothing is loaded from elsewhere");
        // One latency picture, one over time, one of bars.
        assert_eq!(page.matches("<svg").count(), 3);
        assert_eq!(page.matches("line kafka\"").count(), 2, "one thick line of each picture");
    }

    #[test]
    fn an_empty_session_still_has_a_page() {
        let collected = Collected::default();
        let nothing = || Figures::of(&collected, Contest::Brokers);
        assert!(page(&collected, &nothing(), &nothing()).contains("None."));
    }
}
