//! Extended attributes: rules A6 and A7.

use super::Overlay;
use super::error::{Error, Result};
use super::node::Node;
use crate::layer::NewOwners;
use crate::semantics::acl;
use crate::semantics::copy_up::Need;
use crate::semantics::names::{XattrClass, classify_xattr, stored_xattr};
use crate::semantics::owners::OwnerXattr;
use crate::sys::{Errno, XattrSet, get_xattr, list_xattrs, remove_xattr, set_xattr, supplementary_groups};
use crate::types::{Caller, Ino, S_ISGID};
use std::sync::Arc;

/// The label that `ls -l` asks of each object, of kernels without SELinux too.
const SELINUX: &[u8] = b"security.selinux";

impl Overlay {
    /// The value of an xattr. Where nothing gives labels, an object without one says that there are none
    /// at all: `ls -l` then asks for no other, and the client can remember neither answer.
    pub fn get_xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        match self.held_xattr(ino, name) {
            Err(Error::NoXattr) if name == SELINUX && !self.selinux => Err(Error::Unsupported),
            answer => answer,
        }
    }

    fn held_xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        match self.read_xattr(ino, name) {
            // Who has no ACLs has none here: the kernel, which is offered them, takes another answer for
            // the failure of whatever it asked for.
            Err(Error::Sys(e)) if e.errno == Errno::OPNOTSUPP && acl::is_acl(name) => Err(Error::NoXattr),
            answer => answer,
        }
    }

    fn read_xattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        let node = self.node(ino)?;
        let stored = self.stored_name(name).ok_or(Error::NoXattr)?;
        if node.state.read().upper.is_some() {
            return self.with_upper(&node, |object, _| get_xattr(object, &stored)?.ok_or(Error::NoXattr));
        }
        let state = node.state.read();
        let place = state.lower().ok_or(Error::NotFound)?;
        self.stack.of(place).get_xattr(&place.object, &stored)?.ok_or(Error::NoXattr)
    }

    /// The names of all xattrs but marks, each ended by NUL. Those of `trusted.` are shown to the
    /// privileged only, as the kernel does it.
    pub fn list_xattrs(&self, ino: Ino, caller: Caller) -> Result<Vec<u8>> {
        let node = self.node(ino)?;
        let stored = self.stored_xattrs(&node)?;
        let mut shown = Vec::with_capacity(stored.len());
        for name in stored.split(|b| *b == 0).filter(|name| !name.is_empty()) {
            let shown_as = match classify_xattr(name) {
                XattrClass::Shown(name) => Some(name),
                // Without layers that keep owners in it, it is an xattr like any other.
                XattrClass::Owners(OwnerXattr::Privileged | OwnerXattr::Containers)
                    if !self.stack.keeps_owners() =>
                {
                    Some(name.to_vec())
                }
                _ => None,
            };
            if let Some(name) = shown_as
                && (caller.is_privileged() || !name.starts_with(b"trusted."))
            {
                shown.extend_from_slice(&name);
                shown.push(0);
            }
        }
        Ok(shown)
    }

    fn stored_xattrs(&self, node: &Arc<Node>) -> Result<Vec<u8>> {
        if node.state.read().upper.is_some() {
            return self.with_upper(node, |object, _| Ok(list_xattrs(object)?));
        }
        let state = node.state.read();
        let place = state.lower().ok_or(Error::NotFound)?;
        Ok(self.stack.of(place).list_xattrs(&place.object)?)
    }

    /// Sets an xattr.
    pub fn set_xattr(
        &self,
        ino: Ino,
        name: &[u8],
        value: &[u8],
        how: XattrSet,
        caller: Caller,
    ) -> Result<()> {
        self.change_xattr(ino, name, |object, stored| set_xattr(object, stored, value, how))?;
        if name == acl::ACCESS { self.drop_foreign_set_gid(ino, caller) } else { Ok(()) }
    }

    /// Who sets an ACL on a file of a group that is not theirs takes its set-gid bit away.
    fn drop_foreign_set_gid(&self, ino: Ino, caller: Caller) -> Result<()> {
        if caller.is_privileged() {
            return Ok(());
        }
        self.with_upper(&self.node(ino)?, |object, _| {
            let upper = self.upper()?;
            let (_, attr) = upper.stat(object)?;
            let group = self.groups.shown(attr.gid);
            let member = group == caller.gid || supplementary_groups(caller.pid).contains(&group);
            if attr.mode & S_ISGID != 0 && !member {
                let mode = Some(attr.mode & !S_ISGID);
                upper.set_owners(object, NewOwners { mode, ..NewOwners::default() })?;
            }
            Ok(())
        })
    }

    /// The name under which an xattr is stored; `None` if it is not the users'.
    fn stored_name(&self, name: &[u8]) -> Option<Vec<u8>> {
        match OwnerXattr::of_name(name) {
            Some(_) if self.stack.keeps_owners() => None,
            _ => stored_xattr(name),
        }
    }

    /// Removes an xattr.
    pub fn remove_xattr(&self, ino: Ino, name: &[u8]) -> Result<()> {
        // What is not there costs no copy-up.
        if self.held_xattr(ino, name) == Err(Error::NoXattr) {
            self.writable()?;
            return Err(Error::NoXattr);
        }
        self.change_xattr(ino, name, |object, stored| {
            match remove_xattr(object, stored) {
                // ext4 answers this for ACLs that the mode expresses.
                Err(e) if e.errno == Errno::NODATA && stored.starts_with(b"system.posix_acl") => Ok(()),
                done => done,
            }
        })
    }

    fn change_xattr(
        &self,
        ino: Ino,
        name: &[u8],
        change: impl FnOnce(crate::sys::Ref<'_>, &[u8]) -> crate::sys::Result<()>,
    ) -> Result<()> {
        self.writable()?;
        let node = self.node(ino)?;
        let stored = self.stored_name(name).ok_or(Error::ReservedXattr)?;
        self.ensure_upper(&node, Need::Attributes)?;
        self.with_upper(&node, |object, _| Ok(change(object, &stored)?))?;
        if name == acl::DEFAULT
            && let Some(dir) = node.state.write().dir_mut()
        {
            dir.default_acl = None;
        }
        Ok(())
    }
}
