//! A properties file, from its bytes to the broker's settings, to a topic's, and to what DescribeConfigs says of both.
//!
//! ```text
//!   0 flags: bit 0, its entries are a topic's overrides; bit 1, set on the running cluster | 1.. the file
//! ```

use std::collections::BTreeMap;

use ottla::config::broker::{Target as Whom, validate_broker_configs};
use ottla::config::{BrokerSettings, Environment, Properties, TopicSettings, describe, topic};

use crate::Target;

/// Every property with its text, several times over, and the rest by the file's length.
pub const TARGET: Target = Target { name: "settings", run, seeds, held_max: 4 << 20, held_per_byte: 1024 };

fn environment() -> Environment {
    Environment { cores: 2, host_names: vec!["host".to_owned()] }
}

fn run(input: &[u8]) {
    let [flags, file @ ..] = input else { return };
    let Ok(properties) = Properties::parse("server.properties", file) else { return };
    let texts: BTreeMap<String, String> = properties.entries.iter().map(|(key, entry)| (key.clone(), entry.value.clone())).collect();
    match flags & 3 {
        1 => overrides_of_a_topic(&texts),
        2 => changes(&texts),
        _ => start(properties),
    }
}

fn start(properties: Properties) {
    if let Ok(resolved) = BrokerSettings::resolve(Some(properties), &[], &environment()) {
        let none = BTreeMap::new();
        let layers = describe::Layers::new(&resolved.settings, &none, &none);
        let _ = describe::broker(&layers);
        let of_a_topic = TopicSettings::resolve(&none, &resolved.settings);
        assert!(of_a_topic.is_ok(), "a broker that starts has defaults for topics: {of_a_topic:?}");
    }
}

fn defaults() -> BrokerSettings {
    BrokerSettings::resolve(None, &[], &environment()).expect("no file at all starts").settings
}

fn overrides_of_a_topic(overrides: &BTreeMap<String, String>) {
    let settings = defaults();
    let accepted = topic::validate_topic_configs(overrides, &settings).is_ok();
    let resolved = TopicSettings::resolve(overrides, &settings);
    assert!(!accepted || resolved.is_ok(), "accepted, and then not usable: {resolved:?}");
    let none = BTreeMap::new();
    let _ = describe::topic(overrides, &settings, &describe::Layers::new(&settings, &none, &none));
}

fn changes(changed: &BTreeMap<String, String>) {
    let settings = defaults();
    for whom in [Whom::OneBroker, Whom::AllBrokers] {
        let _ = validate_broker_configs(changed, whom);
    }
    let none = BTreeMap::new();
    let (with, _) = settings.with_running(changed, &none);
    let (again, _) = settings.with_running(&none, changed);
    let _ = (describe::broker(&describe::Layers::new(&with, &none, changed)), describe::all_brokers(changed));
    assert!(TopicSettings::resolve(&none, &again).is_ok());
}

fn seeds() -> Vec<Vec<u8>> {
    let broker = "# a broker\nnode.id=1\nlisteners=PLAINTEXT://:9092,INSIDE://127.0.0.1:9093\n\
                  advertised.listeners=PLAINTEXT://broker:9092\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,INSIDE:PLAINTEXT\n\
                  inter.broker.listener.name=INSIDE\nlog.dirs=/data/a,/data/b\nnum.partitions=3\nlog.retention.hours=168\n\
                  log.segment.bytes=1073741824\nottla.shards=2\ncompression.type = zstd\nlog.cleanup.policy: compact, \\\n   delete\n";
    let controller = "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@localhost:9093\n\
                      listeners=PLAINTEXT://:9092,CONTROLLER://:9093\ncontroller.listener.names=CONTROLLER\n";
    let topic = "cleanup.policy=compact\nretention.ms=-1\nsegment.bytes=1048576\nmessage.timestamp.type=LogAppendTime\n\
                 compression.type=gzip\ncompression.gzip.level=9\nmin.compaction.lag.ms=5\nmax.compaction.lag.ms=7\n";
    let running = "log.retention.ms=1000\nmessage.max.bytes=2000\nlistener.name.inside.ssl.key.password=x\nmax.connections=5\n";
    let odd = "a\\=b\\ c = \\u00e9\\t\nk=\\ud83d\\ude00\n! comment\r\nlast=\\";
    let mut seeds: Vec<Vec<u8>> = [(0, broker), (0, controller), (1, topic), (2, running), (0, odd), (2, broker)]
        .into_iter()
        .map(|(flags, file): (u8, &str)| [&[flags][..], file.as_bytes()].concat())
        .collect();
    // Every property that there is, at its default.
    let rows: String =
        ottla::config::table::broker_rows().map(|row| format!("{}={}\n", row.name, row.default.unwrap_or_default())).collect();
    for chunk in rows.lines().collect::<Vec<_>>().chunks(12) {
        for flags in [0, 1, 2] {
            seeds.push([&[flags][..], chunk.join("\n").as_bytes()].concat());
        }
    }
    seeds
}
