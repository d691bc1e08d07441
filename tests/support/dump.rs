//! Kafka's own reader of log files over everything a broker left behind: `DumpLogSegments --deep-iteration` decompresses every batch,
//! checks every checksum and offset, and holds each index entry against the log.

use std::path::Path;

use super::broker::files_below;
use super::peers;
use super::process::ending;

/// The system takes no argument of 128 KiB.
const ARGUMENT_MAX: usize = 120_000;

/// What it says when something is wrong; it ends with status zero all the same.
const COMPLAINTS: [&str; 9] = [
    "isvalid: false",
    "Mismatches in",
    "mismatch",
    "out of order timestamp",
    "invalid bytes",
    "Exception",
    "Could not",
    "Unrecognized",
    "sanity check failed",
];

/// It also finds a gap before the first batch of every segment but the first ("-1 is followed by 344"), on Kafka's own files too: a gap
/// counts only between two batches.
fn complains(line: &str, gaps: Gaps) -> bool {
    let gap = line.contains(" is followed by ") && !line.trim_start().starts_with("-1 ");
    (gap && gaps == Gaps::None) || COMPLAINTS.iter().any(|complaint| line.contains(complaint))
}

/// Whether offsets may be missing between two batches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Gaps {
    None,
    Expected,
}

/// Reads every `.log`, `.index`, `.timeindex`, `.txnindex` and `.snapshot` below the directory; gives what the tool printed.
#[track_caller]
pub fn check(log_dir: &Path) -> String {
    check_with(log_dir, Gaps::None)
}

/// Like [`check`], of logs that were compacted.
#[track_caller]
pub fn check_compacted(log_dir: &Path) -> String {
    check_with(log_dir, Gaps::Expected)
}

#[track_caller]
fn check_with(log_dir: &Path, gaps: Gaps) -> String {
    let mut files = files_below(log_dir);
    files.retain(|file| {
        // A deleted topic's directory waits for its removal; its indexes are not trimmed.
        if file.parent().is_some_and(|dir| dir.to_string_lossy().ends_with("-delete")) {
            return false;
        }
        let extension = file.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        ["log", "index", "timeindex", "txnindex", "snapshot"].contains(&extension)
    });
    // An index is held against the log beside it, which must be there.
    assert!(files.iter().any(|file| file.extension().is_some_and(|extension| extension == "log")), "no log below {}", log_dir.display());
    let mut lists = vec![String::new()];
    for file in files.iter().map(|file| file.to_str().expect("a path in UTF-8")) {
        if lists[lists.len() - 1].len() + file.len() >= ARGUMENT_MAX {
            lists.push(String::new());
        }
        let list = lists.last_mut().expect("one at least");
        list.push_str(if list.is_empty() { "" } else { "," });
        list.push_str(file);
    }
    let mut said = String::new();
    for list in &lists {
        let output = peers::kafka_tool("org.apache.kafka.tools.DumpLogSegments", &["--deep-iteration", "--files", list]);
        said.push_str(&format!("{}\n{}\n", output.stdout, output.stderr));
        output.expect_success();
    }
    let complaints: Vec<&str> = said.lines().filter(|line| complains(line, gaps)).collect();
    assert!(complaints.is_empty(), "Kafka's reader complains:\n{}\n--- its last words\n{}", complaints.join("\n"), ending(&said));
    for file in &files {
        assert!(said.contains(&format!("Dumping {}", file.display())), "{} was not read\n{}", file.display(), ending(&said));
    }
    said
}
