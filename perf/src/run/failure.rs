//! Why a measurement could not go on.

use std::io;
use std::path::{Path, PathBuf};

fn last_line(log: &Path) -> String {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing").to_owned()
}

#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("interrupted")]
    Interrupted,
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot start {name}: {source}")]
    Start { name: String, source: io::Error },
    #[error("{name} ended with {status}: {said}")]
    Ended { name: String, status: String, said: String },
    #[error("{name} did not end within {seconds} s and was killed")]
    Late { name: String, seconds: u64 },
    #[error("{name} does not answer after {seconds} s; it said: {}; its output is in {}", last_line(log), log.display())]
    Silent { name: String, seconds: u64, log: PathBuf },
    #[error("{name} printed no outcome: {said}")]
    NoOutcome { name: String, said: String },
    #[error("{0}")]
    Asked(String),
}

impl Failure {
    pub fn file(path: &Path) -> impl FnOnce(io::Error) -> Failure {
        let path = path.to_owned();
        move |source| Failure::File { path, source }
    }

    /// True where a load ended because the broker took or gave nothing any more.
    pub fn is_stall(&self) -> bool {
        matches!(self, Failure::Ended { said, .. } if said.contains(crate::load::GOT_NOWHERE))
    }

    /// True where the whole session ends, not only one run.
    pub fn ends_session(&self) -> bool {
        matches!(self, Failure::Interrupted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_told_from_other_ends_and_a_silent_broker_is_quoted() {
        let ended = |said: &str| Failure::Ended { name: "load".into(), status: "1".into(), said: said.into() };
        assert!(ended("ottla-perf: nothing was acknowledged for 10 s; the broker does not answer").is_stall());
        assert!(!ended("ottla-perf: 127.0.0.1:1 closed the connection").is_stall());
        let log = std::env::temp_dir().join(format!("ottla-perf-silent-{}.log", std::process::id()));
        std::fs::write(&log, "starting\nio_uring is not allowed\n\n").unwrap();
        let sentence = Failure::Silent { name: "ottla".into(), seconds: 1, log: log.clone() }.to_string();
        std::fs::remove_file(&log).unwrap();
        assert!(sentence.contains("it said: io_uring is not allowed;"), "{sentence}");
    }
}
