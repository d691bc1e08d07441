//! `ottla consumer-groups`: Kafka's kafka-consumer-groups, flag by flag and line by line, against any Kafka-compatible cluster.
//!
//! Called by `cli`; calls `client`. As in Kafka, what a broker refuses is a line of the output and no failure of the command. Differences
//! from Kafka's tool, all on purpose: groups and partitions are told in the order of their names (Kafka's order is that of a hash table);
//! a partition whose end nobody knows is shown without it rather than failing the whole group; where no broker answers, the command fails.

mod delete;
mod describe;
mod list;
mod members;
mod plan;
mod reset;
mod rules;
mod time;

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::cluster;
use super::console::Console;
use super::failure::Failure;
use crate::client::{Client, ClientError, GroupListing, GroupType};

pub(super) const TOOL: &str = "consumer-groups";

const EXAMPLES: &str = "\
Examples:
  Which groups are there, and in which state?
    ottla consumer-groups --bootstrap-server localhost:9092 --list
    ottla consumer-groups --bootstrap-server localhost:9092 --list --state --type
  How far behind is a group; who is in it?
    ottla consumer-groups --bootstrap-server localhost:9092 --describe --group billing
    ottla consumer-groups --bootstrap-server localhost:9092 --describe --group billing --members --verbose
    ottla consumer-groups --bootstrap-server localhost:9092 --describe --all-groups --state
  Read a topic again from the start, or from a time. Nobody may be in the group; without --execute it only shows what it would do:
    ottla consumer-groups --bootstrap-server localhost:9092 --reset-offsets --group billing --topic orders --to-earliest --execute
    ottla consumer-groups --bootstrap-server localhost:9092 --reset-offsets --group billing --topic orders:0,1 --by-duration PT2H --dry-run
  Keep the offsets of a group in a file, and bring them back:
    ottla consumer-groups --bootstrap-server localhost:9092 --reset-offsets --group billing --all-topics --to-current --dry-run --export > offsets.csv
    ottla consumer-groups --bootstrap-server localhost:9092 --reset-offsets --group billing --from-file offsets.csv --execute
  Forget what a group committed for a topic; forget the group:
    ottla consumer-groups --bootstrap-server localhost:9092 --delete-offsets --group billing --topic orders
    ottla consumer-groups --bootstrap-server localhost:9092 --delete --group billing";

const ACTIONS: &str = "Actions (exactly one)";
const SCENARIOS: &str = "Where --reset-offsets resets to (exactly one)";

#[derive(clap::Args, Debug, Default)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    connection: cluster::Connection,
    /// How long each question to the cluster may take, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 30_000, allow_negative_numbers = true)]
    timeout: i64,

    /// List all consumer groups.
    #[arg(long, help_heading = ACTIONS)]
    list: bool,
    /// Describe groups: how far they are behind, their members, or their state.
    #[arg(long, help_heading = ACTIONS)]
    describe: bool,
    /// Delete groups with everything they committed.
    #[arg(long, help_heading = ACTIONS)]
    delete: bool,
    /// Change what an inactive group has committed. --dry-run, the default, only shows it.
    #[arg(long, help_heading = ACTIONS)]
    reset_offsets: bool,
    /// Forget what a group committed for topics.
    #[arg(long, help_heading = ACTIONS)]
    delete_offsets: bool,
    /// Tell whether a regular expression can be subscribed to.
    #[arg(long, value_name = "REGEX", help_heading = ACTIONS)]
    validate_regex: Option<String>,

    /// The group; --describe and --delete take several.
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Every group of consumers.
    #[arg(long)]
    all_groups: bool,
    /// The topic, or partitions of it as in orders:0,1; may be given several times.
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// With --reset-offsets: every partition the group has committed for.
    #[arg(long)]
    all_topics: bool,

    /// With --describe: partitions with committed offset, end and lag; the default.
    #[arg(long)]
    offsets: bool,
    /// With --describe: the members.
    #[arg(long)]
    members: bool,
    /// With --describe: state, coordinator and assignment strategy. With --list: show states, or only groups in the states given.
    #[arg(long, value_name = "STATES", num_args = 0..=1, default_missing_value = "")]
    state: Option<String>,
    /// With --list: show types, or only groups of the types given (classic, consumer).
    #[arg(long, value_name = "TYPES", num_args = 0..=1, default_missing_value = "")]
    r#type: Option<String>,
    /// With --describe: more columns.
    #[arg(long)]
    verbose: bool,

    /// Do it.
    #[arg(long)]
    execute: bool,
    /// Only show what would be done.
    #[arg(long)]
    dry_run: bool,
    /// With --reset-offsets: print the offsets as CSV, for --from-file.
    #[arg(long)]
    export: bool,
    /// The earliest record there is.
    #[arg(long, help_heading = SCENARIOS)]
    to_earliest: bool,
    /// The end.
    #[arg(long, help_heading = SCENARIOS)]
    to_latest: bool,
    /// What is committed, or the end where nothing is.
    #[arg(long, help_heading = SCENARIOS)]
    to_current: bool,
    /// This offset.
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true, help_heading = SCENARIOS)]
    to_offset: Option<i64>,
    /// As many records further than committed, or back.
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true, help_heading = SCENARIOS)]
    shift_by: Option<i64>,
    /// The first record of that time or later, as 2026-01-31T12:00:00.000, with +01:00 or the like behind it or else in UTC.
    #[arg(long, value_name = "TIME", help_heading = SCENARIOS)]
    to_datetime: Option<String>,
    /// The first record that is not older, as PT2H30M or P7D.
    #[arg(long, value_name = "DURATION", help_heading = SCENARIOS)]
    by_duration: Option<String>,
    /// The offsets in a file that --export wrote.
    #[arg(long, value_name = "FILE", help_heading = SCENARIOS)]
    from_file: Option<PathBuf>,
}

/// Why a command fails once its options have been found in order.
#[derive(Debug, thiserror::Error)]
enum GroupsError {
    /// The command line asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Sentence(String),
    #[error("{}", .0.as_exception())]
    Client(#[from] ClientError),
    /// As Kafka's tool words it where one of its exceptions carries another.
    #[error("java.util.concurrent.ExecutionException: {}", .0.as_exception())]
    Within(ClientError),
    /// As Kafka's tool words it where it has unpacked the exception.
    #[error("{0}")]
    Bare(ClientError),
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

impl GroupsError {
    /// A broker was reached and has answered.
    fn is_answer(&self) -> bool {
        match self {
            GroupsError::Client(error) | GroupsError::Within(error) | GroupsError::Bare(error) => {
                matches!(error, ClientError::Refused(_) | ClientError::NotConsumers { .. } | ClientError::LeftOut { .. })
            }
            _ => true,
        }
    }
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    rules::check(args, console)?;
    if let Some(regex) = &args.validate_regex {
        return validate(regex, console);
    }
    let bootstrap = args.connection.bootstrap_server.as_deref().unwrap_or_default();
    let mut settings = cluster::settings(bootstrap, args.connection.command_config.as_deref(), console)?;
    settings.api_timeout = Duration::from_millis(u64::try_from(args.timeout).unwrap_or_default().max(1));
    let acted = Client::connect(settings).map_err(GroupsError::from).and_then(|mut client| act(args, &mut client, console));
    match acted {
        Ok(()) => Ok(()),
        Err(GroupsError::Output(error)) => Err(Failure::Output(error)),
        Err(GroupsError::Usage(sentence)) => Err(Failure::Usage { sentence, tool: TOOL }),
        Err(error) => {
            writeln!(console.out(), "\nError: Executing consumer group command failed due to {error}")?;
            // Kafka's tool ends with 0 then; where nobody was reached, a script is to see that nothing was done.
            if error.is_answer() { Ok(()) } else { Err(Failure::Said) }
        }
    }
}

fn act(args: &Args, client: &mut Client, console: &mut Console) -> Result<(), GroupsError> {
    if args.list {
        list::list(args, client, console)
    } else if args.describe {
        let groups = groups(args, client)?;
        match (args.members, args.state.is_some()) {
            (true, _) => members::describe(&groups, args.verbose, client, console),
            (_, true) => describe::states(&groups, args.verbose, client, console),
            _ => describe::offsets(&groups, args.verbose, client, console),
        }
    } else if args.delete {
        delete::groups(&groups(args, client)?, client, console)
    } else if args.reset_offsets {
        reset::reset(args, &groups(args, client)?, client, console)
    } else {
        delete::offsets(&args.group[0], &args.topic, client, console)
    }
}

/// The groups meant, each once.
fn groups(args: &Args, client: &mut Client) -> Result<Vec<String>, GroupsError> {
    let mut groups = match args.all_groups {
        true => consumers(client.list_groups().map_err(GroupsError::Within)?).into_iter().map(|listing| listing.group).collect(),
        false => args.group.clone(),
    };
    groups.sort();
    groups.dedup();
    Ok(groups)
}

/// Those that consumers are in, or were, or that somebody committed for without being in any.
fn consumers(listings: Vec<GroupListing>) -> Vec<GroupListing> {
    let is_known = |kind: Option<GroupType>| matches!(kind, None | Some(GroupType::Classic | GroupType::Consumer));
    listings.into_iter().filter(|listing| matches!(listing.protocol.as_str(), "" | "consumer") && is_known(listing.kind)).collect()
}

fn validate(pattern: &str, console: &mut Console) -> Result<(), Failure> {
    match regex::Regex::new(pattern) {
        Ok(_) => writeln!(console.out(), "The regular expression `{pattern}` is valid.")?,
        Err(error) => {
            let why = error.to_string();
            let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            writeln!(console.out(), "The regular expression `{pattern}` is invalid: {why}.")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
