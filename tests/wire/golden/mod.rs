//! Golden frames: requests and the answers a real Apache Kafka 4.3.1 gave them, kept in `frames/` (written by `tests/wire/capture`).
//! The requests are sent again, byte for byte but for topic ids, and the answers compared field by field after masking what differs from
//! one run to the next.
//!
//! `fixture` reads and writes the files; `parts` make the requests, `capture` records them against Kafka; `answer` decodes, masks and
//! compares; `replay` runs the files against the broker under test.

mod answer;
mod capture;
mod cordons;
pub mod fixture;
mod parts;
mod replay;
