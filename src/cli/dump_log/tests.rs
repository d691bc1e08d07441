use std::fs;
use std::path::Path;

use clap::Parser;

use super::*;
use crate::cli::console::captured::capture;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

#[derive(clap::Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// Dumps one file of `dir`; both outputs, the directory's own path left out, and the sentence it ended with.
fn dumped(dir: &Path, file: &str, flags: &[&str]) -> (String, String, Option<String>) {
    let path = dir.join(file).display().to_string();
    let words = ["dump-log", "--files", &path].into_iter().chain(flags.iter().copied());
    let args = Line::try_parse_from(words).unwrap().args;
    let (ended, out, err) = capture(|console| run(&args, console));
    let without = |text: String| text.replace(&format!("{}/", dir.display()), "");
    let sentence = ended.err().map(|failure| match failure {
        Failure::Sentence(sentence) => without(sentence),
        other => panic!("{other:?}"),
    });
    (without(out), without(err), sentence)
}
