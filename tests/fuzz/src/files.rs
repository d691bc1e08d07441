//! The small files of a log directory and of a partition, and the names in both. What reads back is written again and must read the same.
//!
//! ```text
//!   0 which file, and bit 7: mend its CRC | 1.. its bytes
//! ```

use ottla::storage::checkpoint::{self, decode_epochs, decode_offsets};
use ottla::storage::identity::{self, LogDirectory};
use ottla::storage::index::{AbortedTransaction, Entry, OffsetEntry, OffsetIndex, TimeEntry, TimeIndex, decode_all};
use ottla::storage::layout::{PartitionDirectory, SegmentFile, is_topic_name};
use ottla::storage::producer::Producers;
use ottla::storage::producer::snapshot::SnapshotError;
use ottla::types::{BrokerEpoch, LeaderEpoch, NodeId, Offset, ProducerId, TimestampMs, TopicId};

use crate::Target;

/// A line of a checkpoint becomes an entry; an entry of a snapshot a producer with its last batches.
pub const TARGET: Target = Target { name: "files", run, seeds, held_max: 64 << 10, held_per_byte: 64 };

const MEND: u8 = 1 << 7;

const READERS: [fn(&[u8]); 10] =
    [offsets, epochs, log_directory, partition_metadata, clean_shutdown, offset_index, time_index, transaction_index, producers, names];

fn run(input: &[u8]) {
    let [which, file @ ..] = input else { return };
    let mut file = file.to_vec();
    if which & MEND != 0
        && let Err(SnapshotError::BadChecksum { computed, .. }) = Producers::decode(&file)
    {
        file[2..6].copy_from_slice(&computed.to_be_bytes());
    }
    READERS[usize::from(which & !MEND) % READERS.len()](&file);
}

fn offsets(file: &[u8]) {
    if let Ok(entries) = decode_offsets(file) {
        assert_eq!(decode_offsets(&checkpoint::encode_offsets(&entries)), Ok(entries));
    }
}

fn epochs(file: &[u8]) {
    let Ok(mut epochs) = decode_epochs(file) else { return };
    assert_eq!(decode_epochs(&checkpoint::encode_epochs(&epochs)).as_ref(), Ok(&epochs));
    let entries = epochs.entries();
    assert!(entries.windows(2).all(|pair| pair[0].epoch < pair[1].epoch && pair[0].start < pair[1].start), "{entries:?}");
    let asked: Vec<_> = entries.iter().copied().chain(None).collect();
    for entry in asked {
        assert_eq!(epochs.at(entry.start), Some(entry.epoch));
        let (_, end) = epochs.end_offset_for(entry.epoch, Offset(i64::MAX));
        assert!(end > entry.start || entry.start == Offset(i64::MAX));
        let _ = epochs.end_offset_for(LeaderEpoch(entry.epoch.get() - 1), Offset(i64::MAX));
    }
    if let Some(middle) = epochs.entries().get(epochs.entries().len() / 2).copied() {
        epochs.truncate_end(middle.start.plus(1));
        epochs.truncate_start(middle.start);
        assert_eq!(epochs.entries(), [middle]);
    }
}

fn log_directory(file: &[u8]) {
    if let Ok(identity) = LogDirectory::decode(file) {
        assert_eq!(LogDirectory::decode(&identity.encode()), Ok(identity));
    }
}

fn partition_metadata(file: &[u8]) {
    if let Ok(id) = identity::decode_partition(file) {
        assert_eq!(identity::decode_partition(&identity::encode_partition(id)), Ok(id));
    }
}

fn clean_shutdown(file: &[u8]) {
    let epoch = identity::decode_clean_shutdown(file);
    assert_eq!(identity::decode_clean_shutdown(&identity::encode_clean_shutdown(epoch)), epoch);
}

/// All entries, if all of them are some; and that they are written as they were read.
fn entries<E: Entry>(file: &[u8]) -> Option<Vec<E>> {
    let entries: Vec<E> = decode_all(file).ok()?;
    let mut again = Vec::new();
    entries.iter().for_each(|entry| entry.encode(&mut again));
    assert_eq!(again, file);
    Some(entries)
}

fn offset_index(file: &[u8]) {
    let Some(entries) = entries::<OffsetEntry>(file) else { return };
    if OffsetIndex::check(&entries, u64::MAX).is_err() {
        return;
    }
    let mut index = OffsetIndex::of(ottla::storage::index::Entries::read(entries.clone()));
    for entry in &entries {
        let _ = (index.locate(entry.last), index.end_below(entry.last), index.batch_len(entry.position));
        let _ = (index.boundary_at_most(entry.position.into()), index.boundary_after(entry.position));
    }
    if let Some(middle) = entries.get(entries.len() / 2) {
        index.cut(middle.position);
        assert_eq!(index.entries.len(), entries.len() / 2);
    }
}

fn time_index(file: &[u8]) {
    let Some(entries) = entries::<TimeEntry>(file) else { return };
    if TimeIndex::check(&entries).is_err() {
        return;
    }
    let mut index = TimeIndex::of(ottla::storage::index::Entries::read(entries.clone()));
    for entry in &entries {
        let _ = index.floor(entry.timestamp);
    }
    if let Some(middle) = entries.get(entries.len() / 2) {
        index.cut(middle.last);
        let _ = index.largest();
    }
}

fn transaction_index(file: &[u8]) {
    if let Some(entries) = entries::<AbortedTransaction>(file) {
        let _ = AbortedTransaction::check(&entries, Offset::ZERO);
    }
}

fn producers(file: &[u8]) {
    let Ok(mut producers) = Producers::decode(file) else { return };
    assert_eq!(Producers::decode(&producers.encode()).map(|again| again.encode()), Ok(producers.encode()));
    let open = producers.iter().filter_map(|(_, producer)| producer.open_transaction()).min();
    let end = Offset(i64::MAX);
    assert_eq!(producers.last_stable(end), open.unwrap_or(end), "the last stable offset is that of the first open transaction");
    producers.expire(TimestampMs(1_700_000_000_000), 1000);
}

fn names(file: &[u8]) {
    let Ok(name) = std::str::from_utf8(file) else { return };
    if let Some(parsed) = SegmentFile::parse(name) {
        assert_eq!(parsed.name(), name);
    }
    if let Some(parsed) = PartitionDirectory::parse(name) {
        assert!(is_topic_name(parsed.topic.as_str()) && parsed.partition.get() >= 0, "{parsed:?}");
    }
    if let Ok(id) = name.parse::<TopicId>() {
        assert_eq!(id.to_string().parse::<TopicId>().ok(), Some(id));
    }
}

fn encoded<E: Entry>(entries: &[E]) -> Vec<u8> {
    let mut file = Vec::new();
    entries.iter().for_each(|entry| entry.encode(&mut file));
    file
}

fn seeds() -> Vec<Vec<u8>> {
    let id = TopicId::from_bits(0x1234_5678_9abc_4ef0_8fed_cba9_8765_4321);
    let identity = LogDirectory { cluster_id: "Som3Clu5ter=:Id".into(), node_id: NodeId(7), directory_id: Some(id) };
    let offset_entries = [OffsetEntry::new(8, 9, 4200), OffsetEntry::new(17, 20, 8500), OffsetEntry::new(21, 21, 12_900)];
    let time_entries = [TimeEntry { timestamp: TimestampMs(5), last: 9 }, TimeEntry { timestamp: TimestampMs(17), last: 20 }];
    let aborted = AbortedTransaction { producer_id: ProducerId(9), first: Offset(3), last: Offset(8), last_stable: Offset(9) };
    let files: [(u8, Vec<u8>); 17] = [
        (0, b"0\n3\norders 0 1523\na.b_c-1 12 9223372036854775807\norders 1 77\n".to_vec()),
        (0, b"0\n0\n".to_vec()),
        (1, b"0\n3\n1 0\n4 170\n7 171\n".to_vec()),
        (1, b"0\n3\n4 170\n1 180\n7 171\n".to_vec()),
        (2, identity.encode()),
        (2, b"#\n#Mon Nov 02 10:00:00 UTC 2026\ncluster.id=abc\\=d\nversion=1\nnode.id=3\n".to_vec()),
        (3, identity::encode_partition(id)),
        (4, identity::encode_clean_shutdown(BrokerEpoch(17))),
        (5, encoded(&offset_entries)),
        (6, encoded(&time_entries)),
        (7, encoded(&[aborted])),
        (8, snapshot()),
        (8, Producers::default().encode()),
        (9, b"00000000000000000042.timeindex.deleted".to_vec()),
        (9, b"a-b.c_d-7-12".to_vec()),
        (9, b"orders-0.0123456789abcdef0123456789abcdef-delete".to_vec()),
        (9, id.to_string().into_bytes()),
    ];
    files.into_iter().map(|(which, file)| [&[if which == 8 { which | MEND } else { which }][..], &file].concat()).collect()
}

/// The snapshot of a producer with an open transaction and of one without.
pub fn snapshot() -> Vec<u8> {
    use ottla::storage::producer::{ProducerAction, SequencedBatch};
    use ottla::types::ProducerEpoch;
    let mut producers = Producers::default();
    for (producer, transactional) in [(9, true), (11, false)] {
        let batch = SequencedBatch {
            producer_id: ProducerId(producer),
            epoch: ProducerEpoch(1),
            base_sequence: 0,
            last_offset_delta: 1,
            transactional,
        };
        producers.on_batch(&ProducerAction::Data(batch), Offset(producer), TimestampMs(1_700_000_000_000));
    }
    producers.encode()
}
