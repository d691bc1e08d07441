//! One value of one property: its type, what it may be, and the text Kafka would print for it.
//!
//! Called by every part of this layer; calls nothing.
//!
//! Invariants:
//! 1. A refusal carries the sentence Kafka 4.3.1 answers, as clients and their tests compare it.
//! 2. `Display` of a value is what DescribeConfigs answers: trimmed, lists joined by a bare comma, doubles in Java's form. Reading it
//!    back gives an equal value.

use std::fmt;

/// Type of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    Text,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

impl Kind {
    /// As DescribeConfigs says it from version 3 on.
    pub const fn code(self) -> i8 {
        match self {
            Kind::Boolean => 1,
            Kind::Text => 2,
            Kind::Int => 3,
            Kind::Short => 4,
            Kind::Long => 5,
            Kind::Double => 6,
            Kind::List => 7,
            Kind::Class => 8,
            Kind::Password => 9,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "BOOLEAN",
            Kind::Text => "STRING",
            Kind::Int => "INT",
            Kind::Short => "SHORT",
            Kind::Long => "LONG",
            Kind::Double => "DOUBLE",
            Kind::List => "LIST",
            Kind::Class => "CLASS",
            Kind::Password => "PASSWORD",
        }
    }
}

/// What a value of the right type may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowed {
    Any,
    AtLeast(i64),
    /// Both ends included.
    Between(i64, i64),
    /// Both ends included.
    Ratio(f64, f64),
    /// 1 to 9, or -1 for the codec's own default.
    GzipLevel,
    NonEmpty,
    OneOf(&'static [&'static str]),
    OneOfAnyCase(&'static [&'static str]),
    /// A list with at least one element, each one of these, or any where none is named.
    Each(&'static [&'static str]),
    /// The same, or an empty list.
    EachOrNone(&'static [&'static str]),
    /// `*`, or pairs of partition and broker.
    ThrottledReplicas,
}

/// A value that has passed its row's checks.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Boolean(bool),
    /// Also a class name, or a password.
    Text(String),
    Int(i32),
    Short(i16),
    Long(i64),
    Double(f64),
    List(Vec<String>),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Boolean(value) => fmt::Display::fmt(value, f),
            Value::Text(value) => f.write_str(value),
            Value::Int(value) => fmt::Display::fmt(value, f),
            Value::Short(value) => fmt::Display::fmt(value, f),
            Value::Long(value) => fmt::Display::fmt(value, f),
            Value::Double(value) => f.write_str(&java_double(*value)),
            Value::List(value) => f.write_str(&value.join(",")),
        }
    }
}

/// Why a text is not a value of a property; both parts are Kafka's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("Invalid value {value} for configuration {key}: {reason}")]
    Invalid { key: String, value: String, reason: String },
    #[error("Configuration '{key}' {reason}")]
    List { key: String, reason: String },
}

impl ValueError {
    /// The part behind the key and the value.
    pub fn reason(&self) -> &str {
        match self {
            ValueError::Invalid { reason, .. } | ValueError::List { reason, .. } => reason,
        }
    }
}

/// Reads `text` as a value of the property `key`.
pub fn parse(key: &str, kind: Kind, allowed: &Allowed, text: &str) -> Result<Value, ValueError> {
    let trimmed = java_trim(text);
    let invalid = |reason: String| ValueError::Invalid { key: key.to_owned(), value: text.to_owned(), reason };
    let not_a_number = || invalid(format!("Not a number of type {}", kind.name()));
    let value = match kind {
        Kind::Boolean if trimmed.eq_ignore_ascii_case("true") => Value::Boolean(true),
        Kind::Boolean if trimmed.eq_ignore_ascii_case("false") => Value::Boolean(false),
        Kind::Boolean => return Err(invalid("Expected value to be either true or false".to_owned())),
        Kind::Text | Kind::Class | Kind::Password => Value::Text(trimmed.to_owned()),
        Kind::Int => Value::Int(trimmed.parse().map_err(|_| not_a_number())?),
        Kind::Short => Value::Short(trimmed.parse().map_err(|_| not_a_number())?),
        Kind::Long => Value::Long(trimmed.parse().map_err(|_| not_a_number())?),
        Kind::Double => Value::Double(parse_java_double(trimmed).ok_or_else(not_a_number)?),
        Kind::List => Value::List(split_list(trimmed)),
    };
    check(key, allowed, value)
}

fn check(key: &str, allowed: &Allowed, value: Value) -> Result<Value, ValueError> {
    let invalid = |value: &dyn fmt::Display, reason: String| ValueError::Invalid { key: key.to_owned(), value: value.to_string(), reason };
    let reason = match (allowed, &value) {
        (Allowed::Any, _) => None,
        (Allowed::AtLeast(from), value) => below(value, *from),
        (Allowed::Between(from, to), value) => below(value, *from).or_else(|| above(value, *to)),
        (Allowed::Ratio(from, to), Value::Double(value)) => {
            // Not a number is below any bound, though Java's comparison lets it pass.
            if *value < *from || value.is_nan() {
                Some(format!("Value must be at least {from}"))
            } else {
                (*value > *to).then(|| format!("Value must be no more than {to}"))
            }
        }
        (Allowed::GzipLevel, Value::Int(level)) => {
            (*level != -1 && !(1..=9).contains(level)).then(|| "Value must be between 1 and 9 or equal to -1".to_owned())
        }
        (Allowed::NonEmpty, Value::Text(text)) => text.is_empty().then(|| "String must be non-empty".to_owned()),
        (Allowed::OneOf(names), Value::Text(text)) => {
            (!names.contains(&text.as_str())).then(|| format!("String must be one of: {}", names.join(", ")))
        }
        (Allowed::OneOfAnyCase(names), Value::Text(text)) => (!names.iter().any(|name| name.eq_ignore_ascii_case(text)))
            .then(|| format!("String must be one of (case insensitive): {}", names.join(", "))),
        (Allowed::Each(names) | Allowed::EachOrNone(names), Value::List(_)) => {
            let may_be_empty = matches!(allowed, Allowed::EachOrNone(_));
            return check_each(key, names, may_be_empty, value);
        }
        (Allowed::ThrottledReplicas, Value::List(list)) => {
            if !are_throttled_replicas(list) {
                let reason = format!(
                    "{key} must be the literal '*' or a list of replicas in the following format: \
                     [partitionId]:[brokerId],[partitionId]:[brokerId],..."
                );
                return Err(invalid(&format_args!("[{}]", list.join(", ")), reason));
            }
            None
        }
        (allowed, value) => unreachable!("the row of {key} allows {allowed:?} but holds {value:?}"),
    };
    match reason {
        None => Ok(value),
        Some(reason) => Err(invalid(&value, reason)),
    }
}

fn check_each(key: &str, names: &[&str], may_be_empty: bool, value: Value) -> Result<Value, ValueError> {
    let Value::List(list) = value else { return Ok(value) };
    let refuse = |reason: String| ValueError::List { key: key.to_owned(), reason };
    if list.is_empty() && !may_be_empty {
        let valid = if names.is_empty() { "any non-empty value".to_owned() } else { format!("[{}]", names.join(", ")) };
        return Err(refuse(format!("must not be empty. Valid values include: {valid}")));
    }
    if list.iter().any(String::is_empty) {
        return Err(refuse("values must not be empty.".to_owned()));
    }
    let mut kept: Vec<String> = Vec::with_capacity(list.len());
    for element in list {
        if !names.is_empty() && !names.contains(&element.as_str()) {
            let reason = format!("String must be one of: {}", names.join(", "));
            return Err(ValueError::Invalid { key: key.to_owned(), value: element, reason });
        }
        if !kept.contains(&element) {
            kept.push(element);
        }
    }
    Ok(Value::List(kept))
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Int(value) => Some(i64::from(*value)),
        Value::Short(value) => Some(i64::from(*value)),
        Value::Long(value) => Some(*value),
        _ => None,
    }
}

fn below(value: &Value, from: i64) -> Option<String> {
    integer(value).filter(|&value| value < from).map(|_| format!("Value must be at least {from}"))
}

fn above(value: &Value, to: i64) -> Option<String> {
    integer(value).filter(|&value| value > to).map(|_| format!("Value must be no more than {to}"))
}

fn are_throttled_replicas(list: &[String]) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_pair = |text: &str| text.split_once(':').is_some_and(|(partition, broker)| is_number(partition) && is_number(broker));
    matches!(list, [only] if only == "*") || list.iter().all(|element| element.is_empty() || is_pair(element))
}

/// Java's `trim`: everything up to the space goes, and nothing above it.
pub(super) fn java_trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

fn split_list(trimmed: &str) -> Vec<String> {
    if trimmed.is_empty() { Vec::new() } else { trimmed.split(',').map(|element| java_trim(element).to_owned()).collect() }
}

/// Decimal forms of Java's `Double.parseDouble`, its type suffixes included; hexadecimal ones are left out.
fn parse_java_double(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned == "NaN" || unsigned == "Infinity" {
        return text.parse().ok();
    }
    let digits = text.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(text);
    let is_decimal = digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'+' | b'-' | b'e' | b'E'));
    if is_decimal { digits.parse().ok() } else { None }
}

/// Java's `Double.toString`: always a fraction, and an exponent outside 1e-3 to 1e7.
fn java_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        return format!("{value:?}");
    }
    let text = format!("{value:E}");
    match text.split_once('E') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0E{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_read_and_print_as_in_java() {
        for (text, printed) in [
            ("0.5", "0.5"),
            ("0.70", "0.7"),
            ("1", "1.0"),
            ("1e-1", "0.1"),
            ("0.5f", "0.5"),
            (".5", "0.5"),
            ("1.", "1.0"),
            ("+.5e0", "0.5"),
            ("12345678", "1.2345678E7"),
            ("10000000", "1.0E7"),
            ("0.0001", "1.0E-4"),
            ("1.7976931348623157E308", "1.7976931348623157E308"),
        ] {
            let value = parse("k", Kind::Double, &Allowed::Any, text).unwrap();
            assert_eq!(value.to_string(), printed, "{text}");
            assert_eq!(parse("k", Kind::Double, &Allowed::Any, printed).unwrap(), value);
        }
        for text in ["", "x", "inf", "nan", "infinity", "1_0", "e", "0x1p-1"] {
            assert_eq!(parse("k", Kind::Double, &Allowed::Any, text).unwrap_err().reason(), "Not a number of type DOUBLE", "{text}");
        }
    }

    #[test]
    fn a_ratio_is_a_number_between_its_ends() {
        for text in ["NaN", "-0.1", "1.1", "Infinity"] {
            assert!(parse("k", Kind::Double, &Allowed::Ratio(0.0, 1.0), text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_may_be_compared_in_any_case() {
        let allowed = Allowed::OneOfAnyCase(&["UPGRADE"]);
        assert!(parse("k", Kind::Text, &allowed, "upgrade").is_ok());
        let refusal = parse("k", Kind::Text, &allowed, "up").unwrap_err();
        assert_eq!(refusal.to_string(), "Invalid value up for configuration k: String must be one of (case insensitive): UPGRADE");
    }
}
