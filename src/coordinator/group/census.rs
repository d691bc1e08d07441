//! What the metrics page asks of a machine.

use std::time::Duration;

use super::ledger::Ledger;
use super::roster::{Group, State};
use crate::types::Offset;

/// Durations that are kept for one who does not ask.
const DURATIONS_MAX: usize = 1024;

/// Counts what happened.
#[derive(Default, Debug)]
pub(super) struct Tally {
    rebalances: u64,
    durations: Vec<Duration>,
}

impl Tally {
    pub fn rebalanced(&mut self, took: Duration) {
        self.rebalances += 1;
        if self.durations.len() < DURATIONS_MAX {
            self.durations.push(took);
        }
    }
}

/// The groups of one machine, counted.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Census {
    pub empty: usize,
    pub preparing_rebalance: usize,
    pub completing_rebalance: usize,
    pub stable: usize,
    pub members: usize,
    /// Since the machine was made.
    pub rebalances: u64,
    /// How long the latest rebalances took, from the first reason to the assignment; each is told once.
    pub rebalance_durations: Vec<Duration>,
}

pub(super) fn take<'a>(groups: impl Iterator<Item = &'a Group>, tally: &mut Tally) -> Census {
    let mut census =
        Census { rebalances: tally.rebalances, rebalance_durations: std::mem::take(&mut tally.durations), ..Census::default() };
    for group in groups {
        census.members += group.members().len();
        *match group.state {
            State::Empty => &mut census.empty,
            State::PreparingRebalance { .. } => &mut census.preparing_rebalance,
            State::CompletingRebalance => &mut census.completing_rebalance,
            State::Stable => &mut census.stable,
        } += 1;
    }
    census
}

/// An offset that a group has committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommittedOffset<'a> {
    pub group: &'a str,
    pub topic: &'a str,
    pub partition: i32,
    pub offset: Offset,
}

pub(super) fn committed(ledger: &Ledger) -> impl Iterator<Item = CommittedOffset<'_>> {
    ledger.groups().flat_map(|(group, topics)| {
        topics.iter().flat_map(move |(topic, partitions)| {
            partitions.iter().map(move |(partition, committed)| CommittedOffset {
                group,
                topic,
                partition: *partition,
                offset: committed.value.offset,
            })
        })
    })
}
