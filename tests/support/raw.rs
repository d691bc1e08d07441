//! A Kafka client of a few hundred lines over one blocking socket: frames of our own making, so that a test can send what no client would.
//! Every wait has a deadline.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message, Request, StrBytes};

const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(60);

/// Why no response came.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    #[error("the broker closed the connection")]
    Closed,
    #[error("nothing came in the time allowed")]
    Silent,
    #[error(transparent)]
    Io(io::Error),
}

pub struct Connection {
    stream: TcpStream,
    correlation: i32,
    client: String,
}

impl Connection {
    pub fn try_connect(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, CONNECT)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        stream.set_write_timeout(Some(ANSWER))?;
        Ok(Connection { stream, correlation: 0, client: "raw".to_string() })
    }

    pub fn set_answer_deadline(&mut self, span: Duration) {
        self.stream.set_read_timeout(Some(span)).unwrap();
    }

    pub fn set_send_deadline(&mut self, span: Duration) {
        self.stream.set_write_timeout(Some(span)).unwrap();
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends `size | frame`.
    pub fn send_frame(&mut self, frame: &[u8]) -> io::Result<()> {
        let mut whole = Vec::with_capacity(4 + frame.len());
        whole.extend_from_slice(&(frame.len() as i32).to_be_bytes());
        whole.extend_from_slice(frame);
        self.stream.write_all(&whole)
    }

    /// Sends a request without waiting for its answer; gives its correlation id.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> i32 {
        let (correlation, frame) = self.frame(version, request);
        self.send_frame(&frame).unwrap_or_else(|error| panic!("send of API {} v{version}: {error}", R::KEY));
        correlation
    }

    /// The frame of a request, without its size, under the next correlation id.
    pub fn frame<R: Request>(&mut self, version: i16, request: &R) -> (i32, Bytes) {
        self.correlation += 1;
        (self.correlation, request_frame(version, request, self.correlation, &self.client))
    }

    /// One response frame, without its size.
    pub fn receive_frame(&mut self) -> Result<Bytes, NoAnswer> {
        let mut size = [0; 4];
        self.read_exact(&mut size)?;
        let size = usize::try_from(i32::from_be_bytes(size)).expect("a response of a size that is not negative");
        let mut frame = vec![0; size];
        self.read_exact(&mut frame)?;
        Ok(frame.into())
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), NoAnswer> {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof, WouldBlock};
        self.stream.read_exact(buffer).map_err(|error| match error.kind() {
            UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe => NoAnswer::Closed,
            WouldBlock | TimedOut => NoAnswer::Silent,
            _ => NoAnswer::Io(error),
        })
    }

    /// The next response, which must be one to a request of type `R`: its correlation id and body.
    pub fn try_receive<R: Request>(&mut self, version: i16) -> Result<(i32, R::Response), NoAnswer> {
        let frame = self.receive_frame()?;
        let (correlation, body) = response_body::<R>(version, frame);
        Ok((correlation, body))
    }

    pub fn receive<R: Request>(&mut self, version: i16) -> (i32, R::Response) {
        self.try_receive::<R>(version).unwrap_or_else(|why| panic!("no answer to API {} v{version}: {why}", R::KEY))
    }

    /// Request and response.
    pub fn try_call<R: Request>(&mut self, version: i16, request: &R) -> Result<R::Response, NoAnswer> {
        let (correlation, frame) = self.frame(version, request);
        self.send_frame(&frame).map_err(NoAnswer::Io)?;
        let (answered, body) = self.try_receive::<R>(version)?;
        assert_eq!(answered, correlation, "correlation id of the answer to API {} v{version}", R::KEY);
        Ok(body)
    }

    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> R::Response {
        self.try_call(version, request).unwrap_or_else(|why| panic!("no answer to API {} v{version}: {why}", R::KEY))
    }

    /// The broker must close the connection without a word.
    #[track_caller]
    pub fn expect_close(&mut self) {
        match self.receive_frame() {
            Err(NoAnswer::Closed) => {}
            Ok(frame) => panic!("answered {} bytes where the connection should be closed", frame.len()),
            Err(why) => panic!("expected the connection to be closed: {why}"),
        }
    }

    pub fn try_metadata(&mut self) -> Result<MetadataResponse, NoAnswer> {
        self.try_call(1, &MetadataRequest::default().with_topics(Some(Vec::new())))
    }
}

/// Header and body as a client writes them, without the size.
pub fn request_frame<R: Request>(version: i16, request: &R, correlation: i32, client: &str) -> Bytes {
    let mut body = BytesMut::new();
    // The crate's ListOffsets ends at v10; v11 has the same bytes.
    request.encode(&mut body, version.min(R::VERSIONS.max)).unwrap_or_else(|error| panic!("request of API {} v{version}: {error}", R::KEY));
    frame_around::<R>(version, &body, correlation, client)
}

/// A body that was written by hand, behind the header of its API and version.
pub fn frame_around<R: Request>(version: i16, body: &[u8], correlation: i32, client: &str) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_string(client.to_string())));
    let mut frame = BytesMut::new();
    header.encode(&mut frame, R::header_version(version.min(R::VERSIONS.max))).expect("header");
    frame.extend_from_slice(body);
    frame.freeze()
}

/// Correlation id and body of a response frame; bytes left over are a failure.
pub fn response_body<R: Request>(version: i16, mut frame: Bytes) -> (i32, R::Response) {
    let version = version.min(R::Response::VERSIONS.max);
    // An ApiVersions response carries the old header at every version, so that any client can read it.
    let header_version = if R::KEY == ApiKey::ApiVersions as i16 { 0 } else { R::Response::header_version(version) };
    let header = ResponseHeader::decode(&mut frame, header_version).expect("response header");
    let body = R::Response::decode(&mut frame, version).unwrap_or_else(|error| panic!("response of API {} v{version}: {error}", R::KEY));
    assert!(frame.is_empty(), "{} bytes left over behind the response of API {} v{version}", frame.len(), R::KEY);
    (header.correlation_id, body)
}
