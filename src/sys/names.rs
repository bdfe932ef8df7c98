//! Names in directories: making, linking, renaming and removing them.

use super::error::{Result, call};
use super::object::Ref;
use crate::types::{DeviceNumber, FileKind};
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::CString;

/// What rename does with its target and with the old name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameHow {
    /// Replace the target if there is one.
    Replace,
    /// EEXIST if there is a target.
    NoReplace,
    /// Swap the two.
    Exchange,
    /// Replace, and leave a whiteout at the old name.
    Whiteout,
}

fn file_type(kind: FileKind) -> FileType {
    match kind {
        FileKind::Regular => FileType::RegularFile,
        FileKind::Directory => FileType::Directory,
        FileKind::Symlink => FileType::Symlink,
        FileKind::CharDevice => FileType::CharacterDevice,
        FileKind::BlockDevice => FileType::BlockDevice,
        FileKind::Fifo => FileType::Fifo,
        FileKind::Socket => FileType::Socket,
    }
}

/// Makes a regular file, fifo or socket.
pub fn make_node(dir: BorrowedFd<'_>, name: &[u8], kind: FileKind, mode: u32) -> Result<()> {
    make_device(dir, name, kind, mode, DeviceNumber::default())
}

/// Makes a node of any kind but a directory or symlink.
pub fn make_device(
    dir: BorrowedFd<'_>,
    name: &[u8],
    kind: FileKind,
    mode: u32,
    rdev: DeviceNumber,
) -> Result<()> {
    let dev = rustix::fs::makedev(rdev.major, rdev.minor);
    let mode = Mode::from_bits_truncate(mode);
    call("mknodat", || match rustix::fs::mknodat(dir, name, file_type(kind), mode, dev) {
        // A filesystem without mknod, as vfat.
        Err(Errno::PERM | Errno::OPNOTSUPP) if kind == FileKind::Regular => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            rustix::fs::openat(dir, name, flags, mode).map(drop)
        }
        done => done,
    })
}

/// Makes a directory.
pub fn make_dir(dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<()> {
    call("mkdirat", || rustix::fs::mkdirat(dir, name, Mode::from_bits_truncate(mode)))
}

/// Makes a symlink.
pub fn make_symlink(dir: BorrowedFd<'_>, name: &[u8], target: &[u8]) -> Result<()> {
    call("symlinkat", || rustix::fs::symlinkat(target, dir, name))
}

/// The target of a symlink.
pub fn read_link(dir: BorrowedFd<'_>, name: &[u8]) -> Result<Vec<u8>> {
    call("readlinkat", || rustix::fs::readlinkat(dir, name, Vec::new())).map(CString::into_bytes)
}

/// Gives an object a second name.
pub fn link(from: BorrowedFd<'_>, name: &[u8], to: BorrowedFd<'_>, new_name: &[u8]) -> Result<()> {
    call("linkat", || rustix::fs::linkat(from, name, to, new_name, AtFlags::empty()))
}

/// The same for an object that may be nameless.
pub fn link_object(object: Ref<'_>, to: BorrowedFd<'_>, new_name: &[u8]) -> Result<()> {
    match object {
        Ref::At(dir, name) => link(dir, name, to, new_name),
        Ref::Fd(file) => call("linkat", || {
            match rustix::fs::linkat(file, "", to, new_name, AtFlags::EMPTY_PATH) {
                // Who may not search all directories may link by descriptor only what he opened himself, and before
                // Linux 6.10 not even that. Or there is no such directory.
                Err(Errno::NOENT) => {
                    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
                    rustix::fs::linkat(CWD, path, to, new_name, AtFlags::SYMLINK_FOLLOW)
                }
                done => done,
            }
        }),
    }
}

/// Removes a name that is not a directory.
pub fn unlink(dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    call("unlinkat", || rustix::fs::unlinkat(dir, name, AtFlags::empty()))
}

/// Removes an empty directory.
pub fn remove_dir(dir: BorrowedFd<'_>, name: &[u8]) -> Result<()> {
    call("rmdir", || rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR))
}

/// Renames, as `how` says, in one atomic step.
pub fn rename(
    from: BorrowedFd<'_>,
    name: &[u8],
    to: BorrowedFd<'_>,
    new_name: &[u8],
    how: RenameHow,
) -> Result<()> {
    let (call_name, flags) = match how {
        RenameHow::Replace => ("renameat2", RenameFlags::empty()),
        RenameHow::NoReplace => ("renameat2(RENAME_NOREPLACE)", RenameFlags::NOREPLACE),
        RenameHow::Exchange => ("renameat2(RENAME_EXCHANGE)", RenameFlags::EXCHANGE),
        RenameHow::Whiteout => ("renameat2(RENAME_WHITEOUT)", RenameFlags::WHITEOUT),
    };
    call(call_name, || rustix::fs::renameat_with(from, name, to, new_name, flags))
}
