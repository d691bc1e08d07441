//! Kafka 2.8's own tools that speak to ZooKeeper: what they write there is done, and what is done by others they see.

use std::time::Duration;

use super::{CONFIGS, CONSOLE_CONSUMER, CONSOLE_PRODUCER, LEADER_ELECTION, OldTools, PREFERRED_ELECTION, REASSIGN, TOPICS, start_broker};
use crate::support::broker::{Broker, Settings, only_ottla, temp_dir};
use crate::support::process::{command, run};
use crate::support::records::Batch;
use crate::support::zookeeper::Ensemble;
use crate::support::{eventually, heavy, noisy, topics};

const SOON: Duration = Duration::from_secs(30);
const TOOL: Duration = Duration::from_secs(60);

fn config_of(broker: &Broker, topic: &str, key: &str) -> Option<String> {
    topics::config(&mut broker.connect(), topic, key)
}

/// So many ZooKeeper servers, Kafka's old tools, a broker whose home those are, and how the tools are told of it.
fn beside_servers(count: usize) -> (Ensemble, OldTools, Broker, String) {
    let ensemble = Ensemble::start(count);
    let tools = OldTools::start();
    let broker = start_broker(&ensemble, Settings::new());
    let at = format!("--zookeeper {}", ensemble.connect("/kafka"));
    (ensemble, tools, broker, at)
}

#[test]
fn topics_are_made_shown_grown_set_and_deleted() {
    if only_ottla("Kafka 4 knows no ZooKeeper") {
        return;
    }
    let _noisy = noisy();
    let (_ensemble, mut tools, broker, at) = beside_servers(1);
    let mut connection = broker.connect();

    let said =
        tools.expect(TOPICS, &format!("{at} --create --partitions 2 --replication-factor 1 --topic haha --config retention.bytes=777000"));
    assert!(said.contains("Created topic haha."), "{said}");
    topics::wait_for_leaders(&mut connection, "haha", 2);
    assert_eq!(config_of(&broker, "haha", "retention.bytes").as_deref(), Some("777000"));
    topics::produce(&mut connection, "haha", 1, Batch::at(1_700_000_000_000).value("one").encode());
    assert_eq!(topics::read_from(&mut connection, "haha", 1, 0).len(), 1);

    // One that a client makes is seen there, with its leader and in-sync replicas.
    topics::create(&mut connection, "made-by-a-client", 1, &[("cleanup.policy", "compact")]);
    eventually("both topics are shown", SOON, || {
        let said = tools.expect(TOPICS, &format!("{at} --describe"));
        let shown = |line: &str| said.lines().any(|said| said.split_whitespace().collect::<Vec<_>>().join(" ").starts_with(line));
        (shown("Topic: haha Partition: 0 Leader: 1 Replicas: 1 Isr: 1")
            && shown("Topic: haha Partition: 1 Leader: 1 Replicas: 1 Isr: 1")
            && said.contains("TopicId: ")
            && shown("Topic: made-by-a-client Partition: 0 Leader: 1 Replicas: 1 Isr: 1")
            && said.contains("retention.bytes=777000")
            && said.contains("cleanup.policy=compact"))
        .then_some(())
    });

    tools.expect(TOPICS, &format!("{at} --alter --topic haha --partitions 4"));
    topics::wait_for_leaders(&mut connection, "haha", 4);

    tools.expect(TOPICS, &format!("{at} --alter --topic haha --config retention.bytes=888000 --config max.message.bytes=5000"));
    eventually("the tool's settings hold", SOON, || {
        (config_of(&broker, "haha", "max.message.bytes").as_deref() == Some("5000")).then_some(())
    });
    assert_eq!(config_of(&broker, "haha", "retention.bytes").as_deref(), Some("888000"));
    tools.expect(TOPICS, &format!("{at} --alter --topic haha --delete-config max.message.bytes"));
    eventually("the setting is gone", SOON, || (config_of(&broker, "haha", "max.message.bytes").as_deref() != Some("5000")).then_some(()));
    topics::alter_config(&mut connection, "haha", "retention.bytes", "999000");
    eventually("a client's setting is shown", SOON, || {
        let said = tools.expect(CONFIGS, &format!("{at} --describe --entity-type topics --entity-name haha"));
        said.contains("retention.bytes=999000").then_some(())
    });

    let said = tools.expect(TOPICS, &format!("{at} --delete --topic haha"));
    assert!(said.contains("marked for deletion"), "{said}");
    topics::wait_until_gone(&mut connection, "haha");
    topics::delete(&mut connection, "made-by-a-client");
    eventually("neither is shown", SOON, || {
        let said = tools.expect(TOPICS, &format!("{at} --list"));
        (!said.contains("haha") && !said.contains("made-by-a-client")).then_some(())
    });

    // The name is free again, for either.
    tools.expect(TOPICS, &format!("{at} --create --partitions 1 --replication-factor 1 --topic haha"));
    topics::wait_for_leaders(&mut connection, "haha", 1);
    assert_eq!(topics::read_from(&mut connection, "haha", 0, 0).len(), 0, "the new one is empty");
}

#[test]
fn what_cannot_be_is_refused_once() {
    if only_ottla("Kafka 4 knows no ZooKeeper") {
        return;
    }
    let _noisy = noisy();
    let (_ensemble, mut tools, mut broker, at) = beside_servers(1);
    tools.expect(TOPICS, &format!("{at} --create --replica-assignment 7 --topic on-nobody"));
    eventually("the topic of a broker that is not there is gone", SOON, || {
        (!tools.expect(TOPICS, &format!("{at} --list")).contains("on-nobody")).then_some(())
    });
    tools.expect(CONFIGS, &format!("{at} --alter --entity-type clients --entity-name c --add-config producer_byte_rate=1000"));
    eventually("quotas are refused", SOON, || broker.output().contains("quotas and credentials are not served").then_some(()));
    // Made while the broker is away, it is done when it is back; what is wrong with it is said then.
    broker.stop();
    tools.expect(TOPICS, &format!("{at} --create --replica-assignment 1,1 --topic waits"));
    tools.expect(TOPICS, &format!("{at} --create --replica-assignment 8 --topic on-nobody"));
    broker.launch();
    topics::wait_for_leaders(&mut broker.connect(), "waits", 2);
    eventually("the topic of a broker that is not there is gone again", SOON, || {
        (!tools.expect(TOPICS, &format!("{at} --list")).contains("on-nobody")).then_some(())
    });
    let refusals = broker.output().lines().filter(|line| line.contains("/brokers/topics/on-nobody asks for is refused")).count();
    assert_eq!(refusals, 1, "{}", broker.output());
}

/// What an old tool asks for by a node of which there is one: it would make no second, were the first not taken away.
#[test]
fn moves_and_elections_are_answered_by_the_controller() {
    if only_ottla("Kafka 4 knows no ZooKeeper") {
        return;
    }
    let _noisy = noisy();
    let (_ensemble, mut tools, broker, at) = beside_servers(1);
    let dir = temp_dir();
    let file = |name: &str, content: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    tools.expect(TOPICS, &format!("{at} --create --partitions 2 --replication-factor 1 --topic haha"));
    topics::wait_for_leaders(&mut broker.connect(), "haha", 2);

    let wanted = file("topics.json", r#"{"version":1,"topics":[{"topic":"haha"}]}"#);
    let said = tools.expect(REASSIGN, &format!("{at} --generate --topics-to-move-json-file {wanted} --broker-list 1"));
    let proposed = said.lines().last().unwrap();
    assert!(proposed.starts_with(r#"{"version":1,"partitions":[{"topic":"haha""#), "{said}");
    let moves = file("moves.json", proposed);
    for options in ["", "--throttle 5000", ""] {
        eventually("no move is in the way of the next", SOON, || {
            let said = tools.run(REASSIGN, &format!("{at} --execute --reassignment-json-file {moves} {options}"));
            said.stdout.contains("Successfully started partition reassignments for haha-0,haha-1").then_some(())
        });
    }
    eventually("the moves are over", SOON, || {
        let said = tools.expect(REASSIGN, &format!("{at} --verify --reassignment-json-file {moves}"));
        (said.matches("is complete").count() == 2).then_some(())
    });
    let elsewhere = file("elsewhere.json", r#"{"version":1,"partitions":[{"topic":"haha","partition":0,"replicas":[2]}]}"#);
    let said = tools.run(REASSIGN, &format!("{at} --execute --reassignment-json-file {elsewhere}"));
    assert!(said.stdout.contains("non-existent brokerIDs: 2") || said.stderr.contains("non-existent brokerIDs: 2"), "{said:?}");

    let some = file("elect.json", r#"{"partitions":[{"topic":"haha","partition":1}]}"#);
    for options in ["", &format!("--path-to-json-file {some}"), ""] {
        eventually("no election is in the way of the next", SOON, || {
            let said = tools.run(PREFERRED_ELECTION, &format!("{at} {options}"));
            said.stdout.contains("Created preferred replica election path with").then_some(())
        });
    }
    eventually("the last is answered", SOON, || {
        let done = broker.output().lines().filter(|line| line.contains("done as /admin/preferred_replica_election asks")).count();
        (done == 3).then_some(())
    });
    let server = broker.bootstrap();
    tools.expect(LEADER_ELECTION, &format!("--bootstrap-server {server} --election-type preferred --all-topic-partitions"));
    topics::wait_for_leaders(&mut broker.connect(), "haha", 2);
}

#[test]
fn settings_that_old_tools_may_write_hold_and_others_are_put_back() {
    if only_ottla("Kafka 4 knows no ZooKeeper") {
        return;
    }
    let _noisy = noisy();
    let (_ensemble, mut tools, mut broker, at) = beside_servers(1);
    topics::create(&mut broker.connect(), "haha", 1, &[]);
    let of_topic = "--entity-type topics --entity-name haha";
    eventually("the topic is shown", SOON, || tools.expect(TOPICS, &format!("{at} --list")).contains("haha").then_some(()));

    tools.expect(CONFIGS, &format!("{at} --alter {of_topic} --add-config retention.ms=5000,max.message.bytes=7000"));
    eventually("a topic's settings hold", SOON, || {
        let set = |key: &str, value: &str| config_of(&broker, "haha", key).as_deref() == Some(value);
        (set("retention.ms", "5000") && set("max.message.bytes", "7000")).then_some(())
    });
    tools.expect(CONFIGS, &format!("{at} --alter {of_topic} --delete-config retention.ms"));
    eventually("one is gone", SOON, || (config_of(&broker, "haha", "retention.ms").as_deref() != Some("5000")).then_some(()));

    // Of a running broker the tool sets the throttles alone.
    let of_broker = "--entity-type brokers --entity-name 1";
    tools.expect(CONFIGS, &format!("{at} --alter {of_broker} --add-config leader.replication.throttled.rate=9000"));
    let said = tools.run(CONFIGS, &format!("{at} --alter {of_broker} --add-config log.cleaner.threads=2"));
    assert!(said.status != 0 && said.stderr.contains("--bootstrap-server option must be specified"), "{said:?}");
    let server = broker.bootstrap();
    eventually("the throttle is set", SOON, || {
        let said = tools.expect(CONFIGS, &format!("--bootstrap-server {server} --describe {of_broker}"));
        said.contains("leader.replication.throttled.rate=9000").then_some(())
    });
    // Of one that is not, all of them.
    broker.stop();
    tools.expect(CONFIGS, &format!("{at} --alter {of_broker} --add-config log.cleaner.threads=2"));
    tools.expect(CONFIGS, &format!("{at} --alter --entity-type brokers --entity-default --add-config log.retention.ms=70000000"));
    broker.launch();
    let server = broker.bootstrap();
    eventually("the broker's settings hold", SOON, || {
        let said = tools.expect(CONFIGS, &format!("--bootstrap-server {server} --describe {of_broker}"));
        let of_all = tools.expect(CONFIGS, &format!("--bootstrap-server {server} --describe --entity-type brokers --entity-default"));
        (said.contains("log.cleaner.threads=2") && of_all.contains("log.retention.ms=70000000")).then_some(())
    });

    let refused = [
        ("clients --entity-name c", "producer_byte_rate=1000"),
        ("users --entity-name alice", "SCRAM-SHA-256=[password=secret]"),
        ("users --entity-default", "consumer_byte_rate=1000"),
        ("ips --entity-name 127.0.0.1", "connection_creation_rate=5"),
    ];
    for (entity, config) in refused {
        tools.expect(CONFIGS, &format!("{at} --alter --entity-type {entity} --add-config {config}"));
        eventually("what is refused is no longer shown", SOON, || {
            let said = tools.expect(CONFIGS, &format!("{at} --describe --entity-type {entity}"));
            (!said.contains(config.split('=').next().unwrap())).then_some(())
        });
    }
    assert_eq!(broker.output().matches("quotas and credentials are not served").count(), refused.len(), "{}", broker.output());
}

#[test]
fn consoles_of_both_write_and_read_each_others_lines() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let mut tools = OldTools::start();
    topics::create(&mut broker.connect(), "lines", 1, &[]);
    let server = broker.bootstrap();
    let dir = temp_dir();
    let typed = dir.path().join("typed");
    std::fs::write(&typed, "of the old tool\n").unwrap();
    tools.expect(CONSOLE_PRODUCER, &format!("--broker-list {server} --topic lines <{}", typed.display()));
    let mut ours = command(env!("CARGO_BIN_EXE_ottla"));
    ours.args(["console-producer", "--broker-list", &server, "--topic", "lines"]);
    run("ottla console-producer", ours, b"of ours\n", TOOL).expect_success();
    let expected = "of the old tool\nof ours";
    let said = tools.expect(CONSOLE_CONSUMER, &format!("--bootstrap-server {server} --topic lines --from-beginning --max-messages 2"));
    assert_eq!(said, expected);
    let mut ours = command(env!("CARGO_BIN_EXE_ottla"));
    ours.args(["console-consumer", "--bootstrap-server", &server, "--topic", "lines", "--from-beginning", "--max-messages", "2"]);
    assert_eq!(run("ottla console-consumer", ours, b"", TOOL).expect_success(), expected);
}

#[test]
fn nodes_follow_when_servers_go_and_hang() {
    if only_ottla("Kafka 4 knows no ZooKeeper") || !heavy() {
        return;
    }
    let _noisy = noisy();
    let (mut ensemble, mut tools, broker, at) = beside_servers(3);
    let mut connection = broker.connect();
    topics::create(&mut connection, "before", 1, &[]);
    let create = |topic: &str| {
        let mut ours = command(env!("CARGO_BIN_EXE_ottla"));
        ours.args(["topics", "--bootstrap-server", &broker.bootstrap(), "--create", "--if-not-exists", "--topic", topic]);
        run("ottla topics", ours, b"", TOOL).status.success()
    };
    let leader = ensemble.leader();
    ensemble.kill(leader);
    eventually("a topic is made by the others", TOOL, || create("without-one").then_some(()));
    ensemble.restart(leader);
    ensemble.wait_until_serving(leader);
    for index in 0..ensemble.size() {
        ensemble.pause(index);
    }
    let base = topics::produce(&mut connection, "before", 0, Batch::at(1).value("while ZooKeeper hangs").encode());
    assert_eq!(topics::read_from(&mut connection, "before", 0, base).len(), 1);
    assert!(!create("while-it-hangs"), "what cannot be written is not done");
    for index in 0..ensemble.size() {
        ensemble.resume(index);
    }
    eventually("a topic is made again", TOOL, || create("afterwards").then_some(()));
    eventually("all of them are shown", TOOL, || {
        let said = tools.run(TOPICS, &format!("{at} --list")).stdout;
        ["before", "without-one", "afterwards"].iter().all(|topic| said.lines().any(|line| line == *topic)).then_some(())
    });
}
