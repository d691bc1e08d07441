//! Kafka's internal keys: accepted where a file has them, described only where set.

use super::{Row, rows};
use crate::config::value::Allowed::{Any, AtLeast, Ratio};

pub(super) const ROWS: &[Row] = rows! { Internal;
    "controller.performance.always.log.threshold.ms", Long = "2000", AtLeast(0), Medium, ReadOnly, SizesOnly,
        "Milliseconds from which a slow controller event is logged at once.";
    "controller.performance.sample.period.ms", Long = "60000", AtLeast(100), Medium, ReadOnly, SizesOnly,
        "Milliseconds between two summaries of slow controller events.";
    "group.consumer.regex.refresh.interval.ms", Int = "600000", AtLeast(10_000), Medium, ReadOnly, SizesOnly,
        "Milliseconds between two evaluations of a subscription by pattern.";
    "group.share.initialize.retry.interval.ms", Int = "30000", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Milliseconds before the initialization of share group state is tried again.";
    "group.share.persister.class.name", Text = "org.apache.kafka.server.share.persister.DefaultStatePersister", Any, Medium, ReadOnly, SizesOnly,
        "Class that keeps the state of share groups.";
    "internal.metadata.delete.delay.millis", Long = "60000", Any, Low, ReadOnly, SizesOnly,
        "Milliseconds before a removed file of Kafka's metadata log is deleted.";
    "internal.metadata.log.segment.bytes", Int = null, Any, Low, ReadOnly, SizesOnly,
        "Segment size of Kafka's metadata log, below the usual minimum, for tests.";
    "internal.metadata.max.batch.size.in.bytes", Int = "8388608", Any, Low, ReadOnly, SizesOnly,
        "Largest batch in Kafka's metadata log.";
    "log.initial.task.delay.ms", Long = "30000", AtLeast(0), Low, ReadOnly, Served,
        "Milliseconds after the start before retention, flushing and checkpoints begin.";
    "producer.id.expiration.check.interval.ms", Int = "600000", AtLeast(1), Low, ReadOnly, Served,
        "Milliseconds between two searches for producers to forget.";
    "remote.log.index.file.cache.ttl.ms", Long = "900000", AtLeast(-1), Low, ReadOnly, SizesOnly,
        "Milliseconds an unused remote index file is kept locally.";
    "remote.log.manager.task.retry.backoff.max.ms", Long = "30000", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Longest wait, in milliseconds, before a failed remote storage task runs again.";
    "remote.log.manager.task.retry.backoff.ms", Long = "500", AtLeast(1), Low, ReadOnly, SizesOnly,
        "First wait, in milliseconds, before a failed remote storage task runs again.";
    "remote.log.manager.task.retry.jitter", Double = "0.2", Ratio(0.0, 0.5), Low, ReadOnly, SizesOnly,
        "Share of that wait varied at random.";
    "server.max.startup.time.ms", Long = "9223372036854775807", AtLeast(0), Medium, ReadOnly, SizesOnly,
        "Milliseconds the start may take before it is given up.";
    "share.coordinator.cold.partition.snapshot.interval.ms", Int = "300000", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Milliseconds between two snapshots of share groups without traffic.";
    "share.coordinator.state.topic.prune.interval.ms", Int = "300000", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Milliseconds between two removals of old share group state.";
    "unclean.leader.election.interval.ms", Long = "300000", AtLeast(1), Medium, ReadOnly, SizesOnly,
        "Milliseconds between two searches for partitions without a leader.";
    "unstable.api.versions.enable", Boolean = "false", Any, High, ReadOnly, SizesOnly,
        "Whether API versions still in development are offered.";
    "unstable.feature.versions.enable", Boolean = "false", Any, High, ReadOnly, SizesOnly,
        "Whether feature versions still in development are offered.";
};
