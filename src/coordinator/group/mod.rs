//! Consumer groups: who is a member, which protocol and assignment the members agreed on, and the offsets they committed.
//!
//! One [`Groups`] machine per partition of `__consumer_offsets` holds the groups whose ids hash to it ([`partition_of`]). It speaks the
//! classic protocol: members join, one of them leads and assigns, all sync.
//!
//! ```text
//!                       first member joins                     delay over
//!   Empty ────────────────────────────────► PreparingRebalance ──────────► CompletingRebalance ──────────► Stable
//!     ▲                                      │   ▲    all have joined, or   │          leader's sync        │
//!     └──────────── nobody is left ──────────┘   │    time is up            │                               │
//!                                                └──────────────────────────┴── a member comes, goes, changes
//! ```
//!
//! Invariants:
//! 1. Of one generation every member is told the same leader, protocol and, in its part, the same assignment; the record of an
//!    assignment goes before the answers that tell it.
//! 2. Nothing that is kept points into the frame that it came in.
//! 3. What a group does follows from its events alone; a machine that is loaded anew knows what was last recorded, and gives each member
//!    a whole session to be heard of.

use std::collections::BTreeMap;

use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::{
    DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse, HeartbeatRequest, HeartbeatResponse,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest,
    SyncGroupResponse,
};
pub use kafka_protocol::protocol::StrBytes;

use self::census::Tally;
use self::join::Joining;
use self::ledger::{Committed, Ledger};
use self::record::Decoded;
use self::roster::Group;
use self::timers::{Alarm, Timers};
use self::turn::Turn;
use self::work::Work;
use super::{Effects, Event, Machine, Moment, ReplayError, Replayed, Token};
use crate::storage::planted::{self, Bug};
use crate::types::{Monotonic, Offset, ProducerId, TopicId};
use crate::wire::error::ErrorCode;

mod administration;
mod answer;
mod census;
mod expiry;
mod hash;
mod join;
mod ledger;
mod member;
mod membership;
mod offsets;
mod rebalance;
mod record;
mod roster;
mod settings;
mod subscription;
#[cfg(test)]
mod tests;
mod timers;
mod turn;
mod work;

pub use answer::refusal;
pub use census::{Census, CommittedOffset};
pub use hash::partition_of;
pub use settings::Settings;

/// From here on SyncGroup says what it takes the group's protocol to be.
const SYNC_PROTOCOL_FROM: i16 = 5;

/// One request for one partition of `__consumer_offsets`. A request that names several groups comes as one call for each partition
/// that has some of them; the parts are joined again by the connection's handler.
#[derive(Debug, Clone)]
pub struct Call {
    pub version: i16,
    /// Empty if the client gave none.
    pub client_id: String,
    /// As Kafka writes it: `/127.0.0.1`.
    pub client_host: String,
    pub request: Request,
}

/// Topics are by name throughout: where a version names them by id (OffsetCommit 10, OffsetFetch 10), the handler has looked them up
/// and answers for those it does not know.
#[derive(Debug, Clone)]
pub enum Request {
    Join(JoinGroupRequest),
    Sync(SyncGroupRequest),
    Heartbeat(HeartbeatRequest),
    Leave(LeaveGroupRequest),
    Commit(OffsetCommitRequest),
    /// In the form of version 8 and later: `groups`.
    FetchOffsets(OffsetFetchRequest),
    DeleteOffsets(OffsetDeleteRequest),
    Describe(DescribeGroupsRequest),
    List(ListGroupsRequest),
    Delete(DeleteGroupsRequest),
}

/// In kind.
#[derive(Debug, Clone)]
pub enum Answer {
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
    Heartbeat(HeartbeatResponse),
    Leave(LeaveGroupResponse),
    Commit(OffsetCommitResponse),
    FetchOffsets(OffsetFetchResponse),
    DeleteOffsets(OffsetDeleteResponse),
    Describe(DescribeGroupsResponse),
    List(ListGroupsResponse),
    Delete(DeleteGroupsResponse),
}

/// Who a request is from, and where its answer goes.
#[derive(Clone, Debug)]
struct Caller {
    token: Token,
    version: i16,
    client_id: String,
    client_host: String,
}

/// Text in memory of its own.
fn owned(text: &StrBytes) -> StrBytes {
    StrBytes::from(text.to_string())
}

/// Bytes in memory of their own.
fn owned_bytes(bytes: &bytes::Bytes) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(bytes)
}

/// The groups of one partition of the internal topic.
#[derive(Debug)]
pub struct Groups {
    settings: Settings,
    groups: BTreeMap<StrBytes, Group>,
    ledger: Ledger,
    timers: Timers,
    tally: Tally,
    /// The group at which a search for expired offsets stopped to go on later.
    expiry_from: Option<StrBytes>,
    /// Deleted topics whose offsets are still there.
    deleted: Vec<(StrBytes, TopicId)>,
}

impl Groups {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            groups: BTreeMap::new(),
            ledger: Ledger::default(),
            timers: Timers::default(),
            tally: Tally::default(),
            expiry_from: None,
            deleted: Vec::new(),
        }
    }

    /// Counts the groups; durations of rebalances are told once.
    pub fn census(&mut self) -> Census {
        census::take(self.groups.values(), &mut self.tally)
    }

    pub fn committed_offsets(&self) -> impl Iterator<Item = CommittedOffset<'_>> {
        census::committed(&self.ledger)
    }

    fn work<'a, 'm>(&'a mut self, id: &StrBytes, turn: &'a mut Turn<'m>) -> Option<Work<'a, 'm>> {
        let group = self.groups.get_mut(id)?;
        Some(Work { settings: &self.settings, group, timers: &mut self.timers, tally: &mut self.tally, turn })
    }

    /// The offset is gone from memory and log.
    fn forget_offset(&mut self, group: &StrBytes, topic: &StrBytes, partition: i32, turn: &mut Turn<'_>) {
        let other = self.groups.keys().next().filter(|_| planted::is(Bug::OffsetOfAnotherGroupForgotten));
        turn.record(record::offset_tombstone(other.unwrap_or(group), topic, partition));
        self.ledger.remove(group, topic, partition);
    }

    /// The group is gone from memory and log.
    fn remove_group(&mut self, id: &StrBytes, turn: &mut Turn<'_>) {
        let Some(group) = self.groups.remove(id) else { return };
        turn.record(record::group_tombstone(id));
        for member in group.pending {
            self.timers.cancel(Alarm::Session { group: group.id.clone(), member });
        }
        self.timers.cancel(Alarm::Join { group: group.id.clone() });
        self.timers.cancel(Alarm::Sync { group: group.id });
    }

    fn call(&mut self, token: Token, call: Call, turn: &mut Turn<'_>) {
        let caller = Caller { token, version: call.version, client_id: call.client_id, client_host: call.client_host };
        let version = caller.version;
        match call.request {
            Request::Join(request) => self.join(caller, &request, turn),
            Request::Sync(request) => self.sync(&caller, &request, turn),
            Request::Heartbeat(request) => {
                let error = self.heartbeat(&request, turn);
                turn.answer(token, version, answer::heartbeat(error));
            }
            Request::Leave(request) => {
                let response = self.leave(version, request, turn);
                turn.answer(token, version, response);
            }
            Request::Commit(request) => {
                let response = self.commit(&caller, &request, turn);
                turn.answer(token, version, response);
            }
            Request::FetchOffsets(request) => turn.answer(token, version, self.fetch_offsets(&request)),
            Request::DeleteOffsets(request) => {
                let response = self.delete_offsets(&request, turn);
                turn.answer(token, version, response);
            }
            Request::Describe(request) => turn.answer(token, version, self.describe(&caller, &request)),
            Request::List(request) => turn.answer(token, version, self.list(&request)),
            Request::Delete(request) => {
                let response = self.delete(&request, turn);
                turn.answer(token, version, response);
            }
        }
    }

    fn join(&mut self, caller: Caller, request: &JoinGroupRequest, turn: &mut Turn<'_>) {
        if let Err(error) = self.check_join(request) {
            return turn.answer(caller.token, caller.version, answer::join_error(&request.member_id, error));
        }
        let is_new = !self.groups.contains_key(&request.group_id.0);
        if is_new {
            let group = Group::new(owned(&request.group_id), Some(turn.moment.wall));
            self.groups.insert(group.id.clone(), group);
        }
        let Some(mut work) = self.work(&request.group_id, turn) else { return };
        work.join(Joining::new(caller, request));
        if is_new {
            // Whatever has become of it, the group is known from now on, as one that never had a member.
            let since = work.group.since;
            let value = Group::new(work.group.id.clone(), since).value();
            work.turn.record(record::group(&request.group_id, &value));
        }
    }

    fn check_join(&self, request: &JoinGroupRequest) -> Result<(), ErrorCode> {
        let session_timeout = i64::from(request.session_timeout_ms);
        if request.group_id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        if session_timeout < self.settings.session_timeout_ms_min || session_timeout > self.settings.session_timeout_ms_max {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        let names = request.protocols.iter().map(|protocol| &protocol.name);
        let kept = names.chain(&request.group_instance_id).chain([&request.group_id.0, &request.protocol_type]);
        if kept.into_iter().any(|text| text.len() > record::STRING_BYTES_MAX) {
            return Err(ErrorCode::InvalidRequest);
        }
        // Only a client that has no id yet can be the first of a group.
        let may_be_first = request.member_id.is_empty();
        if may_be_first || self.groups.contains_key(&request.group_id.0) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    fn sync(&mut self, caller: &Caller, request: &SyncGroupRequest, turn: &mut Turn<'_>) {
        let says_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
        let error = if caller.version >= SYNC_PROTOCOL_FROM && !says_protocol {
            ErrorCode::InconsistentGroupProtocol
        } else if request.group_id.is_empty() {
            ErrorCode::InvalidGroupId
        } else if let Some(mut work) = self.work(&request.group_id, turn) {
            return work.sync(caller, request);
        } else {
            ErrorCode::UnknownMemberId
        };
        turn.answer(caller.token, caller.version, answer::sync_error(error));
    }

    fn heartbeat(&mut self, request: &HeartbeatRequest, turn: &mut Turn<'_>) -> ErrorCode {
        if request.group_id.is_empty() {
            return ErrorCode::InvalidGroupId;
        }
        self.work(&request.group_id, turn).map_or(ErrorCode::UnknownMemberId, |mut work| work.heartbeat(request))
    }

    fn leave(&mut self, version: i16, mut request: LeaveGroupRequest, turn: &mut Turn<'_>) -> LeaveGroupResponse {
        if request.group_id.is_empty() {
            return answer::leave_error(&request, ErrorCode::InvalidGroupId);
        }
        if version < answer::LEAVE_MEMBERS_FROM {
            request.members = vec![MemberIdentity::default().with_member_id(request.member_id.clone())];
        }
        match self.work(&request.group_id, turn) {
            Some(mut work) => work.leave(&request),
            None => answer::leave_error(&request, ErrorCode::UnknownMemberId),
        }
    }

    /// What is due now, and what is put off when that is much.
    fn ring(&mut self, turn: &mut Turn<'_>) {
        while !turn.is_full() {
            let Some(alarm) = self.timers.take_due(turn.moment.now) else { return };
            match alarm {
                Alarm::Session { group, member } => self.on(&group, turn, |work| work.session_is_over(&member)),
                Alarm::Join { group } => self.on(&group, turn, |work| work.joins_are_due()),
                Alarm::Sync { group } => self.on(&group, turn, |work| work.syncs_are_due()),
                Alarm::Expiry => self.expire(turn),
                Alarm::Sweep => self.sweep(turn),
            }
        }
    }

    fn on(&mut self, group: &StrBytes, turn: &mut Turn<'_>, step: impl FnOnce(&mut Work<'_, '_>)) {
        if let Some(mut work) = self.work(group, turn) {
            step(&mut work);
        }
    }

    fn load(&mut self, offset: Offset, record: Decoded, producer: Option<ProducerId>) {
        match record {
            Decoded::Offset { key, value: Some(value) } => {
                // An offset alone makes a group.
                if !self.groups.contains_key(&key.group) {
                    self.groups.insert(key.group.clone(), Group::new(key.group.clone(), None));
                }
                let committed = Committed { value, recorded: offset };
                match producer {
                    None => self.ledger.commit(&key.group, &key.topic, key.partition, committed),
                    Some(producer) => self.ledger.wait(producer, &key.group, &key.topic, key.partition, committed),
                }
            }
            Decoded::Offset { key, value: None } => self.ledger.remove(&key.group, &key.topic, key.partition),
            Decoded::Group { group, value: Some(value) } => {
                self.groups.insert(group.clone(), Group::load(group, value));
            }
            Decoded::Group { group, value: None } => {
                self.groups.remove(&group);
            }
            Decoded::Other => {}
        }
    }
}

impl Machine for Groups {
    type Request = Call;
    type Answer = Answer;

    fn replay(&mut self, entry: Replayed<'_>) -> Result<(), ReplayError> {
        match entry {
            Replayed::Record { offset, key, value, transaction, .. } => {
                let decoded = record::decode(key, value).map_err(|malformed| ReplayError { offset, why: malformed.to_string() })?;
                self.load(offset, decoded, transaction.map(|(producer, _)| producer));
            }
            Replayed::Marker { producer_id, outcome } => self.ledger.end_transaction(producer_id, outcome),
        }
        Ok(())
    }

    fn begin(&mut self, moment: Moment<'_>) -> Effects<Answer> {
        let mut turn = Turn::new(moment);
        for id in self.groups.keys().cloned().collect::<Vec<_>>() {
            let Some(mut work) = self.work(&id, &mut turn) else { continue };
            for member in work.group.member_ids() {
                work.heard_of(&member);
            }
            if work.group.members().len() > work.settings.members_max {
                // The limit was lowered. All join again, for a last chance to commit; some will find no room.
                work.prepare_rebalance();
            }
        }
        self.schedule_expiry(&turn);
        self.look_at_topics(&mut turn);
        turn.finish()
    }

    fn handle(&mut self, event: Event<Call>, moment: Moment<'_>) -> Effects<Answer> {
        let mut turn = Turn::new(moment);
        match event {
            Event::Request { token, request } => self.call(token, request, &mut turn),
            Event::Timer => self.ring(&mut turn),
            Event::ImageChanged => self.look_for_deleted_topics(&mut turn),
        }
        turn.finish()
    }

    fn deadline(&self) -> Option<Monotonic> {
        self.timers.next()
    }
}
