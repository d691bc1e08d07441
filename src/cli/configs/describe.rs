use std::io::Write;

use super::ConfigsError;
use super::entity::{Entity, EntityType, Name};
use crate::cli::console::Console;
use crate::client::{Client, ClientError, ConfigEntry};

pub(super) fn describe(entity: &Entity, all: bool, client: &mut Client, console: &mut Console) -> Result<(), ConfigsError> {
    if entity.name == Name::Every {
        for each in every(entity.kind, client)? {
            print(&each, all, client, console)?;
        }
        return Ok(());
    }
    if !all && !exists(entity, client)? {
        let kind = entity.kind.singular();
        writeln!(console.out(), "The {kind} '{}' doesn't exist and doesn't have dynamic config.", entity.name.written())?;
        return Ok(());
    }
    print(entity, all, client, console)
}

/// Whether what the command line names is there. Kafka's tool asks only where it does not show everything.
fn exists(entity: &Entity, client: &mut Client) -> Result<bool, ConfigsError> {
    entity.check_name()?;
    match &entity.name {
        Name::Topic(name) => Ok(client.list_topics()?.iter().any(|topic| topic.name == *name)),
        // "01" is no broker's id, although it is the number 1.
        Name::Broker(node, written) => Ok(node.to_string() == *written && client.live_brokers()?.contains(node)),
        Name::Every | Name::Default => Ok(true),
    }
}

/// Everything of a type; for brokers also what holds for all of them, last.
fn every(kind: EntityType, client: &mut Client) -> Result<Vec<Entity>, ClientError> {
    let names: Vec<Name> = match kind {
        EntityType::Topics => client.list_topics()?.into_iter().map(|topic| Name::Topic(topic.name)).collect(),
        EntityType::Brokers | EntityType::BrokerLoggers => {
            let brokers = client.live_brokers()?.into_iter().map(|node| Name::Broker(node, node.to_string()));
            brokers.chain([Name::Default]).collect()
        }
    };
    Ok(names.into_iter().map(|name| Entity { kind, name }).collect())
}

fn print(entity: &Entity, all: bool, client: &mut Client, console: &mut Console) -> Result<(), ConfigsError> {
    match (&entity.name, all) {
        (Name::Default | Name::Every, _) => {
            writeln!(console.out(), "Default configs for {} in the cluster are:", entity.kind.plural())?;
        }
        (name, true) => writeln!(console.out(), "All configs for {} {} are:", entity.kind.singular(), name.written())?,
        (name, false) => writeln!(console.out(), "Dynamic configs for {} {} are:", entity.kind.singular(), name.written())?,
    }
    entity.check_name()?;
    let wanted = entity.own_source().filter(|_| !all);
    for entry in client.describe_configs(&entity.resource())? {
        if wanted.is_none_or(|source| entry.source == source) {
            writeln!(console.out(), "{}", line(&entry))?;
        }
    }
    Ok(())
}

pub(super) fn line(entry: &ConfigEntry) -> String {
    let or_null = |value: &Option<String>| value.clone().unwrap_or_else(|| "null".to_owned());
    let synonyms = entry.synonyms.iter().map(|synonym| format!("{}:{}={}", synonym.source.name(), synonym.name, or_null(&synonym.value)));
    let synonyms = synonyms.collect::<Vec<_>>().join(", ");
    format!("  {}={} sensitive={} synonyms={{{synonyms}}}", entry.name, or_null(&entry.value), entry.is_sensitive)
}
