use super::record::{Layout, Record};
use super::*;
use crate::cli::console::captured::{capture, parsed, refusal};

fn args(words: &str) -> Args {
    parsed(words)
}

/// What the tool says before it asks anyone.
fn refused(words: &str) -> String {
    refusal(|console| run(&args(words), console))
}

#[test]
fn contradictions_are_told_in_kafkas_sentences() {
    assert_eq!(refused("--bootstrap-server a:1"), "Missing required argument \"[topic]\"");
    assert_eq!(refused("--topic t"), "Error while validating the bootstrap address\n");
    assert_eq!(
        refused("--topic t --property a=b --reader-property c=d"),
        "Options --reader-property and --property cannot be specified together."
    );
    assert_eq!(
        refused("--bootstrap-server a:1 --topic t --reader-property headers.delimiter=,"),
        "headers.delimiter and headers.separator may not be equal"
    );
    assert!(refused("--bootstrap-server a:1 --topic t --compression-codec brotli").starts_with("--compression-codec brotli: "));
    let (_, out, _) =
        capture(|console| check(&args("--topic t --property parse.key=true --producer-property acks=1"), console).map(str::len));
    assert_eq!(
        out,
        "Warning: --producer-property is deprecated and will be removed in a future version. Use --command-property instead.\n\
         Warning: --property is deprecated and will be removed in a future version. Use --reader-property instead.\n"
    );
}

#[test]
fn options_win_over_properties_and_those_over_defaults() {
    let properties = producer_properties(&args(
        "--topic t --command-property linger.ms=7 --command-property acks=0 --request-required-acks 1 --compression-codec",
    ))
    .unwrap();
    for (key, value) in
        [("linger.ms", "7"), ("acks", "1"), ("compression.type", "gzip"), ("retries", "3"), ("batch.size", "16384"), ("client.id", TOOL)]
    {
        assert_eq!(properties[key], value, "{key}");
    }
    let properties = producer_properties(&args("--topic t --timeout 250 --max-partition-memory-bytes 9 --batch-size 8")).unwrap();
    assert_eq!((properties["linger.ms"].as_str(), properties["batch.size"].as_str()), ("250", "9"));
    assert_eq!(producer_properties(&args("--topic t")).unwrap()["linger.ms"], LINGER_MS);
}

fn layout(options: &[&str]) -> Layout {
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    Layout::new(&pairs::of_options(&options)).unwrap()
}

fn record<'a>(headers: &[(&str, Option<&'a str>)], key: Option<&'a str>, value: Option<&'a str>) -> Record<'a> {
    let bytes = |text: Option<&'a str>| text.map(str::as_bytes);
    Record {
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), bytes(*value))).collect(),
        key: bytes(key),
        value: bytes(value),
    }
}

#[test]
fn a_line_is_a_value_or_has_parts() {
    assert_eq!(layout(&[]).record(b"a\tb", 1).unwrap(), record(&[], None, Some("a\tb")));
    assert_eq!(layout(&[]).record(b"", 1).unwrap(), record(&[], None, Some("")));
    let keyed = layout(&["parse.key=true", "key.separator=::", "null.marker=NULL"]);
    assert_eq!(keyed.record(b"k::v::w", 1).unwrap(), record(&[], Some("k"), Some("v::w")));
    assert_eq!(keyed.record(b"NULL::NULL", 1).unwrap(), record(&[], None, None));
    assert_eq!(keyed.record(b"k", 3).unwrap_err().to_string(), "No key separator found on line number 3: 'k'");
    let full = layout(&["parse.key=true", "parse.headers=true", "headers.separator=[;,]", "null.marker=-"]);
    assert_eq!(
        full.record(b"a:1;b:-,c:x:y,\tk\tv", 1).unwrap(),
        record(&[("a", Some("1")), ("b", None), ("c", Some("x:y"))], Some("k"), Some("v"))
    );
    assert_eq!(full.record(b"-\tk\tv", 1).unwrap(), record(&[], Some("k"), Some("v")));
    let told = |line: &[u8]| full.record(line, 2).unwrap_err().to_string();
    assert_eq!(told(b"a\tk\tv"), "No header key separator found in pair 'a' on line number 2");
    assert_eq!(told(b"-:1\tk\tv"), "Header keys should not be equal to the null marker '-' as they can't be null");
    assert_eq!(told(b"a:1"), "No headers delimiter found on line number 2: 'a:1'");
}

#[test]
fn errors_may_be_ignored() {
    let lenient = layout(&["parse.key=true", "parse.headers=true", "ignore.error=true"]);
    assert_eq!(lenient.record(b"plain", 1).unwrap(), record(&[], None, Some("plain")));
    assert_eq!(lenient.record(b"h\tv", 1).unwrap(), record(&[("h", None)], None, Some("v")));
}
