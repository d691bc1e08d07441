//! Holds a connector's configuration against the keys of its class, and describes keys as REST clients ask for them.
//!
//! Called by `worker` before a connector is made, and by `rest`. Pure.

use serde::Serialize;

use super::contract::{Config, Make, Plugin};
use super::convert::{self, Converter};
use super::definition::{Fallback, Key};
use super::registry;
use super::settings::Converters;
use super::transform::{Chain, below};

#[derive(Clone, Debug, Serialize)]
pub struct DescribedKey {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    required: bool,
    default_value: Option<&'static str>,
    importance: &'static str,
    documentation: &'static str,
    group: Option<&'static str>,
    order_in_group: i32,
    width: &'static str,
    display_name: String,
    dependents: [&'static str; 0],
}

#[derive(Clone, Debug, Serialize)]
pub struct JudgedValue {
    name: String,
    value: Option<String>,
    recommended_values: Vec<&'static str>,
    pub errors: Vec<String>,
    visible: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct JudgedKey {
    pub definition: DescribedKey,
    pub value: JudgedValue,
}

#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    pub name: String,
    pub error_count: usize,
    groups: Vec<&'static str>,
    pub configs: Vec<JudgedKey>,
}

impl Verdict {
    pub fn errors(&self) -> impl Iterator<Item = &String> {
        self.configs.iter().flat_map(|key| &key.value.errors)
    }
}

pub fn describe(key: &Key) -> DescribedKey {
    let place = key.place;
    DescribedKey {
        name: key.name.to_owned(),
        kind: key.kind.word(),
        required: key.fallback == Fallback::Required,
        default_value: key.default_value(),
        importance: key.importance,
        documentation: key.doc,
        group: place.map(|place| place.group),
        order_in_group: place.map_or(-1, |place| place.order),
        width: place.map_or("NONE", |place| place.width),
        display_name: place.map_or(key.name, |place| place.display).to_owned(),
        dependents: [],
    }
}

/// What a connector has where it names no converter: the worker's.
fn of_worker(key: &str, converters: &Converters) -> Option<&'static str> {
    match key {
        "key.converter" => Some(converters.key.class()),
        "value.converter" => Some(converters.value.class()),
        "header.converter" if converters.header == Converter::String => Some(convert::SIMPLE_HEADER),
        "header.converter" => Some(converters.header.class()),
        _ => None,
    }
}

fn recommended(key: &str) -> Vec<&'static str> {
    match key {
        "key.converter" | "value.converter" => vec![convert::BYTES, convert::JSON, convert::STRING],
        "header.converter" => vec![convert::BYTES, convert::JSON, convert::SIMPLE_HEADER, convert::STRING],
        _ if key.ends_with("plugin.version") => vec![registry::VERSION],
        _ => Vec::new(),
    }
}

fn judged(key: &Key, config: &Config, converters: &Converters) -> JudgedKey {
    let given = config.get(key.name);
    let mut definition = describe(key);
    definition.default_value = of_worker(key.name, converters).or(definition.default_value);
    let value = JudgedValue {
        name: key.name.to_owned(),
        value: given.cloned().or_else(|| definition.default_value.map(str::to_owned)),
        recommended_values: recommended(key.name),
        errors: key.errors(given.map(String::as_str)),
        visible: true,
    };
    JudgedKey { definition, value }
}

/// `name` is what the caller calls the plugin, `converters` are the worker's.
pub fn judge(name: &str, plugin: &Plugin, config: &Config, converters: &Converters) -> Verdict {
    let of_connectors = matches!(plugin.make, Make::Source(_) | Make::Sink(_));
    let common: &[Key] = if of_connectors { registry::COMMON } else { &[] };
    let keys: Vec<&Key> = common.iter().chain(registry::of_kind(plugin)).chain(plugin.keys).collect();
    let mut configs: Vec<JudgedKey> = keys.iter().map(|key| judged(key, config, converters)).collect();
    if of_connectors {
        for (key, error) in beyond_keys(plugin, config) {
            add(&mut configs, key, error);
        }
    }
    let mut groups: Vec<&'static str> = Vec::new();
    for group in keys.iter().filter_map(|key| key.place).map(|place| place.group) {
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    let error_count = configs.iter().map(|key| key.value.errors.len()).sum();
    Verdict { name: name.to_owned(), error_count, groups, configs }
}

fn add(configs: &mut Vec<JudgedKey>, key: String, error: String) {
    if let Some(known) = configs.iter_mut().find(|known| known.value.name == key) {
        return known.value.errors.push(error);
    }
    // The key of a transform or predicate, which no table lists under this alias.
    let definition = DescribedKey {
        name: key.clone(),
        kind: "STRING",
        required: true,
        default_value: None,
        importance: "HIGH",
        documentation: "",
        group: None,
        order_in_group: -1,
        width: "NONE",
        display_name: key.clone(),
        dependents: [],
    };
    configs.push(JudgedKey {
        definition,
        value: JudgedValue { name: key, value: None, recommended_values: Vec::new(), errors: vec![error], visible: true },
    });
}

/// What no single key tells.
fn beyond_keys(plugin: &Plugin, config: &Config) -> Vec<(String, String)> {
    let mut errors = Chain::new(config).err().unwrap_or_default();
    for key in ["key.converter", "value.converter", "header.converter"] {
        if let Some(class) = config.get(key)
            && let Err(error) = Converter::new(class, &below(config, &format!("{key}.")))
        {
            errors.push((key.to_owned(), format!("Invalid value {class} for configuration {key}: {error}")));
        }
    }
    if matches!(plugin.make, Make::Sink(_)) {
        let said = |key: &str| config.get(key).map_or("", |value| value.trim());
        let (topics, regex) = (said("topics"), said("topics.regex"));
        let dead = said("errors.deadletterqueue.topic.name");
        let of_both = match (topics.is_empty(), regex.is_empty()) {
            (true, true) => Some("Must configure one of topics or topics.regex"),
            (false, false) => Some("topics and topics.regex are mutually exclusive options, but both are set."),
            _ => None,
        };
        for key in ["topics", "topics.regex"] {
            errors.extend(of_both.map(|error| (key.to_owned(), error.to_owned())));
        }
        if !dead.is_empty() && topics.split(',').any(|topic| topic.trim() == dead) {
            errors.push(("topics".to_owned(), format!("the dead letter queue {dead} is among the topics that the sink reads")));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(class: &str, pairs: &[(&str, &str)]) -> Verdict {
        let config = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let json = Converter::Json { schemas: true };
        let converters = Converters { key: json, value: json, header: Converter::String };
        judge(class, registry::connector(class).unwrap(), &config, &converters)
    }

    #[test]
    fn a_good_configuration_has_no_errors() {
        let source = verdict("FileStreamSource", &[("name", "s"), ("connector.class", "FileStreamSource"), ("file", "f"), ("topic", "t")]);
        assert_eq!(source.error_count, 0, "{source:?}");
        assert_eq!(
            source.groups,
            ["Common", "Transforms", "Predicates", "Error Handling", "Topic Creation", "Exactly Once Support", "offsets.topic"]
        );
        let sink = verdict("FileStreamSink", &[("name", "s"), ("connector.class", "FileStreamSink"), ("topics", "t")]);
        assert_eq!(sink.error_count, 0);
    }

    #[test]
    fn errors_are_counted_and_placed() {
        let sink = verdict(
            "FileStreamSink",
            &[
                ("connector.class", "FileStreamSink"),
                ("topics", "a,dead"),
                ("topics.regex", "b.*"),
                ("errors.deadletterqueue.topic.name", "dead"),
                ("value.converter", "Avro"),
                ("transforms", "x"),
                ("transforms.x.type", "RegexRouter"),
            ],
        );
        let places: Vec<&str> = sink.configs.iter().filter(|key| !key.value.errors.is_empty()).map(|key| key.value.name.as_str()).collect();
        assert_eq!(places, ["name", "value.converter", "topics", "topics.regex", "transforms.x.regex"]);
        assert_eq!(sink.error_count, 6);
        assert_eq!(verdict("FileStreamSink", &[("name", "s"), ("connector.class", "x")]).error_count, 2);
    }
}
