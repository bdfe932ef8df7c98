//! Owner and mode of upper objects: in the inode, or in an xattr that is shown in its place (M15).
//!
//! 1. *Who has no privilege cannot give files away.* With [`OwnerXattr`] the backing object keeps the
//!    owner it was made with, and a mode that lets us use it; what is shown is in the xattr.
//! 2. *Some objects take no xattr* (a user's xattrs stand on files and directories only): there what
//!    can be set in the inode is set.

use super::marks::{Reading, find, owners_of};
use super::{Finding, Staged, StagedCopy, Upper, UpperError};
use crate::semantics::copy_up::without_set_id;
use crate::semantics::owners::{OwnerXattr, Owners};
use crate::sys::{
    Errno, Ref, Result, SysError, XattrSet, chmod, chown, open_tmpfile, remove_xattr, set_xattr, stat,
};
use crate::types::{Attr, DeviceNumber, FileKind, RealId};

/// Added to the mode of the backing object, so that whoever serves the mount can use it.
const USABLE: u32 = 0o755;
const CAPABILITY: &[u8] = b"security.capability";

/// A change of owner and mode; what is `None` stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct NewOwners {
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Permission bits.
    pub mode: Option<u32>,
}

fn refused(e: &SysError) -> bool {
    matches!(e.errno, Errno::PERM | Errno::OPNOTSUPP)
}

impl Upper {
    /// Finds out which xattr is used: the one asked for by `xattr_permissions=`, and written to the root
    /// if that has none; without it the one that the root has.
    pub(super) fn choose_owners(
        &mut self,
        permissions: u32,
    ) -> std::result::Result<Option<OwnerXattr>, UpperError> {
        let root = Ref::Fd(self.root());
        let there = owners_of(root)?;
        let wanted = match permissions {
            0 => return Ok(there),
            1 => OwnerXattr::Privileged,
            // That of containers/storage where it made the directory, else that of fuse-overlayfs 1.x.
            _ if there == Some(OwnerXattr::Containers) => OwnerXattr::Containers,
            _ => OwnerXattr::User,
        };
        if crate::sys::get_xattr(root, wanted.name())?.is_none() {
            let (_, attr) = stat(root)?;
            let value = Owners::of(&attr).to_bytes(attr.kind);
            set_xattr(root, wanted.name(), &value, XattrSet::Any).map_err(UpperError::NoOwners)?;
        }
        Ok(Some(wanted))
    }

    /// What stands at a name of the upper.
    pub fn find(&self, object: Ref<'_>, xattr_whiteouts: bool) -> Result<Finding> {
        find(object, Reading { xattr_whiteouts, all_marks: true, owners: self.owners() })
    }

    /// Identity and attributes of an object that is known to be no whiteout.
    pub fn stat(&self, object: Ref<'_>) -> Result<(RealId, Attr)> {
        let (real, mut attr) = stat(object)?;
        if let Some(owners) = self.read_owners(object)? {
            owners.apply(&mut attr);
        }
        Ok((real, attr))
    }

    fn read_owners(&self, object: Ref<'_>) -> Result<Option<Owners>> {
        let Some(xattr) = self.owners() else {
            return Ok(None);
        };
        match crate::sys::get_xattr(object, xattr.name()) {
            Ok(value) => Ok(value.as_deref().and_then(Owners::parse)),
            Err(e) if refused(&e) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// The mode in which an object that is to show `mode` is made.
    pub fn backing_mode(&self, mode: u32) -> u32 {
        if self.owners().is_some() { mode & 0o777 | USABLE } else { mode }
    }

    /// Stages an object that will be given its owners: a special file that cannot be made, and a device
    /// that would be a whiteout, as the empty file that stands for it.
    pub fn stage_object(&self, kind: FileKind, mode: u32, rdev: DeviceNumber) -> Result<Staged<'_>> {
        let whiteout = kind == FileKind::CharDevice && rdev == DeviceNumber::default();
        if self.owners().is_none() || kind == FileKind::Regular {
            return self.stage_node(kind, mode, rdev);
        }
        let stand_in = || self.stage_node(FileKind::Regular, mode, DeviceNumber::default());
        if whiteout {
            return stand_in();
        }
        match self.stage_node(kind, mode, rdev) {
            Err(e) if refused(&e) => stand_in(),
            staged => staged,
        }
    }

    /// Stages a copy of such an object.
    pub fn stage_copy(&self, kind: FileKind, mode: u32, rdev: DeviceNumber) -> Result<StagedCopy<'_>> {
        match kind {
            FileKind::Regular if self.features().nameless => {
                open_tmpfile(self.work(), mode).map(StagedCopy::Nameless)
            }
            _ => self.stage_object(kind, mode, rdev).map(StagedCopy::Named),
        }
    }

    /// Changes owner, then mode: chown clears set-id bits.
    pub fn set_owners(&self, object: Ref<'_>, new: NewOwners) -> Result<()> {
        match self.owners() {
            None => set_real_owners(object, new),
            Some(xattr) => self.set_kept_owners(object, xattr, new),
        }
    }

    fn set_kept_owners(&self, object: Ref<'_>, xattr: OwnerXattr, new: NewOwners) -> Result<()> {
        let (_, attr) = self.stat(object)?;
        let mut owners = Owners::of(&attr);
        if new.uid.is_some() || new.gid.is_some() {
            owners.uid = new.uid.unwrap_or(owners.uid);
            owners.gid = new.gid.unwrap_or(owners.gid);
            if attr.kind != FileKind::Directory {
                owners.mode = without_set_id(owners.mode);
                drop_capability(object)?;
            }
        }
        owners.mode = new.mode.map_or(owners.mode, |mode| mode & 0o7777);
        let (_, backing) = stat(object)?;
        self.write_owners(object, xattr, &backing, owners, new)
    }

    /// Gives an object that was just made, and is as `made` says, the owners it shows, and if it stands for
    /// another kind that.
    pub fn give_owners(&self, object: Ref<'_>, made: &Attr, owners: Owners) -> Result<()> {
        let differs = |wanted: u32, is: u32| Some(wanted).filter(|wanted| *wanted != is);
        let mode = differs(owners.mode, made.mode & 0o7777).filter(|_| made.kind != FileKind::Symlink);
        let new = NewOwners { uid: differs(owners.uid, made.uid), gid: differs(owners.gid, made.gid), mode };
        match self.owners() {
            None => set_real_owners(object, new),
            Some(xattr) => self.write_owners(object, xattr, made, owners, new),
        }
    }

    fn write_owners(
        &self,
        object: Ref<'_>,
        xattr: OwnerXattr,
        backing: &Attr,
        owners: Owners,
        new: NewOwners,
    ) -> Result<()> {
        let real = backing.kind != FileKind::Regular && backing.kind != FileKind::Directory;
        // A real device needs no word on what it stands for.
        let owners = Owners { stands_for: owners.stands_for.filter(|_| !real), ..owners };
        match set_xattr(object, xattr.name(), &owners.to_bytes(backing.kind), XattrSet::Any) {
            Err(e) if real && refused(&e) => match set_real_owners(object, new) {
                Err(e) if refused(&e) => Ok(()),
                done => done,
            },
            done => done,
        }
    }
}

/// Of a symlink no mode may be asked for: it has none, and that of its target is not meant.
fn set_real_owners(object: Ref<'_>, new: NewOwners) -> Result<()> {
    if new.uid.is_some() || new.gid.is_some() {
        chown(object, new.uid, new.gid)?;
    }
    new.mode.map_or(Ok(()), |mode| chmod(object, mode & 0o7777))
}

/// chown takes file capabilities away.
fn drop_capability(object: Ref<'_>) -> Result<()> {
    match remove_xattr(object, CAPABILITY) {
        Err(e) if e.errno != Errno::NODATA && !refused(&e) => Err(e),
        _ => Ok(()),
    }
}
