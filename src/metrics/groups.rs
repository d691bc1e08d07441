//! Consumer groups: what their coordinators count, and how far groups are behind.

use std::time::Duration;

use super::text::{Kind, Text};
use super::{Counter, Latency, LatencySnapshot};
use crate::types::{Offset, PartitionIndex, TopicName};

/// What one shard's coordinators count.
#[derive(Default)]
pub struct Coordination {
    /// Times of loads of a coordinator's state from its log.
    pub loads: Latency,
    /// Offsets of partitions, committed.
    pub commits: Counter,
    rebalances: Counter,
    rebalance_times: Latency,
}

impl Coordination {
    /// So many rebalances have ended since this was last told, the latest of them after these times.
    pub fn on_rebalances(&self, count: u64, took: &[Duration]) {
        self.rebalances.add(count);
        took.iter().for_each(|span| self.rebalance_times.record(*span));
    }

    pub(super) fn snapshot(&self) -> CoordinationSnapshot {
        CoordinationSnapshot {
            loads: self.loads.snapshot(),
            commits: self.commits.get(),
            rebalances: self.rebalances.get(),
            rebalance_times: self.rebalance_times.snapshot(),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct CoordinationSnapshot {
    loads: LatencySnapshot,
    commits: u64,
    rebalances: u64,
    rebalance_times: LatencySnapshot,
}

impl CoordinationSnapshot {
    fn merge(&mut self, other: &Self) {
        self.loads.merge(&other.loads);
        self.commits += other.commits;
        self.rebalances += other.rebalances;
        self.rebalance_times.merge(&other.rebalance_times);
    }
}

/// The coordinators and groups of one shard, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupGauges {
    pub coordinators_loading: u64,
    pub coordinators_serving: u64,
    pub coordinators_out_of_service: u64,
    pub empty: u64,
    pub preparing_rebalance: u64,
    pub completing_rebalance: u64,
    pub stable: u64,
    pub members: u64,
}

impl GroupGauges {
    fn merge(&mut self, other: &Self) {
        self.coordinators_loading += other.coordinators_loading;
        self.coordinators_serving += other.coordinators_serving;
        self.coordinators_out_of_service += other.coordinators_out_of_service;
        self.empty += other.empty;
        self.preparing_rebalance += other.preparing_rebalance;
        self.completing_rebalance += other.completing_rebalance;
        self.stable += other.stable;
        self.members += other.members;
    }
}

/// How far a group has read a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Committed {
    pub group: String,
    pub topic: TopicName,
    pub partition: PartitionIndex,
    pub offset: Offset,
}

/// The committed offsets that have series of their own, each with its partition's high watermark if there is one.
#[derive(Clone, Debug, Default)]
pub struct Lags {
    pub known: Vec<(Committed, Option<Offset>)>,
    /// Committed offsets beyond the limit.
    pub unnamed: u64,
}

pub(super) fn put(text: &mut Text, gauges: impl Iterator<Item = GroupGauges>, counts: &[&CoordinationSnapshot], lags: &Lags) {
    let mut now = GroupGauges::default();
    gauges.for_each(|gauges| now.merge(&gauges));
    let mut sum = CoordinationSnapshot::default();
    counts.iter().for_each(|counts| sum.merge(counts));

    text.family("ottla_coordinators", Kind::Gauge, "Coordinators of groups, one for each partition of __consumer_offsets, by phase.");
    for (phase, count) in
        [("loading", now.coordinators_loading), ("serving", now.coordinators_serving), ("out_of_service", now.coordinators_out_of_service)]
    {
        text.sample(&[("phase", phase)], count);
    }
    text.family("ottla_coordinator_load_duration_seconds", Kind::Histogram, "Time of a coordinator's load from its log.");
    text.histogram(&[], &sum.loads);
    text.family("ottla_groups", Kind::Gauge, "Groups, by state.");
    for (state, count) in [
        ("empty", now.empty),
        ("preparing_rebalance", now.preparing_rebalance),
        ("completing_rebalance", now.completing_rebalance),
        ("stable", now.stable),
    ] {
        text.sample(&[("state", state)], count);
    }
    text.family("ottla_group_members", Kind::Gauge, "Members of all groups.");
    text.sample(&[], now.members);
    text.family("ottla_group_rebalances_total", Kind::Counter, "Rebalances that have ended.");
    text.sample(&[], sum.rebalances);
    let help = "Time of a rebalance, from its first reason to the assignment.";
    text.family("ottla_group_rebalance_duration_seconds", Kind::Histogram, help);
    text.histogram(&[], &sum.rebalance_times);
    text.family("ottla_group_offset_commits_total", Kind::Counter, "Offsets of partitions committed by groups.");
    text.sample(&[], sum.commits);
    put_lags(text, lags);
}

fn put_lags(text: &mut Text, lags: &Lags) {
    let labels = |committed: &Committed| [committed.group.clone(), committed.partition.to_string(), committed.topic.to_string()];
    text.family("ottla_group_committed_offset", Kind::Gauge, "Offset that a group has committed for a partition.");
    for (committed, _) in &lags.known {
        let [group, partition, topic] = labels(committed);
        text.sample(&[("group", &group), ("partition", &partition), ("topic", &topic)], committed.offset);
    }
    let help = "Records between the offset that a group has committed and the partition's high watermark.";
    text.family("ottla_group_lag", Kind::Gauge, help);
    for (committed, high_watermark) in &lags.known {
        let Some(high_watermark) = high_watermark else { continue };
        let [group, partition, topic] = labels(committed);
        text.sample(&[("group", &group), ("partition", &partition), ("topic", &topic)], high_watermark.since(committed.offset).max(0));
    }
    let help = "Committed offsets beyond ottla.metrics.lag.max, which have no series.";
    text.family("ottla_group_offsets_unnamed", Kind::Gauge, help);
    text.sample(&[], lags.unnamed);
}
