//! The `ottla` program: see `ottla --help`.

use std::process::ExitCode;

/// Keeps the large blocks of connections mapped between requests, where the system's allocator gives them back and faults them in again.
#[cfg(feature = "jemalloc")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    ottla::cli::run(std::env::args_os())
}
