use std::io::{self, Write};
use std::process::ExitCode;

use super::console::Console;

/// How a tool ends when it does not end well. Each is reported once, here.
#[derive(Debug)]
pub enum Failure {
    /// The command line, a file or an address is wrong: one sentence on standard error.
    Sentence(String),
    /// The command line contradicts itself: the sentence, and where to read how it is meant.
    Usage { sentence: String, tool: &'static str },
    /// Kafka's tools say on standard output that a command failed, and scripts look for it there.
    Command { kind: &'static str, tool: &'static str, sentence: String },
    /// Everything has been said already.
    Said,
    /// A signal asked the tool to end, and it did so in order; with this status, as Kafka's tools do.
    #[cfg(feature = "librdkafka")]
    Ended(u8),
    /// Standard output or error cannot be written.
    Output(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Output(error)
    }
}

impl Failure {
    pub fn report(self, console: &mut Console) -> ExitCode {
        let status = self.status();
        match self.print(console) {
            Ok(()) => status,
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            // Nowhere left to say it.
            Err(_) => ExitCode::FAILURE,
        }
    }

    fn status(&self) -> ExitCode {
        match self {
            #[cfg(feature = "librdkafka")]
            Failure::Ended(status) => ExitCode::from(*status),
            _ => ExitCode::FAILURE,
        }
    }

    fn print(self, console: &mut Console) -> io::Result<()> {
        match self {
            Failure::Sentence(sentence) => writeln!(console.err()?, "{sentence}")?,
            Failure::Usage { sentence, tool } => writeln!(console.err()?, "{sentence}\nFor all options and examples: ottla {tool} --help")?,
            Failure::Command { kind, tool, sentence } => {
                writeln!(console.out(), "Error while executing {kind} : {sentence}")?;
                // Whoever redirected the output still sees on the terminal that it failed, as with Kafka's log line.
                if !console.out_is_terminal() {
                    writeln!(console.err()?, "ottla {tool}: {sentence}")?;
                }
            }
            Failure::Said => {}
            #[cfg(feature = "librdkafka")]
            Failure::Ended(_) => {}
            Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(error),
            Failure::Output(error) => writeln!(io::stderr(), "cannot write the output: {error}")?,
        }
        console.flush()
    }
}
