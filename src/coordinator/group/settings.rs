//! What the group machine is set to.

use crate::config::settings;

/// Until a member that has just joined is through its first rebalance, it is not held to its session timeout but to this.
pub(super) const NEW_MEMBER_JOIN_MS: u64 = 5 * 60 * 1000;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    pub initial_rebalance_delay_ms: u64,
    pub session_timeout_ms_min: i64,
    pub session_timeout_ms_max: i64,
    pub members_max: usize,
    /// In UTF-16 code units, as Kafka counts.
    pub metadata_length_max: usize,
    pub retention_ms: u64,
    pub retention_check_interval_ms: u64,
}

impl Settings {
    pub fn of(groups: &settings::Groups, offsets: &settings::Offsets) -> Self {
        Self {
            initial_rebalance_delay_ms: groups.initial_rebalance_delay_ms.into(),
            session_timeout_ms_min: groups.session_timeout_ms_min.into(),
            session_timeout_ms_max: groups.session_timeout_ms_max.into(),
            members_max: groups.members_max as usize,
            metadata_length_max: offsets.metadata_bytes_max as usize,
            retention_ms: offsets.retention_ms,
            retention_check_interval_ms: offsets.retention_check_interval_ms,
        }
    }
}
