//! A checked value for every broker key, from which typed settings are read.
//!
//! Called by [`broker`](super::broker); calls [`table`](super::table).
//!
//! Invariants:
//! 1. Asking for a key the table does not have, or for another type than its row's, is a bug; no file and no flag can cause it.

use std::collections::BTreeMap;

use super::table::{self, Row};
use super::topic::default_value;
use super::value::Value;

/// What is set, over the table's defaults.
#[derive(Clone, Debug, Default)]
pub(super) struct Values {
    set: BTreeMap<&'static str, Value>,
}

const HOUR_MS: i64 = 3_600_000;
const MINUTE_MS: i64 = 60_000;

impl Values {
    pub(super) fn set(&mut self, row: &'static Row, value: Value) {
        self.set.insert(row.name, value);
    }

    pub(super) fn unset(&mut self, key: &str) {
        self.set.remove(key);
    }

    pub(super) fn is_set(&self, key: &str) -> bool {
        self.set.contains_key(key)
    }

    /// None only where the default is Kafka's null.
    pub(super) fn get(&self, key: &str) -> Option<Value> {
        let row = table::broker(key).unwrap_or_else(|| unreachable!("{key} has no row"));
        self.set.get(key).cloned().or_else(|| default_value(row))
    }

    pub(super) fn boolean(&self, key: &str) -> bool {
        match self.get(key) {
            Some(Value::Boolean(value)) => value,
            other => unreachable!("{key} is a boolean, not {other:?}"),
        }
    }

    /// An int, short or long.
    pub(super) fn number(&self, key: &str) -> i64 {
        self.number_if_any(key).unwrap_or_else(|| unreachable!("{key} is a number"))
    }

    fn number_if_any(&self, key: &str) -> Option<i64> {
        match self.get(key)? {
            Value::Int(value) => Some(i64::from(value)),
            Value::Short(value) => Some(i64::from(value)),
            Value::Long(value) => Some(value),
            other => unreachable!("{key} is a number, not {other:?}"),
        }
    }

    /// A number that has been checked not to be negative and is an int or short by its row.
    pub(super) fn u32(&self, key: &str) -> u32 {
        u32::try_from(self.number(key)).unwrap_or_else(|_| unreachable!("{key} fits 32 bits"))
    }

    /// A number that has been checked to fit.
    pub(super) fn u16(&self, key: &str) -> u16 {
        u16::try_from(self.number(key)).unwrap_or_else(|_| unreachable!("{key} fits 16 bits"))
    }

    /// A number that has been checked not to be negative.
    pub(super) fn u64(&self, key: &str) -> u64 {
        u64::try_from(self.number(key)).unwrap_or_else(|_| unreachable!("{key} is not negative"))
    }

    pub(super) fn double(&self, key: &str) -> f64 {
        match self.get(key) {
            Some(Value::Double(value)) => value,
            other => unreachable!("{key} is a double, not {other:?}"),
        }
    }

    /// None if null or empty.
    pub(super) fn text(&self, key: &str) -> Option<String> {
        match self.get(key)? {
            Value::Text(value) => Some(value).filter(|value| !value.is_empty()),
            other => unreachable!("{key} is a string, not {other:?}"),
        }
    }

    /// None if null.
    pub(super) fn list(&self, key: &str) -> Option<Vec<String>> {
        match self.get(key)? {
            Value::List(value) => Some(value),
            other => unreachable!("{key} is a list, not {other:?}"),
        }
    }

    /// The key that decides `row`'s setting, and its value in the unit of the first synonym.
    pub(super) fn first_of(&self, row: &Row) -> (&'static str, Option<Value>) {
        let names = table::synonyms(row);
        // The last synonym is the one with a default.
        let name = names.iter().copied().find(|name| self.get(name).is_some()).unwrap_or(names[0]);
        let scale = match name.rsplit('.').next() {
            Some("hours") => HOUR_MS,
            Some("minutes") => MINUTE_MS,
            _ => return (name, self.get(name)),
        };
        // An int times an hour fits a long.
        (name, self.number_if_any(name).map(|value| Value::Long(value * scale)))
    }
}
