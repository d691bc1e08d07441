use std::collections::BTreeSet;
use std::net::ToSocketAddrs;

use super::Args;
use super::entity::{Entity, EntityType, Name};
use crate::types::NodeId;

/// Every type of Kafka's, in the order in which its tool lists them.
const KNOWN_TYPES: [&str; 8] = ["topics", "clients", "users", "brokers", "ips", "client-metrics", "groups", "broker-loggers"];

/// Types of which `--entity-default` may be said.
const WITH_DEFAULTS: [&str; 4] = ["users", "clients", "brokers", "ips"];

/// What contradicts itself on the command line, in the sentence of Kafka's tool.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Kafka's tool shows its options too.
    Usage(String),
    Sentence(String),
}

impl From<String> for Refusal {
    fn from(sentence: String) -> Self {
        Refusal::Sentence(sentence)
    }
}

/// The types and names of the command line, the general options before those of one type.
struct Mentioned<'a> {
    types: Vec<&'a str>,
    /// Empty for a default.
    names: Vec<&'a str>,
    /// Said by an option of its own, as `--topic`.
    by_flag: bool,
}

impl<'a> Mentioned<'a> {
    fn of(args: &'a Args) -> Self {
        let named = [
            ("topics", &args.topic),
            ("clients", &args.client),
            ("users", &args.user),
            ("brokers", &args.broker),
            ("broker-loggers", &args.broker_logger),
            ("ips", &args.ip),
            ("client-metrics", &args.client_metrics),
            ("groups", &args.group),
        ];
        let defaults = [
            ("clients", args.client_defaults),
            ("users", args.user_defaults),
            ("brokers", args.broker_defaults),
            ("ips", args.ip_defaults),
        ];
        let mut types: Vec<&str> = args.entity_type.iter().map(String::as_str).collect();
        let mut names: Vec<&str> = args.entity_name.iter().map(String::as_str).collect();
        names.extend((0..args.entity_default).map(|_| ""));
        let before = types.len();
        for (kind, name) in named {
            types.extend(name.as_ref().map(|_| kind));
            names.extend(name.as_deref());
        }
        for (kind, given) in defaults {
            types.extend(given.then_some(kind));
            names.extend(given.then_some(""));
        }
        let by_flag = types.len() > before;
        Mentioned { types, names, by_flag }
    }

    fn any_of(&self, types: &[&str]) -> bool {
        self.types.iter().any(|kind| types.contains(kind))
    }

    fn has_name(&self) -> bool {
        self.names.iter().any(|name| !name.is_empty())
    }

    fn joined_types(&self) -> String {
        self.types.join(",")
    }
}

/// Judges the command line in the order of Kafka's tool; then says what it is about.
pub(super) fn check(args: &Args) -> Result<Entity, Refusal> {
    check_action(args)?;
    let mentioned = Mentioned::of(args);
    check_types(args, &mentioned)?;
    check_names(args, &mentioned)?;
    match args.alter {
        true => check_alter(args, &mentioned)?,
        false => check_describe(args, &mentioned)?,
    }
    if args.bootstrap_controller.is_some() {
        let sentence = "--bootstrap-controller speaks to the listener of a controller, which this tool does not do yet; \
                        name a broker with --bootstrap-server";
        return Err(sentence.to_owned().into());
    }
    if args.alter && mentioned.types.len() != mentioned.names.len() {
        return Err("An entity name must be specified for every entity type".to_owned().into());
    }
    entity(&mentioned)
}

fn check_action(args: &Args) -> Result<(), Refusal> {
    if args.alter == args.describe {
        return Err(Refusal::Usage("Command must include exactly one action: --describe, --alter".to_owned()));
    }
    let changes = [("add-config", args.add_config.is_some()), ("delete-config", !args.delete_config.is_empty())];
    match changes.iter().find(|(_, given)| *given && args.describe) {
        Some((option, _)) => Err(Refusal::Usage(format!("Option \"[describe]\" can't be used with option \"[{option}]\""))),
        None => Ok(()),
    }
}

fn check_types(args: &Args, mentioned: &Mentioned<'_>) -> Result<(), String> {
    let types = &mentioned.types;
    let distinct: BTreeSet<&&str> = types.iter().collect();
    if distinct.len() != types.len() {
        let repeated: BTreeSet<&str> =
            types.iter().enumerate().filter(|(at, kind)| types[..*at].contains(kind)).map(|(_, kind)| *kind).collect();
        let repeated: Vec<&str> = repeated.into_iter().collect();
        return Err(format!("Duplicate entity type(s) specified: {}", repeated.join(",")));
    }
    if args.connection.bootstrap_server.is_none() && args.bootstrap_controller.is_none() && args.zookeeper.is_none() {
        return Err("Either --bootstrap-server or --bootstrap-controller must be specified.".to_owned());
    }
    if let Some(unknown) = types.iter().find(|kind| !KNOWN_TYPES.contains(kind)) {
        return Err(format!(
            "Invalid entity type {unknown}, the entity type must be one of {} with a --bootstrap-server or --bootstrap-controller argument",
            KNOWN_TYPES.join(", ")
        ));
    }
    if types.is_empty() {
        return Err("At least one entity type must be specified".to_owned());
    }
    if types.len() > 1 && distinct != BTreeSet::from([&"clients", &"users"]) {
        return Err("Only 'users' and 'clients' entity types may be specified together".to_owned());
    }
    let general = !args.entity_name.is_empty() || !args.entity_type.is_empty() || args.entity_default > 0;
    if general && mentioned.by_flag {
        return Err("--entity-{type,name,default} should not be used in conjunction with specific entity flags".to_owned());
    }
    Ok(())
}

fn check_names(args: &Args, mentioned: &Mentioned<'_>) -> Result<(), String> {
    if args.connection.bootstrap_server.is_some() && args.bootstrap_controller.is_some() {
        return Err("Only one of --bootstrap-server or --bootstrap-controller can be specified".to_owned());
    }
    let Some(kind) = mentioned.types.first().filter(|_| mentioned.has_name()) else { return Ok(()) };
    if mentioned.any_of(&["brokers", "broker-loggers"])
        && let Some(id) = mentioned.names.iter().find(|name| !name.is_empty() && name.parse::<i32>().is_err())
    {
        return Err(format!("The entity name for {kind} must be a valid integer broker id, but it is: {id}"));
    }
    if mentioned.any_of(&["ips"])
        && let Some(ip) = mentioned.names.iter().find(|name| !name.is_empty() && (**name, 0).to_socket_addrs().is_err())
    {
        return Err(format!("The entity name for {kind} must be a valid IP or resolvable host, but it is: {ip}"));
    }
    Ok(())
}

fn check_describe(args: &Args, mentioned: &Mentioned<'_>) -> Result<(), String> {
    if args.entity_default > 0 && !mentioned.any_of(&WITH_DEFAULTS) {
        return Err(format!("--entity-default must not be specified with --describe of {}", mentioned.joined_types()));
    }
    if mentioned.any_of(&["broker-loggers"]) && !mentioned.has_name() {
        return Err(format!("An entity name must be specified with --describe of {}", mentioned.joined_types()));
    }
    Ok(())
}

fn check_alter(args: &Args, mentioned: &Mentioned<'_>) -> Result<(), String> {
    if mentioned.any_of(&WITH_DEFAULTS) {
        if mentioned.names.is_empty() {
            return Err("An entity-name or default entity must be specified with --alter of users, clients, brokers or ips".to_owned());
        }
    } else if !mentioned.has_name() {
        return Err(format!("An entity name must be specified with --alter of {}", mentioned.joined_types()));
    }
    if args.add_config.is_some() && args.add_config_file.is_some() {
        return Err("Only one of --add-config or --add-config-file must be specified".to_owned());
    }
    if args.add_config.is_none() && args.add_config_file.is_none() && args.delete_config.is_empty() {
        return Err("At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter".to_owned());
    }
    Ok(())
}

/// What this tool can speak about so far.
fn entity(mentioned: &Mentioned<'_>) -> Result<Entity, Refusal> {
    let written = mentioned.types.first().copied().unwrap_or_default();
    let Some(kind) = EntityType::ALL.into_iter().find(|kind| kind.plural() == written) else {
        let sentence =
            format!("{written} have no configs that this tool can describe or alter yet; it serves topics, brokers and broker-loggers");
        return Err(sentence.into());
    };
    let name = match (mentioned.names.first(), kind) {
        (None, _) => Name::Every,
        (Some(name), EntityType::Topics) => Name::Topic((*name).to_owned()),
        (Some(&""), _) => Name::Default,
        (Some(id), _) => {
            let node =
                id.parse().map(NodeId).map_err(|_| format!("The entity name for {written} must be a valid integer broker id, found: {id}"));
            Name::Broker(node?, (*id).to_owned())
        }
    };
    Ok(Entity { kind, name })
}
