//! unlink: every type, every errno, and what is left in the upper.

use super::objects::*;
use crate::harness::*;
use rustix::fs::{AtFlags, CWD, FileType, Mode, makedev, mknodat, unlinkat};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

fn unlink(path: &Path) -> rustix::io::Result<()> {
    unlinkat(CWD, path, AtFlags::empty())
}

#[test]
fn d2_unlink_of_every_type_leaves_a_whiteout_over_a_lower_name_only() {
    let node = |kind| move |path: &Path| mknodat(CWD, path, kind, Mode::RUSR, makedev(1, 3)).unwrap();
    each(file("data"), check_unlink);
    each(file(""), check_unlink);
    each(|path| symlink("target", path).unwrap(), check_unlink);
    for kind in [FileType::Fifo, FileType::Socket, FileType::CharacterDevice] {
        each(node(kind), check_unlink);
    }
}

fn check_unlink(s: Subject<'_>) {
    unlink(&s.path()).unwrap();
    assert_errno!(s.path().symlink_metadata(), Errno::NOENT, "{s}");
    assert_errno!(unlink(&s.path()), Errno::NOENT, "{s}");
    assert_errno!(fs::read(s.path()), Errno::NOENT, "{s}");
    assert_eq!(names_in(s.dir()), Vec::<String>::new(), "{s}");
    s.assert_removed("obj");
}

#[test]
fn d3_unlink_after_a_copy_up_leaves_a_whiteout() {
    each(file("data"), |s| {
        fs::write(s.path(), "copied").unwrap();
        s.assert_upper();
        unlink(&s.path()).unwrap();
        s.assert_removed("obj");
    });
}

#[test]
fn d8_a_name_removed_and_made_again_shows_only_the_new_object() {
    each(file("old data"), |s| {
        for round in 0..3 {
            unlink(&s.path()).unwrap();
            s.assert_removed("obj");
            fs::write(s.path(), format!("new {round}")).unwrap();
            assert_eq!(fs::read(s.path()).unwrap(), format!("new {round}").as_bytes(), "{s}");
            s.assert_upper_content(format!("new {round}"));
        }
        unlink(&s.path()).unwrap();
        fs::create_dir(s.path()).unwrap();
        assert_eq!(names_in(s.path()), Vec::<String>::new(), "{s}");
        fs::remove_dir(s.path()).unwrap();
        symlink("elsewhere", s.path()).unwrap();
        assert_eq!(fs::read_link(s.path()).unwrap(), Path::new("elsewhere"), "{s}");
    });
}

#[test]
fn a11_errnos_of_unlink() {
    each(tree, |s| {
        let at = |name: &str| unlink(&s.path().join(name));
        assert_errno!(at("d"), Errno::ISDIR, "{s}");
        assert_errno!(at(""), Errno::ISDIR, "{s}");
        assert_errno!(at("none"), Errno::NOENT, "{s}");
        assert_errno!(at("none/x"), Errno::NOENT, "{s}");
        assert_errno!(at("f/x"), Errno::NOTDIR, "{s}");
        assert_errno!(at("f/"), Errno::NOTDIR, "{s}");
        as_user(1000, 1000, || assert_errno!(at("f"), Errno::ACCESS, "{s}"));
        let both = unlinkat(CWD, s.path().join("f"), AtFlags::REMOVEDIR);
        assert_errno!(both, Errno::NOTDIR, "{s}");
        assert_eq!(names_in(s.path()), ["d", "f"], "{s}");
        s.assert_not_copied();
    });
}

#[test]
fn a3_the_directory_decides_who_may_unlink_not_the_file() {
    let make = |path: &Path| {
        tree(path);
        chmod(path, 0o777);
        chmod(&path.join("f"), 0o000);
    };
    each(make, |s| {
        as_user(1000, 1000, || unlink(&s.path().join("f")).unwrap());
        assert_eq!(names_in(s.path()), ["d"], "{s}");
    });
}

#[test]
fn d1_unlink_through_a_symlink_removes_the_link() {
    each(file("data"), |s| {
        symlink("obj", s.beside("link")).unwrap();
        unlink(&s.beside("link")).unwrap();
        assert_eq!(fs::read(s.path()).unwrap(), b"data", "{s}");
        s.assert_not_copied();
        s.m.assert_not_upper(s.beside("link").strip_prefix(s.m.path()).unwrap());
    });
}

#[test]
fn d2_a_tree_is_removed_whole() {
    each(tree, |s| {
        fs::remove_dir_all(s.path()).unwrap();
        s.assert_removed("obj");
        assert_errno!(s.path().join("d/g").symlink_metadata(), Errno::NOENT, "{s}");
    });
}
