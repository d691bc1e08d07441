//! What a session needs of the machine, asked before anything is started: each lack is one sentence.
//!
//! What it can do without (control groups, congestion control, a second core) is no need: the report says what was missing.

use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::statvfs::statvfs;

use super::failure::Failure;

/// Programs that seat, fill and format, with the package that brings them.
const TOOLS: [(&str, &str); 5] =
    [("setpriv", "util-linux"), ("taskset", "util-linux"), ("chrt", "util-linux"), ("dd", "coreutils"), ("sh", "a shell")];
/// What Apache Kafka 4 runs on.
const JAVA_MIN: u32 = 17;
/// Free beyond what is written.
const SPARE: u64 = 1 << 30;

pub fn tools(wants_java: bool) -> Result<(), Failure> {
    for (tool, package) in TOOLS {
        if output(tool, "--version").is_none() {
            return Err(Failure::Asked(format!("{tool} is not there, which seats and starts the brokers: install {package}")));
        }
    }
    if !wants_java {
        return Ok(());
    }
    let said = output("java", "-version").ok_or_else(|| {
        Failure::Asked("java is not there, which Apache Kafka runs on: install a JDK 17, or measure without it (--arms ottla)".into())
    })?;
    match java_version(&said) {
        Some(version) if version < JAVA_MIN => Err(Failure::Asked(format!(
            "java is of version {version}, and Apache Kafka needs {JAVA_MIN}: install a newer JDK, or measure without it (--arms ottla)"
        ))),
        _ => Ok(()),
    }
}

/// Apache Kafka's jars, and our own program.
pub fn programs(ottla: Option<&Path>, jars: Option<&Path>) -> Result<(), Failure> {
    if let Some(program) = ottla
        && !program.is_file()
    {
        return Err(Failure::Asked(format!(
            "{} is not there: build it (cargo build --release), or name another with --ottla",
            program.display()
        )));
    }
    let holds_jars = |dir: &Path| {
        std::fs::read_dir(dir)
            .is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "jar"))))
    };
    match jars {
        Some(dir) if !holds_jars(dir) => Err(Failure::Asked(format!(
            "no jars of Apache Kafka in {}: tests/peers/install --only kafka brings them, or measure without it (--arms ottla)",
            dir.display()
        ))),
        _ => Ok(()),
    }
}

/// Room for what is written at one time.
pub fn room(dir: &Path, bytes: u64) -> Result<(), Failure> {
    let free = statvfs(dir).map(|stat| stat.blocks_available() * stat.fragment_size()).map_err(|why| Failure::file(dir)(why.into()))?;
    match free >= bytes + SPARE {
        true => Ok(()),
        false => Err(Failure::Asked(format!(
            "{} has {} MiB free, and up to {} MiB are written at one time: name a larger disk with --data, or lower --restart-mib and --group-mib",
            dir.display(),
            free >> 20,
            (bytes + SPARE) >> 20
        ))),
    }
}

/// What a program says, on either stream, when it is asked for its version; none where it is not there.
fn output(program: &str, flag: &str) -> Option<String> {
    let done = Command::new(program).arg(flag).stdin(Stdio::null()).output().ok()?;
    Some(String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned())
}

/// `openjdk version "17.0.18" 2026-01-20`; before 9 it was `"1.8.0_402"`.
fn java_version(said: &str) -> Option<u32> {
    let version = said.split('"').nth(1)?;
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>());
    match numbers.next()? {
        Ok(1) => numbers.next()?.ok(),
        first => first.ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_java_are_read() {
        for (said, version) in [
            ("openjdk version \"17.0.18\" 2026-01-20\n", Some(17)),
            ("openjdk version \"25\" 2025-09-16\n", Some(25)),
            ("java version \"1.8.0_402\"\n", Some(8)),
            ("Error: no JVM\n", None),
        ] {
            assert_eq!(java_version(said), version, "{said}");
        }
    }

    #[test]
    fn each_lack_is_a_sentence_with_a_way_out() {
        let nowhere = Path::new("/nowhere/at-all");
        assert!(programs(Some(nowhere), None).unwrap_err().to_string().contains("--ottla"));
        assert!(programs(None, Some(nowhere)).unwrap_err().to_string().contains("--arms ottla"));
        assert!(programs(None, None).is_ok() && tools(false).is_ok());
        let dir = std::env::temp_dir();
        assert!(room(&dir, 1 << 60).unwrap_err().to_string().contains("--data"));
        assert!(room(nowhere, 0).is_err());
    }
}
