use super::*;

fn body(headers: usize) -> Vec<u8> {
    let headers: Vec<RecordHeader<'_>> =
        (0..headers).map(|index| RecordHeader { key: b"key", value: (index % 2 == 0).then_some(b"value") }).collect();
    let mut body = BytesMut::new();
    put(&mut body, -5, 0, None, Some(&[9; 300]), &headers);
    put(&mut body, i64::MAX, 1, Some(b""), None, &[]);
    body.to_vec()
}

#[test]
fn what_is_put_is_walked() {
    let body = body(3);
    let walked: Vec<_> = records(&body, 2).collect::<Result<_, _>>().unwrap();
    assert_eq!((walked[0].timestamp_delta, walked[0].offset_delta), (-5, 0));
    assert_eq!((walked[0].key, walked[0].value.map(<[u8]>::len)), (None, Some(300)));
    let headers: Vec<_> = walked[0].headers().collect();
    assert_eq!(headers.len(), 3);
    assert_eq!(headers[0], RecordHeader { key: b"key", value: Some(b"value") });
    assert_eq!(headers[1].value, None);
    assert_eq!((walked[1].timestamp_delta, walked[1].key, walked[1].value), (i64::MAX, Some(&b""[..]), None));
}

#[test]
fn every_cut_is_refused() {
    let body = body(2);
    for cut in 0..body.len() {
        let walked: Result<Vec<_>, _> = records(&body[..cut], 2).collect();
        assert!(walked.is_err(), "cut at {cut}");
    }
}

#[test]
fn a_count_that_does_not_fit_is_refused() {
    let body = body(0);
    assert!(matches!(records(&body, 1).last(), Some(Err(RecordError::TrailingBytes { .. }))));
    assert!(matches!(records(&body, 3).last(), Some(Err(RecordError::Truncated { .. }))));
    assert!(matches!(records(&body, -1).last(), Some(Err(RecordError::TrailingBytes { .. }))));
}

#[test]
fn a_record_must_end_where_its_length_says() {
    let mut body = body(0);
    // The second record: one byte more than it has, taken from nowhere.
    let second = body.len() - 16;
    let sound: Result<Vec<_>, _> = records(&body, 2).collect();
    assert!(sound.is_ok());
    body[second] += 2;
    body.push(0);
    assert!(matches!(records(&body, 2).last(), Some(Err(RecordError::BadEnd { .. }))));
    assert!(matches!(records(&[1], 1).last(), Some(Err(RecordError::BadLength { length: -1, .. }))));
    assert!(matches!(records(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 1).last(), Some(Err(RecordError::BadVarint { .. }))));
    // One record of six bytes that announces more headers than its bytes can hold.
    let headers = [12, 0, 0, 0, 1, 1, 20];
    assert!(matches!(records(&headers, 1).last(), Some(Err(RecordError::BadHeaderCount { count: 10, .. }))));
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic_or_set_the_two_walks_apart(bytes in proptest::collection::vec(proptest::arbitrary::any::<u8>(), 0..200), count in -1i32..30) {
        let mut outlined = Vec::new();
        let end = outlines(&bytes, count, |outline| outlined.push(outline));
        let mut walked = Vec::new();
        let mut fault = Ok(());
        for record in records(&bytes, count) {
            match record {
                Ok(record) => {
                    proptest::prop_assert_eq!(record.headers().count(), record.header_count as usize);
                    let (timestamp_delta, offset_delta) = (record.timestamp_delta, record.offset_delta);
                    walked.push(Outline { timestamp_delta, offset_delta, has_key: record.key.is_some() });
                }
                Err(error) => fault = Err(error),
            }
        }
        proptest::prop_assert_eq!((outlined, end), (walked, fault), "both walks see the same");
    }
}
