//! Java's `.properties` syntax, as server.properties is written.
//!
//! Called by [`broker`](super::broker) through whoever read the file; calls nothing.
//!
//! ```text
//!   # comment            ! comment
//!   key=value            key: value           key value
//!   key = one, \
//!         two            -> "one, two": a line that ends in an odd number of backslashes goes on in the next, less its indent
//!   a\=b\ c = \u00e9\t   -> key "a=b c", value "é" and a tab
//! ```
//!
//! Invariants:
//! 1. Every entry knows the line it begins on.
//! 2. The last of several entries with one key counts; each earlier one is a warning.

use std::borrow::Cow;
use std::collections::BTreeMap;

/// The entries of one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// As the caller named it, for messages.
    pub file: String,
    pub entries: BTreeMap<String, Entry>,
    /// One line each.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub value: String,
    /// Counted from 1.
    pub line: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertiesError {
    #[error("{file}:{line}: \\u must be followed by four hexadecimal digits, not '{found}'")]
    BadUnicodeEscape { file: String, line: usize, found: String },
    #[error("{file}:{line}: \\u{code:04x} is half of a surrogate pair and stands alone")]
    LoneSurrogate { file: String, line: usize, code: u16 },
    #[error("{file}:{line}: a value stands without a key")]
    NoKey { file: String, line: usize },
}

impl Properties {
    /// Reads the bytes of a file; `file` is its name in messages.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, PropertiesError> {
        // Java reads Latin-1, everybody writes UTF-8: a file that is not the latter is the former.
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
        };
        let mut properties = Properties { file: file.to_owned(), ..Properties::default() };
        for (line, logical) in logical_lines(&text) {
            let (key, value) = split(&logical);
            let key = unescape(file, line, key)?;
            let value = unescape(file, line, value)?;
            if key.is_empty() {
                return Err(PropertiesError::NoKey { file: file.to_owned(), line });
            }
            if let Some(earlier) = properties.entries.get(&key) {
                properties.warnings.push(format!("{file}:{line}: {key} was already set on line {}; this line counts", earlier.line));
            }
            properties.entries.insert(key, Entry { value, line });
        }
        Ok(properties)
    }
}

const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Joins continued lines; leaves out comments and blank lines. Escapes are still in the text.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    // A file may end its lines as Unix, Windows or old Mac OS do; a \r\n counts once.
    let natural = text.split('\n').flat_map(|line| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        line.split('\r').enumerate().map(|(index, part)| (index == 0, part))
    });
    let mut number = 0;
    for (begins_line, part) in natural {
        number += usize::from(begins_line);
        let part = part.trim_start_matches(is_blank);
        // A comment mark in a continued line is text.
        if open.is_none() && (part.is_empty() || part.starts_with(['#', '!'])) {
            continue;
        }
        let (line, mut joined) = open.take().unwrap_or((number, String::new()));
        let backslashes = part.bytes().rev().take_while(|&byte| byte == b'\\').count();
        if backslashes % 2 == 1 {
            joined.push_str(&part[..part.len() - 1]);
            open = Some((line, joined));
        } else {
            joined.push_str(part);
            lines.push((line, joined));
        }
    }
    // The last line ended in a backslash.
    lines.extend(open.filter(|(_, joined)| !joined.is_empty()));
    lines
}

/// Splits at the first separator that is not escaped: blanks, with at most one `=` or `:` among them.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (index, c) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '=' || c == ':' || is_blank(c) {
            let rest = line[index..].trim_start_matches(is_blank);
            let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
            return (&line[..index], rest.trim_start_matches(is_blank));
        }
    }
    (line, "")
}

fn unescape(file: &str, line: usize, text: &str) -> Result<String, PropertiesError> {
    if !text.contains('\\') {
        return Ok(text.to_owned());
    }
    let lone = |code: u16| PropertiesError::LoneSurrogate { file: file.to_owned(), line, code };
    let mut read = String::with_capacity(text.len());
    let mut rest = text;
    // The first half of a pair of escapes that make one character.
    let mut high: Option<u16> = None;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        let mut unit = None;
        let mut plain = c;
        if c == '\\' {
            let Some(next) = rest.chars().next() else { break };
            rest = &rest[next.len_utf8()..];
            plain = match next {
                'u' => {
                    let digits: String = rest.chars().take(4).collect();
                    let code = parse_hex(&digits).ok_or_else(|| PropertiesError::BadUnicodeEscape {
                        file: file.to_owned(),
                        line,
                        found: digits.clone(),
                    })?;
                    rest = &rest[4..];
                    unit = Some(code);
                    char::REPLACEMENT_CHARACTER
                }
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                'f' => '\x0c',
                other => other,
            };
        }
        match (high.take(), unit) {
            (None, None) => read.push(plain),
            (None, Some(code)) if (0xd800..0xdc00).contains(&code) => high = Some(code),
            (None, Some(code)) => read.push(char::from_u32(u32::from(code)).ok_or_else(|| lone(code))?),
            (Some(first), Some(second)) => match char::decode_utf16([first, second]).next() {
                Some(Ok(both)) => read.push(both),
                _ => return Err(lone(first)),
            },
            (Some(first), None) => return Err(lone(first)),
        }
    }
    match high {
        Some(first) => Err(lone(first)),
        None => Ok(read),
    }
}

/// Four hexadecimal digits and nothing else, so that the text behind them begins four bytes on.
fn parse_hex(digits: &str) -> Option<u16> {
    if digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) { u16::from_str_radix(digits, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String, usize)> {
        let properties = Properties::parse("f", text.as_bytes()).unwrap();
        properties.entries.into_iter().map(|(key, entry)| (key, entry.value, entry.line)).collect()
    }

    fn one(text: &str) -> (String, String) {
        let mut all = read(text);
        assert_eq!(all.len(), 1, "{text:?}");
        let (key, value, _) = all.remove(0);
        (key, value)
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn separators_are_equals_colon_or_blanks() {
        for text in ["k=v", "k:v", "k v", "  k = v", "k\tv", "k : v", "k\x0c=\tv", "k=v\r\n"] {
            assert_eq!(one(text), pair("k", "v"), "{text:?}");
        }
        assert_eq!(one("k==v"), pair("k", "=v"));
        assert_eq!(one("k = :v"), pair("k", ":v"));
        assert_eq!(one("k=v  "), pair("k", "v  "));
        assert_eq!(one("k"), pair("k", ""));
        assert_eq!(one("k="), pair("k", ""));
        assert_eq!(one("a\\=b\\:c\\ d=e"), pair("a=b:c d", "e"));
    }

    #[test]
    fn comments_and_blank_lines_are_left_out() {
        assert_eq!(read("# a=1\n\n  ! b=2\n \t \nc=3 # not a comment\n"), [("c".to_owned(), "3 # not a comment".to_owned(), 5)]);
        // A comment does not go on in the next line.
        assert_eq!(one("# a \\\nb=1"), pair("b", "1"));
    }

    #[test]
    fn an_odd_number_of_backslashes_continues_a_line() {
        assert_eq!(read("a=1,\\\n   2,\\\r\n\t3\nb=4"), [("a".into(), "1,2,3".into(), 1), ("b".into(), "4".into(), 4)]);
        assert_eq!(read("a=x\\\\\nb=2"), [("a".into(), "x\\".into(), 1), ("b".into(), "2".into(), 2)]);
        assert_eq!(one("a=1\\\n# 2"), pair("a", "1# 2"));
        assert_eq!(one("a=1\\\n\n"), pair("a", "1"));
        assert_eq!(one("a=1\\"), pair("a", "1"));
        assert!(read("\\").is_empty());
    }

    #[test]
    fn escapes() {
        assert_eq!(one("k=\\t\\n\\r\\f\\q\\\\"), pair("k", "\t\n\r\x0cq\\"));
        assert_eq!(one("k=\\u00e9\\u0041z"), pair("k", "\u{e9}Az"));
        assert_eq!(one("k=\\ud83d\\ude00"), pair("k", "\u{1f600}"));
        let error = |text: &str| Properties::parse("f", text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error("a=1\nk=\\u12"), "f:2: \\u must be followed by four hexadecimal digits, not '12'");
        assert_eq!(error("k=\\u12\u{e9}4"), "f:1: \\u must be followed by four hexadecimal digits, not '12\u{e9}4'");
        assert_eq!(error("k=\\u+123"), "f:1: \\u must be followed by four hexadecimal digits, not '+123'");
        assert_eq!(error("k=\\ud83dx"), "f:1: \\ud83d is half of a surrogate pair and stands alone");
        assert_eq!(error("k=\\ud83d"), "f:1: \\ud83d is half of a surrogate pair and stands alone");
        assert_eq!(error("k=\\ude00"), "f:1: \\ude00 is half of a surrogate pair and stands alone");
    }

    #[test]
    fn the_last_of_several_counts_and_warns() {
        let properties = Properties::parse("f", b"a=1\nb=2\na=3\n").unwrap();
        assert_eq!(properties.entries["a"], Entry { value: "3".to_owned(), line: 3 });
        assert_eq!(properties.warnings, ["f:3: a was already set on line 1; this line counts"]);
    }

    #[test]
    fn what_is_no_entry_names_its_line() {
        let error = |bytes: &[u8]| Properties::parse("f", bytes).unwrap_err().to_string();
        assert_eq!(error(b"a=1\n=2"), "f:2: a value stands without a key");
    }

    #[test]
    fn a_file_that_is_not_utf_8_is_latin_1() {
        assert_eq!(one("k=\u{e9}"), pair("k", "\u{e9}"));
        assert_eq!(Properties::parse("f", b"k=\xe9").unwrap().entries["k"].value, "\u{e9}");
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        let mut seed = 1u64;
        let alphabet = b"\\\\u0dD8= :#!\n\r\ta\xc3\xa9";
        for _ in 0..20_000 {
            let bytes: Vec<u8> = (0..12)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    alphabet[(seed >> 33) as usize % alphabet.len()]
                })
                .collect();
            let _ = Properties::parse("f", &bytes);
        }
    }
}
