//! Our command-line tools beside Kafka's, on one broker: the same command lines, the same output and exit status, but for the differences
//! that `table` lists with their reasons.
//!
//! `OTTLA_HEAVY=1` gives each of Kafka's tools a JVM of its own.

mod dump_groups;
mod groups;
mod links;
mod reassignments;
pub mod runner;
mod table;
mod table_cluster;
mod table_groups;
mod terminal;

use std::collections::BTreeSet;
use std::path::Path;

use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::protocol::StrBytes;
use serde_json::Value;

use crate::support::broker::{Broker, Settings, temp_dir};
use crate::support::records::Batch;
use crate::support::{noisy, topics};
use runner::{Kafkas, Said, run_ottla};
use table::{Expect, GROUPS, REFUSED, Row, Tool};
use table_cluster::{GROUPS_OF_THE_CLUSTER, GROUPS_THAT_MEASURE};
use table_groups::GROUPS_OF_CONSUMERS;

/// What only one of the programs touches, and what stands in its place where their outputs are compared.
#[derive(Clone, Copy)]
struct Names {
    /// Three partitions, with records of a fixed time.
    topic: &'static str,
    /// One partition, empty at first.
    lines: &'static str,
    group: &'static str,
}

const KAFKAS: Names = Names { topic: "kafkas-orders", lines: "kafkas-lines", group: "kafkas-readers" };
const OTTLAS: Names = Names { topic: "ottlas-orders", lines: "ottlas-lines", group: "ottlas-readers" };

#[test]
fn ottlas_tools_say_what_kafkas_say() {
    let _noisy = noisy();
    // Records of a fixed time, which is long past: they are to stay all the same.
    let broker = Broker::start(Settings::new().with("log.retention.ms", -1));
    let dirs = [temp_dir(), temp_dir()];
    let served = served(&broker);
    for (names, dir) in [KAFKAS, OTTLAS].into_iter().zip(&dirs) {
        fill(&broker, names.topic);
        topics::create(&mut broker.connect(), names.lines, 1, &[]);
        write_files(dir.path(), names, &broker);
    }
    topics::create(&mut broker.connect(), "zoo", 1, &[]);
    let members = served.contains(&groups::OFFSET_COMMIT).then(|| groups::begin(&broker, &served, &[KAFKAS, OTTLAS]));
    let mut kafkas = Kafkas::start();
    let mut failures = Vec::new();
    let (mut compared, mut equal) = (0, 0);
    // Records are deleted towards the end of the others.
    for group in GROUPS_OF_THE_CLUSTER.iter().chain(GROUPS_OF_CONSUMERS).chain(GROUPS).chain(GROUPS_THAT_MEASURE) {
        let missing: Vec<&i16> = group.needs.iter().filter(|key| !served.contains(key)).collect();
        if !missing.is_empty() {
            println!("not run: {} lines of {}, for which the broker lacks the APIs {missing:?}", group.rows.len(), group.tool.name());
            continue;
        }
        let line = |row: &Row, names: Names, dir: &Path| words(row.words, &broker, names, dir);
        let theirs: Vec<Said> = group.rows.iter().map(|row| kafkas.run(group.tool, &line(row, KAFKAS, dirs[0].path()))).collect();
        for (row, theirs) in group.rows.iter().zip(theirs) {
            let ours = run_ottla(group.tool, &line(row, OTTLAS, dirs[1].path()));
            let theirs = masked(theirs, KAFKAS, dirs[0].path());
            let ours = masked(ours, OTTLAS, dirs[1].path());
            compared += 1;
            equal +=
                i32::from(matches!(row.expect, Expect::Same | Expect::SameInAnyOrder | Expect::NoTrace | Expect::Told | Expect::Shape));
            if let Err(fault) = judge(row.expect, &theirs, &ours) {
                failures.push(format!("{} {}\n{fault}\n--- Kafka {theirs:#?}\n--- Ottla {ours:#?}", group.tool.name(), row.words));
            }
        }
    }
    println!("{compared} command lines compared, {equal} of them to be equal");
    // Whoever ends while a test fails prints all it was told, and what differs is to be the last that is read.
    drop((kafkas, members, broker));
    assert!(failures.is_empty(), "{} of {compared} differ:\n\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn what_is_not_served_yet_is_refused_in_a_sentence() {
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    for row in REFUSED {
        let said = run_ottla(Tool::Configs, &words(row, &broker, OTTLAS, Path::new("/")));
        assert_eq!((said.status, said.stdout.as_str()), (1, ""), "{row}: {said:?}");
        assert!(said.stderr.contains(" yet") && said.stderr.lines().count() == 1, "{row}: {said:?}");
    }
}

#[test]
fn the_shape_of_a_figure_does_not_depend_on_it() {
    assert_eq!(without_figures("0\t55.973065999999996\nAvg latency: 5.9142 ms"), without_figures("19\t0.68\nAvg latency: 0.1651 ms"));
    assert_ne!(without_figures("5.9 records/sec"), without_figures("5.91 records/sec"));
    assert_ne!(without_figures("0\t1.5"), without_figures("0 1.5"));
}

/// Three partitions with a different number of records, half a second apart.
fn fill(broker: &Broker, topic: &str) {
    let mut connection = broker.connect();
    topics::create(&mut connection, topic, 3, &[]);
    for (partition, count) in [(0, 5), (1, 3), (2, 0)] {
        for index in 0..count {
            topics::produce(&mut connection, topic, partition, Batch::at(1_700_000_000_000 + index * 500).value("x").encode());
        }
    }
}

fn write_files(dir: &Path, names: Names, broker: &Broker) {
    let Names { topic, group, .. } = names;
    let one = |partition: i32, offset: &str| format!("{{\"topic\": \"{topic}\", \"partition\": {partition}, \"offset\": {offset}}}");
    let file = |partitions: &[String]| format!("{{\"partitions\": [{}], \"version\": 1}}\n", partitions.join(", "));
    let files = [
        ("client.properties", "client.id=compared\n".to_owned()),
        ("hurry.properties", "request.timeout.ms=1000\ndefault.api.timeout.ms=1500\n".to_owned()),
        ("settings.properties", "# of a topic\ndelete.retention.ms = 1800000\nmax.message.bytes: 500000\n".to_owned()),
        ("cut.json", file(&[one(0, "2"), one(1, "-1"), one(2, "0")])),
        ("beyond.json", file(&[one(0, "1000")])),
        ("negative.json", file(&[one(0, "-2")])),
        ("nothing.json", file(&[])),
        ("trailing.json", format!("{}more\n", file(&[one(0, "2")]))),
        ("twice.json", file(&[one(0, "2"), one(0, "3")])),
        ("version.json", "{\"partitions\": [], \"version\": 2}".to_owned()),
        ("broken.json", "{\"partitions\": [".to_owned()),
        ("empty.json", String::new()),
        ("no-partitions.json", "{\"version\": 1}".to_owned()),
        ("no-offset.json", format!("{{\"partitions\": [{{\"topic\": \"{topic}\", \"partition\": 0}}]}}")),
        ("wrong-kind.json", file(&[one(0, "\"2\"")])),
        ("array.json", "[1]".to_owned()),
        ("lines.txt", "one\ntwo\r\n\nthree".to_owned()),
        ("keyed.txt", "a:1\nb:2:3\nNULL:4\nc:NULL\n:5\n".to_owned()),
        ("unkeyed.txt", "a:1\nb\nc:2\n".to_owned()),
        ("headers.txt", "h=x;i=NULL|k|v\nj=|NULL|NULL\nNULL|k|w\n".to_owned()),
        ("numbers.txt", "12345678\n".to_owned()),
        ("reader.properties", "parse.key=true\nkey.separator=:\nnull.marker=NULL\n".to_owned()),
        ("formatter.properties", "print.key=true\nprint.offset=true\nkey.separator= - \n".to_owned()),
        ("consumer.properties", format!("group.id={group}-of-file\n")),
        ("plan.csv", format!("{topic},0,1\n{topic},1,2\n")),
        ("plans.csv", format!("{group},{topic},0,1\nothers,{topic},0,3\n")),
        ("others.csv", format!("others,{topic},0,1\n")),
        ("nowhere.json", file(&[format!("{{\"topic\": \"{topic}\", \"partition\": 77, \"offset\": 0}}")])),
    ];
    for (name, text) in files.into_iter().chain(files_of_reassignments(names, broker)) {
        std::fs::write(dir.join(name), text).unwrap();
    }
}

/// Files that say where partitions are to be.
fn files_of_reassignments(Names { topic, .. }: Names, broker: &Broker) -> Vec<(&'static str, String)> {
    let one = |topic: &str, partition: i32, rest: &str| format!("{{\"topic\": \"{topic}\", \"partition\": {partition}, {rest}}}");
    let on = |partition: i32, replicas: &str| one(topic, partition, &format!("\"replicas\": [{replicas}]"));
    let file = |partitions: &[String]| format!("{{\"version\": 1, \"partitions\": [{}]}}\n", partitions.join(", "));
    let topics = |topics: &[&str]| {
        let topics: Vec<String> = topics.iter().map(|topic| format!("{{\"topic\": \"{topic}\"}}")).collect();
        format!("{{\"topics\": [{}], \"version\": 1}}", topics.join(", "))
    };
    let in_dir = |dir: &str| one(topic, 0, &format!("\"replicas\": [1], \"log_dirs\": [\"{dir}\"]"));
    vec![
        ("topics.json", topics(&[topic])),
        ("topics-twice.json", topics(&[topic, topic])),
        ("topics-unknown.json", topics(&["nothing-of-the-kind"])),
        ("no-topics.json", topics(&[])),
        ("elected.json", format!("{{\"partitions\": [{{\"topic\": \"{topic}\", \"partition\": 1}}]}}")),
        ("stay.json", file(&[on(0, "1"), on(2, "1")])),
        ("stay-one.json", file(&[on(1, "1")])),
        ("stay-twice.json", file(&[on(1, "1"), on(1, "1")])),
        ("stay-unknown.json", file(&[one("nothing-of-the-kind", 0, "\"replicas\": [1]")])),
        ("stay-nowhere.json", file(&[on(77, "1")])),
        ("elsewhere.json", file(&[on(0, "99"), on(1, "1,99")])),
        ("no-replicas.json", file(&[on(0, "")])),
        ("replicas-twice.json", file(&[on(0, "1, 2, 1")])),
        ("topic-only.json", file(&[format!("{{\"topic\": \"{topic}\"}}")])),
        ("uneven.json", file(&[one(topic, 0, "\"replicas\": [1, 2], \"log_dirs\": [\"any\"]")])),
        ("dirs.json", file(&[in_dir(&broker.log_dir().display().to_string())])),
        ("dirs-unknown.json", file(&[in_dir("/nowhere/at/all")])),
    ]
}

/// The keys of the APIs that the broker answers.
fn served(broker: &Broker) -> BTreeSet<i16> {
    let request = ApiVersionsRequest::default()
        .with_client_software_name(StrBytes::from_static_str("tests"))
        .with_client_software_version(StrBytes::from_static_str("1"));
    broker.connect().call(3, &request).api_keys.iter().map(|api| api.api_key).collect()
}

/// Words stand between blanks, or between single quotes.
fn words(line: &str, broker: &Broker, names: Names, dir: &Path) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    for (index, part) in line.split('\'').enumerate() {
        match index % 2 {
            0 => words.extend(part.split(' ').filter(|word| !word.is_empty()).map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    let dir = dir.to_str().expect("a path in UTF-8");
    let named = |word: String| {
        let word = word.replace("{server}", &broker.bootstrap()).replace("{files}", dir);
        word.replace("{topic}", names.topic).replace("{lines}", names.lines).replace("{group}", names.group)
    };
    words.into_iter().map(named).collect()
}

/// What differs only because each program has a topic and files of its own is made the same. Where a program speaks of every topic, both
/// speak of both.
fn masked(said: Said, names: Names, dir: &Path) -> Said {
    let dir = dir.to_str().expect("a path in UTF-8");
    let rows = [
        (names.topic, "TOPIC", KAFKAS.topic, OTTLAS.topic),
        (names.lines, "LINES", KAFKAS.lines, OTTLAS.lines),
        (names.group, "GROUP", KAFKAS.group, OTTLAS.group),
    ];
    let mask = |text: &str| {
        let masked = text.replace(dir, "FILES");
        rows.iter().fold(masked, |text, (name, mask, theirs, ours)| match text.contains(theirs) && text.contains(ours) {
            true => text,
            // As long as the name is, or the columns behind it would move.
            false => text.replace(name, &format!("{mask:_<width$}", width = name.len())),
        })
    };
    Said { status: said.status, stdout: mask(said.stdout.trim_end_matches('\n')), stderr: mask(&said.stderr) }
}

fn judge(expect: Expect, theirs: &Said, ours: &Said) -> Result<(), String> {
    let same_status = || if theirs.status == ours.status { Ok(()) } else { Err("the exit status differs".to_owned()) };
    let equal = |what: &str, theirs: &str, ours: &str| if theirs == ours { Ok(()) } else { Err(format!("{what} differs")) };
    match expect {
        Expect::Same => {
            same_status()?;
            equal("standard output", &theirs.stdout, &ours.stdout)?;
            same_errors(theirs, ours)
        }
        Expect::SameInAnyOrder => {
            same_status()?;
            equal("standard output", &ordered(&theirs.stdout), &ordered(&ours.stdout))?;
            same_errors(theirs, ours)
        }
        Expect::Told => {
            same_status()?;
            same_told(&theirs.stdout, &ours.stdout)?;
            equal("standard error", "", &ours.stderr)
        }
        Expect::Shape => {
            same_status()?;
            equal("standard output", &without_figures(&theirs.stdout), &without_figures(&ours.stdout))?;
            same_errors(theirs, ours)
        }
        Expect::NoTrace => {
            same_status()?;
            equal("standard output", &theirs.stdout, &ours.stdout)?;
            match theirs.stderr.contains("Exception") && ours.stderr.is_empty() {
                true => Ok(()),
                false => Err("Kafka's tool is to print a stack trace, and ours nothing, on standard error".to_owned()),
            }
        }
        Expect::OtherWords(why) => {
            println!("in other words ({why}): {}", ours.stderr);
            same_status()?;
            equal("standard output", &theirs.stdout, &ours.stdout)?;
            match ours.stderr.is_empty() {
                true => Err("nothing is said on standard error".to_owned()),
                false => Ok(()),
            }
        }
        Expect::Differs { kafka, ottla, why } => {
            println!("differs ({why}): {}{}", ours.stdout, ours.stderr);
            for (name, (status, text), said) in [("Kafka", kafka, theirs), ("Ottla", ottla, ours)] {
                if said.status != status || !(said.stdout.contains(text) || said.stderr.contains(text)) {
                    return Err(format!("{name} is to end with {status} and to say {text:?}"));
                }
            }
            Ok(())
        }
    }
}

/// The first line of standard error is the same; what ours says further, Kafka's says too, somewhere in its stack trace.
fn same_errors(theirs: &Said, ours: &Said) -> Result<(), String> {
    if first_line(&theirs.stderr) != first_line(&ours.stderr) {
        return Err("standard error differs".to_owned());
    }
    let further = ours.stderr.lines().skip(1).filter(|line| !line.starts_with("For all options and examples: "));
    match further.into_iter().find(|line| !theirs.stderr.contains(*line)) {
        Some(line) => Err(format!("Kafka's tool does not say on standard error: {line}")),
        None => Ok(()),
    }
}

/// What ours says behind an error is in Kafka's stack trace too.
fn same_told(theirs: &str, ours: &str) -> Result<(), String> {
    let to_error = |text: &str| {
        let end = text.lines().position(|line| line.starts_with("Error: ")).map_or(usize::MAX, |at| at + 1);
        text.lines().take(end).collect::<Vec<_>>().join("\n")
    };
    let (said, further) = ours.split_at(to_error(ours).len());
    if to_error(theirs) != said {
        return Err("what is told on standard output differs".to_owned());
    }
    match further.lines().find(|line| !theirs.contains(*line)) {
        Some(line) => Err(format!("Kafka's tool does not say on standard output: {line}")),
        None => Ok(()),
    }
}

/// Each number is an N, with as many decimals as it has; one behind a tab is a binary fraction, which has as many as it needs.
fn without_figures(text: &str) -> String {
    let mut shape = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        if !letter.is_ascii_digit() {
            shape.push(letter);
            continue;
        }
        let is_fraction = shape.ends_with('\t');
        let mut figure = String::from(letter);
        while let Some(next) = letters.next_if(|next| next.is_ascii_digit() || *next == '.') {
            figure.push(next);
        }
        shape.push('N');
        match figure.trim_end_matches('.').split_once('.') {
            Some(_) if is_fraction => shape.push_str(".0…"),
            Some((_, decimals)) => shape.push_str(&format!(".{}", "0".repeat(decimals.len()))),
            None => {}
        }
        shape.push_str(&figure[figure.trim_end_matches('.').len()..]);
    }
    shape
}

/// What follows in Kafka's tools is a stack trace, or the list of options. Lines of its log come before, and words about a newer protocol.
fn first_line(text: &str) -> &str {
    let is_logged =
        |line: &str| line.contains(" WARN ") || line.contains(" ERROR ") || line.starts_with("The consumer rebalance protocol ");
    text.lines().find(|line| !is_logged(line)).unwrap_or_default()
}

/// Lines in the order of their text; JSON with the elements of each array in the order of theirs.
fn ordered(text: &str) -> String {
    let mut lines: Vec<String> = text
        .lines()
        .map(|line| match serde_json::from_str::<Value>(line) {
            Ok(value) => sorted(value).to_string(),
            Err(_) => line.to_owned(),
        })
        .collect();
    lines.sort();
    lines.join("\n")
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(elements) => {
            let mut elements: Vec<Value> = elements.into_iter().map(sorted).collect();
            elements.sort_by_key(ToString::to_string);
            Value::Array(elements)
        }
        Value::Object(fields) => Value::Object(fields.into_iter().map(|(name, value)| (name, sorted(value))).collect()),
        other => other,
    }
}
