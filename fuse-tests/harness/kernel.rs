//! Mounting the kernel's own overlay, the oracle of many tests.

use super::process::{Outcome, run, wait_until};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

/// Mounts an overlay of the kernel with these options at `at`, and says how it went. The kernel
/// calls directories busy for as long as their last mount lives: a namespace that another test
/// makes meanwhile has a copy of it until that test ends. In mount(8)'s words they are then
/// `already mounted or mount point busy`, or `already mounted on` where any other overlay is.
pub fn mount_overlay(options: &str, at: &Path) -> Outcome {
    let mut command = Command::new("mount");
    command.args(["-t", "overlay", "overlay", "-o", options]).arg(at);
    let mut outcome = run(&mut command, LIMIT);
    wait_until(LIMIT, || {
        let busy = !outcome.success() && outcome.stderr.contains("already mounted");
        if busy {
            outcome = run(&mut command, LIMIT);
        }
        !busy
    });
    outcome
}
