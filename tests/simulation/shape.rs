//! What a seed decides before anything runs: the machine, the broker's settings, the topics, how often things go wrong.

use std::time::Duration;

use ottla::io::memory::SimulationSettings;

use crate::random::Random;

pub struct Shape {
    pub shards: u16,
    pub mailbox_slots: usize,
    pub directories: Vec<String>,
    pub overrides: Vec<(String, String)>,
    /// There are fewer slots for fetch sessions than clients may want.
    pub sessions_are_scarce: bool,
    pub simulation: SimulationSettings,
    /// Starts of the broker before the last, which only looks.
    pub lives: u64,
    pub clients: u32,
    pub topics: Vec<TopicShape>,
    /// Virtual time that clients work in one life.
    pub life_span: Duration,
    /// Longest pause of a client between two pieces of work. Where it is long, lives last for minutes, and what the broker does every
    /// half minute or minute comes up.
    pub pause_ms_max: u64,
    /// Writes and syncs fail, the disk fills: partitions go offline.
    pub disk_fails: bool,
    /// Connections are cut, links go down.
    pub network_fails: bool,
    /// Largest value of a record.
    pub value_bytes_max: u64,
}

/// One topic as it is created.
#[derive(Clone, Debug)]
pub struct TopicShape {
    pub name: String,
    pub partitions: i32,
    /// Deleted and created again while clients use it.
    pub volatile: bool,
    /// Clients delete its records from the front.
    pub shortened: bool,
    pub flush_messages: Option<u64>,
    pub retention: Retention,
    pub log_append_time: bool,
    /// The largest batch the topic takes, as it must fit into a segment.
    pub segment_bytes: usize,
    pub configs: Vec<(String, String)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Retention {
    Forever,
    Milliseconds(i64),
    Bytes,
}

impl Shape {
    pub fn draw(seed: u64) -> Self {
        let mut random = Random::new(seed, "shape", 0);
        let mut pace = Random::new(seed, "pace", 0);
        let mut space = Random::new(seed, "space", 0);
        let session_slots = *Random::new(seed, "sessions", 0).choose(&[1, 2, 4, 1000]);
        let is_slow = pace.one_in(20);
        let mut simulation = SimulationSettings::swarm(seed);
        simulation.steps_max = 3_000_000;
        simulation.network.chunk_bytes_max = simulation.network.chunk_bytes_max.max(512);
        simulation.network.window_bytes = simulation.network.window_bytes.max(4096);
        let shards = random.between(1, 4) as u16;
        let directories: Vec<String> = (0..random.between(1, 2)).map(|n| format!("/data-{n}")).collect();
        let network_fails = random.one_in(3);
        if network_fails {
            simulation.network.cut_one_in = *random.choose(&[0, 200, 1000]);
        }
        let mut shortening = Random::new(seed, "shortening", 0);
        let topics = (0..random.between(1, 3)).map(|index| TopicShape::draw(&mut random, &mut shortening, index)).collect();
        let mailbox_slots = *random.choose(&[16, 32, 1024]);
        let overrides = [
            ("listeners", "PLAINTEXT://0.0.0.0:9092".to_owned()),
            ("advertised.listeners", "PLAINTEXT://broker:9092".to_owned()),
            ("log.dirs", directories.join(",")),
            ("ottla.shards", shards.to_string()),
            ("ottla.mailbox.slots", mailbox_slots.to_string()),
            ("ottla.append.window.bytes", random.choose(&[4096, 8192, 1 << 20]).to_string()),
            ("ottla.appends.in.flight.max", random.choose(&[1, 2, 8]).to_string()),
            ("ottla.connection.in.flight.max", random.choose(&[1, 3, 64]).to_string()),
            ("ottla.recovery.bytes.max", "1048576".to_owned()),
            ("log.retention.check.interval.ms", random.choose(&[500, 3000]).to_string()),
            ("log.initial.task.delay.ms", random.choose(&[0, 700]).to_string()),
            ("log.segment.delete.delay.ms", random.choose(&[0, 1000]).to_string()),
            ("log.flush.offset.checkpoint.interval.ms", pace.choose(&[50, 500, 60_000]).to_string()),
            ("ottla.disk.reserve.bytes", space.choose(&[0, 0, 30_000]).to_string()),
            ("auto.create.topics.enable", "false".to_owned()),
            ("max.incremental.fetch.session.cache.slots", session_slots.to_string()),
        ];
        Self {
            shards,
            mailbox_slots,
            directories,
            overrides: overrides.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            sessions_are_scarce: session_slots < 1000,
            simulation,
            lives: random.between(1, 4),
            clients: random.between(2, 5) as u32,
            topics,
            life_span: Duration::from_millis(random.skewed(300, 6000) + if is_slow { pace.between(30_000, 150_000) } else { 0 }),
            pause_ms_max: if is_slow { 30_000 } else { 200 },
            disk_fails: random.one_in(5),
            network_fails,
            value_bytes_max: *random.choose(&[40, 400, 1500]),
        }
    }
}

impl TopicShape {
    fn draw(random: &mut Random, shortening: &mut Random, index: u64) -> Self {
        let flush_messages = *random.choose(&[None, None, Some(1), Some(1), Some(4)]);
        let retention = match random.below(6) {
            0 => Retention::Milliseconds(random.between(500, 5000) as i64),
            1 => Retention::Bytes,
            _ => Retention::Forever,
        };
        let log_append_time = random.one_in(6);
        let segment_bytes = *random.choose(&[6000, 16_000, 64_000]);
        let mut configs = vec![
            ("internal.segment.bytes".to_owned(), segment_bytes.to_string()),
            ("index.interval.bytes".to_owned(), random.choose(&[0, 200, 4096]).to_string()),
            ("segment.index.bytes".to_owned(), random.choose(&[64, 400, 10_485_760]).to_string()),
        ];
        let mut set = |key: &str, value: String| configs.push((key.to_owned(), value));
        if let Some(count) = flush_messages {
            set("flush.messages", count.to_string());
        }
        if random.one_in(6) {
            set("flush.ms", random.between(1, 500).to_string());
        }
        if random.one_in(4) {
            set("segment.ms", random.between(100, 3000).to_string());
        }
        match retention {
            Retention::Forever => set("retention.ms", "-1".to_owned()),
            Retention::Milliseconds(ms) => set("retention.ms", ms.to_string()),
            Retention::Bytes => {
                set("retention.ms", "-1".to_owned());
                set("retention.bytes", random.between(1000, 40_000).to_string());
            }
        }
        // Space ahead is for logs that are written faster than those here.
        if shortening.one_in(3) {
            set("preallocate", "true".to_owned());
        }
        if log_append_time {
            set("message.timestamp.type", "LogAppendTime".to_owned());
        }
        Self {
            name: format!("topic-{index}"),
            partitions: random.between(1, 4) as i32,
            volatile: index > 0 && random.one_in(3),
            shortened: retention == Retention::Forever && shortening.one_in(3),
            flush_messages,
            retention,
            log_append_time,
            segment_bytes,
            configs,
        }
    }
}
