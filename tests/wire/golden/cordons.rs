//! DescribeLogDirs 5, which the codec of the tests does not have: version 4, with a byte more for each directory, whether it is cordoned.

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;

/// The version that tells.
pub const TOLD_FROM: i16 = 5;

pub fn are_told(api: i16, version: i16) -> bool {
    api == ApiKey::DescribeLogDirs as i16 && version >= TOLD_FROM
}

/// The request, in the version before: it has the same bytes.
pub fn as_before(request: &Bytes) -> Bytes {
    let mut bytes = BytesMut::from(&request[..]);
    bytes[2..4].copy_from_slice(&(TOLD_FROM - 1).to_be_bytes());
    bytes.freeze()
}

/// The answer as version 4 has it, and the bytes that are not in it.
pub fn take(frame: &Bytes) -> (Bytes, Vec<bool>) {
    let mut walk = Walk { left: frame.clone(), kept: BytesMut::new(), cordoned: Vec::new() };
    // Correlation id, no tags; throttle time, error.
    walk.keep(4 + 1 + 4 + 2);
    for _ in 0..walk.count() {
        walk.keep(2);
        walk.string();
        for _ in 0..walk.count() {
            walk.string();
            for _ in 0..walk.count() {
                walk.keep(4 + 8 + 8 + 1 + 1);
            }
            walk.keep(1);
        }
        walk.keep(8 + 8);
        let cordoned = walk.left.get_u8();
        walk.cordoned.push(cordoned == 1);
        walk.keep(1);
    }
    walk.keep(1);
    assert!(walk.left.is_empty(), "{} bytes left over", walk.left.len());
    (walk.kept.freeze(), walk.cordoned)
}

struct Walk {
    left: Bytes,
    kept: BytesMut,
    cordoned: Vec<bool>,
}

impl Walk {
    fn keep(&mut self, len: usize) {
        let bytes = self.left.split_to(len);
        self.kept.extend_from_slice(&bytes);
    }

    /// A compact length, less the one that stands for null.
    fn count(&mut self) -> usize {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.left[0];
            self.keep(1);
            value |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return value - 1;
            }
        }
    }

    fn string(&mut self) {
        let len = self.count();
        self.keep(len);
    }
}
