//! What the machine must have; whatever is missing fails the test with the way out.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::OnceLock;

/// Panics unless the tests run as root and /dev/fuse can be opened by everybody.
pub fn prerequisites() {
    static PROBLEM: OnceLock<Option<String>> = OnceLock::new();
    if let Some(problem) = PROBLEM.get_or_init(find_problem) {
        panic!("missing prerequisite: {problem}");
    }
}

fn find_problem() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("the suite mounts and must run as root".to_owned());
    }
    match std::fs::metadata("/dev/fuse") {
        Err(error) => Some(format!("/dev/fuse: {error}; load the fuse module")),
        Ok(meta) if meta.permissions().mode() & 0o666 != 0o666 => {
            Some("/dev/fuse is not for everybody; chmod 666 /dev/fuse".to_owned())
        }
        Ok(_) => None,
    }
}

/// Whether root here is root of a user namespace only, so that the host's root may do more.
pub fn in_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// Panics unless `program` is on the PATH or in the system's directories of programs.
pub fn need_program(program: &str, package: &str) {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path
        .split(':')
        .chain(["/sbin", "/usr/sbin", "/bin", "/usr/bin"])
        .any(|dir| Path::new(dir).join(program).exists());
    assert!(found, "missing prerequisite: {program}; apt-get install {package}");
}
