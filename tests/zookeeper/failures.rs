//! What becomes of brokers when ZooKeeper, or one of them, is gone: what is produced and fetched goes on, changes of the cluster are refused
//! and made later, and never two brokers change it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use kafka_protocol::messages::InitProducerIdRequest;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use kafka_protocol::messages::metadata_request::MetadataRequest;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::start_broker;
use crate::support::broker::{Broker, Settings, only_ottla};
use crate::support::process::{Process, command};
use crate::support::raw::Connection;
use crate::support::records::Batch;
use crate::support::topics::{self, name};
use crate::support::zookeeper::Ensemble;
use crate::support::{eventually, heavy, noisy};

const SOON: Duration = Duration::from_secs(60);
/// Longer than a busy machine keeps a broker from its turn.
const SESSION_MS: u64 = 10_000;
/// For a test that sits it out more than once.
const SHORT_SESSION_MS: u64 = 6000;
const REQUEST_TIMED_OUT: i16 = 7;
const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
const TOPIC_EXISTS: i16 = 36;
const NOT_CONTROLLER: i16 = 41;

fn settings(node: i32) -> Settings {
    Settings::new().shards(2).with("node.id", node).with("zookeeper.session.timeout.ms", SESSION_MS)
}

/// Asks once for a topic of one partition; the error and its text.
fn try_create(connection: &mut Connection, topic: &str) -> (i16, String) {
    let wanted = CreatableTopic::default().with_name(name(topic)).with_num_partitions(1).with_replication_factor(1);
    let answer = connection.call(7, &CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(30_000));
    let result = &answer.topics[0];
    (result.error_code, result.error_message.as_ref().map(ToString::to_string).unwrap_or_default())
}

/// Asks until the topic is there: by this call, or by one before it whose answer was that it is not known.
fn create_eventually(connection: &mut Connection, topic: &str) {
    eventually("the topic is created", SOON, || {
        let (code, why) = try_create(connection, topic);
        assert!([0, TOPIC_EXISTS, REQUEST_TIMED_OUT, NOT_CONTROLLER].contains(&code), "error {code}: {why}");
        [0, TOPIC_EXISTS].contains(&code).then_some(())
    });
}

/// Topics with their ids and leaders, as a broker shows them, and who it says is the controller.
fn shown(broker: &Broker) -> (Vec<(String, uuid::Uuid, Vec<i32>)>, i32) {
    let answer = broker.connect().call(12, &MetadataRequest::default().with_topics(None));
    let topics = answer.topics.into_iter().map(|topic| {
        let leaders = topic.partitions.iter().map(|partition| partition.leader_id.0).collect();
        (topic.name.map(|name| name.to_string()).unwrap_or_default(), topic.topic_id, leaders)
    });
    (topics.collect(), answer.controller_id.0)
}

fn all_stopped(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    // The state follows the name, which is in parentheses.
    let state = |stat: String| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
    threads.flatten().all(|thread| std::fs::read_to_string(thread.path().join("stat")).is_ok_and(state))
}

fn produce_and_fetch(connection: &mut Connection, topic: &str, value: &str) {
    let offset = topics::produce(connection, topic, 0, Batch::at(0).value(value).encode());
    let fetched = topics::read_from(connection, topic, 0, offset);
    assert_eq!(fetched.last().and_then(|record| record.value.as_deref()), Some(value.as_bytes()));
}

#[test]
fn records_flow_while_zookeeper_hangs_or_is_gone() {
    if only_ottla("Kafka 4 knows no ZooKeeper") {
        return;
    }
    let _noisy = noisy();
    let mut ensemble = Ensemble::start(1);
    let broker = start_broker(&ensemble, settings(1).with("zookeeper.session.timeout.ms", SHORT_SESSION_MS));
    let mut connection = broker.connect();
    topics::create(&mut connection, "before", 1, &[]);
    for (round, hangs) in [true, false].into_iter().enumerate() {
        if hangs {
            ensemble.pause(0);
        } else {
            ensemble.kill(0);
        }
        produce_and_fetch(&mut connection, "before", "at once");
        let (code, why) = try_create(&mut connection, "meanwhile");
        assert!([REQUEST_TIMED_OUT, NOT_CONTROLLER].contains(&code), "error {code}: {why}");
        assert!(!why.is_empty(), "a refusal says why");
        // By now the session is over, as far as time goes.
        std::thread::sleep(Duration::from_millis(SHORT_SESSION_MS));
        produce_and_fetch(&mut connection, "before", "later");
        if hangs {
            ensemble.resume(0);
        } else {
            ensemble.restart(0);
        }
        create_eventually(&mut connection, &format!("after-{round}"));
        topics::wait_for_leaders(&mut connection, &format!("after-{round}"), 1);
        produce_and_fetch(&mut connection, &format!("after-{round}"), "healed");
    }
}

#[test]
fn a_second_broker_with_the_same_id_is_refused() {
    if only_ottla("Kafka 4 knows no ZooKeeper") {
        return;
    }
    let _noisy = noisy();
    let ensemble = Ensemble::start(1);
    let first = start_broker(&ensemble, settings(1));
    let dir = crate::support::broker::temp_dir();
    let mut serve = command(env!("CARGO_BIN_EXE_ottla"));
    serve.arg("serve");
    for (key, value) in [
        ("node.id", "1".to_owned()),
        ("listeners", "PLAINTEXT://127.0.0.1:0".to_owned()),
        ("log.dirs", dir.path().display().to_string()),
        ("zookeeper.connect", ensemble.connect("/kafka")),
        ("zookeeper.session.timeout.ms", SESSION_MS.to_string()),
    ] {
        serve.arg("--override").arg(format!("{key}={value}"));
    }
    let mut second = Process::spawn("ottla-2", serve);
    let status = second.wait(SOON);
    assert_eq!(status.code(), Some(1), "{}", second.output());
    let said = second.output();
    assert!(said.contains(&format!("a broker with node.id 1 is registered at {}", first.bootstrap())), "{said}");
    assert!(said.contains("stop it, or set another node.id here"), "{said}");
    topics::create(&mut first.connect(), "still", 1, &[]);
}

/// A broker that was killed is taken for gone once its session is over, and starts again under its id.
#[test]
fn a_broker_that_stands_by_takes_over() {
    if only_ottla("Kafka 4 knows no ZooKeeper") {
        return;
    }
    let _noisy = noisy();
    let ensemble = Ensemble::start(1);
    let mut first = start_broker(&ensemble, settings(1));
    topics::create(&mut first.connect(), "of-first", 2, &[]);
    produce_and_fetch(&mut first.connect(), "of-first", "kept");
    let second = start_broker(&ensemble, settings(2));
    let both = eventually("both show the same", SOON, || {
        let (one, two) = (shown(&first), shown(&second));
        (one == two).then_some(one)
    });
    assert_eq!(both.1, 1, "the first is the controller");
    let (code, why) = try_create(&mut second.connect(), "by-stand-by");
    assert_eq!(code, NOT_CONTROLLER, "{why}");
    assert!(why.contains("node 1 is the controller"), "{why}");
    let producer = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000);
    let code = second.connect().call(4, &producer).error_code;
    assert_eq!(code, COORDINATOR_LOAD_IN_PROGRESS, "every producer tries that again");
    // What is new goes to the broker that does not stand by.
    topics::create(&mut first.connect(), "while-two", 4, &[]);
    let (topics_shown, _) = shown(&first);
    assert!(topics_shown.iter().all(|(_, _, leaders)| leaders.iter().all(|leader| *leader == 1)), "{topics_shown:?}");

    first.kill();
    create_eventually(&mut second.connect(), "of-second");
    // What is new is on the new controller's broker at once; what the old one led is taken from it a moment later.
    let leaders = |topic: &str| shown(&second).0.into_iter().find(|(found, ..)| found == topic).map(|(.., leaders)| leaders);
    assert_eq!((leaders("of-second"), shown(&second).1), (Some(vec![2]), 2));
    eventually("what the first led has no leader", SOON, || (leaders("of-first") == Some(vec![-1, -1])).then_some(()));
    topics::wait_for_leaders(&mut second.connect(), "of-second", 1);
    produce_and_fetch(&mut second.connect(), "of-second", "new");

    first.launch();
    eventually("the first leads again what it has", SOON, || {
        let (one, two) = (shown(&first), shown(&second));
        let led = one.0.iter().any(|(topic, _, leaders)| topic == "of-first" && *leaders == [1, 1]);
        (one == two && led && one.1 == 2).then_some(())
    });
    produce_and_fetch(&mut first.connect(), "of-first", "and again");
}

/// The controller is stopped past its session, the other takes over, and the first, continued with a change in its hands, changes nothing.
#[test]
fn a_controller_that_was_stopped_is_fenced() {
    if only_ottla("Kafka 4 knows no ZooKeeper") {
        return;
    }
    let _noisy = noisy();
    let ensemble = Ensemble::start(1);
    let brokers = [start_broker(&ensemble, settings(1)), start_broker(&ensemble, settings(2))];
    let rounds = if heavy() { 50 } else { 2 };
    let (mut made, mut in_doubt) = (BTreeSet::new(), BTreeSet::new());
    let mut fenced = 0;
    for round in 0.. {
        if fenced == rounds {
            break;
        }
        let stopped = eventually("both know the controller", SOON, || {
            let (one, two) = (shown(&brokers[0]), shown(&brokers[1]));
            (one == two && one.1 > 0).then_some(usize::try_from(one.1 - 1).unwrap())
        });
        let (late, other) = (&brokers[stopped], &brokers[1 - stopped]);
        let (refused, successors) = (format!("refused-{round}"), format!("made-{round}"));
        let mut waiting = late.connect();
        let pid = Pid::from_raw(i32::try_from(late.pid()).unwrap());
        kill(pid, Signal::SIGSTOP).unwrap();
        // A thread that still runs could make the change while it may.
        eventually("every thread of it stands still", SOON, || all_stopped(late.pid()).then_some(()));
        let wanted = CreatableTopic::default().with_name(name(&refused)).with_num_partitions(1).with_replication_factor(1);
        waiting.send(7, &CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(30_000));
        let mut connection = other.connect();
        // Whoever stops and continues the machine's processes gives it its turn, and it may keep its session: such a round shows nothing.
        let was_stopped = eventually("the other makes a topic", SOON, || match try_create(&mut connection, &successors) {
            (0 | TOPIC_EXISTS, _) => Some(all_stopped(late.pid())),
            (REQUEST_TIMED_OUT | NOT_CONTROLLER, _) => (!all_stopped(late.pid())).then_some(false),
            (code, why) => panic!("error {code}: {why}"),
        });
        if was_stopped {
            made.insert(successors);
        } else {
            in_doubt.insert(successors);
        }
        kill(pid, Signal::SIGCONT).unwrap();
        let (_, answer) = waiting.receive::<CreateTopicsRequest>(7);
        let (code, why) = (answer.topics[0].error_code, &answer.topics[0].error_message);
        match (was_stopped, code) {
            // Its own change may be the last thing it knows, or its successor.
            (true, REQUEST_TIMED_OUT | NOT_CONTROLLER) => fenced += 1,
            (true, _) => panic!("round {round}: error {code}: {why:?}"),
            (false, _) => drop(in_doubt.insert(refused)),
        }
        let deadline = Instant::now() + SOON;
        loop {
            let (one, two) = (shown(&brokers[0]), shown(&brokers[1]));
            let topics: BTreeSet<String> =
                one.0.iter().map(|(topic, ..)| topic.clone()).filter(|topic| !in_doubt.contains(topic)).collect();
            if one == two && topics == made {
                break;
            }
            assert!(Instant::now() < deadline, "round {round}, error {code}: {one:?} and {two:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
