//! The page: which families there are, what they say, and how the shards' numbers are put together.
//!
//! Called by `server`, off the shards: a page with many topics takes milliseconds. What belongs to a shard (its time, its mailbox, its
//! memory) is shown by shard; requests, topics and file operations are added up over the shards.
//!
//! Names follow Prometheus' conventions: the prefix `ottla_`, base units (seconds, bytes) as the last part, `_total` for what only grows.

use std::collections::BTreeMap;

use super::groups::{self, Lags};
use super::latency::LatencySnapshot;
use super::registry::{Closure, Rejection, ShardSnapshot};
use super::requests::{ApiSnapshot, Stage};
use super::text::{Kind, Label, Seconds, Text};
use super::topics::TrafficCounts;
use super::world::{Operation, Source, Submission};
use crate::types::{NodeId, TopicId, TopicName};

pub use super::text::CONTENT_TYPE;

/// What the page says of the broker as a whole.
#[derive(Clone, Debug)]
pub struct Broker {
    pub node: NodeId,
    pub cluster_id: String,
    pub version: &'static str,
    /// When it became ready, in seconds since 1970.
    pub started_s: u64,
    pub process: Process,
    /// Messages waiting for each shard.
    pub mail_waiting: Vec<u64>,
    pub lags: Lags,
    /// Kafka's names of APIs and error codes.
    pub api_name: fn(i16) -> &'static str,
    pub error_name: fn(i16) -> &'static str,
}

/// What the kernel says of the process, where it says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    pub resident_bytes: Option<u64>,
    pub cpu_ms: Option<u64>,
}

/// The whole page.
pub fn page(broker: &Broker, shards: &[ShardSnapshot]) -> String {
    let mut text = Text::default();
    put_broker(&mut text, broker);
    put_requests(&mut text, broker, shards);
    put_topics(&mut text, shards);
    put_groups(&mut text, broker, shards);
    put_connections(&mut text, shards);
    put_shards(&mut text, broker, shards);
    put_files(&mut text, shards);
    put_compaction(&mut text, shards);
    text.finish()
}

fn put_broker(text: &mut Text, broker: &Broker) {
    text.family("ottla_build_info", Kind::Gauge, "Always 1; the label says which version runs.");
    text.sample(&[("version", broker.version)], 1);
    text.family("ottla_broker_info", Kind::Gauge, "Always 1; the labels say which broker of which cluster this is.");
    text.sample(&[("cluster_id", &broker.cluster_id), ("node_id", &broker.node.to_string())], 1);
    text.family("ottla_start_time_seconds", Kind::Gauge, "When the broker became ready, in seconds since 1970.");
    text.sample(&[], broker.started_s);
    if let Some(bytes) = broker.process.resident_bytes {
        text.family("ottla_process_resident_memory_bytes", Kind::Gauge, "Memory of the process, the page cache not included.");
        text.sample(&[], bytes);
    }
    if let Some(ms) = broker.process.cpu_ms {
        text.family("ottla_process_cpu_seconds_total", Kind::Counter, "Processor time of all threads, in the kernel and outside.");
        text.sample(&[], Seconds(ms.saturating_mul(1_000_000)));
    }
}

fn put_requests(text: &mut Text, broker: &Broker, shards: &[ShardSnapshot]) {
    let mut apis: BTreeMap<i16, ApiSnapshot> = BTreeMap::new();
    for api in shards.iter().flat_map(|shard| &shard.requests) {
        apis.entry(api.key).and_modify(|sum| sum.merge(api)).or_insert_with(|| api.clone());
    }
    let name = |key: i16| (broker.api_name)(key);
    text.family("ottla_requests_total", Kind::Counter, "Requests begun.");
    for api in apis.values() {
        text.sample(&[("api", name(api.key))], api.begun);
    }
    let help = "From a request's last byte in to its answer's last byte out.";
    text.family("ottla_request_duration_seconds", Kind::Histogram, help);
    for api in apis.values() {
        text.histogram(&[("api", name(api.key))], &api.whole);
    }
    let help = "Time of requests by stage: queue (behind earlier requests of the connection), local (work on it), wait (for the append and \
                its acknowledgements, or for data to come), send (until the socket has taken the answer).";
    text.family("ottla_request_stage_duration_seconds", Kind::Histogram, help);
    for api in apis.values() {
        for (stage, latency) in Stage::ALL.into_iter().zip(&api.stages) {
            text.histogram(&[("api", name(api.key)), ("stage", stage.label())], latency);
        }
    }
    text.family("ottla_request_errors_total", Kind::Counter, "Error codes answered; an answer may carry one for each of its partitions.");
    for api in apis.values() {
        for &(code, count) in &api.errors {
            text.sample(&[("api", name(api.key)), ("error", (broker.error_name)(code))], count);
        }
    }
}

fn put_topics(text: &mut Text, shards: &[ShardSnapshot]) {
    let mut topics: BTreeMap<TopicId, (&TopicName, TrafficCounts)> = BTreeMap::new();
    let (mut rest, mut unnamed) = (TrafficCounts::default(), 0);
    for shard in shards {
        for (id, name, counts) in &shard.topics.named {
            topics.entry(*id).or_insert((name, TrafficCounts::default())).1.merge(counts);
        }
        rest.merge(&shard.topics.rest);
        unnamed = unnamed.max(shard.topics.unnamed);
    }
    let mut rows: Vec<(&str, TrafficCounts)> = topics.values().map(|(name, counts)| (name.as_str(), *counts)).collect();
    rows.sort_by_key(|(name, _)| *name);
    // A topic deleted and created anew between two shards' answers has two ids for a moment, and one series.
    rows.dedup_by(|later, earlier| {
        let same = later.0 == earlier.0;
        if same {
            earlier.1.merge(&later.1);
        }
        same
    });
    if unnamed > 0 || rest != TrafficCounts::default() {
        rows.push(("", rest));
    }
    type Pick = fn(&TrafficCounts) -> u64;
    let families: [(&'static str, &str, Pick); 4] = [
        ("ottla_topic_received_bytes_total", "Bytes of batches appended by producers.", |counts| counts.received_bytes),
        ("ottla_topic_received_batches_total", "Batches appended by producers.", |counts| counts.received_batches),
        ("ottla_topic_received_records_total", "Records appended by producers.", |counts| counts.received_records),
        ("ottla_topic_sent_bytes_total", "Bytes of batches put into answers to fetches.", |counts| counts.sent_bytes),
    ];
    for (family, help, pick) in families {
        text.family(family, Kind::Counter, help);
        for (name, counts) in &rows {
            text.sample(&[("topic", name)], pick(counts));
        }
    }
    let help = "Topics beyond ottla.metrics.topics.max, counted together under an empty topic label.";
    text.family("ottla_topics_unnamed", Kind::Gauge, help);
    text.sample(&[], unnamed);
}

fn put_groups(text: &mut Text, broker: &Broker, shards: &[ShardSnapshot]) {
    let counts: Vec<_> = shards.iter().map(|shard| &shard.coordination).collect();
    groups::put(text, shards.iter().map(|shard| shard.gauges.groups), &counts, &broker.lags);
}

fn put_connections(text: &mut Text, shards: &[ShardSnapshot]) {
    by_shard(text, shards, "ottla_connections", Kind::Gauge, "Connections of clients open.", |shard| shard.gauges.connections);
    by_shard(text, shards, "ottla_connections_accepted_total", Kind::Counter, "Connections of clients accepted.", |shard| shard.accepted);
    text.family(
        "ottla_connections_rejected_total",
        Kind::Counter,
        "Connections that met a limit: those of an address are closed at once, those of the broker wait.",
    );
    for why in Rejection::ALL {
        text.sample(&[("limit", why.label())], shards.iter().map(|shard| shard.rejected[why as usize]).sum::<u64>());
    }
    text.family("ottla_connections_closed_total", Kind::Counter, "Connections of clients ended, by reason.");
    for why in Closure::ALL {
        text.sample(&[("reason", why.label())], shards.iter().map(|shard| shard.closed[why as usize]).sum::<u64>());
    }
    let help = "Bytes of requests received from clients.";
    by_shard(text, shards, "ottla_received_bytes_total", Kind::Counter, help, |shard| shard.received_bytes);
    let help = "Bytes of answers sent to clients.";
    by_shard(text, shards, "ottla_sent_bytes_total", Kind::Counter, help, |shard| shard.sent_bytes);
    let help = "Memory held by requests that are unfinished or unanswered.";
    by_shard(text, shards, "ottla_receive_memory_bytes", Kind::Gauge, help, |shard| shard.gauges.receive_bytes);
    let help = "What ottla_receive_memory_bytes may be: ottla.memory.receive.bytes.";
    by_shard(text, shards, "ottla_receive_memory_limit_bytes", Kind::Gauge, help, |shard| shard.gauges.receive_bytes_max);
    let help = "Fetches that wait, or may, for data to come.";
    by_shard(text, shards, "ottla_fetches_parked", Kind::Gauge, help, |shard| shard.gauges.fetches_parked);
    let help = "Incremental fetch sessions kept.";
    by_shard(text, shards, "ottla_fetch_sessions", Kind::Gauge, help, |shard| shard.gauges.fetch_sessions);
    let help = "Partitions that the incremental fetch sessions read.";
    by_shard(text, shards, "ottla_fetch_session_partitions", Kind::Gauge, help, |shard| shard.gauges.fetch_session_partitions);
    let help = "Incremental fetch sessions that gave way to others for want of slots.";
    by_shard(text, shards, "ottla_fetch_session_evictions_total", Kind::Counter, help, |shard| shard.gauges.fetch_sessions_evicted);
}

fn put_shards(text: &mut Text, broker: &Broker, shards: &[ShardSnapshot]) {
    by_shard(text, shards, "ottla_partitions", Kind::Gauge, "Partitions open.", |shard| shard.gauges.partitions);
    let help = "Partitions whose log failed since the start: they refuse everything.";
    by_shard(text, shards, "ottla_partitions_offline", Kind::Gauge, help, |shard| shard.topics.partitions_offline);
    text.family("ottla_metadata_image_version", Kind::Gauge, "Offset in the metadata log up to which the shard has applied it.");
    for shard in shards {
        text.sample(&[("shard", &shard.shard.to_string())], shard.gauges.image_version);
    }
    text.family("ottla_mailbox_depth", Kind::Gauge, "Messages that wait for the shard.");
    for shard in shards {
        let waiting = broker.mail_waiting.get(usize::from(shard.shard.get())).copied().unwrap_or(0);
        text.sample(&[("shard", &shard.shard.to_string())], waiting);
    }
    let help = "Messages of other shards handled.";
    by_shard(text, shards, "ottla_mailbox_messages_total", Kind::Counter, help, |shard| shard.mail_received);
    let help = "Requests to another shard that waited because ottla.mailbox.slots were taken.";
    by_shard(text, shards, "ottla_mailbox_held_back_total", Kind::Counter, help, |shard| shard.mail_held_back);
    let help = "Time the shard ran tasks; its rate is the shard's utilisation.";
    by_shard(text, shards, "ottla_shard_busy_seconds_total", Kind::Counter, help, |shard| Seconds(shard.world.busy_ns));
    let help = "Processor time of the shard's thread, polling and the kernel's part of it included.";
    by_shard(text, shards, "ottla_shard_cpu_seconds_total", Kind::Counter, help, |shard| Seconds(shard.world.cpu_ns));
    by_shard(text, shards, "ottla_shard_polls_total", Kind::Counter, "Times a task was given the shard.", |shard| shard.world.polls);
    let help = "Longest time a task kept the shard, in the last minute or two.";
    by_shard(text, shards, "ottla_shard_longest_stall_seconds", Kind::Gauge, help, |shard| Seconds(shard.world.longest_poll_ns));
    let help = "Times a task kept the shard for 10 milliseconds or more.";
    by_shard(text, shards, "ottla_shard_stalls_total", Kind::Counter, help, |shard| shard.world.stalls);
}

fn put_files(text: &mut Text, shards: &[ShardSnapshot]) {
    let help = "Time of file operations, by the way they took: inline and nowait (system calls of the shard), cached (found in the page \
                cache), ring (io_uring), thread (a thread for what may block).";
    text.family("ottla_file_operation_duration_seconds", Kind::Histogram, help);
    for operation in Operation::ALL {
        let mut sum = LatencySnapshot::default();
        for shard in shards {
            sum.merge(&shard.world.operations[operation as usize]);
        }
        text.histogram(&labels_of(operation), &sum);
    }
    text.family("ottla_file_operation_bytes_total", Kind::Counter, "Bytes of file operations.");
    for operation in Operation::ALL {
        let sum: u64 = shards.iter().map(|shard| shard.world.operation_bytes[operation as usize]).sum();
        text.sample(&labels_of(operation), sum);
    }
    text.family("ottla_io_uring_file_submissions_total", Kind::Counter, "File operations handed to io_uring.");
    for shard in shards {
        for submission in Submission::ALL {
            let labels = [("operation", submission.label()), ("shard", &*shard.shard.to_string())];
            text.sample(&labels, shard.world.submissions[submission as usize]);
        }
    }
    let help = "Bytes of files sent to clients, by where they were found: page_cache, where what was read ahead counts too, or disk, which was waited for.";
    text.family("ottla_file_sent_bytes_total", Kind::Counter, help);
    for source in Source::ALL {
        let sum: u64 = shards.iter().map(|shard| shard.world.file_bytes_sent[source as usize]).sum();
        text.sample(&[("source", source.label())], sum);
    }
}

fn put_compaction(text: &mut Text, shards: &[ShardSnapshot]) {
    let help = "Passes of compaction over a log that came to their end.";
    by_shard(text, shards, "ottla_compaction_passes_total", Kind::Counter, help, |shard| shard.compaction_passes);
    let help = "Passes of compaction that were cut short: the log was closed, deleted, cut or unsound, or the disk is full.";
    by_shard(text, shards, "ottla_compaction_broken_off_total", Kind::Counter, help, |shard| shard.compaction_broken_off);
    let help = "Bytes that compaction read.";
    by_shard(text, shards, "ottla_compaction_read_bytes_total", Kind::Counter, help, |shard| shard.compaction_read_bytes);
    let help = "Bytes that compaction wrote.";
    by_shard(text, shards, "ottla_compaction_written_bytes_total", Kind::Counter, help, |shard| shard.compaction_written_bytes);
    let help = "Records that compaction dropped.";
    by_shard(text, shards, "ottla_compaction_dropped_records_total", Kind::Counter, help, |shard| shard.compaction_dropped_records);
    let help = "Largest dirty share of a compacted log, of what may be compacted of it; looked for every log.cleaner.backoff.ms.";
    by_shard(text, shards, "ottla_compaction_dirty_ratio_max", Kind::Gauge, help, |shard| shard.gauges.dirty_ratio_max_ppm as f64 / 1e6);
    let help = "Partitions left as they are because compacting them failed; the log says why.";
    by_shard(text, shards, "ottla_compaction_uncleanable_partitions", Kind::Gauge, help, |shard| shard.gauges.uncleanable);
}

fn labels_of(operation: Operation) -> [Label<'static>; 2] {
    let (what, way) = operation.labels();
    [("operation", what), ("path", way)]
}

/// A family with one sample for each shard.
fn by_shard<V: std::fmt::Display>(
    text: &mut Text,
    shards: &[ShardSnapshot],
    name: &'static str,
    kind: Kind,
    help: &str,
    pick: impl Fn(&ShardSnapshot) -> V,
) {
    text.family(name, kind, help);
    for shard in shards {
        text.sample(&[("shard", &shard.shard.to_string())], pick(shard));
    }
}
