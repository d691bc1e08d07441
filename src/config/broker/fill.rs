//! From checked values to typed settings, and the rules that hold between keys.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::super::listeners::{self, Listeners};
use super::super::settings::{
    AppendPath, BrokerSettings, Cleaner, ConsumerGroups, GroupProtocols, Groups, InternalReplication, Metrics, Network, Node, Offsets,
    Replication, Shards, Storage, Topics,
};
use super::super::table;
use super::super::topic::{TopicSettings, default_value};
use super::super::value::{self, Value};
use super::super::values::Values;
use super::{Given, Refusal, decapitalized};
use crate::io::zookeeper;
use crate::types::{NodeId, SHARD_NODE_MAX};

/// Keys whose rows Kafka leaves without a range though a value below this makes no sense.
const FLOORS: [(&str, i64); 16] = [
    ("default.replication.factor", 1),
    ("group.initial.rebalance.delay.ms", 0),
    ("group.max.session.timeout.ms", 1),
    ("group.min.session.timeout.ms", 1),
    ("log.cleaner.dedupe.buffer.size", 1024 * 1024),
    ("log.flush.scheduler.interval.ms", 1),
    ("log.roll.jitter.ms", 0),
    ("log.roll.ms", 1),
    ("offset.metadata.max.bytes", 0),
    ("offsets.topic.compression.codec", 0),
    ("replica.fetch.min.bytes", 0),
    ("replica.fetch.wait.max.ms", 0),
    ("replica.high.watermark.checkpoint.interval.ms", 1),
    ("replica.lag.time.max.ms", 1),
    ("socket.receive.buffer.bytes", -1),
    ("socket.send.buffer.bytes", -1),
];

/// Pairs of keys of which the first may not be greater than the second.
const ORDERED: [(&str, &str); 8] = [
    ("group.consumer.min.heartbeat.interval.ms", "group.consumer.heartbeat.interval.ms"),
    ("group.consumer.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"),
    ("group.consumer.min.session.timeout.ms", "group.consumer.session.timeout.ms"),
    ("group.consumer.session.timeout.ms", "group.consumer.max.session.timeout.ms"),
    ("group.consumer.heartbeat.interval.ms", "group.consumer.session.timeout.ms"),
    ("group.min.session.timeout.ms", "group.max.session.timeout.ms"),
    ("replica.fetch.wait.max.ms", "replica.lag.time.max.ms"),
    ("log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
];

pub(super) fn check_across(given: &Given, values: &Values) -> Result<(), Refusal> {
    for (key, floor) in FLOORS {
        if values.get(key).is_some() && values.number(key) < floor {
            return Err(given.refuse(key, &format!("is not allowed: value must be at least {floor}")));
        }
    }
    for (low, high) in ORDERED {
        let (least, most) = (values.number(low), values.number(high));
        if least > most {
            // Speak of the one that was said.
            return Err(if values.is_set(low) {
                given.refuse(low, &format!("is greater than {high}={most}; lower it or raise {high}"))
            } else {
                given.refuse(high, &format!("is less than {low}={least}; raise it or lower {low}"))
            });
        }
    }
    for key in ["socket.receive.buffer.bytes", "socket.send.buffer.bytes"] {
        if values.number(key) == 0 {
            return Err(given.refuse(key, "is not allowed: set a size, or -1 for the system's own"));
        }
    }
    if values.number("offsets.topic.compression.codec") > 4 {
        return Err(given.refuse("offsets.topic.compression.codec", "is not allowed: value must be no more than 4"));
    }
    if values.number("default.replication.factor") > i64::from(i16::MAX) {
        return Err(given.refuse("default.replication.factor", &format!("is not allowed: value must be no more than {}", i16::MAX)));
    }
    if !values.list("group.coordinator.rebalance.protocols").unwrap_or_default().iter().any(|protocol| protocol == "classic") {
        return Err(given.refuse("group.coordinator.rebalance.protocols", "leaves out classic, which cannot be switched off; add it"));
    }
    if values.number("max.connections.per.ip") == 0 && values.text("max.connections.per.ip.overrides").is_none() {
        return Err(given.refuse("max.connections.per.ip", "lets nobody connect; set max.connections.per.ip.overrides with it"));
    }
    Ok(())
}

pub(super) fn fill(given: &Given, values: &Values, listeners: Listeners, shard_count: u16) -> Result<BrokerSettings, Refusal> {
    let topic_values = topic_values(given, values)?;
    let id = i32::try_from(values.number("node.id")).unwrap_or_else(|_| unreachable!("node.id is an int"));
    let metrics = metrics(given, values, &listeners)?;
    let shards = shards(given, values, shard_count, &listeners, &metrics)?;
    Ok(BrokerSettings {
        node: Node { id: NodeId(id), rack: values.text("broker.rack"), zookeeper: zookeeper(given, values)? },
        network: network(given, values, listeners)?,
        shards,
        metrics,
        storage: storage(given, values)?,
        topics: Topics {
            partitions: values.u32("num.partitions"),
            replication_factor: values.u16("default.replication.factor"),
            auto_create: values.boolean("auto.create.topics.enable"),
            delete_enabled: values.boolean("delete.topic.enable"),
            defaults: TopicSettings::from_values(&topic_values),
        },
        replication: replication(values),
        groups: groups(values),
        offsets: offsets(values),
        given: given.said.iter().map(|(key, said)| (key.clone(), said.text.clone())).collect(),
        topic_values,
    })
}

fn zookeeper(given: &Given, values: &Values) -> Result<Option<zookeeper::Settings>, Refusal> {
    const KEY: &str = "zookeeper.connect";
    let text = values.text(KEY).unwrap_or_default();
    if text.is_empty() {
        return Ok(None);
    }
    if values.is_set("process.roles") {
        return Err(given.refuse(KEY, "and process.roles name two homes of the metadata; remove process.roles to keep them in ZooKeeper"));
    }
    let address = zookeeper::Address::parse(&text).map_err(|why| given.refuse(KEY, &format!("is not allowed: {why}")))?;
    let millis = |key| Duration::from_millis(values.u32(key).into());
    let session_timeout = millis("zookeeper.session.timeout.ms");
    let connection_timeout =
        if values.is_set("zookeeper.connection.timeout.ms") { millis("zookeeper.connection.timeout.ms") } else { session_timeout };
    let in_flight_max = values.u32("zookeeper.max.in.flight.requests") as usize;
    Ok(Some(zookeeper::Settings { session_timeout, connection_timeout, in_flight_max, ..zookeeper::Settings::new(address) }))
}

/// What topics inherit: for each topic key its broker twin, in the topic key's unit and range.
fn topic_values(given: &Given, values: &Values) -> Result<BTreeMap<&'static str, Value>, Refusal> {
    let mut inherited = BTreeMap::new();
    for row in table::TOPIC {
        let value = match row.twin.and_then(table::broker) {
            None => default_value(row),
            Some(twin) => {
                let (key, value) = values.first_of(twin);
                match value {
                    // Kafka: any negative time is no limit, and none at all is refused, though a single topic may have it.
                    Some(Value::Long(ms)) if row.name == "retention.ms" && ms < 0 => Some(Value::Long(-1)),
                    Some(Value::Long(0)) if row.name == "retention.ms" => {
                        return Err(given.refuse(key, "is not allowed: value must be -1, for no limit, or at least 1"));
                    }
                    Some(value) => Some(
                        value::parse(row.name, row.kind, &row.allowed, &value.to_string())
                            .map_err(|error| given.refuse(key, &format!("is not allowed: {}", decapitalized(error.reason()))))?,
                    ),
                    None => default_value(row),
                }
            }
        };
        if let Some(value) = value {
            inherited.insert(row.name, value);
        }
    }
    Ok(inherited)
}

fn network(given: &Given, values: &Values, listeners: Listeners) -> Result<Network, Refusal> {
    let mut connections_per_ip_overrides = BTreeMap::new();
    let key = "max.connections.per.ip.overrides";
    for pair in values.text(key).unwrap_or_default().split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (host, count) = pair
            .rsplit_once(':')
            .and_then(|(host, count)| Some((host.trim(), count.trim().parse().ok()?)))
            .filter(|(host, _)| !host.is_empty())
            .ok_or_else(|| given.refuse(key, &format!("has '{pair}', which is not host:count")))?;
        connections_per_ip_overrides.insert(host.to_owned(), count);
    }
    Ok(Network {
        listeners,
        request_bytes_max: values.u32("socket.request.max.bytes"),
        idle_ms_max: u64::try_from(values.number("connections.max.idle.ms")).ok(),
        connections_max: values.u32("max.connections"),
        connections_per_ip_max: values.u32("max.connections.per.ip"),
        connections_per_ip_overrides,
        connection_creation_rate_max: values.u32("max.connection.creation.rate"),
        quota_windows: values.u32("quota.window.num"),
        quota_window_seconds: values.u32("quota.window.size.seconds"),
        connection_in_flight_max: values.u32("ottla.connection.in.flight.max"),
        tcp_congestion_control: values.text("ottla.tcp.congestion.control"),
        fetch_bytes_max: values.u32("fetch.max.bytes"),
        fetch_sessions_max: values.u32("max.incremental.fetch.session.cache.slots"),
        describe_partitions_max: values.u32("max.request.partition.size.limit"),
    })
}

fn shards(given: &Given, values: &Values, count: u16, listeners: &Listeners, metrics: &Metrics) -> Result<Shards, Refusal> {
    let key = "ottla.shard.listeners";
    let texts = values.list(key).unwrap_or_default();
    let metrics_port = metrics.listener.map(|address| address.port());
    let ports = listeners::shard_ports(listeners, &texts, count, metrics_port).map_err(|reason| given.refuse(key, &reason))?;
    if !texts.is_empty() && values.number("node.id") > i64::from(SHARD_NODE_MAX.get()) {
        return Err(given.refuse(key, &format!("needs a node.id of no more than {SHARD_NODE_MAX}, as shards' ids are made from it")));
    }
    Ok(Shards {
        count,
        mailbox_slots: values.u32("ottla.mailbox.slots"),
        receive_bytes_max: values.u64("ottla.memory.receive.bytes"),
        frame_progress_timeout_ms: values.u64("ottla.frame.progress.timeout.ms"),
        spin_us: values.u32("ottla.spin.us"),
        ports,
    })
}

fn metrics(given: &Given, values: &Values, listeners: &Listeners) -> Result<Metrics, Refusal> {
    let key = "ottla.metrics.listener";
    let listener = match values.text(key) {
        None => None,
        Some(text) => {
            let numeric = text.strip_prefix("localhost:").map_or_else(|| text.clone(), |port| format!("127.0.0.1:{port}"));
            let address: SocketAddr = numeric
                .parse()
                .map_err(|_| given.refuse(key, "is not ADDRESS:PORT; write 127.0.0.1:9404 for this machine or 0.0.0.0:9404 for all"))?;
            // Shards share their ports, so the system would let both listen and hand each the other's connections.
            if let Some(other) = listeners.open.iter().find(|other| other.port != 0 && other.port == address.port()) {
                return Err(given.refuse(key, &format!("has the port of listener {}; give it one of its own", other.name)));
            }
            Some(address)
        }
    };
    Ok(Metrics { listener, topics_max: values.u32("ottla.metrics.topics.max"), lag_max: values.u32("ottla.metrics.lag.max") })
}

/// Which log directories take no new partitions, by index; `*` stands for all.
fn cordoned(given: &Given, values: &Values, directories: &[String]) -> Result<BTreeSet<usize>, Refusal> {
    let key = "cordoned.log.dirs";
    let named = values.list(key).unwrap_or_default();
    if named.iter().any(|name| name == "*") {
        return if named.len() == 1 {
            Ok((0..directories.len()).collect())
        } else {
            Err(given.refuse(key, "has * beside others; * stands for all by itself"))
        };
    }
    let index = |name: &String| {
        let found = directories.iter().position(|directory| directory == name);
        found.ok_or_else(|| given.refuse(key, &format!("has {name}, which is not one of log.dirs")))
    };
    named.iter().map(index).collect()
}

fn storage(given: &Given, values: &Values) -> Result<Storage, Refusal> {
    let directories = values.list("log.dirs").or_else(|| values.list("log.dir")).unwrap_or_default();
    let io_rate = values.double("log.cleaner.io.max.bytes.per.second");
    Ok(Storage {
        cordoned: cordoned(given, values, &directories)?,
        directories: directories.into_iter().map(PathBuf::from).collect(),
        append_path: match values.text("ottla.append.path").as_deref() {
            Some("inline") => AppendPath::Inline,
            Some("nowait") => AppendPath::Nowait,
            Some("ring") => AppendPath::Ring,
            _ => AppendPath::Auto,
        },
        append_window_bytes: values.u32("ottla.append.window.bytes"),
        appends_in_flight_max: values.u32("ottla.appends.in.flight.max"),
        recovery_bytes_max: values.u64("ottla.recovery.bytes.max"),
        validate_compressed: values.boolean("ottla.validate.compressed"),
        disk_reserve_bytes: values.u64("ottla.disk.reserve.bytes"),
        decompressed_bytes_max: values.u64("ottla.decompressed.bytes.max"),
        initial_task_delay_ms: values.u64("log.initial.task.delay.ms"),
        retention_check_interval_ms: values.u64("log.retention.check.interval.ms"),
        recovery_point_checkpoint_interval_ms: values.u64("log.flush.offset.checkpoint.interval.ms"),
        log_start_checkpoint_interval_ms: values.u64("log.flush.start.offset.checkpoint.interval.ms"),
        high_watermark_checkpoint_interval_ms: values.u64("replica.high.watermark.checkpoint.interval.ms"),
        producer_expiration_ms: values.u64("producer.id.expiration.ms"),
        producer_expiration_check_interval_ms: values.u64("producer.id.expiration.check.interval.ms"),
        cleaner: Cleaner {
            enabled: values.boolean("log.cleaner.enable"),
            backoff_ms: values.u64("log.cleaner.backoff.ms"),
            key_bytes_max: values.u64("log.cleaner.dedupe.buffer.size"),
            key_load_factor: values.double("log.cleaner.io.buffer.load.factor"),
            threads: values.u32("log.cleaner.threads"),
            io_bytes_per_second_max: Some(io_rate).filter(|&rate| rate < f64::MAX),
        },
    })
}

fn replication(values: &Values) -> Replication {
    Replication {
        lag_ms_max: values.u64("replica.lag.time.max.ms"),
        fetch_bytes_max: values.u32("replica.fetch.max.bytes"),
        fetch_response_bytes_max: values.u32("replica.fetch.response.max.bytes"),
        fetch_bytes_min: values.u32("replica.fetch.min.bytes"),
        fetch_wait_ms_max: values.u32("replica.fetch.wait.max.ms"),
        fetch_backoff_ms: values.u32("replica.fetch.backoff.ms"),
    }
}

fn groups(values: &Values) -> Groups {
    let protocols = values.list("group.coordinator.rebalance.protocols").unwrap_or_default();
    let offers = |name: &str| protocols.iter().any(|protocol| protocol == name);
    Groups {
        protocols: GroupProtocols { consumer: offers("consumer"), share: offers("share"), streams: offers("streams") },
        initial_rebalance_delay_ms: values.u32("group.initial.rebalance.delay.ms"),
        session_timeout_ms_min: values.u32("group.min.session.timeout.ms"),
        session_timeout_ms_max: values.u32("group.max.session.timeout.ms"),
        members_max: values.u32("group.max.size"),
        consumer: ConsumerGroups {
            heartbeat_interval_ms: values.u32("group.consumer.heartbeat.interval.ms"),
            heartbeat_interval_ms_min: values.u32("group.consumer.min.heartbeat.interval.ms"),
            heartbeat_interval_ms_max: values.u32("group.consumer.max.heartbeat.interval.ms"),
            session_timeout_ms: values.u32("group.consumer.session.timeout.ms"),
            session_timeout_ms_min: values.u32("group.consumer.min.session.timeout.ms"),
            session_timeout_ms_max: values.u32("group.consumer.max.session.timeout.ms"),
            members_max: values.u32("group.consumer.max.size"),
        },
    }
}

fn offsets(values: &Values) -> Offsets {
    let key = "offsets.topic.replication.factor";
    let replicas = values.u16(key);
    Offsets {
        partitions: values.u32("offsets.topic.num.partitions"),
        replication: if values.is_set(key) { InternalReplication::Exactly(replicas) } else { InternalReplication::UpTo(replicas) },
        segment_bytes: values.u32("offsets.topic.segment.bytes"),
        compression_codec: u8::try_from(values.number("offsets.topic.compression.codec"))
            .unwrap_or_else(|_| unreachable!("the codec is 0 to 4")),
        metadata_bytes_max: values.u32("offset.metadata.max.bytes"),
        commit_timeout_ms: values.u32("offsets.commit.timeout.ms"),
        retention_ms: values.u64("offsets.retention.minutes") * 60_000,
        retention_check_interval_ms: values.u64("offsets.retention.check.interval.ms"),
    }
}
