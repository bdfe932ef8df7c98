//! copy_file_range, sendfile and std's copy.

use super::objects::*;
use crate::harness::*;
use rustix::fs::{copy_file_range, sendfile};
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;

/// copy_file_range until `size` bytes are copied or it answers 0.
fn copy(from: &File, mut at: u64, to: &File, mut put: u64, size: usize) -> rustix::io::Result<usize> {
    let mut copied = 0;
    while copied < size {
        match copy_file_range(from, Some(&mut at), to, Some(&mut put), size - copied)? {
            0 => break,
            some => copied += some,
        }
    }
    Ok(copied)
}

#[test]
fn f1_copy_file_range_to_a_new_file() {
    each(file(pattern(300_000)), |s| {
        let from = File::open(s.path()).unwrap();
        let to = File::create_new(s.beside("copy")).unwrap();
        assert_eq!(copy(&from, 1_000, &to, 500, 200_000), Ok(200_000), "{s}");
        let mut wanted = vec![0; 500];
        wanted.extend(&pattern(300_000)[1_000..201_000]);
        assert!(fs::read(s.beside("copy")).unwrap() == wanted, "{s}: other data");
        s.assert_not_copied();
    });
}

#[test]
fn f1_copy_file_range_into_the_middle_of_each_object() {
    each(file(pattern(100_000)), |s| {
        let from = File::create_new(s.beside("source")).unwrap();
        drop(from);
        fs::write(s.beside("source"), vec![b'S'; 50_000]).unwrap();
        let from = File::open(s.beside("source")).unwrap();
        let to = open_rw(s.path());
        assert_eq!(copy(&from, 0, &to, 20_001, 40_000), Ok(40_000), "{s}");
        let mut wanted = pattern(100_000);
        wanted[20_001..60_001].fill(b'S');
        assert!(fs::read(s.path()).unwrap() == wanted, "{s}: other data");
        to.sync_all().unwrap();
        s.assert_upper_content(&wanted);
    });
}

#[test]
fn f1_copy_file_range_sees_unsynced_data_on_both_sides() {
    each(file(pattern(100_000)), |s| {
        let open = open_rw(s.path());
        open.write_all_at(b"unsynced source", 10_000).unwrap();
        let to = File::create_new(s.beside("copy")).unwrap();
        to.write_all_at(&[b'T'; 100_000], 0).unwrap();
        assert_eq!(copy(&open, 10_000, &to, 50_000, 15), Ok(15), "{s}");
        let copied = fs::read(s.beside("copy")).unwrap();
        assert_eq!(&copied[49_999..50_016], b"Tunsynced sourceT", "{s}");
        assert_eq!(copied.len(), 100_000, "{s}");
    });
}

#[test]
fn f1_copy_file_range_within_one_file() {
    each(file(pattern(100_000)), |s| {
        let open = open_rw(s.path());
        assert_eq!(copy(&open, 0, &open, 60_000, 50_000), Ok(50_000), "{s}");
        let mut wanted = pattern(60_000);
        wanted.extend(pattern(50_000));
        assert!(fs::read(s.path()).unwrap() == wanted, "{s}: other data");
        let overlap = copy_file_range(&open, Some(&mut 0), &open, Some(&mut 100), 1_000);
        assert_errno!(overlap, Errno::INVAL, "{s}");
    });
}

#[test]
fn f1_copy_file_range_at_the_end_and_its_errnos() {
    each(file("data"), |s| {
        let from = File::open(s.path()).unwrap();
        let to = File::create_new(s.beside("copy")).unwrap();
        assert_eq!(copy(&from, 2, &to, 0, 100), Ok(2), "{s}");
        assert_eq!(copy(&from, 4, &to, 0, 100), Ok(0), "{s}");
        assert_eq!(copy(&from, 1 << 40, &to, 0, 100), Ok(0), "{s}");
        assert_eq!(fs::read(s.beside("copy")).unwrap(), b"ta", "{s}");
        assert_errno!(copy(&to, 0, &from, 0, 1), Errno::BADF, "{s}");
        assert_errno!(copy(&from, 0, &open_append(s.beside("copy")), 0, 1), Errno::BADF, "{s}");
        let dir = File::open(s.dir()).unwrap();
        assert_errno!(copy(&dir, 0, &to, 0, 1), Errno::ISDIR, "{s}");
        s.assert_not_copied();
    });
}

#[test]
fn f1_sendfile_and_cp_copy_the_data() {
    each(file(pattern(300_000)), |s| {
        let from = File::open(s.path()).unwrap();
        let to = File::create_new(s.beside("sent")).unwrap();
        let mut sent = 0;
        while sent < 300_000 {
            let more = sendfile(&to, &from, None, 300_000 - sent).unwrap();
            assert!(more > 0, "{s}: sendfile stops at {sent}");
            sent += more;
        }
        assert!(fs::read(s.beside("sent")).unwrap() == pattern(300_000), "{s}: sendfile");
        sh("cp --sparse=always \"$1\" \"$2\"", &[&s.path(), &s.beside("cp")]);
        assert!(fs::read(s.beside("cp")).unwrap() == pattern(300_000), "{s}: cp");
        s.assert_not_copied();
    });
}

#[test]
fn f1_copies_out_of_the_mount_and_into_it() {
    each(file(pattern(300_000)), |s| {
        let outside = s.m.stack().base().join("outside");
        fs::copy(s.path(), &outside).unwrap();
        assert!(fs::read(&outside).unwrap() == pattern(300_000), "{s}: out");
        fs::write(&outside, "from outside").unwrap();
        fs::copy(&outside, s.path()).unwrap();
        assert_eq!(fs::read(s.path()).unwrap(), b"from outside", "{s}: in");
        fs::remove_file(outside).unwrap();
    });
}
