use super::format::{Shown, Timestamp};
use super::*;
use crate::cli::console::captured::{parsed, refusal};

fn args(words: &str) -> Args {
    parsed(words)
}

/// What the tool says before it asks anyone.
fn refused(words: &str) -> String {
    refusal(|console| run(&args(words), console))
}

#[test]
fn contradictions_are_told_in_kafkas_sentences() {
    let at = |words: &str| refused(&format!("--bootstrap-server a:1 {words}"));
    let one_of = "Exactly one of the following arguments is required: [topic], [include]";
    assert_eq!(at("--group g"), one_of);
    assert_eq!(at("--topic t --include u"), one_of);
    assert_eq!(refused("--topic t"), "Missing required argument \"[bootstrap-server]\"");
    assert_eq!(at("--include t --partition 0"), "The topic is required when partition is specified.");
    assert_eq!(at("--topic t --offset 1"), "The partition is required when offset is specified.");
    assert_eq!(
        at("--topic t --partition 0 --offset 1 --from-beginning"),
        "Options from-beginning and offset cannot be specified together."
    );
    assert_eq!(at("--topic t --partition 0 --group g"), "Options group and partition cannot be specified together.");
    for bad in ["-1", "soon"] {
        assert_eq!(
            at(&format!("--topic t --partition 0 --offset {bad}")),
            format!("The provided offset value '{bad}' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long.")
        );
    }
    assert!(at("--topic t --group g --consumer-property group.id=h").ends_with("Detected group ids: 'g', 'h'"));
    assert_eq!(
        at("--topic t --from-beginning --command-property auto.offset.reset=none"),
        "Can't simultaneously specify --from-beginning and 'auto.offset.reset=none', please remove one option"
    );
    assert!(at("--topic t --formatter com.example.Mine").starts_with("--formatter com.example.Mine names a Java class"));
    assert!(at("--topic t --value-deserializer com.example.Avro").starts_with("value.deserializer=com.example.Avro names a Java class"));
}

#[test]
fn a_group_of_its_own_commits_nothing() {
    let own = consumer_properties(&args("--topic t")).unwrap();
    assert!(own["group.id"].starts_with("console-consumer-"));
    assert_eq!((own["enable.auto.commit"].as_str(), own["auto.offset.reset"].as_str()), ("false", "latest"));
    let named = consumer_properties(&args("--topic t --group g --from-beginning --isolation-level read_committed")).unwrap();
    assert_eq!(named["group.id"], "g");
    assert_eq!(named.get("enable.auto.commit"), None);
    assert_eq!((named["auto.offset.reset"].as_str(), named["isolation.level"].as_str()), ("earliest", "read_committed"));
}

fn printed(options: &[&str], record: &Shown<'_>) -> String {
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    let formatter = Formatter::new(format::DEFAULT, &pairs::of_options(&options)).unwrap();
    let mut out = Vec::new();
    formatter.print(record, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn records_are_printed_as_kafka_prints_them() {
    let record = Shown {
        timestamp: Timestamp::Create(17),
        partition: 2,
        offset: 40,
        headers: vec![("a", Some(b"1")), ("b", None)],
        key: Some(b"k"),
        value: None,
    };
    assert_eq!(printed(&[], &record), "null\n");
    assert_eq!(printed(&["print.key=true", "key.separator= | ", "null.literal=NULL"], &record), "k | NULL\n");
    assert_eq!(
        printed(
            &[
                "print.timestamp=true",
                "print.partition=true",
                "print.offset=true",
                "print.epoch=true",
                "print.headers=true",
                "print.key=true"
            ],
            &record
        ),
        "CreateTime:17\tPartition:2\tOffset:40\tEpoch:NOT_PRESENT\ta:1,b:null\tk\tnull\n"
    );
    assert_eq!(printed(&["print.value=false", "print.offset=true", "line.separator=;"], &record), "Offset:40;");
    assert_eq!(printed(&["print.value=false"], &record), "");
    let bare = Shown { timestamp: Timestamp::None, partition: 0, offset: 0, headers: vec![], key: None, value: Some(b"v") };
    assert_eq!(printed(&["print.timestamp=true", "print.headers=true", "print.key=true"], &bare), "NO_TIMESTAMP\tNO_HEADERS\tnull\tv\n");
}

#[test]
fn a_formatter_may_print_nothing() {
    let formatter = Formatter::new("org.apache.kafka.tools.consumer.NoOpMessageFormatter", &Pairs::new()).unwrap();
    let mut out = Vec::new();
    let record = Shown { timestamp: Timestamp::None, partition: 0, offset: 0, headers: vec![], key: None, value: Some(b"v") };
    formatter.print(&record, &mut out).unwrap();
    assert!(out.is_empty());
}
