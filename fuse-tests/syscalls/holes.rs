//! fallocate, and lseek with SEEK_DATA and SEEK_HOLE.

use super::objects::*;
use crate::harness::*;
use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

const PUNCH: FallocateFlags = FallocateFlags::PUNCH_HOLE.union(FallocateFlags::KEEP_SIZE);

#[test]
fn f2_fallocate_extends_and_allocates() {
    each(file("data"), |s| {
        let open = open_rw(s.path());
        fallocate(&open, FallocateFlags::empty(), 0, MIB).unwrap();
        assert_eq!((s.stat().len(), open.metadata().unwrap().len()), (MIB, MIB), "{s}");
        let wanted: Vec<u8> = b"data".iter().copied().chain(std::iter::repeat(0)).take(1 << 20).collect();
        assert!(fs::read(s.path()).unwrap() == wanted, "{s}: other data");
        if s.m.has_upper() {
            assert!(place::blocks(s.in_upper("obj")) >= 2048, "{s}: not allocated in the upper");
            assert_eq!(lstat(s.in_upper("obj")).len(), MIB, "{s}: size in the upper");
        }
    });
}

#[test]
fn f2_keep_size_allocates_without_extending() {
    each(file("data"), |s| {
        let open = open_rw(s.path());
        fallocate(&open, FallocateFlags::KEEP_SIZE, 0, MIB).unwrap();
        assert_eq!((s.stat().len(), fs::read(s.path()).unwrap()), (4, b"data".to_vec()), "{s}");
        let backing = if s.m.has_upper() { s.in_upper("obj") } else { s.path() };
        assert!(place::blocks(backing) >= 2048, "{s}: not allocated");
    });
}

#[test]
fn f2_punch_hole_reads_back_zero() {
    each(file(pattern(1 << 20)), |s| {
        let open = open_rw(s.path());
        open.write_all_at(b"unsynced", 500 * KIB).unwrap();
        fallocate(&open, PUNCH, 64 * KIB, 512 * KIB).unwrap();
        let mut wanted = pattern(1 << 20);
        wanted[64 << 10..576 << 10].fill(0);
        assert!(fs::read(s.path()).unwrap() == wanted, "{s}: other data");
        assert_eq!(s.stat().len(), MIB, "{s}");
        open.sync_all().unwrap();
        let backing = if s.m.has_upper() { s.in_upper("obj") } else { s.path() };
        assert!(
            place::blocks(&backing) <= 2048 - 1024 + 2 * Filesystem::of_tests().spare_blocks(),
            "{s}: the blocks are still there"
        );
        s.assert_upper_content(&wanted);
    });
}

#[test]
fn f2_punch_hole_off_block_limits_and_past_the_end() {
    each(file(pattern(20_000)), |s| {
        let open = open_rw(s.path());
        fallocate(&open, PUNCH, 100, 9_000).unwrap();
        fallocate(&open, PUNCH, 19_000, 100_000).unwrap();
        let mut wanted = pattern(20_000);
        wanted[100..9_100].fill(0);
        wanted[19_000..].fill(0);
        assert!(fs::read(s.path()).unwrap() == wanted, "{s}: other data");
        open.sync_all().unwrap();
        s.assert_upper_content(&wanted);
    });
}

#[test]
fn f2_zero_range_zeroes_and_may_extend() {
    each(file(pattern(50_000)), |s| {
        let open = open_rw(s.path());
        fallocate(&open, FallocateFlags::ZERO_RANGE, 1_000, 20_000).unwrap();
        let keep = FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE;
        fallocate(&open, keep, 49_000, 10_000).unwrap();
        assert_eq!(s.stat().len(), 50_000, "{s}");
        fallocate(&open, FallocateFlags::ZERO_RANGE, 60_000, 10_000).unwrap();
        let mut wanted = pattern(50_000);
        wanted[1_000..21_000].fill(0);
        wanted[49_000..].fill(0);
        wanted.resize(70_000, 0);
        assert!(fs::read(s.path()).unwrap() == wanted, "{s}: other data");
        open.sync_all().unwrap();
        s.assert_upper_content(&wanted);
    });
}

#[test]
fn f2_errnos_of_fallocate() {
    each(file(pattern(50_000)), |s| {
        let none = FallocateFlags::empty();
        let reader = File::open(s.path()).unwrap();
        assert_errno!(fallocate(&reader, none, 0, 10), Errno::BADF, "{s}");
        let writer = open_rw(s.path());
        assert_errno!(fallocate(&writer, none, 0, 0), Errno::INVAL, "{s}");
        let alone = fallocate(&writer, FallocateFlags::PUNCH_HOLE, 0, 4096);
        assert_errno!(alone, Errno::OPNOTSUPP, "{s}: PUNCH_HOLE without KEEP_SIZE");
        let differs = [Target::Plain, Target::KernelOverlay];
        if !s.m.differs_on(&differs, "ext4 can collapse and insert") {
            for flag in [FallocateFlags::COLLAPSE_RANGE, FallocateFlags::INSERT_RANGE] {
                assert_errno!(fallocate(&writer, flag, 0, 4096), Errno::OPNOTSUPP, "{s} {flag:?}");
            }
            let unshare = fallocate(&writer, FallocateFlags::UNSHARE_RANGE, 0, 4096);
            assert_errno!(unshare, Errno::OPNOTSUPP, "{s}");
        }
        assert!(fs::read(s.path()).unwrap() == pattern(50_000), "{s}: the data changed");
    });
}

/// Data at 0 and at 1 MiB, a hole between them and one after.
fn sparse(path: &Path) {
    write(path, pattern(4096));
    let open = open_rw(path);
    open.write_all_at(&pattern(4096), MIB).unwrap();
    open.set_len(2 * MIB).unwrap();
    open.sync_all().unwrap();
}

#[test]
fn f3_seek_data_and_hole_show_the_holes() {
    each(sparse, |s| {
        let check = |open: &File| {
            let data = |at| seek(open, SeekFrom::Data(at));
            let hole = |at| seek(open, SeekFrom::Hole(at));
            assert_eq!((data(0), hole(0)), (Ok(0), Ok(4096)), "{s}");
            assert_eq!((data(4096), hole(4096)), (Ok(MIB), Ok(4096)), "{s}");
            assert_eq!((data(MIB + 5), hole(MIB + 5)), (Ok(MIB + 5), Ok(MIB + 4096)), "{s}");
            assert_errno!(data(MIB + 4096), Errno::NXIO, "{s}: only a hole follows");
            assert_eq!(hole(2 * MIB - 1), Ok(2 * MIB - 1), "{s}");
            assert_errno!(data(2 * MIB), Errno::NXIO, "{s}: at the end");
            assert_errno!(hole(2 * MIB), Errno::NXIO, "{s}: at the end");
        };
        check(&File::open(s.path()).unwrap());
        s.assert_not_copied();
        chmod(&s.path(), 0o600);
        check(&File::open(s.path()).unwrap());
        if s.loses_holes() {
            return open_rw(s.path()).write_all_at(b"x", 100).unwrap();
        }
        open_rw(s.path()).write_all_at(b"x", 100).unwrap();
        check(&File::open(s.path()).unwrap());
    });
}

#[test]
fn f3_data_just_written_is_found_before_it_is_synced() {
    each(sparse, |s| {
        let open = open_rw(s.path());
        open.write_all_at(&pattern(4096), 512 * KIB).unwrap();
        if !s.loses_holes() {
            assert_eq!(seek(&open, SeekFrom::Data(4096)), Ok(512 * KIB), "{s}");
            assert_eq!(seek(&open, SeekFrom::Hole(512 * KIB)), Ok(516 * KIB), "{s}");
        }
        open.write_all_at(b"end", 3 * MIB).unwrap();
        assert_eq!(seek(&open, SeekFrom::Data(2 * MIB)), Ok(3 * MIB), "{s}");
        assert_eq!(seek(&open, SeekFrom::Hole(3 * MIB)), Ok(3 * MIB + 3), "{s}");
        assert_eq!(seek(&open, SeekFrom::End(0)), Ok(3 * MIB + 3), "{s}");
    });
}

#[test]
fn f3_a_dense_file_ends_with_a_hole_and_a_punched_one_shows_it() {
    each(file(pattern(1 << 20)), |s| {
        let open = open_rw(s.path());
        assert_eq!(seek(&open, SeekFrom::Hole(0)), Ok(MIB), "{s}");
        fallocate(&open, PUNCH, 256 * KIB, 256 * KIB).unwrap();
        assert_eq!(seek(&open, SeekFrom::Hole(0)), Ok(256 * KIB), "{s}");
        assert_eq!(seek(&open, SeekFrom::Data(256 * KIB)), Ok(512 * KIB), "{s}");
    });
    each(file(""), |s| {
        let open = File::open(s.path()).unwrap();
        assert_errno!(seek(&open, SeekFrom::Data(0)), Errno::NXIO, "{s}");
        assert_errno!(seek(&open, SeekFrom::Hole(0)), Errno::NXIO, "{s}");
    });
}

#[test]
fn c2_a_copy_keeps_the_holes() {
    each(sparse, |s| {
        let before = s.stat();
        open_rw(s.path()).write_all_at(b"x", 1).unwrap();
        File::open(s.path()).unwrap().sync_all().unwrap();
        let backing = if s.m.has_upper() { s.in_upper("obj") } else { s.path() };
        assert!(
            s.loses_holes()
                || place::blocks(&backing) <= before.blocks().max(16) + Filesystem::of_tests().spare_blocks(),
            "{s}: filled"
        );
        let mut wanted = vec![0; 2 << 20];
        wanted[..4096].copy_from_slice(&pattern(4096));
        wanted[1 << 20..(1 << 20) + 4096].copy_from_slice(&pattern(4096));
        wanted[1] = b'x';
        assert!(fs::read(s.path()).unwrap() == wanted, "{s}: other data");
    });
}
