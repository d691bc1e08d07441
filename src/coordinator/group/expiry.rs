//! Offsets that nobody wants any more: those that outlived their retention, and those of topics that were deleted; and groups that are
//! left with neither members nor offsets.
//!
//! One pass may be long. It stops when an event has made enough records, and goes on at the next alarm.

use std::ops::Bound;

use super::ledger::Committed;
use super::roster::{Group, State};
use super::timers::Alarm;
use super::turn::Turn;
use super::{Groups, StrBytes};
use crate::types::TimestampMs;

/// How long what nobody waits for waits for room on the disk.
const NO_ROOM_PAUSE_MS: u64 = 1000;

/// From which moment an offset's retention is counted.
enum Since {
    Commit,
    /// Of the group, where its record tells when it became empty.
    Emptiness(Option<TimestampMs>),
}

/// None while offsets are in use.
fn retention_begins(group: &Group) -> Option<Since> {
    match group.state {
        // A group that never had members.
        _ if group.protocol_type.is_none() => Some(Since::Commit),
        State::Empty => Some(Since::Emptiness(group.since)),
        // Of topics that the members have given up.
        State::Stable if group.uses_consumer_protocol() && group.subscribed.is_some() => Some(Since::Commit),
        _ => None,
    }
}

fn is_expired(committed: &Committed, since: &Since, now: TimestampMs, retention_ms: u64) -> bool {
    let value = &committed.value;
    if let Some(at) = value.expires_at {
        return now >= at;
    }
    let since = match since {
        Since::Commit | Since::Emptiness(None) => value.committed_at,
        Since::Emptiness(Some(at)) => *at,
    };
    let age = i128::from(now.get()) - i128::from(since.get());
    age >= i128::from(retention_ms)
}

impl Groups {
    pub(super) fn schedule_expiry(&mut self, turn: &Turn<'_>) {
        self.timers.set(Alarm::Expiry, turn.moment.now, self.settings.retention_check_interval_ms);
    }

    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) {
        if !turn.moment.has_room {
            return self.timers.set(Alarm::Expiry, turn.moment.now, NO_ROOM_PAUSE_MS);
        }
        let from = self.expiry_from.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let ids: Vec<StrBytes> = self.groups.range((from, Bound::Unbounded)).map(|(id, _)| id.clone()).collect();
        for id in ids {
            if self.expire_group(&id, turn) && self.groups.get(&id).is_some_and(|group| group.state == State::Empty) {
                self.remove_group(&id, turn);
            }
            if turn.is_full() {
                // This group may have more: it is the first of the next part.
                self.timers.set(Alarm::Expiry, turn.moment.now, 0);
                return;
            }
            self.expiry_from = Some(id);
        }
        self.expiry_from = None;
        self.schedule_expiry(turn);
    }

    /// Whether nothing is left.
    fn expire_group(&mut self, id: &StrBytes, turn: &mut Turn<'_>) -> bool {
        let Some(group) = self.groups.get(id) else { return false };
        let Some(topics) = self.ledger.of_group(id) else { return !self.ledger.has_open(id) };
        let Some(since) = retention_begins(group) else { return false };
        let mut all = true;
        let mut expired = Vec::new();
        for (topic, partitions) in topics {
            let in_use = group.consumes(topic);
            for (partition, committed) in partitions {
                let over = is_expired(committed, &since, turn.moment.wall, self.settings.retention_ms);
                if !in_use && over && !self.ledger.is_open(id, topic, *partition) {
                    expired.push((topic.clone(), *partition));
                } else {
                    all = false;
                }
            }
        }
        for (topic, partition) in expired {
            if turn.is_full() {
                return false;
            }
            self.forget_offset(id, &topic, partition, turn);
        }
        all && !self.ledger.has_open(id)
    }

    /// The image has changed.
    pub(super) fn look_for_deleted_topics(&mut self, turn: &mut Turn<'_>) {
        let image = turn.moment.image;
        let gone = self.ledger.look(|name| image.topic_by_name(name).map(|topic| topic.id));
        self.deleted.extend(gone);
        self.sweep(turn);
    }

    /// What a machine finds when it is loaded: topics that are there, and offsets whose topics were deleted while it was not.
    pub(super) fn look_at_topics(&mut self, turn: &mut Turn<'_>) {
        let image = turn.moment.image;
        self.deleted.extend(self.ledger.topic_ids().into_iter().filter(|(_, id)| image.is_deleted(*id)));
        self.look_for_deleted_topics(turn);
    }

    /// Takes the offsets of deleted topics out.
    pub(super) fn sweep(&mut self, turn: &mut Turn<'_>) {
        if !self.deleted.is_empty() && !turn.moment.has_room {
            return self.timers.set(Alarm::Sweep, turn.moment.now, NO_ROOM_PAUSE_MS);
        }
        while let Some((topic, id)) = self.deleted.last().cloned() {
            for (group, partition) in self.ledger.places_of_topic(&topic, id) {
                if turn.is_full() {
                    return self.timers.set(Alarm::Sweep, turn.moment.now, 0);
                }
                self.forget_offset(&group, &topic, partition, turn);
            }
            self.deleted.pop();
        }
    }
}
