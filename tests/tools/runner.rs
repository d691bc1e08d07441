//! One command line, run by Kafka's tool and by ours.

use std::io::Write;
use std::path::Path;
use std::process::ChildStdin;
use std::time::Duration;

use super::table::Tool;
use crate::support::process::{Process, command, run};
use crate::support::{broker, peers};

/// Kafka waits a minute for what does not come; the table has none of these.
const DEADLINE: Duration = Duration::from_secs(120);

/// What a command left behind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Said {
    pub status: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs Kafka's tools.
pub enum Kafkas {
    /// All of them in one JVM, by `peers/ToolRunner.java`.
    OneJvm(Box<OneJvm>),
    /// Each in a JVM of its own, as a user would: some two seconds each.
    JvmEach,
}

pub struct OneJvm {
    process: Process,
    commands: ChildStdin,
    dir: tempfile::TempDir,
    count: usize,
}

impl Kafkas {
    pub fn start() -> Self {
        if std::env::var("OTTLA_HEAVY").is_ok_and(|set| set == "1") {
            return Kafkas::JvmEach;
        }
        Kafkas::OneJvm(Box::new(OneJvm::start()))
    }

    pub fn run(&mut self, tool: Tool, words: &[String]) -> Said {
        match self {
            Kafkas::OneJvm(jvm) => jvm.run(tool, words),
            Kafkas::JvmEach => {
                let (words, input) = split(words);
                let mut java = peers::java(256);
                java.arg(tool.class()).args(words);
                let output = run(tool.class(), java, &input, DEADLINE);
                Said { status: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr: output.stderr }
            }
        }
    }
}

impl OneJvm {
    pub fn start() -> Self {
        Self::start_with(peers::Jars::Kafka)
    }

    /// The tools of another release.
    pub fn start_with(jars: peers::Jars) -> Self {
        let dir = broker::temp_dir();
        let mut java = peers::java_of(jars, 256);
        java.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers/ToolRunner.java")).arg(dir.path());
        let (process, commands) = Process::spawn_fed("kafka's tools", java);
        OneJvm { process, commands, dir, count: 0 }
    }

    fn run(&mut self, tool: Tool, words: &[String]) -> Said {
        self.run_class(tool.class(), words)
    }

    /// As [`Kafkas::run`], for tools that ours have no counterpart of.
    pub fn run_class(&mut self, class: &str, words: &[String]) -> Said {
        let line = std::iter::once(class).chain(words.iter().map(String::as_str)).collect::<Vec<_>>().join("\t");
        writeln!(self.commands, "{line}").expect("the tools' JVM reads its commands");
        let done = format!("done {} ", self.count);
        let status = self.process.wait_for_line(DEADLINE, |line| line.strip_prefix(&done)?.parse().ok());
        let text = |kind: &str| {
            let bytes = std::fs::read(self.dir.path().join(format!("{}.{kind}", self.count))).unwrap();
            String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned()
        };
        let said = Said { status, stdout: text("out"), stderr: text("err") };
        self.count += 1;
        said
    }
}

/// The words of a command line, and what it is to read: the file of the word that begins with `<`.
fn split(words: &[String]) -> (Vec<&String>, Vec<u8>) {
    let input = words.iter().find_map(|word| word.strip_prefix('<')).map(|file| std::fs::read(file).unwrap());
    (words.iter().filter(|word| !word.starts_with('<')).collect(), input.unwrap_or_default())
}

/// Ours.
pub fn run_ottla(tool: Tool, words: &[String]) -> Said {
    let (words, input) = split(words);
    let mut ottla = command(env!("CARGO_BIN_EXE_ottla"));
    ottla.arg(tool.name()).args(&words);
    // Whoever waits in vain is named with what it was told.
    let output = run(&format!("ottla {} {words:?}", tool.name()), ottla, &input, DEADLINE);
    Said { status: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr: output.stderr }
}
