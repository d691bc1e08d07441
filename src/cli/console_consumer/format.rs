//! How a record is printed, as Kafka's formatters print it.

use std::io::{self, Write};

use super::java::{Deserializer, ValueError};
use crate::cli::group_records::{self, GroupRecord, GroupValue, Undecoded};
use crate::cli::pairs::{Pairs, flag};

pub const DEFAULT: &str = "org.apache.kafka.tools.consumer.DefaultMessageFormatter";

#[derive(Debug, thiserror::Error)]
pub enum FormatterError {
    #[error(
        "--formatter {0} names a Java class that this tool cannot load; it has org.apache.kafka.tools.consumer.DefaultMessageFormatter, \
         LoggingMessageFormatter, NoOpMessageFormatter, OffsetsMessageFormatter and GroupMetadataMessageFormatter"
    )]
    Class(String),
    #[error("{key}={class} names a Java class that this tool cannot load; it has those of org.apache.kafka.common.serialization")]
    Deserializer { key: &'static str, class: String },
}

#[derive(Debug, thiserror::Error)]
pub enum PrintError {
    #[error(transparent)]
    Value(#[from] ValueError),
    #[error(transparent)]
    Group(#[from] Undecoded),
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timestamp {
    None,
    Create(i64),
    LogAppend(i64),
}

/// What there is to print of a record.
pub struct Shown<'a> {
    pub timestamp: Timestamp,
    pub partition: i32,
    pub offset: i64,
    pub headers: Vec<(&'a str, Option<&'a [u8]>)>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
}

/// Which parts of a record stand in its line, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Column {
    Timestamp,
    Partition,
    Offset,
    Delivery,
    Epoch,
    Headers,
    Key,
    Value,
}

/// What becomes of a record.
#[derive(Debug)]
enum Shape {
    Columns(Vec<Column>),
    /// JSON of those records of groups that are of one of these types.
    Groups(&'static [i16]),
    Nothing,
}

#[derive(Debug)]
pub struct Formatter {
    shape: Shape,
    key_separator: Vec<u8>,
    line_separator: Vec<u8>,
    headers_separator: Vec<u8>,
    null_literal: Vec<u8>,
    key: Deserializer,
    value: Deserializer,
    headers: Deserializer,
}

impl Formatter {
    pub fn new(class: &str, properties: &Pairs) -> Result<Self, FormatterError> {
        let name = class.strip_prefix("org.apache.kafka.tools.consumer.").or_else(|| class.strip_prefix("kafka.tools."));
        let shape = match name.unwrap_or(class) {
            // The second also writes to the log, which these tools do not keep.
            "DefaultMessageFormatter" | "LoggingMessageFormatter" => Shape::Columns(columns(properties)),
            "OffsetsMessageFormatter" => Shape::Groups(&[group_records::LEGACY_OFFSET, group_records::OFFSET]),
            "GroupMetadataMessageFormatter" => Shape::Groups(&[group_records::GROUP]),
            "NoOpMessageFormatter" => Shape::Nothing,
            _ => return Err(FormatterError::Class(class.to_owned())),
        };
        let bytes = |key: &str, default: &str| properties.get(key).map_or(default, String::as_str).as_bytes().to_vec();
        let deserializer = |key: &'static str| match properties.get(key) {
            None => Ok(Deserializer::Bytes),
            Some(class) => Deserializer::of_class(class).ok_or_else(|| FormatterError::Deserializer { key, class: class.clone() }),
        };
        Ok(Formatter {
            shape,
            key_separator: bytes("key.separator", "\t"),
            line_separator: bytes("line.separator", "\n"),
            headers_separator: bytes("headers.separator", ","),
            null_literal: bytes("null.literal", "null"),
            key: deserializer("key.deserializer")?,
            value: deserializer("value.deserializer")?,
            headers: deserializer("headers.deserializer")?,
        })
    }

    /// What is not there goes through the deserializer as its literal, as in Kafka.
    fn text(&self, deserializer: Deserializer, bytes: Option<&[u8]>) -> Result<Vec<u8>, ValueError> {
        deserializer.text(bytes.unwrap_or(&self.null_literal))
    }

    /// Writes the whole record or, where a part of it cannot be read, what stands before that part.
    pub fn print(&self, record: &Shown<'_>, out: &mut impl Write) -> Result<(), PrintError> {
        let columns = match &self.shape {
            Shape::Columns(columns) => columns,
            Shape::Groups(kinds) => return print_group(record, kinds, out),
            Shape::Nothing => return Ok(()),
        };
        for (at, column) in columns.iter().enumerate() {
            match column {
                Column::Timestamp => match record.timestamp {
                    Timestamp::None => write!(out, "NO_TIMESTAMP")?,
                    Timestamp::Create(ms) => write!(out, "CreateTime:{ms}")?,
                    Timestamp::LogAppend(ms) => write!(out, "LogAppendTime:{ms}")?,
                },
                Column::Partition => write!(out, "Partition:{}", record.partition)?,
                Column::Offset => write!(out, "Offset:{}", record.offset)?,
                // A console consumer is told neither, in Kafka too.
                Column::Delivery => write!(out, "Delivery:NOT_PRESENT")?,
                Column::Epoch => write!(out, "Epoch:NOT_PRESENT")?,
                Column::Headers => self.print_headers(record, out)?,
                Column::Key => out.write_all(&self.text(self.key, record.key)?)?,
                Column::Value => out.write_all(&self.text(self.value, record.value)?)?,
            }
            let is_last = at + 1 == columns.len();
            out.write_all(if is_last { &self.line_separator } else { &self.key_separator })?;
        }
        Ok(())
    }

    fn print_headers(&self, record: &Shown<'_>, out: &mut impl Write) -> Result<(), PrintError> {
        if record.headers.is_empty() {
            write!(out, "NO_HEADERS")?;
        }
        for (at, (name, value)) in record.headers.iter().enumerate() {
            if at > 0 {
                out.write_all(&self.headers_separator)?;
            }
            write!(out, "{name}:")?;
            out.write_all(&self.text(self.headers, *value)?)?;
        }
        Ok(())
    }
}

/// Kafka's formatters put nothing between two records, nor behind the last one. Types that they do not know are passed over.
fn print_group(record: &Shown<'_>, kinds: &[i16], out: &mut impl Write) -> Result<(), PrintError> {
    let Some(key) = record.key else { return Ok(()) };
    let GroupRecord { kind, key, value } = match group_records::decode(key, record.value, false) {
        Ok(record) => record,
        Err(Undecoded::Type(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if kinds.contains(&kind) {
        write!(out, "{{\"key\":{{\"type\":{kind},\"data\":{key}}},\"value\":")?;
        match value {
            Some(GroupValue { version, json }) => write!(out, "{{\"version\":{version},\"data\":{json}}}}}")?,
            None => write!(out, "null}}")?,
        }
    }
    Ok(())
}

fn columns(properties: &Pairs) -> Vec<Column> {
    let rows = [
        (Column::Timestamp, "print.timestamp", false),
        (Column::Partition, "print.partition", false),
        (Column::Offset, "print.offset", false),
        (Column::Delivery, "print.delivery", false),
        (Column::Epoch, "print.epoch", false),
        (Column::Headers, "print.headers", false),
        (Column::Key, "print.key", false),
        (Column::Value, "print.value", true),
    ];
    let shown = rows.into_iter().filter(|(_, key, default)| flag(properties, key).unwrap_or(*default));
    shown.map(|(column, ..)| column).collect()
}
