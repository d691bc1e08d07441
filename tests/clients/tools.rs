//! Apache Kafka 4.3.1's command-line tools, by their main classes: what a Kafka user types first.

use super::{CODECS, at_every_shard_count, expect_codec};
use crate::support::broker::{Broker, Settings};
use crate::support::peers::kafka_tool;
use crate::support::records::Batch;
use crate::support::{dump, topics};

fn topic_command(broker: &Broker, args: &[&str]) -> String {
    let bootstrap = broker.bootstrap();
    let mut all = vec!["--bootstrap-server", &bootstrap];
    all.extend(args);
    kafka_tool("org.apache.kafka.tools.TopicCommand", &all).expect_success()
}

/// kafka-topics: create, list, describe, delete.
#[test]
fn topics_are_created_listed_described_and_deleted() {
    at_every_shard_count(Settings::new(), |broker| {
        topics::create(&mut broker.connect(), "already-there", 1, &[]);
        topics::produce(&mut broker.connect(), "already-there", 0, Batch::at(1_700_000_000_000).value("x").encode());
        let create =
            ["--create", "--topic", "by-tool", "--partitions", "3", "--replication-factor", "1", "--config", "retention.ms=3600000"];
        let said = topic_command(broker, &create);
        assert!(said.contains("Created topic by-tool."), "{said}");
        let listed = topic_command(broker, &["--list"]);
        assert_eq!(listed.lines().collect::<Vec<_>>(), ["already-there", "by-tool"]);
        let described = topic_command(broker, &["--describe", "--topic", "by-tool"]);
        let lines: Vec<&str> = described.lines().collect();
        assert!(lines[0].contains("PartitionCount: 3") && lines[0].contains("ReplicationFactor: 1"), "{described}");
        assert!(lines[0].contains("retention.ms=3600000"), "{described}");
        for partition in 0..3 {
            let line = lines[1 + partition];
            assert!(line.contains(&format!("Partition: {partition}")), "{described}");
            assert!(line.contains("Leader: 1") && line.contains("Replicas: 1") && line.contains("Isr: 1"), "{described}");
        }
        topic_command(broker, &["--delete", "--topic", "by-tool"]);
        let listed = topic_command(broker, &["--list"]);
        assert_eq!(listed.lines().collect::<Vec<_>>(), ["already-there"]);
    });
}

/// kafka-producer-perf-test writes, kafka-console-consumer reads.
#[test]
fn the_java_producer_and_consumer() {
    at_every_shard_count(Settings::new(), |broker| {
        let bootstrap = broker.bootstrap();
        for (name, codec) in CODECS {
            let topic = format!("java-{name}");
            topics::create(&mut broker.connect(), &topic, 1, &[]);
            let said = kafka_tool(
                "org.apache.kafka.tools.ProducerPerformance",
                &[
                    "--topic",
                    &topic,
                    "--num-records",
                    "3000",
                    "--record-size",
                    "200",
                    "--throughput",
                    "-1",
                    "--command-property",
                    &format!("bootstrap.servers={bootstrap}"),
                    "acks=all",
                    &format!("compression.type={name}"),
                ],
            )
            .expect_success();
            assert!(said.contains("3000 records sent"), "{said}");
            expect_codec(broker, &topic, 1, codec);
        }
        let read = kafka_tool(
            "org.apache.kafka.tools.consumer.ConsoleConsumer",
            &[
                "--bootstrap-server",
                &bootstrap,
                "--topic",
                "java-zstd",
                "--partition",
                "0",
                "--offset",
                "earliest",
                "--max-messages",
                "3000",
                "--timeout-ms",
                "60000",
                "--formatter-property",
                "print.offset=true",
                "--formatter-property",
                "print.value=false",
            ],
        )
        .expect_success();
        let want: Vec<String> = (0..3000).map(|offset| format!("Offset:{offset}")).collect();
        assert_eq!(read.lines().map(str::trim).collect::<Vec<_>>(), want);
    });
}

/// Small segments and small index intervals: many files, many entries, each held against the log by Kafka's reader.
#[test]
fn kafka_reads_the_files_of_many_segments() {
    at_every_shard_count(Settings::new(), |broker| {
        let configs = [("segment.bytes", "1048576"), ("index.interval.bytes", "512"), ("retention.ms", "-1")];
        topics::create(&mut broker.connect(), "many-segments", 2, &configs);
        let mut connection = broker.connect();
        for index in 0..600 {
            for partition in 0..2 {
                // Timestamps that step back now and then: the time index keeps the largest so far.
                let batch = Batch::at(1_700_000_000_000 + index * 100 - (index % 7) * 1000).value([b'v'; 3000]).value([b'w'; 3000]);
                topics::produce(&mut connection, "many-segments", partition, batch.encode());
            }
        }
        for partition in 0..2 {
            let segments = topics::segments(&broker.partition_dir("many-segments", partition));
            assert!(segments.len() >= 3, "{} segments", segments.len());
            let records = topics::read_from(&mut connection, "many-segments", partition, 0);
            assert_eq!(records.len(), 1200);
            assert!(records.iter().enumerate().all(|(index, record)| record.offset == index as i64));
        }
        broker.stop();
        let said = dump::check(&broker.log_dir());
        assert_eq!(said.matches("isvalid: true").count(), 1200, "batches read by Kafka");
        broker.launch();
    });
}

/// VerifiableProducer says of each record where it was stored.
#[test]
fn the_verifiable_producer() {
    at_every_shard_count(Settings::new(), |broker| {
        topics::create(&mut broker.connect(), "verified", 2, &[]);
        let bootstrap = broker.bootstrap();
        let asked =
            ["--bootstrap-server", &bootstrap, "--topic", "verified", "--max-messages", "2000", "--throughput", "-1", "--acks", "-1"];
        let said = kafka_tool("org.apache.kafka.tools.VerifiableProducer", &asked).expect_success();
        let mut offsets = [Vec::new(), Vec::new()];
        for line in said.lines().filter(|line| line.contains("\"producer_send_success\"")) {
            let number = |field: &str| -> usize {
                let text = line.split(&format!("\"{field}\":")).nth(1).unwrap_or_else(|| panic!("{field} in {line}"));
                text.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
            };
            offsets[number("partition")].push(number("offset"));
        }
        for offsets in &mut offsets {
            offsets.sort_unstable();
            assert!(offsets.iter().copied().eq(0..offsets.len()), "stored once each, without a gap");
        }
        assert_eq!(offsets.iter().map(Vec::len).sum::<usize>(), 2000, "{said}");
    });
}
