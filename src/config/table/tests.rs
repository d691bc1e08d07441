use std::collections::BTreeSet;

use super::*;
use crate::config::value;

fn all() -> impl Iterator<Item = &'static Row> {
    BROKER.iter().flat_map(|rows| rows.iter()).chain(TOPIC)
}

#[test]
fn every_default_is_a_value_of_its_own_row() {
    for row in all() {
        let Some(default) = row.default else { continue };
        let value = value::parse(row.name, row.kind, &row.allowed, default).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(value.to_string(), default, "{} is not in the form it is printed in", row.name);
    }
}

#[test]
fn every_range_fits_its_type() {
    for row in all() {
        let fits = match row.allowed {
            Allowed::Any => true,
            Allowed::AtLeast(_) | Allowed::Between(..) => matches!(row.kind, Kind::Int | Kind::Short | Kind::Long),
            Allowed::Ratio(..) => row.kind == Kind::Double,
            Allowed::GzipLevel => row.kind == Kind::Int,
            Allowed::NonEmpty | Allowed::OneOf(_) | Allowed::OneOfAnyCase(_) => row.kind == Kind::Text,
            Allowed::Each(_) | Allowed::EachOrNone(_) | Allowed::ThrottledReplicas => row.kind == Kind::List,
        };
        assert!(fits, "{}: {:?} on {:?}", row.name, row.allowed, row.kind);
    }
}

#[test]
fn any_text_is_read_or_refused_by_every_row() {
    for row in all() {
        for text in ["", " ", "-1", "0", "1", "x", "true", "1.5", ",", "a,b", "99999999999999999999", "\u{e9}"] {
            let _ = value::parse(row.name, row.kind, &row.allowed, text);
        }
    }
}

#[test]
fn rows_stand_once_and_in_order() {
    for rows in BROKER.iter().chain([&TOPIC]) {
        assert!(rows.is_sorted_by(|one, next| one.name < next.name), "after {}", rows[0].name);
    }
    let names: Vec<_> = BROKER.iter().flat_map(|rows| rows.iter()).map(|row| row.name).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
}

#[test]
fn the_rows_are_those_of_kafka_4_3_1_and_ours() {
    let count = |origin: Origin| broker_rows().filter(|row| row.origin == origin).count();
    assert_eq!((count(Origin::Kafka), count(Origin::Internal)), (340, 20));
    // 33 documented keys and internal.segment.bytes.
    assert_eq!(TOPIC.len(), 34);
    assert!(broker_rows().all(|row| (row.origin == Origin::Ottla) == row.name.starts_with("ottla.")));
    let dynamic = broker_rows().filter(|row| row.dynamic != Dynamic::ReadOnly).count();
    assert_eq!(dynamic, 102);
}

#[test]
fn a_twin_has_the_type_and_the_default_of_its_topic_key() {
    for row in TOPIC.iter().chain(GROUP) {
        let Some(twin) = row.twin else { continue };
        let twin = broker(twin).unwrap_or_else(|| panic!("{} has no row for its twin", row.name));
        assert_eq!(twin.kind, row.kind, "{}", row.name);
        if synonyms(twin).len() == 1 {
            assert_eq!(twin.default, row.default, "{}", row.name);
        }
    }
    for group in SYNONYMS {
        assert!(group.iter().all(|name| broker(name).is_some()));
        // The last one always has a value.
        assert!(group.last().and_then(|name| broker(name)).is_some_and(|row| row.default.is_some()));
    }
}

#[test]
fn docs_are_one_sentence() {
    for row in all() {
        assert!(row.doc.ends_with('.') && !row.doc.contains(". "), "{}: {}", row.name, row.doc);
        assert!(row.doc.starts_with(|c: char| c.is_uppercase()), "{}: {}", row.name, row.doc);
    }
}
