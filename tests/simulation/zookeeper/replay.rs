//! All that was ever written into the ensemble, gone through once: is each write one that its writer may make, and what does the log come to?

use std::collections::BTreeMap;

use ottla::io::memory::tree::{Ensemble, Written};
use ottla::io::tree::Change;
use ottla::metadata::batch::Assembler;
use ottla::metadata::image::MetadataImage;
use ottla::metadata::record::Record;
use ottla::types::Monotonic;
use serde::Deserialize;
use serde::de::DeserializeOwned;

const EPOCH: &str = "/ottla/metadata/epoch";
const END: &str = "/ottla/metadata/end";
const LOG: &str = "/ottla/metadata/log/";
const SNAPSHOT: &str = "/ottla/metadata/snapshot";
pub const SNAPSHOTS: &str = "/ottla/metadata/snapshots/";
/// Kafka's nodes with a content that the controller alone writes, and tools.
const LAYOUT: [&str; 6] = ["/brokers/topics/", "/config/topics/", "/config/brokers/", "/controller_epoch", "/cluster/id", "/feature"];

/// Simulated nodes below this are brokers.
const BROKERS_BELOW: u32 = 9;

#[derive(Deserialize)]
struct Epoch {
    epoch: i32,
}

#[derive(Deserialize)]
struct End {
    end: i64,
}

#[derive(Deserialize)]
struct Page {
    base: i64,
    epoch: i32,
    records: Vec<Record>,
}

#[derive(Deserialize)]
struct Pointer {
    offset: i64,
    directory: String,
    chunks: usize,
}

/// The cluster after one batch of the log.
pub struct Moment {
    pub at: Monotonic,
    pub records: Vec<Record>,
    pub image: MetadataImage,
}

#[derive(Default)]
pub struct Replay {
    /// Groups of changes gone through.
    seen: usize,
    /// The latest epoch, and the simulated node of its controller.
    elected: (i32, u32),
    end: i64,
    assembler: Assembler,
    pub moments: Vec<Moment>,
    /// Ends of pages that are there, by base.
    pages: BTreeMap<i64, i64>,
    chunks: BTreeMap<String, Vec<u8>>,
    snapshot_at: i64,
}

fn parse<T: DeserializeOwned>(path: &str, content: &[u8]) -> Result<T, String> {
    serde_json::from_slice(content).map_err(|error| format!("{path}: {error}"))
}

impl Replay {
    pub fn image(&self) -> MetadataImage {
        self.moments.last().map(|moment| moment.image.clone()).unwrap_or_default()
    }

    /// The node that was elected last.
    pub fn controller(&self) -> u32 {
        self.elected.1
    }

    pub fn epoch(&self) -> i32 {
        self.elected.0
    }

    /// Goes through what was written since.
    pub fn catch_up(&mut self, ensemble: &Ensemble) -> Result<(), String> {
        for written in ensemble.history(self.seen) {
            self.seen += 1;
            self.take(&written).map_err(|why| format!("{why}\n    written at {:?} by node {}", written.at, written.node))?;
        }
        Ok(())
    }

    fn take(&mut self, written: &Written) -> Result<(), String> {
        let before = self.end;
        let mut end = self.end;
        for change in &written.changes {
            match change {
                Change::Set { path, content, .. } if path == EPOCH => {
                    let Epoch { epoch } = parse(path, content)?;
                    if epoch != self.elected.0 + 1 {
                        return Err(format!("2: epoch {epoch} follows {}", self.elected.0));
                    }
                    self.elected = (epoch, written.node);
                }
                Change::Set { path, content, .. } if path == END => end = parse::<End>(path, content)?.end,
                Change::Create { path, content, .. } if path.starts_with(LOG) => self.add_page(written, parse(path, content)?)?,
                Change::Delete { path, .. } if path.starts_with(LOG) => self.remove_page(path)?,
                Change::Create { path, content, .. } if path.starts_with(SNAPSHOTS) => {
                    drop(self.chunks.insert(path.clone(), content.clone()))
                }
                Change::Set { path, content, .. } if path == SNAPSHOT => self.take_snapshot(written, parse(path, content)?)?,
                Change::Create { path, content, .. } | Change::Set { path, content, .. } => {
                    let is_shown = LAYOUT.iter().any(|prefix| path.starts_with(prefix)) && !content.is_empty();
                    if is_shown && written.node < BROKERS_BELOW && written.node != self.elected.1 {
                        return Err(format!("4: {path} is written by {} while {} is the controller", written.node, self.elected.1));
                    }
                }
                Change::Check { .. } | Change::Delete { .. } => {}
            }
        }
        if end != self.end {
            return Err(format!("2: the log of {before}..{} ends at {end}, as it says", self.end));
        }
        Ok(())
    }

    fn add_page(&mut self, written: &Written, page: Page) -> Result<(), String> {
        let Page { base, epoch, records } = page;
        if (epoch, written.node) != self.elected {
            return Err(format!("2: a page at {base} of epoch {epoch} is written when {:?} was elected", self.elected));
        }
        if base != self.end || records.is_empty() {
            return Err(format!("2: a page of {} records at {base} is written to a log that ends at {}", records.len(), self.end));
        }
        self.end = base + records.len() as i64;
        self.pages.insert(base, self.end);
        let whole = self.assembler.push((base..).zip(records)).map_err(|error| format!("2: {error}"))?;
        if let Some(version) = whole.end {
            let (image, _) = self.image().apply(&whole.records, version).map_err(|error| format!("2: {error}"))?;
            self.moments.push(Moment { at: written.at, records: whole.records, image });
        }
        Ok(())
    }

    fn remove_page(&mut self, path: &str) -> Result<(), String> {
        let base = path[LOG.len()..].parse().unwrap_or(-1);
        match self.pages.remove(&base) {
            Some(end) if end <= self.snapshot_at => Ok(()),
            other => Err(format!("3: the page {base}..{other:?} goes, and the snapshot is of {}", self.snapshot_at)),
        }
    }

    fn take_snapshot(&mut self, written: &Written, pointer: Pointer) -> Result<(), String> {
        let Pointer { offset, directory, chunks } = pointer;
        if written.node != self.elected.1 {
            return Err(format!("3: a snapshot of {offset} is taken by {} while {} is the controller", written.node, self.elected.1));
        }
        let mut records: Vec<Record> = vec![];
        for chunk in 0..chunks {
            let path = format!("{SNAPSHOTS}{directory}/{chunk:04}");
            let content = self.chunks.get(&path).ok_or_else(|| format!("3: {path} is missing from a snapshot"))?;
            records.extend(parse::<Vec<Record>>(&path, content)?);
        }
        let image = MetadataImage::from_snapshot(&records, offset).map_err(|error| format!("3: snapshot of {offset}: {error}"))?;
        // What a batch that was aborted has left moves the version alone.
        let as_of = self.moments.iter().rev().find(|moment| moment.image.version() <= offset);
        match as_of {
            Some(moment) if moment.image.version() == offset && moment.image == image && offset > self.snapshot_at => {
                self.snapshot_at = offset;
                Ok(())
            }
            _ => Err(format!("3: the snapshot of {offset} in a log of {} is not what the log comes to there", self.end)),
        }
    }
}
