//! Keys a group can override.

use super::{Row, rows};
use crate::config::value::Allowed::{Any, AtLeast, OneOf};

pub(super) const ROWS: &[Row] = rows! { Kafka;
    "consumer.assignment.interval.ms", Int = "1000", AtLeast(0) => "group.consumer.assignment.interval.ms", Medium, ClusterWide, SizesOnly,
        "Milliseconds between two computed assignments of a consumer group.";
    "consumer.heartbeat.interval.ms", Int = "5000", AtLeast(1) => "group.consumer.heartbeat.interval.ms", Medium, ClusterWide, SizesOnly,
        "Milliseconds between two heartbeats of a member of a consumer group.";
    "consumer.session.timeout.ms", Int = "45000", AtLeast(1) => "group.consumer.session.timeout.ms", Medium, ClusterWide, SizesOnly,
        "Milliseconds without a heartbeat after which a member of a consumer group is taken for gone.";
    "share.assignment.interval.ms", Int = "1000", AtLeast(0) => "group.share.assignment.interval.ms", Medium, ClusterWide, SizesOnly,
        "Milliseconds between two computed assignments of a share group.";
    "share.auto.offset.reset", Text = "latest", Any => null, Medium, ClusterWide, SizesOnly,
        "Where a share group begins a partition: earliest, latest, or by_duration: and a time in ISO 8601, as by_duration:PT1H.";
    "share.delivery.count.limit", Int = "5", AtLeast(2) => "group.share.delivery.count.limit", Medium, ClusterWide, SizesOnly,
        "Most deliveries of one record of a share group.";
    "share.heartbeat.interval.ms", Int = "5000", AtLeast(1) => "group.share.heartbeat.interval.ms", Medium, ClusterWide, SizesOnly,
        "Milliseconds between two heartbeats of a member of a share group.";
    "share.isolation.level", Text = "read_uncommitted", OneOf(&["read_committed", "read_uncommitted"]) => null, Medium, ClusterWide, SizesOnly,
        "Whether a share group is delivered records of transactions that were aborted or are open.";
    "share.partition.max.record.locks", Int = "2000", AtLeast(100) => "group.share.partition.max.record.locks", Medium, ClusterWide, SizesOnly,
        "Most records of one partition that a share group holds at one time.";
    "share.record.lock.duration.ms", Int = "30000", AtLeast(1000) => "group.share.record.lock.duration.ms", Medium, ClusterWide, SizesOnly,
        "Milliseconds a share group's member holds a record before it is delivered again.";
    "share.renew.acknowledge.enable", Boolean = "true", Any => null, Medium, ClusterWide, SizesOnly,
        "Whether members of a share group may hold a record for longer.";
    "share.session.timeout.ms", Int = "45000", AtLeast(1) => "group.share.session.timeout.ms", Medium, ClusterWide, SizesOnly,
        "Milliseconds without a heartbeat after which a member of a share group is taken for gone.";
    "streams.assignment.interval.ms", Int = "1000", AtLeast(0) => "group.streams.assignment.interval.ms", Medium, ClusterWide, SizesOnly,
        "Milliseconds between two computed assignments of a streams group.";
    "streams.heartbeat.interval.ms", Int = "5000", AtLeast(1) => "group.streams.heartbeat.interval.ms", Medium, ClusterWide, SizesOnly,
        "Milliseconds between two heartbeats of a member of a streams group.";
    "streams.initial.rebalance.delay.ms", Int = "3000", AtLeast(0) => "group.streams.initial.rebalance.delay.ms", Medium, ClusterWide, SizesOnly,
        "Milliseconds a new streams group waits for more members before its first rebalance.";
    "streams.num.standby.replicas", Int = "0", AtLeast(0) => "group.streams.num.standby.replicas", Medium, ClusterWide, SizesOnly,
        "Standby copies of each task of a streams group.";
    "streams.session.timeout.ms", Int = "45000", AtLeast(1) => "group.streams.session.timeout.ms", Medium, ClusterWide, SizesOnly,
        "Milliseconds without a heartbeat after which a member of a streams group is taken for gone.";
};
