use super::entity::{EntityType, Name};
use super::*;
use crate::cli::console::captured::{capture, parsed};
use crate::client::{ConfigEntry, ConfigResource, ConfigSource, ConfigSynonym};
use crate::types::NodeId;

fn args(words: &str) -> Args {
    parsed(words)
}

/// With a broker to ask.
fn asking(words: &str) -> Result<Entity, Refusal> {
    rules::check(&args(&format!("--bootstrap-server a:1 {words}")))
}

fn sentence(words: &str) -> String {
    match asking(words).unwrap_err() {
        Refusal::Sentence(sentence) => sentence,
        other => panic!("{words}: {other:?}"),
    }
}

#[test]
fn contradictions_are_told_in_kafkas_sentences() {
    let usage = |words: &str| match asking(words).unwrap_err() {
        Refusal::Usage(sentence) => sentence,
        other => panic!("{words}: {other:?}"),
    };
    for words in ["--topic t", "--topic t --describe --alter"] {
        assert_eq!(usage(words), "Command must include exactly one action: --describe, --alter");
    }
    assert_eq!(usage("--describe --topic t --add-config a=b"), "Option \"[describe]\" can't be used with option \"[add-config]\"");
    assert_eq!(usage("--describe --topic t --delete-config a"), "Option \"[describe]\" can't be used with option \"[delete-config]\"");
    assert_eq!(sentence("--describe"), "At least one entity type must be specified");
    assert_eq!(sentence("--describe --entity-type topics --entity-type topics"), "Duplicate entity type(s) specified: topics");
    assert!(sentence("--describe --entity-type x").starts_with("Invalid entity type x, the entity type must be one of topics, "));
    assert_eq!(sentence("--describe --topic t --broker 1"), "Only 'users' and 'clients' entity types may be specified together");
    assert_eq!(
        sentence("--describe --entity-name t --topic t"),
        "--entity-{type,name,default} should not be used in conjunction with specific entity flags"
    );
    assert_eq!(sentence("--describe --broker x"), "The entity name for brokers must be a valid integer broker id, but it is: x");
    assert_eq!(
        sentence("--describe --entity-type topics --entity-default"),
        "--entity-default must not be specified with --describe of topics"
    );
    assert_eq!(sentence("--describe --entity-type broker-loggers"), "An entity name must be specified with --describe of broker-loggers");
    assert_eq!(
        sentence("--alter --entity-type brokers --add-config a=b"),
        "An entity-name or default entity must be specified with --alter of users, clients, brokers or ips"
    );
    assert_eq!(sentence("--alter --entity-type topics --add-config a=b"), "An entity name must be specified with --alter of topics");
    assert_eq!(
        sentence("--alter --topic t --add-config a=b --add-config-file f"),
        "Only one of --add-config or --add-config-file must be specified"
    );
    assert_eq!(
        sentence("--alter --topic t"),
        "At least one of --add-config, --add-config-file, or --delete-config must be specified with --alter"
    );
    assert_eq!(
        sentence("--alter --entity-type brokers --entity-name 1 --entity-default --add-config a=b"),
        "An entity name must be specified for every entity type"
    );
    assert_eq!(
        sentence("--describe --topic t --bootstrap-controller a:2"),
        "Only one of --bootstrap-server or --bootstrap-controller can be specified"
    );
    let alone = |words: &str| rules::check(&args(words)).unwrap_err();
    let missing = "Either --bootstrap-server or --bootstrap-controller must be specified.";
    assert_eq!(alone("--describe --topic t"), Refusal::Sentence(missing.to_owned()));
    match alone("--describe --topic t --bootstrap-controller a:2") {
        Refusal::Sentence(sentence) => assert!(sentence.starts_with("--bootstrap-controller speaks to the listener"), "{sentence}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_served_yet_is_refused_by_name() {
    for words in ["--user u", "--user-defaults", "--client c", "--client-defaults", "--ip 127.0.0.1", "--ip-defaults", "--group g"] {
        let sentence = sentence(&format!("--describe {words}"));
        assert!(sentence.ends_with("yet; it serves topics, brokers and broker-loggers"), "{sentence}");
    }
    assert!(sentence("--describe --entity-type client-metrics").starts_with("client-metrics have no configs that this tool"));
    assert!(sentence("--alter --user u --client c --add-config a=1").ends_with("it serves topics, brokers and broker-loggers"));
}

#[test]
fn an_entity_is_named_in_two_ways() {
    let entity = |words: &str| asking(&format!("--describe {words}")).unwrap();
    let topic = Entity { kind: EntityType::Topics, name: Name::Topic("t".to_owned()) };
    assert_eq!(entity("--topic t"), topic);
    assert_eq!(entity("--entity-type topics --entity-name t"), topic);
    assert_eq!(entity("--entity-type topics").name, Name::Every);
    let broker = Entity { kind: EntityType::Brokers, name: Name::Broker(NodeId(1), "01".to_owned()) };
    assert_eq!(entity("--broker 01"), broker);
    assert_eq!(broker.resource(), ConfigResource::Broker(Some(NodeId(1))));
    for words in ["--broker-defaults", "--entity-type brokers --entity-default"] {
        let defaults = entity(words);
        assert_eq!((defaults.kind, &defaults.name), (EntityType::Brokers, &Name::Default));
        assert_eq!(defaults.resource(), ConfigResource::Broker(None));
        assert_eq!(defaults.own_source(), Some(ConfigSource::DefaultBroker));
    }
    let loggers = entity("--broker-logger 1");
    assert_eq!(loggers.resource(), ConfigResource::BrokerLogger(NodeId(1)));
    assert_eq!(loggers.own_source(), None);
    let faulty = Entity { kind: EntityType::Topics, name: Name::Topic("a b".to_owned()) };
    assert!(faulty.check_name().unwrap_err().to_string().starts_with("Topic name is invalid: "));
}

#[test]
fn settings_are_split_outside_brackets() {
    let settings = |text: &str| alter::parse_settings(text).unwrap();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(settings("a=1"), [pair("a", "1")]);
    assert_eq!(settings(" a = 1 , b=,"), [pair("a", "1"), pair("b", "")]);
    assert_eq!(settings("a=[1,2],b=[x=y],c=3"), [pair("a", "1,2"), pair("b", "x=y"), pair("c", "3")]);
    assert_eq!(settings(","), []);
    for bad in ["", "a", "a=b=c", "a=1,b", ",a=1", "a=1,,b=2", "a=[1,2"] {
        assert!(matches!(alter::parse_settings(bad), Err(ConfigsError::Format)), "{bad}");
    }
}

#[test]
fn names_to_remove_stand_between_commas() {
    let removed = |options: &[&str]| alter::removed(&options.iter().map(|option| (*option).to_owned()).collect::<Vec<_>>());
    assert_eq!(removed(&["a, b", "c"]), ["a", "b", "c"]);
    assert_eq!(removed(&["a,,b,"]), ["a", "b"]);
    assert_eq!(removed(&[""]), [""]);
    assert_eq!(removed(&[","]), [","]);
}

#[test]
fn a_wrong_setting_is_told_before_anyone_is_asked() {
    let refused = |words: &str| {
        let words = format!("--bootstrap-server 127.0.0.1:1 --alter --topic t {words}");
        match capture(|console| run(&args(&words), &[], console)).0.unwrap_err() {
            Failure::Sentence(sentence) => sentence,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(
        refused("--add-config retention.ms"),
        "requirement failed: Invalid entity config: all configs to be added must be in the format \"key=val\" or  \"key=[val1,val2]\" to group values \
         which contain commas."
    );
    assert_eq!(refused("--add-config a/b=1"), "Invalid character found for config key: a/b");
    assert!(refused("--add-config-file /nowhere/at.all").starts_with("cannot read /nowhere/at.all: "));
}

#[test]
fn a_setting_prints_as_kafka_prints_it() {
    let synonym =
        |name: &str, value: Option<&str>, source| ConfigSynonym { name: name.to_owned(), value: value.map(str::to_owned), source };
    let mut entry = ConfigEntry {
        name: "retention.ms".to_owned(),
        value: Some("5".to_owned()),
        source: ConfigSource::Topic,
        is_sensitive: false,
        synonyms: vec![
            synonym("retention.ms", Some("5"), ConfigSource::Topic),
            synonym("log.retention.hours", Some("168"), ConfigSource::Default),
        ],
    };
    assert_eq!(
        describe::line(&entry),
        "  retention.ms=5 sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:retention.ms=5, DEFAULT_CONFIG:log.retention.hours=168}"
    );
    entry.value = None;
    entry.is_sensitive = true;
    entry.synonyms = vec![synonym("a", None, ConfigSource::StaticBroker)];
    assert_eq!(describe::line(&entry), "  retention.ms=null sensitive=true synonyms={STATIC_BROKER_CONFIG:a=null}");
}
