use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::{
    ApiKey, ApiVersionsResponse, BrokerId, DeleteTopicsResponse, ListOffsetsResponse, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::*;
use crate::wire::error::ErrorCode;
use crate::wire::message::encode_response;

/// What the broker of a test does with one request.
enum Answer {
    Frame(Bytes),
    Close,
    Silence,
}

struct Asked {
    key: i16,
    version: i16,
    correlation_id: i32,
}

/// A broker that answers on every connection until [`finish`]; returns the keys it was asked, with their versions.
fn broker(answer: impl FnMut(&Asked, u16) -> Answer + Send + 'static) -> (Address, JoinHandle<Vec<(i16, i16)>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(Mutex::new(answer));
    let asked = Arc::new(Mutex::new(Vec::new()));
    let serving = std::thread::spawn(move || {
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            // The end of the test: a connection that says nothing.
            let Some(first) = read_request(&mut stream) else {
                return asked.lock().unwrap().clone();
            };
            let (answer, asked) = (Arc::clone(&answer), Arc::clone(&asked));
            std::thread::spawn(move || {
                let mut next = Some(first);
                while let Some(request) = next {
                    asked.lock().unwrap().push((request.key, request.version));
                    let answer = answer.lock().unwrap()(&request, port);
                    match answer {
                        Answer::Frame(frame) => stream.write_all(&frame).unwrap(),
                        Answer::Close => break,
                        Answer::Silence => {}
                    }
                    next = read_request(&mut stream);
                }
            });
        }
    });
    (Address { host: "127.0.0.1".to_owned(), port }, serving)
}

fn finish(address: &Address, serving: JoinHandle<Vec<(i16, i16)>>) -> Vec<(i16, i16)> {
    drop(TcpStream::connect((address.host.as_str(), address.port)).unwrap());
    serving.join().unwrap()
}

fn read_request(stream: &mut TcpStream) -> Option<Asked> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut body).ok()?;
    let short = |at: usize| i16::from_be_bytes([body[at], body[at + 1]]);
    Some(Asked { key: short(0), version: short(2), correlation_id: i32::from_be_bytes([body[4], body[5], body[6], body[7]]) })
}

fn versions(asked: &Asked, version: i16, served: &[(ApiKey, i16, i16)]) -> Answer {
    let keys =
        served.iter().map(|&(key, min, max)| ApiVersion::default().with_api_key(key as i16).with_min_version(min).with_max_version(max));
    let code = if version == asked.version { 0 } else { ErrorCode::UnsupportedVersion.code() };
    let response = ApiVersionsResponse::default().with_error_code(code).with_api_keys(keys.collect());
    Answer::Frame(encode_response(asked.key, version, asked.correlation_id, &response).unwrap())
}

const SERVED: &[(ApiKey, i16, i16)] = &[
    (ApiKey::ApiVersions, 0, 4),
    (ApiKey::Metadata, 0, 9),
    (ApiKey::DeleteTopics, 1, 5),
    (ApiKey::CreateTopics, 90, 99),
    (ApiKey::ListOffsets, 0, 6),
];

/// One broker, which is the controller, and one topic of three partitions, of which nobody leads the last.
fn metadata(asked: &Asked, port: u16) -> Answer {
    let text = |text: &'static str| StrBytes::from_static_str(text);
    let broker = MetadataResponseBroker::default().with_node_id(BrokerId(7)).with_host(text("127.0.0.1")).with_port(port.into());
    let partitions = [7, 7, -1]
        .into_iter()
        .zip(0..)
        .map(|(leader, index)| MetadataResponsePartition::default().with_partition_index(index).with_leader_id(BrokerId(leader)));
    let topic = MetadataResponseTopic::default().with_name(Some(TopicName(text("orders")))).with_partitions(partitions.collect());
    let response = MetadataResponse::default().with_brokers(vec![broker]).with_controller_id(BrokerId(7)).with_topics(vec![topic]);
    Answer::Frame(encode_response(asked.key, asked.version, asked.correlation_id, &response).unwrap())
}

fn quick(address: &Address) -> Settings {
    let mut settings = Settings::new(vec![address.clone()]);
    settings.request_timeout = Duration::from_millis(200);
    settings.retry_backoff = Duration::from_millis(1);
    settings
}

#[test]
fn an_older_broker_is_asked_again_in_the_version_it_knows() {
    let (address, serving) = broker(|asked, port| match asked.key {
        18 if asked.version > 2 => versions(asked, 0, &[(ApiKey::ApiVersions, 0, 2)]),
        18 => versions(asked, asked.version, SERVED),
        _ => metadata(asked, port),
    });
    let names: Vec<_> = Client::connect(quick(&address)).unwrap().list_topics().unwrap().into_iter().map(|topic| topic.name).collect();
    assert_eq!(names, ["orders"]);
    // The highest version of both sides.
    assert_eq!(finish(&address, serving), [(18, 4), (18, 2), (3, 9)]);
}

#[test]
fn nobody_there_is_one_sentence_at_once() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let began = Instant::now();
    let error = Client::connect(Settings::new(parse_bootstrap(&format!("127.0.0.1:{port}")).unwrap())).err().unwrap();
    assert!(began.elapsed() < Duration::from_secs(3));
    let sentence = error.to_string();
    assert!(sentence.starts_with(&format!("no broker answers at 127.0.0.1:{port} (connection refused)")), "{sentence}");
}

#[test]
fn the_next_bootstrap_broker_is_tried() {
    let (address, serving) = broker(|asked, _| versions(asked, asked.version, SERVED));
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut settings = quick(&address);
    settings.bootstrap.insert(0, Address { host: "127.0.0.1".to_owned(), port: gone });
    assert!(Client::connect(settings).is_ok());
    finish(&address, serving);
}

#[test]
fn a_silent_broker_and_a_foreign_answer_are_told_apart() {
    let (address, serving) = broker(|_, _| Answer::Silence);
    let error = Client::connect(quick(&address)).err().unwrap();
    assert!(matches!(error, ClientError::TimedOut { .. }), "{error}");
    finish(&address, serving);

    let (address, serving) = broker(|asked, _| versions(&Asked { correlation_id: 99, ..*asked }, asked.version, SERVED));
    let error = Client::connect(quick(&address)).err().unwrap();
    assert!(error.to_string().contains("correlation id 99 answers request 0"), "{error}");
    finish(&address, serving);

    // What an HTTP server says: read as a length, 1.2 GB.
    let (address, serving) = broker(|_, _| Answer::Frame(Bytes::from_static(b"HTTP/1.1 400 Bad Request\r\n")));
    let error = Client::connect(quick(&address)).err().unwrap();
    assert!(matches!(error, ClientError::Malformed { .. }), "{error}");
    finish(&address, serving);
}

#[test]
fn a_broken_connection_is_opened_again_and_a_bound_kept() {
    let mut closed = 0;
    let (address, serving) = broker(move |asked, port| match asked.key {
        18 => versions(asked, asked.version, SERVED),
        _ if closed < 2 => {
            closed += 1;
            Answer::Close
        }
        _ => metadata(asked, port),
    });
    assert_eq!(Client::connect(quick(&address)).unwrap().list_topics().unwrap().len(), 1);
    finish(&address, serving);

    let (address, serving) = broker(|asked, _| match asked.key {
        18 => versions(asked, asked.version, SERVED),
        _ => Answer::Close,
    });
    let error = Client::connect(quick(&address)).unwrap().list_topics().unwrap_err();
    assert!(matches!(error, ClientError::Closed { .. }), "{error}");
    let asked = finish(&address, serving);
    assert_eq!(asked.iter().filter(|(key, _)| *key == 3).count(), 3);
}

#[test]
fn a_moved_controller_is_looked_for_and_a_final_answer_believed() {
    let mut refused = 0;
    let (address, serving) = broker(move |asked, port| match asked.key {
        18 => versions(asked, asked.version, SERVED),
        3 => metadata(asked, port),
        _ => {
            refused += 1;
            let code = if refused < 3 { ErrorCode::NotController } else { ErrorCode::TopicAuthorizationFailed };
            let result = DeletableTopicResult::default().with_name(Some(TopicName::default())).with_error_code(code.code());
            let response = DeleteTopicsResponse::default().with_responses(vec![result]);
            Answer::Frame(encode_response(asked.key, asked.version, asked.correlation_id, &response).unwrap())
        }
    });
    let error = Client::connect(quick(&address)).unwrap().delete_topics(&["orders".to_owned()]).unwrap_err();
    assert_eq!(error.refusal(), Some(ErrorCode::TopicAuthorizationFailed));
    assert_eq!(error.to_string(), "Topic authorization failed.");
    let asked = finish(&address, serving);
    // Each refusal asks for the controller afresh.
    assert_eq!(asked.iter().filter(|(key, _)| *key == 3).count(), 3);
    assert_eq!(asked.iter().filter(|asked| **asked == (20, 5)).count(), 3);
}

#[test]
fn an_api_without_a_common_version_is_named() {
    let (address, serving) = broker(|asked, port| match asked.key {
        18 => versions(asked, asked.version, SERVED),
        _ => metadata(asked, port),
    });
    let mut client = Client::connect(quick(&address)).unwrap();
    let error = client.create_topic(&NewTopic {
        name: "a".to_owned(),
        placement: Placement::Automatic { partitions: None, replication_factor: None },
        configs: Vec::new(),
    });
    assert!(error.unwrap_err().to_string().ends_with("does not serve CreateTopics at a version this tool speaks (2..7); it offers 90..99"));
    assert!(!client.serves::<kafka_protocol::messages::CreateTopicsRequest>(&Target::Any).unwrap());
    drop(client);
    finish(&address, serving);
}

/// Of each partition: its index, the error and the offset.
fn offsets(asked: &Asked, partitions: &[(i32, Option<ErrorCode>, i64)]) -> Answer {
    let partitions = partitions.iter().map(|&(index, error, offset)| {
        ListOffsetsPartitionResponse::default()
            .with_partition_index(index)
            .with_error_code(error.map_or(0, ErrorCode::code))
            .with_offset(offset)
    });
    let topic =
        ListOffsetsTopicResponse::default().with_name(TopicName(StrBytes::from_static_str("orders"))).with_partitions(partitions.collect());
    let response = ListOffsetsResponse::default().with_topics(vec![topic]);
    Answer::Frame(encode_response(asked.key, asked.version, asked.correlation_id, &response).unwrap())
}

#[test]
fn a_partition_between_leaders_is_asked_about_again_and_the_others_are_not() {
    let mut times = 0;
    let (address, serving) = broker(move |asked, port| match asked.key {
        18 => versions(asked, asked.version, SERVED),
        3 => metadata(asked, port),
        _ => {
            times += 1;
            match times {
                1 => offsets(asked, &[(0, Some(ErrorCode::NotLeaderOrFollower), -1), (1, None, 9)]),
                _ => offsets(asked, &[(0, None, -1)]),
            }
        }
    });
    let mut settings = quick(&address);
    settings.retries = 2;
    let mut client = Client::connect(settings).unwrap();
    let partition = |index: i32| ("orders".to_owned(), index);
    let asked_about = [partition(0), partition(1), partition(2), partition(3)];
    let answers = client.list_offsets(&asked_about, OffsetSpec::Earliest).unwrap();
    assert_eq!(answers.len(), 4);
    assert_eq!(*answers[&partition(0)].as_ref().unwrap(), None);
    assert_eq!(*answers[&partition(1)].as_ref().unwrap(), Some(9));
    let refusal = |index: i32| answers[&partition(index)].as_ref().unwrap_err().refusal();
    assert_eq!(refusal(2), Some(ErrorCode::LeaderNotAvailable));
    assert_eq!(refusal(3), Some(ErrorCode::UnknownTopicOrPartition));
    // A broker that is too old for the question is not asked.
    let answers = client.list_offsets(&asked_about[..1], OffsetSpec::MaxTimestamp).unwrap();
    assert_eq!(answers[&partition(0)].as_ref().unwrap_err().refusal(), Some(ErrorCode::UnsupportedVersion));
    drop(client);
    let asked = finish(&address, serving);
    assert_eq!(asked.iter().filter(|asked| **asked == (2, 6)).count(), 2);
}

#[test]
fn a_broker_that_leaves_a_partition_out_is_named() {
    let (address, serving) = broker(|asked, port| match asked.key {
        18 => versions(asked, asked.version, SERVED),
        3 => metadata(asked, port),
        _ => offsets(asked, &[]),
    });
    let mut client = Client::connect(quick(&address)).unwrap();
    let answers = client.list_offsets(&[("orders".to_owned(), 0)], OffsetSpec::Latest).unwrap();
    let error = answers[&("orders".to_owned(), 0)].as_ref().unwrap_err();
    assert_eq!(error.to_string(), "broker 7 could not be asked: it left the partition out of its answer");
    drop(client);
    finish(&address, serving);
}
