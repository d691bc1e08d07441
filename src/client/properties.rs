use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum PropertiesError {
    #[error("cannot read {file}: {source}", file = .file.display())]
    Unreadable { file: PathBuf, source: std::io::Error },
    #[error("{file}, line {line}: '{text}' is not an escape of four hexadecimal digits", file = .file.display())]
    Escape { file: PathBuf, line: usize, text: String },
}

/// One `key=value` of a properties file, with the line it began on, for error sentences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    pub key: String,
    pub value: String,
    pub line: usize,
}

/// Reads a file in Java's properties format. A key given twice appears twice: the last one counts.
pub fn read(file: &Path) -> Result<Vec<Property>, PropertiesError> {
    let bytes = std::fs::read(file).map_err(|source| PropertiesError::Unreadable { file: file.to_owned(), source })?;
    parse(&String::from_utf8_lossy(&bytes)).map_err(|(line, text)| PropertiesError::Escape { file: file.to_owned(), line, text })
}

/// Java's format: `#` and `!` begin comments; `=`, `:` or white space ends a key; a backslash at the end of a line continues it.
fn parse(text: &str) -> Result<Vec<Property>, (usize, String)> {
    let mut properties = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, first)) = lines.next() {
        let first = first.trim_start();
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while ends_in_continuation(&logical) {
            logical.pop();
            match lines.next() {
                Some((_, next)) => logical.push_str(next.trim_start()),
                None => break,
            }
        }
        let (key, value) = split_key(&logical);
        let line = index + 1;
        properties.push(Property { key: unescape(key, line)?, value: unescape(value, line)?, line });
    }
    Ok(properties)
}

/// An odd number of backslashes at the end: the last one is not itself escaped.
fn ends_in_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

fn split_key(line: &str) -> (&str, &str) {
    let is_separator = |c: char| c == '=' || c == ':' || c.is_whitespace();
    let mut escaped = false;
    let mut end = line.len();
    for (at, c) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if is_separator(c) {
            end = at;
            break;
        }
    }
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (key, rest.trim_start())
}

fn unescape(text: &str, line: usize) -> Result<String, (usize, String)> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4);
                plain.push(code.and_then(char::from_u32).ok_or_else(|| (line, format!("\\u{digits}")))?);
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap().into_iter().map(|p| (p.key, p.value)).collect()
    }

    fn pair(key: &str, value: &str) -> (String, String) {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn the_three_separators_and_both_comments() {
        let text = "# one\n! two\n\na=1\nb : 2\n  c   3\nd\n";
        assert_eq!(pairs(text), [pair("a", "1"), pair("b", "2"), pair("c", "3"), pair("d", "")]);
    }

    #[test]
    fn continued_lines_and_escapes() {
        assert_eq!(pairs("list=a,\\\n   b\n"), [pair("list", "a,b")]);
        assert_eq!(pairs("path=c:\\\\x\nk\\=ey=v\\u00e9\n"), [pair("path", "c:\\x"), pair("k=ey", "v\u{e9}")]);
        assert_eq!(parse("a=\\u00z1").unwrap_err(), (1, "\\u00z1".to_owned()));
    }

    #[test]
    fn a_property_knows_its_line() {
        let properties = parse("\n# x\na=\\\n1\nb=2\n").unwrap();
        assert_eq!(properties.iter().map(|p| p.line).collect::<Vec<_>>(), [3, 5]);
    }
}
