//! The table of properties: one row per key, from which every check, every default and every DescribeConfigs answer comes.
//!
//! Read by the resolvers beside it ([`broker`](super::broker), [`topic`](super::topic), [`describe`](super::describe)); calls nothing
//! but [`value`](super::value). To add a key, add a row; to serve one that is only known, change its last word.
//!
//! Invariants (tested over every row):
//! 1. A name stands in one place only, and a row's default is a value its own type and range allow.
//! 2. The rows are Kafka 4.3.1's, fact by fact, but for four defaults of our own: `listeners`, `log.dir`, `node.id` and
//!    `process.roles`, so that the broker starts without a file, on the loopback address, with its data in the working directory
//!    rather than in one that a restart of the machine empties; and but for `internal.segment.bytes`, which here is at least 1.
//! 3. A topic row's twin names the broker row that holds its default (KIP-226's synonyms).

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::value::{Allowed, Kind};

mod cluster;
mod group;
mod group_resource;
mod internal;
mod log;
mod network;
mod ottla;
mod remote;
mod security;
mod share;
mod topic;
mod transaction;

#[cfg(test)]
mod tests;

/// One property.
#[derive(Debug, PartialEq)]
pub struct Row {
    pub name: &'static str,
    pub kind: Kind,
    /// In the form a file would have it; none is Kafka's null.
    pub default: Option<&'static str>,
    pub allowed: Allowed,
    /// Of a topic's or a group's key: the broker key that holds its default. What comes before that one is in [`synonyms`].
    pub twin: Option<&'static str>,
    pub importance: Importance,
    pub dynamic: Dynamic,
    pub served: Served,
    pub origin: Origin,
    pub doc: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Importance {
    High,
    Medium,
    Low,
}

/// What a running broker lets be changed, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dynamic {
    /// At the next start.
    ReadOnly,
    /// At once, for one broker by its id.
    PerBroker,
    /// At once, for one broker or for all of them.
    ClusterWide,
}

/// What this broker does with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Acts on it.
    Served,
    /// Knows and checks it, and says once that it has no effect: it sizes something that is not built like Kafka's.
    SizesOnly,
    /// Refuses to start with any value but the default: the key promises a safety that is not there.
    Refused,
}

/// Where a key comes from, which decides whether it is described when nobody set it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Kafka's, documented.
    Kafka,
    /// Kafka's own tests and tuning; described only where set.
    Internal,
    /// Kafka's, but never read from a file: set on a running broker only.
    DynamicOnly,
    /// Ours; the name begins with `ottla.`.
    Ottla,
    /// Known from older files or from Kafka's plug-ins; Kafka 4.3.1 has no such row.
    Foreign,
}

impl Origin {
    /// Whether a broker's description names the key even where nobody set it.
    pub const fn is_always_described(self) -> bool {
        matches!(self, Origin::Kafka | Origin::Ottla)
    }
}

/// Rows in the order of their names. The macro is indented by hand: two lines per row.
macro_rules! rows {
    ($origin:ident; $($name:literal, $kind:ident = $default:tt, $allowed:expr $(=> $twin:tt)?, $importance:ident, $dynamic:ident,
        $served:ident, $doc:literal;)*) => {
        &[$($crate::config::table::Row {
            name: $name,
            kind: $crate::config::value::Kind::$kind,
            default: $crate::config::table::rows!(@text $default),
            allowed: $allowed,
            twin: $crate::config::table::rows!(@twin $($twin)?),
            importance: $crate::config::table::Importance::$importance,
            dynamic: $crate::config::table::Dynamic::$dynamic,
            served: $crate::config::table::Served::$served,
            origin: $crate::config::table::Origin::$origin,
            doc: $doc,
        }),*]
    };
    (@text null) => { None };
    (@text $text:literal) => { Some($text) };
    (@twin) => { None };
    (@twin null) => { None };
    (@twin $text:literal) => { Some($text) };
}
use rows;

/// The keys a topic can override.
pub const TOPIC: &[Row] = topic::ROWS;

/// The keys a group can override.
pub const GROUP: &[Row] = group_resource::ROWS;

const BROKER: &[&[Row]] = &[
    cluster::ROWS,
    group::ROWS,
    internal::ROWS,
    log::ROWS,
    network::ROWS,
    ottla::ROWS,
    ottla::DYNAMIC_ONLY,
    ottla::FOREIGN,
    remote::ROWS,
    security::ROWS,
    share::ROWS,
    transaction::ROWS,
];

static BROKER_BY_NAME: LazyLock<BTreeMap<&'static str, &'static Row>> =
    LazyLock::new(|| BROKER.iter().flat_map(|rows| rows.iter()).map(|row| (row.name, row)).collect());

static TOPIC_BY_NAME: LazyLock<BTreeMap<&'static str, &'static Row>> = LazyLock::new(|| TOPIC.iter().map(|row| (row.name, row)).collect());

/// The broker's row of that name.
pub fn broker(name: &str) -> Option<&'static Row> {
    BROKER_BY_NAME.get(name).copied()
}

/// The topic's row of that name.
pub fn topic(name: &str) -> Option<&'static Row> {
    TOPIC_BY_NAME.get(name).copied()
}

/// The group's row of that name.
pub fn group(name: &str) -> Option<&'static Row> {
    GROUP.iter().find(|row| row.name == name)
}

/// Every broker row, by name.
pub fn broker_rows() -> impl Iterator<Item = &'static Row> {
    BROKER_BY_NAME.values().copied()
}

/// Keys that hold one setting in several units or under several names, the first one set being obeyed.
const SYNONYMS: [&[&str]; 4] = [
    &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
    &["log.roll.ms", "log.roll.hours"],
    &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"],
];

/// The names under which `row`'s setting is looked for, in order of precedence; its own alone for most.
///
/// `log.flush.scheduler.interval.ms` stands behind `log.flush.interval.ms` but is a setting of its own as well.
pub fn synonyms(row: &Row) -> Vec<&'static str> {
    match SYNONYMS.iter().find(|group| group.contains(&row.name)) {
        Some(group) if row.name != "log.flush.scheduler.interval.ms" => group.to_vec(),
        _ => vec![row.name],
    }
}

/// A key for one listener, `listener.name.NAME.KEY`, split into the listener's name and the key it overrides.
pub fn split_listener_key(name: &str) -> Option<(&str, &str)> {
    name.strip_prefix("listener.name.")?.split_once('.')
}
