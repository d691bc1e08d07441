//! How far a log is written, noted beside it, so that a start after a killed process need not read everything since the last flush.
//!
//! Called by `shard` for each so many bytes appended, and by `open`; calls `flush` for the index files, `io::World`.
//!
//! A killed process loses nothing of what it wrote: the page cache has it. What the note says is therefore believed as long as that cache
//! is the same (`World::cache_identity`), and worth nothing after a loss of power. So neither the note nor what it tells of is synced, and
//! the recovery point does not move.
//!
//! ```text
//!   written-checkpoint      big endian; Kafka ignores the file
//!     CRC-32C of what follows u32 | length u32 of what follows | version u16 = 0 | length u16, cache identity | end offset i64
//!     | count u32, then for each producer snapshot: offset i64 | length u32 | the snapshot file's bytes
//!     whatever a longer note before has left
//! ```
//!
//! The last snapshot is that of the end; those before it were taken at rolls and wait for their segment to be flushed, as the name of
//! such a snapshot says that the segment before it is durable.
//!
//! Invariants:
//! 1. A note is written after the batches, index entries and leader epochs that it tells of, and gone before any of that is cut.
//! 2. It tells of nothing that is kept in memory only.
//! 3. A start removes it, used or not: another program may change the files before the next.
//!
//! What a crash leaves: the old note, the new one, or a torn one, as it is written in place; after a loss of power any bytes at all. The CRC
//! and the identity tell, and without a note the start reads everything since the last flush.

use std::io::ErrorKind;
use std::path::Path;
use std::rc::Rc;

use bytes::{Buf, BufMut};

use super::flush::Durability;
use super::{EndMark, Life, Log, LogError, State};
use crate::io::{File, OpenMode, Urgency, World};
use crate::storage::layout::WRITTEN_CHECKPOINT;
use crate::storage::planted::{self, Bug};
use crate::types::Offset;

const VERSION: u16 = 0;

/// A note as a start finds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Written {
    pub cache: String,
    pub end: Offset,
    /// At rolls.
    pub waiting: Vec<(Offset, Vec<u8>)>,
    /// At the end.
    pub producers: Vec<u8>,
}

impl Written {
    fn encode(&self) -> Vec<u8> {
        let mut file = vec![0; 8];
        file.put_u16(VERSION);
        file.put_u16(self.cache.len() as u16);
        file.put_slice(self.cache.as_bytes());
        file.put_i64(self.end.get());
        file.put_u32(self.waiting.len() as u32 + 1);
        let last = (self.end, &self.producers);
        for (offset, snapshot) in self.waiting.iter().map(|(offset, snapshot)| (*offset, snapshot)).chain([last]) {
            file.put_i64(offset.get());
            file.put_u32(snapshot.len() as u32);
            file.put_slice(snapshot);
        }
        let len = file.len() as u32 - 8;
        file[4..8].copy_from_slice(&len.to_be_bytes());
        let crc = crc32c::crc32c(&file[4..]);
        file[..4].copy_from_slice(&crc.to_be_bytes());
        file
    }

    /// `None` for whatever is not wholly a note.
    fn decode(mut file: &[u8]) -> Option<Self> {
        let crc = file.try_get_u32().ok()?;
        let told = file;
        let len = file.try_get_u32().ok()? as usize;
        file = file.get(..len)?;
        if crc != crc32c::crc32c(&told[..4 + len]) || file.try_get_u16().ok()? != VERSION {
            return None;
        }
        let len = usize::from(file.try_get_u16().ok()?);
        let cache = String::from_utf8(file.split_off(..len)?.to_vec()).ok()?;
        let end = Offset(file.try_get_i64().ok()?);
        let mut waiting = Vec::new();
        for _ in 0..file.try_get_u32().ok()? {
            let offset = Offset(file.try_get_i64().ok()?);
            let len = file.try_get_u32().ok()? as usize;
            waiting.push((offset, file.split_off(..len)?.to_vec()));
        }
        let (at, producers) = waiting.pop()?;
        (file.is_empty() && at == end).then_some(Self { cache, end, waiting, producers })
    }
}

/// Takes the note out of the directory; answers with it if it was made in this page cache.
pub(super) async fn take<W: World>(world: &W, dir: &Path, cache: Option<&str>) -> Result<Option<Written>, LogError> {
    let path = dir.join(WRITTEN_CHECKPOINT);
    let file = match world.read_file(&path).await {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(LogError::Io { during: "read", path, source }),
    };
    super::open::remove(world, &path).await?;
    let is_there = |written: &Written| Some(written.cache.as_str()) == cache || planted::is(Bug::NoteOutlivesPower);
    Ok(Written::decode(&file).filter(is_there))
}

impl<W: World> Log<W> {
    /// Bytes behind both the recovery point and the note.
    pub fn unnoted_bytes(&self) -> u64 {
        let state = self.state();
        if self.shared.cache.is_some() { state.bytes_behind(state.noted) } else { 0 }
    }

    /// Notes that everything appended so far is written, once it is.
    pub async fn note_written(&self) -> Result<(), LogError> {
        let Some(cache) = self.shared.cache.clone() else { return Ok(()) };
        let _notes = self.shared.notes.take().await;
        self.check_alive()?;
        let Some((mark, written)) = self.state().plan_note(&cache) else { return Ok(()) };
        let reached = self.shared.bell.until(|| {
            let state = self.state();
            (state.life != Life::Open || state.end.offset >= mark.offset).then_some(state.life == Life::Open)
        });
        if !reached.await {
            return Ok(());
        }
        self.write_indexes(mark.offset, Durability::Written).await?;
        self.store_epochs().await?;
        let path = self.dir().join(WRITTEN_CHECKPOINT);
        self.write_note(&path, written.encode()).await.map_err(LogError::io("write", &path)).map_err(|why| self.fail(why))?;
        self.state_mut().noted = mark;
        Ok(())
    }

    async fn write_note(&self, path: &Path, content: Vec<u8>) -> std::io::Result<()> {
        let file = self.shared.world.open(path, OpenMode::CreateOrKeep).await?;
        file.write_at(0, vec![content.into()]).await.result
    }

    /// Takes the note back, before what it tells of is cut. For a procedure that holds the notes.
    pub(super) async fn forget_written(&self) -> Result<(), LogError> {
        if self.shared.cache.is_none() {
            return Ok(());
        }
        let path = self.dir().join(WRITTEN_CHECKPOINT);
        self.remove_file(&path).await?;
        let mut state = self.state_mut();
        state.noted = state.flushed;
        Ok(())
    }

    /// The log has failed: its pages may be lost before they reach the disk, so that nothing vouches for what was noted.
    pub(super) fn disown_note(&self) {
        if self.shared.cache.is_some() {
            let (world, path) = (self.shared.world.clone(), self.dir().join(WRITTEN_CHECKPOINT));
            self.shared.world.spawn(Urgency::Background, async move {
                // The disk may refuse that as well.
                let _removed = world.remove_file(&path).await;
            });
        }
    }
}

impl<W: World> State<W> {
    /// `None` while a note would say nothing new, or must not be believed.
    fn plan_note(&self, cache: &Rc<str>) -> Option<(EndMark, Written)> {
        let mark = self.reserved_mark();
        if self.life != Life::Open || self.floor.is_some() || mark.offset <= self.recovery_point || mark == self.noted {
            return None;
        }
        let waiting = self.snapshots.waiting.iter().filter(|(offset, _)| *offset < mark.offset).cloned().collect();
        let written = Written { cache: cache.to_string(), end: mark.offset, waiting, producers: self.producers.encode() };
        Some((mark, written))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back_whole_or_not_at_all() {
        let written = Written {
            cache: "boot ext4 1:2".into(),
            end: Offset(700),
            waiting: vec![(Offset(300), vec![1, 2, 3]), (Offset(500), vec![])],
            producers: vec![9; 40],
        };
        let file = written.encode();
        assert_eq!(Written::decode(&file), Some(written));
        for len in 0..file.len() {
            assert_eq!(Written::decode(&file[..len]), None, "{len} bytes");
        }
        for at in 0..file.len() {
            let mut damaged = file.clone();
            damaged[at] ^= 1;
            assert_eq!(Written::decode(&damaged), None, "byte {at}");
        }
        assert_eq!(Written::decode(&[file.as_slice(), b"of a longer one"].concat()), Written::decode(&file), "what was there before");
    }
}
