//! A second filesystem for a test: one in memory, so that none need be there already.

use super::process::sh;
use std::fs;
use std::path::{Path, PathBuf};

/// A filesystem in memory; unmounted on drop. Make it before the mount that uses it, so that it
/// goes after that.
pub struct Tmpfs(PathBuf);

impl Tmpfs {
    /// Mounts one on `path`, which is made where it is missing; `options` are those of mount(8).
    pub fn at(path: &Path, options: &str) -> Self {
        fs::create_dir_all(path).unwrap();
        sh(&format!("mount -t tmpfs -o mode=755,{options} none \"$1\""), &[path]);
        Self(path.to_owned())
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        sh("umount -l \"$1\"", &[&self.0]);
    }
}
