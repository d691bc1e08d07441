//! `ottla dump-log`: Kafka's kafka-dump-log, line by line, for the files of a partition's directory.
//!
//! Called by `cli`; calls `wire` for the forms of batches and records. Reads the files by itself, not through `storage`, so that it
//! shows what lies on the disk whatever the broker thinks of it; unlike Kafka's tool it never writes, so that it may be pointed at the
//! directory of a running broker (Kafka's trims the index files it opens).
//!
//! What is found wrong between files is reported to standard error at the end, with exit code 0, as in Kafka; bytes that cannot be read
//! on end the tool with one sentence and exit code 1, after what was found until then. Not served: records older than format 2, decoder
//! classes, the decoders of internal topics other than `__consumer_offsets`, and the content of control records of Kafka's metadata log.

mod index;
mod log;
mod segment;
mod state;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::console::Console;
use super::failure::Failure;
use segment::SegmentError;

const TOOL: &str = "dump-log";

const EXAMPLES: &str = "\
Examples:
  The batches of a segment, one line each:
    ottla dump-log --files /data/orders-0/00000000000000000000.log
  The records too, with keys and values as text:
    ottla dump-log --files /data/orders-0/00000000000000000000.log --print-data-log
  Do the indexes agree with the log?
    ottla dump-log --files /data/orders-0/00000000000000000000.index,/data/orders-0/00000000000000000000.timeindex --verify-index-only
  What groups have committed, and who was in them:
    ottla dump-log --files /data/__consumer_offsets-7/00000000000000000000.log --offsets-decoder --skip-record-metadata
  Producers and aborted transactions:
    ottla dump-log --files /data/orders-0/00000000000000004711.snapshot,/data/orders-0/00000000000000000000.txnindex

It only reads, also the files of a running broker.";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    /// REQUIRED: the files to dump, with commas between: .log, .index, .timeindex, .txnindex, .snapshot, .checkpoint.
    #[arg(long, value_name = "FILE,FILE,...")]
    files: Option<String>,
    /// Print each record with its key and value as text.
    #[arg(long)]
    print_data_log: bool,
    /// Look inside batches: one line per record. Also set by --print-data-log.
    #[arg(long)]
    deep_iteration: bool,
    /// Check the indexes without printing their entries.
    #[arg(long)]
    verify_index_only: bool,
    /// Only the check that a broker does at its start to decide whether an index must be rebuilt.
    #[arg(long)]
    index_sanity_check: bool,
    /// The largest batch expected where an index points.
    #[arg(long, value_name = "BYTES", default_value_t = 5 * 1024 * 1024, allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(0..))]
    max_message_size: i32,
    /// Read no more of each log than this many bytes.
    #[arg(long, value_name = "BYTES", default_value_t = i32::MAX, hide_default_value = true, allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(0..))]
    max_bytes: i32,
    /// Print only keys and values of records, and nothing of control records.
    #[arg(long)]
    skip_record_metadata: bool,
    /// Print each record of __consumer_offsets as what it says of a group, in JSON.
    #[arg(long)]
    offsets_decoder: bool,

    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = STRING_DECODER)]
    value_decoder_class: Option<String>,
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = STRING_DECODER)]
    key_decoder_class: Option<String>,
    #[arg(long, hide = true)]
    transaction_log_decoder: bool,
    #[arg(long, hide = true)]
    cluster_metadata_decoder: bool,
    #[arg(long, hide = true)]
    remote_log_metadata_decoder: bool,
    #[arg(long, hide = true)]
    share_group_state_decoder: bool,
}

/// The one decoder that needs no Java: text.
const STRING_DECODER: &str = "org.apache.kafka.tools.api.StringDecoder";

/// Why a dump cannot go on.
#[derive(Debug, thiserror::Error)]
enum DumpError {
    #[error("{file}: its name does not begin with an offset (For input string: \"{text}\")")]
    Name { file: String, text: String },
    #[error("cannot read {file}: {source}")]
    Read { file: String, source: std::io::Error },
    #[error(transparent)]
    Segment(#[from] SegmentError),
    #[error("{index}: its entry for offset {offset} points to position {position} of the log, where no whole batch begins")]
    Dangling { index: String, offset: i64, position: i32 },
    #[error(
        "Corrupt index found, index file {file} has non-zero size but the last offset is {last} which is less than the base offset {base}"
    )]
    IndexOffset { file: String, last: i64, base: i64 },
    #[error("Index file {file} is corrupt, found {len} bytes which is neither positive nor a multiple of 8")]
    IndexLength { file: String, len: usize },
    #[error(
        "Corrupt time index found, time index file ({file}) has non-zero size but the last timestamp is {last} \
         which is less than the first timestamp {first}"
    )]
    TimeIndexTimestamp { file: String, last: i64, first: i64 },
    #[error(
        "Corrupt time index found, time index file ({file}) has non-zero size but the last offset is {last} \
         which is less than the first offset {base}"
    )]
    TimeIndexOffset { file: String, last: i64, base: i64 },
    #[error("Time index file {file} is corrupt, found {len} bytes which is neither positive nor a multiple of 12")]
    TimeIndexLength { file: String, len: usize },
    #[error("Failed to decode message at offset {offset} using the specified decoder (message had a missing key)")]
    NoKey { offset: i64 },
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

/// One file of the command line.
struct Dumped<'a> {
    /// As the user wrote it.
    shown: &'a str,
    path: &'a Path,
    name: &'a str,
}

impl Dumped<'_> {
    fn absolute(&self) -> PathBuf {
        std::path::absolute(self.path).unwrap_or_else(|_| self.path.to_owned())
    }

    /// The offset that the name begins with.
    fn base_offset(&self) -> Result<i64, DumpError> {
        let text = self.name.split('.').next().unwrap_or(self.name);
        text.parse().map_err(|_| DumpError::Name { file: self.shown.to_owned(), text: text.to_owned() })
    }

    /// A file of the same segment: its absolute path.
    fn sibling(&self, suffix: &str) -> PathBuf {
        let stem = self.name.split('.').next().unwrap_or(self.name);
        self.absolute().with_file_name(format!("{stem}{suffix}"))
    }

    fn read(&self) -> Result<Vec<u8>, DumpError> {
        std::fs::read(self.path).map_err(|source| DumpError::Read { file: self.shown.to_owned(), source })
    }
}

/// What does not agree between files, by file, in the order the files were given.
#[derive(Default)]
struct Findings {
    /// Largest index offset first, as Kafka prints them.
    index_mismatches: Vec<(PathBuf, BTreeMap<Reverse<i64>, i64>)>,
    timestamp_mismatches: Vec<(PathBuf, Vec<(i64, i64)>)>,
    timestamps_out_of_order: Vec<(PathBuf, Vec<(i64, i64)>)>,
    offsets_not_found: Vec<(PathBuf, Vec<(i64, i64)>)>,
    offset_gaps: Vec<(PathBuf, BTreeMap<i64, i64>)>,
}

/// The entry of `file`, which is the last one if it is there: files are dumped one after the other.
fn of_file<'a, T: Default>(findings: &'a mut Vec<(PathBuf, T)>, file: &Path) -> &'a mut T {
    if findings.last().is_none_or(|(last, _)| last != file) {
        findings.push((file.to_owned(), T::default()));
    }
    &mut findings.last_mut().expect("pushed above").1
}

impl Findings {
    fn print(&self, err: &mut dyn Write) -> std::io::Result<()> {
        for (file, mismatches) in &self.index_mismatches {
            writeln!(err, "Mismatches in :{}", file.display())?;
            for (Reverse(indexed), found) in mismatches {
                writeln!(err, "  Index offset: {indexed}, log offset: {found}")?;
            }
        }
        for (file, mismatches) in &self.timestamp_mismatches {
            writeln!(err, "Found timestamp mismatch in :{}", file.display())?;
            for (indexed, found) in mismatches {
                writeln!(err, "  Index timestamp: {indexed}, log timestamp: {found}")?;
            }
        }
        for (file, pairs) in &self.timestamps_out_of_order {
            writeln!(err, "Found out of order timestamp in :{}", file.display())?;
            for (indexed, previous) in pairs {
                writeln!(err, "  Index timestamp: {indexed}, Previously indexed timestamp: {previous}")?;
            }
        }
        for (file, pairs) in &self.offsets_not_found {
            writeln!(err, "The following indexed offsets are not found in :{}", file.display())?;
            for (indexed, found) in pairs {
                writeln!(err, "Indexed offset: {indexed}, found log offset: {found}")?;
            }
        }
        for (file, gaps) in &self.offset_gaps {
            writeln!(err, "Non-consecutive offsets in {}", file.display())?;
            for (before, after) in gaps {
                writeln!(err, "  {before} is followed by {after}")?;
            }
        }
        Ok(())
    }
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let Some(files) = &args.files else {
        return Err(Failure::Usage { sentence: "Missing required argument \"[files]\"".to_owned(), tool: TOOL });
    };
    refuse_decoders(args)?;
    let mut findings = Findings::default();
    let mut ended = Ok(());
    for file in files.split(',') {
        ended = dump(args, file, &mut findings, console);
        if ended.is_err() {
            break;
        }
    }
    findings.print(console.err()?)?;
    ended.map_err(|error| match error {
        DumpError::Output(error) => Failure::Output(error),
        error => Failure::Sentence(error.to_string()),
    })
}

fn refuse_decoders(args: &Args) -> Result<(), Failure> {
    let unserved = [
        ("transaction-log-decoder", args.transaction_log_decoder),
        ("cluster-metadata-decoder", args.cluster_metadata_decoder),
        ("remote-log-metadata-decoder", args.remote_log_metadata_decoder),
        ("share-group-state-decoder", args.share_group_state_decoder),
    ];
    if let Some((option, _)) = unserved.iter().find(|(_, given)| *given) {
        return Err(Failure::Sentence(format!("--{option} is not served yet; --print-data-log prints the same records undecoded")));
    }
    for (option, class) in [("value-decoder-class", &args.value_decoder_class), ("key-decoder-class", &args.key_decoder_class)] {
        if class.as_deref().is_some_and(|class| class != STRING_DECODER) {
            return Err(Failure::Sentence(format!(
                "--{option} names a Java class, which this tool cannot load; --print-data-log prints keys and values as text"
            )));
        }
    }
    Ok(())
}

fn dump(args: &Args, file: &str, findings: &mut Findings, console: &mut Console) -> Result<(), DumpError> {
    let path = Path::new(file);
    writeln!(console.out(), "Dumping {file}")?;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let file = Dumped { shown: file, path, name };
    match name.rsplit_once('.').map(|(_, suffix)| suffix) {
        Some("log" | "checkpoint") => log::dump(args, &file, findings, console),
        Some("index") => index::dump_offsets(args, &file, findings, console),
        Some("timeindex") => index::dump_times(args, &file, findings, console),
        Some("txnindex") => state::dump_transactions(&file, console),
        Some("snapshot") => state::dump_producers(&file, console),
        _ => Ok(writeln!(console.err()?, "Ignoring unknown file {}", file.shown)?),
    }
}

impl Args {
    fn prints_content(&self) -> bool {
        self.print_data_log || self.offsets_decoder || self.value_decoder_class.is_some() || self.key_decoder_class.is_some()
    }

    fn is_deep(&self) -> bool {
        self.deep_iteration || self.prints_content()
    }
}

#[cfg(test)]
mod tests;
