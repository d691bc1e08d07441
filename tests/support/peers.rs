//! Where the real peers are, and how to call them. The first test that needs one runs `tests/peers/install`, which is quick when they are
//! there already.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use super::process::{Output, command, run};

/// A JVM tool starts in about two seconds on an idle core; this leaves room for a machine that is busy with something else.
pub const TOOL_DEADLINE: Duration = Duration::from_secs(180);

const INSTALL_DEADLINE: Duration = Duration::from_secs(900);

/// The directory the peers are installed in.
pub fn dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/install");
        run("peers/install", command(&script), b"", INSTALL_DEADLINE).expect_success();
        let mut ask = command(&script);
        ask.arg("--print-dir");
        PathBuf::from(run("peers/install --print-dir", ask, b"", TOOL_DEADLINE).expect_success().trim())
    })
}

/// Brings Debian's package of ZooKeeper.
pub fn debian_zookeeper() {
    let mut install = command(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/install"));
    install.arg("--debian-zookeeper");
    run("peers/install --debian-zookeeper", install, b"", INSTALL_DEADLINE).expect_success();
}

/// Jars of one release, in a directory of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Jars {
    Kafka,
    /// 2.8: the last whose tools speak to ZooKeeper.
    Kafka28,
    ZooKeeper,
    /// As Debian packages it: brought by [`debian_zookeeper`].
    ZooKeeperOfDebian,
}

/// A JVM with every Kafka jar on its class path, ready for a main class and its arguments.
pub fn java(heap_mib: u32) -> Command {
    java_of(Jars::Kafka, heap_mib)
}

/// A JVM with these jars and no others on its class path.
pub fn java_of(jars: Jars, heap_mib: u32) -> Command {
    let (name, log) = match jars {
        Jars::Kafka => ("kafka", "log4j2.configurationFile={}/log4j2.yaml"),
        Jars::Kafka28 => ("kafka-2.8", "log4j.configuration=file:{}/kafka-2.8.log4j.properties"),
        Jars::ZooKeeper => ("zookeeper", "org.slf4j.simpleLogger.defaultLogLevel=warn"),
        Jars::ZooKeeperOfDebian => ("zookeeper-debian", "zookeeper.root.logger=WARN"),
    };
    let peers = format!("{}/tests/peers", env!("CARGO_MANIFEST_DIR"));
    let mut java = command("java");
    java.arg(format!("-Xmx{heap_mib}m"))
        // The tools live for seconds: no optimising compiler, no collector threads, no counters file in /tmp.
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:-UsePerfData"])
        .arg(format!("-D{}", log.replace("{}", &peers)))
        .arg("-cp")
        .arg(dir().join(name).join("*"));
    java
}

/// Runs one of Kafka's own command-line tools by its main class.
pub fn kafka_tool(class: &str, args: &[&str]) -> Output {
    let mut tool = java(256);
    tool.arg(class).args(args);
    run(class, tool, b"", TOOL_DEADLINE)
}

pub fn kcat(args: &[&str], input: &[u8]) -> Output {
    dir();
    let mut kcat = command("kcat");
    kcat.args(args);
    run("kcat", kcat, input, TOOL_DEADLINE)
}

/// Runs a Python program with kafka-python at hand.
pub fn python(program: &str, args: &[&str]) -> Output {
    let mut python = command(dir().join("python/bin/python"));
    python.arg("-c").arg(program).args(args);
    run("python", python, b"", TOOL_DEADLINE)
}

/// A Python program of `tests/peers/py`, with confluent-kafka and kafka-python at hand.
pub fn python_program(program: &str) -> Command {
    let mut python = command(dir().join("python/bin/python"));
    python.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/py").join(program));
    python
}

/// Runs the program made with franz-go: `tests/peers/go`.
pub fn franz_go(args: &[&str]) -> Output {
    let mut program = franz_go_program();
    program.args(args);
    run("franz-go", program, b"", TOOL_DEADLINE)
}

pub fn franz_go_program() -> Command {
    command(dir().join("franz-go"))
}

/// Runs a program of `tests/peers/js` with kafkajs at hand.
pub fn kafkajs(program: &str, args: &[&str]) -> Output {
    let mut node = kafkajs_program(program);
    node.args(args);
    run("kafkajs", node, b"", TOOL_DEADLINE)
}

pub fn kafkajs_program(program: &str) -> Command {
    let mut node = command("node");
    node.env("NODE_PATH", dir().join("js/node_modules"));
    node.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/js").join(program));
    node
}
