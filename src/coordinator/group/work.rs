//! One group at one event, with all that a step of its protocol changes.

use super::census::Tally;
use super::member::{Member, Parked};
use super::roster::Group;
use super::settings::Settings;
use super::timers::{Alarm, Timers};
use super::turn::Turn;
use super::{StrBytes, answer, record};
use crate::wire::error::ErrorCode;

pub(super) struct Work<'a, 'm> {
    pub settings: &'a Settings,
    pub group: &'a mut Group,
    pub timers: &'a mut Timers,
    pub tally: &'a mut Tally,
    pub turn: &'a mut Turn<'m>,
}

impl Work<'_, '_> {
    fn set(&mut self, alarm: Alarm, delay_ms: u64) {
        self.timers.set(alarm, self.turn.moment.now, delay_ms);
    }

    /// The member, or an id that may become one, is gone unless it is heard of within `delay_ms`.
    pub fn expect(&mut self, member: &StrBytes, delay_ms: u64) {
        self.set(Alarm::Session { group: self.group.id.clone(), member: member.clone() }, delay_ms);
    }

    /// The member was heard of.
    pub fn heard_of(&mut self, member: &StrBytes) {
        let known = self.group.member(member).map(|member| (member.id.clone(), member.session_timeout_ms));
        if let Some((id, timeout)) = known {
            self.expect(&id, timeout.max(0) as u64);
        }
    }

    pub fn no_longer_expect(&mut self, member: &StrBytes) {
        self.timers.cancel(Alarm::Session { group: self.group.id.clone(), member: member.clone() });
    }

    pub fn wait_for_joins(&mut self, delay_ms: u64) {
        self.set(Alarm::Join { group: self.group.id.clone() }, delay_ms);
    }

    pub fn stop_waiting_for_joins(&mut self) {
        self.timers.cancel(Alarm::Join { group: self.group.id.clone() });
    }

    pub fn wait_for_syncs(&mut self, delay_ms: u64) {
        self.set(Alarm::Sync { group: self.group.id.clone() }, delay_ms);
    }

    pub fn stop_waiting_for_syncs(&mut self) {
        self.timers.cancel(Alarm::Sync { group: self.group.id.clone() });
    }

    /// The group as it is, in the log. False if that is too much for it.
    pub fn keep(&mut self) -> bool {
        let record = record::group(&self.group.id, &self.group.value());
        let can = self.turn.can_keep(std::slice::from_ref(&record));
        if can {
            self.turn.record(record);
        }
        can
    }

    /// Parks a member's JoinGroup. One of the same member that waited gives way: its client has asked anew.
    pub fn park_join(&mut self, member: &StrBytes, parked: Parked) {
        if let Some(before) = self.group.park_join(member, parked) {
            self.turn.answer(before.token, before.version, answer::join_error(member, ErrorCode::RebalanceInProgress));
        }
    }

    pub fn park_sync(&mut self, member: &StrBytes, parked: Parked) {
        let before = self.group.member_mut(member).and_then(|member| member.sync.replace(parked));
        if let Some(before) = before {
            self.turn.answer(before.token, before.version, answer::sync_error(ErrorCode::RebalanceInProgress));
        }
    }

    /// Takes a member, or an id that may have become one, out of the group; what it waits for is refused.
    pub fn drop_member(&mut self, id: &StrBytes) {
        self.no_longer_expect(id);
        let Some(Member { join, sync, .. }) = self.group.remove(id) else { return };
        if let Some(join) = join {
            self.turn.answer(join.token, join.version, answer::join_error(&StrBytes::default(), ErrorCode::UnknownMemberId));
        }
        if let Some(sync) = sync {
            self.turn.answer(sync.token, sync.version, answer::sync_error(ErrorCode::UnknownMemberId));
        }
    }
}
