//! Renaming: rules R1 to R7.
//!
//! Everything that may fail late is done first: both parents and what moves are brought to the
//! upper, and marks that change nothing at the old name (redirect, opaque) are written. Then one
//! renameat2 makes the change.

use super::error::{Error, Result};
use super::lookup::check_new_name;
use super::node::{Node, NodeState};
use super::redirect::moved;
use super::remove::shows_nothing;
use super::upper_access::DirFd;
use super::{NodeRef, Overlay, RedirectDir};
use crate::layer::FdKey;
use crate::semantics::change::{MoveMark, NameInfo, RenamePlan, UpperName, mark_to_move, plan_rename};
use crate::semantics::copy_up::Need;
use crate::semantics::names::Mark;
use crate::sys::{
    AsFd, Errno, Ref, RenameHow, SysError, XattrSet, chmod, chown, get_xattr, list_xattrs, open_dir_path,
    rename, set_xattr, stat, unlink, utimens,
};
use crate::types::{Ino, SetTime};
use parking_lot::RwLockWriteGuard;
use std::sync::Arc;

/// What rename(2) was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// Replace the target if there is one.
    Replace,
    /// EEXIST if there is a target.
    NoReplace,
    /// Swap the two.
    Exchange,
}

/// One end of a rename.
struct End<'a> {
    dir: Arc<Node>,
    fd: DirFd,
    name: &'a [u8],
    node: Option<NodeRef<'a>>,
    /// Where the lowers have what is moved, if it needs a redirect.
    redirect: Option<Vec<u8>>,
}

impl End<'_> {
    fn node(&self) -> Result<&Arc<Node>> {
        self.node.as_ref().map(NodeRef::node).ok_or(Error::NotFound)
    }

    /// Whether what was looked up, if anything was, still has this name.
    fn is_still_there(&self) -> bool {
        self.node.as_ref().is_none_or(|node| self.still_has(&node.node().state.read()))
    }

    /// Whether the node, looked up before its locks were taken, still has this name.
    fn still_has(&self, state: &NodeState) -> bool {
        state.links.iter().any(|link| link.is(&self.dir, self.name))
    }
}

/// What stands at an end is not what was looked up there. On a mount the kernel's own locks prevent it.
const MOVED_MEANWHILE: Error = Error::Sys(SysError { call: "renameat2", errno: Errno::AGAIN });

/// The locked states of the two directories, which may be one.
struct Dirs<'a> {
    from: RwLockWriteGuard<'a, NodeState>,
    to: Option<RwLockWriteGuard<'a, NodeState>>,
}

impl Dirs<'_> {
    fn to(&mut self) -> &mut NodeState {
        self.to.as_mut().unwrap_or(&mut self.from)
    }
}

impl Overlay {
    /// Renames.
    pub fn rename(
        &self,
        parent: Ino,
        name: &[u8],
        new_parent: Ino,
        new_name: &[u8],
        mode: RenameMode,
    ) -> Result<()> {
        self.writable()?;
        check_new_name(new_name)?;
        let from_dir = self.directory(parent)?;
        let to_dir = self.directory(new_parent)?;
        let source = self.lookup_in(&from_dir, name)?.ok_or(Error::NotFound)?.node;
        let target = self.lookup_in(&to_dir, new_name)?.map(|entry| entry.node);
        if target.as_ref().is_some_and(|t| Arc::ptr_eq(t.node(), source.node()))
            && mode != RenameMode::NoReplace
        {
            return Ok(());
        }
        self.check_target(source.node(), target.as_ref().map(NodeRef::node), mode)?;
        let exchange = mode == RenameMode::Exchange;
        self.bring(&from_dir, name, source.node())?;
        self.ensure_upper(&to_dir, Need::Attributes)?;
        match &target {
            Some(target) if exchange => self.bring(&to_dir, new_name, target.node())?,
            Some(target) => self.count_before_loss(&to_dir, new_name, target.node())?,
            None => {}
        }
        let mut from = self.end(from_dir, name, Some(source))?;
        let mut to = self.end(to_dir, new_name, target)?;
        let alone = self.renaming.write();
        // What moved meanwhile may be above the directory it was found in: its lock comes first then.
        if !from.is_still_there() || !to.is_still_there() {
            return Err(MOVED_MEANWHILE);
        }
        self.check_loops(&from, &to, exchange)?;
        from.redirect = self.redirect_if_moved(from.node()?, &alone)?;
        if exchange {
            to.redirect = self.redirect_if_moved(to.node()?, &alone)?;
            self.exchange(&from, &to)
        } else {
            self.replace(&from, &to)
        }
    }

    /// What rename(2) refuses by the target.
    fn check_target(&self, source: &Arc<Node>, target: Option<&Arc<Node>>, mode: RenameMode) -> Result<()> {
        match (mode, target) {
            (RenameMode::NoReplace, Some(_)) => Err(Error::Exists),
            (RenameMode::Exchange, None) => Err(Error::NotFound),
            (RenameMode::NoReplace | RenameMode::Replace, None) | (RenameMode::Exchange, Some(_)) => Ok(()),
            (RenameMode::Replace, Some(target)) => match (source.kind.is_dir(), target.kind.is_dir()) {
                (true, false) => Err(Error::NotDirectory),
                (false, true) => Err(Error::IsDirectory),
                (false, false) => Ok(()),
                (true, true) => {
                    self.load_listing(target)?;
                    match shows_nothing(&target.state.read()) {
                        true => Ok(()),
                        false => Err(Error::NotEmpty),
                    }
                }
            },
        }
    }

    /// Brings to the upper what moves, under its name.
    fn bring(&self, dir: &Arc<Node>, name: &[u8], node: &Arc<Node>) -> Result<()> {
        let merged = node.kind.is_dir() && !node.state.read().known_dir()?.lowers.is_empty();
        let marks = self.upper()?.marks().is_some();
        if merged && (self.redirect_dir != RedirectDir::On || !marks) {
            return Err(Error::RedirectOff);
        }
        self.ensure_upper(dir, Need::Attributes)?;
        self.ensure_upper(node, self.need_to_move())?;
        self.ensure_upper_name(dir, name, node)
    }

    /// What a leaf needs in the upper to get another name: its data too where no mark may say where
    /// that is.
    pub(super) fn need_to_move(&self) -> Need {
        if self.redirect_dir == RedirectDir::On { Need::Attributes } else { Need::Data }
    }

    fn end<'a>(&self, dir: Arc<Node>, name: &'a [u8], node: Option<NodeRef<'a>>) -> Result<End<'a>> {
        self.prepare(&dir)?;
        Ok(End { fd: self.upper_dir(&dir)?, dir, name, node, redirect: None })
    }

    /// A directory must not move below itself, nor change places with what is above it.
    fn check_loops(&self, from: &End<'_>, to: &End<'_>, exchange: bool) -> Result<()> {
        let source = from.node()?;
        if source.kind.is_dir() && self.is_above(source, &to.dir) {
            return Err(Error::Invalid);
        }
        match &to.node {
            Some(target) if target.node().kind.is_dir() && self.is_above(target.node(), &from.dir) => {
                Err(if exchange { Error::Invalid } else { Error::NotEmpty })
            }
            _ => Ok(()),
        }
    }

    /// Whether `upper` is `node` or above it.
    fn is_above(&self, upper: &Arc<Node>, node: &Arc<Node>) -> bool {
        let mut at = node.clone();
        loop {
            if Arc::ptr_eq(&at, upper) {
                return true;
            }
            let parent = at.state.read().links.first().map(|link| link.parent.clone());
            match parent {
                Some(parent) => at = parent,
                None => return false,
            }
        }
    }

    fn lock_dirs<'a>(&self, from: &'a End<'_>, to: &'a End<'_>) -> Dirs<'a> {
        if Arc::ptr_eq(&from.dir, &to.dir) {
            return Dirs { from: from.dir.state.write(), to: None };
        }
        let to_first = self.is_above(&to.dir, &from.dir)
            || !self.is_above(&from.dir, &to.dir) && to.dir.ino < from.dir.ino;
        if to_first {
            let to = to.dir.state.write();
            return Dirs { from: from.dir.state.write(), to: Some(to) };
        }
        let from = from.dir.state.write();
        Dirs { from, to: Some(to.dir.state.write()) }
    }

    /// What stands at one end, in the locked directory.
    fn info(&self, end: &End<'_>, state: &NodeState) -> Result<NameInfo> {
        if state.removed {
            return Err(Error::NotFound);
        }
        self.name_info(state.dir().ok_or(Error::NotDirectory)?, Some(&end.fd), end.name)
    }

    /// Writes the marks that what stands at `end` needs at the other end's name.
    fn mark_before(&self, end: &End<'_>, state: &mut NodeState, lower_there: bool) -> Result<()> {
        let object = Ref::At(end.fd.as_fd(), end.name);
        match mark_to_move(moved(state), lower_there) {
            MoveMark::None => {}
            MoveMark::Opaque => {
                if state.dir().is_some_and(|dir| dir.xattr_whiteouts) {
                    // They hide nothing any more, and are files in a directory that is opaque.
                    self.purge_whiteouts(object, state)?;
                }
                self.make_opaque(object)?;
                if let Some(dir) = state.dir_mut() {
                    dir.opaque = true;
                }
            }
            MoveMark::Redirect => {
                let path = end.redirect.as_deref().ok_or(Error::BadRedirect)?;
                self.upper()?.mark(object, Mark::Redirect, path).map_err(too_long)?;
                match state.dir_mut() {
                    Some(dir) => dir.redirect = Some(path.into()),
                    None => {
                        if let Some(leaf) = state.leaf_mut() {
                            leaf.rare_mut().redirect = Some(path.into());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// A directory that gets an object which shows another inode's number must be read entry by entry.
    fn impure_if_copy(
        &self,
        end: &End<'_>,
        dir: &mut NodeState,
        node: &Arc<Node>,
        state: &NodeState,
    ) -> Result<()> {
        let pure = state.upper.as_ref().is_some_and(|u| self.stack.inos.number(u.real) == node.ino);
        if pure && state.device().is_none() { Ok(()) } else { self.mark_impure(end.fd.as_fd(), dir) }
    }

    /// Moves the source to the target's name.
    fn replace(&self, from: &End<'_>, to: &End<'_>) -> Result<()> {
        let node = from.node()?;
        let mut dirs = self.lock_dirs(from, to);
        let source_info = self.info(from, &dirs.from)?;
        let target_info = self.info(to, dirs.to())?;
        let mut source = node.state.write();
        let mut target = to.node.as_ref().map(|target| target.node().state.write());
        if !source_info.in_upper()
            || !from.still_has(&source)
            || target_info.visible() != target.is_some()
            || target.as_ref().is_some_and(|target| !to.still_has(target))
        {
            return Err(MOVED_MEANWHILE);
        }
        self.mark_before(from, &mut source, target_info.lower)?;
        self.impure_if_copy(to, dirs.to(), node, &source)?;
        if let (Some(target), Some(lost)) = (&mut target, &to.node) {
            self.settle_count(target)?;
            self.anchor_before_loss(to, lost.node(), target, target_info)?;
        }
        let moved = self.move_by_plan(from, to, (source_info, target_info), &mut dirs, target.as_deref_mut());
        if let Err(e) = moved {
            // The target keeps its name, and needs nothing to keep it without one.
            if let Some(target) = &mut target {
                target.anchor = None;
            }
            return Err(e);
        }
        let mut gone = Vec::new();
        if let Some(target) = &mut target {
            if !target_info.in_upper()
                && let Some(leaf) = target.leaf_mut()
            {
                leaf.rare_mut().hidden_names += 1;
            }
            gone.extend(self.forget_name(&to.dir, dirs.to(), target, to.name, target_info));
        }
        gone.extend(self.forget_name(&from.dir, &mut dirs.from, &mut source, from.name, source_info));
        self.nodes.add_link(&mut source, &to.dir, &to.name.into());
        self.list_upper(dirs.to(), to.name, node.kind, node.ino);
        // The move is made, whatever becomes of the index.
        let tidied = target.as_deref_mut().map_or(Ok(()), |target| self.drop_index_if_unused(target));
        drop((source, target, dirs));
        gone.iter().for_each(|parent| self.nodes.release(parent, 1));
        tidied
    }

    /// A file with several names in a lower keeps their count in the index.
    fn count_before_loss(&self, dir: &Arc<Node>, name: &[u8], node: &Arc<Node>) -> Result<()> {
        if self.is_indexable(node)? {
            self.ensure_upper(node, Need::Attributes)?;
            self.ensure_upper_name(dir, name, node)?;
        }
        Ok(())
    }

    /// Keeps what is about to lose its last name.
    fn anchor_before_loss(
        &self,
        to: &End<'_>,
        node: &Arc<Node>,
        state: &mut NodeState,
        info: NameInfo,
    ) -> Result<()> {
        let indexed = state.upper.as_ref().is_some_and(|upper| upper.index.is_some());
        if info.in_upper() && state.links.len() == 1 && state.anchor.is_none() && !indexed {
            state.anchor = Some(Arc::new(open_dir_path(to.fd.as_fd(), to.name, node.kind.is_dir())?));
        }
        Ok(())
    }

    /// Readies the two directories for the whiteouts of the plan, and carries it out.
    fn move_by_plan(
        &self,
        from: &End<'_>,
        to: &End<'_>,
        (source, target): (NameInfo, NameInfo),
        dirs: &mut Dirs<'_>,
        target_state: Option<&mut NodeState>,
    ) -> Result<()> {
        let upper = self.upper()?;
        let plan = plan_rename(source, from.node()?.kind.is_dir(), target, upper.features().means());
        if source.lower {
            self.admit_whiteouts(from.fd.as_fd(), &mut dirs.from)?;
        }
        if target.upper == UpperName::Whiteout {
            self.admit_whiteouts(to.fd.as_fd(), dirs.to())?;
            let to_beside = plan == RenamePlan::Guarded && upper.features().beside;
            upper.settle_whiteout(to.fd.as_fd(), to.name, to_beside)?;
        }
        let unguarded = plan == RenamePlan::Guarded && !upper.features().beside;
        if unguarded && upper.features().exchange && self.move_by_exchange(from, to, source, target, dirs)? {
            return Ok(());
        }
        match plan {
            RenamePlan::Guarded => self.move_guarded(from, to, source, target, target_state),
            plan => self.move_object(from, to, plan, target_state),
        }
    }

    /// Moves by an exchange with a whiteout, which then hides the old name, where the new one shows
    /// nothing. Answers whether it does.
    fn move_by_exchange(
        &self,
        from: &End<'_>,
        to: &End<'_>,
        source: NameInfo,
        target: NameInfo,
        dirs: &mut Dirs<'_>,
    ) -> Result<bool> {
        if target.visible() || !source.lower && target.upper != UpperName::Whiteout {
            return Ok(false);
        }
        let upper = self.upper()?;
        if target.upper == UpperName::Absent {
            self.admit_whiteouts(to.fd.as_fd(), dirs.to())?;
            upper.make_whiteout(to.fd.as_fd(), to.name)?;
        }
        rename(from.fd.as_fd(), from.name, to.fd.as_fd(), to.name, RenameHow::Exchange)?;
        if !source.lower
            && let Err(e) = unlink(from.fd.as_fd(), from.name)
        {
            log::warn!("a whiteout stays where a directory was: {e}");
        }
        Ok(true)
    }

    /// Moves by a plain rename: what hides the lowers at both names is there before it and shows nothing
    /// new, and gets its usual form after it.
    fn move_guarded(
        &self,
        from: &End<'_>,
        to: &End<'_>,
        source: NameInfo,
        target: NameInfo,
        target_state: Option<&mut NodeState>,
    ) -> Result<()> {
        let upper = self.upper()?;
        let clears = target.upper == UpperName::Directory && target_state.is_some();
        if let (true, Some(state)) = (clears, target_state) {
            // It shows nothing, so that neither shows what is done here.
            match !upper.features().beside && upper.features().exchange {
                true => self.clear_directory(to, state)?,
                false => {
                    if target.lower {
                        upper.hide(to.fd.as_fd(), to.name)?;
                    }
                    self.purge_whiteouts(Ref::At(to.fd.as_fd(), to.name), state)?;
                }
            }
        }
        let step = || Ok(rename(from.fd.as_fd(), from.name, to.fd.as_fd(), to.name, RenameHow::Replace)?);
        match source.lower {
            true => self.hidden(&from.fd, from.name, step)?,
            false => step()?,
        }
        if source.lower {
            upper.tidy(from.fd.as_fd(), from.name, true);
        }
        if target.upper == UpperName::Whiteout || clears && target.lower {
            upper.tidy(to.fd.as_fd(), to.name, false);
        }
        Ok(())
    }

    /// Removes the whiteouts of an upper directory that has no lowers left to hide, or is hidden from them.
    fn purge_whiteouts(&self, directory: Ref<'_>, state: &mut NodeState) -> Result<()> {
        let purged = self.upper()?.purge_whiteouts(directory);
        if let Some(dir) = state.dir_mut() {
            dir.lowers.clear();
            dir.listing = None;
            dir.xattr_whiteouts &= purged.is_err();
        }
        Ok(purged?)
    }

    /// The one step.
    fn move_object(
        &self,
        from: &End<'_>,
        to: &End<'_>,
        plan: RenamePlan,
        target: Option<&mut NodeState>,
    ) -> Result<()> {
        let step = |how| rename(from.fd.as_fd(), from.name, to.fd.as_fd(), to.name, how);
        let cleared = |how, target: Option<&mut NodeState>| match step(how) {
            // Whiteouts inside.
            Err(e) if e.errno == Errno::NOTEMPTY || e.errno == Errno::EXIST => {
                self.clear_directory(to, target.ok_or(Error::NotFound)?)?;
                Ok(step(how)?)
            }
            done => Ok(done?),
        };
        match plan {
            RenamePlan::Replace => Ok(step(RenameHow::Replace)?),
            RenamePlan::ReplaceLeavingWhiteout => Ok(step(RenameHow::Whiteout)?),
            RenamePlan::SwapWhiteout => Ok(step(RenameHow::Exchange)?),
            RenamePlan::SwapAndDropWhiteout => {
                step(RenameHow::Exchange)?;
                // The move is made; a whiteout that stays hides nothing.
                if let Err(e) = unlink(from.fd.as_fd(), from.name) {
                    log::warn!("a whiteout stays where a directory was: {e}");
                }
                Ok(())
            }
            RenamePlan::ClearThenReplace => cleared(RenameHow::Replace, target),
            RenamePlan::ClearThenLeaveWhiteout => cleared(RenameHow::Whiteout, target),
            RenamePlan::Guarded => Err(Error::Invalid),
        }
    }

    /// Exchanges an upper directory that shows nothing for an opaque empty one like it.
    fn clear_directory(&self, end: &End<'_>, state: &mut NodeState) -> Result<()> {
        let old = Ref::At(end.fd.as_fd(), end.name);
        let (_, attr) = stat(old)?;
        let empty = self.upper()?.stage_dir(0o700)?;
        let object = empty.object();
        chown(object, Some(attr.uid), Some(attr.gid))?;
        chmod(object, attr.mode)?;
        for name in list_xattrs(old)?.split(|b| *b == 0).filter(|n| !n.is_empty()) {
            if let Some(value) = get_xattr(old, name)? {
                set_xattr(object, name, &value, XattrSet::Any)?;
            }
        }
        self.make_opaque(object)?;
        utimens(object, SetTime::To(attr.atime), SetTime::To(attr.mtime))?;
        let (real, _) = stat(object)?;
        let old = empty.swap(end.fd.as_fd(), end.name)?;
        // The node stands for the new one from here on.
        self.pool.remove(FdKey::UpperDir(end.node()?.ino));
        if let Some(upper) = &mut state.upper {
            upper.real = real;
        }
        if let Some(dir) = state.dir_mut() {
            dir.lowers.clear();
            dir.opaque = true;
        }
        drop(old);
        Ok(())
    }

    /// Swaps two objects.
    fn exchange(&self, from: &End<'_>, to: &End<'_>) -> Result<()> {
        let (a, b) = (from.node()?, to.node()?);
        let mut dirs = self.lock_dirs(from, to);
        let a_info = self.info(from, &dirs.from)?;
        let b_info = self.info(to, dirs.to())?;
        if !a_info.in_upper() || !b_info.in_upper() {
            return Err(MOVED_MEANWHILE);
        }
        let (mut a_state, mut b_state) = (a.state.write(), b.state.write());
        if !from.still_has(&a_state) || !to.still_has(&b_state) {
            return Err(MOVED_MEANWHILE);
        }
        self.mark_before(from, &mut a_state, b_info.lower)?;
        self.mark_before(to, &mut b_state, a_info.lower)?;
        self.impure_if_copy(to, dirs.to(), a, &a_state)?;
        self.impure_if_copy(from, &mut dirs.from, b, &b_state)?;
        rename(from.fd.as_fd(), from.name, to.fd.as_fd(), to.name, RenameHow::Exchange)?;
        let gone = [
            self.nodes.take_link(&mut a_state, &from.dir, from.name),
            self.nodes.take_link(&mut b_state, &to.dir, to.name),
        ];
        self.nodes.add_link(&mut a_state, &to.dir, &to.name.into());
        self.nodes.add_link(&mut b_state, &from.dir, &from.name.into());
        self.list_upper(dirs.to(), to.name, a.kind, a.ino);
        self.list_upper(&mut dirs.from, from.name, b.kind, b.ino);
        drop((a_state, b_state, dirs));
        gone.iter().flatten().for_each(|parent| self.nodes.release(parent, 1));
        Ok(())
    }
}

/// A redirect that the filesystem cannot hold means that the directory cannot be renamed.
fn too_long(e: SysError) -> Error {
    match e.errno {
        Errno::NOSPC | Errno::RANGE | Errno::TOOBIG => Error::RedirectOff,
        _ => Error::Sys(e),
    }
}
