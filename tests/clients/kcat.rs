//! kcat (librdkafka 2.0, a client of 2023): every codec, read back by assignment.

use super::{CODECS, at_every_shard_count, expect_codec, values};
use crate::support::broker::Settings;
use crate::support::peers::kcat;
use crate::support::topics;

const COUNT: usize = 300;

#[test]
fn every_codec_goes_in_and_comes_back() {
    at_every_shard_count(Settings::new(), |broker| {
        let bootstrap = broker.bootstrap();
        for (name, codec) in CODECS {
            let topic = format!("kcat-{name}");
            topics::create(&mut broker.connect(), &topic, 2, &[]);
            for partition in ["0", "1"] {
                let values = values(&format!("{name}-{partition}"), COUNT);
                let input: String = values.iter().enumerate().map(|(index, value)| format!("key-{index}:{value}\n")).collect();
                // Small batches, so that there is more than one to look at.
                let sizes = ["-X", "batch.num.messages=50", "-X", "linger.ms=20"];
                let mut args = vec!["-P", "-b", &bootstrap, "-t", &topic, "-p", partition, "-K:", "-z", name, "-X", "acks=all"];
                args.extend(sizes);
                kcat(&args, input.as_bytes()).expect_success();
                let format = ["-f", "%o %k %s\\n"];
                let mut args = vec!["-C", "-q", "-b", &bootstrap, "-t", &topic, "-p", partition, "-o", "beginning", "-e"];
                args.extend(format);
                let read = kcat(&args, b"").expect_success();
                let want: Vec<String> = values.iter().enumerate().map(|(index, value)| format!("{index} key-{index} {value}")).collect();
                assert_eq!(read.lines().collect::<Vec<_>>(), want, "{topic}-{partition}");
            }
            expect_codec(broker, &topic, 2, codec);
        }
    });
}

#[test]
fn lists_topics_and_asks_for_offsets() {
    at_every_shard_count(Settings::new(), |broker| {
        let bootstrap = broker.bootstrap();
        topics::create(&mut broker.connect(), "kcat-listed", 3, &[]);
        let input: String = values("listed", 40).iter().map(|value| format!("{value}\n")).collect();
        kcat(&["-P", "-b", &bootstrap, "-t", "kcat-listed", "-p", "1"], input.as_bytes()).expect_success();
        let listed = kcat(&["-L", "-b", &bootstrap], b"").expect_success();
        assert!(listed.contains("topic \"kcat-listed\" with 3 partitions"), "{listed}");
        assert!(listed.contains(&format!("broker 1 at {bootstrap}")), "{listed}");
        let latest = kcat(&["-Q", "-b", &bootstrap, "-t", "kcat-listed:1:-1"], b"").expect_success();
        assert_eq!(latest.trim(), "kcat-listed [1] offset 40");
        let earliest = kcat(&["-Q", "-b", &bootstrap, "-t", "kcat-listed:1:-2"], b"").expect_success();
        assert_eq!(earliest.trim(), "kcat-listed [1] offset 0");
        // The last ten, by an offset relative to the end.
        let tail =
            kcat(&["-C", "-q", "-b", &bootstrap, "-t", "kcat-listed", "-p", "1", "-o", "-10", "-e", "-f", "%o\\n"], b"").expect_success();
        assert_eq!(tail.lines().collect::<Vec<_>>(), (30..40).map(|offset| offset.to_string()).collect::<Vec<_>>());
    });
}

#[test]
fn a_topic_chooses_the_codec_it_is_stored_in() {
    at_every_shard_count(Settings::new(), |broker| {
        let bootstrap = broker.bootstrap();
        for (name, codec) in CODECS {
            let topic = format!("stored-{name}");
            let kept = if name == "none" { "uncompressed" } else { name };
            topics::create(&mut broker.connect(), &topic, 1, &[("compression.type", kept)]);
            let sent = if name == "gzip" { "lz4" } else { "gzip" };
            let values = values(name, COUNT);
            let input: String = values.iter().map(|value| format!("{value}\n")).collect();
            kcat(&["-P", "-b", &bootstrap, "-t", &topic, "-p", "0", "-z", sent, "-X", "batch.num.messages=50"], input.as_bytes())
                .expect_success();
            let read = kcat(&["-C", "-q", "-b", &bootstrap, "-t", &topic, "-p", "0", "-o", "beginning", "-e"], b"").expect_success();
            assert_eq!(read.lines().collect::<Vec<_>>(), values, "{topic}");
            expect_codec(broker, &topic, 1, codec);
        }
    });
}
