//! Appending to the log and reading it.
//!
//! ```text
//!   one group:   check epoch@v1    set end@v2 ──► {"end":43,"epoch":3,"attempt":A}    create log/00…42
//!   no answer:   end@v2+1 with attempt A ── it was made          end@v2 ── set end@v2, unchanged but for its version: it never will be
//! ```

use super::node::{self, End, Epoch, Page};
use super::{ZooKeeperHome, tree_error};
use crate::io::World;
use crate::io::tree::{Change, Refusal, Tree, TreeError};
use crate::metadata::batch;
use crate::metadata::home::{Appended, HomeError};
use crate::metadata::record::Record;
use crate::types::planted::{self, Bug};

/// Pages that one `read_from` reads at most.
const PAGES_MAX: usize = 64;

/// What has been seen last, by this home's own reads and writes.
#[derive(Default)]
pub(super) struct Known {
    end: Option<(End, i32)>,
    epoch: Option<(Epoch, i32)>,
    /// The epoch's version as this home's last election left it.
    elected: Option<i32>,
    /// Since the last snapshot.
    pub appends: u64,
    pub appended_bytes: u64,
}

impl Known {
    pub fn elected(&mut self, epoch: Epoch, version: i32) {
        self.epoch = Some((epoch, version));
        self.elected = Some(version);
        // What a predecessor has written is not known.
        self.end = None;
    }

    /// Refuses a write of a controller that is none any more, whatever has been read since; `None` in a home that was never elected.
    pub fn fence(&self) -> Option<Change> {
        self.elected.map(|version| Change::check(node::EPOCH, version))
    }
}

/// An append as it was tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt {
    /// What the end's node was to become, what it was, and the version that had.
    end: End,
    before: End,
    at_version: i32,
}

/// What became of one page.
enum Made {
    Yes,
    Fenced,
    Moved(i64),
    /// Nothing was done and nothing will be.
    No,
    Unknown,
}

pub(super) async fn append<W: World, T: Tree>(
    home: &ZooKeeperHome<W, T>,
    controller_epoch: i32,
    expected_end: i64,
    records: Vec<Record>,
) -> Result<Appended, HomeError> {
    let room = home.shared.limits.node_bytes_max;
    let weight = |record: &Record| node::text(record).len() + 1;
    if let Some(bytes) = records.iter().map(weight).find(|&bytes| bytes > room) {
        return Err(HomeError::RecordTooLarge { bytes, limit: room });
    }
    if let Some(answer) = refusal(home, controller_epoch, expected_end).await? {
        return Ok(answer);
    }
    let mut base = expected_end;
    if records.is_empty() {
        return Ok(Appended::Committed(base));
    }
    for (index, part) in batch::split(records, room, weight).into_iter().enumerate() {
        let page = Page { base, epoch: controller_epoch, records: part };
        base = page.end();
        match make_page(home, &page).await? {
            Made::Yes => {}
            Made::Fenced => return Ok(Appended::Fenced),
            Made::Moved(end) => return Ok(Appended::Moved(end)),
            // The parts before this one are in the log: whoever reads sees an open batch.
            Made::No if index > 0 => return Ok(Appended::Unknown),
            Made::No => return Err(HomeError::Unreachable("ZooKeeper cannot be reached".to_owned())),
            Made::Unknown => return Ok(Appended::Unknown),
        }
    }
    Ok(Appended::Committed(base))
}

/// Whether an append of this controller at this end is out of the question.
async fn refusal<W: World, T: Tree>(
    home: &ZooKeeperHome<W, T>,
    controller_epoch: i32,
    expected_end: i64,
) -> Result<Option<Appended>, HomeError> {
    let agrees = {
        let known = home.shared.known.borrow();
        let ends_there = known.end.is_some_and(|(end, _)| end.end == expected_end);
        ends_there && known.epoch.is_some_and(|(epoch, _)| epoch.epoch == controller_epoch)
    };
    if agrees && home.shared.unsettled.borrow().is_none() {
        return Ok(None);
    }
    look(home).await?;
    let known = home.shared.known.borrow();
    let (end, epoch) = (known.end.map_or(0, |(end, _)| end.end), known.epoch.map_or(0, |(epoch, _)| epoch.epoch));
    Ok(if epoch != controller_epoch {
        Some(Appended::Fenced)
    } else if end != expected_end {
        Some(Appended::Moved(end))
    } else {
        None
    })
}

/// Reads what there is to know, after settling what is not known.
async fn look<W: World, T: Tree>(home: &ZooKeeperHome<W, T>) -> Result<End, HomeError> {
    let unsettled = *home.shared.unsettled.borrow();
    if let Some(attempt) = unsettled {
        settle(home, attempt).await?;
    }
    home.shared.tree.sync().await.map_err(tree_error)?;
    let epoch = home.read::<Epoch>(node::EPOCH).await?;
    let end = home.read::<End>(node::END).await?;
    let mut known = home.shared.known.borrow_mut();
    (known.epoch, known.end) = (Some(epoch), Some(end));
    Ok(end.0)
}

/// Appends one page, trying again while it is sure that it was not made.
async fn make_page<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, page: &Page) -> Result<Made, HomeError> {
    let content = node::text(page);
    let mut outcome = Made::No;
    for attempt in 0..home.shared.limits.attempts_max {
        if attempt > 0 {
            home.pause().await;
        }
        outcome = try_page(home, page, &content).await?;
        if !matches!(outcome, Made::No) {
            break;
        }
        if !home.shared.tree.session().is_connected() {
            // It has waited for a connection already.
            break;
        }
    }
    if matches!(outcome, Made::Yes) {
        let mut known = home.shared.known.borrow_mut();
        known.appends += 1;
        known.appended_bytes += content.len() as u64;
    }
    Ok(outcome)
}

async fn try_page<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, page: &Page, content: &[u8]) -> Result<Made, HomeError> {
    let (epoch_version, (before, at_version)) = {
        let known = home.shared.known.borrow();
        let (Some((epoch, version)), Some(end)) = (known.epoch, known.end) else { return Ok(Made::No) };
        if epoch.epoch != page.epoch {
            // Another read has seen a successor.
            return Ok(Made::Fenced);
        }
        (version, end)
    };
    let end = End { end: page.end(), epoch: page.epoch, attempt: home.shared.world.random() >> 1 };
    let fence = Change::check(node::EPOCH, epoch_version);
    let group = vec![
        // This node never changes.
        if planted::is(Bug::FenceUnchecked) { Change::check(node::METADATA, 0) } else { fence },
        Change::set(node::END, node::text(&end), Some(at_version)),
        Change::create(node::page_path(page.base), content),
    ];
    match home.shared.tree.write(group).await {
        Ok(_) => {
            home.shared.known.borrow_mut().end = Some((end, at_version.wrapping_add(1)));
            Ok(Made::Yes)
        }
        Err(TreeError::Refused { index: 0, .. }) => Ok(Made::Fenced),
        Err(TreeError::Refused { .. }) => {
            let found = look(home).await?;
            let epoch = home.shared.known.borrow().epoch.map_or(0, |(epoch, _)| epoch.epoch);
            Ok(if epoch != page.epoch { Made::Fenced } else { Made::Moved(found.end) })
        }
        Err(TreeError::Unreachable) => Ok(Made::No),
        Err(TreeError::Unknown) if planted::is(Bug::DoubtNotSettled) => Ok(Made::No),
        Err(TreeError::Unknown) => {
            let attempt = Attempt { end, before, at_version };
            *home.shared.unsettled.borrow_mut() = Some(attempt);
            match settle(home, attempt).await {
                Ok(made) => Ok(made),
                Err(HomeError::Unreachable(_)) => Ok(Made::Unknown),
                Err(error) => Err(error),
            }
        }
        Err(error @ TreeError::Denied(_)) => Err(tree_error(error)),
    }
}

/// Finds out what became of an attempt, and sees to it that nothing becomes of it later.
async fn settle<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, attempt: Attempt) -> Result<Made, HomeError> {
    let tree = &home.shared.tree;
    let mut failure = None;
    for tried in 0..home.shared.limits.attempts_max {
        if tried > 0 {
            home.pause().await;
        }
        if let Err(error) = tree.sync().await.map_err(tree_error) {
            failure = Some(error);
            continue;
        }
        let (end, version) = match home.read::<End>(node::END).await {
            Ok(read) => read,
            Err(error @ HomeError::Unreachable(_)) => {
                failure = Some(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        let (version, made) = if version == attempt.at_version && planted::is(Bug::DoubtLeftOpen) {
            (version, Made::No)
        } else if version == attempt.at_version {
            match tree.write(vec![Change::set(node::END, node::text(&end), Some(version))]).await {
                Ok(_) => (version.wrapping_add(1), Made::No),
                // It has been made meanwhile, or this very change has: the next look tells.
                Err(TreeError::Refused { refusal: Refusal::BadVersion, .. }) => continue,
                Err(error) => {
                    failure = Some(tree_error(error));
                    continue;
                }
            }
        } else if end.attempt == attempt.end.attempt {
            (version, Made::Yes)
        } else if end == attempt.before {
            // An earlier look has moved the version on.
            (version, Made::No)
        } else if version != attempt.at_version.wrapping_add(1) {
            // More than one change has been made, and the first may have been this one.
            (version, Made::Unknown)
        } else if end.epoch > attempt.end.epoch {
            (version, Made::Fenced)
        } else {
            (version, Made::Moved(end.end))
        };
        *home.shared.unsettled.borrow_mut() = None;
        home.shared.known.borrow_mut().end = Some((end, version));
        return Ok(made);
    }
    Err(failure.unwrap_or_else(|| HomeError::Unreachable("the end of the log moves on faster than it can be read".to_owned())))
}

pub(super) async fn read_from<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, offset: i64) -> Result<Vec<(i64, Record)>, HomeError> {
    let End { end, .. } = look(home).await?;
    if offset > end {
        return Err(HomeError::BeyondEnd { offset, end });
    }
    let mut records = vec![];
    let (mut next, mut bytes, mut pages) = (offset, 0, 0);
    while next < end && bytes < home.shared.limits.page_bytes && pages < PAGES_MAX {
        let Some((page, len)) = page_with(home, next).await? else {
            if records.is_empty() {
                return Err(compacted(home, next, end).await?);
            }
            break;
        };
        let before = usize::try_from(next - page.base).unwrap_or(0);
        let base = page.base;
        next = page.end();
        (bytes, pages) = (bytes + len, pages + 1);
        records.extend((base..).zip(page.records).skip(before));
    }
    Ok(records)
}

/// The page that holds an offset below the end, and its bytes; `None` if it has been deleted.
async fn page_with<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, offset: i64) -> Result<Option<(Page, usize)>, HomeError> {
    if let Some(found) = page_at(home, offset).await? {
        return Ok(Some(found));
    }
    let names = home.shared.tree.children(node::LOG).await.map_err(tree_error)?;
    let names = names.ok_or_else(|| node::damaged(node::LOG, "it is missing"))?;
    let Some(base) = names.iter().filter_map(|name| node::page_base(name)).filter(|base| *base <= offset).max() else { return Ok(None) };
    match page_at(home, base).await? {
        Some((page, _)) if page.end() <= offset => {
            Err(node::damaged(&node::page_path(base), &format!("it ends at offset {}, and no other holds offset {offset}", page.end())))
        }
        found => Ok(found),
    }
}

async fn page_at<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, base: i64) -> Result<Option<(Page, usize)>, HomeError> {
    let path = node::page_path(base);
    let Some(found) = home.shared.tree.get(&path).await.map_err(tree_error)? else { return Ok(None) };
    let page: Page = node::parse(&path, &found.content)?;
    if page.base != base || page.records.is_empty() {
        return Err(node::damaged(&path, &format!("it says that it holds {} records from offset {} on", page.records.len(), page.base)));
    }
    Ok(Some((page, found.content.len())))
}

/// Why an offset below the end has no page: a snapshot replaced it, or it is lost.
async fn compacted<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, offset: i64, end: i64) -> Result<HomeError, HomeError> {
    let (pointer, _) = home.read::<node::Pointer>(node::SNAPSHOT).await?;
    Ok(if offset < pointer.offset {
        HomeError::Compacted { start: pointer.offset }
    } else {
        node::damaged(node::LOG, &format!("no page holds offset {offset}, and the log ends at {end}"))
    })
}

pub(super) async fn grown_past<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, end: i64) -> Result<(), HomeError> {
    loop {
        match home.shared.tree.get_watched(node::END).await {
            Ok((Some(found), watch)) => {
                if node::parse::<End>(node::END, &found.content)?.end > end {
                    return Ok(());
                }
                watch.fired().await;
            }
            Ok((None, _)) => return Err(node::damaged(node::END, "it is missing")),
            Err(error @ TreeError::Denied(_)) => return Err(tree_error(error)),
            Err(_) => home.pause().await,
        }
    }
}
