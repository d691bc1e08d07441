use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::tail::{Mark, Tail};

struct Followed {
    _dir: tempfile::TempDir,
    path: PathBuf,
    tail: Tail,
    mark: Option<Mark>,
}

impl Followed {
    fn new() -> Followed {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        Followed { tail: Tail::new(&path, None), path, _dir: dir, mark: None }
    }

    fn append(&self, text: &str) {
        append(&self.path, text);
    }

    fn rotated(&self, suffix: &str) -> PathBuf {
        PathBuf::from(format!("{}{suffix}", self.path.display()))
    }

    /// Reads until so many lines are here, then makes sure that no more come.
    #[track_caller]
    fn expect(&mut self, lines: &[&str]) {
        let mut found = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(10);
        while found.len() < lines.len() && Instant::now() < deadline {
            found.extend(self.read());
        }
        let quiet = Instant::now() + Duration::from_millis(60);
        while Instant::now() < quiet {
            found.extend(self.read());
        }
        assert_eq!(found, lines);
    }

    fn read(&mut self) -> Vec<String> {
        let lines = self.tail.next_lines(2).unwrap();
        if lines.is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.mark = lines.last().map(|(_, mark)| mark.clone()).or(self.mark.take());
        lines.into_iter().map(|(line, _)| line).collect()
    }

    /// As a worker does that begins again from what was stored.
    fn begin_again(&mut self) {
        let stored = self.mark.as_ref().map(Mark::to_offset);
        self.tail = Tail::new(&self.path, stored.as_ref().and_then(Mark::of_offset));
    }
}

fn append(path: &Path, text: &str) {
    OpenOptions::new().append(true).create(true).open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

#[test]
fn appended_lines_come_whole_and_positions_are_bytes() {
    let mut file = Followed::new();
    file.expect(&[]);
    file.append("é1\né2\nhalf");
    file.expect(&["é1", "é2"]);
    assert_eq!(file.mark.as_ref().unwrap().position, 8);
    file.begin_again();
    file.expect(&[]);
    file.append(" a line\n");
    file.expect(&["half a line"]);
    // No line is stuck behind a small batch.
    file.append("1\n2\n3\n4\n5\n");
    file.expect(&["1", "2", "3", "4", "5"]);
}

#[test]
fn a_renamed_file_is_read_to_its_end_and_then_the_new_one() {
    let mut file = Followed::new();
    file.append("one\n");
    file.expect(&["one"]);
    let old = OpenOptions::new().append(true).open(&file.path).unwrap();
    fs::rename(&file.path, file.rotated(".1")).unwrap();
    (&old).write_all(b"two\n").unwrap();
    file.append("three\n");
    (&old).write_all(b"late\nunfinished").unwrap();
    file.expect(&["two", "late", "unfinished", "three"]);
}

#[test]
fn rotations_while_nobody_reads_are_all_found() {
    let mut file = Followed::new();
    file.append("one\n");
    file.expect(&["one"]);
    file.append("two\n");
    for (name, next) in [(".1", "three\n"), (".2", "four\n"), ("-20261128", "five\n")] {
        // The clock of the filesystem moves in steps.
        std::thread::sleep(Duration::from_millis(15));
        fs::rename(&file.path, file.rotated(name)).unwrap();
        file.append(next);
    }
    file.begin_again();
    file.expect(&["two", "three", "four", "five"]);
    file.begin_again();
    file.append("six\n");
    file.expect(&["six"]);
}

#[test]
fn a_cut_file_is_read_from_its_beginning() {
    let mut file = Followed::new();
    file.append("one\ntwo\nthree\n");
    file.expect(&["one", "two", "three"]);
    File::create(&file.path).unwrap().write_all(b"four\n").unwrap();
    file.expect(&["four"]);
    // While nobody reads: shorter, and longer than before.
    File::create(&file.path).unwrap().write_all(b"5\n").unwrap();
    file.begin_again();
    file.expect(&["5"]);
    File::create(&file.path).unwrap().write_all(b"other\nlines than before\n").unwrap();
    file.begin_again();
    file.expect(&["other", "lines than before"]);
}

#[test]
fn a_file_that_was_cut_and_then_renamed_is_read_from_its_beginning() {
    let mut file = Followed::new();
    file.append("one\ntwo\n");
    file.expect(&["one", "two"]);
    // Nobody reads, or nothing of it was stored.
    File::create(&file.path).unwrap().write_all(b"other one\nother two\n").unwrap();
    fs::rename(&file.path, file.rotated(".1")).unwrap();
    std::thread::sleep(Duration::from_millis(15));
    file.append("three\n");
    file.begin_again();
    file.expect(&["other one", "other two", "three"]);
}

#[test]
fn a_file_that_is_renamed_before_its_first_line_is_stored_is_found_again() {
    let mut file = Followed::new();
    file.append("one\n");
    file.mark = file.tail.mark().unwrap();
    assert_eq!(file.mark.as_ref().map(|mark| mark.position), Some(0));
    fs::rename(&file.path, file.rotated(".1")).unwrap();
    std::thread::sleep(Duration::from_millis(15));
    file.append("two\n");
    file.begin_again();
    file.expect(&["one", "two"]);
}

#[test]
fn what_an_editor_saves_is_not_read_twice() {
    let mut file = Followed::new();
    file.append("one\ntwo\n");
    file.expect(&["one", "two"]);
    // Another file takes the name.
    let beside = file.rotated(".swp");
    fs::write(&beside, "one\ntwo\nthree\n").unwrap();
    fs::rename(&beside, &file.path).unwrap();
    file.expect(&["three"]);
    // The same file is written again.
    fs::write(&file.path, "one\ntwo\nthree\nfour\n").unwrap();
    file.expect(&["four"]);
    // And while nobody reads.
    fs::write(&beside, "one\ntwo\nthree\nfour\nfive\n").unwrap();
    fs::rename(&beside, &file.path).unwrap();
    file.begin_again();
    file.expect(&["five"]);
    // A changed line in the middle: twice rather than never.
    fs::write(&beside, "one\nTWO\nthree\nfour\nfive\nsix\n").unwrap();
    fs::rename(&beside, &file.path).unwrap();
    file.expect(&["one", "TWO", "three", "four", "five", "six"]);
}

#[test]
fn neither_a_copy_nor_a_sinks_file_is_a_successor() {
    let mut file = Followed::new();
    file.append("one\n");
    file.expect(&["one"]);
    std::thread::sleep(Duration::from_millis(15));
    fs::copy(&file.path, file.rotated(".0")).unwrap();
    fs::write(file.rotated(".out"), "what a sink made of it\n").unwrap();
    std::thread::sleep(Duration::from_millis(15));
    file.append("two\n");
    file.expect(&["two"]);
    fs::rename(&file.path, file.rotated(".1")).unwrap();
    file.append("three\n");
    file.expect(&["three"]);
}

#[test]
fn an_operators_position_is_taken_where_it_can_be() {
    let mut file = Followed::new();
    file.append("one\ntwo\n");
    let at = |position| Mark { position, ..Mark::default() };
    file.mark = Some(at(4));
    file.begin_again();
    file.expect(&["two"]);
    // Past the end: the file is another one.
    file.mark = Some(at(1000));
    file.begin_again();
    file.expect(&["one", "two"]);
}
