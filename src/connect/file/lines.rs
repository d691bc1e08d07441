//! Bytes into lines. A line ends in `\n`, `\r\n` or `\r`; one that has not ended is held.
//!
//! Pure.

/// A line longer than this ends the task: it is no text that anybody reads by lines.
pub const LINE_BYTES_MAX: usize = 64 << 20;

/// How much has been handed out before the buffer is moved up.
const SPENT_BYTES_MAX: usize = 1 << 20;

#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Before it everything has been handed out.
    start: usize,
    /// From `start` to it no line ends.
    scanned: usize,
}

impl Lines {
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.start == self.buffer.len() || self.start > SPENT_BYTES_MAX {
            self.buffer.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next line with the bytes that end it, and how long it is without them.
    pub fn next(&mut self) -> Option<(&[u8], usize)> {
        let from = self.scanned;
        let Some(found) = self.buffer[from..].iter().position(|byte| matches!(byte, b'\n' | b'\r')) else {
            self.scanned = self.buffer.len();
            return None;
        };
        let end = from + found;
        let ending = match (self.buffer[end], self.buffer.get(end + 1)) {
            (b'\r', Some(b'\n')) => 2,
            // What follows decides how long the ending is.
            (b'\r', None) => {
                self.scanned = end;
                return None;
            }
            _ => 1,
        };
        let start = std::mem::replace(&mut self.start, end + ending);
        self.scanned = self.start;
        Some((&self.buffer[start..self.start], end - start))
    }

    /// The beginning of a line that has not ended.
    pub fn held(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    pub fn clear(&mut self) {
        *self = Lines::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(lines: &mut Lines) -> Vec<(String, usize)> {
        let mut all = Vec::new();
        while let Some((line, length)) = lines.next() {
            all.push((String::from_utf8(line[..length].to_vec()).unwrap(), line.len()));
        }
        all
    }

    #[test]
    fn lines_end_in_three_ways_and_the_last_is_held() {
        let mut lines = Lines::default();
        lines.feed(b"a\nbc\r\n\rd\re");
        let found: Vec<(String, usize)> = [("a", 2), ("bc", 4), ("", 1), ("d", 2)].map(|(text, length)| (text.to_owned(), length)).into();
        assert_eq!(drain(&mut lines), found);
        assert_eq!(lines.held(), b"e");
        lines.feed(b"f\r");
        assert_eq!(drain(&mut lines), []);
        lines.feed(b"\n");
        assert_eq!(drain(&mut lines), [("ef".to_owned(), 4)]);
    }

    /// However the bytes are cut, the lines are the same.
    #[test]
    fn cuts_do_not_matter() {
        let text = b"one\r\ntwo\n\nthree\rfour\r\n";
        for first in 0..text.len() {
            for second in first..text.len() {
                let mut lines = Lines::default();
                let mut all = Vec::new();
                for part in [&text[..first], &text[first..second], &text[second..]] {
                    lines.feed(part);
                    all.extend(drain(&mut lines).into_iter().map(|(line, _)| line));
                }
                assert_eq!(all, ["one", "two", "", "three", "four"], "{first} {second}");
            }
        }
    }
}
