//! The load generator: one workload against one broker.

use clap::Subcommand;

#[derive(Subcommand)]
pub enum Command {}

pub fn main(command: Command) -> Result<(), String> {
    match command {}
}
