use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::console::Console;
use super::failure::Failure;

/// Says what is wrong with a command line, in the sentences of Kafka's tools where they have one; prints help and version, which clap
/// hands over as errors too.
pub fn report(error: &Error, console: &mut Console) -> Result<(), Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            console.flush()?;
            // Clap knows whether the terminal takes colours.
            error.print().map_err(Failure::Output)
        }
        _ => {
            match sentence(error) {
                Some(sentence) => writeln!(console.err()?, "{sentence}")?,
                None => error.print()?,
            }
            Err(Failure::Said)
        }
    }
}

fn sentence(error: &Error) -> Option<String> {
    let argument = option_name(error.get(ContextKind::InvalidArg)?);
    let sentence = match error.kind() {
        ErrorKind::UnknownArgument if argument.starts_with("--") => {
            let tip = match error.get(ContextKind::SuggestedArg) {
                Some(ContextValue::String(similar)) => format!("; did you mean {}?", option_name_of(similar)),
                _ => String::new(),
            };
            format!("{} is not a recognized option{tip}", bare(&argument))
        }
        ErrorKind::UnknownArgument => format!("'{argument}' belongs to no option; options begin with --"),
        ErrorKind::ArgumentConflict if error.get(ContextKind::PriorArg).map(option_name) == Some(argument.clone()) => {
            format!("Found multiple arguments for option {}, but you asked for only one", bare(&argument))
        }
        ErrorKind::InvalidValue | ErrorKind::TooFewValues | ErrorKind::WrongNumberOfValues if value(error).is_none() => {
            format!("Option {} requires an argument", bare(&argument))
        }
        ErrorKind::ValueValidation => format!("Cannot parse argument '{}' of option {}", value(error)?, bare(&argument)),
        _ => return None,
    };
    Some(sentence)
}

fn value(error: &Error) -> Option<&str> {
    match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(value)) if !value.is_empty() => Some(value),
        _ => None,
    }
}

fn option_name(context: &ContextValue) -> String {
    match context {
        ContextValue::String(text) => option_name_of(text),
        ContextValue::Strings(texts) => texts.first().map(|text| option_name_of(text)).unwrap_or_default(),
        _ => String::new(),
    }
}

/// `--topic <NAME>` is named `--topic`.
fn option_name_of(text: &str) -> String {
    text.split([' ', '=']).next().unwrap_or(text).to_owned()
}

fn bare(option: &str) -> &str {
    option.trim_start_matches('-')
}
