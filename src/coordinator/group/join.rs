//! JoinGroup: who may become a member, under which id, and whether the others must join again for it.

use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::member::{Member, Parked, Protocol};
use super::roster::{Group, State};
use super::settings::NEW_MEMBER_JOIN_MS;
use super::work::Work;
use super::{Caller, StrBytes, answer, owned, owned_bytes};
use crate::wire::error::ErrorCode;

/// From here on a client is given its member id before it joins.
const MEMBER_ID_REQUIRED_FROM: i16 = 4;

/// From here on a leader that comes back can be told to leave the assignment alone.
const SKIP_ASSIGNMENT_FROM: i16 = 9;

/// Before this version a JoinGroup has no rebalance timeout, and the session timeout stands for it.
const REBALANCE_TIMEOUT_FROM: i16 = 1;

/// A JoinGroup in the group's own words: nothing here points into the frame it came in.
pub(super) struct Joining {
    pub caller: Caller,
    pub member_id: StrBytes,
    pub instance_id: Option<StrBytes>,
    pub protocol_type: StrBytes,
    pub protocols: Vec<Protocol>,
    pub rebalance_timeout_ms: i32,
    pub session_timeout_ms: i32,
}

/// What a member says of itself whenever it joins.
struct Said {
    protocols: Vec<Protocol>,
    rebalance_timeout_ms: i32,
    session_timeout_ms: i32,
}

impl Joining {
    pub fn new(caller: Caller, request: &JoinGroupRequest) -> Self {
        let has_rebalance_timeout = caller.version >= REBALANCE_TIMEOUT_FROM;
        let protocol = |protocol: &kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol| Protocol {
            name: owned(&protocol.name),
            metadata: owned_bytes(&protocol.metadata),
        };
        Self {
            caller,
            member_id: owned(&request.member_id),
            instance_id: request.group_instance_id.as_ref().map(owned),
            protocol_type: owned(&request.protocol_type),
            protocols: request.protocols.iter().map(protocol).collect(),
            rebalance_timeout_ms: if has_rebalance_timeout { request.rebalance_timeout_ms } else { request.session_timeout_ms },
            session_timeout_ms: request.session_timeout_ms,
        }
    }

    fn parked(&self) -> Parked {
        Parked { token: self.caller.token, version: self.caller.version }
    }
}

impl Work<'_, '_> {
    pub fn join(&mut self, joining: Joining) {
        if !self.has_room_for(&joining.member_id) {
            self.drop_member(&joining.member_id);
            self.refuse_join(&joining, &StrBytes::default(), ErrorCode::GroupMaxSizeReached);
        } else if !self.group.could_work_with(&joining.protocol_type, &joining.protocols) {
            let member_id = joining.member_id.clone();
            self.refuse_join(&joining, &member_id, ErrorCode::InconsistentGroupProtocol);
        } else if joining.member_id.is_empty() {
            self.join_anew(joining);
        } else {
            self.join_again(joining);
        }
    }

    fn refuse_join(&mut self, joining: &Joining, member_id: &StrBytes, error: ErrorCode) {
        self.answer_join(joining, answer::join_error(member_id, error));
    }

    fn answer_join(&mut self, joining: &Joining, response: JoinGroupResponse) {
        self.turn.answer(joining.caller.token, joining.caller.version, response);
    }

    fn has_room_for(&self, member_id: &StrBytes) -> bool {
        let member = self.group.member(member_id);
        match self.group.state {
            State::Empty => true,
            State::PreparingRebalance { .. } => member.is_some_and(Member::is_joining) || self.group.joining() < self.settings.members_max,
            State::CompletingRebalance | State::Stable => member.is_some() || self.group.members().len() < self.settings.members_max,
        }
    }

    /// A client without a member id.
    fn join_anew(&mut self, joining: Joining) {
        let Some(instance_id) = joining.instance_id.clone() else {
            let id = self.turn.member_id(&joining.caller.client_id);
            if joining.caller.version < MEMBER_ID_REQUIRED_FROM {
                return self.add_member(joining, id);
            }
            self.group.pending.insert(id.clone());
            self.expect(&id, joining.session_timeout_ms.max(0) as u64);
            return self.refuse_join(&joining, &id, ErrorCode::MemberIdRequired);
        };
        let id = self.turn.member_id(&instance_id);
        match self.group.static_member(&instance_id).cloned() {
            Some(old) => self.replace_static(joining, &instance_id, &old, &id),
            None => self.add_member(joining, id),
        }
    }

    fn add_member(&mut self, joining: Joining, id: StrBytes) {
        let parked = joining.parked();
        if self.group.state == (State::PreparingRebalance { initial: true }) {
            self.group.new_member_added = true;
        }
        let member = Member {
            id: id.clone(),
            instance_id: joining.instance_id,
            client_id: StrBytes::from(joining.caller.client_id),
            client_host: StrBytes::from(joining.caller.client_host),
            rebalance_timeout_ms: joining.rebalance_timeout_ms,
            session_timeout_ms: joining.session_timeout_ms,
            protocols: joining.protocols,
            assignment: bytes::Bytes::new(),
            join: None,
            sync: None,
            is_new: true,
        };
        self.group.add(member, &joining.protocol_type);
        self.park_join(&id, parked);
        // A client that waits in its first JoinGroup is not told to come back, so that its session cannot be what ends it.
        self.expect(&id, NEW_MEMBER_JOIN_MS);
        self.rebalance_or_go_on();
    }

    /// A client with a member id, which may not have joined with it yet.
    fn join_again(&mut self, joining: Joining) {
        let id = joining.member_id.clone();
        if self.group.pending.contains(&id) {
            if joining.instance_id.is_some() {
                // A static member is never given an id beforehand.
                return self.refuse_join(&joining, &StrBytes::default(), ErrorCode::UnknownServerError);
            }
            return self.add_member(joining, id);
        }
        if let Err(error) = self.group.admits(&id, joining.instance_id.as_ref()) {
            return self.refuse_join(&joining, &id, error);
        }
        let is_as_before = self.group.member(&id).is_some_and(|member| member.protocols == joining.protocols);
        match self.group.state {
            State::Empty => self.refuse_join(&joining, &id, ErrorCode::UnknownMemberId),
            State::PreparingRebalance { .. } => self.update_member(joining, &id),
            // The answer was lost.
            State::CompletingRebalance if is_as_before => {
                let response = current(self.group, &id);
                self.answer_join(&joining, response);
            }
            State::Stable if is_as_before && !self.group.is_leader(&id) => {
                let response = current(self.group, &id);
                self.answer_join(&joining, response);
            }
            State::CompletingRebalance | State::Stable => self.update_member(joining, &id),
        }
    }

    fn update_member(&mut self, joining: Joining, id: &StrBytes) {
        self.set_member(id, &joining);
        self.park_join(id, joining.parked());
        self.rebalance_or_go_on();
    }

    /// Answers with what the member said of itself before.
    fn set_member(&mut self, id: &StrBytes, joining: &Joining) -> Option<Said> {
        let member = self.group.member_mut(id)?;
        Some(Said {
            protocols: std::mem::replace(&mut member.protocols, joining.protocols.clone()),
            rebalance_timeout_ms: std::mem::replace(&mut member.rebalance_timeout_ms, joining.rebalance_timeout_ms),
            session_timeout_ms: std::mem::replace(&mut member.session_timeout_ms, joining.session_timeout_ms),
        })
    }

    /// The static member that came back says more than can be kept: its former self stays.
    fn take_back(&mut self, joining: Joining, ids: (&StrBytes, &StrBytes, &StrBytes), before: Option<Said>, led_before: StrBytes) {
        let (instance_id, old, new) = ids;
        self.no_longer_expect(new);
        self.group.rename(instance_id, new, old);
        if let (Some(member), Some(said)) = (self.group.member_mut(old), before) {
            (member.protocols, member.rebalance_timeout_ms, member.session_timeout_ms) =
                (said.protocols, said.rebalance_timeout_ms, said.session_timeout_ms);
        }
        self.heard_of(old);
        let response = current(self.group, old).with_member_id(StrBytes::default()).with_leader(led_before);
        self.answer_join(&joining, response.with_error_code(ErrorCode::UnknownServerError.code()));
    }

    /// A static member that comes back takes the place of its former self, and no rebalance, if it can do what that one could.
    fn replace_static(&mut self, joining: Joining, instance_id: &StrBytes, old: &StrBytes, new: &StrBytes) {
        let led_before = self.group.leader.clone().unwrap_or_default();
        self.no_longer_expect(old);
        if let Some((join, sync)) = self.group.rename(instance_id, old, new) {
            if let Some(parked) = join {
                self.turn.answer(parked.token, parked.version, answer::join_error(old, ErrorCode::FencedInstanceId));
            }
            if let Some(parked) = sync {
                self.turn.answer(parked.token, parked.version, answer::sync_error(ErrorCode::FencedInstanceId));
            }
        }
        self.heard_of(new);
        let before = self.set_member(new, &joining);
        match self.group.state {
            State::Stable if self.group.vote() == self.group.protocol => {
                if !self.keep() {
                    return self.take_back(joining, (instance_id, old, new), before, led_before);
                }
                let response = returned(self.group, new, led_before, joining.caller.version);
                self.answer_join(&joining, response);
            }
            State::Stable | State::CompletingRebalance => {
                self.park_join(new, joining.parked());
                self.prepare_rebalance();
            }
            State::Empty | State::PreparingRebalance { .. } => {
                self.park_join(new, joining.parked());
                self.complete_join_if_all_are_there();
            }
        }
    }
}

/// What a member is told of the generation that is current; the leader is told who is in it.
pub(super) fn current(group: &Group, id: &StrBytes) -> JoinGroupResponse {
    let response = JoinGroupResponse::default()
        .with_member_id(id.clone())
        .with_generation_id(group.generation)
        .with_protocol_name(group.protocol.clone())
        .with_protocol_type(group.protocol_type.clone())
        .with_leader(group.leader.clone().unwrap_or_default());
    if group.is_leader(id) && group.state != State::Stable { response.with_members(everybody(group)) } else { response }
}

/// What a static member is told that came back to a stable group. Where the answer can say so, a leader is told of the others and not to
/// assign anew; before, it is made to believe that its former self still leads.
fn returned(group: &Group, id: &StrBytes, led_before: StrBytes, version: i16) -> JoinGroupResponse {
    let response = current(group, id);
    if version < SKIP_ASSIGNMENT_FROM {
        response.with_leader(led_before)
    } else if group.is_leader(id) {
        response.with_members(everybody(group)).with_skip_assignment(true)
    } else {
        response
    }
}

fn everybody(group: &Group) -> Vec<JoinGroupResponseMember> {
    let protocol = group.protocol.clone().unwrap_or_default();
    let one = |member: &Member| {
        JoinGroupResponseMember::default()
            .with_member_id(member.id.clone())
            .with_group_instance_id(member.instance_id.clone())
            .with_metadata(member.metadata(&protocol))
    };
    group.members().map(one).collect()
}
