//! C8 and R7: descriptors and mappings that were made before a change.

#![allow(unsafe_code)]

use super::*;
use crate::harness::{Target, write};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

const SIZE: usize = 3 * 4096;

/// A shared mapping of the start of a file, for reading.
struct Mapping(*mut libc::c_void);

impl Mapping {
    fn of(file: &File) -> Mapping {
        let (read, shared) = (libc::PROT_READ, libc::MAP_SHARED);
        // SAFETY: a new mapping at an address that the kernel chooses; the file is SIZE long.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), SIZE, read, shared, file.as_raw_fd(), 0) };
        assert!(at != libc::MAP_FAILED, "mmap");
        Mapping(at)
    }

    fn byte(&self, at: usize) -> u8 {
        assert!(at < SIZE);
        // SAFETY: within the mapping, whose file is never made shorter in these tests.
        unsafe { self.0.cast::<u8>().add(at).read_volatile() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: unmaps what `of` mapped; no reference into it outlives it.
        unsafe { libc::munmap(self.0, SIZE) };
    }
}

fn byte(file: &File, at: u64) -> u8 {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    byte[0]
}

#[test]
fn c8_a_descriptor_opened_before_the_copy_up_shows_what_is_written_after_it() {
    let stack = Stack::new(1);
    write(stack.lower(0).join("file"), vec![b'o'; SIZE]);
    let mut m = stack.mount(&[]);
    let before = File::open(m.join("file")).unwrap();
    let unread = File::open(m.join("file")).unwrap();
    assert_eq!(byte(&before, 0), b'o');
    let writer = OpenOptions::new().write(true).open(m.join("file")).unwrap();
    writer.write_all_at(b"N", 0).unwrap();
    writer.write_all_at(b"N", 5000).unwrap();
    for file in [&before, &unread] {
        assert_eq!([byte(file, 0), byte(file, 1), byte(file, 5000)], *b"NoN");
    }
    writer.set_len(SIZE as u64 + 10).unwrap();
    assert_eq!(before.metadata().unwrap().len(), SIZE as u64 + 10);
    assert_eq!(before.metadata().unwrap().ino(), ino(m.join("file")));
    drop((before, unread, writer));
    twice(&mut m, |m| assert_eq!(fs::read(m.join("file")).unwrap()[5000], b'N'));
}

#[test]
fn c8_a_mapping_made_before_the_copy_up_shows_what_is_written_after_it() {
    let stack = Stack::new(1);
    write(stack.lower(0).join("file"), vec![b'o'; SIZE]);
    let m = stack.mount(&[]);
    if m.differs_on(&[Target::KernelOverlay], "the kernel's mapping stays with the lower file") {
        return;
    }
    let reader = File::open(m.join("file")).unwrap();
    let mapping = Mapping::of(&reader);
    assert_eq!(mapping.byte(0), b'o');
    drop(reader);
    let writer = OpenOptions::new().write(true).open(m.join("file")).unwrap();
    writer.write_all_at(b"N", 0).unwrap();
    writer.write_all_at(b"N", 9000).unwrap();
    assert_eq!([mapping.byte(0), mapping.byte(1), mapping.byte(9000)], *b"NoN");
    fs::set_permissions(m.join("file"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(m.join("file"), m.join("renamed")).unwrap();
    writer.write_all_at(b"R", 1).unwrap();
    assert_eq!(mapping.byte(1), b'R');
    fs::remove_file(m.join("renamed")).unwrap();
    writer.write_all_at(b"U", 2).unwrap();
    assert_eq!(mapping.byte(2), b'U');
}

#[test]
fn c8_each_way_to_copy_up_keeps_descriptors_true() {
    let changes: [Change; 5] = [
        ("chmod", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap()),
        ("link", |path| fs::hard_link(path, path.with_extension("link")).unwrap()),
        ("rename", |path| {
            fs::rename(path, path.with_extension("there")).unwrap();
            fs::rename(path.with_extension("there"), path).unwrap();
        }),
        ("setxattr", |path| xattr::lset(path, "user.a", b"1").unwrap()),
        ("utimes", |path| set_times(path, LONG_AGO)),
    ];
    let stack = Stack::new(1);
    for (name, _) in changes {
        write(stack.lower(0).join(name), vec![b'o'; SIZE]);
    }
    let m = stack.mount(&[]);
    for (name, change) in changes {
        let reader = File::open(m.join(name)).unwrap();
        let both = OpenOptions::new().read(true).write(true).open(m.join(name)).unwrap();
        change(&m.join(name));
        assert_eq!(byte(&reader, 7), b'o', "{name}");
        both.write_all_at(b"N", 7).unwrap();
        assert_eq!((byte(&reader, 7), byte(&both, 7)), (b'N', b'N'), "{name}");
        assert_eq!(fs::read(m.join(name)).unwrap()[7], b'N', "{name}");
        let later = OpenOptions::new().write(true).open(m.join(name)).unwrap();
        later.write_all_at(b"L", 8).unwrap();
        assert_eq!((byte(&reader, 8), byte(&both, 8)), (b'L', b'L'), "{name}");
    }
}

#[test]
fn r7_open_descriptors_stay_through_renames_of_the_file_and_its_ancestors() {
    let stack = stack_with(&["a/b/file", "a/b/other"]);
    let mut m = stack.mount(&[]);
    let file = OpenOptions::new().read(true).write(true).open(m.join("a/b/file")).unwrap();
    let dir = File::open(m.join("a/b")).unwrap();
    let number = file.metadata().unwrap().ino();
    fs::rename(m.join("a"), m.join("c")).unwrap();
    file.write_all_at(b"1", 0).unwrap();
    fs::rename(m.join("c/b/file"), m.join("c/file")).unwrap();
    file.write_all_at(b"2", 1).unwrap();
    fs::rename(m.join("c/b"), m.join("b")).unwrap();
    assert_eq!(file.metadata().unwrap().ino(), number);
    assert_eq!(ino(m.join("c/file")), number);
    assert_eq!(dir.metadata().unwrap().ino(), ino(m.join("b")));
    let through_dir = rustix::fs::openat(&dir, "other", OFlags::RDONLY, Mode::empty()).unwrap();
    assert_eq!(File::from(through_dir).metadata().unwrap().ino(), ino(m.join("b/other")));
    drop((file, dir));
    twice(&mut m, |m| {
        assert_eq!(paths(m.path()), "b b/other c c/file");
        assert_eq!(text(m.join("c/file")), "12b/file");
    });
}
