use super::file::{AssignmentError, hyphened, json, parse, topics};
use super::moves::Moves;
use super::progress::{DirState, PartitionState, dir_line, partition_line};
use super::*;
use crate::cli::console::captured::capture;

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn partition(index: i32) -> NamedPartition {
    ("t".to_owned(), index)
}

fn args() -> Args {
    Args { connection: cluster::Connection::to("127.0.0.1:1"), ..Args::default() }
}

#[test]
fn options_go_together_as_kafka_has_it() {
    let refused = |args: Args| rules::check(&args).unwrap_err();
    let file = || Some(PathBuf::from("f"));
    let one = "Command must include exactly one action: --generate, --execute, --verify, --cancel, --list";
    assert_eq!(refused(Args { execute: true, verify: true, ..args() }), one);
    assert_eq!(refused(args()), one);
    assert_eq!(refused(Args { list: true, ..Args::default() }), "Please specify either --bootstrap-server or --bootstrap-controller");
    let both = Args { list: true, bootstrap_controller: Some("a:1".to_owned()), ..args() };
    assert_eq!(refused(both), "Please don't specify both --bootstrap-server and --bootstrap-controller");
    let controller = Args { bootstrap_controller: Some("a:1".to_owned()), list: true, ..Args::default() };
    assert!(refused(controller).starts_with("--bootstrap-controller speaks to the listener of a controller"));
    assert_eq!(refused(Args { verify: true, ..args() }), "Missing required argument \"[reassignment-json-file]\"");
    let generate = Args { generate: true, topics_to_move_json_file: file(), ..args() };
    assert_eq!(refused(generate), "Missing required argument \"[broker-list]\"");
    let throttled = Args { verify: true, reassignment_json_file: file(), throttle: Some(1), ..args() };
    assert_eq!(refused(throttled), "Option \"[throttle]\" can't be used with action \"[verify]\"");
    let execute = Args { execute: true, reassignment_json_file: file(), throttle: Some(1), additional: true, ..args() };
    assert_eq!(rules::check(&execute), Ok(Action::Execute));
    assert_eq!(rules::check(&Args { list: true, ..args() }), Ok(Action::List));
}

#[test]
fn what_goes_wrong_is_told_on_standard_output() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let said = |text: &str, args: fn(PathBuf) -> Args| {
        std::fs::write(file.path(), text).unwrap();
        let (ended, out, err) = capture(|console| run(&args(file.path().into()), console));
        assert!(matches!(ended, Err(Failure::Said)) && err.is_empty(), "{ended:?} {err}");
        out
    };
    let execute = |file| Args { execute: true, reassignment_json_file: Some(file), ..args() };
    assert_eq!(said("{", execute), "Error: The input string is not a valid JSON\n");
    assert_eq!(said("{}", execute), "Error: Partition reassignment list cannot be empty\n");
    let generate = |file| Args { generate: true, topics_to_move_json_file: Some(file), broker_list: Some("1,x".to_owned()), ..args() };
    assert_eq!(said("{}", generate), "Error: For input string: \"x\"\n");
    let twice = |file| Args { generate: true, topics_to_move_json_file: Some(file), broker_list: Some("2,1,2,1".to_owned()), ..args() };
    assert_eq!(said("{}", twice), "Error: Broker list contains duplicate entries: [1, 2]\n");
    let gone = capture(|console| run(&Args { verify: true, reassignment_json_file: Some("/nowhere/at.all".into()), ..args() }, console)).1;
    assert!(gone.starts_with("Error: cannot read /nowhere/at.all: "), "{gone}");
}

#[test]
fn a_file_names_replicas_and_directories() {
    let text = br#"{"partitions": [{"topic": "t", "partition": 1, "replicas": [2, 1], "log_dirs": ["any", "/d"]},
        {"topic": "t", "partition": 0, "replicas": [3]}], "version": 1}"#;
    let parsed = parse(text).unwrap().checked().unwrap();
    assert_eq!(parsed.replicas, BTreeMap::from([(partition(0), nodes(&[3])), (partition(1), nodes(&[2, 1]))]));
    let replica = Replica { broker: NodeId(1), partition: partition(1) };
    assert_eq!(replica.to_string(), "t-1-1");
    assert_eq!(parsed.dirs, BTreeMap::from([(replica, "/d".to_owned())]));
    let line = json(&parsed.replicas, &parsed.dirs);
    assert!(line.starts_with(r#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[3],"log_dirs":["any"]},{"#), "{line}");
    assert!(line.contains(r#""replicas":[2,1],"log_dirs":["any","/d"]"#), "{line}");
    let again = parse(line.as_bytes()).unwrap();
    assert_eq!((again.replicas, again.dirs), (parsed.replicas, parsed.dirs));
    assert_eq!(topics(br#"{"topics": [{"topic": "b"}, {"topic": "a"}], "version": 1}"#).unwrap(), ["b", "a"]);
}

#[test]
fn a_file_that_cannot_be_meant_is_refused() {
    let refused = |entries: &str| {
        let parsed = parse(format!("{{\"partitions\": [{entries}]}}").as_bytes());
        parsed.and_then(|assignment| assignment.checked()).unwrap_err().to_string()
    };
    let entry = |replicas: &str| format!("{{\"topic\": \"t\", \"partition\": 0, \"replicas\": [{replicas}]}}");
    assert_eq!(refused(""), "Partition reassignment list cannot be empty");
    assert_eq!(refused(&entry("")), "Partition replica list cannot be empty");
    assert_eq!(refused(&[entry("1"), entry("2")].join(",")), "Partition reassignment contains duplicate topic partitions: t-0");
    assert_eq!(
        refused(&entry("1, 2, 1")),
        "Partition replica lists may not contain duplicate entries: t-0 contains multiple entries for 1"
    );
    let uneven = r#"{"topic": "t", "partition": 0, "replicas": [1, 2], "log_dirs": ["any"]}"#;
    assert_eq!(refused(uneven), "Size of replicas list [1, 2] is different from size of log dirs list [any] for partition t-0");
    assert_eq!(parse(br#"{"version": 2}"#), Err(AssignmentError::Json(JsonError::Version(2))));
    assert_eq!(refused(r#"{"topic": "t"}"#), "No such field exists: `partition`");
}

#[test]
fn a_proposal_spreads_partitions_over_brokers() {
    let one = |index| crate::client::Partition {
        index,
        leader: Some(NodeId(1)),
        replicas: nodes(&[1, 2]),
        isr: nodes(&[1, 2]),
        eligible: None,
        last_known_eligible: None,
    };
    let topic = TopicDescription { name: "t".to_owned(), id: crate::types::TopicId::from_bits(1), partitions: (0..4).map(one).collect() };
    let candidate = |node, rack| Candidate { node: NodeId(node), rack };
    let four = [candidate(1, Some("a")), candidate(2, Some("a")), candidate(3, Some("b")), candidate(4, Some("b"))];
    for drawn in 0..8 {
        let mut proposed = BTreeMap::new();
        propose(&topic, &four, drawn, &mut proposed).unwrap();
        let leaders: BTreeSet<NodeId> = proposed.values().map(|replicas| replicas[0]).collect();
        assert_eq!((proposed.len(), leaders.len()), (4, 4), "{proposed:?}");
        // The racks hold 1 and 2, 3 and 4.
        assert!(proposed.values().all(|replicas| replicas.len() == 2 && (replicas[0].get() <= 2) != (replicas[1].get() <= 2)));
    }
    let refused = propose(&topic, &four[..1], 0, &mut BTreeMap::new()).unwrap_err().to_string();
    assert!(refused.starts_with("The target replication factor of 2 cannot be reached because only 1 broker(s) are "), "{refused}");
    let refused = propose(&topic, &[], 0, &mut BTreeMap::new()).unwrap_err().to_string();
    assert_eq!(refused, "All brokers are currently fenced, or have all their log directories cordoned.");
}

#[test]
fn throttles_name_who_sends_and_who_receives() {
    let under_way =
        BTreeMap::from([(partition(2), Reassignment { replicas: nodes(&[1, 2, 3]), adding: nodes(&[3]), removing: nodes(&[1]) })]);
    let wanted = BTreeMap::from([(partition(0), nodes(&[2, 3])), (partition(2), nodes(&[4]))]);
    let current = BTreeMap::from([(partition(0), nodes(&[1, 2])), (partition(2), nodes(&[1, 2, 3]))]);
    let moves = Moves::new(&under_way, &wanted, &current);
    let throttles = moves.topic_throttles();
    let named = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let leaders = named("leader.replication.throttled.replicas", "0:1,0:2,2:1,2:2");
    assert_eq!(throttles["t"], [leaders, named("follower.replication.throttled.replicas", "0:3,2:4")]);
    assert_eq!(moves.brokers(), BTreeSet::from([1, 2, 3, 4].map(NodeId)));
}

#[test]
fn states_are_told_in_kafkas_sentences() {
    let told = |state| partition_line(&partition(0), &nodes(&[1, 2]), &state);
    assert_eq!(told(PartitionState::At(nodes(&[1, 2]))), "Reassignment of partition t-0 is completed.");
    assert_eq!(told(PartitionState::UnderWay), "Reassignment of partition t-0 is still in progress.");
    let elsewhere = told(PartitionState::At(nodes(&[2, 1])));
    assert_eq!(elsewhere, "There is no active reassignment of partition t-0, but replica set is 2,1 rather than 1,2.");
    let replica = Replica { broker: NodeId(7), partition: partition(0) };
    let told = |state| dir_line(&replica, "/b", &state);
    let moving = |to: &str| DirState::Moving { from: "/a".to_owned(), to: to.to_owned() };
    assert_eq!(told(DirState::At("/b".to_owned())), "Reassignment of replica t-0-7 completed successfully.");
    assert_eq!(told(DirState::At("/a".to_owned())), "Partition t-0 on broker 7 is not being moved from log dir /a to /b.");
    assert_eq!(told(moving("/b")), "Reassignment of replica t-0-7 is still in progress.");
    assert_eq!(told(moving("/c")), "Partition t-0 on broker 7 is being moved to log dir /c instead of /b.");
    assert!(told(DirState::Missing).starts_with("Partition t-0 is not found in any live log dir on broker 7. "));
    let reassignment = Reassignment { replicas: nodes(&[1, 2]), adding: nodes(&[2]), removing: vec![] };
    assert_eq!(line(&partition(3), &reassignment), "t-3: replicas: 1,2. adding: 2.");
    assert_eq!(hyphened(&partition(3)), "t-3");
}
