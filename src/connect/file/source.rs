//! The file source: the lines of one file, or of standard input, as records.
//!
//! One task, as there is one file. Position and file are kept as offset, so that a worker that was killed goes on behind the last line whose
//! offset was stored. Standard input keeps no offsets.

use std::io::{Read, stdin};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value as Json;

use super::lines::{LINE_BYTES_MAX, Lines};
use super::tail::{Mark, Tail};
use crate::connect::contract::{Config, SourceConnector, SourceOffsets, SourceTask, TaskError};
use crate::connect::definition::{Checked, Fallback, Key, KeyKind, Rule};
use crate::connect::record::{JsonMap, Record, SourceRecord};

pub const SOURCE_KEYS: &[Key] = &[
    Key::new("file", KeyKind::String, Fallback::Unset, "HIGH", "The file to read; standard input where none is named."),
    Key::new("topic", KeyKind::String, Fallback::Required, "HIGH", "The topic that the lines are sent to.").rule(Rule::NonEmpty),
    Key::new("batch.size", KeyKind::Int, Fallback::Value("2000"), "LOW", "The most lines that one poll hands over.").rule(Rule::AtLeast(1)),
];

const PARTITION: &str = "filename";

/// How often a file is looked at when nothing is new.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Chunks of standard input that wait to be taken.
const CHUNKS_MAX: usize = 16;
const CHUNK_BYTES: usize = 64 << 10;

pub fn source() -> Box<dyn SourceConnector> {
    Box::new(FileSource)
}

struct FileSource;

impl SourceConnector for FileSource {
    fn task_configs(&mut self, config: &Config, _tasks_max: usize) -> Result<Vec<Config>, TaskError> {
        Ok(vec![config.clone()])
    }

    fn task(&self) -> Box<dyn SourceTask> {
        Box::new(FileSourceTask { topic: String::new(), batch: 0, partition: JsonMap::new(), from: From::Nowhere, unmarked: None })
    }

    fn check_offsets(&self, config: &Config, offsets: &[(JsonMap, Option<JsonMap>)]) -> Result<(), String> {
        if !config.contains_key("file") {
            return Err("this connector reads standard input, which has no offsets".to_owned());
        }
        for (partition, offset) in offsets {
            if !partition.get(PARTITION).is_some_and(Json::is_string) {
                return Err(format!("Partition objects should contain the key '{PARTITION}'"));
            }
            let Some(offset) = offset else { continue };
            if Mark::of_offset(offset).is_none() {
                return Err("the offset is to have a 'position', a number of bytes that is not negative".to_owned());
            }
        }
        Ok(())
    }
}

enum From {
    Nowhere,
    File(Tail),
    Input(Input),
}

struct FileSourceTask {
    topic: String,
    batch: usize,
    partition: JsonMap,
    from: From,
    /// Until it is stored which file this began with: it may be renamed before its first line is acknowledged.
    unmarked: Option<SourceOffsets>,
}

impl SourceTask for FileSourceTask {
    fn start(&mut self, config: &Config, offsets: &SourceOffsets) -> Result<(), TaskError> {
        let checked = Checked::new(SOURCE_KEYS, config).map_err(TaskError::Failed)?;
        self.topic = checked.text("topic").to_owned();
        self.batch = usize::try_from(checked.number("batch.size")).unwrap_or(1);
        self.from = match checked.maybe("file").filter(|file| !file.is_empty()) {
            Some(file) => {
                self.partition = [(PARTITION.to_owned(), Json::from(file))].into_iter().collect();
                let stored = offsets.of(&self.partition);
                self.unmarked = stored.is_none().then(|| offsets.clone());
                From::File(Tail::new(Path::new(file), stored.as_ref().and_then(Mark::of_offset)))
            }
            None => From::Input(Input::begin().map_err(TaskError::failed)?),
        };
        Ok(())
    }

    fn poll(&mut self, within: Duration) -> Result<Vec<SourceRecord>, TaskError> {
        let deadline = Instant::now() + within;
        loop {
            let lines: Vec<(String, JsonMap)> = match &mut self.from {
                From::Nowhere => Vec::new(),
                From::File(tail) => {
                    if let Some(offsets) = &self.unmarked
                        && let Some(mark) = tail.mark().map_err(TaskError::failed)?
                    {
                        offsets.begin_at(&self.partition, mark.to_offset())?;
                        self.unmarked = None;
                    }
                    let lines = tail.next_lines(self.batch).map_err(TaskError::failed)?;
                    lines.into_iter().map(|(line, mark)| (line, mark.to_offset())).collect()
                }
                From::Input(input) => input.next_lines(self.batch, deadline)?.into_iter().map(|line| (line, JsonMap::new())).collect(),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if !lines.is_empty() || left.is_zero() {
                return Ok(self.records(lines));
            }
            std::thread::sleep(left.min(LOOK_EVERY));
        }
    }

    fn lag(&mut self) -> Option<u64> {
        match &self.from {
            From::File(tail) => tail.waiting(),
            From::Nowhere | From::Input(_) => None,
        }
    }
}

impl FileSourceTask {
    fn records(&self, lines: Vec<(String, JsonMap)>) -> Vec<SourceRecord> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok().and_then(|since| i64::try_from(since.as_millis()).ok());
        let record = |(line, source_offset)| SourceRecord {
            record: Record::of_text(&self.topic, line, now),
            source_partition: self.partition.clone(),
            source_offset,
        };
        lines.into_iter().map(record).collect()
    }
}

/// Standard input, read by a thread of its own, as nothing interrupts that read.
struct Input {
    chunks: Receiver<Vec<u8>>,
    lines: Lines,
    ended: bool,
}

impl Input {
    fn begin() -> std::io::Result<Input> {
        let (chunk, chunks) = sync_channel(CHUNKS_MAX);
        std::thread::Builder::new().name("ottla-stdin".into()).spawn(move || {
            let mut bytes = vec![0; CHUNK_BYTES];
            while let Ok(count) = stdin().lock().read(&mut bytes) {
                if count == 0 || chunk.send(bytes[..count].to_vec()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Input { chunks, lines: Lines::default(), ended: false })
    }

    fn next_lines(&mut self, count: usize, deadline: Instant) -> Result<Vec<String>, TaskError> {
        let mut found = Vec::new();
        loop {
            while found.len() < count
                && let Some((line, length)) = self.lines.next()
            {
                found.push(String::from_utf8_lossy(&line[..length]).into_owned());
            }
            if !found.is_empty() || self.ended {
                return Ok(found);
            }
            if self.lines.held().len() > LINE_BYTES_MAX {
                return Err(TaskError::Failed(format!("standard input has a line of more than {LINE_BYTES_MAX} bytes")));
            }
            match self.chunks.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.lines.feed(&bytes),
                Err(RecvTimeoutError::Timeout) => return Ok(found),
                Err(RecvTimeoutError::Disconnected) => {
                    // The end of the input ends its last line.
                    self.ended = true;
                    if !self.lines.held().is_empty() {
                        self.lines.feed(b"\n");
                    }
                }
            }
        }
    }
}
