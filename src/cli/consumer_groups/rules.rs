use super::{Args, TOOL};
use crate::cli::cluster;
use crate::cli::console::Console;
use crate::cli::failure::Failure;

const NO_ACTION: &str =
    "Command must include exactly one action: --list, --describe, --delete, --reset-offsets, --delete-offsets, --validate-regex";

const NO_EXECUTE: &str = "WARN: No action will be performed as the --execute option is missing. In version 5.0, this command will require \
                          either --dry-run or --execute to be specified. You should add the --dry-run option explicitly if you are \
                          scripting this command and want to keep the current default behavior without prompting.";

/// Kafka's own rules about which options go together, in its order and its sentences.
pub fn check(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let refuse = |sentence: String| Err(Failure::Usage { sentence, tool: TOOL });
    if let Some(sentence) = unavailable(args) {
        return refuse(sentence);
    }
    if args.validate_regex.is_none() && args.connection.bootstrap_server.is_none() {
        return refuse(cluster::missing("bootstrap-server"));
    }
    let has_group = !args.group.is_empty() || args.all_groups;
    let needs_group = |action: &str| format!("Option [{action}] takes one of these options: [group], [all-groups]");
    if args.describe {
        if !has_group {
            return refuse(needs_group("describe"));
        }
        if [args.members, args.offsets, args.state.is_some()].into_iter().filter(|given| *given).count() > 1 {
            return refuse("Option [describe] takes at most one of these options: [members], [offsets], [state]".to_owned());
        }
        if args.state.as_deref().is_some_and(|value| !value.is_empty()) {
            return refuse("Option [describe] does not take a value for [state]".to_owned());
        }
    }
    if args.delete {
        if !has_group {
            return refuse(needs_group("delete"));
        }
        if !args.topic.is_empty() {
            return refuse("The consumer does not support topic-specific offset deletion from a consumer group.".to_owned());
        }
    }
    if args.delete_offsets && (args.group.is_empty() || args.topic.is_empty()) {
        return refuse("Option [delete-offsets] takes the following options: [group], [topic]".to_owned());
    }
    if args.reset_offsets {
        if args.dry_run && args.execute {
            return refuse("Option [reset-offsets] only accepts one of [execute] and [dry-run]".to_owned());
        }
        if !args.dry_run && !args.execute {
            writeln!(console.err()?, "{NO_EXECUTE}")?;
        }
        if !has_group {
            return refuse(needs_group("reset-offsets"));
        }
        if let [first, second, ..] = scenarios(args)[..] {
            return refuse(format!("Option \"[{first}]\" can't be used with option \"[{second}]\""));
        }
    }
    if let Some(sentence) = foreign(args) {
        return refuse(sentence);
    }
    let actions = [args.list, args.describe, args.delete, args.reset_offsets, args.delete_offsets, args.validate_regex.is_some()];
    match actions.into_iter().filter(|given| *given).count() {
        1 => Ok(()),
        _ => refuse(NO_ACTION.to_owned()),
    }
}

/// Options that only go with an action that is not there.
fn unavailable(args: &Args) -> Option<String> {
    let rows = [
        ("members", args.members, args.describe),
        ("verbose", args.verbose, args.describe),
        ("offsets", args.offsets, args.describe),
        ("state", args.state.is_some(), args.describe || args.list),
        ("type", args.r#type.is_some(), args.list),
    ];
    let (option, ..) = rows.into_iter().find(|(_, given, allowed)| *given && !allowed)?;
    Some(format!("Option(s) [{option}] are unavailable given other options on the command line"))
}

/// The scenarios given, in the order in which Kafka looks at them.
fn scenarios(args: &Args) -> Vec<&'static str> {
    let rows = [
        ("to-offset", args.to_offset.is_some()),
        ("to-datetime", args.to_datetime.is_some()),
        ("by-duration", args.by_duration.is_some()),
        ("to-earliest", args.to_earliest),
        ("to-latest", args.to_latest),
        ("to-current", args.to_current),
        ("shift-by", args.shift_by.is_some()),
        ("from-file", args.from_file.is_some()),
    ];
    rows.into_iter().filter(|(_, given)| *given).map(|(name, _)| name).collect()
}

fn foreign(args: &Args) -> Option<String> {
    let has_group = !args.group.is_empty();
    let has_topic = !args.topic.is_empty();
    let rows = [
        ("group", "all-groups", has_group && args.all_groups),
        ("group", "list", has_group && args.list),
        ("topic", "list", has_topic && args.list),
        ("topic", "describe", has_topic && args.describe),
    ];
    let (option, other, _) = rows.into_iter().find(|(.., given)| *given)?;
    Some(format!("Option \"[{option}]\" can't be used with option \"[{other}]\""))
}
