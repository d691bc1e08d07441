use super::*;
use crate::config::listeners::{Advertised, Listener};
use crate::config::settings::{AppendPath, InternalReplication};
use crate::types::NodeId;

/// What Kafka 4.3.1 ships, less its comments.
const SHIPPED: &str = "\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

fn environment() -> Environment {
    Environment { cores: 2, host_names: vec!["box.example".to_owned()] }
}

fn resolve_file(text: &str) -> Result<Resolved, Refusal> {
    let file = Properties::parse("server.properties", text.as_bytes()).unwrap();
    BrokerSettings::resolve(Some(file), &[], &environment())
}

fn resolve(pairs: &[(&str, &str)]) -> Result<Resolved, Refusal> {
    let overrides: Vec<_> = pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    BrokerSettings::resolve(None, &overrides, &environment())
}

fn settings(pairs: &[(&str, &str)]) -> BrokerSettings {
    resolve(pairs).unwrap_or_else(|refusal| panic!("{pairs:?}: {refusal}")).settings
}

fn refusal(pairs: &[(&str, &str)]) -> String {
    resolve(pairs).map(|_| ()).expect_err(&format!("{pairs:?} must be refused")).to_string()
}

#[test]
fn nothing_at_all_starts_on_the_loopback_address() {
    let resolved = BrokerSettings::resolve(None, &[], &environment()).unwrap();
    assert_eq!((resolved.warnings, resolved.notes), (vec![], vec![]));
    let settings = resolved.settings;
    assert_eq!(settings.node.id, NodeId(1));
    let listeners = &settings.network.listeners;
    assert_eq!(listeners.open, [Listener { name: "PLAINTEXT".into(), host: Some("127.0.0.1".into()), port: 9092 }]);
    assert_eq!(listeners.advertised, [Advertised { name: "PLAINTEXT".into(), host: "127.0.0.1".into(), port: 9092 }]);
    assert_eq!(listeners.inter_broker, "PLAINTEXT");
    assert_eq!(settings.storage.directories, [std::path::PathBuf::from("ottla-data")]);
    assert_eq!(settings.storage.append_path, AppendPath::Auto);
    assert_eq!(settings.storage.flush_check_interval_ms, None);
    assert_eq!(settings.storage.cleaner.io_bytes_per_second_max, None);
    assert_eq!(settings.shards.count, 2);
    assert_eq!(settings.offsets.replication, InternalReplication::UpTo(3));
    assert_eq!(settings.offsets.retention_ms, 7 * 24 * 3_600_000);
    assert_eq!(settings.topics.defaults.retention_ms, Some(604_800_000));
    assert_eq!(settings.topics.defaults.segment_bytes, 1 << 30);
    assert!(settings.given.is_empty());
}

#[test]
fn the_file_that_ships_with_kafka_starts() {
    let Resolved { settings, warnings, notes } = resolve_file(SHIPPED).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(
        notes,
        [
            "known and without effect here: num.io.threads, num.network.threads, num.recovery.threads.per.data.dir, \
             share.coordinator.state.topic.min.isr, share.coordinator.state.topic.replication.factor, transaction.state.log.min.isr, \
             transaction.state.log.replication.factor",
            "metadata is kept by this process itself: the listener CONTROLLER://:9093, \
             controller.quorum.bootstrap.servers=localhost:9093 is not used",
        ]
    );
    let listeners = &settings.network.listeners;
    assert_eq!(listeners.open, [Listener { name: "PLAINTEXT".into(), host: None, port: 9092 }]);
    assert_eq!(listeners.advertised, [Advertised { name: "PLAINTEXT".into(), host: "localhost".into(), port: 9092 }]);
    assert_eq!(listeners.controller, [Listener { name: "CONTROLLER".into(), host: None, port: 9093 }]);
    assert_eq!(settings.network.send_buffer_bytes, Some(102_400));
    assert_eq!(settings.storage.directories, [std::path::PathBuf::from("/tmp/kraft-combined-logs")]);
    assert_eq!(settings.offsets.replication, InternalReplication::Exactly(1));
}
