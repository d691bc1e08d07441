//! Keys a topic can override.

use super::{Row, rows};
use crate::config::value::Allowed::{Any, AtLeast, Between, EachOrNone, GzipLevel, OneOf, Ratio, ThrottledReplicas};

pub(super) const ROWS: &[Row] = rows! { Kafka;
    "cleanup.policy", List = "delete", EachOrNone(&["compact", "delete"]) => "log.cleanup.policy", Medium, ClusterWide, Served,
        "What happens to old segments: delete them, compact them, both, or nothing if empty.";
    "compression.gzip.level", Int = "-1", GzipLevel => "compression.gzip.level", Medium, ClusterWide, Served,
        "Level used when the broker compresses with gzip: 1 to 9, or -1 for the codec's own default.";
    "compression.lz4.level", Int = "9", Between(1, 17) => "compression.lz4.level", Medium, ClusterWide, Served,
        "Level at which Kafka would compress with lz4, 1 to 17; there is one level here, about as fast and as dense as 1.";
    "compression.type", Text = "producer", OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]) => "compression.type", Medium, ClusterWide, Served,
        "Codec that batches are stored in; \"producer\" keeps what the producer chose, \"uncompressed\" stores them plain.";
    "compression.zstd.level", Int = "3", Between(-131_072, 22) => "compression.zstd.level", Medium, ClusterWide, Served,
        "Level used when the broker compresses with zstd: -131072 to 22.";
    "delete.retention.ms", Long = "86400000", AtLeast(0) => "log.cleaner.delete.retention.ms", Medium, ClusterWide, Served,
        "Milliseconds a tombstone outlives its compaction, so that a slow reader still sees the deletion.";
    "file.delete.delay.ms", Long = "60000", AtLeast(0) => "log.segment.delete.delay.ms", Medium, ClusterWide, Served,
        "Milliseconds between marking a segment deleted and removing its files.";
    "flush.messages", Long = "9223372036854775807", AtLeast(1) => "log.flush.interval.messages", Medium, ClusterWide, Served,
        "Records appended to a partition after which it is flushed to disk.";
    "flush.ms", Long = "9223372036854775807", AtLeast(0) => "log.flush.interval.ms", Medium, ClusterWide, Served,
        "Milliseconds after which appended records are flushed to disk.";
    "follower.replication.throttled.replicas", List = "", ThrottledReplicas => null, Medium, ClusterWide, SizesOnly,
        "Replicas whose replication is throttled on the follower, as partition:broker pairs, or * for all.";
    "index.interval.bytes", Int = "4096", AtLeast(0) => "log.index.interval.bytes", Medium, ClusterWide, Served,
        "Bytes of records between two entries of the offset index.";
    "internal.segment.bytes", Int = null, AtLeast(1) => null, Medium, ClusterWide, Served,
        "Segment size below the usual minimum, for tests.";
    "leader.replication.throttled.replicas", List = "", ThrottledReplicas => null, Medium, ClusterWide, SizesOnly,
        "Replicas whose replication is throttled on the leader, as partition:broker pairs, or * for all.";
    "local.retention.bytes", Long = "-2", AtLeast(-2) => "log.local.retention.bytes", Medium, ClusterWide, SizesOnly,
        "Bytes of a partition kept locally once remote storage holds them; -2 means retention.bytes.";
    "local.retention.ms", Long = "-2", AtLeast(-2) => "log.local.retention.ms", Medium, ClusterWide, SizesOnly,
        "Milliseconds a record is kept locally once remote storage holds it; -2 means retention.ms.";
    "max.compaction.lag.ms", Long = "9223372036854775807", AtLeast(1) => "log.cleaner.max.compaction.lag.ms", Medium, ClusterWide, Served,
        "Milliseconds after which a record must have been compacted.";
    "max.message.bytes", Int = "1048588", AtLeast(0) => "message.max.bytes", Medium, ClusterWide, Served,
        "Largest record batch accepted, after compression.";
    "message.timestamp.after.max.ms", Long = "3600000", AtLeast(0) => "log.message.timestamp.after.max.ms", Medium, ClusterWide, Served,
        "How far a record's timestamp may lie ahead of the broker's clock, in milliseconds.";
    "message.timestamp.before.max.ms", Long = "9223372036854775807", AtLeast(0) => "log.message.timestamp.before.max.ms", Medium, ClusterWide, Served,
        "How far a record's timestamp may lie behind the broker's clock, in milliseconds.";
    "message.timestamp.type", Text = "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]) => "log.message.timestamp.type", Medium, ClusterWide, Served,
        "Whether records keep the producer's timestamp (CreateTime) or get the broker's (LogAppendTime).";
    "min.cleanable.dirty.ratio", Double = "0.5", Ratio(0.0, 1.0) => "log.cleaner.min.cleanable.ratio", Medium, ClusterWide, Served,
        "Share of the log that must be uncompacted before it is compacted.";
    "min.compaction.lag.ms", Long = "0", AtLeast(0) => "log.cleaner.min.compaction.lag.ms", Medium, ClusterWide, Served,
        "Milliseconds a record stays uncompacted.";
    "min.insync.replicas", Int = "1", AtLeast(1) => "min.insync.replicas", Medium, ClusterWide, Served,
        "In-sync replicas that must hold a batch before a producer with acks=all is answered.";
    "preallocate", Boolean = "false", Any => "log.preallocate", Medium, ClusterWide, Served,
        "Whether a new segment file is allocated at its full size.";
    "remote.log.copy.disable", Boolean = "false", Any => null, Medium, ClusterWide, SizesOnly,
        "Whether copying to remote storage is stopped.";
    "remote.log.delete.on.disable", Boolean = "false", Any => null, Medium, ClusterWide, SizesOnly,
        "Whether turning remote storage off deletes what it holds.";
    "remote.storage.enable", Boolean = "false", Any => null, Medium, ClusterWide, Refused,
        "Whether closed segments are kept in remote storage.";
    "retention.bytes", Long = "-1", Any => "log.retention.bytes", Medium, ClusterWide, Served,
        "Bytes a partition may grow to before old segments are deleted; -1 means no limit.";
    "retention.ms", Long = "604800000", AtLeast(-1) => "log.retention.ms", Medium, ClusterWide, Served,
        "Milliseconds a record is kept before its segment is deleted; -1 means for ever.";
    "segment.bytes", Int = "1073741824", AtLeast(1_048_576) => "log.segment.bytes", Medium, ClusterWide, Served,
        "Size at which a new segment is begun.";
    "segment.index.bytes", Int = "10485760", AtLeast(4) => "log.index.size.max.bytes", Medium, ClusterWide, Served,
        "Largest size of an index file.";
    "segment.jitter.ms", Long = "0", AtLeast(0) => "log.roll.jitter.ms", Medium, ClusterWide, Served,
        "Most milliseconds taken off segment.ms at random, so that segments do not all roll at once.";
    "segment.ms", Long = "604800000", AtLeast(1) => "log.roll.ms", Medium, ClusterWide, Served,
        "Milliseconds after which a new segment is begun, even if it is not full.";
    "unclean.leader.election.enable", Boolean = "false", Any => "unclean.leader.election.enable", Medium, ClusterWide, Served,
        "Whether a replica that may lack records can become leader when no in-sync replica is left.";
};
