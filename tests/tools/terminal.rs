//! The first experiment of every course, in two pseudo-terminals: a topic, a console consumer in one, a console producer in the other, and
//! a line typed there is here at once. Ours and Kafka's own tools on either side.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::StrBytes;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::openpty;

use crate::support::broker::{Broker, Settings};
use crate::support::process::{command, run};
use crate::support::{eventually, noisy, peers, quiet};

const DEADLINE: Duration = Duration::from_secs(90);

/// From the key to the other terminal.
const AT_ONCE: Duration = Duration::from_millis(50);

/// Lines typed at least, and at most until one was there at once: the best counts, as the machine may be busy with something else.
const LINES: usize = 10;
const LINES_MAX: usize = 100;

const JOIN_GROUP: i16 = 11;

const CTRL_C: u8 = 3;
const CTRL_D: u8 = 4;

/// A program in a terminal of its own.
struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    /// `program` as the leader of a session whose terminal this is.
    fn start(program: &Command) -> Terminal {
        let pty = openpty(None, None).expect("a pseudo-terminal");
        // Or the program itself would keep its terminal's other end open.
        fcntl(&pty.master, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        let side = |fd: &OwnedFd| Stdio::from(fd.try_clone().unwrap());
        let mut session = Command::new("setpriv");
        session.args(["--pdeathsig", "KILL", "--", "setsid", "--ctty"]).arg(program.get_program()).args(program.get_args());
        session.stdin(side(&pty.slave)).stdout(side(&pty.slave)).stderr(side(&pty.slave));
        let child = session.spawn().expect("the program starts");
        drop(pty.slave);
        let keyboard = File::from(pty.master);
        let mut reader = keyboard.try_clone().unwrap();
        let screen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&screen);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // An error is the end: nobody holds the terminal any more.
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                sink.lock().unwrap().extend_from_slice(&bytes[..count]);
            }
        });
        Terminal { child, keyboard, screen }
    }

    fn screen(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().unwrap()).into_owned()
    }

    fn type_line(&mut self, line: &str) {
        self.keyboard.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn press(&mut self, key: u8) {
        self.keyboard.write_all(&[key]).unwrap();
    }

    fn shows(&self, text: &str) -> bool {
        self.screen().contains(text)
    }

    /// Waits for the end; gives the exit status.
    fn end(&mut self) -> i32 {
        eventually("the program ends", DEADLINE, || self.child.try_wait().unwrap()).code().unwrap_or(-1)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- on the screen\n{}", self.screen());
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Whose {
    Ottlas,
    Kafkas,
}

fn tool(whose: Whose, ours: &str, class: &str, words: &[String]) -> Command {
    let mut program = match whose {
        Whose::Ottlas => Command::new(env!("CARGO_BIN_EXE_ottla")),
        Whose::Kafkas => {
            // The JVM itself, without the wrapper of the harness.
            let java = peers::java(256);
            let mut words = java.get_args().skip_while(|word| *word != "--").skip(1);
            let mut program = Command::new(words.next().expect("java"));
            program.args(words);
            program
        }
    };
    program.arg(if whose == Whose::Ottlas { ours } else { class }).args(words);
    program
}

fn consumer(whose: Whose, broker: &Broker) -> Terminal {
    let mut words = vec!["--bootstrap-server".to_owned(), broker.bootstrap(), "--topic".to_owned(), "haha".to_owned()];
    if !serves_groups(broker) {
        println!("the consumer is in no group: the broker serves none");
        words.extend(["--partition".to_owned(), "0".to_owned()]);
    }
    Terminal::start(&tool(whose, "console-consumer", "org.apache.kafka.tools.consumer.ConsoleConsumer", &words))
}

fn producer(whose: Whose, broker: &Broker) -> Terminal {
    let mut words = vec!["--bootstrap-server".to_owned(), broker.bootstrap(), "--topic".to_owned(), "haha".to_owned()];
    if whose == Whose::Kafkas {
        // Kafka's own keeps a line for a second, in case another is typed.
        words.extend(["--timeout".to_owned(), "0".to_owned()]);
    }
    Terminal::start(&tool(whose, "console-producer", "org.apache.kafka.tools.ConsoleProducer", &words))
}

fn serves_groups(broker: &Broker) -> bool {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("tests"))
        .with_client_software_version(StrBytes::from_static_str("1"));
    broker.connect().call(3, &request).api_keys.iter().any(|api| api.api_key == JOIN_GROUP)
}

fn ottla(words: &[&str]) -> String {
    let mut program = command(env!("CARGO_BIN_EXE_ottla"));
    program.args(words);
    run("ottla", program, b"", DEADLINE).expect_success()
}

/// Types lines and waits for each on the other screen; the shortest time one took.
fn best_of_lines(producer: &mut Terminal, consumer: &Terminal, name: &str) -> Duration {
    eventually("a prompt", DEADLINE, || producer.shows(">").then_some(()));
    // The consumer begins at the end of the topic: what is typed before it has found that is not for it.
    let mut tried = 0;
    eventually("the consumer is there", DEADLINE, || {
        if consumer.shows("warming up") {
            return Some(());
        }
        producer.type_line(&format!("warming up {tried}"));
        tried += 1;
        std::thread::sleep(Duration::from_millis(250));
        None
    });
    let mut times: Vec<Duration> = Vec::new();
    while times.len() < LINES || (times.len() < LINES_MAX && times.iter().all(|time| *time >= AT_ONCE)) {
        let number = times.len();
        let line = format!("Hello {number}, said {name}.");
        std::thread::sleep(Duration::from_millis(50));
        let typed = Instant::now();
        producer.type_line(&line);
        times.push(loop {
            if consumer.shows(&line) {
                break typed.elapsed();
            }
            assert!(typed.elapsed() < DEADLINE, "{line} did not arrive");
            std::thread::sleep(Duration::from_micros(200));
        });
    }
    println!("{name}: {times:.1?}");
    times.into_iter().min().unwrap_or_default()
}

#[test]
fn a_line_typed_in_one_terminal_is_in_the_other_at_once() {
    let _quiet = quiet();
    let broker = Broker::start(Settings::new());
    let server = broker.bootstrap();
    assert_eq!(ottla(&["topics", "--bootstrap-server", &server, "--create", "--topic", "haha"]), "Created topic haha.");
    assert!(ottla(&["topics", "--bootstrap-server", &server, "--list"]).lines().any(|topic| topic == "haha"));
    let mut consumer_of_ottla = consumer(Whose::Ottlas, &broker);
    let mut producer_of_ottla = producer(Whose::Ottlas, &broker);
    let best = best_of_lines(&mut producer_of_ottla, &consumer_of_ottla, "ottla to ottla");
    assert!(best < AT_ONCE, "ottla to ottla: {best:?} at best");
    {
        let mut producer_of_kafka = producer(Whose::Kafkas, &broker);
        let best = best_of_lines(&mut producer_of_kafka, &consumer_of_ottla, "Kafka to ottla");
        assert!(best < AT_ONCE, "Kafka to ottla: {best:?} at best");
    }
    consumer_of_ottla.press(CTRL_C);
    assert_eq!(consumer_of_ottla.end(), 130, "as a JVM ends at Ctrl-C");
    assert!(consumer_of_ottla.shows("Processed a total of "));
    let consumer_of_kafka = consumer(Whose::Kafkas, &broker);
    let best = best_of_lines(&mut producer_of_ottla, &consumer_of_kafka, "ottla to Kafka");
    assert!(best < AT_ONCE, "ottla to Kafka: {best:?} at best");
    producer_of_ottla.press(CTRL_D);
    assert_eq!(producer_of_ottla.end(), 0);
}

/// On a terminal a line tells how far it is, and is gone at the end; elsewhere there is none.
#[test]
fn long_work_tells_how_far_it_is_where_somebody_looks() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let words = ["producer-perf-test", "--topic", "measured", "--record-size", "10", "--num-records", "300", "--throughput", "200"];
    let perf = || {
        let mut perf = Command::new(env!("CARGO_BIN_EXE_ottla"));
        perf.args(words).args(["--bootstrap-server", &broker.bootstrap()]);
        perf
    };
    let mut terminal = Terminal::start(&perf());
    assert_eq!(terminal.end(), 0);
    eventually("the total is on the screen", DEADLINE, || terminal.shows("300 records sent, ").then_some(()));
    let screen = terminal.screen();
    let (before, total) = screen.split_once("300 records sent, ").unwrap();
    assert!(before.contains(" of 300 records ("), "{screen:?}");
    assert!(before.ends_with("\r\u{1b}[K") && !total.contains(" of 300 records"), "{screen:?}");
    let output = run("producer-perf-test", perf(), b"", DEADLINE);
    assert_eq!((output.stdout.lines().count(), output.stderr.as_str()), (1, ""), "{}", output.stdout);
}
