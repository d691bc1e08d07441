use super::*;
use crate::wire::batch::Codec;

/// Batches of one to three records of mixed sizes, over several segments.
async fn filled(world: &MemoryWorld, settings: LogSettings, batches: i32) -> Log<MemoryWorld> {
    let log = new_log(world, settings).await;
    for n in 0..batches {
        append(&log, batch_at(1 + n % 3, 10 + (n as usize * 37) % 300, TimestampMs(NOW.get() + i64::from(n) * 10)));
    }
    written(&log).await;
    log
}

#[test]
fn every_offset_is_found_whatever_is_in_memory() {
    for reopened in [false, true] {
        run(20, |world| async move {
            let mut log = filled(&world, small(), 150).await;
            let all = read_all(&log, Offset(0), log.end(), 1 << 20).await;
            if reopened {
                log = reopen(&world, log).await;
            }
            for from in 0..log.end().get() {
                let range = log.plan_read(Offset(from), log.end(), 1).await.unwrap().unwrap();
                let bytes = read_range(&log, &range).await;
                let header = BatchHeader::parse(&bytes).unwrap();
                assert!(header.base_offset.get() <= from && from <= header.last_offset().get());
                assert_eq!(bytes.len(), header.total_len(), "one byte was asked for: one batch");
            }
            assert_eq!(read_all(&log, Offset(0), log.end(), 700).await, all);
            assert!(matches!(log.plan_read(log.end().plus(1), log.end(), 1).await, Err(ReadError::OutOfRange { .. })));
            assert!(log.plan_read(log.end(), log.end(), 1).await.unwrap().is_none());
        });
    }
}

#[test]
fn reads_end_where_they_are_told_to() {
    run(21, |world| async move {
        let log = filled(&world, small(), 60).await;
        let all = read_all(&log, Offset(0), log.end(), 1 << 20).await;
        for below in 1..log.end().get() {
            let read = read_all(&log, Offset(0), Offset(below), 1 << 20).await;
            let expected: Vec<_> = offsets_in(&all).into_iter().take_while(|(_, last)| *last < below).collect();
            assert_eq!(offsets_in(&read), expected, "below {below}");
        }
    });
}

#[test]
fn a_reader_at_the_tail_is_answered_from_memory() {
    run(22, |world| async move {
        let log = new_log(&world, LogSettings { segment_bytes: 1 << 20, ..small() }).await;
        let mut from = Offset(0);
        for n in 0..200 {
            append(&log, batch(1 + n % 2, 10 + (n as usize * 31) % 600));
            written(&log).await;
            if n % 3 == 0 {
                continue;
            }
            match log.try_plan_read(from, log.end(), 1 << 20) {
                Planned::Ready(range) => {
                    let bytes = read_range(&log, &range).await;
                    assert_eq!(offsets_in(&bytes).first().unwrap().0, from.get());
                    from = Offset(offsets_in(&bytes).last().unwrap().1 + 1);
                }
                _ => panic!("a look-up at offset {from}, append {n}"),
            }
            assert!(matches!(log.try_plan_read(from, log.end(), 1 << 20), Planned::Empty));
        }
        assert!(matches!(log.try_plan_read(Offset(-1), log.end(), 1), Planned::OutOfRange { .. }));
    });
}

#[test]
fn a_sequential_reader_of_large_batches_needs_no_look_up() {
    run(23, |world| async move {
        let log = new_log(&world, LogSettings { segment_bytes: 1 << 20, index_interval_bytes: 256, ..small() }).await;
        for _ in 0..100 {
            append(&log, batch(3, 200));
        }
        written(&log).await;
        let mut from = Offset(0);
        while from < log.end() {
            let Planned::Ready(range) = log.try_plan_read(from, log.end(), 2000) else { panic!("a look-up at {from}") };
            from = Offset(offsets_in(&read_range(&log, &range).await).last().unwrap().1 + 1);
        }
    });
}

#[test]
fn gaps_between_batches_and_segments_are_stepped_over() {
    run(24, |world| async move {
        let log = new_log(&world, LogSettings { compact: true, ..small() }).await;
        let at = |base: i64| {
            let mut builder = BatchBuilder::new().base_offset(Offset(base)).leader_epoch(EPOCH);
            builder.push(NOW, None, Some(&[b'v'; 1300]), &[]);
            builder.build()
        };
        for base in [5, 20, 40, 100, 140, 3_000_000_000] {
            log.append_as_follower(at(base), NOW).unwrap();
        }
        written(&log).await;
        assert!(log.segment_count() > 2);
        for (from, found) in [(0, 5), (5, 5), (6, 20), (41, 100), (99, 100), (101, 140), (141, 3_000_000_000)] {
            let range = log.plan_read(Offset(from), log.end(), 1).await.unwrap().unwrap();
            assert_eq!(offsets_in(&read_range(&log, &range).await), [(found, found)], "from {from}");
        }
        let log = reopen(&world, log).await;
        for (from, found) in [(0, 5), (41, 100), (141, 3_000_000_000)] {
            let range = log.plan_read(Offset(from), log.end(), 1).await.unwrap().unwrap();
            assert_eq!(offsets_in(&read_range(&log, &range).await), [(found, found)], "from {from}");
        }
    });
}

#[test]
fn index_files_that_do_not_fit_are_made_anew() {
    run(25, |world| async move {
        let log = filled(&world, small(), 150).await;
        let all = read_all(&log, Offset(0), log.end(), 1 << 20).await;
        let settings = log.settings();
        log.close().await.unwrap();
        let index = world.open(Path::new("/logs/topic-0/00000000000000000000.index"), crate::io::OpenMode::Existing).await.unwrap();
        index.write_at(0, vec![Bytes::from_static(&[0; 16])]).await.result.unwrap();
        let (log, recovered) = Log::open(&world, open_log(settings, Shutdown::Clean)).await.unwrap();
        assert_eq!(recovered.bytes_cut, 0);
        assert_eq!(read_all(&log, Offset(0), log.end(), 900).await, all);
        assert_eq!(log.offset_for_timestamp(TimestampMs(NOW.get() + 20), log.end()).await.unwrap().unwrap().1, Offset(3));
        log.close().await.unwrap();
    });
}

#[test]
fn a_timestamp_finds_the_first_record_that_is_not_older() {
    for reopened in [false, true] {
        run(26, |world| async move {
            let mut log = filled(&world, small(), 120).await;
            let mut records = Vec::new();
            for n in 0..120i64 {
                for r in 0..1 + n % 3 {
                    records.push(NOW.get() + n * 10 + r);
                }
            }
            if reopened {
                log = reopen(&world, log).await;
            }
            for target in (NOW.get() - 5)..(NOW.get() + 1210) {
                let found = log.offset_for_timestamp(TimestampMs(target), log.end()).await.unwrap();
                let expected = records.iter().position(|at| *at >= target);
                assert_eq!(found.map(|f| (f.0.get(), f.1.get())), expected.map(|at| (records[at], at as i64)), "target {target}");
            }
            let (at, offset, epoch) = log.max_timestamp(log.end()).await.unwrap().unwrap();
            assert_eq!((at.get(), offset.get(), epoch), (*records.iter().max().unwrap(), records.len() as i64 - 1, EPOCH));
            assert_eq!(log.offset_for_timestamp(TimestampMs(NOW.get() + 500), Offset(3)).await.unwrap(), None, "beyond what may be read");
        });
    }
}

#[test]
fn a_timestamp_finds_its_record_in_a_compressed_batch() {
    run(27, |world| async move {
        let log = new_log(&world, small()).await;
        let plain = batch_at(20, 30, NOW);
        for codec in [Codec::Gzip, Codec::Lz4, Codec::Snappy, Codec::Zstd] {
            let body = crate::wire::compression::compress(codec, Default::default(), &plain.bytes[batch::RECORDS_AT..]).unwrap();
            let mut bytes = plain.bytes[..batch::RECORDS_AT].to_vec();
            bytes.extend_from_slice(&body);
            let length = (bytes.len() - batch::LENGTH_EXCLUDES) as i32;
            bytes[batch::LENGTH_AT..][..4].copy_from_slice(&length.to_be_bytes());
            bytes[batch::ATTRIBUTES_AT..][..2].copy_from_slice(&codec.bits().to_be_bytes());
            let crc = crc32c::crc32c(&bytes[batch::ATTRIBUTES_AT..]);
            bytes[batch::CRC_AT..][..4].copy_from_slice(&crc.to_be_bytes());
            let start = append(&log, whole(Bytes::from(bytes))).base_offset;
            log.flush().await.unwrap();
            written(&log).await;
            log.advance_start(start);
            let found = log.offset_for_timestamp(TimestampMs(NOW.get() + 7), log.end()).await.unwrap().unwrap();
            assert_eq!((found.0.get(), found.1), (NOW.get() + 7, start.plus(7)), "{codec:?}");
        }
    });
}

/// A batch may decompress to far more than it is, and is taken up to a limit: up to that limit it is looked into, in a window.
#[test]
fn a_timestamp_finds_its_record_behind_much_that_decompresses_from_little() {
    run(30, |world| async move {
        let roomy = LogSettings { segment_bytes: 1 << 20, decompressed_bytes_max: 4 << 20, ..small() };
        let log = new_log(&world, roomy.clone()).await;
        let mut builder = BatchBuilder::new();
        builder.push(NOW, None, Some(&vec![0; 3 << 20]), &[]);
        builder.push(TimestampMs(NOW.get() + 7), None, Some(b"seven"), &[]);
        for codec in [Codec::Gzip, Codec::Lz4, Codec::Snappy, Codec::Zstd] {
            log.configure(roomy.clone());
            let start = append(&log, whole(builder.clone().build_with(codec, None).unwrap())).base_offset;
            written(&log).await;
            log.advance_start(start);
            let found = log.offset_for_timestamp(TimestampMs(NOW.get() + 5), log.end()).await.unwrap();
            assert_eq!(found, Some((TimestampMs(NOW.get() + 7), start.plus(1), EPOCH)), "{codec:?}");
            log.configure(LogSettings { decompressed_bytes_max: 2 << 20, ..roomy.clone() });
            let refused = log.offset_for_timestamp(TimestampMs(NOW.get() + 5), log.end()).await;
            assert!(matches!(refused, Err(ReadError::BadRecords { .. })), "{codec:?}");
        }
    });
}

#[test]
fn a_reader_of_an_older_segment_is_told_that_it_is_behind() {
    run(31, |world| async move {
        let log = filled(&world, small(), 60).await;
        let bases: Vec<Offset> = log.state().segments.iter().map(|segment| segment.base).collect();
        let (second, last) = (bases[1], *bases.last().unwrap());
        for (from, below, rest) in [
            (Offset(0), log.end(), Rest::InLaterSegment),
            (Offset(last.get() - 1), log.end(), Rest::InLaterSegment),
            (last, log.end(), Rest::InThisSegment),
            (Offset(0), second, Rest::InThisSegment),
            (Offset(0), second.plus(1), Rest::InLaterSegment),
        ] {
            for max_bytes in [1, 1 << 20] {
                let range = log.plan_read(from, below, max_bytes).await.unwrap().unwrap();
                assert_eq!(range.rest, rest, "from {from} below {below}, {max_bytes} bytes");
            }
        }
    });
}

#[test]
fn aborted_transactions_are_told_for_the_range_read() {
    for reopened in [false, true] {
        run(28, |world| async move {
            let mut log = new_log(&world, small()).await;
            let part = |producer: i64, sequence: i32| {
                let mut builder = BatchBuilder::new().producer(ProducerId(producer), ProducerEpoch(0), sequence).transactional();
                builder.push(NOW, None, Some(&[b'v'; 900]), &[]);
                whole(builder.build())
            };
            let marker = |producer: i64, control| {
                whole(BatchBuilder::transaction_marker(control, ProducerId(producer), ProducerEpoch(0), 1, NOW).build())
            };
            for n in 0..8 {
                append(&log, part(1, n * 2));
                append(&log, part(2, n));
                append(&log, part(1, n * 2 + 1));
                append(&log, marker(1, if n % 2 == 0 { ControlType::Abort } else { ControlType::Commit }));
            }
            append(&log, marker(2, ControlType::Abort));
            written(&log).await;
            assert!(log.segment_count() > 3);
            if reopened {
                log = reopen(&world, log).await;
            }
            let told = log.aborted_between(Offset(0), log.end()).await.unwrap();
            let expected: Vec<_> = [0, 8, 16, 24].iter().map(|first| (ProducerId(1), Offset(*first))).collect();
            assert_eq!(told[..4], expected);
            assert_eq!(told[4..], [(ProducerId(2), Offset(1))]);
            let told = log.aborted_between(Offset(9), Offset(16)).await.unwrap();
            assert!(told.contains(&(ProducerId(1), Offset(8))) && !told.contains(&(ProducerId(1), Offset(0))));
            assert!(!told.contains(&(ProducerId(1), Offset(16))), "begins beyond");
            assert_eq!(log.last_stable(log.end()), log.end());
            // Of what lies behind the bytes that are sent nothing is told.
            let range = log.plan_read(Offset(0), log.end(), 1000).await.unwrap().unwrap();
            let beyond = log.offset_beyond(&range, log.end());
            assert!(beyond > Offset(0) && beyond < log.end(), "{beyond}");
            let told = log.aborted_between(Offset(0), beyond).await.unwrap();
            assert!(told.contains(&(ProducerId(1), Offset(0))) && told.iter().all(|(_, first)| *first < beyond), "{told:?} up to {beyond}");
            assert_eq!(log.offset_beyond(&range, Offset(1)), Offset(1), "never behind what the reader may see");
        });
    }
}

/// Index entries far apart do not make reads short, nor the way to where the last one ended long.
#[test]
fn reads_are_as_long_as_asked_for_however_sparse_the_index() {
    run(24, |world| async move {
        let settings = LogSettings { segment_bytes: 1 << 20, index_interval_bytes: 1 << 20, ..small() };
        let log = filled(&world, settings, 600).await;
        let all = read_all(&log, Offset(0), log.end(), 1 << 20).await;
        let (mut from, mut read) = (Offset(0), Vec::new());
        while from < log.end() {
            let range = log.plan_read(from, log.end(), 10_000).await.unwrap().unwrap();
            let bytes = read_range(&log, &range).await;
            assert!(bytes.len() <= 10_000 && (bytes.len() > 8_500 || read.len() + bytes.len() == all.len()), "{} bytes", bytes.len());
            read.extend_from_slice(&bytes);
            from = Offset(offsets_in(&bytes).last().unwrap().1 + 1);
        }
        assert_eq!(read, all);
        assert_eq!(read_all(&log, Offset(0), Offset(100), 10_000).await, read_all(&log, Offset(0), Offset(100), 1 << 20).await);
    });
}

/// Kafka wrote an index entry for each set of batches until 4.0: the last offset of all of them, and where the first begins.
#[test]
fn an_index_entry_for_several_batches_is_a_lower_bound() {
    run(33, |world| async move {
        let log = new_log(&world, LogSettings { segment_bytes: 6000, ..small() }).await;
        for _ in 0..30 {
            append(&log, batch(1, 300));
        }
        written(&log).await;
        let position = log.plan_read(Offset(3), Offset(4), 1).await.unwrap().unwrap().position;
        let next = log.state().segments[1].base;
        let settings = log.settings();
        log.close().await.unwrap();
        let path = SegmentFile::live(Offset(0), SegmentPart::Index).path(Path::new(DIR));
        let bytes = [(next.get() as u32 - 1).to_be_bytes(), (position as u32).to_be_bytes()].concat();
        let file = world.open(&path, crate::io::OpenMode::CreateOrEmpty).await.unwrap();
        file.write_at(0, vec![bytes.into()]).await.result.unwrap();
        let (log, recovered) = Log::open(&world, open_log(settings, Shutdown::Clean)).await.unwrap();
        assert_eq!(recovered.indexes_rebuilt, 0);
        for from in 0..next.get() {
            let range = log.plan_read(Offset(from), log.end(), 400).await.unwrap().unwrap();
            assert_eq!(offsets_in(&read_range(&log, &range).await)[0], (from, from));
        }
    });
}
