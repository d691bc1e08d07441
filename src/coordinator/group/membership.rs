//! SyncGroup, Heartbeat and LeaveGroup: what members ask while they are in a group.

use std::collections::BTreeMap;

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{HeartbeatRequest, LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest};

use super::member::Parked;
use super::roster::State;
use super::work::Work;
use super::{Caller, StrBytes, answer, owned_bytes};
use crate::storage::planted::{self, Bug};
use crate::wire::error::ErrorCode;

impl Work<'_, '_> {
    pub fn sync(&mut self, caller: &Caller, request: &SyncGroupRequest) {
        if let Err(error) = self.check_sync(request) {
            return self.turn.answer(caller.token, caller.version, answer::sync_error(error));
        }
        let id = &request.member_id;
        if self.group.state == State::Stable {
            self.synced(id);
            return self.turn.answer(caller.token, caller.version, self.part_of(id));
        }
        self.park_sync(id, Parked { token: caller.token, version: caller.version });
        self.synced(id);
        if self.group.is_leader(id) {
            let parts = request.assignments.iter();
            let parts: BTreeMap<_, _> = parts.map(|part| (part.member_id.clone(), owned_bytes(&part.assignment))).collect();
            self.stabilize(parts);
        }
    }

    fn check_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        let differs = |asked: &Option<StrBytes>, ours: &Option<StrBytes>| {
            asked.as_ref().zip(ours.as_ref()).is_some_and(|(asked, ours)| asked != ours)
        };
        if self.group.state == State::Empty {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.group.admits(&request.member_id, request.group_instance_id.as_ref())?;
        if request.generation_id != self.group.generation && !planted::is(Bug::GenerationsMixed) {
            return Err(ErrorCode::IllegalGeneration);
        }
        if differs(&request.protocol_type, &self.group.protocol_type) || differs(&request.protocol_name, &self.group.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        if self.group.state.is_preparing() { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
    }

    fn synced(&mut self, id: &StrBytes) {
        self.group.unsynced.remove(id);
        if self.group.unsynced.is_empty() {
            self.stop_waiting_for_syncs();
        }
    }

    pub fn heartbeat(&mut self, request: &HeartbeatRequest) -> ErrorCode {
        if let Err(error) = self.group.admits(&request.member_id, request.group_instance_id.as_ref()) {
            return error;
        }
        if request.generation_id != self.group.generation {
            return ErrorCode::IllegalGeneration;
        }
        self.heard_of(&request.member_id);
        if self.group.state.is_preparing() { ErrorCode::RebalanceInProgress } else { ErrorCode::None }
    }

    pub fn leave(&mut self, request: &LeaveGroupRequest) -> LeaveGroupResponse {
        let answers: Vec<_> = request.members.iter().map(|member| (member, self.leave_one(member))).collect();
        if answers.iter().any(|(_, outcome)| outcome.is_ok()) {
            match self.group.state {
                State::Stable | State::CompletingRebalance => self.prepare_rebalance(),
                State::PreparingRebalance { .. } => self.complete_join_if_all_are_there(),
                State::Empty => {}
            }
        }
        let told = |(member, outcome): (&MemberIdentity, Result<(), ErrorCode>)| {
            MemberResponse::default()
                .with_member_id(member.member_id.clone())
                .with_group_instance_id(member.group_instance_id.clone())
                .with_error_code(outcome.err().map_or(0, ErrorCode::code))
        };
        LeaveGroupResponse::default().with_members(answers.into_iter().map(told).collect())
    }

    /// A member by its id, or by its instance id alone; or an id that was given and not used.
    fn leave_one(&mut self, member: &MemberIdentity) -> Result<(), ErrorCode> {
        let instance_id = member.group_instance_id.as_ref();
        let id = if member.member_id.is_empty() {
            let of_instance = instance_id.and_then(|instance_id| self.group.static_member(instance_id));
            of_instance.cloned().ok_or(ErrorCode::UnknownMemberId)?
        } else {
            if !self.group.pending.contains(&member.member_id) {
                self.group.admits(&member.member_id, instance_id)?;
            }
            member.member_id.clone()
        };
        self.drop_member(&id);
        Ok(())
    }
}
