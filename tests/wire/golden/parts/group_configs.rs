//! Settings of groups: resources of a kind of their own.

use kafka_protocol::messages::ListConfigResourcesRequest;
use kafka_protocol::messages::alter_configs_request::{AlterConfigsRequest, AlterConfigsResource, AlterableConfig as WholeConfig};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use kafka_protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource as EditedResource, AlterableConfig as EditedConfig, IncrementalAlterConfigsRequest,
};

use super::{TIMEOUT_MS, text};
use crate::support::topics::name;
use crate::wire::golden::capture::{Recorder, SOON};

const GROUP: i8 = 32;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

type Change = (&'static str, i8, Option<&'static str>);

pub fn create(recorder: &mut Recorder, topic: &str, partitions: i32) {
    let wanted = CreatableTopic::default().with_name(name(topic)).with_num_partitions(partitions).with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(TIMEOUT_MS);
    recorder.create(7, "new", &request, &[(topic, partitions)]);
}

pub fn run(recorder: &mut Recorder) {
    for version in 1..=4 {
        describe(recorder, version, "untouched", "golden-group", &[]);
        describe(recorder, version, "no-group", "", &[]);
        describe(recorder, version, "some-keys", "golden-group", &["consumer.session.timeout.ms", "no.such.config"]);
    }
    list(recorder, "nothing-set");
    for version in 0..=1 {
        edits(recorder, version);
        wholes(recorder, version);
    }
}

fn describe(recorder: &mut Recorder, version: i16, case: &str, group: &'static str, keys: &[&'static str]) {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(GROUP)
        .with_resource_name(text(group))
        .with_configuration_keys((!keys.is_empty()).then(|| keys.iter().copied().map(text).collect()));
    let request = DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    recorder.record(version, case, &request);
}

/// What the keys are now, once the change before has reached the broker.
fn describe_after(recorder: &mut Recorder, case: &str, group: &'static str) {
    recorder.wait_for_changes();
    describe(recorder, 4, &format!("{SOON}after-{case}"), group, &["consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"]);
}

fn list(recorder: &mut Recorder, case: &str) {
    recorder.wait_for_changes();
    for kinds in [vec![GROUP], vec![16, GROUP]] {
        let request = ListConfigResourcesRequest::default().with_resource_types(kinds);
        recorder.record(1, &format!("{SOON}{case}"), &request);
    }
}

fn edits(recorder: &mut Recorder, version: i16) {
    let on = |group: &'static str, changes: &[Change]| {
        let configs = changes
            .iter()
            .map(|(key, operation, value)| {
                EditedConfig::default().with_name(text(key)).with_config_operation(*operation).with_value(value.map(text))
            })
            .collect();
        let resource = EditedResource::default().with_resource_type(GROUP).with_resource_name(text(group)).with_configs(configs);
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource])
    };
    let session = "consumer.session.timeout.ms";
    recorder.record(version, "set", &on("golden-group", &[(session, SET, Some("50000"))]));
    describe_after(recorder, "set", "golden-group");
    describe_after(recorder, "set-of-another", "golden-other-group");
    list(recorder, "one-set");
    let others: [(&str, &'static str, &[Change]); 13] = [
        ("too-small", "golden-group", &[(session, SET, Some("1"))]),
        ("too-large", "golden-group", &[(session, SET, Some("999999999"))]),
        ("not-a-number", "golden-group", &[(session, SET, Some("soon"))]),
        ("null", "golden-group", &[(session, SET, None)]),
        ("append", "golden-group", &[(session, APPEND, Some("1"))]),
        ("subtract", "golden-group", &[(session, SUBTRACT, Some("1"))]),
        ("no-such-key", "golden-group", &[("no.such.config", SET, Some("1"))]),
        ("delete-no-such-key", "golden-group", &[("no.such.config", DELETE, None)]),
        ("beats-too-slowly", "golden-group", &[("consumer.heartbeat.interval.ms", SET, Some("50000"))]),
        ("twice", "golden-group", &[(session, SET, Some("46000")), (session, SET, Some("47000"))]),
        ("no-keys", "golden-group", &[]),
        ("no-group", "", &[(session, SET, Some("50000"))]),
        ("strange-name", "golden wrong/name", &[(session, SET, Some("51000"))]),
    ];
    for (case, group, changes) in others {
        recorder.record(version, case, &on(group, changes));
    }
    recorder.record(version, "validate-only", &on("golden-group", &[(session, SET, Some("48000"))]).with_validate_only(true));
    describe_after(recorder, "what-was-refused", "golden-group");
    recorder.record(version, "delete", &on("golden-group", &[(session, DELETE, None)]));
    recorder.record(version, "delete-strange", &on("golden wrong/name", &[(session, DELETE, None)]));
    describe_after(recorder, "delete", "golden-group");
    list(recorder, "deleted");
}

fn wholes(recorder: &mut Recorder, version: i16) {
    let on = |group: &'static str, pairs: &[(&'static str, Option<&'static str>)]| {
        let configs = pairs.iter().map(|(key, value)| WholeConfig::default().with_name(text(key)).with_value(value.map(text))).collect();
        let resource = AlterConfigsResource::default().with_resource_type(GROUP).with_resource_name(text(group)).with_configs(configs);
        AlterConfigsRequest::default().with_resources(vec![resource])
    };
    recorder.record(version, "whole-set", &on("golden-group", &[("consumer.heartbeat.interval.ms", Some("6000"))]));
    describe_after(recorder, "whole-set", "golden-group");
    recorder.record(version, "whole-unknown", &on("golden-group", &[("no.such.config", Some("1"))]));
    recorder.record(version, "whole-clear", &on("golden-group", &[]));
    describe_after(recorder, "whole-clear", "golden-group");
}
