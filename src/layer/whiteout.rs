//! Writing whiteouts, in the form that the upper holds: rule U15.
//!
//! 1. *A removal must not cost an inode.* Whiteouts that stand at their name are links of a shared
//!    one in workdir, where the filesystem has links.
//! 2. *Some filesystems refuse devices, some xattrs too.* [`WhiteoutForm`] says which form is
//!    written; each is made in one step.
//! 3. *Some renames cannot leave a whiteout.* A file `.wh.NAME` hides NAME in the layers below and
//!    shows nothing new while NAME is there: [`Upper::hide`] puts it there before such a step, and
//!    [`Upper::tidy`] turns it into the usual form after.

use super::probe::WHITEOUT;
use super::{Entry, Reading, Staged, Upper, list_directory};
use crate::semantics::names::{Mark, WHITEOUT_PREFIX};
use crate::sys::{
    AsFd, BorrowedFd, Errno, OwnedFd, Ref, RenameHow, Result, link, make_device, open_dir_path, stat, unlink,
};
use crate::types::{DeviceNumber, FileKind, WhiteoutForm};

fn beside(name: &[u8]) -> Vec<u8> {
    [WHITEOUT_PREFIX, name].concat()
}

/// Takes an error for success that says so.
fn unless(done: Result<()>, fine: Errno) -> Result<()> {
    match done {
        Err(e) if e.errno != fine => Err(e),
        _ => Ok(()),
    }
}

impl Upper {
    /// The form in which whiteouts are written.
    pub fn whiteouts(&self) -> WhiteoutForm {
        self.features().whiteouts
    }

    /// Makes a whiteout at a name of which the upper has nothing.
    pub fn make_whiteout(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        match self.whiteouts() {
            WhiteoutForm::File => self.hide(dir, name),
            _ if !self.features().links => self
                .stage(|work, staged| self.new_whiteout(work, staged))?
                .publish(dir, name, RenameHow::NoReplace),
            _ => self.link_whiteout(dir, name),
        }
    }

    /// Stages a whiteout that is to stand at its name.
    pub fn stage_whiteout(&self) -> Result<Staged<'_>> {
        match self.features().links {
            true => self.stage(|work, staged| self.link_whiteout(work, staged)),
            false => self.stage(|work, staged| self.new_whiteout(work, staged)),
        }
    }

    /// Makes a whiteout that is no link.
    pub(super) fn new_whiteout(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        if self.whiteouts() == WhiteoutForm::Device {
            return make_device(dir, name, FileKind::CharDevice, 0, WHITEOUT);
        }
        // Of a mode that lets a user mark it.
        make_device(dir, name, FileKind::Regular, 0o644, DeviceNumber::default())?;
        let marked = self.mark(Ref::At(dir, name), Mark::Whiteout, b"y");
        if marked.is_err()
            && let Err(e) = unlink(dir, name)
        {
            log::warn!("left in workdir: {}: {e}", String::from_utf8_lossy(name));
        }
        marked
    }

    /// Links the shared whiteout to a name.
    fn link_whiteout(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        let mut shared = self.shared_whiteout().lock();
        if let Some(whiteout) = &*shared {
            match link(self.work(), whiteout, dir, name) {
                // Full: the next one starts anew. Its last name goes when the mount ends.
                Err(e) if e.errno == Errno::MLINK => {}
                done => return done,
            }
        }
        let made = self.stage_as("#w", |work, staged| self.new_whiteout(work, staged))?;
        link(self.work(), made.name(), dir, name)?;
        let full = shared.replace(made.keep());
        full.map_or(Ok(()), |full| self.discard(&full))
    }

    /// Hides a name in the layers below by a file beside it. While the upper has the name itself, and
    /// it shows nothing of the lowers, this changes nothing.
    /// Where there can be no such file this does nothing, and the change is two steps.
    pub fn hide(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        if !self.features().beside {
            return Ok(());
        }
        let made = make_device(dir, &beside(name), FileKind::Regular, 0o644, DeviceNumber::default());
        unless(made, Errno::EXIST)
    }

    /// Takes the file beside a name away.
    pub fn unhide(&self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
        if !self.features().beside {
            return Ok(());
        }
        unless(unlink(dir, &beside(name)), Errno::NOENT)
    }

    /// After a step that relied on [`Upper::hide`]: with `whiteout` the name stays hidden, in the usual
    /// form. The step is made, so what fails here is only noted.
    pub fn tidy(&self, dir: BorrowedFd<'_>, name: &[u8], whiteout: bool) {
        let usual = || match (whiteout, self.whiteouts()) {
            (true, WhiteoutForm::File) => Ok(()),
            (true, _) => self.make_whiteout(dir, name).and_then(|()| self.unhide(dir, name)),
            (false, _) => self.unhide(dir, name),
        };
        if let Err(e) = usual() {
            log::warn!("whiteout of a moved or removed name: {e}");
        }
    }

    /// Brings the whiteout of a name to stand beside it, or at it in a form that may be moved.
    pub fn settle_whiteout(&self, dir: BorrowedFd<'_>, name: &[u8], to_beside: bool) -> Result<()> {
        if to_beside {
            self.hide(dir, name)?;
            return unless(unlink(dir, name), Errno::NOENT);
        }
        match stat(Ref::At(dir, name)) {
            // A marked file may not be one in another directory.
            Ok((_, attr)) if attr.kind == FileKind::Regular && self.whiteouts() == WhiteoutForm::Device => {
                self.stage_whiteout()?.publish(dir, name, RenameHow::Replace)
            }
            Ok(_) => Ok(()),
            Err(e) if e.errno == Errno::NOENT => {
                self.make_whiteout(dir, name)?;
                self.unhide(dir, name)
            }
            Err(e) => Err(e),
        }
    }

    /// Removes all whiteouts of a directory that shows nothing of the lowers, or nothing at all.
    pub fn purge_whiteouts(&self, directory: Ref<'_>) -> Result<()> {
        let at = directory.at();
        let fd: OwnedFd = open_dir_path(at.dir, if at.name.is_empty() { b"." } else { at.name }, true)?;
        let mut names = Vec::new();
        let reading = Reading { xattr_whiteouts: true, ..Reading::default() };
        list_directory(&fd, self.device(), reading, &mut |entry: Entry<'_>| {
            if entry.whiteout {
                names.push(entry.name.to_vec());
            }
        })?;
        for name in names {
            // Only what is a whiteout at its name: beside one there may be an object.
            if super::probe_name(Ref::At(fd.as_fd(), &name), true)?.is_some_and(|(_, whiteout)| whiteout) {
                unlink(fd.as_fd(), &name)?;
            }
            self.unhide(fd.as_fd(), &name)?;
        }
        Ok(())
    }
}
