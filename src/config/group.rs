//! Overrides of one group: what Kafka would take, and in which words it refuses the rest.
//!
//! Called by the controller's decisions; calls [`table`](super::table). All keys are of the newer group protocols: a classic group has
//! nothing that could be set.
//!
//! KIPs: 848 (consumer groups), 932 (share groups), 1071 (streams groups).

use std::collections::BTreeMap;

use super::describe::Layers;
use super::table::{self, Row};
use super::value::{self, Value};

const AUTO_OFFSET_RESET: &str = "share.auto.offset.reset";

/// Keys whose values the broker bounds, in the order in which Kafka looks.
const BOUNDED: [&str; 13] = [
    "consumer.heartbeat.interval.ms",
    "consumer.session.timeout.ms",
    "consumer.assignment.interval.ms",
    "share.heartbeat.interval.ms",
    "share.session.timeout.ms",
    "share.record.lock.duration.ms",
    "share.delivery.count.limit",
    "share.partition.max.record.locks",
    "share.assignment.interval.ms",
    "streams.heartbeat.interval.ms",
    "streams.session.timeout.ms",
    STANDBY_REPLICAS,
    "streams.assignment.interval.ms",
];

const STANDBY_REPLICAS: &str = "streams.num.standby.replicas";

/// Pairs of which the first must be greater.
const GREATER: [(&str, &str); 3] = [
    ("consumer.session.timeout.ms", "consumer.heartbeat.interval.ms"),
    ("share.session.timeout.ms", "share.heartbeat.interval.ms"),
    ("streams.session.timeout.ms", "streams.heartbeat.interval.ms"),
];

/// Checks all the overrides a group would have, together; answers Kafka's sentence.
pub fn validate_group_configs(overrides: &BTreeMap<String, String>, layers: &Layers<'_>) -> Result<(), String> {
    if let Some(unknown) = overrides.keys().find(|key| table::group(key).is_none()) {
        return Err(format!("Unknown group config name: {unknown}"));
    }
    for (key, text) in overrides {
        if let Some(row) = table::group(key) {
            parse(row, text)?;
        }
    }
    let in_force = |key: &str| match overrides.get(key) {
        Some(text) => table::group(key).and_then(|row| number(row, text)),
        None => layers.number(table::group(key)?.twin?),
    };
    for key in BOUNDED {
        // What nobody set for the group is the broker's to have checked.
        let Some(value) = overrides.get(key).and_then(|_| in_force(key)) else { continue };
        let (least, most) = (bound(key, "min"), bound(key, "max"));
        if layers.number(&least).is_some_and(|least| value < least) {
            return Err(format!("{key} must be greater than or equal to {least}"));
        }
        if layers.number(&most).is_some_and(|most| value > most) {
            return Err(format!("{key} must be less than or equal to {most}"));
        }
    }
    for (greater, less) in GREATER {
        let touched = overrides.contains_key(greater) || overrides.contains_key(less);
        if touched && in_force(greater).zip(in_force(less)).is_some_and(|(greater, less)| greater <= less) {
            return Err(format!("{greater} must be greater than {less}"));
        }
    }
    Ok(())
}

/// The broker's key that bounds a group's.
fn bound(key: &str, side: &str) -> String {
    let bounded = if key == STANDBY_REPLICAS { "streams.standby.replicas" } else { key };
    let (kind, rest) = bounded.split_once('.').unwrap_or((bounded, ""));
    format!("group.{kind}.{side}.{rest}")
}

fn parse(row: &Row, text: &str) -> Result<Value, String> {
    let value = value::parse(row.name, row.kind, &row.allowed, text).map_err(|error| error.to_string())?;
    match &value {
        Value::Text(strategy) if row.name == AUTO_OFFSET_RESET && !is_reset_strategy(strategy) => {
            let reason = "The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.";
            let invalid = format!("Invalid value `{strategy}` for configuration {AUTO_OFFSET_RESET}. {reason}");
            Err(format!("Invalid value {strategy} for configuration {AUTO_OFFSET_RESET}: {invalid}"))
        }
        _ => Ok(value),
    }
}

fn number(row: &Row, text: &str) -> Option<i64> {
    match parse(row, text) {
        Ok(Value::Int(value)) => Some(value.into()),
        _ => None,
    }
}

fn is_reset_strategy(text: &str) -> bool {
    matches!(text, "earliest" | "latest") || text.strip_prefix("by_duration:").is_some_and(is_duration)
}

/// Whether this is a time of ISO 8601 as Java reads one, days the largest unit, and not negative.
fn is_duration(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    let Some(rest) = text.strip_prefix('P') else { return false };
    let (days, time) = match rest.split_once('T') {
        Some((days, time)) if !time.is_empty() => (days, time),
        Some(_) => return false,
        None => (rest, ""),
    };
    let whole = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let days_fit = days.is_empty() || days.strip_suffix('D').is_some_and(whole);
    let mut left = time;
    for unit in ['H', 'M'] {
        if let Some((count, behind)) = left.split_once(unit) {
            if !whole(count) {
                return false;
            }
            left = behind;
        }
    }
    let seconds = |text: &str| {
        let (count, fraction) = text.split_once(['.', ',']).unwrap_or((text, ""));
        whole(count) && fraction.len() <= 9 && fraction.bytes().all(|byte| byte.is_ascii_digit())
    };
    days_fit && !rest.is_empty() && (left.is_empty() || left.strip_suffix('S').is_some_and(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn validate(overrides: &[(&str, &str)]) -> Result<(), String> {
        let given = BTreeMap::from([("group.consumer.max.session.timeout.ms".to_owned(), "90000".to_owned())]);
        let nothing = BTreeMap::new();
        let layers = Layers { broker: &nothing, all_brokers: &nothing, given: &given };
        let overrides = overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        validate_group_configs(&overrides, &layers)
    }

    #[test]
    fn groups_take_what_kafka_takes() {
        for set in [
            &[("consumer.session.timeout.ms", "50000")][..],
            &[("consumer.session.timeout.ms", "90000")],
            &[("share.auto.offset.reset", "by_duration:PT1H")],
            &[("streams.initial.rebalance.delay.ms", "5"), ("share.isolation.level", "read_committed")],
        ] {
            assert_eq!(validate(set), Ok(()), "{set:?}");
        }
    }

    #[test]
    fn refusals_are_in_kafkas_words() {
        let reset = "Invalid value never for configuration share.auto.offset.reset: Invalid value `never` for configuration \
                     share.auto.offset.reset. The value must be either 'earliest', 'latest' or of the format \
                     'by_duration:<PnDTnHnMn.nS>'.";
        for (key, value, refusal) in [
            ("no.such", "1", "Unknown group config name: no.such"),
            (
                "consumer.session.timeout.ms",
                "abc",
                "Invalid value abc for configuration consumer.session.timeout.ms: Not a number of type INT",
            ),
            ("consumer.session.timeout.ms", "0", "Invalid value 0 for configuration consumer.session.timeout.ms: Value must be at least 1"),
            (
                "consumer.session.timeout.ms",
                "1",
                "consumer.session.timeout.ms must be greater than or equal to group.consumer.min.session.timeout.ms",
            ),
            (
                "consumer.session.timeout.ms",
                "90001",
                "consumer.session.timeout.ms must be less than or equal to group.consumer.max.session.timeout.ms",
            ),
            (
                "share.delivery.count.limit",
                "100",
                "share.delivery.count.limit must be less than or equal to group.share.max.delivery.count.limit",
            ),
            (
                "streams.num.standby.replicas",
                "3",
                "streams.num.standby.replicas must be less than or equal to group.streams.max.standby.replicas",
            ),
            ("share.auto.offset.reset", "never", reset),
            (
                "share.isolation.level",
                "x",
                "Invalid value x for configuration share.isolation.level: String must be one of: read_committed, read_uncommitted",
            ),
        ] {
            assert_eq!(validate(&[(key, value)]), Err(refusal.to_owned()));
        }
    }

    #[test]
    fn durations_are_javas() {
        for text in ["PT1H", "P1D", "PT20.345S", "P2DT3H4M", "pt1m", "PT0S"] {
            assert!(is_duration(text), "{text}");
        }
        for text in ["", "P", "PT", "1H", "PT-1H", "-PT1H", "P1W", "PT1H2", "PT1S2M", "P1DT", "PT1.2H"] {
            assert!(!is_duration(text), "{text}");
        }
    }
}
