//! A line at the foot of a terminal that tells how far long work is. Where standard output or error is no terminal there is none: what a tool
//! prints line by line is all there is to read then.
//!
//! Called by the tools that measure; writes to standard error.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::{Duration, Instant};

/// How often it is written anew.
const EVERY: Duration = Duration::from_millis(100);

/// To the start of the line, and away with what stands in it.
const WIPE: &str = "\r\x1b[K";

pub struct LiveLine {
    is_on: bool,
    is_shown: bool,
    due: Instant,
}

impl LiveLine {
    pub fn of_process() -> Self {
        LiveLine { is_on: stdout().is_terminal() && stderr().is_terminal(), is_shown: false, due: Instant::now() + EVERY }
    }

    /// Writes the line anew, if it is time.
    pub fn show(&mut self, text: impl FnOnce() -> String) {
        if self.is_on && Instant::now() >= self.due {
            self.due = Instant::now() + EVERY;
            self.is_shown = true;
            write(&format!("{WIPE}{}", text()));
        }
    }

    /// Takes the line away, before anything else is printed.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.is_shown) {
            write(WIPE);
        }
    }
}

/// A terminal that is gone is noticed where results are printed.
fn write(text: &str) {
    let mut err = stderr().lock();
    let _gone = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// `1200 of 5000 records (24 %)`.
pub fn share(done: u64, all: u64) -> String {
    format!("{done} of {all} records ({} %)", (u128::from(done) * 100).checked_div(u128::from(all)).unwrap_or(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_told_in_whole_percent() {
        assert_eq!(share(0, 3), "0 of 3 records (0 %)");
        assert_eq!(share(2, 3), "2 of 3 records (66 %)");
        assert_eq!(share(u64::MAX, u64::MAX), format!("{0} of {0} records (100 %)", u64::MAX));
        assert_eq!(share(0, 0), "0 of 0 records (100 %)");
    }
}
