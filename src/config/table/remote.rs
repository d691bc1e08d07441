//! Keys of remote (tiered) storage, which is not served: switching it on refuses the start.

use super::{Row, rows};
use crate::config::value::Allowed::{Any, AtLeast, NonEmpty};

pub(super) const ROWS: &[Row] = rows! { Kafka;
    "follower.fetch.last.tiered.offset.enable", Boolean = "false", Any, Medium, ClusterWide, SizesOnly,
        "Whether an empty follower starts from what remote storage does not hold yet.";
    "log.local.retention.bytes", Long = "-2", AtLeast(-2), Medium, ClusterWide, SizesOnly,
        "Bytes kept locally of what remote storage holds, for topics without local.retention.bytes.";
    "log.local.retention.ms", Long = "-2", AtLeast(-2), Medium, ClusterWide, SizesOnly,
        "Milliseconds kept locally of what remote storage holds, for topics without local.retention.ms.";
    "remote.fetch.max.wait.ms", Int = "500", AtLeast(1), Medium, ClusterWide, SizesOnly,
        "Milliseconds a fetch waits for remote storage.";
    "remote.list.offsets.request.timeout.ms", Long = "30000", AtLeast(1), Medium, ClusterWide, SizesOnly,
        "Milliseconds a ListOffsets request waits for remote storage.";
    "remote.log.index.file.cache.total.size.bytes", Long = "1073741824", AtLeast(1), Low, ClusterWide, SizesOnly,
        "Bytes of remote index files kept locally.";
    "remote.log.manager.copier.thread.pool.size", Int = "10", AtLeast(1), Medium, ClusterWide, SizesOnly,
        "Threads that copy segments to remote storage.";
    "remote.log.manager.copy.max.bytes.per.second", Long = "9223372036854775807", AtLeast(1), Medium, ClusterWide, SizesOnly,
        "Most bytes per second copied to remote storage.";
    "remote.log.manager.copy.quota.window.num", Int = "11", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Samples kept to measure the rate of copies to remote storage.";
    "remote.log.manager.copy.quota.window.size.seconds", Int = "1", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Seconds covered by one sample of the rate of copies to remote storage.";
    "remote.log.manager.expiration.thread.pool.size", Int = "10", AtLeast(1), Medium, ClusterWide, SizesOnly,
        "Threads that delete expired segments from remote storage.";
    "remote.log.manager.fetch.max.bytes.per.second", Long = "9223372036854775807", AtLeast(1), Medium, ClusterWide, SizesOnly,
        "Most bytes per second read from remote storage.";
    "remote.log.manager.fetch.quota.window.num", Int = "11", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Samples kept to measure the rate of reads from remote storage.";
    "remote.log.manager.fetch.quota.window.size.seconds", Int = "1", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Seconds covered by one sample of the rate of reads from remote storage.";
    "remote.log.manager.follower.thread.pool.size", Int = "2", AtLeast(1), Medium, ClusterWide, SizesOnly,
        "Threads that follow remote storage for follower replicas.";
    "remote.log.manager.task.interval.ms", Long = "30000", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Milliseconds between two runs of the remote storage tasks.";
    "remote.log.manager.thread.pool.size", Int = "2", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Older name for the thread counts of remote storage.";
    "remote.log.metadata.custom.metadata.max.bytes", Int = "128", AtLeast(0), Low, ReadOnly, SizesOnly,
        "Largest metadata a remote storage plug-in may attach to a segment.";
    "remote.log.metadata.manager.class.name", Text = "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager", NonEmpty, Medium, ReadOnly, SizesOnly,
        "Class that keeps the metadata of remote segments.";
    "remote.log.metadata.manager.class.path", Text = null, Any, Medium, ReadOnly, SizesOnly,
        "Where the class that keeps the metadata of remote segments is loaded from.";
    "remote.log.metadata.manager.impl.prefix", Text = "rlmm.config.", NonEmpty, Medium, ReadOnly, SizesOnly,
        "Prefix of keys handed to the class that keeps the metadata of remote segments.";
    "remote.log.metadata.manager.listener.name", Text = null, NonEmpty, Medium, ReadOnly, SizesOnly,
        "Listener used by the class that keeps the metadata of remote segments.";
    "remote.log.reader.max.pending.tasks", Int = "100", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Reads from remote storage that may wait at one time.";
    "remote.log.reader.threads", Int = "10", AtLeast(1), Medium, ClusterWide, SizesOnly,
        "Threads that read from remote storage.";
    "remote.log.storage.manager.class.name", Text = null, NonEmpty, Medium, ReadOnly, SizesOnly,
        "Class that stores remote segments.";
    "remote.log.storage.manager.class.path", Text = null, Any, Medium, ReadOnly, SizesOnly,
        "Where the class that stores remote segments is loaded from.";
    "remote.log.storage.manager.impl.prefix", Text = "rsm.config.", NonEmpty, Medium, ReadOnly, SizesOnly,
        "Prefix of keys handed to the class that stores remote segments.";
    "remote.log.storage.system.enable", Boolean = "false", Any, Medium, ReadOnly, Refused,
        "Whether closed segments can be kept in remote storage.";
};
