use std::borrow::Cow;

/// Bytes as text, with U+FFFD for what is not UTF-8, and as many of them as Java writes: it takes an encoded surrogate, or the first
/// two bytes of one, for a single fault where Rust sees one per byte.
pub fn of(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(chunk) = rest.utf8_chunks().next() {
        text.push_str(chunk.valid());
        let at_fault = &rest[chunk.valid().len()..];
        if at_fault.is_empty() {
            break;
        }
        text.push(char::REPLACEMENT_CHARACTER);
        let length = match at_fault {
            [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..] => 3,
            [0xed, 0xa0..=0xbf, ..] => 2,
            _ => chunk.invalid().len(),
        };
        rest = &at_fault[length..];
    }
    Cow::Owned(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_counted_as_java_counts_them() {
        assert_eq!(of("grüße".as_bytes()), "grüße");
        assert_eq!(of(b"\xff\xc3(A"), "\u{fffd}\u{fffd}(A");
        assert_eq!(of(b"\xed\xa0\x80x\xed\xa0y\xed\xa0"), "\u{fffd}x\u{fffd}y\u{fffd}");
        assert_eq!(of(b"\xe2\x82A\xf0\x9f\x98"), "\u{fffd}A\u{fffd}");
    }
}
