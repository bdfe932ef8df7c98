//! Comparisons that give a readable difference instead of a panic, and small tools of a run.

use crate::harness::{layerfs_command, run, run_ok};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The lines only one of two texts has, or nothing if they are equal.
pub(crate) fn same_text(left_name: &str, left: &str, right_name: &str, right: &str) -> Result<(), String> {
    if left == right {
        return Ok(());
    }
    let mut out = format!("{left_name} (-) and {right_name} (+) show different trees:\n");
    for (sign, one, other) in [('-', left, right), ('+', right, left)] {
        let others: Vec<&str> = other.lines().collect();
        for line in one.lines().filter(|line| !others.contains(line)) {
            out += &format!("{sign} {line}\n");
        }
    }
    Err(out)
}

/// Every object keeps its inode number from the first to the last sight of it (I1), and no two
/// objects have one number at a time (I2).
pub(crate) fn same_identity(
    name: &str,
    known: &mut HashMap<u64, u64>,
    plain: &BTreeMap<String, u64>,
    union: &BTreeMap<String, u64>,
) -> Result<(), String> {
    let mut owner: HashMap<u64, (u64, &str)> = HashMap::new();
    for (path, ino) in plain {
        let Some(shown) = union.get(path) else {
            continue;
        };
        let before = *known.entry(*ino).or_insert(*shown);
        if before != *shown {
            return Err(format!("{name}: /{path}: st_ino was {before}, is now {shown}"));
        }
        let (other, at) = *owner.entry(*shown).or_insert((*ino, path));
        if other != *ino {
            return Err(format!("{name}: /{path} and /{at} both have st_ino {shown}"));
        }
    }
    Ok(())
}

/// Copies a tree with everything it has.
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    run_ok("cp", &[OsStr::new("-a"), from.join(".").as_os_str(), to.as_os_str()]);
}

/// Copies the layers of a run to a directory, for a look at them.
pub(crate) fn keep(lowers: &[PathBuf], dir: &Path) {
    for lower in lowers {
        let copy = dir.join(lower.file_name().unwrap());
        std::fs::create_dir_all(&copy).unwrap();
        copy_tree(lower, &copy);
    }
}

/// Keeps an object alive without opening it.
pub(crate) fn hold(path: &Path) -> OwnedFd {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).unwrap()
}

/// A mount of layerfs over directories that are not those of one stack.
pub(crate) struct LayerfsMount {
    at: PathBuf,
}

impl LayerfsMount {
    pub(crate) fn new(lowers: &[PathBuf], upper: &Path, work: &Path, at: &Path) -> LayerfsMount {
        let lowers: Vec<String> = lowers.iter().map(|lower| lower.display().to_string()).collect();
        let (lowers, upper, work) = (lowers.join(":"), upper.display(), work.display());
        let options = format!("lowerdir={lowers},upperdir={upper},workdir={work}");
        let mut command = layerfs_command();
        command.arg("layerfs").arg(at).arg("-o").arg(options);
        LayerfsMount::by(&mut command, at)
    }

    /// Mounts by a command that mounts at `at`.
    pub(crate) fn by(command: &mut Command, at: &Path) -> LayerfsMount {
        let outcome = run(command, Duration::from_secs(30));
        assert!(outcome.success(), "{command:?}: {outcome:?}");
        LayerfsMount { at: at.to_owned() }
    }
}

impl Drop for LayerfsMount {
    fn drop(&mut self) {
        let lazy: &[&str] = if std::thread::panicking() { &["-l"] } else { &[] };
        let outcome = run(Command::new("umount").args(lazy).arg(&self.at), Duration::from_secs(30));
        if !outcome.success() {
            eprintln!("umount {}: {}", self.at.display(), outcome.stderr);
        }
    }
}
