use regex::Regex;

use super::{PLUGINS, below, first_error, missing, names};
use crate::connect::contract::{Config, Make};
use crate::connect::convert::short_name;
use crate::connect::definition::{Fallback, Key, KeyKind, Rule};
use crate::connect::record::{Record, Value};

pub const TOPIC_KEYS: &[Key] = &[Key::new(
    "pattern",
    KeyKind::String,
    Fallback::Required,
    "MEDIUM",
    "The regular expression that the whole name of the record's topic is to match.",
)
.rule(Rule::Regex)];

pub const HEADER_KEYS: &[Key] =
    &[Key::new("name", KeyKind::String, Fallback::Required, "MEDIUM", "The header of which the record is to have at least one.")
        .rule(Rule::NonEmpty)];

/// What a transform asks of a record before it touches it.
#[derive(Debug)]
pub enum Predicate {
    TopicNameMatches(Regex),
    HasHeaderKey(String),
    RecordIsTombstone,
}

impl Predicate {
    /// The one that the configuration calls so; an error with the key that it is about.
    pub fn named(config: &Config, name: &str) -> Result<Predicate, (String, String)> {
        let declared = config.get("predicates").is_some_and(|list| list.split(',').any(|entry| entry.trim() == name));
        if !declared {
            return Err(("predicates".to_owned(), format!("a transform asks for the predicate {name}, which 'predicates' does not list")));
        }
        let own = below(config, &format!("predicates.{name}."));
        let type_key = format!("predicates.{name}.type");
        let class = own.get("type").ok_or_else(|| (type_key.clone(), missing(&type_key)))?;
        let known = PLUGINS.iter().find(|plugin| matches!(plugin.make, Make::Predicate) && names(plugin.class, class));
        let known = known.ok_or_else(|| (type_key.clone(), format!("{class} is not a predicate that this worker has")))?;
        if let Some((key, error)) = first_error(known.keys, &own) {
            return Err((format!("predicates.{name}.{key}"), error));
        }
        let said = |key: &str| own.get(key).cloned().unwrap_or_default();
        match short_name(known.class) {
            "TopicNameMatches" => match whole(&said("pattern")) {
                Ok(pattern) => Ok(Predicate::TopicNameMatches(pattern)),
                Err(error) => Err((format!("predicates.{name}.pattern"), error)),
            },
            "HasHeaderKey" => Ok(Predicate::HasHeaderKey(said("name"))),
            _ => Ok(Predicate::RecordIsTombstone),
        }
    }

    pub fn holds(&self, record: &Record) -> bool {
        match self {
            Predicate::TopicNameMatches(pattern) => pattern.is_match(&record.topic),
            Predicate::HasHeaderKey(name) => record.headers.iter().any(|header| header.name == *name),
            Predicate::RecordIsTombstone => record.value == Value::Null,
        }
    }
}

/// An expression that a whole text is to match, as Java's `matches`.
pub fn whole(pattern: &str) -> Result<Regex, String> {
    Regex::new(&format!("^(?:{pattern})$")).map_err(|error| error.to_string().replace('\n', " "))
}
