//! lookup and stat: every type, every field, every errno of a path.

use super::objects::*;
use crate::harness::*;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, symlink};
use std::path::Path;

fn node(path: &Path, kind: FileType, major: u32, minor: u32) {
    mknodat(CWD, path, kind, Mode::from_raw_mode(0o640), makedev(major, minor)).unwrap();
    chmod(path, 0o640);
}

/// One that takes more than 16 bits.
fn large_minor() -> u32 {
    Filesystem::of_tests().largest_device().1.min(1_000_000)
}

fn zoo(dir: &Path) {
    tree(dir);
    symlink("f", dir.join("link")).unwrap();
    node(&dir.join("fifo"), FileType::Fifo, 0, 0);
    node(&dir.join("sock"), FileType::Socket, 0, 0);
    node(&dir.join("char"), FileType::CharacterDevice, 1, 3);
    node(&dir.join("block"), FileType::BlockDevice, 259, large_minor());
    for entry in fs::read_dir(dir).unwrap() {
        chown(&entry.unwrap().path(), 12, 34);
    }
}

#[test]
fn u1_stat_shows_the_type_and_all_attributes_of_every_type() {
    each(zoo, |s| {
        let of = |name: &str| lstat(s.path().join(name));
        assert!(of("f").is_file() && of("d").is_dir() && of("link").is_symlink(), "{s}");
        assert!(of("fifo").file_type().is_fifo() && of("sock").file_type().is_socket(), "{s}");
        assert!(of("char").file_type().is_char_device(), "{s}");
        assert!(of("block").file_type().is_block_device(), "{s}");
        assert_eq!(of("char").rdev(), makedev(1, 3), "{s}");
        assert_eq!(of("block").rdev(), makedev(259, large_minor()), "{s}");
        assert_eq!((of("f").len(), of("link").len()), (1, 1), "{s}");
        for name in ["f", "d", "link", "fifo", "sock", "char", "block"] {
            assert_eq!((of(name).uid(), of(name).gid()), (12, 34), "{s} {name}");
            assert!(of(name).blksize() >= 512, "{s} {name}");
        }
        for name in ["fifo", "sock", "char", "block"] {
            assert_eq!(of(name).mode() & 0o7777, 0o640, "{s} {name}");
        }
        s.assert_not_copied();
    });
}

#[test]
fn u1_every_errno_of_a_path_lookup() {
    each(tree, |s| {
        let at = |name: &str| s.path().join(name).symlink_metadata();
        assert_errno!(at("none"), Errno::NOENT, "{s}");
        assert_errno!(at("none/x"), Errno::NOENT, "{s}");
        assert_errno!(at("f/x"), Errno::NOTDIR, "{s}");
        assert_errno!(at("f/"), Errno::NOTDIR, "{s}");
        assert_errno!(at("f/.."), Errno::NOTDIR, "{s}");
        assert_errno!(at("none/.."), Errno::NOENT, "{s}");
        assert!(at("d/").unwrap().is_dir() && at("d/../f").unwrap().is_file(), "{s}");
        symlink("loop", s.beside("loop")).unwrap();
        assert_errno!(fs::metadata(s.beside("loop")), Errno::LOOP, "{s}");
        assert_errno!(fs::metadata(s.beside("loop/x")), Errno::LOOP, "{s}");
        let long = format!("{}f", "d/../".repeat(900));
        assert_errno!(at(&long), Errno::NAMETOOLONG, "{s}");
        s.assert_not_copied();
    });
}

#[test]
fn a3_a_directory_without_x_answers_eacces_to_others() {
    each(tree, |s| {
        chmod(&s.path(), 0o744);
        as_user(1000, 1000, || {
            assert_errno!(s.path().join("f").symlink_metadata(), Errno::ACCESS, "{s}");
            assert_errno!(s.path().join("none").symlink_metadata(), Errno::ACCESS, "{s}");
            assert_eq!(names_in(s.path()), ["d", "f"], "{s}: r alone lists names");
        });
        chmod(&s.path(), 0o711);
        as_user(1000, 1000, || {
            assert_eq!(fs::read(s.path().join("f")).unwrap(), b"f", "{s}: x alone lets pass");
            assert_errno!(fs::read_dir(s.path()), Errno::ACCESS, "{s}");
        });
    });
}

#[test]
fn u1_a_name_looked_up_as_absent_appears_when_it_is_made() {
    each(directory, |s| {
        for name in ["x", "y", "z"] {
            assert_errno!(s.path().join(name).symlink_metadata(), Errno::NOENT, "{s}");
        }
        fs::write(s.path().join("x"), "x").unwrap();
        fs::create_dir(s.path().join("y")).unwrap();
        fs::rename(s.path().join("x"), s.path().join("z")).unwrap();
        assert_eq!(names_in(s.path()), ["y", "z"], "{s}");
        assert!(lstat(s.path().join("y")).is_dir(), "{s}");
        assert_eq!(fs::read(s.path().join("z")).unwrap(), b"x", "{s}");
        assert_errno!(s.path().join("x").symlink_metadata(), Errno::NOENT, "{s}");
    });
}

#[test]
fn i1_the_inode_number_stays_at_copy_up_rename_and_remount() {
    let mut m = mount_objects(file("data"));
    let names = ["lower", "upper", "fresh"];
    let numbers = |m: &Mount, file: &str| names.map(|dir| lstat(m.join(dir).join(file)).ino());
    let first = numbers(&m, "obj");
    let dirs = numbers(&m, "");
    for dir in names {
        chmod(&m.join(dir).join("obj"), 0o600);
        assert_eq!(numbers(&m, "obj"), first, "after chmod in {dir}");
        fs::write(m.join(dir).join("obj"), "more data").unwrap();
        assert_eq!(numbers(&m, "obj"), first, "after a write in {dir}");
    }
    for dir in names {
        fs::rename(m.join(dir).join("obj"), m.join(dir).join("new")).unwrap();
        fs::write(m.join(dir).join("other"), "").unwrap();
    }
    assert_eq!(numbers(&m, "new"), first, "after rename");
    assert_eq!(numbers(&m, ""), dirs, "the directories");
    m.remount(&[]);
    assert_eq!(numbers(&m, "new"), first, "after a remount");
    assert_eq!(numbers(&m, ""), dirs, "the directories after a remount");
}

#[test]
fn i3_all_objects_have_one_device() {
    let m = mount_objects(tree);
    let root = lstat(m.path());
    for dir in ["lower", "upper", "fresh"] {
        for name in ["", "obj", "obj/f", "obj/d", "obj/d/g"] {
            assert_eq!(lstat(m.join(dir).join(name)).dev(), root.dev(), "{dir}/{name}");
        }
    }
    fs::write(m.join("lower/obj/f"), "copied").unwrap();
    assert_eq!(lstat(m.join("lower/obj/f")).dev(), root.dev());
    let differs = m.differs_on(&[Target::Plain], "a plain directory is no mount of its own");
    assert!(differs || root.dev() != lstat(m.stack().upper()).dev());
}

#[test]
fn i4_link_counts_of_files_and_directories() {
    each(tree, |s| {
        assert_eq!(lstat(s.path().join("f")).nlink(), 1, "{s}");
        let dirs = || (lstat(s.path()).nlink(), lstat(s.path().join("d")).nlink());
        let counted = |subdirs| Filesystem::of_tests().dir_links(subdirs);
        let of_d = counted(0);
        assert_eq!(dirs(), (counted(1), of_d), "{s}: not merged, so counted as its layer does");
        fs::create_dir(s.path().join("d2")).unwrap();
        let merged = s.origin == Origin::Lower && s.m.has_upper();
        assert_eq!(dirs(), (if merged { 1 } else { counted(2) }, of_d), "{s}: after a mkdir");
        fs::remove_dir(s.path().join("d2")).unwrap();
        assert_eq!(dirs(), (if merged { 1 } else { counted(1) }, of_d), "{s}: after an rmdir");
        fs::hard_link(s.path().join("f"), s.path().join("f2")).unwrap();
        fs::hard_link(s.path().join("f"), s.beside("f3")).unwrap();
        for path in [s.path().join("f"), s.path().join("f2"), s.beside("f3")] {
            assert_eq!(lstat(path).nlink(), 3, "{s}");
        }
        fs::remove_file(s.path().join("f")).unwrap();
        assert_eq!(lstat(s.beside("f3")).nlink(), 2, "{s}");
    });
}
