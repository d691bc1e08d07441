use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use super::{Args, TopicsError};
use crate::cli::console::Console;
use crate::client::topic_filter::TopicFilter;
use crate::client::{Client, ConfigEntry, NamedPartition, Partition, Reassignment, TopicDescription};
use crate::types::{NodeId, TopicId};

/// Partitions per response where the user asks for no other number.
pub const PARTITIONS_PER_PAGE: i32 = 2000;

/// What the flags leave of a description.
struct Report<'a> {
    args: &'a Args,
    /// Asked for only where a flag needs it.
    live: BTreeSet<NodeId>,
}

/// One topic with everything that its lines are made of.
pub(super) struct Topic<'a> {
    pub description: &'a TopicDescription,
    pub configs: &'a [ConfigEntry],
    pub reassignments: &'a BTreeMap<NamedPartition, Reassignment>,
}

pub(super) fn describe(
    args: &Args,
    filter: Option<&TopicFilter>,
    page: Option<i32>,
    client: &mut Client,
    console: &mut Console,
) -> Result<(), TopicsError> {
    let described = find(args, filter, page, client)?;
    let names: Vec<String> = described.iter().map(|topic| topic.name.clone()).collect();
    let configs = client.topic_configs(&names)?;
    let live = if args.unavailable_partitions { client.live_brokers()? } else { BTreeSet::new() };
    let partitions: Vec<NamedPartition> =
        described.iter().flat_map(|topic| topic.partitions.iter().map(|partition| (topic.name.clone(), partition.index))).collect();
    let reassignments = if partitions.is_empty() { BTreeMap::new() } else { client.reassignments(&partitions)? };
    let report = Report { args, live };
    for description in &described {
        let configs = configs.get(&description.name).map_or(&[][..], Vec::as_slice);
        report.print(&Topic { description, configs, reassignments: &reassignments }, console.out())?;
    }
    Ok(())
}

fn find(args: &Args, filter: Option<&TopicFilter>, page: Option<i32>, client: &mut Client) -> Result<Vec<TopicDescription>, TopicsError> {
    let id = args.topic_id.as_deref().map(parse_topic_id).transpose()?.filter(|id| !id.is_zero());
    let listings = client.list_topics()?;
    if let Some(id) = id {
        let known = listings.iter().any(|topic| topic.id == id && !(args.exclude_internal && topic.internal));
        return match known {
            true => Ok(client.describe_topic_of_id(id)?),
            false if args.if_exists => Ok(Vec::new()),
            false => Err(TopicsError::NoTopicId(id.to_string())),
        };
    }
    let names = super::matching(listings, filter, args.exclude_internal);
    super::require_topic(args, &names)?;
    match names.is_empty() {
        true => Ok(Vec::new()),
        false => Ok(client.describe_topics(&names, page.unwrap_or(PARTITIONS_PER_PAGE))?),
    }
}

fn parse_topic_id(text: &str) -> Result<TopicId, TopicsError> {
    let digits = text.trim_end_matches('=');
    digits.parse().map_err(|_| TopicsError::TopicId { text: text.to_owned(), bytes: digits.len() * 6 / 8 })
}

impl Report<'_> {
    fn print(&self, topic: &Topic<'_>, out: &mut impl Write) -> io::Result<()> {
        if !self.is_selective() {
            let overridden = topic.configs.iter().any(|config| !config.is_default());
            if !self.args.topics_with_overrides || overridden {
                topic.print_heading(out)?;
            }
        }
        if self.args.topics_with_overrides {
            return Ok(());
        }
        for partition in &topic.description.partitions {
            if !self.is_selective() || self.selects(topic, partition) {
                topic.print_partition(partition, out)?;
            }
        }
        Ok(())
    }

    fn is_selective(&self) -> bool {
        let args = self.args;
        args.under_replicated_partitions || args.unavailable_partitions || args.under_min_isr_partitions || args.at_min_isr_partitions
    }

    fn selects(&self, topic: &Topic<'_>, partition: &Partition) -> bool {
        let in_sync = partition.isr.len();
        (self.args.under_replicated_partitions && topic.replication_factor(partition) > in_sync)
            || (self.args.unavailable_partitions && partition.leader.is_none_or(|leader| !self.live.contains(&leader)))
            || (self.args.under_min_isr_partitions && (partition.leader.is_none() || in_sync < topic.min_in_sync()))
            || (self.args.at_min_isr_partitions && in_sync == topic.min_in_sync())
    }
}

impl Topic<'_> {
    fn reassignment(&self, partition: &Partition) -> Option<&Reassignment> {
        self.reassignments.get(&(self.description.name.clone(), partition.index))
    }

    /// Replicas the partition is meant to have: while one moves, its list holds the old and the new.
    fn replication_factor(&self, partition: &Partition) -> usize {
        match self.reassignment(partition) {
            Some(moving) if partition.replicas.iter().any(|node| moving.adding.contains(node) || moving.removing.contains(node)) => {
                moving.replicas.len().saturating_sub(moving.adding.len())
            }
            _ => partition.replicas.len(),
        }
    }

    fn min_in_sync(&self) -> usize {
        let value = self.configs.iter().find(|config| config.name == "min.insync.replicas").and_then(|config| config.value.as_deref());
        value.and_then(|value| value.parse().ok()).unwrap_or(1)
    }

    pub(super) fn print_heading(&self, out: &mut impl Write) -> io::Result<()> {
        let overrides: Vec<String> = self
            .configs
            .iter()
            .filter(|config| !config.is_default())
            .map(|config| format!("{}={}", config.name, config.value.as_deref().unwrap_or("null")))
            .collect();
        write!(out, "Topic: {}", self.description.name)?;
        if !self.description.id.is_zero() {
            write!(out, "\tTopicId: {}", self.description.id)?;
        }
        let replication_factor = self.description.partitions.first().map_or(0, |first| self.replication_factor(first));
        write!(out, "\tPartitionCount: {}\tReplicationFactor: {replication_factor}", self.description.partitions.len())?;
        writeln!(out, "\tConfigs: {}", overrides.join(","))
    }

    pub(super) fn print_partition(&self, partition: &Partition, out: &mut impl Write) -> io::Result<()> {
        let leader = partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
        write!(out, "\tTopic: {}\tPartition: {}\tLeader: {leader}", self.description.name, partition.index)?;
        write!(out, "\tReplicas: {}\tIsr: {}", join(&partition.replicas), join(&partition.isr))?;
        if let Some(moving) = self.reassignment(partition) {
            write!(out, "\tAdding Replicas: {}\tRemoving Replicas: {}", join(&moving.adding), join(&moving.removing))?;
        }
        let or_unknown = |nodes: &Option<Vec<NodeId>>| nodes.as_deref().map_or_else(|| "N/A".to_owned(), join);
        writeln!(out, "\tElr: {}\tLastKnownElr: {}", or_unknown(&partition.eligible), or_unknown(&partition.last_known_eligible))
    }
}

fn join(nodes: &[NodeId]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}
