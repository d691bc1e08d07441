//! What becomes of records that do not fit, and of calls that may work later: `errors.*`, as in Kafka.

use std::time::{Duration, Instant};

use super::shared::{Counts, Shared};
use crate::connect::convert::Unfit;
use crate::connect::definition::Checked;

/// The first pause before a call is made again; it doubles.
const PAUSE_FIRST: Duration = Duration::from_millis(300);

/// A step on a record's way, in Kafka's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    KeyConverter,
    ValueConverter,
    HeaderConverter,
    Transformation,
}

impl Stage {
    pub fn word(self) -> &'static str {
        match self {
            Stage::KeyConverter => "KEY_CONVERTER",
            Stage::ValueConverter => "VALUE_CONVERTER",
            Stage::HeaderConverter => "HEADER_CONVERTER",
            Stage::Transformation => "TRANSFORMATION",
        }
    }
}

/// A record that did not fit, where, and why.
#[derive(Debug)]
pub struct Misfit {
    pub stage: Stage,
    pub class: &'static str,
    pub unfit: Unfit,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tolerated {
    Nothing,
    All,
}

#[derive(Debug)]
pub struct Tolerance {
    tolerated: Tolerated,
    /// None: without end.
    retry_timeout: Option<Duration>,
    retry_pause_max: Duration,
    log: bool,
    log_place: bool,
}

/// Tries of one call that fails.
#[derive(Debug, Default)]
pub struct Tries {
    since: Option<Instant>,
    pause: Duration,
}

impl Tolerance {
    pub fn new(checked: Checked<'_>) -> Tolerance {
        let millis = |key: &str| u64::try_from(checked.number(key)).ok().map(Duration::from_millis);
        Tolerance {
            tolerated: if checked.text("errors.tolerance").trim().eq_ignore_ascii_case("all") {
                Tolerated::All
            } else {
                Tolerated::Nothing
            },
            retry_timeout: millis("errors.retry.timeout").filter(|timeout| !timeout.is_zero()),
            retry_pause_max: millis("errors.retry.delay.max.ms").unwrap_or(PAUSE_FIRST),
            log: checked.flag("errors.log.enable"),
            log_place: checked.flag("errors.log.include.messages"),
        }
    }

    pub fn is_all(&self) -> bool {
        self.tolerated == Tolerated::All
    }

    /// Leaves the record out, or tells why the task has to end. `place` says where the record stands.
    pub fn judge(&self, shared: &Shared, misfit: &Misfit, place: impl FnOnce() -> String) -> Result<(), String> {
        Counts::add(&shared.counts.errors, 1);
        let place = if self.log_place || !self.is_all() { format!(", of {}", place()) } else { String::new() };
        let sentence = format!("{} with {} failed: {}{place}", misfit.stage.word(), misfit.class, misfit.unfit);
        if self.log {
            tracing::error!("task {}: {sentence}", shared.id());
        }
        if !self.is_all() {
            return Err(format!("Tolerance exceeded in error handler: {sentence}"));
        }
        Counts::add(&shared.counts.skipped, 1);
        Ok(())
    }

    /// How long to wait before the call is made again; an error once it has been tried for long enough.
    pub fn pause(&self, shared: &Shared, tries: &mut Tries, why: &str) -> Result<Duration, String> {
        Counts::add(&shared.counts.errors, 1);
        let since = *tries.since.get_or_insert_with(Instant::now);
        if self.retry_timeout.is_some_and(|timeout| since.elapsed() >= timeout) {
            return Err(format!("{why}; tried for {} ms", since.elapsed().as_millis()));
        }
        tries.pause = if tries.pause.is_zero() { PAUSE_FIRST } else { tries.pause * 2 }.min(self.retry_pause_max);
        Counts::add(&shared.counts.retries, 1);
        tracing::warn!("task {}: {why}; trying again in {} ms", shared.id(), tries.pause.as_millis());
        Ok(tries.pause)
    }
}

impl Tries {
    pub fn succeeded(&mut self) {
        *self = Tries::default();
    }
}
