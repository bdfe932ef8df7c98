//! A half-made object in workdir: published by one atomic step, or removed on drop.

use super::Upper;
use crate::sys::{
    AsFd, BorrowedFd, OwnedFd, Ref, RenameHow, Result, link_object, open_at, open_dir_path, rename,
};

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

/// A staged copy of a lower object. A regular file has no name before it is published, where the filesystem can
/// make such: to make a name and move it costs more than to give one once.
#[derive(Debug)]
pub enum StagedCopy<'a> {
    /// It has a name in workdir.
    Named(Staged<'a>),
    /// It is a regular file, open for reading and writing, and gone when that is closed.
    Nameless(OwnedFd),
}

impl StagedCopy<'_> {
    /// The object, for attributes and xattrs.
    pub fn object(&self) -> Ref<'_> {
        match self {
            StagedCopy::Named(staged) => staged.object(),
            StagedCopy::Nameless(file) => Ref::Fd(file.as_fd()),
        }
    }

    /// Runs `body` on the regular file, open for writing.
    pub fn with_file<T>(&self, body: impl FnOnce(BorrowedFd<'_>) -> Result<T>) -> Result<T> {
        match self {
            StagedCopy::Named(staged) => body(staged.open()?.as_fd()),
            StagedCopy::Nameless(file) => body(file.as_fd()),
        }
    }

    /// A reference to the object, which has no name from then on.
    pub fn into_reference(self) -> Result<OwnedFd> {
        match self {
            StagedCopy::Named(staged) => staged.reference(),
            StagedCopy::Nameless(file) => Ok(file),
        }
    }

    /// Gives it its place, where nothing may be yet; answers the file if it is open.
    pub fn publish(self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<Option<OwnedFd>> {
        match self {
            StagedCopy::Named(staged) => staged.publish(dir, name, RenameHow::NoReplace).map(|()| None),
            StagedCopy::Nameless(file) => link_object(Ref::Fd(file.as_fd()), dir, name).map(|()| Some(file)),
        }
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
