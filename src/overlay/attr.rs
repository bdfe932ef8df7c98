//! Attributes: getattr, setattr, readlink, statfs, inode flags (rules A1 to A5, A10).

use super::Overlay;
use super::error::{Error, Result};
use super::node::Node;
use crate::layer::NewOwners;
use crate::semantics::copy_up::{Need, without_set_id};
use crate::sys::{AsFd, OwnedFd, file_flags, read_link, reopen, set_file_flags, truncate, utimens};
use crate::types::{Attr, Caller, FileKind, Ino, SetAttr, SetTime};
use std::sync::Arc;
use std::sync::atomic::Ordering;

impl Overlay {
    /// The attributes as shown.
    pub fn get_attr(&self, ino: Ino) -> Result<Attr> {
        let node = self.node(ino)?;
        // The kernel has them anew by this.
        node.outdated.store(false, Ordering::Relaxed);
        self.attr_of(&node)
    }

    pub(super) fn attr_of(&self, node: &Arc<Node>) -> Result<Attr> {
        if node.state.read().upper.is_some() {
            return self.with_upper(node, |object, state| {
                let (_, attr) = self.upper()?.stat(object)?;
                self.shown(node, state, attr)
            });
        }
        let state = node.state.read();
        let place = state.lower().ok_or(Error::NotFound)?;
        let attr = self.stack.of(place).attr(&place.object)?;
        self.shown(node, &state, attr)
    }

    /// Changes attributes; answers them as shown after.
    pub fn set_attr(&self, ino: Ino, change: &SetAttr, caller: Caller) -> Result<Attr> {
        self.writable()?;
        let node = self.node(ino)?;
        if self.writeback && change.only_modification_time() {
            // The kernel writes back what it knows, also of files that were only read or unlinked.
            let attr = self.attr_of(&node)?;
            if change.mtime == SetTime::To(attr.mtime) {
                return Ok(attr);
            }
        }
        match change.size {
            Some(size) => {
                if node.kind != FileKind::Regular {
                    return Err(if node.kind.is_dir() { Error::IsDirectory } else { Error::Invalid });
                }
                self.ensure_upper(&node, Need::DataUpTo(size))?;
                truncate(self.upper_data(&node)?.as_fd(), size)?;
            }
            None => self.ensure_upper(&node, Need::Attributes)?,
        }
        self.with_upper(&node, |object, state| {
            let upper = self.upper()?;
            let (uid, gid) =
                (change.uid.map(|id| self.users.stored(id)), change.gid.map(|id| self.groups.stored(id)));
            if uid.is_some() || gid.is_some() {
                upper.set_owners(object, NewOwners { uid, gid, mode: None })?;
            }
            let mut mode = change.mode;
            if change.size.is_some() && mode.is_none() && !caller.is_privileged() {
                // Who may not keep set-id bits loses them by a truncation.
                let (_, attr) = upper.stat(object)?;
                mode = Some(without_set_id(attr.mode)).filter(|kept| *kept != attr.mode);
            }
            if mode.is_some() {
                upper.set_owners(object, NewOwners { mode, ..NewOwners::default() })?;
            }
            if change.sets_times() {
                utimens(object, change.atime, change.mtime)?;
            }
            let (_, attr) = upper.stat(object)?;
            self.shown(&node, state, attr)
        })
    }

    /// The target of a symlink.
    pub fn read_link(&self, ino: Ino) -> Result<Vec<u8>> {
        let node = self.node(ino)?;
        if node.kind != FileKind::Symlink {
            return Err(Error::Invalid);
        }
        if node.state.read().upper.is_some() {
            return self.with_upper(&node, |object, _| {
                let at = object.at();
                Ok(read_link(at.dir, at.name)?)
            });
        }
        let state = node.state.read();
        let place = state.lower().ok_or(Error::NotFound)?;
        Ok(self.stack.of(place).read_link(&place.object)?)
    }

    /// Reads inode flags by the given ioctl request (FS_IOC_GETFLAGS, FS_IOC_FSGETXATTR), in its structure.
    pub fn get_flags(&self, ino: Ino, request: u32) -> Result<[u8; 28]> {
        let node = self.node(ino)?;
        let mut flags = [0; 28];
        file_flags(self.flags_fd(&node)?.as_fd(), request, &mut flags)?;
        Ok(flags)
    }

    /// Sets inode flags by the given ioctl request (FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR), from its structure.
    pub fn set_flags(&self, ino: Ino, request: u32, flags: &[u8; 28]) -> Result<()> {
        self.writable()?;
        let node = self.node(ino)?;
        self.ensure_upper(&node, Need::Data)?;
        if ino == Ino::ROOT {
            self.upper()?.root_flags_set();
        }
        Ok(set_file_flags(self.flags_fd(&node)?.as_fd(), request, flags)?)
    }

    /// A descriptor for inode flags: of files and directories only, as on other filesystems.
    fn flags_fd(&self, node: &Arc<Node>) -> Result<Arc<OwnedFd>> {
        match node.kind {
            FileKind::Regular => self.readable_data(node)?.as_file().cloned().ok_or(Error::Unsupported),
            FileKind::Directory => match self.upper_dir_if_any(node)? {
                Some(fd) => Ok(Arc::new(reopen(fd.as_fd(), false)?)),
                None => {
                    let state = node.state.read();
                    let place = state.lower().ok_or(Error::NotFound)?;
                    let opened = self.stack.of(place).open(&place.object)?;
                    opened.as_file().cloned().ok_or(Error::Unsupported)
                }
            },
            _ => Err(Error::Unsupported),
        }
    }
}
