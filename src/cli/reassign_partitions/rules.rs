use std::collections::BTreeSet;

use super::{Args, ReassignError, file};
use crate::cli::cluster;
use crate::types::NodeId;

/// How long moves between directories may take to begin, where nobody says.
pub(super) const TIMEOUT_MS: i64 = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Generate,
    Execute,
    Verify,
    Cancel,
    List,
}

impl Action {
    fn option(self) -> &'static str {
        match self {
            Action::Generate => "generate",
            Action::Execute => "execute",
            Action::Verify => "verify",
            Action::Cancel => "cancel",
            Action::List => "list",
        }
    }

    fn required(self) -> &'static [&'static str] {
        match self {
            Action::Generate => &["topics-to-move-json-file", "broker-list"],
            Action::Execute | Action::Verify | Action::Cancel => &["reassignment-json-file"],
            Action::List => &[],
        }
    }

    /// Beside those that are required and those of the connection.
    fn permitted(self) -> &'static [&'static str] {
        match self {
            Action::Generate => &["disable-rack-aware"],
            Action::Execute => {
                &["additional", "throttle", "replica-alter-log-dirs-throttle", "timeout", "disallow-replication-factor-change"]
            }
            Action::Verify => &["preserve-throttles"],
            Action::Cancel => &["preserve-throttles", "timeout"],
            Action::List => &[],
        }
    }
}

/// Kafka's own rules about which options go together.
pub(super) fn check(args: &Args) -> Result<Action, String> {
    let actions = [
        (Action::Generate, args.generate),
        (Action::Execute, args.execute),
        (Action::Verify, args.verify),
        (Action::Cancel, args.cancel),
        (Action::List, args.list),
    ];
    let mut asked = actions.into_iter().filter_map(|(action, given)| given.then_some(action));
    let (Some(action), None) = (asked.next(), asked.next()) else {
        return Err("Command must include exactly one action: --generate, --execute, --verify, --cancel, --list".to_owned());
    };
    match (&args.connection.bootstrap_server, &args.bootstrap_controller) {
        (Some(_), Some(_)) => return Err("Please don't specify both --bootstrap-server and --bootstrap-controller".to_owned()),
        (None, None) => return Err("Please specify either --bootstrap-server or --bootstrap-controller".to_owned()),
        (None, Some(_)) => {
            let sentence = "--bootstrap-controller speaks to the listener of a controller, which this tool does not do yet; \
                            --bootstrap-server serves as well";
            return Err(sentence.to_owned());
        }
        (Some(_), None) => {}
    }
    let options = [
        ("topics-to-move-json-file", args.topics_to_move_json_file.is_some()),
        ("broker-list", args.broker_list.is_some()),
        ("disable-rack-aware", args.disable_rack_aware),
        ("reassignment-json-file", args.reassignment_json_file.is_some()),
        ("throttle", args.throttle.is_some()),
        ("replica-alter-log-dirs-throttle", args.replica_alter_log_dirs_throttle.is_some()),
        ("additional", args.additional),
        ("disallow-replication-factor-change", args.disallow_replication_factor_change),
        ("timeout", args.timeout.is_some()),
        ("preserve-throttles", args.preserve_throttles),
    ];
    let is_given = |name: &str| options.iter().any(|(option, given)| *option == name && *given);
    if let Some(missing) = action.required().iter().find(|name| !is_given(name)) {
        return Err(cluster::missing(missing));
    }
    let is_known = |name: &&str| action.required().contains(name) || action.permitted().contains(name);
    match options.iter().find(|(option, given)| *given && !is_known(option)) {
        Some((option, _)) => Err(format!("Option \"[{option}]\" can't be used with action \"[{}]\"", action.option())),
        None => Ok(action),
    }
}

/// The topics of a file, and the brokers of a list.
pub(super) fn generation(topics: &[u8], brokers: Option<&str>) -> Result<(Vec<String>, BTreeSet<NodeId>), ReassignError> {
    let listed = listed(brokers.unwrap_or_default())?;
    let twice = duplicates(&listed);
    if !twice.is_empty() {
        return Err(ReassignError::BrokersTwice(twice.join(", ")));
    }
    let topics = file::topics(topics)?;
    let twice = duplicates(&topics);
    if !twice.is_empty() {
        return Err(ReassignError::TopicsTwice(twice.join(", ")));
    }
    Ok((topics, listed.into_iter().collect()))
}

/// Commas at the end stand for nothing, as where Java splits.
fn listed(list: &str) -> Result<Vec<NodeId>, ReassignError> {
    let list = match list.trim_end_matches(',') {
        "" if !list.is_empty() => return Ok(Vec::new()),
        trimmed => trimmed,
    };
    list.split(',').map(|id| id.parse().map(NodeId).map_err(|_| ReassignError::BrokerId(id.to_owned()))).collect()
}

/// What is there more than once, each once.
pub(super) fn duplicates<T: Ord + ToString>(all: &[T]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let twice: BTreeSet<&T> = all.iter().filter(|each| !seen.insert(*each)).collect();
    twice.into_iter().map(ToString::to_string).collect()
}
