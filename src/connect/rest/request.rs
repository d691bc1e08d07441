//! One HTTP request read from a stream, and one response written to it.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use serde::Serialize;

const HEAD_BYTES_MAX: usize = 16 << 10;
const HEADERS_MAX: usize = 64;
const BODY_BYTES_MAX: usize = 1 << 20;
/// For a whole request to arrive.
const ARRIVES_WITHIN: Duration = Duration::from_secs(30);

pub struct Request {
    pub method: String,
    /// The parts of the path, decoded.
    pub path: Vec<String>,
    pub query: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    /// Whether the query has `key=value`.
    pub fn asks(&self, key: &str, value: &str) -> bool {
        self.query.iter().any(|(known, said)| known == key && said == value)
    }
}

pub struct Response {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    /// Header lines of its own, each with its end.
    pub headers: String,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error_code: u16,
    message: &'a str,
}

impl Response {
    pub fn json(status: u16, value: &impl Serialize) -> Response {
        match serde_json::to_vec(value) {
            Ok(body) => Response { status, content_type: "application/json", body, headers: String::new() },
            Err(error) => Response::error(500, &error.to_string()),
        }
    }

    pub fn empty(status: u16) -> Response {
        Response { status, content_type: "application/json", body: Vec::new(), headers: String::new() }
    }

    pub fn error(status: u16, message: &str) -> Response {
        // A structure of a number and a text is always JSON.
        let body = serde_json::to_vec(&ErrorBody { error_code: status, message }).unwrap_or_default();
        Response { status, content_type: "application/json", body, headers: String::new() }
    }

    pub fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        let reason = match self.status {
            200 => "OK",
            201 => "Created",
            202 => "Accepted",
            204 => "No Content",
            400 => "Bad Request",
            404 => "Not Found",
            405 => "Method Not Allowed",
            409 => "Conflict",
            411 => "Length Required",
            413 => "Content Too Large",
            431 => "Request Header Fields Too Large",
            _ => "Internal Server Error",
        };
        let mut out = format!("HTTP/1.1 {} {reason}\r\nConnection: close\r\n{}", self.status, self.headers);
        if self.status != 204 {
            out.push_str(&format!("Content-Type: {}\r\nContent-Length: {}\r\n", self.content_type, self.body.len()));
        }
        out.push_str("\r\n");
        stream.write_all(out.as_bytes())?;
        stream.write_all(&self.body)
    }
}

/// Why a request is not looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unread {
    Malformed,
    HeadTooLarge,
    BodyTooLarge,
    NoLength,
}

impl Unread {
    pub fn response(self) -> Response {
        match self {
            Unread::Malformed => Response::error(400, "not an HTTP/1 request"),
            Unread::HeadTooLarge => Response::error(431, "the request's head is too large"),
            Unread::BodyTooLarge => Response::error(413, "the request's body is too large"),
            Unread::NoLength => Response::error(411, "a body is to come with its Content-Length"),
        }
    }
}

/// The outer error is the connection's.
pub fn read(stream: &mut (impl Read + Write)) -> io::Result<Result<Request, Unread>> {
    let mut bytes = Vec::new();
    let deadline = Instant::now() + ARRIVES_WITHIN;
    let (mut request, length, expects) = loop {
        take(stream, &mut bytes, deadline)?;
        match head(&bytes) {
            Ok(Some((request, head, length, expects))) => {
                bytes.drain(..head);
                break (request, length, expects);
            }
            Ok(None) if bytes.len() > HEAD_BYTES_MAX => return Ok(Err(Unread::HeadTooLarge)),
            Ok(None) => {}
            Err(unread) => return Ok(Err(unread)),
        }
    };
    if length > BODY_BYTES_MAX {
        return Ok(Err(Unread::BodyTooLarge));
    }
    if expects && bytes.len() < length {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    while bytes.len() < length {
        take(stream, &mut bytes, deadline)?;
    }
    bytes.truncate(length);
    request.body = bytes;
    Ok(Ok(request))
}

fn take(stream: &mut impl Read, bytes: &mut Vec<u8>, deadline: Instant) -> io::Result<()> {
    if Instant::now() >= deadline {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut chunk = [0; 4096];
    let count = stream.read(&mut chunk)?;
    if count == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    bytes.extend_from_slice(&chunk[..count]);
    Ok(())
}

/// The request without its body, the length of the head and of the body, and whether the client waits to be told to go on.
type Head = (Request, usize, usize, bool);

fn head(bytes: &[u8]) -> Result<Option<Head>, Unread> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let head = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(head)) => head,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(Unread::HeadTooLarge),
        Err(_) => return Err(Unread::Malformed),
    };
    let header = |name: &str| {
        let found = parsed.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.and_then(|header| std::str::from_utf8(header.value).ok())
    };
    if header("transfer-encoding").is_some() {
        return Err(Unread::NoLength);
    }
    let length = header("content-length").map_or(Ok(0), str::parse).map_err(|_| Unread::Malformed)?;
    let expects = header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"));
    let (path, query) = parsed.path.unwrap_or("/").split_once('?').unwrap_or((parsed.path.unwrap_or("/"), ""));
    let path: Option<Vec<String>> = path.split('/').filter(|part| !part.is_empty()).map(|part| decoded(part, false)).collect();
    let pair = |pair: &str| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decoded(key, true)?, decoded(value, true)?))
    };
    let query: Option<Vec<(String, String)>> = query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect();
    let request = Request {
        method: parsed.method.unwrap_or_default().to_owned(),
        path: path.ok_or(Unread::Malformed)?,
        query: query.ok_or(Unread::Malformed)?,
        body: Vec::new(),
    };
    Ok(Some((request, head, length, expects)))
}

/// Undoes `%20`, and `+` where that is a blank.
fn decoded(text: &str, plus_is_blank: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || bytes.next().and_then(|digit| char::from(digit).to_digit(16));
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            b'+' if plus_is_blank => b' ',
            other => other,
        });
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Wire(io::Cursor<Vec<u8>>, Vec<u8>);

    impl Read for Wire {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            // A few bytes at a time, as a network may.
            let few = into.len().min(7);
            self.0.read(&mut into[..few])
        }
    }

    impl Write for Wire {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.1.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn said(text: &str) -> io::Result<Result<Request, Unread>> {
        read(&mut Wire(io::Cursor::new(text.as_bytes().to_vec()), Vec::new()))
    }

    #[test]
    fn a_request_is_read() {
        let request = said("PUT /connectors/my%20one/config?a=b+c&d HTTP/1.1\r\nContent-Length: 3\r\n\r\n{}\nmore").unwrap().ok().unwrap();
        assert_eq!((request.method.as_str(), request.body.as_slice()), ("PUT", &b"{}\n"[..]));
        assert_eq!(request.path, ["connectors", "my one", "config"]);
        assert!(request.asks("a", "b c") && request.asks("d", ""));
    }

    #[test]
    fn nonsense_is_refused() {
        let unread = |text: &str| said(text).unwrap().err();
        assert_eq!(unread("\x01\x02\x03\r\n\r\n"), Some(Unread::Malformed));
        assert_eq!(unread("GET /%zz HTTP/1.1\r\n\r\n"), Some(Unread::Malformed));
        assert_eq!(unread("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"), Some(Unread::NoLength));
        assert_eq!(unread("POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n"), Some(Unread::BodyTooLarge));
        assert_eq!(unread(&format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(20_000))), Some(Unread::HeadTooLarge));
        assert!(said("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab").is_err());
    }
}
