//! U1 to U5 and U13: which layer decides what a name is, what merges and what hides.

use super::*;
use crate::harness::{Errno, Target, assert_errno, write};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

#[test]
fn u1_the_first_layer_from_the_top_that_has_a_name_decides() {
    let stack = Stack::new(3);
    let layers = [stack.upper(), stack.lower(0), stack.lower(1), stack.lower(2)];
    for (depth, layer) in layers.iter().enumerate() {
        for (i, name) in ["a", "b", "c", "d"].iter().enumerate() {
            if i <= depth {
                write(layer.join("dir").join(name), format!("{depth}"));
                write(layer.join(name), format!("{depth}"));
            }
        }
    }
    let mut m = stack.mount(&[]);
    twice(&mut m, |m| {
        for (depth, name) in ["a", "b", "c", "d"].iter().enumerate() {
            assert_eq!(text(m.join(name)), depth.to_string(), "{name}");
            assert_eq!(text(m.join("dir").join(name)), depth.to_string(), "dir/{name}");
        }
        assert!(absent(m.join("e")));
    });
}

#[test]
fn u2_a_file_or_link_hides_a_directory_below_it() {
    let stack = Stack::new(2);
    write(stack.lower(0).join("file"), "file");
    symlink("elsewhere", stack.lower(0).join("link")).unwrap();
    fill(stack.lower(1), &["file/x", "link/x", "elsewhere/y"]);
    let mut m = stack.mount(&[]);
    twice(&mut m, |m| {
        assert_eq!(text(m.join("file")), "file");
        assert_errno!(fs::symlink_metadata(m.join("file/x")), Errno::NOTDIR);
        assert_eq!(names(m.join("link")), ["y"]);
        assert_eq!(fs::read_link(m.join("link")).unwrap(), Path::new("elsewhere"));
    });
}

#[test]
fn u2_a_directory_hides_a_file_below_it_and_everything_below_that() {
    let stack = Stack::new(3);
    fill(stack.lower(0), &["x/a"]);
    write(stack.lower(1).join("x"), "a file");
    fill(stack.lower(2), &["x/b", "x/sub/c"]);
    let mut m = stack.mount(&[]);
    twice(&mut m, |m| {
        assert_eq!(names(m.join("x")), ["a"]);
        assert_errno!(fs::symlink_metadata(m.join("x/b")), Errno::NOENT);
        assert_errno!(fs::symlink_metadata(m.join("x/sub/c")), Errno::NOENT);
    });
    fs::remove_file(m.join("x/a")).unwrap();
    fs::remove_dir(m.join("x")).unwrap();
    twice(&mut m, |m| {
        assert!(absent(m.join("x")));
        m.assert_whiteout("x");
    });
}

#[test]
fn u3_directories_of_one_name_merge_with_the_attributes_of_the_topmost() {
    let stack = Stack::new(3);
    for (i, lower) in stack.lowers().iter().enumerate() {
        fill(lower, &[&format!("d/only{i}"), &format!("d/e/f/only{i}"), "d/all"]);
        let dir = lower.join("d");
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700 + i as u32)).unwrap();
        chown(&dir, Some(100 + i as u32), Some(200 + i as u32)).unwrap();
        xattr::lset(&dir, "user.layer", format!("{i}").as_bytes()).unwrap();
        xattr::lset(&dir, &format!("user.only{i}"), b"x").unwrap();
        set_times(&dir, Timespec { tv_sec: 1_000_000 + i as i64, tv_nsec: 7 });
    }
    let mut m = stack.mount(&[]);
    twice(&mut m, |m| {
        assert_eq!(names(m.join("d")), ["all", "e", "only0", "only1", "only2"]);
        assert_eq!(names(m.join("d/e/f")), ["only0", "only1", "only2"]);
        let meta = lstat(m.join("d"));
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o700, 100, 200));
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_000_000, 7));
        assert_eq!(xattr::llist(m.join("d")).unwrap(), ["user.layer", "user.only0"]);
        assert_eq!(xattr::lget(m.join("d"), "user.layer").unwrap(), b"0");
    });
    assert_eq!(paths(stack.upper()), "");
}

#[test]
fn u4_a_whiteout_hides_its_name_in_all_layers_below_and_is_not_shown() {
    let stack = Stack::new(3);
    whiteout(stack.upper().join("by_upper"));
    whiteout(stack.lower(0).join("by_l0"));
    whiteout(stack.lower(0).join("d/by_l0"));
    whiteout(stack.lower(1).join("by_l1"));
    whiteout(stack.lower(1).join("d/by_l1"));
    fill(stack.lower(2), &["by_upper/x", "by_l0/x", "by_l1/x", "d/by_l0", "d/by_l1", "d/stays"]);
    fill(stack.lower(1), &["by_l0/y", "by_upper/y"]);
    fill(stack.lower(0), &["by_l1/z"]);
    let mut m = stack.mount(&[]);
    twice(&mut m, |m| {
        assert_eq!(names(m.path()), ["by_l1", "d"]);
        assert_eq!(names(m.join("d")), ["stays"]);
        assert_eq!(names(m.join("by_l1")), ["z"], "the whiteout cuts off what is below it");
        for name in ["by_upper", "by_l0", "d/by_l0", "d/by_l1"] {
            assert!(absent(m.join(name)), "{name}");
        }
        assert_errno!(fs::symlink_metadata(m.join("by_l0/x")), Errno::NOENT);
    });
}

#[test]
fn u4_a_whiteout_of_what_is_in_no_layer_below_is_not_shown_either() {
    let stack = Stack::new(2);
    whiteout(stack.upper().join("d/nothing"));
    whiteout(stack.lower(0).join("d/nothing_either"));
    whiteout(stack.lower(1).join("d/nor_here"));
    fill(stack.lower(1), &["d/x"]);
    let mut m = stack.mount(&[]);
    twice(&mut m, |m| assert_eq!(names(m.join("d")), ["x"]));
}

#[test]
fn u5_an_opaque_directory_hides_everything_below_it() {
    let stack = Stack::new(3);
    opaque(stack.upper().join("by_upper"));
    opaque(stack.lower(0).join("by_l0"));
    opaque(stack.lower(1).join("by_l1"));
    fill(stack.upper(), &["by_upper/u"]);
    for (i, lower) in stack.lowers().iter().enumerate() {
        for dir in ["by_upper", "by_l0", "by_l1"] {
            fill(lower, &[&format!("{dir}/only{i}"), &format!("{dir}/sub/only{i}")]);
        }
    }
    let mut m = stack.mount(&[]);
    twice(&mut m, |m| {
        assert_eq!(names(m.join("by_upper")), ["u"]);
        assert_eq!(names(m.join("by_l0")), ["only0", "sub"]);
        assert_eq!(names(m.join("by_l0/sub")), ["only0"]);
        assert_eq!(names(m.join("by_l1")), ["only0", "only1", "sub"]);
        assert_eq!(names(m.join("by_l1/sub")), ["only0", "only1"]);
        assert_errno!(fs::symlink_metadata(m.join("by_upper/sub/only1")), Errno::NOENT);
        assert_errno!(fs::symlink_metadata(m.join("by_l1/only2")), Errno::NOENT);
    });
}

#[test]
fn u5_an_opaque_root_of_a_lower_hides_the_layers_below() {
    let stack = Stack::new(2);
    mark(stack.lower(0), "opaque", "y");
    fill(stack.lower(0), &["a"]);
    fill(stack.lower(1), &["b"]);
    let mut m = stack.mount(&[]);
    if m.differs_on(&[Target::KernelOverlay], "the kernel does not read the roots' marks") {
        return;
    }
    twice(&mut m, |m| assert_eq!(names(m.path()), ["a"]));
}

#[test]
fn u13_the_root_shows_the_attributes_of_the_top_layer() {
    let (stack, looked_at) = (Stack::new(2), Stack::read_only(2));
    for (stack, top) in [(&stack, stack.upper()), (&looked_at, looked_at.lower(0))] {
        fs::set_permissions(top, fs::Permissions::from_mode(0o2751)).unwrap();
        chown(top, Some(11), Some(12)).unwrap();
        fs::set_permissions(top, fs::Permissions::from_mode(0o2751)).unwrap();
        xattr::lset(top, "user.root", b"top").unwrap();
        xattr::lset(stack.lower(1), "user.lower", b"no").unwrap();
        set_times(top, LONG_AGO);
        let mut m = stack.mount(&[]);
        twice(&mut m, |m| {
            let meta = lstat(m.path());
            assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o2751, 11, 12));
            assert_eq!(mtime(m.path()), (LONG_AGO.tv_sec, LONG_AGO.tv_nsec));
            assert_eq!(xattr::llist(m.path()).unwrap(), ["user.root"]);
        });
    }
    let m = stack.mount(&[]);
    fs::set_permissions(m.path(), fs::Permissions::from_mode(0o700)).unwrap();
    xattr::lset(m.path(), "user.new", b"1").unwrap();
    assert_eq!(lstat(stack.upper()).mode() & 0o7777, 0o700);
    assert_eq!(xattr::lget(stack.upper(), "user.new").unwrap(), b"1");
}

#[test]
fn u1_a_change_through_the_mount_leaves_every_lower_as_it_was() {
    let stack = Stack::new(2);
    fill(stack.lower(0), &["a", "d/b"]);
    fill(stack.lower(1), &["d/c", "d/e/f"]);
    let m = stack.mount(&[]);
    // The harness compares the lowers, ctimes too, when it unmounts.
    fs::write(m.join("a"), "new").unwrap();
    fs::remove_file(m.join("d/c")).unwrap();
    fs::rename(m.join("d"), m.join("moved")).unwrap();
    fs::remove_dir_all(m.join("moved/e")).unwrap();
    assert_eq!(names(m.join("moved")), ["b"]);
}
