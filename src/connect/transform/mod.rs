//! Changes made to single records between a connector and Kafka, under the names of Kafka's own: InsertField, HoistField, RegexRouter, and
//! Filter with its predicates.
//!
//! ```text
//!   transforms=a,b
//!   transforms.a.type=org.apache.kafka.connect.transforms.InsertField$Value
//!   transforms.a.static.field=origin
//!   transforms.b.type=org.apache.kafka.connect.transforms.Filter
//!   transforms.b.predicate=old
//!   predicates=old
//!   predicates.old.type=org.apache.kafka.connect.transforms.predicates.TopicNameMatches
//!   predicates.old.pattern=old-.*
//! ```
//!
//! Called by `running` for each record, and by `validate`. Pure.

mod insert_field;
mod predicate;
mod route;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::contract::{Config, Make, Plugin};
use super::convert::{Unfit, short_name};
use super::definition::{self, Key};
use super::record::{Kind, Record, Schema, Value};
use insert_field::InsertField;
use predicate::Predicate;
use route::RegexRouter;

const PACKAGE_VERSION: &str = env!("CARGO_PKG_VERSION");

const fn plugin(class: &'static str, keys: &'static [Key], make: Make) -> Plugin {
    Plugin { class, version: PACKAGE_VERSION, keys, make }
}

/// Everything that `transforms.X.type` and `predicates.X.type` may name.
pub const PLUGINS: &[Plugin] = &[
    plugin("org.apache.kafka.connect.transforms.Filter", &[], Make::Transform),
    plugin("org.apache.kafka.connect.transforms.HoistField$Key", HOIST_KEYS, Make::Transform),
    plugin("org.apache.kafka.connect.transforms.HoistField$Value", HOIST_KEYS, Make::Transform),
    plugin("org.apache.kafka.connect.transforms.InsertField$Key", insert_field::KEYS, Make::Transform),
    plugin("org.apache.kafka.connect.transforms.InsertField$Value", insert_field::KEYS, Make::Transform),
    plugin("org.apache.kafka.connect.transforms.RegexRouter", route::KEYS, Make::Transform),
    plugin("org.apache.kafka.connect.transforms.predicates.HasHeaderKey", predicate::HEADER_KEYS, Make::Predicate),
    plugin("org.apache.kafka.connect.transforms.predicates.RecordIsTombstone", &[], Make::Predicate),
    plugin("org.apache.kafka.connect.transforms.predicates.TopicNameMatches", predicate::TOPIC_KEYS, Make::Predicate),
];

const HOIST_KEYS: &[Key] = &[Key::new(
    "field",
    definition::KeyKind::String,
    definition::Fallback::Required,
    "MEDIUM",
    "The one field that the key or value becomes.",
)];

/// Which half of a record a transform works on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Key,
    Value,
}

impl Part {
    fn take(self, record: &mut Record) -> (Option<Arc<Schema>>, Value) {
        match self {
            Part::Key => (record.key_schema.take(), std::mem::take(&mut record.key)),
            Part::Value => (record.value_schema.take(), std::mem::take(&mut record.value)),
        }
    }

    fn put(self, record: &mut Record, schema: Option<Arc<Schema>>, value: Value) {
        match self {
            Part::Key => (record.key_schema, record.key) = (schema, value),
            Part::Value => (record.value_schema, record.value) = (schema, value),
        }
    }
}

#[derive(Debug)]
enum Change {
    InsertField(Part, InsertField),
    HoistField(Part, String),
    RegexRouter(RegexRouter),
    Filter,
}

#[derive(Debug)]
struct Step {
    class: &'static str,
    change: Change,
    only_if: Option<(Predicate, Wanted)>,
}

/// Whether a step is for the records that its predicate holds for, or for the others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Wanted {
    Matching,
    Others,
}

/// The transforms of one connector, in their order.
#[derive(Debug, Default)]
pub struct Chain {
    steps: Vec<Step>,
}

/// A record that a transform could not change, and which one that was.
#[derive(Debug)]
pub struct Misfit {
    pub class: &'static str,
    pub unfit: Unfit,
}

/// The keys below a prefix, without it.
pub fn below(config: &Config, prefix: &str) -> Config {
    let own = |(key, value): (&String, &String)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone()));
    config.iter().filter_map(own).collect()
}

impl Chain {
    /// Each error names the key of the configuration that it is about.
    pub fn new(config: &Config) -> Result<Chain, Vec<(String, String)>> {
        let mut errors = Vec::new();
        let mut steps = Vec::new();
        for alias in definition::list(config.get("transforms").map_or("", String::as_str)) {
            match Self::step(config, alias) {
                Ok(step) => steps.push(step),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Chain { steps }) } else { Err(errors) }
    }

    fn step(config: &Config, alias: &str) -> Result<Step, (String, String)> {
        let own = below(config, &format!("transforms.{alias}."));
        let type_key = format!("transforms.{alias}.type");
        let class = own.get("type").ok_or_else(|| (type_key.clone(), missing(&type_key)))?;
        let of_alias = |why: String| (type_key.clone(), why);
        let known = PLUGINS.iter().find(|plugin| matches!(plugin.make, Make::Transform) && names(plugin.class, class));
        let known = known.ok_or_else(|| of_alias(format!("{class} is not a transform that this worker has")))?;
        if let Some((key, error)) = first_error(known.keys, &own) {
            return Err((format!("transforms.{alias}.{key}"), error));
        }
        let part = if known.class.ends_with("$Key") { Part::Key } else { Part::Value };
        let change = match short_name(known.class).split('$').next().unwrap_or_default() {
            "InsertField" => Change::InsertField(part, InsertField::new(&own).map_err(of_alias)?),
            "HoistField" => Change::HoistField(part, own.get("field").cloned().unwrap_or_default()),
            "RegexRouter" => Change::RegexRouter(RegexRouter::new(&own).map_err(of_alias)?),
            _ => Change::Filter,
        };
        let negate = own.get("negate").is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
        let wanted = if negate { Wanted::Others } else { Wanted::Matching };
        let only_if = match own.get("predicate") {
            Some(name) => Some((Predicate::named(config, name.trim())?, wanted)),
            None => None,
        };
        Ok(Step { class: known.class, change, only_if })
    }

    /// The changed record, or none if it is dropped. `offset` is known of a record that came from Kafka.
    pub fn apply(&self, mut record: Record, offset: Option<i64>) -> Result<Option<Record>, Misfit> {
        for step in &self.steps {
            if step.only_if.as_ref().is_some_and(|(predicate, wanted)| predicate.holds(&record) != (*wanted == Wanted::Matching)) {
                continue;
            }
            let changed = match &step.change {
                Change::InsertField(part, insert) => insert.apply(*part, record, offset),
                Change::HoistField(part, field) => Ok(hoist(*part, field, record)),
                Change::RegexRouter(router) => Ok(router.apply(record)),
                Change::Filter => return Ok(None),
            };
            record = changed.map_err(|unfit| Misfit { class: step.class, unfit })?;
        }
        Ok(Some(record))
    }
}

fn hoist(part: Part, field: &str, mut record: Record) -> Record {
    let (schema, value) = part.take(&mut record);
    match schema {
        Some(schema) => {
            let outer = Schema::required(Kind::Struct(vec![(field.to_owned(), schema)]));
            part.put(&mut record, Some(outer.clone()), Value::Struct(outer, vec![value]));
        }
        None => part.put(&mut record, None, Value::Map(vec![(Value::String(field.to_owned()), value)])),
    }
    record
}

fn missing(key: &str) -> String {
    format!("Missing required configuration \"{key}\" which has no default value.")
}

/// By full or last name.
fn names(class: &str, said: &str) -> bool {
    class == said.trim() || short_name(class) == said.trim()
}

fn first_error(keys: &[Key], config: &Config) -> Option<(&'static str, String)> {
    keys.iter().find_map(|key| key.errors(config.get(key.name).map(String::as_str)).into_iter().next().map(|error| (key.name, error)))
}
