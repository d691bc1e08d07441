//! A fetch of what lies in the page cache: the bytes go from the file to the socket by `sendfile`, and are never read.

use std::time::Duration;

use kafka_protocol::messages::FetchRequest;
use nix::sys::signal::Signal;

use crate::support::broker::{Broker, Settings, only_ottla, temp_dir};
use crate::support::process::{Process, command};
use crate::support::records::Batch;
use crate::support::topics::{self, Ask, FETCH, fetch_request};
use crate::support::{eventually, peers, quiet};

/// Calls that take bytes out of a file or put them into a socket.
const TRACED: &str = "trace=sendfile,splice,read,readv,pread64,preadv,preadv2,write,writev,sendto,sendmsg,mmap";

const FETCHES: usize = 100;

/// What one traced call moved: `sendfile(31<socket:[1]>, 12</log/t-0/0.log>, [0] => [4096], 4096) = 4096`.
struct Call {
    name: String,
    /// The arguments as strace prints them, with the paths of descriptors.
    arguments: String,
    moved: i64,
}

fn parse(line: &str) -> Option<Call> {
    // With -f every line begins with the thread; a call that was interrupted by another thread's comes in two parts.
    let line = line.split_once(' ').map_or(line, |(thread, rest)| if thread.parse::<u32>().is_ok() { rest } else { line }).trim_start();
    let (call, result) = line.rsplit_once(" = ")?;
    let moved = result.split_whitespace().next()?.parse().ok()?;
    let resumed = call.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>"));
    let (name, arguments) = resumed.or_else(|| call.split_once('('))?;
    Some(Call { name: name.to_string(), arguments: arguments.to_string(), moved })
}

#[test]
fn a_hot_fetch_moves_its_bytes_by_sendfile_and_reads_no_log() {
    let _quiet = quiet();
    peers::dir();
    let broker = Broker::start(Settings::new().shards(2));
    let mut connection = broker.connect();
    topics::create(&mut connection, "hot", 4, &[]);
    for index in 0..40 {
        topics::produce(&mut connection, "hot", index % 4, Batch::at(1_700_000_000_000).value(vec![b'v'; 100_000]).encode());
    }
    let dir = temp_dir();
    let trace = dir.path().join("trace");
    let mut strace = command("strace");
    strace.args(["-f", "-y", "-s", "0", "-e", TRACED, "-o"]).arg(&trace).args(["-p", &broker.pid().to_string()]);
    let mut strace = Process::spawn("strace", strace);
    // Attached when it says so, or when it has something to say about a request of ours.
    eventually("strace is attached", Duration::from_secs(60), || {
        assert!(strace.is_running(), "strace ended\n{}", strace.output());
        strace.output().contains("attached").then_some(())
    });
    let mut received = 0;
    for index in 0..FETCHES {
        let ask = Ask { partition: index as i32 % 4, offset: 0, bytes_max: 1 << 20 };
        connection.send(FETCH, &fetch_request("hot", &[ask], 0, 1));
        let (_, answer) = connection.receive::<FetchRequest>(FETCH);
        received += answer.responses[0].partitions[0].records.as_ref().map_or(0, |records| records.len());
    }
    strace.signal(Signal::SIGINT);
    strace.wait(Duration::from_secs(60));
    let text = std::fs::read_to_string(&trace).unwrap();
    let calls: Vec<Call> = text.lines().filter_map(parse).collect();
    let sent: i64 = calls.iter().filter(|call| call.name == "sendfile").map(|call| call.moved.max(0)).sum();
    println!("{received} bytes of records received, {sent} moved by sendfile, {} calls seen", calls.len());
    assert!(received > FETCHES * 900_000, "{received} bytes received");
    // What did not go by sendfile went some other way, seen by strace or (in the ring) not: the difference tells.
    assert!(sent as f64 >= 0.99 * received as f64, "{sent} of {received} bytes by sendfile");
    assert!(sent as f64 <= 1.01 * received as f64, "{sent} bytes by sendfile for {received} received");
    // Kafka uses sendfile too, but looks into the log for the batch that holds the offset.
    if only_ottla("no other call touches the log") {
        return;
    }
    let reads: Vec<&str> = text
        .lines()
        .filter(|line| line.contains(".log>") && parse(line).is_some_and(|call| call.name != "sendfile" && call.moved > 0))
        .collect();
    assert!(reads.is_empty(), "a .log was touched by other calls than sendfile:\n{}", reads.join("\n"));
    assert!(calls.iter().all(|call| call.name != "mmap" || !call.arguments.contains(".log>")), "a .log was mapped");
}

#[test]
fn strace_lines_are_understood() {
    let call = parse("8123 sendfile(31<TCP:[127.0.0.1:1->127.0.0.1:2]>, 12</x/t-0/00.log>, [0] => [4096], 4096) = 4096").unwrap();
    assert_eq!((&call.name[..], call.moved), ("sendfile", 4096));
    assert!(call.arguments.contains("00.log>"));
    let call = parse("8123 <... sendfile resumed>, [0] => [70], 4096) = 70").unwrap();
    assert_eq!((&call.name[..], call.moved), ("sendfile", 70));
    assert_eq!(
        parse("8123 sendfile(31<socket:[1]>, 12</x.log>, [0], 9) = -1 EAGAIN (Resource temporarily unavailable)").unwrap().moved,
        -1
    );
    assert!(parse("8123 read(3</x>,  <unfinished ...>").is_none());
    assert!(parse("8123 +++ exited with 0 +++").is_none());
}
