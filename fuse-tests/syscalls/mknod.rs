//! mknod of every type, with the device number that also means whiteout.

use super::objects::*;
use crate::harness::*;
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

fn mknod(path: &Path, kind: FileType, mode: u32, dev: u64) -> rustix::io::Result<()> {
    mknodat(CWD, path, kind, Mode::from_raw_mode(mode), dev)
}

fn kinds() -> [(FileType, u64); 8] {
    let (major, minor) = Filesystem::of_tests().largest_device();
    [
        (FileType::RegularFile, 0),
        (FileType::Fifo, 0),
        (FileType::Socket, 0),
        (FileType::CharacterDevice, makedev(1, 3)),
        (FileType::CharacterDevice, makedev(major, minor)),
        (FileType::CharacterDevice, makedev(0, 1)),
        (FileType::BlockDevice, makedev(7, 300)),
        (FileType::BlockDevice, 0),
    ]
}

#[test]
fn a1_mknod_makes_every_type_with_mode_and_device() {
    each(directory, |s| {
        for (i, (kind, dev)) in kinds().into_iter().enumerate() {
            let path = s.path().join(format!("n{i}"));
            with_umask(0o027, || mknod(&path, kind, 0o666, dev).unwrap());
            let meta = lstat(&path);
            assert_eq!(FileType::from_raw_mode(meta.mode()), kind, "{s} {kind:?}");
            assert_eq!(meta.mode() & 0o7777, 0o640, "{s} {kind:?}");
            assert_eq!((meta.rdev(), meta.nlink(), meta.len()), (dev, 1, 0), "{s} {kind:?}");
            if s.m.has_upper() {
                let upper = lstat(s.in_upper(format!("obj/n{i}")));
                assert_eq!((upper.mode(), upper.rdev()), (meta.mode(), dev), "{s} {kind:?}");
            }
        }
    });
}

#[test]
fn a1_mknod_errnos() {
    each(tree, |s| {
        for kind in [FileType::RegularFile, FileType::Fifo, FileType::CharacterDevice] {
            let at = |name: &str| mknod(&s.path().join(name), kind, 0o644, makedev(1, 3));
            assert_errno!(at("f"), Errno::EXIST, "{s} {kind:?}");
            assert_errno!(at("d"), Errno::EXIST, "{s} {kind:?}");
            assert_errno!(at("none/x"), Errno::NOENT, "{s} {kind:?}");
            assert_errno!(at("f/x"), Errno::NOTDIR, "{s} {kind:?}");
        }
        let dir = mknod(&s.path().join("x"), FileType::Directory, 0o755, 0);
        assert_errno!(dir, Errno::PERM, "{s}");
        as_user(1000, 1000, || {
            assert_errno!(mknod(&s.path().join("x"), FileType::Fifo, 0o644, 0), Errno::ACCESS, "{s}");
        });
        assert_eq!(names_in(s.path()), ["d", "f"], "{s}");
        s.assert_not_copied();
    });
}

#[test]
fn a1_an_ordinary_user_makes_fifos_but_no_devices() {
    let make = |path: &Path| {
        directory(path);
        chmod(path, 0o777);
    };
    each(make, |s| {
        as_user(1000, 1001, || {
            mknod(&s.path().join("fifo"), FileType::Fifo, 0o600, 0).unwrap();
            mknod(&s.path().join("sock"), FileType::Socket, 0o600, 0).unwrap();
            let char = mknod(&s.path().join("c"), FileType::CharacterDevice, 0o600, makedev(1, 3));
            assert_errno!(char, Errno::PERM, "{s}");
            let block = mknod(&s.path().join("b"), FileType::BlockDevice, 0o600, makedev(7, 0));
            assert_errno!(block, Errno::PERM, "{s}");
        });
        for name in ["fifo", "sock"] {
            let meta = lstat(s.path().join(name));
            assert_eq!((meta.uid(), meta.gid()), (1000, 1001), "{s} {name}");
        }
        assert_eq!(names_in(s.path()), ["fifo", "sock"], "{s}");
    });
}

#[test]
fn a8_a_character_device_0_0_is_made_and_shown() {
    let mut m = mount_objects(tree);
    if m.differs_on(&[Target::KernelOverlay], "the kernel refuses to make it (EPERM)") {
        let refused = mknod(&m.join("upper/x"), FileType::CharacterDevice, 0o600, 0);
        assert_errno!(refused, Errno::PERM);
        return;
    }
    for dir in ["lower", "upper", "fresh"] {
        let at = |name: &str| m.join(dir).join("obj").join(name);
        fs::remove_file(at("f")).unwrap();
        mknod(&at("f"), FileType::CharacterDevice, 0o640, 0).unwrap();
        mknod(&at("new"), FileType::CharacterDevice, 0o600, 0).unwrap();
        fs::rename(at("new"), at("moved")).unwrap();
        fs::hard_link(at("moved"), at("linked")).unwrap();
        chmod(&at("moved"), 0o604);
        chown(&at("moved"), 5, 6);
        mknod(&at("gone"), FileType::CharacterDevice, 0o600, 0).unwrap();
        fs::remove_file(at("gone")).unwrap();
    }
    check_zero_devices(&m);
    let before = dump(m.path());
    m.remount(&[]);
    assert_same_text(&before, &dump(m.path()), "before and after the remount");
    check_zero_devices(&m);
}

fn check_zero_devices(m: &Mount) {
    for dir in ["lower", "upper", "fresh"] {
        let obj = m.join(dir).join("obj");
        assert_eq!(names_in(&obj), ["d", "f", "linked", "moved"], "{dir}");
        for (name, mode, owner, nlink) in
            [("f", 0o640, 0, 1), ("moved", 0o604, 5, 2), ("linked", 0o604, 5, 2)]
        {
            let meta = lstat(obj.join(name));
            assert!(meta.file_type().is_char_device() && meta.rdev() == 0, "{dir} {name}");
            assert_eq!(meta.mode() & 0o7777, mode, "{dir} {name}");
            assert_eq!((meta.uid(), meta.nlink(), meta.len()), (owner, nlink, 0), "{dir} {name}");
            m.assert_upper(Path::new(dir).join("obj").join(name));
        }
    }
}

#[test]
fn u4_the_character_device_0_0_of_a_lower_is_a_whiteout_and_never_shown() {
    let stack = Stack::new(2);
    for (layer, dir) in [(0, "merged"), (1, "merged"), (0, "pure")] {
        tree(&stack.lower(layer).join(dir));
    }
    write(stack.lower(1).join("merged/w"), "hidden");
    for dir in ["merged/w", "pure/w"] {
        mknod(&stack.lower(0).join(dir), FileType::CharacterDevice, 0o600, 0).unwrap();
    }
    let m = stack.mount(&[]);
    if m.differs_on(&[Target::Plain], "no whiteouts there") {
        return;
    }
    assert_eq!(names_in(m.join("merged")), ["d", "f"]);
    if !m.differs_on(&[Target::KernelOverlay], "it lists whiteouts of unmerged directories") {
        assert_eq!(names_in(m.join("pure")), ["d", "f"]);
    }
    for dir in ["merged", "pure"] {
        let path = m.join(dir).join("w");
        assert_errno!(path.symlink_metadata(), Errno::NOENT, "{dir}");
        fs::write(&path, "made over it").unwrap();
        assert_eq!(names_in(m.join(dir)), ["d", "f", "w"], "{dir}");
        assert_errno!(mknod(&path, FileType::Fifo, 0o600, 0), Errno::EXIST, "{dir}");
    }
}

#[test]
fn f1_fifos_and_devices_work() {
    let make = |path: &Path| {
        directory(path);
        mknod(&path.join("fifo"), FileType::Fifo, 0o644, 0).unwrap();
        mknod(&path.join("zero"), FileType::CharacterDevice, 0o666, makedev(1, 5)).unwrap();
    };
    each(make, |s| {
        let fifo = s.path().join("fifo");
        let writer = fork_child(&[], || {
            let mut end = OpenOptions::new().write(true).open(&fifo).unwrap();
            i32::from(end.write_all(b"through the fifo").is_err())
        });
        let mut got = String::new();
        File::open(&fifo).unwrap().read_to_string(&mut got).unwrap();
        assert_eq!((got.as_str(), writer.wait()), ("through the fifo", 0), "{s}");
        let mut zeros = [1_u8; 100];
        File::open(s.path().join("zero")).unwrap().read_exact(&mut zeros).unwrap();
        assert_eq!(zeros, [0; 100], "{s}");
        s.assert_not_copied();
    });
}

#[test]
fn c2_copied_devices_keep_their_numbers() {
    let make = |path: &Path| {
        mknod(path, FileType::BlockDevice, 0o600, makedev(259, 70_000)).unwrap();
        chmod(path, 0o640);
    };
    each(make, |s| {
        chown(&s.path(), 1, 2);
        let meta = s.stat();
        assert_eq!((meta.rdev(), meta.mode() & 0o7777), (makedev(259, 70_000), 0o640), "{s}");
        if s.m.has_upper() {
            assert_eq!(lstat(s.in_upper("obj")).rdev(), makedev(259, 70_000), "{s}");
        }
    });
}
