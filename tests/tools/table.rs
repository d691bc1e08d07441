//! The command lines, and every difference that stands.
//!
//! `{server}` is the broker, `{topic}` a topic of three partitions that only the program at work touches, `{files}` a directory of files
//! about it; `{lines}` and `{group}` are a topic of one partition and a group of its own too, and a word `<FILE` is what the tool reads.
//! The topic's records are of a day long past: no row may make the broker drop them for their age. A topic is altered and cut by
//! each program for itself; what a row leaves behind in the whole broker is taken back by a later one.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tool {
    Configs,
    GetOffsets,
    DeleteRecords,
    LogDirs,
    ApiVersions,
    ConsoleProducer,
    ConsoleConsumer,
    ConsumerGroups,
    Groups,
    Cluster,
    LeaderElection,
    ReassignPartitions,
    ProducerPerf,
    ConsumerPerf,
    E2eLatency,
}

impl Tool {
    /// Ours, as a subcommand.
    pub fn name(self) -> &'static str {
        match self {
            Tool::Configs => "configs",
            Tool::GetOffsets => "get-offsets",
            Tool::DeleteRecords => "delete-records",
            Tool::LogDirs => "log-dirs",
            Tool::ApiVersions => "api-versions",
            Tool::ConsoleProducer => "console-producer",
            Tool::ConsoleConsumer => "console-consumer",
            Tool::ConsumerGroups => "consumer-groups",
            Tool::Groups => "groups",
            Tool::Cluster => "cluster",
            Tool::LeaderElection => "leader-election",
            Tool::ReassignPartitions => "reassign-partitions",
            Tool::ProducerPerf => "producer-perf-test",
            Tool::ConsumerPerf => "consumer-perf-test",
            Tool::E2eLatency => "e2e-latency",
        }
    }

    /// Kafka's, as a main class.
    pub fn class(self) -> &'static str {
        match self {
            Tool::Configs => "kafka.admin.ConfigCommand",
            Tool::GetOffsets => "org.apache.kafka.tools.GetOffsetShell",
            Tool::DeleteRecords => "org.apache.kafka.tools.DeleteRecordsCommand",
            Tool::LogDirs => "org.apache.kafka.tools.LogDirsCommand",
            Tool::ApiVersions => "org.apache.kafka.tools.BrokerApiVersionsCommand",
            Tool::ConsoleProducer => "org.apache.kafka.tools.ConsoleProducer",
            Tool::ConsoleConsumer => "org.apache.kafka.tools.consumer.ConsoleConsumer",
            Tool::ConsumerGroups => "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
            Tool::Groups => "org.apache.kafka.tools.GroupsCommand",
            Tool::Cluster => "org.apache.kafka.tools.ClusterTool",
            Tool::LeaderElection => "org.apache.kafka.tools.LeaderElectionCommand",
            Tool::ReassignPartitions => "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
            Tool::ProducerPerf => "org.apache.kafka.tools.ProducerPerformance",
            Tool::ConsumerPerf => "org.apache.kafka.tools.ConsumerPerformance",
            Tool::E2eLatency => "org.apache.kafka.tools.EndToEndLatency",
        }
    }
}

/// What must hold between the two programs. The exit status is always the same unless a row says otherwise.
#[derive(Clone, Copy, Debug)]
pub enum Expect {
    /// Standard output byte for byte, and the first line of standard error.
    Same,
    /// As `Same`, but Kafka's tool prints in the order of a hash table.
    SameInAnyOrder,
    /// Standard output byte for byte; on standard error Kafka's tool prints a stack trace to it, and ours nothing.
    NoTrace,
    /// As `Same`, but what goes wrong is told on standard output, and there Kafka's tool prints a stack trace to it.
    Told,
    /// As `Same`, but for the figures: each has as many decimals, but its own value.
    Shape,
    /// As `Same`, but standard error says it in other words, for this reason.
    OtherWords(&'static str),
    /// Kafka's output holds the first text, ours the second, for this reason; each may end with a status of its own.
    Differs { kafka: (i32, &'static str), ottla: (i32, &'static str), why: &'static str },
}

pub struct Row {
    pub words: &'static str,
    pub expect: Expect,
}

/// Command lines of one tool that are run one after the other, first all by Kafka's, where the broker serves these APIs.
pub struct Group {
    pub tool: Tool,
    pub needs: &'static [i16],
    pub rows: &'static [Row],
}

pub const fn same(words: &'static str) -> Row {
    Row { words, expect: Expect::Same }
}

pub const fn unordered(words: &'static str) -> Row {
    Row { words, expect: Expect::SameInAnyOrder }
}

pub const fn no_trace(words: &'static str) -> Row {
    Row { words, expect: Expect::NoTrace }
}

pub const fn told(words: &'static str) -> Row {
    Row { words, expect: Expect::Told }
}

pub const fn shape(words: &'static str) -> Row {
    Row { words, expect: Expect::Shape }
}

pub const fn other_words(words: &'static str, why: &'static str) -> Row {
    Row { words, expect: Expect::OtherWords(why) }
}

pub const SENTENCE: &str = "one sentence that says what to do, in place of an exception's text";
pub const PARSER: &str = "the same words for a misspelt command line in all our tools, with a suggestion";
pub const HELP_FOR_NOTHING: &str = "help is laid out otherwise";
pub const HELP: Expect =
    Expect::Differs { kafka: (1, "Description"), ottla: (0, "Usage: "), why: "who asks for help gets it, and no error" };
pub const VERSION: Expect =
    Expect::Differs { kafka: (0, "4.3.1"), ottla: (0, env!("CARGO_PKG_VERSION")), why: "each program tells its own version" };
pub const NOBODY_THERE: &str = "a broker that is not there is told at once, with its address; Kafka's client tries until its time is over";
pub const AT_ONCE: &str = "what is not there is told at once; Kafka's client asks again until its time is over";

const LIST_OFFSETS: i16 = 2;
const DELETE_RECORDS: i16 = 21;
const DESCRIBE_CONFIGS: i16 = 32;
const DESCRIBE_LOG_DIRS: i16 = 35;
const INCREMENTAL_ALTER_CONFIGS: i16 = 44;

pub const GROUPS: &[Group] = &[
    Group { tool: Tool::ApiVersions, needs: &[], rows: API_VERSIONS },
    Group { tool: Tool::GetOffsets, needs: &[LIST_OFFSETS], rows: GET_OFFSETS },
    Group { tool: Tool::Configs, needs: &[], rows: CONFIGS_FAULTY },
    Group { tool: Tool::Configs, needs: &[DESCRIBE_CONFIGS], rows: CONFIGS_DESCRIBE },
    Group { tool: Tool::Configs, needs: &[DESCRIBE_CONFIGS, INCREMENTAL_ALTER_CONFIGS], rows: CONFIGS_ALTER_TOPIC },
    Group { tool: Tool::Configs, needs: &[DESCRIBE_CONFIGS, INCREMENTAL_ALTER_CONFIGS], rows: CONFIGS_ALTER_BROKER },
    Group { tool: Tool::Configs, needs: &[DESCRIBE_CONFIGS, INCREMENTAL_ALTER_CONFIGS], rows: CONFIGS_LOGGERS },
    Group { tool: Tool::LogDirs, needs: &[DESCRIBE_LOG_DIRS], rows: LOG_DIRS },
    Group { tool: Tool::DeleteRecords, needs: &[DELETE_RECORDS], rows: DELETE_RECORDS_ROWS },
    // What is left of the topics.
    Group {
        tool: Tool::GetOffsets,
        needs: &[DELETE_RECORDS],
        rows: &[same("--bootstrap-server {server} --topic {topic} --time earliest")],
    },
];

const API_VERSIONS: &[Row] = &[
    same("--bootstrap-server {server}"),
    same("--bootstrap-server {server} --command-config {files}/client.properties"),
    same("--command-config {files}/client.properties"),
    other_words("--bootstrap-server nonsense", SENTENCE),
    other_words("--bootstrap-server 127.0.0.1:1", NOBODY_THERE),
    other_words("", HELP_FOR_NOTHING),
    Row { words: "--help", expect: HELP },
    Row { words: "--version", expect: VERSION },
    other_words("--bootstrap-server {server} --unknown", PARSER),
];

const GET_OFFSETS: &[Row] = &[
    same("--bootstrap-server {server} --topic {topic}"),
    same("--bootstrap-server {server}"),
    same("--bootstrap-server {server} --exclude-internal-topics"),
    same("--bootstrap-server {server} --topic {topic} --command-config {files}/client.properties"),
    same("--bootstrap-server {server} --topic {topic} --time earliest"),
    same("--bootstrap-server {server} --topic {topic} --time -2"),
    same("--bootstrap-server {server} --topic {topic} --time latest"),
    same("--bootstrap-server {server} --topic {topic} --time -1"),
    same("--bootstrap-server {server} --topic {topic} --time max-timestamp"),
    same("--bootstrap-server {server} --topic {topic} --time -3"),
    same("--bootstrap-server {server} --topic {topic} --time earliest-local"),
    same("--bootstrap-server {server} --topic {topic} --time -4"),
    same("--bootstrap-server {server} --topic {topic} --time latest-tiered"),
    same("--bootstrap-server {server} --topic {topic} --time -5"),
    same("--bootstrap-server {server} --topic {topic} --time earliest-pending-upload"),
    same("--bootstrap-server {server} --topic {topic} --time -6"),
    same("--bootstrap-server {server} --topic {topic} --time -7"),
    same("--bootstrap-server {server} --topic {topic} --time 1700000001000"),
    same("--bootstrap-server {server} --topic {topic} --time 0"),
    same("--bootstrap-server {server} --topic {topic} --time 99999999999999"),
    same("--bootstrap-server {server} --topic {topic} --time soon"),
    same("--bootstrap-server {server} --topic {topic} --time ''"),
    same("--bootstrap-server {server} --topic '{topic},zoo'"),
    same("--bootstrap-server {server} --topic {topic} --partitions 0,2"),
    same("--bootstrap-server {server} --topic {topic} --partitions 1,"),
    same("--bootstrap-server {server} --topic {topic} --partitions ''"),
    same("--bootstrap-server {server} --topic {topic} --partitions ,1"),
    same("--bootstrap-server {server} --topic {topic} --partitions x"),
    same("--bootstrap-server {server} --topic {topic} --partitions 7"),
    same("--bootstrap-server {server} --topic {topic} --partitions -1"),
    same("--bootstrap-server {server} --partitions 0"),
    same("--bootstrap-server {server} --topic-partitions {topic}"),
    same("--bootstrap-server {server} --topic-partitions {topic}:1"),
    same("--bootstrap-server {server} --topic-partitions {topic}:1-"),
    same("--bootstrap-server {server} --topic-partitions {topic}:-2"),
    same("--bootstrap-server {server} --topic-partitions {topic}:0,{topic}:2-3,:9"),
    same("--bootstrap-server {server} --topic-partitions :2"),
    same("--bootstrap-server {server} --topic-partitions ''"),
    same("--bootstrap-server {server} --topic-partitions ,"),
    other_words("--bootstrap-server {server} --topic-partitions {topic}:x", "Kafka's tool names the exception first"),
    other_words("--bootstrap-server {server} --topic-partitions {topic}:1:2", "Kafka's tool names the exception first"),
    same("--bootstrap-server {server} --topic-partitions {topic}:99999999999"),
    same("--bootstrap-server {server} --topic-partitions {topic}:1 --topic {topic}"),
    same("--bootstrap-server {server} --topic-partitions {topic}:1 --partitions 1"),
    same("--bootstrap-server {server} --topic nothing-of-the-kind"),
    same("--bootstrap-server {server} --topic ["),
    same("--topic {topic}"),
    other_words("--bootstrap-server nonsense", SENTENCE),
    other_words("--bootstrap-server {server} --command-config {files}/none.properties", SENTENCE),
    other_words("--bootstrap-server 127.0.0.1:1 --topic {topic} --command-config {files}/hurry.properties", NOBODY_THERE),
    other_words("--bootstrap-server {server} --topic a --topic b", PARSER),
    other_words("--bootstrap-server {server} --top {topic}", PARSER),
    other_words("--boot {server} --topic {topic}", PARSER),
    same("--bootstrap-server={server} --topic={topic} --time=-2"),
    other_words("", HELP_FOR_NOTHING),
    Row { words: "--help", expect: HELP },
    Row { words: "--version", expect: VERSION },
    other_words("--bootstrap-server {server} --unknown", PARSER),
    other_words("--bootstrap-server {server} --topic", PARSER),
];

const CONFIGS_FAULTY: &[Row] = &[
    same("--bootstrap-server {server}"),
    same("--bootstrap-server {server} --topic {topic}"),
    same("--bootstrap-server {server} --describe --alter --topic {topic}"),
    same("--bootstrap-server {server} --describe --topic {topic} --add-config a=b"),
    same("--bootstrap-server {server} --describe --topic {topic} --delete-config a"),
    same("--bootstrap-server {server} --describe"),
    same("--bootstrap-server {server} --describe --entity-type topics --entity-type topics"),
    same("--describe --topic {topic}"),
    same("--bootstrap-server {server} --bootstrap-controller 127.0.0.1:1 --describe --topic {topic}"),
    same("--bootstrap-server {server} --describe --entity-type nonsense"),
    same("--bootstrap-server {server} --describe --topic {topic} --broker 1"),
    same("--bootstrap-server {server} --describe --entity-type topics --topic {topic}"),
    same("--bootstrap-server {server} --describe --entity-name {topic} --topic {topic}"),
    same("--bootstrap-server {server} --describe --broker x"),
    same("--bootstrap-server {server} --describe --entity-type brokers --entity-name x"),
    same("--bootstrap-server {server} --describe --broker-logger x"),
    same("--bootstrap-server {server} --describe --ip 'no such host'"),
    same("--bootstrap-server {server} --describe --entity-type topics --entity-default"),
    same("--bootstrap-server {server} --describe --entity-type broker-loggers"),
    same("--bootstrap-server {server} --alter --entity-type brokers --add-config a=b"),
    same("--bootstrap-server {server} --alter --entity-type topics --add-config a=b"),
    same("--bootstrap-server {server} --alter --entity-type broker-loggers --add-config a=b"),
    same("--bootstrap-server {server} --alter --topic {topic} --add-config a=b --add-config-file {files}/settings.properties"),
    same("--bootstrap-server {server} --alter --topic {topic}"),
    same("--bootstrap-server {server} --alter --entity-type brokers --entity-name 1 --entity-default --add-config a=b"),
    same("--bootstrap-server {server} --alter --topic {topic} --add-config retention.ms"),
    same("--bootstrap-server {server} --alter --topic {topic} --add-config ''"),
    same("--bootstrap-server {server} --alter --topic {topic} --add-config a=b=c"),
    same("--bootstrap-server {server} --alter --topic {topic} --add-config a=[1,2"),
    same("--bootstrap-server {server} --alter --topic {topic} --add-config ,a=1"),
    same("--bootstrap-server {server} --alter --topic {topic} --add-config a/b=1"),
    other_words("--bootstrap-server {server} --alter --topic {topic} --add-config-file {files}/none.properties", SENTENCE),
    other_words("--bootstrap-server {server} --describe --topic {topic} --command-config {files}/none.properties", SENTENCE),
    other_words("--bootstrap-server nonsense --describe --topic {topic}", SENTENCE),
    other_words("--bootstrap-server 127.0.0.1:1 --describe --topic {topic} --command-config {files}/hurry.properties", NOBODY_THERE),
    other_words("", HELP_FOR_NOTHING),
    Row { words: "--help", expect: HELP },
    Row { words: "--version", expect: VERSION },
    other_words("--bootstrap-server {server} --describe --topic {topic} --unknown", PARSER),
    same("--bootstrap-server {server} --describe --topic"),
];

const CONFIGS_DESCRIBE: &[Row] = &[
    same("--bootstrap-server {server} --describe --topic {topic}"),
    same("--bootstrap-server {server} --describe --topic {topic} --all"),
    same("--bootstrap-server {server} --describe --topic {topic} --command-config {files}/client.properties"),
    same("--bootstrap-server {server} --describe --entity-type topics --entity-name {topic}"),
    unordered("--bootstrap-server {server} --describe --entity-type topics"),
    unordered("--bootstrap-server {server} --describe --entity-type topics --all"),
    same("--bootstrap-server {server} --describe --topic nothing-of-the-kind"),
    other_words("--bootstrap-server {server} --describe --topic nothing-of-the-kind --all", "the broker gives no sentence; ours says one"),
    same("--bootstrap-server {server} --describe --topic 'a b'"),
    same("--bootstrap-server {server} --describe --topic 'a b' --all"),
    same("--bootstrap-server {server} --describe --broker 1"),
    same("--bootstrap-server {server} --describe --broker 1 --all"),
    same("--bootstrap-server {server} --describe --entity-type brokers --entity-name 1"),
    same("--bootstrap-server {server} --describe --entity-type brokers"),
    same("--bootstrap-server {server} --describe --entity-type brokers --all"),
    same("--bootstrap-server {server} --describe --entity-type brokers --entity-default"),
    same("--bootstrap-server {server} --describe --broker-defaults"),
    same("--bootstrap-server {server} --describe --broker-defaults --all"),
    same("--bootstrap-server {server} --describe --broker 99"),
    same("--bootstrap-server {server} --describe --broker 01"),
    same("--bootstrap-server {server} --describe --broker-logger 99"),
];

const CONFIGS_ALTER_TOPIC: &[Row] = &[
    same("--bootstrap-server {server} --alter --topic {topic} --add-config delete.retention.ms=3600000"),
    same("--bootstrap-server {server} --describe --topic {topic}"),
    same("--bootstrap-server {server} --alter --topic {topic} --add-config delete.retention.ms=7200000,cleanup.policy=[compact,delete]"),
    same("--bootstrap-server {server} --describe --topic {topic} --all"),
    same("--bootstrap-server {server} --alter --entity-type topics --entity-name {topic} --delete-config cleanup.policy"),
    same("--bootstrap-server {server} --describe --topic {topic}"),
    same("--bootstrap-server {server} --alter --topic {topic} --delete-config cleanup.policy"),
    same("--bootstrap-server {server} --alter --topic {topic} --delete-config delete.retention.ms,no.such.key"),
    same("--bootstrap-server {server} --alter --topic {topic} --delete-config ''"),
    same("--bootstrap-server {server} --alter --topic {topic} --add-config-file {files}/settings.properties"),
    same("--bootstrap-server {server} --describe --topic {topic}"),
    same("--bootstrap-server {server} --alter --topic {topic} --add-config delete.retention.ms=soon"),
    same("--bootstrap-server {server} --alter --topic {topic} --add-config no.such.key=1"),
    same("--bootstrap-server {server} --alter --topic {topic} --add-config delete.retention.ms=5 --delete-config delete.retention.ms"),
    same("--bootstrap-server {server} --alter --topic {topic} --add-config delete.retention.ms="),
    same("--bootstrap-server {server} --alter --topic {topic} --add-config ,"),
    same("--bootstrap-server {server} --alter --topic {topic} --add-config 'segment.ms = 60000 , delete.retention.ms=1'"),
    same(
        "--bootstrap-server {server} --alter --topic {topic} --delete-config 'delete.retention.ms, segment.ms' --delete-config max.message.bytes",
    ),
    same("--bootstrap-server {server} --describe --topic {topic}"),
    same("--bootstrap-server {server} --alter --topic nothing-of-the-kind --add-config delete.retention.ms=1"),
    same("--bootstrap-server {server} --alter --topic 'a b' --add-config delete.retention.ms=1"),
];

const CONFIGS_ALTER_BROKER: &[Row] = &[
    same("--bootstrap-server {server} --alter --broker 1 --add-config log.cleaner.delete.retention.ms=86400000"),
    same("--bootstrap-server {server} --describe --broker 1"),
    same(
        "--bootstrap-server {server} --alter --broker-defaults --add-config log.cleaner.delete.retention.ms=172800000,message.max.bytes=2000000",
    ),
    same("--bootstrap-server {server} --describe --entity-type brokers"),
    same("--bootstrap-server {server} --describe --topic {topic} --all"),
    same("--bootstrap-server {server} --alter --entity-type brokers --entity-default --delete-config message.max.bytes"),
    same("--bootstrap-server {server} --alter --broker-defaults --delete-config message.max.bytes"),
    same("--bootstrap-server {server} --alter --broker 1 --delete-config log.cleaner.delete.retention.ms"),
    same("--bootstrap-server {server} --alter --broker-defaults --delete-config log.cleaner.delete.retention.ms"),
    same("--bootstrap-server {server} --describe --entity-type brokers"),
    same("--bootstrap-server {server} --alter --broker 1 --add-config log.cleaner.delete.retention.ms=soon"),
    same("--bootstrap-server {server} --alter --broker 1 --add-config node.id=2"),
    same("--bootstrap-server {server} --alter --broker 1 --add-config num.partitions=0"),
];

const CONFIGS_LOGGERS: &[Row] = &[
    // It stays so: the first row makes both programs begin alike.
    same("--bootstrap-server {server} --alter --broker-logger 1 --add-config root=WARN"),
    same("--bootstrap-server {server} --describe --broker-logger 1"),
    same("--bootstrap-server {server} --describe --entity-type broker-loggers --entity-name 1 --all"),
    // A logger that Kafka has, and one that Ottla has: the other broker knows none of that name.
    same("--bootstrap-server {server} --alter --broker-logger 1 --add-config kafka.log.LogCleaner=ERROR"),
    same("--bootstrap-server {server} --alter --broker-logger 1 --add-config ottla.storage=ERROR"),
    same("--bootstrap-server {server} --describe --broker-logger 1"),
    same("--bootstrap-server {server} --alter --entity-type broker-loggers --entity-name 1 --delete-config kafka.log.LogCleaner"),
    same("--bootstrap-server {server} --alter --entity-type broker-loggers --entity-name 1 --delete-config ottla.storage"),
    same("--bootstrap-server {server} --alter --broker-logger 1 --add-config root=LOUD"),
    same("--bootstrap-server {server} --alter --broker-logger 1 --delete-config root"),
    same("--bootstrap-server {server} --alter --broker-logger 1 --add-config no.such.logger=INFO"),
    same("--bootstrap-server {server} --alter --broker-logger 1 --delete-config no.such.logger"),
];

const LOG_DIRS: &[Row] = &[
    unordered("--bootstrap-server {server} --describe"),
    unordered("--bootstrap-server {server} --describe --topic-list {topic}"),
    unordered("--bootstrap-server {server} --describe --topic-list {topic},zoo --broker-list 1,"),
    same("--bootstrap-server {server} --describe --topic-list nothing-of-the-kind"),
    same("--bootstrap-server {server} --describe --topic-list nothing-of-the-kind --broker-list ''"),
    same("--bootstrap-server {server} --describe --topic-list nothing-of-the-kind --command-config {files}/client.properties"),
    same("--bootstrap-server {server} --describe --broker-list 1,99"),
    same("--bootstrap-server {server} --describe --broker-list 99,98"),
    same("--bootstrap-server {server} --describe --broker-list x"),
    same("--bootstrap-server {server}"),
    same("--describe"),
    other_words("--bootstrap-server nonsense --describe", SENTENCE),
    other_words("--bootstrap-server 127.0.0.1:1 --describe --command-config {files}/hurry.properties", NOBODY_THERE),
    other_words("", HELP_FOR_NOTHING),
    Row { words: "--help", expect: HELP },
    Row { words: "--version", expect: VERSION },
    other_words("--bootstrap-server {server} --describe --unknown", PARSER),
];

const DELETE_RECORDS_ROWS: &[Row] = &[
    unordered("--bootstrap-server {server} --offset-json-file {files}/cut.json"),
    unordered("--bootstrap-server {server} --offset-json-file {files}/cut.json --command-config {files}/client.properties"),
    same("--bootstrap-server {server} --offset-json-file {files}/beyond.json"),
    same("--bootstrap-server {server} --offset-json-file {files}/negative.json"),
    same("--bootstrap-server {server} --offset-json-file {files}/nothing.json"),
    same("--bootstrap-server {server} --offset-json-file {files}/trailing.json"),
    same("--bootstrap-server {server} --offset-json-file {files}/twice.json"),
    same("--bootstrap-server {server} --offset-json-file {files}/version.json"),
    same("--bootstrap-server {server} --offset-json-file {files}/broken.json"),
    same("--bootstrap-server {server} --offset-json-file {files}/empty.json"),
    same("--bootstrap-server {server} --offset-json-file {files}/no-partitions.json"),
    same("--bootstrap-server {server} --offset-json-file {files}/no-offset.json"),
    same("--bootstrap-server {server} --offset-json-file {files}/wrong-kind.json"),
    same("--bootstrap-server {server} --offset-json-file {files}/array.json"),
    Row {
        words: "--bootstrap-server {server} --offset-json-file {files}/nowhere.json --command-config {files}/hurry.properties",
        expect: Expect::Differs {
            kafka: (0, "\terror: org.apache.kafka.common.errors.TimeoutException: "),
            ottla: (0, "\terror: org.apache.kafka.common.errors.UnknownTopicOrPartitionException: "),
            why: AT_ONCE,
        },
    },
    other_words("--bootstrap-server {server} --offset-json-file {files}/none.json", SENTENCE),
    same("--bootstrap-server {server}"),
    same("--offset-json-file {files}/cut.json"),
    other_words("--bootstrap-server nonsense --offset-json-file {files}/cut.json", SENTENCE),
    Row {
        words: "--bootstrap-server 127.0.0.1:1 --offset-json-file {files}/beyond.json --command-config {files}/hurry.properties",
        expect: Expect::Differs {
            kafka: (0, "\terror: org.apache.kafka.common.errors.TimeoutException: "),
            ottla: (1, "no broker answers at 127.0.0.1:1 "),
            why: "where nobody was reached, a script is to see that nothing was done",
        },
    },
    other_words("", HELP_FOR_NOTHING),
    Row { words: "--help", expect: HELP },
    Row { words: "--version", expect: VERSION },
    other_words("--bootstrap-server {server} --offset-json-file {files}/cut.json --unknown", PARSER),
];

/// What Kafka's tool does and ours refuses so far.
pub const REFUSED: &[&str] = &[
    "--bootstrap-server {server} --describe --entity-type users",
    "--bootstrap-server {server} --describe --user u",
    "--bootstrap-server {server} --describe --user-defaults",
    "--bootstrap-server {server} --describe --entity-type clients --entity-default",
    "--bootstrap-server {server} --describe --client c",
    "--bootstrap-server {server} --describe --client-defaults",
    "--bootstrap-server {server} --describe --user u --client c",
    "--bootstrap-server {server} --describe --ip 127.0.0.1",
    "--bootstrap-server {server} --describe --ip-defaults",
    "--bootstrap-server {server} --describe --group g",
    "--bootstrap-server {server} --describe --client-metrics m",
    "--bootstrap-controller 127.0.0.1:1 --describe --topic t",
];
