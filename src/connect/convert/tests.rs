use super::*;

fn text(converter: Converter, schema: Option<Arc<Schema>>, value: &Value) -> String {
    String::from_utf8(converter.to_bytes(schema.as_ref(), value).unwrap().unwrap()).unwrap()
}

const WITH: Converter = Converter::Json { schemas: true };
const WITHOUT: Converter = Converter::Json { schemas: false };

/// As Kafka's quick start shows a line that the file source sent.
#[test]
fn a_line_stands_in_its_envelope() {
    let line = Value::String("foo \"bar\"".to_owned());
    let schema = Some(Schema::required(Kind::String));
    assert_eq!(text(WITH, schema.clone(), &line), r#"{"schema":{"type":"string","optional":false},"payload":"foo \"bar\""}"#);
    assert_eq!(text(WITHOUT, schema.clone(), &line), r#""foo \"bar\"""#);
    assert_eq!(text(Converter::String, schema, &line), "foo \"bar\"");
    assert_eq!(WITH.to_bytes(None, &Value::Null), Ok(None));
    assert_eq!(WITHOUT.to_bytes(None, &Value::Null), Ok(None));
    assert_eq!(text(WITH, None, &Value::Int64(1)), r#"{"schema":null,"payload":1}"#);
}

#[test]
fn everything_nested_goes_there_and_back() {
    let schema = r#"{"type":"struct","fields":[{"type":"string","optional":false,"field":"line"},{"type":"int64","optional":true,"name":"org.apache.kafka.connect.data.Timestamp","version":1,"field":"at"},{"type":"array","items":{"type":"int32","optional":false},"optional":true,"field":"numbers"},{"type":"map","keys":{"type":"string","optional":false},"values":{"type":"double","optional":true},"optional":true,"field":"map"},{"type":"bytes","optional":true,"field":"bytes"}],"optional":false,"name":"rows","version":2,"doc":"a row"}"#;
    let message =
        format!(r#"{{"schema":{schema},"payload":{{"line":"x","at":5,"numbers":[1,2],"map":{{"a":1.5,"b":null}},"bytes":"Zm8="}}}}"#);
    let (schema, value) = WITH.to_value(Some(message.as_bytes())).unwrap();
    assert_eq!(text(WITH, schema, &value), message);
    assert_eq!(java_text::text(&value), "Struct{line=x,at=Thu Jan 01 00:00:00 UTC 1970,numbers=[1, 2],map={a=1.5, b=null},bytes=fo}");
    let plain = r#"{"a":[1,2.5,null,true],"b":{"c":"d"}}"#;
    let (schema, value) = WITHOUT.to_value(Some(plain.as_bytes())).unwrap();
    assert_eq!((schema.clone(), text(WITHOUT, schema, &value)), (None, plain.to_owned()));
}

#[test]
fn what_is_not_fit_is_an_error() {
    let bad = [
        r#"{"a":1}"#,
        r#"{"schema":{"type":"int8"},"payload":300}"#,
        r#"{"schema":{"type":"string"},"payload":null}"#,
        r#"{"schema":{"type":"nothing"},"payload":1}"#,
        r#"{"schema":{"type":"struct"},"payload":1}"#,
        r#"{"schema":{"type":"string"},"payload":"x","more":1}"#,
        "\"x",
        "",
    ];
    for message in bad {
        assert!(WITH.to_value(Some(message.as_bytes())).is_err(), "{message}");
    }
    let deep = "[".repeat(120) + &"]".repeat(120);
    assert!(WITHOUT.to_value(Some(deep.as_bytes())).is_err());
    assert!(Converter::Bytes.to_bytes(None, &Value::String("x".to_owned())).is_err());
    assert!(WITH.to_bytes(Some(&Schema::required(Kind::String)), &Value::Null).is_err());
}

#[test]
fn converters_are_known_by_class() {
    let none = Config::new();
    assert_eq!(Converter::new(JSON, &none), Ok(WITH));
    let off = Config::from([("schemas.enable".to_owned(), "False".to_owned())]);
    assert_eq!(Converter::new("JsonConverter", &off), Ok(WITHOUT));
    assert_eq!(Converter::new(BYTES, &none), Ok(Converter::Bytes));
    assert!(Converter::new("io.confluent.connect.avro.AvroConverter", &none).is_err());
}
