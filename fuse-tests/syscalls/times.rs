//! utimensat and the times that other calls set.

use super::objects::*;
use crate::harness::*;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT, utimensat};
use std::fs::{self, Metadata};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

/// Something that changes a file.
type Change = fn(&Path);

const OMIT: (i64, i64) = (0, UTIME_OMIT);
const NOW: (i64, i64) = (0, UTIME_NOW);

fn set(path: &Path, atime: (i64, i64), mtime: (i64, i64)) -> rustix::io::Result<()> {
    let time = |(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec };
    let times = Timestamps { last_access: time(atime), last_modification: time(mtime) };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
}

fn times(meta: &Metadata) -> [(i64, i64); 2] {
    [(meta.atime(), meta.atime_nsec()), (meta.mtime(), meta.mtime_nsec())]
}

fn is_recent(time: (i64, i64)) -> bool {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let age = now - (time.0 as f64 + time.1 as f64 / 1e9);
    (-0.1..10.0).contains(&age)
}

fn link(path: &Path) {
    symlink("target", path).unwrap();
}

#[test]
fn a5_times_are_kept_to_the_nanosecond_before_1970_and_after_2038() {
    let values = [
        [(1, 1), (2, 999_999_999)],
        [(1_234_567_890, 123_456_789), (987_654_321, 987_654_321)],
        [(-1, 5), (-86_400, 0)],
        [(4_294_967_296, 7), (9_000_000_000, 8)],
    ];
    let check = |s: Subject<'_>| {
        for [atime, mtime] in values {
            set(&s.path(), atime, mtime).unwrap();
            assert_eq!(times(&s.stat()), [atime, mtime], "{s}");
            if s.m.has_upper() {
                assert_eq!(times(&lstat(s.in_upper("obj"))), [atime, mtime], "{s}: in the upper");
            }
        }
    };
    each(file("x"), check);
    each(directory, check);
    each(link, check);
}

#[test]
fn a5_utime_omit_and_utime_now_act_on_each_time_alone() {
    each(file("x"), |s| {
        set(&s.path(), (10, 1), (20, 2)).unwrap();
        set(&s.path(), OMIT, (30, 3)).unwrap();
        assert_eq!(times(&s.stat()), [(10, 1), (30, 3)], "{s}");
        set(&s.path(), (40, 4), OMIT).unwrap();
        assert_eq!(times(&s.stat()), [(40, 4), (30, 3)], "{s}");
        set(&s.path(), OMIT, OMIT).unwrap();
        assert_eq!(times(&s.stat()), [(40, 4), (30, 3)], "{s}");
        set(&s.path(), NOW, OMIT).unwrap();
        let [atime, mtime] = times(&s.stat());
        assert!(is_recent(atime) && mtime == (30, 3), "{s}: {atime:?} {mtime:?}");
        set(&s.path(), (50, 5), NOW).unwrap();
        let [atime, mtime] = times(&s.stat());
        assert!(atime == (50, 5) && is_recent(mtime), "{s}: {atime:?} {mtime:?}");
    });
}

#[test]
fn a5_omit_of_both_changes_and_copies_nothing() {
    each(file("x"), |s| {
        let before = s.stat();
        set(&s.path(), OMIT, OMIT).unwrap();
        assert_eq!(s.stat().ctime_nsec(), before.ctime_nsec(), "{s}");
        s.assert_not_copied();
    });
}

#[test]
fn a5_times_by_descriptor_and_through_a_symlink() {
    each(file("x"), |s| {
        let stamp = SystemTime::UNIX_EPOCH + Duration::new(77, 88);
        fs::File::open(s.path()).unwrap().set_modified(stamp).unwrap();
        assert_eq!(s.stat().modified().unwrap(), stamp, "{s}");
        symlink("obj", s.beside("link")).unwrap();
        let time = Timespec { tv_sec: 5, tv_nsec: 6 };
        let both = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, s.beside("link"), &both, AtFlags::empty()).unwrap();
        assert_eq!(times(&s.stat()), [(5, 6), (5, 6)], "{s}");
        assert!(is_recent(times(&lstat(s.beside("link")))[1]), "{s}: the link keeps its own");
    });
}

#[test]
fn c4_utimes_copies_no_data() {
    each(file(pattern(300_000)), |s| {
        set(&s.path(), (1, 2), (3, 4)).unwrap();
        if s.m.has_upper() && s.origin == Origin::Lower {
            assert!(place::is_metacopy(s.in_upper("obj")), "{s}");
            assert!(place::blocks(s.in_upper("obj")) <= Filesystem::of_tests().spare_blocks(), "{s}");
        }
        assert!(fs::read(s.path()).unwrap() == pattern(300_000), "{s}: other data");
    });
}

#[test]
fn a5_who_may_set_times() {
    let make = |path: &Path| {
        write(path, "x");
        chmod(path, 0o666);
    };
    each(make, |s| {
        as_user(1000, 1000, || {
            assert_errno!(set(&s.path(), (1, 1), (1, 1)), Errno::PERM, "{s}");
            assert_errno!(set(&s.path(), NOW, OMIT), Errno::PERM, "{s}");
        });
        s.assert_not_copied();
        set(&s.path(), (1, 1), (1, 1)).unwrap();
        as_user(1000, 1000, || set(&s.path(), NOW, NOW).unwrap());
        assert!(is_recent(times(&s.stat())[1]), "{s}: w is enough for NOW");
        chmod(&s.path(), 0o444);
        as_user(1000, 1000, || assert_errno!(set(&s.path(), NOW, NOW), Errno::ACCESS, "{s}"));
        assert_errno!(set(&s.beside("none"), NOW, NOW), Errno::NOENT, "{s}");
        assert_errno!(set(&s.path().join("x"), NOW, NOW), Errno::NOTDIR, "{s}");
        assert_errno!(set(&s.path(), (0, 1_000_000_000), NOW), Errno::INVAL, "{s}");
    });
}

#[test]
fn a5_a_write_and_a_truncate_set_mtime_and_ctime_and_keep_atime() {
    let changes: [(&str, Change); 3] = [
        ("write", |path| open_rw(path).write_all(b"y").unwrap()),
        ("truncate", |path| open_rw(path).set_len(1).unwrap()),
        ("O_TRUNC", |path| fs::write(path, "z").unwrap()),
    ];
    for (name, change) in changes {
        each(file("xyz"), |s| {
            set(&s.path(), (10, 1), (20, 2)).unwrap();
            let ctime = s.stat().ctime() * 1_000_000_000 + s.stat().ctime_nsec();
            sleep(Duration::from_millis(20));
            change(&s.path());
            let after = s.stat();
            assert_eq!(times(&after)[0], (10, 1), "{s}: atime after {name}");
            assert!(is_recent(times(&after)[1]), "{s}: mtime after {name}");
            let later = after.ctime() * 1_000_000_000 + after.ctime_nsec();
            assert!(later > ctime, "{s}: ctime after {name}");
        });
    }
}

#[test]
fn a5_explicit_times_win_over_a_write_before_them() {
    each(file("x"), |s| {
        let mut open = open_rw(s.path());
        open.write_all(&pattern(10_000)).unwrap();
        set(&s.path(), (10, 1), (20, 2)).unwrap();
        drop(open);
        assert_eq!(times(&s.stat())[1], (20, 2), "{s}: what cp -p and tar do");
    });
}

#[test]
fn a5_mtimes_of_written_files_survive_a_remount() {
    let mut m = mount_objects(tree);
    for dir in ["lower", "upper", "fresh"] {
        let obj = m.join(dir).join("obj");
        for i in 0..30 {
            fs::write(obj.join(format!("new-{i}")), pattern(i * 500)).unwrap();
        }
        fs::write(obj.join("f"), "replaced").unwrap();
        open_append(obj.join("d/g")).write_all(b" appended").unwrap();
    }
    let before = dump(m.path());
    m.remount(&[]);
    assert_same_text(&before, &dump(m.path()), "before (-) and after (+) the remount");
}

#[test]
fn a5_each_change_of_a_directory_sets_its_mtime() {
    each(tree, |s| {
        let reset = |dir: &Path| set(dir, (10, 1), (20, 2)).unwrap();
        let recent = |dir: &Path, what: &str| {
            assert!(is_recent(times(&lstat(dir))[1]), "{s}: mtime after {what}");
        };
        let (dir, other) = (s.path(), s.path().join("d"));
        reset(&dir);
        fs::write(dir.join("new"), "").unwrap();
        recent(&dir, "create");
        reset(&dir);
        fs::remove_file(dir.join("f")).unwrap();
        recent(&dir, "unlink");
        reset(&dir);
        fs::create_dir(dir.join("sub")).unwrap();
        recent(&dir, "mkdir");
        reset(&dir);
        fs::remove_dir(dir.join("sub")).unwrap();
        recent(&dir, "rmdir");
        reset(&dir);
        reset(&other);
        fs::rename(dir.join("new"), other.join("new")).unwrap();
        recent(&dir, "rename from it");
        recent(&other, "rename to it");
    });
}

#[test]
fn c3_a_change_of_a_file_keeps_the_times_of_its_parents() {
    let make = |path: &Path| {
        tree(path);
        set(&path.join("d"), (10, 1), (20, 2)).unwrap();
        set(path, (11, 1), (21, 2)).unwrap();
    };
    each(make, |s| {
        fs::write(s.path().join("d/g"), "changed").unwrap();
        chmod(&s.path().join("d/g"), 0o600);
        assert_eq!(times(&lstat(s.path().join("d")))[1], (20, 2), "{s}");
        assert_eq!(times(&s.stat())[1], (21, 2), "{s}");
    });
}

#[test]
fn c2_copy_up_keeps_both_times_to_the_nanosecond() {
    // An atime later than the ctime: with relatime no reader of the lower changes it.
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() as i64;
    let kept = [(now + 1000, 111_111_111), (2_222, 222_222_222)];
    let make = |path: &Path| {
        write(path, "data");
        set(path, kept[0], kept[1]).unwrap();
    };
    each(make, |s| {
        chmod(&s.path(), 0o600);
        assert_eq!(times(&s.stat()), kept, "{s}");
        if s.m.has_upper() {
            assert_eq!(times(&lstat(s.in_upper("obj"))), kept, "{s}: in the upper");
        }
    });
}
