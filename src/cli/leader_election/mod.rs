//! `ottla leader-election`: Kafka's kafka-leader-election, flag by flag and line by line, against any Kafka-compatible cluster.
//!
//! Called by `cli`; calls `client`. Difference from Kafka's tool, on purpose: partitions are told in their order (Kafka's order is that of
//! a hash table).

use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::cluster;
use super::console::Console;
use super::failure::Failure;
use crate::client::{Client, ClientError, Election, NamedPartition, PerPartition, Settings};
use crate::wire::error::ErrorCode;

const EXAMPLES: &str = "\
Examples:
  Leadership back to the first replica of every partition:
    ottla leader-election --bootstrap-server localhost:9092 --election-type preferred --all-topic-partitions
  Of one partition:
    ottla leader-election --bootstrap-server localhost:9092 --election-type preferred --topic orders --partition 0
  Of those in a file, {\"partitions\": [{\"topic\": \"orders\", \"partition\": 1}]}, whoever of their replicas is alive:
    ottla leader-election --bootstrap-server localhost:9092 --election-type unclean --path-to-json-file partitions.json";

#[derive(clap::Args, Debug, Default)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    connection: cluster::Connection,
    #[arg(long = "admin.config", value_name = "FILE", hide = true)]
    admin_config: Option<PathBuf>,
    /// REQUIRED: preferred, or unclean: a replica that is not in sync may lead, and records may be lost.
    #[arg(long, value_name = "TYPE")]
    election_type: Option<String>,
    /// The topic of one partition.
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// With --topic: the partition.
    #[arg(long, value_name = "NUMBER")]
    partition: Option<i32>,
    /// Every partition that an election makes sense for.
    #[arg(long)]
    all_topic_partitions: bool,
    /// The partitions in a file, in JSON.
    #[arg(long, value_name = "FILE")]
    path_to_json_file: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
enum ElectionError {
    #[error("Missing required option(s): {0}")]
    Missing(String),
    #[error("One and only one of the following options is required: topic, all-topic-partitions, path-to-json-file")]
    Scope,
    #[error("Option partition is only allowed if topic is used")]
    PartitionAlone,
    #[error("Cannot parse argument '{0}' of option election-type")]
    Type(String),
    #[error("cannot read {file}: {source}")]
    Unreadable { file: String, source: std::io::Error },
    #[error("{file} is not a list of partitions: {source}")]
    File { file: String, source: serde_json::Error },
    #[error("Replica election data is empty")]
    Empty,
    #[error("Replica election data contains duplicate partitions: [{0}]")]
    Duplicate(String),
    #[error("{0} replica(s) could not be elected")]
    Failed(usize),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let elected = elect(args, console);
    elected.map_err(|error| match error {
        ElectionError::Output(error) => Failure::Output(error),
        error => Failure::Sentence(error.to_string()),
    })
}

fn elect(args: &Args, console: &mut Console) -> Result<(), ElectionError> {
    let (election, name) = check(args)?;
    let partitions = match (&args.topic, args.partition, &args.path_to_json_file) {
        (Some(topic), Some(partition), _) => Some(vec![(topic.clone(), partition)]),
        (_, _, Some(file)) => Some(read(file)?),
        _ => None,
    };
    if args.admin_config.is_some() {
        writeln!(
            console.out(),
            "Option --admin.config has been deprecated and will be removed in a future version. Use --command-config instead."
        )?;
    }
    let file = args.connection.command_config.as_deref().or(args.admin_config.as_deref());
    let bootstrap = args.connection.bootstrap_server.as_deref().unwrap_or_default();
    let (settings, _) = Settings::from_command_line(bootstrap, file).map_err(ClientError::Settings)?;
    let outcomes = Client::connect(settings)?.elect_leaders(election, partitions.as_deref())?;
    print(&outcomes, name, console)
}

/// Kafka's own rules about which options go together.
fn check(args: &Args) -> Result<(Election, &'static str), ElectionError> {
    let required = [("bootstrap-server", args.connection.bootstrap_server.is_none()), ("election-type", args.election_type.is_none())];
    let missing: Vec<&str> = required.into_iter().filter(|(_, missing)| *missing).map(|(name, _)| name).collect();
    if !missing.is_empty() {
        return Err(ElectionError::Missing(missing.join(", ")));
    }
    let scopes = [args.topic.is_some(), args.all_topic_partitions, args.path_to_json_file.is_some()];
    if scopes.into_iter().filter(|given| *given).count() != 1 {
        return Err(ElectionError::Scope);
    }
    match (&args.topic, args.partition) {
        (Some(_), None) => return Err(ElectionError::Missing("partition".to_owned())),
        (None, Some(_)) => return Err(ElectionError::PartitionAlone),
        _ => {}
    }
    let text = args.election_type.as_deref().unwrap_or_default();
    match text.to_ascii_lowercase().as_str() {
        "preferred" => Ok((Election::Preferred, "PREFERRED")),
        "unclean" => Ok((Election::Unclean, "UNCLEAN")),
        _ => Err(ElectionError::Type(text.to_owned())),
    }
}

#[derive(Deserialize)]
struct Listed {
    partitions: Vec<ListedPartition>,
}

#[derive(Deserialize)]
struct ListedPartition {
    topic: String,
    partition: i32,
}

fn read(path: &Path) -> Result<Vec<NamedPartition>, ElectionError> {
    let file = path.display().to_string();
    let text = std::fs::read(path).map_err(|source| ElectionError::Unreadable { file: file.clone(), source })?;
    if text.trim_ascii().is_empty() {
        return Err(ElectionError::Empty);
    }
    let listed: Listed = serde_json::from_slice(&text).map_err(|source| ElectionError::File { file, source })?;
    let mut partitions: Vec<NamedPartition> = listed.partitions.into_iter().map(|each| (each.topic, each.partition)).collect();
    partitions.sort();
    let mut twice: Vec<String> =
        partitions.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| format!("{}-{}", pair[0].0, pair[0].1)).collect();
    twice.dedup();
    if !twice.is_empty() {
        return Err(ElectionError::Duplicate(twice.join(", ")));
    }
    Ok(partitions)
}

fn print(outcomes: &PerPartition<()>, election: &str, console: &mut Console) -> Result<(), ElectionError> {
    let (mut elected, mut already, mut failed) = (Vec::new(), Vec::new(), Vec::new());
    for ((topic, index), outcome) in outcomes {
        let partition = format!("{topic}-{index}");
        match outcome {
            Ok(()) => elected.push(partition),
            Err(error) if error.refusal() == Some(ErrorCode::ElectionNotNeeded) => already.push(partition),
            Err(error) => failed.push((partition, error.as_exception())),
        }
    }
    if !elected.is_empty() {
        writeln!(console.out(), "Successfully completed leader election ({election}) for partitions {}", elected.join(", "))?;
    }
    if !already.is_empty() {
        writeln!(console.out(), "Valid replica already elected for partitions {}", already.join(", "))?;
    }
    for (partition, why) in &failed {
        writeln!(console.out(), "Error completing leader election ({election}) for partition: {partition}: {why}")?;
    }
    match failed.len() {
        0 => Ok(()),
        count => Err(ElectionError::Failed(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(topic: Option<&str>, partition: Option<i32>) -> Args {
        let text = |text: &str| Some(text.to_owned());
        Args {
            connection: cluster::Connection::to("a:1"),
            election_type: text("Preferred"),
            topic: topic.map(str::to_owned),
            partition,
            ..Args::default()
        }
    }

    #[test]
    fn contradictions_are_told_in_kafkas_sentences() {
        let refused = |args: Args| check(&args).unwrap_err().to_string();
        assert_eq!(check(&args(Some("t"), Some(0))).unwrap(), (Election::Preferred, "PREFERRED"));
        assert_eq!(refused(Args::default()), "Missing required option(s): bootstrap-server, election-type");
        assert_eq!(refused(args(Some("t"), None)), "Missing required option(s): partition");
        assert_eq!(
            refused(Args { all_topic_partitions: true, ..args(None, Some(1)) }),
            "Option partition is only allowed if topic is used"
        );
        assert!(refused(args(None, None)).starts_with("One and only one of the following options is required: topic, "));
        let odd = Args { election_type: Some("odd".to_owned()), ..args(Some("t"), Some(0)) };
        assert_eq!(refused(odd), "Cannot parse argument 'odd' of option election-type");
    }

    #[test]
    fn a_file_lists_partitions_once() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        let read = |text: &str| {
            std::fs::write(&file, text).unwrap();
            read(&file)
        };
        let one = r#"{"topic": "t", "partition": 1}"#;
        assert_eq!(read(&format!(r#"{{"partitions": [{one}]}}"#)).unwrap(), [("t".to_owned(), 1)]);
        let twice = read(&format!(r#"{{"partitions": [{one}, {one}]}}"#)).unwrap_err().to_string();
        assert_eq!(twice, "Replica election data contains duplicate partitions: [t-1]");
        assert_eq!(read(" ").unwrap_err().to_string(), "Replica election data is empty");
        assert!(read("{}").is_err());
    }
}
