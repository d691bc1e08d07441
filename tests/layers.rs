//! The rules of the house, read from the source: a layer names only the layers below it; `unsafe` lives in `io`; a pure layer cannot
//! reach a file, a socket, a thread or a clock; names say what a thing is. A broken rule fails with file and line.
//!
//! The source is read as tokens, with comments and literals taken out; that is enough for paths and names, and needs no parser.

use std::fmt;
use std::path::{Path, PathBuf};

/// Low to high. A layer may name itself and those before it.
const LAYERS: [&str; 15] = [
    "types",
    "metrics",
    "io",
    "wire",
    "config",
    "metadata",
    "storage",
    "replication",
    "partition",
    "coordinator",
    "shard",
    "server",
    "client",
    "connect",
    "cli",
];

/// May touch the kernel: `io` is where the broker does, the tools above the server are ordinary programs.
const TOUCHES_KERNEL: [&str; 4] = ["io", "client", "connect", "cli"];

/// Decide from their arguments alone, so that a simulated run repeats: no map whose order is drawn at random.
const PURE: [&str; 8] = ["types", "metrics", "wire", "config", "metadata", "storage", "replication", "coordinator"];

/// Paths into the kernel. Of `std::net` the addresses are plain values.
const KERNEL_PATHS: [&[&str]; 12] = [
    &["std", "fs"],
    &["std", "thread"],
    &["std", "process"],
    &["std", "time", "Instant"],
    &["std", "time", "SystemTime"],
    &["std", "net", "TcpStream"],
    &["std", "net", "TcpListener"],
    &["std", "net", "UdpSocket"],
    &["std", "net", "ToSocketAddrs"],
    &["libc"],
    &["nix"],
    &["glommio"],
];

const SEEDED_MAPS: [&[&str]; 3] =
    [&["std", "collections", "HashMap"], &["std", "collections", "HashSet"], &["std", "collections", "hash_map"]];

/// Parts a name of a file, module or type must not have: they say nothing.
const BANNED_NAMES: [&str; 11] = ["manager", "helper", "helpers", "util", "utils", "common", "impl", "data", "info", "ctx", "misc"];

#[derive(Clone, PartialEq, Eq, Debug)]
struct Broken {
    file: PathBuf,
    line: usize,
    rule: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.file.display(), self.line, self.rule)
    }
}

/// A word or a mark of the source, and the line it stands on. `::` is one mark.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Token {
    text: String,
    line: usize,
}

/// The words and marks of a source text without its comments, strings, characters and lifetimes.
fn tokens(source: &str) -> Vec<Token> {
    let text: Vec<char> = source.chars().collect();
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while at < text.len() {
        let end = match text[at] {
            '/' if text.get(at + 1) == Some(&'/') => line_end(&text, at),
            '/' if text.get(at + 1) == Some(&'*') => comment_end(&text, at),
            'r' | 'b' | 'c' if raw_string_end(&text, at).is_some() => raw_string_end(&text, at).unwrap(),
            'b' | 'c' if text.get(at + 1) == Some(&'"') => string_end(&text, at + 1),
            'b' if text.get(at + 1) == Some(&'\'') => character_end(&text, at + 1),
            '"' => string_end(&text, at),
            '\'' => character_end(&text, at),
            ':' if text.get(at + 1) == Some(&':') => {
                tokens.push(Token { text: "::".to_string(), line });
                at + 2
            }
            first if first.is_alphanumeric() || first == '_' => {
                let end = (at..text.len()).find(|&i| !text[i].is_alphanumeric() && text[i] != '_').unwrap_or(text.len());
                tokens.push(Token { text: text[at..end].iter().collect(), line });
                end
            }
            first if first.is_whitespace() => at + 1,
            mark => {
                tokens.push(Token { text: mark.to_string(), line });
                at + 1
            }
        };
        line += text[at..end].iter().filter(|letter| **letter == '\n').count();
        at = end;
    }
    tokens
}

fn line_end(text: &[char], from: usize) -> usize {
    (from..text.len()).find(|&i| text[i] == '\n').unwrap_or(text.len())
}

/// Block comments nest.
fn comment_end(text: &[char], from: usize) -> usize {
    let (mut depth, mut at) = (0, from);
    while at < text.len() {
        match (text[at], text.get(at + 1)) {
            ('/', Some('*')) => (depth, at) = (depth + 1, at + 2),
            ('*', Some('/')) => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    text.len()
}

fn string_end(text: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < text.len() && text[at] != '"' {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// `r"..."`, `br#"..."#` and the like, if one begins here.
fn raw_string_end(text: &[char], from: usize) -> Option<usize> {
    let at = if text[from] == 'r' { from + 1 } else { from + 2 };
    if text[at - 1] != 'r' {
        return None;
    }
    let hashes = text[at..].iter().take_while(|letter| **letter == '#').count();
    if text.get(at + hashes) != Some(&'"') {
        return None;
    }
    let closes = |i: &usize| text[*i] == '"' && text[i + 1..].iter().take(hashes).filter(|letter| **letter == '#').count() == hashes;
    Some((at + hashes + 1..text.len()).find(closes).map_or(text.len(), |i| i + 1 + hashes))
}

/// A character literal, or a lifetime: of that only the mark is skipped.
fn character_end(text: &[char], quote: usize) -> usize {
    match (text.get(quote + 1), text.get(quote + 2)) {
        (Some('\\'), _) => (quote + 3..text.len()).find(|&i| text[i] == '\'').map_or(text.len(), |i| i + 1),
        (Some(_), Some('\'')) => quote + 3,
        _ => quote + 1,
    }
}

/// One path as written out: `use a::{b, c::d}` gives `a::b` and `a::c::d`.
struct Named {
    path: Vec<String>,
    line: usize,
}

/// Every path in the tokens, groups in braces unfolded. A single word outside a group is a path of length one.
fn paths(tokens: &[Token]) -> Vec<Named> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let is_word = is_word(&tokens[at]);
        let continues = at > 0 && tokens[at - 1].text == "::";
        if is_word && !continues {
            at = unfold(tokens, at, &[], &mut found);
        } else {
            at += 1;
        }
    }
    found
}

fn is_word(token: &Token) -> bool {
    token.text.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Reads a path that begins at `at` behind `prefix`; gives where it ends.
fn unfold(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Named>) -> usize {
    let line = tokens[at].line;
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at) {
            Some(token) if is_word(token) => path.push(token.text.clone()),
            Some(token) if token.text == "{" && path.len() > prefix.len() => return unfold_group(tokens, at + 1, &path, found),
            _ => break,
        }
        at += 1;
        match tokens.get(at) {
            Some(token) if token.text == "::" => at += 1,
            _ => break,
        }
    }
    found.push(Named { path, line });
    at
}

fn unfold_group(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Named>) -> usize {
    while let Some(token) = tokens.get(at) {
        match &token.text[..] {
            "}" => return at + 1,
            _ if is_word(token) => at = unfold(tokens, at, prefix, found),
            _ => at += 1,
        }
    }
    at
}

/// Ranges of tokens that belong to items marked `#[cfg(test)]`.
fn test_items(tokens: &[Token]) -> Vec<std::ops::Range<usize>> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut found = Vec::new();
    for start in 0..tokens.len().saturating_sub(MARK.len()) {
        if !MARK.iter().zip(&tokens[start..]).all(|(mark, token)| *mark == token.text) {
            continue;
        }
        let mut depth = 0;
        let end = (start + MARK.len()..tokens.len()).find(|&at| {
            match &tokens[at].text[..] {
                "{" => depth += 1,
                "}" => depth -= 1,
                _ => {}
            }
            depth == 0 && matches!(&tokens[at].text[..], "}" | ";")
        });
        found.push(start..end.map_or(tokens.len(), |end| end + 1));
    }
    found
}

/// `AdminHelper` and `admin_helper` both have the part `helper`.
fn name_parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() {
            parts.push(String::new());
        }
        if letter != '_' {
            parts.last_mut().unwrap().extend(letter.to_lowercase());
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// Checks one file; `path` is relative to `src`, and its first part is the layer.
fn check(path: &Path, source: &str) -> Vec<Broken> {
    let mut broken = Vec::new();
    let layer = path.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_string();
    let mut report = |line: usize, rule: String| {
        let one = Broken { file: Path::new("src").join(path), line, rule };
        if !broken.contains(&one) {
            broken.push(one);
        }
    };
    for part in path.components().flat_map(|part| name_parts(part.as_os_str().to_str().unwrap().trim_end_matches(".rs"))) {
        if BANNED_NAMES.contains(&&part[..]) {
            report(1, format!("a file must not be called `{part}`"));
        }
    }
    let tokens = tokens(source);
    check_names(&tokens, &mut report);
    let in_house = LAYERS.iter().position(|known| *known == layer);
    if in_house.is_none() && !["lib", "main"].contains(&&layer[..]) {
        report(1, format!("`{layer}` is not a layer of the house"));
    }
    if layer != "io" {
        for token in tokens.iter().filter(|token| token.text == "unsafe") {
            report(token.line, "`unsafe` outside `io`".to_string());
        }
    }
    let Some(height) = in_house else { return broken };
    for named in paths(&tokens) {
        let [first, second, ..] = &named.path[..] else { continue };
        let above = LAYERS.iter().position(|known| known == second).is_some_and(|other| other > height);
        if ["crate", "ottla"].contains(&&first[..]) && above {
            report(named.line, format!("`{layer}` names `{second}`, which lies above it"));
        }
    }
    // Tests may use files, threads and clocks of their own.
    if path.file_name().is_some_and(|name| name == "tests.rs") || path.components().any(|part| part.as_os_str() == "tests") {
        return broken;
    }
    let mut product = tokens;
    for range in test_items(&product.clone()).into_iter().rev() {
        product.drain(range);
    }
    for named in paths(&product) {
        let touches = KERNEL_PATHS.iter().any(|kernel| named.path.iter().zip(*kernel).filter(|(a, b)| a == *b).count() == kernel.len());
        if touches && named.path.len() > 1 && !TOUCHES_KERNEL.contains(&&layer[..]) {
            report(named.line, format!("`{}` in `{layer}`: only {TOUCHES_KERNEL:?} touch the kernel", named.path.join("::")));
        }
        let seeded = SEEDED_MAPS.iter().any(|map| named.path.starts_with(&map.iter().map(|part| part.to_string()).collect::<Vec<_>>()));
        if seeded && PURE.contains(&&layer[..]) {
            report(named.line, format!("`{}` in `{layer}`: its order is drawn at random", named.path.join("::")));
        }
    }
    broken
}

/// Types, traits and modules must not carry a name that says nothing.
fn check_names(tokens: &[Token], report: &mut impl FnMut(usize, String)) {
    for pair in tokens.windows(2) {
        let kind = &pair[0].text[..];
        if !["struct", "enum", "trait", "union", "type", "mod"].contains(&kind) || !is_word(&pair[1]) {
            continue;
        }
        for part in name_parts(&pair[1].text) {
            if BANNED_NAMES.contains(&&part[..]) {
                report(pair[1].line, format!("{kind} `{}`: `{part}` says nothing", pair[1].text));
            }
        }
    }
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn the_source_keeps_the_rules() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    files.sort();
    assert!(files.len() > 10, "{} source files", files.len());
    let broken: Vec<String> = files
        .iter()
        .flat_map(|file| check(file.strip_prefix(&src).unwrap(), &std::fs::read_to_string(file).unwrap()))
        .map(|broken| broken.to_string())
        .collect();
    assert!(broken.is_empty(), "{} broken rules\n{}", broken.len(), broken.join("\n"));
}

/// `lib.rs` declares the layers in the order of the house.
#[test]
fn the_crate_declares_its_layers_from_low_to_high() {
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let tokens = tokens(&source);
    let declared: Vec<&str> = tokens.windows(2).filter(|pair| pair[0].text == "mod").map(|pair| &pair[1].text[..]).collect();
    let expected: Vec<&str> = LAYERS.iter().copied().filter(|layer| declared.contains(layer)).collect();
    assert_eq!(declared, expected, "modules of lib.rs");
}

/// The check itself: what it must find, and what it must leave alone.
#[test]
fn the_check_finds_what_it_should() {
    let cases: [(&str, &str, &[usize]); 32] = [
        // Upward references, however they are written.
        ("storage/log.rs", "use crate::shard::Router;", &[1]),
        ("storage/log.rs", "\n\nfn f() { crate::server::start() }", &[3]),
        ("storage/log.rs", "use crate::{types::Offset,\n shard::{Router, timer::Wheel}};", &[2]),
        ("storage/log.rs", "use crate::{partition};", &[1]),
        ("types/id.rs", "pub use crate::io::World;", &[1]),
        ("server/mod.rs", "use ottla::cli::serve;", &[1]),
        // Downward, sideways, in comments and in strings.
        ("storage/log.rs", "use crate::{types::Offset, io::World};", &[]),
        ("storage/log.rs", "use crate::storage::segment::Segment;", &[]),
        ("storage/log.rs", "// use crate::shard\n/* crate::shard /* */ crate::server */\nconst A: &str = \"crate::shard\";", &[]),
        ("storage/log.rs", "const A: &str = r#\"crate::\"shard\"#; const B: &[u8] = br\"crate::shard\"; const C: char = '\"';", &[]),
        ("storage/log.rs", "fn f<'a>(a: &'a str) -> char { '\\'' }\nuse crate::shard::X;", &[2]),
        ("cli/serve.rs", "use crate::server::Server;", &[]),
        ("main.rs", "fn main() { ottla::cli::main() }", &[]),
        // unsafe.
        ("storage/log.rs", "fn f() { unsafe { g() } }", &[1]),
        ("main.rs", "fn main() { unsafe { g() } }", &[1]),
        ("io/glommio/file.rs", "fn f() { unsafe { g() } }", &[]),
        // The kernel.
        ("storage/log.rs", "use std::fs;", &[1]),
        ("storage/log.rs", "use std::{\n  fs::File,\n  time::{Duration, Instant},\n};", &[2, 3]),
        ("shard/timer.rs", "fn f() { let t = std::time::SystemTime::now(); }", &[1]),
        ("server/listener.rs", "use std::net::TcpListener;", &[1]),
        ("server/listener.rs", "use std::net::SocketAddr; use std::time::Duration; use std::io;", &[]),
        ("shard/affinity.rs", "fn f() { libc::sched_yield(); }", &[1]),
        ("cli/serve.rs", "use std::fs; use std::time::Instant;", &[]),
        ("io/memory/disk.rs", "use std::time::Instant; fn f() { std::thread::yield_now() }", &[]),
        ("storage/tests.rs", "use std::fs;", &[]),
        ("storage/log.rs", "#[cfg(test)]\nmod tests {\n use std::fs;\n fn f() {}\n}\nuse std::thread;", &[6]),
        ("storage/log.rs", "#[cfg(test)]\nmod tests;\nuse std::thread;", &[3]),
        // Maps with a random order.
        ("wire/codec.rs", "use std::collections::{BTreeMap, HashMap};", &[1]),
        ("server/session.rs", "use std::collections::HashMap;", &[]),
        // Names.
        ("storage/log_manager.rs", "", &[1]),
        ("storage/log.rs", "struct SegmentInfo; enum LogHelper {} mod util {}", &[1, 1, 1]),
        ("storage/log.rs", "struct Metadata; struct Database; impl Segment {} fn info() {}", &[]),
    ];
    for (path, source, lines) in cases {
        let found: Vec<usize> = check(Path::new(path), source).iter().map(|broken| broken.line).collect();
        assert_eq!(found, lines, "{path}: {source}");
    }
}
