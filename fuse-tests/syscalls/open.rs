//! open: flags, modes, errnos.

use super::objects::*;
use crate::harness::*;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, openat};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn open(path: &Path, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    openat(CWD, path, flags | OFlags::CLOEXEC, Mode::from_raw_mode(0o644))
}

#[test]
fn c1_opening_for_write_and_closing_copies_nothing() {
    let m = mount_objects(file("data"));
    let path = m.join("lower/obj");
    drop(open_rw(&path));
    drop(open_append(&path));
    drop(open(&path, OFlags::RDWR | OFlags::CREATE).unwrap());
    if !m.differs_on(&[Target::KernelOverlay], "it copies up when opened for write") {
        m.assert_not_upper("lower/obj");
    }
    let mut file = open_rw(&path);
    file.write_all(b"D").unwrap();
    file.sync_all().unwrap();
    m.assert_upper_content("lower/obj", "Data");
}

#[test]
fn a2_o_creat_obeys_mode_and_umask() {
    each(directory, |s| {
        for (i, (mode, mask, shown)) in
            [(0o666, 0o022, 0o644), (0o777, 0, 0o777), (0o400, 0, 0o400), (0o6755, 0o077, 0o6700)]
                .into_iter()
                .enumerate()
        {
            let path = s.path().join(format!("f{i}"));
            let flags = OFlags::CREATE | OFlags::WRONLY;
            let made = with_umask(mask, || openat(CWD, &path, flags, Mode::from_raw_mode(mode)));
            drop(made.unwrap());
            assert_eq!(mode_of(&path), shown, "{s} {mode:o} {mask:o}");
            if s.m.has_upper() {
                let upper = s.in_upper(format!("obj/f{i}"));
                assert_eq!(mode_of(upper), shown, "{s}: in the upper");
            }
        }
    });
}

#[test]
fn a1_a_file_made_read_only_is_still_written_through_its_descriptor() {
    let make = |path: &Path| {
        directory(path);
        chmod(path, 0o777);
    };
    each(make, |s| {
        let path = s.path().join("f");
        as_user(1000, 1001, || {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
            let made = openat(CWD, &path, flags, Mode::from_raw_mode(0o400)).unwrap();
            File::from(made).write_all(b"written").unwrap();
            assert_errno!(open(&path, OFlags::WRONLY), Errno::ACCESS, "{s}");
        });
        let meta = lstat(&path);
        assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (1000, 1001, 0o400), "{s}");
        assert_eq!(fs::read(&path).unwrap(), b"written", "{s}");
    });
}

#[test]
fn u1_o_excl_answers_eexist_for_every_kind() {
    let make = |path: &Path| {
        tree(path);
        symlink("nowhere", path.join("dangling")).unwrap();
    };
    each(make, |s| {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
        for name in ["f", "d", "dangling"] {
            assert_errno!(open(&s.path().join(name), flags), Errno::EXIST, "{s} {name}");
        }
        drop(open(&s.path().join("new"), flags).unwrap());
        assert_errno!(open(&s.path().join("new"), flags), Errno::EXIST, "{s}");
        fs::remove_file(s.path().join("f")).unwrap();
        drop(open(&s.path().join("f"), flags).unwrap());
        assert_eq!(lstat(s.path().join("f")).len(), 0, "{s}: made over a removed name");
    });
}

#[test]
fn u1_o_creat_through_a_dangling_symlink_makes_its_target() {
    each(directory, |s| {
        symlink("obj/target", s.beside("link")).unwrap();
        drop(open(&s.beside("link"), OFlags::CREATE | OFlags::WRONLY).unwrap());
        assert!(lstat(s.path().join("target")).is_file(), "{s}");
        assert!(lstat(s.beside("link")).is_symlink(), "{s}");
    });
}

#[test]
fn a3_errnos_of_open() {
    let make = |path: &Path| {
        tree(path);
        symlink("f", path.join("link")).unwrap();
        mknodat(CWD, path.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        mknodat(CWD, path.join("sock"), FileType::Socket, Mode::RUSR, 0).unwrap();
    };
    each(make, |s| {
        let at = |name: &str, flags| open(&s.path().join(name), flags);
        assert_errno!(at("none", OFlags::RDONLY), Errno::NOENT, "{s}");
        assert_errno!(at("none/x", OFlags::CREATE | OFlags::RDWR), Errno::NOENT, "{s}");
        assert_errno!(at("f/x", OFlags::CREATE | OFlags::RDWR), Errno::NOTDIR, "{s}");
        assert_errno!(at("f", OFlags::DIRECTORY), Errno::NOTDIR, "{s}");
        assert_errno!(at("f/", OFlags::RDONLY), Errno::NOTDIR, "{s}");
        assert_errno!(at("new/", OFlags::CREATE | OFlags::RDWR), Errno::ISDIR, "{s}");
        assert_errno!(at("link", OFlags::NOFOLLOW), Errno::LOOP, "{s}");
        assert_errno!(at("d", OFlags::WRONLY), Errno::ISDIR, "{s}");
        assert_errno!(at("d", OFlags::RDWR), Errno::ISDIR, "{s}");
        assert_errno!(at("d", OFlags::CREATE), Errno::ISDIR, "{s}");
        assert_errno!(at("d", OFlags::TRUNC), Errno::ISDIR, "{s}");
        assert_errno!(at("sock", OFlags::RDONLY), Errno::NXIO, "{s}");
        assert_errno!(at("fifo", OFlags::WRONLY | OFlags::NONBLOCK), Errno::NXIO, "{s}");
        assert!(at("d", OFlags::DIRECTORY).is_ok() && at("link", OFlags::RDONLY).is_ok(), "{s}");
        as_user(1000, 1000, || {
            assert_errno!(at("f", OFlags::WRONLY), Errno::ACCESS, "{s}");
            assert_errno!(at("f", OFlags::TRUNC), Errno::ACCESS, "{s}");
            assert_errno!(at("new", OFlags::CREATE | OFlags::RDWR), Errno::ACCESS, "{s}");
            assert_errno!(at("f", OFlags::NOATIME), Errno::PERM, "{s}");
        });
        s.assert_not_copied();
    });
}

#[test]
fn a3_the_mode_decides_who_may_read_and_write() {
    for (mode, may_read, may_write) in
        [(0o604, true, false), (0o602, false, true), (0o606, true, true), (0o660, false, false)]
    {
        each(file_of_mode("data", mode), |s| {
            as_user(1000, 1000, || {
                let reads = open(&s.path(), OFlags::RDONLY).is_ok();
                let writes = open(&s.path(), OFlags::WRONLY).is_ok();
                assert_eq!((reads, writes), (may_read, may_write), "{s} {mode:o}");
            });
        });
    }
}

#[test]
fn f1_a_descriptor_does_only_what_it_was_opened_for() {
    each(file("data"), |s| {
        let reader = File::open(s.path()).unwrap();
        assert_errno!(reader.write_at(b"x", 0), Errno::BADF, "{s}");
        let writer = File::from(open(&s.path(), OFlags::WRONLY).unwrap());
        assert_errno!(writer.read_at(&mut [0], 0), Errno::BADF, "{s}");
        assert_errno!(reader.set_len(1), Errno::INVAL, "{s}");
        let dir = File::open(s.dir()).unwrap();
        assert_errno!(dir.read_at(&mut [0], 0), Errno::ISDIR, "{s}");
        assert_errno!(dir.write_at(b"x", 0), Errno::BADF, "{s}");
    });
}

#[test]
fn f1_o_path_needs_no_permission_and_gives_no_data() {
    each(file_of_mode("data", 0o000), |s| {
        as_user(1000, 1000, || {
            let path = File::from(open(&s.path(), OFlags::PATH).unwrap());
            assert_errno!(path.read_at(&mut [0], 0), Errno::BADF, "{s}");
            assert_eq!(path.metadata().unwrap().len(), 4, "{s}");
        });
        symlink("obj", s.beside("link")).unwrap();
        let link = open(&s.beside("link"), OFlags::PATH | OFlags::NOFOLLOW).unwrap();
        assert!(File::from(link).metadata().unwrap().is_symlink(), "{s}");
    });
}

#[test]
fn c6_o_trunc_empties_the_file() {
    each(file(pattern(100_000)), |s| {
        let before = s.stat();
        let open = File::from(open(&s.path(), OFlags::RDWR | OFlags::TRUNC).unwrap());
        assert_eq!((s.stat().len(), s.stat().ino()), (0, before.ino()), "{s}");
        s.assert_upper_content("");
        open.write_all_at(b"new", 2).unwrap();
        assert_eq!(fs::read(s.path()).unwrap(), b"\0\0new", "{s}");
    });
}

#[test]
fn f1_o_direct_sees_what_was_written_through_the_cache_and_back() {
    #[repr(align(4096))]
    struct Block([u8; 4096]);
    each(file(pattern(20_000)), |s| {
        let cached = open_rw(s.path());
        cached.write_all_at(b"cached", 4096).unwrap();
        let direct = File::from(open(&s.path(), OFlags::RDWR | OFlags::DIRECT).unwrap());
        let mut block = Block([0; 4096]);
        direct.read_exact_at(&mut block.0, 4096).unwrap();
        assert_eq!(&block.0[..6], b"cached", "{s}");
        assert_eq!(&block.0[6..], &pattern(20_000)[4102..8192], "{s}");
        block.0.fill(b'x');
        direct.write_all_at(&block.0, 8192).unwrap();
        let mut back = [0; 4098];
        cached.read_exact_at(&mut back, 8191).unwrap();
        assert!(back[1..4097].iter().all(|byte| *byte == b'x'), "{s}");
        assert_eq!([back[0], back[4097]], [pattern(8192)[8191], pattern(12_289)[12_288]], "{s}");
    });
}

/// By cp(1): a descriptor of ours could be in another test's child, and the program then busy.
fn copy_program(from: &str, to: &Path) {
    sh("cp \"$1\" \"$2\"", &[Path::new(from), to]);
}

#[test]
fn f1_a_running_program_cannot_be_written() {
    let make = |path: &Path| {
        copy_program("/bin/sleep", path);
        chmod(path, 0o755);
    };
    each(make, |s| {
        let mut child = Command::new(s.path()).arg("60").spawn().unwrap();
        let exe = format!("/proc/{}/exe", child.id());
        let runs = || fs::read_link(&exe).is_ok_and(|path| path == s.path());
        assert!(wait_until(Duration::from_secs(10), runs), "{s}: it does not run");
        let written = open(&s.path(), OFlags::WRONLY);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_errno!(written, Errno::TXTBSY, "{s}");
        s.assert_not_copied();
    });
}

#[test]
fn a3_a_program_runs_with_the_set_user_id_it_shows() {
    let make = |path: &Path| {
        copy_program("/usr/bin/id", path);
        chown(path, 1234, 1234);
        chmod(path, 0o4755);
    };
    each(make, |s| {
        let outcome = run(Command::new(s.path()).arg("-u"), Duration::from_secs(20));
        assert_eq!(outcome.stdout.trim(), "1234", "{s}: {outcome:?}");
    });
}

#[test]
fn f1_concurrent_creators_of_one_name_have_one_winner() {
    each(directory, |s| {
        let path = s.path().join("lock");
        let children: Vec<ForkedChild> = (0..4)
            .map(|_| {
                fork_child(&[], || {
                    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY;
                    i32::from(open(&path, flags).is_err())
                })
            })
            .collect();
        let losers: i32 = children.into_iter().map(ForkedChild::wait).sum();
        assert_eq!(losers, 3, "{s}");
    });
}

#[test]
fn m4_without_an_upper_nothing_opens_for_write() {
    let stack = Stack::read_only(2);
    tree(&stack.lower(1).join("obj"));
    let m = stack.mount(&[]);
    if m.differs_on(&[Target::Plain], "a plain directory is writable") {
        return;
    }
    let at = |name: &str| m.join("obj").join(name);
    assert_errno!(open(&at("f"), OFlags::WRONLY), Errno::ROFS);
    assert_errno!(open(&at("f"), OFlags::TRUNC), Errno::ROFS);
    assert_errno!(open(&at("new"), OFlags::CREATE | OFlags::WRONLY), Errno::ROFS);
    let mut text = String::new();
    File::from(open(&at("f"), OFlags::RDONLY | OFlags::CREATE).unwrap()).read_to_string(&mut text).unwrap();
    assert_eq!(text, "f");
}
