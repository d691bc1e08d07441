//! Runs files through a fuzz target without the engine: `replay TARGET FILE...`

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let name = arguments.next().unwrap_or_default();
    let Some(target) = ottla_fuzz::TARGETS.iter().find(|target| name == target.name) else {
        let names: Vec<_> = ottla_fuzz::TARGETS.iter().map(|target| target.name).collect();
        eprintln!("usage: replay TARGET FILE...\ntargets: {}", names.join(" "));
        return ExitCode::FAILURE;
    };
    for file in arguments {
        let input = match std::fs::read(&file) {
            Ok(input) => input,
            Err(error) => {
                eprintln!("{}: {error}", file.display());
                return ExitCode::FAILURE;
            }
        };
        println!("{}", file.display());
        target.check(&input);
    }
    ExitCode::SUCCESS
}
