//! truncate and ftruncate.

#![allow(unsafe_code)]

use super::objects::*;
use crate::harness::*;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

fn truncate(path: &Path, size: i64) -> std::io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: truncate reads a string that lives and ends with a zero byte.
    match unsafe { libc::truncate(path.as_ptr(), size) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[test]
fn c6_truncate_keeps_the_part_before_and_fills_with_zeros() {
    let data = pattern(20_000);
    for size in [0, 1, 4095, 4096, 19_999, 20_000, 20_001, 50_000] {
        each(file(&data), |s| {
            let before = s.stat();
            truncate(&s.path(), size as i64).unwrap();
            let mut wanted = data.clone();
            wanted.resize(size, 0);
            assert_eq!((s.stat().len(), s.stat().ino()), (size as u64, before.ino()), "{s} {size}");
            assert!(fs::read(s.path()).unwrap() == wanted, "{s} {size}: other data");
            if s.origin != Origin::Lower || size != 20_000 {
                s.assert_upper_content(&wanted);
            }
        });
    }
}

#[test]
fn f1_what_was_cut_off_comes_back_as_zeros() {
    each(file(pattern(20_000)), |s| {
        let open = open_rw(s.path());
        open.set_len(5000).unwrap();
        open.set_len(20_000).unwrap();
        let data = fs::read(s.path()).unwrap();
        assert!(data[..5000] == pattern(5000), "{s}: the start changed");
        assert!(data[5000..].iter().all(|byte| *byte == 0), "{s}: old data came back");
        open.write_all_at(b"x", 30_000).unwrap();
        let data = fs::read(s.path()).unwrap();
        assert!(data[20_000..30_000].iter().all(|byte| *byte == 0), "{s}: no zeros before a write");
    });
}

#[test]
fn f1_truncate_between_unsynced_writes() {
    each(file("data"), |s| {
        let open = open_rw(s.path());
        open.write_all_at(&pattern(100_000), 0).unwrap();
        open.set_len(50_001).unwrap();
        open.write_all_at(b"tail", 60_000).unwrap();
        let mut wanted = pattern(50_001);
        wanted.resize(60_000, 0);
        wanted.extend(b"tail");
        assert!(fs::read(s.path()).unwrap() == wanted, "{s}: other data");
        open.sync_all().unwrap();
        s.assert_upper_content(&wanted);
    });
}

#[test]
fn a3_errnos_of_truncate() {
    each(tree, |s| {
        let at = |name: &str, size| truncate(&s.path().join(name), size);
        assert_errno!(at("none", 0), Errno::NOENT, "{s}");
        assert_errno!(at("f/x", 0), Errno::NOTDIR, "{s}");
        assert_errno!(at("d", 0), Errno::ISDIR, "{s}");
        assert_errno!(at("f", -1), Errno::INVAL, "{s}");
        as_user(1000, 1000, || assert_errno!(at("f", 0), Errno::ACCESS, "{s}"));
        let too_big = at("f", i64::MAX);
        if Filesystem::of_tests() == Filesystem::Ext4 {
            assert_errno!(too_big, Errno::FBIG, "{s}: more than ext4 can hold");
            assert_eq!(fs::read(s.path().join("f")).unwrap(), b"f", "{s}");
        } else {
            too_big.unwrap();
            assert_eq!(lstat(s.path().join("f")).len(), i64::MAX as u64, "{s}");
        }
    });
}

#[test]
fn f1_truncate_above_4_gib_stays_sparse() {
    each(file("data"), |s| {
        truncate(&s.path(), 10 << 30).unwrap();
        assert_eq!(s.stat().len(), 10 << 30, "{s}");
        assert!(place::blocks(s.path()) <= 8 + Filesystem::of_tests().spare_blocks(), "{s}");
        let mut byte = [1];
        open_rw(s.path()).read_exact_at(&mut byte, (10 << 30) - 1).unwrap();
        assert_eq!(byte, [0], "{s}");
        truncate(&s.path(), 4).unwrap();
        assert_eq!(fs::read(s.path()).unwrap(), b"data", "{s}");
    });
}
