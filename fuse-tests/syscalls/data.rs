//! read and write: positions, appends, sizes, large offsets, several processes.

use super::objects::*;
use crate::harness::*;
use std::fs::{self, File};
use std::io::{IoSlice, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::FileExt as _;

const GIB: u64 = 1 << 30;

#[test]
fn c1_a_write_changes_only_its_bytes_wherever_it_falls() {
    let data = pattern(50_000);
    for at in [0, 1, 4095, 4096, 25_000, 49_999, 50_000, 60_000] {
        each(file(&data), |s| {
            let mut wanted = data.clone();
            wanted.resize(wanted.len().max(at + 3), 0);
            wanted[at..at + 3].copy_from_slice(b"NEW");
            let open = open_rw(s.path());
            open.write_all_at(b"NEW", at as u64).unwrap();
            assert_eq!(s.stat().len(), wanted.len() as u64, "{s} {at}: size at once");
            assert!(fs::read(s.path()).unwrap() == wanted, "{s} {at}: other data");
            open.sync_all().unwrap();
            s.assert_upper_content(&wanted);
        });
    }
}

#[test]
fn f1_writes_of_all_sizes_match_a_model() {
    each(file(pattern(70_000)), |s| {
        let open = open_rw(s.path());
        let mut model = pattern(70_000);
        let steps = [(0, 1), (4090, 12), (8192, 4096), (3, 131_072), (1_000_000, 300_001)];
        for (step, (at, size)) in steps.into_iter().enumerate() {
            let bytes: Vec<u8> = (0..size).map(|i| (i % 7 + step * 31) as u8).collect();
            model.resize(model.len().max(at + size), 0);
            model[at..at + size].copy_from_slice(&bytes);
            open.write_all_at(&bytes, at as u64).unwrap();
            assert!(fs::read(s.path()).unwrap() == model, "{s}: other data after step {step}");
        }
        for (at, size) in [(0, 10), (4095, 2), (65_536, 131_073), (1_299_990, 11)] {
            let mut back = vec![0; size];
            open.read_exact_at(&mut back, at as u64).unwrap();
            assert!(back == model[at..at + size], "{s}: read of {size} at {at}");
        }
    });
}

#[test]
fn f1_reads_at_and_past_the_end() {
    each(file("data"), |s| {
        let mut open = File::open(s.path()).unwrap();
        let mut room = [0; 10];
        assert_eq!(open.read_at(&mut room, 2).unwrap(), 2, "{s}");
        assert_eq!(open.read_at(&mut room, 4).unwrap(), 0, "{s}");
        assert_eq!(open.read_at(&mut room, 1 << 40).unwrap(), 0, "{s}");
        assert_errno!(open.read_at(&mut room, u64::MAX), Errno::INVAL, "{s}");
        open.seek(SeekFrom::End(-1)).unwrap();
        let mut rest = String::new();
        open.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "a", "{s}");
        assert_errno!(open.seek(SeekFrom::Current(-10)), Errno::INVAL, "{s}");
        s.assert_not_copied();
    });
}

#[test]
fn f1_vectored_writes_and_reads() {
    each(file("0123456789"), |s| {
        let mut open = open_rw(s.path());
        let parts = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
        assert_eq!(open.write_vectored(&parts).unwrap(), 5, "{s}");
        assert_eq!(open.stream_position().unwrap(), 5, "{s}");
        assert_eq!(fs::read(s.path()).unwrap(), b"abcde56789", "{s}");
    });
}

#[test]
fn f1_append_goes_to_the_end_whatever_the_position() {
    each(file("data"), |s| {
        let mut open = open_append(s.path());
        open.rewind().unwrap();
        open.write_all(b" one").unwrap();
        open_rw(s.path()).write_all_at(b"!", 20).unwrap();
        open.write_all(b" two").unwrap();
        // Linux appends even where pwrite names an offset.
        open.write_all_at(b" three", 0).unwrap();
        let wanted = b"data one\0\0\0\0\0\0\0\0\0\0\0\0! two three";
        assert_eq!(fs::read(s.path()).unwrap(), wanted, "{s}");
        open.sync_all().unwrap();
        s.assert_upper_content(wanted);
    });
}

#[test]
fn f1_two_processes_append_without_losing_or_tearing_a_record() {
    each(file("0000-first-record\n"), |s| {
        let path = s.path();
        let appender = |letter: char| {
            fork_child(&[], || {
                let mut open = open_append(&path);
                for number in 0..300 {
                    let record = format!("{number:04}-{}\n", letter.to_string().repeat(12));
                    open.write_all(record.as_bytes()).unwrap();
                }
                0
            })
        };
        let children = [appender('a'), appender('b')];
        for child in children {
            assert_eq!(child.wait(), 0, "{s}");
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.lines().all(|line| line.len() == 17), "{s}: a torn record");
        for letter in ["a", "b"] {
            let mine: Vec<&str> = text.lines().filter(|line| line.ends_with(letter)).collect();
            assert_eq!(mine.len(), 300, "{s}: lost records of {letter}");
            assert!(mine.is_sorted(), "{s}: records out of order");
        }
        assert_eq!(text.lines().count(), 601, "{s}");
        // The order of the records is chance; what is compared afterwards must not be.
        fs::write(&path, "done").unwrap();
    });
}

#[test]
fn f1_offsets_beyond_4_gib() {
    each(file("start"), |s| {
        let open = open_rw(s.path());
        for at in [4 * GIB - 2, 5 * GIB, 100 * GIB + 1] {
            open.write_all_at(b"far away", at).unwrap();
            let mut back = [0; 8];
            open.read_exact_at(&mut back, at).unwrap();
            assert_eq!(&back, b"far away", "{s} {at}");
            assert_eq!(s.stat().len(), at + 8, "{s}");
        }
        let mut zeros = [1; 8];
        open.read_exact_at(&mut zeros, 3 * GIB).unwrap();
        assert_eq!(zeros, [0; 8], "{s}");
        let mut start = [0; 6];
        open.read_exact_at(&mut start, 0).unwrap();
        assert_eq!(&start, b"start\0", "{s}");
        open.sync_all().unwrap();
        assert!(place::blocks(s.path()) < 1000, "{s}: not sparse");
        if s.m.has_upper() {
            assert_eq!(lstat(s.in_upper("obj")).len(), 100 * GIB + 9, "{s}");
            assert!(place::blocks(s.in_upper("obj")) < 1000, "{s}: the upper is not sparse");
        }
        open.set_len(0).unwrap();
    });
}

#[test]
fn f1_a_large_sparse_lower_is_read_and_copied_with_its_holes() {
    let make = |path: &std::path::Path| {
        write(path, "start");
        let open = open_rw(path);
        open.write_all_at(&pattern(5000), 6 * GIB).unwrap();
        open.set_len(7 * GIB).unwrap();
    };
    let m = mount_objects(make);
    for dir in ["lower", "upper", "fresh"] {
        let open = open_rw(m.join(dir).join("obj"));
        open.write_all_at(b"S", 0).unwrap();
        let mut back = vec![0; 5000];
        open.read_exact_at(&mut back, 6 * GIB).unwrap();
        assert!(back == pattern(5000), "{dir}: other data");
        assert_eq!(open.metadata().unwrap().len(), 7 * GIB, "{dir}");
        open.sync_all().unwrap();
        if m.has_upper() {
            let upper = m.stack().upper().join(dir).join("obj");
            assert_eq!(lstat(&upper).len(), 7 * GIB, "{dir}");
            assert!(place::blocks(&upper) < 8192, "{dir}: the copy is not sparse");
        }
    }
}

#[test]
fn f1_a_reader_sees_each_write_of_another_process_at_once() {
    each(file("old"), |s| {
        let reader = File::open(s.path()).unwrap();
        for text in ["one", "two", "longer than before"] {
            let path = s.path();
            let child = fork_child(&[], || i32::from(fs::write(&path, text).is_err()));
            assert_eq!(child.wait(), 0, "{s}");
            let mut back = vec![0; 100];
            let got = reader.read_at(&mut back, 0).unwrap();
            assert_eq!(&back[..got], text.as_bytes(), "{s}");
            assert_eq!(reader.metadata().unwrap().len(), text.len() as u64, "{s}");
        }
    });
}

#[test]
fn c1_a_large_lower_file_is_copied_whole() {
    let data = pattern(9_000_001);
    each(file(&data), |s| {
        open_append(s.path()).write_all(b"!").unwrap();
        let mut wanted = data.clone();
        wanted.push(b'!');
        assert!(fs::read(s.path()).unwrap() == wanted, "{s}: other data");
        File::open(s.path()).unwrap().sync_all().unwrap();
        if s.m.has_upper() {
            assert!(fs::read(s.in_upper("obj")).unwrap() == wanted, "{s}: other data in the upper");
        }
    });
}

#[test]
fn f1_empty_files_and_empty_writes() {
    each(file(""), |s| {
        assert_eq!(fs::read(s.path()).unwrap(), b"", "{s}");
        let open = open_rw(s.path());
        assert_eq!(open.write_at(b"", 100).unwrap(), 0, "{s}");
        assert_eq!(s.stat().len(), 0, "{s}: an empty write extends nothing");
        open.write_all_at(b"x", 0).unwrap();
        assert_eq!(fs::read(s.path()).unwrap(), b"x", "{s}");
    });
}

#[test]
fn f1_random_small_writes_of_two_descriptors_match_a_model() {
    each(file(pattern(30_000)), |s| {
        let descriptors = [open_rw(s.path()), open_rw(s.path())];
        let mut model = pattern(30_000);
        let mut seed = 12_345_u64;
        for step in 0..400_usize {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (seed >> 33) as usize % 29_000;
            let size = (seed >> 20) as usize % 900 + 1;
            let bytes = vec![step as u8; size];
            descriptors[step % 2].write_all_at(&bytes, at as u64).unwrap();
            model[at..at + size].copy_from_slice(&bytes);
            let mut back = vec![0; size + 2];
            let from = at.saturating_sub(1);
            descriptors[(step + 1) % 2].read_exact_at(&mut back, from as u64).unwrap();
            assert!(back == model[from..from + size + 2], "{s}: other data after step {step}");
        }
        descriptors[0].sync_all().unwrap();
        assert!(fs::read(s.path()).unwrap() == model, "{s}: other data at the end");
        s.assert_upper_content(&model);
    });
}
