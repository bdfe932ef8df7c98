//! The directory in which one running command prepares what it will publish.
//!
//! `layerfs/tmp/NAME` is flocked by its command. Who gets the lock of such a directory knows that its
//! command is dead, and removes it.

use super::disk::{Dir, flock, lossy};
use super::error::{Result, StoreError};
use super::root::Paths;
use crate::sys::{self, Errno};
use rustix::fs::FlockOperation;
use std::ffi::CString;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A directory of our own, removed on drop with the files in it.
#[derive(Debug)]
pub(super) struct WorkDir {
    parent: Dir,
    name: String,
    dir: Dir,
    next: AtomicU64,
    /// Whether another process removes it.
    handed_over: bool,
}

/// Bytes from which on removing files takes a time that shows.
const MUCH: u64 = 64 << 20;
/// How long to wait for the removal of much. Usually it is done by then, and what is free is known.
const PATIENCE: Duration = Duration::from_millis(20);

/// Makes names that this process has not used.
static NEXT: AtomicU64 = AtomicU64::new(0);

impl WorkDir {
    pub(super) fn new(paths: &Paths) -> Result<WorkDir> {
        let parent = Dir::open(&paths.tmp())?;
        let pid = std::process::id();
        loop {
            // A pid comes back after its process died and left this name; the counter goes on then.
            let name = format!("{pid}.{}", NEXT.fetch_add(1, Ordering::Relaxed));
            let path = parent.path().join(&name);
            match sys::make_dir(parent.fd(), name.as_bytes(), 0o700) {
                Ok(()) => {}
                Err(e) if e.errno == Errno::EXIST => continue,
                Err(e) => return Err(StoreError::sys("create", &path)(e)),
            }
            match Dir::open(&path) {
                Ok(dir) => {
                    flock(dir.fd(), &path, FlockOperation::LockExclusive)?;
                    // Between mkdir and flock it looked like the leftover of a dead command.
                    if still_there(&dir, &path)? {
                        return Ok(WorkDir {
                            parent,
                            name,
                            dir,
                            next: AtomicU64::new(0),
                            handed_over: false,
                        });
                    }
                }
                Err(e) if e.is(std::io::ErrorKind::NotFound) => {}
                Err(e) => return Err(e),
            }
        }
    }

    pub(super) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// A file name that nothing in it has yet.
    pub(super) fn fresh_name(&self, kind: &str) -> String {
        format!("{kind}{}", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

impl WorkDir {
    /// Removes it. Where the files are large, the command does not wait until all of it is done: some
    /// filesystems tell the disk of each freed block. A death on the way leaves it to the next command.
    pub(super) fn discard(mut self) -> Result<()> {
        let mut files = Vec::new();
        let mut bytes = 0;
        for name in self.dir.names()? {
            bytes += self.dir.size_of(&lossy(&name))?.unwrap_or(0);
            files.extend(CString::new(name));
        }
        if bytes < MUCH {
            return Ok(());
        }
        let name = CString::new(self.name.as_bytes()).unwrap_or_default();
        match sys::remove_in_background(self.parent.fd(), &name, self.dir.fd(), &files, PATIENCE) {
            Ok(()) => self.handed_over = true,
            // Then it is done at once, by dropping.
            Err(e) => log::debug!("{e}"),
        }
        Ok(())
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if self.handed_over {
            return;
        }
        if let Err(e) = remove(&self.parent, self.name.as_bytes(), &self.dir) {
            // The next command removes it.
            log::warn!("{e}");
        }
    }
}

fn still_there(dir: &Dir, path: &Path) -> Result<bool> {
    let held = rustix::fs::fstat(dir.fd()).map_err(|e| StoreError::io("look at", path)(e.into()))?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.ino(), named.dev()) == (held.st_ino, held.st_dev)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(StoreError::io("look at", path)(e)),
    }
}

/// Removes a work directory, which has files only.
fn remove(parent: &Dir, name: &[u8], dir: &Dir) -> Result<()> {
    for file in dir.names()? {
        dir.remove_file(&file)?;
    }
    match sys::remove_dir(parent.fd(), name) {
        Ok(()) => Ok(()),
        Err(e) if e.errno == Errno::NOENT => Ok(()),
        Err(e) => Err(StoreError::sys("remove", dir.path())(e)),
    }
}

/// Removes the work directories whose command is dead; answers whether there was one. One that cannot be
/// removed stays.
pub(super) fn sweep(paths: &Paths) -> Result<bool> {
    let parent = Dir::open(&paths.tmp())?;
    let mut found = false;
    for name in parent.names()? {
        match sweep_one(&parent, &name) {
            Ok(dead) => found |= dead,
            Err(e) => log::warn!("a leftover stays: {e}"),
        }
    }
    Ok(found)
}

fn sweep_one(parent: &Dir, name: &[u8]) -> Result<bool> {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let dir = match Dir::open(&parent.path().join(OsStr::from_bytes(name))) {
        Ok(dir) => dir,
        Err(e) if e.is(std::io::ErrorKind::NotFound) => return Ok(false),
        Err(e) => return Err(e),
    };
    match flock(dir.fd(), dir.path(), FlockOperation::NonBlockingLockExclusive)? {
        true => remove(parent, name, &dir).map(|()| true),
        false => Ok(false),
    }
}
