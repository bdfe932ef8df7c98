//! readdir: complete, without doubles, stable while the directory changes, and large.

#![allow(unsafe_code)]

use super::objects::*;
use crate::harness::*;
use rustix::fs::{Dir, FileType};
use std::collections::{BTreeMap, HashSet};
use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

/// All entries with `.` and `..`: name, d_ino, d_type.
fn entries(dir: &Path) -> Vec<(String, u64, FileType)> {
    let listing = Dir::read_from(File::open(dir).unwrap()).unwrap();
    let entry = |entry: rustix::io::Result<rustix::fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().to_string_lossy().into_owned(), entry.ino(), entry.file_type())
    };
    listing.map(entry).collect()
}

fn zoo(path: &Path) {
    tree(path);
    symlink("f", path.join("l")).unwrap();
    fs::hard_link(path.join("f"), path.join("f2")).unwrap();
    sh("mkfifo \"$1\"/p; mknod \"$1\"/c c 1 3; mknod \"$1\"/b b 7 0", &[path]);
}

#[test]
fn u10_a_listing_shows_each_name_once_with_the_type_and_number_lstat_shows() {
    each(zoo, |s| {
        let listed = entries(&s.path());
        let mut names: Vec<&str> = listed.iter().map(|(name, ..)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, [".", "..", "b", "c", "d", "f", "f2", "l", "p"], "{s}");
        for (name, ino, kind) in &listed {
            let meta = lstat(s.path().join(name));
            assert_eq!(*ino, meta.ino(), "{s}: d_ino of {name}");
            assert_eq!(*kind, FileType::from_raw_mode(meta.mode()), "{s}: d_type of {name}");
        }
        s.assert_not_copied();
    });
}

#[test]
fn i2_d_ino_stays_st_ino_after_copy_up_and_remount() {
    let mut m = mount_objects(zoo);
    for dir in ["lower", "upper", "fresh"] {
        for name in ["f", "d", "c", "l"] {
            chown(&m.join(dir).join("obj").join(name), 1, 1);
        }
        fs::rename(m.join(dir).join("obj/p"), m.join(dir).join("obj/q")).unwrap();
    }
    for round in ["before", "after"] {
        let mut seen = BTreeMap::new();
        for dir in ["lower", "upper", "fresh"] {
            let obj = m.join(dir).join("obj");
            for (name, ino, _) in entries(&obj) {
                assert_eq!(ino, lstat(obj.join(&name)).ino(), "{dir}/{name} {round} the remount");
                if ![".", "..", "f2"].contains(&name.as_str()) {
                    let twin = seen.insert(ino, format!("{dir}/{name}"));
                    assert_eq!(twin, None, "one number for two, {round} the remount");
                }
            }
        }
        m.remount(&[]);
    }
}

#[test]
fn u10_the_root_and_merged_directories() {
    let stack = Stack::new(2);
    for (layer, names) in [(0, ["a", "b"]), (1, ["b", "c"])] {
        for name in names {
            write(stack.lower(layer).join("dir").join(name), name);
        }
    }
    write(stack.upper().join("dir/c"), "upper");
    write(stack.upper().join("dir/d"), "upper");
    let m = stack.mount(&[]);
    assert_eq!(names_in(m.join("dir")), ["a", "b", "c", "d"]);
    assert_eq!(names_in(m.path()), ["dir"]);
    for dir in [m.path().to_owned(), m.join("dir")] {
        for (name, ino, _) in entries(&dir) {
            // `..` of the root leads out of the mount.
            if dir != m.path() || name != ".." {
                assert_eq!(ino, lstat(dir.join(&name)).ino(), "{name} of {}", dir.display());
            }
        }
    }
    fs::remove_file(m.join("dir/b")).unwrap();
    fs::write(m.join("dir/e"), "").unwrap();
    assert_eq!(names_in(m.join("dir")), ["a", "c", "d", "e"]);
}

fn hundreds(path: &Path) {
    directory(path);
    for i in 0..400 {
        fs::write(path.join(format!("file-{i:04}")), "").unwrap();
    }
}

#[test]
fn u10_what_is_not_touched_is_listed_exactly_once_while_others_come_and_go() {
    each(hundreds, |s| {
        let mut listing = Dir::read_from(File::open(s.path()).unwrap()).unwrap();
        let mut seen: Vec<String> = Vec::new();
        let mut step = 0;
        while let Some(entry) = listing.read() {
            seen.push(entry.unwrap().file_name().to_str().unwrap().to_owned());
            if step % 10 == 0 && step < 400 {
                fs::remove_file(s.path().join(format!("file-{:04}", step + 1))).unwrap();
                fs::write(s.path().join(format!("new-{step}")), "").unwrap();
            }
            step += 1;
        }
        for i in (0..400).filter(|i| i % 10 != 1) {
            let name = format!("file-{i:04}");
            let times = seen.iter().filter(|seen| **seen == name).count();
            assert_eq!(times, 1, "{s}: {name} is listed {times} times");
        }
        let distinct: HashSet<&String> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len(), "{s}: a name is listed twice");
    });
}

#[test]
fn u10_removing_all_while_listing_removes_all() {
    each(hundreds, |s| {
        for entry in fs::read_dir(s.path()).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        assert_eq!(names_in(s.path()), Vec::<String>::new(), "{s}");
        fs::remove_dir(s.path()).unwrap();
    });
}

/// A directory stream with the positions that `telldir` gives.
struct Stream(*mut libc::DIR);

impl Stream {
    fn open(path: &Path) -> Self {
        let path = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: opendir reads a string that lives and ends with a zero byte.
        let stream = unsafe { libc::opendir(path.as_ptr()) };
        assert!(!stream.is_null(), "opendir");
        Self(stream)
    }

    fn tell(&self) -> i64 {
        // SAFETY: the stream is open.
        unsafe { libc::telldir(self.0) }
    }

    fn seek(&self, position: i64) {
        // SAFETY: the stream is open and the position came from telldir on it.
        unsafe { libc::seekdir(self.0, position) };
    }

    fn next(&self) -> Option<String> {
        // SAFETY: the stream is open; the entry is read before the next call.
        unsafe {
            let entry = libc::readdir(self.0);
            let name = (!entry.is_null()).then(|| std::ffi::CStr::from_ptr((*entry).d_name.as_ptr()));
            name.map(|name| name.to_str().unwrap().to_owned())
        }
    }

    fn rest(&self) -> Vec<String> {
        std::iter::from_fn(|| self.next()).collect()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: closes what `open` opened.
        unsafe { libc::closedir(self.0) };
    }
}

#[test]
fn u10_seekdir_goes_back_to_each_position_of_telldir() {
    each(hundreds, |s| {
        let stream = Stream::open(&s.path());
        let mut positions = Vec::new();
        loop {
            let position = stream.tell();
            let Some(name) = stream.next() else { break };
            positions.push((position, name));
        }
        assert_eq!(positions.len(), 402, "{s}");
        let distinct: HashSet<i64> = positions.iter().map(|(position, _)| *position).collect();
        assert_eq!(distinct.len(), positions.len(), "{s}: a position twice");
        for (position, name) in positions.iter().rev().step_by(37) {
            stream.seek(*position);
            assert_eq!(stream.next().as_ref(), Some(name), "{s} at {position}");
        }
        stream.seek(positions[200].0);
        let rest: Vec<String> = positions[200..].iter().map(|(_, name)| name.clone()).collect();
        assert_eq!(stream.rest(), rest, "{s}");
    });
}

#[test]
fn u10_positions_stay_valid_after_changes_and_rewinding_shows_them() {
    each(hundreds, |s| {
        let stream = Stream::open(&s.path());
        for _ in 0..150 {
            stream.next().unwrap();
        }
        let position = stream.tell();
        let rest = stream.rest();
        fs::remove_file(s.path().join(&rest[10])).unwrap();
        fs::write(s.path().join("made"), "").unwrap();
        stream.seek(position);
        let again: HashSet<String> = stream.rest().into_iter().collect();
        for (i, name) in rest.iter().enumerate().filter(|(i, _)| *i != 10) {
            assert!(again.contains(name), "{s}: entry {i} is lost after seekdir");
        }
        stream.seek(0);
        let all: HashSet<String> = stream.rest().into_iter().collect();
        assert!(all.contains("made") && !all.contains(&rest[10]), "{s}: after a rewind");
        assert_eq!(all.len(), 402, "{s}");
        // Which one was removed is up to the order; make the three objects the same again.
        fs::write(s.path().join(&rest[10]), "").unwrap();
    });
}

#[test]
fn u10_a_lower_directory_of_100_000_entries() {
    let stack = Stack::new(2);
    for layer in 0..2 {
        fs::create_dir(stack.lower(layer).join("big")).unwrap();
    }
    for i in 0..100_000 {
        drop(File::create(stack.lower(i % 2).join(format!("big/entry-{i:06}"))).unwrap());
    }
    let m = stack.mount(&[]);
    let big = m.join("big");
    let listed = entries(&big);
    let names: HashSet<&str> = listed.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!((listed.len(), names.len()), (100_002, 100_002));
    for (name, ino, _) in listed.iter().step_by(997) {
        assert_eq!(lstat(big.join(name)).ino(), *ino, "{name}");
    }
    fs::remove_file(big.join("entry-050000")).unwrap();
    fs::rename(big.join("entry-050001"), big.join("moved")).unwrap();
    fs::write(big.join("made"), "").unwrap();
    let names: HashSet<String> = entries(&big).into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names.len(), 100_002);
    assert!(names.contains("made") && names.contains("moved"));
    assert!(!names.contains("entry-050000") && !names.contains("entry-050001"));
    assert_errno!(fs::remove_dir(&big), Errno::NOTEMPTY);
}

#[test]
fn u10_a_fresh_directory_of_3_000_entries_survives_a_remount() {
    let stack = Stack::new(1);
    write(stack.lower(0).join("x"), "");
    let mut m = stack.mount(&[]);
    fs::create_dir(m.join("big")).unwrap();
    for i in 0..3000 {
        drop(File::create(m.join(format!("big/entry-{i:04}"))).unwrap());
    }
    for i in (0..3000).step_by(2) {
        fs::remove_file(m.join(format!("big/entry-{i:04}"))).unwrap();
    }
    assert_eq!(names_in(m.join("big")).len(), 1500);
    m.remount(&[]);
    let names = names_in(m.join("big"));
    assert_eq!(names.len(), 1500);
    assert!(names.iter().all(|name| name.ends_with(['1', '3', '5', '7', '9'])));
}
