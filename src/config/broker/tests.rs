use super::*;
use crate::config::listeners::{Advertised, Listener};
use crate::config::settings::{AppendPath, InternalReplication};
use crate::types::NodeId;

/// What Kafka 4.3.1 ships, less its comments.
const SHIPPED: &str = "\
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=localhost:9093
listeners=PLAINTEXT://:9092,CONTROLLER://:9093
inter.broker.listener.name=PLAINTEXT
advertised.listeners=PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs=/tmp/kraft-combined-logs
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
";

fn environment() -> Environment {
    Environment { cores: 2, host_names: vec!["box.example".to_owned()] }
}

fn resolve_file(text: &str) -> Result<Resolved, Refusal> {
    let file = Properties::parse("server.properties", text.as_bytes()).unwrap();
    BrokerSettings::resolve(Some(file), &[], &environment())
}

fn resolve(pairs: &[(&str, &str)]) -> Result<Resolved, Refusal> {
    let overrides: Vec<_> = pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    BrokerSettings::resolve(None, &overrides, &environment())
}

fn settings(pairs: &[(&str, &str)]) -> BrokerSettings {
    resolve(pairs).unwrap_or_else(|refusal| panic!("{pairs:?}: {refusal}")).settings
}

fn refusal(pairs: &[(&str, &str)]) -> String {
    resolve(pairs).map(|_| ()).expect_err(&format!("{pairs:?} must be refused")).to_string()
}

#[test]
fn nothing_at_all_starts_on_the_loopback_address() {
    let resolved = BrokerSettings::resolve(None, &[], &environment()).unwrap();
    assert_eq!((resolved.warnings, resolved.notes), (vec![], vec![]));
    let settings = resolved.settings;
    assert_eq!(settings.node.id, NodeId(1));
    let listeners = &settings.network.listeners;
    assert_eq!(listeners.open, [Listener { name: "PLAINTEXT".into(), host: Some("127.0.0.1".into()), port: 9092 }]);
    assert_eq!(listeners.advertised, [Advertised { name: "PLAINTEXT".into(), host: "127.0.0.1".into(), port: 9092 }]);
    assert_eq!(listeners.inter_broker, "PLAINTEXT");
    assert_eq!(settings.storage.directories, [std::path::PathBuf::from("ottla-data")]);
    assert_eq!(settings.storage.append_path, AppendPath::Auto);
    assert_eq!(settings.storage.cleaner.io_bytes_per_second_max, None);
    assert_eq!(settings.shards.count, 2);
    assert_eq!(settings.offsets.replication, InternalReplication::UpTo(3));
    assert_eq!(settings.offsets.retention_ms, 7 * 24 * 3_600_000);
    assert_eq!(settings.topics.defaults.retention_ms, Some(604_800_000));
    assert_eq!(settings.topics.defaults.segment_bytes, 1 << 30);
    assert!(settings.given.is_empty());
}

#[test]
fn the_file_that_ships_with_kafka_starts() {
    let Resolved { settings, warnings, notes } = resolve_file(SHIPPED).unwrap();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!(
        notes,
        [
            "known and without effect here: num.io.threads, num.network.threads, num.recovery.threads.per.data.dir, \
             share.coordinator.state.topic.min.isr, share.coordinator.state.topic.replication.factor, socket.receive.buffer.bytes, \
             socket.send.buffer.bytes, transaction.state.log.min.isr, transaction.state.log.replication.factor",
            "metadata is kept by this process itself: the listener CONTROLLER://:9093, \
             controller.quorum.bootstrap.servers=localhost:9093 is not used",
        ]
    );
    let listeners = &settings.network.listeners;
    assert_eq!(listeners.open, [Listener { name: "PLAINTEXT".into(), host: None, port: 9092 }]);
    assert_eq!(listeners.advertised, [Advertised { name: "PLAINTEXT".into(), host: "localhost".into(), port: 9092 }]);
    assert_eq!(listeners.controller, [Listener { name: "CONTROLLER".into(), host: None, port: 9093 }]);
    assert_eq!(settings.storage.directories, [std::path::PathBuf::from("/tmp/kraft-combined-logs")]);
    assert_eq!(settings.offsets.replication, InternalReplication::Exactly(1));
}

#[test]
fn an_override_wins_over_the_file() {
    let file = Properties::parse("f", b"num.partitions=2\nnode.id=4\n").unwrap();
    let overrides = [("num.partitions".to_owned(), "7".to_owned())];
    let settings = BrokerSettings::resolve(Some(file), &overrides, &environment()).unwrap().settings;
    assert_eq!((settings.topics.partitions, settings.node.id), (7, NodeId(4)));
    assert_eq!(settings.given["num.partitions"], "7");
}

#[test]
fn a_bad_value_names_its_place_and_the_remedy() {
    let sentence = |text: &str| resolve_file(text).unwrap_err().to_string();
    assert_eq!(
        sentence("# first\nlog.segment.bytes=5\n"),
        "server.properties:2: log.segment.bytes=5 is not allowed: value must be at least 1048576."
    );
    assert_eq!(refusal(&[("num.partitions", "many")]), "--override num.partitions=many is not allowed: not a number of type INT.");
    assert_eq!(refusal(&[("log.dirs", "/a,,/b")]), "--override log.dirs=/a,,/b is not allowed: values must not be empty.");
}

#[test]
fn what_promises_safety_refuses_the_start() {
    for (key, value, what) in [
        ("ssl.keystore.location", "/k", "asks for TLS"),
        ("ssl.client.auth", "required", "asks for TLS"),
        ("sasl.enabled.mechanisms", "PLAIN", "asks for SASL"),
        ("connections.max.reauth.ms", "1000", "asks for SASL"),
        ("listener.name.plaintext.ssl.client.auth", "required", "asks for TLS"),
        ("listener.name.sasl.plain.sasl.jaas.config", "secret", "asks for SASL"),
        ("authorizer.class.name", "org.example.Authorizer", "asks for authorization"),
        ("remote.log.storage.system.enable", "true", "asks for remote storage"),
        ("create.topic.policy.class.name", "org.example.Policy", "promises what this broker does not do"),
        ("config.providers", "file", "promises what this broker does not do"),
        ("transaction.two.phase.commit.enable", "true", "promises what this broker does not do"),
    ] {
        let sentence = refusal(&[(key, value)]);
        assert!(sentence.contains(what), "{sentence}");
        assert!(sentence.contains("remove the key"), "{sentence}");
    }
    // At their defaults they promise nothing.
    settings(&[
        ("ssl.client.auth", "none"),
        ("sasl.enabled.mechanisms", "GSSAPI"),
        ("authorizer.class.name", ""),
        ("remote.log.storage.system.enable", "false"),
        ("security.inter.broker.protocol", "PLAINTEXT"),
        ("ssl.keystore.location", ""),
    ]);
}

#[test]
fn every_refused_row_refuses_some_value() {
    for row in table::broker_rows().filter(|row| row.served == Served::Refused) {
        let other = ["x", "true", "77", "0.07", "required", "SSL", "ES256", "/x"]
            .into_iter()
            .find(|text| value::parse(row.name, row.kind, &row.allowed, text).is_ok_and(|value| !is_default(row, &value)))
            .unwrap_or_else(|| panic!("{} cannot be set", row.name));
        let sentence = refusal(&[(row.name, other)]);
        assert!(sentence.starts_with(&format!("--override {}=", row.name)), "{sentence}");
    }
}

#[test]
fn a_secret_is_never_printed() {
    assert!(!refusal(&[("ssl.key.password", "hunter2")]).contains("hunter2"));
    assert!(!refusal(&[("listener.name.x.ssl.key.password", "hunter2")]).contains("hunter2"));
    let resolved = resolve(&[("my.own.secret", "hunter2")]).unwrap();
    assert!(!resolved.warnings.join("").contains("hunter2"));
}

#[test]
fn an_unknown_key_is_one_warning() {
    let resolved =
        resolve(&[("num.partition", "3"), ("nobody.knows.this", "1"), ("listener.name.plaintext.max.connections", "5")]).unwrap();
    assert_eq!(
        resolved.warnings,
        [
            "--override listener.name.plaintext.max.connections has no effect: keys of single listeners are not served",
            "--override nobody.knows.this is not a key of this broker and has no effect",
            "--override num.partition is not a key of this broker and has no effect; num.partitions is one",
        ]
    );
    assert_eq!(resolved.settings.topics.partitions, 1);
    let resolved = resolve_file("num.partitions=1\nnum.partitions=2\n").unwrap();
    assert_eq!(resolved.warnings, ["server.properties:2: num.partitions was already set on line 1; this line counts"]);
    let resolved = resolve(&[("leader.replication.throttled.rate", "5"), ("ottla.shards", "9")]).unwrap();
    assert_eq!(
        resolved.warnings,
        [
            "--override leader.replication.throttled.rate has no effect here: it is set on a running broker",
            "ottla.shards=9 is more than the 2 usable cores: shards will wait for one another",
        ]
    );
    assert_eq!(resolved.settings.shards.count, 9);
}

#[test]
fn times_in_several_units() {
    let retention = |pairs: &[(&str, &str)]| settings(pairs).topics.defaults.retention_ms;
    assert_eq!(retention(&[("log.retention.hours", "1")]), Some(3_600_000));
    assert_eq!(retention(&[("log.retention.hours", "1"), ("log.retention.minutes", "2")]), Some(120_000));
    assert_eq!(retention(&[("log.retention.hours", "1"), ("log.retention.minutes", "2"), ("log.retention.ms", "7")]), Some(7));
    for key in ["log.retention.ms", "log.retention.minutes", "log.retention.hours"] {
        assert_eq!(retention(&[(key, "-1")]), None);
        assert_eq!(retention(&[(key, "-5")]), None);
        assert_eq!(refusal(&[(key, "0")]), format!("--override {key}=0 is not allowed: value must be -1, for no limit, or at least 1."));
    }
    assert_eq!(retention(&[("log.retention.hours", "2147483647")]), Some(2_147_483_647 * 3_600_000));
    let defaults = settings(&[("log.roll.hours", "3"), ("log.roll.jitter.ms", "9")]).topics.defaults;
    assert_eq!((defaults.segment_ms, defaults.segment_jitter_ms), (10_800_000, 9));
    assert!(refusal(&[("log.roll.ms", "0")]).contains("at least 1"));
    assert!(refusal(&[("log.roll.jitter.ms", "-1")]).contains("at least 0"));
    assert!(refusal(&[("log.flush.interval.ms", "-4")]).contains("log.flush.interval.ms=-4 is not allowed: value must be at least 0"));
    assert_eq!(settings(&[("log.flush.interval.ms", "4"), ("log.flush.scheduler.interval.ms", "9")]).topics.defaults.flush_ms, Some(4));
}

#[test]
fn cordoned_directories_are_among_the_others() {
    let cordoned =
        |value: &str| settings(&[("log.dirs", "/a,/b,/c"), ("cordoned.log.dirs", value)]).storage.cordoned.into_iter().collect::<Vec<_>>();
    assert_eq!(cordoned(""), [0; 0]);
    assert_eq!(cordoned("/c,/a"), [0, 2]);
    assert_eq!(cordoned("*"), [0, 1, 2]);
    let refused = |value: &str| refusal(&[("log.dirs", "/a,/b"), ("cordoned.log.dirs", value)]);
    assert!(refused("/d").contains("has /d, which is not one of log.dirs"), "{}", refused("/d"));
    assert!(refused("*,/a").contains("* stands for all by itself"), "{}", refused("*,/a"));
}

#[test]
fn node_id_has_an_older_name() {
    assert_eq!(settings(&[("broker.id", "5")]).node.id, NodeId(5));
    assert_eq!(settings(&[("broker.id", "5"), ("node.id", "5")]).node.id, NodeId(5));
    assert_eq!(refusal(&[("broker.id", "5"), ("node.id", "6")]), "--override broker.id=5 differs from node.id=6; remove broker.id.");
    assert!(refusal(&[("broker.id", "-2")]).contains("at least 0"));
    assert!(refusal(&[("node.id", "-1")]).contains("at least 0"));
}

#[test]
fn directories() {
    let directories = |pairs: &[(&str, &str)]| settings(pairs).storage.directories;
    assert_eq!(directories(&[("log.dir", "/z")]), [std::path::PathBuf::from("/z")]);
    assert_eq!(directories(&[("log.dir", "/z"), ("log.dirs", " /a , /b ,/a")]), ["/a", "/b"].map(std::path::PathBuf::from));
    assert!(refusal(&[("log.dirs", "")]).contains("must not be empty"));
}

#[test]
fn rules_between_keys() {
    for (pairs, part) in [
        (&[("group.consumer.heartbeat.interval.ms", "1")][..], "is less than group.consumer.min.heartbeat.interval.ms=5000"),
        (&[("group.consumer.session.timeout.ms", "1")], "is less than group.consumer.min.session.timeout.ms=45000"),
        (&[("group.consumer.max.session.timeout.ms", "1")], "is less than group.consumer.session.timeout.ms=45000"),
        (&[("group.min.session.timeout.ms", "9999999")], "is greater than group.max.session.timeout.ms=1800000"),
        (&[("replica.lag.time.max.ms", "1")], "is less than replica.fetch.wait.max.ms=500"),
        (
            &[("log.cleaner.min.compaction.lag.ms", "9"), ("log.cleaner.max.compaction.lag.ms", "3")],
            "is greater than log.cleaner.max.compaction.lag.ms=3",
        ),
        (&[("group.coordinator.rebalance.protocols", "consumer")], "leaves out classic"),
        (&[("max.connections.per.ip", "0")], "lets nobody connect"),
        (&[("max.connections.per.ip.overrides", "a:1,b")], "has 'b', which is not host:count"),
        (&[("max.connections.per.ip.overrides", "a:-1")], "has 'a:-1', which is not host:count"),
        (&[("offsets.topic.compression.codec", "5")], "no more than 4"),
        (&[("socket.send.buffer.bytes", "0")], "-1 for the system's own"),
        (&[("socket.receive.buffer.bytes", "-2")], "at least -1"),
        (&[("default.replication.factor", "0")], "at least 1"),
        (&[("default.replication.factor", "40000")], "no more than 32767"),
        (&[("log.cleaner.dedupe.buffer.size", "1")], "at least 1048576"),
    ] {
        let sentence = refusal(pairs);
        assert!(sentence.contains(part), "{sentence}");
    }
    let network = settings(&[
        ("max.connections.per.ip", "0"),
        ("max.connections.per.ip.overrides", "10.0.0.1:3, ::1:4"),
        ("connections.max.idle.ms", "-1"),
    ])
    .network;
    assert_eq!(network.connections_per_ip_overrides, BTreeMap::from([("10.0.0.1".to_owned(), 3), ("::1".to_owned(), 4)]));
    assert_eq!(network.idle_ms_max, None);
    assert!(settings(&[("socket.send.buffer.bytes", "-1")]).given.contains_key("socket.send.buffer.bytes"));
}

#[test]
fn any_value_of_any_key_resolves_or_refuses() {
    for row in table::broker_rows() {
        for text in ["", "-2147483648", "-1", "0", "1", "5", "32767", "2147483647", "9223372036854775807", "true", "0.5", "a:1", "delete"] {
            if let Err(refusal) = resolve(&[(row.name, text)]) {
                let sentence = refusal.to_string();
                assert!(sentence.ends_with('.') && !sentence.ends_with("..") && !sentence.contains('\n'), "{sentence}");
            }
        }
    }
}

fn one_listener_refusal(listeners: &str, advertised: Option<&str>) -> String {
    let mut pairs = vec![("listeners", listeners)];
    pairs.extend(advertised.map(|advertised| ("advertised.listeners", advertised)));
    refusal(&pairs)
}

#[test]
fn listeners_that_cannot_be_are_refused() {
    for (listeners, advertised, part) in [
        (
            "PLAINTEXT://:9092",
            None,
            "has PLAINTEXT on every interface, which is no address to connect to; set advertised.listeners=PLAINTEXT://HOST:9092",
        ),
        ("PLAINTEXT://0.0.0.0:9092", None, "on every interface"),
        ("PLAINTEXT://[::]:9092", None, "on every interface"),
        ("PLAINTEXT:9092", None, "has 'PLAINTEXT:9092', which is not NAME://host:port"),
        ("PLAINTEXT://host", None, "which is not NAME://host:port"),
        ("PLAINTEXT://a:70000", None, "which is not NAME://host:port"),
        ("PLAINTEXT://a:-1", None, "which is not NAME://host:port"),
        ("PLAINTEXT://[::1:9092", None, "which is not NAME://host:port"),
        ("://a:9092", None, "which is not NAME://host:port"),
        ("", None, "must not be empty"),
        ("PLAINTEXT://a:1,", None, "values must not be empty"),
        ("PLAINTEXT://a:1,PLAINTEXT://b:2", None, "has two listeners named PLAINTEXT"),
        ("plaintext://a:1,PLAINTEXT://b:2", None, "has two listeners named PLAINTEXT"),
        ("PLAINTEXT://:1,SSL://:1", None, "has PLAINTEXT and SSL on port 1"),
        ("PLAINTEXT://127.0.0.1:1,SSL://127.0.0.2:1", None, "on port 1"),
        ("PLAINTEXT://a:1,SSL://b:2", None, "wants SSL on listener SSL, and only PLAINTEXT is served"),
        ("SASL_PLAINTEXT://a:1", None, "wants SASL_PLAINTEXT"),
        ("EXTERNAL://a:1", None, "has no protocol for listener EXTERNAL; add EXTERNAL:PLAINTEXT"),
        ("PLAINTEXT://a:1", Some("PLAINTEXT://0.0.0.0:1"), "gives PLAINTEXT no address to connect to"),
        ("PLAINTEXT://a:1", Some("PLAINTEXT://:1"), "gives PLAINTEXT no address to connect to"),
        ("PLAINTEXT://a:1", Some("PLAINTEXT://[::]:1"), "gives PLAINTEXT no address to connect to"),
        ("PLAINTEXT://a:1", Some("OTHER://b:1"), "names OTHER, which listeners does not have; choose from PLAINTEXT"),
        ("PLAINTEXT://a:1", Some("x"), "has 'x', which is not NAME://host:port"),
    ] {
        let sentence = one_listener_refusal(listeners, advertised);
        assert!(sentence.contains(part), "{listeners}: {sentence}");
    }
}

#[test]
fn several_listeners() {
    let map = ("listener.security.protocol.map", "internal:PLAINTEXT,EXTERNAL:plaintext,CONTROLLER:PLAINTEXT");
    let listeners = settings(&[
        map,
        ("listeners", "INTERNAL://[fe80::1%eth0]:9092, EXTERNAL://:9094,CONTROLLER://:9093"),
        ("advertised.listeners", "internal://[fe80::1]:9092,EXTERNAL://box.example:19094"),
        ("inter.broker.listener.name", "internal"),
        ("controller.listener.names", "CONTROLLER"),
    ])
    .network
    .listeners;
    assert_eq!(
        listeners.open,
        [
            Listener { name: "INTERNAL".into(), host: Some("fe80::1%eth0".into()), port: 9092 },
            Listener { name: "EXTERNAL".into(), host: None, port: 9094 },
        ]
    );
    assert_eq!(
        listeners.advertised,
        [
            Advertised { name: "INTERNAL".into(), host: "fe80::1".into(), port: 9092 },
            Advertised { name: "EXTERNAL".into(), host: "box.example".into(), port: 19094 },
        ]
    );
    assert_eq!(listeners.inter_broker, "INTERNAL");
    assert_eq!(listeners.controller.len(), 1);
    // One port on two families, and the system's choice of ports.
    let two =
        [("listeners", "PLAINTEXT://127.0.0.1:9092,B://[::1]:9092"), ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,B:PLAINTEXT")];
    assert_eq!(settings(&two).network.listeners.open.len(), 2);
    assert_eq!(settings(&[("listeners", "PLAINTEXT://127.0.0.1:0")]).network.listeners.advertised[0].port, 0);
    // An IPv6 address may stand without brackets, as in Kafka.
    assert_eq!(settings(&[("listeners", "PLAINTEXT://::1:9092")]).network.listeners.advertised[0].host, "::1");
}

#[test]
fn metrics_are_shown_where_they_were_asked_for() {
    let key = "ottla.metrics.listener";
    assert_eq!(settings(&[]).metrics.listener, None);
    assert_eq!(settings(&[(key, "")]).metrics.listener, None);
    assert_eq!(settings(&[(key, "0.0.0.0:9404")]).metrics.listener, Some("0.0.0.0:9404".parse().unwrap()));
    assert_eq!(settings(&[(key, "localhost:0")]).metrics.listener, Some("127.0.0.1:0".parse().unwrap()));
    assert_eq!(settings(&[(key, "[::1]:9404")]).metrics.listener, Some("[::1]:9404".parse().unwrap()));
    for bad in ["9404", ":9404", "127.0.0.1", "http://127.0.0.1:9404", "127.0.0.1:99999", "box.example:9404"] {
        assert!(refusal(&[(key, bad)]).contains("is not ADDRESS:PORT"), "{bad}");
    }
    assert!(refusal(&[(key, "127.0.0.1:9092")]).contains("has the port of listener PLAINTEXT"));
}

#[test]
fn keys_around_listeners() {
    let map = |text: &'static str| [("listeners", "PLAINTEXT://a:1"), ("listener.security.protocol.map", text)];
    assert!(refusal(&map("x")).contains("has 'x', which is not NAME:PROTOCOL"));
    assert!(refusal(&map("PLAINTEXT:FOO")).contains("has the unknown protocol FOO"));
    assert!(refusal(&map("PLAINTEXT:SSL")).contains("wants SSL on listener PLAINTEXT"));
    assert!(
        refusal(&[("inter.broker.listener.name", "OTHER")])
            .contains("must be one of the advertised listeners (PLAINTEXT), and OTHER is not")
    );
    assert!(refusal(&[("controller.listener.names", "CONTROLLER")]).contains("listeners has none of that name"));
    assert!(refusal(&[("controller.listener.names", "PLAINTEXT")]).contains("leaves no listener for clients"));
    // Without a map, a controller's listener needs no entry.
    let pairs = [("listeners", "PLAINTEXT://a:1,CONTROLLER://:2"), ("controller.listener.names", "CONTROLLER")];
    assert_eq!(settings(&pairs).network.listeners.controller.len(), 1);
}

#[test]
fn only_a_quorum_of_this_node_is_served() {
    let base =
        [("node.id", "4"), ("listeners", "PLAINTEXT://10.0.0.7:9092,CONTROLLER://:9093"), ("controller.listener.names", "CONTROLLER")];
    let with = |key: &'static str, value: &'static str| {
        let mut pairs = base.to_vec();
        pairs.push((key, value));
        resolve(&pairs).map(|resolved| resolved.notes.join(" ")).map_err(|refusal| refusal.to_string())
    };
    for (key, value) in [
        ("controller.quorum.voters", "4@anywhere:9093"),
        ("controller.quorum.bootstrap.servers", "localhost:9093"),
        ("controller.quorum.bootstrap.servers", "127.0.0.1:9093"),
        ("controller.quorum.bootstrap.servers", "[::1]:9093"),
        ("controller.quorum.bootstrap.servers", "10.0.0.7:9093"),
        ("controller.quorum.bootstrap.servers", "BOX.example:9093"),
    ] {
        let notes = with(key, value).unwrap();
        assert_eq!(notes, format!("metadata is kept by this process itself: the listener CONTROLLER://:9093, {key}={value} is not used"));
    }
    for (key, value, part) in [
        ("controller.quorum.voters", "4@a:9093,5@b:9093", "names 5@b:9093, which is not this node"),
        ("controller.quorum.voters", "5@localhost:9093", "which is not this node"),
        ("controller.quorum.voters", "localhost:9093", "which is not id@host:port"),
        ("controller.quorum.bootstrap.servers", "localhost:9094", "which is not this node"),
        ("controller.quorum.bootstrap.servers", "elsewhere:9093", "which is not this node"),
        ("controller.quorum.bootstrap.servers", "localhost", "which is not host:port"),
        ("process.roles", "broker", "set broker,controller"),
        ("process.roles", "controller", "set broker,controller"),
        ("process.roles", "", "must not be empty"),
        ("process.roles", "broker,zebra", "string must be one of: broker, controller"),
    ] {
        let sentence = with(key, value).unwrap_err();
        assert!(sentence.contains(part), "{sentence}");
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

#[test]
fn changes_of_a_running_broker_are_answered_in_kafkas_words() {
    use Target::{AllBrokers, OneBroker};
    for (target, key, value, sentence) in [
        (OneBroker, "num.partitions", "3", "Cannot update these configs dynamically: [num.partitions]"),
        (OneBroker, "log.retention.hours", "3", "Cannot update these configs dynamically: [log.retention.hours]"),
        (
            AllBrokers,
            "listeners",
            "PLAINTEXT://127.0.0.1:1",
            "Cannot update these configs at default cluster level, broker id must be specified: [listeners]",
        ),
        (AllBrokers, "log.retention.ms", "x", "Invalid value x for configuration log.retention.ms: Not a number of type LONG"),
        (
            OneBroker,
            "ssl.keystore.password",
            "pw",
            "These security configs can be dynamically updated only per-listener using the listener prefix: [ssl.keystore.password]",
        ),
        (OneBroker, "log.segment.bytes", "1", "Invalid value 1 for configuration log.segment.bytes: Value must be at least 1048576"),
        (
            AllBrokers,
            "unclean.leader.election.enable",
            "maybe",
            "Invalid value maybe for configuration unclean.leader.election.enable: Expected value to be either true or false",
        ),
        (OneBroker, "listener.name.x.ssl.client.auth", "required", "listener.name.x.ssl.client.auth is not served by this broker"),
    ] {
        assert_eq!(validate_broker_configs(&map(&[(key, value)]), target), Err(sentence.to_owned()));
    }
    for (target, key, value) in [
        (OneBroker, "no.such", "3"),
        (AllBrokers, "log.roll.ms", "7000000"),
        (OneBroker, "leader.replication.throttled.rate", "1000"),
        (OneBroker, "listener.name.plaintext.max.connections", "77"),
    ] {
        assert_eq!(validate_broker_configs(&map(&[(key, value)]), target), Ok(()));
    }
}

#[test]
fn settings_follow_what_is_set_on_the_running_cluster() {
    let started = settings(&[("log.retention.hours", "1"), ("message.max.bytes", "3000"), ("ottla.shards", "1")]);
    let (running, warnings) =
        started.with_running(&map(&[("log.retention.ms", "60"), ("message.max.bytes", "4000")]), &map(&[("message.max.bytes", "5000")]));
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!((running.topics.defaults.retention_ms, running.topics.defaults.message_bytes_max), (Some(60), 5000));
    assert_eq!((running.shards.count, &running.given), (1, &started.given));

    let (running, warnings) = started
        .with_running(&map(&[("num.partitions", "9"), ("who", "1"), ("log.roll.ms", "x"), ("message.max.bytes", "4000")]), &map(&[]));
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert_eq!((running.topics.partitions, running.topics.defaults.message_bytes_max), (1, 4000));

    let (running, warnings) = started.with_running(&map(&[("log.retention.ms", "0")]), &map(&[]));
    assert_eq!(
        warnings,
        ["nothing set on the running cluster has an effect: set on the running cluster, log.retention.ms=0 is not allowed: value must be \
          -1, for no limit, or at least 1."]
    );
    assert_eq!(running, started);
}

#[test]
fn what_is_set_on_the_running_cluster_is_checked_together() {
    let started = settings(&[("message.max.bytes", "3000"), ("num.io.threads", "4")]);
    let nothing = map(&[]);
    let check = |now: &[(&str, &str)], then: &[(&str, &str)]| {
        let (now, then) = (map(now), map(then));
        let of = |broker| Running { all_brokers: &nothing, broker };
        started.validate_running(of(&now), of(&then))
    };
    assert_eq!(check(&[], &[("log.retention.ms", "60"), ("who", "1")]), Ok(()));
    assert!(check(&[], &[("log.retention.ms", "0")]).unwrap_err().contains("log.retention.ms=0"));
    assert_eq!(check(&[], &[("num.io.threads", "8")]), Ok(()));
    assert_eq!(check(&[("num.io.threads", "8")], &[("num.io.threads", "16")]), Ok(()));
    let too_many = "Dynamic thread count update validation failed for num.io.threads=9: value should not be greater than double the \
                    current value 4";
    assert_eq!(check(&[], &[("num.io.threads", "9")]), Err(too_many.to_owned()));
    assert!(check(&[], &[("num.io.threads", "1")]).unwrap_err().contains("at least half"));
    assert_eq!(started.list_default("log.cleanup.policy").as_deref(), Some("delete"));
    assert_eq!(started.list_default("num.io.threads"), None);
}

#[test]
fn shards_get_ports_of_their_own_and_none_that_is_taken() {
    assert_eq!(settings(&[]).shards.ports, [None]);
    let two = ("listeners", "PLAINTEXT://:9092,INNER://:9093");
    let map = ("listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,INNER:PLAINTEXT");
    let key = "ottla.shard.listeners";
    let ports =
        |value: &str| settings(&[two, map, ("advertised.listeners", "PLAINTEXT://a:9092,INNER://b:9093"), (key, value)]).shards.ports;
    assert_eq!(ports("inner:19093"), [None, Some(19093)]);
    assert_eq!(ports("PLAINTEXT:19092, INNER:19094"), [Some(19092), Some(19094)]);
    let refused = |value: &str| refusal(&[two, map, ("advertised.listeners", "PLAINTEXT://a:9092,INNER://b:9093"), (key, value)]);
    assert!(refused("PLAINTEXT").contains("has 'PLAINTEXT', which is not NAME:PORT"));
    assert!(refused("PLAINTEXT:0").contains("which is not NAME:PORT"));
    assert!(refused("OTHER:19092").contains("names OTHER, which is no listener for clients"));
    assert!(refused("PLAINTEXT:9091").contains("takes the ports 9091 to 9092 for PLAINTEXT, and 9092 is that of listener PLAINTEXT"));
    assert!(refused("PLAINTEXT:19092,INNER:19093").contains("19093 is that of a shard of PLAINTEXT"));
    assert!(refused("PLAINTEXT:19092,PLAINTEXT:19192").contains("names PLAINTEXT twice"));
    assert!(refused("PLAINTEXT:65535").contains("2 ports from there on do not exist"));
    let far = refusal(&[(key, "PLAINTEXT:19092"), ("node.id", "1000001")]);
    assert!(far.contains("needs a node.id of no more than 1000000"), "{far}");
}

#[test]
fn zookeeper_is_a_home_where_it_is_named() {
    assert_eq!(settings(&[]).node.zookeeper, None);
    let zookeeper = settings(&[("zookeeper.connect", "a:2181,b/kafka"), ("broker.id", "3"), ("zookeeper.session.timeout.ms", "6000")]).node;
    assert_eq!(zookeeper.id, NodeId(3));
    let zookeeper = zookeeper.zookeeper.unwrap();
    assert_eq!(zookeeper.address.to_string(), "a:2181,b:2181/kafka");
    let six = std::time::Duration::from_secs(6);
    assert_eq!((zookeeper.session_timeout, zookeeper.connection_timeout, zookeeper.in_flight_max), (six, six, 10));
    let sentence = refusal(&[("zookeeper.connect", "a:b")]);
    assert!(sentence.contains("host:port"), "{sentence}");
    let sentence = refusal(&[("zookeeper.connect", "a:1"), ("process.roles", "broker,controller")]);
    assert!(sentence.contains("remove process.roles"), "{sentence}");
}
