//! `/admin/loggers`: what the worker writes to its log, as Kafka's worker lets it be told and changed.
//!
//! Called by `routes`; calls the loggers of this process. A name that begins others stands for all of them, as in Kafka. Kafka makes a logger of any
//! name; here one that writes nothing is not found.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::request::{Request, Response};
use crate::connect::worker::Refused;
use crate::server::loggers::{Level, Loggers, ROOT, loggers};

#[derive(Serialize)]
struct Logger {
    level: &'static str,
    /// Milliseconds since 1970; none for a logger that is as it was at the start.
    last_modified: Option<u64>,
}

#[derive(Default)]
pub struct Levels {
    modified: Mutex<BTreeMap<&'static str, u64>>,
}

impl Levels {
    pub fn list(&self) -> Response {
        let all: BTreeMap<&str, Logger> = loggers().levels().into_iter().map(|(name, level)| (name, self.told(name, level))).collect();
        Response::json(200, &all)
    }

    pub fn tell(&self, name: &str) -> Result<Response, Refused> {
        let found = loggers().levels().into_iter().find(|(known, _)| is_called(known, name));
        let (known, level) = found.ok_or_else(|| missing(name))?;
        Ok(Response::json(200, &self.told(known, level)))
    }

    pub fn set(&self, name: &str, request: &Request) -> Result<Response, Refused> {
        let body: BTreeMap<String, String> = serde_json::from_slice(&request.body)
            .map_err(|error| Refused::Bad(format!("the body is to be a JSON object of texts: {error}")))?;
        let word = body.get("level").ok_or_else(|| Refused::Bad("Desired 'level' parameter was not specified in request.".to_owned()))?;
        let level = Level::of_name(&word.to_uppercase()).ok_or_else(|| Refused::NotFound(format!("invalid log level '{word}'.")))?;
        let names = self.set_in(loggers(), name, level)?;
        Ok(match request.asks("scope", "cluster") {
            // There is one worker.
            true => Response::empty(204),
            false => Response::json(200, &names),
        })
    }

    /// The names of those whose level is now this.
    fn set_in(&self, loggers: &Loggers, name: &str, level: Level) -> Result<Vec<&'static str>, Refused> {
        let is_root = name.eq_ignore_ascii_case(ROOT);
        let mut meant = loggers.levels();
        meant.retain(|(known, _)| is_root || (*known != ROOT && known.starts_with(name)));
        if meant.is_empty() {
            return Err(missing(name));
        }
        let changed: Vec<&'static str> = meant.iter().filter(|(_, now)| *now != level).map(|(known, _)| *known).collect();
        if !changed.is_empty() {
            loggers.set(&changed.iter().map(|known| (*known, Some(level))).collect::<Vec<_>>());
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
            self.modified.lock().unwrap_or_else(PoisonError::into_inner).extend(changed.into_iter().map(|known| (known, now)));
        }
        let mut names: Vec<&'static str> = meant.into_iter().map(|(known, _)| known).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn told(&self, name: &str, level: Level) -> Logger {
        let modified = self.modified.lock().unwrap_or_else(PoisonError::into_inner);
        Logger { level: level.name(), last_modified: modified.get(name).copied() }
    }
}

fn is_called(known: &str, name: &str) -> bool {
    known == name || (known == ROOT && name.eq_ignore_ascii_case(ROOT))
}

fn missing(name: &str) -> Refused {
    Refused::NotFound(format!("Logger {name} not found."))
}
