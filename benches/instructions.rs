//! Counts the instructions of the hot primitives and holds them to recorded figures.
//!
//! Run by `benches/count`, which brings valgrind. Runs itself under callgrind once per primitive, with an empty environment, and counts
//! from the entry of [`measured_part`] to its return, in the third run of the primitive.
//!
//! Instructions are not time, but they do not depend on what else the machine does: the same program counts the same, to the last
//! digit or nearly. What they do depend on besides the source stands in the file of figures: the compiler, the C library, and what
//! the processor offers to choose a `memcpy` or a CRC by. Where that differs, growth is told and not refused.
//!
//! `benches/instructions.txt`:
//!
//! ```text
//!   # a comment
//!   made with rustc 1.95.0 (59807616e 2026-04-14), glibc 2.36, x86_64 with sse4.2 pclmulqdq avx2
//!   123456  batch: crc, 64 KiB
//! ```

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{env, fs, thread};

mod primitives {
    pub mod batches;
    pub mod exchange;
    pub mod primitive;
    pub mod replica;
    pub mod wire;
}

use ottla::wire::batch::Codec;
use primitives::primitive::Primitive;
use primitives::{exchange, replica, wire};

/// A count this much above its recorded figure fails; one this much below is told of, lest the gain be lost again unseen.
const CHANGE_MAX_PERCENT: f64 = 3.0;

const FIGURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
const COMMENT: &str = "# Instructions of the hot primitives. Written by benches/count --record, compared by benches/count.";
const MADE_WITH: &str = "made with ";

#[derive(Debug, thiserror::Error)]
enum CountError {
    #[error("{program} does not start: {source}")]
    Start { program: &'static str, source: io::Error },
    #[error("{name}: the counted process failed\n{output}")]
    Failed { name: String, output: String },
    #[error("{name}: callgrind has seen nothing of it")]
    Nothing { name: String },
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{FIGURES}:{line}: neither `made with ...` nor `COUNT  NAME`")]
    Line { line: usize },
    #[error("nothing is called {0:?}")]
    Unknown(String),
    #[error("usage: benches/count [--record | PART OF A NAME]")]
    Usage,
}

/// Codecs written in Rust. Zstandard is C, and its instructions the C compiler's.
const CODECS: [Codec; 3] = [Codec::Gzip, Codec::Snappy, Codec::Lz4];

/// The primitives that are counted, in the order of the table.
fn counted() -> Vec<Primitive> {
    let groups = [
        ("batch", wire::batches(&CODECS)),
        ("decode", wire::decoding()),
        ("encode", wire::encoding()),
        ("produce path", wire::produce_path()),
        ("append", replica::appends()),
        ("read plan", replica::read_plans()),
        ("replica's readers", replica::readers_parked()),
        ("parked fetches", exchange::fetches_parked()),
        ("mailbox", exchange::mailboxes()),
        ("deadline", exchange::deadlines()),
    ];
    let named = groups.into_iter().flat_map(|(group, primitives)| {
        primitives.into_iter().map(move |primitive| Primitive { name: format!("{group}: {}", primitive.name), ..primitive })
    });
    named.collect()
}

/// What callgrind counts: found by its name.
#[inline(never)]
fn measured_part(run: &mut dyn FnMut()) {
    run();
    // Keeps the call above from becoming a jump, which would end the measured part as it begins.
    std::hint::black_box(());
}

/// In the counted process: runs a primitive three times, the last time counted.
fn run_counted(primitive: &Primitive) {
    let mut work = (primitive.prepare)();
    let mut restore = || work.restore.iter_mut().for_each(|restore| restore());
    // What only a first run has to do (look at the processor, grow a queue) is done before.
    for _ in 0..2 {
        restore();
        (work.run)();
    }
    restore();
    measured_part(&mut work.run);
}

/// What the processor offers in the counted process: valgrind shows one of a few model processors, by what the real one can do.
fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    let features = [
        ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
        ("pclmulqdq", std::is_x86_feature_detected!("pclmulqdq")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
    ];
    #[cfg(not(target_arch = "x86_64"))]
    let features: [(&str, bool); 0] = [];
    let found: Vec<&str> = features.into_iter().filter_map(|(name, offered)| offered.then_some(name)).collect();
    format!("{} with {}", env::consts::ARCH, found.join(" "))
}

fn in_file(path: &Path) -> impl FnOnce(io::Error) -> CountError {
    let path = path.to_owned();
    |source| CountError::File { path, source }
}

fn output(program: &'static str, command: &mut Command) -> Result<Output, CountError> {
    command.output().map_err(|source| CountError::Start { program, source })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

/// One primitive's instructions, and the processor that the counted process saw.
struct Count {
    instructions: u64,
    processor: String,
}

/// Where callgrind leaves the profile of a primitive: `callgrind_annotate` shows which functions its instructions are in.
fn profile(name: &str) -> PathBuf {
    let word: String = name.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' }).collect();
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind.{word}"))
}

fn count(name: &str) -> Result<Count, CountError> {
    let this = env::current_exe().map_err(in_file(Path::new("this program")))?;
    let (directory, program) = this.parent().zip(this.file_name()).unwrap_or((Path::new("."), this.as_os_str()));
    let profile = profile(name);
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--toggle-collect=*measured_part*"]);
    valgrind.arg(format!("--callgrind-out-file={}", profile.display()));
    // Where the program lies and what its environment says must not move what the counted process has on its stack and heap.
    valgrind.arg(Path::new(".").join(program)).args(["--run", name]).current_dir(directory);
    valgrind.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    let output = output("valgrind", &mut valgrind)?;
    if !output.status.success() {
        return Err(CountError::Failed { name: name.to_owned(), output: text(&output.stderr) });
    }
    let lines = fs::read_to_string(&profile).map_err(in_file(&profile))?;
    let summary = lines.lines().find_map(|line| line.strip_prefix("summary: ")?.trim().parse().ok());
    match summary {
        Some(instructions) if instructions > 0 => Ok(Count { instructions, processor: text(&output.stdout) }),
        _ => Err(CountError::Nothing { name: name.to_owned() }),
    }
}

/// Counts the primitives, as many at a time as there are cores: it disturbs nothing.
fn count_all(primitives: &[Primitive]) -> Result<Vec<Count>, CountError> {
    let names: Vec<&str> = primitives.iter().map(|primitive| primitive.name.as_str()).collect();
    let next = AtomicUsize::new(0);
    let counts: Vec<Mutex<Option<Result<Count, CountError>>>> = names.iter().map(|_| Mutex::default()).collect();
    let work = || {
        while let Some((name, place)) = names.iter().zip(&counts).nth(next.fetch_add(1, Ordering::Relaxed)) {
            *place.lock().expect("nothing panics with it") = Some(count(name));
        }
    };
    let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
    thread::scope(|scope| (0..cores).for_each(|_| drop(scope.spawn(work))));
    let taken = counts.into_iter().map(|place| place.into_inner().expect("nothing panics with it").expect("every name was taken"));
    taken.collect()
}

/// What counts depend on besides the source.
fn made_with(processor: &str) -> Result<String, CountError> {
    let compiler = text(&output("rustc", Command::new("rustc").arg("--version"))?.stdout);
    let library = text(&output("getconf", Command::new("getconf").arg("GNU_LIBC_VERSION"))?.stdout);
    Ok(format!("{compiler}, {library}, {processor}"))
}

/// The recorded figures.
#[derive(Default)]
struct Figures {
    made_with: String,
    counts: BTreeMap<String, u64>,
}

impl Figures {
    /// None are recorded where there is no file.
    fn read() -> Result<Self, CountError> {
        let lines = match fs::read_to_string(FIGURES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            read => read.map_err(in_file(Path::new(FIGURES)))?,
        };
        let mut figures = Self::default();
        for (index, line) in lines.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            if let Some(made_with) = line.strip_prefix(MADE_WITH) {
                figures.made_with = made_with.to_owned();
                continue;
            }
            let figure = line.trim_start().split_once("  ").and_then(|(count, name)| Some((name.to_owned(), count.parse().ok()?)));
            figures.counts.extend([figure.ok_or(CountError::Line { line: index + 1 })?]);
        }
        Ok(figures)
    }

    fn write(made_with: &str, primitives: &[Primitive], counts: &[Count]) -> Result<(), CountError> {
        let mut lines = format!("{COMMENT}\n{MADE_WITH}{made_with}\n");
        for (Primitive { name, .. }, count) in primitives.iter().zip(counts) {
            lines += &format!("{:>9}  {name}\n", count.instructions);
        }
        fs::write(FIGURES, lines).map_err(in_file(Path::new(FIGURES)))
    }
}

/// What the table has to say, besides itself.
#[derive(Default)]
struct Verdict {
    grown: Vec<String>,
    shrunk: Vec<String>,
    unrecorded: Vec<String>,
}

fn print_table(primitives: &[Primitive], counts: &[Count], figures: &Figures) -> Verdict {
    let mut verdict = Verdict::default();
    println!("{:<68}{:>10}{:>10}{:>10}{:>10}", "instructions of", "recorded", "now", "change", "per byte");
    for (Primitive { name, bytes, .. }, Count { instructions, .. }) in primitives.iter().zip(counts) {
        let per_byte = bytes.map_or_else(String::new, |bytes| format!("{:.3}", *instructions as f64 / bytes as f64));
        let Some(&recorded) = figures.counts.get(name) else {
            println!("{name:<68}{:>10}{instructions:>10}{:>10}{per_byte:>10}", "-", "");
            verdict.unrecorded.push(name.clone());
            continue;
        };
        let change = (*instructions as f64 / recorded as f64 - 1.0) * 100.0;
        println!("{name:<68}{recorded:>10}{instructions:>10}{change:>+9.2}%{per_byte:>10}");
        if change > CHANGE_MAX_PERCENT {
            verdict.grown.push(name.clone());
        } else if change < -CHANGE_MAX_PERCENT {
            verdict.shrunk.push(name.clone());
        }
    }
    verdict
}

/// Compares with the recorded figures; answers whether they hold.
fn compare(primitives: &[Primitive], counts: &[Count], whole: bool) -> Result<bool, CountError> {
    let figures = Figures::read()?;
    let made_with = made_with(&counts[0].processor)?;
    let verdict = print_table(primitives, counts, &figures);
    let comparable = figures.made_with == made_with;
    let mut holds = true;
    if !verdict.shrunk.is_empty() {
        println!("fewer than recorded, so record them (benches/count --record): {}", verdict.shrunk.join("; "));
    }
    if !comparable {
        println!("the figures were made with {}", figures.made_with);
        println!("and these counts with      {made_with}");
        println!("so that a difference may be the compiler's or the machine's: NOTHING IS REFUSED FOR GROWTH");
    }
    if let Some(first) = verdict.grown.first() {
        println!("more than {CHANGE_MAX_PERCENT} % above the recorded figure: {}", verdict.grown.join("; "));
        println!("where they are: callgrind_annotate {}", profile(first).display());
        println!("if they are worth it: benches/count --record, and commit the figures with what made them grow");
        holds &= !comparable;
    }
    if !verdict.unrecorded.is_empty() {
        println!("without a figure (benches/count --record): {}", verdict.unrecorded.join("; "));
        holds = false;
    }
    let gone: Vec<&str> =
        figures.counts.keys().filter(|name| primitives.iter().all(|primitive| primitive.name != **name)).map(String::as_str).collect();
    if whole && !gone.is_empty() {
        println!("recorded, but counted no more (benches/count --record): {}", gone.join("; "));
        holds = false;
    }
    Ok(holds)
}

fn begin(arguments: &[String]) -> Result<bool, CountError> {
    let primitives = counted();
    let part = match arguments {
        [flag, name] if flag == "--run" => {
            let primitive = primitives.iter().find(|primitive| primitive.name == *name);
            run_counted(primitive.ok_or_else(|| CountError::Unknown(name.clone()))?);
            println!("{}", processor());
            return Ok(true);
        }
        [] => "",
        [flag] if flag == "--record" => "",
        [part] if !part.starts_with('-') => part,
        _ => return Err(CountError::Usage),
    };
    let primitives: Vec<Primitive> = primitives.into_iter().filter(|primitive| primitive.name.contains(part)).collect();
    if primitives.is_empty() {
        return Err(CountError::Unknown(part.to_owned()));
    }
    let counts = count_all(&primitives)?;
    if arguments.iter().any(|argument| argument == "--record") {
        Figures::write(&made_with(&counts[0].processor)?, &primitives, &counts)?;
    }
    compare(&primitives, &counts, part.is_empty())
}

fn main() -> ExitCode {
    // Cargo says `--bench` to every bench.
    let arguments: Vec<String> = env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match begin(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("benches/count: {error}");
            ExitCode::FAILURE
        }
    }
}
