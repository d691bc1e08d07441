//! What groups have committed, and in which state they are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::Write;

use super::GroupsError;
use crate::cli::console::Console;
use crate::client::{Client, Committed, Group, GroupState, NamedPartition, OffsetSpec, PerPartition};

/// What stands where there is nothing to tell.
pub const MISSING: &str = "-";

/// The narrowest a column of names is.
pub const WIDTH_MIN: usize = 15;

pub fn told(value: Option<impl Display>) -> String {
    value.map_or_else(|| MISSING.to_owned(), |value| value.to_string())
}

/// As wide as the widest text, and no narrower than the columns usually are.
pub fn width<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0).max(WIDTH_MIN)
}

/// Every group is asked for before the first is printed.
pub fn describe_all(names: &[String], client: &mut Client) -> Result<Vec<Group>, GroupsError> {
    names.iter().map(|name| client.describe_group(name).map_err(GroupsError::from)).collect()
}

/// Says what is to be said of a group's state; whether there are rows to print then.
pub fn announce(group: &Group, rows: usize, console: &mut Console) -> Result<bool, GroupsError> {
    let name = &group.name;
    match group.state {
        GroupState::Dead => writeln!(console.out(), "\nError: Consumer group '{name}' does not exist.")?,
        GroupState::Empty => writeln!(console.err()?, "\nConsumer group '{name}' has no active members.")?,
        GroupState::PreparingRebalance | GroupState::CompletingRebalance | GroupState::Assigning | GroupState::Reconciling => {
            writeln!(console.err()?, "\nWarning: Consumer group '{name}' is rebalancing.")?;
        }
        GroupState::Stable => {}
        GroupState::NotReady | GroupState::Unknown => {
            let state = group.state;
            return Err(GroupsError::Sentence(format!("Expected a valid consumer group state, but found '{state}'.")));
        }
    }
    Ok(group.state != GroupState::Dead && rows > 0)
}

/// A partition of a group, and who reads it.
struct Row {
    topic: String,
    partition: i32,
    committed: Option<Committed>,
    end: Option<i64>,
    consumer: String,
    host: String,
    client: String,
}

impl Row {
    fn lag(&self) -> Option<i64> {
        let offset = self.committed.as_ref()?.offset;
        self.end.map(|end| end - offset)
    }
}

pub fn offsets(names: &[String], verbose: bool, client: &mut Client, console: &mut Console) -> Result<(), GroupsError> {
    let mut described = Vec::with_capacity(names.len());
    for group in describe_all(names, client)? {
        let committed = client.committed_offsets(&group.name).map_err(GroupsError::Within)?;
        let partitions: BTreeSet<NamedPartition> =
            group.members.iter().flat_map(|member| &member.assigned).chain(committed.keys()).cloned().collect();
        let partitions: Vec<NamedPartition> = partitions.into_iter().collect();
        let ends = client.list_offsets(&partitions, OffsetSpec::Latest).map_err(GroupsError::Within)?;
        let rows = rows(&group, &committed, &ends);
        described.push((group, rows));
    }
    for (group, rows) in described {
        if announce(&group, rows.len(), console)? {
            print(&group.name, &rows, verbose, console)?;
        }
    }
    Ok(())
}

/// The partitions of members, those with most partitions first; then those that nobody reads.
fn rows(group: &Group, committed: &BTreeMap<NamedPartition, Committed>, ends: &PerPartition<Option<i64>>) -> Vec<Row> {
    let row = |partition: &NamedPartition, consumer: &str, host: &str, client: &str| Row {
        topic: partition.0.clone(),
        partition: partition.1,
        committed: committed.get(partition).cloned(),
        end: ends.get(partition).and_then(|answer| answer.as_ref().ok().copied().flatten()),
        consumer: consumer.to_owned(),
        host: host.to_owned(),
        client: client.to_owned(),
    };
    let mut members: Vec<_> = group.members.iter().filter(|member| !member.assigned.is_empty()).collect();
    members.sort_by_key(|member| Reverse(member.assigned.len()));
    let mut assigned = BTreeSet::new();
    let mut rows = Vec::new();
    for member in members {
        assigned.extend(&member.assigned);
        rows.extend(member.assigned.iter().map(|partition| row(partition, &member.id, &member.host, &member.client_id)));
    }
    let unread = committed.keys().filter(|partition| !assigned.contains(partition));
    rows.extend(unread.map(|partition| row(partition, MISSING, MISSING, MISSING)));
    rows
}

fn print(group: &str, rows: &[Row], verbose: bool, console: &mut Console) -> Result<(), GroupsError> {
    let group_width = width([group].into_iter());
    let topic_width = width(rows.iter().map(|row| row.topic.as_str()));
    let consumer_width = width(rows.iter().map(|row| row.consumer.as_str()));
    let host_width = width(rows.iter().map(|row| row.host.as_str()));
    let line = |cells: [&str; 10]| {
        let [group, topic, partition, epoch, offset, end, lag, consumer, host, client] = cells;
        let epoch = if verbose { format!("{epoch:<15} ") } else { String::new() };
        format!(
            "\n{group:<group_width$} {topic:<topic_width$} {partition:<10} {epoch}{offset:<15} {end:<15} {lag:<15} \
             {consumer:<consumer_width$} {host:<host_width$} {client}"
        )
    };
    let head =
        ["GROUP", "TOPIC", "PARTITION", "LEADER-EPOCH", "CURRENT-OFFSET", "LOG-END-OFFSET", "LAG", "CONSUMER-ID", "HOST", "CLIENT-ID"];
    write!(console.out(), "{}", line(head))?;
    for row in rows {
        let committed = row.committed.as_ref();
        let cells = [
            group,
            &row.topic,
            &row.partition.to_string(),
            &told(committed.and_then(|committed| committed.leader_epoch)),
            &told(committed.map(|committed| committed.offset)),
            &told(row.end),
            &told(row.lag()),
            &row.consumer,
            &row.host,
            &row.client,
        ];
        write!(console.out(), "{}", line(cells))?;
    }
    writeln!(console.out())?;
    Ok(())
}

pub fn states(names: &[String], verbose: bool, client: &mut Client, console: &mut Console) -> Result<(), GroupsError> {
    for group in describe_all(names, client)? {
        if !announce(&group, 1, console)? {
            continue;
        }
        let coordinator = format!("{}:{}  ({})", group.coordinator.address.host, group.coordinator.address.port, group.coordinator.node);
        let group_width = width([group.name.as_str()].into_iter());
        let coordinator_width = coordinator.chars().count().max(25);
        let line = |cells: [&str; 7]| {
            let [name, coordinator, strategy, state, epoch, target, members] = cells;
            let epochs = if verbose { format!("{epoch:<15} {target:<25} ") } else { String::new() };
            format!("\n{name:<group_width$} {coordinator:<coordinator_width$} {strategy:<20} {state:<20} {epochs}{members}")
        };
        let head = ["GROUP", "COORDINATOR (ID)", "ASSIGNMENT-STRATEGY", "STATE", "GROUP-EPOCH", "TARGET-ASSIGNMENT-EPOCH", "#MEMBERS"];
        let cells = [
            group.name.as_str(),
            &coordinator,
            if group.assignor.is_empty() { MISSING } else { group.assignor.as_str() },
            &group.state.to_string(),
            &told(group.epoch),
            &told(group.target_epoch),
            &group.members.len().to_string(),
        ];
        writeln!(console.out(), "{}{}", line(head), line(cells))?;
    }
    Ok(())
}
