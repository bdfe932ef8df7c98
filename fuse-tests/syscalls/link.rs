//! link: one file of several names.

use super::objects::*;
use crate::harness::*;
use rustix::fs::{AtFlags, CWD, linkat};
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::Path;

fn links(path: &Path) {
    write(path, "data");
    fs::hard_link(path, path.with_file_name("second")).unwrap();
    fs::create_dir(path.with_file_name("dir")).unwrap();
    fs::hard_link(path, path.with_file_name("dir/third")).unwrap();
}

const NAMES: [&str; 3] = ["obj", "second", "dir/third"];

#[test]
fn c7_all_names_are_one_file_after_a_change_through_any() {
    for changed in NAMES {
        each(links, |s| {
            let before = s.stat();
            assert_eq!(before.nlink(), 3, "{s}");
            open_rw(s.beside(changed)).write_all_at(b"D", 0).unwrap();
            for name in NAMES {
                let meta = lstat(s.beside(name));
                assert_eq!(fs::read(s.beside(name)).unwrap(), b"Data", "{s} {changed} {name}");
                assert_eq!((meta.ino(), meta.nlink()), (before.ino(), 3), "{s} {changed} {name}");
            }
        });
    }
}

#[test]
fn c7_attributes_and_xattrs_change_for_all_names() {
    each(links, |s| {
        chmod(&s.beside("second"), 0o640);
        chown(&s.beside("dir/third"), 5, 6);
        xattr::lset(s.path(), "user.test", b"value").unwrap();
        open_append(s.beside("second")).set_len(2).unwrap();
        for name in NAMES {
            let meta = lstat(s.beside(name));
            assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o640, 5, 6), "{s} {name}");
            assert_eq!(fs::read(s.beside(name)).unwrap(), b"da", "{s} {name}");
            assert_eq!(xattr::lget(s.beside(name), "user.test").unwrap(), b"value", "{s} {name}");
        }
    });
}

#[test]
fn c7_link_counts_follow_link_unlink_and_rename() {
    each(links, |s| {
        let count = |name: &str| lstat(s.beside(name)).nlink();
        fs::hard_link(s.beside("dir/third"), s.beside("fourth")).unwrap();
        assert_eq!([count("obj"), count("fourth"), count("second")], [4; 3], "{s}");
        fs::remove_file(s.beside("second")).unwrap();
        assert_eq!([count("obj"), count("fourth"), count("dir/third")], [3; 3], "{s}");
        fs::rename(s.path(), s.beside("dir/moved")).unwrap();
        assert_eq!([count("dir/moved"), count("fourth")], [3; 2], "{s}");
        fs::remove_file(s.beside("fourth")).unwrap();
        fs::remove_file(s.beside("dir/third")).unwrap();
        assert_eq!(count("dir/moved"), 1, "{s}");
        fs::write(s.beside("dir/moved"), "last").unwrap();
        assert_eq!(names_in(s.dir()), ["dir"], "{s}");
    });
}

#[test]
fn c7_a_new_link_to_each_type_is_the_same_object() {
    use rustix::fs::{FileType, Mode, makedev, mknodat};
    let make = |path: &Path| {
        fs::create_dir(path).unwrap();
        write(path.join("file"), "data");
        symlink("file", path.join("link")).unwrap();
        for (name, kind) in [("fifo", FileType::Fifo), ("char", FileType::CharacterDevice)] {
            mknodat(CWD, path.join(name), kind, Mode::RUSR, makedev(1, 3)).unwrap();
        }
    };
    each(make, |s| {
        for name in ["file", "link", "fifo", "char"] {
            let (old, new) = (s.path().join(name), s.beside(name));
            fs::hard_link(&old, &new).unwrap();
            let (old, new) = (lstat(old), lstat(new));
            assert_eq!((old.ino(), old.mode()), (new.ino(), new.mode()), "{s} {name}");
            assert_eq!((old.nlink(), new.nlink()), (2, 2), "{s} {name}");
            assert_eq!(old.rdev(), new.rdev(), "{s} {name}");
        }
    });
}

#[test]
fn c7_linkat_follows_a_symlink_only_when_told() {
    each(file("data"), |s| {
        symlink("obj", s.beside("link")).unwrap();
        linkat(CWD, s.beside("link"), CWD, s.beside("a"), AtFlags::empty()).unwrap();
        linkat(CWD, s.beside("link"), CWD, s.beside("b"), AtFlags::SYMLINK_FOLLOW).unwrap();
        assert!(lstat(s.beside("a")).is_symlink() && lstat(s.beside("b")).is_file(), "{s}");
        assert_eq!((s.stat().nlink(), lstat(s.beside("link")).nlink()), (2, 2), "{s}");
    });
}

#[test]
fn c7_a_descriptor_is_linked_through_proc() {
    each(file("data"), |s| {
        let open = fs::File::open(s.path()).unwrap();
        let proc = format!("/proc/self/fd/{}", open.as_raw_fd());
        linkat(CWD, proc, CWD, s.beside("second"), AtFlags::SYMLINK_FOLLOW).unwrap();
        assert_eq!(fs::read(s.beside("second")).unwrap(), b"data", "{s}");
        assert_eq!(open.metadata().unwrap().nlink(), 2, "{s}");
    });
}

#[test]
fn c7_errnos_of_link() {
    each(tree, |s| {
        let link = |old: &str, new: &str| fs::hard_link(s.path().join(old), s.path().join(new));
        assert_errno!(link("f", "d"), Errno::EXIST, "{s}");
        assert_errno!(link("f", "d/g"), Errno::EXIST, "{s}");
        assert_errno!(link("f", "f"), Errno::EXIST, "{s}");
        assert_errno!(link("none", "x"), Errno::NOENT, "{s}");
        assert_errno!(link("f", "none/x"), Errno::NOENT, "{s}");
        assert_errno!(link("f/x", "x"), Errno::NOTDIR, "{s}");
        assert_errno!(link("f", "d/g/x"), Errno::NOTDIR, "{s}");
        assert_errno!(link("d", "x"), Errno::PERM, "{s}");
        let outside = s.m.stack().base().join("outside");
        let differs = s.m.differs_on(&[Target::Plain], "all is one filesystem there");
        if !differs {
            assert_errno!(fs::hard_link(s.path().join("f"), outside), Errno::XDEV, "{s}");
        }
        chmod(&s.path().join("f"), 0o666);
        as_user(1000, 1000, || assert_errno!(link("f", "x"), Errno::ACCESS, "{s}"));
        assert_eq!(names_in(s.path()), ["d", "f"], "{s}");
        assert_eq!(lstat(s.path().join("f")).nlink(), 1, "{s}");
    });
}

#[test]
fn d8_a_link_is_made_over_a_removed_name() {
    each(links, |s| {
        fs::remove_file(s.beside("second")).unwrap();
        fs::hard_link(s.path(), s.beside("second")).unwrap();
        assert_eq!(s.stat().nlink(), 3, "{s}");
        assert_eq!(lstat(s.beside("second")).ino(), s.stat().ino(), "{s}");
        fs::write(s.beside("second"), "through the new name").unwrap();
        assert_eq!(fs::read(s.beside("dir/third")).unwrap(), b"through the new name", "{s}");
    });
}

#[test]
fn c7_a_removed_name_made_anew_is_another_file() {
    each(links, |s| {
        fs::remove_file(s.beside("second")).unwrap();
        fs::write(s.beside("second"), "other").unwrap();
        assert_eq!((s.stat().nlink(), lstat(s.beside("second")).nlink()), (2, 1), "{s}");
        assert_eq!(fs::read(s.path()).unwrap(), b"data", "{s}");
        assert_ne!(lstat(s.beside("second")).ino(), s.stat().ino(), "{s}");
    });
}
