//! Pieces of JSON as Kafka writes them (with Jackson), byte for byte.

use std::fmt::Write;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A string in its quotes.
pub fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for letter in text.chars() {
        match letter {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            // Writing to a string does not fail.
            '\0'..='\u{1f}' => drop(write!(out, "\\u{:04X}", u32::from(letter))),
            _ => out.push(letter),
        }
    }
    out.push('"');
}

pub fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().chain([0, 0].iter()).take(3).fold(0usize, |word, byte| word << 8 | usize::from(*byte));
        for place in 0..4 {
            out.push(if place <= chunk.len() { char::from(ALPHABET[word >> (18 - 6 * place) & 63]) } else { '=' });
        }
    }
    out
}

pub fn unbase64(text: &str) -> Option<Vec<u8>> {
    let bare = text.trim_end_matches('=').as_bytes();
    if !text.len().is_multiple_of(4) || text.len() - bare.len() > 2 {
        return None;
    }
    let mut out = Vec::with_capacity(bare.len() * 3 / 4);
    for chunk in bare.chunks(4) {
        let mut word = 0usize;
        for letter in chunk {
            word = word << 6 | ALPHABET.iter().position(|known| known == letter)?;
        }
        word <<= 6 * (4 - chunk.len());
        out.extend([word >> 16, word >> 8, word].iter().take(chunk.len() - 1).map(|part| (part & 255) as u8));
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_goes_there_and_back() {
        for (bytes, text) in
            [(&b""[..], ""), (b"f", "Zg=="), (b"fo", "Zm8="), (b"foo", "Zm9v"), (b"foob", "Zm9vYg=="), (b"\xff\x00\xfe", "/wD+")]
        {
            assert_eq!(base64(bytes), text);
            assert_eq!(unbase64(text).as_deref(), Some(bytes));
        }
        for bad in ["Zg", "Z===", "Zm9v!A==", "===="] {
            assert_eq!(unbase64(bad), None, "{bad}");
        }
    }

    #[test]
    fn text_is_escaped_as_jackson_escapes_it() {
        let mut out = String::new();
        write_text(&mut out, "a\"\\/\n\u{1f}\u{0}\u{7f}ж\u{2028}");
        assert_eq!(out, "\"a\\\"\\\\/\\n\\u001F\\u0000\u{7f}ж\u{2028}\"");
    }
}
