//! Configs of topics, of one broker, of all brokers and of loggers: altered key by key and as a whole, and described after each change.

use kafka_protocol::messages::alter_configs_request::{AlterConfigsRequest, AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource as EditedResource, AlterableConfig as Edit, IncrementalAlterConfigsRequest,
};
use kafka_protocol::messages::list_config_resources_request::ListConfigResourcesRequest;

use super::{TIMEOUT_MS, text};
use crate::support::topics::name;
use crate::wire::golden::capture::Recorder;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub fn run(recorder: &mut Recorder) {
    for topic in ["golden-configs", "golden-other"] {
        let wanted = CreatableTopic::default().with_name(name(topic)).with_num_partitions(1).with_replication_factor(1);
        recorder.create(7, "new", &CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(TIMEOUT_MS), &[(topic, 1)]);
    }
    for version in 0..=1 {
        topics_key_by_key(recorder, version);
        forms(recorder, version);
        brokers_key_by_key(recorder, version);
        loggers(recorder, version);
    }
    for version in 0..=2 {
        as_a_whole(recorder, version);
    }
    list(recorder);
}

type Change = (&'static str, i8, Option<&'static str>);

fn edited(kind: i8, of: &'static str, changes: &[Change]) -> EditedResource {
    let edits = changes
        .iter()
        .map(|(key, operation, value)| Edit::default().with_name(text(key)).with_config_operation(*operation).with_value(value.map(text)))
        .collect();
    EditedResource::default().with_resource_type(kind).with_resource_name(text(of)).with_configs(edits)
}

fn edit(resources: Vec<EditedResource>) -> IncrementalAlterConfigsRequest {
    IncrementalAlterConfigsRequest::default().with_resources(resources)
}

/// What the keys are now, once the change before has reached the broker.
fn describe(recorder: &mut Recorder, case: &str, kind: i8, of: &'static str, keys: &[&'static str]) {
    recorder.wait_for_changes();
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(of))
        .with_configuration_keys((!keys.is_empty()).then(|| keys.iter().copied().map(text).collect()));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    recorder.record(4, case, &request);
}

fn topics_key_by_key(recorder: &mut Recorder, version: i16) {
    const KEYS: [&str; 4] = ["retention.ms", "cleanup.policy", "segment.bytes", "max.message.bytes"];
    let topic = |changes: &[Change]| edit(vec![edited(TOPIC, "golden-configs", changes)]);
    let good: [(&str, &[Change]); 8] = [
        ("set", &[("retention.ms", SET, Some("3600000")), ("cleanup.policy", SET, Some("compact"))]),
        ("append", &[("cleanup.policy", APPEND, Some("delete"))]),
        ("append-again", &[("cleanup.policy", APPEND, Some("delete,compact"))]),
        ("subtract", &[("cleanup.policy", SUBTRACT, Some("compact"))]),
        ("subtract-what-is-not-there", &[("cleanup.policy", SUBTRACT, Some("compact"))]),
        ("set-the-same", &[("retention.ms", SET, Some("3600000"))]),
        ("delete", &[("retention.ms", DELETE, None), ("cleanup.policy", DELETE, None)]),
        ("append-to-default", &[("cleanup.policy", APPEND, Some("compact"))]),
    ];
    for (case, changes) in good {
        recorder.record(version, case, &topic(changes));
        describe(recorder, &format!("after-{case}"), TOPIC, "golden-configs", &KEYS);
    }
    recorder.record(version, "validate-only", &topic(&[("retention.ms", SET, Some("7"))]).with_validate_only(true));
    recorder.record(version, "validate-only-wrong", &topic(&[("retention.ms", SET, Some("x"))]).with_validate_only(true));
    describe(recorder, "after-validate-only", TOPIC, "golden-configs", &KEYS);
    let others: [(&str, &[Change]); 15] = [
        ("delete-with-value", &[("cleanup.policy", DELETE, Some("compact"))]),
        ("delete-not-set", &[("segment.bytes", DELETE, None)]),
        ("delete-unknown", &[("no.such.config", DELETE, None)]),
        ("append-not-a-list", &[("retention.ms", APPEND, Some("1"))]),
        ("subtract-not-a-list", &[("retention.ms", SUBTRACT, Some("1"))]),
        ("append-unknown", &[("no.such.config", APPEND, Some("1"))]),
        ("unknown", &[("no.such.config", SET, Some("1"))]),
        ("wrong-value", &[("retention.ms", SET, Some("soon"))]),
        ("out-of-range", &[("segment.bytes", SET, Some("1"))]),
        ("wrong-list", &[("cleanup.policy", APPEND, Some("shred"))]),
        ("null-value", &[("retention.ms", SET, None)]),
        ("null-append", &[("cleanup.policy", APPEND, None)]),
        ("conflict", &[("min.compaction.lag.ms", SET, Some("9")), ("max.compaction.lag.ms", SET, Some("3"))]),
        ("one-of-two-wrong", &[("retention.ms", SET, Some("9")), ("segment.bytes", SET, Some("x"))]),
        ("remote-storage", &[("remote.storage.enable", SET, Some("true"))]),
    ];
    for (case, changes) in others {
        recorder.record(version, case, &topic(changes));
    }
    describe(recorder, "after-what-was-refused", TOPIC, "golden-configs", &KEYS);
    recorder.record(version, "remote-default", &topic(&[("remote.storage.enable", SET, Some("false"))]));
    recorder.record(version, "remote-default-deleted", &topic(&[("remote.storage.enable", DELETE, None)]));
}

/// What is wrong with a request whatever its keys are.
fn forms(recorder: &mut Recorder, version: i16) {
    const SOON: &[Change] = &[("retention.ms", SET, Some("3600000"))];
    let on = |topic: &'static str, changes: &[Change]| edited(TOPIC, topic, changes);
    let good = || on("golden-configs", SOON);
    recorder.record(version, "nothing", &edit(Vec::new()));
    recorder.record(version, "no-keys", &edit(vec![on("golden-configs", &[])]));
    recorder.record(version, "missing-topic", &edit(vec![on("golden-missing", SOON)]));
    recorder.record(version, "missing-topic-no-keys", &edit(vec![on("golden-missing", &[])]));
    recorder.record(version, "missing-topic-wrong-value", &edit(vec![on("golden-missing", &[("retention.ms", SET, Some("x"))])]));
    recorder.record(version, "bad-topic-name", &edit(vec![on("golden wrong name", SOON)]));
    recorder.record(version, "no-topic-name", &edit(vec![on("", SOON)]));
    recorder.record(version, "same-topic-twice", &edit(vec![good(), on("golden-other", SOON), good()]));
    recorder.record(version, "good-and-missing", &edit(vec![on("golden-missing", SOON), good()]));
    let twice: &[Change] = &[("retention.ms", SET, Some("1")), ("retention.ms", SET, Some("2"))];
    recorder.record(version, "same-key-twice", &edit(vec![on("golden-configs", twice), on("golden-other", SOON)]));
    recorder.record(version, "kind-unknown", &edit(vec![edited(99, "x", SOON), good()]));
    recorder.record(version, "kind-zero", &edit(vec![edited(0, "x", SOON)]));
    recorder.record(version, "undone", &edit(vec![on("golden-configs", &[("retention.ms", DELETE, None)])]));
    recorder.record(version, "undone-too", &edit(vec![on("golden-other", &[("retention.ms", DELETE, None)])]));
}

fn brokers_key_by_key(recorder: &mut Recorder, version: i16) {
    const KEYS: [&str; 6] =
        ["message.max.bytes", "log.retention.ms", "log.retention.hours", "log.cleanup.policy", "min.insync.replicas", "no.such.config"];
    let on = |of: &'static str, changes: &[Change]| edit(vec![edited(BROKER, of, changes)]);
    let good: [(&str, &'static str, &[Change]); 7] = [
        ("one-set", "1", &[("message.max.bytes", SET, Some("2000000")), ("log.retention.ms", SET, Some("7200000"))]),
        ("all-set", "", &[("message.max.bytes", SET, Some("1500000")), ("log.cleanup.policy", SET, Some("compact"))]),
        ("one-append", "1", &[("log.cleanup.policy", APPEND, Some("compact"))]),
        ("one-unknown", "1", &[("no.such.config", SET, Some("secret"))]),
        ("one-subtract", "1", &[("log.cleanup.policy", SUBTRACT, Some("delete"))]),
        ("one-delete", "1", &[("message.max.bytes", DELETE, None), ("log.cleanup.policy", DELETE, None), ("no.such.config", DELETE, None)]),
        ("min-isr-for-all", "", &[("min.insync.replicas", SET, Some("2"))]),
    ];
    for (case, of, changes) in good {
        recorder.record(version, case, &on(of, changes));
        describe(recorder, &format!("one-after-{case}"), BROKER, "1", &KEYS);
        describe(recorder, &format!("all-after-{case}"), BROKER, "", &[]);
        describe(recorder, &format!("topic-after-{case}"), TOPIC, "golden-other", &["max.message.bytes", "cleanup.policy", "retention.ms"]);
    }
    let others: [(&str, &'static str, &[Change]); 19] = [
        ("one-delete-not-set", "1", &[("log.roll.ms", DELETE, None)]),
        ("one-read-only", "1", &[("num.partitions", SET, Some("9"))]),
        ("all-read-only", "", &[("num.partitions", SET, Some("9"))]),
        ("one-wrong-value", "1", &[("message.max.bytes", SET, Some("large"))]),
        ("one-out-of-range", "1", &[("log.segment.bytes", SET, Some("1"))]),
        ("one-append-not-a-list", "1", &[("message.max.bytes", APPEND, Some("1"))]),
        ("one-subtract-not-a-list", "1", &[("message.max.bytes", SUBTRACT, Some("1"))]),
        ("one-null", "1", &[("message.max.bytes", SET, None)]),
        ("one-operation-unknown", "1", &[("message.max.bytes", 9, Some("1"))]),
        ("other-broker", "7", &[("message.max.bytes", SET, Some("1"))]),
        ("not-a-broker", "one", &[("message.max.bytes", SET, Some("1"))]),
        ("min-isr-for-one", "1", &[("min.insync.replicas", SET, Some("2"))]),
        ("min-isr-for-one-deleted", "1", &[("min.insync.replicas", DELETE, None)]),
        ("min-isr-deleted", "", &[("min.insync.replicas", DELETE, None)]),
        ("too-many-threads", "1", &[("num.io.threads", SET, Some("100"))]),
        ("too-few-threads", "1", &[("num.io.threads", SET, Some("1"))]),
        ("too-many-network-threads", "1", &[("num.network.threads", SET, Some("100"))]),
        ("keys-of-one-listener-for-all", "", &[("listener.name.plaintext.max.connections", SET, Some("5"))]),
        ("keystore-without-listener", "1", &[("ssl.keystore.location", SET, Some("/x"))]),
    ];
    for (case, of, changes) in others {
        recorder.record(version, case, &on(of, changes));
    }
    recorder.record(version, "one-validate-only", &on("1", &[("message.max.bytes", SET, Some("9"))]).with_validate_only(true));
    recorder.record(version, "one-undone", &on("1", &[("log.retention.ms", DELETE, None)]));
    let undone: &[Change] =
        &[("message.max.bytes", DELETE, None), ("log.cleanup.policy", DELETE, None), ("min.insync.replicas", SET, Some("1"))];
    recorder.record(version, "all-undone", &on("", undone));
    describe(recorder, "one-at-the-end", BROKER, "1", &KEYS);
    describe(recorder, "all-at-the-end", BROKER, "", &[]);
}

/// The names of loggers are a broker's own, but for the root's.
fn loggers(recorder: &mut Recorder, version: i16) {
    let on = |of: &'static str, changes: &[Change]| edit(vec![edited(LOGGER, of, changes)]);
    let cases: [(&str, &'static str, &[Change]); 11] = [
        ("logger-set", "1", &[("root", SET, Some("ERROR"))]),
        ("logger-fatal", "1", &[("root", SET, Some("FATAL"))]),
        ("logger-unknown", "1", &[("no.such.logger", SET, Some("INFO"))]),
        ("logger-level-unknown", "1", &[("root", SET, Some("LOUD"))]),
        ("logger-lower-case", "1", &[("root", SET, Some("info"))]),
        ("logger-delete-root", "1", &[("root", DELETE, None)]),
        ("logger-delete-unknown", "1", &[("no.such.logger", DELETE, None)]),
        ("logger-append", "1", &[("root", APPEND, Some("INFO"))]),
        ("logger-operation-unknown", "1", &[("root", 9, Some("INFO"))]),
        ("logger-other-broker", "7", &[("root", SET, Some("INFO"))]),
        ("logger-no-broker", "", &[("root", SET, Some("INFO"))]),
    ];
    for (case, of, changes) in cases {
        recorder.record(version, case, &on(of, changes));
        if changes[0].1 == SET {
            describe(recorder, &format!("root-after-{case}"), LOGGER, "1", &["root"]);
        }
    }
    recorder.record(version, "logger-undone", &on("1", &[("root", SET, Some("WARN"))]));
    recorder.record(version, "logger-validate-only", &on("1", &[("root", SET, Some("DEBUG"))]).with_validate_only(true));
    describe(recorder, "root-after-validate-only", LOGGER, "1", &["root"]);
    describe(recorder, "logger-of-other-broker", LOGGER, "7", &["root"]);
    describe(recorder, "logger-of-no-broker", LOGGER, "", &["root"]);
    describe(recorder, "logger-not-a-broker", LOGGER, "one", &["root"]);
}

fn as_a_whole(recorder: &mut Recorder, version: i16) {
    type Pair = (&'static str, Option<&'static str>);
    let on = |kind: i8, of: &'static str, pairs: &[Pair]| {
        let configs =
            pairs.iter().map(|(key, value)| AlterableConfig::default().with_name(text(key)).with_value(value.map(text))).collect();
        AlterConfigsResource::default().with_resource_type(kind).with_resource_name(text(of)).with_configs(configs)
    };
    let request = |resources| AlterConfigsRequest::default().with_resources(resources);
    const KEYS: [&str; 3] = ["retention.ms", "cleanup.policy", "segment.bytes"];
    let topic = |pairs: &[Pair]| request(vec![on(TOPIC, "golden-configs", pairs)]);
    recorder.record(version, "set", &topic(&[("retention.ms", Some("3600000")), ("cleanup.policy", Some("compact"))]));
    describe(recorder, "after-whole-set", TOPIC, "golden-configs", &KEYS);
    recorder.record(version, "set-others", &topic(&[("segment.bytes", Some("2000000"))]));
    describe(recorder, "after-whole-set-others", TOPIC, "golden-configs", &KEYS);
    recorder.record(version, "validate-only", &topic(&[("retention.ms", Some("7"))]).with_validate_only(true));
    recorder.record(version, "clear", &topic(&[]));
    describe(recorder, "after-whole-clear", TOPIC, "golden-configs", &KEYS);
    recorder.record(version, "unknown", &topic(&[("no.such.config", Some("1"))]));
    recorder.record(version, "wrong-value", &topic(&[("retention.ms", Some("x"))]));
    recorder.record(version, "null-value", &topic(&[("retention.ms", None)]));
    recorder.record(version, "same-key-twice", &topic(&[("retention.ms", Some("1")), ("retention.ms", Some("2"))]));
    let soon: &[Pair] = &[("retention.ms", Some("3600000"))];
    recorder.record(version, "missing-topic", &request(vec![on(TOPIC, "golden-missing", soon)]));
    recorder.record(version, "bad-topic-name", &request(vec![on(TOPIC, "golden wrong name", soon)]));
    // A resource named twice is left out: Kafka fails inside its own error path and never answers.
    recorder.record(version, "kind-unknown", &request(vec![on(99, "x", soon)]));
    recorder.record(version, "logger", &request(vec![on(LOGGER, "1", &[("root", Some("WARN"))])]));
    recorder.record(version, "nothing", &request(Vec::new()));
    recorder.record(version, "one-set", &request(vec![on(BROKER, "1", &[("message.max.bytes", Some("2000000"))])]));
    describe(recorder, "one-after-whole-set", BROKER, "1", &["message.max.bytes"]);
    recorder.record(version, "one-clear", &request(vec![on(BROKER, "1", &[])]));
    describe(recorder, "one-after-whole-clear", BROKER, "1", &["message.max.bytes"]);
    recorder.record(version, "one-read-only", &request(vec![on(BROKER, "1", &[("num.partitions", Some("9"))])]));
    recorder.record(version, "all-without-min-isr", &request(vec![on(BROKER, "", &[("message.max.bytes", Some("2000000"))])]));
    recorder.record(version, "all-clear", &request(vec![on(BROKER, "", &[])]));
    let with_min_isr: &[Pair] = &[("message.max.bytes", Some("2000000")), ("min.insync.replicas", Some("1"))];
    recorder.record(version, "all-with-min-isr", &request(vec![on(BROKER, "", with_min_isr)]));
    describe(recorder, "all-after-whole-set", BROKER, "", &[]);
    recorder.record(version, "all-only-min-isr", &request(vec![on(BROKER, "", &with_min_isr[1..])]));
    recorder.record(version, "other-broker", &request(vec![on(BROKER, "7", &[])]));
}

fn list(recorder: &mut Recorder) {
    recorder.wait_for_changes();
    recorder.record(0, "all", &ListConfigResourcesRequest::default());
    let kinds: [(&str, &[i8]); 7] = [
        ("all", &[]),
        ("topics", &[TOPIC]),
        ("brokers", &[BROKER]),
        ("loggers", &[LOGGER]),
        ("metrics-and-groups", &[16, 32]),
        ("topics-twice", &[TOPIC, TOPIC]),
        ("unknown", &[TOPIC, 99]),
    ];
    for (case, kinds) in kinds {
        recorder.record(1, case, &ListConfigResourcesRequest::default().with_resource_types(kinds.to_vec()));
    }
}
