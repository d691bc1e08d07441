//! Who coordinates transactions: nobody, and clients are told so in a word that they take as final.

use std::time::{Duration, Instant};

use kafka_protocol::messages::{FindCoordinatorRequest, InitProducerIdRequest, TransactionalId};
use rdkafka::config::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};

use crate::support::broker::{Broker, Settings, only_ottla};
use crate::support::groups::text;
use crate::support::noisy;

const TRANSACTION: i8 = 1;
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
