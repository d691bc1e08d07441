//! The batches of one request: checked, compressed anew where the topic wants another codec than the producer's, and sorted by owner.
//!
//! Invariants:
//! 1. The shard does no more than a turn of this before others have theirs: what may take longer is told by a batch's header, or found out
//!    within such a turn, and done elsewhere.
//! 2. Work that is done elsewhere ends soon after its connection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};

use crate::config::topic::{Compression, TopicSettings};
use crate::io::World;
use crate::metadata::image::MetadataImage;
use crate::shard::Shard;
use crate::shard::message::PartitionBatch;
use crate::types::{ShardId, TimestampMs, TopicPartition};
use crate::wire::batch::{Batch, BatchHeader, Codec, PREFIX_LEN, RECORDS_AT, RecompressError, Recompression, TimestampType, recompress};
use crate::wire::compression::{CompressionError, Level};
use crate::wire::error::ErrorCode;
use crate::wire::produce::{CurrentLeader, ProducePartitionResponse};
use crate::wire::validation::{self, BRIEF_BYTES, Effort, ProduceRules, Refusal, ValidBatch};

/// A request that has been checked for so long lets others of its shard have their turn.
const TURN_NANOS: u64 = 250_000;

/// What a request may have decompressed on the shard altogether: a few batches pass sooner there than elsewhere, hundreds keep others waiting.
const INSIDE_NANOS_MAX: u64 = 1_000_000;

/// What finding a partition and answering for it takes.
const PARTITION_NANOS: u64 = 500;

/// What a batch may decompress to where work of some ten milliseconds is done; more is done where it takes as long as it takes.
const MODEST_BYTES: usize = 4 << 20;

/// The same for what is compressed anew, quickly or hard: up to a hundred times as slow.
const MODEST_COMPRESSED_BYTES: usize = 1 << 20;
const MODEST_PRESSED_BYTES: usize = 64 << 10;

/// Levels of gzip and zstd above this are slow.
const QUICK_LEVEL_MAX: i32 = 6;

/// A place in the response: topic and partition, by index.
pub(super) type Place = (usize, usize);

/// Batches that may be appended, and their places.
pub(super) type Batches = (Vec<PartitionBatch>, Vec<Place>);

pub(super) struct Checking<'a> {
    image: &'a MetadataImage,
    /// An owner that is here has something to append.
    by_owner: BTreeMap<ShardId, Batches>,
    now: TimestampMs,
    version: i16,
    /// Nanoseconds since others had their turn, about.
    spent: u64,
    /// Nanoseconds of decompressing on the shard.
    inside: u64,
}

/// A batch that may be appended, and what it has inside.
struct Checked {
    batch: Batch,
    log_append_time: TimestampMs,
    unpacked: usize,
}

impl<'a> Checking<'a> {
    pub fn new(image: &'a MetadataImage, now: TimestampMs, version: i16) -> Self {
        Self { image, by_owner: BTreeMap::new(), now, version, spent: 0, inside: 0 }
    }

    pub fn into_batches(self) -> BTreeMap<ShardId, Batches> {
        self.by_owner
    }

    /// Lets others of the shard have their turn, if this request has had its own.
    pub async fn give_way<W: World>(&mut self, shard: &Shard<W>) {
        self.spent += PARTITION_NANOS;
        if self.spent > TURN_NANOS {
            self.spent = 0;
            shard.world().yield_now().await;
        }
    }

    pub async fn check<W: World>(
        &mut self,
        shard: &Shard<W>,
        id: TopicPartition,
        settings: &TopicSettings,
        records: Option<&Bytes>,
        place: Place,
    ) -> Result<(), ProducePartitionResponse> {
        let refused = |code| ProducePartitionResponse::refused(0, code);
        let partition = self.image.partition(id).ok_or_else(|| refused(ErrorCode::UnknownTopicOrPartition))?;
        if !partition.is_answered_by(shard.node()) {
            let leader = partition.leader.map(|leader| CurrentLeader { leader, epoch: partition.leader_epoch });
            return Err(ProducePartitionResponse { current_leader: leader, ..refused(ErrorCode::NotLeaderOrFollower) });
        }
        let rules = shard.produce_rules(settings, self.version, self.now);
        let checked = self.validated(shard.world(), records.cloned().unwrap_or_default(), rules).await;
        let Checked { mut batch, log_append_time, unpacked } = checked.map_err(|refusal| ProducePartitionResponse {
            // As Kafka: a sentence goes with refusals of single records only.
            error_message: (!refusal.record_errors.is_empty()).then_some(refusal.message),
            record_errors: refusal.record_errors,
            ..refused(refusal.code)
        })?;
        if let Some((codec, level)) = codec_of(settings.compression).filter(|(codec, _)| *codec != batch.header.codec) {
            let wanted = Recompression {
                codec,
                level,
                decompressed_bytes_max: rules.decompressed_bytes_max,
                batch_bytes_max: rules.max_batch_bytes,
            };
            batch = recompressed(shard.world(), batch, wanted, unpacked).await.map_err(|error| {
                tracing::debug!("a batch could not be compressed anew: {error}");
                refused(code_of_recompression(&error))
            })?;
        }
        let (batches, places) = self.by_owner.entry(shard.owner(id)).or_default();
        batches.push(PartitionBatch { partition: id, batch, log_append_time });
        places.push(place);
        Ok(())
    }

    async fn validated<W: World>(&mut self, world: &W, records: Bytes, rules: ProduceRules) -> Result<Checked, Refusal> {
        match validation::effort(&records, &rules) {
            Effort::Brief { nanos } => {
                self.spent += nanos;
                return checked(validation::validate_produce(&records, &rules));
            }
            Effort::DependsOnInside if self.inside < INSIDE_NANOS_MAX => {
                let began = world.monotonic();
                let tried = validation::validate_within(BRIEF_BYTES, &records, &rules, &|| false);
                let took = world.monotonic().nanos().saturating_sub(began.nanos());
                (self.spent, self.inside) = (self.spent + took, self.inside + took);
                if let Some(found) = tried {
                    return checked(found);
                }
            }
            Effort::DependsOnInside | Effort::Long => {}
        }
        self.spent = 0;
        let wanted = Wanted::default();
        let (body, gone) = (records.clone(), wanted.gone());
        let modest = world.offload(move || validation::validate_within(MODEST_BYTES, &body, &rules, &gone).map(checked)).await;
        if let Some(modest) = modest {
            return modest;
        }
        let gone = wanted.gone();
        world.offload_at_length(move || checked(validation::validate_unless(&records, &rules, &gone))).await
    }
}

/// The batch to append: the client's own bytes, unless the broker's clock has its place in the header.
fn checked(valid: Result<ValidBatch, Refusal>) -> Result<Checked, Refusal> {
    let valid = valid?;
    let log_append_time = match valid.timestamp_type {
        TimestampType::LogAppendTime => valid.max_timestamp,
        TimestampType::CreateTime => TimestampMs::NONE,
    };
    let batch = match valid.restamped {
        None => Batch { header: valid.header, bytes: valid.bytes },
        Some(header) => {
            let mut bytes = BytesMut::from(&valid.bytes[..]);
            bytes[PREFIX_LEN..RECORDS_AT].copy_from_slice(&header);
            let bytes = bytes.freeze();
            Batch { header: BatchHeader::parse(&bytes)?, bytes }
        }
    };
    Ok(Checked { batch, log_append_time, unpacked: valid.unpacked })
}

/// Costs milliseconds for a large batch: not the shard's.
async fn recompressed<W: World>(world: &W, batch: Batch, to: Recompression, unpacked: usize) -> Result<Batch, RecompressError> {
    let wanted = Wanted::default();
    let gone = wanted.gone();
    let is_slow = matches!(to.codec, Codec::Gzip | Codec::Zstd) && to.level.is_some_and(|level| level > QUICK_LEVEL_MAX);
    let modest = if is_slow { MODEST_PRESSED_BYTES } else { MODEST_COMPRESSED_BYTES };
    let work = move || recompress(&batch, to, &gone);
    if unpacked <= modest { world.offload(work).await } else { world.offload_at_length(work).await }
}

/// Tells what is done elsewhere when nobody waits for it any more.
#[derive(Default)]
struct Wanted {
    gone: Arc<AtomicBool>,
}

impl Wanted {
    fn gone(&self) -> impl Fn() -> bool + Send + 'static {
        let gone = self.gone.clone();
        move || gone.load(Ordering::Relaxed)
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::Relaxed);
    }
}

/// What `compression.type` asks for; `None` leaves it to the producer.
fn codec_of(compression: Compression) -> Option<(Codec, Level)> {
    match compression {
        Compression::Producer => None,
        Compression::Uncompressed => Some((Codec::None, None)),
        Compression::Gzip { level } => Some((Codec::Gzip, level.map(|level| level as i32))),
        Compression::Snappy => Some((Codec::Snappy, None)),
        Compression::Lz4 { level } => Some((Codec::Lz4, Some(level as i32))),
        Compression::Zstd { level } => Some((Codec::Zstd, Some(level))),
    }
}

fn code_of_recompression(error: &RecompressError) -> ErrorCode {
    match error {
        RecompressError::TooLarge(_) | RecompressError::Compression(CompressionError::TooLarge { .. }) => ErrorCode::MessageTooLarge,
        // The batch was checked before: only one that was taken at its header's word comes here.
        RecompressError::Compression(CompressionError::Corrupt { .. } | CompressionError::Failed { .. }) | RecompressError::Batch(_) => {
            ErrorCode::InvalidRecord
        }
        RecompressError::GivenUp => ErrorCode::RequestTimedOut,
    }
}
