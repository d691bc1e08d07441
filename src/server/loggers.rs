//! The loggers of this process and their levels, as clients see and set them: one for each part that writes log lines, and the root for
//! all the rest.
//!
//! Told by `cli`, which makes the log, how to put levels in force; read and changed by DescribeConfigs and IncrementalAlterConfigs on any
//! shard, and by the REST API of `connect`. The log is the process', so this is too: the one thing of the broker that shards share.
//!
//! Invariants:
//! 1. A level set here wins over what the process was started with, and ends with the process.
//!
//! KIPs: 412.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::config::describe::{Entry, Source};
use crate::metadata::decision::Refused;
use crate::wire::error::ErrorCode;

pub const ROOT: &str = "root";

/// What writes log lines in a broker, by the names clients know it by.
pub const OF_BROKER: &[&str] = &["ottla.metadata", "ottla.partition", "ottla.server", "ottla.shard", "ottla.storage"];

/// How much a logger lets through.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    /// Nothing: no line here is worse than an error.
    Fatal,
}

impl Level {
    const ALL: [Level; 6] = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Fatal];

    /// Kafka's name.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Trace => "TRACE",
            Level::Debug => "DEBUG",
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
            Level::Fatal => "FATAL",
        }
    }

    /// The word for it in a directive of `OTTLA_LOG`.
    const fn word(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Fatal => "off",
        }
    }

    pub fn of_name(name: &str) -> Option<Level> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }

    fn of_word(word: &str) -> Option<Level> {
        Self::ALL.into_iter().find(|level| level.word().eq_ignore_ascii_case(word))
    }
}

/// Puts directives in force, written as in `OTTLA_LOG`.
type PutInForce = Box<dyn Fn(&str) + Send + Sync>;

pub struct Loggers {
    /// Every logger but the root.
    names: &'static [&'static str],
    /// What the process was started with, as in `OTTLA_LOG`.
    started_with: String,
    set: Mutex<BTreeMap<String, Level>>,
    put_in_force: PutInForce,
}

static LOGGERS: OnceLock<Loggers> = OnceLock::new();

/// Tells, once, what the log was started with and how to change that.
pub fn install(names: &'static [&'static str], started_with: &str, put_in_force: impl Fn(&str) + Send + Sync + 'static) {
    // A log that is there already goes on as it is.
    let _already = LOGGERS.set(Loggers::new(names, started_with, Box::new(put_in_force)));
}

/// The loggers of this process. Without a log, as in the simulator, levels have no effect.
pub fn loggers() -> &'static Loggers {
    LOGGERS.get_or_init(|| Loggers::new(OF_BROKER, Level::Info.word(), Box::new(|_| {})))
}

impl Loggers {
    fn new(names: &'static [&'static str], started_with: &str, put_in_force: PutInForce) -> Self {
        Self { names, started_with: started_with.to_owned(), set: Mutex::default(), put_in_force }
    }

    /// The level named, if the logger may be set to it.
    pub fn check_set(&self, logger: &str, level: &str) -> Result<Level, Refused> {
        self.exists(logger)?;
        Level::of_name(level).ok_or_else(|| {
            let text = format!(
                "Cannot set the log level of {logger} to {level} as it is not a supported log level. Valid log levels are DEBUG, ERROR, \
                 FATAL, INFO, TRACE, WARN"
            );
            Refused::new(ErrorCode::InvalidConfig, text)
        })
    }

    /// Whether the logger's level may be taken away, so that it has the root's.
    pub fn check_unset(&self, logger: &str) -> Result<(), Refused> {
        self.exists(logger)?;
        if logger == ROOT {
            return Err(Refused::new(ErrorCode::InvalidRequest, "Removing the log level of the root logger is not allowed"));
        }
        Ok(())
    }

    /// Sets levels, or takes them away.
    pub fn set(&self, levels: &[(&str, Option<Level>)]) {
        let mut set = self.lock();
        for (logger, level) in levels {
            match level {
                Some(level) => set.insert((*logger).to_owned(), *level),
                None => set.remove(*logger),
            };
        }
        (self.put_in_force)(&self.directives(&set));
        drop(set);
        for (logger, level) in levels {
            tracing::warn!("the level of the logger {logger} is now {}", level.map_or("that of the root", Level::name));
        }
    }

    /// Every logger with its level, the root last.
    pub fn levels(&self) -> Vec<(&'static str, Level)> {
        let set = self.lock();
        self.names.iter().chain(&[ROOT]).map(|name| (*name, self.level(&set, name))).collect()
    }

    /// As [`Loggers::levels`], as DescribeConfigs answers.
    pub fn described(&self) -> Vec<Entry> {
        let entry = |(logger, level): (&str, Level)| Entry {
            name: logger.to_owned(),
            value: Some(level.name().to_owned()),
            read_only: false,
            source: Source::BrokerLogger,
            sensitive: false,
            synonyms: Vec::new(),
            kind: None,
            doc: Some(""),
        };
        self.levels().into_iter().map(entry).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Level>> {
        // A map of plain values is whole whatever happened to its last holder.
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn level(&self, set: &BTreeMap<String, Level>, logger: &str) -> Level {
        let root = || set.get(ROOT).copied().or_else(|| self.started_level(None));
        let own = || set.get(logger).copied().or_else(|| self.started_level(Some(&target(logger))));
        // Where directives name targets alone, the others are silent.
        let level = if logger == ROOT { root() } else { own().or_else(root) };
        level.unwrap_or(Level::Fatal)
    }

    /// What the process was started with for a target, or for all that no directive names.
    fn started_level(&self, target: Option<&str>) -> Option<Level> {
        let mut found = None;
        for directive in self.started_with.split(',').map(str::trim) {
            match (directive.split_once('='), target) {
                (Some((named, level)), Some(target)) if named == target => found = Level::of_word(level).or(found),
                (None, None) => found = Level::of_word(directive).or(found),
                _ => {}
            }
        }
        found
    }

    fn exists(&self, logger: &str) -> Result<(), Refused> {
        if logger == ROOT || self.names.contains(&logger) {
            return Ok(());
        }
        Err(Refused::new(ErrorCode::InvalidConfig, format!("Logger {logger} does not exist!")))
    }

    /// Directives of which a later one wins over an earlier one for the same target.
    fn directives(&self, set: &BTreeMap<String, Level>) -> String {
        let mut directives = self.started_with.clone();
        for (logger, level) in set {
            directives.push(',');
            if logger != ROOT {
                directives.push_str(&target(logger));
                directives.push('=');
            }
            directives.push_str(level.word());
        }
        directives
    }
}

/// The module whose lines a logger is for.
fn target(logger: &str) -> String {
    logger.replace('.', "::")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn levels_are_told_set_and_taken_away() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let teller = told.clone();
        let loggers = Loggers::new(
            OF_BROKER,
            "info,ottla::shard=trace",
            Box::new(move |directives| teller.lock().unwrap().push(directives.to_owned())),
        );
        let level = |name: &str| loggers.described().into_iter().find(|entry| entry.name == name).unwrap().value.unwrap();
        assert_eq!((level(ROOT), level("ottla.shard"), level("ottla.storage")), ("INFO".into(), "TRACE".into(), "INFO".into()));
        let warn = loggers.check_set("ottla.shard", "WARN").unwrap();
        loggers.set(&[("ottla.shard", Some(warn)), (ROOT, Some(Level::Fatal))]);
        assert_eq!((level(ROOT), level("ottla.shard"), level("ottla.storage")), ("FATAL".into(), "WARN".into(), "FATAL".into()));
        loggers.set(&[("ottla.shard", None)]);
        assert_eq!(level("ottla.shard"), "TRACE");
        assert_eq!(
            *told.lock().unwrap(),
            ["info,ottla::shard=trace,ottla::shard=warn,off", "info,ottla::shard=trace,off"].map(str::to_owned)
        );
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let loggers = Loggers::new(OF_BROKER, "ottla::storage=debug", Box::new(|_| {}));
        assert_eq!(loggers.check_set("kafka.server", "INFO").unwrap_err().code, ErrorCode::InvalidConfig);
        assert_eq!(loggers.check_set(ROOT, "info").unwrap_err().code, ErrorCode::InvalidConfig);
        assert_eq!(loggers.check_unset(ROOT).unwrap_err().code, ErrorCode::InvalidRequest);
        assert_eq!(loggers.described().last().unwrap().value.as_deref(), Some("FATAL"), "only one target is named");
    }
}
