use super::*;
use crate::types::{Offset, ProducerId, TimestampMs};

const INTERVAL: u32 = 100;

/// Batches of `len` bytes with ten offsets each, one after another.
fn offset_index(batches: u32, len: u32) -> OffsetIndex {
    let mut index = OffsetIndex::default();
    for n in 0..batches {
        index.on_batch(n * 10, n * 10 + 9, n * len, len, INTERVAL);
    }
    index
}

#[test]
fn entries_are_where_kafka_puts_them() {
    let small = offset_index(10, 30);
    let entries: Vec<_> = small.entries.held().iter().map(|e| (e.last, e.position)).collect();
    assert_eq!(entries, [(49, 120), (89, 240)], "when more than the interval was written since the last entry");
    let large = offset_index(4, 101);
    let entries: Vec<_> = large.entries.held().iter().map(|e| (e.last, e.position)).collect();
    assert_eq!(entries, [(19, 101), (29, 202), (39, 303)], "every batch but the first, once batches pass the interval");
}

#[test]
fn offset_entries_read_back() {
    let index = offset_index(10, 30);
    let unwritten = index.entries.unwritten(|_| true);
    assert_eq!(unwritten.bytes, [0, 0, 0, 49, 0, 0, 0, 120, 0, 0, 0, 89, 0, 0, 0, 240]);
    let entries: Vec<OffsetEntry> = decode_all(&unwritten.bytes).unwrap();
    OffsetIndex::check(&entries, 300).unwrap();
    assert_eq!(entries[1].base(), None, "the file does not tell");
    assert!(OffsetIndex::check(&entries, 240).is_err(), "an entry beyond the log");
    assert!(decode_all::<OffsetEntry>(&unwritten.bytes[..9]).is_err());
    assert!(decode_all::<OffsetEntry>(&[0xff; 8]).is_err());
}

#[test]
fn an_offset_is_located_from_memory() {
    let index = offset_index(10, 30);
    assert_eq!(index.locate(5), Located::At(0));
    assert_eq!(index.locate(10), Located::Walk(0));
    assert_eq!(index.locate(40), Located::At(120));
    assert_eq!(index.locate(49), Located::At(120));
    assert_eq!(index.locate(50), Located::Walk(120));
    assert_eq!(index.locate(89), Located::At(240));
    assert_eq!(index.locate(95), Located::Walk(240));
}

#[test]
fn batches_before_a_position_end_below_the_next_entry() {
    let index = offset_index(10, 30);
    assert_eq!(index.offset_beyond(30), Some(40));
    assert_eq!(index.offset_beyond(120), Some(40));
    assert_eq!(index.offset_beyond(121), Some(80));
    assert_eq!(index.offset_beyond(241), None);
    let mut of_file = OffsetIndex::of(Entries::in_file(2));
    of_file.entries.fill(&index.entries.unwritten(|_| true).bytes).unwrap();
    assert_eq!(of_file.offset_beyond(120), Some(49), "the file tells the last offset only");
}

#[test]
fn an_index_of_a_file_is_loaded_and_learns() {
    let full = offset_index(10, 30);
    let file = full.entries.unwritten(|_| true).bytes;
    let mut index = OffsetIndex::of(Entries::in_file(2));
    assert!(!index.on_batch(80, 89, 240, 30, INTERVAL), "the walk that follows begins with the last entry's batch");
    assert!(!index.on_batch(90, 99, 270, 30, INTERVAL));
    assert_eq!(index.locate(45), Located::NotLoaded);
    index.entries.fill(&file).unwrap();
    assert_eq!(index.locate(45), Located::Probe { guess: 120, from: 0 });
    index.learn(120, 40, 49);
    assert_eq!(index.locate(45), Located::At(120));
    assert_eq!(index.locate(39), Located::Walk(0));
    index.learn(0, 0, 9);
    assert_eq!(index.locate(9), Located::At(0));
    assert!(!index.on_batch(100, 109, 300, 30, INTERVAL), "90 bytes since the last entry");
    assert!(!index.on_batch(110, 119, 330, 30, INTERVAL), "and 90 is not more than 100");
    assert!(index.on_batch(120, 129, 360, 30, INTERVAL));
}

#[test]
fn boundaries_and_ends() {
    let index = offset_index(4, 101);
    assert_eq!(index.boundary_at_most(302), Some(202));
    assert_eq!(index.boundary_at_most(100), None);
    assert_eq!(index.boundary_after(101), Some(202));
    assert_eq!(index.boundary_after(303), None);
    assert_eq!(index.batch_len(0), Some(101));
    assert_eq!(index.batch_len(101), Some(101));
    assert_eq!(index.batch_len(303), None);
    assert_eq!(index.end_below(20), Some((202, true)));
    assert_eq!(index.end_below(25), Some((202, false)));
    assert_eq!(index.end_below(5), None);
    let sparse = offset_index(10, 30);
    assert_eq!(sparse.batch_len(0), None, "batches without an entry lie between");
    assert_eq!(sparse.batch_len(120), None);
}

#[test]
fn what_is_written_can_be_shed_and_what_is_not_stays() {
    let mut index = offset_index(10, 30);
    assert!(!index.entries.shed());
    let first = index.entries.unwritten(|e| e.last < 60);
    assert_eq!((first.position, first.count), (0, 1));
    index.entries.note_written(1);
    let second = index.entries.unwritten(|_| true);
    assert_eq!((second.position, second.count), (8, 1));
    index.entries.note_written(1);
    assert!(index.entries.shed());
    assert_eq!((index.entries.len(), index.entries.held().len()), (2, 0));
    assert_eq!(index.locate(95), Located::NotLoaded);
    assert_eq!(index.locate(9), Located::At(0), "the first batch is remembered");
    index.on_batch(100, 109, 300, 200, INTERVAL);
    index.on_batch(110, 119, 500, 30, INTERVAL);
    assert_eq!(index.locate(112), Located::At(500));
    assert_eq!(index.locate(105), Located::NotLoaded);
}

#[test]
fn a_cut_forgets_what_lies_behind() {
    let mut index = offset_index(10, 30);
    index.entries.note_written(2);
    index.cut(210);
    assert_eq!(index.entries.len(), 1);
    assert_eq!(index.entries.written(), 1);
    assert_eq!(index.locate(70), Located::Walk(120));
    assert!(!index.on_batch(70, 79, 210, 30, INTERVAL));
    assert!(index.on_batch(80, 89, 240, 30, INTERVAL), "the distance since the last entry is kept");
    index.cut(0);
    assert_eq!(index.locate(0), Located::Walk(0));
}

#[test]
fn time_entries_rise_and_close_with_the_largest() {
    let mut index = TimeIndex::default();
    index.on_batch(TimestampMs(50), 9, false);
    index.on_batch(TimestampMs(40), 19, true);
    index.on_batch(TimestampMs(45), 29, true);
    index.on_batch(TimestampMs(60), 39, false);
    index.add_largest();
    index.add_largest();
    let entries: Vec<_> = index.entries.held().iter().map(|e| (e.timestamp.get(), e.last)).collect();
    assert_eq!(entries, [(50, 9), (60, 39)]);
    assert_eq!(index.floor(TimestampMs(50)), None);
    assert_eq!(index.floor(TimestampMs(51)), Some(9));
    assert_eq!(index.floor(TimestampMs(99)), Some(39));
    let file = index.entries.unwritten(|_| true).bytes;
    assert_eq!(file.len(), 24);
    let read: Vec<TimeEntry> = decode_all(&file).unwrap();
    TimeIndex::check(&read).unwrap();
    assert_eq!(read, index.entries.held());
    index.cut(39);
    assert_eq!(index.largest(), LargestTimestamp::Of(TimeEntry { timestamp: TimestampMs(50), last: 9 }));
}

#[test]
fn batches_without_a_timestamp_get_no_time_entry() {
    let mut index = TimeIndex::default();
    index.on_batch(TimestampMs::NONE, 9, true);
    index.add_largest();
    assert!(index.entries.is_empty());
    assert_eq!(index.largest(), LargestTimestamp::None);
}

#[test]
fn aborted_transactions_read_back() {
    let entry = AbortedTransaction { producer_id: ProducerId(7), first: Offset(10), last: Offset(20), last_stable: Offset(21) };
    let mut bytes = Vec::new();
    entry.encode(&mut bytes);
    assert_eq!(bytes.len(), 34);
    let read: Vec<AbortedTransaction> = decode_all(&bytes).unwrap();
    assert_eq!(read, [entry]);
    AbortedTransaction::check(&read, Offset(5)).unwrap();
    assert!(AbortedTransaction::check(&read, Offset(21)).is_err());
    assert!(AbortedTransaction::check(&[entry, entry], Offset(5)).is_err());
    bytes[1] = 1;
    assert!(decode_all::<AbortedTransaction>(&bytes).is_err(), "an unknown version");
    assert!(decode_all::<AbortedTransaction>(&[0; 34]).is_err(), "zeros, as a loss of power may leave them");
}

#[test]
fn entries_are_in_order_up_to_zeros_or_the_half_of_one() {
    let zero = TimeEntry { timestamp: TimestampMs(0), last: 0 };
    let times = [TimeEntry { timestamp: TimestampMs(70), last: 4 }, TimeEntry { timestamp: TimestampMs(90), last: 9 }];
    assert_eq!(TimeIndex::ordered(&times), 2);
    assert_eq!(TimeIndex::ordered(&[times[0], times[1], zero]), 2);
    assert_eq!(TimeIndex::ordered(&[times[0], TimeEntry { timestamp: TimestampMs(95), last: 0 }]), 1);
    let first = TimeEntry { timestamp: TimestampMs(70), last: 0 };
    assert_eq!(TimeIndex::ordered(&[first, TimeEntry { timestamp: TimestampMs(95), last: 0 }]), 1);
    let offsets = [OffsetEntry::new(3, 4, 100), OffsetEntry::new(8, 9, 200)];
    assert_eq!(OffsetIndex::ordered(&offsets, 300), 2);
    assert_eq!(OffsetIndex::ordered(&[offsets[0], OffsetEntry::new(8, 9, 0)], 300), 1);
    assert_eq!(OffsetIndex::ordered(&[OffsetEntry::new(0, 0, 0), offsets[1]], 300), 0);
}

#[test]
fn the_largest_timestamp_of_an_index_read_later_is_its_last_entrys() {
    let entries = [TimeEntry { timestamp: TimestampMs(10), last: 1 }, TimeEntry { timestamp: TimestampMs(20), last: 3 }];
    let mut file = Vec::new();
    entries.iter().for_each(|entry| entry.encode(&mut file));
    let mut times = TimeIndex::of(Entries::in_file(2));
    assert_eq!(times.largest(), LargestTimestamp::NotLoaded);
    times.entries.fill(&file).unwrap();
    assert_eq!(times.largest(), LargestTimestamp::Of(entries[1]));
}
