//! Open files: opening, data, holes, copying, syncing, inode flags.

use super::error::{Result, call, check};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{FallocateFlags, FlockOperation, Mode, OFlags, ResolveFlags, SeekFrom};
use rustix::io::Errno;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Makes a nameless regular file on the filesystem of `dir`.
pub fn open_tmpfile(dir: BorrowedFd<'_>, mode: u32) -> Result<OwnedFd> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    call("openat", || rustix::fs::openat(dir, ".", flags, Mode::from_bits_truncate(mode)))
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

/// Copies a range between files inside the kernel; answers the bytes copied.
pub fn copy_range(
    from: BorrowedFd<'_>,
    from_at: u64,
    to: BorrowedFd<'_>,
    to_at: u64,
    len: u64,
) -> Result<u64> {
    let (mut from_at, mut to_at) = (from_at, to_at);
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    call("copy_file_range", || {
        rustix::fs::copy_file_range(from, Some(&mut from_at), to, Some(&mut to_at), len)
    })
    .map(|n| n as u64)
}

/// Set once a filesystem pair refused to reflink, so that it is not asked for each file.
static NO_REFLINK: AtomicBool = AtomicBool::new(false);

/// What is done with data that was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteBack {
    /// The system writes it to the disk when it sees fit.
    Later,
    /// It is made durable by the copy, so the disk begins while the rest is copied.
    Durable,
}

/// Copies the first `len` bytes of `from` into the empty file `to`, keeping holes.
pub fn copy_sparse(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    len: u64,
    whole: bool,
    back: WriteBack,
) -> Result<()> {
    if whole && len > 0 && !NO_REFLINK.load(Ordering::Relaxed) {
        match call("ioctl(FICLONE)", || rustix::fs::ioctl_ficlone(to, from)) {
            // The files share their blocks: nothing was written.
            Ok(()) => return Ok(()),
            Err(e) if e.errno == Errno::OPNOTSUPP || e.errno == Errno::NOTTY => {
                NO_REFLINK.store(true, Ordering::Relaxed)
            }
            Err(e) if e.errno == Errno::XDEV || e.errno == Errno::INVAL => {}
            Err(e) => return Err(e),
        }
    }
    truncate(to, len)?;
    let mut at = 0;
    while at < len {
        let data = match seek(from, at, Whence::Data) {
            Ok(data) => data,
            // No data up to the end.
            Err(e) if e.errno == Errno::NXIO => break,
            // The filesystem does not know holes: all is data.
            Err(e) if e.errno == Errno::INVAL => at,
            Err(e) => return Err(e),
        };
        if data >= len {
            break;
        }
        let hole = seek(from, data, Whence::Hole).unwrap_or(len).clamp(data + 1, len);
        copy_range_all(from, data, to, data, hole - data, back)?;
        at = hole;
    }
    if back == WriteBack::Durable && len > 0 { sync_data(to) } else { Ok(()) }
}

/// So much is copied before the disk is set to work: large enough to be written in one go.
const WRITE_BACK_CHUNK: u64 = 8 << 20;

/// Copies all of a range, inside the kernel where it can; stops early only where `from` ends. Does
/// not wait for the disk.
pub fn copy_range_all(
    from: BorrowedFd<'_>,
    mut from_at: u64,
    to: BorrowedFd<'_>,
    mut to_at: u64,
    mut len: u64,
    back: WriteBack,
) -> Result<()> {
    let chunk = if back == WriteBack::Durable { WRITE_BACK_CHUNK } else { u64::MAX };
    while len > 0 {
        match copy_range(from, from_at, to, to_at, len.min(chunk)) {
            // A filesystem that claims EOF too early: let read and write decide.
            Ok(0) => return copy_by_hand(from, from_at, to, to_at, len),
            Ok(n) => {
                if n == chunk {
                    begin_write_back(to, to_at, n)?;
                }
                from_at += n;
                to_at += n;
                len -= n;
            }
            Err(e) if e.errno == Errno::INTR => {}
            Err(e) if matches!(e.errno, Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL) => {
                return copy_by_hand(from, from_at, to, to_at, len);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn copy_by_hand(
    from: BorrowedFd<'_>,
    mut from_at: u64,
    to: BorrowedFd<'_>,
    mut to_at: u64,
    mut len: u64,
) -> Result<()> {
    // 1 MiB: past it the cost of the calls no longer shows.
    let mut buf = vec![0u8; usize::try_from(len).unwrap_or(usize::MAX).min(1 << 20)];
    while len > 0 {
        let want = usize::try_from(len).unwrap_or(usize::MAX).min(buf.len());
        let got = read_at(from, &mut buf[..want], from_at)?;
        if got == 0 {
            break;
        }
        write_at(to, &buf[..got], to_at)?;
        from_at += got as u64;
        to_at += got as u64;
        len -= got as u64;
    }
    Ok(())
}

/// Sets the disk to work on a range, without waiting for it.
#[allow(unsafe_code)]
fn begin_write_back(fd: BorrowedFd<'_>, at: u64, len: u64) -> Result<()> {
    let (at, len) = (at.try_into().unwrap_or(i64::MAX), len.try_into().unwrap_or(i64::MAX));
    call("sync_file_range", || {
        // SAFETY: plain numbers; the descriptor is borrowed for the call.
        let done = unsafe { libc::sync_file_range(fd.as_raw_fd(), at, len, libc::SYNC_FILE_RANGE_WRITE) };
        match check(done.into()) {
            // A filesystem or a kernel that has no such thing: fdatasync does it all.
            Err(Errno::NOSYS | Errno::INVAL | Errno::OPNOTSUPP) => Ok(()),
            done => done.map(drop),
        }
    })
}

/// Makes data and attributes of an open file or directory durable.
pub fn sync_file(fd: BorrowedFd<'_>) -> Result<()> {
    call("fsync", || rustix::fs::fsync(fd))
}

/// Makes the data of an open file durable.
pub fn sync_data(fd: BorrowedFd<'_>) -> Result<()> {
    call("fdatasync", || rustix::fs::fdatasync(fd))
}

/// Begins to write a range of a file back, so that a later sync finds less to do; waits for nothing but
/// room in the device's queue.
#[allow(unsafe_code)]
pub fn start_writeback(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<()> {
    let (offset, len) = (offset.try_into().unwrap_or(i64::MAX), len.try_into().unwrap_or(i64::MAX));
    call("sync_file_range", || {
        // SAFETY: the call takes no pointer, and the descriptor is borrowed.
        let done = unsafe { libc::sync_file_range(fd.as_raw_fd(), offset, len, libc::SYNC_FILE_RANGE_WRITE) };
        check(done.into()).map(drop)
    })
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
