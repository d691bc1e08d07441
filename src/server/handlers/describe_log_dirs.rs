//! DescribeLogDirs: the log directories, the logs in them and their sizes, and the space there is.
//!
//! KIPs: 113, 827 (space), 1066 (cordoned directories).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use kafka_protocol::messages::describe_log_dirs_response::{DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};

use crate::io::{Space, World};
use crate::metadata::image::MetadataImage;
use crate::server::dispatch::{self, Call, Started};
use crate::server::refusals::Refusals;
use crate::server::response::Response;
use crate::server::shard_ports::Counted;
use crate::shard::message::{LogSize, LogSizesRequest};
use crate::types::{PartitionIndex, ShardId, TopicPartition};
use crate::wire::api::ApiKey;
use crate::wire::error::ErrorCode;
use crate::wire::{log_dirs, message};

const KEY: i16 = ApiKey::DescribeLogDirs.code();

/// Space that could not be asked for, or that another of this node's ids tells.
const UNKNOWN_BYTES: i64 = -1;

pub fn start<W: World>(call: Call<W>, body: Bytes) -> Started<W> {
    let (version, correlation_id) = (call.header.version, call.header.correlation_id);
    let request = match message::decode_request(KEY, version, body) {
        Ok(request) => request,
        Err(error) => return Started::Refused(error.to_string()),
    };
    Started::Answering(Box::pin(async move {
        let shard = &call.server.shard;
        let Some(response) = answer(&call, request).await else { return Response::Close };
        response.each(&mut |code| call.server.metrics().requests.on_error(KEY, code));
        if version < log_dirs::CORDONS_FROM {
            return dispatch::encoded(KEY, version, correlation_id, &response);
        }
        let cordoned: Vec<bool> = (0..response.results.len()).map(|index| shard.is_cordoned(index)).collect();
        Response::Frame(log_dirs::encode(&response, &cordoned, correlation_id))
    }))
}

async fn answer<W: World>(call: &Call<W>, request: DescribeLogDirsRequest) -> Option<DescribeLogDirsResponse> {
    let shard = &call.server.shard;
    let image = shard.image();
    let wanted = wanted(&image, &request);
    let counted = call.server.counted(&call.peer);
    let mut sizes: Vec<LogSize> = Vec::new();
    for owner in (0..shard.shard_count()).map(ShardId).filter(|owner| counted.has(*owner)) {
        let partitions =
            wanted.as_ref().map(|wanted| wanted.iter().copied().filter(|partition| shard.owner(*partition) == owner).collect::<Vec<_>>());
        if partitions.as_ref().is_none_or(|partitions| !partitions.is_empty()) {
            sizes.extend(shard.log_sizes(owner, LogSizesRequest { image_version: image.version(), partitions }).await?);
        }
    }
    sizes.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    let directories = shard.log_directories().await;
    let results = directories.iter().enumerate().map(|(index, (path, space))| {
        let logs = sizes.iter().filter(|log| log.directory == index);
        match space {
            Ok(space) if matches!(counted, Counted::Of(_)) => {
                directory(path, space, logs).with_total_bytes(UNKNOWN_BYTES).with_usable_bytes(UNKNOWN_BYTES)
            }
            Ok(space) => directory(path, space, logs),
            Err(_) => offline(path),
        }
    });
    Some(DescribeLogDirsResponse::default().with_results(results.collect()))
}

/// The partitions that are asked for, those that there are; `None` asks for all.
fn wanted(image: &MetadataImage, request: &DescribeLogDirsRequest) -> Option<BTreeSet<TopicPartition>> {
    let topics = request.topics.as_ref()?;
    let known = topics.iter().filter_map(|asked| Some((image.topic_by_name(&asked.topic)?, asked)));
    let partitions = known.flat_map(|(topic, asked)| {
        asked.partitions.iter().map(|index| TopicPartition { topic: topic.id, partition: PartitionIndex(*index) })
    });
    Some(partitions.collect())
}

/// As Kafka, of a directory that is offline nothing is told but that it is.
fn offline(path: &Path) -> DescribeLogDirsResult {
    DescribeLogDirsResult::default()
        .with_error_code(ErrorCode::KafkaStorageError.code())
        .with_log_dir(super::text(path.display().to_string()))
        .with_total_bytes(UNKNOWN_BYTES)
        .with_usable_bytes(UNKNOWN_BYTES)
}

fn directory<'a>(path: &Path, space: &Space, logs: impl Iterator<Item = &'a LogSize>) -> DescribeLogDirsResult {
    let mut topics: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for log in logs {
        topics.entry(log.topic.as_str()).or_default().push(
            DescribeLogDirsPartition::default()
                .with_partition_index(log.partition.get())
                .with_partition_size(i64::try_from(log.bytes).unwrap_or(i64::MAX)),
        );
    }
    let topics = topics
        .into_iter()
        .map(|(name, partitions)| DescribeLogDirsTopic::default().with_name(TopicName(super::text(name))).with_partitions(partitions));
    let bytes = |of: fn(&Space) -> u64| i64::try_from(of(space)).unwrap_or(i64::MAX);
    DescribeLogDirsResult::default()
        .with_error_code(ErrorCode::None.code())
        .with_log_dir(super::text(path.display().to_string()))
        .with_topics(topics.collect())
        .with_total_bytes(bytes(|space| space.total))
        .with_usable_bytes(bytes(|space| space.free))
}
