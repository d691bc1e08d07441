//! A line of text as a record: `headers`, `key` and `value`, as far as the reader's properties say that they are there.

use regex::bytes::Regex;

use crate::cli::pairs::{Pairs, flag};

#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    #[error("{0} and {1} may not be equal")]
    Equal(&'static str, &'static str),
    #[error("headers.separator={0} is not a regular expression")]
    Separator(String),
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("No {name} found on line number {number}: '{line}'")]
    NoEnd { name: &'static str, number: u64, line: String },
    #[error("No header key separator found in pair '{pair}' on line number {number}")]
    NoHeaderKey { pair: String, number: u64 },
    #[error("Header keys should not be equal to the null marker '{0}' as they can't be null")]
    NullHeaderKey(String),
}

/// Name and value.
pub type HeaderOf<'a> = (String, Option<&'a [u8]>);

#[derive(Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub headers: Vec<HeaderOf<'a>>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

/// How lines are laid out.
#[derive(Debug)]
pub struct Layout {
    parse_key: bool,
    key_separator: String,
    parse_headers: bool,
    headers_delimiter: String,
    headers_separator: Regex,
    headers_key_separator: String,
    ignore_error: bool,
    null_marker: Option<String>,
}

impl Layout {
    pub fn new(properties: &Pairs) -> Result<Self, LayoutError> {
        let text = |key: &str, default: &str| properties.get(key).cloned().unwrap_or_else(|| default.to_owned());
        let key_separator = text("key.separator", "\t");
        let delimiter = text("headers.delimiter", "\t");
        let separator = text("headers.separator", ",");
        let header_key = text("headers.key.separator", ":");
        let null_marker = properties.get("null.marker").cloned();
        let pairs = [
            ("headers.delimiter", "headers.separator", delimiter == separator),
            ("headers.delimiter", "headers.key.separator", delimiter == header_key),
            ("headers.separator", "headers.key.separator", separator == header_key),
            ("null.marker", "key.separator", null_marker.as_ref() == Some(&key_separator)),
            ("null.marker", "headers.separator", null_marker.as_ref() == Some(&separator)),
            ("null.marker", "headers.delimiter", null_marker.as_ref() == Some(&delimiter)),
            ("null.marker", "headers.key.separator", null_marker.as_ref() == Some(&header_key)),
        ];
        if let Some((first, second, _)) = pairs.into_iter().find(|(.., equal)| *equal) {
            return Err(LayoutError::Equal(first, second));
        }
        Ok(Layout {
            parse_key: flag(properties, "parse.key").unwrap_or(false),
            key_separator,
            parse_headers: flag(properties, "parse.headers").unwrap_or(false),
            headers_delimiter: delimiter,
            headers_separator: Regex::new(&separator).map_err(|_| LayoutError::Separator(separator))?,
            headers_key_separator: header_key,
            ignore_error: flag(properties, "ignore.error").unwrap_or(false),
            null_marker,
        })
    }

    pub fn record<'a>(&self, line: &'a [u8], number: u64) -> Result<Record<'a>, LineError> {
        let mut rest = line;
        let headers = self.part(self.parse_headers, &mut rest, &self.headers_delimiter, "headers delimiter", line, number)?;
        let key = self.part(self.parse_key, &mut rest, &self.key_separator, "key separator", line, number)?;
        let headers = match headers {
            Some(headers) if !self.is_null(headers) => self.headers(headers, number)?,
            _ => Vec::new(),
        };
        let unless_null = |bytes: &'a [u8]| Some(bytes).filter(|bytes| !self.is_null(bytes));
        Ok(Record { headers, key: key.and_then(unless_null), value: unless_null(rest) })
    }

    /// Takes what lies before `end` from the front of `rest`.
    fn part<'a>(
        &self,
        enabled: bool,
        rest: &mut &'a [u8],
        end: &str,
        name: &'static str,
        line: &[u8],
        number: u64,
    ) -> Result<Option<&'a [u8]>, LineError> {
        if !enabled {
            return Ok(None);
        }
        match find(rest, end.as_bytes()) {
            Some(at) => {
                let part = &rest[..at];
                *rest = &rest[at + end.len()..];
                Ok(Some(part))
            }
            None if self.ignore_error => Ok(None),
            None => Err(LineError::NoEnd { name, number, line: String::from_utf8_lossy(line).into_owned() }),
        }
    }

    fn headers<'a>(&self, headers: &'a [u8], number: u64) -> Result<Vec<HeaderOf<'a>>, LineError> {
        let mut pairs: Vec<&[u8]> = self.headers_separator.split(headers).collect();
        // Empty ones at the end do not count, as Java splits.
        while pairs.len() > 1 && pairs.last().is_some_and(|pair| pair.is_empty()) {
            pairs.pop();
        }
        pairs.into_iter().map(|pair| self.header(pair, number)).collect()
    }

    fn header<'a>(&self, pair: &'a [u8], number: u64) -> Result<HeaderOf<'a>, LineError> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let Some(at) = find(pair, self.headers_key_separator.as_bytes()) else {
            return match self.ignore_error {
                true => Ok((text(pair), None)),
                false => Err(LineError::NoHeaderKey { pair: text(pair), number }),
            };
        };
        let (key, value) = (&pair[..at], &pair[at + self.headers_key_separator.len()..]);
        if self.is_null(key) {
            return Err(LineError::NullHeaderKey(text(key)));
        }
        Ok((text(key), Some(value).filter(|value| !self.is_null(value))))
    }

    fn is_null(&self, bytes: &[u8]) -> bool {
        self.null_marker.as_ref().is_some_and(|marker| marker.as_bytes() == bytes)
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    match wanted {
        [] => Some(0),
        wanted => bytes.windows(wanted.len()).position(|window| window == wanted),
    }
}
