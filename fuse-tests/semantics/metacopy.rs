//! C4, C5 and U12: copies of attributes alone, and when the data follows.

use super::*;
use crate::harness::{Errno, Target, assert_errno, place, write};
use rustix::fs::{AtFlags, CWD, Gid, SeekFrom, Uid};
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileExt as _, PermissionsExt as _};

const SIZE: usize = 1 << 20;

fn content() -> Vec<u8> {
    (0..SIZE).map(|i| (i % 251) as u8 + 1).collect()
}

/// What changes attributes of a file alone.
const CHANGES: [Change; 4] = [
    ("chmod", |path| fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap()),
    ("chown", |path| {
        rustix::fs::chown(path, Some(Uid::from_raw(7)), Some(Gid::from_raw(8))).unwrap();
    }),
    ("utimes", |path| set_times(path, LONG_AGO)),
    ("setxattr", |path| xattr::lset(path, "user.new", b"1").unwrap()),
];

fn big_files() -> Stack {
    let stack = Stack::new(1);
    for (name, _) in CHANGES {
        write(stack.lower(0).join("d").join(name), content());
    }
    stack
}

/// Whether the file holds no data at all, whatever its size says.
fn holds_no_data(path: &Path) -> bool {
    let seek = rustix::fs::seek(File::open(path).unwrap(), SeekFrom::Data(0));
    // Xattrs that do not fit into the inode may take one block of 4 KiB.
    seek == Err(Errno::NXIO) && place::blocks(path) <= 8
}

#[test]
fn c4_a_change_of_attributes_alone_copies_no_data() {
    let stack = big_files();
    let mut m = stack.mount(&[]);
    for (name, change) in CHANGES {
        change(&m.join("d").join(name));
    }
    twice(&mut m, |m| {
        for (name, _) in CHANGES {
            let upper = stack.upper().join("d").join(name);
            assert!(place::is_metacopy(&upper), "{name}");
            assert!(holds_no_data(&upper), "{name}: {} blocks", place::blocks(&upper));
            assert_eq!(lstat(&upper).len(), SIZE as u64, "{name}");
            assert!(fs::read(m.join("d").join(name)).unwrap() == content(), "{name}: data");
        }
        assert_eq!(lstat(m.join("d/chmod")).mode() & 0o7777, 0o600);
        let owner = lstat(m.join("d/chown"));
        assert_eq!((owner.uid(), owner.gid()), (7, 8));
        assert_eq!(mtime(m.join("d/utimes")), (LONG_AGO.tv_sec, LONG_AGO.tv_nsec));
        assert_eq!(xattr::lget(m.join("d/setxattr"), "user.new").unwrap(), b"1");
    });
}

#[test]
fn c4_metacopy_off_copies_the_data() {
    let stack = big_files();
    let mut m = stack.mount(&["metacopy=off"]);
    for (name, change) in CHANGES {
        change(&m.join("d").join(name));
        let upper = stack.upper().join("d").join(name);
        assert!(!place::is_metacopy(&upper), "{name}");
        assert!(fs::read(&upper).unwrap() == content(), "{name}");
    }
    m.remount(&["metacopy=off"]);
    for (name, _) in CHANGES {
        assert!(fs::read(m.join("d").join(name)).unwrap() == content(), "{name}");
    }
}

#[test]
fn c4_many_changes_of_attributes_keep_it_without_data() {
    let stack = Stack::new(1);
    write(stack.lower(0).join("file"), content());
    let mut m = stack.mount(&[]);
    for _ in 0..2 {
        for (_, change) in CHANGES {
            change(&m.join("file"));
        }
        xattr::lremove(m.join("file"), "user.new").unwrap();
        m.remount(&[]);
        assert!(holds_no_data(&stack.upper().join("file")));
        assert!(fs::read(m.join("file")).unwrap() == content());
    }
    assert_eq!(lstat(m.join("file")).blocks(), place::blocks(stack.lower(0).join("file")));
}

#[test]
fn c5_the_first_write_brings_the_data_and_keeps_the_new_attributes() {
    let stack = big_files();
    let mut m = stack.mount(&[]);
    for (name, change) in CHANGES {
        change(&m.join("d").join(name));
    }
    let numbers: Vec<u64> = CHANGES.iter().map(|(n, _)| ino(m.join("d").join(n))).collect();
    m.remount(&[]);
    let mut expected = content();
    expected[500_000..500_005].copy_from_slice(b"write");
    for (name, _) in CHANGES {
        let file = OpenOptions::new().write(true).open(m.join("d").join(name)).unwrap();
        file.write_all_at(b"write", 500_000).unwrap();
        file.sync_all().unwrap();
    }
    twice(&mut m, |m| {
        for ((name, _), number) in CHANGES.iter().zip(&numbers) {
            let upper = stack.upper().join("d").join(name);
            assert!(!place::is_metacopy(&upper), "{name}");
            assert!(place::redirect(&upper).is_none(), "{name}");
            assert!(fs::read(&upper).unwrap() == expected, "{name} in the upper");
            assert!(fs::read(m.join("d").join(name)).unwrap() == expected, "{name}");
            assert_eq!(ino(m.join("d").join(name)), *number, "{name}");
        }
        assert_eq!(lstat(m.join("d/chmod")).mode() & 0o7777, 0o600);
        assert_eq!(lstat(m.join("d/chown")).uid(), 7);
        assert_eq!(xattr::lget(m.join("d/setxattr"), "user.new").unwrap(), b"1");
    });
}

#[test]
fn c5_r2_a_metacopied_file_finds_its_data_after_renames_and_is_written_then() {
    let stack = Stack::new(2);
    write(stack.lower(1).join("d/e/file"), content());
    write(stack.lower(0).join("d/x"), "x");
    let mut m = stack.mount(&[]);
    fs::rename(m.join("d/e/file"), m.join("d/moved")).unwrap();
    twice(&mut m, |m| {
        let upper = stack.upper().join("d/moved");
        assert!(place::is_metacopy(&upper) && holds_no_data(&upper));
        assert!(fs::read(m.join("d/moved")).unwrap() == content());
    });
    fs::rename(m.join("d"), m.join("top")).unwrap();
    fs::rename(m.join("top/moved"), m.join("again")).unwrap();
    fs::remove_dir_all(m.join("top/e")).unwrap();
    fs::create_dir_all(m.join("d/e")).unwrap();
    fs::write(m.join("d/e/file"), "another of the old name").unwrap();
    twice(&mut m, |m| {
        assert!(holds_no_data(&stack.upper().join("again")));
        assert!(fs::read(m.join("again")).unwrap() == content());
        assert_eq!(text(m.join("d/e/file")), "another of the old name");
    });
    OpenOptions::new().append(true).open(m.join("again")).unwrap().set_len(10).unwrap();
    twice(&mut m, |m| assert_eq!(fs::read(m.join("again")).unwrap(), content()[..10]));
}

#[test]
fn u12_a_metacopy_shows_its_own_attributes_and_the_data_below() {
    let stack = Stack::new(3);
    write(stack.lower(2).join("same"), content());
    write(stack.lower(2).join("old/name"), content());
    xattr::lset(stack.lower(2).join("same"), "user.below", b"hidden").unwrap();
    for (layer, path) in [(1, "same"), (0, "same"), (1, "new")] {
        let path = stack.lower(layer).join(path);
        write(&path, "");
        OpenOptions::new().write(true).open(&path).unwrap().set_len(SIZE as u64).unwrap();
        mark(&path, "metacopy", "");
        xattr::lset(&path, "user.layer", layer.to_string().as_bytes()).unwrap();
        set_times(&path, LONG_AGO);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640 + layer as u32)).unwrap();
    }
    mark(stack.lower(1).join("new"), "redirect", "/old/name");
    let mut m = stack.mount(&[]);
    twice(&mut m, |m| {
        for (name, layer) in [("same", 0), ("new", 1)] {
            let meta = lstat(m.join(name));
            assert_eq!(meta.mode() & 0o7777, 0o640 + layer, "{name}");
            assert_eq!(mtime(m.join(name)), (LONG_AGO.tv_sec, LONG_AGO.tv_nsec), "{name}");
            assert_eq!(xattr::llist(m.join(name)).unwrap(), ["user.layer"], "{name}");
            assert!(fs::read(m.join(name)).unwrap() == content(), "{name}");
        }
    });
    // The change of a metacopied lower file: attributes again, then data.
    fs::set_permissions(m.join("new"), fs::Permissions::from_mode(0o600)).unwrap();
    twice(&mut m, |m| {
        assert!(holds_no_data(&stack.upper().join("new")));
        assert!(fs::read(m.join("new")).unwrap() == content());
    });
    for name in ["new", "same"] {
        let file = OpenOptions::new().write(true).open(m.join(name)).unwrap();
        file.write_all_at(b"xyz", 0).unwrap();
    }
    twice(&mut m, |m| {
        for name in ["new", "same"] {
            let data = fs::read(m.join(name)).unwrap();
            assert!(data[..3] == *b"xyz" && data[3..] == content()[3..], "{name}");
            assert!(!place::is_metacopy(stack.upper().join(name)), "{name}");
        }
    });
}

#[test]
fn u12_a_metacopy_without_data_below_is_shown_and_answers_eio_for_its_data() {
    let stack = Stack::new(2);
    write(stack.lower(0).join("lost"), "");
    mark(stack.lower(0).join("lost"), "metacopy", "");
    xattr::lset(stack.lower(0).join("lost"), "user.kept", b"1").unwrap();
    OpenOptions::new().write(true).open(stack.lower(0).join("lost")).unwrap().set_len(9).unwrap();
    fill(stack.lower(1), &["other"]);
    let mut m = stack.mount(&[]);
    if m.differs_on(&[Target::KernelOverlay], "the kernel refuses the lookup") {
        return;
    }
    twice(&mut m, |m| {
        assert_eq!(names(m.path()), ["lost", "other"]);
        assert_eq!(lstat(m.join("lost")).len(), 9);
        assert_eq!(xattr::lget(m.join("lost"), "user.kept").unwrap(), b"1");
        assert_errno!(fs::read(m.join("lost")), Errno::IO);
    });
    fs::remove_file(m.join("lost")).unwrap();
    twice(&mut m, |m| assert_eq!(names(m.path()), ["other"]));
}

#[test]
fn u12_r2_a_metacopy_without_data_below_does_not_get_that_of_its_name_when_it_moves() {
    let stack = Stack::new(1);
    fill(stack.lower(0), &["d/lost"]);
    fill(stack.upper(), &["d/lost"]);
    mark(stack.upper().join("d/lost"), "metacopy", "");
    mark(stack.upper().join("d/lost"), "redirect", "/gone/name");
    let mut m = stack.mount(&[]);
    if m.differs_on(&[Target::KernelOverlay], "the kernel refuses the lookup") {
        return;
    }
    assert_errno!(fs::read(m.join("d/lost")), Errno::IO);
    fs::rename(m.join("d/lost"), m.join("moved")).unwrap();
    twice(&mut m, |m| {
        assert_eq!(names(m.path()), ["d", "moved"]);
        assert_errno!(fs::read(m.join("moved")), Errno::IO);
        assert_eq!(place::redirect(stack.upper().join("moved")).unwrap(), b"/gone/name");
    });
}

/// By an open descriptor, as `ln -L /proc/self/fd/N` does, of an ordinary file and of one in the index.
#[test]
fn c5_r2_a_file_that_is_linked_when_no_name_of_it_is_known_keeps_its_data() {
    let stack = Stack::new(1);
    for name in ["one", "several"] {
        write(stack.lower(0).join(name), content());
    }
    fs::create_dir(stack.lower(0).join("d")).unwrap();
    fs::hard_link(stack.lower(0).join("several"), stack.lower(0).join("d/several")).unwrap();
    let mut m = stack.mount(&[]);
    for name in ["one", "several"] {
        fs::set_permissions(m.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    }
    fs::hard_link(m.join("one"), m.join("d/one")).unwrap();
    // What is in `d` is not looked up.
    m.remount(&[]);
    for name in ["one", "several"] {
        let file = File::open(m.join(name)).unwrap();
        fs::remove_file(m.join(name)).unwrap();
        let held = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::linkat(CWD, held, CWD, m.join(name).with_extension("new"), AtFlags::SYMLINK_FOLLOW)
            .unwrap();
    }
    twice(&mut m, |m| {
        for name in ["one.new", "several.new", "d/one", "d/several"] {
            assert!(fs::read(m.join(name)).unwrap() == content(), "{name}");
            assert_eq!(lstat(m.join(name)).mode() & 0o7777, 0o600, "{name}");
        }
        assert_eq!(ino(m.join("one.new")), ino(m.join("d/one")));
        assert_eq!(ino(m.join("several.new")), ino(m.join("d/several")));
    });
}
