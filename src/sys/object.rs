//! Attributes of one object, named or nameless.

use super::error::{Result, call, check};
use crate::types::{Attr, DeviceNumber, FileKind, FsStats, RealId, SetTime, Timestamp};
use rustix::fd::{AsFd, AsRawFd, BorrowedFd};
use rustix::fs::{AtFlags, Gid, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use std::ffi::CString;

/// One object of a backing filesystem.
#[derive(Clone, Copy, Debug)]
pub enum Ref<'a> {
    /// A name in an open directory; never followed if it is a symlink.
    At(BorrowedFd<'a>, &'a [u8]),
    /// An open descriptor, `O_PATH` or not.
    Fd(BorrowedFd<'a>),
}

/// How the `*at` calls are to be told of a [`Ref`].
pub struct RefKind<'a> {
    /// The directory, or the object itself.
    pub dir: BorrowedFd<'a>,
    /// The name in it, or empty.
    pub name: &'a [u8],
    /// `AT_SYMLINK_NOFOLLOW` or `AT_EMPTY_PATH`.
    pub flags: AtFlags,
}

impl<'a> Ref<'a> {
    /// Directory, name and flags for the `*at` calls.
    pub fn at(self) -> RefKind<'a> {
        match self {
            Ref::At(dir, name) => RefKind { dir, name, flags: AtFlags::SYMLINK_NOFOLLOW },
            Ref::Fd(fd) => RefKind { dir: fd, name: b"", flags: AtFlags::EMPTY_PATH },
        }
    }

    /// The path below `/proc/self/fd` that leads to the object on kernels without the `*at` call.
    pub(super) fn proc_path(self) -> rustix::io::Result<CString> {
        let mut path = format!("/proc/self/fd/{}", self.at().dir.as_raw_fd()).into_bytes();
        if let Ref::At(_, name) = self {
            path.push(b'/');
            path.extend_from_slice(name);
        }
        CString::new(path).map_err(|_| Errno::INVAL)
    }
}

fn kind_of(mode: u32) -> FileKind {
    match mode & libc::S_IFMT {
        libc::S_IFDIR => FileKind::Directory,
        libc::S_IFLNK => FileKind::Symlink,
        libc::S_IFCHR => FileKind::CharDevice,
        libc::S_IFBLK => FileKind::BlockDevice,
        libc::S_IFIFO => FileKind::Fifo,
        libc::S_IFSOCK => FileKind::Socket,
        _ => FileKind::Regular,
    }
}

fn timestamp(secs: i64, nanos: u64) -> Timestamp {
    Timestamp { secs, nanos: u32::try_from(nanos).unwrap_or(0) }
}

/// Identity and attributes of an object.
pub fn stat(object: Ref<'_>) -> Result<(RealId, Attr)> {
    let at = object.at();
    let st = call("newfstatat", || rustix::fs::statat(at.dir, at.name, at.flags))?;
    let attr = Attr {
        kind: kind_of(st.st_mode),
        mode: st.st_mode & 0o7777,
        uid: st.st_uid,
        gid: st.st_gid,
        size: u64::try_from(st.st_size).unwrap_or(0),
        blocks: u64::try_from(st.st_blocks).unwrap_or(0),
        blksize: u32::try_from(st.st_blksize).unwrap_or(4096),
        nlink: u32::try_from(st.st_nlink).unwrap_or(u32::MAX),
        rdev: DeviceNumber { major: rustix::fs::major(st.st_rdev), minor: rustix::fs::minor(st.st_rdev) },
        atime: timestamp(st.st_atime, st.st_atime_nsec),
        mtime: timestamp(st.st_mtime, st.st_mtime_nsec),
        ctime: timestamp(st.st_ctime, st.st_ctime_nsec),
    };
    Ok((RealId { dev: st.st_dev, ino: st.st_ino }, attr))
}

/// Changes owner and group; `None` stays.
pub fn chown(object: Ref<'_>, uid: Option<u32>, gid: Option<u32>) -> Result<()> {
    let at = object.at();
    call("fchownat", || {
        rustix::fs::chownat(at.dir, at.name, uid.map(Uid::from_raw), gid.map(Gid::from_raw), at.flags)
    })
}

/// Changes the permission bits of anything but a symlink.
#[allow(unsafe_code)]
pub fn chmod(object: Ref<'_>, mode: u32) -> Result<()> {
    let at = object.at();
    call("fchmodat2", || {
        let name = CString::new(at.name).map_err(|_| Errno::INVAL)?;
        // SAFETY: `name` is a NUL-terminated string that outlives the call, and the descriptor is borrowed.
        let done = check(unsafe {
            libc::syscall(libc::SYS_fchmodat2, at.dir.as_raw_fd(), name.as_ptr(), mode, at.flags.bits())
        });
        match done {
            // Before Linux 6.6: the object is known not to be a symlink, so following is harmless.
            Err(Errno::NOSYS) => {
                let path = object.proc_path()?;
                rustix::fs::chmodat(
                    rustix::fs::CWD,
                    path,
                    rustix::fs::Mode::from_bits_truncate(mode),
                    AtFlags::empty(),
                )
            }
            other => other.map(drop),
        }
    })
}

fn timespec(time: SetTime) -> Timespec {
    match time {
        SetTime::Omit => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        SetTime::Now => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
        SetTime::To(t) => Timespec { tv_sec: t.secs, tv_nsec: i64::from(t.nanos) },
    }
}

/// Sets access and modification time.
pub fn utimens(object: Ref<'_>, atime: SetTime, mtime: SetTime) -> Result<()> {
    let at = object.at();
    let times = Timestamps { last_access: timespec(atime), last_modification: timespec(mtime) };
    call("utimensat", || rustix::fs::utimensat(at.dir, at.name, &times, at.flags))
}

/// Figures of the filesystem that `fd` is on.
pub fn stat_filesystem(fd: impl AsFd) -> Result<FsStats> {
    let st = call("fstatvfs", || rustix::fs::fstatvfs(fd))?;
    let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(FsStats {
        blocks: st.f_blocks,
        free: st.f_bfree,
        available: st.f_bavail,
        files: st.f_files,
        files_free: st.f_ffree,
        block_size: narrow(st.f_bsize),
        fragment_size: narrow(st.f_frsize),
        name_max: narrow(st.f_namemax),
    })
}
