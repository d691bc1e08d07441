//! kafkajs, which asks for versions of years ago. It reads in groups only: here it administers and writes.

use super::{at_every_shard_count, expect_codec};
use crate::support::broker::Settings;
use crate::support::peers::kafkajs;
use crate::support::records::Codec;

#[test]
fn administers_and_writes() {
    at_every_shard_count(Settings::new(), |broker| {
        for (name, codec) in [("none", Codec::None), ("gzip", Codec::Gzip)] {
            let topic = format!("kafkajs-{name}");
            let said = kafkajs("round_trip.js", &[&broker.bootstrap(), &topic, name]).expect_success();
            assert_eq!(said.trim(), "written 400");
            expect_codec(broker, &topic, 2, codec);
        }
    });
}
