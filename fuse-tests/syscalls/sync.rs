//! fsync of files and directories, syncfs, statfs.

use super::objects::*;
use crate::harness::*;
use rustix::fs::{statvfs, syncfs};
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::time::Duration;

#[test]
fn f4_after_fsync_the_upper_has_the_bytes_size_and_times() {
    each(file(pattern(10_000)), |s| {
        let open = open_rw(s.path());
        open.write_all_at(b"synced", 8_000).unwrap();
        open.write_all_at(b"end", 20_000).unwrap();
        open.sync_all().unwrap();
        let mut wanted = pattern(10_000);
        wanted[8_000..8_006].copy_from_slice(b"synced");
        wanted.resize(20_000, 0);
        wanted.extend(b"end");
        s.assert_upper_content(&wanted);
        if s.m.has_upper() {
            let (merged, upper) = (s.stat(), lstat(s.in_upper("obj")));
            assert_eq!(merged.mtime(), upper.mtime(), "{s}");
            assert_eq!(merged.mtime_nsec(), upper.mtime_nsec(), "{s}");
        }
    });
}

#[test]
fn f4_fdatasync_syncfs_and_another_descriptors_fsync_write_the_data_too() {
    each(file("data"), |s| {
        let open = open_rw(s.path());
        open.write_all_at(b"1111", 0).unwrap();
        open.sync_data().unwrap();
        s.assert_upper_content("1111");
        open.write_all_at(b"2222", 0).unwrap();
        File::open(s.path()).unwrap().sync_all().unwrap();
        s.assert_upper_content("2222");
        open.write_all_at(b"3333", 0).unwrap();
        syncfs(File::open(s.dir()).unwrap()).unwrap();
        s.assert_upper_content("3333");
    });
}

#[test]
fn f4_fsync_of_unchanged_files_and_directories_succeeds_and_copies_nothing() {
    each(tree, |s| {
        for name in ["", "f", "d", "d/g"] {
            let open = File::open(s.path().join(name)).unwrap();
            open.sync_all().unwrap();
            open.sync_data().unwrap();
        }
        File::open(s.m.path()).unwrap().sync_all().unwrap();
        s.assert_not_copied();
    });
}

#[test]
fn f4_fsync_of_a_directory_after_changes_in_it() {
    each(tree, |s| {
        let dir = File::open(s.path()).unwrap();
        fs::remove_file(s.path().join("f")).unwrap();
        fs::write(s.path().join("new"), "new").unwrap();
        dir.sync_all().unwrap();
        s.assert_removed("obj/f");
        s.m.assert_upper(s.path().join("new").strip_prefix(s.m.path()).unwrap());
    });
}

#[test]
fn f4_volatile_and_fsync_0_answer_success() {
    for options in [["volatile"], ["fsync=0"]] {
        let stack = Stack::new(1);
        write(stack.lower(0).join("f"), "data");
        let mut m = stack.mount(&options);
        if m.differs_on(&[Target::KernelOverlay], "volatile leaves a mark that bars a remount") {
            return;
        }
        let mut open = open_append(m.join("f"));
        open.write_all(b" more").unwrap();
        open.sync_all().unwrap();
        File::open(m.path()).unwrap().sync_all().unwrap();
        drop(open);
        m.remount(&options);
        assert_eq!(fs::read(m.join("f")).unwrap(), b"data more", "{options:?}");
    }
}

#[test]
fn m4_fsync_in_a_read_only_mount_succeeds() {
    let stack = Stack::read_only(2);
    write(stack.lower(1).join("d/f"), "data");
    let m = stack.mount(&[]);
    for name in ["", "d", "d/f"] {
        File::open(m.join(name)).unwrap().sync_all().unwrap();
    }
}

#[test]
fn a9_statfs_answers_for_the_uppers_filesystem() {
    let stack = Stack::new(2);
    write(stack.lower(1).join("d/f"), "data");
    let m = stack.mount(&[]);
    for path in [m.path().to_owned(), m.join("d"), m.join("d/f")] {
        let (shown, upper) = (statvfs(&path).unwrap(), statvfs(stack.upper()).unwrap());
        assert_eq!((shown.f_blocks, shown.f_files), (upper.f_blocks, upper.f_files));
        assert_eq!((shown.f_frsize, shown.f_namemax), (upper.f_frsize, 255));
        let difference = shown.f_bfree.abs_diff(upper.f_bfree) * upper.f_frsize;
        assert!(difference < 1 << 30, "free space differs by {difference}");
    }
}

#[test]
fn a9_statfs_of_a_read_only_mount_answers_for_the_top_lower() {
    let stack = Stack::read_only(2);
    let small = Tmpfs::at(stack.lower(0), "size=1m");
    write(stack.lower(0).join("top"), "data");
    write(stack.lower(1).join("d/f"), "data");
    let m = stack.mount(&[]);
    if !m.differs_on(&[Target::Plain], "there are no layers") {
        for name in ["", "top", "d", "d/f"] {
            let shown = statvfs(m.join(name)).unwrap();
            assert_eq!(shown.f_blocks * shown.f_frsize, 1 << 20, "/{name}");
        }
    }
    m.umount();
    drop(small);
}

#[test]
fn f6_a_full_upper_is_reported_by_write_or_fsync_and_the_mount_goes_on() {
    let stack = Stack::new(1);
    let small = stack.base().join("small");
    let tmpfs = Tmpfs::at(&small, "size=1m");
    let upper = small.join("u");
    fs::create_dir(&upper).unwrap();
    fs::create_dir(small.join("w")).unwrap();
    write(stack.lower(0).join("old"), "data");
    let m = match Target::chosen() {
        Target::Layerfs => Some(mount_upper_below(&stack, &small)),
        // The other targets prove the expectations on the tmpfs itself.
        _ => None,
    };
    let root = if m.is_some() { stack.mnt().to_owned() } else { upper };
    for name in ["new", "old"] {
        let mut open = File::options().create(true).append(true).open(root.join(name)).unwrap();
        let full = open.write_all(&pattern(3 << 20)).and_then(|()| open.sync_all());
        assert_errno!(full, Errno::NOSPC, "{name}");
        drop(open);
        fs::remove_file(root.join(name)).unwrap();
        // The blocks of a removed file come back when the kernel forgets it, which no call awaits.
        let room = || {
            fs::write(root.join("after"), "room again").is_ok()
                && File::open(root.join("after")).is_ok_and(|open| open.sync_all().is_ok())
        };
        assert!(wait_until(Duration::from_secs(5), room), "{name}: still full");
        assert_eq!(fs::read(root.join("after")).unwrap(), b"room again", "{name}");
    }
    drop(m);
    drop(tmpfs);
}

/// Mounts layerfs with `u` and `w` of this directory as upper and workdir.
fn mount_upper_below(stack: &Stack, dir: &Path) -> Mount {
    let (lower, dir) = (stack.lower(0).display(), dir.display());
    let options = format!("lowerdir={lower},upperdir={dir}/u,workdir={dir}/w");
    let mut command = layerfs_command();
    command.arg(stack.mnt()).arg("-o").arg(options);
    stack.adopt(run(&mut command, Duration::from_secs(20)))
}
