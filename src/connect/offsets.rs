//! Where sources stand: one file for all connectors of a worker, replaced whole at each flush.
//!
//! Called by `running` for each source task, and by the worker for operators; calls the filesystem.
//!
//! ```text
//!   {"ottla.connect.offsets":1,"connectors":{"NAME":[{"partition":{...},"offset":{...}}, ...]}}
//! ```
//!
//! It is JSON of our own, not the serialized Java map that Kafka's worker writes; such a file is refused rather than taken for an empty one.
//!
//! Invariants:
//! 1. The file is written beside itself, synced, renamed over the old one, and the directory synced: a crash leaves the old or the new.
//! 2. A file that cannot be read ends the start: the offsets in it are not silently forgotten.
//! 3. What `get` tells is what the file holds, or what will be in it with the next `persist`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::record::JsonMap;

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    #[serde(rename = "ottla.connect.offsets")]
    version: u32,
    connectors: BTreeMap<String, Vec<Entry>>,
}

/// One partition of a source and its offset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub partition: JsonMap,
    pub offset: JsonMap,
}

/// By connector, and in it by the text of the partition.
type Known = BTreeMap<String, BTreeMap<String, Entry>>;

#[derive(Debug)]
pub struct OffsetStore {
    path: PathBuf,
    known: Mutex<Known>,
    /// Held while the file is written: one at a time.
    writing: Mutex<()>,
}

#[derive(Debug, thiserror::Error)]
pub enum OffsetsError {
    #[error("cannot read the offsets in {path}: {source}")]
    Read { path: String, source: io::Error },
    #[error(
        "{path} is no file of offsets that this worker wrote ({why}); name another one in offset.storage.file.filename, or move it away"
    )]
    Foreign { path: String, why: String },
    #[error("cannot write the offsets to {path}: {source}")]
    Write { path: String, source: io::Error },
}

fn key(partition: &JsonMap) -> String {
    Json::Object(partition.clone()).to_string()
}

impl OffsetStore {
    pub fn open(path: &Path) -> Result<Self, OffsetsError> {
        let shown = || path.display().to_string();
        let known = match fs::read(path) {
            Ok(bytes) if bytes.is_empty() => Known::new(),
            Ok(bytes) => parse(&bytes).map_err(|why| OffsetsError::Foreign { path: shown(), why })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Known::new(),
            Err(source) => return Err(OffsetsError::Read { path: shown(), source }),
        };
        Ok(OffsetStore { path: path.to_owned(), known: Mutex::new(known), writing: Mutex::new(()) })
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn get(&self, connector: &str, partition: &JsonMap) -> Option<JsonMap> {
        self.known().get(connector)?.get(&key(partition)).map(|entry| entry.offset.clone())
    }

    pub fn of(&self, connector: &str) -> Vec<Entry> {
        self.known().get(connector).map(|entries| entries.values().cloned().collect()).unwrap_or_default()
    }

    /// Remembers an offset, or forgets it; in the file with the next [`OffsetStore::persist`].
    pub fn set(&self, connector: &str, partition: JsonMap, offset: Option<JsonMap>) {
        let mut known = self.known();
        let entries = known.entry(connector.to_owned()).or_default();
        match offset {
            Some(offset) => entries.insert(key(&partition), Entry { partition, offset }),
            None => entries.remove(&key(&partition)),
        };
        if entries.is_empty() {
            known.remove(connector);
        }
    }

    pub fn forget(&self, connector: &str) {
        self.known().remove(connector);
    }

    /// Replaces the file.
    pub fn persist(&self) -> Result<(), OffsetsError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let connectors = self.known().iter().map(|(name, entries)| (name.clone(), entries.values().cloned().collect())).collect();
        let text = serde_json::to_vec(&Stored { version: VERSION, connectors })
            .map_err(|error| OffsetsError::Write { path: self.path.display().to_string(), source: error.into() })?;
        replace(&self.path, &text).map_err(|source| OffsetsError::Write { path: self.path.display().to_string(), source })
    }
}

fn parse(bytes: &[u8]) -> Result<Known, String> {
    if bytes.starts_with(&[0xac, 0xed]) {
        return Err("it is a serialized Java map, as Kafka's own worker writes it".to_owned());
    }
    let stored: Stored = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    if stored.version != VERSION {
        return Err(format!("it is of version {}, not {VERSION}", stored.version));
    }
    let by_key = |entries: Vec<Entry>| entries.into_iter().map(|entry| (key(&entry.partition), entry)).collect();
    Ok(stored.connectors.into_iter().map(|(name, entries)| (name, by_key(entries))).collect())
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let mut file = File::create(&beside)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, value: i64) -> JsonMap {
        [(name.to_owned(), Json::from(value))].into_iter().collect()
    }

    #[test]
    fn offsets_survive_and_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("offsets");
        let store = OffsetStore::open(&path).unwrap();
        store.set("a", map("p", 1), Some(map("position", 7)));
        store.set("a", map("p", 2), Some(map("position", 8)));
        store.set("b", map("p", 1), Some(map("position", 9)));
        store.persist().unwrap();
        let store = OffsetStore::open(&path).unwrap();
        assert_eq!(store.get("a", &map("p", 1)), Some(map("position", 7)));
        assert_eq!(store.of("a").len(), 2);
        store.set("a", map("p", 1), None);
        store.forget("b");
        store.persist().unwrap();
        let store = OffsetStore::open(&path).unwrap();
        assert_eq!((store.of("a").len(), store.of("b").len()), (1, 0));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_of_another_kind_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("offsets");
        for bytes in
            [&b"\xac\xed\x00\x05sr"[..], b"{\"ottla.connect.offsets\":2,\"connectors\":{}}", b"{\"ottla.connect.offsets\":1,\"conn"]
        {
            fs::write(&path, bytes).unwrap();
            assert!(matches!(OffsetStore::open(&path), Err(OffsetsError::Foreign { .. })));
        }
        fs::write(&path, b"").unwrap();
        assert!(OffsetStore::open(&path).is_ok());
    }
}
