//! Where on disk new objects lie: apart from what was just removed (rule M21, decision 0006).
//!
//! ext4 puts a directory that is made in a "top" directory ([`set_top`]) into the block group with the fewest
//! directories, beginning at a hash of its name, and what is made below it beside it. So while workdir
//! is one, `work` is made in it under a name that is new at each mount, and so are the first directories of
//! the upper's root, each in a place of its own: what is removed below one does not slow down another.

use super::workdir::WORK;
use crate::semantics::acl;
use crate::sys::{
    BorrowedFd, Ref, RenameHow, Result, get_xattr_if_any, hands_nothing_on, make_dir, rename, set_top, stat,
};
use crate::types::S_ISGID;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// To find a place takes ext4 a third of a millisecond, so that the root gets only so many directories in
/// this way.
const DIRECTORIES: u32 = 64;

/// Workdir, while what is made in it is put apart.
#[derive(Debug)]
pub(super) struct Apart {
    /// It was so before.
    was_top: bool,
    /// How many directories of the root may still be made so.
    left: AtomicU32,
    number: AtomicU32,
}

impl Apart {
    /// What the names of directories in workdir begin with that are not yet where they belong.
    pub(super) const PREFIX: &'static [u8] = b"#apart-";

    /// Puts a new directory in the place of `work`, which is empty or not there; `None` where the
    /// filesystem is not ext4. Where upper or workdir hand something on to what is made in them, directories
    /// of the root are made in place.
    pub(super) fn begin(workdir: BorrowedFd<'_>, upper: BorrowedFd<'_>) -> Result<Option<Self>> {
        let Some(was_top) = set_top(workdir, true)? else {
            return Ok(None);
        };
        let mut apart = Apart { was_top, left: AtomicU32::new(0), number: AtomicU32::new(0) };
        let name = apart.new_name();
        let moved = make_dir(workdir, &name, 0o700)
            .and_then(|()| rename(workdir, &name, workdir, WORK, RenameHow::Replace))
            .and_then(|()| {
                Ok(hands_nothing_on(workdir)? && hands_nothing_on(upper)? && !has_heirs(workdir)?)
            });
        match moved {
            Ok(plain) => apart.left = AtomicU32::new(if plain { DIRECTORIES } else { 0 }),
            Err(_) => apart.end(workdir),
        }
        moved.map(|_| Some(apart))
    }

    /// A name that is new, and so leads to a place that is.
    pub(super) fn new_name(&self) -> Vec<u8> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        [Self::PREFIX, format!("{:x}.{number:x}", now.as_nanos()).as_bytes()].concat()
    }

    /// Whether one more directory of the root is to be made so.
    pub(super) fn takes_one(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// No more directories of the root are to be.
    pub(super) fn takes_no_more(&self) {
        self.left.store(0, Ordering::Relaxed);
    }

    /// Leaves workdir as it was.
    pub(super) fn end(&self, workdir: BorrowedFd<'_>) {
        if !self.was_top
            && let Err(e) = set_top(workdir, false)
        {
            log::debug!("workdir stays a top directory: {e}");
        }
    }
}

/// Whether what is made in the directory gets its group or an ACL. Of the upper's root a staged directory
/// gets both.
fn has_heirs(workdir: BorrowedFd<'_>) -> Result<bool> {
    let (_, attr) = stat(Ref::Fd(workdir))?;
    let default = get_xattr_if_any(Ref::Fd(workdir), acl::DEFAULT)?;
    Ok(attr.mode & S_ISGID != 0 || default.is_some())
}
