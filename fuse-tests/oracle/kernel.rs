//! A mount of the kernel's overlayfs over given directories, always taken down again.

use crate::harness::{in_user_namespace, mount_overlay, run};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The options under which the kernel writes and reads everything layerfs does; in a user namespace
/// those under which it does the most.
fn options() -> &'static str {
    if in_user_namespace() { "userxattr" } else { "redirect_dir=on,metacopy=on,index=on" }
}

/// The live mount.
#[derive(Debug)]
pub(crate) struct KernelMount {
    at: PathBuf,
    options: String,
    live: bool,
}

impl KernelMount {
    /// Mounts `lowers` (the topmost first) with an upper and a workdir at `at`.
    pub(crate) fn new(lowers: &[PathBuf], upper: &Path, work: &Path, at: &Path) -> KernelMount {
        let (upper, work) = (upper.display(), work.display());
        let options = format!("lowerdir={},upperdir={upper},workdir={work},{}", joined(lowers), options());
        KernelMount::with(at, options)
    }

    /// Mounts `lowers` without an upper.
    pub(crate) fn read_only(lowers: &[PathBuf], at: &Path) -> KernelMount {
        let options = format!("lowerdir={},redirect_dir=on,metacopy=on", joined(lowers));
        KernelMount::with(at, options)
    }

    fn with(at: &Path, options: String) -> KernelMount {
        let mut mount = KernelMount { at: at.to_owned(), options, live: false };
        mount.again();
        mount
    }

    /// Mounts after [`KernelMount::down`].
    pub(crate) fn again(&mut self) {
        assert!(!self.live, "mounted already");
        let outcome = mount_overlay(&self.options, &self.at);
        let mounted = outcome.success() && crate::harness::is_mounted(&self.at);
        assert!(mounted, "mount -t overlay -o {}: {outcome:?}", self.options);
        self.live = true;
    }

    /// Unmounts; busy is tried again, since a program that another test starts may hold our
    /// descriptors between fork and exec.
    pub(crate) fn down(&mut self) {
        let mut said = String::new();
        let done = crate::harness::wait_until(Duration::from_secs(5), || {
            let outcome = run(Command::new("umount").arg(&self.at), Duration::from_secs(30));
            said = outcome.stderr;
            said.is_empty()
        });
        assert!(done, "umount {}: {said}", self.at.display());
        self.live = false;
    }

    pub(crate) fn path(&self) -> &Path {
        &self.at
    }
}

impl Drop for KernelMount {
    fn drop(&mut self) {
        if self.live && std::thread::panicking() {
            let outcome = run(Command::new("umount").arg("-l").arg(&self.at), Duration::from_secs(30));
            eprint!("{}", outcome.stderr);
        } else if self.live {
            self.down();
        }
    }
}

fn joined(lowers: &[PathBuf]) -> String {
    let lowers: Vec<String> = lowers.iter().map(|lower| lower.display().to_string()).collect();
    lowers.join(":")
}
