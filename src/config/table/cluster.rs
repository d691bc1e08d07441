//! Keys of the cluster, its metadata, replication, quotas and metrics.

use super::{Row, rows};
use crate::config::value::Allowed::{Any, AtLeast, Each, EachOrNone};

pub(super) const ROWS: &[Row] = rows! { Kafka;
    "alter.config.policy.class.name", Class = null, Any, Low, ReadOnly, Refused,
        "Class that may refuse changes of configuration.";
    "alter.log.dirs.replication.quota.window.num", Int = "11", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Samples kept to measure the rate of replica moves between log directories.";
    "alter.log.dirs.replication.quota.window.size.seconds", Int = "1", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Seconds covered by one sample of the rate of replica moves between log directories.";
    "auto.leader.rebalance.enable", Boolean = "true", Any, High, ReadOnly, SizesOnly,
        "Whether leadership is moved back to preferred leaders in the background.";
    "background.threads", Int = "10", AtLeast(1), High, ClusterWide, SizesOnly,
        "Threads for background work in Kafka; here each shard does its own.";
    "broker.heartbeat.interval.ms", Int = "2000", Any, Medium, ReadOnly, SizesOnly,
        "Milliseconds between two heartbeats from a broker to the controller.";
    "broker.id", Int = "-1", Any, High, ReadOnly, Served,
        "Older name of node.id.";
    "broker.rack", Text = null, Any, Medium, ReadOnly, Served,
        "Name of the rack or zone this broker stands in, for spreading replicas and for reads from the nearest replica.";
    "broker.session.timeout.ms", Int = "9000", Any, Medium, ReadOnly, SizesOnly,
        "Milliseconds without a heartbeat after which the controller fences a broker.";
    "client.quota.callback.class", Class = null, Any, Low, ReadOnly, Refused,
        "Class that computes client quotas in place of the built-in ones.";
    "controlled.shutdown.enable", Boolean = "true", Any, Medium, ReadOnly, SizesOnly,
        "Whether a stopping broker first hands its leaderships to others.";
    "controller.listener.names", List = null, Each(&[]), High, ReadOnly, Served,
        "Names of the listeners that controllers use, separated by commas.";
    "controller.quorum.append.linger.ms", Int = "25", AtLeast(0), Medium, ReadOnly, SizesOnly,
        "Milliseconds the metadata leader may wait to write several appends together.";
    "controller.quorum.auto.join.enable", Boolean = "false", Any, Low, ReadOnly, SizesOnly,
        "Whether a controller adds itself to the voters when it starts.";
    "controller.quorum.bootstrap.servers", List = "", Any, High, ReadOnly, Served,
        "Addresses, host:port, at which the controllers can be found.";
    "controller.quorum.election.backoff.max.ms", Int = "1000", AtLeast(0), High, ReadOnly, SizesOnly,
        "Longest wait, in milliseconds, before a voter starts another election.";
    "controller.quorum.election.timeout.ms", Int = "1000", AtLeast(0), High, ReadOnly, SizesOnly,
        "Milliseconds a voter waits for an election's outcome before it starts another.";
    "controller.quorum.fetch.max.bytes", Int = "1048576", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Most bytes of metadata records in one fetch.";
    "controller.quorum.fetch.snapshot.max.bytes", Int = "1048576", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Most bytes of a metadata snapshot in one fetch.";
    "controller.quorum.fetch.timeout.ms", Int = "2000", AtLeast(0), High, ReadOnly, SizesOnly,
        "Milliseconds without a successful fetch after which a metadata leader is given up.";
    "controller.quorum.request.timeout.ms", Int = "2000", AtLeast(0), Medium, ReadOnly, SizesOnly,
        "Milliseconds a request between controllers may take.";
    "controller.quorum.retry.backoff.ms", Int = "20", AtLeast(0), Low, ReadOnly, SizesOnly,
        "Milliseconds before a failed request between controllers is sent again.";
    "controller.quorum.voters", List = "", Any, High, ReadOnly, Served,
        "The controllers as id@host:port, separated by commas.";
    "controller.quota.window.num", Int = "11", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Samples kept to measure the rate of changes to the cluster.";
    "controller.quota.window.size.seconds", Int = "1", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Seconds covered by one sample of the rate of changes to the cluster.";
    "create.topic.policy.class.name", Class = null, Any, Low, ReadOnly, Refused,
        "Class that may refuse the creation of topics.";
    "delete.records.purgatory.purge.interval.requests", Int = "1", Any, Medium, ReadOnly, SizesOnly,
        "Parked record deletions after which Kafka sweeps finished ones; here nothing needs sweeping.";
    "fetch.purgatory.purge.interval.requests", Int = "1000", Any, Medium, ReadOnly, SizesOnly,
        "Parked fetches after which Kafka sweeps finished ones; here nothing needs sweeping.";
    "initial.broker.registration.timeout.ms", Int = "60000", Any, Medium, ReadOnly, SizesOnly,
        "Milliseconds a starting broker tries to register before it gives up.";
    "kafka.metrics.polling.interval.secs", Int = "10", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Seconds between two polls of the classes named in kafka.metrics.reporters.";
    "kafka.metrics.reporters", List = "", EachOrNone(&[]), Low, ReadOnly, SizesOnly,
        "Java classes that report Kafka's older metrics.";
    "leader.imbalance.check.interval.seconds", Long = "300", AtLeast(1), High, ReadOnly, SizesOnly,
        "Seconds between two checks whether preferred leaders lead.";
    "metadata.log.dir", Text = null, Any, High, ReadOnly, SizesOnly,
        "Directory of the metadata log; by default the first log directory.";
    "metadata.log.max.record.bytes.between.snapshots", Long = "20971520", AtLeast(1), High, ReadOnly, SizesOnly,
        "Bytes of metadata records after which a snapshot is written.";
    "metadata.log.max.snapshot.interval.ms", Long = "3600000", AtLeast(0), High, ReadOnly, SizesOnly,
        "Milliseconds after which a metadata snapshot is written if anything changed.";
    "metadata.log.segment.bytes", Int = "1073741824", AtLeast(8_388_608), High, ReadOnly, SizesOnly,
        "Segment size of Kafka's metadata log.";
    "metadata.log.segment.ms", Long = "604800000", Any, High, ReadOnly, SizesOnly,
        "Milliseconds after which Kafka's metadata log begins a new segment.";
    "metadata.max.idle.interval.ms", Int = "500", AtLeast(0), Low, ReadOnly, SizesOnly,
        "Milliseconds after which an idle controller appends a record that does nothing; 0 means never.";
    "metadata.max.retention.bytes", Long = "104857600", Any, High, ReadOnly, SizesOnly,
        "Bytes of metadata log and snapshots kept in all.";
    "metadata.max.retention.ms", Long = "604800000", Any, High, ReadOnly, SizesOnly,
        "Milliseconds a metadata segment or snapshot is kept.";
    "metric.reporters", List = "org.apache.kafka.common.metrics.JmxReporter", EachOrNone(&[]), Low, ClusterWide, SizesOnly,
        "Java classes that report metrics; here metrics are read over HTTP.";
    "metrics.num.samples", Int = "2", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Samples kept for a rate metric.";
    "metrics.recording.level", Text = "INFO", Any, Low, ReadOnly, SizesOnly,
        "Which metrics are recorded: INFO, DEBUG or TRACE.";
    "metrics.sample.window.ms", Long = "30000", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Milliseconds covered by one sample of a rate metric.";
    "node.id", Int = "1", AtLeast(0), High, ReadOnly, Served,
        "This node's number in the cluster.";
    "num.replica.fetchers", Int = "1", AtLeast(1), High, ClusterWide, SizesOnly,
        "Threads that fetch from one leader in Kafka; here each shard has its own links.";
    "process.roles", List = "broker,controller", Each(&["broker", "controller"]), High, ReadOnly, Served,
        "What this node does: broker, controller, or both.";
    "producer.purgatory.purge.interval.requests", Int = "1000", Any, Medium, ReadOnly, SizesOnly,
        "Parked produce requests after which Kafka sweeps finished ones; here nothing needs sweeping.";
    "quota.window.num", Int = "11", AtLeast(1), Low, ReadOnly, Served,
        "Samples kept to measure a rate.";
    "quota.window.size.seconds", Int = "1", AtLeast(1), Low, ReadOnly, Served,
        "Seconds covered by one sample of a rate.";
    "replica.fetch.backoff.ms", Int = "1000", AtLeast(0), Medium, ReadOnly, Served,
        "Milliseconds before a follower asks again after a failed fetch.";
    "replica.fetch.max.bytes", Int = "1048576", AtLeast(0), Medium, ReadOnly, Served,
        "Bytes a follower asks for per partition; the first batch is always answered whole.";
    "replica.fetch.min.bytes", Int = "1", Any, High, ReadOnly, Served,
        "Bytes a leader waits for before it answers a follower.";
    "replica.fetch.response.max.bytes", Int = "10485760", AtLeast(0), Medium, ReadOnly, Served,
        "Bytes a follower asks for in all; the first batch is always answered whole.";
    "replica.fetch.wait.max.ms", Int = "500", Any, High, ReadOnly, Served,
        "Milliseconds a leader may keep a follower's fetch waiting.";
    "replica.high.watermark.checkpoint.interval.ms", Long = "5000", Any, High, ReadOnly, Served,
        "Milliseconds between two writes of the high watermark checkpoint.";
    "replica.lag.time.max.ms", Long = "30000", Any, High, ReadOnly, Served,
        "Milliseconds a follower may trail its leader before it leaves the in-sync set.";
    "replica.selector.class", Text = null, Any, Medium, ReadOnly, SizesOnly,
        "Class that chooses the replica a consumer reads from.";
    "replica.socket.receive.buffer.bytes", Int = "65536", Any, High, ReadOnly, SizesOnly,
        "Receive buffer of the sockets followers fetch over.";
    "replica.socket.timeout.ms", Int = "30000", Any, High, ReadOnly, SizesOnly,
        "Milliseconds a follower's fetch may take.";
    "replication.quota.window.num", Int = "11", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Samples kept to measure the rate of throttled replication.";
    "replication.quota.window.size.seconds", Int = "1", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Seconds covered by one sample of the rate of throttled replication.";
    "telemetry.max.bytes", Int = "1048576", AtLeast(1), Low, ReadOnly, SizesOnly,
        "Largest push of client metrics accepted.";
};
