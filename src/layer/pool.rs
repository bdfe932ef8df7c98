//! A bounded pool of open descriptors.

use crate::sys::{OwnedFd, Result};
use crate::types::Ino;
use quick_cache::sync::Cache;
use std::sync::Arc;

/// What a descriptor in the pool is open on. The key names the place as well as the node: after a
/// copy-up the lower's descriptor can no longer be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FdKey {
    /// A directory of a lower layer, by its number.
    LowerDir(u64),
    /// The upper directory of a node.
    UpperDir(Ino),
    /// The data of a node in a lower layer.
    LowerData(Ino),
    /// The data of a node in the upper.
    UpperData(Ino),
}

/// Open descriptors by what they are open on; the least used are closed when there are too many.
#[derive(Debug)]
pub struct FdPool {
    cache: Cache<FdKey, Arc<OwnedFd>>,
}

impl FdPool {
    /// A pool for a process that may have `limit` files open.
    pub fn new(limit: u64) -> Self {
        // Half is left for objects held open because they have no name any more.
        let capacity = usize::try_from(limit / 2).unwrap_or(usize::MAX).clamp(64, 4096);
        FdPool { cache: Cache::new(capacity) }
    }

    /// The descriptor for `key`, opened by `open` if the pool has none.
    pub fn get(&self, key: FdKey, open: impl FnOnce() -> Result<OwnedFd>) -> Result<Arc<OwnedFd>> {
        if let Some(fd) = self.cache.get(&key) {
            return Ok(fd);
        }
        // Two threads may open the same object at once: both descriptors are good, one stays.
        let fd = Arc::new(open()?);
        self.cache.insert(key, fd.clone());
        Ok(fd)
    }

    /// The descriptor for `key` if it is open.
    pub fn peek(&self, key: FdKey) -> Option<Arc<OwnedFd>> {
        self.cache.get(&key)
    }

    /// Keeps a descriptor that was opened elsewhere.
    pub fn put(&self, key: FdKey, fd: Arc<OwnedFd>) {
        self.cache.insert(key, fd);
    }

    /// Lets go of the descriptor for `key`.
    pub fn remove(&self, key: FdKey) {
        self.cache.remove(&key);
    }

    /// Lets go of all that is in lowers.
    pub fn forget_lowers(&self) {
        self.cache.retain(|key, _| !matches!(key, FdKey::LowerDir(_) | FdKey::LowerData(_)));
    }

    /// Lets go of all that belongs to a node.
    pub fn forget(&self, ino: Ino, directory: bool) {
        if directory {
            self.cache.remove(&FdKey::UpperDir(ino));
        } else {
            self.cache.remove(&FdKey::LowerData(ino));
            self.cache.remove(&FdKey::UpperData(ino));
        }
    }
}
