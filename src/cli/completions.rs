use std::io::Write;

use clap_complete::Shell;

use super::console::Console;
use super::failure::Failure;

const EXAMPLES: &str = "\
Examples:
    ottla completions bash > /etc/bash_completion.d/ottla
    ottla completions zsh > \"${fpath[1]}/_ottla\"
    ottla completions fish > ~/.config/fish/completions/ottla.fish";

#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Args {
    /// The shell whose completions are printed.
    shell: Shell,
}

/// Prints what a shell needs to complete `command`.
pub fn run(args: &Args, mut command: clap::Command, console: &mut Console) -> Result<(), Failure> {
    // The generator wants a writer that cannot fail.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "ottla", &mut script);
    console.out().write_all(&script)?;
    Ok(())
}
