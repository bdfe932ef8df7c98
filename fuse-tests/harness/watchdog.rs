//! No test hangs for ever: a mount that lives too long is aborted, so that whatever waits for it
//! gets an error. The limit is `LAYERFS_TEST_HANG_SECS` (default 300).

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

type Live = Mutex<HashMap<PathBuf, Instant>>;

/// Starts the clock of a mount.
pub fn watch(mount_point: &Path) {
    live().lock().unwrap().insert(mount_point.to_owned(), Instant::now());
}

/// Stops the clock.
pub fn unwatch(mount_point: &Path) {
    live().lock().unwrap().remove(mount_point);
}

/// Ends the FUSE connection of a mount by force; all requests in it answer with an error.
pub fn abort_connection(mount_point: &Path) {
    let Some(minor) = device_minor(mount_point) else {
        return;
    };
    let control = Path::new("/sys/fs/fuse/connections");
    let abort = control.join(minor).join("abort");
    if !abort.exists() {
        let mut mount = std::process::Command::new("mount");
        let mounted = mount.args(["-t", "fusectl", "none"]).arg(control).status();
        drop(mounted);
    }
    if let Err(error) = fs::write(&abort, "1") {
        eprintln!("{}: {error}", abort.display());
    }
}

/// The minor device number of the mount at this place, as text.
fn device_minor(mount_point: &Path) -> Option<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").ok()?;
    table.lines().rev().find_map(|line| {
        let mut words = line.split(' ');
        let device = words.nth(2)?;
        (Path::new(words.nth(1)?) == mount_point && line.contains(" - fuse"))
            .then(|| device.split(':').nth(1).map(str::to_owned))?
    })
}

fn live() -> &'static Live {
    static LIVE: OnceLock<Live> = OnceLock::new();
    LIVE.get_or_init(|| {
        thread::spawn(guard);
        Mutex::default()
    })
}

fn guard() {
    let seconds = std::env::var("LAYERFS_TEST_HANG_SECS").ok().and_then(|s| s.parse().ok());
    let limit = Duration::from_secs(seconds.unwrap_or(300));
    loop {
        thread::sleep(Duration::from_secs(1));
        let mut mounts = live().lock().unwrap();
        let late: Vec<PathBuf> = mounts
            .iter()
            .filter(|(_, start)| start.elapsed() > limit)
            .map(|(path, _)| path.clone())
            .collect();
        for path in late {
            mounts.remove(&path);
            eprintln!("{}: alive for {limit:?}, aborted", path.display());
            abort_connection(&path);
        }
    }
}
