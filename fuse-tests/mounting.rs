//! The program as a person drives it: command line, mount(8), fstab, refusals, endings.

mod dropin;
mod endings;
mod filesystems;
mod invocation;
mod namespaces;
mod options;
mod refresh;
mod refusals;
mod reload;
mod requests;
mod transport;
mod users;

use crate::harness::*;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the program may take to mount, to refuse or to say something.
const LIMIT: Duration = Duration::from_secs(20);

/// Runs layerfs with these arguments, in this directory.
fn layerfs_in(dir: &Path, arguments: &[&OsStr]) -> Outcome {
    run(layerfs_command().args(arguments).current_dir(dir), LIMIT)
}

/// Runs layerfs with these arguments.
fn layerfs(arguments: &[&OsStr]) -> Outcome {
    layerfs_in(Path::new("/"), arguments)
}

/// Asserts success without a word on stderr.
fn assert_silent(outcome: &Outcome) {
    assert!(outcome.success() && outcome.stderr.is_empty(), "{outcome:?}");
}

/// A directory that has the program under test under the name `layerfs`, for the PATH.
fn bin_dir(stack: &Stack) -> PathBuf {
    let dir = stack.base().join("bin");
    std::fs::create_dir(&dir).unwrap();
    // A copy, since an ordinary user may not reach the original.
    sh("cp \"$1\" \"$2\"/layerfs; chmod 755 \"$2\" \"$2\"/layerfs", &[&layerfs_bin(), &dir]);
    dir
}

/// The PATH with this directory before all others.
fn path_with(dir: &Path) -> OsString {
    let mut path = dir.as_os_str().to_owned();
    path.push(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    path
}

/// Two lowers and an upper with one file each, and a file that all three have.
fn three_layers() -> Stack {
    let stack = Stack::new(2);
    for (dir, name) in [(stack.lower(0), "top"), (stack.lower(1), "bottom"), (stack.upper(), "upper")] {
        write(dir.join(name), name);
        write(dir.join("common"), name);
    }
    stack
}

/// Asserts that the mount answers and shows the three layers.
fn assert_three_layers(m: &Mount) {
    for (name, text) in [("top", "top"), ("bottom", "bottom"), ("upper", "upper"), ("common", "upper")] {
        assert_eq!(std::fs::read_to_string(m.join(name)).unwrap(), text, "{name}");
    }
}
