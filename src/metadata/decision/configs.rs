//! Config overrides.

use std::collections::BTreeSet;

use super::{ConfigRules, Decision, Refused, validate_topic_name};
use crate::metadata::image::{MetadataImage, Overrides};
use crate::metadata::record::{Record, Resource};
use crate::wire::error::ErrorCode;

/// What to do with one key (KIP-339).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigEdit {
    pub key: String,
    pub change: ConfigChange,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigChange {
    Set(String),
    Delete,
    /// Adds entries to a list, those it has already left out.
    Append(String),
    /// Takes entries out of a list.
    Subtract(String),
}

/// Edits of one resource.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Alteration<E> {
    pub resource: Resource,
    pub edits: Vec<E>,
}

/// Longest value, in UTF-16 units as Kafka counts them.
const VALUE_LEN_MAX: usize = 32_767;

const MIN_ISR: &str = "min.insync.replicas";

type Answers = Vec<(Resource, Result<(), Refused>)>;

/// Edits key by key (IncrementalAlterConfigs). A resource is altered wholly or not at all.
pub fn alter_configs(image: &MetadataImage, alterations: &[Alteration<ConfigEdit>], rules: &dyn ConfigRules) -> Decision<Answers> {
    decide(image, alterations, |resource, edits| {
        let current = image.config(resource);
        let mut wanted = current.clone();
        let mut touched = BTreeSet::new();
        for edit in edits {
            touched.insert(edit.key.as_str());
            match edited(resource, current.get(&edit.key), edit, rules)? {
                Some(value) => wanted.insert(edit.key.clone(), value),
                None => wanted.remove(&edit.key),
            };
        }
        let values = touched.iter().filter_map(|key| wanted.get(*key)).map(String::as_str);
        check(resource, &wanted, values, rules)?;
        Ok(differences(resource, current, &wanted, &touched))
    })
}

/// Replaces all overrides of each resource (AlterConfigs): a key that is not named goes back to its default.
pub fn replace_configs(image: &MetadataImage, alterations: &[Alteration<(String, String)>], rules: &dyn ConfigRules) -> Decision<Answers> {
    decide(image, alterations, |resource, edits| {
        let current = image.config(resource);
        let wanted: Overrides = edits.iter().cloned().collect();
        check(resource, &wanted, wanted.values().map(String::as_str), rules)?;
        let touched = wanted.keys().chain(current.keys()).map(String::as_str).collect();
        Ok(differences(resource, current, &wanted, &touched))
    })
}

fn decide<E>(
    image: &MetadataImage,
    alterations: &[Alteration<E>],
    plan: impl Fn(&Resource, &[E]) -> Result<Vec<Record>, Refused>,
) -> Decision<Answers> {
    let mut seen = BTreeSet::new();
    let duplicates: BTreeSet<&Resource> = alterations.iter().map(|a| &a.resource).filter(|resource| !seen.insert(*resource)).collect();
    let mut answered = BTreeSet::new();
    let mut decision = Decision { records: vec![], answer: vec![] };
    for Alteration { resource, edits } in alterations {
        if !answered.insert(resource) {
            continue;
        }
        let result = if duplicates.contains(resource) {
            Err(Refused::new(ErrorCode::InvalidRequest, "Duplicate resource."))
        } else {
            altered(image, resource, || plan(resource, edits)).map(|records| decision.records.extend(records))
        };
        decision.answer.push((resource.clone(), result));
    }
    decision
}

/// The records of one resource. Kafka says what is wrong with the values before it says that their topic is not there.
fn altered(
    image: &MetadataImage,
    resource: &Resource,
    plan: impl FnOnce() -> Result<Vec<Record>, Refused>,
) -> Result<Vec<Record>, Refused> {
    if let Resource::Topic(name) = resource {
        validate_name(name.as_str())?;
    }
    if *resource == Resource::Group(String::new()) {
        return Err(Refused::new(ErrorCode::InvalidRequest, "Default group resources are not allowed."));
    }
    let records = plan()?;
    exists(image, resource)?;
    records.iter().try_for_each(keep_min_isr)?;
    Ok(records)
}

fn validate_name(topic: &str) -> Result<(), Refused> {
    if topic.is_empty() {
        return Err(Refused::new(ErrorCode::InvalidRequest, "Default topic resources are not allowed."));
    }
    validate_topic_name(topic)
}

/// Brokers may not differ in `min.insync.replicas`, and there is always one for all of them (KIP-966).
fn keep_min_isr(record: &Record) -> Result<(), Refused> {
    let refuse = |text: &str| Err(Refused::new(ErrorCode::InvalidConfig, text));
    match record {
        Record::Config { resource: Resource::Broker(node), key, value } if key == MIN_ISR => match (node, value) {
            (Some(_), _) => refuse("Broker-level min.insync.replicas cannot be altered while ELR is enabled."),
            (None, None) => refuse("Cluster-level min.insync.replicas cannot be removed while ELR is enabled."),
            (None, Some(_)) => Ok(()),
        },
        _ => Ok(()),
    }
}

fn exists(image: &MetadataImage, resource: &Resource) -> Result<(), Refused> {
    match resource {
        Resource::Topic(name) if image.topic_by_name(name.as_str()).is_none() => {
            Err(Refused::new(ErrorCode::UnknownTopicOrPartition, format!("The topic '{name}' does not exist.")))
        }
        Resource::Broker(Some(node)) if image.broker(*node).is_none() => {
            Err(Refused::new(ErrorCode::BrokerIdNotRegistered, format!("No broker with id {node} found.")))
        }
        Resource::Topic(_) | Resource::Broker(_) | Resource::Group(_) | Resource::ClientMetrics(_) => Ok(()),
    }
}

/// The value after the edit; `None` if there is none.
fn edited(resource: &Resource, current: Option<&String>, edit: &ConfigEdit, rules: &dyn ConfigRules) -> Result<Option<String>, Refused> {
    let list = |operation: &str| match rules.list_default(resource, &edit.key) {
        Some(default) => Ok(entries(current.unwrap_or(&default)).map(str::to_owned).collect::<Vec<_>>()),
        None => {
            let text = format!("Can't {operation} to key {} because its type is not LIST.", edit.key);
            Err(Refused::new(ErrorCode::InvalidConfig, text))
        }
    };
    // What is longer than any value may be is not worked through.
    let within = |value: &str| if is_too_long(value) { Err(too_long()) } else { Ok(()) };
    Ok(match &edit.change {
        ConfigChange::Set(value) => Some(value.clone()),
        ConfigChange::Delete => None,
        ConfigChange::Append(value) => {
            let mut list = list("APPEND")?;
            within(value)?;
            let mut present: BTreeSet<String> = list.iter().cloned().collect();
            list.extend(entries(value).filter(|entry| present.insert((*entry).to_owned())).map(str::to_owned));
            Some(list.join(","))
        }
        ConfigChange::Subtract(value) => {
            let mut list = list("SUBTRACT")?;
            within(value)?;
            let gone: BTreeSet<&str> = entries(value).collect();
            list.retain(|present| !gone.contains(present.as_str()));
            Some(list.join(","))
        }
    })
}

fn entries(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|entry| !entry.is_empty())
}

/// Whether the overrides may stand; `values` are the new ones among them.
pub(super) fn check<'a>(
    resource: &Resource,
    overrides: &Overrides,
    mut values: impl Iterator<Item = &'a str>,
    rules: &dyn ConfigRules,
) -> Result<(), Refused> {
    if values.any(is_too_long) {
        return Err(too_long());
    }
    rules.validate(resource, overrides)
}

fn is_too_long(value: &str) -> bool {
    // A unit is no more than three bytes.
    value.len() > VALUE_LEN_MAX * 3 || value.encode_utf16().count() > VALUE_LEN_MAX
}

fn too_long() -> Refused {
    let text = format!("The configuration value cannot be added because it exceeds the maximum value size of {VALUE_LEN_MAX} bytes.");
    Refused::new(ErrorCode::InvalidConfig, text)
}

/// Records for those of the touched keys whose value changes. A broker's keys are written all the same: setting one again is how an
/// operator makes a broker read a file anew.
fn differences(resource: &Resource, current: &Overrides, wanted: &Overrides, touched: &BTreeSet<&str>) -> Vec<Record> {
    let rewrites = matches!(resource, Resource::Broker(_));
    let changed = touched.iter().filter(|&&key| rewrites || current.get(key) != wanted.get(key));
    changed.map(|&key| Record::Config { resource: resource.clone(), key: key.to_owned(), value: wanted.get(key).cloned() }).collect()
}
