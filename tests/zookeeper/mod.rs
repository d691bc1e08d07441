//! A cluster whose metadata ZooKeeper keeps, as the tools of Kafka 2.8 see it there, and as ours do that are told where ZooKeeper is.

mod contract;
mod course;
mod failures;
mod moving;
mod old_tools;

use std::path::Path;

use crate::support::broker::{Broker, Settings, lasting_port};
use crate::support::peers::{Jars, java_of};
use crate::support::process::Process;
use crate::support::zookeeper::Ensemble;
use crate::tools::runner::{OneJvm, Said};

const TOPICS: &str = "kafka.admin.TopicCommand";
const CONFIGS: &str = "kafka.admin.ConfigCommand";
const REASSIGN: &str = "kafka.admin.ReassignPartitionsCommand";
const PREFERRED_ELECTION: &str = "kafka.admin.PreferredReplicaLeaderElectionCommand";
const LEADER_ELECTION: &str = "kafka.admin.LeaderElectionCommand";
const CONSOLE_PRODUCER: &str = "kafka.tools.ConsoleProducer";
const CONSOLE_CONSUMER: &str = "kafka.tools.ConsoleConsumer";

/// Tools of Kafka 2.8.
struct OldTools(OneJvm);

impl OldTools {
    fn start() -> Self {
        Self(OneJvm::start_with(Jars::Kafka28))
    }

    fn run(&mut self, class: &str, line: &str) -> Said {
        self.0.run_class(class, &line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    /// What it prints; it must end well.
    #[track_caller]
    fn expect(&mut self, class: &str, line: &str) -> String {
        let said = self.run(class, line);
        assert_eq!(said.status, 0, "{class} {line}\n{}\n{}", said.stdout, said.stderr);
        said.stdout
    }
}

/// A broker whose metadata the ensemble keeps.
fn start_broker(ensemble: &Ensemble, settings: Settings) -> Broker {
    Broker::start(settings.with("zookeeper.connect", ensemble.connect("/kafka")))
}

/// A broker of Kafka 2.8 whose metadata the ensemble keeps. It may take a moment until it serves.
fn start_kafka_2_8(ensemble: &Ensemble, dir: &Path) -> Process {
    let address = format!("127.0.0.1:{}", lasting_port());
    let properties = [
        "broker.id=0".to_owned(),
        format!("listeners=PLAINTEXT://{address}"),
        format!("log.dirs={}", dir.join("log").display()),
        format!("zookeeper.connect={}", ensemble.connect("/kafka")),
        "offsets.topic.replication.factor=1".to_owned(),
        "offsets.topic.num.partitions=1".to_owned(),
        "group.initial.rebalance.delay.ms=0".to_owned(),
    ];
    let file = dir.join("server.properties");
    std::fs::write(&file, properties.join("\n")).unwrap();
    let mut java = java_of(Jars::Kafka28, 256);
    java.arg("kafka.Kafka").arg(file);
    Process::spawn("kafka-2.8", java)
}
