//! A sink into SQLite: each record a row. It shows all that a sink needs, in one file. Compiled with the cargo feature `sqlite`.
//!
//! ```text
//!   name=archive
//!   connector.class=SqliteSink
//!   database=/var/lib/archive.db
//!   topics=orders
//!
//!   sqlite> select "offset", value from "orders";
//! ```
//!
//! A row has topic, partition and offset as its key, and a record that comes twice replaces itself: what is delivered at least once is in the table
//! exactly once. Values and keys are stored as numbers, texts and blobs; structs and maps as the text that Java prints.

use rusqlite::types::Value as Cell;
use rusqlite::{Connection, ErrorCode, params};

use super::contract::{Config, SinkConnector, SinkTask, TaskError};
use super::definition::{Checked, Fallback, Key, KeyKind, Rule};
use super::java_text;
use super::record::{SinkRecord, Value};

pub const CLASS: &str = "ottla.connect.SqliteSinkConnector";

pub const KEYS: &[Key] = &[
    Key::new("database", KeyKind::String, Fallback::Required, "HIGH", "The database file; it is made if it is not there.")
        .rule(Rule::NonEmpty),
    Key::new("table", KeyKind::String, Fallback::Value("${topic}"), "MEDIUM", "The table; ${topic} is the record's topic.")
        .rule(Rule::NonEmpty),
];

pub fn sink() -> Box<dyn SinkConnector> {
    Box::new(SqliteSink)
}

struct SqliteSink;

impl SinkConnector for SqliteSink {
    /// One: SQLite has one writer.
    fn task_configs(&mut self, config: &Config, _tasks_max: usize) -> Result<Vec<Config>, TaskError> {
        Ok(vec![config.clone()])
    }

    fn task(&self) -> Box<dyn SinkTask> {
        Box::new(SqliteTask { connection: None, database: String::new(), table: String::new() })
    }
}

struct SqliteTask {
    connection: Option<Connection>,
    database: String,
    table: String,
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Boolean(flag) => Cell::Integer(i64::from(*flag)),
        Value::Int8(number) => Cell::Integer((*number).into()),
        Value::Int16(number) => Cell::Integer((*number).into()),
        Value::Int32(number) => Cell::Integer((*number).into()),
        Value::Int64(number) | Value::Timestamp(number) => Cell::Integer(*number),
        Value::Float32(number) => Cell::Real((*number).into()),
        Value::Float64(number) => Cell::Real(*number),
        Value::Bytes(bytes) => Cell::Blob(bytes.clone()),
        other => Cell::Text(java_text::text(other)),
    }
}

impl SqliteTask {
    fn explained(&self, error: &rusqlite::Error) -> TaskError {
        let why = format!("{}: {error}", self.database);
        match error.sqlite_error_code() {
            // Another program holds the database for now.
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => TaskError::Retriable(why),
            _ => TaskError::Failed(why),
        }
    }

    fn insert(&mut self, records: &[SinkRecord]) -> rusqlite::Result<()> {
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let transaction = connection.transaction()?;
        for SinkRecord { record, offset } in records {
            let table = self.table.replace("${topic}", &record.topic).replace('"', "\"\"");
            transaction.prepare_cached(&format!(
                "create table if not exists \"{table}\" (topic text, \"partition\" integer, \"offset\" integer, timestamp integer, key, value, \
                 primary key (topic, \"partition\", \"offset\"))"
            ))?
            .execute([])?;
            let mut row = transaction.prepare_cached(&format!("insert or replace into \"{table}\" values (?, ?, ?, ?, ?, ?)"))?;
            row.execute(params![record.topic, record.partition, offset, record.timestamp, cell(&record.key), cell(&record.value)])?;
        }
        transaction.commit()
    }
}

impl SinkTask for SqliteTask {
    fn start(&mut self, config: &Config) -> Result<(), TaskError> {
        let checked = Checked::new(KEYS, config).map_err(TaskError::Failed)?;
        (self.database, self.table) = (checked.text("database").to_owned(), checked.text("table").to_owned());
        let open = || {
            let connection = Connection::open(&self.database)?;
            // A commit is on the disk when it returns, so that flush has nothing left to do.
            connection.pragma_update(None, "synchronous", "FULL")?;
            Ok(connection)
        };
        let opened = open();
        self.connection = Some(opened.map_err(|error| self.explained(&error))?);
        Ok(())
    }

    fn put(&mut self, records: &[SinkRecord]) -> Result<(), TaskError> {
        self.insert(records).map_err(|error| self.explained(&error))
    }

    fn flush(&mut self) -> Result<(), TaskError> {
        Ok(())
    }

    fn stop(&mut self) {
        self.connection = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connect::record::Record;

    #[test]
    fn a_record_that_comes_twice_is_one_row() {
        let dir = tempfile::tempdir().unwrap();
        let database = dir.path().join("archive.db");
        let config = Config::from([("database".to_owned(), database.display().to_string())]);
        let record = |offset, text: &str| SinkRecord {
            record: Record { partition: Some(0), ..Record::of_text("or\"ders", text.to_owned(), Some(5)) },
            offset,
        };
        let mut task = SqliteSink.task();
        task.start(&config).unwrap();
        task.put(&[record(0, "a"), record(1, "b")]).unwrap();
        task.put(&[record(1, "b"), record(2, "c")]).unwrap();
        task.flush().unwrap();
        task.stop();
        let connection = Connection::open(&database).unwrap();
        let mut rows = connection.prepare("select \"offset\", timestamp, value from \"or\"\"ders\" order by 1").unwrap();
        let rows: Vec<(i64, i64, String)> =
            rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap().collect::<Result<_, _>>().unwrap();
        assert_eq!(rows, [(0, 5, "a".to_owned()), (1, 5, "b".to_owned()), (2, 5, "c".to_owned())]);
    }

    #[test]
    fn what_cannot_be_opened_is_a_sentence() {
        let config = Config::from([("database".to_owned(), "/nowhere/archive.db".to_owned())]);
        let error = SqliteSink.task().start(&config).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/archive.db: "), "{error}");
    }
}
