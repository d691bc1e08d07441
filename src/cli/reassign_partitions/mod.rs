//! `ottla reassign-partitions`: Kafka's kafka-reassign-partitions, flag by flag and line by line, against any Kafka-compatible cluster.
//!
//! Called by `cli`; calls `client`. As with Kafka's tool, what goes wrong once the command line is read is told on standard output. Differences
//! from Kafka's tool, all on purpose: topics and partitions are told in their order (Kafka's order is that of a hash table); no stack
//! trace; what is not there is told at once rather than after a minute.

mod file;
mod moves;
mod progress;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::cluster;
use super::console::Console;
use super::failure::Failure;
use super::json_file::JsonError;
use crate::client::{Client, ClientError, ConfigResource, NamedPartition, Reassignment, Settings, TopicDescription};
use crate::metadata::decision::{Candidate, FactorChange, ring, take};
use crate::types::NodeId;
use crate::wire::error::ErrorCode;
use file::{Assignment, Replica};
use rules::Action;

const TOOL: &str = "reassign-partitions";

/// How long to wait before replicas are asked to move again that have not come to their broker yet.
const MOVE_RETRY: Duration = Duration::from_millis(100);

/// How many partitions of a topic are asked about at a time.
const PARTITIONS_PER_PAGE: i32 = 2000;

const BROKER_THROTTLES: [&str; 3] =
    ["leader.replication.throttled.rate", "follower.replication.throttled.rate", "replica.alter.log.dirs.io.max.bytes.per.second"];
const TOPIC_THROTTLES: [&str; 2] = ["leader.replication.throttled.replicas", "follower.replication.throttled.replicas"];

const EXAMPLES: &str = "\
Examples:
  A proposal for the topics in a file, {\"topics\": [{\"topic\": \"orders\"}], \"version\": 1}:
    ottla reassign-partitions --bootstrap-server localhost:9092 --generate --topics-to-move-json-file topics.json --broker-list 1,2,3
  Save the last line of that, begin, and look how far it is:
    ottla reassign-partitions --bootstrap-server localhost:9092 --execute --reassignment-json-file plan.json
    ottla reassign-partitions --bootstrap-server localhost:9092 --verify --reassignment-json-file plan.json
  To another log directory of the same broker:
    {\"partitions\": [{\"topic\": \"orders\", \"partition\": 0, \"replicas\": [1], \"log_dirs\": [\"/disk2/kafka\"]}], \"version\": 1}";

#[derive(clap::Args, Debug, Default)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    #[command(flatten)]
    connection: cluster::Connection,
    #[arg(long, value_name = "HOST:PORT", hide = true)]
    bootstrap_controller: Option<String>,
    /// Propose where the partitions of some topics might go; nothing is moved.
    #[arg(long)]
    generate: bool,
    /// Begin to move partitions as the file says.
    #[arg(long)]
    execute: bool,
    /// Look whether partitions are where the file says, and take throttles away when nothing moves any more.
    #[arg(long)]
    verify: bool,
    /// Call off moves of the partitions in the file.
    #[arg(long)]
    cancel: bool,
    /// List the moves under way.
    #[arg(long)]
    list: bool,
    /// With --generate: the topics, in JSON.
    #[arg(long, value_name = "FILE")]
    topics_to_move_json_file: Option<PathBuf>,
    /// With --generate: the ids of the brokers to move to, with commas between.
    #[arg(long, value_name = "IDS", allow_hyphen_values = true)]
    broker_list: Option<String>,
    /// With --generate: do not look at the racks of brokers.
    #[arg(long)]
    disable_rack_aware: bool,
    /// The partitions and their replicas, in JSON, as --generate prints them.
    #[arg(long, value_name = "FILE")]
    reassignment_json_file: Option<PathBuf>,
    /// With --execute: at most so many bytes a second between brokers.
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    throttle: Option<i64>,
    /// With --execute: at most so many bytes a second between log directories of one broker.
    #[arg(long, value_name = "BYTES", allow_hyphen_values = true)]
    replica_alter_log_dirs_throttle: Option<i64>,
    /// With --execute: although other moves are under way; or to change the throttle of those.
    #[arg(long)]
    additional: bool,
    /// With --execute: refuse what would give a partition more or fewer replicas than it has.
    #[arg(long)]
    disallow_replication_factor_change: bool,
    /// With --execute or --cancel: how many milliseconds to wait until moves between log directories have begun. Default: 10000.
    #[arg(long, value_name = "MS", allow_hyphen_values = true)]
    timeout: Option<i64>,
    /// With --verify or --cancel: leave the throttles as they are.
    #[arg(long)]
    preserve_throttles: bool,
}

/// Why it ended early.
#[derive(Debug, thiserror::Error)]
enum ReassignError {
    /// Told as it is; the others are told as errors.
    #[error("{0}")]
    Plain(String),
    #[error("cannot read {file}: {source}")]
    Unreadable { file: String, source: std::io::Error },
    #[error("For input string: \"{0}\"")]
    BrokerId(String),
    #[error("Broker list contains duplicate entries: [{0}]")]
    BrokersTwice(String),
    #[error("List of topics to reassign contains duplicate entries: [{0}]")]
    TopicsTwice(String),
    #[error(transparent)]
    Json(#[from] JsonError),
    #[error(transparent)]
    Assignment(#[from] file::AssignmentError),
    #[error("Unknown broker id {0}")]
    UnknownBroker(NodeId),
    #[error("org.apache.kafka.common.errors.UnknownTopicOrPartitionException: Topic {0} not found.")]
    NoTopic(String),
    #[error("org.apache.kafka.common.errors.UnknownTopicOrPartitionException: Unable to find partition: {0}")]
    NoPartition(String),
    #[error(
        "Not all brokers have rack information. Add --disable-rack-aware in command line to make replica assignment without rack information."
    )]
    SomeRacks,
    #[error("All brokers are currently fenced, or have all their log directories cordoned.")]
    NoBroker,
    #[error(
        "The target replication factor of {factor} cannot be reached because only {brokers} broker(s) are registered or some brokers have \
         all their log directories cordoned."
    )]
    TooFewBrokers { factor: usize, brokers: usize },
    #[error("Failed to alter dir for {replica}\n{reason}")]
    Move { replica: Replica, reason: String },
    #[error("{}", .0.as_exception())]
    Client(#[from] ClientError),
    #[error("cannot write the output: {0}")]
    Output(#[from] std::io::Error),
}

pub fn run(args: &Args, console: &mut Console) -> Result<(), Failure> {
    let action = rules::check(args).map_err(|sentence| Failure::Usage { sentence, tool: TOOL })?;
    match act(args, action, console) {
        Ok(()) => Ok(()),
        Err(ReassignError::Output(error)) => Err(Failure::Output(error)),
        Err(ReassignError::Plain(sentence)) => {
            writeln!(console.out(), "{sentence}")?;
            Err(Failure::Said)
        }
        Err(error) => {
            writeln!(console.out(), "Error: {error}")?;
            Err(Failure::Said)
        }
    }
}

fn act(args: &Args, action: Action, console: &mut Console) -> Result<(), ReassignError> {
    let bootstrap = args.connection.bootstrap_server.as_deref().unwrap_or_default();
    let (settings, unknown) =
        Settings::from_command_line(bootstrap, args.connection.command_config.as_deref()).map_err(ClientError::Settings)?;
    if !unknown.is_empty() {
        writeln!(console.err()?, "These configurations '{}' were supplied but are not used.", unknown.join(", "))?;
    }
    let named = |file: &Option<PathBuf>| read(file.as_deref().unwrap_or(Path::new("")));
    match action {
        Action::Generate => {
            let (topics, brokers) = rules::generation(&named(&args.topics_to_move_json_file)?, args.broker_list.as_deref())?;
            generate(&mut Client::connect(settings)?, &topics, &brokers, !args.disable_rack_aware, console)
        }
        Action::Execute => {
            let wanted = file::parse(&named(&args.reassignment_json_file)?)?.checked()?;
            Execution { args, client: Client::connect(settings)?, wanted }.run(console)
        }
        Action::Verify => {
            let wanted = file::parse(&named(&args.reassignment_json_file)?)?;
            progress::verify(&mut Client::connect(settings)?, &wanted, args.preserve_throttles, console)
        }
        Action::Cancel => {
            let wanted = file::parse(&named(&args.reassignment_json_file)?)?;
            cancel(&mut Client::connect(settings)?, &wanted, args, console)
        }
        Action::List => list(&mut Client::connect(settings)?, console),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, ReassignError> {
    std::fs::read(path).map_err(|source| ReassignError::Unreadable { file: path.display().to_string(), source })
}

fn generate(
    client: &mut Client,
    topics: &[String],
    brokers: &BTreeSet<NodeId>,
    with_racks: bool,
    console: &mut Console,
) -> Result<(), ReassignError> {
    let described = topics.iter().map(|topic| describe(client, topic)).collect::<Result<Vec<_>, _>>()?;
    let metadata = client.metadata()?;
    let listed = metadata.brokers.values().filter(|broker| brokers.contains(&broker.node));
    let candidates: Vec<Candidate<'_>> =
        listed.map(|broker| Candidate { node: broker.node, rack: broker.rack.as_deref().filter(|_| with_racks) }).collect();
    let rackless = candidates.iter().filter(|candidate| candidate.rack.is_none()).count();
    if with_racks && rackless != 0 && rackless != candidates.len() {
        return Err(ReassignError::SomeRacks);
    }
    let mut proposed = BTreeMap::new();
    for topic in &described {
        propose(topic, &candidates, RandomState::new().build_hasher().finish(), &mut proposed)?;
    }
    let current = described.iter().flat_map(replicas_of).collect();
    let dirs = progress::dirs_of(client, &current);
    writeln!(console.out(), "Current partition replica assignment\n{}\n", file::json(&current, &dirs))?;
    writeln!(console.out(), "Proposed partition reassignment configuration\n{}", file::json(&proposed, &BTreeMap::new()))?;
    Ok(())
}

/// Spreads a topic's partitions over the brokers; leaders begin anywhere.
fn propose(
    topic: &TopicDescription,
    candidates: &[Candidate<'_>],
    drawn: u64,
    proposed: &mut BTreeMap<NamedPartition, Vec<NodeId>>,
) -> Result<(), ReassignError> {
    let factor = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
    if candidates.is_empty() {
        return Err(ReassignError::NoBroker);
    }
    if factor > candidates.len() {
        return Err(ReassignError::TooFewBrokers { factor, brokers: candidates.len() });
    }
    let ring = ring(candidates.iter().copied());
    let start = (drawn % ring.len() as u64) as usize;
    let placed = (0..topic.partitions.len()).map(|index| ((topic.name.clone(), index as i32), take(&ring, start, index, factor)));
    proposed.extend(placed);
    Ok(())
}

fn describe(client: &mut Client, topic: &str) -> Result<TopicDescription, ReassignError> {
    match client.describe_topics(&[topic.to_owned()], PARTITIONS_PER_PAGE) {
        Ok(described) => described.into_iter().next().ok_or_else(|| ReassignError::NoTopic(topic.to_owned())),
        Err(error) if error.refusal() == Some(ErrorCode::UnknownTopicOrPartition) => Err(ReassignError::NoTopic(topic.to_owned())),
        Err(error) => Err(error.into()),
    }
}

fn replicas_of(topic: &TopicDescription) -> impl Iterator<Item = (NamedPartition, Vec<NodeId>)> {
    topic.partitions.iter().map(|partition| ((topic.name.clone(), partition.index), partition.replicas.clone()))
}

struct Execution<'a> {
    args: &'a Args,
    client: Client,
    wanted: Assignment,
}

impl Execution<'_> {
    fn run(mut self, console: &mut Console) -> Result<(), ReassignError> {
        let under_way = self.client.list_reassignments(None)?;
        if !self.args.additional && !under_way.is_empty() {
            return Err(ReassignError::Plain(
                "Cannot execute because there is an existing partition assignment.  Use --additional to override this and create a new \
                 partition assignment in addition to the existing one. The --additional flag can also be used to change the throttle by \
                 resubmitting the current reassignment."
                    .to_owned(),
            ));
        }
        let live = self.client.live_brokers()?;
        let brokers: BTreeSet<NodeId> = self.wanted.replicas.values().flatten().copied().collect();
        if let Some(unknown) = brokers.into_iter().find(|broker| !live.contains(broker)) {
            return Err(ReassignError::UnknownBroker(unknown));
        }
        let current = self.current()?;
        let dirs = progress::dirs_of(&mut self.client, &current);
        writeln!(
            console.out(),
            "Current partition replica assignment\n\n{}\n\nSave this to use as the --reassignment-json-file option during rollback",
            file::json(&current, &dirs)
        )?;
        self.throttle(&under_way, &current, console)?;
        self.reassign(console)?;
        if self.wanted.dirs.is_empty() {
            return Ok(());
        }
        move_replicas(&mut self.client, self.wanted.dirs, self.args.timeout.unwrap_or(rules::TIMEOUT_MS), console)
    }

    /// Where the partitions to be moved are.
    fn current(&mut self) -> Result<BTreeMap<NamedPartition, Vec<NodeId>>, ReassignError> {
        let topics: BTreeSet<&String> = self.wanted.replicas.keys().map(|(topic, _)| topic).collect();
        let mut current = BTreeMap::new();
        for topic in topics {
            let described = describe(&mut self.client, topic)?;
            current.extend(replicas_of(&described).filter(|(partition, _)| self.wanted.replicas.contains_key(partition)));
        }
        let missing: Vec<String> =
            self.wanted.replicas.keys().filter(|partition| !current.contains_key(*partition)).map(file::hyphened).collect();
        match missing.is_empty() {
            true => Ok(current),
            false => Err(ReassignError::NoPartition(missing.join(", "))),
        }
    }

    fn throttle(
        &mut self,
        under_way: &BTreeMap<NamedPartition, Reassignment>,
        current: &BTreeMap<NamedPartition, Vec<NodeId>>,
        console: &mut Console,
    ) -> Result<(), ReassignError> {
        let between_brokers = self.args.throttle.filter(|rate| *rate >= 0);
        let between_dirs = self.args.replica_alter_log_dirs_throttle.filter(|rate| *rate >= 0);
        if between_brokers.is_none() && between_dirs.is_none() {
            return Ok(());
        }
        writeln!(
            console.out(),
            "Warning: You must run --verify periodically, until the reassignment completes, to ensure the throttle is removed."
        )?;
        let [leaders, followers, dirs] = BROKER_THROTTLES;
        if let Some(rate) = between_brokers {
            let moves = moves::Moves::new(under_way, &self.wanted.replicas, current);
            for (topic, settings) in moves.topic_throttles() {
                self.client.alter_configs(&ConfigResource::Topic(topic), &settings, &[])?;
            }
            let settings = [leaders, followers].map(|name| (name.to_owned(), rate.to_string()));
            for broker in moves.brokers() {
                self.client.alter_configs(&ConfigResource::Broker(Some(broker)), &settings, &[])?;
            }
            writeln!(console.out(), "The inter-broker throttle limit was set to {rate} B/s")?;
        }
        if let Some(rate) = between_dirs {
            let brokers: BTreeSet<NodeId> = self.wanted.dirs.keys().map(|replica| replica.broker).collect();
            for broker in brokers {
                self.client.alter_configs(&ConfigResource::Broker(Some(broker)), &[(dirs.to_owned(), rate.to_string())], &[])?;
            }
            writeln!(console.out(), "The replica-alter-dir throttle limit was set to {rate} B/s")?;
        }
        Ok(())
    }

    fn reassign(&mut self, console: &mut Console) -> Result<(), ReassignError> {
        let factor = if self.args.disallow_replication_factor_change { FactorChange::Refused } else { FactorChange::Allowed };
        let targets = self.wanted.replicas.iter().map(|(partition, replicas)| (partition.clone(), Some(replicas.clone()))).collect();
        let failed = told(self.client.alter_reassignments(&targets, factor)?);
        if !failed.is_empty() {
            return Err(ReassignError::Plain(format!("Error reassigning partition(s):\n{}", failed.join("\n"))));
        }
        let names: Vec<String> = targets.keys().map(file::hyphened).collect();
        writeln!(console.out(), "Successfully started partition reassignment{} for {}", plural(names.len()), names.join(","))?;
        Ok(())
    }
}

/// What was refused, a line each.
fn told(outcomes: BTreeMap<NamedPartition, Result<(), ClientError>>) -> Vec<String> {
    let failed = outcomes.iter().filter_map(|(partition, outcome)| Some((partition, outcome.as_ref().err()?)));
    failed.map(|(partition, error)| format!("{}: {error}", file::hyphened(partition))).collect()
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Has brokers move replicas to other directories, those again that are not on their broker yet.
fn move_replicas(
    client: &mut Client,
    mut open: BTreeMap<Replica, String>,
    timeout_ms: i64,
    console: &mut Console,
) -> Result<(), ReassignError> {
    let deadline = Instant::now() + Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    loop {
        let brokers: BTreeSet<NodeId> = open.keys().map(|replica| replica.broker).collect();
        for broker in brokers {
            let of_broker = open.iter().filter(|(replica, _)| replica.broker == broker);
            let wanted = of_broker.map(|(replica, dir)| (replica.partition.clone(), dir.clone())).collect();
            for (partition, outcome) in client.move_replicas(broker, &wanted)? {
                let replica = Replica { broker, partition };
                match outcome {
                    Ok(()) => {
                        let dir = open.remove(&replica).unwrap_or_default();
                        let (topic, index) = &replica.partition;
                        writeln!(
                            console.out(),
                            "Successfully started moving log directory to {dir} for replica {topic}-{index} with broker {broker} "
                        )?;
                    }
                    Err(error) if error.refusal() == Some(ErrorCode::ReplicaNotAvailable) => {}
                    Err(error) => return Err(ReassignError::Move { replica, reason: error.as_exception() }),
                }
            }
        }
        if open.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let names: Vec<String> = open.keys().map(Replica::to_string).collect();
            return Err(ReassignError::Plain(format!(
                "Timed out before log directory move{} could be started for: {}",
                plural(names.len()),
                names.join(",")
            )));
        }
        std::thread::sleep(MOVE_RETRY);
    }
}

fn cancel(client: &mut Client, wanted: &Assignment, args: &Args, console: &mut Console) -> Result<(), ReassignError> {
    let partitions: Vec<NamedPartition> = wanted.replicas.keys().cloned().collect();
    let under_way = client.list_reassignments(Some(&partitions))?;
    if under_way.is_empty() {
        writeln!(console.out(), "None of the specified partition reassignments are active.")?;
    } else {
        let targets = under_way.keys().map(|partition| (partition.clone(), None)).collect();
        let failed = told(client.alter_reassignments(&targets, FactorChange::Allowed)?);
        if !failed.is_empty() {
            let plural = plural(failed.len());
            return Err(ReassignError::Plain(format!("Error cancelling partition reassignment{plural} for:\n{}", failed.join("\n"))));
        }
        let names: Vec<String> = targets.keys().map(file::hyphened).collect();
        writeln!(console.out(), "Successfully cancelled partition reassignment{} for: {}", plural(names.len()), names.join(","))?;
    }
    let back = progress::back(client, &wanted.dirs)?;
    match back.is_empty() {
        true => write!(console.out(), "None of the specified partition moves are active.")?,
        false => move_replicas(client, back, args.timeout.unwrap_or(rules::TIMEOUT_MS), console)?,
    }
    match args.preserve_throttles {
        true => Ok(()),
        false => clear_throttles(client, wanted, console),
    }
}

fn list(client: &mut Client, console: &mut Console) -> Result<(), ReassignError> {
    let under_way = client.list_reassignments(None)?;
    if under_way.is_empty() {
        writeln!(console.out(), "No partition reassignments found.")?;
        return Ok(());
    }
    writeln!(console.out(), "Current partition reassignments:")?;
    for (partition, reassignment) in &under_way {
        writeln!(console.out(), "{}", line(partition, reassignment))?;
    }
    Ok(())
}

fn line(partition: &NamedPartition, reassignment: &Reassignment) -> String {
    let some = |what: &str, nodes: &[NodeId]| match nodes.is_empty() {
        true => String::new(),
        false => format!(" {what}: {}.", file::joined(nodes)),
    };
    format!(
        "{}: replicas: {}.{}{}",
        file::hyphened(partition),
        file::joined(&reassignment.replicas),
        some("adding", &reassignment.adding),
        some("removing", &reassignment.removing)
    )
}

/// Takes away every throttle that a reassignment may have set: nobody has noted which.
fn clear_throttles(client: &mut Client, wanted: &Assignment, console: &mut Console) -> Result<(), ReassignError> {
    let mut brokers = client.live_brokers()?;
    brokers.extend(wanted.replicas.values().flatten());
    let brokers: Vec<NodeId> = brokers.into_iter().collect();
    writeln!(console.out(), "Clearing broker-level throttles on broker{} {}", plural(brokers.len()), file::joined(&brokers))?;
    let resources = brokers.iter().map(|broker| ConfigResource::Broker(Some(*broker)));
    remove(client, resources, &BROKER_THROTTLES)?;
    let topics: BTreeSet<&str> = wanted.replicas.keys().map(|(topic, _)| topic.as_str()).collect();
    let names: Vec<&str> = topics.iter().copied().collect();
    writeln!(console.out(), "Clearing topic-level throttles on topic{} {}", plural(names.len()), names.join(","))?;
    remove(client, names.iter().map(|name| ConfigResource::Topic((*name).to_owned())), &TOPIC_THROTTLES)
}

/// Removes settings of all of these; the first refusal is told when every one has been asked.
fn remove(client: &mut Client, resources: impl Iterator<Item = ConfigResource>, names: &[&str]) -> Result<(), ReassignError> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let outcomes: Vec<_> = resources.map(|resource| client.alter_configs(&resource, &[], &names)).collect();
    Ok(outcomes.into_iter().collect::<Result<(), ClientError>>()?)
}

#[cfg(test)]
mod tests;
