//! Mappings: shared, private, and what copy-up must not tear apart.

#![allow(unsafe_code)]

use super::objects::*;
use crate::harness::*;
use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;

/// How a mapping treats writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// MAP_SHARED, readable and writable.
    Shared,
    /// MAP_SHARED, readable only.
    SharedReadOnly,
    /// MAP_PRIVATE, readable and writable.
    Private,
}

/// A mapping of a file's first bytes; unmapped on drop.
#[derive(Debug)]
pub struct Mapping {
    start: *mut u8,
    size: usize,
}

impl Mapping {
    /// Maps `size` bytes from the start of the file.
    pub fn new(file: &File, size: usize, share: Share) -> Self {
        Self::try_new(file, size, share).unwrap()
    }

    /// The same, with mmap's answer.
    pub fn try_new(file: &File, size: usize, share: Share) -> std::io::Result<Self> {
        let (flags, access) = match share {
            Share::Shared => (libc::MAP_SHARED, libc::PROT_READ | libc::PROT_WRITE),
            Share::SharedReadOnly => (libc::MAP_SHARED, libc::PROT_READ),
            Share::Private => (libc::MAP_PRIVATE, libc::PROT_READ | libc::PROT_WRITE),
        };
        let null = std::ptr::null_mut();
        // SAFETY: a new mapping at a place the kernel chooses; it overlaps nothing of ours.
        let start = unsafe { libc::mmap(null, size, access, flags, file.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        Ok(Self { start: start.cast(), size })
    }

    /// A copy of the bytes as they are now.
    pub fn bytes(&self) -> Vec<u8> {
        // SAFETY: the mapping is readable and lives; tests never shrink the file below it.
        (0..self.size).map(|i| unsafe { self.start.add(i).read_volatile() }).collect()
    }

    /// The bytes to write to; only of a writable mapping.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is writable and ours alone in this process.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.size) }
    }

    /// msync(MS_SYNC).
    pub fn sync(&self) -> std::io::Result<()> {
        // SAFETY: the range is the mapping itself.
        match unsafe { libc::msync(self.start.cast(), self.size, libc::MS_SYNC) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: unmaps what `new` mapped; no slice of it outlives self.
        let unmapped = unsafe { libc::munmap(self.start.cast(), self.size) };
        assert_eq!(unmapped, 0, "munmap");
    }
}

#[test]
fn f1_a_shared_mapping_writes_the_file() {
    each(file(pattern(20_000)), |s| {
        let mut wanted = pattern(20_000);
        let open = open_rw(s.path());
        let mut map = Mapping::new(&open, 20_000, Share::Shared);
        assert!(map.bytes() == wanted, "{s}: other data");
        map.bytes_mut()[5000..5003].copy_from_slice(b"MAP");
        wanted[5000..5003].copy_from_slice(b"MAP");
        assert!(fs::read(s.path()).unwrap() == wanted, "{s}: read does not see the mapping");
        map.sync().unwrap();
        s.assert_upper_content(&wanted);
        map.bytes_mut()[19_999] = b'!';
        drop(map);
        drop(open);
        wanted[19_999] = b'!';
        assert!(fs::read(s.path()).unwrap() == wanted, "{s}: lost at munmap");
    });
}

#[test]
fn f1_a_shared_mapping_alone_is_written_back_by_the_unmount() {
    let mut m = mount_objects(file(pattern(10_000)));
    let names = ["lower/obj", "upper/obj", "fresh/obj"];
    for name in names {
        let mut map = Mapping::new(&open_rw(m.join(name)), 10_000, Share::Shared);
        map.bytes_mut()[9_000] = 0xee;
    }
    m.remount(&[]);
    for name in names {
        let data = fs::read(m.join(name)).unwrap();
        assert_eq!((data.len(), data[9_000]), (10_000, 0xee), "{name}");
        assert_eq!(data[8_999], pattern(9_000)[8_999], "{name}");
    }
}

#[test]
fn f1_a_private_mapping_keeps_its_writes_to_itself() {
    each(file(pattern(20_000)), |s| {
        let open = File::open(s.path()).unwrap();
        let mut map = Mapping::new(&open, 20_000, Share::Private);
        map.bytes_mut()[0] = b'!';
        assert_eq!(map.bytes()[0], b'!', "{s}");
        assert!(fs::read(s.path()).unwrap() == pattern(20_000), "{s}: the file changed");
        s.assert_not_copied();
    });
}

#[test]
fn c8_a_mapping_opened_before_the_copy_up_sees_later_writes() {
    let m = mount_objects(file(pattern(20_000)));
    if m.differs_on(&[Target::KernelOverlay], "its old mappings stay with the lower file") {
        return;
    }
    for name in ["lower/obj", "upper/obj", "fresh/obj"] {
        let reader = File::open(m.join(name)).unwrap();
        let map = Mapping::new(&reader, 20_000, Share::SharedReadOnly);
        assert!(map.bytes() == pattern(20_000), "{name}: other data");
        let writer = open_rw(m.join(name));
        writer.write_all_at(b"written", 4090).unwrap();
        assert_eq!(&map.bytes()[4090..4097], b"written", "{name}: the mapping is stale");
        let mut back = [0; 7];
        reader.read_exact_at(&mut back, 4090).unwrap();
        assert_eq!(&back, b"written", "{name}: the old descriptor is stale");
        writer.sync_all().unwrap();
        writer.write_all_at(b"again", 0).unwrap();
        assert_eq!(&map.bytes()[..5], b"again", "{name}: stale after fsync");
    }
}

#[test]
fn f1_write_and_mapping_of_two_processes_see_each_other() {
    each(file(pattern(10_000)), |s| {
        let open = open_rw(s.path());
        let mut map = Mapping::new(&open, 10_000, Share::Shared);
        let path = s.path();
        let child = fork_child(&[], || {
            open_rw(&path).write_all_at(b"child", 100).unwrap();
            0
        });
        assert_eq!(child.wait(), 0, "{s}");
        assert_eq!(&map.bytes()[100..105], b"child", "{s}");
        map.bytes_mut()[200..206].copy_from_slice(b"parent");
        let child = fork_child(&[], || {
            let mut back = [0; 6];
            File::open(&path).unwrap().read_exact_at(&mut back, 200).unwrap();
            i32::from(&back != b"parent")
        });
        assert_eq!(child.wait(), 0, "{s}: the child does not see the mapping's write");
    });
}

#[test]
fn f1_a_mapping_over_a_hole_fills_it() {
    let make = |path: &std::path::Path| {
        write(path, "");
        open_rw(path).set_len(40_000).unwrap();
    };
    each(make, |s| {
        let mut map = Mapping::new(&open_rw(s.path()), 40_000, Share::Shared);
        assert!(map.bytes().iter().all(|byte| *byte == 0), "{s}");
        map.bytes_mut()[20_000] = 7;
        map.sync().unwrap();
        let data = fs::read(s.path()).unwrap();
        assert_eq!((data[20_000], data[19_999], data.len()), (7, 0, 40_000), "{s}");
    });
}

#[test]
fn a3_a_shared_writable_mapping_needs_a_writable_descriptor() {
    each(file("data"), |s| {
        let reader = File::open(s.path()).unwrap();
        let refused = Mapping::try_new(&reader, 4, Share::Shared);
        assert_errno!(refused, Errno::ACCESS, "{s}");
        s.assert_not_copied();
    });
}

#[test]
fn f1_bytes_past_the_end_in_the_last_page_are_zero_and_stay_out_of_the_file() {
    each(file("data"), |s| {
        let open = open_rw(s.path());
        let mut map = Mapping::new(&open, 4096, Share::Shared);
        assert!(map.bytes()[4..].iter().all(|byte| *byte == 0), "{s}");
        map.bytes_mut()[100] = b'!';
        map.sync().unwrap();
        drop(map);
        assert_eq!(fs::read(s.path()).unwrap(), b"data", "{s}");
        open.set_len(200).unwrap();
        assert!(fs::read(s.path()).unwrap()[4..].iter().all(|byte| *byte == 0), "{s}");
    });
}
