//! The questions asked of a broker: one table, in the order they are asked.

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    Throughput,
    CpuPerGb,
    RequestRate,
    RecordRate,
    CpuPerRequest,
    P50,
    P99,
    P999,
    Seconds,
    Resident,
    IdleCpu,
    ShareOfFew,
    PerIdlePartition,
    P99TimesAlone,
    Messages,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Better {
    Higher,
    Lower,
}

impl Metric {
    /// What it is, in the words of the table.
    pub const fn label(self) -> &'static str {
        match self {
            Metric::Throughput => "GB/s",
            Metric::CpuPerGb => "broker cpu-s/GB",
            Metric::RequestRate => "requests/s",
            Metric::RecordRate => "records/s",
            Metric::CpuPerRequest => "broker cpu us/request",
            Metric::P50 => "p50 us",
            Metric::P99 => "p99 us",
            Metric::P999 => "p99.9 us",
            Metric::Seconds => "seconds",
            Metric::Resident => "resident MiB",
            Metric::IdleCpu => "idle cpu ms/s",
            Metric::ShareOfFew => "GB/s, of those with the few alone",
            Metric::PerIdlePartition => "resident KiB per idle partition",
            Metric::P99TimesAlone => "p99, times that without the reader",
            Metric::Messages => "messages between shards per request",
        }
    }

    /// Grows with the length of a run where a schedule is not kept.
    pub const fn is_latency(self) -> bool {
        matches!(self, Metric::P50 | Metric::P99 | Metric::P999 | Metric::P99TimesAlone)
    }

    pub const fn better(self) -> Better {
        match self {
            Metric::Throughput | Metric::RequestRate | Metric::RecordRate | Metric::ShareOfFew => Better::Higher,
            _ => Better::Lower,
        }
    }
}

pub type Floors = &'static [(Metric, &'static str)];

pub struct Workload {
    pub name: &'static str,
    pub sentence: &'static str,
    pub kind: Kind,
    pub metrics: &'static [Metric],
    /// The floor each metric is held against: what the machine does when only the bare work is done.
    pub floors: Floors,
    pub choice: Choice,
    pub contest: Contest,
    /// Fewer pairs where one run takes minutes.
    pub pairs_max: usize,
}

/// When a workload is run without being named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// Always, also with `--quick`.
    Quick,
    Full,
    OnlyByName,
}

/// Who is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contest {
    /// The brokers that the session was asked for.
    Brokers,
    /// Ottla with a port for each of two shards, and without.
    Listeners,
}

pub enum Kind {
    Load(Load),
    /// A topic of very many partitions, of which a few are written; held against a topic of those few, before there were so many.
    Crowd {
        few: u32,
        load: Load,
    },
    /// From the start of the process to its first answer, on an empty directory; then left alone.
    StartUp,
    /// Killed with so many partitions full of unflushed log, and started again.
    Restart {
        partitions: u32,
    },
    /// Kafka's own producer tool instead of the generator.
    PerfTest {
        partitions: u32,
    },
}

/// One command of the load generator, its words as on a command line. Those in braces are amounts, see [`super::amounts`].
#[derive(Clone, Copy)]
pub struct Load {
    pub partitions: u32,
    pub configs: &'static [&'static str],
    pub life: Life,
    /// Fills the topic beforehand.
    pub fill: &'static str,
    pub cache: Cache,
    pub command: &'static str,
    /// The same without what disturbs it, run before: its p99 is what the command's is held against. Empty where there is nothing such.
    pub alone: &'static str,
}

/// How long a topic lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Life {
    /// Made before the run and deleted after it.
    Run,
    /// Made once for each broker, deleted after the workload.
    Workload,
}

/// Where the log lies when the measured load begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cache {
    Resident,
    /// Written back and dropped from the page cache.
    Evicted,
}

const THROUGHPUT: &[Metric] = &[Metric::CpuPerGb, Metric::Throughput];
const BROKERS: Contest = Contest::Brokers;
const LATENCY: &[Metric] = &[Metric::P50, Metric::P99, Metric::P999];
const SYNCED: &[Metric] = &[Metric::Throughput, Metric::RequestRate, Metric::P50, Metric::P99, Metric::CpuPerRequest];
const APPEND: Floors = &[(Metric::CpuPerGb, "append-64k"), (Metric::Throughput, "append-64k")];
const APPEND_SMALL: Floors = &[(Metric::CpuPerGb, "append-16k"), (Metric::Throughput, "append-16k")];
const SEND: Floors = &[(Metric::CpuPerGb, "sendfile"), (Metric::Throughput, "sendfile")];
const ECHO_1000: Floors = &tails("tcp-echo-1000");
const ECHO_5000: Floors = &tails("tcp-echo-5000");
const ECHO_10000: Floors = &tails("tcp-echo-10000");
const ECHO_20000: Floors = &tails("tcp-echo-20000");
const SYNCED_64K: Floors = &[
    (Metric::Throughput, "journal-64k-16"),
    (Metric::RequestRate, "journal-64k-16"),
    (Metric::P50, "journal-64k-16"),
    (Metric::P99, "journal-64k-16"),
];
/// Old segments go, so that a minute at full rate does not fill the disk.
const BOUNDED: &[&str] = &["retention.bytes=134217728", "segment.bytes=67108864"];

const fn load(partitions: u32, command: &'static str) -> Load {
    Load { partitions, configs: &[], life: Life::Run, fill: "", cache: Cache::Resident, command, alone: "" }
}

const fn throughput(name: &'static str, sentence: &'static str, choice: Choice, load: Load) -> Workload {
    Workload {
        name,
        sentence,
        kind: Kind::Load(load),
        metrics: THROUGHPUT,
        floors: APPEND,
        choice,
        contest: BROKERS,
        pairs_max: usize::MAX,
    }
}

const fn tails(floor: &'static str) -> [(Metric, &'static str); 3] {
    [(Metric::P50, floor), (Metric::P99, floor), (Metric::P999, floor)]
}

const fn latency(name: &'static str, sentence: &'static str, choice: Choice, floors: Floors, load: Load) -> Workload {
    Workload { name, sentence, kind: Kind::Load(load), metrics: LATENCY, floors, choice, contest: BROKERS, pairs_max: usize::MAX }
}

const fn reading(name: &'static str, sentence: &'static str, choice: Choice, command: &'static str) -> Workload {
    let load = Load { life: Life::Workload, fill: FILL, ..load(1, command) };
    Workload { name, sentence, kind: Kind::Load(load), metrics: THROUGHPUT, floors: SEND, choice, contest: BROKERS, pairs_max: usize::MAX }
}

const PRODUCE_1K: &str = "produce --record-bytes 1024 --batch-bytes 65536 --bytes {volume} --seconds {seconds}";
const PRODUCE_100B: &str = "produce --record-bytes 100 --batch-bytes 65536 --bytes {volume} --seconds {seconds}";
const FILL: &str = "produce --record-bytes 1024 --batch-bytes 65536 --bytes {resident}";

pub const TABLE: &[Workload] = &[
    throughput("produce-1k-1p", "1 KiB records in 64 KiB batches to one partition", Choice::Quick, load(1, PRODUCE_1K)),
    throughput("produce-1k-16p", "1 KiB records in 64 KiB batches to 16 partitions", Choice::Quick, load(16, PRODUCE_1K)),
    throughput("produce-1k-1000p", "1 KiB records in 64 KiB batches to 1,000 partitions", Choice::Full, load(1000, PRODUCE_1K)),
    throughput("produce-100b-1p", "100-byte records in 64 KiB batches to one partition", Choice::Full, load(1, PRODUCE_100B)),
    throughput("produce-100b-16p", "100-byte records in 64 KiB batches to 16 partitions", Choice::Full, load(16, PRODUCE_100B)),
    Workload {
        metrics: &[Metric::CpuPerRequest, Metric::RequestRate],
        floors: &[(Metric::CpuPerRequest, "tcp-echo-8"), (Metric::RequestRate, "tcp-echo-8")],
        ..throughput(
            "produce-small",
            "one 100-byte record in each request, 16 partitions, 64 requests in flight on each of 16 connections",
            Choice::Quick,
            load(16, "produce --record-bytes 100 --batch-bytes 1 --connections 16 --in-flight 64 --bytes {volume} --seconds {seconds}"),
        )
    },
    Workload {
        floors: &[],
        ..throughput(
            "produce-keyed-50",
            "50 producers whose keys spread 16 KiB of 1 KiB records over 16 partitions: a small batch for each partition in every request",
            Choice::Full,
            load(16, "produce --keyed --connections 50 --record-bytes 1024 --batch-bytes 16384 --bytes {volume} --seconds {seconds}"),
        )
    },
    Workload {
        floors: APPEND_SMALL,
        ..throughput(
            "produce-lz4",
            "1 KiB records, half of each noise, in lz4 batches of 64 KiB before compression, 16 partitions; bytes as compressed",
            Choice::Full,
            load(16, "produce --codec lz4 --record-bytes 1024 --batch-bytes 65536 --bytes {volume} --seconds {seconds}"),
        )
    },
    Workload {
        floors: APPEND_SMALL,
        ..throughput(
            "produce-zstd",
            "1 KiB records, half of each noise, in zstd batches of 64 KiB before compression, 16 partitions; bytes as compressed",
            Choice::Full,
            load(16, "produce --codec zstd --record-bytes 1024 --batch-bytes 65536 --bytes {volume} --seconds {seconds}"),
        )
    },
    Workload {
        metrics: SYNCED,
        floors: SYNCED_64K,
        ..throughput(
            "fsync",
            "flush.messages=1, an answer waits for fsync: 64 KiB batches to 16 partitions, one in flight on each of 16 connections",
            Choice::Full,
            Load {
                configs: &["flush.messages=1"],
                ..load(
                    16,
                    "produce --record-bytes 1024 --batch-bytes 65536 --connections 16 --in-flight 1 --bytes {volume} --seconds {seconds}",
                )
            },
        )
    },
    Workload {
        metrics: SYNCED,
        floors: SYNCED_64K,
        ..throughput(
            "fsync-1c",
            "flush.messages=1, 64 KiB batches to 16 partitions over one connection, as one producer has it: 16 in flight, one for each partition; Kafka answers them one after another",
            Choice::Full,
            Load {
                configs: &["flush.messages=1"],
                ..load(
                    16,
                    "produce --record-bytes 1024 --batch-bytes 65536 --connections 1 --in-flight 16 --bytes {volume} --seconds {seconds}",
                )
            },
        )
    },
    Workload {
        metrics: &[Metric::RequestRate, Metric::P50, Metric::P99, Metric::CpuPerRequest],
        floors: &[(Metric::RequestRate, "fdatasync-32"), (Metric::P50, "fdatasync")],
        ..throughput(
            "fsync-4k",
            "flush.messages=1, 4 KiB batches to 16 partitions, five in flight on each of 16 connections",
            Choice::Full,
            Load {
                configs: &["flush.messages=1"],
                ..load(16, "produce --record-bytes 1024 --batch-bytes 4096 --connections 16 --bytes {volume} --seconds {seconds}")
            },
        )
    },
    Workload {
        name: "many-partitions",
        sentence: "a topic of 9,990 partitions (as many as Kafka creates at once), ten of them written: 1 KiB records in 64 KiB batches",
        kind: Kind::Crowd {
            few: 10,
            load: load(9_990, "produce --partitions 10 --record-bytes 1024 --batch-bytes 65536 --bytes {volume} --seconds {seconds}"),
        },
        metrics: &[Metric::CpuPerGb, Metric::Throughput, Metric::ShareOfFew, Metric::PerIdlePartition, Metric::Resident],
        floors: APPEND,
        choice: Choice::Full,
        contest: BROKERS,
        pairs_max: 3,
    },
    reading(
        "fetch-hot-1",
        "one consumer reads a log that lies in the page cache",
        Choice::Quick,
        "fetch --readers 1 --bytes {reading} --seconds {seconds}",
    ),
    reading(
        "fetch-hot-8",
        "eight consumers read a log that lies in the page cache, each the whole",
        Choice::Full,
        "fetch --readers 8 --bytes {reading} --seconds {seconds}",
    ),
    Workload {
        metrics: &[Metric::Throughput, Metric::P50, Metric::P99, Metric::P999, Metric::P99TimesAlone],
        floors: &[],
        ..throughput(
            "catch-up",
            "a consumer reads an evicted backlog once from its start while a producer writes 2,000 records/s to the end: the reader's GB/s, the producer's latency",
            Choice::Full,
            Load {
                life: Life::Workload,
                fill: "produce --record-bytes 1024 --batch-bytes 65536 --bytes {backlog}",
                cache: Cache::Evicted,
                alone: "produce-at --rate 2000 --batch-bytes 1 --seconds {seconds}",
                ..load(1, "catch-up --rate 2000 --batch-bytes 1 --bytes {backlog}")
            },
        )
    },
    latency(
        "open-loop-5000",
        "5,000 requests/s of one 1 KiB record each on a fixed schedule over one connection, 16 partitions, from the intended send to the answer",
        Choice::Quick,
        ECHO_5000,
        load(16, "produce-at --rate 5000 --record-bytes 1024 --batch-bytes 1 --seconds {seconds}"),
    ),
    latency(
        "open-loop-20000",
        "20,000 requests/s of one 1 KiB record each on a fixed schedule over one connection, 16 partitions",
        Choice::Full,
        ECHO_20000,
        load(16, "produce-at --rate 20000 --record-bytes 1024 --batch-bytes 1 --seconds {seconds}"),
    ),
    latency(
        "open-loop-20000-16c",
        "20,000 requests/s of one 1 KiB record each on a fixed schedule over 16 connections in turn, which Kafka can answer side by side",
        Choice::Full,
        ECHO_20000,
        load(16, "produce-at --rate 20000 --connections 16 --record-bytes 1024 --batch-bytes 1 --seconds {seconds}"),
    ),
    latency(
        "end-to-end-1000",
        "1,000 records/s of 1 KiB on a fixed schedule, from the intended send until a waiting consumer has them",
        Choice::Quick,
        ECHO_1000,
        load(1, "end-to-end --rate 1000 --record-bytes 1024 --batch-bytes 1 --seconds {seconds}"),
    ),
    latency(
        "end-to-end-10000",
        "10,000 records/s of 1 KiB on a fixed schedule, from the intended send until a waiting consumer has them",
        Choice::Full,
        ECHO_10000,
        load(1, "end-to-end --rate 10000 --record-bytes 1024 --batch-bytes 1 --seconds {seconds}"),
    ),
    Workload {
        pairs_max: 3,
        ..throughput(
            "sustained",
            "1 KiB records in 64 KiB batches to 16 partitions for a minute, far past the dirty limit; old segments are deleted meanwhile",
            Choice::Full,
            Load { configs: BOUNDED, ..load(16, "produce --record-bytes 1024 --batch-bytes 65536 --seconds {minute}") },
        )
    },
    Workload {
        name: "start-up",
        sentence: "from the start of the process on an empty directory and on the broker's core to its first answer; then left alone: memory, and processor time of 5 s",
        kind: Kind::StartUp,
        metrics: &[Metric::Seconds, Metric::Resident, Metric::IdleCpu],
        floors: &[],
        choice: Choice::Quick,
        contest: BROKERS,
        pairs_max: 5,
    },
    restart(
        "restart-1p",
        "killed (SIGKILL) with its log in one partition, page cache dropped, started again: until the partition has answered a fetch; Kafka's wait for its old session (9 s) is in it",
        1,
    ),
    restart(
        "restart-16p",
        "killed with its log in 16 partitions, page cache dropped, started again: until the last has answered a fetch",
        16,
    ),
    Workload {
        name: "perf-test",
        sentence: "Kafka's own kafka-producer-perf-test, 1 KiB records, batch.size 65536, linger.ms 5, acks=1, 16 partitions",
        kind: Kind::PerfTest { partitions: 16 },
        metrics: &[Metric::RecordRate, Metric::CpuPerGb],
        floors: &[],
        choice: Choice::Full,
        contest: BROKERS,
        pairs_max: 5,
    },
    Workload {
        metrics: &[Metric::Messages, Metric::CpuPerRequest, Metric::P50, Metric::P99],
        contest: Contest::Listeners,
        ..latency(
            "shard-listeners",
            "two shards, 16 partitions, four clients that send 5,000 requests/s of one 1 KiB record each on a fixed schedule: with and without a port for each shard",
            Choice::Full,
            &[],
            load(16, "produce-at --rate 5000 --connections 4 --record-bytes 1024 --batch-bytes 1 --seconds {seconds}"),
        )
    },
    Workload {
        pairs_max: 1,
        ..latency(
            "soak",
            "5,000 requests/s of 16 KiB on a fixed schedule until retention has deleted for long; p99 minute by minute",
            Choice::OnlyByName,
            ECHO_5000,
            Load { configs: BOUNDED, ..load(1, "produce-at --rate 5000 --record-bytes 1024 --batch-bytes 16384 --seconds {soak}") },
        )
    },
];

const fn restart(name: &'static str, sentence: &'static str, partitions: u32) -> Workload {
    Workload {
        name,
        sentence,
        kind: Kind::Restart { partitions },
        metrics: &[Metric::Seconds],
        floors: &[],
        choice: Choice::Full,
        contest: BROKERS,
        pairs_max: 3,
    }
}

pub fn find(name: &str) -> Option<&'static Workload> {
    TABLE.iter().find(|workload| workload.name == name)
}

impl Workload {
    pub fn floor(&self, metric: Metric) -> Option<&'static str> {
        self.floors.iter().find(|(of, _)| *of == metric).map(|(_, floor)| *floor)
    }

    /// A broker that was only pointed at can be loaded, but not restarted or looked into.
    pub fn suits_a_foreign_broker(&self) -> bool {
        self.contest == BROKERS && matches!(&self.kind, Kind::Load(load) if load.cache == Cache::Resident)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_floors_belong_to_metrics() {
        for (index, workload) in TABLE.iter().enumerate() {
            assert!(!TABLE[..index].iter().any(|other| other.name == workload.name), "{} twice", workload.name);
            assert!(!workload.metrics.is_empty() && workload.pairs_max > 0);
            assert!(find(workload.name).is_some());
        }
        assert!(find("no-such").is_none());
    }
}
