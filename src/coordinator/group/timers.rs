//! What a machine waits for, in the order in which it falls due: one alarm of a kind at a time, found by its name or by its time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::StrBytes;
use crate::types::Monotonic;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Alarm {
    /// A member, or one that was given an id and has not joined with it, was not heard of.
    Session { group: StrBytes, member: StrBytes },
    /// A rebalance has waited for joins as long as it may.
    Join { group: StrBytes },
    /// A generation has waited for syncs as long as it may.
    Sync { group: StrBytes },
    /// Expired offsets are to be looked for.
    Expiry,
    /// Offsets of deleted topics are still there.
    Sweep,
}

/// An alarm rings no sooner than this after it is set, so that one that sets itself anew does not ring for ever.
const DELAY_MIN: Duration = Duration::from_millis(1);

#[derive(Default, Debug)]
pub(super) struct Timers {
    due: BTreeMap<Alarm, Monotonic>,
    order: BTreeSet<(Monotonic, Alarm)>,
}

impl Timers {
    /// Replaces the alarm if it is set already.
    pub fn set(&mut self, alarm: Alarm, now: Monotonic, delay_ms: u64) {
        let at = now.plus(Duration::from_millis(delay_ms).max(DELAY_MIN));
        if let Some(before) = self.due.insert(alarm.clone(), at) {
            self.order.remove(&(before, alarm.clone()));
        }
        self.order.insert((at, alarm));
    }

    pub fn cancel(&mut self, alarm: Alarm) {
        if let Some(at) = self.due.remove(&alarm) {
            self.order.remove(&(at, alarm));
        }
    }

    pub fn next(&self) -> Option<Monotonic> {
        self.order.first().map(|(at, _)| *at)
    }

    /// The alarm that is due the longest; it is no longer set.
    pub fn take_due(&mut self, now: Monotonic) -> Option<Alarm> {
        if self.next()? > now {
            return None;
        }
        let (_, alarm) = self.order.pop_first()?;
        self.due.remove(&alarm);
        Some(alarm)
    }
}
