//! The programs of others: umoci, skopeo, buildah, podman.

use super::LIMIT;
use crate::harness::{need_program, run};
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// Runs a program that must succeed and gives its stdout. It keeps its own files below `home`.
pub fn tool<A: AsRef<OsStr>>(home: &Path, program: &str, arguments: &[A]) -> String {
    need_program(program, program);
    let mut command = Command::new(program);
    command.args(arguments).env("HOME", home).env("STORAGE_DRIVER", "vfs");
    let outcome = run(&mut command, LIMIT);
    assert!(outcome.success(), "{command:?}: {outcome:?}");
    outcome.stdout
}

/// skopeo copy, whatever the machine's policy says.
pub fn skopeo_copy(home: &Path, from: &str, to: &str, further: &[&str]) {
    let mut arguments = vec!["--insecure-policy", "copy", "--quiet"];
    arguments.extend(further);
    arguments.extend([from, to]);
    tool(home, "skopeo", &arguments);
}

/// podman or buildah with a store below `home`.
pub fn with_store<A: AsRef<OsStr>>(home: &Path, program: &str, arguments: &[A]) -> String {
    let (store, run) = (home.join("store"), home.join("run"));
    let mut all = vec![OsStr::new("--root"), store.as_os_str(), OsStr::new("--runroot"), run.as_os_str()];
    all.extend(arguments.iter().map(AsRef::as_ref));
    tool(home, program, &all).trim_end().to_owned()
}

/// The tree of an image of an OCI directory as umoci makes it, in `bundle`/rootfs.
pub fn umoci_unpack(home: &Path, layout: &Path, tag: &str, bundle: &Path) -> std::path::PathBuf {
    let image = format!("{}:{tag}", layout.display());
    tool(home, "umoci", &[OsStr::new("unpack"), OsStr::new("--image"), image.as_ref(), bundle.as_os_str()]);
    bundle.join("rootfs")
}
