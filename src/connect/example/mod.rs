//! The README's example of a connector, compiled and run by the tests, so that what is printed there works.

mod counter;

use std::sync::Arc;
use std::time::Duration;

use super::contract::{Config, Make, Plugin, SourceOffsets};
use super::convert::Converter;
use super::offsets::OffsetStore;
use super::settings::Converters;
use super::validate;

const PLUGIN: Plugin = Plugin { class: counter::CLASS, version: "1", keys: counter::KEYS, make: Make::Source(counter::source) };

const CONVERTERS: Converters = Converters { key: Converter::Bytes, value: Converter::Bytes, header: Converter::Bytes };

fn config(pairs: &[(&str, &str)]) -> Config {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn the_readme_prints_this_file() {
    let readme = include_str!("../../../README.md");
    let printed = format!("```rust\n{}```", include_str!("counter.rs"));
    assert!(readme.contains(&printed), "README.md is to print src/connect/example/counter.rs");
}

#[test]
fn the_work_is_split_among_tasks() {
    let asked = config(&[("name", "n"), ("connector.class", "CounterSource"), ("topic", "t"), ("counters", "5")]);
    let judged = serde_json::to_value(validate::judge("CounterSource", &PLUGIN, &asked, &CONVERTERS)).unwrap();
    assert_eq!(judged["error_count"], 0, "{judged}");
    let tasks = counter::source().task_configs(&asked, 2).unwrap();
    let mine: Vec<&str> = tasks.iter().map(|task| task["mine"].as_str()).collect();
    assert_eq!(mine, ["0,2,4", "1,3"]);
    assert_eq!(counter::source().task_configs(&config(&[("topic", "t")]), 9).unwrap().len(), 4);
}

#[test]
fn a_counter_goes_on_where_it_stood() {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(OffsetStore::open(&dir.path().join("offsets")).unwrap());
    let run = |polls: usize| {
        let mut task = counter::source().task();
        task.start(&config(&[("topic", "t"), ("mine", "a,b")]), &SourceOffsets::new("n", store.clone())).unwrap();
        let mut texts = Vec::new();
        for _ in 0..polls {
            for record in task.poll(Duration::ZERO).unwrap() {
                store.set("n", record.source_partition, Some(record.source_offset));
                texts.push(super::java_text::text(&record.record.value));
            }
        }
        texts
    };
    assert_eq!(run(2), ["0", "0", "1", "1"]);
    assert_eq!(run(1), ["2", "2"]);
}
