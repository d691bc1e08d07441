//! One partition's place in the answer to a Fetch: what was found, and how it is said.

use crate::io::World;
use crate::partition::{PlannedRead, ReadRequest};
use crate::server::fetch_sessions::{Content, Said};
use crate::types::{Offset, ShardId, TopicPartition};
use crate::wire::error::ErrorCode;
use crate::wire::fetch::{AbortedTransaction, DivergingEpoch, FetchPartitionResponse};
use crate::wire::produce::CurrentLeader;

pub(super) struct Place<W: World> {
    pub topic: usize,
    pub index: i32,
    /// Which of the request's partitions it is.
    pub at: usize,
    /// `None` if no replica is to be asked.
    pub partition: Option<(ShardId, TopicPartition, ReadRequest)>,
    pub outcome: Outcome<W>,
}

pub(super) enum Outcome<W: World> {
    Unplanned,
    Planned(PlannedRead<W>),
    Refused(ErrorCode, Option<CurrentLeader>),
}

/// A partition that nobody knows: kept apart, as it takes no part in the wait and there may be very many.
#[derive(Clone, Copy)]
pub(super) struct Unresolved {
    pub topic: usize,
    pub index: i32,
    /// Which of the request's partitions it is.
    pub at: usize,
    pub code: ErrorCode,
}

/// What an error says of a partition, for its session.
const FAILED: Said = Said { high_watermark: Offset(-1), log_start: Offset(-1), content: Content::Error };

impl<W: World> Place<W> {
    /// What the answer says of the partition, for its session.
    pub fn said(&self) -> Said {
        match &self.outcome {
            Outcome::Planned(planned) => Said {
                high_watermark: planned.high_watermark,
                log_start: planned.log_start,
                content: match (&planned.range, planned.diverging) {
                    (Some(_), _) => Content::Records,
                    (None, Some(_)) => Content::Divergence,
                    (None, None) => Content::Nothing,
                },
            },
            Outcome::Refused(..) | Outcome::Unplanned => FAILED,
        }
    }

    pub fn response(&self, committed: bool) -> FetchPartitionResponse {
        let planned = match &self.outcome {
            Outcome::Planned(planned) => planned,
            Outcome::Refused(code, current_leader) => {
                return FetchPartitionResponse { current_leader: *current_leader, ..FetchPartitionResponse::refused(self.index, *code) };
            }
            Outcome::Unplanned => return FetchPartitionResponse::refused(self.index, ErrorCode::UnknownServerError),
        };
        let aborted = |(producer_id, first_offset): &(_, _)| AbortedTransaction { producer_id: *producer_id, first_offset: *first_offset };
        FetchPartitionResponse {
            high_watermark: planned.high_watermark,
            last_stable_offset: planned.last_stable,
            log_start_offset: planned.log_start,
            aborted: committed.then(|| planned.aborted.iter().map(aborted).collect()),
            diverging_epoch: planned.diverging.map(|(epoch, end_offset)| DivergingEpoch { epoch, end_offset }),
            records_len: planned.range.as_ref().map_or(0, |range| range.len as u32),
            ..FetchPartitionResponse::refused(self.index, ErrorCode::None)
        }
    }
}

impl Unresolved {
    pub fn said(&self) -> Said {
        FAILED
    }

    pub fn response(&self) -> FetchPartitionResponse {
        unread(self.index, self.code)
    }
}

/// A partition that was not even tried. Kafka's own difference: an empty list of aborted transactions here, none at all elsewhere.
pub(super) fn unread(index: i32, code: ErrorCode) -> FetchPartitionResponse {
    FetchPartitionResponse { aborted: Some(Vec::new()), ..FetchPartitionResponse::refused(index, code) }
}
