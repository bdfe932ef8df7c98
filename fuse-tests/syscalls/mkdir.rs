//! mkdir and rmdir.

use super::objects::*;
use crate::harness::*;
use std::fs::{self, DirBuilder};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, symlink};
use std::path::Path;

fn mkdir(path: &Path, mode: u32) -> std::io::Result<()> {
    DirBuilder::new().mode(mode).create(path)
}

fn open_to_all(path: &Path) {
    directory(path);
    chmod(path, 0o777);
}

#[test]
fn a2_the_mode_of_a_directory_is_the_requested_one_less_the_umask() {
    each(directory, |s| {
        let wanted = [(0o777, 0, 0o777), (0o777, 0o022, 0o755), (0o1777, 0o027, 0o1750)];
        for (i, (mode, mask, shown)) in wanted.into_iter().enumerate() {
            let path = s.path().join(format!("d{i}"));
            with_umask(mask, || mkdir(&path, mode).unwrap());
            assert_eq!(mode_of(&path), shown, "{s} {mode:o} {mask:o}");
            if s.m.has_upper() {
                let upper = s.in_upper(format!("obj/d{i}"));
                assert_eq!(mode_of(upper), shown, "{s}: in the upper");
            }
        }
    });
}

#[test]
fn a1_a_directory_belongs_to_the_caller() {
    each(open_to_all, |s| {
        as_user(1000, 1001, || mkdir(&s.path().join("d"), 0o700).unwrap());
        let meta = lstat(s.path().join("d"));
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (1000, 1001, 0o700), "{s}");
        as_user(1000, 1001, || mkdir(&s.path().join("d/e"), 0o700).unwrap());
        as_user(1002, 1002, || {
            assert_errno!(mkdir(&s.path().join("d/x"), 0o700), Errno::ACCESS, "{s}");
        });
    });
}

#[test]
fn a1_in_a_setgid_directory_all_new_objects_get_its_group() {
    let make = |path: &Path| {
        directory(path);
        chown(path, 0, 500);
        chmod(path, 0o2777);
    };
    each(make, |s| {
        as_user(1000, 1001, || {
            mkdir(&s.path().join("d"), 0o755).unwrap();
            fs::write(s.path().join("f"), "").unwrap();
            symlink("x", s.path().join("l")).unwrap();
            mkdir(&s.path().join("d/e"), 0o755).unwrap();
        });
        for name in ["d", "f", "l", "d/e"] {
            let meta = lstat(s.path().join(name));
            assert_eq!((meta.uid(), meta.gid()), (1000, 500), "{s} {name}");
        }
        let setgid = |name: &str| mode_of(s.path().join(name)) & 0o2000 != 0;
        assert!(setgid("d") && setgid("d/e") && !setgid("f"), "{s}");
    });
}

#[test]
fn a1_in_a_setgid_directory_a_foreign_file_loses_its_setgid_bit() {
    let make = |path: &Path| {
        directory(path);
        chown(path, 0, 500);
        chmod(path, 0o2777);
    };
    each(make, |s| {
        let path = s.path().join("f");
        as_user(1000, 1001, || {
            let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
            let mode = rustix::fs::Mode::from_raw_mode(0o2755);
            drop(rustix::fs::open(&path, flags, mode).unwrap());
        });
        assert_eq!((mode_of(&path), lstat(&path).gid()), (0o755, 500), "{s}");
    });
}

#[test]
fn a3_the_sticky_bit_protects_what_others_own() {
    let make = |path: &Path| {
        directory(path);
        chmod(path, 0o1777);
        write(path.join("theirs"), "x");
        write(path.join("mine"), "x");
        directory(&path.join("dir"));
        chown(&path.join("theirs"), 1001, 1001);
        chown(&path.join("dir"), 1001, 1001);
        chown(&path.join("mine"), 1000, 1000);
    };
    each(make, |s| {
        let at = |name: &str| s.path().join(name);
        as_user(1000, 1000, || {
            assert_errno!(fs::remove_file(at("theirs")), Errno::PERM, "{s}");
            assert_errno!(fs::remove_dir(at("dir")), Errno::PERM, "{s}");
            assert_errno!(fs::rename(at("theirs"), at("x")), Errno::PERM, "{s}");
            assert_errno!(fs::rename(at("mine"), at("theirs")), Errno::PERM, "{s}");
            fs::rename(at("mine"), at("still-mine")).unwrap();
            fs::remove_file(at("still-mine")).unwrap();
        });
        assert_eq!(names_in(s.path()), ["dir", "theirs"], "{s}");
    });
}

#[test]
fn u1_errnos_of_mkdir() {
    each(tree, |s| {
        let at = |name: &str| mkdir(&s.path().join(name), 0o755);
        symlink("nowhere", s.beside("dangling")).unwrap();
        assert_errno!(at("f"), Errno::EXIST, "{s}");
        assert_errno!(at("d"), Errno::EXIST, "{s}");
        assert_errno!(at("d/"), Errno::EXIST, "{s}");
        assert_errno!(at("."), Errno::EXIST, "{s}");
        assert_errno!(mkdir(&s.beside("dangling"), 0o755), Errno::EXIST, "{s}");
        assert_errno!(at("none/x"), Errno::NOENT, "{s}");
        assert_errno!(at("f/x"), Errno::NOTDIR, "{s}");
        as_user(1000, 1000, || assert_errno!(at("x"), Errno::ACCESS, "{s}"));
        s.assert_not_copied();
        at("x/").unwrap();
        assert_eq!(names_in(s.path()), ["d", "f", "x"], "{s}");
    });
}

#[test]
fn d5_errnos_of_rmdir() {
    each(tree, |s| {
        let at = |name: &str| rmdir(&s.path().join(name));
        symlink("obj", s.beside("link")).unwrap();
        assert_errno!(at(""), Errno::NOTEMPTY, "{s}");
        assert_errno!(at("d"), Errno::NOTEMPTY, "{s}");
        assert_errno!(at("f"), Errno::NOTDIR, "{s}");
        assert_errno!(at("none"), Errno::NOENT, "{s}");
        assert_errno!(at("f/x"), Errno::NOTDIR, "{s}");
        assert_errno!(at("d/."), Errno::INVAL, "{s}");
        assert_errno!(at("d/.."), Errno::NOTEMPTY, "{s}");
        assert_errno!(rmdir(&s.beside("link")), Errno::NOTDIR, "{s}");
        as_user(1000, 1000, || assert_errno!(at("d"), Errno::ACCESS, "{s}"));
        s.assert_not_copied();
    });
}

fn rmdir(path: &Path) -> std::io::Result<()> {
    fs::remove_dir(path)
}

#[test]
fn d5_the_root_of_the_mount_is_busy() {
    let m = mount_objects(tree);
    if !m.differs_on(&[Target::Plain], "a plain directory is no mount point") {
        assert_errno!(rmdir(m.path()), Errno::BUSY);
        assert_errno!(fs::rename(m.path(), m.stack().base().join("x")), Errno::BUSY);
    }
}

#[test]
fn d5_rmdir_takes_an_emptied_directory_and_leaves_a_whiteout_over_a_lower_one() {
    each(tree, |s| {
        fs::remove_file(s.path().join("d/g")).unwrap();
        rmdir(&s.path().join("d")).unwrap();
        assert_errno!(lstat_of(&s.path().join("d")), Errno::NOENT, "{s}");
        fs::remove_file(s.path().join("f")).unwrap();
        rmdir(&s.path()).unwrap();
        s.assert_removed("obj");
    });
}

fn lstat_of(path: &Path) -> std::io::Result<fs::Metadata> {
    path.symlink_metadata()
}

#[test]
fn d6_a_directory_made_where_one_was_removed_is_empty() {
    each(tree, |s| {
        fs::remove_dir_all(s.path()).unwrap();
        mkdir(&s.path(), 0o755).unwrap();
        assert_eq!(names_in(s.path()), Vec::<String>::new(), "{s}");
        assert_errno!(lstat_of(&s.path().join("f")), Errno::NOENT, "{s}");
        mkdir(&s.path().join("d"), 0o755).unwrap();
        assert_eq!(names_in(s.path().join("d")), Vec::<String>::new(), "{s}");
        if s.m.has_upper() && s.origin == Origin::Lower {
            assert!(place::is_opaque(s.in_upper("obj")), "{s}: not opaque");
        }
    });
}

#[test]
fn i5_a_directory_removed_while_open_takes_no_new_names() {
    each(directory, |s| {
        let open = fs::File::open(s.path()).unwrap();
        rmdir(&s.path()).unwrap();
        let flags = rustix::fs::OFlags::CREATE | rustix::fs::OFlags::WRONLY;
        let made = rustix::fs::openat(&open, "x", flags, rustix::fs::Mode::RUSR);
        assert_errno!(made, Errno::NOENT, "{s}");
        let made = rustix::fs::mkdirat(&open, "x", rustix::fs::Mode::RWXU);
        assert_errno!(made, Errno::NOENT, "{s}");
        let listed = rustix::fs::Dir::read_from(&open).unwrap().filter(|entry| entry.is_ok());
        let names = listed.filter(|e| !e.as_ref().unwrap().file_name().to_bytes().starts_with(b"."));
        assert_eq!(names.count(), 0, "{s}");
        assert!(open.metadata().unwrap().is_dir(), "{s}");
        s.assert_removed("obj");
    });
}
