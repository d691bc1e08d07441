//! Changes of a running broker's settings: whether one can be accepted, and what the settings are with those that were.
//!
//! Called by the Alter handlers (checks) and by whoever applies a metadata image to this broker (settings).
//!
//! Invariants:
//! 1. A refusal carries the sentence Kafka 4.3.1 answers, where Kafka has one; the wire's answer is INVALID_REQUEST.
//! 2. What was accepted once and can be no longer, after an upgrade or a changed file, is left out with a warning: it never stops a
//!    broker.

use std::collections::BTreeMap;

use super::super::settings::BrokerSettings;
use super::super::table::{self, Dynamic, Row, Served};
use super::super::value::{self, Kind};
use super::super::values::Values;
use super::{Given, Place, Refusal, Said, fill, is_default};

/// Whom a change is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    OneBroker,
    AllBrokers,
}

/// What is set on the running cluster.
#[derive(Clone, Copy, Debug)]
pub struct Running<'a> {
    pub all_brokers: &'a BTreeMap<String, String>,
    /// For this broker.
    pub broker: &'a BTreeMap<String, String>,
}

/// Numbers of threads, which Kafka lets double or halve at a time. They size nothing here, and are held to it all the same: what is
/// accepted here must not be refused there.
const THREADS: [&str; 6] = [
    "background.threads",
    "log.cleaner.threads",
    "num.io.threads",
    "num.network.threads",
    "num.recovery.threads.per.data.dir",
    "num.replica.fetchers",
];

/// Security keys that Kafka lets be changed for single listeners only.
const PER_LISTENER_ONLY: [&str; 10] = [
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

const OVERRIDES_BY_HOST: &str = "max.connections.per.ip.overrides";

/// Keys of single listeners that may be set for all brokers.
const LISTENER_LIMITS: [&str; 3] = ["max.connection.creation.rate", "max.connections", "num.network.threads"];

/// Checks what would be set on the running cluster for one broker or for all. A key nobody knows is accepted, as in Kafka.
pub fn validate_broker_configs(configs: &BTreeMap<String, String>, target: Target) -> Result<(), String> {
    let refuse_those = |sentence: &str, is_refused: &dyn Fn(&str) -> bool| {
        let names: Vec<&str> = configs.keys().map(String::as_str).filter(|name| is_refused(name)).collect();
        if names.is_empty() { Ok(()) } else { Err(format!("{sentence}: [{}]", names.join(", "))) }
    };
    let dynamic = |name: &str| table::broker(name).map(|row| row.dynamic);
    refuse_those("Cannot update these configs dynamically", &|name| dynamic(name) == Some(Dynamic::ReadOnly))?;
    refuse_those("These security configs can be dynamically updated only per-listener using the listener prefix", &|name| {
        PER_LISTENER_ONLY.contains(&name)
    })?;
    for (name, text) in configs {
        if let Some(row) = row_of(name) {
            let value = value::parse(name, row.kind, &row.allowed, text).map_err(|error| error.to_string())?;
            if row.served == Served::Refused && !is_default(row, &value) {
                return Err(format!("{name} is not served by this broker"));
            }
        }
    }
    if target == Target::AllBrokers {
        refuse_those("Cannot update these configs at default cluster level, broker id must be specified", &|name| {
            let of_one_listener = table::split_listener_key(name).map(|(_, key)| key);
            dynamic(name) == Some(Dynamic::PerBroker) || of_one_listener.is_some_and(|key| !LISTENER_LIMITS.contains(&key))
        })?;
    }
    Ok(())
}

/// The row a key is checked by, that of a key of one listener being the overridden key's.
fn row_of(name: &str) -> Option<&'static Row> {
    table::broker(name).or_else(|| table::split_listener_key(name).and_then(|(_, key)| table::broker(key)))
}

impl BrokerSettings {
    /// These settings, made at the start, with what is set on the running cluster for all brokers and for this one. Listeners and
    /// shards stay as they started.
    pub fn with_running(&self, all_brokers: &BTreeMap<String, String>, broker: &BTreeMap<String, String>) -> (BrokerSettings, Vec<String>) {
        let laid = self.lay_over(all_brokers, broker);
        let mut warnings = laid.left_out.clone();
        let mut settings = self.filled(&laid).unwrap_or_else(|refusal| {
            warnings.push(format!("nothing set on the running cluster has an effect: {refusal}"));
            self.clone()
        });
        if [all_brokers, broker].iter().all(|set| !set.contains_key(OVERRIDES_BY_HOST)) {
            // Its host names were looked up at the start.
            settings.network.connections_per_ip_overrides.clone_from(&self.network.connections_per_ip_overrides);
        }
        (settings, warnings)
    }

    /// Whether what would be set for all brokers and for this one fits together, fits what was set at the start, and is not too far from
    /// what is set now.
    pub fn validate_running(&self, now: Running<'_>, then: Running<'_>) -> Result<(), String> {
        let laid = self.lay_over(then.all_brokers, then.broker);
        self.filled(&laid).map_err(|refusal| refusal.to_string())?;
        let before = self.lay_over(now.all_brokers, now.broker);
        for key in THREADS {
            let (current, wanted) = (before.values.number(key), laid.values.number(key));
            let limit = match wanted {
                _ if wanted == current => continue,
                _ if wanted < current / 2 => "value should be at least half the current value",
                _ if wanted > current * 2 => "value should not be greater than double the current value",
                _ => continue,
            };
            return Err(format!("Dynamic thread count update validation failed for {key}={wanted}: {limit} {current}"));
        }
        Ok(())
    }

    /// What a key that holds a list was set to at the start, or has by default, as text; `None` if the key holds no list.
    pub fn list_default(&self, key: &str) -> Option<String> {
        let row = table::broker(key).filter(|row| row.kind == Kind::List)?;
        Some(self.given.get(key).map(String::as_str).or(row.default).unwrap_or_default().to_owned())
    }

    fn lay_over(&self, all_brokers: &BTreeMap<String, String>, broker: &BTreeMap<String, String>) -> LaidOver {
        let mut left_out = Vec::new();
        let mut given = Given::default();
        let mut values = Values::default();
        for (name, text) in &self.given {
            set(&mut given, &mut values, name, text, &Place::Start);
        }
        for layer in [all_brokers, broker] {
            for (name, text) in layer {
                let refused = match table::broker(name) {
                    Some(row) if row.dynamic == Dynamic::ReadOnly => Some("it changes at a start only".to_owned()),
                    Some(row) => value::parse(name, row.kind, &row.allowed, text).err().map(|error| error.reason().to_owned()),
                    None => Some("this broker does not know it".to_owned()),
                };
                if let Some(reason) = refused {
                    left_out.push(format!("{name}, set on the running cluster, has no effect: {reason}"));
                    continue;
                }
                // Whatever was said before under another name of this setting is forgotten.
                for synonym in table::broker(name).map(table::synonyms).unwrap_or_default() {
                    values.unset(synonym);
                }
                set(&mut given, &mut values, name, text, &Place::Running);
            }
        }
        LaidOver { given, values, left_out }
    }

    fn filled(&self, LaidOver { given, values, .. }: &LaidOver) -> Result<BrokerSettings, Refusal> {
        fill::check_across(given, values)?;
        let settings = fill::fill(given, values, self.network.listeners.clone(), self.shards.count)?;
        Ok(BrokerSettings { node: self.node.clone(), given: self.given.clone(), ..settings })
    }
}

/// What was said at the start, under what is set on the running cluster.
struct LaidOver {
    given: Given,
    values: Values,
    /// One line for each key that has no effect.
    left_out: Vec<String>,
}

fn set(given: &mut Given, values: &mut Values, name: &str, text: &str, place: &Place) {
    let Some(row) = table::broker(name) else { return };
    if let Ok(value) = value::parse(name, row.kind, &row.allowed, text) {
        values.set(row, value);
        given.said.insert(name.to_owned(), Said { text: text.to_owned(), place: place.clone() });
    }
}
