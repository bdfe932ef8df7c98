//! Removing names: rules D1 to D7, I5.

use super::Overlay;
use super::error::{Error, Result};
use super::listing::UpperRow;
use super::node::{Node, NodeState};
use super::upper_access::DirFd;
use crate::layer::FdKey;
use crate::semantics::change::{NameInfo, RemovalPlan, UpperName, plan_removal};
use crate::semantics::copy_up::Need;
use crate::semantics::names::Mark;
use crate::sys::{AsFd, BorrowedFd, Errno, Ref, RenameHow, open_dir_path, remove_dir, stat, unlink};
use crate::types::{Ino, WhiteoutForm};
use std::sync::Arc;

impl Overlay {
    /// Removes a name that is not a directory.
    pub fn unlink(&self, parent: Ino, name: &[u8]) -> Result<()> {
        let (dir, node) = self.victim(parent, name)?;
        let node = node.node();
        if node.kind.is_dir() {
            return Err(Error::IsDirectory);
        }
        let fd = self.prepare_removal(&dir, name, node)?;
        let mut state = dir.state.write();
        let mut victim = node.state.write();
        if !victim.links.iter().any(|link| link.is(&dir, name)) {
            return Err(Error::NotFound);
        }
        let info = self.name_info(state.dir().ok_or(Error::NotDirectory)?, fd.as_ref(), name)?;
        let fd = fd.ok_or(Error::ReadOnly)?;
        self.settle_count(&mut victim)?;
        let last = victim.links.len() == 1 && info.in_upper();
        if last && victim.anchor.is_none() && victim.upper.as_ref().is_some_and(|u| u.index.is_none()) {
            victim.anchor = Some(Arc::new(open_dir_path(fd.as_fd(), name, false)?));
        }
        if let Err(e) = self.remove_leaf(&fd, &mut state, name, info) {
            victim.anchor = None;
            return Err(e);
        }
        if !info.in_upper()
            && let Some(leaf) = victim.leaf_mut()
        {
            leaf.rare_mut().hidden_names += 1;
        }
        let parent = self.forget_name(&dir, &mut state, &mut victim, name, info);
        let tidied = self.drop_index_if_unused(&mut victim);
        drop(victim);
        drop(state);
        parent.iter().for_each(|parent| self.nodes.release(parent, 1));
        tidied
    }

    /// Removes an empty directory.
    pub fn rmdir(&self, parent: Ino, name: &[u8]) -> Result<()> {
        let (dir, node) = self.victim(parent, name)?;
        let node = node.node();
        if !node.kind.is_dir() {
            return Err(Error::NotDirectory);
        }
        self.load_listing(node)?;
        if !shows_nothing(&node.state.read()) {
            return Err(Error::NotEmpty);
        }
        let fd = self.prepare_removal(&dir, name, node)?;
        // No directory moves from here on: had this one moved already, its lock might come first.
        let _unmoved = self.renaming.read();
        if !node.state.read().links.iter().any(|link| link.is(&dir, name)) {
            return Err(Error::NotFound);
        }
        let mut state = dir.state.write();
        let mut victim = node.state.write();
        if !victim.links.iter().any(|link| link.is(&dir, name)) {
            return Err(Error::NotFound);
        }
        if !shows_nothing(&victim) {
            return Err(Error::NotEmpty);
        }
        let info = self.name_info(state.dir().ok_or(Error::NotDirectory)?, fd.as_ref(), name)?;
        let fd = fd.ok_or(Error::ReadOnly)?;
        let anchor = match (&victim.upper, self.pool.peek(FdKey::UpperDir(node.ino))) {
            (Some(_), None) => Some(Arc::new(open_dir_path(fd.as_fd(), name, true)?)),
            (_, open) => open,
        };
        self.remove_directory(&fd, &mut state, name, info)?;
        victim.anchor = anchor;
        let parent = self.forget_name(&dir, &mut state, &mut victim, name, info);
        drop(victim);
        drop(state);
        parent.iter().for_each(|parent| self.nodes.release(parent, 1));
        Ok(())
    }

    /// The directory, and the node that is to lose its name.
    fn victim(&self, parent: Ino, name: &[u8]) -> Result<(Arc<Node>, super::NodeRef<'_>)> {
        self.writable()?;
        let dir = self.directory(parent)?;
        let node = match self.known_child(&dir, name)? {
            Some(node) => node,
            None => self.lookup_in(&dir, name)?.ok_or(Error::NotFound)?.node,
        };
        Ok((dir, node))
    }

    /// The node at a name, if it is known already: found by its number, without reading marks.
    fn known_child(&self, dir: &Arc<Node>, name: &[u8]) -> Result<Option<super::NodeRef<'_>>> {
        let fd = self.prepare(dir)?;
        let state = dir.state.read();
        let body = state.dir().ok_or(Error::NotDirectory)?;
        let ino = match (&body.listing, &fd) {
            (Some(listing), _) => listing.get(name).filter(|n| n.visible).map(|n| n.ino),
            (None, Some(fd)) => {
                stat(Ref::At(fd.as_fd(), name)).ok().map(|(real, _)| self.stack.inos.number(real))
            }
            (None, None) => None,
        };
        let node = ino.and_then(|ino| self.nodes.find(ino));
        Ok(node.filter(|node| node.node().state.read().links.iter().any(|link| link.is(dir, name))))
    }

    /// What a removal needs of the upper: the directory if a whiteout is to be written, and for a
    /// file with several names its index entry, which keeps their count.
    fn prepare_removal(&self, dir: &Arc<Node>, name: &[u8], node: &Arc<Node>) -> Result<Option<DirFd>> {
        let fd = self.upper_dir_if_any(dir)?;
        let in_lower = {
            let state = dir.state.read();
            let body = state.dir().ok_or(Error::NotDirectory)?;
            !body.lowers.is_empty() && self.name_info(body, fd.as_ref(), name)?.lower
        };
        if in_lower {
            self.ensure_upper(dir, Need::Attributes)?;
            if self.is_indexable(node)? {
                self.ensure_upper(node, Need::Attributes)?;
                self.ensure_upper_name(dir, name, node)?;
            }
        }
        Ok(Some(self.upper_dir(dir)?))
    }

    /// Whether a leaf has an index entry or would get one on copy-up.
    pub(super) fn is_indexable(&self, node: &Arc<Node>) -> Result<bool> {
        let place = {
            let state = node.state.read();
            match (&state.upper, state.leaf()) {
                (_, None) => return Ok(false),
                (Some(upper), _) => return Ok(upper.index.is_some()),
                (None, Some(leaf)) if !leaf.several_names => return Ok(false),
                (None, Some(_)) => state.lower().cloned().ok_or(Error::NotFound)?,
            }
        };
        let lower = self.stack.of(&place).look(&place.object)?;
        // Counting names must not cost a copy of the data.
        Ok(self.metacopy && self.index_name(&place, &lower)?.is_some())
    }

    fn remove_leaf(&self, fd: &DirFd, dir: &mut NodeState, name: &[u8], info: NameInfo) -> Result<()> {
        let upper = self.upper()?;
        match plan_removal(info, upper.features().means()) {
            RemovalPlan::Remove => Ok(unlink(fd.as_fd(), name)?),
            RemovalPlan::Whiteout => self.whiteout(fd, dir, name),
            RemovalPlan::ReplaceFile => {
                self.admit_whiteouts(fd.as_fd(), dir)?;
                Ok(upper.stage_whiteout()?.publish(fd.as_fd(), name, RenameHow::Replace)?)
            }
            RemovalPlan::HideThenRemove => {
                self.hidden(fd, name, || Ok(unlink(fd.as_fd(), name)?))?;
                upper.tidy(fd.as_fd(), name, true);
                Ok(())
            }
            RemovalPlan::ExchangeDirectory | RemovalPlan::RemoveDirectory | RemovalPlan::HideThenTakeAway => {
                Err(Error::IsDirectory)
            }
        }
    }

    fn remove_directory(&self, fd: &DirFd, dir: &mut NodeState, name: &[u8], info: NameInfo) -> Result<()> {
        let upper = self.upper()?;
        match plan_removal(info, upper.features().means()) {
            RemovalPlan::Whiteout => self.whiteout(fd, dir, name),
            // What is left staged is the directory with its whiteouts; it goes with the guard.
            RemovalPlan::ExchangeDirectory => {
                self.admit_whiteouts(fd.as_fd(), dir)?;
                Ok(upper.stage_whiteout()?.swap(fd.as_fd(), name).map(drop)?)
            }
            RemovalPlan::RemoveDirectory => match remove_dir(fd.as_fd(), name) {
                // Whiteouts inside: out of sight first.
                Err(e) if e.errno == Errno::NOTEMPTY => Ok(upper.take_away(fd.as_fd(), name)?),
                done => Ok(done?),
            },
            RemovalPlan::HideThenTakeAway => {
                self.admit_whiteouts(fd.as_fd(), dir)?;
                self.hidden(fd, name, || Ok(upper.take_away(fd.as_fd(), name)?))?;
                upper.tidy(fd.as_fd(), name, true);
                Ok(())
            }
            RemovalPlan::Remove | RemovalPlan::ReplaceFile | RemovalPlan::HideThenRemove => {
                Err(Error::NotDirectory)
            }
        }
    }

    /// Puts a whiteout where the upper has nothing.
    fn whiteout(&self, fd: &DirFd, dir: &mut NodeState, name: &[u8]) -> Result<()> {
        self.admit_whiteouts(fd.as_fd(), dir)?;
        Ok(self.upper()?.make_whiteout(fd.as_fd(), name)?)
    }

    /// Makes a step with a name hidden in the lowers; shows it again if the step fails.
    pub(super) fn hidden(&self, fd: &DirFd, name: &[u8], step: impl FnOnce() -> Result<()>) -> Result<()> {
        let upper = self.upper()?;
        upper.hide(fd.as_fd(), name)?;
        let done = step();
        if done.is_err() {
            upper.tidy(fd.as_fd(), name, false);
        }
        done
    }

    /// Marks an upper directory that is about to hold whiteouts of the xattr form.
    pub(super) fn admit_whiteouts(&self, fd: BorrowedFd<'_>, dir: &mut NodeState) -> Result<()> {
        let upper = self.upper()?;
        if let Some(body) = dir.dir_mut()
            && upper.whiteouts() == WhiteoutForm::Xattr
            && !body.xattr_whiteouts
        {
            upper.mark(Ref::Fd(fd), Mark::Opaque, b"x")?;
            body.xattr_whiteouts = true;
        }
        Ok(())
    }

    /// Takes a removed name from node and listing. Answers the parent to be released.
    pub(super) fn forget_name(
        &self,
        dir: &Arc<Node>,
        state: &mut NodeState,
        victim: &mut NodeState,
        name: &[u8],
        info: NameInfo,
    ) -> Option<Arc<Node>> {
        let parent = self.nodes.take_link(victim, dir, name);
        victim.removed = victim.links.is_empty();
        if let Some(listing) = state.dir_mut().and_then(|body| body.listing.as_mut()) {
            match info.lower || info.upper == UpperName::Whiteout {
                true => listing.set_upper(name, UpperRow::Whiteout),
                false => listing.remove(name),
            }
        }
        parent
    }
}

/// Whether a directory, whose listing is at hand, shows no name.
pub(super) fn shows_nothing(state: &NodeState) -> bool {
    state.dir().and_then(|body| body.listing.as_ref()).is_some_and(|listing| listing.is_empty())
}
