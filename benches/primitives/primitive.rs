//! A primitive: something the broker does for every request, in a form that can be timed and its instructions counted.
//!
//! Made by the files beside this one; `timed` times the primitives, `benches/instructions.rs` counts them.
//!
//! Invariants:
//! 1. Runs of one primitive do the same work each time, on the same bytes: nothing is drawn at random, no clock is read.
//! 2. What a run leaves behind for the next one to find is undone by the restoring half, outside of what is measured.

/// What is measured.
pub struct Work {
    /// To be done before each run, if runs leave something behind.
    pub restore: Option<Box<dyn FnMut()>>,
    pub run: Box<dyn FnMut()>,
}

pub struct Primitive {
    pub name: String,
    /// Bytes of records that one run works on.
    pub bytes: Option<usize>,
    pub prepare: Box<dyn Fn() -> Work>,
}

impl Primitive {
    pub fn new(name: impl Into<String>, prepare: impl Fn() -> Work + 'static) -> Self {
        Self { name: name.into(), bytes: None, prepare: Box::new(prepare) }
    }

    pub fn over(mut self, bytes: usize) -> Self {
        self.bytes = Some(bytes);
        self
    }
}

/// Work that leaves nothing behind.
pub fn repeatable<T>(mut run: impl FnMut() -> T + 'static) -> Work {
    Work { restore: None, run: Box::new(move || drop(std::hint::black_box(run()))) }
}
