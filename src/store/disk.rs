//! Names and files on disk, made durable: directories that are synced, files that are whole or absent.
//!
//! Everything that changes the cache goes through the wrappers of `sys`, so that tests can let the
//! process die at each step.

use super::error::{Result, StoreError};
use crate::sys::{self, AsFd, BorrowedFd, Errno, OwnedFd, Ref, RenameHow};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs::File;
use std::path::{Path, PathBuf};

/// The mode of blobs and indexes: nobody writes to them again.
pub(super) const READ_ONLY: u32 = 0o444;

/// A directory that is open for reading, so that its names can be made durable.
#[derive(Debug)]
pub(super) struct Dir {
    fd: OwnedFd,
    path: PathBuf,
}

impl Dir {
    pub(super) fn open(path: &Path) -> Result<Dir> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        let fd = opened.map_err(std::io::Error::from).map_err(StoreError::io("open", path))?;
        Ok(Dir { fd, path: path.to_owned() })
    }

    /// Opens a directory, making it and its parents where they are missing.
    pub(super) fn create(path: &Path) -> Result<Dir> {
        std::fs::create_dir_all(path).map_err(StoreError::io("create", path))?;
        Dir::open(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Makes the names in it durable.
    pub(super) fn sync(&self) -> Result<()> {
        sys::sync_file(self.fd()).map_err(StoreError::sys("sync", &self.path))
    }

    /// The size of the regular file of that name, if there is one.
    pub(super) fn size_of(&self, name: &str) -> Result<Option<u64>> {
        match sys::stat(Ref::At(self.fd(), name.as_bytes())) {
            Ok((_, attr)) => Ok(Some(attr.size)),
            Err(e) if e.errno == Errno::NOENT => Ok(None),
            Err(e) => Err(StoreError::sys("look at", &self.path.join(name))(e)),
        }
    }

    /// Makes a file that is not there yet, open for reading and writing.
    pub(super) fn create_file(&self, name: &str, mode: u32) -> Result<File> {
        let made = sys::create_file(self.fd(), name.as_bytes(), mode);
        made.map(File::from).map_err(StoreError::sys("create", &self.path.join(name)))
    }

    /// Makes a file with these bytes and makes them durable.
    pub(super) fn write_file(&self, name: &str, mode: u32, bytes: &[u8]) -> Result<()> {
        let path = self.path.join(name);
        let file = self.create_file(name, mode)?;
        sys::write_at(file.as_fd(), bytes, 0).map_err(StoreError::sys("write", &path))?;
        sys::sync_file(file.as_fd()).map_err(StoreError::sys("sync", &path))
    }

    /// Moves a file, over what stands at its new name.
    pub(super) fn move_file(&self, name: &str, to: &Dir, new_name: &str) -> Result<()> {
        let moved = sys::rename(self.fd(), name.as_bytes(), to.fd(), new_name.as_bytes(), RenameHow::Replace);
        moved.map_err(StoreError::sys("write", &to.path.join(new_name)))
    }

    /// Removes a file; none of that name is well, too.
    pub(super) fn remove_file(&self, name: &[u8]) -> Result<()> {
        match sys::unlink(self.fd(), name) {
            Ok(()) => Ok(()),
            Err(e) if e.errno == Errno::NOENT => Ok(()),
            Err(e) => Err(StoreError::sys("remove", &self.path.join(lossy(name)))(e)),
        }
    }

    /// The names in it, sorted.
    pub(super) fn names(&self) -> Result<Vec<Vec<u8>>> {
        let mut names = Vec::new();
        sys::read_dir(self.fd(), |entry| names.push(entry.name.to_vec()))
            .map_err(StoreError::sys("read", &self.path))?;
        names.sort();
        Ok(names)
    }
}

/// Takes a flock; answers whether it was got. Only a call that does not wait may fail to.
pub(super) fn flock(fd: BorrowedFd<'_>, path: &Path, how: FlockOperation) -> Result<bool> {
    loop {
        match rustix::fs::flock(fd, how) {
            Ok(()) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Ok(false),
            Err(errno) => return Err(StoreError::io("lock", path)(errno.into())),
        }
    }
}

/// A name for a message.
pub(super) fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
