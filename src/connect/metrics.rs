//! What a worker shows of its tasks: a page in Prometheus' text format, and a line for people.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::running::Counts;
use super::worker::{ConnectorView, TaskView};
use crate::metrics::text::{Kind, Text};

/// A counter of a task, the name and the help of its family.
type Family = (&'static str, &'static str, fn(&Counts) -> &AtomicU64);

const COUNTERS: &[Family] = &[
    ("ottla_connect_task_records_total", "Records acknowledged by the brokers (sources) or put (sinks).", |counts| &counts.records),
    ("ottla_connect_task_bytes_total", "Bytes of keys and values acknowledged by the brokers; sources only.", |counts| &counts.bytes),
    ("ottla_connect_task_filtered_total", "Records dropped by a transform.", |counts| &counts.filtered),
    ("ottla_connect_task_skipped_total", "Records left out as errors.tolerance allows.", |counts| &counts.skipped),
    ("ottla_connect_task_dead_letters_total", "Records sent to the dead letter queue.", |counts| &counts.dead_letters),
    ("ottla_connect_task_errors_total", "Records and calls that failed, whatever came of it.", |counts| &counts.errors),
    ("ottla_connect_task_retries_total", "Calls made again after a failure.", |counts| &counts.retries),
    ("ottla_connect_task_commits_total", "Offsets stored or committed.", |counts| &counts.commits),
    ("ottla_connect_task_commit_failures_total", "Offsets that could not be stored or committed.", |counts| &counts.commit_failures),
];

/// The whole page.
pub fn page(connectors: &[(String, ConnectorView)]) -> String {
    let mut text = Text::default();
    for (family, help, counter) in COUNTERS {
        text.family(family, Kind::Counter, help);
        each(connectors, |name, view, task| {
            put(&mut text, name, view, task, counter(&task.shared.counts).load(Ordering::Relaxed));
        });
    }
    text.family("ottla_connect_task_lag", Kind::Gauge, "What waits: records for a sink, bytes or messages for a source that knows.");
    each(connectors, |name, view, task| {
        if let Some(lag) = task.shared.counts.lag() {
            put(&mut text, name, view, task, lag);
        }
    });
    text.family("ottla_connect_task_state", Kind::Gauge, "Always 1; the label says what the task does.");
    each(connectors, |name, view, task| {
        let number = task.shared.number.to_string();
        text.sample(&[("connector", name), ("task", &number), ("type", view.kind), ("state", task.shared.state().0.word())], 1);
    });
    text.finish()
}

fn each(connectors: &[(String, ConnectorView)], mut show: impl FnMut(&str, &ConnectorView, &TaskView)) {
    for (name, view) in connectors {
        for task in &view.tasks {
            show(name, view, task);
        }
    }
}

fn put(text: &mut Text, name: &str, view: &ConnectorView, task: &TaskView, value: impl Display) {
    text.sample(&[("connector", name), ("task", &task.shared.number.to_string()), ("type", view.kind)], value);
}

/// A task's line: what it does, how fast, what waits, what went wrong. `records_before` were counted `since` ago.
pub fn line(view: &ConnectorView, task: &TaskView, records_before: u64, since: Duration) -> String {
    let counts = &task.shared.counts;
    let records = counts.records.load(Ordering::Relaxed);
    let rate = records.saturating_sub(records_before) as f64 / since.as_secs_f64().max(0.001);
    let lag = counts.lag().map_or_else(|| "?".to_owned(), |lag| lag.to_string());
    format!(
        "{} {} {}: {records} records, {rate:.1}/s, lag {lag}, {} errors",
        view.kind,
        task.shared.id(),
        task.shared.state().0.word(),
        counts.errors.load(Ordering::Relaxed)
    )
}
