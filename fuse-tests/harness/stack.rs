//! The directories of one test, and what a mount of them can be.

use super::checks::Check;
use super::kernel::mount_overlay;
use super::mount::Mount;
use super::process::{Outcome, run};
use super::{prerequisites, process};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// What a test runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The program under test.
    Layerfs,
    /// The kernel's overlayfs with `redirect_dir=on,metacopy=on,index=on,xino=on`.
    KernelOverlay,
    /// A plain directory that holds a copy of the merged tree (marks are not interpreted).
    Plain,
}

impl Target {
    /// The target chosen by `LAYERFS_TEST_TARGET`.
    pub fn chosen() -> Self {
        match std::env::var("LAYERFS_TEST_TARGET").as_deref() {
            Err(_) | Ok("" | "layerfs" | "io_uring") => Self::Layerfs,
            Ok("kernel") => Self::KernelOverlay,
            Ok("plain") => Self::Plain,
            Ok(other) => panic!("LAYERFS_TEST_TARGET={other}: use layerfs, io_uring, kernel or plain"),
        }
    }
}

/// Whether layerfs is to take its requests over io_uring.
fn over_io_uring() -> bool {
    std::env::var("LAYERFS_TEST_TARGET").is_ok_and(|target| target == "io_uring")
}

/// The directories of one test; removed when the last clone and the last mount are gone.
#[derive(Debug, Clone)]
pub struct Stack {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    base: tempfile::TempDir,
    lowers: Vec<PathBuf>,
    upper: PathBuf,
    work: PathBuf,
    mnt: PathBuf,
    read_only: bool,
    opted_out: AtomicU32,
}

/// Whatever a test forgot to take down, or could not because it failed before it had a [`Mount`].
impl Drop for Shared {
    fn drop(&mut self) {
        unmount_below(self.base.path());
    }
}

/// Unmounts all that is mounted below a directory, the newest first, so that it can be removed.
pub fn unmount_below(base: &Path) {
    for place in super::mount::mounts_below(base).iter().rev() {
        eprintln!("{}: was still mounted", place.display());
        super::watchdog::abort_connection(place);
        let mut umount = Command::new("umount");
        let outcome = run(umount.arg("-l").arg(place), Duration::from_secs(20));
        eprint!("{}", outcome.stderr);
    }
}

impl Stack {
    /// `n_lowers` lowers (0 is the topmost), an upper, a workdir and a mount point, all empty.
    pub fn new(n_lowers: usize) -> Self {
        Self::build(n_lowers, false)
    }

    /// The same without upper and workdir in the options.
    pub fn read_only(n_lowers: usize) -> Self {
        Self::build(n_lowers, true)
    }

    fn build(n_lowers: usize, read_only: bool) -> Self {
        prerequisites();
        let parent = test_dir();
        let base = tempfile::Builder::new().prefix("layerfs-test-").tempdir_in(&parent).unwrap();
        let at = |name: &str| base.path().join(name);
        let lowers: Vec<PathBuf> = (0..n_lowers).map(|i| at(&format!("l{i}"))).collect();
        let (upper, work, mnt) = (at("u"), at("w"), at("m"));
        for dir in lowers.iter().chain([&upper, &work, &mnt]) {
            fs::create_dir(dir).unwrap();
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        }
        fs::set_permissions(base.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let opted_out = AtomicU32::new(0);
        let shared = Shared { base, lowers, upper, work, mnt, read_only, opted_out };
        Self { shared: Arc::new(shared) }
    }

    /// The directory all others are in; free for scratch files.
    pub fn base(&self) -> &Path {
        self.shared.base.path()
    }

    /// Lower `i`; 0 is the topmost.
    pub fn lower(&self, i: usize) -> &Path {
        &self.shared.lowers[i]
    }

    /// All lowers, the topmost first.
    pub fn lowers(&self) -> &[PathBuf] {
        &self.shared.lowers
    }

    /// The upper directory.
    pub fn upper(&self) -> &Path {
        &self.shared.upper
    }

    /// The workdir.
    pub fn work(&self) -> &Path {
        &self.shared.work
    }

    /// The mount point.
    pub fn mnt(&self) -> &Path {
        &self.shared.mnt
    }

    /// Whether the stack is mounted without its upper.
    pub fn is_read_only(&self) -> bool {
        self.shared.read_only
    }

    /// Leaves out one of the checks that follow an unmount.
    pub fn opt_out(&self, check: Check) -> &Self {
        self.shared.opted_out.fetch_or(check.bit(), Ordering::Relaxed);
        self
    }

    /// Whether the check is to be made.
    pub fn wants(&self, check: Check) -> bool {
        self.shared.opted_out.load(Ordering::Relaxed) & check.bit() == 0
    }

    /// `lowerdir=…,upperdir=…,workdir=…` of this stack.
    pub fn options(&self) -> String {
        let lowers: Vec<&str> = self.shared.lowers.iter().map(|l| l.to_str().unwrap()).collect();
        let mut options = format!("lowerdir={}", lowers.join(":"));
        if !self.shared.read_only {
            let (upper, work) = (self.upper().to_str().unwrap(), self.work().to_str().unwrap());
            options += &format!(",upperdir={upper},workdir={work}");
        }
        options
    }

    /// Mounts on the target that the environment chose; further options as for `-o`.
    pub fn mount(&self, options: &[&str]) -> Mount {
        self.mount_as(Target::chosen(), options)
    }

    /// Mounts on this target.
    pub fn mount_as(&self, target: Target, options: &[&str]) -> Mount {
        self.try_mount_as(target, options)
            .unwrap_or_else(|outcome| panic!("mounting {target:?} with {options:?}: {outcome:?}"))
    }

    /// Mounts layerfs, or gives what the program said when it refused.
    pub fn try_mount(&self, options: &[&str]) -> Result<Mount, Outcome> {
        self.try_mount_as(Target::Layerfs, options)
    }

    /// Takes over a mount of this stack that the test made by a command of its own, so that it is
    /// taken down and checked like any other; `said` is what the command said.
    pub fn adopt(&self, said: Outcome) -> Mount {
        let mounted = super::is_mounted(self.mnt());
        assert!(mounted, "nothing mounted at {}: {said:?}", self.mnt().display());
        let lowers = super::checks::lowers_before(self);
        Mount::new(self.clone(), Target::Layerfs, said, lowers)
    }

    fn try_mount_as(&self, target: Target, options: &[&str]) -> Result<Mount, Outcome> {
        let before = super::checks::lowers_before(self);
        let limit = Duration::from_secs(30);
        let outcome = match target {
            Target::Layerfs => run(&mut self.layerfs_command(options), limit),
            Target::KernelOverlay => mount_overlay(&self.kernel_options(options), self.mnt()),
            Target::Plain => self.fill_plain(),
        };
        // A suite that was to run over io_uring must not run on the device unseen.
        assert!(
            !over_io_uring() || !outcome.stderr.contains("io_uring:"),
            "LAYERFS_TEST_TARGET=io_uring: {}",
            outcome.stderr
        );
        if outcome.success() { Ok(Mount::new(self.clone(), target, outcome, before)) } else { Err(outcome) }
    }

    /// The command that mounts this stack with layerfs in the background.
    pub fn layerfs_command(&self, options: &[&str]) -> Command {
        let mut all = self.options();
        if over_io_uring() {
            all += ",io_uring";
        }
        for option in options {
            all += ",";
            all += option;
        }
        let mut command = process::layerfs_command();
        command.arg("layerfs").arg(self.mnt()).arg("-o").arg(all);
        command
    }

    /// The options for the kernel's overlay that come nearest to what layerfs does, and these.
    fn kernel_options(&self, options: &[&str]) -> String {
        let mut all = self.options();
        let defaults = ["redirect_dir=on", "metacopy=on", "index=on", "xino=on"];
        let key = |option: &str| option.split('=').next().unwrap().to_owned();
        for option in defaults {
            if !options.iter().any(|given| key(given) == key(option)) {
                all += &format!(",{option}");
            }
        }
        let unknown = ["debug", "fsync", "writeback", "threads"];
        for option in options.iter().filter(|option| !unknown.contains(&key(option).as_str())) {
            all += &format!(",{option}");
        }
        all
    }

    /// Copies the merged tree into the mount point, once.
    fn fill_plain(&self) -> Outcome {
        let empty = fs::read_dir(self.mnt()).unwrap().next().is_none();
        let upper = std::iter::once(&self.shared.upper).filter(|_| !self.shared.read_only);
        let layers = self.shared.lowers.iter().rev().chain(upper);
        let mut outcome = run(&mut Command::new("true"), Duration::from_secs(10));
        for layer in layers.filter(|_| empty) {
            let mut copy = Command::new("cp");
            copy.arg("-a").arg(layer.join(".")).arg(self.mnt());
            outcome = run(&mut copy, Duration::from_secs(60));
            if !outcome.success() {
                break;
            }
        }
        outcome
    }
}

/// Where tests make their directories.
pub fn test_dir() -> PathBuf {
    let dir = std::env::var_os("LAYERFS_TEST_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let kind = rustix::fs::statfs(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let overlay = 0x794c_7630;
    assert!(
        kind.f_type != overlay,
        "missing prerequisite: {} is on an overlay; set LAYERFS_TEST_DIR to an ext4 directory",
        dir.display()
    );
    dir
}

/// Writes a file with its missing parent directories; the mode is 0644.
pub fn write(path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}
