//! Further names of an object: link(2).

use super::Overlay;
use super::error::{Error, Result};
use super::lookup::{Entry, check_new_name};
use super::node::UpperPart;
use crate::semantics::change::{CreationPlan, plan_creation};
use crate::semantics::copy_up::Need;
use crate::sys::{AsFd, Ref, RenameHow, duplicate, link_object, open_dir_path};
use crate::types::{Attr, FileName, Ino};

impl Overlay {
    /// Gives an object a further name.
    pub fn link(&self, ino: Ino, new_parent: Ino, new_name: &[u8]) -> Result<Entry<'_>> {
        self.writable()?;
        check_new_name(new_name)?;
        let node = self.node(ino)?;
        if node.kind.is_dir() {
            return Err(Error::Sys(crate::sys::SysError { call: "linkat", errno: crate::sys::Errno::PERM }));
        }
        let dir = self.directory(new_parent)?;
        self.ensure_upper(&node, self.need_to_move())?;
        self.ensure_upper(&dir, Need::Attributes)?;
        self.settle_count(&mut node.state.write())?;
        let metacopy = matches!(&node.state.read().upper, Some(UpperPart { metacopy: true, .. }));
        // Its data must be found under the new name too.
        if metacopy && !self.mark_redirect(&node)? {
            self.ensure_upper(&node, Need::Data)?;
        }
        // Held open: its name is reached by locks that come before the directory's.
        let object = self.with_upper(&node, |object, _| {
            Ok(match object {
                Ref::At(dir, name) => open_dir_path(dir, name, false)?,
                Ref::Fd(anchor) => duplicate(anchor)?,
            })
        })?;
        let (_, before) = self.upper()?.stat(Ref::Fd(object.as_fd()))?;
        let fd = self.upper_dir(&dir)?;
        self.prepare(&dir)?;
        let name: FileName = new_name.into();
        let mut state = dir.state.write();
        if state.removed {
            return Err(Error::NotFound);
        }
        let info = self.name_info(state.dir().ok_or(Error::NotDirectory)?, Some(&fd), &name)?;
        if info.visible() {
            return Err(Error::Exists);
        }
        // A copy shows its origin's number: the directory must be read with its entries' marks.
        self.mark_impure(fd.as_fd(), &mut state)?;
        let upper = self.upper()?;
        match plan_creation(info, false, upper.features().means()) {
            CreationPlan::Direct => link_object(Ref::Fd(object.as_fd()), fd.as_fd(), &name)?,
            CreationPlan::ReplaceWhiteout | CreationPlan::ExchangeWhiteout => {
                self.admit_whiteouts(fd.as_fd(), &mut state)?;
                upper.settle_whiteout(fd.as_fd(), &name, false)?;
                let staged = upper.stage_link(Ref::Fd(object.as_fd()))?;
                staged.publish(fd.as_fd(), &name, RenameHow::Replace)?;
            }
            CreationPlan::BesideWhiteout => {
                upper.settle_whiteout(fd.as_fd(), &name, true)?;
                link_object(Ref::Fd(object.as_fd()), fd.as_fd(), &name)?;
                upper.tidy(fd.as_fd(), &name, false);
            }
        }
        // The link is made: a look at it that fails must not say that it is not.
        let found = match self.find_made(&fd, &name) {
            Ok(found) => found.attr,
            Err(_) => Attr { nlink: before.nlink + 1, ..before },
        };
        let reference = self.nodes.find(ino).ok_or(Error::UnknownInode)?;
        let mut node_state = node.state.write();
        self.nodes.add_link(&mut node_state, &dir, &name);
        let attr = self.shown(&node, &node_state, found).unwrap_or(found);
        drop(node_state);
        self.list_upper(&mut state, &name, node.kind, node.ino);
        Ok(Entry { ino, attr, node: reference })
    }
}
