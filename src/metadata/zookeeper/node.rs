//! Paths and contents of the home's nodes. Contents are JSON: `zkCli` shows what a broker sees.
//!
//! ```text
//!   /ottla/controller            as long as its session: {"node":1,"incarnation":"…"}
//!   /ottla/brokers/1             as long as its session: a broker's registration
//!   /ottla/metadata/epoch        {"epoch":3,"node":1}                       its version tells one election from another
//!   /ottla/metadata/end          {"end":42,"epoch":3,"attempt":…}           its version tells one append from another
//!   /ottla/metadata/log/00…40    {"base":40,"epoch":3,"records":[…]}        named by the offset of its first record
//!   /ottla/metadata/snapshot     {"offset":40,"directory":"00…40-…","chunks":2}
//!   /ottla/metadata/snapshots/00…40-…/0000   [record, …]
//! ```

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::metadata::home::HomeError;
use crate::metadata::record::Record;
use crate::types::NodeId;

pub const ROOT: &str = "/ottla";
pub const CONTROLLER: &str = "/ottla/controller";
/// Why no broker may use the home, where that is so.
pub const MOVED: &str = "/ottla/moved";
pub const BROKERS: &str = "/ottla/brokers";
pub const METADATA: &str = "/ottla/metadata";
pub const EPOCH: &str = "/ottla/metadata/epoch";
pub const END: &str = "/ottla/metadata/end";
pub const LOG: &str = "/ottla/metadata/log";
pub const SNAPSHOT: &str = "/ottla/metadata/snapshot";
pub const SNAPSHOTS: &str = "/ottla/metadata/snapshots";

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Elected {
    pub node: i32,
    /// Of the home that was elected, so that it knows its own node after its session has expired.
    pub incarnation: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Epoch {
    pub epoch: i32,
    pub node: i32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct End {
    pub end: i64,
    pub epoch: i32,
    /// Drawn for each append, so that one whose answer was lost is known again.
    pub attempt: u64,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Page {
    pub base: i64,
    pub epoch: i32,
    pub records: Vec<Record>,
}

impl Page {
    /// One past its last record.
    pub fn end(&self) -> i64 {
        self.base.saturating_add(self.records.len() as i64)
    }
}

/// Where the latest snapshot is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, Default)]
pub struct Pointer {
    pub offset: i64,
    pub directory: String,
    pub chunks: usize,
}

pub fn broker_path(node: NodeId) -> String {
    format!("{BROKERS}/{node}")
}

/// Twenty digits, so that names sort as offsets do.
pub fn page_path(base: i64) -> String {
    format!("{LOG}/{base:020}")
}

pub fn page_base(name: &str) -> Option<i64> {
    name.parse().ok()
}

pub fn chunk_path(directory: &str, chunk: usize) -> String {
    format!("{SNAPSHOTS}/{directory}/{chunk:04}")
}

/// Contents of these types have neither maps with keys other than text nor anything else that JSON lacks.
pub fn text(content: &impl Serialize) -> Vec<u8> {
    match serde_json::to_vec(content) {
        Ok(text) => text,
        Err(error) => unreachable!("a node's content has a JSON form: {error}"),
    }
}

pub fn parse<T: DeserializeOwned>(path: &str, content: &[u8]) -> Result<T, HomeError> {
    serde_json::from_slice(content).map_err(|error| damaged(path, &error.to_string()))
}

pub fn damaged(path: &str, reason: &str) -> HomeError {
    HomeError::Damaged {
        place: format!("ZooKeeper's node {path}"),
        position: 0,
        reason: reason.to_owned(),
        remedy: "Restore the ensemble's data from a backup, or, if another node wrote here, give each cluster a chroot of its own"
            .to_owned(),
    }
}
