//! A node's metadata moves from its own directory to ZooKeeper and back, and nothing is lost.

use std::process::Command;
use std::time::Duration;

use kafka_protocol::messages::metadata_request::MetadataRequest;

use super::start_broker;
use crate::support::broker::{Broker, Settings, only_ottla, temp_dir};
use crate::support::process::{Output, command, run};
use crate::support::records::Batch;
use crate::support::topics;
use crate::support::zookeeper::Ensemble;
use crate::support::{eventually, noisy};

const TOOL: Duration = Duration::from_secs(60);

fn metadata(words: &[&str]) -> Output {
    let mut tool: Command = command(env!("CARGO_BIN_EXE_ottla"));
    tool.arg("metadata").args(words);
    run("ottla metadata", tool, b"", TOOL)
}

/// The old home has been retired, and the new one is not released yet: nobody can use either until the move is asked for again.
#[test]
fn a_move_that_was_cut_short_goes_on() {
    if only_ottla("Kafka 4 has no such tool") {
        return;
    }
    let mut broker = Broker::start(Settings::new());
    topics::create(&mut broker.connect(), "first", 3, &[]);
    broker.stop();
    let elsewhere = temp_dir();
    let (from, to) = (broker.log_dir().display().to_string(), elsewhere.path().join("home").display().to_string());
    let before = metadata(&["show", &from]).expect_success();
    let moved = metadata(&["move", &from, &to]).expect_success();
    let mark = elsewhere.path().join("home/ottla-metadata.moved");
    let of_another = "metadata was being moved here from /another, and that was not finished; move it again";
    std::fs::write(&mark, of_another).unwrap();
    assert!(metadata(&["move", &from, &to]).stderr.contains("holds no metadata"), "what another move has begun is not this one's to end");
    std::fs::write(&mark, of_another.replace("/another", &from)).unwrap();
    assert!(metadata(&["show", &to]).stderr.contains("holds no metadata"));
    assert_eq!(metadata(&["move", &from, &to]).expect_success(), moved);
    assert_eq!(metadata(&["show", &to]).expect_success(), before);
    assert!(metadata(&["move", &from, &to]).stderr.contains("holds metadata already"));
}

#[test]
fn a_log_moves_to_zookeeper_and_back() {
    if only_ottla("Kafka 4 knows no ZooKeeper") {
        return;
    }
    let _noisy = noisy();
    let ensemble = Ensemble::start(1);
    let mut broker = Broker::start(Settings::new());
    let own = brokers(&broker);
    assert_eq!(own.len(), 1);
    let id = topics::create(&mut broker.connect(), "first", 3, &[("retention.ms", "12345678")]);
    topics::create(&mut broker.connect(), "gone", 1, &[]);
    topics::delete(&mut broker.connect(), "gone");
    topics::produce(&mut broker.connect(), "first", 0, Batch::at(0).value("kept").encode());
    let directory = broker.log_dir().display().to_string();
    let zookeeper = format!("zookeeper://{}", ensemble.connect("/kafka"));

    let live = metadata(&["move", &directory, &zookeeper]);
    assert!(live.stderr.contains("a broker uses this directory; stop it first"), "{}", live.stderr);
    assert_eq!(live.status.code(), Some(1));
    broker.stop();
    let before = metadata(&["show", &directory]).expect_success();
    assert!(before.contains("\"first\"") && before.contains("retention.ms"), "{before}");
    metadata(&["move", &directory, &zookeeper]).expect_success();
    assert_eq!(metadata(&["show", &zookeeper]).expect_success(), before);
    assert!(metadata(&["show", &directory]).stderr.contains("holds no metadata"));
    let again = metadata(&["move", &directory, &zookeeper]);
    assert_eq!(again.status.code(), Some(1), "{}", again.stdout);

    // The directory refuses a start without ZooKeeper, and goes on with it.
    let refused = broker.refused(TOOL);
    assert!(refused.contains(&format!("its metadata has been moved to {zookeeper}")), "{refused}");
    broker.set("zookeeper.connect", &ensemble.connect("/kafka"));
    broker.launch();
    let kept = topics::read_from(&mut broker.connect(), "first", 0, 0);
    assert_eq!(kept[0].value.as_deref(), Some(&b"kept"[..]));
    assert_eq!(topics::config(&mut broker.connect(), "first", "retention.ms").as_deref(), Some("12345678"));
    topics::create(&mut broker.connect(), "second", 1, &[]);
    let live = metadata(&["move", &zookeeper, &directory]);
    assert_eq!(live.status.code(), Some(1), "{}", live.stdout);
    broker.stop();
    let before = metadata(&["show", &zookeeper]).expect_success();
    metadata(&["move", &zookeeper, &directory]).expect_success();
    assert_eq!(metadata(&["show", &directory]).expect_success(), before);
    assert!(broker.refused(TOOL).contains(&format!("its metadata has been moved to {directory}")));
    broker.set("zookeeper.connect", "");
    broker.launch();
    let mut connection = broker.connect();
    topics::wait_for_leaders(&mut connection, "second", 1);
    topics::wait_for_leaders(&mut connection, "first", 3);
    let kept = topics::read_from(&mut connection, "first", 0, 0);
    assert_eq!(kept[0].value.as_deref(), Some(&b"kept"[..]));
    assert_ne!(id, uuid::Uuid::nil());

    // A second time, over what the first has left.
    broker.stop();
    let before = metadata(&["show", &directory]).expect_success();
    metadata(&["move", &directory, &zookeeper]).expect_success();
    assert_eq!(metadata(&["show", &zookeeper]).expect_success(), before);
    let mut joined = start_broker(&ensemble, Settings::new().with("node.id", 7));
    assert!(brokers(&joined).contains(&7));

    // Back once more: the other has stayed behind, and is not shown as one that is there.
    joined.stop();
    metadata(&["move", &zookeeper, &directory]).expect_success();
    broker.launch();
    eventually("the one that stayed behind is fenced", TOOL, || (brokers(&broker) == own).then_some(()));
}

/// Ids of the brokers that this one shows.
fn brokers(broker: &Broker) -> Vec<i32> {
    broker.connect().call(12, &MetadataRequest::default()).brokers.iter().map(|broker| broker.node_id.0).collect()
}
