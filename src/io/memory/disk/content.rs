//! What a file holds: the image readers see, the image a loss of power is certain to leave, and the changes between the two.
//!
//! Called by `disk`; `crash` decides which of the changes survive. Images share their pages, so that a synced file is held once.
//!
//! Invariants:
//! 1. `live` equals `durable` with all of `changes` applied in order, unless a sync of the file has failed.
//! 2. A page of an image is zero past the image's length.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

pub(super) const PAGE_BYTES: u64 = 4096;

pub(super) type Page = [u8; PAGE_BYTES as usize];

/// A sparse run of bytes: pages that were never written read as zeros.
#[derive(Clone, Default)]
pub(super) struct Image {
    pub(super) len: u64,
    pub(super) pages: BTreeMap<u64, Arc<Page>>,
}

impl Image {
    /// Up to `len` bytes from `position`; fewer only at the end.
    pub(super) fn read(&self, position: u64, len: usize) -> Vec<u8> {
        let len = self.len.saturating_sub(position).min(len as u64);
        let mut bytes = vec![0; len as usize];
        if len == 0 {
            return bytes;
        }
        for (&number, page) in self.pages.range(position / PAGE_BYTES..=(position + len - 1) / PAGE_BYTES) {
            let (target, source) = overlap(position, len, number);
            bytes[target].copy_from_slice(&page[source]);
        }
        bytes
    }

    pub(super) fn write(&mut self, position: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let len = bytes.len() as u64;
        for number in position / PAGE_BYTES..=(position + len - 1) / PAGE_BYTES {
            let (source, target) = overlap(position, len, number);
            let page = self.pages.entry(number).or_insert_with(|| Arc::new([0; PAGE_BYTES as usize]));
            Arc::make_mut(page)[target].copy_from_slice(&bytes[source]);
        }
        self.len = self.len.max(position + len);
    }

    pub(super) fn truncate(&mut self, len: u64) {
        if len < self.len {
            self.pages.split_off(&len.div_ceil(PAGE_BYTES));
            if let Some(page) = self.pages.get_mut(&(len / PAGE_BYTES)) {
                Arc::make_mut(page)[(len % PAGE_BYTES) as usize..].fill(0);
            }
        }
        self.len = len;
    }
}

/// The part of the range `position..position + len` that lies in a page: as indexes into the range, and into the page.
pub(super) fn overlap(position: u64, len: u64, page: u64) -> (std::ops::Range<usize>, std::ops::Range<usize>) {
    let page_start = page * PAGE_BYTES;
    let start = position.max(page_start);
    let end = (position + len).min(page_start + PAGE_BYTES).max(start);
    ((start - position) as usize..(end - position) as usize, (start - page_start) as usize..(end - page_start) as usize)
}

pub(super) enum Change {
    Write { position: u64, bytes: Vec<u8> },
    Truncate { len: u64 },
}

impl Change {
    pub(super) fn apply(&self, image: &mut Image) {
        match self {
            Change::Write { position, bytes } => image.write(*position, bytes),
            Change::Truncate { len } => image.truncate(*len),
        }
    }

    fn held_bytes(&self) -> usize {
        match self {
            Change::Write { bytes, .. } => bytes.len(),
            Change::Truncate { .. } => 0,
        }
    }
}

#[derive(Default)]
pub(super) struct Content {
    pub(super) live: Image,
    pub(super) durable: Image,
    pub(super) changes: VecDeque<Change>,
    /// Changes ever made durable or given up: the number of the first of `changes`.
    pub(super) settled: u64,
    dirty_bytes: usize,
    /// Pages whose bytes the disk was given without being asked, and their place not: the change that made them, which no sync has covered since.
    unplaced: BTreeMap<u64, u64>,
    /// Likewise changes that were written back, with the length before each.
    unplaced_lens: BTreeMap<u64, u64>,
    /// The length that syncs have covered.
    placed_len: u64,
    /// When it was last written to.
    pub(super) modified: u64,
    /// Bytes reserved from the start of the file.
    pub(super) allocated: u64,
    /// Bytes of the filesystem this file is charged for.
    pub(super) charged: u64,
}

impl Content {
    /// A file all of which is durable.
    pub(super) fn synced(image: Image, allocated: u64) -> Self {
        Self { placed_len: image.len, live: image.clone(), durable: image, allocated, ..Self::default() }
    }

    pub(super) fn change(&mut self, change: Change, dirty_bytes_max: usize) {
        change.apply(&mut self.live);
        if let Change::Truncate { len } = change {
            self.allocated = self.allocated.min(len);
        }
        self.dirty_bytes += change.held_bytes();
        self.changes.push_back(change);
        while self.dirty_bytes > dirty_bytes_max {
            self.unplaced_lens.insert(self.settled, self.durable.len);
            if let Some(Change::Write { position, bytes }) = self.changes.front()
                && !bytes.is_empty()
            {
                let pages = position / PAGE_BYTES..=(position + bytes.len() as u64 - 1) / PAGE_BYTES;
                let made = pages.filter(|number| !self.durable.pages.contains_key(number));
                self.unplaced.extend(made.map(|number| (number, self.settled)));
            }
            self.settle_first();
            self.placed_len = self.placed_len.min(self.durable.len);
        }
    }

    /// The number the next change will have: a sync called now covers those below.
    pub(super) fn changes_end(&self) -> u64 {
        self.settled + self.changes.len() as u64
    }

    /// Makes the changes numbered below `covered` durable.
    pub(super) fn settle(&mut self, covered: u64) {
        while self.settled < covered && !self.changes.is_empty() {
            self.settle_first();
        }
        self.unplaced.retain(|_, change| *change >= covered);
        self.unplaced_lens.retain(|change, _| *change >= covered);
        self.placed_len = self.unplaced_lens.values().next().map_or(self.durable.len, |before| self.durable.len.min(*before));
    }

    /// Makes the bytes of the range durable that changes numbered below `covered` have written to pages which a sync has covered, within the length that
    /// it has covered. Others are as before: where they lie is not on the disk. The changes stay, and write no other bytes there. Answers with how many
    /// pages that were.
    pub(super) fn settle_range(&mut self, range: Range<u64>, covered: u64) -> u64 {
        let count = covered.saturating_sub(self.settled).min(self.changes.len() as u64) as usize;
        let is_cut = |change: &Change| matches!(change, Change::Truncate { len } if *len < range.end);
        if self.changes.range(..count).any(is_cut) {
            return 0;
        }
        let settled = self.changes.range(..count).fold(self.durable.clone(), |mut image, change| {
            change.apply(&mut image);
            image
        });
        let placed_len = self.placed_len;
        let mut pages_settled = 0;
        let pages = range.start / PAGE_BYTES..range.end.min(placed_len).div_ceil(PAGE_BYTES);
        for number in pages {
            let start = range.start.max(number * PAGE_BYTES);
            let end = range.end.min(placed_len).min((number + 1) * PAGE_BYTES);
            if start >= end || !self.durable.pages.contains_key(&number) || self.unplaced.contains_key(&number) {
                continue;
            }
            let bytes = settled.read(start, (end - start) as usize);
            self.durable.write(start, &bytes);
            pages_settled += 1;
            for change in self.changes.range_mut(..count) {
                if let Change::Write { position, bytes: written } = change {
                    let (from, to) = (start.max(*position), end.min(*position + written.len() as u64));
                    if from < to {
                        written[(from - *position) as usize..(to - *position) as usize]
                            .copy_from_slice(&bytes[(from - start) as usize..(to - start) as usize]);
                    }
                }
            }
        }
        pages_settled
    }

    fn settle_first(&mut self) {
        if let Some(change) = self.changes.pop_front() {
            change.apply(&mut self.durable);
            self.dirty_bytes -= change.held_bytes();
            self.settled += 1;
        }
    }

    /// Takes the changes numbered below `covered`; their fate is the caller's to decide.
    pub(super) fn take_changes(&mut self, covered: u64) -> Vec<Change> {
        let count = covered.saturating_sub(self.settled).min(self.changes.len() as u64);
        let taken: Vec<Change> = self.changes.drain(..count as usize).collect();
        self.settled += count;
        self.dirty_bytes -= taken.iter().map(Change::held_bytes).sum::<usize>();
        taken
    }

    /// Bytes of the filesystem the file takes. Reserved space counts from the start of the file, so a sparse file with a reservation is
    /// charged for the larger of the two.
    pub(super) fn footprint(&self) -> u64 {
        (self.live.pages.len() as u64 * PAGE_BYTES).max(self.allocated.div_ceil(PAGE_BYTES) * PAGE_BYTES)
    }

    /// Bytes of a write at `position` that fit into `room` more bytes of the filesystem.
    pub(super) fn fitting(&self, position: u64, len: u64, room: u64) -> u64 {
        if len == 0 {
            return 0;
        }
        let reserved_pages = self.allocated.div_ceil(PAGE_BYTES);
        let mut pages = self.live.pages.len() as u64;
        let most = self.charged.saturating_add(room);
        for number in position / PAGE_BYTES..=(position + len - 1) / PAGE_BYTES {
            pages += u64::from(!self.live.pages.contains_key(&number));
            if pages.max(reserved_pages) * PAGE_BYTES > most {
                return (number * PAGE_BYTES).saturating_sub(position);
            }
        }
        len
    }
}

/// A file, with or without a name.
pub(super) struct Inode {
    pub(super) id: u64,
    content: Mutex<Content>,
    handles: AtomicUsize,
}

impl Inode {
    pub(super) fn new(id: u64) -> Arc<Self> {
        Arc::new(Self { id, content: Mutex::default(), handles: AtomicUsize::new(0) })
    }

    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_open(&self) -> bool {
        self.handles.load(Ordering::SeqCst) > 0
    }
}

/// Keeps a file's content while it is held, name or no name.
pub(in crate::io::memory) struct Handle {
    pub(super) inode: Arc<Inode>,
    /// The path it was opened by, by which faults are aimed.
    pub(in crate::io::memory) path: String,
}

impl Handle {
    pub(super) fn new(inode: Arc<Inode>, path: String) -> Self {
        inode.handles.fetch_add(1, Ordering::SeqCst);
        Self { inode, path }
    }

    pub(in crate::io::memory) fn len(&self) -> u64 {
        self.inode.content().live.len
    }

    pub(in crate::io::memory) fn read(&self, position: u64, len: usize) -> Vec<u8> {
        self.inode.content().live.read(position, len)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.inode.handles.fetch_sub(1, Ordering::SeqCst);
    }
}
