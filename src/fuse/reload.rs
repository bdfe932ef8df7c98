//! SIGHUP: what is known of the lowers is forgotten, here and in the kernel (rule M17).
//!
//! 1. *The kernel keeps names, attributes and data for ever.* All that it may have is named to it. Names
//!    are expired, not dropped: it looks each up at its next use, and what is mounted there stays.
//! 2. *It keeps absent names too*, which no node stands for: [`AbsentNames`] remembers those it was told
//!    of. When there are too many, all names are dropped at once, mount points included.

use crate::overlay::{Known, Overlay};
use crate::sys::{AsFd, Errno, FuseNotice, OwnedFd, fuse_notify};
use crate::types::Ino;
use dashmap::DashSet;
use fuser::{INodeNo, Notifier};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// So many absent names are remembered: a few hundred KiB, and enough for what a tree is asked for in vain.
const ABSENT_MAX: usize = 4096;

/// A name, with the number of its directory.
type Name = (Ino, Box<[u8]>);

/// Names that the kernel was told are absent, by the number of their directory. Each lookup of such a
/// name comes here, so that no lock is for all of them, and none is taken once there are too many.
#[derive(Debug, Default)]
pub(super) struct AbsentNames {
    names: DashSet<Name>,
    /// How often one was noted.
    noted: AtomicUsize,
}

impl AbsentNames {
    /// The kernel is told that a directory has no such name.
    pub(super) fn note(&self, dir: Ino, name: &[u8]) {
        if self.noted.load(Ordering::Relaxed) < ABSENT_MAX {
            self.noted.fetch_add(1, Ordering::Relaxed);
            self.names.insert((dir, name.into()));
        }
    }

    /// Forgets them; answers them, and whether there may be more.
    fn take(&self) -> (Vec<Name>, bool) {
        let too_many = self.noted.swap(0, Ordering::Relaxed) >= ABSENT_MAX;
        let names: Vec<_> = self.names.iter().map(|name| name.key().clone()).collect();
        // Only those: one that is noted meanwhile is for the next time.
        names.iter().for_each(|name| drop(self.names.remove(name)));
        (names, too_many)
    }
}

/// All that a reload needs.
pub(super) struct Reloader {
    pub(super) overlay: Arc<Overlay>,
    pub(super) absent: Arc<AbsentNames>,
    pub(super) notifier: Notifier,
    /// A descriptor of the mount's device.
    pub(super) device: OwnedFd,
}

impl Reloader {
    /// Forgets, and has the kernel forget.
    pub(super) fn run(&self) {
        let (absent, too_many) = self.absent.take();
        let known = self.overlay.forget_lowers();
        if too_many {
            self.tell(FuseNotice::AllNames);
        }
        for (dir, name) in &absent {
            self.tell(FuseNotice::Expire(dir.0, name));
        }
        for Known { ino, names } in &known {
            for (dir, name) in names {
                self.tell(FuseNotice::Expire(dir.0, name));
            }
            // Attributes, listings and data. ENOENT: it has none.
            if let Err(e) = self.notifier.inval_inode(INodeNo(ino.0), 0, 0) {
                log::debug!("inode {} is not dropped: {e}", ino.0);
            }
        }
        log::info!("SIGHUP: {} objects and {} absent names are looked up anew", known.len(), absent.len());
    }

    fn tell(&self, notice: FuseNotice<'_>) {
        match fuse_notify(self.device.as_fd(), notice) {
            Err(e) if e.errno != Errno::NOENT && e.errno != Errno::NOTDIR => {
                log::warn!("the kernel may keep old names: {notice:?}: {e}");
            }
            _ => {}
        }
    }
}
