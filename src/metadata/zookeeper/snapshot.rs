//! Snapshots: chunks in a directory of their own, then the pointer to it, then what it made superfluous is deleted.
//!
//! A snapshot is a function of the log up to its offset, so that it does not matter who takes it. Only the controller does: every write of one
//! that was deposed meanwhile is refused, since what it has read of the log may be old by now.

use super::node::{self, End, Pointer};
use super::{ZooKeeperHome, tree_error};
use crate::io::World;
use crate::io::tree::{Change, Tree, TreeError};
use crate::metadata::home::{HomeError, Snapshot};
use crate::metadata::record::Record;
use crate::types::planted::{self, Bug};

/// Nodes deleted in one group.
const DELETED_AT_ONCE: usize = 100;

pub(super) async fn load<W: World, T: Tree>(home: &ZooKeeperHome<W, T>) -> Result<Snapshot, HomeError> {
    loop {
        home.shared.tree.sync().await.map_err(tree_error)?;
        let (pointer, version) = home.read::<Pointer>(node::SNAPSHOT).await?;
        match records(home, &pointer).await? {
            Some(records) => return Ok(Snapshot { offset: pointer.offset, records }),
            // Another snapshot has taken its place meanwhile, or the ensemble has lost it.
            None if home.read::<Pointer>(node::SNAPSHOT).await?.1 != version => {}
            None => return Err(node::damaged(&format!("{}/{}", node::SNAPSHOTS, pointer.directory), "chunks of it are missing")),
        }
    }
}

async fn records<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, pointer: &Pointer) -> Result<Option<Vec<Record>>, HomeError> {
    let mut records = vec![];
    for chunk in 0..pointer.chunks {
        let path = node::chunk_path(&pointer.directory, chunk);
        let Some(found) = home.shared.tree.get(&path).await.map_err(tree_error)? else { return Ok(None) };
        records.extend(node::parse::<Vec<Record>>(&path, &found.content)?);
    }
    Ok(Some(records))
}

pub(super) async fn keep<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, snapshot: Snapshot) -> Result<(), HomeError> {
    let mut tried = 1;
    loop {
        match try_keep(home, &snapshot).await {
            Err(HomeError::Unreachable(_)) if tried < home.shared.limits.attempts_max => {
                tried += 1;
                home.pause().await;
            }
            other => return other,
        }
    }
}

async fn try_keep<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, snapshot: &Snapshot) -> Result<(), HomeError> {
    home.shared.tree.sync().await.map_err(tree_error)?;
    let (End { end, .. }, _) = home.read::<End>(node::END).await?;
    let (current, version) = home.read::<Pointer>(node::SNAPSHOT).await?;
    let offset = snapshot.offset;
    if offset > end && !planted::is(Bug::MetadataSnapshotEarly) {
        return Err(HomeError::BeyondEnd { offset, end });
    }
    if offset > current.offset {
        let limit = home.shared.limits.node_bytes_max;
        let records = snapshot.records.clone();
        let chunks = home.shared.world.offload(move || encode(&records, limit)).await;
        // A name of its own: another broker may take the same snapshot.
        let directory = format!("{offset:020}-{:016x}", home.shared.world.random());
        let pointer = Pointer { offset, directory, chunks: chunks.len() };
        write(home, vec![Change::create(format!("{}/{}", node::SNAPSHOTS, pointer.directory), [])]).await?;
        for (index, chunk) in chunks.into_iter().enumerate() {
            write(home, vec![Change::create(node::chunk_path(&pointer.directory, index), chunk)]).await?;
        }
        write(home, vec![Change::set(node::SNAPSHOT, node::text(&pointer), Some(version))]).await?;
    }
    {
        let mut known = home.shared.known.borrow_mut();
        (known.appends, known.appended_bytes) = (0, 0);
    }
    delete_superfluous(home).await
}

/// As JSON arrays within the limit. A record that is heavier than it alone has been refused when it was appended.
fn encode(records: &[Record], limit: usize) -> Vec<Vec<u8>> {
    let mut chunks = vec![];
    let mut chunk: Vec<u8> = vec![];
    for record in records {
        let text = node::text(record);
        if !chunk.is_empty() && chunk.len() + text.len() + 2 > limit {
            chunk.push(b']');
            chunks.push(std::mem::take(&mut chunk));
        }
        chunk.push(if chunk.is_empty() { b'[' } else { b',' });
        chunk.extend_from_slice(&text);
    }
    if !chunk.is_empty() {
        chunk.push(b']');
        chunks.push(chunk);
    }
    chunks
}

/// Pages below the snapshot, and snapshots that the pointer does not show.
async fn delete_superfluous<W: World, T: Tree>(home: &ZooKeeperHome<W, T>) -> Result<(), HomeError> {
    let tree = &home.shared.tree;
    let (pointer, _) = home.read::<Pointer>(node::SNAPSHOT).await?;
    let mut bases: Vec<i64> = children(tree, node::LOG).await?.iter().filter_map(|name| node::page_base(name)).collect();
    bases.sort_unstable();
    // A page ends where the next begins. The last one stays: how far it goes, only itself says.
    let below = bases.iter().zip(bases.iter().skip(1)).filter(|(_, end)| **end <= pointer.offset);
    let below: Vec<Change> = below.map(|(base, _)| Change::delete(node::page_path(*base), None)).collect();
    for group in below.chunks(DELETED_AT_ONCE) {
        write(home, group.to_vec()).await?;
    }
    for directory in children(tree, node::SNAPSHOTS).await? {
        // One that is still being written lies above the pointer, or loses against it.
        let offset = directory.split('-').next().and_then(node::page_base);
        if directory == pointer.directory || offset.is_none_or(|offset| offset > pointer.offset) {
            continue;
        }
        let path = format!("{}/{directory}", node::SNAPSHOTS);
        let chunks = children(tree, &path).await?;
        let group = chunks.iter().map(|chunk| Change::delete(format!("{path}/{chunk}"), None)).chain([Change::delete(&path, None)]);
        write(home, group.collect()).await?;
    }
    Ok(())
}

async fn children(tree: &impl Tree, path: &str) -> Result<Vec<String>, HomeError> {
    Ok(tree.children(path).await.map_err(tree_error)?.unwrap_or_default())
}

/// Makes the changes, unless another controller has been elected. What fails here is left over and found by the next snapshot.
async fn write<W: World, T: Tree>(home: &ZooKeeperHome<W, T>, mut group: Vec<Change>) -> Result<(), HomeError> {
    let fence = home.shared.known.borrow().fence().filter(|_| !planted::is(Bug::SnapshotUnfenced));
    let is_fenced = fence.is_some();
    group.splice(0..0, fence);
    match home.shared.tree.write(group).await {
        Ok(_) => Ok(()),
        Err(TreeError::Refused { index: 0, .. }) if is_fenced => Err(HomeError::Deposed),
        // Another broker does the same at the same time.
        Err(error @ TreeError::Refused { .. }) => Err(HomeError::Unreachable(error.to_string())),
        Err(error) => Err(tree_error(error)),
    }
}
