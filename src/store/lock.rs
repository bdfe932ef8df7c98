//! The lock of the cache: exclusive while index.json or the blobs change, shared while they are read.

use super::disk::flock;
use super::error::{Result, StoreError};
use super::root::Paths;
use crate::sys::AsFd;
use rustix::fs::FlockOperation;
use std::fs::File;

/// The lock, held until it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Waits for the lock that lets one change the cache.
pub(super) fn exclusive(paths: &Paths) -> Result<Lock> {
    let path = paths.lock();
    let mut options = File::options();
    let opened = options.read(true).write(true).create(true).truncate(false).open(&path);
    let file = opened.map_err(StoreError::io("open", &path))?;
    flock(file.as_fd(), &path, FlockOperation::LockExclusive)?;
    Ok(Lock { _file: file })
}

/// Waits until nobody changes the cache. A cache that has no lock file, and none may be made, is one that
/// nobody changes.
pub(super) fn shared(paths: &Paths) -> Result<Option<Lock>> {
    let path = paths.lock();
    match File::open(&path) {
        Ok(file) => {
            flock(file.as_fd(), &path, FlockOperation::LockShared)?;
            Ok(Some(Lock { _file: file }))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StoreError::io("open", &path)(e)),
    }
}
