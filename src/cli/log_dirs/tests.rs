use super::*;
use crate::cli::console::captured::{parsed, refusal};
use crate::client::Refusal;
use crate::wire::error::ErrorCode;

fn refused(words: &str) -> String {
    refusal(|console| run(&parsed(words), console))
}

#[test]
fn what_is_missing_or_no_number_is_told_in_kafkas_sentences() {
    assert_eq!(refused("--describe"), "Missing required argument \"[bootstrap-server]\"");
    assert_eq!(refused("--bootstrap-server a:1"), "Missing required argument \"[describe]\"");
    assert_eq!(refused("--bootstrap-server a:1 --describe --broker-list 1,x"), "For input string: \"x\"");
}

fn replica(topic: &str, partition: i32, size_bytes: i64) -> LogDirReplica {
    LogDirReplica { topic: topic.to_owned(), partition, size_bytes, offset_lag: 0, is_future: false }
}

#[test]
fn directories_print_as_kafka_prints_them() {
    let whole = LogDir { path: "/d/\"1\"".to_owned(), error: None, replicas: vec![replica("a", 0, 71), replica("b", 3, 0)] };
    let refusal = Refusal { code: ErrorCode::KafkaStorageError.code(), message: String::new() };
    let broken = LogDir { path: "/e".to_owned(), error: Some(refusal), replicas: Vec::new() };
    let brokers = [(NodeId(1), vec![whole, broken])];
    assert_eq!(
        json(&brokers, &BTreeSet::new()),
        r#"{"brokers":[{"broker":1,"logDirs":[{"partitions":[{"partition":"a-0","size":71,"offsetLag":0,"isFuture":false},{"partition":"b-3","size":0,"offsetLag":0,"isFuture":false}],"error":null,"logDir":"/d/\"1\""},{"partitions":[],"error":"org.apache.kafka.common.errors.KafkaStorageException","logDir":"/e"}]}],"version":1}"#
    );
    let only_b = json(&brokers, &BTreeSet::from(["b"]));
    assert!(only_b.contains("b-3") && !only_b.contains("a-0"), "{only_b}");
    assert_eq!(json(&[], &BTreeSet::new()), r#"{"brokers":[],"version":1}"#);
}
