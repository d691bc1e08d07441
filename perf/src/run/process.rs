//! Child processes that cannot outlive the session.
//!
//! Called by everything in `run` that starts a program.
//!
//! 1. A child is the leader of a process group that is killed when its handle drops.
//! 2. A child asks the kernel to be killed should this process die first (`setpriv --pdeathsig`).
//! 3. Every wait has a deadline and ends at once when the session is interrupted.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::failure::Failure;

/// How often a wait looks: rare enough to take nothing from the generator, whose core it shares.
const LOOK: Duration = Duration::from_millis(20);

/// Set by SIGINT, SIGTERM and SIGHUP.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub fn watch() -> Result<Self, Failure> {
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
            signal_hook::flag::register(signal, asked.clone())
                .map_err(|source| Failure::Start { name: "the watch for signals".into(), source })?;
        }
        Ok(Self(asked))
    }

    pub fn check(&self) -> Result<(), Failure> {
        if self.0.load(Ordering::Relaxed) { Err(Failure::Interrupted) } else { Ok(()) }
    }

    pub fn sleep(&self, time: Duration) -> Result<(), Failure> {
        let until = Instant::now() + time;
        loop {
            self.check()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(LOOK));
        }
    }
}

/// Where a child runs: the process lists of control groups it enters before its first page is touched, and the cores it may use.
#[derive(Clone, Default, Debug)]
pub struct Seat {
    pub process_lists: Vec<PathBuf>,
    pub cpus: Vec<usize>,
    /// Gives way to everybody else on its cores.
    pub gives_way: bool,
}

impl Seat {
    pub fn on(cpus: &[usize]) -> Self {
        Self { cpus: cpus.to_vec(), ..Self::default() }
    }

    /// The program behind what seats it: each step becomes the next by exec, so that the process id stays.
    pub fn command(&self, program: &Path, arguments: &[String]) -> Command {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if !self.process_lists.is_empty() {
            command.args(["sh", "-c", "while [ \"$1\" != -- ]; do echo $$ > \"$1\" || exit 70; shift; done; shift; exec \"$@\"", "sh"]);
            command.args(&self.process_lists).arg("--");
        }
        if !self.cpus.is_empty() {
            command.args(["taskset", "-c", &cpu_list(&self.cpus)]);
        }
        if self.gives_way {
            command.args(["chrt", "--idle", "0"]);
        }
        command.arg(program).args(arguments);
        command
    }
}

/// `0,2` as the kernel and taskset read it.
pub fn cpu_list(cpus: &[usize]) -> String {
    cpus.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

/// A running program with its output in a file; killed with its group on drop.
pub struct Running {
    child: Child,
    pub name: String,
}

impl Running {
    pub fn start(name: &str, mut command: Command, log: &Path) -> Result<Self, Failure> {
        let file = File::options().create(true).append(true).open(log).map_err(Failure::file(log))?;
        let twin = file.try_clone().map_err(Failure::file(log))?;
        command.stdin(Stdio::null()).stdout(file).stderr(twin).process_group(0);
        let child = command.spawn().map_err(|source| Failure::Start { name: name.into(), source })?;
        Ok(Self { child, name: name.into() })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        // A group that is gone has nothing left to be told.
        let _gone = killpg(Pid::from_raw(self.child.id() as i32), signal);
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        let _status = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Runs a program to its end and gives what it wrote on stdout.
pub fn run(name: &str, mut command: Command, within: Duration, interrupt: &Interrupt) -> Result<String, Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let child = command.spawn().map_err(|source| Failure::Start { name: name.into(), source })?;
    let mut running = Running { child, name: name.into() };
    let stdout = drain(running.child.stdout.take());
    let stderr = drain(running.child.stderr.take());
    let status = wait(&mut running, within, interrupt)?;
    let (stdout, stderr) = (text(stdout), text(stderr));
    if status.success() {
        return Ok(stdout);
    }
    Err(Failure::Ended { name: name.into(), status: status.to_string(), said: last_line(&stderr, &stdout) })
}

fn wait(running: &mut Running, within: Duration, interrupt: &Interrupt) -> Result<ExitStatus, Failure> {
    let begun = Instant::now();
    loop {
        let ended = running.child.try_wait().map_err(|source| Failure::Start { name: running.name.clone(), source })?;
        if let Some(status) = ended {
            return Ok(status);
        }
        interrupt.check()?;
        if begun.elapsed() > within {
            return Err(Failure::Late { name: running.name.clone(), seconds: within.as_secs() });
        }
        std::thread::sleep(LOOK);
    }
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> Option<JoinHandle<String>> {
    pipe.map(|mut pipe| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            // A broken pipe ends the text; the exit status tells the rest.
            let _end = pipe.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    })
}

fn text(reader: Option<JoinHandle<String>>) -> String {
    reader.and_then(|reader| reader.join().ok()).unwrap_or_default()
}

fn last_line(stderr: &str, stdout: &str) -> String {
    let last = |text: &str| text.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned);
    last(stderr).or_else(|| last(stdout)).unwrap_or_else(|| "no output".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_that_is_late_is_killed_and_one_that_fails_is_quoted() {
        let interrupt = Interrupt(Arc::default());
        let sleep = Seat::default().command(Path::new("sleep"), &["60".into()]);
        let late = run("sleep", sleep, Duration::from_millis(50), &interrupt).unwrap_err();
        assert!(matches!(late, Failure::Late { .. }), "{late}");
        let fail = Seat::default().command(Path::new("sh"), &["-c".into(), "echo why >&2; exit 3".into()]);
        let failed = run("sh", fail, Duration::from_secs(10), &interrupt).unwrap_err().to_string();
        assert!(failed.contains("why") && failed.contains('3'), "{failed}");
    }

    #[test]
    fn an_interrupt_ends_a_wait() {
        let interrupt = Interrupt(Arc::new(AtomicBool::new(true)));
        let sleep = Seat::default().command(Path::new("sleep"), &["60".into()]);
        assert!(matches!(run("sleep", sleep, Duration::from_secs(60), &interrupt), Err(Failure::Interrupted)));
        assert!(matches!(interrupt.sleep(Duration::from_secs(60)), Err(Failure::Interrupted)));
    }

    #[test]
    fn a_seated_child_keeps_its_process_id() {
        let list = std::env::temp_dir().join(format!("ottla-perf-seat-{}", std::process::id()));
        let seat = Seat { process_lists: vec![list.clone()], gives_way: true, ..Seat::default() };
        let said =
            run("sh", seat.command(Path::new("sh"), &["-c".into(), "echo $$".into()]), Duration::from_secs(10), &Interrupt(Arc::default()));
        let listed = std::fs::read_to_string(&list).unwrap();
        std::fs::remove_file(&list).unwrap();
        assert_eq!(said.unwrap(), listed);
    }
}
