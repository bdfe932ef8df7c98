//! A live mount. Whatever happens in a test, it is taken down again and nothing waits for ever.

use super::checks::{Check, after_umount, lowers_before};
use super::place;
use super::process::{Outcome, daemon_pid, process_alive, run, wait_until};
use super::stack::{Stack, Target};
use super::watchdog::{abort_connection, unwatch, watch};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long the daemon may take to write back and end.
const GOODBYE: Duration = Duration::from_secs(10);

/// A mounted stack. Dropping it unmounts and, unless the test already failed, runs the checks.
#[derive(Debug)]
pub struct Mount {
    stack: Stack,
    target: Target,
    said: Outcome,
    lowers: Option<String>,
    live: bool,
}

impl Mount {
    pub(super) fn new(stack: Stack, target: Target, said: Outcome, lowers: Option<String>) -> Self {
        if target == Target::Layerfs {
            watch(stack.mnt());
        }
        Self { stack, target, said, lowers, live: true }
    }

    /// The mount point.
    pub fn path(&self) -> &Path {
        self.stack.mnt()
    }

    /// A path below the mount point.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// The stack that is mounted.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// What it is mounted on.
    pub fn target(&self) -> Target {
        self.target
    }

    /// What the mounting program said.
    pub fn said(&self) -> &Outcome {
        &self.said
    }

    /// Whether this is one of `targets`, where a rule does not hold by design; says why.
    pub fn differs_on(&self, targets: &[Target], reason: &str) -> bool {
        assert!(!targets.contains(&Target::Layerfs), "no rule is left out on layerfs");
        let differs = targets.contains(&self.target);
        if differs {
            eprintln!("left out on {:?}: {reason}", self.target);
        }
        differs
    }

    /// Whether there is an upper to look into (not so on a plain directory).
    pub fn has_upper(&self) -> bool {
        self.target != Target::Plain && !self.stack.is_read_only()
    }

    /// Asserts that the upper has an object of this name, which is no whiteout.
    pub fn assert_upper(&self, name: impl AsRef<Path>) {
        let path = self.stack.upper().join(&name);
        let there = place::exists(&path) && !place::is_whiteout(&path);
        assert!(there || !self.has_upper(), "not in the upper: {}", name.as_ref().display());
    }

    /// Asserts that the upper has nothing of this name, not even a whiteout.
    pub fn assert_not_upper(&self, name: impl AsRef<Path>) {
        let there = place::exists(self.stack.upper().join(&name));
        assert!(!there || !self.has_upper(), "in the upper: {}", name.as_ref().display());
    }

    /// Asserts that the upper has a whiteout of this name.
    pub fn assert_whiteout(&self, name: impl AsRef<Path>) {
        let whiteout = place::is_whiteout(self.stack.upper().join(&name));
        assert!(whiteout || !self.has_upper(), "no whiteout: {}", name.as_ref().display());
    }

    /// Asserts that the upper has this content under this name.
    pub fn assert_upper_content(&self, name: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        if self.has_upper() {
            let found = fs::read(self.stack.upper().join(&name)).unwrap();
            assert_eq!(found, content.as_ref(), "upper {}", name.as_ref().display());
        }
    }

    /// The process that serves the mount; layerfs only.
    pub fn pid(&self) -> i32 {
        daemon_pid(self.path()).expect("no layerfs process for this mount")
    }

    /// Unmounts with all checks and mounts the same stack again; after `kill_daemon` only mounts.
    pub fn remount(&mut self, options: &[&str]) {
        self.take_down();
        let mut again = self.stack.mount_as(self.target, options);
        self.said = again.said.clone();
        self.lowers = again.lowers.take();
        self.live = true;
        again.live = false;
    }

    /// Unmounts and checks.
    pub fn umount(mut self) {
        self.take_down();
    }

    /// Kills the daemon at once, as a crash would, and removes the dead mount. No checks.
    pub fn kill_daemon(&mut self) {
        let pid = rustix::process::Pid::from_raw(self.pid()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        let pid = pid.as_raw_nonzero().get();
        assert!(wait_until(GOODBYE, || !process_alive(pid)), "daemon {pid} survives SIGKILL");
        self.umount_lazily();
        unwatch(self.path());
        self.live = false;
    }

    /// Takes note that the test itself ended the mount in another way; the checks are still run.
    pub fn ended(mut self) {
        assert!(!is_mounted(self.path()), "still mounted: {}", self.path().display());
        unwatch(self.path());
        self.live = false;
        after_umount(&self.stack, self.target, self.lowers.as_deref());
    }

    fn take_down(&mut self) {
        if !self.live {
            return;
        }
        self.live = false;
        if self.target != Target::Plain {
            let pid = daemon_pid(self.path());
            let clean = self.umount_cleanly();
            self.check_gone(pid);
            unwatch(self.path());
            clean.unwrap_or_else(|why| panic!("umount {}: {why}", self.path().display()));
        }
        after_umount(&self.stack, self.target, self.lowers.as_deref());
    }

    /// umount(8); busy is tried again for a while, since a program that another test starts may
    /// hold our descriptors for the moment between fork and exec.
    fn umount_cleanly(&self) -> Result<(), String> {
        let mut last = String::new();
        let done = wait_until(Duration::from_secs(5), || {
            let outcome = run(Command::new("umount").arg(self.path()), Duration::from_secs(60));
            last = outcome.stderr.trim().to_owned();
            outcome.success()
        });
        if done {
            return Ok(());
        }
        abort_connection(self.path());
        self.umount_lazily();
        Err(last)
    }

    fn check_gone(&self, pid: Option<i32>) {
        let Some(pid) = pid else { return };
        let gone = wait_until(GOODBYE, || !process_alive(pid));
        if !gone {
            kill_hard(pid);
        }
        let wanted = self.stack.wants(Check::DaemonGone);
        assert!(gone || !wanted, "daemon {pid} still there {GOODBYE:?} after the unmount");
    }

    fn umount_lazily(&self) {
        let mut umount = Command::new("umount");
        let outcome = run(umount.arg("-l").arg(self.path()), Duration::from_secs(20));
        if !outcome.success() {
            eprintln!("umount -l {}: {}", self.path().display(), outcome.stderr.trim());
        }
    }

    /// After a failed test: no checks, no waiting, nothing left behind.
    fn sweep(&mut self) {
        self.live = false;
        unwatch(self.path());
        if self.target == Target::Plain {
            return;
        }
        let pid = daemon_pid(self.path());
        if is_mounted(self.path()) {
            if self.target == Target::Layerfs {
                abort_connection(self.path());
            }
            self.umount_lazily();
        }
        if let Some(pid) = pid
            && !wait_until(Duration::from_secs(2), || !process_alive(pid))
        {
            kill_hard(pid);
        }
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.sweep();
        } else {
            self.take_down();
        }
    }
}

fn kill_hard(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    if let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::KILL) {
        eprintln!("kill {pid:?}: {error}");
    }
}

/// Whether something is mounted at this place.
pub fn is_mounted(path: &Path) -> bool {
    mount_line(path).is_some()
}

/// The words of the last line of /proc/self/mounts for this place: source, place, type, options.
pub fn mount_line(path: &Path) -> Option<[String; 4]> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    table.lines().rev().find_map(|line| {
        let words: Vec<String> = line.split(' ').map(unescape_octal).collect();
        (Path::new(&words[1]) == path).then(|| words[..4].to_vec().try_into().unwrap())
    })
}

/// The places of all mounts below a directory, in the order they were mounted.
pub(super) fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    let places = table.lines().filter_map(|line| line.split(' ').nth(1));
    places.map(|place| PathBuf::from(unescape_octal(place))).filter(|p| p.starts_with(dir)).collect()
}

/// `\040` and the like, as the kernel writes blanks in the table of mounts.
fn unescape_octal(word: &str) -> String {
    let mut out = word.to_owned();
    for (code, plain) in [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")] {
        out = out.replace(code, plain);
    }
    out
}
