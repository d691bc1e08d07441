//! Who coordinates transactions: nobody, and clients are told so in a word that they take as final. And who share groups.

use std::time::{Duration, Instant};

use kafka_protocol::messages::{FindCoordinatorRequest, InitProducerIdRequest, TransactionalId};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};

use crate::support::broker::{Broker, Settings, only_ottla};
use crate::support::groups::text;
use crate::support::{eventually, noisy};

const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const INVALID_REQUEST: i16 = 42;
/// A client that is told one of these asks again, for ever: loading, not available, not the coordinator, and a request that took too long.
const ASK_AGAIN: [i16; 4] = [14, 15, 16, 7];

#[test]
fn transactions_are_refused_for_good() {
    if only_ottla("Kafka coordinates transactions") {
        return;
    }
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let mut connection = broker.connect();
    let init =
        InitProducerIdRequest::default().with_transactional_id(Some(TransactionalId(text("tx")))).with_transaction_timeout_ms(10_000);
    let refused = connection.call(4, &init).error_code;
    assert!(refused != 0 && !ASK_AGAIN.contains(&refused), "InitProducerId: {refused}");
    for version in 1..=6 {
        let ask = FindCoordinatorRequest::default().with_key_type(TRANSACTION);
        let ask = if version < 4 { ask.with_key(text("tx")) } else { ask.with_coordinator_keys(vec![text("tx"), text("another")]) };
        let answer = connection.call(version, &ask);
        let codes: Vec<i16> = match version {
            4.. => answer.coordinators.iter().map(|one| one.error_code).collect(),
            _ => vec![answer.error_code],
        };
        assert_eq!(codes, vec![refused; if version < 4 { 1 } else { 2 }], "FindCoordinator v{version}");
    }
}

/// librdkafka gives up at once instead of asking until its time is over.
#[test]
fn a_transactional_producer_gives_up() {
    if only_ottla("Kafka coordinates transactions") {
        return;
    }
    let _noisy = noisy();
    let broker = Broker::start(Settings::new());
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", broker.bootstrap()).set("transactional.id", "tx").create().expect("a producer");
    let began = Instant::now();
    producer.init_transactions(Duration::from_secs(60)).expect_err("transactions are not served");
    assert!(began.elapsed() < Duration::from_secs(20), "gave up after {:?}", began.elapsed());
}

/// Nothing of share groups is served, and nobody is told to ask for their coordinator for ever: as Kafka does it where they are off.
#[test]
fn the_coordinator_of_a_share_group_is_told() {
    let _noisy = noisy();
    let of_one = [("state.topic.replication.factor", 1), ("state.topic.min.isr", 1), ("state.topic.num.partitions", 1)];
    let settings =
        of_one.into_iter().fold(Settings::new(), |settings, (key, value)| settings.with(&format!("share.coordinator.{key}"), value));
    let broker = Broker::start(settings);
    let mut connection = broker.connect();
    let keys = vec![text("g:AAAAAAAAAAAAAAAAAAAAAQ:0"), text("nonsense")];
    let ask = FindCoordinatorRequest::default().with_key_type(SHARE).with_coordinator_keys(keys);
    // Kafka has to make the topic first.
    let answer = eventually("a coordinator", Duration::from_secs(30), || {
        Some(connection.call(6, &ask)).filter(|answer| answer.coordinators[0].error_code != COORDINATOR_NOT_AVAILABLE)
    });
    let found = &answer.coordinators[0];
    assert_eq!((found.error_code, found.node_id.0, format!("{}:{}", found.host, found.port)), (0, 1, broker.bootstrap()));
    assert_eq!((answer.coordinators[1].error_code, answer.coordinators[1].node_id.0), (INVALID_REQUEST, -1));
}
