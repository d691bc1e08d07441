//! Measures brokers in turn and writes a report.

use clap::Args;

#[derive(Args)]
pub struct Options {}

pub fn main(_options: Options) -> Result<(), String> {
    Ok(())
}
