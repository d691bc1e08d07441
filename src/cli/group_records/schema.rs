//! The fields of every record type, by the names that Kafka's JSON gives them.

pub struct RecordType {
    pub kind: i16,
    /// Keys have one version each, which is not flexible.
    pub key: &'static [Field],
    pub value: &'static [Field],
    /// The newest version of the value.
    pub newest: i16,
    /// The first version of the value with compact lengths and tagged fields (KIP-482).
    pub flexible_from: i16,
}

pub struct Field {
    pub name: &'static str,
    pub kind: Kind,
    pub nullable: bool,
    pub tag: Option<Tag>,
    since: i16,
    until: i16,
}

#[derive(Clone, Copy)]
pub struct Tag {
    pub number: i32,
    /// The value, in JSON, that the field has where it is absent, and where it is then left out.
    pub absent: &'static str,
}

pub enum Kind {
    Int8,
    Int16,
    Uint16,
    Int32,
    Int64,
    Uuid,
    Text,
    Bytes,
    List(&'static Kind),
    Object(&'static [Field]),
    /// Text that tells what [`Kind::Embedded`] bytes after it hold.
    ProtocolType,
    /// Bytes that, among consumers, hold a version and these fields.
    Embedded(&'static [Field]),
}

/// The protocol type of consumers, in JSON.
pub const SUBSCRIPTION_PROTOCOL: &str = "\"consumer\"";

impl Field {
    pub fn is_of(&self, version: i16) -> bool {
        (self.since..=self.until).contains(&version)
    }

    const fn since(mut self, version: i16) -> Self {
        self.since = version;
        self
    }

    const fn until(mut self, version: i16) -> Self {
        self.until = version;
        self
    }

    const fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }

    const fn tagged(mut self, number: i32, absent: &'static str) -> Self {
        self.tag = Some(Tag { number, absent });
        self
    }
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind, nullable: false, tag: None, since: i16::MIN, until: i16::MAX }
}

use Kind::{Bytes, Embedded, Int8, Int16, Int32, Int64, List, Object, ProtocolType, Text, Uint16, Uuid};

/// A value whose only version, 0, is flexible.
const fn modern(kind: i16, key: &'static [Field], value: &'static [Field]) -> RecordType {
    RecordType { kind, key, value, newest: 0, flexible_from: 0 }
}

pub const TYPES: &[RecordType] = &[
    RecordType { kind: super::LEGACY_OFFSET, key: OFFSET_KEY, value: OFFSET, newest: 0, flexible_from: 4 },
    RecordType { kind: super::OFFSET, key: OFFSET_KEY, value: OFFSET, newest: 4, flexible_from: 4 },
    RecordType { kind: super::GROUP, key: CLASSIC_KEY, value: CLASSIC_GROUP, newest: 4, flexible_from: 4 },
    modern(3, GROUP_KEY, CONSUMER_GROUP),
    modern(4, GROUP_KEY, CONSUMER_GROUP_PARTITIONS),
    modern(5, MEMBER_KEY, CONSUMER_GROUP_MEMBER),
    modern(6, GROUP_KEY, TARGET_ASSIGNMENT),
    modern(7, MEMBER_KEY, TARGET_ASSIGNMENT_OF_MEMBER),
    modern(8, MEMBER_KEY, CURRENT_ASSIGNMENT),
    modern(10, MEMBER_KEY, SHARE_GROUP_MEMBER),
    modern(11, GROUP_KEY, SHARE_GROUP),
    modern(12, GROUP_KEY, TARGET_ASSIGNMENT),
    modern(13, MEMBER_KEY, TARGET_ASSIGNMENT_OF_MEMBER),
    modern(14, MEMBER_KEY, SHARE_CURRENT_ASSIGNMENT),
    modern(15, GROUP_KEY, SHARE_PARTITIONS),
    modern(16, EXPRESSION_KEY, EXPRESSION),
    modern(17, GROUP_KEY, STREAMS_GROUP),
    modern(19, MEMBER_KEY, STREAMS_GROUP_MEMBER),
    modern(20, GROUP_KEY, TARGET_ASSIGNMENT),
    modern(21, MEMBER_KEY, STREAMS_TARGET_ASSIGNMENT_OF_MEMBER),
    modern(22, MEMBER_KEY, STREAMS_CURRENT_ASSIGNMENT),
    modern(23, GROUP_KEY, STREAMS_TOPOLOGY),
];

const OFFSET_KEY: &[Field] = &[field("group", Text), field("topic", Text), field("partition", Int32)];
const CLASSIC_KEY: &[Field] = &[field("group", Text)];
const GROUP_KEY: &[Field] = &[field("groupId", Text)];
const MEMBER_KEY: &[Field] = &[field("groupId", Text), field("memberId", Text)];
const EXPRESSION_KEY: &[Field] = &[field("groupId", Text), field("regularExpression", Text)];

const OFFSET: &[Field] = &[
    field("offset", Int64),
    field("leaderEpoch", Int32).since(3),
    field("metadata", Text),
    field("commitTimestamp", Int64),
    field("expireTimestamp", Int64).since(1).until(1),
    field("topicId", Uuid).tagged(0, "\"AAAAAAAAAAAAAAAAAAAAAA\""),
];

const CLASSIC_GROUP: &[Field] = &[
    field("protocolType", ProtocolType),
    field("generation", Int32),
    field("protocol", Text).nullable(),
    field("leader", Text).nullable(),
    field("currentStateTimestamp", Int64).since(2),
    field("members", List(&Object(CLASSIC_MEMBER))),
];
const CLASSIC_MEMBER: &[Field] = &[
    field("memberId", Text),
    field("groupInstanceId", Text).nullable().since(3),
    field("clientId", Text),
    field("clientHost", Text),
    field("rebalanceTimeout", Int32).since(1),
    field("sessionTimeout", Int32),
    field("subscription", Embedded(SUBSCRIPTION)),
    field("assignment", Embedded(ASSIGNMENT)),
];
const SUBSCRIPTION: &[Field] = &[
    field("topics", List(&Text)),
    field("userData", Bytes).nullable(),
    field("ownedPartitions", List(&Object(PARTITIONS_BY_NAME))).since(1),
    field("generationId", Int32).since(2),
    field("rackId", Text).nullable().since(3),
];
const ASSIGNMENT: &[Field] = &[field("assignedPartitions", List(&Object(PARTITIONS_BY_NAME))), field("userData", Bytes).nullable()];
const PARTITIONS_BY_NAME: &[Field] = &[field("topic", Text), field("partitions", List(&Int32))];

const CONSUMER_GROUP: &[Field] = &[field("epoch", Int32), field("metadataHash", Int64).tagged(0, "0")];
const CONSUMER_GROUP_PARTITIONS: &[Field] = &[field("topics", List(&Object(COUNTED_TOPIC)))];
const COUNTED_TOPIC: &[Field] =
    &[field("topicId", Uuid), field("topicName", Text), field("numPartitions", Int32), field("partitionMetadata", List(&Object(RACKS)))];
const RACKS: &[Field] = &[field("partition", Int32), field("racks", List(&Text))];

const CONSUMER_GROUP_MEMBER: &[Field] = &[
    field("instanceId", Text).nullable(),
    field("rackId", Text).nullable(),
    field("clientId", Text),
    field("clientHost", Text),
    field("subscribedTopicNames", List(&Text)),
    field("subscribedTopicRegex", Text).nullable(),
    field("rebalanceTimeoutMs", Int32),
    field("serverAssignor", Text).nullable(),
    field("classicMemberMetadata", Object(OF_CLASSIC_PROTOCOL)).nullable().tagged(0, "{\"sessionTimeoutMs\":0,\"supportedProtocols\":[]}"),
];
const OF_CLASSIC_PROTOCOL: &[Field] = &[field("sessionTimeoutMs", Int32), field("supportedProtocols", List(&Object(CLASSIC_PROTOCOL)))];
const CLASSIC_PROTOCOL: &[Field] = &[field("name", Text), field("metadata", Bytes)];

const TARGET_ASSIGNMENT: &[Field] = &[field("assignmentEpoch", Int32), field("assignmentTimestamp", Int64).tagged(0, "0")];
const TARGET_ASSIGNMENT_OF_MEMBER: &[Field] = &[field("topicPartitions", List(&Object(PARTITIONS)))];
const PARTITIONS: &[Field] = &[field("topicId", Uuid), field("partitions", List(&Int32))];

const CURRENT_ASSIGNMENT: &[Field] = &[
    field("memberEpoch", Int32),
    field("previousMemberEpoch", Int32),
    field("state", Int8),
    field("assignedPartitions", List(&Object(PARTITIONS_IN_EPOCHS))),
    field("partitionsPendingRevocation", List(&Object(PARTITIONS_IN_EPOCHS))),
];
const PARTITIONS_IN_EPOCHS: &[Field] =
    &[field("topicId", Uuid), field("partitions", List(&Int32)), field("assignmentEpochs", List(&Int32)).nullable().tagged(0, "[]")];

const SHARE_GROUP_MEMBER: &[Field] =
    &[field("rackId", Text).nullable(), field("clientId", Text), field("clientHost", Text), field("subscribedTopicNames", List(&Text))];
const SHARE_GROUP: &[Field] = &[field("epoch", Int32), field("metadataHash", Int64)];
const SHARE_CURRENT_ASSIGNMENT: &[Field] = &[
    field("memberEpoch", Int32),
    field("previousMemberEpoch", Int32),
    field("state", Int8),
    field("assignedPartitions", List(&Object(PARTITIONS))),
];
const SHARE_PARTITIONS: &[Field] = &[
    field("initializingTopics", List(&Object(NAMED_PARTITIONS))),
    field("initializedTopics", List(&Object(NAMED_PARTITIONS))),
    field("deletingTopics", List(&Object(NAMED_TOPIC))),
];
const NAMED_PARTITIONS: &[Field] = &[field("topicId", Uuid), field("topicName", Text), field("partitions", List(&Int32))];
const NAMED_TOPIC: &[Field] = &[field("topicId", Uuid), field("topicName", Text)];

const EXPRESSION: &[Field] = &[field("topics", List(&Text)), field("version", Int64), field("timestamp", Int64)];

const STREAMS_GROUP: &[Field] = &[
    field("epoch", Int32),
    field("metadataHash", Int64),
    field("validatedTopologyEpoch", Int32).tagged(0, "-1"),
    field("lastAssignmentConfigs", List(&Object(PAIR))).nullable().tagged(1, "[]"),
];
const PAIR: &[Field] = &[field("key", Text), field("value", Text)];
const STREAMS_GROUP_MEMBER: &[Field] = &[
    field("instanceId", Text).nullable(),
    field("rackId", Text).nullable(),
    field("clientId", Text),
    field("clientHost", Text),
    field("rebalanceTimeoutMs", Int32),
    field("topologyEpoch", Int32),
    field("processId", Text),
    field("userEndpoint", Object(ENDPOINT)).nullable(),
    field("clientTags", List(&Object(PAIR))),
];
const ENDPOINT: &[Field] = &[field("host", Text), field("port", Uint16)];

const STREAMS_TARGET_ASSIGNMENT_OF_MEMBER: &[Field] =
    &[field("activeTasks", List(&Object(TASKS))), field("standbyTasks", List(&Object(TASKS))), field("warmupTasks", List(&Object(TASKS)))];
const TASKS: &[Field] = &[field("subtopologyId", Text), field("partitions", List(&Int32))];
const STREAMS_CURRENT_ASSIGNMENT: &[Field] = &[
    field("memberEpoch", Int32),
    field("previousMemberEpoch", Int32),
    field("state", Int8),
    field("activeTasks", List(&Object(TASKS_IN_EPOCHS))),
    field("standbyTasks", List(&Object(TASKS_IN_EPOCHS))),
    field("warmupTasks", List(&Object(TASKS_IN_EPOCHS))),
    field("activeTasksPendingRevocation", List(&Object(TASKS_IN_EPOCHS))),
    field("standbyTasksPendingRevocation", List(&Object(TASKS_IN_EPOCHS))),
    field("warmupTasksPendingRevocation", List(&Object(TASKS_IN_EPOCHS))),
];
const TASKS_IN_EPOCHS: &[Field] =
    &[field("subtopologyId", Text), field("partitions", List(&Int32)), field("assignmentEpochs", List(&Int32)).nullable().tagged(0, "[]")];

const STREAMS_TOPOLOGY: &[Field] = &[field("epoch", Int32), field("subtopologies", List(&Object(SUBTOPOLOGY)))];
const SUBTOPOLOGY: &[Field] = &[
    field("subtopologyId", Text),
    field("sourceTopics", List(&Text)),
    field("sourceTopicRegex", List(&Text)),
    field("stateChangelogTopics", List(&Object(INTERNAL_TOPIC))),
    field("repartitionSinkTopics", List(&Text)),
    field("repartitionSourceTopics", List(&Object(INTERNAL_TOPIC))),
    field("copartitionGroups", List(&Object(COPARTITION_GROUP))),
];
const INTERNAL_TOPIC: &[Field] =
    &[field("name", Text), field("partitions", Int32), field("replicationFactor", Int16), field("topicConfigs", List(&Object(PAIR)))];
const COPARTITION_GROUP: &[Field] =
    &[field("sourceTopics", List(&Int16)), field("sourceTopicRegex", List(&Int16)), field("repartitionSourceTopics", List(&Int16))];
