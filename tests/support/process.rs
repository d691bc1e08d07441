//! Child processes with captured output, a deadline on every wait, and no way to outlive the test: each is the leader of a process group
//! that is killed when its handle drops, and is told by the kernel to die with the thread that started it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

/// A running child; killed with its whole group on drop.
pub struct Process {
    child: Child,
    name: String,
    stdout: Captured,
    stderr: Captured,
}

struct Captured {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Captured {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let reader = std::thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            let mut line = Vec::new();
            while matches!(pipe.read_until(b'\n', &mut line), Ok(n) if n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_string();
                sink.lock().unwrap().push(text);
                line.clear();
            }
        });
        Captured { lines, reader: Some(reader) }
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().join("\n")
    }

    fn join(&mut self) {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// A command that dies with the calling thread. `setpriv` (util-linux) asks the kernel for it and then becomes the program.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

impl Process {
    pub fn spawn(name: &str, mut command: Command) -> Process {
        command.stdin(Stdio::null());
        Self::spawn_piped(name, command)
    }

    /// Starts a program that is told what to do on its stdin.
    pub fn spawn_fed(name: &str, mut command: Command) -> (Process, ChildStdin) {
        command.stdin(Stdio::piped());
        let mut process = Self::spawn_piped(name, command);
        let stdin = process.child.stdin.take().expect("piped above");
        (process, stdin)
    }

    fn spawn_piped(name: &str, mut command: Command) -> Process {
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let stdout = Captured::of(child.stdout.take().unwrap());
        let stderr = Captured::of(child.stderr.take().unwrap());
        Process { child, name: name.to_string(), stdout, stderr }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything written so far, both streams.
    pub fn output(&self) -> String {
        format!("--- {} stdout\n{}\n--- {} stderr\n{}", self.name, self.stdout.text(), self.name, self.stderr.text())
    }

    /// The lines of stdout and of stderr from these numbers on.
    pub fn lines_from(&self, stdout: usize, stderr: usize) -> (Vec<String>, Vec<String>) {
        let of = |captured: &Captured, from: usize| captured.lines.lock().unwrap()[from..].to_vec();
        (of(&self.stdout, stdout), of(&self.stderr, stderr))
    }

    /// Waits for a line of stdout that `pick` accepts; panics if the process ends or the deadline passes first.
    pub fn wait_for_line<T>(&mut self, within: Duration, pick: impl Fn(&str) -> Option<T>) -> T {
        let start = Instant::now();
        let mut seen = 0;
        loop {
            let ended = self.child.try_wait().unwrap();
            {
                let lines = self.stdout.lines.lock().unwrap();
                if let Some(found) = lines[seen..].iter().find_map(|line| pick(line)) {
                    return found;
                }
                seen = lines.len();
            }
            if let Some(status) = ended {
                self.stdout.join();
                self.stderr.join();
                let lines = self.stdout.lines.lock().unwrap();
                if let Some(found) = lines[seen..].iter().find_map(|line| pick(line)) {
                    return found;
                }
                drop(lines);
                panic!("{} ended ({status}) before the awaited line\n{}", self.name, self.output());
            }
            assert!(start.elapsed() < within, "{}: no awaited line within {within:?}\n{}", self.name, self.output());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(self.child.id() as i32), signal);
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for the end and for the last byte of output; kills the group and panics past the deadline.
    pub fn wait(&mut self, within: Duration) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.stdout.join();
                self.stderr.join();
                return status;
            }
            if start.elapsed() > within {
                self.kill_group();
                panic!("{} still running after {within:?}\n{}", self.name, self.output());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn kill_group(&mut self) {
        let _ = killpg(Pid::from_raw(self.child.id() as i32), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_group();
        if std::thread::panicking() {
            eprintln!("{}", ending(&self.output()));
        }
    }
}

/// What a finished tool said.
pub struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    name: String,
}

impl Output {
    /// The tool must have ended with status zero; gives its stdout.
    #[track_caller]
    pub fn expect_success(self) -> String {
        assert!(
            self.status.success(),
            "{} failed ({}, signal {:?})\n--- stdout\n{}\n--- stderr\n{}",
            self.name,
            self.status,
            self.status.signal(),
            ending(&self.stdout),
            ending(&self.stderr)
        );
        self.stdout
    }
}

/// The last lines of a long output: where the cause of a failure stands.
pub fn ending(text: &str) -> String {
    const LINES: usize = 60;
    let skipped = text.lines().count().saturating_sub(LINES);
    let kept: Vec<&str> = text.lines().skip(skipped).collect();
    if skipped > 0 { format!("({skipped} lines before)\n{}", kept.join("\n")) } else { kept.join("\n") }
}

/// Runs a tool to its end with `input` on its stdin. Never hangs: past the deadline the tool is killed and the test fails.
pub fn run(name: &str, command: Command, input: &[u8], within: Duration) -> Output {
    let (mut process, mut stdin) = Process::spawn_fed(name, command);
    let input = input.to_vec();
    // A thread of its own: a tool that does not read must not hang the test.
    let writer = std::thread::spawn(move || {
        let _ = stdin.write_all(&input);
    });
    let status = process.wait(within);
    let _ = writer.join();
    Output { status, stdout: process.stdout.text(), stderr: process.stderr.text(), name: name.to_string() }
}

/// What a process holds of memory.
pub fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process of ours");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().expect("a number") / 1024
}
