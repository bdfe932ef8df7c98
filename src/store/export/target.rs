//! Files and directories that appear whole, or not at all.

use crate::store::disk::Dir;
use crate::store::error::{Result, StoreError};
use crate::sys::{self, AsFd, Errno, Ref, RenameHow};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Bytes after which writing back is begun: long enough for the disk to work in large pieces.
const WRITE_BACK: u64 = 8 << 20;

/// A file in the making.
pub(super) struct NewFile {
    file: File,
    path: PathBuf,
    written: u64,
    /// Up to where writing back was begun.
    begun: u64,
    place: Place,
}

/// Where the file is until it is published.
enum Place {
    /// At its path: a device or a pipe, which cannot be replaced.
    There,
    /// Without a name: a death leaves nothing.
    Nameless(Dir, OsString),
    /// Beside its path, under another name, where the filesystem has no nameless files.
    Beside(Dir, OsString, OsString),
}

/// The directory of a path, and its name in it.
fn split(path: &Path) -> Result<(PathBuf, OsString)> {
    let name = path.file_name();
    let name = name.ok_or_else(|| StoreError::io("create", path)(ErrorKind::InvalidInput.into()))?;
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((parent.unwrap_or(Path::new(".")).to_owned(), name.to_owned()))
}

/// A name beside another one, of this process.
fn beside(name: &OsStr) -> OsString {
    let mut other = OsString::from(".");
    other.push(name);
    other.push(format!(".{}.tmp", std::process::id()));
    other
}

impl NewFile {
    pub(super) fn create(path: &Path) -> Result<NewFile> {
        let special = std::fs::metadata(path).is_ok_and(|metadata| !metadata.is_file());
        let (file, place) = if special {
            (File::options().write(true).open(path).map_err(StoreError::io("write", path))?, Place::There)
        } else {
            nameless(path)?
        };
        Ok(NewFile { file, path: path.to_owned(), written: 0, begun: 0, place })
    }

    /// Puts it at its path, durable.
    pub(super) fn publish(mut self) -> Result<()> {
        if matches!(self.place, Place::There) {
            return Ok(());
        }
        sys::sync_file(self.file.as_fd()).map_err(StoreError::sys("write", &self.path))?;
        let (dir, other, name) = match std::mem::replace(&mut self.place, Place::There) {
            Place::There => return Ok(()),
            Place::Beside(dir, other, name) => (dir, other, name),
            Place::Nameless(dir, name) => {
                let object = Ref::Fd(self.file.as_fd());
                match sys::link_object(object, dir.fd(), name.as_bytes()) {
                    Ok(()) => return dir.sync(),
                    // What stands there can only be replaced by a rename.
                    Err(e) if e.errno == Errno::EXIST => {}
                    Err(e) => return Err(StoreError::sys("write", &self.path)(e)),
                }
                let other = beside(&name);
                let linked = sys::link_object(object, dir.fd(), other.as_bytes());
                linked.map_err(StoreError::sys("write", &self.path))?;
                (dir, other, name)
            }
        };
        let renamed = sys::rename(dir.fd(), other.as_bytes(), dir.fd(), name.as_bytes(), RenameHow::Replace);
        if let Err(e) = renamed {
            dir.remove_file(other.as_bytes())?;
            return Err(StoreError::sys("write", &self.path)(e));
        }
        dir.sync()
    }
}

/// Makes a file that has no name yet, or one beside the path.
fn nameless(path: &Path) -> Result<(File, Place)> {
    let (parent, name) = split(path)?;
    let dir = Dir::open(&parent)?;
    match sys::open_tmpfile(dir.fd(), 0o644) {
        Ok(fd) => Ok((File::from(fd), Place::Nameless(dir, name))),
        Err(e) if matches!(e.errno, Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => {
            let other = beside(&name);
            let made = sys::create_file(dir.fd(), other.as_bytes(), 0o644);
            let file = made.map_err(StoreError::sys("create", path))?;
            Ok((File::from(file), Place::Beside(dir, other, name)))
        }
        Err(e) => Err(StoreError::sys("create", path)(e)),
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Place::Beside(dir, other, _) = &self.place
            && let Err(e) = dir.remove_file(other.as_bytes())
        {
            log::warn!("{e}");
        }
    }
}

impl Write for NewFile {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let written = self.file.write(data)?;
        self.written += written as u64;
        let waiting = self.written - self.begun;
        if waiting >= WRITE_BACK && !matches!(self.place, Place::There) {
            // Only a hint: what it does not do, the sync does.
            if let Err(e) = sys::start_writeback(self.file.as_fd(), self.begun, waiting) {
                log::debug!("{e}");
            }
            self.begun = self.written;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// A directory in the making, removed on drop.
pub(super) struct NewDir {
    /// Where it is; nothing once it is published.
    making: Option<PathBuf>,
    path: PathBuf,
}

impl NewDir {
    pub(super) fn create(path: &Path) -> Result<NewDir> {
        match std::fs::read_dir(path) {
            Ok(mut inside) => {
                if inside.next().is_some() {
                    return Err(StoreError::io("write to", path)(ErrorKind::DirectoryNotEmpty.into()));
                }
            }
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Err(e) => return Err(StoreError::io("write to", path)(e)),
        }
        let (parent, name) = split(path)?;
        let making = parent.join(beside(&name));
        std::fs::create_dir(&making).map_err(StoreError::io("create", &making))?;
        Ok(NewDir { making: Some(making), path: path.to_owned() })
    }

    pub(super) fn path(&self) -> &Path {
        self.making.as_deref().unwrap_or(&self.path)
    }

    /// Puts it at its path; an empty directory there is replaced.
    pub(super) fn publish(mut self) -> Result<()> {
        let dir = Dir::open(self.path())?;
        sys::sync_filesystem(dir.fd()).map_err(StoreError::sys("write", &self.path))?;
        std::fs::rename(self.path(), &self.path).map_err(StoreError::io("write", &self.path))?;
        self.making = None;
        Dir::open(&split(&self.path)?.0)?.sync()
    }
}

impl Drop for NewDir {
    fn drop(&mut self) {
        if let Some(making) = &self.making
            && let Err(e) = std::fs::remove_dir_all(making)
        {
            log::warn!("{}: {e}", making.display());
        }
    }
}
