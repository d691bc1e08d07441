//! Kafka's own tools with groups: its console consumer goes on where it stopped, its performance consumer reads in a group, its
//! consumer-groups sees and changes what groups committed, and its formatters read the topic that groups are kept in.

use std::collections::BTreeSet;

use super::member::{Assignor, Client};
use super::{Group, RECORDS, settings, tell};
use crate::support::broker::Broker;
use crate::support::groups::{self, committed};
use crate::support::records::Codec;
use crate::support::{noisy, topics};
use crate::tools::runner::OneJvm;

const PARTITIONS: i32 = 3;
const TOPIC: &str = "tooled";
/// Batches in each partition before any tool reads.
const BATCHES: i64 = 4;

struct Tools<'a> {
    jvm: OneJvm,
    broker: &'a Broker,
}

impl Tools<'_> {
    /// What a tool prints, which must end well.
    fn run(&mut self, class: &str, words: &str) -> String {
        let words: Vec<String> =
            ["--bootstrap-server", &self.broker.bootstrap()].into_iter().chain(words.split_whitespace()).map(str::to_owned).collect();
        let said = self.jvm.run_class(class, &words);
        assert_eq!(said.status, 0, "{class} {words:?}\n{}\n{}", said.stdout, said.stderr);
        said.stdout
    }

    fn groups(&mut self, words: &str) -> String {
        self.run("org.apache.kafka.tools.consumer.group.ConsumerGroupCommand", words)
    }

    fn console(&mut self, words: &str) -> String {
        self.run("org.apache.kafka.tools.consumer.ConsoleConsumer", words)
    }

    /// The columns of the rows that a description of a group has, without its head.
    fn described(&mut self, words: &str) -> Vec<Vec<String>> {
        let said = self.groups(words);
        let rows = said.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        rows.filter(|row| !row.is_empty() && row[0] != "GROUP").collect()
    }
}

fn with_tools(body: impl Fn(&mut Tools)) {
    let _noisy = noisy();
    let broker = Broker::start(settings().shards(2));
    let mut connection = broker.connect();
    topics::create(&mut connection, TOPIC, PARTITIONS, &[("retention.ms", "-1")]);
    for partition in 0..PARTITIONS {
        for _ in 0..BATCHES {
            tell(&mut connection, TOPIC, partition, Codec::Lz4);
        }
    }
    body(&mut Tools { jvm: OneJvm::start(), broker: &broker });
}

#[test]
fn kafkas_consumers_go_on_where_their_group_stopped() {
    with_tools(|tools| {
        let all = (PARTITIONS as i64 * BATCHES * RECORDS) as usize;
        let mut read = BTreeSet::new();
        for part in [7, 20, all - 27] {
            let formatted = "--formatter-property print.partition=true --formatter-property print.offset=true";
            let words = format!("--topic {TOPIC} --group console --from-beginning --max-messages {part} --timeout-ms 30000 {formatted}");
            let said = tools.console(&words);
            let lines: Vec<&str> = said.lines().filter(|line| line.contains("Offset:")).collect();
            assert_eq!(lines.len(), part, "{said}");
            for line in lines {
                assert!(read.insert(line.to_owned()), "{line} is read twice");
            }
        }
        assert_eq!(read.len(), all);
        let mut connection = tools.broker.connect();
        assert_eq!(committed(&mut connection, "console", TOPIC, PARTITIONS), [BATCHES * RECORDS; PARTITIONS as usize]);
        let words = format!("--topic {TOPIC} --group performance --num-records {all} --timeout 30000 --hide-header");
        let said = tools.run("org.apache.kafka.tools.ConsumerPerformance", &words);
        let figures = said.lines().last().unwrap_or_default();
        let count = figures.split(", ").nth(4).and_then(|count| count.trim().parse::<usize>().ok());
        assert_eq!(count, Some(all), "{said}");
        formatted(tools);
    });
}

/// The broker's own topic, read by the classes that know what Kafka keeps there.
fn formatted(tools: &mut Tools) {
    let words = |formatter: &str| {
        let class = format!("org.apache.kafka.tools.consumer.{formatter}");
        format!("--topic __consumer_offsets --from-beginning --timeout-ms 5000 --formatter {class} --isolation-level read_committed")
    };
    let said = tools.console(&words("OffsetsMessageFormatter"));
    for partition in 0..PARTITIONS {
        let last = said.lines().rfind(|line| {
            line.contains("\"group\":\"console\"") && line.contains(&format!("\"topic\":\"{TOPIC}\",\"partition\":{partition}"))
        });
        let last = last.unwrap_or_else(|| panic!("no offset of {partition} in\n{said}"));
        assert!(last.contains(&format!("\"offset\":{}", BATCHES * RECORDS)), "{last}");
    }
    let said = tools.console(&words("GroupMetadataMessageFormatter"));
    let of_group: Vec<&str> = said.lines().filter(|line| line.contains("\"group\":\"console\"")).collect();
    let (first, last) = (of_group.first().expect("a generation"), of_group.last().expect("a generation"));
    assert!(first.contains("\"protocolType\":\"consumer\"") && first.contains("\"generation\":1"), "{first}");
    assert!(first.contains("\"protocol\":\"range\"") && first.contains("\"clientHost\":\"/127.0.0.1\""), "{first}");
    // Its last member has left.
    assert!(last.contains("\"protocol\":null") && last.contains("\"members\":[]"), "{last}");
}

#[test]
fn kafkas_consumer_groups_sees_and_changes_groups() {
    with_tools(|tools| {
        let broker = tools.broker;
        let mut live = Group::new(broker, "live", TOPIC, Assignor::Range, PARTITIONS);
        live.join(Client::Confluent);
        live.ends = vec![BATCHES * RECORDS; PARTITIONS as usize];
        live.settle();
        live.read_all();
        let end = (BATCHES * RECORDS).to_string();
        let mut connection = broker.connect();
        groups::commit(&mut connection, "simple", None, TOPIC, 1, 5).expect("committed");
        let listed = tools.groups("--list");
        assert_eq!(listed.lines().collect::<BTreeSet<_>>(), BTreeSet::from(["live", "simple"]), "{listed}");
        let states = tools.groups("--list --state");
        assert!(states.lines().any(|line| line.contains("live") && line.contains("Stable")), "{states}");
        let rows = tools.described("--describe --group live");
        assert_eq!(rows.len(), PARTITIONS as usize);
        for row in rows {
            assert_eq!(row[0..2], ["live", TOPIC]);
            let lag: Vec<&String> = row.iter().filter(|word| **word == end).collect();
            assert!(lag.len() == 2 && row.contains(&"0".to_owned()) && row.iter().any(|word| word == "/127.0.0.1"), "{row:?}");
        }
        let members = tools.described("--describe --group live --members --verbose");
        assert!(members.len() == 1 && members[0].iter().any(|word| word.contains("tooled")), "{members:?}");
        let state = tools.described("--describe --group live --state");
        assert!(
            state.len() == 1 && state[0].iter().any(|word| word == "Stable") && state[0].iter().any(|word| word == "range"),
            "{state:?}"
        );
        // A group that lives is not to be changed.
        let refused = tools.groups(&format!("--reset-offsets --group live --topic {TOPIC} --to-earliest --execute"));
        assert!(refused.contains("inactive") || refused.contains("Stable"), "{refused}");
        changed(tools);
    });
}

fn changed(tools: &mut Tools) {
    let mut connection = tools.broker.connect();
    let end = BATCHES * RECORDS;
    let mut reset = |tools: &mut Tools, how: &str, want: [i64; 3]| {
        tools.groups(&format!("--reset-offsets --group simple {how} --execute"));
        assert_eq!(committed(&mut connection, "simple", TOPIC, PARTITIONS), want, "{how}");
    };
    reset(tools, &format!("--topic {TOPIC} --to-latest"), [end, end, end]);
    reset(tools, &format!("--topic {TOPIC}:0,2 --shift-by -3"), [end - 3, end, end - 3]);
    reset(tools, &format!("--topic {TOPIC}:1 --to-offset 4"), [end - 3, 4, end - 3]);
    reset(tools, "--all-topics --to-earliest", [0, 0, 0]);
    tools.groups(&format!("--delete-offsets --group simple --topic {TOPIC}:1"));
    assert_eq!(committed(&mut connection, "simple", TOPIC, PARTITIONS), [0, -1, 0]);
    let said = tools.groups("--delete --group simple");
    assert!(said.contains("successful"), "{said}");
    assert_eq!(tools.groups("--list").trim(), "live");
}
