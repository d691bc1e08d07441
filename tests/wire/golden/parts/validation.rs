//! Batches that are wrong in one place each, and those that only look wrong: every field of the header, every length inside a record, every
//! codec, timestamps, sizes, keys of compacted topics. What was stored is read back at the end.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::BrokerId;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use kafka_protocol::protocol::StrBytes;

use super::{THEN, TIMEOUT_MS};
use crate::support::forge::{Forged, Part, Record, body, compress};
use crate::support::records::Codec;
use crate::support::topics::name;
use crate::wire::golden::capture::Recorder;

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// The year 2100.
const FAR: i64 = 4_102_444_800_000;

/// The newest version that names topics, unless a case is about versions.
const BY_NAME: i16 = 12;

/// Versions between which the answer to a refused record differs.
const VERSIONS: [i16; 4] = [3, 7, 8, 12];

const PLAIN: &str = "valid-plain";
const BODIES: &str = "valid-bodies";
/// What lies here Kafka may have taken, and we do not (see `answer::is_refused_more_exactly`).
const FLAWED: &str = "valid-flawed";
const COMPACTED: &str = "valid-compacted";
const NARROW: &str = "valid-narrow";
const STAMPED: &str = "valid-stamped";
const SMALL: &str = "valid-small";
const UNPACKED: &str = "valid-unpacked";
/// Takes larger batches than its segments hold.
const CRAMPED: &str = "valid-cramped";

type Overrides = &'static [(&'static str, &'static str)];

/// Each with its partitions and settings. Old timestamps must not be deleted by age.
const TOPICS: [(&str, i32, Overrides); 9] = [
    (PLAIN, 2, &[("retention.ms", "-1")]),
    (BODIES, 5, &[("retention.ms", "-1")]),
    (FLAWED, 5, &[("retention.ms", "-1")]),
    (COMPACTED, 1, &[("cleanup.policy", "compact")]),
    (NARROW, 1, &[("message.timestamp.before.max.ms", "3600000"), ("message.timestamp.after.max.ms", "3600000")]),
    (STAMPED, 1, &[("message.timestamp.type", "LogAppendTime")]),
    (SMALL, 1, &[("max.message.bytes", "500"), ("retention.ms", "-1")]),
    (UNPACKED, 1, &[("compression.type", "uncompressed"), ("max.message.bytes", "500"), ("retention.ms", "-1")]),
    (CRAMPED, 1, &[("compression.type", "uncompressed"), ("max.message.bytes", "3000000"), ("segment.bytes", "1048576")]),
];

pub fn run(recorder: &mut Recorder) {
    for (topic, partitions, settings) in TOPICS {
        create(recorder, topic, partitions, settings);
    }
    headers(recorder);
    runs_of_batches(recorder);
    for (partition, codec) in CODECS.into_iter().enumerate() {
        bodies(recorder, partition as i32, codec);
    }
    for codec in &CODECS[1..] {
        damaged_blocks(recorder, *codec);
    }
    keys_and_timestamps(recorder);
    sizes(recorder);
    stored(recorder);
}

/// Makes a topic that the part's cases write to.
pub fn create(recorder: &mut Recorder, topic: &'static str, partitions: i32, settings: Overrides) {
    let config = |(key, value): &(&'static str, &'static str)| {
        CreatableTopicConfig::default().with_name(StrBytes::from_static_str(key)).with_value(Some(StrBytes::from_static_str(value)))
    };
    let wanted = CreatableTopic::default()
        .with_name(name(topic))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(settings.iter().map(config).collect());
    let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(TIMEOUT_MS);
    recorder.create(7, topic, &request, &[(topic, partitions)]);
}

/// A request for one partition.
pub fn request(topic: &str, partition: i32, records: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let topic = TopicProduceData::default().with_name(name(topic)).with_partition_data(vec![partition]);
    ProduceRequest::default().with_acks(-1).with_timeout_ms(TIMEOUT_MS).with_topic_data(vec![topic])
}

fn sound() -> Forged {
    Forged::sound(THEN)
}

type Lie = (&'static str, fn(&mut Forged));

const HEADERS: &[Lie] = &[
    ("sound", |_| ()),
    ("base-offset-positive", |batch| batch.base_offset = 5),
    ("base-offset-negative", |batch| batch.base_offset = -5),
    ("base-offset-largest", |batch| batch.base_offset = i64::MAX),
    ("leader-epoch-set", |batch| batch.leader_epoch = 7),
    ("leader-epoch-negative", |batch| batch.leader_epoch = -9),
    ("crc-wrong", |batch| batch.crc = Some(1)),
    ("count-none", |batch| batch.count = 0),
    ("count-less", |batch| batch.count = 1),
    ("count-more", |batch| batch.count = 3),
    ("count-negative", |batch| batch.count = -1),
    ("count-largest", |batch| batch.count = i32::MAX),
    ("last-delta-less", |batch| batch.last_offset_delta = 0),
    ("last-delta-more", |batch| batch.last_offset_delta = 2),
    ("last-delta-negative", |batch| batch.last_offset_delta = -1),
    ("last-delta-largest", |batch| batch.last_offset_delta = i32::MAX),
    ("count-and-delta-less", |batch| (batch.count, batch.last_offset_delta) = (1, 0)),
    ("count-and-delta-more", |batch| (batch.count, batch.last_offset_delta) = (3, 2)),
    ("count-and-delta-largest", |batch| (batch.count, batch.last_offset_delta) = (i32::MAX, i32::MAX - 1)),
    ("nothing-inside", |batch| batch.body = Bytes::new()),
    ("nothing-at-all", |batch| (batch.body, batch.count, batch.last_offset_delta) = (Bytes::new(), 0, -1)),
    ("marked-append-time", |batch| batch.attributes = 1 << 3),
    ("marked-control", |batch| batch.attributes = 1 << 5),
    ("marked-control-transactional", |batch| batch.attributes = 1 << 4 | 1 << 5),
    ("marked-transactional", |batch| batch.attributes = 1 << 4),
    ("marked-delete-horizon", |batch| batch.attributes = 1 << 6),
    ("marked-unused-bits", |batch| batch.attributes = 1 << 7 | 1 << 14),
    ("max-timestamp-high", |batch| batch.max_timestamp = FAR),
    ("max-timestamp-low", |batch| batch.max_timestamp = 5),
    ("max-timestamp-none", |batch| batch.max_timestamp = -1),
    ("no-timestamps", |batch| (batch.base_timestamp, batch.max_timestamp) = (-1, -1)),
    ("timestamp-negative", |batch| (batch.base_timestamp, batch.max_timestamp) = (-2, -2)),
    ("timestamp-smallest", |batch| (batch.base_timestamp, batch.max_timestamp) = (i64::MIN, i64::MIN)),
    ("timestamp-largest", |batch| (batch.base_timestamp, batch.max_timestamp) = (i64::MAX, i64::MAX)),
    ("timestamp-far", |batch| (batch.base_timestamp, batch.max_timestamp) = (FAR, FAR)),
    ("producer-without-sequence", |batch| (batch.producer_id, batch.producer_epoch) = (9, 0)),
    ("producer-without-epoch", |batch| (batch.producer_id, batch.base_sequence) = (10, 0)),
    ("sequence-without-producer", |batch| (batch.producer_epoch, batch.base_sequence) = (3, 3)),
    ("producer-negative", |batch| (batch.producer_id, batch.producer_epoch, batch.base_sequence) = (-7, 0, 0)),
];

/// Lies about what the bytes are at all.
const FRAMES: &[Lie] = &[
    ("length-negative", |batch| batch.length = Some(-1)),
    ("length-none", |batch| batch.length = Some(0)),
    ("length-of-no-batch", |batch| batch.length = Some(13)),
    ("length-of-no-header", |batch| batch.length = Some(40)),
    ("length-less", |batch| batch.length = Some(60)),
    ("length-more", |batch| batch.length = Some(1000)),
    ("length-largest", |batch| batch.length = Some(i32::MAX)),
    ("magic-0", |batch| batch.magic = 0),
    ("magic-1", |batch| batch.magic = 1),
    ("magic-3", |batch| batch.magic = 3),
    ("magic-negative", |batch| batch.magic = -1),
    ("codec-unknown", |batch| batch.attributes = 5),
    ("codec-unknown-last", |batch| batch.attributes = 7),
];

fn headers(recorder: &mut Recorder) {
    for (case, lie) in HEADERS {
        recorder.record(BY_NAME, case, &request(PLAIN, 0, sound().with(lie).encode()));
    }
    for version in VERSIONS {
        for (case, lie) in FRAMES {
            recorder.record(version, case, &request(PLAIN, 0, sound().with(lie).encode()));
        }
    }
    // What the lies said of offsets has moved nothing.
    recorder.record(BY_NAME, "sound-after-lies", &request(PLAIN, 0, sound().encode()));
}

fn runs_of_batches(recorder: &mut Recorder) {
    let (one, two) = (sound().encode(), sound().with(|batch| batch.base_timestamp += 1).encode());
    let joined = |parts: &[&[u8]]| Bytes::from(parts.concat());
    let cases = [
        ("two-batches", joined(&[&one, &two])),
        ("batch-and-torn-batch", joined(&[&one, &two[..40]])),
        ("batch-and-torn-front", joined(&[&one, &two[..7]])),
        ("batch-and-zeros", joined(&[&one, &[0; 20]])),
        ("batch-and-noise", joined(&[&one, &[0xff; 20]])),
        ("torn-batch", one.slice(..one.len() - 1)),
        ("torn-header", one.slice(..40)),
        ("torn-front", one.slice(..11)),
        ("zeros", Bytes::from_static(&[0; 80])),
        ("noise", Bytes::from_static(&[0xa5; 80])),
    ];
    for (case, records) in cases {
        recorder.record(BY_NAME, case, &request(PLAIN, 1, records));
    }
}

fn first() -> Record {
    Record::new(0, Part::of("key"), Part::of("first value"))
}

fn second() -> Record {
    Record::new(1, Part::of("key"), Part::of("second value"))
}

fn with_header(key: Part, value: Part) -> Record {
    first().with(|record| record.headers.push((key, value)))
}

/// Bodies that are as they should be, if unusual.
fn harmless() -> Vec<(&'static str, i32, Bytes)> {
    let pair = |case, one: Record| (case, 2, body(&[one, second()]));
    vec![
        pair("sound", first()),
        pair("attributes-set", first().with(|record| record.attributes = 0x55)),
        pair("header", with_header(Part::of("name"), Part::of("value"))),
        pair("header-without-value", with_header(Part::of("name"), Part::null())),
        pair("timestamp-delta", first().with(|record| record.timestamp_delta = -5)),
    ]
}

/// Bodies that are wrong in one record.
fn flaws() -> Vec<(&'static str, i32, Bytes)> {
    let header = with_header;
    let pair = |one: Record| (2, body(&[one, second()]));
    let tail = |more: &[u8]| (2, Bytes::from([&body(&[first(), second()])[..], more].concat()));
    let named = |case, (count, body): (i32, Bytes)| (case, count, body);
    vec![
        named("length-more", pair(first().with(|record| record.length = Some(40)))),
        named("length-less", pair(first().with(|record| record.length = Some(9)))),
        named("length-past-end", pair(first().with(|record| record.length = Some(1000)))),
        named("length-largest", pair(first().with(|record| record.length = Some(i64::from(i32::MAX))))),
        named("length-none", pair(first().with(|record| record.length = Some(0)))),
        named("length-negative", pair(first().with(|record| record.length = Some(-1)))),
        named("key-less", pair(first().with(|record| record.key = Part::of("key").said(1)))),
        named("key-past-end", pair(first().with(|record| record.key = Part::of("key").said(500)))),
        named("key-negative", pair(first().with(|record| record.key = Part::of("key").said(-2)))),
        named("value-past-end", pair(first().with(|record| record.value = Part::of("value").said(500)))),
        named("value-largest", pair(first().with(|record| record.value = Part::of("value").said(i64::from(i32::MAX))))),
        named("value-negative", pair(first().with(|record| record.value = Part::of("value").said(-2)))),
        named("header-without-name", pair(header(Part::null(), Part::of("value")))),
        named("header-name-past-end", pair(header(Part::of("name").said(900), Part::of("value")))),
        named("header-value-past-end", pair(header(Part::of("name"), Part::of("value").said(900)))),
        named("header-value-negative", pair(header(Part::of("name"), Part::of("value").said(-2)))),
        named("header-count-negative", pair(first().with(|record| record.header_count = Some(-1)))),
        named("header-count-more", pair(first().with(|record| record.header_count = Some(3)))),
        named("header-count-largest", pair(first().with(|record| record.header_count = Some(i64::from(i32::MAX))))),
        named("rest-behind-headers", pair(first().with(|record| record.rest = vec![0; 3]))),
        named("timestamp-delta-largest", pair(first().with(|record| record.timestamp_delta = i64::MAX))),
        named("rest-behind-records", tail(&[0; 5])),
        named("record-behind-records", tail(&body(&[Record::new(2, Part::null(), Part::null())]))),
        named("number-too-long", (1, Bytes::from_static(&[0xff; 12]))),
        named("number-cut-short", (1, Bytes::from_static(&[0x80]))),
        named("cut-short", (2, body(&[first()]))),
        named("empty", (1, Bytes::new())),
    ]
}

/// Offset deltas that are not 0, 1, 2, ...
fn wrong_deltas() -> [(&'static str, [i64; 2]); 5] {
    [
        ("delta-gap", [0, 2]),
        ("delta-late-start", [1, 2]),
        ("delta-repeated", [0, 0]),
        ("delta-backwards", [1, 0]),
        ("delta-negative", [-1, 0]),
    ]
}

fn named_by(codec: Codec, case: &str) -> String {
    format!("{codec:?}-{case}").to_lowercase()
}

fn bodies(recorder: &mut Recorder, partition: i32, codec: Codec) {
    for (case, count, body) in harmless() {
        let batch = Forged::around(body, count, THEN).compressed(codec);
        recorder.record(BY_NAME, &named_by(codec, case), &request(BODIES, partition, batch.encode()));
    }
    let deltas = wrong_deltas().map(|(case, deltas)| {
        let records = deltas.map(|delta| Record::new(delta, Part::of("key"), Part::of("value")));
        (case, 2, body(&records))
    });
    for (case, count, body) in flaws().into_iter().chain(deltas) {
        let batch = Forged::around(body, count, THEN).compressed(codec);
        recorder.record(BY_NAME, &format!("flawed-{}", named_by(codec, case)), &request(FLAWED, partition, batch.encode()));
    }
    for version in VERSIONS {
        let batch = sound().compressed(codec).encode();
        recorder.record(version, &named_by(codec, "version"), &request(BODIES, partition, batch));
    }
}

/// Blocks that do not decompress, or not only to records.
fn damaged_blocks(recorder: &mut Recorder, codec: Codec) {
    let records: Vec<Record> = (0..40).map(|delta| Record::new(delta, Part::of("key"), Part::of([delta as u8; 40]))).collect();
    let plain = body(&records);
    let block = compress(codec, &plain);
    let flipped = |at: usize| {
        let mut block = BytesMut::from(&block[..]);
        block[at] ^= 0x40;
        block.freeze()
    };
    let cases = [
        ("block-sound", block.clone()),
        ("block-not-compressed", plain.clone()),
        ("block-cut-in-half", block.slice(..block.len() / 2)),
        ("block-without-last-byte", block.slice(..block.len() - 1)),
        ("block-empty", Bytes::new()),
        ("block-front-damaged", flipped(0)),
        ("block-middle-damaged", flipped(block.len() / 2)),
        ("block-in-two", Bytes::from([&compress(codec, &plain[..100])[..], &compress(codec, &plain[100..])].concat())),
    ];
    let partition = CODECS.iter().position(|known| *known == codec).expect("one of them") as i32;
    for (case, block) in cases {
        let batch = Forged::around(block, 40, THEN).with(|batch| batch.attributes = codec as i16);
        recorder.record(BY_NAME, &named_by(codec, case), &request(BODIES, partition, batch.encode()));
    }
    for (case, rest) in [("block-and-zeros", [0; 9]), ("block-and-noise", [0xa5; 9])] {
        let joined = Bytes::from([&block[..], &rest].concat());
        let batch = Forged::around(joined, 40, THEN).with(|batch| batch.attributes = codec as i16);
        recorder.record(BY_NAME, &format!("flawed-{}", named_by(codec, case)), &request(FLAWED, partition, batch.encode()));
    }
}

fn keys_and_timestamps(recorder: &mut Recorder) {
    let of = |times: &[i64], keys: &[bool]| {
        let record = |(index, (time, keyed)): (usize, (&i64, &bool))| {
            let key = if *keyed { Part::of("key") } else { Part::null() };
            Record::new(index as i64, key, Part::of("value")).with(|record| record.timestamp_delta = time - THEN)
        };
        let records: Vec<Record> = times.iter().zip(keys).enumerate().map(record).collect();
        let latest = times.iter().copied().max().expect("a record");
        Forged::around(body(&records), records.len() as i32, THEN).with(|batch| batch.max_timestamp = latest)
    };
    for version in VERSIONS {
        for codec in [Codec::None, Codec::Lz4] {
            let mut case = |topic: &str, case: &str, batch: Forged| {
                recorder.record(version, &named_by(codec, case), &request(topic, 0, batch.compressed(codec).encode()));
            };
            case(COMPACTED, "keyed", of(&[THEN, THEN], &[true, true]));
            case(COMPACTED, "keyless", of(&[THEN], &[false]));
            case(COMPACTED, "some-keyless", of(&[THEN; 6], &[true, false, true, false, false, false]));
            case(COMPACTED, "keyless-and-late", of(&[THEN, FAR, THEN], &[false, true, true]));
            case(COMPACTED, "keyless-is-late", of(&[FAR], &[false]));
            case(NARROW, "too-early", of(&[THEN], &[true]));
            case(NARROW, "too-late", of(&[FAR], &[true]));
            case(NARROW, "no-timestamp", of(&[-1], &[true]));
            case(NARROW, "some-out-of-bounds", of(&[-1, THEN, FAR, -1, 0], &[true; 5]));
            case(STAMPED, "stamped", of(&[THEN, FAR, -1], &[true; 3]));
            case(STAMPED, "stamped-by-client", of(&[THEN, THEN], &[true; 2]).with(|batch| batch.attributes |= 1 << 3));
        }
    }
}

fn sizes(recorder: &mut Recorder) {
    let of = |bytes: usize| {
        let value = vec![b'v'; bytes];
        Forged::around(body(&[Record::new(0, Part::null(), Part::of(value))]), 1, THEN)
    };
    // Header, and what surrounds a value of two length bytes.
    let fits = 500 - 61 - 9;
    for version in VERSIONS {
        recorder.record(version, "size-fits", &request(SMALL, 0, of(fits).encode()));
        recorder.record(version, "size-one-more", &request(SMALL, 0, of(fits + 1).encode()));
        recorder.record(version, "size-unpacked", &request(SMALL, 0, of(5000).compressed(Codec::Gzip).encode()));
        for codec in CODECS {
            recorder.record(version, &named_by(codec, "size-unpacks"), &request(UNPACKED, 0, of(fits).compressed(codec).encode()));
            let large = of(fits + 1).compressed(codec).encode();
            recorder.record(version, &named_by(codec, "size-unpacks-to-more"), &request(UNPACKED, 0, large));
        }
        // Stored plain, it is larger than a segment: RECORD_LIST_TOO_LARGE.
        recorder.record(version, "size-of-a-segment", &request(CRAMPED, 0, of(1_500_000).compressed(Codec::Gzip).encode()));
        recorder.record(version, "size-and-crc", &request(SMALL, 0, of(5000).with(|batch| batch.crc = Some(1)).encode()));
    }
}

/// Everything that was accepted under the client's own timestamps, byte for byte.
fn stored(recorder: &mut Recorder) {
    for (topic, partitions, _) in TOPICS.into_iter().filter(|(topic, ..)| ![STAMPED, FLAWED].contains(topic)) {
        for partition in 0..partitions {
            stored_in(recorder, topic, partition);
        }
    }
}

/// All that a partition holds.
pub fn stored_in(recorder: &mut Recorder, topic: &str, partition: i32) {
    let part = FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(-1)
        .with_last_fetched_epoch(-1)
        .with_log_start_offset(-1)
        .with_partition_max_bytes(1 << 20);
    let ask = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_bytes(1 << 20)
        .with_session_epoch(-1)
        .with_topics(vec![FetchTopic::default().with_topic(name(topic)).with_partitions(vec![part])]);
    recorder.record(12, &format!("stored-{topic}-{partition}"), &ask);
}
