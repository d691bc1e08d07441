use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::{ApiKey, ApiVersionsRequest, ApiVersionsResponse};
use kafka_protocol::protocol::{Decodable, Message, Request, StrBytes, VersionRange};

use super::error::ClientError;
use super::settings::{Address, Settings};
use crate::wire;
use crate::wire::message::{decode_response, encode_request};

/// The largest response read: metadata of a cluster with a million partitions stays well below.
const RESPONSE_BYTES_MAX: usize = 256 << 20;

/// Error 35 in an ApiVersions response: its body is version 0, whatever was asked.
const UNSUPPORTED_VERSION: i16 = 35;

/// One TCP connection to one broker, and the versions it serves. One request at a time.
pub struct Connection {
    address: Address,
    stream: TcpStream,
    client_id: String,
    request_timeout: Duration,
    next_correlation_id: i32,
    /// As the broker listed them: api key, lowest, highest.
    served: Vec<(i16, VersionRange)>,
}

impl Connection {
    /// Connects and asks which versions the broker serves. An error of the first kind, a broker that is not there, comes as its reason
    /// alone: the caller knows whether the address is the user's or a broker's.
    pub fn open(address: &Address, settings: &Settings) -> Result<Result<Self, ClientError>, std::io::Error> {
        let stream = connect(address, settings.connect_timeout)?;
        stream.set_nodelay(true)?;
        let mut connection = Connection {
            address: address.clone(),
            stream,
            client_id: settings.client_id.clone(),
            request_timeout: settings.request_timeout,
            next_correlation_id: 0,
            served: Vec::new(),
        };
        Ok(connection.negotiate().map(|()| connection))
    }

    /// The highest version of `R` that both sides speak.
    pub fn version_for<R: Request>(&self) -> Result<i16, ClientError> {
        let offered = self.served.iter().find(|(key, _)| *key == R::KEY).map(|(_, range)| *range);
        let spoken = spoken::<R>();
        match offered.map(|offered| offered.intersect(&spoken)) {
            Some(both) if !both.is_empty() => Ok(both.max),
            _ => Err(ClientError::Unsupported {
                address: self.address.to_string(),
                api: api_of::<R>(),
                spoken: spoken.to_string(),
                offered: offered.map_or_else(|| "none".to_owned(), |range| range.to_string()),
            }),
        }
    }

    /// What the broker serves, in the order it was listed: api key, lowest and highest version.
    pub fn served(&self) -> &[(i16, VersionRange)] {
        &self.served
    }

    pub fn send<R: Request>(&mut self, request: &R, version: i16) -> Result<R::Response, ClientError> {
        let (correlation_id, frame) = self.exchange(request, version)?;
        self.decode(correlation_id, frame, api_of::<R>(), version)
    }

    /// ApiVersions, highest first. A broker that does not know the version answers error 35 in a body of version 0 that lists, among
    /// others, the versions of ApiVersions itself (KIP-511).
    fn negotiate(&mut self) -> Result<(), ClientError> {
        let mut version = ApiVersionsRequest::VERSIONS.max;
        for _ in 0..2 {
            let request = match version {
                3.. => ApiVersionsRequest::default()
                    .with_client_software_name(StrBytes::from_static_str("ottla"))
                    .with_client_software_version(StrBytes::from_static_str(env!("CARGO_PKG_VERSION"))),
                _ => ApiVersionsRequest::default(),
            };
            let (correlation_id, frame) = self.exchange(&request, version)?;
            // The error code follows the correlation id in every version.
            let refused = frame.get(4..6) == Some(&UNSUPPORTED_VERSION.to_be_bytes());
            let answered = if refused { 0 } else { version };
            let response: ApiVersionsResponse = self.decode(correlation_id, frame, ApiKey::ApiVersions, answered)?;
            if let Some(refusal) = super::error::Refusal::from_code(response.error_code, None).filter(|_| !refused) {
                return Err(ClientError::Refused(refusal));
            }
            self.served = response
                .api_keys
                .iter()
                .map(|served| (served.api_key, VersionRange { min: served.min_version, max: served.max_version }))
                .collect();
            if !refused {
                return Ok(());
            }
            let lower = self.version_for::<ApiVersionsRequest>().unwrap_or(0);
            if lower >= version {
                break;
            }
            version = lower;
        }
        Err(ClientError::Malformed {
            address: self.address.to_string(),
            api: ApiKey::ApiVersions,
            detail: "it refuses the versions of ApiVersions that it lists itself".to_owned(),
        })
    }

    /// Sends one request and reads the frame that answers it; also the correlation id the answer must carry.
    fn exchange<R: Request>(&mut self, request: &R, version: i16) -> Result<(i32, Bytes), ClientError> {
        let api = api_of::<R>();
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = self.next_correlation_id.wrapping_add(1);
        let frame = encode_request(R::KEY, version, correlation_id, Some(&self.client_id), request)
            .map_err(|error| ClientError::Encode { api, detail: error.to_string() })?;
        let deadline = Instant::now() + self.request_timeout;
        self.write(&frame, api, deadline)?;
        Ok((correlation_id, self.read(api, deadline)?))
    }

    fn decode<T: Decodable>(&self, correlation_id: i32, frame: Bytes, api: ApiKey, version: i16) -> Result<T, ClientError> {
        let (answered, response) = decode_response(api as i16, version, frame).map_err(|error| self.malformed(api, error.to_string()))?;
        if answered != correlation_id {
            return Err(self.malformed(api, format!("correlation id {answered} answers request {correlation_id}")));
        }
        Ok(response)
    }

    fn malformed(&self, api: ApiKey, detail: String) -> ClientError {
        ClientError::Malformed { address: self.address.to_string(), api, detail }
    }

    fn write(&mut self, frame: &[u8], api: ApiKey, deadline: Instant) -> Result<(), ClientError> {
        let mut rest = frame;
        while !rest.is_empty() {
            let left = self.left(api, deadline)?;
            let written = self.stream.set_write_timeout(Some(left)).and_then(|()| self.stream.write(rest));
            match written {
                Ok(0) => return Err(self.closed(api)),
                Ok(count) => rest = &rest[count..],
                Err(error) => self.tolerate(api, error)?,
            }
        }
        Ok(())
    }

    fn read(&mut self, api: ApiKey, deadline: Instant) -> Result<Bytes, ClientError> {
        let mut length = [0; 4];
        let mut filled = 0;
        while filled < length.len() {
            filled += self.read_some(&mut length[filled..], api, deadline)?;
        }
        let length = i32::from_be_bytes(length);
        let length = usize::try_from(length).ok().filter(|&n| n <= RESPONSE_BYTES_MAX).ok_or_else(|| {
            self.malformed(api, format!("a response of {length} bytes; the most this tool reads is {RESPONSE_BYTES_MAX}"))
        })?;
        // Grows as bytes arrive, not as announced.
        let mut response = Vec::new();
        while response.len() < length {
            let start = response.len();
            response.resize(length.min(start + (64 << 10)), 0);
            let count = self.read_some(&mut response[start..], api, deadline)?;
            response.truncate(start + count);
        }
        Ok(Bytes::from(response))
    }

    fn read_some(&mut self, into: &mut [u8], api: ApiKey, deadline: Instant) -> Result<usize, ClientError> {
        let left = self.left(api, deadline)?;
        match self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(into)) {
            Ok(0) => Err(self.closed(api)),
            Ok(count) => Ok(count),
            Err(error) => self.tolerate(api, error).map(|()| 0),
        }
    }

    /// Time left for this request, or the error that none is.
    fn left(&self, api: ApiKey, deadline: Instant) -> Result<Duration, ClientError> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ClientError::TimedOut { address: self.address.to_string(), api, waited: self.request_timeout });
        }
        Ok(left)
    }

    /// Interruptions and time-outs go back to the loop, which looks at the deadline.
    fn tolerate(&self, api: ApiKey, error: std::io::Error) -> Result<(), ClientError> {
        match error.kind() {
            ErrorKind::Interrupted | ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(()),
            ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => Err(self.closed(api)),
            _ => Err(ClientError::Io { address: self.address.to_string(), api, source: error }),
        }
    }

    fn closed(&self, api: ApiKey) -> ClientError {
        ClientError::Closed { address: self.address.to_string(), api }
    }
}

fn connect(address: &Address, timeout: Duration) -> Result<TcpStream, std::io::Error> {
    let resolved = (address.host.as_str(), address.port).to_socket_addrs()?;
    let mut last = std::io::Error::new(ErrorKind::NotFound, "the name resolves to no address");
    for candidate in resolved {
        match TcpStream::connect_timeout(&candidate, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The versions of `R` that we can write and read: those of the crate, and newer ones of the same layout.
fn spoken<R: Request>() -> VersionRange {
    let newest = wire::api::ApiKey::from_code(R::KEY).map_or(R::VERSIONS.max, wire::message::newest_version);
    VersionRange { min: R::VERSIONS.min, max: newest.max(R::VERSIONS.max) }
}

/// Every request type of the schemas has its key in the enum.
fn api_of<R: Request>() -> ApiKey {
    ApiKey::try_from(R::KEY).expect("a request type's key is a known key")
}
