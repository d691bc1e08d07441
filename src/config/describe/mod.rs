//! What DescribeConfigs answers about a topic, a broker or a group: every key with its value, where the value comes from, and the values it hides.
//!
//! Called by the DescribeConfigs, CreateTopics and Alter handlers; calls [`table`](super::table).
//!
//! ```text
//!   topic override (1)  >  one broker (2)  >  all brokers (3)  >  file and command line (4)  >  the table (5)
//! ```
//!
//! Invariants:
//! 1. The answer is Kafka 4.3.1's for the same values, its oddities included: synonyms before the first one of the key's own (or its
//!    twin's) name are left out, and a value set on a running broker hides what the file says of its synonyms.
//! 2. Passwords, and values of keys nobody knows, are null.
//!
//! KIP-226 (sources and synonyms), KIP-524 (types and docs).

use std::collections::BTreeMap;

use super::settings::BrokerSettings;
use super::table::{self, Dynamic, Origin, Row};
use super::topic::default_value;
use super::value::{self, Kind, Value};

#[cfg(test)]
mod tests;

/// Where a value comes from, with Kafka's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum Source {
    Topic = 1,
    DynamicBroker = 2,
    DynamicDefaultBroker = 3,
    StaticBroker = 4,
    Default = 5,
    BrokerLogger = 6,
    Group = 8,
}

impl Source {
    pub const fn code(self) -> i8 {
        self as i8
    }
}

/// A value that a described one stands before, or is itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synonym {
    pub name: String,
    pub value: Option<String>,
    pub source: Source,
}

/// One described key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub value: Option<String>,
    pub read_only: bool,
    pub source: Source,
    pub sensitive: bool,
    /// In order of precedence.
    pub synonyms: Vec<Synonym>,
    /// None if nobody knows the key.
    pub kind: Option<Kind>,
    pub doc: Option<&'static str>,
}

impl Entry {
    /// The type's code on the wire; 0 is "unknown".
    pub fn kind_code(&self) -> i8 {
        self.kind.map_or(0, Kind::code)
    }
}

/// What is set for a broker, above the table's defaults.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// Set on the running cluster for this broker.
    pub broker: &'a BTreeMap<String, String>,
    /// Set on the running cluster for all brokers.
    pub all_brokers: &'a BTreeMap<String, String>,
    /// Said by file and command line.
    pub given: &'a BTreeMap<String, String>,
}

impl<'a> Layers<'a> {
    pub fn new(settings: &'a BrokerSettings, broker: &'a BTreeMap<String, String>, all_brokers: &'a BTreeMap<String, String>) -> Self {
        Self { broker, all_brokers, given: &settings.given }
    }

    fn in_order(&self) -> [(Source, &'a BTreeMap<String, String>); 3] {
        [(Source::DynamicBroker, self.broker), (Source::DynamicDefaultBroker, self.all_brokers), (Source::StaticBroker, self.given)]
    }

    /// What `name` is set to here: `broker.id` and `node.id` are one.
    fn said(layer: &'a BTreeMap<String, String>, name: &str) -> Option<&'a str> {
        let twin = match name {
            "broker.id" => "node.id",
            "node.id" => "broker.id",
            other => other,
        };
        layer.get(name).or_else(|| layer.get(twin)).map(String::as_str)
    }

    /// The text in force for `name` itself, synonyms aside.
    fn effective(&self, name: &str) -> Option<&'a str> {
        let synonyms = table::broker(name).map(table::synonyms).unwrap_or_default();
        for (source, layer) in self.in_order() {
            if let Some(text) = Self::said(layer, name) {
                return Some(text);
            }
            // A running broker forgets the file's word for a setting that was changed under another name.
            if source != Source::StaticBroker && synonyms.iter().any(|synonym| layer.contains_key(*synonym)) {
                return None;
            }
        }
        None
    }

    /// The number in force for a broker's key, its default if nobody set it; `None` if it is no number.
    pub fn number(&self, name: &str) -> Option<i64> {
        let row = table::broker(name)?;
        let value = match self.effective(name) {
            Some(text) => value::parse(row.name, row.kind, &row.allowed, text).ok(),
            None => default_value(row),
        };
        match value? {
            Value::Int(value) => Some(value.into()),
            Value::Long(value) => Some(value),
            _ => None,
        }
    }

    /// Every value of the setting `name` is one name of, from the strongest to the default.
    fn synonyms(&self, name: &str, names: &[&str], sensitive: bool) -> Vec<Synonym> {
        let mut all = Vec::new();
        let shown = |text: &str| (!sensitive).then(|| text.to_owned());
        for (source, layer) in self.in_order() {
            for &synonym in names {
                if let Some(text) = Self::said(layer, synonym) {
                    all.push(Synonym { name: synonym.to_owned(), value: shown(text), source });
                }
            }
        }
        for &synonym in names {
            // A key that no file can hold has no default to show, nor has node.id, which Kafka demands.
            let row = table::broker(synonym).filter(|row| row.origin != Origin::DynamicOnly && row.name != "node.id");
            if let Some(value) = row.and_then(default_value) {
                all.push(Synonym { name: synonym.to_owned(), value: shown(&value.to_string()), source: Source::Default });
            }
        }
        all.into_iter().skip_while(|synonym| synonym.name != name).collect()
    }
}

/// The value as Kafka prints it; a text that is no value of its row is printed as it stands.
fn printed(row: &Row, text: &str) -> String {
    value::parse(row.name, row.kind, &row.allowed, text).map_or_else(|_| text.to_owned(), |value| value.to_string())
}

fn source_of(synonyms: &[Synonym]) -> Source {
    synonyms.first().map_or(Source::Default, |synonym| synonym.source)
}

/// Describes a topic with these overrides, by name.
pub fn topic(overrides: &BTreeMap<String, String>, settings: &BrokerSettings, layers: &Layers<'_>) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(table::TOPIC.len());
    for row in table::TOPIC {
        let text = overrides.get(row.name);
        let value = match text {
            Some(text) => Some(printed(row, text)),
            None => settings.topic_values.get(row.name).map(ToString::to_string),
        };
        if value.is_none() {
            continue;
        }
        let mut synonyms = match row.twin.and_then(table::broker) {
            Some(twin) => layers.synonyms(twin.name, &table::synonyms(twin), false),
            None => Vec::new(),
        };
        if text.is_some() {
            synonyms.insert(0, Synonym { name: row.name.to_owned(), value: value.clone(), source: Source::Topic });
        }
        entries.push(Entry {
            name: row.name.to_owned(),
            value,
            read_only: false,
            source: source_of(&synonyms),
            sensitive: false,
            synonyms,
            kind: Some(row.kind),
            doc: Some(row.doc),
        });
    }
    entries
}

/// Describes a group with these overrides, by name.
pub fn group(overrides: &BTreeMap<String, String>, layers: &Layers<'_>) -> Vec<Entry> {
    let described = table::GROUP.iter().map(|row| {
        let own = overrides.get(row.name);
        let mut synonyms = match row.twin.and_then(table::broker) {
            Some(twin) => layers.synonyms(twin.name, &[twin.name], false),
            None => {
                let default = default_value(row).map(|value| value.to_string());
                vec![Synonym { name: row.name.to_owned(), value: default, source: Source::Default }]
            }
        };
        if let Some(text) = own {
            synonyms.insert(0, Synonym { name: row.name.to_owned(), value: Some(printed(row, text)), source: Source::Group });
        }
        Entry {
            name: row.name.to_owned(),
            value: synonyms.first().and_then(|first| first.value.clone()),
            read_only: false,
            source: source_of(&synonyms),
            sensitive: false,
            synonyms,
            kind: Some(row.kind),
            doc: Some(row.doc),
        }
    });
    described.collect()
}

/// What a subscription to client metrics holds, by name: nobody can set it here, and Kafka shows the defaults of one that is not there.
const CLIENT_METRICS: [(&str, &str, Kind, &str); 3] = [
    ("interval.ms", "300000", Kind::Int, "Milliseconds between two pushes of a client's metrics."),
    ("match", "", Kind::List, "Patterns of the clients that push; none means all."),
    ("metrics", "", Kind::List, "Prefixes of the metrics that are pushed."),
];

/// Describes any subscription to client metrics, by name.
pub fn client_metrics() -> Vec<Entry> {
    let entry = |(name, value, kind, doc): (&str, &str, Kind, &'static str)| Entry {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        read_only: false,
        source: Source::Default,
        sensitive: false,
        synonyms: Vec::new(),
        kind: Some(kind),
        doc: Some(doc),
    };
    CLIENT_METRICS.map(entry).into()
}

/// Describes one broker, by name: every key, and whatever else is set.
pub fn broker(layers: &Layers<'_>) -> Vec<Entry> {
    let mut names: std::collections::BTreeSet<&str> =
        table::broker_rows().filter(|row| row.origin.is_always_described()).map(|row| row.name).collect();
    for (_, layer) in layers.in_order() {
        names.extend(layer.keys().map(String::as_str));
    }
    names.into_iter().map(|name| broker_entry(name, layers)).collect()
}

fn broker_entry(name: &str, layers: &Layers<'_>) -> Entry {
    let row = table::broker(name);
    // A key of one listener stands before the key it overrides.
    let base = table::split_listener_key(name).and_then(|(_, key)| table::broker(key));
    let typed = row.or(base);
    let sensitive = typed.is_none_or(|row| row.kind == Kind::Password);
    let names: Vec<&str> = match (row, base) {
        (Some(row), _) => table::synonyms(row),
        (None, Some(base)) => vec![name, base.name],
        (None, None) => vec![name],
    };
    let synonyms = layers.synonyms(name, &names, sensitive);
    let value = match (layers.effective(name), typed) {
        (Some(text), Some(typed)) => Some(printed(typed, text)),
        (Some(text), None) => Some(text.to_owned()),
        (None, _) => row.and_then(default_value).map(|value| value.to_string()),
    };
    Entry {
        name: name.to_owned(),
        value: value.filter(|_| !sensitive),
        read_only: row.is_none_or(|row| row.dynamic == Dynamic::ReadOnly),
        source: source_of(&synonyms),
        sensitive,
        synonyms,
        kind: typed.map(|row| row.kind),
        doc: row.map(|row| row.doc),
    }
}

/// Describes what is set for all brokers together, and nothing else.
pub fn all_brokers(layer: &BTreeMap<String, String>) -> Vec<Entry> {
    let nothing = BTreeMap::new();
    let layers = Layers { broker: &nothing, all_brokers: layer, given: &nothing };
    layer
        .keys()
        .map(|name| {
            let mut entry = broker_entry(name, &layers);
            entry.synonyms.retain(|synonym| synonym.source == Source::DynamicDefaultBroker);
            entry
        })
        .collect()
}
