//! A half-made object in workdir: published by one atomic step, or removed on drop.

use super::Upper;
use crate::sys::{AsFd, BorrowedFd, OwnedFd, Ref, RenameHow, Result, open_at, open_dir_path, rename};

/// An object being made in workdir.
#[derive(Debug)]
pub struct Staged<'a> {
    upper: &'a Upper,
    /// Where it is made.
    dir: BorrowedFd<'a>,
    name: Vec<u8>,
    published: bool,
}

impl<'a> Staged<'a> {
    pub(super) fn new(upper: &'a Upper, dir: BorrowedFd<'a>, name: Vec<u8>) -> Self {
        Staged { upper, dir, name, published: false }
    }

    /// Its name in workdir.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Leaves it in workdir; answers its name.
    pub(super) fn keep(mut self) -> Vec<u8> {
        self.published = true;
        std::mem::take(&mut self.name)
    }

    /// The object, for attributes and xattrs.
    pub fn object(&self) -> Ref<'_> {
        Ref::At(self.dir, &self.name)
    }

    /// The regular file, open for writing.
    pub fn open(&self) -> Result<OwnedFd> {
        open_at(self.dir, &self.name, true)
    }

    /// A reference to the object that outlives its name.
    pub fn reference(&self) -> Result<OwnedFd> {
        open_dir_path(self.dir, &self.name, false)
    }

    /// Gives it its place, by rename.
    pub fn publish(mut self, dir: BorrowedFd<'_>, name: &[u8], how: RenameHow) -> Result<()> {
        self.upper.rename((self.dir, &self.name), (dir, name), how)?;
        self.published = true;
        Ok(())
    }

    /// Exchanges it with what stands at its place; what stood there is then the staged object, and
    /// is removed when the answer is dropped.
    pub fn swap(self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<Staged<'a>> {
        rename(self.dir, &self.name, dir, name, RenameHow::Exchange)?;
        Ok(self)
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if !self.published
            && let Err(e) = remove_tree(self.dir, &self.name)
        {
            // The next mount removes it.
            log::warn!("left in workdir: {}: {e}", String::from_utf8_lossy(&self.name));
        }
    }
}

/// Removes a name and all below it.
pub(super) fn remove_tree(dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    use crate::sys::{Errno, read_dir, remove_dir, unlink};
    match unlink(dir, name) {
        Ok(()) => return Ok(()),
        Err(e) if e.errno == Errno::ISDIR || e.errno == Errno::PERM => {}
        Err(e) => return Err(e),
    }
    if remove_dir(dir, name).is_ok() {
        return Ok(());
    }
    let inside = open_dir_path(dir, name, true)?;
    let mut names = Vec::new();
    read_dir(inside.as_fd(), |entry| names.push(entry.name.to_vec()))?;
    for child in names {
        remove_tree(inside.as_fd(), &child)?;
    }
    remove_dir(dir, name)
}
