//! Keys of share groups and streams groups, which are not served.

use super::{Row, rows};
use crate::config::value::Allowed::{Any, AtLeast, Between, Each};

pub(super) const ROWS: &[Row] = rows! { Kafka;
    "group.share.assignment.interval.ms", Int = "1000", AtLeast(0), Medium, ClusterWide, SizesOnly,
        "Milliseconds between two computed assignments of a share group.";
    "group.share.assignors", List = "simple", Each(&[]), Medium, ReadOnly, SizesOnly,
        "Assignors offered to share groups.";
    "group.share.delivery.count.limit", Int = "5", Between(2, 10), Medium, ReadOnly, SizesOnly,
        "Deliveries after which a record of a share group is given up.";
    "group.share.heartbeat.interval.ms", Int = "5000", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Milliseconds between two heartbeats asked of members of share groups.";
    "group.share.max.assignment.interval.ms", Int = "15000", AtLeast(0), Medium, ReadOnly, SizesOnly,
        "Upper bound of a group's own share.assignment.interval.ms.";
    "group.share.max.delivery.count.limit", Int = "10", Between(5, 25), Medium, ReadOnly, SizesOnly,
        "Upper bound of a group's own share.delivery.count.limit.";
    "group.share.max.heartbeat.interval.ms", Int = "15000", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Upper bound of a group's own share.heartbeat.interval.ms.";
    "group.share.max.partition.max.record.locks", Int = "4000", Between(2000, 10_000), Medium, ReadOnly, SizesOnly,
        "Upper bound of a group's own share.partition.max.record.locks.";
    "group.share.max.record.lock.duration.ms", Int = "60000", Between(30_000, 3_600_000), Medium, ReadOnly, SizesOnly,
        "Upper bound of a group's own share.record.lock.duration.ms.";
    "group.share.max.session.timeout.ms", Int = "60000", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Upper bound of a group's own share.session.timeout.ms.";
    "group.share.max.share.sessions", Int = "2000", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Most share sessions one broker keeps.";
    "group.share.max.size", Int = "200", Between(1, 1000), Medium, ReadOnly, SizesOnly,
        "Most members of one share group.";
    "group.share.min.assignment.interval.ms", Int = "0", AtLeast(0), Medium, ReadOnly, SizesOnly,
        "Lower bound of a group's own share.assignment.interval.ms.";
    "group.share.min.delivery.count.limit", Int = "2", Between(2, 5), Medium, ReadOnly, SizesOnly,
        "Lower bound of a group's own share.delivery.count.limit.";
    "group.share.min.heartbeat.interval.ms", Int = "5000", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Lower bound of a group's own share.heartbeat.interval.ms.";
    "group.share.min.partition.max.record.locks", Int = "100", Between(100, 2000), Medium, ReadOnly, SizesOnly,
        "Lower bound of a group's own share.partition.max.record.locks.";
    "group.share.min.record.lock.duration.ms", Int = "15000", Between(1000, 30_000), Medium, ReadOnly, SizesOnly,
        "Lower bound of a group's own share.record.lock.duration.ms.";
    "group.share.min.session.timeout.ms", Int = "45000", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Lower bound of a group's own share.session.timeout.ms.";
    "group.share.partition.max.record.locks", Int = "2000", Between(100, 10_000), Medium, ReadOnly, SizesOnly,
        "Most records of one partition that a share group may hold delivered and not yet acknowledged.";
    "group.share.record.lock.duration.ms", Int = "30000", Between(1000, 3_600_000), Medium, ReadOnly, SizesOnly,
        "Milliseconds a delivered record of a share group is held for its consumer.";
    "group.share.session.timeout.ms", Int = "45000", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Milliseconds without a heartbeat after which a member of a share group is removed.";
    "group.streams.assignment.interval.ms", Int = "1000", AtLeast(0), Medium, ClusterWide, SizesOnly,
        "Milliseconds between two computed assignments of a streams group.";
    "group.streams.heartbeat.interval.ms", Int = "5000", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Milliseconds between two heartbeats asked of members of streams groups.";
    "group.streams.initial.rebalance.delay.ms", Int = "3000", AtLeast(0), Medium, ReadOnly, SizesOnly,
        "Milliseconds an empty streams group waits for more members before its first assignment.";
    "group.streams.max.assignment.interval.ms", Int = "15000", AtLeast(0), Medium, ReadOnly, SizesOnly,
        "Upper bound of a group's own streams.assignment.interval.ms.";
    "group.streams.max.heartbeat.interval.ms", Int = "15000", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Upper bound of a group's own streams.heartbeat.interval.ms.";
    "group.streams.max.session.timeout.ms", Int = "60000", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Upper bound of a group's own streams.session.timeout.ms.";
    "group.streams.max.size", Int = "2147483647", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Most members of one streams group.";
    "group.streams.max.standby.replicas", Int = "2", AtLeast(0), Medium, ReadOnly, SizesOnly,
        "Upper bound of a group's own streams.num.standby.replicas.";
    "group.streams.min.assignment.interval.ms", Int = "0", AtLeast(0), Medium, ReadOnly, SizesOnly,
        "Lower bound of a group's own streams.assignment.interval.ms.";
    "group.streams.min.heartbeat.interval.ms", Int = "5000", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Lower bound of a group's own streams.heartbeat.interval.ms.";
    "group.streams.min.session.timeout.ms", Int = "45000", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Lower bound of a group's own streams.session.timeout.ms.";
    "group.streams.num.standby.replicas", Int = "0", AtLeast(0), Medium, ReadOnly, SizesOnly,
        "Standby copies of each task's state in a streams group.";
    "group.streams.session.timeout.ms", Int = "45000", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Milliseconds without a heartbeat after which a member of a streams group is removed.";
    "share.coordinator.append.linger.ms", Int = "-1", AtLeast(-1), Medium, ReadOnly, SizesOnly,
        "Milliseconds a share coordinator may wait to write several records together; -1 adapts to the load.";
    "share.coordinator.cached.buffer.max.bytes", Int = "1048588", AtLeast(524_288), Medium, ClusterWide, SizesOnly,
        "Largest write buffer the share coordinator keeps for reuse.";
    "share.coordinator.load.buffer.size", Int = "5242880", AtLeast(1), High, ReadOnly, SizesOnly,
        "Bytes read at a time while share group state is loaded.";
    "share.coordinator.snapshot.update.records.per.snapshot", Int = "500", Between(0, 500), Medium, ReadOnly, SizesOnly,
        "Updates of share group state written between two snapshots.";
    "share.coordinator.state.topic.compression.codec", Int = "0", Any, High, ReadOnly, SizesOnly,
        "Codec number of the records of share group state.";
    "share.coordinator.state.topic.min.isr", Short = "2", AtLeast(1), High, ReadOnly, SizesOnly,
        "In-sync replicas the topic of share group state must have.";
    "share.coordinator.state.topic.num.partitions", Int = "50", AtLeast(1), High, ReadOnly, SizesOnly,
        "Partitions of the topic that holds share group state.";
    "share.coordinator.state.topic.replication.factor", Short = "3", AtLeast(1), High, ReadOnly, SizesOnly,
        "Replicas of the topic that holds share group state.";
    "share.coordinator.state.topic.segment.bytes", Int = "104857600", AtLeast(1), High, ReadOnly, SizesOnly,
        "Segment size of the topic that holds share group state.";
    "share.coordinator.threads", Int = "1", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Threads of Kafka's share coordinator.";
    "share.coordinator.write.timeout.ms", Int = "5000", AtLeast(1), High, ReadOnly, SizesOnly,
        "Milliseconds a write of share group state waits for its replicas.";
    "share.fetch.purgatory.purge.interval.requests", Int = "1000", Any, Medium, ReadOnly, SizesOnly,
        "Parked share fetches after which Kafka sweeps finished ones.";
};
