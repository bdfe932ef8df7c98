//! Reading a directory.

use super::error::{Result, SysError, call};
use crate::types::FileKind;
use rustix::fd::BorrowedFd;
use rustix::fs::{FileType, Mode, OFlags, RawDir};

/// One entry as getdents gives it.
#[derive(Clone, Copy, Debug)]
pub struct RawDirEntry<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its inode number in the backing filesystem.
    pub ino: u64,
    /// Its kind; `None` where the filesystem does not say.
    pub kind: Option<FileKind>,
}

fn kind(file_type: FileType) -> Option<FileKind> {
    match file_type {
        FileType::RegularFile => Some(FileKind::Regular),
        FileType::Directory => Some(FileKind::Directory),
        FileType::Symlink => Some(FileKind::Symlink),
        FileType::CharacterDevice => Some(FileKind::CharDevice),
        FileType::BlockDevice => Some(FileKind::BlockDevice),
        FileType::Fifo => Some(FileKind::Fifo),
        FileType::Socket => Some(FileKind::Socket),
        FileType::Unknown => None,
    }
}

/// Calls `each` for every entry of the directory but `.` and `..`, in the order of the filesystem.
pub fn read_dir(dir: BorrowedFd<'_>, mut each: impl FnMut(RawDirEntry<'_>)) -> Result<()> {
    // A descriptor of its own: the offset of a shared one would be shared too.
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = call("openat", || rustix::fs::openat(dir, ".", flags, Mode::empty()))?;
    // 32 KiB: what glibc's readdir uses; larger buffers gained nothing.
    let mut buf = Vec::with_capacity(32_768);
    call("getdents64", || Ok(()))?;
    let mut entries = RawDir::new(&fd, buf.spare_capacity_mut());
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(|errno| SysError { call: "getdents64", errno })?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            each(RawDirEntry { name, ino: entry.ino(), kind: kind(entry.file_type()) });
        }
    }
    Ok(())
}
