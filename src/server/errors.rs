//! The one place where refusals become wire errors.
//!
//! Every match is exhaustive: a new refusal must be mapped, never defaulted.

use crate::partition::Refusal;
use crate::wire::error::ErrorCode;

use super::fetch_sessions::SessionRefusal;

/// What a refusal is on the wire. `by_id`: the request named the topic by id.
pub fn code_of(refusal: &Refusal, by_id: bool) -> ErrorCode {
    match refusal {
        Refusal::NotLeader => ErrorCode::NotLeaderOrFollower,
        Refusal::Unknown if by_id => ErrorCode::UnknownTopicId,
        Refusal::Unknown => ErrorCode::UnknownTopicOrPartition,
        Refusal::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        Refusal::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
        Refusal::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        Refusal::Offline | Refusal::NoRoom => ErrorCode::KafkaStorageError,
        Refusal::Corrupt => ErrorCode::CorruptMessage,
        Refusal::OutOfOrderSequence => ErrorCode::OutOfOrderSequenceNumber,
        Refusal::InvalidProducerEpoch => ErrorCode::InvalidProducerEpoch,
        Refusal::UnknownProducerId => ErrorCode::UnknownProducerId,
        Refusal::InvalidTransactionState => ErrorCode::InvalidTxnState,
        Refusal::CoordinatorFenced => ErrorCode::TransactionCoordinatorFenced,
        Refusal::TooLarge => ErrorCode::RecordListTooLarge,
        Refusal::NotEnoughReplicas => ErrorCode::NotEnoughReplicas,
        Refusal::CompactedOnly => ErrorCode::PolicyViolation,
        Refusal::TimedOut => ErrorCode::RequestTimedOut,
    }
}

/// What the refusal of a fetch session is on the wire.
pub fn code_of_session(refusal: SessionRefusal) -> ErrorCode {
    match refusal {
        // The client begins anew with a full request, which is answered whatever room there is.
        SessionRefusal::Unknown | SessionRefusal::TooLarge => ErrorCode::FetchSessionIdNotFound,
        SessionRefusal::WrongEpoch => ErrorCode::InvalidFetchSessionEpoch,
        SessionRefusal::NamedOtherwise => ErrorCode::FetchSessionTopicIdError,
    }
}
