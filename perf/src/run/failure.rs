//! Why a measurement could not go on.

use std::io;
use std::path::{Path, PathBuf};

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
    #[error("{name} does not answer after {seconds} s; its output is in {}", log.display())]
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

    /// True where the whole session ends, not only one run.
    pub fn ends_session(&self) -> bool {
        matches!(self, Failure::Interrupted)
    }
}
