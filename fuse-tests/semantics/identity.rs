//! I1 to I5: inode numbers, link counts, and what was removed while open.

use super::*;
use crate::harness::{Filesystem, Target, Tmpfs, write};
use rustix::fs::{Gid, Uid};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{DirEntryExt as _, FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};

/// A stack with one object of each kind in two lowers, merged and not.
fn stack_of_kinds(stack: &Stack) {
    for (i, lower) in stack.lowers().iter().enumerate() {
        fill(lower, &[&format!("d/file{i}"), "d/both", &format!("d/dir{i}/x"), "d/merged/x"]);
        fill(lower, &[&format!("d/merged/only{i}"), &format!("d/dir{i}/sub/y")]);
        symlink("t", lower.join(format!("d/link{i}"))).unwrap();
        char_device(lower.join(format!("d/null{i}")), 1, 3);
        sh("mkfifo \"$1\"", &[&lower.join(format!("d/fifo{i}"))]);
    }
}

/// The inode number of everything below a directory, by path.
fn numbers(root: &Path) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::from([(String::new(), ino(root))]);
    for path in sh("cd \"$1\"; find . -mindepth 1", &[root]).lines() {
        let path = path.trim_start_matches("./").to_owned();
        let number = ino(root.join(&path));
        all.insert(path, number);
    }
    all
}

#[test]
fn i1_numbers_stay_at_copy_up_and_over_remounts() {
    let stack = Stack::new(2);
    stack_of_kinds(&stack);
    fill(stack.upper(), &["upper/file", "d/upper"]);
    let mut m = stack.mount(&[]);
    let before = numbers(m.path());
    for (path, number) in &before {
        let owner = (Some(Uid::from_raw(3)), Some(Gid::from_raw(4)));
        let own = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::chownat(CWD, m.join(path), owner.0, owner.1, own).unwrap();
        assert_eq!(ino(m.join(path)), *number, "{path} at copy-up of its attributes");
    }
    for path in ["d/file0", "d/file1", "d/both", "d/merged/only1"] {
        let file = OpenOptions::new().append(true).open(m.join(path)).unwrap();
        file.write_all_at(b"more", 0).unwrap();
        assert_eq!(file.metadata().unwrap().ino(), before[path], "{path} at copy-up of its data");
    }
    assert_eq!(numbers(m.path()), before);
    for _ in 0..2 {
        m.remount(&[]);
        assert_eq!(numbers(m.path()), before, "after a remount");
    }
}

#[test]
fn i1_r7_numbers_stay_on_rename_and_over_remounts() {
    let stack = Stack::new(2);
    stack_of_kinds(&stack);
    fill(stack.upper(), &["upper/file", "d/upper"]);
    let mut m = stack.mount(&[]);
    let before = numbers(m.path());
    fs::rename(m.join("d"), m.join("e")).unwrap();
    let moved: Vec<String> = names(m.join("e"));
    for name in &moved {
        let number = ino(m.join("e").join(name));
        assert_eq!(number, before[&format!("d/{name}")], "{name}, its directory renamed");
        fs::rename(m.join("e").join(name), m.join("upper").join(name)).unwrap();
        assert_eq!(ino(m.join("upper").join(name)), number, "{name}, itself renamed");
    }
    assert_eq!(ino(m.join("e")), before["d"]);
    let after = numbers(m.path());
    for (path, number) in &before {
        let now = match path.strip_prefix("d") {
            Some("") => "e".to_owned(),
            Some(rest) => format!("upper{rest}"),
            None => path.clone(),
        };
        assert_eq!(after[&now], *number, "{path}, now {now}");
    }
    for _ in 0..2 {
        m.remount(&[]);
        assert_eq!(numbers(m.path()), after, "after a remount");
    }
}

#[test]
fn i1_the_number_of_a_new_object_stays_over_a_remount() {
    let stack = stack_with(&["d/x", "gone/y"]);
    let mut m = stack.mount(&[]);
    fs::write(m.join("file"), "").unwrap();
    fs::create_dir(m.join("d/dir")).unwrap();
    symlink("t", m.join("link")).unwrap();
    fs::remove_dir_all(m.join("gone")).unwrap();
    fs::create_dir(m.join("gone")).unwrap();
    let before = numbers(m.path());
    m.remount(&[]);
    assert_eq!(numbers(m.path()), before);
}

fn assert_all_different(root: &Path) {
    let mut seen: BTreeMap<u64, String> = BTreeMap::new();
    for (path, number) in numbers(root) {
        if let Some(other) = seen.insert(number, path.clone()) {
            panic!("/{path} and /{other} both have st_ino {number}");
        }
    }
}

#[test]
fn i2_numbers_are_unique_over_lowers_on_different_filesystems() {
    let stack = Stack::new(3);
    // Fresh filesystems number their objects alike, so equal numbers meet.
    let disks = [Tmpfs::at(stack.lower(0), "size=8m"), Tmpfs::at(stack.lower(1), "size=8m")];
    for (i, lower) in stack.lowers().iter().enumerate() {
        for n in 0..200 {
            write(lower.join(format!("d{i}/f{n}")), "");
        }
        fill(lower, &["merged/sub/x", &format!("merged/sub/only{i}")]);
    }
    let mut m = stack.mount(&[]);
    assert_all_different(m.path());
    let before = numbers(m.path());
    for i in 0..3 {
        for n in 0..30 {
            fs::write(m.join(format!("d{i}/f{n}")), "copied up").unwrap();
            fs::write(m.join(format!("d{i}/new{n}")), "new").unwrap();
        }
    }
    fs::rename(m.join("merged/sub"), m.join("d0/sub")).unwrap();
    assert_all_different(m.path());
    if m.target() == Target::Layerfs {
        for (path, number) in numbers(m.path()) {
            let old = path.replace("d0/sub", "merged/sub");
            assert!(before.get(&old).is_none_or(|old| *old == number), "{path} at copy-up");
        }
        let before = numbers(m.path());
        m.remount(&[]);
        assert_eq!(numbers(m.path()), before, "after a remount");
    }
    m.umount();
    drop(disks);
}

#[test]
fn i3_the_device_is_one_for_all() {
    let stack = Stack::new(2);
    let disk = Tmpfs::at(stack.lower(0), "size=8m");
    stack_of_kinds(&stack);
    let m = stack.mount(&[]);
    fs::write(m.join("d/file0"), "copied up").unwrap();
    let all: Vec<u64> = numbers(m.path()).keys().map(|path| lstat(m.join(path)).dev()).collect();
    let open = File::open(m.join("d/file1")).unwrap().metadata().unwrap().dev();
    assert!(all.iter().all(|dev| *dev == all[0] && *dev == open), "{all:?}");
    m.umount();
    drop(disk);
}

#[test]
fn i4_link_counts_are_the_number_of_names_and_1_for_merged_directories() {
    let stack = stack_with(&["d/sub/x", "one", "two/a"]);
    fs::hard_link(stack.lower(0).join("two/a"), stack.lower(0).join("two/b")).unwrap();
    let mut m = stack.mount(&[]);
    let count = |m: &Mount, path: &str| lstat(m.join(path)).nlink();
    assert_eq!([count(&m, "one"), count(&m, "two/a"), count(&m, "two/b")], [1, 2, 2]);
    fs::write(m.join("new"), "").unwrap();
    fs::hard_link(m.join("new"), m.join("d/new2")).unwrap();
    fs::hard_link(m.join("one"), m.join("one2")).unwrap();
    fs::hard_link(m.join("two/a"), m.join("two/c")).unwrap();
    fs::create_dir(m.join("d/made")).unwrap();
    twice(&mut m, |m| {
        for path in ["new", "d/new2", "one", "one2"] {
            assert_eq!(count(m, path), 2, "{path}");
        }
        for path in ["two/a", "two/b", "two/c"] {
            assert_eq!(count(m, path), 3, "{path}");
        }
        if m.target() == Target::Layerfs {
            for merged in ["", "d", "two"] {
                assert_eq!(count(m, merged), 1, "/{merged}");
            }
            for of_one_layer in ["d/sub", "d/made"] {
                assert_eq!(count(m, of_one_layer), Filesystem::of_tests().dir_links(0), "/{of_one_layer}");
            }
        }
    });
    fs::remove_file(m.join("two/b")).unwrap();
    fs::remove_file(m.join("one")).unwrap();
    twice(&mut m, |m| {
        assert_eq!([count(m, "two/a"), count(m, "two/c"), count(m, "one2")], [2, 2, 1]);
    });
}

#[test]
fn i5_a_removed_object_lives_until_it_is_closed() {
    let stack = stack_with(&["lower", "both", "changed"]);
    fill(stack.upper(), &["upper", "both"]);
    let mut m = stack.mount(&[]);
    fs::write(m.join("fresh"), "fresh").unwrap();
    fs::set_permissions(m.join("changed"), fs::Permissions::from_mode(0o640)).unwrap();
    for name in ["lower", "both", "changed", "upper", "fresh"] {
        let file = OpenOptions::new().read(true).write(true).open(m.join(name)).unwrap();
        fs::remove_file(m.join(name)).unwrap();
        assert!(absent(m.join(name)), "{name}");
        let meta = file.metadata().unwrap();
        assert_eq!((meta.nlink(), meta.len()), (0, name.len() as u64), "{name}");
        let mut start = [0; 2];
        file.read_exact_at(&mut start, 0).unwrap();
        assert_eq!(start, name.as_bytes()[..2], "{name}");
        file.write_all_at(b"written", 2).unwrap();
        file.set_len(6).unwrap();
        rustix::fs::fchmod(&file, Mode::from(0o604)).unwrap();
        rustix::fs::fchown(&file, Some(Uid::from_raw(5)), Some(Gid::from_raw(6))).unwrap();
        let times = Timestamps { last_access: LONG_AGO, last_modification: LONG_AGO };
        rustix::fs::futimens(&file, &times).unwrap();
        let meta = file.metadata().unwrap();
        assert_eq!((meta.len(), meta.mode() & 0o7777), (6, 0o604), "{name}");
        assert_eq!((meta.uid(), meta.gid(), meta.nlink()), (5, 6, 0), "{name}");
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (LONG_AGO.tv_sec, LONG_AGO.tv_nsec));
        let mut all = [0; 6];
        file.read_exact_at(&mut all, 0).unwrap();
        assert_eq!(all[..2], start, "{name}");
        assert_eq!(&all[2..], b"writ", "{name}");
        // A new one of the same name is another.
        fs::write(m.join(name), "another").unwrap();
        assert_ne!(ino(m.join(name)), meta.ino(), "{name}");
        file.read_exact_at(&mut all, 0).unwrap();
        assert_eq!(&all[2..], b"writ", "{name}");
        assert_eq!(text(m.join(name)), "another");
        fs::remove_file(m.join(name)).unwrap();
    }
    twice(&mut m, |m| assert_eq!(names(m.path()).len(), 0));
}

#[test]
fn i5_a_file_renamed_over_and_a_removed_directory_live_until_closed() {
    let stack = stack_with(&["victim", "winner", "dir/x"]);
    let mut m = stack.mount(&[]);
    let victim = File::open(m.join("victim")).unwrap();
    let dir = File::open(m.join("dir")).unwrap();
    fs::rename(m.join("winner"), m.join("victim")).unwrap();
    fs::remove_dir_all(m.join("dir")).unwrap();
    let mut all = [0; 6];
    victim.read_exact_at(&mut all, 0).unwrap();
    assert_eq!(&all, b"victim");
    if m.target() == Target::Layerfs {
        assert_eq!(victim.metadata().unwrap().nlink(), 0);
    }
    assert!(dir.metadata().unwrap().is_dir());
    let made = rustix::fs::mkdirat(&dir, "sub", Mode::from(0o755));
    assert_eq!(made, Err(rustix::io::Errno::NOENT), "nothing is made in a removed directory");
    drop((victim, dir));
    twice(&mut m, |m| assert_eq!(names(m.path()), ["victim"]));
}

/// Nothing on the copy can say whose it is.
#[test]
fn i1_i2_the_number_of_a_copied_symlink_is_listed_as_it_is_shown_with_user_marks() {
    let stack = Stack::new(1);
    sh("cd \"$1\"; mkdir d; ln -s to d/link; mkfifo d/fifo", &[stack.lower(0)]);
    let m = stack.mount(&["userxattr"]);
    for name in ["d/link", "d/fifo"] {
        let path = m.join(name);
        // What is open keeps the kernel from forgetting it.
        let open = rustix::fs::open(&path, OFlags::PATH | OFlags::NOFOLLOW, Mode::empty()).unwrap();
        let before = lstat(&path).ino();
        assert_eq!(before, lstat(stack.lower(0).join(name)).ino());
        let owner = Some(Uid::from_raw(9));
        rustix::fs::chownat(CWD, &path, owner, None, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        let listed = fs::read_dir(m.join("d")).unwrap().map(Result::unwrap);
        let listed = listed.filter(|e| e.path() == path).map(|e| e.ino()).collect::<Vec<_>>();
        assert_eq!((listed, lstat(&path).ino()), (vec![before], before), "{name}");
        drop(open);
    }
}
