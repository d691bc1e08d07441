use std::io::{self, BufRead};

/// Lines as Java reads them: `\n`, `\r` and `\r\n` end one; the last needs no end.
pub struct Lines<R> {
    input: R,
    /// The last line ended with `\r`: a `\n` that follows belongs to it.
    after_return: bool,
}

impl<R: BufRead> Lines<R> {
    pub fn new(input: R) -> Self {
        Lines { input, after_return: false }
    }

    /// The next line without its end; false where there is none.
    pub fn read(&mut self, line: &mut Vec<u8>) -> io::Result<bool> {
        line.clear();
        loop {
            let bytes = match self.input.fill_buf() {
                Ok(bytes) => bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if bytes.is_empty() {
                return Ok(!line.is_empty());
            }
            if std::mem::take(&mut self.after_return) && bytes[0] == b'\n' {
                self.input.consume(1);
                continue;
            }
            let Some(end) = bytes.iter().position(|&byte| byte == b'\n' || byte == b'\r') else {
                line.extend_from_slice(bytes);
                let count = bytes.len();
                self.input.consume(count);
                continue;
            };
            line.extend_from_slice(&bytes[..end]);
            self.after_return = bytes[end] == b'\r';
            self.input.consume(end + 1);
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    #[test]
    fn lines_end_as_javas_do() {
        for capacity in [1, 2, 64] {
            let mut lines = Lines::new(BufReader::with_capacity(capacity, &b"a\nb\r\n\rc\n\nlast"[..]));
            let (mut line, mut all) = (Vec::new(), Vec::new());
            while lines.read(&mut line).unwrap() {
                all.push(String::from_utf8(line.clone()).unwrap());
            }
            assert_eq!(all, ["a", "b", "", "c", "", "last"], "{capacity}");
        }
    }
}
