//! From one generation to the next: members join, a leader is found, all sync; and what becomes of those that do not.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::messages::SyncGroupResponse;

use super::join::current;
use super::roster::State;
use super::work::Work;
use super::{StrBytes, answer};
use crate::storage::planted::{self, Bug};
use crate::wire::error::ErrorCode;

impl Work<'_, '_> {
    /// The group has changed: its members are to join again, unless that is what they are doing.
    pub fn rebalance_or_go_on(&mut self) {
        if self.group.state.is_preparing() { self.complete_join_if_all_are_there() } else { self.prepare_rebalance() }
    }

    /// An initial rebalance goes on by its delay alone.
    pub fn complete_join_if_all_are_there(&mut self) {
        if self.group.state == (State::PreparingRebalance { initial: false }) && self.group.everybody_joins() {
            self.complete_join();
        }
    }

    pub fn prepare_rebalance(&mut self) {
        if self.group.state == State::CompletingRebalance {
            self.group.assign(BTreeMap::new());
            if !planted::is(Bug::SyncsForgotten) {
                self.answer_syncs(ErrorCode::RebalanceInProgress);
            }
        }
        self.group.unsynced.clear();
        self.stop_waiting_for_syncs();
        let initial = self.group.state == State::Empty;
        self.group.enter(State::PreparingRebalance { initial }, self.turn.moment.wall);
        self.group.rebalance_began = Some(self.turn.moment.now);
        if initial {
            let delay = self.settings.initial_rebalance_delay_ms;
            self.group.initial_delay = Some((delay, self.group.rebalance_timeout_ms().saturating_sub(delay)));
            self.wait_for_joins(delay);
        } else if self.group.everybody_joins() {
            self.complete_join();
        } else {
            self.wait_for_joins(self.group.rebalance_timeout_ms());
        }
    }

    /// The time for joins is over.
    pub fn joins_are_due(&mut self) {
        let Some((delay, left)) = self.group.initial_delay.take() else { return self.complete_join() };
        if !self.group.new_member_added || left == 0 {
            return self.complete_join();
        }
        // Others came meanwhile; more may. The members' own patience bounds it.
        self.group.new_member_added = false;
        let next = self.settings.initial_rebalance_delay_ms.min(left);
        self.group.initial_delay = Some((next, left.saturating_sub(delay)));
        self.wait_for_joins(next);
    }

    /// Whoever joined makes the next generation. A static member that did not stays in it: its session alone ends it.
    pub fn complete_join(&mut self) {
        self.stop_waiting_for_joins();
        self.group.initial_delay = None;
        let missing = self.group.members().filter(|member| !member.is_joining() && !member.is_static());
        for id in missing.map(|member| member.id.clone()).collect::<Vec<_>>() {
            self.drop_member(&id);
        }
        if !self.group.elect_joined_leader() && self.group.members().len() > 0 {
            return self.wait_for_joins(self.group.rebalance_timeout_ms());
        }
        self.group.next_generation(self.turn.moment.wall);
        if self.group.state == State::Empty {
            self.group.rebalance_began = None;
            // Without members it is small.
            self.keep();
            return;
        }
        for id in self.group.member_ids() {
            if let Some(parked) = self.group.take_join(&id) {
                self.turn.answer(parked.token, parked.version, current(self.group, &id));
            }
            self.heard_of(&id);
            if let Some(member) = self.group.member_mut(&id) {
                member.is_new = false;
            }
            self.group.unsynced.insert(id);
        }
        self.wait_for_syncs(self.group.rebalance_timeout_ms());
    }

    /// The leader has spoken. The record goes before the answers, so that what a member is told is what a new coordinator knows. Members
    /// that say more of themselves than a record takes are told so, and may try again with less.
    pub fn stabilize(&mut self, parts: BTreeMap<StrBytes, Bytes>) {
        self.group.assign(parts);
        if !planted::is(Bug::AssignmentNotKept) && !self.keep() {
            self.group.assign(BTreeMap::new());
            self.answer_syncs(ErrorCode::UnknownServerError);
            return self.prepare_rebalance();
        }
        self.answer_syncs(ErrorCode::None);
        self.group.enter(State::Stable, self.turn.moment.wall);
        if let Some(began) = self.group.rebalance_began.take() {
            self.tally.rebalanced(self.turn.moment.now.since(began));
        }
    }

    fn answer_syncs(&mut self, error: ErrorCode) {
        for id in self.group.member_ids() {
            let Some(parked) = self.group.member_mut(&id).and_then(|member| member.sync.take()) else { continue };
            let response = if error == ErrorCode::None { self.part_of(&id) } else { answer::sync_error(error) };
            self.turn.answer(parked.token, parked.version, response);
            self.heard_of(&id);
        }
    }

    /// What the current assignment gives a member.
    pub fn part_of(&self, id: &StrBytes) -> SyncGroupResponse {
        SyncGroupResponse::default()
            .with_protocol_type(self.group.protocol_type.clone())
            .with_protocol_name(self.group.protocol.clone())
            .with_assignment(self.group.member(id).map(|member| member.assignment.clone()).unwrap_or_default())
    }

    /// The time for syncs is over: whoever has not fetched its part is out.
    pub fn syncs_are_due(&mut self) {
        let in_time = matches!(self.group.state, State::CompletingRebalance | State::Stable);
        if !in_time || self.group.unsynced.is_empty() {
            return;
        }
        for id in std::mem::take(&mut self.group.unsynced) {
            self.drop_member(&id);
        }
        self.prepare_rebalance();
    }

    /// A session has lapsed.
    pub fn session_is_over(&mut self, id: &StrBytes) {
        if self.group.pending.contains(id) {
            self.drop_member(id);
        } else if self.group.member(id).is_none_or(|member| member.waits_for_the_group()) || planted::is(Bug::LostMemberKept) {
            return;
        } else {
            self.drop_member(id);
            if matches!(self.group.state, State::Stable | State::CompletingRebalance) {
                return self.prepare_rebalance();
            }
        }
        if self.group.state.is_preparing() && self.group.everybody_joins() {
            self.complete_join();
        }
    }
}
