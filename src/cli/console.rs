use std::io::{self, BufWriter, IsTerminal, Write};

/// Where a tool prints: standard output, buffered, and standard error, kept in step with it.
pub struct Console {
    out: BufWriter<Box<dyn Write>>,
    err: Box<dyn Write>,
    out_is_terminal: bool,
}

impl Console {
    pub fn of_process() -> Self {
        let out_is_terminal = io::stdout().is_terminal();
        Console { out: BufWriter::with_capacity(64 << 10, Box::new(io::stdout())), err: Box::new(io::stderr()), out_is_terminal }
    }

    pub fn out(&mut self) -> &mut impl Write {
        &mut self.out
    }

    /// Standard error, after everything printed so far has left: on a terminal the two appear in the order they were written.
    pub fn err(&mut self) -> io::Result<&mut dyn Write> {
        self.out.flush()?;
        Ok(&mut *self.err)
    }

    pub fn out_is_terminal(&self) -> bool {
        self.out_is_terminal
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()?;
        self.err.flush()
    }
}

#[cfg(test)]
pub mod captured {
    use super::*;
    use crate::cli::failure::Failure;
    use std::cell::RefCell;
    use std::rc::Rc;

    #[derive(Clone, Default)]
    struct Shared(Rc<RefCell<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Runs `body` with a console of its own; returns what it returned, and both outputs.
    pub fn capture<T>(body: impl FnOnce(&mut Console) -> T) -> (T, String, String) {
        let (out, err) = (Shared::default(), Shared::default());
        let mut console = Console { out: BufWriter::new(Box::new(out.clone())), err: Box::new(err.clone()), out_is_terminal: true };
        let returned = body(&mut console);
        console.flush().unwrap();
        let text = |shared: Shared| String::from_utf8(shared.0.borrow().clone()).unwrap();
        (returned, text(out), text(err))
    }

    /// A tool's options, from a command line whose words have no blanks.
    pub fn parsed<A: clap::Args>(line: &str) -> A {
        parsed_words(line.split(' '))
    }

    pub fn parsed_words<'a, A: clap::Args>(words: impl Iterator<Item = &'a str>) -> A {
        let command = A::augment_args(clap::Command::new("tool"));
        let matches = command.try_get_matches_from(std::iter::once("tool").chain(words)).unwrap();
        A::from_arg_matches(&matches).unwrap()
    }

    /// What a tool says before it asks anyone.
    pub fn refusal(tool: impl FnOnce(&mut Console) -> Result<(), Failure>) -> String {
        match capture(tool).0.unwrap_err() {
            Failure::Sentence(sentence) | Failure::Usage { sentence, .. } => sentence,
            other => panic!("{other:?}"),
        }
    }
}
