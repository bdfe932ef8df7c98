//! The writable layer: the upper directory with its workdir.
//!
//! On disk it is the kernel's overlayfs:
//!
//! ```text
//! UPPER/…                 objects, whiteouts (see [`super::whiteout`]), marks as xattrs
//! WORKDIR/#apart-N        directories on their way to the root (see [`super::apart`])
//! WORKDIR/work/#N         staged objects, and one whiteout that all others are links of
//! WORKDIR/index/HANDLE    a link to each copied-up file that had several names in a lower
//! ```
//!
//! UPPER and WORKDIR are locked (flock) while mounted; `work` is emptied when a mount begins.

use super::apart::Apart;
use super::dir::list_directory;
use super::probe::{Features, probe};
use super::staged::{Staged, remove_tree};
use super::workdir::{lock, open_index, open_work};
use super::{Entry, Finding, Found, Reading, read_marks};
use crate::semantics::names::{Mark, MarkSpace};
use crate::semantics::owners::OwnerXattr;
use crate::sys::{
    AsFd, BorrowedFd, Errno, OwnedFd, Ref, RenameHow, Result, SysError, link_object, make_device, make_dir,
    make_node, make_symlink, open_directory, remove_xattr, rename, stat,
};
use crate::types::{DeviceNumber, FileKind, WhiteoutForm};
use parking_lot::Mutex;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Why an upper cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UpperError {
    /// Another mount uses the directory.
    #[error("in use by another mount")]
    Busy,
    /// Upper and workdir are on different filesystems.
    #[error("workdir and upperdir must be on one filesystem")]
    OtherFilesystem,
    /// The filesystem refuses whiteouts of the form that is asked for.
    #[error("the filesystem of upperdir cannot hold whiteouts of this form ({0}): leave whiteouts= out")]
    NoWhiteouts(SysError),
    /// The filesystem refuses whiteouts of any form.
    #[error("the filesystem of upperdir holds no whiteouts of any form: use another")]
    NoForm,
    /// The filesystem refuses the xattr for owners.
    #[error("the filesystem of upperdir takes no xattr for owners ({0}): as a user try xattr_permissions=2")]
    NoOwners(SysError),
    /// A step failed.
    #[error(transparent)]
    Sys(#[from] SysError),
}

/// How an upper is to be used.
#[derive(Clone, Copy, Debug, Default)]
pub struct UpperUse {
    /// Marks are written as `user.overlay.*` even if the others can be.
    pub only_user: bool,
    /// Hard links of lowers are kept.
    pub index: bool,
    /// The form of whiteouts; `None`: the first that can be written.
    pub whiteouts: Option<WhiteoutForm>,
    /// Owners and modes are kept in xattrs: 1 in that of root, 2 in a user's, 0 only if the upper does so.
    pub permissions: u32,
}

/// The writable layer.
#[derive(Debug)]
pub struct Upper {
    root: OwnedFd,
    work: OwnedFd,
    index: Option<OwnedFd>,
    device: u64,
    features: Features,
    owners: Option<OwnerXattr>,
    apart: Option<Apart>,
    next: AtomicU64,
    /// Name in `work` of the whiteout that all others are links of.
    whiteout: Mutex<Option<Vec<u8>>>,
    /// Upper and workdir, held for their locks.
    locks: [OwnedFd; 2],
}

impl Upper {
    /// Opens, locks and cleans an upper and its workdir.
    pub fn open(upper: &Path, workdir: &Path, how: UpperUse) -> std::result::Result<Self, UpperError> {
        let root = open_directory(upper)?;
        let base = open_directory(workdir)?;
        let (root_id, _) = stat(Ref::Fd(root.as_fd()))?;
        let (base_id, _) = stat(Ref::Fd(base.as_fd()))?;
        if root_id.dev != base_id.dev {
            return Err(UpperError::OtherFilesystem);
        }
        let locks = [lock(&root)?, lock(&base)?];
        let (work, apart) = open_work(locks[1].as_fd(), locks[0].as_fd())?;
        let mut upper = Upper {
            root,
            work,
            index: None,
            device: root_id.dev,
            features: Features::LEAST,
            owners: None,
            apart,
            next: AtomicU64::new(0),
            whiteout: Mutex::new(None),
            locks,
        };
        upper.owners = upper.choose_owners(how.permissions)?;
        upper.features = probe(&upper, how.only_user, how.whiteouts)?;
        if upper.whiteouts() == WhiteoutForm::File && !upper.features.beside {
            return Err(UpperError::NoForm);
        }
        let tried = upper.whiteouts() == WhiteoutForm::Device && upper.features.devices;
        if upper.whiteouts() != WhiteoutForm::File && !tried {
            upper.stage(|work, name| upper.new_whiteout(work, name)).map_err(UpperError::NoWhiteouts)?;
        }
        if upper.whiteouts() == WhiteoutForm::Xattr {
            upper.announce_marked_whiteouts()?;
        }
        if how.index && upper.features.marks.is_some() && upper.features.links {
            upper.index = Some(open_index(base.as_fd())?);
        }
        Ok(upper)
    }

    /// The upper directory.
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// The directory of staged objects.
    pub fn work(&self) -> BorrowedFd<'_> {
        self.work.as_fd()
    }

    /// Whether a new directory of the root is to be staged [apart](Self::stage_dir_apart) although its name
    /// is free.
    pub fn puts_apart(&self) -> bool {
        self.apart.as_ref().is_some_and(Apart::takes_one)
    }

    /// From now on the root hands on what it has.
    pub fn root_flags_set(&self) {
        self.apart.iter().for_each(Apart::takes_no_more);
    }

    /// The directory of index entries, if hard links are kept.
    pub fn index(&self) -> Option<BorrowedFd<'_>> {
        self.index.as_ref().map(AsFd::as_fd)
    }

    /// The same for an object of this kind: user xattrs, and so marks in them, are for files and
    /// directories alone.
    pub fn index_for(&self, kind: FileKind) -> Option<BorrowedFd<'_>> {
        let marked = self.marks() == Some(MarkSpace::Trusted) || kind == FileKind::Regular;
        self.index().filter(|_| marked)
    }

    /// The device number of its filesystem.
    pub fn device(&self) -> u64 {
        self.device
    }

    /// Where marks are written; `None` if the filesystem takes none.
    pub fn marks(&self) -> Option<MarkSpace> {
        self.features.marks
    }

    /// Writes a mark; EOPNOTSUPP where the filesystem takes none.
    pub fn mark(&self, object: Ref<'_>, mark: Mark, value: &[u8]) -> Result<()> {
        match self.features.marks {
            Some(space) => super::write_mark(object, space, mark, value),
            None => Err(SysError { call: "lsetxattr", errno: Errno::OPNOTSUPP }),
        }
    }

    /// Removes a mark, in whichever dialects it stands.
    pub fn unmark(&self, object: Ref<'_>, mark: Mark) -> Result<()> {
        for space in MarkSpace::ALL {
            match remove_xattr(object, &mark.xattr(space)) {
                Err(e) if !matches!(e.errno, Errno::NODATA | Errno::PERM | Errno::OPNOTSUPP) => {
                    return Err(e);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The xattr in which owners and modes are kept, if not in the inodes.
    pub fn owners(&self) -> Option<OwnerXattr> {
        self.owners
    }

    /// What its filesystem can do.
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// Where the kernel is to look for marked files as whiteouts, once this is a lower of its own mounts.
    fn announce_marked_whiteouts(&self) -> Result<()> {
        let marks = read_marks(Ref::Fd(self.root()))?;
        match marks.opaque || marks.xattr_whiteouts {
            true => Ok(()),
            false => self.mark(Ref::Fd(self.root()), Mark::Opaque, b"x"),
        }
    }

    /// Stages an object, made by `make` under a name that is not taken.
    pub(super) fn stage(&self, make: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<()>) -> Result<Staged<'_>> {
        self.stage_as("#", make)
    }

    /// The same with a name that begins so.
    pub(super) fn stage_as(
        &self,
        prefix: &str,
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<()>,
    ) -> Result<Staged<'_>> {
        loop {
            let name = format!("{prefix}{:x}", self.next.fetch_add(1, Ordering::Relaxed)).into_bytes();
            match make(self.work(), &name) {
                Ok(()) => return Ok(Staged::new(self, self.work(), name)),
                Err(e) if e.errno == Errno::EXIST => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Renames in the upper. Where the filesystem cannot refuse to replace a target, it is looked at
    /// first: nobody else makes names here, and the directory's lock is held.
    pub(super) fn rename(
        &self,
        from: (BorrowedFd<'_>, &[u8]),
        to: (BorrowedFd<'_>, &[u8]),
        how: RenameHow,
    ) -> Result<()> {
        if how != RenameHow::NoReplace || self.features.no_replace {
            return rename(from.0, from.1, to.0, to.1, how);
        }
        match stat(Ref::At(to.0, to.1)) {
            Ok(_) => Err(SysError { call: "renameat2", errno: Errno::EXIST }),
            Err(e) if e.errno == Errno::NOENT => rename(from.0, from.1, to.0, to.1, RenameHow::Replace),
            Err(e) => Err(e),
        }
    }

    /// The name in `work` of the whiteout that all others are links of.
    pub(super) fn shared_whiteout(&self) -> &Mutex<Option<Vec<u8>>> {
        &self.whiteout
    }

    /// Stages a directory.
    pub fn stage_dir(&self, mode: u32) -> Result<Staged<'_>> {
        self.stage(|dir, name| make_dir(dir, name, mode))
    }

    /// Stages a directory in a place of its own on disk, if the filesystem has such.
    pub fn stage_dir_apart(&self, mode: u32) -> Result<Staged<'_>> {
        let Some(apart) = &self.apart else {
            return self.stage_dir(mode);
        };
        let (workdir, name) = (self.locks[1].as_fd(), apart.new_name());
        make_dir(workdir, &name, mode)?;
        Ok(Staged::new(self, workdir, name))
    }

    /// Stages a node of any other kind but a symlink.
    pub fn stage_node(&self, kind: FileKind, mode: u32, rdev: DeviceNumber) -> Result<Staged<'_>> {
        self.stage(|dir, name| match kind {
            FileKind::CharDevice | FileKind::BlockDevice => make_device(dir, name, kind, mode, rdev),
            _ => make_node(dir, name, kind, mode),
        })
    }

    /// Stages a symlink.
    pub fn stage_symlink(&self, target: &[u8]) -> Result<Staged<'_>> {
        self.stage(|dir, name| make_symlink(dir, name, target))
    }

    /// Stages a second name of an object.
    pub fn stage_link(&self, object: Ref<'_>) -> Result<Staged<'_>> {
        self.stage(|work, staged| link_object(object, work, staged))
    }

    /// Takes an object out of the tree in one step, then removes it and all below it.
    pub fn take_away(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        self.stage(|work, staged| self.rename((dir, name), (work, staged), RenameHow::NoReplace)).map(drop)
    }

    /// Calls `each` for every entry of an upper directory; answers whether a file in it makes it
    /// opaque. `mixed`: it may hold copies of lower objects, so each entry comes with its marks.
    pub fn list(
        &self,
        dir: &OwnedFd,
        xattr_whiteouts: bool,
        mixed: bool,
        each: &mut dyn FnMut(Entry<'_>, Option<&Found>),
    ) -> Result<bool> {
        let mut failed = None;
        let reading = Reading { xattr_whiteouts, ..Reading::default() };
        let mixed = mixed || self.owners.is_some();
        let opaque = list_directory(dir, self.device, reading, &mut |entry| {
            if !mixed || entry.whiteout {
                return each(entry, None);
            }
            match self.find(Ref::At(dir.as_fd(), entry.name), xattr_whiteouts) {
                Ok(Finding::Found(found)) => each(Entry { kind: found.attr.kind, ..entry }, Some(&found)),
                Ok(_) => {}
                Err(e) => failed = failed.or(Some(e)),
            }
        })?;
        failed.map_or(Ok(opaque), Err)
    }

    /// Leaves nothing in workdir, and it as it was. More may be done after it.
    pub fn close(&self) {
        if let Some(apart) = &self.apart {
            apart.end(self.locks[1].as_fd());
        }
        if let Some(whiteout) = self.whiteout.lock().take()
            && let Err(e) = self.discard(&whiteout)
        {
            log::warn!("left in workdir: {}: {e}", String::from_utf8_lossy(&whiteout));
        }
    }

    /// Removes what is staged under a name.
    pub(super) fn discard(&self, name: &[u8]) -> Result<()> {
        remove_tree(self.work(), name)
    }
}

impl Drop for Upper {
    fn drop(&mut self) {
        self.close();
    }
}
