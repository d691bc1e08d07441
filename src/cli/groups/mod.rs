//! `ottla groups`: Kafka's kafka-groups, flag by flag and line by line, against any Kafka-compatible cluster.
//!
//! Called by `cli`; calls `client`. Difference from Kafka's tool, on purpose: groups are listed in the order of their names (Kafka's order
//! is that of a hash table).

use std::io::Write;

use super::cluster;
use super::console::Console;
use super::failure::Failure;
use crate::client::{Client, ClientError, GroupListing, GroupType, Settings};

const TOOL: &str = "groups";

/// The narrowest a column is.
const WIDTH_MIN: usize = 20;

const EXAMPLES: &str = "\
Examples:
  Every group, whatever it does:
    ottla groups --bootstrap-server localhost:9092 --list
  Groups of consumers; groups of Connect workers:
    ottla groups --bootstrap-server localhost:9092 --list --consumer
    ottla groups --bootstrap-server localhost:9092 --list --protocol connect";

#[derive(clap::Args, Debug, Default)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    connection: cluster::Connection,
    /// REQUIRED: list the groups.
    #[arg(long)]
    list: bool,
    /// Only groups of this type: classic, consumer, share, streams.
    #[arg(long, value_name = "TYPE")]
    group_type: Option<String>,
    /// Only groups whose members speak this protocol, such as consumer or connect.
    #[arg(long, value_name = "PROTOCOL")]
    protocol: Option<String>,
    /// Only groups of consumers, also those that only committed offsets.
    #[arg(long)]
    consumer: bool,
    /// Only share groups.
    #[arg(long)]
    share: bool,
    /// Only streams groups.
    #[arg(long)]
    streams: bool,
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let usage = |sentence: String| Err(Failure::Usage { sentence, tool: TOOL });
    let Some(bootstrap) = &args.connection.bootstrap_server else {
        return Err(Failure::Sentence("Missing required option(s) [bootstrap-server]".to_owned()));
    };
    if !args.list {
        return usage("Command must include exactly one action: --list.".to_owned());
    }
    let kind = args.group_type.as_deref().map(GroupType::parse);
    if kind == Some(GroupType::Unknown) {
        return Err(Failure::Sentence("--group-type must be a valid group type.".to_owned()));
    }
    if let Some(sentence) = contradiction(args) {
        return usage(sentence);
    }
    let settings = cluster::settings(bootstrap, args.connection.command_config.as_deref(), console)?;
    let listings = list(settings).map_err(|error| Failure::Command { kind: "groups command", tool: TOOL, sentence: error.to_string() })?;
    let shown: Vec<GroupListing> = listings.into_iter().filter(|listing| passes(args, kind, listing)).collect();
    print(&shown, console)?;
    Ok(())
}

/// Kafka's sentence about the first two filters that exclude each other.
fn contradiction(args: &Args) -> Option<String> {
    let kind = ("group-type", args.group_type.is_some());
    let protocol = ("protocol", args.protocol.is_some());
    let (consumer, share, streams) = (("consumer", args.consumer), ("share", args.share), ("streams", args.streams));
    let rows = [
        (consumer, [kind, protocol, share, streams]),
        (share, [consumer, kind, protocol, streams]),
        (streams, [consumer, kind, protocol, share]),
    ];
    let given = rows.into_iter().filter(|((_, given), _)| *given);
    let mut pairs =
        given.flat_map(|((option, _), others)| others.into_iter().filter(|(_, given)| *given).map(move |(other, _)| (option, other)));
    pairs.next().map(|(option, other)| format!("Option \"[{option}]\" can't be used with option \"[{other}]\""))
}

fn list(settings: Settings) -> Result<Vec<GroupListing>, ClientError> {
    Client::connect(settings)?.list_groups()
}

fn passes(args: &Args, kind: Option<GroupType>, listing: &GroupListing) -> bool {
    let speaks = |protocol: &Option<String>| protocol.as_ref().is_none_or(|protocol| *protocol == listing.protocol);
    let is = |kind: GroupType| listing.kind == Some(kind);
    match kind {
        Some(kind) => is(kind) && speaks(&args.protocol),
        None if args.protocol.is_some() => speaks(&args.protocol),
        None if args.consumer => matches!(listing.protocol.as_str(), "consumer" | "") || is(GroupType::Consumer),
        None if args.share => is(GroupType::Share),
        None if args.streams => is(GroupType::Streams),
        None => true,
    }
}

fn print(listings: &[GroupListing], console: &mut Console) -> std::io::Result<()> {
    let rows = listings.iter().map(|listing| {
        let kind = listing.kind.map_or_else(String::new, |kind| kind.to_string());
        [listing.group.clone(), kind, listing.protocol.clone()]
    });
    let rows: Vec<[String; 3]> = rows.collect();
    let width = rows.iter().flatten().map(|cell| cell.chars().count()).max().unwrap_or(0).max(WIDTH_MIN);
    writeln!(console.out(), "{:<width$} {:<width$} {:<width$}", "GROUP", "TYPE", "PROTOCOL")?;
    for [group, kind, protocol] in rows {
        writeln!(console.out(), "{group:<width$} {kind:<width$} {protocol:<width$} ")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::console::captured::capture;
    use crate::client::GroupState;

    fn listing(group: &str, kind: GroupType, protocol: &str) -> GroupListing {
        GroupListing { group: group.to_owned(), protocol: protocol.to_owned(), state: Some(GroupState::Empty), kind: Some(kind) }
    }

    #[test]
    fn filters_choose_groups() {
        let all = [
            listing("modern", GroupType::Consumer, "consumer"),
            listing("old", GroupType::Classic, "consumer"),
            listing("simple", GroupType::Classic, ""),
            listing("workers", GroupType::Classic, "connect"),
            listing("shared", GroupType::Share, "share"),
        ];
        let chosen = |args: Args| {
            let kind = args.group_type.as_deref().map(GroupType::parse);
            all.iter().filter(|listing| passes(&args, kind, listing)).map(|listing| listing.group.as_str()).collect::<Vec<_>>()
        };
        let protocol = Some("connect".to_owned());
        let classic = Some("Classic".to_owned());
        assert_eq!(chosen(Args::default()).len(), 5);
        assert_eq!(chosen(Args { consumer: true, ..Args::default() }), ["modern", "old", "simple"]);
        assert_eq!(chosen(Args { share: true, ..Args::default() }), ["shared"]);
        assert_eq!(chosen(Args { streams: true, ..Args::default() }), [""; 0]);
        assert_eq!(chosen(Args { protocol: protocol.clone(), ..Args::default() }), ["workers"]);
        assert_eq!(chosen(Args { group_type: classic.clone(), ..Args::default() }), ["old", "simple", "workers"]);
        assert_eq!(chosen(Args { group_type: classic, protocol, ..Args::default() }), ["workers"]);
    }

    #[test]
    fn a_long_name_widens_every_column() {
        let long = "a-group-of-thirty-letters-exactly";
        let (_, out, _) = capture(|console| print(&[listing(long, GroupType::Classic, "consumer")], console).unwrap());
        let width = long.len();
        assert_eq!(
            out,
            format!(
                "{:<width$} {:<width$} {:<width$}\n{long} {:<width$} {:<width$} \n",
                "GROUP", "TYPE", "PROTOCOL", "Classic", "consumer"
            )
        );
    }
}
