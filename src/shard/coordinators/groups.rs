//! Consumer groups as the host sees them.

use crate::config::BrokerSettings;
use crate::coordinator::group::{Answer, Call, Groups, Request, Settings, refusal};
use crate::wire::error::ErrorCode;

use super::host::Hosted;

/// Bytes of a committed offset's record beside the names in it, at most: of the key 10, of the value 44, of the lengths around them 15.
const OFFSET_RECORD_BYTES: usize = 72;

/// A machine without a group.
pub(super) fn machine(settings: &BrokerSettings) -> Groups {
    Groups::new(Settings::of(&settings.groups, &settings.offsets))
}

impl Hosted for Groups {
    fn refusal(call: &Call, code: ErrorCode) -> Answer {
        refusal(call, code)
    }

    /// Each committed offset is a record that names the group and the topic again.
    fn record_bytes(call: &Call) -> usize {
        let Request::Commit(commit) = &call.request else { return 0 };
        let partitions = commit.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)));
        let lens = partitions.map(|(topic, partition)| {
            let metadata = partition.committed_metadata.as_ref().map_or(0, |metadata| metadata.len());
            commit.group_id.len() + topic.name.len() + metadata + OFFSET_RECORD_BYTES
        });
        lens.fold(0, usize::saturating_add)
    }

    fn writes(call: &Call) -> bool {
        match call.request {
            Request::Join(_) | Request::Sync(_) | Request::Leave(_) => true,
            Request::Commit(_) | Request::DeleteOffsets(_) | Request::Delete(_) => true,
            Request::Heartbeat(_) | Request::FetchOffsets(_) | Request::Describe(_) | Request::List(_) => false,
        }
    }
}
