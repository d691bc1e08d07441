use super::*;
use crate::cli::console::captured::{capture, parsed};

fn args(words: &str) -> Args {
    parsed(words)
}

/// What the tool says before it asks anyone.
fn refused(words: &str) -> String {
    let (ended, out, _) = capture(|console| run(&args(words), console));
    assert_eq!(out, "");
    match ended.unwrap_err() {
        Failure::Sentence(sentence) | Failure::Usage { sentence, .. } => sentence,
        other => panic!("{other:?}"),
    }
}

#[test]
fn contradictions_are_told_in_kafkas_sentences() {
    assert_eq!(refused("--topic a"), "Missing required argument \"[bootstrap-server]\"");
    for other in ["--topic t", "--partitions 0"] {
        assert_eq!(
            refused(&format!("--bootstrap-server a:1 --topic-partitions t:1 {other}")),
            "Error occurred: --topic-partitions cannot be used with --topic or --partitions"
        );
    }
    assert_eq!(
        refused("--bootstrap-server a:1 --time soon"),
        "Error occurred: Malformed time argument soon. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / \
         -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format timestamp"
    );
    assert_eq!(
        refused("--bootstrap-server a:1 --partitions 0,x"),
        "Error occurred: --partitions expects a comma separated list of numeric partition ids, but received: 0,x"
    );
    assert_eq!(refused("--bootstrap-server a:1 --topic ["), "Error occurred: [ is an invalid regex.");
}

#[test]
fn times_are_names_sentinels_or_milliseconds() {
    for (name, sentinel, spec) in [
        ("latest", "-1", OffsetSpec::Latest),
        ("earliest", "-2", OffsetSpec::Earliest),
        ("max-timestamp", "-3", OffsetSpec::MaxTimestamp),
        ("earliest-local", "-4", OffsetSpec::EarliestLocal),
        ("latest-tiered", "-5", OffsetSpec::LatestTiered),
        ("earliest-pending-upload", "-6", OffsetSpec::EarliestPendingUpload),
    ] {
        assert_eq!(parse_time(name).unwrap(), spec);
        assert_eq!(parse_time(sentinel).unwrap(), spec);
    }
    assert_eq!(args("--time -2").time, "-2");
    assert_eq!(args("--topic a").time, "latest");
    assert_eq!(parse_time("1700000000000").unwrap(), OffsetSpec::Timestamp(1_700_000_000_000));
    for bad in ["", "now", "1.5", "9223372036854775808"] {
        assert!(parse_time(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_topic_and_its_partitions_are_chosen() {
    let allows = |topic: Option<&str>, partitions: Option<&str>, name: &str, index: i32| {
        Filter::of_topic(topic, partitions).unwrap().allows(name, index)
    };
    assert!(allows(None, None, "any", 7) && allows(Some("a.*"), None, "any", 0) && !allows(Some("a"), None, "any", 0));
    assert!(allows(None, Some("0,2"), "t", 2) && !allows(None, Some("0,2"), "t", 1) && allows(None, Some("1,"), "t", 1));
    assert!(allows(None, Some(""), "t", 3) && allows(None, Some(","), "t", 3));
    for bad in ["x", ",1", "1,,2", " 1", "1-2"] {
        assert!(Filter::of_topic(None, Some(bad)).is_err(), "{bad}");
    }
}

#[test]
fn patterns_name_topics_and_partitions() {
    let chosen = |patterns: &str, name: &str| {
        let filter = Filter::of_patterns(patterns).unwrap();
        (0..8).filter(|&index| filter.allows(name, index)).collect::<Vec<_>>()
    };
    assert_eq!(chosen("t:1,t:3-5,u", "t"), [1, 3, 4]);
    assert_eq!(chosen("t:1,t:3-5,u", "u"), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(chosen(":6-", "any"), [6, 7]);
    assert_eq!(chosen("t.*:-2", "tea"), [0, 1]);
    assert_eq!(chosen("t:-,u:", "t").len(), 8);
    assert_eq!(chosen("", "t").len(), 8);
    assert_eq!(chosen("t:5-2", "t"), [] as [i32; 0]);
    let refused = |patterns: &str| Filter::of_patterns(patterns).unwrap_err().to_string();
    assert_eq!(refused("t:a"), "Invalid rule specification: t:a");
    assert_eq!(refused("t:1:2"), "Invalid rule specification: t:1:2");
    assert_eq!(refused("t:1-2-3"), "Invalid rule specification: t:1-2-3");
    assert_eq!(refused("t:99999999999"), "For input string: \"99999999999\"");
}
