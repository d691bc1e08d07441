//! `--reset-offsets`: which partitions, which offsets, and whether they are committed or only shown.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::SystemTime;

use super::describe::width;
use super::plan::{self, Plan};
use super::{Args, GroupsError, time};
use crate::cli::console::Console;
use crate::client::{Client, GroupState, NamedPartition, OffsetSpec};
use crate::wire::error::ErrorCode;

const PARTITIONS_PER_PAGE: i32 = 2000;

/// What a group is to have committed.
type Offsets = BTreeMap<NamedPartition, i64>;

pub fn reset(args: &Args, groups: &[String], client: &mut Client, console: &mut Console) -> Result<(), GroupsError> {
    let mut reset = BTreeMap::new();
    for group in groups {
        let state = match client.describe_group(group) {
            Ok(described) => described.state,
            // Offsets may be committed before anybody joins.
            Err(error) if error.refusal() == Some(ErrorCode::GroupIdNotFound) => GroupState::Dead,
            Err(error) => return Err(GroupsError::Within(error)),
        };
        let offsets = match state {
            GroupState::Empty | GroupState::Dead => reset_group(args, group, client, console)?,
            state => {
                writeln!(
                    console.out(),
                    "\nError: Assignments can only be reset if the group '{group}' is inactive, but the current state is {state}."
                )?;
                Offsets::new()
            }
        };
        reset.insert(group.clone(), offsets);
    }
    match args.export {
        true => writeln!(console.out(), "{}", plan::export(&reset, args.group.len() == 1))?,
        false => print(&reset, console)?,
    }
    Ok(())
}

fn print(reset: &BTreeMap<String, Offsets>, console: &mut Console) -> Result<(), GroupsError> {
    let group_width = width(reset.keys().map(String::as_str));
    let topic_width = width(reset.values().flat_map(|offsets| offsets.keys().map(|(topic, _)| topic.as_str())));
    if !reset.is_empty() {
        write!(console.out(), "\n{:<group_width$} {:<topic_width$} {:<10} NEW-OFFSET", "GROUP", "TOPIC", "PARTITION")?;
    }
    for (group, offsets) in reset {
        for ((topic, partition), offset) in offsets {
            write!(console.out(), "\n{group:<group_width$} {topic:<topic_width$} {partition:<10} {offset}")?;
        }
    }
    writeln!(console.out())?;
    Ok(())
}

fn reset_group(args: &Args, group: &str, client: &mut Client, console: &mut Console) -> Result<Offsets, GroupsError> {
    let partitions = partitions(args, group, client)?;
    require_all(&partitions, client)?;
    let offsets = offsets(args, group, &partitions, client, console)?;
    if args.execute && !args.dry_run {
        client.commit_offsets(group, &offsets).map_err(GroupsError::Bare)?;
    }
    Ok(offsets)
}

/// The partitions in the scope of the command.
fn partitions(args: &Args, group: &str, client: &mut Client) -> Result<Vec<NamedPartition>, GroupsError> {
    if args.all_topics {
        return Ok(client.committed_offsets(group).map_err(GroupsError::Within)?.into_keys().collect());
    }
    if args.topic.is_empty() && args.from_file.is_none() {
        return Err(GroupsError::Usage("One of the reset scopes should be defined: --all-topics, --topic.".to_owned()));
    }
    let mut partitions = BTreeSet::new();
    let mut whole = Vec::new();
    for topic in &args.topic {
        match topic.contains(':') {
            true => partitions.extend(parse_partitions(topic)?),
            false => whole.push(topic.clone()),
        }
    }
    if !whole.is_empty() {
        let described = client.describe_topics(&whole, PARTITIONS_PER_PAGE).map_err(GroupsError::Bare)?;
        partitions.extend(described.iter().flat_map(|topic| topic.partitions.iter().map(|each| (topic.name.clone(), each.index))));
    }
    Ok(partitions.into_iter().collect())
}

/// `orders:0,1`
pub fn parse_partitions(text: &str) -> Result<Vec<NamedPartition>, GroupsError> {
    let (topic, indexes) = text
        .trim_end_matches(':')
        .split_once(':')
        .filter(|(_, indexes)| !indexes.contains(':'))
        .ok_or_else(|| GroupsError::Usage(format!("Invalid topic arg '{text}', expected topic name and partitions")))?;
    let parse = |index: &str| match index.parse() {
        Ok(index) => Ok((topic.to_owned(), index)),
        Err(_) => Err(GroupsError::Usage(format!("Invalid partition '{index}' specified in topic arg '{text}''"))),
    };
    indexes.trim_end_matches(',').split(',').map(parse).collect()
}

/// Every partition must exist and be led, or nothing is reset.
fn require_all(partitions: &[NamedPartition], client: &mut Client) -> Result<(), GroupsError> {
    let topics: BTreeSet<String> = partitions.iter().map(|(topic, _)| topic.clone()).collect();
    let topics: Vec<String> = topics.into_iter().collect();
    if topics.is_empty() {
        return Ok(());
    }
    let described = client.describe_topics(&topics, PARTITIONS_PER_PAGE).map_err(GroupsError::Within)?;
    let existing: BTreeMap<NamedPartition, bool> = described
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|each| ((topic.name.clone(), each.index), each.leader.is_some())))
        .collect();
    let named = |missing: &dyn Fn(&NamedPartition) -> bool| {
        let names = partitions.iter().filter(|partition| missing(partition));
        names.map(|(topic, index)| format!("{topic}-{index}")).collect::<Vec<_>>().join(",")
    };
    let absent = named(&|partition| !existing.contains_key(partition));
    if !absent.is_empty() {
        return Err(GroupsError::Sentence(format!("The partitions \"{absent}\" do not exist")));
    }
    let unled = named(&|partition| existing.get(partition) == Some(&false));
    if !unled.is_empty() {
        return Err(GroupsError::Sentence(format!("The partitions \"{unled}\" have no leader")));
    }
    Ok(())
}

fn offsets(
    args: &Args,
    group: &str,
    partitions: &[NamedPartition],
    client: &mut Client,
    console: &mut Console,
) -> Result<Offsets, GroupsError> {
    let committed = |client: &mut Client| client.committed_offsets(group).map_err(GroupsError::Within);
    if let Some(offset) = args.to_offset {
        within_log(partitions.iter().map(|partition| (partition.clone(), offset)).collect(), client, console)
    } else if args.to_earliest {
        log_offsets(partitions, OffsetSpec::Earliest, "starting", client)
    } else if args.to_latest {
        log_offsets(partitions, OffsetSpec::Latest, "ending", client)
    } else if let Some(shift) = args.shift_by {
        let committed = committed(client)?;
        let shifted = partitions.iter().map(|partition| match committed.get(partition) {
            Some(committed) => Ok((partition.clone(), committed.offset.saturating_add(shift))),
            None => Err(GroupsError::Usage(format!(
                "Cannot shift offset for partition {}-{} since there is no current committed offset",
                partition.0, partition.1
            ))),
        });
        within_log(shifted.collect::<Result<_, _>>()?, client, console)
    } else if let Some(text) = &args.to_datetime {
        let timestamp = time::date_time(text).map_err(|error| GroupsError::Sentence(format!("java.text.ParseException: {error}")))?;
        of_time(partitions, timestamp, client, console)
    } else if let Some(text) = &args.by_duration {
        let span = time::duration_ms(text).map_err(|error| GroupsError::Sentence(error.to_string()))?;
        of_time(partitions, now_ms().saturating_sub(span), client, console)
    } else if let Some(file) = &args.from_file {
        let plan = Plan::read(file, &args.group).map_err(|error| GroupsError::Sentence(error.to_string()))?;
        match plan.of_group(group) {
            Some(offsets) => within_log(offsets.clone(), client, console),
            None => {
                writeln!(console.out(), "\nError: No reset plan for group {group} found")?;
                Ok(Offsets::new())
            }
        }
    } else if args.to_current {
        let committed = committed(client)?;
        let (known, unknown): (Vec<_>, Vec<_>) = partitions.iter().cloned().partition(|partition| committed.contains_key(partition));
        let mut offsets = log_offsets(&unknown, OffsetSpec::Latest, "ending", client)?;
        offsets.extend(known.into_iter().map(|partition| {
            let offset = committed[&partition].offset;
            (partition, offset)
        }));
        Ok(offsets)
    } else {
        Err(GroupsError::Usage(
            "Option '[reset-offsets]' requires one of the following scenarios: [[to-offset], [shift-by], [to-datetime], [by-duration], \
             [to-earliest], [to-latest], [to-current], [from-file]]"
                .to_owned(),
        ))
    }
}

/// One kind of offset of every partition.
fn log_offsets(partitions: &[NamedPartition], spec: OffsetSpec, which: &str, client: &mut Client) -> Result<Offsets, GroupsError> {
    let mut offsets = Offsets::new();
    for ((topic, index), answer) in client.list_offsets(partitions, spec).map_err(GroupsError::Within)? {
        match answer.map_err(GroupsError::Within)? {
            Some(offset) => offsets.insert((topic, index), offset),
            None => return Err(GroupsError::Usage(format!("Error getting {which} offset of topic partition: {topic}-{index}"))),
        };
    }
    Ok(offsets)
}

/// The first offsets that are not older; the end where all records are.
fn of_time(partitions: &[NamedPartition], timestamp: i64, client: &mut Client, console: &mut Console) -> Result<Offsets, GroupsError> {
    let answers = client.list_offsets(partitions, OffsetSpec::Timestamp(timestamp)).map_err(GroupsError::Within)?;
    let (mut offsets, mut older) = (Offsets::new(), Vec::new());
    for (partition, answer) in answers {
        match answer.map_err(GroupsError::Within)? {
            Some(offset) => {
                offsets.insert(partition, offset);
            }
            None => older.push(partition),
        }
    }
    for (topic, index) in &older {
        writeln!(console.out(), "\nWarn: Partition {index} from topic {topic} is empty. Falling back to latest known offset.")?;
    }
    offsets.extend(log_offsets(&older, OffsetSpec::Latest, "ending", client)?);
    Ok(offsets)
}

/// Offsets outside what a log holds become its beginning or its end.
fn within_log(mut wanted: Offsets, client: &mut Client, console: &mut Console) -> Result<Offsets, GroupsError> {
    let partitions: Vec<NamedPartition> = wanted.keys().cloned().collect();
    let starts = log_offsets(&partitions, OffsetSpec::Earliest, "starting", client)?;
    let ends = log_offsets(&partitions, OffsetSpec::Latest, "ending", client)?;
    for ((topic, index), offset) in &mut wanted {
        let partition = (topic.clone(), *index);
        let (start, end) = (starts[&partition], ends[&partition]);
        let (told, bound) = match *offset {
            offset if offset > end => ("higher than latest", end),
            offset if offset < start => ("lower than earliest", start),
            _ => continue,
        };
        let topic_partition = format!("{topic}-{index}");
        writeln!(
            console.err()?,
            "New offset ({offset}) is {told} offset for topic partition {topic_partition}. Value will be set to {bound}"
        )?;
        *offset = bound;
    }
    Ok(wanted)
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
