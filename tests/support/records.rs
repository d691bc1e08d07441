//! Record batches as bytes: building what a producer sends, and reading what a broker stored. Written from the format's description, on
//! purpose not from the crate's own `wire` layer: the two must agree without having been copied from each other.
//!
//! ```text
//!   0 base offset i64 | 8 length i32 | 12 leader epoch i32 | 16 magic i8 | 17 crc u32 | 21 attributes i16 | 23 last offset delta i32
//!   27 base timestamp i64 | 35 max timestamp i64 | 43 producer id i64 | 51 producer epoch i16 | 53 base sequence i32 | 57 count i32
//!   61 records
//! ```

use bytes::{BufMut, Bytes, BytesMut};

pub const HEADER: usize = 61;

type KeyValue = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Builds one uncompressed batch of format 2.
#[derive(Clone)]
pub struct Batch {
    records: Vec<KeyValue>,
    timestamp: i64,
    /// Id, epoch and first sequence of the batch.
    producer: (i64, i16, i32),
}

impl Batch {
    /// Every record carries this create time.
    pub fn at(timestamp: i64) -> Batch {
        Batch { records: Vec::new(), timestamp, producer: (-1, -1, -1) }
    }

    /// Sent by an idempotent producer.
    pub fn by(mut self, producer_id: i64, epoch: i16, sequence: i32) -> Batch {
        self.producer = (producer_id, epoch, sequence);
        self
    }

    pub fn value(mut self, value: impl AsRef<[u8]>) -> Batch {
        self.records.push((None, Some(value.as_ref().to_vec())));
        self
    }

    pub fn keyed(mut self, key: impl AsRef<[u8]>, value: Option<&[u8]>) -> Batch {
        self.records.push((Some(key.as_ref().to_vec()), value.map(<[u8]>::to_vec)));
        self
    }

    pub fn encode(&self) -> Bytes {
        let mut records = BytesMut::new();
        for (delta, (key, value)) in self.records.iter().enumerate() {
            let mut record = BytesMut::new();
            record.put_i8(0);
            put_varint(&mut record, 0);
            put_varint(&mut record, delta as i64);
            for field in [key, value] {
                match field {
                    Some(bytes) => {
                        put_varint(&mut record, bytes.len() as i64);
                        record.put_slice(bytes);
                    }
                    None => put_varint(&mut record, -1),
                }
            }
            put_varint(&mut record, 0);
            put_varint(&mut records, record.len() as i64);
            records.put_slice(&record);
        }
        let mut tail = BytesMut::new();
        tail.put_i16(0);
        tail.put_i32(self.records.len() as i32 - 1);
        tail.put_i64(self.timestamp);
        tail.put_i64(self.timestamp);
        let (producer_id, epoch, sequence) = self.producer;
        tail.put_i64(producer_id);
        tail.put_i16(epoch);
        tail.put_i32(sequence);
        tail.put_i32(self.records.len() as i32);
        tail.put_slice(&records);
        let mut batch = BytesMut::new();
        batch.put_i64(0);
        batch.put_i32(9 + tail.len() as i32);
        batch.put_i32(-1);
        batch.put_i8(2);
        batch.put_u32(crc32c::crc32c(&tail));
        batch.put_slice(&tail);
        batch.freeze()
    }
}

pub fn put_varint(into: &mut BytesMut, value: i64) {
    let mut zigzag = ((value << 1) ^ (value >> 63)) as u64;
    while zigzag >= 0x80 {
        into.put_u8(zigzag as u8 | 0x80);
        zigzag >>= 7;
    }
    into.put_u8(zigzag as u8);
}

fn take_varint(from: &mut &[u8]) -> Option<i64> {
    let mut zigzag = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = from.split_first()?;
        *from = rest;
        zigzag |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((zigzag >> 1) as i64 ^ -((zigzag & 1) as i64));
        }
    }
    None
}

fn take_bytes<'a>(from: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    let Ok(len) = usize::try_from(take_varint(from)?) else { return Some(None) };
    let (bytes, rest) = from.split_at_checked(len)?;
    *from = rest;
    Some(Some(bytes))
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

/// One stored or fetched batch.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Where its first byte lies in what was walked.
    pub position: usize,
    pub base_offset: i64,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub count: i32,
    pub bytes: Bytes,
}

impl Stored {
    pub fn last_offset(&self) -> i64 {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// What the attributes say, not what the producer was told to do.
    pub fn codec(&self) -> Codec {
        match self.attributes & 7 {
            0 => Codec::None,
            1 => Codec::Gzip,
            2 => Codec::Snappy,
            3 => Codec::Lz4,
            4 => Codec::Zstd,
            other => panic!("codec {other} in the batch at position {}", self.position),
        }
    }

    /// Offsets, keys and values of an uncompressed batch.
    pub fn records(&self) -> Vec<Record> {
        assert_eq!(self.codec(), Codec::None, "only uncompressed batches are read here");
        let mut rest = &self.bytes[HEADER..];
        let mut records = Vec::new();
        for _ in 0..self.count {
            records.push(take_record(&mut rest, self.base_offset).expect("a whole record"));
        }
        assert!(rest.is_empty(), "bytes behind the last record of the batch at position {}", self.position);
        records
    }
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    pub offset: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

fn take_record(from: &mut &[u8], base_offset: i64) -> Option<Record> {
    let len = usize::try_from(take_varint(from)?).ok()?;
    let (mut body, rest) = from.split_at_checked(len)?;
    *from = rest;
    let (_attributes, after) = body.split_first()?;
    body = after;
    take_varint(&mut body)?;
    let offset = base_offset + take_varint(&mut body)?;
    let key = take_bytes(&mut body)?.map(<[u8]>::to_vec);
    let value = take_bytes(&mut body)?.map(<[u8]>::to_vec);
    Some(Record { offset, key, value })
}

/// What a walk over consecutive batches found.
pub struct Walk {
    pub batches: Vec<Stored>,
    /// Bytes behind the last whole batch whose checksum holds; zero in a log that was stopped cleanly.
    pub leftover: usize,
}

fn be<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().unwrap()
}

/// Walks whole, valid batches from the start and stops at the first that is not.
pub fn walk(bytes: &Bytes) -> Walk {
    let mut batches = Vec::new();
    let mut position = 0;
    while let Some(len) = whole_batch(&bytes[position..]) {
        let batch = bytes.slice(position..position + len);
        batches.push(Stored {
            position,
            base_offset: i64::from_be_bytes(be(&batch, 0)),
            attributes: i16::from_be_bytes(be(&batch, 21)),
            last_offset_delta: i32::from_be_bytes(be(&batch, 23)),
            count: i32::from_be_bytes(be(&batch, 57)),
            bytes: batch,
        });
        position += len;
    }
    Walk { batches, leftover: bytes.len() - position }
}

/// Length of the batch at the start, if it is all there and its checksum holds.
fn whole_batch(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < HEADER || bytes[16] != 2 {
        return None;
    }
    let len = 12 + usize::try_from(i32::from_be_bytes(be(bytes, 8))).ok()?;
    let crc = u32::from_be_bytes(be(bytes, 17));
    (len >= HEADER && len <= bytes.len() && crc32c::crc32c(&bytes[21..len]) == crc).then_some(len)
}
