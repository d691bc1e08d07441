use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use ottla::wire::batch::BASE_OFFSET_AT;
use ottla::wire::error::ErrorCode;

use crate::load::batch::Encoded;

/// Batches given at once of what was produced.
const TAIL_MAX: usize = 64;

/// What every topic of the sink holds: the same run in each partition, and an end that moves.
pub struct Log {
    pub address: SocketAddr,
    run: Bytes,
    run_batch: usize,
    run_batch_records: i64,
    run_end: i64,
    single: Bytes,
    ends: Vec<i64>,
    /// Batches that are still to be refused.
    refusals: u32,
    pub requests: u64,
    pub bytes: u64,
}

/// What became of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Taken {
    pub partition: i32,
    pub error: ErrorCode,
    /// -1 on an error.
    pub base_offset: i64,
}

impl Log {
    pub fn new(address: SocketAddr, partitions: i32, held: &Encoded, held_bytes: u64, single: &Encoded, refusals: u32) -> Self {
        let count = held_bytes as usize / held.bytes.len();
        let records = i64::from(held.records);
        let mut run = BytesMut::with_capacity(count * held.bytes.len());
        for index in 0..count as i64 {
            put_batch(&mut run, &held.bytes, index * records);
        }
        let run_end = count as i64 * records;
        Self {
            address,
            run: run.freeze(),
            run_batch: held.bytes.len(),
            run_batch_records: records,
            run_end,
            single: single.bytes.clone(),
            ends: vec![run_end; partitions.unsigned_abs() as usize],
            refusals,
            requests: 0,
            bytes: 0,
        }
    }

    pub fn partitions(&self) -> i32 {
        self.ends.len() as i32
    }

    /// Offset behind the last record; None where there is no such partition.
    pub fn end(&self, partition: i32) -> Option<i64> {
        self.ends.get(usize::try_from(partition).ok()?).copied()
    }

    /// Takes a batch, or refuses it as long as it is told to.
    pub fn append(&mut self, partition: i32, records: i32, bytes: u64) -> Taken {
        let refused = |error| Taken { partition, error, base_offset: -1 };
        if self.refusals > 0 {
            self.refusals -= 1;
            return refused(ErrorCode::NotLeaderOrFollower);
        }
        let Some(end) = usize::try_from(partition).ok().and_then(|index| self.ends.get_mut(index)) else {
            return refused(ErrorCode::UnknownTopicOrPartition);
        };
        let base_offset = *end;
        *end += i64::from(records);
        self.bytes += bytes;
        Taken { partition, error: ErrorCode::None, base_offset }
    }

    /// Whole batches from `offset` on, at least one if there is one.
    pub fn read(&self, partition: i32, offset: i64, bytes_max: usize) -> Bytes {
        let end = self.end(partition).unwrap_or(0);
        if !(0..end).contains(&offset) {
            return Bytes::new();
        }
        if offset < self.run_end {
            let from = (offset / self.run_batch_records) as usize * self.run_batch;
            let len = (bytes_max / self.run_batch).max(1) * self.run_batch;
            return self.run.slice(from..self.run.len().min(from + len));
        }
        let count = ((end - offset) as usize).min(TAIL_MAX).min((bytes_max / self.single.len()).max(1));
        let mut tail = BytesMut::with_capacity(count * self.single.len());
        for base_offset in (offset..).take(count) {
            put_batch(&mut tail, &self.single, base_offset);
        }
        tail.freeze()
    }
}

/// The batch at another offset, which lies outside its checksum.
fn put_batch(into: &mut BytesMut, batch: &[u8], base_offset: i64) {
    let at = into.len() + BASE_OFFSET_AT;
    into.extend_from_slice(batch);
    into[at..at + 8].copy_from_slice(&base_offset.to_be_bytes());
}
