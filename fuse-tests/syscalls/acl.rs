//! POSIX ACLs: set, shown in the mode, enforced, inherited, kept by copy-up.

use super::objects::*;
use crate::harness::*;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

const ACCESS: &str = "system.posix_acl_access";
const DEFAULT: &str = "system.posix_acl_default";

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

type Entry = (u16, u16, u32);
const NO_ID: u32 = u32::MAX;

/// Entries in the form the kernel passes: version 2, then tag, permissions and id of each.
fn acl(entries: &[Entry]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, perm, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(perm.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

/// `u::user,u:1000:named,g::group,m::mask,o::other`.
fn with_user_1000(user: u16, named: u16, group: u16, mask: u16, other: u16) -> Vec<u8> {
    acl(&[
        (USER_OBJ, user, NO_ID),
        (USER, named, 1000),
        (GROUP_OBJ, group, NO_ID),
        (MASK, mask, NO_ID),
        (OTHER, other, NO_ID),
    ])
}

/// `u::user,g::group,o::other`, which is nothing but a mode.
fn plain_mode(user: u16, group: u16, other: u16) -> Vec<u8> {
    acl(&[(USER_OBJ, user, NO_ID), (GROUP_OBJ, group, NO_ID), (OTHER, other, NO_ID)])
}

fn may_read(path: &Path, uid: u32, gid: u32) -> bool {
    as_user(uid, gid, || File::open(path).is_ok())
}

#[test]
fn a3_an_acl_is_stored_shown_in_the_mode_and_enforced() {
    each(file_of_mode("data", 0o640), |s| {
        assert_errno!(xattr::lget(s.path(), ACCESS), Errno::NODATA, "{s}");
        assert!(!may_read(&s.path(), 1000, 1000), "{s}");
        let set = with_user_1000(6, 4, 4, 4, 0);
        xattr::lset(s.path(), ACCESS, &set).unwrap();
        assert_eq!(xattr::lget(s.path(), ACCESS).unwrap(), set, "{s}");
        assert_eq!(mode_of(s.path()), 0o640, "{s}: the mask is the group's bits");
        assert!(may_read(&s.path(), 1000, 1000), "{s}");
        assert!(!may_read(&s.path(), 1001, 1000), "{s}");
        as_user(1000, 1000, || {
            let write = fs::OpenOptions::new().write(true).open(s.path());
            assert_errno!(write, Errno::ACCESS, "{s}");
        });
        if s.m.has_upper() {
            assert_eq!(xattr::lget(s.in_upper("obj"), ACCESS).unwrap(), set, "{s}: in the upper");
        }
    });
}

#[test]
fn a3_a_group_entry_and_a_denying_user_entry() {
    each(file_of_mode("data", 0o644), |s| {
        let set = acl(&[
            (USER_OBJ, 6, NO_ID),
            (USER, 0, 1000),
            (GROUP_OBJ, 0, NO_ID),
            (GROUP, 4, 2000),
            (MASK, 4, NO_ID),
            (OTHER, 0, NO_ID),
        ]);
        xattr::lset(s.path(), ACCESS, &set).unwrap();
        assert!(may_read(&s.path(), 1001, 2000), "{s}: by the group entry");
        assert!(!may_read(&s.path(), 1000, 2000), "{s}: the user entry comes first");
        assert!(!may_read(&s.path(), 1001, 2001), "{s}");
    });
}

#[test]
fn a3_chmod_changes_the_mask_and_keeps_the_entries() {
    let make = |path: &Path| {
        write(path, "data");
        xattr::lset(path, ACCESS, &with_user_1000(6, 4, 4, 4, 0)).unwrap();
    };
    each(make, |s| {
        assert!(may_read(&s.path(), 1000, 1000), "{s}: before");
        chmod(&s.path(), 0o600);
        let masked = with_user_1000(6, 4, 4, 0, 0);
        assert_eq!(xattr::lget(s.path(), ACCESS).unwrap(), masked, "{s}");
        assert_eq!(mode_of(s.path()), 0o600, "{s}");
        assert!(!may_read(&s.path(), 1000, 1000), "{s}: masked");
        chmod(&s.path(), 0o764);
        assert_eq!(xattr::lget(s.path(), ACCESS).unwrap(), with_user_1000(7, 4, 4, 6, 4), "{s}");
        assert!(may_read(&s.path(), 1000, 1000), "{s}: unmasked");
        if s.m.has_upper() {
            let upper = xattr::lget(s.in_upper("obj"), ACCESS).unwrap();
            assert_eq!(upper, with_user_1000(7, 4, 4, 6, 4), "{s}: in the upper");
        }
    });
}

#[test]
fn a3_an_acl_that_is_only_a_mode_becomes_the_mode() {
    each(file_of_mode("data", 0o600), |s| {
        xattr::lset(s.path(), ACCESS, &plain_mode(7, 5, 4)).unwrap();
        assert_eq!(mode_of(s.path()), 0o754, "{s}");
        assert_errno!(xattr::lget(s.path(), ACCESS), Errno::NODATA, "{s}");
        assert_eq!(xattr::llist(s.path()).unwrap(), Vec::<String>::new(), "{s}");
    });
}

#[test]
fn a3_removing_the_acl_keeps_the_mode() {
    each(file_of_mode("data", 0o640), |s| {
        xattr::lset(s.path(), ACCESS, &with_user_1000(6, 6, 4, 6, 0)).unwrap();
        assert_eq!(mode_of(s.path()), 0o660, "{s}");
        xattr::lremove(s.path(), ACCESS).unwrap();
        assert_errno!(xattr::lget(s.path(), ACCESS), Errno::NODATA, "{s}");
        assert_eq!(mode_of(s.path()), 0o660, "{s}");
        assert!(!may_read(&s.path(), 1000, 1000), "{s}");
    });
}

#[test]
fn a3_errnos_of_acls() {
    each(file("data"), |s| {
        let set = |name: &str, value: &[u8]| xattr::lset(s.path(), name, value);
        let good = with_user_1000(6, 4, 4, 4, 0);
        assert_errno!(set(DEFAULT, &good), Errno::ACCESS, "{s}: a default ACL on a file");
        assert_errno!(set(ACCESS, &good[..good.len() - 1]), Errno::INVAL, "{s}");
        let no_mask = acl(&[(USER_OBJ, 6, NO_ID), (USER, 4, 1000), (GROUP_OBJ, 4, NO_ID), (OTHER, 0, NO_ID)]);
        assert_errno!(set(ACCESS, &no_mask), Errno::INVAL, "{s}: a named user and no mask");
        as_user(1000, 1000, || assert_errno!(set(ACCESS, &good), Errno::PERM, "{s}"));
        s.assert_not_copied();
    });
}

#[test]
fn a4_setting_an_acl_outside_the_files_group_drops_setgid() {
    let make = |path: &Path| {
        write(path, "data");
        chown(path, 1000, 2000);
        chmod(path, 0o2755);
    };
    each(make, |s| {
        let set = with_user_1000(7, 5, 5, 5, 5);
        as_user(1000, 1000, || xattr::lset(s.path(), ACCESS, &set).unwrap());
        assert_eq!(mode_of(s.path()), 0o755, "{s}");
    });
}

/// A directory, mode 0777, whose default ACL is `u::7,u:1000:7,g::5,m::mask,o::0`.
fn with_default(mask: u16) -> impl Fn(&Path) {
    move |path: &Path| {
        directory(path);
        chmod(path, 0o777);
        xattr::lset(path, DEFAULT, &with_user_1000(7, 7, 5, mask, 0)).unwrap();
    }
}

#[test]
fn a2_a_new_file_takes_the_default_acl_and_no_umask() {
    each(with_default(7), |s| {
        let path = s.path().join("f");
        with_umask(0o077, || fs::write(&path, "data").unwrap());
        assert_eq!(mode_of(&path), 0o660, "{s}: 0666 by the default ACL, not by the umask");
        let wanted = with_user_1000(6, 7, 5, 6, 0);
        assert_eq!(xattr::lget(&path, ACCESS).unwrap(), wanted, "{s}");
        assert_errno!(xattr::lget(&path, DEFAULT), Errno::NODATA, "{s}: a file has none");
        assert!(may_read(&path, 1000, 1000) && !may_read(&path, 1001, 1001), "{s}");
        if s.m.has_upper() {
            let upper = s.in_upper("obj/f");
            assert_eq!(xattr::lget(&upper, ACCESS).unwrap(), wanted, "{s}: in the upper");
            assert_eq!(mode_of(&upper), 0o660, "{s}: in the upper");
        }
    });
}

#[test]
fn a2_a_new_directory_inherits_both_acls() {
    each(with_default(7), |s| {
        let path = s.path().join("d");
        with_umask(0o077, || fs::create_dir(&path).unwrap());
        assert_eq!(mode_of(&path), 0o770, "{s}");
        let all = with_user_1000(7, 7, 5, 7, 0);
        assert_eq!(xattr::lget(&path, DEFAULT).unwrap(), all, "{s}");
        assert_eq!(xattr::lget(&path, ACCESS).unwrap(), all, "{s}");
        fs::create_dir(path.join("e")).unwrap();
        fs::write(path.join("e/f"), "deep").unwrap();
        assert_eq!(xattr::lget(path.join("e"), DEFAULT).unwrap(), all, "{s}");
        let file = xattr::lget(path.join("e/f"), ACCESS).unwrap();
        assert_eq!(file, with_user_1000(6, 7, 5, 6, 0), "{s}");
    });
}

#[test]
fn a2_the_requested_mode_limits_the_inherited_acl() {
    use rustix::fs::{CWD, FileType, Mode, mkdirat, mknodat};
    each(with_default(6), |s| {
        mkdirat(CWD, s.path().join("d"), Mode::from_raw_mode(0o700)).unwrap();
        let wanted = with_user_1000(7, 7, 5, 0, 0);
        assert_eq!(xattr::lget(s.path().join("d"), ACCESS).unwrap(), wanted, "{s}");
        assert_eq!(mode_of(s.path().join("d")), 0o700, "{s}");
        mknodat(CWD, s.path().join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
        let wanted = with_user_1000(6, 7, 5, 4, 0);
        assert_eq!(xattr::lget(s.path().join("fifo"), ACCESS).unwrap(), wanted, "{s}");
        assert_eq!(mode_of(s.path().join("fifo")), 0o640, "{s}");
    });
}

#[test]
fn a2_a_default_acl_of_a_mode_alone_replaces_the_umask() {
    let make = |path: &Path| {
        directory(path);
        xattr::lset(path, DEFAULT, &plain_mode(7, 7, 5)).unwrap();
    };
    each(make, |s| {
        with_umask(0o077, || {
            fs::write(s.path().join("f"), "").unwrap();
            fs::create_dir(s.path().join("d")).unwrap();
        });
        assert_eq!(mode_of(s.path().join("f")), 0o664, "{s}");
        assert_eq!(mode_of(s.path().join("d")), 0o775, "{s}");
        assert_errno!(xattr::lget(s.path().join("f"), ACCESS), Errno::NODATA, "{s}");
        assert_eq!(xattr::lget(s.path().join("d"), DEFAULT).unwrap(), plain_mode(7, 7, 5), "{s}");
    });
}

#[test]
fn a2_symlinks_and_renamed_or_linked_files_take_no_default_acl() {
    let make = |path: &Path| {
        with_default(7)(path);
        write(path.with_file_name("outside"), "data");
    };
    each(make, |s| {
        std::os::unix::fs::symlink("x", s.path().join("l")).unwrap();
        fs::hard_link(s.beside("outside"), s.path().join("linked")).unwrap();
        fs::rename(s.beside("outside"), s.path().join("moved")).unwrap();
        assert_eq!(lstat(s.path().join("l")).mode() & 0o7777, 0o777, "{s}");
        for name in ["linked", "moved"] {
            let none = xattr::lget(s.path().join(name), ACCESS);
            assert_errno!(none, Errno::NODATA, "{s} {name}");
        }
    });
}

#[test]
fn c2_copy_up_keeps_the_acls_of_files_and_directories() {
    let make = |path: &Path| {
        with_default(7)(path);
        xattr::lset(path, ACCESS, &with_user_1000(7, 7, 5, 7, 5)).unwrap();
        write(path.join("f"), "data");
        xattr::lset(path.join("f"), ACCESS, &with_user_1000(6, 4, 4, 4, 0)).unwrap();
    };
    each(make, |s| {
        let open = open_rw(s.path().join("f"));
        open.write_all_at(b"D", 0).unwrap();
        open.sync_all().unwrap();
        let acls = |path: &Path| (xattr::lget(path, ACCESS), xattr::lget(path, DEFAULT));
        let file = (Ok(with_user_1000(6, 4, 4, 4, 0)), Err(Errno::NODATA));
        let dir = (Ok(with_user_1000(7, 7, 5, 7, 5)), Ok(with_user_1000(7, 7, 5, 7, 0)));
        assert_eq!(acls(&s.path().join("f")), file, "{s}");
        assert_eq!(acls(&s.path()), dir, "{s}");
        if s.m.has_upper() {
            assert_eq!(acls(&s.in_upper("obj/f")), file, "{s}: in the upper");
            assert_eq!(acls(&s.in_upper("obj")), dir, "{s}: in the upper");
        }
    });
}
