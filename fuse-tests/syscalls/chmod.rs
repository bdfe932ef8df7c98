//! chmod and chown: bits, owners, who may, and what a change drops.

use super::objects::*;
use crate::harness::*;
use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, fchown, lchown, symlink};
use std::path::Path;

/// `cap_chown+ep` as `security.capability` holds it.
pub const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Something that changes a file.
type Change = fn(&Path);

fn try_chmod(path: &Path, mode: u32) -> std::io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
}

#[test]
fn a3_chmod_sets_all_twelve_bits_of_files_and_directories() {
    for make in [file_of_mode("x", 0o644), file_of_mode("", 0o600)] {
        each(make, check_all_bits);
    }
    each(directory, check_all_bits);
}

fn check_all_bits(s: Subject<'_>) {
    for mode in [0, 0o7777, 0o4755, 0o2755, 0o1777, 0o111, 0o644] {
        chmod(&s.path(), mode);
        assert_eq!(mode_of(s.path()), mode, "{s}");
        if s.m.has_upper() {
            assert_eq!(mode_of(s.in_upper("obj")), mode, "{s}: in the upper");
        }
    }
}

#[test]
fn a3_chmod_by_descriptor_and_through_a_symlink() {
    each(file("x"), |s| {
        let open = fs::File::open(s.path()).unwrap();
        open.set_permissions(Permissions::from_mode(0o640)).unwrap();
        assert_eq!((mode_of(s.path()), open.metadata().unwrap().mode() & 0o7777), (0o640, 0o640));
        symlink("obj", s.beside("link")).unwrap();
        chmod(&s.beside("link"), 0o604);
        assert_eq!((mode_of(s.path()), mode_of(s.beside("link"))), (0o604, 0o777), "{s}");
    });
}

#[test]
fn c4_chmod_and_chown_copy_no_data() {
    let data = pattern(1 << 20);
    each(file(&data), |s| {
        let before = s.stat();
        chmod(&s.path(), 0o600);
        chown(&s.path(), 3, 4);
        let after = s.stat();
        assert_eq!((after.mode() & 0o7777, after.uid(), after.gid()), (0o600, 3, 4), "{s}");
        assert_eq!((after.len(), after.mtime()), (1 << 20, before.mtime()), "{s}");
        assert_eq!(after.mtime_nsec(), before.mtime_nsec(), "{s}");
        assert_eq!(after.ino(), before.ino(), "{s}");
        if s.m.has_upper() && s.origin == Origin::Lower {
            let upper = s.in_upper("obj");
            assert!(place::is_metacopy(&upper), "{s}: not marked metacopy");
            assert_eq!(lstat(&upper).len(), 1 << 20, "{s}: size of the upper file");
            assert!(
                place::blocks(&upper) <= Filesystem::of_tests().spare_blocks(),
                "{s}: blocks of the upper file"
            );
        }
        assert!(fs::read(s.path()).unwrap() == data, "{s}: other data after the copy-up");
    });
}

#[test]
fn a3_only_the_owner_changes_the_mode() {
    let make = |path: &Path| {
        write(path, "x");
        chown(path, 1000, 1000);
    };
    each(make, |s| {
        as_user(1001, 1000, || assert_errno!(try_chmod(&s.path(), 0o600), Errno::PERM, "{s}"));
        assert_eq!(mode_of(s.path()), 0o644, "{s}");
        s.assert_not_copied();
        as_user(1000, 1000, || try_chmod(&s.path(), 0o2755).unwrap());
        assert_eq!(mode_of(s.path()), 0o2755, "{s}: in the file's group");
        as_user(1000, 77, || try_chmod(&s.path(), 0o2755).unwrap());
        assert_eq!(mode_of(s.path()), 0o755, "{s}: not in the file's group, setgid is dropped");
    });
}

#[test]
fn a3_errnos_of_chmod_and_chown() {
    each(tree, |s| {
        assert_errno!(try_chmod(&s.path().join("none"), 0o600), Errno::NOENT, "{s}");
        assert_errno!(try_chmod(&s.path().join("f/x"), 0o600), Errno::NOTDIR, "{s}");
        assert_errno!(lchown(s.path().join("none"), Some(1), None), Errno::NOENT, "{s}");
        as_user(1000, 1000, || {
            assert_errno!(lchown(s.path(), Some(1000), None), Errno::PERM, "{s}");
            assert_errno!(lchown(s.path(), None, Some(1000)), Errno::PERM, "{s}");
        });
        s.assert_not_copied();
    });
}

#[test]
fn a1_chown_sets_owner_or_group_alone() {
    for make in [file_of_mode("x", 0o644), file_of_mode("", 0o644)] {
        each(make, |s| {
            let owner = || (s.stat().uid(), s.stat().gid());
            lchown(s.path(), Some(11), None).unwrap();
            assert_eq!(owner(), (11, 0), "{s}");
            lchown(s.path(), None, Some(22)).unwrap();
            assert_eq!(owner(), (11, 22), "{s}");
            lchown(s.path(), Some(4_000_000_000), Some(4_000_000_001)).unwrap();
            assert_eq!(owner(), (4_000_000_000, 4_000_000_001), "{s}");
            fchown(fs::File::open(s.path()).unwrap(), Some(1), Some(2)).unwrap();
            assert_eq!(owner(), (1, 2), "{s}");
            if s.m.has_upper() {
                let upper = lstat(s.in_upper("obj"));
                assert_eq!((upper.uid(), upper.gid()), (1, 2), "{s}: in the upper");
            }
        });
    }
}

#[test]
fn a1_an_owner_gives_a_file_to_a_group_of_his_only() {
    let make = |path: &Path| {
        write(path, "x");
        chown(path, 1000, 1000);
    };
    each(make, |s| {
        as_user_with_groups(1000, 1000, &[1005], || {
            lchown(s.path(), None, Some(1005)).unwrap();
            assert_errno!(lchown(s.path(), None, Some(1006)), Errno::PERM, "{s}");
            assert_errno!(lchown(s.path(), Some(1001), None), Errno::PERM, "{s}");
        });
        assert_eq!((s.stat().uid(), s.stat().gid()), (1000, 1005), "{s}");
    });
}

#[test]
fn a4_chown_drops_set_id_bits_even_for_root() {
    for (before, after) in [(0o6755, 0o755), (0o4711, 0o711), (0o2644, 0o2644), (0o1755, 0o1755)] {
        each(file_of_mode("x", before), |s| {
            lchown(s.path(), Some(9), Some(9)).unwrap();
            assert_eq!(mode_of(s.path()), after, "{s} {before:o}");
            if s.m.has_upper() {
                assert_eq!(mode_of(s.in_upper("obj")), after, "{s} {before:o}: in the upper");
            }
        });
    }
}

#[test]
fn a4_chown_of_a_directory_keeps_set_id_bits() {
    let make = |path: &Path| {
        directory(path);
        chmod(path, 0o6775);
    };
    each(make, |s| {
        lchown(s.path(), Some(9), Some(9)).unwrap();
        assert_eq!(mode_of(s.path()), 0o6775, "{s}");
    });
}

#[test]
fn a4_a_write_drops_set_id_bits_unless_root_writes() {
    each(file_of_mode("data", 0o6777), |s| {
        open_rw(s.path()).write_all_at(b"R", 0).unwrap();
        assert_eq!(mode_of(s.path()), 0o6777, "{s}: root has CAP_FSETID");
    });
    each(file_of_mode("data", 0o6777), |s| {
        as_user(1000, 1000, || open_rw(s.path()).write_all_at(b"U", 0).unwrap());
        assert_eq!(mode_of(s.path()), 0o777, "{s}");
        assert_eq!(fs::read(s.path()).unwrap(), b"Uata", "{s}");
        if s.m.has_upper() {
            assert_eq!(mode_of(s.in_upper("obj")), 0o777, "{s}: in the upper");
        }
    });
}

#[test]
fn a4_a_truncate_drops_set_id_bits() {
    each(file_of_mode("data", 0o6777), |s| {
        as_user(1000, 1000, || open_rw(s.path()).set_len(2).unwrap());
        assert_eq!(mode_of(s.path()), 0o777, "{s}: ftruncate");
        chmod(&s.path(), 0o6777);
        as_user(1000, 1000, || fs::File::create(s.path()).map(drop).unwrap());
        assert_eq!((mode_of(s.path()), s.stat().len()), (0o777, 0), "{s}: O_TRUNC");
    });
}

#[test]
fn a4_write_truncate_and_chown_drop_the_capability() {
    let make = |path: &Path| {
        write(path, "data");
        chmod(path, 0o755);
        xattr::lset(path, "security.capability", &CAPABILITY).unwrap();
    };
    let changes: [(&str, Change); 3] = [
        ("write", |path| open_rw(path).write_all_at(b"D", 0).unwrap()),
        ("truncate", |path| open_rw(path).set_len(2).unwrap()),
        ("chown", |path| chown(path, 5, 5)),
    ];
    for (name, change) in changes {
        each(make, |s| {
            let there = xattr::lget(s.path(), "security.capability").unwrap();
            assert_eq!(there, CAPABILITY, "{s}: before {name}");
            change(&s.path());
            let gone = xattr::lget(s.path(), "security.capability");
            assert_errno!(gone, Errno::NODATA, "{s}: after {name}");
            if s.m.has_upper() {
                let gone = xattr::lget(s.in_upper("obj"), "security.capability");
                assert_errno!(gone, Errno::NODATA, "{s}: in the upper after {name}");
            }
        });
    }
}

#[test]
fn a4_chmod_keeps_the_capability() {
    let make = |path: &Path| {
        write(path, "data");
        xattr::lset(path, "security.capability", &CAPABILITY).unwrap();
    };
    each(make, |s| {
        chmod(&s.path(), 0o755);
        assert_eq!(xattr::lget(s.path(), "security.capability").unwrap(), CAPABILITY, "{s}");
    });
}
