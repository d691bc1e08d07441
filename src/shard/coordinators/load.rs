//! A machine's state, read back from its partition's log.
//!
//! Called by the host, in the background share of the shard; calls `storage` and `wire`.
//!
//! Invariants:
//! 1. Between two steps of bounded length other tasks of the shard run: a step reads [`STEP_BYTES`], or replays [`RECORDS_PER_STEP`].
//! 2. The machine sees every record from the log's start to its end, in order, and the end of each transaction.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use crate::coordinator::{ReplayError, Replayed, TransactionOutcome};
use crate::io::World;
use crate::storage::ReadError;
use crate::types::{Offset, TimestampMs};
use crate::wire::batch::{self, Batch, BatchError, Codec, TimestampType};
use crate::wire::compression::{self, CompressionError};
use crate::wire::record::{self, Record, RecordError};

use super::host::{Host, Hosted};

/// Bytes of the log read at once; more only of a batch that is longer.
const STEP_BYTES: u64 = 256 << 10;
const RECORDS_PER_STEP: usize = 1000;
/// Between two looks at a write that is still under way.
const WRITE_PAUSE: Duration = Duration::from_millis(10);

/// Types of control records.
const ABORT: i16 = 0;
const COMMIT: i16 = 1;

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the host was stopped")]
    Stopped,
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("the batch at offset {offset}: {source}")]
    Records { offset: Offset, source: RecordError },
    #[error("the batch at offset {offset}: {source}")]
    Compression { offset: Offset, source: CompressionError },
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("the log is offline")]
    Offline,
}

/// Reads the whole log into a new machine.
pub async fn load<W: World, M: Hosted>(host: &Rc<Host<W, M>>, mut machine: M) -> Result<M, LoadError> {
    let log = host.replica.log();
    let mut at = log.start();
    loop {
        if host.is_stopping() {
            return Err(LoadError::Stopped);
        }
        if log.is_failed() {
            return Err(LoadError::Offline);
        }
        let end = log.end();
        if at >= end {
            if log.reserved_end() <= end {
                return Ok(machine);
            }
            // An append that was given up on may still come through.
            host.around.timers.sleep(WRITE_PAUSE).await;
            continue;
        }
        match log.read_batches(at, end, STEP_BYTES).await {
            Ok(Some(run)) => {
                for batch in batch::batches(&run) {
                    let batch = batch?;
                    let next = batch.header.next_offset();
                    replay(host, &mut machine, batch, at).await?;
                    at = next.max(at);
                }
            }
            Ok(None) => at = end,
            // Segments were removed or rewritten meanwhile.
            Err(ReadError::Restless) => {}
            Err(ReadError::OutOfRange { start, .. }) if start > at => at = start,
            Err(error) => return Err(error.into()),
        }
        host.around.world.yield_now().await;
    }
}

/// Replays the records of one batch from offset `from` on.
async fn replay<W: World, M: Hosted>(host: &Rc<Host<W, M>>, machine: &mut M, batch: Batch, from: Offset) -> Result<(), LoadError> {
    let header = batch.header;
    let offset = header.base_offset;
    let body = body_of(host, &batch).await?;
    let transaction = header.is_transactional().then_some((header.producer_id, header.producer_epoch));
    for (index, record) in record::records(&body, header.count).enumerate() {
        let record = record.map_err(|source| LoadError::Records { offset, source })?;
        let at = offset.plus(i64::from(record.offset_delta));
        if at < from {
            continue;
        }
        if header.is_control() {
            if let Some(outcome) = outcome_of(&record) {
                machine.replay(Replayed::Marker { producer_id: header.producer_id, outcome })?;
            }
        } else if let Some(key) = record.key {
            let timestamp = match header.timestamp_type() {
                TimestampType::CreateTime => TimestampMs(header.base_timestamp.get().wrapping_add(record.timestamp_delta)),
                TimestampType::LogAppendTime => header.max_timestamp,
            };
            machine.replay(Replayed::Record { offset: at, timestamp, key, value: record.value, transaction })?;
        }
        if index % RECORDS_PER_STEP == RECORDS_PER_STEP - 1 {
            host.around.world.yield_now().await;
        }
    }
    Ok(())
}

/// A batch's records, decompressed off the shard.
async fn body_of<W: World, M: Hosted>(host: &Rc<Host<W, M>>, batch: &Batch) -> Result<Bytes, LoadError> {
    let (codec, records, offset) = (batch.header.codec, batch.records(), batch.header.base_offset);
    if codec == Codec::None {
        return Ok(records);
    }
    let limit = (host.around.writing)().decompressed_bytes_max;
    let body = host.around.world.offload(move || compression::decompress(codec, &records, limit)).await;
    body.map_err(|source| LoadError::Compression { offset, source })
}

/// What a control record says of its transaction; `None` for a kind that ends none.
fn outcome_of(record: &Record<'_>) -> Option<TransactionOutcome> {
    // Version, then type.
    let kind = record.key?.get(2..4)?;
    match i16::from_be_bytes([kind[0], kind[1]]) {
        ABORT => Some(TransactionOutcome::Aborted),
        COMMIT => Some(TransactionOutcome::Committed),
        _ => None,
    }
}
