//! Keys of consumer groups and committed offsets.

use super::{Row, rows};
use crate::config::value::Allowed::{Any, AtLeast, Each, OneOfAnyCase};

pub(super) const ROWS: &[Row] = rows! { Kafka;
    "group.consumer.assignment.interval.ms", Int = "1000", AtLeast(0), Medium, ClusterWide, SizesOnly,
        "Milliseconds between two computed assignments of a consumer group.";
    "group.consumer.assignors", List = "uniform,range", Each(&[]), Medium, ReadOnly, SizesOnly,
        "Assignors offered to consumer groups, the first being the default.";
    "group.consumer.heartbeat.interval.ms", Int = "5000", AtLeast(1), Medium, ReadOnly, Served,
        "Milliseconds between two heartbeats asked of members of consumer groups.";
    "group.consumer.max.assignment.interval.ms", Int = "15000", AtLeast(0), Medium, ReadOnly, SizesOnly,
        "Upper bound of a group's own consumer.assignment.interval.ms.";
    "group.consumer.max.heartbeat.interval.ms", Int = "15000", AtLeast(1), Medium, ReadOnly, Served,
        "Upper bound of a group's own consumer.heartbeat.interval.ms.";
    "group.consumer.max.session.timeout.ms", Int = "60000", AtLeast(1), Medium, ReadOnly, Served,
        "Upper bound of a group's own consumer.session.timeout.ms.";
    "group.consumer.max.size", Int = "2147483647", AtLeast(1), Medium, ReadOnly, Served,
        "Most members of one consumer group.";
    "group.consumer.migration.policy", Text = "bidirectional", OneOfAnyCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"]), Medium, ReadOnly, SizesOnly,
        "Directions in which a group may change between the classic and the consumer protocol.";
    "group.consumer.min.assignment.interval.ms", Int = "0", AtLeast(0), Medium, ReadOnly, SizesOnly,
        "Lower bound of a group's own consumer.assignment.interval.ms.";
    "group.consumer.min.heartbeat.interval.ms", Int = "5000", AtLeast(1), Medium, ReadOnly, Served,
        "Lower bound of a group's own consumer.heartbeat.interval.ms.";
    "group.consumer.min.session.timeout.ms", Int = "45000", AtLeast(1), Medium, ReadOnly, Served,
        "Lower bound of a group's own consumer.session.timeout.ms.";
    "group.consumer.session.timeout.ms", Int = "45000", AtLeast(1), Medium, ReadOnly, Served,
        "Milliseconds without a heartbeat after which a member of a consumer group is removed.";
    "group.coordinator.append.linger.ms", Int = "-1", AtLeast(-1), Medium, ReadOnly, SizesOnly,
        "Milliseconds a group coordinator may wait to write several records together; -1 adapts to the load.";
    "group.coordinator.background.threads", Int = "2", AtLeast(1), High, ReadOnly, SizesOnly,
        "Threads for slow work of Kafka's group coordinator; here each shard hosts its own groups.";
    "group.coordinator.cached.buffer.max.bytes", Int = "1048588", AtLeast(524_288), Medium, ClusterWide, SizesOnly,
        "Largest write buffer the group coordinator keeps for reuse.";
    "group.coordinator.rebalance.protocols", List = "classic,consumer,streams", Each(&["consumer", "classic", "share", "streams"]), Medium, ReadOnly, Served,
        "Group protocols offered to clients: classic, consumer, share, streams.";
    "group.coordinator.threads", Int = "4", AtLeast(1), High, ReadOnly, SizesOnly,
        "Threads of Kafka's group coordinator; here each shard hosts its own groups.";
    "group.initial.rebalance.delay.ms", Int = "3000", Any, Medium, ReadOnly, Served,
        "Milliseconds an empty classic group waits for more members before its first assignment.";
    "group.max.session.timeout.ms", Int = "1800000", Any, Medium, ReadOnly, Served,
        "Longest session timeout, in milliseconds, a member of a classic group may ask for.";
    "group.max.size", Int = "2147483647", AtLeast(1), Medium, ReadOnly, Served,
        "Most members of one classic group.";
    "group.min.session.timeout.ms", Int = "6000", Any, Medium, ReadOnly, Served,
        "Shortest session timeout, in milliseconds, a member of a classic group may ask for.";
    "offset.metadata.max.bytes", Int = "4096", Any, High, ReadOnly, Served,
        "Longest text a client may attach to a committed offset.";
    "offsets.commit.timeout.ms", Int = "5000", AtLeast(1), High, ReadOnly, Served,
        "Milliseconds a commit of offsets waits for its replicas.";
    "offsets.load.buffer.size", Int = "5242880", AtLeast(1), High, ReadOnly, SizesOnly,
        "Bytes read at a time while committed offsets are loaded.";
    "offsets.retention.check.interval.ms", Long = "600000", AtLeast(1), High, ReadOnly, Served,
        "Milliseconds between two searches for expired offsets.";
    "offsets.retention.minutes", Int = "10080", AtLeast(1), High, ReadOnly, Served,
        "Minutes a committed offset outlives its group's last member.";
    "offsets.topic.compression.codec", Int = "0", Any, High, ReadOnly, Served,
        "Codec number of the records of committed offsets: 0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd.";
    "offsets.topic.num.partitions", Int = "50", AtLeast(1), High, ReadOnly, Served,
        "Partitions of the topic that holds committed offsets.";
    "offsets.topic.replication.factor", Short = "3", AtLeast(1), High, ReadOnly, Served,
        "Replicas of the topic that holds committed offsets.";
    "offsets.topic.segment.bytes", Int = "104857600", AtLeast(1), High, ReadOnly, Served,
        "Segment size of the topic that holds committed offsets.";
};
