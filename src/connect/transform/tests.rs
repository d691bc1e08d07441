use super::*;
use crate::connect::java_text;
use crate::connect::record::Header;

fn config(lines: &[&str]) -> Config {
    lines.iter().map(|line| line.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned())).unwrap()).collect()
}

fn line() -> Record {
    Record { partition: Some(3), ..Record::of_text("logs-eu", "hello".to_owned(), Some(0)) }
}

#[test]
fn a_line_is_hoisted_and_gets_fields() {
    let chain = Chain::new(&config(&[
        "transforms=hoist,insert",
        "transforms.hoist.type=org.apache.kafka.connect.transforms.HoistField$Value",
        "transforms.hoist.field=line",
        "transforms.insert.type=org.apache.kafka.connect.transforms.InsertField$Value",
        "transforms.insert.static.field=origin!",
        "transforms.insert.static.value=here",
        "transforms.insert.topic.field=topic",
        "transforms.insert.partition.field=partition",
        "transforms.insert.timestamp.field=at?",
        "transforms.insert.offset.field=offset",
    ]))
    .unwrap();
    let changed = chain.apply(line(), Some(7)).unwrap().unwrap();
    let printed = "Struct{line=hello,topic=logs-eu,partition=3,offset=7,at=Thu Jan 01 00:00:00 UTC 1970,origin=here}";
    assert_eq!(java_text::text(&changed.value), printed);
    let Kind::Struct(fields) = &changed.value_schema.unwrap().kind else { panic!("a struct") };
    let optional: Vec<(&str, bool)> = fields.iter().map(|(name, schema)| (name.as_str(), schema.optional)).collect();
    assert_eq!(optional, [("line", false), ("topic", true), ("partition", true), ("offset", true), ("at", true), ("origin", false)]);
    // A source knows no offset.
    assert!(chain.apply(line(), None).is_err());
}

#[test]
fn a_map_gets_fields_and_a_string_none() {
    let chain = Chain::new(&config(&[
        "transforms=i",
        "transforms.i.type=InsertField$Value",
        "transforms.i.static.field=a",
        "transforms.i.static.value=b",
    ]))
    .unwrap();
    let map = Record { value_schema: None, value: Value::Map(vec![(Value::String("a".to_owned()), Value::Int64(1))]), ..line() };
    assert_eq!(java_text::text(&chain.apply(map, None).unwrap().unwrap().value), "{a=b}");
    let misfit = chain.apply(line(), None).unwrap_err();
    assert_eq!(misfit.class, "org.apache.kafka.connect.transforms.InsertField$Value");
    let tombstone = Record { value: Value::Null, ..line() };
    assert_eq!(chain.apply(tombstone.clone(), None).unwrap(), Some(tombstone));
}

#[test]
fn topics_are_routed() {
    let routed = |regex: &str, replacement: &str| {
        let lines = [
            "transforms=r".to_owned(),
            "transforms.r.type=RegexRouter".to_owned(),
            format!("transforms.r.regex={regex}"),
            format!("transforms.r.replacement={replacement}"),
        ];
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        Chain::new(&config(&lines)).unwrap().apply(line(), None).unwrap().unwrap().topic
    };
    assert_eq!(routed("logs-(.*)", "all-$1x"), "all-eux");
    assert_eq!(routed("(.*)-(.*)", "$2\\$$1"), "eu$logs");
    assert_eq!(routed("logs", "never"), "logs-eu");
}

#[test]
fn a_filter_drops_what_its_predicate_finds() {
    let dropped = |predicate: &[&str], negate: &str, record: Record| {
        let mut lines = vec![
            "transforms=f",
            "transforms.f.type=org.apache.kafka.connect.transforms.Filter",
            "transforms.f.predicate=p",
            "predicates=p",
            negate,
        ];
        lines.extend(predicate);
        Chain::new(&config(&lines)).unwrap().apply(record, None).unwrap().is_none()
    };
    let (yes, no) = ("transforms.f.negate=false", "transforms.f.negate=true");
    let topic = ["predicates.p.type=org.apache.kafka.connect.transforms.predicates.TopicNameMatches", "predicates.p.pattern=logs-.*"];
    assert!(dropped(&topic, yes, line()) && !dropped(&topic, no, line()));
    let other = Record { topic: "my-logs-eu".to_owned(), ..line() };
    assert!(!dropped(&topic, yes, other));
    let tombstone = ["predicates.p.type=RecordIsTombstone"];
    assert!(dropped(&tombstone, yes, Record { value: Value::Null, ..line() }) && !dropped(&tombstone, yes, line()));
    let header = ["predicates.p.type=HasHeaderKey", "predicates.p.name=trace"];
    let traced = Record { headers: vec![Header { name: "trace".to_owned(), schema: None, value: Value::Null }], ..line() };
    assert!(dropped(&header, yes, traced) && !dropped(&header, yes, line()));
}

#[test]
fn what_is_wrong_is_named_by_its_key() {
    let error = |lines: &[&str]| Chain::new(&config(lines)).unwrap_err().remove(0).0;
    assert_eq!(error(&["transforms=a"]), "transforms.a.type");
    assert_eq!(error(&["transforms=a", "transforms.a.type=org.example.Own"]), "transforms.a.type");
    assert_eq!(error(&["transforms=a", "transforms.a.type=RegexRouter", "transforms.a.regex=x"]), "transforms.a.replacement");
    assert_eq!(
        error(&["transforms=a", "transforms.a.type=RegexRouter", "transforms.a.regex=[", "transforms.a.replacement=x"]),
        "transforms.a.regex"
    );
    assert_eq!(error(&["transforms=a", "transforms.a.type=Filter", "transforms.a.predicate=p"]), "predicates");
    assert_eq!(error(&["transforms=a", "transforms.a.type=InsertField$Key"]), "transforms.a.type");
}
