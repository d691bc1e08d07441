//! `ottla links`: links by the names of Kafka's scripts, through which the program is the tool of that name.
//!
//! Called by `cli`, which also asks it what the program was called as.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::console::Console;
use super::failure::Failure;

/// Kafka's names and ours. Each is linked with and without `.sh`.
const NAMES: &[(&str, &str)] = &[
    ("kafka-server-start", "serve"),
    ("kafka-topics", "topics"),
    ("kafka-configs", "configs"),
    ("kafka-console-producer", "console-producer"),
    ("kafka-console-consumer", "console-consumer"),
    ("kafka-consumer-groups", "consumer-groups"),
    ("kafka-groups", "groups"),
    ("kafka-get-offsets", "get-offsets"),
    ("kafka-delete-records", "delete-records"),
    ("kafka-log-dirs", "log-dirs"),
    ("kafka-broker-api-versions", "api-versions"),
    ("kafka-producer-perf-test", "producer-perf-test"),
    ("kafka-consumer-perf-test", "consumer-perf-test"),
    ("kafka-e2e-latency", "e2e-latency"),
    ("kafka-cluster", "cluster"),
    ("kafka-leader-election", "leader-election"),
    ("kafka-reassign-partitions", "reassign-partitions"),
    ("kafka-dump-log", "dump-log"),
    ("connect-standalone", "connect-standalone"),
];

const EXAMPLES: &str = "\
Example:
    ottla links ~/bin
    kafka-topics.sh --bootstrap-server localhost:9092 --list";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    /// The directory to put the links into; it is made if it is not there. Links that are there already are replaced, files are not.
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

#[derive(Debug, thiserror::Error)]
enum LinksError {
    #[error("cannot tell where this program is: {0}")]
    Program(io::Error),
    #[error("cannot make {path}: {source}")]
    Make { path: String, source: io::Error },
    #[error("{0} is there already and is no link; nothing is done to it, and no further link is made")]
    Taken(String),
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let made = make(&args.dir).map_err(|error| Failure::Sentence(error.to_string()))?;
    for (name, tool) in NAMES {
        writeln!(console.out(), "{name}, {name}.sh: ottla {tool}")?;
    }
    writeln!(console.out(), "{made} links in {}", args.dir.display())?;
    Ok(())
}

fn make(dir: &Path) -> Result<usize, LinksError> {
    let program = std::env::current_exe().map_err(LinksError::Program)?;
    let failed = |path: &Path, source: io::Error| LinksError::Make { path: path.display().to_string(), source };
    std::fs::create_dir_all(dir).map_err(|error| failed(dir, error))?;
    let mut made = 0;
    for name in NAMES.iter().flat_map(|(name, _)| [(*name).to_owned(), format!("{name}.sh")]) {
        let link = dir.join(name);
        match std::fs::symlink_metadata(&link) {
            Ok(there) if there.file_type().is_symlink() => std::fs::remove_file(&link).map_err(|error| failed(&link, error))?,
            Ok(_) => return Err(LinksError::Taken(link.display().to_string())),
            Err(_) => {}
        }
        std::os::unix::fs::symlink(&program, &link).map_err(|error| failed(&link, error))?;
        made += 1;
    }
    Ok(made)
}

/// The tool that a program called by this name is.
pub fn tool_of(program: &Path) -> Option<&'static str> {
    let name = program.file_name()?.to_str()?;
    let name = name.strip_suffix(".sh").unwrap_or(name);
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, tool)| *tool)
}

#[cfg(test)]
pub fn tools() -> impl Iterator<Item = &'static str> {
    NAMES.iter().map(|(_, tool)| *tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_tool() {
        let tool = |path: &str| tool_of(Path::new(path));
        assert_eq!(tool("/opt/kafka/bin/kafka-topics.sh"), Some("topics"));
        assert_eq!(tool("kafka-broker-api-versions"), Some("api-versions"));
        assert_eq!(tool("/usr/bin/ottla"), None);
        assert_eq!(tool("kafka-topics.bat"), None);
    }

    #[test]
    fn links_are_replaced_and_files_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("bin");
        assert_eq!(make(&below).unwrap(), 2 * NAMES.len());
        assert_eq!(make(&below).unwrap(), 2 * NAMES.len());
        assert_eq!(std::fs::read_link(below.join("kafka-topics.sh")).unwrap(), std::env::current_exe().unwrap());
        std::fs::remove_file(below.join("kafka-topics")).unwrap();
        std::fs::write(below.join("kafka-topics"), "mine").unwrap();
        assert!(make(&below).unwrap_err().to_string().contains("kafka-topics is there already"));
        assert_eq!(std::fs::read_to_string(below.join("kafka-topics")).unwrap(), "mine");
    }
}
