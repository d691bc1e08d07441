//! One group: its state, its members, and the rules that need nothing else.
//!
//! Called by the steps of the protocol in the files beside; calls nothing.
//!
//! Invariants:
//! 1. An empty group has no members; the leader is a member.
//! 2. `joining` counts the members whose JoinGroup waits; JoinGroups wait only while the group prepares, SyncGroups only while it completes.
//! 3. The generation never goes back.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::StrBytes;
use super::member::{Member, Parked, Protocol};
use super::record::{GroupValue, MemberValue};
use super::subscription;
use crate::storage::planted::{self, Bug};
use crate::types::{Monotonic, TimestampMs};
use crate::wire::error::ErrorCode;

/// The protocol type of consumers; the only one whose metadata the coordinator reads.
pub(super) const CONSUMER: &str = "consumer";

/// A group that is gone, `Dead` in Kafka, is not there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum State {
    Empty,
    /// Waits for the members to join. `initial`: the group was empty, and more than its first member may come.
    PreparingRebalance {
        initial: bool,
    },
    /// Waits for the leader's assignment.
    CompletingRebalance,
    Stable,
}

impl State {
    pub const fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance { .. } => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }

    pub const fn is_preparing(self) -> bool {
        matches!(self, State::PreparingRebalance { .. })
    }
}

#[derive(Debug)]
pub(super) struct Group {
    pub id: StrBytes,
    pub state: State,
    /// Since when, by the wall clock; none in what older brokers wrote.
    pub since: Option<TimestampMs>,
    pub generation: i32,
    pub protocol_type: Option<StrBytes>,
    pub protocol: Option<StrBytes>,
    pub leader: Option<StrBytes>,
    members: BTreeMap<StrBytes, Member>,
    joining: usize,
    /// Members' ids by instance id.
    statics: BTreeMap<StrBytes, StrBytes>,
    /// Ids given to clients that have not joined with them.
    pub pending: BTreeSet<StrBytes>,
    /// Members that have not asked for their assignment of this generation.
    pub unsynced: BTreeSet<StrBytes>,
    /// Somebody joined since the initial delay last began.
    pub new_member_added: bool,
    /// What is left of the initial delay's extensions: the delay that runs, and milliseconds behind it.
    pub initial_delay: Option<(u64, u64)>,
    /// Topics that members consume; none if unknown.
    pub subscribed: Option<BTreeSet<StrBytes>>,
    pub rebalance_began: Option<Monotonic>,
}

impl Group {
    pub fn new(id: StrBytes, since: Option<TimestampMs>) -> Self {
        Self {
            id,
            state: State::Empty,
            since,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            joining: 0,
            statics: BTreeMap::new(),
            pending: BTreeSet::new(),
            unsynced: BTreeSet::new(),
            new_member_added: false,
            initial_delay: None,
            subscribed: None,
            rebalance_began: None,
        }
    }

    /// As a record tells it.
    pub fn load(id: StrBytes, value: GroupValue) -> Self {
        let mut group = Self::new(id, value.since);
        group.generation = value.generation;
        let protocol = value.protocol.clone().unwrap_or_default();
        for member in value.members {
            let rebalance_timeout_ms =
                if member.rebalance_timeout_ms == -1 { member.session_timeout_ms } else { member.rebalance_timeout_ms };
            group.add(
                Member {
                    id: member.member_id,
                    instance_id: member.instance_id,
                    client_id: member.client_id,
                    client_host: member.client_host,
                    rebalance_timeout_ms,
                    session_timeout_ms: member.session_timeout_ms,
                    protocols: vec![Protocol { name: protocol.clone(), metadata: member.subscription }],
                    assignment: member.assignment,
                    join: None,
                    sync: None,
                    is_new: false,
                },
                &value.protocol_type,
            );
        }
        group.state = if group.members.is_empty() { State::Empty } else { State::Stable };
        group.protocol_type = Some(value.protocol_type).filter(|name| !name.is_empty());
        group.protocol = value.protocol;
        group.leader = value.leader.filter(|leader| group.members.contains_key(leader)).or(group.leader);
        group.subscribed = group.subscriptions();
        group
    }

    /// The record of the group as it is, with its members' assignments.
    pub fn value(&self) -> GroupValue {
        let protocol = self.protocol.clone().unwrap_or_default();
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            since: self.since,
            members: self
                .members
                .values()
                .map(|member| MemberValue {
                    member_id: member.id.clone(),
                    instance_id: member.instance_id.clone(),
                    client_id: member.client_id.clone(),
                    client_host: member.client_host.clone(),
                    rebalance_timeout_ms: member.rebalance_timeout_ms,
                    session_timeout_ms: member.session_timeout_ms,
                    subscription: member.metadata(&protocol),
                    assignment: member.assignment.clone(),
                })
                .collect(),
        }
    }

    pub fn enter(&mut self, state: State, wall: TimestampMs) {
        self.state = state;
        self.since = Some(wall);
    }

    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    pub fn member_ids(&self) -> Vec<StrBytes> {
        self.members.keys().cloned().collect()
    }

    pub fn member(&self, id: &StrBytes) -> Option<&Member> {
        self.members.get(id)
    }

    pub fn member_mut(&mut self, id: &StrBytes) -> Option<&mut Member> {
        self.members.get_mut(id)
    }

    pub fn static_member(&self, instance_id: &StrBytes) -> Option<&StrBytes> {
        self.statics.get(instance_id)
    }

    pub fn is_leader(&self, id: &StrBytes) -> bool {
        self.leader.as_ref() == Some(id)
    }

    pub fn joining(&self) -> usize {
        self.joining
    }

    pub fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// A member without a waiting JoinGroup. The first one sets the protocol type and leads.
    pub fn add(&mut self, member: Member, protocol_type: &StrBytes) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.clone());
        }
        if let Some(instance_id) = &member.instance_id {
            self.statics.insert(instance_id.clone(), member.id.clone());
        }
        self.leader.get_or_insert_with(|| member.id.clone());
        self.pending.remove(&member.id);
        self.members.insert(member.id.clone(), member);
    }

    /// A member, or an id that was given and not used. A leader's place is taken by another member.
    pub fn remove(&mut self, id: &StrBytes) -> Option<Member> {
        let removed = self.members.remove(id);
        if let Some(member) = &removed {
            self.joining -= usize::from(member.join.is_some());
            if let Some(instance_id) = &member.instance_id {
                self.statics.remove(instance_id);
            }
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        self.pending.remove(id);
        self.unsynced.remove(id);
        removed
    }

    /// The JoinGroup that waited before for the same member.
    pub fn park_join(&mut self, id: &StrBytes, parked: Parked) -> Option<Parked> {
        let member = self.members.get_mut(id)?;
        let before = member.join.replace(parked);
        self.joining += usize::from(before.is_none());
        before
    }

    pub fn take_join(&mut self, id: &StrBytes) -> Option<Parked> {
        let parked = self.members.get_mut(id)?.join.take();
        self.joining -= usize::from(parked.is_some());
        parked
    }

    /// A static member under a new id; answers with what waited under the old one.
    pub fn rename(&mut self, instance_id: &StrBytes, old: &StrBytes, new: &StrBytes) -> Option<(Option<Parked>, Option<Parked>)> {
        let join = self.take_join(old);
        let mut member = self.members.remove(old)?;
        let sync = member.sync.take();
        member.id = new.clone();
        member.is_new = false;
        self.members.insert(new.clone(), member);
        if self.is_leader(old) {
            self.leader = Some(new.clone());
        }
        self.statics.insert(instance_id.clone(), new.clone());
        Some((join, sync))
    }

    /// Whether `id` may act for itself, or as `instance_id`.
    pub fn admits(&self, id: &StrBytes, instance_id: Option<&StrBytes>) -> Result<(), ErrorCode> {
        if let Some(instance_id) = instance_id {
            match self.statics.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if current != id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    pub fn everybody_joins(&self) -> bool {
        self.members.len() == self.joining && self.pending.is_empty()
    }

    /// The longest that any member may take.
    pub fn rebalance_timeout_ms(&self) -> u64 {
        self.members.values().map(|member| member.rebalance_timeout_ms.max(0) as u64).max().unwrap_or(0)
    }

    fn all_support(&self, protocol: &str) -> bool {
        self.members.values().all(|member| member.supports(protocol))
    }

    /// Whether a member that knows `protocols` of `protocol_type` could work with the others.
    pub fn could_work_with(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(|protocol| self.all_support(&protocol.name))
    }

    /// The protocol that most members like best of those that all know. None without members, or if there is no such protocol.
    pub fn vote(&self) -> Option<StrBytes> {
        let first = self.members.values().next()?;
        let candidates: Vec<&StrBytes> =
            first.protocols.iter().map(|protocol| &protocol.name).filter(|name| self.all_support(name)).collect();
        let mut votes: Vec<(&StrBytes, usize)> = Vec::new();
        for member in self.members.values() {
            let choice = member.protocols.iter().map(|protocol| &protocol.name).find(|name| candidates.contains(name))?;
            match votes.iter_mut().find(|(name, _)| *name == choice) {
                Some((_, count)) => *count += 1,
                None => votes.push((choice, 1)),
            }
        }
        let most = votes.iter().map(|(_, count)| *count).max()?;
        let tied = votes.into_iter().filter(|(_, count)| *count == most).map(|(name, _)| name);
        tied.min_by_key(|name| super::hash::java_bucket(name)).cloned()
    }

    /// If the leader did not join, one that did leads. False if nobody did.
    pub fn elect_joined_leader(&mut self) -> bool {
        if self.leader.as_ref().and_then(|leader| self.members.get(leader)).is_some_and(Member::is_joining) {
            return true;
        }
        let Some(joined) = self.members.values().find(|member| member.is_joining()) else { return false };
        self.leader = Some(joined.id.clone());
        true
    }

    pub fn next_generation(&mut self, wall: TimestampMs) {
        self.generation = self.generation.saturating_add(if planted::is(Bug::GenerationRepeated) { 0 } else { 1 });
        self.protocol = self.vote();
        self.subscribed = self.subscriptions();
        let state = if self.members.is_empty() { State::Empty } else { State::CompletingRebalance };
        self.enter(state, wall);
        self.unsynced.clear();
    }

    /// What all members consume, if they are consumers and say so in a form that is understood.
    fn subscriptions(&self) -> Option<BTreeSet<StrBytes>> {
        if !self.uses_consumer_protocol() {
            return None;
        }
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_ref()?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscription::topics(&member.metadata(protocol))?);
        }
        Some(topics)
    }

    /// Whether offsets of the topic are in use.
    pub fn consumes(&self, topic: &StrBytes) -> bool {
        self.subscribed.as_ref().map_or(self.uses_consumer_protocol(), |topics| topics.contains(topic))
    }

    /// Gives every member its part of an assignment; those it leaves out get nothing.
    pub fn assign(&mut self, mut parts: BTreeMap<StrBytes, Bytes>) {
        for member in self.members.values_mut() {
            member.assignment = parts.remove(&member.id).unwrap_or_default();
        }
    }
}
