//! Follows a file by its name: what is appended to it, what replaces it, what it is renamed to.
//!
//! Called by [`source`](super::source); reads files, and never writes.
//!
//! | what happens to the file | what is read |
//! |---|---|
//! | bytes are appended | the new whole lines; a line without its end is held |
//! | it is renamed, another takes its name | the old one to its end, any that came and went meanwhile, then the new one from its beginning |
//! | it is cut short | from its beginning |
//! | it is rewritten in place, or replaced by one that begins with the same bytes, as editors save | only what comes behind the known bytes |
//! | it is replaced by another, and the old one is gone | the new one from its beginning |
//! | it is not there | it is waited for |
//!
//! All of this holds as well when it happens while nobody is reading: a [`Mark`] keeps the inode and two checksums, of the file's first bytes and
//! of those before the position.
//!
//! Invariants:
//! 1. A position counts bytes and stands at the beginning of a line.
//! 2. Where it cannot be told whether lines have been read, they are read again: twice, rather than never.
//! 3. What is cut off or deleted before it is read is lost; nobody can read it.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::Value as Json;

use super::lines::{LINE_BYTES_MAX, Lines};
use crate::connect::record::JsonMap;

/// Bytes at the beginning and before the position that tell whether a file is the one known.
const WINDOW: usize = 256;
const READ_BYTES: usize = 64 << 10;
/// A held line so short is read again when its file grows: an editor may have changed it.
const REREAD_BYTES_MAX: usize = 64 << 10;
/// How long a file is to be short before that counts as cut: an editor that writes in place cuts first.
const CUT_AFTER: Duration = Duration::from_millis(200);
/// How long a file that has lost its name is read on without finding anything: its writer may not have noticed yet.
const LEFT_AFTER: Duration = Duration::from_millis(500);
/// Endings of names whose content is no text any more.
const PACKED: [&str; 5] = [".gz", ".bz2", ".xz", ".zst", ".lz4"];

/// Where a file is to be read on from, and how it is recognized.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Mark {
    pub position: u64,
    pub inode: Option<u64>,
    /// Nanoseconds of its making, if the filesystem keeps that.
    pub created: Option<i64>,
    /// CRC-32C of the first bytes, and of those before the position.
    pub head: Option<u32>,
    pub tail: Option<u32>,
}

impl Mark {
    pub fn of_offset(offset: &JsonMap) -> Option<Mark> {
        let number = |key: &str| offset.get(key).and_then(Json::as_u64);
        let checksum = |key: &str| number(key).and_then(|number| u32::try_from(number).ok());
        Some(Mark {
            position: number("position")?,
            inode: number("inode"),
            created: offset.get("created").and_then(Json::as_i64),
            head: checksum("head"),
            tail: checksum("tail"),
        })
    }

    pub fn to_offset(&self) -> JsonMap {
        let mut offset = JsonMap::new();
        offset.insert("position".to_owned(), self.position.into());
        let rest = [
            ("inode", self.inode.map(Json::from)),
            ("created", self.created.map(Json::from)),
            ("head", self.head.map(Json::from)),
            ("tail", self.tail.map(Json::from)),
        ];
        offset.extend(rest.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
        offset
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TailError {
    #[error("cannot read {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{path} has a line of more than {LINE_BYTES_MAX} bytes from byte {position} on; it does not look like a text of lines")]
    TooLong { path: String, position: u64 },
}

/// A file that is being read.
struct Open {
    file: File,
    inode: u64,
    created: Option<i64>,
    /// Where the first line that has not been handed out begins.
    position: u64,
    /// Up to here the bytes are in `lines`.
    read: u64,
    lines: Lines,
    /// The first bytes of the file, and the last before `position`.
    head: Vec<u8>,
    recent: Vec<u8>,
    /// The last look found nothing new.
    at_end: bool,
    cut_since: Option<Instant>,
    left_since: Option<Instant>,
}

pub struct Tail {
    path: PathBuf,
    open: Option<Open>,
    /// Where an earlier run stood, until a file is open.
    resume: Option<Mark>,
    missing: Missing,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Missing {
    No,
    Told,
}

fn created(metadata: &Metadata) -> Option<i64> {
    let since = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_nanos()).ok()
}

/// `.1`, `-20261128`, `.2026-11-28`: what else begins with a file's name may be a copy of it, or what a sink makes of it.
fn is_numbered(ending: &str) -> bool {
    ending.as_bytes().get(1).is_some_and(u8::is_ascii_digit) && !PACKED.iter().any(|packed| ending.ends_with(packed))
}

/// Up to `WINDOW` bytes that end at `end`.
fn window(file: &File, end: u64) -> io::Result<Vec<u8>> {
    let length = end.min(WINDOW as u64);
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, end - length)?;
    Ok(bytes)
}

/// The first bytes, up to `WINDOW` and to the position.
fn head(file: &File, position: u64) -> io::Result<Vec<u8>> {
    window(file, position.min(WINDOW as u64))
}

/// Whether the file has all that was read up to the mark.
fn continues(file: &File, mark: &Mark) -> io::Result<bool> {
    if file.metadata()?.len() < mark.position {
        return Ok(false);
    }
    let same = |known: Option<u32>, bytes: Vec<u8>| known.is_none_or(|known| crc32c::crc32c(&bytes) == known);
    match (head(file, mark.position), window(file, mark.position)) {
        (Ok(first), Ok(last)) => Ok(same(mark.head, first) && same(mark.tail, last)),
        // It was cut between the two looks.
        (Err(error), _) | (_, Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

impl Open {
    fn at(file: File, position: u64) -> io::Result<Open> {
        let metadata = file.metadata()?;
        Ok(Open {
            inode: metadata.ino(),
            created: created(&metadata),
            head: head(&file, position)?,
            recent: window(&file, position)?,
            file,
            position,
            read: position,
            lines: Lines::default(),
            at_end: false,
            cut_since: None,
            left_since: None,
        })
    }

    fn mark(&self) -> Mark {
        Mark {
            position: self.position,
            inode: Some(self.inode),
            created: self.created,
            head: Some(crc32c::crc32c(&self.head)),
            tail: Some(crc32c::crc32c(&self.recent)),
        }
    }

    fn next_line(&mut self) -> Option<(String, Mark)> {
        let (bytes, length) = self.lines.next()?;
        let text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        self.position += bytes.len() as u64;
        let wanted = WINDOW.saturating_sub(self.head.len()).min(bytes.len());
        self.head.extend_from_slice(&bytes[..wanted]);
        self.recent.extend_from_slice(&bytes[bytes.len().saturating_sub(WINDOW)..]);
        self.recent.drain(..self.recent.len().saturating_sub(WINDOW));
        Some((text, self.mark()))
    }

    /// What is held, as the last line of a file that nobody writes to any more.
    fn last_line(&mut self) -> Option<(String, Mark)> {
        if self.lines.held().is_empty() {
            return None;
        }
        let text = String::from_utf8_lossy(self.lines.held()).trim_end_matches('\r').to_owned();
        self.position = self.read;
        self.lines.clear();
        self.recent = window(&self.file, self.position).unwrap_or_default();
        Some((text, self.mark()))
    }

    fn begin_again(&mut self) {
        (self.position, self.read, self.cut_since, self.at_end) = (0, 0, None, false);
        self.lines.clear();
        self.head.clear();
        self.recent.clear();
    }

    /// Reads on; false at the end.
    fn read_more(&mut self) -> io::Result<bool> {
        let mut chunk = [0; READ_BYTES];
        if self.at_end {
            let length = self.file.metadata()?.len();
            if length <= self.read {
                return Ok(false);
            }
            if !continues(&self.file, &self.mark())? {
                tracing::info!("a file was rewritten; it is read from its beginning");
                self.begin_again();
            } else if self.lines.held().len() <= REREAD_BYTES_MAX {
                self.read = self.position;
                self.lines.clear();
            }
        }
        let count = self.file.read_at(&mut chunk, self.read)?;
        self.lines.feed(&chunk[..count]);
        self.read += count as u64;
        self.at_end = count == 0;
        if count > 0 {
            (self.cut_since, self.left_since) = (None, None);
        }
        Ok(count > 0)
    }

    /// Whether the file has been shorter than what was read for long enough.
    fn is_cut(&mut self) -> io::Result<bool> {
        if self.file.metadata()?.len() >= self.read {
            self.cut_since = None;
            return Ok(false);
        }
        Ok(self.cut_since.get_or_insert_with(Instant::now).elapsed() >= CUT_AFTER)
    }
}

impl Tail {
    pub fn new(path: &Path, resume: Option<Mark>) -> Tail {
        Tail { path: path.to_owned(), open: None, resume, missing: Missing::No }
    }

    /// Where the next line will begin, once there is a file.
    pub fn mark(&mut self) -> Result<Option<Mark>, TailError> {
        if self.open.is_none() {
            self.open = self.open_first().map_err(|source| TailError::Read { path: self.path.display().to_string(), source })?;
        }
        Ok(self.open.as_ref().map(Open::mark))
    }

    /// Bytes known to be there and not handed out.
    pub fn waiting(&self) -> Option<u64> {
        let open = self.open.as_ref()?;
        Some(open.file.metadata().ok()?.len().saturating_sub(open.position))
    }

    /// Up to `count` lines that are there now, each with the mark behind it.
    pub fn next_lines(&mut self, count: usize) -> Result<Vec<(String, Mark)>, TailError> {
        let mut found = Vec::new();
        self.fill(&mut found, count).map_err(|source| TailError::Read { path: self.path.display().to_string(), source })?;
        match &self.open {
            Some(open) if found.is_empty() && open.lines.held().len() > LINE_BYTES_MAX => {
                Err(TailError::TooLong { path: self.path.display().to_string(), position: open.position })
            }
            _ => Ok(found),
        }
    }

    fn fill(&mut self, found: &mut Vec<(String, Mark)>, count: usize) -> io::Result<()> {
        while found.len() < count {
            if self.open.is_none() {
                self.open = self.open_first()?;
            }
            let Some(open) = &mut self.open else { return Ok(()) };
            if let Some(line) = open.next_line() {
                found.push(line);
                continue;
            }
            if open.lines.held().len() > LINE_BYTES_MAX {
                return Ok(());
            }
            if open.read_more()? {
                continue;
            }
            if open.is_cut()? {
                tracing::info!("{} was cut short; it is read from its beginning", self.path.display());
                open.begin_again();
                continue;
            }
            if !self.is_left()? {
                return Ok(());
            }
            found.extend(self.leave()?);
        }
        Ok(())
    }

    /// Whether the name has belonged to another file for long enough.
    fn is_left(&mut self) -> io::Result<bool> {
        let Some(open) = &mut self.open else { return Ok(false) };
        match fs::metadata(&self.path) {
            Ok(metadata) if metadata.ino() != open.inode => Ok(open.left_since.get_or_insert_with(Instant::now).elapsed() >= LEFT_AFTER),
            Ok(_) => {
                open.left_since = None;
                Ok(false)
            }
            // Between two names, or deleted: another will come.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Goes on to the file that comes next; gives the last line of the one that is left.
    fn leave(&mut self) -> io::Result<Option<(String, Mark)>> {
        let Some(mut old) = self.open.take() else { return Ok(None) };
        let metadata = old.file.metadata()?;
        if metadata.nlink() == 0
            && let Some(new) = self.open_named()?
            && continues(&new, &old.mark())?
        {
            self.open = Some(Open::at(new, old.position)?);
            return Ok(None);
        }
        let last = old.last_line();
        let next = match self.successor(old.created, metadata.modified().ok(), Some(old.inode), &old.head)? {
            Some(next) => Some(next),
            None => self.open_named()?,
        };
        self.open = next.map(|file| Open::at(file, 0)).transpose()?;
        // A file that has no name yet is found when it has one; what came before it has been read.
        self.resume = if self.open.is_none() { Some(old.mark()) } else { None };
        Ok(last)
    }

    fn open_named(&mut self) -> io::Result<Option<File>> {
        match File::open(&self.path) {
            Ok(file) => {
                self.missing = Missing::No;
                Ok(Some(file))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => {
                if self.missing == Missing::No {
                    tracing::warn!("cannot open {} ({error}); waiting for it", self.path.display());
                    self.missing = Missing::Told;
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The file to begin with: the one that an earlier run stood in, wherever it is now.
    fn open_first(&mut self) -> io::Result<Option<Open>> {
        let named = self.open_named()?;
        let Some(mark) = self.resume.clone() else {
            return named.map(|file| Open::at(file, 0)).transpose();
        };
        let named_inode = named.as_ref().map(File::metadata).transpose()?.map(|metadata| metadata.ino());
        let opened = match named {
            Some(file) if mark.inode.is_none_or(|inode| named_inode == Some(inode)) && continues(&file, &mark)? => {
                Some(Open::at(file, mark.position)?)
            }
            named => match self.renamed(&mark)? {
                Some((file, position)) => Some(Open::at(file, position)?),
                // The old file is gone, or it is the same one with other bytes.
                None => match named {
                    Some(file) if continues(&file, &mark)? && mark.inode.is_some() => Some(Open::at(file, mark.position)?),
                    Some(file) if named_inode == mark.inode => Some(Open::at(file, 0)?),
                    Some(file) => {
                        let between =
                            mark.created.map(|created| self.successor(Some(created), None, mark.inode, &[])).transpose()?.flatten();
                        Some(Open::at(between.unwrap_or(file), 0)?)
                    }
                    None => None,
                },
            },
        };
        if opened.is_some() {
            self.resume = None;
        }
        Ok(opened)
    }

    /// The marked file under another name of its directory, and where to begin in it: it may have been rewritten before it was renamed.
    fn renamed(&self, mark: &Mark) -> io::Result<Option<(File, u64)>> {
        // Whatever it is called now: it is known by its inode.
        for path in self.siblings(|_| true)? {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if Some(metadata.ino()) != mark.inode {
                continue;
            }
            let Ok(file) = File::open(&path) else { continue };
            if continues(&file, mark)? {
                return Ok(Some((file, mark.position)));
            }
            // The inode of a file that is gone may have been given to another.
            if mark.created.is_none_or(|known| created(&metadata) == Some(known)) {
                return Ok(Some((file, 0)));
            }
        }
        Ok(None)
    }

    /// The oldest file that had the name after the one made at `made`, and has lost it since. A copy of that one does not count.
    fn successor(
        &self,
        made: Option<i64>,
        written: Option<std::time::SystemTime>,
        inode: Option<u64>,
        head: &[u8],
    ) -> io::Result<Option<File>> {
        let Some(made) = made else { return Ok(None) };
        let written = written.and_then(|time| i64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok());
        let named = fs::metadata(&self.path).ok().map(|metadata| metadata.ino());
        let mut found: Vec<(i64, PathBuf)> = Vec::new();
        for path in self.siblings(is_numbered)? {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let own = Some(metadata.ino());
            let Some(born) = created(&metadata).filter(|born| *born > made && metadata.is_file() && own != inode && own != named) else {
                continue;
            };
            // It may be shorter: what it is a copy of has grown since.
            let is_copy = || {
                let length = metadata.len().min(head.len() as u64);
                let same = File::open(&path).and_then(|file| window(&file, length)).is_ok_and(|first| head.starts_with(&first));
                same && length > 0 && written.is_some_and(|written| born < written)
            };
            if !is_copy() {
                found.push((born, path));
            }
        }
        found.sort();
        match found.first() {
            Some((_, path)) => File::open(path).map(Some),
            None => Ok(None),
        }
    }

    /// Files whose names are the file's own and an ending, as rotation makes them.
    fn siblings(&self, ending: fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let Some(own) = self.path.file_name().map(|name| name.to_string_lossy().into_owned()) else { return Ok(Vec::new()) };
        let mut found = Vec::new();
        // A directory that may be passed through but not listed has none to show.
        let Ok(entries) = fs::read_dir(directory) else { return Ok(found) };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let rest = name.strip_prefix(&own).unwrap_or_default();
            if rest.starts_with(['.', '-', '_', '~']) && ending(rest) {
                found.push(entry.path());
            }
        }
        Ok(found)
    }
}
