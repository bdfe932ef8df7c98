//! C1, C2, C3, C6 and C10: when a copy is made, what it keeps, and what a failed one leaves.

use super::*;
use crate::harness::{Check, Errno, Filesystem, Target, Tmpfs, assert_errno, need_program, place, write};
use rustix::fs::{Gid, SeekFrom, Uid};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixListener;

#[test]
fn c1_opening_and_reading_copies_nothing() {
    let stack = stack_with(&["a/b/file", "a/b/other"]);
    symlink("b", stack.lower(0).join("a/link")).unwrap();
    let mut m = stack.mount(&[]);
    let file = m.join("a/b/file");
    drop(File::open(&file).unwrap());
    assert_eq!(text(&file), "a/b/file");
    assert_eq!(names(m.join("a/link")), ["file", "other"]);
    assert_errno!(fs::create_dir(m.join("a/b")), Errno::EXIST);
    assert_errno!(fs::remove_file(m.join("a/b/none")), Errno::NOENT);
    assert_errno!(xattr::lremove(&file, "user.none"), Errno::NODATA);
    assert_eq!(paths(stack.upper()), "");
    if !m.differs_on(&[Target::KernelOverlay], "the kernel copies up when opened for writing") {
        for how in [OpenOptions::new().write(true), OpenOptions::new().read(true).write(true)] {
            drop(how.open(&file).unwrap());
        }
        drop(OpenOptions::new().append(true).open(&file).unwrap());
    }
    twice(&mut m, |m| {
        assert_eq!(text(m.join("a/b/file")), "a/b/file");
        if m.target() == Target::Layerfs {
            assert_eq!(paths(stack.upper()), "");
        }
    });
}

#[test]
fn c1_the_first_change_copies_the_file_and_its_missing_parents_only() {
    let stack = Stack::new(2);
    fill(stack.lower(0), &["a/b/c/file", "a/b/c/other", "a/sibling/x"]);
    fill(stack.lower(1), &["a/b/c/file", "a/b/below"]);
    for (dir, mode) in [("a", 0o751), ("a/b", 0o2750), ("a/b/c", 0o1777)] {
        let dir = stack.lower(0).join(dir);
        chown(&dir, Some(31), Some(32)).unwrap();
        fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
        xattr::lset(&dir, "user.dir", dir.as_os_str().as_encoded_bytes()).unwrap();
        set_times(&dir, LONG_AGO);
    }
    let mut m = stack.mount(&[]);
    let before = dump(m.path());
    let mut file = OpenOptions::new().append(true).open(m.join("a/b/c/file")).unwrap();
    file.write_all(b" and more").unwrap();
    drop(file);
    rustix::fs::utimensat(
        CWD,
        m.join("a/b/c/file"),
        &Timestamps { last_access: LONG_AGO, last_modification: LONG_AGO },
        AtFlags::empty(),
    )
    .unwrap();
    let same = |line: &&str| !line.starts_with("/a/b/c/file ");
    let after = dump(m.path());
    let others = |text: &str| text.lines().filter(same).collect::<Vec<_>>().join("\n");
    assert_same_text(&others(&before), &others(&after), "everything but the changed file");
    twice(&mut m, |m| {
        assert_eq!(text(m.join("a/b/c/file")), "a/b/c/file and more");
        assert_eq!(text(stack.upper().join("a/b/c/file")), "a/b/c/file and more");
        assert_eq!(names(m.join("a/b")), ["below", "c"]);
        assert_eq!(paths(stack.upper()), "a a/b a/b/c a/b/c/file");
        assert_eq!(text(stack.lower(0).join("a/b/c/file")), "a/b/c/file");
    });
}

/// Everything a regular file can have.
fn file_with_everything(path: &Path) {
    write(path, "");
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(&[1; 65_536], 0).unwrap();
    file.write_all_at(&[2; 65_536], 3 << 20).unwrap();
    file.set_len(5 << 20).unwrap();
    chown(path, Some(1234), Some(70_000)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o6754)).unwrap();
    xattr::lset(path, "user.binary", b"a\0b\xff\n").unwrap();
    xattr::lset(path, "user.empty", b"").unwrap();
    xattr::lset(path, "user.big", &[b'x'; 1500]).unwrap();
    xattr::lset(path, "trusted.mine", b"trusted").unwrap();
    // struct vfs_ns_cap_data, version 2, effective, CAP_NET_RAW permitted.
    let mut capability = [0_u8; 20];
    capability[0] = 1;
    capability[3] = 2;
    capability[5] = 0x20;
    xattr::lset(path, "security.capability", &capability).unwrap();
    sh("setfacl -m u:1000:rw,g:2000:r,m::rw \"$1\"", &[path]);
    set_times(path, LONG_AGO);
}

/// Everything about an object but its link count; the atime too, unless looking at it sets that.
fn looks(path: &Path) -> String {
    let meta = lstat(path);
    let nlink = format!(" nlink={}", meta.nlink());
    let line = picture(path).replace(&nlink, "");
    let set_by_looking = meta.is_dir() || meta.is_symlink();
    let atime = if set_by_looking { (0, 0) } else { (meta.atime(), meta.atime_nsec()) };
    format!("atime={}.{} rdev={} {line}", atime.0, atime.1, meta.rdev())
}

#[test]
fn c2_a_copy_of_a_file_keeps_everything() {
    need_program("setfacl", "acl");
    let stack = Stack::new(1);
    // The check reads the lowers, which sets their atimes.
    stack.opt_out(Check::LowersUnchanged);
    let lower = stack.lower(0).join("d/file");
    file_with_everything(&lower);
    let before = lstat(&lower);
    let xattrs = xattr::llist(&lower).unwrap();
    assert!(xattrs.contains(&"system.posix_acl_access".to_owned()));
    let mut m = stack.mount(&["metacopy=off"]);
    let shown = m.join("d/file");
    xattr::lset(&shown, "user.trigger", b"1").unwrap();
    xattr::lremove(&shown, "user.trigger").unwrap();
    m.assert_upper("d/file");
    for round in ["live", "remounted"] {
        for path in [&shown, &stack.upper().join("d/file")] {
            let meta = lstat(path);
            let why = format!("{round}: {}", path.display());
            assert_eq!((meta.uid(), meta.gid()), (1234, 70_000), "{why}");
            assert_eq!(meta.mode(), before.mode(), "{why}");
            assert_eq!(mtime(path), (LONG_AGO.tv_sec, LONG_AGO.tv_nsec), "{why}");
            assert_eq!(meta.atime(), LONG_AGO.tv_sec, "{why}");
            assert_eq!(meta.atime_nsec(), LONG_AGO.tv_nsec, "{why}");
            assert_eq!(meta.len(), 5 << 20, "{why}");
            for name in &xattrs {
                assert_eq!(xattr::lget(path, name), xattr::lget(&lower, name), "{why}: {name}");
            }
        }
        assert_eq!(xattr::llist(&shown).unwrap(), xattrs, "{round}");
        m.remount(&["metacopy=off"]);
    }
    assert_eq!(fs::read(&shown).unwrap(), fs::read(&lower).unwrap());
}

#[test]
fn c2_nothing_is_inherited_from_the_workdir() {
    need_program("setfacl", "acl");
    let stack = Stack::new(1);
    let (lower, upper) = (stack.lower(0), stack.upper());
    write(lower.join("file"), "x");
    write(lower.join("gone"), "x");
    fs::create_dir(lower.join("dir")).unwrap();
    sh("chmod 640 \"$1\"/file; chmod 711 \"$1\"/dir", &[lower]);
    sh("chgrp 12 \"$1\"; chmod 2777 \"$1\"; setfacl -d -m u:daemon:rwx \"$1\"", &[stack.work()]);
    let mut m = stack.mount(&[]);
    for round in ["first", "again"] {
        sh(
            "chown 33 \"$1\"/file; touch \"$1\"/dir; rm -r \"$1\"/gone; mkdir -p \"$1\"/gone \"$1\"/new",
            &[m.path()],
        );
        for (name, mode) in [("file", 0o640), ("dir", 0o711), ("gone", 0o755), ("new", 0o755)] {
            let object = upper.join(name);
            let meta = lstat(&object);
            assert_eq!((meta.gid(), meta.mode() & 0o7777), (0, mode), "{round}: {name}");
            let xattrs = xattr::llist(&object).unwrap();
            assert!(!xattrs.iter().any(|x| x.starts_with("system.")), "{round}: {name}: {xattrs:?}");
        }
        m.remount(&[]);
    }
}

#[test]
fn c2_a_copy_keeps_holes() {
    let stack = Stack::new(1);
    let lower = stack.lower(0).join("file");
    file_with_everything(&lower);
    let mut m = stack.mount(&[]);
    // A write brings the data; it is within data that is there already.
    let file = OpenOptions::new().write(true).open(m.join("file")).unwrap();
    file.write_all_at(b"changed", 100).unwrap();
    drop(file);
    twice(&mut m, |m| {
        let file = File::open(m.join("file")).unwrap();
        let mut start = [0; 7];
        file.read_exact_at(&mut start, 100).unwrap();
        assert_eq!(&start, b"changed");
    });
    let upper = stack.upper().join("file");
    assert!(!place::is_metacopy(&upper));
    if m.differs_on(&[Target::KernelOverlay], "the kernel copies whole pieces of 1 MiB") {
        return;
    }
    let (had, has) = (place::blocks(&lower), place::blocks(&upper));
    assert!(has <= had + 2 * Filesystem::of_tests().spare_blocks(), "{has} blocks where the lower has {had}");
    let holes = |path: &Path| {
        let file = File::open(path).unwrap();
        let hole = rustix::fs::seek(&file, SeekFrom::Hole(0)).unwrap();
        let data = rustix::fs::seek(&file, SeekFrom::Data(hole)).unwrap();
        let end = rustix::fs::seek(&file, SeekFrom::Hole(data)).unwrap();
        (hole, data, end)
    };
    let (hole, data, end) = holes(&upper);
    assert_eq!(holes(&lower), (65_536, 3 << 20, (3 << 20) + 65_536));
    // What is written to, in front of the first hole, may take up more.
    assert!((65_536..65_536 + Filesystem::of_tests().spare_blocks() * 512).contains(&hole), "{hole}");
    assert_eq!((data, end), (3 << 20, (3 << 20) + 65_536));
    m.umount();
}

#[test]
fn c2_a_copy_of_another_kind_keeps_everything() {
    let stack = Stack::new(1);
    stack.opt_out(Check::LowersUnchanged);
    let at = |name: &str| stack.lower(0).join("d").join(name);
    mkdir(at("dir"));
    symlink("to/nowhere \u{e9}", at("link")).unwrap();
    char_device(at("char"), 1, 3);
    let block = rustix::fs::makedev(259, 70_000);
    rustix::fs::mknodat(CWD, at("block"), FileType::BlockDevice, Mode::from(0o640), block).unwrap();
    rustix::fs::mknodat(CWD, at("fifo"), FileType::Fifo, Mode::from(0o604), 0).unwrap();
    drop(UnixListener::bind(at("socket")).unwrap());
    fs::set_permissions(at("dir"), fs::Permissions::from_mode(0o3751)).unwrap();
    xattr::lset(at("dir"), "user.binary", b"a\0b").unwrap();
    sh("setfacl -m u:1000:rx -d -m u:1001:rwx \"$1\"", &[&at("dir")]);
    let all = ["dir", "link", "char", "block", "fifo", "socket"];
    for name in all {
        xattr::lset(at(name), "trusted.mine", name.as_bytes()).unwrap();
        set_times(at(name), LONG_AGO);
    }
    let mut m = stack.mount(&[]);
    let before: Vec<String> = all.iter().map(|name| looks(&at(name))).collect();
    for name in all {
        let path = m.join("d").join(name);
        let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
        let own = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(CWD, &path, Some(uid), Some(gid), own).unwrap();
        m.assert_upper(format!("d/{name}"));
    }
    twice(&mut m, |m| {
        for (name, before) in all.iter().zip(&before) {
            assert_same_text(before, &looks(&m.join("d").join(name)), &format!("shown {name}"));
            let upper = looks(&stack.upper().join("d").join(name));
            assert_same_text(before, &upper, &format!("upper {name}"));
        }
    });
}

#[test]
fn c3_a_parent_keeps_its_mtime_where_the_change_itself_does_not_set_it() {
    let stack = stack_with(&["a/b/attributes", "a/b/data", "a/b/removed", "a/c/x"]);
    for dir in ["a/b", "a/c", "a"] {
        set_times(stack.lower(0).join(dir), LONG_AGO);
    }
    let old = (LONG_AGO.tv_sec, LONG_AGO.tv_nsec);
    let mut m = stack.mount(&[]);
    fs::set_permissions(m.join("a/b/attributes"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(m.join("a/b/data"), "new").unwrap();
    twice(&mut m, |m| {
        for dir in ["a/b", "a", "a/c"] {
            assert_eq!(mtime(m.join(dir)), old, "{dir}");
        }
        assert_eq!(mtime(stack.upper().join("a/b")), old);
        assert_eq!(mtime(stack.upper().join("a")), old);
    });
    fs::remove_file(m.join("a/b/removed")).unwrap();
    twice(&mut m, |m| {
        assert_ne!(mtime(m.join("a/b")), old, "a removal is a change of its directory");
        assert_eq!(mtime(m.join("a")), old);
    });
    fs::rename(m.join("a/c/x"), m.join("a/c/y")).unwrap();
    twice(&mut m, |m| assert_ne!(mtime(m.join("a/c")), old));
}

#[test]
fn c6_truncate_copies_only_the_part_that_stays() {
    let stack = Stack::new(1);
    let content: Vec<u8> = (0..8_u32 << 20).map(|i| (i % 251) as u8).collect();
    for name in ["none", "part", "opened", "more", "marked"] {
        write(stack.lower(0).join(name), &content);
    }
    let mut m = stack.mount(&[]);
    let resize = |name: &str, len: u64| {
        OpenOptions::new().write(true).open(m.join(name)).unwrap().set_len(len).unwrap();
    };
    fs::set_permissions(m.join("marked"), fs::Permissions::from_mode(0o600)).unwrap();
    assert!(place::is_metacopy(stack.upper().join("marked")));
    resize("none", 0);
    resize("part", 5000);
    resize("marked", 5000);
    resize("more", (8 << 20) + 5000);
    drop(File::create(m.join("opened")).unwrap());
    let kernel = m.target() == Target::KernelOverlay;
    twice(&mut m, |m| {
        for (name, len) in [("none", 0), ("part", 5000), ("opened", 0), ("marked", 5000)] {
            assert_eq!(fs::read(m.join(name)).unwrap(), content[..len], "{name}");
            let upper = stack.upper().join(name);
            assert_eq!(fs::read(&upper).unwrap(), content[..len], "{name} in the upper");
            assert!(place::blocks(&upper) <= 32, "{name} has {} blocks", place::blocks(&upper));
            assert!(!place::is_metacopy(&upper), "{name}");
        }
        let more = fs::read(m.join("more")).unwrap();
        assert!(more[..content.len()] == content, "what was there stays");
        assert_eq!(more[content.len()..], [0; 5000]);
    });
    if !kernel {
        // The harness compares the lowers; here that the data of the others was never touched.
        assert_eq!(lstat(stack.lower(0).join("part")).len(), 8 << 20);
    }
}

#[test]
fn c10_a_copy_up_without_space_leaves_the_lower_view_and_no_rest() {
    let stack = Stack::read_only(1);
    write(stack.lower(0).join("d/big"), vec![7; 12 << 20]);
    write(stack.lower(0).join("d/small"), "small");
    let disk = stack.base().join("disk");
    let small = Tmpfs::at(&disk, "size=4m");
    let (upper, work) = (disk.join("u"), disk.join("w"));
    mkdir(&upper);
    mkdir(&work);
    let options = [format!("upperdir={}", upper.display()), format!("workdir={}", work.display())];
    let options: Vec<&str> = options.iter().map(String::as_str).chain(["metacopy=off"]).collect();
    let mut m = stack.mount(&options);
    let before = dump(m.path());
    for _ in 0..3 {
        let mode = fs::Permissions::from_mode(0o600);
        assert_errno!(fs::set_permissions(m.join("d/big"), mode), Errno::NOSPC);
        assert_errno!(xattr::lset(m.join("d/big"), "user.a", b"1"), Errno::NOSPC);
        assert_errno!(fs::rename(m.join("d/big"), m.join("d/moved")), Errno::NOSPC);
    }
    assert_same_text(&before, &dump(m.path()), "before and after the failed copies");
    assert!(["", "d"].contains(&paths(&upper).as_str()), "in the upper: {}", paths(&upper));
    // A spare whiteout may lie there as long as the mount lives.
    let left = names(work.join("work"));
    let copies: Vec<_> =
        left.iter().filter(|name| !place::is_whiteout(work.join("work").join(name))).collect();
    assert_eq!(copies, [""; 0], "left in the workdir");
    fs::write(m.join("d/small"), "there is room for this").unwrap();
    m.remount(&options);
    assert_eq!(text(m.join("d/small")), "there is room for this");
    assert_eq!(lstat(m.join("d/big")).len(), 12 << 20);
    m.umount();
    assert_eq!(paths(work.join("work")), "", "left in the workdir");
    drop(small);
}
