//! Options of the form `key=value`, and files of such lines: what the producing and consuming tools take for their client, for the reader
//! of lines and for the formatter.

use std::collections::BTreeMap;
use std::path::Path;

use super::failure::Failure;
use crate::config::Properties;

/// By key; of a key named twice the last value counts.
pub type Pairs = BTreeMap<String, String>;

/// A key without a value has an empty one, as in Kafka.
pub fn of_options(options: &[String]) -> Pairs {
    let split = options.iter().map(|option| option.split_once('=').unwrap_or((option, "")));
    split.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// What a file says, if one is named, and over it what the options say.
pub fn of_file_and_options(file: Option<&Path>, options: &[String]) -> Result<Pairs, Failure> {
    let mut pairs = Pairs::new();
    if let Some(file) = file {
        let name = file.display().to_string();
        let bytes = std::fs::read(file).map_err(|error| Failure::Sentence(format!("cannot read {name}: {error}")))?;
        let properties = Properties::parse(&name, &bytes).map_err(|error| Failure::Sentence(error.to_string()))?;
        pairs.extend(properties.entries.into_iter().map(|(key, entry)| (key, entry.value)));
    }
    pairs.extend(of_options(options));
    Ok(pairs)
}

/// As Java reads a flag: `true` in any case, whatever else is false.
pub fn flag(pairs: &Pairs, key: &str) -> Option<bool> {
    pairs.get(key).map(|value| value.trim().eq_ignore_ascii_case("true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_win_over_the_file_and_the_last_over_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "a=1\nb = 2\n").unwrap();
        let options = ["b=3".to_owned(), "c".to_owned(), "d=x=y".to_owned(), "d=z".to_owned()];
        let pairs = of_file_and_options(Some(&file), &options).unwrap();
        let expected = [("a", "1"), ("b", "3"), ("c", ""), ("d", "z")];
        assert_eq!(pairs, expected.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect());
        assert_eq!(flag(&of_options(&["x= True ".to_owned(), "y=1".to_owned()]), "x"), Some(true));
        assert_eq!(flag(&of_options(&["y=1".to_owned()]), "y"), Some(false));
    }
}
