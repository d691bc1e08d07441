//! Kafka's JSON converter.
//!
//! ```text
//!   schemas.enable=true    {"schema":{"type":"string","optional":false},"payload":"a line"}
//!   schemas.enable=false   "a line"
//! ```
//!
//! Written field by field, so that the bytes are those that Kafka writes.
//!
//! Pure.

use std::sync::Arc;

use serde_json::Value as Json;

use super::{Schemed, Unfit, kind_word};
use crate::connect::record::{JsonMap, Kind, Schema, Value};
use crate::wire::json::{base64, unbase64, write_text};

/// Schemas and values may be nested so deep: what reads them calls itself.
const DEPTH_MAX: usize = 100;

pub fn to_bytes(schemas: bool, schema: Option<&Arc<Schema>>, value: &Value) -> Result<Option<Vec<u8>>, Unfit> {
    if schema.is_none() && *value == Value::Null {
        return Ok(None);
    }
    let mut out = String::with_capacity(64);
    if schemas {
        out.push_str("{\"schema\":");
        match schema {
            Some(schema) => write_schema(&mut out, schema, None),
            None => out.push_str("null"),
        }
        out.push_str(",\"payload\":");
    }
    write_value(&mut out, schema, value)?;
    if schemas {
        out.push('}');
    }
    Ok(Some(out.into_bytes()))
}

fn write_schema(out: &mut String, schema: &Schema, field: Option<&str>) {
    out.push_str("{\"type\":\"");
    out.push_str(word(&schema.kind));
    out.push('"');
    match &schema.kind {
        Kind::Array(items) => {
            out.push_str(",\"items\":");
            write_schema(out, items, None);
        }
        Kind::Map(keys, values) => {
            out.push_str(",\"keys\":");
            write_schema(out, keys, None);
            out.push_str(",\"values\":");
            write_schema(out, values, None);
        }
        Kind::Struct(fields) => {
            out.push_str(",\"fields\":[");
            for (index, (name, schema)) in fields.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_schema(out, schema, Some(name));
            }
            out.push(']');
        }
        _ => {}
    }
    out.push_str(if schema.optional { ",\"optional\":true" } else { ",\"optional\":false" });
    for (key, text) in [("name", &schema.name), ("doc", &schema.doc)] {
        if key == "doc"
            && let Some(version) = schema.version
        {
            out.push_str(&format!(",\"version\":{version}"));
        }
        if let Some(text) = text {
            out.push_str(&format!(",\"{key}\":"));
            write_text(out, text);
        }
    }
    if let Some(field) = field {
        out.push_str(",\"field\":");
        write_text(out, field);
    }
    out.push('}');
}

fn write_value(out: &mut String, schema: Option<&Arc<Schema>>, value: &Value) -> Result<(), Unfit> {
    match value {
        Value::Null if schema.is_some_and(|schema| !schema.optional) => {
            return Err(Unfit::new("Conversion error: null value for field that is required and has no default value"));
        }
        Value::Null => out.push_str("null"),
        Value::Boolean(flag) => out.push_str(if *flag { "true" } else { "false" }),
        Value::Int8(number) => out.push_str(&number.to_string()),
        Value::Int16(number) => out.push_str(&number.to_string()),
        Value::Int32(number) => out.push_str(&number.to_string()),
        Value::Int64(number) | Value::Timestamp(number) => out.push_str(&number.to_string()),
        Value::Float32(number) if number.is_finite() => out.push_str(&Json::from(*number).to_string()),
        Value::Float64(number) if number.is_finite() => out.push_str(&Json::from(*number).to_string()),
        Value::Float32(_) | Value::Float64(_) => write_text(out, &crate::connect::java_text::text(value)),
        Value::String(text) => write_text(out, text),
        Value::Bytes(bytes) => write_text(out, &base64(bytes)),
        Value::Array(values) => {
            let items = schema.and_then(|schema| if let Kind::Array(items) = &schema.kind { Some(items) } else { None });
            out.push('[');
            for (index, value) in values.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(out, items, value)?;
            }
            out.push(']');
        }
        Value::Map(entries) => write_map(out, schema, entries)?,
        Value::Struct(own, values) => {
            let Kind::Struct(fields) = &own.kind else { return Err(Unfit::new("a struct's schema is not one of a struct")) };
            out.push('{');
            for (index, ((name, schema), value)) in fields.iter().zip(values).enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_text(out, name);
                out.push(':');
                write_value(out, Some(schema), value)?;
            }
            out.push('}');
        }
    }
    Ok(())
}

/// An object where every key is a string, else a list of pairs.
fn write_map(out: &mut String, schema: Option<&Arc<Schema>>, entries: &[(Value, Value)]) -> Result<(), Unfit> {
    let kinds = schema.and_then(|schema| if let Kind::Map(keys, values) = &schema.kind { Some((keys, values)) } else { None });
    let is_object = match kinds {
        Some((keys, _)) => keys.kind == Kind::String,
        None => entries.iter().all(|(key, _)| matches!(key, Value::String(_))),
    };
    out.push(if is_object { '{' } else { '[' });
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        if !is_object {
            out.push('[');
        }
        write_value(out, kinds.map(|(keys, _)| keys), key)?;
        out.push(if is_object { ':' } else { ',' });
        write_value(out, kinds.map(|(_, values)| values), value)?;
        if !is_object {
            out.push(']');
        }
    }
    out.push(if is_object { '}' } else { ']' });
    Ok(())
}

pub fn to_value(schemas: bool, bytes: Option<&[u8]>) -> Result<Schemed, Unfit> {
    let Some(bytes) = bytes else { return Ok((None, Value::Null)) };
    let malformed = |error: serde_json::Error| Unfit::new(format!("Converting byte[] to Kafka Connect failed, it is not JSON: {error}"));
    let json: Json = serde_json::from_slice(bytes).map_err(malformed)?;
    if !schemas {
        return Ok((None, value_of(None, &json, DEPTH_MAX)?));
    }
    let envelope = json.as_object().filter(|object| object.len() == 2 && object.contains_key("schema") && object.contains_key("payload"));
    let Some(envelope) = envelope else {
        return Err(Unfit::new(
            "with schemas.enable=true every message is to be an object of the two fields \"schema\" and \"payload\"; \
             plain JSON is read with schemas.enable=false",
        ));
    };
    let schema = schema_of(&envelope["schema"], DEPTH_MAX)?;
    let value = value_of(schema.as_ref(), &envelope["payload"], DEPTH_MAX)?;
    Ok((schema, value))
}

fn too_deep() -> Unfit {
    Unfit::new(format!("it is nested more than {DEPTH_MAX} deep"))
}

fn schema_of(json: &Json, depth: usize) -> Result<Option<Arc<Schema>>, Unfit> {
    let object = match json {
        Json::Null => return Ok(None),
        Json::Object(object) => object,
        _ => return Err(Unfit::new("a schema is to be an object")),
    };
    let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
    let inner = |key: &str| -> Result<Arc<Schema>, Unfit> {
        schema_of(object.get(key).unwrap_or(&Json::Null), depth)?.ok_or_else(|| Unfit::new(format!("a schema lacks \"{key}\"")))
    };
    let kind = match object.get("type").and_then(Json::as_str) {
        Some("boolean") => Kind::Boolean,
        Some("int8") => Kind::Int8,
        Some("int16") => Kind::Int16,
        Some("int32") => Kind::Int32,
        Some("int64") => Kind::Int64,
        Some("float") => Kind::Float32,
        Some("double") => Kind::Float64,
        Some("string") => Kind::String,
        Some("bytes") => Kind::Bytes,
        Some("array") => Kind::Array(inner("items")?),
        Some("map") => Kind::Map(inner("keys")?, inner("values")?),
        Some("struct") => Kind::Struct(fields_of(object, depth)?),
        Some(other) => return Err(Unfit::new(format!("Unknown schema type: {other}"))),
        None => return Err(Unfit::new("Schema must contain 'type' field")),
    };
    let text = |key: &str| object.get(key).and_then(Json::as_str).map(str::to_owned);
    Ok(Some(Arc::new(Schema {
        kind,
        optional: object.get("optional").and_then(Json::as_bool).unwrap_or(false),
        name: text("name"),
        version: object.get("version").and_then(Json::as_i64),
        doc: text("doc"),
    })))
}

fn fields_of(object: &JsonMap, depth: usize) -> Result<Vec<(String, Arc<Schema>)>, Unfit> {
    let fields = object.get("fields").and_then(Json::as_array).ok_or_else(|| Unfit::new("a struct's schema lacks \"fields\""))?;
    let field = |json: &Json| {
        let name = json.get("field").and_then(Json::as_str).ok_or_else(|| Unfit::new("a field of a struct's schema lacks its name"))?;
        let schema = schema_of(json, depth)?.ok_or_else(|| Unfit::new("a field of a struct's schema is null"))?;
        Ok((name.to_owned(), schema))
    };
    fields.iter().map(field).collect()
}

fn value_of(schema: Option<&Arc<Schema>>, json: &Json, depth: usize) -> Result<Value, Unfit> {
    let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
    let Some(schema) = schema else { return schemaless(json, depth) };
    if json.is_null() {
        return if schema.optional { Ok(Value::Null) } else { Err(Unfit::new("Invalid null value for required field")) };
    }
    let wrong = || Unfit::new(format!("a value of type {} does not go with {}", word(&schema.kind), kind_word_of(json)));
    let whole = || json.as_i64().ok_or_else(wrong);
    fn narrow<T: TryFrom<i64>>(number: i64, wrong: impl Fn() -> Unfit) -> Result<T, Unfit> {
        T::try_from(number).map_err(|_| wrong())
    }
    Ok(match &schema.kind {
        Kind::Boolean => Value::Boolean(json.as_bool().ok_or_else(wrong)?),
        Kind::Int8 => Value::Int8(narrow(whole()?, wrong)?),
        Kind::Int16 => Value::Int16(narrow(whole()?, wrong)?),
        Kind::Int32 => Value::Int32(narrow(whole()?, wrong)?),
        Kind::Int64 if schema.is_timestamp() => Value::Timestamp(whole()?),
        Kind::Int64 => Value::Int64(whole()?),
        Kind::Float32 => Value::Float32(json.as_f64().ok_or_else(wrong)? as f32),
        Kind::Float64 => Value::Float64(json.as_f64().ok_or_else(wrong)?),
        Kind::String => Value::String(json.as_str().ok_or_else(wrong)?.to_owned()),
        Kind::Bytes => Value::Bytes(unbase64(json.as_str().ok_or_else(wrong)?).ok_or_else(wrong)?),
        Kind::Array(items) => {
            let values = json.as_array().ok_or_else(wrong)?.iter().map(|value| value_of(Some(items), value, depth));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        Kind::Map(keys, values) => Value::Map(match json {
            Json::Object(object) if keys.kind == Kind::String => {
                let entry = |(key, value): (&String, &Json)| Ok((Value::String(key.clone()), value_of(Some(values), value, depth)?));
                object.iter().map(entry).collect::<Result<_, Unfit>>()?
            }
            Json::Array(pairs) => {
                let entry = |pair: &Json| match pair.as_array().map(Vec::as_slice) {
                    Some([key, value]) => Ok((value_of(Some(keys), key, depth)?, value_of(Some(values), value, depth)?)),
                    _ => Err(wrong()),
                };
                pairs.iter().map(entry).collect::<Result<_, Unfit>>()?
            }
            _ => return Err(wrong()),
        }),
        Kind::Struct(fields) => {
            let object = json.as_object().ok_or_else(wrong)?;
            let values = fields.iter().map(|(name, schema)| value_of(Some(schema), object.get(name).unwrap_or(&Json::Null), depth));
            Value::Struct(schema.clone(), values.collect::<Result<_, _>>()?)
        }
    })
}

fn schemaless(json: &Json, depth: usize) -> Result<Value, Unfit> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Boolean(*flag),
        Json::Number(number) => match number.as_i64() {
            Some(whole) => Value::Int64(whole),
            None => Value::Float64(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::String(text.clone()),
        Json::Array(values) => Value::Array(values.iter().map(|value| value_of(None, value, depth)).collect::<Result<_, _>>()?),
        Json::Object(object) => {
            let entry = |(key, value): (&String, &Json)| Ok((Value::String(key.clone()), value_of(None, value, depth)?));
            Value::Map(object.iter().map(entry).collect::<Result<_, Unfit>>()?)
        }
    })
}

fn word(kind: &Kind) -> &'static str {
    match kind {
        Kind::Int8 => "int8",
        Kind::Int16 => "int16",
        Kind::Int32 => "int32",
        Kind::Int64 => "int64",
        Kind::Float32 => "float",
        Kind::Float64 => "double",
        Kind::Boolean => "boolean",
        Kind::String => "string",
        Kind::Bytes => "bytes",
        Kind::Array(_) => "array",
        Kind::Map(..) => "map",
        Kind::Struct(_) => "struct",
    }
}

fn kind_word_of(json: &Json) -> &'static str {
    schemaless(json, DEPTH_MAX).map_or("a value nested too deep", |value| kind_word(&value))
}
