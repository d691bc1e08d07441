use std::time::Duration;

use crate::connect::contract::{Config, SourceConnector, SourceOffsets, SourceTask, TaskError};
use crate::connect::record::{JsonMap, Record, SourceRecord};
use crate::connect::{Checked, Fallback, Key, KeyKind, Rule};

pub const CLASS: &str = "my.CounterSourceConnector"; // known as CounterSource, too
pub const KEYS: &[Key] = &[
    Key::new("topic", KeyKind::String, Fallback::Required, "HIGH", "Where the numbers go."),
    Key::new("counters", KeyKind::Int, Fallback::Value("4"), "LOW", "How many.").rule(Rule::AtLeast(1)),
];

pub fn source() -> Box<dyn SourceConnector> {
    Box::new(Counters)
}

struct Counters;

impl SourceConnector for Counters {
    // The work, split: each task gets some of the counters.
    fn task_configs(&mut self, config: &Config, tasks_max: usize) -> Result<Vec<Config>, TaskError> {
        let all = Checked::new(KEYS, config).map_err(TaskError::Failed)?.number("counters") as usize;
        let tasks = all.min(tasks_max);
        let share = |task: usize| (task..all).step_by(tasks).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
        Ok((0..tasks).map(|task| Config::from([("topic".into(), config["topic"].clone()), ("mine".into(), share(task))])).collect())
    }

    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(Task { topic: String::new(), counters: Vec::new() })
    }
}

struct Task {
    topic: String,
    counters: Vec<(JsonMap, i64)>,
}

fn map(key: &str, value: impl Into<serde_json::Value>) -> JsonMap {
    [(key.to_owned(), value.into())].into_iter().collect()
}

impl SourceTask for Task {
    fn start(&mut self, config: &Config, offsets: &SourceOffsets) -> Result<(), TaskError> {
        self.topic = config["topic"].clone();
        for counter in config["mine"].split(',').map(|name| map("counter", name)) {
            let stored = offsets.of(&counter); // where an earlier run stood
            self.counters.push((counter, stored.and_then(|offset| offset["next"].as_i64()).unwrap_or(0)));
        }
        Ok(())
    }

    fn poll(&mut self, within: Duration) -> Result<Vec<SourceRecord>, TaskError> {
        std::thread::sleep(within);
        let next = |(counter, next): &mut (JsonMap, i64)| {
            *next += 1;
            let record = Record::of_text(&self.topic, (*next - 1).to_string(), None);
            SourceRecord { record, source_partition: counter.clone(), source_offset: map("next", *next) }
        };
        Ok(self.counters.iter_mut().map(next).collect())
    }
}
