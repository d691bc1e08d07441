//! Prometheus' own Python client reads the page: its parser is what others take for the format.

use super::settings;
use crate::support::broker::{Broker, only_ottla};
use crate::support::peers::python;
use crate::support::records::Batch;
use crate::support::{noisy, topics};

const JUDGE: &str = r#"
import math, sys, urllib.request
from prometheus_client.parser import text_string_to_metric_families

address, topic = sys.argv[1:]
with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
    assert answer.status == 200
    page = answer.read().decode("utf-8")
families = list(text_string_to_metric_families(page))
names = [family.name for family in families]
assert len(names) == len(set(names)), names
seen = set()
for family in families:
    assert family.name.startswith("ottla_"), family.name
    assert family.type in ("counter", "gauge", "histogram"), (family.name, family.type)
    assert family.documentation, family.name
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        assert key not in seen, key
        seen.add(key)
        assert not math.isnan(sample.value) and sample.value >= 0, (key, sample.value)
    if family.type == "histogram":
        buckets = {}
        for sample in family.samples:
            if sample.name.endswith("_bucket"):
                labels = dict(sample.labels)
                buckets.setdefault((float(labels.pop("le"))), {})[tuple(sorted(labels.items()))] = sample.value
        for series in buckets[math.inf]:
            counts = [buckets[bound][series] for bound in sorted(buckets)]
            assert counts == sorted(counts), (family.name, series, counts)
            count = next(s.value for s in family.samples if s.name.endswith("_count") and tuple(sorted(s.labels.items())) == series)
            assert counts[-1] == count, (family.name, series)
received = next(family for family in families if family.name == "ottla_topic_received_records")
assert {s.labels["topic"]: s.value for s in received.samples}[topic] == 3, received
print("families", len(families) > 30)
"#;

#[test]
fn prometheus_parser_takes_the_page() {
    if only_ottla("Kafka shows no page") {
        return;
    }
    let _noisy = noisy();
    let broker = Broker::start(settings().shards(2));
    let mut connection = broker.connect();
    let topic = "judged.by-the_parser";
    topics::create(&mut connection, topic, 2, &[]);
    topics::produce(&mut connection, topic, 1, Batch::at(1_700_000_000_000).value("a").value("b").value("c").encode());
    topics::fetch(&mut connection, topic, 1, 0);
    let said = python(JUDGE, &[&broker.metrics().to_string(), topic]).expect_success();
    assert_eq!(said.trim(), "families True");
}
