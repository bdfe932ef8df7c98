//! The ioctls behind chattr and lsattr.

#![allow(unsafe_code)]

use super::objects::*;
use crate::harness::*;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::Path;

/// `struct fsxattr` of linux/fs.h.
#[repr(C)]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct FsXattr {
    xflags: u32,
    extsize: u32,
    nextents: u32,
    projid: u32,
    cowextsize: u32,
    pad: [u8; 8],
}

const FS_IOC_FSGETXATTR: libc::c_ulong = 0x801c_581f;
const FS_IOC_FSSETXATTR: libc::c_ulong = 0x401c_5820;
const FS_XFLAG_NODUMP: u32 = 0x80;

fn fsgetxattr(open: &File) -> std::io::Result<FsXattr> {
    let mut attributes = FsXattr::default();
    // SAFETY: the request writes one struct fsxattr, which lives.
    let answer = unsafe { libc::ioctl(open.as_raw_fd(), FS_IOC_FSGETXATTR, &raw mut attributes) };
    if answer == 0 { Ok(attributes) } else { Err(std::io::Error::last_os_error()) }
}

fn fssetxattr(open: &File, attributes: FsXattr) -> std::io::Result<()> {
    // SAFETY: the request reads one struct fsxattr, which lives.
    let answer = unsafe { libc::ioctl(open.as_raw_fd(), FS_IOC_FSSETXATTR, &raw const attributes) };
    if answer == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn flags_of(path: &Path) -> IFlags {
    ioctl_getflags(File::open(path).unwrap()).unwrap()
}

#[test]
fn a10_nodump_is_set_read_and_stored_on_the_backing_object() {
    for make in [file_of_mode("data", 0o644), file_of_mode("", 0o644)] {
        each(make, check_nodump);
    }
    each(tree, check_nodump);
}

fn check_nodump(s: Subject<'_>) {
    let open = File::open(s.path()).unwrap();
    let before = ioctl_getflags(&open).unwrap();
    assert!(!before.contains(IFlags::NODUMP), "{s}");
    ioctl_setflags(&open, before | IFlags::NODUMP).unwrap();
    assert!(ioctl_getflags(&open).unwrap().contains(IFlags::NODUMP), "{s}");
    assert!(flags_of(&s.path()).contains(IFlags::NODUMP), "{s}: by another descriptor");
    if s.m.has_upper() {
        assert!(flags_of(&s.in_upper("obj")).contains(IFlags::NODUMP), "{s}: in the upper");
    }
    ioctl_setflags(&open, before).unwrap();
    assert!(!flags_of(&s.path()).contains(IFlags::NODUMP), "{s}: cleared");
}

#[test]
fn a10_reading_the_flags_copies_nothing() {
    each(tree, |s| {
        assert!(ioctl_getflags(File::open(s.path()).unwrap()).is_ok(), "{s}");
        assert!(ioctl_getflags(File::open(s.path().join("f")).unwrap()).is_ok(), "{s}");
        assert!(fsgetxattr(&File::open(s.path().join("f")).unwrap()).is_ok(), "{s}");
        s.assert_not_copied();
    });
}

#[test]
fn a10_fsgetxattr_and_fssetxattr_carry_the_same_flags() {
    each(file("data"), |s| {
        let open = open_rw(s.path());
        let mut attributes = fsgetxattr(&open).unwrap();
        assert_eq!(attributes.xflags & FS_XFLAG_NODUMP, 0, "{s}");
        attributes.xflags |= FS_XFLAG_NODUMP;
        fssetxattr(&open, attributes).unwrap();
        assert_ne!(fsgetxattr(&open).unwrap().xflags & FS_XFLAG_NODUMP, 0, "{s}");
        assert!(flags_of(&s.path()).contains(IFlags::NODUMP), "{s}");
        assert_eq!(fs::read(s.path()).unwrap(), b"data", "{s}");
    });
}

#[test]
fn a10_only_the_owner_sets_flags() {
    each(file("data"), |s| {
        let flags = flags_of(&s.path());
        as_user(1000, 1000, || {
            let open = File::open(s.path()).unwrap();
            assert_eq!(ioctl_getflags(&open), Ok(flags), "{s}");
            let set = ioctl_setflags(&open, flags | IFlags::NODUMP);
            assert!(matches!(set, Err(Errno::PERM | Errno::ACCESS)), "{s}: {set:?}");
        });
        s.assert_not_copied();
    });
}

#[test]
fn a10_chattr_and_lsattr_work() {
    need_program("chattr", "e2fsprogs");
    each(file("data"), |s| {
        sh("chattr +dA \"$1\"", &[&s.path()]);
        let shown = sh("lsattr \"$1\"", &[&s.path()]);
        let shown = shown.split(' ').next().unwrap();
        assert!(shown.contains('d') && shown.contains('A'), "{s}: {shown}");
        assert_eq!(fs::read(s.path()).unwrap(), b"data", "{s}");
    });
}

#[test]
fn a10_an_unknown_ioctl_answers_enotty() {
    each(file("data"), |s| {
        let open = File::open(s.path()).unwrap();
        // SAFETY: TCGETS writes to the buffer, which is larger than a termios.
        let answer = unsafe { libc::ioctl(open.as_raw_fd(), libc::TCGETS, &mut [0_u64; 32]) };
        assert_eq!(answer, -1, "{s}");
        assert_errno!(Err::<(), _>(std::io::Error::last_os_error()), Errno::NOTTY, "{s}");
    });
}
