use super::*;
use crate::config::broker::Environment;

fn broker(pairs: &[(&str, &str)]) -> BrokerSettings {
    let overrides: Vec<_> = pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    BrokerSettings::resolve(None, &overrides, &Environment { cores: 1, host_names: vec![] }).unwrap().settings
}

fn overrides(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

/// Each line is a key, a value and what Kafka 4.3.1 answered to it.
#[test]
fn single_values_are_answered_in_kafkas_words() {
    const LONG: &str = "Not a number of type LONG";
    const INT: &str = "Not a number of type INT";
    const BOOLEAN: &str = "Expected value to be either true or false";
    const POLICY: &str = "String must be one of: compact, delete";
    const CODEC: &str = "String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer";
    const GZIP: &str = "Value must be between 1 and 9 or equal to -1";
    const TIMESTAMP: &str = "String must be one of: CreateTime, LogAppendTime";
    for (key, value, reason) in [
        ("retention.ms", "x", LONG),
        ("retention.ms", "", LONG),
        ("retention.ms", " ", LONG),
        ("retention.ms", "9223372036854775808", LONG),
        ("retention.ms", "1.5", LONG),
        ("retention.ms", "0x10", LONG),
        ("retention.ms", "1_000", LONG),
        ("retention.ms", "-2", "Value must be at least -1"),
        ("segment.bytes", "2147483648", INT),
        ("segment.bytes", "1048575", "Value must be at least 1048576"),
        ("preallocate", "yes", BOOLEAN),
        ("preallocate", "1", BOOLEAN),
        ("min.cleanable.dirty.ratio", "1.1", "Value must be no more than 1"),
        ("min.cleanable.dirty.ratio", "-0.1", "Value must be at least 0"),
        ("min.cleanable.dirty.ratio", "", "Not a number of type DOUBLE"),
        ("min.cleanable.dirty.ratio", "Infinity", "Value must be no more than 1"),
        ("cleanup.policy", "foo", POLICY),
        ("cleanup.policy", "Delete", POLICY),
        ("compression.type", "GZIP", CODEC),
        ("compression.type", "none", CODEC),
        ("compression.type", "", CODEC),
        ("compression.gzip.level", "0", GZIP),
        ("compression.gzip.level", "10", GZIP),
        ("compression.lz4.level", "0", "Value must be at least 1"),
        ("compression.lz4.level", "18", "Value must be no more than 17"),
        ("compression.zstd.level", "-131073", "Value must be at least -131072"),
        ("compression.zstd.level", "23", "Value must be no more than 22"),
        ("message.timestamp.type", "createtime", TIMESTAMP),
        ("segment.ms", "0", "Value must be at least 1"),
        ("segment.jitter.ms", "-1", "Value must be at least 0"),
        ("flush.messages", "0", "Value must be at least 1"),
        ("flush.ms", "-1", "Value must be at least 0"),
        ("max.compaction.lag.ms", "0", "Value must be at least 1"),
        ("min.insync.replicas", "0", "Value must be at least 1"),
        ("segment.index.bytes", "3", "Value must be at least 4"),
        ("max.message.bytes", "-1", "Value must be at least 0"),
        ("local.retention.ms", "-3", "Value must be at least -2"),
        ("remote.storage.enable", "x", BOOLEAN),
        ("internal.segment.bytes", "x", INT),
    ] {
        let sentence = format!("Invalid value {value} for configuration {key}: {reason}");
        assert_eq!(validate_topic_config(key, value), Err(sentence));
    }
    for (key, value, sentence) in [
        ("foo", "1", "Unknown topic config name: foo"),
        ("message.format.version", "2.0", "Unknown topic config name: message.format.version"),
        ("cleanup.policy", "delete,", "Configuration 'cleanup.policy' values must not be empty."),
        ("cleanup.policy", ",", "Configuration 'cleanup.policy' values must not be empty."),
        ("cleanup.policy", "delete,foo,bar", "Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete"),
        (
            "leader.replication.throttled.replicas",
            "none,0:1",
            "Invalid value [none, 0:1] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must \
             be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        ),
        (
            "remote.storage.enable",
            "true",
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
        ),
    ] {
        assert_eq!(validate_topic_config(key, value), Err(sentence.to_owned()));
    }
}

#[test]
fn what_kafka_accepts_is_accepted() {
    for (key, value) in [
        ("retention.ms", "-1"),
        ("retention.ms", "0"),
        ("retention.ms", " 7 "),
        ("retention.ms", "+5"),
        ("retention.ms", "010"),
        ("segment.bytes", " 1048576\t"),
        ("preallocate", " False "),
        ("preallocate", "TRUE"),
        ("cleanup.policy", ""),
        ("cleanup.policy", " "),
        ("cleanup.policy", "compact , delete"),
        ("cleanup.policy", "delete,delete"),
        ("compression.type", " zstd "),
        ("leader.replication.throttled.replicas", "*"),
        ("leader.replication.throttled.replicas", " 0:1 , 1:2"),
        ("leader.replication.throttled.replicas", "0:1,"),
        ("leader.replication.throttled.replicas", ""),
        ("retention.bytes", "-7"),
        ("local.retention.ms", "5"),
        ("remote.log.copy.disable", "true"),
        ("internal.segment.bytes", "1000"),
        ("min.compaction.lag.ms", "9223372036854775807"),
        ("min.insync.replicas", "3"),
    ] {
        assert_eq!(validate_topic_config(key, value), Ok(()), "{key}={value}");
    }
}

#[test]
fn keys_are_checked_together() {
    let plain = broker(&[]);
    let sentence = |pairs: &[(&str, &str)]| validate_topic_configs(&overrides(pairs), &plain).map_err(|error| error.to_string());
    assert_eq!(
        sentence(&[("max.compaction.lag.ms", "3"), ("min.compaction.lag.ms", "9")]),
        Err("conflict topic config setting min.compaction.lag.ms (9) > max.compaction.lag.ms (3)".to_owned())
    );
    assert_eq!(sentence(&[("max.compaction.lag.ms", "3"), ("min.compaction.lag.ms", "3")]), Ok(()));
    assert_eq!(sentence(&[("retention.ms", "x"), ("zoo", "1")]), Err("Unknown topic config name: zoo".to_owned()));
    assert_eq!(sentence(&[("local.retention.ms", "5"), ("retention.ms", "4")]), Ok(()));
    let lagging = broker(&[("log.cleaner.min.compaction.lag.ms", "1000")]);
    assert_eq!(
        validate_topic_configs(&overrides(&[("max.compaction.lag.ms", "500")]), &lagging).map_err(|error| error.to_string()),
        Err("conflict topic config setting min.compaction.lag.ms (1000) > max.compaction.lag.ms (500)".to_owned()),
        "one of them is the broker's"
    );
}

#[test]
fn a_topic_without_overrides_has_the_brokers_defaults() {
    let broker = broker(&[
        ("log.retention.hours", "2"),
        ("log.roll.ms", "5000"),
        ("log.roll.jitter.hours", "1"),
        ("log.flush.scheduler.interval.ms", "40"),
        ("log.cleanup.policy", "compact,delete"),
        ("message.max.bytes", "2000"),
        ("compression.type", "gzip"),
        ("log.message.timestamp.type", "LogAppendTime"),
        ("log.message.timestamp.after.max.ms", "9223372036854775807"),
        ("min.insync.replicas", "2"),
        ("unclean.leader.election.enable", "true"),
    ]);
    let settings = TopicSettings::resolve(&overrides(&[]), &broker).unwrap();
    assert_eq!(settings.retention_ms, Some(7_200_000));
    assert_eq!(settings.segment_ms, 5000);
    assert_eq!(settings.segment_jitter_ms, 3_600_000);
    assert_eq!(settings.flush_ms, Some(40));
    assert_eq!(settings.flush_messages, None);
    assert_eq!(settings.cleanup, CleanupPolicy { delete: true, compact: true });
    assert_eq!(settings.message_bytes_max, 2000);
    assert_eq!(settings.compression, Compression::Gzip { level: None });
    assert_eq!(settings.timestamp_type, TimestampType::LogAppendTime);
    assert_eq!((settings.timestamp_before_ms_max, settings.timestamp_after_ms_max), (None, None));
    assert_eq!(settings.insync_replicas_min, 2);
    assert!(settings.unclean_leader_election);
    assert_eq!(settings.compaction_lag_ms_max, None);
    assert_eq!(settings.retention_bytes, None);
}

#[test]
fn overrides_win_over_the_brokers_defaults() {
    let broker = broker(&[("log.retention.ms", "5000"), ("compression.zstd.level", "7")]);
    let settings = TopicSettings::resolve(
        &overrides(&[
            ("retention.ms", "-1"),
            ("retention.bytes", " 10 "),
            ("cleanup.policy", ""),
            ("compression.type", "zstd"),
            ("flush.messages", "1"),
            ("internal.segment.bytes", "1000"),
            ("segment.bytes", "2000000"),
            ("max.compaction.lag.ms", "8"),
            ("message.timestamp.before.max.ms", "9"),
            ("preallocate", "true"),
        ]),
        &broker,
    )
    .unwrap();
    assert_eq!(settings.retention_ms, None);
    assert_eq!(settings.retention_bytes, Some(10));
    assert_eq!(settings.cleanup, CleanupPolicy { delete: false, compact: false });
    assert_eq!(settings.compression, Compression::Zstd { level: 7 });
    assert_eq!(settings.flush_messages, Some(1));
    assert_eq!(settings.segment_bytes, 1000);
    assert_eq!(settings.compaction_lag_ms_max, Some(8));
    assert_eq!(settings.timestamp_before_ms_max, Some(9));
    assert!(settings.preallocate);
    assert!(TopicSettings::resolve(&overrides(&[("retention.ms", "x")]), &broker).is_err());
}

#[test]
fn every_codec_resolves() {
    for (text, codec) in [
        ("producer", Compression::Producer),
        ("uncompressed", Compression::Uncompressed),
        ("gzip", Compression::Gzip { level: Some(9) }),
        ("snappy", Compression::Snappy),
        ("lz4", Compression::Lz4 { level: 9 }),
        ("zstd", Compression::Zstd { level: 3 }),
    ] {
        let pairs = overrides(&[("compression.type", text), ("compression.gzip.level", "9")]);
        assert_eq!(TopicSettings::resolve(&pairs, &broker(&[])).unwrap().compression, codec);
    }
}
