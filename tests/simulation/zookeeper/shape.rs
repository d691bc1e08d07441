//! What a seed decides before anything runs: how many brokers, the limits of their home, how long they are disturbed.

use std::time::Duration;

use ottla::io::memory::SimulationSettings;
use ottla::metadata::zookeeper::Limits;

use crate::random::Random;

/// `zookeeper.session.timeout.ms` of every broker.
pub const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

pub struct Shape {
    pub brokers: u32,
    pub shards: u16,
    pub limits: Limits,
    pub simulation: SimulationSettings,
    /// Times that everything is disturbed, and looked at when it is at rest again.
    pub rounds: u64,
    pub disturbed_for: Duration,
    /// Longest pause between two disturbances.
    pub calm_ms_max: u64,
    /// Clients' connections are cut.
    pub network_fails: bool,
    /// Old tools write Kafka's nodes.
    pub has_tool: bool,
    /// Somebody starts a second broker with the id of the first.
    pub has_twin: bool,
}

impl Shape {
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed, "zookeeper shape", 0);
        let mut simulation = SimulationSettings::swarm(seed);
        simulation.steps_max = 6_000_000;
        simulation.network.chunk_bytes_max = simulation.network.chunk_bytes_max.max(4096);
        simulation.network.window_bytes = simulation.network.window_bytes.max(4096);
        let network_fails = random.one_in(3);
        if network_fails {
            simulation.network.cut_one_in = *random.choose(&[0, 300]);
        }
        let limits = Limits {
            // Of the larger, a batch of a few records is one page.
            node_bytes_max: *random.choose(&[800, 4_000, 500_000]),
            page_bytes: *random.choose(&[500, 256 << 10]),
            appends_before_snapshot: *random.choose(&[2, 5, 10, 25]),
            attempts_max: *random.choose(&[2, 5, 5]),
            ..Limits::default()
        };
        Self {
            brokers: if random.one_in(3) { 1 } else { 2 },
            shards: random.between(1, 2) as u16,
            limits,
            simulation,
            rounds: random.between(1, 2),
            disturbed_for: Duration::from_millis(random.between(8_000, 35_000)),
            calm_ms_max: *random.choose(&[200, 1_000, 4_000]),
            network_fails,
            has_tool: random.one_in(3),
            has_twin: random.one_in(4),
        }
    }

    /// The properties of the broker with this id.
    pub fn overrides(&self, id: u32) -> Vec<(String, String)> {
        let overrides = [
            ("node.id", id.to_string()),
            ("listeners", "PLAINTEXT://0.0.0.0:9092".to_owned()),
            ("advertised.listeners", format!("PLAINTEXT://broker-{id}:9092")),
            ("log.dirs", "/data".to_owned()),
            ("ottla.shards", self.shards.to_string()),
            ("zookeeper.connect", "zookeeper:2181/kafka".to_owned()),
            ("zookeeper.session.timeout.ms", SESSION_TIMEOUT.as_millis().to_string()),
            ("auto.create.topics.enable", "false".to_owned()),
        ];
        overrides.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}
