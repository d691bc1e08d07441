//! The file that holds producer state up to the offset in its name.
//!
//! ```text
//!   .snapshot, big endian
//!   0  2  version, 1
//!   2  4  CRC-32C of all that follows
//!   6  4  producers
//!         8 producer id  2 epoch  4 last sequence  8 last offset  4 offset delta of the last batch
//!         8 timestamp    4 coordinator epoch       8 first offset of the open transaction, or -1
//! ```
//!
//! Only the last batch of each producer is kept: after a restart older duplicates are no longer told, as in Kafka.

use super::{BATCHES_KEPT, NO_SEQUENCE, Producer, Producers, StoredBatch};
use crate::types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

const VERSION: i16 = 1;
const HEADER_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("{len} bytes are too few, or not those of {count} producers")]
    BadSize { len: usize, count: i64 },
    #[error("version {0} is not known, only 1 is")]
    UnknownVersion(i16),
    #[error("checksum {stored:#010x} does not match the content's {computed:#010x}")]
    BadChecksum { stored: u32, computed: u32 },
    #[error("producer {0} cannot be one")]
    BadEntry(usize),
}

impl Producers {
    /// The snapshot file of this state.
    pub fn encode(&self) -> Vec<u8> {
        let mut file = Vec::with_capacity(HEADER_BYTES + self.len() * ENTRY_BYTES);
        file.extend_from_slice(&VERSION.to_be_bytes());
        file.extend_from_slice(&[0; 4]);
        file.extend_from_slice(&(self.len() as i32).to_be_bytes());
        for (id, producer) in self.iter() {
            let last = producer.stored().last();
            file.extend_from_slice(&id.get().to_be_bytes());
            file.extend_from_slice(&producer.epoch.get().to_be_bytes());
            file.extend_from_slice(&last.map_or(NO_SEQUENCE, |b| b.last_sequence).to_be_bytes());
            file.extend_from_slice(&last.map_or(-1, |b| b.last_offset.get()).to_be_bytes());
            file.extend_from_slice(&last.map_or(0, |b| b.offset_delta).to_be_bytes());
            file.extend_from_slice(&producer.last_timestamp.get().to_be_bytes());
            file.extend_from_slice(&producer.coordinator_epoch.to_be_bytes());
            file.extend_from_slice(&producer.open_transaction.map_or(-1, Offset::get).to_be_bytes());
        }
        let checksum = crc32c::crc32c(&file[6..]);
        file[2..6].copy_from_slice(&checksum.to_be_bytes());
        file
    }

    pub fn decode(file: &[u8]) -> Result<Self, SnapshotError> {
        let bad_size = |count| SnapshotError::BadSize { len: file.len(), count };
        let Some((header, entries)) = file.split_at_checked(HEADER_BYTES) else { return Err(bad_size(0)) };
        let version = i16::from_be_bytes([header[0], header[1]]);
        if version != VERSION {
            return Err(SnapshotError::UnknownVersion(version));
        }
        let stored = u32::from_be_bytes([header[2], header[3], header[4], header[5]]);
        let computed = crc32c::crc32c(&file[6..]);
        if stored != computed {
            return Err(SnapshotError::BadChecksum { stored, computed });
        }
        let count = i64::from(i32::from_be_bytes([header[6], header[7], header[8], header[9]]));
        if count < 0 || entries.len() as i64 != count * ENTRY_BYTES as i64 {
            return Err(bad_size(count));
        }
        let mut producers = Self::default();
        for (at, entry) in entries.chunks_exact(ENTRY_BYTES).enumerate() {
            producers.take_entry(entry).ok_or(SnapshotError::BadEntry(at))?;
        }
        Ok(producers)
    }

    /// The batches of each producer before its last, which a snapshot has no place for.
    pub fn encode_earlier(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (id, producer) in self.iter() {
            let Some((_, earlier)) = producer.stored().split_last().filter(|(_, earlier)| !earlier.is_empty()) else { continue };
            bytes.extend_from_slice(&id.get().to_be_bytes());
            bytes.push(earlier.len() as u8);
            for batch in earlier {
                bytes.extend_from_slice(&batch.last_sequence.to_be_bytes());
                bytes.extend_from_slice(&batch.last_offset.get().to_be_bytes());
                bytes.extend_from_slice(&batch.offset_delta.to_be_bytes());
                bytes.extend_from_slice(&batch.timestamp.get().to_be_bytes());
            }
        }
        bytes
    }

    /// Adds what [`Producers::encode_earlier`] gave to what its snapshot gave. `None` if they are not of one state.
    pub fn take_earlier(&mut self, mut bytes: &[u8]) -> Option<()> {
        while !bytes.is_empty() {
            let id = ProducerId(i64::from_be_bytes(take(&mut bytes)?));
            let [count] = take(&mut bytes)?;
            let producer = self.producers.get_mut(&id)?;
            let [last] = *producer.stored() else { return None };
            producer.batch_count = 0;
            (usize::from(count) < BATCHES_KEPT).then_some(())?;
            for _ in 0..count {
                producer.remember(StoredBatch {
                    last_sequence: i32::from_be_bytes(take(&mut bytes)?),
                    last_offset: Offset(i64::from_be_bytes(take(&mut bytes)?)),
                    offset_delta: i32::from_be_bytes(take(&mut bytes)?),
                    timestamp: TimestampMs(i64::from_be_bytes(take(&mut bytes)?)),
                });
            }
            producer.remember(last);
        }
        Some(())
    }

    fn take_entry(&mut self, mut bytes: &[u8]) -> Option<()> {
        let id = ProducerId(i64::from_be_bytes(take(&mut bytes)?));
        let mut producer = Producer::new(ProducerEpoch(i16::from_be_bytes(take(&mut bytes)?)));
        let last_sequence = i32::from_be_bytes(take(&mut bytes)?);
        let last_offset = Offset(i64::from_be_bytes(take(&mut bytes)?));
        let offset_delta = i32::from_be_bytes(take(&mut bytes)?);
        producer.last_timestamp = TimestampMs(i64::from_be_bytes(take(&mut bytes)?));
        producer.coordinator_epoch = i32::from_be_bytes(take(&mut bytes)?);
        let open = Offset(i64::from_be_bytes(take(&mut bytes)?));
        // One entry per producer, and one transaction per first offset: else a transaction nobody can end would hold back all readers.
        if self.producers.contains_key(&id) || (open.get() >= 0 && self.ongoing.contains_key(&open)) {
            return None;
        }
        if last_offset.get() >= 0 {
            producer.remember(StoredBatch { last_sequence, last_offset, offset_delta, timestamp: producer.last_timestamp });
        }
        if open.get() >= 0 {
            producer.open_transaction = Some(open);
            self.ongoing.insert(open, id);
        }
        self.producers.insert(id, producer);
        Some(())
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (front, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*front)
}
