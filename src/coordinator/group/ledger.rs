//! The committed offsets of all groups of one partition, and those that wait for the end of their transaction.
//!
//! Called by the steps that commit, fetch, delete and expire; calls nothing. Offsets live apart from their groups: a group's record
//! comes and goes without them.
//!
//! Invariants:
//! 1. `topics` names exactly the topics of which some group has an offset, committed or waiting, with those groups.
//! 2. `open` names exactly the places of which `waiting` holds an offset, with the producers that wrote them.

use std::collections::{BTreeMap, BTreeSet};

use super::record::OffsetValue;
use super::{StrBytes, owned};
use crate::coordinator::TransactionOutcome;
use crate::types::{Offset, ProducerId, TopicId};

/// Stands for the place in the log of what was committed since the log was loaded: behind all that was loaded.
pub(super) const SINCE_LOADED: Offset = Offset(i64::MAX);

#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Committed {
    pub value: OffsetValue,
    /// Offset of the record in the internal topic: a transaction that ends late does not undo a commit behind it.
    pub recorded: Offset,
}

pub(super) type ByPartition = BTreeMap<i32, Committed>;
pub(super) type ByTopic = BTreeMap<StrBytes, ByPartition>;
type Open = BTreeMap<StrBytes, BTreeMap<i32, BTreeSet<ProducerId>>>;

#[derive(Default, Debug)]
struct Known {
    /// The topic's id when it was last seen in the image.
    seen: Option<TopicId>,
    groups: BTreeSet<StrBytes>,
}

#[derive(Default, Debug)]
pub(super) struct Ledger {
    committed: BTreeMap<StrBytes, ByTopic>,
    waiting: BTreeMap<ProducerId, BTreeMap<StrBytes, ByTopic>>,
    open: BTreeMap<StrBytes, Open>,
    topics: BTreeMap<StrBytes, Known>,
}

impl Ledger {
    pub fn groups(&self) -> impl Iterator<Item = (&StrBytes, &ByTopic)> {
        self.committed.iter()
    }

    pub fn of_group(&self, group: &StrBytes) -> Option<&ByTopic> {
        self.committed.get(group)
    }

    pub fn get(&self, group: &StrBytes, topic: &StrBytes, partition: i32) -> Option<&Committed> {
        self.committed.get(group)?.get(topic)?.get(&partition)
    }

    /// Whether a transaction that has not ended wrote to the place.
    pub fn is_open(&self, group: &StrBytes, topic: &StrBytes, partition: i32) -> bool {
        self.open.get(group).and_then(|topics| topics.get(topic)).is_some_and(|partitions| partitions.contains_key(&partition))
    }

    pub fn has_open(&self, group: &StrBytes) -> bool {
        self.open.contains_key(group)
    }

    /// Every place of the group that has an offset, committed or waiting.
    pub fn places(&self, group: &StrBytes) -> Vec<(StrBytes, i32)> {
        let committed = self.committed.get(group).into_iter().flatten();
        let mut places: Vec<(StrBytes, i32)> =
            committed.flat_map(|(topic, partitions)| partitions.keys().map(|partition| (topic.clone(), *partition))).collect();
        for (topic, partitions) in self.open.get(group).into_iter().flatten() {
            let only_waiting = partitions.keys().filter(|partition| self.get(group, topic, **partition).is_none());
            places.extend(only_waiting.map(|partition| (topic.clone(), *partition)));
        }
        places
    }

    /// The ids under which the topic is known: group and topic, sharing memory with what is kept already.
    fn know(&mut self, group: &StrBytes, topic: &StrBytes) -> (StrBytes, StrBytes) {
        let topic = match self.topics.get_key_value(topic) {
            Some((known, _)) => known.clone(),
            None => owned(topic),
        };
        let group = match self.committed.get_key_value(group) {
            Some((known, _)) => known.clone(),
            None => owned(group),
        };
        self.topics.entry(topic.clone()).or_default().groups.insert(group.clone());
        (group, topic)
    }

    /// Takes the group out of the topic's groups when it has nothing left there.
    fn forget(&mut self, group: &StrBytes, topic: &StrBytes) {
        let committed = self.committed.get(group).is_some_and(|topics| topics.contains_key(topic));
        let waiting = self.open.get(group).is_some_and(|topics| topics.contains_key(topic));
        if committed || waiting {
            return;
        }
        if let Some(known) = self.topics.get_mut(topic) {
            known.groups.remove(group);
            if known.groups.is_empty() {
                self.topics.remove(topic);
            }
        }
    }

    pub fn commit(&mut self, group: &StrBytes, topic: &StrBytes, partition: i32, committed: Committed) {
        let (group, topic) = self.know(group, topic);
        self.committed.entry(group).or_default().entry(topic).or_default().insert(partition, committed);
    }

    /// An offset that counts once `producer`'s transaction is committed.
    pub fn wait(&mut self, producer: ProducerId, group: &StrBytes, topic: &StrBytes, partition: i32, offset: Committed) {
        let (group, topic) = self.know(group, topic);
        let producers = self.open.entry(group.clone()).or_default().entry(topic.clone()).or_default().entry(partition).or_default();
        producers.insert(producer);
        self.waiting.entry(producer).or_default().entry(group).or_default().entry(topic).or_default().insert(partition, offset);
    }

    pub fn remove(&mut self, group: &StrBytes, topic: &StrBytes, partition: i32) {
        take(&mut self.committed, group, topic, partition);
        let producers = take(&mut self.open, group, topic, partition).unwrap_or_default();
        for producer in producers {
            if let Some(waiting) = self.waiting.get_mut(&producer) {
                take(waiting, group, topic, partition);
            }
        }
        self.forget(group, topic);
    }

    pub fn end_transaction(&mut self, producer: ProducerId, outcome: TransactionOutcome) {
        for (group, topics) in self.waiting.remove(&producer).unwrap_or_default() {
            for (topic, partitions) in topics {
                for (partition, offset) in partitions {
                    self.close(producer, &group, &topic, partition);
                    let newer = self.get(&group, &topic, partition).is_none_or(|committed| offset.recorded > committed.recorded);
                    if outcome == TransactionOutcome::Committed && newer {
                        self.commit(&group, &topic, partition, offset);
                    }
                }
                self.forget(&group, &topic);
            }
        }
    }

    fn close(&mut self, producer: ProducerId, group: &StrBytes, topic: &StrBytes, partition: i32) {
        let producers = self.open.get_mut(group).and_then(|topics| topics.get_mut(topic)).and_then(|places| places.get_mut(&partition));
        if let Some(producers) = producers {
            producers.remove(&producer);
            if producers.is_empty() {
                take(&mut self.open, group, topic, partition);
            }
        }
    }

    /// The topic is in the image, under this id.
    pub fn see(&mut self, topic: &StrBytes, id: TopicId) {
        if let Some(known) = self.topics.get_mut(topic) {
            known.seen = Some(id);
        }
    }

    /// Looks all topics up anew, and answers with those that were there and are gone or have been replaced.
    pub fn look(&mut self, id_now: impl Fn(&str) -> Option<TopicId>) -> Vec<(StrBytes, TopicId)> {
        let mut gone = Vec::new();
        for (topic, known) in &mut self.topics {
            let now = id_now(topic);
            if let Some(before) = known.seen
                && now != Some(before)
            {
                gone.push((topic.clone(), before));
            }
            known.seen = now;
        }
        gone
    }

    /// The places of a topic whose offsets were committed for the topic of this id, or for one of an unknown id.
    pub fn places_of_topic(&self, topic: &StrBytes, id: TopicId) -> Vec<(StrBytes, i32)> {
        let mut places = BTreeSet::new();
        let for_it = |committed: &Committed| committed.value.topic_id.is_zero() || committed.value.topic_id == id;
        let groups = self.topics.get(topic).map(|known| &known.groups).into_iter().flatten();
        for group in groups {
            let mut collect = |partitions: Option<&ByPartition>| {
                let of_it = partitions.into_iter().flatten().filter(|(_, committed)| for_it(committed));
                places.extend(of_it.map(|(partition, _)| (group.clone(), *partition)));
            };
            collect(self.committed.get(group).and_then(|topics| topics.get(topic)));
            if self.open.contains_key(group) {
                self.waiting.values().filter_map(|groups| groups.get(group)).for_each(|topics| collect(topics.get(topic)));
            }
        }
        places.into_iter().collect()
    }

    /// Ids that offsets were committed for, with the topics' names.
    pub fn topic_ids(&self) -> BTreeSet<(StrBytes, TopicId)> {
        let by_topic = self.committed.values().flatten();
        let ids = by_topic.flat_map(|(topic, partitions)| partitions.values().map(|at| (topic.clone(), at.value.topic_id)));
        ids.filter(|(_, id)| !id.is_zero()).collect()
    }
}

/// Takes one leaf out of three maps in each other, and with it the maps that it leaves empty.
fn take<V>(
    groups: &mut BTreeMap<StrBytes, BTreeMap<StrBytes, BTreeMap<i32, V>>>,
    group: &StrBytes,
    topic: &StrBytes,
    partition: i32,
) -> Option<V> {
    let topics = groups.get_mut(group)?;
    let partitions = topics.get_mut(topic)?;
    let taken = partitions.remove(&partition);
    if partitions.is_empty() {
        topics.remove(topic);
    }
    if topics.is_empty() {
        groups.remove(group);
    }
    taken
}
