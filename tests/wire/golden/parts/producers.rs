//! Producers that number their batches: ids handed out, batches repeated, left out, sent by an older self, and numbers that begin again.

use bytes::Bytes;
use kafka_protocol::messages::init_producer_id_request::InitProducerIdRequest;
use kafka_protocol::messages::{ProducerId, TransactionalId};
use kafka_protocol::protocol::StrBytes;

use super::THEN;
use super::validation::{create, request};
use crate::support::forge::{Forged, Part, Record, body};
use crate::support::records::Codec;
use crate::wire::golden::capture::Recorder;

/// A topic for each version, so that the same numbers can be told in each.
const TOPICS: [(i16, &str); 4] = [(3, "numbered-v3"), (7, "numbered-v7"), (8, "numbered-v8"), (12, "numbered-v12")];
const STAMPED: &str = "numbered-stamped";
const PARTITIONS: i32 = 7;
const PRODUCER: i64 = 7001;

pub fn run(recorder: &mut Recorder) {
    ids(recorder);
    create(recorder, STAMPED, 1, &[("message.timestamp.type", "LogAppendTime")]);
    for (version, topic) in TOPICS {
        create(recorder, topic, PARTITIONS, &[("retention.ms", "-1")]);
        let mut told = Told { recorder: &mut *recorder, version, topic };
        repeats(&mut told);
        epochs(&mut told);
        unknown(&mut told);
        wraps(&mut told);
        among_others(&mut told);
        transactional(&mut told);
    }
    let mut told = Told { recorder, version: 12, topic: STAMPED };
    told.case("stamped", 0, numbered(0, 0, 2));
    told.case("stamped-again", 0, numbered(0, 0, 2));
}

fn ids(recorder: &mut Recorder) {
    recorder.wait_for_producer_ids();
    for version in 0..=5 {
        let plain = InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000);
        recorder.record(version, "id", &plain);
        recorder.record(version, "no-timeout", &plain.clone().with_transaction_timeout_ms(-1));
        let empty = TransactionalId(StrBytes::from_static_str(""));
        recorder.record(version, "empty-transactional-id", &plain.clone().with_transactional_id(Some(empty)));
        if version >= 3 {
            let of = |id: i64, epoch: i16| plain.clone().with_producer_id(ProducerId(id)).with_producer_epoch(epoch);
            recorder.record(version, "of-a-known-id", &of(5, 3));
            recorder.record(version, "of-an-id-without-epoch", &of(5, -1));
            recorder.record(version, "of-an-epoch-without-id", &of(-1, 5));
            recorder.record(version, "of-the-last-epoch", &of(5, i16::MAX));
        }
    }
}

/// A batch of `count` records of the producer all cases are about.
fn numbered(epoch: i16, sequence: i32, count: i64) -> Forged {
    let records: Vec<Record> = (0..count).map(|delta| Record::new(delta, Part::null(), Part::of("value"))).collect();
    Forged::around(body(&records), count as i32, THEN).numbered(PRODUCER, epoch, sequence)
}

/// Where cases are told, and in which version.
struct Told<'a, 'b> {
    recorder: &'a mut Recorder<'b>,
    version: i16,
    topic: &'static str,
}

impl Told<'_, '_> {
    fn case(&mut self, case: &str, partition: i32, batch: Forged) {
        self.bytes(case, partition, batch.encode());
    }

    fn bytes(&mut self, case: &str, partition: i32, records: Bytes) {
        self.recorder.record(self.version, case, &request(self.topic, partition, records));
    }
}

/// Five batches are remembered of each producer.
fn repeats(told: &mut Told) {
    for sequence in [0, 2, 4, 6, 8] {
        told.case("next", 0, numbered(0, sequence, 2));
    }
    for sequence in [0, 2, 4, 6, 8] {
        told.case("repeated", 0, numbered(0, sequence, 2));
    }
    told.case("sixth", 0, numbered(0, 10, 2));
    told.case("repeated-too-late", 0, numbered(0, 0, 2));
    told.case("repeated-in-time", 0, numbered(0, 2, 2));
    told.case("one-left-out", 0, numbered(0, 13, 1));
    told.case("many-left-out", 0, numbered(0, 1_000_000, 1));
    told.case("overlapping", 0, numbered(0, 11, 2));
    told.case("repeated-longer", 0, numbered(0, 10, 3));
    told.case("repeated-shorter", 0, numbered(0, 10, 1));
    told.case("repeated-in-another-codec", 0, numbered(0, 10, 2).compressed(Codec::Lz4));
    told.case("begun-anew", 0, numbered(0, 0, 1));
    told.case("next-after-all", 0, numbered(0, 12, 1));
    told.case("without-number", 0, numbered(0, -1, 1));
}

fn epochs(told: &mut Told) {
    told.case("epoch-1", 1, numbered(1, 0, 2));
    told.case("older-epoch", 1, numbered(0, 2, 1));
    told.case("older-epoch-from-zero", 1, numbered(0, 0, 2));
    told.case("newer-epoch-not-from-zero", 1, numbered(2, 2, 1));
    told.case("newer-epoch", 1, numbered(2, 0, 1));
    told.case("newer-epoch-repeated", 1, numbered(2, 0, 1));
    told.case("newer-epoch-next", 1, numbered(2, 1, 1));
    told.case("the-epoch-before", 1, numbered(1, 2, 1));
    told.case("last-epoch", 1, numbered(i16::MAX, 0, 1));
    told.case("negative-epoch", 1, numbered(-1, 1, 1));
    told.case("very-negative-epoch", 1, numbered(-5, 0, 1));
}

fn unknown(told: &mut Told) {
    told.case("unknown-in-the-middle", 2, numbered(3, 5, 2));
    told.case("unknown-next", 2, numbered(3, 7, 1));
    told.case("unknown-from-zero", 2, numbered(3, 0, 1));
    told.case("unknown-negative-epoch", 6, numbered(-1, 0, 1));
}

/// After `i32::MAX` comes 0.
fn wraps(told: &mut Told) {
    told.case("before-the-last", 3, numbered(0, i32::MAX - 1, 2));
    told.case("one-after-the-first", 3, numbered(0, 1, 1));
    told.case("the-first-again", 3, numbered(0, 0, 2));
    told.case("last-repeated", 3, numbered(0, i32::MAX - 1, 2));
    told.case("across", 4, numbered(0, i32::MAX, 3));
    told.case("across-repeated", 4, numbered(0, i32::MAX, 3));
    told.case("across-next", 4, numbered(0, 2, 1));
}

fn among_others(told: &mut Told) {
    let other = |sequence| numbered(0, sequence, 1).with(|batch| batch.producer_id = PRODUCER + 1);
    told.case("mine", 5, numbered(0, 0, 1));
    told.case("the-others", 5, other(0));
    told.case("mine-next", 5, numbered(0, 1, 1));
    told.case("nobodys", 5, Forged::sound(THEN));
    told.case("the-others-next", 5, other(1));
    told.case("the-others-left-out", 5, other(3));
    told.case("mine-repeated", 5, numbered(0, 0, 1));
}

/// A request that names no transactional id must bring no transactional batch.
fn transactional(told: &mut Told) {
    let mark = |batch: &mut Forged| batch.attributes |= 1 << 4;
    told.case("transactional", 6, numbered(0, 0, 1).with(mark));
    told.case("transactional-without-number", 6, Forged::sound(THEN).with(mark));
    told.case("transactional-and-damaged", 6, numbered(0, 0, 1).with(mark).with(|batch| batch.crc = Some(1)));
    let mixed = {
        let mut good = request(told.topic, 6, Forged::sound(THEN).encode());
        let marked = request(told.topic, 5, numbered(0, 2, 1).with(mark).encode());
        good.topic_data[0].partition_data.extend(marked.topic_data[0].partition_data.clone());
        good
    };
    told.recorder.record(told.version, "transactional-beside-another", &mixed);
}
