use super::*;

fn data(producer: i64, epoch: i16, base_sequence: i32, records: i32) -> SequencedBatch {
    SequencedBatch {
        producer_id: ProducerId(producer),
        epoch: ProducerEpoch(epoch),
        base_sequence,
        last_offset_delta: records - 1,
        transactional: false,
    }
}

fn in_transaction(batch: SequencedBatch) -> SequencedBatch {
    SequencedBatch { transactional: true, ..batch }
}

fn marker(producer: i64, epoch: i16, end: TransactionEnd) -> Marker {
    Marker { producer_id: ProducerId(producer), epoch: ProducerEpoch(epoch), coordinator_epoch: 3, end }
}

struct Appender {
    producers: Producers,
    end: i64,
}

impl Appender {
    fn new() -> Self {
        Self { producers: Producers::default(), end: 0 }
    }

    fn check(&self, batch: SequencedBatch) -> Result<ProducerCheck, ProducerRefusal> {
        self.producers.check(&batch, UnknownProducer::Accept)
    }

    fn append(&mut self, batch: SequencedBatch) -> Offset {
        assert_eq!(self.check(batch), Ok(ProducerCheck::New));
        let base = Offset(self.end);
        self.end += i64::from(batch.last_offset_delta) + 1;
        self.producers.on_batch(&ProducerAction::Data(batch), base, TimestampMs(1000 + base.get()));
        base
    }

    fn end_transaction(&mut self, marker: Marker) -> Option<AbortedTransaction> {
        let offset = Offset(self.end);
        self.end += 1;
        self.producers.on_batch(&ProducerAction::Marker(marker), offset, TimestampMs(5000))
    }
}

#[test]
fn a_repeated_batch_is_told_from_a_new_one() {
    let mut log = Appender::new();
    for n in 0..7 {
        log.append(data(1, 0, n * 10, 10));
    }
    for n in 2..7 {
        let expected =
            ProducerCheck::Duplicate { base_offset: Offset(i64::from(n) * 10), timestamp: TimestampMs(1000 + i64::from(n) * 10) };
        assert_eq!(log.check(data(1, 0, n * 10, 10)), Ok(expected));
    }
    assert!(matches!(log.check(data(1, 0, 10, 10)), Err(ProducerRefusal::OutOfOrderSequence { expected: 70, found: 10, .. })));
    assert!(matches!(log.check(data(1, 0, 60, 5)), Err(ProducerRefusal::OutOfOrderSequence { .. })), "part of a stored batch");
    assert!(matches!(log.check(data(1, 0, 80, 1)), Err(ProducerRefusal::OutOfOrderSequence { expected: 70, found: 80, .. })), "a gap");
}

#[test]
fn epochs_fence_and_begin_at_zero() {
    let mut log = Appender::new();
    log.append(data(1, 5, 0, 3));
    assert!(matches!(log.check(data(1, 4, 3, 1)), Err(ProducerRefusal::InvalidProducerEpoch { .. })));
    assert!(matches!(log.check(data(1, 6, 3, 1)), Err(ProducerRefusal::OutOfOrderSequence { expected: 0, .. })));
    log.append(data(1, 6, 0, 3));
    assert!(matches!(log.check(data(1, 5, 0, 3)), Err(ProducerRefusal::InvalidProducerEpoch { .. })), "the old epoch's batches are gone");
}

#[test]
fn an_unknown_producer_may_begin_anywhere_unless_it_must_not() {
    let log = Appender::new();
    assert_eq!(log.check(data(9, 0, 17, 1)), Ok(ProducerCheck::New));
    let strict = |sequence| log.producers.check(&data(9, 0, sequence, 1), UnknownProducer::RequireZero);
    assert_eq!(strict(17), Err(ProducerRefusal::UnknownProducerId { producer_id: ProducerId(9) }));
    assert_eq!(strict(0), Ok(ProducerCheck::New));
}

#[test]
fn sequences_wrap() {
    let mut log = Appender::new();
    log.append(data(1, 0, i32::MAX - 1, 4));
    assert_eq!(log.producers.iter().next().unwrap().1.last_sequence(), 1);
    assert!(matches!(log.check(data(1, 0, i32::MAX - 1, 4)), Ok(ProducerCheck::Duplicate { .. })));
    log.append(data(1, 0, 2, 1));
    let mut at_end = Appender::new();
    at_end.append(data(1, 0, i32::MAX, 1));
    at_end.append(data(1, 0, 0, 1));
}

#[test]
fn the_last_stable_offset_waits_for_markers_and_for_their_replication() {
    let mut log = Appender::new();
    log.append(data(9, 0, 0, 10));
    log.append(in_transaction(data(1, 0, 0, 5)));
    log.append(in_transaction(data(2, 0, 0, 5)));
    log.append(in_transaction(data(1, 0, 5, 5)));
    assert_eq!(log.producers.last_stable(Offset(25)), Offset(10));
    assert_eq!(log.producers.last_stable(Offset(7)), Offset(7), "never beyond the high watermark");
    assert!(matches!(log.check(data(1, 0, 10, 1)), Err(ProducerRefusal::NotInTransaction { .. })));
    let aborted = log.end_transaction(marker(1, 0, TransactionEnd::Abort)).unwrap();
    assert_eq!((aborted.first, aborted.last, aborted.last_stable), (Offset(10), Offset(25), Offset(15)));
    assert_eq!(log.producers.last_stable(Offset(25)), Offset(10), "the marker is not replicated yet");
    assert_eq!(log.producers.last_stable(Offset(26)), Offset(15));
    assert_eq!(log.end_transaction(marker(2, 0, TransactionEnd::Commit)), None);
    assert_eq!(log.producers.last_stable(Offset(27)), Offset(27));
}

#[test]
fn the_last_open_transaction_leaves_the_log_stable_up_to_its_marker() {
    let mut log = Appender::new();
    log.append(in_transaction(data(1, 0, 0, 5)));
    let aborted = log.end_transaction(marker(1, 0, TransactionEnd::Abort)).unwrap();
    assert_eq!(aborted.last_stable, Offset(6));
    assert_eq!(log.end_transaction(marker(1, 1, TransactionEnd::Abort)), None, "nothing was open");
    assert_eq!(log.check(in_transaction(data(1, 1, 0, 1))), Ok(ProducerCheck::New), "the marker's epoch begins at zero");
}

#[test]
fn markers_are_fenced() {
    let mut log = Appender::new();
    log.append(in_transaction(data(1, 5, 0, 5)));
    let check = |log: &Appender, m| log.producers.check_marker(&m);
    assert!(matches!(check(&log, marker(1, 4, TransactionEnd::Commit)), Err(ProducerRefusal::InvalidProducerEpoch { .. })));
    assert_eq!(check(&log, marker(1, 5, TransactionEnd::Commit)), Ok(()));
    log.end_transaction(marker(1, 5, TransactionEnd::Commit));
    let old = Marker { coordinator_epoch: 2, ..marker(1, 5, TransactionEnd::Commit) };
    assert!(matches!(check(&log, old), Err(ProducerRefusal::CoordinatorFenced { current: 3, found: 2, .. })));
}

#[test]
fn silent_producers_expire_unless_in_a_transaction() {
    let mut log = Appender::new();
    log.append(data(1, 0, 0, 1));
    log.append(in_transaction(data(2, 0, 0, 1)));
    log.producers.expire(TimestampMs(1000 + 500), 501);
    assert_eq!(log.producers.len(), 2);
    log.producers.expire(TimestampMs(1000 + 500), 500);
    assert_eq!(log.producers.iter().map(|(id, _)| id.get()).collect::<Vec<_>>(), [2]);
}

#[test]
fn snapshots_read_back_what_they_keep() {
    let mut log = Appender::new();
    log.append(data(1, 2, 0, 10));
    log.append(data(1, 2, 10, 5));
    log.append(in_transaction(data(7, 0, 0, 5)));
    log.end_transaction(marker(8, 1, TransactionEnd::Commit));
    let file = log.producers.encode();
    assert_eq!(file.len(), 10 + 3 * 46);
    let mut read = Producers::decode(&file).unwrap();
    assert_eq!(read.encode(), file);
    assert_eq!(read.last_stable(Offset(21)), Offset(15));
    assert!(matches!(
        read.check(&data(1, 2, 10, 5), UnknownProducer::Accept),
        Ok(ProducerCheck::Duplicate { base_offset: Offset(10), .. })
    ));
    assert!(matches!(read.check(&data(1, 2, 0, 10), UnknownProducer::Accept), Err(ProducerRefusal::OutOfOrderSequence { .. })));
    assert_eq!(read.check(&data(8, 1, 0, 1), UnknownProducer::Accept), Ok(ProducerCheck::New), "known by its marker only");
    assert_eq!(Producers::decode(&Producers::default().encode()), Ok(Producers::default()));
}

#[test]
fn damaged_snapshots_are_refused() {
    let mut log = Appender::new();
    log.append(data(1, 2, 0, 10));
    let file = log.producers.encode();
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        assert!(Producers::decode(&damaged).is_err(), "byte {at}");
        assert!(Producers::decode(&file[..at]).is_err(), "cut at {at}");
    }
}

#[test]
fn a_snapshot_that_has_a_producer_or_a_transaction_twice_is_refused() {
    let mut log = Appender::new();
    log.append(in_transaction(data(1, 0, 0, 1)));
    log.append(in_transaction(data(2, 0, 0, 1)));
    let file = log.producers.encode();
    // Producer id and, at the end of an entry of 46 bytes, the first offset of the open transaction.
    for field in [10..18, 48..56] {
        let mut twice = file.clone();
        twice.copy_within(field.clone(), field.start + 46);
        let checksum = crc32c::crc32c(&twice[6..]);
        twice[2..6].copy_from_slice(&checksum.to_be_bytes());
        assert_eq!(Producers::decode(&twice), Err(snapshot::SnapshotError::BadEntry(1)));
    }
}

#[test]
fn what_a_snapshot_has_no_place_for_is_told_beside_it() {
    let mut log = Appender::new();
    for sequence in 0..7 {
        log.append(data(1, 0, sequence * 2, 2));
    }
    log.append(data(2, 0, 0, 1));
    log.append(in_transaction(data(3, 0, 0, 1)));
    let (file, earlier) = (log.producers.encode(), log.producers.encode_earlier());
    let mut read = Producers::decode(&file).unwrap();
    assert_eq!(read.take_earlier(&earlier), Some(()));
    assert_eq!(read, log.producers);
    for at in 1..earlier.len() {
        assert_eq!(Producers::decode(&file).unwrap().take_earlier(&earlier[..at]), None, "cut at {at}");
    }
    assert_eq!(Producers::default().take_earlier(&earlier), None, "of another state");
    assert_eq!(read.take_earlier(&earlier), None, "twice");
}

/// Whoever invents producers may push out the memory of those silent for long, and no more than that.
#[test]
fn those_silent_for_longest_are_forgotten_when_there_are_too_many() {
    let mut log = Appender::new();
    log.append(in_transaction(data(1, 0, 0, 1)));
    log.append(data(2, 0, 0, 1));
    log.append(data(3, 0, 0, 1));
    for producer in 4..=PRODUCERS_MAX as i64 {
        log.append(data(producer, 0, 0, 1));
    }
    log.append(data(3, 0, 1, 1));
    assert_eq!(log.producers.len(), PRODUCERS_MAX);
    let before = log.producers.clone();
    log.append(data(1_000_000, 0, 0, 1));
    assert!(log.producers.len() <= PRODUCERS_MAX / 2 + 2, "{}", log.producers.len());
    assert!(matches!(log.check(data(3, 0, 1, 1)), Ok(ProducerCheck::Duplicate { .. })), "it spoke lately");
    assert!(matches!(log.check(in_transaction(data(1, 0, 0, 1))), Ok(ProducerCheck::Duplicate { .. })), "its transaction is open");
    assert_eq!(log.check(data(2, 0, 7, 1)), Ok(ProducerCheck::New), "silent for longest");
    // A replay from a snapshot forgets the same.
    let mut replayed = Appender { producers: Producers::decode(&before.encode()).unwrap(), end: log.end - 1 };
    replayed.append(data(1_000_000, 0, 0, 1));
    assert_eq!(replayed.producers.encode(), log.producers.encode());
}
