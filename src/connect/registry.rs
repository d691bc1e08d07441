//! Every plugin that a worker has, by its full class name or its last part, with or without `Connector`: and the keys that connectors have in
//! common. A connector of one's own is one file and one line in [`CONNECTORS`].
//!
//! Called by `validate` and `worker`; calls the constructors of connectors. Pure.

use super::contract::{Make, Plugin};
use super::convert::{self, short_name};
use super::definition::{Fallback, Key, KeyKind, Rule};
use super::{file, syslog, transform};

pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Connectors. Add your own here.
pub const CONNECTORS: &[Plugin] = &[
    Plugin { class: file::SINK_CLASS, version: VERSION, keys: file::SINK_KEYS, make: Make::Sink(file::sink) },
    Plugin { class: file::SOURCE_CLASS, version: VERSION, keys: file::SOURCE_KEYS, make: Make::Source(file::source) },
    #[cfg(feature = "sqlite")]
    Plugin { class: super::sqlite::CLASS, version: VERSION, keys: super::sqlite::KEYS, make: Make::Sink(super::sqlite::sink) },
    Plugin { class: syslog::CLASS, version: VERSION, keys: syslog::KEYS, make: Make::Source(syslog::source) },
];

const CONVERTERS: &[Plugin] = &[
    Plugin { class: convert::BYTES, version: VERSION, keys: &[], make: Make::Converter },
    Plugin { class: convert::JSON, version: VERSION, keys: convert::JSON_KEYS, make: Make::Converter },
    Plugin { class: convert::STRING, version: VERSION, keys: &[], make: Make::Converter },
    Plugin { class: convert::SIMPLE_HEADER, version: VERSION, keys: &[], make: Make::HeaderConverter },
];

pub fn all() -> impl Iterator<Item = &'static Plugin> {
    CONNECTORS.iter().chain(transform::PLUGINS).chain(CONVERTERS)
}

/// The connector of that name.
pub fn connector(name: &str) -> Option<&'static Plugin> {
    CONNECTORS.iter().find(|plugin| is_called(plugin, name))
}

/// Any plugin of that name.
pub fn plugin(name: &str) -> Option<&'static Plugin> {
    all().find(|plugin| is_called(plugin, name))
}

fn is_called(plugin: &Plugin, name: &str) -> bool {
    let (name, short) = (name.trim(), short_name(plugin.class));
    let stem = ["Connector", "Converter"].iter().find_map(|end| short.strip_suffix(end)).unwrap_or(short);
    [plugin.class, short, stem].contains(&name)
}

pub fn kind_word(plugin: &Plugin) -> &'static str {
    match plugin.make {
        Make::Source(_) => "source",
        Make::Sink(_) => "sink",
        Make::Converter => "converter",
        Make::HeaderConverter => "header_converter",
        Make::Transform => "transformation",
        Make::Predicate => "predicate",
    }
}

const fn optional(name: &'static str, kind: KeyKind, default: &'static str, importance: &'static str, doc: &'static str) -> Key {
    Key::new(name, kind, Fallback::Value(default), importance, doc)
}

const fn version_of(name: &'static str, order: i32, display: &'static str) -> Key {
    Key::new(name, KeyKind::String, Fallback::Unset, "LOW", "Looked at by no one: there is one version of each converter.")
        .shown("Common", order, "SHORT", display)
}

const fn converter(name: &'static str, order: i32, display: &'static str, doc: &'static str) -> Key {
    Key::new(name, KeyKind::Class, Fallback::Unset, "LOW", doc).shown("Common", order, "SHORT", display)
}

/// What every connector takes.
pub const COMMON: &[Key] = &[
    Key::new("name", KeyKind::String, Fallback::Required, "HIGH", "The connector's name, one on this worker.").rule(Rule::NonEmpty).shown(
        "Common",
        1,
        "MEDIUM",
        "Connector name",
    ),
    Key::new(
        "connector.class",
        KeyKind::String,
        Fallback::Required,
        "HIGH",
        "Which connector: the full name, or its last part with or without Connector.",
    )
    .shown("Common", 2, "LONG", "Connector class"),
    Key::new(
        "connector.plugin.version",
        KeyKind::String,
        Fallback::Value(VERSION),
        "MEDIUM",
        "Looked at by no one: there is one version of each connector.",
    )
    .shown("Common", 3, "MEDIUM", "Connector version"),
    optional("tasks.max", KeyKind::Int, "1", "HIGH", "The most tasks that the connector may split its work into.")
        .rule(Rule::AtLeast(1))
        .shown("Common", 4, "SHORT", "Tasks max"),
    optional("tasks.max.enforce", KeyKind::Boolean, "true", "LOW", "Whether a connector that asks for more tasks fails.").shown(
        "Common",
        5,
        "SHORT",
        "Enforce tasks max",
    ),
    converter("key.converter", 6, "Key converter class", "How keys become bytes; the worker's where none is named."),
    version_of("key.converter.plugin.version", 7, "Key converter version"),
    converter("value.converter", 8, "Value converter class", "How values become bytes; the worker's where none is named."),
    version_of("value.converter.plugin.version", 9, "Value converter version"),
    converter("header.converter", 10, "Header converter class", "How headers become bytes; the worker's where none is named."),
    version_of("header.converter.plugin.version", 11, "Header converter version"),
    optional("transforms", KeyKind::List, "", "LOW", "The aliases of the transforms, in their order.").shown(
        "Transforms",
        12,
        "LONG",
        "Transforms",
    ),
    optional("predicates", KeyKind::List, "", "LOW", "The aliases of the predicates that transforms ask.").shown(
        "Predicates",
        13,
        "LONG",
        "Predicates",
    ),
    optional("config.action.reload", KeyKind::String, "restart", "LOW", "What a changed external configuration does; there is none here.")
        .rule(Rule::OneOf(&["none", "restart"]))
        .shown("Common", 14, "MEDIUM", "Reload Action"),
    optional(
        "errors.retry.timeout",
        KeyKind::Long,
        "0",
        "MEDIUM",
        "For how long what failed and may work later is tried again, in milliseconds; 0 and -1 for ever.",
    )
    .rule(Rule::AtLeast(-1))
    .shown("Error Handling", 1, "MEDIUM", "Retry Timeout for Errors"),
    optional("errors.retry.delay.max.ms", KeyKind::Long, "60000", "MEDIUM", "The longest pause between two tries.")
        .rule(Rule::AtLeast(1))
        .shown("Error Handling", 2, "MEDIUM", "Maximum Delay Between Retries for Errors"),
    optional(
        "errors.tolerance",
        KeyKind::String,
        "none",
        "MEDIUM",
        "none: a record that cannot be converted or transformed ends the task; all: it is left out.",
    )
    .rule(Rule::OneOf(&["none", "all"]))
    .shown("Error Handling", 3, "SHORT", "Error Tolerance"),
    optional("errors.log.enable", KeyKind::Boolean, "false", "MEDIUM", "Whether each such record is told of in the log.").shown(
        "Error Handling",
        4,
        "SHORT",
        "Log Errors",
    ),
    optional("errors.log.include.messages", KeyKind::Boolean, "false", "MEDIUM", "Whether the log says where the record stands in Kafka.")
        .shown("Error Handling", 5, "SHORT", "Log Error Details"),
];

pub const OF_SOURCES: &[Key] = &[
    optional("topic.creation.groups", KeyKind::List, "", "LOW", "Groups of topics that are made with settings of their own.").shown(
        "Topic Creation",
        1,
        "LONG",
        "Topic Creation Groups",
    ),
    optional(
        "exactly.once.support",
        KeyKind::String,
        "requested",
        "MEDIUM",
        "required is refused: a standalone worker delivers at least once.",
    )
    .rule(Rule::OneOf(&["requested"]))
    .shown("Exactly Once Support", 2, "SHORT", "Exactly once support"),
    optional("transaction.boundary", KeyKind::String, "poll", "MEDIUM", "Without effect: a standalone worker writes no transactions.")
        .rule(Rule::OneOf(&["poll", "interval", "connector"]))
        .shown("Exactly Once Support", 3, "SHORT", "Transaction Boundary"),
    Key::new("transaction.boundary.interval.ms", KeyKind::Long, Fallback::Unset, "LOW", "Without effect, as transaction.boundary.")
        .rule(Rule::AtLeast(0))
        .shown("Exactly Once Support", 4, "SHORT", "Transaction boundary interval"),
    Key::new(
        "offsets.storage.topic",
        KeyKind::String,
        Fallback::Unset,
        "LOW",
        "Without effect: a standalone worker keeps offsets in a file.",
    )
    .shown("offsets.topic", 1, "LONG", "Offsets topic"),
];

pub const OF_SINKS: &[Key] = &[
    optional("topics", KeyKind::List, "", "HIGH", "The topics to read.").shown("Common", 4, "LONG", "Topics"),
    optional("topics.regex", KeyKind::String, "", "HIGH", "Or every topic that this regular expression matches.")
        .rule(Rule::TopicRegex)
        .shown("Common", 4, "LONG", "Topics regex"),
    optional(
        "errors.deadletterqueue.topic.name",
        KeyKind::String,
        "",
        "MEDIUM",
        "The topic that takes the records which are left out; none where none is named.",
    )
    .shown("Error Handling", 6, "MEDIUM", "Dead Letter Queue Topic Name"),
    optional("errors.deadletterqueue.topic.replication.factor", KeyKind::Short, "3", "MEDIUM", "Of that topic, where it has to be made.")
        .shown("Error Handling", 7, "MEDIUM", "Dead Letter Queue Topic Replication Factor"),
    optional(
        "errors.deadletterqueue.context.headers.enable",
        KeyKind::Boolean,
        "false",
        "MEDIUM",
        "Whether headers say where a record came from and why it is there.",
    )
    .shown("Error Handling", 8, "MEDIUM", "Enable Error Context Headers"),
];

/// What the kind of a connector adds to [`COMMON`].
pub fn of_kind(plugin: &Plugin) -> &'static [Key] {
    match plugin.make {
        Make::Source(_) => OF_SOURCES,
        Make::Sink(_) => OF_SINKS,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_known_by_three_names() {
        for name in [file::SOURCE_CLASS, "FileStreamSourceConnector", "FileStreamSource"] {
            assert_eq!(connector(name).map(|plugin| plugin.class), Some(file::SOURCE_CLASS));
        }
        assert!(connector("Nope").is_none() && connector("JsonConverter").is_none());
        assert_eq!(plugin("JsonConverter").map(kind_word), Some("converter"));
        assert_eq!(plugin("InsertField$Key").map(kind_word), Some("transformation"));
    }

    #[test]
    fn names_are_unique_and_in_order() {
        let classes: Vec<&str> = CONNECTORS.iter().map(|plugin| plugin.class).collect();
        let mut sorted = classes.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(classes.len(), sorted.len());
    }
}
