//! Clients that take what they can get: memory, time, the disk. Each abuse has a bystander, and the broker's memory a limit.

use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::GroupId;
use kafka_protocol::messages::create_topics_request::CreateTopicsRequest;
use kafka_protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use kafka_protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use kafka_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use kafka_protocol::protocol::StrBytes;

use super::bystander::Bystander;
use crate::support::broker::{Broker, Settings, only_ottla};
use crate::support::forge::{Forged, Part, Record, body};
use crate::support::raw::{Connection, NoAnswer};
use crate::support::records::{Batch, Codec};
use crate::support::topics::{self, Ask, FETCH, fetch_request};
use crate::support::{heavy, quiet};

const THEN: i64 = 1_700_000_000_000;
const SHARDS: usize = 2;
const SPAN: Duration = Duration::from_secs(3);
const TRIES: usize = 3;

/// The most the broker has held since its start: its receive memory (128 MiB for each shard), what grows while it is being filled, and
/// what it needs otherwise.
const PEAK_MIB_MAX: u64 = 600;

fn peak_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process of ours");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") / 1024
}

/// Runs an abuse beside a bystander, and holds the broker to its limits.
fn beside(what: &str, abuse: impl Fn(&Broker) + Sync) {
    after(what, |_| (), |broker, ()| abuse(broker));
}

/// The same, after a preparation that is no abuse itself. What else the machine does can only add to the bystander's times: the best try
/// counts.
fn after<T: Send>(what: &str, prepare: impl Fn(&Broker) -> T, abuse: impl Fn(&Broker, T) + Sync) {
    if only_ottla("what abuse may cost others") {
        return;
    }
    let _quiet = quiet();
    for left in (0..TRIES).rev() {
        match once(what, &prepare, &abuse) {
            Ok(()) => return,
            Err(why) if left == 0 => panic!("{why}, in each of {TRIES} tries"),
            Err(why) => println!("{why}; once more"),
        }
    }
}

/// Whether the bystander's bounds were held; the broker's own are asserted.
fn once<T: Send>(what: &str, prepare: impl Fn(&Broker) -> T, abuse: impl Fn(&Broker, T) + Sync) -> Result<(), String> {
    let mut broker = Broker::start(Settings::new().shards(SHARDS));
    let prepared = prepare(&broker);
    let bystander = Bystander::start(&broker);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            step_back();
            abuse(&broker, prepared);
        });
    });
    let fared = bystander.finish(what);
    let peak = peak_mib(broker.pid());
    println!("{what}: {peak} MiB at most");
    assert!(peak < PEAK_MIB_MAX, "{what}: {peak} MiB");
    assert!(!broker.output().contains("panicked"), "{}", broker.output());
    broker.stop();
    fared
}

/// Those who abuse have machines of their own: here, their threads (this one and those it starts) leave the cpus to the broker and to the
/// bystander, who shall not wait for them.
fn step_back() {
    // SAFETY: the call takes no pointers; zero is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 10) };
}

/// What the machine itself makes of a bystander, to compare the others with.
#[test]
fn nothing_at_all() {
    beside("nothing at all", |_| std::thread::sleep(SPAN));
}

#[test]
fn two_hundred_half_requests() {
    beside("two hundred half requests", |broker| {
        let batch = Batch::at(THEN).value([b'v'; 8192]).encode();
        let mut frame = BytesMut::new();
        let request = topics::produce_request("bystander", -1, &[(0, batch)]);
        let body = crate::support::raw::request_frame(topics::PRODUCE, &request, 1, "half");
        frame.put_i32(body.len() as i32);
        frame.put_slice(&body[..body.len() / 2]);
        let mut open: Vec<Connection> = (0..200).map(|_| broker.connect()).collect();
        for connection in &mut open {
            connection.send_bytes(&frame).expect("the broker reads");
        }
        std::thread::sleep(SPAN);
    });
}

/// As many bytes as the broker takes, of requests that announce 100 MiB each and never end.
#[test]
fn sixty_requests_of_a_hundred_mebibytes() {
    beside("sixty requests of 100 MiB", |broker| {
        let began = Instant::now();
        let senders: Vec<_> = (0..60)
            .map(|_| {
                let mut connection = broker.connect();
                connection.set_send_deadline(Duration::from_millis(500));
                std::thread::spawn(move || {
                    let mut front = BytesMut::new();
                    front.put_i32(100 << 20);
                    front.put_slice(&[0, 0, 0, 9, 0, 0, 0, 1, 0, 3, b'b', b'i', b'g', 0]);
                    connection.send_bytes(&front).expect("the broker reads");
                    let chunk = vec![0u8; 64 << 10];
                    while began.elapsed() < SPAN {
                        // The broker reads no further once its memory is taken.
                        if connection.send_bytes(&chunk).is_err() {
                            std::thread::sleep(Duration::from_millis(100));
                        }
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    connection
                })
            })
            .collect();
        for sender in senders {
            drop(sender.join().expect("a sender"));
        }
    });
}

/// Whole requests of 60 MiB, nearly all of it junk behind the request, that wait for something that never comes. They cost what they need
/// while they are read, and nothing while they wait.
#[test]
fn large_requests_that_wait_for_ever() {
    beside("large requests that wait", |broker| {
        topics::create(&mut broker.connect(), "quiet", 1, &[]);
        let ask = Ask { partition: 0, offset: 0, bytes_max: 1 << 20 };
        let fetch = crate::support::raw::request_frame(FETCH, &fetch_request("quiet", &[ask], i32::MAX, 1), 1, "waits");
        let member = JoinGroupRequest::default()
            .with_group_id(GroupId(StrBytes::from_static_str("waits")))
            .with_session_timeout_ms(30_000)
            .with_rebalance_timeout_ms(i32::MAX)
            .with_protocol_type(StrBytes::from_static_str("consumer"))
            .with_protocols(vec![JoinGroupRequestProtocol::default().with_name(StrBytes::from_static_str("range"))]);
        let join = crate::support::raw::request_frame(3, &member, 1, "waits");
        let began = Instant::now();
        let senders: Vec<_> = [&fetch, &join]
            .into_iter()
            .cycle()
            .take(24)
            .map(|request| {
                let mut connection = broker.connect();
                connection.set_send_deadline(Duration::from_millis(500));
                let mut front = BytesMut::new();
                front.put_i32(60 << 20);
                front.put_slice(request);
                let mut left = (60 << 20) - request.len();
                std::thread::spawn(move || {
                    connection.send_bytes(&front).expect("the broker reads");
                    let chunk = vec![0u8; 64 << 10];
                    while left > 0 && began.elapsed() < SPAN {
                        match connection.send_bytes(&chunk[..left.min(chunk.len())]) {
                            Ok(()) => left -= left.min(chunk.len()),
                            // Part of it may have gone: this one never ends its request.
                            Err(_) => std::thread::sleep(SPAN.saturating_sub(began.elapsed())),
                        }
                    }
                    (connection, left == 0)
                })
            })
            .collect();
        let sent: Vec<(Connection, bool)> = senders.into_iter().map(|sender| sender.join().expect("a sender")).collect();
        let whole = sent.iter().filter(|(_, whole)| *whole).count();
        println!("{whole} whole requests");
        assert!(whole > 2, "they pass one after another");
        // Those who ask for more than a little are served as well.
        let mut good = broker.connect();
        topics::produce(&mut good, "quiet", 0, Batch::at(THEN).value(vec![b'v'; 900 << 10]).encode());
    });
}

#[test]
fn clients_that_never_read() {
    beside("clients that never read", |broker| {
        let mut good = broker.connect();
        topics::create(&mut good, "large", 1, &[]);
        for _ in 0..8 {
            topics::produce(&mut good, "large", 0, Batch::at(THEN).value(vec![b'v'; 900 << 10]).encode());
        }
        let mut open: Vec<Connection> = (0..50).map(|_| broker.connect()).collect();
        let ask = Ask { partition: 0, offset: 0, bytes_max: 8 << 20 };
        for connection in &mut open {
            for _ in 0..20 {
                connection.send(FETCH, &fetch_request("large", &[ask], 0, 1));
            }
        }
        std::thread::sleep(SPAN);
    });
}

/// 400 MiB of zeros in one batch of a few hundred kilobytes, again and again: it is taken, as by Kafka, and checked where nobody waits.
#[test]
fn batches_that_decompress_to_four_hundred_mebibytes() {
    let make = |broker: &Broker| {
        let value = vec![0u8; 400 << 20];
        let bomb = Forged::around(body(&[Record::new(0, Part::null(), Part::of(value))]), 1, THEN).compressed(Codec::Gzip).encode();
        assert!(bomb.len() < 1 << 20, "{} bytes", bomb.len());
        topics::create(&mut broker.connect(), "bombs", 2, &[]);
        bomb
    };
    after("gzip bombs", make, |broker, bomb| {
        let began = Instant::now();
        // Several at a time: each keeps a thread of the broker busy.
        std::thread::scope(|scope| {
            for partition in [0, 1, 0, 1] {
                let bomb = &bomb;
                scope.spawn(move || {
                    let mut connection = broker.connect();
                    while began.elapsed() < SPAN {
                        topics::produce(&mut connection, "bombs", partition, bomb.clone());
                    }
                });
            }
        });
    });
}

/// A few hundred bytes with a quarter of a mebibyte inside, for each of many partitions, in request after request: none is long, all are.
#[test]
fn requests_of_many_small_bombs() {
    const PARTITIONS: i32 = 1500;
    let make = |broker: &Broker| {
        let bomb = Forged::around(body(&[Record::new(0, Part::null(), Part::of(vec![0u8; 250 << 10]))]), 1, THEN).compressed(Codec::Gzip);
        topics::create(&mut broker.connect(), "small-bombs", PARTITIONS, &[]);
        let partitions: Vec<(i32, Bytes)> = (0..PARTITIONS).map(|partition| (partition, bomb.encode())).collect();
        topics::produce_request("small-bombs", -1, &partitions)
    };
    after("many small bombs", make, |broker, request| {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let mut connection = broker.connect();
                    while began.elapsed() < SPAN {
                        let answer = connection.call(topics::PRODUCE, &request);
                        let answered = &answer.responses[0].partition_responses;
                        assert!(answered.len() == PARTITIONS as usize && answered.iter().all(|partition| partition.error_code == 0));
                    }
                });
            }
        });
    });
}

/// Whoever has others wait with what decompresses to hundreds of mebibytes has those wait who do the same.
#[test]
fn an_honest_compressed_batch_does_not_wait_behind_bombs() {
    if only_ottla("how long what waits") {
        return;
    }
    let _quiet = quiet();
    let broker = Broker::start(Settings::new().shards(SHARDS));
    let bomb = Forged::around(body(&[Record::new(0, Part::null(), Part::of(vec![0u8; 400 << 20]))]), 1, THEN).compressed(Codec::Gzip);
    let honest = Forged::around(body(&[Record::new(0, Part::null(), Part::of(vec![b'h'; 1 << 20]))]), 1, THEN).compressed(Codec::Gzip);
    topics::create(&mut broker.connect(), "bombs", 1, &[]);
    let request = topics::produce_request("bombs", -1, &[(0, bomb.encode())]);
    let mut bombing: Vec<Connection> = (0..60).map(|_| broker.connect()).collect();
    for connection in &mut bombing {
        connection.send(topics::PRODUCE, &request);
    }
    std::thread::sleep(Duration::from_millis(500));
    let began = Instant::now();
    topics::produce(&mut broker.connect(), "bombs", 0, honest.encode());
    let took = began.elapsed();
    let mut unanswered = 0;
    for connection in &mut bombing {
        connection.set_answer_deadline(Duration::from_millis(1));
        unanswered += usize::from(connection.receive_frame().is_err());
    }
    println!("an honest batch took {took:?} beside {unanswered} bombs");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// A batch of a few kilobytes that is a quarter of a gigabyte when decompressed: who looks for a time in it keeps nobody else waiting.
#[test]
fn looks_into_a_batch_that_decompresses_to_a_quarter_of_a_gigabyte() {
    let make = |broker: &Broker| {
        let value = vec![0u8; 250 << 20];
        let bomb = Forged::around(body(&[Record::new(0, Part::null(), Part::of(value))]), 1, THEN).compressed(Codec::Zstd).encode();
        assert!(bomb.len() < 16 << 10, "{} bytes", bomb.len());
        let mut connection = broker.connect();
        topics::create(&mut connection, "bombs", 2, &[]);
        for partition in 0..2 {
            topics::produce(&mut connection, "bombs", partition, bomb.clone());
        }
    };
    after("looks into a zstd bomb", make, |broker, ()| {
        let began = Instant::now();
        std::thread::scope(|scope| {
            for partition in [0, 1, 0, 1] {
                scope.spawn(move || {
                    let mut connection = broker.connect();
                    while began.elapsed() < SPAN {
                        assert_eq!(topics::offset_at(&mut connection, "bombs", partition, THEN), 0);
                    }
                });
            }
        });
    });
}

/// Requests that name one thing thousands of times: it is answered once where Kafka does so, and where it is not, the answer has a limit.
#[test]
fn what_is_named_ten_thousand_times() {
    const TIMES: usize = 10_000;
    let make = |broker: &Broker| {
        topics::create(&mut broker.connect(), "named", 500, &[]);
    };
    after("names again and again", make, |broker, ()| {
        let mut connection = broker.connect();
        let topic = MetadataRequestTopic::default().with_name(Some(topics::name("named")));
        let answer = connection.call(9, &MetadataRequest::default().with_topics(Some(vec![topic; TIMES])));
        assert_eq!(answer.topics.iter().map(|topic| topic.partitions.len()).collect::<Vec<_>>(), [500]);

        let asks = vec![Ask { partition: 0, offset: 0, bytes_max: 1 << 20 }; TIMES];
        let answer = connection.call(FETCH, &fetch_request("named", &asks, 500, i32::MAX));
        assert_eq!(answer.responses.iter().map(|topic| topic.partitions.len()).collect::<Vec<_>>(), [1]);

        const BROKER: i8 = 4;
        let node = DescribeConfigsResource::default().with_resource_type(BROKER).with_resource_name(StrBytes::from_static_str("1"));
        let node = node.with_configuration_keys(None);
        let request = DescribeConfigsRequest::default().with_resources(vec![node; TIMES]).with_include_synonyms(true);
        assert!(matches!(connection.try_call(4, &request), Err(NoAnswer::Closed)), "an answer of more than a gigabyte");
    });
}

/// Requests that say they hold more than they do, in every length they have.
#[test]
fn lengths_that_lie() {
    beside("lengths that lie", |broker| {
        let request = topics::produce_request("bystander", -1, &[(0, Batch::at(THEN).value("v").encode())]);
        let produce = crate::support::raw::request_frame(topics::PRODUCE, &request, 1, "liar");
        let create = crate::support::raw::request_frame(7, &CreateTopicsRequest::default(), 1, "liar");
        let ask = Ask { partition: 0, offset: 0, bytes_max: 1 };
        let fetch = crate::support::raw::request_frame(FETCH, &fetch_request("bystander", &[ask], 0, 0), 1, "liar");
        let lies: [&[u8]; 4] = [&[0xff, 0xff, 0xff, 0xff, 0x07], &[0xff; 10], &[0x80, 0x80, 0x80, 0x80, 0x08], &[0x7f, 0xff, 0xff, 0xff]];
        let began = Instant::now();
        'all: for frame in [&produce, &create, &fetch].into_iter().cycle() {
            for at in 8..frame.len() {
                for lie in lies {
                    let mut bytes = frame[..at].to_vec();
                    bytes.extend_from_slice(lie);
                    bytes.extend_from_slice(&frame[(at + 1).min(frame.len())..]);
                    let mut connection = broker.connect();
                    connection.set_answer_deadline(Duration::from_millis(5));
                    let _sent = connection.send_frame(&bytes);
                    let _answered = connection.receive_frame();
                    if began.elapsed() > SPAN {
                        break 'all;
                    }
                }
            }
        }
    });
}

/// Two gigabytes that are not in memory any more are read while the bystander writes.
#[test]
fn a_reader_of_cold_data() {
    if !heavy() {
        println!("not run without OTTLA_HEAVY: writes and reads two gigabytes");
        return;
    }
    let write = |broker: &Broker| {
        let mut connection = broker.connect();
        topics::create(&mut connection, "cold", 1, &[("retention.ms", "-1")]);
        let batch: Bytes = Batch::at(THEN).value(vec![b'v'; 1000 << 10]).encode();
        for _ in 0..2048 {
            topics::produce(&mut connection, "cold", 0, batch.clone());
        }
        forget(&broker.partition_dir("cold", 0));
        connection
    };
    after("a reader of cold data", write, |_, mut connection| {
        let mut next = 0;
        while next < 2048 {
            let answer = topics::fetch(&mut connection, "cold", 0, next);
            let records = answer.records.expect("records");
            next += crate::support::records::walk(&records).batches.len() as i64;
        }
    });
}

/// Has the kernel write a partition's files back and drop them from memory.
fn forget(dir: &std::path::Path) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "log") {
            let file = std::fs::File::open(path).unwrap();
            file.sync_all().unwrap();
            nix::fcntl::posix_fadvise(&file, 0, 0, nix::fcntl::PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap();
        }
    }
}
