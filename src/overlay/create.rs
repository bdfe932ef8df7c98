//! Making objects: rules D6, D8, A1, A2, A8.
//!
//! Where the name is free the object is made in place, by one call that gives it its owner, mode
//! and inherited ACL at once. Over a whiteout it is staged and takes the whiteout's place. So is a
//! directory of the root where that gives it a better place on disk.

use super::Overlay;
use super::error::{Error, Result};
use super::lookup::{Entry, Resolution, check_new_name};
use super::node::{Node, NodeState};
use super::upper_access::DirFd;
use crate::layer::{Finding, Found, Staged};
use crate::semantics::acl;
use crate::semantics::change::{CreationPlan, NameInfo, UpperName, plan_creation};
use crate::semantics::copy_up::Need;
use crate::semantics::names::Mark;
use crate::semantics::owners::Owners;
use crate::sys::{
    AsFd, Errno, Ref, RenameHow, XattrSet, act_as, chmod, get_xattr_if_any, make_device, make_dir,
    make_symlink, set_xattr, stat, utimens,
};
use crate::types::{Caller, DeviceNumber, FileKind, FileName, Ino, S_ISGID, SetTime};
use std::sync::Arc;

/// What is to be made.
#[derive(Clone, Copy, Debug)]
pub enum NewObject<'a> {
    /// A directory.
    Directory,
    /// A symlink to this target.
    Symlink(&'a [u8]),
    /// A regular file, fifo, socket or device.
    Node(FileKind, DeviceNumber),
}

impl NewObject<'_> {
    fn kind(&self) -> FileKind {
        match self {
            NewObject::Directory => FileKind::Directory,
            NewObject::Symlink(_) => FileKind::Symlink,
            NewObject::Node(kind, _) => *kind,
        }
    }

    /// The number of a device.
    fn rdev(&self) -> DeviceNumber {
        match self {
            NewObject::Node(_, rdev) => *rdev,
            NewObject::Directory | NewObject::Symlink(_) => DeviceNumber::default(),
        }
    }

    /// On disk this would be a whiteout: it is kept as an empty file with a mark.
    fn looks_like_whiteout(&self) -> bool {
        matches!(self, NewObject::Node(FileKind::CharDevice, rdev) if *rdev == DeviceNumber::default())
    }
}

/// The value of the device mark.
pub(super) fn device_mark(kind: FileKind, rdev: DeviceNumber) -> Vec<u8> {
    let letter = if kind == FileKind::BlockDevice { 'b' } else { 'c' };
    format!("{letter} {}:{}", rdev.major, rdev.minor).into_bytes()
}

impl Overlay {
    /// Makes an object.
    pub fn create(
        &self,
        parent: Ino,
        name: &[u8],
        new: NewObject<'_>,
        mode: u32,
        caller: Caller,
    ) -> Result<Entry<'_>> {
        self.writable()?;
        check_new_name(name)?;
        let dir = self.directory(parent)?;
        self.ensure_upper(&dir, Need::Attributes)?;
        let fd = self.upper_dir(&dir)?;
        self.prepare(&dir)?;
        let name: FileName = name.into();
        let mut state = dir.state.write();
        if state.removed {
            return Err(Error::NotFound);
        }
        let default_acl = self.default_acl(&fd, &mut state)?;
        let apart = dir.ino == Ino::ROOT && new.kind().is_dir() && self.upper()?.puts_apart();
        let caller = self.stored_as(caller);
        let want = Want { new, mode, caller, default_acl: default_acl.as_deref(), apart };
        self.make(&fd, &mut state, &name, &want)?;
        match self.find_made(&fd, &name) {
            Ok(found) => self.register_new(&dir, &mut state, &name, found),
            Err(e) => {
                distrust_listing(&mut state);
                Err(e)
            }
        }
    }

    /// What was just made in the upper.
    pub(super) fn find_made(&self, fd: &DirFd, name: &[u8]) -> Result<Box<Found>> {
        match self.upper()?.find(Ref::At(fd.as_fd(), name), false)? {
            Finding::Found(found) => Ok(found),
            Finding::Absent | Finding::Whiteout => Err(Error::NotFound),
        }
    }

    /// Makes the object at its name, by the plan for what stands there.
    fn make(&self, fd: &DirFd, state: &mut NodeState, name: &FileName, want: &Want<'_>) -> Result<()> {
        let body = state.dir().ok_or(Error::NotDirectory)?;
        // In a directory that only the upper has the kernel itself says whether the name is free.
        let marked = want.new.looks_like_whiteout() || self.upper()?.owners().is_some();
        let in_place = !marked && !want.apart;
        let alone = body.lowers.is_empty() && body.listing.is_none() && in_place;
        if alone {
            match self.make_in_place(fd, name, want) {
                Err(Error::Sys(e)) if e.errno == Errno::EXIST => {}
                done => return done,
            }
        }
        let info = self.name_info(state.dir().ok_or(Error::NotDirectory)?, Some(fd), name)?;
        if info.visible() {
            return Err(Error::Exists);
        }
        let upper = self.upper()?;
        let plan = plan_creation(info, want.new.kind().is_dir(), upper.features().means());
        if info.upper == UpperName::Whiteout {
            self.admit_whiteouts(fd.as_fd(), state)?;
            upper.settle_whiteout(fd.as_fd(), name, plan == CreationPlan::BesideWhiteout)?;
        }
        match plan {
            CreationPlan::Direct if !in_place => {
                if marked {
                    self.mark_impure(fd.as_fd(), state)?;
                }
                let staged = self.stage_new(fd, want, info)?;
                Ok(staged.publish(fd.as_fd(), name, RenameHow::NoReplace)?)
            }
            CreationPlan::Direct => self.make_in_place(fd, name, want),
            CreationPlan::ReplaceWhiteout => {
                if want.new.looks_like_whiteout() {
                    self.mark_impure(fd.as_fd(), state)?;
                }
                let staged = self.stage_new(fd, want, info)?;
                Ok(staged.publish(fd.as_fd(), name, RenameHow::Replace)?)
            }
            // What is left staged is the whiteout; it goes with the guard.
            CreationPlan::ExchangeWhiteout => {
                Ok(self.stage_new(fd, want, info)?.swap(fd.as_fd(), name).map(drop)?)
            }
            CreationPlan::BesideWhiteout => {
                if want.new.looks_like_whiteout() {
                    self.mark_impure(fd.as_fd(), state)?;
                }
                self.stage_new(fd, want, info)?.publish(fd.as_fd(), name, RenameHow::NoReplace)?;
                upper.tidy(fd.as_fd(), name, false);
                Ok(())
            }
        }
    }

    fn make_in_place(&self, fd: &DirFd, name: &[u8], want: &Want<'_>) -> Result<()> {
        let _owner = act_as(want.caller.uid, want.caller.gid)?;
        let mode = want.masked_mode();
        match want.new {
            NewObject::Directory => make_dir(fd.as_fd(), name, mode)?,
            NewObject::Symlink(target) => make_symlink(fd.as_fd(), name, target)?,
            NewObject::Node(kind, rdev) => {
                make_device(fd.as_fd(), name, kind, mode, rdev)?;
                if kind == FileKind::Regular && self.writeback {
                    // Making it moved the clock of coarse time stamps on (the directory got a fine
                    // one). With this the file's time is that of a write that follows at once, which
                    // then need not be told to us by a request of its own.
                    utimens(Ref::At(fd.as_fd(), name), SetTime::Omit, SetTime::Now)?;
                }
            }
        }
        Ok(())
    }

    /// Stages the object with what it would inherit from its directory.
    fn stage_new(&self, fd: &DirFd, want: &Want<'_>, over: NameInfo) -> Result<Staged<'_>> {
        let upper = self.upper()?;
        let (_, parent) = upper.stat(Ref::Fd(fd.as_fd()))?;
        let inherits_group = parent.mode & S_ISGID != 0;
        let gid = if inherits_group { parent.gid } else { want.caller.gid };
        let kind = want.new.kind();
        let inherited = match kind {
            FileKind::Symlink => acl::Inherited { mode: 0o777, access: None },
            _ => acl::inherit(want.mode, want.caller.umask, want.default_acl),
        };
        let set_group = if inherits_group && kind.is_dir() { S_ISGID } else { 0 };
        let mode = inherited.mode | set_group;
        let staged = match upper.owners() {
            None => self.stage_owned(want, gid, &inherited, mode)?,
            Some(_) => {
                let rdev = want.new.rdev();
                let staged = match want.new {
                    NewObject::Directory => self.stage_directory(want, upper.backing_mode(mode))?,
                    NewObject::Symlink(target) => upper.stage_symlink(target)?,
                    NewObject::Node(kind, _) => upper.stage_object(kind, upper.backing_mode(mode), rdev)?,
                };
                let stands_for = matches!(want.new, NewObject::Node(kind, _) if kind != FileKind::Regular)
                    .then_some((kind, rdev));
                let owners = Owners { uid: want.caller.uid, gid, mode: mode & 0o7777, stands_for };
                let (_, made) = stat(staged.object())?;
                upper.give_owners(staged.object(), &made, owners)?;
                staged
            }
        };
        if kind.is_dir() {
            if let Some(default) = want.default_acl {
                set_xattr(staged.object(), acl::DEFAULT, default, XattrSet::Any)?;
            }
            if over.upper == UpperName::Whiteout {
                self.make_opaque(staged.object())?;
            }
        }
        Ok(staged)
    }

    fn stage_directory(&self, want: &Want<'_>, mode: u32) -> Result<Staged<'_>> {
        let upper = self.upper()?;
        Ok(if want.apart { upper.stage_dir_apart(mode)? } else { upper.stage_dir(mode)? })
    }

    /// Stages the object with its owner, mode and ACL in the inode.
    fn stage_owned(
        &self,
        want: &Want<'_>,
        gid: u32,
        inherited: &acl::Inherited,
        mode: u32,
    ) -> Result<Staged<'_>> {
        let upper = self.upper()?;
        let staged = {
            let _owner = act_as(want.caller.uid, gid)?;
            match want.new {
                NewObject::Directory => self.stage_directory(want, mode)?,
                NewObject::Symlink(target) => upper.stage_symlink(target)?,
                NewObject::Node(..) if want.new.looks_like_whiteout() => {
                    upper.stage_node(FileKind::Regular, mode, DeviceNumber::default())?
                }
                NewObject::Node(kind, rdev) => upper.stage_node(kind, mode, rdev)?,
            }
        };
        if mode & 0o7000 != 0 {
            chmod(staged.object(), mode)?;
        }
        if let Some(access) = &inherited.access {
            set_xattr(staged.object(), acl::ACCESS, access, XattrSet::Any)?;
        }
        if let NewObject::Node(kind, rdev) = want.new
            && want.new.looks_like_whiteout()
        {
            upper.mark(staged.object(), Mark::Device, &device_mark(kind, rdev))?;
        }
        Ok(staged)
    }

    /// Marks a directory opaque; where the filesystem takes no xattrs, by a file.
    pub(super) fn make_opaque(&self, directory: Ref<'_>) -> Result<()> {
        let upper = self.upper()?;
        if upper.marks().is_some() {
            return Ok(upper.mark(directory, Mark::Opaque, b"y")?);
        }
        let at = directory.at();
        let inside =
            crate::sys::open_dir_path(at.dir, if at.name.is_empty() { b"." } else { at.name }, true)?;
        let file = crate::semantics::names::OPAQUE_FILE;
        match make_device(inside.as_fd(), file, FileKind::Regular, 0o600, DeviceNumber::default()) {
            Err(e) if e.errno != Errno::EXIST => Err(e.into()),
            _ => Ok(()),
        }
    }

    /// The default ACL of an upper directory, read once.
    fn default_acl(&self, fd: &DirFd, state: &mut NodeState) -> Result<Option<Box<[u8]>>> {
        let body = state.dir_mut().ok_or(Error::NotDirectory)?;
        if let Some(known) = &body.default_acl {
            return Ok(known.clone());
        }
        if self.upper()?.owners().is_some() {
            // ACLs belong to modes that are not in the inodes here.
            return Ok(None);
        }
        let read = get_xattr_if_any(Ref::Fd(fd.as_fd()), acl::DEFAULT)?;
        let value = read.map(Vec::into_boxed_slice);
        body.default_acl = Some(value.clone());
        Ok(value)
    }

    /// Makes the node of a new upper object, and adds its name to the listing.
    pub(super) fn register_new(
        &self,
        dir: &Arc<Node>,
        state: &mut NodeState,
        name: &FileName,
        found: Box<Found>,
    ) -> Result<Entry<'_>> {
        let kind = found.attr.kind;
        let mut resolution = Resolution { upper: Some(found), ..Resolution::default() };
        self.apply_index(&mut resolution, state.dir().ok_or(Error::NotDirectory)?, name)?;
        let entry = self.intern(dir, name, resolution)?;
        self.list_upper(state, name, kind, entry.ino);
        Ok(entry)
    }

    /// Adds a name of an upper object to the listing of its directory, if that is at hand.
    pub(super) fn list_upper(&self, state: &mut NodeState, name: &[u8], kind: FileKind, ino: Ino) {
        if let Some(listing) = state.dir_mut().and_then(|dir| dir.listing.as_mut()) {
            listing.set_upper(name, super::listing::UpperRow::Object(kind, ino));
        }
    }
}

/// Something was made of which no more is known: the directory is to be read anew.
fn distrust_listing(state: &mut NodeState) {
    if let Some(dir) = state.dir_mut() {
        dir.listing = None;
    }
}

/// What is to be made, and what it inherits.
struct Want<'a> {
    new: NewObject<'a>,
    mode: u32,
    caller: Caller,
    default_acl: Option<&'a [u8]>,
    /// It is staged in any case, in a place of its own.
    apart: bool,
}

impl Want<'_> {
    /// The mode for a call that applies the default ACL itself.
    fn masked_mode(&self) -> u32 {
        match self.default_acl {
            Some(_) => self.mode,
            None => self.mode & !self.caller.umask,
        }
    }
}
