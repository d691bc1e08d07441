use super::{Part, missing};
use crate::connect::contract::Config;
use crate::connect::convert::{Unfit, kind_word};
use crate::connect::definition::{Fallback, Key, KeyKind};
use crate::connect::record::{Kind, Record, Schema, Value};

const fn field(name: &'static str, doc: &'static str) -> Key {
    Key::new(name, KeyKind::String, Fallback::Unset, "MEDIUM", doc)
}

pub const KEYS: &[Key] = &[
    field("topic.field", "The field for the topic's name; a ! behind it makes it a required one, a ? (the default) an optional one."),
    field("partition.field", "The field for the number of the partition; as with topic.field."),
    field("offset.field", "The field for the record's offset, for sinks; as with topic.field."),
    field("timestamp.field", "The field for the record's timestamp; as with topic.field."),
    field("static.field", "The field for a fixed text; as with topic.field."),
    field("static.value", "The fixed text."),
];

/// A field to insert: its name, and whether its schema lets it be null.
#[derive(Clone, Debug)]
struct Field {
    name: String,
    optional: bool,
}

#[derive(Clone, Debug)]
enum What {
    Topic,
    Partition,
    Offset,
    Timestamp,
    Static(String),
}

#[derive(Debug)]
pub struct InsertField {
    fields: Vec<(Field, What)>,
}

impl InsertField {
    pub fn new(config: &Config) -> Result<InsertField, String> {
        let mut fields = Vec::new();
        for (key, what) in [
            ("topic.field", What::Topic),
            ("partition.field", What::Partition),
            ("offset.field", What::Offset),
            ("timestamp.field", What::Timestamp),
            ("static.field", What::Static(config.get("static.value").cloned().unwrap_or_default())),
        ] {
            let Some(said) = config.get(key) else { continue };
            if matches!(what, What::Static(_)) && !config.contains_key("static.value") {
                return Err(missing("static.value"));
            }
            let field = match said.strip_suffix('!') {
                Some(name) => Field { name: name.to_owned(), optional: false },
                None => Field { name: said.strip_suffix('?').unwrap_or(said).to_owned(), optional: true },
            };
            fields.push((field, what));
        }
        if fields.is_empty() {
            return Err("No field insertion configured".to_owned());
        }
        Ok(InsertField { fields })
    }

    /// Topic, partition and timestamp are those that the record has now. A tombstone stays one.
    pub fn apply(&self, part: Part, mut record: Record, offset: Option<i64>) -> Result<Record, Unfit> {
        let is_null = match part {
            Part::Key => record.key == Value::Null,
            Part::Value => record.value == Value::Null,
        };
        if is_null {
            return Ok(record);
        }
        let inserted: Vec<(&Field, Kind, Value)> = self
            .fields
            .iter()
            .map(|(field, what)| what.of(&record, offset).map(|(kind, value)| (field, kind, value)))
            .collect::<Result<_, _>>()?;
        let (_, value) = part.take(&mut record);
        match value {
            Value::Map(mut entries) => {
                for (field, _, value) in inserted {
                    let name = Value::String(field.name.clone());
                    // Without a schema a time is a number.
                    let value = if let Value::Timestamp(ms) = value { Value::Int64(ms) } else { value };
                    match entries.iter_mut().find(|(key, _)| *key == name) {
                        Some(entry) => entry.1 = value,
                        None => entries.push((name, value)),
                    }
                }
                part.put(&mut record, None, Value::Map(entries));
            }
            Value::Struct(schema, mut values) => {
                let Kind::Struct(fields) = &schema.kind else { return Err(Unfit::new("a struct's schema is not one of a struct")) };
                let mut fields = fields.clone();
                for (field, kind, value) in inserted {
                    let is_time = matches!(value, Value::Timestamp(_));
                    let schema = match (is_time, field.optional) {
                        (true, optional) => Schema::timestamp(optional),
                        (false, true) => Schema::optional(kind),
                        (false, false) => Schema::required(kind),
                    };
                    fields.push((field.name.clone(), schema));
                    values.push(value);
                }
                let schema = std::sync::Arc::new(Schema { kind: Kind::Struct(fields), ..(*schema).clone() });
                part.put(&mut record, Some(schema.clone()), Value::Struct(schema, values));
            }
            other => {
                return Err(Unfit::new(format!(
                    "Only Struct or Map objects supported for [field insertion], found: {}",
                    kind_word(&other)
                )));
            }
        }
        Ok(record)
    }
}

impl What {
    fn of(&self, record: &Record, offset: Option<i64>) -> Result<(Kind, Value), Unfit> {
        Ok(match self {
            What::Topic => (Kind::String, Value::String(record.topic.clone())),
            What::Partition => (Kind::Int32, record.partition.map_or(Value::Null, Value::Int32)),
            What::Offset => match offset {
                Some(offset) => (Kind::Int64, Value::Int64(offset)),
                None => return Err(Unfit::new("Offset insertion is only supported for sink connectors")),
            },
            What::Timestamp => match record.timestamp {
                Some(ms) => (Kind::Int64, Value::Timestamp(ms)),
                None => (Kind::Int64, Value::Null),
            },
            What::Static(text) => (Kind::String, Value::String(text.clone())),
        })
    }
}
