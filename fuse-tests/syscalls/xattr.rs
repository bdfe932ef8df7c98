//! Extended attributes: namespaces, sizes, flags, errnos, and the names of our own marks.

use super::objects::*;
use crate::harness::xattr::{lget, lget_sized, llist, llist_sized, lremove, lset, lset_flags};
use crate::harness::*;
use rustix::fs::XattrFlags;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

fn with_xattrs(path: &Path) {
    write(path, "data");
    lset(path, "user.old", b"old value").unwrap();
    lset(path, "trusted.old", b"\0\xff\n").unwrap();
}

#[test]
fn a6_set_read_list_replace_and_remove() {
    each(with_xattrs, |s| {
        let path = s.path();
        assert_eq!(llist(&path).unwrap(), ["trusted.old", "user.old"], "{s}");
        assert_eq!(lget(&path, "user.old").unwrap(), b"old value", "{s}");
        assert_eq!(lget(&path, "trusted.old").unwrap(), b"\0\xff\n", "{s}");
        s.assert_not_copied();
        lset(&path, "user.new", b"1").unwrap();
        lset(&path, "security.test", b"2").unwrap();
        lset(&path, "user.empty", b"").unwrap();
        lset(&path, "user.old", b"shorter").unwrap();
        lremove(&path, "trusted.old").unwrap();
        let names = ["security.test", "user.empty", "user.new", "user.old"];
        assert_eq!(llist(&path).unwrap(), names, "{s}");
        assert_eq!(lget(&path, "user.old").unwrap(), b"shorter", "{s}");
        assert_eq!(lget(&path, "user.empty").unwrap(), b"", "{s}");
        if s.m.has_upper() {
            for name in names {
                let upper = lget(s.in_upper("obj"), name).unwrap();
                assert_eq!(upper, lget(&path, name).unwrap(), "{s} {name}: in the upper");
            }
        }
    });
}

#[test]
fn a6_directories_and_the_root_have_them_too() {
    let make = |path: &Path| {
        directory(path);
        lset(path, "user.old", b"value").unwrap();
    };
    each(make, |s| {
        lset(s.path(), "user.new", b"more").unwrap();
        assert_eq!(lget(s.path(), "user.old").unwrap(), b"value", "{s}");
        assert_eq!(llist(s.path()).unwrap(), ["user.new", "user.old"], "{s}");
        lset(s.m.path(), "user.root", b"r").unwrap();
        assert_eq!(lget(s.m.path(), "user.root").unwrap(), b"r", "{s}");
    });
}

#[test]
fn c4_setxattr_copies_no_data() {
    each(file(pattern(300_000)), |s| {
        lset(s.path(), "user.new", b"value").unwrap();
        if s.m.has_upper() && s.origin == Origin::Lower {
            assert!(place::is_metacopy(s.in_upper("obj")), "{s}");
            assert!(place::blocks(s.in_upper("obj")) <= Filesystem::of_tests().spare_blocks(), "{s}");
        }
        assert!(fs::read(s.path()).unwrap() == pattern(300_000), "{s}: other data");
    });
}

#[test]
fn a6_every_errno_of_the_four_calls() {
    each(with_xattrs, |s| {
        let path = s.path();
        let create = |name: &str| lset_flags(&path, name, b"x", XattrFlags::CREATE);
        let replace = |name: &str| lset_flags(&path, name, b"x", XattrFlags::REPLACE);
        assert_errno!(lget(&path, "user.none"), Errno::NODATA, "{s}");
        assert_errno!(lget(&path, "nospace.x"), Errno::OPNOTSUPP, "{s}");
        assert_errno!(lget(s.beside("none"), "user.x"), Errno::NOENT, "{s}");
        assert_errno!(llist(s.beside("none")), Errno::NOENT, "{s}");
        assert_errno!(llist(path.join("x")), Errno::NOTDIR, "{s}");
        assert_errno!(lremove(&path, "user.none"), Errno::NODATA, "{s}");
        s.assert_not_copied();
        assert_errno!(replace("user.none"), Errno::NODATA, "{s}");
        assert_errno!(create("user.old"), Errno::EXIST, "{s}");
        assert_errno!(lset(&path, "nospace.x", b""), Errno::OPNOTSUPP, "{s}");
        assert_errno!(lset(&path, "system.other", b""), Errno::OPNOTSUPP, "{s}");
        assert_errno!(lremove(&path, "nospace.x"), Errno::OPNOTSUPP, "{s}");
        let long = format!("user.{}", "n".repeat(251));
        assert_errno!(lset(&path, &long, b""), Errno::RANGE, "{s}: a name of 256");
        assert_errno!(lset(&path, "user.big", &[0; 65_537]), Errno::TOOBIG, "{s}");
        assert_errno!(lset(s.beside("none"), "user.x", b""), Errno::NOENT, "{s}");
        create("user.made").unwrap();
        replace("user.made").unwrap();
        assert_eq!(llist(&path).unwrap(), ["trusted.old", "user.made", "user.old"], "{s}");
    });
}

#[test]
fn a6_where_no_selinux_runs_there_are_no_labels_but_those_that_were_set() {
    let name = "security.selinux";
    if Path::new("/sys/fs/selinux/enforce").exists() {
        return eprintln!("left out: the kernel answers for labels itself");
    }
    each(with_xattrs, |s| {
        let path = s.path();
        let none = if s.m.target() == Target::Layerfs { Errno::OPNOTSUPP } else { Errno::NODATA };
        assert_errno!(lget(&path, name), none, "{s}");
        assert_errno!(lremove(&path, name), Errno::NODATA, "{s}");
        s.assert_not_copied();
        lset(&path, name, b"a:b:c:s0").unwrap();
        assert_eq!(lget(&path, name).unwrap(), b"a:b:c:s0", "{s}");
        assert!(llist(&path).unwrap().iter().any(|listed| listed == name), "{s}");
        lremove(&path, name).unwrap();
        assert_errno!(lget(&path, name), none, "{s}");
    });
}

#[test]
fn a6_exact_sizes_and_erange() {
    each(with_xattrs, |s| {
        let path = s.path();
        assert_eq!(lget_sized(&path, "user.old", 0), Ok(9), "{s}: room 0 asks for the size");
        assert_eq!(lget_sized(&path, "user.old", 9), Ok(9), "{s}");
        assert_errno!(lget_sized(&path, "user.old", 8), Errno::RANGE, "{s}");
        let list = "trusted.old".len() + 1 + "user.old".len() + 1;
        assert_eq!(llist_sized(&path, 0), Ok(list), "{s}");
        assert_eq!(llist_sized(&path, list), Ok(list), "{s}");
        assert_errno!(llist_sized(&path, list - 1), Errno::RANGE, "{s}");
        s.assert_not_copied();
    });
}

#[test]
fn a6_long_names_values_and_lists() {
    let value = pattern(3000);
    each(file("data"), |s| {
        let longest = format!("user.{}", "n".repeat(250));
        lset(s.path(), &longest, &value).unwrap();
        assert_eq!(lget(s.path(), &longest).unwrap(), value, "{s}");
        assert_eq!(lget_sized(s.path(), &longest, 2999), Err(Errno::RANGE), "{s}");
        lremove(s.path(), &longest).unwrap();
        let names: Vec<String> = (10..90).map(|i| format!("user.name-{i}")).collect();
        for name in &names {
            lset(s.path(), name, name.as_bytes()).unwrap();
        }
        assert_eq!(llist(s.path()).unwrap(), names, "{s}");
        for name in &names {
            assert_eq!(lget(s.path(), name).unwrap(), name.as_bytes(), "{s}");
        }
        let much = lset(s.path(), "user.too-much", &pattern(4090));
        if Filesystem::of_tests() == Filesystem::Ext4 {
            assert_errno!(much, Errno::NOSPC, "{s}: more than ext4 holds");
        } else {
            much.unwrap();
            assert_eq!(lget(s.path(), "user.too-much").unwrap(), pattern(4090), "{s}");
            lremove(s.path(), "user.too-much").unwrap();
        }
        assert_eq!(llist(s.path()).unwrap(), names, "{s}: after a failed set, or one undone");
    });
}

#[test]
fn a6_who_may_read_and_set() {
    let make = |path: &Path| {
        with_xattrs(path);
        lset(path, "security.test", b"seen by all").unwrap();
        chmod(path, 0o604);
    };
    each(make, |s| {
        let path = s.path();
        as_user(1000, 1000, || {
            assert_eq!(lget(&path, "user.old").unwrap(), b"old value", "{s}");
            assert_eq!(lget(&path, "security.test").unwrap(), b"seen by all", "{s}");
            assert_eq!(llist(&path).unwrap(), ["security.test", "user.old"], "{s}");
            assert_errno!(lget(&path, "trusted.old"), Errno::NODATA, "{s}");
            assert_errno!(lset(&path, "user.new", b""), Errno::ACCESS, "{s}");
            assert_errno!(lremove(&path, "user.old"), Errno::ACCESS, "{s}");
            assert_errno!(lset(&path, "trusted.new", b""), Errno::PERM, "{s}");
            assert_errno!(lset(&path, "security.test", b""), Errno::PERM, "{s}");
        });
        s.assert_not_copied();
        chmod(&path, 0o600);
        as_user(1000, 1000, || assert_errno!(lget(&path, "user.old"), Errno::ACCESS, "{s}"));
    });
}

#[test]
fn a6_user_xattrs_are_for_files_and_directories_only() {
    each(
        |path| symlink("target", path).unwrap(),
        |s| {
            assert_errno!(lset(s.path(), "user.x", b""), Errno::PERM, "{s}");
            assert_errno!(lget(s.path(), "user.x"), Errno::NODATA, "{s}");
            s.assert_not_copied();
            lset(s.path(), "trusted.x", b"allowed").unwrap();
            assert_eq!(lget(s.path(), "trusted.x").unwrap(), b"allowed", "{s}");
            assert_eq!(llist(s.path()).unwrap(), ["trusted.x"], "{s}");
        },
    );
}

#[test]
fn a6_by_descriptor_and_after_a_rename() {
    use rustix::fs::{fgetxattr, flistxattr, fremovexattr, fsetxattr};
    each(with_xattrs, |s| {
        let open = File::open(s.path()).unwrap();
        fs::rename(s.path(), s.beside("new")).unwrap();
        fsetxattr(&open, "user.by-fd", b"12345", XattrFlags::CREATE).unwrap();
        let mut room = [0_u8; 100];
        assert_eq!(fgetxattr(&open, "user.by-fd", &mut room).unwrap(), 5, "{s}");
        fremovexattr(&open, "trusted.old").unwrap();
        assert_eq!(flistxattr(&open, &mut room).unwrap(), 9 + 11, "{s}");
        assert_eq!(llist(s.beside("new")).unwrap(), ["user.by-fd", "user.old"], "{s}");
    });
}

#[test]
fn a7_our_marks_are_hidden_and_a_users_own_are_stored_escaped() {
    let m = mount_objects(with_xattrs);
    if m.differs_on(&[Target::Plain], "there are no marks") {
        return;
    }
    for dir in ["lower", "upper", "fresh"] {
        let path = m.join(dir).join("obj");
        chmod(&path, 0o600);
        assert_eq!(llist(&path).unwrap(), ["trusted.old", "user.old"], "{dir}");
        for name in ["trusted.overlay.opaque", "trusted.overlay.whiteout"] {
            assert_errno!(lget(&path, name), Errno::NODATA, "{dir} {name}");
            lset(&path, name, b"y").unwrap();
            assert_eq!(lget(&path, name).unwrap(), b"y", "{dir} {name}");
            let escaped = name.replace("overlay.", "overlay.overlay.");
            let upper = m.stack().upper().join(dir).join("obj");
            assert_eq!(lget(&upper, &escaped).unwrap(), b"y", "{dir} {name}: in the upper");
            assert_errno!(lget(&upper, name), Errno::NODATA, "{dir} {name}: in the upper");
            assert!(llist(&path).unwrap().contains(&name.to_owned()), "{dir} {name}: not listed");
            lremove(&path, name).unwrap();
            assert_errno!(lget(&path, name), Errno::NODATA, "{dir} {name}: removed");
        }
    }
}
