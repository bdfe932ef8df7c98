//! A7 and A8: marks of a user's own and devices 0:0 are never taken for those of the union. C9:
//! what a copy says of its origin.

use super::*;
use crate::harness::{Errno, Target, assert_errno, place};

#[test]
fn a7_the_marks_of_the_union_are_not_shown() {
    let stack = stack_with(&["moved/x", "file", "gone/x"]);
    let mut m = stack.mount(&[]);
    fs::rename(m.join("moved"), m.join("there")).unwrap();
    fs::set_permissions(m.join("file"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::remove_dir_all(m.join("gone")).unwrap();
    fs::create_dir(m.join("gone")).unwrap();
    assert!(place::redirect(stack.upper().join("there")).is_some());
    twice(&mut m, |m| {
        for path in ["there", "file", "gone", ""] {
            assert_eq!(xattr::llist(m.join(path)).unwrap(), [""; 0], "{path}");
            for name in ["redirect", "metacopy", "opaque", "origin", "impure"] {
                let name = format!("trusted.overlay.{name}");
                assert_errno!(xattr::lget(m.join(path), &name), Errno::NODATA, "{name} of {path}");
            }
        }
    });
}

#[test]
fn a7_a_mark_that_a_user_sets_is_stored_escaped_and_has_no_effect() {
    let stack = stack_with(&["d/x", "other/y", "file"]);
    let mut m = stack.mount(&[]);
    for (path, name, value) in [
        ("d", "opaque", "y"),
        ("d", "redirect", "/other"),
        ("file", "metacopy", ""),
        ("file", "redirect", "/other/y"),
        ("file", "overlay.deeper", "1"),
    ] {
        let full = format!("trusted.overlay.{name}");
        xattr::lset(m.join(path), &full, value.as_bytes()).unwrap();
        assert_eq!(xattr::lget(m.join(path), &full).unwrap(), value.as_bytes(), "{full}");
        let stored = format!("trusted.overlay.overlay.{name}");
        let upper = xattr::lget(stack.upper().join(path), &stored).unwrap();
        assert_eq!(upper, value.as_bytes(), "{stored} in the upper");
    }
    assert!(!place::is_opaque(stack.upper().join("d")));
    twice(&mut m, |m| {
        assert_eq!(names(m.join("d")), ["x"]);
        assert_eq!(text(m.join("file")), "file");
        let listed = xattr::llist(m.join("d")).unwrap();
        assert_eq!(listed, ["trusted.overlay.opaque", "trusted.overlay.redirect"]);
        assert_eq!(xattr::lget(m.join("d"), "trusted.overlay.opaque").unwrap(), b"y");
        assert_eq!(xattr::lget(m.join("file"), "trusted.overlay.overlay.deeper").unwrap(), b"1");
    });
    xattr::lremove(m.join("d"), "trusted.overlay.opaque").unwrap();
    assert_errno!(xattr::lremove(m.join("d"), "trusted.overlay.opaque"), Errno::NODATA);
    twice(&mut m, |m| {
        assert_eq!(xattr::llist(m.join("d")).unwrap(), ["trusted.overlay.redirect"]);
    });
}

#[test]
fn a7_an_escaped_mark_of_a_lower_is_shown_as_the_user_set_it_and_survives_copy_up() {
    let stack = stack_with(&["d/x", "file"]);
    for path in ["d", "file"] {
        xattr::lset(stack.lower(0).join(path), "trusted.overlay.overlay.opaque", b"y").unwrap();
    }
    let mut m = stack.mount(&[]);
    for path in ["d", "file"] {
        rustix::fs::chmod(m.join(path), Mode::from(0o700)).unwrap();
        m.assert_upper(path);
    }
    twice(&mut m, |m| {
        assert_eq!(names(m.join("d")), ["x"]);
        for path in ["d", "file"] {
            assert_eq!(xattr::llist(m.join(path)).unwrap(), ["trusted.overlay.opaque"]);
            assert_eq!(xattr::lget(m.join(path), "trusted.overlay.opaque").unwrap(), b"y");
        }
    });
}

#[test]
fn a8_a_character_device_0_0_can_be_made_and_is_shown() {
    let stack = stack_with(&["d/x", "below"]);
    let mut m = stack.mount(&[]);
    if m.differs_on(&[Target::KernelOverlay], "the kernel answers EPERM") {
        return;
    }
    let make = |path: &str| {
        let mode = Mode::from(0o640);
        rustix::fs::mknodat(CWD, m.join(path), FileType::CharacterDevice, mode, 0)
    };
    make("zero").unwrap();
    make("d/zero").unwrap();
    fs::remove_file(m.join("below")).unwrap();
    make("below").unwrap();
    assert_errno!(make("d/x"), Errno::EXIST);
    assert_errno!(make("zero"), Errno::EXIST);
    twice(&mut m, |m| {
        assert_eq!(names(m.path()), ["below", "d", "zero"]);
        assert_eq!(names(m.join("d")), ["x", "zero"]);
        for path in ["zero", "d/zero", "below"] {
            let meta = lstat(m.join(path));
            assert_eq!(FileType::from_raw_mode(meta.mode()), FileType::CharacterDevice, "{path}");
            assert_eq!((meta.rdev(), meta.mode() & 0o7777, meta.size()), (0, 0o640, 0), "{path}");
            assert!(!place::is_whiteout(stack.upper().join(path)), "{path}");
            assert!(xattr::llist(m.join(path)).unwrap().is_empty(), "{path}");
        }
        let listed = entries(m.path());
        let kind = listed.iter().find(|(name, ..)| name == "zero").unwrap().2;
        assert_eq!(kind, FileType::CharacterDevice);
    });
}

#[test]
fn a8_a_character_device_0_0_can_be_changed_renamed_linked_and_removed() {
    let stack = stack_with(&["d/x", "below"]);
    let mut m = stack.mount(&[]);
    if m.differs_on(&[Target::KernelOverlay], "the kernel answers EPERM") {
        return;
    }
    let mode = Mode::from(0o640);
    rustix::fs::mknodat(CWD, m.join("zero"), FileType::CharacterDevice, mode, 0).unwrap();
    rustix::fs::chmod(m.join("zero"), Mode::from(0o600)).unwrap();
    fs::hard_link(m.join("zero"), m.join("d/link")).unwrap();
    fs::rename(m.join("zero"), m.join("below")).unwrap();
    twice(&mut m, |m| {
        assert_eq!(names(m.path()), ["below", "d"]);
        assert_eq!(ino(m.join("below")), ino(m.join("d/link")));
        let meta = lstat(m.join("below"));
        assert_eq!((meta.rdev(), meta.mode() & 0o7777, meta.nlink()), (0, 0o600, 2));
    });
    fs::remove_file(m.join("below")).unwrap();
    fs::remove_file(m.join("d/link")).unwrap();
    twice(&mut m, |m| assert_eq!(names(m.path()), ["d"]));
}

#[test]
fn c9_origin_and_impure_are_what_the_kernel_writes() {
    let by = |target: Target| {
        let stack = stack_with(&["d/file", "d/dir/x", "d/written"]);
        std::os::unix::fs::symlink("t", stack.lower(0).join("d/link")).unwrap();
        char_device(stack.lower(0).join("d/null"), 1, 3);
        let m = stack.mount_as(target, &["xino=off"][..usize::from(target != Target::Layerfs)]);
        for path in ["d/file", "d/dir", "d/link", "d/null"] {
            rustix::fs::chownat(
                CWD,
                m.join(path),
                Some(rustix::fs::Uid::from_raw(7)),
                None,
                AtFlags::SYMLINK_NOFOLLOW,
            )
            .unwrap();
        }
        fs::write(m.join("d/written"), "new").unwrap();
        m.umount();
        stack
    };
    let (ours, kernels) = (by(Target::Layerfs), by(Target::KernelOverlay));
    for path in ["d", "d/file", "d/dir", "d/link", "d/null", "d/written"] {
        let origin = |stack: &Stack| {
            let origin = place::mark(stack.upper().join(path), "origin");
            origin.unwrap_or_else(|| panic!("no origin mark on {path}"))
        };
        let lower = |stack: &Stack| ino(stack.lower(0).join(path)) as u32;
        // struct ovl_fb: version, magic, length, flags, type, a uuid, and the handle of ext4: the
        // inode number and generation, which differ from stack to stack.
        let (mine, theirs) = (origin(&ours), origin(&kernels));
        assert_eq!(mine.len(), theirs.len(), "{path}");
        assert_eq!(mine[..21], theirs[..21], "header and uuid of {path}");
        let number = u32::from_ne_bytes(mine[21..25].try_into().unwrap());
        assert_eq!(number, lower(&ours), "the inode number in the mark of {path}");
        assert_eq!(u32::from_ne_bytes(theirs[21..25].try_into().unwrap()), lower(&kernels));
    }
    for path in ["", "d"] {
        let impure = |stack: &Stack| place::mark(stack.upper().join(path), "impure");
        assert_eq!(impure(&kernels).as_deref(), Some(&b"y"[..]), "the kernel, /{path}");
        assert_eq!(impure(&ours), impure(&kernels), "/{path}");
    }
}
