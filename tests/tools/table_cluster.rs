//! Command lines of the tools that look after the cluster and of those that measure it, and every difference that stands.

use super::table::{
    AT_ONCE, Expect, Group, HELP, HELP_FOR_NOTHING, NOBODY_THERE, PARSER, Row, SENTENCE, Tool, VERSION, other_words, same, shape, told,
    unordered,
};

const ALTER_REPLICA_LOG_DIRS: i16 = 34;
const ELECT_LEADERS: i16 = 43;
const ALTER_PARTITION_REASSIGNMENTS: i16 = 45;
const LIST_PARTITION_REASSIGNMENTS: i16 = 46;
const DESCRIBE_CLUSTER: i16 = 60;
const UNREGISTER_BROKER: i16 = 64;

pub const GROUPS_OF_THE_CLUSTER: &[Group] = &[
    Group { tool: Tool::Cluster, needs: &[DESCRIBE_CLUSTER], rows: CLUSTER },
    Group { tool: Tool::Cluster, needs: &[UNREGISTER_BROKER], rows: UNREGISTER },
    Group { tool: Tool::LeaderElection, needs: &[ELECT_LEADERS], rows: ELECTIONS },
    Group { tool: Tool::ReassignPartitions, needs: &[ALTER_PARTITION_REASSIGNMENTS, LIST_PARTITION_REASSIGNMENTS], rows: REASSIGN },
    Group { tool: Tool::ReassignPartitions, needs: &[ALTER_PARTITION_REASSIGNMENTS], rows: REASSIGN_FAULTY },
    Group { tool: Tool::ReassignPartitions, needs: &[ALTER_REPLICA_LOG_DIRS], rows: REASSIGN_DIRS },
];

/// They produce, so what others look at comes before.
pub const GROUPS_THAT_MEASURE: &[Group] = &[
    Group { tool: Tool::ProducerPerf, needs: &[], rows: PRODUCER_PERF },
    Group { tool: Tool::ConsumerPerf, needs: &[], rows: CONSUMER_PERF },
    Group { tool: Tool::E2eLatency, needs: &[], rows: E2E_LATENCY },
];

/// What is misspelt ends the JVM that all of Kafka's tools share.
const CLUSTER: &[Row] = &[
    same("cluster-id --bootstrap-server {server}"),
    same("cluster-id -b {server} --command-config {files}/client.properties"),
    same("cluster-id --bootstrap-server {server} --config {files}/client.properties"),
    same("list-endpoints --bootstrap-server {server}"),
    same("list-endpoints --bootstrap-server {server} --include-fenced-brokers"),
    other_words("cluster-id --bootstrap-server nonsense", SENTENCE),
    other_words("cluster-id --bootstrap-server 127.0.0.1:1 --command-config {files}/hurry.properties", NOBODY_THERE),
];

const UNREGISTER: &[Row] = &[same("unregister --bootstrap-server {server} --id 99"), same("unregister -b {server} -i 98")];

const ELECTIONS: &[Row] = &[
    same("--bootstrap-server {server} --election-type preferred --topic {topic} --partition 0"),
    same("--bootstrap-server {server} --election-type PREFERRED --topic {topic} --partition 7"),
    same("--bootstrap-server {server} --election-type unclean --topic {topic} --partition 0"),
    unordered("--bootstrap-server {server} --election-type preferred --all-topic-partitions"),
    same("--bootstrap-server {server} --election-type preferred --path-to-json-file {files}/elected.json"),
    same("--bootstrap-server {server} --election-type preferred --topic {topic}"),
    same("--bootstrap-server {server} --topic {topic} --partition 0"),
    same("--bootstrap-server {server} --election-type preferred"),
    other_words("--bootstrap-server {server} --election-type preferred --topic {topic} --partition 0 --unknown", PARSER),
];

const REASSIGN: &[Row] = &[
    same("--bootstrap-server {server} --list"),
    same("--bootstrap-server {server} --list --command-config {files}/client.properties"),
    same("--bootstrap-server {server} --generate --topics-to-move-json-file {files}/topics.json --broker-list 1"),
    same("--bootstrap-server {server} --generate --topics-to-move-json-file {files}/topics.json --broker-list 1,2 --disable-rack-aware"),
    same("--bootstrap-server {server} --generate --topics-to-move-json-file {files}/no-topics.json --broker-list 1"),
    same("--bootstrap-server {server} --generate --topics-to-move-json-file {files}/no-partitions.json --broker-list 1,"),
    told("--bootstrap-server {server} --generate --topics-to-move-json-file {files}/topics.json --broker-list 99"),
    told("--bootstrap-server {server} --generate --topics-to-move-json-file {files}/topics.json --broker-list 1,x"),
    told("--bootstrap-server {server} --generate --topics-to-move-json-file {files}/topics.json --broker-list ''"),
    told("--bootstrap-server {server} --generate --topics-to-move-json-file {files}/topics.json --broker-list 2,1,2"),
    told("--bootstrap-server {server} --generate --topics-to-move-json-file {files}/topics-twice.json --broker-list 1"),
    told("--bootstrap-server {server} --generate --topics-to-move-json-file {files}/topics-unknown.json --broker-list 1"),
    told("--bootstrap-server {server} --generate --topics-to-move-json-file {files}/broken.json --broker-list 1"),
    told("--bootstrap-server {server} --generate --topics-to-move-json-file {files}/version.json --broker-list 1"),
    told("--bootstrap-server {server} --generate --topics-to-move-json-file {files}/array.json --broker-list 1"),
    same("--bootstrap-server {server} --execute --reassignment-json-file {files}/stay.json"),
    same("--bootstrap-server {server} --execute --reassignment-json-file {files}/stay-one.json --additional --timeout 5"),
    same("--bootstrap-server {server} --execute --reassignment-json-file {files}/stay.json --disallow-replication-factor-change"),
    same("--bootstrap-server {server} --verify --reassignment-json-file {files}/stay.json"),
    same("--bootstrap-server {server} --verify --reassignment-json-file {files}/stay.json --preserve-throttles"),
    same("--bootstrap-server {server} --verify --reassignment-json-file {files}/elsewhere.json --preserve-throttles"),
    same("--bootstrap-server {server} --verify --reassignment-json-file {files}/stay-unknown.json --preserve-throttles"),
    same("--bootstrap-server {server} --verify --reassignment-json-file {files}/nothing.json"),
    told("--bootstrap-server {server} --verify --reassignment-json-file {files}/stay-unknown.json"),
    same("--bootstrap-server {server} --cancel --reassignment-json-file {files}/stay.json"),
    same("--bootstrap-server {server} --cancel --reassignment-json-file {files}/stay.json --preserve-throttles --timeout 7"),
    told(
        "--bootstrap-server {server} --execute --reassignment-json-file {files}/stay.json --throttle 5000 --replica-alter-log-dirs-throttle 6000",
    ),
    told("--bootstrap-server {server} --execute --reassignment-json-file {files}/stay.json --throttle 7000 --additional"),
    same("--bootstrap-server {server} --verify --reassignment-json-file {files}/stay.json"),
    told("--bootstrap-server {server} --execute --reassignment-json-file {files}/elsewhere.json"),
    told("--bootstrap-server {server} --execute --reassignment-json-file {files}/stay-unknown.json"),
    told("--bootstrap-server {server} --execute --reassignment-json-file {files}/stay-nowhere.json"),
    same("--bootstrap-server {server} --list"),
];

const REASSIGN_FAULTY: &[Row] = &[
    told("--bootstrap-server {server} --execute --reassignment-json-file {files}/nothing.json"),
    told("--bootstrap-server {server} --execute --reassignment-json-file {files}/no-replicas.json"),
    told("--bootstrap-server {server} --execute --reassignment-json-file {files}/stay-twice.json"),
    told("--bootstrap-server {server} --execute --reassignment-json-file {files}/replicas-twice.json"),
    told("--bootstrap-server {server} --execute --reassignment-json-file {files}/uneven.json"),
    told("--bootstrap-server {server} --execute --reassignment-json-file {files}/version.json"),
    told("--bootstrap-server {server} --verify --reassignment-json-file {files}/array.json"),
    told("--bootstrap-server {server} --cancel --reassignment-json-file {files}/topic-only.json"),
    Row {
        words: "--bootstrap-server {server} --verify --reassignment-json-file {files}/broken.json",
        expect: Expect::Differs {
            kafka: (1, "com.fasterxml.jackson.core"),
            ottla: (1, "Error: The input string is not a valid JSON"),
            why: SENTENCE,
        },
    },
    Row {
        words: "--bootstrap-server {server} --verify --reassignment-json-file {files}/none.json",
        expect: Expect::Differs { kafka: (1, "Error: "), ottla: (1, "Error: cannot read "), why: SENTENCE },
    },
    Row {
        words: "--bootstrap-server nonsense --list",
        expect: Expect::Differs { kafka: (1, "Error: "), ottla: (1, "Error: "), why: SENTENCE },
    },
    Row {
        words: "--bootstrap-server 127.0.0.1:1 --list --command-config {files}/hurry.properties",
        expect: Expect::Differs { kafka: (1, "Error: "), ottla: (1, "Error: no broker answers at 127.0.0.1:1 "), why: NOBODY_THERE },
    },
    Row {
        words: "--bootstrap-server {server} --verify --reassignment-json-file {files}/elsewhere.json --command-config {files}/hurry.properties",
        expect: Expect::Differs {
            kafka: (1, "TimeoutException"),
            ottla: (1, "Error: the cluster lists no broker 99 at present"),
            why: AT_ONCE,
        },
    },
    same("--bootstrap-server {server}"),
    same("--bootstrap-server {server} --list --verify"),
    same("--list"),
    same("--bootstrap-server {server} --bootstrap-controller 127.0.0.1:1 --list"),
    same("--bootstrap-server {server} --generate"),
    same("--bootstrap-server {server} --generate --topics-to-move-json-file {files}/topics.json"),
    same("--bootstrap-server {server} --execute"),
    same("--bootstrap-server {server} --verify"),
    same("--bootstrap-server {server} --cancel"),
    same("--bootstrap-server {server} --list --throttle 1"),
    same("--bootstrap-server {server} --verify --reassignment-json-file {files}/stay.json --additional"),
    same("--bootstrap-server {server} --cancel --reassignment-json-file {files}/stay.json --disallow-replication-factor-change"),
    same("--bootstrap-server {server} --execute --reassignment-json-file {files}/stay.json --preserve-throttles"),
    Row {
        words: "--bootstrap-server {server} --execute --reassignment-json-file {files}/stay.json --throttle x",
        expect: Expect::Differs {
            kafka: (1, "Error: Cannot parse argument 'x' of option throttle"),
            ottla: (1, "Cannot parse argument 'x' of option throttle"),
            why: "what is wrong with the command line is told before anything is done, and on standard error",
        },
    },
    other_words("", HELP_FOR_NOTHING),
    Row { words: "--help", expect: HELP },
    Row { words: "--version", expect: VERSION },
    other_words("--bootstrap-server {server} --list --unknown", PARSER),
];

const REASSIGN_DIRS: &[Row] = &[
    same("--bootstrap-server {server} --execute --reassignment-json-file {files}/dirs.json"),
    same("--bootstrap-server {server} --verify --reassignment-json-file {files}/dirs.json"),
    same("--bootstrap-server {server} --cancel --reassignment-json-file {files}/dirs.json"),
    told("--bootstrap-server {server} --execute --reassignment-json-file {files}/dirs-unknown.json"),
    same("--bootstrap-server {server} --verify --reassignment-json-file {files}/dirs-unknown.json"),
];

const PRODUCER_PERF: &[Row] = &[
    shape("--topic {lines} --num-records 200 --record-size 50 --throughput -1 --bootstrap-server {server}"),
    // Two seconds with one report, after one and a half: half a second late is not too late for the first nor enough for another.
    shape("--topic {lines} --num-records 200 --record-size 50 --throughput 100 --reporting-interval 1500 --bootstrap-server {server}"),
    shape("--topic {lines} --num-records 50 --payload-monotonic --throughput -1 --command-property bootstrap.servers={server} linger.ms=1"),
    shape("--topic {lines} --num-records 50 --payload-file {files}/lines.txt --throughput -1 --bootstrap-server {server}"),
    shape("--topic {lines} --num-records 50 --record-size 9 --throughput -1 --producer-props bootstrap.servers={server} acks=1"),
    shape("--topic {lines} --num-records 200 --record-size 50 --throughput -1 --warmup-records 100 --bootstrap-server {server}"),
];

const CONSUMER_PERF: &[Row] = &[
    shape("--bootstrap-server {server} --topic {lines} --num-records 500"),
    shape("--bootstrap-server {server} --topic {lines} --messages 500 --hide-header"),
    shape("--bootstrap-server {server} --topic {lines} --num-records 700 --timeout 2000 --group {group}-measured"),
    same("--bootstrap-server {server} --topic {lines}"),
    same("--bootstrap-server {server} --num-records 5"),
    same("--topic {lines} --num-records 5"),
    other_words("--bootstrap-server {server} --topic {lines} --num-records 5 --unknown", PARSER),
];

const E2E_LATENCY: &[Row] = &[
    shape("--bootstrap-server {server} --topic {lines} --num-records 20 --producer-acks 1 --record-size 10"),
    shape("--bootstrap-server {server} --topic {lines} --num-records 10 --producer-acks all --record-size 10 --record-key-size 3"),
    shape("--bootstrap-server {server} --topic {lines}-made --num-records 5 --producer-acks all --record-size 10"),
    other_words("--bootstrap-server {server} --topic {lines} --num-records 5 --producer-acks 0 --record-size 10", SENTENCE),
    other_words("--bootstrap-server {server} --topic {lines} --num-records 0 --producer-acks 1 --record-size 10", SENTENCE),
];
