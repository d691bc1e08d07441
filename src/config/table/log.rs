//! Keys of topics and of the log, with the defaults topics inherit.

use super::{Row, rows};
use crate::config::value::Allowed::{Any, AtLeast, Between, Each, EachOrNone, GzipLevel, OneOf, Ratio};

pub(super) const ROWS: &[Row] = rows! { Kafka;
    "auto.create.topics.enable", Boolean = "true", Any, High, ReadOnly, Served,
        "Whether a client that asks for an unknown topic, and allows it, creates it.";
    "compression.gzip.level", Int = "-1", GzipLevel, Medium, ClusterWide, Served,
        "Level used when this broker compresses with gzip: 1 to 9, or -1 for the codec's own default.";
    "compression.lz4.level", Int = "9", Between(1, 17), Medium, ClusterWide, Served,
        "Level at which Kafka would compress with lz4, 1 to 17; there is one level here, about as fast and as dense as 1.";
    "compression.type", Text = "producer", OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), High, ClusterWide, Served,
        "Codec that batches are stored in; \"producer\" keeps what the producer chose, \"uncompressed\" stores them plain.";
    "compression.zstd.level", Int = "3", Between(-131_072, 22), Medium, ClusterWide, Served,
        "Level used when this broker compresses with zstd: -131072 to 22.";
    "cordoned.log.dirs", List = "", EachOrNone(&[]), Medium, PerBroker, Served,
        "Log directories that receive no new partitions; * stands for all of them.";
    "default.replication.factor", Int = "1", Any, Medium, ReadOnly, Served,
        "Replicas of each partition of a topic created without a number of its own.";
    "delete.topic.enable", Boolean = "true", Any, High, ReadOnly, Served,
        "Whether topics can be deleted.";
    "log.cleaner.backoff.ms", Long = "15000", AtLeast(0), Medium, ClusterWide, Served,
        "Milliseconds the cleaner sleeps when nothing needs compaction.";
    "log.cleaner.dedupe.buffer.size", Long = "134217728", Any, Medium, ClusterWide, Served,
        "Bytes of memory that hold the keys seen in one compaction pass.";
    "log.cleaner.delete.retention.ms", Long = "86400000", AtLeast(0), Medium, ClusterWide, Served,
        "Milliseconds a tombstone outlives its compaction, for topics without delete.retention.ms.";
    "log.cleaner.enable", Boolean = "true", Any, Medium, ReadOnly, Served,
        "Whether compaction runs at all.";
    "log.cleaner.io.buffer.load.factor", Double = "0.9", Any, Medium, ClusterWide, Served,
        "How full the memory for keys may get in one compaction pass, as a share of it.";
    "log.cleaner.io.buffer.size", Int = "524288", AtLeast(0), Medium, ClusterWide, SizesOnly,
        "Bytes of Kafka's read and write buffers for compaction.";
    "log.cleaner.io.max.bytes.per.second", Double = "1.7976931348623157E308", Any, Medium, ClusterWide, Served,
        "Most bytes per second that compaction reads and writes together.";
    "log.cleaner.max.compaction.lag.ms", Long = "9223372036854775807", AtLeast(1), Medium, ClusterWide, Served,
        "Milliseconds after which a record must have been compacted, for topics without max.compaction.lag.ms.";
    "log.cleaner.min.cleanable.ratio", Double = "0.5", Ratio(0.0, 1.0), Medium, ClusterWide, Served,
        "Share of a log that must be uncompacted before it is compacted, for topics without min.cleanable.dirty.ratio.";
    "log.cleaner.min.compaction.lag.ms", Long = "0", AtLeast(0), Medium, ClusterWide, Served,
        "Milliseconds a record stays uncompacted, for topics without min.compaction.lag.ms.";
    "log.cleaner.threads", Int = "1", AtLeast(0), Medium, ClusterWide, Served,
        "Threads of Kafka's cleaner; here each shard compacts its own partitions one after another, and none does if this is 0.";
    "log.cleanup.policy", List = "delete", EachOrNone(&["compact", "delete"]), Medium, ClusterWide, Served,
        "What happens to old segments of topics without cleanup.policy: delete, compact, both, or nothing if empty.";
    "log.dir", List = "ottla-data", Each(&[]), High, ReadOnly, Served,
        "The log directory when log.dirs is not set.";
    "log.dir.failure.timeout.ms", Long = "30000", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Milliseconds a broker may take to tell the controller of a failed log directory before it stops.";
    "log.dirs", List = null, Each(&[]), High, ReadOnly, Served,
        "Directories that hold the partitions, separated by commas; when unset, log.dir.";
    "log.flush.interval.messages", Long = "9223372036854775807", AtLeast(1), High, ClusterWide, Served,
        "Records appended to a partition after which it is flushed, for topics without flush.messages.";
    "log.flush.interval.ms", Long = null, Any, High, ClusterWide, Served,
        "Milliseconds after which appended records are flushed, for topics without flush.ms; when unset, log.flush.scheduler.interval.ms.";
    "log.flush.offset.checkpoint.interval.ms", Int = "60000", AtLeast(0), High, ReadOnly, Served,
        "Milliseconds between two writes of the recovery point checkpoint.";
    "log.flush.scheduler.interval.ms", Long = "9223372036854775807", Any, High, ReadOnly, Served,
        "Milliseconds after which appended records are flushed when log.flush.interval.ms is unset; nothing is searched for, each log has a timer.";
    "log.flush.start.offset.checkpoint.interval.ms", Int = "60000", AtLeast(0), High, ReadOnly, Served,
        "Milliseconds between two writes of the log start offset checkpoint.";
    "log.index.interval.bytes", Int = "4096", AtLeast(0), Medium, ClusterWide, Served,
        "Bytes of records between two entries of the offset index, for topics without index.interval.bytes.";
    "log.index.size.max.bytes", Int = "10485760", AtLeast(4), Medium, ClusterWide, Served,
        "Largest size of an index file, for topics without segment.index.bytes.";
    "log.message.timestamp.after.max.ms", Long = "3600000", AtLeast(0), Medium, ClusterWide, Served,
        "How far a record's timestamp may lie ahead of the broker's clock, in milliseconds, for topics without a value of their own.";
    "log.message.timestamp.before.max.ms", Long = "9223372036854775807", AtLeast(0), Medium, ClusterWide, Served,
        "How far a record's timestamp may lie behind the broker's clock, in milliseconds, for topics without a value of their own.";
    "log.message.timestamp.type", Text = "CreateTime", OneOf(&["CreateTime", "LogAppendTime"]), Medium, ClusterWide, Served,
        "Whether records keep the producer's timestamp or get the broker's, for topics without message.timestamp.type.";
    "log.preallocate", Boolean = "false", Any, Medium, ClusterWide, Served,
        "Whether a new segment file is allocated at its full size, for topics without preallocate.";
    "log.retention.bytes", Long = "-1", Any, High, ClusterWide, Served,
        "Bytes a partition may grow to before old segments are deleted, for topics without retention.bytes; -1 means no limit.";
    "log.retention.check.interval.ms", Long = "300000", AtLeast(1), Medium, ReadOnly, Served,
        "Milliseconds between two searches for segments to delete.";
    "log.retention.hours", Int = "168", Any, High, ReadOnly, Served,
        "Hours a record is kept when neither log.retention.ms nor log.retention.minutes is set; -1 means for ever.";
    "log.retention.minutes", Int = null, Any, High, ReadOnly, Served,
        "Minutes a record is kept when log.retention.ms is not set; when unset, log.retention.hours.";
    "log.retention.ms", Long = null, Any, High, ClusterWide, Served,
        "Milliseconds a record is kept, for topics without retention.ms; when unset, log.retention.minutes; -1 means for ever.";
    "log.roll.hours", Int = "168", AtLeast(1), High, ReadOnly, Served,
        "Hours after which a new segment is begun when log.roll.ms is not set.";
    "log.roll.jitter.hours", Int = "0", AtLeast(0), High, ReadOnly, Served,
        "Most hours taken off log.roll.hours at random when log.roll.jitter.ms is not set.";
    "log.roll.jitter.ms", Long = null, Any, High, ClusterWide, Served,
        "Most milliseconds taken off segment.ms at random; when unset, log.roll.jitter.hours.";
    "log.roll.ms", Long = null, Any, High, ClusterWide, Served,
        "Milliseconds after which a new segment is begun, for topics without segment.ms; when unset, log.roll.hours.";
    "log.segment.bytes", Int = "1073741824", AtLeast(1_048_576), High, ClusterWide, Served,
        "Size at which a new segment is begun, for topics without segment.bytes.";
    "log.segment.delete.delay.ms", Long = "60000", AtLeast(0), High, ClusterWide, Served,
        "Milliseconds between marking a segment deleted and removing its files, for topics without file.delete.delay.ms.";
    "message.max.bytes", Int = "1048588", AtLeast(0), High, ClusterWide, Served,
        "Largest record batch accepted, after compression, for topics without max.message.bytes.";
    "min.insync.replicas", Int = "1", AtLeast(1), High, ClusterWide, Served,
        "In-sync replicas that must hold a batch before a producer with acks=all is answered.";
    "num.partitions", Int = "1", AtLeast(1), Medium, ReadOnly, Served,
        "Partitions of a topic created without a number of its own.";
    "num.recovery.threads.per.data.dir", Int = "2", AtLeast(1), High, ClusterWide, SizesOnly,
        "Threads that load one log directory in Kafka; here each shard loads its own partitions.";
    "num.replica.alter.log.dirs.threads", Int = null, Any, High, ReadOnly, SizesOnly,
        "Threads that move replicas between log directories in Kafka.";
    "producer.id.expiration.ms", Int = "86400000", AtLeast(1), Low, ClusterWide, Served,
        "Milliseconds after a producer's last batch in a partition before its sequence is forgotten.";
    "unclean.leader.election.enable", Boolean = "false", Any, High, ClusterWide, Served,
        "Whether a replica that may lack records can become leader when no in-sync replica is left.";
};
