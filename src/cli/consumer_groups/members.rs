//! Who is in groups.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use super::GroupsError;
use super::describe::{MISSING, announce, describe_all, told, width};
use crate::cli::console::Console;
use crate::client::{Client, Group, Member, NamedPartition};

pub fn describe(names: &[String], verbose: bool, client: &mut Client, console: &mut Console) -> Result<(), GroupsError> {
    for group in describe_all(names, client)? {
        announce(&group, group.members.len(), console)?;
        print(&group, verbose, console)?;
    }
    Ok(())
}

/// The columns of one group's table.
struct Columns {
    group: usize,
    consumer: usize,
    /// None where no member has a name of its own.
    instance: Option<usize>,
    host: usize,
    client: usize,
    current: usize,
    target: usize,
    /// The group holds members of both protocols.
    mixed: bool,
    verbose: bool,
}

impl Columns {
    fn of(group: &Group, verbose: bool) -> Self {
        let members = &group.members;
        let widest = |texts: Vec<String>, least: usize| texts.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(least);
        let instances: Vec<String> = members.iter().filter_map(|member| member.instance.clone()).filter(|id| !id.is_empty()).collect();
        let has = |upgraded: bool| members.iter().any(|member| member.is_upgraded == Some(upgraded));
        let group_width = if members.is_empty() { super::describe::WIDTH_MIN } else { width([group.name.as_str()].into_iter()) };
        Columns {
            group: group_width,
            consumer: width(members.iter().map(|member| member.id.as_str())),
            instance: (!instances.is_empty()).then(|| widest(instances, 17)),
            host: width(members.iter().map(|member| member.host.as_str())),
            client: width(members.iter().map(|member| member.client_id.as_str())),
            current: widest(members.iter().map(|member| assignment(&member.assigned)).collect(), 20),
            target: widest(members.iter().map(target).collect(), 20),
            mixed: has(true) && has(false),
            verbose,
        }
    }

    fn line(&self, cells: [&str; 11]) -> String {
        let [group, consumer, instance, host, client, partitions, epoch, current, target_epoch, target, upgraded] = cells;
        let Columns { group: gw, consumer: cw, host: hw, client: lw, current: uw, target: tw, .. } = *self;
        let instance = self.instance.map(|width| format!("{instance:<width$} ")).unwrap_or_default();
        let mut line = format!("{group:<gw$} {consumer:<cw$} {instance}{host:<hw$} {client:<lw$} {partitions:<15} ");
        if self.verbose {
            line += &format!("{epoch:<15} {current:<uw$} {target_epoch:<15} {target:<tw$}");
            if self.mixed {
                line += &format!(" {upgraded}");
            }
        }
        line
    }
}

fn print(group: &Group, verbose: bool, console: &mut Console) -> Result<(), GroupsError> {
    let columns = Columns::of(group, verbose);
    let head = [
        "GROUP",
        "CONSUMER-ID",
        "GROUP-INSTANCE-ID",
        "HOST",
        "CLIENT-ID",
        "#PARTITIONS",
        "CURRENT-EPOCH",
        "CURRENT-ASSIGNMENT",
        "TARGET-EPOCH",
        "TARGET-ASSIGNMENT",
        "UPGRADED",
    ];
    writeln!(console.out(), "\n{}", columns.line(head))?;
    for member in &group.members {
        let cells = [
            &group.name,
            &member.id,
            member.instance.as_deref().unwrap_or_default(),
            &member.host,
            &member.client_id,
            &member.assigned.len().to_string(),
            &told(member.epoch),
            &assignment(&member.assigned),
            &told(group.target_epoch),
            &target(member),
            &told(member.is_upgraded),
        ];
        writeln!(console.out(), "{}", columns.line(cells))?;
    }
    Ok(())
}

fn target(member: &Member) -> String {
    member.target.as_ref().map_or_else(|| MISSING.to_owned(), assignment)
}

/// `orders:0,1;bills:2`, in the order of the written topics.
fn assignment(partitions: &BTreeSet<NamedPartition>) -> String {
    if partitions.is_empty() {
        return MISSING.to_owned();
    }
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(partition.to_string());
    }
    topics.into_iter().map(|(topic, indexes)| format!("{topic}:{}", indexes.join(","))).collect::<Vec<_>>().join(";")
}
