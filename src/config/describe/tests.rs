use super::*;
use crate::config::broker::Environment;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// The values under which Kafka 4.3.1 gave the answers below.
struct Cluster {
    started: BrokerSettings,
    running: BrokerSettings,
    broker: BTreeMap<String, String>,
    all_brokers: BTreeMap<String, String>,
}

fn cluster(given: &[(&str, &str)], all_brokers: &[(&str, &str)], broker: &[(&str, &str)]) -> Cluster {
    let given: Vec<_> = given.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let started = BrokerSettings::resolve(None, &given, &Environment { cores: 1, host_names: vec![] }).unwrap().settings;
    let (broker, all_brokers) = (map(broker), map(all_brokers));
    let running = started.with_running(&all_brokers, &broker).0;
    Cluster { started, running, broker, all_brokers }
}

fn kafkas() -> Cluster {
    cluster(
        &[
            ("node.id", "1"),
            ("log.retention.hours", "72"),
            ("log.roll.ms", "86400000"),
            ("log.index.interval.bytes", "8192"),
            ("num.network.threads", "3"),
            ("nobody.knows.this", "1"),
            ("listener.name.plaintext.max.connections", "500"),
        ],
        &[("log.retention.ms", "6000000"), ("log.roll.ms", "7000000"), ("min.insync.replicas", "2"), ("log.cleaner.threads", "2")],
        &[
            ("log.retention.ms", "5000000"),
            ("leader.replication.throttled.rate", "1000"),
            ("listener.name.plaintext.max.connections", "77"),
            ("no.such", "3"),
        ],
    )
}

impl Cluster {
    fn broker(&self) -> Vec<Entry> {
        broker(&Layers::new(&self.started, &self.broker, &self.all_brokers))
    }

    fn topic(&self, overrides: &[(&str, &str)]) -> Vec<Entry> {
        topic(&map(overrides), &self.running, &Layers::new(&self.started, &self.broker, &self.all_brokers))
    }
}

/// `value source type-code flags [synonym=value@source ...]`, with r for read-only and s for sensitive.
fn line(entries: &[Entry], name: &str) -> String {
    let entry = entries.iter().find(|entry| entry.name == name).unwrap_or_else(|| panic!("{name} is not described"));
    let null = "null".to_owned();
    let synonyms: Vec<_> = entry
        .synonyms
        .iter()
        .map(|synonym| format!("{}={}@{}", synonym.name, synonym.value.as_ref().unwrap_or(&null), synonym.source.code()))
        .collect();
    let flags = format!("{}{}", if entry.read_only { "r" } else { "-" }, if entry.sensitive { "s" } else { "-" });
    let value = entry.value.as_ref().unwrap_or(&null);
    format!("{value} {} {} {flags} [{}]", entry.source.code(), entry.kind_code(), synonyms.join(" "))
}

fn assert_lines(entries: &[Entry], expected: &[(&str, &str)]) {
    for (name, expected) in expected {
        assert_eq!(line(entries, name), *expected, "{name}");
    }
}

#[test]
fn a_topic_is_described_as_kafka_does() {
    let cluster = kafkas();
    let entries =
        cluster.topic(&[("retention.ms", " 1000"), ("min.cleanable.dirty.ratio", "0.70"), ("cleanup.policy", "compact , delete")]);
    assert_eq!(entries.len(), 33);
    assert_lines(
        &entries,
        &[
            (
                "retention.ms",
                "1000 1 5 -- [retention.ms=1000@1 log.retention.ms=5000000@2 log.retention.ms=6000000@3 log.retention.hours=72@4 \
                 log.retention.hours=168@5]",
            ),
            ("segment.ms", "7000000 3 5 -- [log.roll.ms=7000000@3 log.roll.ms=86400000@4 log.roll.hours=168@5]"),
            ("min.insync.replicas", "2 3 3 -- [min.insync.replicas=2@3 min.insync.replicas=1@5]"),
            ("cleanup.policy", "compact,delete 1 7 -- [cleanup.policy=compact,delete@1 log.cleanup.policy=delete@5]"),
            ("min.cleanable.dirty.ratio", "0.7 1 6 -- [min.cleanable.dirty.ratio=0.7@1 log.cleaner.min.cleanable.ratio=0.5@5]"),
            ("index.interval.bytes", "8192 4 3 -- [log.index.interval.bytes=8192@4 log.index.interval.bytes=4096@5]"),
            ("segment.jitter.ms", "0 5 5 -- []"),
            ("flush.ms", "9223372036854775807 5 5 -- []"),
            ("flush.messages", "9223372036854775807 5 5 -- [log.flush.interval.messages=9223372036854775807@5]"),
            ("leader.replication.throttled.replicas", " 5 7 -- []"),
            ("remote.storage.enable", "false 5 1 -- []"),
            ("local.retention.ms", "-2 5 5 -- [log.local.retention.ms=-2@5]"),
            ("compression.type", "producer 5 2 -- [compression.type=producer@5]"),
            ("max.message.bytes", "1048588 5 3 -- [message.max.bytes=1048588@5]"),
            ("file.delete.delay.ms", "60000 5 5 -- [log.segment.delete.delay.ms=60000@5]"),
        ],
    );
}

#[test]
fn a_synonym_in_another_unit_gives_the_value_and_is_not_named() {
    let cluster = cluster(&[("log.retention.hours", "72")], &[], &[]);
    assert_lines(&cluster.topic(&[]), &[("retention.ms", "259200000 5 5 -- []")]);
    assert_lines(&cluster.topic(&[("retention.ms", "1000")]), &[("retention.ms", "1000 1 5 -- [retention.ms=1000@1]")]);
}

#[test]
fn an_internal_key_of_a_topic_is_described_where_set() {
    let entries = cluster(&[], &[], &[]).topic(&[("internal.segment.bytes", "1000")]);
    assert_eq!(entries.len(), 34);
    assert_lines(&entries, &[("internal.segment.bytes", "1000 1 3 -- [internal.segment.bytes=1000@1]")]);
}

#[test]
fn a_broker_is_described_as_kafka_does() {
    let entries = kafkas().broker();
    assert!(entries.is_sorted_by(|one, next| one.name < next.name));
    assert_lines(
        &entries,
        &[
            ("log.retention.hours", "168 4 3 r- [log.retention.hours=72@4 log.retention.hours=168@5]"),
            (
                "log.retention.ms",
                "5000000 2 5 -- [log.retention.ms=5000000@2 log.retention.ms=6000000@3 log.retention.hours=72@4 log.retention.hours=168@5]",
            ),
            ("log.roll.ms", "7000000 3 5 -- [log.roll.ms=7000000@3 log.roll.ms=86400000@4 log.roll.hours=168@5]"),
            ("min.insync.replicas", "2 3 3 -- [min.insync.replicas=2@3 min.insync.replicas=1@5]"),
            ("log.cleaner.threads", "2 3 3 -- [log.cleaner.threads=2@3 log.cleaner.threads=1@5]"),
            ("leader.replication.throttled.rate", "1000 2 5 -- [leader.replication.throttled.rate=1000@2]"),
            ("no.such", "null 2 0 rs [no.such=null@2]"),
            ("nobody.knows.this", "null 4 0 rs [nobody.knows.this=null@4]"),
            (
                "listener.name.plaintext.max.connections",
                "77 2 3 r- [listener.name.plaintext.max.connections=77@2 listener.name.plaintext.max.connections=500@4 \
                 max.connections=2147483647@5]",
            ),
            ("num.network.threads", "3 4 3 -- [num.network.threads=3@4 num.network.threads=3@5]"),
            ("broker.id", "1 4 3 r- [broker.id=1@4 broker.id=-1@5]"),
            ("log.flush.interval.ms", "null 5 5 -- []"),
            ("log.dirs", "null 5 7 r- []"),
            ("sasl.jaas.config", "null 5 9 -s []"),
            ("delegation.token.secret.key", "null 5 9 rs []"),
            ("early.start.listeners", "null 5 7 r- []"),
            ("cordoned.log.dirs", " 5 7 -- [cordoned.log.dirs=@5]"),
            (
                "principal.builder.class",
                "org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder 5 8 -- \
              [principal.builder.class=org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder@5]",
            ),
        ],
    );
    assert!(entries.iter().all(|entry| !entry.name.starts_with("internal.")));
}

#[test]
fn before_any_change_the_file_and_the_table_speak() {
    let cluster = cluster(&[("log.retention.hours", "72"), ("log.initial.task.delay.ms", "5")], &[], &[]);
    assert_lines(
        &cluster.broker(),
        &[
            ("log.retention.hours", "72 4 3 r- [log.retention.hours=72@4 log.retention.hours=168@5]"),
            ("log.retention.ms", "null 5 5 -- []"),
            // An internal key is described once it is set.
            ("log.initial.task.delay.ms", "5 4 5 r- [log.initial.task.delay.ms=5@4 log.initial.task.delay.ms=30000@5]"),
            ("ottla.append.path", "auto 5 2 r- [ottla.append.path=auto@5]"),
        ],
    );
}

#[test]
fn all_brokers_together_have_what_was_set_for_all() {
    let entries = all_brokers(&kafkas().all_brokers);
    assert_eq!(entries.len(), 4);
    assert_lines(
        &entries,
        &[
            ("log.retention.ms", "6000000 3 5 -- [log.retention.ms=6000000@3]"),
            ("min.insync.replicas", "2 3 3 -- [min.insync.replicas=2@3]"),
            ("log.roll.ms", "7000000 3 5 -- [log.roll.ms=7000000@3]"),
            ("log.cleaner.threads", "2 3 3 -- [log.cleaner.threads=2@3]"),
        ],
    );
}
