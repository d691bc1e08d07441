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
//!     CRC-32C of what follows u32 | length u32 of what follows | version u16 = 0 | then each as length u32 and bytes:
//!       cache identity | end offset | leader epochs, as their checkpoint has them | producers' batches before their last
//!       | producer snapshot of the end | for each roll: base offset, producer snapshot
//!     whatever a longer note before has left
//! ```
//!
//! Snapshots taken at rolls wait for their segment to be flushed, as the name of such a file says that the segment before it is durable. Kafka's
//! form of a snapshot has the last batch of each producer only; but what is sent again after a kill may be as old as what was in flight.
//!
//! Invariants:
//! 1. A note is written after the batches and index entries that it tells of, and gone before any of that is cut.
//! 2. A start removes it, used or not: another program may change the files before the next.
//! 3. After a failure of the log, or of its directory, no start believes it: the kernel may drop pages that it could not write. It is gone,
//!    with the token of the directory's others, before the failure is told.
//!
//! What a crash leaves: the old note, the new one, or a torn one, as it is written in place; after a loss of power any bytes at all. The CRC
//! and the identity tell, and without a note the start reads everything since the last flush.

use std::io::ErrorKind;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use bytes::{Buf, BufMut};
use futures_lite::FutureExt;

use super::flush::Durability;
use super::{Blame, EndMark, Life, Log, LogError, State};
use crate::io::{File, OpenMode, Urgency, World};
use crate::storage::checkpoint;
use crate::storage::epochs::Epochs;
use crate::storage::layout::{WRITTEN_CHECKPOINT, WRITTEN_TOKEN};
use crate::storage::planted::{self, Bug};
use crate::storage::producer::Producers;
use crate::types::Offset;

const VERSION: u16 = 0;
/// A disk that does not answer keeps nobody from hearing that it has failed for longer.
const DISOWN_MAX: Duration = Duration::from_secs(1);

/// A note as a start finds it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Written {
    pub cache: String,
    pub end: Offset,
    pub epochs: Epochs,
    /// The producers' state at the end: its snapshot, and the batches that have no place there.
    pub snapshot: Vec<u8>,
    earlier: Vec<u8>,
    /// Snapshots of rolls.
    pub waiting: Vec<(Offset, Vec<u8>)>,
}

impl Written {
    /// `None` if they cannot be those of a log.
    pub fn producers(&self) -> Option<Producers> {
        let mut producers = Producers::decode(&self.snapshot).ok()?;
        producers.take_earlier(&self.earlier)?;
        Some(producers)
    }

    fn encode(&self) -> Vec<u8> {
        let mut file = vec![0; 8];
        file.put_u16(VERSION);
        let mut put = |piece: &[u8]| {
            file.put_u32(piece.len() as u32);
            file.put_slice(piece);
        };
        put(self.cache.as_bytes());
        put(&self.end.get().to_be_bytes());
        put(&checkpoint::encode_epochs(&self.epochs));
        put(&self.earlier);
        put(&self.snapshot);
        for (base, snapshot) in &self.waiting {
            put(&base.get().to_be_bytes());
            put(snapshot);
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
        let cache = String::from_utf8(piece(&mut file)?.to_vec()).ok()?;
        let end = offset(piece(&mut file)?)?;
        let epochs = checkpoint::decode_epochs(piece(&mut file)?).ok()?;
        let earlier = piece(&mut file)?.to_vec();
        let snapshot = piece(&mut file)?.to_vec();
        let mut waiting = Vec::new();
        while !file.is_empty() {
            waiting.push((offset(piece(&mut file)?)?, piece(&mut file)?.to_vec()));
        }
        Some(Self { cache, end, epochs, snapshot, earlier, waiting })
    }
}

fn piece<'a>(file: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = file.try_get_u32().ok()? as usize;
    file.split_off(..len)
}

fn offset(bytes: &[u8]) -> Option<Offset> {
    Some(Offset(i64::from_be_bytes(bytes.try_into().ok()?)))
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
        // A failure meanwhile waits to take back whatever note there is.
        self.check_alive()?;
        let path = self.dir().join(WRITTEN_CHECKPOINT);
        match self.write_note(&path, written.encode()).await {
            Ok(()) => self.state_mut().noted = mark,
            // A note saves time and nothing else: none is made of a half.
            Err(error) => {
                tracing::debug!("{}: not written: {error}", path.display());
                self.remove_file(&path).await?;
            }
        }
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

    /// The log has failed: its pages may be lost before they reach the disk, and those of others on that disk, so that nothing vouches for
    /// what was noted. That is on the disk before anyone hears of the failure: whoever hears of it may end the process.
    pub(super) fn tell_failed(&self, why: String, blame: Blame) {
        let observer = self.observer();
        if self.shared.cache.is_none() {
            observer.into_iter().for_each(|observer| observer.on_failed(&why, blame));
            return;
        }
        let log = self.clone();
        self.shared.world.spawn(Urgency::Foreground, async move {
            let disowned = async {
                let world = &log.shared.world;
                let dir = log.dir();
                // The disk may refuse that; then it refuses the notes, or the filesystem is gone.
                let _removed = world.remove_file(&dir.with_file_name(WRITTEN_TOKEN)).await;
                let _removed = world.remove_file(&dir.join(WRITTEN_CHECKPOINT)).await;
            };
            disowned.or(log.shared.world.sleep(DISOWN_MAX)).await;
            observer.into_iter().for_each(|observer| observer.on_failed(&why, blame));
            // A note may have been under way.
            log.remove_note_in_turn().await;
        });
    }

    /// As [`Log::tell_failed`], where the failure is known.
    pub(super) fn disown_note(&self) {
        if self.shared.cache.is_some() {
            let log = self.clone();
            self.shared.world.spawn(Urgency::Foreground, async move { log.remove_note_in_turn().await });
        }
    }

    async fn remove_note_in_turn(&self) {
        let _notes = self.shared.notes.take().await;
        let _removed = self.shared.world.remove_file(&self.dir().join(WRITTEN_CHECKPOINT)).await;
    }
}

impl<W: World> State<W> {
    /// `None` while a note would say nothing new, or must not be believed.
    fn plan_note(&self, cache: &Rc<str>) -> Option<(EndMark, Written)> {
        let mark = self.reserved_mark();
        if self.life != Life::Open || self.floor.is_some() || mark.offset <= self.recovery_point || mark == self.noted {
            return None;
        }
        let written = Written {
            cache: cache.to_string(),
            end: mark.offset,
            epochs: self.epochs.clone(),
            snapshot: self.producers.encode(),
            earlier: self.producers.encode_earlier(),
            waiting: self.snapshots.waiting.iter().filter(|(offset, _)| *offset < mark.offset).cloned().collect(),
        };
        Some((mark, written))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::epochs::EpochStart;
    use crate::types::LeaderEpoch;

    #[test]
    fn a_note_reads_back_whole_or_not_at_all() {
        let written = Written {
            cache: "boot ext4 1:2".into(),
            end: Offset(700),
            epochs: Epochs::from_entries([EpochStart { epoch: LeaderEpoch(3), start: Offset(20) }]),
            snapshot: vec![9; 40],
            earlier: vec![8; 7],
            waiting: vec![(Offset(300), vec![1, 2, 3]), (Offset(500), vec![])],
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
