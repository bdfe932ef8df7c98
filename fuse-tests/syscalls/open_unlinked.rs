//! What a descriptor can still do after the last name of its object went.

use super::mmap::{Mapping, Share};
use super::objects::*;
use crate::harness::*;
use rustix::fs::{AtFlags, CWD, linkat};
use std::fs::{self, File, Permissions};
use std::io::{Read as _, Seek as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, fchown};
use std::time::{Duration, SystemTime};

fn contents(open: &File) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut open = open;
    open.rewind().unwrap();
    open.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn i5_an_unlinked_file_is_read_written_and_truncated() {
    each(file("data"), |s| {
        let open = open_rw(s.path());
        fs::remove_file(s.path()).unwrap();
        assert_eq!(contents(&open), b"data", "{s}");
        assert_eq!(open.metadata().unwrap().nlink(), 0, "{s}");
        open.write_all_at(b" and more", 4).unwrap();
        assert_eq!(contents(&open), b"data and more", "{s}");
        open.set_len(6).unwrap();
        open.sync_all().unwrap();
        assert_eq!(contents(&open), b"data a", "{s}");
        assert_eq!(open.metadata().unwrap().len(), 6, "{s}");
        open.write_all_at(&pattern(200_000), 100_000).unwrap();
        let mut back = vec![0; 200_000];
        open.read_exact_at(&mut back, 100_000).unwrap();
        assert!(back == pattern(200_000), "{s}: other data");
        s.assert_removed("obj");
    });
}

#[test]
fn i5_a_reader_keeps_the_data_and_a_second_reader_too() {
    each(file(pattern(300_000)), |s| {
        let first = File::open(s.path()).unwrap();
        let second = File::open(s.path()).unwrap();
        fs::remove_file(s.path()).unwrap();
        drop(first);
        assert!(contents(&second) == pattern(300_000), "{s}: other data");
        fs::write(s.path(), "another file").unwrap();
        assert!(contents(&second) == pattern(300_000), "{s}: data of the new file");
        assert_ne!(second.metadata().unwrap().ino(), s.stat().ino(), "{s}");
    });
}

#[test]
fn i5_mode_owner_and_times_of_an_unlinked_file_change() {
    each(file("data"), |s| {
        let open = open_rw(s.path());
        fs::remove_file(s.path()).unwrap();
        open.set_permissions(Permissions::from_mode(0o4711)).unwrap();
        fchown(&open, Some(5), Some(6)).unwrap();
        let stamp = SystemTime::UNIX_EPOCH + Duration::new(1_000_000, 123_456_789);
        open.set_modified(stamp).unwrap();
        let meta = open.metadata().unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o711, 5, 6), "{s}");
        assert_eq!(meta.modified().unwrap(), stamp, "{s}");
        assert_eq!((meta.nlink(), meta.len()), (0, 4), "{s}");
        s.assert_removed("obj");
    });
}

#[test]
fn i5_a_read_only_descriptor_changes_mode_and_times_too() {
    let m = mount_objects(file("data"));
    if m.differs_on(&[Target::KernelOverlay], "it cannot copy up what has no name") {
        return;
    }
    for dir in ["lower", "upper", "fresh"] {
        let path = m.join(dir).join("obj");
        let open = File::open(&path).unwrap();
        fs::remove_file(&path).unwrap();
        open.set_permissions(Permissions::from_mode(0o600)).unwrap();
        let meta = open.metadata().unwrap();
        assert_eq!((meta.mode() & 0o7777, meta.nlink()), (0o600, 0), "{dir}");
        assert_eq!(contents(&open), b"data", "{dir}");
    }
}

#[test]
fn i5_a_file_renamed_over_stays_open() {
    each(file("old"), |s| {
        let old = open_rw(s.path());
        fs::write(s.beside("new"), "new").unwrap();
        fs::rename(s.beside("new"), s.path()).unwrap();
        assert_eq!(contents(&old), b"old", "{s}");
        assert_eq!(old.metadata().unwrap().nlink(), 0, "{s}");
        old.write_all_at(b"OLD", 0).unwrap();
        assert_eq!(contents(&old), b"OLD", "{s}");
        assert_eq!(fs::read(s.path()).unwrap(), b"new", "{s}");
        s.assert_upper_content("new");
    });
}

#[test]
fn i5_one_of_two_names_removed_leaves_the_file_to_the_other() {
    each(file("data"), |s| {
        fs::hard_link(s.path(), s.beside("other")).unwrap();
        let open = open_rw(s.path());
        fs::remove_file(s.path()).unwrap();
        assert_eq!(open.metadata().unwrap().nlink(), 1, "{s}");
        open.write_all_at(b"D", 0).unwrap();
        assert_eq!(fs::read(s.beside("other")).unwrap(), b"Data", "{s}");
    });
}

#[test]
fn i5_an_unlinked_file_gets_no_new_name() {
    each(file("data"), |s| {
        let open = open_rw(s.path());
        fs::remove_file(s.path()).unwrap();
        let proc = format!("/proc/self/fd/{}", open.as_raw_fd());
        let linked = linkat(CWD, proc, CWD, s.beside("x"), AtFlags::SYMLINK_FOLLOW);
        assert_errno!(linked, Errno::NOENT, "{s}");
        assert_eq!(names_in(s.dir()), Vec::<String>::new(), "{s}");
    });
}

#[test]
fn i5_a_mapping_outlives_the_name_and_the_descriptor() {
    each(file(pattern(20_000)), |s| {
        let open = open_rw(s.path());
        let mut map = Mapping::new(&open, 20_000, Share::Shared);
        fs::remove_file(s.path()).unwrap();
        assert!(map.bytes() == pattern(20_000), "{s}: other data");
        map.bytes_mut()[10_000] = 0xff;
        let mut byte = [0];
        open.read_exact_at(&mut byte, 10_000).unwrap();
        assert_eq!(byte, [0xff], "{s}");
        drop(open);
        assert_eq!(map.bytes()[10_000], 0xff, "{s}");
        assert_eq!(map.bytes()[9_999], pattern(20_000)[9_999], "{s}");
    });
}

#[test]
fn i5_an_unlinked_files_xattrs_are_read_and_set() {
    use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
    let make = |path: &std::path::Path| {
        write(path, "data");
        xattr::lset(path, "user.old", b"value").unwrap();
    };
    each(make, |s| {
        let open = open_rw(s.path());
        fs::remove_file(s.path()).unwrap();
        fsetxattr(&open, "user.new", b"more", XattrFlags::empty()).unwrap();
        let mut value = [0_u8; 10];
        assert_eq!(fgetxattr(&open, "user.old", &mut value).unwrap(), 5, "{s}");
        assert_eq!(fgetxattr(&open, "user.new", &mut value).unwrap(), 4, "{s}");
        assert_eq!(&value[..4], b"more", "{s}");
    });
}
