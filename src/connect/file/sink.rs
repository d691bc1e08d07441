//! The file sink: a line for the value of each record, appended to a file or printed on standard output.
//!
//! | value | line |
//! |---|---|
//! | a string | itself |
//! | null | `null` |
//! | a struct, a map, a list, a number | as Java prints it: `Struct{a=1,b=x}`, `{a=1}`, `[1, 2]`, `1.0E10` |
//! | bytes | themselves |
//!
//! Keys and headers are dropped. All as Kafka's own sink, but for bytes, of which that one prints where they lie in memory.
//!
//! Invariants:
//! 1. A line that could not be written ends the task, and a flush ends in fsync: what is committed is on the disk. Kafka's sink loses it.
//! 2. A line is never joined to the rest of another: what an unlucky end left of a line is given its end first, and what a full disk left
//!    of one is cut off.
//! 3. Tasks of one worker that append to one file take turns, a batch at a time.
//! 4. A write stays in one page of the file where the line is short enough, so that a killed worker leaves whole lines.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use crate::connect::contract::{Config, SinkConnector, SinkTask, TaskError};
use crate::connect::definition::{Fallback, Key, KeyKind};
use crate::connect::java_text;
use crate::connect::record::{SinkRecord, Value};

pub const SINK_KEYS: &[Key] =
    &[Key::new("file", KeyKind::String, Fallback::Unset, "HIGH", "The file to append to; standard output where none is named.")];

const PAGE: u64 = 4096;

pub fn sink() -> Box<dyn SinkConnector> {
    Box::new(FileSink)
}

struct FileSink;

impl SinkConnector for FileSink {
    fn task_configs(&mut self, config: &Config, tasks_max: usize) -> Result<Vec<Config>, TaskError> {
        Ok(vec![config.clone(); tasks_max])
    }

    fn task(&self) -> Box<dyn SinkTask> {
        Box::new(FileSinkTask { to: None })
    }
}

enum To {
    File { shared: Arc<Mutex<File>>, path: PathBuf },
    Output,
}

struct FileSinkTask {
    to: Option<To>,
}

/// The files that sinks of this process append to: one handle each, so that a batch can be undone.
fn shared(path: &Path) -> io::Result<Arc<Mutex<File>>> {
    static OPEN: OnceLock<Mutex<BTreeMap<PathBuf, Weak<Mutex<File>>>>> = OnceLock::new();
    let path = std::path::absolute(path)?;
    let mut open = OPEN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = open.get(&path).and_then(Weak::upgrade) {
        return Ok(file);
    }
    let file = OpenOptions::new().read(true).append(true).create(true).open(&path)?;
    end_last_line(&file)?;
    let file = Arc::new(Mutex::new(file));
    open.insert(path, Arc::downgrade(&file));
    Ok(file)
}

fn locked(file: &Mutex<File>) -> MutexGuard<'_, File> {
    file.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end_last_line(mut file: &File) -> io::Result<()> {
    let length = file.metadata()?.len();
    let mut last = [0];
    // What is not a file has no length, and no last line.
    if length == 0 || file.read_at(&mut last, length - 1)? == 0 || last[0] == b'\n' {
        return Ok(());
    }
    file.write_all(b"\n")
}

fn line(value: &Value) -> Vec<u8> {
    let mut line = match value {
        Value::Bytes(bytes) => bytes.clone(),
        other => java_text::text(other).into_bytes(),
    };
    line.push(b'\n');
    line
}

/// Appends the lines, or leaves the file as it was.
fn append(file: &mut File, lines: &[Vec<u8>]) -> io::Result<()> {
    let before = file.metadata()?.len();
    let written = append_by_pages(file, before, lines);
    if written.is_err() {
        // It is the first error that says what is wrong.
        let _cut = file.set_len(before);
    }
    written
}

fn append_by_pages(file: &mut File, mut at: u64, lines: &[Vec<u8>]) -> io::Result<()> {
    let mut write: Vec<u8> = Vec::with_capacity(PAGE as usize);
    for line in lines {
        let fits = (at + write.len() as u64) % PAGE + line.len() as u64 <= PAGE;
        if !fits && !write.is_empty() {
            file.write_all(&write)?;
            at += write.len() as u64;
            write.clear();
        }
        write.extend_from_slice(line);
        if (at + write.len() as u64).is_multiple_of(PAGE) {
            file.write_all(&write)?;
            at += write.len() as u64;
            write.clear();
        }
    }
    file.write_all(&write)
}

impl SinkTask for FileSinkTask {
    fn start(&mut self, config: &Config) -> Result<(), TaskError> {
        self.to = Some(match config.get("file").filter(|file| !file.is_empty()) {
            Some(file) => {
                let shared = shared(Path::new(file)).map_err(|error| TaskError::Failed(format!("cannot open {file}: {error}")))?;
                To::File { shared, path: PathBuf::from(file) }
            }
            None => To::Output,
        });
        Ok(())
    }

    fn put(&mut self, records: &[SinkRecord]) -> Result<(), TaskError> {
        let lines: Vec<Vec<u8>> = records.iter().map(|record| line(&record.record.value)).collect();
        match &self.to {
            Some(To::File { shared, path }) => append(&mut locked(shared), &lines).map_err(|error| {
                TaskError::Failed(format!(
                    "cannot append to {}: {}; the records since the last commit are delivered again when this task is restarted",
                    path.display(),
                    plain(&error)
                ))
            }),
            Some(To::Output) => {
                let mut out = io::stdout().lock();
                let printed = out.write_all(&lines.concat()).and_then(|()| out.flush());
                printed.map_err(|error| TaskError::Failed(format!("cannot print to standard output: {}", plain(&error))))
            }
            None => Err(TaskError::failed("not started")),
        }
    }

    fn flush(&mut self) -> Result<(), TaskError> {
        let Some(To::File { shared, path }) = &self.to else { return Ok(()) };
        let file = locked(shared);
        match file.metadata().and_then(|metadata| if metadata.is_file() { file.sync_data() } else { Ok(()) }) {
            Ok(()) => Ok(()),
            Err(error) => Err(TaskError::Failed(format!("cannot sync {}: {}; nothing is committed", path.display(), plain(&error)))),
        }
    }

    fn stop(&mut self) {
        self.to = None;
    }
}

/// An operating system's error without its number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_owned()
}
