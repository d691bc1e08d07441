//! From a properties file and command-line overrides to the broker's settings, or to one sentence why not.
//!
//! Called by `cli serve`; calls [`table`](super::table), [`listeners`](super::listeners) and [`settings`](super::settings).
//!
//! Invariants:
//! 1. A refusal is one sentence that names the place, the key, the value and the remedy. A password is never printed.
//! 2. An override wins over the file; a key nobody knows is one warning and has no effect.
//! 3. The server.properties that ships with Kafka 4.3.1 starts as it is, and so does no file at all: node 1, listening on the
//!    loopback address, metadata kept by this process, data in the directory `ottla-data`.

use std::collections::BTreeMap;
use std::fmt;

use super::listeners::{self, Listeners};
use super::properties::Properties;
use super::settings::BrokerSettings;
use super::table::{self, Origin, Row, Served};
use super::value::{self, Kind, Value};
use super::values::Values;

mod change;
mod fill;
mod quorum;

#[cfg(test)]
mod tests;

/// What the settings depend on besides the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Cores this process may run on.
    pub cores: u16,
    /// Names and addresses this machine is known by, besides the loopback ones.
    pub host_names: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Resolved {
    pub settings: BrokerSettings,
    /// Something is likely not meant so: one line each.
    pub warnings: Vec<String>,
    /// What is known and has no effect, or has another one than in Kafka: one line each.
    pub notes: Vec<String>,
}

/// Why the broker does not start: one sentence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct Refusal {
    sentence: String,
}

pub use change::{Running, Target, validate_broker_configs};

/// Where a value was said.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    File {
        file: String,
        line: usize,
    },
    Override,
    /// In one of the two, when this process started.
    Start,
    /// On the running cluster.
    Running,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File { file, line } => write!(f, "{file}:{line}: "),
            Place::Override => f.write_str("--override "),
            Place::Start => f.write_str("set at the start, "),
            Place::Running => f.write_str("set on the running cluster, "),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Said {
    text: String,
    place: Place,
}

/// As the row of `ottla.shards` has it.
const SHARDS_MAX: u16 = 1024;

/// Everything said, by key.
#[derive(Clone, Debug, Default)]
struct Given {
    said: BTreeMap<String, Said>,
}

impl Given {
    fn collect(file: Option<Properties>, overrides: &[(String, String)]) -> Self {
        let mut said = BTreeMap::new();
        if let Some(file) = file {
            for (key, entry) in file.entries {
                said.insert(key, Said { text: entry.value, place: Place::File { file: file.file.clone(), line: entry.line } });
            }
        }
        for (key, value) in overrides {
            said.insert(key.clone(), Said { text: value.clone(), place: Place::Override });
        }
        Self { said }
    }

    /// The sentence about a key that was said, or that stands at its default.
    fn refuse(&self, key: &str, reason: &str) -> Refusal {
        let sentence = match self.said.get(key) {
            Some(Said { text, place }) => format!("{place}{key}={} {reason}.", shown(key, text)),
            None => match table::broker(key).and_then(|row| row.default) {
                Some(default) => format!("{key}={default} (the default) {reason}."),
                None => format!("{key} {reason}."),
            },
        };
        Refusal { sentence }
    }
}

/// A value as it may be printed.
fn shown<'a>(key: &str, text: &'a str) -> &'a str {
    let key = table::split_listener_key(key).map_or(key, |(_, key)| key);
    match table::broker(key) {
        Some(row) if row.kind != Kind::Password => text,
        // As in Kafka: an unknown key may be a secret.
        _ => "[hidden]",
    }
}

impl BrokerSettings {
    /// Settings from a file, if there is one, and `key=value` overrides.
    pub fn resolve(file: Option<Properties>, overrides: &[(String, String)], environment: &Environment) -> Result<Resolved, Refusal> {
        let mut warnings = file.as_ref().map(|file| file.warnings.clone()).unwrap_or_default();
        let mut notes = Vec::new();
        let given = Given::collect(file, overrides);
        let mut values = check_each(&given, &mut warnings, &mut notes)?;
        unite_node_id(&given, &mut values)?;
        let listeners = resolve_listeners(&given, &values)?;
        quorum::check(&given, &values, &listeners, environment, &mut notes)?;
        fill::check_across(&given, &values)?;
        let cores = environment.cores.clamp(1, SHARDS_MAX);
        let shard_count = if values.is_set("ottla.shards") { values.u16("ottla.shards") } else { cores };
        if shard_count > cores {
            warnings.push(format!("ottla.shards={shard_count} is more than the {cores} usable cores: shards will wait for one another"));
        }
        let settings = fill::fill(&given, &values, listeners, shard_count)?;
        Ok(Resolved { settings, warnings, notes })
    }
}

/// Reads every value by its own row.
fn check_each(given: &Given, warnings: &mut Vec<String>, notes: &mut Vec<String>) -> Result<Values, Refusal> {
    let mut values = Values::default();
    let mut without_effect = Vec::new();
    for (key, said) in &given.said {
        let Some(row) = table::broker(key) else {
            match table::split_listener_key(key) {
                Some((_, rest)) if is_listener_safety(rest) => return Err(refuse_safety(given, key)),
                Some((_, rest)) if table::broker(rest).is_some() => {
                    warnings.push(format!("{}{key} has no effect: keys of single listeners are not served", said.place));
                }
                _ => warnings.push(format!("{}{key} is not a key of this broker and has no effect{}", said.place, nearest(key))),
            }
            continue;
        };
        if row.origin == Origin::DynamicOnly {
            warnings.push(format!("{}{key} has no effect here: it is set on a running broker", said.place));
            continue;
        }
        let value = value::parse(row.name, row.kind, &row.allowed, &said.text)
            .map_err(|error| given.refuse(key, &format!("is not allowed: {}", decapitalized(error.reason()))))?;
        match row.served {
            Served::Served => {}
            Served::SizesOnly => without_effect.push(row.name),
            Served::Refused if is_default(row, &value) => {}
            Served::Refused => return Err(refuse_safety(given, key)),
        }
        values.set(row, value);
    }
    if !without_effect.is_empty() {
        notes.push(format!("known and without effect here: {}", without_effect.join(", ")));
    }
    Ok(values)
}

fn is_default(row: &Row, value: &Value) -> bool {
    match super::topic::default_value(row) {
        Some(default) => default == *value,
        // Kafka's null: nothing can be set to it, but an empty text says nothing.
        None => matches!(value, Value::Text(text) if text.is_empty()),
    }
}

fn is_listener_safety(rest: &str) -> bool {
    // A mechanism's name may stand before the key: listener.name.NAME.plain.sasl.jaas.config.
    let key = rest.split_once(".sasl.").map_or(rest, |_| "sasl.jaas.config");
    table::broker(key).is_some_and(|row| row.served == Served::Refused)
}

fn refuse_safety(given: &Given, key: &str) -> Refusal {
    let what = if key.starts_with("ssl.") || key.contains(".ssl.") {
        "asks for TLS, which this broker does not serve yet; remove the key if plain text will do"
    } else if key.starts_with("sasl.") || key.contains(".sasl.") || key == "connections.max.reauth.ms" {
        "asks for SASL authentication, which this broker does not serve yet; remove the key if everyone may connect"
    } else if key == "authorizer.class.name" {
        "asks for authorization, which this broker does not serve yet; remove the key if everyone may do everything"
    } else if key == "remote.log.storage.system.enable" {
        "asks for remote storage, which this broker does not serve yet; remove the key to keep everything in log.dirs"
    } else {
        "promises what this broker does not do; remove the key to go without it"
    };
    given.refuse(key, what)
}

/// A sentence of Kafka's as the end of one of ours.
fn decapitalized(text: &str) -> String {
    let mut chars = text.trim_end_matches('.').chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// A hint for a name that is one slip away from a known one.
fn nearest(key: &str) -> String {
    table::broker_rows()
        .map(|row| (slips(key, row.name), row.name))
        .filter(|(slips, _)| *slips <= 2)
        .min()
        .map(|(_, name)| format!("; {name} is one"))
        .unwrap_or_default()
}

/// Letters to add, drop or change to get from one name to the other.
fn slips(from: &str, to: &str) -> usize {
    if from.len().abs_diff(to.len()) > 2 {
        return usize::MAX;
    }
    let to = to.as_bytes();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, b) in to.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

/// `broker.id` is an older name of `node.id`; both may stand, and then agree.
fn unite_node_id(given: &Given, values: &mut Values) -> Result<(), Refusal> {
    let (node, broker) = (values.is_set("node.id"), values.is_set("broker.id"));
    if node && broker && values.number("node.id") != values.number("broker.id") {
        return Err(given.refuse("broker.id", &format!("differs from node.id={}; remove broker.id", values.number("node.id"))));
    }
    if broker && values.number("broker.id") < 0 {
        return Err(given.refuse("broker.id", "is not allowed: value must be at least 0"));
    }
    let (from, to) = if broker { ("broker.id", "node.id") } else { ("node.id", "broker.id") };
    if let (Some(row), Some(value)) = (table::broker(to), values.get(from)) {
        values.set(row, value);
    }
    Ok(())
}

fn resolve_listeners(given: &Given, values: &Values) -> Result<Listeners, Refusal> {
    let listeners = values.list("listeners").unwrap_or_default();
    let advertised = values.list("advertised.listeners");
    let protocols = values.text("listener.security.protocol.map").filter(|_| values.is_set("listener.security.protocol.map"));
    let inter_broker = values.text("inter.broker.listener.name");
    let controller_names = values.list("controller.listener.names").unwrap_or_default();
    listeners::resolve(&listeners::Given {
        listeners: &listeners,
        advertised: advertised.as_deref(),
        protocols: protocols.as_deref(),
        inter_broker: inter_broker.as_deref(),
        controller_names: &controller_names,
    })
    .map_err(|error| given.refuse(error.key, &error.reason))
}
