//! Open files: opening, data, holes, syncing, inode flags.

use super::error::{Result, call, check};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{Advice, FallocateFlags, FlockOperation, Mode, OFlags, ResolveFlags, SeekFrom};
use rustix::io::Errno;
use std::num::NonZeroU64;
use std::path::Path;

/// Which boundary a seek looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whence {
    /// The next data at or after the offset.
    Data,
    /// The next hole at or after the offset; the end of the file is one.
    Hole,
}

/// Opens a name in a directory; never follows it, never blocks on a fifo, never becomes a tty.
pub fn open_at(dir: BorrowedFd<'_>, name: &[u8], write: bool) -> Result<OwnedFd> {
    let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
    let flags =
        access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOATIME;
    call("openat", || {
        match rustix::fs::openat(dir, name, flags, Mode::empty()) {
            // O_NOATIME is for owners only.
            Err(Errno::PERM) => rustix::fs::openat(dir, name, flags - OFlags::NOATIME, Mode::empty()),
            opened => opened,
        }
    })
}

/// Opens a name in a directory as a mere reference (`O_PATH`); never follows it.
pub fn open_dir_path(dir: BorrowedFd<'_>, name: &[u8], directory: bool) -> Result<OwnedFd> {
    let kind = if directory { OFlags::DIRECTORY } else { OFlags::empty() };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | kind;
    call("openat", || rustix::fs::openat(dir, name, flags, Mode::empty()))
}

/// Opens a directory below `root` as a reference, by a path that must not leave it.
pub fn open_beneath(root: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = if path.is_empty() { b"." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    call("openat2", || {
        match rustix::fs::openat2(root, path, flags, Mode::empty(), resolve) {
            // Before Linux 5.6, or forbidden by a seccomp filter.
            Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(root, path, flags, Mode::empty()),
            opened => opened,
        }
    })
}

/// Opens a directory by its path as a reference, following symlinks: for the roots of layers.
pub fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    call("open", || rustix::fs::open(path, flags, Mode::empty()))
}

/// Begins to read a range into the page cache.
pub fn will_need(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<()> {
    call("posix_fadvise", || rustix::fs::fadvise(fd, offset, NonZeroU64::new(len), Advice::WillNeed))
}

/// Opens the object behind a descriptor again, with its own offset and access.
pub fn reopen(fd: BorrowedFd<'_>, write: bool) -> Result<OwnedFd> {
    let access = if write { OFlags::RDWR } else { OFlags::RDONLY };
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    call("openat", || {
        rustix::fs::open(path, access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())
    })
}

/// A second descriptor of the same open object.
pub fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    call("fcntl(F_DUPFD_CLOEXEC)", || rustix::io::fcntl_dupfd_cloexec(fd, 0))
}

/// Makes a nameless regular file on the filesystem of `dir`, open for reading and writing.
pub fn open_tmpfile(dir: BorrowedFd<'_>, mode: u32) -> Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::NOATIME | OFlags::CLOEXEC;
    call("openat(O_TMPFILE)", || rustix::fs::openat(dir, ".", flags, Mode::from_bits_truncate(mode)))
}

/// Makes a regular file that is not there yet, open for reading and writing.
pub fn create_file(dir: BorrowedFd<'_>, name: &[u8], mode: u32) -> Result<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    call("openat", || rustix::fs::openat(dir, name, flags, Mode::from_bits_truncate(mode)))
}

/// Reads at an offset until `buf` is full or the file ends; answers the bytes read.
pub fn read_at(fd: BorrowedFd<'_>, buf: &mut [u8], offset: u64) -> Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match call("pread64", || rustix::io::pread(fd, &mut buf[done..], offset + done as u64)) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.errno == Errno::INTR => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Writes all of `data` at an offset.
pub fn write_at(fd: BorrowedFd<'_>, data: &[u8], offset: u64) -> Result<()> {
    let mut done = 0;
    while done < data.len() {
        match call("pwrite64", || rustix::io::pwrite(fd, &data[done..], offset + done as u64)) {
            Ok(n) => done += n,
            Err(e) if e.errno == Errno::INTR => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Sets the size.
pub fn truncate(fd: BorrowedFd<'_>, size: u64) -> Result<()> {
    call("ftruncate", || rustix::fs::ftruncate(fd, size))
}

/// Allocates, punches or zeroes a range; `mode` is the kernel's.
pub fn fallocate(fd: BorrowedFd<'_>, mode: u32, offset: u64, len: u64) -> Result<()> {
    call("fallocate", || rustix::fs::fallocate(fd, FallocateFlags::from_bits_retain(mode), offset, len))
}

/// The next data or hole at or after `offset`; ENXIO past the end.
pub fn seek(fd: BorrowedFd<'_>, offset: u64, whence: Whence) -> Result<u64> {
    let to = match whence {
        Whence::Data => SeekFrom::Data(offset),
        Whence::Hole => SeekFrom::Hole(offset),
    };
    call("lseek", || rustix::fs::seek(fd, to))
}

/// Makes data and attributes of an open file or directory durable.
pub fn sync_file(fd: BorrowedFd<'_>) -> Result<()> {
    call("fsync", || rustix::fs::fsync(fd))
}

/// Makes the data of an open file durable.
pub fn sync_data(fd: BorrowedFd<'_>) -> Result<()> {
    call("fdatasync", || rustix::fs::fdatasync(fd))
}

/// Makes all of the filesystem that `fd` is on durable, or for a mount of ours writes back what
/// the kernel still holds.
pub fn sync_filesystem(fd: impl AsFd) -> Result<()> {
    call("syncfs", || rustix::fs::syncfs(fd))
}

/// Takes the exclusive lock of a file or directory without waiting; EWOULDBLOCK if another has it.
pub fn flock_exclusive(fd: BorrowedFd<'_>) -> Result<()> {
    call("flock", || rustix::fs::flock(fd, FlockOperation::NonBlockingLockExclusive))
}

/// Reads inode flags: `request` is FS_IOC_GETFLAGS or FS_IOC_FSGETXATTR, `out` its structure.
#[allow(unsafe_code)]
pub fn file_flags(fd: BorrowedFd<'_>, request: u32, out: &mut [u8; 28]) -> Result<()> {
    call("ioctl", || {
        // SAFETY: both requests write at most 28 bytes, the size of `struct fsxattr`.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), request.into(), out.as_mut_ptr()) }.into()).map(drop)
    })
}

/// Sets inode flags: `request` is FS_IOC_SETFLAGS or FS_IOC_FSSETXATTR, `value` its structure.
#[allow(unsafe_code)]
pub fn set_file_flags(fd: BorrowedFd<'_>, request: u32, value: &[u8; 28]) -> Result<()> {
    call("ioctl", || {
        // SAFETY: both requests read at most 28 bytes, the size of `struct fsxattr`.
        check(unsafe { libc::ioctl(fd.as_raw_fd(), request.into(), value.as_ptr()) }.into()).map(drop)
    })
}
