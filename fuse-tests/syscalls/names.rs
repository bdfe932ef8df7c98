//! Names: the longest, the oddest, and those that are ours.

use super::objects::*;
use crate::harness::*;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;

#[test]
fn a11_a_name_of_255_bytes_works_everywhere() {
    let long = "n".repeat(255);
    let other = "o".repeat(255);
    let make = |path: &Path| {
        directory(path);
        write(path.join(&long), "data");
    };
    each(make, |s| {
        let at = |name: &str| s.path().join(name);
        assert_eq!(fs::read(at(&long)).unwrap(), b"data", "{s}");
        fs::write(at(&long), "changed").unwrap();
        fs::rename(at(&long), at(&other)).unwrap();
        fs::hard_link(at(&other), at(&long)).unwrap();
        assert_eq!(names_in(s.path()), [long.clone(), other.clone()], "{s}");
        fs::remove_file(at(&long)).unwrap();
        fs::create_dir(at(&long)).unwrap();
        fs::remove_dir(at(&long)).unwrap();
        symlink("x", at(&long)).unwrap();
        assert_eq!(names_in(s.path()), [long.clone(), other.clone()], "{s}");
    });
}

#[test]
fn a11_a_name_of_256_bytes_is_too_long_for_every_call() {
    let long = "n".repeat(256);
    each(tree, |s| {
        let (at, f) = (s.path().join(&long), s.path().join("f"));
        assert_errno!(at.symlink_metadata(), Errno::NAMETOOLONG, "{s}: stat");
        assert_errno!(fs::read(&at), Errno::NAMETOOLONG, "{s}: open");
        assert_errno!(fs::write(&at, ""), Errno::NAMETOOLONG, "{s}: create");
        assert_errno!(fs::create_dir(&at), Errno::NAMETOOLONG, "{s}: mkdir");
        assert_errno!(symlink("x", &at), Errno::NAMETOOLONG, "{s}: symlink");
        let node = mknodat(CWD, &at, FileType::Fifo, Mode::RUSR, 0);
        assert_errno!(node, Errno::NAMETOOLONG, "{s}: mknod");
        assert_errno!(fs::hard_link(&f, &at), Errno::NAMETOOLONG, "{s}: link to");
        assert_errno!(fs::hard_link(&at, s.path().join("x")), Errno::NAMETOOLONG, "{s}: link");
        assert_errno!(fs::rename(&f, &at), Errno::NAMETOOLONG, "{s}: rename to");
        assert_errno!(fs::rename(&at, &f), Errno::NAMETOOLONG, "{s}: rename");
        assert_errno!(fs::remove_file(&at), Errno::NAMETOOLONG, "{s}: unlink");
        assert_errno!(fs::remove_dir(&at), Errno::NAMETOOLONG, "{s}: rmdir");
        assert_errno!(fs::read_link(&at), Errno::NAMETOOLONG, "{s}: readlink");
        assert_errno!(at.join("x").symlink_metadata(), Errno::NAMETOOLONG, "{s}: on the way");
        let longer = s.path().join("n".repeat(2000));
        assert_errno!(longer.symlink_metadata(), Errno::NAMETOOLONG, "{s}: 2000 bytes");
        assert_eq!(names_in(s.path()), ["d", "f"], "{s}");
        s.assert_not_copied();
    });
}

const ODD: [&[u8]; 12] = [
    b" ",
    b"a b",
    b"new\nline",
    b"\x01\x7f",
    b"\xff\xfe",
    b"\xc3(",
    b"back\\slash",
    b"co:lon,comma=",
    b"...",
    b"-rf",
    b"*?[x]",
    "Ünïcödé-日本".as_bytes(),
];

#[test]
fn a11_any_byte_but_slash_and_nul_may_stand_in_a_name() {
    let make = |path: &Path| {
        directory(path);
        for name in ODD {
            write(path.join(OsStr::from_bytes(name)), name);
        }
    };
    each(make, |s| {
        for name in ODD {
            let path = s.path().join(OsStr::from_bytes(name));
            assert_eq!(fs::read(&path).unwrap(), name, "{s} {}", name.escape_ascii());
            fs::write(&path, "changed").unwrap();
            let mut moved = name.to_vec();
            moved.push(b'2');
            fs::rename(&path, s.path().join(OsStr::from_bytes(&moved))).unwrap();
            fs::create_dir(&path).unwrap();
        }
        assert_eq!(fs::read_dir(s.path()).unwrap().count(), 2 * ODD.len(), "{s}");
    });
}

#[test]
fn a11_names_that_differ_in_case_or_composition_are_different() {
    each(directory, |s| {
        let names = ["name", "NAME", "\u{e9}", "e\u{301}"];
        for name in names {
            fs::write(s.path().join(name), name).unwrap();
        }
        for name in names {
            assert_eq!(fs::read(s.path().join(name)).unwrap(), name.as_bytes(), "{s}");
        }
        assert_eq!(fs::read_dir(s.path()).unwrap().count(), 4, "{s}");
    });
}

#[test]
fn u9_names_that_begin_with_wh_are_refused() {
    let m = mount_objects(tree);
    let differs = [Target::Plain, Target::KernelOverlay];
    if m.differs_on(&differs, "these names mean nothing there") {
        return;
    }
    for dir in ["lower", "upper", "fresh"] {
        for name in [".wh.f", ".wh.", ".wh..wh..opq", ".wh.new"] {
            let (at, f) = (m.join(dir).join("obj").join(name), m.join(dir).join("obj/f"));
            assert_errno!(at.symlink_metadata(), Errno::NOENT, "{dir} {name}: stat");
            assert_errno!(fs::write(&at, ""), Errno::INVAL, "{dir} {name}: create");
            assert_errno!(fs::create_dir(&at), Errno::INVAL, "{dir} {name}: mkdir");
            assert_errno!(symlink("x", &at), Errno::INVAL, "{dir} {name}: symlink");
            assert_errno!(fs::hard_link(&f, &at), Errno::INVAL, "{dir} {name}: link");
            assert_errno!(fs::rename(&f, &at), Errno::INVAL, "{dir} {name}: rename");
            assert_errno!(fs::remove_file(&at), Errno::NOENT, "{dir} {name}: unlink");
        }
        for name in [".wh", "wh.x", "..wh.x", ".whx"] {
            fs::write(m.join(dir).join("obj").join(name), name).unwrap();
        }
        assert_eq!(fs::read_dir(m.join(dir).join("obj")).unwrap().count(), 6, "{dir}");
    }
}

#[test]
fn u1_deep_trees() {
    let deep = |path: &Path| {
        directory(path);
        let mut at = path.to_owned();
        for _ in 0..100 {
            at.push("level");
            directory(&at);
        }
        write(at.join("f"), "deep");
    };
    each(deep, |s| {
        let bottom = s.path().join("level/".repeat(100));
        fs::write(bottom.join("f"), "changed").unwrap();
        fs::write(bottom.join("g"), "new").unwrap();
        assert_eq!(names_in(&bottom), ["f", "g"], "{s}");
        fs::rename(s.path().join("level/level"), s.path().join("moved")).unwrap();
        let bottom = s.path().join("moved").join("level/".repeat(98));
        assert_eq!(fs::read(bottom.join("f")).unwrap(), b"changed", "{s}");
    });
}
