//! The page is read back by a strict reader of its format, and must say what was counted.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use super::page::{Broker, Process, page};
use super::*;
use crate::types::{Monotonic, NodeId, Offset, PartitionIndex, ShardId, TopicId, TopicName};

fn broker() -> Broker {
    Broker {
        node: NodeId(7),
        cluster_id: "a \"quoted\" \\ name\nof two lines".to_owned(),
        version: "1.2.3",
        started_s: 1_700_000_000,
        process: Process { resident_bytes: Some(4096), cpu_ms: Some(1500) },
        mail_waiting: vec![3, 0],
        lags: super::Lags::default(),
        api_name: |key| if key == 0 { "Produce" } else { "Fetch" },
        error_name: |code| {
            if code == -1 {
                "UNKNOWN_SERVER_ERROR"
            } else if code == 6 {
                "NOT_LEADER_OR_FOLLOWER"
            } else {
                "OTHER"
            }
        },
    }
}

fn registry() -> Registry {
    Registry::new(Timing::On, 2)
}

fn shot(registry: &Registry, shard: u16) -> ShardSnapshot {
    registry.snapshot(ShardId(shard), Gauges::default(), WorldSnapshot::default())
}

fn at(nanos: u64) -> Monotonic {
    Monotonic::from_nanos(nanos)
}

type Labels = BTreeMap<String, String>;

/// Samples by name and labels, and families by name with their types.
#[derive(Default, Debug)]
struct Read {
    samples: BTreeMap<(String, Labels), f64>,
    families: BTreeMap<String, String>,
}

impl Read {
    #[track_caller]
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let labels: Labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        *self.samples.get(&(name.to_owned(), labels.clone())).unwrap_or_else(|| panic!("no sample {name} {labels:?}"))
    }

    fn has(&self, name: &str, labels: &[(&str, &str)]) -> bool {
        let labels: Labels = labels.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        self.samples.contains_key(&(name.to_owned(), labels))
    }
}

/// Reads a page, and fails on whatever the format does not allow.
fn read(text: &str) -> Read {
    let mut read = Read::default();
    let mut family = String::new();
    let mut helped = None;
    assert!(text.ends_with('\n'));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            helped = rest.split_once(' ').map(|(name, help)| (name.to_owned(), help.len()));
            continue;
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert_eq!(helped.as_ref().map(|(helped, _)| &helped[..]), Some(name), "help comes before the type");
            assert!(["counter", "gauge", "histogram"].contains(&kind), "{line}");
            assert!(read.families.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} twice");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
            family = name.to_owned();
            continue;
        }
        let (name, labels, value) = sample(line);
        let suffix = name.strip_prefix(&family[..]).unwrap_or_else(|| panic!("{line} in family {family}"));
        let allowed: &[&str] = if read.families[&family] == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
        assert!(allowed.contains(&suffix), "{line}");
        assert!(read.samples.insert((name, labels), value).is_none(), "twice: {line}");
    }
    check_histograms(&read);
    read
}

fn sample(line: &str) -> (String, Labels, f64) {
    let mut letters = line.char_indices().peekable();
    let mut labels = Labels::new();
    let end = letters.find(|(_, letter)| !letter.is_ascii_alphanumeric() && *letter != '_').expect("a value").0;
    let name = line[..end].to_owned();
    let mut rest = &line[end..];
    if let Some(inner) = rest.strip_prefix('{') {
        rest = inner;
        loop {
            let (label, after) = rest.split_once("=\"").expect("a label");
            let mut value = String::new();
            let mut letters = after.char_indices();
            let closing = loop {
                match letters.next().expect("a closing quote") {
                    (at, '"') => break at,
                    (_, '\\') => value.push(match letters.next().expect("an escape").1 {
                        'n' => '\n',
                        same @ ('\\' | '"') => same,
                        other => panic!("escape of {other:?}"),
                    }),
                    (_, letter) => value.push(letter),
                }
            };
            assert!(labels.insert(label.to_owned(), value).is_none(), "a label twice: {line}");
            rest = &after[closing + 1..];
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        rest = rest.strip_prefix('}').expect("a closing brace");
    }
    (name, labels, rest.strip_prefix(' ').expect("a blank").parse().expect("a number"))
}

/// Buckets grow with their bounds, up to the count.
fn check_histograms(read: &Read) {
    for (family, _) in read.families.iter().filter(|(_, kind)| *kind == "histogram") {
        let mut series: BTreeMap<Labels, Vec<(f64, f64)>> = BTreeMap::new();
        for ((name, labels), value) in &read.samples {
            if *name == format!("{family}_bucket") {
                let mut labels = labels.clone();
                let bound = labels.remove("le").expect("a bound").parse().expect("a number");
                series.entry(labels).or_default().push((bound, *value));
            }
        }
        for (labels, mut buckets) in series {
            buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{family} {labels:?} {buckets:?}");
            let (bound, all) = *buckets.last().unwrap();
            assert!(bound.is_infinite());
            assert_eq!(read.samples[&(format!("{family}_count"), labels.clone())], all);
            assert!(read.samples.contains_key(&(format!("{family}_sum"), labels)));
        }
    }
}

#[test]
fn an_idle_broker_shows_a_page_without_contradictions() {
    let read = read(&page(&broker(), &[shot(&registry(), 0), shot(&registry(), 1)]));
    assert!(read.families.len() > 30, "{} families", read.families.len());
    assert!(read.families.keys().all(|name| name.starts_with("ottla_")));
    assert_eq!(read.value("ottla_mailbox_depth", &[("shard", "0")]), 3.0);
    assert_eq!(read.value("ottla_process_cpu_seconds_total", &[]), 1.5);
    assert_eq!(read.value("ottla_broker_info", &[("cluster_id", "a \"quoted\" \\ name\nof two lines"), ("node_id", "7")]), 1.0);
    assert!(!read.has("ottla_requests_total", &[("api", "Produce")]));
    assert!(!read.has("ottla_topic_received_bytes_total", &[("topic", "")]));
}

#[test]
fn what_the_kernel_does_not_say_is_left_out() {
    let broker = Broker { process: Process::default(), ..broker() };
    let read = read(&page(&broker, &[shot(&registry(), 0)]));
    assert!(!read.families.keys().any(|name| name.starts_with("ottla_process")));
}

#[test]
fn requests_of_all_shards_are_added_up() {
    let shards = [registry(), registry()];
    let course = Course { arrived: at(0), begun: at(30_000), handed_on: at(80_000), ready: at(2_080_000), sent: at(2_081_000) };
    for registry in &shards {
        for _ in 0..3 {
            registry.requests.on_begun(0);
            registry.requests.on_sent(0, &course);
        }
        registry.requests.on_error(0, -1);
        registry.requests.on_error(1, 6);
        // Not an API, not an error: nothing to count, and nothing to break.
        registry.requests.on_begun(-1);
        registry.requests.on_begun(i16::MAX);
        registry.requests.on_error(0, i16::MIN);
        registry.requests.on_error(0, i16::MAX);
    }
    shards[1].requests.on_error(1, 3);
    let read = read(&page(&broker(), &[shot(&shards[0], 0), shot(&shards[1], 1)]));
    assert_eq!(read.value("ottla_requests_total", &[("api", "Produce")]), 6.0);
    assert_eq!(read.value("ottla_request_errors_total", &[("api", "Produce"), ("error", "UNKNOWN_SERVER_ERROR")]), 2.0);
    assert_eq!(read.value("ottla_request_errors_total", &[("api", "Fetch"), ("error", "NOT_LEADER_OR_FOLLOWER")]), 2.0);
    let whole = |suffix: &str| read.value(&format!("ottla_request_duration_seconds_{suffix}"), &[("api", "Produce")]);
    assert_eq!(whole("count"), 6.0);
    assert!((whole("sum") - 6.0 * 0.002_081).abs() < 1e-9);
    for (stage, sum) in [("queue", 30e-6), ("local", 50e-6), ("wait", 2e-3), ("send", 1e-6)] {
        let labels = [("api", "Produce"), ("stage", stage)];
        assert_eq!(read.value("ottla_request_stage_duration_seconds_count", &labels), 6.0);
        assert!((read.value("ottla_request_stage_duration_seconds_sum", &labels) - 6.0 * sum).abs() < 1e-9, "{stage}");
    }
    let wait = |bound| read.value("ottla_request_stage_duration_seconds_bucket", &[("api", "Produce"), ("stage", "wait"), ("le", bound)]);
    assert_eq!((wait("0.001"), wait("0.0025"), wait("+Inf")), (0.0, 6.0, 6.0));
}

#[test]
fn spans_fall_into_the_buckets_they_should() {
    let latency = Latency::default();
    assert_eq!(latency.snapshot().count(), 0);
    for (_, bound) in super::latency::BOUNDS {
        latency.record(Duration::from_nanos(bound));
    }
    latency.record(Duration::ZERO);
    latency.record(Duration::from_secs(3600));
    let snapshot = latency.snapshot();
    assert_eq!(snapshot.count(), super::latency::BOUNDS.len() as u64 + 2);
    assert_eq!(snapshot.counts[0], 2, "zero and the first bound");
    assert!(snapshot.counts[1..].iter().all(|count| *count == 1), "{:?}", snapshot.counts);
    let sum: u64 = super::latency::BOUNDS.iter().map(|(_, bound)| bound).sum();
    assert_eq!(snapshot.sum_ns, sum + 3_600_000_000_000);
    // Clearly above a bound is above it.
    let above = Latency::default();
    above.record(Duration::from_nanos(1_020_000));
    assert_eq!(above.snapshot().counts[5], 1);
    above.record(Duration::MAX);
    assert_eq!(above.snapshot().sum_ns, u64::MAX);
}

#[test]
fn labels_of_bounds_are_their_values() {
    for (label, bound) in super::latency::BOUNDS {
        assert_eq!((label.parse::<f64>().unwrap() * 1e9).round() as u64, bound);
    }
}

#[test]
fn topics_beyond_the_limit_are_counted_together() {
    let shards = [registry(), registry()];
    let id = |number: u128| TopicId::from_bits(number);
    let create = |number: u128, name: &str| shards.iter().for_each(|shard| shard.topics.on_created(id(number), &TopicName::new(name)));
    create(3, "first");
    create(2, "second");
    create(1, "third");
    shards[0].topics.traffic(id(3)).on_received(100, 5);
    shards[1].topics.traffic(id(3)).on_sent(40);
    shards[1].topics.traffic(id(2)).on_received(7, 1);
    shards[0].topics.traffic(id(1)).on_received(1000, 10);
    // A topic nobody has heard of goes to the rest as well.
    shards[0].topics.traffic(id(9)).on_sent(1);
    let show = || read(&page(&broker(), &[shot(&shards[0], 0), shot(&shards[1], 1)]));
    let bytes = |read: &Read, topic| read.value("ottla_topic_received_bytes_total", &[("topic", topic)]);
    let first = show();
    assert_eq!((bytes(&first, "first"), bytes(&first, "second"), bytes(&first, "")), (100.0, 7.0, 1000.0));
    assert!(!first.has("ottla_topic_received_bytes_total", &[("topic", "third")]));
    assert_eq!(first.value("ottla_topic_sent_bytes_total", &[("topic", "first")]), 40.0);
    assert_eq!(first.value("ottla_topic_received_records_total", &[("topic", "first")]), 5.0);
    assert_eq!(first.value("ottla_topic_received_batches_total", &[("topic", "")]), 1.0);
    assert_eq!(first.value("ottla_topics_unnamed", &[]), 1.0);
    // A named topic makes room, for topics yet to come; what was counted stays where it was.
    shards.iter().for_each(|shard| shard.topics.on_deleted(id(3)));
    create(4, "fourth");
    shards.iter().for_each(|shard| shard.topics.on_deleted(id(1)));
    shards.iter().for_each(|shard| shard.topics.on_deleted(id(77)));
    let second = show();
    assert!(!second.has("ottla_topic_received_bytes_total", &[("topic", "first")]));
    assert_eq!((bytes(&second, "fourth"), bytes(&second, "")), (0.0, 1000.0));
    assert_eq!(second.value("ottla_topics_unnamed", &[]), 0.0);
}

#[test]
fn partitions_offline_follow_their_replicas() {
    let registry = registry();
    let topic = TopicId::from_bits(1);
    registry.topics.on_created(topic, &TopicName::new("a"));
    let traffic: Rc<TopicTraffic> = registry.topics.traffic(topic);
    traffic.offline.raise();
    traffic.offline.raise();
    traffic.offline.lower();
    let read = read(&page(&broker(), &[shot(&registry, 0)]));
    assert_eq!(read.value("ottla_partitions_offline", &[("shard", "0")]), 1.0);
}

#[test]
fn connections_are_counted_by_reason() {
    let registry = registry();
    registry.connections.on_accepted();
    registry.connections.on_received(10);
    registry.connections.on_sent(20);
    registry.connections.on_rejected(Rejection::ConnectionsOfAddress);
    registry.connections.on_closed(Closure::BadFrame);
    let gauges = Gauges {
        connections: 1,
        receive_bytes: 5,
        receive_bytes_max: 9,
        fetches_parked: 2,
        fetch_sessions: 6,
        fetch_session_partitions: 70,
        fetch_sessions_evicted: 8,
        partitions: 3,
        image_version: 44,
        groups: super::GroupGauges { coordinators_serving: 2, stable: 1, members: 3, ..super::GroupGauges::default() },
    };
    let shot = registry.snapshot(ShardId(1), gauges, WorldSnapshot::default());
    let read = read(&page(&broker(), &[shot]));
    let shard = [("shard", "1")];
    for (name, value) in [
        ("ottla_connections", 1.0),
        ("ottla_connections_accepted_total", 1.0),
        ("ottla_received_bytes_total", 10.0),
        ("ottla_sent_bytes_total", 20.0),
        ("ottla_receive_memory_bytes", 5.0),
        ("ottla_receive_memory_limit_bytes", 9.0),
        ("ottla_fetches_parked", 2.0),
        ("ottla_fetch_sessions", 6.0),
        ("ottla_fetch_session_partitions", 70.0),
        ("ottla_fetch_session_evictions_total", 8.0),
        ("ottla_partitions", 3.0),
        ("ottla_metadata_image_version", 44.0),
    ] {
        assert_eq!(read.value(name, &shard), value, "{name}");
    }
    assert_eq!(read.value("ottla_coordinators", &[("phase", "serving")]), 2.0);
    assert_eq!(read.value("ottla_groups", &[("state", "stable")]), 1.0);
    assert_eq!(read.value("ottla_group_members", &[]), 3.0);
    assert_eq!(read.value("ottla_connections_rejected_total", &[("limit", "connections_of_address")]), 1.0);
    assert_eq!(read.value("ottla_connections_closed_total", &[("reason", "bad_frame")]), 1.0);
    assert_eq!(read.value("ottla_connections_closed_total", &[("reason", "peer")]), 0.0);
}

#[test]
fn groups_tell_their_rebalances_and_how_far_they_are_behind() {
    let registry = registry();
    registry.groups.commits.add(3);
    registry.groups.on_rebalances(2, &[Duration::from_millis(40)]);
    let committed = |partition, offset| super::Committed {
        group: "g \"1\"".to_owned(),
        topic: TopicName::new("t"),
        partition: PartitionIndex(partition),
        offset: Offset(offset),
    };
    let known = vec![(committed(0, 7), Some(Offset(10))), (committed(1, 9), Some(Offset(8))), (committed(2, 4), None)];
    let broker = Broker { lags: super::Lags { known, unnamed: 5 }, ..broker() };
    let read = read(&page(&broker, &[shot(&registry, 0)]));
    let of = |partition| [("group", "g \"1\""), ("partition", partition), ("topic", "t")];
    assert_eq!(read.value("ottla_group_lag", &of("0")), 3.0);
    assert_eq!(read.value("ottla_group_lag", &of("1")), 0.0, "a commit may be ahead of what it is held against");
    assert_eq!(read.value("ottla_group_committed_offset", &of("2")), 4.0, "of a partition that is gone");
    assert_eq!(read.value("ottla_group_offsets_unnamed", &[]), 5.0);
    assert_eq!(read.value("ottla_group_rebalances_total", &[]), 2.0);
    assert_eq!(read.value("ottla_group_offset_commits_total", &[]), 3.0);
}

#[test]
fn a_world_tells_its_work() {
    let world = WorldInstruments::new(Timing::On);
    world.on_operation(Operation::AppendRing, 4096, Duration::from_micros(70));
    world.on_submitted(Submission::Write);
    world.on_file_sent(Source::Disk, 100);
    world.on_file_sent(Source::PageCache, 900);
    world.on_poll(at(1_000), at(1_500));
    world.on_poll(at(2_000_000), at(22_000_000));
    world.on_busy(Duration::from_millis(21));
    let snapshot = world.snapshot(at(23_000_000), Duration::from_millis(25));
    let read = read(&page(&broker(), &[registry().snapshot(ShardId(0), Gauges::default(), snapshot)]));
    let append = [("operation", "append"), ("path", "ring")];
    assert_eq!(read.value("ottla_file_operation_duration_seconds_count", &append), 1.0);
    assert_eq!(read.value("ottla_file_operation_bytes_total", &append), 4096.0);
    assert_eq!(read.value("ottla_io_uring_file_submissions_total", &[("operation", "write"), ("shard", "0")]), 1.0);
    assert_eq!(read.value("ottla_file_sent_bytes_total", &[("source", "disk")]), 100.0);
    assert_eq!(read.value("ottla_file_sent_bytes_total", &[("source", "page_cache")]), 900.0);
    let shard = [("shard", "0")];
    assert_eq!(read.value("ottla_shard_busy_seconds_total", &shard), 0.021);
    assert_eq!(read.value("ottla_shard_cpu_seconds_total", &shard), 0.025);
    assert_eq!(read.value("ottla_shard_polls_total", &shard), 2.0);
    assert_eq!(read.value("ottla_shard_longest_stall_seconds", &shard), 0.02);
    assert_eq!(read.value("ottla_shard_stalls_total", &shard), 1.0);
}

#[test]
fn a_peak_is_kept_for_a_minute_and_forgotten_after_two() {
    let peak = Peak::default();
    let second = |number: u64| at(number * 1_000_000_000);
    let span = Duration::from_millis;
    peak.observe(second(1), span(5));
    peak.observe(second(2), span(3));
    assert_eq!(peak.get(second(3)), span(5));
    assert_eq!(peak.get(second(62)), span(5), "reading it again changes nothing");
    peak.observe(second(63), span(1));
    assert_eq!(peak.get(second(64)), span(5), "of the minute before");
    assert_eq!(peak.get(second(125)), span(1));
    assert_eq!(peak.get(second(1000)), Duration::ZERO);
}

#[test]
fn labels_are_all_different() {
    let operations: BTreeSet<_> = Operation::ALL.iter().map(|operation| operation.labels()).collect();
    assert_eq!(operations.len(), Operation::ALL.len());
    let closures: BTreeSet<_> = Closure::ALL.iter().map(|closure| closure.label()).collect();
    assert_eq!(closures.len(), Closure::ALL.len());
    // Places in the arrays are the enums' own numbers.
    assert!(Operation::ALL.iter().enumerate().all(|(place, operation)| *operation as usize == place));
    assert!(Closure::ALL.iter().enumerate().all(|(place, closure)| *closure as usize == place));
    assert!(Submission::ALL.iter().enumerate().all(|(place, submission)| *submission as usize == place));
    assert!(Source::ALL.iter().enumerate().all(|(place, source)| *source as usize == place));
    assert!(Rejection::ALL.iter().enumerate().all(|(place, rejection)| *rejection as usize == place));
}
