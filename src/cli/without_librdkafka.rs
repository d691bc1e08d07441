//! What stands in for the tools that produce and consume in a build without librdkafka.

use super::console::Console;
use super::failure::Failure;

#[derive(clap::Args, Debug, Default)]
pub struct Args {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    words: Vec<String>,
}

pub fn run(args: &Args, _console: &mut Console) -> Result<(), Failure> {
    Err(Failure::Sentence(format!(
        "this ottla was built without librdkafka, its client for producing and consuming (cargo build --features librdkafka); \
         {} words were not looked at",
        args.words.len()
    )))
}
