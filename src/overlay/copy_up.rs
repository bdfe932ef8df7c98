//! Copy-up: rules C1 to C11.
//!
//! A copy is staged in workdir, a file's without a name where that can be, and published by one rename or link.
//! Nothing but the node's `copy_up` lock is held while data is copied.

use super::Overlay;
use super::error::{Error, Result};
use super::node::{Link, Node, NodeState, Place, UpperPart};
use crate::layer::{Contents, FdKey, Found, Staged, StagedCopy};
use crate::semantics::acl;
use crate::semantics::copy_up::{CopyUpPlan, Need, plan_copy_up, takes_xattr};
use crate::semantics::names::Mark;
use crate::semantics::owners::Owners;
use crate::sys::{
    AsFd, BorrowedFd, Errno, OwnedFd, Ref, WriteBack, XattrSet, chmod, get_xattr, set_xattr, stat, truncate,
    utimens,
};
use crate::types::{Attr, DeviceNumber, FileKind, RealId, SetTime, Timestamp};
use std::sync::Arc;

const CAPABILITY: &[u8] = b"security.capability";

/// A copy that is staged and complete.
pub(super) struct Copied<'a> {
    pub(super) staged: StagedCopy<'a>,
    pub(super) real: RealId,
    pub(super) metacopy: bool,
    /// A mark says of which lower object it is a copy.
    pub(super) recorded: bool,
}

impl Overlay {
    /// Makes sure that the upper has the object, with as much of its data as `need` says.
    pub(super) fn ensure_upper(&self, node: &Arc<Node>, need: Need) -> Result<()> {
        let enough = |state: &NodeState| match need {
            Need::Attributes => state.upper.is_some(),
            Need::Data | Need::DataUpTo(_) => state.is_whole_in_upper(),
        };
        if enough(&node.state.read()) {
            return Ok(());
        }
        self.writable()?;
        let _alone = node.copy_up.lock();
        loop {
            let (has_upper, link) = {
                let state = node.state.read();
                if enough(&state) {
                    return Ok(());
                }
                (state.upper.is_some(), state.links.first().cloned())
            };
            if has_upper {
                return self.bring_data(node, need);
            }
            if let Some(link) = &link {
                self.ensure_upper(&link.parent, Need::Attributes)?;
            }
            if self.copy_object(node, link.as_ref(), need)? {
                return Ok(());
            }
            // It was renamed or removed meanwhile: once more, for its new place.
        }
    }

    /// Copies a node that has no upper part. False if it moved meanwhile.
    fn copy_object(&self, node: &Arc<Node>, link: Option<&Link>, need: Need) -> Result<bool> {
        let (place, data) = {
            let state = node.state.read();
            let place = state.lower().cloned().ok_or(Error::NotFound)?;
            (place, state.lower_data().cloned())
        };
        let lower = self.stack.of(&place).look(&place.object)?;
        let metacopy = self.metacopy && link.is_some();
        let plan = plan_copy_up(node.kind, lower.attr.size, need, metacopy);
        let data = data.as_ref().unwrap_or(&place);
        let copied = self.stage_copy(&place, data, &lower, plan)?;
        let Some(link) = link else {
            return self.publish_nameless(node, copied);
        };
        if let Some(name) = self.index_name(&place, &lower)? {
            self.publish_index(node, copied, name, lower.attr.nlink)?;
            let dir = link.parent.clone();
            self.ensure_upper_name(&dir, &link.name, node)?;
            return Ok(true);
        }
        self.publish_copy(node, link, copied)
    }

    /// Stages a complete copy of a lower object.
    fn stage_copy(&self, place: &Place, data: &Place, lower: &Found, plan: CopyUpPlan) -> Result<Copied<'_>> {
        let upper = self.upper()?;
        let attr = &lower.attr;
        // Nobody else comes into workdir, so that it may have its mode before it has its owner.
        let mode = upper.backing_mode(mode_while_staged(attr));
        let staged = match attr.kind {
            FileKind::Directory => StagedCopy::Named(upper.stage_dir(mode)?),
            FileKind::Symlink => {
                let target = self.stack.of(place).read_link(&place.object)?;
                StagedCopy::Named(upper.stage_symlink(&target)?)
            }
            FileKind::CharDevice | FileKind::BlockDevice if lower.marks.device.is_some() => {
                StagedCopy::Named(self.stage_device(attr.kind, mode, attr.rdev)?)
            }
            kind => upper.stage_copy(kind, mode, attr.rdev)?,
        };
        match plan {
            CopyUpPlan::Data(len) if len > 0 => self.copy_data(&staged, data, len, len == attr.size)?,
            CopyUpPlan::Metacopy => staged.with_file(|file| truncate(file, attr.size))?,
            CopyUpPlan::Data(_) | CopyUpPlan::Node => {}
        }
        let (real, made) = stat(staged.object())?;
        let recorded = self.copy_attributes(&staged, &made, place, lower)?;
        let metacopy = plan == CopyUpPlan::Metacopy;
        if metacopy {
            // After the origin, since ext4's inodes of 256 bytes have room for one of both. What has none takes a
            // block, which a thousand files share if its content is the same: this mark's is, an origin's is not.
            upper.mark(staged.object(), Mark::Metacopy, b"")?;
        }
        Ok(Copied { staged, real, metacopy, recorded })
    }

    /// Stages a device that a layer keeps as an empty file: as a real one where that can be made, and
    /// is no whiteout.
    fn stage_device(&self, kind: FileKind, mode: u32, rdev: DeviceNumber) -> Result<Staged<'_>> {
        let upper = self.upper()?;
        if upper.owners().is_some() {
            return Ok(upper.stage_object(kind, mode, rdev)?);
        }
        let whiteout = kind == FileKind::CharDevice && rdev == DeviceNumber::default();
        match upper.stage_node(kind, mode, rdev) {
            Ok(staged) if !whiteout => return Ok(staged),
            Err(e) if e.errno != Errno::PERM => return Err(e.into()),
            _ => {}
        }
        let staged = upper.stage_node(FileKind::Regular, mode, DeviceNumber::default())?;
        upper.mark(staged.object(), Mark::Device, &super::create::device_mark(kind, rdev))?;
        Ok(staged)
    }

    fn write_back(&self) -> WriteBack {
        if self.durable { WriteBack::Durable } else { WriteBack::Later }
    }

    /// Copies data, and makes it durable: the name that the copy replaces was durable.
    fn copy_data(&self, staged: &StagedCopy<'_>, data: &Place, len: u64, whole: bool) -> Result<()> {
        let from = self.stack.of(data).open(&data.object)?;
        Ok(staged.with_file(|to| from.copy_to(to, len, whole, self.write_back()))?)
    }

    /// Owner, mode, xattrs, origin and times, in the order in which none undoes another: chown
    /// clears set-id bits and capabilities, and everything but utimens changes the times. Says whether
    /// the origin is recorded.
    fn copy_attributes(
        &self,
        staged: &StagedCopy<'_>,
        made: &Attr,
        place: &Place,
        found: &Found,
    ) -> Result<bool> {
        let (object, attr) = (staged.object(), &found.attr);
        let lower = self.stack.of(place);
        let upper = self.upper()?;
        self.copy_owner(object, made, attr)?;
        // An ACL would change the mode of the backing object, and is not shown.
        let acls = upper.owners().is_none();
        let takes = |name: &[u8]| takes_xattr(name, lower.owners()) && (acls || !acl::is_acl(name));
        let marks_read = matches!(attr.kind, FileKind::Regular | FileKind::Directory);
        if found.marks.others || !marks_read {
            let names = lower.list_xattrs(&place.object)?;
            for name in names.split(|b| *b == 0).filter(|n| !n.is_empty() && takes(n)) {
                if let Some(value) = lower.get_xattr(&place.object, name)? {
                    set_xattr(object, name, &value, XattrSet::Any)?;
                }
            }
        }
        let recorded = self.mark_origin(object, place)?;
        utimens(object, SetTime::To(attr.atime), SetTime::To(attr.mtime))?;
        Ok(recorded)
    }

    /// A view that shows one owner for all loses nothing where the process may not give files away.
    fn copy_owner(&self, object: Ref<'_>, made: &Attr, attr: &Attr) -> Result<()> {
        let squashed = self.users.squash.is_some() && self.groups.squash.is_some();
        match self.upper()?.give_owners(object, made, Owners::of(attr)) {
            // EINVAL: the user namespace has no such owner.
            Err(e) if squashed && matches!(e.errno, Errno::PERM | Errno::INVAL) => match attr.kind {
                FileKind::Symlink => Ok(()),
                _ => Ok(chmod(object, attr.mode)?),
            },
            done => Ok(done?),
        }
    }

    fn mark_origin(&self, object: Ref<'_>, place: &Place) -> Result<bool> {
        let Some(origin) = self.stack.of(place).origin(&place.object)? else {
            return Ok(false);
        };
        match self.upper()?.mark(object, Mark::Origin, origin.as_bytes()) {
            // A user's xattrs stand on files and directories only.
            Err(e) if matches!(e.errno, Errno::PERM | Errno::OPNOTSUPP) => Ok(false),
            done => Ok(done.map(|()| true)?),
        }
    }

    /// Publishes a copy at its name. False if the node has another name by now.
    fn publish_copy(&self, node: &Arc<Node>, link: &Link, copied: Copied<'_>) -> Result<bool> {
        let dir = self.upper_dir(&link.parent)?;
        let mut parent = link.parent.state.write();
        let mut state = node.state.write();
        if !state.links.iter().any(|l| l.is(&link.parent, &link.name)) {
            return Ok(false);
        }
        let keep_times = self.dir_times(dir.as_fd())?;
        self.mark_impure(dir.as_fd(), &mut parent)?;
        let open = copied.staged.publish(dir.as_fd(), &link.name)?;
        // From here on it is there, whatever fails after.
        state.upper = Some(UpperPart { real: copied.real, metacopy: copied.metacopy, index: None });
        if !copied.recorded {
            self.nodes.keep_number(copied.real, node);
        }
        // A copy of data is written to next.
        if let Some(file) = open.filter(|_| !copied.metacopy) {
            self.pool.put(FdKey::UpperData(node.ino), Arc::new(file));
        }
        if let Some(listing) = parent.dir_mut().and_then(|dir| dir.listing.as_mut()) {
            listing.set_copied_up(&link.name);
        }
        self.restore_times(dir.as_fd(), keep_times)?;
        Ok(true)
    }

    /// Keeps a copy of an object that has no name any more.
    fn publish_nameless(&self, node: &Arc<Node>, copied: Copied<'_>) -> Result<bool> {
        let anchor = copied.staged.into_reference()?;
        let mut state = node.state.write();
        state.upper = Some(UpperPart { real: copied.real, metacopy: false, index: None });
        state.anchor = Some(Arc::new(anchor));
        Ok(true)
    }

    /// Times of an upper directory before a copy is published in it (rule C3).
    pub(super) fn dir_times(&self, dir: BorrowedFd<'_>) -> Result<(Timestamp, Timestamp)> {
        let (_, attr) = stat(Ref::Fd(dir))?;
        Ok((attr.atime, attr.mtime))
    }

    /// Sets them back.
    pub(super) fn restore_times(&self, dir: BorrowedFd<'_>, times: (Timestamp, Timestamp)) -> Result<()> {
        Ok(utimens(Ref::Fd(dir), SetTime::To(times.0), SetTime::To(times.1))?)
    }

    /// Marks an upper directory that is about to hold an object with an origin or a device mark.
    pub(super) fn mark_impure(&self, dir: BorrowedFd<'_>, state: &mut NodeState) -> Result<()> {
        let upper = self.upper()?;
        if let Some(body) = state.dir_mut()
            && !body.impure
            && upper.marks().is_some()
        {
            upper.mark(Ref::Fd(dir), Mark::Impure, b"y")?;
            body.impure = true;
        }
        Ok(())
    }

    /// Brings the data of a metacopied upper file (rule C5). Until the mark is removed the lower's
    /// data is shown, so a crash on the way changes nothing.
    fn bring_data(&self, node: &Arc<Node>, need: Need) -> Result<()> {
        let data = {
            let state = node.state.read();
            if state.leaf().is_some_and(|leaf| leaf.rare().data_missing) {
                return Err(Error::DataMissing);
            }
            state.lower_data().cloned().ok_or(Error::DataMissing)?
        };
        let to = self.upper_data(node)?;
        let (attr, capability) = self.with_upper(node, |object, _| {
            let (_, attr) = stat(object)?;
            Ok((attr, get_xattr(object, CAPABILITY)?))
        })?;
        let len = match need {
            Need::DataUpTo(cut) => attr.size.min(cut),
            Need::Attributes | Need::Data => attr.size,
        };
        let from = self.stack.of(&data).open(&data.object)?;
        let brought = self.copy_into(&from, &to, len, attr.size);
        if brought.is_err() {
            // The size it showed, and no space taken for data that does not count.
            truncate(to.as_fd(), 0).and_then(|()| truncate(to.as_fd(), attr.size))?;
        }
        self.restore_attributes(node, &attr, capability.as_deref())?;
        brought?;
        self.with_upper(node, |object, _| Ok(self.upper()?.unmark(object, Mark::Metacopy)?))?;
        let mut state = node.state.write();
        if let Some(upper) = &mut state.upper {
            upper.metacopy = false;
        }
        drop(state);
        self.pool.remove(FdKey::LowerData(node.ino));
        Ok(())
    }

    /// Fills an upper file that has its size and no data; `len` bytes are needed.
    fn copy_into(&self, from: &Contents, to: &OwnedFd, len: u64, size: u64) -> Result<()> {
        // The cut is the change that was asked for: it may show before the rest is done.
        truncate(to.as_fd(), len)?;
        Ok(from.copy_to(to.as_fd(), len, len == size, self.write_back())?)
    }

    /// Undoes what writing did to the attributes.
    fn restore_attributes(&self, node: &Arc<Node>, attr: &Attr, capability: Option<&[u8]>) -> Result<()> {
        self.with_upper(node, |object, _| {
            if let Some(value) = capability {
                set_xattr(object, CAPABILITY, value, XattrSet::Any)?;
            }
            if attr.mode & 0o6000 != 0 {
                chmod(object, attr.mode)?;
            }
            Ok(utimens(object, SetTime::To(attr.atime), SetTime::To(attr.mtime))?)
        })
    }
}

/// The permissions that a copy is made with: its own, if they let us fill it, and none that a new owner
/// takes away.
fn mode_while_staged(attr: &Attr) -> u32 {
    let needed = if attr.kind.is_dir() { 0o700 } else { 0o600 };
    if attr.mode & needed == needed { attr.mode & 0o777 } else { needed }
}
