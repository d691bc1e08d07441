use super::*;
use crate::cli::console::captured::refusal;

fn refused(text: &str) -> String {
    offsets(text.as_bytes()).unwrap_err().to_string()
}

#[test]
fn a_file_names_partitions_and_offsets() {
    let file =
        r#"{"partitions": [{"topic": "a", "partition": 1, "offset": 7}, {"topic": "a", "partition": 0, "offset": -1}], "version": 1}"#;
    let wanted = BTreeMap::from([(("a".to_owned(), 0), -1), (("a".to_owned(), 1), 7)]);
    assert_eq!(offsets(file.as_bytes()).unwrap(), wanted);
    assert_eq!(offsets(br#"{"partitions": []} and more"#).unwrap(), BTreeMap::new());
}

#[test]
fn a_wrong_file_is_told_in_kafkas_sentences() {
    for text in ["", "{", "not json"] {
        assert_eq!(refused(text), "The input string is not a valid JSON");
    }
    assert_eq!(refused("[1]"), "Expected JSON object, received [1]");
    assert_eq!(refused("{}"), "Missing partitions field");
    assert_eq!(refused(r#"{"version": 2}"#), "Not supported version field value 2");
    assert_eq!(refused(r#"{"version": "1"}"#), "Expected `Integer` value, received \"1\"");
    assert_eq!(refused(r#"{"partitions": 3}"#), "Expected JSON array, received 3");
    assert_eq!(refused(r#"{"partitions": [3]}"#), "Expected JSON object, received 3");
    let entry = |fields: &str| format!("{{\"partitions\": [{{{fields}}}]}}");
    assert_eq!(refused(&entry("")), "No such field exists: `topic`");
    assert_eq!(refused(&entry(r#""topic": 1"#)), "Expected `String` value, received 1");
    assert_eq!(refused(&entry(r#""topic": "a""#)), "No such field exists: `partition`");
    assert_eq!(refused(&entry(r#""topic": "a", "partition": 1.5"#)), "Expected `Integer` value, received 1.5");
    assert_eq!(refused(&entry(r#""topic": "a", "partition": 0"#)), "No such field exists: `offset`");
    assert_eq!(refused(&entry(r#""topic": "a", "partition": 0, "offset": null"#)), "Expected `Long` value, received null");
    let twice = r#"{"partitions": [{"topic": "a", "partition": 1, "offset": 7}, {"topic": "a", "partition": 1, "offset": 8}]}"#;
    assert_eq!(refused(twice), "Offset json file contains duplicate topic partitions: a-1");
}

#[test]
fn both_options_are_required_and_the_file_is_read_before_anyone_is_asked() {
    let refused = |args: Args| refusal(|console| run(&args, console));
    assert_eq!(refused(Args::default()), "Missing required argument \"[bootstrap-server]\"");
    let connection = || cluster::Connection::to("127.0.0.1:1");
    assert_eq!(refused(Args { connection: connection(), ..Args::default() }), "Missing required argument \"[offset-json-file]\"");
    let sentence = refused(Args { connection: connection(), offset_json_file: Some("/nowhere/at.all".into()) });
    assert!(sentence.starts_with("cannot read /nowhere/at.all: "), "{sentence}");
}
