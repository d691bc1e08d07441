//! Command lines of the tools that produce, consume and look at groups, and every difference that stands.
//!
//! `{group}` has committed 2 and 1 of the first two partitions of `{topic}`, and nobody is in it. Both programs see two groups that somebody
//! is in: `classic-members` and `modern-members`.

use super::table::{
    Expect, Group, HELP, HELP_FOR_NOTHING, NOBODY_THERE, PARSER, Row, SENTENCE, Tool, VERSION, no_trace, other_words, same, unordered,
};

const PRODUCE: i16 = 0;
const OFFSET_COMMIT: i16 = 8;
const CONSUMER_GROUP_HEARTBEAT: i16 = 68;
const JOIN_GROUP: i16 = 11;
const LIST_GROUPS: i16 = 16;
const CONSUMER_GROUP_DESCRIBE: i16 = 69;

const EXCEPTION_FIRST: &str = "Kafka's tool names the exception first";
const SET_ORDER: &str = "Kafka's tool lists the options in the order of a hash table";
const LOGGED: &str = "Kafka's tool says it in a line of its log";
const NO_JAVA: &str = "what only Java could load is refused in a sentence";

pub const GROUPS_OF_CONSUMERS: &[Group] = &[
    Group { tool: Tool::ConsoleProducer, needs: &[PRODUCE], rows: CONSOLE_PRODUCER },
    Group { tool: Tool::ConsoleConsumer, needs: &[PRODUCE], rows: CONSOLE_CONSUMER },
    Group { tool: Tool::ConsoleConsumer, needs: &[JOIN_GROUP], rows: CONSOLE_CONSUMER_IN_GROUP },
    Group { tool: Tool::ConsoleConsumer, needs: &[JOIN_GROUP, CONSUMER_GROUP_HEARTBEAT], rows: CONSOLE_CONSUMER_IN_MODERN_GROUP },
    Group { tool: Tool::Groups, needs: &[LIST_GROUPS], rows: GROUPS_ROWS },
    Group { tool: Tool::ConsumerGroups, needs: &[LIST_GROUPS, OFFSET_COMMIT], rows: FAULTY },
    Group { tool: Tool::ConsumerGroups, needs: &[LIST_GROUPS, OFFSET_COMMIT], rows: LIST_AND_DESCRIBE },
    Group { tool: Tool::ConsumerGroups, needs: &[LIST_GROUPS, OFFSET_COMMIT, CONSUMER_GROUP_DESCRIBE], rows: DESCRIBE_MODERN },
    Group { tool: Tool::ConsumerGroups, needs: &[LIST_GROUPS, OFFSET_COMMIT], rows: RESET },
    Group { tool: Tool::ConsumerGroups, needs: &[LIST_GROUPS, OFFSET_COMMIT], rows: DELETE },
];

const CONSOLE_PRODUCER: &[Row] = &[
    same("--bootstrap-server {server} --topic {lines} --timeout 5 <{files}/lines.txt"),
    same("--bootstrap-server {server} --topic {lines} --timeout 5 --sync --compression-codec zstd <{files}/lines.txt"),
    same("--bootstrap-server {server} --topic {lines} --timeout 5 --compression-codec --request-required-acks 1 <{files}/lines.txt"),
    same("--bootstrap-server {server} --topic {lines} --timeout 5 --reader-config {files}/reader.properties <{files}/keyed.txt"),
    same(
        "--bootstrap-server {server} --topic {lines} --timeout 5 --reader-property parse.key=true --reader-property key.separator=: <{files}/keyed.txt",
    ),
    same("--bootstrap-server {server} --topic {lines} --timeout 5 --property parse.key=true --property key.separator=: <{files}/keyed.txt"),
    same(
        "--bootstrap-server {server} --topic {lines} --timeout 5 --producer-property linger.ms=3 --max-partition-memory-bytes 9 <{files}/lines.txt",
    ),
    same("--bootstrap-server {server} --topic {lines} --timeout 5 --producer.config {files}/client.properties <{files}/lines.txt"),
    same(
        "--bootstrap-server {server} --topic {lines} --timeout 5 --reader-property parse.key=true --reader-property parse.headers=true \
         --reader-property key.separator=| --reader-property headers.delimiter=| --reader-property headers.separator=; \
         --reader-property headers.key.separator== --reader-property null.marker=NULL <{files}/headers.txt",
    ),
    // What stands before the faulty line is sent.
    other_words(
        "--bootstrap-server {server} --topic {lines} --timeout 5 --reader-property parse.key=true --reader-property key.separator=: <{files}/unkeyed.txt",
        EXCEPTION_FIRST,
    ),
    same(
        "--bootstrap-server {server} --topic {lines} --timeout 5 --reader-property parse.key=true --reader-property key.separator=: \
         --reader-property ignore.error=true <{files}/unkeyed.txt",
    ),
    same("--bootstrap-server {server} --topic {lines} --timeout 5"),
    same("--bootstrap-server {server}"),
    same("--topic {lines}"),
    other_words("--bootstrap-server nonsense --topic {lines}", SENTENCE),
    same("--bootstrap-server {server} --topic {lines} --property a=b --reader-property c=d"),
    same("--bootstrap-server {server} --topic {lines} --producer-property a=b --command-property c=d"),
    same("--bootstrap-server {server} --topic {lines} --producer.config a --command-config b"),
    other_words("--bootstrap-server {server} --topic {lines} --compression-codec brotli", EXCEPTION_FIRST),
    other_words("--bootstrap-server {server} --topic {lines} --reader-property headers.delimiter=,", EXCEPTION_FIRST),
    other_words("--bootstrap-server {server} --topic {lines} --reader-property null.marker=:", EXCEPTION_FIRST),
    other_words("--bootstrap-server {server} --topic {lines} --line-reader com.example.Mine", NO_JAVA),
    other_words("--bootstrap-server {server} --topic {lines} --batch-size many", PARSER),
    other_words("", HELP_FOR_NOTHING),
    Row { words: "--help", expect: HELP },
    Row { words: "--version", expect: VERSION },
    other_words("--bootstrap-server {server} --topic {lines} --unknown", PARSER),
    Row {
        words: "--broker-list {server} --topic {lines} <{files}/numbers.txt",
        expect: Expect::Differs {
            kafka: (1, "broker-list is not a recognized option"),
            ottla: (0, ""),
            why: "courses older than Kafka 4 spell it so",
        },
    },
];

const CONSOLE_CONSUMER: &[Row] = &[
    same("--bootstrap-server {server} --topic {topic} --partition 0 --from-beginning --max-messages 3"),
    same("--bootstrap-server {server} --topic {topic} --partition 0 --offset 2 --timeout-ms 1500"),
    same("--bootstrap-server {server} --topic {topic} --partition 0 --offset earliest --max-messages 5 --isolation-level read_committed"),
    same(
        "--bootstrap-server {server} --topic {topic} --partition 1 --offset 0 --max-messages 3 --formatter-property print.timestamp=true \
         --formatter-property print.partition=true --formatter-property print.offset=true --formatter-property print.key=true \
         --formatter-property print.headers=true --formatter-property print.epoch=true --formatter-property print.delivery=true",
    ),
    same("--bootstrap-server {server} --topic {topic} --partition 2 --from-beginning --timeout-ms 800"),
    same("--bootstrap-server {server} --topic {topic} --partition 0 --timeout-ms 800"),
    // Everything that the producers of the table above have written: in the same order, for one partition has one order.
    same(
        "--bootstrap-server {server} --topic {lines} --partition 0 --offset earliest --max-messages 41 --formatter-property print.offset=true \
         --formatter-property print.key=true --formatter-property print.headers=true --formatter-property null.literal=NOTHING",
    ),
    same(
        "--bootstrap-server {server} --topic {lines} --partition 0 --offset 8 --max-messages 4 --formatter-config {files}/formatter.properties",
    ),
    same(
        "--bootstrap-server {server} --topic {lines} --partition 0 --offset 3 --max-messages 5 --property print.key=true \
         --property key.separator==> --property line.separator=;",
    ),
    same(
        "--bootstrap-server {server} --topic {lines} --partition 0 --offset 3 --max-messages 2 --property print.value=false --property print.offset=true",
    ),
    same("--bootstrap-server {server} --topic {lines} --partition 0 --offset 3 --max-messages 2 --consumer-property client.id=mine"),
    same(
        "--bootstrap-server {server} --topic {lines} --partition 0 --offset 3 --max-messages 2 --consumer.config {files}/client.properties",
    ),
    same(
        "--bootstrap-server {server} --topic {lines} --partition 0 --offset 3 --max-messages 2 \
         --formatter org.apache.kafka.tools.consumer.NoOpMessageFormatter",
    ),
    same(
        "--bootstrap-server {server} --topic {lines} --partition 0 --offset 3 --max-messages 2 \
         --formatter org.apache.kafka.tools.consumer.LoggingMessageFormatter",
    ),
    same(
        "--bootstrap-server {server} --topic {lines} --partition 0 --offset 3 --max-messages 2 \
         --value-deserializer org.apache.kafka.common.serialization.StringDeserializer",
    ),
    // The first line has three bytes, and is no number.
    other_words(
        "--bootstrap-server {server} --topic {lines} --partition 0 --offset 0 --max-messages 2 \
         --value-deserializer org.apache.kafka.common.serialization.LongDeserializer",
        LOGGED,
    ),
    other_words(
        "--bootstrap-server {server} --topic {lines} --partition 0 --offset 0 --max-messages 2 --skip-message-on-error \
         --value-deserializer org.apache.kafka.common.serialization.LongDeserializer",
        LOGGED,
    ),
    same("--bootstrap-server {server} --topic {topic} --partition 0 --offset 2 --max-messages 0"),
    same("--bootstrap-server {server} --topic {topic} --include x"),
    same("--bootstrap-server {server}"),
    same("--topic {topic}"),
    same("--bootstrap-server {server} --include x --partition 0"),
    same("--bootstrap-server {server} --topic {topic} --offset 1"),
    same("--bootstrap-server {server} --topic {topic} --partition 0 --offset 1 --from-beginning"),
    same("--bootstrap-server {server} --topic {topic} --partition 0 --offset -1"),
    same("--bootstrap-server {server} --topic {topic} --partition 0 --offset soon"),
    same("--bootstrap-server {server} --topic {topic} --partition 0 --group g"),
    same("--bootstrap-server {server} --topic {topic} --consumer-property a=b --command-property c=d"),
    same("--bootstrap-server {server} --topic {topic} --property a=b --formatter-property c=d"),
    same("--bootstrap-server {server} --topic {topic} --from-beginning --command-property auto.offset.reset=latest"),
    other_words("--bootstrap-server {server} --topic {topic} --group a --consumer-property group.id=b", SET_ORDER),
    other_words("--bootstrap-server {server} --topic {topic} --formatter com.example.Mine", NO_JAVA),
    other_words("--bootstrap-server {server} --topic {topic} --max-messages many", PARSER),
    other_words("", HELP_FOR_NOTHING),
    Row { words: "--help", expect: HELP },
    Row { words: "--version", expect: VERSION },
    other_words("--bootstrap-server {server} --topic {topic} --unknown", PARSER),
];

const CONSOLE_CONSUMER_IN_GROUP: &[Row] = &[
    same(
        "--bootstrap-server {server} --topic {lines} --from-beginning --group {group}-lines --max-messages 3 --formatter-property print.offset=true",
    ),
    same(
        "--bootstrap-server {server} --topic {lines} --from-beginning --group {group}-lines --max-messages 3 --formatter-property print.offset=true",
    ),
    same("--bootstrap-server {server} --topic {lines} --from-beginning --max-messages 3 --formatter-property print.offset=true"),
    unordered(
        "--bootstrap-server {server} --include {topic} --from-beginning --max-messages 8 --formatter-property print.partition=true --formatter-property print.offset=true",
    ),
    same("--bootstrap-server {server} --topic {lines} --from-beginning --max-messages 2 --enable-systest-events"),
];

const GROUPS_ROWS: &[Row] = &[
    unordered("--bootstrap-server {server} --list"),
    unordered("--bootstrap-server {server} --list --consumer"),
    unordered("--bootstrap-server {server} --list --group-type classic"),
    unordered("--bootstrap-server {server} --list --group-type Consumer --protocol consumer"),
    unordered("--bootstrap-server {server} --list --protocol consumer"),
    same("--bootstrap-server {server} --list --protocol nothing"),
    same("--bootstrap-server {server} --list --share"),
    same("--bootstrap-server {server} --list --streams"),
    same("--bootstrap-server {server} --list --group-type odd"),
    same("--bootstrap-server {server} --list --consumer --share"),
    same("--bootstrap-server {server} --list --streams --protocol x"),
    same("--bootstrap-server {server}"),
    same("--list"),
    Row {
        words: "--bootstrap-server nonsense --list",
        expect: Expect::Differs {
            kafka: (1, "Failed to create new KafkaAdminClient"),
            ottla: (1, "'nonsense' in --bootstrap-server is not host:port"),
            why: SENTENCE,
        },
    },
    other_words("", HELP_FOR_NOTHING),
    Row { words: "--bootstrap-server {server} --help", expect: HELP },
    Row { words: "--bootstrap-server {server} --version", expect: VERSION },
    other_words("--bootstrap-server {server} --list --unknown", PARSER),
];

const FAULTY: &[Row] = &[
    same("--list"),
    same("--bootstrap-server {server}"),
    same("--bootstrap-server {server} --list --describe --all-groups"),
    other_words("--bootstrap-server {server} --describe", SET_ORDER),
    other_words("--bootstrap-server {server} --delete", SET_ORDER),
    other_words("--bootstrap-server {server} --delete-offsets --group {group}", SET_ORDER),
    other_words("--bootstrap-server {server} --reset-offsets --dry-run --topic {topic}", SET_ORDER),
    same("--bootstrap-server {server} --describe --group {group} --members --offsets"),
    same("--bootstrap-server {server} --describe --group {group} --state empty"),
    same("--bootstrap-server {server} --describe --group {group} --all-groups"),
    same("--bootstrap-server {server} --list --group {group}"),
    same("--bootstrap-server {server} --list --topic {topic}"),
    same("--bootstrap-server {server} --describe --group {group} --topic {topic}"),
    same("--bootstrap-server {server} --delete --group {group} --topic {topic}"),
    same("--bootstrap-server {server} --reset-offsets --group {group} --dry-run --execute"),
    other_words(
        "--bootstrap-server {server} --reset-offsets --group {group} --topic {topic} --to-latest --to-offset 1 --dry-run",
        SET_ORDER,
    ),
    other_words("--bootstrap-server {server} --list --members", EXCEPTION_FIRST),
    other_words("--bootstrap-server {server} --list --state odd", SET_ORDER),
    other_words("--bootstrap-server {server} --list --type odd", SET_ORDER),
    same("--validate-regex orders.*"),
    Row {
        words: "--validate-regex orders(",
        expect: Expect::Differs {
            kafka: (0, "is invalid: missing closing )"),
            ottla: (0, "is invalid: unclosed group"),
            why: "another engine's words",
        },
    },
    Row {
        words: "--bootstrap-server 127.0.0.1:1 --list --timeout 1500",
        expect: Expect::Differs {
            kafka: (0, "Error: Executing consumer group command failed due to "),
            ottla: (1, "Error: Executing consumer group command failed due to no broker answers at 127.0.0.1:1 "),
            why: NOBODY_THERE,
        },
    },
    other_words("", HELP_FOR_NOTHING),
    Row { words: "--help", expect: HELP },
    Row { words: "--version", expect: VERSION },
];

const LIST_AND_DESCRIBE: &[Row] = &[
    unordered("--bootstrap-server {server} --list"),
    unordered("--bootstrap-server {server} --list --state"),
    unordered("--bootstrap-server {server} --list --type"),
    unordered("--bootstrap-server {server} --list --type --state"),
    unordered("--bootstrap-server {server} --list --state Stable"),
    unordered("--bootstrap-server {server} --list --state stable,EMPTY --type"),
    same("--bootstrap-server {server} --list --state dead"),
    unordered("--bootstrap-server {server} --list --type classic"),
    same("--bootstrap-server {server} --describe --group {group}"),
    same("--bootstrap-server {server} --describe --group {group} --offsets --verbose"),
    same("--bootstrap-server {server} --describe --group {group} --members"),
    same("--bootstrap-server {server} --describe --group {group} --members --verbose"),
    same("--bootstrap-server {server} --describe --group {group} --state"),
    same("--bootstrap-server {server} --describe --group {group} --state --verbose"),
    same("--bootstrap-server {server} --describe --group classic-members"),
    same("--bootstrap-server {server} --describe --group classic-members --verbose"),
    same("--bootstrap-server {server} --describe --group classic-members --members"),
    same("--bootstrap-server {server} --describe --group classic-members --members --verbose"),
    same("--bootstrap-server {server} --describe --group classic-members --state"),
    same("--bootstrap-server {server} --describe --group classic-members --state --verbose"),
    same("--bootstrap-server {server} --describe --group {group} --group classic-members --state"),
    same("--bootstrap-server {server} --describe --all-groups --state"),
    no_trace("--bootstrap-server {server} --describe --group no-such-group"),
    no_trace("--bootstrap-server {server} --describe --group no-such-group --members"),
];

const CONSOLE_CONSUMER_IN_MODERN_GROUP: &[Row] =
    &[same("--bootstrap-server {server} --topic {lines} --from-beginning --consumer-property group.protocol=consumer --max-messages 2")];

const DESCRIBE_MODERN: &[Row] = &[
    same("--bootstrap-server {server} --describe --group modern-members"),
    same("--bootstrap-server {server} --describe --group modern-members --offsets --verbose"),
    same("--bootstrap-server {server} --describe --group modern-members --members"),
    same("--bootstrap-server {server} --describe --group modern-members --members --verbose"),
    same("--bootstrap-server {server} --describe --group modern-members --state"),
    same("--bootstrap-server {server} --describe --group modern-members --state --verbose"),
    same("--bootstrap-server {server} --describe --all-groups --members"),
];

const RESET: &[Row] = &[
    unordered("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic} --to-earliest"),
    unordered("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic} --to-earliest --dry-run"),
    unordered("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic} --to-latest --dry-run"),
    unordered("--bootstrap-server {server} --reset-offsets --group {group} --all-topics --to-current --dry-run"),
    unordered("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:0,2 --to-current --dry-run"),
    unordered("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:0 --topic zoo --to-latest --dry-run"),
    unordered("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:0 --to-offset 3 --dry-run"),
    other_words("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:0 --to-offset 99 --dry-run", LOGGED),
    unordered("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:0,1 --shift-by 1 --dry-run"),
    unordered("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:0,1 --shift-by -1 --dry-run"),
    other_words("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:0 --shift-by -9 --dry-run", LOGGED),
    same("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:2 --shift-by 1 --dry-run"),
    unordered(
        "--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:0 --to-datetime 2023-11-14T22:13:21.000 --dry-run",
    ),
    unordered(
        "--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:0 --to-datetime 2023-11-14T23:13:20.001+01:00 --dry-run",
    ),
    unordered(
        "--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:0,2 --to-datetime 2030-01-01T00:00:00.000Z --dry-run",
    ),
    no_trace("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:0 --to-datetime 2023-11-14 --dry-run"),
    no_trace("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:0 --to-datetime 2023-11-14T22:13:21 --dry-run"),
    unordered("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:0 --by-duration P9000D --dry-run"),
    unordered("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:0,1 --by-duration PT1H --dry-run"),
    no_trace("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:0 --by-duration 1H --dry-run"),
    unordered("--bootstrap-server {server} --reset-offsets --group {group} --from-file {files}/plan.csv --dry-run"),
    no_trace("--bootstrap-server {server} --reset-offsets --group {group} --from-file {files}/plans.csv --dry-run"),
    no_trace("--bootstrap-server {server} --reset-offsets --group {group} --from-file {files}/others.csv --dry-run"),
    unordered("--bootstrap-server {server} --reset-offsets --group {group} --all-topics --to-current --export --dry-run"),
    unordered("--bootstrap-server {server} --reset-offsets --group {group} --group others --topic {topic} --to-latest --export --dry-run"),
    unordered("--bootstrap-server {server} --reset-offsets --group {group}-anew --topic {topic} --to-earliest --dry-run"),
    same("--bootstrap-server {server} --reset-offsets --group classic-members --topic {topic} --to-earliest --dry-run"),
    same("--bootstrap-server {server} --reset-offsets --group {group} --to-earliest --dry-run"),
    other_words("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic} --dry-run", SET_ORDER),
    no_trace("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:9 --to-earliest --dry-run"),
    same("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}:x --to-earliest --dry-run"),
    same("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic}: --to-earliest --dry-run"),
    no_trace("--bootstrap-server {server} --reset-offsets --group {group} --topic no-such-topic --to-earliest --dry-run"),
    no_trace("--bootstrap-server {server} --reset-offsets --group {group} --topic no-such-topic:0 --to-earliest --dry-run"),
    // Done, and seen.
    unordered("--bootstrap-server {server} --reset-offsets --group {group} --topic {topic} --to-latest --execute"),
    same("--bootstrap-server {server} --describe --group {group}"),
    unordered("--bootstrap-server {server} --reset-offsets --group {group} --from-file {files}/plan.csv --execute"),
    same("--bootstrap-server {server} --describe --group {group} --verbose"),
    unordered("--bootstrap-server {server} --reset-offsets --group {group}-anew --topic {topic} --to-earliest --execute --export"),
    same("--bootstrap-server {server} --describe --group {group}-anew"),
];

const DELETE: &[Row] = &[
    same("--bootstrap-server {server} --delete-offsets --group {group} --topic {topic}:0"),
    same("--bootstrap-server {server} --delete-offsets --group {group} --topic {topic}"),
    same("--bootstrap-server {server} --delete-offsets --group {group} --topic no-such-topic"),
    same("--bootstrap-server {server} --delete-offsets --group {group} --topic no-such-topic:0"),
    same("--bootstrap-server {server} --delete-offsets --group no-such-group --topic {topic}:1"),
    same("--bootstrap-server {server} --delete-offsets --group classic-members --topic zoo"),
    same("--bootstrap-server {server} --describe --group {group}"),
    same("--bootstrap-server {server} --delete --group {group}-anew"),
    same("--bootstrap-server {server} --delete --group no-such-group"),
    same("--bootstrap-server {server} --delete --group classic-members"),
];
