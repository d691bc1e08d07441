//! Ottla's own keys; keys that are only ever set on a running broker; and keys that Kafka 4.3.1 has no row for but files have.

use super::{Row, rows};
use crate::config::value::Allowed::{Any, AtLeast, Between, EachOrNone, OneOf};

pub(super) const ROWS: &[Row] = rows! { Ottla;
    "ottla.append.path", Text = "auto", OneOf(&["auto", "inline", "nowait", "ring"]), Medium, ReadOnly, Served,
        "How appended bytes reach the file: inline, RWF_NOWAIT with the ring behind it, or the ring; auto probes the filesystem.";
    "ottla.append.window.bytes", Int = "1048576", Between(4096, 67_108_864), Medium, ReadOnly, Served,
        "Most bytes of one partition gathered into one append.";
    "ottla.appends.in.flight.max", Int = "8", Between(1, 1024), Medium, ReadOnly, Served,
        "Appends of one partition that may be under way at one time.";
    "ottla.connection.in.flight.max", Int = "64", Between(1, 4096), Medium, ReadOnly, Served,
        "Requests of one connection that may be under way at one time; more wait in the client's socket.";
    "ottla.decompressed.bytes.max", Long = "1073741824", AtLeast(1_048_576), Medium, ReadOnly, Served,
        "Bytes one compressed batch may decompress to before it is refused; it is walked in a window, so this bounds time, not memory.";
    "ottla.disk.reserve.bytes", Long = "268435456", AtLeast(0), High, ReadOnly, Served,
        "Free bytes of a log directory below which its partitions refuse records, so that a full disk fails no write; 0 refuses none.";
    "ottla.frame.progress.timeout.ms", Int = "30000", AtLeast(100), Medium, ReadOnly, Served,
        "Milliseconds without a byte after which a half received request closes its connection.";
    "ottla.mailbox.slots", Int = "1024", Between(16, 1_048_576), Low, ReadOnly, Served,
        "Appends, and as many other messages, that may wait from one shard to another before the sender stops reading its connections.";
    "ottla.memory.receive.bytes", Long = "134217728", AtLeast(1_048_576), High, ReadOnly, Served,
        "Bytes of unfinished requests one shard holds; at the limit only the oldest of them is read on.";
    "ottla.metrics.lag.max", Int = "1000", Between(0, 1_000_000), Low, ReadOnly, Served,
        "Committed offsets of groups with metrics of their own; further ones are only counted.";
    "ottla.metrics.listener", Text = "", Any, Medium, ReadOnly, Served,
        "Address and port on which this broker shows its metrics to Prometheus by plain HTTP, at /metrics; empty shows them nowhere.";
    "ottla.metrics.topics.max", Int = "1000", Between(0, 1_000_000), Low, ReadOnly, Served,
        "Topics with metrics of their own; further ones are counted together, under an empty topic label.";
    "ottla.recovery.bytes.max", Long = "4294967296", AtLeast(1_048_576), Medium, ReadOnly, Served,
        "Unflushed bytes of a log directory that a restart after a crash may have to read again; a quarter of it is flushed behind the \
         writers, and the recovery points are written down.";
    "ottla.shard.listeners", List = "", EachOrNone(&[]), Medium, ReadOnly, Served,
        "Listeners of which each shard has a port of its own, as NAME:PORT with the first shard's port; each shard is then shown to the \
         clients of that listener as a broker of its own; empty shows the node alone.";
    "ottla.shards", Int = null, Between(1, 1024), High, ReadOnly, Served,
        "Shards, each with a thread and a core of its own; by default as many as there are usable cores.";
    "ottla.spin.us", Int = "0", Between(0, 10_000), Low, ReadOnly, Served,
        "Microseconds an idle shard polls before it sleeps.";
    "ottla.tcp.congestion.control", Text = "cubic", Any, Low, ReadOnly, Served,
        "TCP congestion control of accepted connections, where the kernel has it; empty leaves it to the system.";
    "ottla.validate.compressed", Boolean = "true", Any, Medium, ReadOnly, Served,
        "Whether the records inside a compressed batch are checked as Kafka checks them.";
};

pub(super) const DYNAMIC_ONLY: &[Row] = rows! { DynamicOnly;
    "follower.replication.throttled.rate", Long = "9223372036854775807", AtLeast(0), Medium, ClusterWide, SizesOnly,
        "Most bytes per second a follower fetches of throttled replicas.";
    "leader.replication.throttled.rate", Long = "9223372036854775807", AtLeast(0), Medium, ClusterWide, SizesOnly,
        "Most bytes per second a leader sends of throttled replicas.";
    "replica.alter.log.dirs.io.max.bytes.per.second", Long = "9223372036854775807", AtLeast(0), Medium, ClusterWide, SizesOnly,
        "Most bytes per second that replicas moving between log directories take.";
};

pub(super) const FOREIGN: &[Row] = rows! { Foreign;
    "allow.everyone.if.no.acl.found", Boolean = "false", Any, Medium, ReadOnly, SizesOnly,
        "What Kafka's authorizer answers where no rule matches.";
    "super.users", Text = "", Any, Medium, ReadOnly, SizesOnly,
        "Principals that Kafka's authorizer lets do everything.";
    "zookeeper.connect", Text = "", Any, High, ReadOnly, Served,
        "The ZooKeeper ensemble that holds the cluster's metadata, host:port,host:port/chroot; empty keeps them in the first log directory.";
    "zookeeper.connection.timeout.ms", Int = null, AtLeast(1), High, ReadOnly, Served,
        "Milliseconds a starting broker waits for a connection to ZooKeeper; by default zookeeper.session.timeout.ms.";
    "zookeeper.max.in.flight.requests", Int = "10", AtLeast(1), High, ReadOnly, Served,
        "Requests that ZooKeeper is asked to answer at a time.";
    "zookeeper.session.timeout.ms", Int = "18000", AtLeast(1), High, ReadOnly, Served,
        "Milliseconds of silence after which ZooKeeper takes this broker for gone, within the servers' own bounds.";
    "zookeeper.set.acl", Boolean = "false", Any, High, ReadOnly, Refused,
        "Whether nodes in ZooKeeper may be changed by this broker alone.";
    "zookeeper.ssl.client.enable", Boolean = "false", Any, Medium, ReadOnly, Refused,
        "Whether ZooKeeper is spoken to over TLS.";
};
