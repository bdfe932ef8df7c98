//! Archives of the tars that people use, compared with what GNU tar extracts from them.
//!
//! Run as root: owners, devices and `trusted.*` are compared.

use crate::layer::{DirLayer, FdPool};
use crate::store::tar::testing::{layer_as_text, layer_of};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags, chownat, linkat, lsetxattr,
    makedev, mknodat, symlinkat, utimensat,
};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// What a form of archive can hold.
#[derive(Clone, Copy, PartialEq)]
enum Holds {
    /// Names that fit its fields, owners of 18 bits, whole seconds.
    Ustar,
    /// Long names and all numbers, whole seconds.
    Gnu,
    /// Everything.
    Pax,
}

/// Makes a tree that has one of everything the form can hold.
fn make_tree(root: &Path, holds: Holds) {
    let file = |name: &str, data: &[u8], mode: u32| {
        fs::write(root.join(name), data).unwrap();
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir_all(root.join("dir/below/deep")).unwrap();
    file("empty", b"", 0o644);
    file("block", &[7; 512], 0o600);
    file("set-id", &vec![1; 100_000], 0o6755);
    file("dir/plain", b"plain", 0o444);
    file("dir/below/deep/ä ö", b"unicode", 0o644);
    fs::write(root.join(OsStr::from_bytes(b"dir/not\xffutf8\n")), b"bytes").unwrap();
    for (from, to) in [("dir/plain", "link"), ("dir/plain", "dir/below/link"), ("empty", "empty-link")] {
        linkat(CWD, root.join(from), CWD, root.join(to), AtFlags::empty()).unwrap();
    }
    symlinkat("dir/plain", CWD, root.join("symlink")).unwrap();
    symlinkat("../nowhere", CWD, root.join("dir/dangling")).unwrap();
    for (name, kind, rdev) in [
        ("null", FileType::CharacterDevice, makedev(1, 3)),
        ("disk", FileType::BlockDevice, makedev(259, 70_000)),
        ("fifo", FileType::Fifo, 0),
    ] {
        mknodat(CWD, root.join(name), kind, Mode::from_bits_truncate(0o640), rdev).unwrap();
    }
    let sparse = File::create(root.join("sparse")).unwrap();
    for piece in 0..40 {
        sparse.write_all_at(&[piece as u8 + 1; 4096], piece * 65_536 + 8192).unwrap();
    }
    sparse.set_len(5_000_000).unwrap();
    File::create(root.join("all-hole")).unwrap().set_len(1_000_000).unwrap();
    fs::set_permissions(root.join("dir/below"), fs::Permissions::from_mode(0o1777)).unwrap();
    let owner = if holds == Holds::Ustar { 200_000 } else { 3_000_000_000 };
    chownat(CWD, root.join("block"), Some(Uid::from_raw(owner)), Some(Gid::from_raw(5)), AtFlags::empty())
        .unwrap();
    if holds != Holds::Ustar {
        make_long(root);
    }
    set_times(root, holds);
    if holds == Holds::Pax {
        set_xattrs(root);
    }
    // Setting what is in it changed the time of the root.
    let at = Timespec { tv_sec: 1_600_000_000, tv_nsec: 0 };
    utimensat(CWD, root, &Timestamps { last_access: at, last_modification: at }, AtFlags::empty()).unwrap();
}

/// Names and targets that do not fit the fields of a header.
fn make_long(root: &Path) {
    let name = "n".repeat(255);
    let dir = root.join("long").join(&name);
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(&name), b"far").unwrap();
    symlinkat("t".repeat(3000), CWD, dir.join("target")).unwrap();
    linkat(CWD, dir.join(&name), CWD, dir.join("hard"), AtFlags::empty()).unwrap();
    fs::write(root.join("m".repeat(100)), b"just fits").unwrap();
}

fn set_times(root: &Path, holds: Holds) {
    let (nanos, early) = match holds {
        Holds::Ustar => (0, 12_345),
        Holds::Gnu => (0, -12_345),
        Holds::Pax => (123_456_789, -12_345),
    };
    for (path, secs) in
        [("dir/plain", early), ("set-id", 1), ("symlink", 1_700_000_000), ("dir", 77), ("null", 5)]
    {
        let at = Timespec { tv_sec: secs, tv_nsec: nanos };
        let times = Timestamps { last_access: at, last_modification: at };
        utimensat(CWD, root.join(path), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn set_xattrs(root: &Path) {
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let big = vec![b'v'; 3000];
    for (path, name, value) in [
        ("dir", "user.of-dir", &b"1"[..]),
        ("dir/plain", "user.bytes", b"a\n\0=\xff"),
        ("dir/plain", "user.empty", b""),
        ("dir/plain", "trusted.of-root", b"2"),
        ("block", "security.capability", &capability),
        ("symlink", "trusted.of-symlink", b"3"),
        ("empty", "user.big", &big),
        ("sparse", "user.x", b"4"),
    ] {
        lsetxattr(root.join(path), name, value, XattrFlags::empty()).unwrap();
    }
}

fn run(program: &str, args: &[&OsStr]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Makes an archive of a tree and compares what it means here with what GNU tar extracts.
fn compare(holds: Holds, program: &str, args: &str) {
    let dir = tempfile::tempdir().unwrap();
    let [from, to, tar]: [PathBuf; 3] = ["from", "to", "tar"].map(|name| dir.path().join(name));
    fs::create_dir(&from).unwrap();
    fs::create_dir(&to).unwrap();
    make_tree(&from, holds);
    let (tar, from, to) = (tar.as_os_str(), from.as_os_str(), to.as_os_str());
    let mut make: Vec<&OsStr> = args.split(' ').map(OsStr::new).collect();
    match program {
        "python3" => make.extend([tar, from]),
        _ => make.extend([OsStr::new("-cf"), tar, OsStr::new("-C"), from, OsStr::new(".")]),
    }
    run(program, &make);
    let extract = "--xattrs --xattrs-include=* --numeric-owner --same-owner --delay-directory-restore -xpf";
    let mut extract: Vec<&OsStr> = extract.split(' ').map(OsStr::new).collect();
    extract.extend([tar, OsStr::new("-C"), to]);
    run("tar", &extract);
    let (cached, _dir) = layer_of(&fs::read(tar).unwrap());
    let extracted = DirLayer::open(Path::new(to), Arc::new(FdPool::new(64))).unwrap();
    let (ours, theirs) = (layer_as_text(&cached), layer_as_text(&extracted));
    assert!(ours.lines().count() >= 20, "{program} {args}: {ours}");
    assert_eq!(ours, theirs, "{program} {args}");
}

#[test]
fn gnu_tar_in_all_its_formats() {
    compare(Holds::Ustar, "tar", "--format=ustar --numeric-owner");
    compare(Holds::Gnu, "tar", "--format=gnu");
    compare(Holds::Gnu, "tar", "--format=oldgnu --sparse");
    compare(Holds::Gnu, "tar", "--format=gnu --sparse --sort=name");
    compare(Holds::Pax, "tar", "--format=pax --xattrs --xattrs-include=*");
    for version in ["0.0", "0.1", "1.0"] {
        let args = format!("--format=pax --xattrs --xattrs-include=* --sparse --sparse-version={version}");
        compare(Holds::Pax, "tar", &args);
    }
    compare(Holds::Gnu, "tar", "--format=pax --pax-option=globexthdr.name=g,comment=global,delete=atime");
}

#[test]
fn bsdtar_in_its_formats() {
    compare(Holds::Ustar, "bsdtar", "--format=ustar");
    compare(Holds::Gnu, "bsdtar", "--format=gnutar");
    compare(Holds::Pax, "bsdtar", "--format=pax --xattrs");
}

#[test]
fn python_in_its_formats() {
    let program = "import sys, tarfile; t = tarfile.open(sys.argv[2], 'w', \
                   format=getattr(tarfile, sys.argv[1])); t.add(sys.argv[3], '.'); t.close()";
    for (holds, format) in
        [(Holds::Ustar, "USTAR_FORMAT"), (Holds::Gnu, "GNU_FORMAT"), (Holds::Gnu, "PAX_FORMAT")]
    {
        let dir = tempfile::tempdir().unwrap();
        let script = dir.path().join("make.py");
        fs::write(&script, program).unwrap();
        compare(holds, "python3", &format!("{} {format}", script.to_str().unwrap()));
    }
}
