//! What takes groups, or what they committed, away.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use super::GroupsError;
use super::describe::{MISSING, width};
use super::reset::parse_partitions;
use crate::cli::console::Console;
use crate::client::{Client, ClientError};
use crate::wire::error::ErrorCode;

const PARTITIONS_PER_PAGE: i32 = 2000;

pub fn groups(names: &[String], client: &mut Client, console: &mut Console) -> Result<(), GroupsError> {
    let (mut deleted, mut failed) = (Vec::new(), Vec::new());
    for name in names {
        match client.delete_group(name) {
            Ok(()) => deleted.push(format!("'{name}'")),
            Err(error @ ClientError::Refused(_)) => failed.push((name, error)),
            Err(error) => return Err(error.into()),
        }
    }
    if failed.is_empty() {
        writeln!(console.out(), "Deletion of requested consumer groups ({}) was successful.", deleted.join(", "))?;
        return Ok(());
    }
    writeln!(console.out(), "\nError: Deletion of some consumer groups failed:")?;
    for (name, error) in failed {
        writeln!(console.out(), "* Group '{name}' could not be deleted due to: {}", error.as_exception())?;
    }
    if !deleted.is_empty() {
        writeln!(console.out(), "\nThese consumer groups were deleted successfully: {}", deleted.join(", "))?;
    }
    Ok(())
}

/// How one partition fared; a topic that could not be looked at has partition -1.
type Outcomes = BTreeMap<(String, i32), Result<(), String>>;

pub fn offsets(group: &str, topics: &[String], client: &mut Client, console: &mut Console) -> Result<(), GroupsError> {
    let mut outcomes = Outcomes::new();
    let mut partitions = BTreeSet::new();
    for topic in topics {
        if topic.contains(':') {
            partitions.extend(parse_partitions(topic)?);
            continue;
        }
        match client.describe_topics(std::slice::from_ref(topic), PARTITIONS_PER_PAGE) {
            Ok(described) => {
                let found = described.iter().flat_map(|topic| topic.partitions.iter().map(|each| (topic.name.clone(), each.index)));
                partitions.extend(found);
            }
            Err(error @ ClientError::Refused(_)) => {
                outcomes.insert((topic.clone(), -1), Err(error.as_exception()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    let partitions: Vec<_> = partitions.into_iter().collect();
    let refusal = match client.delete_offsets(group, &partitions) {
        Ok(answers) => {
            let first = answers.values().find_map(|answer| answer.as_ref().err().and_then(ClientError::refusal));
            outcomes.extend(answers.into_iter().map(|(partition, answer)| (partition, answer.map_err(|error| error.as_exception()))));
            first.map(|code| (code, String::new()))
        }
        Err(error @ ClientError::Refused(_)) => {
            let why = error.as_exception();
            outcomes.extend(partitions.into_iter().map(|partition| (partition, Err(why.clone()))));
            error.refusal().map(|code| (code, error.to_string()))
        }
        Err(error) => return Err(error.into()),
    };
    let sentence = match refusal {
        None => format!("Request succeeded for deleting offsets from group {group}."),
        Some((code, message)) => format!("\nError: {}", heading(code, message)),
    };
    writeln!(console.out(), "{sentence}")?;
    print(&outcomes, console)
}

fn heading(code: ErrorCode, message: String) -> String {
    match code {
        ErrorCode::InvalidGroupId | ErrorCode::GroupIdNotFound | ErrorCode::GroupAuthorizationFailed | ErrorCode::NonEmptyGroup => message,
        ErrorCode::GroupSubscribedToTopic | ErrorCode::TopicAuthorizationFailed | ErrorCode::UnknownTopicOrPartition => {
            "Encountered some partition-level error, see the follow-up details.".to_owned()
        }
        other => format!("Encountered some unknown error: {}", other.name()),
    }
}

fn print(outcomes: &Outcomes, console: &mut Console) -> Result<(), GroupsError> {
    let topic_width = width(outcomes.keys().map(|(topic, _)| topic.as_str()));
    write!(console.out(), "\n{:<topic_width$} {:<10} {:<15}", "TOPIC", "PARTITION", "STATUS")?;
    // In the order of the written names: partition 10 before partition 2.
    let mut ordered: Vec<_> = outcomes.iter().collect();
    ordered.sort_by_key(|((topic, partition), _)| format!("{topic}{partition}"));
    for ((topic, partition), outcome) in ordered {
        let partition = if *partition >= 0 { partition.to_string() } else { MISSING.to_owned() };
        let status = match outcome {
            Ok(()) => "Successful".to_owned(),
            Err(why) => format!("Error: {why}"),
        };
        write!(console.out(), "\n{topic:<topic_width$} {partition:<10} {status:<15}")?;
    }
    writeln!(console.out())?;
    Ok(())
}
