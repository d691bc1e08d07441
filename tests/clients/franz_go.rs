//! franz-go, the client of the Go world: it asks for the newest versions of all, and numbers its batches unless told otherwise.

use super::{CODECS, at_every_shard_count, expect_codec};
use crate::support::broker::Settings;
use crate::support::peers::franz_go;
use crate::support::topics;

#[test]
fn goes_in_and_comes_back() {
    at_every_shard_count(Settings::new(), |broker| {
        for (name, codec) in CODECS {
            let topic = format!("franz-{name}");
            topics::create(&mut broker.connect(), &topic, 2, &[]);
            let said = franz_go(&[&broker.bootstrap(), &topic, name]).expect_success();
            assert_eq!(said.trim(), "read 400");
            expect_codec(broker, &topic, 2, codec);
        }
    });
}
