use std::collections::BTreeMap;
use std::io::Write;

use super::entity::{Entity, EntityType, Name};
use super::{Args, ConfigsError};
use crate::cli::console::Console;
use crate::client::{Client, Settings};
use crate::config::Properties;

pub(super) fn alter(args: &Args, entity: &Entity, settings: Settings, console: &mut Console) -> Result<(), ConfigsError> {
    let added = added(args)?;
    let removed = removed(&args.delete_config);
    let resource = entity.resource();
    let mut client = Client::connect(settings)?;
    if entity.kind == EntityType::BrokerLoggers {
        let loggers: Vec<String> = client.describe_configs(&resource)?.into_iter().map(|entry| entry.name).collect();
        let unknown: Vec<&str> = removed.iter().chain(added.keys()).filter(|name| !loggers.contains(name)).map(String::as_str).collect();
        if !unknown.is_empty() {
            return Err(ConfigsError::NoLogger(unknown.join(",")));
        }
    }
    let added: Vec<(String, String)> = added.into_iter().collect();
    client.alter_configs(&resource, &added, &removed)?;
    match &entity.name {
        Name::Default | Name::Every => {
            writeln!(console.out(), "Completed updating default config for {} in the cluster.", entity.kind.plural())?
        }
        name => writeln!(console.out(), "Completed updating config for {} {}.", entity.kind.singular(), name.written())?,
    }
    Ok(())
}

/// The settings of `--add-config` or `--add-config-file`; of several with one name the last counts.
fn added(args: &Args) -> Result<BTreeMap<String, String>, ConfigsError> {
    let mut added = BTreeMap::new();
    if let Some(path) = &args.add_config_file {
        let file = path.display().to_string();
        let bytes = std::fs::read(path).map_err(|error| ConfigsError::File(format!("cannot read {file}: {error}")))?;
        let properties = Properties::parse(&file, &bytes).map_err(|error| ConfigsError::File(error.to_string()))?;
        added.extend(properties.entries.into_iter().map(|(key, entry)| (key, entry.value)));
    }
    if let Some(text) = &args.add_config {
        added.extend(parse_settings(text)?);
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '$' | '.' | '_' | '-');
    match added.keys().find(|key| !key.chars().all(legal)) {
        Some(key) => Err(ConfigsError::Key(key.clone())),
        None => Ok(added),
    }
}

/// `name=value,name=[value,value]`, split as Kafka splits it: outside brackets, which then do not belong to the value.
pub(super) fn parse_settings(text: &str) -> Result<Vec<(String, String)>, ConfigsError> {
    let mut settings = split_outside_brackets(text, ',');
    // As Java splits: empty parts at the end do not count, but an empty text is one part.
    if !text.is_empty() {
        let counted = settings.iter().rposition(|part| !part.is_empty()).map_or(0, |last| last + 1);
        settings.truncate(counted);
    }
    settings
        .into_iter()
        .map(|setting| match split_outside_brackets(setting, '=').as_slice() {
            [name, value] => Ok((trim(name).to_owned(), trim(&value.replace(['[', ']'], "")).to_owned())),
            _ => Err(ConfigsError::Format),
        })
        .collect()
}

fn split_outside_brackets(text: &str, separator: char) -> Vec<&str> {
    // Inside: a closing bracket follows, and no opening one before it.
    let is_outside = |rest: &str| rest.find(['[', ']']).is_none_or(|at| rest[at..].starts_with('['));
    let mut parts = Vec::new();
    let mut begin = 0;
    for (at, found) in text.match_indices(separator) {
        if is_outside(&text[at + found.len()..]) {
            parts.push(&text[begin..at]);
            begin = at + found.len();
        }
    }
    parts.push(&text[begin..]);
    parts
}

/// The names of every `--delete-config`.
pub(super) fn removed(options: &[String]) -> Vec<String> {
    let names = options.iter().flat_map(|option| {
        let parts: Vec<&str> = option.split(',').filter(|part| !part.is_empty()).collect();
        // An option with nothing in it still names something, which then is not found.
        if parts.is_empty() { vec![option.as_str()] } else { parts }
    });
    names.map(|name| trim(name).to_owned()).collect()
}

/// Java's idea of blanks: everything up to the space.
fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}
