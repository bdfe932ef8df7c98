//! rename of files: flags, errnos, targets of every kind.

use super::objects::*;
use crate::harness::*;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::Path;

fn rename_with(old: &Path, new: &Path, flags: RenameFlags) -> rustix::io::Result<()> {
    renameat_with(CWD, old, CWD, new, flags)
}

#[test]
fn r2_rename_to_a_new_name_keeps_all_but_the_name() {
    let make = |path: &Path| {
        write(path, "data");
        chmod(path, 0o4751);
        xattr::lset(path, "user.test", b"value").unwrap();
    };
    each(make, |s| {
        let before = s.stat();
        fs::rename(s.path(), s.beside("new")).unwrap();
        let after = lstat(s.beside("new"));
        assert_eq!(after.ino(), before.ino(), "{s}");
        assert_eq!((after.mode(), after.mtime_nsec()), (before.mode(), before.mtime_nsec()), "{s}");
        assert_eq!(xattr::lget(s.beside("new"), "user.test").unwrap(), b"value", "{s}");
        assert_eq!(fs::read(s.beside("new")).unwrap(), b"data", "{s}");
        s.assert_removed("obj");
        fs::rename(s.beside("new"), s.path()).unwrap();
        assert_eq!(names_in(s.dir()), ["obj"], "{s}");
    });
}

#[test]
fn r2_rename_of_a_lower_file_copies_no_data() {
    each(file(pattern(500_000)), |s| {
        fs::rename(s.path(), s.beside("new")).unwrap();
        if s.m.has_upper() && s.origin == Origin::Lower {
            assert!(place::is_metacopy(s.in_upper("new")), "{s}");
            assert!(place::blocks(s.in_upper("new")) <= Filesystem::of_tests().spare_blocks(), "{s}");
        }
        assert!(fs::read(s.beside("new")).unwrap() == pattern(500_000), "{s}: other data");
    });
}

#[test]
fn r1_rename_over_a_file_replaces_it() {
    let make = |path: &Path| {
        write(path, "source");
        write(path.with_file_name("old"), "target");
        symlink("nowhere", path.with_file_name("link")).unwrap();
    };
    each(make, |s| {
        fs::rename(s.path(), s.beside("old")).unwrap();
        assert_eq!(fs::read(s.beside("old")).unwrap(), b"source", "{s}");
        fs::rename(s.beside("old"), s.beside("link")).unwrap();
        assert_eq!(fs::read(s.beside("link")).unwrap(), b"source", "{s}");
        assert!(lstat(s.beside("link")).is_file(), "{s}");
        s.assert_removed("obj");
        s.assert_removed("old");
    });
}

#[test]
fn r1_rename_onto_itself_and_onto_a_link_of_itself_does_nothing() {
    let make = |path: &Path| {
        write(path, "data");
        fs::hard_link(path, path.with_file_name("same")).unwrap();
    };
    each(make, |s| {
        fs::rename(s.path(), s.path()).unwrap();
        fs::rename(s.path(), s.beside("same")).unwrap();
        assert_eq!(names_in(s.dir()), ["obj", "same"], "{s}");
        assert_eq!(s.stat().nlink(), 2, "{s}");
    });
}

#[test]
fn r4_noreplace_answers_eexist_over_what_is_visible_only() {
    let make = |path: &Path| {
        write(path, "data");
        write(path.with_file_name("other"), "other");
        directory(&path.with_file_name("dir"));
    };
    each(make, |s| {
        let to = |name: &str| rename_with(&s.path(), &s.beside(name), RenameFlags::NOREPLACE);
        assert_errno!(to("other"), Errno::EXIST, "{s}");
        assert_errno!(to("dir"), Errno::EXIST, "{s}");
        assert_errno!(to("obj"), Errno::EXIST, "{s}");
        s.assert_not_copied();
        fs::remove_file(s.beside("other")).unwrap();
        to("other").unwrap();
        assert_eq!(fs::read(s.beside("other")).unwrap(), b"data", "{s}");
        s.assert_removed("obj");
    });
}

#[test]
fn r4_exchange_swaps_objects_of_any_kind() {
    let make = |path: &Path| {
        tree(path);
        write(path.with_file_name("file"), "file");
        symlink("target", path.with_file_name("link")).unwrap();
        write(path.with_file_name("dir/x"), "x");
    };
    each(make, |s| {
        let swap = |a: &str, b: &str| {
            let inos = [lstat(s.beside(a)).ino(), lstat(s.beside(b)).ino()];
            rename_with(&s.beside(a), &s.beside(b), RenameFlags::EXCHANGE).unwrap();
            assert_eq!([lstat(s.beside(b)).ino(), lstat(s.beside(a)).ino()], inos, "{s} {a} {b}");
        };
        swap("obj", "file");
        assert_eq!(fs::read(s.path()).unwrap(), b"file", "{s}");
        assert_eq!(names_in(s.beside("file")), ["d", "f"], "{s}");
        swap("obj", "link");
        assert_eq!(fs::read_link(s.path()).unwrap(), Path::new("target"), "{s}");
        swap("file", "dir");
        assert_eq!(names_in(s.beside("dir")), ["d", "f"], "{s}");
        assert_eq!(names_in(s.beside("file")), ["x"], "{s}");
        swap("dir/d", "link");
        assert_eq!(fs::read(s.beside("link/g")).unwrap(), b"g", "{s}");
        assert_eq!(fs::read(s.beside("dir/d")).unwrap(), b"file", "{s}");
        assert_eq!(names_in(s.dir()), ["dir", "file", "link", "obj"], "{s}");
    });
}

#[test]
fn r4_exchange_and_flag_errnos() {
    each(tree, |s| {
        let at = |name: &str| s.path().join(name);
        let exchange = |a: &str, b: &str| rename_with(&at(a), &at(b), RenameFlags::EXCHANGE);
        assert_errno!(exchange("f", "none"), Errno::NOENT, "{s}");
        assert_errno!(exchange("none", "f"), Errno::NOENT, "{s}");
        assert_errno!(exchange("d", "d/g"), Errno::INVAL, "{s}");
        assert_errno!(exchange("d/g", "d"), Errno::INVAL, "{s}");
        let both = RenameFlags::EXCHANGE | RenameFlags::NOREPLACE;
        assert_errno!(rename_with(&at("f"), &at("d/g"), both), Errno::INVAL, "{s}");
        if !s.m.differs_on(&[Target::Plain], "ext4 makes whiteouts") {
            let whiteout = rename_with(&at("f"), &at("x"), RenameFlags::WHITEOUT);
            assert_errno!(whiteout, Errno::INVAL, "{s}");
        }
        exchange("f", "f").unwrap();
        assert_eq!(names_in(s.path()), ["d", "f"], "{s}");
    });
}

#[test]
fn r6_errnos_of_rename() {
    let make = |path: &Path| {
        tree(path);
        directory(&path.join("empty"));
    };
    each(make, |s| {
        let rename = |old: &str, new: &str| fs::rename(s.path().join(old), s.path().join(new));
        assert_errno!(rename("none", "x"), Errno::NOENT, "{s}");
        assert_errno!(rename("f", "none/x"), Errno::NOENT, "{s}");
        assert_errno!(rename("f/x", "x"), Errno::NOTDIR, "{s}");
        assert_errno!(rename("f", "d/g/x"), Errno::NOTDIR, "{s}");
        assert_errno!(rename("d", "f"), Errno::NOTDIR, "{s}");
        assert_errno!(rename("f", "d"), Errno::ISDIR, "{s}");
        assert_errno!(rename("f", "empty"), Errno::ISDIR, "{s}");
        assert_errno!(rename("empty", "d"), Errno::NOTEMPTY, "{s}");
        assert_errno!(rename("d", "d/x"), Errno::INVAL, "{s}");
        assert_errno!(rename("d", "d/x/y"), Errno::NOENT, "{s}");
        assert_errno!(rename("f", "x/"), Errno::NOTDIR, "{s}");
        assert_errno!(rename("d/g", "d"), Errno::NOTEMPTY, "{s}: an ancestor of the source");
        assert_errno!(rename("d/.", "x"), Errno::BUSY, "{s}");
        assert_errno!(rename("d", "empty/.."), Errno::BUSY, "{s}");
        if !s.m.differs_on(&[Target::Plain], "all is one filesystem there") {
            let outside = s.m.stack().base().join("outside");
            assert_errno!(fs::rename(s.path().join("f"), outside), Errno::XDEV, "{s}");
        }
        assert_eq!(names_in(s.path()), ["d", "empty", "f"], "{s}");
        s.assert_not_copied();
    });
}

#[test]
fn a3_who_may_rename() {
    let make = |path: &Path| {
        tree(path);
        directory(&path.join("open"));
        chmod(&path.join("open"), 0o777);
        write(path.join("open/x"), "x");
        tree(&path.join("open/root-dir"));
        chmod(&path.join("open/root-dir"), 0o755);
    };
    each(make, |s| {
        let rename = |old: &str, new: &str| fs::rename(s.path().join(old), s.path().join(new));
        as_user(1000, 1000, || {
            assert_errno!(rename("f", "y"), Errno::ACCESS, "{s}");
            assert_errno!(rename("f", "open/y"), Errno::ACCESS, "{s}");
            assert_errno!(rename("open/x", "y"), Errno::ACCESS, "{s}");
            rename("open/x", "open/y").unwrap();
            rename("open/root-dir", "open/moved").unwrap();
            fs::create_dir(s.path().join("open/mine")).unwrap();
            let needs_dotdot = rename("open/moved", "open/mine/moved");
            assert_errno!(needs_dotdot, Errno::ACCESS, "{s}: its `..` would change");
        });
        assert_eq!(names_in(s.path().join("open")), ["mine", "moved", "y"], "{s}");
    });
}

#[test]
fn r7_an_open_file_follows_its_renames() {
    each(file("data"), |s| {
        let open = open_rw(s.path());
        let ino = open.metadata().unwrap().ino();
        fs::rename(s.path(), s.beside("new")).unwrap();
        open.write_all_at(b"D", 0).unwrap();
        assert_eq!(fs::read(s.beside("new")).unwrap(), b"Data", "{s}");
        fs::create_dir(s.beside("dir")).unwrap();
        fs::rename(s.beside("new"), s.beside("dir/newer")).unwrap();
        open.write_all_at(b"A", 1).unwrap();
        open.sync_all().unwrap();
        assert_eq!(fs::read(s.beside("dir/newer")).unwrap(), b"DAta", "{s}");
        assert_eq!(open.metadata().unwrap().ino(), ino, "{s}");
        assert_eq!(File::open(s.beside("dir/newer")).unwrap().metadata().unwrap().ino(), ino);
    });
}

#[test]
fn d4_a_chain_of_renames_leaves_no_old_name_behind() {
    each(file("data"), |s| {
        let names = ["a", "b", "c", "obj", "d"];
        let mut last = "obj";
        for name in names {
            fs::rename(s.beside(last), s.beside(name)).unwrap();
            last = name;
        }
        assert_eq!(names_in(s.dir()), ["d"], "{s}");
        assert_eq!(fs::read(s.beside("d")).unwrap(), b"data", "{s}");
        s.assert_removed("obj");
        s.m.assert_not_upper(s.beside("a").strip_prefix(s.m.path()).unwrap());
    });
}
