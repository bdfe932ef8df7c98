//! Programs and processes: run with a time limit, find the daemon, fork a second process.

#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::io::{Read as _, Seek as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How a program ended and what it said.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Whether it exited with 0.
    pub fn success(&self) -> bool {
        self.status.success()
    }
}

/// Runs a program for at most `limit`; panics when it takes longer. What it says goes through
/// files, so that a daemon that it leaves behind cannot keep the caller waiting.
pub fn run(command: &mut Command, limit: Duration) -> Outcome {
    let mut stdout = tempfile::tempfile().unwrap();
    let mut stderr = tempfile::tempfile().unwrap();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone().unwrap())
        .stderr(stderr.try_clone().unwrap())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut ended = None;
    let in_time = wait_until(limit, || {
        ended = child.try_wait().unwrap();
        ended.is_some()
    });
    if !in_time {
        child.kill().unwrap();
    }
    let outcome = Outcome {
        status: ended.unwrap_or_else(|| ExitStatus::from_raw(libc::SIGKILL)),
        stdout: read_back(&mut stdout),
        stderr: read_back(&mut stderr),
    };
    assert!(in_time, "{command:?}: not done within {limit:?}: {outcome:?}");
    outcome
}

fn read_back(file: &mut std::fs::File) -> String {
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Runs a program that must succeed within a minute and gives its stdout.
pub fn run_ok(program: &str, args: &[&OsStr]) -> String {
    let mut command = Command::new(program);
    let outcome = run(command.args(args), Duration::from_secs(60));
    assert!(outcome.success(), "{command:?}: {outcome:?}");
    outcome.stdout
}

/// Runs a shell line that must succeed within a minute and gives its stdout; `$1` and so on are
/// the arguments, so that no path needs quoting.
pub fn sh(line: &str, args: &[&Path]) -> String {
    let mut all: Vec<&OsStr> = vec![OsStr::new("-ec"), OsStr::new(line), OsStr::new("sh")];
    all.extend(args.iter().map(|path| path.as_os_str()));
    run_ok("/bin/sh", &all)
}

/// Asks until the answer is yes or the time is over; gives the last answer.
pub fn wait_until(limit: Duration, mut question: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if question() {
            return true;
        }
        if start.elapsed() > limit {
            return false;
        }
        sleep(Duration::from_millis(2));
    }
}

/// The program under test.
pub fn layerfs_bin() -> PathBuf {
    program("LAYERFS_BIN", option_env!("CARGO_BIN_EXE_layerfs"))
}

/// The program of the cache under test; it looks for layerfs beside itself.
pub fn layerctl_bin() -> PathBuf {
    program("LAYERCTL_BIN", option_env!("CARGO_BIN_EXE_layerctl"))
}

fn program(variable: &str, built: Option<&str>) -> PathBuf {
    let named = std::env::var_os(variable).map(PathBuf::from);
    let found = named.or(built.map(PathBuf::from));
    let path = found.unwrap_or_else(|| panic!("missing prerequisite: set {variable} to the program"));
    assert!(path.exists(), "missing prerequisite: {} does not exist", path.display());
    path.canonicalize().unwrap()
}

/// A command that starts the program under test, without arguments yet.
pub fn layerfs_command() -> Command {
    Command::new(layerfs_bin())
}

/// The process that serves the mount at `mount_point`: a layerfs whose command line names it.
pub fn daemon_pid(mount_point: &Path) -> Option<i32> {
    let processes = std::fs::read_dir("/proc").unwrap();
    processes.flatten().find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let mut words = line.split(|byte| *byte == 0);
        let program = Path::new(OsStr::from_bytes(words.next()?)).file_name()?;
        let names_it = words.any(|word| word == mount_point.as_os_str().as_bytes());
        (program == "layerfs" && names_it && process_alive(pid)).then_some(pid)
    })
}

/// Whether a process of this number is there and not a zombie.
pub fn process_alive(pid: i32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    !matches!(state, Some('Z' | 'X') | None)
}

/// A forked process; waited for on drop.
#[derive(Debug)]
pub struct ForkedChild {
    pid: libc::pid_t,
}

impl ForkedChild {
    /// Its process number.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Waits for its end and gives its exit code (128 + N for a signal N).
    pub fn wait(self) -> i32 {
        let mut status = 0;
        // SAFETY: waitpid writes to a live integer; the process is our child.
        let waited = unsafe { libc::waitpid(self.pid, &raw mut status, 0) };
        assert_eq!(waited, self.pid, "waitpid");
        std::mem::forget(self);
        if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 128 + libc::WTERMSIG(status) }
    }
}

impl Drop for ForkedChild {
    fn drop(&mut self) {
        // SAFETY: kill and waitpid of our own child, which has not been waited for.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            libc::waitpid(self.pid, std::ptr::null_mut(), 0);
        }
    }
}

/// Forks a process that closes all descriptors but 0, 1, 2 and those in `keep`, runs `work` and
/// exits with its value. `work` opens its files itself; it must be short and use no threads.
pub fn fork_child(keep: &[i32], work: impl FnOnce() -> i32) -> ForkedChild {
    // SAFETY: glibc keeps its allocator usable in the child of a threaded process, and the child
    // leaves by _exit.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "fork");
    if pid > 0 {
        return ForkedChild { pid };
    }
    close_all_but(keep);
    let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(101);
    // SAFETY: ends the child without running what belongs to the parent.
    unsafe { libc::_exit(code) }
}

fn close_all_but(keep: &[i32]) {
    let mut keep: Vec<u32> = keep.iter().map(|fd| u32::try_from(*fd).unwrap()).collect();
    keep.sort_unstable();
    let mut first = 3;
    for fd in keep.into_iter().filter(|fd| *fd >= 3).chain([u32::MAX]) {
        if fd > first {
            // SAFETY: the child owns its descriptor table; the parent's is not touched.
            unsafe { libc::syscall(libc::SYS_close_range, first, fd - 1, 0) };
        }
        first = fd.saturating_add(1);
    }
}
