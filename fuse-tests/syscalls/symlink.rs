//! symlink and readlink.

use super::objects::*;
use crate::harness::*;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

fn link_to(target: &str) -> impl Fn(&Path) {
    move |path| symlink(target, path).unwrap()
}

#[test]
fn c2_readlink_gives_every_target_byte_for_byte() {
    let most = Filesystem::of_tests().longest_target();
    let longest = "x/".repeat(most / 2) + "y";
    assert_eq!(longest.len(), most, "on ext4 one byte less than PATH_MAX");
    for target in ["t", "/absolute/target", "../..//./odd/", longest.as_str()] {
        each(link_to(target), |s| {
            assert_eq!(fs::read_link(s.path()).unwrap().as_os_str(), OsStr::new(target), "{s}");
            assert_eq!(s.stat().len(), target.len() as u64, "{s}");
            s.assert_not_copied();
            chown(&s.path(), 7, 8);
            assert_eq!(fs::read_link(s.path()).unwrap().as_os_str(), OsStr::new(target), "{s}");
            s.assert_upper();
        });
    }
}

#[test]
fn c2_a_target_may_hold_any_byte() {
    let target = OsStr::from_bytes(b"\xff\xfe \n\t\x01\\:,");
    each(
        |path| symlink(target, path).unwrap(),
        |s| {
            assert_eq!(fs::read_link(s.path()).unwrap().as_os_str(), target, "{s}");
            fs::rename(s.path(), s.beside("moved")).unwrap();
            assert_eq!(fs::read_link(s.beside("moved")).unwrap().as_os_str(), target, "{s}");
        },
    );
}

#[test]
fn a1_a_new_symlink_belongs_to_the_caller_and_has_mode_0777() {
    each(directory, |s| {
        chmod(&s.path(), 0o777);
        as_user(1000, 1001, || symlink("target", s.path().join("l")).unwrap());
        let meta = lstat(s.path().join("l"));
        assert_eq!((meta.uid(), meta.gid()), (1000, 1001), "{s}");
        assert_eq!(meta.mode() & 0o7777, 0o777, "{s}");
    });
}

#[test]
fn u1_symlinks_lead_across_layers_and_out_of_the_mount() {
    each(tree, |s| {
        symlink("obj/d", s.beside("short")).unwrap();
        symlink("/proc/self", s.beside("out")).unwrap();
        assert_eq!(fs::read(s.beside("short/g")).unwrap(), b"g", "{s}");
        assert_eq!(fs::canonicalize(s.beside("short/g")).unwrap(), s.path().join("d/g"), "{s}");
        assert!(s.beside("out/status").exists(), "{s}");
        fs::write(s.beside("short/g"), "changed").unwrap();
        assert_eq!(fs::read(s.path().join("d/g")).unwrap(), b"changed", "{s}");
    });
}

#[test]
fn a11_errnos_of_symlink_and_readlink() {
    each(tree, |s| {
        assert_errno!(symlink("x", s.path()), Errno::EXIST, "{s}");
        assert_errno!(symlink("x", s.path().join("f")), Errno::EXIST, "{s}");
        assert_errno!(symlink("x", s.path().join("none/l")), Errno::NOENT, "{s}");
        assert_errno!(symlink("x", s.path().join("f/l")), Errno::NOTDIR, "{s}");
        assert_errno!(symlink("", s.path().join("l")), Errno::NOENT, "{s}");
        assert_errno!(symlink("x".repeat(4096), s.path().join("l")), Errno::NAMETOOLONG, "{s}");
        assert_errno!(fs::read_link(s.path()), Errno::INVAL, "{s}");
        assert_errno!(fs::read_link(s.path().join("f")), Errno::INVAL, "{s}");
        assert_errno!(fs::read_link(s.path().join("none")), Errno::NOENT, "{s}");
        as_user(1000, 1000, || {
            assert_errno!(symlink("x", s.path().join("l")), Errno::ACCESS, "{s}");
        });
        assert_eq!(names_in(s.path()), ["d", "f"], "{s}");
        s.assert_not_copied();
    });
}

#[test]
fn c2_a_copied_symlink_keeps_owner_times_and_trusted_xattrs() {
    let make = |path: &Path| {
        symlink("target", path).unwrap();
        chown(path, 5, 6);
        xattr::lset(path, "trusted.test", b"value").unwrap();
    };
    each(make, |s| {
        let before = s.stat();
        chown(&s.path(), 5, 66);
        let after = s.stat();
        assert_eq!((after.uid(), after.gid()), (5, 66), "{s}");
        assert_eq!(after.mtime(), before.mtime(), "{s}");
        assert_eq!(after.mtime_nsec(), before.mtime_nsec(), "{s}");
        assert_eq!(after.ino(), before.ino(), "{s}");
        assert_eq!(xattr::lget(s.path(), "trusted.test").unwrap(), b"value", "{s}");
        let upper = if s.m.has_upper() { s.in_upper("obj") } else { s.path() };
        assert_eq!((lstat(&upper).uid(), lstat(&upper).gid()), (5, 66), "{s}");
        assert_eq!(xattr::lget(upper, "trusted.test").unwrap(), b"value", "{s}");
    });
}
