//! The metrics page over plain HTTP, for Prometheus: `GET /metrics`, one request per connection.
//!
//! Called by `node` on the home shard, in the background share of its time; calls `shard` for every shard's numbers, and has the page
//! written off the shards.
//!
//! Invariants:
//! 1. At most [`CONNECTIONS_MAX`] scrapes are served at one time, each for a bounded time, from a head of bounded size; a further one is
//!    closed unread. So nobody who reaches this port can take much from those who use the broker.
//! 2. Nothing but this page is served: any other path is not found, any other method not allowed.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::io::{Accepted, Follows, Listener, Reader, Urgency, World, Writer};
use crate::metrics::page::{self, Broker, CONTENT_TYPE, Process};
use crate::wire::api::ApiKey;
use crate::wire::error::ErrorCode;

use super::Server;

const PATH: &str = "/metrics";

const CONNECTIONS_MAX: usize = 16;
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 64;

/// For the head to arrive.
const HEAD_WITHIN: Duration = Duration::from_secs(10);
/// For the shards to tell their numbers: a shard that takes longer is stuck, and that is what is said.
const NUMBERS_WITHIN: Duration = Duration::from_secs(10);
/// For the scraper to take the page.
const SENT_WITHIN: Duration = Duration::from_secs(30);
/// What a refused request may still send before its connection is cut: else the answer would be lost with it.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
const REFUSED_BYTES_MAX: usize = 64 * 1024;

const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Scrapes of one broker, from its readiness on.
pub struct Scrapes<W: World> {
    server: Rc<Server<W>>,
    cluster_id: String,
    started_s: u64,
    open: Cell<usize>,
}

/// What a connection asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Page,
    Elsewhere,
    AnotherMethod,
    Malformed,
    TooLarge,
}

impl<W: World> Scrapes<W> {
    pub fn new(server: Rc<Server<W>>, cluster_id: String) -> Rc<Self> {
        let now_ms = server.shard.world().wall().get();
        Rc::new(Self { server, cluster_id, started_s: u64::try_from(now_ms / 1000).unwrap_or(0), open: Cell::new(0) })
    }

    /// Serves scrapes for as long as the broker runs.
    pub async fn serve(self: Rc<Self>, listener: W::Listener) {
        let world = self.server.shard.world();
        loop {
            match listener.accept().await {
                Ok(accepted) if self.open.get() < CONNECTIONS_MAX => {
                    self.open.set(self.open.get() + 1);
                    let scrapes = self.clone();
                    world.spawn(Urgency::Background, async move {
                        let _open = Open(&scrapes.open);
                        scrapes.answer(accepted).await;
                    });
                }
                Ok(one_too_many) => drop(one_too_many),
                Err(error) => {
                    tracing::warn!("{}: accept: {error}", listener.local_addr());
                    world.sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }

    async fn answer(&self, accepted: Accepted<W::Reader, W::Writer>) {
        let Accepted { mut reader, mut writer, peer } = accepted;
        let timers = self.server.shard.timers();
        let Some(Some(asked)) = timers.before(timers.now().plus(HEAD_WITHIN), read_head(&mut reader)).await else {
            return writer.close();
        };
        let answer = match asked {
            Asked::Page => match self.page(peer).await {
                Some(page) => response("200 OK", CONTENT_TYPE, "", &page),
                None => refusal("503 Service Unavailable", "", "a shard does not answer\n"),
            },
            Asked::Elsewhere => refusal("404 Not Found", "", "the metrics are at /metrics\n"),
            Asked::AnotherMethod => refusal("405 Method Not Allowed", "Allow: GET\r\n", "the metrics can be read only\n"),
            Asked::Malformed => refusal("400 Bad Request", "", "not an HTTP/1 request\n"),
            Asked::TooLarge => refusal("431 Request Header Fields Too Large", "", "the request's head is too large\n"),
        };
        let sending = writer.write_all(answer, Follows::Nothing);
        if let Some(Err(error)) = timers.before(timers.now().plus(SENT_WITHIN), sending).await {
            tracing::debug!("{peer}: metrics not sent: {error}");
        }
        if asked != Asked::Page {
            timers.before(timers.now().plus(REFUSED_WITHIN), read_rest(&mut reader)).await;
        }
        writer.close();
    }

    /// `None` if not every shard tells its numbers in time.
    async fn page(&self, peer: SocketAddr) -> Option<String> {
        let shard = &self.server.shard;
        let timers = shard.timers();
        let mail_waiting = shard.mail_waiting();
        let asked = timers.before(timers.now().plus(NUMBERS_WITHIN), shard.measure_everywhere()).await;
        let Some(Some(shards)) = asked else {
            tracing::warn!("{peer}: metrics: not every shard answers within {NUMBERS_WITHIN:?}");
            return None;
        };
        let asked = timers.before(timers.now().plus(NUMBERS_WITHIN), shard.lags(&shards)).await;
        let Some(Some(lags)) = asked else {
            tracing::warn!("{peer}: metrics: not every shard tells its high watermarks within {NUMBERS_WITHIN:?}");
            return None;
        };
        let broker = Broker {
            node: shard.node(),
            cluster_id: self.cluster_id.clone(),
            version: env!("CARGO_PKG_VERSION"),
            started_s: self.started_s,
            process: process(shard.world()).await,
            mail_waiting,
            lags,
            api_name: |key| ApiKey::from_code(key).map_or("UNKNOWN", ApiKey::name),
            error_name: |code| ErrorCode::from_code(code).map_or("UNKNOWN", ErrorCode::name),
        };
        Some(shard.world().offload(move || page::page(&broker, &shards)).await)
    }
}

/// A place among [`CONNECTIONS_MAX`].
struct Open<'a>(&'a Cell<usize>);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// `None` if the connection ends first.
async fn read_head(reader: &mut impl Reader) -> Option<Asked> {
    let mut head = BytesMut::with_capacity(HEAD_BYTES_MAX);
    loop {
        let before = head.len();
        if reader.read(&mut head).await.ok()? == 0 {
            return None;
        }
        // A head ends with a line: parsing earlier finds nothing.
        if head[before..].contains(&b'\n')
            && let Some(asked) = asked(&head)
        {
            return Some(asked);
        }
        if head.len() >= HEAD_BYTES_MAX {
            return Some(Asked::TooLarge);
        }
    }
}

/// What a head asks for; `None` while it is not whole.
fn asked(head: &[u8]) -> Option<Asked> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Partial) => None,
        Ok(httparse::Status::Complete(_)) => {
            let path = request.path.unwrap_or_default().split('?').next();
            Some(match request.method {
                _ if path != Some(PATH) => Asked::Elsewhere,
                Some("GET") => Asked::Page,
                _ => Asked::AnotherMethod,
            })
        }
        Err(httparse::Error::TooManyHeaders) => Some(Asked::TooLarge),
        Err(_) => Some(Asked::Malformed),
    }
}

/// Takes what a refused request still sends, within bounds.
async fn read_rest(reader: &mut impl Reader) {
    let mut scratch = BytesMut::with_capacity(HEAD_BYTES_MAX);
    let mut taken = 0;
    while taken < REFUSED_BYTES_MAX {
        scratch.clear();
        match reader.read(&mut scratch).await {
            Ok(0) | Err(_) => return,
            Ok(read) => taken += read,
        }
    }
}

fn refusal(status: &str, header: &str, sentence: &str) -> Bytes {
    response(status, "text/plain; charset=utf-8", header, sentence)
}

/// `header` is a whole line, or nothing.
fn response(status: &str, content_type: &str, header: &str, body: &str) -> Bytes {
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n{header}Connection: close\r\n\r\n", body.len());
    let mut whole = BytesMut::with_capacity(head.len() + body.len());
    whole.put_slice(head.as_bytes());
    whole.put_slice(body.as_bytes());
    whole.freeze()
}

/// What the kernel says of this process, where there is such a kernel.
async fn process<W: World>(world: &W) -> Process {
    let status = world.read_file("/proc/self/status".as_ref()).await.ok();
    let stat = world.read_file("/proc/self/stat".as_ref()).await.ok();
    Process {
        resident_bytes: status.and_then(|text| resident_bytes(&String::from_utf8_lossy(&text))),
        cpu_ms: stat.and_then(|text| cpu_ms(&String::from_utf8_lossy(&text))),
    }
}

/// `VmRSS:     1234 kB`
fn resident_bytes(status: &str) -> Option<u64> {
    let kib: u64 = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

/// Fields 14 and 15, in hundredths of a second; the second field is a name in parentheses that may hold anything.
fn cpu_ms(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some((ticks()? + ticks()?) * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_told_apart() {
        let cases: [(&str, Option<Asked>); 12] = [
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", Some(Asked::Page)),
            ("GET /metrics HTTP/1.0\n\n", Some(Asked::Page)),
            ("GET /metrics?name=a HTTP/1.1\r\n\r\n", Some(Asked::Page)),
            ("GET /metrics HTTP/1.1\r\nHost: a\r\n", None),
            ("", None),
            ("GET / HTTP/1.1\r\n\r\n", Some(Asked::Elsewhere)),
            ("GET /metrics/ HTTP/1.1\r\n\r\n", Some(Asked::Elsewhere)),
            ("POST /other HTTP/1.1\r\n\r\n", Some(Asked::Elsewhere)),
            ("POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", Some(Asked::AnotherMethod)),
            ("HEAD /metrics HTTP/1.1\r\n\r\n", Some(Asked::AnotherMethod)),
            ("\u{0}\u{0}\u{0}\u{1}\n\n", Some(Asked::Malformed)),
            ("GET /metrics HTTP/9.9\r\n\r\n", Some(Asked::Malformed)),
        ];
        for (head, expected) in cases {
            assert_eq!(asked(head.as_bytes()), expected, "{head:?}");
        }
        let many: String = (0..=HEADERS_MAX).map(|number| format!("a{number}: b\r\n")).collect();
        assert_eq!(asked(format!("GET /metrics HTTP/1.1\r\n{many}\r\n").as_bytes()), Some(Asked::TooLarge));
    }

    #[test]
    fn the_kernels_words_are_read() {
        assert_eq!(resident_bytes("Name:\tottla\nVmHWM:\t  9 kB\nVmRSS:\t    1234 kB\n"), Some(1234 * 1024));
        assert_eq!(resident_bytes("Name:\tottla\n"), None);
        let stat = "17 (a ) b) S 1 17 17 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 5 6 7";
        assert_eq!(cpu_ms(stat), Some(3000));
        assert_eq!(cpu_ms("17 (a"), None);
    }
}
