use std::time::Duration;

use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::StrBytes;

use super::exception;
use super::settings::SettingsError;
use crate::wire::error::ErrorCode;

/// Why a call failed. Each displays as one sentence that a user can act on.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error("no broker answers at {tried}; check the address, and that a broker listens there")]
    Unreachable { tried: String },
    #[error("broker {node} advertises {address}, which does not answer ({reason}); check the advertised.listeners of that broker")]
    Advertised { node: i32, address: String, reason: String },
    #[error("{address} closed the connection while {api:?} was under way; its log says why, or it is not a Kafka listener without TLS")]
    Closed { address: String, api: ApiKey },
    #[error("the connection to {address} failed during {api:?}: {source}")]
    Io { address: String, api: ApiKey, source: std::io::Error },
    #[error("{address} did not answer {api:?} within {} ms; raise request.timeout.ms if it is only slow", .waited.as_millis())]
    TimedOut { address: String, api: ApiKey, waited: Duration },
    #[error("{address} answered {api:?} with bytes that are not Kafka's protocol: {detail}")]
    Malformed { address: String, api: ApiKey, detail: String },
    #[error("{address} does not serve {api:?} at a version this tool speaks ({spoken}); it offers {offered}")]
    Unsupported { address: String, api: ApiKey, spoken: String, offered: String },
    #[error("{api:?} cannot be written: {detail}")]
    Encode { api: ApiKey, detail: String },
    #[error("the cluster lists no broker {node} at present")]
    UnknownNode { node: i32 },
    #[error("topic '{topic}' has no partition {partition} with a leader")]
    NoLeader { topic: String, partition: i32 },
    #[error("broker {node} could not be asked: {reason}")]
    Broker { node: i32, reason: String },
    #[error("the broker left {what} out of its answer")]
    LeftOut { what: String },
    #[error("GroupId {group} is not a consumer group ({protocol}).")]
    NotConsumers { group: String, protocol: String },
    #[error("{0}")]
    Refused(Refusal),
}

impl ClientError {
    /// The broker's error, where it answered with one.
    pub fn refusal(&self) -> Option<ErrorCode> {
        match self {
            ClientError::Refused(refusal) => refusal.error(),
            _ => None,
        }
    }

    /// As Kafka's Java tools print what went wrong: the exception's name before the sentence, where a broker refused.
    pub fn as_exception(&self) -> String {
        match self {
            ClientError::Refused(refusal) => match refusal.error() {
                Some(code) => format!("{}: {}", exception::name(code), refusal.message),
                None => refusal.message.clone(),
            },
            other => other.to_string(),
        }
    }

    /// The connection is of no more use, but another attempt on a new one may succeed.
    pub(super) fn is_transport(&self) -> bool {
        matches!(self, ClientError::Closed { .. } | ClientError::Io { .. } | ClientError::TimedOut { .. })
    }
}

/// An error code in a response, with the broker's own sentence, or the protocol's where the broker gave none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub code: i16,
    pub message: String,
}

impl Refusal {
    /// None for code 0.
    pub fn from_code(code: i16, message: Option<&StrBytes>) -> Option<Self> {
        if code == 0 {
            return None;
        }
        let message = message.map(ToString::to_string).filter(|text| !text.is_empty()).unwrap_or_else(|| sentence(code));
        Some(Refusal { code, message })
    }

    /// One that the client itself concludes, in the protocol's words.
    pub(super) fn of(code: ErrorCode) -> Self {
        Refusal { code: code.code(), message: sentence(code.code()) }
    }

    pub fn check(code: i16, message: Option<&StrBytes>) -> Result<(), Self> {
        Self::from_code(code, message).map_or(Ok(()), Err)
    }

    /// None for a code that Kafka's protocol does not know yet.
    pub fn error(&self) -> Option<ErrorCode> {
        ErrorCode::from_code(self.code)
    }

    /// The same question, asked again after a pause and with fresh metadata, may be answered: the cluster is between two leaders, two
    /// controllers or two coordinators. A topic that is not there is not among these: a user wants to hear of it at once.
    pub fn is_retriable(&self) -> bool {
        matches!(
            self.error(),
            Some(
                ErrorCode::LeaderNotAvailable
                    | ErrorCode::NotLeaderOrFollower
                    | ErrorCode::FencedLeaderEpoch
                    | ErrorCode::UnknownLeaderEpoch
                    | ErrorCode::NotController
                    | ErrorCode::CoordinatorLoadInProgress
                    | ErrorCode::CoordinatorNotAvailable
                    | ErrorCode::NotCoordinator
                    | ErrorCode::OffsetNotAvailable
            )
        )
    }
}

/// Kafka's own sentence where admin answers come without one; else the error's name.
fn sentence(code: i16) -> String {
    let known = match ErrorCode::from_code(code) {
        Some(ErrorCode::OffsetOutOfRange) => "The requested offset is not within the range of offsets maintained by the server.",
        Some(ErrorCode::LeaderNotAvailable) => {
            "There is no leader for this topic-partition as we are in the middle of a leadership election."
        }
        Some(ErrorCode::NotLeaderOrFollower) => {
            "For requests intended only for the leader, this error indicates that the broker is not the current leader. \
             For requests intended for any replica, this error indicates that the broker is not a replica of the topic partition."
        }
        Some(ErrorCode::KafkaStorageError) => "Disk error when trying to access log file on the disk.",
        Some(ErrorCode::UnsupportedVersion) => "The version of API is not supported.",
        Some(ErrorCode::PolicyViolation) => "Request parameters do not satisfy the configured policy.",
        Some(ErrorCode::UnknownTopicOrPartition) => "This server does not host this topic-partition.",
        Some(ErrorCode::UnknownTopicId) => "This server does not host this topic ID.",
        Some(ErrorCode::TopicAlreadyExists) => "Topic with this name already exists.",
        Some(ErrorCode::TopicAuthorizationFailed) => "Topic authorization failed.",
        Some(ErrorCode::ClusterAuthorizationFailed) => "Cluster authorization failed.",
        Some(ErrorCode::TopicDeletionDisabled) => "Topic deletion is disabled.",
        Some(ErrorCode::NotController) => "This is not the correct controller for this cluster.",
        Some(ErrorCode::RequestTimedOut) => "The request timed out.",
        Some(ErrorCode::CoordinatorLoadInProgress) => "The coordinator is loading and hence can't process requests.",
        Some(ErrorCode::CoordinatorNotAvailable) => "The coordinator is not available.",
        Some(ErrorCode::NotCoordinator) => "This is not the correct coordinator.",
        Some(ErrorCode::InvalidGroupId) => "The group id is invalid.",
        Some(ErrorCode::UnknownMemberId) => "The coordinator is not aware of this member.",
        Some(ErrorCode::GroupAuthorizationFailed) => "Group authorization failed.",
        Some(ErrorCode::NonEmptyGroup) => "The group is not empty.",
        Some(ErrorCode::GroupIdNotFound) => "The group id does not exist.",
        Some(ErrorCode::GroupSubscribedToTopic) => {
            "Deleting offsets of a topic is forbidden while the consumer group is actively subscribed to it."
        }
        Some(ErrorCode::NoReassignmentInProgress) => "No partition reassignment is in progress.",
        Some(ErrorCode::ReplicaNotAvailable) => "The replica is not available for the requested topic-partition.",
        Some(ErrorCode::LogDirNotFound) => "The user-specified log directory is not found in the broker config.",
        Some(ErrorCode::PreferredLeaderNotAvailable) => "The preferred leader was not available.",
        Some(ErrorCode::EligibleLeadersNotAvailable) => "Eligible topic partition leaders are not available.",
        Some(ErrorCode::ElectionNotNeeded) => "Leader election not needed for topic partition.",
        Some(other) => return format!("the broker answers {}", other.name()),
        None => return format!("the broker answers with error {code}, which this tool does not know"),
    };
    known.to_owned()
}
