use std::fmt;
use std::str::FromStr;

/// A topic's id (KIP-516): 128 bits, printed as Kafka prints them, in 22 characters of base64url without padding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(u128);

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Characters of a 128-bit id in base64url.
const TEXT_LEN: usize = 22;

impl TopicId {
    /// "No id", as on the wire.
    pub const ZERO: TopicId = TopicId(0);

    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    pub const fn bits(self) -> u128 {
        self.0
    }

    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// An id from 128 random bits. Sets the version and variant of a random UUID, and avoids Kafka's reserved ids (0 and 1) and those
    /// whose text begins with a dash, as Kafka does, so that an id is never mistaken for a flag on a command line.
    pub fn from_random(mut draw: impl FnMut() -> u64) -> Self {
        loop {
            let bits = (u128::from(draw()) << 64) | u128::from(draw());
            let bits = (bits & !(0xf_u128 << 76)) | (0x4_u128 << 76);
            let bits = (bits & !(0x3_u128 << 62)) | (0x2_u128 << 62);
            let id = Self(bits);
            if !id.to_string().starts_with('-') {
                return id;
            }
        }
    }

    /// Spreads ids evenly; the same on every broker and in every release.
    pub(super) fn placement_hash(self) -> u64 {
        let mut hash = (self.0 >> 64) as u64 ^ self.0 as u64;
        hash ^= hash >> 33;
        hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^ (hash >> 33)
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0u8; TEXT_LEN];
        // 128 bits are 21 groups of six and one of two: shift the tail up to a full group, as base64 pads with zero bits.
        for (index, place) in text.iter_mut().enumerate() {
            let shift = 122 - 6 * index as i32;
            let group = if shift >= 0 { self.0 >> shift } else { self.0 << -shift };
            *place = ALPHABET[(group & 0x3f) as usize];
        }
        f.write_str(std::str::from_utf8(&text).expect("the alphabet is ASCII"))
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("'{0}' is not an id of 22 base64url characters")]
pub struct ParseTopicIdError(String);

impl FromStr for TopicId {
    type Err = ParseTopicIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || ParseTopicIdError(text.to_owned());
        if text.len() != TEXT_LEN {
            return Err(refuse());
        }
        let mut bits: u128 = 0;
        for (index, byte) in text.bytes().enumerate() {
            let group = ALPHABET.iter().position(|&a| a == byte).ok_or_else(refuse)? as u128;
            let shift = 122 - 6 * index as i32;
            if shift >= 0 {
                bits |= group << shift;
            } else {
                bits |= group >> -shift;
            }
        }
        Ok(Self(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_kafkas() {
        // Kafka prints its metadata topic's id, 0x1, so.
        assert_eq!(TopicId::from_bits(1).to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        assert_eq!(TopicId::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
    }

    #[test]
    fn text_reads_back() {
        let mut seed = 7u64;
        for _ in 0..1000 {
            let id = TopicId::from_random(|| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                seed ^ (seed >> 29)
            });
            assert_eq!(id.to_string().parse::<TopicId>().unwrap(), id);
        }
        assert!("short".parse::<TopicId>().is_err());
        assert!("AAAAAAAAAAAAAAAAAAAA!Q".parse::<TopicId>().is_err());
    }
}
