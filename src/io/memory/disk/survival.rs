//! What a loss of power leaves of one file's unsynced changes (see the fault model in the header of `memory`).
//!
//! Called by `disk` at a loss of power, and for a sync that fails: the kernel then takes the pages for clean, and what reached the disk
//! by then is all that ever will.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::content::{Change, Image, PAGE_BYTES, Page, overlap};
use crate::io::memory::random::Random;

/// The part of a page a disk writes whole.
const SECTOR_BYTES: usize = 512;

/// How much of what was not synced survives, drawn once per crash so that "nothing" and "everything" are as common as mixtures.
#[derive(Clone, Copy)]
pub(super) enum Survival {
    Nothing,
    Everything,
    /// Of eight.
    Share(u64),
}

impl Survival {
    pub(super) fn draw(random: &mut Random) -> Self {
        match random.below(8) {
            0 => Survival::Nothing,
            1 => Survival::Everything,
            _ => Survival::Share(random.between(1, 7)),
        }
    }

    /// How many of `count` changes in a row survive.
    pub(super) fn prefix(self, random: &mut Random, count: usize) -> usize {
        match self {
            Survival::Nothing => 0,
            Survival::Everything => count,
            Survival::Share(_) => random.below(count as u64 + 1) as usize,
        }
    }

    pub(super) fn one(self, random: &mut Random) -> bool {
        match self {
            Survival::Nothing => false,
            Survival::Everything => true,
            Survival::Share(share) => random.below(8) < share,
        }
    }
}

/// What happened to unsynced pages and lengths, for the counters.
#[derive(Default)]
pub(super) struct Toll {
    pub(super) pages_kept: u64,
    pub(super) pages_lost: u64,
    pub(super) pages_torn: u64,
    pub(super) lengths_lost: u64,
    /// Pages within the surviving length whose bytes did not survive: they read as zeros, or as what was there before.
    pub(super) pages_stale: u64,
}

/// The image that survives when `changes` were made to `durable` and never synced.
///
/// The length is metadata: it is the one after some first `m` changes, and a truncation among those has freed its blocks for good. Each
/// page is data: it holds the bytes of any number of its own writes, the earlier ones first, independent of other pages; a torn page
/// decides so for each of its sectors. Writes made after a truncation that did not survive went to blocks nobody reaches.
pub(super) fn surviving(durable: &Image, changes: &[Change], survival: Survival, random: &mut Random, toll: &mut Toll) -> Image {
    let cut = survival.prefix(random, changes.len());
    let mut lengths = Image { len: durable.len, ..Image::default() };
    let mut lengths_final = durable.len;
    for (index, change) in changes.iter().enumerate() {
        lengths_final = match change {
            Change::Write { bytes, .. } if bytes.is_empty() => lengths_final,
            Change::Write { position, bytes } => lengths_final.max(position + bytes.len() as u64),
            Change::Truncate { len } => *len,
        };
        if index < cut {
            lengths.len = lengths_final;
        }
    }
    toll.lengths_lost += u64::from(lengths.len != lengths_final);
    let mut image = durable.clone();
    let truncations: Vec<usize> = (0..changes.len()).filter(|&index| matches!(changes[index], Change::Truncate { .. })).collect();
    for (number, writes) in touched_pages(durable, changes) {
        let mut touching = [writes, truncations.clone()].concat();
        touching.sort_unstable();
        let versions = page_versions(durable, changes, number, &touching, cut);
        match surviving_page(versions, number * PAGE_BYTES < lengths.len, survival, random, toll) {
            Some(page) => drop(image.pages.insert(number, page)),
            None => drop(image.pages.remove(&number)),
        }
    }
    // Shrinking and growing back by way of the longest possible length zeroes what lies past the end.
    image.len = u64::MAX;
    image.truncate(lengths.len);
    image
}

/// The pages that any change touches, each with the writes that do.
fn touched_pages(durable: &Image, changes: &[Change]) -> BTreeMap<u64, Vec<usize>> {
    let mut pages: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (index, change) in changes.iter().enumerate() {
        match change {
            Change::Write { bytes, .. } if bytes.is_empty() => {}
            Change::Write { position, bytes } => {
                for number in position / PAGE_BYTES..=(position + bytes.len() as u64 - 1) / PAGE_BYTES {
                    pages.entry(number).or_default().push(index);
                }
            }
            Change::Truncate { len } => {
                for (&number, _) in durable.pages.range(len / PAGE_BYTES..) {
                    pages.entry(number).or_default();
                }
            }
        }
    }
    pages
}

/// What a page may hold after the loss, oldest first. `touching` are the changes that may concern it, `cut` the number of changes whose
/// metadata survived. `None` is a page of zeros that takes no space.
fn page_versions(durable: &Image, changes: &[Change], number: u64, touching: &[usize], cut: usize) -> Vec<Option<Arc<Page>>> {
    let page_start = number * PAGE_BYTES;
    let page_end = page_start + PAGE_BYTES;
    let mut versions: Vec<Option<Arc<Page>>> = vec![durable.pages.get(&number).cloned()];
    for &index in touching {
        let last = versions.last().cloned().flatten();
        match &changes[index] {
            // It did not survive: what was written after it went to blocks nobody reaches.
            Change::Truncate { len } if *len < page_end && index >= cut => break,
            Change::Truncate { len } if *len < page_end => {
                // It survived, and with it the zeros it left: nothing older can come back.
                versions.clear();
                versions.push(last.filter(|_| *len > page_start).map(|mut page| {
                    Arc::make_mut(&mut page)[(*len - page_start) as usize..].fill(0);
                    page
                }));
            }
            Change::Truncate { .. } => {}
            Change::Write { position, bytes } => {
                let (source, target) = overlap(*position, bytes.len() as u64, number);
                let mut page = last.unwrap_or_else(|| Arc::new([0; PAGE_BYTES as usize]));
                Arc::make_mut(&mut page)[target].copy_from_slice(&bytes[source]);
                versions.push(Some(page));
            }
        }
    }
    versions
}

fn surviving_page(
    mut versions: Vec<Option<Arc<Page>>>,
    is_within_length: bool,
    survival: Survival,
    random: &mut Random,
    toll: &mut Toll,
) -> Option<Arc<Page>> {
    let newest = versions.len() - 1;
    if newest == 0 {
        return versions.pop().flatten();
    }
    if matches!(survival, Survival::Share(_)) && random.one_in(4) {
        toll.pages_torn += 1;
        let mut page: Page = [0; PAGE_BYTES as usize];
        for sector in (0..PAGE_BYTES as usize).step_by(SECTOR_BYTES) {
            if let Some(source) = &versions[survival.prefix(random, newest)] {
                page[sector..sector + SECTOR_BYTES].copy_from_slice(&source[sector..sector + SECTOR_BYTES]);
            }
        }
        return Some(Arc::new(page));
    }
    let chosen = match survival {
        Survival::Share(_) if survival.one(random) => newest,
        _ => survival.prefix(random, newest),
    };
    if chosen == newest {
        toll.pages_kept += 1;
    } else {
        toll.pages_lost += 1;
        toll.pages_stale += u64::from(is_within_length);
    }
    versions.swap_remove(chosen)
}
