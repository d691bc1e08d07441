//! Real clients and Kafka's own tools against the broker, and Kafka's own reader over the files it leaves.
//!
//! Every test here runs at one, two and four shards: a client must not be able to tell.

mod admin;
mod crates;
mod franz_go;
mod group_path;
mod groups;
mod kafkajs;
mod kcat;
mod librdkafka;
mod python;
mod tools;

use crate::support::broker::{Broker, Kind, Settings, kind};
use crate::support::records::{Codec, Stored, walk};
use crate::support::{dump, noisy, topics};

const CODECS: [(&str, Codec); 5] =
    [("none", Codec::None), ("gzip", Codec::Gzip), ("snappy", Codec::Snappy), ("lz4", Codec::Lz4), ("zstd", Codec::Zstd)];

/// Runs `body` against a broker of each layout, stops it cleanly, and has Kafka read every file it left.
fn at_every_shard_count(settings: Settings, body: impl Fn(&mut Broker)) {
    let _noisy = noisy();
    let layouts = match kind() {
        Kind::Ottla => vec![settings.clone().shards(1), settings.clone().shards(2), settings.shards(4)],
        Kind::Kafka => vec![settings],
    };
    for layout in layouts {
        let mut broker = Broker::start(layout);
        body(&mut broker);
        broker.stop();
        dump::check(&broker.log_dir());
    }
}

/// `count` values of a few hundred bytes each that any codec makes smaller, all different.
fn values(prefix: &str, count: usize) -> Vec<String> {
    (0..count).map(|index| format!("{prefix} {index:05} {}", "the quick brown fox jumps over the lazy dog ".repeat(5))).collect()
}

/// The batches of a partition as they lie in its segment files now. Bytes still on their way to the file are waited for by reading what
/// was acknowledged first: an acknowledged record is in the file, if only in the page cache.
fn stored(broker: &Broker, topic: &str, partition: i32) -> Vec<Stored> {
    let mut batches = Vec::new();
    for (base, bytes) in topics::segments(&broker.partition_dir(topic, partition)) {
        let walked = walk(&bytes);
        assert!(walked.batches.first().is_none_or(|first| first.base_offset >= base), "{topic}-{partition}: segment {base}");
        batches.extend(walked.batches);
    }
    batches
}

/// The file says which codec made a batch; what the producer was told to do proves nothing.
#[track_caller]
fn expect_codec(broker: &Broker, topic: &str, partitions: i32, codec: Codec) {
    for partition in 0..partitions {
        let batches = stored(broker, topic, partition);
        assert!(!batches.is_empty(), "nothing stored in {topic}-{partition}");
        for batch in batches {
            assert_eq!(batch.codec(), codec, "{topic}-{partition} at offset {}", batch.base_offset);
        }
    }
}
