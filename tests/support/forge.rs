//! Record batches in which any field can be set to what no producer would write; the checksum fits all the same unless it is the lie.

use std::io::Write;

use bytes::{BufMut, Bytes, BytesMut};

use super::records::{Codec, put_varint};

/// A part of a record with a length in front of it.
#[derive(Clone, Debug)]
pub struct Part {
    pub bytes: Option<Vec<u8>>,
    /// What is said of its length, where that is not the truth.
    pub said: Option<i64>,
}

impl Part {
    pub fn null() -> Part {
        Part { bytes: None, said: None }
    }

    pub fn of(bytes: impl AsRef<[u8]>) -> Part {
        Part { bytes: Some(bytes.as_ref().to_vec()), said: None }
    }

    pub fn said(mut self, length: i64) -> Part {
        self.said = Some(length);
        self
    }

    fn put(&self, into: &mut BytesMut) {
        put_varint(into, self.said.unwrap_or_else(|| self.bytes.as_ref().map_or(-1, |bytes| bytes.len() as i64)));
        into.put_slice(self.bytes.as_deref().unwrap_or_default());
    }
}

#[derive(Clone, Debug)]
pub struct Record {
    /// What is said of its length, where that is not the truth.
    pub length: Option<i64>,
    pub attributes: i8,
    pub timestamp_delta: i64,
    pub offset_delta: i64,
    pub key: Part,
    pub value: Part,
    pub headers: Vec<(Part, Part)>,
    pub header_count: Option<i64>,
    /// Behind the headers, within the record's length.
    pub rest: Vec<u8>,
}

impl Record {
    pub fn new(offset_delta: i64, key: Part, value: Part) -> Record {
        Record {
            length: None,
            attributes: 0,
            timestamp_delta: 0,
            offset_delta,
            key,
            value,
            headers: Vec::new(),
            header_count: None,
            rest: Vec::new(),
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Record)) -> Record {
        change(&mut self);
        self
    }

    pub fn put(&self, into: &mut BytesMut) {
        let mut body = BytesMut::new();
        body.put_i8(self.attributes);
        put_varint(&mut body, self.timestamp_delta);
        put_varint(&mut body, self.offset_delta);
        self.key.put(&mut body);
        self.value.put(&mut body);
        put_varint(&mut body, self.header_count.unwrap_or(self.headers.len() as i64));
        for (key, value) in &self.headers {
            key.put(&mut body);
            value.put(&mut body);
        }
        body.put_slice(&self.rest);
        put_varint(into, self.length.unwrap_or(body.len() as i64));
        into.put_slice(&body);
    }
}

/// The bytes of records one after another.
pub fn body(records: &[Record]) -> Bytes {
    let mut body = BytesMut::new();
    for record in records {
        record.put(&mut body);
    }
    body.freeze()
}

#[derive(Clone, Debug)]
pub struct Forged {
    pub base_offset: i64,
    /// What is said of the batch's length, where that is not the truth.
    pub length: Option<i32>,
    pub leader_epoch: i32,
    pub magic: i8,
    pub crc: Option<u32>,
    pub attributes: i16,
    pub last_offset_delta: i32,
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub count: i32,
    pub body: Bytes,
}

impl Forged {
    /// A sound batch around a body of `count` records.
    pub fn around(body: Bytes, count: i32, timestamp: i64) -> Forged {
        Forged {
            base_offset: 0,
            length: None,
            leader_epoch: -1,
            magic: 2,
            crc: None,
            attributes: 0,
            last_offset_delta: count - 1,
            base_timestamp: timestamp,
            max_timestamp: timestamp,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: -1,
            count,
            body,
        }
    }

    /// A sound batch of two records, one without a key and one without a value.
    pub fn sound(timestamp: i64) -> Forged {
        let records = [Record::new(0, Part::null(), Part::of("first")), Record::new(1, Part::of("key"), Part::null())];
        Forged::around(body(&records), 2, timestamp)
    }

    pub fn with(mut self, change: impl FnOnce(&mut Forged)) -> Forged {
        change(&mut self);
        self
    }

    /// Numbers the batch as an idempotent producer does.
    pub fn numbered(mut self, producer_id: i64, epoch: i16, sequence: i32) -> Forged {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (producer_id, epoch, sequence);
        self
    }

    /// The same records, compressed.
    pub fn compressed(mut self, codec: Codec) -> Forged {
        self.body = compress(codec, &self.body);
        self.attributes |= codec as i16;
        self
    }

    pub fn encode(&self) -> Bytes {
        let mut tail = BytesMut::new();
        tail.put_i16(self.attributes);
        tail.put_i32(self.last_offset_delta);
        tail.put_i64(self.base_timestamp);
        tail.put_i64(self.max_timestamp);
        tail.put_i64(self.producer_id);
        tail.put_i16(self.producer_epoch);
        tail.put_i32(self.base_sequence);
        tail.put_i32(self.count);
        tail.put_slice(&self.body);
        let mut batch = BytesMut::new();
        batch.put_i64(self.base_offset);
        batch.put_i32(self.length.unwrap_or(9 + tail.len() as i32));
        batch.put_i32(self.leader_epoch);
        batch.put_i8(self.magic);
        batch.put_u32(self.crc.unwrap_or_else(|| crc32c::crc32c(&tail)));
        batch.put_slice(&tail);
        batch.freeze()
    }
}

/// One compressed block as Kafka's clients write it.
pub fn compress(codec: Codec, input: &[u8]) -> Bytes {
    match codec {
        Codec::None => Bytes::copy_from_slice(input),
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(input).expect("into memory");
            encoder.finish().expect("into memory").into()
        }
        Codec::Snappy => {
            let block = snap::raw::Encoder::new().compress_vec(input).expect("a small block");
            let mut framed = BytesMut::from(&b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01"[..]);
            framed.put_i32(block.len() as i32);
            framed.put_slice(&block);
            framed.freeze()
        }
        Codec::Lz4 => {
            let settings = lz4_flex::frame::FrameInfo::new().block_size(lz4_flex::frame::BlockSize::Max64KB);
            let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(settings, Vec::new());
            encoder.write_all(input).expect("into memory");
            encoder.finish().expect("into memory").into()
        }
        Codec::Zstd => zstd::bulk::compress(input, 3).expect("into memory").into(),
    }
}
