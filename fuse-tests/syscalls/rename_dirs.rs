//! rename of directories.

use super::objects::*;
use crate::harness::*;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

#[test]
fn r3_a_renamed_directory_takes_its_tree_along() {
    each(tree, |s| {
        let inos = |dir: &str| ["", "f", "d", "d/g"].map(|n| lstat(s.beside(dir).join(n)).ino());
        let before = inos("obj");
        fs::rename(s.path(), s.beside("new")).unwrap();
        assert_eq!(inos("new"), before, "{s}");
        assert_eq!(fs::read(s.beside("new/d/g")).unwrap(), b"g", "{s}");
        assert_errno!(s.path().join("f").symlink_metadata(), Errno::NOENT, "{s}");
        s.assert_removed("obj");
        if s.m.has_upper() && s.origin == Origin::Lower {
            assert!(place::redirect(s.in_upper("new")).is_some(), "{s}: no redirect");
            assert!(!place::exists(s.in_upper("new/d")), "{s}: more copied than the directory");
        }
    });
}

#[test]
fn r3_work_goes_on_below_a_renamed_directory() {
    each(tree, |s| {
        fs::rename(s.path(), s.beside("new")).unwrap();
        fs::write(s.beside("new/d/g"), "changed").unwrap();
        fs::write(s.beside("new/d/h"), "made").unwrap();
        fs::remove_file(s.beside("new/f")).unwrap();
        fs::rename(s.beside("new/d"), s.beside("new/e")).unwrap();
        fs::rename(s.beside("new"), s.beside("newer")).unwrap();
        assert_eq!(names_in(s.beside("newer")), ["e"], "{s}");
        assert_eq!(names_in(s.beside("newer/e")), ["g", "h"], "{s}");
        assert_eq!(fs::read(s.beside("newer/e/g")).unwrap(), b"changed", "{s}");
    });
}

#[test]
fn r3_a_directory_moves_into_another_and_back() {
    each(tree, |s| {
        fs::create_dir(s.beside("other")).unwrap();
        fs::rename(s.path().join("d"), s.beside("other/d")).unwrap();
        assert_eq!(fs::read(s.beside("other/d/g")).unwrap(), b"g", "{s}");
        assert_eq!(names_in(s.path()), ["f"], "{s}");
        assert_eq!(fs::canonicalize(s.beside("other/d/..")).unwrap(), s.beside("other"), "{s}");
        fs::rename(s.beside("other/d"), s.path().join("d")).unwrap();
        assert_eq!(fs::read(s.path().join("d/g")).unwrap(), b"g", "{s}");
        assert_eq!(names_in(s.beside("other")), Vec::<String>::new(), "{s}");
    });
}

#[test]
fn r6_a_directory_replaces_an_empty_one() {
    let make = |path: &Path| {
        tree(path);
        write(path.with_file_name("target/x"), "x");
    };
    each(make, |s| {
        assert_errno!(fs::rename(s.path(), s.beside("target")), Errno::NOTEMPTY, "{s}");
        fs::remove_file(s.beside("target/x")).unwrap();
        fs::rename(s.path(), s.beside("target")).unwrap();
        assert_eq!(names_in(s.beside("target")), ["d", "f"], "{s}");
        assert_eq!(names_in(s.dir()), ["target"], "{s}");
        s.assert_removed("obj");
    });
}

#[test]
fn r5_a_new_directory_moved_over_a_removed_one_hides_its_old_names() {
    each(tree, |s| {
        fs::remove_dir_all(s.path()).unwrap();
        write(s.beside("new/mine"), "mine");
        fs::rename(s.beside("new"), s.path()).unwrap();
        assert_eq!(names_in(s.path()), ["mine"], "{s}");
        assert_errno!(s.path().join("f").symlink_metadata(), Errno::NOENT, "{s}");
        if s.m.has_upper() && s.origin == Origin::Lower {
            assert!(place::is_opaque(s.in_upper("obj")), "{s}: not opaque");
        }
    });
}

#[test]
fn r7_descriptors_and_working_directories_follow_a_renamed_directory() {
    each(tree, |s| {
        let dir = File::open(s.path()).unwrap();
        let deep = open_rw(s.path().join("d/g"));
        fs::rename(s.path(), s.beside("new")).unwrap();
        let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
        let mode = rustix::fs::Mode::from_raw_mode(0o644);
        drop(rustix::fs::openat(&dir, "made", flags, mode).unwrap());
        assert_eq!(names_in(s.beside("new")), ["d", "f", "made"], "{s}");
        deep.write_all_at(b"G!", 0).unwrap();
        assert_eq!(fs::read(s.beside("new/d/g")).unwrap(), b"G!", "{s}");
        assert_eq!(deep.metadata().unwrap().len(), 2, "{s}");
        let inner = rustix::fs::openat(&dir, "d/g", rustix::fs::OFlags::RDONLY, mode).unwrap();
        let ino = File::from(inner).metadata().unwrap().ino();
        assert_eq!(ino, lstat(s.beside("new/d/g")).ino(), "{s}");
    });
}

#[test]
fn r3_a_renamed_directory_keeps_its_attributes() {
    let make = |path: &Path| {
        tree(path);
        chown(path, 12, 34);
        chmod(path, 0o2750);
        xattr::lset(path, "user.test", b"value").unwrap();
    };
    each(make, |s| {
        let before = s.stat();
        fs::rename(s.path(), s.beside("new")).unwrap();
        let after = lstat(s.beside("new"));
        assert_eq!((after.uid(), after.gid(), after.mode()), (12, 34, before.mode()), "{s}");
        assert_eq!((after.mtime(), after.mtime_nsec()), (before.mtime(), before.mtime_nsec()), "{s}");
        assert_eq!(xattr::lget(s.beside("new"), "user.test").unwrap(), b"value", "{s}");
    });
}

#[test]
fn d4_a_name_removed_below_a_renamed_directory_stays_removed() {
    each(tree, |s| {
        fs::remove_file(s.path().join("d/g")).unwrap();
        fs::rename(s.path(), s.beside("new")).unwrap();
        assert_eq!(names_in(s.beside("new/d")), Vec::<String>::new(), "{s}");
        fs::rename(s.beside("new/d"), s.beside("moved")).unwrap();
        assert_eq!(names_in(s.beside("moved")), Vec::<String>::new(), "{s}");
        fs::remove_dir(s.beside("moved")).unwrap();
        assert_eq!(names_in(s.beside("new")), ["f"], "{s}");
        fs::create_dir(s.path()).unwrap();
        assert_eq!(names_in(s.path()), Vec::<String>::new(), "{s}: a new one at the old name");
    });
}
