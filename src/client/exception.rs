//! The names that Kafka's Java clients give to wire errors: its tools print them, and scripts look for them.
//!
//! Called by `error` and by the tools; calls nothing.
//!
//! Invariants:
//! 1. Every error code has a name: most follow from the code's own, the others are in the table.

use crate::wire::error::ErrorCode;

/// Codes whose exception is not called as the code is.
const IRREGULAR: &[(ErrorCode, &str)] = &[
    (ErrorCode::CorruptMessage, "CorruptRecord"),
    (ErrorCode::RequestTimedOut, "Timeout"),
    (ErrorCode::MessageTooLarge, "RecordTooLarge"),
    (ErrorCode::StaleControllerEpoch, "ControllerMoved"),
    (ErrorCode::RecordListTooLarge, "RecordBatchTooLarge"),
    (ErrorCode::TopicAlreadyExists, "TopicExists"),
    (ErrorCode::InvalidConfig, "InvalidConfiguration"),
    (ErrorCode::OutOfOrderSequenceNumber, "OutOfOrderSequence"),
    (ErrorCode::DuplicateSequenceNumber, "DuplicateSequence"),
    (ErrorCode::InvalidProducerIdMapping, "InvalidPidMapping"),
    (ErrorCode::InvalidTransactionTimeout, "InvalidTxnTimeout"),
    (ErrorCode::NonEmptyGroup, "GroupNotEmpty"),
    (ErrorCode::DelegationTokenAuthDisabled, "DelegationTokenDisabled"),
    (ErrorCode::DelegationTokenRequestNotAllowed, "UnsupportedByAuthentication"),
    (ErrorCode::PrincipalDeserializationFailure, "PrincipalDeserialization"),
];

/// The exception's name with the package it lives in.
pub fn name(code: ErrorCode) -> String {
    format!("org.apache.kafka.common.errors.{}", class(code))
}

/// The exception's name alone.
pub fn class(code: ErrorCode) -> String {
    if let Some((_, stem)) = IRREGULAR.iter().find(|(irregular, _)| *irregular == code) {
        return format!("{stem}Exception");
    }
    let words: Vec<&str> = code.name().split('_').collect();
    let words = match words.as_slice() {
        [stem @ .., "AUTHORIZATION" | "AUTHENTICATION", "FAILED"] => &words[..=stem.len()],
        [stem @ .., "ERROR" | "EXCEPTION"] => stem,
        all => all,
    };
    let mut class = String::new();
    for word in words {
        let (first, rest) = word.split_at(1);
        class.push_str(first);
        class.push_str(&rest.to_ascii_lowercase());
    }
    class + "Exception"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_kafkas_java_clients() {
        let names = [
            (ErrorCode::OffsetOutOfRange, "OffsetOutOfRangeException"),
            (ErrorCode::UnknownTopicOrPartition, "UnknownTopicOrPartitionException"),
            (ErrorCode::UnknownServerError, "UnknownServerException"),
            (ErrorCode::KafkaStorageError, "KafkaStorageException"),
            (ErrorCode::InvalidTopicException, "InvalidTopicException"),
            (ErrorCode::TopicAuthorizationFailed, "TopicAuthorizationException"),
            (ErrorCode::SaslAuthenticationFailed, "SaslAuthenticationException"),
            (ErrorCode::FeatureUpdateFailed, "FeatureUpdateFailedException"),
            (ErrorCode::InvalidConfig, "InvalidConfigurationException"),
            (ErrorCode::RequestTimedOut, "TimeoutException"),
            (ErrorCode::UnknownTopicId, "UnknownTopicIdException"),
        ];
        for (code, class_name) in names {
            assert_eq!(class(code), class_name);
        }
        assert_eq!(name(ErrorCode::InvalidRequest), "org.apache.kafka.common.errors.InvalidRequestException");
    }
}
