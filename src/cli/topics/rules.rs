use super::Args;
use crate::cli::cluster::missing;

const NOT_HERE: &str = " (To alter topic configurations, the kafka-configs tool can be used.)";

/// The five actions, by the name of their flag.
const ACTIONS: [&str; 5] = ["alter", "create", "describe", "list", "delete"];

/// An option, and the actions it may be used with. In the order in which Kafka's tool complains.
const USED_WITH: &[(&str, &[&str])] = &[
    ("config", &["alter", "create"]),
    ("partitions", &["alter", "create"]),
    ("replication-factor", &["create"]),
    ("replica-assignment", &["alter", "create"]),
    ("under-replicated-partitions", &["describe"]),
    ("under-min-isr-partitions", &["describe"]),
    ("at-min-isr-partitions", &["describe"]),
    ("unavailable-partitions", &["describe"]),
    ("topics-with-overrides", &["describe"]),
    ("if-exists", &["alter", "delete", "describe"]),
    ("if-not-exists", &["create"]),
    ("exclude-internal", &["list", "describe"]),
];

/// Options that ask for a report on partitions, which `--topics-with-overrides` does not print.
const REPORTS: [&str; 4] = ["under-replicated-partitions", "under-min-isr-partitions", "at-min-isr-partitions", "unavailable-partitions"];

/// What contradicts itself on the command line, in the sentence of Kafka's tool.
pub fn check(args: &Args) -> Result<(), String> {
    let given = |option: &str| is_given(args, option);
    if ACTIONS.iter().filter(|action| given(action)).count() != 1 {
        return Err("Command must include exactly one action: --list, --describe, --create, --alter or --delete".to_owned());
    }
    if args.connection.bootstrap_server.is_none() && args.zookeeper.is_none() {
        return Ok(());
    }
    if args.describe && args.if_exists && args.topic.is_none() && args.topic_id.is_none() {
        return Err("--topic or --topic-id is required to describe a topic".to_owned());
    }
    if !args.list && !args.describe && args.topic.is_none() {
        return Err(missing("topic"));
    }
    if args.alter && !args.config.is_empty() {
        return Err(format!("Option combination \"[[bootstrap-server], [config]]\" can't be used with option \"[alter]\"{NOT_HERE}"));
    }
    if args.alter && args.partitions.is_none() {
        return Err(missing("partitions"));
    }
    for (option, actions) in USED_WITH.iter().filter(|(option, _)| given(option)) {
        if let Some(action) = ACTIONS.iter().find(|action| given(action) && !actions.contains(action)) {
            return Err(conflict(option, action));
        }
        if *option == "replica-assignment"
            && args.create
            && let Some(other) = ["partitions", "replication-factor"].iter().find(|other| given(other))
        {
            return Err(conflict(option, other));
        }
        if REPORTS.contains(option) && args.topics_with_overrides {
            return Err(conflict(option, "topics-with-overrides"));
        }
    }
    Ok(())
}

fn conflict(option: &str, other: &str) -> String {
    format!("Option \"[{option}]\" can't be used with option \"[{other}]\"")
}

fn is_given(args: &Args, option: &str) -> bool {
    match option {
        "alter" => args.alter,
        "create" => args.create,
        "describe" => args.describe,
        "list" => args.list,
        "delete" => args.delete,
        "config" => !args.config.is_empty(),
        "partitions" => args.partitions.is_some(),
        "replication-factor" => args.replication_factor.is_some(),
        "replica-assignment" => args.replica_assignment.is_some(),
        "under-replicated-partitions" => args.under_replicated_partitions,
        "under-min-isr-partitions" => args.under_min_isr_partitions,
        "at-min-isr-partitions" => args.at_min_isr_partitions,
        "unavailable-partitions" => args.unavailable_partitions,
        "topics-with-overrides" => args.topics_with_overrides,
        "if-exists" => args.if_exists,
        "if-not-exists" => args.if_not_exists,
        "exclude-internal" => args.exclude_internal,
        other => unreachable!("no rule names --{other}"),
    }
}
